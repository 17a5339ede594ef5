//! Gathers flags, environment and `.env` into one map, and reads values from it; each error names its variable.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::table::SETTINGS;

/// Longest duration of a setting; a longer one stops the start.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Lists the mistakes in the settings: sentences that begin with the name of the variable or the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// Returns an error of one sentence.
    pub fn from_sentence(sentence: impl Into<String>) -> Self {
        Self(vec![sentence.into()])
    }
}

/// Maps names of settings to their values; an empty value counts as unset.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, String>);

impl std::fmt::Debug for Vars {
    /// Prints names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Vars {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(iter: T) -> Self {
        Self(iter.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl Vars {
    /// Gathers `flags`, the environment and the `.env` file of `dir`; the first of them that sets a name wins.
    ///
    /// # Errors
    ///
    /// Returns an error for a variable that is not Unicode, or a `.env` that cannot be read; the sentence shows
    /// no value.
    pub fn gather(flags: BTreeMap<String, String>, dir: &Path) -> Result<Self, ConfigError> {
        let mut vars = read_env_file(&dir.join(".env"))?;
        for setting in SETTINGS {
            match std::env::var(setting.name) {
                Ok(value) if !value.trim().is_empty() => vars.insert(setting.name.to_owned(), value),
                Ok(_) | Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(ConfigError::from_sentence(format!("{} is not valid UTF-8", setting.name)));
                }
            };
        }
        vars.extend(flags.into_iter().filter(|(_, value)| !value.trim().is_empty()));
        Ok(Self(vars))
    }

    /// Returns the trimmed value of a setting, or `None` if it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns the value of a setting, else the default of the table, else `None`.
    pub fn get_or_default(&self, name: &str) -> Option<&str> {
        let default = SETTINGS.iter().find(|setting| setting.name == name).and_then(|setting| setting.default);
        self.get(name).or(default)
    }
}

/// Reads the variables of a `.env` file; returns none if there is no such file.
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let file_error = |problem: String| ConfigError::from_sentence(format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| file_error(format!("cannot be read: {error}")))?;
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let mut vars = BTreeMap::new();
    for line in dotenvy::from_read_iter(text.as_bytes()) {
        // dotenvy's own message would show the line, which may contain a key.
        let (name, value) = line.map_err(|error| {
            let place =
                find_line_number(text, &error).map_or("a line".to_owned(), |number| format!("line {number}"));
            file_error(format!(
                "{place} is not of the form NAME=value; a value with spaces needs quotes, as NAME=\"a b\""
            ))
        })?;
        vars.entry(name).or_insert(value);
    }
    Ok(vars)
}

/// Finds the number of the line of `text` that dotenvy could not read, counted from 1.
fn find_line_number(text: &str, error: &dotenvy::Error) -> Option<usize> {
    // The error holds only the value if only the value is wrong; after an open quote it also holds the
    // following lines.
    let dotenvy::Error::LineParse(lines, _) = error else { return None };
    let first = lines.lines().next().unwrap_or_default().trim();
    let is_wrong = |line: &str| !line.trim().starts_with('#') && line.trim().ends_with(first);
    Some(text.lines().position(is_wrong)? + 1)
}

/// Returns an `http` or `https` URL without a query.
pub(super) fn parse_http_url(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.query().is_none() => Ok(url),
        _ => Err("must be an http:// or https:// URL without a query".to_owned()),
    }
}

/// Reads settings and collects the mistakes in them, so that one start reports every mistake.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    vars: &'a Vars,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        Self { vars, errors: Vec::new() }
    }

    /// Returns the value, else the default of the table, else `None`.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.vars.get_or_default(name)
    }

    /// Returns the value or default as an owned text.
    pub(super) fn owned_text(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// Parses the value or default with `parse`, whose error message completes the sentence "NAME …".
    pub(super) fn parse<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fail(name, &message);
                None
            }
        }
    }

    /// Parses a number; `expected` completes the sentence "NAME must be …".
    pub(super) fn number<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        self.parse(name, |text| text.parse().map_err(|_| format!("must be {expected}")))
    }

    /// Parses a whole number in `range`.
    pub(super) fn number_in<T: FromStr + PartialOrd + Display + Default>(
        &mut self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> T {
        let parse = |text: &str| match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number, {} to {}", range.start(), range.end())),
        };
        self.parse(name, parse).unwrap_or_default()
    }

    /// Parses a duration such as `500ms`, `20s` or `2m`, above zero and at most a day.
    pub(super) fn duration(&mut self, name: &str) -> Duration {
        let parse = |text: &str| match humantime::parse_duration(text) {
            Ok(duration) if !duration.is_zero() && duration <= MAX_DURATION => Ok(duration),
            _ => Err("must be a duration above zero and at most a day, as 500ms, 20s or 2m".to_owned()),
        };
        self.parse(name, parse).unwrap_or_default()
    }

    /// Reads a key or token that can be sent in a header; the error message does not show it.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.parse(name, |text| match text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(text.to_owned().into()),
            false => Err(
                "cannot be sent in a header: it contains spaces, line breaks or other characters no key has"
                    .to_owned(),
            ),
        })
    }

    /// Returns the parts of a comma-separated list, trimmed and without empty ones.
    pub(super) fn list(&self, name: &str) -> Vec<&'a str> {
        let parts = self.text(name).into_iter().flat_map(|text| text.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    /// Records a mistake; `message` completes the sentence "NAME …".
    pub(super) fn fail(&mut self, name: &str, message: &str) {
        self.errors.push(format!("{name} {message}"));
    }

    /// Ends the reading, and reports the mistakes.
    ///
    /// # Errors
    ///
    /// Returns every mistake that was recorded.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigError(self.errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_flag_wins_over_the_env_file_and_an_empty_value_is_unset() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), "SITE_NAME=file\nSITE_URL=https://file.example\n").unwrap();
        let vars = Vars::gather(flags(&[("SITE_NAME", "flag"), ("SITE_URL", " ")]), dir.path()).unwrap();
        assert_eq!(vars.get("SITE_NAME"), Some("flag"));
        assert_eq!(vars.get("SITE_URL"), Some("https://file.example"));
    }

    #[test]
    fn a_broken_line_of_the_env_file_is_named_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        for line in ["GEMINI_API_KEY 'AIza-secret", "GEMINI_API_KEY=AIza secret"] {
            std::fs::write(dir.path().join(".env"), format!("\u{feff}SITE_NAME=x\n\n{line}\n")).unwrap();
            let error = Vars::gather(BTreeMap::new(), dir.path()).unwrap_err().to_string();
            assert!(error.contains("line 3 is not") && error.contains("quotes"), "{error}");
            assert!(!error.contains("AIza"), "{error}");
        }
    }

    #[test]
    fn a_map_of_settings_never_shows_a_value() {
        let vars = Vars::from_iter([("GEMINI_API_KEY", "AIza-secret")]);
        assert!(!format!("{vars:?}").contains("secret"));
    }
}
