//! Transactions that are in each other's way, and a writer that panics: in a node over a ledger that it has recovered.

use std::sync::atomic::{AtomicU32, Ordering};

use hyper::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use std::time::Duration;

use super::*;
use crate::attestation::VirtualQuote;
use crate::crypto::Curve;
use crate::error::Error;
use crate::fixture::{Options, generate};
use crate::http::Running;
use crate::journal::snapshot::Written;
use crate::node::api::not_written;
use crate::node::config::Config;
use crate::node::forwards::Outcome as ForwardOutcome;
use crate::node::found::{Founding, found, show_state};
use crate::node::healing::Beginning;
use crate::node::opening::InterruptedOpening;
use crate::node::public::{list, recover_public};
use crate::node::serve::serve;
use crate::node::shared::Node;
use crate::report::progress::Silent;
use crate::service::create::SealingPlan;
use crate::service::identity::{NodeIdentity, ServiceIdentity, ServiceName};

const PATIENCE: Duration = Duration::from_secs(30);
const MAP: &str = "public:ballots";

/// A node that has begun a service.
struct Bench {
    node: Arc<Node>,
    writer: Writer,
    ends: UnboundedReceiver<Result<(), Error>>,
    _running: Running,
    _scratch: TempDir,
}

impl Bench {
    async fn new() -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let options = Options {
            entries: 20,
            members: 1,
            threshold: 1,
            curve: Curve::P256,
            ..Options::default()
        };
        generate(&options, &at("service"), &Silent).unwrap();
        let config = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}},
            },
            "node_certificate": {"curve_id": "Secp256R1"},
            "command": {"type": "Recover", "service_certificate_file": at("service_cert.pem"), "recover": {}},
            "ledger": {"directory": at("service/ledger")},
            "snapshots": {"directory": at("service/snapshots")},
            "output_files": {
                "node_certificate_file": at("node_cert.pem"),
                "pid_file": at("node.pid"),
                "rpc_addresses_file": at("rpc_addresses.json"),
                "node_to_node_address_file": at("node_address.json"),
            },
        });
        let config = Config::parse(&config.to_string()).unwrap().config;
        let identity = NodeIdentity::generate(crate::node::description::node_name(&config).unwrap()).unwrap();
        let (end, ends) = unbounded_channel();
        let (node, running) = serve(&config, &identity, None, end).await.unwrap();
        let opening = InterruptedOpening::default();
        let files = list(&config, &opening).unwrap();
        let mut public = recover_public(&config, files, None, None, &node.status).unwrap();
        show_state(&node, &mut public);
        let founding = Founding {
            public,
            opening,
            evidence: VirtualQuote::new(&[1; 32], &identity.key.verifying_key().id()).into(),
            identity,
            encryption_key: "is not used here".to_owned(),
            decryption: None,
            service: ServiceIdentity::generate(Curve::P256, &ServiceName::Text("CN=service"), 10).unwrap(),
            node_data: None,
            service_data: None,
            sealing: None,
            plan: SealingPlan::default(),
            others: None,
            drops_signed: false,
            healing: Beginning::default(),
        };
        found(&node, founding).unwrap();
        Bench {
            writer: node.writer.get().unwrap().clone(),
            node,
            ends,
            _running: running,
            _scratch: scratch,
        }
    }

    /// A ballot that is added to those that are there. Its first runs find, when they have read, that another one has come
    /// in between: so many. Answers how often it ran, and what became of it.
    async fn vote_while_others_do(&self, others: u32) -> (u32, Result<((), TxId), NotWritten<()>>) {
        let runs = Arc::new(AtomicU32::new(0));
        let body = {
            let (runs, writer, here) = (Arc::clone(&runs), self.writer.clone(), Handle::current());
            move |transaction: &mut Transaction<'_>, _: &mut Session| {
                let before = transaction.get(MAP, b"p").map(<[u8]>::to_vec).unwrap_or_default();
                if runs.fetch_add(1, Ordering::Relaxed) < others {
                    let other = writer.transact("another", |transaction, _| add(transaction, b'b'));
                    here.block_on(other).unwrap();
                }
                transaction.put(MAP, "p", [before.as_slice(), b"a"].concat());
                Ok::<(), ()>(())
            }
        };
        let made = timeout(PATIENCE, self.writer.transact("member", body)).await;
        (runs.load(Ordering::Relaxed), made.unwrap())
    }

    fn ballots(&self) -> String {
        let ballots = self
            .node
            .read(|store| store.get(MAP, b"p").map(|(_, value)| value.to_vec()));
        String::from_utf8(ballots.0.unwrap_or_default()).unwrap()
    }
}

fn add(transaction: &mut Transaction<'_>, ballot: u8) -> Result<(), ()> {
    let mut ballots = transaction.get(MAP, b"p").map(<[u8]>::to_vec).unwrap_or_default();
    ballots.push(ballot);
    transaction.put(MAP, "p", ballots);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ballot_that_another_came_before_is_made_again_on_the_newest_state() {
    let bench = Bench::new().await;
    let (runs, made) = bench.vote_while_others_do(0).await;
    assert!(made.is_ok());
    assert_eq!((runs, bench.ballots().as_str()), (1, "a"));
    let (runs, made) = bench.vote_while_others_do(3).await;
    assert!(made.is_ok());
    assert_eq!(
        (runs, bench.ballots().as_str()),
        (4, "abbba"),
        "nothing that was written is lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_is_true_no_more_is_looked_at_again() {
    let bench = Bench::new().await;
    let runs = Arc::new(AtomicU32::new(0));
    let refuses = |until_written: bool| {
        let (runs, writer, here) = (Arc::clone(&runs), bench.writer.clone(), Handle::current());
        move |transaction: &mut Transaction<'_>, _: &mut Session| {
            let found = transaction.get(MAP, b"p").is_some();
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                let other = writer.transact("another", |transaction, _| add(transaction, b'b'));
                here.block_on(other).unwrap();
            }
            if until_written && found {
                Ok(())
            } else {
                Err("nobody has voted yet")
            }
        }
    };
    let made = timeout(PATIENCE, bench.writer.transact("member", refuses(true))).await;
    assert!(made.unwrap().is_ok());
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    // What is still so is not asked twice.
    let made = timeout(PATIENCE, bench.writer.transact("member", refuses(false))).await;
    assert!(matches!(made.unwrap(), Err(NotWritten::Failed("nobody has voted yet"))));
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_always_too_late_is_told_to_come_back() {
    let bench = Bench::new().await;
    let (runs, made) = bench.vote_while_others_do(u32::MAX).await;
    assert_eq!((runs, bench.ballots()), (30, "b".repeat(30)));
    assert!(matches!(made, Err(NotWritten::Contended)));
    let answer = not_written(NotWritten::Contended);
    assert_eq!(
        (answer.status, answer.code),
        (StatusCode::SERVICE_UNAVAILABLE, "TransactionCommitAttemptsExceedLimit")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_node_whose_connection_ends_is_told_at_once() {
    let bench = Bench::new().await;
    let (peer, other) = (NodeId([7; 32]), NodeId([8; 32]));
    let hear = |word| bench.writer.tell(Message::Heard(Box::new(word)));
    let (mut lost, mut kept) = (
        bench.node.forwards.begin(peer).unwrap(),
        bench.node.forwards.begin(other).unwrap(),
    );
    let mut not_sent = bench.node.forwards.begin(peer).unwrap();
    hear(peers::Word::NotPassed {
        peer,
        command: not_sent.command,
    });
    // However much was said of connections before.
    for _ in 0..1000 {
        let why = "closed".to_owned();
        hear(peers::Word::Disconnected { peer, why });
    }
    let outcome = timeout(PATIENCE, &mut not_sent.answer).await.unwrap();
    assert_eq!(outcome, Ok(ForwardOutcome::NotSent));
    let outcome = timeout(PATIENCE, &mut lost.answer).await.unwrap();
    assert_eq!(outcome, Ok(ForwardOutcome::Lost));
    assert!(kept.answer.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_panics_ends_the_node_with_a_reason() {
    let mut bench = Bench::new().await;
    // What never happens: the core refuses to go on with it.
    let written = Written {
        digest: [0; 32],
        len: 0,
    };
    bench.writer.tell(Message::Snapshot(SnapshotResult {
        seqno: 1,
        written: Ok(written),
    }));
    let why = timeout(PATIENCE, bench.ends.recv())
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert!(
        why.to_string().contains("the writer of the ledger has panicked"),
        "{why}"
    );
    assert!(bench.node.status.is_stopping());
    let late = bench.writer.transact("late", |transaction, _| add(transaction, b'a'));
    assert!(matches!(timeout(PATIENCE, late).await.unwrap(), Err(NotWritten::Gone)));
    timeout(PATIENCE, bench.writer.stop()).await.unwrap();
}
