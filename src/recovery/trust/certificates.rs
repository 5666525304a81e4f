//! Certificates read so far, and which of them a service signed: each is parsed and verified once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::digest::{Digest, sha256};
use crate::crypto::x509::Certificate;

/// Remembered at most; a real service has one certificate for each node and renewal.
const REMEMBERED: usize = 4096;

/// What is known of certificates, by their PEM.
#[derive(Clone, Default)]
pub(super) struct Certificates {
    parsed: HashMap<Digest, Option<Arc<Certificate>>>,
    /// Whether a certificate (by its PEM's digest) is signed by a service (by its key's id).
    endorsed: HashMap<(Digest, Digest), bool>,
}

impl Certificates {
    /// Parses a certificate; `None` if it can't be read.
    pub(super) fn parse(&mut self, pem: &str) -> Option<Arc<Certificate>> {
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

    /// Whether `service`, whose key's id is `id`, signed the certificate with this PEM.
    pub(super) fn is_endorsed(
        &mut self,
        pem: &str,
        certificate: &Certificate,
        id: Digest,
        service: &Certificate,
    ) -> bool {
        let pair = (sha256(pem.as_bytes()), id);
        if let Some(&known) = self.endorsed.get(&pair) {
            return known;
        }
        if self.endorsed.len() >= REMEMBERED {
            self.endorsed.clear();
        }
        let endorsed = certificate.is_signed_by(service.key()).is_ok();
        self.endorsed.insert(pair, endorsed);
        endorsed
    }
}
