//! CCF's own tools recover every real ledger with our node, up to three generations in a row (`tests/official/recover.sh`), and
//! nothing that was ever signed is lost on the way.
//!
//! They need curl, jq, openssl and a Python with the packages that `.ci/run` installs: the one that REKINDLE_CCF_PYTHON
//! names, or target/ccf-venv. Without them these tests say that they were skipped, unless REKINDLE_REQUIRE_ORACLE=1. Each
//! recovery of a ledger is a test of its own, so that they run beside each other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Run, ledgers, lines};
use serde_json::Value;

/// The Python environment with CCF's tools, if all that the script needs is there.
fn tools() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let bin = python.parent().unwrap().to_owned();
    let found = |tool: &str| {
        let directories = std::env::var_os("PATH").unwrap_or_default();
        let mut directories = std::env::split_paths(&directories);
        directories.any(|directory| directory.join(tool).is_file())
    };
    let official = ["ccf_cose_sign1", "submit_recovery_share.sh", "keygenerator.sh"];
    let missing: Vec<String> = ["bash", "curl", "jq", "openssl"]
        .into_iter()
        .filter(|tool| !found(tool))
        .map(str::to_owned)
        .chain(
            official
                .map(|tool| bin.join(tool))
                .into_iter()
                .filter(|path| !path.is_file())
                .map(|path| path.display().to_string()),
        )
        .collect();
    if missing.is_empty() {
        return bin.parent().map(Path::to_owned);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(
        !required,
        "REKINDLE_REQUIRE_ORACLE=1, but these are not installed: {}",
        missing.join(", ")
    );
    eprintln!("skipped: not installed: {}", missing.join(", "));
    None
}

/// Every write up to a seqno, as `rekindle export` says it, public and private.
fn history(ledger: &Path, members: &Path, until: u64) -> String {
    let mut arguments: Vec<OsString> = vec!["export".into(), ledger.into(), "-o".into(), "-".into()];
    arguments.extend(["--history".into(), "--at".into(), until.to_string().into()]);
    arguments.push("--member-key".into());
    let mut keys: Vec<PathBuf> = std::fs::read_dir(members)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with("_enc_privk.pem"))
        .collect();
    keys.sort();
    arguments.extend(keys.into_iter().map(PathBuf::into_os_string));
    Run::of(&arguments).expect(0).text()
}

/// Recovers a real service, and what comes out again and again; gives back every write of the old service as the last
/// generation has it.
fn recover(service: &str, ledger: &str, snapshots: bool, generations: u32) -> Option<String> {
    let (venv, ledgers) = (tools()?, ledgers()?);
    let service = ledgers.join(service);
    let (ledger, members) = (service.join(ledger), service.join("common"));
    let scratch = tempfile::tempdir().unwrap();
    let work = scratch.path().join("work");
    let output = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official/recover.sh"))
        .arg(env!("CARGO_BIN_EXE_rekindle"))
        .args([
            &ledger,
            &if snapshots {
                service.join("snapshots")
            } else {
                "-".into()
            },
        ])
        .args([&members, &work, &venv])
        .arg(generations.to_string())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{log}");
    assert!(
        output.status.success(),
        "{}: {log}{}",
        ledger.display(),
        String::from_utf8_lossy(&output.stderr)
    );

    let report = rekindle!["verify", &ledger, "--json"].run_json();
    let signed = report["last_signed"].as_str().unwrap();
    let until: u64 = signed.split_once('.').unwrap().1.parse().unwrap();
    let before = history(&ledger, &members, until);
    let after = history(
        &work.join(format!("{generations}/ledger")),
        &work.join("members"),
        until,
    );
    assert!(
        before == after,
        "{}: what was written up to {signed} is not what it was",
        ledger.display()
    );
    Some(after)
}

impl Run {
    /// The document of a run that ended with or without findings.
    fn run_json(&self) -> Value {
        assert!(matches!(self.code, Some(0 | 1)), "{}", self.stderr);
        self.json()
    }
}

#[test]
fn a_service_whose_last_chunk_is_open_is_recovered() {
    recover("acme_containing_service", "ledger", false, 3);
}

#[test]
fn a_service_that_signs_now_with_cose_and_now_without_is_recovered() {
    recover("cose_flipflop_service", "ledger", false, 2);
}

#[test]
fn a_service_whose_secret_was_sealed_twice_is_recovered() {
    recover("double_sealed_service", "ledger", false, 3);
}

#[test]
fn a_service_with_old_shares_and_expired_certificates_is_recovered() {
    recover("expired_service", "ledger", false, 3);
}

#[test]
fn a_service_with_old_shares_and_expired_certificates_is_recovered_from_its_snapshot() {
    recover("expired_service", "ledger", true, 2);
}

#[test]
fn a_service_with_a_recovery_owner_is_recovered() {
    recover("real_owner", "ledger", false, 3);
}

#[test]
fn a_service_with_rekeys_is_recovered_with_every_message_that_was_written() {
    if let Some(history) = recover("real_small", "ledger", false, 3) {
        assert_every_message(&history);
    }
}

#[test]
fn a_service_with_rekeys_is_recovered_from_its_snapshot_with_every_message_that_was_written() {
    if let Some(history) = recover("real_small", "ledger", true, 2) {
        assert_every_message(&history);
    }
}

#[test]
fn the_first_of_three_nodes_ledgers_is_recovered() {
    recover("real_three_nodes", "node0", false, 2);
}

#[test]
fn the_second_of_three_nodes_ledgers_is_recovered_from_a_snapshot() {
    recover("real_three_nodes", "node1", true, 1);
}

#[test]
fn the_third_of_three_nodes_ledgers_is_recovered_from_a_snapshot() {
    recover("real_three_nodes", "node2", true, 1);
}

/// That the history of `real_small` has exactly what its writer says to have written.
#[track_caller]
fn assert_every_message(history: &str) {
    let Some(ledgers) = ledgers() else { return };
    let text = std::fs::read_to_string(ledgers.join("real_small/expected-writes.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut wanted = Vec::new();
    for (table, visibility) in [("records", "private"), ("public:records", "public")] {
        for (key, writes) in expected[visibility].as_object().unwrap() {
            for write in writes.as_array().unwrap() {
                wanted.push((
                    write["seqno"].as_u64(),
                    table.to_owned(),
                    key.clone(),
                    write["msg"].to_string(),
                ));
            }
        }
    }
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = lines(history)
        .iter()
        .filter(|line| line["table"] == "records" || line["table"] == "public:records")
        .map(|line| {
            (
                line["seqno"].as_u64(),
                text(line, "table"),
                text(line, "key"),
                text(line, "value"),
            )
        })
        .collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}
