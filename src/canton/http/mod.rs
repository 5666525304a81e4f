//! A client for the HTTP services of an SV: small answers whole and within bounds, large ones piece by piece.
//!
//! Invariants: the token leaves only to the scheme, host and port that the operator named, never in the clear unless that was
//! asked for, and is in no error, log or `Debug`. Redirections are followed on that origin only. Every wait has a bound.
//! What an answer means is decided elsewhere: a status of 500 is an answer here, not an error.

mod address;
mod redirect;
mod token;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Identity, Response, Url};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::shown::{Show, Shown, excerpt};

pub use address::Address;
pub use token::Token;

/// Redirections that are followed for one request.
const MOST_REDIRECTIONS: u32 = 5;
/// Bytes of a file with certificates or a key.
const MOST_PEM_BYTES: u64 = 4 << 20;
/// Bytes of a body that [`Client::get`] keeps.
pub const MOST_BODY_BYTES: usize = 1 << 20;

/// How servers are spoken to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A file of certificates in PEM that are trusted instead of the system's.
    pub roots: Option<PathBuf>,
    /// Files with the client's certificate chain and its private key, in PEM; both may be one file.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a server may think before it answers. A data snapshot is made before its first byte comes.
    pub answer: Duration,
    /// How long a body may pause.
    pub idle: Duration,
    /// Whether a token may go over plain HTTP to another machine.
    pub allows_plain_http: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            roots: None,
            identity: None,
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(900),
            idle: Duration::from_secs(120),
            allows_plain_http: false,
        }
    }
}

/// Why there is no answer, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection came about, or it broke before an answer: worth another try.
    #[error("could not reach {0}")]
    Unreachable(String),
    /// TLS failed: the other side's certificate is not trusted, or it does not trust ours. Trying again changes nothing.
    #[error("TLS with {0}")]
    Tls(String),
    /// Nothing came for too long.
    #[error("{0}")]
    TooSlow(String),
    /// The body broke off, or is not framed as HTTP frames bodies.
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
    /// A redirection that is not followed.
    #[error("{0}")]
    Redirected(String),
}

/// An answer or a part of one, or why there is none.
pub type Got<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Whether the same request may go well a little later.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Failure::Tls(_) | Failure::Redirected(_))
    }
}

/// A whole answer, its body up to [`MOST_BODY_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// The content type, lower case, without parameters; empty where the server gave none.
    pub content_type: String,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The body's beginning.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// An answer whose body comes piece by piece.
pub struct Incoming {
    response: Response,
    idle: Duration,
    within: Duration,
}

/// Speaks with one server.
pub struct Client {
    inner: reqwest::Client,
    address: Address,
    token: Option<HeaderValue>,
    settings: Settings,
}

impl Client {
    /// A client for the server at `address`. Proxies are those of `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    /// A file that can't be read or holds no certificates or key; a token that would go over plain HTTP to another machine.
    pub fn new(address: Address, settings: Settings, token: Option<&Token>) -> Result<Client> {
        if token.is_some() && !address.is_private() && !settings.allows_plain_http {
            return Err(Error::Usage(format!(
                "{address} is plain HTTP: whoever is between here and there would read the token. Give an https address, a \
                 port forwarded to this machine, or --allow-plain-http"
            )));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("rekindle/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(settings.connect)
            .http2_max_header_list_size(64 << 10);
        if !address.is_encrypted() && address.is_private() {
            // This machine is reached by no proxy, which would be shown the token.
            builder = builder.no_proxy();
        }
        if let Some(roots) = &settings.roots {
            let pem = read_pem(roots)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|found| !found.is_empty());
            let certificates = certificates
                .ok_or_else(|| Error::Unreadable(format!("{} holds no certificates in PEM", roots.shown())))?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some((chain, key)) = &settings.identity {
            let mut pem = read_pem(chain)?;
            if key != chain {
                pem.push(b'\n');
                let key = read_pem(key)?;
                // Room first, so that nothing of the key stays behind in memory that was outgrown.
                let mut both = Zeroizing::new(Vec::with_capacity(pem.len() + key.len()));
                both.extend_from_slice(&pem);
                both.extend_from_slice(&key);
                pem = both;
            }
            let identity = Identity::from_pem(&pem).map_err(|_| {
                Error::Unreadable(format!(
                    "{} and {} do not hold a certificate and its private key in PEM",
                    chain.shown(),
                    key.shown()
                ))
            })?;
            builder = builder.identity(identity);
        }
        let inner = builder
            .build()
            .map_err(|why| Error::Unreadable(format!("an HTTPS client can't be set up: {}", reasons(&why))))?;
        Ok(Client {
            inner,
            address,
            token: token.map(Token::header).transpose()?,
            settings,
        })
    }

    /// The server's address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// GETs a small answer whole, within the time an answer may take. `path` begins with `/`.
    ///
    /// # Errors
    /// There is no answer. A status other than 200 is one.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Got<Answer> {
        let within = self.settings.answer;
        let all = async { self.stream(path, query, &[]).await?.whole().await };
        match tokio::time::timeout(within, all).await {
            Ok(answer) => answer,
            Err(_) => Err(too_slow(&self.address, within)),
        }
    }

    /// GETs an answer whose body may be of any size. `headers` are sent too.
    ///
    /// # Errors
    /// There is no answer. A status other than 200 is one.
    pub async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(HeaderName, HeaderValue)],
    ) -> Got<Incoming> {
        let mut url = self.address.join(path, query);
        for _ in 0..=MOST_REDIRECTIONS {
            let response = self.ask(&url, headers).await?;
            let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes);
            match redirect::follow(&url, response.status().as_u16(), location) {
                redirect::Step::Here => {
                    return Ok(Incoming {
                        response,
                        idle: self.settings.idle,
                        within: self.settings.answer,
                    });
                }
                redirect::Step::To(next) => url = next,
                redirect::Step::Refused(why) => return Err(Failure::Redirected(why)),
            }
        }
        Err(Failure::Redirected(format!(
            "{} redirects in a circle: {MOST_REDIRECTIONS} redirections were followed",
            self.address
        )))
    }

    async fn ask(&self, url: &Url, headers: &[(HeaderName, HeaderValue)]) -> Got<Response> {
        let mut request = self
            .inner
            .get(url.clone())
            .header(ACCEPT, "application/json")
            // A dump is compared by length and digest, and goes on where it broke off: it comes as it is.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(token) = &self.token
            && self.address.is_origin_of(url)
        {
            request = request.header(AUTHORIZATION, token.clone());
        }
        for (name, value) in headers {
            request = request.header(name, value.clone());
        }
        match tokio::time::timeout(self.settings.answer, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(why)) => Err(failure(&self.address, &why)),
            Err(_) => Err(too_slow(&self.address, self.settings.answer)),
        }
    }
}

impl Incoming {
    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// One header as text; `None` where it is missing, or no text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The content type, lower case, without parameters.
    pub fn content_type(&self) -> String {
        let all = self.header(&CONTENT_TYPE).unwrap_or_default();
        all.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// How long the server wants to be left alone: seconds. Dates, which nobody sends here, are passed over.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&reqwest::header::RETRY_AFTER)?.trim();
        text.parse().ok().map(Duration::from_secs)
    }

    /// The next piece of the body; `None` after the last, when the body is as long as the server said.
    ///
    /// # Errors
    /// The body broke off, or paused for too long.
    pub async fn chunk(&mut self) -> Got<Option<Bytes>> {
        match tokio::time::timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(why)) => Err(Failure::BrokenOff(reasons(&why))),
            Err(_) => Err(Failure::TooSlow(format!(
                "nothing more of the answer came for {} s",
                self.idle.as_secs()
            ))),
        }
    }

    /// All of a small answer: its body up to [`MOST_BODY_BYTES`], within the time that an answer may take. Of a body that
    /// breaks off, what came.
    ///
    /// # Errors
    /// The body broke off or paused for too long before anything of it came.
    pub async fn whole(mut self) -> Got<Answer> {
        let mut answer = Answer {
            status: self.status(),
            content_type: self.content_type(),
            retry_after: self.retry_after(),
            body: Vec::new(),
            is_cut: false,
        };
        let within = self.within;
        let ended = tokio::time::timeout(within, self.keep(&mut answer)).await;
        let failure = match ended {
            Ok(Ok(())) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::TooSlow(format!("the answer did not end within {} s", within.as_secs())),
        };
        answer.is_cut = true;
        match answer.body.is_empty() {
            true => Err(failure),
            false => Ok(answer),
        }
    }

    async fn keep(&mut self, answer: &mut Answer) -> Got<()> {
        while let Some(piece) = self.chunk().await? {
            let room = MOST_BODY_BYTES - answer.body.len();
            answer.body.extend(piece.iter().take(room));
            if piece.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        Ok(())
    }
}

/// A runtime for the commands that speak with servers: one thread, which is the caller's.
///
/// # Errors
/// The system has no room for one.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Error::Unreadable(format!("the network can't be waited for: {why}")))
}

fn read_pem(path: &std::path::Path) -> Result<Zeroizing<Vec<u8>>> {
    token::read_secret(path, MOST_PEM_BYTES)
}

fn too_slow(address: &Address, within: Duration) -> Failure {
    Failure::TooSlow(format!("{address} gave no answer within {} s", within.as_secs()))
}

fn failure(address: &Address, why: &reqwest::Error) -> Failure {
    let text = reasons(why);
    // The library tells TLS apart in words only.
    let is_tls = ["certificate", "tls", "alert", "handshake"]
        .iter()
        .any(|word| text.to_ascii_lowercase().contains(word));
    match is_tls && why.is_connect() {
        true => Failure::Tls(format!("{address} failed: {text}")),
        false => Failure::Unreachable(format!("{address}: {text}")),
    }
}

/// An error with what caused it, without the URL: the request's address is known, and another may hold what is nobody's
/// business.
fn reasons(why: &reqwest::Error) -> String {
    let mut text = match why.is_timeout() {
        true => "it took too long".to_owned(),
        false => String::new(),
    };
    let mut cause = std::error::Error::source(why);
    // Only the last words of a chain say something.
    while let Some(error) = cause {
        let said = Shown(error).to_string();
        if !said.is_empty() && !text.contains(&said) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&said);
        }
        cause = error.source();
    }
    match text.is_empty() {
        true => "the connection failed".to_owned(),
        false => excerpt(&text),
    }
}

#[cfg(test)]
mod tests;
