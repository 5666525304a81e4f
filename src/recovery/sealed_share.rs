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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::crypto::rsa::{EncryptionKey, generate_key_pair};
    use crate::crypto::shares::split;
    use crate::crypto::testing::rng;
    use crate::sealing::TcbVersion;
    use crate::sealing::recovery_key::seal_recovery_key;
    use crate::sealing::testing::Processor;
    use crate::tables::values::Base64;

    const PROCESSOR: Processor = Processor(TcbVersion(7), 1);

    /// What a ledger holds for the node "n": its share as `share` makes it, and its sealed key.
    fn sealed(share: impl FnOnce(&[Share], &Share) -> Vec<u8>) -> (SealedShares, SealedRecoveryKey) {
        let mut rng = rng(5);
        let (private, public) = generate_key_pair(2048, &mut rng).unwrap();
        let (wrapping, shares, whole) = split(1, 1, &mut rng).unwrap();
        let share = share(&shares, &whole);
        let encrypted = EncryptionKey::from_pem(&public)
            .unwrap()
            .encrypt(&share, &mut rng)
            .unwrap();
        let (ciphertext, tcb) = seal_recovery_key(&private, &public, &PROCESSOR, [3; 12]).unwrap();
        let shares = SealedShares {
            wrapped_latest_ledger_secret: Base64(wrapping.wrap_secret(&LedgerSecret::from_bytes([9; 32]))),
            encrypted_wrapping_keys: BTreeMap::from([("n".to_owned(), Base64(encrypted))]),
            previous_secret_stored_version: None,
        };
        let key = SealedRecoveryKey {
            version: SNP_V1.to_owned(),
            ciphertext: Base64(ciphertext),
            pubkey: public,
            tcb_version: tcb.to_string(),
        };
        (shares, key)
    }

    fn whole() -> (SealedShares, SealedRecoveryKey) {
        sealed(|_, whole| whole.to_bytes().to_vec())
    }

    #[test]
    fn the_whole_of_the_wrapping_key_opens_the_secret() {
        let (shares, key) = whole();
        let secret = open_sealed_share(&shares, "n", &key, &PROCESSOR).ok().unwrap();
        assert_eq!(secret.as_bytes(), &[9; 32]);
    }

    #[test]
    fn a_key_that_was_sealed_in_another_way_is_not_tried() {
        let (shares, key) = whole();
        for version in ["", "SNP_v2", "snp_v1"] {
            let other = SealedRecoveryKey {
                version: version.to_owned(),
                ..key.clone()
            };
            let why = open_sealed_share(&shares, "n", &other, &PROCESSOR).err().unwrap();
            assert!(why.to_string().contains("expected \"SNP_v1\""), "{why}");
        }
    }

    #[test]
    fn one_of_several_shares_is_not_the_wrapping_key_even_where_one_is_enough() {
        let (shares, key) = sealed(|shares, _| shares[0].to_bytes().to_vec());
        let why = open_sealed_share(&shares, "n", &key, &PROCESSOR).err().unwrap();
        assert!(why.to_string().contains("not the whole of the wrapping key"), "{why}");
    }
}
