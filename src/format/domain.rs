//! The two domains inside an entry: a header (public only) and the writes, map by map.
//!
//! Public header: u8 type, u64 seqno, [32 claims], [32 commit evidence digest], i64 max conflict version.
//! Then per map: name, u64 read version, u64 reads (each key + u64), u64 writes (each key + value), u64 removes
//! (each key); strings are prefixed by a u64 LE length. Format specification, section 3.

use std::collections::BTreeMap;

use super::{Malformed, Seqno, cursor::Cursor};
use crate::crypto::digest::Digest;

/// Longest name of a map that is read: names are compared, copied and shown. CCF's own have less than a hundred bytes.
pub const MAX_NAME_BYTES: usize = 64 << 10;

/// First byte of the public domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryType {
    /// 1.x: neither claims nor commit evidence.
    WriteSet = 0,
    /// Only in snapshot files.
    Snapshot = 1,
    /// 2.0.0-dev only.
    WriteSetWithClaims = 2,
    /// 2.0.0-dev8 to rc7, where no claims were given.
    WriteSetWithCommitEvidence = 3,
    /// Every transaction since 2.0.0-rc8.
    WriteSetWithCommitEvidenceAndClaims = 4,
}

impl EntryType {
    fn from_byte(byte: u8) -> Option<EntryType> {
        Some(match byte {
            0 => EntryType::WriteSet,
            1 => EntryType::Snapshot,
            2 => EntryType::WriteSetWithClaims,
            3 => EntryType::WriteSetWithCommitEvidence,
            4 => EntryType::WriteSetWithCommitEvidenceAndClaims,
            _ => return None,
        })
    }

    /// Whether the header holds a claims digest.
    #[inline]
    pub fn has_claims(self) -> bool {
        matches!(
            self,
            EntryType::WriteSetWithClaims | EntryType::WriteSetWithCommitEvidenceAndClaims
        )
    }

    /// Whether the header holds a commit evidence digest.
    #[inline]
    pub fn has_commit_evidence(self) -> bool {
        matches!(
            self,
            EntryType::WriteSetWithCommitEvidence | EntryType::WriteSetWithCommitEvidenceAndClaims
        )
    }
}

/// Header of a public domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicHeader<'a> {
    /// What kind of entry this is.
    pub entry_type: EntryType,
    /// Seqno; must equal the nonce's.
    pub seqno: Seqno,
    /// Claims digest, types 2 and 4.
    pub claims_digest: Option<&'a Digest>,
    /// Digest of the commit evidence, types 3 and 4.
    pub commit_evidence_digest: Option<&'a Digest>,
    /// Zero since 2.x; ignored, but hashed.
    pub max_conflict_version: i64,
}

impl<'a> PublicHeader<'a> {
    /// Reads the header and leaves `cursor` at the first map.
    ///
    /// # Errors
    /// [`Malformed`] for an unknown entry type or a header cut short.
    #[inline(always)] // as `Entry::parse`
    pub fn read(cursor: &mut Cursor<'a>) -> Result<PublicHeader<'a>, Malformed> {
        let at = cursor.position();
        let byte = cursor.u8("entry type")?;
        let Some(entry_type) = EntryType::from_byte(byte) else {
            return Err(type_complaint(at, byte));
        };
        let seqno = cursor.u64_le("seqno")?;
        let claims_digest = match entry_type.has_claims() {
            true => Some(cursor.array("claims digest")?),
            false => None,
        };
        let commit_evidence_digest = match entry_type.has_commit_evidence() {
            true => Some(cursor.array("commit evidence digest")?),
            false => None,
        };
        Ok(PublicHeader {
            entry_type,
            seqno,
            claims_digest,
            commit_evidence_digest,
            max_conflict_version: cursor.i64_le("max conflict version")?,
        })
    }

    /// Number of its bytes: the first map begins there.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        let digests = usize::from(self.entry_type.has_claims()) + usize::from(self.entry_type.has_commit_evidence());
        1 + 8 + 32 * digests + 8
    }

    /// Appends the header to `out`. A digest that the type asks for and that is `None` is written as zeros.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.entry_type as u8);
        out.extend_from_slice(&self.seqno.to_le_bytes());
        if self.entry_type.has_claims() {
            out.extend_from_slice(self.claims_digest.unwrap_or(&[0; 32]));
        }
        if self.entry_type.has_commit_evidence() {
            out.extend_from_slice(self.commit_evidence_digest.unwrap_or(&[0; 32]));
        }
        out.extend_from_slice(&self.max_conflict_version.to_le_bytes());
    }
}

#[cold]
fn type_complaint(at: usize, byte: u8) -> Malformed {
    Malformed::at(at, format!("entry type is {byte}, expected 0 to 4"))
}

/// One write to one key: a value, or `None` for a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// Serialised key.
    pub key: &'a [u8],
    /// Serialised value; `None` removes the key.
    pub value: Option<&'a [u8]>,
}

/// Reads the maps of a domain one by one, and each map's writes through a callback.
///
/// The callback form keeps the hot pass free of allocation and of a second walk: a map's end is only known once its
/// writes have been walked.
#[derive(Clone, Debug)]
pub struct Maps<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Maps<'a> {
    /// Starts where `cursor` stands: after the public header, or at the start of a private domain.
    #[inline]
    pub fn new(cursor: Cursor<'a>) -> Self {
        Maps { cursor }
    }

    /// The maps of a decrypted private domain.
    pub fn private(plaintext: &'a [u8]) -> Self {
        Maps::new(Cursor::new(plaintext))
    }

    /// The name of the next map, or `None` at the end of the domain. Must be followed by [`Maps::writes`].
    ///
    /// # Errors
    /// [`Malformed`] if the name is cut short or not UTF-8.
    #[inline(always)] // as `Entry::parse`
    pub fn next_name(&mut self) -> Result<Option<&'a str>, Malformed> {
        let at = self.cursor.position();
        match self.next_name_bytes()? {
            None => Ok(None),
            Some(name) => match std::str::from_utf8(name) {
                Ok(name) if name.len() <= MAX_NAME_BYTES => Ok(Some(name)),
                _ => Err(name_complaint(at, name.len())),
            },
        }
    }

    /// The same for whoever looks for known names only: what may be a name is not checked.
    ///
    /// # Errors
    /// [`Malformed`] if the name is cut short.
    #[inline(always)] // as `Entry::parse`
    pub fn next_name_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.cursor.is_empty() {
            true => Ok(None),
            false => self.cursor.prefixed("map name").map(Some),
        }
    }

    /// Hands each write of the map just named to `each`, writes first, then removals, in file order.
    ///
    /// # Errors
    /// [`Malformed`] if the map is cut short.
    #[inline]
    pub fn writes(&mut self, mut each: impl FnMut(Write<'a>)) -> Result<(), Malformed> {
        let cursor = &mut self.cursor;
        cursor.u64_le("read version")?;
        let reads = cursor.u64_le("number of reads")?;
        for _ in 0..reads {
            cursor.prefixed("key of a read")?;
            cursor.u64_le("version of a read")?;
        }
        let writes = cursor.u64_le("number of writes")?;
        for _ in 0..writes {
            let key = cursor.prefixed("key of a write")?;
            let value = cursor.prefixed("value of a write")?;
            each(Write {
                key,
                value: Some(value),
            });
        }
        let removes = cursor.u64_le("number of removals")?;
        for _ in 0..removes {
            let key = cursor.prefixed("key of a removal")?;
            each(Write { key, value: None });
        }
        Ok(())
    }

    /// Hands every write of every remaining map to `each`.
    ///
    /// # Errors
    /// [`Malformed`] at the first place that can't be read.
    pub fn for_each(mut self, mut each: impl FnMut(&'a str, Write<'a>)) -> Result<(), Malformed> {
        while let Some(name) = self.next_name()? {
            self.writes(|write| each(name, write))?;
        }
        Ok(())
    }
}

#[cold]
fn name_complaint(at: usize, len: usize) -> Malformed {
    match len > MAX_NAME_BYTES {
        true => Malformed::at(
            at,
            format!("map name has {len} bytes, expected at most {MAX_NAME_BYTES}"),
        ),
        false => Malformed::at(at, "map name is not UTF-8"),
    }
}

/// The writes of one transaction, ready to be serialised: map name → key → value, `None` for a removal.
///
/// Sorted as CCF writes them: maps by name, keys by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    maps: BTreeMap<String, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl WriteSet {
    /// No writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key` in `map`.
    pub fn put(&mut self, map: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.map(map).insert(key.into(), Some(value.into()));
    }

    /// Removes `key` from `map`.
    pub fn remove(&mut self, map: &str, key: impl Into<Vec<u8>>) {
        self.map(map).insert(key.into(), None);
    }

    /// What is written to `key` in `map`: `None` if nothing, `Some(None)` if it is removed.
    pub fn get(&self, map: &str, key: &[u8]) -> Option<Option<&[u8]>> {
        self.maps.get(map)?.get(key).map(Option::as_deref)
    }

    fn map(&mut self, name: &str) -> &mut BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        // Most names are there already: none is copied for them.
        if !self.maps.contains_key(name) {
            return self.maps.entry(name.to_owned()).or_default();
        }
        match self.maps.get_mut(name) {
            Some(map) => map,
            None => unreachable!("it is there"),
        }
    }

    /// Whether anything is written to `map`.
    pub fn writes_to(&self, map: &str) -> bool {
        self.maps.contains_key(map)
    }

    /// The names of the maps that are written to, sorted.
    pub fn maps(&self) -> impl Iterator<Item = &str> {
        self.maps.keys().map(String::as_str)
    }

    /// Every map that is written to, with what is written to its keys.
    pub fn into_maps(self) -> impl Iterator<Item = (String, BTreeMap<Vec<u8>, Option<Vec<u8>>>)> {
        self.maps.into_iter()
    }

    /// Every write in serialisation order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Write<'_>)> {
        self.maps.iter().flat_map(|(name, writes)| {
            writes.iter().map(move |(key, value)| {
                (
                    name.as_str(),
                    Write {
                        key,
                        value: value.as_deref(),
                    },
                )
            })
        })
    }

    /// True if nothing is written.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// Appends the maps of one domain: those for which `public` equals [`is_public`] of their name.
    pub fn write_domain(&self, public: bool, out: &mut Vec<u8>) {
        for (name, writes) in &self.maps {
            if is_public(name) != public {
                continue;
            }
            write_prefixed(out, name.as_bytes());
            out.extend_from_slice(&[0; 16]); // read version and number of reads
            let sets = writes.values().filter(|value| value.is_some()).count();
            out.extend_from_slice(&(sets as u64).to_le_bytes());
            for (key, value) in writes {
                if let Some(value) = value {
                    write_prefixed(out, key);
                    write_prefixed(out, value);
                }
            }
            out.extend_from_slice(&((writes.len() - sets) as u64).to_le_bytes());
            for (key, value) in writes {
                if value.is_none() {
                    write_prefixed(out, key);
                }
            }
        }
    }
}

/// Whether a map of this name lives in the public domain.
#[inline]
pub fn is_public(map: &str) -> bool {
    map.starts_with("public:")
}

fn write_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> WriteSet {
        let mut writes = WriteSet::new();
        writes.put("public:b", "k2", "v2");
        writes.put("public:b", "k1", "v1");
        writes.remove("public:b", "k0");
        writes.put("public:a", "", "");
        writes.put("records", "42", "hello");
        writes
    }

    #[test]
    fn each_domain_holds_its_own_maps_and_reads_back_in_order() {
        let writes = sample();
        for public in [true, false] {
            let mut bytes = Vec::new();
            writes.write_domain(public, &mut bytes);
            let mut read = WriteSet::new();
            let mut names = Vec::new();
            Maps::private(&bytes)
                .for_each(|name, write| {
                    names.push(name.to_owned());
                    match write.value {
                        Some(value) => read.put(name, write.key, value),
                        None => read.remove(name, write.key),
                    }
                })
                .unwrap();
            assert!(names.is_sorted());
            assert!(read.iter().all(|(name, _)| is_public(name) == public));
            assert_eq!(
                read.iter().count(),
                writes.iter().filter(|(n, _)| is_public(n) == public).count()
            );
        }
    }

    #[test]
    fn the_small_private_domain_of_the_specification_is_written_to_the_byte() {
        let mut writes = WriteSet::new();
        writes.put("records", "42", "hello");
        let mut bytes = Vec::new();
        writes.write_domain(false, &mut bytes);
        let expected = concat!(
            "0700000000000000",
            "7265636f726473",
            "0000000000000000",
            "0000000000000000",
            "0100000000000000",
            "0200000000000000",
            "3432",
            "0500000000000000",
            "68656c6c6f",
            "0000000000000000"
        );
        assert_eq!(hex::encode(bytes), expected);
    }

    #[test]
    fn a_huge_count_ends_at_the_end_of_the_bytes() {
        let mut bytes = Vec::new();
        write_prefixed(&mut bytes, b"m");
        bytes.extend_from_slice(&[0; 16]);
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(Maps::private(&bytes).for_each(|_, _| ()).is_err());
    }

    #[test]
    fn headers_of_all_types_read_back() {
        for byte in 0..=4 {
            let entry_type = EntryType::from_byte(byte).unwrap();
            let header = PublicHeader {
                entry_type,
                seqno: 9,
                claims_digest: entry_type.has_claims().then_some(&[1; 32]),
                commit_evidence_digest: entry_type.has_commit_evidence().then_some(&[2; 32]),
                max_conflict_version: -3,
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(PublicHeader::read(&mut cursor).unwrap(), header);
            assert!(cursor.is_empty());
        }
        assert!(PublicHeader::read(&mut Cursor::new(&[5; 100])).is_err());
    }
}
