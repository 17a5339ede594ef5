//! Asks a running Docent and prints the answer as it arrives:
//! `cargo run --example ask -- "How do I deploy?"` (`DOCENT_URL`, default `http://127.0.0.1:8080`).

use std::io::Write as _;

use futures::StreamExt as _;
use reqwest_eventsource::{Error, Event, EventSource, retry};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), String> {
    let query = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let server = std::env::var("DOCENT_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned());
    let request = reqwest::Client::new().post(format!("{server}/chat")).json(&json!({ "query": query }));
    let mut events = EventSource::new(request).map_err(|error| error.to_string())?;
    // A retry would send the question again at the end of the stream.
    events.set_retry_policy(Box::new(retry::Never));
    while let Some(event) = events.next().await {
        let message = match event {
            Ok(Event::Open) => continue,
            Ok(Event::Message(message)) => message,
            // The body of a refused question says why it was refused.
            Err(Error::InvalidStatusCode(_, answer)) => return Err(answer.text().await.unwrap_or_default()),
            Err(error) => return Err(format!("{error}; does Docent run at {server}?")),
        };
        let data: Value = serde_json::from_str(&message.data).map_err(|error| error.to_string())?;
        match message.event.as_str() {
            "token" => print!("{}", data["text"].as_str().unwrap_or_default()),
            "done" => {
                println!("\n({}, cites {})", data["status"], data["cited"]);
                return Ok(());
            }
            "error" => return Err(data["detail"].to_string()),
            _ => {}
        }
        std::io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Err("the answer was cut off".to_owned())
}
