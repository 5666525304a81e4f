//! Every way that this machine has gives the digests of one message at a time.

use super::*;
use crate::crypto::digest::{sha256_pair, sha256_parts};

fn data() -> Vec<u8> {
    (0..200_000u32).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn every_way_gives_the_digests_of_one_message_at_a_time() {
    let data = data();
    // Every length around the block boundaries, very different lengths beside each other, many alike, and long ones.
    let lengths = (0..300)
        .chain([4999, 0, 1000, 64, 3, 4096])
        .chain(50..70)
        .chain([150_000, 7, 190_000, 8, 9000, 9100])
        .chain((0..3000).map(|i| 200 + i * 7919 % 200))
        .chain([100_000; 20]);
    let messages: Vec<&[u8]> = lengths
        .enumerate()
        .map(|(i, length)| &data[i % 7..][..length])
        .collect();
    for way in ways() {
        for count in [0, 1, 2, 3, 9, 15, 16, 17, 31, 1023, 1024, 1025, messages.len()] {
            let mut digests = vec![[9; 32]];
            digest_many_by(way, &START, &messages[..count], &mut digests);
            assert_eq!((digests.len(), digests[0]), (count + 1, [9; 32]));
            for (digest, message) in digests[1..].iter().zip(&messages) {
                assert_eq!(*digest, sha256_parts(&[message]), "{way:?}, {} bytes", message.len());
            }
        }
    }
}

#[test]
fn every_way_goes_on_after_what_was_hashed_before() {
    let data = data();
    let mut state = INITIAL_STATE;
    sha2::block_api::compress256(&mut state, data[..128].as_chunks::<64>().0);
    let prefix = Prefix { state, bytes: 128 };
    let messages: Vec<&[u8]> = (0..260).map(|length| &data[128..128 + length]).collect();
    for way in ways() {
        let mut digests = Vec::new();
        digest_many_by(way, &prefix, &messages, &mut digests);
        for (digest, message) in digests.iter().zip(&messages) {
            assert_eq!(
                *digest,
                sha256_parts(&[&data[..128], message]),
                "{way:?}, {} bytes",
                message.len()
            );
        }
    }
}

#[test]
fn every_way_gives_the_nodes_above_a_row() {
    let row: Vec<Digest> = (0..2051u32).map(|i| sha256_parts(&[&i.to_le_bytes()])).collect();
    for way in ways() {
        for count in (0..70).chain([2048, 2051]) {
            let mut above = vec![[9; 32]];
            digest_pairs_by(way, &row[..count], &mut above);
            let expected: Vec<Digest> = row[..count]
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[a, b]| sha256_pair(a, b))
                .collect();
            assert_eq!(above[1..], expected, "{way:?}, {count} nodes");
        }
    }
}

#[test]
fn what_a_lone_message_is_digested_with_goes_on_after_a_prefix() {
    let data = data();
    let mut state = INITIAL_STATE;
    sha2::block_api::compress256(&mut state, data[..64].as_chunks::<64>().0);
    let prefix = Prefix { state, bytes: 64 };
    for length in 0..200 {
        let message = &data[64..64 + length];
        let expected = sha256_parts(&[&data[..64], message]);
        assert_eq!(
            crate::crypto::digest::sha256_after(&prefix, message),
            expected,
            "{length} bytes"
        );
    }
}
