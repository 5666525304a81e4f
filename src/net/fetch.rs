//! A GET over TLS to somebody outside the service, everything bounded in time and size.
//!
//! The other side is known by certificates that are given, not by those of the system: it must present one of them, or a
//! chain that leads to one. Names and dates are checked, in the ways that OpenSSL checks them: a certificate without
//! alternative names is known by its common name.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;

pub use super::exchange::Bounds;
use super::exchange::{Asked, exchange};
use super::tls::{JudgesServers, Presented, client_config, provider};

const DEFAULT_PORT: u16 = 443;
/// More certificates are in no bundle that anybody keeps.
const MAX_CERTIFICATES: usize = 1_000;

/// The body of a 200, asked for at an `https` URL of somebody who is known by `bundle`: certificates in PEM.
///
/// # Errors
/// In words: what is wrong with URL or bundle, what failed, or which other status was answered. Redirections are not
/// followed: where they lead, nobody has agreed to.
pub async fn get(url: &str, bundle: &str, bounds: Bounds) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|why| format!("{url:?} is no URL: {why}"))?;
    let (Some("https"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("{url:?} is no https URL"));
    };
    let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let authority = match port {
        DEFAULT_PORT => host.to_owned(),
        _ => format!("{host}:{port}"),
    };
    let asked = Asked {
        host: &bare,
        port,
        authority: Some(&authority),
        tls: Some(tls(bundle)?),
        path: uri.path_and_query().map_or("/", |path| path.as_str()),
        accept: "application/json",
        headers: &[],
    };
    let answered = exchange(&asked, bounds).await?;
    match answered.status {
        StatusCode::OK => Ok(answered.body),
        status => Err(format!("{host}:{port} answered {status}")),
    }
}

fn tls(bundle: &str) -> Result<Arc<ClientConfig>, String> {
    client_config(Known::new(bundle)?).map_err(|why| format!("TLS can't be used: {why}"))
}

/// Judges servers by a bundle of certificates.
#[derive(Debug)]
struct Known {
    bundle: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl Known {
    fn new(bundle: &str) -> Result<Known, String> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes())
            .take(MAX_CERTIFICATES)
            .collect();
        let bundle = read.map_err(|why| format!("the bundle of certificates can't be read: {why}"))?;
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(bundle.iter().cloned());
        if usable == 0 {
            return Err("no certificate in the bundle can be used".to_owned());
        }
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
        Ok(Known {
            bundle,
            chains: chains.build().map_err(|why| why.to_string())?,
        })
    }

    /// A certificate of the bundle itself, as self-signed servers present it: its dates and names.
    fn check_own(
        &self,
        presented: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let parsed = x509_cert::Certificate::from_der(presented).map_err(|_| CertificateError::BadEncoding)?;
        let validity = parsed.tbs_certificate().validity();
        let [from, to] = [&validity.not_before, &validity.not_after].map(|time| time.to_unix_duration().as_secs());
        if now.as_secs() < from {
            return Err(CertificateError::NotValidYet.into());
        }
        if now.as_secs() > to {
            return Err(CertificateError::Expired.into());
        }
        match verify_server_name(&ParsedCertificate::try_from(presented)?, name) {
            Err(_) if has_common_name(presented, name) => Ok(()),
            judged => judged,
        }
    }
}

/// Whether a certificate without alternative names has a name as its common name.
fn has_common_name(presented: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(parsed) = x509_cert::Certificate::from_der(presented) else {
        return false;
    };
    let certificate = parsed.tbs_certificate();
    let named = certificate.get_extension::<SubjectAltName>();
    let subject = certificate.subject().to_string();
    let mut common = subject
        .split([',', '+'])
        .filter_map(|part| part.trim().strip_prefix("CN="));
    matches!(named, Ok(None)) && common.any(|common| common.eq_ignore_ascii_case(&name.to_str()))
}

impl JudgesServers for Known {
    fn judge(&self, presented: &Presented<'_>) -> Result<(), rustls::Error> {
        use rustls::Error::InvalidCertificate;
        let Presented {
            certificate,
            intermediates,
            name,
            ocsp,
            now,
        } = *presented;
        let judged = self
            .chains
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match judged {
            Ok(_) => Ok(()),
            Err(_) if self.bundle.iter().any(|known| known == certificate) => self.check_own(certificate, name, now),
            // Names are looked at last: everything else is as it should be.
            Err(InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if has_common_name(certificate, name) => Ok(()),
            Err(why) => Err(why),
        }
    }
}
