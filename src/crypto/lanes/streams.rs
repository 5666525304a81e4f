//! Two streams of SHA instructions: each message's steps wait for one another, those of two messages don't.
//!
//! A stream whose message ends takes the next one, so lengths may differ freely. States are in the order that the
//! instructions want: words a, b, e, f in one vector, c, d, g, h in the other.

#![allow(clippy::indexing_slicing, clippy::needless_range_loop)] // loops to N over arrays of N, which the compiler unrolls

use std::arch::x86_64::*;

use super::{AFTER_64_BYTES, Digest, Prefix, ROUND_CONSTANTS, START, blocks_of};

type State = [__m128i; 2];

/// The message of one stream.
#[derive(Clone, Copy, Default)]
struct Stream<'a> {
    /// Which message it is.
    number: usize,
    /// Its whole blocks.
    body: &'a [[u8; 64]],
    /// Blocks done.
    done: usize,
    /// Blocks in all; none where there is no message.
    blocks: usize,
}

impl Stream<'_> {
    /// The blocks that stand side by side and are still to be done.
    #[inline]
    fn next_blocks<'s>(&'s self, tail: &'s [[u8; 64]; 2]) -> &'s [[u8; 64]] {
        match self.body.get(self.done..) {
            Some(blocks) if !blocks.is_empty() => blocks,
            _ => tail
                .get(self.done - self.body.len()..self.blocks - self.body.len())
                .unwrap_or_default(),
        }
    }
}

/// Digests the messages of these numbers after `prefix`, each into its place in `out`.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn run(prefix: &Prefix, messages: &[&[u8]], numbers: impl Iterator<Item = usize>, out: &mut [Digest]) {
    let start = from_words(&prefix.state);
    let mut waiting = numbers.filter_map(|number| Some((number, *messages.get(number)?)));
    let mut streams = [Stream::default(); 2];
    let mut tails = [[[0; 64]; 2]; 2];
    let mut states = [start; 2];
    loop {
        for i in 0..2 {
            if streams[i].done < streams[i].blocks {
                continue;
            }
            let Some((number, message)) = waiting.next() else {
                continue;
            };
            let (body, rest) = message.as_chunks::<64>();
            streams[i] = Stream {
                number,
                body,
                done: 0,
                blocks: blocks_of(message),
            };
            let bits = prefix.bytes.wrapping_add(message.len() as u64).wrapping_mul(8);
            pad(&mut tails[i], rest, streams[i].blocks - body.len(), bits);
            states[i] = start;
        }
        let [first, second] = &streams;
        match (first.done < first.blocks, second.done < second.blocks) {
            (true, true) => {
                let blocks = [first.next_blocks(&tails[0]), second.next_blocks(&tails[1])];
                let count = blocks[0].len().min(blocks[1].len());
                compress(&mut states, blocks, count);
                streams.iter_mut().for_each(|stream| stream.done += count);
            }
            (false, false) => return,
            (is_first, _) => {
                let i = usize::from(!is_first);
                let blocks = streams[i].next_blocks(&tails[i]);
                let count = blocks.len();
                let mut state = [states[i]];
                compress(&mut state, [blocks], count);
                [states[i]] = state;
                streams[i].done += count;
            }
        }
        for (stream, state) in streams.iter_mut().zip(&states) {
            if stream.done == stream.blocks && stream.blocks > 0 {
                if let Some(out) = out.get_mut(stream.number) {
                    *out = to_digest(state);
                }
                *stream = Stream::default();
            }
        }
    }
}

/// Puts what is left of a message into `tail`, with its end mark and its length.
#[inline]
fn pad(tail: &mut [[u8; 64]; 2], rest: &[u8], blocks: usize, bits: u64) {
    *tail = [[0; 64]; 2];
    let bytes = tail.as_flattened_mut();
    if let Some((end, after)) = bytes.split_at_mut_checked(rest.len()) {
        end.copy_from_slice(rest);
        if let Some(mark) = after.first_mut() {
            *mark = 0x80;
        }
    }
    if let Some(length) = tail.get_mut(blocks - 1).and_then(|block| block.last_chunk_mut()) {
        *length = bits.to_be_bytes();
    }
}

/// Digests messages of one block each, with the padding that is always the same.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn run_pairs(pairs: &[[u8; 64]], out: &mut [Digest]) {
    let start = from_words(&START.state);
    let (twos, rest) = pairs.as_chunks::<2>();
    let (outs, rest_out) = out.as_chunks_mut::<2>();
    for ([first, second], out) in twos.iter().zip(outs) {
        let mut states = [start; 2];
        compress(
            &mut states,
            [std::slice::from_ref(first), std::slice::from_ref(second)],
            1,
        );
        compress_padding(&mut states);
        *out = [to_digest(&states[0]), to_digest(&states[1])];
    }
    for (pair, out) in rest.iter().zip(rest_out) {
        let mut states = [start];
        compress(&mut states, [std::slice::from_ref(pair)], 1);
        compress_padding(&mut states);
        *out = to_digest(&states[0]);
    }
}

/// Four rounds of every stream, with the words and constants of each.
macro_rules! four_rounds {
    ($states:ident, $inputs:expr) => {
        for s in 0..N {
            let input = $inputs(s);
            let [abef, cdgh] = $states[s];
            let cdgh = _mm_sha256rnds2_epu32(cdgh, abef, input);
            let abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0e>(input));
            $states[s] = [abef, cdgh];
        }
    };
}

/// Hashes `count` blocks of each stream, which has as many.
#[target_feature(enable = "sha,sse4.1,ssse3")]
#[inline]
fn compress<const N: usize>(states: &mut [State; N], blocks: [&[[u8; 64]]; N], count: usize) {
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let mut state = *states;
    for at in 0..count {
        let before = state;
        let mut words = [[_mm_setzero_si128(); 4]; N];
        for s in 0..N {
            let block = &blocks[s][at];
            for (vector, bytes) in words[s].iter_mut().zip(block.as_chunks::<16>().0) {
                // SAFETY: 16 readable bytes; the load needs no alignment.
                let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
                *vector = _mm_shuffle_epi8(bytes, swap);
            }
        }
        macro_rules! step {
            ($($t:literal)*) => {$(
                let constants = four(&ROUND_CONSTANTS, $t);
                if $t >= 4 {
                    for s in 0..N {
                        let (recent, sum) = (words[s][($t + 3) % 4], _mm_sha256msg1_epu32(words[s][$t % 4], words[s][($t + 1) % 4]));
                        let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(recent, words[s][($t + 2) % 4]));
                        words[s][$t % 4] = _mm_sha256msg2_epu32(sum, recent);
                    }
                }
                four_rounds!(state, |s: usize| _mm_add_epi32(words[s][$t % 4], constants));
            )*};
        }
        step!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for s in 0..N {
            state[s] = [
                _mm_add_epi32(state[s][0], before[s][0]),
                _mm_add_epi32(state[s][1], before[s][1]),
            ];
        }
    }
    *states = state;
}

/// The rounds of the block that ends a message of 64 bytes: no schedule has to be made for it.
#[target_feature(enable = "sha,sse4.1,ssse3")]
#[inline]
fn compress_padding<const N: usize>(states: &mut [State; N]) {
    let mut state = *states;
    for t in 0..16 {
        let input = four(&AFTER_64_BYTES, t);
        four_rounds!(state, |_| input);
    }
    for s in 0..N {
        states[s] = [
            _mm_add_epi32(state[s][0], states[s][0]),
            _mm_add_epi32(state[s][1], states[s][1]),
        ];
    }
}

/// Words 4t to 4t+3.
#[target_feature(enable = "sha,sse4.1,ssse3")]
#[inline]
fn four(words: &[u32; 64], t: usize) -> __m128i {
    let four = &words.as_chunks::<4>().0[t];
    // SAFETY: 16 readable bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(four.as_ptr().cast()) }
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
#[inline]
fn from_words(words: &[u32; 8]) -> State {
    let [a, b, c, d, e, f, g, h] = words.map(|word| word as i32);
    [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
}

#[target_feature(enable = "sha,sse4.1,ssse3")]
#[inline]
fn to_digest(state: &State) -> Digest {
    let swap = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let [abef, cdgh] = *state;
    // From high to low: a b c d, then e f g h; all bytes turned round, they are big endian words in order.
    let abcd = _mm_shuffle_epi8(_mm_unpackhi_epi64(cdgh, abef), swap);
    let efgh = _mm_shuffle_epi8(_mm_unpacklo_epi64(cdgh, abef), swap);
    let mut digest = [0; 32];
    let (low, high) = digest.split_at_mut(16);
    // SAFETY: both halves are 16 writable bytes; the stores need no alignment.
    unsafe {
        _mm_storeu_si128(low.as_mut_ptr().cast(), abcd);
        _mm_storeu_si128(high.as_mut_ptr().cast(), efgh);
    }
    digest
}
