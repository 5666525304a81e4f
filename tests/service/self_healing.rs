//! Three dead nodes find out among themselves whose ledger is best: real processes on loopback, from their configurations to an
//! open service, and what the losers leave.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::node::{Node, Place, program};
use crate::support::{Service, chunks, ledgers};
use bytes::Bytes;
use rekindle::attestation::{Evidence, OwnEvidence, VirtualQuote};
use rekindle::crypto::digest::sha256;
use rekindle::crypto::{Certificate, Curve};
use rekindle::heal::{Body, Claim, Generation, Info, Kind, Message};
use rekindle::net::exchange::{Answered, Asked, Bounds, put};
use rekindle::net::tls::{Anybody, certified, client_config, client_config_as};
use rekindle::service::identity::{NodeIdentity, NodeName};
use serde_json::{Value, json};

const OCTOBER: Generation = Generation::October2025;
const DECISION: Generation = Generation::Decision2026;

/// The code with which a loser ends.
const LOST: i32 = 4;

/// Addresses that nobody listens on.
fn free_addresses(count: usize) -> Vec<String> {
    let taken: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |listener: &TcpListener| listener.local_addr().unwrap().to_string();
    taken.iter().map(address).collect()
}

/// A service whose ledger has several chunks.
fn service() -> Service {
    Service::made(&[
        "--entries",
        "120",
        "--signature-every",
        "10",
        "--chunk-size",
        "6000",
        "--recoveries",
        "0",
    ])
}

/// Copies of a ledger, each a chunk shorter than the one before.
fn copies(of: &Path, count: usize) -> Vec<Place> {
    let copy = |missing: usize| {
        let place = Place::of(of);
        let all = chunks(&place.ledger());
        assert!(all.len() > count);
        for (_, path) in &all[all.len() - missing..] {
            std::fs::remove_file(path).unwrap();
        }
        if missing > 0 {
            // A snapshot of what such a node never had.
            for name in names(&place.directory.join("snapshots"), "") {
                std::fs::remove_file(place.directory.join("snapshots").join(name)).unwrap();
            }
        }
        place
    };
    (0..count).map(copy).collect()
}

/// Has them heal together, as a release's configurations say it.
fn heals(places: &mut [Place], addresses: &[String], generation: Generation, failover: &str) {
    let named = |at: usize| format!("n{at}");
    let locations: Vec<Value> = (0..addresses.len())
        .map(|at| json!({"name": named(at), "address": addresses[at]}))
        .collect();
    for (at, place) in places.iter_mut().enumerate() {
        let config = &mut place.config;
        config["network"] = json!({"rpc_interfaces": {"primary_rpc_interface": {"bind_address": addresses[at]}}});
        match generation {
            DECISION => {
                // Nothing of this waits for the time of the next signature.
                config["ledger_signatures"] = json!({"delay": "1h"});
                // Also where other nodes may come later.
                config["network"]["node_to_node_interface"] = json!({"bind_address": "127.0.0.1:0"});
                config["sealing_recovery"] = json!({
                    "location": {"name": named(at), "address": addresses[at]},
                    "recovery_decision_protocol": {
                        "expected_locations": locations,
                        "message_retry_timeout": "50ms",
                        "failover_timeout": failover,
                    },
                });
            }
            _ => {
                config["command"]["recover"]["self_healing_open"] =
                    json!({"addresses": addresses, "retry_timeout": "50ms", "failover_timeout": failover});
            }
        }
    }
}

/// Has a node seal with a key that all have.
fn seals(place: &mut Place, previous: Option<&str>) {
    std::fs::write(place.directory.join("sealing_key.hex"), "5a".repeat(32)).unwrap();
    place.arguments = vec!["--insecure-sealing-key".to_owned(), "sealing_key.hex".to_owned()];
    place.config["output_files"]["sealed_ledger_secret_location"] = json!("sealed");
    if let Some(previous) = previous {
        place.config["command"]["recover"]["previous_sealed_ledger_secret_location"] = json!(previous);
    }
}

/// A table as it is at the end, by its keys.
fn table(place: &Place, name: &str) -> Vec<(String, Value)> {
    let lines = Service::at(place.directory.clone()).export(false, &["--state", "--table", name]);
    let row = |line: &Value| {
        let value = line["value"].as_str().unwrap_or_default();
        let key = line["key"].as_str().unwrap_or_default().to_owned();
        (key, serde_json::from_str(value).unwrap_or_else(|_| json!(value)))
    };
    lines.iter().map(row).collect()
}

/// Every write to a table that has one value, and where.
fn writes(place: &Place, name: &str) -> Vec<(u64, Value)> {
    let lines = Service::at(place.directory.clone()).export(false, &["--history", "--table", name]);
    let row = |line: &Value| {
        let value = line["value"].as_str()?;
        Some((line["seqno"].as_u64()?, serde_json::from_str(value).ok()?))
    };
    lines.iter().filter_map(row).collect()
}

fn only(place: &Place, name: &str) -> Option<Value> {
    table(place, name).pop().map(|(_, value)| value)
}

fn healing(node: &Node<'_>) -> Value {
    node.state()["recovery"]["healing"].clone()
}

/// Waits until the service is to be opened.
#[track_caller]
fn wait_for_shares(node: &mut Node<'_>) {
    node.wait_until("shares are waited for", |node| {
        let network: Value = node.get("/node/network").json().ok()?;
        (network["service_status"] == "WaitingForRecoveryShares").then_some(())
    });
}

/// The names in a directory that begin so.
fn names(directory: &Path, prefix: &str) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = names
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}

/// What a loser leaves: a configuration that joins the winner, its certificate, and its ledger under another name.
#[track_caller]
fn check_loser(place: &Place, winner: &Place, address: &str) {
    let directory = &place.directory;
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    let join: Value = serde_json::from_str(&read("join_after_recovery.json")).unwrap();
    assert_eq!(join["command"]["type"], "Join");
    assert_eq!(join["command"]["join"]["target_rpc_address"], address);
    assert_eq!(join["command"]["service_certificate_file"], "join_service_cert.pem");
    assert_eq!(join["ledger"]["directory"], "ledger");
    let trusted = Certificate::from_pem(&read("join_service_cert.pem")).unwrap();
    let theirs = std::fs::read_to_string(winner.directory.join("service_cert.pem")).unwrap();
    assert_eq!(trusted.der(), Certificate::from_pem(&theirs).unwrap().der());
    rekindle::node::config::Config::parse(&join.to_string()).expect("a configuration that can be read");

    let kept = names(directory, "ledger.not-chosen.");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(!directory.join("ledger").exists());
    // All of it is there, and what it decided is signed.
    let kept = directory.join(&kept[0]);
    let report = rekindle!["verify", "--json", "--include-recovery", kept];
    assert_eq!(report.code, Some(0), "{}", report.stderr);
}

/// Waits for a loser's end.
#[track_caller]
fn loses(node: &mut Node<'_>) -> String {
    let status = node.wait_for_end();
    let log = node.log();
    assert_eq!(status.code(), Some(LOST), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    log
}

#[test]
fn the_best_ledger_opens_by_itself_and_the_others_leave_what_it_takes_to_join_it() {
    // A service whose secret is sealed, with chunks after its opening.
    let mut before = Place::of(&service().directory);
    seals(&mut before, None);
    let mut node = before.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    for _ in 0..2 {
        node.act("trigger_ledger_chunk", Value::Null);
        node.wait_for_commit();
    }
    node.stop();

    let mut places = copies(&before.directory, 3);
    // The best is not the one whose name is greatest.
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "60s");
    for place in &mut places {
        let previous = place.directory.join("previous");
        std::fs::create_dir(&previous).unwrap();
        for file in std::fs::read_dir(before.directory.join("sealed")).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, previous.join(path.file_name().unwrap())).unwrap();
        }
        seals(place, Some("previous"));
    }
    let mut best = places[0].start();
    let mut losers = [places[1].start(), places[2].start()];
    best.wait_until_open();
    let logs = losers.each_mut().map(loses);
    let shown = healing(&best);
    assert_eq!(shown["opened_by"], "Quorum", "{shown}");
    assert_eq!((&shown["quorum"], &shown["configured"]), (&json!(2), &json!(3)));
    assert_eq!(shown["heard"].as_object().unwrap().len(), 3, "{shown}");
    assert_eq!(shown["chosen"], addresses[0].as_str());
    drop(losers);
    best.stop();

    for place in &places[1..] {
        check_loser(place, &places[0], &addresses[0]);
    }
    assert!(logs[0].contains("join_after_recovery.json"), "{}", logs[0]);
    // Who won and how stays in its ledger.
    let prefix = "public:ccf.gov.selfhealingopen.";
    let gossip = table(&places[0], &format!("{prefix}gossip"));
    assert_eq!(gossip.len(), 3);
    assert!(table(&places[0], &format!("{prefix}votes")).len() >= 2);
    assert_eq!(
        only(&places[0], &format!("{prefix}chosen_node")),
        Some(json!(addresses[0]))
    );
    assert_eq!(only(&places[0], &format!("{prefix}failover_open")), None);
    // In the recovery transaction it begins to gossip, and what belongs to one step is one transaction.
    let stages = writes(&places[0], &format!("{prefix}sm_state"));
    let names: Vec<&str> = stages.iter().map(|(_, stage)| stage.as_str().unwrap()).collect();
    assert_eq!(names[..3], ["Gossiping", "Voting", "Opening"], "{stages:?}");
    let services = writes(&places[0], "public:ccf.gov.service.info");
    let status = |wanted: &str| {
        let found = services.iter().rev().find(|(_, info)| info["status"] == wanted);
        found.unwrap().0
    };
    assert_eq!(stages[0].0, status("Recovering"));
    assert_eq!(stages[2].0, status("WaitingForRecoveryShares"));
    let chosen = writes(&places[0], &format!("{prefix}chosen_node"));
    assert_eq!(stages[1].0, chosen[0].0);
    let recovery = only(&places[0], "public:ccf.internal.last_recovery_type");
    assert_eq!(recovery, Some(json!("LOCAL_UNSEALING")), "nobody gave a share");
    assert_eq!(places[0].verify()["services"].as_array().unwrap().len(), 3);

    // A supervisor that starts a loser again as before does not get another service.
    let again = places[1].refused();
    assert!(again.contains("has lost to another one before"), "{again}");
    check_loser(&places[1], &places[0], &addresses[0]);
}

#[test]
fn a_loser_becomes_the_node_that_joins_where_that_is_asked_for() {
    let service = service();
    let mut places = copies(&service.directory, 3);
    let addresses = free_addresses(3);
    // The greatest name has the shortest ledger.
    heals(&mut places, &addresses, DECISION, "60s");
    let joiner = places[1].directory.join("joiner.sh");
    std::fs::write(
        &joiner,
        "#!/bin/sh\necho \"$$ $1 $2\" >joined\nls -d ledger* >>joined\nexit 7\n",
    )
    .unwrap();
    std::fs::set_permissions(&joiner, std::fs::Permissions::from_mode(0o755)).unwrap();
    places[1].arguments = vec!["--join-with".to_owned(), "./joiner.sh".to_owned()];
    let mut best = places[0].start();
    let mut joins = places[1].start();
    let mut loser = places[2].start();
    let pid = joins.pid();
    let status = joins.wait_for_end();
    assert_eq!(status.code(), Some(7), "its exit code is this one's: {}", joins.log());
    let joined = std::fs::read_to_string(places[1].directory.join("joined")).unwrap();
    let lines: Vec<&str> = joined.lines().collect();
    assert_eq!(
        lines[0],
        format!("{pid} --config join_after_recovery.json"),
        "in place of the process"
    );
    assert_eq!(
        lines.len(),
        2,
        "no ledger of its own is left where the joiner would find it: {joined}"
    );
    assert!(lines[1].starts_with("ledger.not-chosen.2."), "{joined}");
    loses(&mut loser);
    // Nothing was sealed: shares are waited for, and members finish without another vote.
    wait_for_shares(&mut best);
    best.wait_for_members();
    best.submit_shares(&places[0].keys());
    best.wait_until_open();
    drop((joins, loser));
    best.stop();
    for place in &places[1..] {
        check_loser(place, &places[0], &addresses[0]);
    }
    let prefix = "public:ccf.gov.recovery_decision_protocol.";
    assert_eq!(only(&places[0], &format!("{prefix}open_kind")), Some(json!("Quorum")));
    assert_eq!(only(&places[0], &format!("{prefix}chosen_node")), Some(json!("n0")));

    let mut misled = Place::of(&service.directory);
    misled.arguments = vec!["--join-with".to_owned(), "./nothing".to_owned()];
    let refused = misled.refused();
    assert!(refused.contains("there is no such program"), "{refused}");
}

#[test]
fn two_of_three_wait_for_the_third_and_then_open_by_a_majority() {
    let service = service();
    let mut places = copies(&service.directory, 2);
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "3s");
    let mut best = places[0].start();
    let mut loser = places[1].start();
    best.wait_until("it has heard the other", |node| {
        (healing(node)["heard"].as_object()?.len() == 2).then_some(())
    });
    let shown = best.state()["recovery"].clone();
    assert_eq!(shown["healing"]["stage"], "Gossiping", "{shown}");
    assert_eq!(shown["phase"], "hearing whose ledger is best");
    assert!(shown["healing"]["failover_in_s"].as_f64().unwrap() > 0.0);
    best.wait_until("the dead node's answer is shown", |node| {
        let answer = healing(node)["answers"][&addresses[2]].clone();
        answer.as_str()?.contains("no connection").then_some(())
    });
    loses(&mut loser);
    let shown = healing(&best);
    assert_eq!(shown["opened_by"], "Quorum", "{shown}");
    let warnings = shown["warnings"].to_string();
    assert!(warnings.contains("after hearing 2 of 3 nodes"), "{warnings}");
    drop(loser);
    best.stop();
    check_loser(&places[1], &places[0], &addresses[0]);
}

#[test]
fn one_of_three_opens_by_fail_over_and_its_ledger_says_so() {
    for (generation, name, value) in [
        (OCTOBER, "public:ccf.gov.selfhealingopen.failover_open", json!(true)),
        (
            DECISION,
            "public:ccf.gov.recovery_decision_protocol.open_kind",
            json!("Failover"),
        ),
    ] {
        let service = service();
        let mut places = copies(&service.directory, 1);
        heals(&mut places, &free_addresses(3), generation, "500ms");
        let mut node = places[0].start();
        wait_for_shares(&mut node);
        let shown = node.wait_until("it says so", |node| {
            let shown = healing(node);
            shown["opened_by"].is_string().then_some(shown)
        });
        assert_eq!(shown["opened_by"], "Failover", "{shown}");
        assert!(
            shown["warnings"].to_string().contains("another node may open too"),
            "{shown}"
        );
        assert!(node.log().contains("another node may open too"));
        // Others may have joined it already: what a process began to open, the next one opens.
        node.kill();
        let mut node = places[0].start();
        wait_for_shares(&mut node);
        node.wait_until("it goes on opening", |node| {
            let warnings = healing(node)["warnings"].to_string();
            warnings.contains("started again after it was Opening").then_some(())
        });
        node.wait_for_members();
        node.submit_shares(&places[0].keys());
        node.wait_until_open();
        node.stop();
        assert_eq!(only(&places[0], name), Some(value));
    }
}

/// Somebody who speaks like a node.
struct Voice {
    identity: NodeIdentity,
    info: Info,
}

impl Voice {
    /// Under this name, with evidence for a program of this digest.
    fn new(id: &str, digest: [u8; 32]) -> Voice {
        let identity = NodeIdentity::generate(NodeName {
            curve: Curve::P384,
            subject: "CN=CCF Node".to_owned(),
            names: Vec::new(),
            validity_days: 1,
        })
        .unwrap();
        let key = sha256(identity.key.verifying_key().spki_der());
        let evidence = OwnEvidence::from(VirtualQuote::new(&digest, &key)).info().to_string();
        let info = Info {
            id: id.to_owned(),
            address: id.to_owned(),
            service: identity.self_signed.to_pem(),
            evidence: Evidence::from_quote_info(evidence.as_bytes()).unwrap(),
        };
        Voice { identity, info }
    }

    fn message(&self, body: Body) -> Vec<u8> {
        let info = self.info.clone();
        Message { info, body }.write(OCTOBER).unwrap()
    }

    /// Says it, and answers status, code and message.
    fn says(&self, node: &Node<'_>, kind: Kind, body: Vec<u8>) -> (u16, String, String) {
        let own = certified(&self.identity.self_signed, &self.identity.key).unwrap();
        let tls = client_config_as(own, Anybody).unwrap();
        told(&send(node, &OCTOBER.path(kind), body, tls))
    }

    fn gossips(&self, node: &Node<'_>, seqno: u64) -> (u16, String, String) {
        let claim = Claim { view: None, seqno };
        self.says(node, Kind::Gossip, self.message(Body::Gossip(claim)))
    }
}

fn send(node: &Node<'_>, path: &str, body: Vec<u8>, tls: Arc<rustls::ClientConfig>) -> Answered {
    let (host, port) = node.url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
    let asked = Asked {
        host,
        port: port.parse().unwrap(),
        authority: None,
        tls: Some(tls),
        path,
        accept: "*/*",
        headers: &[],
    };
    let bounds = Bounds {
        connect: Duration::from_secs(20),
        answer: Duration::from_secs(20),
        size: 1 << 20,
    };
    node.run(put(&asked, Bytes::from(body), bounds)).unwrap()
}

fn told(answered: &Answered) -> (u16, String, String) {
    let body: Value = serde_json::from_slice(&answered.body).unwrap_or_default();
    let text = |name: &str| body["error"][name].as_str().unwrap_or_default().to_owned();
    (answered.status.as_u16(), text("code"), text("message"))
}

/// What a real node answered to this, with the peer at this address: status, code, message.
fn recorded(what: &str, peer: &str) -> Option<(u16, String, String)> {
    let path = ledgers()?.join("../http-samples/self-healing/messages.json");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let row = rows
        .iter()
        .find(|row| row["what"] == what)
        .expect("a row of the recording");
    let text = |name: &str| row["answer"]["error"][name].as_str().unwrap_or_default().to_owned();
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    Some((status, text("code"), text("message").replace("127.0.0.1:27650", peer)))
}

#[test]
fn who_is_a_stranger_or_has_no_evidence_or_another_key_is_not_heard() {
    let service = service();
    let mut places = copies(&service.directory, 1);
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "60s");
    let mut node = places[0].start();
    node.wait_until("it has heard itself", |node| {
        (healing(node)["heard"].as_object()?.len() == 1).then_some(())
    });
    let program = sha256(&std::fs::read(program()).unwrap());
    let own = healing(&node)["heard"].clone();
    let is_unmoved = |node: &Node<'_>| assert_eq!(healing(node)["heard"], own);

    // A real node's answers: the code everywhere, and the words, of which ours may be more.
    let is_as_recorded = |what: &str, ours: &(u16, String, String)| {
        let Some((status, code, message)) = recorded(what, &addresses[1]) else {
            return;
        };
        assert_eq!((ours.0, &ours.1), (status, &code), "{what}");
        let head: String = message.split("in object").next().unwrap().to_owned();
        assert!(ours.2.starts_with(&head), "{what}: {} is not {head}", ours.2);
    };
    let peer = Voice::new(&addresses[1], program);
    let body = peer.message(Body::Gossip(Claim { view: None, seqno: 700 }));
    let nobody = told(&send(
        &node,
        "/node/self_healing_open/gossip",
        body.clone(),
        client_config(Anybody).unwrap(),
    ));
    is_as_recorded("sent to a real node: gossip without client certificate", &nobody);
    assert_eq!((nobody.0, nobody.1.as_str()), (500, "InternalError"), "{nobody:?}");
    assert!(nobody.2.starts_with("OpenSSL error: missing object"), "{nobody:?}");
    let mut other_program = Voice::new(&addresses[1], program);
    let quote = String::from_utf8(other_program.info.evidence.quote.clone()).unwrap();
    let quote = quote.replace("Insecure hard-coded virtual measurement v1", "x");
    other_program.info.evidence.quote = quote.into_bytes();
    let other_program = other_program.gossips(&node, 700);
    let other_host_data = Voice::new(&addresses[1], [9; 32]).gossips(&node, 700);
    assert_eq!(
        other_host_data.2, "Quote host data is not authorised",
        "{other_host_data:?}"
    );
    assert_eq!(
        (other_program.0, other_program.1.as_str()),
        (401, "InvalidQuote"),
        "{other_program:?}"
    );
    is_as_recorded("sent to a real node: gossip, wrong measurement", &other_program);
    let mut stolen = Voice::new(&addresses[1], program);
    stolen.info.evidence = peer.info.evidence.clone();
    let stolen = stolen.gossips(&node, 700);
    assert_eq!(
        stolen.2, "Quote report data does not contain node's public key hash",
        "{stolen:?}"
    );
    let no_txid = peer.says(&node, Kind::Gossip, peer.message(Body::Vote));
    assert_eq!((no_txid.0, no_txid.1.as_str()), (400, "InvalidInput"));
    assert!(
        no_txid
            .2
            .starts_with("At #/: Missing required field 'txid' in object: {\"info\":"),
        "{no_txid:?}"
    );
    is_as_recorded("sent to a real node: gossip, no txid", &no_txid);
    let stranger = Voice::new("127.0.0.1:1", program).gossips(&node, 700);
    assert_eq!((stranger.0, stranger.1.as_str()), (400, "InvalidInput"), "{stranger:?}");
    let other_form = told(&send(
        &node,
        "/node/recovery_decision_protocol/gossip",
        body,
        client_config(Anybody).unwrap(),
    ));
    assert_eq!(
        other_form,
        (
            400,
            "InvalidNodeState".to_owned(),
            "Unable to get recovery-decision-protocol configuration".to_owned()
        )
    );
    is_unmoved(&node);
    let evidence: Value = serde_json::from_slice(&peer.message(Body::Vote)).unwrap();
    let joins = json!({
        "node_info_network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:2", "published_address": "127.0.0.1:2"},
            "rpc_interfaces": {},
        },
        "quote_info": evidence["info"]["quote_info"],
        "public_encryption_key": peer.identity.key.verifying_key().spki_pem(),
        "startup_seqno": 0,
    });
    let joins = node.post("/node/join", joins.to_string().as_bytes(), Some("application/json"));
    let text = String::from_utf8_lossy(&joins.body);
    assert_eq!(joins.status.as_u16(), 503, "{text}");
    assert!(text.contains("still finding out which of them opens"), "{text}");
    let time = peer.says(&node, Kind::Gossip, Vec::new());
    assert_eq!(time.0, 400);
    let own_certificate = certified(&peer.identity.self_signed, &peer.identity.key).unwrap();
    let tls = client_config_as(own_certificate, Anybody).unwrap();
    let time = told(&send(&node, "/node/self_healing_open/timeout", Vec::new(), tls));
    assert_eq!(time.0, 401, "{time:?}");
    let name = Voice::new(&addresses[0], program);
    let in_its_name = name.says(
        &node,
        Kind::IAmOpen,
        name.message(Body::IAmOpen {
            previous_service: None,
            claim: None,
        }),
    );
    assert_eq!(in_its_name.1, "NodeAlreadyExists", "{in_its_name:?}");
    is_unmoved(&node);

    let heard = peer.gossips(&node, 3);
    is_as_recorded("sent to a real node: gossip: this peer has less", &heard);
    assert_eq!(heard, (204, String::new(), String::new()));
    assert_eq!(healing(&node)["heard"][&addresses[1]], "seqno 3");
    is_as_recorded("sent to a real node: gossip again", &peer.gossips(&node, 900));
    assert_eq!(
        healing(&node)["heard"][&addresses[1]],
        "seqno 3",
        "but the first counts"
    );
    let changed = Voice::new(&addresses[1], program).gossips(&node, 900);
    let text = format!(
        "Self-healing-open message from intrinsic id {} is invalid: certificate has changed",
        addresses[1]
    );
    assert_eq!(changed, (400, "NodeAlreadyExists".to_owned(), text));
    is_as_recorded(
        "sent to a real node: gossip of the same address with another key",
        &changed,
    );
    let warnings = healing(&node)["warnings"].to_string();
    for part in ["is not configured here", "has another key"] {
        assert!(warnings.contains(part), "{warnings}");
    }

    // The third one votes for this node, and so it opens: it obeys nobody any more.
    let third = Voice::new(&addresses[2], program);
    assert_eq!(third.gossips(&node, 2).0, 204);
    node.wait_until("it votes", |node| (healing(node)["stage"] == "Voting").then_some(()));
    let late = Voice::gossips(&third, &node, 800);
    assert_eq!((late.0, late.1.as_str()), (500, "InternalError"));
    assert_eq!(late.2, format!("This node has already voted for {}", addresses[0]));
    let vote = third.says(&node, Kind::Vote, third.message(Body::Vote));
    is_as_recorded("sent to a real node: vote", &vote);
    node.wait_until("it opens", |node| (healing(node)["stage"] == "Opening").then_some(()));
    let opens = Body::IAmOpen {
        previous_service: None,
        claim: None,
    };
    let refused = peer.says(&node, Kind::IAmOpen, peer.message(opens));
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (400, "InvalidNodeState"),
        "{refused:?}"
    );
    assert!(
        healing(&node)["warnings"]
            .to_string()
            .contains("two services were opened")
    );
    node.stop();
}

/// A node that is not configured so says what a real one says.
#[test]
fn a_node_that_does_not_heal_refuses_all_that_others_say() {
    let service = service();
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    for generation in [OCTOBER, DECISION] {
        for kind in ["gossip", "vote", "iamopen", "timeout"] {
            let path = format!("{}{kind}", generation.prefix());
            let answered = told(&send(&node, &path, b"{}".to_vec(), client_config(Anybody).unwrap()));
            let text = format!("Unable to get {} configuration", generation.title());
            assert_eq!(answered, (400, "InvalidNodeState".to_owned(), text));
        }
    }
    assert!(node.state()["recovery"].get("healing").is_none());
    node.stop();
}

/// A vote may have been counted where it was sent: the process that gave it is not the last that keeps to it.
#[test]
fn a_vote_is_kept_when_the_node_is_started_again() {
    let service = service();
    let mut places = copies(&service.directory, 1);
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "60s");
    let program = sha256(&std::fs::read(program()).unwrap());
    let (second, third) = (Voice::new(&addresses[1], program), Voice::new(&addresses[2], program));
    {
        let mut node = places[0].start();
        node.wait_until("it hears", |node| {
            (node.status_of_healing()? == "Gossiping").then_some(())
        });
        assert_eq!(second.gossips(&node, 9000).0, 204);
        assert_eq!(third.gossips(&node, 1).0, 204);
        node.wait_until("it votes", |node| (node.status_of_healing()? == "Voting").then_some(()));
        node.kill();
    }
    // Of a copy in which that is damaged nothing is believed.
    let mut damaged = places[0].again();
    damaged.config = places[0].config.clone();
    let left = names(&damaged.ledger(), "ledger_");
    let left = left.iter().find(|name| name.ends_with(".recovery")).unwrap();
    let path = damaged.ledger().join(left);
    let mut bytes = std::fs::read(&path).unwrap();
    let chosen = addresses[1].as_bytes();
    let at = bytes.windows(chosen.len()).position(|part| part == chosen).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    {
        let mut node = damaged.start();
        node.wait_until("it hears", |node| {
            (node.status_of_healing()? == "Gossiping").then_some(())
        });
        assert!(
            node.log().contains("is torn or damaged, and not believed"),
            "{}",
            node.log()
        );
        assert!(!healing(&node)["warnings"].to_string().contains("started again"));
        node.stop();
    }
    // What another node decided says nothing of the one that its files were copied to.
    let mut copied = vec![places[0].again(), places[0].again()];
    heals(&mut copied, &addresses, OCTOBER, "60s");
    {
        let mut node = copied[1].start();
        node.wait_until("it hears", |node| {
            (node.status_of_healing()? == "Gossiping").then_some(())
        });
        assert!(node.log().contains("is another node's"), "{}", node.log());
        assert!(!healing(&node)["warnings"].to_string().contains("started again"));
        node.stop();
    }
    // Killed before it decides anything, once more.
    for _ in 0..2 {
        let mut node = places[0].start();
        node.wait_until("it keeps to that", |node| {
            let warnings = healing(node)["warnings"].to_string();
            warnings
                .contains(&format!(
                    "started again after it was Voting for {}: it keeps to that",
                    addresses[1]
                ))
                .then_some(())
        });
        node.kill();
    }
    let mut node = places[0].start();
    node.wait_until("it hears", |node| {
        (node.status_of_healing()? == "Gossiping").then_some(())
    });
    // Both have less now than it has itself.
    assert_eq!(second.gossips(&node, 1).0, 204);
    assert_eq!(third.gossips(&node, 1).0, 204);
    node.wait_until("it votes", |node| (node.status_of_healing()? == "Voting").then_some(()));
    assert_eq!(healing(&node)["chosen"], addresses[1].as_str());
    node.stop();
}

/// Who is answered that it is heard may count on it: nothing is answered, shown or sent before it is on the disk.
#[test]
fn who_speaks_to_a_node_whose_disk_is_full_is_not_told_that_it_is_heard() {
    let service = service();
    let mut places = copies(&service.directory, 1);
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "60s");
    let hears_itself = |node: &mut Node<'_>| {
        node.wait_until("it hears itself", |node| {
            (healing(node)["heard"].as_object()?.len() == 1).then_some(())
        });
    };
    let bytes = {
        let mut node = places[0].start();
        hears_itself(&mut node);
        let left = names(&places[0].ledger(), "ledger_");
        let left = left.iter().find(|name| name.ends_with(".recovery")).unwrap();
        let bytes = places[0].ledger().join(left).metadata().unwrap().len();
        node.kill();
        bytes
    };
    let mut full = Place::of(&service.directory);
    full.config = places[0].config.clone();
    // In blocks of 512 bytes; what a gossip leaves has more than two.
    full.shell = Some(format!("ulimit -f {}", bytes / 512 + 2));
    let mut node = full.start();
    hears_itself(&mut node);
    let program = sha256(&std::fs::read(program()).unwrap());
    let answered = Voice::new(&addresses[1], program).gossips(&node, 700);
    assert_eq!(
        (answered.0, answered.1.as_str()),
        (503, "NodeCannotHandleRequest"),
        "{answered:?}"
    );
    assert!(answered.2.contains("is not written yet"), "{answered:?}");
    let shown = node.state()["recovery"].clone();
    assert_eq!(shown["healing"]["heard"].as_object().unwrap().len(), 1, "{shown}");
    assert!(
        shown["phase"].as_str().unwrap().starts_with("waiting for the disk"),
        "{shown}"
    );
    node.kill();
}

trait Heals {
    fn status_of_healing(&self) -> Option<String>;
}

impl Heals for Node<'_> {
    fn status_of_healing(&self) -> Option<String> {
        healing(self)["stage"].as_str().map(str::to_owned)
    }
}

/// Members may always decide themselves: then this node takes no part any more.
#[test]
fn members_who_open_a_node_that_heals_are_obeyed() {
    let service = service();
    let mut places = copies(&service.directory, 1);
    let addresses = free_addresses(3);
    heals(&mut places, &addresses, OCTOBER, "60s");
    let mut node = places[0].start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let program = sha256(&std::fs::read(program()).unwrap());
    let peer = Voice::new(&addresses[1], program);
    let opens = Body::IAmOpen {
        previous_service: None,
        claim: None,
    };
    let refused = peer.says(&node, Kind::IAmOpen, peer.message(opens));
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (400, "InvalidNodeState"),
        "{refused:?}"
    );
    assert!(healing(&node)["warnings"].to_string().contains("members have opened"));
    node.stop();
}
