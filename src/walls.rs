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
    // The domain, the settings, and two services for every room.
    ("chat", &["text"]),
    ("config", &["chat", "text"]),
    ("limits", &["config"]),
    ("telemetry", &["chat", "config"]),
    // Dependencies: neither knows the other.
    ("provider", &["chat", "config", "language", "limits", "telemetry", "text"]),
    ("retrieval", &["chat", "config", "language", "text"]),
    ("error", &["chat", "limits", "provider", "retrieval"]),
    // From a question to an answer.
    ("rag", &["chat", "config", "error", "language", "limits", "provider", "retrieval", "telemetry", "text"]),
    ("eval", &["chat", "error", "rag", "text"]),
    // From pages to an index.
    ("docs", &["chat", "config", "language", "text"]),
    ("indexing", &["chat", "config", "docs", "provider", "retrieval", "text"]),
    // The parts of a running process.
    ("startup", &["config", "docs", "indexing", "provider", "retrieval", "telemetry"]),
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
    ("tower_http", &["http"]),
    ("reqwest", &["provider"]),
    ("qdrant_client", &["retrieval"]),
    ("qdrant_edge", &["retrieval"]),
    ("tonic", &["retrieval"]),
    ("clap", &["cli"]),
    ("markdown", &["docs"]),
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
    fn room(&self) -> &str {
        self.module.split('/').next().unwrap_or_default()
    }

    /// Returns every path that begins with `start`, as `["http", "native", "wire"]` for
    /// `crate::http::native::wire`; a group in braces gives one path for each member.
    fn paths(&self, start: &str) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for (at, _) in self.code.match_indices(start) {
            let before = self.code[..at].chars().next_back();
            // `pub(in crate::http)` is a visibility, no import.
            let is_visibility = self.code[..at].ends_with("(in ");
            if is_visibility || before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            expand_paths(&self.code[at + start.len()..], &mut Vec::new(), &mut paths);
        }
        paths
    }
}

/// Expands a path with groups, as `a::{b, c::d}`, into its single paths. Returns the length that was read.
fn expand_paths(code: &str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    let mut at = 0;
    loop {
        let rest = &code[at..];
        if let Some(group) = rest.strip_prefix('{') {
            at += 1;
            let mut group = group;
            loop {
                let skipped = group.len() - group.trim_start_matches([' ', '\n', ',']).len();
                group = &group[skipped..];
                at += skipped;
                if group.is_empty() || group.starts_with('}') {
                    at += 1;
                    break;
                }
                let read = expand_paths(group, prefix, paths).max(1);
                group = &group[read..];
                at += read;
            }
            prefix.truncate(depth);
            return at;
        }
        let name = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        prefix.push(rest[..name].to_owned());
        at += name;
        if code[at..].starts_with("::")
            && code[at + 2..].starts_with(|c: char| c.is_alphabetic() || c == '{' || c == '_')
        {
            at += 2;
            if code[at..].starts_with('{') {
                let read = expand_paths(&code[at..], prefix, paths);
                prefix.truncate(depth);
                return at + read;
            }
            continue;
        }
        paths.push(prefix.clone());
        prefix.truncate(depth);
        // An alias, `as _`, belongs to the path.
        let alias = code[at..].strip_prefix(" as ").map_or(0, |alias| {
            4 + alias.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(alias.len())
        });
        return at + alias;
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

/// Reads every file of `src/` but the crate's root and this one.
fn read_sources() -> Vec<SourceFile> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let has_no_room = |module: &str| {
        matches!(module, "lib" | "main" | "walls" | "words" | "fuzzing") || module.ends_with("_tests")
    };
    let read = |path: PathBuf| {
        let module = path.strip_prefix(&src).unwrap().with_extension("").to_str().unwrap().replace('\\', "/");
        let module = module.strip_suffix("/mod").unwrap_or(&module).to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        SourceFile { module, code: lines.collect::<Vec<_>>().join("\n") }
    };
    let sources = list_files(&src).into_iter().map(read);
    sources.filter(|source| !has_no_room(&source.module)).collect()
}

fn room_table() -> BTreeMap<&'static str, &'static [&'static str]> {
    ROOMS.iter().copied().collect()
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
        for path in source.paths("crate::") {
            let room = path[0].as_str();
            if room != source.room() && rooms.contains_key(room) && !allowed.contains(&room) {
                wrong.push(format!("src/{}: {} may not import {room}", source.module, source.room()));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_room_comes_after_the_rooms_that_it_imports() {
    // The table lists a room after the rooms that it imports.
    for (place, (room, allowed)) in ROOMS.iter().enumerate() {
        for imported in *allowed {
            let is_before = ROOMS[..place].iter().any(|(name, _)| name == imported);
            assert!(is_before, "{room} imports {imported}, which does not come before it in the table");
        }
    }
}

#[test]
fn a_wire_s_crate_stays_in_its_room() {
    let mut wrong = Vec::new();
    for source in read_sources() {
        for (name, rooms) in CRATES {
            if !rooms.contains(&source.room()) && !source.paths(&format!("{name}::")).is_empty() {
                wrong.push(format!("src/{}: {name} belongs to {}", source.module, rooms.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the files that each file imports: `super::…` and `crate::…` paths, resolved to the longest module
/// that is a file.
fn collect_imports() -> BTreeMap<String, BTreeSet<String>> {
    let sources = read_sources();
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
    let is_folder = |module: &str| modules.iter().any(|other| other.starts_with(&format!("{module}/")));
    let resolve = |path: &[String]| {
        (1..=path.len())
            .rev()
            .map(|parts| path[..parts].join("/"))
            .find(|module| modules.contains(module.as_str()))
    };
    let mut imports = BTreeMap::new();
    for source in &sources {
        let own: Vec<String> = source.module.split('/').map(str::to_owned).collect();
        let parent = own[..own.len() - 1].to_vec();
        let mut found: BTreeSet<String> =
            source.paths("crate::").iter().filter_map(|path| resolve(path)).collect();
        for path in source.paths("super::") {
            found.extend(resolve(&[parent.clone(), path].concat()));
        }
        if is_folder(&source.module) {
            // A folder's `use child::Name`; `mod child;` alone is no import.
            let children =
                modules.iter().filter_map(|module| module.strip_prefix(&format!("{}/", source.module)));
            for child in children.filter(|child| !child.contains('/')) {
                if !source.paths(&format!("{child}::")).is_empty() {
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
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
