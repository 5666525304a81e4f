//! Other nodes join a service that this node has recovered, follow it, and take it over: a real node, and an independent follower
//! (`tools/ccf_follower.py` of the shared directory) with whose acknowledgements real CCF primaries commit.
//!
//! It is found through REKINDLE_CCF_TOOLS, or at ../shared/tools beside the checkout, and needs a Python with `cryptography`
//! (REKINDLE_CCF_PYTHON, or python3). Without them a test says that it was skipped, unless REKINDLE_REQUIRE_CCF_LEDGERS=1.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::node::{self, Node, Place};
use crate::support::Service;
use serde_json::{Value, json};

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

/// A follower that runs.
struct Follower(Child);

impl Follower {
    /// Joins `node`, and ends after so many seconds unless it leads before.
    fn start(node: &Node<'_>, place: &Place, name: &str, seconds: u32, more: &[&str]) -> Option<Follower> {
        let (python, tool) = tool()?;
        // Free a moment ago, and nobody else's: it listens at it, and says that it has clients at the next one.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let ledger = place.directory.join(name);
        let child = Command::new(python)
            .arg(tool)
            .args(["--join", node.url.strip_prefix("https://").unwrap()])
            .args(["--bind", &free.to_string(), "--seconds", &seconds.to_string()])
            .arg("--ledger-out")
            .arg(&ledger)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Follower(child))
    }

    /// What it says at its end.
    #[track_caller]
    fn end(self) -> Value {
        let output = self.0.wait_with_output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["wrong"], json!([]), "{said}");
        assert!(output.status.success(), "{said}");
        said
    }
}

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
    place.config["consensus"] = json!({"message_timeout": "50ms", "election_timeout": "1000ms"});
    place
}

/// What other nodes are to this one, once there are any.
fn others(node: &Node<'_>) -> Option<Value> {
    node.state().get("others").cloned()
}

fn seqno(node: &Node<'_>, path: &str) -> u64 {
    let txid = node.json(path)["transaction_id"].as_str().unwrap().to_owned();
    txid.split_once('.').unwrap().1.parse().unwrap()
}

/// Waits until a node with this status is there; answers its id.
fn wait_for_node(node: &mut Node<'_>, status: &str) -> String {
    let own = node.state()["node_id"].clone();
    node.wait_until(&format!("a node is {status}"), |node| {
        let nodes = node.json(&format!("/node/network/nodes?status={status}"));
        let nodes = nodes["nodes"].as_array().unwrap();
        let other = nodes.iter().find(|node| node["node_id"] != own)?;
        Some(other["node_id"].as_str().unwrap().to_owned())
    })
}

/// Has members trust the node that waits; answers its id.
fn trust(node: &mut Node<'_>) -> String {
    let id = wait_for_node(node, "Pending");
    node.act(
        "transition_node_to_trusted",
        json!({"node_id": id, "valid_from": node::an_hour_ago()}),
    );
    id
}

/// The engine finds nothing wrong with the ledger that a follower has taken, to this seqno.
#[track_caller]
fn verify(follower: &Path, last: u64) {
    let report = rekindle!["verify", "--json", follower].expect(0).json();
    let signed = report["last_signed"].as_str().unwrap().to_owned();
    assert!(
        signed.split_once('.').unwrap().1.parse::<u64>().unwrap() >= last,
        "{report}"
    );
}

#[test]
fn a_node_joins_the_public_network_at_once_and_nothing_is_committed_without_it() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    assert_eq!(others(&node), None, "it is alone");
    let Some(follower) = Follower::start(&node, &place, "follower", 12, &["--refuse-once"]) else {
        return;
    };
    let id = wait_for_node(&mut node, "Trusted");
    let caught_up = node.wait_until("it has caught up", |node| {
        let consensus = node.json("/node/consensus");
        let acknowledged = consensus["details"]["acks"][&id]["seqno"].as_u64()?;
        (acknowledged > 0 && acknowledged == seqno(node, "/node/commit")).then_some(consensus)
    });
    let details = &caught_up["details"];
    assert_eq!(
        (&details["leadership_state"], &details["ticking"]),
        (&json!("Leader"), &json!(true))
    );
    let newest = details["configs"].as_array().unwrap().last().unwrap();
    assert_eq!(newest["nodes"].as_object().unwrap().len(), 2, "{newest}");
    assert!(
        newest["nodes"][&id]["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    assert_eq!(node.json("/node/config"), newest["nodes"]);
    let committed = seqno(&node, "/node/commit");
    let said = follower.end();
    assert_eq!(said["public_only"], true);
    assert!(said["commit"].as_u64().unwrap() >= committed, "{said}");
    verify(&place.directory.join("follower"), committed);

    // It is gone, and it takes part: of two nodes both are needed, and who is missing is said.
    let silent = node.wait_until("its answer is missing", |node| {
        let missing = others(node)?["missing"].as_array()?.first()?.clone();
        (missing["node_id"] == json!(id)).then_some(missing)
    });
    assert!(silent["silent_ms"].as_u64().is_none_or(|ms| ms < 60_000), "{silent}");
    node.wait_until("the log says so", |node| {
        let log = node.log();
        (log.contains("this node's vote is missing") && log.contains(&id)).then_some(())
    });
    assert_eq!(seqno(&node, "/node/commit"), committed);
    let said = node.log();
    assert!(said.matches("this node asks for votes").count() == 1, "{said}");
    node.stop();
}

#[test]
fn a_node_that_members_trust_takes_over_when_they_retire_this_one_which_then_ends() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let Some(follower) = Follower::start(&node, &place, "follower", 50, &[]) else {
        return;
    };
    let id = trust(&mut node);
    node.wait_until("it has caught up", |node| {
        let acks = node.json("/node/consensus")["details"]["acks"].clone();
        (acks[&id]["seqno"].as_u64()? >= seqno(node, "/node/commit")).then_some(())
    });
    let own = node.state()["node_id"].as_str().unwrap().to_owned();
    let mut voters = node.voters();
    let proposer = voters.remove(0);
    let hand_over = node.hand_over(&proposer);
    let proposal = node.wait_until("it is proposed", |node| {
        let proposals = node
            .run(rekindle::member::governance::proposals(node.client()))
            .unwrap();
        let open = proposals.iter().find(|proposal| proposal["proposalState"] == "Open")?;
        Some(open["proposalId"].as_str().unwrap().to_owned())
    });
    // Where others decide first, it does not ask for their votes.
    node.wait_until("its own vote is there", |node| {
        let ballot = rekindle::member::governance::ballot(node.client(), &proposal, proposer.member.id());
        node.run(ballot).unwrap()
    });
    for voter in &voters {
        let state = node.vote(voter, &proposal);
        if state.is_ok_and(|state| state["proposalState"] == "Accepted") {
            break;
        }
    }
    let seen = node.wait_until("the other one leads", |node| {
        let others = others(node)?;
        (others["primary_id"] == json!(id)).then_some(others)
    });
    assert_eq!(seen["retirement_phase"], "RetiredCommitted", "{seen}");
    assert_eq!(node.json("/node/network")["primary_id"], json!(id));
    assert_eq!(node.get("/node/primary").status, 404);
    let told = hand_over.wait_with_output().unwrap();
    let steps = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.success(), "{steps}");
    assert!(
        steps.contains(&format!("goes         {own}")) && steps.contains("it needs more votes"),
        "{steps}"
    );
    let answer: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&answer["retired"], &answer["primary_id"]),
        (&json!(own), &json!(id)),
        "{steps}"
    );
    let status = node.wait_for_end();
    assert!(status.success(), "{status}: {}", node.log());
    let log = node.log();
    assert!(
        log.contains("another leads the service: it ends") && log.contains(&id),
        "{log}"
    );
    let said = follower.end();
    assert_eq!(
        (&said["public_only"], &said["successor"]),
        (&json!(false), &json!(true)),
        "{said}"
    );
    verify(&place.directory.join("follower"), said["commit"].as_u64().unwrap());
    place.verify();
    // Both are the same service, as far as each goes.
    rekindle!["compare", "--json", place.ledger(), place.directory.join("follower")].expect(0);
}

#[test]
fn a_node_that_is_trusted_and_never_answers_is_given_up_and_the_service_goes_on() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    // Killed in the moment in which it waits.
    let Some(mut follower) = Follower::start(&node, &place, "follower", 50, &[]) else {
        return;
    };
    let id = wait_for_node(&mut node, "Pending");
    follower.0.kill().unwrap();
    follower.0.wait().unwrap();
    trust(&mut node);
    let before = seqno(&node, "/node/commit");
    node.wait_until("the log says that it is given up", |node| {
        node.log()
            .contains("everything that is not committed is given up")
            .then_some(())
    });
    node.wait_until("it goes on", |node| {
        (seqno(node, "/node/commit") > before).then_some(())
    });
    assert_eq!(node.json(&format!("/node/network/nodes/{id}"))["status"], "Pending");
    // Members are served as before, and the one that is dead can be removed.
    node.act("remove_node", json!({"node_id": id}));
    node.wait_for_commit();
    assert_eq!(node.get(&format!("/node/network/nodes/{id}")).status, 404);
    node.stop();
    place.verify();
}

#[test]
fn a_follower_that_members_remove_is_told_and_the_service_goes_on_without_it() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let Some(follower) = Follower::start(&node, &place, "follower", 10, &[]) else {
        return;
    };
    let id = trust(&mut node);
    node.wait_for_commit();
    node.act("remove_node", json!({"node_id": id}));
    node.wait_until("it is retired for good", |node| {
        let removable = node.json("/node/network/removable_nodes");
        let removable = removable["nodes"].as_array().unwrap();
        removable.iter().any(|node| node["node_id"] == json!(id)).then_some(())
    });
    node.wait_until("it knows", |node| {
        node.log().contains("a node has left, and knows it").then_some(())
    });
    let committed = seqno(&node, "/node/commit");
    node.act("trigger_snapshot", Value::Null);
    node.wait_for_commit();
    let said = follower.end();
    assert!(said["commit"].as_u64().unwrap() >= committed, "{said}");
    node.stop();
    place.verify();
}

#[test]
fn a_service_with_a_follower_opens_and_says_which_node_could_not_be_asked_whether_it_has_read() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    // It has no interface for clients.
    let Some(follower) = Follower::start(&node, &place, "follower", 55, &[]) else {
        return;
    };
    let id = wait_for_node(&mut node, "Trusted");
    node.wait_for_members();
    node.pass(&node.opening());
    node.submit_shares(&place.keys());
    node.wait_until("it is waited for", |node| {
        let phase = node.state()["recovery"]["phase"].as_str()?.to_owned();
        phase.contains("waiting for other nodes").then_some(())
    });
    node.wait_until_open();
    let log = node.log();
    assert!(
        log.contains("has not said that it has read the private ledger"),
        "{log}"
    );
    let secrets = Service::at(place.directory.clone());
    let table = "public:ccf.internal.encrypted_ledger_secrets";
    let lines = secrets.export(true, &["--table", table]);
    let sent = lines
        .iter()
        .any(|line| line["value"].as_str().is_some_and(|value| value.contains(&id)));
    assert!(
        sent || lines.iter().any(|line| line["value"].get(&id).is_some()),
        "{lines:?}"
    );
    node.stop();
    drop(follower);
    place.verify();
}

/// Long enough for a node to be given up on, and to be waited for.
const _: () = assert!(node::PATIENCE.as_secs() > Duration::from_secs(40).as_secs());
