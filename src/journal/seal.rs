//! One write set to one entry: serialised, encrypted, hashed. Format specification, sections 2 to 4.

use zeroize::Zeroizing;

use crate::crypto::digest::{Digest, sha256, sha256_pair, sha256_three};
use crate::crypto::{AeadKey, CommitSecret, LedgerSecret, SealStream};
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::domain::{EntryType, PublicHeader, WriteSet};
use crate::format::entry::{EntryIv, write_entry};

/// A ledger secret, made ready to seal entries.
pub struct SealKey {
    secret: LedgerSecret,
    aead: AeadKey,
    commit_secret: CommitSecret,
}

impl SealKey {
    /// Expands the secret once.
    pub fn new(secret: &LedgerSecret) -> Self {
        SealKey {
            secret: secret.clone(),
            aead: secret.aead(),
            commit_secret: secret.commit_secret(),
        }
    }

    /// The evidence text of a transaction sealed with this key, as receipts show it.
    pub fn evidence_text(&self, txid: TxId) -> String {
        self.commit_secret.evidence_text(txid.view, txid.seqno)
    }

    /// Begins a message that is encrypted piece by piece.
    pub(super) fn stream(&self, iv: EntryIv) -> SealStream {
        SealStream::new(self.secret.as_bytes(), &iv.to_bytes())
    }
}

/// What was made of a write set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of the raw entry.
    pub write_set_digest: Digest,
    /// The Merkle leaf.
    pub leaf: Digest,
}

/// Seals entries, one at a time, into buffers that are used again.
#[derive(Default)]
pub struct Sealer {
    public: Vec<u8>,
    plaintext: Zeroizing<Vec<u8>>,
    ciphertext: Vec<u8>,
    raw: Vec<u8>,
}

impl Sealer {
    /// The raw entry that was sealed last.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Seals `writes` as the transaction `txid`. `flags` is asked once the entry's size in bytes is known.
    ///
    /// Claims turn type 3 into type 4, as CCF did in the versions that had both; types 0 and 1 have no place for them.
    ///
    /// # Errors
    /// [`Error::Usage`] if the entry is too large for the format or the cipher.
    pub fn seal(
        &mut self,
        key: &SealKey,
        entry_type: EntryType,
        txid: TxId,
        writes: &WriteSet,
        claims: Option<&Digest>,
        flags: impl FnOnce(u64) -> u8,
    ) -> Result<Sealed> {
        let entry_type = match (entry_type, claims) {
            (EntryType::WriteSetWithCommitEvidence, Some(_)) => EntryType::WriteSetWithCommitEvidenceAndClaims,
            (entry_type, _) => entry_type,
        };
        let evidence = match entry_type.has_commit_evidence() {
            true => Some(key.commit_secret.evidence_digest(txid.view, txid.seqno)),
            false => None,
        };
        let claims = entry_type.has_claims().then_some(claims.unwrap_or(&[0; 32]));
        let header = PublicHeader {
            entry_type,
            seqno: txid.seqno,
            claims_digest: claims,
            commit_evidence_digest: evidence.as_ref(),
            max_conflict_version: 0,
        };
        self.public.clear();
        header.write(&mut self.public);
        writes.write_domain(true, &mut self.public);
        self.plaintext.clear();
        writes.write_domain(false, &mut self.plaintext);
        let iv = EntryIv {
            seqno: txid.seqno,
            view: txid.view,
            snapshot: false,
        };
        self.encrypt(&key.aead, iv, flags)?;
        let write_set_digest = sha256(&self.raw);
        let leaf = match (&evidence, claims) {
            (Some(evidence), Some(claims)) => sha256_three(&write_set_digest, evidence, claims),
            (Some(evidence), None) => sha256_pair(&write_set_digest, evidence),
            (None, Some(claims)) => sha256_pair(&write_set_digest, claims),
            (None, None) => write_set_digest,
        };
        Ok(Sealed { write_set_digest, leaf })
    }

    fn encrypt(&mut self, aead: &AeadKey, iv: EntryIv, flags: impl FnOnce(u64) -> u8) -> Result<()> {
        self.raw.clear();
        self.ciphertext.clear();
        let too_large = |why: String| Error::Usage(format!("transaction {} can't be sealed: {why}", iv.seqno));
        let tag = aead
            .seal(&iv.to_bytes(), &self.public, &self.plaintext, &mut self.ciphertext)
            .map_err(|why| too_large(why.to_string()))?;
        let size = 44 + self.public.len() as u64 + self.ciphertext.len() as u64;
        write_entry(&mut self.raw, flags(size), &tag, iv, &self.public, &self.ciphertext)
            .map_err(|why| too_large(why.to_string()))
    }
}
