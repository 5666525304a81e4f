//! A pack: blocks one after the other, each behind its own header, in one object of about 64 MiB.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `RKPACK1` and a line break |
//! | 8 | … | blocks back to back, each a header of 48 bytes and its stored bytes; to the end of the object |
//!
//! | offset in a header | size | field |
//! |---|---|---|
//! | 0 | 44 | the block's row ([`super::block::Row`]) |
//! | 44 | 4 | CRC-32 of these 44 bytes, u32 LE |
//!
//! 64 MiB: uploads of such objects take the whole bandwidth of a line, an interrupted run loses one at most, and a terabyte
//! makes sixteen thousand. A pack is read without the manifest: an interrupted run goes on from those it wrote.

use sha2::{Digest as _, Sha256};

use super::block::{ROW_BYTES, Row, Stored};
use crate::crypto::digest::Digest;

/// First bytes of a pack.
pub const MAGIC: [u8; 8] = *b"RKPACK1\n";
/// Bytes of a block's header.
pub const HEADER_BYTES: usize = ROW_BYTES + 4;
/// A pack is complete when it has so many bytes.
pub const PACK_BYTES: usize = 64 << 20;
/// More than a pack of this program has: the last block begins before [`PACK_BYTES`].
pub const MAX_PACK_BYTES: u64 = (PACK_BYTES + HEADER_BYTES + super::block::BLOCK_BYTES) as u64;

/// No pack has a larger number: names sort as the numbers do.
pub const MAX_NUMBER: u32 = 99_999_999;

/// A pack that is being filled.
pub struct Packer {
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl Default for Packer {
    fn default() -> Packer {
        Packer {
            bytes: MAGIC.to_vec(),
            rows: Vec::new(),
        }
    }
}

impl Packer {
    /// Appends a block.
    pub fn push(&mut self, stored: &Stored) {
        let row = stored.row.to_bytes();
        self.bytes.extend_from_slice(&row);
        self.bytes.extend_from_slice(&crc32fast::hash(&row).to_le_bytes());
        self.bytes.extend_from_slice(&stored.bytes);
        self.rows.push(stored.row);
    }

    /// Whether it is time for another one.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= PACK_BYTES
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The finished object, and the rows of its blocks.
    pub fn finish(self) -> (Vec<u8>, Vec<Row>) {
        (self.bytes, self.rows)
    }
}

/// Its name among the objects of an archive.
pub fn object_name(number: u32, digest: &Digest) -> String {
    format!("blocks/{number:08}-{}", hex::encode(digest))
}

/// Number and digest from a name; none if it is not one of a pack.
pub fn parse_name(name: &str) -> Option<(u32, Digest)> {
    let (number, digest) = name.strip_prefix("blocks/")?.split_once('-')?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    let number = number.parse().ok()?;
    (number <= MAX_NUMBER && object_name(number, &bytes) == name).then_some((number, bytes))
}

/// SHA-256 of a pack's bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// The rows of all blocks of a pack, by walking through it.
///
/// # Errors
/// Where and why the walk can't go on.
pub fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        return Err("it does not begin as a pack does".to_owned());
    };
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (row, crc, after) = rest
            .split_first_chunk::<ROW_BYTES>()
            .and_then(|(row, rest)| rest.split_first_chunk::<4>().map(|(crc, rest)| (row, crc, rest)))
            .ok_or_else(|| format!("the header at byte {at} is cut off"))?;
        if crc32fast::hash(row).to_le_bytes() != *crc {
            return Err(format!("the header at byte {at} does not have its CRC-32"));
        }
        let row = Row::parse(row).map_err(|why| format!("at byte {at} {why}"))?;
        rest = after
            .get(row.stored as usize..)
            .ok_or_else(|| format!("the block at byte {at} is cut off"))?;
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::block::store;
    use super::*;

    #[test]
    fn a_pack_is_read_without_a_manifest_and_every_cut_is_noticed() {
        let mut packer = Packer::default();
        for i in 0..3u8 {
            packer.push(&store(&vec![i; 1000 + usize::from(i)], [i; 32]));
        }
        let (bytes, rows_written) = packer.finish();
        assert_eq!(rows(&bytes).unwrap(), rows_written);
        let mut ends = vec![MAGIC.len()];
        for row in &rows_written {
            ends.push(ends.last().unwrap() + HEADER_BYTES + row.stored as usize);
        }
        for cut in 0..bytes.len() {
            assert_eq!(rows(&bytes[..cut]).is_ok(), ends.contains(&cut), "{cut}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written_and_in_no_other_form() {
        let name = object_name(7, &[0xab; 32]);
        assert_eq!(parse_name(&name), Some((7, [0xab; 32])));
        for other in [
            &name[1..],
            &name.replace("ab", "AB"),
            &name.replace("0000", "+000"),
            "blocks/../x-00",
            &object_name(MAX_NUMBER + 1, &[1; 32]),
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
