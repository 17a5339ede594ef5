//! Checks the form of every comment of the project (the first words of a documentation comment, and the width),
//! and that no two types share a name.
//!
//! rustfmt wraps comments only on its nightly channel, so the width is checked here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// First words of a sentence whose subject a reader cannot see.
const VAGUE_BEGINNINGS: &[&str] = &["What", "Whether", "Who", "It", "Its", "The same"];
/// Folders whose files are checked.
const FOLDERS: &[&str] = &["src", "static", "tests", "examples"];
/// Folders that hold other projects' files, or files that a build makes.
const SKIPPED: &[&str] = &["node_modules", "build", ".docusaurus", "fixture"];
/// Longest line of a comment, in characters; `max_width` of `.rustfmt.toml`.
const MAX_WIDTH: usize = 112;

/// Returns every source file of the project, with its text.
fn read_files() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_kept = |entry: &walkdir::DirEntry| !SKIPPED.iter().any(|name| entry.file_name() == *name);
    let is_source = |path: &Path| {
        path.extension()
            .is_some_and(|ending| ["rs", "js", "mjs", "ts", "css", "sh"].iter().any(|known| ending == *known))
    };
    let entries = FOLDERS
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(root.join(folder)).into_iter().filter_entry(is_kept));
    let paths = entries.filter_map(Result::ok).map(walkdir::DirEntry::into_path).filter(|path| is_source(path));
    paths
        .map(|path| (path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// Returns the text of a line that is a comment alone, with the mark that begins it.
fn parse_comment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let marks = ["///", "//!", "//", "/**", "*/", "*", "# "];
    marks.iter().find_map(|mark| Some((*mark, line.strip_prefix(mark)?.trim())))
}

#[test]
fn no_comment_is_wider_than_the_formatter_s_width() {
    let settings = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(".rustfmt.toml")).unwrap();
    assert!(settings.contains(&format!("max_width = {MAX_WIDTH}\n")), "{settings}");
    let mut wide = Vec::new();
    for (path, text) in read_files() {
        for (number, line) in text.lines().enumerate() {
            if parse_comment(line).is_some_and(|(_, words)| words.contains(' '))
                && line.chars().count() > MAX_WIDTH
            {
                wide.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wrap at {MAX_WIDTH} characters:\n{}", wide.join("\n"));
}

#[test]
fn a_documentation_comment_begins_with_words_that_name_their_object() {
    let mut vague = Vec::new();
    for (path, text) in read_files() {
        let mut before = None;
        for (number, line) in text.lines().enumerate() {
            let here = parse_comment(line);
            if let Some((mark, words)) = here {
                // The first line of a comment, or of the text within `/** … */`.
                let is_first = before.is_none_or(|(last, text): (&str, &str)| last == "/**" && text.is_empty());
                let is_doc = matches!(mark, "///" | "//!" | "/**" | "*");
                let is_vague = |beginning: &&str| {
                    let rest = words.strip_prefix(*beginning);
                    rest.is_some_and(|rest| rest.starts_with([' ', ',', '\'']))
                };
                if is_first && is_doc && VAGUE_BEGINNINGS.iter().any(is_vague) {
                    vague.push(format!("{}:{}: {words}", path.display(), number + 1));
                }
            }
            before = here;
        }
    }
    assert!(vague.is_empty(), "begin with a verb and an object:\n{}", vague.join("\n"));
}

#[test]
fn no_type_name_stands_for_two_types() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in read_files().into_iter().filter(|(path, _)| path.starts_with("src")) {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in code.lines() {
            let item = line
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub(super) ")
                .trim_start_matches("pub ");
            let name = ["struct ", "enum ", "type "].iter().find_map(|kind| item.strip_prefix(kind));
            let name = name.and_then(|name| name.split(|c: char| !c.is_alphanumeric()).next());
            // Each room has its own error, as is usual in Rust.
            if let Some(name) = name.filter(|name| *name != "Error") {
                places.entry(name.to_owned()).or_default().push(path.display().to_string());
            }
        }
    }
    assert!(places.len() > 100, "only {} types were found", places.len());
    places.retain(|_, places| places.len() > 1);
    assert!(places.is_empty(), "one name for several types: {places:?}");
}
