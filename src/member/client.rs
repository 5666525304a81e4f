//! HTTPS to one node: a connection a request, everything bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::{Error, Refusal, printable};
use super::trust::{Trust, reason, tls};
use crate::format::TxId;
use crate::tables::json;

/// Opening a service with a large ledger may hold an answer back for a while; a node that is down refuses at once.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answers are constitutions and proposals with applications in them.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// From a backup to the primary is one; more than this is a loop.
const MAX_REDIRECTS: usize = 5;
/// Levels of an answer that are the node's own: a list of records with their fields.
const LEVELS: usize = 4;
const DEFAULT_PORT: u16 = 443;

/// Speaks with one node, and with those that it redirects to.
pub struct Client {
    target: Target,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

/// What a node answered, whatever the status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most 64 MiB.
    pub body: Bytes,
    /// For errors: the request.
    what: String,
}

#[derive(Clone)]
struct Target {
    /// As in a URL: IPv6 in brackets.
    authority: String,
    host: String,
    port: u16,
}

impl Client {
    /// A client of the node at `url`: `https://host:port`, perhaps with a final slash.
    ///
    /// # Errors
    /// [`Error::Usage`] for another URL.
    pub fn new(url: &str, trust: Trust) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| bad_url(url))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad_url(url));
        }
        Ok(Client {
            target: target(&uri).ok_or_else(|| bad_url(url))?,
            tls: tls(trust)?,
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// The same with another time limit for each request.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Client { timeout, ..self }
    }

    /// Makes a request, following redirects to other nodes of the service.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Untrusted`], [`Error::TimedOut`], [`Error::Answer`]; never for a status.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Result<Answer, Error> {
        let mut target = self.target.clone();
        let mut path = path.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let one = self.one(&target, method.clone(), &path, body.clone(), content_type);
            let answer = tokio::time::timeout(self.timeout, one)
                .await
                .map_err(|_| Error::TimedOut {
                    address: target.authority.clone(),
                    seconds: self.timeout.as_secs(),
                })??;
            if !matches!(
                answer.status,
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
            ) {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let uri: Option<Uri> = location.and_then(|location| location.parse().ok());
            let Some((next, uri)) = uri.and_then(|uri| target_and(uri, &target)) else {
                return Err(Error::Answer {
                    what: answer.what,
                    why: format!(
                        "it redirects to {:?}, which is no https URL",
                        printable(location.unwrap_or(""))
                    ),
                });
            };
            target = next;
            path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        }
        Err(Error::Answer {
            what: format!("the answer of {}", self.target.authority),
            why: format!(
                "it redirects more than {MAX_REDIRECTS} times; the cluster may be electing a primary, try again"
            ),
        })
    }

    /// A GET without a body.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.request(Method::GET, path, Bytes::new(), None).await
    }

    async fn one(
        &self,
        target: &Target,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Result<Answer, Error> {
        let unreachable = |why: String| Error::Unreachable {
            address: target.authority.clone(),
            why,
        };
        let what = format!("the answer to {method} {path}");
        let name = ServerName::try_from(target.host.clone()).map_err(|why| unreachable(why.to_string()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &target.authority);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|why| Error::Usage(format!("{path:?} is not a path: {why}")))?;

        let tcp = TcpStream::connect((target.host.as_str(), target.port))
            .await
            .map_err(|why| unreachable(why.to_string()))?;
        // Or the request would wait until the node has acknowledged the end of the handshake, a twentieth of a second.
        let _ = tcp.set_nodelay(true);
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, tcp).await.map_err(|why| match reason(&why) {
            Some(why) => Error::Untrusted {
                address: target.authority.clone(),
                why,
            },
            None => unreachable(handshake(&why)),
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|why| unreachable(why.to_string()))?;
        // Ends with the sender; what goes wrong with it is what the sender reports.
        tokio::spawn(connection);
        let response = sender
            .send_request(request)
            .await
            .map_err(|why| unreachable(format!("the connection broke: {why}")))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|why| Error::Answer {
                what: what.clone(),
                why: why.to_string(),
            })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
            what,
        })
    }
}

impl Answer {
    /// The transaction that wrote it, or that it is the state of, where the answer says so.
    pub fn transaction(&self) -> Option<TxId> {
        let text = self.headers.get("x-ms-ccf-transaction-id")?.to_str().ok()?;
        text.parse().ok()
    }

    /// The answer, if its status is a success.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn success(self) -> Result<Answer, Error> {
        if self.status.is_success() {
            return Ok(self);
        }
        Err(Error::Refused(Refusal::new(self.status, &self.body)))
    }

    /// The body of a success, read as JSON.
    ///
    /// # Errors
    /// [`Error::Refused`], or [`Error::Answer`] where it is something else.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let answer = self.success()?;
        // Data of members and nodes is whatever they chose: nobody is kept from acting by somebody else's.
        let tolerant = || serde_json::from_value(json::tolerant(&answer.body, LEVELS).ok()?).ok();
        let read = serde_json::from_slice(&answer.body).or_else(|why| tolerant().ok_or(why));
        read.map_err(|why| Error::Answer {
            what: answer.what,
            why: why.to_string(),
        })
    }

    /// The body of a success, read as text.
    ///
    /// # Errors
    /// [`Error::Refused`], or [`Error::Answer`] where it is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        let answer = self.success()?;
        String::from_utf8(answer.body.into()).map_err(|_| Error::Answer {
            what: answer.what,
            why: "it is not UTF-8 text".to_owned(),
        })
    }
}

fn bad_url(url: &str) -> Error {
    Error::Usage(format!("{url:?} is not the URL of a node, expected https://host:port"))
}

fn target(uri: &Uri) -> Option<Target> {
    let host = uri.host()?;
    if uri.scheme_str() != Some("https") || uri.authority()?.as_str().contains('@') {
        return None;
    }
    let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
    Some(Target {
        authority: format!("{host}:{port}"),
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port,
    })
}

/// Where a location leads: another node, or another path of the same one.
fn target_and(uri: Uri, here: &Target) -> Option<(Target, Uri)> {
    match uri.scheme() {
        Some(_) => target(&uri).map(|target| (target, uri)),
        None => Some((here.clone(), uri)).filter(|(_, uri)| uri.path().starts_with('/')),
    }
}

/// What a failed handshake probably means.
fn handshake(why: &std::io::Error) -> String {
    match why.kind() {
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => format!(
            "the TLS handshake was broken off ({why}): a CCF node does that on interfaces of the service while it has no \
             endorsed certificate, for example while it still reads the public ledger"
        ),
        _ => format!("TLS handshake: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_of_a_node_are_taken() {
        let target = |url: &str| Client::new(url, Trust::Anyone).map(|client| client.target);
        let found = target("https://[::1]:8443/").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(
            (found.host.as_str(), found.port, found.authority.as_str()),
            ("::1", 8443, "[::1]:8443")
        );
        assert_eq!(
            target("https://node.example")
                .unwrap_or_else(|why| panic!("{why}"))
                .port,
            443
        );
        for url in [
            "",
            "node:80",
            "http://node:80",
            "https://",
            "https://node/path",
            "https://u@node",
            "https://a b",
        ] {
            assert!(matches!(target(url), Err(Error::Usage(_))), "{url}");
        }
    }
}
