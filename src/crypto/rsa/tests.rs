//! Round trips, determinism, and errors that name what a wrong file holds.

use std::sync::LazyLock;

use super::*;
use crate::crypto::ecdsa::{Curve, SigningKey};
use crate::crypto::testing::{common_files, rng};

static PAIR: LazyLock<(Zeroizing<String>, String)> = LazyLock::new(|| generate_key_pair(2048, &mut rng(1)).unwrap());

fn refusal(pem: &str) -> String {
    match DecryptionKey::from_pem(pem) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_encrypted_for_a_key_opens_with_it_alone() {
    let (private, public) = &*PAIR;
    let encryption = EncryptionKey::from_pem(public).unwrap();
    let decryption = DecryptionKey::from_pem(private).unwrap();
    assert_eq!(encryption.spki_der(), decryption.public_spki_der());
    let ciphertext = encryption.encrypt(&[7; 113], &mut rng(2)).unwrap();
    assert_eq!(ciphertext.len(), 256);
    assert_eq!(*decryption.decrypt(&ciphertext).unwrap(), [7; 113]);
    let other = generate_key_pair(2048, &mut rng(3)).unwrap().0;
    let other = DecryptionKey::from_pem(&other).unwrap();
    assert_eq!(other.decrypt(&ciphertext), Err(Error::RsaDecryptionFailed));
    let mut altered = ciphertext.clone();
    altered[200] ^= 1;
    for wrong in [&altered[..], &ciphertext[1..], &[], &[0xff; 256], &[0xff; 4096]] {
        assert_eq!(decryption.decrypt(wrong), Err(Error::RsaDecryptionFailed));
    }
}

#[test]
fn generation_and_encryption_depend_on_the_seed_alone() {
    assert_eq!(generate_key_pair(2048, &mut rng(1)).unwrap(), *PAIR);
    let key = EncryptionKey::from_pem(&PAIR.1).unwrap();
    assert_eq!(key.encrypt(b"x", &mut rng(4)), key.encrypt(b"x", &mut rng(4)));
    assert_ne!(key.encrypt(b"x", &mut rng(4)), key.encrypt(b"x", &mut rng(5)));
}

#[test]
fn pkcs1_keys_load_too() {
    use ::rsa::pkcs1::EncodeRsaPrivateKey;
    let key = RsaPrivateKey::from_pkcs8_pem(&PAIR.0).unwrap();
    let pem = key.to_pkcs1_pem(LineEnding::LF).unwrap();
    let loaded = DecryptionKey::from_pem(&pem).unwrap();
    assert_eq!(
        loaded.public_spki_der(),
        EncryptionKey::from_pem(&PAIR.1).unwrap().spki_der()
    );
}

#[test]
fn sizes_out_of_range_are_refused() {
    for bits in [0, 512, 2047, 8193, usize::MAX] {
        assert_eq!(
            generate_key_pair(bits, &mut rng(1)).err(),
            Some(Error::RsaKeySize { bits })
        );
    }
    let key = EncryptionKey::from_pem(&PAIR.1).unwrap();
    assert!(key.encrypt(&[0; 190], &mut rng(1)).is_ok());
    let refused = key.encrypt(&[0; 191], &mut rng(1));
    assert_eq!(refused, Err(Error::RsaEncryptionFailed { length: 191 }));
}

#[test]
fn a_wrong_pem_is_refused_by_what_it_is() {
    assert!(refusal(&PAIR.1).contains("holds a public key"));
    let signing = SigningKey::generate(Curve::P384, &mut rng(1));
    assert!(refusal(&signing.to_pkcs8_pem()).contains("memberN_privk.pem"));
    for (label, hint) in [
        ("CERTIFICATE", "a certificate"),
        ("EC PRIVATE KEY", "elliptic-curve"),
        ("ENCRYPTED PRIVATE KEY", "passphrase"),
    ] {
        assert!(refusal(&pem::encode(label, &[1, 2, 3])).contains(hint), "{label}");
    }
    assert!(refusal("no key here").contains("no -----BEGIN line"));
    assert!(refusal(&PAIR.0.replace("-----END", "")).contains("no -----END line"));
    assert!(EncryptionKey::from_pem(&PAIR.0).is_err());
}

#[test]
fn truncated_key_files_are_refused() {
    let der = pem::first_block(&PAIR.0).unwrap().der;
    for length in (0..der.len()).step_by(7) {
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
            assert!(DecryptionKey::from_pem(&pem::encode(label, &der[..length])).is_err());
        }
    }
}

#[test]
fn real_share_encryption_keys_load_and_match_their_public_halves() {
    let Some(files) = common_files(|name| name.ends_with("_enc_privk.pem")) else {
        return;
    };
    for (path, text) in files {
        let key = DecryptionKey::from_pem(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let public = path.to_str().unwrap().replace("_enc_privk", "_enc_pubk");
        let public = EncryptionKey::from_pem(&std::fs::read_to_string(public).unwrap()).unwrap();
        assert_eq!(key.public_spki_der(), public.spki_der(), "{path:?}");
        let ciphertext = public.encrypt(b"share", &mut rng(1)).unwrap();
        assert_eq!(*key.decrypt(&ciphertext).unwrap(), b"share", "{path:?}");
    }
}

/// The `pure` provider opens what aws-lc opens, also where it is not the one in use.
#[cfg(feature = "aws-lc")]
#[test]
fn both_providers_decrypt_alike() {
    use crate::crypto::{aws_lc, pure};
    let key = RsaPrivateKey::from_pkcs8_pem(&PAIR.0).unwrap();
    let der = key.to_pkcs8_der().unwrap();
    let fast = aws_lc::OaepKey::from_pkcs8(&key, der.as_bytes()).unwrap();
    let slow = pure::OaepKey::from_pkcs8(&key, der.as_bytes()).unwrap();
    let ciphertext = EncryptionKey::from_pem(&PAIR.1)
        .unwrap()
        .encrypt(b"", &mut rng(1))
        .unwrap();
    assert_eq!(fast.decrypt(&ciphertext), slow.decrypt(&ciphertext));
    assert!(fast.decrypt(&ciphertext).is_some_and(|plaintext| plaintext.is_empty()));
    assert_eq!(fast.decrypt(&ciphertext[1..]), None);
    assert_eq!(slow.decrypt(&ciphertext[1..]), None);
}

#[test]
fn a_pair_made_by_any_number_of_threads_opens_what_it_seals() {
    for threads in [1, 2, 3] {
        let (private, public) = KeyPairInTheMaking::start(threads).unwrap().wait().unwrap();
        let key = EncryptionKey::from_pem(&public).unwrap();
        let ciphertext = key.encrypt(&[7; 32], &mut rng(2)).unwrap();
        assert_eq!(ciphertext.len(), 256, "the modulus has all its bits");
        let key = DecryptionKey::from_pem(&private).unwrap();
        assert_eq!(*key.decrypt(&ciphertext).unwrap(), [7; 32]);
    }
}
