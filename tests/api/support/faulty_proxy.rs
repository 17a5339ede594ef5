//! Puts a TCP proxy in front of a fake, whose connections break in ways that no HTTP server can script.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Names a fault of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is refused. If the fault names a part of the first line, only connections after the next
    /// such request are refused.
    Refuse,
    /// The connection opens and is closed.
    Close,
    /// The connection opens and is reset.
    Reset,
    /// The connection opens, and no byte ever comes.
    Stall,
    /// The head of a response comes, one byte at a time, and never ends.
    SlowHead,
    /// These bytes come; then the connection is closed.
    Bytes(&'static [u8]),
}

/// Runs a proxy, which passes everything on while no fault is set.
pub struct FaultyProxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: String,
    /// Part of the first line of the requests that meet the fault ("" is all), and the fault.
    fault: Mutex<Option<(&'static str, Fault)>>,
    changed: Notify,
    refuses: AtomicBool,
    open: AtomicUsize,
    closed: AtomicUsize,
    passed: AtomicU64,
}

impl FaultyProxy {
    /// Starts a proxy in front of `upstream`, as `http://host:port`.
    pub fn start(upstream: &str) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap());
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            fault: Mutex::new(None),
            changed: Notify::new(),
            refuses: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            closed: AtomicUsize::new(0),
            passed: AtomicU64::new(0),
        });
        tokio::spawn(accept(listener, address, Arc::clone(&state)));
        Self { address, state }
    }

    /// Returns the proxy's address, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes requests whose first line has `part` meet `fault` from now on, and cuts the connections that are
    /// open.
    pub async fn break_for(&self, part: &'static str, fault: Fault) {
        self.change(Some((part, fault))).await;
    }

    /// Passes everything on from now on, and cuts the connections that are open.
    pub async fn heal(&self) {
        self.change(None).await;
    }

    async fn change(&self, fault: Option<(&'static str, Fault)>) {
        *self.state.fault.lock().unwrap() = fault;
        self.state.changed.notify_one();
        self.state.set_refuses(self.address, matches!(fault, Some(("", Fault::Refuse)))).await;
    }

    /// Counts the connections that are open now.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Counts the connections that have been closed.
    pub fn closed_connections(&self) -> usize {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// Counts the bytes from upstream that were passed on.
    pub fn passed_bytes(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }
}

impl State {
    /// Opens or closes the port, and waits until this has happened.
    async fn set_refuses(&self, address: SocketAddr, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
        while TcpStream::connect(address).await.is_err() != refuses {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1_024).unwrap()
}

async fn accept(listener: TcpListener, address: SocketAddr, state: Arc<State>) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        match (&listener, state.refuses.load(Ordering::SeqCst)) {
            (Some(_), true) => listener = None,
            (None, false) => listener = Some(listen(address)),
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.unwrap().0,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = state.changed.notified() => connections.abort_all(),
            Some(_) = connections.join_next() => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
            socket = accepted => {
                state.open.fetch_add(1, Ordering::SeqCst);
                connections.spawn(handle(socket, address, Open(Arc::clone(&state))));
            }
        }
    }
}

/// Counts a connection while it lives.
struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

async fn handle(mut socket: TcpStream, address: SocketAddr, open: Open) {
    let fault = *open.0.fault.lock().unwrap();
    let mut begun = Vec::new();
    let fault = match fault {
        None => None,
        Some(("", fault)) => Some(fault),
        Some((part, fault)) => {
            while !begun.contains(&b'\n') {
                if socket.read_buf(&mut begun).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let first = String::from_utf8_lossy(&begun).lines().next().unwrap_or_default().to_owned();
            first.contains(part).then_some(fault)
        }
    };
    match fault {
        None => pass_on(socket, begun, &open.0).await,
        Some(Fault::Refuse) => {
            open.0.set_refuses(address, true).await;
            pass_on(socket, begun, &open.0).await;
        }
        Some(fault) => misbehave(socket, fault).await,
    }
}

/// Passes everything on. Where the first line of a request was read, each request needs a connection of its
/// own.
async fn pass_on(mut socket: TcpStream, mut begun: Vec<u8>, state: &State) {
    let Ok(mut upstream) = TcpStream::connect(&state.upstream).await else { return };
    if let Some(line) = begun.iter().position(|byte| *byte == b'\n') {
        begun.splice(line + 1..line + 1, *b"Connection: close\r\n");
    }
    if upstream.write_all(&begun).await.is_err() {
        return;
    }
    let (mut from_client, mut to_client) = socket.split();
    let (mut from_upstream, mut to_upstream) = upstream.split();
    let down = async {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from_upstream.read(&mut buffer).await {
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            state.passed.fetch_add(count as u64, Ordering::SeqCst);
        }
    };
    tokio::select! {
        () = down => {}
        _ = tokio::io::copy(&mut from_client, &mut to_upstream) => {}
    }
}

async fn misbehave(mut socket: TcpStream, fault: Fault) {
    match fault {
        Fault::Refuse | Fault::Close => {}
        Fault::Reset => socket.set_zero_linger().unwrap(),
        Fault::Stall => wait_until_closed(&mut socket).await,
        Fault::SlowHead => {
            let (mut from, mut to) = socket.split();
            let mut nowhere = tokio::io::sink();
            let trickle = async {
                let head = b"HTTP/1.1 200 OK\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x'));
                for byte in head {
                    if to.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                () = trickle => {}
                _ = tokio::io::copy(&mut from, &mut nowhere) => {}
            }
        }
        Fault::Bytes(bytes) => {
            let _ = socket.write_all(bytes).await;
            let _ = socket.shutdown().await;
            wait_until_closed(&mut socket).await;
        }
    }
}

/// Reads until the client closes.
async fn wait_until_closed(socket: &mut TcpStream) {
    let _ = tokio::io::copy(socket, &mut tokio::io::sink()).await;
}
