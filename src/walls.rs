//! Checks the imports of every file of `src/` against a table of rooms and the rooms that each may import.
//!
//! A wrong import fails a test that names it. A new room gets a line in [`ROOMS`]. A room that needs a further
//! import gets that import here, with its reason, in the same commit. Test modules may import everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names a room, and the rooms it may import. A room comes after every room that it imports, directly or
/// through others.
const ROOMS: &[(&str, &[&str])] = &[
    // Leaves.
    ("text", &[]),
    ("language", &[]),
    ("limits", &[]),
    // The domain and the settings.
    ("chat", &["text"]),
    ("config", &[]),
    ("telemetry", &["chat", "config"]),
    // Dependencies: neither knows the other.
    ("provider", &["chat", "config", "language", "limits", "telemetry", "text"]),
    ("retrieval", &["chat", "config", "text"]),
    ("error", &["chat", "provider", "retrieval"]),
    // From a question to an answer.
    ("rag", &["chat", "config", "error", "language", "limits", "provider", "retrieval", "telemetry", "text"]),
    ("eval", &["chat", "error", "rag"]),
    // From pages to an index.
    ("docs", &["text"]),
    ("indexing", &["chat", "config", "docs", "provider", "retrieval", "text"]),
    // The parts of a running process.
    ("startup", &["config", "indexing", "provider", "retrieval"]),
    ("app", &["config", "docs", "indexing", "limits", "provider", "rag", "retrieval", "startup", "telemetry"]),
    ("http", &["app", "chat", "config", "docs", "error", "limits", "rag", "telemetry", "text"]),
    (
        "cli",
        &[
            "app",
            "chat",
            "config",
            "docs",
            "eval",
            "http",
            "indexing",
            "provider",
            "retrieval",
            "startup",
            "telemetry",
            "text",
        ],
    ),
];

/// Names a crate that only some rooms may use, and those rooms.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
    ("reqwest", &["provider"]),
    ("eventsource_stream", &["provider"]),
    ("qdrant_client", &["retrieval"]),
    ("qdrant_edge", &["retrieval"]),
    ("tonic", &["retrieval"]),
    ("clap", &["cli"]),
    ("dotenvy", &["config"]),
    ("markdown", &["docs"]),
    ("serde_saphyr", &["docs"]),
    ("indicatif", &["indexing"]),
    ("rust_stemmers", &["language"]),
    ("tracing_subscriber", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("moka", &["rag"]),
    ("governor", &["limits"]),
];

/// Holds one file of `src/` without its comments and its test module.
struct SourceFile {
    /// Path below `src/`, without the extension: `http/native/wire`; a folder's `mod.rs` is `http/native`.
    module: String,
    code: String,
}

impl SourceFile {
    /// Reads the source of a module: drops its comments, and its test module, which stands at the end.
    fn new(module: &str, source: &str) -> Self {
        let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        // Inside a module of a file, `super` means another module.
        let opens_module =
            |line: &&&str| line.trim_start_matches("pub ").starts_with("mod ") && line.ends_with('{');
        assert_eq!(lines.iter().find(opens_module), None, "src/{module}: a module needs a file of its own");
        Self { module: module.to_owned(), code: lines.join("\n") }
    }

    fn room(&self) -> &str {
        self.module.split('/').next().unwrap_or_default()
    }

    /// Returns every path of this crate that the code names, in a `use` or in place, from the crate's root:
    /// `["http", "native", "wire"]` for `crate::http::native::wire`, and for `super::wire` in
    /// `http/native/request`.
    fn crate_paths(&self) -> Vec<Vec<String>> {
        let own: Vec<String> = self.module.split('/').map(str::to_owned).collect();
        let parent = &own[..own.len() - 1];
        let mut paths = Vec::new();
        for (start, base) in [("crate::", &[][..]), ("super::", parent), ("self::", own.as_slice())] {
            paths.extend(self.paths_after(start).iter().map(|path| follow_path(base, path)));
        }
        paths
    }

    /// Returns the rest of every path that begins with `start`; a group in braces gives one path for each
    /// member.
    fn paths_after(&self, start: &str) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices(start) {
            let before = &self.code[..at];
            // `::name` begins at a crate; `other::name` and `<T>::name` continue a path.
            let goes_on = match before.strip_suffix("::") {
                Some(path) => path.ends_with(|c| is_word(c) || c == '>'),
                None => before.ends_with(is_word),
            };
            // `pub(in crate::http)` is a visibility, no import.
            if !goes_on && !before.ends_with("(in ") {
                expand_paths(&self.code[at + start.len()..], &[], &mut paths);
            }
        }
        paths
    }

    /// Returns true if the code names a crate, or a module beside it: in a path, or to rename it.
    fn uses_crate(&self, name: &str) -> bool {
        let in_whole = [format!("use {name};"), format!("use {name} as "), format!("extern crate {name}")];
        !self.paths_after(&format!("{name}::")).is_empty()
            || in_whole.iter().any(|text| self.code.contains(text))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Follows a path from a module, one module up at each `super`.
fn follow_path(base: &[String], path: &[String]) -> Vec<String> {
    let mut resolved = base.to_vec();
    for part in path {
        match part.as_str() {
            "self" => {}
            "super" => drop(resolved.pop()),
            part => resolved.push(part.to_owned()),
        }
    }
    resolved
}

/// Expands the path at the beginning of `code`, with groups as in `a::{b, c::d}`, into its single paths.
/// Returns the length that was read.
fn expand_paths(code: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    if code.starts_with('{') {
        return expand_group(code, prefix, paths);
    }
    let word = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let name = word(code);
    let path = [prefix, &[code[..name].to_owned()]].concat();
    let rest = &code[name..];
    match rest.strip_prefix("::") {
        Some(next) if next.starts_with(|c| is_word(c) || c == '{') => {
            name + 2 + expand_paths(next, &path, paths)
        }
        _ => {
            paths.push(path);
            name + rest.strip_prefix(" as ").map_or(0, |alias| 4 + word(alias))
        }
    }
}

fn expand_group(code: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut at = 1;
    loop {
        at += code[at..].len() - code[at..].trim_start_matches([' ', '\n', ',']).len();
        if code[at..].is_empty() || code[at..].starts_with('}') {
            return (at + 1).min(code.len());
        }
        at += expand_paths(&code[at..], prefix, paths).max(1);
    }
}

fn list_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

/// Reads the files of `src/` that belong to a room.
fn read_sources() -> Vec<SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let has_no_room = |module: &str| {
        matches!(module, "lib" | "main" | "walls" | "words" | "fuzzing") || module.ends_with("_tests")
    };
    let read = |path: PathBuf| {
        let module = path.strip_prefix(&src).unwrap().with_extension("").to_str().unwrap().replace('\\', "/");
        let module = module.strip_suffix("/mod").unwrap_or(&module);
        SourceFile::new(module, &fs::read_to_string(&path).unwrap())
    };
    let sources = list_files(&src).into_iter().map(read);
    sources.filter(|source| !has_no_room(&source.module)).collect()
}

fn room_table() -> BTreeMap<&'static str, &'static [&'static str]> {
    ROOMS.iter().copied().collect()
}

/// Returns the paths of a file that lead out of its room.
fn paths_out(source: &SourceFile) -> Vec<Vec<String>> {
    source
        .crate_paths()
        .into_iter()
        .filter(|path| path.first().is_some_and(|room| room != source.room()))
        .collect()
}

#[test]
fn a_room_imports_only_what_its_line_in_the_table_allows() {
    let rooms = room_table();
    let mut wrong = Vec::new();
    for source in read_sources() {
        let Some(allowed) = rooms.get(source.room()) else {
            wrong.push(format!("src/{} is in no room of the table", source.module));
            continue;
        };
        for path in paths_out(&source) {
            // A name that lib.rs would re-export from a room counts as well.
            if !allowed.contains(&path[0].as_str()) {
                wrong.push(format!("src/{}: {} may not import {}", source.module, source.room(), path[0]));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_allows_no_import_that_no_file_has() {
    let sources = read_sources();
    let found: BTreeSet<(&str, String)> = sources
        .iter()
        .flat_map(|source| paths_out(source).into_iter().map(|path| (source.room(), path[0].clone())))
        .collect();
    let allowed = ROOMS.iter().flat_map(|(room, allowed)| allowed.iter().map(|imported| (*room, *imported)));
    let unused: Vec<(&str, &str)> =
        allowed.filter(|(room, imported)| !found.contains(&(*room, (*imported).to_owned()))).collect();
    assert!(unused.is_empty(), "the table allows what nobody needs: {unused:?}");
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let rag = vec!["rag".to_owned(), "prompt".to_owned()];
    for code in [
        "use crate::rag::prompt;",
        "use crate::rag::prompt::{self, assemble};",
        "use crate::{app::App, rag::{answer, prompt}};",
        "use crate::{\n    app,\n    rag::prompt as words,\n};",
        "pub(crate) use crate::rag::prompt::*;",
        "fn f() -> crate::rag::prompt::Prompt {",
        "    let prompt = <crate::rag::prompt::Prompt>::new();",
        "    ($($t:tt)*) => { $crate::rag::prompt::write($($t)*) };",
        "use super::super::rag::prompt::assemble;",
        "use super::{pump, super::rag::prompt};",
        "use self::super::super::rag::prompt;",
        "    super::super::rag::prompt::assemble::<u8>();",
    ] {
        let source = SourceFile::new("http/native", code);
        let found = source.crate_paths().iter().any(|path| path.starts_with(&rag));
        assert!(found, "{code}: {:?}", source.crate_paths());
    }
    for code in
        ["pub(in crate::rag::prompt) fn f() {}", "// crate::rag::prompt", "use other_crate::rag::prompt;"]
    {
        assert!(SourceFile::new("http/native", code).crate_paths().is_empty(), "{code}");
    }
    for code in [
        "use axum::Router;",
        "use axum;",
        "use axum as web;",
        "fn f() -> ::axum::Router {",
        "&axum::body::Body",
    ] {
        assert!(SourceFile::new("rag", code).uses_crate("axum"), "{code}");
    }
    assert!(!SourceFile::new("rag", "use my_axum::Router; use crate::axum::Router;").uses_crate("axum"));
}

#[test]
fn a_room_comes_after_the_rooms_that_it_imports() {
    // The table lists a room after the rooms that it imports.
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for imported in *allowed {
            let is_before = ROOMS[..place].iter().any(|(name, _)| name == imported);
            assert!(is_before, "{room} may import {imported}, which does not come before it in the table");
        }
    }
}

#[test]
fn a_wire_s_crate_stays_in_its_room() {
    let mut wrong = Vec::new();
    for source in read_sources() {
        for (name, rooms) in CRATES {
            if !rooms.contains(&source.room()) && source.uses_crate(name) {
                wrong.push(format!("src/{}: {name} belongs to {}", source.module, rooms.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the files that each file imports: each path resolved to the longest module that is a file.
fn collect_imports() -> BTreeMap<String, BTreeSet<String>> {
    let sources = read_sources();
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
    let is_folder = |module: &str| modules.iter().any(|other| other.starts_with(&format!("{module}/")));
    let resolve = |path: &Vec<String>| {
        (1..=path.len())
            .rev()
            .map(|parts| path[..parts].join("/"))
            .find(|module| modules.contains(module.as_str()))
    };
    let mut imports = BTreeMap::new();
    for source in &sources {
        let mut found: BTreeSet<String> = source.crate_paths().iter().filter_map(resolve).collect();
        if is_folder(&source.module) {
            // A `use child::Name` of a folder counts; `mod child;` alone is no import.
            let children =
                modules.iter().filter_map(|module| module.strip_prefix(&format!("{}/", source.module)));
            for child in children.filter(|child| !child.contains('/')) {
                if source.uses_crate(child) {
                    found.insert(format!("{}/{child}", source.module));
                }
            }
        }
        found.remove(&source.module);
        imports.insert(source.module.clone(), found);
    }
    imports
}

/// Returns every file that can be reached from `start` by imports.
fn reachable_files<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, start: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![start]);
    while let Some(module) = left.pop() {
        for imported in imports.get(module).into_iter().flatten() {
            if reached.insert(imported.as_str()) {
                left.push(imported);
            }
        }
    }
    reached
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let imports = collect_imports();
    let mut circles = Vec::new();
    for (module, imported) in &imports {
        let back = imported.iter().filter(|other| reachable_files(&imports, other).contains(module.as_str()));
        circles.extend(back.map(|other| format!("src/{module} imports src/{other}, which leads back")));
    }
    // A folder's `mod.rs` often closes a circle: import the file that defines the name, not the folder.
    assert!(circles.is_empty(), "import the file that defines a name, not its folder:\n{}", circles.join("\n"));
}
