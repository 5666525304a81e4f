//! The service's ledger secrets in its tables: the chain that ties each to the one before it, and their broadcast to nodes.
//!
//! Recovery specification, sections 2.7 and 5.2; format specification, section 8.2.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;

use crate::crypto::LedgerSecret;
use crate::crypto::rsa::EncryptionKey;
use crate::format::Seqno;
use crate::journal::succession::{self, KnownSecret};
use crate::kv::store::Transaction;
use crate::tables::values::{EncryptedLedgerSecret, HistoricalSecret, NodeInfo, NodeStatus, from_json};
use crate::tables::{SINGLETON_KEY, names};

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
    succession::chain(before, stored_at(transaction), next, next_version, rng)
}

/// `encrypted_ledger_secrets`: every secret of `secrets` for every trusted node. A version of `None` stands for the
/// seqno after the write.
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
        let pem: Option<String> = info.other.read("encryption_pub_key");
        let key = EncryptionKey::from_pem(&pem.unwrap_or_default())
            .map_err(|why| format!("the encryption key of node {id} can't be read: {why}"))?;
        let list = succession::broadcast(&key, secrets.clone(), rng);
        let list = list.map_err(|why| format!("can't encrypt for node {id}: {why}"))?;
        all.insert(id, list);
    }
    Ok(all)
}
