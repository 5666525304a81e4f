//! Requests that are passed on to another node, as the bytes of HTTP/1.1, and the bytes of their answers. Node-to-node
//! specification, section 3.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

use super::message::{Body, Request, Response};

/// What a node that is not the primary does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// Sends it to the primary.
    Always,
    /// Sends it to the primary where the session has been sent there before.
    Sometimes,
    /// Answers it.
    Never,
}

impl Forwarding {
    /// Whether this request is sent to the primary.
    pub(super) fn applies_to(self, request: &Request) -> bool {
        match self {
            Forwarding::Always => true,
            Forwarding::Sometimes => request.passed_on.view().is_some(),
            Forwarding::Never => false,
        }
    }
}

/// Headers of an answer that are looked at.
const MOST_HEADERS: usize = 64;

/// A request as HTTP/1.1.
pub fn request_of(request: &Request) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method, request.target).into_bytes();
    let mut put = |name: &str, value: &[u8]| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    };
    for (name, value) in request.headers.iter().filter(|(name, _)| !is_of_the_connection(name)) {
        put(name.as_str(), value.as_bytes());
    }
    // In HTTP/2 it is no header.
    if !request.headers.contains_key(HOST) {
        put("host", request.interface.published_address.as_bytes());
    }
    put("content-length", request.body.len().to_string().as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&request.body);
    bytes
}

/// The answer in these bytes; none where they are no whole answer.
pub fn answer_of(bytes: &[u8]) -> Option<Response> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else {
        return None;
    };
    let mut kept = HeaderMap::new();
    let mut told = None;
    for header in head.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        if name == TRANSFER_ENCODING {
            return None; // no node sends it
        }
        if name == CONTENT_LENGTH {
            told = Some(std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok()?);
        }
        if !is_of_the_connection(&name) {
            kept.append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
    }
    let body = bytes.get(length..)?;
    let body = body.get(..told.unwrap_or(body.len()))?;
    Some(Response {
        status: StatusCode::from_u16(head.code?)
            .ok()
            .filter(|status| !status.is_informational())?,
        headers: kept,
        body: Body::Bytes(Bytes::copy_from_slice(body)),
    })
}

/// Whether a header belongs to one connection, or is written anew for each.
fn is_of_the_connection(name: &HeaderName) -> bool {
    [
        CONNECTION,
        CONTENT_LENGTH,
        DATE,
        EXPECT,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || name == "keep-alive"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyper::Method;

    use super::*;
    use crate::http::interface::Interface;

    fn request() -> Request {
        let mut interface = Interface::new("i", "127.0.0.1:0");
        interface.published_address = "node:8080".to_owned();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/cose"));
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("99"));
        Request {
            method: Method::POST,
            path: "/gov/x".to_owned(),
            target: "/gov/x?api-version=1%202".to_owned(),
            host: None,
            query: Vec::new(),
            headers,
            body: Bytes::from_static(b"body"),
            params: Vec::new(),
            interface: Arc::new(interface),
            peer_certificate: None,
            passed_on: Arc::default(),
        }
    }

    #[test]
    fn a_request_is_passed_on_without_what_belongs_to_its_connection() {
        let text = String::from_utf8(request_of(&request())).unwrap();
        assert_eq!(
            text,
            "POST /gov/x?api-version=1%202 HTTP/1.1\r\ncontent-type: application/cose\r\nhost: node:8080\r\n\
             content-length: 4\r\n\r\nbody"
        );
    }

    #[test]
    fn an_answer_is_given_to_the_client_with_its_transaction() {
        let answer = b"HTTP/1.1 200 OK\r\nx-ms-ccf-transaction-id: 2.7\r\ncontent-length: 2\r\ndate: now\r\n\r\n{}";
        let read = answer_of(answer).unwrap();
        assert_eq!(read.status, StatusCode::OK);
        assert_eq!(read.headers.get("x-ms-ccf-transaction-id").unwrap(), "2.7");
        assert_eq!(read.headers.len(), 1);
        assert!(matches!(read.body, Body::Bytes(body) if body == "{}"));
    }

    #[test]
    fn what_is_no_whole_answer_is_none() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 99 No\r\n\r\n",
            b"garbage\r\n\r\n",
        ] {
            assert!(answer_of(bytes).is_none(), "{}", String::from_utf8_lossy(bytes));
        }
        let many = "a: b\r\n".repeat(MOST_HEADERS + 1);
        assert!(answer_of(format!("HTTP/1.1 200 OK\r\n{many}\r\n").as_bytes()).is_none());
    }

    proptest::proptest! {
        #[test]
        fn whatever_another_node_answers_is_read_or_not(text in "(HTTP/1.1 200 OK\r\n)?[a-z:\r\n 0-9]{0,60}(\r\n\r\n)?.{0,9}") {
            let _ = answer_of(text.as_bytes());
        }
    }
}
