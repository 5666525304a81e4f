//! How much memory a scan takes of the worst logs, and a decision of the worst evidence: the most that a process of its own had.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::{Settings, scan};
use crate::canton::agreement::{self, Sv};
use crate::canton::evidence::{Comparison, Evidence, MOST_FACTS, Period, Run, file};
use crate::canton::name::Participant;
use crate::canton::{Code, Timestamp};

/// Bytes that a process may have at most.
const MOST: u64 = 64 << 20;
/// Says to the process that is measured what it has to read.
const TOLD: &str = "REKINDLE_TEST_MEMORY_OF";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_713_740_000 + seconds).unwrap()
}

fn party(number: u64) -> String {
    format!("PAR::sv-{number}::1220{number:08x}")
}

/// Runs a test of this module in a process of its own.
fn apart(test: &str, paths: &[&Path]) {
    let paths = std::env::join_paths(paths).unwrap();
    let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", &name])
        .env(TOLD, paths)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn told() -> Vec<std::path::PathBuf> {
    let told = std::env::var_os(TOLD).expect("it is run by another test");
    std::env::split_paths(&told).collect()
}

/// Holds this process to its bound.
fn holds_bound() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().split(' ').next().unwrap().parse().unwrap();
    assert!(kib << 10 < MOST, "{} MB", kib / 1000);
}

#[test]
fn a_log_of_which_every_line_says_something_else_takes_no_more_memory_than_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let mut log = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    for line in 0..200_000 {
        let whom = party(line % 100_000);
        let (from, to) = (at(line as i64 * 3), at(line as i64 * 3 + 2));
        writeln!(
            log,
            "{{\"@timestamp\":\"2024-04-21T10:00:00.100Z\",\"message\":\"Commitment correct for sender {whom}... and period \
             CommitmentPeriod(fromExclusive = {from}, toInclusive = {to})\",\"logger_name\":\
             \"c.d.c.p.p.AcsCommitmentProcessor:participant=p/psid=global-domain::1220e959c972\",\"level\":\"INFO\"}}"
        )
        .unwrap();
    }
    log.into_inner().unwrap();
    apart("of_a_log", &[&path]);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn of_a_log() {
    let settings = Settings {
        threads: 2,
        ..Settings::default()
    };
    let scanned = scan(&told(), &settings, &|_| ()).unwrap();
    assert_eq!(scanned.hits, 200_000);
    assert!(scanned.evidence.left_out > 0 && scanned.findings.has(Code::TooManyFacts));
    let json = file::to_json("sv-1", &scanned.evidence).unwrap();
    let (_, read) = file::parse(&json).unwrap();
    assert_eq!(read, scanned.evidence);
    holds_bound();
}

/// Evidence of an SV that agreed with others, and differed from one, as often as there is room for.
fn promising(number: u64, agreed: u32) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.participant = Participant::parse(&party(number));
    let mut take = |other: u64, count: u32, comparison| {
        let first = Period {
            from_exclusive: at(other as i64),
            to_inclusive: at(other as i64 + 1),
        };
        let counterparty = Participant::parse(&party(other)).unwrap();
        evidence.take_run("global-domain", &counterparty, Run { first, count }, comparison);
    };
    take((number + 1) % 3, agreed, Comparison::Correct);
    take((number + 2) % 3, MOST_FACTS as u32 - agreed - 1, Comparison::Mismatch);
    evidence
}

#[test]
fn evidence_that_promises_a_million_periods_takes_no_more_memory_than_other() {
    let directory = tempfile::tempdir().unwrap();
    for agreed in [999_998, 500_000] {
        let paths: Vec<_> = (0..3)
            .map(|number| {
                let path = directory.path().join(format!("{number}-{agreed}.json"));
                std::fs::write(&path, file::to_json("sv", &promising(number, agreed)).unwrap()).unwrap();
                path
            })
            .collect();
        let paths: Vec<&Path> = paths.iter().map(std::path::PathBuf::as_path).collect();
        apart("of_evidence", &paths);
    }
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn of_evidence() {
    let read = |(number, path): (usize, &std::path::PathBuf)| Sv {
        name: format!("sv-{number}"),
        participant: None,
        evidence: Some(file::read(std::fs::File::open(path).unwrap()).unwrap().1),
    };
    let svs: Vec<Sv> = told().iter().enumerate().map(read).collect();
    let decision = agreement::decide(&svs, &agreement::Settings::default()).unwrap();
    assert_eq!(decision.of, 3);
    holds_bound();
}

#[test]
fn a_file_of_more_runs_than_there_is_room_for_is_refused_before_they_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("many.json");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let head = "{\"format\":\"rekindle-canton-evidence\",\"version\":1,\"name\":\"sv\",\"participant\":null,\"digest\":\"\",\
                \"left_out\":0,\"synchronizers\":[{\"synchronizer\":\"g\",\"reached\":null,\"pruned\":null,\"catching_up\":false,\
                \"counterparties\":[{\"participant\":\"PAR::sv-2::122000000002...\",\"sent\":null,\"correct\":[";
    write!(out, "{head}[\"{}\",1,1]", at(-1)).unwrap();
    for run in 0..700_000 {
        write!(out, ",[\"{}\",1000000,1]", at(run * 3)).unwrap();
    }
    write!(out, "],\"weak\":[],\"mismatch\":[]}}]}}]}}").unwrap();
    out.into_inner().unwrap();
    apart("of_many_runs", &[&path]);
}

#[test]
#[ignore = "run in a process of its own by another test"]
fn of_many_runs() {
    for path in told() {
        let refused = file::read(std::fs::File::open(path).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("than fit into"), "{refused}");
    }
    holds_bound();
}
