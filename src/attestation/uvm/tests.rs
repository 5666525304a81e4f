//! Messages made here, each with one thing wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;

use super::*;
use crate::attestation::testing::{Issued, authority, ids, key, oid, tlv};
use crate::crypto::sha256;

const PURPOSE: &str = "1.2.3.4";

/// What a message is made of.
struct Made {
    chain: Vec<Vec<u8>>,
    algorithm: i64,
    did: Option<String>,
    feed: Option<&'static str>,
    content_type: Option<Cbor>,
    payload: &'static str,
}

const MEASURED: &str = r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":"7"}"#;

fn chain(leaf_usage: Option<u8>, purposes: &[&str]) -> Vec<Vec<u8>> {
    let (root, middle, leaf) = (key(1), key(2), key(3));
    let top = Issued {
        subject: "root",
        issuer: "root",
        key: &root,
        signer: &root,
        serial: 1,
        extensions: authority(1, 1),
    };
    let issuing = Issued {
        subject: "issuing",
        issuer: "root",
        key: &middle,
        signer: &root,
        serial: 2,
        extensions: authority(2, 1),
    };
    let mut extensions = ids(3, 2);
    let purposes: Vec<u8> = purposes.iter().flat_map(|purpose| oid(purpose)).collect();
    extensions.push(("2.5.29.37", false, tlv(0x30, &[&purposes])));
    extensions.extend(leaf_usage.map(|usage| ("2.5.29.15", true, vec![3, 2, 0, usage])));
    let end = Issued {
        subject: "leaf",
        issuer: "issuing",
        key: &leaf,
        signer: &middle,
        serial: 3,
        extensions,
    };
    vec![end.der(), issuing.der(), top.der()]
}

fn did_of(der: &[u8]) -> String {
    format!(
        "did:x509:0:sha256:{}::eku:{PURPOSE}",
        URL_SAFE_NO_PAD.encode(sha256(der))
    )
}

fn good() -> Made {
    let chain = chain(Some(0x80), &["1.2.3", PURPOSE]);
    Made {
        did: Some(did_of(&chain[2])),
        chain,
        algorithm: -35,
        feed: Some("feed"),
        content_type: Some(Cbor::Text(JSON.into())),
        payload: MEASURED,
    }
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let certificates = self.chain.iter().cloned().map(Cbor::Bytes).collect();
        let mut header = vec![
            (Cbor::from(1), Cbor::from(self.algorithm)),
            (Cbor::from(33), Cbor::Array(certificates)),
        ];
        let text = |text: &str| Cbor::Text(text.into());
        header.extend(self.did.as_deref().map(|did| (text("iss"), text(did))));
        header.extend(self.feed.map(|feed| (text("feed"), text(feed))));
        header.extend(self.content_type.clone().map(|found| (Cbor::from(3), found)));
        let encode = |value: &Cbor| {
            let mut bytes = Vec::new();
            ciborium::into_writer(value, &mut bytes).unwrap();
            bytes
        };
        let protected = Cbor::Bytes(encode(&Cbor::Map(header)));
        let payload = Cbor::Bytes(self.payload.as_bytes().to_vec());
        let signed = [
            text("Signature1"),
            protected.clone(),
            Cbor::Bytes(vec![]),
            payload.clone(),
        ];
        let signature = key(3).sign_fixed(&encode(&Cbor::Array(signed.to_vec())));
        let fields = vec![protected, Cbor::Map(vec![]), payload, Cbor::Bytes(signature)];
        encode(&Cbor::Tag(18, Box::new(Cbor::Array(fields))))
    }

    fn failures(&self) -> Vec<(Check, String)> {
        let statement = Statement::read(&self.bytes());
        let failed = |(check, outcome): &(Check, Outcome)| match outcome {
            Outcome::Failed(failure) => Some((*check, failure.text.clone())),
            _ => None,
        };
        statement.checks.iter().filter_map(failed).collect()
    }
}

/// The one check that fails where `change` is made, and its text.
#[track_caller]
fn fails(change: impl FnOnce(&mut Made)) -> (Check, String) {
    let mut made = good();
    change(&mut made);
    let mut failures = made.failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
    failures.remove(0)
}

#[test]
fn a_message_that_is_whole_holds() {
    let statement = Statement::read(&good().bytes());
    assert!(statement.holds(), "{:?}", statement.checks);
    assert_eq!((statement.svn, statement.measurement.as_deref()), (Some(7), Some("aa")));
    assert_eq!(statement.feed.as_deref(), Some("feed"));
    assert_eq!(statement.windows().count(), 3);
}

#[test]
fn the_did_may_name_any_certificate_above_the_leaf_and_every_purpose_must_be_there() {
    let mut made = good();
    made.did = Some(did_of(&made.chain[1]));
    assert_eq!(made.failures(), []);
    made.did = Some(format!("{}::eku:1.2.3", did_of(&made.chain[1])));
    assert_eq!(made.failures(), []);
    let (check, text) = fails(|made| made.did = Some(format!("{}::eku:1.2.5", did_of(&made.chain[2]))));
    assert_eq!((check, text.as_str()), (Check::UvmDid, "EKU not found: 1.2.5"));
    let (check, text) = fails(|made| made.did = Some(did_of(&made.chain[0])));
    assert_eq!(
        (check, text.as_str()),
        (Check::UvmDid, "invalid certificate fingerprint")
    );
    let (check, text) = fails(|made| made.did = Some(format!("{}::subject:CN:leaf", did_of(&made.chain[2]))));
    assert_eq!(
        (check, text.as_str()),
        (Check::UvmDid, "unsupported DID policy: subject")
    );
    let (check, text) = fails(|made| made.did = Some("did:web:x".into()));
    assert!(check == Check::UvmDid && text.starts_with("invalid DID string"));
}

#[test]
fn a_leaf_that_may_not_sign_is_refused_and_one_that_is_not_restricted_is_not() {
    let with = |usage| {
        let mut made = good();
        made.chain = chain(usage, &[PURPOSE]);
        made.failures()
    };
    assert_eq!(with(None), []);
    assert_eq!(with(Some(0xc0)), []);
    assert!(matches!(&with(Some(0x20))[..], [(Check::UvmDid, text)] if text.contains("key usage")));
}

#[test]
fn the_chain_is_two_certificates_at_least_and_a_path() {
    let (check, text) = fails(|made| made.chain.truncate(1));
    assert_eq!((check, text.as_str()), (Check::UvmDid, "certificate chain too short"));
    let (check, text) = fails(|made| drop(made.chain.remove(1)));
    assert!(
        check == Check::UvmDid && text.starts_with("certificate chain verification failed"),
        "{text}"
    );
    let (check, text) = fails(|made| made.chain[2][20] ^= 1);
    assert!(
        check == Check::UvmDid && text.starts_with("certificate chain verification failed"),
        "{text}"
    );
    // One certificate alone may stand there without an array.
    let mut made = good();
    made.chain.truncate(2);
    made.did = Some(did_of(&made.chain[1]));
    assert_eq!(made.failures(), []);
}

#[test]
fn the_path_is_held_to_strict_rules() {
    // A leaf that does not say which of its issuer's keys signed it: RFC 5280 asks for that, and many do not.
    let (middle, leaf) = (key(2), key(3));
    let without_identifiers = Issued {
        subject: "leaf",
        issuer: "issuing",
        key: &leaf,
        signer: &middle,
        serial: 3,
        extensions: vec![("2.5.29.37", false, tlv(0x30, &[&oid(PURPOSE)]))],
    };
    let (check, text) = fails(|made| made.chain[0] = without_identifiers.der());
    assert_eq!(check, Check::UvmDid);
    assert!(text.contains("no authority key identifier"), "{text}");
}

#[test]
fn a_chain_of_more_than_16_certificates_is_not_read() {
    // The root, which signed itself, as often as it takes.
    let of = |length: usize| {
        let mut made = good();
        let last = made.chain[2].clone();
        made.chain.resize(length, last);
        made.failures()
    };
    assert_eq!(of(16), []);
    assert!(matches!(&of(17)[..], [(Check::UvmFormat, _)]));
}

#[test]
fn what_the_header_needs_is_there() {
    for change in [
        (|made: &mut Made| made.did = None) as fn(&mut Made),
        |made| made.feed = None,
        |made| made.chain.clear(),
    ] {
        let (check, _) = fails(change);
        assert_eq!(check, Check::UvmFormat);
    }
    let (check, text) = fails(|made| made.content_type = None);
    assert_eq!(check, Check::UvmContentType);
    assert_eq!(text, "Unexpected payload content type none, expected application/json");
    let (_, text) = fails(|made| made.content_type = Some(Cbor::from(50)));
    assert_eq!(text, "Unexpected payload content type 50, expected application/json");
    let mut other = good();
    other.algorithm = -8;
    let failures = other.failures();
    assert_eq!(failures[0].0, Check::UvmAlgorithm);
    assert_eq!(
        failures[0].1,
        "Signature algorithm -8 is not one of expected: RSA, ECDSA"
    );
    assert_eq!(failures[1].0, Check::UvmSignature);
    // RSA by name, and an elliptic-curve key.
    assert_eq!(fails(|made| made.algorithm = -38).0, Check::UvmSignature);
    assert_eq!(fails(|made| made.algorithm = -7).0, Check::UvmSignature);
}

#[test]
fn the_payload_has_a_measurement_and_an_svn_that_is_a_number() {
    let with = |payload: &'static str| fails(|made| made.payload = payload);
    for payload in [
        "",
        "no json",
        "[]",
        r#"{"x-ms-sevsnpvm-guestsvn":"7"}"#,
        r#"{"x-ms-sevsnpvm-launchmeasurement":1,"x-ms-sevsnpvm-guestsvn":"7"}"#,
    ] {
        assert_eq!(with(payload).0, Check::UvmPayload, "{payload}");
    }
    let mut made = good();
    made.payload = r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":8}"#;
    assert_eq!(Statement::read(&made.bytes()).svn, Some(8));
    for (payload, expected) in [
        (
            r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":"-7"}"#,
            "Unable to parse sevsnpvm_guest_svn value -7",
        ),
        (
            r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":""}"#,
            "Unable to parse sevsnpvm_guest_svn value ",
        ),
        (
            r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":-7}"#,
            "Unexpected type number",
        ),
        (
            r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":7.5}"#,
            "Unexpected type number",
        ),
        (
            r#"{"x-ms-sevsnpvm-launchmeasurement":"aa","x-ms-sevsnpvm-guestsvn":[7]}"#,
            "Unexpected type array",
        ),
        (r#"{"x-ms-sevsnpvm-launchmeasurement":"aa"}"#, "Unexpected type null"),
    ] {
        let (check, text) = with(payload);
        assert!(check == Check::UvmPayload && text.starts_with(expected), "{text}");
    }
}

#[test]
fn what_is_too_long_is_not_read() {
    let statement = Statement::read(&vec![0xd2; MAX_BYTES + 1]);
    assert!(matches!(
        &statement.checks[..],
        [(Check::UvmFormat, Outcome::Failed(_))]
    ));
}
