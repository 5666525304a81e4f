//! The writing side of a chunk file; [`super::chunk`] draws its layout.

use super::chunk::FIRST_ENTRY;
use super::entry::{EntryHeader, HEADER_SIZE};

/// The header word of a chunk that is open.
pub const OPEN_HEADER: [u8; 8] = [0; 8];

/// The header word of a complete chunk whose positions table begins at `end`.
pub fn completed_header(end: u64) -> [u8; 8] {
    end.to_le_bytes()
}

/// The positions table.
pub fn positions_table(positions: &[u32]) -> Vec<u8> {
    positions.iter().flat_map(|position| position.to_le_bytes()).collect()
}

/// Writes chunk files: entries appended to a growing file, then the positions table.
///
/// As CCF does it: the header word stays 0 until the table is in place.
pub struct ChunkWriter<W> {
    out: W,
    positions: Vec<u32>,
    at: u64,
}

impl<W: std::io::Write + std::io::Seek> ChunkWriter<W> {
    /// Starts an open chunk in an empty file.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn create(mut out: W) -> std::io::Result<Self> {
        out.write_all(&OPEN_HEADER)?;
        Ok(ChunkWriter {
            out,
            positions: Vec::new(),
            at: FIRST_ENTRY,
        })
    }

    /// Goes on with a chunk file whose entries end at offset `end`: its header word is set to 0, for a chunk that is
    /// open, and what comes after `end` is for its owner to cut.
    ///
    /// # Errors
    /// Whatever reading and writing answer; [`std::io::ErrorKind::InvalidData`] if the entries' headers don't lead to `end`.
    pub fn reopen(mut out: W, end: u64) -> std::io::Result<Self>
    where
        W: std::io::Read,
    {
        let mut positions = Vec::new();
        let mut at = FIRST_ENTRY;
        while at < end {
            out.seek(std::io::SeekFrom::Start(at))?;
            let mut header = [0; HEADER_SIZE];
            out.read_exact(&mut header)?;
            positions.push(u32::try_from(at).map_err(std::io::Error::other)?);
            at = at.saturating_add(HEADER_SIZE as u64 + EntryHeader::from_bytes(&header).size);
        }
        if at != end {
            let what = format!("the entries' headers lead to offset {at}, expected {end}");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
        }
        out.seek(std::io::SeekFrom::Start(0))?;
        out.write_all(&OPEN_HEADER)?;
        out.seek(std::io::SeekFrom::Start(end))?;
        Ok(ChunkWriter { out, positions, at })
    }

    /// Appends one entry, as [`super::entry::write_entry`] made it.
    ///
    /// # Errors
    /// Whatever writing answers; also if the chunk would grow to 4 GiB, which its positions could not express.
    pub fn append(&mut self, entry: &[u8]) -> std::io::Result<()> {
        let position = u32::try_from(self.at)
            .ok()
            .filter(|_| self.at + entry.len() as u64 <= u64::from(u32::MAX))
            .ok_or_else(|| std::io::Error::other("a chunk can't grow beyond 4 GiB"))?;
        self.out.write_all(entry)?;
        self.positions.push(position);
        self.at += entry.len() as u64;
        Ok(())
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.at
    }

    /// Number of entries so far.
    pub fn len(&self) -> u64 {
        self.positions.len() as u64
    }

    /// True before the first entry.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Drops all entries but the first `entries`. The file keeps its length until its owner cuts it.
    ///
    /// # Errors
    /// Whatever seeking answers.
    pub fn rewind(&mut self, entries: u64) -> std::io::Result<()> {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        if let Some(position) = self.positions.get(entries) {
            self.at = u64::from(*position);
            self.positions.truncate(entries);
            self.out.seek(std::io::SeekFrom::Start(self.at))?;
        }
        Ok(())
    }

    /// After a failed append: goes back to the end of the last whole entry, and shows the file, for its owner to cut.
    ///
    /// # Errors
    /// Whatever seeking answers.
    pub fn repair(&mut self) -> std::io::Result<&mut W> {
        self.out.seek(std::io::SeekFrom::Start(self.at))?;
        Ok(&mut self.out)
    }

    /// What is written to.
    pub fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Leaves the chunk open, and gives the file back. Its header word says so, also where completing it was begun.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn leave_open(mut self) -> std::io::Result<W> {
        self.out.seek(std::io::SeekFrom::Start(0))?;
        self.out.write_all(&OPEN_HEADER)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Completes the chunk: writes the table, then the header word. May be called again where it failed; nothing may be
    /// appended any more once it has not.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn complete(&mut self) -> std::io::Result<()> {
        self.out.seek(std::io::SeekFrom::Start(self.at))?;
        self.out.write_all(&positions_table(&self.positions))?;
        self.out.flush()?;
        self.out.seek(std::io::SeekFrom::Start(0))?;
        self.out.write_all(&completed_header(self.at))?;
        self.out.flush()
    }
}
