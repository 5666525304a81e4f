//! Shares of the newest ledger secret that are encrypted to nodes, each of which has sealed its key: what opens a ledger
//! where the later design is configured. Recovery specification, section 6.7.

use crate::crypto::LedgerSecret;
use crate::crypto::shares::{Share, ShareFormat, combine};
use crate::sealing::recovery_key::{SNP_V1, open_recovery_key};
use crate::sealing::{Refusal, SealingKey};
use crate::tables::values::{SealedRecoveryKey, SealedShares};

/// The newest ledger secret, by the share of one node and the key that it had sealed.
///
/// # Errors
/// [`Refusal`].
pub fn open_sealed_share(
    shares: &SealedShares,
    node: &str,
    sealed: &SealedRecoveryKey,
    key: &dyn SealingKey,
) -> Result<LedgerSecret, Refusal> {
    let malformed = |what: String| Refusal::Malformed(what);
    if sealed.version != SNP_V1 {
        let what = format!(
            "its key was sealed in a way called {:?}, expected {SNP_V1:?}",
            sealed.version
        );
        return Err(malformed(what));
    }
    let encrypted = shares
        .encrypted_wrapping_keys
        .get(node)
        .ok_or_else(|| Refusal::Missing("the ledger's newest sealed shares hold none for this node".to_owned()))?;
    let tcb = sealed.tcb_version.parse().map_err(Refusal::Malformed)?;
    let private = open_recovery_key(&sealed.ciphertext.0, &sealed.pubkey, tcb, key)?;
    let share = private
        .decrypt(&encrypted.0)
        .map_err(|why| malformed(format!("the share can't be decrypted: {why}")))?;
    let share = Share::parse(&share).map_err(|why| malformed(format!("what was decrypted is no share: {why}")))?;
    if share.format() != ShareFormat::Owner {
        return Err(malformed("the share is not the whole of the wrapping key".to_owned()));
    }
    let secret = combine(&[&share], 1).and_then(|key| key.unwrap_secret(&shares.wrapped_latest_ledger_secret.0));
    secret.map_err(|why| Refusal::NotOfThisLedger(format!("the share does not unwrap the ledger secret: {why}")))
}
