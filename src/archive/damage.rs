//! Which entries a damaged block touches.
//!
//! A committed chunk ends with the positions of all its entries, and its name says how many these are; where that table is
//! whole, so is the answer. In an open chunk, entries are walked up to the damage, and everything after it is in doubt.

use std::ops::{Range, RangeInclusive};
use std::path::Path;

use super::manifest::File;
use super::open::Archive;
use super::path::unescape;
use crate::format::Seqno;
use crate::format::chunk::{Step, Walker};
use crate::format::layout::{FIRST_ENTRY, Layout};
use crate::format::names::{ChunkName, FileName};

/// A chunk that is larger is not looked into: what its name says is answered.
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// The seqnos in a chunk that these damaged bytes may hold some of; none if the file is no chunk.
pub fn touched(archive: &Archive, file: &File, damaged: &[Range<u64>]) -> Option<RangeInclusive<Seqno>> {
    let path = unescape(&file.path).ok()?;
    let name = chunk_name(&path)?;
    let last = name.last.unwrap_or(Seqno::MAX);
    let whole = name.first..=last;
    if file.size > MAX_CHUNK_BYTES {
        return Some(whole);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(file.size).unwrap_or_default());
    for number in file.block_numbers() {
        let size = archive.manifest.row(number).map_or(0, |row| row.size as usize);
        bytes.extend(archive.block(number).unwrap_or_else(|_| vec![0; size]));
    }
    Some(
        by_table(&bytes, &name, damaged)
            .or_else(|| by_walking(&bytes, &name, damaged))
            .unwrap_or(whole),
    )
}

fn chunk_name(path: &Path) -> Option<ChunkName> {
    let name = path.file_name()?.to_str()?;
    // What was set aside holds entries too.
    let name = [".ignored", ".recovery.ignored"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    match FileName::parse(name) {
        FileName::Chunk(name) => Some(name),
        _ => None,
    }
}

fn by_table(bytes: &[u8], name: &ChunkName, damaged: &[Range<u64>]) -> Option<RangeInclusive<Seqno>> {
    let count = usize::try_from(name.last?.checked_sub(name.first)?.checked_add(1)?).ok()?;
    let start = bytes.len().checked_sub(count.checked_mul(4)?)?;
    let table = start as u64..bytes.len() as u64;
    let overlaps = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
    if damaged.iter().any(|part| overlaps(part, &table)) {
        return None;
    }
    let positions: Vec<u64> = bytes
        .get(start..)?
        .as_chunks::<4>()
        .0
        .iter()
        .map(|at| u64::from(u32::from_le_bytes(*at)))
        .collect();
    let rises = positions.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    if positions.first() != Some(&FIRST_ENTRY) || !rises {
        return None;
    }
    let ends = positions.iter().skip(1).copied().chain([start as u64]);
    let touched = positions
        .iter()
        .copied()
        .zip(ends)
        .enumerate()
        .filter(|(_, (start, end))| damaged.iter().any(|part| overlaps(part, &(*start..*end))));
    let mut touched = touched.map(|(i, _)| name.first + i as u64);
    let first = touched.next()?;
    Some(first..=touched.last().unwrap_or(first))
}

fn by_walking(bytes: &[u8], name: &ChunkName, damaged: &[Range<u64>]) -> Option<RangeInclusive<Seqno>> {
    let begins = damaged.iter().map(|part| part.start).min()?;
    let readable = bytes.get(..usize::try_from(begins).ok()?)?;
    let layout = Layout::unusable(readable);
    let mut walker = Walker::new(readable, layout, name.first);
    let mut next = name.first;
    let mut notes = Vec::new();
    while let Step::Entry(located) = walker.step(&mut notes) {
        next = located.seqno.saturating_add(1);
    }
    Some(next..=name.last.unwrap_or(Seqno::MAX))
}
