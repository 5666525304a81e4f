//! The recovery transaction: the first one of a recovered service. Recovery specification, section 2.6.

use std::collections::BTreeMap;

use serde_json::Value;

use super::own_policy::OwnPolicy;
use super::{previous_write, put, service_info};
use crate::attestation::OwnEvidence;
use crate::crypto::Certificate;
use crate::crypto::digest::Digest;
use crate::format::{Seqno, TxId};
use crate::kv::store::Transaction;
use crate::report::Code;
use crate::sealing::KeySource;
use crate::service::identity::NodeIdentity;
use crate::tables::json::Opaque;
use crate::tables::node_info::{NetInterface, NewNode, NodeRecord};
use crate::tables::values::{HexDigest, SealedRecoveryKey, ServiceInfo, ServiceStatus, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// The node that begins a new service, as tables describe it.
pub struct Founder<'a> {
    /// Where clients reach it, by the interfaces' names.
    pub interfaces: BTreeMap<String, NetInterface>,
    /// Where other nodes reach it.
    pub node_address: &'a str,
    /// Its keys.
    pub identity: &'a NodeIdentity,
    /// The public key under which ledger secrets are sent to it, PEM.
    pub encryption_key: &'a str,
    /// What it runs, and who says so.
    pub evidence: &'a OwnEvidence,
    /// What the operator attaches to the node.
    pub node_data: Option<Value>,
    /// What the operator attaches to the service.
    pub service_data: Option<Value>,
    /// What it seals and unseals with, if it does.
    pub sealing: SealingPlan,
}

/// What the new service begins with.
pub struct Creation<'a> {
    /// Its first node.
    pub founder: &'a Founder<'a>,
    /// That node's certificate, endorsed by the new service.
    pub endorsed: &'a Certificate,
    /// The new service's certificate.
    pub service: &'a Certificate,
    /// This transaction.
    pub txid: TxId,
    /// The last root signed before.
    pub last_signed_root: Digest,
}

/// What a node that begins a service intends to do with sealed files.
#[derive(Clone, Debug, Default)]
pub struct SealingPlan {
    /// It will seal the service's ledger secrets.
    pub will_seal: bool,
    /// Where its key comes from, if it has one that it seals or unseals with.
    pub source: Option<KeySource>,
    /// The key to which shares of the ledger secret will be encrypted for it, with the name under which the next node on
    /// this machine finds it.
    pub recovery_key: Option<(String, SealedRecoveryKey)>,
}

/// Writes the recovery transaction.
///
/// # Errors
/// In words, if the ledger's own tables can't be read.
pub fn create(transaction: &mut Transaction<'_>, creation: &Creation<'_>) -> Result<(), String> {
    let founder = creation.founder;
    let previous = service_info(transaction)?;
    let info = ServiceInfo {
        cert: creation.service.to_pem(),
        status: ServiceStatus::Recovering,
        previous_service_identity_version: previous_write(transaction, &previous),
        // A service that never counted was none's recovery, as CCF reads it.
        recovery_count: Some(previous.recovery_count.unwrap_or(0).saturating_add(1)),
        current_service_create_txid: Some(creation.txid),
        service_data: founder.service_data.as_ref().map(Opaque::of),
    };
    transaction.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
    put(transaction, names::PREVIOUS_SERVICE_IDENTITY, &previous.cert);
    let root = HexDigest(creation.last_signed_root);
    put(transaction, names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, &root);
    retire_all_nodes(transaction)?;
    let id = founder.identity.id.as_str();
    let node = NewNode {
        certificate_signing_request: &founder.identity.request,
        encryption_key: founder.encryption_key,
        public_key: &founder.identity.key.verifying_key().spki_pem(),
        measurement: founder.evidence.measurement(),
        quote_info: founder.evidence.info(),
        address: founder.node_address,
        interfaces: &founder.interfaces,
        data: founder.node_data.as_ref(),
        will_seal: founder.sealing.will_seal,
    };
    transaction.put(names::NODES_INFO, id, node.to_json());
    transaction.put(names::NODES_ENDORSED_CERTIFICATES, id, creation.endorsed.to_pem());
    OwnPolicy::of(transaction, founder.evidence).put(transaction);
    // Of this service, not of the one before: what that said is cleared.
    transaction.clear(names::LAST_UNSEALING);
    match founder.sealing.source {
        Some(source) => put(transaction, names::SEALING_KEY_SOURCE, &source.as_str()),
        None => transaction.clear(names::SEALING_KEY_SOURCE),
    }
    if let Some((name, key)) = &founder.sealing.recovery_key {
        transaction.put(names::NODES_SEALED_RECOVERY_KEYS, id, to_json(key));
        transaction.put(names::NODES_LOCAL_SEALING_NODE_ID_MAP, name.as_str(), to_json(&id));
    }
    Ok(())
}

/// All nodes of the service before are gone.
fn retire_all_nodes(transaction: &mut Transaction<'_>) -> Result<(), String> {
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let mut node = NodeRecord::read(&value).ok_or_else(|| unreadable(&id))?;
        if !node.is_retired() {
            node.retire();
            transaction.put(names::NODES_INFO, id, node.to_json());
        }
    }
    Ok(())
}

fn unreadable(id: &[u8]) -> String {
    let id = String::from_utf8_lossy(id);
    format!("{}: nodes.info of {id} can't be read", Code::TrustValue.as_str())
}

/// Marks the nodes of this service whose retirement is committed, which what is up to `committed` is; answers whether there was
/// one. A node that is marked too early may still be elected, and nobody would believe what it signs then. Nodes of a service
/// before it were retired by its first transaction, and stay as that left them: no node of this service ever counted on
/// their votes.
pub fn commit_retirements(transaction: &mut Transaction<'_>, committed: Seqno) -> bool {
    let created = service_info(transaction)
        .ok()
        .and_then(|info| info.current_service_create_txid);
    let created = created.map_or(0, |txid| txid.seqno);
    let mut any = false;
    for (id, value) in transaction.entries(names::NODES_INFO) {
        let Some(mut node) = NodeRecord::read(&value) else {
            continue;
        };
        let written = transaction.version(names::NODES_INFO, &id);
        let of_this_service = written.is_none_or(|at| at > created);
        let is_committed = written.is_some_and(|at| at <= committed);
        if node.is_retired() && of_this_service && is_committed && !node.is_retirement_committed() {
            node.commit_retirement();
            transaction.put(names::NODES_INFO, id, node.to_json());
            any = true;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::store::Store;

    #[test]
    fn a_node_is_marked_as_retired_for_good_only_once_its_retirement_is_committed() {
        let mut store = Store::new();
        let retired = store.transact::<()>(|transaction| {
            transaction.put(names::NODES_INFO, "node", "{\"status\":\"Retired\"}");
            Ok(())
        });
        store.apply(5, &retired.unwrap());
        let marks = |committed| commit_retirements(&mut store.transaction(), committed);
        assert_eq!([4, 5, 6].map(marks), [false, true, true]);
    }
}
