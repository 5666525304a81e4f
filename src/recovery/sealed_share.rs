//! Shares of the newest ledger secret that are encrypted to nodes, each of which has sealed its key: what opens a ledger
//! where the later design is configured. Recovery specification, section 6.7.

use crate::crypto::LedgerSecret;
use crate::crypto::shares::{Share, ShareFormat, combine};
use crate::recovery::recovery_tables::SealedTables;
use crate::sealing::recovery_key::{SNP_V1, open_recovery_key};
use crate::sealing::{Refusal, SealingKey};
use crate::tables::names;
use crate::tables::values::{SealedRecoveryKey, SealedShares, from_json};

/// What the last node of a machine has sealed: its id, and its key.
pub struct NodeShare {
    /// The node.
    pub node: String,
    /// Its key.
    pub key: SealedRecoveryKey,
}

impl NodeShare {
    /// What the last node sealed that had this name, as `get` answers values of tables.
    ///
    /// # Errors
    /// In words, where there is none, or it can't be read.
    pub fn find<'v>(name: &str, get: impl Fn(&str, &[u8]) -> Option<&'v [u8]>) -> Result<NodeShare, String> {
        let node = get(names::NODES_LOCAL_SEALING_NODE_ID_MAP, name.as_bytes());
        let node = node.ok_or_else(|| format!("no node has sealed under the name {name:?}"))?;
        let node: String =
            from_json(node).map_err(|why| format!("the node of the name {name:?} can't be read: {why}"))?;
        let key = get(names::NODES_SEALED_RECOVERY_KEYS, node.as_bytes());
        let key = key.ok_or_else(|| format!("node {node} has sealed no key"))?;
        let key = from_json(key).map_err(|why| format!("the sealed key of node {node} can't be read: {why}"))?;
        Ok(NodeShare { node, key })
    }

    /// The same from tables that were read from a ledger.
    ///
    /// # Errors
    /// In words, where there is none.
    pub fn find_in(name: &str, tables: &SealedTables) -> Result<NodeShare, String> {
        let node = tables.nodes.get(name);
        let node = node
            .ok_or_else(|| format!("no node has sealed under the name {name:?}"))?
            .clone();
        let key = tables.keys.get(&node).cloned();
        let key = key.ok_or_else(|| format!("node {node} has sealed no key that can be read"))?;
        Ok(NodeShare { node, key })
    }
}

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
