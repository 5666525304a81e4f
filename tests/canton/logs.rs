//! `rekindle canton scan`: logs go in, an evidence file comes out.

use std::path::Path;
use std::process::{Command, Output};

fn rekindle(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rekindle"))
        .args(["--json", "canton", "scan"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn line(minute: u32) -> String {
    let logger = "c.d.c.p.p.AcsCommitmentProcessor:participant=participant/psid=global-domain::1220e959c972::34-0";
    format!(
        "{{\"@timestamp\":\"2024-04-21T10:00:00.1Z\",\"message\":\"Commitment correct for sender PAR::sv 2::12205f1149bc... and \
         period CommitmentPeriod(fromExclusive = 2024-04-21T01:{minute:02}:00Z, toInclusive = 2024-04-21T01:{:02}:00Z)\",\
         \"logger_name\":\"{logger}\",\"thread_name\":\"x\",\"level\":\"INFO\"}}\n",
        minute + 1
    )
}

#[test]
fn a_scan_writes_the_same_evidence_however_the_log_lies_and_never_over_a_file_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let log: String = (0..40).map(line).collect();
    std::fs::write(at("app.log"), &log).unwrap();
    std::fs::create_dir(at("rotated")).unwrap();
    let (old, new) = log.split_at(log.len() / 2 + 17);
    std::fs::write(at("rotated/app.log.1"), old).unwrap();
    std::fs::write(at("rotated/app.log"), new).unwrap();
    let owner = "sv-1=PAR::sv 1::1220aaaaaaaa";
    let whole = rekindle(&[&format!("{owner}:app.log"), "--out", "whole.json"], directory.path());
    assert_eq!(
        whole.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&whole.stderr)
    );
    let report = json(&whole);
    assert_eq!(report["hits"], 40);
    assert_eq!(report["synchronizers"][0]["agreements"], 40);
    assert_eq!(report["synchronizers"][0]["last_agreed"], "2024-04-21T01:40:00Z");
    let cut = rekindle(
        &["--log", &format!("{owner}:rotated"), "--out", "cut.json"],
        directory.path(),
    );
    assert_eq!(json(&cut)["evidence_digest"], report["evidence_digest"]);
    let evidence = std::fs::read(at("whole.json")).unwrap();
    assert_eq!(std::fs::read(at("cut.json")).unwrap(), evidence);
    let again = rekindle(&["app.log", "--out", "whole.json"], directory.path());
    assert_eq!(again.status.code(), Some(2));
    let over = rekindle(&["app.log", "--out", "app.log", "--replace"], directory.path());
    assert_eq!(over.status.code(), Some(2));
    assert_eq!(std::fs::read(at("whole.json")).unwrap(), evidence);
    assert_eq!(std::fs::read_to_string(at("app.log")).unwrap(), log);
}

#[test]
fn what_can_not_be_scanned_is_refused_or_said() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("a.log"),
        "2024-04-21 10:00:00,123 [x] INFO  c.d.Other tid: - hello\n",
    )
    .unwrap();
    for wrong in [
        &[][..],
        &["nowhere*"],
        &["sv-1:a.log", "--log", "sv-2=a.log"],
        &["sv-1=PAR::x:a.log"],
    ] {
        assert_eq!(rekindle(wrong, directory.path()).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(rekindle(&["nowhere.log"], directory.path()).status.code(), Some(3));
    let other = rekindle(&["sv-1:a.log"], directory.path());
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(json(&other)["findings"][0]["code"], "C0306");
}
