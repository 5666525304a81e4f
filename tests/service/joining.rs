//! Nodes that join a service which one of them has recovered: they follow it, finish its recovery, and take it over. Real processes
//! on one machine.

use std::time::Instant;

use crate::http::client::{connect, exchange, tls_client};
use crate::joiners::{
    ELECTION, committed, consensus, id, join_public, joiner, last_committed, newest_snapshot, place, place_of,
    place_with, primary, snapshots, status, trust, verify, verify_from, wait_for_leader, wait_for_seqno,
};
use crate::node::{Node, Place};
use crate::support::{self, Service};
use serde_json::{Value, json};

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

    // Whatever members ask of the one that follows, the one that leads does.
    follower.open();
    leader.wait_until_open();
    let log = leader.log();
    assert!(!log.contains("has not said that it has read"), "{log}");
    follower.act("trigger_ledger_rekey", Value::Null);
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

/// A recovery passes over a positions table that was damaged, for the entries say the same; so does whoever needs them.
#[test]
fn a_node_joins_one_whose_positions_tables_are_damaged() {
    let place = place();
    let complete: Vec<_> = support::chunks(&place.ledger())
        .into_iter()
        .map(|(_, path)| path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "committed"))
        .collect();
    assert!(complete.len() > 3, "{complete:?}");
    let damage = |path: &std::path::Path, how: fn(&mut Vec<u8>)| {
        let mut bytes = std::fs::read(path).unwrap();
        how(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    };
    damage(&complete[0], |bytes| bytes.extend([0x2a; 100]));
    damage(&complete[1], |bytes| *bytes.last_mut().unwrap() ^= 1);
    damage(&complete[2], |bytes| bytes[2] ^= 1);
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let beside = joiner(&place, &leader.url, "follower");
    let mut follower = beside.start();
    follower.wait_for_members();
    let reached = committed(&leader);
    wait_for_seqno(&mut follower, reached);
    follower.stop();
    verify(&beside.ledger(), reached);
}

#[test]
fn a_node_that_members_trust_joins_the_open_service_and_governs_it_after_the_hand_over() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.open();
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.wait_for_commit();
    let beside = joiner(&place, &leader.url, "follower");
    let mut follower = beside.start();
    trust(&leader, &mut follower);
    follower.wait_until_open();
    wait_for_seqno(&mut follower, committed(&leader));
    // What was before it came, and before the disaster, it proves as any other node.
    let transaction = "2.3";
    let receipt = |node: &Node<'_>| {
        let path = format!("/node/receipt?transaction_id={transaction}");
        node.run(node.anyone().get(&path)).unwrap().json::<Value>().ok()
    };
    let proven = follower.wait_until("it proves what is old", receipt);
    let other = leader.wait_until("so does the leader", receipt);
    assert_eq!(
        (&proven["leaf_components"], &proven["proof"]),
        (&other["leaf_components"], &other["proof"])
    );

    let mut voters = leader.voters();
    let hand_over = leader.hand_over(&voters.remove(0));
    let proposal = leader.wait_until("it is proposed", |node| {
        let proposals = node
            .run(rekindle::member::governance::proposals(node.client()))
            .unwrap();
        let open = proposals.iter().find(|proposal| proposal["proposalState"] == "Open")?;
        Some(open["proposalId"].as_str().unwrap().to_owned())
    });
    for voter in &voters {
        let state = leader.vote(voter, &proposal);
        if state.is_ok_and(|state| state["proposalState"] == "Accepted") {
            break;
        }
    }
    let said = leader.wait_for_end();
    assert!(said.success(), "{}", leader.log());
    let told = hand_over.wait_with_output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(primary(&follower), Some(id(&follower)));
    let before = committed(&follower);
    follower.act("trigger_ledger_rekey", Value::Null);
    follower.act("trigger_recovery_shares_refresh", Value::Null);
    follower.act("trigger_snapshot", Value::Null);
    follower.wait_for_commit();
    assert!(committed(&follower) > before);
    follower.wait_until("it has written a snapshot", |_| newest_snapshot(&beside));
    let last = check_snapshot(&mut follower, &beside, &place);
    follower.stop();
    verify(&beside.ledger(), last);
    rekindle!["compare", "--json", place.ledger(), beside.ledger()].expect(0);
    // The ledger that it leaves can be recovered with the shares that it has given out.
    let mut again = Place::of(&beside.directory);
    again.config["consensus"] = consensus();
    let mut recovered = again.start();
    recovered.wait_for("PartOfPublicNetwork");
    recovered.open();
    recovered.stop();
}

/// Who begins with the newest snapshot of the node that leads, which is of `of`, and has nothing else, has everything private that
/// the whole ledger has; answers up to which seqno that was looked at.
#[track_caller]
fn check_snapshot(leader: &mut Node<'_>, of: &Place, first: &Place) -> u64 {
    let mut place = joiner(first, &leader.url, "beginner");
    place.config["command"]["join"]["fetch_recent_snapshot"] = json!(true);
    let mut beginner = place.start();
    trust(leader, &mut beginner);
    beginner.wait_until_open();
    assert!(
        beginner.state()["startup_seqno"].as_u64() > Some(438),
        "{}",
        beginner.log()
    );
    leader.wait_for_commit();
    let last = committed(leader);
    wait_for_seqno(&mut beginner, last);
    beginner.stop();
    let state = |place: &Place| {
        let snapshots = place.directory.join("snapshots");
        let (snapshots, at) = (snapshots.to_str().unwrap(), last.to_string());
        Service::at(place.directory.clone()).export(true, &["--snapshots", snapshots, "--at", &at])
    };
    let whole = state(of);
    assert!(whole.iter().any(|line| line["private"] == json!(true)));
    assert!(
        whole == state(&place),
        "the snapshot holds another state than the ledger"
    );
    last
}

#[test]
fn where_the_leader_is_killed_another_leads_and_nothing_committed_is_lost() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    leader.open();
    for node in &mut nodes {
        node.wait_until_open();
    }
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.wait_for_commit();
    let kept = last_committed(&leader);
    leader.kill();
    let killed = Instant::now();
    let first = wait_for_leader(&mut nodes);
    let took = killed.elapsed();
    assert!(took < 3 * ELECTION, "{took:?}: {}", nodes[first].log());
    let node = &mut nodes[first];
    node.wait_for_commit();
    assert_eq!(status(node, &kept), "Committed");
    node.act("trigger_ledger_rekey", Value::Null);
    node.act("trigger_snapshot", Value::Null);
    node.wait_for_commit();
    let last = committed(node);
    for node in &mut nodes {
        wait_for_seqno(node, last);
        assert_eq!(status(node, &kept), "Committed");
    }
    for node in nodes {
        node.stop();
    }
    for place in &places {
        verify(&place.ledger(), last);
    }
    rekindle!["compare", "--json", places[0].ledger(), places[1].ledger()].expect(0);
    // Of the one that was killed: what it had committed is what the others have.
    rekindle!["compare", "--json", place.ledger(), places[0].ledger()].expect(0);
}

#[test]
fn where_the_leader_dies_with_half_of_the_shares_another_completes_the_recovery() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    leader.wait_for_members();
    leader.pass(&leader.opening());
    let keys = place.keys();
    let with_share = keys.iter().filter(|keys| keys.encryption.is_some());
    let submitted = with_share
        .filter(|keys| leader.submit_share(keys).is_ok())
        .take(1)
        .count();
    assert_eq!(submitted, 1);
    leader.wait_for_commit();
    leader.kill();
    let first = wait_for_leader(&mut nodes);
    let node = &mut nodes[first];
    node.wait_for_commit();
    node.submit_shares(&keys);
    for node in &mut nodes {
        node.wait_until_open();
    }
    let node = &mut nodes[first];
    node.act("trigger_ledger_rekey", Value::Null);
    node.act("trigger_snapshot", Value::Null);
    node.wait_for_commit();
    node.wait_until("it has written a snapshot", |_| newest_snapshot(&places[first]));
    let last = check_snapshot(node, &places[first], &place);
    for node in &mut nodes {
        wait_for_seqno(node, last);
    }
    for node in nodes {
        node.stop();
    }
    for place in &places {
        verify(&place.ledger(), last);
    }
    rekindle!["compare", "--json", places[0].ledger(), places[1].ledger()].expect(0);
}

#[test]
fn a_node_that_can_not_join_says_why_and_what_to_do() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();

    let other = joiner(&place, &leader.url, "other");
    let certificate = place.directory.join("common/service_cert.pem");
    std::fs::copy(certificate, other.directory.join("service_cert.pem")).unwrap();
    let said = other.refused();
    assert!(
        said.contains("is not endorsed by the service") && said.contains("newest certificate"),
        "{said}"
    );

    let full = joiner(&place, &leader.url, "full");
    std::fs::create_dir(full.ledger()).unwrap();
    std::fs::write(full.ledger().join("ledger_1-20.committed"), "old").unwrap();
    let said = full.refused();
    assert!(
        said.contains("holds a ledger already (ledger_1-20.committed)") && said.contains("Move what is there away"),
        "{said}"
    );
    let kept = std::fs::read(full.ledger().join("ledger_1-20.committed")).unwrap();
    assert_eq!(kept, b"old");

    let nobody = joiner(&place, "https://127.0.0.1:1", "nobody");
    let said = nobody.refused();
    assert!(
        said.contains("nobody can be asked at 127.0.0.1:1") && said.contains("target_rpc_address"),
        "{said}"
    );
    assert!(!nobody.directory.join("node_cert.pem").exists(), "it has left nothing");

    let mut unreachable = joiner(&place, &leader.url, "unreachable");
    unreachable.config["network"]
        .as_object_mut()
        .unwrap()
        .remove("node_to_node_interface");
    let said = unreachable.refused();
    assert!(said.contains("network.node_to_node_interface is missing"), "{said}");
    // Nobody of them has held up the one that was asked.
    leader.open();
    leader.stop();
}

#[test]
fn who_can_not_reach_the_leader_says_so_to_whoever_wants_to_write() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let mut beside = joiner(&place, &leader.url, "follower");
    beside.config["network"]["rpc_interfaces"]["test"]["forwarding_timeout_ms"] = json!(200);
    let mut follower = beside.start();
    follower.wait_for("PartOfPublicNetwork");
    follower.wait_for_members();
    let write = |node: &Node<'_>| node.post("/gov/members/proposals:create", b"nothing", Some("application/cose"));
    // The answer is the leader's, with its transaction.
    let answer = write(&follower);
    assert_eq!((answer.status.as_u16(), write(&leader).status), (401, answer.status));
    leader.signal(rustix::process::Signal::STOP);
    let answer = write(&follower);
    assert_eq!(answer.status, 504, "{}", String::from_utf8_lossy(&answer.body));
    // Before, its connection may end, which is said too.
    follower.wait_until("it knows no leader", |node| {
        let answer = write(node);
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status == 503 && said.contains("does not know which one does")).then_some(())
    });
    leader.signal(rustix::process::Signal::CONT);
    follower.wait_until("they agree again", |node| (write(node).status == 401).then_some(()));
}

#[test]
fn a_node_begins_with_the_newest_snapshot_of_the_open_service_and_can_take_it_over() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.open();
    leader.act("trigger_snapshot", Value::Null);
    leader.wait_until("there is a snapshot", |_| newest_snapshot(&place));
    let mut beside = joiner(&place, &leader.url, "follower");
    beside.config["command"]["join"]["fetch_recent_snapshot"] = json!(true);
    let mut follower = beside.start();
    trust(&leader, &mut follower);
    follower.wait_until_open();
    let seqno = follower.state()["startup_seqno"].as_u64().unwrap();
    let (first, began) = snapshots(&beside).remove(0);
    assert!(seqno > 438 && seqno == first, "{}", follower.log());
    wait_for_seqno(&mut follower, committed(&leader));
    let files = std::fs::read_dir(beside.ledger()).unwrap();
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let after = format!("ledger_{}", seqno + 1);
    assert!(names.any(|name| name.split('-').next().unwrap() == after), "{after}");
    assert!(!beside.ledger().join("ledger_1").exists());

    let mut third_place = joiner(&place, &follower.url, "third");
    third_place.config["command"]["join"]["fetch_recent_snapshot"] = json!(true);
    // It is asked by way of the one that follows, which sends to the one that leads.
    let mut third = third_place.start();
    trust(&leader, &mut third);
    let begun = newest_snapshot(&third_place).unwrap();
    third.wait_until_open();
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.wait_for_commit();
    let kept = last_committed(&leader);
    wait_for_seqno(&mut third, committed(&leader));
    leader.kill();
    let mut nodes = [follower, third];
    let first = wait_for_leader(&mut nodes);
    let node = &mut nodes[first];
    node.wait_for_commit();
    assert_eq!(status(node, &kept), "Committed");
    node.act("trigger_recovery_shares_refresh", Value::Null);
    node.wait_for_commit();
    let last = committed(node);
    for node in &mut nodes {
        wait_for_seqno(node, last);
    }
    for node in nodes {
        node.stop();
    }
    for (place, first) in [(&beside, &began), (&third_place, &begun)] {
        verify_from(place, first, last);
    }
    // With the snapshot, its ledger is enough to recover from; everything private is there.
    let mut again = Place::of(&beside.directory);
    again.config["consensus"] = consensus();
    let mut recovered = again.start();
    recovered.wait_for("PartOfPublicNetwork");
    recovered.open();
    recovered.stop();
}

#[test]
fn a_snapshot_of_several_pieces_is_taken_as_it_is() {
    let place = place_of(&["--entries", "1000", "--value-size", "23500", "--chunk-size", "1000000"]);
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.open();
    leader.act("trigger_snapshot", Value::Null);
    leader.wait_until("there is a snapshot", |_| newest_snapshot(&place));
    let mut beside = joiner(&place, &leader.url, "follower");
    beside.config["command"]["join"]["fetch_recent_snapshot"] = json!(true);
    let mut follower = beside.start();
    trust(&leader, &mut follower);
    follower.wait_until_open();
    let (first, began) = snapshots(&beside).remove(0);
    assert_eq!(follower.state()["startup_seqno"], json!(first), "{}", follower.log());
    let (fetched, served) = (
        std::fs::read(&began).unwrap(),
        place.directory.join("snapshots").join(began.file_name().unwrap()),
    );
    assert!(fetched.len() > 2 * (8 << 20), "{} bytes are not enough", fetched.len());
    assert!(fetched == std::fs::read(served).unwrap());
    follower.stop();
    leader.stop();
}

#[test]
fn where_the_recovery_began_with_a_snapshot_others_begin_with_it_and_read_the_private_ledger_from_there() {
    let place = place_with(&["--snapshot-every", "100"]);
    let mut leader = place.start();
    let began = leader.wait_for("PartOfPublicNetwork")["startup_seqno"]
        .as_u64()
        .unwrap();
    assert!(began > 0, "{}", leader.log());
    leader.wait_for_commit();
    // One that would begin with nothing is not taken, as in CCF.
    let without = joiner(&place, &leader.url, "without").refused();
    assert!(without.contains("StartupSeqnoIsOld"), "{without}");
    let mut beside = joiner(&place, &leader.url, "follower");
    beside.config["command"]["join"]["fetch_recent_snapshot"] = json!(true);
    let mut follower = beside.start();
    follower.wait_for("PartOfPublicNetwork");
    assert_eq!(follower.state()["startup_seqno"], json!(began), "{}", follower.log());
    follower.wait_for_members();
    leader.open();
    follower.wait_until_open();
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.wait_for_commit();
    wait_for_seqno(&mut follower, committed(&leader));
    follower.stop();
    let last = committed(&leader);
    leader.stop();
    verify_from(&beside, &snapshots(&beside)[0].1, last);
    let mut again = Place::of(&beside.directory);
    again.config["consensus"] = consensus();
    let mut recovered = again.start();
    recovered.wait_for("PartOfPublicNetwork");
    recovered.open();
    recovered.stop();
}

#[test]
fn a_node_that_waits_for_members_says_so_and_ends_when_it_is_told_to() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.open();
    let beside = joiner(&place, &leader.url, "follower");
    let mut follower = beside.start();
    let state = follower.wait_for("Pending");
    assert_eq!(state["recovery"]["phase"], "asking to join the service", "{state}");
    follower.wait_until("it says what it waits for", |node| {
        node.log().contains("members have to trust it first").then_some(())
    });
    assert_eq!(follower.get("/node/ready/gov").status, 503);
    follower.stop();
    assert!(!beside.directory.join("node_cert.pem").exists(), "it has left nothing");
    // It holds up nobody, and the next one is another node.
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.wait_for_commit();
    let mut again = beside.start();
    trust(&leader, &mut again);
    again.wait_until_open();
    again.stop();
    leader.stop();
}

#[test]
fn the_node_that_began_the_recovery_follows_the_one_that_completed_it_and_its_ledger_is_whole() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    leader.wait_for_members();
    leader.pass(&leader.opening());
    leader.wait_for_commit();
    // It hangs for as long as it takes to elect another.
    leader.signal(rustix::process::Signal::STOP);
    let first = wait_for_leader(&mut nodes);
    nodes[first].wait_for_commit();
    leader.signal(rustix::process::Signal::CONT);
    let new = id(&nodes[first]);
    leader.wait_until("it follows", |node| {
        (primary(node).as_ref() == Some(&new)).then_some(())
    });
    let node = &mut nodes[first];
    node.submit_shares(&place.keys());
    node.wait_until_open();
    leader.wait_until_open();
    assert!(
        !nodes[first].log().contains("has not said that it has read"),
        "{}",
        nodes[first].log()
    );
    // What it does not do itself it passes on.
    leader.act("trigger_ledger_rekey", Value::Null);
    leader.act("trigger_ledger_chunk", Value::Null);
    leader.wait_for_commit();
    let last = committed(&nodes[first]);
    wait_for_seqno(&mut leader, last);
    for node in nodes {
        node.stop();
    }
    leader.stop();
    let files = std::fs::read_dir(place.ledger()).unwrap();
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(names.all(|name| !name.ends_with(".recovery")));
    place.verify();
    rekindle!["compare", "--json", place.ledger(), places[first].ledger()].expect(0);
    let mut again = place.again();
    again.config["consensus"] = consensus();
    let mut recovered = again.start();
    recovered.wait_for("PartOfPublicNetwork");
    recovered.open();
    recovered.stop();
}

/// Has nodes of this machine seal in the ledger.
fn seals_as(place: &mut Place, name: &str) {
    let key = place.directory.join("sealing_key.hex");
    std::fs::write(&key, format!("{:02x}", name.len()).repeat(32)).unwrap();
    place.arguments = vec!["--insecure-sealing-key".to_owned(), key.to_str().unwrap().to_owned()];
    place.config["sealing_recovery"] = json!({"location": {"name": name, "address": "127.0.0.1:1"}});
}

#[test]
fn the_machine_of_a_node_that_joined_opens_the_service_with_what_that_had_sealed() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    // One is trusted at once, the other one by members.
    let mut places = ["early", "afterwards"].map(|name| {
        let mut place = joiner(&place, &leader.url, name);
        seals_as(&mut place, name);
        place
    });
    places[1].config["command"]["join"]["fetch_recent_snapshot"] = json!(false);
    let mut early = places[0].start();
    early.wait_for("PartOfPublicNetwork");
    early.wait_for_members();
    leader.open();
    early.wait_until_open();
    let mut late = places[1].start();
    trust(&leader, &mut late);
    late.wait_until_open();
    let last = {
        leader.wait_for_commit();
        committed(&leader)
    };
    for node in [&mut early, &mut late] {
        wait_for_seqno(node, last);
    }
    for node in [early, late, leader] {
        node.stop();
    }
    for (place, name) in places.iter().zip(["early", "afterwards"]) {
        let mut again = Place::of(&place.directory);
        again.config["consensus"] = consensus();
        seals_as(&mut again, name);
        let mut recovered = again.start();
        recovered.wait_for("PartOfPublicNetwork");
        recovered.wait_for_members();
        recovered.pass(&recovered.opening());
        // Nobody gives a share.
        recovered.wait_until_open();
        let unsealing = recovered.state()["recovery"]["sealing"]["unsealing"].clone();
        assert!(unsealing["used"].is_string(), "{unsealing}");
        recovered.stop();
    }
}

#[test]
fn the_last_node_is_not_removed() {
    let place = place();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let before = node.json("/node/network/nodes");
    let remove = json!({"actions": [{"name": "remove_node", "args": {"node_id": id(&node)}}]});
    let voters = node.voters();
    let mut answer = node.propose(&voters[0], &remove);
    for voter in &voters {
        let Ok(state) = &answer else { break };
        let proposal = state["proposalId"].as_str().unwrap().to_owned();
        answer = node.vote(voter, &proposal);
    }
    let why = answer.unwrap_err().to_string();
    assert!(why.contains("removes the last trusted node"), "{why}");
    assert_eq!(node.json("/node/network/nodes"), before);
    node.act("trigger_ledger_rekey", Value::Null);
    node.wait_for_commit();
    node.stop();
    place.verify();
}

#[test]
fn a_node_that_was_killed_is_not_waited_for_as_long_as_one_that_may_still_read() {
    let place = place();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| joiner(&place, &leader.url, name));
    let mut nodes = join_public(&mut leader, &places);
    nodes.pop().unwrap().kill();
    leader.wait_for_members();
    leader.pass(&leader.opening());
    let began = Instant::now();
    leader.submit_shares(&place.keys());
    leader.wait_until_open();
    let took = began.elapsed();
    assert!(took < 8 * ELECTION, "{took:?}: {}", leader.log());
    let log = leader.log();
    assert!(
        log.contains("nor has it acknowledged anything for 4 election time-outs"),
        "{log}"
    );
    for node in nodes {
        node.stop();
    }
    leader.stop();
}

#[test]
fn a_session_that_has_written_is_answered_by_the_node_that_leads_until_another_one_does() {
    const READ: &str = "GET /gov/members/proposals?api-version=2024-07-01 HTTP/1.1\r\nhost: n\r\n\r\n";
    const WRITE: &str = "POST /gov/members/proposals:create?api-version=2024-07-01 HTTP/1.1\r\nhost: n\r\n\
                         content-type: application/cose\r\ncontent-length: 7\r\n\r\nnothing";
    const OWN: &str = "GET /node/state HTTP/1.1\r\nhost: n\r\n\r\n";
    // Nobody else is to lead before this one is gone, however busy the machine is.
    let patient = json!({"message_timeout": "50ms", "election_timeout": "6s"});
    let mut place = place();
    place.config["consensus"] = patient.clone();
    let mut leader = place.start();
    leader.wait_for("PartOfPublicNetwork");
    leader.wait_for_commit();
    let places = ["second", "third"].map(|name| {
        let mut place = joiner(&place, &leader.url, name);
        place.config["network"]["rpc_interfaces"]["test"]["forwarding_timeout_ms"] = json!(1000);
        place.config["consensus"] = patient.clone();
        place
    });
    let mut nodes = join_public(&mut leader, &places);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = nodes[0].url.strip_prefix("https://").unwrap().parse().unwrap();
    let client = tls_client();
    let open = || runtime.block_on(connect(address, &client)).unwrap();
    let status = |session: &mut _, request: &str| runtime.block_on(exchange(session, request)).status;
    let (mut writes, mut reads) = (open(), open());
    assert_eq!((status(&mut writes, READ), status(&mut reads, READ)), (200, 200));
    assert_eq!(status(&mut writes, WRITE), 401);
    assert_eq!(status(&mut writes, READ), 200);
    // It does not answer any more, and who has only read does not notice.
    leader.signal(rustix::process::Signal::STOP);
    assert_eq!(status(&mut reads, READ), 200);
    assert_eq!(status(&mut writes, READ), 504);
    assert_eq!(
        status(&mut writes, OWN),
        200,
        "what a node says of itself it says itself"
    );
    leader.kill();
    wait_for_leader(&mut nodes);
    // What was read may be gone: that is said once.
    let lost = runtime.block_on(exchange(&mut writes, READ));
    assert_eq!(lost.status, 500);
    assert!(
        String::from_utf8_lossy(&lost.body).contains("SessionConsistencyLost"),
        "{lost:?}"
    );
    nodes[0].wait_until("it goes on", |_| (status(&mut writes, READ) == 200).then_some(()));
    assert_eq!(status(&mut reads, READ), 200);
    for node in nodes {
        node.stop();
    }
}
