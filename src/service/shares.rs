//! Issuing recovery shares of a ledger secret to the members who take part in recoveries. Recovery specification,
//! sections 5.1 to 5.5.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;

use super::{sealed_shares, value};
use crate::crypto::LedgerSecret;
use crate::crypto::rsa::EncryptionKey;
use crate::crypto::shares::split;
use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::kv::store::Transaction;
use crate::tables::names;
use crate::tables::values::{Base64, MemberInfo, RecoveryShares, ServiceConfig, from_json};

/// What a member does in a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds a share.
    Participant,
    /// Holds the whole.
    Owner,
}

/// A member who takes part in recoveries.
pub struct Holder {
    /// Hex id.
    pub id: String,
    /// What for.
    pub role: Role,
    key_pem: String,
}

/// The active members who take part in recoveries, by ascending id.
pub fn holders(transaction: &Transaction<'_>) -> Vec<Holder> {
    let mut holders = Vec::new();
    for (id, key) in transaction.entries(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS) {
        let info = transaction.get(names::MEMBERS_INFO, &id).map(from_json::<MemberInfo>);
        let Some(Ok(info)) = info else {
            continue;
        };
        if info.status != "Active" {
            continue;
        }
        let role = match info.recovery_role.as_deref() {
            None | Some("Participant") => Role::Participant,
            Some("Owner") => Role::Owner,
            Some(_) => continue,
        };
        holders.push(Holder {
            id: String::from_utf8_lossy(&id).into_owned(),
            role,
            key_pem: String::from_utf8_lossy(&key).into_owned(),
        });
    }
    holders
}

/// Shares needed for a recovery.
pub fn threshold(transaction: &Transaction<'_>) -> Option<u64> {
    value::<ServiceConfig>(transaction, names::SERVICE_CONFIG).map(|config| config.recovery_threshold)
}

/// New shares of `secret` for everybody who holds one. `previous_stored` as in [`KnownSecret`].
///
/// # Errors
/// In CCF's words, where the consortium can't hold them.
pub fn issue(
    transaction: &Transaction<'_>,
    secret: &LedgerSecret,
    previous_stored: Option<Seqno>,
    rng: &mut ChaCha20Rng,
) -> Result<RecoveryShares, String> {
    let holders = holders(transaction);
    if holders.is_empty() {
        return Err("There should be at least one active recovery member to issue recovery shares".to_owned());
    }
    let threshold = threshold(transaction).unwrap_or(0);
    if threshold == 0 {
        return Err("Recovery threshold should be set before recovery shares are computed".to_owned());
    }
    let participants = holders.iter().filter(|holder| holder.role == Role::Participant).count();
    // With owners alone one share is made that nobody gets.
    let n = participants.max(1);
    if threshold > n as u64 {
        return Err(format!(
            "Recovery threshold {threshold} should be equal to or less than the number of active recovery members \
             {participants}"
        ));
    }
    let words = |why: crate::crypto::Error| format!("recovery shares can't be made: {why}");
    let (wrapping_key, shares, full) = split(threshold as usize, n, rng).map_err(words)?;
    let mut shares = shares.iter();
    let mut encrypted_shares = BTreeMap::new();
    for holder in &holders {
        let share = match holder.role {
            Role::Owner => Some(&full),
            Role::Participant => shares.next(),
        };
        let Some(share) = share else {
            continue; // there are as many shares as participants
        };
        let key = EncryptionKey::from_pem(&holder.key_pem)
            .map_err(|why| format!("the encryption key of member {} can't be read: {why}", holder.id))?;
        let encrypted = key.encrypt(&share.to_bytes(), rng).map_err(words)?;
        encrypted_shares.insert(holder.id.clone(), Base64(encrypted));
    }
    Ok(RecoveryShares {
        wrapped_latest_ledger_secret: Base64(wrapping_key.wrap_secret(secret)),
        encrypted_shares,
        previous_secret_stored_version: previous_stored,
    })
}

/// Issues new shares of a secret and writes them, those of nodes too.
///
/// # Errors
/// As [`issue`].
pub fn reshare(transaction: &mut Transaction<'_>, known: &KnownSecret, rng: &mut ChaCha20Rng) -> Result<(), String> {
    let shares = issue(transaction, &known.secret, known.previous_stored, rng)?;
    super::put(transaction, names::RECOVERY_SHARES, &shares);
    sealed_shares::reshare(transaction, known, rng)
}
