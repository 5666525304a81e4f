//! One request to somebody outside the service and its answer, everything bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HOST, HeaderName, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How much is waited for, and read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Until TCP and TLS are there.
    pub connect: Duration,
    /// From then on to the last byte.
    pub answer: Duration,
    /// The largest body, in bytes.
    pub size: usize,
}

/// What is asked for, and of whom. Redirections are not followed: where they lead, nobody has agreed to.
pub struct Asked<'a> {
    /// Name or address; IPv6 without brackets.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The header `host`, where it is another than `host:port`.
    pub authority: Option<&'a str>,
    /// TLS, and whom to believe; none: in clear text.
    pub tls: Option<Arc<ClientConfig>>,
    /// Path and query.
    pub path: &'a str,
    /// The header `accept`.
    pub accept: &'a str,
    /// Other headers.
    pub headers: &'a [(&'static str, &'a str)],
}

/// What was answered.
#[derive(Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// When to ask again, if the answer says so in seconds.
    pub retry_after: Option<Duration>,
    /// Where the answer sends to, if it does. Whoever asked decides whether to go there.
    pub location: Option<String>,
    /// Which bytes of how many they are, where it is a part.
    pub content_range: Option<String>,
    /// The body of a 200 or 206; of another status nothing is read, unless what was sent was JSON.
    pub body: Bytes,
}

/// Asks once with GET.
///
/// # Errors
/// In words: what is wrong with the request, or what failed. Any status is an answer.
pub async fn exchange(asked: &Asked<'_>, bounds: Bounds) -> Result<Answered, String> {
    send(asked, Method::GET, None, bounds).await
}

/// Sends JSON once with PUT, and reads what is answered, whatever the status.
///
/// # Errors
/// As [`exchange`].
pub async fn put(asked: &Asked<'_>, json: Bytes, bounds: Bounds) -> Result<Answered, String> {
    send(asked, Method::PUT, Some(json), bounds).await
}

/// Asks once with another method, and with JSON where there is some.
///
/// # Errors
/// As [`exchange`].
pub async fn request(
    asked: &Asked<'_>,
    method: Method,
    json: Option<Bytes>,
    bounds: Bounds,
) -> Result<Answered, String> {
    send(asked, method, json, bounds).await
}

async fn send(asked: &Asked<'_>, method: Method, json: Option<Bytes>, bounds: Bounds) -> Result<Answered, String> {
    let (host, port) = (asked.host, asked.port);
    let late = |what: &str, limit: Duration| format!("{what} {host}:{port} took longer than {} ms", limit.as_millis());
    let authority = asked.authority.map_or_else(
        || match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        },
        str::to_owned,
    );
    let reads_all = json.is_some();
    let mut request = Request::builder()
        .method(method)
        .uri(asked.path)
        .header(HOST, authority)
        .header(ACCEPT, asked.accept);
    for (name, value) in asked.headers {
        request = request.header(*name, *value);
    }
    if json.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request
        .body(Full::new(json.unwrap_or_default()))
        .map_err(|why| format!("{host:?} can't be asked for {:?}: {why}", asked.path))?;
    let name = ServerName::try_from(host.to_owned());
    let connecting = async {
        let tcp = TcpStream::connect((host, port))
            .await
            .map_err(|why| format!("no connection to {host}:{port}: {why}"))?;
        // A handshake and a request are small: neither is to wait for the other end to have acknowledged what was before.
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &asked.tls else {
            return Ok::<Box<dyn Stream>, String>(Box::new(tcp));
        };
        let name = name.map_err(|_| format!("{host:?} is no name of a host"))?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, tcp)
            .await
            .map_err(|why| format!("no TLS session with {host}:{port}: {why}"))?;
        Ok(Box::new(stream))
    };
    let stream = timeout(bounds.connect, connecting)
        .await
        .map_err(|_| late("the connection to", bounds.connect))??;
    let asking = async {
        let broken = |why: hyper::Error| format!("the connection to {host}:{port} broke: {why}");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Ends with the sender; what goes wrong with it is what the sender reports.
        let driving = tokio::spawn(connection);
        let answered = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let retry_after = response.headers().get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            let (location, content_range) = (text(LOCATION), text(CONTENT_RANGE));
            let mut body = Bytes::new();
            if reads_all || matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                let read = Limited::new(response.into_body(), bounds.size).collect().await;
                let read = read.map_err(|why| format!("the answer of {host}:{port} could not be read: {why}"))?;
                body = read.to_bytes();
            }
            Ok(Answered {
                status,
                retry_after: retry_after.map(Duration::from_secs),
                location,
                content_range,
                body,
            })
        };
        let answered = answered.await;
        driving.abort();
        answered
    };
    timeout(bounds.answer, asking)
        .await
        .map_err(|_| late("the answer of", bounds.answer))?
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
