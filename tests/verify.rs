//! `rekindle verify`: is this ledger whole, and up to where?

#[macro_use]
mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Run, Service, assert_fields, chunks, codes, contents, copy_files, expected, ledgers, timeless};

#[test]
fn every_real_ledger_is_what_the_official_reader_says_it_is() {
    let Some(ledgers) = ledgers() else { return };
    for (name, expected) in expected(&ledgers) {
        let report = rekindle!["verify", ledgers.join(&name), "--json"].expect(0).json();
        assert_eq!(report["verdict"], "ok", "{name}");
        for field in [
            "entries",
            "last_seqno",
            "signatures",
            "cose_signatures",
            "last_signed",
            "root",
        ] {
            assert_eq!(report[field], expected[field], "{name}: {field}");
        }
        let services: Vec<Value> = report["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| json!({"from_seqno": service["from_seqno"], "identity": service["identity"]}))
            .collect();
        assert_eq!(Value::from(services), expected["services"], "{name}");
        assert_eq!(report["unsigned_entries"], 0, "{name}");
        assert_eq!(report["mode"], "audit");
    }
}

#[test]
fn the_document_has_exactly_the_promised_fields() {
    let service = Service::made(&[
        "--entries",
        "20",
        "--signature-every",
        "5",
        "--snapshot-every",
        "10",
        "--unsigned-tail",
        "1",
    ]);
    let report = rekindle!["verify", service.ledger(), "--snapshots", service.snapshots(), "--json"]
        .expect(0)
        .json();
    let of_report = [
        "verdict",
        "mode",
        "entries",
        "signatures",
        "cose_signatures",
        "chunks",
        "bytes",
        "last_seqno",
        "last_signed",
        "root",
        "signer",
        "unsigned_entries",
        "services",
        "snapshots",
        "findings",
        "elapsed_s",
        "entries_per_s",
        "bytes_per_s",
    ];
    assert_fields(&report, &of_report);
    assert_fields(&report["services"][0], &["from_seqno", "identity", "recovery_count"]);
    assert_fields(&report["snapshots"][0], &["file", "seqno", "verdict"]);
    let of_finding = [
        "code",
        "severity",
        "file",
        "offset",
        "seqno",
        "message",
        "proven_to",
        "next",
    ];
    assert_fields(&report["findings"][0], &of_finding);
    assert_eq!(
        report["unsigned_entries"], 1,
        "an entry behind the last signature is reported"
    );
    assert_eq!(codes(&report), ["L0311"]);
    assert_eq!(report["verdict"], "ok", "and is no reason for concern");
}

/// Real ledgers with snapshots: ledger, snapshots.
const WITH_SNAPSHOTS: [(&str, &str, usize); 3] = [
    ("expired_service/ledger", "expired_service/snapshots", 1),
    ("real_small/ledger", "real_small/snapshots", 2),
    ("real_three_nodes/node0", "real_three_nodes/snapshots", 2),
];

#[test]
fn every_real_snapshot_is_proven() {
    let Some(ledgers) = ledgers() else { return };
    for (ledger, snapshots, count) in WITH_SNAPSHOTS {
        let report = rekindle![
            "verify",
            ledgers.join(ledger),
            "--snapshots",
            ledgers.join(snapshots),
            "--json"
        ];
        let report = report.expect(0).json();
        let verdicts: Vec<_> = report["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| &snapshot["verdict"])
            .collect();
        assert_eq!(verdicts, vec!["ok"; count], "{ledger}");
    }
}

#[test]
fn starting_behind_a_snapshot_proves_the_same_end() {
    let Some(ledgers) = ledgers() else { return };
    for (ledger, snapshots, count) in WITH_SNAPSHOTS {
        let (ledger, snapshots) = (ledgers.join(ledger), ledgers.join(snapshots));
        let whole = rekindle!["verify", &ledger, "--json"].expect(0).json();
        let latest = rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--from-snapshot",
            "latest",
            "--json"
        ];
        let mut runs = vec![latest];
        for file in std::fs::read_dir(&snapshots).unwrap() {
            runs.push(rekindle![
                "verify",
                &ledger,
                "--from-snapshot",
                file.unwrap().path(),
                "--json"
            ]);
        }
        assert_eq!(runs.len(), count + 1);
        for run in runs {
            let report = run.expect(0).json();
            for field in ["last_signed", "root", "signer", "last_seqno", "verdict"] {
                assert_eq!(report[field], whole[field], "{}: {field}", ledger.display());
            }
            assert!(
                report["entries"].as_u64() < whole["entries"].as_u64(),
                "entries before the snapshot are not read"
            );
        }
    }
}

#[test]
fn snapshots_of_services_before_the_start_are_left_unjudged_without_alarm() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    let run = rekindle![
        "verify",
        small.ledger(),
        "--snapshots",
        small.snapshots(),
        "--from-snapshot",
        "latest",
        "--json"
    ];
    let report = run.expect(0).json();
    assert_eq!(report["last_signed"], small.expected()["last_signed"]);
    assert_eq!(codes(&report), ["L0503", "L0503"]);
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["severity"] == "info")
    );
}

#[test]
fn a_ledger_whose_start_is_gone_is_proven_from_a_snapshot_and_not_without() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let late = tempfile::tempdir().unwrap();
    copy_files(&service.ledger(), late.path());
    for (first, path) in chunks(late.path()) {
        if first <= 346 {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.contains("-347.") && first < 340 {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    let report = rekindle!["verify", late.path(), "--json"].expect(1).json();
    assert!(codes(&report).contains(&"L0108"), "{report}");
    let report = rekindle![
        "verify",
        late.path(),
        "--snapshots",
        service.snapshots(),
        "--from-snapshot",
        "latest",
        "--json"
    ];
    assert_eq!(report.expect(0).json()["last_signed"], "2.578");
}

#[test]
fn integrity_mode_comes_to_the_same_result() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let audit = rekindle!["verify", ledgers.join(name), "--json"].expect(0).json();
        let mut integrity = rekindle!["verify", ledgers.join(name), "--mode", "integrity", "--json"]
            .expect(0)
            .json();
        assert_eq!(integrity["mode"], "integrity");
        integrity["mode"] = "audit".into();
        assert_eq!(timeless(integrity), timeless(audit), "{name}");
    }
}

#[test]
fn until_stops_behind_that_seqno_at_the_last_signature_before_it() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let history = service.export(false, &["--history", "--table", "^public:ccf.internal.signatures$"]);
    for until in [20, 300, 301, 302, 577] {
        let report = rekindle!["verify", service.ledger(), "--until", until.to_string(), "--json"]
            .expect(0)
            .json();
        assert_eq!(report["last_seqno"], until);
        let last = history
            .iter()
            .rfind(|line| line["seqno"].as_u64().unwrap() <= until)
            .unwrap();
        let signature: Value = serde_json::from_str(last["value"].as_str().unwrap()).unwrap();
        assert_eq!(report["last_signed"], format!("2.{}", last["seqno"]), "until {until}");
        assert_eq!(report["root"], signature["root"], "until {until}");
        assert_eq!(report["unsigned_entries"], until - last["seqno"].as_u64().unwrap());
    }
}

#[test]
fn the_service_certificate_must_be_that_of_the_last_service() {
    let Some(ledgers) = ledgers() else { return };
    for name in support::REAL_SERVICES {
        let service = Service::at(ledgers.join(name));
        rekindle![
            "verify",
            service.ledger(),
            "--service-cert",
            service.common("service_cert.pem")
        ]
        .expect(0);
    }
    let owner = Service::at(ledgers.join("real_owner"));
    let other = ledgers.join("real_small/common/service_cert.pem");
    let report = rekindle!["verify", owner.ledger(), "--service-cert", other, "--json"]
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L0407"]);
    assert_eq!(report["last_signed"], "6.160", "what is proven is said all the same");
}

fn saved(directory: &Path, report: &Value) -> std::path::PathBuf {
    let path = directory.join("earlier.json");
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

#[test]
fn a_ledger_rolled_back_or_rewritten_since_an_earlier_report_is_found() {
    let Some(ledgers) = ledgers() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let node = |n: u8| ledgers.join(format!("real_three_nodes/node{n}"));
    let report = rekindle!["verify", node(2), "--json"].expect(0).json();
    let earlier = saved(scratch.path(), &report);
    rekindle!["verify", node(2), "--against", &earlier].expect(0);
    rekindle!["verify", node(0), "--against", &earlier].expect(0);
    let found = |ledger: &Path| {
        rekindle!["verify", ledger, "--against", &earlier, "--json"]
            .expect(1)
            .json()
    };
    let rolled_back = found(&node(1));
    assert_eq!(codes(&rolled_back), ["L0601"]);
    assert_eq!(rolled_back["last_signed"], "2.424", "what is there is sound in itself");
    assert_eq!(
        codes(&found(&ledgers.join("real_small/ledger"))),
        ["L0802"],
        "another service's"
    );

    let mut rewritten = report;
    rewritten["root"] = "00".repeat(32).into();
    let earlier = saved(scratch.path(), &rewritten);
    let report = rekindle!["verify", node(0), "--against", &earlier, "--json"]
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L0602"]);
}

#[test]
fn one_thread_finds_what_many_find() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let many = rekindle!["verify", ledgers.join(name), "--json", "--jobs", "4"]
            .expect(0)
            .json();
        let one = rekindle!["verify", ledgers.join(name), "--json", "--jobs", "1"]
            .expect(0)
            .json();
        assert_eq!(timeless(one), timeless(many), "{name}");
    }
}

/// A report without the directories of what was found.
fn placeless(report: Value) -> Value {
    let mut report = timeless(report);
    for finding in report["findings"].as_array_mut().unwrap() {
        let name = finding["file"]
            .as_str()
            .map(|file| file.rsplit('/').next().unwrap().to_owned());
        finding["file"] = name.into();
    }
    report
}

#[test]
fn several_directories_are_one_ledger() {
    let Some(ledgers) = ledgers() else { return };
    for name in ["real_small/ledger", "double_sealed_service/ledger"] {
        let whole = rekindle!["verify", ledgers.join(name), "--json"].expect(0).json();
        let scratch = tempfile::tempdir().unwrap();
        let parts: Vec<_> = ["main", "older", "oldest"]
            .iter()
            .map(|part| scratch.path().join(part))
            .collect();
        parts.iter().for_each(|part| std::fs::create_dir(part).unwrap());
        let chunks = chunks(&ledgers.join(name));
        for (i, (_, path)) in chunks.iter().enumerate() {
            let part = if i + 3 > chunks.len() { 0 } else { 1 + i % 2 };
            std::fs::copy(path, parts[part].join(path.file_name().unwrap())).unwrap();
        }
        let parted = rekindle!["verify", &parts[0], &parts[1], &parts[2], "--json"]
            .expect(0)
            .json();
        assert_eq!(placeless(parted), placeless(whole), "{name}");
        let main = rekindle!["verify", &parts[0], "--json"].expect(1).json();
        assert!(
            codes(&main).contains(&"L0108"),
            "the main directory alone is not the ledger"
        );
    }
}

#[test]
fn a_missing_chunk_is_a_gap_and_what_is_proven_ends_before_it() {
    let Some(ledgers) = ledgers() else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_files(&ledgers.join("real_small/ledger"), copy.path());
    let (first, path) = chunks(copy.path()).swap_remove(10);
    std::fs::remove_file(path).unwrap();
    let report = rekindle!["verify", copy.path(), "--json"].expect(1).json();
    let gap = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "L0101")
        .unwrap();
    assert_eq!(gap["seqno"], first);
    assert_eq!(report["last_signed"], format!("2.{}", first - 1));
}

/// Every command that takes a ledger, with all there is to give it.
fn every_command(service: &Service) -> Vec<Run> {
    let (ledger, snapshots) = (service.ledger(), service.snapshots());
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out.jsonl.zst");
    vec![
        rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--checkpoint",
            scratch.path().join("checkpoint")
        ],
        rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--from-snapshot",
            "latest"
        ],
        rekindle!["inspect", &ledger, "--snapshots", &snapshots],
        rekindle!["inspect", &ledger, "--seqno", "1..20"],
        service.with_keys("unlock", &["--snapshots", snapshots.to_str().unwrap()]),
        service.with_keys("export", &["--history", "-o", out.to_str().unwrap()]),
        service.with_keys("export", &["-o", "-"]),
        rekindle!["compare", &ledger, scratch_copy(&ledger, scratch.path())],
    ]
}

fn scratch_copy(ledger: &Path, scratch: &Path) -> std::path::PathBuf {
    let copy = scratch.join("copy");
    copy_files(ledger, &copy);
    copy
}

#[test]
fn nothing_is_ever_written_to_a_ledger() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    let scratch = tempfile::tempdir().unwrap();
    for part in ["ledger", "snapshots", "common"] {
        copy_files(&small.directory.join(part), &scratch.path().join(part));
    }
    let service = Service::at(scratch.path().to_owned());
    let before = contents(scratch.path());
    for run in every_command(&service) {
        run.expect(0);
    }
    // Not even where it was asked for.
    for checkpoint in [
        service.ledger().join("checkpoint"),
        service.snapshots().join("checkpoint"),
    ] {
        rekindle![
            "verify",
            service.ledger(),
            "--snapshots",
            service.snapshots(),
            "--checkpoint",
            checkpoint
        ]
        .expect(2);
    }
    assert!(
        contents(scratch.path()) == before,
        "a file was written, added or removed"
    );
}
