//! `rekindle export`: the live state, or every write, as lines of JSON.

use std::collections::BTreeMap;

use crate::support::{self, Service, assert_fields, chunks, ledgers, lines};
use serde_json::{Value, json};

#[test]
fn the_history_of_real_small_holds_exactly_what_its_writer_wrote() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let lines = service.export(true, &["--history", "--table", "^(public:)?records$"]);
    let text = std::fs::read_to_string(service.directory.join("expected-writes.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Vec<Value>>> = serde_json::from_str(&text).unwrap();
    let mut wanted: Vec<(u64, bool, String, String)> = Vec::new();
    for (visibility, keys) in &expected {
        for (key, writes) in keys {
            for write in writes {
                let message = Value::from(write["msg"].as_str().unwrap()).to_string();
                wanted.push((
                    write["seqno"].as_u64().unwrap(),
                    visibility == "private",
                    key.clone(),
                    message,
                ));
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
        ("real_owner", [160, 100]),
    ];
    for (name, seqnos) in services {
        let service = Service::at(ledgers.join(name));
        let history = service.export(true, &["--history"]);
        for seqno in seqnos {
            // Secrets are those of the end: they open every earlier seqno too.
            let state = service.export(true, &["--at", &seqno.to_string()]);
            assert_eq!(sorted(state), sorted(replay(&history, seqno)), "{name} at {seqno}");
        }
        let expected = replay(&history, u64::MAX)
            .into_iter()
            .filter(|line| line["private"] == false)
            .collect();
        assert_eq!(sorted(service.export(false, &[])), sorted(expected), "{name}");
    }
}

#[test]
fn a_line_has_exactly_the_promised_fields() {
    let service = Service::made(&["--entries", "50", "--keys", "5", "--recoveries", "1", "--members", "2"]);
    let history = service.export(true, &["--history"]);
    for line in &history {
        assert_fields(line, &["seqno", "table", "private", "key", "value"]);
        for field in ["key", "value"] {
            let value = &line[field];
            let encoded = value.is_object() && value.as_object().unwrap().keys().eq(["base64"]);
            assert!(
                value.is_string() || encoded || (field == "value" && value.is_null()),
                "{line}"
            );
        }
    }
    let state = service.export(true, &[]);
    assert!(
        state.iter().all(|line| !line["value"].is_null()),
        "what was removed is not part of the state"
    );
    assert_eq!(sorted(state), sorted(replay(&history, u64::MAX)));
}

#[test]
fn without_keys_nothing_private_is_written_and_that_is_said() {
    let service = Service::made(&["--entries", "40"]);
    let public = service.export(false, &["--history"]);
    assert!(!public.is_empty() && public.iter().all(|line| line["private"] == false));
    let all = service.export(true, &["--history"]);
    let private = all.iter().filter(|line| line["private"] == true).count();
    assert!(private > 0);
    assert_eq!(public.len() + private, all.len());
    let run = rekindle!["export", service.ledger(), "--history", "-o", "-"].expect(0);
    assert!(run.stderr.contains("no --member-key was given"), "{}", run.stderr);
    assert_eq!(lines(&run.text()), public, "standard output holds the same");
}

#[test]
fn a_table_is_chosen_by_a_regular_expression() {
    let service = Service::made(&["--entries", "40"]);
    let chosen = service.export(false, &["--history", "--table", "^public:ccf.gov.(members|users)"]);
    let all = service.export(false, &["--history"]);
    let matches = |line: &&Value| {
        let table = line["table"].as_str().unwrap();
        table.starts_with("public:ccf.gov.members") || table.starts_with("public:ccf.gov.users")
    };
    assert!(!chosen.is_empty());
    assert_eq!(chosen, all.iter().filter(matches).cloned().collect::<Vec<_>>());
}

#[test]
fn the_state_ends_at_the_last_signature_and_the_history_at_the_last_entry() {
    let service = Service::made(&["--entries", "30", "--signature-every", "10", "--unsigned-tail", "4"]);
    let signed: u64 = service.expected()["last_signed"]
        .as_str()
        .unwrap()
        .split_once('.')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let last = |lines: &[Value]| lines.iter().map(|line| line["seqno"].as_u64().unwrap()).max().unwrap();
    assert_eq!(last(&service.export(true, &[])), signed);
    assert_eq!(last(&service.export(true, &["--history"])), signed + 4);
    assert_eq!(
        last(&service.export(true, &["--at", &(signed + 2).to_string()])),
        signed + 2
    );
    rekindle!["export", service.ledger(), "--at", (signed + 5).to_string(), "-o", "-"]
        .expect_sentence(2, &[&format!("seqnos 1 to {}", signed + 4)]);
}

#[test]
fn a_ledger_that_starts_late_is_completed_from_a_snapshot() {
    let Some(ledgers) = ledgers() else { return };
    for (name, from) in [("real_small", 347), ("expired_service", 62)] {
        let service = Service::at(ledgers.join(name));
        let scratch = tempfile::tempdir().unwrap();
        let tail = scratch.path().join("ledger");
        std::fs::create_dir(&tail).unwrap();
        for (_, path) in chunks(&service.ledger()).iter().filter(|(first, _)| *first >= from) {
            std::fs::copy(path, tail.join(path.file_name().unwrap())).unwrap();
        }
        support::copy_files(&service.directory.join("common"), &scratch.path().join("common"));
        let late = Service::at(scratch.path().to_owned());
        let snapshots = service.snapshots();
        for keys in [false, true] {
            let completed = late.export(keys, &["--snapshots", snapshots.to_str().unwrap()]);
            assert_eq!(completed, service.export(keys, &[]), "{name}, with keys: {keys}");
        }
        let run = rekindle!["export", &tail, "-o", "-"].expect(1);
        assert!(
            run.stderr.contains("L0108"),
            "an incomplete state is not passed off as a whole one"
        );
    }
}

#[test]
fn a_compressed_export_holds_the_same_lines() {
    let service = Service::made(&["--entries", "300"]);
    let scratch = tempfile::tempdir().unwrap();
    for what in ["--state", "--history"] {
        let file = scratch.path().join(format!("{what}.jsonl.zst"));
        rekindle!["export", service.ledger(), what, "-o", &file].expect(0);
        let plain = rekindle!["export", service.ledger(), what, "-o", "-"].expect(0).stdout;
        let packed = std::fs::read(&file).unwrap();
        assert!(plain.len() > 10_000 && packed.len() < plain.len() / 2);
        assert_eq!(zstd::decode_all(packed.as_slice()).unwrap(), plain);
    }
}

#[test]
fn an_export_into_the_ledger_is_refused_and_writes_nothing() {
    let service = Service::made(&["--entries", "10", "--signature-every", "5", "--snapshot-every", "5"]);
    let before = support::contents(&service.directory);
    let (ledger, snapshots) = (service.ledger(), service.snapshots());
    let around = ledger.join("../ledger/state.jsonl");
    for out in [ledger.join("state.jsonl"), snapshots.join("state.jsonl"), around] {
        rekindle!["export", &ledger, "--snapshots", &snapshots, "-o", &out]
            .expect_sentence(2, &[out.to_str().unwrap()]);
    }
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&ledger, link.path().join("link")).unwrap();
    let out = link.path().join("link/state.jsonl");
    rekindle!["export", &ledger, "-o", &out].expect_sentence(2, &[out.to_str().unwrap()]);
    let (_, chunk) = chunks(&ledger).swap_remove(0);
    rekindle!["export", &ledger, "-o", &chunk].expect_sentence(2, &[chunk.to_str().unwrap()]);
    let linked = link.path().join("to-chunk");
    std::os::unix::fs::symlink(&chunk, &linked).unwrap();
    // Replaces the link, if it is not refused; never what it points to.
    let _ = rekindle!["export", &ledger, "-o", &linked];
    assert!(support::contents(&service.directory) == before);
}

#[test]
fn an_earlier_file_is_replaced_as_a_whole_or_not_at_all() {
    let service = Service::made(&["--entries", "10"]);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("out.jsonl");
    std::fs::write(&file, "earlier").unwrap();
    rekindle!["export", service.ledger(), "--at", "9999", "-o", &file].expect(2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "earlier");
    let report = rekindle!["export", service.ledger(), "-o", &file, "--json"]
        .expect(0)
        .json();
    let written = lines(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(json!(written.len()), report["records"]);
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "nothing else is left behind"
    );
}
