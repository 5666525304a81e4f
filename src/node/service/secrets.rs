//! The service's own ledger secrets, the chain that ties each to the one before it, and their broadcast to nodes.
//!
//! Recovery specification, sections 2.7 and 5.2; format specification, section 8.2.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::crypto::LedgerSecret;
use crate::crypto::rsa::EncryptionKey;
use crate::format::Seqno;
use crate::kv::store::Transaction;
use crate::tables::values::{
    Base64, EncryptedLedgerSecret, HistoricalSecret, NodeInfo, NodeStatus, PreviousSecret, from_json,
};
use crate::tables::{SINGLETON_KEY, names};

/// One ledger secret.
#[derive(Clone)]
pub struct KnownSecret {
    /// The secret.
    pub secret: LedgerSecret,
    /// First seqno that it seals.
    pub from: Seqno,
    /// Seqno of the write of the historical secrets that introduced it; none until that is written.
    pub previous_stored: Option<Seqno>,
}

/// A random nonce.
pub fn random_iv(rng: &mut ChaCha20Rng) -> [u8; 12] {
    let mut iv = [0; 12];
    rng.fill_bytes(&mut iv);
    iv
}

/// Seqno of the last write of the historical secrets.
pub fn stored_at(transaction: &Transaction<'_>) -> Option<Seqno> {
    transaction.version(names::HISTORICAL_ENCRYPTED_LEDGER_SECRET, &SINGLETON_KEY)
}

/// The value that chains `before` to `next`, which follows it.
pub fn chain(
    transaction: &Transaction<'_>,
    before: &KnownSecret,
    next: &LedgerSecret,
    next_version: Option<Seqno>,
    rng: &mut ChaCha20Rng,
) -> HistoricalSecret {
    HistoricalSecret {
        previous_ledger_secret: Some(PreviousSecret {
            encrypted_data: Base64(next.seal(&before.secret, random_iv(rng))),
            version: before.from,
            previous_secret_stored_version: stored_at(transaction),
        }),
        next_version,
    }
}

/// `encrypted_ledger_secrets`: every secret of `secrets` for every trusted node. A version of `None` stands for the
/// seqno behind the write.
///
/// # Errors
/// In words, if a node's encryption key can't be read.
pub fn broadcast<'s>(
    transaction: &Transaction<'_>,
    secrets: impl Iterator<Item = (Option<Seqno>, &'s KnownSecret)> + Clone,
    rng: &mut ChaCha20Rng,
) -> Result<BTreeMap<String, Vec<EncryptedLedgerSecret>>, String> {
    let mut all = BTreeMap::new();
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let id = String::from_utf8_lossy(&id).into_owned();
        let info: NodeInfo = from_json(&value).map_err(|why| format!("nodes.info of {id} can't be read: {why}"))?;
        if info.status != NodeStatus::Trusted {
            continue;
        }
        let pem = info.other.get("encryption_pub_key").and_then(|pem| pem.as_str());
        let key = EncryptionKey::from_pem(pem.unwrap_or_default())
            .map_err(|why| format!("the encryption key of node {id} can't be read: {why}"))?;
        let mut list = Vec::new();
        for (version, known) in secrets.clone() {
            let encrypted = key.encrypt(known.secret.as_bytes(), rng);
            list.push(EncryptedLedgerSecret {
                version,
                encrypted_secret: Base64(encrypted.map_err(|why| format!("can't encrypt for node {id}: {why}"))?),
                previous_secret_stored_version: known.previous_stored,
            });
        }
        all.insert(id, list);
    }
    Ok(all)
}
