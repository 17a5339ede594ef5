//! The table of every setting: one row gives the flag, the variable, its default and its help.

/// One setting, which is an environment variable and, unless it is a secret, a flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the variable, `QDRANT_URL`; the flag is `--qdrant-url`.
    pub name: &'static str,
    /// What applies when it is not set.
    pub default: Option<&'static str>,
    /// A secret has no flag: a command line is visible to everybody on the machine.
    pub secret: bool,
    /// Whether it means anything to the demo, which brings its own index and serves its own pages.
    pub in_demo: bool,
    /// Whether it means anything to a run that writes the index.
    pub in_index: bool,
    /// One line of help.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default: Some(default), secret: false, in_demo: true, in_index: false, help }
}

const fn unset(name: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, secret: false, in_demo: true, in_index: false, help }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, secret: true, in_demo: true, in_index: false, help }
}

impl Setting {
    const fn not_in_demo(self) -> Self {
        Self { in_demo: false, ..self }
    }

    const fn in_index(self) -> Self {
        Self { in_index: true, ..self }
    }
}

/// Every setting, in the order in which help and `.env.example` show them.
pub const SETTINGS: &[Setting] = &[
    secret("GEMINI_API_KEY", "Key of the Gemini API; serve needs it").in_index(),
    secret("GOOGLE_API_KEY", "The same under Google's name; GEMINI_API_KEY wins").in_index(),
    setting("GOOGLE_GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "Where the Gemini API is")
        .in_index(),
    setting(
        "EMBEDDING_MODEL",
        "gemini-embedding-001",
        "Model that embeds, the same for index and serve; offline needs no key and finds less",
    )
    .not_in_demo()
    .in_index(),
    setting("GENERATIVE_MODEL", "gemini-3.5-flash-lite", "Model that writes answers"),
    unset(
        "GENERATIVE_MODEL_FALLBACK",
        "Model that is asked where GENERATIVE_MODEL has not begun to answer; unset means none",
    ),
    unset(
        "THINKING",
        "off, a level (minimal, low, medium, high) or a token budget; unset leaves it to the model",
    ),
    unset("QDRANT_URL", "Qdrant server: host, host:port or URL; unset means the index in DOCENT_DATA")
        .not_in_demo()
        .in_index(),
    unset("QDRANT_HOST", "The same under another name; QDRANT_URL wins").not_in_demo().in_index(),
    secret("QDRANT_API_KEY", "Key of the Qdrant server").in_index(),
    setting("QDRANT_COLLECTION_NAME", "docs", "Collection to search").not_in_demo().in_index(),
    unset(
        "ALLOWED_ORIGINS",
        "Origins whose pages may call Docent, comma-separated, or *; unset means none but its own",
    ),
    setting("HOST", "127.0.0.1", "Address to listen on"),
    setting("PORT", "8080", "Port to listen on; 0 takes a free one"),
    unset("SITE_URL", "Where the documentation lives; makes relative links absolute").not_in_demo().in_index(),
    unset("SITE_NAME", "Name of the documented product, for the prompt"),
    unset("INSTRUCTIONS", "Your own rules for answers, at most 2000 characters"),
    setting(
        "FILTER_KEYS",
        "version,language",
        "Payload keys a request may filter by, comma-separated; index takes all but these two from the front matter",
    )
    .in_index(),
    setting("DOCENT_DATA", "./docent-data", "Folder of the embedded index").not_in_demo().in_index(),
    unset("PAYLOAD_TEXT_KEY", "Payload key of a passage's text, dots for nesting; unset tries the usual names")
        .not_in_demo(),
    unset("PAYLOAD_TITLE_KEY", "Payload key of the page title").not_in_demo(),
    unset("PAYLOAD_SECTION_KEY", "Payload key of the heading").not_in_demo(),
    unset("PAYLOAD_URL_KEY", "Payload key of the address").not_in_demo(),
    unset("QDRANT_VECTOR_NAME", "Dense vector to search, where the collection has several").not_in_demo(),
    unset("QDRANT_SPARSE_NAME", "Sparse vector to search, where the collection has several").not_in_demo(),
    setting("MAX_STREAMS", "512", "Answers that may be open at once; more are refused with 503"),
    setting("RATE_LIMIT", "0", "Questions a minute per client; more are refused with 429; 0 for no limit"),
    setting(
        "TRUSTED_PROXIES",
        "0",
        "Proxies in front of Docent: so many last entries of X-Forwarded-For are theirs, the first of them is the client",
    ),
    setting(
        "DAILY_REQUESTS",
        "0",
        "Answers a model writes in a day of UTC; then questions get their sources alone; 0 for no limit",
    ),
    setting("DAILY_TOKENS", "0", "Tokens of these answers, prompts included; 0 for no limit"),
    setting("EMBED_CACHE", "0", "Questions whose embedding is kept in memory; 0 for none").not_in_demo(),
    setting("EMBED_TIMEOUT", "10s", "Bound on embedding a question, retries included"),
    setting("RETRIEVE_TIMEOUT", "5s", "Bound on searching the index"),
    setting("FIRST_TOKEN_TIMEOUT", "20s", "Bound on waiting for the first visible text, retries included"),
    setting("GAP_TIMEOUT", "20s", "Bound on waiting for the next visible text"),
    setting("ANSWER_TIMEOUT", "60s", "Bound on a whole request"),
    setting("WRITE_TIMEOUT", "20s", "How long a reader may take nothing before it is dropped"),
    setting("RETRY_BUDGET", "5s", "Time after the start of a stage in which it may be tried again"),
    setting("READY_INTERVAL", "15s", "How often /ready's background check runs"),
    setting("SHUTDOWN_GRACE", "20s", "How long open answers may go on after SIGTERM"),
    secret("METRICS_TOKEN", "Token that /metrics asks for; unset means that anybody may read it"),
    setting("LOG_FORMAT", "pretty", "pretty or json").in_index(),
    setting("RUST_LOG", "info,qdrant_edge=error", "Log filter, as tracing-subscriber's EnvFilter reads it")
        .in_index(),
    setting("OFFLINE_TOKEN_DELAY_MS", "25", "Milliseconds between words of an offline answer; 0 for none"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_env_file_names_every_setting_with_its_default() {
        let example = include_str!("../../.env.example");
        for setting in SETTINGS {
            let line = format!("# {}={}", setting.name, setting.default.unwrap_or(""));
            assert!(example.lines().any(|l| l == line), ".env.example lacks the line {line:?}");
        }
        let is_setting = |line: &&str| {
            let name =
                line.strip_prefix("# ").and_then(|line| line.split_once('=')).map_or("", |(name, _)| name);
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        let names = example.lines().filter(is_setting).count();
        assert_eq!(names, SETTINGS.len(), ".env.example names a setting that does not exist");
    }
}
