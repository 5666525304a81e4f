//! Seeded faults larger than a bit: lost and stale sectors, bytes lost or doubled, chunks missing, swapped, doubled.

use std::path::{Path, PathBuf};

use rekindle::recovery::verify::{Options, VerifyReport};

use super::anatomy::{Anatomy, Part};
use super::ground::{
    Copy, Dice, Original, audit, fixture, is_clean, is_fault, last_signed, ledgers, read_ledger, show, verify_with,
};

/// The ledgers that every test here runs on: fixtures always, real ones where they are.
fn grounds() -> Vec<PathBuf> {
    let mut all = vec![fixture("small/ledger"), fixture("cose/ledger")];
    if let Some(ledgers) = ledgers() {
        all.extend(["real_small/ledger", "real_owner/ledger"].map(|name| ledgers.join(name)));
    }
    all
}

fn on_each(mut test: impl FnMut(&Path, &[Original], &Anatomy)) {
    for directory in grounds() {
        let files = read_ledger(&directory);
        test(&directory, &files, &Anatomy::of(&files));
    }
}

fn names(report: &VerifyReport, file: &str) -> bool {
    let same = |path: &String| path.rsplit('/').next() == Some(file);
    report
        .findings
        .iter()
        .any(|finding| is_fault(finding) && finding.file.as_ref().is_some_and(same))
}

/// The first byte in which two files differ.
fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let common = a.iter().zip(b).position(|(a, b)| a != b);
    common.or((a.len() != b.len()).then_some(a.len().min(b.len())))
}

/// Puts `bytes` in place of a file, and holds what is found against the first byte that is not as it was.
fn replace(copy: &Copy, files: &[Original], anatomy: &Anatomy, file: usize, bytes: Vec<u8>, what: &str) {
    let original = &files[file];
    let Some(first) = first_difference(&original.bytes, &bytes) else {
        return;
    };
    let changed = Original {
        name: original.name.clone(),
        bytes,
    };
    copy.restore(&changed);
    let report = audit(copy.path());
    copy.restore(original);
    let chunk = &anatomy.chunks[file];
    // Damage can begin in the header word or end in the table; what counts is the first entry in it, if any.
    let damaged = chunk.entries.iter().find(|(_, range)| {
        let now = changed.bytes.get(range.clone());
        now != Some(&original.bytes[range.clone()])
    });
    let damaged = damaged.map(|(seqno, _)| *seqno);
    let said = || {
        format!(
            "{what} in {} from byte {first}, entry {damaged:?}: {}",
            original.name,
            show(&report)
        )
    };
    let last = anatomy.last_signature();
    let place = anatomy.part(file, first.min(original.bytes.len() - 1));
    if place == Part::Entry(last)
        && anatomy
            .late_field(file, first)
            .is_some_and(|field| super::judge::UNCOVERED.contains(&field))
    {
        return;
    }
    if damaged.is_some_and(|seqno| seqno > last) {
        assert_eq!(last_signed(&report), last, "{}", said());
        return;
    }
    assert!(!is_clean(&report) && names(&report, &original.name), "{}", said());
    let expected = damaged.map_or(last, |seqno| anatomy.signature_before(seqno));
    // A signature transaction whose damage begins after its signature may be the last one that is left.
    let own = damaged.is_some_and(|seqno| anatomy.signatures.contains(&seqno) && last_signed(&report) == seqno);
    // In an open chunk nothing but headers says where an entry ends: damage in the first bytes after a signature may be
    // taken for that signature's own. Less is proven then, and nothing wrong.
    let seam = damaged == Some(expected + 1) && last_signed(&report) == anatomy.signature_before(expected);
    assert!(
        last_signed(&report) == expected || own || seam,
        "expected {expected}: {}",
        said()
    );
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.proven_to.is_none_or(|to| to <= last_signed(&report))),
        "{}",
        said()
    );
    if let Some(seqno) = damaged {
        // Where the signature over the entry is lost with it, only what can't be read at all is seen; and bytes put
        // between two entries may be said to belong to the one before.
        let until = anatomy
            .signatures
            .iter()
            .find(|&&signature| signature > seqno)
            .copied()
            .unwrap_or(last);
        let around = seqno - 1..=until;
        let named = report
            .findings
            .iter()
            .any(|finding| is_fault(finding) && finding.seqno.is_some_and(|at| around.contains(&at)));
        assert!(named, "{}", said());
    }
}

/// So many faults that `change` makes from a file's bytes, on every ground.
fn seeded(faults: usize, what: &str, mut change: impl FnMut(&mut Dice, &[Original], usize) -> Vec<u8>) {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        let mut dice = Dice(faults as u64);
        for _ in 0..faults {
            let file = dice.below(files.len());
            let bytes = change(&mut dice, files, file);
            replace(&copy, files, anatomy, file, bytes, what);
        }
    });
}

#[test]
fn a_zeroed_sector_is_found_at_its_first_entry() {
    seeded(150, "a zeroed sector", |dice, files, file| {
        let mut bytes = files[file].bytes.clone();
        let sector = [512, 4096][dice.below(2)];
        let start = dice.below(bytes.len().div_ceil(sector)) * sector;
        let end = bytes.len().min(start + sector);
        bytes[start..end].fill(0);
        bytes
    });
}

#[test]
fn a_stale_sector_is_found_at_its_first_entry() {
    seeded(150, "a stale sector", |dice, files, file| {
        let mut bytes = files[file].bytes.clone();
        let other = &files[dice.below(files.len())].bytes;
        let start = dice.below(bytes.len().div_ceil(512)) * 512;
        let end = bytes.len().min(start + 512);
        let from = dice.below(other.len().div_ceil(512)) * 512;
        let taken = &other[from..other.len().min(from + end - start)];
        bytes[start..start + taken.len()].copy_from_slice(taken);
        bytes
    });
}

#[test]
fn a_torn_write_is_found_at_its_first_entry() {
    seeded(150, "a torn write", |dice, files, file| {
        let mut bytes = files[file].bytes.clone();
        let start = dice.below(bytes.len());
        bytes[start..].fill(0);
        bytes
    });
}

#[test]
fn lost_bytes_are_found_at_the_entry_they_are_lost_from() {
    seeded(150, "lost bytes", |dice, files, file| {
        let mut bytes = files[file].bytes.clone();
        let start = dice.below(bytes.len());
        let end = bytes.len().min(start + 1 + dice.below(600));
        bytes.drain(start..end);
        bytes
    });
}

#[test]
fn doubled_bytes_are_found_at_the_entry_they_stand_in() {
    seeded(150, "doubled bytes", |dice, files, file| {
        let mut bytes = files[file].bytes.clone();
        let start = 8 + dice.below(bytes.len() - 8);
        let end = bytes.len().min(start + 1 + dice.below(600));
        let doubled = bytes[start..end].to_vec();
        bytes.splice(start..start, doubled);
        bytes
    });
}

#[test]
fn damage_in_two_intervals_is_reported_at_both() {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        let mut dice = Dice(9);
        for _ in 0..60 {
            let mut seqnos = Vec::new();
            let mut damaged = files.to_vec();
            for _ in 0..2 {
                let file = dice.below(files.len());
                let chunk = &anatomy.chunks[file];
                let (seqno, range) = &chunk.entries[dice.below(chunk.entries.len())];
                if *seqno < anatomy.last_signature() {
                    // In the tag, so that the entry can still be read.
                    damaged[file].bytes[range.start + 8] ^= 1;
                    seqnos.push(*seqno);
                }
            }
            seqnos.sort();
            seqnos.dedup();
            let (Some(&first), true) = (
                seqnos.first(),
                damaged.iter().zip(files).any(|(a, b)| a.bytes != b.bytes),
            ) else {
                continue;
            };
            damaged.iter().for_each(|file| copy.restore(file));
            let report = audit(copy.path());
            files.iter().for_each(|file| copy.restore(file));
            for seqno in seqnos {
                let named = report
                    .findings
                    .iter()
                    .any(|finding| is_fault(finding) && finding.seqno == Some(seqno));
                assert!(named, "entry {seqno}: {}", show(&report));
            }
            assert_eq!(
                last_signed(&report),
                anatomy.signature_before(first),
                "{}",
                show(&report)
            );
        }
    });
}

#[test]
fn a_missing_chunk_is_a_gap_and_what_comes_after_it_is_still_examined() {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        for (file, chunk) in files.iter().zip(&anatomy.chunks) {
            let (first, last) = (chunk.entries[0].0, chunk.entries[chunk.entries.len() - 1].0);
            if last == anatomy.last_seqno {
                continue;
            }
            std::fs::remove_file(copy.file(&file.name)).unwrap();
            let report = audit(copy.path());
            copy.restore(file);
            assert!(
                report
                    .findings
                    .iter()
                    .any(|finding| is_fault(finding) && finding.seqno == Some(first)),
                "{}",
                show(&report)
            );
            assert_eq!(
                last_signed(&report),
                anatomy.signature_before(first),
                "{}",
                show(&report)
            );
            assert_eq!(report.last_seqno, anatomy.last_seqno);
        }
    });
}

#[test]
fn swapped_chunks_are_named_both_and_read_in_their_right_place() {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        let committed: Vec<_> = files.iter().filter(|file| file.name.ends_with(".committed")).collect();
        for pair in committed.windows(2) {
            let [a, b] = pair else { continue };
            std::fs::write(copy.file(&a.name), &b.bytes).unwrap();
            std::fs::write(copy.file(&b.name), &a.bytes).unwrap();
            let report = audit(copy.path());
            copy.restore(a);
            copy.restore(b);
            assert!(
                !is_clean(&report) && names(&report, &a.name) && names(&report, &b.name),
                "{}",
                show(&report)
            );
            assert!(last_signed(&report) <= anatomy.last_signature(), "{}", show(&report));
        }
    });
}

#[test]
fn a_chunk_copied_over_another_leaves_a_gap_where_that_was() {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        let mut dice = Dice(3);
        for _ in 0..30 {
            let (from, to) = (dice.below(files.len()), dice.below(files.len()));
            if from == to || !files[to].name.ends_with(".committed") {
                continue;
            }
            std::fs::write(copy.file(&files[to].name), &files[from].bytes).unwrap();
            let report = audit(copy.path());
            copy.restore(&files[to]);
            let first = anatomy.chunks[to].entries[0].0;
            let said = || format!("{} over {}: {}", files[from].name, files[to].name, show(&report));
            assert!(!is_clean(&report) && names(&report, &files[to].name), "{}", said());
            assert!(last_signed(&report) <= anatomy.signature_before(first), "{}", said());
        }
    });
}

#[test]
fn a_second_copy_of_a_chunk_is_fine_if_it_is_the_same_and_named_if_it_is_not() {
    on_each(|directory, files, anatomy| {
        for (file, chunk) in files
            .iter()
            .zip(&anatomy.chunks)
            .filter(|(file, _)| file.name.ends_with(".committed"))
            .take(4)
        {
            let aside = Copy::of(std::slice::from_ref(file));
            let options = Options::default();
            let report = verify_with(&[directory, aside.path()], &options).unwrap();
            assert!(is_clean(&report), "{}", show(&report));
            let (seqno, range) = &chunk.entries[chunk.entries.len() / 2];
            aside.write_at(&file.name, range.end - 1, &[file.bytes[range.end - 1] ^ 1]);
            let report = verify_with(&[directory, aside.path()], &options).unwrap();
            assert!(!is_clean(&report), "{}", show(&report));
            let path = aside.file(&file.name).display().to_string();
            let named = |finding: &rekindle::report::Finding| {
                finding.file.as_ref() == Some(&path) && finding.seqno == Some(*seqno)
            };
            assert!(report.findings.iter().any(named), "{}", show(&report));
        }
    });
}

#[test]
fn a_stale_open_copy_beside_a_committed_chunk_changes_nothing() {
    on_each(|_, files, anatomy| {
        let copy = Copy::of(files);
        for (file, chunk) in files.iter().zip(&anatomy.chunks) {
            if !file.name.ends_with(".committed") || chunk.entries.len() < 2 {
                continue;
            }
            let (first, range) = &chunk.entries[0];
            let mut stale = vec![0; 8];
            stale.extend_from_slice(&file.bytes[range.clone()]);
            let name = format!("ledger_{first}");
            std::fs::write(copy.file(&name), stale).unwrap();
            let report = audit(copy.path());
            std::fs::remove_file(copy.file(&name)).unwrap();
            assert!(is_clean(&report), "{}", show(&report));
            assert_eq!(last_signed(&report), anatomy.last_signature());
        }
    });
}
