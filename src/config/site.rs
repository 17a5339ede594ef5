//! Reads the settings of the documented site.

use url::Url;

use super::vars::{Reader, parse_http_url};

/// Longest `INSTRUCTIONS`, in characters; longer ones stop the start.
pub(super) const MAX_INSTRUCTIONS_CHARS: usize = 2_000;

/// Describes the documented site.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// Address of the site; makes relative links absolute.
    pub url: Option<Url>,
    /// Name of the documented product, for the prompt.
    pub name: Option<String>,
    /// The operator's own rules for answers; they end the stable part of the prompt.
    pub instructions: Option<String>,
    /// Payload keys that a request may filter by.
    pub filter_keys: Vec<String>,
}

impl SiteConfig {
    /// Reads the settings of the site.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            url: reader.parse("SITE_URL", parse_http_url),
            name: reader.owned_text("SITE_NAME"),
            instructions: reader.parse("INSTRUCTIONS", parse_instructions),
            filter_keys: reader.list("FILTER_KEYS").into_iter().map(str::to_owned).collect(),
        }
    }
}

fn parse_instructions(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=MAX_INSTRUCTIONS_CHARS => Ok(text.to_owned()),
        n => Err(format!("is {n} characters long; at most {MAX_INSTRUCTIONS_CHARS} fit")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::vars::Vars;
    use super::*;

    #[test]
    fn instructions_fit_up_to_their_bound_and_no_further() {
        for (chars, fits) in [(MAX_INSTRUCTIONS_CHARS, true), (MAX_INSTRUCTIONS_CHARS + 1, false)] {
            let vars = Vars::from_iter([("INSTRUCTIONS", "ü".repeat(chars))]);
            let mut reader = Reader::new(&vars);
            assert_eq!(SiteConfig::read(&mut reader).instructions.is_some(), fits, "{chars}");
            assert_eq!(reader.finish().is_ok(), fits, "{chars}");
        }
    }
}
