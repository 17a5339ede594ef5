//! Flags, environment and `.env` in one map, and readers whose errors name the variable.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::settings::SETTINGS;

/// What is wrong with the settings: one sentence each, every one beginning with the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl ConfigError {
    /// A single sentence.
    pub fn one(sentence: impl Into<String>) -> Self {
        Self(vec![sentence.into()])
    }
}

/// Settings by name; an empty value counts as unset.
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, String>);

impl std::fmt::Debug for Vars {
    /// Names only: values may be secrets.
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
    /// `flags`, then the environment, then the `.env` file of `dir`: the first that sets a name wins.
    ///
    /// # Errors
    ///
    /// A variable that is not Unicode, or a `.env` that cannot be read; the sentence shows no value.
    pub fn gather(flags: BTreeMap<String, String>, dir: &Path) -> Result<Self, ConfigError> {
        let mut vars = env_file(&dir.join(".env"))?;
        for setting in SETTINGS {
            match std::env::var(setting.name) {
                Ok(value) if !value.trim().is_empty() => vars.insert(setting.name.to_owned(), value),
                Ok(_) | Err(std::env::VarError::NotPresent) => None,
                Err(std::env::VarError::NotUnicode(_)) => {
                    return Err(ConfigError::one(format!("{} is not valid UTF-8", setting.name)));
                }
            };
        }
        vars.extend(flags.into_iter().filter(|(_, value)| !value.trim().is_empty()));
        Ok(Self(vars))
    }

    /// The trimmed value of a setting, unless it is unset or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of a setting, the table's default, or `None`.
    pub fn get_or_default(&self, name: &str) -> Option<&str> {
        let default = SETTINGS.iter().find(|setting| setting.name == name).and_then(|setting| setting.default);
        self.get(name).or(default)
    }
}

/// The variables of a `.env` file; none where there is no file.
fn env_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let wrong = |what: String| ConfigError::one(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let mut vars = BTreeMap::new();
    for line in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = line.map_err(|error| {
            // dotenvy's own message would show the line, and with it perhaps a key.
            let place = match error {
                // It holds the value alone where that is what is wrong; an open quote takes the lines after it along.
                dotenvy::Error::LineParse(lines, _) => {
                    let first = lines.lines().next().unwrap_or_default();
                    text.lines()
                        .position(|line| !line.trim().starts_with('#') && line.trim().ends_with(first.trim()))
                }
                _ => None,
            };
            let place = place.map_or("a line".to_owned(), |index| format!("line {}", index + 1));
            wrong(format!(
                "{place} is not of the form NAME=value; a value with spaces needs quotes, as NAME=\"a b\""
            ))
        })?;
        vars.entry(name).or_insert(value);
    }
    Ok(vars)
}

/// Reads settings and collects what is wrong with them, so that one start tells everything.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    vars: &'a Vars,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(vars: &'a Vars) -> Self {
        Self { vars, errors: Vec::new() }
    }

    /// The value, the table's default, or `None`.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.vars.get_or_default(name)
    }

    /// The value or default through `parse`, whose message completes "NAME …".
    pub(super) fn parse<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fail(name, &message);
                None
            }
        }
    }

    pub(super) fn number<T: FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        self.parse(name, |text| text.parse().map_err(|_| format!("must be {what}")))
    }

    /// A whole number in `range`.
    pub(super) fn within<T: FromStr + PartialOrd + Display + Default>(
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

    /// A duration such as `500ms`, `20s` or `2m`, above zero.
    pub(super) fn duration(&mut self, name: &str) -> Duration {
        let parse = |text: &str| match humantime::parse_duration(text) {
            Ok(duration) if !duration.is_zero() && duration <= Duration::from_secs(24 * 3600) => Ok(duration),
            _ => Err("must be a duration above zero and at most a day, as 500ms, 20s or 2m".to_owned()),
        };
        self.parse(name, parse).unwrap_or_default()
    }

    /// The parts of a comma-separated list, trimmed, empty ones left out.
    pub(super) fn list(&self, name: &str) -> Vec<&'a str> {
        let parts = self.text(name).into_iter().flat_map(|text| text.split(','));
        parts.map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    pub(super) fn fail(&mut self, name: &str, message: &str) {
        self.errors.push(format!("{name} {message}"));
    }

    /// # Errors
    ///
    /// Everything that was wrong, if anything was.
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
