//! Probes of what members send: a signed request, and a proposal that the constitution of the fixtures judges.

use std::sync::OnceLock;

use zeroize::Zeroizing;

use crate::crypto::Certificate;
use crate::crypto::cose::MessageType;
use crate::crypto::x509::member_id;
use crate::format::Seqno;
use crate::format::domain::WriteSet;
use crate::governance::proposals;
use crate::governance::request::{CONTENT_TYPE, SignedRequest, authenticate};
use crate::kv::store::{Store, Transaction};
use crate::script::Effects;
use crate::tables::{SINGLETON_KEY, names, values};

/// A member of the service in the store: the key is in the fixtures, so that a test can sign what then is mutated.
const MEMBER: &str = include_str!("../../fixtures/small/common/member0_cert.pem");
const CONSTITUTION: &str = include_str!("../fixture/constitution.js");

/// A service with one active member.
struct Service {
    store: Store,
    member: String,
}

fn service() -> &'static Service {
    static SERVICE: OnceLock<Service> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let member = Certificate::from_pem(MEMBER).map_or(String::new(), |member| hex::encode(member_id(member.der())));
        let mut writes = WriteSet::new();
        writes.put(names::MEMBERS_CERTS, member.as_str(), MEMBER);
        writes.put(names::MEMBERS_INFO, member.as_str(), r#"{"status":"Active"}"#);
        writes.put(names::CONSTITUTION, SINGLETON_KEY, values::to_json(&CONSTITUTION));
        let mut store = Store::new();
        store.apply(1, &writes);
        Service { store, member }
    })
}

/// The body of a request that a member should have signed.
pub fn governance_request(bytes: &[u8]) {
    let transaction = service().store.transaction();
    for kind in [MessageType::Proposal, MessageType::RecoveryShare] {
        if let Ok(request) = authenticate(&transaction, Some(CONTENT_TYPE), bytes, kind, true) {
            let _ = request.text_field("share");
            let _ = (request.require_member("0"), request.require_proposal("0"));
        }
    }
}

/// The text of a proposal, made by an active member.
pub fn proposal(bytes: &[u8]) {
    let service = service();
    let request = SignedRequest {
        member_id: service.member.clone(),
        created_at: 1_700_000_000,
        proposal_id: None,
        payload: Zeroizing::new(bytes.to_vec()),
        signature_digest: [0; 32],
        other_signature_digest: [1; 32],
        certificate_digest: [0; 32],
        raw: Zeroizing::new(Vec::new()),
    };
    let mut transaction = service.store.transaction();
    let _ = proposals::create(&mut transaction, &request, &[0; 32], &mut Nothing);
}

/// Effects that have none.
struct Nothing;

impl Effects for Nothing {
    fn transition_service_to_open(&mut self, _: &mut Transaction<'_>, _: Option<&str>, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn trigger_ledger_rekey(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        Ok(())
    }

    fn trigger_recovery_shares_refresh(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        Ok(())
    }

    fn trigger_ledger_chunk(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn trigger_snapshot(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn latest_ledger_secret_seqno(&self, _: &Transaction<'_>) -> Result<Seqno, String> {
        Ok(1)
    }

    fn endorse_certificate(&mut self, _: &str, _: &str, _: u32) -> Result<String, String> {
        Err("no keys here".to_owned())
    }

    fn renew_service_certificate(&mut self, _: &str, _: u32) -> Result<String, String> {
        Err("no keys here".to_owned())
    }
}
