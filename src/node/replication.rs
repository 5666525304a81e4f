//! When what the pen wrote is committed.
//!
//! A service of one node commits with its own signature; a service of several when enough of them have it. The
//! sequencer knows only this seam.

use serde_json::{Value, json};

use crate::format::{Seqno, TxId};

/// Decides what is committed, and describes who decides.
pub trait Replication: Send {
    /// The signature transaction `signature` is on this node's disk. Answers the seqno of the last signature that is
    /// committed now.
    fn signed(&mut self, signature: TxId) -> Seqno;

    /// `details` of `/node/consensus`.
    fn describe(&self) -> Value;
}

/// One node: what it signed is committed.
pub struct Solo {
    /// The node.
    pub node_id: String,
    /// Its node-to-node address.
    pub address: String,
    /// Seqno of the transaction that made it the only member.
    pub since: Seqno,
    /// The view in which it is primary.
    pub view: u64,
}

impl Replication for Solo {
    fn signed(&mut self, signature: TxId) -> Seqno {
        signature.seqno
    }

    fn describe(&self) -> Value {
        let nodes = json!({&self.node_id: {"address": self.address}});
        json!({
            "acks": {},
            "configs": [{"idx": self.since, "nodes": nodes, "rid": self.since}],
            "current_view": self.view,
            "leadership_state": "Leader",
            "membership_state": "Active",
            "primary_id": self.node_id,
            "reconfiguration_type": "OneTransaction",
            "ticking": true,
        })
    }
}
