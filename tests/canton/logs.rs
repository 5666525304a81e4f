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

/// A participant's database as `pg_dump` writes it, as far as it is of interest.
fn database(participant: &str) -> String {
    let id = |name: &str, digits: &str| format!("PAR::{name}::1220{}", digits.repeat(16));
    let (owner, other) = (id(participant, "aaaa"), id("sv 2", "5f11"));
    let rows: String = (0..3)
        .map(|tick: i64| {
            let (from, to) = (
                1_713_661_200_000_000 + tick * 60_000_000,
                1_713_661_260_000_000 + tick * 60_000_000,
            );
            format!("1\t{from}\t{to}\t{other}\t2\tt\n")
        })
        .collect();
    format!(
        "--\n-- PostgreSQL database dump\n--\n\n\
         COPY participant.lapi_parameters (ledger_end, participant_id) FROM stdin;\n9\t{owner}\n\\.\n\n\
         COPY participant.par_outstanding_acs_commitments (synchronizer_idx, from_exclusive, to_inclusive, counter_participant, \
         matching_state, multi_hosted_cleared) FROM stdin;\n{rows}\\.\n\n\
         --\n-- PostgreSQL database dump complete\n--\n\n"
    )
}

#[test]
fn a_database_gives_evidence_like_a_log_and_both_together_are_of_one_participant() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("participant.sql"), database("sv 1")).unwrap();
    std::fs::write(at("app.log"), line(7)).unwrap();
    let run = |arguments: &[&str]| rekindle(arguments, directory.path());
    let alone = run(&["--participant-db", "sv-1=participant.sql", "--out", "sv-1.json"]);
    assert_eq!(
        alone.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&alone.stderr)
    );
    let report = json(&alone);
    assert_eq!((&report["name"], &report["files"]), (&"sv-1".into(), &0.into()));
    assert_eq!(report["participant"], "PAR::sv 1::1220aaaaaaaa...");
    assert_eq!(report["synchronizers"][0]["agreements"], 3);
    assert_eq!(report["synchronizers"][0]["last_agreed"], "2024-04-21T01:03:00Z");
    assert!(at("sv-1.json").exists());
    let both = json(&run(&[
        "--participant-db",
        "sv-1=participant.sql",
        "sv-1=PAR::sv 1::1220aaaaaaaa:app.log",
    ]));
    assert_eq!(both["synchronizers"].as_array().unwrap().len(), 2);
    // Of two participants, of two SVs, over an input: nothing is done.
    for wrong in [
        &[
            "--participant-db",
            "sv-1=participant.sql",
            "sv-1=PAR::sv 3::1220bbbbbbbb:app.log",
        ][..],
        &["--participant-db", "sv-1=participant.sql", "sv-2:app.log"],
        &["--participant-db", "participant.sql"],
        &[
            "--participant-db",
            "sv-1=participant.sql",
            "--out",
            "participant.sql",
            "--replace",
        ],
    ] {
        let refused = run(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert!(refused.stdout.is_empty(), "{wrong:?}");
    }
    assert_eq!(
        std::fs::read_to_string(at("participant.sql")).unwrap(),
        database("sv 1")
    );
}
