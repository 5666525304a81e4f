//! Nodes that join a service which one of them has recovered: they follow it, finish its recovery, and take it over. Real processes
//! on one machine.

#[path = "support/node.rs"]
mod node;
#[macro_use]
mod support;

use std::path::Path;

use std::time::{Duration, Instant, SystemTime};

use node::{Node, Place};
use serde_json::{Value, json};
use support::Service;

/// Without a leader for so long, nodes stand for election.
const ELECTION: Duration = Duration::from_millis(1500);

fn consensus() -> Value {
    json!({"message_timeout": "50ms", "election_timeout": format!("{}ms", ELECTION.as_millis())})
}

/// A dead service of two lives, with private tables.
fn place() -> Place {
    let options = [
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
    let service = Service::made(&options);
    let mut place = Place::of(&service.directory);
    place.config["consensus"] = consensus();
    place
}

/// Where a node is started that joins the service of `first`, by way of a node of it.
fn joiner(first: &Place, target: &str, name: &str) -> Place {
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
        "join": {"target_rpc_address": target.strip_prefix("https://").unwrap(), "retry_timeout": "100ms"},
    });
    place.config["consensus"] = consensus();
    place
}

fn committed(node: &Node<'_>) -> u64 {
    let txid = node.json("/node/commit")["transaction_id"].as_str().unwrap().to_owned();
    txid.split_once('.').unwrap().1.parse().unwrap()
}

fn id(node: &Node<'_>) -> String {
    node.state()["node_id"].as_str().unwrap().to_owned()
}

fn primary(node: &Node<'_>) -> Option<String> {
    let network: Value = node.run(node.anyone().get("/node/network")).ok()?.json().ok()?;
    network["primary_id"].as_str().map(str::to_owned)
}

/// Waits until a node has committed what another has.
#[track_caller]
fn wait_for_seqno(node: &mut Node<'_>, seqno: u64) {
    node.wait_until(&format!("it has committed {seqno}"), |node| {
        (committed(node) >= seqno).then_some(())
    });
}

fn an_hour_ago() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let time = time::OffsetDateTime::from_unix_timestamp(now.as_secs() as i64 - 3600).unwrap();
    let form = time::macros::format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
    time.format(form).unwrap()
}

/// Members trust a node that waits for that.
#[track_caller]
fn trust(leader: &Node<'_>, joiner: &mut Node<'_>) {
    let joining = joiner.wait_for("Pending")["node_id"].as_str().unwrap().to_owned();
    joiner.wait_until("the service knows it", |_| {
        let path = format!("/node/network/nodes/{joining}");
        (leader.get(&path).status == 200).then_some(())
    });
    let arguments = json!({"node_id": joining, "valid_from": an_hour_ago()});
    leader.act("transition_node_to_trusted", arguments);
}

/// The engine finds nothing wrong with a ledger, which goes on to this seqno at least.
#[track_caller]
fn verify(ledger: &Path, last: u64) {
    let report = rekindle!["verify", "--json", ledger].expect(0).json();
    let signed = report["last_signed"].as_str().unwrap().to_owned();
    let signed: u64 = signed.split_once('.').unwrap().1.parse().unwrap();
    assert!(signed >= last, "{signed} < {last}: {report}");
}

#[test]
fn a_node_joins_the_public_network_and_both_end_as_parts_of_the_open_one() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let beside = joiner(&place, &leader.url, "follower");
    let mut follower = beside.start();
    follower.wait_for("PartOfPublicNetwork");
    wait_for_seqno(&mut follower, committed(&leader));
    follower.wait_for_members();
    assert_eq!(primary(&follower), Some(id(&leader)));

    leader.open();
    follower.wait_until_open();
    let log = leader.log();
    assert!(!log.contains("has not said that it has read"), "{log}");
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.act("trigger_snapshot", Value::Null);
    leader.wait_for_commit();
    let last = committed(&leader);
    wait_for_seqno(&mut follower, last);
    for path in ["/node/commit", "/node/network/nodes", "/node/service/configuration"] {
        let (one, other) = (leader.json(path), follower.json(path));
        match path {
            "/node/commit" => assert!(one["view_history"] == other["view_history"], "{one} {other}"),
            _ => assert_eq!(one, other, "{path}"),
        }
    }
    let log = follower.log();
    assert!(!log.contains("refused") && !log.contains("panicked"), "{log}");
    follower.stop();
    leader.stop();
    verify(&beside.ledger(), last);
    place.verify();
    rekindle!["compare", "--json", place.ledger(), beside.ledger()].expect(0);
}
