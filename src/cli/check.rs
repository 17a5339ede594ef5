//! `docent check`: what `serve` would use, and whether it would start.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::app::App;
use crate::chat::Vector;
use crate::config::Config;
use crate::provider::Task;
use crate::retrieval::Description;
use crate::startup::StartError;
use crate::text::clip;

/// Stored points whose text is embedded anew.
const CHECKED_POINTS: u32 = 3;
/// Similarity from which a stored vector looks like the model's own: texts that other models embedded have about 0,
/// the same text embedded for another task or without its title still has more than this.
const SAME_MODEL: f64 = 0.6;

/// Prints what `serve` would use. Fails where `serve` would.
pub(super) async fn check(config: Config) -> Result<ExitCode, StartError> {
    let filter_keys = config.site.filter_keys.clone();
    let app = App::build(config).await?;
    let index = app.rag.index.description();
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let dense: Vec<String> =
        index.dense.iter().map(|(name, size)| format!("{} ({size})", shown(name))).collect();
    say!("index             {}", index.place);
    say!("points            {}", index.points);
    say!("dense vectors     {}", names(&dense));
    say!("sparse vectors    {}", names(&index.sparse));
    let size = if index.dimensions == 0 { "sparse".to_owned() } else { format!("{} values", index.dimensions) };
    say!("searched          {}, {size}, {}", shown(&index.vector_name), index.distance);
    match &index.sparse_name {
        None if index.dimensions == 0 => say!("retrieval         sparse"),
        Some(sparse) => say!("retrieval         hybrid, with BM25 on {}", shown(sparse)),
        None => say!("retrieval         dense"),
    }
    say!("payload keys      {}", names(&index.payload_keys));
    say!("filter keys       {}", filters(&index, &filter_keys));
    say!("embedding model   {}", app.rag.provider.embedding.model());
    if let Some(model) = app.rag.provider.generation.model() {
        say!("generative model  {model}");
    }
    say!("stored vectors    {}", compare(&app).await?);
    for trouble in index.filter_key_warnings(&filter_keys) {
        say!("note              {trouble}");
    }
    say!("serve would start");
    Ok(ExitCode::SUCCESS)
}

/// The allowed filter keys that are indexed.
fn filters(index: &Description, keys: &[String]) -> String {
    let indexed: Vec<&str> =
        keys.iter().filter(|key| index.indexed_keys.contains(key)).map(String::as_str).collect();
    if indexed.is_empty() { "none indexed".to_owned() } else { format!("{} (indexed)", indexed.join(", ")) }
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
        let task = Task::Document { title: &sample.title, heading: &sample.title };
        let text = clip(&sample.text, 2_000);
        match app.rag.provider.embedding.embed(text, task, app.rag.index.dimensions()).await {
            Ok(vector) => similarities.push(cosine(&vector, &sample.vector)),
            Err(error) => {
                let name =
                    app.rag.provider.embedding.service().map_or("the offline model", |service| service.name);
                return Ok(format!("not compared, {name} did not embed: {error}"));
            }
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

fn cosine(a: &Vector, b: &Vector) -> f64 {
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

fn shown(name: &str) -> String {
    if name.is_empty() { "(unnamed)".to_owned() } else { name.to_owned() }
}
