//! A small service to talk to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, StatusCode};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use rekindle::crypto::x509::{Validity, issue_self_signed};
use rekindle::crypto::{Certificate, Curve, SigningKey};
use rekindle::format::TxId;
use rekindle::http::{
    ApiError, BoxFuture, CertificateSlot, Certificates, Interface, Metrics, Request, Response, Route, Router, Running,
    Server, Sessions, Timeouts,
};
use serde_json::json;

type Answer = BoxFuture<Result<Response, ApiError>>;

/// What the handlers share.
#[derive(Default)]
pub struct App {
    file: Option<PathBuf>,
    waiting: AtomicUsize,
    waited: AtomicUsize,
}

/// A server with one interface.
pub struct Service {
    pub running: Option<Running>,
    pub sessions: Arc<Sessions>,
    pub metrics: Arc<Metrics>,
    /// Self-signed: what is presented at first.
    pub certificate: Certificate,
    pub certificates: Certificates,
    address: SocketAddr,
    app: Arc<App>,
}

/// Short, so that tests are; long enough for a busy machine.
pub fn timeouts() -> Timeouts {
    Timeouts {
        handshake: Duration::from_millis(1500),
        headers: Duration::from_millis(600),
        body: Duration::from_millis(500),
        idle: Duration::from_millis(1200),
        shutdown: Duration::from_millis(800),
    }
}

/// A self-signed certificate and its key.
pub fn identity(subject: &str, seed: u64) -> (Certificate, SigningKey) {
    let key = SigningKey::generate(Curve::P384, &mut ChaCha20Rng::seed_from_u64(seed));
    let names = ["iPAddress:127.0.0.1".parse().unwrap()];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let validity = Validity::days(now - 3600, 1).unwrap();
    let certificate = issue_self_signed(subject, &names, &key, validity, [1; 16]).unwrap();
    (certificate, key)
}

fn state(_: Arc<App>, _: Request) -> Answer {
    let response = Response::json(&json!({"state": "PartOfNetwork"})).with_txid(TxId { view: 4, seqno: 203 });
    Box::pin(async { Ok(response) })
}

fn peer(_: Arc<App>, request: Request) -> Answer {
    let peer = request.peer_certificate.map_or("none".to_owned(), hex::encode);
    Box::pin(async { Ok(Response::text(peer)) })
}

fn echo(_: Arc<App>, request: Request) -> Answer {
    Box::pin(async { Ok(Response::bytes("application/octet-stream", request.body)) })
}

fn wait(app: Arc<App>, request: Request) -> Answer {
    Box::pin(async move {
        let ms = request.param("ms").parse().unwrap();
        app.waiting.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        app.waited.fetch_add(1, SeqCst);
        Ok(Response::text("waited"))
    })
}

fn file(app: Arc<App>, request: Request) -> Answer {
    let range = request.param("from").parse().unwrap()..request.param("to").parse().unwrap();
    let path = app.file.clone().unwrap();
    let response = Response::file("application/octet-stream", path, range).with_status(StatusCode::PARTIAL_CONTENT);
    Box::pin(async { Ok(response) })
}

fn panic_before(_: Arc<App>, _: Request) -> Answer {
    panic!("before there is a future")
}

fn panic_within(_: Arc<App>, _: Request) -> Answer {
    Box::pin(async { panic!("within the future") })
}

fn closed(_: Arc<App>, _: Request) -> Answer {
    let error = ApiError::new(StatusCode::NOT_FOUND, "FrontendNotOpen", "Frontend is not open.");
    Box::pin(async { Err(error) })
}

fn router() -> Router<App> {
    Router::new(vec![
        Route::new(Method::GET, "/node/state", "The state", state).also_head(),
        Route::new(Method::GET, "/node/peer", "The caller's certificate", peer),
        Route::new(Method::POST, "/node/echo", "The body", echo),
        Route::new(Method::GET, "/node/wait/{ms}", "Some time", wait),
        Route::new(Method::GET, "/node/file/{from}/{to}", "A file", file).also_head(),
        Route::new(Method::GET, "/node/ready", "Nothing", |_, _| {
            Box::pin(async { Ok(Response::no_content()) })
        }),
        Route::new(Method::GET, "/node/panic-before", "Fails", panic_before),
        Route::new(Method::GET, "/node/panic-within", "Fails", panic_within),
    ])
    .with_fallback("app", closed)
}

impl Service {
    pub async fn start(interface: Interface) -> Self {
        Self::start_with(interface, None).await
    }

    /// With a file for `/node/file`.
    pub async fn start_with(interface: Interface, file: Option<PathBuf>) -> Self {
        let (certificate, key) = identity("CN=CCF Node", 1);
        let certificates = Certificates {
            node: CertificateSlot::new(&certificate, &key).unwrap(),
            service: CertificateSlot::new(&certificate, &key).unwrap(),
        };
        let server = Server::bind(vec![interface], timeouts()).await.unwrap();
        let address = server.addresses().into_values().next().unwrap().parse().unwrap();
        let sessions = server.sessions();
        let metrics = Arc::new(Metrics::default());
        let app = Arc::new(App { file, ..App::default() });
        let running = server
            .serve(Arc::new(router()), app.clone(), &certificates, metrics.clone())
            .unwrap();
        Service {
            running: Some(running),
            sessions,
            metrics,
            certificate,
            certificates,
            address,
            app,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Handlers of `/node/wait` that began.
    pub fn waiting(&self) -> usize {
        self.app.waiting.load(SeqCst)
    }

    /// Handlers of `/node/wait` that came to their end.
    pub fn waited(&self) -> usize {
        self.app.waited.load(SeqCst)
    }
}
