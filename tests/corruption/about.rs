//! What a service writes about itself and the one before it.

use rekindle::crypto::Certificate;
use rekindle::format::TxId;
use rekindle::format::domain::WriteSet;
use rekindle::journal::succession::{Predecessor, endorse};
use rekindle::tables::values::{IdentityEndorsement, ServiceInfo, ServiceStatus, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use super::forger::Identity;

/// `service.info` as a service writes it about itself.
#[derive(Clone)]
pub struct About {
    pub certificate: Certificate,
    pub status: ServiceStatus,
    pub count: Option<u64>,
    pub created: Option<TxId>,
}

impl About {
    pub fn put(&self, writes: &mut WriteSet) {
        let info = ServiceInfo {
            cert: self.certificate.to_pem(),
            status: self.status,
            previous_service_identity_version: None,
            recovery_count: self.count,
            current_service_create_txid: self.created,
            service_data: None,
        };
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, to_json(&info));
    }
}

/// An endorsement as a service created at `created` writes it.
pub fn endorsement(
    service: &Identity,
    created: TxId,
    before: Option<(u64, IdentityEndorsement, [u8; 32])>,
) -> IdentityEndorsement {
    let previous = before.map(|(written_at, endorsement, root)| Predecessor {
        written_at: Some(written_at),
        endorsement,
        last_signed_root: Some(root),
    });
    endorse(&service.key, created, previous, 1_700_000_000)
}
