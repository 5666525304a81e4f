//! Snapshots that the ledger does not explain: alone, newer than it, at its very end, or with a name that lies. Each gets its
//! own answer from `rekindle verify`, and from the node that recovers.

use std::path::{Path, PathBuf};

use crate::node::Place;
use crate::support::{Service, chunks, codes, contents, copy_files};
use rekindle::format::chunk::{Layout, Step, Walker};
use serde_json::{Value, json};

fn service(options: &[&str]) -> Service {
    let mut all = vec!["--entries", "100", "--signature-every", "10", "--snapshot-every", "40"];
    all.extend(["--chunk-size", "9000"]);
    all.extend(options);
    Service::made(&all)
}

/// Seqno and file of the snapshots, oldest first.
fn snapshots(directory: &Path) -> Vec<(u64, u64, PathBuf)> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> = files
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let numbers = name["snapshot_".len()..].trim_end_matches(".committed").to_owned();
            let (seqno, evidence) = numbers.split_once('_').unwrap();
            (seqno.parse().unwrap(), evidence.parse().unwrap(), path)
        })
        .collect();
    found.sort();
    found
}

fn newest(service: &Service) -> (u64, u64, PathBuf) {
    snapshots(&service.snapshots()).pop().unwrap()
}

/// Ends a ledger after `last`, in an open chunk, as a node leaves it that got no further.
fn end_after(ledger: &Path, last: u64) {
    let all = chunks(ledger);
    let (first, path) = all.iter().rfind(|(first, _)| *first <= last).unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    let layout = Layout::read(&bytes).unwrap();
    let (mut walker, mut faults) = (Walker::new(&bytes, layout, *first), Vec::new());
    let mut end = 8;
    while let Step::Entry(located) = walker.step(&mut faults) {
        end = located.offset as usize + located.entry.raw.len();
        if located.seqno == last {
            break;
        }
    }
    bytes.truncate(end);
    bytes[..8].fill(0);
    for (_, path) in all.iter().filter(|(other, _)| other >= first) {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::write(ledger.join(format!("ledger_{first}")), bytes).unwrap();
}

fn remove_chunks(ledger: &Path, which: impl Fn(u64) -> bool) {
    for (_, path) in chunks(ledger).into_iter().filter(|(first, _)| which(*first)) {
        std::fs::remove_file(path).unwrap();
    }
}

fn severities<'r>(report: &'r Value, code: &str) -> Vec<&'r str> {
    let findings = report["findings"].as_array().unwrap().iter();
    let of_code = findings.filter(|finding| finding["code"] == code);
    of_code.map(|finding| finding["severity"].as_str().unwrap()).collect()
}

// verify

#[test]
fn a_snapshot_without_any_chunk_proves_its_state_and_says_what_is_lost() {
    let service = service(&[]);
    let (seqno, evidence, file) = newest(&service);
    let empty = tempfile::tempdir().unwrap();
    let until = rekindle!["verify", service.ledger(), "--until", seqno.to_string(), "--json"]
        .expect(0)
        .json();
    let latest = rekindle![
        "verify",
        empty.path(),
        "--snapshots",
        service.snapshots(),
        "--from-snapshot",
        "latest",
        "--json"
    ];
    let by_name = rekindle!["verify", empty.path(), "--from-snapshot", &file, "--json"];
    for run in [latest, by_name] {
        let report = run.expect(1).json();
        assert_eq!(codes(&report), ["L0510"], "{report}");
        let message = report["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains(&format!("up to {evidence} were signed")), "{message}");
        for field in ["last_signed", "root", "signer", "last_seqno", "services"] {
            assert_eq!(report[field], until[field], "{field}");
        }
        assert_eq!(
            (&report["entries"], &report["unsigned_entries"]),
            (&json!(0), &json!(0))
        );
    }
}

#[test]
fn snapshots_without_any_chunk_are_judged_by_their_own_receipts() {
    let service = service(&[]);
    let (_, _, file) = newest(&service);
    let empty = tempfile::tempdir().unwrap();
    let judge = || {
        rekindle!["verify", empty.path(), "--snapshots", service.snapshots(), "--json"]
            .expect(1)
            .json()
    };
    let report = judge();
    assert_eq!(codes(&report), ["L0510"], "{report}");
    assert_eq!(
        report["last_signed"],
        Value::Null,
        "nothing was asked to begin after one"
    );
    assert!(
        report["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .all(|snapshot| snapshot["verdict"] == "ok")
    );
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(codes(&judge()).iter().any(|code| ["L0501", "L0502"].contains(code)));
    rekindle!["verify", empty.path()].expect_sentence(3, &["no ledger in"]);
}

#[test]
fn a_snapshot_newer_than_the_ledger_is_told_from_one_whose_evidence_is() {
    let service = service(&[]);
    let (seqno, evidence, file) = newest(&service);
    let report = |from_snapshot: bool| {
        let with = rekindle!["verify", service.ledger(), "--snapshots", service.snapshots(), "--json"];
        let after = rekindle!["verify", service.ledger(), "--from-snapshot", &file, "--json"];
        if from_snapshot { after } else { with }.expect(1).json()
    };
    end_after(&service.ledger(), evidence - 1);
    for from_snapshot in [false, true] {
        let report = report(from_snapshot);
        assert_eq!(codes(&report), ["L0506"], "{report}");
        assert_eq!(report["last_signed"], format!("2.{seqno}"));
    }
    end_after(&service.ledger(), seqno - 3);
    let report_without = report(false);
    let errors: Vec<_> = codes(&report_without)
        .into_iter()
        .filter(|code| *code != "L0311")
        .collect();
    assert_eq!(errors, ["L0509"], "{report_without}");
    assert_eq!(severities(&report_without, "L0509"), ["warning"]);
    let after = report(true);
    assert_eq!(codes(&after), ["L0509"], "{after}");
    assert_eq!(
        after["last_signed"],
        format!("2.{seqno}"),
        "its receipt proves its state"
    );
}

#[test]
fn a_run_that_was_told_to_end_raises_no_alarm_about_snapshots_after_that() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    // Services, states and evidence after the end.
    for until in ["30", "71"] {
        let run = rekindle![
            "verify",
            small.ledger(),
            "--snapshots",
            small.snapshots(),
            "--until",
            until,
            "--json"
        ];
        let report = run.expect(0).json();
        assert!(severities(&report, "L0506").contains(&"info"), "{report}");
    }
}

#[test]
fn a_newer_snapshot_of_another_history_is_found_by_its_tree() {
    let service = Service::made(&[
        "--entries",
        "100",
        "--signature-every",
        "10",
        "--snapshot-every",
        "90",
        "--fork",
        "same-view",
    ]);
    let foreign = service.directory.join("fork/snapshots");
    let (seqno, _, _) = snapshots(&foreign).pop().unwrap();
    let ledger = service.ledger();
    // Both trees have a subtree of 64 transactions, in which the histories have parted.
    assert!((68..128).contains(&seqno), "{seqno}");
    end_after(&ledger, seqno - 4);
    let verify = |snapshots: &Path| {
        rekindle!["verify", &ledger, "--snapshots", snapshots, "--json"]
            .expect(1)
            .json()
    };
    assert!(
        !codes(&verify(&service.snapshots())).contains(&"L0505"),
        "its own continues it"
    );
    let report = verify(&foreign);
    assert_eq!(severities(&report, "L0505"), ["error"], "{report}");
}

#[test]
fn a_name_that_lies_about_the_evidence_is_a_finding_and_hides_nothing() {
    let service = service(&["--fork", "same-view"]);
    let (seqno, evidence, file) = newest(&service);
    let (_, _, foreign) = snapshots(&service.directory.join("fork/snapshots")).pop().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for lie in [0, 1, seqno, evidence + 1, 999_999] {
        let path = scratch.path().join(format!("snapshot_{seqno}_{lie}.committed"));
        std::fs::copy(&file, &path).unwrap();
        let with = rekindle!["verify", service.ledger(), "--snapshots", scratch.path(), "--json"];
        let after = rekindle!["verify", service.ledger(), "--from-snapshot", &path, "--json"];
        for run in [with, after] {
            let report = run.expect(1).json();
            assert_eq!(codes(&report), ["L0508"], "{lie}: {report}");
            let message = report["findings"][0]["message"].as_str().unwrap();
            assert!(
                message.contains(&format!("snapshot_{seqno}_{evidence}.committed")),
                "{message}"
            );
        }
        // The signer is right, and only the ledger can tell that it is of another history.
        std::fs::copy(&foreign, &path).unwrap();
        let report = rekindle!["verify", service.ledger(), "--snapshots", scratch.path(), "--json"]
            .expect(1)
            .json();
        assert!(
            codes(&report).contains(&"L0505") || codes(&report).contains(&"L0504"),
            "{lie}: {report}"
        );
        std::fs::remove_file(path).unwrap();
    }
}

// The node

/// What users have, as the ledger up to `seqno` says.
fn state_at(service: &Service, seqno: u64) -> Vec<Value> {
    let mut lines = service.export(true, &["--state", "--at", &seqno.to_string()]);
    lines.retain(|line| !line["table"].as_str().unwrap().starts_with("public:ccf."));
    lines
}

/// What users have in a ledger that begins after a snapshot.
fn state_of(place: &Place) -> Vec<Value> {
    let snapshots = place.directory.join("snapshots");
    let result = Service::at(place.directory.clone());
    let mut lines = result.export(true, &["--state", "--snapshots", snapshots.to_str().unwrap()]);
    lines.retain(|line| !line["table"].as_str().unwrap().starts_with("public:ccf."));
    lines
}

/// That what a recovery from this snapshot wrote verifies after it.
#[track_caller]
fn verify_after(place: &Place, snapshot: &Path) -> Value {
    let certificate = place.directory.join("service_cert.pem");
    let run = rekindle![
        "verify",
        place.ledger(),
        "--from-snapshot",
        snapshot,
        "--snapshots",
        place.directory.join("snapshots"),
        "--service-cert",
        certificate,
        "--json"
    ];
    run.expect(0).json()
}

#[test]
fn a_service_is_recovered_from_a_snapshot_alone_and_once_more_from_what_that_left() {
    let service = service(&["--rekey-every", "30"]);
    let (seqno, _, file) = newest(&service);
    let mut place = Place::of(&service.directory).with_previous_identity();
    remove_chunks(&place.ledger(), |_| true);
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"], seqno);
    assert_eq!(recovered.opened["state"], "PartOfNetwork");
    let before = state_at(&service, seqno);
    assert!(
        before.iter().any(|line| line["private"] == true),
        "nothing private to lose"
    );
    assert_eq!(state_of(&place), before, "private keys come from the snapshot");
    let own = place.directory.join("snapshots").join(file.file_name().unwrap());
    let report = verify_after(&place, &own);
    assert_eq!(report["services"].as_array().unwrap().len(), 2);
    assert_eq!(report["services"][1]["from_seqno"], seqno + 1);

    // The next disaster takes the ledger again.
    let latest = snapshots(&place.directory.join("snapshots")).pop().unwrap();
    remove_chunks(&place.ledger(), |_| true);
    std::fs::copy(
        place.directory.join("service_cert.pem"),
        place.directory.join("previous_service_cert.pem"),
    )
    .unwrap();
    place.config["command"]["recover"]["previous_service_identity_file"] = json!("previous_service_cert.pem");
    place.recover();
    assert_eq!(state_of(&place), before);
    assert_eq!(verify_after(&place, &latest.2)["services"].as_array().unwrap().len(), 2);
}

#[test]
fn a_snapshot_alone_names_the_service_before_it_and_refuses_another() {
    let service = service(&[]);
    let other = Service::made(&["--entries", "5", "--seed", "9"]);
    let mut place = Place::of(&service.directory);
    remove_chunks(&place.ledger(), |_| true);
    std::fs::copy(
        other.common("service_cert.pem"),
        place.directory.join("previous_service_cert.pem"),
    )
    .unwrap();
    place.config["command"]["recover"]["previous_service_identity_file"] = json!("previous_service_cert.pem");
    let said = place.refused();
    assert!(said.contains("Previous service identity does not match"), "{said}");
    assert_eq!(
        std::fs::read_dir(place.ledger()).unwrap().count(),
        0,
        "nothing was written"
    );
}

#[test]
fn a_name_that_lies_about_the_evidence_is_shown_by_the_node_that_starts_from_it() {
    let service = service(&[]);
    let (seqno, _, file) = newest(&service);
    let place = Place::of(&service.directory);
    let directory = place.directory.join("snapshots");
    for (_, _, path) in snapshots(&directory) {
        std::fs::remove_file(path).unwrap();
    }
    std::fs::copy(&file, directory.join(format!("snapshot_{seqno}_999999.committed"))).unwrap();
    for alone in [false, true] {
        let place = place.again();
        if alone {
            remove_chunks(&place.ledger(), |_| true);
        }
        let mut node = place.start();
        let state = node.wait_for("PartOfPublicNetwork");
        assert_eq!(state["startup_seqno"], seqno);
        let findings = node.state()["recovery"]["findings"].to_string();
        assert!(findings.contains("L0508"), "{findings}");
        assert_eq!(findings.contains("L0510"), alone, "{findings}");
    }
}

#[test]
fn an_older_snapshot_alone_is_not_taken_for_a_damaged_newer_one_without_a_word() {
    let service = service(&[]);
    let all = snapshots(&service.snapshots());
    let [(older, ..), (_, _, newer)] = &all[..] else {
        panic!("{all:?}")
    };
    let mut place = Place::of(&service.directory);
    remove_chunks(&place.ledger(), |_| true);
    let path = place.directory.join("snapshots").join(newer.file_name().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let before = contents(&place.directory.join("snapshots"));
    let said = place.refused();
    for words in [
        "can't start from snapshot",
        "there is no ledger",
        &format!("--drop-after {older}"),
    ] {
        assert!(said.to_lowercase().contains(words), "{words}: {said}");
    }
    assert!(before == contents(&place.directory.join("snapshots")));
    place.arguments = vec!["--drop-after".to_owned(), older.to_string()];
    let recovered = place.recover();
    assert_eq!(recovered.public["startup_seqno"], *older);
    assert_eq!(state_of(&place), state_at(&service, *older));
}

#[test]
fn a_ledger_whose_beginning_is_gone_and_which_ends_at_its_snapshot_is_recovered_from_that() {
    let service = service(&[]);
    let (seqno, _, file) = newest(&service);
    for after in [0, 2] {
        let place = Place::of(&service.directory);
        end_after(&place.ledger(), seqno + after);
        let last = chunks(&place.ledger()).pop().unwrap().0;
        remove_chunks(&place.ledger(), |first| first < last);
        let recovered = place.recover();
        assert_eq!(recovered.public["startup_seqno"], seqno, "{after}");
        let own = place.directory.join("snapshots").join(file.file_name().unwrap());
        assert_eq!(verify_after(&place, &own)["services"].as_array().unwrap().len(), 2);
        assert_eq!(state_of(&place), state_at(&service, seqno));
    }
}

#[test]
fn a_snapshot_of_another_history_is_not_built_on_at_the_end_of_a_ledger() {
    let service = service(&["--fork", "same-view"]);
    let (seqno, ..) = newest(&service);
    let place = Place::of(&service.directory);
    end_after(&place.ledger(), seqno);
    let directory = place.directory.join("snapshots");
    std::fs::remove_dir_all(&directory).unwrap();
    copy_files(&service.directory.join("fork/snapshots"), &directory);
    let mut node = place.start();
    let state = node.wait_for("PartOfPublicNetwork");
    assert_ne!(state["startup_seqno"], seqno, "{}", node.log());
}
