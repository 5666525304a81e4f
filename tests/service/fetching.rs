//! A node that joins fetches the service's snapshot in pieces, from servers that do as they like: what it begins with is whole and
//! proven, or it begins with nothing. And where it goes when it is sent elsewhere.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::node::Place;
use crate::support::Service;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rekindle::crypto::{Certificate, Curve, SigningKey, x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// What a node asks for at a time.
const PIECE: usize = 8 << 20;

/// A service of which there is only a key.
struct Made {
    key: SigningKey,
    certificate: Certificate,
}

impl Made {
    fn new(seed: u64) -> Made {
        let key = SigningKey::generate(Curve::P384, &mut ChaCha20Rng::seed_from_u64(seed));
        let public = key.verifying_key();
        let certificate = x509::issue("CN=service", &public, None, &key, true, 1_700_000_000, 1, [7; 16]).unwrap();
        Made { key, certificate }
    }

    /// A node that it has endorsed.
    fn node(&self) -> (SigningKey, Certificate) {
        let key = SigningKey::generate(Curve::P384, &mut ChaCha20Rng::seed_from_u64(99));
        let public = key.verifying_key();
        let issuer = Some(&self.certificate);
        let certificate = x509::issue("CN=node", &public, issuer, &self.key, false, 1_700_000_000, 1, [8; 16]).unwrap();
        (key, certificate)
    }
}

/// One request.
#[derive(Clone, Debug)]
struct Asked {
    /// Method and path.
    line: String,
    /// First and last byte.
    range: Option<(usize, usize)>,
    body: Value,
}

type Answer = Response<Full<Bytes>>;
type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// A node's interface for clients.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(of: &Made, handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Server {
        let (key, certificate) = of.node();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from_pem_slice(key.to_pkcs8_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let all = Arc::clone(&asked);
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, handler, all) = (acceptor.clone(), Arc::clone(&handler), Arc::clone(&all));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = hyper::service::service_fn(move |request| {
                        answer(request, Arc::clone(&handler), Arc::clone(&all))
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Server {
            address,
            asked,
            _runtime: runtime,
        }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Where the node that asked to join said it begins.
    #[track_caller]
    fn startup_seqno(&self) -> u64 {
        let asked = self.asked();
        let join = asked.iter().find(|asked| asked.line == "POST /node/join").unwrap();
        join.body["startup_seqno"].as_u64().unwrap()
    }

    fn pieces(&self) -> Vec<(usize, usize)> {
        self.asked().iter().filter_map(|asked| asked.range).collect()
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    all: Arc<Mutex<Vec<Asked>>>,
) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let range = parts.headers.get("range").map(|range| {
        let (from, to) = range
            .to_str()
            .unwrap()
            .strip_prefix("bytes=")
            .unwrap()
            .split_once('-')
            .unwrap();
        (from.parse().unwrap(), to.parse().unwrap_or(usize::MAX))
    });
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        line: format!("{} {}", parts.method, parts.uri.path()),
        range,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let response = handler(&asked);
    all.lock().unwrap().push(asked);
    Ok(response)
}

fn status(status: u16) -> hyper::http::response::Builder {
    Response::builder().status(status)
}

fn to(location: &str) -> Answer {
    status(307).header("location", location).body(Full::default()).unwrap()
}

/// A refusal, which ends whoever asked to join.
fn refusal() -> Answer {
    let body = json!({"error": {"code": "Enough", "message": "This is all that was to be seen."}}).to_string();
    status(400).body(Full::new(Bytes::from(body))).unwrap()
}

fn part(bytes: &[u8], from: usize, total: usize) -> Answer {
    let last = from + bytes.len();
    let range = format!("bytes {from}-{last}/{total}");
    let response = status(206).header("content-range", range);
    response.body(Full::new(Bytes::copy_from_slice(bytes))).unwrap()
}

/// A dead service with a snapshot of several pieces, and one that says that it has recovered it.
struct Scene {
    recovers: Made,
    of_the_old: String,
    name: String,
    bytes: Arc<Vec<u8>>,
}

impl Scene {
    fn new() -> Scene {
        let options = [
            "--entries",
            "1200",
            "--value-size",
            "20500",
            "--chunk-size",
            "2000000",
            "--snapshot-every",
            "1150",
        ];
        let old = Service::made(&options);
        let snapshots = old.directory.join("snapshots");
        let mut files: Vec<_> = std::fs::read_dir(snapshots)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
        let path = files.pop().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.len() > 2 * PIECE, "{} has {} bytes", path.display(), bytes.len());
        Scene {
            recovers: Made::new(1),
            of_the_old: std::fs::read_to_string(old.directory.join("common/service_cert.pem")).unwrap(),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: Arc::new(bytes),
        }
    }

    fn seqno(&self) -> u64 {
        self.name.split('_').nth(1).unwrap().parse().unwrap()
    }

    /// A node that answers everything as it should, but pieces by `piece`.
    fn server(&self, piece: impl Fn(usize, usize, &[u8]) -> Answer + Send + Sync + 'static) -> Server {
        let (path, bytes) = (format!("/node/snapshot/{}", self.name), Arc::clone(&self.bytes));
        let previous = json!({"previous_service_identity": self.of_the_old}).to_string();
        Server::start(&self.recovers, move |asked| match (asked.line.as_str(), asked.range) {
            ("HEAD /node/snapshot", _) => to(&path),
            ("GET /node/service/previous_identity", _) => {
                status(200).body(Full::new(Bytes::from(previous.clone()))).unwrap()
            }
            (line, Some((from, to))) if line.ends_with(&path) => piece(from, to, &bytes),
            _ => refusal(),
        })
    }

    /// Has a node join by way of `server`, which refuses it in the end; answers what its log says.
    #[track_caller]
    fn join(&self, server: &Server) -> String {
        self.join_with(server, &json!({}))
    }

    #[track_caller]
    fn join_with(&self, server: &Server, join: &Value) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let mut place = Place::at(scratch.path());
        std::fs::write(
            place.directory.join("service_cert.pem"),
            self.recovers.certificate.to_pem(),
        )
        .unwrap();
        place.config["command"] = json!({
            "type": "Join",
            "service_certificate_file": "service_cert.pem",
            "join": {
                "target_rpc_address": server.address.to_string(),
                "retry_timeout": "50ms",
                "fetch_snapshot_max_attempts": 1,
                "fetch_snapshot_retry_interval": "50ms",
            },
        });
        for (name, value) in join.as_object().unwrap() {
            place.config["command"]["join"][name] = value.clone();
        }
        let said = place.refused();
        assert!(said.contains("Enough"), "{said}");
        // Nothing that is half done stays.
        let left = std::fs::read_dir(place.directory.join("snapshots")).unwrap();
        let left: Vec<_> = left
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        match said.contains("starting from a snapshot") {
            true => assert_eq!(left, [self.name.as_str()], "{said}"),
            false => assert_eq!(left, [""; 0], "{said}"),
        }
        said
    }
}

fn whole(from: usize, to: usize, bytes: &[u8]) -> Answer {
    part(&bytes[from..to.min(bytes.len())], from, bytes.len())
}

#[test]
fn a_snapshot_is_fetched_in_pieces_however_small_they_come() {
    let scene = Scene::new();
    let server = scene.server(whole);
    let said = scene.join(&server);
    assert!(said.contains("starting from a snapshot of the service"), "{said}");
    assert_eq!(server.startup_seqno(), scene.seqno());
    let pieces = server.pieces();
    assert_eq!(pieces.len(), scene.bytes.len().div_ceil(PIECE), "{pieces:?}");
    assert!(
        pieces.iter().all(|(from, to)| from % PIECE == 0 && to - from <= PIECE),
        "{pieces:?}"
    );

    // A server that counts the last byte in, one that ends pieces early, and both.
    for (most, more) in [(PIECE, 1), (1_000_003, 0), (PIECE - 1, 0)] {
        let server = scene.server(move |from, to, bytes| {
            let end = to.saturating_add(more).min(from + most + more).min(bytes.len());
            part(&bytes[from..end], from, bytes.len())
        });
        let said = scene.join(&server);
        assert!(
            said.contains("starting from a snapshot of the service"),
            "{most}: {said}"
        );
        assert_eq!(server.startup_seqno(), scene.seqno());
    }
}

#[test]
fn where_pieces_do_not_make_one_snapshot_the_node_begins_with_nothing() {
    let scene = Scene::new();
    type Piece = Box<dyn Fn(usize, usize, &[u8]) -> Answer + Send + Sync>;
    let cases: [(&str, Piece); 8] = [
        (
            "answers nothing",
            Box::new(|from, to, bytes| match from {
                0 => whole(from, to, bytes),
                _ => part(&[], from, bytes.len()),
            }),
        ),
        // Another snapshot is in its place by then: longer, or as long.
        (
            "answers another part",
            Box::new(|from, to, bytes| match from {
                0 => whole(from, to, bytes),
                _ => part(&bytes[from..to.min(bytes.len())], from, bytes.len() + 10),
            }),
        ),
        (
            "no snapshot is fetched",
            Box::new(|from, to, bytes| match from {
                0 => whole(from, to, bytes),
                _ => part(&vec![7; to.min(bytes.len()) - from], from, bytes.len()),
            }),
        ),
        (
            "answers another part",
            Box::new(|from, to, bytes| match from {
                0 => whole(from, to, bytes),
                _ => part(&bytes[from - 1..to.min(bytes.len())], from - 1, bytes.len()),
            }),
        ),
        (
            "asked for a part, the answer is 404",
            Box::new(|from, to, bytes| match from {
                0 => whole(from, to, bytes),
                _ => status(404).body(Full::default()).unwrap(),
            }),
        ),
        (
            "asked for a part, the answer is 307",
            Box::new(|_, _, _| to("/node/snapshot/elsewhere")),
        ),
        (
            "expected bytes A-B/TOTAL",
            Box::new(|from, to, bytes| {
                let bytes = Bytes::copy_from_slice(&bytes[from..to.min(bytes.len())]);
                status(206).body(Full::new(bytes)).unwrap()
            }),
        ),
        // More than a frame, without an end.
        (
            "no snapshot is fetched",
            Box::new(|from, _, bytes| part(&vec![0; 2 * PIECE], from, bytes.len())),
        ),
    ];
    for (number, (expected, piece)) in cases.into_iter().enumerate() {
        let server = scene.server(piece);
        let said = scene.join(&server);
        assert!(
            said.contains(expected) && said.contains("no snapshot is fetched"),
            "{number}: {said}"
        );
        assert_eq!(server.startup_seqno(), 0, "{number}");
        assert!(server.pieces().len() <= 3, "{number}");
    }
    // Nor is one taken that is larger than is allowed, and nothing of it.
    let server = scene.server(whole);
    let said = scene.join_with(&server, &json!({"fetch_snapshot_max_size": "5MB"}));
    assert!(said.contains("command.join.fetch_snapshot_max_size allows"), "{said}");
    assert_eq!((server.startup_seqno(), server.pieces().len()), (0, 1));
    // The next attempt may be better.
    let times = std::sync::atomic::AtomicUsize::new(0);
    let server = scene.server(
        move |from, to, bytes| match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => part(&[], 0, bytes.len()),
            _ => whole(from, to, bytes),
        },
    );
    let said = scene.join_with(&server, &json!({"fetch_snapshot_max_attempts": 2}));
    assert!(said.contains("starting from a snapshot of the service"), "{said}");
}

#[test]
fn a_node_goes_to_where_the_snapshot_is_and_not_to_strangers_nor_in_circles() {
    let scene = Scene::new();
    let has_it = scene.server(whole);
    let location = format!("https://{}/node/snapshot/{}", has_it.address, scene.name);
    let previous = json!({"previous_service_identity": scene.of_the_old}).to_string();
    let sends = Server::start(&scene.recovers, move |asked| match asked.line.as_str() {
        "HEAD /node/snapshot" => to(&location),
        "GET /node/service/previous_identity" => status(200).body(Full::new(Bytes::from(previous.clone()))).unwrap(),
        _ => refusal(),
    });
    let said = scene.join(&sends);
    assert!(said.contains("starting from a snapshot of the service"), "{said}");
    assert_eq!((sends.startup_seqno(), sends.pieces().len()), (scene.seqno(), 0));
    assert_eq!(has_it.pieces().len(), scene.bytes.len().div_ceil(PIECE));

    // A node of another service has it.
    let (name, bytes) = (scene.name.clone(), Arc::clone(&scene.bytes));
    let stranger = Server::start(&Made::new(2), move |asked| match asked.range {
        Some((from, to)) => whole(from, to, &bytes),
        None => refusal(),
    });
    let location = format!("https://{}/node/snapshot/{name}", stranger.address);
    let sends = Server::start(&scene.recovers, move |asked| match asked.line.as_str() {
        "HEAD /node/snapshot" => to(&location),
        _ => refusal(),
    });
    let said = scene.join(&sends);
    assert!(said.contains("is not endorsed by the service"), "{said}");
    assert_eq!((sends.startup_seqno(), stranger.asked().len()), (0, 0));

    let circle = Server::start(&scene.recovers, |asked| match asked.line.starts_with("HEAD ") {
        true => to("/node/snapshot?since=0"),
        false => refusal(),
    });
    let said = scene.join(&circle);
    assert!(said.contains("one node sends to the other"), "{said}");
    assert_eq!(circle.startup_seqno(), 0);
}

#[test]
fn whoever_may_not_follow_asks_where_it_was_told_to_and_nowhere_else() {
    let scene = Scene::new();
    for follows in [true, false] {
        let leads = Server::start(&scene.recovers, |_| refusal());
        let (location, times) = (
            format!("https://{}/node/join", leads.address),
            std::sync::atomic::AtomicUsize::new(0),
        );
        let sends = Server::start(&scene.recovers, move |asked| match asked.line.as_str() {
            "POST /node/join" if times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 => to(&location),
            _ => refusal(),
        });
        let join = json!({"follow_redirect": follows, "fetch_recent_snapshot": false});
        let said = scene.join_with(&sends, &join);
        let asked = |server: &Server| server.asked().len();
        match follows {
            true => {
                assert!(said.contains("sent to the primary"), "{said}");
                assert_eq!((asked(&sends), asked(&leads)), (1, 1), "{said}");
            }
            false => {
                assert!(said.contains("command.join.follow_redirect is false"), "{said}");
                assert_eq!((asked(&sends), asked(&leads)), (4, 0), "{said}");
            }
        }
    }
}
