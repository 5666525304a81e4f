//! The later design: what is sealed is a node's RSA key, which stands in the ledger with everything that is encrypted to it.
//! Recovery specification, section 6.7.
//!
//! The private key's PEM under AES-256-GCM with the PEM of the public key as additional data. The key is derived from the
//! source's by HKDF, so nothing that is sealed by one design opens as the other's.

use zeroize::Zeroizing;

use super::SealingKey;
use super::refusal::Refusal;
use super::tcb::TcbVersion;
use crate::crypto::kdf::hkdf_sha256;
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::{AeadKey, GcmBlob};

/// What the derivation is for, in CCF's words.
const LABEL: &[u8] = b"CCF AMD Local Sealing Key";
/// Bytes of a sealed private key at most: one of 2048 bits has some 1,700.
const MAX_CIPHERTEXT_BYTES: usize = 16 << 10;

/// How a recovery key was sealed; CCF knows this way only, and names it so whatever the source of the key.
pub const SNP_V1: &str = "SNP_v1";

/// Seals a private key, PEM, to which the public one belongs; answers the blob and the TCB version that it was sealed under.
/// No nonce may be used twice with one source.
///
/// # Errors
/// In words, where the source gives no key.
pub fn seal_recovery_key(
    private_pem: &str,
    public_pem: &str,
    key: &dyn SealingKey,
    iv: [u8; 12],
) -> Result<(Vec<u8>, TcbVersion), String> {
    let tcb = key.tcb()?;
    let aead = derive(key, tcb)?;
    let mut blob = vec![0; 16];
    blob.extend_from_slice(&iv);
    let tag = aead
        .seal(&iv, public_pem.as_bytes(), private_pem.as_bytes(), &mut blob)
        .map_err(|why| format!("a recovery key can't be sealed: {why}"))?;
    if let Some(room) = blob.first_chunk_mut() {
        *room = tag;
    }
    Ok((blob, tcb))
}

/// Opens what [`seal_recovery_key`] made.
///
/// # Errors
/// [`Refusal::NoKey`], [`Refusal::DoesNotOpen`], [`Refusal::Malformed`].
pub fn open_recovery_key(
    ciphertext: &[u8],
    public_pem: &str,
    tcb: TcbVersion,
    key: &dyn SealingKey,
) -> Result<DecryptionKey, Refusal> {
    let malformed = |what: &str| Refusal::Malformed(what.to_owned());
    if ciphertext.len() > MAX_CIPHERTEXT_BYTES {
        return Err(malformed("it is too long for a sealed private key"));
    }
    let aead = derive(key, tcb).map_err(|why| Refusal::NoKey { tcb, why })?;
    let blob = GcmBlob::parse(ciphertext).map_err(|_| malformed("it is shorter than a tag and a nonce"))?;
    let mut pem = Zeroizing::new(Vec::with_capacity(blob.ciphertext.len()));
    aead.open(blob.iv, public_pem.as_bytes(), blob.tag, blob.ciphertext, &mut pem)
        .map_err(|_| Refusal::DoesNotOpen { tcb })?;
    let pem = std::str::from_utf8(&pem).ok();
    pem.and_then(|pem| DecryptionKey::from_pem(pem.trim_end_matches('\0')).ok())
        .ok_or_else(|| malformed("it opens, but holds something else than an RSA private key"))
}

fn derive(key: &dyn SealingKey, tcb: TcbVersion) -> Result<AeadKey, String> {
    let derived = key.derive(tcb)?;
    Ok(AeadKey::new(&hkdf_sha256(derived.as_slice(), LABEL)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::{EncryptionKey, generate_key_pair};
    use crate::sealing::KeyFile;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn key(byte: &str) -> KeyFile {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("key.hex");
        std::fs::write(&path, byte.repeat(32)).unwrap();
        KeyFile::read(&path).unwrap()
    }

    #[test]
    fn a_sealed_key_decrypts_what_was_encrypted_to_its_public_half_and_to_no_other() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let (private, public) = generate_key_pair(2048, &mut rng).unwrap();
        let (right, wrong) = (key("01"), key("02"));
        let (sealed, tcb) = seal_recovery_key(&private, &public, &right, [1; 12]).unwrap();
        let opened = open_recovery_key(&sealed, &public, tcb, &right).unwrap();
        let encrypted = EncryptionKey::from_pem(&public)
            .unwrap()
            .encrypt(b"share", &mut rng)
            .unwrap();
        assert_eq!(opened.decrypt(&encrypted).unwrap().as_slice(), b"share");

        let refusal = |sealed: &[u8], public: &str, key: &KeyFile| open_recovery_key(sealed, public, tcb, key).err();
        let does_not_open = Some(Refusal::DoesNotOpen { tcb });
        assert_eq!(refusal(&sealed, &public, &wrong), does_not_open);
        assert_eq!(refusal(&sealed, "another key", &right), does_not_open);
        let mut flipped = sealed.clone();
        flipped[100] ^= 1;
        assert_eq!(refusal(&flipped, &public, &right), does_not_open);
        for (bytes, kind) in [
            (&sealed[..20], "malformed"),
            (&[7; MAX_CIPHERTEXT_BYTES + 1], "malformed"),
        ] {
            assert_eq!(
                refusal(bytes, &public, &right).map(|refusal| refusal.kind()),
                Some(kind)
            );
        }
        let (other, _) = seal_recovery_key("no key", &public, &right, [2; 12]).unwrap();
        assert_eq!(
            refusal(&other, &public, &right).map(|refusal| refusal.kind()),
            Some("malformed")
        );
    }
}
