//! Describes the command line: the commands, their options and their help.

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use crate::chat::{DEFAULT_TOP_K, MAX_TOP_K};
use crate::config::{SETTINGS, Setting};
use crate::docs::ROUTE_BASE;

const ABOUT: &str = "A streaming, cited chat for a documentation site, in one binary";
const AFTER_HELP: &str = "An option whose value is written in capitals is also an environment variable of that \
    name (--qdrant-url is QDRANT_URL), which may be set in a file .env; options win over the environment, and the \
    environment wins over the file. Keys have no option, because a command line is visible to everybody on the \
    machine: set GEMINI_API_KEY and QDRANT_API_KEY in the environment or in .env.";

/// Names the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandName {
    Demo,
    Serve,
    Index,
    Check,
    Eval,
}

impl CommandName {
    /// Every command, in the order of the help.
    const ALL: [Self; 5] = [Self::Demo, Self::Serve, Self::Index, Self::Check, Self::Eval];

    /// Parses the name of a command.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == name)
    }

    /// Returns the name of the command as it is typed.
    fn as_str(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Serve => "serve",
            Self::Index => "index",
            Self::Check => "check",
            Self::Eval => "eval",
        }
    }

    fn describe(self) -> CommandSpec {
        match self {
            Self::Demo => CommandSpec {
                about: "Try it: the bundled handbook or your own pages, no key and no network needed (with \
                        GEMINI_API_KEY, Gemini answers)",
                arguments: vec![docs_option(), route_base_option(), language_option()],
                takes_setting: |setting| setting.in_demo,
            },
            Self::Serve => CommandSpec {
                about: "Serve in production: GEMINI_API_KEY, and QDRANT_URL or an index in DOCENT_DATA",
                arguments: vec![],
                takes_setting: |_| true,
            },
            Self::Index => CommandSpec {
                about: "Write a folder of pages into the index that serve searches: the one in DOCENT_DATA, or a \
                        Qdrant collection",
                arguments: index_arguments(),
                takes_setting: |setting| setting.in_index,
            },
            Self::Check => CommandSpec {
                about: "Print the index and the models that serve would use, and whether serve would start",
                arguments: vec![],
                takes_setting: |_| true,
            },
            Self::Eval => CommandSpec {
                about: "Ask the questions of a file, and measure the retrieval and the answers",
                arguments: eval_arguments(),
                takes_setting: |_| true,
            },
        }
    }
}

/// Describes a command.
struct CommandSpec {
    /// Purpose of the command, in one sentence of the help.
    about: &'static str,
    /// Arguments that are no settings.
    arguments: Vec<Arg>,
    /// Returns true for a setting that the command uses.
    takes_setting: fn(&Setting) -> bool,
}

fn index_arguments() -> Vec<Arg> {
    let folder = Arg::new("folder").required(true).help("A folder of Markdown files, as Docusaurus has them");
    let version = value_option("version-label", "label", "Version that the pages document, for filters");
    let dry_run = flag_option("dry-run", "Print the address of every section, and write nothing");
    vec![folder, route_base_option(), version, language_option(), dry_run]
}

fn eval_arguments() -> Vec<Arg> {
    let questions = Arg::new("file").required(true).help("File of questions, one JSON object per line");
    let top_k = value_option("top-k", "n", "").help(format!("Passages per question, 1 to {MAX_TOP_K}"));
    let top_k = top_k.default_value(DEFAULT_TOP_K.to_string());
    let json = flag_option("json", "Print one JSON object");
    vec![questions, docs_option(), route_base_option(), language_option(), top_k, json]
}

fn docs_option() -> Arg {
    value_option("docs", "folder", "A folder of Markdown files, as Docusaurus has them")
}

fn route_base_option() -> Arg {
    let help = "Path of the pages on the site, as routeBasePath in Docusaurus";
    value_option("route-base", "path", help).default_value(ROUTE_BASE)
}

fn language_option() -> Arg {
    value_option("language", "tag", "Language of the pages, as en or pt-BR: for filters and for word forms")
}

fn value_option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag_option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// Returns the option of a setting.
fn setting_option(setting: &'static Setting) -> Arg {
    let help = match setting.default {
        Some(default) => format!("{} [default: {default}]", setting.help),
        None => setting.help.to_owned(),
    };
    Arg::new(setting.name)
        .long(option_name(setting.name))
        .value_name(setting.name)
        .help(help)
        .allow_hyphen_values(true)
}

/// Returns the name of a setting's option, without the leading dashes.
fn option_name(setting: &str) -> String {
    setting.to_lowercase().replace('_', "-")
}

/// Builds the command line.
pub(super) fn command_line() -> Command {
    let subcommand = |name: CommandName| {
        let CommandSpec { about, arguments, takes_setting } = name.describe();
        let settings = SETTINGS.iter().filter(|setting| !setting.secret && takes_setting(setting));
        let command = Command::new(name.as_str()).about(about).after_help(AFTER_HELP);
        command.args(arguments).args(settings.map(setting_option))
    };
    Command::new("docent")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(CommandName::ALL.map(subcommand))
}

/// Returns a sentence for an operator who gave a key on the command line, with the variable to set instead;
/// `None` for any other mistake.
pub(super) fn explain_secret_option(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    let secret = SETTINGS
        .iter()
        .find(|setting| setting.secret && given.starts_with(&format!("--{}", option_name(setting.name))))?;
    Some(format!(
        "{} has no flag, because a command line is visible to everybody: set the variable",
        secret.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_shows_no_secret() {
        command_line().debug_assert();
        for name in ["demo", "serve", "check", "eval"] {
            let mut command = command_line();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert_eq!(help.contains("--qdrant-collection-name"), name != "demo", "{name}");
            assert!(help.contains("--port"), "{name}");
            assert!(!help.contains("--gemini-api-key"), "{name}");
        }
    }

    #[test]
    fn every_command_is_parsed_by_its_name() {
        for command in CommandName::ALL {
            assert_eq!(CommandName::parse(command.as_str()), Some(command));
        }
        assert_eq!(CommandName::parse("help"), None);
    }

    #[test]
    fn a_key_on_the_command_line_is_answered_with_the_name_of_its_variable() {
        let explain = |arguments: &[&str]| {
            explain_secret_option(&command_line().try_get_matches_from(arguments).unwrap_err())
        };
        let sentence = explain(&["docent", "serve", "--gemini-api-key=AIza"]).unwrap();
        assert!(sentence.starts_with("GEMINI_API_KEY has no flag") && !sentence.contains("AIza"), "{sentence}");
        assert_eq!(explain(&["docent", "serve", "--none"]), None);
    }
}
