//! The official Python reader as oracle: it verifies what `rekindle fixture` writes, with every option, and agrees with
//! `rekindle verify` on counts, roots and identities, there and on real ledgers.
//!
//! It needs a Python with the packages that `.ci/run` installs (`ccf==6.0.28`, `cbor2<6`): the one that
//! REKINDLE_CCF_PYTHON names, or target/ccf-venv. Without it these tests say that they were skipped, unless
//! REKINDLE_REQUIRE_ORACLE=1.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{self, Service, expected, ledgers};
use serde_json::Value;

fn python() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let works = Command::new(&python)
        .args(["-c", "import ccf.ledger"])
        .output()
        .is_ok_and(|output| output.status.success());
    if works {
        return Some(python);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(
        !required,
        "REKINDLE_REQUIRE_ORACLE=1, but {} can't import ccf.ledger",
        python.display()
    );
    eprintln!(
        "skipped: no official reader in {}; `bash .ci/run` installs it",
        python.display()
    );
    None
}

/// What the official reader says of each path.
fn official(python: &Path, paths: &[PathBuf]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official_reader.py");
    let output = Command::new(python).arg(script).args(paths).output().unwrap();
    assert!(
        output.status.success(),
        "{paths:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_agree(report: &Value, official: &Value, what: &str) {
    for field in [
        "entries",
        "last_seqno",
        "signatures",
        "cose_signatures",
        "last_signed",
        "root",
    ] {
        assert_eq!(report[field], official[field], "{what}: {field}");
    }
    let identities = |document: &Value| -> Vec<(Value, Value)> {
        let services = document["services"].as_array().unwrap();
        services
            .iter()
            .map(|service| (service["from_seqno"].clone(), service["identity"].clone()))
            .collect()
    };
    assert_eq!(identities(report), identities(official), "{what}");
}

/// Both readers on what these options make; the official one also on every snapshot whose receipt a node has signed.
fn check(python: &Path, options: &str) {
    let options: Vec<&str> = options.split_whitespace().collect();
    let service = Service::made(&options);
    let mut arguments = vec!["verify".into(), service.ledger().into_os_string(), "--json".into()];
    let snapshots: Vec<PathBuf> = match std::fs::read_dir(service.snapshots()) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    if !snapshots.is_empty() {
        arguments.extend(["--snapshots".into(), service.snapshots().into_os_string()]);
    }
    let report = support::Run::of(&arguments).expect(0).json();
    let readable: Vec<PathBuf> = if options.contains(&"cose") {
        Vec::new()
    } else {
        snapshots.clone()
    };
    let paths = [&[service.ledger()], readable.as_slice()].concat();
    let official = official(python, &paths);
    assert_agree(&report, &official[0], &options.join(" "));
    assert_eq!(report["snapshots"].as_array().unwrap().len(), snapshots.len());
    for (path, found) in readable.iter().zip(&official[1..]) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(found["seqno"].to_string(), name.split('_').nth(1).unwrap(), "{name}");
    }
    let expected = service.expected();
    for field in [
        "entries",
        "last_seqno",
        "signatures",
        "cose_signatures",
        "last_signed",
        "root",
    ] {
        assert_eq!(report[field], expected[field], "{options:?}: {field}");
    }
    let unlocked = service.with_keys("unlock", &["--json"]).expect(0).json();
    assert_eq!(
        unlocked["private_decrypted"], unlocked["private_domains"],
        "{options:?}"
    );
}

#[test]
fn both_readers_agree_on_every_kind_of_signature_and_curve() {
    let Some(python) = python() else { return };
    for signatures in ["node", "dual", "cose"] {
        for curve in ["p256", "p384"] {
            let what =
                "--entries 120 --signature-every 15 --chunk-size 20000 --recoveries 1 --snapshot-every 40 --keys 20";
            check(&python, &format!("{what} --signatures {signatures} --curve {curve}"));
        }
    }
}

#[test]
fn both_readers_agree_on_every_other_option() {
    let Some(python) = python() else { return };
    for options in [
        "--entries 0",
        "--entries 1",
        "--entries 50 --signature-every 1",
        "--entries 300 --value-size 0 --keys 1",
        "--entries 40 --value-size 100000 --signature-every 7",
        "--entries 60 --private 0",
        "--entries 60 --private 1",
        "--entries 200 --chunk-size 1 --signature-every 10",
        "--entries 200 --rekey-every 30",
        "--entries 200 --reshare-every 30 --rekey-every 45",
        "--entries 60 --members 1 --threshold 1",
        "--entries 60 --members 9 --threshold 7",
        "--entries 200 --recoveries 4 --rekey-every 25 --snapshot-every 50",
        "--entries 200 --recoveries 4 --owners 2 --members 3 --threshold 3",
        "--entries 100 --recoveries 1 --old-shares",
        "--entries 60 --unsigned-tail 6",
        "--entries 100 --recoveries 1 --unfinished-recovery",
        "--entries 60 --entry-type 0",
        "--entries 60 --entry-type 3",
        "--entries 100 --seed 99 --curve p256 --signatures node --recoveries 2 --owners 1",
    ] {
        check(&python, options);
    }
}

#[test]
fn both_readers_agree_on_real_ledgers() {
    let Some(python) = python() else { return };
    let Some(ledgers) = ledgers() else { return };
    let names: Vec<String> = expected(&ledgers).into_keys().collect();
    let paths: Vec<PathBuf> = names.iter().map(|name| ledgers.join(name)).collect();
    for ((name, path), official) in names.iter().zip(&paths).zip(official(&python, &paths)) {
        let report = rekindle!["verify", path, "--json"].expect(0).json();
        assert_agree(&report, &official, name);
    }
}

#[test]
fn both_readers_object_to_the_same_damage() {
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/official_reader.py");
    let service = Service::made(&["--entries", "60", "--signature-every", "10"]);
    let (_, chunk) = support::chunks(&service.ledger()).swap_remove(0);
    let whole = std::fs::read(&chunk).unwrap();
    let mut objected = 0;
    for at in (1000..whole.len() - 1000).step_by(whole.len() / 12) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        std::fs::write(&chunk, damaged).unwrap();
        let output = Command::new(&python)
            .arg(&script)
            .arg(service.ledger())
            .output()
            .unwrap();
        if !output.status.success() {
            objected += 1;
            rekindle!["verify", service.ledger()].expect(1);
        }
    }
    assert!(objected > 6, "the official reader sees most of it: {objected}");
}
