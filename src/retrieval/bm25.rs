//! Selects the rules by which BM25 reads the words of a language; a server and this process apply the same
//! rules. No I/O.

use serde_json::{Map, Value, json};

use super::payload::LANGUAGE_KEY;
use crate::chat::{Filter, FilterValue};

/// Languages whose word forms the engine knows, by their ISO 639 codes.
const LANGUAGES: &[(&str, &str)] = &[
    ("ar", "arabic"),
    ("az", "azerbaijani"),
    ("bn", "bengali"),
    ("ca", "catalan"),
    ("da", "danish"),
    ("de", "german"),
    ("el", "greek"),
    ("en", "english"),
    ("es", "spanish"),
    ("eu", "basque"),
    ("fi", "finnish"),
    ("fr", "french"),
    ("he", "hebrew"),
    ("hu", "hungarian"),
    ("id", "indonesian"),
    ("it", "italian"),
    ("ja", "japanese"),
    ("kk", "kazakh"),
    ("nb", "norwegian"),
    ("ne", "nepali"),
    ("nl", "dutch"),
    ("nn", "norwegian"),
    ("no", "norwegian"),
    ("pt", "portuguese"),
    ("ro", "romanian"),
    ("ru", "russian"),
    ("sl", "slovene"),
    ("sv", "swedish"),
    ("tg", "tajik"),
    ("tr", "turkish"),
    ("zh", "chinese"),
];

/// Languages whose words the engine's large tokenizer splits. That tokenizer takes 50 MB, which is too much for
/// a language that separates its words by spaces.
const WITHOUT_SPACES: &[&str] = &["zh", "ja", "ko", "th"];

/// Selects the rules by which the words of a text are found and reduced to their stems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Analyzer {
    language: &'static str,
    multilingual: bool,
}

impl Analyzer {
    /// Analyzer for English, and for every language that the engine does not know.
    pub const ENGLISH: Self = Self { language: "english", multilingual: false };

    /// Returns the analyzer for a language tag such as `de` or `pt-BR`.
    pub fn for_language(tag: &str) -> Self {
        let code = tag.split(['-', '_']).next().unwrap_or_default().to_lowercase();
        let language = LANGUAGES.iter().find(|(known, _)| *known == code);
        Self {
            language: language.map_or(Self::ENGLISH.language, |(_, name)| name),
            multilingual: WITHOUT_SPACES.contains(&code.as_str()),
        }
    }

    /// Returns the analyzers that a search needs: for the languages it filters by, else for all `languages` of
    /// the index.
    pub(super) fn for_search(languages: &[String], filter: &Filter) -> Vec<Self> {
        let wanted = filter.get(LANGUAGE_KEY).into_iter().flatten().filter_map(|value| match value {
            FilterValue::Text(tag) => Some(tag),
            _ => None,
        });
        let wanted: Vec<&String> = wanted.filter(|tag| languages.contains(tag)).collect();
        // Passages without a language pass every filter.
        let unlabelled = languages.iter().filter(|tag| tag.is_empty());
        let tags: Vec<&String> = if wanted.is_empty() {
            languages.iter().collect()
        } else {
            wanted.into_iter().chain(unlabelled).collect()
        };
        let mut analyzers: Vec<Self> = tags.into_iter().map(|tag| Self::for_language(tag)).collect();
        analyzers.sort();
        analyzers.dedup();
        if analyzers.is_empty() { vec![Self::ENGLISH] } else { analyzers }
    }

    /// Returns the options of the engine's BM25 model; none for English, its default.
    pub(super) fn options(self) -> Map<String, Value> {
        let mut options = Map::new();
        if self != Self::ENGLISH {
            options.insert("language".to_owned(), json!(self.language));
        }
        if self.multilingual {
            options.insert("tokenizer".to_owned(), json!("multilingual"));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_language_is_read_as_english_and_only_some_need_the_large_tokenizer() {
        assert_eq!(Analyzer::for_language("ur"), Analyzer::ENGLISH);
        assert_eq!(Analyzer::for_language("en-GB").options(), Map::new());
        assert_eq!(Value::Object(Analyzer::for_language("pt_BR").options()), json!({"language": "portuguese"}));
        assert_eq!(
            Value::Object(Analyzer::for_language("zh-Hans").options()),
            json!({"language": "chinese", "tokenizer": "multilingual"})
        );
        let korean = json!({"language": "english", "tokenizer": "multilingual"});
        assert_eq!(Value::Object(Analyzer::for_language("ko").options()), korean);
    }

    #[test]
    fn a_search_reads_its_words_as_the_languages_it_can_find() {
        let languages = ["de".to_owned(), "en".to_owned(), "de-AT".to_owned()];
        let by = |tag: &str| Filter::from([("language".to_owned(), vec![FilterValue::Text(tag.to_owned())])]);
        assert_eq!(
            Analyzer::for_search(&languages, &Filter::new()),
            [Analyzer::ENGLISH, Analyzer::for_language("de")]
        );
        assert_eq!(Analyzer::for_search(&languages, &by("de")), [Analyzer::for_language("de")]);
        assert_eq!(Analyzer::for_search(&languages, &by("fr")).len(), 2);
        assert_eq!(Analyzer::for_search(&[], &by("de")), [Analyzer::ENGLISH]);
        let unlabelled = ["de".to_owned(), String::new()];
        assert_eq!(
            Analyzer::for_search(&unlabelled, &by("de")),
            [Analyzer::ENGLISH, Analyzer::for_language("de")]
        );
    }
}
