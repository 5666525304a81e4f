//! Nodes that join a service which another one has recovered, as their tests start and watch them. With `mod node` and `mod support`
//! beside it.
#![allow(dead_code, reason = "every journey uses its part of this")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{self, Node, Place};
use crate::support::Service;

/// Without a leader for so long, nodes stand for election.
pub const ELECTION: Duration = Duration::from_millis(1500);

pub fn consensus() -> Value {
    json!({"message_timeout": "50ms", "election_timeout": format!("{}ms", ELECTION.as_millis())})
}

/// A dead service of two lives, with private tables.
pub fn place() -> Place {
    place_with(&[])
}

pub fn place_with(more: &[&str]) -> Place {
    let mut options = vec![
        "--entries",
        "400",
        "--signature-every",
        "20",
        "--chunk-size",
        "50000",
        "--value-size",
        "600",
        "--recoveries",
        "1",
    ];
    options.extend(more);
    place_of(&options)
}

/// A dead service, made with these options.
pub fn place_of(options: &[&str]) -> Place {
    let service = Service::made(options);
    let mut place = Place::of(&service.directory);
    place.config["consensus"] = consensus();
    place
}

/// Where a node is started that joins the service of `first`, by way of a node of it.
pub fn joiner(first: &Place, target: &str, name: &str) -> Place {
    let directory = first.directory.join(name);
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(
        first.directory.join("service_cert.pem"),
        directory.join("service_cert.pem"),
    )
    .unwrap();
    std::fs::create_dir(directory.join("common")).unwrap();
    for file in std::fs::read_dir(first.directory.join("common")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, directory.join("common").join(path.file_name().unwrap())).unwrap();
    }
    let mut place = Place::at(&directory);
    place.config["command"] = json!({
        "type": "Join",
        "service_certificate_file": "service_cert.pem",
        "join": {
            "target_rpc_address": target.strip_prefix("https://").unwrap(),
            "retry_timeout": "100ms",
            "fetch_recent_snapshot": false,
        },
    });
    place.config["consensus"] = consensus();
    place
}

pub fn committed(node: &Node<'_>) -> u64 {
    let txid = node.json("/node/commit")["transaction_id"].as_str().unwrap().to_owned();
    txid.split_once('.').unwrap().1.parse().unwrap()
}

pub fn id(node: &Node<'_>) -> String {
    node.state()["node_id"].as_str().unwrap().to_owned()
}

pub fn primary(node: &Node<'_>) -> Option<String> {
    let network: Value = node.run(node.anyone().get("/node/network")).ok()?.json().ok()?;
    network["primary_id"].as_str().map(str::to_owned)
}

/// Waits until a node has committed what another has.
#[track_caller]
pub fn wait_for_seqno(node: &mut Node<'_>, seqno: u64) {
    node.wait_until(&format!("it has committed {seqno}"), |node| {
        (committed(node) >= seqno).then_some(())
    });
}

/// Members trust a node that waits for that.
#[track_caller]
pub fn trust(leader: &Node<'_>, joiner: &mut Node<'_>) {
    let joining = joiner.wait_for("Pending")["node_id"].as_str().unwrap().to_owned();
    joiner.wait_until("the service knows it", |_| {
        let path = format!("/node/network/nodes/{joining}");
        (leader.get(&path).status == 200).then_some(())
    });
    let arguments = json!({"node_id": joining, "valid_from": node::an_hour_ago()});
    leader.act("transition_node_to_trusted", arguments);
}

/// Waits until one of these leads, and everything up to its election is committed there; answers which.
#[track_caller]
pub fn wait_for_leader(nodes: &mut [Node<'_>]) -> usize {
    let began = Instant::now();
    loop {
        for (i, node) in nodes.iter_mut().enumerate() {
            if let Some(status) = node.ended() {
                panic!("a node has ended ({status}): {}", node.log());
            }
            let state = node.json("/node/consensus")["details"]["leadership_state"].clone();
            if state == "Leader" {
                return i;
            }
        }
        assert!(began.elapsed() < node::PATIENCE, "nobody leads: {}", nodes[0].log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The last committed transaction.
pub fn last_committed(node: &Node<'_>) -> String {
    node.json("/node/commit")["transaction_id"].as_str().unwrap().to_owned()
}

pub fn status(node: &Node<'_>, transaction: &str) -> Value {
    node.json(&format!("/node/tx?transaction_id={transaction}"))["status"].clone()
}

/// The engine finds nothing wrong with a ledger, which goes on to this seqno at least.
#[track_caller]
pub fn verify(ledger: &Path, last: u64) {
    let report = rekindle!["verify", "--json", ledger].expect(0).json();
    let signed = report["last_signed"].as_str().unwrap().to_owned();
    let signed: u64 = signed.split_once('.').unwrap().1.parse().unwrap();
    assert!(signed >= last, "{signed} < {last}: {report}");
}

/// The newest committed snapshot that a node has.
pub fn newest_snapshot(place: &Place) -> Option<PathBuf> {
    snapshots(place).pop().map(|(_, path)| path)
}

/// Committed snapshots, the newest last.
pub fn snapshots(place: &Place) -> Vec<(u64, PathBuf)> {
    let files = std::fs::read_dir(place.directory.join("snapshots")).unwrap();
    let names = files.map(|file| file.unwrap().path());
    let committed = names.filter(|path| path.extension().is_some_and(|extension| extension == "committed"));
    let seqno = |path: &Path| path.file_name()?.to_str()?.split('_').nth(1)?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> = committed.map(|path| (seqno(&path).unwrap(), path)).collect();
    found.sort();
    found
}

/// The engine finds nothing wrong with a ledger that begins after this snapshot.
#[track_caller]
pub fn verify_from(place: &Place, snapshot: &Path, last: u64) {
    let report = rekindle!["verify", "--json", "--from-snapshot", snapshot, place.ledger()]
        .expect(0)
        .json();
    let signed = report["last_signed"].as_str().unwrap().to_owned();
    let signed: u64 = signed.split_once('.').unwrap().1.parse().unwrap();
    assert!(signed >= last, "{signed} < {last}: {report}");
}

/// Two that have joined the public network of the one that recovers, and have what it has committed.
pub fn join_public<'p>(leader: &mut Node<'_>, places: &'p [Place]) -> Vec<Node<'p>> {
    let mut nodes = Vec::new();
    for place in places {
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.wait_for_members();
        leader.wait_for_commit();
        wait_for_seqno(&mut node, committed(leader));
        nodes.push(node);
    }
    nodes
}
