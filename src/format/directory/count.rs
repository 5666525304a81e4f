//! How many entries a chunk has whose positions table does not say so.

use crate::format::Seqno;
use crate::format::chunk::{Layout, Step, Walker};
use crate::format::cursor::Cursor;
use crate::format::entry::{EntryHeader, HEADER_SIZE, VERSION};
use crate::format::map::MappedFile;

/// Counts the seqnos of a chunk without a table: by the entries' headers alone where they lead to the end, else by
/// walking over what is damaged.
pub(super) fn count_entries(map: &MappedFile, layout: Layout, first: Seqno) -> u64 {
    if let Some(count) = count_headers(map.bytes()) {
        return count;
    }
    let mut walker = Walker::new(map.bytes(), layout, first).sharing(map.search());
    let mut faults = Vec::new();
    while !matches!(walker.step(&mut faults), Step::End) {
        faults.clear();
    }
    walker.seqno().saturating_sub(first)
}

/// Counts entries by their headers; `None` if these don't lead to the end of the file.
fn count_headers(bytes: &[u8]) -> Option<u64> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(8, "chunk header").ok()?;
    let mut count = 0;
    while !cursor.is_empty() {
        let header = EntryHeader::from_bytes(cursor.array::<HEADER_SIZE>("entry header").ok()?);
        if header.version != VERSION || header.size == 0 {
            return None;
        }
        cursor.take(usize::try_from(header.size).ok()?, "entry").ok()?;
        count += 1;
    }
    Some(count)
}
