//! The front matter of a page: the YAML between the `---` of its first line and the next. No I/O.

use serde_json::{Map, Value};

/// What Docusaurus and Docent read of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matter {
    /// Stands for the file's name in the address.
    pub id: Option<String>,
    /// The address below the route base, or from the page's folder.
    pub slug: Option<String>,
    /// Title of the page.
    pub title: Option<String>,
    /// Its name in the sidebar.
    pub sidebar_label: Option<String>,
    /// What it is about.
    pub description: Option<String>,
    /// `draft` or `unlisted`: readers are not led there.
    pub hidden: bool,
    /// `parse_number_prefixes: false`: numbers in names stay.
    pub keeps_numbers: bool,
    /// `mdx.format: md`: the body is no MDX.
    pub is_markdown: bool,
    /// Every key, for filters of the operator's own.
    pub all: Map<String, Value>,
}

/// Splits a source into front matter and body, and reads the front matter.
///
/// # Errors
///
/// What is wrong with the YAML.
pub fn read(source: &str) -> Result<(Matter, &str), String> {
    let source = source.trim_start_matches('\u{feff}');
    let Some((yaml, body)) = split(source) else { return Ok((Matter::default(), source)) };
    let wrong = |cause: &str| format!("its front matter is not valid YAML: {cause}");
    let all: Option<Map<String, Value>> =
        serde_saphyr::from_str(yaml).map_err(|error| wrong(&first_line(&error.to_string())))?;
    let all = all.unwrap_or_default();
    let text = |key: &str| match all.get(key) {
        Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let is = |key: &str, value: bool| all.get(key) == Some(&Value::Bool(value));
    let matter = Matter {
        id: text("id"),
        slug: text("slug"),
        title: text("title"),
        sidebar_label: text("sidebar_label"),
        description: text("description"),
        hidden: is("draft", true) || is("unlisted", true),
        keeps_numbers: is("parse_number_prefixes", false),
        is_markdown: all.get("mdx").and_then(|mdx| mdx.get("format")).is_some_and(|format| format == "md"),
        all,
    };
    match &matter.id {
        Some(id) if id.contains('/') => {
            Err(format!("its id {id:?} contains a slash, which Docusaurus refuses"))
        }
        _ => Ok((matter, body)),
    }
}

/// The YAML and what follows it; `None` where the source does not begin with `---`, or the YAML never ends.
fn split(source: &str) -> Option<(&str, &str)> {
    let rest = source.strip_prefix("---\n").or_else(|| source.strip_prefix("---\r\n"))?;
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some((&rest[..end], &rest[end + line.len()..]));
        }
        end += line.len();
    }
    None
}

/// The first line of the parser's message, with lines counted as in the file, which begins with `---`.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim().trim_start_matches("error: ");
    let Some((number, rest)) = line.strip_prefix("line ").and_then(|rest| rest.split_once(' ')) else {
        return line.to_owned();
    };
    number.parse::<usize>().map_or_else(|_| line.to_owned(), |number| format!("line {} {rest}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_matter_are_read_and_the_body_follows() {
        let source = "\u{feff}---\r\ntitle: \"A: B\"\nid: 7\nslug: /x\ndraft: true\ntags: [a, b]\n---\r\nBody";
        let (matter, body) = read(source).unwrap();
        assert_eq!((matter.title.as_deref(), matter.id.as_deref()), (Some("A: B"), Some("7")));
        assert_eq!((matter.slug.as_deref(), matter.hidden, body), (Some("/x"), true, "Body"));
        assert_eq!(matter.all["tags"][1], "b");
    }

    #[test]
    fn a_source_without_front_matter_is_all_body() {
        for source in ["# Hello", "", "---\nno end", "----\n"] {
            assert_eq!(read(source).unwrap(), (Matter::default(), source));
        }
        assert_eq!(read("---\n---\nx").unwrap().1, "x");
    }

    #[test]
    fn a_broken_line_is_counted_as_in_the_file() {
        let error = read("---\nslug: /x\ntitle: A: B\n---\n").unwrap_err();
        assert!(error.contains("line 3 column"), "{error}");
    }

    #[test]
    fn broken_front_matter_is_refused_with_its_cause() {
        for source in ["---\ntitle: [a\n---\n", "---\n- a\n---\n", "---\nid: a/b\n---\n"] {
            let error = read(source).unwrap_err();
            assert!(error.contains("front matter") || error.contains("slash"), "{error}");
            assert!(!error.contains("error:"), "{error}");
        }
    }
}
