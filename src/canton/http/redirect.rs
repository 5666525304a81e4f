//! Where a redirection leads, and whether it is followed.

use reqwest::Url;

use crate::shown::excerpt;

/// What an answer's status and `Location` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: this is the answer.
    Here,
    /// The same request at another URL of the same origin.
    To(Url),
    /// It is not followed, for this reason.
    Refused(String),
}

/// Decides on an answer that `url` gave. Only the same scheme, host and port are followed: nobody else is given a token, and
/// nobody else's answer is a data snapshot of this SV.
pub fn follow(url: &Url, status: u16, location: Option<&[u8]>) -> Step {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Step::Here;
    }
    let Some(location) = location.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return Step::Refused(format!(
            "the server answered {status}, a redirection that does not say where to"
        ));
    };
    let Ok(next) = url.join(location) else {
        return Step::Refused(format!("the server redirects ({status}) to what is no URL"));
    };
    if next.origin() == url.origin() && next.username().is_empty() && next.password().is_none() {
        return Step::To(next);
    }
    // The path and query may hold a session; whoever is asked to log in needs to know where, not that.
    let to = excerpt(&next.origin().ascii_serialization());
    let why = match (url.scheme(), next.scheme()) {
        ("https", "http") => "plain HTTP",
        ("http", "https") if url.host_str() == next.host_str() => "HTTPS: give that address as --url",
        _ => "another server, perhaps a page to log in: the token may be missing, expired, or not for this service",
    };
    Step::Refused(format!(
        "the server redirects ({status}) to {to}, which is {why}. It was not followed, and the token was not sent there"
    ))
}
