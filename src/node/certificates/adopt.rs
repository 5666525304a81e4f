//! The certificates that the ledger has for this node and its service, once they are committed.

use std::sync::{Arc, PoisonError};

use crate::crypto::Certificate;
use crate::node::config::CommandKind;
use crate::node::driver::Driver;
use crate::service::identity::ServiceIdentity;
use crate::service::service_info;
use crate::tables::names;

impl Driver {
    /// Serves and signs with the certificates that the ledger has for this node and its service.
    pub(in crate::node) fn adopt_certificates(&mut self) {
        let node = Arc::clone(&self.node);
        let ((own, info), _) = node.read(|store| {
            let own = store.get(names::NODES_ENDORSED_CERTIFICATES, node.id.as_bytes());
            let own = own.and_then(|(_, pem)| std::str::from_utf8(pem).ok().map(str::to_owned));
            (own, service_info(&store.transaction()).ok())
        });
        let service = Arc::clone(&self.standing.read().unwrap_or_else(PoisonError::into_inner).service);
        if let Some(info) = info
            && info.cert != service.certificate.to_pem()
            && let Ok(certificate) = Certificate::from_pem(&info.cert)
            && certificate.key_id() == service.certificate.key_id()
        {
            // To a node that joins, it is what its operator trusts: that file stays as it was given.
            if node.config.command.kind != CommandKind::Join {
                let path = node.config.command.service_certificate_file.clone();
                self.unwritten.push((path, certificate.to_pem()));
            }
            let mut standing = self.standing.write().unwrap_or_else(PoisonError::into_inner);
            standing.service = Arc::new(ServiceIdentity {
                key: Arc::clone(&service.key),
                certificate,
            });
        }
        let mut signers = self.core.signers().clone();
        if let Some(own) = own
            && (own != signers.node_certificate.to_pem() || !node.status.gov_is_open())
            && let Ok(certificate) = Certificate::from_pem(&own)
        {
            node.certificates.endorsed(&certificate);
            signers.node_certificate = certificate;
            self.core.set_signers(signers);
        }
        // Whoever trusts the files must not be left with certificates that expire.
        self.unwritten
            .retain(|(path, pem)| match node.files.write(path, pem.as_bytes()) {
                Ok(()) => false,
                Err(why) => {
                    tracing::error!(
                        "a renewed certificate is not on disk, it is tried again with the next commit: {why}"
                    );
                    true
                }
            });
    }
}
