use serde_json::json;

use super::*;
use crate::crypto::Curve;
use crate::format::domain::WriteSet;
use crate::governance::testing::{Member, put_json, service};
use crate::kv::store::Store;

fn store(writes: &[(&str, &[u8], Value)]) -> Store {
    let mut set = WriteSet::new();
    for (table, key, value) in writes {
        put_json(&mut set, table, key, value);
    }
    let mut store = Store::new();
    store.apply(1, &set);
    store
}

fn refusal<T>(answer: Result<T, Refusal>) -> (Reason, String) {
    let error = answer.err().expect("it was answered");
    (error.reason, error.message)
}

#[test]
fn the_service_says_when_it_and_the_one_before_were_made() {
    let info = json!({
        "cert": "PEM", "status": "Recovering", "recovery_count": 2, "current_service_create_txid": "4.202",
        "previous_service_identity_version": 13, "service_data": {"name": "x"}, "of another version": 1,
    });
    let config = json!({"recovery_threshold": 3, "maximum_node_certificate_validity_days": 7});
    let store = store(&[
        (names::SERVICE_INFO, &SINGLETON_KEY, info),
        (names::SERVICE_CONFIG, &SINGLETON_KEY, config),
    ]);
    let answer = service_info(&store.transaction(), |seqno| if seqno == 13 { 2 } else { 0 }).unwrap();
    let expected = json!({
        "status": "Recovering",
        "certificate": "PEM",
        "recoveryCount": 2,
        "creationTransactionId": "4.202",
        "previousServiceCreationTransactionId": "2.13",
        "serviceData": {"name": "x"},
        "configuration": {
            "recoveryThreshold": 3,
            "maximumNodeCertificateValidityDays": 7,
            "maximumServiceCertificateValidityDays": 365,
            "recentCoseProposalsWindowSize": 100,
        },
    });
    assert_eq!(answer, expected);
}

#[test]
fn a_service_of_an_early_release_leaves_out_what_it_does_not_know() {
    let store = store(&[(
        names::SERVICE_INFO,
        &SINGLETON_KEY,
        json!({"cert": "PEM", "status": "OPEN"}),
    )]);
    let answer = service_info(&store.transaction(), |_| 0).unwrap();
    let expected = json!({"status": "Open", "certificate": "PEM", "recoveryCount": 0, "serviceData": null});
    assert_eq!(answer, expected);
}

#[test]
fn what_is_not_there_is_not_found_and_what_is_damaged_is_said_to_be() {
    let empty = Store::new();
    let empty = empty.transaction();
    let id = "0".repeat(64);
    let not_found = |answer: (Reason, String), reason: Reason, words: &str| {
        assert_eq!(answer.0, reason, "{}", answer.1);
        assert!(answer.1.contains(words), "{}", answer.1);
    };
    not_found(
        refusal(service_info(&empty, |_| 0)),
        Reason::NotFound,
        "not yet available",
    );
    not_found(
        refusal(constitution(&empty)),
        Reason::NotFound,
        "Constitution not found",
    );
    not_found(refusal(member(&empty, &id)), Reason::NotFound, "does not exist.");
    not_found(refusal(user(&empty, &id)), Reason::NotFound, "does not exist.");
    not_found(
        refusal(state_digest(&empty, &id)),
        Reason::NotFound,
        "No ACK record exists for member",
    );
    not_found(
        refusal(encrypted_share(&empty, &id)),
        Reason::NotFound,
        "Recovery share not found for member",
    );
    not_found(
        refusal(proposal(&empty, &id)),
        Reason::UnknownProposal,
        "Could not find proposal",
    );
    not_found(
        refusal(actions(&empty, &id)),
        Reason::UnknownProposal,
        "Could not find proposal",
    );
    not_found(
        refusal(ballot(&empty, &id, &id)),
        Reason::UnknownProposal,
        "does not exist.",
    );
    for refused in [
        refusal(member(&empty, "x")),
        refusal(user(&empty, "x")),
        refusal(state_digest(&empty, "x")),
        refusal(encrypted_share(&empty, "x")),
        refusal(proposal(&empty, "x")),
        refusal(actions(&empty, "x")),
        refusal(ballot(&empty, "x", &id)),
        refusal(ballot(&store(&[]).transaction(), &id, "x")),
    ] {
        assert_eq!(refused.0, Reason::InvalidName, "{}", refused.1);
    }
    let damaged = store(&[(names::SERVICE_INFO, &SINGLETON_KEY, json!(7))]);
    let (reason, message) = refusal(service_info(&damaged.transaction(), |_| 0));
    assert_eq!(reason, Reason::Fault);
    assert!(message.contains(names::SERVICE_INFO));
}

#[test]
fn a_members_role_follows_from_its_key_where_it_is_not_said() {
    let people = [1, 2, 3].map(|number| Member::new(number, Curve::P256));
    let mut store = service(&[&people[0], &people[1], &people[2]]);
    let mut writes = WriteSet::new();
    writes.put(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, people[1].id.as_bytes(), "KEY");
    let owner = json!({"status": "Accepted", "recovery_role": "Owner", "member_data": {"name": "x"}});
    put_json(&mut writes, names::MEMBERS_INFO, people[2].id.as_bytes(), &owner);
    // A record that can't be read is left out.
    writes.put(names::MEMBERS_INFO, "damaged", "?");
    store.apply(2, &writes);
    let transaction = store.transaction();
    let roles = people.each_ref().map(|person| {
        let member = member(&transaction, &person.id).unwrap().to_value().unwrap();
        assert_eq!(member["certificate"], person.certificate.to_pem());
        member["recoveryRole"].as_str().unwrap().to_owned()
    });
    assert_eq!(roles, ["NonParticipant", "Participant", "Owner"]);
    let last = member(&transaction, &people[2].id).unwrap().to_value().unwrap();
    assert_eq!(
        (&last["status"], &last["memberData"]),
        (&json!("Accepted"), &json!({"name": "x"}))
    );
    assert_eq!(
        member(&transaction, &people[1].id).unwrap().to_value().unwrap()["publicEncryptionKey"],
        "KEY"
    );
    let all = members(&transaction).to_value().unwrap();
    let ids: Vec<_> = all["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["memberId"].as_str())
        .collect();
    assert!(ids.len() == 3 && ids.is_sorted());
}

#[test]
fn a_user_is_told_with_certificate_and_record() {
    let id = "ab".repeat(32);
    let mut store = store(&[(names::USERS_INFO, id.as_bytes(), json!({"user_data": {"a": 1}}))]);
    let mut writes = WriteSet::new();
    writes.put(names::USERS_CERTS, id.as_bytes(), "PEM");
    store.apply(2, &writes);
    let expected = json!({"userId": id, "certificate": "PEM", "userData": {"user_data": {"a": 1}}});
    assert_eq!(user(&store.transaction(), &id).unwrap(), expected);
    assert_eq!(users(&store.transaction()), json!({"value": [expected]}));
}

#[test]
fn a_proposal_is_told_with_all_that_came_of_it() {
    let [id, member] = ["cd".repeat(32), "ef".repeat(32)];
    let info = json!({
        "proposer_id": member, "state": "Failed", "ballots": {&member: "export function vote() {}"},
        "final_votes": {&member: true}, "vote_failures": {}, "failure": {"reason": "r", "trace": "t"},
    });
    let store = store(&[
        (names::PROPOSALS_INFO, id.as_bytes(), info),
        (names::PROPOSALS, id.as_bytes(), json!({"actions": []})),
    ]);
    let transaction = store.transaction();
    let expected = json!({
        "proposalId": id, "proposerId": member, "proposalState": "Failed", "ballotCount": 1,
        "finalVotes": {&member: true}, "voteFailures": {}, "failure": {"reason": "r", "trace": "t"},
    });
    assert_eq!(proposal(&transaction, &id).unwrap(), expected);
    assert_eq!(proposals(&transaction), json!({"value": [expected]}));
    assert_eq!(actions(&transaction, &id).unwrap(), br#"{"actions":[]}"#);
    assert_eq!(ballot(&transaction, &id, &member).unwrap(), "export function vote() {}");
    let (reason, message) = refusal(ballot(&transaction, &id, &"0".repeat(64)));
    assert_eq!(reason, Reason::NoBallot);
    assert!(message.contains("has not voted for proposal"));
}

#[test]
fn a_members_digest_and_share_are_told() {
    let id = "ab".repeat(32);
    let shares = json!({"wrapped_latest_ledger_secret": "", "encrypted_shares": {&id: "AAEC"}});
    let store = store(&[
        (names::MEMBERS_ACKS, id.as_bytes(), json!({"state_digest": "12"})),
        (names::RECOVERY_SHARES, &SINGLETON_KEY, shares),
    ]);
    let transaction = store.transaction();
    assert_eq!(
        state_digest(&transaction, &id).unwrap(),
        json!({"memberId": id, "stateDigest": "12"})
    );
    assert_eq!(
        encrypted_share(&transaction, &id).unwrap(),
        json!({"memberId": id, "encryptedShare": "AAEC"})
    );
}
