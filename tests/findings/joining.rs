//! Joining what was scanned: chunks of several segments whose table points elsewhere, and a tree that contradicts what an
//! earlier signature covers.

use std::path::PathBuf;

use rekindle::format::Seqno;
use rekindle::format::entry::Entry;
use rekindle::journal::SignatureMode;
use rekindle::merkle::Tree;
use rekindle::recovery::foundation::leaf_of;
use rekindle::recovery::segments::SEGMENT_BYTES;
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::report::Code;

use crate::ground::{last_signed, show, verify_with};
use crate::story::Story;

/// A ledger whose first chunk has several segments: its directory, that chunk, and the first seqno of each segment but the
/// first.
fn long_chunk() -> (Story, tempfile::TempDir, PathBuf, Vec<Seqno>) {
    let mut story = Story::begin(SignatureMode::Dual);
    let value = vec![7; SEGMENT_BYTES as usize / 5];
    for number in 0..18 {
        story.write(|writes| writes.put("public:app", format!("{number}"), value.clone()));
    }
    story.sign();
    story.pen.begin_chunk();
    story.serve(2);
    story.sign();
    let (scratch, ledger) = story.store();
    let chunks = crate::ground::read_ledger(&ledger);
    let path = ledger.join(&chunks[0].name);
    let bytes = std::fs::read(&path).unwrap();
    let table = table(&bytes);
    let mut bounds = Vec::new();
    let mut target = 8 + SEGMENT_BYTES;
    for (index, position) in table.iter().map(|at| u64::from(*at)).enumerate().skip(1) {
        if position >= target {
            bounds.push(1 + index as Seqno);
            target = position + SEGMENT_BYTES;
        }
    }
    assert!(bounds.len() >= 2, "{bounds:?}");
    (story, scratch, path, bounds)
}

/// The positions table of a complete chunk.
fn table(bytes: &[u8]) -> Vec<u32> {
    let at = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let words = bytes[at..].chunks_exact(4);
    words.map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

fn verify(path: &std::path::Path) -> VerifyReport {
    verify_with(&[path.parent().unwrap()], &Options::default()).unwrap()
}

#[test]
fn a_segment_that_the_table_puts_elsewhere_is_read_from_where_it_is() {
    // The next entry's place, the middle of an entry, one byte off.
    let lies: [fn(&[u32], usize) -> u32; 3] = [
        |table, index| table[index + 1],
        |table, index| table[index] + (table[index + 1] - table[index]) / 2,
        |table, index| table[index] + 1,
    ];
    for lie in lies {
        let (story, _scratch, path, bounds) = long_chunk();
        for bound in bounds {
            let sound = std::fs::read(&path).unwrap();
            let mut bytes = sound.clone();
            let table = table(&bytes);
            let index = bound as usize - 1;
            let at = bytes.len() - 4 * (table.len() - index);
            bytes[at..at + 4].copy_from_slice(&lie(&table, index).to_le_bytes());
            std::fs::write(&path, bytes).unwrap();
            let report = verify(&path);
            let found: Vec<_> = report.findings.iter().map(|found| (found.code, found.seqno)).collect();
            assert_eq!(found, [(Code::Position, Some(bound))], "{}", show(&report));
            assert_eq!(report.entries, story.pen.signed_at);
            assert_eq!(last_signed(&report), story.pen.signed_at);
            std::fs::write(&path, sound).unwrap();
        }
    }
}

#[test]
fn the_end_of_what_can_be_read_in_a_chunk_is_said_once_however_many_segments_are_after_it() {
    let (_story, _scratch, path, bounds) = long_chunk();
    let mut bytes = std::fs::read(&path).unwrap();
    let table = table(&bytes);
    // Two entries before the second segment, and all that follows.
    let lost = bounds[0] - 2;
    let (from, to) = (table[lost as usize - 1] as usize, bytes.len() - 4 * table.len());
    bytes[from..to].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let report = verify(&path);
    let named = report.findings.iter().filter(|found| found.code == Code::EntriesLost);
    let seqnos: Vec<_> = named.map(|found| found.seqno).collect();
    assert_eq!(seqnos, [Some(lost)], "{}", show(&report));
}

/// A later signature over a tree in which an entry is another one, though an earlier signature covers that entry as it is: the
/// later history is another, and what was proven stays so.
#[test]
fn a_tree_that_contradicts_what_an_earlier_signature_covers_takes_nothing_back() {
    for mode in crate::story::MODES {
        let mut story = Story::begin(mode);
        story.serve(4);
        story.sign();
        story.serve(4);
        let covered = story.sign().seqno;
        story.serve(3);
        let entries: Vec<Vec<u8>> = story
            .pen
            .chunks
            .iter()
            .flat_map(|(_, entries)| entries.clone())
            .collect();
        for other in [2, covered - 3, covered - 1] {
            let mut tree = Tree::genesis();
            for (seqno, raw) in (1..).zip(&entries) {
                let leaf = leaf_of(&Entry::parse(raw).unwrap()).unwrap();
                tree.append(if seqno == other { [9; 32] } else { leaf });
            }
            let (sound, signed_at, chunks) = (story.pen.tree.clone(), story.pen.signed_at, story.pen.chunks.clone());
            (story.pen.tree, story.pen.signed_at) = (tree, 0);
            let at = story.sign().seqno;
            story.expect(Code::RootDiffers, at..=at, covered);
            let report = story.verify();
            let said = |words: &str| report.findings.iter().any(|finding| finding.message.contains(words));
            assert!(said("two histories are mixed"), "{}", show(&report));
            assert!(said("the entry's digest is"), "{}", show(&report));
            (story.pen.tree, story.pen.signed_at, story.pen.chunks) = (sound, signed_at, chunks);
        }
    }
}
