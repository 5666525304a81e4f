//! One ledger entry: framing, GCM header, public domain, encrypted private domain.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0x00 | u8 | format version, 1 |
//! | 0x01 | u8 | flags |
//! | 0x02 | 6, LE | number of bytes after this 8-byte header |
//! | 0x08 | 16 | GCM tag |
//! | 0x18 | 12 | GCM IV: u64 LE seqno, u32 LE view (top bit: snapshot) |
//! | 0x24 | u64 LE | P, size of the public domain |
//! | 0x2c | P | public domain, the GCM's additional data |
//! | 0x2c+P | rest | private domain, encrypted |
//!
//! Format specification, sections 2 and 4.

use super::{Malformed, Seqno, View, cursor::Cursor, domain::PublicHeader};
use crate::crypto::digest::{Digest, sha256, sha256_pair, sha256_three};

/// Bytes of the framing before an entry's body.
pub const HEADER_SIZE: usize = 8;
/// Bytes of tag, IV and public size that open every body.
pub const GCM_HEADER_SIZE: usize = 16 + 12 + 8;
/// The only format version CCF has ever written since 0.99.2.
pub const VERSION: u8 = 1;
/// Flag: a new chunk starts after this entry (only on signature transactions).
pub const FLAG_CHUNK_AFTER: u8 = 0x01;
/// Flag: a new chunk starts before this entry (the first entry of a recovered service).
pub const FLAG_CHUNK_BEFORE: u8 = 0x02;
/// Largest body that fits the 48-bit size field.
const MAX_SIZE: u64 = (1 << 48) - 1;

/// The 8 bytes of framing before an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHeader {
    /// Format version; 1 in every entry that can be read.
    pub version: u8,
    /// See [`FLAG_CHUNK_AFTER`] and [`FLAG_CHUNK_BEFORE`]; other bits are 0.
    pub flags: u8,
    /// Number of bytes that follow the header.
    pub size: u64,
}

impl EntryHeader {
    /// Splits the little-endian word.
    #[inline]
    pub fn from_bytes(bytes: &[u8; HEADER_SIZE]) -> Self {
        let word = u64::from_le_bytes(*bytes);
        EntryHeader {
            version: word as u8,
            flags: (word >> 8) as u8,
            size: word >> 16,
        }
    }

    /// The bytes of the header. The size is cut to 48 bits, which [`write_entry`] has checked.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        (u64::from(self.version) | u64::from(self.flags) << 8 | (self.size & MAX_SIZE) << 16).to_le_bytes()
    }
}

/// The GCM nonce of an entry, the only place where its view is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryIv {
    /// Seqno; equal to the one in the public domain.
    pub seqno: Seqno,
    /// View, 31 bits. 0 in a snapshot.
    pub view: View,
    /// Whether this is a snapshot's nonce.
    pub snapshot: bool,
}

impl EntryIv {
    /// Reads the 12 bytes.
    #[inline]
    pub fn from_bytes(bytes: &[u8; 12]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, v0, v1, v2, v3] = *bytes;
        let view = u32::from_le_bytes([v0, v1, v2, v3]);
        EntryIv {
            seqno: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            view: u64::from(view & 0x7fff_ffff),
            snapshot: view & 0x8000_0000 != 0,
        }
    }

    /// The 12 bytes. Views above 2^31 − 1 do not exist in CCF; their high bits are cut.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0u8; 12];
        let (seqno, view) = bytes.split_at_mut(8);
        seqno.copy_from_slice(&self.seqno.to_le_bytes());
        let top = if self.snapshot { 0x8000_0000 } else { 0 };
        view.copy_from_slice(&((self.view as u32 & 0x7fff_ffff) | top).to_le_bytes());
        bytes
    }
}

/// A borrowed entry whose framing is consistent. The domains inside are not parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Everything, header included: what the Merkle leaf hashes.
    pub raw: &'a [u8],
    /// Flags of the framing.
    pub flags: u8,
    /// GCM tag.
    pub tag: &'a [u8; 16],
    /// GCM nonce, raw.
    pub iv_bytes: &'a [u8; 12],
    /// Public domain.
    pub public: &'a [u8],
    /// Private domain, encrypted. Empty where the transaction has no private writes.
    pub private: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Reads the entry at the start of `bytes`, which may go on after it.
    ///
    /// # Errors
    /// [`Malformed`] if the version is not 1, the size is below 36 or beyond `bytes`, or the public domain does not fit.
    #[inline(always)] // returned through memory, its parts would be stored and loaded again for every entry
    pub fn parse(bytes: &'a [u8]) -> Result<Entry<'a>, Malformed> {
        let header = EntryHeader::from_bytes(Cursor::new(bytes).array("entry header")?);
        let available = (bytes.len() - HEADER_SIZE) as u64;
        if header.version != VERSION || header.size < GCM_HEADER_SIZE as u64 || header.size > available {
            return Err(framing_complaint(header, available));
        }
        let mut cursor = Cursor::new(bytes);
        let raw = cursor.take(HEADER_SIZE + header.size as usize, "entry")?;
        let mut body = Cursor::new(raw);
        body.take(HEADER_SIZE, "entry header")?;
        let tag = body.array("GCM tag")?;
        let iv_bytes = body.array("GCM IV")?;
        let public = body.prefixed("public domain")?;
        Ok(Entry {
            raw,
            flags: header.flags,
            tag,
            iv_bytes,
            public,
            private: body.rest(),
        })
    }

    /// The nonce, split into seqno and view.
    #[inline]
    pub fn iv(&self) -> EntryIv {
        EntryIv::from_bytes(self.iv_bytes)
    }

    /// The Merkle leaf of this transaction (format specification, section 4). `public` must be this entry's header.
    #[inline]
    pub fn leaf(&self, public: &PublicHeader<'_>) -> Digest {
        leaf(
            &self.write_set_digest(),
            public.commit_evidence_digest,
            public.claims_digest,
        )
    }

    /// SHA-256 of the raw entry.
    #[inline]
    pub fn write_set_digest(&self) -> Digest {
        sha256(self.raw)
    }
}

/// The Merkle leaf of a transaction: of its own digest and those that its type has (format specification, section 4).
#[inline]
pub fn leaf(write_set: &Digest, evidence: Option<&Digest>, claims: Option<&Digest>) -> Digest {
    match (evidence, claims) {
        (Some(evidence), Some(claims)) => sha256_three(write_set, evidence, claims),
        (Some(one), None) | (None, Some(one)) => sha256_pair(write_set, one),
        (None, None) => *write_set,
    }
}

/// What is wrong with an entry's framing, after which `available` bytes are left.
#[cold]
fn framing_complaint(header: EntryHeader, available: u64) -> Malformed {
    let EntryHeader { version, size, .. } = header;
    if version != VERSION {
        let what = format!("entry format version is {version}, expected {VERSION}");
        return Malformed::at(0, what);
    }
    let what = match size < GCM_HEADER_SIZE as u64 {
        true => format!("entry size is {size}, expected at least {GCM_HEADER_SIZE}"),
        false => format!("entry claims {size} bytes after its header, {available} are left"),
    };
    Malformed::at(2, what)
}

/// The bytes of an entry before its public domain, whose length is `public_len`; the private one's is `private_len`.
///
/// # Errors
/// [`Malformed`] if the entry would not fit its 48-bit size field.
pub fn entry_head(
    flags: u8,
    tag: &[u8; 16],
    iv: EntryIv,
    public_len: u64,
    private_len: u64,
) -> Result<[u8; HEADER_SIZE + GCM_HEADER_SIZE], Malformed> {
    let size = (GCM_HEADER_SIZE as u64)
        .saturating_add(public_len)
        .saturating_add(private_len);
    if size > MAX_SIZE {
        return Err(Malformed::at(
            2,
            format!("an entry of {size} bytes does not fit its 48-bit size field"),
        ));
    }
    let header = EntryHeader {
        version: VERSION,
        flags,
        size,
    };
    let mut head = [0; HEADER_SIZE + GCM_HEADER_SIZE];
    let parts: [&[u8]; 4] = [&header.to_bytes(), tag, &iv.to_bytes(), &public_len.to_le_bytes()];
    head.iter_mut()
        .zip(parts.into_iter().flatten())
        .for_each(|(to, from)| *to = *from);
    Ok(head)
}

/// Appends an entry to `out`.
///
/// # Errors
/// As [`entry_head`].
pub fn write_entry(
    out: &mut Vec<u8>,
    flags: u8,
    tag: &[u8; 16],
    iv: EntryIv,
    public: &[u8],
    private: &[u8],
) -> Result<(), Malformed> {
    let head = entry_head(flags, tag, iv, public.len() as u64, private.len() as u64)?;
    out.extend_from_slice(&head);
    out.extend_from_slice(public);
    out.extend_from_slice(private);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let iv = EntryIv {
            seqno: 17,
            view: 2,
            snapshot: false,
        };
        write_entry(&mut out, FLAG_CHUNK_AFTER, &[7; 16], iv, b"public", b"private!").unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = sample();
        let entry = Entry::parse(&bytes).unwrap();
        assert_eq!(entry.raw, &bytes[..]);
        assert_eq!(entry.flags, FLAG_CHUNK_AFTER);
        assert_eq!(entry.tag, &[7; 16]);
        assert_eq!(entry.iv().seqno, 17);
        assert_eq!(entry.iv().view, 2);
        assert!(!entry.iv().snapshot);
        assert_eq!(entry.public, b"public");
        assert_eq!(entry.private, b"private!");
    }

    #[test]
    fn a_snapshot_nonce_has_the_top_bit() {
        let iv = EntryIv {
            seqno: 61,
            view: 0,
            snapshot: true,
        };
        assert_eq!(iv.to_bytes(), [61, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(EntryIv::from_bytes(&iv.to_bytes()), iv);
    }

    const IV: EntryIv = EntryIv {
        seqno: 17,
        view: 2,
        snapshot: false,
    };

    #[test]
    fn the_smallest_entry_has_44_bytes_and_empty_domains() {
        let mut bytes = Vec::new();
        write_entry(&mut bytes, 0, &[7; 16], IV, b"", b"").unwrap();
        assert_eq!(bytes.len(), 44);
        assert_eq!(bytes[..8], [1, 0, 36, 0, 0, 0, 0, 0]);
        let entry = Entry::parse(&bytes).unwrap();
        assert_eq!((entry.raw.len(), entry.public, entry.private), (44, &b""[..], &b""[..]));
        bytes[2] = 35;
        let why = Entry::parse(&bytes).unwrap_err();
        assert!(why.what.contains("35") && why.what.contains("36"), "{}", why.what);
    }

    #[test]
    fn an_entry_that_claims_more_than_is_there_says_how_much_is_left() {
        let mut bytes = sample();
        let left = bytes.len() - 8;
        for more in 1..=16 {
            bytes[2] = (left + more) as u8;
            let why = Entry::parse(&bytes).unwrap_err();
            assert_eq!(why.offset, 2);
            assert!(why.what.contains(&format!("{left} are left")), "{}", why.what);
        }
    }

    #[test]
    fn the_largest_body_is_the_one_that_fits_48_bits() {
        let most = (1 << 48) - 1 - 36;
        let head = entry_head(2, &[7; 16], IV, most, 0).unwrap();
        assert_eq!(head[..8], [1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(entry_head(2, &[7; 16], IV, most - 5, 5).unwrap()[..8], head[..8]);
        for (public, private) in [(most + 1, 0), (0, most + 1), (u64::MAX, u64::MAX)] {
            assert!(entry_head(2, &[7; 16], IV, public, private).is_err());
        }
    }

    #[test]
    fn the_leaf_hashes_the_entry_with_whatever_digests_its_type_has() {
        let bytes = sample();
        let entry = Entry::parse(&bytes).unwrap();
        let own = sha256(&bytes);
        assert_eq!(entry.write_set_digest(), own);
        let (evidence, claims) = ([1; 32], [2; 32]);
        let leaf = |evidence, claims| {
            entry.leaf(&PublicHeader {
                entry_type: crate::format::domain::EntryType::WriteSet,
                seqno: 17,
                claims_digest: claims,
                commit_evidence_digest: evidence,
                max_conflict_version: 0,
            })
        };
        assert_eq!(leaf(None, None), own);
        assert_eq!(leaf(Some(&evidence), None), sha256(&[own, evidence].concat()));
        assert_eq!(leaf(None, Some(&claims)), sha256(&[own, claims].concat()));
        assert_eq!(
            leaf(Some(&evidence), Some(&claims)),
            sha256(&[own, evidence, claims].concat())
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = sample();
        for end in 0..bytes.len() {
            assert!(Entry::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_public_size_beyond_the_entry_is_refused() {
        let mut bytes = sample();
        bytes[0x24..0x2c].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Entry::parse(&bytes).is_err());
    }
}
