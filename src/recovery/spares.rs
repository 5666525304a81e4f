//! Files that hold seqnos which are read from another file: their entries should be the same.

use std::collections::HashMap;

use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::chunk::{Step, Walker};
use crate::format::directory::{ChunkFile, LedgerFiles};
use crate::recovery::join::Joiner;
use crate::recovery::reading::for_each_entry;
use crate::recovery::segments::OpenChunk;
use crate::report::{Code, Finding};
use crate::shown::Show;

/// Entries compared at once: 64 k digests take 3 MB.
const BLOCK: usize = 1 << 16;

/// Compares every spare file with what is read instead.
pub(super) fn check_all(joiner: &mut Joiner<'_>) -> Result<()> {
    let files = joiner.files;
    for spare in &files.spares {
        let finding = match first_difference(files, spare)? {
            None => Finding::new(
                Code::SpareAgrees,
                format!(
                    "its entries ({} to {}) are read from another file and are the same",
                    spare.first, spare.last
                ),
            ),
            Some((seqno, offset)) => Finding::new(
                Code::SpareDiffers,
                format!("entry {seqno} is not the same as in {}", other_file(files, seqno)),
            )
            .seqno(seqno)
            .offset(offset),
        };
        joiner.findings.push(finding.file(&spare.path));
    }
    Ok(())
}

fn other_file(files: &LedgerFiles, seqno: Seqno) -> String {
    files
        .chunk_of(seqno)
        .map_or("the file read".to_owned(), |chunk| chunk.file.path.shown().to_string())
}

/// Seqno and offset of the first entry of a spare file that is not the one read.
fn first_difference(files: &LedgerFiles, spare: &ChunkFile) -> Result<Option<(Seqno, u64)>> {
    let chunk = OpenChunk::open(spare)?;
    if same_file(files, spare, &chunk)? {
        return Ok(None);
    }
    let mut walker = Walker::over(&chunk.map, chunk.layout, spare.first);
    let mut faults = Vec::new();
    loop {
        let mut block: HashMap<Seqno, (u64, Digest)> = HashMap::new();
        let from = walker.seqno();
        while block.len() < BLOCK {
            match walker.step(&mut faults) {
                Step::Entry(located) => {
                    block.insert(located.seqno, (located.offset, located.entry.write_set_digest()));
                }
                Step::Lost(seqno) => return Ok(Some((seqno, walker.offset()))),
                Step::End => break,
            }
        }
        if block.is_empty() {
            // It may hold less than its name or its table promises.
            let ends_early = walker.seqno() <= spare.last;
            return Ok(ends_early.then(|| (walker.seqno(), walker.offset())));
        }
        for_each_entry(files, from, walker.seqno().saturating_sub(1), |_, located| {
            if let Some((_, digest)) = block.get(&located.seqno)
                && *digest == located.entry.write_set_digest()
            {
                block.remove(&located.seqno);
            }
        })?;
        // What is left is another entry in the file that is read, or none at all.
        let left = block.into_iter().map(|(seqno, (offset, _))| (seqno, offset));
        if let Some(first) = left.min() {
            return Ok(Some(first));
        }
    }
}

/// Whether a chunk of the same range is read whose bytes are the same: the usual case, decided at memory speed.
fn same_file(files: &LedgerFiles, spare: &ChunkFile, chunk: &OpenChunk) -> Result<bool> {
    let Some(planned) = files.chunk_of(spare.first) else {
        return Ok(false);
    };
    if (planned.file.first, planned.file.last) != (spare.first, spare.last) || planned.file.path == spare.path {
        return Ok(false);
    }
    let other = OpenChunk::open(&planned.file)?;
    Ok(other.map.bytes() == chunk.map.bytes())
}
