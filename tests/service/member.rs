//! A member's journey: keys, signed requests, and a node that is known by its service's key; against a small HTTPS server
//! that answers as a CCF node does, and against the official Python package.
//!
//! The comparison with the official package needs a Python with `ccf==6.0.28`: the one that REKINDLE_CCF_PYTHON names, or
//! target/ccf-venv. Without it that test says that it was skipped, unless REKINDLE_REQUIRE_ORACLE=1.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::Run;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rekindle::crypto::cose::Sign1;
use rekindle::crypto::rsa::EncryptionKey;
use rekindle::crypto::{Certificate, Curve, Error, SigningKey, sha256, x509};
use rekindle::governance::request;
use rekindle::kv::store::Store;
use rekindle::member::{Member, MessageType, NewMember};
use rekindle::tables::names;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A service's key and certificate.
struct Service {
    key: SigningKey,
    certificate: Certificate,
}

impl Service {
    fn new(seed: u64, subject: &str) -> Service {
        let key = SigningKey::generate(Curve::P384, &mut ChaCha20Rng::seed_from_u64(seed));
        let certificate = x509::issue(
            subject,
            &key.verifying_key(),
            None,
            &key,
            true,
            1_700_000_000,
            1,
            [7; 16],
        )
        .unwrap();
        Service { key, certificate }
    }

    /// A node of the service, with a key on this curve. Its certificate has expired long ago.
    fn node(&self, curve: Curve) -> (SigningKey, Certificate) {
        let key = SigningKey::generate(curve, &mut ChaCha20Rng::seed_from_u64(99));
        let public = key.verifying_key();
        let issuer = Some(&self.certificate);
        let certificate = x509::issue("CN=Node", &public, issuer, &self.key, false, 1_700_000_000, 1, [8; 16]).unwrap();
        (key, certificate)
    }
}

/// One request as it arrived.
#[derive(Clone)]
struct Seen {
    line: String,
    content_type: String,
    body: Vec<u8>,
}

/// Status and body that are answered; a body that starts with `location:` is a redirect.
type Handler = dyn Fn(&Seen) -> (u16, String) + Send + Sync;

/// A node's HTTPS interface, on a thread of its own.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(
        (key, certificate): (SigningKey, Certificate),
        handler: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static,
    ) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::from_pem_slice(key.to_pkcs8_pem().as_bytes()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        // Not checked against each other: an impostor has a certificate, but not its key.
        let certified = rustls::sign::CertifiedKey::new(chain, key);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler: Arc<Handler> = Arc::new(handler);
        let all = seen.clone();
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, handler, all) = (acceptor.clone(), handler.clone(), all.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service =
                        hyper::service::service_fn(move |request| answer(request, handler.clone(), all.clone()));
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Server {
            address,
            seen,
            _runtime: runtime,
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request of this kind, read as a signed one, with its payload as JSON.
    #[track_caller]
    fn signed(&self, line: &str) -> (Sign1, Value) {
        let seen = self.seen();
        let found = seen.iter().rev().find(|seen| seen.line == line);
        let found =
            found.unwrap_or_else(|| panic!("{line}: {:?}", seen.iter().map(|seen| &seen.line).collect::<Vec<_>>()));
        assert_eq!(found.content_type, "application/cose");
        let message = Sign1::parse(&found.body).unwrap();
        let payload = serde_json::from_slice(message.payload().unwrap()).unwrap();
        (message, payload)
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Arc<Handler>,
    all: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let content_type = parts
        .headers
        .get("content-type")
        .map_or("", |value| value.to_str().unwrap());
    let seen = Seen {
        line: format!("{} {}", parts.method, parts.uri),
        content_type: content_type.to_owned(),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    let (status, body) = handler(&seen);
    all.lock().unwrap().push(seen);
    let response = Response::builder().status(status);
    let response = match body.strip_prefix("location:") {
        Some(location) => response.header("location", location).body(Full::default()),
        None => response.body(Full::new(Bytes::from(body))),
    };
    Ok(response.unwrap())
}

/// A scratch directory with a service's certificate and a member's keys.
struct Desk {
    directory: TempDir,
    service: Service,
}

impl Desk {
    fn new() -> Desk {
        let directory = tempfile::tempdir().unwrap();
        let service = Service::new(1, "CN=CCF Service");
        std::fs::write(directory.path().join("service_cert.pem"), service.certificate.to_pem()).unwrap();
        let desk = Desk { directory, service };
        rekindle![
            "member",
            "keygen",
            "member0",
            "--encryption-key",
            "--out",
            desk.directory.path()
        ]
        .expect(0);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn certificate(&self) -> Certificate {
        Certificate::from_pem(&std::fs::read_to_string(self.path("member0_cert.pem")).unwrap()).unwrap()
    }

    fn member_id(&self) -> String {
        hex::encode(sha256(self.certificate().der()))
    }

    fn serve(&self, handler: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> Server {
        Server::start(self.service.node(Curve::P384), handler)
    }

    /// Runs `rekindle member …` on a server, with the member's keys where it signs.
    fn run(&self, server: &Server, arguments: &[&str]) -> Run {
        let mut all: Vec<std::ffi::OsString> = vec!["member".into()];
        all.extend(arguments.iter().map(std::ffi::OsString::from));
        all.extend(["--url".into(), server.url().into(), "--service-certificate".into()]);
        all.push(self.path("service_cert.pem").into());
        if !matches!(arguments[0], "proposals" | "status" | "state") {
            all.extend(["--cert".into(), self.path("member0_cert.pem").into()]);
            all.extend(["--key".into(), self.path("member0_privk.pem").into()]);
        }
        Run::of(&all)
    }
}

const ID: &str = "f082506223f63a034128360b105d5620b015f4f1ef76ec2b55b34a16c5259d08";
const V: &str = "api-version=2024-07-01";

fn proposal(state: &str) -> String {
    json!({"ballotCount": 0, "proposalId": ID, "proposalState": state, "proposerId": "aa".repeat(32)}).to_string()
}

fn refusal(code: &str, message: &str) -> String {
    json!({"error": {"code": code, "message": message}}).to_string()
}

#[test]
fn keygen_writes_keys_that_only_the_owner_can_read_and_never_overwrites() {
    let desk = Desk::new();
    for (name, mode, label) in [
        ("member0_cert.pem", 0o644, "CERTIFICATE"),
        ("member0_privk.pem", 0o600, "PRIVATE KEY"),
        ("member0_enc_privk.pem", 0o600, "PRIVATE KEY"),
        ("member0_enc_pubk.pem", 0o644, "PUBLIC KEY"),
    ] {
        let path = desk.path(name);
        let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found & mode, found, "{name}: {found:o}");
        assert_eq!(found & 0o700, 0o600, "{name}: {found:o}");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with(&format!("-----BEGIN {label}-----\n")), "{name}");
    }
    assert_eq!(desk.certificate().subject(), "CN=member0");
    assert_eq!(desk.certificate().key().curve(), Curve::P384);
    desk.certificate().is_signed_by(desk.certificate().key()).unwrap();
    let before = std::fs::read(desk.path("member0_privk.pem")).unwrap();
    let again = rekindle!["member", "keygen", "member0", "--out", desk.directory.path()];
    again.expect_sentence(2, &["member0_cert.pem exists already", "never overwritten"]);
    assert_eq!(std::fs::read(desk.path("member0_privk.pem")).unwrap(), before);
    // Also where only the encryption key would be overwritten.
    desk.write("member1_enc_pubk.pem", "x");
    let run = rekindle![
        "member",
        "keygen",
        "member1",
        "--encryption-key",
        "--out",
        desk.directory.path()
    ];
    run.expect_sentence(2, &["member1_enc_pubk.pem"]);
    assert!(!desk.path("member1_privk.pem").exists());
    rekindle!["member", "keygen", "../x", "--out", desk.directory.path()]
        .expect_sentence(2, &["can't be a member's name"]);

    let made = rekindle![
        "member",
        "keygen",
        "m",
        "--curve",
        "secp256r1",
        "--out",
        desk.path("new/deep"),
        "--json"
    ];
    let document = made.expect(0).json();
    assert_eq!(document["files"].as_array().unwrap().len(), 2);
    let certificate = std::fs::read_to_string(desk.path("new/deep/m_cert.pem")).unwrap();
    let certificate = Certificate::from_pem(&certificate).unwrap();
    assert_eq!(certificate.key().curve(), Curve::P256);
    assert_eq!(document["member_id"], hex::encode(sha256(certificate.der())));
}

#[test]
fn a_signed_request_has_ccfs_headers_in_ccfs_order() {
    let desk = Desk::new();
    let content = desk.write("content", "{}");
    let (cert, key) = (desk.path("member0_cert.pem"), desk.path("member0_privk.pem"));
    let signed = rekindle![
        "member",
        "sign",
        "--type",
        "ballot",
        "--proposal-id",
        ID,
        "--content",
        &content,
        "--cert",
        &cert,
        "--key",
        &key,
        "--created-at",
        "2023-11-14T22:13:20Z"
    ]
    .expect(0);
    let message = Sign1::parse(&signed.stdout).unwrap();
    message.verify(desk.certificate().key(), Some(b"{}")).unwrap();
    let ciborium::Value::Tag(18, content_of) = ciborium::from_reader(signed.stdout.as_slice()).unwrap() else {
        panic!("no tag 18")
    };
    let fields = content_of.into_array().unwrap();
    assert_eq!(fields[1], ciborium::Value::Map(Vec::new()));
    let protected: ciborium::Value = ciborium::from_reader(fields[0].as_bytes().unwrap().as_slice()).unwrap();
    let expected: Vec<(ciborium::Value, ciborium::Value)> = vec![
        (1.into(), (-35).into()),
        (4.into(), ciborium::Value::Bytes(desk.member_id().into_bytes())),
        ("ccf.gov.msg.created_at".into(), 1_700_000_000.into()),
        ("ccf.gov.msg.type".into(), "ballot".into()),
        ("ccf.gov.msg.proposal_id".into(), ID.into()),
    ];
    assert_eq!(protected.into_map().unwrap(), expected);

    // To a file, which is not overwritten.
    let out = desk.path("signed.cose");
    let to_file = |message_type: &str| {
        rekindle![
            "member",
            "sign",
            "--type",
            message_type,
            "--content",
            &content,
            "--cert",
            &cert,
            "--key",
            &key,
            "--out",
            &out
        ]
    };
    assert!(to_file("ack").expect(0).stdout.is_empty());
    assert!(Sign1::parse(&std::fs::read(&out).unwrap()).is_ok());
    to_file("ack").expect_sentence(3, &["signed.cose"]);
    to_file("withdrawal").expect_sentence(2, &["give --proposal-id"]);
    // A key that is not the certificate's.
    rekindle!["member", "keygen", "other", "--out", desk.directory.path()].expect(0);
    let other = desk.path("other_privk.pem");
    rekindle![
        "member",
        "sign",
        "--type",
        "ack",
        "--content",
        &content,
        "--cert",
        &cert,
        "--key",
        other
    ]
    .expect_sentence(2, &["does not belong to the certificate"]);
}

#[test]
fn a_proposal_is_sent_as_it_is_and_its_state_is_shown() {
    let desk = Desk::new();
    let server = desk.serve(|_| (200, proposal("Open")));
    let text = r#"{ "actions": [ {"name": "trigger_ledger_rekey"} ] }"#;
    let file = desk.write("proposal.json", text);
    let run = desk.run(&server, &["propose", file.to_str().unwrap()]).expect(0);
    assert!(
        run.text().contains(ID) && run.text().contains("state        Open"),
        "{}",
        run.text()
    );
    let (message, _) = server.signed(&format!("POST /gov/members/proposals:create?{V}"));
    assert_eq!(message.payload(), Some(text.as_bytes()));
    message.verify(desk.certificate().key(), None).unwrap();
    assert_eq!(message.kid(), Some(desk.member_id().as_bytes()));
    let run = desk
        .run(&server, &["propose", file.to_str().unwrap(), "--json"])
        .expect(0);
    assert_eq!(run.json()["proposalId"], ID);

    let requests = server.seen().len();
    let file = desk.write("proposal.json", "{\"actions\": 3}");
    desk.run(&server, &["propose", file.to_str().unwrap()])
        .expect_sentence(2, &["no array \"actions\""]);
    let file = desk.write("proposal.json", "actions");
    desk.run(&server, &["propose", file.to_str().unwrap()])
        .expect_sentence(2, &["not JSON"]);
    assert_eq!(server.seen().len(), requests, "nothing was sent");
}

#[test]
fn votes_and_withdrawals_name_their_proposal() {
    let desk = Desk::new();
    let server = desk.serve(|_| (200, proposal("Accepted")));
    let line = format!(
        "POST /gov/members/proposals/{ID}/ballots/{}:submit?{V}",
        desk.member_id()
    );
    let cast = |options: &[&str]| {
        desk.run(&server, &[&["vote", ID], options].concat()).expect(0);
        let (_, payload) = server.signed(&line);
        payload["ballot"].as_str().unwrap().to_owned()
    };
    assert!(cast(&[]).contains("return true"));
    assert!(cast(&["--reject"]).contains("return false"));
    let script = "export function vote (p, id) { return p.length > 3 }";
    let file = desk.write("ballot.js", script);
    assert_eq!(cast(&["--ballot", file.to_str().unwrap()]), script);
    let file = desk.write("ballot.json", &json!({"ballot": script}).to_string());
    assert_eq!(cast(&["--ballot", file.to_str().unwrap()]), script);
    desk.run(&server, &["vote", "12"])
        .expect_sentence(2, &["64 hexadecimal digits"]);

    desk.run(&server, &["withdraw", ID]).expect(0);
    server.signed(&format!("POST /gov/members/proposals/{ID}:withdraw?{V}"));
    let unknown = desk.serve(|_| (204, String::new()));
    desk.run(&unknown, &["withdraw", ID])
        .expect_sentence(1, &["knows no proposal"]);
}

#[test]
fn proposals_are_listed_and_one_is_shown_with_actions_and_ballots() {
    let desk = Desk::new();
    let server = desk.serve(|seen| {
        let path = seen.line.split(['?', ' ']).nth(1).unwrap();
        let voter = "bb".repeat(32);
        let answer = match path {
            "/gov/members/proposals" => json!({"value": [serde_json::from_str::<Value>(&proposal("Open")).unwrap()]}),
            "/gov/service/members" => json!({"value": [{"memberId": voter}, {"memberId": "cc".repeat(32)}]}),
            _ if path.ends_with("/actions") => {
                json!({"actions": [{"name": "set_user", "args": {"cert": "a\u{1b}[2J\nb"}}]})
            }
            _ if path.ends_with(&voter) => return (200, "export function vote () { return true }".into()),
            _ if path.contains("/ballots/") => return (404, refusal("VoteNotFound", "no vote")),
            _ => serde_json::from_str(&proposal("Open")).unwrap(),
        };
        (200, answer.to_string())
    });
    let list = desk.run(&server, &["proposals"]).expect(0).text();
    assert!(
        list.contains("proposal") && list.contains(ID) && list.contains("Open"),
        "{list}"
    );
    let one = desk.run(&server, &["proposals", ID]).expect(0).text();
    for words in [
        "action       set_user",
        "cert:",
        "ballot       bbbb",
        "not counted yet",
        "return true",
    ] {
        assert!(one.contains(words), "{words:?} is not in:\n{one}");
    }
    assert!(!one.contains("cccc") && !one.contains('\u{1b}'), "{one}");
    let document = desk.run(&server, &["proposals", ID, "--json"]).expect(0).json();
    assert_eq!(document["actions"][0]["name"], "set_user");
    assert_eq!(document["ballots"].as_object().unwrap().len(), 1);
}

#[test]
fn whatever_a_server_says_reaches_the_terminal_as_text() {
    const EVIL: &str = "x\nstate        Accepted\r\u{1b}[2J\u{9b}1m\u{7f}\u{202e}\u{2028}\u{200b}";
    for status in [200, 400] {
        let desk = Desk::new();
        let server = desk.serve(move |seen| {
            let evil = json!({
                "proposalId": EVIL, "proposalState": EVIL, "proposerId": EVIL, "ballotCount": EVIL, "node_id": EVIL,
                "state": EVIL, "service_status": EVIL, "stateDigest": EVIL, "message": EVIL, EVIL: EVIL,
                "failure": {"reason": EVIL}, "voteFailures": {EVIL: {"reason": EVIL}}, "finalVotes": {EVIL: true},
                "actions": [{"name": EVIL, "args": {EVIL: EVIL}}], "primary_id": EVIL, "service_certificate": EVIL,
                "previous_service_identity": EVIL, "recovery_count": EVIL,
            });
            let answer = match seen.line.split(['?', ' ']).nth(1).unwrap() {
                _ if status != 200 => json!({"error": {"code": EVIL, "message": EVIL, "details": [{"message": EVIL}]}}),
                path if path.ends_with("proposals") || path.ends_with("members") => json!({"value": [evil]}),
                _ => evil,
            };
            (status, answer.to_string())
        });
        desk.write("proposal.json", &json!({"actions": [{"name": EVIL}]}).to_string());
        let proposal = desk.path("proposal.json");
        for arguments in [
            &["status"][..],
            &["proposals"],
            &["proposals", ID],
            &["vote", ID],
            &["withdraw", ID],
            &["ack"],
            &["propose", proposal.to_str().unwrap()],
            &["open-service", "--yes"],
        ] {
            for json in [&[][..], &["--json"]] {
                let run = desk.run(&server, &[arguments, json].concat());
                let text = format!("{}{}", run.text(), run.stderr);
                let harmless = |c: char| c == '\n' || rekindle::shown::is_plain(c);
                assert!(text.chars().all(harmless), "{arguments:?}: {text:?}");
                let forged = text.lines().filter(|line| *line == "state        Accepted").count();
                assert_eq!(forged, 0, "{arguments:?}: {text}");
            }
        }
    }
}

#[test]
fn an_acknowledgement_signs_the_digest_that_was_fetched() {
    let desk = Desk::new();
    let server = desk.serve(|seen| match seen.line.contains(":update") {
        true => (200, json!({"memberId": "x", "stateDigest": "abcd"}).to_string()),
        false => (204, String::new()),
    });
    let run = desk.run(&server, &["ack"]).expect(0);
    assert!(run.text().contains("acknowledged abcd"));
    let base = format!("POST /gov/members/state-digests/{}", desk.member_id());
    server.signed(&format!("{base}:update?{V}"));
    let (_, payload) = server.signed(&format!("{base}:ack?{V}"));
    assert_eq!(payload, json!({"stateDigest": "abcd"}));
}

/// A node that recovers a service.
fn recovering(status: &'static str, previous: Option<String>, next: String) -> impl Fn(&Seen) -> (u16, String) {
    move |seen| match seen.line.as_str() {
        "GET /node/network" => (
            200,
            json!({"service_status": status, "service_certificate": next}).to_string(),
        ),
        "GET /node/service/previous_identity" => match &previous {
            Some(pem) => (200, json!({"previous_service_identity": pem}).to_string()),
            None => (
                404,
                refusal(
                    "ResourceNotFound",
                    "This service is not a recovery of a previous service.",
                ),
            ),
        },
        _ => (200, proposal("Accepted")),
    }
}

#[test]
fn opening_shows_both_identities_and_proposes_them_as_the_node_writes_them() {
    let desk = Desk::new();
    let old = Service::new(2, "CN=Old Service");
    // CCF compares the text: another line ending is another identity.
    let previous = old.certificate.to_pem().replace('\n', "\r\n");
    let next = desk.service.certificate.to_pem();
    let server = desk.serve(recovering("Recovering", Some(previous.clone()), next.clone()));
    let given = desk.write("old.pem", &old.certificate.to_pem());
    let (given, new) = (given.to_str().unwrap(), desk.path("service_cert.pem"));
    let new = new.to_str().unwrap();

    desk.run(&server, &["open-service"]).expect(2);
    let run = desk
        .run(&server, &["open-service", "--yes", "--previous", given, "--next", new])
        .expect(0);
    for words in [
        "previous     CN=Old Service",
        "next         CN=CCF Service",
        &hex::encode(sha256(old.certificate.der())),
        "valid 2023-11-14T22:13:20Z to 2023-11-15T22:13:19Z",
    ] {
        assert!(run.stderr.contains(words), "{words:?} is not in:\n{}", run.stderr);
    }
    assert!(run.text().contains("Accepted"));
    let (_, payload) = server.signed(&format!("POST /gov/members/proposals:create?{V}"));
    let arguments = json!({"previous_service_identity": previous, "next_service_identity": next});
    let expected = json!({"actions": [{"name": "transition_service_to_open", "args": arguments}]});
    assert_eq!(payload, expected);

    let proposed = |server: &Server| server.seen().iter().any(|seen| seen.line.starts_with("POST"));
    let server = desk.serve(recovering("Recovering", Some(previous), next.clone()));
    let run = desk
        .run(&server, &["open-service", "--yes", "--previous", new])
        .expect(1);
    assert!(
        run.stderr
            .contains("the previous service identity of the node is not the one in"),
        "{}",
        run.stderr
    );
    assert!(!proposed(&server));
    for status in ["Open", "WaitingForRecoveryShares"] {
        let server = desk.serve(recovering(status, None, next.clone()));
        let run = desk.run(&server, &["open-service", "--yes"]).expect(1);
        assert!(run.stderr.contains("nothing to propose"), "{}", run.stderr);
        assert!(!proposed(&server));
    }
    let server = desk.serve(recovering("Opening", None, next.clone()));
    desk.run(&server, &["open-service", "--yes"]).expect(0);
    let (_, payload) = server.signed(&format!("POST /gov/members/proposals:create?{V}"));
    assert_eq!(payload["actions"][0]["args"], json!({"next_service_identity": next}));
}

#[test]
fn a_share_is_fetched_decrypted_checked_and_submitted() {
    let desk = Desk::new();
    let public = EncryptionKey::from_pem(&std::fs::read_to_string(desk.path("member0_enc_pubk.pem")).unwrap()).unwrap();
    let encrypted = |share: &[u8]| {
        let encrypted = public.encrypt(share, &mut ChaCha20Rng::seed_from_u64(3)).unwrap();
        json!({"memberId": "x", "encryptedShare": STANDARD.encode(encrypted)}).to_string()
    };
    let node = |share: String| {
        move |seen: &Seen| match seen.line.starts_with("GET") {
            true => (200, share.clone()),
            false => {
                let message = "2/2 recovery shares successfully submitted\nEnd of recovery procedure initiated";
                let body =
                    json!({"fullKeySubmitted": false, "message": message, "recoveryThreshold": 2, "submittedCount": 2});
                (200, body.to_string())
            }
        }
    };
    let share: Vec<u8> = (1..=44).collect();
    let server = desk.serve(node(encrypted(&share)));
    let key = desk.path("member0_enc_privk.pem");
    let submit = |server: &Server| desk.run(server, &["submit-share", "--encryption-key", key.to_str().unwrap()]);
    let run = submit(&server).expect(0);
    assert_eq!(
        run.text(),
        "2/2 recovery shares successfully submitted\nEnd of recovery procedure initiated\n"
    );
    assert_eq!(
        server.seen()[0].line,
        format!("GET /gov/recovery/encrypted-shares/{}?{V}", desk.member_id())
    );
    let (message, payload) = server.signed(&format!("POST /gov/recovery/members/{}:recover?{V}", desk.member_id()));
    assert_eq!(payload, json!({"share": STANDARD.encode(&share)}));
    message.verify(desk.certificate().key(), None).unwrap();

    // Not a share: nothing is sent, and what it was is not shown.
    let server = desk.serve(node(encrypted(b"0123456789")));
    let run = submit(&server).expect(3);
    assert!(
        run.stderr.contains("10 bytes") && !run.stderr.contains("0123456789"),
        "{}",
        run.stderr
    );
    assert_eq!(server.seen().len(), 1);
    // For another key.
    let server = desk.serve(node(json!({"encryptedShare": STANDARD.encode([1; 256])}).to_string()));
    submit(&server).expect_sentence(2, &["does not open with this encryption key"]);
    // The signing key instead.
    let wrong = desk.path("member0_privk.pem");
    let run = desk.run(&server, &["submit-share", "--encryption-key", wrong.to_str().unwrap()]);
    run.expect_sentence(2, &["not a member's share-encryption key", "signing key"]);
}

#[test]
fn a_refusal_shows_ccfs_code_and_message_and_what_to_do_next() {
    let desk = Desk::new();
    for (status, code, next) in [
        (403, "ServiceNotWaitingForRecoveryShares", "rekindle member status"),
        (400, "StateDigestMismatch", "run `rekindle member ack` again"),
        (400, "ProposalCreatedTooLongAgo", "leave --created-at out"),
        (404, "FrontendNotOpen", "wait until"),
    ] {
        let server = desk.serve(move |_| (status, refusal(code, "The message.")));
        let run = desk.run(&server, &["ack"]).expect(1);
        assert!(run.stdout.is_empty());
        let start = format!("rekindle: the service refused the request ({status}) {code}: The message.\n    next ");
        assert!(
            run.stderr.starts_with(&start) && run.stderr.contains(next),
            "{}",
            run.stderr
        );
    }
    let server = desk.serve(|_| (200, "[]".to_owned()));
    desk.run(&server, &["ack"])
        .expect_sentence(3, &["could not be understood", "/gov/members/state-digests/"]);
}

#[test]
fn only_a_node_that_the_service_has_endorsed_is_spoken_to() {
    let desk = Desk::new();
    let status = |seen: &Seen| match seen.line.as_str() {
        "GET /node/state" => {
            let state = json!({
                "node_id": "n", "state": "ReadingPrivateLedger", "last_signed_seqno": 226, "startup_seqno": 0,
                "stop_notice": false, "recovery_target_seqno": 226, "last_recovered_seqno": 113
            });
            (200, state.to_string())
        }
        _ => (404, refusal("ResourceNotFound", "Service state not available.")),
    };
    // Endorsed, on either curve; and the service's own certificate, as its key makes it.
    for curve in [Curve::P256, Curve::P384] {
        let server = Server::start(desk.service.node(curve), status);
        let text = desk.run(&server, &["status"]).expect(0).text();
        assert!(
            text.contains("ReadingPrivateLedger") && text.contains("113 of 226 (50 %)"),
            "{text}"
        );
        assert_eq!(
            desk.run(&server, &["state", "--json"]).expect(0).json()["service"],
            Value::Null
        );
    }
    let Service { key, certificate } = Service::new(1, "CN=CCF Service");
    desk.run(&Server::start((key, certificate), status), &["status"])
        .expect(0);

    // Another service of the same name.
    let stranger = Service::new(4, "CN=CCF Service");
    let server = Server::start(stranger.node(Curve::P384), status);
    desk.run(&server, &["status"])
        .expect_sentence(3, &["is not trusted", "not endorsed by the service certificate"]);
    assert!(server.seen().is_empty());
    // The right certificate without its key.
    let (_, certificate) = desk.service.node(Curve::P384);
    let impostor = Server::start((stranger.key, certificate), status);
    desk.run(&impostor, &["status"])
        .expect_sentence(3, &["is not trusted", "BadSignature"]);
    assert!(impostor.seen().is_empty());
    // Whoever answers, if that is asked for; and never without one or the other.
    let url = server.url();
    rekindle!["member", "status", "--url", &url, "--insecure"].expect(0);
    let run = rekindle!["member", "status", "--url", &url].expect(2);
    assert!(run.stderr.contains("--service-certificate"), "{}", run.stderr);
    rekindle!["member", "status", "--url", "http://127.0.0.1:1", "--insecure"]
        .expect_sentence(2, &["https://host:port"]);
    rekindle!["member", "status", "--url", "https://127.0.0.1:1", "--insecure"]
        .expect_sentence(3, &["could not reach 127.0.0.1:1"]);
}

#[test]
fn a_redirect_to_another_node_is_followed_and_judged_again() {
    let desk = Desk::new();
    let primary = desk.serve(|_| (200, proposal("Open")));
    let to = format!("{}/gov/members/proposals:create?{V}", primary.url());
    let backup = desk.serve(move |_| (308, format!("location:{to}")));
    let file = desk.write("proposal.json", r#"{"actions": []}"#);
    let file = file.to_str().unwrap();
    desk.run(&backup, &["propose", file]).expect(0);
    primary.signed(&format!("POST /gov/members/proposals:create?{V}"));

    let stranger = Server::start(Service::new(5, "CN=X").node(Curve::P384), |_| (200, proposal("Open")));
    let to = stranger.url();
    let backup = desk.serve(move |_| (307, format!("location:{to}/x")));
    desk.run(&backup, &["propose", file])
        .expect_sentence(3, &["is not trusted"]);
    assert!(stranger.seen().is_empty());
    let circle = desk.serve(|_| (307, "location:/again".to_owned()));
    desk.run(&circle, &["propose", file])
        .expect_sentence(3, &["redirects more than"]);
    let plain = desk.serve(|_| (307, "location:http://127.0.0.1/".to_owned()));
    desk.run(&plain, &["propose", file])
        .expect_sentence(3, &["no https URL"]);
}

#[test]
fn a_node_that_says_nothing_is_given_up() {
    let desk = Desk::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let start = std::time::Instant::now();
    rekindle!["member", "status", "--url", url, "--insecure", "--timeout", "1"].expect_sentence(3, &["within 1 s"]);
    assert!(start.elapsed() < std::time::Duration::from_secs(20));
    drop(desk);
    // Broken off before TLS, as CCF does while it has no certificate to present.
    let rude = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", rude.local_addr().unwrap());
    let thread = std::thread::spawn(move || drop(rude.accept().unwrap()));
    rekindle!["member", "status", "--url", url, "--insecure"].expect_sentence(3, &["still reads the public ledger"]);
    thread.join().unwrap();
}

#[test]
fn the_nodes_own_authentication_reads_what_a_member_signs() {
    let files = |name: &str| {
        let new = NewMember::generate(name, Curve::P256, false, 1_700_000_000, 1).unwrap();
        (
            Member::from_pem(&new.certificate_pem, &new.key_pem).unwrap(),
            new.certificate_pem,
        )
    };
    let ((member, certificate), (stranger, _)) = (files("member0"), files("stranger"));
    let mut store = Store::new();
    let writes = store.transact(|transaction| {
        transaction.put(names::MEMBERS_CERTS, member.id(), certificate.as_str());
        Ok::<(), ()>(())
    });
    store.apply(1, &writes.unwrap());
    let transaction = store.transaction();
    let read =
        |body: &[u8], expected| request::authenticate(&transaction, Some("application/cose"), body, expected, false);
    for (ours, proposal) in [
        (MessageType::Proposal, None),
        (MessageType::Ballot, Some(ID)),
        (MessageType::Withdrawal, Some(ID)),
        (MessageType::StateDigest, None),
        (MessageType::Ack, None),
        (MessageType::RecoveryShare, None),
    ] {
        let signed = member.sign(ours, 1_700_000_000, proposal, b"{}").unwrap();
        let found = read(&signed, ours).unwrap_or_else(|why| panic!("{ours:?}: {why:?}"));
        assert_eq!(found.member_id, member.id());
        assert_eq!(found.created_at, 1_700_000_000);
        assert_eq!(found.proposal_id.as_deref(), proposal);
        assert_eq!(found.payload.as_slice(), b"{}");
        assert_eq!(proposal.is_some(), ours.names_proposal());
        let other = match ours {
            MessageType::Ack => MessageType::Proposal,
            _ => MessageType::Ack,
        };
        assert!(read(&signed, other).is_err(), "{ours:?}");
        assert!(read(&stranger.sign(ours, 1, proposal, b"{}").unwrap(), ours).is_err());
    }
}

fn python() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let output = Command::new(&python).args(["-c", "import ccf.cose"]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(!required, "{} can't import ccf.cose", python.display());
    eprintln!("skipped: no official package in {}", python.display());
    None
}

/// Signs with the official package; then checks the other message with it.
const OFFICIAL: &str = r#"
import sys, ccf.cose
from cryptography.x509 import load_pem_x509_certificate
content, cert, key, ours, theirs, kind, created, proposal = sys.argv[1:]
header = {"ccf.gov.msg.created_at": int(created), "ccf.gov.msg.type": kind}
if proposal:
    header["ccf.gov.msg.proposal_id"] = proposal
cert = open(cert).read()
open(theirs, "wb").write(ccf.cose.create_cose_sign1(open(content, "rb").read(), open(key).read(), cert, header))
public = load_pem_x509_certificate(cert.encode()).public_key()
ccf.cose.validate_cose_sign1(public, open(ours, "rb").read())
"#;

#[test]
fn the_official_package_signs_the_same_bytes_and_accepts_ours() {
    let Some(python) = python() else { return };
    let desk = Desk::new();
    let content = desk.write("content", "{\"share\": \"x\"}");
    rekindle![
        "member",
        "keygen",
        "small",
        "--curve",
        "secp256r1",
        "--out",
        desk.directory.path()
    ]
    .expect(0);
    for (name, kind, proposal) in [
        ("member0", "proposal", ""),
        ("member0", "ballot", ID),
        ("small", "withdrawal", ID),
        ("small", "recovery_share", ""),
        ("small", "state_digest", ""),
        ("small", "ack", ""),
    ] {
        let (cert, key) = (
            desk.path(&format!("{name}_cert.pem")),
            desk.path(&format!("{name}_privk.pem")),
        );
        let (ours, theirs) = (desk.path(&format!("{kind}.ours")), desk.path(&format!("{kind}.theirs")));
        let mut arguments: Vec<std::ffi::OsString> = vec!["member".into(), "sign".into(), "--type".into(), kind.into()];
        arguments.extend([
            "--content".into(),
            content.clone().into(),
            "--cert".into(),
            cert.clone().into(),
        ]);
        arguments.extend([
            "--key".into(),
            key.clone().into(),
            "--created-at".into(),
            "1700000000".into(),
        ]);
        arguments.extend(["--out".into(), ours.clone().into()]);
        if !proposal.is_empty() {
            arguments.extend(["--proposal-id".into(), proposal.into()]);
        }
        Run::of(&arguments).expect(0);
        let output = Command::new(&python)
            .args(["-c", OFFICIAL])
            .args([&content, &cert, &key, &ours, &theirs])
            .args([kind, "1700000000", proposal])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (ours, theirs) = (std::fs::read(ours).unwrap(), std::fs::read(theirs).unwrap());
        let certificate = Certificate::from_pem(&std::fs::read_to_string(cert).unwrap()).unwrap();
        let theirs_parsed = Sign1::parse(&theirs).unwrap();
        theirs_parsed.verify(certificate.key(), None).unwrap();
        // Everything but the signature, which is randomised there.
        let signature = theirs_parsed.signature().len();
        assert_eq!(ours.len(), theirs.len(), "{kind}");
        assert_eq!(
            ours[..ours.len() - signature],
            theirs[..theirs.len() - signature],
            "{kind}"
        );
        let mut damaged = ours;
        *damaged.last_mut().unwrap() ^= 1;
        let outcome = Sign1::parse(&damaged).unwrap().verify(certificate.key(), None);
        assert_eq!(outcome, Err(Error::SignatureInvalid));
    }
}

/// A node that retires, as it says itself: `phase` after so many questions. Another one is at `other`.
fn retires(
    other: String,
    phase: impl Fn(usize) -> String + Send + Sync,
) -> impl Fn(&Seen) -> (u16, String) + Send + Sync {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move |seen: &Seen| {
        let path = seen.line.split(' ').nth(1).unwrap().split('?').next().unwrap();
        let (goes, stays) = ("aa".repeat(32), "bb".repeat(32));
        let node = |id: &str, status: &str, address: &str| json!({"node_id": id, "status": status, "rpc_interfaces": {"main": {"published_address": address}}});
        let body = match path {
            "/node/network/nodes" => {
                json!({"nodes": [node(&goes, "Retired", "127.0.0.1:1"), node(&stays, "Trusted", &other)]})
            }
            "/node/state" => json!({"node_id": goes, "state": "PartOfNetwork"}),
            "/node/consensus" => {
                let asked = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                json!({"details": {"primary_id": goes, "retirement_phase": phase(asked), "acks": {}}})
            }
            _ if path.ends_with(&goes) => json!({"nodeId": goes, "status": "Retired"}),
            _ => json!({}),
        };
        (200, body.to_string())
    }
}

#[test]
fn a_node_that_only_claims_to_go_is_waited_for_as_long_as_was_asked_and_no_longer() {
    let desk = Desk::new();
    // It makes up one step after the other, and nobody is there that it hands over to.
    let server = desk.serve(retires("127.0.0.1:1".to_owned(), |asked| {
        format!("step {asked}\u{1b}[31m")
    }));
    let began = Instant::now();
    let run = desk.run(&server, &["hand-over", "--wait", "2"]).expect(1);
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(10)).contains(&took),
        "{took:?}"
    );
    let said = &run.stderr;
    assert!(
        said.contains("no other node leads after 2 s. Seen last: the retirement is step")
            && said.contains("Ask the nodes that stay"),
        "{said}"
    );
    assert!(said.lines().count() < 30 && !said.contains('\u{1b}'), "{said}");

    // Nor does one that never answers hold it up.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = desk.serve(retires(silent.local_addr().unwrap().to_string(), |_| {
        "Signed".to_owned()
    }));
    let began = Instant::now();
    let run = desk.run(&server, &["hand-over", "--wait", "1"]).expect(1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(run.stderr.contains("the retirement is signed"), "{}", run.stderr);
}

#[test]
fn the_nodes_that_stay_are_believed_where_the_one_that_goes_does_not_say_that_it_has_gone() {
    let desk = Desk::new();
    let stays = desk.serve(|seen| {
        let body = match seen.line.contains("/node/consensus") {
            true => json!({"details": {"primary_id": "bb".repeat(32)}}),
            false => json!({"nodeId": "aa".repeat(32), "status": "Retired"}),
        };
        (200, body.to_string())
    });
    let server = desk.serve(retires(stays.address.to_string(), |_| "Completed".to_owned()));
    let run = desk.run(&server, &["hand-over", "--wait", "20", "--json"]).expect(0);
    assert_eq!(run.json()["primary_id"], json!("bb".repeat(32)), "{}", run.stderr);
}

#[test]
fn a_hand_over_that_others_decide_before_its_own_vote_goes_on() {
    let desk = Desk::new();
    let (goes, stays) = ("aa".repeat(32), "bb".repeat(32));
    for (state, code) in [("Accepted", 0), ("Rejected", 1)] {
        let (going, staying) = (goes.clone(), stays.clone());
        let server = desk.serve(move |seen| {
            let path = seen.line.split(' ').nth(1).unwrap().split('?').next().unwrap();
            let node = |id: &str| json!({"node_id": id, "status": "Trusted", "rpc_interfaces": {}});
            let body = match path {
                "/node/network/nodes" => json!({"nodes": [node(&going), node(&staying)]}),
                "/node/state" => json!({"node_id": going}),
                "/node/consensus" => json!({"details": {"primary_id": staying}}),
                "/gov/members/proposals:create" => return (200, proposal("Open")),
                _ if path.ends_with(":submit") => return (400, refusal("ProposalNotOpen", "It is decided.")),
                _ if path.contains("/proposals/") => return (200, proposal(state)),
                _ => json!({"nodeId": going, "status": "Retired"}),
            };
            (200, body.to_string())
        });
        let run = desk.run(&server, &["hand-over", "--wait", "20"]).expect(code);
        match code {
            0 => assert!(run.text().contains(&stays), "{}", run.stderr),
            _ => assert!(run.stderr.contains("ProposalNotOpen"), "{}", run.stderr),
        }
    }
}
