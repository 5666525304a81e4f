//! Where the parts of a chunk file are: entries, and the positions table of a complete one.

use super::Malformed;
use super::cursor::Cursor;
use super::entry::{EntryHeader, GCM_HEADER_SIZE, HEADER_SIZE, VERSION};

/// Offset of the first entry.
pub const FIRST_ENTRY: u64 = 8;

/// Fewest bytes that an entry can take: so many lost bytes hide at most a known number of entries.
pub(super) const MIN_ENTRY: u64 = (HEADER_SIZE + GCM_HEADER_SIZE) as u64;

/// Where the parts of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// End of the entries: T in a complete chunk, the end of the file in an open one.
    pub entries_end: u64,
    /// Number of entries in the positions table; `None` in an open chunk.
    pub table_len: Option<u64>,
}

impl Layout {
    /// Reads the header word and checks it against the file's size.
    ///
    /// # Errors
    /// [`Malformed`] if the file is shorter than 8 bytes, T lies outside it, or the table is not a whole number of u32.
    pub fn read(bytes: &[u8]) -> Result<Layout, Malformed> {
        let table = Cursor::new(bytes).u64_le("chunk header")?;
        let size = bytes.len() as u64;
        if table == 0 {
            return Ok(Layout {
                entries_end: size,
                table_len: None,
            });
        }
        if table < FIRST_ENTRY || table > size {
            return Err(Malformed::at(
                0,
                format!("positions table offset is {table}, expected {FIRST_ENTRY} to {size} (the file's size)"),
            ));
        }
        if !(size - table).is_multiple_of(4) {
            return Err(Malformed::at(
                table as usize,
                format!("positions table has {} bytes, expected a multiple of 4", size - table),
            ));
        }
        let layout = Layout {
            entries_end: table,
            table_len: Some((size - table) / 4),
        };
        match layout.has_room() {
            true => Ok(layout),
            false => Err(Malformed::at(
                table as usize,
                format!(
                    "positions table has {} entries, more than there is room for before it",
                    (size - table) / 4
                ),
            )),
        }
    }

    /// Whether as many entries as the table has fit before it.
    fn has_room(&self) -> bool {
        let room = self.entries_end.saturating_sub(FIRST_ENTRY) / MIN_ENTRY;
        self.table_len.is_none_or(|len| len <= room)
    }

    /// The layout of a file whose header can't be used: everything after it is read as entries.
    pub fn unusable(bytes: &[u8]) -> Layout {
        Layout {
            entries_end: bytes.len() as u64,
            table_len: None,
        }
    }

    /// The layout of a complete chunk of `count` entries whose header word can't be used: the table fills the end of
    /// the file. `None` if there is no table that starts where the first entry stands.
    pub fn by_count(bytes: &[u8], count: u64) -> Option<Layout> {
        let entries_end = (bytes.len() as u64).checked_sub(count.checked_mul(4)?)?;
        let layout = Layout {
            entries_end,
            table_len: Some(count),
        };
        let first = layout.position(bytes, 0)?;
        (first == FIRST_ENTRY && entries_end > FIRST_ENTRY && layout.has_room()).then_some(layout)
    }

    /// The layout of a file whose positions table can't be used: the entries end where their headers say, if that is
    /// where the header word says or where the file ends.
    pub fn by_headers(bytes: &[u8]) -> Option<Layout> {
        let size = bytes.len() as u64;
        let word = Cursor::new(bytes).u64_le("chunk header").ok()?;
        [word, size].into_iter().filter(|&end| end <= size).find_map(|end| {
            Layout::count_entries(bytes, end).map(|_| Layout {
                entries_end: end,
                table_len: None,
            })
        })
    }

    /// Number of entries by the sizes in their headers, if these lead exactly to `end`.
    pub fn count_entries(bytes: &[u8], end: u64) -> Option<u64> {
        let mut headers = Headers::of(bytes);
        let mut count = 0;
        while headers.offset() < end {
            headers.next()?;
            count += 1;
        }
        (headers.offset() == end && count > 0).then_some(count)
    }

    /// What the first bytes say, or [`Layout::unusable`].
    pub fn read_or_unusable(bytes: &[u8]) -> Layout {
        Layout::read(bytes).unwrap_or_else(|_| Layout::unusable(bytes))
    }

    /// Offset of entry `index` by the table; the end of the entries for the index after the last one.
    #[inline]
    pub fn position(&self, bytes: &[u8], index: u64) -> Option<u64> {
        let len = self.table_len?;
        if index >= len {
            return (index == len).then_some(self.entries_end);
        }
        let at = self.entries_end.checked_add(index.checked_mul(4)?)?;
        let word = bytes.get(usize::try_from(at).ok()?..)?.first_chunk::<4>()?;
        Some(u64::from(u32::from_le_bytes(*word)))
    }
}

/// Where the entries of a chunk begin, by the sizes in their headers alone: up to what can't be one.
pub struct Headers<'a> {
    bytes: &'a [u8],
    offset: u64,
}

impl<'a> Headers<'a> {
    /// From the first entry on.
    pub fn of(bytes: &'a [u8]) -> Headers<'a> {
        Headers {
            bytes,
            offset: FIRST_ENTRY,
        }
    }

    /// Where the next one would begin.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl Iterator for Headers<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let offset = self.offset;
        let header = self
            .bytes
            .get(usize::try_from(offset).ok()?..)?
            .first_chunk::<HEADER_SIZE>()?;
        let header = EntryHeader::from_bytes(header);
        if header.version != VERSION || header.size == 0 {
            return None;
        }
        self.offset = offset.checked_add(HEADER_SIZE as u64 + header.size)?;
        Some(offset)
    }
}
