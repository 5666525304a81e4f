//! An independent follower (`tools/ccf_follower.py` of the shared directory), whose acknowledgements real CCF primaries commit
//! with, takes a whole ledger over the node-to-node protocol: handshake, refusals, entries, commits, the nudge.
//!
//! It is found through REKINDLE_CCF_TOOLS, or at ../shared/tools beside the checkout, and needs a Python with `cryptography`
//! (REKINDLE_CCF_PYTHON, or python3). Without them the test says that it was skipped, unless REKINDLE_REQUIRE_CCF_LEDGERS=1.
//! Only its admission is a stub: a TLS server that answers its request to join as a primary would.

#[path = "support/identity.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod identity;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use identity::Identity;
use rekindle::channel::{NodeId, Own};
use rekindle::consensus::{AppendEntries, Message};
use rekindle::crypto::x509::{CertificateRequest, issue};
use rekindle::crypto::{Curve, SigningKey};
use rekindle::fixture::{Options, generate};
use rekindle::format::entry::Entry;
use rekindle::format::{Seqno, View};
use rekindle::journal::Shelf;
use rekindle::node::peers::{Entries, Peers, Settings, Word};
use rekindle::report::progress::Silent;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

/// The Python and the tool.
fn tool() -> Option<(PathBuf, PathBuf)> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tools");
    let tools = std::env::var_os("REKINDLE_CCF_TOOLS").map_or_else(beside, PathBuf::from);
    let tool = tools.join("ccf_follower.py");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let mut imports = Command::new(&python);
    let imports = imports
        .args(["-c", "import cryptography"])
        .stderr(Stdio::null())
        .status();
    if tool.is_file() && imports.is_ok_and(|status| status.success()) {
        return Some((python, tool));
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
    assert!(!required, "{} or a Python with cryptography is missing", tool.display());
    eprintln!("skipped: {} or a Python with cryptography is missing", tool.display());
    None
}

/// The body of the one request that comes, and `answer` made of it, over TLS.
fn answer_once(listener: &TcpListener, node: &Identity, answer: impl FnOnce(&Value) -> Value) {
    let certificate = CertificateDer::from_pem_slice(node.certificate.to_pem().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(node.key.to_pkcs8_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (stream, _) = listener.accept().unwrap();
    let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    let body = loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        if body.len() >= length.unwrap_or(0) {
            assert!(head.starts_with("POST /node/join "), "{head}");
            break body.to_owned();
        }
    };
    let answer = answer(&serde_json::from_str(&body).unwrap()).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

/// A leader, as little as there must be of it: it sends what the follower lacks.
struct Leader {
    peers: Peers,
    words: mpsc::Receiver<Word>,
    shelf: Shelf,
    follower: NodeId,
    /// Of each entry.
    views: Vec<View>,
    sent: Seqno,
    matched: Seqno,
    refusals: usize,
    votes: usize,
}

impl Leader {
    fn view_at(&self, seqno: Seqno) -> View {
        let index = usize::try_from(seqno).unwrap().checked_sub(1);
        index.map_or(0, |index| self.views[index])
    }

    fn last(&self) -> Seqno {
        self.views.len() as Seqno
    }

    fn send(&mut self, through: Seqno) {
        let frame = AppendEntries {
            idx: through,
            prev_idx: self.sent,
            view: self.view_at(self.last()),
            prev_view: self.view_at(self.sent),
            leader_commit: self.matched,
            view_of_idx: self.view_at(through),
        };
        let entries = match through > self.sent {
            true => Entries::Stored {
                through,
                then: Vec::new(),
            },
            false => Entries::none(),
        };
        self.peers.send(self.follower, Message::AppendEntries(frame), entries);
        self.sent = through;
    }

    fn tick(&mut self) {
        for word in self.words.try_iter() {
            match word {
                Word::Said(said) => match said.message {
                    Message::AppendEntriesResponse(answer) if answer.ok => {
                        self.matched = self.matched.max(answer.last_idx);
                    }
                    Message::AppendEntriesResponse(answer) => {
                        self.refusals += 1;
                        self.sent = self.sent.min(answer.last_idx);
                    }
                    Message::RequestVote(_) => self.votes += 1,
                    other => panic!("{other:?}"),
                },
                Word::NotRead { why, .. } => panic!("{why}"),
                _ => {}
            }
        }
        for _ in 0..4 {
            let after = self.sent;
            let view = self.views.get(usize::try_from(after).unwrap());
            let rest = self.views.iter().skip(usize::try_from(after).unwrap());
            let end = after + rest.take_while(|other| Some(*other) == view).count() as Seqno;
            let through = self.shelf.reach(after, end, 20_000);
            self.send(through);
        }
    }
}

#[test]
fn an_independent_follower_takes_the_whole_ledger_refuses_once_and_stands_when_it_is_nudged() {
    let Some((python, tool)) = tool() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 600,
        value_size: 1000,
        signature_every: 20,
        chunk_size: 100_000,
        recoveries: 1,
        members: 1,
        threshold: 1,
        curve: Curve::P384,
        ..Options::default()
    };
    let last = generate(&options, &scratch.path().join("out"), &Silent)
        .unwrap()
        .last_seqno;
    let ledger = vec![scratch.path().join("out/ledger")];
    let shelf = Shelf::new(ledger.clone());
    let all = shelf.read(0, last, 1 << 30).unwrap();
    let (mut views, mut at) = (Vec::new(), 0);
    while at < all.len() {
        let entry = Entry::parse(&all[at..]).unwrap();
        views.push(entry.iv().view);
        at += entry.raw.len();
    }
    assert!(views.first() < views.last());

    let service = Identity::service(1);
    let key = SigningKey::generate(Curve::P384, &mut rekindle::crypto::random::system_rng().unwrap());
    let node = endorsed(key, &service);
    let own = Own::new(node.key.clone(), node.certificate.to_pem(), service.key.verifying_key());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (hear, words) = mpsc::channel();
    let settings = Settings::new(Duration::from_secs(2));
    let peers = Peers::start(settings, Arc::new(own), listener, Shelf::new(ledger), move |word| {
        drop(hear.send(word));
    })
    .unwrap();

    let rpc = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let follower = Command::new(python)
        .arg(tool)
        .args([
            "--join",
            &rpc.local_addr().unwrap().to_string(),
            "--bind",
            &free.to_string(),
        ])
        .args(["--host-data", "00", "--seconds", "50", "--refuse-once", "--ledger-out"])
        .arg(scratch.path().join("follower"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut joined: Option<(NodeId, SocketAddr)> = None;
    answer_once(&rpc, &node, |request| {
        let wanted = CertificateRequest::from_pem(request["certificate_signing_request"].as_str().unwrap()).unwrap();
        let certificate = issue(
            "CN=CCF Node",
            wanted.key(),
            Some(&service.certificate),
            &service.key,
            false,
            1_700_000_000,
            365,
            [9; 16],
        );
        let interface = &request["node_info_network"]["node_to_node_interface"]["published_address"];
        let address = interface.as_str().unwrap().parse().unwrap();
        joined = Some((NodeId(wanted.key().id()), address));
        json!({
            "node_status": "Trusted",
            "network_info": {
                "public_only": false,
                "endorsed_certificate": certificate.unwrap().to_pem(),
                "identity": { "cert": service.certificate.to_pem() },
            },
        })
    });
    let (follower_id, address) = joined.unwrap();
    peers.know(follower_id, &address.to_string());

    let mut leader = Leader {
        peers,
        words,
        shelf,
        follower: follower_id,
        sent: views.len() as Seqno,
        views,
        matched: 0,
        refusals: 0,
        votes: 0,
    };
    let until = Instant::now() + LONG;
    while leader.matched < last {
        assert!(
            Instant::now() < until,
            "{} of {last}: {:?}",
            leader.matched,
            leader.peers.figures()
        );
        leader.tick();
        std::thread::sleep(Duration::from_millis(20));
    }
    // It has nothing at first, and refuses once where it was asked to.
    assert!(leader.refusals >= 2, "{}", leader.refusals);
    let view = leader.view_at(last);
    leader.tick();
    leader
        .peers
        .send(follower_id, Message::ProposeRequestVote { view }, Entries::none());
    while leader.votes == 0 {
        assert!(Instant::now() < until, "{:?}", leader.peers.figures());
        leader.tick();
        std::thread::sleep(Duration::from_millis(20));
    }
    let granted = rekindle::consensus::RequestVoteResponse {
        view: view + 1,
        granted: true,
    };
    leader
        .peers
        .send(follower_id, Message::RequestVoteResponse(granted), Entries::none());
    let output = follower.wait_with_output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        (&said["entries"], &said["commit"]),
        (&json!(last), &json!(last)),
        "{said}"
    );
    assert_eq!((&said["wrong"], &said["nudged"]), (&json!([]), &json!(view)), "{said}");
    assert_eq!(said["successor"], true, "{said}");
    let copied = std::fs::read(scratch.path().join("follower/ledger_1")).unwrap();
    assert!(copied[8..] == all[..]);
}

fn endorsed(key: SigningKey, service: &Identity) -> Identity {
    let issuer = Some(&service.certificate);
    let public = key.verifying_key();
    let certificate = issue(
        "CN=CCF Node",
        &public,
        issuer,
        &service.key,
        false,
        1_700_000_000,
        365,
        [8; 16],
    );
    Identity {
        certificate: certificate.unwrap(),
        key: Arc::new(key),
    }
}
