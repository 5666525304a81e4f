//! A ledger with data that CCF's JSON takes and few readers do: deep, with halves of surrogate pairs, numbers that fit
//! nowhere, names that occur twice.
//!
//! It has no say in a recovery. What verifies, unlocks, exports and inspects such a ledger, the node that recovers it, every
//! endpoint, and the members' own client all go on; what the node is asked to write anew is bounded.

use crate::node::{Node, Place};
use crate::support::Service;
use rekindle::member::Session;
use serde_json::json;

const DEPTH: &str = "10000";

fn odd() -> Service {
    Service::made(&["--odd-data", DEPTH, "--entries", "300", "--snapshot-every", "100"])
}

/// That an answer has the odd data in it, as it stands in the ledger.
#[track_caller]
fn assert_carries(node: &Node<'_>, path: &str, field: &str) {
    let answer = node.get(path);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(answer.status.is_success(), "{path}: {text:.300}");
    let depth: usize = DEPTH.parse().unwrap();
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let data = format!(
        r#"{{"deep":{open}{close},"half":"\ud800 \udc00","huge":-1e400,"long":123456789012345678901234567890,"twice":1,"twice":2}}"#
    );
    assert!(
        text.contains(&format!("\"{field}\":{data}")),
        "{path} does not have {field}"
    );
}

fn check_endpoints(node: &Node<'_>) {
    let version = "api-version=2024-07-01";
    for (path, field) in [
        ("/gov/service/members", "memberData"),
        ("/gov/service/nodes", "nodeData"),
        ("/gov/service/users", "user_data"),
    ] {
        assert_carries(node, &format!("{path}?{version}"), field);
    }
    assert_carries(node, "/node/network/nodes", "node_data");
    let documents = [node.json("/node/api"), node.json(&format!("/gov/api?{version}"))];
    let paths = documents
        .iter()
        .flat_map(|document| document["paths"].as_object().unwrap());
    let mut asked = 0;
    for (path, operations) in paths {
        if operations.get("get").is_none() || path.contains('{') {
            continue;
        }
        let prefix = match path.starts_with("/node") || path.starts_with("/gov") {
            true => "",
            false => "/node",
        };
        for prefix in [prefix, "/gov"] {
            let path = format!("{prefix}{path}?{version}");
            let status = node.get(&path).status;
            assert!(status.as_u16() < 500 || status == 503, "{path}: {status}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn a_ledger_with_odd_data_is_verified_inspected_unlocked_and_exported() {
    let service = odd();
    rekindle!("verify", service.ledger(), "--json").expect(0);
    rekindle!("inspect", service.ledger(), "--json").expect(0);
    service.with_keys("unlock", &["--json"]).expect(0);
    let lines = service.export(true, &[]);
    let data = |line: &&serde_json::Value| line["table"] == "public:ccf.gov.members.info";
    assert!(lines.iter().filter(data).count() >= 3, "{:?}", lines.first());
}

#[test]
fn a_service_with_odd_data_is_recovered_governed_and_recovered_again() {
    let service = odd();
    let mut place = Place::of(&service.directory);
    for _ in 0..2 {
        let mut node = place.start();
        node.wait_for_members();
        check_endpoints(&node);
        node.open();
        check_endpoints(&node);
        // Its owner's record is written anew, and the data with it.
        let keys = &place.keys()[0];
        node.run(Session::new(node.client(), &keys.member).acknowledge())
            .unwrap();
        node.stop();
        place.verify();
        place = place.again();
    }
}

#[test]
fn what_could_not_be_read_back_is_not_taken() {
    let service = Service::made(&[]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.open();
    let keys = &place.keys()[0];
    let id = keys.member.id().to_owned();
    let propose = |data: &str| {
        let text = format!(
            r#"{{"actions":[{{"name":"set_member_data","args":{{"member_id":"{id}","member_data":{data}}}}}]}}"#
        );
        node.run(Session::new(node.client(), &keys.member).propose(text.as_bytes()))
    };
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let refused = propose(&deep).unwrap_err().to_string();
    assert!(refused.contains("could not be read back"), "{refused}");
    let fine = format!("{}{}", "[".repeat(90), "]".repeat(90));
    propose(&fine).unwrap();
    let answer = node.json(&format!("/gov/service/members/{id}?api-version=2024-07-01"));
    assert_eq!(answer["memberId"], json!(id));
    node.stop();
}
