//! One entry at its place: position, public domain and nonce must agree on its seqno. Format specification, sections 2 and 3.

use super::cursor::Cursor;
use super::domain::{Maps, PublicHeader};
use super::entry::{Entry, EntryHeader, EntryIv, GCM_HEADER_SIZE, HEADER_SIZE};
use super::{Malformed, Seqno};

/// One whole entry at its place.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// Offset in the file.
    pub offset: u64,
    /// Seqno, checked: the position, the public domain and the nonce agree.
    pub seqno: Seqno,
    /// The entry.
    pub entry: Entry<'a>,
    /// Its public header.
    pub public: PublicHeader<'a>,
}

impl<'a> Located<'a> {
    /// Its public writes, not walked yet.
    #[inline]
    pub fn maps(&self) -> Maps<'a> {
        Maps::new(Cursor::starting_at(self.entry.public, self.public.size_bytes()))
    }
}

/// Reads the entry that should stand at `offset` with `seqno`.
#[inline(always)] // as `Entry::parse`
pub(super) fn read_at(bytes: &[u8], offset: u64, end: u64, seqno: Seqno) -> Result<Located<'_>, Malformed> {
    locate(offset, seqno, Entry::parse(window(bytes, offset, end)?)?)
}

/// Reads the entry that the table says fills `offset..end`, whatever size its own header claims.
pub(super) fn read_extent(bytes: &[u8], offset: u64, end: u64, seqno: Seqno) -> Result<Located<'_>, Malformed> {
    let raw = window(bytes, offset, end)?;
    let mut cursor = Cursor::new(raw);
    let header = EntryHeader::from_bytes(cursor.array("entry header")?);
    let entry = Entry {
        raw,
        flags: header.flags,
        tag: cursor.array("GCM tag")?,
        iv_bytes: cursor.array("GCM IV")?,
        public: cursor.prefixed("public domain")?,
        private: cursor.rest(),
    };
    locate(offset, seqno, entry)
}

#[inline]
fn window(bytes: &[u8], offset: u64, end: u64) -> Result<&[u8], Malformed> {
    bytes
        .get(offset as usize..end as usize)
        .ok_or_else(|| outside_complaint(offset))
}

#[cold]
fn outside_complaint(offset: u64) -> Malformed {
    Malformed::at(0, format!("entry offset {offset} lies outside the entries"))
}

#[inline(always)] // as `Entry::parse`
fn locate(offset: u64, seqno: Seqno, entry: Entry<'_>) -> Result<Located<'_>, Malformed> {
    let mut cursor = Cursor::new(entry.public);
    let public = match PublicHeader::read(&mut cursor) {
        Ok(public) => public,
        Err(why) => return Err(why.shifted(PUBLIC_AT)),
    };
    let iv = entry.iv();
    if public.seqno != seqno || iv.seqno != seqno || iv.snapshot {
        return Err(place_complaint(seqno, public.seqno, iv));
    }
    Ok(Located {
        offset,
        seqno,
        entry,
        public,
    })
}

/// Offset of the public domain in an entry.
const PUBLIC_AT: usize = HEADER_SIZE + GCM_HEADER_SIZE;

/// What is wrong with an entry that should be that of `seqno`.
#[cold]
fn place_complaint(seqno: Seqno, public_seqno: Seqno, iv: EntryIv) -> Malformed {
    if public_seqno != seqno {
        let what = format!("entry says its seqno is {public_seqno}, expected {seqno}");
        return Malformed::at(PUBLIC_AT + 1, what);
    }
    if iv.seqno != seqno {
        let what = format!("GCM IV says its seqno is {}, expected {seqno}", iv.seqno);
        return Malformed::at(24, what);
    }
    Malformed::at(32, "GCM IV says it is a snapshot's, expected a transaction's")
}
