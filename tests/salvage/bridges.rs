//! What follows a hole, from a snapshot: whose history that is, and whether a node recovers from it.

use std::path::{Path, PathBuf};

use super::histories::{files, run};
use super::seeded::scratch;
use super::support::{self, Service, copy_files};

fn made(more: &[&str]) -> Service {
    let common = ["--entries", "120", "--signature-every", "10", "--snapshot-every", "20"];
    let size = ["--chunk-size", "4000", "--curve", "p256"];
    Service::made(&[&common[..], &size[..], more].concat())
}

/// A copy of a service's ledger and snapshots without the chunks that these seqnos are in.
fn copy_without(ledger: &Path, snapshots: &Path, to: PathBuf, lost: &[u64]) -> PathBuf {
    copy_files(ledger, &to.join("ledger"));
    copy_files(snapshots, &to.join("snapshots"));
    let chunks = support::chunks(&to.join("ledger"));
    for seqno in lost {
        let (_, path) = chunks.iter().rfind(|(first, _)| first <= seqno).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    to
}

/// Snapshots before a seqno, in order.
fn snapshots_before(directory: &Path, seqno: u64) -> Vec<(u64, PathBuf)> {
    let of = |name: &Path| name.to_str()?.split('_').nth(1)?.parse().ok();
    let names = files(directory).into_keys();
    let mut found: Vec<(u64, PathBuf)> = names.map(|name| (of(&name).unwrap(), directory.join(name))).collect();
    found.retain(|(at, _)| *at < seqno);
    found.sort();
    found
}

fn without(service: &Service, to: PathBuf, lost: &[u64]) -> PathBuf {
    copy_without(&service.ledger(), &service.snapshots(), to, lost)
}

fn codes(report: &serde_json::Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["code"].as_str().unwrap()).collect()
}

#[track_caller]
fn assert_bridged(output: &Path, certificate: &Path) {
    let below = output.join("bridged");
    rekindle![
        "verify",
        below.join("ledger"),
        "--snapshots",
        below.join("snapshots"),
        "--from-snapshot",
        "latest",
        "--service-cert",
        certificate
    ]
    .expect(0);
}

#[test]
fn two_services_whose_beginnings_are_lost_are_never_taken_for_one() {
    let services = [made(&[]), made(&["--seed", "9"])];
    let scratch = scratch();
    let copies: Vec<PathBuf> = services
        .iter()
        .enumerate()
        .map(|(number, service)| without(service, scratch.path().join(format!("copy{number}")), &[1]))
        .collect();
    let both = [copies[0].as_path(), copies[1].as_path()];
    let output = scratch.path().join("refused");
    let report = run(&both, &output, &[]).expect(1).json();
    assert!(codes(&report).contains(&"L1104"), "{report:#}");
    assert!(!output.exists());
    for (number, service) in services.iter().enumerate() {
        let certificate = service.common("service_cert.pem");
        for (option, value) in [("--service-cert", &certificate), ("--prefer", &copies[number])] {
            let output = scratch.path().join(format!("{number}{option}"));
            let report = run(&both, &output, &[option, value.to_str().unwrap()]).expect(1).json();
            assert_eq!(
                report["bridged"]["last_signed"],
                service.expected()["last_signed"],
                "{report:#}"
            );
            assert_bridged(&output, &certificate);
            assert!(!output.join("ledger").exists());
        }
    }
}

#[test]
fn a_fork_after_what_is_missing_is_refused_too() {
    let service = made(&["--fork", "same-view", "--nodes", "3"]);
    let scratch = scratch();
    let fork = service.directory.join("fork");
    let copies = [
        without(&service, scratch.path().join("a"), &[15]),
        copy_without(
            &fork.join("ledger"),
            &fork.join("snapshots"),
            scratch.path().join("b"),
            &[15],
        ),
    ];
    let both = [copies[0].as_path(), copies[1].as_path()];
    let output = scratch.path().join("refused");
    let report = run(&both, &output, &[]).expect(1).json();
    assert!(codes(&report).contains(&"L1104"), "{report:#}");
    assert!(!output.exists());
    for (number, original) in [service.ledger(), fork.join("ledger")].iter().enumerate() {
        let output = scratch.path().join(number.to_string());
        let preferred = copies[number].to_str().unwrap();
        run(&both, &output, &["--prefer", preferred]).expect(1);
        let (bridged, original) = (files(&output.join("bridged/ledger")), files(original));
        assert!(!bridged.is_empty());
        // All but the first begin where they began.
        for (name, bytes) in bridged.iter().filter(|(name, _)| original.contains_key(*name)) {
            assert!(original[name] == *bytes, "{name:?} is of the other history");
        }
        assert!(bridged.keys().filter(|name| original.contains_key(*name)).count() > 3);
        assert_bridged(&output, &service.common("service_cert.pem"));
    }
}

#[test]
fn a_bridge_over_a_recovery_needs_the_word_of_the_operator() {
    let service = made(&["--recoveries", "1"]);
    let scratch = scratch();
    let recovered = service.expected()["services"][1]["from_seqno"].as_u64().unwrap();
    let copy = without(&service, scratch.path().join("copy"), &[recovered - 30, recovered]);
    for (_, path) in snapshots_before(&copy.join("snapshots"), recovered) {
        std::fs::remove_file(path).unwrap();
    }
    let output = scratch.path().join("unknown");
    let report = run(&[&copy], &output, &[]).expect(1).json();
    assert!(report["bridged"].is_null());
    let said = report["findings"].to_string();
    assert!(said.contains("--service-cert"), "{said}");
    let certificate = service.common("service_cert.pem");
    let output = scratch.path().join("known");
    let report = run(&[&copy], &output, &["--service-cert", certificate.to_str().unwrap()])
        .expect(1)
        .json();
    assert_eq!(
        report["bridged"]["last_signed"],
        service.expected()["last_signed"],
        "{report:#}"
    );
    assert_bridged(&output, &certificate);
    let stranger = made(&["--seed", "9"]);
    let other = stranger.common("service_cert.pem");
    let output = scratch.path().join("other");
    let report = run(&[&copy], &output, &["--service-cert", other.to_str().unwrap()])
        .expect(1)
        .json();
    assert!(report["bridged"].is_null());
    assert!(codes(&report).contains(&"L0407"), "{report:#}");
}

#[test]
fn a_node_recovers_from_each_part_of_the_result() {
    let service = made(&[]);
    let scratch = scratch();
    // What follows this snapshot's state, its evidence first, is lost.
    let (seqno, _) = snapshots_before(&service.snapshots(), 60).pop().unwrap();
    let copy = without(&service, scratch.path().join("copy"), &[seqno + 1]);
    let output = scratch.path().join("out");
    let report = run(&[&copy], &output, &[]).expect(1).json();
    assert_eq!(report["last_signed"], format!("2.{seqno}"));
    for part in ["", "bridged"] {
        let below = output.join(part);
        let drilled = rekindle![
            "drill",
            "--ledger",
            below.join("ledger"),
            "--snapshots",
            below.join("snapshots"),
            "--members",
            service.directory.join("common")
        ];
        drilled.expect(0);
    }
}
