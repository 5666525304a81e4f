//! `rekindle attest`, `verify --attestations` and `inspect` over made services of SEV-SNP nodes, and over the real ledgers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{Run, Service, codes, expected, ledgers};
use rekindle::attestation::{Anchors, Time, Verifier};
use rekindle::fixture::snp::Maker;
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::attest::{AttestReport, How, Settings};
use rekindle::recovery::snapshots::start_from;
use rekindle::recovery::verify::{Options, verify};
use rekindle::report::Code;
use rekindle::report::progress::Silent;
use serde_json::Value;

const SEED: u64 = 1;
const IN_2024: u64 = 1_704_067_200;

fn made(options: &[&str]) -> Service {
    let mut all = vec![
        "--platform",
        "snp",
        "--entries",
        "40",
        "--signature-every",
        "10",
        "--curve",
        "p256",
    ];
    all.extend(options);
    Service::made(&all)
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        verifier: Verifier::new(Anchors::built_in().and_for_tests(Maker::new(SEED).root())),
        time: Time::Remark(IN_2024),
        minimum_tcb: BTreeMap::new(),
    })
}

fn judged(service: &Service, options: Options) -> AttestReport {
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    let options = Options {
        attest: Some(settings()),
        ..options
    };
    *verify(&files, &options, &Silent).unwrap().attestation.unwrap()
}

#[test]
fn every_node_of_a_made_service_is_attested_through_its_whole_life() {
    let service = made(&["--nodes", "3", "--recoveries", "2"]);
    let report = judged(&service, Options::default());
    assert_eq!(report.summary.in_words(), "9 attested (SNP Milan)");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let self_declared = report.nodes.iter().filter(|node| node.how == How::SelfDeclared);
    assert_eq!(self_declared.count(), 3);
    for node in &report.nodes {
        assert_eq!((node.verdict, node.cpuid.as_deref()), ("holds", Some("00a00f11")));
        assert!(node.changed_at.is_empty());
        assert_eq!(node.checks["node_id"], "passed");
        assert_eq!(node.steps[0].status, "Trusted");
    }
    let ids: std::collections::BTreeSet<&str> = report.nodes.iter().map(|node| node.node.as_str()).collect();
    assert_eq!(ids.len(), 9);
}

#[test]
fn nodes_before_a_snapshot_are_known_from_it_and_their_admission_is_not() {
    let service = made(&["--snapshot-every", "20"]);
    let snapshot = std::fs::read_dir(service.snapshots()).unwrap().next().unwrap().unwrap();
    let start = start_from(&snapshot.path()).unwrap();
    let options = Options {
        from_snapshot: Some(start),
        ..Options::default()
    };
    let report = judged(&service, options);
    let [node] = &report.nodes[..] else {
        panic!("{:?}", report.nodes);
    };
    assert_eq!((node.how, node.verdict), (How::Snapshot, "holds"));
    assert_eq!(node.checks["measurement"], "not_done");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[test]
fn a_ledger_without_its_beginning_is_completed_by_the_oldest_snapshot_given() {
    let service = made(&["--snapshot-every", "20", "--chunk-size", "5000"]);
    let first = std::fs::read_dir(service.ledger()).unwrap().map(|file| file.unwrap());
    let first = first.filter(|file| file.file_name().to_string_lossy().starts_with("ledger_1-"));
    first.for_each(|file| std::fs::remove_file(file.path()).unwrap());
    let run = rekindle!("attest", service.ledger(), "--json", "--snapshots", service.snapshots()).expect(1);
    let report = run.json();
    assert!(report["from_snapshot"].is_u64(), "{report}");
    assert_eq!(report["nodes"][0]["how"], "snapshot");
    // No policy of admission is known, and the root is nobody's.
    assert_eq!(codes(&report), ["L0901"]);
}

#[test]
fn a_release_does_not_believe_the_made_root() {
    let service = made(&[]);
    let run = rekindle!("attest", service.ledger(), "--json").expect(1);
    let report = run.json();
    assert_eq!(report["verdict"], "findings");
    assert_eq!(codes(&report), ["L0901"]);
    let node = &report["nodes"][0];
    for field in [
        "node",
        "from_seqno",
        "platform",
        "product",
        "tcb",
        "measurement",
        "host_data",
        "svn",
        "how",
        "proposals",
        "verdict",
        "checks",
    ] {
        assert!(node.get(field).is_some(), "{field} is not in {node}");
    }
    assert_eq!(
        (&node["platform"], &node["how"]),
        (&"snp".into(), &"self-declared".into())
    );
    assert_eq!(
        (&node["verdict"], &node["checks"]["root_key"]),
        (&"fails".into(), &"failed".into())
    );
    let text = rekindle!("attest", service.ledger()).expect(1).text();
    assert!(
        text.starts_with("nodes        1 with evidence that does not hold\n"),
        "{text}"
    );
}

#[test]
fn verify_says_what_nodes_come_to_and_counts_it_only_when_asked() {
    let service = made(&[]);
    let run = rekindle!("verify", service.ledger()).expect(0);
    assert!(
        run.text()
            .contains("\nnodes        1 with evidence that does not hold\n"),
        "{}",
        run.text()
    );
    let report = rekindle!("verify", service.ledger(), "--json").expect(0).json();
    assert!(report.get("nodes").is_none(), "{report}");
    let report = rekindle!("verify", service.ledger(), "--json", "--attestations")
        .expect(1)
        .json();
    assert_eq!((codes(&report), &report["nodes"]["failed"]), (vec!["L0901"], &1.into()));
}

#[test]
fn inspect_shows_the_report_of_a_node() {
    let service = made(&[]);
    let run = rekindle!(
        "inspect",
        service.ledger(),
        "--table",
        "public:ccf.gov.nodes.info",
        "--json"
    )
    .expect(0);
    let text = run.text();
    assert!(
        text.contains("\"product\":\"Milan\"") && text.contains("\"cpuid\":\"00a00f11\""),
        "{text:.2000}"
    );
}

#[test]
fn options_that_can_not_be_are_refused_with_a_sentence() {
    let service = made(&[]);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    std::fs::write(&file, "{\"milan\":{}}").unwrap();
    let ledger = || service.ledger();
    rekindle!("attest", ledger(), "--minimum-tcb", &file).expect_sentence(2, &["--minimum-tcb", "CPUID"]);
    rekindle!("attest", ledger(), "--crl", &file).expect_sentence(2, &["--crl", "revocation list"]);
    let run = rekindle!("attest", ledger(), "--time", "yesterday").expect(2);
    assert!(
        run.stderr.contains("RFC3339") || run.stderr.contains("2026-01-31"),
        "{}",
        run.stderr
    );
    for time in ["now", "none", "2030-01-01T00:00:00Z"] {
        rekindle!("attest", ledger(), "--time", time).expect(1);
    }
}

#[test]
fn nodes_of_the_real_ledgers_here_are_called_unattested() {
    let Some(ledgers) = ledgers() else { return };
    for directory in expected(&ledgers).keys() {
        let report = rekindle!("attest", ledgers.join(directory), "--json").json();
        let nodes = report["nodes"].as_array().unwrap();
        for node in nodes {
            assert_eq!(node["verdict"], "unattested", "{directory}: {node}");
            assert_ne!(node["checks"]["node_id"], "failed", "{directory}: {node}");
        }
        let own: Vec<Value> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|finding| finding["code"].as_str().unwrap().starts_with("L09"))
            .cloned()
            .collect();
        assert!(
            own.iter().all(|finding| finding["code"] == Code::Unattested.as_str()),
            "{directory}: {own:?}"
        );
        assert_eq!(own.len(), usize::from(!nodes.is_empty()), "{directory}: {own:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_chips() {
    let ledger = |service: &Service| {
        let mut files: Vec<_> = std::fs::read_dir(service.ledger())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect::<Vec<_>>()
    };
    assert!(ledger(&made(&[])) == ledger(&made(&[])));
}

#[test]
fn help_names_the_command() {
    let help = Run::of(&["--help".into()]).expect(0).text();
    assert!(help.contains("attest"), "{help}");
}
