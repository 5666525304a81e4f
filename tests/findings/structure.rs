//! What can be wrong with directories, chunk files and the entries in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rekindle::format::directory::LedgerFiles;
use rekindle::format::domain::WriteSet;
use rekindle::journal::SignatureMode;
use rekindle::recovery::verify::{Options, verify};
use rekindle::report::progress::Progress;
use rekindle::report::{Code, Finding};

use crate::ground::{Copy, fixture, read_ledger, verify_with};
use crate::story::Story;

/// The small fixture of P-256 keys: chunks 1-8, 9-40, 41-50 and an open one from 51 on, which ends unsigned; without
/// that last one, so that nothing is wrong with it.
fn copy() -> Copy {
    let files = read_ledger(&fixture("p256/ledger"));
    let committed: Vec<_> = files.into_iter().filter(|file| file.name != OPEN).collect();
    Copy::of(&committed)
}

const FIRST: &str = "ledger_1-8.committed";
const SECOND: &str = "ledger_9-40.committed";
const OPEN: &str = "ledger_51";

fn findings(directories: &[&Path]) -> Vec<Finding> {
    verify_with(directories, &Options::default()).unwrap().findings
}

fn with_file(name: &str, bytes: &[u8]) -> Vec<Finding> {
    let copy = copy();
    std::fs::write(copy.file(name), bytes).unwrap();
    findings(&[copy.path()])
}

/// The second chunk, changed.
fn with_changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<Finding> {
    let copy = copy();
    let mut bytes = std::fs::read(copy.file(SECOND)).unwrap();
    change(&mut bytes);
    std::fs::write(copy.file(SECOND), bytes).unwrap();
    findings(&[copy.path()])
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Offset of an entry of a complete chunk, by its positions table.
fn position(bytes: &[u8], index: usize) -> usize {
    word(bytes, word(bytes, 0) + index * 4)
}

pub fn a_missing_chunk() -> Vec<Finding> {
    let copy = copy();
    std::fs::remove_file(copy.file(SECOND)).unwrap();
    findings(&[copy.path()])
}

pub fn a_ledger_without_its_first_chunk() -> Vec<Finding> {
    let copy = copy();
    std::fs::remove_file(copy.file(FIRST)).unwrap();
    findings(&[copy.path()])
}

pub fn a_chunk_under_another_name() -> Vec<Finding> {
    let copy = copy();
    std::fs::rename(copy.file(SECOND), copy.file("ledger_10-41.committed")).unwrap();
    findings(&[copy.path()])
}

pub fn a_name_that_is_almost_a_chunk_s() -> Vec<Finding> {
    with_file("ledger_51-x.committed", b"")
}

pub fn a_chunk_of_a_recovery_that_never_opened() -> Vec<Finding> {
    with_file("ledger_51.recovery", &[0; 8])
}

pub fn a_file_set_aside() -> Vec<Finding> {
    with_file("ledger_51-60.committed.ignored", b"")
}

pub fn a_chunk_without_an_entry() -> Vec<Finding> {
    with_file(OPEN, &[0; 8])
}

pub fn a_directory_named_like_a_chunk() -> Vec<Finding> {
    let copy = copy();
    std::fs::create_dir(copy.file("ledger_51-60.committed")).unwrap();
    findings(&[copy.path()])
}

pub fn an_open_chunk_in_a_read_only_directory() -> Vec<Finding> {
    let (main, other) = (copy(), Copy::of(&[]));
    std::fs::copy(fixture("p256/ledger").join(OPEN), other.file(OPEN)).unwrap();
    findings(&[main.path(), other.path()])
}

fn the_second_chunk_twice(change: impl FnOnce(&mut Vec<u8>)) -> Vec<Finding> {
    let (main, other) = (copy(), Copy::of(&[]));
    let mut bytes = std::fs::read(main.file(SECOND)).unwrap();
    change(&mut bytes);
    std::fs::write(other.file(SECOND), bytes).unwrap();
    findings(&[main.path(), other.path()])
}

pub fn the_same_chunk_twice() -> Vec<Finding> {
    the_second_chunk_twice(|_| ())
}

pub fn the_same_chunk_twice_with_another_byte() -> Vec<Finding> {
    the_second_chunk_twice(|bytes| {
        let tag = position(bytes, 3) + 8;
        bytes[tag] ^= 1;
    })
}

#[test]
fn a_file_that_holds_less_than_it_promises_is_not_the_same() {
    let all: [fn(&mut Vec<u8>); 3] = [
        Vec::clear,
        |bytes| bytes.fill(0xff),
        |bytes| bytes.truncate(position(bytes, 3)),
    ];
    for change in all {
        let found = the_second_chunk_twice(change);
        let codes: Vec<&str> = found.iter().map(|finding| finding.code.as_str()).collect();
        assert!(codes.contains(&"L0110") && !codes.contains(&"L0109"), "{codes:?}");
    }
}

pub fn a_complete_chunk_that_does_not_end_with_a_signature() -> Vec<Finding> {
    let mut story = Story::begin(SignatureMode::Node);
    story.serve(3);
    story.pen.begin_chunk();
    story.serve(3);
    story.sign();
    story.verify().findings
}

/// Cuts a file as soon as the first part of it was read.
struct Scissors {
    path: PathBuf,
    done: AtomicBool,
}

impl Progress for Scissors {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}

    fn advance(&self, _bytes: u64, _entries: u64) {
        if !self.done.swap(true, Ordering::Relaxed) {
            let file = std::fs::OpenOptions::new().write(true).open(&self.path).unwrap();
            file.set_len(10_000).unwrap();
        }
    }

    fn end(&self) {}
}

pub fn a_file_that_shrinks_while_it_is_read() -> Vec<Finding> {
    let mut story = Story::begin(SignatureMode::Node);
    // 4 MiB: eight segments, most of which are not read yet when the first is done.
    for number in 0..16 {
        story.write(|writes| writes.put("public:app", number.to_string(), vec![1; 1 << 18]));
    }
    story.sign();
    let (_scratch, ledger) = story.store();
    let files = LedgerFiles::list(std::slice::from_ref(&ledger), false).unwrap();
    let scissors = Scissors {
        path: ledger.join("ledger_1"),
        done: AtomicBool::new(false),
    };
    verify(&files, &Options::default(), &scissors).unwrap().findings
}

pub fn a_header_word_that_points_elsewhere() -> Vec<Finding> {
    with_changed(|bytes| bytes[0] ^= 1)
}

pub fn a_position_that_points_elsewhere() -> Vec<Finding> {
    with_changed(|bytes| {
        let table = word(bytes, 0);
        bytes[table + 3 * 4] ^= 1;
    })
}

pub fn an_entry_of_another_size() -> Vec<Finding> {
    with_changed(|bytes| {
        let size = position(bytes, 3) + 2;
        bytes[size] ^= 1;
    })
}

pub fn an_entry_of_zeros() -> Vec<Finding> {
    with_changed(|bytes| {
        let (from, to) = (position(bytes, 3), position(bytes, 4));
        bytes[from..to].fill(0);
    })
}

pub fn a_changed_value() -> Vec<Finding> {
    with_changed(|bytes| {
        let tag = position(bytes, 3) + 8;
        bytes[tag] ^= 1;
    })
}

pub fn an_open_chunk_cut_inside_an_entry() -> Vec<Finding> {
    let story = Story::begin(SignatureMode::Node);
    let (_scratch, ledger) = story.store();
    let path = ledger.join("ledger_1");
    let mut bytes = std::fs::read(&path).unwrap();
    // What a crash leaves of an entry that was being written after the last signature.
    bytes.extend_from_within(8..60);
    std::fs::write(&path, bytes).unwrap();
    findings(&[&ledger])
}

pub fn a_complete_chunk_that_promises_more() -> Vec<Finding> {
    let copy = copy();
    std::fs::remove_file(copy.file("ledger_41-50.committed")).unwrap();
    std::fs::rename(copy.file(SECOND), copy.file("ledger_9-42.committed")).unwrap();
    findings(&[copy.path()])
}

pub fn writes_that_do_not_end() -> Vec<Finding> {
    let mut story = Story::begin(SignatureMode::Node);
    story.write(|writes: &mut WriteSet| writes.put("public:app", "key", "value"));
    let mut maps = 10u64.to_le_bytes().to_vec();
    maps.extend_from_slice(b"public:app");
    maps.extend_from_slice(&[0; 16]);
    maps.extend_from_slice(&u64::MAX.to_le_bytes());
    story.pen.append_public(&maps);
    story.sign();
    story.verify().findings
}

#[test]
fn half_a_positions_table_before_the_next_chunk_takes_nothing_of_the_ledger_away() {
    let copy = copy();
    let whole = verify_with(&[copy.path()], &Options::default()).unwrap();
    // A crash while the table of the second chunk was written: its header word still says that it is open.
    let bytes = std::fs::read(copy.file(SECOND)).unwrap();
    let end = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for left in [end + 4, end + 60, bytes.len()] {
        let mut open = bytes[..left].to_vec();
        open[..8].fill(0);
        let _ = std::fs::remove_file(copy.file(SECOND));
        std::fs::write(copy.file("ledger_9"), open).unwrap();
        let report = verify_with(&[copy.path()], &Options::default()).unwrap();
        assert_eq!(report.last_signed, whole.last_signed, "{left}");
        let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
        assert!(
            codes.contains(&Code::TornTail) && !codes.contains(&Code::EntriesLost),
            "{codes:?}"
        );
    }
}
