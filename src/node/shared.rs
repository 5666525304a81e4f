//! What requests and the writer share: the store, the status, and who the node is. No ledger secret is in here.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::Value;
use tokio::runtime::Handle;

use super::board::Board;
use super::config::Config;
use super::forwards::Forwards;
use super::healing_calls::HealingCalls;
use super::jwt_refresh::JwtRefresh;
use super::membership::Membership;
use super::output::OutputFiles;
use super::own_certificates::OwnCertificates;
use super::predecessors::Predecessors;
use super::status::Status;
use super::writer::Writer;
use crate::Error;
use crate::attestation::OwnEvidence;
use crate::channel::NodeId;
use crate::crypto::{CommitSecret, LedgerSecret};
use crate::format::{Seqno, TxId};
use crate::http::{Metrics, Relay, Sessions};
use crate::kv::store::Store;
use crate::recovery::secrets::LedgerSecrets;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;

/// The node, as requests see it.
pub struct Node {
    /// The configuration.
    pub config: Config,
    /// Hex digest of the node's public key.
    pub id: String,
    /// The certificates that the node presents.
    pub certificates: OwnCertificates,
    /// What the node runs, and who says so.
    pub evidence: OnceLock<OwnEvidence>,
    /// Published addresses by interface, with the ports that were bound.
    pub published: BTreeMap<String, String>,
    /// What the node is doing.
    pub status: Arc<Status>,
    /// The newest state. Only the writer writes, and only for as long as it takes to apply a transaction.
    pub store: Arc<RwLock<Store>>,
    /// Writes transactions, once there is a service.
    pub writer: OnceLock<Writer>,
    /// What the node has written beside its ledger.
    pub files: OutputFiles,
    /// Keeps other nodes out of the ledger's main directory.
    pub claim: OnceLock<std::fs::File>,
    /// The documentation of the endpoints, by their first segment.
    pub documentation: BTreeMap<&'static str, Value>,
    /// The page that shows how far the node is, ready to be sent.
    pub board: Board,
    /// Open sessions by interface.
    pub sessions: Arc<Sessions>,
    /// Everything counted, for Prometheus.
    pub metrics: Arc<Metrics>,
    /// The ledger secrets that receipts and historical queries need: those before this service, once it is open.
    pub old_secrets: OnceLock<LedgerSecrets>,
    /// Those before them, where the node started from a snapshot; once a receipt needs one.
    pub older_secrets: OnceLock<LedgerSecrets>,
    /// The services before this one, for receipts of theirs.
    pub predecessors: Predecessors,
    /// Commit secrets of the service's own ledger secrets, by the first seqno of each.
    pub own_secrets: RwLock<Vec<(Seqno, CommitSecret)>>,
    /// Who takes part in the service and who leads it, once there is one.
    pub membership: RwLock<Option<Membership>>,
    /// Answers requests that other nodes pass on.
    pub relay: OnceLock<Relay>,
    /// Requests that wait for the answer of another node.
    pub forwards: Forwards,
    /// Leads to the part that finds out with other nodes which of them opens.
    pub healing: HealingCalls,
    /// Fetches the keys of token issuers.
    pub jwt: JwtRefresh,
    /// Runs what waits for others.
    pub runtime: Handle,
    /// Is told that the process must end, and why.
    pub fatal: Box<dyn Fn(Error) + Send + Sync>,
    /// Is told that the process has done its work: this node is retired, and another leads.
    pub retired: Box<dyn Fn() + Send + Sync>,
}

impl Node {
    /// Reads who takes part and who leads; nothing before there is a service.
    pub fn with_membership<T>(&self, read: impl FnOnce(&Membership) -> T) -> Option<T> {
        // A poisoned lock means that writing it panicked: it is whole, or was not there.
        let membership = self.membership.read().unwrap_or_else(PoisonError::into_inner);
        membership.as_ref().map(read)
    }

    /// Whether this node can lead others: a node that is Trusted has to acknowledge every commit from then on, so that none
    /// may be let in before there is somebody who sends it the ledger.
    pub fn can_lead(&self) -> bool {
        self.with_membership(|membership| membership.is_reachable && membership.leads())
            .unwrap_or(false)
    }

    /// Whether this node leads its service.
    pub fn is_primary(&self) -> bool {
        self.with_membership(Membership::leads).unwrap_or(false)
    }

    /// Who leads the service, as far as this node knows.
    pub fn primary(&self) -> Option<NodeId> {
        self.with_membership(|membership| membership.primary).flatten()
    }

    /// Where clients reach a node at the interface of this name, or else at its first one; empty where that is not known.
    pub fn address_of(&self, id: NodeId, interface: &str) -> String {
        let record = |store: &Store| NodeRecord::read(store.get(names::NODES_INFO, id.to_string().as_bytes())?.1);
        let address = self
            .read(record)
            .0
            .and_then(|record| record.published_address(interface));
        address.unwrap_or_default()
    }

    /// Whether it is still found out which of several nodes opens: until then this one's service is none that anybody joins.
    pub fn is_undecided(&self) -> bool {
        self.healing.generation().is_some() && !self.status.healing.has_opened()
    }

    /// Whether members' requests are answered.
    pub fn serves_members(&self) -> bool {
        self.status.gov_is_open() && self.writer.get().is_some()
    }

    /// Learns a ledger secret of the service, for receipts.
    pub fn knows_secret(&self, from: Seqno, secret: &LedgerSecret) {
        if let Ok(mut own) = self.own_secrets.write() {
            own.push((from, secret.commit_secret()));
        }
    }

    /// Forgets secrets that seal from a later seqno on.
    pub fn forgets_secrets_after(&self, from: Seqno) {
        if let Ok(mut own) = self.own_secrets.write() {
            own.retain(|(known, _)| *known <= from);
        }
    }

    /// Reads the store, with the transaction that the state is of.
    pub fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> (T, TxId) {
        // A poisoned lock means that applying a transaction panicked: what it wrote is whole, or not there.
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let seqno = store.seqno();
        let answer = read(&store);
        drop(store);
        let view = self.status.view_of(seqno);
        (answer, TxId { view, seqno })
    }
}
