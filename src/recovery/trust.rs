//! Which keys are valid when: nodes, the service, and the chain of service identities across recoveries.
//!
//! The only sequential state of a verification, and small. It changes by the writes to trust tables, in order; at every
//! signature it answers which key must have signed, and makes the [`Check`] that is then verified in parallel.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::cose::Sign1;
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::ecdsa::VerifyingKey;
use crate::crypto::x509::Certificate;
use crate::format::{Seqno, TxId};
use crate::recovery::report::{Code, Finding};
use crate::recovery::scan::{SignatureTx, TrustTable, TrustWrite};
use crate::tables::values::{
    HexDigest, IdentityEndorsement, NodeInfo, NodeStatus, ServiceInfo, ServiceStatus, from_json,
};

/// One service identity in the history of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Seqno of the first write of its certificate.
    pub from_seqno: Seqno,
    /// SHA-256 of the key's SPKI DER, hex.
    pub identity: HexDigest,
    /// Recoveries before it, where the ledger says so.
    pub recovery_count: Option<u64>,
}

#[derive(Clone)]
struct Service {
    certificate: Arc<Certificate>,
    id: Digest,
    status: ServiceStatus,
    /// Identity before this one, if this ledger (or its snapshot) told.
    previous: Option<Arc<Certificate>>,
    /// Whether a node's signature came with its certificate: every node since 2.x does that.
    sends_certificates: bool,
}

#[derive(Clone, Default)]
struct Node {
    status: Option<NodeStatus>,
    certificate: Option<Arc<Certificate>>,
    /// Whether that is the one which the service must have endorsed, not the self-signed one of 1.x.
    is_endorsed: bool,
}

/// The keys in force at one point of a ledger.
#[derive(Clone, Default)]
pub struct Trust {
    nodes: HashMap<String, Node>,
    service: Option<Service>,
    services: Vec<ServiceRecord>,
    /// The certificates of `services`, in the same order.
    identities: Vec<Arc<Certificate>>,
    /// Certificates by SHA-256 of their PEM, so that the one in every signature is parsed once.
    parsed: HashMap<Digest, Option<Arc<Certificate>>>,
    /// Whether a certificate (by its PEM's digest) is signed by a service (by its key's id).
    endorsed: HashMap<(Digest, Digest), bool>,
    /// The last root that was recorded in a signature.
    pub last_root: Option<Digest>,
}

/// Certificates remembered at most; a real service has one per node and renewal.
const REMEMBERED: usize = 4096;

/// Signatures to be verified, with the keys that must have made them.
pub struct Check {
    /// Seqno and view of the signature transaction.
    pub txid: TxId,
    /// Where it is.
    pub chunk_index: usize,
    /// Offset of its entry.
    pub offset: u64,
    /// The root that must have been signed.
    pub root: Digest,
    /// The node's key and its signature.
    pub node: Option<(Arc<Certificate>, Vec<u8>)>,
    /// Id of the node that signed, hex.
    pub signer: Option<HexDigest>,
    /// The service's key and its COSE signature.
    pub cose: Option<(Arc<Certificate>, Vec<u8>)>,
}

/// What verifying a [`Check`] gave: what is wrong, if anything.
pub type Outcome = Vec<(Code, String)>;

impl Check {
    /// Verifies both signatures over the root. This is where most of an audit's time goes on a quiet service.
    pub fn verify(&self) -> Outcome {
        let mut wrong = Outcome::new();
        if let Some((certificate, signature)) = &self.node
            && certificate.key().verify_prehashed_der(&self.root, signature).is_err()
        {
            let text = format!(
                "the node's signature does not verify over root {} with the key of node {}",
                hex::encode(self.root),
                hex::encode(certificate.key_id())
            );
            wrong.push((Code::NodeSignature, text));
        }
        if let Some((certificate, message)) = &self.cose {
            wrong.extend(self.verify_cose(certificate.key(), message));
        }
        wrong
    }

    fn verify_cose(&self, key: &VerifyingKey, message: &[u8]) -> Outcome {
        let message = match Sign1::parse(message) {
            Ok(message) => message,
            Err(why) => return vec![(Code::SignatureMalformed, format!("its COSE signature can't be read: {why}"))],
        };
        let mut wrong = Outcome::new();
        if let Err(why) = message.verify(key, Some(&self.root)) {
            let text = format!(
                "the service's COSE signature does not verify over root {} with service identity {}: {why}",
                hex::encode(self.root),
                hex::encode(key.id())
            );
            wrong.push((Code::CoseSignature, text));
        }
        let kid = hex::encode(key.id());
        if message.kid().is_some_and(|found| found != kid.as_bytes()) {
            wrong.push((Code::SignatureFields, format!("its COSE signature names another key than service identity {kid}")));
        }
        match message.txid() {
            Some(found) if found != self.txid.to_string() => {
                wrong.push((Code::SignatureFields, format!("its COSE signature is for transaction {found}, expected {}", self.txid)));
            }
            _ => {}
        }
        wrong
    }
}

impl Trust {
    /// The service identities so far.
    pub fn services(&self) -> &[ServiceRecord] {
        &self.services
    }

    /// The certificates under which they first appeared, in the same order.
    pub fn identities(&self) -> &[Arc<Certificate>] {
        &self.identities
    }

    /// The key of the service in force.
    pub fn service_certificate(&self) -> Option<&Arc<Certificate>> {
        self.service.as_ref().map(|service| &service.certificate)
    }

    /// Applies one write. What is wrong with it comes back as findings without a file; the caller knows that.
    pub fn apply(&mut self, write: &TrustWrite) -> Vec<Finding> {
        let mut findings = Vec::new();
        let outcome = match write.table {
            TrustTable::ServiceInfo => self.apply_service_info(write, &mut findings),
            TrustTable::NodesInfo => self.apply_node_info(write),
            TrustTable::NodesEndorsedCertificates => self.apply_node_certificate(write),
            TrustTable::PreviousServiceIdentity => self.check_previous_identity(write, &mut findings),
            TrustTable::PreviousServiceLastSignedRoot => self.check_previous_root(write, &mut findings),
            TrustTable::IdentityEndorsement => self.check_endorsement(write, &mut findings),
            TrustTable::SnapshotEvidence => Ok(()),
        };
        if let Err(why) = outcome {
            findings.push(Finding::new(Code::TrustValue, why));
        }
        for finding in &mut findings {
            finding.seqno = Some(write.seqno);
            finding.offset = Some(write.offset);
        }
        findings
    }

    /// Parses a certificate, once per PEM.
    fn certificate(&mut self, pem: &str) -> Option<Arc<Certificate>> {
        let digest = sha256(pem.as_bytes());
        if let Some(known) = self.parsed.get(&digest) {
            return known.clone();
        }
        if self.parsed.len() >= REMEMBERED {
            self.parsed.clear();
        }
        let certificate = Certificate::from_pem(pem).ok().map(Arc::new);
        self.parsed.insert(digest, certificate.clone());
        certificate
    }

    fn is_endorsed(&mut self, pem: &str, certificate: &Certificate) -> bool {
        let Some(service) = &self.service else {
            return false;
        };
        let id = (sha256(pem.as_bytes()), service.id);
        if let Some(&known) = self.endorsed.get(&id) {
            return known;
        }
        if self.endorsed.len() >= REMEMBERED {
            self.endorsed.clear();
        }
        let endorsed = certificate.is_signed_by(service.certificate.key()).is_ok();
        self.endorsed.insert(id, endorsed);
        endorsed
    }

    fn apply_service_info(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let value = write.value.as_deref().ok_or("service.info is removed")?;
        let info: ServiceInfo = from_json(value).map_err(|e| format!("service.info can't be read: {e}"))?;
        let certificate = self
            .certificate(&info.cert)
            .ok_or("the service certificate in service.info can't be read")?;
        let id = certificate.key_id();
        let before = self.service.take();
        let renewed = before.as_ref().is_some_and(|before| before.id == id);
        if let Some(before) = &before {
            let wrong = match renewed {
                true => !can_follow(before.status, info.status),
                false => !matches!(info.status, ServiceStatus::Recovering | ServiceStatus::Unknown),
            };
            if wrong && renewed {
                findings.push(Finding::new(
                    Code::StatusTransition,
                    format!("the service's status goes from {:?} to {:?}", before.status, info.status),
                ));
            } else if wrong {
                findings.push(Finding::new(
                    Code::IdentityChanged,
                    format!(
                        "the service identity changes from {} to {} with status {:?}, expected Recovering",
                        hex::encode(before.id),
                        hex::encode(id),
                        info.status
                    ),
                ));
            }
        }
        if !renewed {
            self.services.push(ServiceRecord {
                from_seqno: write.seqno,
                identity: HexDigest(id),
                recovery_count: info.recovery_count,
            });
            self.identities.push(Arc::clone(&certificate));
        }
        let sends_certificates = renewed && before.as_ref().is_some_and(|before| before.sends_certificates);
        let previous = match (renewed, before) {
            (true, Some(before)) => before.previous,
            (_, before) => before.map(|before| before.certificate),
        };
        self.service = Some(Service {
            certificate,
            id,
            status: info.status,
            previous,
            sends_certificates,
        });
        Ok(())
    }

    fn apply_node_info(&mut self, write: &TrustWrite) -> Result<(), String> {
        let id = String::from_utf8_lossy(&write.key).into_owned();
        let Some(value) = &write.value else {
            self.nodes.remove(&id);
            return Ok(());
        };
        let info: NodeInfo = from_json(value).map_err(|e| format!("nodes.info of {id} can't be read: {e}"))?;
        let certificate = match &info.cert {
            Some(pem) => self.certificate(pem),
            None => None,
        };
        let node = self.nodes.entry(id).or_default();
        node.status = Some(info.status);
        if certificate.is_some() {
            node.certificate = certificate;
            node.is_endorsed = false;
        }
        Ok(())
    }

    fn apply_node_certificate(&mut self, write: &TrustWrite) -> Result<(), String> {
        let id = String::from_utf8_lossy(&write.key).into_owned();
        let Some(value) = &write.value else {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.certificate = None;
            }
            return Ok(());
        };
        let certificate = std::str::from_utf8(value)
            .ok()
            .and_then(|pem| self.certificate(pem))
            .ok_or_else(|| format!("the endorsed certificate of node {id} can't be read"))?;
        let node = self.nodes.entry(id).or_default();
        node.certificate = Some(certificate);
        node.is_endorsed = true;
        Ok(())
    }

    fn check_previous_identity(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let pem: String = from_json(value).map_err(|e| format!("previous_service_identity can't be read: {e}"))?;
        let named = self.certificate(&pem).ok_or("previous_service_identity is no certificate")?;
        // Maps are written in order of their names: service.info of the same transaction has been applied.
        let previous = self.service.as_ref().and_then(|service| service.previous.clone());
        if let Some(previous) = previous.filter(|previous| previous.key_id() != named.key_id()) {
            findings.push(Finding::new(
                Code::PreviousIdentity,
                format!(
                    "the recovered service names {} as its predecessor, the ledger's is {}",
                    hex::encode(named.key_id()),
                    hex::encode(previous.key_id())
                ),
            ));
        }
        Ok(())
    }

    fn check_previous_root(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let named: HexDigest =
            from_json(value).map_err(|e| format!("previous_service_last_signed_root can't be read: {e}"))?;
        if let Some(root) = self.last_root.filter(|root| *root != named.0) {
            findings.push(Finding::new(
                Code::PreviousRoot,
                format!(
                    "the recovered service says {} was signed last before it, the ledger's last signed root is {}",
                    hex::encode(named.0),
                    hex::encode(root)
                ),
            ));
        }
        Ok(())
    }

    fn check_endorsement(&mut self, write: &TrustWrite, findings: &mut Vec<Finding>) -> Result<(), String> {
        let Some(value) = &write.value else {
            return Ok(());
        };
        let endorsement: IdentityEndorsement =
            from_json(value).map_err(|e| format!("previous_service_identity_endorsement can't be read: {e}"))?;
        let begin = endorsement.endorsement_epoch_begin;
        if let Some(end) = endorsement.endorsement_epoch_end.filter(|end| begin.seqno > end.seqno) {
            findings.push(Finding::new(
                Code::EndorsementIllFormed,
                format!("an endorsement from {begin} to {end}, which is before it"),
            ));
            return Ok(());
        }
        if let Err(why) = self.verify_endorsement(&endorsement) {
            findings.push(Finding::new(Code::Endorsement, format!("the endorsement of the previous service identity: {why}")));
        }
        Ok(())
    }

    fn verify_endorsement(&self, endorsement: &IdentityEndorsement) -> Result<(), String> {
        let key = VerifyingKey::from_spki_der(&endorsement.endorsing_key.0)
            .map_err(|e| format!("its endorsing key can't be read: {e}"))?;
        let service = self.service.as_ref().ok_or("there is no service yet")?;
        if key.id() != service.id {
            return Err(format!(
                "it is made by {}, expected the service in force, {}",
                hex::encode(key.id()),
                hex::encode(service.id)
            ));
        }
        let message = Sign1::parse(&endorsement.endorsement.0).map_err(|e| format!("it can't be read: {e}"))?;
        message.verify(&key, None).map_err(|e| format!("its signature does not verify: {e}"))?;
        let endorsed = sha256(message.payload().unwrap_or(&[]));
        let expected = match (endorsement.endorsement_epoch_end, &service.previous) {
            (None, _) => Some(service.id),
            (Some(_), Some(previous)) => Some(previous.key_id()),
            (Some(_), None) => None,
        };
        match expected.filter(|expected| *expected != endorsed) {
            Some(expected) => Err(format!(
                "it endorses {}, expected {}",
                hex::encode(endorsed),
                hex::encode(expected)
            )),
            None => Ok(()),
        }
    }

    /// Makes the check of a signature transaction over `root`, and says what can be seen to be wrong without it.
    pub fn check(&mut self, tx: &SignatureTx, root: Digest) -> (Check, Outcome) {
        let mut wrong = Outcome::new();
        let mut check = Check {
            txid: TxId {
                view: tx.view,
                seqno: tx.seqno,
            },
            chunk_index: tx.chunk_index,
            offset: tx.offset,
            root,
            node: None,
            signer: None,
            cose: None,
        };
        if let Some(table) = &tx.foreign_table {
            wrong.push((Code::SignatureMalformed, format!("a signature transaction writes {table}, which it may not")));
        }
        if let Some(fault) = &tx.tree_fault {
            wrong.push((Code::SignatureMalformed, format!("a signature transaction: {fault}")));
        }
        match &tx.node {
            Some(Ok(signature)) => {
                check.signer = Some(signature.node);
                let key = self.node_key(tx, signature, &mut wrong);
                check.node = key.map(|key| (key, signature.sig.0.clone()));
            }
            Some(Err(why)) => wrong.push((Code::SignatureMalformed, format!("its node signature can't be read: {why}"))),
            None if tx.cose.is_none() => wrong.push((Code::SignatureMalformed, "it holds no signature".to_owned())),
            None => {}
        }
        match (&tx.cose, self.service_certificate()) {
            (Some(Ok(message)), Some(certificate)) => {
                check.cose = Some((Arc::clone(certificate), message.clone()));
            }
            (Some(Ok(_)), None) => wrong.push((Code::CoseSignature, "no service certificate is known to verify its COSE signature".to_owned())),
            (Some(Err(why)), _) => wrong.push((Code::SignatureMalformed, format!("its COSE signature can't be read: {why}"))),
            (None, _) => {}
        }
        (check, wrong)
    }

    /// The certificate of the node that must have made a signature, if that node had the right to.
    fn node_key(
        &mut self,
        tx: &SignatureTx,
        signature: &crate::tables::values::Signature,
        wrong: &mut Outcome,
    ) -> Option<Arc<Certificate>> {
        if (signature.seqno, signature.view) != (tx.seqno, tx.view) {
            let text = format!(
                "the signature says it is transaction {}.{}, expected {}.{}",
                signature.view, signature.seqno, tx.view, tx.seqno
            );
            wrong.push((Code::SignatureFields, text));
        }
        let id = hex::encode(signature.node.0);
        let node = self.nodes.get(&id).cloned();
        let Some(node) = node else {
            wrong.push((Code::UnknownNode, format!("signed by node {id}, which this ledger does not know")));
            return None;
        };
        if !matches!(node.status, Some(NodeStatus::Trusted | NodeStatus::Retired)) {
            let status = node.status.map_or("unknown".to_owned(), |s| format!("{s:?}"));
            wrong.push((Code::UntrustedNode, format!("signed by node {id}, whose status is {status}, expected Trusted")));
        }
        let embedded = match &signature.cert {
            Some(pem) => {
                let certificate = self.certificate(pem);
                self.check_embedded(pem, certificate.as_deref(), &id, wrong);
                certificate
            }
            None => {
                self.check_without_certificate(&node, &id, wrong);
                None
            }
        };
        let known = node.certificate.or_else(|| embedded.clone());
        if let (Some(known), Some(embedded)) = (&known, &embedded)
            && known.key_id() != embedded.key_id()
        {
            wrong.push((Code::OtherNodeKey, format!("the certificate in the signature is not that of node {id}")));
        }
        if known.is_none() {
            wrong.push((Code::UnknownNode, format!("no certificate is known for node {id}")));
        }
        known
    }

    /// A signature that comes without its node's certificate: of 1.x, or made to look like it.
    fn check_without_certificate(&mut self, node: &Node, id: &str, wrong: &mut Outcome) {
        if self.service.as_ref().is_some_and(|service| service.sends_certificates) {
            wrong.push((Code::NotEndorsed, format!("the signature of node {id} comes without a certificate, earlier ones of this service had one")));
        }
        let Some(certificate) = node.certificate.as_ref().filter(|_| node.is_endorsed) else {
            return;
        };
        if !self.is_endorsed(&certificate.to_pem(), certificate) {
            wrong.push((Code::NotEndorsed, format!("the certificate of node {id} is not signed by the service")));
        }
    }

    fn check_embedded(&mut self, pem: &str, certificate: Option<&Certificate>, id: &str, wrong: &mut Outcome) {
        let Some(certificate) = certificate else {
            wrong.push((Code::SignatureMalformed, "the certificate in the signature can't be read".to_owned()));
            return;
        };
        if hex::encode(certificate.key_id()) != *id {
            wrong.push((Code::OtherNodeKey, format!("the key of the certificate in the signature is not that of node {id}")));
        }
        if !self.is_endorsed(pem, certificate) {
            let service = self.service.as_ref().map_or("unknown".to_owned(), |s| hex::encode(s.id));
            wrong.push((Code::NotEndorsed, format!("the certificate of node {id} is not signed by service identity {service}")));
        } else if let Some(service) = &mut self.service {
            service.sends_certificates = true;
        }
    }
}

/// Whether a service of one identity may go from one status to the other.
fn can_follow(before: ServiceStatus, after: ServiceStatus) -> bool {
    use ServiceStatus::{Open, Opening, Recovering, Unknown, WaitingForRecoveryShares};
    before == after
        || matches!(
            (before, after),
            (Unknown, _)
                | (_, Unknown)
                | (Opening, Open)
                | (Recovering, WaitingForRecoveryShares | Open)
                | (WaitingForRecoveryShares, Open)
        )
}

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
            .map(|(id, node)| (id.clone(), node.status, node.certificate.as_ref().map(|c| c.to_pem()), node.is_endorsed))
            .collect();
        nodes.sort_by(|a, b| a.0.cmp(&b.0));
        SavedTrust {
            nodes,
            service: self.service.as_ref().map(|service| {
                let previous = service.previous.as_ref().map(|p| p.to_pem());
                (service.certificate.to_pem(), service.status, previous, service.sends_certificates)
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
            trust.nodes.insert(id, Node { status, certificate, is_endorsed });
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
