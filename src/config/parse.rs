//! The settings that need more than a number: keys, URLs, origins, thinking.

use http::Uri;
use secrecy::SecretString;
use url::Url;

use super::OFFLINE_MODEL;
use super::vars::Reader;
use super::{GeminiConfig, IndexConfig, PayloadKeys, RemoteConfig};

/// Port of Qdrant's REST interface, which people copy from their browser.
const QDRANT_REST_PORT: u16 = 6333;
/// Port of Qdrant's gRPC interface, which Docent speaks.
const QDRANT_GRPC_PORT: u16 = 6334;

/// Origins whose pages may call Docent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Exactly these, each as a browser sends it; empty admits none but Docent's own pages.
    List(Vec<String>),
    /// `*`, written out.
    Any,
}

/// How much a model thinks before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinking {
    /// A budget of 0; for the 3.x Flash-Lite line, which refuses that, the level `minimal`.
    Off,
    /// `minimal`, `low`, `medium` or `high`; which of them a model takes differs.
    Level(String),
    /// Tokens; -1 lets the model decide.
    Budget(i32),
}

pub(super) fn gemini(reader: &mut Reader<'_>) -> Option<GeminiConfig> {
    let name = if reader.text("GEMINI_API_KEY").is_some() { "GEMINI_API_KEY" } else { "GOOGLE_API_KEY" };
    let base_url = reader.parse("GOOGLE_GEMINI_BASE_URL", base_url);
    let embedding_model = match embeds_offline(reader) {
        true => None,
        false => Some(reader.parse("EMBEDDING_MODEL", model_id).unwrap_or_default()),
    };
    let generative_model = reader.parse("GENERATIVE_MODEL", model_id);
    let fallback_model = reader.parse("GENERATIVE_MODEL_FALLBACK", model_id);
    let thinking = reader.parse("THINKING", thinking);
    let key = reader.text(name)?;
    let api_key = reader.parse(name, header_secret).unwrap_or_else(|| key.to_owned().into());
    Some(GeminiConfig {
        api_key,
        base_url: base_url.unwrap_or_default(),
        embedding_model,
        generative_model: generative_model.unwrap_or_default(),
        fallback_model,
        thinking,
    })
}

/// Whether the operator wants no embedding model, by the word or by the name that an index records.
pub(super) fn embeds_offline(reader: &Reader<'_>) -> bool {
    reader.text("EMBEDDING_MODEL").is_some_and(|model| model == "offline" || model == OFFLINE_MODEL)
}

pub(super) fn index(reader: &mut Reader<'_>) -> IndexConfig {
    let name = if reader.text("QDRANT_URL").is_some() { "QDRANT_URL" } else { "QDRANT_HOST" };
    if reader.text(name).is_none() {
        return IndexConfig::Embedded { data: reader.text("DOCENT_DATA").unwrap_or_default().into() };
    }
    let api_key = reader.parse("QDRANT_API_KEY", header_secret);
    let encrypted = reader.text("QDRANT_API_KEY").is_some();
    let owned = |reader: &Reader<'_>, name| reader.text(name).map(str::to_owned);
    IndexConfig::Remote(RemoteConfig {
        url: reader.parse(name, |text| qdrant_url(text, encrypted)).unwrap_or_default(),
        api_key,
        collection: owned(reader, "QDRANT_COLLECTION_NAME").unwrap_or_default(),
        vector_name: owned(reader, "QDRANT_VECTOR_NAME"),
        sparse_name: owned(reader, "QDRANT_SPARSE_NAME"),
        keys: PayloadKeys {
            text: owned(reader, "PAYLOAD_TEXT_KEY"),
            title: owned(reader, "PAYLOAD_TITLE_KEY"),
            section: owned(reader, "PAYLOAD_SECTION_KEY"),
            url: owned(reader, "PAYLOAD_URL_KEY"),
        },
    })
}

pub(super) fn allowed_origins(reader: &mut Reader<'_>) -> AllowedOrigins {
    let given = reader.list("ALLOWED_ORIGINS");
    if given == ["*"] {
        return AllowedOrigins::Any;
    }
    let origins: Option<Vec<String>> = given.into_iter().map(exact_origin).collect();
    if origins.is_none() {
        reader
            .fail("ALLOWED_ORIGINS", "must list origins as https://docs.example.com (no path), or be * alone");
    }
    AllowedOrigins::List(origins.unwrap_or_default())
}

/// The origin as a browser writes it (lower case, default port left out); `None` for anything that is more.
fn exact_origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let plain = url.username().is_empty() && url.password().is_none();
    (url.has_host() && bare && plain).then(|| url.origin().ascii_serialization()).filter(|o| o != "null")
}

/// A key that can be sent in a header.
pub(super) fn header_secret(text: &str) -> Result<SecretString, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned().into())
    } else {
        Err("cannot be sent in a header: it contains spaces, line breaks or other characters no key has"
            .to_owned())
    }
}

/// A model id as it stands in a URL path, without `models/`.
fn model_id(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("models/").unwrap_or(text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if id.bytes().all(plain) && id.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        Ok(id.to_owned())
    } else {
        Err("must be a model id as gemini-3.5-flash-lite".to_owned())
    }
}

fn base_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    let base = url.as_str().trim_end_matches('/');
    Ok(base.strip_suffix("/v1beta").unwrap_or(base).to_owned())
}

pub(super) fn site_url(text: &str) -> Result<Url, String> {
    http_url(text)
}

fn http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() => Ok(url),
        _ => Err("must be an http:// or https:// URL without a query".to_owned()),
    }
}

fn thinking(text: &str) -> Result<Thinking, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "off" => Ok(Thinking::Off),
        "minimal" | "low" | "medium" | "high" => Ok(Thinking::Level(lower)),
        _ => match lower.parse() {
            Ok(budget @ -1..=65_536) => Ok(Thinking::Budget(budget)),
            _ => Err("must be off, minimal, low, medium, high, or a token budget from -1 to 65536".to_owned()),
        },
    }
}

/// The gRPC address meant by a bare host, a host with a port, or a REST or gRPC URL. A path is left out: gRPC has
/// none, and what people copy from a browser ends in `/dashboard`.
fn qdrant_url(text: &str, encrypted: bool) -> Result<String, String> {
    const WANTED: &str = "must be a host, host:port, or an http:// or https:// URL";
    let assumed = if encrypted { "https" } else { "http" };
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("{assumed}://{text}") };
    let uri: Uri = with_scheme.parse().map_err(|_| WANTED.to_owned())?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or(WANTED)?;
    let authority = uri.authority().ok_or(WANTED)?;
    if authority.as_str().contains('@') {
        return Err("must not contain a user or password; set QDRANT_API_KEY instead".to_owned());
    }
    let port = match authority.port_u16() {
        None | Some(QDRANT_REST_PORT) => QDRANT_GRPC_PORT,
        Some(port) => port,
    };
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}
