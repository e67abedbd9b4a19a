//! Every file in `shaders/` says what it uses: each identifier is WGSL's own, declared in the file, declared in a file that it
//! imports (`//# import`), or named in its header. `//# needs names: files` names declarations for which Rust chooses one of
//! these files, `//# constants names` the numbers that Rust appends, and `//# params names` the fields that are read of the
//! loop's uniform block. Nothing is compiled here; that is tests/shaders.rs.

#[path = "common/files.rs"]
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use files::{files, root, text};

/// Words of WGSL, with the extensions that wgpu has: keywords, types, attributes, built-in values and functions.
const WGSL: &str = "
    alias array atomic binding bool break builtin case compute const continue continuing default enable else f16 f32 false fn for
    function group i32 if let loop override private ptr read read_write return storage struct switch true u32 uniform var vec2 vec3
    mat4x4 vec4 while workgroup workgroup_size coop_mat8x8 coop_mat16x16 A B C wgpu_cooperative_matrix
    global_invocation_id local_invocation_id local_invocation_index num_workgroups workgroup_id subgroup_id subgroup_invocation_id
    subgroup_size
    abs all any arrayLength atomicAdd atomicLoad atomicMax atomicMin atomicOr atomicStore bitcast ceil clamp coopLoad coopLoadT
    coopMultiplyAdd coopStore coopStoreT countLeadingZeros countOneBits countTrailingZeros dot dot4I8Packed dot4U8Packed exp exp2
    extractBits firstLeadingBit firstTrailingBit floor fma fract insertBits inverseSqrt ldexp log log2 max min pack2x16float pow
    round select sign sqrt storageBarrier subgroupAdd subgroupBroadcast subgroupExclusiveAdd subgroupMax subgroupMin
    subgroupShuffle tanh trunc unpack2x16float unpack4xI8 unpack4xU8 workgroupBarrier workgroupUniformLoad";

struct File {
    imports: Vec<String>,
    /// Names in the header, with the patterns of the files that declare them; none for constants.
    named: Vec<(String, Vec<String>)>,
    declares: BTreeSet<String>,
    uses: BTreeSet<String>,
    /// Fields of the uniform block: those in the header, and those that the code reads.
    params: [BTreeSet<String>; 2],
}

fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(is_word)?;
        let end = code[start..].find(|c| !is_word(c)).map_or(code.len(), |length| start + length);
        at = end;
        Some((start, &code[start..end]))
    })
}

fn read(text: &str) -> File {
    let list = |names: &str| names.split(", ").map(str::to_string).collect::<Vec<_>>();
    let mut file = File {
        imports: Vec::new(),
        named: Vec::new(),
        declares: BTreeSet::new(),
        uses: BTreeSet::new(),
        params: Default::default(),
    };
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("//# import ") {
            file.imports.push(path.to_string());
        } else if let Some(names) = line.strip_prefix("//# constants ") {
            file.named.extend(list(names).into_iter().map(|name| (name, Vec::new())));
        } else if let Some(fields) = line.strip_prefix("//# params ") {
            file.named.push(("params".to_string(), Vec::new()));
            file.params[0].extend(list(fields));
        } else if let Some(needs) = line.strip_prefix("//# needs ") {
            let (names, files) = needs.split_once(": ").unwrap_or_else(|| panic!("no files in {line}"));
            file.named.extend(list(names).into_iter().map(|name| (name, list(files))));
        } else {
            assert!(!line.starts_with("//#"), "{line} is no import, need, constant or parameter");
        }
    }
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default().to_string() + "\n").collect();
    let code = code.as_str();
    // Between braces a declaration is local.
    let (mut depth, mut depth_at, mut before) = (0i32, 0, "");
    let mut locals = BTreeSet::new();
    for (start, word) in words(code) {
        depth += code[depth_at..start].chars().map(|c| i32::from(c == '{') - i32::from(c == '}')).sum::<i32>();
        depth_at = start;
        let is_declared = match before {
            "fn" | "struct" | "alias" => true,
            "let" | "var" | "const" | "private" | "workgroup" | "read" | "read_write" | "uniform" => {
                !code[..start].ends_with(", ") && !matches!(word, "read" | "read_write" | "private" | "workgroup")
            }
            _ => false,
        };
        let named = code[start + word.len()..].starts_with(':'); // A parameter, or a field.
        if is_declared && depth == 0 {
            file.declares.insert(word.to_string());
        } else if is_declared || named {
            locals.insert(word.to_string());
        } else if code[..start].ends_with("params.") {
            file.params[1].insert(word.to_string());
        } else if !code[..start].ends_with(['.', '@']) && !word.starts_with(|c: char| c.is_ascii_digit()) {
            file.uses.insert(word.to_string());
        }
        before = word;
    }
    file.uses.retain(|word| !locals.contains(word) && !file.declares.contains(word));
    file
}

/// Each file by its path in `shaders/`, without the extension.
fn shader_files() -> BTreeMap<String, File> {
    let folder = root().join("shaders");
    let file = |path: PathBuf| {
        let name = path.with_extension("");
        let name: Vec<_> =
            name.strip_prefix(&folder).expect("inside").iter().map(|part| part.to_string_lossy()).collect();
        (name.join("/"), read(&text(&path)))
    };
    files(&folder, "wgsl").into_iter().map(file).collect()
}

/// The files that a pattern names: one, or all that begin as it does before its `*`.
fn matching<'a>(pattern: &'a str, files: &'a BTreeMap<String, File>) -> impl Iterator<Item = &'a File> {
    let is_named = move |path: &str| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == pattern,
    };
    files.iter().filter(move |(path, _)| is_named(path)).map(|(_, file)| file)
}

#[test]
fn every_identifier_comes_from_somewhere() {
    let files = shader_files();
    let wgsl: BTreeSet<&str> = WGSL.split_whitespace().collect();
    let mut faults = Vec::new();
    for (path, file) in &files {
        let (mut imported, mut to_visit) = (BTreeSet::new(), file.imports.clone());
        while let Some(import) = to_visit.pop() {
            let Some(of) = files.get(&import) else {
                faults.push(format!("{path} imports {import}, which is no file"));
                continue;
            };
            if imported.insert(import) {
                to_visit.extend(of.imports.clone());
            }
        }
        let is_imported = |word: &String| imported.iter().any(|import| files[import].declares.contains(word));
        for word in &file.uses {
            let is_named = file.named.iter().any(|(name, _)| name == word);
            if !wgsl.contains(word.as_str()) && !is_imported(word) && !is_named {
                faults.push(format!("{path} uses {word} without saying where it comes from"));
            }
        }
        let [listed, read] = &file.params;
        if !listed.is_empty() && listed != read {
            faults.push(format!("{path} reads the parameters {read:?}, but its header lists {listed:?}"));
        }
        for (name, patterns) in &file.named {
            if !file.uses.contains(name) {
                faults.push(format!("{path} names {name} without using it"));
            }
            for pattern in patterns {
                let mut declaring = matching(pattern, &files).peekable();
                if declaring.peek().is_none() || !declaring.all(|file| file.declares.contains(name)) {
                    faults.push(format!("{path} needs {name} of {pattern}, where not every file declares it"));
                }
            }
        }
    }
    assert!(files.len() > 100, "only {} files were found", files.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `src/kernels/launch/program.rs` lists every file.
#[test]
fn every_file_is_listed() {
    let program = text(&root().join("src/kernels/launch/program.rs"));
    let missing: Vec<_> =
        shader_files().into_keys().filter(|path| !program.contains(&format!("\"{path}\";"))).collect();
    assert!(missing.is_empty(), "not in the list of parts: {missing:?}");
}
