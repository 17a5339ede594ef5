//! The connection to a Qdrant server, which all calls share, and which is replaced when nothing comes over it any more.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use qdrant_client::{Qdrant, QdrantError};
use secrecy::ExposeSecret as _;
use tonic::Code;

use super::{OPEN_TIMEOUT, code};
use crate::config::RemoteConfig;

/// The client's own timeout only backs Docent's: it tries again once by itself, so a frozen server would cost twice.
const CLIENT_MARGIN: Duration = Duration::from_secs(5);
/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The connection.
pub(super) struct Connection {
    client: RwLock<Arc<Qdrant>>,
    config: RemoteConfig,
    timeout: Duration,
}

impl Connection {
    /// Begins with `client`; a call that has not been answered for `timeout` replaces it.
    pub(super) fn new(client: Qdrant, config: RemoteConfig, timeout: Duration) -> Self {
        Self { client: RwLock::new(Arc::new(client)), config, timeout }
    }

    /// A call that begins now.
    pub(super) fn call(&self) -> Call<'_> {
        let client = Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner));
        Call { connection: self, client, began: Instant::now(), ended: false }
    }

    /// Takes a new client in place of `old`, unless another call has done so already.
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

/// A call over the shared connection. One that was given up on without an answer takes the connection out of use: a peer that
/// is gone without a word, or a firewall that forgot it, would cost every later call its deadline until the operating system
/// gives up, after minutes.
pub(super) struct Call<'a> {
    connection: &'a Connection,
    pub(super) client: Arc<Qdrant>,
    began: Instant,
    ended: bool,
}

impl Call<'_> {
    /// An answer has come, unless it is the error of a missed deadline.
    pub(super) fn ended(&mut self, error: Option<&QdrantError>) {
        self.ended = error.and_then(code) != Some(Code::DeadlineExceeded);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Dropped sooner, it was its reader who left.
        if !self.ended && self.began.elapsed() >= self.connection.timeout / 10 * 9 {
            self.connection.replace(&self.client);
        }
    }
}

/// A client, which connects with its first call.
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
