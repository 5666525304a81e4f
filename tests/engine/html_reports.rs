//! `--html`: reports as files that need nothing else, for every command that writes one.
//!
//! Each document is read by a strict reader, so that nothing a ledger, a path or a name holds can become more than text.

use std::ffi::OsString;
use std::path::Path;

use crate::document::Document;
use crate::support::{self, Run, Service, chunks, contents, copy_files, ledgers};
use serde_json::Value;

/// Largest document.
const MAX_BYTES: usize = 300_000;

/// Runs a command with `--json --html`, and answers both.
#[track_caller]
fn written(arguments: &[OsString], code: i32) -> (Value, Document) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("report.html");
    let more = ["--json".into(), "--html".into(), path.clone().into_os_string()];
    let run = Run::of(&[arguments, &more].concat()).expect(code);
    let source = std::fs::read_to_string(&path).unwrap();
    assert!(source.len() < MAX_BYTES, "{}", source.len());
    assert_eq!(
        std::fs::read_dir(scratch.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    (run.json(), Document::of(&source))
}

macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$(OsString::from($argument)),*] };
}

/// Every finding's code stands in the document, and the worst of them have a mark that leads to it.
#[track_caller]
fn tells_all(findings: &Value, document: &Document) {
    for finding in findings.as_array().unwrap() {
        let code = finding["code"].as_str().unwrap();
        assert!(document.source.contains(&format!("<code>{code}</code>")), "{code}");
        let next = finding["next"].as_str().unwrap();
        assert!(document.text.contains(next), "{next}");
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_whole_life_is_drawn_and_its_identities_are_those_of_the_certificate() {
    let service = Service::made(&[
        "--entries",
        "900",
        "--rekey-every",
        "150",
        "--recoveries",
        "2",
        "--nodes",
        "3",
        "--election-every",
        "200",
        "--snapshot-every",
        "200",
        "--unsigned-tail",
        "4",
        "--chunk-size",
        "50000",
    ]);
    let snapshots = service.directory.join("snapshots");
    let verify = arguments!["verify", service.ledger(), "--snapshots", snapshots];
    let (report, document) = written(&verify, 0);
    let last = report["last_signed"].as_str().unwrap();
    assert!(document.text.contains(&format!("everything up to {last} is proven.")));
    for service in report["services"].as_array().unwrap() {
        assert!(document.text.contains(service["identity"].as_str().unwrap()));
    }
    for row in [
        "Proven",
        "Services",
        "Views",
        "Signatures",
        "Ledger secrets",
        "Snapshots",
        "Files",
        "Findings",
    ] {
        assert!(document.source.contains(&format!("<strong>{row}</strong>")), "{row}");
    }
    assert!(document.text.contains("a rekey at seqno") && document.text.contains("the secret of a recovered service"));
    assert!(document.text.contains("unsigned: seqnos"));
    // Twelve words, of the very certificate that a member has.
    let pem = std::fs::read_to_string(service.directory.join("common/service_cert.pem")).unwrap();
    let certificate = rekindle::crypto::Certificate::from_pem(&pem).unwrap();
    let words = rekindle::web::words::of(&rekindle::crypto::sha256(certificate.der()));
    let listed: String = words.iter().map(|word| format!("<li>{word}</li>")).collect();
    assert!(document.source.contains(&listed), "{listed}");
}

#[test]
fn what_lies_before_the_snapshot_that_a_run_began_after_is_not_called_proven() {
    let service = Service::made(&["--entries", "400", "--snapshot-every", "100"]);
    let snapshots = service.directory.join("snapshots");
    let verify = arguments![
        "verify",
        service.ledger(),
        "--snapshots",
        snapshots,
        "--from-snapshot",
        "latest"
    ];
    let (_, document) = written(&verify, 0);
    assert!(document.source.contains("class=\"range r-other\"") && document.text.contains("were not read"));
    assert!(document.text.contains("everything after the snapshot at"));
}

#[test]
fn a_report_is_the_same_with_a_picture_and_without() {
    let service = Service::made(&["--entries", "300", "--recoveries", "1", "--rekey-every", "100"]);
    let timeless = |mut report: Value| {
        for field in ["elapsed_s", "entries_per_s", "bytes_per_s"] {
            report.as_object_mut().unwrap().remove(field).unwrap();
        }
        report
    };
    let (with, _) = written(&arguments!["verify", service.ledger()], 0);
    let without = rekindle!["verify", service.ledger(), "--json"].expect(0).json();
    assert_eq!(timeless(with), timeless(without));
    let (with, _) = written(&arguments!["attest", service.ledger()], 0);
    assert_eq!(with, rekindle!["attest", service.ledger(), "--json"].expect(0).json());
}

#[test]
fn damage_is_drawn_at_its_place_with_its_code_and_what_to_do() {
    let service = Service::made(&["--entries", "900", "--chunk-size", "30000", "--signature-every", "20"]);
    let whole = service.ledger();
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy");
    copy_files(&whole, &copy);
    let mut files = chunks(&copy);
    files.sort();
    assert!(files.len() > 6, "{files:?}");
    let middle = &files[2].1;
    flip(middle, std::fs::read(middle).unwrap().len() / 2);
    let (lost, path) = &files[4];
    std::fs::remove_file(path).unwrap();

    let (report, document) = written(&arguments!["verify", &copy], 1);
    tells_all(&report["findings"], &document);
    let missing = format!("seqnos {lost} to {} are in no file", files[5].0 - 1);
    assert!(document.text.contains(&missing), "{missing}");
    assert!(document.text.contains("not proven: seqnos"));
    assert!(
        document.links.iter().any(|link| link.starts_with("finding-")),
        "{:?}",
        document.links
    );
    // Beside the mark stands the code, in the picture itself.
    assert!(document.source.contains(">L0101</text>"));

    let (report, document) = written(&arguments!["compare", &whole, &copy], 1);
    assert_eq!(report["recommended"].as_str(), whole.to_str());
    assert!(document.text.contains(&format!("Recover from {}", whole.display())));
    assert!(document.text.contains("only here") && document.text.contains("not proven"));
    tells_all(&report["copies"][1]["findings"], &document);
}

#[test]
fn copies_that_contradict_each_other_look_other_than_those_that_were_superseded() {
    let forked = Service::made(&["--entries", "300", "--fork", "same-view"]);
    let other = forked.directory.join("fork/ledger");
    let (report, document) = written(&arguments!["compare", forked.ledger(), other], 1);
    assert_eq!(report["findings"][0]["code"], "L0801");
    assert!(document.text.contains("Do not choose yet") && !document.text.contains("Recover from"));
    assert!(
        document.source.contains("class=\"range r-fork\"") && !document.source.contains("class=\"range r-superseded\"")
    );
    tells_all(&report["findings"], &document);

    let service = Service::made(&[
        "--entries",
        "300",
        "--nodes",
        "3",
        "--election-every",
        "100",
        "--superseded-tail",
        "20",
    ]);
    let lost = service.directory.join("superseded/1");
    let (report, document) = written(&arguments!["compare", service.ledger(), lost], 0);
    assert_eq!(report["pairs"][0]["relation"], "superseded");
    assert!(
        document.source.contains("class=\"range r-superseded\"") && !document.source.contains("class=\"range r-fork\"")
    );
    let at = report["pairs"][0]["first_difference"].as_u64().unwrap();
    assert!(document.text.contains(&format!("superseded, seqnos {at} to")), "{at}");
}

#[test]
fn real_copies_stand_side_by_side_with_what_each_would_lose() {
    let Some(ledgers) = ledgers() else { return };
    let nodes = [0, 1, 2].map(|node| ledgers.join(format!("real_three_nodes/node{node}")));
    let (_, document) = written(&arguments!["compare", &nodes[1], &nodes[0], &nodes[2]], 0);
    for (directory, ends) in nodes.iter().zip([563, 424, 563]) {
        assert!(
            document
                .text
                .contains(&format!("{}: the same, seqnos 1 to {ends}", directory.display())),
            "{ends}"
        );
    }
    assert!(
        document
            .text
            .contains(&format!("{}: only here, seqnos 564 to 764", nodes[0].display()))
    );
    assert!(document.text.contains("seqnos 425 to 764"));
}

#[test]
fn every_real_ledger_has_its_picture() {
    let Some(ledgers) = ledgers() else { return };
    let mut count = 0;
    for folder in std::fs::read_dir(&ledgers).unwrap().map(|entry| entry.unwrap().path()) {
        let ledger = folder.join("ledger");
        if !ledger.is_dir() {
            continue;
        }
        let mut verify = arguments!["verify", ledger].to_vec();
        if folder.join("ledger-readonly").is_dir() {
            verify.push(folder.join("ledger-readonly").into());
        }
        let (report, document) = written(&verify, 0);
        tells_all(&report["findings"], &document);
        assert!(document.text.contains(report["last_signed"].as_str().unwrap()));
        verify[0] = "attest".into();
        let (report, document) = written(&verify, 0);
        for node in report["nodes"].as_array().unwrap() {
            assert!(document.text.contains(node["node"].as_str().unwrap()));
        }
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn whatever_a_path_holds_is_text() {
    let service = Service::made(&["--entries", "60"]);
    let scratch = tempfile::tempdir().unwrap();
    let hostile = scratch.path().join("\"><script>alert(1)</script>&'\u{202e}\u{1b}[2J\n");
    copy_files(&service.ledger(), &hostile);
    std::fs::write(hostile.join("ledger_<img src=x onerror=alert(1)>.committed"), "x").unwrap();
    for (command, code) in [("verify", 1), ("attest", 1)] {
        let (report, document) = written(&arguments![command, &hostile], code);
        tells_all(&report["findings"], &document);
        no_markup_of_others(&document);
        assert!(
            document.text.contains("<img src=x onerror=alert(1)>"),
            "the name is shown as it is"
        );
    }
    let (_, document) = written(&arguments!["compare", &hostile, service.ledger()], 1);
    no_markup_of_others(&document);
}

#[track_caller]
fn no_markup_of_others(document: &Document) {
    for hostile in ["<script", "<img", "\u{202e}", "\u{1b}"] {
        assert!(!document.source.contains(hostile), "{hostile:?}");
    }
    assert!(document.text.contains("<script>alert(1)</script>"));
}

#[test]
fn thousands_of_chunks_views_and_findings_are_a_small_file() {
    let service = Service::made(&[
        "--entries",
        "2500",
        "--signature-every",
        "3",
        "--chunk-size",
        "1",
        "--nodes",
        "3",
        "--election-every",
        "12",
        "--rekey-every",
        "20",
        "--value-size",
        "10",
    ]);
    let ledger = service.ledger();
    let (report, _) = written(&arguments!["verify", &ledger], 0);
    assert!(report["chunks"].as_u64().unwrap() > 600, "{}", report["chunks"]);
    let mut files = chunks(&ledger);
    files.sort();
    for (_, file) in files.iter().skip(3).step_by(3) {
        flip(file, 8 + 60);
    }
    for (_, file) in files.iter().skip(4).step_by(9) {
        std::fs::remove_file(file).unwrap();
    }
    let (report, document) = written(&arguments!["verify", &ledger], 1);
    assert!(report["findings"].as_array().unwrap().len() > 200);
    for code in support::codes(&report) {
        assert!(document.source.contains(&format!("<code>{code}</code>")), "{code}");
    }
}

#[test]
fn a_rehearsal_shows_how_long_everything_took() {
    let (report, document) = written(&arguments!["drill", "--entries", "50"], 0);
    assert!(document.text.contains("It worked"));
    for round in report["rounds"].as_array().unwrap() {
        for step in round["steps"].as_array().unwrap() {
            assert!(document.text.contains(step["what"].as_str().unwrap()), "{step}");
        }
        let took = format!("public {:.3} s", round["public_s"].as_f64().unwrap());
        assert!(document.text.contains(&took), "{took}");
    }
}

#[test]
fn a_report_is_written_over_nothing_that_is_read() {
    let service = Service::made(&["--entries", "60"]);
    let ledger = service.ledger();
    let snapshots = service.directory.join("snapshots");
    let certificate = service.directory.join("common/service_cert.pem");
    let before = contents(&service.directory);
    let inside = ledger.join("report.html");
    rekindle!["verify", &ledger, "--html", &inside].expect_sentence(2, &["never written to"]);
    rekindle!["attest", &ledger, "--html", &inside].expect_sentence(2, &["never written to"]);
    rekindle!["compare", &ledger, &snapshots, "--html", &inside].expect_sentence(2, &["never written to"]);
    rekindle!["drill", "--ledger", &ledger, "--html", &inside].expect_sentence(2, &["never written to"]);
    let among_snapshots = snapshots.join("report.html");
    rekindle!["verify", &ledger, "--snapshots", &snapshots, "--html", &among_snapshots]
        .expect_sentence(2, &["never written to"]);
    let detour = service.directory.join("common/../common/service_cert.pem");
    rekindle!["verify", &ledger, "--service-cert", &certificate, "--html", &detour]
        .expect_sentence(2, &["name another file"]);
    let keys: Vec<_> = (0..3)
        .map(|member| service.directory.join(format!("common/member{member}_enc_privk.pem")))
        .collect();
    for key in &keys {
        rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--member-key",
            &keys[0],
            &keys[1],
            &keys[2],
            "--html",
            key
        ]
        .expect_sentence(2, &["name another file"]);
    }
    rekindle!["verify", &ledger, "--html", &service.directory].expect_sentence(2, &["a directory"]);
    rekindle!["verify", &ledger, "--html", "/dev/stdout"].expect(2);
    rekindle!["verify", &ledger, "--html", service.directory.join("none/report.html")].expect(3);
    assert_eq!(contents(&service.directory), before);
}

#[test]
fn a_run_that_fails_leaves_the_report_that_was_there() {
    let service = Service::made(&["--entries", "60"]);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("report.html");
    std::fs::write(&path, "yesterday's").unwrap();
    rekindle!["verify", service.directory.join("no-such"), "--html", &path].expect(3);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "yesterday's");
    rekindle!["verify", service.ledger(), "--html", &path].expect(0);
    Document::of(&std::fs::read_to_string(&path).unwrap());
    let names: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
}
