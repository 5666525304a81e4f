//! Receipts from ledgers' files: `rekindle receipt` makes them, CCF's own client code verifies them, and
//! `rekindle receipt verify` verifies those of nodes, snapshots and its own.
//!
//! The official package is that of `tests/service/served_api.rs`: see there.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::Place;
use crate::support::{REAL_SERVICES, Run, Service, chunks, codes, contents, copy_files, ledgers};
use rekindle::crypto::rsa::DecryptionKey;
use rekindle::format::TxId;
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::receipts::{Form, Made, Request, make};
use rekindle::recovery::secrets::{LedgerSecrets, Material};
use rekindle::recovery::unlock::open_secrets;
use rekindle::report::Code;
use serde_json::{Value, json};

fn python() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let imports = "import ccf.receipt, ccf.cose";
    let output = Command::new(&python).args(["-c", imports]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(!required, "{} can't {imports}", python.display());
    eprintln!("skipped: not in {}: {imports}", python.display());
    None
}

/// Has the official package verify receipts; answers how many endorsements each needed.
#[track_caller]
fn officially(form: Form, service: &Path, receipts: &[PathBuf]) -> Option<Vec<u64>> {
    let name = match form {
        Form::Json => "official_receipts.py",
        Form::Cose => "official_cose_receipts.py",
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let output = Command::new(python()?)
        .arg(script)
        .arg(service)
        .args(receipts)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn secrets(service: &Service, files: &LedgerFiles) -> LedgerSecrets {
    let mut material = Material::default();
    for path in service.keys() {
        let key = DecryptionKey::from_pem(&std::fs::read_to_string(&path).unwrap()).unwrap();
        material.member_keys.push((path.display().to_string(), key));
    }
    let (opened, _) = open_secrets(files, &[], &material, None).unwrap();
    opened.secrets.unwrap()
}

/// The ledger's transactions, in order, and whether they are signatures.
fn transactions(files: &LedgerFiles) -> Vec<(TxId, bool)> {
    use rekindle::recovery::segments::Windows;
    use rekindle::recovery::writes::{is_signature, txid};
    let mut found = Vec::new();
    let mut windows = Windows::new(files, 1, u64::MAX);
    while let Some(window) = windows.next_window().unwrap() {
        for segment in &window {
            segment.for_each(|located| found.push((txid(&located), is_signature(&located))));
        }
    }
    found
}

/// Receipts of every transaction in both forms; where there is none, which is said to be missing.
struct All {
    made: Vec<(TxId, Form, Made)>,
    refused: Vec<(TxId, Form, Code)>,
}

fn all(service: &Service) -> All {
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    let secrets = secrets(service, &files);
    let mut all = All {
        made: Vec::new(),
        refused: Vec::new(),
    };
    for (txid, _) in transactions(&files) {
        for form in [Form::Json, Form::Cose] {
            let request = Request {
                txid,
                form,
                secrets: Some(&secrets),
                service: None,
            };
            match make(&files, &request).unwrap() {
                Ok(made) => all.made.push((txid, form, made)),
                Err(findings) => {
                    let [finding] = findings.as_slice() else {
                        panic!("{findings:?}")
                    };
                    all.refused.push((txid, form, finding.code));
                }
            }
        }
    }
    all
}

/// Writes some of them down, and the certificate under which each service made them: (services, files).
fn written(all: &All, form: Form, scratch: &Path, every: usize) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let mut by_service: Vec<(Vec<u8>, PathBuf, Vec<PathBuf>)> = Vec::new();
    let of_form = all.made.iter().filter(|(_, of, _)| *of == form);
    for (txid, _, made) in of_form.step_by(every) {
        let path = scratch.join(format!("{txid}.{form:?}"));
        std::fs::write(&path, &made.bytes).unwrap();
        let der = made.service.der().to_vec();
        if !by_service.iter().any(|(of, ..)| *of == der) {
            let pem = scratch.join(format!("service{}.pem", by_service.len()));
            std::fs::write(&pem, made.service.to_pem()).unwrap();
            by_service.push((der.clone(), pem, Vec::new()));
        }
        by_service.iter_mut().find(|(of, ..)| *of == der).unwrap().2.push(path);
    }
    by_service.into_iter().map(|(_, pem, files)| (pem, files)).collect()
}

#[test]
fn every_transaction_of_every_real_ledger_has_receipts_that_ccf_verifies() {
    let Some(ledgers) = ledgers() else { return };
    for name in REAL_SERVICES {
        let service = Service::at(ledgers.join(name));
        let all = all(&service);
        let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
        let there = transactions(&files);
        let last_signed = there.iter().rfind(|(_, signs)| *signs).unwrap().0;
        // In JSON everything has one that is signed; what has none in COSE says why.
        for (txid, form, code) in &all.refused {
            let expected = match form {
                Form::Json => Code::TransactionUnsigned,
                Form::Cose if *txid >= last_signed => Code::TransactionUnsigned,
                Form::Cose => Code::NoReceipt,
            };
            assert_eq!(*code, expected, "{name} {txid} {form:?}");
            assert!(*form == Form::Cose || *txid > last_signed, "{name} {txid}");
        }
        let cose = all.made.iter().filter(|(_, form, _)| *form == Form::Cose).count();
        eprintln!(
            "{name}: {} transactions, {} in JSON, {cose} in COSE",
            there.len(),
            all.made.len() - cose
        );
        assert!(cose > 0, "{name}");
        for form in [Form::Json, Form::Cose] {
            let scratch = tempfile::tempdir().unwrap();
            for (certificate, files) in written(&all, form, scratch.path(), 7) {
                officially(form, &certificate, &files);
            }
        }
    }
}

fn made() -> Service {
    let mut options = vec![
        "--entries",
        "120",
        "--signature-every",
        "10",
        "--recoveries",
        "3",
        "--rekey-every",
        "25",
    ];
    options.extend(["--chunk-size", "9000", "--members", "3", "--threshold", "2"]);
    Service::made(&options)
}

/// One transaction in each stage of each service.
fn one_of_each_stage(service: &Service) -> Vec<TxId> {
    let report = rekindle!["verify", service.ledger(), "--json"].expect(0).json();
    let from: Vec<u64> = report["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["from_seqno"].as_u64().unwrap())
        .collect();
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    let all = transactions(&files);
    let mut chosen = Vec::new();
    for (number, &begin) in from.iter().enumerate() {
        let end = from.get(number + 1).copied().unwrap_or(all.len() as u64 + 1);
        let inside: Vec<TxId> = all
            .iter()
            .map(|(txid, _)| *txid)
            .filter(|txid| (begin..end).contains(&txid.seqno))
            .collect();
        chosen.extend([inside[0], inside[inside.len() / 2], inside[inside.len() - 2]]);
    }
    chosen
}

fn receipt(service: &Service, txid: TxId, options: &[&str], file: &Path) -> Run {
    let txid = txid.to_string();
    let file = file.to_str().unwrap();
    service.with_keys("receipt", &[&["--txid", &txid, "-o", file], options].concat())
}

fn certificate(service: &Service) -> PathBuf {
    service.common("service_cert.pem")
}

#[test]
fn receipts_of_all_services_are_verified_by_whoever_knows_the_last_one() {
    let service = made();
    let before = contents(&service.ledger());
    let scratch = tempfile::tempdir().unwrap();
    let mut cose = Vec::new();
    let chosen = one_of_each_stage(&service);
    assert_eq!(chosen.len(), 12);
    for (number, txid) in chosen.iter().enumerate() {
        let links = 3 - number as u64 / 3;
        for form in ["json", "cose"] {
            let file = scratch.path().join(format!("{txid}.{form}"));
            let run = receipt(&service, *txid, &["--format", form, "--json"], &file)
                .expect(0)
                .json();
            assert_eq!(run["transaction"], json!(txid.to_string()));
            assert_eq!(run["endorsements"], json!(links), "{run:#}");
            let verified = rekindle![
                "receipt",
                "verify",
                &file,
                "--service-certificate",
                certificate(&service),
                "--txid",
                txid.to_string(),
                "--ledger",
                service.ledger(),
                "--json"
            ];
            let report = verified.expect(0).json();
            assert_eq!(report["verdict"], "ok");
            assert_eq!(report["endorsements"], json!(links));
            if form == "cose" {
                cose.push(file);
            }
        }
        // By itself, wherever it is moved to, a JSON receipt has all that it needs; a COSE receipt has not.
        let alone = tempfile::tempdir().unwrap();
        for (form, code) in [("json", 0), ("cose", i32::from(links > 0))] {
            let file = alone.path().join(form);
            std::fs::copy(scratch.path().join(format!("{txid}.{form}")), &file).unwrap();
            let run = rekindle![
                "receipt",
                "verify",
                &file,
                "--service-certificate",
                certificate(&service)
            ];
            let run = run.expect(code);
            assert_eq!(code == 1, run.text().contains("L1303"), "{}", run.text());
            let with_ledger = rekindle![
                "receipt",
                "verify",
                &file,
                "--service-certificate",
                certificate(&service),
                "--ledger",
                service.ledger()
            ];
            with_ledger.expect(0);
        }
    }
    if let Some(counts) = officially(Form::Cose, &certificate(&service), &cose) {
        assert_eq!(counts, [3, 3, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]);
    }
    assert_eq!(contents(&service.ledger()), before);
}

#[test]
fn another_service_of_the_same_name_does_not_verify_them() {
    let (service, other) = (made(), Service::made(&["--entries", "20", "--seed", "7"]));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let txid = TxId { view: 2, seqno: 20 };
    for form in ["json", "cose"] {
        receipt(&service, txid, &["--format", form], &file).expect(0);
        let run = rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            certificate(&other),
            "--json"
        ]
        .expect(1);
        assert!(codes(&run.json()).contains(&"L1303"), "{}", run.text());
        // Among several trusted, the right one is enough.
        let both = rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            certificate(&other),
            certificate(&service)
        ];
        both.expect(0);
    }
}

#[test]
fn without_keys_a_receipt_is_of_the_bare_leaf_and_says_what_it_lacks() {
    let service = made();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let run = rekindle!["receipt", service.ledger(), "--txid", "2.17", "-o", &file].expect(0);
    assert!(
        run.text().contains("not proven   that it was committed"),
        "{}",
        run.text()
    );
    let trusted = certificate(&service);
    let run = rekindle!["receipt", "verify", &file, "--service-certificate", &trusted].expect(0);
    assert!(run.text().contains("which transaction it is"), "{}", run.text());
    rekindle![
        "receipt",
        "verify",
        &file,
        "--service-certificate",
        &trusted,
        "--txid",
        "2.17"
    ]
    .expect(1);
    let held = |txid: &str| {
        rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            &trusted,
            "--txid",
            txid,
            "--ledger",
            service.ledger(),
            "--json"
        ]
    };
    assert_eq!(held("2.17").expect(0).json()["transaction"], "2.17");
    assert_eq!(codes(&held("2.18").expect(1).json()), ["L1311"]);
    let cose = rekindle![
        "receipt",
        service.ledger(),
        "--txid",
        "2.17",
        "--format",
        "cose",
        "--json",
        "-o",
        &file
    ]
    .expect(1);
    assert_eq!(codes(&cose.json()), ["L1322"]);
}

#[test]
fn what_has_no_receipt_is_told_with_what_is_there_instead() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--unsigned-tail",
        "3",
        "--nodes",
        "3",
        "--election-every",
        "20",
        "--superseded-tail",
        "5",
    ]);
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    let all = transactions(&files);
    let last = all.last().unwrap().0;
    let later = all.iter().map(|(txid, _)| *txid).find(|txid| txid.view > 2).unwrap();
    let rolled_back = TxId {
        view: 2,
        seqno: later.seqno,
    };
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let told = |txid: TxId, code: &str, words: &[&str]| {
        let run = receipt(&service, txid, &["--json"], &file).expect(1).json();
        assert_eq!(codes(&run), [code], "{run:#}");
        let message = run["findings"][0]["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message}");
        }
        assert!(!file.exists());
    };
    told(rolled_back, "L1320", &["was rolled back", &format!("{later} is there")]);
    told(
        TxId { view: 99, seqno: 5 },
        "L1320",
        &["not of this ledger", "2.5 is there"],
    );
    told(TxId { view: 2, seqno: 0 }, "L1320", &["begins at seqno 1"]);
    told(
        TxId {
            view: 2,
            seqno: 100_000,
        },
        "L1320",
        &[&format!("ends at seqno {}", last.seqno)],
    );
    told(last, "L1321", &["no signature transaction comes after it"]);
    // A chunk that is missing.
    let torn = made();
    let all = chunks(&torn.ledger());
    std::fs::remove_file(&all[1].1).unwrap();
    let gap = TxId {
        view: 2,
        seqno: all[1].0,
    };
    let run = receipt(&torn, gap, &["--json"], &file).expect(1).json();
    assert!(
        run["findings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("are in no file"),
        "{run}"
    );
}

#[test]
fn what_was_rolled_back_after_it_was_signed_has_a_receipt_with_a_warning_that_the_ledger_contradicts() {
    let service = Service::made(&[
        "--entries",
        "140",
        "--signature-every",
        "10",
        "--nodes",
        "3",
        "--election-every",
        "20",
        "--superseded-tail",
        "25",
        "--chunk-size",
        "6000",
    ]);
    let copy = service.directory.join("superseded/1");
    let lost = LedgerFiles::list(std::slice::from_ref(&copy), false).unwrap();
    // Signed by a primary that lost the election: everything before the last signature, in that copy alone.
    let all = transactions(&lost);
    let last = all.iter().rfind(|(_, signs)| *signs).unwrap().0;
    let txid = TxId {
        seqno: last.seqno - 1,
        ..last
    };
    let scratch = tempfile::tempdir().unwrap();
    let trusted = certificate(&service);
    for form in ["json", "cose"] {
        let file = scratch.path().join(form);
        let run = rekindle![
            "receipt",
            &copy,
            "--txid",
            txid.to_string(),
            "--format",
            form,
            "-o",
            &file,
            "--json",
            "--member-key",
            service.key(0),
            service.key(1)
        ];
        assert_eq!(codes(&run.expect(1).json()), ["L1323"]);
        // Nothing in it says that it was rolled back, and nothing of what is said claims that it was not.
        let alone = rekindle!["receipt", "verify", &file, "--service-certificate", &trusted].expect(0);
        assert!(
            alone.text().contains("not proven   that it was committed"),
            "{}",
            alone.text()
        );
        // The ledger does: what holds and what is there differ, and both are said.
        let held = rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            &trusted,
            "--ledger",
            service.ledger(),
            "--json"
        ];
        let report = held.expect(1).json();
        assert_eq!(codes(&report), ["L1311"]);
        assert!(
            report["findings"][0]["message"]
                .as_str()
                .unwrap()
                .contains("was rolled back")
        );
        assert!(
            report["proven"][0].as_str().unwrap().contains(&txid.to_string()),
            "{report:#}"
        );
        // Nor do committed chunks after it say that it was.
        let gap = scratch.path().join("gap");
        if !gap.exists() {
            copy_files(&copy, &gap);
            for (first, path) in chunks(&service.ledger()) {
                if first > last.seqno && path.extension().is_some() {
                    std::fs::copy(&path, gap.join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        assert!(chunks(&gap).last().unwrap().0 > last.seqno);
        let of_gap = scratch.path().join("of_gap");
        let run = rekindle!["receipt", &gap, "--txid", txid.to_string(), "-o", &of_gap];
        assert!(run.expect(1).text().contains("L1323"));
        // A stranger's is a stranger's, whatever the ledger says.
        let strange = rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            certificate(&Service::made(&["--entries", "5", "--seed", "9"])),
            "--ledger",
            service.ledger(),
            "--json"
        ];
        let report = strange.expect(1).json();
        assert!(codes(&report).contains(&"L1303"), "{report:#}");
        assert_eq!(report["proven"], json!([]));
    }
}

#[test]
fn a_damaged_entry_has_no_receipt_and_a_damaged_signature_leaves_the_next_one() {
    let service = made();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let (_, chunk) = chunks(&service.ledger()).swap_remove(1);
    let bytes = std::fs::read(&chunk).unwrap();
    let first = chunks(&service.ledger())[1].0;
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    let txid = transactions(&files)[first as usize - 1].0;
    receipt(&service, txid, &[], &file).expect(0);
    std::fs::remove_file(&file).unwrap();
    // In the tag of the first entry: nothing but the leaf shows it.
    let mut other = bytes.clone();
    other[8 + 8] ^= 1;
    std::fs::write(&chunk, &other).unwrap();
    let run = receipt(&service, txid, &["--json"], &file);
    let report = run.expect(1).json();
    assert!(codes(&report).contains(&"L1302"), "{report:#}");
    assert!(!file.exists());
    // In the signature that covers it.
    let mut other = bytes.clone();
    let field = b"\"sig\":\"";
    let place = other.windows(field.len()).position(|window| window == field).unwrap();
    let byte = &mut other[place + field.len() + 30];
    *byte = if *byte == b'a' { b'b' } else { b'a' };
    std::fs::write(&chunk, &other).unwrap();
    let report = receipt(&service, txid, &["--json"], &file).expect(0).json();
    assert_eq!(codes(&report), ["L1302"]);
    assert_eq!(report["findings"][0]["severity"], "info", "{report:#}");
    rekindle![
        "receipt",
        "verify",
        &file,
        "--service-certificate",
        certificate(&service)
    ]
    .expect(0);
}

#[test]
fn nothing_is_written_where_it_must_not_be() {
    let service = made();
    let inside = service.ledger().join("receipt");
    let run = receipt(&service, TxId { view: 2, seqno: 17 }, &[], &inside);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(!inside.exists());
    let run = rekindle![
        "receipt",
        service.ledger(),
        "--txid",
        "2.17",
        "--format",
        "cose",
        "--json"
    ];
    run.expect_sentence(2, &["standard output"]);
    let run = rekindle!["receipt", service.ledger()];
    assert_eq!(run.code, Some(2));
    let run = rekindle!["receipt", service.ledger(), "--txid", "17"];
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    // Over nothing that is read, under whatever name.
    let copies = tempfile::tempdir().unwrap();
    let in_copies = |name: &str| copies.path().join(name);
    for (from, name) in [
        (service.key(0), "key0"),
        (service.key(1), "key1"),
        (certificate(&service), "service.endorsements"),
    ] {
        std::fs::copy(from, in_copies(name)).unwrap();
    }
    std::fs::hard_link(in_copies("key0"), in_copies("other")).unwrap();
    let there = contents(copies.path());
    for over in ["key0", "key1", "other", "service", "service.endorsements"] {
        let run = rekindle![
            "receipt",
            service.ledger(),
            "--txid",
            "2.17",
            "-o",
            in_copies(over),
            "--service-certificate",
            in_copies("service.endorsements"),
            "--member-key",
            in_copies("key0"),
            in_copies("key1")
        ];
        run.expect_sentence(2, &["is being read and never written to"]);
        assert_eq!(contents(copies.path()), there, "{over}");
    }
    // On standard output it is the receipt and nothing else.
    let run = rekindle!["receipt", service.ledger(), "--txid", "2.17", "--json"].expect(0);
    assert!(run.json()["proof"].is_array());
}

#[test]
fn claims_and_entries_are_compared_with_what_was_given() {
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--snapshot-every",
        "20",
        "--chunk-size",
        "6000",
    ]);
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("receipt");
    let (first, chunk) = chunks(&service.ledger()).swap_remove(1);
    let of = TxId {
        view: 2,
        seqno: first + 1,
    };
    receipt(&service, of, &[], &file).expect(0);
    let bytes = std::fs::read(chunk).unwrap();
    // The second entry, by the size of the first.
    let size = |at: usize| 8 + (u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) >> 16) as usize;
    let at = 8 + size(8);
    let entry = scratch.path().join("entry");
    std::fs::write(&entry, &bytes[at..at + size(at)]).unwrap();
    let trusted = certificate(&service);
    let verify = |option: &str, path: &Path| {
        rekindle![
            "receipt",
            "verify",
            &file,
            "--service-certificate",
            &trusted,
            option,
            path,
            "--json"
        ]
    };
    verify("--write-set", &entry).expect(0);
    assert_eq!(codes(&verify("--write-set", &trusted).expect(1).json()), ["L1307"]);
    assert_eq!(codes(&verify("--claims", &entry).expect(1).json()), ["L1306"]);
    // A snapshot's evidence claims the snapshot.
    for snapshot in std::fs::read_dir(service.snapshots()).unwrap() {
        let snapshot = snapshot.unwrap().path();
        let run = rekindle!["receipt", "verify", &snapshot, "--service-certificate", &trusted].expect(0);
        assert!(
            run.text().contains("what the application claims of it is the snapshot"),
            "{}",
            run.text()
        );
        let changed = scratch.path().join("snapshot");
        let mut bytes = std::fs::read(&snapshot).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&changed, bytes).unwrap();
        let run = rekindle![
            "receipt",
            "verify",
            &changed,
            "--service-certificate",
            &trusted,
            "--json"
        ]
        .expect(1);
        assert!(
            codes(&run.json()).iter().all(|code| ["L1306", "L1301"].contains(code)),
            "{}",
            run.text()
        );
    }
}

#[test]
fn receipts_of_real_snapshots_verify() {
    let Some(ledgers) = ledgers() else { return };
    let mut seen = 0;
    for name in REAL_SERVICES {
        let service = Service::at(ledgers.join(name));
        let Ok(snapshots) = std::fs::read_dir(service.snapshots()) else {
            continue;
        };
        for snapshot in snapshots {
            let path = snapshot.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "committed") {
                continue;
            }
            let verify = |ledger: bool| {
                let mut arguments: Vec<std::ffi::OsString> = ["receipt", "verify"].map(Into::into).to_vec();
                arguments.extend([
                    path.clone().into(),
                    "--service-certificate".into(),
                    certificate(&service).into(),
                ]);
                if ledger {
                    arguments.extend(["--ledger".into(), service.ledger().into()]);
                }
                Run::of(&arguments)
            };
            let run = verify(true);
            assert_eq!(run.code, Some(0), "{} {}", path.display(), run.text());
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn what_a_node_answers_is_verified_across_recoveries() {
    let service = Service::made(&["--entries", "60", "--signature-every", "10", "--recoveries", "1"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let trusted = place.directory.join("service_cert.pem");
    let scratch = tempfile::tempdir().unwrap();
    let files = LedgerFiles::list(&[service.ledger()], false).unwrap();
    for (txid, _) in transactions(&files).into_iter().step_by(9) {
        let answer = node.json(&format!("/node/receipt?transaction_id={txid}"));
        let file = scratch.path().join(txid.to_string());
        std::fs::write(&file, answer.to_string()).unwrap();
        let run = rekindle!["receipt", "verify", &file, "--service-certificate", &trusted, "--json"];
        let report: Value = run.expect(0).json();
        assert_eq!(report["endorsements"], 1, "{report:#}");
    }
    node.stop();
}

#[test]
fn hostile_files_are_refused_with_a_finding() {
    let service = Service::made(&["--entries", "60", "--signature-every", "10", "--chunk-size", "6000"]);
    let trusted = certificate(&service);
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy");
    copy_files(&service.ledger(), &copy);
    let file = scratch.path().join("receipt");
    let many = format!(r#"{{"endorsements":[{}""]}}"#, r#""","#.repeat(2000));
    for bytes in [
        &b""[..],
        b"{",
        b"null",
        b"\xd2",
        b"\x01",
        &[b'['; 100_000],
        &[0xd2; 2 << 20],
        &[0x9f; 100_000],
        b"\x01\x00\x00\x00\x00\x00\x00\x00",
    ] {
        std::fs::write(&file, bytes).unwrap();
        let run = rekindle!["receipt", "verify", &file, "--service-certificate", &trusted, "--json"].expect(1);
        assert_eq!(codes(&run.json()), ["L1301"], "{bytes:.20?}");
    }
    // What a node answers before it has read the signature.
    std::fs::write(&file, "").unwrap();
    let run = rekindle!["receipt", "verify", &file, "--service-certificate", &trusted].expect(1);
    assert!(run.text().contains("status 202"), "{}", run.text());
    receipt(&service, TxId { view: 2, seqno: 7 }, &[], &file).expect(0);
    let list = scratch.path().join("list");
    std::fs::write(&list, many).unwrap();
    let run = rekindle![
        "receipt",
        "verify",
        &file,
        "--service-certificate",
        &trusted,
        "--endorsements",
        &list,
        "--json"
    ];
    assert_eq!(codes(&run.expect(1).json()), ["L1301"]);
    rekindle!["receipt", "verify", "/dev/zero", "--service-certificate", &trusted].expect_sentence(2, &["/dev/zero"]);
    rekindle!["receipt", "verify", &file, "--service-certificate", &file]
        .expect_sentence(2, &["not a service certificate"]);
}
