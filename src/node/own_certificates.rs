//! The certificates that a node presents, and what becomes of them as time passes.
//!
//! The endorsed one comes from the ledger. The self-signed one follows it: whenever members give the endorsed one new
//! dates, the self-signed one gets the same. Should nobody do that in time, the node renews the self-signed one itself,
//! because whoever looks at a recovering node has nothing else; the other two only members can renew, so the log asks them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::sign::CertifiedKey;

use crate::crypto::Certificate;
use crate::crypto::x509::Validity;
use crate::error::Result;
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::http::CertificateSlot;
use crate::net::tls::certified;
use crate::service::identity::NodeIdentity;

/// Of a certificate's time, the last part in which it is renewed or asked about.
const LAST_PART: u64 = 4;
/// Between two lines of the log about one certificate.
const REMIND_AFTER_S: u64 = 6 * 3600;

/// What the node presents, on the interfaces of both authorities.
pub struct OwnCertificates {
    identity: NodeIdentity,
    self_signed: RwLock<Certificate>,
    node_slot: Arc<CertificateSlot>,
    service_slot: Arc<CertificateSlot>,
    file: Option<PathBuf>,
    /// When each certificate was last asked about, by what it is.
    reminded: Mutex<Vec<(&'static str, u64)>>,
}

impl OwnCertificates {
    /// The self-signed certificate in both slots; `file` is where it stands, to be replaced when it is renewed.
    ///
    /// # Errors
    /// If it can't be presented.
    pub fn new(identity: &NodeIdentity, file: Option<PathBuf>) -> Result<OwnCertificates> {
        Ok(OwnCertificates {
            self_signed: RwLock::new(identity.self_signed.clone()),
            node_slot: CertificateSlot::new(&identity.self_signed, &identity.key)?,
            service_slot: CertificateSlot::new(&identity.self_signed, &identity.key)?,
            identity: identity.clone(),
            file,
            reminded: Mutex::default(),
        })
    }

    /// For interfaces with authority `Node`.
    pub fn node_slot(&self) -> Arc<CertificateSlot> {
        Arc::clone(&self.node_slot)
    }

    /// For interfaces with authority `Service`.
    pub fn service_slot(&self) -> Arc<CertificateSlot> {
        Arc::clone(&self.service_slot)
    }

    /// The self-signed certificate of this moment.
    pub fn self_signed(&self) -> Certificate {
        self.self_signed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The self-signed certificate with its key, to be shown to servers.
    ///
    /// # Errors
    /// If it can't be presented.
    pub fn for_servers(&self) -> Result<Arc<CertifiedKey>> {
        certified(&self.self_signed(), &self.identity.key)
    }

    /// The service has endorsed the node: new sessions see that, and a self-signed certificate with the same dates.
    pub fn endorsed(&self, certificate: &Certificate) {
        if let Err(why) = self.service_slot.replace(certificate, &self.identity.key) {
            tracing::error!("the endorsed certificate can't be served: {why}");
        }
        let dates = (certificate.validity(), self.self_signed().validity());
        if let (Ok(endorsed), Ok(own)) = dates
            && endorsed != own
        {
            self.renew(endorsed);
        }
    }

    /// Renews what the node can renew itself, and says in the log what members have to.
    pub fn look_after(&self, endorsed: Option<&Certificate>, service: Option<&Certificate>, now_s: u64) {
        if let Ok(own) = self.self_signed().validity()
            && is_ending(own, now_s)
        {
            let length = own.not_after_unix_s.saturating_sub(own.not_before_unix_s);
            self.renew(Validity {
                not_before_unix_s: now_s,
                not_after_unix_s: now_s.saturating_add(length),
            });
        }
        let asked = [
            ("node", endorsed, "set_node_certificate_validity"),
            ("service", service, "set_service_certificate_validity"),
        ];
        for (what, certificate, action) in asked {
            let Some(Ok(validity)) = certificate.map(Certificate::validity) else {
                continue;
            };
            if is_ending(validity, now_s) && self.may_remind(what, now_s) {
                let left_s = validity.not_after_unix_s.saturating_sub(now_s);
                tracing::warn!(
                    hours_left = left_s / 3600,
                    "the certificate that the service has issued for the {what} {}: members renew it with a proposal {action}",
                    if left_s == 0 { "has expired" } else { "expires soon" }
                );
            }
        }
    }

    fn may_remind(&self, what: &'static str, now_s: u64) -> bool {
        let mut reminded = self.reminded.lock().unwrap_or_else(PoisonError::into_inner);
        let last = reminded.iter().find(|(of, _)| *of == what).map(|(_, at)| *at);
        if last.is_some_and(|at| now_s < at.saturating_add(REMIND_AFTER_S)) {
            return false;
        }
        reminded.retain(|(of, _)| *of != what);
        reminded.push((what, now_s));
        true
    }

    fn renew(&self, validity: Validity) {
        let renewed = self.identity.renewed(validity).and_then(|certificate| {
            self.node_slot.replace(&certificate, &self.identity.key)?;
            if let Some(path) = &self.file {
                write_whole(path, certificate.to_pem().as_bytes(), PUBLIC)?;
            }
            *self.self_signed.write().unwrap_or_else(PoisonError::into_inner) = certificate;
            Ok(())
        });
        match renewed {
            Ok(()) => tracing::info!("the node's self-signed certificate is renewed"),
            Err(why) => tracing::error!("the node's self-signed certificate could not be renewed: {why}"),
        }
    }
}

/// Whether a certificate is in its last part, or over.
fn is_ending(validity: Validity, now_s: u64) -> bool {
    let length = validity.not_after_unix_s.saturating_sub(validity.not_before_unix_s);
    now_s >= validity.not_after_unix_s.saturating_sub(length / LAST_PART)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::crypto::x509::{CertificateRequest, issue, issue_from_request};
    use crate::node::config::Config;

    const DAY_S: u64 = 86_400;

    fn identity() -> NodeIdentity {
        let text = r#"{"network": {"rpc_interfaces": {"a": {"bind_address": "127.0.0.1:0"}}},
            "command": {"type": "Recover"}, "node_certificate": {"initial_validity_days": 4}}"#;
        NodeIdentity::generate(crate::node::description::node_name(&Config::parse(text).unwrap().config).unwrap())
            .unwrap()
    }

    fn validity(certificate: &Certificate) -> (u64, u64) {
        let validity = certificate.validity().unwrap();
        (validity.not_before_unix_s, validity.not_after_unix_s)
    }

    #[test]
    fn the_self_signed_certificate_gets_the_dates_of_every_endorsement() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("node.pem");
        let identity = identity();
        let own = OwnCertificates::new(&identity, Some(file.clone())).unwrap();
        let mut rng = crate::service::identity::system_rng().unwrap();
        let service_key = SigningKey::generate(crate::crypto::Curve::P384, &mut rng);
        let service = issue(
            "CN=s",
            &service_key.verifying_key(),
            None,
            &service_key,
            true,
            0,
            9,
            [1; 16],
        )
        .unwrap();
        let request = CertificateRequest::from_pem(&identity.request).unwrap();
        let endorse = |dates| issue_from_request(&request, &service, &service_key, dates, [2; 16]).unwrap();

        // The first endorsement has the same dates: nothing changes.
        own.endorsed(&endorse(identity.self_signed.validity().unwrap()));
        assert_eq!(own.self_signed().der(), identity.self_signed.der());
        let dates = Validity::days(1_700_000_000, 37).unwrap();
        own.endorsed(&endorse(dates));
        let renewed = own.self_signed();
        assert_eq!(validity(&renewed), (dates.not_before_unix_s, dates.not_after_unix_s));
        assert_eq!(renewed.key(), identity.self_signed.key());
        assert_eq!(renewed.alternative_names(), identity.self_signed.alternative_names());
        assert!(renewed.is_signed_by(renewed.key()).is_ok());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), renewed.to_pem());
    }

    #[test]
    fn the_self_signed_certificate_is_renewed_before_it_expires() {
        let own = OwnCertificates::new(&identity(), None).unwrap();
        let (from, to) = validity(&own.self_signed());
        own.look_after(None, None, from + 2 * DAY_S);
        assert_eq!(validity(&own.self_signed()), (from, to));
        let late = from + 3 * DAY_S + 60;
        own.look_after(None, None, late);
        assert_eq!(validity(&own.self_signed()), (late, late + to - from));
        let long_after = late + 100 * DAY_S;
        own.look_after(None, None, long_after);
        assert_eq!(validity(&own.self_signed()).0, long_after);
    }

    #[test]
    fn members_are_reminded_of_what_only_they_can_renew_but_not_all_the_time() {
        let own = OwnCertificates::new(&identity(), None).unwrap();
        let certificate = own.self_signed();
        let (from, _) = validity(&certificate);
        own.look_after(Some(&certificate), Some(&certificate), from + DAY_S);
        assert!(own.reminded.lock().unwrap().is_empty());
        let late = from + 3 * DAY_S + 60;
        own.look_after(Some(&certificate), None, late);
        own.look_after(Some(&certificate), None, late + 60);
        assert_eq!(*own.reminded.lock().unwrap(), [("node", late)]);
        own.look_after(Some(&certificate), Some(&certificate), late + REMIND_AFTER_S);
        assert_eq!(own.reminded.lock().unwrap().len(), 2);
    }
}
