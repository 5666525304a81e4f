//! Which keys are valid when: nodes, the service, and the chain of service identities across recoveries.
//!
//! The only sequential state of a verification, and small. It changes by the writes to trust tables, in order; at every
//! signature it answers which key must have signed, and makes the [`super::check::Check`] that is then verified in parallel.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::digest::{Digest, sha256};
use crate::crypto::x509::Certificate;
use crate::format::Seqno;
use crate::recovery::report::{Code, Finding};
use crate::recovery::scan::{TrustTable, TrustWrite};
use crate::tables::values::{HexDigest, NodeInfo, NodeStatus, ServiceInfo, ServiceStatus, from_json};

mod saved;
mod signer;
mod succession;

pub use saved::SavedTrust;

/// One service identity in the history of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Seqno of the first write of its certificate.
    pub from_seqno: Seqno,
    /// SHA-256 of the key's SPKI DER, hex.
    pub identity: HexDigest,
    /// Recoveries before it, where the ledger says so.
    pub recovery_count: Option<u64>,
}

#[derive(Clone)]
struct Service {
    certificate: Arc<Certificate>,
    id: Digest,
    status: ServiceStatus,
    /// Identity before this one, if this ledger (or its snapshot) told.
    previous: Option<Arc<Certificate>>,
    /// Whether a node's signature came with its certificate: every node since 2.x does that.
    sends_certificates: bool,
}

#[derive(Clone, Default)]
struct Node {
    status: Option<NodeStatus>,
    certificate: Option<Arc<Certificate>>,
    /// Whether that is the one which the service must have endorsed, not the self-signed one of 1.x.
    is_endorsed: bool,
}

/// The keys in force at one point of a ledger.
#[derive(Clone, Default)]
pub struct Trust {
    nodes: HashMap<String, Node>,
    service: Option<Service>,
    services: Vec<ServiceRecord>,
    /// The certificates of `services`, in the same order.
    identities: Vec<Arc<Certificate>>,
    /// Certificates by SHA-256 of their PEM, so that the one in every signature is parsed once.
    parsed: HashMap<Digest, Option<Arc<Certificate>>>,
    /// Whether a certificate (by its PEM's digest) is signed by a service (by its key's id).
    endorsed: HashMap<(Digest, Digest), bool>,
    /// The last root that was recorded in a signature.
    pub last_root: Option<Digest>,
}

/// Certificates remembered at most; a real service has one per node and renewal.
const REMEMBERED: usize = 4096;

impl Trust {
    /// The service identities so far.
    pub fn services(&self) -> &[ServiceRecord] {
        &self.services
    }

    /// The certificates under which they first appeared, in the same order.
    pub fn identities(&self) -> &[Arc<Certificate>] {
        &self.identities
    }

    /// The key of the service in force.
    pub fn service_certificate(&self) -> Option<&Arc<Certificate>> {
        self.service.as_ref().map(|service| &service.certificate)
    }

    /// Applies one write. What is wrong with it comes back as findings without a file; the caller knows that.
    pub fn apply(&mut self, write: &TrustWrite) -> Vec<Finding> {
        let mut findings = Vec::new();
        let outcome = match write.table {
            TrustTable::ServiceInfo => self.apply_service_info(write, &mut findings),
            TrustTable::NodesInfo => self.apply_node_info(write),
            TrustTable::NodesEndorsedCertificates => self.apply_node_certificate(write),
            TrustTable::PreviousServiceIdentity => self.check_previous_identity(write, &mut findings),
            TrustTable::PreviousServiceLastSignedRoot => self.check_previous_root(write, &mut findings),
            TrustTable::IdentityEndorsement => self.check_endorsement(write, &mut findings),
            TrustTable::SnapshotEvidence | TrustTable::HistoricalSecret => Ok(()),
        };
        if let Err(why) = outcome {
            findings.push(Finding::new(Code::TrustValue, why));
        }
        for finding in &mut findings {
            finding.seqno = Some(write.seqno);
            finding.offset = Some(write.offset);
        }
        findings
    }

    /// Parses a certificate, once per PEM.
    fn certificate(&mut self, pem: &str) -> Option<Arc<Certificate>> {
        let digest = sha256(pem.as_bytes());
        if let Some(known) = self.parsed.get(&digest) {
            return known.clone();
        }
        if self.parsed.len() >= REMEMBERED {
            self.parsed.clear();
        }
        let certificate = Certificate::from_pem(pem).ok().map(Arc::new);
        self.parsed.insert(digest, certificate.clone());
        certificate
    }

    fn is_endorsed(&mut self, pem: &str, certificate: &Certificate) -> bool {
        let Some(service) = &self.service else {
            return false;
        };
        let id = (sha256(pem.as_bytes()), service.id);
        if let Some(&known) = self.endorsed.get(&id) {
            return known;
        }
        if self.endorsed.len() >= REMEMBERED {
            self.endorsed.clear();
        }
        let endorsed = certificate.is_signed_by(service.certificate.key()).is_ok();
        self.endorsed.insert(id, endorsed);
        endorsed
    }

    fn apply_service_info(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let value = write.value.as_deref().ok_or("service.info is removed")?;
        let info: ServiceInfo = from_json(value).map_err(|e| format!("service.info can't be read: {e}"))?;
        let certificate = self
            .certificate(&info.cert)
            .ok_or("the service certificate in service.info can't be read")?;
        let id = certificate.key_id();
        let before = self.service.take();
        let renewed = before.as_ref().is_some_and(|before| before.id == id);
        if let Some(before) = &before {
            let wrong = match renewed {
                true => !can_follow(before.status, info.status),
                false => !matches!(info.status, ServiceStatus::Recovering | ServiceStatus::Unknown),
            };
            if wrong && renewed {
                findings.push(Finding::new(
                    Code::StatusTransition,
                    format!(
                        "the service's status goes from {:?} to {:?}",
                        before.status, info.status
                    ),
                ));
            } else if wrong {
                findings.push(Finding::new(
                    Code::IdentityChanged,
                    format!(
                        "the service identity changes from {} to {} with status {:?}, expected Recovering",
                        hex::encode(before.id),
                        hex::encode(id),
                        info.status
                    ),
                ));
            }
        }
        if !renewed {
            self.services.push(ServiceRecord {
                from_seqno: write.seqno,
                identity: HexDigest(id),
                recovery_count: info.recovery_count,
            });
            self.identities.push(Arc::clone(&certificate));
        }
        let sends_certificates = renewed && before.as_ref().is_some_and(|before| before.sends_certificates);
        let previous = match (renewed, before) {
            (true, Some(before)) => before.previous,
            (_, before) => before.map(|before| before.certificate),
        };
        self.service = Some(Service {
            certificate,
            id,
            status: info.status,
            previous,
            sends_certificates,
        });
        Ok(())
    }

    fn apply_node_info(&mut self, write: &TrustWrite) -> Result<(), String> {
        let id = String::from_utf8_lossy(&write.key).into_owned();
        let Some(value) = &write.value else {
            self.nodes.remove(&id);
            return Ok(());
        };
        let info: NodeInfo = from_json(value).map_err(|e| format!("nodes.info of {id} can't be read: {e}"))?;
        let certificate = match &info.cert {
            Some(pem) => self.certificate(pem),
            None => None,
        };
        let node = self.nodes.entry(id).or_default();
        node.status = Some(info.status);
        if certificate.is_some() {
            node.certificate = certificate;
            node.is_endorsed = false;
        }
        Ok(())
    }

    fn apply_node_certificate(&mut self, write: &TrustWrite) -> Result<(), String> {
        let id = String::from_utf8_lossy(&write.key).into_owned();
        let Some(value) = &write.value else {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.certificate = None;
            }
            return Ok(());
        };
        let certificate = std::str::from_utf8(value)
            .ok()
            .and_then(|pem| self.certificate(pem))
            .ok_or_else(|| format!("the endorsed certificate of node {id} can't be read"))?;
        let node = self.nodes.entry(id).or_default();
        node.certificate = Some(certificate);
        node.is_endorsed = true;
        Ok(())
    }
}

/// Whether a service of one identity may go from one status to the other.
fn can_follow(before: ServiceStatus, after: ServiceStatus) -> bool {
    use ServiceStatus::{Open, Opening, Recovering, Unknown, WaitingForRecoveryShares};
    before == after
        || matches!(
            (before, after),
            (Unknown, _)
                | (_, Unknown)
                | (Opening, Open)
                | (Recovering, WaitingForRecoveryShares | Open)
                | (WaitingForRecoveryShares, Open)
        )
}
