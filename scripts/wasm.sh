# shellcheck shell=bash
# Sourced after lib.sh by scripts that build for browsers: a toolchain for wasm32-unknown-unknown.

# Where a compiler that isn't installed is kept between calls.
wasm_tools=${LOWBIT_WASM_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowbit-wasm}

# Where rustup can't fetch the target: Debian's compiler with the sources of its standard library, unpacked and not installed.
debian_wasm() {
    local root=$wasm_tools/debian deb library llvm
    if [ ! -e "$root/ready" ]; then
        command -v apt-get >/dev/null || return 1
        rm -rf "$root"
        mkdir -p "$root/debs"
        [ -n "$(apt-cache policy rustc-web 2>/dev/null | grep 'Candidate: [0-9]')" ] || apt-get update -qq || return 1
        # The library's version is in its name, and LLVM's in what it depends on; the linker is of the same LLVM.
        library=$(apt-cache depends libstd-rust-web-dev | sed -n 's/.*Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p')
        llvm=$(apt-cache depends "$library" | sed -n 's/.*Depends: libllvm\([0-9]*\).*/\1/p')
        (cd "$root/debs" && apt-get download rustc-web rust-web-src libstd-rust-web-dev "$library" "libllvm$llvm" "lld-$llvm" >/dev/null) ||
            return 1
        for deb in "$root"/debs/*.deb; do dpkg -x "$deb" "$root" || return 1; done
        rm -r "$root/debs"
        touch "$root/ready"
    fi
    wasm_library_path=$root/usr/lib/x86_64-linux-gnu:$(find "$root/usr/lib" -maxdepth 2 -name lib -path '*llvm-*' | head -n 1)
    wasm_linker=$(find "$root/usr/lib" -name wasm-ld -path '*/bin/*' | head -n 1)
    wasm_compiler=$root/usr/bin/rustc
    [ -x "$wasm_compiler" ] && [ -x "$wasm_linker" ]
}

# need_wasm: finds a compiler for browsers; sets what wasm_cargo needs.
need_wasm() {
    wasm_compiler=""
    rustup target add wasm32-unknown-unknown >/dev/null 2>&1 && return
    debian_wasm || die "there is no compiler for wasm32-unknown-unknown: run \`rustup target add wasm32-unknown-unknown\`."
}

# wasm_cargo ARGUMENTS…: cargo for wasm32-unknown-unknown.
wasm_cargo() {
    if [ -z "$wasm_compiler" ]; then
        cargo "$@" --target wasm32-unknown-unknown
        return
    fi
    env LD_LIBRARY_PATH="$wasm_library_path" RUSTC="$wasm_compiler" RUSTC_BOOTSTRAP=1 \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$wasm_linker" \
        cargo "$@" -Z build-std=std,panic_abort --target wasm32-unknown-unknown
}

# wasm_page CRATE [OPTIONS OF CARGO]: builds a crate of a page into its www/pkg.
wasm_page() {
    local crate=$1 target=${CARGO_TARGET_DIR:-target/browser} name
    shift
    need_wasm
    CARGO_TARGET_DIR=$target wasm_cargo build --manifest-path "$crate/Cargo.toml" --release "$@"
    cargo build --manifest-path scripts/bindgen/Cargo.toml --target-dir "$target/bindgen" --release
    name=$(sed -n 's/^name = "\(.*\)"/\1/p' "$crate/Cargo.toml" | head -n 1 | tr - _)
    rm -rf "$crate/www/pkg"
    "$target/bindgen/release/bindgen" "$target/wasm32-unknown-unknown/release/$name.wasm" "$crate/www/pkg"
}
