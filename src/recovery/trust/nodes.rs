//! Nodes: the steps of their status, and the certificates that the service endorsed for them. Recovery specification,
//! sections 2.6 and 4.3; node-to-node specification, section 9.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Faults;
use super::certificates::Certificates;
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::recovery::scan::TrustWrite;
use crate::report::Code;
use crate::tables::values::from_json;

/// Status of a node, of every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Status {
    /// Waits for the members' trust.
    #[serde(alias = "PENDING")]
    Pending,
    /// May sign.
    #[serde(alias = "TRUSTED")]
    Trusted,
    /// On its way out; may still sign.
    #[serde(alias = "RETIRED")]
    Retired,
    /// Replicates without a vote; 2.x and 3.x with two-transaction reconfiguration.
    #[serde(alias = "LEARNER")]
    Learner,
    /// As above, on its way out.
    #[serde(alias = "RETIRING")]
    Retiring,
    /// One that no version writes; may not sign.
    #[serde(other)]
    Unknown,
}

/// What is known of one node.
#[derive(Clone, Default)]
pub(super) struct NodeRecord {
    pub(super) status: Option<Status>,
    pub(super) certificate: Option<Arc<Certificate>>,
    /// Whether that is the one which the service must have endorsed, not the self-signed one of 1.x.
    pub(super) is_endorsed: bool,
    /// Where its retirement was first said to be committed.
    pub(super) retired_committed: Option<TxId>,
    /// Whether it was said already that it signs although it is retired.
    pub(super) said_retired: bool,
}

/// All nodes that were told of.
#[derive(Clone, Default)]
pub(super) struct Nodes {
    pub(super) known: HashMap<String, NodeRecord>,
    /// Retired and then removed: none of them comes back, as an id is the digest of a key.
    pub(super) gone: HashSet<String>,
}

/// What `nodes.info` says that matters here.
#[derive(Deserialize)]
struct Record {
    status: Status,
    /// Self-signed, 1.x only.
    #[serde(default)]
    cert: Option<String>,
    #[serde(default)]
    retired_committed: Option<bool>,
}

impl Record {
    fn is_committed(&self) -> bool {
        self.retired_committed == Some(true)
    }
}

/// What a node's step is held against.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Whether a node may be trusted without having been pending, as in a service that is not open.
    pub(super) trusted_at_once: bool,
    /// Whether entries before are missing, which may have told of it.
    pub(super) is_partial: bool,
}

impl Nodes {
    /// Applies a write of `nodes.info`.
    pub(super) fn apply_info(
        &mut self,
        write: &TrustWrite,
        known: Known,
        certificates: &mut Certificates,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let id = node_id(write)?;
        let Some(value) = &write.value else {
            self.remove(id, faults);
            return Ok(());
        };
        let record = read(&id, value)?;
        let before = self.known.get(&id);
        if let Some(text) = wrong_step(before, &record, self.gone.contains(&id), known) {
            faults.push((Code::NodeStatus, format!("node {id} {text}")));
        }
        self.put(id, record, write, certificates);
        Ok(())
    }

    /// As it stands in a snapshot's state: no step is judged.
    pub(super) fn restore_info(&mut self, write: &TrustWrite, certificates: &mut Certificates) -> Result<(), String> {
        let id = node_id(write)?;
        let record = read(&id, write.value.as_deref().unwrap_or_default())?;
        self.put(id, record, write, certificates);
        Ok(())
    }

    fn put(&mut self, id: String, record: Record, write: &TrustWrite, certificates: &mut Certificates) {
        let certificate = record.cert.as_deref().and_then(|pem| certificates.parse(pem));
        let node = self.known.entry(id).or_default();
        node.status = Some(record.status);
        let at = TxId {
            view: write.view,
            seqno: write.seqno,
        };
        node.retired_committed = record.is_committed().then(|| node.retired_committed.unwrap_or(at));
        if certificate.is_some() {
            node.certificate = certificate;
            node.is_endorsed = false;
        }
    }

    fn remove(&mut self, id: String, faults: &mut Faults) {
        let status = self.known.remove(&id).and_then(|node| node.status);
        match status {
            // A node that nobody trusted yet may ask again.
            None | Some(Status::Pending | Status::Learner) => {}
            Some(Status::Retired) => drop(self.gone.insert(id)),
            Some(status) => {
                faults.push((
                    Code::NodeStatus,
                    format!("node {id} is removed while its status is {status:?}, expected Retired"),
                ));
                self.gone.insert(id);
            }
        }
    }

    /// Applies a write of `nodes.endorsed_certificates`.
    pub(super) fn apply_certificate(
        &mut self,
        write: &TrustWrite,
        certificates: &mut Certificates,
        faults: &mut Faults,
    ) -> Result<(), String> {
        let id = node_id(write)?;
        if write.value.is_none() {
            if let Some(node) = self.known.get_mut(&id) {
                node.certificate = None;
            }
            return Ok(());
        }
        let certificate = read_certificate(&id, write, certificates)?;
        if hex::encode(certificate.key_id()) != id {
            faults.push((
                Code::OtherNodeKey,
                format!(
                    "the endorsed certificate of node {id} is of another key, {}",
                    hex::encode(certificate.key_id())
                ),
            ));
        }
        self.put_certificate(id, certificate);
        Ok(())
    }

    /// As it stands in a snapshot's state.
    pub(super) fn restore_certificate(
        &mut self,
        write: &TrustWrite,
        certificates: &mut Certificates,
    ) -> Result<(), String> {
        let id = node_id(write)?;
        let certificate = read_certificate(&id, write, certificates)?;
        self.put_certificate(id, certificate);
        Ok(())
    }

    fn put_certificate(&mut self, id: String, certificate: Arc<Certificate>) {
        let node = self.known.entry(id).or_default();
        node.certificate = Some(certificate);
        node.is_endorsed = true;
    }
}

/// What is wrong with the step that a node takes, if anything.
fn wrong_step(before: Option<&NodeRecord>, record: &Record, is_gone: bool, known: Known) -> Option<String> {
    use Status::{Learner, Pending, Retired, Retiring, Trusted, Unknown};
    let after = record.status;
    if after == Unknown {
        return Some("has a status that no version of CCF writes".to_owned());
    }
    if is_gone {
        return Some(format!("comes back as {after:?} after it was retired and removed"));
    }
    if record.is_committed() && after != Retired {
        return Some(format!("is {after:?}, and its retirement is said to be committed"));
    }
    // An endorsed certificate may be all that is known of a node so far: it is written in the same transaction.
    let status = before.and_then(|node| node.status);
    let can_follow = match (status, after) {
        (None, _) if known.is_partial => true,
        (None, Trusted) => known.trusted_at_once,
        (None, Pending | Learner) => true,
        (None, _) => false,
        (Some(before), after) if before == after => true,
        (Some(Unknown), _) => true,
        (Some(Pending), _) => true,
        (Some(Learner), Trusted | Retired | Retiring) => true,
        (Some(Trusted), Retired | Retiring) => true,
        (Some(Retiring), Retired) => true,
        _ => false,
    };
    if !can_follow {
        let before = status.map_or("is new and at once".to_owned(), |status| {
            format!("goes from {status:?} to")
        });
        return Some(format!("{before} {after:?}, a step that CCF does not have"));
    }
    if before.is_some_and(|node| node.retired_committed.is_some()) && !record.is_committed() {
        return Some("takes back that its retirement is committed".to_owned());
    }
    None
}

fn node_id(write: &TrustWrite) -> Result<String, String> {
    let digits = |key: &&str| key.len() == 64 && key.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    match std::str::from_utf8(&write.key).ok().filter(digits) {
        Some(id) => Ok(id.to_owned()),
        None => Err(format!(
            "{} has a key of {} bytes that is no node's id, expected 64 hex digits",
            write.table.name(),
            write.key.len()
        )),
    }
}

fn read(id: &str, value: &[u8]) -> Result<Record, String> {
    from_json(value).map_err(|e| format!("nodes.info of {id} can't be read: {e}"))
}

fn read_certificate(id: &str, write: &TrustWrite, certificates: &mut Certificates) -> Result<Arc<Certificate>, String> {
    let pem = write.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
    pem.and_then(|pem| certificates.parse(pem))
        .ok_or_else(|| format!("the endorsed certificate of node {id} can't be read"))
}
