//! Reads the settings of the Gemini API and of its models.

use secrecy::SecretString;

use super::vars::{Reader, parse_http_url};

/// Name under which an index records that it was embedded offline; the name changes when these embeddings
/// change.
pub const OFFLINE_MODEL: &str = "offline-3";

/// Largest thinking budget, in tokens; a larger one stops the start.
const MAX_THINKING_BUDGET: i32 = 65_536;

/// Holds the key and address of the Gemini API, and names the models to use.
#[derive(Debug, Clone)]
pub struct GeminiConfig {
    /// API key; sent in `x-goog-api-key` and nowhere else.
    pub api_key: SecretString,
    /// Address of the API, without a trailing slash and without the version segment.
    pub base_url: String,
    /// Id of the model that embeds, without `models/`; `None` embeds offline.
    pub embedding_model: Option<String>,
    /// Id of the model that writes, without `models/`.
    pub generative_model: String,
    /// Id of the model that writes when the first one fails before its first text, without `models/`.
    pub fallback_model: Option<String>,
    /// Amount of thinking; `None` sends nothing and leaves the amount to the model.
    pub thinking: Option<Thinking>,
}

/// Selects how much a model thinks before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinking {
    /// No thinking: a budget of 0; for the 3.x Flash-Lite line, which refuses 0, the level `minimal`.
    Off,
    /// A level: `minimal`, `low`, `medium` or `high`; not every model accepts every level.
    Level(String),
    /// A budget in tokens; -1 lets the model decide.
    Budget(i32),
}

impl GeminiConfig {
    /// Reads and checks every setting of Gemini; returns `None` if no key is set.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let key_name =
            if reader.text("GEMINI_API_KEY").is_some() { "GEMINI_API_KEY" } else { "GOOGLE_API_KEY" };
        let base_url = reader.parse("GOOGLE_GEMINI_BASE_URL", parse_base_url);
        let embedding_model = match embeds_offline(reader) {
            true => None,
            false => Some(reader.parse("EMBEDDING_MODEL", parse_model_id).unwrap_or_default()),
        };
        let generative_model = reader.parse("GENERATIVE_MODEL", parse_model_id);
        let fallback_model = reader.parse("GENERATIVE_MODEL_FALLBACK", parse_model_id);
        let thinking = reader.parse("THINKING", parse_thinking);
        reader.text(key_name)?;
        Some(Self {
            api_key: reader.secret(key_name).unwrap_or_default(),
            base_url: base_url.unwrap_or_default(),
            embedding_model,
            generative_model: generative_model.unwrap_or_default(),
            fallback_model,
            thinking,
        })
    }
}

/// Returns true if the operator wants no embedding model: `EMBEDDING_MODEL` is `offline` or [`OFFLINE_MODEL`].
pub(super) fn embeds_offline(reader: &Reader<'_>) -> bool {
    reader.text("EMBEDDING_MODEL").is_some_and(|model| model == "offline" || model == OFFLINE_MODEL)
}

/// Returns a model id as a URL path contains it, without `models/`.
fn parse_model_id(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("models/").unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.bytes().all(plain) && id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        Ok(id.to_owned())
    } else {
        Err("must be a model id as gemini-3.5-flash-lite".to_owned())
    }
}

/// Returns the address of the API without its trailing slash and its version segment, which people copy along.
fn parse_base_url(text: &str) -> Result<String, String> {
    let url = parse_http_url(text)?;
    let base = url.as_str().trim_end_matches('/');
    Ok(base.strip_suffix("/v1beta").unwrap_or(base).to_owned())
}

fn parse_thinking(text: &str) -> Result<Thinking, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "off" => Ok(Thinking::Off),
        "minimal" | "low" | "medium" | "high" => Ok(Thinking::Level(lower)),
        _ => match lower.parse() {
            Ok(budget @ -1..=MAX_THINKING_BUDGET) => Ok(Thinking::Budget(budget)),
            _ => Err(format!(
                "must be off, minimal, low, medium, high, or a token budget from -1 to {MAX_THINKING_BUDGET}"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::vars::Vars;
    use super::*;
    use secrecy::ExposeSecret as _;

    fn read(pairs: &[(&str, &str)]) -> GeminiConfig {
        let vars = Vars::from_iter([("GOOGLE_API_KEY", "other")].into_iter().chain(pairs.iter().copied()));
        GeminiConfig::read(&mut Reader::new(&vars)).unwrap()
    }

    #[test]
    fn gemini_api_key_wins_over_google_api_key_and_is_trimmed() {
        assert_eq!(read(&[("GEMINI_API_KEY", " mine \n")]).api_key.expose_secret(), "mine");
        assert_eq!(read(&[]).api_key.expose_secret(), "other");
    }

    #[test]
    fn a_gemini_base_url_may_end_in_a_slash_or_in_the_version() {
        for given in ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1beta/"] {
            assert_eq!(read(&[("GOOGLE_GEMINI_BASE_URL", given)]).base_url, "http://127.0.0.1:9", "{given}");
        }
    }

    #[test]
    fn no_model_embeds_where_the_operator_says_offline() {
        for name in ["offline", OFFLINE_MODEL] {
            assert_eq!(read(&[("EMBEDDING_MODEL", name)]).embedding_model, None, "{name}");
        }
        assert_eq!(read(&[("EMBEDDING_MODEL", "models/x")]).embedding_model.as_deref(), Some("x"));
    }
}
