//! Who must have signed: the check of one signature transaction, and what is wrong with it before any key is used.

use std::sync::Arc;

use super::nodes::{NodeRecord, Status};
use super::{LastSigned, Trust};
use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::format::domain::EntryType;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::scan::SignatureTx;
use crate::report::Code;
use crate::tables::values::{HexDigest, Signature};

/// Key and standing of the node that signed.
struct Signer {
    certificate: Arc<Certificate>,
    /// Whether the service in force endorsed that certificate.
    is_endorsed: bool,
}

impl Trust {
    /// Makes the check of a signature transaction over `root`, and says what can be seen to be wrong without it.
    /// Changes nothing but what is remembered of certificates: [`Trust::accept`] does.
    pub fn check(&mut self, tx: &SignatureTx, root: Digest) -> (Check, Outcome) {
        let mut wrong = Outcome::new();
        let mut check = Check {
            txid: tx.txid(),
            chunk_index: tx.chunk_index,
            offset: tx.offset,
            root,
            node: None,
            signer: None,
            cose: None,
            service: None,
            fingerprint: Fingerprint::default(),
        };
        if let Some(table) = &tx.foreign_table {
            wrong.push((
                Code::SignatureMalformed,
                format!("a signature transaction writes {table}, which it may not"),
            ));
        }
        if let Some(fault) = &tx.tree_fault {
            wrong.push((Code::SignatureMalformed, format!("a signature transaction: {fault}")));
        }
        self.check_shape(tx, &mut wrong);
        let service = self
            .service
            .as_ref()
            .map(|service| (service.id, Arc::clone(&service.certificate)));
        match &tx.node {
            Some(Ok(signature)) => {
                check.signer = Some(signature.node);
                if let Some(signer) = self.signer(tx, signature, &mut wrong) {
                    let id = service.as_ref().map(|(id, _)| HexDigest(*id));
                    check.service = id.filter(|_| signer.is_endorsed);
                    check.node = Some((signer.certificate, signature.sig.0.clone()));
                }
            }
            Some(Err(why)) => wrong.push((
                Code::SignatureMalformed,
                format!("its node signature can't be read: {why}"),
            )),
            None if tx.cose.is_none() => wrong.push((Code::SignatureMalformed, "it holds no signature".to_owned())),
            None => {}
        }
        match (&tx.cose, service) {
            (Some(Ok(message)), Some((id, certificate))) => {
                check.service = Some(HexDigest(id));
                check.cose = Some((certificate, message.clone()));
            }
            (Some(Ok(_)), None) => wrong.push((
                Code::CoseSignature,
                "no service certificate is known to verify its COSE signature".to_owned(),
            )),
            (Some(Err(why)), _) => wrong.push((
                Code::SignatureMalformed,
                format!("its COSE signature can't be read: {why}"),
            )),
            (None, _) => {}
        }
        (check, wrong)
    }

    /// Takes a signature transaction whose root is that of the entries (`root`, where it is known): what comes after is
    /// held against it.
    pub fn accept(&mut self, tx: &SignatureTx, root: Option<Digest>) {
        let node = tx.node.as_ref().and_then(|node| node.as_ref().ok());
        if let Some(service) = &mut self.service {
            let seen = &mut service.seen;
            seen.endorsed |= node.is_some_and(|signature| signature.cert.is_some());
            seen.said_cose_gone |= seen.cose && tx.cose.is_none();
            seen.cose |= tx.cose.is_some();
            seen.cose_alone |= tx.cose.is_some() && tx.node.is_none();
        }
        if let Some(signature) = node
            && let Some(node) = self.nodes.known.get_mut(&hex::encode(signature.node.0))
        {
            node.said_retired |= node.status == Some(Status::Retired);
        }
        self.last_signed = Some(LastSigned {
            txid: tx.txid(),
            root: root.map(HexDigest),
            signer: node.map(|signature| signature.node),
        });
    }

    /// Which of the two signatures this service writes.
    fn check_shape(&self, tx: &SignatureTx, wrong: &mut Outcome) {
        let Some(service) = &self.service else {
            return;
        };
        if tx.cose.is_none() && service.seen.cose_alone {
            wrong.push((
                Code::SignatureOutOfPlace,
                "a node alone signed it, after the service alone signed earlier ones".to_owned(),
            ));
        } else if tx.cose.is_none() && service.seen.cose && !service.seen.said_cose_gone {
            wrong.push((
                Code::CoseGone,
                "it has no COSE signature, earlier ones of this service had".to_owned(),
            ));
        }
        if tx.cose.is_some() && tx.entry_type == EntryType::WriteSet {
            wrong.push((
                Code::SignatureOutOfPlace,
                "a COSE signature in an entry of type 0, as only CCF 1.x wrote it".to_owned(),
            ));
        }
    }

    /// The node that must have made a signature, if its key is known; `wrong` gets why it had no right to.
    fn signer(&mut self, tx: &SignatureTx, signature: &Signature, wrong: &mut Outcome) -> Option<Signer> {
        if (signature.seqno, signature.view) != (tx.seqno, tx.view) {
            let text = format!(
                "the signature says it is transaction {}.{}, expected {}.{}",
                signature.view, signature.seqno, tx.view, tx.seqno
            );
            wrong.push((Code::SignatureFields, text));
        }
        let id = hex::encode(signature.node.0);
        let Some(node) = self.nodes.known.get(&id).cloned() else {
            wrong.push((
                Code::UnknownNode,
                format!("signed by node {id}, which this ledger does not know"),
            ));
            return None;
        };
        self.check_status(tx, signature, &node, &id, wrong);
        let (embedded, is_endorsed) = match &signature.cert {
            Some(pem) => {
                let certificate = self.certificates.parse(pem);
                let is_endorsed = self.check_embedded(pem, certificate.as_deref(), &id, wrong);
                (certificate, is_endorsed)
            }
            None => {
                self.check_without_certificate(tx, &id, wrong);
                (None, false)
            }
        };
        let known = node.certificate.or_else(|| embedded.clone());
        if let (Some(known), Some(embedded)) = (&known, &embedded)
            && known.key_id() != embedded.key_id()
        {
            wrong.push((
                Code::OtherNodeKey,
                format!("the certificate in the signature is not that of node {id}"),
            ));
        }
        if known.is_none() {
            wrong.push((Code::UnknownNode, format!("no certificate is known for node {id}")));
        }
        known.map(|certificate| Signer {
            certificate,
            is_endorsed,
        })
    }

    /// Whether the node may sign, by its status.
    fn check_status(&self, tx: &SignatureTx, signature: &Signature, node: &NodeRecord, id: &str, wrong: &mut Outcome) {
        match node.status {
            Some(Status::Trusted | Status::Retiring) => {}
            Some(Status::Retired) => match node.retired_committed {
                Some(committed) if !self.is_last_of_leader(tx, signature, committed) => wrong.push((
                    Code::SignedAfterRetirement,
                    format!("signed by node {id}, whose retirement was committed in {committed}"),
                )),
                _ if !node.said_retired => wrong.push((
                    Code::RetiredSigns,
                    format!("signed by node {id}, which is retired and not replaced yet"),
                )),
                _ => {}
            },
            other => {
                let status = other.map_or("unknown".to_owned(), |status| format!("{status:?}"));
                wrong.push((
                    Code::UntrustedNode,
                    format!("signed by node {id}, whose status is {status}, expected Trusted"),
                ));
            }
        }
    }

    /// A leader that retires itself writes that its retirement is committed, and signs that once, before it hands over.
    /// Node-to-node specification, section 9.
    fn is_last_of_leader(&self, tx: &SignatureTx, signature: &Signature, committed: TxId) -> bool {
        self.last_signed.is_some_and(|last| {
            last.signer == Some(signature.node)
                && last.txid.seqno < committed.seqno
                && last.txid.view == tx.view
                && committed.view == tx.view
        })
    }

    /// A signature that comes without its node's certificate: of 1.x, where nothing ties a node to the service. Anything
    /// that 1.x did not write shows that it is not.
    fn check_without_certificate(&self, tx: &SignatureTx, id: &str, wrong: &mut Outcome) {
        let of_this_age = self.is_of_first_generation(tx.entry_type);
        let why = match &self.service {
            None => "no service is known yet",
            Some(_) if !of_this_age => "an entry of this type always has one",
            Some(service) if service.seen.endorsed => "this service has endorsed nodes' certificates before",
            Some(service) if service.seen.cose => "this service has signed by itself before",
            Some(service) if service.created.is_some() || service.recovery_count.is_some() => {
                "service.info was not written by CCF 1.x"
            }
            Some(_) => return,
        };
        wrong.push((
            Code::NotEndorsed,
            format!("the signature of node {id} comes without a certificate, as only CCF 1.x wrote it: {why}"),
        ));
    }

    /// Whether the service endorsed the certificate that a signature brings.
    fn check_embedded(&mut self, pem: &str, certificate: Option<&Certificate>, id: &str, wrong: &mut Outcome) -> bool {
        let Some(certificate) = certificate else {
            wrong.push((
                Code::SignatureMalformed,
                "the certificate in the signature can't be read".to_owned(),
            ));
            return false;
        };
        if hex::encode(certificate.key_id()) != *id {
            wrong.push((
                Code::OtherNodeKey,
                format!("the key of the certificate in the signature is not that of node {id}"),
            ));
        }
        let endorsed = self.service.as_ref().is_some_and(|service| {
            self.certificates
                .is_endorsed(pem, certificate, service.id, &service.certificate)
        });
        if !endorsed {
            let service = self
                .service
                .as_ref()
                .map_or("unknown".to_owned(), |service| hex::encode(service.id));
            wrong.push((
                Code::NotEndorsed,
                format!("the certificate of node {id} is not signed by service identity {service}"),
            ));
        }
        endorsed
    }
}
