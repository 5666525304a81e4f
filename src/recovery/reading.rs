//! Entries and trees read again, where something has to be looked at twice.

use crate::format::Seqno;
use crate::format::chunk::Located;
use crate::format::cursor::Cursor;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{Maps, PublicHeader};
use crate::format::entry::Entry;
use crate::format::layout::Layout;
use crate::recovery::segments::{OpenChunk, Windows};
use crate::tables::{SINGLETON_KEY, names};

/// Reads entries `from..=until` again, one thread, skipping what can't be read.
pub(super) fn for_each_entry(
    files: &LedgerFiles,
    from: Seqno,
    until: Seqno,
    mut each: impl FnMut(usize, Located<'_>),
) -> crate::Result<()> {
    let mut windows = Windows::new(files, from, until);
    while let Some(window) = windows.next_window()? {
        for segment in window {
            segment.for_each(|located| {
                if (from..=until).contains(&located.seqno) {
                    each(segment.chunk_index, located);
                }
            });
        }
    }
    Ok(())
}

/// Hands the entry at this place to `each`, if it can be read.
pub(super) fn with_entry<T>(
    files: &LedgerFiles,
    chunk_index: usize,
    offset: u64,
    each: impl FnOnce(Entry<'_>) -> Option<T>,
) -> Option<T> {
    let planned = files.chunks.get(chunk_index)?;
    let chunk = OpenChunk::open(&planned.file).ok()?;
    let Layout { entries_end, .. } = chunk.layout;
    let bytes = chunk.map.bytes().get(offset as usize..entries_end as usize)?;
    each(Entry::parse(bytes).ok()?)
}

/// Reads the serialised tree of a signature transaction again.
pub(super) fn read_tree(files: &LedgerFiles, chunk_index: usize, offset: u64) -> Option<Vec<u8>> {
    with_entry(files, chunk_index, offset, |entry| {
        let mut cursor = Cursor::new(entry.public);
        PublicHeader::read(&mut cursor).ok()?;
        let mut tree = None;
        let walked = Maps::new(cursor).for_each(|name, write| {
            if name == names::TREE && write.key == SINGLETON_KEY {
                tree = write.value.map(<[u8]>::to_vec);
            }
        });
        // What stands before the damage is as good as the rest: its root decides.
        let _ = walked;
        tree
    })
}
