//! What an archive's objects hold: manifests and packs.

use sha2::{Digest, Sha256};

use crate::archive::block::{self, Row};
use crate::archive::manifest::Manifest;
use crate::archive::pack;
use crate::archive::path::{unescape, unescape_part};

/// A manifest, with the digest that it must have put after it; its document as JSON; a pack; a path.
pub fn archive(bytes: &[u8]) {
    let _ = Manifest::parse(bytes);
    let body = bytes.get(..bytes.len().saturating_sub(32)).unwrap_or_default();
    for body in [bytes, body] {
        let whole = [body, &Sha256::digest(body)].concat();
        if let Ok(manifest) = Manifest::parse(&whole) {
            let again = manifest.to_bytes().map(|bytes| Manifest::parse(&bytes).is_ok());
            assert_eq!(
                again,
                Ok(true),
                "a manifest that was read can't be written and read again"
            );
        }
    }
    // The document as it is, without the frame that no mutation gets through.
    if let Ok(document) = serde_json::from_slice(bytes) {
        let _ = Manifest::new(document, Vec::new());
    }
    for bytes in [bytes.to_vec(), [&pack::MAGIC[..], bytes].concat()] {
        let _ = pack::rows(&bytes);
    }
    if let Some((row, rest)) = bytes.split_first_chunk()
        && let Ok(row) = Row::parse(row)
    {
        // A block of zeros is a few bytes and a megabyte: here it may be no more than a small multiple.
        let row = Row {
            size: row.size.min((rest.len() as u32).saturating_mul(32)),
            crc: crc32fast::hash(rest),
            stored: (rest.len() as u32).min(row.size),
            ..row
        };
        let _ = block::load(&row, rest);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(path) = unescape(&text) {
        assert!(!path.is_absolute() && !path.components().any(|part| part.as_os_str() == ".."));
    }
    let _ = unescape_part(&text);
    let _ = pack::parse_name(&text);
}
