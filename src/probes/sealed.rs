//! Files in a directory of sealed secrets, and what the ledger holds of that kind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::AeadKey;
use crate::recovery::sealed_share::open_sealed_share;
use crate::sealing::recovery_key::open_recovery_key;
use crate::sealing::{KeySource, Listed, SealedSecret, SealingKey, TcbVersion};
use crate::tables::values::{SealedRecoveryKey, SealedShares, from_json};

struct Zeros;

impl SealingKey for Zeros {
    fn source(&self) -> KeySource {
        KeySource::InsecureFile
    }

    fn tcb(&self) -> Result<TcbVersion, String> {
        Ok(TcbVersion(0))
    }

    fn derive(&self, _: TcbVersion) -> Result<Zeroizing<[u8; 32]>, String> {
        Ok(Zeroizing::new([0; 32]))
    }
}

/// A sealed file: as it is, as the plaintext of one that opens, and as a name; a sealed key and sealed shares.
pub fn sealed_file(bytes: &[u8]) {
    let open = |bytes: &[u8]| SealedSecret::parse(bytes).and_then(|sealed| sealed.open(&Zeros));
    let _ = open(bytes).map_err(|refusal| refusal.to_string());
    let mut blob = vec![0; 28];
    if let Ok(tag) = AeadKey::new(&[0; 32]).seal(&[0; 12], b"{}", bytes, &mut blob) {
        if let Some(room) = blob.first_chunk_mut() {
            *room = tag;
        }
        let whole = format!(r#"{{"aad_text":"{{}}","ciphertext":"{}"}}"#, STANDARD.encode(&blob));
        let _ = open(whole.as_bytes());
    }
    let name = String::from_utf8_lossy(bytes);
    let _ = Listed::of(std::path::Path::new("sealed"), name.as_ref().as_ref());
    let _ = open_recovery_key(bytes, &name, TcbVersion(0), &Zeros);
    let shares = from_json::<SealedShares>(bytes);
    let key = from_json::<SealedRecoveryKey>(bytes);
    if let (Ok(shares), Ok(key)) = (shares, key) {
        let _ = open_sealed_share(&shares, "", &key, &Zeros);
    }
}
