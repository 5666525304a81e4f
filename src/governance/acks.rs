//! State digests and their acknowledgement: how a member becomes active (recovery specification, section 3.3).

use crate::governance::{Reason, Refusal};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};

use super::request::SignedRequest;
use super::{answers, parameters};
use crate::kv::store::Transaction;
use crate::tables::json::{Fields, Json};
use crate::tables::values::{self, MemberInfo, ServiceInfo, ServiceStatus, Signature};
use crate::tables::{SINGLETON_KEY, names};

/// `members.acks`; fields of other versions are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ack {
    /// Root that the member is to acknowledge, in hex.
    pub(super) state_digest: String,
    /// The member's signed acknowledgement, base64.
    cose_sign1_req: Option<String>,
    other: Fields,
}

impl<'de> Deserialize<'de> for Ack {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut other = Fields::deserialize(deserializer)?;
        Ok(Ack {
            state_digest: other.take("state_digest")?,
            cose_sign1_req: other.take_optional("cose_sign1_req")?,
            other,
        })
    }
}

impl Ack {
    pub(super) fn read(transaction: &Transaction<'_>, member_id: &str) -> Option<Self> {
        values::from_json(transaction.get(names::MEMBERS_ACKS, member_id.as_bytes())?).ok()
    }

    fn write(&self, transaction: &mut Transaction<'_>, member_id: &str) {
        let mut fields = self.other.clone();
        fields.set("state_digest", &self.state_digest);
        fields.set_some("cose_sign1_req", self.cose_sign1_req.as_ref());
        transaction.put(names::MEMBERS_ACKS, member_id, fields.to_json());
    }

    pub(super) fn to_api(&self, member_id: &str) -> Json {
        answers::answer(&answers::StateDigest {
            member_id,
            state_digest: &self.state_digest,
        })
    }
}

/// What an acknowledgement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The member is active from now on.
    pub newly_active: bool,
    /// The member gets a share, so all shares are to be issued anew, in the same transaction.
    pub reshare_needed: bool,
}

/// Sets a member's state digest to the root of the last signature, for the member to acknowledge. Answers it.
///
/// # Errors
/// if the member of the path did not sign; [`Reason::Fault`] while the service has no signature.
pub fn update_state_digest(
    transaction: &mut Transaction<'_>,
    request: &SignedRequest,
    member_id: &str,
) -> Result<Json, Refusal> {
    require_signer(request, member_id)?;
    let signature: Signature = transaction
        .get(names::SIGNATURES, &SINGLETON_KEY)
        .and_then(|signature| values::from_json(signature).ok())
        .ok_or_else(|| Refusal::new(Reason::Fault, "Service has no signatures to ack yet - try again soon."))?;
    let mut ack = Ack::read(transaction, member_id).unwrap_or_default();
    ack.state_digest = signature.root.into();
    ack.write(transaction, member_id);
    Ok(ack.to_api(member_id))
}

/// Takes a member's acknowledgement of its state digest, and makes the member active.
///
/// # Errors
/// if the member of the path did not sign, [`Reason::InvalidInput`], [`Reason::OtherDigest`]; [`Reason::NotAllowed`] without
/// a digest to acknowledge; [`Reason::Fault`] for a member without a record.
pub fn acknowledge(
    transaction: &mut Transaction<'_>,
    request: &SignedRequest,
    member_id: &str,
) -> Result<Acknowledged, Refusal> {
    require_signer(request, member_id)?;
    let mut ack = Ack::read(transaction, member_id).ok_or_else(|| {
        Refusal::new(
            Reason::NotAllowed,
            format!("No ACK record exists for member m[{member_id}]."),
        )
    })?;
    let received = request.text_field("stateDigest")?;
    if *received != ack.state_digest {
        let (expected, received) = (&ack.state_digest, parameters::echo(&received));
        return Err(Refusal::new(
            Reason::OtherDigest,
            format!("Submitted state digest is not valid.\nExpected\n {expected}\nReceived\n {received}"),
        ));
    }
    let mut info: MemberInfo = transaction
        .get(names::MEMBERS_INFO, member_id.as_bytes())
        .and_then(|info| values::from_json(info).ok())
        .ok_or_else(|| {
            Refusal::new(
                Reason::Fault,
                format!("Error activating member: there is no record of member {member_id}"),
            )
        })?;
    let status = service_status(transaction);
    let newly_active = !info.status.eq_ignore_ascii_case("Active");
    let takes_part = takes_part_in_recovery(transaction, member_id, &info);
    let recovering = matches!(
        status,
        Some(ServiceStatus::Recovering | ServiceStatus::WaitingForRecoveryShares)
    );
    if newly_active && takes_part && recovering {
        return Err(Refusal::new(
            Reason::InvalidInput,
            "Recovery members cannot be activated during recovery.",
        ));
    }
    if newly_active && takes_part && status.is_none() {
        return Err(Refusal::new(Reason::Fault, "No service currently available."));
    }
    // Services of 1.x to 4.x kept an HTTP signature here.
    ack.other.remove("signed_req");
    ack.cose_sign1_req = Some(STANDARD.encode(request.raw.as_slice()));
    ack.write(transaction, member_id);
    if newly_active {
        info.status = "Active".to_owned();
        transaction.put(names::MEMBERS_INFO, member_id, info.to_json());
    }
    Ok(Acknowledged {
        newly_active,
        reshare_needed: newly_active && takes_part && status == Some(ServiceStatus::Open),
    })
}

fn require_signer(request: &SignedRequest, member_id: &str) -> Result<(), Refusal> {
    parameters::member_id(member_id)?;
    let signer = &request.member_id;
    match signer == member_id {
        true => Ok(()),
        false => Err(Refusal::new(
            Reason::OtherSigner,
            format!(
                "Member ID from path parameter ({member_id}) does not match member ID from body signature ({signer})."
            ),
        )),
    }
}

fn service_status(transaction: &Transaction<'_>) -> Option<ServiceStatus> {
    let info: ServiceInfo = values::from_json(transaction.get(names::SERVICE_INFO, &SINGLETON_KEY)?).ok()?;
    Some(info.status)
}

/// Whether a member gets a share or the full key: by its role, or, before there were roles, by its encryption key.
fn takes_part_in_recovery(transaction: &Transaction<'_>, member_id: &str, info: &MemberInfo) -> bool {
    match info.recovery_role.as_deref() {
        Some(role) => matches!(role, "Participant" | "Owner"),
        None => transaction
            .get(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, member_id.as_bytes())
            .is_some(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::Curve;
    use crate::crypto::cose::MessageType;
    use crate::format::domain::WriteSet;
    use crate::governance::request::{CONTENT_TYPE, authenticate};
    use crate::governance::testing::{Member, put_json, read_json, service};
    use crate::kv::store::Store;

    /// A service in `status`, with a member that was just accepted, and a signature over a root of `aa…`.
    fn world(status: &str, member_info: Value) -> (Store, Member) {
        let member = Member::new(1, Curve::P384);
        let mut store = service(&[&member]);
        let mut writes = WriteSet::new();
        let info = json!({"cert": "service", "status": status});
        put_json(&mut writes, names::SERVICE_INFO, &SINGLETON_KEY, &info);
        put_json(&mut writes, names::MEMBERS_INFO, member.id.as_bytes(), &member_info);
        let signature = json!({
            "seqno": 1, "view": 2, "root": "aa".repeat(32), "node": "bb".repeat(32), "sig": "",
        });
        put_json(&mut writes, names::SIGNATURES, &SINGLETON_KEY, &signature);
        store.apply(2, &writes);
        (store, member)
    }

    fn signed(transaction: &Transaction<'_>, member: &Member, kind: MessageType, payload: &Value) -> SignedRequest {
        let body = member.sign(kind.as_str(), 1, None, payload.to_string().as_bytes());
        authenticate(transaction, Some(CONTENT_TYPE), &body, kind, false)
            .ok()
            .unwrap()
    }

    /// Updates the digest and acknowledges it.
    fn acknowledged(status: &str, member_info: Value) -> (Result<Acknowledged, Refusal>, Value) {
        let (store, member) = world(status, member_info);
        let mut transaction = store.transaction();
        let request = signed(&transaction, &member, MessageType::StateDigest, &json!({}));
        let digest = update_state_digest(&mut transaction, &request, &member.id).unwrap();
        assert_eq!(digest, json!({"memberId": member.id, "stateDigest": "aa".repeat(32)}));
        let request = signed(&transaction, &member, MessageType::Ack, &digest.to_value().unwrap());
        let answer = acknowledge(&mut transaction, &request, &member.id);
        let info = read_json(&transaction, names::MEMBERS_INFO, member.id.as_bytes()).unwrap();
        if answer.is_ok() {
            let ack = read_json(&transaction, names::MEMBERS_ACKS, member.id.as_bytes()).unwrap();
            assert_eq!(ack["cose_sign1_req"], STANDARD.encode(request.raw.as_slice()));
        }
        (answer, info)
    }

    #[test]
    fn an_acknowledgement_makes_active_and_asks_for_shares_only_where_due() {
        let accepted = |role: &str| json!({"status": "Accepted", "recovery_role": role, "kept": 1});
        for (status, info, newly_active, reshare_needed) in [
            ("Open", accepted("Participant"), true, true),
            ("Open", accepted("Owner"), true, true),
            ("Open", accepted("NonParticipant"), true, false),
            ("Open", json!({"status": "Accepted"}), true, false),
            (
                "Open",
                json!({"status": "Active", "recovery_role": "Owner"}),
                false,
                false,
            ),
            ("Opening", accepted("Participant"), true, false),
            ("Recovering", accepted("NonParticipant"), true, false),
            (
                "WaitingForRecoveryShares",
                json!({"status": "Active", "recovery_role": "Owner"}),
                false,
                false,
            ),
        ] {
            let expected = Acknowledged {
                newly_active,
                reshare_needed,
            };
            let (answer, after) = acknowledged(status, info.clone());
            assert_eq!(answer, Ok(expected), "{status} {info}");
            assert_eq!(
                (&after["status"], after.get("kept")),
                (&json!("Active"), info.get("kept"))
            );
        }
    }

    #[test]
    fn a_recovery_member_does_not_become_active_during_a_recovery() {
        for status in ["Recovering", "WaitingForRecoveryShares"] {
            let info = json!({"status": "Accepted", "recovery_role": "Participant"});
            let (answer, after) = acknowledged(status, info);
            assert_eq!(answer.unwrap_err().reason, Reason::InvalidInput);
            assert_eq!(after["status"], "Accepted");
        }
    }

    #[test]
    fn only_ones_own_digest_is_acknowledged_and_only_the_one_given() {
        let (store, member) = world("Open", json!({"status": "Accepted"}));
        let mut transaction = store.transaction();
        let acks = |transaction: &mut Transaction<'_>, id: &str, payload: Value| {
            let request = signed(transaction, &member, MessageType::Ack, &payload);
            let error = acknowledge(transaction, &request, id).unwrap_err();
            error.reason
        };
        let digest = json!({"stateDigest": "aa".repeat(32)});
        let early = acks(&mut transaction, &member.id, digest.clone());
        assert_eq!(early, Reason::NotAllowed);
        transaction.put(
            names::MEMBERS_ACKS,
            member.id.as_bytes(),
            format!(r#"{{"state_digest":"{}","signed_req":{{}}}}"#, "aa".repeat(32)),
        );
        let other = acks(&mut transaction, &"0".repeat(64), digest.clone());
        assert_eq!(other, Reason::OtherSigner);
        let wrong = acks(&mut transaction, &member.id, json!({"stateDigest": "bb"}));
        assert_eq!(wrong, Reason::OtherDigest);
        assert_eq!(acks(&mut transaction, &member.id, json!({})), Reason::InvalidInput);
        let request = signed(&transaction, &member, MessageType::Ack, &digest);
        assert!(acknowledge(&mut transaction, &request, &member.id).is_ok());
        let ack = read_json(&transaction, names::MEMBERS_ACKS, member.id.as_bytes()).unwrap();
        assert_eq!(ack.get("signed_req"), None);
    }
}
