//! Computes the addresses and anchors that Docusaurus 3 gives to Markdown files and their headings. No I/O.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::front_matter::FrontMatter;
use super::pattern::compile_pattern;

/// Number in front of a name that only sets the place in the order, as in `01-intro` (plugin-content-docs,
/// `numberPrefix`).
static NUMBER_PREFIX: LazyLock<Regex> = LazyLock::new(|| compile_pattern(r"^[0-9]+\s*[-_.]+\s*([^-_.\s].*)$"));
/// Beginning of a date or a version, whose numbers are part of the name.
static DATE_OR_VERSION: LazyLock<Regex> = LazyLock::new(|| compile_pattern(r"^[0-9]+[-_.][0-9]+"));
/// Characters that github-slugger 1.5 drops: all but letters, marks, decimal digits, connectors such as `_`,
/// hyphens and spaces of Unicode 13.
static NOT_IN_SLUG: LazyLock<Regex> =
    LazyLock::new(|| compile_pattern(r"[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\- ]|\P{Age:13.0}"));

/// Returns the name of a file without its extension.
fn file_stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".mdx").or_else(|| name.strip_suffix(".md")).unwrap_or(name)
}

/// Removes the number in front of a name.
fn strip_number_prefix(name: &str) -> &str {
    if DATE_OR_VERSION.is_match(name) {
        return name;
    }
    NUMBER_PREFIX.captures(name).and_then(|found| found.get(1)).map_or(name, |rest| rest.as_str())
}

/// Returns the name of a page that has no other title: its id, or the name of its file.
pub(super) fn page_name(file: &str, front_matter: &FrontMatter) -> String {
    let stem = file_stem(file);
    let plain = if front_matter.keeps_numbers { stem } else { strip_number_prefix(stem) };
    front_matter.id.clone().unwrap_or_else(|| plain.to_owned())
}

/// Returns the path of the page of `file` (relative, with `/`) under the route base `base`.
pub(super) fn page_address(base: &str, file: &str, front_matter: &FrontMatter) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let plain = |name| if front_matter.keeps_numbers { name } else { strip_number_prefix(name) };
    let mut from: String =
        folder.split('/').filter(|name| !name.is_empty()).map(|n| format!("/{}", plain(n))).collect();
    from.push('/');
    let path = match &front_matter.slug {
        Some(slug) if slug.starts_with('/') => slug.clone(),
        Some(slug) => resolve_path(slug, &from),
        None if is_index(file_stem(file), folder) => from,
        None => resolve_path(&page_name(file, front_matter), &from),
    };
    let joined = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
    if joined.starts_with('/') { joined } else { format!("/{joined}") }
}

/// Returns true if a file is the page of its folder: `index`, `README`, or a file named like the folder.
fn is_index(stem: &str, folder: &str) -> bool {
    let parent = folder.rsplit('/').next().unwrap_or_default();
    let stem = stem.to_lowercase();
    stem == "index" || stem == "readme" || (!parent.is_empty() && stem == parent.to_lowercase())
}

/// Returns the file to which a path in `file` leads, below the same root. `@site/docs/x` begins at the site's
/// folder; its first part is assumed to be the root's folder.
pub(super) fn resolve_file(file: &str, path: &str) -> String {
    if let Some((_, below)) = path.strip_prefix("@site/").and_then(|path| path.split_once('/')) {
        return resolve_path(below, "").trim_start_matches('/').to_owned();
    }
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from = if path.starts_with('/') { "" } else { folder };
    resolve_path(path, from).trim_start_matches('/').to_owned()
}

/// Resolves a path from a folder, with `.` and `..`.
fn resolve_path(path: &str, from: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let is_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let slash = if is_folder && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

/// Returns the anchor of a heading as github-slugger makes it.
fn slugify(text: &str) -> String {
    NOT_IN_SLUG.replace_all(&text.to_lowercase(), "").replace(' ', "-")
}

/// Counts the anchors of one page: the first `setup` stays, the next become `setup-1`, `setup-2`.
#[derive(Debug, Default)]
pub(super) struct Anchors(HashMap<String, usize>);

impl Anchors {
    /// Returns the anchor of the next heading.
    pub(super) fn assign(&mut self, text: &str) -> String {
        let slug = slugify(text);
        let mut anchor = slug.clone();
        while self.0.contains_key(&anchor) {
            let count = self.0.entry(slug.clone()).or_default();
            *count += 1;
            anchor = format!("{slug}-{count}");
        }
        self.0.insert(anchor.clone(), 0);
        anchor
    }
}

/// Rewrites a link in the page of `file`: a link to another file becomes a link to that file's page.
/// `find_address` returns the address of a file's page. Other links stay.
pub(super) fn rewrite_link(target: &str, file: &str, find_address: impl Fn(&str) -> Option<String>) -> String {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.is_empty() || path.contains(':') {
        return target.to_owned();
    }
    match (find_address(&resolve_file(file, path)), anchor) {
        (Some(page), Some(anchor)) => format!("{page}#{anchor}"),
        (Some(page), None) => page,
        (None, _) => target.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_where_docusaurus_puts_it() {
        for (file, id, slug, expected) in [
            ("intro.md", None, Some("/"), "/docs/"),
            ("deploy.md", None, None, "/docs/deploy"),
            ("a/b.mdx", None, None, "/docs/a/b"),
            ("a/b.md", None, Some("c"), "/docs/a/c"),
            ("a/b.md", None, Some("/c"), "/docs/c"),
            ("a/b.md", None, Some("./c"), "/docs/a/c"),
            ("a/b.md", None, Some("../c/"), "/docs/c/"),
            ("01-a/02. b.md", None, None, "/docs/a/b"),
            ("a/b.md", Some("c"), None, "/docs/a/c"),
            ("a/index.md", None, None, "/docs/a/"),
            ("a/README.mdx", None, None, "/docs/a/"),
            ("a/A.md", None, None, "/docs/a/"),
            ("a/index.md", Some("c"), None, "/docs/a/"),
            ("index.md", None, None, "/docs/"),
            ("Ein Blatt/Übung.md", None, None, "/docs/Ein Blatt/Übung"),
        ] {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let front_matter = FrontMatter { id: owned(id), slug: owned(slug), ..FrontMatter::default() };
            assert_eq!(page_address("/docs", file, &front_matter), expected, "{file} {slug:?}");
        }
        assert_eq!(page_address("/", "a.md", &FrontMatter::default()), "/a");
        let keeps = FrontMatter { keeps_numbers: true, ..FrontMatter::default() };
        assert_eq!(page_address("/docs", "01-a/02-b.md", &keeps), "/docs/01-a/02-b");
    }

    #[test]
    fn links_between_files_become_links_between_pages() {
        let page = |file: &str| (file == "guides/errors.md").then(|| "/docs/errors".to_owned());
        for (target, expected) in [
            ("./errors.md#codes", "/docs/errors#codes"),
            ("../guides/errors.md", "/docs/errors"),
            ("/guides/errors.md", "/docs/errors"),
            ("https://x.example/errors.md", "https://x.example/errors.md"),
            ("#here", "#here"),
            ("other.md", "other.md"),
        ] {
            assert_eq!(rewrite_link(target, "guides/start.md", page), expected, "{target}");
        }
    }

    /// Reads pairs of texts: the input and the output of Docusaurus' own packages.
    fn read_facts(json: &str) -> Vec<(String, String)> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn slugs_and_number_prefixes_are_those_of_the_installed_docusaurus() {
        let slugs = read_facts(include_str!("../../tests/docusaurus/slugs.json"));
        let prefixes = read_facts(include_str!("../../tests/docusaurus/prefixes.json"));
        assert!(slugs.len() > 100 && prefixes.len() > 30);
        let wrong_slugs =
            slugs.iter().filter(|(text, expected)| slugify(text) != *expected).map(|(text, _)| text);
        assert_eq!(wrong_slugs.collect::<Vec<_>>(), Vec::<&String>::new());
        for (name, expected) in prefixes {
            assert_eq!(strip_number_prefix(&name), expected, "{name}");
        }
    }

    #[test]
    fn repeated_headings_get_numbers() {
        let mut anchors = Anchors::default();
        let made: Vec<String> = ["A", "A", "A-1", "A"].iter().map(|text| anchors.assign(text)).collect();
        assert_eq!(made, ["a", "a-1", "a-1-1", "a-2"]);
    }
}
