//! The node that recovers a service dies in the middle of it, and another one that has joined completes the recovery: once, and
//! whatever the first had got done.

use std::net::TcpListener;
use std::time::Duration;

use crate::joiners::{
    self, committed, id, join_public, joiner, place, place_of, primary, verify, wait_for_leader, wait_for_seqno,
};
use crate::node::{Node, Place};
use crate::proxy::Proxy;
use crate::support::Service;
use rustix::process::Signal;
use serde_json::{Value, json};

fn phase(node: &Node<'_>) -> String {
    node.state()["recovery"]["phase"].as_str().unwrap().to_owned()
}

fn service_status(node: &Node<'_>) -> Value {
    node.json("/node/network")["service_status"].clone()
}

/// Members agree and give their shares to the one that leads.
fn give_shares(leader: &mut Node<'_>, place: &Place) {
    leader.wait_for_members();
    leader.pass(&leader.opening());
    leader.submit_shares(&place.keys());
}

/// What the ledger of a node says of its service: each status once written, in their order, since it was recovered.
fn statuses(place: &Place) -> Vec<String> {
    let lines =
        Service::at(place.directory.clone()).export(false, &["--table", "public:ccf.gov.service.info", "--history"]);
    let status = |line: &Value| {
        let info: Value = serde_json::from_str(line["value"].as_str()?).unwrap();
        Some(info["status"].as_str().unwrap().to_owned())
    };
    let all: Vec<String> = lines.iter().filter_map(status).collect();
    let began = all.iter().rposition(|status| status == "Recovering").unwrap();
    all[began..].to_vec()
}

/// Those that are left have opened the service, once; they are governed, and their ledgers can be recovered from.
fn check_the_rest(mut nodes: Vec<Node<'_>>, places: &[Place], first: usize) {
    for node in &mut nodes {
        node.wait_until_open();
    }
    let leader = &mut nodes[first];
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.act("trigger_recovery_shares_refresh", Value::Null);
    leader.wait_for_commit();
    let last = committed(leader);
    for node in &mut nodes {
        wait_for_seqno(node, last);
        assert_eq!(service_status(node), "Open");
    }
    for node in nodes {
        node.stop();
    }
    for place in places {
        verify(&place.ledger(), last);
        assert_eq!(statuses(place), ["Recovering", "WaitingForRecoveryShares", "Open"]);
    }
    rekindle!["compare", "--json", places[0].ledger(), places[1].ledger()].expect(0);
    let mut again = Place::of(&places[first].directory);
    again.config["consensus"] = joiners::consensus();
    let mut recovered = again.start();
    recovered.wait_for("PartOfPublicNetwork");
    recovered.open();
    recovered.stop();
}

#[test]
fn where_the_leader_dies_while_it_reads_the_private_ledger_another_opens_the_service() {
    // Long enough to be met while it reads.
    let options = [
        "--entries",
        "800",
        "--value-size",
        "8000",
        "--chunk-size",
        "1000000",
        "--recoveries",
        "1",
    ];
    let place = place_of(&options);
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    give_shares(&mut leader, &place);
    let state = leader.wait_for("ReadingPrivateLedger");
    leader.signal(Signal::KILL);
    leader.wait_for_end();
    assert_eq!(state["state"], "ReadingPrivateLedger");
    let log = leader.log();
    assert!(!log.contains("the private ledger is read"), "it was too late: {log}");
    let first = wait_for_leader(&mut nodes);
    check_the_rest(nodes, &places, first);
}

#[test]
fn where_the_leader_dies_while_it_waits_for_others_to_read_they_open_the_service() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    // It can't be asked, and is waited for.
    nodes[1].signal(Signal::STOP);
    give_shares(&mut leader, &place);
    leader.wait_until("it waits for others", |node| {
        phase(node).contains("waiting for other nodes").then_some(())
    });
    assert_eq!(leader.state()["state"], "ReadingPrivateLedger");
    assert_eq!(service_status(&leader), "WaitingForRecoveryShares");
    leader.kill();
    nodes[1].signal(Signal::CONT);
    let first = wait_for_leader(&mut nodes);
    check_the_rest(nodes, &places, first);
}

/// Whoever can't be heard for so long loses the lead.
fn patient() -> Value {
    json!({"message_timeout": "50ms", "election_timeout": "4s"})
}

/// The ways by which others reach a node: for their frames, and for what they ask as clients.
struct Ways {
    frames: Proxy,
    questions: Proxy,
}

impl Ways {
    fn new() -> Ways {
        Ways {
            frames: Proxy::new(),
            questions: Proxy::new(),
        }
    }

    /// One that joins and is reached so. Until it is said, nobody asks it anything.
    fn joiner(&self, first: &Place, target: &str, name: &str) -> Place {
        let mut beside = joiner(first, target, name);
        beside.config["consensus"] = patient();
        // Free a moment ago, and nobody else's.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        self.frames.leads_to(&free.to_string());
        let network = &mut beside.config["network"];
        network["node_to_node_interface"]["bind_address"] = json!(free.to_string());
        network["node_to_node_interface"]["published_address"] = json!(self.frames.address.to_string());
        network["rpc_interfaces"]["test"]["published_address"] = json!(self.questions.address.to_string());
        beside
    }

    fn lets_ask(&self, node: &Node<'_>) {
        self.questions.leads_to(node.url.strip_prefix("https://").unwrap());
    }
}

/// How the opening of the leader that dies reaches the others.
#[derive(Clone, Copy, PartialEq)]
enum Opening {
    IsLost,
    ComesLate,
}

/// The leader has written the opening, and dies before anybody else has it.
fn dies_with_the_opening(opening: Opening) {
    let place = place();
    let mut first_place = Place::of(&place.directory);
    first_place.config["consensus"] = patient();
    let mut leader = first_place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let ways = [0, 1].map(|_| Ways::new());
    let places = ["second", "third"].into_iter().zip(&ways);
    let places: Vec<Place> = places
        .map(|(name, ways)| ways.joiner(&first_place, &leader.url, name))
        .collect();
    let mut nodes = Vec::new();
    for place in &places {
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.wait_for_members();
        nodes.push(node);
    }
    leader.wait_for_commit();
    give_shares(&mut leader, &first_place);
    // They have read, and the leader can't ask them yet.
    for node in &mut nodes {
        node.wait_for("PartOfNetwork");
    }
    assert_ne!(service_status(&leader), "Open");
    for (ways, node) in ways.iter().zip(&nodes) {
        ways.frames.hold();
        ways.lets_ask(node);
    }
    leader.wait_until("it has written the opening", |node| {
        (service_status(node) == "Open").then_some(())
    });
    let written = leader.json("/node/network");
    assert_eq!(written["service_status"], "Open");
    assert_ne!(leader.get("/node/ready/app").status, 204, "nobody has agreed to it");
    if opening == Opening::ComesLate {
        // What it has sent stands before what comes after its death.
        std::thread::sleep(Duration::from_millis(300));
    }
    let led = id(&leader);
    leader.kill();
    for (node, ways) in nodes.iter().zip(&ways) {
        assert_ne!(service_status(node), "Open");
        if opening == Opening::IsLost {
            ways.frames.break_off();
        }
        ways.frames.let_go();
    }
    let first = wait_for_leader(&mut nodes);
    assert_ne!(primary(&nodes[first]), Some(led));
    check_the_rest(nodes, &places, first);
}

#[test]
fn where_the_leader_dies_with_an_opening_that_nobody_has_another_opens_the_service() {
    dies_with_the_opening(Opening::IsLost);
}

#[test]
fn where_the_leader_dies_with_an_opening_that_others_have_and_nobody_knows_as_committed_it_is_opened_once() {
    dies_with_the_opening(Opening::ComesLate);
}

#[test]
fn what_became_of_unsealing_is_taken_back_with_what_members_agreed_to() {
    let mut place = place();
    let key = place.directory.join("sealing_key.hex");
    std::fs::write(&key, "5a".repeat(32)).unwrap();
    place.arguments = vec!["--insecure-sealing-key".to_owned(), key.to_str().unwrap().to_owned()];
    std::fs::create_dir(place.directory.join("previous")).unwrap();
    place.config["command"]["recover"]["previous_sealed_ledger_secret_location"] = json!("previous");
    place.config["consensus"] = patient();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let ways = [0, 1].map(|_| Ways::new());
    let places = ["second", "third"].into_iter().zip(&ways);
    let places: Vec<Place> = places
        .map(|(name, ways)| ways.joiner(&place, &leader.url, name))
        .collect();
    let mut nodes = join_public(&mut leader, &places);
    for (ways, node) in ways.iter().zip(&nodes) {
        ways.lets_ask(node);
    }
    leader.wait_for_members();
    let unsealing = |node: &Node<'_>| node.state()["recovery"]["sealing"]["unsealing"].clone();
    let opening = leader.opening();
    ways.iter().for_each(|ways| ways.frames.hold());
    leader.pass(&opening);
    // Nothing was sealed: it waits for shares, and nobody else has agreed to that.
    assert!(unsealing(&leader)["refused"].is_array(), "{}", leader.state());
    assert_eq!(service_status(&leader), "WaitingForRecoveryShares");
    leader.signal(Signal::STOP);
    for ways in &ways {
        ways.frames.break_off();
        ways.frames.let_go();
    }
    let first = wait_for_leader(&mut nodes);
    nodes[first].wait_for_commit();
    leader.signal(Signal::CONT);
    let new = id(&nodes[first]);
    leader.wait_until("it follows", |node| {
        (primary(node).as_ref() == Some(&new)).then_some(())
    });
    leader.wait_until("it has taken back what it wrote", |node| {
        (service_status(node) == "Recovering").then_some(())
    });
    assert_eq!(unsealing(&leader), Value::Null);
    give_shares(&mut nodes[first], &place);
    leader.wait_until_open();
    for node in nodes {
        node.stop();
    }
    leader.stop();
}
