//! The commands: `demo`, `serve`, `check`, `index`, `eval`.

/// Prints a line, whether or not anybody still reads.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout(), $($line)*));
    }};
}

mod check;
mod eval;
mod index;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError, DemoConfig, SETTINGS, Setting, Vars};
use crate::docs::ROUTE_BASE;
use crate::startup::StartError;
use crate::telemetry;

/// Wrong settings (`EX_USAGE` of sysexits.h).
const EXIT_SETTINGS: u8 = 64;
/// A dependency is not reachable (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

/// How long threads that are still busy at the end may take.
const LAST_THREADS: Duration = Duration::from_secs(2);

const ABOUT: &str = "A streaming, cited chat for a documentation site, in one binary";
const AFTER: &str = "Options whose value stands in capitals are also environment variables of that name (--qdrant-url is QDRANT_URL) and may \
stand in a file .env; options win over the environment, the environment over the file. Keys have no option, because a \
command line is visible to everybody on the machine: set GEMINI_API_KEY and QDRANT_API_KEY in the environment or in .env.";

/// A command: its name, what it does, its own arguments, and which settings mean anything to it.
type Row = (&'static str, &'static str, Vec<Arg>, fn(&Setting) -> bool);

fn commands() -> [Row; 5] {
    let docs = || option("docs", "folder", "A folder of Markdown files, as Docusaurus has them");
    let route_base = || {
        let help = "Where the pages are on the site, as routeBasePath in Docusaurus";
        option("route-base", "path", help).default_value(ROUTE_BASE)
    };
    let language =
        || option("language", "tag", "Language of the pages, as en or pt-BR: for filters and for word forms");
    let folder = Arg::new("folder").required(true).help("A folder of Markdown files, as Docusaurus has them");
    let questions = Arg::new("file").required(true).help("Questions, one JSON object a line");
    [
        (
            "demo",
            "Try it: the bundled handbook or your own pages, no key and no network needed (with GEMINI_API_KEY, Gemini \
            answers)",
            vec![docs(), route_base(), language()],
            |setting| setting.in_demo,
        ),
        (
            "serve",
            "Serve in production: GEMINI_API_KEY, and QDRANT_URL or an index in DOCENT_DATA",
            vec![],
            |_| true,
        ),
        (
            "index",
            "Write a folder of pages into the index that serve searches: the one in DOCENT_DATA, or a Qdrant collection",
            vec![
                folder,
                route_base(),
                option("version-label", "label", "Version the pages document, for filters"),
                language(),
                option("dry-run", "", "Print the address of every section, and write nothing")
                    .action(ArgAction::SetTrue),
            ],
            |setting| setting.in_index,
        ),
        ("check", "Look at what serve would use and say whether it would start", vec![], |_| true),
        (
            "eval",
            "Ask a file of questions and measure what is found and how it is answered",
            vec![
                questions,
                docs(),
                route_base(),
                language(),
                option("top-k", "n", "Passages per question, 1 to 20").default_value("6"),
                option("json", "", "Print one JSON object").action(ArgAction::SetTrue),
            ],
            |_| true,
        ),
    ]
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// The command line.
pub fn command() -> Command {
    let with_settings = |(name, about, own, knows): Row| {
        let settings = SETTINGS.iter().filter(|setting| !setting.secret && knows(setting)).map(|setting| {
            let help = match setting.default {
                Some(default) => format!("{} [default: {default}]", setting.help),
                None => setting.help.to_owned(),
            };
            Arg::new(setting.name)
                .long(flag(setting.name))
                .value_name(setting.name)
                .help(help)
                .allow_hyphen_values(true)
        });
        Command::new(name).about(about).after_help(AFTER).args(own).args(settings)
    };
    Command::new("docent")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands().map(with_settings))
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
        Ok(code) => code,
        Err(error) => {
            eprintln!("docent: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Returns the exit code of a command that could not start.
pub fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Settings(_) => EXIT_SETTINGS,
        StartError::Unreachable(_) => EXIT_UNAVAILABLE,
        StartError::Other(_) => 1,
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

fn start(name: &str, matches: &ArgMatches) -> Result<ExitCode, StartError> {
    let vars = Vars::gather(flags(matches), Path::new("."))?;
    let config = match name {
        "demo" => Config::demo(&vars, demo(matches)?),
        "index" => Config::index(&vars),
        "eval" if matches.contains_id("docs") => Config::demo(&vars, demo(matches)?),
        _ => Config::serve(&vars),
    };
    let config = match (telemetry::init(&vars), config) {
        // A dry run reads files and nothing else.
        (Ok(()), _) if name == "index" && matches.get_flag("dry-run") => return index::dry_run(matches, &vars),
        (Ok(()), config) => config?,
        (Err(log), Ok(_)) => return Err(log.into()),
        (Err(log), Err(config)) => return Err(ConfigError([log.0, config.0].concat()).into()),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| StartError::Other(error.to_string()))?;
    let outcome = runtime.block_on(async {
        match name {
            "check" => check::check(config).await,
            "index" => index::index(matches, config).await,
            "eval" => eval::eval(matches, config).await,
            _ => server::run(config).await,
        }
    });
    // A blocking thread (a name that does not resolve, say) must not keep the process.
    runtime.shutdown_timeout(LAST_THREADS);
    outcome
}

/// What a demo, or a measurement without a server, shows.
fn demo(matches: &ArgMatches) -> Result<DemoConfig, StartError> {
    let docs = text(matches, "docs").map(PathBuf::from);
    Ok(DemoConfig { docs, route_base: route_base(matches)?, language: language(matches)? })
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// A language tag: a code of two or three letters, and what follows it.
fn language(matches: &ArgMatches) -> Result<Option<String>, StartError> {
    let Some(tag) = text(matches, "language") else { return Ok(None) };
    let mut parts = tag.split('-');
    let code = parts
        .next()
        .is_some_and(|code| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase()));
    let rest =
        parts.all(|part| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if code && rest {
        return Ok(Some(tag));
    }
    Err(StartError::Settings(format!(
        "--language: {tag:?} must be a tag such as en or pt-BR, as Docusaurus names the locale"
    )))
}

/// A route base with a slash at its beginning and none at its end: `/docs`, or `/` alone.
fn route_base(matches: &ArgMatches) -> Result<String, StartError> {
    let given = text(matches, "route-base").unwrap_or_else(|| ROUTE_BASE.to_owned());
    if given.contains(['?', '#', '\\']) || given.contains("://") || given.chars().any(char::is_whitespace) {
        let sentence =
            format!("--route-base: {given:?} must be a path such as {ROUTE_BASE}; the site goes into SITE_URL");
        return Err(StartError::Settings(sentence));
    }
    Ok(format!("/{}", given.trim_matches('/')))
}

fn flags(matches: &ArgMatches) -> BTreeMap<String, String> {
    let settings = SETTINGS.iter().filter(|setting| !setting.secret);
    // The demo does not know every option.
    let given = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
    settings.filter_map(|setting| Some((setting.name.to_owned(), given(setting.name)?))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_shows_no_secret() {
        command().debug_assert();
        for name in ["demo", "serve", "check", "eval"] {
            let mut command = command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert_eq!(help.contains("--qdrant-collection-name"), name != "demo", "{name}");
            assert!(help.contains("--port"), "{name}");
            assert!(!help.contains("--gemini-api-key"), "{name}");
        }
    }
}
