//! The addresses Docusaurus gives to Markdown files. No I/O.

/// A file's name without its extension.
pub fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".mdx").or_else(|| name.strip_suffix(".md")).unwrap_or(name)
}

/// Where a page is: its slug, or the path of its file, under `base`. A slug that begins with `/` is meant from the
/// base, any other from the file's folder.
pub fn route(base: &str, file: &str, slug: Option<&str>) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match slug {
        Some(slug) if slug.starts_with('/') => slug.to_owned(),
        Some(slug) => format!("{folder}/{slug}"),
        None => format!("{folder}/{}", stem(file)),
    };
    match path.trim_matches('/') {
        "" => base.to_owned(),
        path => format!("{base}/{path}"),
    }
}

/// What a link in a page becomes: one to a Markdown file leads to that file's page, which `page` knows by file name.
pub fn link(target: &str, page: impl Fn(&str) -> Option<String>) -> String {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = path.strip_prefix("./").unwrap_or(path);
    match (page(file), anchor) {
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
        for (file, slug, expected) in [
            ("intro.md", Some("/"), "/docs"),
            ("deploy.md", None, "/docs/deploy"),
            ("a/b.mdx", None, "/docs/a/b"),
            ("a/b.md", Some("c"), "/docs/a/c"),
            ("a/b.md", Some("/c"), "/docs/c"),
        ] {
            assert_eq!(route("/docs", file, slug), expected, "{file} {slug:?}");
        }
    }

    #[test]
    fn links_between_files_become_links_between_pages() {
        let page = |file: &str| (file == "errors.md").then(|| "/docs/errors".to_owned());
        assert_eq!(link("./errors.md#codes", page), "/docs/errors#codes");
        assert_eq!(link("errors.md", page), "/docs/errors");
        assert_eq!(link("https://x.example/errors.md", page), "https://x.example/errors.md");
        assert_eq!(link("#here", page), "#here");
    }
}
