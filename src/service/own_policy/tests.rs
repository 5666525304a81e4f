//! What a node that begins a service may and may not do to what members had agreed to.

use serde_json::Value;

use super::*;
use crate::attestation::VirtualQuote;
use crate::attestation::testing::{Machine, key};
use crate::format::domain::WriteSet;
use crate::kv::store::Store;

const CPU: &str = "00a00f11";

fn store(rows: &[(&str, &str, Value)]) -> Store {
    let mut set = WriteSet::new();
    for (table, key, value) in rows {
        set.put(table, *key, to_json(value));
    }
    let mut store = Store::new();
    store.apply(1, &set);
    store
}

/// The tables after a node of this machine began a service on these, and what was found.
fn begin(machine: &Machine, rows: &[(&str, &str, Value)]) -> (Store, Vec<Finding>) {
    begin_with(&machine.evidence(&key(50).verifying_key()), rows)
}

fn begin_with(evidence: &OwnEvidence, rows: &[(&str, &str, Value)]) -> (Store, Vec<Finding>) {
    let mut store = store(rows);
    let findings = OwnPolicy::of(&store.transaction(), evidence).findings;
    let writes = store.transact::<()>(|transaction| {
        OwnPolicy::of(transaction, evidence).put(transaction);
        Ok(())
    });
    store.apply(2, &writes.unwrap());
    (store, findings)
}

fn row(store: &Store, table: &str, key: &str) -> Option<Value> {
    let (_, value) = store.get(table, key.as_bytes())?;
    serde_json::from_slice(value).ok()
}

fn told(findings: &[Finding]) -> Vec<(Code, Severity)> {
    findings.iter().map(|found| (found.code, found.severity)).collect()
}

#[test]
fn a_service_without_a_policy_gets_the_nodes_own() {
    let policy = "package policy";
    let machine = Machine {
        host_data: crate::crypto::sha256(policy.as_bytes()),
        security_policy: Some(policy.to_owned()),
        ..Machine::default()
    };
    let (store, findings) = begin(&machine, &[]);
    assert_eq!(told(&findings), []);
    let host_data = hex::encode(machine.host_data);
    assert_eq!(row(&store, names::NODES_SNP_HOST_DATA, &host_data), Some(json!(policy)));
    let measurement = hex::encode(machine.measurement);
    assert_eq!(
        row(&store, names::NODES_SNP_MEASUREMENTS, &measurement),
        Some(json!("AllowedToJoin"))
    );
    let tcb = json!({"boot_loader": 4, "hexstring": "7718000000000004", "microcode": 119, "snp": 24, "tee": 0});
    assert_eq!(row(&store, names::NODES_SNP_TCB_VERSIONS, CPU), Some(tcb));
    assert_eq!(row(&store, names::NODES_SNP_UVM_ENDORSEMENTS, &Machine::did()), None);
}

#[test]
fn who_signed_the_measurement_stands_for_it() {
    let machine = Machine {
        uvm: Some(("feed", 101)),
        ..Machine::default()
    };
    let (store, findings) = begin(&machine, &[]);
    assert_eq!(told(&findings), []);
    assert_eq!(
        row(&store, names::NODES_SNP_UVM_ENDORSEMENTS, &Machine::did()),
        Some(json!({"feed": {"svn": "101"}}))
    );
    let measurement = hex::encode(machine.measurement);
    assert_eq!(row(&store, names::NODES_SNP_MEASUREMENTS, &measurement), None);
}

#[test]
fn the_text_of_a_policy_is_not_lost_by_a_node_that_does_not_have_it() {
    let host_data = hex::encode(Machine::default().host_data);
    let noted = (names::NODES_SNP_HOST_DATA, host_data.as_str(), json!("noted"));
    let (store, _) = begin(&Machine::default(), &[noted]);
    assert_eq!(
        row(&store, names::NODES_SNP_HOST_DATA, &host_data),
        Some(json!("noted"))
    );
    let (store, _) = begin(&Machine::default(), &[]);
    assert_eq!(row(&store, names::NODES_SNP_HOST_DATA, &host_data), Some(json!("")));
}

#[test]
fn other_feeds_of_an_issuer_stay_and_it_is_said() {
    let machine = Machine {
        uvm: Some(("feed", 101)),
        ..Machine::default()
    };
    let did = Machine::did();
    let before = json!({"feed": {"svn": "101"}, "other": {"svn": "7", "more": 1}});
    let rows = [(names::NODES_SNP_UVM_ENDORSEMENTS, did.as_str(), before.clone())];
    let (store, findings) = begin(&machine, &rows);
    assert_eq!(row(&store, names::NODES_SNP_UVM_ENDORSEMENTS, &did), Some(before));
    assert_eq!(told(&findings), [(Code::OwnPolicy, Severity::Info)]);
    assert!(findings[0].message.contains("other"), "{}", findings[0].message);
}

#[test]
fn what_a_service_has_may_be_anything() {
    let machine = Machine {
        uvm: Some(("feed", 101)),
        ..Machine::default()
    };
    let did = Machine::did();
    for before in [
        "[]",
        "",
        "{",
        r#"{"other":18446744073709551617.50}"#,
        &"[".repeat(100_000),
    ] {
        let mut set = WriteSet::new();
        set.put(names::NODES_SNP_UVM_ENDORSEMENTS, did.as_str(), before.as_bytes());
        set.put(names::NODES_SNP_TCB_VERSIONS, CPU, before.as_bytes());
        let mut store = Store::new();
        store.apply(1, &set);
        let policy = OwnPolicy::of(&store.transaction(), &machine.evidence(&key(50).verifying_key()));
        assert!(policy.findings.len() >= 2, "{:?}", policy.findings);
        assert!(policy.findings.iter().all(|found| found.message.len() < 1_500));
        let (_, _, feeds) = policy.writes.iter().find(|(_, key, _)| *key == did).unwrap();
        let feeds = String::from_utf8(feeds.clone()).unwrap();
        let kept = before.contains("other");
        assert_eq!(feeds.contains("18446744073709551617.50"), kept, "word for word");
        assert!(feeds.contains(r#""feed":{"svn":"101"}"#), "{feeds}");
    }
}

#[test]
fn a_lowest_svn_is_lowered_only_for_a_node_that_is_below_it_and_it_is_said() {
    for (before, severity, how) in [
        (json!({"svn": "100"}), Some(Severity::Info), "raised"),
        (json!({"svn": "101"}), None, ""),
        (json!({"svn": "102"}), Some(Severity::Warning), "lowered"),
        (json!({"svn": "99"}), Some(Severity::Info), "raised"),
        (json!({"svn": "x"}), Some(Severity::Warning), "lowered"),
        (json!(7), Some(Severity::Warning), "lowered"),
    ] {
        let machine = Machine {
            uvm: Some(("feed", 101)),
            ..Machine::default()
        };
        let did = Machine::did();
        let rows = [(names::NODES_SNP_UVM_ENDORSEMENTS, did.as_str(), json!({"feed": before}))];
        let (store, findings) = begin(&machine, &rows);
        let after = row(&store, names::NODES_SNP_UVM_ENDORSEMENTS, &did);
        assert_eq!(after, Some(json!({"feed": {"svn": "101"}})));
        let expected: Vec<_> = severity
            .map(|severity| (Code::OwnPolicy, severity))
            .into_iter()
            .collect();
        assert_eq!(told(&findings), expected);
        assert!(findings.iter().all(|found| found.message.contains(how)));
    }
}

#[test]
fn a_minimum_tcb_is_lowered_only_for_a_node_that_is_below_it_and_it_is_said() {
    let with = |name: &str, value: u32| {
        let mut before = json!({"boot_loader": 4, "microcode": 119, "snp": 24, "tee": 0});
        before[name] = json!(value);
        before
    };
    for (before, severity, says) in [
        (with("snp", 24), None, ""),
        (with("snp", 23), Some(Severity::Info), "raised"),
        (with("snp", 25), Some(Severity::Warning), "satisfy snp of"),
        (with("microcode", 120), Some(Severity::Warning), "satisfy microcode of"),
        (with("fmc", 0), Some(Severity::Warning), "satisfy fmc of"),
        (json!("?"), Some(Severity::Warning), "replaced"),
    ] {
        let (store, findings) = begin(&Machine::default(), &[(names::NODES_SNP_TCB_VERSIONS, CPU, before)]);
        let after = row(&store, names::NODES_SNP_TCB_VERSIONS, CPU).unwrap();
        assert_eq!((&after["snp"], &after["microcode"]), (&json!(24), &json!(119)));
        let expected: Vec<_> = severity
            .map(|severity| (Code::OwnPolicy, severity))
            .into_iter()
            .collect();
        assert_eq!(told(&findings), expected);
        assert!(
            findings.iter().all(|found| found.message.contains(says)),
            "{findings:?}"
        );
    }
}

#[test]
fn nothing_of_other_nodes_is_removed() {
    let rows = [
        (names::NODES_SNP_TCB_VERSIONS, "00a10f11", json!({"snp": 99})),
        (names::NODES_SNP_MEASUREMENTS, "aa", json!("AllowedToJoin")),
        (names::NODES_SNP_HOST_DATA, "bb", json!("")),
        (
            names::NODES_SNP_UVM_ENDORSEMENTS,
            "did:x509:other",
            json!({"feed": {"svn": "1"}}),
        ),
    ];
    let (store, findings) = begin(&Machine::default(), &rows);
    for (table, key, value) in rows {
        assert_eq!(row(&store, table, key), Some(value));
    }
    assert_eq!(told(&findings), []);
}

#[test]
fn a_virtual_node_touches_the_tables_of_virtual_nodes_alone() {
    let quote = VirtualQuote::new(&[1; 32], &[2; 32]);
    let rows = [(names::NODES_SNP_TCB_VERSIONS, CPU, json!({"snp": 99}))];
    let (store, findings) = begin_with(&quote.into(), &rows);
    assert_eq!(told(&findings), []);
    assert_eq!(
        row(&store, names::NODES_SNP_TCB_VERSIONS, CPU),
        Some(json!({"snp": 99}))
    );
    let measurement = crate::attestation::VIRTUAL_MEASUREMENT;
    assert_eq!(
        row(&store, names::NODES_VIRTUAL_MEASUREMENTS, measurement),
        Some(json!("AllowedToJoin"))
    );
    assert!(
        store
            .get(names::NODES_VIRTUAL_HOST_DATA, hex::encode([1; 32]).as_bytes())
            .is_some()
    );
}
