//! A block: at most 1 MiB of a file, compressed by itself, so that damage to one touches no other.
//!
//! 1 MiB: zstd at its first levels looks back half a megabyte to 2 MiB, so that larger blocks compress hardly better (under one percent on real
//! chunks), and smaller ones cost more rows: 44 bytes in the manifest and 48 in a pack are 0.01 percent. A terabyte of ledger
//! has a million rows, 44 MB.

use crate::crypto::digest::Digest;

/// Bytes of every block but a file's last.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Level 1 takes half the time of level 3 for bytes that are half a percent more, where half of a ledger is encrypted (1.246 to 1,
/// and 1.251). That half pays for what zstd's own command does not do: a digest of every byte, and verifying the ledger.
const LEVEL: i32 = 1;

/// Bytes of a row, as the manifest holds it.
pub const ROW_BYTES: usize = 44;

/// What is known of one block without reading it.
///
/// | offset | size | field |
/// |---|---|---|
/// | 0 | 4 | bytes of the block, u32 LE, 1 to 2^20 |
/// | 4 | 4 | bytes stored, u32 LE, at most as many; as many means that they are stored as they are |
/// | 8 | 4 | CRC-32 of the stored bytes, u32 LE |
/// | 12 | 32 | SHA-256 of the file up to the end of the block |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Bytes of the file.
    pub size: u32,
    /// Bytes in the pack.
    pub stored: u32,
    /// CRC-32 of the bytes in the pack.
    pub crc: u32,
    /// SHA-256 of the file up to the end of this block.
    pub id: Digest,
}

impl Row {
    /// The row as bytes.
    pub fn to_bytes(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        let parts: [&[u8]; 4] = [
            &self.size.to_le_bytes(),
            &self.stored.to_le_bytes(),
            &self.crc.to_le_bytes(),
            &self.id,
        ];
        bytes
            .iter_mut()
            .zip(parts.concat())
            .for_each(|(room, byte)| *room = byte);
        bytes
    }

    /// Reads a row whose sizes can be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8; ROW_BYTES]) -> Result<Row, String> {
        let [s0, s1, s2, s3, t0, t1, t2, t3, c0, c1, c2, c3, id @ ..] = *bytes;
        let row = Row {
            size: u32::from_le_bytes([s0, s1, s2, s3]),
            stored: u32::from_le_bytes([t0, t1, t2, t3]),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            id,
        };
        match row {
            Row { size, .. } if size == 0 || size as usize > BLOCK_BYTES => {
                Err(format!("a block has {size} bytes, expected 1 to {BLOCK_BYTES}"))
            }
            Row { size, stored, .. } if stored == 0 || stored > size => Err(format!(
                "a block of {size} bytes is stored in {stored}, expected 1 to {size}"
            )),
            row => Ok(row),
        }
    }
}

/// A block as it will lie in a pack.
pub struct Stored {
    /// What is known of it.
    pub row: Row,
    /// The bytes.
    pub bytes: Vec<u8>,
}

thread_local! {
    /// Contexts of a quarter of a megabyte and more, made once for each thread.
    static COMPRESSOR: std::cell::RefCell<Option<zstd::bulk::Compressor<'static>>> = const { std::cell::RefCell::new(None) };
}

/// Compresses a block; stored as it is where that is not larger.
pub fn store(block: &[u8], id: Digest) -> Stored {
    let compressed = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        slot.as_mut()?.compress(block).ok()
    });
    let bytes = compressed
        .filter(|compressed| compressed.len() < block.len())
        .unwrap_or_else(|| block.to_vec());
    let row = Row {
        size: block.len() as u32,
        stored: bytes.len() as u32,
        crc: crc32fast::hash(&bytes),
        id,
    };
    Stored { row, bytes }
}

/// The block itself.
///
/// # Errors
/// What is wrong with the stored bytes: their number, their CRC, or what they decompress to.
pub fn load(row: &Row, stored: &[u8]) -> Result<Vec<u8>, String> {
    check(row, stored)?;
    if row.stored == row.size {
        return Ok(stored.to_vec());
    }
    let size = (row.size as usize).min(BLOCK_BYTES);
    match zstd::bulk::decompress(stored, size) {
        Ok(block) if block.len() == size => Ok(block),
        Ok(block) => Err(format!("decompresses to {} bytes, expected {size}", block.len())),
        Err(why) => Err(format!("does not decompress: {why}")),
    }
}

/// Whether the stored bytes are those that were written.
///
/// # Errors
/// Their number or their CRC.
pub fn check(row: &Row, stored: &[u8]) -> Result<(), String> {
    if stored.len() != row.stored as usize {
        return Err(format!("{} bytes are there, expected {}", stored.len(), row.stored));
    }
    match crc32fast::hash(stored) {
        crc if crc == row.crc => Ok(()),
        crc => Err(format!("its CRC-32 is {crc:08x}, expected {:08x}", row.crc)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_comes_back_whether_it_compresses_or_not() {
        let noise: Vec<u8> = (0..70_000u32)
            .flat_map(|i| crc32fast::hash(&i.to_le_bytes()).to_le_bytes())
            .collect();
        for block in [&[7; BLOCK_BYTES][..], &noise, &[1]] {
            let stored = store(block, [3; 32]);
            assert_eq!(load(&stored.row, &stored.bytes).unwrap(), block);
            assert_eq!(Row::parse(&stored.row.to_bytes()).unwrap(), stored.row);
        }
        assert_eq!(store(&noise, [0; 32]).bytes, noise);
    }

    #[test]
    fn every_flipped_bit_of_a_stored_block_is_found() {
        let stored = store(&b"ledger ".repeat(400), [0; 32]);
        for bit in 0..stored.bytes.len() * 8 {
            let mut bytes = stored.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(load(&stored.row, &bytes).is_err());
        }
        assert!(load(&stored.row, &stored.bytes[1..]).is_err());
    }

    #[test]
    fn a_frame_that_grows_beyond_its_row_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        let row = Row {
            size: 1 << 20,
            stored: bomb.len() as u32,
            crc: crc32fast::hash(&bomb),
            id: [0; 32],
        };
        assert!(load(&row, &bomb).is_err());
        let mut bytes = row.to_bytes();
        bytes[3] = 1;
        assert!(Row::parse(&bytes).is_err());
    }
}
