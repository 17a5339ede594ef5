//! Runs the commands: `demo`, `serve`, `index`, `check`, `eval`.

mod args;
mod check;
mod command;
mod eval;
mod index;
mod output;
mod server;
mod signals;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use crate::config::{Config, ConfigError, Vars};
use crate::startup::StartError;
use crate::telemetry;
use command::CommandName;

/// Exit code for wrong settings (`EX_USAGE` of sysexits.h).
const EXIT_SETTINGS: u8 = 64;
/// Exit code for a dependency that cannot be reached (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

/// Longest wait for threads that are still busy at the end; then they are abandoned.
const THREAD_GRACE: Duration = Duration::from_secs(2);

/// Parses and runs a command line; `main` only calls this function.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match command::command_line().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            match command::explain_secret_option(&error) {
                Some(sentence) => eprintln!("docent: {sentence}"),
                None => drop(error.print()),
            }
            return if error.use_stderr() { ExitCode::from(EXIT_SETTINGS) } else { ExitCode::SUCCESS };
        }
    };
    let command = matches.subcommand().and_then(|(name, matches)| Some((CommandName::parse(name)?, matches)));
    let Some((command, matches)) = command else { return ExitCode::from(EXIT_SETTINGS) };
    match run_command(command, matches) {
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

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Settings(error.to_string())
    }
}

/// Reads the settings of a command and runs the command to its end.
fn run_command(command: CommandName, matches: &ArgMatches) -> Result<ExitCode, StartError> {
    let vars = Vars::gather(args::read_settings(matches), Path::new("."))?;
    let config = match command {
        CommandName::Demo => Config::demo(&vars, args::read_demo(matches)?),
        CommandName::Index => Config::index(&vars),
        CommandName::Eval if matches.contains_id("docs") => Config::demo(&vars, args::read_demo(matches)?),
        CommandName::Serve | CommandName::Check | CommandName::Eval => Config::serve(&vars),
    };
    let is_dry_run = command == CommandName::Index && matches.get_flag("dry-run");
    let config = match (telemetry::init(&vars), config) {
        // A dry run reads only files, so other settings may be wrong.
        (Ok(()), _) if is_dry_run => return index::dry_run(matches, &vars),
        (Ok(()), config) => config?,
        (Err(log), Ok(_)) => return Err(log.into()),
        (Err(log), Err(config)) => return Err(ConfigError([log.0, config.0].concat()).into()),
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| StartError::Other(error.to_string()))?;
    let outcome = runtime.block_on(async {
        match command {
            CommandName::Check => check::run(config).await,
            CommandName::Index => index::run(matches, config).await,
            CommandName::Eval => eval::run(matches, config).await,
            CommandName::Demo | CommandName::Serve => server::serve_until_stopped(config).await,
        }
    });
    // A blocking thread, for example one that resolves a name, must not keep the process alive.
    runtime.shutdown_timeout(THREAD_GRACE);
    outcome
}
