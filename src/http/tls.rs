//! TLS as CCF speaks it. Recovery specification, section 8.7.
//!
//! Versions 1.2 and 1.3, AES-GCM, and the groups P-384 and P-256 only. Clients are asked for a certificate and need not
//! have one: any is taken, once the client proved to hold its key, and who that is decides the handler. Sessions are not
//! resumed, so that every session shows the certificate that is in the slot when it begins.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};

use crate::crypto::x509::any_certificate_spki;
use crate::crypto::{Certificate, SigningKey};
use crate::error::{Error, Result};
use crate::net::tls::{certified, provider};

/// The certificate that an interface presents; it can be replaced while sessions are open, and new ones get the new.
pub struct CertificateSlot(RwLock<Arc<CertifiedKey>>);

impl CertificateSlot {
    /// A slot that presents `certificate`.
    ///
    /// # Errors
    /// [`Error::Usage`] if `key` is not the certificate's.
    pub fn new(certificate: &Certificate, key: &SigningKey) -> Result<Arc<Self>> {
        Ok(Arc::new(CertificateSlot(RwLock::new(certified(certificate, key)?))))
    }

    /// Presents `certificate` from the next handshake on.
    ///
    /// # Errors
    /// [`Error::Usage`] if `key` is not the certificate's: the slot is then as before.
    pub fn replace(&self, certificate: &Certificate, key: &SigningKey) -> Result<()> {
        let next = certified(certificate, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for CertificateSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateSlot")
    }
}

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// The configuration of an interface that presents what is in `slot`; with `http2` clients may choose `h2`.
///
/// # Errors
/// [`Error::Usage`] where the provider does not have what the protocol versions need: never, as it is compiled in.
pub fn server_config(slot: Arc<CertificateSlot>, http2: bool) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| Error::Usage(format!("TLS could not be set up: {e}")))?;
    let mut config = builder
        .with_client_cert_verifier(Arc::new(AnyClient(provider)))
        .with_cert_resolver(slot);
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

/// Takes every client's certificate, and clients without one; what is checked is that the client has the key.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        // By the bare key: serials, versions and extensions that a strict parser refuses turn no member away.
        let spki = any_certificate_spki(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(spki), signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
