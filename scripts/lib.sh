# shellcheck shell=bash
# Sourced by the other scripts: puts cargo, a linker and a GPU adapter in place, and prints the verdict.
# It never installs Rust itself and never replaces a driver that already works.

# verdict_at_exit NAME: when the script ends, however it ends, prints "NAME: ok, 12 s" or "NAME: FAILED ...".
# A script may set $summary to have it shown in between.
verdict_at_exit() {
    verdict_name=$1
    summary=""
    trap print_verdict EXIT
    # Without these bash would hand the trap above the status of the last command that ended, often 0.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

print_verdict() {
    local status=$? word=ok
    [ "$status" -eq 0 ] || word="FAILED (exit status $status)"
    echo "$verdict_name: $word${summary:+, $summary}, $SECONDS s"
}

die() {
    echo "error: $*" >&2
    exit 1
}

# apt_install REASON PACKAGE...: fails where there is no apt-get or no way to become root.
apt_install() {
    local reason=$1 as_root=()
    shift
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || return 1
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    echo "Installing $* with apt-get: $reason."
    # Stale package lists often still do, so a failed update is not the end.
    "${as_root[@]}" apt-get update -qq </dev/null || true
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" </dev/null
}

# cargo, and on Unix the `cc` that it links with.
need_rust() {
    command -v cargo >/dev/null || PATH="$PATH:$HOME/.cargo/bin"
    command -v cargo >/dev/null || die "cargo was not found; install Rust from https://rustup.rs and run this again."
    case $(uname -s) in
        MINGW* | MSYS* | CYGWIN*) return ;; # MSVC's linker is not on the PATH; rustc finds it by itself.
    esac
    command -v cc >/dev/null ||
        apt_install "cargo needs the linker cc" gcc libc6-dev ||
        die "cargo needs the linker cc; install a C compiler (Debian, Ubuntu: gcc libc6-dev) and run this again."
}

# The test files that `cargo test --no-run` names in its output, which is read from stdin.
test_files() {
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p'
}

# Mesa complains on stderr where this is unset, as on servers and in containers; nothing is written there.
[ -n "${XDG_RUNTIME_DIR:-}" ] || export XDG_RUNTIME_DIR=/tmp

# One line per adapter; exit status 0 if there is one, 1 if there is none.
list_adapters() {
    cargo run --quiet --release --example adapters
}

# An adapter that wgpu can use: the machine's own, or else Mesa's software Vulkan driver.
need_adapter() {
    local by_hand
    cargo build --release --example adapters
    echo "GPU adapters:"
    list_adapters && return

    case $(uname -s) in
        Linux)
            if apt_install "no GPU adapter was found, and these bring a software one" mesa-vulkan-drivers libvulkan1; then
                list_adapters && return
            fi
            by_hand="install a Vulkan driver and loader; a software one will do (Debian, Ubuntu: mesa-vulkan-drivers libvulkan1)"
            ;;
        Darwin) by_hand="use a Mac, or a virtual machine, that offers Metal" ;;
        *) by_hand="use Windows 10 or later, which has Direct3D 12 and its software adapter WARP built in" ;;
    esac
    die "no usable GPU adapter${WGPU_BACKEND:+ for WGPU_BACKEND=$WGPU_BACKEND}; $by_hand, and run this again."
}

# Prints where a Chromium or Chrome keeps the description of its software Vulkan driver, SwiftShader.
swiftshader_icd() {
    local directory
    for directory in /usr/lib/chromium /usr/lib/chromium-browser /opt/google/chrome; do
        if [ -e "$directory/vk_swiftshader_icd.json" ]; then
            echo "$directory/vk_swiftshader_icd.json"
            return
        fi
    done
    return 1
}
