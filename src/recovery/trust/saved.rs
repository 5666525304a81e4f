//! A [`Trust`] in a checkpoint.

use serde::{Deserialize, Serialize};

use super::{Node, Service, ServiceRecord, Trust};
use crate::tables::values::{HexDigest, NodeStatus, ServiceStatus};

/// A [`Trust`] as it is saved in a checkpoint: certificates as PEM.
#[derive(Clone, Serialize, Deserialize)]
pub struct SavedTrust {
    /// Id, status, certificate, and whether the service must have endorsed that.
    nodes: Vec<(String, Option<NodeStatus>, Option<String>, bool)>,
    /// Certificate, status, the certificate before, and whether its nodes send theirs.
    service: Option<(String, ServiceStatus, Option<String>, bool)>,
    services: Vec<ServiceRecord>,
    identities: Vec<String>,
    last_root: Option<HexDigest>,
}

impl Trust {
    /// What is needed to go on from here.
    pub fn save(&self) -> SavedTrust {
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                (
                    id.clone(),
                    node.status,
                    node.certificate.as_ref().map(|c| c.to_pem()),
                    node.is_endorsed,
                )
            })
            .collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        SavedTrust {
            nodes,
            service: self.service.as_ref().map(|service| {
                let previous = service.previous.as_ref().map(|p| p.to_pem());
                (
                    service.certificate.to_pem(),
                    service.status,
                    previous,
                    service.sends_certificates,
                )
            }),
            services: self.services.clone(),
            identities: self.identities.iter().map(|identity| identity.to_pem()).collect(),
            last_root: self.last_root.map(HexDigest),
        }
    }

    /// The state that was saved; `None` if a certificate in it can't be read.
    pub fn restore(saved: SavedTrust) -> Option<Trust> {
        let mut trust = Trust {
            services: saved.services,
            last_root: saved.last_root.map(|root| root.0),
            ..Trust::default()
        };
        for pem in &saved.identities {
            let identity = trust.certificate(pem)?;
            trust.identities.push(identity);
        }
        for (id, status, pem, is_endorsed) in saved.nodes {
            let certificate = match pem {
                Some(pem) => Some(trust.certificate(&pem)?),
                None => None,
            };
            trust.nodes.insert(
                id,
                Node {
                    status,
                    certificate,
                    is_endorsed,
                },
            );
        }
        if let Some((pem, status, previous, sends_certificates)) = saved.service {
            let certificate = trust.certificate(&pem)?;
            let previous = match previous {
                Some(pem) => Some(trust.certificate(&pem)?),
                None => None,
            };
            trust.service = Some(Service {
                id: certificate.key_id(),
                certificate,
                status,
                previous,
                sends_certificates,
            });
        }
        Some(trust)
    }
}
