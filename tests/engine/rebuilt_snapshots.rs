//! Snapshots held against the ledger key by key, and lost ones rebuilt from it: every real one, and made ones of every kind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::support::{Run, Service, chunks, codes, contents, ledgers};
use serde_json::Value;

/// Rebuilds what these arguments ask for, with all keys; answers the report.
fn rebuild(ledger: &[PathBuf], keys: &[PathBuf], out: &Path, options: &[&str]) -> Run {
    let mut arguments: Vec<OsString> = vec!["snapshot".into(), "--json".into()];
    arguments.extend(ledger.iter().map(|path| path.clone().into_os_string()));
    arguments.extend(["-o".into(), out.into()]);
    if !keys.is_empty() {
        arguments.push("--member-key".into());
        arguments.extend(keys.iter().map(|path| path.clone().into_os_string()));
    }
    arguments.extend(options.iter().map(OsString::from));
    Run::of(&arguments)
}

/// Verifies with snapshots, and keys if there are some.
fn verify(ledger: &Path, snapshots: &Path, keys: &[PathBuf]) -> Run {
    let mut arguments: Vec<OsString> = vec!["verify".into(), ledger.into(), "--json".into()];
    arguments.extend(["--snapshots".into(), snapshots.into()]);
    if !keys.is_empty() {
        arguments.push("--member-key".into());
        arguments.extend(keys.iter().map(|path| path.clone().into_os_string()));
    }
    Run::of(&arguments)
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(directory)
        .map(|listing| {
            listing
                .map(|file| file.unwrap().path())
                .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("snapshot_"))
                .map(|path| {
                    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                    (name, std::fs::read(path).unwrap())
                })
                .collect()
        })
        .unwrap_or_default()
}

fn outcomes<'r>(report: &'r Value, outcome: &str) -> Vec<&'r Value> {
    let rows = report["snapshots"].as_array().unwrap().iter();
    rows.filter(|row| row["outcome"] == outcome).collect()
}

fn assert_compared(report: &Value, compared: &str, snapshots: usize) {
    let said = report["snapshots"].as_array().unwrap();
    assert_eq!(said.len(), snapshots);
    for snapshot in said {
        assert_eq!(snapshot["content"]["compared"], compared, "{snapshot}");
        assert_eq!(snapshot["content"]["differences"], 0, "{snapshot}");
        assert!(snapshot["content"]["keys"].as_u64().unwrap() > 10, "{snapshot}");
    }
}

// real ones

#[test]
fn every_snapshot_of_every_real_ledger_is_rebuilt_bit_for_bit() {
    let Some(ledgers) = ledgers() else { return };
    // Directory of the ledger, and snapshots that it has evidence of.
    let all = [
        ("acme_containing_service", "ledger", 2),
        ("cose_flipflop_service", "ledger", 1),
        ("double_sealed_service", "ledger", 27),
        ("expired_service", "ledger", 3),
        ("real_small", "ledger", 2),
        ("real_owner", "ledger", 9),
        ("real_three_nodes", "node0", 2),
        ("real_three_nodes", "node1", 2),
        ("real_three_nodes", "node2", 2),
    ];
    let mut there = 0;
    for (name, ledger, evidence) in all {
        let service = Service::at(ledgers.join(name));
        let ledger = service.directory.join(ledger);
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let report = rebuild(std::slice::from_ref(&ledger), &service.keys(), &out, &["--all"])
            .expect(0)
            .json();
        assert_eq!(outcomes(&report, "rebuilt").len(), evidence, "{name}: {report}");
        let rebuilt = files(&out);
        assert_eq!(rebuilt.len(), evidence);
        for (file, bytes) in files(&service.snapshots()) {
            there += 1;
            assert!(rebuilt.get(&file) == Some(&bytes), "{name}: {file} is another one");
        }
        assert_compared(
            &verify(&ledger, &out, &service.keys()).expect(0).json(),
            "all",
            evidence,
        );
        assert_compared(&verify(&ledger, &out, &[]).expect(0).json(), "public", evidence);
    }
    assert!(there >= 9, "{there} files were there to compare with");
}

// made ones

/// The services that are made, with what they are about.
const KINDS: [&[&str]; 8] = [
    &["--rekey-every", "70", "--recoveries", "2", "--reshare-every", "50"],
    &["--private", "0"],
    &["--private", "1", "--keys", "7"],
    &["--value-size", "70000", "--entries", "90", "--keys", "30"],
    &["--signatures", "cose", "--recoveries", "1", "--rekey-every", "90"],
    &["--signatures", "node", "--entry-type", "3"],
    &["--nodes", "3", "--election-every", "60", "--recoveries", "1"],
    &["--curve", "p256", "--odd-data", "20", "--chunk-size", "4000"],
];

fn made(options: &[&str]) -> Service {
    let mut all = vec!["--signature-every", "10", "--snapshot-every", "30"];
    for (name, value) in [("--entries", "240"), ("--chunk-size", "60000")] {
        if !options.contains(&name) {
            all.extend([name, value]);
        }
    }
    all.extend(options);
    Service::made(&all)
}

#[test]
fn made_snapshots_of_every_kind_are_rebuilt_bit_for_bit_and_hold_what_the_ledger_gives() {
    for options in KINDS {
        let service = made(options);
        let before = contents(&service.directory);
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path().join("out");
        let report = rebuild(&[service.ledger()], &service.keys(), &out, &["--all"])
            .expect(0)
            .json();
        let snapshots = files(&service.snapshots());
        assert!(snapshots.len() >= 3, "{options:?}");
        let rebuilt = files(&out);
        for (name, bytes) in &snapshots {
            assert!(rebuilt.get(name) == Some(bytes), "{options:?}: {name} of {report}");
        }
        assert_eq!(rebuilt.len(), outcomes(&report, "rebuilt").len());
        let report = verify(&service.ledger(), &service.snapshots(), &service.keys())
            .expect(0)
            .json();
        assert_compared(&report, "all", snapshots.len());
        assert!(before == contents(&service.directory), "an input was changed");
    }
}

#[test]
fn a_lie_that_the_whole_service_stands_behind_is_named_all_the_same() {
    let cases = [
        ("public-value", "public:records", "value", false),
        ("private-value", "records", "value", true),
        ("version", "public:records", "version", false),
        ("missing-key", "public:records", "missing_key", false),
        ("extra-key", "public:records", "extra_key", false),
        ("extra-map", "public:records_of_nobody", "extra_map", false),
    ];
    for (lie, table, kind, private) in cases {
        let service = made(&["--snapshots-lie", lie, "--entries", "100"]);
        let report = verify(&service.ledger(), &service.snapshots(), &service.keys())
            .expect(1)
            .json();
        let found = codes(&report);
        assert!(
            !found.is_empty() && found.iter().all(|code| *code == "L1201"),
            "{lie}: {report}"
        );
        for snapshot in report["snapshots"].as_array().unwrap() {
            assert_eq!(snapshot["verdict"], "findings", "{snapshot}");
            let first = &snapshot["content"]["first"];
            assert_eq!(
                (&first["table"], &first["kind"]),
                (&table.into(), &kind.into()),
                "{lie}: {snapshot}"
            );
            assert!(first["key"].is_string() || kind == "extra_map", "{snapshot}");
        }
        // Its receipt, evidence and digest hold: nothing else notices.
        let without = verify(&service.ledger(), &service.snapshots(), &[]);
        without.expect(if private { 0 } else { 1 });
        // And what never was the state can't be rebuilt from the ledger: nothing is written.
        let scratch = tempfile::tempdir().unwrap();
        let report = rebuild(&[service.ledger()], &service.keys(), scratch.path(), &["--all"])
            .expect(1)
            .json();
        assert!(codes(&report).iter().all(|code| *code == "L1215"), "{report}");
        assert!(files(scratch.path()).is_empty());
    }
}

#[test]
fn what_a_changed_snapshot_says_is_named_beside_its_broken_receipt() {
    let service = made(&["--entries", "100", "--private", "0"]);
    let name = files(&service.snapshots()).into_keys().next().unwrap();
    let path = service.snapshots().join(&name);
    let bytes = std::fs::read(&path).unwrap();
    // The first value of public:records.
    let map = bytes
        .windows(14)
        .rposition(|window| window == b"public:records")
        .unwrap();
    let mut changed = bytes.clone();
    changed[map + 14 + 16 + 8 + 8 + 16 + 20] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    let report = verify(&service.ledger(), &service.snapshots(), &[]).expect(1).json();
    assert!(codes(&report).contains(&"L1201"), "{report}");
    assert!(codes(&report).contains(&"L0502"), "{report}");
    // Damage of any kind ends in an answer.
    for at in (0..bytes.len()).step_by(bytes.len() / 12) {
        for value in [0, 0xff, bytes[at] ^ 0x10] {
            let mut changed = bytes.clone();
            changed[at] = value;
            std::fs::write(&path, &changed).unwrap();
            let run = verify(&service.ledger(), &service.snapshots(), &service.keys());
            assert_eq!(
                run.code,
                Some(i32::from(changed != bytes)),
                "{at} {value}: {}",
                run.stderr
            );
            run.json();
        }
    }
}

// what can't be had

#[test]
fn why_there_is_none_is_said() {
    let service = made(&["--entries", "100", "--unsigned-tail", "3"]);
    let scratch = tempfile::tempdir().unwrap();
    let listing = rekindle!["snapshot", service.ledger(), "--json"].expect(0).json();
    let rows = outcomes(&listing, "can_be_rebuilt");
    assert!(rows.len() >= 3, "{listing}");
    let (at, last) = (
        rows[0]["seqno"].as_u64().unwrap(),
        listing["last_seqno"].as_u64().unwrap(),
    );
    let cases = [
        (at - 1, "is no signature", "L1211"),
        (last + 7, "the ledger ends at", "L1211"),
        (0, "the ledger begins at", "L1211"),
    ];
    for (asked, words, code) in cases {
        let report = rebuild(
            &[service.ledger()],
            &service.keys(),
            scratch.path(),
            &["--at", &asked.to_string()],
        )
        .expect(1)
        .json();
        assert_eq!(codes(&report), [code], "{report}");
        assert!(
            report["findings"][0]["message"].as_str().unwrap().contains(words),
            "{report}"
        );
    }
    // Without keys: who has them.
    let report = rebuild(&[service.ledger()], &[], scratch.path(), &["--at", &at.to_string()])
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L1214"], "{report}");
    assert!(
        report["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("2 of 3 members"),
        "{report}"
    );
    // With too few.
    let few = [service.key(0)];
    let run = rebuild(&[service.ledger()], &few, scratch.path(), &[]).expect(3);
    assert!(run.stderr.contains("don't open this ledger"), "{}", run.stderr);
    // A signature without a snapshot.
    let report = rebuild(&[service.ledger()], &service.keys(), scratch.path(), &["--at", "2"])
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L1211"], "{report}");
    assert!(files(scratch.path()).is_empty());
}

#[test]
fn evidence_that_nothing_signed_covers_gives_no_snapshot() {
    let service = made(&["--entries", "100", "--chunk-size", "1000000"]);
    let listing = rekindle!["snapshot", service.ledger(), "--json"].expect(0).json();
    let newest = listing["snapshots"].as_array().unwrap().last().unwrap().clone();
    let signed_at = newest["signed_at"].as_u64().unwrap();
    cut_before(&service.ledger(), signed_at);
    let scratch = tempfile::tempdir().unwrap();
    let at = newest["seqno"].to_string();
    let report = rebuild(&[service.ledger()], &service.keys(), scratch.path(), &["--at", &at])
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L1212"], "{report}");
    // The newest that can be had is another one.
    let report = rebuild(&[service.ledger()], &service.keys(), scratch.path(), &[])
        .expect(0)
        .json();
    assert_ne!(outcomes(&report, "rebuilt")[0]["seqno"], newest["seqno"]);
    assert_eq!(files(scratch.path()).len(), 1);
}

/// Where an entry begins in the bytes of a chunk that begins at seqno 1.
fn offset_of(bytes: &[u8], seqno: u64) -> usize {
    use rekindle::format::chunk::{Layout, Step, Walker};
    let (mut walker, mut faults) = (Walker::new(bytes, Layout::read(bytes).unwrap(), 1), Vec::new());
    while let Step::Entry(located) = walker.step(&mut faults) {
        if located.seqno == seqno {
            return located.offset as usize;
        }
    }
    panic!("no entry {seqno}");
}

/// Ends a ledger of one open chunk before the entry `next`.
fn cut_before(ledger: &Path, next: u64) {
    let all = chunks(ledger);
    let [(first, path)] = all.as_slice() else {
        panic!("{all:?}")
    };
    let mut bytes = std::fs::read(path).unwrap();
    let end = offset_of(&bytes, next);
    bytes.truncate(end);
    bytes[..8].fill(0);
    std::fs::remove_file(path).unwrap();
    std::fs::write(ledger.join(format!("ledger_{first}")), bytes).unwrap();
}

#[test]
fn a_snapshot_whose_receipt_would_not_verify_is_not_written() {
    let service = made(&["--entries", "60", "--chunk-size", "1000000"]);
    let listing = rekindle!["snapshot", service.ledger(), "--json"].expect(0).json();
    let first = listing["snapshots"].as_array().unwrap().first().unwrap().clone();
    let path = chunks(&service.ledger()).remove(0).1;
    let mut bytes = std::fs::read(&path).unwrap();
    let at = offset_of(&bytes, first["signed_at"].as_u64().unwrap());
    // A signature of the node in the transaction that signs the evidence: its state and digest are as they were.
    let field = b"\"sig\":\"";
    let found = bytes[at..].windows(field.len()).position(|window| window == field);
    let letter = at + found.unwrap() + field.len() + 40;
    bytes[letter] = if bytes[letter] == b'A' { b'B' } else { b'A' };
    std::fs::write(&path, bytes).unwrap();
    let out = tempfile::tempdir().unwrap();
    let at = first["seqno"].to_string();
    let report = rebuild(&[service.ledger()], &service.keys(), out.path(), &["--at", &at])
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L1216"], "{report}");
    assert!(files(out.path()).is_empty());
}

#[test]
fn a_ledger_with_a_hole_or_a_changed_entry_gives_no_snapshot_after_it() {
    let service = made(&["--chunk-size", "5000"]);
    let scratch = tempfile::tempdir().unwrap();
    let all = chunks(&service.ledger());
    let (hole, path) = &all[all.len() / 2];
    let kept = std::fs::read(path).unwrap();
    let rebuilt_after = |report: &Value| {
        let rows = outcomes(report, "rebuilt").into_iter();
        rows.filter(|row| row["seqno"].as_u64().unwrap() > *hole).count()
    };
    std::fs::remove_file(path).unwrap();
    let out = scratch.path().join("with a hole");
    let report = rebuild(&[service.ledger()], &service.keys(), &out, &["--all"])
        .expect(1)
        .json();
    assert!(codes(&report).contains(&"L1213"), "{report}");
    assert!(!outcomes(&report, "rebuilt").is_empty());
    assert_eq!(rebuilt_after(&report), 0);
    // One bit of a value: the digest is not the evidence's any more.
    let mut changed = kept.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(path, changed).unwrap();
    let out = scratch.path().join("changed");
    let report = rebuild(&[service.ledger()], &service.keys(), &out, &["--all"])
        .expect(1)
        .json();
    let snapshots = files(&service.snapshots());
    for (name, bytes) in files(&out) {
        assert!(snapshots.get(&name) == Some(&bytes), "{name} of {report}");
    }
    std::fs::write(path, kept).unwrap();
}

#[test]
fn a_ledger_that_begins_after_a_snapshot_goes_on_from_it() {
    let service = made(&["--chunk-size", "5000", "--rekey-every", "50", "--recoveries", "1"]);
    let all = files(&service.snapshots());
    let seqno = |name: &String| -> u64 { name.split('_').nth(1).unwrap().parse().unwrap() };
    let mut names: Vec<&String> = all.keys().collect();
    names.sort_by_key(|name| seqno(name));
    let kept = names[1];
    let kept_seqno = seqno(kept);
    let chunks = chunks(&service.ledger());
    let removed = chunks.iter().take_while(|(_, path)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let last = name.split(['-', '.']).nth(1).and_then(|last| last.parse::<u64>().ok());
        last.is_some_and(|last| last <= kept_seqno)
    });
    let removed: Vec<_> = removed.collect();
    assert!(!removed.is_empty());
    removed.iter().for_each(|(_, path)| std::fs::remove_file(path).unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let (left, out) = (scratch.path().join("left"), scratch.path().join("out"));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join(kept), &all[kept]).unwrap();
    let left_option = left.to_str().unwrap();
    // Without it nothing is known.
    rebuild(&[service.ledger()], &[], &out, &["--all"]).expect(1);
    let report = rebuild(
        &[service.ledger()],
        &service.keys(),
        &out,
        &["--all", "--snapshots", left_option],
    )
    .expect(0)
    .json();
    let rebuilt = files(&out);
    let later: Vec<_> = names.iter().filter(|name| seqno(name) > kept_seqno).collect();
    assert!(later.len() >= 2);
    for name in later {
        assert!(rebuilt.get(*name) == Some(&all[*name]), "{name} of {report}");
    }
    // And what is there is held against what follows from it.
    let mut arguments: Vec<OsString> = vec!["verify".into(), service.ledger().into(), "--json".into()];
    arguments.extend([
        "--snapshots".into(),
        service.snapshots().into(),
        "--from-snapshot".into(),
    ]);
    arguments.extend([left.join(kept).into_os_string(), "--member-key".into()]);
    arguments.extend(service.keys().into_iter().map(PathBuf::into_os_string));
    let report = Run::of(&arguments).json();
    for snapshot in report["snapshots"].as_array().unwrap() {
        let content = &snapshot["content"];
        match snapshot["seqno"].as_u64().unwrap() > kept_seqno {
            true => assert_eq!(
                (&content["compared"], &content["differences"]),
                (&"all".into(), &0.into())
            ),
            false => assert_eq!(content["compared"], "nothing", "{snapshot}"),
        }
    }
}

// what opens the ledger

#[test]
fn what_nodes_had_sealed_rebuilds_the_same_snapshot_as_members_keys() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_sealed"));
    let ledger = ["ledger", "ledger-readonly"].map(|name| service.directory.join(name));
    let (sealed, key) = (
        service.directory.join("sealed"),
        service.directory.join("sealing_key.hex"),
    );
    let with_key = ["--insecure-sealing-key", key.to_str().unwrap()];
    let with_sealed = [&["--sealed", sealed.to_str().unwrap()], &with_key[..]].concat();
    let scratch = tempfile::tempdir().unwrap();
    let (by_members, by_seal) = (scratch.path().join("members"), scratch.path().join("sealed"));
    rebuild(&ledger, &service.keys(), &by_members, &[]).expect(0);
    rebuild(&ledger, &[], &by_seal, &with_sealed).expect(0);
    assert_eq!(files(&by_seal).len(), 1);
    assert!(files(&by_seal) == files(&by_members));
    // A key that is not theirs opens nothing, and says so; a key alone is for nothing.
    let other = scratch.path().join("other.hex");
    std::fs::write(&other, "5a".repeat(32)).unwrap();
    let wrong = [
        "--sealed",
        sealed.to_str().unwrap(),
        "--insecure-sealing-key",
        other.to_str().unwrap(),
    ];
    let out = scratch.path().join("none");
    rebuild(&ledger, &[], &out, &wrong).expect_sentence(3, &["don't open this ledger"]);
    assert!(files(&out).is_empty());
    rebuild(&ledger, &[], &out, &with_key).expect_sentence(2, &["--sealed or --sealing-name"]);
    // What is read is not written to.
    rebuild(&ledger, &[], &sealed, &with_sealed).expect_sentence(2, &["never written to"]);
}

#[test]
fn shares_that_members_have_decrypted_rebuild_it_too() {
    let service = made(&["--entries", "60", "--rekey-every", "25"]);
    let scratch = tempfile::tempdir().unwrap();
    let shares = super::unlock::latest_shares(&service, scratch.path());
    let (by_shares, by_keys) = (scratch.path().join("shares"), scratch.path().join("keys"));
    let mut options = vec!["--all", "--share"];
    options.extend(shares.iter().map(|path| path.to_str().unwrap()));
    rebuild(&[service.ledger()], &[], &by_shares, &options[..4]).expect(0);
    rebuild(&[service.ledger()], &service.keys(), &by_keys, &["--all"]).expect(0);
    assert!(!files(&by_shares).is_empty());
    assert!(files(&by_shares) == files(&by_keys));
}

// where it goes

#[test]
fn nothing_is_written_into_what_is_read_nor_over_what_is_there() {
    let service = made(&["--entries", "60"]);
    let before = contents(&service.directory);
    for out in [service.ledger(), service.ledger().join("below")] {
        rebuild(&[service.ledger()], &service.keys(), &out, &[]).expect_sentence(2, &["never written to"]);
    }
    let snapshots = service.snapshots();
    let with = ["--snapshots", snapshots.to_str().unwrap()];
    rebuild(&[service.ledger()], &service.keys(), &snapshots, &with).expect_sentence(2, &["never written to"]);
    rebuild(&[service.ledger()], &service.keys(), &snapshots, &[]).expect_sentence(2, &["is there already"]);
    assert!(before == contents(&service.directory));
    rekindle!["snapshot", service.ledger(), "--all"].expect_sentence(2, &["-o DIR"]);
    rekindle!["snapshot", service.ledger(), "-o", "/none/such/place", "--at", "1"].expect_sentence(3, &["/none/such"]);
}

#[test]
fn what_is_no_key_is_refused_before_the_ledger_is_read() {
    let service = made(&["--entries", "60"]);
    let certificate = service.directory.join("common/member0_cert.pem");
    // A ledger that is not there would be noticed first if it were looked at first.
    for ledger in [service.ledger(), service.directory.join("none")] {
        let run = rekindle![
            "verify",
            ledger,
            "--snapshots",
            service.snapshots(),
            "--member-key",
            &certificate
        ];
        run.expect_sentence(2, &["member0_cert.pem", "is not a member's share-encryption key"]);
    }
}
