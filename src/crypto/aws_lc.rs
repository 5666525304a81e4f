//! The provider on aws-lc-rs: same items as `pure`, several times faster.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{self as sig, EcdsaVerificationAlgorithm, ParsedPublicKey};
use zeroize::Zeroizing;

use super::ecdsa::{Curve, HashAlgorithm};

/// SHA-256 of one message.
#[inline]
pub(super) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

/// An expanded AES-256-GCM key; aws-lc wipes it when it is freed.
pub(super) struct AesKey(LessSafeKey);

impl AesKey {
    #[allow(clippy::expect_used)] // The only failing path is a wrong key length.
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key"),
        ))
    }

    /// Appends the plaintext to `out`; false, with anything after what was in `out`, if the tag is wrong.
    pub(super) fn open(&self, iv: &[u8; 12], aad: &[u8], tag: &[u8; 16], ciphertext: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.resize(start.saturating_add(ciphertext.len()), 0);
        let nonce = Nonce::assume_unique_for_key(*iv);
        let Some(plaintext) = out.get_mut(start..) else {
            return false;
        };
        self.0
            .open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, plaintext)
            .is_ok()
    }

    /// Encrypts `buffer` in place.
    pub(super) fn seal(&self, iv: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> Option<[u8; 16]> {
        let nonce = Nonce::assume_unique_for_key(*iv);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), buffer).ok()?;
        tag.as_ref().try_into().ok()
    }
}

/// A public key, parsed once for each digest length that is hot.
pub(super) struct PublicKey {
    sha256: ParsedPublicKey,
    sha384: ParsedPublicKey,
    sha512: &'static EcdsaVerificationAlgorithm,
    point: Box<[u8]>,
}

impl PublicKey {
    /// From a SEC1 point; `None` if it is not on the curve.
    pub(super) fn from_sec1(curve: Curve, point: &[u8]) -> Option<Self> {
        let (sha256, sha384, sha512) = match curve {
            Curve::P256 => (
                &sig::ECDSA_P256_SHA256_ASN1,
                &sig::ECDSA_P256_SHA384_ASN1,
                &sig::ECDSA_P256_SHA512_ASN1,
            ),
            Curve::P384 => (
                &sig::ECDSA_P384_SHA256_ASN1,
                &sig::ECDSA_P384_SHA384_ASN1,
                &sig::ECDSA_P384_SHA512_ASN1,
            ),
        };
        Some(Self {
            sha256: ParsedPublicKey::new(sha256, point).ok()?,
            sha384: ParsedPublicKey::new(sha384, point).ok()?,
            sha512,
            point: point.into(),
        })
    }

    /// Whether the DER signature is of `digest`, which has the length of `hash`.
    pub(super) fn verify(&self, hash: HashAlgorithm, digest: &[u8], der: &[u8]) -> bool {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        };
        // "Less safe" because aws-lc cannot know that the bytes are a hash. They are: a Merkle root, or the
        // hash that `VerifyingKey` has just made.
        let Ok(digest) = Digest::import_less_safe(digest, algorithm) else {
            return false;
        };
        match hash {
            HashAlgorithm::Sha256 => self.sha256.verify_digest_sig(&digest, der).is_ok(),
            HashAlgorithm::Sha384 => self.sha384.verify_digest_sig(&digest, der).is_ok(),
            HashAlgorithm::Sha512 => {
                sig::VerificationAlgorithm::verify_digest_sig(self.sha512, &self.point, &digest, der).is_ok()
            }
        }
    }
}

/// A public key on P-521.
pub(super) struct P521Key(Box<[u8]>);

impl P521Key {
    /// From an uncompressed SEC1 point; `None` if it is not on the curve.
    pub(super) fn from_sec1(point: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&sig::ECDSA_P521_SHA512_ASN1, point).ok()?;
        Some(Self(point.into()))
    }

    /// Whether the DER signature is of `message`.
    pub(super) fn verify(&self, hash: HashAlgorithm, message: &[u8], der: &[u8]) -> bool {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => &sig::ECDSA_P521_SHA256_ASN1,
            HashAlgorithm::Sha384 => &sig::ECDSA_P521_SHA384_ASN1,
            HashAlgorithm::Sha512 => &sig::ECDSA_P521_SHA512_ASN1,
        };
        sig::VerificationAlgorithm::verify_sig(algorithm, &self.0, message, der).is_ok()
    }
}

/// An RSA public key for verification, parsed once for the scheme of AMD's chips.
pub(super) struct RsaPublicKey {
    pkcs1_der: Box<[u8]>,
    pss_sha384: ParsedPublicKey,
}

impl RsaPublicKey {
    /// From a key that is already parsed, and its PKCS#1 DER.
    pub(super) fn from_pkcs1(_parsed: ::rsa::RsaPublicKey, pkcs1_der: &[u8]) -> Option<Self> {
        Some(Self {
            pss_sha384: ParsedPublicKey::new(&sig::RSA_PSS_2048_8192_SHA384, pkcs1_der).ok()?,
            pkcs1_der: pkcs1_der.into(),
        })
    }

    /// RSASSA-PSS with a salt as long as the digest.
    pub(super) fn verify_pss(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => &sig::RSA_PSS_2048_8192_SHA256,
            HashAlgorithm::Sha384 => return self.pss_sha384.verify_sig(message, signature).is_ok(),
            HashAlgorithm::Sha512 => &sig::RSA_PSS_2048_8192_SHA512,
        };
        self.verify(algorithm, message, signature)
    }

    /// RSASSA-PKCS1-v1_5.
    pub(super) fn verify_pkcs1(&self, hash: HashAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = match hash {
            HashAlgorithm::Sha256 => &sig::RSA_PKCS1_2048_8192_SHA256,
            HashAlgorithm::Sha384 => &sig::RSA_PKCS1_2048_8192_SHA384,
            HashAlgorithm::Sha512 => &sig::RSA_PKCS1_2048_8192_SHA512,
        };
        self.verify(algorithm, message, signature)
    }

    fn verify(&self, algorithm: &'static sig::RsaParameters, message: &[u8], signature: &[u8]) -> bool {
        sig::VerificationAlgorithm::verify_sig(algorithm, &self.pkcs1_der, message, signature).is_ok()
    }
}

/// An RSA private key for OAEP with SHA-256.
pub(super) struct OaepKey(OaepPrivateDecryptingKey);

impl OaepKey {
    /// From PKCS#8 DER.
    pub(super) fn from_pkcs8(_parsed: &::rsa::RsaPrivateKey, pkcs8_der: &[u8]) -> Option<Self> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8_der).ok()?;
        OaepPrivateDecryptingKey::new(key).ok().map(Self)
    }

    /// The plaintext of `ciphertext`.
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.0.min_output_size()]);
        let plaintext = self
            .0
            .decrypt(&OAEP_SHA256_MGF1SHA256, ciphertext, &mut out, None)
            .ok()?;
        let length = plaintext.len();
        out.truncate(length);
        Some(out)
    }
}
