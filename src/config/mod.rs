//! Reads and checks every setting, by concern, once and before a port is bound.
//!
//! `cli` gathers flags, environment and `.env` into one map ([`Vars`]); [`Config::serve`], [`Config::index`],
//! [`Config::demo`] and [`Config::site`] read it. Tests pass a map of their own, so the process environment
//! stays untouched.
//!
//! A setting is a row of [`SETTINGS`], which gives its flag, its help and its line in `.env.example`, and a
//! field of the struct of its concern, whose file reads it.

mod gemini;
mod limits;
mod qdrant;
mod server;
mod site;
mod table;
mod vars;

use std::time::Duration;

use secrecy::SecretString;

pub use gemini::{GeminiConfig, OFFLINE_MODEL, Thinking};
pub use limits::{HttpLimits, ProviderLimits, RagLimits};
pub use qdrant::{DemoConfig, IndexConfig, PayloadKeys, RemoteConfig};
pub use server::{AllowedOrigins, Listen};
pub use site::SiteConfig;
pub use table::{SETTINGS, Setting};
pub use vars::{ConfigError, Vars};

use gemini::embeds_offline;
use vars::Reader;

/// Time for the dependencies to become reachable at the start, all together; then the start fails.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Origin of a Docusaurus in development, which may try the widget against the demo.
const DOCUSAURUS_DEV_ORIGIN: &str = "http://localhost:3000";

/// Holds every setting.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: Listen,
    /// Origins whose pages may call.
    pub allowed_origins: AllowedOrigins,
    /// Service that embeds and writes.
    pub provider: ProviderConfig,
    /// Pause between words of an offline answer.
    pub offline_token_delay: Duration,
    /// Index to search.
    pub index: IndexConfig,
    /// The documented site.
    pub site: SiteConfig,
    /// Bounds of clients and connections.
    pub http_limits: HttpLimits,
    /// Deadlines of the stages of an answer, and the day's budget.
    pub rag_limits: RagLimits,
    /// Bounds of the provider's retries.
    pub provider_limits: ProviderLimits,
    /// Time for the dependencies to become reachable at the start, all together; then the start fails. No
    /// setting: 30 s.
    pub start_patience: Duration,
    /// Token that `/metrics` asks for; `None` lets anybody read the metrics.
    pub metrics_token: Option<SecretString>,
}

/// Selects the service that embeds and writes.
#[derive(Debug, Clone)]
pub enum ProviderConfig {
    /// The Gemini API; its embeddings may still be made offline.
    Gemini(GeminiConfig),
    /// No service: passages and questions are embedded, and answers quoted, in this process.
    Offline,
}

impl Config {
    /// Reads the settings of a production server: needs a Gemini key, and `QDRANT_URL` or an index in
    /// `DOCENT_DATA`.
    ///
    /// # Errors
    ///
    /// Returns every setting that is wrong or missing, by name.
    pub fn serve(vars: &Vars) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = GeminiConfig::read(&mut reader);
        if gemini.is_none() {
            reader.fail(
                "GEMINI_API_KEY",
                "is not set: it embeds questions and writes answers (docent demo needs none)",
            );
        }
        let index = IndexConfig::read(&mut reader);
        Self::read(reader, gemini, index)
    }

    /// Reads the settings of a run that writes the index: needs a Gemini key, unless `EMBEDDING_MODEL` is
    /// `offline`.
    ///
    /// # Errors
    ///
    /// Returns every setting that is wrong or missing, by name.
    pub fn index(vars: &Vars) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = GeminiConfig::read(&mut reader);
        if gemini.is_none() && !embeds_offline(&reader) {
            let message =
                "is not set: it embeds the passages (EMBEDDING_MODEL=offline needs none, and finds less)";
            reader.fail("GEMINI_API_KEY", message);
        }
        let index = IndexConfig::read(&mut reader);
        Self::read(reader, gemini, index)
    }

    /// Reads only the settings of the site, for a dry run that lists the pages.
    ///
    /// # Errors
    ///
    /// Returns every setting that is wrong, by name.
    pub fn site(vars: &Vars) -> Result<SiteConfig, ConfigError> {
        let mut reader = Reader::new(vars);
        let site = SiteConfig::read(&mut reader);
        reader.finish()?;
        Ok(site)
    }

    /// Reads the settings of a demo: passages are embedded offline; with a Gemini key Gemini writes the
    /// answers.
    ///
    /// # Errors
    ///
    /// Returns every setting that is wrong, by name.
    pub fn demo(vars: &Vars, demo: DemoConfig) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(vars);
        let gemini = GeminiConfig::read(&mut reader);
        // Embedding a whole folder would use up the quota per minute of a free key.
        let gemini = gemini.map(|gemini| GeminiConfig { embedding_model: None, ..gemini });
        let mut config = Self::read(reader, gemini, IndexConfig::Demo(demo))?;
        // The demo serves the pages itself: its links stay on this server.
        config.site.url = None;
        if let AllowedOrigins::List(origins) = &mut config.allowed_origins {
            origins.push(DOCUSAURUS_DEV_ORIGIN.to_owned());
        }
        Ok(config)
    }

    /// Reads the other settings; fails with every mistake at once.
    fn read(
        mut reader: Reader<'_>,
        gemini: Option<GeminiConfig>,
        index: IndexConfig,
    ) -> Result<Self, ConfigError> {
        let rag_limits = RagLimits::read(&mut reader);
        let config = Self {
            listen: Listen::read(&mut reader),
            allowed_origins: AllowedOrigins::read(&mut reader),
            provider: gemini.map_or(ProviderConfig::Offline, ProviderConfig::Gemini),
            offline_token_delay: Duration::from_millis(reader.number_in("OFFLINE_TOKEN_DELAY_MS", 0..=10_000)),
            index,
            site: SiteConfig::read(&mut reader),
            http_limits: HttpLimits::read(&mut reader),
            provider_limits: ProviderLimits::read(&mut reader, &rag_limits),
            rag_limits,
            start_patience: START_PATIENCE,
            metrics_token: reader.secret("METRICS_TOKEN"),
        };
        reader.finish()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        let mut all = vec![("GEMINI_API_KEY", "key"), ("QDRANT_URL", "localhost")];
        all.extend(pairs);
        Vars::from_iter(all)
    }

    fn handbook() -> DemoConfig {
        DemoConfig { docs: None, route_base: "/docs".to_owned(), language: None }
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
    fn a_config_never_shows_a_key() {
        let config = Config::serve(&vars(&[("GEMINI_API_KEY", "AIza-1"), ("QDRANT_API_KEY", "qd-1")])).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("AIza-1") && !shown.contains("qd-1"), "{shown}");
    }
}
