//! `rekindle verify`: is this ledger whole, and up to where?

use std::path::Path;

use crate::support::{
    self, Run, Service, assert_fields, chunks, codes, contents, copy_files, expected, ledgers, timeless,
};
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::verify::{Options, verify};
use rekindle::report::progress::Progress;
use serde_json::{Value, json};

#[test]
fn every_real_ledger_is_what_the_official_reader_says_it_is() {
    let Some(ledgers) = ledgers() else { return };
    for (name, expected) in expected(&ledgers) {
        let report = rekindle!["verify", ledgers.join(&name), "--json"].expect(0).json();
        assert_eq!(report["verdict"], "ok", "{name}");
        for field in [
            "entries",
            "last_seqno",
            "signatures",
            "cose_signatures",
            "last_signed",
            "root",
        ] {
            assert_eq!(report[field], expected[field], "{name}: {field}");
        }
        let services: Vec<Value> = report["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|service| json!({"from_seqno": service["from_seqno"], "identity": service["identity"]}))
            .collect();
        assert_eq!(Value::from(services), expected["services"], "{name}");
        assert_eq!(report["unsigned_entries"], 0, "{name}");
        assert_eq!(report["mode"], "audit");
    }
}

#[test]
fn the_document_has_exactly_the_promised_fields() {
    let service = Service::made(&[
        "--entries",
        "20",
        "--signature-every",
        "5",
        "--snapshot-every",
        "10",
        "--unsigned-tail",
        "1",
    ]);
    let report = rekindle!["verify", service.ledger(), "--snapshots", service.snapshots(), "--json"]
        .expect(0)
        .json();
    let of_report = [
        "verdict",
        "mode",
        "entries",
        "signatures",
        "cose_signatures",
        "chunks",
        "bytes",
        "last_seqno",
        "last_signed",
        "root",
        "signer",
        "unsigned_entries",
        "services",
        "snapshots",
        "findings",
        "elapsed_s",
        "entries_per_s",
        "bytes_per_s",
    ];
    assert_fields(&report, &of_report);
    assert_fields(&report["services"][0], &["from_seqno", "identity", "recovery_count"]);
    assert_fields(&report["snapshots"][0], &["content", "file", "seqno", "verdict"]);
    let of_finding = [
        "code",
        "severity",
        "file",
        "offset",
        "seqno",
        "message",
        "proven_to",
        "next",
    ];
    assert_fields(&report["findings"][0], &of_finding);
    assert_eq!(
        report["unsigned_entries"], 1,
        "an entry after the last signature is reported"
    );
    assert_eq!(codes(&report), ["L0311"]);
    assert_eq!(report["verdict"], "ok", "and is no reason for concern");
}

/// Real ledgers with snapshots: ledger, snapshots.
const WITH_SNAPSHOTS: [(&str, &str, usize); 3] = [
    ("expired_service/ledger", "expired_service/snapshots", 1),
    ("real_small/ledger", "real_small/snapshots", 2),
    ("real_three_nodes/node0", "real_three_nodes/snapshots", 2),
];

#[test]
fn every_real_snapshot_is_proven() {
    let Some(ledgers) = ledgers() else { return };
    for (ledger, snapshots, count) in WITH_SNAPSHOTS {
        let report = rekindle![
            "verify",
            ledgers.join(ledger),
            "--snapshots",
            ledgers.join(snapshots),
            "--json"
        ];
        let report = report.expect(0).json();
        let verdicts: Vec<_> = report["snapshots"]
            .as_array()
            .unwrap()
            .iter()
            .map(|snapshot| &snapshot["verdict"])
            .collect();
        assert_eq!(verdicts, vec!["ok"; count], "{ledger}");
    }
}

#[test]
fn starting_after_a_snapshot_proves_the_same_end() {
    let Some(ledgers) = ledgers() else { return };
    for (ledger, snapshots, count) in WITH_SNAPSHOTS {
        let (ledger, snapshots) = (ledgers.join(ledger), ledgers.join(snapshots));
        let whole = rekindle!["verify", &ledger, "--json"].expect(0).json();
        let latest = rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--from-snapshot",
            "latest",
            "--json"
        ];
        let mut runs = vec![latest];
        for file in std::fs::read_dir(&snapshots).unwrap() {
            runs.push(rekindle![
                "verify",
                &ledger,
                "--from-snapshot",
                file.unwrap().path(),
                "--json"
            ]);
        }
        assert_eq!(runs.len(), count + 1);
        for run in runs {
            let report = run.expect(0).json();
            for field in ["last_signed", "root", "signer", "last_seqno", "verdict"] {
                assert_eq!(report[field], whole[field], "{}: {field}", ledger.display());
            }
            assert!(
                report["entries"].as_u64() < whole["entries"].as_u64(),
                "entries before the snapshot are not read"
            );
        }
    }
}

#[test]
fn snapshots_of_services_before_the_start_are_left_unjudged_without_alarm() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    let run = rekindle![
        "verify",
        small.ledger(),
        "--snapshots",
        small.snapshots(),
        "--from-snapshot",
        "latest",
        "--json"
    ];
    let report = run.expect(0).json();
    assert_eq!(report["last_signed"], small.expected()["last_signed"]);
    assert_eq!(codes(&report), ["L0503", "L0503"]);
    assert!(
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .all(|finding| finding["severity"] == "info")
    );
}

#[test]
fn a_ledger_whose_start_is_gone_is_proven_from_a_snapshot_and_not_without() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let late = tempfile::tempdir().unwrap();
    copy_files(&service.ledger(), late.path());
    for (first, path) in chunks(late.path()) {
        if first <= 346 {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.contains("-347.") && first < 340 {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
    let report = rekindle!["verify", late.path(), "--json"].expect(1).json();
    assert!(codes(&report).contains(&"L0108"), "{report}");
    let report = rekindle![
        "verify",
        late.path(),
        "--snapshots",
        service.snapshots(),
        "--from-snapshot",
        "latest",
        "--json"
    ];
    assert_eq!(report.expect(0).json()["last_signed"], "2.578");
}

#[test]
fn integrity_mode_comes_to_the_same_result() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let audit = rekindle!["verify", ledgers.join(name), "--json"].expect(0).json();
        let mut integrity = rekindle!["verify", ledgers.join(name), "--mode", "integrity", "--json"]
            .expect(0)
            .json();
        assert_eq!(integrity["mode"], "integrity");
        integrity["mode"] = "audit".into();
        assert_eq!(timeless(integrity), timeless(audit), "{name}");
    }
}

#[test]
fn until_stops_after_that_seqno_at_the_last_signature_before_it() {
    let Some(ledgers) = ledgers() else { return };
    let service = Service::at(ledgers.join("real_small"));
    let history = service.export(false, &["--history", "--table", "^public:ccf.internal.signatures$"]);
    for until in [20, 300, 301, 302, 577] {
        let report = rekindle!["verify", service.ledger(), "--until", until.to_string(), "--json"]
            .expect(0)
            .json();
        assert_eq!(report["last_seqno"], until);
        let last = history
            .iter()
            .rfind(|line| line["seqno"].as_u64().unwrap() <= until)
            .unwrap();
        let signature: Value = serde_json::from_str(last["value"].as_str().unwrap()).unwrap();
        assert_eq!(report["last_signed"], format!("2.{}", last["seqno"]), "until {until}");
        assert_eq!(report["root"], signature["root"], "until {until}");
        assert_eq!(report["unsigned_entries"], until - last["seqno"].as_u64().unwrap());
    }
}

#[test]
fn the_service_certificate_must_be_that_of_the_last_service() {
    let Some(ledgers) = ledgers() else { return };
    for name in support::REAL_SERVICES {
        let service = Service::at(ledgers.join(name));
        rekindle![
            "verify",
            service.ledger(),
            "--service-cert",
            service.common("service_cert.pem")
        ]
        .expect(0);
    }
    let owner = Service::at(ledgers.join("real_owner"));
    let other = ledgers.join("real_small/common/service_cert.pem");
    let report = rekindle!["verify", owner.ledger(), "--service-cert", other, "--json"]
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L0407"]);
    assert_eq!(report["last_signed"], "6.160", "what is proven is said all the same");
}

fn saved(directory: &Path, report: &Value) -> std::path::PathBuf {
    let path = directory.join("earlier.json");
    std::fs::write(&path, report.to_string()).unwrap();
    path
}

#[test]
fn a_ledger_rolled_back_or_rewritten_since_an_earlier_report_is_found() {
    let Some(ledgers) = ledgers() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let node = |n: u8| ledgers.join(format!("real_three_nodes/node{n}"));
    let report = rekindle!["verify", node(2), "--json"].expect(0).json();
    let earlier = saved(scratch.path(), &report);
    rekindle!["verify", node(2), "--against", &earlier].expect(0);
    rekindle!["verify", node(0), "--against", &earlier].expect(0);
    let found = |ledger: &Path| {
        rekindle!["verify", ledger, "--against", &earlier, "--json"]
            .expect(1)
            .json()
    };
    let rolled_back = found(&node(1));
    assert_eq!(codes(&rolled_back), ["L0601"]);
    assert_eq!(rolled_back["last_signed"], "2.424", "what is there is sound in itself");
    assert_eq!(
        codes(&found(&ledgers.join("real_small/ledger"))),
        ["L0802"],
        "another service's"
    );

    let mut rewritten = report;
    rewritten["root"] = "00".repeat(32).into();
    let earlier = saved(scratch.path(), &rewritten);
    let report = rekindle!["verify", node(0), "--against", &earlier, "--json"]
        .expect(1)
        .json();
    assert_eq!(codes(&report), ["L0602"]);
}

#[test]
fn one_thread_finds_what_many_find() {
    let Some(ledgers) = ledgers() else { return };
    for name in expected(&ledgers).keys() {
        let many = rekindle!["verify", ledgers.join(name), "--json", "--jobs", "4"]
            .expect(0)
            .json();
        let one = rekindle!["verify", ledgers.join(name), "--json", "--jobs", "1"]
            .expect(0)
            .json();
        assert_eq!(timeless(one), timeless(many), "{name}");
    }
}

/// A report without the directories of what was found.
fn placeless(report: Value) -> Value {
    let mut report = timeless(report);
    for finding in report["findings"].as_array_mut().unwrap() {
        let name = finding["file"]
            .as_str()
            .map(|file| file.rsplit('/').next().unwrap().to_owned());
        finding["file"] = name.into();
    }
    report
}

#[test]
fn several_directories_are_one_ledger() {
    let Some(ledgers) = ledgers() else { return };
    for name in ["real_small/ledger", "double_sealed_service/ledger"] {
        let whole = rekindle!["verify", ledgers.join(name), "--json"].expect(0).json();
        let scratch = tempfile::tempdir().unwrap();
        let parts: Vec<_> = ["main", "older", "oldest"]
            .iter()
            .map(|part| scratch.path().join(part))
            .collect();
        parts.iter().for_each(|part| std::fs::create_dir(part).unwrap());
        let chunks = chunks(&ledgers.join(name));
        for (i, (_, path)) in chunks.iter().enumerate() {
            let part = if i + 3 > chunks.len() { 0 } else { 1 + i % 2 };
            std::fs::copy(path, parts[part].join(path.file_name().unwrap())).unwrap();
        }
        let parted = rekindle!["verify", &parts[0], &parts[1], &parts[2], "--json"]
            .expect(0)
            .json();
        assert_eq!(placeless(parted), placeless(whole), "{name}");
        let main = rekindle!["verify", &parts[0], "--json"].expect(1).json();
        assert!(
            codes(&main).contains(&"L0108"),
            "the main directory alone is not the ledger"
        );
    }
}

#[test]
fn a_missing_chunk_is_a_gap_and_what_is_proven_ends_before_it() {
    let Some(ledgers) = ledgers() else { return };
    let copy = tempfile::tempdir().unwrap();
    copy_files(&ledgers.join("real_small/ledger"), copy.path());
    let (first, path) = chunks(copy.path()).swap_remove(10);
    std::fs::remove_file(path).unwrap();
    let report = rekindle!["verify", copy.path(), "--json"].expect(1).json();
    let gap = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "L0101")
        .unwrap();
    assert_eq!(gap["seqno"], first);
    assert_eq!(report["last_signed"], format!("2.{}", first - 1));
}

/// Every command that takes a ledger, with all there is to give it.
fn every_command(service: &Service) -> Vec<Run> {
    let (ledger, snapshots) = (service.ledger(), service.snapshots());
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out.jsonl.zst");
    vec![
        rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--checkpoint",
            scratch.path().join("checkpoint")
        ],
        rekindle![
            "verify",
            &ledger,
            "--snapshots",
            &snapshots,
            "--from-snapshot",
            "latest"
        ],
        rekindle!["inspect", &ledger, "--snapshots", &snapshots],
        rekindle!["inspect", &ledger, "--seqno", "1..20"],
        service.with_keys("unlock", &["--snapshots", snapshots.to_str().unwrap()]),
        service.with_keys("export", &["--history", "-o", out.to_str().unwrap()]),
        service.with_keys("export", &["-o", "-"]),
        rekindle!["compare", &ledger, scratch_copy(&ledger, scratch.path())],
    ]
}

fn scratch_copy(ledger: &Path, scratch: &Path) -> std::path::PathBuf {
    let copy = scratch.join("copy");
    copy_files(ledger, &copy);
    copy
}

#[test]
fn nothing_is_ever_written_to_a_ledger() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    let scratch = tempfile::tempdir().unwrap();
    for part in ["ledger", "snapshots", "common"] {
        copy_files(&small.directory.join(part), &scratch.path().join(part));
    }
    let service = Service::at(scratch.path().to_owned());
    let before = contents(scratch.path());
    for run in every_command(&service) {
        run.expect(0);
    }
    // Not even where it was asked for.
    for checkpoint in [
        service.ledger().join("checkpoint"),
        service.snapshots().join("checkpoint"),
    ] {
        rekindle![
            "verify",
            service.ledger(),
            "--snapshots",
            service.snapshots(),
            "--checkpoint",
            checkpoint
        ]
        .expect(2);
    }
    assert!(
        contents(scratch.path()) == before,
        "a file was written, added or removed"
    );
}

#[test]
fn an_earlier_report_is_taken_whole_or_not_at_all() {
    let service = Service::made(&["--entries", "40", "--signature-every", "10"]);
    let ledger = service.ledger();
    let scratch = tempfile::tempdir().unwrap();
    let whole = rekindle!["verify", &ledger, "--json"].expect(0).json();
    let against = |text: String| {
        let path = scratch.path().join("earlier.json");
        std::fs::write(&path, text).unwrap();
        rekindle!["verify", &ledger, "--against", path, "--json"]
    };
    against(whole.to_string()).expect(0);
    let words = ["earlier.json", "a whole report of `rekindle verify --json`"];
    for field in support::fields(&whole) {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(field);
        against(part.to_string()).expect_sentence(2, &words);
    }
    // By hand, cut off, of another command, and what is no report at all.
    let by_hand = json!({"last_signed": whole["last_signed"], "root": whole["root"]});
    let compared = rekindle!["compare", &ledger, scratch_copy(&ledger, scratch.path()), "--json"]
        .expect(0)
        .json();
    let text = whole.to_string();
    for other in [
        by_hand.to_string(),
        text[..text.len() / 2].to_owned(),
        format!("{text}{text}"),
        compared.to_string(),
        service.expected().to_string(),
        "{}".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        against(other).expect_sentence(2, &words);
    }
    // Fields that do not fit each other.
    for (field, value) in [
        ("last_signed", json!("2.9999")),
        ("root", Value::Null),
        ("unsigned_entries", json!(7)),
        ("services", json!([])),
        ("verdict", json!("findings")),
        ("reviewed", json!(true)),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        against(changed.to_string()).expect_sentence(2, &words);
    }
}

#[test]
fn the_transaction_and_the_identities_of_an_earlier_report_are_compared_too() {
    let service = Service::made(&["--entries", "40", "--signature-every", "10", "--recoveries", "1"]);
    let ledger = service.ledger();
    let scratch = tempfile::tempdir().unwrap();
    let whole = rekindle!["verify", &ledger, "--json"].expect(0).json();
    let found = |report: Value, code: i32| {
        let path = saved(scratch.path(), &report);
        let report = rekindle!["verify", &ledger, "--against", path, "--json"]
            .expect(code)
            .json();
        codes(&report).iter().map(|code| (*code).to_owned()).collect::<Vec<_>>()
    };
    assert!(found(whole.clone(), 0).is_empty());
    let mut other_view = whole.clone();
    let last = whole["last_signed"].as_str().unwrap().replace("4.", "5.");
    other_view["last_signed"] = last.into();
    assert_eq!(found(other_view, 1), ["L0602"]);
    let mut other_service = whole.clone();
    other_service["services"][1]["identity"] = "11".repeat(32).into();
    assert!(found(other_service, 1).iter().all(|code| code == "L0604"));
    let mut elsewhere = whole.clone();
    let from = whole["services"][1]["from_seqno"].as_u64().unwrap();
    elsewhere["services"][1]["from_seqno"] = (from - 1).into();
    assert!(found(elsewhere, 1).iter().all(|code| code == "L0604"));
    // Before the recovery: the second identity came later, and is none of its business.
    let before = rekindle!["verify", &ledger, "--until", (from - 1).to_string(), "--json"]
        .expect(0)
        .json();
    assert!(found(before, 0).is_empty());
}

#[test]
fn an_earlier_report_raises_no_alarm_about_what_a_run_does_not_read() {
    let small = Service::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/small"));
    let (ledger, snapshots) = (small.ledger(), small.snapshots());
    let scratch = tempfile::tempdir().unwrap();
    let of = |options: &[&str]| {
        let mut arguments = vec!["verify".into(), ledger.clone().into_os_string(), "--json".into()];
        arguments.extend(["--snapshots".into(), snapshots.clone().into_os_string()]);
        arguments.extend(options.iter().map(std::ffi::OsString::from));
        Run::of(&arguments).expect(0).json()
    };
    let told = |report: &Value| codes(report).iter().filter(|code| **code == "L0603").count();
    for earlier in [of(&["--until", "30"]), of(&[]), of(&["--from-snapshot", "latest"])] {
        let path = saved(scratch.path(), &earlier);
        let path = path.to_str().unwrap();
        let after = of(&["--against", path, "--from-snapshot", "latest"]);
        assert!(told(&after) <= 1, "{after}");
        let early = of(&["--against", path, "--until", "20"]);
        assert_eq!(told(&early), 1, "{early}");
        assert_eq!(told(&of(&["--against", path])), 0);
    }
    let early = saved(scratch.path(), &of(&["--until", "30"]));
    let after = of(&["--against", early.to_str().unwrap(), "--from-snapshot", "latest"]);
    assert_eq!(told(&after), 1, "it ended before the snapshot: {after}");
}

/// Keeps what a run has saved before it removes it.
struct Keeping<'p> {
    checkpoint: &'p Path,
    kept: std::sync::Mutex<Vec<u8>>,
}

impl Progress for Keeping<'_> {
    fn begin(&self, _: &str, _: u64) {
        // Longer than there is between two saves: so there is one at the end of the first window.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }

    fn advance(&self, _: u64, _: u64) {}

    fn end(&self) {
        *self.kept.lock().unwrap() = std::fs::read(self.checkpoint).unwrap();
    }
}

/// What a run up to `until` saves, if it is interrupted there. A thousand entries more are noted in it than were
/// read: so it shows whether a later run went on from it.
fn checkpoint_at(ledger: &Path, checkpoint: &Path, until: u64) -> Vec<u8> {
    let files = LedgerFiles::list(&[ledger.to_owned()], false).unwrap();
    let keeping = Keeping {
        checkpoint,
        kept: std::sync::Mutex::default(),
    };
    let options = Options {
        checkpoint: Some(checkpoint.to_owned()),
        until: Some(until),
        ..Options::default()
    };
    verify(&files, &options, &keeping).unwrap();
    let text = String::from_utf8(keeping.kept.into_inner().unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut document: Value = serde_json::from_str(lines[1]).unwrap();
    let entries = &mut document["state"]["counts"]["entries"];
    *entries = (entries.as_u64().unwrap() + 1000).into();
    let json = document.to_string();
    format!("{}\n{json}\n{:08x}\n", lines[0], crc32(json.as_bytes())).into_bytes()
}

/// CRC-32 of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

#[test]
fn options_given_only_when_a_run_goes_on_are_judged_as_if_from_the_start() {
    let service = Service::made(&["--entries", "80", "--signature-every", "10", "--snapshot-every", "20"]);
    let other = Service::made(&["--entries", "5", "--seed", "7"]);
    let ledger = service.ledger();
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = scratch.path().join("checkpoint");
    let until = 70;
    let text = checkpoint_at(&ledger, &checkpoint, until);
    assert!(!checkpoint.exists(), "a complete run leaves none");
    let early = rekindle!["verify", &ledger, "--until", "30", "--json"].expect(0).json();
    let rewritten = |seqno: &str| {
        let mut report = rekindle!["verify", &ledger, "--until", seqno, "--json"]
            .expect(0)
            .json();
        report["root"] = "00".repeat(32).into();
        let path = scratch.path().join(format!("rewritten-{seqno}.json"));
        std::fs::write(&path, report.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (rewritten_before, rewritten_after) = (rewritten("30"), rewritten("85"));
    let early = saved(scratch.path(), &early).to_str().unwrap().to_owned();
    let snapshots = service.snapshots().to_str().unwrap().to_owned();
    let foreign = other.common("service_cert.pem").to_str().unwrap().to_owned();
    for (options, goes_on) in [
        (&[][..], true),
        (&["--service-cert", &foreign], true),
        (&["--against", &rewritten_after], true),
        (&["--against", &rewritten_before], false),
        (&["--against", &early], false),
        (&["--snapshots", &snapshots], false),
        (&["--until", "60"], false),
        (&["--until", "75"], true),
        (&["--mode", "integrity"], false),
        (&["--snapshots", &snapshots, "--from-snapshot", "latest"], false),
    ] {
        let run = |with: &[&str]| {
            let mut arguments = vec!["verify".into(), ledger.clone().into_os_string(), "--json".into()];
            arguments.extend(options.iter().chain(with).map(std::ffi::OsString::from));
            Run::of(&arguments)
        };
        let anew = run(&[]);
        std::fs::write(&checkpoint, &text).unwrap();
        let resumed = run(&["--checkpoint", checkpoint.to_str().unwrap()]);
        assert_eq!(resumed.code, anew.code, "{options:?}: {}", resumed.stderr);
        let (mut resumed, anew) = (resumed.json(), anew.json());
        let more = resumed["entries"].as_u64().unwrap() - anew["entries"].as_u64().unwrap();
        assert_eq!(more, if goes_on { 1000 } else { 0 }, "{options:?}");
        resumed["entries"] = anew["entries"].clone();
        assert_eq!(timeless(resumed), timeless(anew), "{options:?}");
    }
}

#[test]
fn a_chunk_that_changed_after_its_time_of_change_is_read_again() {
    let service = Service::made(&["--entries", "60", "--signature-every", "10"]);
    let (_, chunk) = chunks(&service.ledger()).swap_remove(0);
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = scratch.path().join("checkpoint");
    let text = checkpoint_at(&service.ledger(), &checkpoint, 50);
    let original = std::fs::read(&chunk).unwrap();
    let modified = std::fs::metadata(&chunk).unwrap().modified().unwrap();
    let resumed = || {
        std::fs::write(&checkpoint, &text).unwrap();
        rekindle!["verify", service.ledger(), "--checkpoint", &checkpoint, "--json"]
    };
    let mut damaged = original.clone();
    damaged[2000] ^= 1;
    // Written over, and put in its place by renaming, each with the old time.
    for in_place in [true, false] {
        let written = if in_place {
            chunk.clone()
        } else {
            scratch.path().join("other")
        };
        std::fs::write(&written, &damaged).unwrap();
        let file = std::fs::File::options().write(true).open(&written).unwrap();
        file.set_modified(modified).unwrap();
        if !in_place {
            std::fs::rename(&written, &chunk).unwrap();
        }
        let metadata = std::fs::metadata(&chunk).unwrap();
        assert_eq!(
            (metadata.modified().unwrap(), metadata.len()),
            (modified, original.len() as u64)
        );
        let report = resumed().expect(1).json();
        assert!(
            codes(&report).contains(&"L0208") || codes(&report).contains(&"L0204"),
            "{report}"
        );
    }
}

#[test]
fn a_file_that_is_no_checkpoint_is_never_touched() {
    let service = Service::made(&["--entries", "10"]);
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("notes.txt");
    let checkpoint_of_it = |path: &Path, ledger: &Path| rekindle!["verify", ledger, "--checkpoint", path];
    for text in ["a list of names", "", "{\"mode\":\"audit\"}\n00000000\n"] {
        std::fs::write(&path, text).unwrap();
        let before = contents(scratch.path());
        // Refused before anything is read: there is not even a ledger.
        for ledger in [&service.ledger(), Path::new("/nowhere")] {
            checkpoint_of_it(&path, ledger).expect_sentence(2, &["notes.txt", "no checkpoint", "name a new file"]);
        }
        assert!(before == contents(scratch.path()), "it was changed");
    }
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    checkpoint_of_it(&link, &service.ledger()).expect_sentence(2, &["a link"]);
    checkpoint_of_it(scratch.path(), &service.ledger()).expect(2);
    // A damaged one, or one of another version, is ours: it is begun anew.
    for text in ["rekindle checkpoint 1\n{}\n00000000\n", "rekindle checkpoint 9\n"] {
        std::fs::write(&path, text).unwrap();
        checkpoint_of_it(&path, &service.ledger()).expect(0);
        assert!(!path.exists());
    }
}
