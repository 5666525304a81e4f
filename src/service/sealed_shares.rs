//! Shares of the newest ledger secret for nodes that have sealed a key: written with members' shares, each time.
//! Recovery specification, section 6.7.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;

use super::{put, value};
use crate::crypto::rsa::EncryptionKey;
use crate::crypto::shares::split;
use crate::journal::succession::KnownSecret;
use crate::kv::store::Transaction;
use crate::tables::names;
use crate::tables::values::{Base64, NodeInfo, NodeStatus, SealedRecoveryKey, SealedShares, from_json};

/// Whether a trusted node has sealed a key, and there is no share for it.
pub fn is_one_missing(transaction: &Transaction<'_>) -> bool {
    let shares = value::<SealedShares>(transaction, names::SEALED_SHARES);
    let has_share = |id: &str| {
        shares
            .as_ref()
            .is_some_and(|shares| shares.encrypted_wrapping_keys.contains_key(id))
    };
    let keys = transaction.entries(names::NODES_SEALED_RECOVERY_KEYS);
    keys.iter()
        .any(|(id, _)| !has_share(&String::from_utf8_lossy(id)) && is_trusted(transaction, id))
}

fn is_trusted(transaction: &Transaction<'_>, id: &[u8]) -> bool {
    let info = transaction.get(names::NODES_INFO, id).map(from_json::<NodeInfo>);
    matches!(info, Some(Ok(info)) if info.status == NodeStatus::Trusted)
}

/// New shares of `secret` for every trusted node that has sealed a key. Nothing is written in a service in which nobody ever
/// did. A key that can't be encrypted to is passed over: what nodes seal for themselves keeps no service from opening.
///
/// # Errors
/// In words, where a share can't be made.
pub fn reshare(transaction: &mut Transaction<'_>, secret: &KnownSecret, rng: &mut ChaCha20Rng) -> Result<(), String> {
    let keys = transaction.entries(names::NODES_SEALED_RECOVERY_KEYS);
    let is_there = value::<SealedShares>(transaction, names::SEALED_SHARES).is_some();
    if keys.is_empty() && !is_there {
        return Ok(());
    }
    let words = |why: crate::crypto::Error| format!("sealed shares can't be made: {why}");
    let (wrapping_key, _, whole) = split(1, 1, rng).map_err(words)?;
    let mut encrypted = BTreeMap::new();
    for (id, sealed) in keys {
        if !is_trusted(transaction, &id) {
            continue;
        }
        let key = from_json::<SealedRecoveryKey>(&sealed).ok();
        let key = key.and_then(|key| EncryptionKey::from_pem(&key.pubkey).ok());
        if let Some(share) = key.and_then(|key| key.encrypt(&whole.to_bytes(), rng).ok()) {
            encrypted.insert(String::from_utf8_lossy(&id).into_owned(), Base64(share));
        }
    }
    let shares = SealedShares {
        wrapped_latest_ledger_secret: Base64(wrapping_key.wrap_secret(&secret.secret)),
        encrypted_wrapping_keys: encrypted,
        previous_secret_stored_version: secret.previous_stored,
    };
    put(transaction, names::SEALED_SHARES, &shares);
    Ok(())
}
