//! Memory and time follow what is in a file, not what it claims or how far its holes reach.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::craft::{HEAD, chunk, domain, entry, head, sparse_value};
use crate::node::Place;
use crate::support::{Service, command};

/// Anonymous memory that a command may take here, whatever it reads: its threads and buffers, far below any size below.
const MAX_ANONYMOUS: u64 = 128 << 20;

/// Runs a command that must end in time; answers its peak of anonymous memory, as the kernel counts, and its exit code.
#[track_caller]
fn measured(arguments: &[OsString], within: Duration) -> (u64, i32, String) {
    let began = Instant::now();
    let mut child = command()
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let anonymous = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = anonymous.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap();
        }
        if began.elapsed() > within {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{arguments:?} takes longer than {within:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    (peak, code, said)
}

/// Every command that reads a ledger, on this one.
#[track_caller]
fn all_commands(ledger: &Path, within: Duration) {
    let service = Service::made(&["--entries", "20", "--members", "1", "--threshold", "1"]);
    let out = tempfile::tempdir().unwrap();
    let dir = || ledger.as_os_str().to_owned();
    let export = |way: &str| -> Vec<OsString> {
        let file = out.path().join(way).into_os_string();
        vec![
            "export".into(),
            dir(),
            "-o".into(),
            file,
            way.into(),
            "--at".into(),
            "2".into(),
        ]
    };
    let commands: Vec<Vec<OsString>> = vec![
        vec!["verify".into(), dir()],
        vec!["verify".into(), dir(), "--mode".into(), "integrity".into()],
        vec!["inspect".into(), dir()],
        vec!["inspect".into(), dir(), "--seqno".into(), "1..".into()],
        vec!["inspect".into(), dir(), "--table".into(), ".".into(), "--json".into()],
        vec!["unlock".into(), dir(), "--member-key".into(), service.key(0).into()],
        vec!["compare".into(), dir(), service.ledger().into()],
        export("--state"),
        export("--history"),
    ];
    for arguments in commands {
        let (peak, code, said) = measured(&arguments, within);
        assert!((0..=3).contains(&code), "{arguments:?}: {code} {said}");
        assert!(peak < MAX_ANONYMOUS, "{arguments:?}: {} MB, {said}", peak >> 20);
    }
}

/// Far more than any command may take, and digested in a moment.
const SPARSE: u64 = 400_000_000;

#[test]
fn a_sparse_value_costs_no_memory_in_any_command() {
    let first = entry(1, &[("public:records", b"key", b"value")]);
    let scratch = tempfile::tempdir().unwrap();
    for table in ["public:ccf.gov.nodes.info", "public:ccf.internal.cose_signatures"] {
        let (second, hole) = sparse_value(2, table, SPARSE);
        chunk(&scratch.path().join("ledger_1"), &[&first[..], &second].concat(), hole);
        let verify = ["verify".into(), scratch.path().as_os_str().to_owned()];
        let (peak, code, said) = measured(&verify, Duration::from_secs(60));
        assert!(code == 1 && peak < MAX_ANONYMOUS, "{table}: {} MB, {said}", peak >> 20);
    }
    let (second, hole) = sparse_value(2, "public:records", SPARSE);
    chunk(&scratch.path().join("ledger_1"), &[first, second].concat(), hole);
    all_commands(scratch.path(), Duration::from_secs(60));
}

#[test]
fn a_sparse_private_domain_or_name_costs_no_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let first = entry(1, &[("public:records", b"key", b"value")]);
    let public = domain(2, &[("public:records", b"key", b"value")]);
    let mut second = head(2, HEAD as u64 - 8 + public.len() as u64 + SPARSE, public.len() as u64);
    second.extend(public);
    chunk(
        &scratch.path().join("ledger_1"),
        &[first.clone(), second].concat(),
        SPARSE,
    );
    all_commands(scratch.path(), Duration::from_secs(60));

    let mut public = domain(2, &[]);
    public.extend(SPARSE.to_le_bytes());
    let length = public.len() as u64 + SPARSE;
    let mut second = head(2, HEAD as u64 - 8 + length, length);
    second.extend(public);
    chunk(&scratch.path().join("ledger_1"), &[first, second].concat(), SPARSE);
    all_commands(scratch.path(), Duration::from_secs(60));
}

#[test]
fn wrong_sizes_before_a_long_empty_tail_are_found_in_the_time_of_one_pass() {
    const TAIL: u64 = 100_000_000;
    for entries in [100, 400] {
        let scratch = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        for seqno in 1..=entries {
            let mut whole = entry(seqno, &[("public:records", b"key", b"value")]);
            // Each claims to reach into the tail, and each to another place there. Not far, because the last one is digested
            // as it claims to be: nothing after it tells otherwise.
            let reach = entries * 200 + seqno * 100;
            let size = u64::from_le_bytes(whole[..8].try_into().unwrap()) >> 16;
            whole[..8].copy_from_slice(&(1u64 | (size + reach) << 16).to_le_bytes());
            bytes.extend(whole);
        }
        chunk(&scratch.path().join("ledger_1"), &bytes, TAIL);
        let began = Instant::now();
        let run = rekindle!("verify", "--json", scratch.path()).expect(1).json();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let wrong = run["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|found| found["code"] == "L0203");
        // The last one has nothing after it that would tell.
        assert_eq!(wrong.count() as u64, entries - 1);
    }
}

#[test]
fn a_positions_table_longer_than_its_entries_is_no_table() {
    let scratch = tempfile::tempdir().unwrap();
    let bytes = entry(1, &[("public:records", b"key", b"value")]);
    let path = scratch.path().join("ledger_1-250000000.committed");
    chunk(&path, &bytes, 1_000_000_000);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &(8 + bytes.len() as u64).to_le_bytes(), 0).unwrap();
    all_commands(scratch.path(), Duration::from_secs(60));
}

#[test]
fn a_node_refuses_a_sparse_ledger_without_taking_its_size() {
    let scratch = tempfile::tempdir().unwrap();
    let ledger = scratch.path().join("ledger");
    std::fs::create_dir(&ledger).unwrap();
    let (bytes, hole) = sparse_value(1, "public:ccf.gov.service.info", SPARSE);
    chunk(&ledger.join("ledger_1"), &bytes, hole);
    let place = Place::at(scratch.path());
    std::fs::write(scratch.path().join("config.json"), place.config.to_string()).unwrap();
    let shell = format!(
        "cd {} && exec {} node --config config.json",
        scratch.path().display(),
        env!("CARGO_BIN_EXE_rekindle")
    );
    let mut child = std::process::Command::new("sh")
        .args(["-c", &shell])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(peak > 0 && peak < MAX_ANONYMOUS, "{peak}");
}

#[test]
fn a_fixture_that_no_disk_holds_is_refused_with_a_sentence() {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    for options in [
        ["--entries", "1000000000000", "--value-size", "1000000"],
        ["--entries", "18446744073709551615", "--value-size", "0"],
        ["--entries", "1", "--value-size", "99999999999"],
        ["--unsigned-tail", "18446744073709551615", "--entries", "1"],
    ] {
        let mut arguments: Vec<OsString> = vec!["fixture".into(), "--out".into(), out.clone().into()];
        arguments.extend(options.iter().map(OsString::from));
        crate::support::Run::of(&arguments).expect_sentence(2, &["not made"]);
        assert!(!out.exists());
    }
}
