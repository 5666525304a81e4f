//! Records (map, version, key, value) in chunks of fixed size: no reallocation, no header per value, no holes that stay.
//!
//! A record: varint map, varint version, varint key length, varint (value length + 1, or 0 for a removal), key, value.
//! It knows its map so that a chunk can be walked when it is emptied: chunks of which a quarter is dead are moved,
//! record by record, so that at most one chunk more than needed exists at any time.

use smallvec::SmallVec;
use zeroize::Zeroizing;

/// Bytes of a chunk: small beside any state that matters, large beside most values.
const CHUNK_SIZE: usize = 1 << OFFSET_BITS;
/// A place has 20 bits of offset and 20 of chunk number: 1 TiB in all.
const OFFSET_BITS: u32 = 20;

/// Where a record is: 5 bytes, because there is one for every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place([u8; 5]);

impl Place {
    fn new(chunk: usize, offset: usize) -> Place {
        let [a, b, c, d, e, ..] = ((chunk << OFFSET_BITS | offset) as u64).to_le_bytes();
        Place([a, b, c, d, e])
    }

    pub(super) fn chunk(self) -> usize {
        (self.word() >> OFFSET_BITS) as usize
    }

    fn offset(self) -> usize {
        self.word() as usize & (CHUNK_SIZE - 1)
    }

    fn word(self) -> u64 {
        let Place([a, b, c, d, e]) = self;
        u64::from_le_bytes([a, b, c, d, e, 0, 0, 0])
    }
}

/// One record, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) map: u32,
    pub(super) version: u64,
    pub(super) key: &'a [u8],
    /// `None`: the key was removed.
    pub(super) value: Option<&'a [u8]>,
}

/// What a record has before its key: four numbers of at most ten bytes.
type Head = SmallVec<[u8; 40]>;

impl<'a> Record<'a> {
    /// The record at the start of `bytes`, and the number of bytes it takes.
    fn read(bytes: &'a [u8]) -> Option<(Record<'a>, usize)> {
        let mut rest = bytes;
        let map = take_varint(&mut rest)?;
        let version = take_varint(&mut rest)?;
        let key_len = take_varint(&mut rest)? as usize;
        let value_len = take_varint(&mut rest)? as usize;
        let (key, rest) = rest.split_at_checked(key_len)?;
        let (value, rest) = match value_len.checked_sub(1) {
            Some(len) => {
                let (value, rest) = rest.split_at_checked(len)?;
                (Some(value), rest)
            }
            None => (None, rest),
        };
        let record = Record {
            map: map as u32,
            version,
            key,
            value,
        };
        Some((record, bytes.len() - rest.len()))
    }

    fn len(&self) -> usize {
        let value_len = self.value.map_or(0, <[u8]>::len);
        varint_len(u64::from(self.map))
            + varint_len(self.version)
            + varint_len(self.key.len() as u64)
            + varint_len(self.value.map_or(0, |value| value.len() as u64 + 1))
            + self.key.len()
            + value_len
    }

    fn write_head(&self, out: &mut impl Extend<u8>) {
        put_varint(out, u64::from(self.map));
        put_varint(out, self.version);
        put_varint(out, self.key.len() as u64);
        put_varint(out, self.value.map_or(0, |value| value.len() as u64 + 1));
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value.unwrap_or_default());
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(out: &mut impl Extend<u8>, mut value: u64) {
    while value >= 0x80 {
        out.extend([value as u8 | 0x80]);
        value >>= 7;
    }
    out.extend([value as u8]);
}

#[inline]
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

#[derive(Default)]
struct Chunk {
    bytes: Zeroizing<Vec<u8>>,
    /// Bytes of records that nothing points to any more.
    dead: usize,
}

/// The chunks.
#[derive(Default)]
pub(super) struct Arena {
    chunks: Vec<Chunk>,
    /// Number of the chunk that is being filled.
    current: usize,
    /// Numbers of chunks that were emptied.
    free: Vec<usize>,
}

impl Arena {
    /// Appends a record.
    pub(super) fn push(&mut self, record: Record<'_>) -> Place {
        let len = record.len();
        let fits = self
            .chunks
            .get(self.current)
            .is_some_and(|chunk| chunk.bytes.len() + len <= chunk.bytes.capacity());
        if !fits {
            self.current = self.new_chunk(len.max(CHUNK_SIZE));
        }
        match self.chunks.get_mut(self.current) {
            Some(chunk) => {
                let place = Place::new(self.current, chunk.bytes.len());
                record.write(&mut chunk.bytes);
                place
            }
            None => Place::new(self.current, 0), // `new_chunk` has just made it
        }
    }

    fn new_chunk(&mut self, capacity: usize) -> usize {
        let chunk = Chunk {
            bytes: Zeroizing::new(Vec::with_capacity(capacity)),
            dead: 0,
        };
        if let Some(number) = self.free.pop()
            && let Some(slot) = self.chunks.get_mut(number)
        {
            *slot = chunk;
            return number;
        }
        self.chunks.push(chunk);
        self.chunks.len() - 1
    }

    /// The record at `place`.
    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<Record<'_>> {
        let chunk = self.chunks.get(place.chunk())?;
        Some(Record::read(chunk.bytes.get(place.offset()..)?)?.0)
    }

    /// Overwrites the record at `place` if the new one takes exactly as many bytes.
    pub(super) fn replace_in_place(&mut self, place: Place, record: Record<'_>) -> bool {
        let Some(chunk) = self.chunks.get_mut(place.chunk()) else {
            return false;
        };
        let Some(rest) = chunk.bytes.get_mut(place.offset()..) else {
            return false;
        };
        let Some((old, len)) = Record::read(rest) else {
            return false;
        };
        if len != record.len() || old.key.len() != record.key.len() {
            return false;
        }
        let mut head = Head::new();
        record.write_head(&mut head);
        let parts = [&head[..], record.key, record.value.unwrap_or_default()];
        let mut rest = rest;
        for part in parts {
            let Some((target, after)) = rest.split_at_mut_checked(part.len()) else {
                return false;
            };
            target.copy_from_slice(part);
            rest = after;
        }
        true
    }

    /// Says that nothing points to `place` any more. Answers the number of the chunk if it should be emptied.
    pub(super) fn release(&mut self, place: Place) -> Option<usize> {
        let number = place.chunk();
        let chunk = self.chunks.get_mut(number)?;
        chunk.dead += Record::read(chunk.bytes.get(place.offset()..)?)?.1;
        (number != self.current && chunk.dead * 4 > chunk.bytes.len()).then_some(number)
    }

    /// Takes a chunk out, for its live records to be pushed again. Its number stays taken until it is given back,
    /// so that no new record gets the place of an old one meanwhile.
    pub(super) fn take_chunk(&mut self, number: usize) -> Removed {
        let chunk = self.chunks.get_mut(number).map(std::mem::take).unwrap_or_default();
        Removed { number, chunk }
    }

    /// Gives back the number of a chunk whose live records have moved.
    pub(super) fn give_back(&mut self, removed: Removed) {
        self.free.push(removed.number);
    }

    /// Bytes held, dead ones and the current chunk's reserve included.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum()
    }
}

/// A chunk that was taken out.
pub(super) struct Removed {
    number: usize,
    chunk: Chunk,
}

impl Removed {
    /// Every record, dead or alive, with the place it had.
    pub(super) fn records(&self) -> impl Iterator<Item = (Place, Record<'_>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (record, len) = Record::read(self.chunk.bytes.get(at..)?)?;
            let place = Place::new(self.number, at);
            at += len;
            Some((place, record))
        })
    }
}
