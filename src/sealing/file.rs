//! One sealed file: `{"aad_text":"{\"tcb_version\":\"…\",\"version\":…}","ciphertext":"…"}`. Recovery specification,
//! section 6.1.
//!
//! Under AES-256-GCM with the sealing key itself and the bytes of `aad_text` as they stand. The plaintext is
//! `{"previous_secret_stored_version":…,"raw_key":"…"}`. CCF leaves out what has its default.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::SealingKey;
use super::refusal::Refusal;
use super::tcb::TcbVersion;
use crate::crypto::{AeadKey, GcmBlob, LedgerSecret};
use crate::format::Seqno;

/// Bytes of a file at most: one has some 300.
pub const MAX_FILE_BYTES: u64 = 16 << 10;

/// A sealed ledger secret.
pub struct SealedSecret {
    /// First seqno that the secret is valid for, as the file says; it is authenticated when the file is opened.
    pub version: Seqno,
    /// The TCB version that it was sealed under.
    pub tcb: TcbVersion,
    aad_text: String,
    ciphertext: Vec<u8>,
}

/// What a file held.
pub struct Unsealed {
    /// The secret.
    pub secret: LedgerSecret,
    /// First seqno that it is valid for.
    pub version: Seqno,
    /// Seqno of the write of the historical secrets before it.
    pub previous_stored: Option<Seqno>,
}

#[derive(Deserialize, Serialize)]
struct Outer {
    #[serde(default)]
    aad_text: String,
    #[serde(default)]
    ciphertext: String,
}

#[derive(Deserialize, Serialize)]
struct Aad {
    #[serde(default)]
    tcb_version: String,
    #[serde(default)]
    version: Seqno,
}

#[derive(Deserialize)]
struct Plaintext<'a> {
    #[serde(default)]
    previous_secret_stored_version: Option<Seqno>,
    #[serde(borrow)]
    raw_key: &'a str,
}

impl SealedSecret {
    /// Takes a file apart; nothing in it is believed yet.
    ///
    /// # Errors
    /// [`Refusal::Truncated`], [`Refusal::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<SealedSecret, Refusal> {
        let malformed = |what: &str| Refusal::Malformed(what.to_owned());
        // What serde would say quotes the file.
        let not_json = |what: &'static str| {
            move |why: serde_json::Error| match why.is_eof() {
                true => Refusal::Truncated,
                false => Refusal::Malformed(format!("{what} is not the JSON of one, at column {}", why.column())),
            }
        };
        let outer: Outer = serde_json::from_slice(bytes).map_err(not_json("it"))?;
        let aad: Aad = match outer.aad_text.as_str() {
            "" => Aad {
                tcb_version: String::new(),
                version: 0,
            },
            text => serde_json::from_str(text).map_err(|_| malformed("its aad_text is not JSON of the right kind"))?,
        };
        let ciphertext = STANDARD
            .decode(&outer.ciphertext)
            .map_err(|_| malformed("its ciphertext is not base64"))?;
        GcmBlob::parse(&ciphertext).map_err(|_| malformed("its ciphertext is shorter than a tag and a nonce"))?;
        Ok(SealedSecret {
            version: aad.version,
            tcb: aad.tcb_version.parse().map_err(Refusal::Malformed)?,
            aad_text: outer.aad_text,
            ciphertext,
        })
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Refusal::NoKey`], [`Refusal::DoesNotOpen`]; [`Refusal::Malformed`] where it opens and holds something else.
    pub fn open(&self, key: &dyn SealingKey) -> Result<Unsealed, Refusal> {
        let tcb = self.tcb;
        let key = key.derive(tcb).map_err(|why| Refusal::NoKey { tcb, why })?;
        let blob = GcmBlob::parse(&self.ciphertext).map_err(|_| Refusal::Truncated)?;
        let mut plaintext = Zeroizing::new(Vec::with_capacity(blob.ciphertext.len()));
        AeadKey::new(&key)
            .open(
                blob.iv,
                self.aad_text.as_bytes(),
                blob.tag,
                blob.ciphertext,
                &mut plaintext,
            )
            .map_err(|_| Refusal::DoesNotOpen { tcb })?;
        // No word of serde's: it would quote what is secret.
        let other = || Refusal::Malformed("it opens, but holds something else than a ledger secret".to_owned());
        let inside: Plaintext<'_> = serde_json::from_slice(&plaintext).map_err(|_| other())?;
        let mut raw = Zeroizing::new([0; 48]);
        let length = STANDARD
            .decode_slice(inside.raw_key, raw.as_mut_slice())
            .map_err(|_| other())?;
        let raw = raw.get(..length).and_then(|raw| <&[u8; 32]>::try_from(raw).ok());
        Ok(Unsealed {
            secret: LedgerSecret::from_bytes(*raw.ok_or_else(other)?),
            version: self.version,
            previous_stored: inside.previous_secret_stored_version,
        })
    }

    /// The bytes of a file that holds `secret`, valid from `version` on, sealed under the source's present TCB version.
    /// No nonce may be used twice with one source.
    ///
    /// # Errors
    /// In words, where the source gives no key.
    pub fn seal(
        secret: &LedgerSecret,
        version: Seqno,
        previous_stored: Option<Seqno>,
        key: &dyn SealingKey,
        iv: [u8; 12],
    ) -> Result<Vec<u8>, String> {
        let tcb = key.tcb()?;
        let derived = key.derive(tcb)?;
        let aad = Aad {
            tcb_version: tcb.to_string(),
            version,
        };
        let words = |why: serde_json::Error| format!("a sealed file can't be made: {why}");
        let aad_text = serde_json::to_string(&aad).map_err(words)?;
        let previous = previous_stored.map_or(String::new(), |seqno| {
            format!("\"previous_secret_stored_version\":{seqno},")
        });
        let mut raw = Zeroizing::new([0; 44]);
        let length = STANDARD
            .encode_slice(secret.as_bytes(), raw.as_mut_slice())
            .map_err(|why| format!("a secret can't be encoded: {why}"))?;
        let raw = raw.get(..length).unwrap_or_default();
        // Of its full capacity at once: nothing secret is left behind where it would have grown.
        let mut plaintext = Zeroizing::new(Vec::with_capacity(128));
        plaintext.push(b'{');
        plaintext.extend_from_slice(previous.as_bytes());
        plaintext.extend_from_slice(b"\"raw_key\":\"");
        plaintext.extend_from_slice(raw);
        plaintext.extend_from_slice(b"\"}");
        let mut blob = vec![0; 16];
        blob.extend_from_slice(&iv);
        let tag = AeadKey::new(&derived)
            .seal(&iv, aad_text.as_bytes(), &plaintext, &mut blob)
            .map_err(|why| format!("a secret can't be sealed: {why}"))?;
        if let Some(room) = blob.first_chunk_mut() {
            *room = tag;
        }
        let outer = Outer {
            aad_text,
            ciphertext: STANDARD.encode(blob),
        };
        serde_json::to_vec(&outer).map_err(words)
    }
}

#[cfg(test)]
mod tests;
