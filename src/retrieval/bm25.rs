//! How BM25 reads the words of a language, the same on a server and in this process. No I/O.

use serde_json::{Map, Value, json};

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

/// Languages written without spaces between words: only these are worth the 50 MB of the tokenizer that splits them.
const WITHOUT_SPACES: &[&str] = &["zh", "ja", "ko", "th"];

/// How the words of a text are found and reduced to their stems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Analyzer {
    language: &'static str,
    multilingual: bool,
}

impl Analyzer {
    /// The one for English, and for every language that the engine does not know.
    pub const ENGLISH: Self = Self { language: "english", multilingual: false };

    /// The one for a language tag such as `de` or `pt-BR`.
    pub fn of(tag: &str) -> Self {
        let code = tag.split(['-', '_']).next().unwrap_or_default().to_lowercase();
        let known = LANGUAGES.iter().find(|(known, _)| *known == code);
        Self {
            language: known.map_or(Self::ENGLISH.language, |(_, name)| name),
            multilingual: WITHOUT_SPACES.contains(&code.as_str()),
        }
    }

    /// The ones a search needs: for the languages it filters by, else for all `languages` of the index.
    pub fn of_search(languages: &[String], filter: &Filter) -> Vec<Self> {
        let wanted = filter.get("language").into_iter().flatten().filter_map(|value| match value {
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
        let mut analyzers: Vec<Self> = tags.into_iter().map(|tag| Self::of(tag)).collect();
        analyzers.sort();
        analyzers.dedup();
        if analyzers.is_empty() { vec![Self::ENGLISH] } else { analyzers }
    }

    /// The options of the engine's BM25 model; none for English, its default.
    pub fn options(self) -> Map<String, Value> {
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
        assert_eq!(Analyzer::of("ur"), Analyzer::ENGLISH);
        assert_eq!(Analyzer::of("en-GB").options(), Map::new());
        assert_eq!(Value::Object(Analyzer::of("pt_BR").options()), json!({"language": "portuguese"}));
        assert_eq!(
            Value::Object(Analyzer::of("zh-Hans").options()),
            json!({"language": "chinese", "tokenizer": "multilingual"})
        );
        let korean = json!({"language": "english", "tokenizer": "multilingual"});
        assert_eq!(Value::Object(Analyzer::of("ko").options()), korean);
    }

    #[test]
    fn a_search_reads_its_words_as_the_languages_it_can_find() {
        let languages = ["de".to_owned(), "en".to_owned(), "de-AT".to_owned()];
        let by = |tag: &str| Filter::from([("language".to_owned(), vec![FilterValue::Text(tag.to_owned())])]);
        assert_eq!(Analyzer::of_search(&languages, &Filter::new()), [Analyzer::ENGLISH, Analyzer::of("de")]);
        assert_eq!(Analyzer::of_search(&languages, &by("de")), [Analyzer::of("de")]);
        assert_eq!(Analyzer::of_search(&languages, &by("fr")).len(), 2);
        assert_eq!(Analyzer::of_search(&[], &by("de")), [Analyzer::ENGLISH]);
        let unlabelled = ["de".to_owned(), String::new()];
        assert_eq!(Analyzer::of_search(&unlabelled, &by("de")), [Analyzer::ENGLISH, Analyzer::of("de")]);
    }
}
