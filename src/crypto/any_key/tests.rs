//! Both providers agree about what is signed and what is not.

use ::rsa::signature::{RandomizedSigner, SignatureEncoding, Signer};
use ::rsa::{RsaPrivateKey, pkcs8::DecodePrivateKey};
use p521::ecdsa::signature::hazmat::PrehashSigner;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::sync::LazyLock;

use super::*;
use crate::crypto::SigningKey;
use crate::crypto::testing::rng;

const MESSAGE: &[u8] = b"a message";

static RSA: LazyLock<(RsaPrivateKey, Vec<u8>)> = LazyLock::new(|| {
    let (private, public) = rsa::generate_key_pair(2048, &mut rng(1)).unwrap();
    let spki = crate::crypto::pem::first_block(&public).unwrap().der.to_vec();
    (RsaPrivateKey::from_pkcs8_pem(&private).unwrap(), spki)
});

/// What each provider says of an RSA signature: they must say the same, and so must the key that is used.
fn rsa_says(scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let spki = &RSA.1;
    let parsed = rsa::public_key(spki).unwrap();
    let spki_ref = SubjectPublicKeyInfoRef::from_der(spki).unwrap();
    let pkcs1 = spki_ref.subject_public_key.as_bytes().unwrap();
    let pure = crate::crypto::pure::RsaPublicKey::from_pkcs1(parsed.clone(), pkcs1).unwrap();
    let said = match scheme {
        Scheme::RsaPss(hash) => pure.verify_pss(hash, message, signature),
        Scheme::RsaPkcs1(hash) => pure.verify_pkcs1(hash, message, signature),
        Scheme::Ecdsa(_) => unreachable!(),
    };
    #[cfg(feature = "aws-lc")]
    {
        let aws = crate::crypto::aws_lc::RsaPublicKey::from_pkcs1(parsed, pkcs1).unwrap();
        let aws = match scheme {
            Scheme::RsaPss(hash) => aws.verify_pss(hash, message, signature),
            Scheme::RsaPkcs1(hash) => aws.verify_pkcs1(hash, message, signature),
            Scheme::Ecdsa(_) => unreachable!(),
        };
        assert_eq!(said, aws, "{scheme:?}");
    }
    let key = AnyKey::from_spki_der(spki).unwrap();
    assert_eq!(said, key.verify(scheme, Encoding::Fixed, message, signature).is_ok());
    said
}

fn rsa_signatures() -> Vec<(Scheme, Vec<u8>)> {
    use ::rsa::{pkcs1v15, pss};
    let key = || RSA.0.clone();
    let rng = &mut rng(2);
    vec![
        (
            Scheme::RsaPss(HashAlgorithm::Sha256),
            pss::SigningKey::<Sha256>::new(key())
                .sign_with_rng(rng, MESSAGE)
                .to_vec(),
        ),
        (
            Scheme::RsaPss(HashAlgorithm::Sha384),
            pss::SigningKey::<Sha384>::new(key())
                .sign_with_rng(rng, MESSAGE)
                .to_vec(),
        ),
        (
            Scheme::RsaPss(HashAlgorithm::Sha512),
            pss::SigningKey::<Sha512>::new(key())
                .sign_with_rng(rng, MESSAGE)
                .to_vec(),
        ),
        (
            Scheme::RsaPkcs1(HashAlgorithm::Sha256),
            pkcs1v15::SigningKey::<Sha256>::new(key()).sign(MESSAGE).to_vec(),
        ),
        (
            Scheme::RsaPkcs1(HashAlgorithm::Sha384),
            pkcs1v15::SigningKey::<Sha384>::new(key()).sign(MESSAGE).to_vec(),
        ),
        (
            Scheme::RsaPkcs1(HashAlgorithm::Sha512),
            pkcs1v15::SigningKey::<Sha512>::new(key()).sign(MESSAGE).to_vec(),
        ),
    ]
}

#[test]
fn an_rsa_signature_holds_for_its_message_and_scheme_alone() {
    let signatures = rsa_signatures();
    for (scheme, signature) in &signatures {
        assert!(rsa_says(*scheme, MESSAGE, signature), "{scheme:?}");
        assert!(!rsa_says(*scheme, b"another", signature), "{scheme:?}");
        for (other, _) in signatures.iter().filter(|(other, _)| other != scheme) {
            assert!(!rsa_says(*other, MESSAGE, signature), "{scheme:?} as {other:?}");
        }
        let mut altered = signature.clone();
        altered[100] ^= 1;
        for wrong in [&altered, &signature[1..], &[], &[0; 256][..], &[0xff; 256], &[1; 257]] {
            assert!(!rsa_says(*scheme, MESSAGE, wrong), "{scheme:?}");
        }
        let key = AnyKey::from_spki_der(&RSA.1).unwrap();
        let ecdsa = Scheme::Ecdsa(HashAlgorithm::Sha256);
        assert!(key.verify(ecdsa, Encoding::Fixed, MESSAGE, signature).is_err());
        assert!(key.as_ec().is_none());
    }
}

#[test]
fn a_salt_of_another_length_is_refused() {
    let key = ::rsa::pss::SigningKey::<Sha384>::new_with_salt_len(RSA.0.clone(), 32);
    let signature = key.sign_with_rng(&mut rng(3), MESSAGE).to_vec();
    assert!(!rsa_says(Scheme::RsaPss(HashAlgorithm::Sha384), MESSAGE, &signature));
}

#[test]
fn a_signature_on_p521_holds_in_both_encodings() {
    let signer = p521::ecdsa::SigningKey::from_slice(&[&[0; 2][..], &[7; 64]].concat()).unwrap();
    let point = signer.verifying_key().to_sec1_point(false);
    // id-ecPublicKey, secp521r1
    let head = hex::decode("30819b301006072a8648ce3d020106052b8104002303818600").unwrap();
    let spki = [&head, point.as_bytes()].concat();
    let key = AnyKey::from_spki_der(&spki).unwrap();
    let digests = [
        (HashAlgorithm::Sha256, Sha256::digest(MESSAGE).to_vec()),
        (HashAlgorithm::Sha384, Sha384::digest(MESSAGE).to_vec()),
        (HashAlgorithm::Sha512, Sha512::digest(MESSAGE).to_vec()),
    ];
    for (hash, digest) in digests {
        let padded = [vec![0; 66 - digest.len()], digest].concat();
        let signature: p521::ecdsa::Signature = signer.sign_prehash(&padded).unwrap();
        let (fixed, der) = (signature.to_bytes(), signature.to_der());
        let scheme = Scheme::Ecdsa(hash);
        key.verify(scheme, Encoding::Fixed, MESSAGE, &fixed).unwrap();
        key.verify(scheme, Encoding::Der, MESSAGE, der.as_bytes()).unwrap();
        assert!(key.verify(scheme, Encoding::Fixed, b"another", &fixed).is_err());
        assert!(key.verify(scheme, Encoding::Fixed, MESSAGE, &fixed[1..]).is_err());
        assert!(key.verify(scheme, Encoding::Der, MESSAGE, &fixed).is_err());
        let pure = crate::crypto::pure::P521Key::from_sec1(point.as_bytes()).unwrap();
        assert!(pure.verify(hash, MESSAGE, der.as_bytes()) && !pure.verify(hash, b"another", der.as_bytes()));
        #[cfg(feature = "aws-lc")]
        {
            let aws = crate::crypto::aws_lc::P521Key::from_sec1(point.as_bytes()).unwrap();
            assert!(aws.verify(hash, MESSAGE, der.as_bytes()) && !aws.verify(hash, b"another", der.as_bytes()));
        }
    }
    let mut off = spki.clone();
    off[40] ^= 1;
    assert!(AnyKey::from_spki_der(&off).is_err());
}

#[test]
fn the_curves_of_ccf_verify_with_any_hash_and_both_encodings() {
    for curve in [Curve::P256, Curve::P384] {
        let signer = SigningKey::generate(curve, &mut rng(4));
        let key = AnyKey::from_spki_der(signer.verifying_key().spki_der()).unwrap();
        let scheme = Scheme::Ecdsa(curve.hash());
        let (fixed, der) = (signer.sign_fixed(MESSAGE), signer.sign_der(MESSAGE));
        key.verify(scheme, Encoding::Fixed, MESSAGE, &fixed).unwrap();
        key.verify(scheme, Encoding::Der, MESSAGE, &der).unwrap();
        for wrong in [HashAlgorithm::Sha512, HashAlgorithm::Sha256, HashAlgorithm::Sha384] {
            let matches = wrong == curve.hash();
            assert_eq!(
                key.verify(Scheme::Ecdsa(wrong), Encoding::Fixed, MESSAGE, &fixed)
                    .is_ok(),
                matches
            );
        }
        assert!(
            key.verify(Scheme::RsaPss(curve.hash()), Encoding::Fixed, MESSAGE, &fixed)
                .is_err()
        );
        assert_eq!(key.as_ec().unwrap().id(), signer.verifying_key().id());
        let spki = signer.verifying_key().spki_der().to_vec();
        let coordinates = &spki[spki.len() - 2 * curve.scalar_bytes()..];
        assert_eq!(ec_key_of_point(curve, coordinates).unwrap(), signer.verifying_key());
        assert!(ec_key_of_point(curve, &coordinates[1..]).is_err());
        assert!(ec_key_of_point(curve, &vec![1; coordinates.len()]).is_err());
    }
}

#[test]
fn what_is_no_key_is_refused() {
    assert!(AnyKey::from_spki_der(&[]).is_err());
    assert!(AnyKey::from_spki_der(&RSA.1[..100]).is_err());
    // openssl genrsa 1024
    let small = "30819f300d06092a864886f70d010101050003818d0030818902818100e40fcddf7b6d518bcb795edc05211787fccc23526e1517673d\
        aceb790f0305e5ab541589152f9a05de6b5c6f39f5022db1c2e557f2d2a88e5fa8a021d02fc023f98ce016c4d76a015c2a7bf3d3a200\
        ea6bca1de9d267547fe6d5b79c135ece84ef10aca1b783975ae03d55887c4b4b81e60eb026e757150f89fe6a9ede0761af0203010001";
    assert_eq!(
        AnyKey::from_spki_der(&hex::decode(small).unwrap()).err(),
        Some(Error::RsaKeySize { bits: 1024 })
    );
}
