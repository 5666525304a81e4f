//! Who is let in and who is not, by what was asked of a real node and by what nobody should ask.

mod bodies;
mod checks;
mod samples;
mod shown;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{Giving, body};
use super::testing::{HOST_DATA, Joiner, NOW_S, VALIDITY, encryption_key, virtual_quote};
use super::*;
use crate::attestation::testing::{Machine, key};
use crate::attestation::{Platform, VIRTUAL_MEASUREMENT, Verifier};
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::testing::rng;
use crate::crypto::x509::{self, AlternativeName, Certificate, Validity};
use crate::crypto::{Curve, LedgerSecret, SigningKey, VerifyingKey};
use crate::fixture::{Options, generate};
use crate::format::directory::LedgerFiles;
use crate::format::domain::WriteSet;
use crate::format::{Seqno, TxId};
use crate::http::{Body, Response};
use crate::journal::succession::KnownSecret;
use crate::kv::store::{Store, Transaction};
use crate::recovery::recovery_tables::RecoveryTables;
use crate::recovery::secrets::{LedgerSecrets, Material, open};
use crate::report::progress::Silent;
use crate::service::identity::{ServiceIdentity, ServiceName};
use crate::tables::values::{HistoricalSecret, ServiceInfo, ServiceStatus, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// A service with one node, and what it gives.
struct Place {
    store: Store,
    service: ServiceIdentity,
    status: ServiceStatus,
    platform: Platform,
    secrets: Vec<KnownSecret>,
    before: Option<LedgerSecrets>,
    startup_seqno: Seqno,
    role: Role<'static>,
    verifier: Verifier,
}

/// What a node is answered.
struct Told {
    status: u16,
    location: Option<String>,
    json: Value,
}

impl Place {
    fn new(status: ServiceStatus) -> Place {
        let name = ServiceName::Text("CN=CCF Test Service");
        let service = ServiceIdentity::generate_at(Curve::P384, &name, 90, NOW_S, &mut rng(77)).unwrap();
        let secret = |seed, from, previous_stored| KnownSecret {
            secret: LedgerSecret::generate(&mut rng(seed)),
            from,
            previous_stored,
        };
        let mut place = Place {
            store: Store::new(),
            service,
            status,
            platform: Platform::Virtual,
            secrets: vec![secret(579, 579, Some(594))],
            before: Some(LedgerSecrets::default()),
            startup_seqno: 0,
            role: Role::Primary,
            verifier: Verifier::new(Machine::anchors()),
        };
        place.set_status(status);
        place.write(&[
            (
                names::NODES_VIRTUAL_MEASUREMENTS,
                VIRTUAL_MEASUREMENT,
                json!("AllowedToJoin"),
            ),
            (names::NODES_VIRTUAL_HOST_DATA, HOST_DATA, json!("")),
        ]);
        place
    }

    fn set_status(&mut self, status: ServiceStatus) {
        self.status = status;
        let info = ServiceInfo {
            cert: self.service.certificate.to_pem(),
            status,
            previous_service_identity_version: None,
            recovery_count: Some(1),
            current_service_create_txid: Some(TxId { view: 4, seqno: 579 }),
            service_data: None,
        };
        let mut writes = WriteSet::new();
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, info.to_json());
        self.apply(&writes);
    }

    fn write(&mut self, rows: &[(&str, &str, Value)]) {
        let mut writes = WriteSet::new();
        for (table, key, value) in rows {
            writes.put(table, *key, to_json(value));
        }
        self.apply(&writes);
    }

    fn apply(&mut self, writes: &WriteSet) {
        let next = self.store.seqno() + 1;
        self.store.apply(next, writes);
    }

    fn public_only(&self) -> bool {
        !matches!(self.status, ServiceStatus::Open)
    }

    /// Asks, and writes what is to be written.
    fn ask(&mut self, request: &Value, client: Option<&Certificate>) -> Told {
        self.ask_bytes(request.to_string().as_bytes(), client)
    }

    fn ask_bytes(&mut self, request: &[u8], client: Option<&Certificate>) -> Told {
        let mut written = None;
        let response = self
            .answer(request, client, &mut written)
            .unwrap_or_else(|why| why.response());
        if let Some(writes) = written {
            assert!(response.status.is_success(), "a refusal writes nothing");
            self.apply(&writes);
        }
        told(response)
    }

    fn answer(
        &self,
        request: &[u8],
        client: Option<&Certificate>,
        written: &mut Option<WriteSet>,
    ) -> Result<Response, Refusal> {
        let request = JoinRequest::parse(request)?;
        let mut transaction = self.store.transaction();
        let here = Here {
            role: self.role,
            startup_seqno: self.startup_seqno,
            judge: Judge {
                verifier: &self.verifier,
                platform: self.platform,
                now_s: NOW_S,
            },
            service: &self.service,
            newest_secret: self.secrets.last().unwrap().from,
            serial: [5; 16],
        };
        let mut decision = decide(&transaction, &request, client.map(Certificate::der), &here)?;
        let text = body(&transaction, &decision, &self.giving())?;
        let length = text.len();
        assert_eq!(text.capacity(), length, "it never grew");
        let response = Response::bytes("application/json", text.to_vec());
        if let Some(addition) = decision.addition.take() {
            addition.write(&mut transaction);
            *written = Some(transaction.into_writes());
        }
        Ok(response)
    }

    fn giving(&self) -> Giving<'_> {
        Giving {
            public_only: self.public_only(),
            service: &self.service,
            secrets: &self.secrets,
            before: self.before.as_ref(),
            historical: &[],
            signatures: ("service.example.com", "ledger.signature"),
        }
    }

    fn row(&self, table: &str, id: &str) -> Option<Vec<u8>> {
        self.store.get(table, id.as_bytes()).map(|(_, value)| value.to_vec())
    }

    fn node(&self, id: &str) -> Value {
        serde_json::from_slice(&self.row(names::NODES_INFO, id).unwrap()).unwrap()
    }

    /// What members do with a node's row, by a constitution.
    fn change_node(&mut self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut info = self.node(id);
        change(&mut info);
        self.write(&[(names::NODES_INFO, id, info)]);
    }

    fn transaction(&self) -> Transaction<'_> {
        self.store.transaction()
    }
}

fn told(response: Response) -> Told {
    let Body::Bytes(body) = &response.body else {
        panic!("not in memory");
    };
    let location = response.headers.get("location");
    Told {
        status: response.status.as_u16(),
        location: location.map(|location| location.to_str().unwrap().to_owned()),
        json: serde_json::from_slice(body).unwrap(),
    }
}

impl Joiner {
    fn asks(&self, place: &mut Place) -> Told {
        place.ask(&self.request, Some(&self.client))
    }
}

impl Told {
    fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }

    /// Status and code of an error.
    fn error(&self) -> (u16, &str) {
        (self.status, self.code())
    }

    fn is_trusted(&self) -> bool {
        self.status == 200 && self.json["node_status"] == "Trusted"
    }
}

/// A TLS client's certificate with this key: nobody looks at who has signed it.
fn client_of(subject: &VerifyingKey) -> Certificate {
    let signer = key(900);
    x509::issue("CN=CCF Node", subject, None, &signer, false, NOW_S, 30, [1; 16]).unwrap()
}

/// The secrets of a made service, recovered with a member's key.
fn real_secrets(out: &Path) -> (LedgerSecrets, Vec<(Seqno, HistoricalSecret)>) {
    let options = Options {
        entries: 60,
        signature_every: 10,
        rekey_every: 25,
        members: 1,
        threshold: 1,
        ..Options::default()
    };
    generate(&options, out, &Silent).unwrap();
    let files = LedgerFiles::list(&[out.join("ledger")], false).unwrap();
    let tables = RecoveryTables::read(&files, None, Seqno::MAX).unwrap();
    let pem = std::fs::read_to_string(out.join("common/member0_enc_privk.pem")).unwrap();
    let material = Material {
        member_keys: vec![("member0".to_owned(), DecryptionKey::from_pem(&pem).unwrap())],
        ..Material::default()
    };
    (open(&tables, &material).secrets.unwrap(), tables.historical)
}
