//! What can go wrong in a recovery, and what a node must do about it: refuse with words that help, change nothing, live on.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::kills;
use crate::node::{self, Keys, Node, Place, read_keys};
use crate::support::{self, Service, chunks, contents};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Method;
use rekindle::member::{Client, Error, MessageType, Refusal, Session, Trust, governance};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

/// A small service in several chunks.
fn service(options: &[&str]) -> Service {
    let mut all = vec!["--entries", "100", "--signature-every", "10", "--chunk-size", "9000"];
    all.extend(options);
    Service::made(&all)
}

/// A node that members can speak to.
#[track_caller]
fn public(place: &Place) -> Node<'_> {
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node
}

/// The same, waiting for shares.
#[track_caller]
fn waiting(place: &Place) -> Node<'_> {
    let node = public(place);
    node.pass(&node.opening());
    node
}

#[track_caller]
fn refusal(answer: Result<Value, Error>) -> Refusal {
    match answer {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(answer) => panic!("not refused: {answer}"),
    }
}

#[track_caller]
fn assert_refused(answer: Result<Value, Error>, status: u16, code: &str) -> Refusal {
    let refusal = refusal(answer);
    assert_eq!(
        (refusal.status.as_u16(), refusal.code.as_str()),
        (status, code),
        "{refusal:?}"
    );
    refusal
}

/// That a node refuses to start with all of `words`, and leaves the ledger as it was, to the last byte.
#[track_caller]
fn refuses(place: &Place, words: &[&str]) -> String {
    let before = contents(&place.ledger());
    let said = place.refused();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(before == contents(&place.ledger()), "the ledger was changed");
    said
}

// Identities

#[test]
fn a_wrong_previous_identity_is_refused_at_the_start() {
    let service = service(&[]);
    let other = Service::made(&["--entries", "1", "--members", "1", "--threshold", "1", "--seed", "2"]);
    let place = Place::of(&service.directory).with_previous_identity();
    std::fs::copy(
        other.common("service_cert.pem"),
        place.directory.join("previous_service_cert.pem"),
    )
    .unwrap();
    refuses(
        &place,
        &[
            "Previous service identity does not match",
            "previous_service_identity_file",
        ],
    );
    std::fs::remove_file(place.directory.join("previous_service_cert.pem")).unwrap();
    refuses(&place, &["previous_service_cert.pem"]);
    std::fs::write(place.directory.join("previous_service_cert.pem"), "not a certificate").unwrap();
    refuses(&place, &["is not a service certificate"]);
}

#[test]
fn a_start_that_is_refused_does_not_finish_the_opening_of_the_service_before() {
    let service = service(&["--recoveries", "1"]);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(service.directory.join("expected.json")).unwrap()).unwrap();
    let created = expected["services"][1]["from_seqno"].as_u64().unwrap();
    // A node was killed when its service had opened: before the first file had its name, and before the last had.
    for unnamed in [0, 1] {
        let place = Place::of(&service.directory).with_previous_identity();
        let of_recovery = chunks(&place.ledger())
            .into_iter()
            .filter(|(first, _)| *first >= created);
        let of_recovery: Vec<_> = of_recovery.map(|(_, path)| path).collect();
        assert!(of_recovery.len() > 2);
        for path in &of_recovery[..of_recovery.len() - unnamed] {
            std::fs::rename(path, format!("{}.recovery", path.display())).unwrap();
        }
        let own = place.directory.join("previous_service_cert.pem");
        let right = std::fs::read(&own).unwrap();
        let other = Service::made(&["--entries", "1", "--members", "1", "--threshold", "1", "--seed", "2"]);
        std::fs::copy(other.common("service_cert.pem"), &own).unwrap();
        refuses(&place, &["Previous service identity does not match"]);
        std::fs::write(&own, right).unwrap();
        place.recover();
        let report = place.verify();
        assert_eq!(report["services"].as_array().unwrap().len(), 3, "{report}");
        let names: Vec<_> = chunks(&place.ledger()).into_iter().map(|(_, path)| path).collect();
        for path in &of_recovery {
            assert!(names.contains(path), "{} is not in {names:?}", path.display());
        }
    }
}

#[test]
fn a_wrong_identity_in_the_proposal_fails_the_deciding_ballot_and_can_be_put_right() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    let voters = node.voters();
    let right = node.opening();
    let foreign = voters[0].member.certificate().to_pem();
    for (field, words) in [
        ("next_service_identity", "does not match the current service identity"),
        ("previous_service_identity", "Previous service identity does not match"),
    ] {
        let mut wrong = right.clone();
        wrong["actions"][0]["args"][field] = json!(foreign);
        let proposal = node.propose(&voters[0], &wrong).unwrap();
        let id = proposal["proposalId"].as_str().unwrap();
        assert_eq!(node.vote(&voters[0], id).unwrap()["proposalState"], "Open");
        // Twice: the ballot that failed is not stored, and can be submitted again.
        for _ in 0..2 {
            let refusal = assert_refused(node.vote(&voters[1], id), 500, "InternalError");
            assert!(refusal.message.contains(words), "{}", refusal.message);
            let ballot = node.run(governance::ballot(node.client(), id, voters[1].member.id()));
            assert_eq!(ballot.unwrap(), None);
            let proposal = node.run(governance::proposal(node.client(), id)).unwrap();
            assert_eq!(
                (&proposal["proposalState"], &proposal["ballotCount"]),
                (&json!("Open"), &json!(1))
            );
        }
        let status = node.json("/node/network")["service_status"].clone();
        assert_eq!(status, "Recovering");
    }
    node.open();
    node.stop();
    place.verify();
}

// Shares

/// A member's share, opened.
#[track_caller]
fn share(node: &Node<'_>, keys: &Keys) -> Vec<u8> {
    let path = format!(
        "/gov/recovery/encrypted-shares/{}?api-version=2024-07-01",
        keys.member.id()
    );
    let encrypted = node.json(&path)["encryptedShare"].as_str().unwrap().to_owned();
    let encrypted = STANDARD.decode(encrypted).unwrap();
    keys.encryption.as_ref().unwrap().decrypt(&encrypted).unwrap().to_vec()
}

/// Submits anything as a share.
fn submit(node: &Node<'_>, keys: &Keys, share: &[u8]) -> Result<Value, Error> {
    let body = json!({"share": STANDARD.encode(share)}).to_string();
    submit_body(node, keys, &body)
}

fn submit_body(node: &Node<'_>, keys: &Keys, body: &str) -> Result<Value, Error> {
    let signed = keys
        .member
        .sign(MessageType::RecoveryShare, governance::now_s(), None, body.as_bytes())
        .unwrap();
    let path = format!("/gov/recovery/members/{}:recover", keys.member.id());
    node.post(&path, &signed, Some("application/cose")).json()
}

/// What findings of the node say.
fn findings(node: &Node<'_>) -> String {
    node.state()["recovery"]["findings"].to_string()
}

#[test]
fn a_share_that_cant_be_one_is_refused_and_costs_nobody_anything() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    let keys = node.voters();
    let good = share(&node, &keys[0]);
    for bad in [&good[..good.len() - 1], &[], &[7; 200]] {
        assert_refused(submit(&node, &keys[0], bad), 400, "InvalidInput");
    }
    for body in ["", "{}", "[]", r#"{"share":7}"#, r#"{"share":"%%"}"#] {
        assert_refused(submit_body(&node, &keys[0], body), 400, "InvalidInput");
    }
    // In another member's name.
    let signed = keys[0]
        .member
        .sign(
            MessageType::RecoveryShare,
            governance::now_s(),
            None,
            json!({"share": STANDARD.encode(&good)}).to_string().as_bytes(),
        )
        .unwrap();
    let path = format!("/gov/recovery/members/{}:recover", keys[1].member.id());
    let answer = node.post(&path, &signed, Some("application/cose")).json();
    assert_refused(answer, 400, "InvalidResourceName");
    // The same one twice counts once.
    for _ in 0..2 {
        assert_eq!(submit(&node, &keys[0], &good).unwrap()["submittedCount"], 1);
    }
    node.submit_shares(&keys[1..]);
    node.wait_until_open();
    node.stop();
    place.verify();
}

#[test]
fn shares_before_they_are_asked_for_and_after_they_were_used_are_refused() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    let keys = node.voters();
    assert_refused(node.submit_share(&keys[0]), 403, "ServiceNotWaitingForRecoveryShares");
    node.open();
    assert_refused(node.submit_share(&keys[0]), 403, "ServiceNotWaitingForRecoveryShares");
    node.stop();
}

#[test]
fn a_wrong_share_fails_the_round_and_one_more_share_names_it() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    let keys = node.voters();
    let mut wrong = share(&node, &keys[0]);
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(submit(&node, &keys[0], &wrong).unwrap()["submittedCount"], 1);
    let refusal = assert_refused(node.submit_share(&keys[1]), 500, "InternalError");
    assert!(
        refusal.message.contains("Failed to initiate private recovery."),
        "{refusal:?}"
    );
    assert!(refusal.message.contains("The shares are kept"), "{refusal:?}");
    assert_eq!(node.state()["state"], "PartOfPublicNetwork");
    let answer = node.submit_share(&keys[2]).unwrap();
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("End of recovery procedure"),
        "{answer}"
    );
    node.wait_until_open();
    let said = findings(&node);
    assert!(said.contains(keys[0].member.id()), "{said}");
    for right in &keys[1..] {
        assert!(!said.contains(right.member.id()), "{said}");
    }
    node.stop();
    place.verify();
}

#[test]
fn a_share_that_comes_before_the_last_one_is_committed_does_not_begin_the_recovery_again() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    let keys = place.keys();
    let shares: Vec<Vec<u8>> = keys.iter().map(|keys| share(&node, keys)).collect();
    submit(&node, &keys[0], &shares[0]).unwrap();
    node.wait_for_commit();
    // Nothing more is written from here on: what the second share opens waits to be committed.
    limit_files(&node, Some(1));
    let body = json!({"share": STANDARD.encode(&shares[1])}).to_string();
    let signed = keys[1]
        .member
        .sign(MessageType::RecoveryShare, governance::now_s(), None, body.as_bytes());
    let path = format!(
        "/gov/recovery/members/{}:recover?api-version=2024-07-01",
        keys[1].member.id()
    );
    let (url, signed) = (node.url.clone(), signed.unwrap());
    let second = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = Client::new(&url, Trust::Anyone).unwrap();
        let answer = client.request(
            Method::POST,
            &path,
            Bytes::copy_from_slice(&signed),
            Some("application/cose"),
        );
        runtime.block_on(answer).unwrap().status.as_u16()
    });
    node.wait_until("the second share waits for the disk", |node| {
        let state = node.state();
        let phase = state["recovery"]["phase"].as_str().unwrap().to_owned();
        phase.starts_with("waiting for the disk").then_some(())
    });
    assert_refused(submit(&node, &keys[2], &shares[2]), 403, "NodeAlreadyRecovering");
    limit_files(&node, None);
    assert_eq!(second.join().unwrap(), 200);
    node.wait_until_ready("/node/ready/app");
    node.stop();
    place.verify();
}

#[test]
fn wrong_shares_of_everybody_are_cleared_and_everybody_may_submit_again() {
    let service = service(&["--members", "2", "--threshold", "2"]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    let keys = node.voters();
    for round in 0..2 {
        let mut wrong = share(&node, &keys[round]);
        wrong[5] ^= 0x40;
        let answer = submit(&node, &keys[round], &wrong).unwrap();
        assert_eq!(answer["submittedCount"], 1, "round {round}");
        let refusal = assert_refused(node.submit_share(&keys[1 - round]), 500, "InternalError");
        assert!(
            refusal.message.contains("every member has to submit again"),
            "{refusal:?}"
        );
    }
    node.submit_shares(&keys);
    node.wait_until_open();
    node.stop();
    place.verify();
}

#[test]
fn a_share_from_before_a_refresh_is_found_out() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    node.open();
    let old = share(&node, &node.voters()[0]);
    node.act("trigger_recovery_shares_refresh", Value::Null);
    node.stop();
    let next = place.again();
    let mut node = waiting(&next);
    let keys = node.voters();
    assert!(old != share(&node, &keys[0]));
    submit(&node, &keys[0], &old).unwrap();
    assert_refused(node.submit_share(&keys[1]), 500, "InternalError");
    // The member's newest share replaces the old one.
    let answer = node.submit_share(&keys[0]).unwrap();
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("End of recovery procedure"),
        "{answer}"
    );
    node.wait_until_open();
    node.stop();
    next.verify();
}

// Requests of members and of others

fn set_data(member: &Keys, data: &str) -> Value {
    json!({"actions": [{"name": "set_member_data", "args": {"member_id": member.member.id(), "member_data": data}}]})
}

#[test]
fn a_proposal_counts_once_and_not_when_it_is_too_old() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let node = public(&place);
    let keys = node.voters();
    let body = set_data(&keys[0], "once").to_string();
    let now = governance::now_s();
    let signed = keys[0]
        .member
        .sign(MessageType::Proposal, now, None, body.as_bytes())
        .unwrap();
    let path = "/gov/members/proposals:create";
    let send = || node.post(path, &signed, Some("application/cose")).json::<Value>();
    let id = send().unwrap()["proposalId"].as_str().unwrap().to_owned();
    let refusal = assert_refused(send(), 400, "ProposalReplay");
    assert!(refusal.message.contains(&id), "{refusal:?}");
    let late = Session {
        client: node.client(),
        member: &keys[0].member,
        created_at_s: Some(now - 3600),
    };
    let answer = node.run(late.propose(set_data(&keys[0], "late").to_string().as_bytes()));
    let refusal = assert_refused(answer, 400, "ProposalCreatedTooLongAgo");
    assert!(refusal.message.contains(&now.to_string()), "{refusal:?}");
    let never = Session {
        created_at_s: Some(99_999_999_999),
        ..late
    };
    let answer = node.run(never.propose(set_data(&keys[0], "never").to_string().as_bytes()));
    assert_refused(answer, 400, "InvalidCreatedAt");
    let proposals = node.run(governance::proposals(node.client())).unwrap();
    let open = proposals.iter().filter(|proposal| proposal["proposalState"] == "Open");
    assert_eq!(open.count(), 1, "{proposals:?}");
    node.stop();
}

#[test]
fn ballots_that_are_counted_at_the_same_time_all_count() {
    let service = service(&["--members", "5"]);
    let place = Place::of(&service.directory);
    let node = public(&place);
    let keys = place.keys();
    let proposed = node.propose(&keys[0], &set_data(&keys[0], "by everybody")).unwrap();
    let id = proposed["proposalId"].as_str().unwrap();
    // Long enough for each to begin before another is written.
    let ballot = "export function vote () { for (let i = 0; i < 5e6; i++) {} return true }";
    let body = json!({"ballot": ballot}).to_string();
    let votes = keys[..2].iter().map(|keys| {
        let signed = keys
            .member
            .sign(MessageType::Ballot, governance::now_s(), Some(id), body.as_bytes());
        let member = keys.member.id();
        let path = format!("/gov/members/proposals/{id}/ballots/{member}:submit?api-version=2024-07-01");
        (path, Bytes::copy_from_slice(&signed.unwrap()), node.anyone())
    });
    let votes: Vec<_> = votes.collect();
    node.run(async {
        let votes = votes.into_iter().map(|(path, signed, client)| {
            tokio::spawn(async move {
                let answer = client
                    .request(Method::POST, &path, signed, Some("application/cose"))
                    .await;
                assert!(answer.unwrap().status.is_success());
            })
        });
        for vote in votes.collect::<Vec<_>>() {
            vote.await.unwrap();
        }
    });
    let proposal = node.json(&format!("/gov/members/proposals/{id}?api-version=2024-07-01"));
    assert_eq!(proposal["ballotCount"], 2, "{proposal}");
    node.stop();
}

#[test]
fn strangers_and_inactive_members_are_not_heard() {
    let service = service(&[]);
    let other = Service::made(&["--entries", "1", "--members", "1", "--threshold", "1", "--seed", "2"]);
    let place = Place::of(&service.directory);
    let node = public(&place);
    let keys = node.voters();
    let stranger = &read_keys(&other.directory.join("common"))[0];
    let refusal = assert_refused(
        node.propose(stranger, &set_data(&keys[0], "x")),
        401,
        "InvalidAuthenticationInfo",
    );
    assert!(
        format!("{refusal:?}").contains("Signer is not a known member"),
        "{refusal:?}"
    );

    // A constitution that puts members to sleep.
    let constitution = r#"
        export function validate(input) { return {valid: true, description: ""}; }
        export function resolve(proposal, proposerId, votes) { return "Accepted"; }
        export function apply(text, proposalId) {
            const id = ccf.strToBuf(JSON.parse(text).actions[0].args);
            const table = ccf.kv["public:ccf.gov.members.info"];
            const info = ccf.bufToJsonCompatible(table.get(id));
            info.status = "Accepted";
            table.set(id, ccf.jsonCompatibleToBuf(info));
        }"#;
    node.act("set_constitution", json!({"constitution": constitution}));
    let sleep = json!({"actions": [{"name": "sleep", "args": keys[2].member.id()}]});
    assert_eq!(node.propose(&keys[0], &sleep).unwrap()["proposalState"], "Accepted");
    assert_eq!(node.voters().len(), 2);
    let refusal = assert_refused(node.propose(&keys[2], &sleep), 401, "InvalidAuthenticationInfo");
    assert!(
        format!("{refusal:?}").contains("Signer is not an ACTIVE member"),
        "{refusal:?}"
    );
    node.stop();
}

#[test]
fn requests_that_are_no_requests_are_answered_with_what_is_wrong() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let node = public(&place);
    let keys = node.voters();
    let path = "/gov/members/proposals:create";
    let body = set_data(&keys[0], "x").to_string();
    let signed = keys[0]
        .member
        .sign(MessageType::Proposal, governance::now_s(), None, body.as_bytes())
        .unwrap();

    let large = vec![b' '; (1 << 20) + 1];
    let answer = node.post(path, &large, Some("application/cose")).json();
    assert_refused(answer, 413, "RequestBodyTooLarge");
    for content_type in [None, Some("application/json"), Some("text/plain")] {
        let answer = node.post(path, &signed, content_type).json();
        assert_refused(answer, 401, "InvalidAuthenticationInfo");
    }
    // Signed for something else.
    let ballot = keys[0]
        .member
        .sign(
            MessageType::Ballot,
            governance::now_s(),
            Some(&"0".repeat(64)),
            body.as_bytes(),
        )
        .unwrap();
    for bytes in [&ballot[..], b"", b"\xd2", body.as_bytes(), &signed[..signed.len() - 1]] {
        let answer = node.post(path, bytes, Some("application/cose")).json();
        assert_refused(answer, 401, "InvalidAuthenticationInfo");
    }
    let mut forged = signed.to_vec();
    let at = forged.len() - 3;
    forged[at] ^= 1;
    let answer = node.post(path, &forged, Some("application/cose")).json();
    assert_refused(answer, 401, "InvalidAuthenticationInfo");
    for proposal in ["[]", "7", r#"{"actions":[{"name":"no_such_action"}]}"#] {
        let signed = keys[0]
            .member
            .sign(MessageType::Proposal, governance::now_s(), None, proposal.as_bytes())
            .unwrap();
        let answer = node.post(path, &signed, Some("application/cose")).json();
        assert_refused(answer, 400, "ProposalFailedToValidate");
    }
    let refused = node.get(path);
    assert_eq!(refused.status, 405);
    assert_eq!(node.get("/gov/service/info").status, 400, "no api-version");
    assert!(node.post(path, &signed, Some("application/cose")).status.is_success());
    node.stop();
}

// Scripts

/// The fixture's constitution, whose `resolve` first does what the proposal's first action is called.
const MISCHIEF: &str = r#"
    const first = (text) => JSON.parse(text).actions[0].name;
    export function validate(input) { return {valid: true, description: ""}; }
    export function resolve(text, proposerId, votes) {
        if (first(text) === "loop") { for (;;) {} }
        if (first(text) === "eat") { const all = []; for (;;) { all.push(new Array(100000).fill(7)); } }
        if (first(text) === "dive") { const dive = () => dive() + 1; return dive(); }
        if (first(text) === "throw") { throw new Error("thrown"); }
        return "Accepted";
    }
    export function apply(text, proposalId) {
        const args = JSON.parse(text).actions[0].args;
        ccf.node.transitionServiceToOpen(
            ccf.strToBuf(args.previous_service_identity), ccf.strToBuf(args.next_service_identity));
    }"#;

#[test]
fn a_constitution_that_loops_or_eats_memory_is_stopped_while_the_node_lives_on() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    let keys = node.voters();
    node.act("set_constitution", json!({"constitution": MISCHIEF}));
    let act = |name: &str| json!({"actions": [{"name": name}]});
    for name in ["eat", "dive", "throw"] {
        let refusal = assert_refused(node.propose(&keys[0], &act(name)), 500, "InternalError");
        assert!(refusal.message.contains("Failed to resolve()"), "{name}: {refusal:?}");
    }
    // Five seconds, in which everybody else is answered.
    let looping = std::thread::scope(|scope| {
        let (url, certificate) = (&node.url, place.directory.join("service_cert.pem"));
        let member = &keys[0].member;
        let looping = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let pem = std::fs::read_to_string(certificate).unwrap();
            let trust = rekindle::member::Trust::Service(rekindle::crypto::Certificate::from_pem(&pem).unwrap());
            let client = rekindle::member::Client::new(url, trust).unwrap();
            let body = json!({"actions": [{"name": "loop"}]}).to_string();
            runtime.block_on(Session::new(&client, member).propose(body.as_bytes()))
        });
        let (mut asked, mut slowest) = (0, Duration::ZERO);
        while !looping.is_finished() {
            let began = Instant::now();
            assert_eq!(node.state()["state"], "PartOfPublicNetwork");
            slowest = slowest.max(began.elapsed());
            asked += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(asked > 20, "{asked}");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
        looping.join().unwrap()
    });
    let refusal = assert_refused(looping, 500, "InternalError");
    assert!(refusal.message.contains("Failed to resolve()"), "{refusal:?}");
    node.open();
    node.stop();
    place.verify();
}

// Ledgers

/// The seqno after `--drop-after` in a refusal.
fn offered(said: &str) -> u64 {
    let (_, after) = said.rsplit_once("--drop-after ").expect(said);
    after
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn flip_in_the_middle(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Damages a copy of a ledger and expects: refused with the code and the seqno, nothing changed; refused with another
/// seqno to end at; recovered with the right one, and everything dropped kept aside.
#[track_caller]
fn is_refused_until_dropped(damage: impl FnOnce(&Path), words: &[&str]) {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    damage(&place.ledger());
    let said = refuses(&place, words);
    let last = offered(&said);
    assert!(
        said.contains(&format!("everything is proven up to seqno {last}")),
        "{said}"
    );
    for wrong in [last - 1, last + 1, 0] {
        place.arguments = vec!["--drop-after".to_owned(), wrong.to_string()];
        refuses(&place, &["there is no proven signature at this seqno"]);
    }
    let before = contents(&place.ledger());
    place.arguments = vec!["--drop-after".to_owned(), last.to_string()];
    let recovered = place.recover();
    assert!(recovered.public["last_signed_seqno"].as_u64().unwrap() >= last);
    place.verify();
    let after = contents(&place.ledger());
    for (path, (_, bytes)) in before {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(bytes) = bytes else { continue };
        let kept = after.get(&path).is_some_and(|(_, now)| now.as_ref() == Some(&bytes));
        let aside = after.get(&path.with_file_name(format!("{name}.ignored")));
        let aside = aside.is_some_and(|(_, now)| now.as_ref() == Some(&bytes));
        assert!(kept || aside, "{name} is neither kept nor set aside");
    }
    // Nothing that was proven is lost.
    let report = place.verify();
    assert_eq!(report["services"][1]["from_seqno"], last + 1);
}

#[test]
fn a_flipped_bit_in_a_committed_chunk_is_not_taken_for_the_end_of_the_ledger() {
    is_refused_until_dropped(
        |ledger| flip_in_the_middle(&chunks(ledger)[2].1),
        &["The replay fails at seqno", "L0", "Nothing was changed", "entries"],
    );
}

#[test]
fn a_missing_chunk_is_not_taken_for_the_end_of_the_ledger() {
    let remove = |ledger: &Path| std::fs::remove_file(&chunks(ledger)[2].1).unwrap();
    is_refused_until_dropped(remove, &["L0101", "Nothing was changed"]);
}

/// Whether a directory has a file of these bytes.
fn keeps(directory: &Path, wanted: &[u8]) -> bool {
    let mut files = contents(directory).into_values();
    files.any(|(_, bytes)| bytes.is_some_and(|bytes| bytes == wanted))
}

/// A chunk of a ledger in which more than one thing is signed, and the first signature in it.
fn a_chunk_and_its_first_signature(place: &Place) -> (u64, PathBuf, u64) {
    let (first, path) = chunks(&place.ledger()).remove(2);
    let output = std::process::Command::new(node::program())
        .args(["verify", "--json", "--until", &(first + 14).to_string()])
        .arg(place.ledger())
        .output();
    let report: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let (_, signed) = report["last_signed"].as_str().unwrap().split_once('.').unwrap();
    (first, path, signed.parse().unwrap())
}

#[test]
fn what_has_the_name_of_the_part_that_is_kept_is_set_aside_and_not_written_over() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    let (first, path, signed) = a_chunk_and_its_first_signature(&place);
    let name = place.ledger().join(format!("ledger_{first}-{signed}.committed"));
    assert_ne!(path, name);
    std::fs::write(&name, [0xee; 3000]).unwrap();
    place.arguments = vec!["--drop-after".to_owned(), signed.to_string()];
    let whole = std::fs::read(&path).unwrap();
    public(&place).stop();
    assert!(keeps(&place.ledger(), &[0xee; 3000]) && keeps(&place.ledger(), &whole));
    place.verify();
}

#[test]
fn a_chunk_that_holds_more_than_its_name_promises_is_kept_whole_beside_the_part() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    let (first, path, signed) = a_chunk_and_its_first_signature(&place);
    let name = place.ledger().join(format!("ledger_{first}-{signed}.committed"));
    std::fs::rename(&path, &name).unwrap();
    place.arguments = vec!["--drop-after".to_owned(), signed.to_string()];
    let whole = std::fs::read(&name).unwrap();
    public(&place).stop();
    assert!(name.exists() && keeps(&place.ledger(), &whole));
    place.verify();
}

#[test]
fn a_chunk_that_another_directory_has_too_is_not_changed_there() {
    let service = service(&[]);
    let links: [fn(&Path, &Path) -> std::io::Result<()>; 2] = [
        |original, link| std::os::unix::fs::symlink(original, link),
        |original, link| std::fs::hard_link(original, link),
    ];
    for link in links {
        let place = Place::of(&service.directory);
        let backup = place.directory.join("backup");
        std::fs::create_dir(&backup).unwrap();
        let (first, last) = chunks(&place.ledger()).pop().unwrap();
        let original = backup.join(format!("ledger_{first}"));
        std::fs::rename(last, &original).unwrap();
        link(&original, &place.ledger().join(format!("ledger_{first}"))).unwrap();
        let before = std::fs::read(&original).unwrap();
        place.recover();
        assert!(std::fs::read(&original).unwrap() == before, "the backup was written to");
        place.verify();
    }
}

#[test]
fn a_snapshot_newer_than_the_ledger_is_refused_with_what_is_missing() {
    let service = service(&["--snapshot-every", "50"]);
    let place = Place::of(&service.directory);
    for (first, path) in chunks(&place.ledger()) {
        if first > 20 {
            std::fs::remove_file(path).unwrap();
        }
    }
    refuses(&place, &["but the ledger ends at", "in no file"]);
}

#[test]
fn snapshots_that_a_crash_left_unfinished_are_neither_used_nor_held_against_the_ledger() {
    let service = service(&["--snapshot-every", "50"]);
    let place = Place::of(&service.directory);
    let snapshots = place.directory.join("snapshots");
    let whole = std::fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(snapshots.join("snapshot_90_91"), &bytes[..bytes.len() / 2]).unwrap();
    // Its evidence was never signed: another transaction has that seqno.
    std::fs::write(snapshots.join("snapshot_91_92"), &bytes).unwrap();
    let report = place.verify();
    assert_eq!(report["verdict"], "ok", "{report}");
    assert!(support::codes(&report).contains(&"L0507"), "{report}");
    place.recover();
    place.verify();
}

#[test]
fn a_rekey_writes_and_a_stop_while_a_snapshot_is_being_written_spoil_nothing() {
    // A state of 40 MB takes a third of a second to seal.
    let service = Service::made(&[
        "--entries",
        "20000",
        "--value-size",
        "2000",
        "--keys",
        "20000",
        "--private",
        "1.0",
        "--signature-every",
        "1000",
    ]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    let keys = place.keys();
    node.submit_shares(&keys);
    node.wait_until_open();
    node.act("trigger_ledger_rekey", Value::Null);
    node.pass(&set_data(&keys[0], "written meanwhile"));
    node.stop();
    assert!(!place.directory.join("snapshots/snapshot.part").exists());
    let report = place.verify();
    let snapshots = report["snapshots"].as_array().unwrap();
    assert!(
        !snapshots.is_empty() && snapshots.iter().all(|snapshot| snapshot["verdict"] == "ok"),
        "{report}"
    );
    // It is one that a recovery can start from, over the rekey.
    let recovered = Place::of(&place.directory).recover();
    let at = snapshots.last().unwrap()["seqno"].clone();
    assert_eq!(recovered.public["startup_seqno"], at);
}

#[test]
fn a_snapshot_that_cant_be_written_is_made_again_until_it_can() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = waiting(&place);
    // Its name is taken by what can't be written to.
    let taken = place.directory.join("snapshots/snapshot.part");
    std::fs::create_dir(&taken).unwrap();
    node.submit_shares(&place.keys());
    node.wait_until_open();
    node.wait_until("it has failed twice", |node| {
        let failed = node
            .log()
            .matches("a snapshot could not be written, another is made")
            .count();
        (failed > 1).then_some(())
    });
    std::fs::remove_dir(&taken).unwrap();
    node.wait_until("a snapshot is made", |node| {
        node.log().contains("snapshot committed").then_some(())
    });
    node.stop();
    let report = place.verify();
    let snapshots = report["snapshots"].as_array().unwrap();
    assert!(
        !snapshots.is_empty() && snapshots.iter().all(|snapshot| snapshot["verdict"] == "ok"),
        "{report}"
    );
}

#[test]
fn a_log_that_nobody_reads_stops_neither_the_node_nor_its_end() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    place.arguments = vec!["--log-level".to_owned(), "Debug".to_owned()];
    let (unread, full) = std::io::pipe().unwrap();
    let mut filler = full.try_clone().unwrap();
    let filling = std::thread::spawn(move || while filler.write_all(&[b'.'; 4096]).is_ok() {});
    std::thread::sleep(Duration::from_millis(100));
    let mut node = place.start_with(full.try_clone().unwrap(), full).unwrap();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    for _ in 0..20 {
        assert!(node.get("/node/network").status.is_success());
    }
    node.stop();
    drop(unread);
    filling.join().unwrap();
    place.verify();
}

#[test]
fn members_who_vote_at_the_same_moment_are_all_counted() {
    let service = service(&["--members", "5", "--threshold", "1"]);
    let place = Place::of(&service.directory);
    let node = public(&place);
    let voters = node.voters();
    assert_eq!(voters.len(), 5);
    let proposal = node.propose(&voters[0], &node.opening()).unwrap();
    let id = proposal["proposalId"].as_str().unwrap();
    // Two for it and two against it, of five: nothing is decided before all of them have voted.
    let answers = node.run(async {
        let mut votes = tokio::task::JoinSet::new();
        for (number, voter) in voters.into_iter().take(4).enumerate() {
            let (client, id) = (node.anyone(), id.to_owned());
            let ballot = format!("export function vote () {{ return {} }}", number % 2 == 0);
            votes.spawn(async move { Session::new(&client, &voter.member).vote(&id, &ballot).await });
        }
        votes.join_all().await
    });
    let counts: BTreeSet<u64> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap()["ballotCount"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, BTreeSet::from([1, 2, 3, 4]), "{answers:?}");
    node.stop();
}

#[test]
fn damage_below_the_snapshot_that_was_started_from_is_shown_while_the_node_goes_on() {
    let service = service(&["--snapshot-every", "50"]);
    let place = Place::of(&service.directory);
    let (_, oldest) = &chunks(&place.ledger())[0];
    flip_in_the_middle(oldest);
    let mut node = public(&place);
    let from = node.state()["startup_seqno"].as_u64().unwrap();
    assert!(from > 0, "it did not start from a snapshot");
    let name = oldest.file_name().unwrap().to_str().unwrap();
    let finding = node.wait_until("the damage is found", |node| {
        let state = node.state();
        let findings = state["recovery"]["findings"].as_array().unwrap();
        let error = |finding: &&Value| finding["severity"] == "error" && finding["file"].to_string().contains(name);
        findings.iter().find(error).cloned()
    });
    assert!(finding["seqno"].as_u64().unwrap() < from, "{finding}");
    node.open();
    node.stop();
}

#[test]
fn a_committed_tail_in_a_read_only_directory_is_refused_before_anything_is_changed() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    let found = chunks(&place.ledger());
    flip_in_the_middle(&found[1].1);
    let last = offered(&place.refused());
    // The damaged chunk would be cut where it is; the one after it can't be set aside.
    let archive = place.directory.join("archive");
    std::fs::create_dir(&archive).unwrap();
    let (_, after) = &found[2];
    std::fs::rename(after, archive.join(after.file_name().unwrap())).unwrap();
    place.config["ledger"]["read_only_directories"] = json!(["archive"]);
    place.arguments = vec!["--drop-after".to_owned(), last.to_string()];
    refuses(&place, &["is in a read-only directory", "take that directory out"]);
}

#[test]
fn what_is_signed_in_an_open_chunk_of_a_read_only_directory_is_not_lost_without_a_word() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    let other = place.directory.join("other");
    std::fs::create_dir(&other).unwrap();
    let (first, last) = chunks(&place.ledger()).pop().unwrap();
    std::fs::rename(last, other.join(format!("ledger_{first}"))).unwrap();
    place.config["ledger"]["read_only_directories"] = json!(["other"]);
    refuses(
        &place,
        &[
            "is not committed and in a read-only directory",
            "it holds a signature at",
        ],
    );
}

#[test]
fn an_empty_and_a_foreign_ledger_directory_are_refused() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    for (_, path) in chunks(&place.ledger()) {
        std::fs::remove_file(path).unwrap();
    }
    place.refused();
    std::fs::write(place.ledger().join("ledger_1-9.committed"), [0xff; 300]).unwrap();
    refuses(&place, &[]);
}

// Machines

/// How large a file of the node may become.
fn limit_files(node: &Node<'_>, bytes: Option<u64>) {
    limit_process(node.pid(), bytes);
}

fn limit_process(pid: u32, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    prlimit(pid, Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_stops_writing_and_nothing_else_and_when_there_is_room_again_nothing_is_lost() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    let keys = node.voters();
    // Makes the chunk larger than the log.
    let padding = "x".repeat(300_000);
    node.propose(&keys[0], &set_data(&keys[0], &padding)).unwrap();
    node.wait_for_commit();
    let written = |place: &Place| {
        let open = chunks(&place.ledger()).pop().unwrap().1;
        std::fs::metadata(open).unwrap().len()
    };
    limit_files(&node, Some(written(&place) + 2000));
    let (anyone, pid) = (node.anyone(), node.pid());
    let is_waiting = async move || {
        let state: Value = anyone.get("/node/state").await.unwrap().json().unwrap();
        assert_eq!(state["state"], "PartOfPublicNetwork");
        let phase = state["recovery"]["phase"].as_str().unwrap();
        phase.starts_with("waiting for the disk")
    };
    let (stalled, room) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        // Whoever only reads is served, over several attempts to write, and sees what is waited for.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(20);
            while !is_waiting().await {
                assert!(Instant::now() < deadline, "there is no room");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert!(is_waiting().await);
        });
        stalled.send(Instant::now()).unwrap();
        limit_process(pid, None);
    });
    for number in 0..10 {
        let proposal = set_data(&keys[0], &format!("{number}{}", &padding[..500]));
        node.propose(&keys[0], &proposal).unwrap();
    }
    assert!(
        room.try_recv().is_ok(),
        "somebody was answered although there was no room"
    );
    watch.join().unwrap();
    node.open();
    node.stop();
    let report = place.verify();
    assert_eq!(report["unsigned_entries"], 0);
}

#[test]
fn a_node_that_is_told_to_stop_on_a_full_disk_says_so_and_ends_by_itself() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    node.wait_for_members();
    node.wait_for_commit();
    let open = chunks(&place.ledger()).pop().unwrap().1;
    limit_files(&node, Some(std::fs::metadata(open).unwrap().len()));
    let keys = node.voters();
    let proposal = set_data(&keys[0], "x");
    // Nobody is answered any more: it is not waited for.
    let asked = std::thread::scope(|scope| {
        let (url, keys, proposal) = (node.url.clone(), &keys, &proposal);
        scope.spawn(move || {
            let client = rekindle::member::Client::new(&url, rekindle::member::Trust::Anyone).unwrap();
            let session = rekindle::member::Session::new(&client, &keys[0].member);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(session.propose(proposal.to_string().as_bytes()))
                .is_ok()
        });
        node.wait_until("the disk is waited for", |node| {
            let phase = node.state()["recovery"]["phase"].as_str().unwrap().to_owned();
            phase.starts_with("waiting for the disk").then_some(())
        });
        node.signal(Signal::TERM);
        let began = Instant::now();
        let status = node.wait_for_end();
        (status, began.elapsed())
    });
    let (status, took) = asked;
    assert_eq!(status.code(), Some(3), "{}", node.log());
    assert!(took < Duration::from_secs(20), "{took:?}");
    let log = node.log();
    assert!(
        log.contains("told to stop") && log.contains("the disk refuses what is still to be written"),
        "{log}"
    );
    // What was committed is there.
    place.recover();
    place.verify();
}

#[test]
fn a_ledger_directory_that_cant_be_written_to_is_refused_by_name() {
    use std::os::unix::fs::PermissionsExt;
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    // A superuser may write everywhere, unless the capability is taken away.
    place.shell = Some(
        "if [ $(id -u) = 0 ]; then exec setpriv --bounding-set=-dac_override --inh-caps=-dac_override \"$0\" \"$@\"; fi"
            .to_owned(),
    );
    let ledger = place.ledger();
    std::fs::set_permissions(&ledger, std::fs::Permissions::from_mode(0o555)).unwrap();
    refuses(&place, &["ledger", "Permission denied"]);
    std::fs::set_permissions(&ledger, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.recover();
}

#[test]
fn configurations_that_cant_be_used_are_refused_in_one_sentence() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let run = |path: &str| rekindle!["node", "--config", place.directory.join(path)];
    run("none.json").expect_sentence(2, &["none.json"]);
    std::fs::write(place.directory.join("broken.json"), "{").unwrap();
    run("broken.json").expect_sentence(2, &["Error parsing configuration file", "broken.json"]);
    std::fs::write(place.directory.join("empty.json"), "{}").unwrap();
    assert!(run("empty.json").expect(2).stderr.contains("network"));
}

#[test]
fn a_port_in_use_is_refused_by_its_number() {
    let service = service(&[]);
    let mut place = Place::of(&service.directory);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.config["network"]["rpc_interfaces"]["test"]["bind_address"] = json!(address);
    refuses(&place, &[&address]);
    drop(taken);
    place.recover();
}

#[test]
fn a_node_that_is_told_to_stop_while_it_reads_stops_at_once_and_leaves_the_ledger_alone() {
    let service = Service::made(&["--entries", "30000", "--signature-every", "20", "--signatures", "cose"]);
    let place = Place::of(&service.directory);
    let before = contents(&place.ledger());
    let mut node = place.start();
    node.wait_for("ReadingPublicLedger");
    node.signal(Signal::TERM);
    let began = Instant::now();
    let status = node.wait_for_end();
    assert!(status.success(), "{status}: {}", node.log());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(
        !node.log().contains("PartOfPublicNetwork"),
        "it was too late: {}",
        node.log()
    );
    assert!(before == contents(&place.ledger()));
}

#[test]
fn a_second_node_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let service = service(&[]);
    let place = Place::of(&service.directory);
    let mut node = public(&place);
    let second = Place::at(&place.directory);
    let mut output = second.config.clone();
    output["output_files"] = json!({"rpc_addresses_file": "other.json", "pid_file": "other.pid"});
    output["command"]["service_certificate_file"] = json!("other.pem");
    let path = place.directory.join("second.json");
    std::fs::write(&path, output.to_string()).unwrap();
    let before = contents(&place.ledger());
    let said = std::process::Command::new(node::program())
        .args(["node", "--config", "second.json"])
        .current_dir(&place.directory)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success());
    assert!(text.contains("another node"), "{text}");
    let names = |contents: &std::collections::BTreeMap<_, _>| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&contents(&place.ledger())));
    node.open();
    node.stop();
    place.verify();
}

#[test]
fn a_node_that_is_killed_at_any_moment_loses_nothing_that_was_signed() {
    let service = service(&["--rekey-every", "40", "--unsigned-tail", "2"]);
    let mut place = Place::of(&service.directory);
    let before = service.export(true, &["--state", "--table", "^(public:)?records$"]);
    let plan = kills::Plan { kills: 12, seed: 1 };
    let tally = kills::kill_anywhere(&mut place, &plan, &|line| println!("{line}"));
    assert!(tally.kills.len() > 4, "{tally:?}");
    let after = Service::at(place.directory.clone()).export(true, &["--state", "--table", "^(public:)?records$"]);
    assert_eq!(before, after);
    assert!(!before.is_empty());
}
