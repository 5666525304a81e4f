//! Members' signed requests: COSE_Sign1 in the body (recovery specification, section 3.4).
//!
//! Answers are CCF's, word for word where it has words. The validity dates of a member's certificate are not looked at,
//! as in CCF: a service that was down for a year must still hear its members.

use crate::governance::{Reason, Refusal};
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::parameters;
use crate::crypto::cose::{CREATED_AT, MESSAGE_TYPE, MessageType, PROPOSAL_ID, Sign1};
use crate::crypto::digest::{Digest, sha256};
use crate::crypto::ecdsa::other_form;
use crate::crypto::{Certificate, Error};
use crate::kv::store::Transaction;
use crate::tables::names;
use crate::tables::values::{self, MemberInfo};

/// The only content type of signed requests.
pub const CONTENT_TYPE: &str = "application/cose";
/// What goes with an answer 401: header `www-authenticate`.
pub const CHALLENGE: &str = "COSE-SIGN1 realm=\"Signed request access\"";

/// ES256, ES384, ES512.
const ALGORITHMS: [i64; 3] = [-7, -35, -36];

/// A request that a member has signed. It may hold a recovery share: it can't be printed, and is wiped on drop.
pub struct SignedRequest {
    /// Who signed it: hex of the digest of the certificate.
    pub member_id: String,
    /// When, in the member's own words: seconds since 1970.
    pub created_at: u64,
    /// The proposal it is about, as signed.
    pub proposal_id: Option<String>,
    /// What was signed.
    pub payload: Zeroizing<Vec<u8>>,
    /// SHA-256 of the signature's bytes: what makes ids of proposals unique.
    pub signature_digest: Digest,
    /// The same of the signature's other form, `r‖n−s`, which anybody can make of it and which is as valid.
    pub other_signature_digest: Digest,
    /// SHA-256 of the certificate that it was checked with, as the table holds it.
    pub certificate_digest: Digest,
    /// The whole message, as it is kept in the ledger.
    pub raw: Zeroizing<Vec<u8>>,
}

impl SignedRequest {
    /// Checks that the signer is still who it was when the request was authenticated: it has waited since, and others have
    /// written. With `active` also that the member is still active.
    ///
    /// # Errors
    /// [`Reason::Unauthenticated`].
    pub fn still_stands(&self, transaction: &Transaction<'_>, active: bool) -> Result<(), Refusal> {
        let certificate = transaction.get(names::MEMBERS_CERTS, self.member_id.as_bytes());
        if certificate.map(sha256) != Some(self.certificate_digest) {
            return Err(Refusal::unauthenticated(policy(active), "Signer is not a known member"));
        }
        require_active(transaction, &self.member_id, active)
    }

    /// Checks that the member named in the path is the one who signed.
    ///
    /// # Errors
    /// [`Reason::InvalidName`], also if the name is not an id.
    pub fn require_member(&self, member_id: &str) -> Result<(), Refusal> {
        parameters::member_id(member_id)?;
        match self.member_id == member_id {
            true => Ok(()),
            false => Err(Refusal::new(
                Reason::InvalidName,
                "Authenticated member id does not match URL",
            )),
        }
    }

    /// Checks that the proposal named in the path is the one that was signed about.
    ///
    /// # Errors
    /// [`Reason::InvalidName`], also if the name is not an id.
    pub fn require_proposal(&self, proposal_id: &str) -> Result<(), Refusal> {
        parameters::proposal_id(proposal_id)?;
        match self.proposal_id.as_deref() == Some(proposal_id) {
            true => Ok(()),
            false => Err(Refusal::new(
                Reason::InvalidName,
                "Authenticated proposal id does not match URL",
            )),
        }
    }

    /// A text field of the payload, which must be a JSON object.
    ///
    /// # Errors
    /// [`Reason::InvalidInput`].
    pub fn text_field(&self, name: &str) -> Result<Zeroizing<String>, Refusal> {
        let wrong = || {
            let message =
                format!("Signed request body is not a JSON object containing required string field \"{name}\"");
            Refusal::new(Reason::InvalidInput, message)
        };
        let mut reader = serde_json::Deserializer::from_slice(&self.payload);
        let found = TextField(name).deserialize(&mut reader).map_err(|_| wrong())?;
        reader.end().map_err(|_| wrong())?;
        found.ok_or_else(wrong)
    }
}

/// Reads one field of an object, of which nothing else is kept, however deep it is.
struct TextField<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for TextField<'_> {
    type Value = Option<Zeroizing<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextField<'_> {
    type Value = Option<Zeroizing<String>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match name == self.0 {
                // Of a name that occurs twice the last counts, as in CCF.
                true => found = Some(Zeroizing::new(map.next_value()?)),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Finds out who signed a request, and that it is of the kind that the endpoint takes; with `active` also that the
/// member is active.
///
/// # Errors
/// [`Reason::Unauthenticated`] with the policy that refused it, and why. The answer needs [`CHALLENGE`].
pub fn authenticate(
    transaction: &Transaction<'_>,
    content_type: Option<&str>,
    body: &[u8],
    expected: MessageType,
    active: bool,
) -> Result<SignedRequest, Refusal> {
    let request = signed(transaction, content_type, body, expected)
        .map_err(|why| Refusal::unauthenticated(policy(active), why))?;
    require_active(transaction, &request.member_id, active)?;
    Ok(request)
}

fn policy(active: bool) -> &'static str {
    match active {
        true => "active_member_cose_sign1",
        false => "member_cose_sign1",
    }
}

fn require_active(transaction: &Transaction<'_>, member_id: &str, active: bool) -> Result<(), Refusal> {
    match active && !is_active(transaction, member_id) {
        true => Err(Refusal::unauthenticated(
            policy(active),
            "Signer is not an ACTIVE member",
        )),
        false => Ok(()),
    }
}

/// Whether a member may propose and vote.
pub(super) fn is_active(transaction: &Transaction<'_>, member_id: &str) -> bool {
    transaction
        .get(names::MEMBERS_INFO, member_id.as_bytes())
        .and_then(|info| values::from_json::<MemberInfo>(info).ok())
        .is_some_and(|info| info.status.eq_ignore_ascii_case("Active"))
}

/// All that a signature says; the error is why it is not believed.
fn signed(
    transaction: &Transaction<'_>,
    content_type: Option<&str>,
    body: &[u8],
    expected: MessageType,
) -> Result<SignedRequest, String> {
    match content_type {
        None => return Err("Missing content-type header".to_owned()),
        Some(CONTENT_TYPE) => {}
        Some(_) => return Err(format!("Content type is not set to {CONTENT_TYPE}")),
    }
    let message = Sign1::parse(body).map_err(|why| match why {
        Error::CoseTagMissing => "COSE_Sign1 is not tagged".to_owned(),
        other => format!("Failed to decode COSE_Sign1: {other}"),
    })?;
    let algorithm = message.algorithm().ok_or("Missing algorithm in protected header")?;
    let kid = message.kid().ok_or("Missing kid in protected header")?;
    let created_at = message
        .named_header(CREATED_AT)
        .ok_or("Missing created_at in protected header")?
        .as_integer()
        .and_then(|seconds| i64::try_from(seconds).ok())
        .ok_or("Header parameter created_at is not an integer")?;
    let created_at = u64::try_from(created_at).map_err(|_| "Header parameter created_at must be positive")?;
    let kind = text_header(&message, MESSAGE_TYPE)?;
    let proposal_id = text_header(&message, PROPOSAL_ID)?.map(str::to_owned);
    if !ALGORITHMS.contains(&algorithm) {
        return Err(format!("Unsupported algorithm: {algorithm}"));
    }
    let certificate = transaction
        .get(names::MEMBERS_CERTS, kid)
        .ok_or("Signer is not a known member")?;
    let certificate_digest = sha256(certificate);
    // The kid is a key of the table, and may still be anything: ids are made of ASCII.
    let member_id = std::str::from_utf8(kid).map_err(|_| "Signer is not a known member")?;
    let invalid = |_| "Failed to validate COSE Sign1".to_owned();
    let certificate = Certificate::from_pem(&String::from_utf8_lossy(certificate)).map_err(invalid)?;
    message.verify(certificate.key(), None).map_err(invalid)?;
    let other = other_form(certificate.key().curve(), message.signature()).map_err(invalid)?;
    let wanted = expected.as_str();
    match kind {
        None => {
            return Err(format!(
                "Missing {MESSAGE_TYPE}, expected {MESSAGE_TYPE} to be {wanted}"
            ));
        }
        Some(kind) if kind != wanted => {
            return Err(format!(
                "Found {MESSAGE_TYPE} set to {kind}, expected {MESSAGE_TYPE} to be {wanted}"
            ));
        }
        Some(_) => {}
    }
    Ok(SignedRequest {
        member_id: member_id.to_owned(),
        created_at,
        proposal_id,
        payload: Zeroizing::new(message.payload().unwrap_or_default().to_vec()),
        signature_digest: sha256(message.signature()),
        other_signature_digest: sha256(&other),
        certificate_digest,
        raw: Zeroizing::new(body.to_vec()),
    })
}

/// A header that may be absent, but must be a text.
fn text_header<'a>(message: &'a Sign1, name: &str) -> Result<Option<&'a str>, String> {
    message
        .named_header(name)
        .map(|value| {
            value
                .as_text()
                .ok_or_else(|| format!("Header parameter {name} is not a text"))
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use ciborium::Value as Cbor;
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Curve;
    use crate::format::domain::WriteSet;
    use crate::governance::testing::{Member, encode, service};
    use crate::kv::store::Store;

    fn headers(member: &Member) -> Vec<(Cbor, Cbor)> {
        let algorithm = member.key.verifying_key().curve().cose_algorithm();
        vec![
            (1.into(), algorithm.into()),
            (4.into(), Cbor::Bytes(member.id.clone().into_bytes())),
            (MESSAGE_TYPE.into(), "ballot".into()),
            (CREATED_AT.into(), 7.into()),
            (PROPOSAL_ID.into(), "about".into()),
        ]
    }

    /// What is said of a body signed as a ballot.
    fn said(store: &Store, body: &[u8]) -> Result<SignedRequest, String> {
        authenticate(
            &store.transaction(),
            Some(CONTENT_TYPE),
            body,
            MessageType::Ballot,
            true,
        )
        .map_err(|error| {
            let policy = "active_member_cose_sign1";
            assert_eq!(error.reason, Reason::Unauthenticated { policy });
            error.message
        })
    }

    fn why(store: &Store, body: &[u8]) -> String {
        said(store, body).err().expect("it was believed")
    }

    #[test]
    fn a_signed_request_says_who_when_and_what() {
        for curve in [Curve::P256, Curve::P384] {
            let member = Member::new(1, curve);
            let body = member.sign("ballot", 1_700_000_000, Some("about"), b"{\"a\":\"b\",\"c\":1}");
            let request = said(&service(&[&member]), &body).ok().unwrap();
            assert_eq!(request.member_id, member.id);
            assert_eq!(request.created_at, 1_700_000_000);
            assert_eq!(request.proposal_id.as_deref(), Some("about"));
            assert_eq!(*request.raw, body);
            assert_eq!(
                request.signature_digest,
                sha256(Sign1::parse(&body).unwrap().signature())
            );
            assert_eq!(*request.text_field("a").unwrap(), "b");
            assert_eq!(request.text_field("c").unwrap_err().reason, Reason::InvalidInput);
            assert!(request.require_member(&member.id).is_ok());
            assert_eq!(
                request.require_member(&"0".repeat(64)).unwrap_err().reason,
                Reason::InvalidName
            );
            assert_eq!(
                request.require_proposal(&"0".repeat(64)).unwrap_err().reason,
                Reason::InvalidName
            );
        }
    }

    #[test]
    fn only_the_right_content_type_is_read() {
        let member = Member::new(1, Curve::P384);
        let store = service(&[&member]);
        let body = member.sign("ack", 1, None, b"{}");
        let message = |content_type, kind| match authenticate(&store.transaction(), content_type, &body, kind, false) {
            Ok(_) => None,
            Err(error) => {
                let policy = "member_cose_sign1";
                assert_eq!(error.reason, Reason::Unauthenticated { policy });
                Some(error.message)
            }
        };
        assert_eq!(message(Some("application/cose"), MessageType::Ack), None);
        assert_eq!(message(None, MessageType::Ack).unwrap(), "Missing content-type header");
        for other in ["application/json", "application/cose; charset=utf-8", ""] {
            assert_eq!(
                message(Some(other), MessageType::Ack).unwrap(),
                "Content type is not set to application/cose"
            );
        }
    }

    #[test]
    fn a_request_of_another_kind_is_refused() {
        let member = Member::new(1, Curve::P384);
        let store = service(&[&member]);
        assert_eq!(
            why(&store, &member.sign("proposal", 1, None, b"")),
            "Found ccf.gov.msg.type set to proposal, expected ccf.gov.msg.type to be ballot"
        );
        let mut without = headers(&member);
        without.remove(2);
        assert_eq!(
            why(&store, &member.sign_with(without, b"")),
            "Missing ccf.gov.msg.type, expected ccf.gov.msg.type to be ballot"
        );
    }

    #[test]
    fn a_header_that_is_missing_or_not_what_it_should_be_is_named() {
        let member = Member::new(1, Curve::P384);
        let store = service(&[&member]);
        for (position, value, message) in [
            (0, None, "Missing algorithm in protected header"),
            (0, Some(Cbor::from("ES384")), "Missing algorithm in protected header"),
            (0, Some(Cbor::from(-8)), "Unsupported algorithm: -8"),
            (1, None, "Missing kid in protected header"),
            (
                1,
                Some(Cbor::from(member.id.clone())),
                "Missing kid in protected header",
            ),
            (1, Some(Cbor::Bytes(vec![0xff; 64])), "Signer is not a known member"),
            (
                2,
                Some(Cbor::from(1)),
                "Header parameter ccf.gov.msg.type is not a text",
            ),
            (3, None, "Missing created_at in protected header"),
            (3, Some(Cbor::from(-1)), "Header parameter created_at must be positive"),
            (
                3,
                Some(Cbor::from("now")),
                "Header parameter created_at is not an integer",
            ),
            (
                3,
                Some(Cbor::from(u64::MAX)),
                "Header parameter created_at is not an integer",
            ),
            (
                4,
                Some(Cbor::from(1)),
                "Header parameter ccf.gov.msg.proposal_id is not a text",
            ),
        ] {
            let mut headers = headers(&member);
            match value {
                Some(value) => headers[position].1 = value,
                None => drop(headers.remove(position)),
            }
            assert_eq!(why(&store, &member.sign_with(headers, b"")), message);
        }
    }

    #[test]
    fn only_a_known_active_members_own_signature_counts() {
        let [member, other] = [1, 2].map(|number| Member::new(number, Curve::P384));
        let mut store = service(&[&member]);
        assert_eq!(
            why(&store, &other.sign("ballot", 1, None, b"")),
            "Signer is not a known member"
        );
        // In the name of the first, with the key of the other.
        let forged = other.sign_with(headers(&member), b"");
        assert_eq!(why(&store, &forged), "Failed to validate COSE Sign1");
        let mut es256 = headers(&member);
        es256[0].1 = (-7).into();
        assert_eq!(
            why(&store, &member.sign_with(es256, b"")),
            "Failed to validate COSE Sign1"
        );

        let body = member.sign("ballot", 1, None, b"yes");
        let mut altered = body.clone();
        let payload = altered.windows(3).position(|bytes| bytes == b"yes").unwrap();
        altered[payload] = b'n';
        assert_eq!(why(&store, &altered), "Failed to validate COSE Sign1");

        assert!(said(&store, &body).is_ok());
        let mut writes = WriteSet::new();
        writes.put(names::MEMBERS_INFO, member.id.as_bytes(), r#"{"status":"Accepted"}"#);
        store.apply(2, &writes);
        assert_eq!(why(&store, &body), "Signer is not an ACTIVE member");
        let transaction = store.transaction();
        assert!(authenticate(&transaction, Some(CONTENT_TYPE), &body, MessageType::Ballot, false).is_ok());
    }

    #[test]
    fn a_request_stands_only_as_long_as_its_signer_is_who_it_was() {
        let [member, other] = [1, 2].map(|number| Member::new(number, Curve::P384));
        let mut store = service(&[&member]);
        let request = said(&store, &member.sign("ballot", 1, None, b"yes")).ok().unwrap();
        assert!(request.still_stands(&store.transaction(), true).is_ok());
        let mut writes = WriteSet::new();
        writes.put(names::MEMBERS_INFO, member.id.as_bytes(), r#"{"status":"Accepted"}"#);
        store.apply(2, &writes);
        assert!(request.still_stands(&store.transaction(), true).is_err());
        writes.put(names::MEMBERS_CERTS, member.id.as_bytes(), other.certificate.to_pem());
        store.apply(3, &writes);
        assert!(request.still_stands(&store.transaction(), false).is_err());
    }

    #[test]
    fn a_message_that_is_not_one_tagged_item_is_refused() {
        let member = Member::new(1, Curve::P384);
        let store = service(&[&member]);
        let body = member.sign("ballot", 1, None, b"");
        assert_eq!(why(&store, &body[1..]), "COSE_Sign1 is not tagged");
        assert!(why(&store, &[&body[..], b"\0"].concat()).starts_with("Failed to decode COSE_Sign1"));
        assert!(why(&store, b"").starts_with("Failed to decode COSE_Sign1"));
        assert!(why(&store, b"{}").starts_with("Failed to decode COSE_Sign1"));
        let Cbor::Tag(_, content) = ciborium::from_reader(&body[..]).unwrap() else {
            panic!("no tag");
        };
        let Cbor::Array(mut fields) = *content else {
            panic!("no array");
        };
        fields[2] = Cbor::Null;
        let detached = encode(&Cbor::Tag(18, Box::new(Cbor::Array(fields))));
        assert_eq!(why(&store, &detached), "Failed to validate COSE Sign1");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), flip in 0_usize..400) {
            let member = Member::new(1, Curve::P256);
            let store = service(&[&member]);
            prop_assert!(said(&store, &body).is_err());
            let mut altered = member.sign("ballot", 1, None, b"payload");
            let at = flip % altered.len();
            altered[at] ^= 1 << (flip % 8);
            prop_assert!(said(&store, &altered).is_err());
        }
    }
}
