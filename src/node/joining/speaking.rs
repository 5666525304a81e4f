//! Speaking with nodes of the service that is to be joined, and with nobody else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::Method;
use rustls::{CertificateError, ClientConfig, OtherError};

use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::net::exchange::{Answered, Asked, Bounds, request};
use crate::net::tls::{JudgesServers, Presented, client_config_as};
use crate::node::config::Address;
use crate::node::shared::Node;
use crate::shown::{excerpt, line};

/// Speaks with nodes of one service, and shows them this node's own certificate.
pub(super) struct Speaker {
    tls: Arc<ClientConfig>,
    refused: Arc<Mutex<Option<String>>>,
}

/// What is said.
pub(super) struct Saying<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) json: Option<Bytes>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unheard {
    /// Nobody was reached, or no answer came.
    Unreached(String),
    /// Whoever is there is not of the service.
    Stranger(String),
}

impl std::fmt::Display for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Unheard::Unreached(why) | Unheard::Stranger(why)) = self;
        f.write_str(why)
    }
}

impl Speaker {
    /// For nodes of the service with this certificate.
    ///
    /// # Errors
    /// If the node's own certificate can't be presented.
    pub(super) fn new(node: &Node, service: &Certificate) -> Result<Speaker> {
        let refused = Arc::<Mutex<Option<String>>>::default();
        let judge = OfTheService {
            service: service.clone(),
            refused: Arc::clone(&refused),
        };
        let own = node.certificates.for_servers()?;
        let tls = client_config_as(own, judge).map_err(|why| Error::Usage(format!("TLS can't be used: {why}")))?;
        Ok(Speaker { tls, refused })
    }

    /// Says something once; one thing at a time.
    pub(super) async fn say(
        &self,
        target: &Address,
        saying: Saying<'_>,
        bounds: Bounds,
    ) -> std::result::Result<Answered, Unheard> {
        self.refused().take();
        let asked = Asked {
            host: &target.host,
            port: target.port,
            authority: None,
            tls: Some(Arc::clone(&self.tls)),
            path: saying.path,
            accept: "*/*",
            headers: saying.headers,
        };
        let answered = request(&asked, saying.method, saying.json, bounds).await;
        answered.map_err(|why| match self.refused().take() {
            Some(why) => Unheard::Stranger(why),
            None => Unheard::Unreached(line(&why).into_owned()),
        })
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address in `https://host:port/...`.
pub(super) fn address_in(location: &str) -> Option<Address> {
    let rest = location.strip_prefix("https://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Nodes that the service has endorsed, or whoever has its own key. Names and dates are not looked at.
#[derive(Debug)]
struct OfTheService {
    service: Certificate,
    refused: Arc<Mutex<Option<String>>>,
}

impl OfTheService {
    fn judgement(&self, presented: &[u8]) -> std::result::Result<(), String> {
        let presented =
            Certificate::from_der(presented).map_err(|why| format!("its certificate can't be read: {why}"))?;
        let service = self.service.key();
        if presented.key() == service || presented.is_signed_by(service).is_ok() {
            return Ok(());
        }
        Err(format!(
            "its certificate ({}) is not endorsed by the service with the identity {}",
            excerpt(&presented.subject()),
            hex::encode(self.service.key_id())
        ))
    }
}

impl JudgesServers for OfTheService {
    fn judge(&self, presented: &Presented<'_>) -> std::result::Result<(), rustls::Error> {
        self.judgement(presented.certificate).map_err(|why| {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(std::io::Error::other(
                why,
            )))))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_leads_to_an_address_or_nowhere() {
        let address = |location| address_in(location).map(|address| address.to_string());
        assert_eq!(
            address("https://10.0.0.1:8080/node/join").as_deref(),
            Some("10.0.0.1:8080")
        );
        assert_eq!(address("https://[::1]:8080").as_deref(), Some("[::1]:8080"));
        for location in [
            "",
            "http://a:1/",
            "https://",
            "https:///node/join",
            "https://a@b:1/",
            "/node/join",
            "https://a/",
        ] {
            assert_eq!(address(location), None, "{location}");
        }
    }
}
