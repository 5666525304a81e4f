//! Certificates, keys, COSE messages and trees, described as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};

use crate::crypto::digest::sha256;
use crate::crypto::x509::Certificate;
use crate::merkle::tree::TreeView;
use crate::shown::date;

/// Whether bytes are text that can be shown: UTF-8 without control characters other than tab and line ends.
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    text.chars().all(shown).then_some(text)
}

/// Text where the bytes are text, else `{"base64": …}`.
pub fn text_or_base64(bytes: &[u8]) -> Value {
    match as_text(bytes) {
        Some(text) => Value::from(text),
        None => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

pub(super) fn parse_json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|e| format!("expected JSON: {e}"))
}

/// Replaces every PEM certificate and public key inside a JSON value by a description that still holds the PEM.
pub(super) fn read_pem_inside(value: Value) -> Value {
    match value {
        Value::String(text) => pem(&text).unwrap_or(Value::String(text)),
        Value::Array(items) => items.into_iter().map(read_pem_inside).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, read_pem_inside(value)))
                .collect(),
        ),
        other => other,
    }
}

/// One description for a text of one PEM block, an array for several; `None` if it isn't PEM and nothing else.
fn pem(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with("-----BEGIN ") {
        return None;
    }
    let mut blocks: Vec<Value> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let block = rest.get(start..)?;
        let (label, body) = block.strip_prefix("-----BEGIN ")?.split_once("-----")?;
        let end_marker = format!("-----END {label}-----");
        let (encoded, after) = body.split_once(&end_marker)?;
        let der = STANDARD.decode(encoded.split_whitespace().collect::<String>()).ok();
        let whole = block.get(..block.len() - after.len())?;
        let mut shown = match (label, der) {
            ("CERTIFICATE", Some(der)) => certificate_fields(&der).unwrap_or_default(),
            ("PUBLIC KEY", Some(der)) => key_fields(&der),
            _ => Map::new(),
        };
        shown.insert("pem".to_owned(), Value::from(whole));
        blocks.push(Value::Object(shown));
        rest = after;
    }
    match blocks.len() {
        1 => blocks.pop(),
        _ => Some(Value::Array(blocks)),
    }
}

fn certificate_fields(der: &[u8]) -> Result<Map<String, Value>, String> {
    let certificate = Certificate::from_der(der).map_err(|e| e.to_string())?;
    let mut fields = Map::new();
    fields.insert("subject".to_owned(), Value::from(certificate.subject()));
    fields.insert("key_id".to_owned(), Value::from(hex::encode(certificate.key_id())));
    Ok(fields)
}

/// The id by which CCF knows a key: SHA-256 of its SubjectPublicKeyInfo.
fn key_fields(der: &[u8]) -> Map<String, Value> {
    Map::from_iter([("key_id".to_owned(), Value::from(hex::encode(sha256(der))))])
}

/// A certificate in DER.
pub(super) fn certificate_der(der: &[u8]) -> Result<Value, String> {
    let mut fields = certificate_fields(der)?;
    fields.insert("base64".to_owned(), Value::from(STANDARD.encode(der)));
    Ok(Value::Object(fields))
}

/// A public key in DER: a SubjectPublicKeyInfo, which starts with a sequence that starts with a sequence.
pub(super) fn public_key_der(der: &[u8]) -> Result<Value, String> {
    if !is_public_key(der) {
        return Err("expected a public key in DER".to_owned());
    }
    let mut fields = key_fields(der);
    fields.insert("base64".to_owned(), Value::from(STANDARD.encode(der)));
    Ok(Value::Object(fields))
}

fn is_public_key(der: &[u8]) -> bool {
    let body = match der {
        [0x30, 0x81, len, body @ ..] if usize::from(*len) == body.len() => body,
        [0x30, 0x82, high, low, body @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == body.len() => body,
        [0x30, len, body @ ..] if *len < 0x80 && usize::from(*len) == body.len() => body,
        _ => return false,
    };
    // The algorithm: a sequence that starts with an object identifier.
    matches!(body, [0x30, len, 0x06, ..] if *len < 0x80)
}

/// A serialised Merkle tree.
pub(super) fn tree(bytes: &[u8]) -> Result<Value, String> {
    let view = TreeView::parse(bytes).map_err(|e| e.to_string())?;
    Ok(json!({
        "flushed": view.flushed,
        "leaves": view.leaves().map(hex::encode).collect::<Vec<_>>(),
        "peaks": view.peaks().map(hex::encode).collect::<Vec<_>>(),
        "root": view.root().map(hex::encode),
    }))
}

/// A COSE_Sign1 in base64.
pub(super) fn cose_base64(text: &str) -> Result<Value, String> {
    let bytes = STANDARD.decode(text).map_err(|e| format!("not base64: {e}"))?;
    cose(&bytes)
}

/// A COSE_Sign1: its headers by name, its payload, its signature.
pub fn cose(bytes: &[u8]) -> Result<Value, String> {
    let message: Cbor = ciborium::from_reader(bytes).map_err(|e| format!("expected COSE: {e}"))?;
    let parts = match &message {
        Cbor::Tag(18, parts) => parts.as_array(),
        _ => None,
    };
    let Some([protected, unprotected, payload, signature]) = parts.map(Vec::as_slice) else {
        return Err("expected a COSE_Sign1: tag 18 and an array of four".to_owned());
    };
    let mut shown = Map::new();
    let protected = protected
        .as_bytes()
        .ok_or("COSE: the protected header is not a byte string")?;
    if !protected.is_empty() {
        let headers: Cbor =
            ciborium::from_reader(protected.as_slice()).map_err(|e| format!("COSE protected header: {e}"))?;
        add_headers(&headers, &mut shown);
    }
    let mut outside = Map::new();
    add_headers(unprotected, &mut outside);
    if !outside.is_empty() {
        shown.insert("unprotected".to_owned(), Value::Object(outside));
    }
    let payload = match payload {
        Cbor::Bytes(bytes) => describe_payload(bytes),
        _ => Value::from("detached"),
    };
    shown.insert("payload".to_owned(), payload);
    if let Cbor::Bytes(bytes) = signature {
        shown.insert("signature".to_owned(), Value::from(STANDARD.encode(bytes)));
    }
    Ok(Value::Object(shown))
}

fn describe_payload(bytes: &[u8]) -> Value {
    if let Ok(key) = public_key_der(bytes) {
        return key;
    }
    match parse_json(bytes) {
        Ok(json) => read_pem_inside(json),
        Err(_) => text_or_base64(bytes),
    }
}

fn add_headers(headers: &Cbor, shown: &mut Map<String, Value>) {
    for (label, value) in headers.as_map().map(Vec::as_slice).unwrap_or_default() {
        match (label.as_integer().and_then(|i| i64::try_from(i).ok()), label.as_text()) {
            (Some(1), _) => insert(shown, "alg", algorithm(value)),
            (Some(3), _) => insert(shown, "content_type", plain(value)),
            (Some(4), _) => insert(shown, "kid", plain(value)),
            (Some(15), _) => add_claims(value, shown),
            (Some(395), _) => insert(shown, "verifiable_data_structure", plain(value)),
            (Some(396), _) => insert(shown, "proofs", plain(value)),
            (_, Some("ccf.v1")) => add_headers(value, shown),
            (_, Some(name)) if name.ends_with("created_at") => insert(shown, name, time(value)),
            (_, Some(name)) => insert(shown, name, plain(value)),
            (Some(number), _) => insert(shown, &number.to_string(), plain(value)),
            (None, None) => {}
        }
    }
}

/// CBOR web token claims.
fn add_claims(claims: &Cbor, shown: &mut Map<String, Value>) {
    for (label, value) in claims.as_map().map(Vec::as_slice).unwrap_or_default() {
        match label.as_integer().and_then(|i| i64::try_from(i).ok()) {
            Some(1) => insert(shown, "issuer", plain(value)),
            Some(2) => insert(shown, "subject", plain(value)),
            Some(6) => insert(shown, "issued_at", time(value)),
            Some(number) => insert(shown, &format!("claim {number}"), plain(value)),
            None => {}
        }
    }
}

fn insert(shown: &mut Map<String, Value>, name: &str, value: Value) {
    shown.insert(name.to_owned(), value);
}

fn algorithm(value: &Cbor) -> Value {
    let number = value.as_integer().and_then(|i| i64::try_from(i).ok());
    match number {
        Some(-7) => Value::from("ES256"),
        Some(-35) => Value::from("ES384"),
        Some(-36) => Value::from("ES512"),
        Some(-37) => Value::from("PS256"),
        Some(-38) => Value::from("PS384"),
        Some(-39) => Value::from("PS512"),
        Some(-8) => Value::from("EdDSA"),
        _ => plain(value),
    }
}

/// CBOR as JSON. Byte strings are text where they are text, hex where they are short, base64 otherwise.
fn plain(value: &Cbor) -> Value {
    match value {
        Cbor::Text(text) => Value::from(text.as_str()),
        Cbor::Bool(bool) => Value::from(*bool),
        Cbor::Float(float) => json!(float),
        Cbor::Integer(number) => {
            let number = i128::from(*number);
            i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), Value::from)
        }
        Cbor::Bytes(bytes) => match as_text(bytes) {
            Some(text) => Value::from(text),
            None if bytes.len() <= 64 => Value::from(hex::encode(bytes)),
            None => json!({ "base64": STANDARD.encode(bytes) }),
        },
        Cbor::Array(items) => items.iter().map(plain).collect(),
        Cbor::Map(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| {
                    let name = match plain(name) {
                        Value::String(name) => name,
                        other => other.to_string(),
                    };
                    (name, plain(value))
                })
                .collect(),
        ),
        Cbor::Tag(number, inner) => json!({ "tag": number, "value": plain(inner) }),
        _ => Value::Null,
    }
}

/// Seconds since 1970 as a date.
fn time(value: &Cbor) -> Value {
    let seconds = match value {
        Cbor::Tag(1, inner) => inner.as_integer(),
        other => other.as_integer(),
    };
    match seconds.and_then(|i| u32::try_from(i).ok()) {
        Some(seconds) => Value::from(date(u64::from(seconds))),
        None => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The COSE signature of the specification's example 10.3, with a signature of zeros.
    fn example() -> Vec<u8> {
        let mut protected = Vec::new();
        let headers = Cbor::Map(vec![
            (Cbor::from(1), Cbor::from(-35)),
            (Cbor::from(4), Cbor::Bytes(b"df77".to_vec())),
            (Cbor::from(395), Cbor::from(2)),
            (
                Cbor::from(15),
                Cbor::Map(vec![
                    (Cbor::from(6), Cbor::from(0x6824_6497)),
                    (Cbor::from(1), Cbor::from("service.example.com")),
                    (Cbor::from(2), Cbor::from("ledger.signature")),
                ]),
            ),
            (
                Cbor::from("ccf.v1"),
                Cbor::Map(vec![(Cbor::from("txid"), Cbor::from("2.16"))]),
            ),
        ]);
        ciborium::into_writer(&headers, &mut protected).unwrap();
        let parts = vec![
            Cbor::Bytes(protected),
            Cbor::Map(vec![]),
            Cbor::Null,
            Cbor::Bytes(vec![0; 3]),
        ];
        let mut out = Vec::new();
        ciborium::into_writer(&Cbor::Tag(18, Box::new(Cbor::Array(parts))), &mut out).unwrap();
        out
    }

    #[test]
    fn a_cose_signature_is_shown_by_the_names_of_its_headers() {
        let expected = json!({
            "alg": "ES384", "kid": "df77", "verifiable_data_structure": 2,
            "issued_at": "2025-05-14T09:38:31Z", "issuer": "service.example.com", "subject": "ledger.signature",
            "txid": "2.16", "payload": "detached", "signature": "AAAA",
        });
        assert_eq!(cose(&example()).unwrap(), expected);
    }

    #[test]
    fn every_truncation_of_a_cose_message_is_refused() {
        let bytes = example();
        for end in 0..bytes.len() {
            assert!(cose(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn control_characters_are_not_text() {
        assert_eq!(as_text(b"a\tb\n"), Some("a\tb\n"));
        assert_eq!(as_text(&[0; 8]), None);
        assert_eq!(as_text("Zürich".as_bytes()), Some("Zürich"));
    }

    #[test]
    fn unfinished_pem_stays_text() {
        let text = Value::from("-----BEGIN CERTIFICATE-----\nAAAA");
        assert_eq!(read_pem_inside(text.clone()), text);
    }
}
