//! The service's ledger secrets in its tables: the chain that ties each to the one before it, and their broadcast to nodes.
//!
//! Recovery specification, sections 2.7 and 5.2; format specification, section 8.2.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use crate::crypto::LedgerSecret;
use crate::crypto::rsa::{DecryptionKey, EncryptionKey};
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

/// What a write of `encrypted_ledger_secrets` at `seqno` holds for the node of this id, the oldest secret first; nothing where it
/// holds nothing for it. A secret without a version seals from the seqno after the write.
///
/// # Errors
/// In words, if it can't be read, or is not for this key.
pub fn received(value: &[u8], node: &str, key: &DecryptionKey, seqno: Seqno) -> Result<Vec<KnownSecret>, String> {
    let mut all: BTreeMap<String, Vec<EncryptedLedgerSecret>> =
        from_json(value).map_err(|why| format!("the ledger secrets that are sent to nodes can't be read: {why}"))?;
    let mut secrets = Vec::new();
    for sent in all.remove(node).unwrap_or_default() {
        let bytes = key
            .decrypt(&sent.encrypted_secret.0)
            .map_err(|_| "a ledger secret that is sent to this node is not for its key".to_owned())?;
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(
            bytes
                .as_slice()
                .try_into()
                .map_err(|_| format!("a ledger secret has {} bytes, expected 32", bytes.len()))?,
        );
        let (from, stored) = match sent.version {
            Some(from) => (from, sent.previous_secret_stored_version),
            // With the write that re-keys, the secret before it is stored.
            None => (seqno.saturating_add(1), Some(seqno)),
        };
        secrets.push(KnownSecret {
            secret: LedgerSecret::from_bytes(*bytes),
            from,
            previous_stored: stored,
        });
    }
    secrets.sort_by_key(|known| known.from);
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::generate_key_pair;
    use crate::crypto::testing::rng;
    use crate::tables::values::to_json;

    #[test]
    fn a_node_reads_what_is_sent_to_it_and_nothing_else() {
        let (private, public) = generate_key_pair(2048, &mut rng(1)).unwrap();
        let key = DecryptionKey::from_pem(&private).unwrap();
        let to = EncryptionKey::from_pem(&public).unwrap();
        let known = |byte, from, previous_stored| KnownSecret {
            secret: LedgerSecret::from_bytes([byte; 32]),
            from,
            previous_stored,
        };
        let (one, two, next) = (known(1, 1, None), known(2, 40, Some(39)), known(3, 0, None));
        let recovered = [(Some(40), &two), (Some(1), &one)];
        let list = succession::broadcast(&to, recovered.into_iter(), &mut rng(2)).unwrap();
        let value = to_json(&BTreeMap::from([("me", list)]));
        let read = |secrets: Vec<KnownSecret>| -> Vec<_> {
            secrets
                .iter()
                .map(|known| (known.secret.as_bytes()[0], known.from, known.previous_stored))
                .collect()
        };
        assert_eq!(
            read(received(&value, "me", &key, 90).unwrap()),
            [(1, 1, None), (2, 40, Some(39))]
        );
        assert!(received(&value, "you", &key, 90).unwrap().is_empty());
        let list = succession::broadcast(&to, [(None, &next)].into_iter(), &mut rng(3)).unwrap();
        let value = to_json(&BTreeMap::from([("me", list)]));
        assert_eq!(read(received(&value, "me", &key, 90).unwrap()), [(3, 91, Some(90))]);
        let (other, _) = generate_key_pair(2048, &mut rng(4)).unwrap();
        let other = DecryptionKey::from_pem(&other).unwrap();
        assert!(received(&value, "me", &other, 90).is_err());
        assert!(received(b"[]", "me", &key, 90).is_err());
    }
}
