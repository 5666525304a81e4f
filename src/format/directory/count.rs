//! How many entries a chunk has whose positions table does not say so.

use crate::format::Seqno;
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::map::MappedFile;

/// Counts the seqnos of a chunk without a table: by the entries' headers alone where they lead to the end, else by
/// walking over what is damaged.
pub(super) fn count_entries(map: &MappedFile, layout: Layout, first: Seqno) -> u64 {
    if let Some(count) = Layout::count_entries(map.bytes(), map.bytes().len() as u64) {
        return count;
    }
    let mut walker = Walker::over(map, layout, first);
    let mut faults = Vec::new();
    while !matches!(walker.step(&mut faults), Step::End) {
        faults.clear();
    }
    walker.seqno().saturating_sub(first)
}
