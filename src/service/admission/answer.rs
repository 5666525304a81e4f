//! What a node is told that is let in. To one that is Trusted that is everything: the service's private key, and the ledger's
//! secrets. Recovery specification, section 8.2.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
        return Ok(written(&Answer {
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
    Ok(written(&Answer {
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
        node_id: (is_new || !is_before_members(info.status)).then_some(&decision.id),
        node_status: NodeStatus::Trusted,
    }))
}

fn is_before_members(status: ServiceStatus) -> bool {
    matches!(status, ServiceStatus::Opening | ServiceStatus::Recovering)
}

// Fields in the order of their names.

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    network_info: Option<NetworkInfo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_id: Option<&'a String>,
    node_status: NodeStatus,
}

#[derive(Serialize)]
struct NetworkInfo<'a> {
    cose_signatures_config: Signatures<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endorsed_certificate: Option<&'a str>,
    identity: Identity<'a>,
    last_recovered_signed_idx: Seqno,
    ledger_secrets: Vec<(Seqno, Secret<'a>)>,
    public_only: bool,
    service_status: ServiceStatus,
}

#[derive(Serialize)]
struct Signatures<'a> {
    issuer: &'a str,
    subject: &'a str,
}

#[derive(Serialize)]
struct Identity<'a> {
    cert: &'a str,
    priv_key: &'a str,
}

struct Secret<'a>(&'a KnownSecret);

impl Serialize for Secret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            previous_secret_stored_version: Option<Seqno>,
            raw_key: &'a str,
        }
        // 44 digits: it never grows, and leaves no copy.
        let mut raw_key = Zeroizing::new(String::with_capacity(64));
        STANDARD.encode_string(self.0.secret.as_bytes(), &mut raw_key);
        let fields = Fields {
            previous_secret_stored_version: self.0.previous_stored,
            raw_key: &raw_key,
        };
        fields.serialize(serializer)
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
fn written(answer: &Answer<'_>) -> Zeroizing<Vec<u8>> {
    let mut length = Length(0);
    // Neither can fail: texts, numbers, and memory to write to.
    let _ = serde_json::to_writer(&mut length, answer);
    let mut body = Zeroizing::new(Vec::with_capacity(length.0));
    let _ = serde_json::to_writer(&mut *body, answer);
    body
}
