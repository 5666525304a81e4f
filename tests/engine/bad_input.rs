//! What is given by mistake gets one clear sentence: what was found, what was expected, what to do.

use std::path::PathBuf;

use crate::support::{self, Service, codes, copy_files};

const WITH_DIRECTORY: [&[&str]; 4] = [&["verify"], &["inspect"], &["export", "-o", "-"], &["bench"]];

fn on(command: &[&str], directory: &std::path::Path) -> support::Run {
    let mut arguments: Vec<std::ffi::OsString> = command.iter().map(Into::into).collect();
    arguments.push(directory.into());
    support::Run::of(&arguments)
}

#[test]
fn a_directory_that_is_not_there() {
    for command in WITH_DIRECTORY {
        on(command, std::path::Path::new("/nowhere/ledger")).expect_sentence(3, &["/nowhere/ledger", "No such file"]);
    }
}

#[test]
fn a_file_instead_of_a_directory() {
    let service = Service::made(&["--entries", "5"]);
    let (_, chunk) = support::chunks(&service.ledger()).swap_remove(0);
    for command in WITH_DIRECTORY {
        let run = on(command, &chunk);
        assert!(matches!(run.code, Some(2 | 3)), "{:?}", run.code);
        let code = run.code.unwrap();
        run.expect_sentence(code, &[chunk.to_str().unwrap(), "directory"]);
    }
}

#[test]
fn an_empty_directory_or_one_with_no_ledger_in_it() {
    let empty = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("photo.jpg"), "not a chunk").unwrap();
    for directory in [empty.path(), other.path()] {
        for command in WITH_DIRECTORY {
            let run = on(command, directory);
            assert!(
                matches!(run.code, Some(2 | 3)),
                "{command:?}: {:?} {}",
                run.code,
                run.stderr
            );
            let code = run.code.unwrap();
            run.expect_sentence(code, &[directory.to_str().unwrap(), "ledger_"]);
        }
    }
}

#[test]
fn the_service_directory_instead_of_the_ledger_in_it() {
    let service = Service::made(&["--entries", "5"]);
    let run = rekindle!["verify", &service.directory];
    let code = run.code.unwrap();
    assert!(matches!(code, 2 | 3));
    run.expect_sentence(code, &["ledger_"]);
}

#[test]
fn a_chunk_that_can_not_be_read() {
    let service = Service::made(&["--entries", "5"]);
    let copy = tempfile::tempdir().unwrap();
    copy_files(&service.ledger(), copy.path());
    let (_, chunk) = support::chunks(copy.path()).pop().unwrap();
    std::fs::remove_file(&chunk).unwrap();
    std::os::unix::fs::symlink("/nowhere/chunk", &chunk).unwrap();
    for command in WITH_DIRECTORY {
        on(command, copy.path()).expect_sentence(3, &[chunk.to_str().unwrap()]);
    }
}

#[test]
fn snapshots_that_are_not_there_or_not_snapshots() {
    let service = Service::made(&["--entries", "20", "--signature-every", "5"]);
    let ledger = service.ledger();
    rekindle!["verify", &ledger, "--snapshots", "/nowhere"].expect_sentence(3, &["/nowhere"]);
    rekindle!["verify", &ledger, "--from-snapshot", "latest"].expect_sentence(2, &["--snapshots"]);
    rekindle![
        "verify",
        &ledger,
        "--from-snapshot",
        "latest",
        "--snapshots",
        service.snapshots()
    ]
    .expect_sentence(2, &["no committed snapshot"]);
    let (_, chunk) = support::chunks(&ledger).swap_remove(0);
    let run = rekindle!["verify", &ledger, "--from-snapshot", &chunk];
    let code = run.code.unwrap();
    assert!(matches!(code, 2 | 3), "{code}");
    run.expect_sentence(code, &[chunk.to_str().unwrap(), "snapshot"]);
    let missing = PathBuf::from("/nowhere/snapshot_5_6.committed");
    rekindle!["verify", &ledger, "--from-snapshot", &missing].expect_sentence(3, &[missing.to_str().unwrap()]);
}

#[test]
fn certificates_and_earlier_reports_that_are_something_else() {
    let service = Service::made(&["--entries", "5"]);
    let ledger = service.ledger();
    let key = service.key(0);
    rekindle!["verify", &ledger, "--service-cert", &key].expect_sentence(2, &[key.to_str().unwrap(), "certificate"]);
    rekindle!["verify", &ledger, "--against", &key]
        .expect_sentence(2, &[key.to_str().unwrap(), "rekindle verify --json"]);
    rekindle!["verify", &ledger, "--against", &ledger].expect_sentence(2, &["is a directory, expected a file"]);
    rekindle!["verify", &ledger, "--against", "/nowhere.json"].expect_sentence(3, &["/nowhere.json"]);
    rekindle!["verify", &ledger, "--checkpoint", &ledger.join("x")].expect_sentence(2, &["never written to"]);
    rekindle!["verify", &ledger, "--checkpoint", "/nowhere/x"].expect_sentence(3, &["/nowhere"]);
}

#[test]
fn outputs_that_can_not_be_written() {
    let service = Service::made(&["--entries", "5"]);
    let ledger = service.ledger();
    rekindle!["export", &ledger, "-o", "/nowhere/out.jsonl"].expect_sentence(3, &["/nowhere"]);
    rekindle!["export", &ledger, "-o", &ledger.join("out.jsonl")].expect_sentence(2, &["out.jsonl"]);
    rekindle!["export", &ledger, "-o", &service.directory].expect_sentence(2, &["is a directory"]);
    rekindle!["export", &ledger, "-o", "/dev/full"].expect_sentence(3, &["/dev/full", "space"]);
    rekindle!["export", &ledger, "--json", "-o", "-"].expect_sentence(2, &["--json", "-o -"]);
}

#[test]
fn keys_that_do_not_open_it_when_something_private_is_asked_for() {
    let service = Service::made(&["--entries", "5"]);
    let other = Service::made(&["--entries", "5", "--seed", "2"]);
    for command in [&["export", "-o", "-"][..], &["inspect", "--seqno", "3"], &["bench"]] {
        let mut command = command.to_vec();
        let key = other.key(0);
        command.extend(["--member-key", key.to_str().unwrap(), "--jobs", "1"]);
        on(&command, &service.ledger()).expect_sentence(3, &["don't open this ledger", "rekindle unlock"]);
    }
}

#[test]
fn a_ledger_that_is_garbage_is_a_finding_and_not_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..5000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(directory.path().join("ledger_1-9.committed"), &noise).unwrap();
    std::fs::write(directory.path().join("ledger_10"), b"").unwrap();
    let report = rekindle!["verify", directory.path(), "--json"].expect(1).json();
    assert!(codes(&report).contains(&"L0312"), "{:?}", codes(&report));
    assert!(rekindle!["inspect", directory.path()].code.is_some());
    assert!(
        rekindle!["export", directory.path(), "--history", "-o", "-"]
            .code
            .is_some()
    );
}

#[test]
fn fixtures_that_can_not_be() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    for wrong in [
        ["--private", "2"],
        ["--threshold", "9"],
        ["--entry-type", "1"],
        ["--signature-every", "0"],
    ] {
        let run = rekindle!["fixture", "--out", &out, wrong[0], wrong[1]];
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.stderr);
        assert!(!out.exists(), "{wrong:?}");
    }
}
