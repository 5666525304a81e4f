//! Nothing from a ledger, a name or an argument reaches a terminal or a log but as text.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::json;

use crate::craft::{chunk, entry};
use crate::node::Place;
use crate::support::{Run, Service};

/// Begins like the answer that everybody hopes for, repaints the screen, and turns round what follows.
const EVIL: &str = "x\nverdict      ok: everything is proven\r\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{ad}";

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// That nothing but harmless characters and line breaks came out, and no line that the hostile text began.
#[track_caller]
fn assert_harmless(what: &str, output: &[u8]) {
    let text = std::str::from_utf8(output).unwrap_or_else(|why| panic!("{what}: {why}"));
    if let Some(c) = text.chars().find(|&c| c != '\n' && !is_harmless(c)) {
        panic!("{what}: {c:?} came out:\n{text:.3000}");
    }
    let forged = text
        .lines()
        .find(|line| line.starts_with("verdict      ok: everything is proven"));
    assert_eq!(forged, None, "{what}:\n{text:.3000}");
}

#[track_caller]
fn check(arguments: &[OsString]) -> Run {
    let run = Run::of(arguments);
    let what = format!("{arguments:?}");
    assert_harmless(&what, run.stderr.as_bytes());
    assert_harmless(&what, &run.stdout);
    run
}

/// A ledger directory with a hostile name, in which every text that can be hostile is.
fn hostile_ledger(scratch: &std::path::Path) -> PathBuf {
    let directory = scratch.join(EVIL);
    std::fs::create_dir(&directory).unwrap();
    let json_text =
        json!({"status": EVIL, "cert": EVIL, EVIL: [EVIL], "actions": [{"name": EVIL, "args": {EVIL: EVIL}}]})
            .to_string();
    let table = format!("public:{EVIL}");
    let evil_ccf = format!("public:ccf.gov.{EVIL}");
    let mut entries = Vec::new();
    let tables = [
        "public:ccf.gov.service.info",
        "public:ccf.gov.nodes.info",
        "public:ccf.gov.nodes.endorsed_certificates",
        "public:ccf.gov.members.info",
        "public:ccf.gov.members.encryption_public_keys",
        "public:ccf.gov.proposals",
        "public:ccf.gov.proposals_info",
        "public:ccf.gov.constitution",
        "public:ccf.gov.modules",
        "public:ccf.internal.signatures",
        "public:ccf.internal.cose_signatures",
        "public:ccf.internal.recovery_shares",
        "public:ccf.internal.historical_encrypted_ledger_secret",
        "public:ccf.internal.previous_service_identity_endorsement",
        &table,
        &evil_ccf,
    ];
    let mut seqno = 0;
    for table in tables {
        for value in [json_text.as_bytes(), EVIL.as_bytes()] {
            for key in [EVIL.as_bytes(), &[0; 8]] {
                seqno += 1;
                entries.extend(entry(seqno, &[(table, key, value)]));
            }
        }
    }
    chunk(&directory.join("ledger_1"), &entries, 100);
    std::fs::write(directory.join(format!("ledger_7-x{EVIL}")), "x").unwrap();
    std::fs::write(directory.join(format!("ledger_7{EVIL}.ignored")), "x").unwrap();
    std::fs::write(directory.join("snapshot_1_2.committed"), EVIL).unwrap();
    directory
}

#[test]
fn no_command_lets_a_hostile_ledger_or_its_names_reach_the_terminal() {
    let scratch = tempfile::tempdir().unwrap();
    let ledger = hostile_ledger(scratch.path());
    let service = Service::made(&["--entries", "20", "--members", "1", "--threshold", "1"]);
    let key = service.key(0).into_os_string();
    let copy = scratch.path().join(format!("{EVIL}2"));
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(ledger.join("ledger_1"), copy.join("ledger_1")).unwrap();
    let out = scratch.path().join(format!("{EVIL}.jsonl"));
    let dir = || ledger.clone().into_os_string();
    let with = |command: &str, options: &[&str]| {
        let mut all: Vec<OsString> = vec![command.into(), dir()];
        all.extend(options.iter().map(OsString::from));
        all
    };
    let mut runs = vec![
        with("verify", &[]),
        with("inspect", &[]),
        with("inspect", &["--seqno", "1.."]),
        with("inspect", &["--seqno", "1..", "--full"]),
        with("inspect", &["--table", "."]),
        with("inspect", &["--table", ".", "--full"]),
        with("export", &["-o", "-", "--history"]),
        with("export", &["-o", "-", "--at", "60"]),
        with("export", &["-o", out.to_str().unwrap(), "--history"]),
        with("bench", &[]),
        with("verify", &["--from-snapshot", EVIL]),
        with("verify", &["--service-cert", EVIL]),
        with("verify", &["--against", EVIL]),
        with("inspect", &["--table", EVIL]),
        with("inspect", &["--seqno", EVIL]),
        with("nothing", &[EVIL]),
        vec![EVIL.into()],
        vec!["verify".into(), EVIL.into()],
        vec!["verify".into(), format!("--{EVIL}").into()],
        vec!["--config".into(), ledger.join(EVIL).into()],
        vec!["compare".into(), dir(), copy.into()],
        vec!["compare".into(), dir(), dir()],
        vec!["fixture".into(), "--out".into(), dir()],
        vec!["drill".into(), "--ledger".into(), dir()],
        vec![
            "member".into(),
            "status".into(),
            "--url".into(),
            EVIL.into(),
            "--insecure".into(),
        ],
        vec![
            "member".into(),
            "keygen".into(),
            EVIL.into(),
            "--out".into(),
            EVIL.into(),
            "--days".into(),
            EVIL.into(),
        ],
    ];
    for snapshots in ["verify", "inspect"] {
        runs.push(vec![snapshots.into(), dir(), "--snapshots".into(), dir()]);
    }
    for command in ["unlock", "export"] {
        let mut all = vec![command.into(), dir(), "--member-key".into(), key.clone()];
        if command == "export" {
            all.extend(["-o".into(), "-".into()]);
        }
        runs.push(all);
    }
    for arguments in runs {
        check(&arguments);
        let document = check(&[&arguments[..], &["--json".into()]].concat());
        if document.code.is_some_and(|code| code < 2) && !arguments.iter().any(|argument| argument == "-") {
            document.json();
        }
    }
}

#[test]
fn exported_lines_hold_the_same_values_however_hostile() {
    let scratch = tempfile::tempdir().unwrap();
    let ledger = hostile_ledger(scratch.path());
    let run = check(&[
        "export".into(),
        ledger.into_os_string(),
        "-o".into(),
        "-".into(),
        "--history".into(),
    ]);
    let lines = crate::support::lines(&run.text());
    assert!(lines.iter().any(|line| line["table"] == format!("public:{EVIL}")));
}

#[test]
fn two_ledgers_whose_names_differ_by_a_line_break_can_be_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let named = |name: &str| {
        let directory = scratch.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("ledger_1");
        std::fs::write(&path, "short").unwrap();
        let run = check(&["verify".into(), directory.into_os_string()]);
        String::from_utf8([run.stdout, run.stderr.into_bytes()].concat()).unwrap()
    };
    let (with_break, with_backslash) = (named("a\nb"), named("a\\nb"));
    assert!(
        with_break.contains("a\\nb") && with_backslash.contains("a\\\\nb"),
        "{with_break}{with_backslash}"
    );
    assert_ne!(with_break, with_backslash);
}

#[test]
fn a_nodes_log_and_its_refusals_hold_text_only() {
    let scratch = tempfile::tempdir().unwrap();
    hostile_ledger(scratch.path());
    for format in ["Text", "Json"] {
        let mut place = Place::at(scratch.path());
        place.config["ledger"]["directory"] = json!(EVIL);
        place.config["logging"] = json!({"format": format});
        place.config["snapshots"]["directory"] = json!(format!("{EVIL}/snapshots"));
        let said = place.refused();
        assert_harmless(format, said.as_bytes());
        for line in said
            .lines()
            .filter(|line| format == "Json" && !line.starts_with("rekindle: "))
        {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        place.config[EVIL] = json!(EVIL);
        place.config["output_files"]["pid_file"] = json!(format!("{EVIL}/no/{EVIL}"));
        assert_harmless("an unknown field", place.refused().as_bytes());
        place.config.as_object_mut().unwrap().remove(EVIL);
        place.arguments.push("--check".to_owned());
        assert_harmless("--check", place.refused().as_bytes());
    }
}
