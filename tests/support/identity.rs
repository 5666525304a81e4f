//! Keys and certificates of services and nodes, and the writes that make them known to a ledger.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use rekindle::crypto::x509::issue;
use rekindle::crypto::{Certificate, Curve, SigningKey};
use rekindle::format::domain::WriteSet;
use rekindle::tables::values::{ServiceInfo, ServiceStatus, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

/// A service's or a node's key and certificate.
#[derive(Clone)]
pub struct Identity {
    pub key: Arc<SigningKey>,
    pub certificate: Certificate,
}

impl Identity {
    pub fn service(seed: u64) -> Identity {
        Identity::new(seed, None)
    }

    /// The key depends on the seed alone: the same node can be endorsed by several services.
    pub fn node(seed: u64, service: &Identity) -> Identity {
        Identity::new(seed, Some(service))
    }

    fn new(seed: u64, issuer: Option<&Identity>) -> Identity {
        let key = SigningKey::generate(Curve::P256, &mut ChaCha20Rng::seed_from_u64(seed));
        let signer = issuer.map_or(&key, |issuer| &issuer.key);
        let subject = if issuer.is_some() {
            "CN=CCF Node"
        } else {
            "CN=CCF Service"
        };
        let issuer = issuer.map(|issuer| &issuer.certificate);
        let public = key.verifying_key();
        let certificate = issue(
            subject,
            &public,
            issuer,
            signer,
            issuer.is_none(),
            1_700_000_000,
            365,
            [seed as u8 + 1; 16],
        );
        Identity {
            key: Arc::new(key),
            certificate: certificate.unwrap(),
        }
    }

    pub fn id(&self) -> String {
        hex::encode(self.key.verifying_key().id())
    }
}

pub fn put_service(writes: &mut WriteSet, service: &Identity, status: ServiceStatus) {
    let info = ServiceInfo {
        cert: service.certificate.to_pem(),
        status,
        previous_service_identity_version: None,
        recovery_count: Some(u64::from(status == ServiceStatus::Recovering)),
        current_service_create_txid: None,
        service_data: None,
    };
    writes.put(names::SERVICE_INFO, SINGLETON_KEY, to_json(&info));
}

pub fn put_node(writes: &mut WriteSet, node: &Identity, status: &str) {
    let id = node.id();
    writes.put(
        names::NODES_INFO,
        id.as_str(),
        to_json(&serde_json::json!({ "status": status })),
    );
    writes.put(
        names::NODES_ENDORSED_CERTIFICATES,
        id.as_str(),
        node.certificate.to_pem(),
    );
}
