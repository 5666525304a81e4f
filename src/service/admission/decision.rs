//! What becomes of a request to join, over the state of one transaction: nothing is written here, and nobody is asked.

use super::evidence::Judge;
use super::refusal::Refusal;
use super::request::JoinRequest;
use crate::crypto::Error as CryptoError;
use crate::crypto::rsa::EncryptionKey;
use crate::crypto::x509::{self, Certificate, CertificateRequest, Validity};
use crate::format::Seqno;
use crate::kv::store::Transaction;
use crate::service::identity::ServiceIdentity;
use crate::service::service_info;
use crate::tables::joiner::Joiner;
use crate::tables::names;
use crate::tables::values::{NodeInfo, NodeStatus, SealedRecoveryKey, ServiceStatus, from_json, to_json};

/// What the node that is asked is to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// It is in no network yet.
    Outside,
    /// It writes.
    Primary,
    /// It follows another node, whose id this is, if it knows it.
    Backup {
        /// The node that writes.
        primary: Option<&'a str>,
        /// The interface that was asked: the joiner is sent to the primary's of the same name.
        interface: &'a str,
    },
}

/// What there is to decide by, beside the store.
pub struct Here<'a> {
    /// What this node is to the network.
    pub role: Role<'a>,
    /// The seqno that this node itself began at: 0 without a snapshot.
    pub startup_seqno: Seqno,
    /// Judges evidence.
    pub judge: Judge<'a>,
    /// The service, which endorses nodes.
    pub service: &'a ServiceIdentity,
    /// First seqno of the newest ledger secret.
    pub newest_secret: Seqno,
    /// Of the certificate that may be issued: random.
    pub serial: [u8; 16],
}

/// A node is let in, or was before.
#[derive(Debug)]
pub struct Decision {
    /// Hex digest of its public key.
    pub id: String,
    /// How far it is in.
    pub admitted: Admitted,
    /// What the service says it is.
    pub service_status: ServiceStatus,
    /// What is to be written, of a node that is new.
    pub addition: Option<Addition>,
}

/// How far a node is in.
#[derive(Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Members have to trust it first.
    Pending,
    /// It is given everything.
    Trusted {
        /// Ledger secrets from after this seqno it gets by replay: it was Trusted before there were any.
        secrets_until: Seqno,
        /// Its certificate, PEM, if it asked for one.
        endorsed: Option<String>,
    },
}

/// What a node that is new leaves in the ledger.
#[derive(Debug)]
pub struct Addition {
    id: String,
    record: Vec<u8>,
    endorsed: Option<String>,
    recovery_key: Option<SealedRecoveryKey>,
    sealing_name: Option<String>,
}

impl Addition {
    /// Writes it.
    pub fn write(self, transaction: &mut Transaction<'_>) {
        transaction.put(names::NODES_INFO, self.id.as_str(), self.record);
        if let Some(key) = &self.recovery_key {
            transaction.put(names::NODES_SEALED_RECOVERY_KEYS, self.id.as_str(), to_json(key));
            if let Some(name) = self.sealing_name {
                transaction.put(names::NODES_LOCAL_SEALING_NODE_ID_MAP, name, to_json(&self.id));
            }
        }
        if let Some(certificate) = self.endorsed {
            transaction.put(names::NODES_ENDORSED_CERTIFICATES, self.id, certificate);
        }
    }
}

/// Decides. `client` is the DER of the TLS client's certificate: it holds the key, nothing else is known of it.
///
/// The order is CCF's, as far as a joiner could tell: request, this node, service, what is known, who decides, address,
/// evidence, certificate request.
///
/// # Errors
/// [`Refusal`].
pub fn decide(
    transaction: &Transaction<'_>,
    request: &JoinRequest,
    client: Option<&[u8]>,
    here: &Here<'_>,
) -> Result<Decision, Refusal> {
    if here.role == Role::Outside {
        return Err(Refusal::NotInNetwork);
    }
    if request.startup_seqno < here.startup_seqno {
        return Err(Refusal::StartupSeqnoIsOld {
            joiner: request.startup_seqno,
            own: here.startup_seqno,
        });
    }
    let status = service_info(transaction).map_err(|_| Refusal::NoService)?.status;
    let client = client.ok_or(Refusal::NoCertificate)?;
    let client = Certificate::from_der(client).map_err(|why| Refusal::Certificate(why.to_string()))?;
    let id = hex::encode(client.key_id());
    let known = transaction.get(names::NODES_INFO, id.as_bytes());
    if let Some(row) = known {
        return Ok(Decision {
            admitted: as_known(transaction, &id, row, here)?,
            id,
            service_status: status,
            addition: None,
        });
    }
    if let Role::Backup { primary, interface } = here.role {
        let address = primary.and_then(|primary| address_of(transaction, primary, interface));
        return Err(Refusal::NotPrimary { address });
    }
    add(transaction, request, &client, id, status, here)
}

/// Of a node that is in the store.
fn as_known(transaction: &Transaction<'_>, id: &str, row: &[u8], here: &Here<'_>) -> Result<Admitted, Refusal> {
    let failed = |why| Refusal::Failed(format!("nodes.info of {id} can't be read: {why}"));
    let info: NodeInfo = from_json(row).map_err(|why| failed(why.to_string()))?;
    match info.status {
        NodeStatus::Pending => Ok(Admitted::Pending),
        NodeStatus::Trusted => {
            let certificate = transaction.get(names::NODES_ENDORSED_CERTIFICATES, id.as_bytes());
            let certificate = certificate.map(|pem| String::from_utf8(pem.to_vec()));
            Ok(Admitted::Trusted {
                secrets_until: info.other.read("ledger_secret_seqno").unwrap_or(here.newest_secret),
                endorsed: certificate
                    .transpose()
                    .map_err(|_| failed("its certificate is no text".to_owned()))?,
            })
        }
        NodeStatus::Retired | NodeStatus::Unknown => Err(Refusal::Retired),
    }
}

fn add(
    transaction: &Transaction<'_>,
    request: &JoinRequest,
    client: &Certificate,
    id: String,
    status: ServiceStatus,
    here: &Here<'_>,
) -> Result<Decision, Refusal> {
    check_address(transaction, request.network.address())?;
    let key = client.key();
    let measurement = here.judge.measurement(transaction, &request.evidence, key.spki_der())?;
    let certificate_request = request
        .certificate_request
        .as_deref()
        .map(|pem| read_request(pem, client))
        .transpose()?;
    let encryption_key =
        EncryptionKey::from_pem(&request.encryption_key).map_err(|why| Refusal::EncryptionKey(why.to_string()))?;
    // Before members have the say, whoever brings evidence is in: that is how a recovered network grows.
    let trusts = matches!(status, ServiceStatus::Opening | ServiceStatus::Recovering);
    let endorsed = match (&certificate_request, trusts) {
        (Some(request), true) => Some(endorse(request, client, here)?),
        _ => None,
    };
    let request_pem = certificate_request.as_ref().map(CertificateRequest::to_pem);
    let record = Joiner {
        network: &request.network,
        quote_info: &request.quote_info(),
        encryption_key: &encryption_key.spki_pem(),
        public_key: &key.spki_pem(),
        measurement: &measurement,
        certificate_signing_request: request_pem.as_deref(),
        data: request.data.as_ref(),
        trusted_with: trusts.then_some(here.newest_secret),
    };
    let addition = Addition {
        id: id.clone(),
        record: record.to_json(),
        endorsed: endorsed.clone(),
        recovery_key: request.recovery_key.clone(),
        sealing_name: request.sealing_name.clone(),
    };
    let admitted = match trusts {
        true => Admitted::Trusted {
            secrets_until: here.newest_secret,
            endorsed,
        },
        false => Admitted::Pending,
    };
    Ok(Decision {
        id,
        admitted,
        service_status: status,
        addition: Some(addition),
    })
}

/// Nobody else of the service may be reached where the joiner is. A name in other letters is the same.
fn check_address(transaction: &Transaction<'_>, address: &str) -> Result<(), Refusal> {
    for (id, row) in transaction.entries(names::NODES_INFO) {
        let id = String::from_utf8_lossy(&id).into_owned();
        let info: NodeInfo =
            from_json(&row).map_err(|why| Refusal::Failed(format!("nodes.info of {id} can't be read: {why}")))?;
        if info.status == NodeStatus::Retired {
            continue;
        }
        let of_nodes: Option<Addressed> = info.other.read("node_to_node_interface");
        let taken = of_nodes.and_then(|interface| interface.published_address.or(interface.bind_address));
        if taken.is_some_and(|taken| taken.eq_ignore_ascii_case(address)) {
            return Err(Refusal::AddressTaken {
                address: address.to_owned(),
                id,
            });
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Addressed {
    published_address: Option<String>,
    bind_address: Option<String>,
}

/// Where a node's interface of this name is reached.
fn address_of(transaction: &Transaction<'_>, id: &str, interface: &str) -> Option<String> {
    let info: NodeInfo = from_json(transaction.get(names::NODES_INFO, id.as_bytes())?).ok()?;
    let mut interfaces: std::collections::BTreeMap<String, Addressed> = info.other.read("rpc_interfaces")?;
    interfaces.remove(interface)?.published_address
}

/// A request that is signed by its own key, which is the client's.
fn read_request(pem: &str, client: &Certificate) -> Result<CertificateRequest, Refusal> {
    let request = CertificateRequest::from_pem(pem).map_err(|why| Refusal::CertificateRequest(why.to_string()))?;
    match request.key().spki_der() == client.key().spki_der() {
        true => Ok(request),
        false => Err(Refusal::ForeignRequest),
    }
}

/// The certificate of a node that is Trusted at once, valid for as long as the one that it signed itself.
fn endorse(request: &CertificateRequest, client: &Certificate, here: &Here<'_>) -> Result<String, Refusal> {
    let Validity {
        not_before_unix_s,
        not_after_unix_s,
    } = client.validity().map_err(|why| Refusal::Certificate(why.to_string()))?;
    if not_before_unix_s > not_after_unix_s {
        return Err(Refusal::Certificate("it ends before it begins".to_owned()));
    }
    let validity = Validity {
        not_before_unix_s,
        not_after_unix_s,
    };
    let service = here.service;
    let failed = |why: CryptoError| Refusal::Failed(format!("the node's certificate can't be endorsed: {why}"));
    x509::issue_from_request(request, &service.certificate, &service.key, validity, here.serial)
        .map(|certificate| certificate.to_pem())
        .map_err(failed)
}
