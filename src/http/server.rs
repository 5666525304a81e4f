//! Binds, accepts, shakes hands, and drives sessions to their end.
//!
//! Nothing here holds a lock across an await, and a handler that computes or reads disks for longer than a moment must
//! move that off the runtime (`spawn_blocking`): then the node says how it is even while its processors are busy.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::{ServedInterface, Shared, Visit, answer};
use super::callers::{Callers, Entrance};
use super::connection::{Activity, Driver, Phase, Watched};
use super::interface::{Authority, Interface};
use super::memory::{Allowance, Budget};
use super::prometheus::Metrics;
use super::relay::Relay;
use super::router::Router;
use super::sessions::{Admission, Session, Sessions};
use super::timeouts::Timeouts;
use super::tls::{CertificateSlot, server_config};
use crate::error::{Error, Result};

/// Two: the node's threads for HTTP. More would only take the processors from what makes a recovery fast.
const WORKER_THREADS: usize = 2;
/// After an accept that failed (no file descriptors left), time for sessions to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The smallest buffer that headers are read into; hyper needs 8 KiB.
const SMALLEST_BUFFER: usize = 64 << 10;
/// Allowance for headers that is kept per request at work, whatever is configured.
const MOST_HEADERS: usize = 8192;

/// HTTP/2: what a session may send of all its requests' bodies before they are read. It lies in memory uncounted.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// HTTP/2: a frame is read as a whole, whatever is configured.
const MOST_FRAME_BYTES: u32 = 256 << 10;
/// HTTP/2: what a stream is given to write before the client takes it.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2: streams that a client may begin and reset before the session is ended.
const MOST_RESETS: usize = 20;

/// What interfaces present, by their authority. Both slots start with the self-signed certificate.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// For [`Authority::Node`].
    pub node: Arc<CertificateSlot>,
    /// For [`Authority::Service`]: replaced when the service has endorsed the node.
    pub service: Arc<CertificateSlot>,
}

/// A runtime for the server and its handlers.
///
/// # Errors
/// [`Error::Usage`] if threads can't be started.
pub fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("http")
        .enable_all()
        .build()
        .map_err(|e| Error::Usage(format!("the threads that serve HTTP could not be started: {e}")))
}

/// Interfaces that are bound, and not served yet: connections wait.
pub struct Server {
    bound: Vec<(Arc<Interface>, TcpListener)>,
    sessions: Arc<Sessions>,
    timeouts: Timeouts,
}

impl Server {
    /// Binds every interface, before anything is served on any. A port 0 in their addresses is replaced by the one taken.
    ///
    /// # Errors
    /// [`Error::Usage`] with the interface that could not be bound, and why.
    pub async fn bind(interfaces: Vec<Interface>, timeouts: Timeouts) -> Result<Self> {
        let mut bound = Vec::new();
        for mut interface in interfaces {
            let failed = |e: std::io::Error| {
                let (name, address) = (&interface.name, &interface.bind_address);
                Error::Usage(format!(
                    "rpc interface {name:?} could not be bound to {address:?}: {e}; expected a host:port of this machine \
                     that no other program listens on"
                ))
            };
            let listener = TcpListener::bind(&interface.bind_address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            interface.bind_address = with_port(&interface.bind_address, address);
            interface.published_address = match interface.published_address.is_empty() {
                true => interface.bind_address.clone(),
                false => with_port(&interface.published_address, address),
            };
            bound.push((Arc::new(interface), listener));
        }
        let interfaces: Vec<_> = bound.iter().map(|(interface, _)| interface.clone()).collect();
        Ok(Server {
            bound,
            sessions: Sessions::new(&interfaces),
            timeouts,
        })
    }

    /// The interfaces, with the addresses that they really have.
    pub fn interfaces(&self) -> impl Iterator<Item = &Arc<Interface>> {
        self.bound.iter().map(|(interface, _)| interface)
    }

    /// Bound addresses by interface: what `rpc_addresses_file` holds.
    pub fn addresses(&self) -> BTreeMap<String, String> {
        self.interfaces()
            .map(|interface| (interface.name.clone(), interface.bind_address.clone()))
            .collect()
    }

    /// The counters that `/node/metrics` answers with.
    pub fn sessions(&self) -> Arc<Sessions> {
        self.sessions.clone()
    }

    /// Serves every interface until [`Running::shutdown`].
    ///
    /// # Errors
    /// As [`server_config`].
    pub fn serve<S: Send + Sync + 'static>(
        self,
        router: Arc<Router<S>>,
        state: Arc<S>,
        certificates: &Certificates,
        metrics: Arc<Metrics>,
    ) -> Result<Running> {
        let (phase, watched) = watch::channel(Phase::Serving);
        let (done, all_done) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            router,
            state,
            metrics,
            sessions: self.sessions.clone(),
            timeouts: self.timeouts,
            budget: Arc::new(Budget::new()),
            phase: watched,
        });
        let limits = self.bound.first().map(|(interface, _)| interface.limits);
        let inner = Arc::new(ServedInterface {
            shared: shared.clone(),
            interface: Arc::new(Interface {
                limits: limits.unwrap_or_default(),
                ..Interface::new("passed on by another node", "")
            }),
            // It has no sessions to count.
            index: usize::MAX,
            tls: None,
        });
        let relay = Relay::new(Handle::current(), move |stream, client| {
            Box::pin(drive(inner.clone(), stream, client, None, Kind::Single))
        });
        for (index, (interface, listener)) in self.bound.into_iter().enumerate() {
            let slot = match interface.authority {
                Authority::Unsecured => None,
                Authority::Node => Some(certificates.node.clone()),
                Authority::Service => Some(certificates.service.clone()),
            };
            let tls = slot.map(|slot| server_config(slot, interface.http2)).transpose()?;
            let served = ServedInterface {
                shared: shared.clone(),
                interface,
                index,
                tls: tls.map(TlsAcceptor::from),
            };
            tokio::spawn(accept(Arc::new(served), listener, done.clone()));
        }
        Ok(Running {
            phase,
            all_done,
            relay,
            shutdown: self.timeouts.shutdown,
        })
    }
}

/// `host:port` with the port of `bound` where its own is 0.
fn with_port(address: &str, bound: SocketAddr) -> String {
    match address.strip_suffix(":0") {
        Some(host) => format!("{host}:{}", bound.port()),
        None => address.to_owned(),
    }
}

/// A server at work. Dropping it ends every session at once.
pub struct Running {
    phase: watch::Sender<Phase>,
    all_done: mpsc::Receiver<Infallible>,
    relay: Relay,
    shutdown: Duration,
}

impl Running {
    /// Answers requests that other nodes pass on.
    pub fn relay(&self) -> Relay {
        self.relay.clone()
    }

    /// Accepts nothing more, lets requests that were begun finish for a bounded time, then ends every session.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Draining);
        if timeout(self.shutdown, self.all_done.recv()).await.is_err() {
            self.phase.send_replace(Phase::Stopping);
            // Sessions see it when they next wait, which is at once.
            let _ = timeout(ACCEPT_PAUSE, self.all_done.recv()).await;
        }
    }
}

async fn accept<S: Send + Sync + 'static>(
    served: Arc<ServedInterface<S>>,
    listener: TcpListener,
    done: mpsc::Sender<Infallible>,
) {
    let mut phase = served.shared.phase.clone();
    let most = served.interface.max_open_sessions_soft;
    let callers = served
        .interface
        .sessions_a_second
        .map(|a_second| Callers::new(a_second, most, Instant::now()));
    loop {
        let accepted = tokio::select! {
            _ = phase.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(interface = served.interface.name, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let entrance = match &callers {
            Some(callers) => match callers.admit(address.ip(), Instant::now()) {
                None => continue,
                entrance => entrance,
            },
            None => None,
        };
        let (session, refused) = match served.shared.sessions.admit(served.index) {
            Admission::Serve(session) => (session, false),
            Admission::Refuse(session) => (session, true),
            Admission::Close => continue,
        };
        tokio::spawn(open(served.clone(), socket, entrance, session, refused, done.clone()));
    }
}

/// A connection from its first byte to its last; it counts until `session` is dropped.
async fn open<S: Send + Sync + 'static>(
    served: Arc<ServedInterface<S>>,
    socket: TcpStream,
    entrance: Option<Entrance>,
    session: Session,
    refused: bool,
    done: mpsc::Sender<Infallible>,
) {
    // Answers are small and written whole: waiting to fill packets would only add to their latency.
    let _ = socket.set_nodelay(true);
    let mut phase = served.shared.phase.clone();
    if let Some(entrance) = &entrance {
        tokio::select! {
            _ = phase.changed() => return,
            () = sleep_until(entrance.at) => {}
        }
    }
    let Some(tls) = served.tls.clone() else {
        drive(served, socket, None, entrance, Kind::of(false, refused)).await;
        return drop((session, done));
    };
    let handshake = timeout(served.shared.timeouts.handshake, tls.accept(socket));
    let stream = tokio::select! {
        _ = phase.changed() => return,
        stream = handshake => stream,
    };
    match stream {
        Ok(Ok(stream)) => {
            let (_, tls) = stream.get_ref();
            let http2 = tls.alpn_protocol() == Some(b"h2");
            let own = tls.peer_certificates().and_then(|chain| chain.first());
            let peer = own.map(|certificate| Bytes::copy_from_slice(certificate));
            drive(served, stream, peer, entrance, Kind::of(http2, refused)).await;
        }
        Ok(Err(error)) => tracing::debug!(interface = served.interface.name, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(interface = served.interface.name, "a TLS handshake took too long"),
    }
    drop((session, done));
}

/// What kind of session it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http1,
    Http2,
    /// The node is too busy: it is told so, in HTTP/1.1 or HTTP/2.
    Refused {
        http2: bool,
    },
    /// HTTP/1.1, one request.
    Single,
}

impl Kind {
    fn of(http2: bool, refused: bool) -> Kind {
        match (http2, refused) {
            (http2, true) => Kind::Refused { http2 },
            (true, false) => Kind::Http2,
            (false, false) => Kind::Http1,
        }
    }
}

async fn drive<S: Send + Sync + 'static, T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    served: Arc<ServedInterface<S>>,
    stream: T,
    peer_certificate: Option<Bytes>,
    entrance: Option<Entrance>,
    kind: Kind,
) {
    let http2 = matches!(kind, Kind::Http2 | Kind::Refused { http2: true });
    let refused = matches!(kind, Kind::Refused { .. });
    let activity = Activity::new();
    let visit = Arc::new(Visit {
        served: served.clone(),
        activity: activity.clone(),
        allowance: Arc::new(Allowance::new(served.interface.limits.max_body_size)),
        peer_certificate,
        entrance,
        passed_on: Arc::default(),
        refused,
    });
    let service = service_fn(move |request| {
        let visit = visit.clone();
        async move { Ok::<_, Infallible>(answer(&visit, request).await) }
    });
    let io = TokioIo::new(Watched {
        stream,
        // Bytes of HTTP/2 say nothing: pings and settings are bytes too.
        activity: (!http2).then(|| activity.clone()),
    });
    let driver = Driver {
        activity: &activity,
        timeouts: &served.shared.timeouts,
        phase: served.shared.phase.clone(),
        http2,
        refused,
    };
    let limits = served.interface.limits;
    // Headers up to these bounds get an answer that says what is wrong with them; hyper answers beyond with a bare 431.
    let buffer = limits.max_header_size.saturating_mul(4).max(SMALLEST_BUFFER);
    let ended = if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams_count)
            .initial_stream_window_size(limits.initial_window_size.min((1 << 31) - 1))
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits.max_frame_size.clamp(1 << 14, MOST_FRAME_BYTES))
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_pending_accept_reset_streams(MOST_RESETS)
            .max_local_error_reset_streams(MOST_RESETS)
            .max_header_list_size(u32::try_from(buffer).unwrap_or(u32::MAX));
        let connection = builder.serve_connection(io, service);
        driver
            .run(connection, |connection| connection.graceful_shutdown())
            .await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .keep_alive(kind != Kind::Single)
            .header_read_timeout(None)
            .max_headers(limits.max_headers_count.saturating_mul(2).clamp(16, MOST_HEADERS))
            .max_buf_size(buffer);
        let connection = builder.serve_connection(io, service);
        driver
            .run(connection, |connection| connection.graceful_shutdown())
            .await
    };
    if let Some(Err(error)) = ended {
        if error.is_parse_too_large() {
            served.count(|counters| &counters.request_header_too_large);
        } else if error.is_parse() {
            served.count(|counters| &counters.parsing);
        }
        tracing::debug!(interface = served.interface.name, %error, "a session ended with an error");
    }
}
