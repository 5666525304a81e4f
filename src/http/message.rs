//! Requests as handlers see them, and responses as they give them. Recovery specification, section 3.1.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::interface::Interface;
use crate::format::{TxId, View};
use crate::tables::json::Json;

/// Which transaction a response was written by, or read the state of.
pub const TRANSACTION_ID: HeaderName = HeaderName::from_static("x-ms-ccf-transaction-id");

/// Seconds after which it is worth asking again where too much was at work.
const RETRY_AFTER_S: &str = "1";

/// A whole request, within the limits of its interface.
#[derive(Clone, Debug)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// The path as it was sent, still percent-encoded.
    pub path: String,
    /// Path and query as they were sent.
    pub target: String,
    /// The host that it is for, with its port if that was sent: from the target where it is there, which is HTTP/2's way, or else from
    /// the header.
    pub host: Option<String>,
    /// The query's names and values, decoded, in order; a name may occur more than once.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// What the captures of the route's pattern hold, decoded.
    pub params: Vec<(&'static str, String)>,
    /// Where it came in.
    pub interface: Arc<Interface>,
    /// DER of the TLS client's certificate, if it presented one: it proved to hold the key, nothing else was checked.
    pub peer_certificate: Option<Bytes>,
    /// Its session, as far as others answer for it.
    pub passed_on: Arc<PassedOn>,
}

/// What is remembered of a session, once a request of it was passed on to the node that leads: from then on what else is asked in
/// it goes there, too.
#[derive(Debug, Default)]
pub struct PassedOn(AtomicU64);

impl PassedOn {
    /// The view of that node, if any request was passed on.
    pub fn view(&self) -> Option<View> {
        Some(self.0.load(Ordering::Acquire)).filter(|view| *view > 0)
    }

    /// A request is passed on in this view.
    pub fn in_view(&self, view: View) {
        self.0.store(view, Ordering::Release);
    }

    /// As if none had been: whoever asks was told.
    pub fn forget(&self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Request {
    /// What the capture `name` of the route's pattern holds; empty for a name that the pattern does not have.
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(found, _)| *found == name);
        found.map_or("", |(_, value)| value)
    }

    /// The first value of a query parameter.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body read as JSON.
    ///
    /// # Errors
    /// 400 `InvalidInput` with what the parser says.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body)
            .map_err(|e| ApiError::bad_request("InvalidInput", format!("The request body is not as expected: {e}.")))
    }
}

/// What is sent after the headers.
#[derive(Clone, Debug)]
pub enum Body {
    /// From memory.
    Bytes(Bytes),
    /// These bytes of a file, read in pieces while they are sent.
    File {
        /// The file.
        path: PathBuf,
        /// Which of its bytes, the end excluded.
        range: Range<u64>,
    },
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers besides length and date.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// An answer without a body or headers.
    pub fn status(status: StatusCode) -> Self {
        Response {
            status,
            headers: HeaderMap::new(),
            body: Body::Bytes(Bytes::new()),
        }
    }

    /// 204, what CCF answers where there is nothing to say.
    pub fn no_content() -> Self {
        Self::status(StatusCode::NO_CONTENT)
    }

    /// 200 with JSON: compact, the fields of a type in its own order, what is opaque in it word for word.
    pub fn json<T: Serialize>(value: &T) -> Self {
        // Texts as keys and no failing parts: there is nothing that could not be written.
        Self::bytes("application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    /// 200 with JSON of which parts are carried word for word.
    pub fn document(document: &Json) -> Self {
        Self::bytes("application/json", document.to_json())
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes("text/plain", text.into())
    }

    /// 200 with bytes of the given media type.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Response {
            body: Body::Bytes(bytes.into()),
            ..Self::status(StatusCode::OK).with_static(CONTENT_TYPE, content_type)
        }
    }

    /// 200 with `range` of a file, which is opened when the answer is sent and read in pieces of bounded size. A file
    /// that is gone by then is a 500; one that shrinks meanwhile breaks the session off.
    pub fn file(content_type: &'static str, path: impl Into<PathBuf>, range: Range<u64>) -> Self {
        Response {
            body: Body::File {
                path: path.into(),
                range,
            },
            ..Self::status(StatusCode::OK).with_static(CONTENT_TYPE, content_type)
        }
    }

    /// A redirection to `location`.
    pub fn redirect(status: StatusCode, location: &str) -> Self {
        Self::status(status).with_header(LOCATION, location)
    }

    /// With another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With a header; one whose value no header can have is left out.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With the transaction that it was written by or read from.
    pub fn with_txid(self, txid: TxId) -> Self {
        self.with_header(TRANSACTION_ID, &txid.to_string())
    }

    /// 405, or 204 where the client asked with OPTIONS what is allowed.
    pub(super) fn not_allowed(method: &Method, shown_path: &str, allowed: &str) -> Self {
        if *method == Method::OPTIONS {
            return Self::no_content().with_header(ALLOW, allowed);
        }
        let message = format!("Allowed methods for '{shown_path}' are: {allowed}.");
        let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", message);
        Self::from(error).with_header(ALLOW, allowed)
    }

    fn with_static(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

impl From<ApiError> for Response {
    fn from(error: ApiError) -> Self {
        let response = Self::json(&error.to_answer()).with_status(error.status);
        // Who is known by a TLS certificate is asked for it in the handshake.
        let may_sign = error.details.iter().any(|detail| {
            let policy = detail.get("auth_policy").and_then(Value::as_str);
            policy.is_some_and(|policy| policy.ends_with("cose_sign1"))
        });
        match error.status {
            _ if may_sign => response.with_static(WWW_AUTHENTICATE, "COSE-SIGN1 realm=\"Signed request access\""),
            StatusCode::SERVICE_UNAVAILABLE if error.code != "AuthorizationFailed" => {
                response.with_static(RETRY_AFTER, RETRY_AFTER_S)
            }
            _ => response,
        }
    }
}

/// Decodes `%XX`; `None` where it is broken or what it gives is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut digit = || {
            char::from(bytes.next()?)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        decoded.push(match byte {
            b'%' => digit()? << 4 | digit()?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The pairs of a query, in which `+` is a space; a pair that can't be decoded is kept as it is.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode(&text.replace('+', " ")).unwrap_or_else(|| text.to_owned());
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::json::Opaque;

    #[test]
    fn queries_are_decoded_and_may_repeat_a_name() {
        let query = parse_query("api-version=2024-07-01&a=%C3%A4+b&a=2&flag&&x=%zz&y=1=2");
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let expected = [
            ("api-version", "2024-07-01"),
            ("a", "\u{e4} b"),
            ("a", "2"),
            ("flag", ""),
            ("x", "%zz"),
            ("y", "1=2"),
        ];
        assert_eq!(pairs, expected);
        for broken in ["%", "%4", "%+1", "%ff", "a%c3"] {
            assert_eq!(percent_decode(broken), None, "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_client_asks_for_is_decoded_or_kept(text in "[%+&=a-f0-9\u{e4}/ ]{0,40}") {
            let pairs = text.split('&').filter(|pair| !pair.is_empty()).count();
            assert_eq!(parse_query(&text).len(), pairs);
            if let Some(decoded) = percent_decode(&text) {
                assert!(decoded.len() <= text.len());
            }
        }
    }

    #[test]
    fn an_unauthenticated_caller_is_told_how_to_sign() {
        let response = Response::from(ApiError::unauthenticated("member_cose_sign1", "no"));
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        let asked = response.headers.get(WWW_AUTHENTICATE).unwrap();
        assert_eq!(asked, "COSE-SIGN1 realm=\"Signed request access\"");
        let response = Response::from(ApiError::unauthenticated("node_cert", "no"));
        assert_eq!(response.status, StatusCode::UNAUTHORIZED);
        assert!(response.headers.get(WWW_AUTHENTICATE).is_none());
    }

    #[test]
    fn where_too_much_is_at_work_the_caller_is_told_when_to_come_again() {
        let busy = |code| Response::from(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, code, "no"));
        assert_eq!(
            busy("TooManyPendingTransactions").headers.get(RETRY_AFTER).unwrap(),
            "1"
        );
        // An interface that does not serve a path never will.
        assert_eq!(busy("AuthorizationFailed").headers.get(RETRY_AFTER), None);
    }

    #[test]
    fn json_is_compact_leaves_what_is_opaque_as_it_is_and_carries_its_transaction() {
        #[derive(Serialize)]
        struct Out {
            a: serde_json::Value,
            z: Opaque,
        }
        let odd = format!(
            r#"{{"b": 1.10, "a": "\ud800", "a":{}1e999{} }}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        let out = Out {
            a: serde_json::json!({"d": 1, "c": 2}),
            z: serde_json::from_str(&odd).unwrap(),
        };
        let response = Response::json(&out).with_txid(TxId { view: 4, seqno: 203 });
        let Body::Bytes(body) = response.body else {
            panic!("not in memory")
        };
        let body = std::str::from_utf8(&body).unwrap();
        assert_eq!(body, format!(r#"{{"a":{{"c":2,"d":1}},"z":{odd}}}"#));
        assert_eq!(response.headers.get(TRANSACTION_ID).unwrap(), "4.203");
    }
}
