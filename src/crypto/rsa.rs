//! RSA-OAEP with SHA-256 (both hashes, empty label): how shares reach members.
//!
//! Decryption belongs to the provider. Key generation and encryption are the `rsa` crate in both, because its
//! generator can be seeded; they do no private-key operation, so RUSTSEC-2023-0071 does not concern them.

use ::rsa::pkcs1::DecodeRsaPrivateKey;
use ::rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use ::rsa::traits::PublicKeyParts;
use ::rsa::{Oaep, RsaPrivateKey, RsaPublicKey};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{ecdsa, error::Error, pem, provider};

mod search;

pub use search::KeyPairInTheMaking;

const PRIVATE: &str = "an RSA private key (a member's share-encryption key, memberN_enc_privk.pem)";
const PUBLIC: &str = "an RSA public key";

/// A member's private share-encryption key.
pub struct DecryptionKey {
    key: provider::OaepKey,
    public_spki_der: Vec<u8>,
}

impl DecryptionKey {
    /// Reads a PEM `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1).
    ///
    /// # Errors
    /// [`Error::MalformedPem`]; [`Error::WrongPemKind`], which says what the file is instead;
    /// [`Error::MalformedKey`]; [`Error::RsaKeySize`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let malformed = Error::MalformedKey {
            what: "RSA private key",
        };
        let block = pem::first_block(pem)?;
        let parsed = match block.label {
            "PRIVATE KEY" => match ecdsa::describe_pkcs8(&block.der) {
                Some("RSA") => RsaPrivateKey::from_pkcs8_der(&block.der).map_err(|_| malformed.clone())?,
                Some("EC") => {
                    let found = "an elliptic-curve private key; it looks like a signing key (memberN_privk.pem)";
                    return Err(Error::WrongPemKind {
                        expected: PRIVATE,
                        found: found.to_owned(),
                    });
                }
                Some(_) => return Err(pem::wrong_kind(PRIVATE, block.label)),
                None => return Err(malformed),
            },
            "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&block.der).map_err(|_| malformed.clone())?,
            other => return Err(pem::wrong_kind(PRIVATE, other)),
        };
        check_size(parsed.n().bits_vartime() as usize)?;
        let pkcs8 = parsed.to_pkcs8_der().map_err(|_| malformed.clone())?;
        let public = parsed
            .to_public_key()
            .to_public_key_der()
            .map_err(|_| malformed.clone())?;
        let key = provider::OaepKey::from_pkcs8(&parsed, pkcs8.as_bytes()).ok_or(malformed)?;
        Ok(Self {
            key,
            public_spki_der: public.into_vec(),
        })
    }

    /// Decrypts one ciphertext (as long as the modulus: 256 bytes for the usual 2048 bits).
    ///
    /// # Errors
    /// [`Error::RsaDecryptionFailed`], whatever the reason.
    pub fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.key.decrypt(ciphertext).ok_or(Error::RsaDecryptionFailed)
    }

    /// The DER SubjectPublicKeyInfo of the public half, to find whose key this is.
    pub fn public_spki_der(&self) -> &[u8] {
        &self.public_spki_der
    }
}

/// A member's public share-encryption key.
pub struct EncryptionKey {
    key: RsaPublicKey,
    spki_der: Vec<u8>,
}

impl EncryptionKey {
    /// Reads a PEM `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`Error::MalformedPem`], [`Error::WrongPemKind`], [`Error::MalformedKey`] or [`Error::RsaKeySize`].
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let block = pem::first_block(pem)?;
        if block.label != "PUBLIC KEY" {
            return Err(pem::wrong_kind(PUBLIC, block.label));
        }
        let key = RsaPublicKey::from_public_key_der(&block.der).map_err(|_| Error::MalformedKey { what: PUBLIC })?;
        check_size(key.n().bits_vartime() as usize)?;
        Ok(Self {
            key,
            spki_der: block.der.to_vec(),
        })
    }

    /// Encrypts `plaintext` (at most 190 bytes for 2048 bits); the same generator state gives the same bytes.
    ///
    /// # Errors
    /// [`Error::RsaEncryptionFailed`] where it does not fit.
    pub fn encrypt(&self, plaintext: &[u8], rng: &mut impl CryptoRng) -> Result<Vec<u8>, Error> {
        self.key
            .encrypt(rng, Oaep::<Sha256>::new(), plaintext)
            .map_err(|_| Error::RsaEncryptionFailed {
                length: plaintext.len(),
            })
    }

    /// The DER SubjectPublicKeyInfo, as it was given.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    /// The same as PEM, with a final newline: this key and nothing else, whatever else stood in the text that was read.
    pub fn spki_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki_der)
    }
}

/// A new key pair: PKCS#8 PEM (wiped on drop) and SPKI PEM. The same generator state gives the same keys.
///
/// # Errors
/// [`Error::RsaKeySize`] outside 2048 to 8192 bits.
pub fn generate_key_pair(bits: usize, rng: &mut impl CryptoRng) -> Result<(Zeroizing<String>, String), Error> {
    check_size(bits)?;
    let failed = Error::MalformedKey {
        what: "newly generated RSA key",
    };
    let key = RsaPrivateKey::new(rng, bits).map_err(|_| failed.clone())?;
    to_pems(&key).ok_or(failed)
}

fn to_pems(key: &RsaPrivateKey) -> Option<(Zeroizing<String>, String)> {
    let private = key.to_pkcs8_pem(LineEnding::LF).ok()?;
    let public = key.to_public_key().to_public_key_pem(LineEnding::LF).ok()?;
    Some((private, public))
}

/// Reads a SubjectPublicKeyInfo: the same keys are accepted whichever provider then verifies with them.
pub(super) fn public_key(spki_der: &[u8]) -> Result<RsaPublicKey, Error> {
    let key = RsaPublicKey::from_public_key_der(spki_der).map_err(|_| Error::MalformedKey { what: PUBLIC })?;
    check_size(key.n().bits_vartime() as usize)?;
    Ok(key)
}

/// The same limits for both providers; what is below is not safe, what is above takes for ever.
fn check_size(bits: usize) -> Result<(), Error> {
    if (2048..=8192).contains(&bits) {
        Ok(())
    } else {
        Err(Error::RsaKeySize { bits })
    }
}

#[cfg(test)]
mod tests;
