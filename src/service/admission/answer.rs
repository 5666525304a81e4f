//! What a node is told that is let in. To one that is Trusted that is everything: the service's private key, and the ledger's
//! secrets. Recovery specification, section 8.2.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::decision::{Admitted, Decision};
use super::refusal::Refusal;
use crate::format::Seqno;
use crate::journal::succession::KnownSecret;
use crate::kv::store::Transaction;
use crate::recovery::secrets::LedgerSecrets;
use crate::service::identity::ServiceIdentity;
use crate::service::service_info;
use crate::service::submit::known_secrets;
use crate::tables::values::{HistoricalSecret, NodeStatus, ServiceStatus};

/// What a Trusted node is given, beside what the decision says.
pub struct Giving<'a> {
    /// The node knows the public ledger only, so far.
    pub public_only: bool,
    /// The service.
    pub service: &'a ServiceIdentity,
    /// The service's own secrets, the newest last.
    pub secrets: &'a [KnownSecret],
    /// Those of the ledger that was recovered, once they are known.
    pub before: Option<&'a LedgerSecrets>,
    /// Every value of the historical secrets in that ledger.
    pub historical: &'a [(Seqno, HistoricalSecret)],
    /// Issuer and subject of signatures.
    pub signatures: (&'a str, &'a str),
}

/// The body of an answer, JSON with sorted names as CCF writes it; wiped when it is dropped.
///
/// # Errors
/// [`Refusal::NotNow`] where secrets are to be given that are being read: who asks again is answered.
pub fn body(
    transaction: &Transaction<'_>,
    decision: &Decision,
    giving: &Giving<'_>,
) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let Admitted::Trusted {
        secrets_until,
        endorsed,
    } = &decision.admitted
    else {
        return Ok(written(&JoinAnswer {
            network_info: None,
            node_id: Some(&decision.id),
            node_status: NodeStatus::Pending,
        }));
    };
    let info = service_info(transaction).map_err(|_| Refusal::NoService)?;
    let created = info.current_service_create_txid;
    let old = match (giving.public_only, giving.before) {
        (true, _) => Vec::new(),
        (false, Some(before)) => known_secrets(before, giving.historical),
        (false, None) => return Err(Refusal::NotNow("The ledger's secrets are being read; ask again.")),
    };
    let all = old.iter().chain(giving.secrets);
    let secrets: BTreeMap<Seqno, Secret<'_>> = all
        .filter(|known| known.from <= *secrets_until)
        .map(|known| (known.from, Secret(known)))
        .collect();
    let (issuer, subject) = giving.signatures;
    let key = giving.service.key.to_pkcs8_pem();
    let is_new = decision.addition.is_some();
    Ok(written(&JoinAnswer {
        network_info: Some(NetworkInfo {
            cose_signatures_config: Signatures { issuer, subject },
            endorsed_certificate: endorsed.as_deref(),
            identity: Identity {
                cert: &info.cert,
                priv_key: &key,
            },
            last_recovered_signed_idx: created.map_or(0, |txid| txid.seqno.saturating_sub(1)),
            ledger_secrets: secrets.into_iter().collect(),
            public_only: giving.public_only,
            service_status: info.status,
        }),
        // CCF leaves it out where it answers a node that it had trusted at once.
        node_id: (is_new || !is_before_members(info.status)).then_some(decision.id.as_str()),
        node_status: NodeStatus::Trusted,
    }))
}

fn is_before_members(status: ServiceStatus) -> bool {
    matches!(status, ServiceStatus::Opening | ServiceStatus::Recovering)
}

// Fields in the order of their names.

/// What a node is told that is let in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JoinNetworkNodeToNode__Out")]
pub struct JoinAnswer<'a> {
    /// Only for a node that is Trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NetworkInfo<'a>")]
    network_info: Option<NetworkInfo<'a>>,
    /// Left out where a node that was Trusted at once asks again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("pattern" = "^[a-f0-9]{64}$"))]
    node_id: Option<&'a str>,
    /// Pending, until members trust it; or Trusted.
    node_status: NodeStatus,
}

/// Everything a node needs to be part of the service. It is secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "JoinNetworkNodeToNode__Out__NetworkInfo")]
struct NetworkInfo<'a> {
    /// What signatures of the service name.
    cose_signatures_config: Signatures<'a>,
    /// The node's certificate, PEM, endorsed by the service, if it asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    endorsed_certificate: Option<&'a str>,
    /// The service's certificate and its private key, PEM.
    identity: Identity<'a>,
    /// The last signature of the ledger that was recovered.
    last_recovered_signed_idx: Seqno,
    /// Pairs: the first seqno that a ledger secret seals, and the secret.
    #[schemars(with = "Vec<[Half<'a>; 2]>")]
    ledger_secrets: Vec<(Seqno, Secret<'a>)>,
    /// The private part of the ledger is not recovered yet.
    public_only: bool,
    /// The service's status.
    service_status: ServiceStatus,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "COSESignaturesConfig")]
struct Signatures<'a> {
    issuer: &'a str,
    subject: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NetworkIdentity")]
struct Identity<'a> {
    cert: &'a str,
    priv_key: &'a str,
}

/// One of a pair, for the documents: JSON Schema as OpenAPI 3.0 has it knows no tuples.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum Half<'a> {
    /// The first seqno that the secret seals.
    Seqno(Seqno),
    /// The secret.
    Secret(SharedSecret<'a>),
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LedgerSecret")]
struct SharedSecret<'a> {
    /// Seqno of the write that stored the secret before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Seqno")]
    previous_secret_stored_version: Option<Seqno>,
    /// 32 bytes in base64.
    raw_key: &'a str,
}

struct Secret<'a>(&'a KnownSecret);

impl Serialize for Secret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // 44 digits: it never grows, and leaves no copy.
        let mut raw_key = Zeroizing::new(String::with_capacity(64));
        STANDARD.encode_string(self.0.secret.as_bytes(), &mut raw_key);
        let shared = SharedSecret {
            previous_secret_stored_version: self.0.previous_stored,
            raw_key: &raw_key,
        };
        shared.serialize(serializer)
    }
}

/// Counts what would be written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The text, in memory that was large enough from the beginning: growing would leave copies.
fn written(answer: &JoinAnswer<'_>) -> Zeroizing<Vec<u8>> {
    let mut length = Length(0);
    // Neither can fail: texts, numbers, and memory to write to.
    let _ = serde_json::to_writer(&mut length, answer);
    let mut body = Zeroizing::new(Vec::with_capacity(length.0));
    let _ = serde_json::to_writer(&mut *body, answer);
    body
}
