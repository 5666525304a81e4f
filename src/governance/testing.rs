//! What the tests of governance share: effects that are written down, members who sign, a small constitution.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

use crate::crypto::x509::{issue, member_id};
use crate::crypto::{Certificate, Curve, SigningKey};
use crate::format::Seqno;
use crate::format::domain::WriteSet;
use crate::kv::store::{Store, Transaction};
use crate::script::Effects;
use crate::tables::SINGLETON_KEY;
use crate::tables::{names, values};

/// A constitution in as few words as possible: one action that writes what it is told, one that throws.
pub(crate) const CONSTITUTION: &str = include_str!("testing.js");

/// Writes down what it is asked for.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) asked: Vec<String>,
    /// What to answer instead of doing it.
    pub(crate) refuse: Option<String>,
    /// How long it takes.
    pub(crate) takes: Duration,
}

impl Recorder {
    fn note(&mut self, what: String) -> Result<(), String> {
        self.asked.push(what);
        std::thread::sleep(self.takes);
        self.refuse.clone().map_or(Ok(()), Err)
    }
}

impl Effects for Recorder {
    fn transition_service_to_open(
        &mut self,
        transaction: &mut Transaction<'_>,
        previous: Option<&str>,
        next: &str,
    ) -> Result<(), String> {
        transaction.put("public:ccf.gov.opened", SINGLETON_KEY, "true");
        self.note(format!("open {previous:?} {next:?}"))
    }

    fn trigger_ledger_rekey(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        self.note("rekey".to_owned())
    }

    fn trigger_recovery_shares_refresh(&mut self, _: &mut Transaction<'_>) -> Result<(), String> {
        self.note("refresh".to_owned())
    }

    fn trigger_ledger_chunk(&mut self) -> Result<(), String> {
        self.note("chunk".to_owned())
    }

    fn trigger_snapshot(&mut self) -> Result<(), String> {
        self.note("snapshot".to_owned())
    }

    fn latest_ledger_secret_seqno(&self, _: &Transaction<'_>) -> Result<Seqno, String> {
        Ok(42)
    }

    fn endorse_certificate(&mut self, csr_pem: &str, valid_from: &str, days: u32) -> Result<String, String> {
        self.note(format!("endorse {csr_pem} {valid_from} {days}"))?;
        Ok("endorsed".to_owned())
    }

    fn renew_service_certificate(&mut self, valid_from: &str, days: u32) -> Result<String, String> {
        self.note(format!("renew {valid_from} {days}"))?;
        Ok("renewed".to_owned())
    }
}

/// A member with a key to sign with.
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) key: SigningKey,
    pub(crate) certificate: Certificate,
}

impl Member {
    pub(crate) fn new(number: u64, curve: Curve) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(number);
        let key = SigningKey::generate(curve, &mut rng);
        let name = format!("CN=member{number}");
        let certificate = issue(&name, &key.verifying_key(), None, &key, true, 0, 365, [7; 16]).unwrap();
        Member {
            id: hex::encode(member_id(certificate.der())),
            key,
            certificate,
        }
    }

    /// A signed request with the headers that it needs.
    pub(crate) fn sign(&self, kind: &str, created_at: u64, proposal_id: Option<&str>, payload: &[u8]) -> Vec<u8> {
        let algorithm = self.key.verifying_key().curve().cose_algorithm();
        let mut headers = vec![
            (1.into(), algorithm.into()),
            (4.into(), ciborium::Value::Bytes(self.id.clone().into_bytes())),
            ("ccf.gov.msg.type".into(), kind.into()),
            ("ccf.gov.msg.created_at".into(), created_at.into()),
        ];
        headers.extend(proposal_id.map(|id| ("ccf.gov.msg.proposal_id".into(), id.into())));
        self.sign_with(headers, payload)
    }

    /// A signed request with these headers, whatever they are.
    pub(crate) fn sign_with(&self, headers: Vec<(ciborium::Value, ciborium::Value)>, payload: &[u8]) -> Vec<u8> {
        use ciborium::Value as Cbor;
        let protected = encode(&Cbor::Map(headers));
        let to_be_signed = Cbor::Array(vec![
            "Signature1".into(),
            Cbor::Bytes(protected.clone()),
            Cbor::Bytes(Vec::new()),
            Cbor::Bytes(payload.to_vec()),
        ]);
        let signature = self.key.sign_fixed(&encode(&to_be_signed));
        let fields = vec![
            Cbor::Bytes(protected),
            Cbor::Map(Vec::new()),
            Cbor::Bytes(payload.to_vec()),
            Cbor::Bytes(signature),
        ];
        encode(&Cbor::Tag(18, Box::new(Cbor::Array(fields))))
    }
}

pub(crate) fn encode(value: &ciborium::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// A service with these active members, [`CONSTITUTION`] and a threshold of 1.
pub(crate) fn service(members: &[&Member]) -> Store {
    let mut writes = WriteSet::new();
    writes.put(names::CONSTITUTION, SINGLETON_KEY, values::to_json(&CONSTITUTION));
    writes.put(names::SERVICE_CONFIG, SINGLETON_KEY, r#"{"recovery_threshold":1}"#);
    put_json(
        &mut writes,
        names::SERVICE_INFO,
        &SINGLETON_KEY,
        &json!({"cert": "service", "status": "Open", "recovery_count": 0}),
    );
    for member in members {
        writes.put(names::MEMBERS_CERTS, member.id.as_bytes(), member.certificate.to_pem());
        put_json(
            &mut writes,
            names::MEMBERS_INFO,
            member.id.as_bytes(),
            &json!({"status": "Active", "unknown": 7}),
        );
    }
    let mut store = Store::new();
    store.apply(1, &writes);
    store
}

pub(crate) fn put_json(writes: &mut WriteSet, table: &str, key: &[u8], value: &Value) {
    writes.put(table, key, values::to_json(value));
}

/// A table's value as JSON.
pub(crate) fn read_json(transaction: &Transaction<'_>, table: &str, key: &[u8]) -> Option<Value> {
    transaction
        .get(table, key)
        .map(|bytes| values::from_json(bytes).unwrap())
}
