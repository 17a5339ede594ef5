//! The commands: `demo`, `serve`, `check`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, Command};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, StartError};
use crate::config::{Config, ConfigError, SETTINGS, Vars};
use crate::http::serve::serve;
use crate::provider::{Generation, Task};
use crate::{chat, telemetry};

/// Wrong settings (`EX_USAGE` of sysexits.h).
const EXIT_SETTINGS: u8 = 64;
/// A dependency is not reachable (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

/// How long threads that are still busy at the end may take.
const LAST_THREADS: Duration = Duration::from_secs(2);

/// Stored points whose text `check` embeds anew.
const CHECKED_POINTS: u32 = 3;
/// Similarity from which a stored vector looks like the model's own: texts that other models embedded have about 0,
/// the same text embedded for another task or without its title still has more than this.
const SAME_MODEL: f64 = 0.6;

const ABOUT: &str = "A streaming, cited chat for a documentation site, in one binary";
const AFTER: &str = "Every option is also an environment variable of the same name (--qdrant-url is QDRANT_URL) and may \
stand in a file .env; options win over the environment, the environment over the file. Keys have no option, because a \
command line is visible to everybody on the machine: set GEMINI_API_KEY and QDRANT_API_KEY in the environment or in .env.";

/// The command line.
pub fn command() -> Command {
    let commands = [
        (
            "demo",
            "Try it: the bundled handbook, no key and no network needed (with GEMINI_API_KEY, Gemini answers)",
        ),
        ("serve", "Serve in production: GEMINI_API_KEY, and QDRANT_URL or an index in DOCENT_DATA"),
        ("check", "Look at what serve would use and say whether it would start"),
    ];
    let with_settings = |command: Command| {
        let demo = command.get_name() == "demo";
        let settings = SETTINGS.iter().filter(|setting| !setting.secret && (setting.in_demo || !demo));
        settings.fold(command, |command, setting| {
            let flag = flag(setting.name);
            let help = match setting.default {
                Some(default) => format!("{} [default: {default}]", setting.help),
                None => setting.help.to_owned(),
            };
            command.arg(
                Arg::new(setting.name).long(flag).value_name(setting.name).help(help).allow_hyphen_values(true),
            )
        })
    };
    Command::new("docent")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(
            commands.map(|(name, about)| with_settings(Command::new(name).about(about).after_help(AFTER))),
        )
}

/// Runs the command line `args`; `main` is this and nothing else.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            match secret_flag(&error) {
                Some(sentence) => eprintln!("docent: {sentence}"),
                None => drop(error.print()),
            }
            return if error.use_stderr() { ExitCode::from(EXIT_SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    let Some((name, matches)) = matches.subcommand() else { return ExitCode::from(EXIT_SETTINGS) };
    match start(name, matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("docent: {error}");
            ExitCode::from(match error {
                StartError::Settings(_) => EXIT_SETTINGS,
                StartError::Unreachable(_) => EXIT_UNAVAILABLE,
                StartError::Other(_) => 1,
            })
        }
    }
}

/// What to do instead of giving a key on the command line.
fn secret_flag(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    let secret = SETTINGS
        .iter()
        .find(|setting| setting.secret && given.starts_with(&format!("--{}", flag(setting.name))))?;
    Some(format!(
        "{} has no flag, because a command line is visible to everybody: set the variable",
        secret.name
    ))
}

/// The flag of a setting, without its leading dashes.
fn flag(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Settings(error.to_string())
    }
}

fn start(name: &str, matches: &ArgMatches) -> Result<(), StartError> {
    let vars = Vars::gather(flags(matches), Path::new("."))?;
    let config = if name == "demo" { Config::demo(&vars) } else { Config::serve(&vars) };
    let config = match (telemetry::init(&vars), config) {
        (Ok(()), config) => config?,
        (Err(log), Ok(_)) => return Err(log.into()),
        (Err(log), Err(config)) => return Err(ConfigError([log.0, config.0].concat()).into()),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| StartError::Other(error.to_string()))?;
    let outcome = runtime.block_on(async {
        if name == "check" { check(config).await } else { run_server(config, name == "demo").await }
    });
    // A blocking thread (a name that does not resolve, say) must not keep the process.
    runtime.shutdown_timeout(LAST_THREADS);
    outcome
}

fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let settings = SETTINGS.iter().filter(|setting| !setting.secret);
    // The demo does not know every option.
    let given = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
    settings.filter_map(|setting| Some((setting.name.to_owned(), given(setting.name)?))).collect()
}

async fn run_server(config: Config, demo: bool) -> Result<(), StartError> {
    let (host, port) = (config.listen.host.clone(), config.listen.port);
    let with_key = config.gemini.is_some();
    let (stop, stop_now) = stop_signals();
    let app = tokio::select! {
        app = App::build(config) => app?,
        () = stop.cancelled() => return Ok(()),
    };
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(|error| {
        StartError::Settings(format!("HOST and PORT: cannot listen on {host} port {port}: {error}"))
    })?;
    let address = listener.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
    match (demo, with_key) {
        (true, false) => tracing::info!("offline demo: no model is asked, answers quote the handbook"),
        (true, true) => tracing::info!("demo: the handbook is searched offline, Gemini writes the answers"),
        (false, _) => tracing::info!("serving {}", app.rag.index.description().place),
    }
    tracing::info!("listening on http://{address}");
    tokio::select! {
        () = serve(app, listener, stop.cancelled_owned()) => {}
        () = stop_now.cancelled() => {
            tracing::warn!("stopped twice: open answers are cut off");
        }
    }
    Ok(())
}

/// Tokens that the first and the second Ctrl-C or SIGTERM cancel.
fn stop_signals() -> (CancellationToken, CancellationToken) {
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let tokens = (first.clone(), second.clone());
    tokio::spawn(async move {
        stop_signal().await;
        first.cancel();
        stop_signal().await;
        second.cancel();
    });
    tokens
}

/// Resolves on the next Ctrl-C or SIGTERM.
async fn stop_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}

/// Prints what `serve` would use. Fails where `serve` would.
async fn check(config: Config) -> Result<(), StartError> {
    let app = App::build(config).await?;
    let index = app.rag.index.description();
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let dense = index.dense.iter().map(|(name, size)| format!("{} ({size})", shown(name)));
    println!("index             {}", index.place);
    println!("points            {}", index.points);
    println!("dense vectors     {}", dense.collect::<Vec<_>>().join(", "));
    println!("sparse vectors    {}", names(&index.sparse));
    println!(
        "searched          {}, {} values, {}",
        shown(&index.vector_name),
        index.dimensions,
        index.distance
    );
    match &index.sparse_name {
        Some(sparse) => println!("retrieval         hybrid, with BM25 on {}", shown(sparse)),
        None => println!("retrieval         dense"),
    }
    println!("payload keys      {}", names(&index.payload_keys));
    println!("embedding model   {}", app.rag.provider.embedding.model());
    if let Generation::Gemini(gemini) = &app.rag.provider.generation {
        println!("generative model  {}", gemini.generative_model());
    }
    println!("stored vectors    {}", compare(&app).await?);
    println!("serve would start");
    Ok(())
}

/// Embeds the texts of a few stored points and says whether their vectors look like this model's.
async fn compare(app: &App) -> Result<String, StartError> {
    let samples = app.rag.index.samples(CHECKED_POINTS).await;
    let samples = samples.map_err(|error| StartError::Other(format!("reading points: {error}")))?;
    if samples.is_empty() {
        return Ok("none to look at".to_owned());
    }
    let mut similarities = Vec::new();
    for sample in &samples {
        let task = Task::Document { title: &sample.title };
        let text = chat::clip(&sample.text, 2_000);
        match app.rag.provider.embedding.embed(text, task, app.rag.index.dimensions()).await {
            Ok(vector) => similarities.push(cosine(&vector, &sample.vector)),
            Err(error) => return Ok(format!("not compared, Gemini did not embed: {error}")),
        }
    }
    let shown: Vec<String> = similarities.iter().map(|similarity| format!("{similarity:.2}")).collect();
    let mean = similarities.iter().sum::<f64>() / similarities.len() as f64;
    let verdict = if mean >= SAME_MODEL {
        "look like this model's"
    } else {
        "do not look like this model's: set EMBEDDING_MODEL to the model that indexed them"
    };
    Ok(format!("{verdict} (similarity {} on {} points)", shown.join(", "), samples.len()))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
}

fn shown(name: &str) -> String {
    if name.is_empty() { "(unnamed)".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_shows_no_secret() {
        command().debug_assert();
        for name in ["demo", "serve", "check"] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert_eq!(help.contains("--qdrant-collection-name"), name != "demo", "{name}");
            assert!(help.contains("--port"), "{name}");
            assert!(!help.contains("--gemini-api-key"), "{name}");
        }
    }
}
