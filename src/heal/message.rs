//! What nodes say to each other: three messages, in the shapes of every generation. Recovery specification, sections 7.1
//! and 7.3.
//!
//! A body is read strictly into the parts that are judged, each bounded; a name of these that occurs twice in its object is
//! refused, because two readers need not agree on which counts. Names that mean nothing here are skipped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::claim::Claim;
use super::generation::{Generation, Kind};
use super::refusal::Refusal;
use crate::attestation::Evidence;
use crate::crypto::Certificate;
use crate::format::TxId;
use crate::shown::excerpt;
use crate::tables::json::Opaque;

/// Bytes of a body: twice the largest sum of parts.
pub const MAX_BODY_BYTES: usize = 512 << 10;
/// Bytes of an id or address: a DNS name has at most 253.
pub const MAX_NAME_BYTES: usize = 512;
/// Bytes of a service's certificate.
const MAX_CERTIFICATE_BYTES: usize = 16 << 10;
/// Bytes of a quote in JSON: a report of SNP has 1.2 kB.
const MAX_QUOTE_BYTES: usize = 64 << 10;
/// Bytes of endorsements in JSON: certificates of AMD have 6.5 kB, what vouches for a UVM 11 kB.
const MAX_ENDORSEMENTS_BYTES: usize = 128 << 10;
/// Bytes of a body that an answer repeats, as CCF does.
const MAX_REPEATED_BYTES: usize = 4 << 10;

/// What a node says of itself with every message. Nothing of it is verified by reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The name that stays the same over recoveries; before 2026 its published address.
    pub id: String,
    /// Where clients reach it, `host:port`.
    pub address: String,
    /// Certificate of the service that it has begun, PEM.
    pub service: String,
    /// What vouches for it.
    pub evidence: Evidence,
}

/// What a message says beside that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// What its ledger has.
    Gossip(Claim),
    /// Its vote, for whom it is sent to.
    Vote,
    /// It opens.
    IAmOpen {
        /// Fingerprint of the service that it recovered, in hex (2026).
        previous_service: Option<String>,
        /// What its ledger had (2026).
        claim: Option<Claim>,
    },
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub info: Info,
    /// What it says.
    pub body: Body,
}

#[derive(Deserialize)]
struct Raw {
    info: Option<Opaque>,
    txid: Option<Opaque>,
    prev_service_fingerprint: Option<Opaque>,
}

#[derive(Deserialize)]
struct RawInfo {
    quote_info: Option<Opaque>,
    // Until 2025.
    intrinsic_id: Option<Opaque>,
    published_network_address: Option<Opaque>,
    service_identity: Option<Opaque>,
    // 2026.
    identity: Option<Opaque>,
    service_cert_der: Option<Opaque>,
}

#[derive(Deserialize)]
struct RawIdentity {
    intrinsic_id: Option<Opaque>,
    published_address: Option<Opaque>,
}

impl Message {
    /// Which message it is.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Gossip(_) => Kind::Gossip,
            Body::Vote => Kind::Vote,
            Body::IAmOpen { .. } => Kind::IAmOpen,
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Refusal::Input`], in CCF's words where something is missing.
    pub fn parse(generation: Generation, kind: Kind, body: &[u8]) -> Result<Message, Refusal> {
        if body.len() > MAX_BODY_BYTES {
            return Err(input(format!("The message has more than {MAX_BODY_BYTES} bytes.")));
        }
        let raw: Raw = serde_json::from_slice(body).map_err(|why| input(not_an_object(body, &why)))?;
        let required = |part: Option<Opaque>, name: &str| part.ok_or_else(|| missing("", name, body));
        let info = read_info(generation, &required(raw.info, "info")?)?;
        let body = match kind {
            Kind::Gossip => {
                let txid = required(raw.txid, "txid")?;
                Body::Gossip(read_claim(generation, &txid)?)
            }
            Kind::Vote => Body::Vote,
            // Whether all of 2026 say them is not known: what is there is read.
            Kind::IAmOpen if generation.says_views() => Body::IAmOpen {
                previous_service: match raw.prev_service_fingerprint {
                    Some(text) => Some(name("prev_service_fingerprint", &text)?),
                    None => None,
                },
                claim: match raw.txid {
                    Some(txid) => Some(read_claim(generation, &txid)?),
                    None => None,
                },
            },
            Kind::IAmOpen => Body::IAmOpen {
                previous_service: None,
                claim: None,
            },
        };
        Ok(Message { info, body })
    }

    /// The body as a node of that generation reads it, with sorted names as CCF writes it.
    ///
    /// # Errors
    /// In words, where the node's own certificate is none, or it gossips no view to nodes that ask for one.
    pub fn write(&self, generation: Generation) -> Result<Vec<u8>, String> {
        let mut body = json!({ "info": self.info.to_json(generation)? });
        let mut put = |name: &str, value: Value| {
            if let Some(fields) = body.as_object_mut() {
                fields.insert(name.to_owned(), value);
            }
        };
        match &self.body {
            Body::Gossip(claim) => put("txid", write_claim(generation, *claim)?),
            Body::IAmOpen {
                previous_service,
                claim,
            } if generation.says_views() => {
                if let Some(fingerprint) = previous_service {
                    put("prev_service_fingerprint", fingerprint.as_str().into());
                }
                if let Some(claim) = claim {
                    put("txid", write_claim(generation, *claim)?);
                }
            }
            Body::Vote | Body::IAmOpen { .. } => {}
        }
        Ok(body.to_string().into_bytes())
    }
}

impl Info {
    /// As messages of a generation have it.
    ///
    /// # Errors
    /// In words, where the service's certificate is none.
    pub fn to_json(&self, generation: Generation) -> Result<Value, String> {
        let quote_info = quote_info(&self.evidence);
        if generation != Generation::Decision2026 {
            return Ok(json!({
                "quote_info": quote_info,
                "published_network_address": self.address,
                "intrinsic_id": self.id,
                "service_identity": self.service,
            }));
        }
        let certificate = Certificate::from_pem(&self.service)
            .map_err(|why| format!("the certificate of this node's service can't be read: {why}"))?;
        Ok(json!({
            "quote_info": quote_info,
            "identity": { "intrinsic_id": self.id, "published_address": self.address },
            "service_cert_der": STANDARD.encode(certificate.der()),
        }))
    }
}

/// `quote_info`, of what was decoded.
pub(super) fn quote_info(evidence: &Evidence) -> Value {
    let mut info = json!({
        "endorsements": STANDARD.encode(&evidence.endorsements),
        "format": evidence.format,
        "quote": STANDARD.encode(&evidence.quote),
    });
    if let (Some(cose), Some(fields)) = (&evidence.uvm_endorsements, info.as_object_mut()) {
        fields.insert("uvm_endorsements".to_owned(), STANDARD.encode(cose).into());
    }
    info
}

fn read_info(generation: Generation, text: &Opaque) -> Result<Info, Refusal> {
    let raw: RawInfo = typed("info", text)?;
    let required = |part: Option<Opaque>, name: &str| part.ok_or_else(|| missing("info", name, text.text().as_bytes()));
    let evidence = evidence(&required(raw.quote_info, "quote_info")?)?;
    if generation != Generation::Decision2026 {
        let service: String = bounded_text(
            "info/service_identity",
            &required(raw.service_identity, "service_identity")?,
        )?;
        let certificate = Certificate::from_pem(&service)
            .map_err(|why| input(format!("At #/info/service_identity: {}.", excerpt(&why.to_string()))))?;
        return Ok(Info {
            id: name("info/intrinsic_id", &required(raw.intrinsic_id, "intrinsic_id")?)?,
            address: name(
                "info/published_network_address",
                &required(raw.published_network_address, "published_network_address")?,
            )?,
            service: certificate.to_pem(),
            evidence,
        });
    }
    let text = required(raw.identity, "identity")?;
    let identity: RawIdentity = typed("info/identity", &text)?;
    let part =
        |part: Option<Opaque>, name: &str| part.ok_or_else(|| missing("info/identity", name, text.text().as_bytes()));
    let der = bounded_text(
        "info/service_cert_der",
        &required(raw.service_cert_der, "service_cert_der")?,
    )?;
    let certificate = STANDARD
        .decode(&der)
        .ok()
        .and_then(|der| Certificate::from_der(&der).ok());
    let certificate =
        certificate.ok_or_else(|| input("At #/info/service_cert_der: it is no certificate in base64.".to_owned()))?;
    Ok(Info {
        id: name(
            "info/identity/intrinsic_id",
            &part(identity.intrinsic_id, "intrinsic_id")?,
        )?,
        address: name(
            "info/identity/published_address",
            &part(identity.published_address, "published_address")?,
        )?,
        service: certificate.to_pem(),
        evidence,
    })
}

fn read_claim(generation: Generation, text: &Opaque) -> Result<Claim, Refusal> {
    match generation.says_views() {
        true => typed::<TxId>("txid", text).map(Claim::from),
        false => Ok(Claim {
            view: None,
            seqno: typed("txid", text)?,
        }),
    }
}

fn write_claim(generation: Generation, claim: Claim) -> Result<Value, String> {
    match (generation.says_views(), claim.view) {
        (false, _) => Ok(claim.seqno.into()),
        (true, Some(view)) => {
            let seqno = claim.seqno;
            Ok(TxId { view, seqno }.to_string().into())
        }
        (true, None) => Err(format!(
            "the view of the ledger's last signature at {} is not known",
            claim.seqno
        )),
    }
}

/// The evidence, of an object in which every name occurs once.
fn evidence(value: &Opaque) -> Result<Evidence, Refusal> {
    #[derive(Deserialize)]
    struct Parts {
        quote: Option<Opaque>,
        endorsements: Option<Opaque>,
        uvm_endorsements: Option<Opaque>,
    }
    let parts: Parts = typed("info/quote_info", value)?;
    for (part, most) in [
        (parts.quote, MAX_QUOTE_BYTES),
        (parts.endorsements, MAX_ENDORSEMENTS_BYTES),
        (parts.uvm_endorsements, MAX_ENDORSEMENTS_BYTES),
    ] {
        if part.is_some_and(|part| part.text().len() > most) {
            return Err(input(format!(
                "At #/info/quote_info: a part has more than {most} bytes."
            )));
        }
    }
    let evidence = Evidence::from_quote_info(value.text().as_bytes());
    let mut evidence = evidence.map_err(|why| input(format!("At #/info/quote_info: {why}.")))?;
    // Of 2023, before there was any of this.
    evidence.endorsed_tcb = None;
    let odd = |text: &str| text.len() > 32 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match odd(&evidence.format) {
        true => Err(input(
            "At #/info/quote_info: format is not one that any release has written.".to_owned(),
        )),
        false => Ok(evidence),
    }
}

/// An id or address: it gets into a ledger, a log and a configuration.
fn name(at: &str, value: &Opaque) -> Result<String, Refusal> {
    let text: String = typed(at, value)?;
    match text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
        true => Err(input(format!(
            "At #/{at}: expected 1 to {MAX_NAME_BYTES} bytes of text without control characters."
        ))),
        false => Ok(text),
    }
}

fn bounded_text(at: &str, value: &Opaque) -> Result<String, Refusal> {
    match value.text().len() > MAX_CERTIFICATE_BYTES {
        true => Err(input(format!(
            "At #/{at}: it has more than {MAX_CERTIFICATE_BYTES} bytes."
        ))),
        false => typed(at, value),
    }
}

fn typed<T: DeserializeOwned>(at: &str, value: &Opaque) -> Result<T, Refusal> {
    serde_json::from_str(value.text()).map_err(|why| input(format!("At #/{at}: {}.", excerpt(&why.to_string()))))
}

fn input(why: String) -> Refusal {
    Refusal::Input(why)
}

fn missing(at: &str, name: &str, object: &[u8]) -> Refusal {
    input(format!(
        "At #/{at}: Missing required field '{name}' in object: {}",
        repeated(object)
    ))
}

/// What CCF says of a body that is JSON, but no object; or what the parser says.
fn not_an_object(body: &[u8], why: &serde_json::Error) -> String {
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    match (is_json, is_object) {
        (true, false) => format!("At #/: Expected object, found: {}", repeated(body)),
        _ => format!("At #/: {}", excerpt(&why.to_string())),
    }
}

/// A message in an answer: compact and sorted, as CCF has it, and no more than a page.
fn repeated(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    if text.len() <= MAX_REPEATED_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(MAX_REPEATED_BYTES);
    format!("{}...", text.get(..end).unwrap_or_default())
}
