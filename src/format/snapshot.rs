//! A snapshot file: one entry of type 1 holding the whole state, then the receipt that proves it.
//!
//! Public domain: u8 1, u64 seqno, i64; then u64 32 and the leaf of the snapshot's transaction; then u64 8·V and the
//! first seqno of each view; then maps. The private domain holds maps alone. A map: name, u64 version, u64 size of
//! its entries; an entry: u64 klen, key, zeros to 8; u64 vlen, i64 version, value (vlen−8 bytes), zeros to 8.
//! Format specification, section 7.

use std::hash::Hasher;

use super::cursor::Cursor;
use super::domain::{EntryType, PublicHeader};
use super::entry::Entry;
use super::{Malformed, Seqno};
use crate::crypto::digest::{Digest, sha256};

/// A borrowed snapshot whose header has been read.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The entry part.
    pub entry: Entry<'a>,
    /// Seqno of the state.
    pub seqno: Seqno,
    /// Leaf of the transaction at that seqno.
    pub leaf: &'a Digest,
    /// First seqno of each view, from view 1 on, as raw little-endian words.
    views: &'a [[u8; 8]],
    maps: Cursor<'a>,
    /// Whatever follows the entry: JSON, COSE, or nothing.
    pub receipt: &'a [u8],
}

/// One key of one map in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateEntry<'a> {
    /// Serialised key.
    pub key: &'a [u8],
    /// Seqno of its last write; negative for a key that was removed (1.x and 2.x keep those).
    pub version: i64,
    /// Serialised value.
    pub value: &'a [u8],
}

/// One piece of a snapshot's state, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// A map begins; its entries follow.
    Map {
        /// Its name.
        name: &'a str,
        /// Seqno of its last change; 0 where nothing ever was in it.
        version: u64,
    },
    /// One of its keys.
    Entry(StateEntry<'a>),
}

impl<'a> Snapshot<'a> {
    /// Reads a snapshot file's framing and header.
    ///
    /// # Errors
    /// [`Malformed`] if it is not an entry of type 1, or its header is cut short.
    pub fn parse(bytes: &'a [u8]) -> Result<Snapshot<'a>, Malformed> {
        let entry = Entry::parse(bytes)?;
        let base = entry.raw.len() - entry.private.len() - entry.public.len();
        let read = || {
            let mut cursor = Cursor::new(entry.public);
            let header = PublicHeader::read(&mut cursor)?;
            if header.entry_type != EntryType::Snapshot {
                return Err(Malformed::at(
                    0,
                    format!("entry type is {}, expected 1 (snapshot)", header.entry_type as u8),
                ));
            }
            let iv = entry.iv();
            if !iv.snapshot || iv.seqno != header.seqno {
                return Err(Malformed::at(
                    0,
                    format!("GCM IV is not that of a snapshot at {}", header.seqno),
                ));
            }
            let at = cursor.position();
            let leaf = cursor.prefixed("hash at snapshot")?;
            let leaf = leaf
                .try_into()
                .map_err(|_| Malformed::at(at, format!("hash at snapshot has {} bytes, expected 32", leaf.len())))?;
            let at = cursor.position();
            let (views, rest) = cursor.prefixed("view history")?.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(Malformed::at(at, "view history is not a whole number of seqnos"));
            }
            Ok(Snapshot {
                entry,
                seqno: header.seqno,
                leaf,
                views,
                maps: cursor,
                receipt: &[],
            })
        };
        let snapshot = read().map_err(|e: Malformed| e.shifted(base))?;
        Ok(Snapshot {
            receipt: bytes.get(entry.raw.len()..).unwrap_or(&[]),
            ..snapshot
        })
    }

    /// What the receipt's claims digest must be: SHA-256 of the entry part.
    pub fn digest(&self) -> Digest {
        sha256(self.entry.raw)
    }

    /// First seqno of each view, from view 1 on.
    pub fn view_history(&self) -> impl Iterator<Item = Seqno> {
        self.views.iter().map(|word| u64::from_le_bytes(*word))
    }

    /// Hands every public key to `each`, with its map's name.
    ///
    /// # Errors
    /// [`Malformed`] at the first place that can't be read; offsets are from the start of the file.
    pub fn public_state(&self, each: impl FnMut(&'a str, StateEntry<'a>)) -> Result<(), Malformed> {
        self.public_parts(named(each))
    }

    /// Hands every public map and key to `each`, as they stand in the file.
    ///
    /// # Errors
    /// As [`Snapshot::public_state`].
    pub fn public_parts(&self, each: impl FnMut(Part<'a>)) -> Result<(), Malformed> {
        let base = self.entry.raw.len() - self.entry.private.len() - self.entry.public.len();
        read_maps(self.maps.clone(), each).map_err(|e| e.shifted(base))
    }
}

/// Gives each key the name of its map.
fn named<'a>(mut each: impl FnMut(&'a str, StateEntry<'a>)) -> impl FnMut(Part<'a>) {
    let mut map = "";
    move |part| match part {
        Part::Map { name, .. } => map = name,
        Part::Entry(entry) => each(map, entry),
    }
}

/// Hands every key of a decrypted private domain to `each`.
///
/// # Errors
/// [`Malformed`] at the first place that can't be read.
pub fn private_state<'a>(plaintext: &'a [u8], each: impl FnMut(&'a str, StateEntry<'a>)) -> Result<(), Malformed> {
    private_parts(plaintext, named(each))
}

/// Hands every map and key of a decrypted private domain to `each`, as they stand there.
///
/// # Errors
/// [`Malformed`] at the first place that can't be read.
pub fn private_parts<'a>(plaintext: &'a [u8], each: impl FnMut(Part<'a>)) -> Result<(), Malformed> {
    read_maps(Cursor::new(plaintext), each)
}

fn read_maps<'a>(mut cursor: Cursor<'a>, mut each: impl FnMut(Part<'a>)) -> Result<(), Malformed> {
    while !cursor.is_empty() {
        let at = cursor.position();
        let name = std::str::from_utf8(cursor.prefixed("map name")?)
            .map_err(|_| Malformed::at(at, "map name is not UTF-8"))?;
        let version = cursor.u64_le("map version")?;
        each(Part::Map { name, version });
        let at = cursor.position() + 8;
        let mut entries = Cursor::new(cursor.prefixed("map entries")?);
        while !entries.is_empty() {
            let entry = read_state_entry(&mut entries).map_err(|e| e.shifted(at))?;
            each(Part::Entry(entry));
        }
    }
    Ok(())
}

fn read_state_entry<'a>(cursor: &mut Cursor<'a>) -> Result<StateEntry<'a>, Malformed> {
    let key = cursor.prefixed("key")?;
    cursor.take(padding(key.len()), "padding of a key")?;
    let at = cursor.position();
    let mut value = Cursor::new(cursor.prefixed("value")?);
    let version = value.i64_le("version of a value").map_err(|e| e.shifted(at + 8))?;
    let value = value.rest();
    cursor.take(padding(value.len()), "padding of a value")?;
    Ok(StateEntry { key, version, value })
}

/// Zero bytes that bring a string of `len` bytes (its length word counts) to a multiple of 8.
fn padding(len: usize) -> usize {
    len.wrapping_neg() & 7
}

/// The order of keys inside a snapshot's map: the low 32 bits of SipHash-2-4 under CCF's fixed key.
pub fn key_order(key: &[u8]) -> u32 {
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0x7720_796f_726c_694b, 0x2165_7265_6820_7361);
    hasher.write(key);
    hasher.finish() as u32
}

/// Appends a snapshot's public header to `out`.
pub fn write_header(out: &mut Vec<u8>, seqno: Seqno, leaf: &Digest, view_history: &[Seqno]) {
    write_header_saying(out, seqno, 0, leaf, view_history);
}

/// The same with a max conflict version: 0 since 2.x, the seqno before in 1.x.
pub fn write_header_saying(
    out: &mut Vec<u8>,
    seqno: Seqno,
    max_conflict_version: i64,
    leaf: &Digest,
    view_history: &[Seqno],
) {
    let header = PublicHeader {
        entry_type: EntryType::Snapshot,
        seqno,
        claims_digest: None,
        commit_evidence_digest: None,
        max_conflict_version,
    };
    header.write(out);
    out.extend_from_slice(&32u64.to_le_bytes());
    out.extend_from_slice(leaf);
    out.extend_from_slice(&(view_history.len() as u64 * 8).to_le_bytes());
    for first in view_history {
        out.extend_from_slice(&first.to_le_bytes());
    }
}

/// Bytes of one state entry in a map: lengths, key, version, value and padding.
pub fn state_entry_len(key_len: usize, value_len: usize) -> u64 {
    (8 + key_len + padding(key_len) + 16 + value_len + padding(value_len)) as u64
}

/// Bytes of a map whose entries take `entries_len`.
pub fn map_len(name: &str, entries_len: u64) -> u64 {
    8 + name.len() as u64 + 16 + entries_len
}

/// Hands the start of a map to `out`: its entries, which take `entries_len` bytes, follow in CCF's order ([`key_order`],
/// then the key itself). Maps must come in order of their names.
///
/// # Errors
/// Whatever `out` answers; the same below.
pub fn write_map_head<E>(
    out: &mut impl FnMut(&[u8]) -> Result<(), E>,
    name: &str,
    version: u64,
    entries_len: u64,
) -> Result<(), E> {
    out(&(name.len() as u64).to_le_bytes())?;
    out(name.as_bytes())?;
    out(&version.to_le_bytes())?;
    out(&entries_len.to_le_bytes())
}

/// Hands one state entry to `out`.
///
/// # Errors
/// Whatever `out` answers.
pub fn write_state_entry<E>(out: &mut impl FnMut(&[u8]) -> Result<(), E>, entry: &StateEntry<'_>) -> Result<(), E> {
    let pad = |out: &mut dyn FnMut(&[u8]) -> Result<(), E>, len: usize| out([0; 8].get(..padding(len)).unwrap_or(&[]));
    out(&(entry.key.len() as u64).to_le_bytes())?;
    out(entry.key)?;
    pad(out, entry.key.len())?;
    out(&(entry.value.len() as u64 + 8).to_le_bytes())?;
    out(&entry.version.to_le_bytes())?;
    out(entry.value)?;
    pad(out, entry.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::{EntryIv, write_entry};

    fn sample() -> Vec<u8> {
        let mut public = Vec::new();
        write_header(&mut public, 61, &[3; 32], &[1, 1, 29]);
        let mut entries = [
            StateEntry {
                key: b"k",
                version: 5,
                value: b"value",
            },
            StateEntry {
                key: &[0; 8],
                version: -7,
                value: b"",
            },
        ];
        entries.sort_by_key(|entry| (key_order(entry.key), entry.key));
        let before = public.len() as u64;
        let mut out = |bytes: &[u8]| -> Result<(), ()> {
            public.extend_from_slice(bytes);
            Ok(())
        };
        let lens = entries
            .iter()
            .map(|entry| state_entry_len(entry.key.len(), entry.value.len()));
        let len: u64 = lens.sum();
        write_map_head(&mut out, "public:a", 5, len).unwrap();
        entries
            .iter()
            .for_each(|entry| write_state_entry(&mut out, entry).unwrap());
        write_map_head(&mut out, "public:empty", 0, 0).unwrap();
        assert_eq!(
            public.len() as u64 - before,
            map_len("public:a", len) + map_len("public:empty", 0)
        );
        let iv = EntryIv {
            seqno: 61,
            view: 0,
            snapshot: true,
        };
        let mut out = Vec::new();
        write_entry(&mut out, 0, &[0; 16], iv, &public, b"").unwrap();
        out.extend_from_slice(b"{}");
        out
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = sample();
        let snapshot = Snapshot::parse(&bytes).unwrap();
        assert_eq!((snapshot.seqno, snapshot.leaf), (61, &[3; 32]));
        assert_eq!(snapshot.view_history().collect::<Vec<_>>(), [1, 1, 29]);
        assert_eq!(snapshot.receipt, b"{}");
        let mut state = Vec::new();
        snapshot
            .public_state(|map, e| state.push((map, e.key.to_vec(), e.version, e.value.to_vec())))
            .unwrap();
        state.sort();
        assert_eq!(
            state,
            [
                ("public:a", vec![0; 8], -7, vec![]),
                ("public:a", b"k".to_vec(), 5, b"value".to_vec())
            ]
        );
    }

    #[test]
    fn every_truncation_ends_in_an_answer() {
        let bytes = sample();
        for end in 0..bytes.len() {
            if let Ok(snapshot) = Snapshot::parse(&bytes[..end]) {
                let _ = snapshot.public_state(|_, _| ());
            }
        }
    }
}
