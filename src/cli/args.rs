//! Reads the arguments of a command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ArgMatches;

use crate::chat::MAX_TOP_K;
use crate::config::{DemoConfig, SETTINGS};
use crate::docs::ROUTE_BASE;
use crate::startup::StartError;

/// Reads an argument as text, trimmed; `None` if it is empty or not given.
pub(super) fn read_text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Reads the options of settings, by the names of the settings.
pub(super) fn read_settings(matches: &ArgMatches) -> BTreeMap<String, String> {
    let settings = SETTINGS.iter().filter(|setting| !setting.secret);
    // A command does not have the options of every setting.
    let given = |name| matches.try_get_one::<String>(name).ok().flatten().cloned();
    settings.filter_map(|setting| Some((setting.name.to_owned(), given(setting.name)?))).collect()
}

/// Reads the options that choose the pages of a demo, or of an evaluation without a server.
pub(super) fn read_demo(matches: &ArgMatches) -> Result<DemoConfig, StartError> {
    let docs = read_text(matches, "docs").map(PathBuf::from);
    Ok(DemoConfig { docs, route_base: read_route_base(matches)?, language: read_language(matches)? })
}

/// Reads `--language`: a code of two or three letters, and further parts after hyphens.
pub(super) fn read_language(matches: &ArgMatches) -> Result<Option<String>, StartError> {
    match read_text(matches, "language") {
        Some(tag) if !is_language_tag(&tag) => Err(StartError::Settings(format!(
            "--language: {tag:?} must be a tag such as en or pt-BR, as Docusaurus names the locale"
        ))),
        tag => Ok(tag),
    }
}

fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let is_code =
        |code: &str| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_part =
        |part: &str| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    parts.next().is_some_and(is_code) && parts.all(is_part)
}

/// Reads `--route-base` as a path that begins with a slash and ends without one: `/docs`, or `/` alone.
pub(super) fn read_route_base(matches: &ArgMatches) -> Result<String, StartError> {
    let given = read_text(matches, "route-base").unwrap_or_else(|| ROUTE_BASE.to_owned());
    normalise_route_base(&given)
}

fn normalise_route_base(given: &str) -> Result<String, StartError> {
    if given.contains(['?', '#', '\\']) || given.contains("://") || given.chars().any(char::is_whitespace) {
        let sentence =
            format!("--route-base: {given:?} must be a path such as {ROUTE_BASE}; the site goes into SITE_URL");
        return Err(StartError::Settings(sentence));
    }
    Ok(format!("/{}", given.trim_matches('/')))
}

/// Reads `--top-k`, a whole number within its bounds.
pub(super) fn read_top_k(matches: &ArgMatches) -> Result<usize, StartError> {
    let given = read_text(matches, "top-k").and_then(|top_k| top_k.parse().ok());
    let top_k = given.filter(|top_k| (1..=MAX_TOP_K).contains(top_k));
    let sentence = || StartError::Settings(format!("--top-k must be a whole number, 1 to {MAX_TOP_K}"));
    top_k.ok_or_else(sentence)
}

#[cfg(test)]
mod tests {
    use super::super::command::command_line;
    use super::*;
    use crate::chat::DEFAULT_TOP_K;

    fn matches(arguments: &[&str]) -> ArgMatches {
        let (_, matches) = command_line().try_get_matches_from(arguments).unwrap().remove_subcommand().unwrap();
        matches
    }

    #[test]
    fn a_language_is_a_tag() {
        for tag in ["en", "pt-BR", "zh-Hans-CN", "gsw"] {
            assert!(is_language_tag(tag), "{tag}");
        }
        for tag in ["", "e", "english", "EN", "en-", "en_US", "-en", "en-abcdefghi"] {
            assert!(!is_language_tag(tag), "{tag}");
        }
    }

    #[test]
    fn a_route_base_is_a_path_with_a_slash_before_it_and_none_after_it() {
        for (given, expected) in [("docs", "/docs"), ("/docs/", "/docs"), ("/", "/"), ("a/b", "/a/b")] {
            assert_eq!(normalise_route_base(given).unwrap(), expected);
        }
        for given in ["https://x.example/docs", "/docs?a", "/docs#a", "/a b", "\\docs"] {
            assert!(normalise_route_base(given).unwrap_err().to_string().contains("SITE_URL"), "{given}");
        }
    }

    #[test]
    fn top_k_is_bounded_and_has_the_default_of_a_question() {
        let read =
            |arguments: &[&str]| read_top_k(&matches(&[&["docent", "eval", "file"], arguments].concat()));
        assert_eq!(read(&[]).unwrap(), DEFAULT_TOP_K);
        assert_eq!(read(&["--top-k", "20"]).unwrap(), MAX_TOP_K);
        for wrong in ["0", "21", "six", ""] {
            assert!(read(&["--top-k", wrong]).unwrap_err().to_string().contains("1 to 20"), "{wrong}");
        }
    }

    #[test]
    fn settings_are_read_by_their_names() {
        let settings = read_settings(&matches(&["docent", "serve", "--port", "1", "--qdrant-url", "x"]));
        let settings: Vec<(&str, &str)> =
            settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(settings, [("PORT", "1"), ("QDRANT_URL", "x")]);
    }
}
