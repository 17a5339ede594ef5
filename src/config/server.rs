//! Reads the address to listen on, and the origins that may call.

use url::Url;

use super::vars::Reader;

/// Names the address to listen on.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address or host name.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
}

/// Lists the origins whose pages may call Docent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Exactly these origins, each as a browser sends it; an empty list admits only Docent's own pages.
    List(Vec<String>),
    /// Every origin: `*`, which must be written out.
    Any,
}

impl Listen {
    /// Reads `HOST` and `PORT`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let host = reader.owned_text("HOST").unwrap_or_default();
        let port = reader.number("PORT", "a port number, 0 to 65535").unwrap_or_default();
        Self { host, port }
    }
}

impl AllowedOrigins {
    /// Reads `ALLOWED_ORIGINS`.
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let given = reader.list("ALLOWED_ORIGINS");
        if given == ["*"] {
            return Self::Any;
        }
        let origins: Option<Vec<String>> = given.into_iter().map(parse_origin).collect();
        if origins.is_none() {
            let message = "must list origins as https://docs.example.com (no path), or be * alone";
            reader.fail("ALLOWED_ORIGINS", message);
        }
        Self::List(origins.unwrap_or_default())
    }
}

/// Returns the origin as a browser writes it, in lower case and without a default port; `None` if the text is
/// more than an origin.
fn parse_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let plain = url.username().is_empty() && url.password().is_none();
    (url.has_host() && bare && plain).then(|| url.origin().ascii_serialization()).filter(|o| o != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_as_a_browser_writes_it() {
        for (given, expected) in [
            ("https://Docs.Example:443", Some("https://docs.example")),
            ("http://localhost:3000/", Some("http://localhost:3000")),
            ("https://a.example/docs", None),
            ("https://user@a.example", None),
            ("a.example", None),
            ("null", None),
        ] {
            assert_eq!(parse_origin(given).as_deref(), expected, "{given}");
        }
    }
}
