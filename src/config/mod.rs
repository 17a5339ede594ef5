//! Settings by concern, validated once, before a port is bound.
//!
//! `main` gathers flags, environment and `.env` into one map ([`Vars`]); [`Config::serve`], [`Config::index`] and
//! [`Config::demo`] read it. Tests pass a map of their own, so the process environment stays untouched.

mod limits;
mod parse;
mod settings;
mod vars;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

pub use limits::{HttpLimits, ProviderLimits, RagLimits};
pub use parse::{AllowedOrigins, Thinking};
pub use settings::{SETTINGS, Setting};
pub use vars::{ConfigError, Vars};

use vars::Reader;

/// Name under which an index records that it was embedded offline; a change of how those embeddings are made changes
/// it.
pub const OFFLINE_MODEL: &str = "offline-3";

/// Time for the dependencies to become reachable at the start.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Longest `INSTRUCTIONS`, in characters.
const MAX_INSTRUCTIONS_CHARS: usize = 2_000;

/// Everything Docent can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: Listen,
    /// Origins whose pages may call.
    pub allowed_origins: AllowedOrigins,
    /// Service that embeds and writes.
    pub provider: ProviderConfig,
    /// Pause between words of an offline answer.
    pub offline_token_delay: Duration,
    /// What to search.
    pub index: IndexConfig,
    /// The documented site.
    pub site: SiteConfig,
    /// Bounds of clients and connections.
    pub http_limits: HttpLimits,
    /// Deadlines of the stages of an answer, and the day's budget.
    pub rag_limits: RagLimits,
    /// Bounds of the provider's retries.
    pub provider_limits: ProviderLimits,
    /// Time for the dependencies to become reachable at the start, all together; then the start fails. No setting.
    pub start_patience: Duration,
    /// What `/metrics` asks for; `None` asks for nothing.
    pub metrics_token: Option<SecretString>,
}

/// Where to listen.
#[derive(Debug, Clone)]
pub struct Listen {
    /// Address or host name.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
}

/// Selects the service that embeds and writes.
#[derive(Debug, Clone)]
pub enum ProviderConfig {
    /// The Gemini API; its embeddings may still be made offline.
    Gemini(GeminiConfig),
    /// No service: passages and questions are embedded, and answers quoted, in this process.
    Offline,
}

/// How to reach Gemini and which models to use.
#[derive(Debug, Clone)]
pub struct GeminiConfig {
    /// Sent in `x-goog-api-key` and nowhere else.
    pub api_key: SecretString,
    /// Without a trailing slash and without the version segment.
    pub base_url: String,
    /// Model id, without `models/`; `None` embeds offline.
    pub embedding_model: Option<String>,
    /// Model id, without `models/`.
    pub generative_model: String,
    /// The model that is asked where that one does not begin, without `models/`.
    pub fallback_model: Option<String>,
    /// How much the model thinks; `None` sends nothing.
    pub thinking: Option<Thinking>,
}

/// What to search.
#[derive(Debug, Clone)]
pub enum IndexConfig {
    /// A Qdrant server, over gRPC.
    Remote(RemoteConfig),
    /// The index that lives in this process, in generations under a folder.
    Embedded {
        /// `DOCENT_DATA`.
        data: PathBuf,
    },
    /// Documentation that is indexed at start, in a temporary folder.
    Demo(DemoConfig),
}

/// What a demo shows.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// A folder of Markdown files; the bundled handbook without.
    pub docs: Option<PathBuf>,
    /// Where its pages are.
    pub route_base: String,
    /// Language tag of its pages.
    pub language: Option<String>,
}

/// A collection on a Qdrant server.
#[derive(Debug, Clone)]
pub struct RemoteConfig {
    /// gRPC address, with scheme and port.
    pub url: String,
    /// Sent in the `api-key` header and nowhere else.
    pub api_key: Option<SecretString>,
    /// Name of the collection.
    pub collection: String,
    /// Dense vector, where the collection has several.
    pub vector_name: Option<String>,
    /// Sparse vector, where the collection has several.
    pub sparse_name: Option<String>,
    /// Where the parts of a passage are, where the usual names do not fit.
    pub keys: PayloadKeys,
}

/// Payload keys the operator set, dots for nesting.
#[derive(Debug, Clone, Default)]
pub struct PayloadKeys {
    /// Of the text.
    pub text: Option<String>,
    /// Of the page title.
    pub title: Option<String>,
    /// Of the heading.
    pub section: Option<String>,
    /// Of the address.
    pub url: Option<String>,
}

/// The documented site.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// Makes relative links absolute.
    pub url: Option<Url>,
    /// Name of the documented product.
    pub name: Option<String>,
    /// The operator's own rules for answers.
    pub instructions: Option<String>,
    /// Payload keys a request may filter by.
    pub filter_keys: Vec<String>,
}

impl Config {
    /// The production server: needs a Gemini key, and `QDRANT_URL` or an index in `DOCENT_DATA`.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong or missing, by name.
    pub fn serve(vars: &Vars) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = parse::gemini(&mut reader);
        if gemini.is_none() {
            reader.fail(
                "GEMINI_API_KEY",
                "is not set: it embeds questions and writes answers (docent demo needs none)",
            );
        }
        let index = parse::index(&mut reader);
        Self::read(reader, gemini, index)
    }

    /// A run that writes the index: needs a Gemini key, unless `EMBEDDING_MODEL` is `offline`.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong or missing, by name.
    pub fn index(vars: &Vars) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = parse::gemini(&mut reader);
        if gemini.is_none() && !parse::embeds_offline(&reader) {
            let wanted =
                "is not set: it embeds the passages (EMBEDDING_MODEL=offline needs none, and finds less)";
            reader.fail("GEMINI_API_KEY", wanted);
        }
        let index = parse::index(&mut reader);
        Self::read(reader, gemini, index)
    }

    /// What a look at the pages alone needs: the site.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, by name.
    pub fn site(vars: &Vars) -> Result<SiteConfig, ConfigError> {
        let mut reader = Reader::new(vars);
        let site = site(&mut reader);
        reader.finish()?;
        Ok(site)
    }

    /// A demo: searched offline; with a Gemini key the answer is Gemini's.
    ///
    /// # Errors
    ///
    /// Every setting that is wrong, by name.
    pub fn demo(vars: &Vars, demo: DemoConfig) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = parse::gemini(&mut reader);
        // Embedding a whole folder would spend a free key's minute.
        let gemini = gemini.map(|gemini| GeminiConfig { embedding_model: None, ..gemini });
        let mut config = Self::read(reader, gemini, IndexConfig::Demo(demo))?;
        // The demo serves the pages itself: its links stay on this server.
        config.site.url = None;
        if let AllowedOrigins::List(origins) = &mut config.allowed_origins {
            // A Docusaurus in development may try the widget against the demo.
            origins.push("http://localhost:3000".to_owned());
        }
        Ok(config)
    }

    fn read(
        mut reader: Reader<'_>,
        gemini: Option<GeminiConfig>,
        index: IndexConfig,
    ) -> Result<Self, ConfigError> {
        let host = reader.text("HOST").unwrap_or_default().to_owned();
        let port = reader.number("PORT", "a port number, 0 to 65535").unwrap_or_default();
        let rag_limits = RagLimits::read(&mut reader);
        let delay = reader.within("OFFLINE_TOKEN_DELAY_MS", 0..=10_000);
        let config = Self {
            listen: Listen { host, port },
            allowed_origins: parse::allowed_origins(&mut reader),
            provider: gemini.map_or(ProviderConfig::Offline, ProviderConfig::Gemini),
            offline_token_delay: Duration::from_millis(delay),
            index,
            site: site(&mut reader),
            http_limits: HttpLimits::read(&mut reader),
            provider_limits: ProviderLimits::read(&mut reader, &rag_limits),
            rag_limits,
            start_patience: START_PATIENCE,
            metrics_token: reader.parse("METRICS_TOKEN", parse::header_secret),
        };
        reader.finish()?;
        Ok(config)
    }
}

fn site(reader: &mut Reader<'_>) -> SiteConfig {
    let url = reader.parse("SITE_URL", parse::site_url);
    let instructions = reader.parse("INSTRUCTIONS", |text| match text.chars().count() {
        0..=MAX_INSTRUCTIONS_CHARS => Ok(text.to_owned()),
        n => Err(format!("is {n} characters long; at most {MAX_INSTRUCTIONS_CHARS} fit")),
    });
    SiteConfig {
        url,
        name: reader.text("SITE_NAME").map(str::to_owned),
        instructions,
        filter_keys: reader.list("FILTER_KEYS").into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        let mut all = vec![("GEMINI_API_KEY", "key"), ("QDRANT_URL", "localhost")];
        all.extend(pairs);
        Vars::from_iter(all)
    }

    fn handbook() -> DemoConfig {
        DemoConfig { docs: None, route_base: "/docs".to_owned(), language: None }
    }

    fn remote(pairs: &[(&str, &str)]) -> RemoteConfig {
        match Config::serve(&vars(pairs)).unwrap().index {
            IndexConfig::Remote(remote) => remote,
            other => panic!("expected a remote index, got {other:?}"),
        }
    }

    fn gemini(config: Config) -> GeminiConfig {
        match config.provider {
            ProviderConfig::Gemini(gemini) => gemini,
            ProviderConfig::Offline => panic!("a key selects Gemini"),
        }
    }

    #[test]
    fn serve_refuses_to_start_without_a_key_and_demo_does_not() {
        let none = Vars::default();
        let is_offline = |config: Config| matches!(config.provider, ProviderConfig::Offline);
        assert!(Config::serve(&none).unwrap_err().to_string().starts_with("GEMINI_API_KEY is not set"));
        assert!(is_offline(Config::demo(&none, handbook()).unwrap()));
        assert!(Config::index(&none).unwrap_err().to_string().contains("EMBEDDING_MODEL=offline"));
        assert!(is_offline(Config::index(&Vars::from_iter([("EMBEDDING_MODEL", "offline")])).unwrap()));
    }

    #[test]
    fn gemini_api_key_wins_over_google_api_key_and_is_trimmed() {
        let config =
            Config::serve(&vars(&[("GOOGLE_API_KEY", "other"), ("GEMINI_API_KEY", " mine \n")])).unwrap();
        assert_eq!(gemini(config).api_key.expose_secret(), "mine");
    }

    #[test]
    fn qdrant_url_takes_what_people_have() {
        for (given, key, expected) in [
            ("localhost", None, "http://localhost:6334"),
            ("localhost:6333", None, "http://localhost:6334"),
            ("localhost:7000", None, "http://localhost:7000"),
            ("http://localhost:6333/", None, "http://localhost:6334"),
            ("http://localhost:6333/dashboard", None, "http://localhost:6334"),
            ("https://x.cloud.qdrant.io:6333", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("https://x.cloud.qdrant.io", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("x.cloud.qdrant.io", Some("k"), "https://x.cloud.qdrant.io:6334"),
            ("https://proxy.example:443", Some("k"), "https://proxy.example:443"),
            ("http://qdrant:6334", Some("k"), "http://qdrant:6334"),
            ("[::1]:6333", None, "http://[::1]:6334"),
        ] {
            let mut pairs = vec![("QDRANT_URL", given)];
            pairs.extend(key.map(|key| ("QDRANT_API_KEY", key)));
            assert_eq!(remote(&pairs).url, expected, "{given}");
        }
    }

    #[test]
    fn qdrant_host_is_another_name_for_qdrant_url() {
        let vars = Vars::from_iter([("GEMINI_API_KEY", "key"), ("QDRANT_HOST", "qdrant")]);
        let Config { index: IndexConfig::Remote(remote), .. } = Config::serve(&vars).unwrap() else {
            panic!("expected a remote index")
        };
        assert_eq!(remote.url, "http://qdrant:6334");
    }

    #[test]
    fn every_wrong_setting_is_named_at_once_and_no_secret_is_shown() {
        let wrong = [
            ("GEMINI_API_KEY", "hu\nsh"),
            ("QDRANT_API_KEY", "hu\u{1}sh"),
            ("QDRANT_URL", "ftp://x"),
            ("PORT", "70000"),
            ("SITE_URL", "docs.example"),
            ("ALLOWED_ORIGINS", "https://a.example/docs"),
            ("THINKING", "lots"),
            ("EMBED_TIMEOUT", "0s"),
            ("MAX_STREAMS", "0"),
            ("GENERATIVE_MODEL", "../x"),
            ("GOOGLE_GEMINI_BASE_URL", "gemini"),
            ("OFFLINE_TOKEN_DELAY_MS", "-1"),
            ("GENERATIVE_MODEL_FALLBACK", "a/b"),
            ("RATE_LIMIT", "10/min"),
            ("TRUSTED_PROXIES", "11"),
            ("DAILY_REQUESTS", "-1"),
            ("DAILY_TOKENS", "1e6"),
            ("EMBED_CACHE", "all"),
            ("METRICS_TOKEN", "hu sh"),
        ];
        let error = Config::serve(&Vars::from_iter(wrong)).unwrap_err().to_string();
        for (name, _) in wrong {
            assert!(error.lines().any(|line| line.starts_with(name)), "{name} is not named in\n{error}");
        }
        assert!(!error.contains("hu\n") && !error.contains("sh\n"), "{error}");
    }

    #[test]
    fn a_gemini_base_url_may_end_in_a_slash_or_in_the_version() {
        for given in ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1beta/"] {
            let config = Config::serve(&vars(&[("GOOGLE_GEMINI_BASE_URL", given)])).unwrap();
            assert_eq!(gemini(config).base_url, "http://127.0.0.1:9", "{given}");
        }
    }

    #[test]
    fn a_config_never_shows_a_key() {
        let config = Config::serve(&vars(&[("GEMINI_API_KEY", "AIza-1"), ("QDRANT_API_KEY", "qd-1")])).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("AIza-1") && !shown.contains("qd-1"), "{shown}");
    }
}
