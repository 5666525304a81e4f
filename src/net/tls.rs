//! The cryptography of TLS as CCF speaks it, for clients and servers. Recovery specification, section 8.7.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

/// Cryptography restricted to what CCF allows, in its order of preference. Of the groups, rustls takes the one that the
/// client prefers.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        kx_groups: vec![kx_group::SECP384R1, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }
}

/// What a server presents of itself in the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// Its certificate.
    pub certificate: &'a CertificateDer<'a>,
    /// Those that it says lead to one that is known.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The name that it was asked for by.
    pub name: &'a ServerName<'a>,
    /// Its word on its own revocation, as it came.
    pub ocsp: &'a [u8],
    /// The time.
    pub now: UnixTime,
}

/// Decides which servers are spoken to, by what they present. That a server has its certificate's key is always checked.
pub trait JudgesServers: Debug + Send + Sync {
    /// Judges one server.
    ///
    /// # Errors
    /// Why it is not spoken to.
    fn judge(&self, presented: &Presented<'_>) -> Result<(), rustls::Error>;
}

/// Any server is spoken to: for what is judged by its own contents, whoever hands it out.
#[derive(Debug)]
pub struct Anybody;

impl JudgesServers for Anybody {
    fn judge(&self, _: &Presented<'_>) -> Result<(), rustls::Error> {
        Ok(())
    }
}

/// TLS for a client that has no certificate of its own and speaks to the servers that `judge` lets pass.
///
/// # Errors
/// Where the provider does not have what the protocol versions need: never, as it is compiled in.
pub fn client_config(judge: impl JudgesServers + 'static) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(provider());
    let verifier = Judged {
        judge,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// A judge of certificates, and the check of the handshake's signatures.
#[derive(Debug)]
struct Judged<J> {
    judge: J,
    provider: Arc<CryptoProvider>,
}

impl<J: JudgesServers> ServerCertVerifier for Judged<J> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge.judge(&Presented {
            certificate,
            intermediates,
            name,
            ocsp,
            now,
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
