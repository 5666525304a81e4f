//! UVM endorsements: who signed the measurement of the utility VM, in a COSE_Sign1 with its certificates. Attestation
//! specification, section 6, in its order and words.

mod did;

use serde_json::Value;

use crate::crypto::AnyKey;
use crate::crypto::cose::Sign1;
use crate::crypto::x509::{AnyCertificate, PathError, Rules, Validity, check_path};

use super::judgement::{Check, Outcome};

pub use did::{Did, DidError};

const JSON: &str = "application/json";
const MEASUREMENT: &str = "x-ms-sevsnpvm-launchmeasurement";
const SVN: &str = "x-ms-sevsnpvm-guestsvn";
/// Bytes of a message that is read at all; real ones have 11 kB.
const MAX_BYTES: usize = 1 << 20;
const DIGITAL_SIGNATURE: usize = 0;

/// What was signed, and by whom. Says nothing unless all of `checks` passed.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Text label `iss`: a did:x509.
    pub did: Option<String>,
    /// Text label `feed`.
    pub feed: Option<String>,
    /// The security version number in the payload.
    pub svn: Option<u64>,
    /// The launch measurement in the payload, hex.
    pub measurement: Option<String>,
    /// Subjects of the certificates, leaf first.
    pub subjects: Vec<String>,
    /// When the certificates are valid, in the same order.
    pub validities: Vec<Validity>,
    /// Whether the message holds in itself: format, algorithm, DID, signature, content type, payload.
    pub(super) checks: Vec<(Check, Outcome)>,
}

impl Statement {
    /// Reads and verifies a message as far as it goes without a report, roots or a time.
    pub fn read(bytes: &[u8]) -> Statement {
        let mut statement = Statement {
            did: None,
            feed: None,
            svn: None,
            measurement: None,
            subjects: Vec::new(),
            validities: Vec::new(),
            checks: Vec::new(),
        };
        let message = match bytes.len() {
            ..=MAX_BYTES => Sign1::parse(bytes).map_err(|why| why.to_string()),
            _ => Err("it is longer than 1 MiB".to_owned()),
        };
        let headers = message.and_then(|message| statement.headers(&message).map(|chain| (message, chain)));
        match headers {
            Ok((message, chain)) => statement.judge(&message, &chain),
            Err(why) => {
                let text = match why.starts_with("not a tagged COSE_Sign1") {
                    true => "Failed to parse COSE_Sign1 tag",
                    false => "Failed to parse the UVM endorsements",
                };
                let failed = Outcome::failed(text, why, "a tagged COSE_Sign1 with alg, x5chain, iss and feed");
                statement.checks.push((Check::UvmFormat, failed));
            }
        }
        statement
    }

    /// What stands in the header: the certificates, leaf first.
    fn headers(&mut self, message: &Sign1) -> Result<Vec<Result<AnyCertificate, String>>, String> {
        let text = |name: &str| message.named_header(name).and_then(|value| value.as_text());
        self.did = text("iss").map(str::to_owned);
        self.feed = text("feed").map(str::to_owned);
        let chain = message.x5chain().map_err(|why| why.to_string())?;
        let lacking = [
            (message.algorithm().is_none(), "label 1, the algorithm"),
            (chain.is_empty(), "label 33, the certificates"),
            (self.did.is_none(), "iss, the issuer's DID"),
            (self.feed.is_none(), "feed"),
        ];
        if let Some((_, what)) = lacking.iter().find(|(lacks, _)| *lacks) {
            return Err(format!("its protected header has no {what}"));
        }
        let read = |der: &[u8]| AnyCertificate::from_der(der).map_err(|why| why.to_string());
        Ok(chain.into_iter().map(read).collect())
    }

    fn judge(&mut self, message: &Sign1, chain: &[Result<AnyCertificate, String>]) {
        let algorithm = message.algorithm().unwrap_or_default();
        let known = Outcome::of(message.scheme().is_some(), || {
            Outcome::failed(
                format!("Signature algorithm {algorithm} is not one of expected: RSA, ECDSA"),
                algorithm.to_string(),
                "PS256, PS384, PS512, ES256, ES384 or ES512",
            )
        });
        let read: Result<Vec<AnyCertificate>, String> = chain.iter().cloned().collect();
        if let Ok(read) = &read {
            self.subjects = read.iter().map(AnyCertificate::subject).collect();
            self.validities = read.iter().map(AnyCertificate::validity).collect();
        }
        let leaf = match chain.first() {
            Some(Ok(leaf)) => leaf.key().ok(),
            _ => None,
        };
        let did = self.did.clone().unwrap_or_default();
        let identity = read
            .map_err(ChainOrDid::Unreadable)
            .and_then(|read| identify(&did, &read));
        let content_type = message.content_type().map(str::to_owned);
        let content_type = content_type.or_else(|| message.content_format().map(|number| number.to_string()));
        let payload = self.payload(message);
        self.checks = vec![
            (Check::UvmFormat, Outcome::Passed),
            (Check::UvmAlgorithm, known),
            (
                Check::UvmDid,
                match identity {
                    Ok(()) => Outcome::Passed,
                    Err(why) => why.into_outcome(&did),
                },
            ),
            (Check::UvmSignature, signature(message, leaf)),
            (
                Check::UvmContentType,
                Outcome::of(content_type.as_deref() == Some(JSON), || {
                    let found = content_type.as_deref().unwrap_or("none");
                    Outcome::failed(
                        format!("Unexpected payload content type {found}, expected {JSON}"),
                        found,
                        JSON,
                    )
                }),
            ),
            (Check::UvmPayload, payload),
        ];
    }

    /// Takes measurement and SVN from the payload.
    fn payload(&mut self, message: &Sign1) -> Outcome {
        const EXPECTED: &str = "a JSON object with a measurement of 96 hex digits and an SVN";
        let failed = |text: &str, found: &str| Outcome::failed(text, found, EXPECTED);
        let Some(payload) = message.payload() else {
            return failed("the UVM endorsements have no payload", "a detached payload");
        };
        let value: Value = match serde_json::from_slice(payload) {
            Ok(value) => value,
            Err(why) => return failed("the UVM endorsements' payload is not JSON", &why.to_string()),
        };
        let measurement = value.get(MEASUREMENT).and_then(Value::as_str);
        let Some(measurement) = measurement else {
            return failed(
                "the UVM endorsements' payload has no launch measurement",
                "no such text",
            );
        };
        self.measurement = Some(measurement.to_owned());
        match value.get(SVN) {
            Some(Value::String(digits)) => match svn_of_text(digits) {
                Some(svn) => self.svn = Some(svn),
                None => {
                    return failed(
                        &format!(
                            "Unable to parse sevsnpvm_guest_svn value {digits} to unsigned in UVM endorsements payload"
                        ),
                        digits,
                    );
                }
            },
            Some(Value::Number(number)) if number.is_u64() => self.svn = number.as_u64(),
            other => {
                let kind = match other {
                    None | Some(Value::Null) => "null",
                    Some(Value::Bool(_)) => "boolean",
                    Some(Value::Number(_)) => "number",
                    Some(Value::Array(_)) => "array",
                    _ => "object",
                };
                return failed(
                    &format!(
                        "Unexpected type {kind} for sevsnpvm_guest_svn in UVM endorsements payload, expected string or unsigned integer"
                    ),
                    &other.map(Value::to_string).unwrap_or_default(),
                );
            }
        }
        Outcome::Passed
    }

    /// What each certificate is called where something is said of it, and when it is valid.
    pub(super) fn windows(&self) -> impl Iterator<Item = (&str, Validity)> {
        self.subjects
            .iter()
            .map(String::as_str)
            .zip(self.validities.iter().copied())
    }

    /// Whether every check of the message in itself passed.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|(_, outcome)| *outcome == Outcome::Passed)
    }

    /// The checks of the message in itself, in CCF's order.
    pub fn checks(&self) -> &[(Check, Outcome)] {
        &self.checks
    }
}

/// An SVN as digits: a number, compared as one.
pub fn svn_of_text(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

fn signature(message: &Sign1, leaf: Option<AnyKey>) -> Outcome {
    let failed = |found: &str| Outcome::failed("Signature verification failed", found, "a signature by the leaf's key");
    let Some(key) = leaf else {
        return failed("a leaf without a key that is known here");
    };
    match message.verify_embedded(&key) {
        Ok(()) => Outcome::Passed,
        Err(why) => failed(&why.to_string()),
    }
}

/// Why certificates are not whom the DID names.
enum ChainOrDid {
    Unreadable(String),
    Path(PathError),
    Did(DidError),
}

impl ChainOrDid {
    fn into_outcome(self, did: &str) -> Outcome {
        match self {
            ChainOrDid::Unreadable(why) => Outcome::failed(
                "certificate chain verification failed: a certificate can't be read",
                why,
                "certificates",
            ),
            ChainOrDid::Path(why) => Outcome::failed(
                format!("certificate chain verification failed: {why}"),
                why.to_string(),
                "each certificate issued by the next",
            ),
            ChainOrDid::Did(why) => Outcome::failed(why.to_string(), did, why.expected()),
        }
    }
}

/// Resolves the DID: the chain is one, has the certificate that the DID names, and a leaf as its policies say.
fn identify(did: &str, chain: &[AnyCertificate]) -> Result<(), ChainOrDid> {
    let did = Did::parse(did).map_err(ChainOrDid::Did)?;
    let [leaf, above @ ..] = chain else {
        return Err(ChainOrDid::Did(DidError::ChainTooShort));
    };
    if above.is_empty() {
        return Err(ChainOrDid::Did(DidError::ChainTooShort));
    }
    check_path(chain, Rules::Strict).map_err(ChainOrDid::Path)?;
    if !above.iter().any(|certificate| did.names(certificate.der())) {
        return Err(ChainOrDid::Did(DidError::Fingerprint));
    }
    for wanted in &did.extended_key_usages {
        if !leaf.is_for(wanted) {
            return Err(ChainOrDid::Did(DidError::ExtendedKeyUsage(wanted.clone())));
        }
    }
    if leaf.key_usage(DIGITAL_SIGNATURE) == Some(false) {
        return Err(ChainOrDid::Did(DidError::KeyUsage));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
