//! Ledgers whose writer, a node that signs what it likes, wants an audit of nodes to say that nothing is wrong.

use rekindle::fixture::snp::{self, Guest};
use rekindle::format::domain::WriteSet;
use rekindle::recovery::attest::AttestReport;
use rekindle::report::{Code, Finding};
use rekindle::tables::names;
use rekindle::tables::values::to_json;
use serde_json::{Value, json};

use crate::attested::{Service, id_of, record, with_status};
use crate::identity::Identity;

fn report(service: Service) -> (Vec<Finding>, Box<AttestReport>) {
    let settings = service.settings();
    service.report_by(settings)
}

fn codes(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

/// The verdict of a node's last life, and the findings that are about it.
#[track_caller]
fn said_of(node: &Identity, (findings, report): &(Vec<Finding>, Box<AttestReport>)) -> (&'static str, Vec<Code>) {
    let id = node.id();
    let found = report.nodes.iter().rev().find(|found| found.node == id).unwrap();
    let about = findings.iter().filter(|finding| finding.message.contains(&id));
    (found.verdict, about.map(|finding| finding.code).collect())
}

/// A node that shows what another one was given, beside a key of which nothing can be said.
fn borrowed(change: impl FnOnce(&mut Value)) {
    let mut service = Service::begin();
    let mut shown = Value::Null;
    service.join_as(|node, maker| {
        let record = record(node, maker.chip().quote_info(&Guest::of(&id_of(node))));
        shown = record.clone();
        record
    });
    let thief = service.join_as(|node, _| {
        let mut record = shown.clone();
        record["public_key"] = node.key.verifying_key().spki_pem().into();
        change(&mut record);
        record
    });
    let report = report(service);
    let (verdict, codes) = said_of(&thief, &report);
    assert_ne!(verdict, "holds");
    assert!(
        codes
            .iter()
            .any(|code| *code != Code::SharedChip && *code != Code::SharedGuest),
        "{codes:?}"
    );
}

#[test]
fn a_borrowed_quote_does_not_hold_for_another_key() {
    borrowed(|_| ());
}

#[test]
fn a_borrowed_quote_does_not_hold_for_a_node_that_names_no_key() {
    borrowed(|record| drop(record.as_object_mut().unwrap().remove("public_key")));
}

#[test]
fn a_borrowed_quote_does_not_hold_for_a_key_that_can_not_be_read() {
    borrowed(|record| record["public_key"] = "-----BEGIN PUBLIC KEY-----\n".into());
    borrowed(|record| record["public_key"] = 7.into());
}

/// A node that has joined is written once more, changed.
fn rewritten(change: impl FnOnce(&mut Value)) -> (&'static str, Vec<Code>) {
    let mut service = Service::begin();
    let mut written = Value::Null;
    let node = service.join_as(|node, maker| {
        written = record(node, maker.chip().quote_info(&Guest::of(&id_of(node))));
        written.clone()
    });
    change(&mut written);
    service
        .story
        .write(|writes| writes.put(names::NODES_INFO, node.id(), with_status(&written, "Trusted")));
    let report = report(service);
    said_of(&node, &report)
}

#[test]
fn a_record_that_takes_another_key_later_is_found() {
    let other = Identity::node(99, &Identity::service(20));
    let pem = other.key.verifying_key().spki_pem();
    let (verdict, codes) = rewritten(|record| record["public_key"] = pem.into());
    assert_eq!((verdict, &codes[..]), ("fails", &[Code::EvidenceOfAnother][..]));
}

#[test]
fn a_record_that_takes_another_measurement_later_is_found() {
    let (verdict, codes) = rewritten(|record| record["code_digest"] = "00".repeat(48).into());
    assert_eq!((verdict, &codes[..]), ("fails", &[Code::EvidenceOfAnother][..]));
}

#[test]
fn a_record_that_is_written_again_as_it_is_says_nothing() {
    assert_eq!(rewritten(|_| ()), ("holds", vec![]));
}

/// A node that was let wait, was removed, and asks again when the members do not want it any more.
#[test]
fn a_node_that_asks_again_is_held_against_the_policy_of_that_time() {
    let mut service = Service::begin();
    let node = Identity::node(90, &service.story.service);
    let chip = service.maker.chip();
    let written = record(&node, chip.quote_info(&Guest::of(&id_of(&node))));
    let put = |service: &mut Service, status: &str| {
        let value = with_status(&written, status);
        service
            .story
            .write(|writes| writes.put(names::NODES_INFO, node.id(), value));
    };
    put(&mut service, "Pending");
    service
        .story
        .write(|writes| writes.remove(names::NODES_INFO, node.id()));
    service.decide(|writes| writes.remove(names::NODES_SNP_MEASUREMENTS, hex::encode(snp::MEASUREMENT)));
    put(&mut service, "Pending");
    put(&mut service, "Trusted");
    let report = report(service);
    let (verdict, codes) = said_of(&node, &report);
    assert_eq!((verdict, &codes[..]), ("fails", &[Code::NotAllowed][..]));
}

pub fn a_policy_that_is_changed_for_one_node_and_back() -> Vec<Finding> {
    let mut service = Service::begin();
    let other = [7; 48];
    let node = Identity::node(90, &service.story.service);
    let chip = service.maker.chip();
    let mut guest = Guest::of(&id_of(&node));
    guest.measurement = other;
    let mut written = record(&node, chip.quote_info(&guest));
    written["code_digest"] = hex::encode(other).into();
    let story = &mut service.story;
    let key = hex::encode(other);
    story.write(|writes| writes.put(names::NODES_SNP_MEASUREMENTS, key.as_str(), to_json(&"AllowedToJoin")));
    story.write(|writes| writes.put(names::NODES_INFO, node.id(), with_status(&written, "Pending")));
    story.write(|writes| writes.remove(names::NODES_SNP_MEASUREMENTS, key.as_str()));
    let (findings, _) = report(service);
    assert_eq!(findings.len(), 2, "each change is found: {findings:?}");
    findings
}

/// Its own policy comes with the node: one transaction, which is no creation.
#[test]
fn a_policy_in_the_transaction_of_the_node_does_not_let_it_in() {
    let mut service = Service::begin();
    let other = [7; 48];
    let node = Identity::node(90, &service.story.service);
    let chip = service.maker.chip();
    let mut guest = Guest::of(&id_of(&node));
    guest.measurement = other;
    let mut written = record(&node, chip.quote_info(&guest));
    written["code_digest"] = hex::encode(other).into();
    service.story.write(|writes| {
        writes.put(
            names::NODES_SNP_MEASUREMENTS,
            hex::encode(other),
            to_json(&"AllowedToJoin"),
        );
        writes.put(names::NODES_INFO, node.id(), with_status(&written, "Trusted"));
    });
    let report = report(service);
    assert_eq!(said_of(&node, &report), ("fails", vec![Code::NotAllowed]));
}

/// A second node declares itself good where a service begins.
#[test]
fn a_second_node_in_the_transaction_that_begins_a_service_is_found() {
    let mut service = Service::begin();
    let second = Identity::node(90, &service.story.service);
    let chip = service.maker.chip();
    let mut guest = Guest::of(&id_of(&second));
    guest.measurement = [7; 48];
    let mut written = record(&second, chip.quote_info(&guest));
    written["code_digest"] = hex::encode(guest.measurement).into();
    service.recover(snp::TCB, |writes: &mut WriteSet| {
        writes.put(names::NODES_INFO, second.id(), to_json(&written));
        writes.put(
            names::NODES_SNP_MEASUREMENTS,
            hex::encode([7; 48]),
            to_json(&"AllowedToJoin"),
        );
    });
    let report = report(service);
    let found: Vec<&str> = report.0.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(codes(&report.0), [Code::NotAllowed], "{found:?}");
    assert!(found[0].starts_with("2 nodes declare themselves good"), "{found:?}");
}

/// Texts of the tables that have millions of characters are said in a few words.
#[test]
fn what_is_said_of_long_texts_is_short() {
    let mut service = Service::begin();
    let long = "x".repeat(1 << 20);
    service.decide(|writes| {
        writes.put(names::NODES_SNP_TCB_VERSIONS, long.clone(), to_json(&7));
        writes.put(
            names::NODES_SNP_UVM_ENDORSEMENTS,
            long.clone(),
            to_json(&json!({long.clone(): {"svn": "1"}})),
        );
    });
    service.recover(snp::TCB, |writes| {
        writes.put(names::NODES_SNP_UVM_ENDORSEMENTS, long.clone(), to_json(&json!({})));
    });
    let (findings, _) = report(service);
    assert!(codes(&findings).contains(&Code::PolicyRow) && codes(&findings).contains(&Code::FeedsDropped));
    for finding in findings {
        assert!(
            finding.message.len() < 4000,
            "{} of {} bytes",
            finding.code.as_str(),
            finding.message.len()
        );
    }
}

/// Steps of all nodes in transactions that accept as many proposals as anybody lists.
#[test]
fn lives_of_many_steps_take_memory_for_a_few() {
    let mut service = Service::begin();
    let nodes: Vec<String> = (0..10).map(|number| format!("{number:064x}")).collect();
    for number in 0..100 {
        service.story.write(|writes| {
            for proposal in 0..8 {
                for id in [format!("{proposal:064x}"), format!("{proposal:\u{1b}>128}")] {
                    writes.put(names::PROPOSALS_INFO, id, to_json(&json!({"state": "Accepted"})));
                }
            }
            for node in &nodes {
                match number % 2 {
                    0 => writes.put(names::NODES_INFO, node.as_str(), to_json(&json!({"status": "Pending"}))),
                    _ => writes.remove(names::NODES_INFO, node.as_str()),
                }
            }
        });
    }
    let (_, report) = report(service);
    let steps = report.nodes.iter().flat_map(|node| &node.steps);
    let bytes: usize = steps.clone().flat_map(|step| &step.proposals).map(String::len).sum();
    let written = steps.count() * 64;
    assert!(written >= 10 * 100 * 64, "{written}");
    assert!(bytes <= 4 * written, "{bytes}");
}
