//! The services before this one, found in the ledger, and this service's word for their keys.
//!
//! The receipt of an earlier service's transaction is signed by a node of that service. Whoever knows only the present
//! service can verify it with `service_endorsements`: a certificate of the earlier service's key, issued by the present
//! one. As in CCF there is one, however many recoveries lie between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::crypto::digest::{Digest, sha256, sha256_pair};
use crate::crypto::x509::endorse_service;
use crate::crypto::{Certificate, SigningKey, random};
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::writes::value_at;
use crate::service::identity::{failed, system_rng};
use crate::tables::names;
use crate::tables::values::{ServiceInfo, from_json};

/// Services followed at most: a ledger that claims more is not followed further.
const MAX_SERVICES: usize = 1000;

/// What is known of earlier services.
#[derive(Default)]
pub struct Predecessors {
    /// The key of the present service, once it is founded.
    key: OnceLock<Arc<SigningKey>>,
    /// Newest first; the ledger before the present service no longer changes.
    found: OnceLock<Vec<Certificate>>,
    /// Endorsements, as PEM, by the key endorsed and the certificate that endorses: that one may be renewed.
    endorsed: Mutex<HashMap<Digest, String>>,
}

impl Predecessors {
    /// Learns the key of the present service.
    pub fn founded(&self, key: &Arc<SigningKey>) {
        let _ = self.key.set(Arc::clone(key));
    }

    /// What a receipt that the node with this certificate signed needs beside it; `None` if the present service itself
    /// endorsed the node, or nobody knows who did. `present` is the newest `service.info`, `named` the certificate of the
    /// service before it.
    ///
    /// # Errors
    /// If the certificate can't be issued.
    pub fn endorsements(
        &self,
        files: &LedgerFiles,
        node: &Certificate,
        present: &ServiceInfo,
        named: Option<&Certificate>,
    ) -> Result<Option<Vec<String>>> {
        let Some(key) = self.key.get() else {
            return Ok(None);
        };
        if node.is_signed_by(&key.verifying_key()).is_ok() {
            return Ok(None);
        }
        let earlier = self.found.get_or_init(|| services_before(files, present));
        let endorsed_node = |service: &&Certificate| node.is_signed_by(service.key()).is_ok();
        let Some(service) = named.into_iter().chain(earlier).find(endorsed_node) else {
            tracing::debug!(
                subject = node.subject(),
                "no earlier service endorsed the node of a receipt"
            );
            return Ok(None);
        };
        let present = Certificate::from_pem(&present.cert).map_err(failed("read the service's certificate"))?;
        let pem = self.endorse(service, &present, key)?;
        Ok(Some(vec![pem]))
    }

    fn endorse(&self, service: &Certificate, present: &Certificate, key: &SigningKey) -> Result<String> {
        let id = sha256_pair(&service.key_id(), &sha256(present.der()));
        let mut endorsed = self.endorsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pem) = endorsed.get(&id) {
            return Ok(pem.clone());
        }
        let validity = present.validity().map_err(failed("read the service's certificate"))?;
        let serial = random::serial(&mut system_rng()?);
        let certificate = endorse_service(service, present, key, validity, serial);
        let pem = certificate.map_err(failed("endorse an earlier service"))?.to_pem();
        endorsed.insert(id, pem.clone());
        Ok(pem)
    }
}

/// The certificates of the services before the one whose newest record is `present`, newest first, as far as the ledger
/// leads back.
fn services_before(files: &LedgerFiles, present: &ServiceInfo) -> Vec<Certificate> {
    let mut found: Vec<Certificate> = Vec::new();
    let mut info = present.clone();
    let mut before = Seqno::MAX;
    while found.len() < MAX_SERVICES {
        // Whichever meaning the link of a later write has, that of the creation leads into the service before.
        let created = info.current_service_create_txid.map(|txid| txid.seqno);
        if let Some(at) = created.filter(|at| *at < before)
            && let Some(creation) = service_info_at(files, at)
        {
            (info, before) = (creation, at);
        }
        let previous = info.previous_service_identity_version.filter(|at| *at < before);
        let Some((at, earlier)) = previous.and_then(|at| Some((at, service_info_at(files, at)?))) else {
            break;
        };
        (info, before) = (earlier, at);
        if let Ok(certificate) = Certificate::from_pem(&info.cert) {
            found.push(certificate);
        }
    }
    found
}

/// `service.info` as the transaction at `seqno` wrote it; `None` if it did not, or can't be read.
fn service_info_at(files: &LedgerFiles, seqno: Seqno) -> Option<ServiceInfo> {
    from_json(&value_at(files, names::SERVICE_INFO, seqno)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Options, generate};
    use crate::format::directory::LedgerFiles;
    use crate::report::progress::Silent;

    /// The services of a ledger with two recoveries, oldest first, as the ledger's last record leads back to them.
    fn services(links_to_creation: bool) -> (Vec<Digest>, Vec<Digest>) {
        let scratch = tempfile::tempdir().unwrap();
        let options = Options {
            entries: 30,
            signature_every: 5,
            recoveries: 2,
            links_to_creation,
            ..Options::default()
        };
        let expected = generate(&options, scratch.path(), &Silent).unwrap();
        let files = LedgerFiles::list(&[scratch.path().join("ledger")], false).unwrap();
        let last = (1..=expected.last_seqno).rev();
        let present = last
            .into_iter()
            .find_map(|seqno| service_info_at(&files, seqno))
            .unwrap();
        let mut found: Vec<Digest> = services_before(&files, &present)
            .iter()
            .map(Certificate::key_id)
            .collect();
        found.reverse();
        let expected = expected.services.iter().map(|service| service.identity.0).collect();
        (found, expected)
    }

    #[test]
    fn every_earlier_service_is_found_whatever_the_links_mean() {
        for links_to_creation in [false, true] {
            let (found, expected) = services(links_to_creation);
            assert_eq!(found, expected[..2], "{links_to_creation}");
        }
    }
}
