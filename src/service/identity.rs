//! The keys of a node and of the service it founds: made at start, never written to disk, wiped when the process ends.
//!
//! Recovery specification, sections 2.1 and 8.6.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;

use crate::crypto::random::{self, serial};
use crate::crypto::x509::{self, AlternativeName, Validity};
use crate::crypto::{Certificate, Curve, SigningKey};
use crate::error::{Error, Result};

/// A generator seeded by the system.
///
/// # Errors
/// [`Error::Unreadable`] if the system has no random numbers to give.
pub fn system_rng() -> Result<ChaCha20Rng> {
    random::system_rng().map_err(failed("make keys"))
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

/// A failure of the crypto layer that only a wrong setting or a fault in this program can cause.
pub fn failed(what: &'static str) -> impl FnOnce(crate::crypto::Error) -> Error {
    move |why| Error::Unreadable(format!("could not {what}: {why}"))
}

/// What a node is to be called, and what its first certificate is to be like.
pub struct NodeName {
    /// Of its key.
    pub curve: Curve,
    /// An RFC 4514 name.
    pub subject: String,
    /// Under which clients reach it.
    pub names: Vec<AlternativeName>,
    /// How long the certificate is valid that it signs itself.
    pub validity_days: u32,
}

/// Who this node is.
#[derive(Clone)]
pub struct NodeIdentity {
    /// Hex digest of the public key.
    pub id: String,
    /// Signs the ledger, and serves TLS.
    pub key: Arc<SigningKey>,
    /// Valid until the service endorses another one.
    pub self_signed: Certificate,
    /// What the service is asked to endorse, PEM.
    pub request: String,
    subject: String,
    names: Vec<AlternativeName>,
}

impl NodeIdentity {
    /// Makes the key and the certificates of a node of this name.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if there are no random numbers, or a name can't be encoded.
    pub fn generate(name: NodeName) -> Result<NodeIdentity> {
        Self::generate_at(name, now_s(), &mut system_rng()?)
    }

    /// The same, at a time and with random numbers that are given.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if a name can't be encoded.
    pub fn generate_at(name: NodeName, now_s: u64, rng: &mut ChaCha20Rng) -> Result<NodeIdentity> {
        let NodeName {
            curve,
            subject,
            names,
            validity_days,
        } = name;
        let key = SigningKey::generate(curve, rng);
        let validity = Validity::days(now_s, validity_days).map_err(failed("date a certificate"))?;
        let self_signed = x509::issue_self_signed(&subject, &names, &key, validity, serial(rng))
            .map_err(failed("issue the node's certificate"))?;
        let request = x509::request(&subject, &names, &key).map_err(failed("request the node's certificate"))?;
        Ok(NodeIdentity {
            id: hex::encode(key.verifying_key().id()),
            key: Arc::new(key),
            self_signed,
            request,
            subject,
            names,
        })
    }

    /// Another self-signed certificate for the same key, subject and names.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if there are no random numbers, or the dates can't be encoded.
    pub fn renewed(&self, validity: Validity) -> Result<Certificate> {
        let serial = serial(&mut system_rng()?);
        x509::issue_self_signed(&self.subject, &self.names, &self.key, validity, serial)
            .map_err(failed("renew the node's certificate"))
    }
}

/// How a new service is called.
pub enum ServiceName<'a> {
    /// As the one before it, whose certificate this is.
    Of(&'a Certificate),
    /// By an RFC 4514 name.
    Text(&'a str),
}

/// A new service.
#[derive(Clone)]
pub struct ServiceIdentity {
    /// Signs the ledger and endorses nodes.
    pub key: Arc<SigningKey>,
    /// What users and members trust.
    pub certificate: Certificate,
}

impl ServiceIdentity {
    /// Makes a service.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if there are no random numbers, or the name can't be encoded.
    pub fn generate(curve: Curve, name: &ServiceName<'_>, validity_days: u32) -> Result<ServiceIdentity> {
        Self::generate_at(curve, name, validity_days, now_s(), &mut system_rng()?)
    }

    /// The same, at a time and with random numbers that are given.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if the name can't be encoded.
    pub fn generate_at(
        curve: Curve,
        name: &ServiceName<'_>,
        validity_days: u32,
        now_s: u64,
        rng: &mut ChaCha20Rng,
    ) -> Result<ServiceIdentity> {
        let key = SigningKey::generate(curve, rng);
        let validity = Validity::days(now_s, validity_days).map_err(failed("date a certificate"))?;
        let certificate = match name {
            ServiceName::Of(previous) => x509::issue_service_like(previous, &key, validity, serial(rng)),
            ServiceName::Text(name) => x509::issue_self_signed(name, &[], &key, validity, serial(rng)),
        };
        Ok(ServiceIdentity {
            key: Arc::new(key),
            certificate: certificate.map_err(failed("issue the service's certificate"))?,
        })
    }
}
