//! Who must have signed: the check of one signature transaction, and what is wrong with it before any key is used.

use std::sync::Arc;

use super::{Node, Trust};
use crate::crypto::digest::Digest;
use crate::crypto::x509::Certificate;
use crate::format::TxId;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::fingerprint::Fingerprint;
use crate::recovery::report::Code;
use crate::recovery::scan::SignatureTx;
use crate::tables::values::NodeStatus;

impl Trust {
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
        match &tx.node {
            Some(Ok(signature)) => {
                check.signer = Some(signature.node);
                let key = self.node_key(tx, signature, &mut wrong);
                check.node = key.map(|key| (key, signature.sig.0.clone()));
            }
            Some(Err(why)) => wrong.push((
                Code::SignatureMalformed,
                format!("its node signature can't be read: {why}"),
            )),
            None if tx.cose.is_none() => wrong.push((Code::SignatureMalformed, "it holds no signature".to_owned())),
            None => {}
        }
        match (&tx.cose, self.service_certificate()) {
            (Some(Ok(message)), Some(certificate)) => {
                check.cose = Some((Arc::clone(certificate), message.clone()));
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
            wrong.push((
                Code::UnknownNode,
                format!("signed by node {id}, which this ledger does not know"),
            ));
            return None;
        };
        if !matches!(node.status, Some(NodeStatus::Trusted | NodeStatus::Retired)) {
            let status = node.status.map_or("unknown".to_owned(), |s| format!("{s:?}"));
            wrong.push((
                Code::UntrustedNode,
                format!("signed by node {id}, whose status is {status}, expected Trusted"),
            ));
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
            wrong.push((
                Code::OtherNodeKey,
                format!("the certificate in the signature is not that of node {id}"),
            ));
        }
        if known.is_none() {
            wrong.push((Code::UnknownNode, format!("no certificate is known for node {id}")));
        }
        known
    }

    /// A signature that comes without its node's certificate: of 1.x, or made to look like it.
    fn check_without_certificate(&mut self, node: &Node, id: &str, wrong: &mut Outcome) {
        if self.service.as_ref().is_some_and(|service| service.sends_certificates) {
            wrong.push((
                Code::NotEndorsed,
                format!("the signature of node {id} comes without a certificate, earlier ones of this service had one"),
            ));
        }
        let Some(certificate) = node.certificate.as_ref().filter(|_| node.is_endorsed) else {
            return;
        };
        if !self.is_endorsed(&certificate.to_pem(), certificate) {
            wrong.push((
                Code::NotEndorsed,
                format!("the certificate of node {id} is not signed by the service"),
            ));
        }
    }

    fn check_embedded(&mut self, pem: &str, certificate: Option<&Certificate>, id: &str, wrong: &mut Outcome) {
        let Some(certificate) = certificate else {
            wrong.push((
                Code::SignatureMalformed,
                "the certificate in the signature can't be read".to_owned(),
            ));
            return;
        };
        if hex::encode(certificate.key_id()) != *id {
            wrong.push((
                Code::OtherNodeKey,
                format!("the key of the certificate in the signature is not that of node {id}"),
            ));
        }
        if !self.is_endorsed(pem, certificate) {
            let service = self
                .service
                .as_ref()
                .map_or("unknown".to_owned(), |s| hex::encode(s.id));
            wrong.push((
                Code::NotEndorsed,
                format!("the certificate of node {id} is not signed by service identity {service}"),
            ));
        } else if let Some(service) = &mut self.service {
            service.sends_certificates = true;
        }
    }
}
