//! The writes of `service.info` name each other, and along these links every CCF finds who signed what: Rekindle's own are
//! whole, and a ledger whose links are not is named as such (L0409).

use crate::node::Place;
use crate::support::{Service, codes, expected, ledgers};
use serde_json::Value;

const CODE: &str = "L0409";

/// Seqno of every write of `service.info`, and the one that it names.
fn links(service: &Service) -> Vec<(u64, Option<u64>)> {
    let lines = service.export(false, &["--history"]);
    let writes = lines
        .iter()
        .filter(|line| line["table"] == "public:ccf.gov.service.info");
    writes
        .map(|line| {
            let value = match &line["value"] {
                Value::String(text) => serde_json::from_str(text).unwrap(),
                value => value.clone(),
            };
            let named = value["previous_service_identity_version"].as_u64();
            (line["seqno"].as_u64().unwrap(), named)
        })
        .collect()
}

fn made(options: &[&str]) -> Service {
    let mut all = vec!["--entries", "60", "--signature-every", "20"];
    all.extend(options);
    Service::made(&all)
}

fn findings(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().filter(|finding| finding["code"] == CODE).collect()
}

#[track_caller]
fn assert_each_names_the_one_before(links: &[(u64, Option<u64>)]) {
    for pair in links.windows(2) {
        assert_eq!(pair[1].1, Some(pair[0].0), "{links:?}");
    }
}

#[test]
fn every_write_about_a_made_up_service_names_the_one_before() {
    let service = made(&["--recoveries", "2"]);
    let links = links(&service);
    assert_eq!(
        links.len(),
        8,
        "created and opened; then twice created, waiting and opened"
    );
    assert_eq!(links[0].1, None);
    assert_each_names_the_one_before(&links);
    let report = rekindle!["verify", "--json", service.ledger()].expect(0).json();
    assert!(!codes(&report).contains(&CODE));
}

#[test]
fn every_write_about_a_recovered_service_names_the_one_before() {
    let service = made(&["--recoveries", "1"]);
    let place = Place::of(&service.directory);
    place.recover();
    let links = links(&Service::at(place.directory.clone()));
    assert_eq!(links.len(), 8);
    assert_each_names_the_one_before(&links);
    assert!(findings(&place.verify()).is_empty());
}

#[test]
fn links_that_an_earlier_ccf_would_not_follow_right_are_told_and_mended_by_the_next_recovery() {
    let service = made(&["--recoveries", "1", "--links-to-creation"]);
    let before = links(&service);
    let report = rekindle!["verify", "--json", service.ledger()].expect(0).json();
    assert_eq!(report["verdict"], "ok", "nothing is lost yet");
    let found = findings(&report);
    let [told] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(told["severity"], "info");
    let (created, opened) = (before[2].0, before.last().unwrap().0);
    assert_eq!(told["seqno"], opened);
    let text = told["message"].as_str().unwrap();
    assert!(
        text.contains(&format!("receipts of {created} to {}", opened - 1)),
        "{text}"
    );

    let place = Place::of(&service.directory);
    place.recover();
    let report = place.verify();
    assert!(findings(&report).is_empty(), "{report:#}");
    let after = links(&Service::at(place.directory.clone()));
    assert_eq!(after[before.len()].1, Some(created), "{after:?}");
    assert_each_names_the_one_before(&after[before.len()..]);
}

#[test]
fn no_real_ledger_gives_a_false_alarm() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let report = rekindle!["verify", "--json", ledgers.join(name)].json();
        assert!(!codes(&report).contains(&CODE), "{name}");
    }
}
