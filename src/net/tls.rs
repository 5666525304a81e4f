//! The cryptography of TLS as CCF speaks it, for clients and servers. Recovery specification, section 8.7.

use std::fmt::Debug;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, SignatureScheme};
use zeroize::Zeroizing;

use crate::crypto::{Certificate, SigningKey};
use crate::error::Error;

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
    Ok(Arc::new(unidentified(judge)?.with_no_client_auth()))
}

/// The same for a client that shows servers a certificate and that it has its key.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_as(
    presents: Arc<CertifiedKey>,
    judge: impl JudgesServers + 'static,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let presents = Arc::new(SingleCertAndKey::from(presents));
    Ok(Arc::new(unidentified(judge)?.with_client_cert_resolver(presents)))
}

fn unidentified(
    judge: impl JudgesServers + 'static,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = Arc::new(provider());
    let verifier = Judged {
        judge,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config)
}

/// A certificate and its key as TLS presents them.
///
/// # Errors
/// [`Error::Usage`] if `key` is not the certificate's.
pub fn certified(certificate: &Certificate, key: &SigningKey) -> crate::Result<Arc<CertifiedKey>> {
    let unusable = |why: &str| {
        let subject = certificate.subject();
        Error::Usage(format!("the certificate {subject} can't be presented in TLS: {why}"))
    };
    if certificate.key() != &key.verifying_key() {
        return Err(unusable("its key is not the private key that was given with it"));
    }
    let pem = key.to_pkcs8_pem();
    let mut digits = Zeroizing::new(String::with_capacity(pem.len()));
    pem.lines()
        .filter(|line| !line.starts_with('-'))
        .for_each(|line| digits.push_str(line));
    // Four digits make three bytes: the buffer never grows, which would leave a copy behind.
    let mut der = Zeroizing::new(Vec::with_capacity(digits.len()));
    STANDARD
        .decode_vec(digits.as_bytes(), &mut der)
        .map_err(|_| unusable("its private key could not be encoded"))?;
    let borrowed = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice()));
    let key = any_ecdsa_type(&borrowed).map_err(|e| unusable(&e.to_string()))?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    Ok(Arc::new(CertifiedKey::new(chain, key)))
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
