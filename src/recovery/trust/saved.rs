//! A [`Trust`] in a checkpoint.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::nodes::{NodeRecord, Nodes, Status};
use super::{Kinds, LastSigned, SeenOfService, Service, ServiceRecord, Trust};
use crate::crypto::Certificate;
use crate::format::{Seqno, TxId};
use crate::tables::values::{HexDigest, IdentityEndorsement, ServiceStatus};

/// A [`Trust`] as it is saved in a checkpoint: certificates as PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedTrust {
    nodes: Vec<(String, SavedNode)>,
    gone: Vec<String>,
    service: Option<SavedService>,
    services: Vec<ServiceRecord>,
    identities: Vec<String>,
    kinds: Kinds,
    last_signed: Option<LastSigned>,
    endorsement: Option<(Seqno, IdentityEndorsement)>,
    is_partial: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedNode {
    status: Option<Status>,
    certificate: Option<String>,
    is_endorsed: bool,
    retired_committed: Option<TxId>,
    said_retired: bool,
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedService {
    certificate: String,
    status: ServiceStatus,
    previous: Option<String>,
    previous_root: Option<HexDigest>,
    recovery_count: Option<u64>,
    created: Option<TxId>,
    seen: SeenOfService,
}

fn pem(certificate: &Arc<Certificate>) -> String {
    certificate.to_pem()
}

impl Trust {
    /// What is needed to go on from here.
    pub fn save(&self) -> SavedTrust {
        let mut nodes: Vec<_> = self
            .nodes
            .known
            .iter()
            .map(|(id, node)| (id.clone(), save_node(node)))
            .collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        let mut gone: Vec<_> = self.nodes.gone.iter().cloned().collect();
        gone.sort();
        SavedTrust {
            nodes,
            gone,
            service: self.service.as_ref().map(|service| SavedService {
                certificate: service.certificate.to_pem(),
                status: service.status,
                previous: service.previous.as_ref().map(pem),
                previous_root: service.previous_root,
                recovery_count: service.recovery_count,
                created: service.created,
                seen: service.seen,
            }),
            services: self.services.clone(),
            identities: self.identities.iter().map(pem).collect(),
            kinds: self.kinds,
            last_signed: self.last_signed,
            endorsement: self.endorsement.clone(),
            is_partial: self.is_partial,
        }
    }

    /// The state that was saved; `None` if a certificate in it can't be read.
    pub fn restore(saved: SavedTrust) -> Option<Trust> {
        let mut trust = Trust {
            services: saved.services,
            kinds: saved.kinds,
            last_signed: saved.last_signed,
            endorsement: saved.endorsement,
            is_partial: saved.is_partial,
            ..Trust::default()
        };
        for pem in &saved.identities {
            let identity = trust.certificates.parse(pem)?;
            trust.identities.push(identity);
        }
        let mut nodes = Nodes {
            gone: saved.gone.into_iter().collect(),
            ..Nodes::default()
        };
        for (id, node) in saved.nodes {
            let restored = NodeRecord {
                status: node.status,
                certificate: trust.optional(node.certificate)?,
                is_endorsed: node.is_endorsed,
                retired_committed: node.retired_committed,
                said_retired: node.said_retired,
            };
            nodes.known.insert(id, restored);
        }
        trust.nodes = nodes;
        if let Some(service) = saved.service {
            let certificate = trust.certificates.parse(&service.certificate)?;
            trust.service = Some(Service {
                id: certificate.key_id(),
                certificate,
                status: service.status,
                previous: trust.optional(service.previous)?,
                previous_root: service.previous_root,
                recovery_count: service.recovery_count,
                created: service.created,
                seen: service.seen,
            });
        }
        Some(trust)
    }

    /// A certificate that may be none; `None` if there is one and it can't be read.
    fn optional(&mut self, pem: Option<String>) -> Option<Option<Arc<Certificate>>> {
        match pem {
            Some(pem) => self.certificates.parse(&pem).map(Some),
            None => Some(None),
        }
    }
}

fn save_node(node: &NodeRecord) -> SavedNode {
    SavedNode {
        status: node.status,
        certificate: node.certificate.as_ref().map(pem),
        is_endorsed: node.is_endorsed,
        retired_committed: node.retired_committed,
        said_retired: node.said_retired,
    }
}
