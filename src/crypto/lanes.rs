//! SHA-256 of many messages at once, in the fastest way that the processor has.
//!
//! Digesting is the wall of this engine, and a ledger is millions of short, independent messages. One message alone leaves
//! most of a processor idle: every step waits for the one before. Two ways fill it, each with messages of any lengths:
//!
//! | way | needs | what it does |
//! |---|---|---|
//! | sixteen lanes | AVX-512 (F, BW) | one instruction works on the same word of sixteen messages |
//! | two streams | SHA instructions | the instructions of two messages alternate, and hide each other's latency |
//!
//! Which is faster depends on the processor (lanes on Intel's, streams on some of AMD's), so where both can be had they
//! are timed once, in a tenth of a millisecond. Where there is neither, messages go one by one through the provider. The
//! tests hold every way that the machine has to the provider's digests.

#![allow(unsafe_code)] // vector instructions need it; each block says why it is sound

use std::sync::OnceLock;
use std::time::Instant;

use super::sha256::{Digest, INITIAL_STATE, Prefix};

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod streams;

/// The start of a message.
pub(super) const START: Prefix = Prefix {
    state: INITIAL_STATE,
    bytes: 0,
};

/// How many messages are digested at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Sixteen, by AVX-512.
    SixteenLanes,
    /// Two, by SHA instructions.
    TwoStreams,
}

impl Way {
    /// Its name in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::SixteenLanes => "sixteen lanes (AVX-512)",
            Way::TwoStreams => "two streams (SHA instructions)",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_there(self) -> bool {
        match self {
            Way::SixteenLanes => {
                std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw")
            }
            Way::TwoStreams => {
                std::arch::is_x86_feature_detected!("sha")
                    && std::arch::is_x86_feature_detected!("sse4.1")
                    && std::arch::is_x86_feature_detected!("ssse3")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_there(self) -> bool {
        false
    }
}

/// The ways that this processor has.
fn ways() -> impl Iterator<Item = Way> {
    [Way::SixteenLanes, Way::TwoStreams]
        .into_iter()
        .filter(|way| way.is_there())
}

/// The fastest way that this processor has; none where messages go one by one.
pub(super) fn fastest() -> Option<Way> {
    static FASTEST: OnceLock<Option<Way>> = OnceLock::new();
    *FASTEST.get_or_init(|| {
        let ways: Vec<Way> = ways().collect();
        match ways.len() {
            0 | 1 => ways.first().copied(),
            _ => fastest_of(&ways),
        }
    })
}

/// The way that takes least for a few dozen messages of an entry's size, at best. Ways take turns, so that whatever else is
/// going on disturbs all of them.
fn fastest_of(ways: &[Way]) -> Option<Way> {
    /// Rounds of each way: the best one was not disturbed.
    const ROUNDS: usize = 8;
    let bytes = [0x5a; 300];
    let messages = [bytes.as_slice(); 32];
    let mut digests = Vec::with_capacity(messages.len());
    let mut round = |way: &Way| {
        digests.clear();
        let began = Instant::now();
        digest_many_by(*way, &START, &messages, &mut digests);
        (began.elapsed(), *way)
    };
    let rounds = (0..ROUNDS).flat_map(|_| ways);
    rounds.map(&mut round).min_by_key(|(took, _)| *took).map(|(_, way)| way)
}

/// Digests of `messages`, each after `prefix`, appended to `digests` in order. Answers false, having done nothing, where the
/// processor can't.
pub(super) fn digest_many(prefix: &Prefix, messages: &[&[u8]], digests: &mut Vec<Digest>) -> bool {
    let Some(way) = fastest() else {
        return false;
    };
    digest_many_by(way, prefix, messages, digests);
    true
}

/// Digests of the pairs in `row`, appended to `above`: a row of a Merkle tree from the one below. What has no partner is
/// left out. Answers false, having done nothing, where the processor can't.
pub(super) fn digest_pairs(row: &[Digest], above: &mut Vec<Digest>) -> bool {
    let Some(way) = fastest() else {
        return false;
    };
    digest_pairs_by(way, row, above);
    true
}

#[cfg(target_arch = "x86_64")]
fn digest_many_by(way: Way, prefix: &Prefix, messages: &[&[u8]], digests: &mut Vec<Digest>) {
    let out = grow(digests, messages.len());
    match way {
        // SAFETY: the processor has the features that the function is compiled for (`Way::is_there`).
        Way::SixteenLanes => unsafe { avx512::run(prefix, messages, out) },
        // SAFETY: as above.
        Way::TwoStreams => unsafe { streams::run(prefix, messages, 0..messages.len(), out) },
    }
}

#[cfg(target_arch = "x86_64")]
fn digest_pairs_by(way: Way, row: &[Digest], above: &mut Vec<Digest>) {
    let pairs = pairs_of(row);
    let out = grow(above, pairs.len());
    match way {
        // SAFETY: the processor has the features that the function is compiled for (`Way::is_there`).
        Way::SixteenLanes => unsafe { avx512::run_pairs(pairs, out) },
        // SAFETY: as above.
        Way::TwoStreams => unsafe { streams::run_pairs(pairs, out) },
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn digest_many_by(_way: Way, _prefix: &Prefix, _messages: &[&[u8]], _digests: &mut Vec<Digest>) {}

#[cfg(not(target_arch = "x86_64"))]
fn digest_pairs_by(_way: Way, _row: &[Digest], _above: &mut Vec<Digest>) {}

/// Room for `more` digests at the end.
#[cfg(target_arch = "x86_64")]
fn grow(digests: &mut Vec<Digest>, more: usize) -> &mut [Digest] {
    let start = digests.len();
    digests.resize(start + more, [0; 32]);
    digests.get_mut(start..).unwrap_or_default()
}

/// Two digests side by side are one block.
#[cfg(target_arch = "x86_64")]
fn pairs_of(row: &[Digest]) -> &[[u8; 64]] {
    row.as_flattened().as_chunks().0
}

/// Blocks that a message takes with its padding: the end mark is one byte, the length eight.
#[cfg(target_arch = "x86_64")]
#[inline]
fn blocks_of(message: &[u8]) -> usize {
    (message.len() + 9).div_ceil(64)
}

/// Round constants (FIPS 180-4, section 4.2.2).
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ROUND_CONSTANTS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/// What the rounds add for the second block of a 64-byte message, which is always the same: schedule and constants.
#[cfg(target_arch = "x86_64")]
const AFTER_64_BYTES: [u32; 64] = schedule_of_the_padding();

#[cfg(target_arch = "x86_64")]
#[allow(clippy::indexing_slicing)] // evaluated by the compiler, which would refuse an index out of bounds
const fn schedule_of_the_padding() -> [u32; 64] {
    let mut words = [0u32; 64];
    words[0] = 0x8000_0000;
    words[15] = 512;
    let mut t = 16;
    while t < 64 {
        let (before, recent) = (words[t - 15], words[t - 2]);
        let sigma0 = before.rotate_right(7) ^ before.rotate_right(18) ^ before >> 3;
        let sigma1 = recent.rotate_right(17) ^ recent.rotate_right(19) ^ recent >> 10;
        words[t] = words[t - 16]
            .wrapping_add(sigma0)
            .wrapping_add(words[t - 7])
            .wrapping_add(sigma1);
        t += 1;
    }
    let mut t = 0;
    while t < 64 {
        words[t] = words[t].wrapping_add(ROUND_CONSTANTS[t]);
        t += 1;
    }
    words
}

#[cfg(test)]
mod tests;
