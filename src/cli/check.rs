//! Runs `docent check`, which prints the index and the models that `serve` would use, and reports whether
//! `serve` would start.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::output::say;
use crate::app::App;
use crate::chat::Vector;
use crate::config::Config;
use crate::provider::Task;
use crate::retrieval::Description;
use crate::startup::StartError;
use crate::text::clip;

/// Number of stored points whose text is embedded again.
const CHECKED_POINTS: u32 = 3;
/// Lowest mean similarity at which stored vectors look like the model's own. A vector of another model has a
/// similarity of about 0; one of the same text, embedded for another task or without its title, has more than
/// this bound.
const MIN_OWN_SIMILARITY: f64 = 0.6;

/// Prints the index and the models that `serve` would use. Fails if `serve` would not start.
pub(super) async fn run(config: Config) -> Result<ExitCode, StartError> {
    let filter_keys = config.site.filter_keys.clone();
    let app = App::build(config).await?;
    let index = app.rag.index.description();
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let dense: Vec<String> =
        index.dense.iter().map(|(name, size)| format!("{} ({size})", display_name(name))).collect();
    say!("index             {}", index.place);
    say!("points            {}", index.points);
    say!("dense vectors     {}", names(&dense));
    say!("sparse vectors    {}", names(&index.sparse));
    let size = if index.dimensions == 0 { "sparse".to_owned() } else { format!("{} values", index.dimensions) };
    say!("searched          {}, {size}, {}", display_name(&index.vector_name), index.distance);
    match &index.sparse_name {
        None if index.dimensions == 0 => say!("retrieval         sparse"),
        Some(sparse) => say!("retrieval         hybrid, with BM25 on {}", display_name(sparse)),
        None => say!("retrieval         dense"),
    }
    say!("payload keys      {}", names(&index.payload_keys));
    say!("filter keys       {}", describe_filters(&index, &filter_keys));
    say!("embedding model   {}", app.rag.provider.embedding.model());
    if let Some(model) = app.rag.provider.generation.model() {
        say!("generative model  {model}");
    }
    say!("stored vectors    {}", compare_vectors(&app).await?);
    for warning in index.filter_key_warnings(&filter_keys) {
        say!("note              {warning}");
    }
    say!("serve would start");
    Ok(ExitCode::SUCCESS)
}

/// Lists the allowed filter keys that have a payload index.
fn describe_filters(index: &Description, keys: &[String]) -> String {
    let indexed: Vec<&str> =
        keys.iter().filter(|key| index.indexed_keys.contains(key)).map(String::as_str).collect();
    if indexed.is_empty() { "none indexed".to_owned() } else { format!("{} (indexed)", indexed.join(", ")) }
}

/// Embeds the texts of a few stored points again, and reports whether the stored vectors look like this
/// model's.
async fn compare_vectors(app: &App) -> Result<String, StartError> {
    let samples = app.rag.index.samples(CHECKED_POINTS).await;
    let samples = samples.map_err(|error| StartError::Other(format!("reading points: {error}")))?;
    if samples.is_empty() {
        return Ok("none to look at".to_owned());
    }
    let mut similarities = Vec::new();
    for sample in &samples {
        let task = Task::Document { title: &sample.title, heading: &sample.title };
        let text = clip(&sample.text, 2_000);
        match app.rag.provider.embedding.embed(text, task, app.rag.index.dimensions()).await {
            Ok(vector) => similarities.push(cosine_similarity(&vector, &sample.vector)),
            Err(error) => {
                let service = app.rag.provider.embedding.service();
                let name = service.map_or("the offline model", |service| service.name);
                return Ok(format!("not compared, {name} did not embed: {error}"));
            }
        }
    }
    let similarities_text: Vec<String> =
        similarities.iter().map(|similarity| format!("{similarity:.2}")).collect();
    let mean = similarities.iter().sum::<f64>() / similarities.len() as f64;
    let verdict = if mean >= MIN_OWN_SIMILARITY {
        "look like this model's"
    } else {
        "do not look like this model's: set EMBEDDING_MODEL to the model that indexed them"
    };
    Ok(format!("{verdict} (similarity {} on {} points)", similarities_text.join(", "), samples.len()))
}

/// Computes the cosine similarity of two vectors; 0 if a vector has the length 0.
fn cosine_similarity(a: &Vector, b: &Vector) -> f64 {
    let features = |vector: &Vector| -> BTreeMap<u32, f64> {
        match vector {
            Vector::Dense(values) => (0..).zip(values).map(|(at, value)| (at, f64::from(*value))).collect(),
            Vector::Sparse(features) => features.iter().map(|(at, value)| (*at, f64::from(*value))).collect(),
        }
    };
    let (a, b) = (features(a), features(b));
    let length = |vector: &BTreeMap<u32, f64>| vector.values().map(|value| value * value).sum::<f64>().sqrt();
    let dot: f64 = a.iter().filter_map(|(at, value)| Some(value * b.get(at)?)).sum();
    let lengths = length(&a) * length(&b);
    if lengths == 0.0 { 0.0 } else { dot / lengths }
}

/// Returns the name of a vector; `(unnamed)` for the vector without a name.
fn display_name(name: &str) -> String {
    if name.is_empty() { "(unnamed)".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_compared_by_direction() {
        let sparse = |features: &[(u32, f32)]| Vector::Sparse(features.to_vec());
        for (a, b, expected) in [
            (Vector::Dense(vec![1.0, 0.0]), Vector::Dense(vec![2.0, 0.0]), 1.0),
            (Vector::Dense(vec![1.0, 0.0]), Vector::Dense(vec![0.0, 3.0]), 0.0),
            (Vector::Dense(vec![1.0]), Vector::Dense(vec![0.0]), 0.0),
            (sparse(&[(3, 1.0), (9, 1.0)]), sparse(&[(9, 5.0)]), 0.5_f64.sqrt()),
        ] {
            assert!((cosine_similarity(&a, &b) - expected).abs() < 1e-9, "{a:?} {b:?}");
        }
    }
}
