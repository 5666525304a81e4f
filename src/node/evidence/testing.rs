//! A server that stands in for those that hand out endorsements, and a machine whose clock stands still.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Patience, ReportSource, Snp};
use crate::attestation::testing::{FROM, Machine};
use crate::crypto::testing::rng;
use crate::crypto::x509::{Validity, issue_self_signed};
use crate::crypto::{Curve, SigningKey};
use crate::node::config::{Attestation, EndorsementsServer, EndorsementsServerKind as Kind};

/// Waits for nothing longer than a test may take.
pub const HASTE: Patience = Patience {
    request: Duration::from_secs(20),
    between: Duration::from_millis(1),
    longest: Duration::from_millis(5),
};

impl ReportSource for Machine {
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, String> {
        Ok(Machine::report(self, &std::array::from_fn(|at| report_data[at])))
    }
}

/// The evidence of a machine, at a time when its certificates are valid.
pub fn snp(machine: Machine, settings: Attestation) -> Snp<Machine> {
    Snp {
        device: machine,
        settings,
        anchors: Machine::anchors(),
        patience: HASTE,
        clock: || FROM,
    }
}

/// A configuration with these servers and nothing else.
pub fn settings(servers: &[EndorsementsServer]) -> Attestation {
    Attestation {
        snp_endorsements_servers: servers.to_vec(),
        snp_security_policy_file: None,
        snp_uvm_endorsements_file: None,
        snp_endorsements_file: None,
    }
}

/// An answer: status, headers (each with its line's end), body.
pub type Answer = (u16, &'static str, Vec<u8>);

pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
    (200, "", body.into())
}

/// Serves until it is dropped.
pub struct StandIn {
    kind: Kind,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _runtime: tokio::runtime::Runtime,
}

impl StandIn {
    /// A server of a kind that gives these answers in this order, and the last one again and again. A status of 0 is never
    /// answered.
    pub fn start(kind: Kind, answers: Vec<Answer>) -> StandIn {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&asked);
        let tls = (kind != Kind::Thim).then(acceptor);
        runtime.spawn(async move {
            let mut answers = answers.into_iter().peekable();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let next = answers.peek().cloned().unwrap_or((500, "", Vec::new()));
                let is_last = answers.size_hint().0 == 1;
                if !is_last {
                    answers.next();
                }
                match &tls {
                    None => serve(tcp, next, &seen).await,
                    Some(tls) => match tls.accept(tcp).await {
                        Ok(stream) => serve(stream, next, &seen).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        StandIn {
            kind,
            port,
            asked,
            _runtime: runtime,
        }
    }

    /// How it is configured.
    pub fn setting(&self, max_retries_count: u32) -> EndorsementsServer {
        EndorsementsServer {
            kind: self.kind,
            url: Some(format!("127.0.0.1:{}", self.port)),
            max_retries_count,
        }
    }

    /// Requests in the order in which they came, whole.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The same, their paths alone.
    pub fn paths(&self) -> Vec<String> {
        let path = |request: &String| request.split(' ').nth(1).unwrap().to_owned();
        self.asked().iter().map(path).collect()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, seen: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    seen.lock().unwrap().push(String::from_utf8(request).unwrap());
    let (status, headers, body) = answer;
    if status == 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let head = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

/// TLS with a certificate that nobody knows, long expired.
fn acceptor() -> TlsAcceptor {
    let key = SigningKey::generate(Curve::P256, &mut rng(77));
    let validity = Validity::days(1_000_000_000, 1).unwrap();
    let certificate = issue_self_signed("CN=nobody", &[], &key, validity, [1; 16]).unwrap();
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::from_pem_slice(key.to_pkcs8_pem().as_bytes()).unwrap();
    let provider = Arc::new(crate::net::tls::provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
