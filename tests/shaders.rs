//! Every program that can be launched is valid WGSL. The host's parameters and bindings match the shader's declarations. Each
//! combination of parts and each constant translates to every backend's language. No GPU is needed and nothing runs.

#[path = "../examples/shaders/catalog.rs"]
mod catalog;
#[path = "common/files.rs"]
mod files;
#[path = "common/foreseen.rs"]
mod foreseen;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use files::{files, root, text};
use lowbit::kernels::Dispatch;
use naga::back::{glsl, hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};

/// True if a program enables f16, which not every device has.
fn asks_for_f16(dispatch: &Dispatch) -> bool {
    dispatch.program.source().lines().any(|line| line == "enable f16;")
}

/// True if a program uses subgroups.
fn asks_for_subgroups(dispatch: &Dispatch) -> bool {
    dispatch.program.source().contains("subgroup")
}

/// True if a program enables cooperative matrices, wgpu's own extension of WGSL.
fn asks_for_matrices(dispatch: &Dispatch) -> bool {
    dispatch.program.source().lines().any(|line| line == "enable wgpu_cooperative_matrix;")
}

/// The programs of the catalog, listed once.
fn programs() -> &'static BTreeMap<String, Dispatch> {
    static PROGRAMS: LazyLock<BTreeMap<String, Dispatch>> =
        LazyLock::new(|| catalog::programs().expect("the catalog's ops are sound"));
    &PROGRAMS
}

fn validated(name: &str, dispatch: &Dispatch) -> (naga::Module, ModuleInfo) {
    let source = dispatch.program.source();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_FLOAT16, asks_for_f16(dispatch));
    capabilities.set(Capabilities::SUBGROUP, asks_for_subgroups(dispatch));
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, asks_for_matrices(dispatch));
    // WGSL has the conversion, and not every backend: Context tests it.
    capabilities.set(Capabilities::SHADER_FLOAT16_IN_FLOAT32, source.contains("unpack2x16float"));
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(&source)));
    (module, info)
}

/// Calls `check` for each program, on every core.
fn each<'a>(
    programs: impl ExactSizeIterator<Item = (&'a String, &'a Dispatch)> + Clone + Send,
    check: impl Fn(&str, &Dispatch) + Sync,
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let (check, programs) = (&check, programs.clone());
            scope.spawn(move || {
                programs.skip(first).step_by(threads).for_each(|(name, dispatch)| check(name, dispatch))
            });
        }
    });
}

/// Programs that contain each value of each constant for each combination of parts. Other programs only combine these values
/// differently.
fn covering(programs: &BTreeMap<String, Dispatch>) -> Vec<(&String, &Dispatch)> {
    let mut covered = HashSet::new();
    let mut adds = |name: &str| {
        let (parts, constants) = name.split_once(' ').unwrap_or((name, ""));
        let new = constants.split(' ').filter(|&constant| covered.insert((parts.to_string(), constant.to_string())));
        new.count() > 0
    };
    programs.iter().filter(|(name, _)| adds(name)).collect()
}

#[test]
fn programs_are_sound_and_bind_what_the_host_believes() {
    let programs = programs();
    each(programs.iter(), |name, dispatch| {
        let (module, _) = validated(name, dispatch);
        for (_, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            if binding.binding == 0 {
                check_parameters(name, dispatch, &module.types[variable.ty]);
                continue;
            }
            let host = dispatch.bindings.iter().find(|b| b.slot == binding.binding);
            let host = host.unwrap_or_else(|| panic!("{name}: binding {} is not bound", binding.binding));
            let naga::AddressSpace::Storage { access } = variable.space else {
                panic!("{name}: binding {} is not storage", binding.binding)
            };
            let writable = access.contains(naga::StorageAccess::STORE);
            assert_eq!(writable, host.writable, "{name}: binding {}", binding.binding);
        }
        let declared = module.global_variables.iter().filter(|(_, v)| v.binding.is_some()).count();
        assert_eq!(declared, dispatch.bindings.len() + 1, "{name}: bindings");
        let storage = dispatch.bindings.len();
        assert!(storage <= 8, "{name} binds {storage} storage buffers, but 8 are guaranteed");
    });
    println!("{} programs validated", programs.len());
    assert!(programs.len() > 10_000, "the catalog has shrunk to {}", programs.len());
}

/// Every file in `shaders/` is part of some program.
#[test]
fn every_file_is_part_of_a_program() {
    let mut left: Vec<_> = files(&root().join("shaders"), "wgsl").into_iter().map(|path| (text(&path), path)).collect();
    // One program of each combination of parts. Files stand in it as they are, unless it shares a buffer with its output.
    let plain = programs().iter().filter(|(name, _)| !name.ends_with("=writable") && !name.ends_with("=overwritten"));
    let by_parts: BTreeMap<&str, &Dispatch> =
        plain.map(|(name, dispatch)| (name.split(' ').next().unwrap_or_default(), dispatch)).collect();
    for dispatch in by_parts.into_values() {
        let source = dispatch.program.source();
        left.retain(|(text, _)| !source.contains(text));
    }
    let left: Vec<_> = left.iter().map(|(_, path)| path).collect();
    assert!(left.is_empty(), "no program of the catalog has {left:?}");
}

/// Allowed branches that uniforms decide, by function or condition, each with its reason.
const DECIDED_BY_UNIFORMS: [(&str, &str); 5] = [
    ("f32_magnitude: ", SCALE),
    ("f32_pack: ", SCALE),
    ("f32_add: ", SCALE),
    ("f32_multiply: ", SCALE),
    (
        "run_chains: round < params.rounds",
        "naga wants what decides about operations on matrices in the function that has them, and only a probe runs it",
    ),
];

const SCALE: &str =
    "a scale among the parameters is taken apart, some ten instructions of a program, and it unrolls nothing";

/// Lavapipe recompiles a program at each dispatch whose uniforms decide enough of it, and keeps every copy.
#[test]
fn no_uniform_alone_decides_a_branch() {
    let programs = covering(programs());
    let found = Mutex::new(BTreeMap::<String, BTreeSet<String>>::new());
    each(programs.iter().copied(), |name, dispatch| {
        let (module, _) = validated(name, dispatch);
        let conditions = foreseen::conditions(&module, &dispatch.program.source());
        let mut found = found.lock().expect("a map");
        for condition in conditions {
            found.entry(condition).or_default().insert(name.split([' ', '+']).next().unwrap_or_default().to_string());
        }
    });
    let mut found = found.into_inner().expect("a map");
    for (allowed, reason) in DECIDED_BY_UNIFORMS {
        let before = found.len();
        found.retain(|condition, _| !condition.starts_with(allowed));
        assert!(found.len() < before, "{allowed} is no longer found ({reason}): take it from the list");
    }
    let lines: Vec<_> = found.iter().map(|(condition, programs)| format!("{condition}   {programs:?}")).collect();
    assert!(
        lines.is_empty(),
        "{} conditions are known to a driver that sees the uniforms; add opaque_zero to them:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// Programs with and without conditions that `foreseen` must find.
#[test]
fn branches_that_uniforms_decide_are_found() {
    let found = |functions: &str, body: &str| {
        let source = format!(
            "struct Params {{ n: u32, m: u32, list: array<vec4<u32>, 2> }}
            @group(0) @binding(0) var<uniform> params: Params;
            @group(0) @binding(1) var<storage, read_write> data: array<u32>;
            const SIZE: u32 = 4u;
            {functions}
            @compute @workgroup_size(64)
            fn main(@builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) thread: u32) {{ {body} }}"
        );
        let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&source)));
        foreseen::conditions(&module, &source).into_iter().collect::<Vec<_>>()
    };
    let hidden = "groups.x >> 31u";
    for (body, expected) in [
        // Guards, constants, and values read from buffers.
        ("if (thread >= params.n) { return; } data[thread] = 0u;", vec![]),
        ("for (var i = 0u; i < SIZE; i += 1u) { data[i] = 0u; }", vec![]),
        ("for (var i = 0u; i < data[0]; i += 1u) { data[i] = 0u; }", vec![]),
        ("for (var i = thread; i < params.n; i += 64u) { data[i] = 0u; }", vec![]),
        ("data[0] = select(1u, 2u, params.n == 0u);", vec![]),
        // Loops.
        ("for (var i = 0u; i < params.n; i += 1u) { data[i] = 0u; }", vec!["main: i < params.n"]),
        ("for (var i = params.m; i < params.n; i += params.m) { data[i] = 0u; }", vec!["main: i < params.n"]),
        ("var i = 8u; while (i > params.n) { i /= 2u; data[i] = 0u; }", vec!["main: i > params.n"]),
        ("var i = 0u; loop { data[i] = 0u; i += 1u; continuing { break if i == params.n; } }", vec!["main: i == params.n"]),
        ("let end = min(params.n, 7u) * 2u; for (var i = 0u; i < end; i += 1u) { data[i] = 0u; }", vec!["main: i < end"]),
        ("var end = 0u; end = params.n; for (var i = 0u; i < end; i += 1u) { data[i] = 0u; }", vec!["main: i < end"]),
        ("var end = params.n; if (thread == 0u) { end = 3u; } for (var i = 0u; i < end; i += 1u) { data[i] = 0u; }", vec![]),
        ("for (var i = 0u; i < params.n + (HIDDEN); i += 1u) { data[i] = 0u; }", vec![]),
        // In loops: a loop inside a hidden one, a condition on its counter, and a loop that constants end.
        (
            "for (var j = 0u; j < params.m + (HIDDEN); j += 1u) { for (var i = 0u; i < params.n; i += 1u) { data[i] = j; } }",
            vec!["main: i < params.n"],
        ),
        ("for (var j = 0u; j < params.m + (HIDDEN); j += 1u) { if (j == params.n) { data[j] = 0u; } }", vec![]),
        ("for (var j = 0u; j < SIZE; j += 1u) { if (j == params.n) { data[j] = 0u; } }", vec!["main: j == params.n"]),
        (
            "for (var j = 0u; j < SIZE; j += 1u) { if (thread == j) { break; } if (j == params.n) { data[j] = 0u; } }",
            vec!["main: j == params.n"],
        ),
        (
            "var t = 0u; var v = thread; while (v >= 2u) { v -= 2u; t += 1u; if (t == params.n) { t = 0u; } } data[t] = 0u;",
            vec![],
        ),
        (
            "var t: array<u32, 2>; for (var k = 0u; k < params.m + (HIDDEN); k += 1u) { for (var s = 0u; s < 2u; s += 1u) {
            t[s] += 1u; if (t[s] == params.n) { t[s] = 0u; } } } data[0] = t[1];",
            vec![],
        ),
        // Branches.
        ("if (params.n > 2u) { data[0] = 0u; }", vec!["main: params.n > 2u"]),
        ("switch params.n { case 1u: { data[0] = 0u; } default: { data[1] = 0u; } }", vec!["main: params.n"]),
        ("if (params.list[1].y == 0u) { data[0] = 0u; }", vec!["main: params.list[1].y == 0u"]),
        ("if (params.list[thread].y == 0u) { data[0] = 0u; }", vec![]),
        ("if (vec2<u32>(thread, params.n).x == 0u) { data[0] = 0u; }", vec![]),
        // Functions.
        ("data[0] = end(params.n, 2u);", vec!["end: i < last"]),
        ("data[0] = end(thread, 2u);", vec![]),
        ("data[0] = end(4u, 2u);", vec![]),
        ("if (end(params.n + (HIDDEN), 2u) == params.m) { data[0] = 0u; }", vec![]),
        ("var x = 0u; change(&x); if (x == params.n) { data[0] = 0u; }", vec![]),
    ] {
        let functions = "fn end(last: u32, step: u32) -> u32 { var i = 0u; while (i < last) { i += step; } return i; }
            fn change(x: ptr<function, u32>) { *x = data[1]; }";
        assert_eq!(found(functions, &body.replace("HIDDEN", hidden)), expected, "{body}");
    }
}

#[test]
fn programs_translate_to_every_backend() {
    let programs = covering(programs());
    each(programs.iter().copied(), |name, dispatch| {
        let (module, info) = validated(name, dispatch);
        spv::write_vec(&module, &info, &spv::Options::default(), None)
            .unwrap_or_else(|e| panic!("{name}: SPIR-V: {e}"));
        let lang_version = if asks_for_matrices(dispatch) { (2, 3) } else { msl::Options::default().lang_version };
        let options = msl::Options { fake_missing_bindings: true, lang_version, ..msl::Options::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{name}: MSL: {e}"));
        if asks_for_matrices(dispatch) {
            return; // No DirectX or OpenGL adapter offers them.
        }
        let options = hlsl::Options { fake_missing_bindings: true, ..hlsl::Options::default() };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
        if asks_for_f16(dispatch) || asks_for_subgroups(dispatch) {
            return; // No OpenGL adapter offers either.
        }
        let mut text = String::new();
        let options = glsl::Options {
            version: glsl::Version::Embedded { version: 310, is_webgl: false },
            ..glsl::Options::default()
        };
        let entry = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        glsl::Writer::new(&mut text, &module, &info, &options, &entry, naga::proc::BoundsCheckPolicies::default())
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{name}: GLSL: {e}"));
    });
    println!("{} programs translated to SPIR-V, MSL, HLSL and GLSL", programs.len());
}

fn check_parameters(name: &str, dispatch: &Dispatch, declared: &naga::Type) {
    let naga::TypeInner::Struct { members, span } = &declared.inner else { panic!("{name}: binding 0 is no struct") };
    let shader: Vec<_> = members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
    let host: Vec<_> = dispatch.fields.iter().map(|f| (f.name, f.offset)).collect();
    assert_eq!(shader, host, "{name}: names and offsets of the parameters");
    assert_eq!(*span as usize, dispatch.parameters.len(), "{name}: bytes of the parameters");
}

/// Chromium's compiler has its own WGSL rules. This test runs if its command line tool is installed.
#[test]
fn tint_accepts_programs() {
    if Command::new("tint").arg("--help").output().is_err() {
        eprintln!("\n*** NOT RUN: tint is not on the PATH ***\n");
        return;
    }
    let folder = std::env::temp_dir().join(format!("lowbit-tint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let programs = programs();
    let (own, programs): (Vec<_>, Vec<_>) =
        covering(programs).into_iter().partition(|(_, dispatch)| asks_for_matrices(dispatch));
    each(programs.iter().copied(), |name, dispatch| {
        let path = folder.join(format!("{:?}.wgsl", std::thread::current().id()));
        // A browser requires `enable subgroups`, which naga doesn't know.
        let asked = if asks_for_subgroups(dispatch) { "enable subgroups;\n" } else { "" };
        std::fs::write(&path, asked.to_string() + &dispatch.program.source()).expect("a temporary file");
        let out = Command::new("tint").args(["--format", "wgsl"]).arg(&path).output().expect("tint runs");
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
    });
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    println!("{} programs accepted by tint, which doesn't know the extension of {} others", programs.len(), own.len());
}
