//! Addresses of servers, as operators give them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use crate::error::Error;
use crate::shown::Shown;

/// The base address of a server: `https://sv.sv.HOST`, perhaps with a path before the service's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
}

impl Address {
    /// The URL of a path below it, with a query.
    pub fn join(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The path, without a slash at its end.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// The same server with another path before the service's own.
    pub fn with_path(mut self, path: &str) -> Address {
        self.url.set_path(path);
        self
    }

    /// Whether a URL has this scheme, host and port.
    pub fn is_origin_of(&self, url: &Url) -> bool {
        self.url.origin() == url.origin()
    }

    /// Whether it is reached with TLS.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Whether nobody between here and there can read what is sent: TLS, or this machine itself.
    pub fn is_private(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_local = bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.is_encrypted() || is_local
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Shown(self.url.as_str().trim_end_matches('/')))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Address, Error> {
        let wrong = |why: &str| Error::Usage(format!("--url {why}; expected one such as https://sv.sv.YOUR_HOSTNAME"));
        let mut url = Url::parse(text).map_err(|_| wrong("is not a URL"))?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("is no address of a web server"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated: it is a password, and others can read arguments.
            return Err(wrong(
                "holds a user or a password, which does not belong on a command line",
            ));
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Address { url })
    }
}
