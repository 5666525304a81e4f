//! Certificates and lists put together byte by byte, each with one thing that a reader must not pass over.

use super::*;
use crate::crypto::testing::rng;
use crate::crypto::{Curve, SigningKey};

/// ecdsa-with-SHA384 and ecdsa-with-SHA256, as AlgorithmIdentifiers.
const SHA384: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
const SHA256: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const NAME: [u8; 2] = [0x30, 0];

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len() as u32;
    let mut der = vec![tag];
    match length {
        ..0x80 => der.push(length as u8),
        _ => der.extend([&[0x84], &length.to_be_bytes()[..]].concat()),
    }
    // The shortest form is the only one: lengths are of 1 to 3 bytes here.
    if let [_, 0x84, zeros @ ..] = &mut der[..] {
        let first = zeros.iter().position(|byte| *byte != 0).unwrap();
        let shortest = zeros[first..].to_vec();
        der.truncate(1);
        der.push(0x80 | shortest.len() as u8);
        der.extend(shortest);
    }
    der.extend(content);
    der
}

fn time(text: &str) -> Vec<u8> {
    tlv(23, &[text.as_bytes()])
}

/// An extension that is not critical; its value is whatever element this is.
fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&tlv(6, &[oid]), value])
}

fn octets(content: &[u8]) -> Vec<u8> {
    tlv(4, &[content])
}

fn block(extensions: &[&[u8]]) -> Vec<u8> {
    tlv(0xa3, &[&tlv(0x30, extensions)])
}

fn outside(tbs: &[u8], algorithm: &[u8], unused_bits: u8) -> Vec<u8> {
    tlv(0x30, &[tbs, algorithm, &tlv(3, &[&[unused_bits], b"signature"])])
}

/// A certificate whose inner algorithm is SHA-384's, with this after its key.
fn certificate_with(after_key: &[&[u8]], algorithm: &[u8], unused_bits: u8) -> Result<AnyCertificate, Error> {
    let key = SigningKey::generate(Curve::P384, &mut rng(1)).verifying_key();
    let validity = tlv(0x30, &[&time("250101000000Z"), &time("350101000000Z")]);
    let head = [&[0xa0, 3, 2, 1, 2][..], &[2, 1, 7], &SHA384, &NAME, &validity, &NAME];
    let tbs = tlv(0x30, &[&head.concat(), key.spki_der(), &after_key.concat()]);
    AnyCertificate::from_der(&outside(&tbs, algorithm, unused_bits))
}

fn certificate(after_key: &[&[u8]]) -> Result<AnyCertificate, Error> {
    certificate_with(after_key, &SHA384, 0)
}

#[test]
fn an_extension_is_there_once_in_one_block_as_an_octet_string() {
    let (one, again) = (
        extension(&[0x2a, 3], &octets(b"one")),
        extension(&[0x2a, 3], &octets(b"two")),
    );
    let other = extension(&[0x2a, 4], &octets(b"other"));
    let good = certificate(&[&block(&[&one, &other])]).unwrap();
    assert_eq!(good.extension("1.2.3"), Some(&b"one"[..]));
    assert!(certificate(&[&block(&[&one, &again])]).is_err());
    assert!(certificate(&[&block(&[&one, &one])]).is_err());
    // A second block, also after one with nothing in it.
    assert!(certificate(&[&block(&[&one]), &block(&[&other])]).is_err());
    assert!(certificate(&[&block(&[]), &block(&[&other])]).is_err());
    for tag in [3, 0x30, 12] {
        let value = tlv(tag, &[b"one"]);
        assert!(
            certificate(&[&block(&[&extension(&[0x2a, 3], &value)])]).is_err(),
            "{tag}"
        );
    }
}

#[test]
fn both_algorithms_of_a_certificate_are_the_same_and_a_signature_is_of_whole_bytes() {
    assert!(certificate_with(&[], &SHA384, 0).is_ok());
    assert!(certificate_with(&[], &SHA256, 0).is_err());
    for unused_bits in [1, 7, 0xff] {
        assert!(certificate_with(&[], &SHA384, unused_bits).is_err());
    }
}

#[test]
fn a_certificate_over_a_mebibyte_is_not_read() {
    let of = |length: usize| certificate(&[&block(&[&extension(&[0x2a, 3], &octets(&vec![0; length]))])]);
    let around = of(0x20_000).unwrap().der().len() - 0x20_000;
    assert_eq!(of(MAX_BYTES - around).unwrap().der().len(), MAX_BYTES);
    assert_eq!(of(MAX_BYTES - around + 1).unwrap_err(), malformed("length, over 1 MiB"));
}

#[test]
fn a_purpose_is_itself_and_not_what_is_left_of_it_in_32_bits() {
    let for_purpose = |oid: &[u8]| {
        let value = octets(&tlv(0x30, &[&tlv(6, &[&[0x2a, 9]]), &tlv(6, &[oid])]));
        certificate(&[&block(&[&extension(&[0x55, 0x1d, 0x25], &value)])]).unwrap()
    };
    assert!(for_purpose(&[0x2a, 3, 4]).is_for("1.2.3.4"));
    assert!(for_purpose(&[0x2a, 3, 4]).is_for("1.2.9"));
    assert!(!for_purpose(&[0x2a, 3, 4]).is_for("1.2.3"));
    // 2^32 + 4 in the last place.
    let huge = for_purpose(&[0x2a, 3, 0x90, 0x80, 0x80, 0x80, 4]);
    assert!(!huge.is_for("1.2.3.4"));
    assert!(!huge.is_for("1.2.3.4294967300"));
    // What can't be read whole is for nothing.
    let value = octets(&tlv(0x30, &[&tlv(6, &[&[0x2a, 9]]), &[5, 0]]));
    let odd = certificate(&[&block(&[&extension(&[0x55, 0x1d, 0x25], &value)])]).unwrap();
    assert!(!odd.is_for("1.2.9"));
}

#[test]
fn no_parameter_of_pss_is_there_twice() {
    let hash = hex::decode("300d06096086480165030402020500").unwrap();
    let mask = tlv(0x30, &[&hex::decode("06092a864886f70d010108").unwrap(), &hash]);
    let pss = hex::decode("06092a864886f70d01010a").unwrap();
    let fields = [tlv(0xa0, &[&hash]), tlv(0xa1, &[&mask]), tlv(0xa2, &[&[2, 1, 48]])];
    let scheme = |again: &[u8]| algorithm::scheme(&tlv(0x30, &[&pss, &tlv(0x30, &[&fields.concat(), again])]));
    assert_eq!(scheme(&[]), Some(Scheme::RsaPss(HashAlgorithm::Sha384)));
    for field in &fields {
        assert_eq!(scheme(field), None);
    }
}

/// A list whose inner algorithm is SHA-384's, with this after its first time.
fn list_with(after: &[&[u8]], algorithm: &[u8], unused_bits: u8) -> Result<RevocationList, Error> {
    let head = [&[2, 1, 1][..], &SHA384, &NAME, &time("250101000000Z")];
    RevocationList::from_der(&outside(
        &tlv(0x30, &[&head.concat(), &after.concat()]),
        algorithm,
        unused_bits,
    ))
}

#[test]
fn both_algorithms_of_a_list_are_the_same_and_a_signature_is_of_whole_bytes() {
    assert!(list_with(&[], &SHA384, 0).is_ok());
    assert!(list_with(&[], &SHA256, 0).is_err());
    assert!(list_with(&[], &SHA384, 1).is_err());
}

#[test]
fn a_list_revokes_what_it_names_wherever_its_entries_stand() {
    let entry = |serial: &[u8]| tlv(0x30, &[&tlv(2, &[serial]), &time("250101000000Z")]);
    let serials: Vec<[u8; 2]> = (0..300_u16).map(|number| (2 * number).to_be_bytes()).collect();
    let entries: Vec<u8> = serials.iter().flat_map(|serial| entry(serial)).collect();
    let entries = tlv(0x30, &[&entries]);
    let extensions = tlv(
        0xa0,
        &[&tlv(0x30, &[&extension(&[0x55, 0x1d, 0x14], &octets(&[2, 1, 1]))])],
    );
    let next = time("260101000000Z");
    for (before, after) in [
        (&[][..], &[][..]),
        (&next, &extensions),
        (&[], &extensions),
        (&next, &[]),
    ] {
        let list = list_with(&[before, &entries, after], &SHA384, 0).unwrap();
        assert!(serials.iter().all(|serial| list.revokes(serial)));
        assert!(!list.revokes(&[0, 1]) && !list.revokes(&[0]) && !list.revokes(&[]));
        assert_eq!(list.next_update_unix_s().is_some(), !before.is_empty());
        let none = list_with(&[before, after], &SHA384, 0).unwrap();
        assert!(!none.revokes(&[0, 0]) && !none.revokes(&[]));
    }
    for damaged in [&[0x30, 1][..], &[0x30, 0], &[5, 5]] {
        assert!(list_with(&[&tlv(0x30, &[&entry(&[1]), damaged])], &SHA384, 0).is_err());
    }
}
