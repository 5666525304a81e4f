//! Which servers are nodes of the service: those whose certificate the service has endorsed.
//!
//! Names and dates are not looked at, as it is CCF's practice: a node is known by the service's key alone, and after a
//! disaster its address is new and its service's certificate may have expired. The handshake's signatures always are.

use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, OtherError};

use super::error::Error;
use crate::crypto::Certificate;
use crate::net::tls::{JudgesServers, Presented, client_config};

/// Whom to speak to.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Nodes that this certificate's key has endorsed, or that present this very certificate or key.
    Service(Certificate),
    /// Anybody who answers.
    Anyone,
}

/// TLS as CCF speaks it (recovery specification, section 8.7), with servers judged by `trust`.
pub(super) fn tls(trust: Trust) -> Result<Arc<ClientConfig>, Error> {
    client_config(trust).map_err(|why| Error::Usage(format!("TLS can't be used: {why}")))
}

/// What the verifier said of a server, if that is why there is no connection.
pub(super) fn reason(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) => Some(why.to_string()),
        rustls::Error::InvalidCertificate(why) => Some(format!("its certificate is not usable ({why:?})")),
        _ => None,
    }
}

/// Why a server's certificate was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Judgement(String);

impl Trust {
    fn accepts(&self, end_entity: &[u8]) -> Result<(), String> {
        let Trust::Service(service) = self else {
            return Ok(());
        };
        let presented = Certificate::from_der(end_entity)
            .map_err(|why| format!("it presents a certificate that no CCF node has: {why}"))?;
        if presented.key() == service.key() || presented.is_signed_by(service.key()).is_ok() {
            return Ok(());
        }
        Err(format!(
            "its certificate ({}) is not endorsed by the service certificate given ({}, identity {}); \
             is this the service's newest certificate, and a node of that service?",
            super::error::printable(&presented.subject()),
            super::error::printable(&service.subject()),
            hex::encode(service.key_id())
        ))
    }
}

impl JudgesServers for Trust {
    fn judge(&self, presented: &Presented<'_>) -> Result<(), rustls::Error> {
        self.accepts(presented.certificate).map_err(|why| {
            let why = OtherError(Arc::new(Judgement(why)));
            rustls::Error::InvalidCertificate(CertificateError::Other(why))
        })
    }
}
