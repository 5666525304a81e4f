//! What `inspect` shows and `export` writes, held against real ledgers.
//!
//! The ledgers are found through REKINDLE_CCF_LEDGERS or beside the checkout; without them these tests say that they
//! were skipped, unless REKINDLE_REQUIRE_CCF_LEDGERS=1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn ledgers() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/ledgers");
    let path = std::env::var_os("REKINDLE_CCF_LEDGERS").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
    assert!(!required, "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no ledgers in {}", path.display());
    eprintln!("skipped: no ledgers in {}", path.display());
    None
}

fn rekindle(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    command.output().unwrap()
}

fn document(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Exports to a file, and reads the lines back.
fn export(ledger: &Path, options: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out.jsonl");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"export", &ledger];
    arguments.extend_from_slice(options);
    arguments.extend_from_slice(&[&"-o", &file]);
    let output = rekindle(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn member_keys(service: &Path) -> Vec<PathBuf> {
    let key = |n| service.join("common").join(format!("member{n}_enc_privk.pem"));
    (0..10).map(key).filter(|path| path.exists()).collect()
}

/// The options that give all members' keys of a service.
fn unlocked<'a>(keys: &'a [PathBuf], options: &[&'a dyn AsRef<std::ffi::OsStr>]) -> Vec<&'a dyn AsRef<std::ffi::OsStr>> {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--member-key"];
    all.extend(keys.iter().map(|key| key as &dyn AsRef<std::ffi::OsStr>));
    all.extend_from_slice(options);
    all
}

#[test]
fn the_history_of_real_small_holds_exactly_what_its_writer_wrote() {
    let Some(ledgers) = ledgers() else { return };
    let service = ledgers.join("real_small");
    let keys = member_keys(&service);
    let lines = export(&service.join("ledger"), &unlocked(&keys, &[&"--history", &"--table", &"^(public:)?records$"]));
    let text = std::fs::read_to_string(service.join("expected-writes.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Vec<Value>>> = serde_json::from_str(&text).unwrap();
    let mut wanted: Vec<(u64, bool, String, String)> = Vec::new();
    for (visibility, keys) in &expected {
        for (key, writes) in keys {
            for write in writes {
                let message = Value::from(write["msg"].as_str().unwrap()).to_string();
                wanted.push((write["seqno"].as_u64().unwrap(), visibility == "private", key.clone(), message));
            }
        }
    }
    wanted.sort();
    let mut found: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            let private = line["private"].as_bool().unwrap();
            assert_eq!(line["table"] == "records", private);
            (line["seqno"].as_u64().unwrap(), private, text("key"), text("value"))
        })
        .collect();
    assert!(found.is_sorted_by_key(|line| line.0), "a history is in order");
    found.sort();
    assert_eq!(found, wanted);
}

/// What the state must be, by the history: the last write of each key, without the removed ones.
fn replay(history: &[Value], until: u64) -> Vec<Value> {
    let mut state = BTreeMap::new();
    for line in history.iter().filter(|line| line["seqno"].as_u64().unwrap() <= until) {
        let key = (line["table"].to_string(), line["key"].to_string());
        match line["value"].is_null() {
            true => state.remove(&key),
            false => state.insert(key, line.clone()),
        };
    }
    state.into_values().collect()
}

fn sorted(mut lines: Vec<Value>) -> Vec<Value> {
    lines.sort_by_key(|line| (line["table"].to_string(), line["key"].to_string()));
    lines
}

#[test]
fn the_state_is_what_the_history_adds_up_to_at_every_generation() {
    let Some(ledgers) = ledgers() else { return };
    let services = [
        ("acme_containing_service", [22, 5]),
        ("cose_flipflop_service", [46, 17]),
        ("double_sealed_service", [509, 490]),
        ("expired_service", [74, 28]),
        ("real_small", [578, 300]),
    ];
    for (service, seqnos) in services {
        let service = ledgers.join(service);
        let ledger = service.join("ledger");
        let keys = member_keys(&service);
        let history = export(&ledger, &unlocked(&keys, &[&"--history"]));
        for seqno in seqnos {
            let at = seqno.to_string();
            // Secrets are those of the end: they open every earlier seqno too.
            let state = export(&ledger, &unlocked(&keys, &[&"--at", &at]));
            assert_eq!(sorted(state), sorted(replay(&history, seqno)), "{} at {seqno}", service.display());
        }
        let public = export(&ledger, &[]);
        let expected = replay(&history, u64::MAX).into_iter().filter(|line| line["private"] == false).collect();
        assert_eq!(sorted(public), sorted(expected), "{}", service.display());
    }
}

#[test]
fn a_ledger_that_starts_late_is_completed_from_a_snapshot() {
    let Some(ledgers) = ledgers() else { return };
    for (service, from) in [("real_small", 347), ("expired_service", 62)] {
        let service = ledgers.join(service);
        let tail = tempfile::tempdir().unwrap();
        for item in std::fs::read_dir(service.join("ledger")).unwrap() {
            let item = item.unwrap();
            let name = item.file_name().into_string().unwrap();
            let first: u64 = name["ledger_".len()..].split(['-', '.']).next().unwrap().parse().unwrap();
            if first >= from {
                std::fs::copy(item.path(), tail.path().join(name)).unwrap();
            }
        }
        let keys = member_keys(&service);
        let snapshots = service.join("snapshots");
        let whole = export(&service.join("ledger"), &[]);
        let completed = export(tail.path(), &[&"--snapshots", &snapshots]);
        assert_eq!(completed, whole, "public part of {}", service.display());
        let whole = export(&service.join("ledger"), &unlocked(&keys, &[]));
        let completed = export(tail.path(), &unlocked(&keys, &[&"--snapshots", &snapshots]));
        assert_eq!(completed, whole, "all of {}", service.display());

        let output = rekindle(&[&"export", &tail.path(), &"-o", &"-"]);
        assert_eq!(output.status.code(), Some(1), "an incomplete state is not passed off as a whole one");
        assert!(String::from_utf8_lossy(&output.stderr).contains("L0108"));
    }
}

#[test]
fn an_export_into_the_ledger_is_refused_and_writes_nothing() {
    let Some(ledgers) = ledgers() else { return };
    let copy = tempfile::tempdir().unwrap();
    let chunk = "ledger_1-2.committed";
    std::fs::copy(ledgers.join("acme_containing_service/ledger").join(chunk), copy.path().join(chunk)).unwrap();
    let output = rekindle(&[&"export", &copy.path(), &"-o", &copy.path().join("state.jsonl")]);
    assert_eq!(output.status.code(), Some(2));
    let names: Vec<_> = std::fs::read_dir(copy.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(names, [chunk]);
}

#[test]
fn a_compressed_export_holds_the_same_lines() {
    let Some(ledgers) = ledgers() else { return };
    let ledger = ledgers.join("double_sealed_service/ledger");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("state.jsonl.zst");
    assert_eq!(rekindle(&[&"export", &ledger, &"-o", &file]).status.code(), Some(0));
    let plain = rekindle(&[&"export", &ledger, &"-o", &"-"]).stdout;
    assert!(plain.len() > 10_000);
    assert_eq!(zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap(), plain);
}

#[test]
fn the_listing_counts_what_the_official_reader_counts() {
    let Some(ledgers) = ledgers() else { return };
    let expected: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(ledgers.join("expected.json")).unwrap()).unwrap();
    for (name, expected) in expected {
        let output = rekindle(&[&"inspect", &ledgers.join(&name), &"--json"]);
        let listing = document(&output);
        assert_eq!(listing["entries"], expected["entries"], "{name}");
        assert_eq!(listing["last_seqno"], expected["last_seqno"], "{name}");
        let complete = |chunk: &&Value| chunk["complete"] == true;
        let chunks = listing["chunks"].as_array().unwrap();
        assert!(chunks.iter().filter(complete).all(|chunk| chunk["ends_with_signature"] == true), "{name}");
    }
}

#[test]
fn entries_are_shown_as_the_specification_says_they_are() {
    let Some(ledgers) = ledgers() else { return };
    let ledger = ledgers.join("cose_flipflop_service/ledger");
    let shown = document(&rekindle(&[&"inspect", &ledger, &"--seqno", &"16..17", &"--json"]));
    let [signature, private] = shown["entries"].as_array().unwrap().as_slice() else { panic!("{shown}") };
    assert_eq!(signature["offset"], 322);
    assert_eq!(signature["leaf"], "bc3ec22b000db0f5d56fd5eaa9ca35df4d390c7020cf0437d6b1b2ddc772affa");
    let value = |table: &str| {
        let map = signature["public"].as_array().unwrap().iter().find(|map| map["table"] == table).unwrap();
        map["writes"][0]["value"].clone()
    };
    let root = "e05d50857029a0ae4f86b9563239b5b1f2097b76108e692034b16358221cea97";
    assert_eq!(value("public:ccf.internal.tree")["root"], root);
    assert_eq!(value("public:ccf.internal.signatures")["root"], root);
    let cose = value("public:ccf.internal.cose_signatures");
    assert_eq!((&cose["alg"], &cose["txid"], &cose["issuer"]), (&"ES384".into(), &"2.16".into(), &"service.example.com".into()));
    assert_eq!(private["private"]["encrypted_bytes"], 70);

    let keys = member_keys(&ledgers.join("cose_flipflop_service"));
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"inspect", &ledger, &"--txid", &"2.17", &"--json"];
    arguments.extend(unlocked(&keys, &[]));
    let shown = document(&rekindle(&arguments));
    let write = &shown["entries"][0]["private"][0];
    assert_eq!((&write["table"], &write["writes"][0]["key"]), (&"records".into(), &"42".into()));
    assert_eq!(write["writes"][0]["value"], "hello");
}

#[test]
fn no_value_of_a_known_table_is_shown_as_undecodable() {
    let Some(ledgers) = ledgers() else { return };
    for service in ["acme_containing_service", "double_sealed_service", "expired_service", "real_small", "real_owner"] {
        let directories: Vec<PathBuf> = std::fs::read_dir(ledgers.join(service))
            .unwrap()
            .map(|item| item.unwrap().path())
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger")))
            .collect();
        for directory in directories.iter().filter(|path| path.is_dir()) {
            let output = rekindle(&[&"inspect", directory, &"--table", &"^public:ccf", &"--json"]);
            let shown = document(&output);
            assert!(!shown["writes"].as_array().unwrap().is_empty());
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(!text.contains("\"undecodable\""), "{}", directory.display());
        }
    }
}

#[test]
fn what_is_not_there_is_one_sentence_that_says_what_is() {
    let Some(ledgers) = ledgers() else { return };
    let ledger = ledgers.join("cose_flipflop_service/ledger");
    for (option, value, words) in [
        ("--txid", "3.16", "seqno 16 of this ledger is 2.16"),
        ("--txid", "2.47", "the ledger holds seqnos 1 to 46"),
        ("--seqno", "40..50", "there is no seqno 50"),
    ] {
        let output = rekindle(&[&"inspect", &ledger, &option, &value]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(output.stdout.is_empty());
    }
    let output = rekindle(&[&"export", &ledger, &"--at", &"47", &"-o", &"-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("the ledger holds seqnos 1 to 46"));
}
