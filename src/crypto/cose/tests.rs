//! Layout, verification and hostile input of COSE messages.

use super::*;
use crate::crypto::digest::sha256;
use crate::crypto::ecdsa::Curve;
use crate::crypto::testing::rng;

const HEADER: LedgerSignatureHeader = LedgerSignatureHeader {
    kid_hex: "df77875da5452d5d4ebca2e90c644fbde9ff96b92bc655a899fdc9171641ffdb",
    issued_at_s: 0x6824_6497,
    issuer: "service.example.com",
    subject: "ledger.signature",
    txid: "2.16",
};

fn key(curve: Curve) -> SigningKey {
    SigningKey::generate(curve, &mut rng(1))
}

fn root() -> Digest {
    hex::decode("e05d50857029a0ae4f86b9563239b5b1f2097b76108e692034b16358221cea97")
        .unwrap()
        .try_into()
        .unwrap()
}

#[test]
fn ledger_signature_has_the_byte_layout_of_the_worked_example() {
    // Format specification, section 10.3: only the 96 bytes of signature differ.
    let message = sign_ledger_root(&key(Curve::P384), &HEADER, &root());
    let mut expected = hex::decode("d284588ca5013822045840").unwrap();
    expected.extend(HEADER.kid_hex.as_bytes());
    expected.extend(hex::decode("19018b020fa3061a682464970173").unwrap());
    expected.extend(b"service.example.com\x02\x70ledger.signature\x66ccf.v1\xa1\x64txid\x642.16");
    expected.extend(hex::decode("a0f65860").unwrap());
    assert_eq!(message.len(), 244);
    assert_eq!(hex::encode(&message[..148]), hex::encode(expected));
}

#[test]
fn what_was_signed_parses_and_verifies_on_both_curves() {
    for curve in [Curve::P256, Curve::P384] {
        let key = key(curve);
        let message = Sign1::parse(&sign_ledger_root(&key, &HEADER, &root())).unwrap();
        assert_eq!(message.algorithm(), Some(curve.cose_algorithm()));
        assert_eq!(message.kid(), Some(HEADER.kid_hex.as_bytes()));
        assert_eq!(message.verifiable_data_structure(), Some(2));
        assert_eq!(message.issued_at(), Some(HEADER.issued_at_s));
        assert_eq!(message.issuer(), Some(HEADER.issuer));
        assert_eq!(message.subject(), Some(HEADER.subject));
        assert_eq!(message.txid(), Some("2.16"));
        assert_eq!(message.payload(), None);
        assert_eq!(message.inclusion_proofs(), Ok(vec![]));
        assert_eq!(message.verify(&key.verifying_key(), Some(&root())), Ok(()));
    }
}

#[test]
fn verification_needs_the_right_root_key_curve_and_payload() {
    let signer = key(Curve::P384);
    let message = Sign1::parse(&sign_ledger_root(&signer, &HEADER, &root())).unwrap();
    let verifying = signer.verifying_key();
    assert_eq!(
        message.verify(&verifying, Some(&sha256(b"other"))),
        Err(Error::SignatureInvalid)
    );
    assert_eq!(message.verify(&verifying, None), Err(Error::CosePayloadMissing));
    let stranger = SigningKey::generate(Curve::P384, &mut rng(2)).verifying_key();
    assert_eq!(message.verify(&stranger, Some(&root())), Err(Error::SignatureInvalid));
    assert_eq!(
        message.verify(&key(Curve::P256).verifying_key(), Some(&root())),
        Err(Error::CoseAlgorithmMismatch {
            algorithm: Some(-35),
            curve: Curve::P256
        })
    );
}

#[test]
fn endorsement_embeds_the_endorsed_key_and_its_epoch() {
    let (signer, endorsed) = (key(Curve::P384), key(Curve::P256).verifying_key());
    let payload = endorsed.spki_der();
    let bytes = sign_endorsement(&signer, 5, payload, "2.1", Some("4.9"), Some(&root()));
    let message = Sign1::parse(&bytes).unwrap();
    assert_eq!(message.payload(), Some(payload));
    assert_eq!(message.kid(), None);
    assert_eq!(message.issued_at(), Some(5));
    assert_eq!(message.ccf_text("epoch.start.txid"), Some("2.1"));
    assert_eq!(message.ccf_text("epoch.end.txid"), Some("4.9"));
    assert_eq!(message.ccf_bytes("epoch.end.merkle.root"), Some(&root()[..]));
    assert_eq!(message.verify(&signer.verifying_key(), None), Ok(()));
    assert_eq!(message.verify(&signer.verifying_key(), Some(payload)), Ok(()));
    assert_eq!(
        message.verify(&signer.verifying_key(), Some(b"another key")),
        Err(Error::CosePayloadMismatch)
    );
    let first = Sign1::parse(&sign_endorsement(&signer, 5, payload, "2.1", None, None)).unwrap();
    assert_eq!(first.ccf_text("epoch.end.txid"), None);
    assert_eq!(first.verify(&signer.verifying_key(), None), Ok(()));
}

#[test]
fn adding_a_proof_keeps_the_signature_valid_and_replaces_an_older_proof() {
    let signer = key(Curve::P384);
    let message = sign_ledger_root(&signer, &HEADER, &root());
    let once = with_inclusion_proof(&message, b"proof").unwrap();
    assert_eq!(once[..144], message[..144]);
    assert_eq!(&once[144..157], b"\xa1\x19\x01\x8c\xa1\x20\x81\x45proof");
    assert_eq!(once[157..], message[145..]);
    let twice = Sign1::parse(&with_inclusion_proof(&once, b"newer").unwrap()).unwrap();
    assert_eq!(twice.inclusion_proofs(), Ok(vec![b"newer".to_vec()]));
    assert_eq!(twice.verify(&signer.verifying_key(), Some(&root())), Ok(()));
}

#[test]
fn a_message_without_its_tag_is_named_as_such() {
    let message = sign_ledger_root(&key(Curve::P384), &HEADER, &root());
    assert_eq!(Sign1::parse(&message[1..]).unwrap_err(), Error::CoseTagMissing);
    assert_eq!(Sign1::parse(b"\xd1\x80").unwrap_err(), Error::CoseTagMissing);
}

#[test]
fn missing_labels_are_tolerated() {
    let message = Sign1::parse(b"\xd2\x84\x40\xa0\xf6\x40").unwrap();
    assert_eq!((message.algorithm(), message.kid(), message.txid()), (None, None, None));
    assert_eq!((message.issued_at(), message.issuer()), (None, None));
    let key = key(Curve::P384).verifying_key();
    let mismatch = Error::CoseAlgorithmMismatch {
        algorithm: None,
        curve: Curve::P384,
    };
    assert_eq!(message.verify(&key, Some(b"")), Err(mismatch));
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let signer = key(Curve::P256);
    let message = with_inclusion_proof(&sign_ledger_root(&signer, &HEADER, &root()), b"proof").unwrap();
    for length in 0..message.len() {
        assert!(Sign1::parse(&message[..length]).is_err(), "{length} bytes");
    }
    assert!(Sign1::parse(&[&message[..], &[0]].concat()).is_err(), "one byte more");
    let key = signer.verifying_key();
    // Only the unprotected header (13 bytes before nil) and the form of nil itself are not signed.
    let nil = message.len() - 64 - 3;
    let unsigned = nil - 13..=nil;
    assert_eq!(message[nil], 0xf6);
    for bit in 0..message.len() * 8 {
        let mut altered = message.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = Sign1::parse(&altered) {
            let _ = parsed.inclusion_proofs();
            let verified = parsed.verify(&key, Some(&root())).is_ok();
            assert!(!verified || unsigned.contains(&(bit / 8)), "bit {bit}");
        }
    }
}

#[test]
fn nesting_and_announced_lengths_do_not_exhaust_anything() {
    assert!(Sign1::parse(&[0x81; 1 << 20]).is_err());
    assert!(Sign1::parse(&[0xd2; 1 << 20]).is_err());
    // Array, byte string, text and map of 2^64 - 1 items each.
    for major in [0x9b, 0x5b, 0x7b, 0xbb] {
        let bytes = [&[0xd2, 0x84, major][..], &[0xff; 8]].concat();
        assert!(Sign1::parse(&bytes).is_err());
    }
}

/// A message with these headers, signed by nobody.
fn unsigned(protected: &str, unprotected: &str) -> Vec<u8> {
    let protected = hex::decode(protected).unwrap();
    let mut message = vec![0xd2, 0x84, 0x40 + u8::try_from(protected.len()).unwrap()];
    message.extend(protected);
    message.extend(hex::decode(unprotected).unwrap());
    message.extend([0x40, 0x40]);
    message
}

#[test]
fn a_label_stands_in_the_headers_once() {
    assert!(Sign1::parse(&unsigned("a201382204414b", "a10341ff")).is_ok());
    for (protected, unprotected) in [
        // alg twice, also written in two ways; a text twice; across both headers; twice in the unprotected one.
        ("a201382201382203", "a0"),
        ("a20126180126", "a0"),
        ("a26178016178 02", "a0"),
        ("a10126", "a10126"),
        ("a10126", "a203410003410 0"),
    ] {
        let message = unsigned(&protected.replace(' ', ""), &unprotected.replace(' ', ""));
        assert!(Sign1::parse(&message).is_err(), "{protected} {unprotected}");
    }
    assert!(Sign1::parse(&unsigned("a1410126", "a0")).is_err(), "a label of bytes");
}

#[test]
fn what_is_critical_must_be_understood_and_protected() {
    // crit: [1], [1, 4] with both there.
    assert!(Sign1::parse(&unsigned("a201260281 01".replace(' ', "").as_str(), "a0")).is_ok());
    for (protected, unprotected) in [
        ("a20126028119ffff", "a0"),
        ("a2012602816178", "a0"),
        ("a20126028104", "a0"),
        ("a2012602 80", "a0"),
        ("a2012602 01", "a0"),
        ("a10126", "a1028101"),
    ] {
        assert!(
            Sign1::parse(&unsigned(&protected.replace(' ', ""), unprotected)).is_err(),
            "{protected} {unprotected}"
        );
    }
}

#[test]
fn many_items_and_strings_in_chunks_are_refused_before_they_are_kept() {
    let mut many = vec![0xd2, 0x84, 0x40, 0xa1, 0x03, 0x9a, 0, 15, 0x42, 0x40];
    many.extend(std::iter::repeat_n(0x00, 1_000_000));
    many.extend([0x40, 0x40]);
    assert_eq!(
        Sign1::parse(&many).unwrap_err().to_string(),
        malformed("it has more than 4096 items").to_string()
    );
    let chunks = [&[0xd2, 0x84, 0x40, 0xa0, 0x5f, 0x41, 1, 0xff, 0x40][..]].concat();
    assert!(Sign1::parse(&chunks).is_err());
    // Maps and arrays without a length are read, as CCF does.
    assert!(Sign1::parse(&[0xd2, 0x9f, 0x40, 0xbf, 0xff, 0x40, 0x40, 0xff]).is_ok());
}
