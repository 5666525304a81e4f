use std::collections::BTreeMap;

use super::*;
use crate::crypto::Curve;
use crate::fixture::{Options, generate};
use crate::format::entry::Entry;
use crate::report::progress::Silent;

const MAX: usize = 64 << 20;

struct Ledger {
    scratch: tempfile::TempDir,
    /// Every entry.
    entries: BTreeMap<Seqno, Vec<u8>>,
    /// Chunks that are complete, and the one that is open.
    complete: Vec<PathBuf>,
    open: PathBuf,
}

impl Ledger {
    fn directory(&self) -> PathBuf {
        self.scratch.path().join("out/ledger")
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(vec![self.directory()])
    }

    fn last(&self) -> Seqno {
        *self.entries.last_key_value().unwrap().0
    }

    fn between(&self, after: Seqno, through: Seqno) -> Vec<u8> {
        let all: Vec<_> = (after + 1..=through)
            .map(|seqno| self.entries[&seqno].clone())
            .collect();
        all.concat()
    }
}

/// A ledger of several complete chunks and an open one.
fn ledger() -> Ledger {
    let scratch = tempfile::tempdir().unwrap();
    let options = Options {
        entries: 120,
        signature_every: 7,
        chunk_size: 9000,
        members: 1,
        threshold: 1,
        curve: Curve::P256,
        unsigned_tail: 3,
        ..Options::default()
    };
    generate(&options, &scratch.path().join("out"), &Silent).unwrap();
    let (mut entries, mut complete, mut open) = (BTreeMap::new(), Vec::new(), Vec::new());
    for item in std::fs::read_dir(scratch.path().join("out/ledger")).unwrap() {
        let path = item.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let layout = Layout::read(&bytes).unwrap();
        match layout.table_len {
            Some(_) => complete.push(path),
            None => open.push(path),
        }
        let mut at = 8;
        while at < layout.entries_end as usize {
            let entry = Entry::parse(&bytes[at..]).unwrap();
            entries.insert(entry.iv().seqno, entry.raw.to_vec());
            at += entry.raw.len();
        }
    }
    complete.sort();
    assert!(complete.len() > 3, "{complete:?}");
    Ledger {
        scratch,
        entries,
        complete,
        open: open.pop().expect("an open chunk"),
    }
}

/// Where the open chunk's entries begin.
fn first_of_open(ledger: &Ledger) -> Seqno {
    match FileName::parse(ledger.open.file_name().unwrap().to_str().unwrap()) {
        FileName::Chunk(name) => name.first,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_range_is_read_as_it_stands_in_the_files_across_chunks() {
    let ledger = ledger();
    let (shelf, last) = (ledger.shelf(), ledger.last());
    assert_eq!(shelf.read(0, last, MAX).unwrap(), ledger.between(0, last));
    for after in (0..last).step_by(11) {
        for through in (after..=last).step_by(17) {
            assert_eq!(shelf.read(after, through, MAX).unwrap(), ledger.between(after, through));
        }
    }
}

#[test]
fn a_range_reaches_as_far_as_its_bytes_allow_and_one_entry_at_least() {
    let ledger = ledger();
    let (shelf, last) = (ledger.shelf(), ledger.last());
    for after in (0..last).step_by(5) {
        for bytes in [0, 1, 700, 5000, 30_000, u64::MAX] {
            for at_most in [after + 1, after + 9, last].map(|seqno| seqno.min(last)) {
                let fits = |through: &Seqno| ledger.between(after, *through).len() as u64 <= bytes;
                let expected = (after + 1..=at_most).filter(fits).max().unwrap_or(after + 1);
                assert_eq!(
                    shelf.reach(after, at_most, bytes),
                    expected,
                    "{after} {at_most} {bytes}"
                );
            }
        }
    }
    assert_eq!(shelf.reach(7, 7, 100), 7);
}

#[test]
fn entries_that_are_too_many_or_not_there_are_an_error() {
    let ledger = ledger();
    let (shelf, last) = (ledger.shelf(), ledger.last());
    let bytes = ledger.between(3, 9).len();
    assert!(shelf.read(3, 9, bytes).is_ok());
    let why = shelf.read(3, 9, bytes - 1).map(drop).unwrap_err().to_string();
    assert!(why.contains("only"), "{why}");
    let why = shelf.read(last - 1, last + 1, MAX).map(drop).unwrap_err().to_string();
    assert!(why.contains(&format!("entry {}", last + 1)), "{why}");
    assert_eq!(shelf.reach(last, last + 5, 100), last + 1);
}

#[test]
fn files_that_are_renamed_are_found_again() {
    let ledger = ledger();
    let (shelf, last) = (ledger.shelf(), ledger.last());
    let rename = |from: &Path, to: &str| {
        let to = from.with_file_name(to);
        std::fs::rename(from, &to).unwrap();
        to
    };
    let first = first_of_open(&ledger);
    let recovering = rename(&ledger.open, &format!("ledger_{first}.recovery"));
    assert_eq!(shelf.read(0, last, MAX).unwrap(), ledger.between(0, last));
    let open = rename(&recovering, &format!("ledger_{first}"));
    assert_eq!(shelf.read(0, last, MAX).unwrap(), ledger.between(0, last));
    // It is completed: a positions table, a header word, a name.
    let mut bytes = std::fs::read(&open).unwrap();
    let (end, mut at) = (bytes.len(), 8);
    for (_, raw) in ledger.entries.range(first..) {
        bytes.extend((at as u32).to_le_bytes());
        at += raw.len();
    }
    assert_eq!(at, end);
    bytes[..8].copy_from_slice(&(end as u64).to_le_bytes());
    std::fs::write(&open, bytes).unwrap();
    assert_eq!(shelf.read(first, last, MAX).unwrap(), ledger.between(first, last));
    rename(&open, &format!("ledger_{first}-{last}.committed"));
    assert_eq!(shelf.read(0, last, MAX).unwrap(), ledger.between(0, last));
    assert_eq!(ledger.shelf().read(0, last, MAX).unwrap(), ledger.between(0, last));
}

#[test]
fn an_open_chunk_that_grows_or_is_cut_and_written_again_is_read_as_it_is_now() {
    let ledger = ledger();
    let (shelf, last, first) = (ledger.shelf(), ledger.last(), first_of_open(&ledger));
    let whole = std::fs::read(&ledger.open).unwrap();
    let middle = first + 1;
    let cut = 8 + ledger.between(first - 1, middle).len();
    std::fs::write(&ledger.open, &whole[..cut + 20]).unwrap();
    assert_eq!(
        shelf.read(first - 1, middle, MAX).unwrap(),
        ledger.between(first - 1, middle)
    );
    assert!(shelf.read(middle, middle + 1, MAX).is_err());
    std::fs::write(&ledger.open, &whole).unwrap();
    assert_eq!(shelf.read(middle, last, MAX).unwrap(), ledger.between(middle, last));
    // The entry after the cut is longer than the one that stood there.
    let mut longer = ledger.entries[&(middle + 1)].clone();
    longer.extend([0; 5]);
    let size = (longer.len() - 8) as u64;
    longer[..8].copy_from_slice(&(1 | size << 16).to_le_bytes());
    let mut next = ledger.entries[&middle].clone();
    next[24..32].copy_from_slice(&(middle + 2).to_le_bytes());
    let again = [&whole[..cut], &longer, &next].concat();
    std::fs::write(&ledger.open, &again).unwrap();
    assert_eq!(shelf.read(middle, middle + 2, MAX).unwrap(), again[cut..]);
    assert_eq!(shelf.read(middle + 1, middle + 2, MAX).unwrap(), next);
}

#[test]
fn a_chunk_that_lies_is_an_error_that_names_the_place() {
    let ledger = ledger();
    let path = &ledger.complete[1];
    let whole = std::fs::read(path).unwrap();
    let FileName::Chunk(name) = FileName::parse(path.file_name().unwrap().to_str().unwrap()) else {
        panic!()
    };
    let (first, last) = (name.first, name.last.unwrap());
    let table = Layout::read(&whole).unwrap().entries_end as usize;
    let mut crafted = Vec::new();
    for at in [8, 10, 15, 32] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x85;
        crafted.push(bytes);
    }
    for length in [0, 4, 8, 20, table - 1] {
        crafted.push(whole[..length].to_vec());
    }
    for bytes in crafted {
        std::fs::write(path, &bytes).unwrap();
        let shelf = ledger.shelf();
        shelf.reach(first - 1, last, 5000);
        let mut errors = Vec::new();
        for (after, through) in (first - 1..last)
            .map(|after| (after, after + 1))
            .chain([(first - 1, last)])
        {
            match shelf.read(after, through, MAX) {
                Ok(read) => assert!(read == ledger.between(after, through)),
                Err(why) => errors.push(why.to_string()),
            }
        }
        let names_it = |why: &String| why.contains(&name.to_string()) && why.contains("at byte");
        assert!(!errors.is_empty() && errors.iter().all(names_it), "{errors:#?}");
    }
}

#[test]
fn entries_are_read_whatever_became_of_their_positions_table() {
    let ledger = ledger();
    let path = &ledger.complete[1];
    let whole = std::fs::read(path).unwrap();
    let FileName::Chunk(name) = FileName::parse(path.file_name().unwrap().to_str().unwrap()) else {
        panic!()
    };
    let (first, last) = (name.first, name.last.unwrap());
    let table = Layout::read(&whole).unwrap().entries_end as usize;
    let mut crafted = Vec::new();
    for at in [0, 3, table, table + 4, table + 7, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x85;
        crafted.push(bytes);
    }
    for length in [table, table + 3, whole.len() - 4] {
        crafted.push(whole[..length].to_vec());
    }
    // What a power cut appends.
    for length in [1, 4, 100] {
        crafted.push([&whole[..], &vec![0x2a; length]].concat());
    }
    for bytes in crafted {
        std::fs::write(path, &bytes).unwrap();
        let shelf = ledger.shelf();
        shelf.reach(first - 1, last, 5000);
        for (after, through) in (first - 1..last)
            .map(|after| (after, after + 1))
            .chain([(first - 1, last)])
        {
            let read = shelf.read(after, through, MAX).unwrap();
            assert!(read == ledger.between(after, through), "{after} to {through}");
        }
        // Once that is known, how far a range reaches is known, too.
        for after in first - 1..last {
            let all = ledger.between(after, last).len() as u64;
            assert_eq!(shelf.reach(after, last, all), last);
            assert_eq!(shelf.reach(after, last, all - 1), (last - 1).max(after + 1));
        }
    }
}

#[test]
fn a_chunk_that_shrinks_while_it_is_mapped_is_an_error() {
    let ledger = ledger();
    let shelf = ledger.shelf();
    let path = &ledger.complete[1];
    let FileName::Chunk(name) = FileName::parse(path.file_name().unwrap().to_str().unwrap()) else {
        panic!()
    };
    let (after, through) = (name.first - 1, name.last.unwrap());
    shelf.read(after, through, MAX).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(100)
        .unwrap();
    shelf.read(after, through, MAX).map(drop).unwrap_err();
}

#[test]
fn of_other_directories_only_committed_chunks_are_read() {
    let ledger = ledger();
    let main = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(vec![main.path().to_owned(), ledger.directory()]);
    let first = first_of_open(&ledger);
    assert_eq!(shelf.read(0, first - 1, MAX).unwrap(), ledger.between(0, first - 1));
    assert!(shelf.read(first - 1, first, MAX).is_err());
    std::fs::copy(&ledger.open, main.path().join(ledger.open.file_name().unwrap())).unwrap();
    assert_eq!(
        shelf.read(0, ledger.last(), MAX).unwrap(),
        ledger.between(0, ledger.last())
    );
}

#[test]
fn only_a_few_files_stay_mapped() {
    let ledger = ledger();
    let shelf = ledger.shelf();
    shelf.read(0, ledger.last(), MAX).unwrap();
    assert!(shelf.known().opened.len() <= OPENED);
}
