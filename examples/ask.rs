//! Asks a running Docent and prints the answer as it arrives:
//! `cargo run --example ask -- "How do I deploy?"` (`DOCENT_URL`, default `http://127.0.0.1:8080`).

use std::io::Write as _;

use futures::StreamExt as _;
use reqwest_eventsource::{Event, EventSource, retry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let query = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let server = std::env::var("DOCENT_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let request =
        reqwest::Client::new().post(format!("{server}/chat")).json(&serde_json::json!({ "query": query }));
    let mut events = EventSource::new(request)?;
    // Otherwise the end of the stream would send the question again.
    events.set_retry_policy(Box::new(retry::Never));
    while let Some(event) = events.next().await {
        let Event::Message(message) = event? else { continue };
        let data: serde_json::Value = serde_json::from_str(&message.data)?;
        match message.event.as_str() {
            "sources" => eprintln!("{} sources", data["sources"].as_array().map_or(0, Vec::len)),
            "token" => print!("{}", data["text"].as_str().unwrap_or_default()),
            "done" => {
                println!("\n({}, cited {})", data["status"], data["cited"]);
                return Ok(());
            }
            "error" => anyhow::bail!("{}", data["detail"]),
            _ => {}
        }
        std::io::stdout().flush()?;
    }
    anyhow::bail!("the answer was cut off")
}
