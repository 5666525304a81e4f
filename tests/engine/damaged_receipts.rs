//! Receipts of transactions whose first signature is damaged: a later one covers them as well, although its tree begins after
//! them.

use std::path::{Path, PathBuf};

use crate::support::{Service, chunks, codes};
use rekindle::format::chunk::{Layout, Step, Walker};
use serde_json::Value;

/// One service with a signature in every ten transactions, another one after it.
fn made() -> Service {
    let options = ["--entries", "90", "--signature-every", "10", "--recoveries", "1"];
    Service::made(&[&options[..], &["--chunk-size", "1000000"]].concat())
}

/// Where a signature lies: its file, and the bytes of its entry.
fn place(service: &Service, seqno: u64) -> (PathBuf, std::ops::Range<usize>) {
    for (first, path) in chunks(&service.ledger()) {
        let bytes = std::fs::read(&path).unwrap();
        let (mut walker, mut faults) = (Walker::new(&bytes, Layout::read(&bytes).unwrap(), first), Vec::new());
        while let Step::Entry(located) = walker.step(&mut faults) {
            if located.seqno == seqno {
                let begin = located.offset as usize;
                return (path, begin..begin + located.entry.raw.len());
            }
        }
    }
    panic!("no entry {seqno}");
}

/// Changes one letter or byte so many bytes after a word in an entry.
fn damage(service: &Service, seqno: u64, word: &[u8], after: usize) {
    let (path, range) = place(service, seqno);
    let mut bytes = std::fs::read(&path).unwrap();
    let found = bytes[range.clone()]
        .windows(word.len())
        .position(|window| window == word);
    let at = range.start + found.unwrap() + word.len() + after;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(path, bytes).unwrap();
}

/// Seqnos of the signatures of the first service but its last, oldest first.
fn signatures(service: &Service) -> Vec<u64> {
    let report = rekindle!["verify", service.ledger(), "--json"].expect(0).json();
    let second = report["services"][1]["from_seqno"].as_u64().unwrap();
    let lines = service.export(false, &["--history", "--table", "^public:ccf.internal.signatures$"]);
    let seqnos = lines.iter().map(|line| line["seqno"].as_u64().unwrap());
    seqnos.filter(|seqno| *seqno < second).collect()
}

/// Makes a receipt, and has it verified by who knows the last service.
fn receipt(service: &Service, seqno: u64, form: &str, file: &Path) -> Value {
    let txid = format!("2.{seqno}");
    let file_name = file.to_str().unwrap();
    let options = ["--txid", &txid, "--format", form, "-o", file_name, "--json"];
    let report = service.with_keys("receipt", &options).expect(0).json();
    let certificate = service.common("service_cert.pem");
    let verified = rekindle![
        "receipt",
        "verify",
        file,
        "--service-certificate",
        &certificate,
        "--txid",
        &txid
    ];
    verified.expect(0);
    report
}

fn signed_in(report: &Value) -> u64 {
    let txid = report["signed_in"].as_str().unwrap();
    txid.split_once('.').unwrap().1.parse().unwrap()
}

#[test]
fn a_damaged_signature_leaves_the_next_one_wherever_in_it_the_damage_lies() {
    let places: [(&[u8], usize); 6] = [
        (b"\"sig\":\"", 40),
        (b"BEGIN CERTIFICATE-----\\n", 100),
        // The tree's length; in it the number of its leaves, how many it left out, and one of them.
        (b"public:ccf.internal.tree", 47),
        (b"public:ccf.internal.tree", 48 + 7),
        (b"public:ccf.internal.tree", 48 + 15),
        (b"public:ccf.internal.tree", 48 + 16 + 3 * 32),
    ];
    let scratch = tempfile::tempdir().unwrap();
    for (number, (word, after)) in places.into_iter().enumerate() {
        let service = made();
        let all = signatures(&service);
        let (before, first, next) = (all[2], all[3], all[4]);
        damage(&service, first, word, after);
        let mut passed_over = 0;
        for seqno in before + 1..first {
            for form in ["json", "cose"] {
                let file = scratch.path().join(format!("{number}.{seqno}.{form}"));
                let report = receipt(&service, seqno, form, &file);
                let by = signed_in(&report);
                assert!(by == first || by == next, "{number} {seqno} {form}: {report}");
                if by == next {
                    passed_over += 1;
                    let said = &report["findings"][0];
                    assert_eq!(said["severity"].as_str().unwrap_or("info"), "info", "{report}");
                }
            }
        }
        assert!(passed_over > 0, "{number} was no damage");
        // Nothing proves the damaged transaction.
        let txid = format!("2.{first}");
        let file = scratch.path().join("none");
        let options = ["--txid", &txid, "--format", "cose", "-o", file.to_str().unwrap()];
        service
            .with_keys("receipt", &[&options[..], &["--json"]].concat())
            .expect(1);
    }
}

#[test]
fn two_damaged_signatures_in_a_row_leave_the_third() {
    let service = made();
    let all = signatures(&service);
    damage(&service, all[3], b"\"sig\":\"", 40);
    damage(&service, all[4], b"\"sig\":\"", 40);
    let scratch = tempfile::tempdir().unwrap();
    let report = receipt(&service, all[3] - 2, "json", &scratch.path().join("receipt"));
    assert_eq!(signed_in(&report), all[5], "{report}");
}

#[test]
fn a_damaged_entry_is_proven_by_no_signature_and_the_answer_says_so() {
    let service = made();
    let all = signatures(&service);
    let seqno = all[3] - 2;
    let (path, range) = place(&service, seqno);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[range.end - 1] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let txid = format!("2.{seqno}");
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let options = ["--txid", &txid, "-o", file.to_str().unwrap(), "--json"];
    let report = service.with_keys("receipt", &options).expect(1).json();
    assert_eq!(codes(&report), ["L1302"], "{report}");
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("signatures after it do not prove it, either"),
        "{message}"
    );
    assert!(!file.exists());
    // Of the others, the damage takes nothing.
    receipt(&service, seqno - 1, "json", &file);
    receipt(&service, seqno + 1, "cose", &file);
}
