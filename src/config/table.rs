//! Lists every setting: one row gives the flag, the variable, its default and its help.

/// Describes one setting, which is an environment variable and, unless it is a secret, a flag.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name of the variable, `QDRANT_URL`; the flag is `--qdrant-url`.
    pub name: &'static str,
    /// Value that applies when the setting is unset.
    pub default: Option<&'static str>,
    /// True for a secret, which has no flag: a command line is visible to everybody on the machine.
    pub secret: bool,
    /// True if the setting applies to the demo, which brings its own index and serves its own pages.
    pub in_demo: bool,
    /// True if the setting applies to a run that writes the index.
    pub in_index: bool,
    /// One line of help.
    pub help: &'static str,
}

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default: Some(default), secret: false, in_demo: true, in_index: false, help }
}

const fn optional(name: &'static str, help: &'static str) -> Setting {
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

/// Lists every setting, in the order of `--help` and `.env.example`.
pub const SETTINGS: &[Setting] = &[
    secret("GEMINI_API_KEY", "Key of the Gemini API; serve needs it").in_index(),
    secret("GOOGLE_API_KEY", "Google's name for GEMINI_API_KEY, which wins if both are set").in_index(),
    setting("GOOGLE_GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "Address of the Gemini API")
        .in_index(),
    setting(
        "EMBEDDING_MODEL",
        "gemini-embedding-001",
        "Model that embeds, the same for index and serve; \"offline\" needs no key and finds less",
    )
    .not_in_demo()
    .in_index(),
    setting("GENERATIVE_MODEL", "gemini-3.5-flash-lite", "Model that writes answers"),
    optional(
        "GENERATIVE_MODEL_FALLBACK",
        "Model that writes the answer if GENERATIVE_MODEL fails before its first text; unset: none",
    ),
    optional(
        "THINKING",
        "Thinking before an answer: off, minimal, low, medium, high or a number of tokens; unset: the model decides",
    ),
    optional("QDRANT_URL", "Qdrant server: host, host:port or URL; unset: the index in DOCENT_DATA is used")
        .not_in_demo()
        .in_index(),
    optional("QDRANT_HOST", "Another name for QDRANT_URL, which wins if both are set").not_in_demo().in_index(),
    secret("QDRANT_API_KEY", "Key of the Qdrant server").in_index(),
    setting("QDRANT_COLLECTION_NAME", "docs", "Collection to search").not_in_demo().in_index(),
    optional(
        "ALLOWED_ORIGINS",
        "Origins whose pages may call Docent, separated by commas, or *; unset: only Docent's own pages",
    ),
    setting("HOST", "127.0.0.1", "Address to listen on"),
    setting("PORT", "8080", "Port to listen on; 0 takes a free one"),
    optional("SITE_URL", "Address of the documentation; makes relative links absolute").not_in_demo().in_index(),
    optional("SITE_NAME", "Name of the documented product, for the prompt"),
    optional("INSTRUCTIONS", "Your own rules for answers, at most 2000 characters"),
    setting(
        "FILTER_KEYS",
        "version,language",
        "Payload keys that a request may filter by, separated by commas; index reads keys other than these two from the front matter",
    )
    .in_index(),
    setting("DOCENT_DATA", "./docent-data", "Folder of the embedded index").not_in_demo().in_index(),
    optional("PAYLOAD_TEXT_KEY", "Payload key of a passage's text, with dots for nesting; unset: the usual names are tried")
        .not_in_demo(),
    optional("PAYLOAD_TITLE_KEY", "Payload key of the page title").not_in_demo(),
    optional("PAYLOAD_SECTION_KEY", "Payload key of the heading").not_in_demo(),
    optional("PAYLOAD_URL_KEY", "Payload key of the page address").not_in_demo(),
    optional("QDRANT_VECTOR_NAME", "Dense vector to search, if the collection has several").not_in_demo(),
    optional("QDRANT_SPARSE_NAME", "Sparse vector to search, if the collection has several").not_in_demo(),
    setting("MAX_STREAMS", "512", "Answers that may be open at once; further questions get status 503"),
    setting("RATE_LIMIT", "0", "Questions per minute and client; further ones get status 429; 0: no limit"),
    setting(
        "TRUSTED_PROXIES",
        "0",
        "Trusted proxies in front of Docent; the client is the n-th entry of X-Forwarded-For from the right",
    ),
    setting(
        "DAILY_REQUESTS",
        "0",
        "Answers that a model writes per day (UTC); further questions get sources without an answer; 0: no limit",
    ),
    setting("DAILY_TOKENS", "0", "Tokens of the answers of a day (UTC), prompts included; 0: no limit"),
    setting("EMBED_CACHE", "0", "Questions whose embedding is kept in memory; 0: none").not_in_demo(),
    setting("EMBED_TIMEOUT", "10s", "Longest time for embedding a question, retries included"),
    setting("RETRIEVE_TIMEOUT", "5s", "Longest time for searching the index"),
    setting("FIRST_TOKEN_TIMEOUT", "20s", "Longest wait for the first text of an answer, retries included"),
    setting("GAP_TIMEOUT", "20s", "Longest wait for the next text of an answer"),
    setting("ANSWER_TIMEOUT", "60s", "Longest time for a whole request"),
    setting("WRITE_TIMEOUT", "20s", "Longest time a reader takes no bytes; then the connection is closed"),
    setting("RETRY_BUDGET", "5s", "Time from the start of a stage in which a failed call may be repeated"),
    setting("READY_INTERVAL", "15s", "Pause between two checks for /ready; each check also picks up a new index"),
    setting("SHUTDOWN_GRACE", "20s", "Time that open answers have to finish after SIGTERM"),
    secret("METRICS_TOKEN", "Token that /metrics asks for; unset: anybody may read the metrics"),
    setting("LOG_FORMAT", "pretty", "Format of the log: pretty or json").in_index(),
    setting("RUST_LOG", "info,qdrant_edge=error", "Filter of the log, in the syntax of tracing-subscriber's EnvFilter")
        .in_index(),
    setting("OFFLINE_TOKEN_DELAY_MS", "25", "Pause between words of an offline answer, in milliseconds; 0: none"),
];

#[cfg(test)]
mod tests {
    use super::super::site::MAX_INSTRUCTIONS_CHARS;
    use super::*;

    const EXAMPLE: &str = include_str!("../../.env.example");
    const HANDBOOK: &str = include_str!("../../examples/docusaurus/docs/configure.md");

    #[test]
    fn the_example_env_file_shows_every_setting_with_its_help_and_its_default() {
        for setting in SETTINGS {
            let lines = format!("## {}\n# {}={}\n", setting.help, setting.name, setting.default.unwrap_or(""));
            assert!(EXAMPLE.contains(&lines), ".env.example lacks the lines\n{lines}");
        }
        let is_setting = |line: &&str| {
            let name =
                line.strip_prefix("# ").and_then(|line| line.split_once('=')).map_or("", |(name, _)| name);
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        let names = EXAMPLE.lines().filter(is_setting).count();
        assert_eq!(names, SETTINGS.len(), ".env.example names a setting that does not exist");
    }

    #[test]
    fn the_handbook_has_a_row_for_every_setting_with_its_default() {
        for setting in SETTINGS {
            let default = setting.default.map_or("|".to_owned(), |default| format!("`{default}` |"));
            let row = format!("| `{}` | {default} ", setting.name);
            assert!(HANDBOOK.contains(&row), "configure.md lacks the row {row:?}");
        }
    }

    #[test]
    fn the_help_and_the_handbook_name_the_bound_of_the_instructions() {
        let bound = format!("at most {MAX_INSTRUCTIONS_CHARS} characters");
        let help = SETTINGS.iter().find(|setting| setting.name == "INSTRUCTIONS").unwrap().help;
        assert!(help.contains(&bound), "--help: {help}");
        assert!(HANDBOOK.contains(&bound), "configure.md does not say {bound:?}");
    }
}
