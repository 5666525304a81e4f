//! The document of a manifest: JSON, compressed, and no larger than its stored bytes let a reader believe.

use std::io::Read;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What a manifest says of this program.
pub const MADE_BY: &str = concat!("rekindle ", env!("CARGO_PKG_VERSION"));
/// JSON of digests and paths compresses about threefold; a document that grows more than this is no manifest.
const MAX_GROWTH: u64 = 64;
/// zstd keeps so much of what it has decompressed, as a power of two: at level 3 it asks for 2 MiB.
const MAX_WINDOW_LOG: u32 = 23;
/// How a zstd frame begins that is skipped; four bytes of its length follow.
const SKIPPED: [u8; 4] = 0x184d_2a50_u32.to_le_bytes();
/// Bytes that any document may have.
const SMALL_BYTES: u64 = 60 << 10;

/// A document as it is stored.
///
/// # Errors
/// If it can't be compressed.
pub fn compress(document: &[u8]) -> Result<Vec<u8>, String> {
    let mut stored = zstd::bulk::compress(document, 3).map_err(|why| why.to_string())?;
    skip_to(&mut stored, document.len());
    Ok(stored)
}

/// Appends what zstd skips where a document of long, equal names became smaller than a reader believes ([`MAX_GROWTH`]).
fn skip_to(stored: &mut Vec<u8>, size: usize) {
    let believed = |stored: usize| (stored as u64).saturating_mul(MAX_GROWTH).max(SMALL_BYTES);
    if size as u64 <= believed(stored.len()) {
        return;
    }
    let length = (size / MAX_GROWTH as usize).saturating_sub(stored.len()) + 1;
    stored.extend_from_slice(&SKIPPED);
    stored.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    stored.resize(stored.len() + length, 0);
}

/// Reads a document that has so many bytes, whoever wrote it.
///
/// # Errors
/// What is wrong with it.
pub fn read<T: DeserializeOwned>(stored: &[u8], size: u64) -> Result<T, String> {
    let bound = (stored.len() as u64).saturating_mul(MAX_GROWTH).max(SMALL_BYTES);
    if size > bound {
        return Err(format!(
            "its document has {size} bytes, more than {} can hold",
            stored.len()
        ));
    }
    let mut document = Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1));
    let bounded = zstd::Decoder::new(stored).and_then(|mut decoder| {
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(decoder)
    });
    bounded
        .and_then(|decoder| decoder.take(size.saturating_add(1)).read_to_end(&mut document))
        .map_err(|why| format!("its document does not decompress: {why}"))?;
    if document.len() as u64 != size {
        return Err(format!("its document has {} bytes, expected {size}", document.len()));
    }
    serde_json::from_slice(&document).map_err(|why| format!("its document is not one: {why}{}", maker(&document)))
}

/// Says which program wrote a document, if it was another one: it may know what this one does not.
fn maker(document: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Maker {
        made_by: String,
    }
    match serde_json::from_slice::<Maker>(document) {
        Ok(Maker { made_by }) if made_by != MADE_BY => {
            format!("; {} wrote it, this is {MADE_BY}", crate::shown::excerpt(&made_by))
        }
        _ => String::new(),
    }
}
