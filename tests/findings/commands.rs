//! What `archive`, `salvage`, `snapshot` and `receipt` can find: each run as the operator runs it, and read as its JSON.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rekindle::format::entry::{EntryIv, write_entry};
use rekindle::journal::SignatureMode;
use rekindle::report::Finding;
use serde_json::Value;

use crate::ground::fixture;
use crate::secrets::an_entry_with_evidence_of_another_secret;
use crate::story::Story;

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_rekindle"))
}

/// The findings of a command that was run.
#[track_caller]
fn ran(command: &mut Command) -> Vec<Finding> {
    let output = command.arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_value(report["findings"].clone()).unwrap_or_else(|why| panic!("{why}: {report:#}"))
}

#[track_caller]
fn run<T: AsRef<OsStr>>(arguments: &[T]) -> Vec<Finding> {
    ran(Command::new(program()).args(arguments))
}

/// Salvages these directories.
#[track_caller]
fn salvaged(copies: &[&Path]) -> Vec<Finding> {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("out");
    ran(Command::new(program()).arg("salvage").args(copies).arg("-o").arg(&out))
}

/// A copy of a directory, without the files of which `leaves_out` says so.
fn copied(from: &Path, leaves_out: impl Fn(&str) -> bool) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !leaves_out(name) {
            std::fs::copy(&path, scratch.path().join(name)).unwrap();
        }
    }
    scratch
}

fn change(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

pub fn a_signed_entry_that_no_copy_holds() -> Vec<Finding> {
    let copy = copied(&fixture("small/ledger"), |name| name.starts_with("ledger_80-"));
    salvaged(&[copy.path()])
}

pub fn a_damaged_copy_beside_a_whole_one() -> Vec<Finding> {
    let copy = copied(&fixture("small/ledger"), |_| false);
    change(&copy.path().join("ledger_30-79.committed"), 5000);
    salvaged(&[copy.path(), &fixture("small/ledger")])
}

/// Made by `fixture` with these options.
fn made(options: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let service = scratch.path().join("service");
    let mut command = Command::new(program());
    command.arg("fixture").arg("--out").arg(&service).args(options);
    assert!(command.output().unwrap().status.success());
    (scratch, service)
}

pub fn a_recovery_that_did_not_open() -> Vec<Finding> {
    let options = [
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--unfinished-recovery",
        "--curve",
        "p256",
    ];
    let (_scratch, service) = made(&options);
    salvaged(&[&service.join("ledger")])
}

pub fn a_hole_that_a_snapshot_leads_over() -> Vec<Finding> {
    let common = ["--entries", "120", "--signature-every", "10", "--snapshot-every", "20"];
    let (_scratch, service) = made(&[&common[..], &["--chunk-size", "4000", "--curve", "p256"]].concat());
    let holds_50 = |name: &str| {
        let range = name
            .strip_prefix("ledger_")
            .and_then(|rest| rest.strip_suffix(".committed"));
        let range = range.and_then(|range| range.split_once('-'));
        range.is_some_and(|(first, last)| (first.parse().unwrap()..=last.parse().unwrap()).contains(&50_u64))
    };
    let copy = copied(&service.join("ledger"), holds_50);
    salvaged(&[copy.path(), &service.join("snapshots")])
}

/// Where an entry is: file and offset.
fn place(directory: &Path, seqno: u64) -> (PathBuf, usize) {
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let end = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let end = if end == 0 { bytes.len() } else { end };
        let mut at = 8;
        while at + 8 < end {
            // Version, flags, and six bytes of size; after a tag of 16 bytes the seqno.
            let size = 8 + (u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) >> 16) as usize;
            let found = u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap());
            if found == seqno {
                return (path, at);
            }
            at += size;
        }
    }
    panic!("no entry {seqno}");
}

/// The tag of the last signature is covered by no other.
pub fn three_copies_of_which_one_differs_where_nothing_is_signed() -> Vec<Finding> {
    let copies = [0; 3].map(|_| copied(&fixture("small/ledger"), |_| false));
    let (path, at) = place(copies[0].path(), 249);
    change(&path, at + 8);
    salvaged(&[copies[0].path(), copies[1].path(), copies[2].path()])
}

pub fn two_copies_that_differ_after_the_last_signature() -> Vec<Finding> {
    let [(_one, one), (_two, two)] = ["one", "two"].map(|value| {
        let mut story = Story::begin(SignatureMode::Dual);
        story.serve(3);
        story.sign();
        story.write(|writes| writes.put("public:app", "key", value));
        story.store()
    });
    salvaged(&[&one, &two])
}

pub fn a_snapshot_that_was_changed() -> Vec<Finding> {
    let snapshots = copied(&fixture("small/snapshots"), |name| !name.starts_with("snapshot_71_"));
    change(&snapshots.path().join("snapshot_71_72.committed"), 300);
    salvaged(&[&fixture("small/ledger"), snapshots.path()])
}

/// Entries of which each follows another one than that before it.
pub fn a_file_in_more_pieces_than_damage_makes() -> Vec<Finding> {
    let mut bytes = vec![0; 8];
    for number in 0..(1_u64 << 18) + 1 {
        let seqno = 5 + 2 * (number % 1000);
        let iv = EntryIv {
            seqno,
            view: 2,
            snapshot: false,
        };
        let public = [&[0][..], &seqno.to_le_bytes(), &[0; 8]].concat();
        write_entry(&mut bytes, 0, &[7; 16], iv, &public, &[]).unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("ledger_1"), bytes).unwrap();
    salvaged(&[&fixture("small/ledger"), scratch.path()])
}

pub fn a_chunk_without_what_came_before_it() -> Vec<Finding> {
    let copy = copied(&fixture("small/ledger"), |name| !name.starts_with("ledger_30-"));
    salvaged(&[copy.path()])
}

/// Archives a ledger of which one chunk may not be read. Whoever is root may read all: not as root, then.
fn archived_by_who_may_not_read_all() -> Vec<Finding> {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let ledger = at("ledger");
    std::fs::create_dir(&ledger).unwrap();
    for file in std::fs::read_dir(fixture("small/ledger")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, ledger.join(path.file_name().unwrap())).unwrap();
    }
    let let_do = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir(at("out")).unwrap();
    let_do(&ledger.join("ledger_30-79.committed"), 0);
    let mut command;
    if rustix::process::geteuid().is_root() {
        std::fs::copy(program(), at("rekindle")).unwrap();
        let_do(scratch.path(), 0o755);
        let_do(&ledger, 0o755);
        let_do(&at("out"), 0o777);
        let_do(&at("rekindle"), 0o755);
        command = Command::new(at("rekindle"));
        command.uid(65534).gid(65534);
    } else {
        command = Command::new(program());
    }
    ran(command
        .args(["archive", "create"])
        .arg(&ledger)
        .arg("-o")
        .arg(at("out/archive")))
}

pub fn a_file_that_may_not_be_read() -> Vec<Finding> {
    archived_by_who_may_not_read_all()
}

pub fn a_ledger_that_could_not_be_verified_while_it_was_archived() -> Vec<Finding> {
    archived_by_who_may_not_read_all()
}

pub fn something_among_an_archive_s_objects() -> Vec<Finding> {
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive");
    let mut create = Command::new(program());
    create
        .args(["archive", "create"])
        .arg(fixture("small"))
        .arg("-o")
        .arg(&archive);
    assert!(create.output().unwrap().status.success());
    std::fs::write(archive.join("blocks/left-behind"), "x").unwrap();
    run(&["archive".as_ref(), "verify".as_ref(), archive.as_os_str()])
}

pub fn a_directory_with_nothing_of_a_ledger() -> Vec<Finding> {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("notes.txt"), "nothing").unwrap();
    let out = tempfile::tempdir().unwrap();
    let mut create = Command::new(program());
    ran(create
        .args(["archive", "create"])
        .arg(scratch.path())
        .arg("-o")
        .arg(out.path().join("archive")))
}

pub fn a_receipt_of_an_entry_whose_evidence_is_of_another_secret() -> Vec<Finding> {
    let (copy, txid) = an_entry_with_evidence_of_another_secret();
    let mut receipt = Command::new(program());
    receipt
        .arg("receipt")
        .arg(copy.path())
        .args(["--txid", &txid.to_string(), "--member-key"]);
    for member in 0..2 {
        receipt.arg(fixture(&format!("small/common/member{member}_enc_privk.pem")));
    }
    ran(&mut receipt)
}

/// A service of before there were endorsements of the one before it.
pub fn a_receipt_of_a_service_that_nothing_leads_to() -> Vec<Finding> {
    let mut story = Story::begin(SignatureMode::Node);
    let txid = story.write(|writes| writes.put("public:app", "key", "value"));
    story.sign();
    story.recover();
    story.serve(3);
    story.sign();
    let (_scratch, ledger) = story.store();
    let file = ledger.with_file_name("receipt.json");
    let mut receipt = Command::new(program());
    receipt
        .arg("receipt")
        .arg(&ledger)
        .args(["--txid", &txid.to_string(), "-o"])
        .arg(&file);
    ran(&mut receipt)
}
