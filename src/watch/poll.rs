//! One look at one address: a connection, a few questions over it, everything bounded in time and size.
//!
//! Anybody may answer the connection. Whether what answers belongs to the service is said by its certificate: endorsed by the service's key
//! (dates are not looked at: an expired certificate is no disaster), or with the very key that a node's id is the digest of.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout_at;
use tokio_rustls::TlsConnector;

use super::answers::{self, Answered, Failure, NodeId, Observation, Outcome, Vouched};
use super::clock::{Clock, Moment, wall_ms};
use super::names::Names;
use super::settings::Settings;
use crate::crypto::Certificate;
use crate::error::Error;
use crate::net::tls::{Anybody, client_config};
use crate::shown::excerpt;

/// The largest answer that is read: hundreds of nodes with much data each. Of all looks at once, a quarter of a gigabyte at worst.
const MOST_BYTES: usize = 1 << 20;

/// What all looks share.
pub struct Looks {
    settings: Settings,
    tls: Arc<ClientConfig>,
    clock: Arc<Mutex<Clock>>,
    pub(super) names: Names,
}

/// What a look is to find out.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The service that is watched, where it is known.
    pub service: Option<Arc<Certificate>>,
    /// Whether to ask for the service and its nodes, too.
    pub is_thorough: bool,
}

type Failed = (Failure, String);

impl Looks {
    /// Looks with these times and this clock.
    ///
    /// # Errors
    /// Where TLS can't be used at all.
    pub fn new(settings: Settings, clock: Arc<Mutex<Clock>>) -> crate::Result<Looks> {
        let tls = client_config(Anybody).map_err(|why| Error::Unreadable(format!("TLS can't be used: {why}")))?;
        Ok(Looks {
            settings,
            tls,
            clock,
            names: Names::default(),
        })
    }

    /// The moment on the watch's clock.
    pub fn now(&self) -> Moment {
        self.clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .at(Instant::now())
    }

    /// Looks once. What is known on the way and at the end is told at once.
    pub async fn look(&self, address: &str, wanted: &Wanted, tell: impl Fn(Observation)) {
        let asked = self.now();
        let tell = |outcome| {
            tell(Observation {
                address: address.to_owned(),
                asked,
                at: self.now(),
                wall_ms: wall_ms(),
                outcome,
            });
        };
        let until = tokio::time::Instant::now() + self.settings.answer();
        let tcp = match self.connect(address).await {
            Ok(tcp) => tcp,
            Err((failure, why)) => return tell(Outcome::Failed(failure, why)),
        };
        tell(Outcome::Connected);
        let late = || {
            (
                Failure::Silent,
                format!("{address} takes connections, and answers nothing"),
            )
        };
        let lives = |answered: Answered| tell(Outcome::Answered(Box::new(answered)));
        let peer = tcp.peer_addr();
        let answered = timeout_at(until, self.ask(address, tcp, wanted, &lives)).await;
        match (peer, &answered) {
            (Ok(peer), Ok(Ok(it))) if !matches!(it.vouched, Vouched::ByNobody(_)) => self.names.answers(address, peer),
            (Ok(peer), _) => self.names.is_of_no_use(address, peer),
            _ => {}
        }
        tell(match answered.unwrap_or_else(|_| Err(late())) {
            Ok(answered) => Outcome::Answered(Box::new(answered)),
            Err((failure, why)) => Outcome::Failed(failure, why),
        });
    }

    /// Whether anybody takes a connection there.
    pub async fn is_there(&self, address: &str) -> bool {
        self.connect(address).await.is_ok()
    }

    /// To the first of what the name leads to that takes a connection. Where none does, what came of the one where the node was counts;
    /// otherwise what says least.
    async fn connect(&self, address: &str) -> Result<TcpStream, Failed> {
        let limit = self.settings.connect();
        let until = tokio::time::Instant::now() + limit;
        let addresses = self.names.lead_to(address, limit).await;
        let addresses = addresses.map_err(|why| (Failure::Ours, format!("no connection to {address}: {why}")))?;
        let mut waits: BTreeSet<SocketAddr> = addresses.iter().copied().collect();
        let mut tries = JoinSet::new();
        for at in addresses {
            tries.spawn(async move { (at, TcpStream::connect(at).await) });
        }
        let was_at = self.names.was_at(address);
        let mut least: Option<(u8, Failed)> = None;
        while let Ok(Some(tried)) = timeout_at(until, tries.join_next()).await {
            let Ok((at, connected)) = tried else { continue };
            waits.remove(&at);
            match connected {
                Ok(tcp) => {
                    // A handshake and a question are small: none is to wait for the other end to have acknowledged what was before.
                    let _ = tcp.set_nodelay(true);
                    return Ok(tcp);
                }
                Err(why) => {
                    let failed = not_connected(address, &why);
                    let weight = if was_at == Some(at) { 0 } else { weight(failed.0) };
                    if least.as_ref().is_none_or(|(before, _)| weight < *before) {
                        least = Some((weight, failed));
                    }
                }
            }
        }
        let silent = || {
            let why = format!("nothing at all answers at {address} within {} ms", limit.as_millis());
            (Failure::Unreachable, why)
        };
        Err(match least {
            Some((0, failed)) => failed,
            Some((_, failed)) if waits.is_empty() => failed,
            _ => silent(),
        })
    }

    async fn ask(
        &self,
        address: &str,
        tcp: TcpStream,
        wanted: &Wanted,
        lives: &impl Fn(Answered),
    ) -> Result<Answered, Failed> {
        let closed = |why: String| (Failure::Closed, format!("{address} hangs up: {}", excerpt(&why)));
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| (Failure::Ours, format!("{address} names no host")))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector
            .connect(name, tcp)
            .await
            .map_err(|why| closed(why.to_string()))?;
        let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let presented = presented.and_then(|it| Certificate::from_der(it).ok());
        let presented = presented.ok_or_else(|| {
            let why = format!("{address} presents a certificate that no CCF node has");
            (Failure::Nonsense, why)
        })?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|why| closed(why.to_string()))?;
        // Ends with the sender; what goes wrong with it is what the sender reports. Aborted with this look.
        let driving = tokio::spawn(connection);
        let _ends = Ends(driving);
        let mut session = Session { sender, address };
        session
            .answers(&presented, wanted, lives)
            .await
            .map_err(|why| match why {
                Wrong::Closed(why) => closed(why),
                Wrong::Nonsense(why) => (Failure::Nonsense, format!("{address}: {why}")),
            })
    }
}

fn not_connected(address: &str, why: &std::io::Error) -> Failed {
    use std::io::ErrorKind;
    let failure = match why.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Failure::Closed,
        ErrorKind::TimedOut | ErrorKind::HostUnreachable => Failure::Unreachable,
        _ => Failure::Ours,
    };
    let why = format!("no connection to {address}: {}", excerpt(&why.to_string()));
    (failure, why)
}

/// Of several addresses of a name, which one's failure says least of the node. That this machine has no way to one of them says nothing at all, and
/// leaves it to the others.
fn weight(failure: Failure) -> u8 {
    match failure {
        Failure::Unreachable => 1,
        Failure::Closed | Failure::Silent | Failure::Nonsense => 2,
        Failure::Refused => 3,
        Failure::Ours => 4,
    }
}

/// Ends a task with whoever waits for what it does.
struct Ends(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Wrong {
    Closed(String),
    Nonsense(String),
}

struct Session<'a> {
    sender: SendRequest<Empty<Bytes>>,
    address: &'a str,
}

impl Session<'_> {
    /// The body of a success; none for another status.
    async fn get(&mut self, path: &str) -> Result<Option<Bytes>, Wrong> {
        let request = Request::get(path)
            .header(HOST, self.address)
            .header(ACCEPT, "application/json");
        let request = request
            .body(Empty::new())
            .map_err(|why| Wrong::Nonsense(why.to_string()))?;
        let closed = |why: hyper::Error| Wrong::Closed(why.to_string());
        self.sender.ready().await.map_err(closed)?;
        let response = self.sender.send_request(request).await.map_err(closed)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        let body =
            body.map_err(|why| Wrong::Nonsense(format!("the answer to {path}: {}", excerpt(&why.to_string()))))?;
        Ok((status == StatusCode::OK).then(|| body.to_bytes()))
    }

    /// All answers. What is known before the last of them is told to `lives`: a service that is slow is no service that is silent.
    async fn answers(
        &mut self,
        presented: &Certificate,
        wanted: &Wanted,
        lives: &impl Fn(Answered),
    ) -> Result<Answered, Wrong> {
        let by_key = NodeId::parse(&hex::encode(presented.key_id()));
        let by_key = by_key.ok_or_else(|| Wrong::Nonsense("a key without a digest".to_owned()))?;
        let service = wanted.service.as_deref();
        let vouched_by_key = vouched(presented, service, &by_key, &by_key);
        if service.is_some() {
            // It has just shown that it has the key: no more is needed to be alive.
            lives(Answered::nothing(vouched_by_key, by_key.clone()));
        }
        let state = self.get("/node/state").await?;
        let state = state.map(|body| answers::state(&body));
        let (id, state) = match state {
            Some(Ok((id, state))) => (id, Some(state)),
            // Whoever has the key lives, whatever it answers: too many sessions, or a version that says it in another way.
            Some(Err(_)) | None => (by_key.clone(), None),
        };
        let is_node = state.is_some() && id == by_key;
        let mut vouched = vouched(presented, service, &id, &by_key);
        if vouched == Vouched::ByService && id != by_key {
            return Err(Wrong::Nonsense(format!(
                "it has the key of node {}, and says that it is node {}",
                by_key.short(),
                id.short()
            )));
        }
        let is_stranger = vouched != Vouched::ByService;
        let mut answered = Answered::nothing(vouched.clone(), id);
        answered.state = state;
        // What else there is may fail: that it answers is known.
        let consensus = self.get("/node/consensus").await.ok().flatten();
        answered.consensus = consensus.and_then(|body| answers::consensus(&body).ok());
        if service.is_some() && !matches!(vouched, Vouched::ByNobody(_)) {
            lives(answered.clone());
        }
        let commit = self.get("/node/commit").await.ok().flatten();
        answered.committed = commit.and_then(|body| answers::committed(&body));
        if wanted.is_thorough || is_stranger {
            let network = self.get("/node/network").await.ok().flatten();
            answered.network = network.and_then(|body| answers::network(&body).ok());
            let nodes = self.get("/node/network/nodes").await.ok().flatten();
            answered.nodes = nodes.and_then(|body| answers::nodes(&body).ok());
        }
        let pem = answered
            .network
            .as_ref()
            .and_then(|network| network.certificate.as_deref());
        let own = pem.and_then(|pem| Certificate::from_pem(pem).ok());
        let own = own.filter(|own| presented.is_signed_by(own.key()).is_ok() || presented.key() == own.key());
        match (wanted.service.is_none(), own) {
            (true, Some(own)) => {
                vouched = Vouched::ByService;
                answered.endorser = Some(own);
            }
            (false, Some(own)) if is_stranger => {
                let recoveries = answered.network.as_ref().and_then(|network| network.recoveries);
                let status = answered.network.as_ref().map_or("", |network| network.status.as_str());
                let times = recoveries.map_or(String::new(), |times| format!(", recovered {times} times"));
                vouched = Vouched::ByNobody(format!(
                    "another service answers at {}: identity {}, {status}{times}; if that is your service recovered, watch it with its \
                     own certificate",
                    self.address,
                    fingerprint(&own)
                ));
            }
            _ => {}
        }
        if vouched != Vouched::ByService && !is_node {
            return Err(Wrong::Nonsense(format!(
                "what answers, with the certificate {}, says nothing that a node would",
                excerpt(&presented.subject())
            )));
        }
        answered.vouched = vouched;
        Ok(answered)
    }
}

/// The identity of a service as it is written: the digest of its key.
pub fn fingerprint(certificate: &Certificate) -> String {
    hex::encode(certificate.key_id())
}

fn vouched(presented: &Certificate, service: Option<&Certificate>, id: &NodeId, by_key: &NodeId) -> Vouched {
    let is_of =
        |service: &Certificate| presented.key() == service.key() || presented.is_signed_by(service.key()).is_ok();
    match service {
        Some(service) if is_of(service) => Vouched::ByService,
        Some(_) if id == by_key => Vouched::ByItsKey,
        Some(service) => Vouched::ByNobody(format!(
            "its certificate ({}) is not endorsed by the service that is watched, identity {}",
            excerpt(&presented.subject()),
            fingerprint(service)
        )),
        None => Vouched::ByNobody("it does not show yet that it belongs to a service".to_owned()),
    }
}

/// How long between two looks at one address: each a little different, so that they don't come all at once.
pub fn pause(settings: &Settings, turn: u64) -> Duration {
    let percent = 90 + u32::try_from(turn.wrapping_mul(7) % 21).unwrap_or(0);
    settings.every * percent / 100
}
