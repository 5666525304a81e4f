//! TLS clients, and HTTP/1.1 byte by byte so that it can be wrong on purpose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rekindle::crypto::{Certificate, SigningKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_ecdsa_type};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a client offers, and what it was shown.
pub struct Client {
    provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub alpn: Vec<Vec<u8>>,
    identity: Option<Arc<CertifiedKey>>,
    verifier: Arc<Seen>,
}

/// A client with everything that rustls has.
pub fn tls_client() -> Client {
    Client::new(default_provider())
}

impl Client {
    pub fn new(provider: CryptoProvider) -> Self {
        let provider = Arc::new(provider);
        Client {
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            alpn: Vec::new(),
            identity: None,
            verifier: Arc::new(Seen(provider.clone(), Mutex::default())),
            provider,
        }
    }

    /// Presents `certificate`, and signs with `key`, whether that is the certificate's or not.
    pub fn with_certificate(mut self, certificate: &Certificate, key: &SigningKey) -> Self {
        let key = PrivateKeyDer::from_pem_slice(key.to_pkcs8_pem().as_bytes()).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = any_ecdsa_type(&key).unwrap();
        self.identity = Some(Arc::new(CertifiedKey::new(chain, key)));
        self
    }

    /// The certificate that the server presented last.
    pub fn shown(&self) -> Vec<u8> {
        self.verifier.1.lock().unwrap().clone()
    }

    /// A session over a connection that is there.
    pub async fn over(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        // Or the first request would wait until the server has acknowledged the end of the handshake.
        socket.set_nodelay(true)?;
        let name = ServerName::from(socket.peer_addr()?.ip());
        TlsConnector::from(Arc::new(self.config())).connect(name, socket).await
    }

    fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((**identity).clone()))),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

pub async fn connect(address: SocketAddr, client: &Client) -> std::io::Result<TlsStream<TcpStream>> {
    client.over(TcpStream::connect(address).await?).await
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> String {
        let line = self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        });
        line.unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends `request`, which may be anything, and reads one answer.
pub async fn exchange<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, request: &str) -> Answer {
    exchange_all(stream, request, 1).await.remove(0)
}

/// Sends `requests` at once and reads `count` answers; those to HEAD are known by what the next answer begins with.
pub async fn exchange_all<T: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut T,
    requests: &str,
    count: usize,
) -> Vec<Answer> {
    // A server that answers early may not read all of it.
    let _ = stream.write_all(requests.as_bytes()).await;
    let _ = stream.flush().await;
    let mut buffer = Vec::new();
    let mut answers = Vec::new();
    while answers.len() < count {
        if let Some(answer) = take_answer(&mut buffer) {
            answers.push(answer);
            continue;
        }
        let mut piece = vec![0; 64 << 10];
        let read = stream.read(&mut piece).await.expect("an answer");
        assert!(read > 0, "the session ended after {answers:?} and {buffer:?}");
        buffer.extend_from_slice(&piece[..read]);
    }
    assert!(buffer.is_empty(), "more than {count} answers: {buffer:?}");
    answers
}

fn take_answer(buffer: &mut Vec<u8>) -> Option<Answer> {
    let end = buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut answer = Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head,
        body: Vec::new(),
    };
    let mut length: usize = answer.header("content-length").parse().unwrap_or(0);
    if buffer[end..].starts_with(b"HTTP/1.1 ") {
        length = 0;
    }
    answer.body = buffer.get(end..end + length)?.to_vec();
    buffer.drain(..end + length);
    Some(answer)
}

/// HTTP/2 on a session that negotiated it.
pub async fn http2(stream: TlsStream<TcpStream>) -> SendRequest<Full<Bytes>> {
    let io = TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// One request to `/node/{path}` over HTTP/2: its status and body.
pub fn request(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: &str,
) -> impl Future<Output = (StatusCode, String)> + use<> {
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("https://n/node/{path}"))
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .unwrap();
    let sent = sender.send_request(request);
    async {
        let answer = sent.await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

/// Takes any server, remembers its certificate, and checks that it has the key.
#[derive(Debug)]
struct Seen(Arc<CryptoProvider>, Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert!(intermediates.is_empty());
        *self.1.lock().unwrap() = certificate.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
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
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
