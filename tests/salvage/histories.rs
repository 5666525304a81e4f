//! Histories that contradict each other: what gives way, what is discarded, and what is refused.

use std::path::{Path, PathBuf};

use super::seeded::scratch;
use super::support::{self, Run, Service};

/// Runs `salvage --json` into a new directory.
pub fn run(copies: &[&Path], output: &Path, options: &[&str]) -> Run {
    let mut arguments = vec!["salvage".into(), "--json".into(), "-o".into(), output.into()];
    arguments.extend(copies.iter().map(|copy| copy.as_os_str().to_owned()));
    arguments.extend(options.iter().map(std::ffi::OsString::from));
    Run::of(&arguments)
}

/// Names and contents of a directory's files.
pub fn files(directory: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let listing = std::fs::read_dir(directory).unwrap().map(|item| item.unwrap().path());
    listing
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().into(), std::fs::read(&path).unwrap()))
        .collect()
}

#[track_caller]
fn assert_is(output: &Path, ledger: &Path) {
    let (found, expected) = (files(&output.join("ledger")), files(ledger));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "the files are not the same");
}

#[test]
fn the_tail_of_a_primary_that_lost_its_place_is_left_out() {
    let service = Service::made(&[
        "--nodes",
        "3",
        "--entries",
        "90",
        "--election-every",
        "45",
        "--superseded-tail",
        "25",
        "--signature-every",
        "10",
        "--curve",
        "p256",
    ]);
    let scratch = scratch();
    let superseded = service.directory.join("superseded/1");
    for (number, copies) in [
        [service.ledger(), superseded.clone()],
        [superseded.clone(), service.ledger()],
    ]
    .iter()
    .enumerate()
    {
        let output = scratch.path().join(number.to_string());
        let report = run(&[&copies[0], &copies[1]], &output, &[]).expect(0).json();
        assert_is(&output, &service.ledger());
        assert_eq!(report["is_complete"], true);
        let left = report["left_out"].as_array().unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0]["why"].as_str().unwrap().contains("gave way"), "{left:?}");
    }
}

#[test]
fn a_fork_is_refused_unless_somebody_says_which_to_take() {
    for kind in ["same-view", "committed", "recovery"] {
        let service = Service::made(&[
            "--entries",
            "60",
            "--signature-every",
            "10",
            "--fork",
            kind,
            "--curve",
            "p256",
            "--nodes",
            "3",
            "--chunk-size",
            "3000",
        ]);
        let scratch = scratch();
        let fork = service.directory.join("fork/ledger");
        let output = scratch.path().join("refused");
        let report = run(&[&service.ledger(), &fork], &output, &[]).expect(1).json();
        assert!(!output.exists(), "{kind}");
        let codes: Vec<_> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| &finding["code"])
            .collect();
        assert!(codes.iter().any(|code| *code == "L1104"), "{kind}: {codes:?}");
        for (number, preferred) in [service.ledger(), fork.clone()].iter().enumerate() {
            let output = scratch.path().join(number.to_string());
            run(
                &[&service.ledger(), &fork],
                &output,
                &["--prefer", preferred.to_str().unwrap()],
            )
            .expect(0);
            assert_is(&output, preferred);
        }
    }
}

#[test]
fn a_copy_of_another_service_is_never_mixed_in() {
    let (one, other) = (
        Service::made(&["--entries", "40", "--curve", "p256", "--signature-every", "10"]),
        Service::made(&[
            "--entries",
            "70",
            "--curve",
            "p256",
            "--signature-every",
            "10",
            "--seed",
            "2",
        ]),
    );
    let scratch = scratch();
    let output = scratch.path().join("refused");
    run(&[&one.ledger(), &other.ledger()], &output, &[]).expect(1);
    assert!(!output.exists());
    for (number, service) in [one.directory.clone(), other.directory.clone()].iter().enumerate() {
        let output = scratch.path().join(number.to_string());
        let certificate = service.join("common/service_cert.pem");
        let options = ["--service-cert", certificate.to_str().unwrap()];
        run(&[&one.ledger(), &other.ledger()], &output, &options).expect(0);
        assert_is(&output, &service.join("ledger"));
    }
}

#[test]
fn the_service_that_was_asked_for_is_found_among_several() {
    let services: Vec<Service> = [("40", "1"), ("50", "2"), ("60", "3")]
        .iter()
        .map(|(entries, seed)| Service::made(&["--entries", entries, "--curve", "p256", "--seed", seed]))
        .collect();
    let ledgers: Vec<PathBuf> = services.iter().map(Service::ledger).collect();
    let copies: Vec<&Path> = ledgers.iter().map(PathBuf::as_path).collect();
    let scratch = scratch();
    for (number, service) in services.iter().enumerate() {
        let output = scratch.path().join(number.to_string());
        let certificate = service.common("service_cert.pem");
        let report = run(&copies, &output, &["--service-cert", certificate.to_str().unwrap()]);
        let report = report.expect(0).json();
        assert_is(&output, &service.ledger());
        assert_eq!(report["left_out"].as_array().unwrap().len(), 2, "{report:#}");
    }
    let stranger = Service::made(&["--entries", "20", "--curve", "p256", "--seed", "9"]);
    let output = scratch.path().join("stranger");
    let certificate = stranger.common("service_cert.pem");
    let report = run(&copies, &output, &["--service-cert", certificate.to_str().unwrap()]);
    let report = report.expect(1).json();
    assert!(report["findings"].to_string().contains("L1104"), "{report:#}");
    assert!(report["left_out"].as_array().unwrap().is_empty(), "{report:#}");
    assert!(!output.exists());
}

#[test]
fn what_a_lower_view_had_not_signed_is_no_part_of_the_result_however_long() {
    let service = Service::made(&[
        "--nodes",
        "3",
        "--entries",
        "90",
        "--election-every",
        "45",
        "--superseded-tail",
        "25",
        "--signature-every",
        "100",
        "--curve",
        "p256",
    ]);
    let scratch = scratch();
    let superseded = service.directory.join("superseded/1");
    // The history that was kept, up to its first entries that nothing signs; the other one is longer.
    let all = super::damage::read(&service.ledger());
    let lower = super::damage::read(&superseded);
    let view = |entry: &[u8]| u32::from_le_bytes(entry[32..36].try_into().unwrap());
    let flat: Vec<&[u8]> = all
        .iter()
        .flat_map(|file| file.entries.iter().map(|range| &file.bytes[range.clone()]))
        .collect();
    let signed: Vec<u64> = super::damage::signatures(&all)
        .into_iter()
        .map(|(seqno, _)| seqno)
        .collect();
    let lower_end = lower
        .last()
        .map(|file| file.first + file.entries.len() as u64 - 1)
        .unwrap();
    let begin = flat.windows(2).position(|pair| view(pair[0]) < view(pair[1])).unwrap() as u64 + 2;
    let last_signed = *signed.iter().filter(|seqno| **seqno >= begin).min().unwrap();
    let kept = last_signed + 2;
    assert!(kept < lower_end, "kept {kept}, lower to {lower_end}");
    let copy = scratch.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let mut bytes = vec![0; 8];
    flat.iter()
        .take(kept as usize)
        .for_each(|entry| bytes.extend_from_slice(entry));
    std::fs::write(copy.join("ledger_1"), bytes).unwrap();
    for (number, copies) in [[&copy, &superseded], [&superseded, &copy]].iter().enumerate() {
        let output = scratch.path().join(number.to_string());
        let report = run(&[copies[0], copies[1]], &output, &[]).expect(0).json();
        assert_eq!(report["is_complete"], true, "{report:#}");
        assert_eq!(report["last_seqno"], kept, "{report:#}");
    }
}

#[test]
fn what_a_recovery_left_that_did_not_open_is_left_out() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--unfinished-recovery",
        "--curve",
        "p256",
    ]);
    let scratch = scratch();
    let output = scratch.path().join("out");
    let report = run(&[&service.ledger()], &output, &[]).expect(0).json();
    let mut expected = files(&service.ledger());
    let before = expected.len();
    expected.retain(|name, _| !name.to_string_lossy().contains("recovery"));
    assert!(expected.len() < before);
    assert!(files(&output.join("ledger")) == expected, "{report:#}");
    assert!(report["left_out"][0]["why"].as_str().unwrap().contains("did not open"));
}

#[test]
fn recoveries_rekeys_and_snapshots_come_through_and_a_snapshot_bridges_what_is_lost() {
    let service = Service::made(&[
        "--entries",
        "300",
        "--signature-every",
        "10",
        "--recoveries",
        "2",
        "--rekey-every",
        "60",
        "--snapshot-every",
        "50",
        "--chunk-size",
        "6000",
        "--curve",
        "p256",
    ]);
    let scratch = scratch();
    let output = scratch.path().join("whole");
    run(&[&service.directory], &output, &[]).expect(0);
    assert_is(&output, &service.ledger());
    assert!(files(&output.join("snapshots")) == files(&service.snapshots()));

    // A chunk in the middle is lost in every copy.
    let copy = scratch.path().join("copy");
    support::copy_files(&service.ledger(), &copy.join("ledger"));
    support::copy_files(&service.snapshots(), &copy.join("snapshots"));
    let chunks = support::chunks(&copy.join("ledger"));
    let (lost, path) = &chunks[chunks.len() / 2];
    std::fs::remove_file(path).unwrap();
    let output = scratch.path().join("bridged");
    let report = run(&[&copy], &output, &[]).expect(1).json();
    assert_eq!(report["last_seqno"], lost - 1);
    assert_eq!(report["missing"][0]["from_seqno"], *lost);
    rekindle!["verify", output.join("ledger")].expect(0);
    let below = output.join("bridged");
    let bridged = rekindle![
        "verify",
        "--json",
        below.join("ledger"),
        "--snapshots",
        below.join("snapshots"),
        "--from-snapshot",
        "latest"
    ]
    .expect(0)
    .json();
    assert_eq!(bridged["last_signed"], service.expected()["last_signed"], "{bridged:#}");
    assert_eq!(report["bridged"]["last_signed"], bridged["last_signed"]);
}
