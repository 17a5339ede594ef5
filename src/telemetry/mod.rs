//! Sets up the log, panics included, and keeps the metrics. Questions, passages, answers and keys go into
//! neither.

pub(crate) mod metrics;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Vars};

/// Sends log lines to standard error: `LOG_FORMAT` is `pretty` (default) or `json`, `RUST_LOG` filters.
///
/// # Errors
///
/// Returns a sentence with the name of the variable whose format does not exist or whose filter cannot be read,
/// or the reason why the log cannot be set up.
pub fn init(vars: &Vars) -> Result<(), ConfigError> {
    let text = |name| vars.get_or_default(name).unwrap_or_default();
    let filter = EnvFilter::try_new(text("RUST_LOG")).map_err(|_| {
        ConfigError::from_sentence("RUST_LOG must be a filter as info or docent=debug,hyper=warn")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let installed = match text("LOG_FORMAT") {
        "pretty" => subscriber.with_target(false).with_ansi(colour).try_init(),
        "json" => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
        _ => return Err(ConfigError::from_sentence("LOG_FORMAT must be pretty or json")),
    };
    installed.map_err(|error| ConfigError::from_sentence(format!("the log cannot be set up: {error}")))?;
    std::panic::set_hook(Box::new(|panic| {
        // The message of a panic may quote a question or a passage, so only the place is logged.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
    Ok(())
}
