//! What a node that has begun a service records, and how it speaks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use super::record::Step;
use super::sending::Sender;
use super::*;
use crate::attestation::{Evidence, VirtualQuote};
use crate::crypto::Curve;
use crate::fixture::{Options, generate};
use crate::format::TxId;
use crate::heal::{Body, Effect, Generation, Info, Message, OpenKind, Record};
use crate::http::Running;
use crate::node::config::Config;
use crate::node::found::{Founding, found, show_state};
use crate::node::opening::InterruptedOpening;
use crate::node::public::{list, recover_public};
use crate::node::serve::serve;
use crate::node::shared::Node;
use crate::report::progress::Silent;
use crate::service::create::SealingPlan;
use crate::service::identity::{NodeIdentity, ServiceIdentity, ServiceName};
use crate::service::service_info;
use crate::tables::values::ServiceStatus;

const GENERATION: Generation = Generation::Decision2026;
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    node: Arc<Node>,
    _running: Running,
    _scratch: TempDir,
}

impl Bench {
    /// A node that has begun a service, and signs by itself once in an hour.
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
            "network": {"rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}}},
            "node_certificate": {"curve_id": "Secp256R1"},
            "command": {"type": "Recover", "service_certificate_file": at("service_cert.pem"), "recover": {}},
            "ledger": {"directory": at("service/ledger")},
            "ledger_signatures": {"delay": "1h"},
            "snapshots": {"directory": at("service/snapshots")},
            "output_files": {"node_certificate_file": at("node_cert.pem"), "pid_file": at("node.pid")},
        });
        let config = Config::parse(&config.to_string()).unwrap().config;
        let identity = NodeIdentity::generate(crate::node::description::node_name(&config).unwrap()).unwrap();
        let (fatal, _) = unbounded_channel();
        let (node, running) = serve(&config, &identity, None, fatal).await.unwrap();
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
            healing: Beginning {
                generation: Some(GENERATION),
                ..Beginning::default()
            },
        };
        found(&node, founding).unwrap();
        Bench {
            node,
            _running: running,
            _scratch: scratch,
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Transaction<'_>) -> T) -> (T, TxId) {
        self.node.read(|store| read(&store.transaction()))
    }
}

fn vote(id: &str) -> Effect {
    Effect::Record(Record::Vote { id: id.to_owned() })
}

#[tokio::test]
async fn what_a_step_records_is_committed_when_it_is_over_whenever_a_signature_is_due() {
    let bench = Bench::new().await;
    for id in ["n1", "n2", "n3"] {
        let step = Step::of(&[vote(id)]).commit(&bench.node, GENERATION);
        timeout(PATIENCE, step)
            .await
            .expect("it does not wait an hour")
            .unwrap();
        let (written, at) = bench.read(|transaction| {
            let written = transaction.version(names::RECOVERY_DECISION_VOTES, id.as_bytes());
            written.expect("the vote")
        });
        assert!(bench.node.status.last_signed() >= written, "{written} of {at}");
    }
    let before = bench.node.status.last_written();
    Step::of(&[]).commit(&bench.node, GENERATION).await.unwrap();
    assert_eq!(
        bench.node.status.last_written(),
        before,
        "nothing is written where there is nothing"
    );
}

#[tokio::test]
async fn who_opens_says_so_in_the_transaction_that_opens() {
    let bench = Bench::new().await;
    let effects = [
        Effect::Record(Record::Opens(OpenKind::Failover)),
        Effect::Open(OpenKind::Failover),
    ];
    let opens = Step::of(&effects).commit(&bench.node, GENERATION);
    timeout(PATIENCE, opens).await.unwrap().unwrap();
    let (places, _) = bench.read(|transaction| {
        assert_eq!(
            service_info(transaction).unwrap().status,
            ServiceStatus::WaitingForRecoveryShares
        );
        [names::SERVICE_INFO, names::RECOVERY_DECISION_OPEN_KIND]
            .map(|table| transaction.version(table, &crate::tables::SINGLETON_KEY).unwrap())
    });
    assert_eq!(places[0], places[1]);
}

#[tokio::test]
async fn what_is_not_answered_yet_is_not_said_again() {
    let bench = Bench::new().await;
    let node = &bench.node;
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = deaf.local_addr().unwrap().to_string();
    let sender = Sender::new(GENERATION, &node.certificates, Arc::clone(&node.status)).unwrap();
    let message = |body: Body| Message {
        info: Info {
            id: "n0".to_owned(),
            address: "n0.example:443".to_owned(),
            service: node.certificates.self_signed().to_pem(),
            evidence: Evidence::default(),
        },
        body,
    };
    let claim = TxId { view: 2, seqno: 3 }.into();
    let mut open = Vec::new();
    for _ in 0..3 {
        sender.send("n1".to_owned(), address.clone(), message(Body::Gossip(claim)));
    }
    sender.send("n1".to_owned(), address.clone(), message(Body::Vote));
    for _ in 0..2 {
        open.push(timeout(PATIENCE, deaf.accept()).await.unwrap().unwrap());
    }
    let third = timeout(Duration::from_millis(200), deaf.accept()).await;
    assert!(third.is_err(), "one of each kind");
    // It is given up in its time, and then said again.
    let shown = || {
        node.status
            .healing
            .shown()
            .and_then(|shown| shown.answers.get("n1").cloned())
    };
    timeout(PATIENCE, async {
        while shown().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(shown().unwrap().contains("took longer than"), "{:?}", shown());
    drop(open);
    sender.send("n1".to_owned(), address.clone(), message(Body::Gossip(claim)));
    timeout(PATIENCE, deaf.accept()).await.unwrap().unwrap();
}
