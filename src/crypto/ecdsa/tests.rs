//! Signatures of both curves, key formats, and that both providers judge alike.

use super::*;
use crate::crypto::testing::{common_files, rng};

const CURVES: [Curve; 2] = [Curve::P256, Curve::P384];

fn key(curve: Curve) -> SigningKey {
    SigningKey::generate(curve, &mut rng(7))
}

#[test]
fn every_form_of_signature_verifies_with_its_own_key_only() {
    for curve in CURVES {
        let (key, digest) = (key(curve), sha256(b"root"));
        let public = key.verifying_key();
        let stranger = SigningKey::generate(curve, &mut rng(8)).verifying_key();
        let (prehashed, fixed, der) = (
            key.sign_prehashed_der(&digest),
            key.sign_fixed(b"text"),
            key.sign_der(b"text"),
        );
        assert_eq!(fixed.len(), 2 * curve.scalar_bytes());
        assert_eq!(public.verify_prehashed_der(&digest, &prehashed), Ok(()));
        assert_eq!(public.verify_fixed(b"text", &fixed), Ok(()));
        assert_eq!(public.verify_der(curve.hash(), b"text", &der), Ok(()));
        let invalid = Err(Error::SignatureInvalid);
        assert_eq!(public.verify_prehashed_der(&sha256(b"other"), &prehashed), invalid);
        assert_eq!(public.verify_fixed(b"other", &fixed), invalid);
        assert_eq!(public.verify_der(curve.hash(), b"other", &der), invalid);
        assert_eq!(public.verify_der(HashAlgorithm::Sha512, b"text", &der), invalid);
        assert_eq!(stranger.verify_prehashed_der(&digest, &prehashed), invalid);
        assert_eq!(stranger.verify_fixed(b"text", &fixed), invalid);
    }
}

#[test]
fn the_digest_is_signed_as_it_is() {
    // A prehashed signature of SHA-256(m) is an ordinary ECDSA-with-SHA256 signature of m, on P-384 too.
    for curve in CURVES {
        let signature = key(curve).sign_prehashed_der(&sha256(b"message"));
        let public = key(curve).verifying_key();
        assert_eq!(public.verify_der(HashAlgorithm::Sha256, b"message", &signature), Ok(()));
    }
}

#[test]
fn signing_and_generation_depend_on_the_seed_alone() {
    for curve in CURVES {
        assert_eq!(*key(curve).to_pkcs8_pem(), *key(curve).to_pkcs8_pem());
        assert_eq!(key(curve).sign_fixed(b"x"), key(curve).sign_fixed(b"x"));
        assert_eq!(
            key(curve).sign_prehashed_der(&[1; 32]),
            key(curve).sign_prehashed_der(&[1; 32])
        );
    }
}

#[test]
fn hedged_signatures_verify_and_differ() {
    for curve in CURVES {
        let (key, mut rng) = (key(curve), rng(9));
        let signatures = [(); 3].map(|()| key.sign_fixed_hedged(&mut rng, b"text"));
        for (index, signature) in signatures.iter().enumerate() {
            assert_eq!(key.verifying_key().verify_fixed(b"text", signature), Ok(()));
            assert!(!signatures[..index].contains(signature));
            assert_ne!(signature, &key.sign_fixed(b"text"));
        }
    }
}

#[test]
fn truncated_or_altered_signatures_never_verify() {
    for curve in CURVES {
        let (key, digest) = (key(curve), sha256(b"root"));
        let (public, der, fixed) = (
            key.verifying_key(),
            key.sign_prehashed_der(&digest),
            key.sign_fixed(b"text"),
        );
        for length in 0..der.len() {
            assert!(public.verify_prehashed_der(&digest, &der[..length]).is_err());
        }
        for length in 0..fixed.len() {
            assert!(public.verify_fixed(b"text", &fixed[..length]).is_err());
        }
        for zeros in [vec![0; fixed.len()], vec![0xff; fixed.len()]] {
            assert!(public.verify_fixed(b"text", &zeros).is_err());
        }
        let trailing = [&der[..], &[0]].concat();
        assert!(public.verify_prehashed_der(&digest, &trailing).is_err());
    }
}

#[test]
fn keys_survive_their_encodings() {
    for curve in CURVES {
        let key = key(curve);
        let again = SigningKey::from_pkcs8_pem(&key.to_pkcs8_pem()).unwrap();
        assert_eq!(again.verifying_key(), key.verifying_key());
        let public = key.verifying_key();
        let pem = pem::encode("PUBLIC KEY", public.spki_der());
        assert_eq!(VerifyingKey::from_spki_pem(&pem).unwrap(), public);
        assert_eq!(public.id(), sha256(public.spki_der()));
        let sec1 = match key.private() {
            Private::P256(key) => p256::SecretKey::from(key).to_sec1_pem(LineEnding::LF).unwrap(),
            Private::P384(key) => p384::SecretKey::from(key).to_sec1_pem(LineEnding::LF).unwrap(),
        };
        assert_eq!(SigningKey::from_pkcs8_pem(&sec1).unwrap().verifying_key(), public);
    }
}

#[test]
fn compressed_points_are_the_same_key_under_another_id() {
    for curve in CURVES {
        let key = key(curve);
        let full = key.verifying_key().spki_der().to_vec();
        let (header, point) = full.split_at(full.len() - 1 - 2 * curve.scalar_bytes());
        let mut compressed = [header, &[2 + (point[point.len() - 1] & 1)]].concat();
        compressed.extend(&point[1..=curve.scalar_bytes()]);
        // The lengths of the outer sequence and of the bit string shrink by one coordinate.
        let shrink = curve.scalar_bytes() as u8;
        compressed[1] -= shrink;
        let bit_string = header.len() - 2;
        compressed[bit_string] -= shrink;
        let parsed = VerifyingKey::from_spki_der(&compressed).unwrap();
        let signature = key.sign_prehashed_der(&[3; 32]);
        assert_eq!(parsed.verify_prehashed_der(&[3; 32], &signature), Ok(()));
        assert_ne!(parsed, key.verifying_key());
    }
}

#[test]
fn truncated_altered_and_foreign_public_keys_are_refused() {
    for curve in CURVES {
        let der = key(curve).verifying_key().spki_der().to_vec();
        for length in 0..der.len() {
            assert!(VerifyingKey::from_spki_der(&der[..length]).is_err());
        }
        let mut off_curve = der.clone();
        *off_curve.last_mut().unwrap() ^= 1;
        let malformed = VerifyingKey::from_spki_der(&off_curve);
        assert!(matches!(malformed, Err(Error::MalformedKey { .. })));
    }
    // Ed25519 (RFC 8410, section 10.1).
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----";
    let unsupported = VerifyingKey::from_spki_pem(ed25519);
    assert!(matches!(unsupported, Err(Error::UnsupportedKey { .. })));
}

#[test]
fn a_public_key_is_written_as_the_pem_it_is_read_from() {
    for curve in CURVES {
        let public = key(curve).verifying_key();
        let pem = public.spki_pem();
        assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----"), "{pem}");
        let again = VerifyingKey::from_spki_pem(&pem).unwrap();
        assert_eq!((again.spki_der(), again.curve()), (public.spki_der(), curve));
        assert!(matches!(
            VerifyingKey::from_spki_pem(&key(curve).to_pkcs8_pem()),
            Err(Error::WrongPemKind { .. })
        ));
    }
}

#[test]
fn each_curve_has_the_cose_algorithm_of_its_hash() {
    assert_eq!(Curve::P256.cose_algorithm(), -7);
    assert_eq!(Curve::P384.cose_algorithm(), -35);
    assert_eq!((Curve::P256.scalar_bytes(), Curve::P384.scalar_bytes()), (32, 48));
    assert_eq!(
        (Curve::P256.hash(), Curve::P384.hash()),
        (HashAlgorithm::Sha256, HashAlgorithm::Sha384)
    );
}

#[test]
fn numbers_of_a_raw_signature_become_the_shortest_der_integers() {
    let raw = |r: &[u8], s: &[u8]| {
        let mut raw = vec![0; 64];
        raw[32 - r.len()..32].copy_from_slice(r);
        raw[64 - s.len()..].copy_from_slice(s);
        fixed_to_der(32, &raw)
    };
    assert_eq!(raw(&[1], &[0x7f]), Some(vec![0x30, 6, 2, 1, 1, 2, 1, 0x7f]));
    // A first byte from 0x80 on would make the number negative.
    assert_eq!(
        raw(&[0x80], &[0xff, 0]),
        Some(vec![0x30, 9, 2, 2, 0, 0x80, 2, 3, 0, 0xff, 0])
    );
    assert_eq!(
        raw(&[], &[2]),
        Some(vec![0x30, 6, 2, 1, 0, 2, 1, 2]),
        "zero is one byte"
    );
    for length in [0, 1, 34, 63, 65, 96] {
        assert_eq!(fixed_to_der(32, &vec![1; length]), None, "{length} bytes");
    }
    assert_eq!(fixed_to_der(48, &[1; 96]).map(|der| der.len()), Some(102));
}

#[test]
fn what_a_private_key_is_for_is_told_by_its_algorithm() {
    let der = |pem: &str| pem::first_block(pem).unwrap().der.to_vec();
    for curve in CURVES {
        assert_eq!(describe_pkcs8(&der(&key(curve).to_pkcs8_pem())), Some("EC"));
    }
    let rsa = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/small/common/member0_enc_privk.pem"
    );
    let rsa = std::fs::read_to_string(rsa).unwrap();
    assert_eq!(describe_pkcs8(&der(&rsa)), Some("RSA"));
    // Ed25519 (RFC 8410, section 10.3).
    let ed25519 = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----";
    assert_eq!(describe_pkcs8(&der(ed25519)), Some("other"));
    assert_eq!(describe_pkcs8(b"no key"), None);
}

#[test]
fn debug_shows_the_id_and_nothing_secret() {
    let public = key(Curve::P384).verifying_key();
    assert_eq!(
        format!("{public:?}"),
        format!("VerifyingKey(P384 {})", hex::encode(public.id()))
    );
}

#[test]
fn real_signing_keys_load_and_match_their_certificates() {
    let Some(files) = common_files(|name| name.ends_with("_privk.pem") && !name.contains("enc")) else {
        return;
    };
    for (path, text) in files {
        let key = SigningKey::from_pkcs8_pem(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let certificate = path.to_str().unwrap().replace("_privk", "_cert");
        let certificate = std::fs::read_to_string(certificate).unwrap();
        let certificate = crate::crypto::Certificate::from_pem(&certificate).unwrap();
        assert_eq!(&key.verifying_key(), certificate.key(), "{path:?}");
    }
}

/// Whatever signatures and keys look like, both providers must accept and refuse the same.
#[cfg(feature = "aws-lc")]
#[test]
fn both_providers_judge_every_altered_signature_alike() {
    use crate::crypto::{aws_lc, pure};
    for curve in CURVES {
        let (key, digest) = (key(curve), sha256(b"root"));
        let spki = key.verifying_key().spki_der().to_vec();
        let point = &spki[spki.len() - 1 - 2 * curve.scalar_bytes()..];
        let fast = aws_lc::PublicKey::from_sec1(curve, point).unwrap();
        let slow = pure::PublicKey::from_sec1(curve, point).unwrap();
        let der = key.sign_prehashed_der(&digest);
        for bit in 0..der.len() * 8 {
            let mut altered = der.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let hash = HashAlgorithm::Sha256;
            let judged = fast.verify(hash, &digest, &altered);
            assert_eq!(judged, slow.verify(hash, &digest, &altered), "bit {bit}");
            assert!(!judged, "bit {bit}");
        }
        for (hash, length) in [
            (HashAlgorithm::Sha256, 32),
            (HashAlgorithm::Sha384, 48),
            (HashAlgorithm::Sha512, 64),
        ] {
            let digest = vec![0xfe; length];
            let signature = match key.private() {
                Private::P256(key) => {
                    let s: p256::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                    s.to_der().as_bytes().to_vec()
                }
                Private::P384(key) => {
                    let s: p384::ecdsa::Signature = key.sign_prehash(&digest).unwrap();
                    s.to_der().as_bytes().to_vec()
                }
            };
            assert!(fast.verify(hash, &digest, &signature), "{curve:?} {hash:?}");
            assert!(slow.verify(hash, &digest, &signature), "{curve:?} {hash:?}");
        }
    }
}
