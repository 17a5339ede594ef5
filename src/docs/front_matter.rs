//! Parses the front matter of a page: the YAML between the `---` of its first line and the next `---`. No I/O.

use serde_json::{Map, Value};

/// Holds the keys of a front matter that Docusaurus and Docent read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FrontMatter {
    /// Name that replaces the file's name in the address.
    pub(super) id: Option<String>,
    /// Address below the route base if it begins with `/`, else from the page's folder.
    pub(super) slug: Option<String>,
    /// Title of the page.
    pub(super) title: Option<String>,
    /// Name of the page in the sidebar.
    pub(super) sidebar_label: Option<String>,
    /// Description of the page.
    pub(super) description: Option<String>,
    /// True for a `draft` and an `unlisted` page, to which readers are not sent.
    pub(super) is_hidden: bool,
    /// True if the numbers in front of names stay (`parse_number_prefixes: false`).
    pub(super) keeps_numbers: bool,
    /// True if the body is Markdown, not MDX (`mdx.format: md`).
    pub(super) is_markdown: bool,
    /// Every key, for the filter keys that the operator chose.
    pub(super) values: Map<String, Value>,
}

impl FrontMatter {
    /// Splits a source into front matter and body, and parses the front matter.
    ///
    /// # Errors
    ///
    /// Returns the fault of the YAML, or of the id.
    pub(super) fn parse(source: &str) -> Result<(Self, &str), String> {
        let source = source.trim_start_matches('\u{feff}');
        let Some((yaml, body)) = split_yaml(source) else { return Ok((Self::default(), source)) };
        let wrong = |cause: &str| format!("its front matter is not valid YAML: {cause}");
        let values: Option<Map<String, Value>> =
            serde_saphyr::from_str(yaml).map_err(|error| wrong(&first_line_of_message(&error.to_string())))?;
        let values = values.unwrap_or_default();
        let text = |key: &str| match values.get(key) {
            Some(Value::String(text)) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let has_flag = |key: &str, value: bool| values.get(key) == Some(&Value::Bool(value));
        let front_matter = Self {
            id: text("id"),
            slug: text("slug"),
            title: text("title"),
            sidebar_label: text("sidebar_label"),
            description: text("description"),
            is_hidden: has_flag("draft", true) || has_flag("unlisted", true),
            keeps_numbers: has_flag("parse_number_prefixes", false),
            is_markdown: values
                .get("mdx")
                .and_then(|mdx| mdx.get("format"))
                .is_some_and(|format| format == "md"),
            values,
        };
        match &front_matter.id {
            Some(id) if id.contains('/') => {
                Err(format!("its id {id:?} contains a slash, which Docusaurus refuses"))
            }
            _ => Ok((front_matter, body)),
        }
    }
}

/// Splits a source into the YAML and the body; `None` if the source does not begin with `---`, or if no second
/// `---` ends the YAML.
fn split_yaml(source: &str) -> Option<(&str, &str)> {
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

/// Returns the first line of the parser's message, with lines counted as in the file, which begins with `---`.
fn first_line_of_message(message: &str) -> String {
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
        let (front_matter, body) = FrontMatter::parse(source).unwrap();
        assert_eq!((front_matter.title.as_deref(), front_matter.id.as_deref()), (Some("A: B"), Some("7")));
        assert_eq!((front_matter.slug.as_deref(), front_matter.is_hidden, body), (Some("/x"), true, "Body"));
        assert_eq!(front_matter.values["tags"][1], "b");
    }

    #[test]
    fn a_source_without_front_matter_is_all_body() {
        for source in ["# Hello", "", "---\nno end", "----\n"] {
            assert_eq!(FrontMatter::parse(source).unwrap(), (FrontMatter::default(), source));
        }
        assert_eq!(FrontMatter::parse("---\n---\nx").unwrap().1, "x");
    }

    #[test]
    fn a_broken_line_is_counted_as_in_the_file() {
        let error = FrontMatter::parse("---\nslug: /x\ntitle: A: B\n---\n").unwrap_err();
        assert!(error.contains("line 3 column"), "{error}");
    }

    #[test]
    fn broken_front_matter_is_refused_with_its_cause() {
        for source in ["---\ntitle: [a\n---\n", "---\n- a\n---\n", "---\nid: a/b\n---\n"] {
            let error = FrontMatter::parse(source).unwrap_err();
            assert!(error.contains("front matter") || error.contains("slash"), "{error}");
            assert!(!error.contains("error:"), "{error}");
        }
    }
}
