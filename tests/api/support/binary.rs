//! Runs the binary as a process.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::support::wait::{eventually, within};

/// Prepares the binary, or that of `DOCENT_BIN`, in an empty folder with these variables and no others.
pub fn docent(arguments: &[&str], variables: &[(&str, &str)]) -> (Command, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let built = std::env::var("DOCENT_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_docent").to_owned());
    let mut command = Command::new(built);
    command.args(arguments).env_clear().envs(variables.iter().copied()).current_dir(folder.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    (command, folder)
}

/// Runs the binary to its end; returns its exit code, and its output to stdout and then to stderr.
pub async fn run_to_end(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let (mut command, _folder) = docent(arguments, variables);
    let Output { status, stdout, stderr } = within(command.output()).await.unwrap();
    (status.code(), format!("{}{}", String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()))
}

/// Holds a server in a process of its own, which ends when the value is dropped.
pub struct Binary {
    pub child: Child,
    /// Address of the server, as `http://host:port`.
    pub url: String,
    log: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Binary {
    /// Starts the binary on a free port and waits until it listens.
    pub async fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let variables = [&[("PORT", "0"), ("LOG_FORMAT", "json")], variables].concat();
        let (mut command, folder) = docent(arguments, &variables);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = loop {
            let line = within(lines.next_line()).await.unwrap().expect("a line that says where it listens");
            let address = line.split_once("listening on ").map(|(_, rest)| rest.to_owned());
            log.lock().unwrap().push(line);
            if let Some(address) = address {
                break address.split(['"', '\u{1b}']).next().unwrap().to_owned();
            }
        };
        let kept = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, url, log, _folder: folder }
    }

    /// Starts `docent serve` against the fakes at these addresses; `settings` come on top.
    pub async fn serve(gemini: &str, qdrant: &str, settings: &[(&str, &str)]) -> Self {
        let services = [
            ("GEMINI_API_KEY", "AIza-secret"),
            ("GOOGLE_GEMINI_BASE_URL", gemini),
            ("QDRANT_URL", qdrant),
            ("QDRANT_API_KEY", "qdrant-secret"),
        ];
        Self::start(&["serve"], &[&services, settings].concat()).await
    }

    /// Returns the lines of the binary's log so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Returns the lines of the binary's log so far as objects, if the binary logs JSON.
    pub fn log_events(&self) -> Vec<Value> {
        self.log_lines().iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Waits until `count` lines of the binary's log hold `part`, and returns them as objects.
    pub async fn wait_for_log(&self, part: &str, count: usize) -> Vec<Value> {
        let mut found = Vec::new();
        eventually(async || {
            found = self.log_lines();
            found.retain(|line| line.contains(part));
            found.len() >= count
        })
        .await;
        found.iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Sends SIGTERM.
    #[cfg(feature = "embedded")]
    pub async fn terminate(&self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
    }
}
