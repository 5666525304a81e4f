//! SHA-256 of many messages at once, through vector lanes or two streams; of one, see the module `sha256`.

use super::lanes;
pub use super::sha256::*;

/// SHA-256 of every message, appended to `digests` in order. Faster than one by one where the processor has AVX-512 or SHA
/// instructions (see the module `lanes`).
pub fn sha256_many(messages: &[&[u8]], digests: &mut Vec<Digest>) {
    if messages.len() < 2 || !lanes::digest_many(&lanes::START, messages, digests) {
        digests.extend(messages.iter().map(|message| sha256(message)));
    }
}

/// SHA-256 of every pair in `row`, appended to `above` in order: a row of a Merkle tree from the one below it. What has no
/// partner is left out.
pub fn sha256_pairs(row: &[Digest], above: &mut Vec<Digest>) {
    if row.len() < 4 || !lanes::digest_pairs(row, above) {
        above.extend(row.as_chunks::<2>().0.iter().map(|pair| sha256(pair.as_flattened())));
    }
}

/// How [`sha256_many`] digests on this processor, for a report.
pub fn how_many_are_digested() -> &'static str {
    lanes::fastest().map_or("one message at a time", lanes::Way::as_str)
}
