//! Holds the connection to a Qdrant server, which all calls share, and replaces it when the server no longer
//! answers over it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use qdrant_client::{Qdrant, QdrantError};
use secrecy::ExposeSecret as _;
use tonic::Code;

use super::wire::{retrieval_error, status_code};
use crate::config::RemoteConfig;
use crate::retrieval::error::{Error, OpenError};

/// Longest time of each call while a collection is opened.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time by which the client's own timeout exceeds Docent's deadline. The client's timeout is only a second
/// guard: the client repeats a call once by itself, so a frozen server would cost that timeout twice.
const CLIENT_MARGIN: Duration = Duration::from_secs(5);
/// Time a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Shares one client among all calls.
pub(super) struct Connection {
    /// A std lock, because it is held for one clone or one assignment and never across an `await`. Poisoning is
    /// ignored: the value is one pointer, which a panic cannot leave half written.
    client: RwLock<Arc<Qdrant>>,
    config: RemoteConfig,
    timeout: Duration,
}

impl Connection {
    /// Starts with `client`; a call that has not been answered for `timeout` replaces it.
    pub(super) fn new(client: Qdrant, config: RemoteConfig, timeout: Duration) -> Self {
        Self { client: RwLock::new(Arc::new(client)), config, timeout }
    }

    /// Starts the clock of a call over the connection.
    pub(super) fn start_call(&self) -> WatchedCall<'_> {
        let client = Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner));
        WatchedCall { connection: self, client, began: Instant::now(), has_answer: false }
    }

    /// Replaces the client `old` by a new one, unless another call has done so already.
    fn replace(&self, old: &Arc<Qdrant>) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&client, old) {
            return;
        }
        if let Ok(new) = connect(&self.config, self.timeout) {
            tracing::warn!("no answer came over the connection to Qdrant: opening another");
            *client = Arc::new(new);
        }
    }
}

/// Watches one call over the shared connection. A call that is dropped near its deadline without an answer
/// takes the connection out of use: a peer that vanished silently, or a firewall that forgot the connection,
/// would make every later call wait for its deadline until the operating system closes the connection, after
/// minutes.
pub(super) struct WatchedCall<'a> {
    connection: &'a Connection,
    pub(super) client: Arc<Qdrant>,
    began: Instant,
    has_answer: bool,
}

impl WatchedCall<'_> {
    /// Records the end of the call. An `error` counts as an answer, unless it is a missed deadline.
    pub(super) fn record_end(&mut self, error: Option<&QdrantError>) {
        self.has_answer = error.and_then(status_code) != Some(Code::DeadlineExceeded);
    }
}

impl Drop for WatchedCall<'_> {
    fn drop(&mut self) {
        // A call that is dropped sooner was dropped because its reader left.
        if !self.has_answer && self.began.elapsed() >= self.connection.timeout / 10 * 9 {
            self.connection.replace(&self.client);
        }
    }
}

/// Builds a client, which connects with its first call.
pub(super) fn connect(config: &RemoteConfig, timeout: Duration) -> Result<Qdrant, QdrantError> {
    let mut builder = Qdrant::from_url(&config.url)
        .timeout(timeout.max(OPEN_TIMEOUT) + CLIENT_MARGIN)
        .connect_timeout(CONNECT_TIMEOUT)
        .keep_alive_while_idle()
        // The check blocks and prints to standard output.
        .skip_compatibility_check();
    if let Some(key) = &config.api_key {
        builder = builder.api_key(key.expose_secret());
    }
    builder.build()
}

/// Builds a client for the start of a command, where an unusable address is an error of the settings.
pub(super) fn connect_at_start(config: &RemoteConfig, timeout: Duration) -> Result<Qdrant, OpenError> {
    connect(config, timeout).map_err(|error| OpenError::Unusable(format!("QDRANT_URL: {error}")))
}

/// Bounds a call by a deadline; a missed deadline gives the error that a server sends for its own. The client's
/// own retry counts towards the deadline.
pub(super) async fn with_deadline<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, QdrantError>>,
) -> Result<T, QdrantError> {
    let missed = |_| Err(tonic::Status::deadline_exceeded("no answer in time").into());
    tokio::time::timeout(timeout, call).await.unwrap_or_else(missed)
}

/// Converts a failed call of the start into a sentence that names the settings to check.
pub(super) fn open_error(config: &RemoteConfig) -> impl Fn(QdrantError) -> OpenError {
    |error| match retrieval_error(&error) {
        Error::Refused(cause) => OpenError::Unusable(format!(
            "Qdrant at {} refuses: {cause}; check QDRANT_URL, QDRANT_API_KEY and QDRANT_COLLECTION_NAME",
            config.url
        )),
        other => {
            OpenError::Unreachable(format!("Qdrant at {} is out of reach: {other}; see QDRANT_URL", config.url))
        }
    }
}
