//! SHA-256 of many messages at once: sixteen lanes of AVX-512, each with a message of its own.
//!
//! Digesting is the wall of this engine, and a ledger is millions of short, independent messages. One instruction works
//! on the same word of sixteen of them; a lane whose message ends takes the next one, so lengths may differ freely. On a
//! processor without AVX-512 the messages go one by one through the provider. The tests hold both to the same digests.

#![allow(unsafe_code)] // vector instructions need it; each block says why it is sound

use super::digest::{Digest, INITIAL_STATE, state_to_digest};

/// A state of SHA-256 after a whole number of blocks, and how many bytes those were.
#[derive(Clone, Copy)]
pub(super) struct Prefix {
    /// The state.
    pub state: [u32; 8],
    /// Bytes hashed so far, a multiple of 64.
    pub bytes: u64,
}

/// The start of a message.
pub(super) const START: Prefix = Prefix {
    state: INITIAL_STATE,
    bytes: 0,
};

/// Digests of `messages`, each behind `prefix`, appended to `digests` in order. Answers false, having done nothing, where the
/// processor can't.
pub(super) fn digest_many(prefix: &Prefix, messages: &[&[u8]], digests: &mut Vec<Digest>) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw") {
        let start = digests.len();
        digests.resize(start + messages.len(), [0; 32]);
        if let Some(out) = digests.get_mut(start..) {
            // SAFETY: the processor has the two features that the function is compiled for.
            unsafe { avx512::run(prefix, messages, out) };
        }
        return true;
    }
    let _ = (prefix, messages, digests);
    false
}

/// One lane's message, cut into blocks: those inside the message, then one or two that hold its end and the padding.
struct Lane<'a> {
    /// Which message; none is [`IDLE`].
    message: usize,
    /// Blocks done.
    done: usize,
    /// Blocks in all; for an idle lane, more than any other has left.
    blocks: usize,
    body: &'a [[u8; 64]],
    tail: [[u8; 64]; 2],
}

/// A lane without a message.
const IDLE: usize = usize::MAX;

impl<'a> Lane<'a> {
    fn idle() -> Self {
        Lane {
            message: IDLE,
            done: 0,
            blocks: IDLE,
            body: &[],
            tail: [[0; 64]; 2],
        }
    }

    fn start(&mut self, index: usize, message: &'a [u8], prefix_bytes: u64) {
        let (body, rest) = message.as_chunks::<64>();
        // The end mark takes one byte, the length eight.
        let tail_blocks = if rest.len() < 56 { 1 } else { 2 };
        self.message = index;
        self.done = 0;
        self.blocks = body.len() + tail_blocks;
        self.body = body;
        self.tail = [[0; 64]; 2];
        let tail = self.tail.as_flattened_mut();
        if let Some((end, behind)) = tail.split_at_mut_checked(rest.len()) {
            end.copy_from_slice(rest);
            if let Some(mark) = behind.first_mut() {
                *mark = 0x80;
            }
        }
        let bits = prefix_bytes.wrapping_add(message.len() as u64).wrapping_mul(8);
        if let Some(length) = self
            .tail
            .get_mut(tail_blocks - 1)
            .and_then(|block| block.last_chunk_mut())
        {
            *length = bits.to_be_bytes();
        }
    }

    /// The next block; whatever, for an idle lane.
    #[inline]
    fn next_block(&mut self) -> &[u8; 64] {
        let at = self.done;
        self.done += 1;
        match self.body.get(at) {
            Some(block) => block,
            None => self.tail.get(at - self.body.len()).unwrap_or(&self.tail[0]),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Digest, IDLE, Lane, Prefix, state_to_digest};

    const LANES: usize = 16;

    /// Round constants (FIPS 180-4, section 4.2.2).
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

    /// Word i of the states of all lanes.
    type States = [[u32; LANES]; 8];

    /// Digests every message. Lanes are refilled as they run empty.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn run(prefix: &Prefix, messages: &[&[u8]], out: &mut [Digest]) {
        let mut lanes: [Lane<'_>; LANES] = std::array::from_fn(|_| Lane::idle());
        let mut states: States = [[0; LANES]; 8];
        let mut next = 0;
        loop {
            for (number, lane) in lanes.iter_mut().enumerate() {
                if lane.message == IDLE && next < messages.len() {
                    lane.start(next, messages.get(next).unwrap_or(&NOTHING), prefix.bytes);
                    set_state(&mut states, number, &prefix.state);
                    next += 1;
                }
            }
            // All lanes go on together until the first one is through.
            let blocks = lanes.iter().map(|lane| lane.blocks - lane.done).min().unwrap_or(0);
            if lanes.iter().all(|lane| lane.message == IDLE) {
                return;
            }
            compress(&mut states, &mut lanes, blocks);
            for (number, lane) in lanes.iter_mut().enumerate() {
                if lane.message == IDLE {
                    lane.done = 0;
                } else if lane.done == lane.blocks {
                    if let Some(digest) = out.get_mut(lane.message) {
                        *digest = state_to_digest(&state(&states, number));
                    }
                    lane.message = IDLE;
                    lane.blocks = IDLE;
                    lane.done = 0;
                    lane.body = &[];
                }
            }
        }
    }

    static NOTHING: &[u8] = &[];

    fn set_state(states: &mut States, lane: usize, state: &[u32; 8]) {
        for (words, word) in states.iter_mut().zip(state) {
            if let Some(slot) = words.get_mut(lane) {
                *slot = *word;
            }
        }
    }

    fn state(states: &States, lane: usize) -> [u32; 8] {
        std::array::from_fn(|i| states.get(i).and_then(|words| words.get(lane)).copied().unwrap_or(0))
    }

    /// Hashes `blocks` more blocks of every lane.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(states: &mut States, lanes: &mut [Lane<'_>; LANES], blocks: usize) {
        let mut vectors: [__m512i; 8] = std::array::from_fn(|_| _mm512_setzero_si512());
        for (vector, words) in vectors.iter_mut().zip(states.iter()) {
            // SAFETY: `words` is 64 readable bytes; the load needs no alignment.
            *vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        }
        for _ in 0..blocks {
            let mut rows: [__m512i; LANES] = std::array::from_fn(|_| _mm512_setzero_si512());
            for (row, lane) in rows.iter_mut().zip(lanes.iter_mut()) {
                // SAFETY: a block is 64 readable bytes; the load needs no alignment.
                *row = unsafe { _mm512_loadu_si512(lane.next_block().as_ptr().cast()) };
            }
            let words = transpose(rows);
            rounds(&mut vectors, words);
        }
        for (vector, words) in vectors.iter().zip(states.iter_mut()) {
            // SAFETY: `words` is 64 writable bytes; the store needs no alignment.
            unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *vector) };
        }
    }

    /// From one row for each lane to one vector for each word, big endian words made native.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
        let zero = _mm512_setzero_si512();
        let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
        let mut pairs = [zero; LANES];
        for (two, rows) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(rows.as_chunks::<2>().0) {
            let a = _mm512_shuffle_epi8(rows[0], swap);
            let b = _mm512_shuffle_epi8(rows[1], swap);
            *two = [_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)];
        }
        // Vector 4i+j now gets, in its 128-bit part k, word 4k+j of rows 4i to 4i+3.
        let mut quads = [zero; LANES];
        for (four, pairs) in quads.as_chunks_mut::<4>().0.iter_mut().zip(pairs.as_chunks::<4>().0) {
            *four = [
                _mm512_unpacklo_epi64(pairs[0], pairs[2]),
                _mm512_unpackhi_epi64(pairs[0], pairs[2]),
                _mm512_unpacklo_epi64(pairs[1], pairs[3]),
                _mm512_unpackhi_epi64(pairs[1], pairs[3]),
            ];
        }
        let [q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15] = quads;
        let [w0, w4, w8, w12] = gather(q0, q4, q8, q12);
        let [w1, w5, w9, w13] = gather(q1, q5, q9, q13);
        let [w2, w6, w10, w14] = gather(q2, q6, q10, q14);
        let [w3, w7, w11, w15] = gather(q3, q7, q11, q15);
        [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
    }

    /// The 128-bit parts 0, 1, 2 and 3 of four vectors, each as one vector.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn gather(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
        let even_ab = _mm512_shuffle_i32x4::<0x88>(a, b);
        let even_cd = _mm512_shuffle_i32x4::<0x88>(c, d);
        let odd_ab = _mm512_shuffle_i32x4::<0xdd>(a, b);
        let odd_cd = _mm512_shuffle_i32x4::<0xdd>(c, d);
        [
            _mm512_shuffle_i32x4::<0x88>(even_ab, even_cd),
            _mm512_shuffle_i32x4::<0x88>(odd_ab, odd_cd),
            _mm512_shuffle_i32x4::<0xdd>(even_ab, even_cd),
            _mm512_shuffle_i32x4::<0xdd>(odd_ab, odd_cd),
        ]
    }

    /// Exclusive or of three vectors.
    const XOR: i32 = 0x96;
    /// Bits of the second where the first has ones, of the third where it has zeros.
    const CHOOSE: i32 = 0xca;
    /// The majority of three bits.
    const MAJORITY: i32 = 0xe8;

    /// The 64 rounds of one block (FIPS 180-4, section 6.2.2), on all lanes.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn rounds(states: &mut [__m512i; 8], words: [__m512i; LANES]) {
        let mut words = words;
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *states;
        // Written out by eights, where the eight variables are back in their places: no register is ever moved.
        macro_rules! round {
            ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $input:expr) => {
                let sum1 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<6>($e),
                    _mm512_ror_epi32::<11>($e),
                    _mm512_ror_epi32::<25>($e),
                );
                let choice = _mm512_ternarylogic_epi32::<CHOOSE>($e, $f, $g);
                let t1 = _mm512_add_epi32(_mm512_add_epi32($h, $input), _mm512_add_epi32(sum1, choice));
                let sum0 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<2>($a),
                    _mm512_ror_epi32::<13>($a),
                    _mm512_ror_epi32::<22>($a),
                );
                let majority = _mm512_ternarylogic_epi32::<MAJORITY>($a, $b, $c);
                $d = _mm512_add_epi32($d, t1);
                $h = _mm512_add_epi32(t1, _mm512_add_epi32(sum0, majority));
            };
        }
        macro_rules! eight_rounds {
            ($words:expr, $constants:expr) => {
                let [w0, w1, w2, w3, w4, w5, w6, w7] = $words;
                let [k0, k1, k2, k3, k4, k5, k6, k7] = $constants;
                round!(a b c d e f g h, add(w0, k0));
                round!(h a b c d e f g, add(w1, k1));
                round!(g h a b c d e f, add(w2, k2));
                round!(f g h a b c d e, add(w3, k3));
                round!(e f g h a b c d, add(w4, k4));
                round!(d e f g h a b c, add(w5, k5));
                round!(c d e f g h a b, add(w6, k6));
                round!(b c d e f g h a, add(w7, k7));
            };
        }
        for (sixteen, constants) in ROUND_CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
            if sixteen > 0 {
                schedule(&mut words);
            }
            let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = words;
            let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15] = *constants;
            eight_rounds!([w0, w1, w2, w3, w4, w5, w6, w7], [k0, k1, k2, k3, k4, k5, k6, k7]);
            eight_rounds!(
                [w8, w9, w10, w11, w12, w13, w14, w15],
                [k8, k9, k10, k11, k12, k13, k14, k15]
            );
        }
        for (state, add) in states.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *state = _mm512_add_epi32(*state, add);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn add(word: __m512i, constant: u32) -> __m512i {
        _mm512_add_epi32(word, _mm512_set1_epi32(constant as i32))
    }

    /// The next sixteen words of the message schedule, in place.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn schedule(words: &mut [__m512i; LANES]) {
        macro_rules! next {
            ($($t:literal)*) => {$(
                let before = words[($t + 1) % 16];
                let sigma0 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<7>(before),
                    _mm512_ror_epi32::<18>(before),
                    _mm512_srli_epi32::<3>(before),
                );
                let recent = words[($t + 14) % 16];
                let sigma1 = _mm512_ternarylogic_epi32::<XOR>(
                    _mm512_ror_epi32::<17>(recent),
                    _mm512_ror_epi32::<19>(recent),
                    _mm512_srli_epi32::<10>(recent),
                );
                let sum = _mm512_add_epi32(words[$t], words[($t + 9) % 16]);
                words[$t] = _mm512_add_epi32(sum, _mm512_add_epi32(sigma0, sigma1));
            )*};
        }
        next!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::digest::sha256_parts;

    #[test]
    fn lanes_give_the_digests_of_one_message_at_a_time() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i * 31) as u8).collect();
        // Every length around the block boundaries, and very different lengths beside each other.
        let lengths = (0..300).chain([4999, 0, 1000, 64, 3, 4096]).chain(50..70);
        let messages: Vec<&[u8]> = lengths.map(|length| &data[..length]).collect();
        for count in [0, 1, 15, 16, 17, messages.len()] {
            let mut digests = vec![[9; 32]];
            if digest_many(&START, &messages[..count], &mut digests) {
                assert_eq!(digests.len(), count + 1);
                for (digest, message) in digests[1..].iter().zip(&messages) {
                    assert_eq!(*digest, sha256_parts(&[message]), "{} bytes", message.len());
                }
            }
        }
    }
}
