//! Directories that no CCF node left behind: `verify` must answer, in bounded time and memory, and never crash.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use rekindle::recovery::verify::VerifyReport;

use super::ground::{Copy, fixture, is_clean, is_fault, read_ledger, show, verify_in};
use rekindle::recovery::join::Mode;

/// Verifies within a minute, or fails.
fn answer(directory: &Path) -> rekindle::Result<VerifyReport> {
    let (send, receive) = channel();
    let path = directory.to_owned();
    // Nobody listens any more if this takes too long.
    std::thread::spawn(move || drop(send.send(verify_in(&path, Mode::Audit))));
    receive
        .recv_timeout(Duration::from_secs(60))
        .expect("verify neither answers nor fails")
}

/// The findings about this file, which must be there.
fn named(report: &VerifyReport, file: &str) {
    let same = |path: &String| path.ends_with(file);
    let found = report
        .findings
        .iter()
        .any(|finding| is_fault(finding) && finding.file.as_ref().is_some_and(same));
    assert!(found, "{file} is not named: {}", show(report));
}

fn small() -> Copy {
    Copy::of(&read_ledger(&fixture("p256/ledger")))
}

#[test]
fn names_with_huge_or_senseless_ranges_are_answered_and_named() {
    for name in [
        "ledger_1-18446744073709551615.committed",
        "ledger_2-18446744073709551615.committed",
        "ledger_18446744073709551615",
        "ledger_18446744073709551615-18446744073709551615.committed",
        "ledger_9999999999-99999999999.committed",
        "ledger_0",
        "ledger_0-0.committed",
        "ledger_5-3.committed",
        "ledger_18446744073709551616-18446744073709551617.committed",
        "ledger_-1",
    ] {
        for bytes in [&b""[..], &[0; 7], &[0; 8], &[0xff; 64], &[1; 4096]] {
            let copy = small();
            std::fs::write(copy.file(name), bytes).unwrap();
            if let Ok(report) = answer(copy.path())
                && is_clean(&report)
            {
                assert!(
                    bytes == [0; 8] && !name.contains('-'),
                    "{name} with {} bytes passes",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn a_chunk_that_claims_everything_does_not_hide_that_others_are_whole() {
    let copy = small();
    std::fs::write(copy.file("ledger_1-18446744073709551615.committed"), [0; 64]).unwrap();
    let report = answer(copy.path()).unwrap();
    assert!(!is_clean(&report));
    named(&report, "ledger_1-18446744073709551615.committed");
}

#[test]
fn directories_and_pipes_named_like_chunks_are_named_and_not_opened() {
    let copy = small();
    std::fs::create_dir(copy.file("ledger_7-9.committed")).unwrap();
    let pipe = std::process::Command::new("mkfifo")
        .arg(copy.file("ledger_90"))
        .status();
    assert!(pipe.is_ok_and(|status| status.success()), "mkfifo");
    let report = answer(copy.path()).unwrap();
    named(&report, "ledger_7-9.committed");
    named(&report, "ledger_90");
}

#[test]
fn a_pipe_named_like_a_snapshot_is_named_and_not_waited_for() {
    let copy = small();
    let pipe = std::process::Command::new("mkfifo")
        .arg(copy.file("snapshot_5_6.committed"))
        .status();
    assert!(pipe.is_ok_and(|status| status.success()), "mkfifo");
    let options = rekindle::recovery::verify::Options {
        snapshot_directories: vec![copy.path().to_owned()],
        ..Default::default()
    };
    let report = super::ground::verify_with(&[copy.path()], &options).unwrap();
    named(&report, "snapshot_5_6.committed");
}

#[test]
fn links_that_lead_nowhere_are_an_error_that_names_them() {
    for target in ["ledger_90", "nowhere"] {
        let copy = small();
        symlink(target, copy.file("ledger_90")).unwrap();
        let error = answer(copy.path()).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("ledger_90"), "{error}");
    }
}

#[test]
fn a_chunk_that_shrinks_while_it_is_read_gives_an_answer() {
    // Larger than one mapping's first pages, so that reads really fall behind the new end.
    let options = rekindle::fixture::Options {
        entries: 3000,
        value_size: 1000,
        signature_every: 500,
        members: 1,
        threshold: 1,
        curve: rekindle::crypto::Curve::P256,
        ..Default::default()
    };
    let scratch = tempfile::tempdir().unwrap();
    rekindle::fixture::generate(
        &options,
        &scratch.path().join("out"),
        &rekindle::report::progress::Silent,
    )
    .unwrap();
    let files = read_ledger(&scratch.path().join("out/ledger"));
    let largest = files.iter().max_by_key(|file| file.bytes.len()).unwrap();
    let copy = Copy::of(&files);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut length = largest.bytes.len();
            while !stop.load(Ordering::Relaxed) {
                length = if length < 10_000 {
                    largest.bytes.len()
                } else {
                    length / 2
                };
                match length == largest.bytes.len() {
                    true => copy.write_at(&largest.name, 0, &largest.bytes),
                    false => copy.cut(&largest.name, length),
                }
                std::thread::yield_now();
            }
        });
        for _ in 0..40 {
            // Whichever state of the file it sees: an answer, and never more than there ever was.
            if let Ok(report) = verify_in(copy.path(), Mode::Audit) {
                assert!(report.last_seqno < 10_000, "{}", show(&report));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    copy.cut(&largest.name, largest.bytes.len() / 2);
    let report = answer(copy.path()).unwrap();
    named(&report, &largest.name);
}
