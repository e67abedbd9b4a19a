//! Documents name files that exist, modules use only modules of lower layers, and the map in ARCHITECTURE.md shows their uses. The
//! documents are ARCHITECTURE.md, README.md, `shaders/README.md`, `docs/*.md` and `benches/*.md`. Nothing is compiled or run here.

#[path = "common/files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};

use files::{files, root, text};

/// Layers from the bottom. A module may use modules of earlier lines only; those of one line do not use each other.
const LAYERS: [&[&str]; 11] = [
    &["error"],
    &["numeric"],
    &["tensor"],
    &["weights"],
    &["ops", "import"],
    &["kernels", "reference"],
    &["plan", "tune"],
    &["gpu", "network"],
    &["calibrate", "model", "onnx", "tflite"],
    &["train", "ptq"],
    &["evaluate"],
];

/// True if a pattern, in which `*` stands for any characters but `/`, is the whole name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            let stop = rest.find('/').unwrap_or(rest.len());
            (0..=stop).filter(|&at| rest.is_char_boundary(at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

/// True if a quotation is the path of a file or folder: without spaces, and with a `/` or the extension of a source or document.
fn is_path(quoted: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-*".contains(c);
    let known = [".rs", ".wgsl", ".md"].iter().any(|extension| quoted.ends_with(extension));
    quoted.chars().all(plain) && (quoted.contains('/') || known)
}

/// The quotations in backticks, outside of indented and fenced code.
fn quotations(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut prose = String::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            prose += line;
            prose += "\n";
        }
    }
    prose.split('`').skip(1).step_by(2).map(str::to_string).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let top = ["ARCHITECTURE.md", "README.md", "shaders/README.md"].map(|path| root().join(path));
    let folders = ["docs", "benches"].into_iter().flat_map(|folder| files(&root().join(folder), "md"));
    let documents: Vec<_> = top.into_iter().chain(folders).collect();

    // Files and their folders, as names relative to the root.
    let mut names = BTreeSet::new();
    let folders = ["src", "shaders", "tests", "examples", "benches", "scripts", "docs"];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder), "")) {
        let relative = path.strip_prefix(root()).expect("inside");
        let own = relative.ancestors().map(|path| path.to_string_lossy().replace('\\', "/"));
        names.extend(own.filter(|name| !name.is_empty()));
    }
    for entry in std::fs::read_dir(root()).expect("the root") {
        names.insert(entry.expect("an entry").file_name().to_string_lossy().into_owned());
    }

    let (mut count, mut missing) = (0, Vec::new());
    for document in &documents {
        // Documents beside this one may be named without their folder.
        let own =
            document.parent().and_then(|folder| folder.strip_prefix(root()).ok()).expect("inside").to_string_lossy();
        let own = if own.is_empty() { String::new() } else { format!("{own}/") };
        for quoted in quotations(&text(document)).into_iter().filter(|quoted| is_path(quoted)) {
            count += 1;
            let pattern = quoted.trim_end_matches('/');
            let exists = ["", "src/", "shaders/", own.as_str()].iter().any(|folder| {
                let pattern = format!("{folder}{pattern}");
                names.iter().any(|name| matches(&pattern, name))
            });
            if !exists {
                missing.push(format!("{}: `{quoted}`", document.display()));
            }
        }
    }
    assert!(count > 100, "only {count} paths were found in {documents:?}");
    assert!(missing.is_empty(), "documents name files that do not exist:\n{}", missing.join("\n"));
}

/// The words that follow `crate::`, outside of comments.
fn used(code: &str) -> BTreeSet<String> {
    let code: String =
        code.lines().map(|line| line.split("//").next().unwrap_or_default().to_string() + "\n").collect();
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(word).collect()
}

/// The names that lib.rs exports again, each with its module.
fn exports() -> BTreeMap<String, String> {
    let lib = text(&root().join("src/lib.rs"));
    let mut exports = BTreeMap::new();
    for line in lib.lines() {
        let path = line.strip_prefix("pub use ").and_then(|path| path.trim_end_matches(';').split_once("::"));
        if let Some((module, names)) = path {
            let names = names.rsplit("::").next().unwrap_or(names).trim_matches(['{', '}']).split(", ");
            exports.extend(names.map(|name| (name.to_string(), module.to_string())));
        }
    }
    exports
}

/// For each module the modules that it uses, from the imports in src/. lib.rs and guide.rs show everything, and have no layer.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let exports = exports();
    let source = root().join("src");
    let mut arrows = BTreeMap::<String, BTreeSet<String>>::new();
    for path in files(&source, "rs") {
        let first = path.strip_prefix(&source).expect("inside").iter().next().expect("a name").to_string_lossy();
        let module = first.trim_end_matches(".rs");
        if !matches!(module, "lib" | "guide") {
            let others = used(&text(&path)).into_iter().map(|word| exports.get(&word).cloned().unwrap_or(word));
            arrows.entry(module.to_string()).or_default().extend(others.filter(|other| other != module));
        }
    }
    arrows
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

#[test]
fn modules_use_lower_layers_only() {
    let arrows = arrows();
    let mut faults = Vec::new();
    for (module, others) in &arrows {
        for other in others {
            let is_down = matches!((layer(module), layer(other)), (Some(own), Some(lower)) if lower < own);
            if !is_down {
                faults.push(format!("{module} uses {other}, which is in no lower layer"));
            }
        }
    }
    assert!(arrows.len() > 10, "only {} modules were found", arrows.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The table in ARCHITECTURE.md: layer, module, contents, modules that it uses.
#[test]
fn the_map_shows_all_arrows() {
    let mut map = BTreeMap::new();
    for line in text(&root().join("ARCHITECTURE.md")).lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", number, module, _, uses, ""] = cells[..]
            && let Ok(number) = number.parse::<usize>()
        {
            let module = module.trim_matches('`').to_string();
            assert_eq!(layer(&module), Some(number), "the layer of {module} in ARCHITECTURE.md");
            let words = uses.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            map.insert(module, words.map(str::to_string).collect::<BTreeSet<_>>());
        }
    }
    // The table says once that every module may use `error`.
    let mut arrows = arrows();
    arrows.values_mut().for_each(|others| others.retain(|other| other != "error"));
    assert_eq!(map, arrows);
}

#[test]
fn patterns_match_as_in_a_shell() {
    assert!(matches("gemm/dot_*", "gemm/dot_int8"));
    assert!(matches("operand_*_in_place.wgsl", "operand_lhs_in_place.wgsl"));
    assert!(matches("docs/*.md", "docs/memory.md"));
    assert!(!matches("shaders/*.wgsl", "shaders/gemm/dot.wgsl"), "a star is one folder");
    assert!(!matches("gemm/dot", "gemm/dot_int8"));
}

#[test]
fn quotations_skip_code() {
    let document = "one `a/b.rs` and `two\nwords`\n```\n`not/this`\n```\n    `nor/this`\nlast `c.md`";
    assert_eq!(quotations(document), ["a/b.rs", "two\nwords", "c.md"]);
    assert!(
        is_path("a/b.rs") && is_path("gemm/dot_*.wgsl") && !is_path("k / 16") && !is_path("x::y") && !is_path("a·b/c")
    );
}
