//! Probe of what anybody may send: a request to join, judged by a service that takes virtual nodes.

use std::sync::OnceLock;

use crate::attestation::{Anchors, Platform, Verifier};
use crate::crypto::{Certificate, Curve};
use crate::format::domain::WriteSet;
use crate::kv::store::Store;
use crate::service::admission::{Here, JoinRequest, Judge, Role, decide};
use crate::service::identity::{ServiceIdentity, ServiceName};
use crate::tables::{SINGLETON_KEY, names};

/// Whose key the TLS client holds.
const CLIENT: &str = include_str!("../../fixtures/small/common/member0_cert.pem");

struct Place {
    store: Store,
    service: Option<ServiceIdentity>,
    client: Option<Certificate>,
    verifier: Verifier,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let mut writes = WriteSet::new();
        let info = r#"{"cert":"","status":"Recovering"}"#;
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, info);
        writes.put(names::NODES_VIRTUAL_MEASUREMENTS, "m", r#""AllowedToJoin""#);
        writes.put(names::NODES_VIRTUAL_HOST_DATA, "h", [0; 8]);
        let mut store = Store::new();
        store.apply(1, &writes);
        Place {
            store,
            service: ServiceIdentity::generate(Curve::P384, &ServiceName::Text("CN=service"), 1).ok(),
            client: Certificate::from_pem(CLIENT).ok(),
            verifier: Verifier::new(Anchors::built_in()),
        }
    })
}

/// The body of a request to join.
pub fn join_request(bytes: &[u8]) {
    let Ok(request) = JoinRequest::parse(bytes) else {
        return;
    };
    let place = place();
    let Some(service) = &place.service else {
        return;
    };
    let here = Here {
        role: Role::Primary,
        startup_seqno: 0,
        judge: Judge {
            verifier: &place.verifier,
            platform: Platform::Virtual,
            now_s: 1_790_000_000,
        },
        service,
        newest_secret: 7,
        serial: [5; 16],
    };
    let mut transaction = place.store.transaction();
    let client = place.client.as_ref().map(Certificate::der);
    match decide(&transaction, &request, client, &here) {
        Ok(decision) => decision
            .addition
            .into_iter()
            .for_each(|addition| addition.write(&mut transaction)),
        Err(refusal) => drop(refusal.response()),
    }
}
