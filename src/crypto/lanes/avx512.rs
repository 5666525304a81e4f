//! Sixteen lanes of AVX-512: word i of sixteen messages in one vector.
//!
//! Lanes go on together, so messages are sorted by their number of blocks first, within as many as stay in the caches. A
//! message much longer than the next one would leave fifteen lanes idle: it goes alone.

use std::arch::x86_64::*;

use super::{AFTER_64_BYTES, Digest, Prefix, ROUND_CONSTANTS, Way, blocks_of, streams};
use crate::crypto::sha256::{INITIAL_STATE, sha256, sha256_after};

const LANES: usize = 16;

/// Word i of the states of all lanes.
type States = [__m512i; 8];

/// Messages sorted together: entries of a few hundred bytes then still come from the second-level cache.
const SORTED: usize = 1024;

/// A step of all lanes takes as long as about so many blocks alone.
const STEP: usize = 8;

/// Digests every message after `prefix` into its place in `out`, which is as long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn run(prefix: &Prefix, messages: &[&[u8]], out: &mut [Digest]) {
    for (messages, out) in messages.chunks(SORTED).zip(out.chunks_mut(SORTED)) {
        let mut order = [0; SORTED];
        let order = sort(messages, &mut order);
        let mut alone = [0; SORTED];
        let mut alone_count = 0;
        let mut rest = order;
        while let Some(group) = rest.get(..rest.len().min(LANES)).filter(|group| !group.is_empty()) {
            let taken = match worth_lanes(messages, group) {
                true => {
                    digest_group(prefix, messages, group, out);
                    group.len()
                }
                false => {
                    for (slot, number) in alone.iter_mut().skip(alone_count).zip(group.iter().take(1)) {
                        *slot = *number;
                    }
                    alone_count += 1;
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        digest_alone(prefix, messages, alone.get(..alone_count).unwrap_or_default(), out);
    }
}

/// The numbers of the messages, those of the most blocks first.
fn sort<'o>(messages: &[&[u8]], order: &'o mut [u16; SORTED]) -> &'o [u16] {
    /// Messages of so many blocks and more are one class: there are few, and they are long.
    const CLASSES: usize = 64;
    let class = |message: &[u8]| CLASSES - blocks_of(message).min(CLASSES);
    let mut ends = [0u16; CLASSES];
    for message in messages {
        if let Some(count) = ends.get_mut(class(message)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for end in &mut ends {
        let count = *end;
        *end = sum;
        sum += count;
    }
    for (number, message) in messages.iter().enumerate() {
        if let Some(end) = ends.get_mut(class(message)) {
            if let Some(slot) = order.get_mut(usize::from(*end)) {
                *slot = number as u16;
            }
            *end += 1;
        }
    }
    let [longest, ..] = ends;
    let order = order.get_mut(..messages.len()).unwrap_or_default();
    if let Some(long) = order.get_mut(..usize::from(longest)) {
        long.sort_unstable_by_key(|number| std::cmp::Reverse(messages.get(usize::from(*number)).map(|m| m.len())));
    }
    order
}

/// Whether it pays to digest the group on all lanes; if not, its first message goes alone.
#[inline]
fn worth_lanes(messages: &[&[u8]], group: &[u16]) -> bool {
    let mut blocks = group.iter().map(|number| {
        messages
            .get(usize::from(*number))
            .map_or(0, |message| blocks_of(message))
    });
    let longest = blocks.next().unwrap_or(0);
    let second = blocks.next().unwrap_or(0);
    if (longest - second.min(longest)) * STEP > longest {
        return false;
    }
    group.len() == LANES || longest + second + blocks.sum::<usize>() > longest * STEP
}

/// Digests messages that no lanes are worth.
fn digest_alone(prefix: &Prefix, messages: &[&[u8]], alone: &[u16], out: &mut [Digest]) {
    let numbers = alone.iter().map(|number| usize::from(*number));
    if Way::TwoStreams.is_there() {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { streams::run(prefix, messages, numbers, out) };
        return;
    }
    for number in numbers {
        if let (Some(message), Some(out)) = (messages.get(number), out.get_mut(number)) {
            *out = match prefix.bytes {
                0 => sha256(message),
                _ => sha256_after(prefix, message),
            };
        }
    }
}

/// One lane's message.
#[derive(Clone, Copy)]
struct Lane<'a> {
    /// Its whole blocks.
    body: &'a [[u8; 64]],
    /// What is left, less than a block.
    rest: &'a [u8],
    /// Blocks with the padding; none in an idle lane.
    blocks: usize,
    /// Length, in bits, of all that is hashed: what the last block ends with.
    bits: u64,
}

impl<'a> Lane<'a> {
    const IDLE: Lane<'static> = Lane {
        body: &[],
        rest: &[],
        blocks: 0,
        bits: 0,
    };

    #[inline]
    fn new(message: &'a [u8], prefix_bytes: u64) -> Self {
        let (body, rest) = message.as_chunks::<64>();
        Lane {
            body,
            rest,
            blocks: blocks_of(message),
            bits: prefix_bytes.wrapping_add(message.len() as u64).wrapping_mul(8),
        }
    }

    /// Block `at` of the message; whatever, once it has ended.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn block(&self, at: usize) -> __m512i {
        match self.body.get(at) {
            // SAFETY: a block is 64 readable bytes; the load needs no alignment.
            Some(block) => unsafe { _mm512_loadu_si512(block.as_ptr().cast()) },
            None => self.padded(at),
        }
    }

    /// A block after the whole ones: the rest of the message and the end mark, the length, or both.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn padded(&self, at: usize) -> __m512i {
        let mut block = _mm512_setzero_si512();
        if at == self.body.len() {
            let end = 1u64 << (self.rest.len() % 64);
            // SAFETY: bytes that the mask leaves out are not read: those of `rest` are.
            let rest = unsafe { _mm512_maskz_loadu_epi8(end - 1, self.rest.as_ptr().cast()) };
            block = _mm512_mask_mov_epi8(rest, end, _mm512_set1_epi8(-0x80));
        }
        if at + 1 == self.blocks {
            let length = _mm512_set1_epi64(self.bits.swap_bytes() as i64);
            block = _mm512_mask_mov_epi64(block, 0x80, length);
        }
        block
    }
}

/// Digests up to sixteen messages, those of the most blocks first.
#[target_feature(enable = "avx512f,avx512bw")]
fn digest_group(prefix: &Prefix, messages: &[&[u8]], group: &[u16], out: &mut [Digest]) {
    let mut lanes = [Lane::IDLE; LANES];
    for (lane, number) in lanes.iter_mut().zip(group) {
        if let Some(message) = messages.get(usize::from(*number)) {
            *lane = Lane::new(message, prefix.bytes);
        }
    }
    let [first, ..] = &lanes;
    let mut states = all_lanes(&prefix.state);
    for at in 0..first.blocks {
        let mut active = 0;
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (number, (row, lane)) in rows.iter_mut().zip(&lanes).enumerate() {
            active |= u16::from(at < lane.blocks) << number;
            *row = lane.block(at);
        }
        rounds(&mut states, transpose(rows), active);
    }
    let mut digests = [[0; 32]; LANES];
    store(&states, &mut digests);
    for (digest, number) in digests.iter().zip(group) {
        if let Some(out) = out.get_mut(usize::from(*number)) {
            *out = *digest;
        }
    }
}

/// Digests messages of one block each, with the padding that is always the same.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn run_pairs(pairs: &[[u8; 64]], out: &mut [Digest]) {
    let (groups, rest) = pairs.as_chunks::<LANES>();
    let (outs, rest_out) = out.as_chunks_mut::<LANES>();
    for (group, out) in groups.iter().zip(outs) {
        digest_pairs(group, out);
    }
    if rest.len() > STEP {
        let mut group = [[0; 64]; LANES];
        group.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let mut digests = [[0; 32]; LANES];
        digest_pairs(&group, &mut digests);
        rest_out.iter_mut().zip(digests).for_each(|(to, from)| *to = from);
    } else if Way::TwoStreams.is_there() {
        // SAFETY: the processor has the features that the function is compiled for.
        unsafe { streams::run_pairs(rest, rest_out) };
    } else {
        for (out, pair) in rest_out.iter_mut().zip(rest) {
            *out = sha256(pair);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn digest_pairs(pairs: &[[u8; 64]; LANES], out: &mut [Digest; LANES]) {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, pair) in rows.iter_mut().zip(pairs) {
        // SAFETY: a pair is 64 readable bytes; the load needs no alignment.
        *row = unsafe { _mm512_loadu_si512(pair.as_ptr().cast()) };
    }
    let mut states = all_lanes(&INITIAL_STATE);
    rounds(&mut states, transpose(rows), u16::MAX);
    padding_rounds(&mut states);
    store(&states, out);
}

/// The same state in every lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn all_lanes(state: &[u32; 8]) -> States {
    let mut states = [_mm512_setzero_si512(); 8];
    for (vector, word) in states.iter_mut().zip(state) {
        *vector = all(*word);
    }
    states
}

/// Big endian words made native, and the other way round.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn swap_bytes() -> __m512i {
    _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3))
}

/// From one vector for each word to a digest for each lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn store(states: &States, out: &mut [Digest; LANES]) {
    let swap = swap_bytes();
    let [a, b, c, d, e, f, g, h] = *states;
    let first = quads([a, b, c, d], swap);
    let second = quads([e, f, g, h], swap);
    // Part k of quad j has four words of lane 4k+j.
    for (j, (first, second)) in first.into_iter().zip(second).enumerate() {
        let first = [
            _mm512_extracti32x4_epi32::<0>(first),
            _mm512_extracti32x4_epi32::<1>(first),
            _mm512_extracti32x4_epi32::<2>(first),
            _mm512_extracti32x4_epi32::<3>(first),
        ];
        let second = [
            _mm512_extracti32x4_epi32::<0>(second),
            _mm512_extracti32x4_epi32::<1>(second),
            _mm512_extracti32x4_epi32::<2>(second),
            _mm512_extracti32x4_epi32::<3>(second),
        ];
        let lanes = out.iter_mut().skip(j).step_by(4);
        for (digest, (first, second)) in lanes.zip(first.iter().zip(&second)) {
            let (low, high) = digest.split_at_mut(16);
            // SAFETY: both halves are 16 writable bytes; the stores need no alignment.
            unsafe {
                _mm_storeu_si128(low.as_mut_ptr().cast(), *first);
                _mm_storeu_si128(high.as_mut_ptr().cast(), *second);
            }
        }
    }
}

/// Four words of all lanes: part k of vector j gets those of lane 4k+j.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn quads(words: [__m512i; 4], swap: __m512i) -> [__m512i; 4] {
    let [a, b, c, d] = words;
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_shuffle_epi8(_mm512_unpacklo_epi64(ab_low, cd_low), swap),
        _mm512_shuffle_epi8(_mm512_unpackhi_epi64(ab_low, cd_low), swap),
        _mm512_shuffle_epi8(_mm512_unpacklo_epi64(ab_high, cd_high), swap),
        _mm512_shuffle_epi8(_mm512_unpackhi_epi64(ab_high, cd_high), swap),
    ]
}

/// From one row for each lane to one vector for each word, big endian words made native.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let zero = _mm512_setzero_si512();
    let swap = swap_bytes();
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

/// One round, `$input` being its word and its constant.
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

/// Eight rounds, after which the eight variables are back in their places: no register is ever moved.
macro_rules! eight_rounds {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $inputs:expr) => {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = $inputs;
        round!($a $b $c $d $e $f $g $h, i0);
        round!($h $a $b $c $d $e $f $g, i1);
        round!($g $h $a $b $c $d $e $f, i2);
        round!($f $g $h $a $b $c $d $e, i3);
        round!($e $f $g $h $a $b $c $d, i4);
        round!($d $e $f $g $h $a $b $c, i5);
        round!($c $d $e $f $g $h $a $b, i6);
        round!($b $c $d $e $f $g $h $a, i7);
    };
}

/// The 64 rounds of one block (FIPS 180-4, section 6.2.2), on the lanes in `active`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn rounds(states: &mut States, words: [__m512i; LANES], active: __mmask16) {
    let mut words = words;
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *states;
    for (sixteen, constants) in ROUND_CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
        if sixteen > 0 {
            schedule(&mut words);
        }
        let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = words;
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, k10, k11, k12, k13, k14, k15] = *constants;
        eight_rounds!(a b c d e f g h, [
            add(w0, k0), add(w1, k1), add(w2, k2), add(w3, k3), add(w4, k4), add(w5, k5), add(w6, k6), add(w7, k7),
        ]);
        eight_rounds!(a b c d e f g h, [
            add(w8, k8), add(w9, k9), add(w10, k10), add(w11, k11), add(w12, k12), add(w13, k13), add(w14, k14), add(w15, k15),
        ]);
    }
    for (state, add) in states.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *state = _mm512_mask_add_epi32(*state, active, *state, add);
    }
}

/// The rounds of the block that ends a message of 64 bytes: no schedule has to be made for it.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn padding_rounds(states: &mut States) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *states;
    for inputs in AFTER_64_BYTES.as_chunks::<8>().0 {
        let [i0, i1, i2, i3, i4, i5, i6, i7] = *inputs;
        eight_rounds!(a b c d e f g h, [
            all(i0), all(i1), all(i2), all(i3), all(i4), all(i5), all(i6), all(i7),
        ]);
    }
    for (state, add) in states.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *state = _mm512_add_epi32(*state, add);
    }
}

/// The same word in every lane.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn all(word: u32) -> __m512i {
    _mm512_set1_epi32(word as i32)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn add(word: __m512i, constant: u32) -> __m512i {
    _mm512_add_epi32(word, all(constant))
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
