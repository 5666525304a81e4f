//! What governance answers to who only reads (recovery specification, section 3.3): members, users, proposals, service.
//!
//! Pure functions over a transaction, field for field as a real CCF 7 node answers; lists are sorted by id. A value of a
//! table that can't be understood is left out of a list, and an error 500 where it was asked for. What concerns nodes
//! and code stands in [`code`].

pub mod code;

use crate::governance::{Reason, Refusal};
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::acks::Ack;
use super::answers::{self, answer};
use super::parameters;
use super::proposals::DEFAULT_WINDOW;
use super::resolution::ProposalInfo;
use crate::format::{Seqno, TxId, View};
use crate::kv::store::Transaction;
use crate::tables::json::{Json, Opaque};
use crate::tables::values::{self, MemberInfo, RecoveryShares, ServiceConfig, ServiceInfo};
use crate::tables::{SINGLETON_KEY, names};

const DEFAULT_VALIDITY_DAYS: u64 = 365;

/// `GET /gov/service/info`. `view_of` tells in which view a seqno was written.
///
/// # Errors
/// [`Reason::NotFound`] before there is a service.
pub fn service_info(transaction: &Transaction<'_>, view_of: impl Fn(Seqno) -> View) -> Result<Json, Refusal> {
    let info: ServiceInfo = value(transaction, names::SERVICE_INFO)?
        .ok_or_else(|| Refusal::new(Reason::NotFound, "Service info not yet available"))?;
    // This is what CCF calls it; it is an earlier write about the service.
    let previous = info.previous_service_identity_version.map(|seqno| TxId {
        view: view_of(seqno),
        seqno,
    });
    let configuration = value(transaction, names::SERVICE_CONFIG)?.map(|config: ServiceConfig| {
        let number = |name: &str, default| config.other.read(name).unwrap_or(default);
        answers::Configuration {
            maximum_node_certificate_validity_days: number(
                "maximum_node_certificate_validity_days",
                DEFAULT_VALIDITY_DAYS,
            ),
            maximum_service_certificate_validity_days: number(
                "maximum_service_certificate_validity_days",
                DEFAULT_VALIDITY_DAYS,
            ),
            recent_cose_proposals_window_size: number("recent_cose_proposals_window_size", DEFAULT_WINDOW),
            recovery_threshold: config.recovery_threshold,
        }
    });
    Ok(answer(&answers::Service {
        certificate: info.cert,
        configuration,
        creation_transaction_id: info.current_service_create_txid,
        previous_service_creation_transaction_id: previous,
        recovery_count: info.recovery_count.unwrap_or(0),
        service_data: info.service_data,
        status: info.status,
    }))
}

/// `GET /gov/service/constitution`: the script itself.
///
/// # Errors
/// [`Reason::NotFound`] without one.
pub fn constitution(transaction: &Transaction<'_>) -> Result<String, Refusal> {
    value(transaction, names::CONSTITUTION)?.ok_or_else(|| Refusal::new(Reason::NotFound, "Constitution not found"))
}

/// `GET /gov/service/members`.
pub fn members(transaction: &Transaction<'_>) -> Json {
    list(each(transaction, names::MEMBERS_INFO, |id, info| {
        describe_member(transaction, id, &info)
    }))
}

/// `GET /gov/service/members/{memberId}`.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::NotFound`].
pub fn member(transaction: &Transaction<'_>, member_id: &str) -> Result<Json, Refusal> {
    let info = entry(transaction, names::MEMBERS_INFO, parameters::member_id(member_id)?)?
        .ok_or_else(|| Refusal::new(Reason::NotFound, format!("Member m[{member_id}] does not exist.")))?;
    Ok(describe_member(transaction, member_id, &info))
}

fn describe_member(transaction: &Transaction<'_>, id: &str, info: &MemberInfo) -> Json {
    let encryption_key = text(transaction, names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, id);
    let role = match (&info.recovery_role, &encryption_key) {
        (Some(role), _) => role.as_str(),
        // Before there were roles, whoever had a key took part.
        (None, Some(_)) => "Participant",
        (None, None) => "NonParticipant",
    };
    answer(&answers::Member {
        certificate: text(transaction, names::MEMBERS_CERTS, id),
        member_data: info.other.get("member_data").cloned(),
        member_id: id.to_owned(),
        recovery_role: role.to_owned(),
        public_encryption_key: encryption_key,
        status: info.status.clone(),
    })
}

/// `GET /gov/service/users`.
pub fn users(transaction: &Transaction<'_>) -> Json {
    let users = transaction.entries(names::USERS_CERTS).into_keys();
    list(
        users
            .filter_map(|id| String::from_utf8(id).ok())
            .map(|id| describe_user(transaction, &id)),
    )
}

/// `GET /gov/service/users/{userId}`.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::NotFound`].
pub fn user(transaction: &Transaction<'_>, user_id: &str) -> Result<Json, Refusal> {
    match transaction.get(names::USERS_CERTS, parameters::user_id(user_id)?.as_bytes()) {
        Some(_) => Ok(describe_user(transaction, user_id)),
        None => Err(Refusal::new(
            Reason::NotFound,
            format!("User u[{user_id}] does not exist."),
        )),
    }
}

fn describe_user(transaction: &Transaction<'_>, id: &str) -> Json {
    // The whole record, as CCF answers it: the data is in a field of it.
    let record: Option<Opaque> = entry(transaction, names::USERS_INFO, id).unwrap_or_default();
    answer(&answers::User {
        certificate: text(transaction, names::USERS_CERTS, id),
        user_data: record,
        user_id: id.to_owned(),
    })
}

/// `GET /gov/members/proposals`.
pub fn proposals(transaction: &Transaction<'_>) -> Json {
    list(each(transaction, names::PROPOSALS_INFO, |id, info: ProposalInfo| {
        info.to_api(id)
    }))
}

/// `GET /gov/members/proposals/{proposalId}`.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::UnknownProposal`].
pub fn proposal(transaction: &Transaction<'_>, proposal_id: &str) -> Result<Json, Refusal> {
    let info = ProposalInfo::read(transaction, parameters::proposal_id(proposal_id)?)?
        .ok_or_else(|| unknown_proposal(format!("Could not find proposal {proposal_id}.")))?;
    Ok(info.to_api(proposal_id))
}

/// `GET /gov/members/proposals/{proposalId}/actions`: the proposal as it was submitted.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::UnknownProposal`].
pub fn actions(transaction: &Transaction<'_>, proposal_id: &str) -> Result<Vec<u8>, Refusal> {
    transaction
        .get(names::PROPOSALS, parameters::proposal_id(proposal_id)?.as_bytes())
        .map(<[u8]>::to_vec)
        .ok_or_else(|| unknown_proposal(format!("Could not find proposal {proposal_id}.")))
}

/// `GET /gov/members/proposals/{proposalId}/ballots/{memberId}`: the script itself.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::UnknownProposal`], [`Reason::NoBallot`].
pub fn ballot(transaction: &Transaction<'_>, proposal_id: &str, member_id: &str) -> Result<String, Refusal> {
    let info = ProposalInfo::read(transaction, parameters::proposal_id(proposal_id)?);
    parameters::member_id(member_id)?;
    let mut info = info?.ok_or_else(|| unknown_proposal(format!("Proposal {proposal_id} does not exist.")))?;
    info.ballots.remove(member_id).ok_or_else(|| {
        Refusal::new(
            Reason::NoBallot,
            format!("Member m[{member_id}] has not voted for proposal {proposal_id}."),
        )
    })
}

fn unknown_proposal(message: String) -> Refusal {
    Refusal::new(Reason::UnknownProposal, message)
}

/// `GET /gov/members/state-digests/{memberId}`.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::NotFound`].
pub fn state_digest(transaction: &Transaction<'_>, member_id: &str) -> Result<Json, Refusal> {
    Ack::read(transaction, parameters::member_id(member_id)?)
        .map(|ack| ack.to_api(member_id))
        .ok_or_else(|| {
            Refusal::new(
                Reason::NotFound,
                format!("No ACK record exists for member m[{member_id}]."),
            )
        })
}

/// `GET /gov/recovery/encrypted-shares/{memberId}`.
///
/// # Errors
/// [`Reason::InvalidName`]; [`Reason::NotFound`].
pub fn encrypted_share(transaction: &Transaction<'_>, member_id: &str) -> Result<Json, Refusal> {
    parameters::member_id(member_id)?;
    let shares: Option<RecoveryShares> = value(transaction, names::RECOVERY_SHARES)?;
    let share = shares.and_then(|mut shares| shares.encrypted_shares.remove(member_id));
    share
        .map(|encrypted_share| {
            answer(&answers::EncryptedShare {
                encrypted_share,
                member_id,
            })
        })
        .ok_or_else(|| {
            Refusal::new(
                Reason::NotFound,
                format!("Recovery share not found for member m[{member_id}]."),
            )
        })
}

/// The value of a table with one value.
pub(super) fn value<T: DeserializeOwned>(transaction: &Transaction<'_>, table: &str) -> Result<Option<T>, Refusal> {
    read(table, transaction.get(table, &SINGLETON_KEY))
}

/// The value of a key that is a text.
pub(super) fn entry<T: DeserializeOwned>(
    transaction: &Transaction<'_>,
    table: &str,
    key: &str,
) -> Result<Option<T>, Refusal> {
    read(table, transaction.get(table, key.as_bytes()))
}

fn read<T: DeserializeOwned>(table: &str, bytes: Option<&[u8]>) -> Result<Option<T>, Refusal> {
    bytes
        .map(values::from_json)
        .transpose()
        .map_err(|why| Refusal::new(Reason::Fault, format!("A value of table {table} can't be read: {why}")))
}

/// The value of a key that is a text, where it is one itself.
pub(super) fn text(transaction: &Transaction<'_>, table: &str, key: &str) -> Option<Value> {
    let bytes = transaction.get(table, key.as_bytes())?;
    Some(String::from_utf8_lossy(bytes).into())
}

/// Something for every entry of a table that can be read.
pub(super) fn each<T: DeserializeOwned, R>(
    transaction: &Transaction<'_>,
    table: &str,
    describe: impl Fn(&str, T) -> R,
) -> Vec<R> {
    readable(transaction, table)
        .into_iter()
        .map(|(key, value)| describe(&key, value))
        .collect()
}

/// The entries of a table that can be read, by key.
pub(super) fn readable<T: DeserializeOwned>(transaction: &Transaction<'_>, table: &str) -> BTreeMap<String, T> {
    let entries = transaction.entries(table).into_iter();
    entries
        .filter_map(|(key, value)| {
            let entry = (String::from_utf8(key).ok()?, values::from_json(&value).ok()?);
            Some(entry)
        })
        .collect()
}

/// `{"value": [...]}`.
pub(super) fn list(values: impl IntoIterator<Item = Json>) -> Json {
    answer(&answers::Paged {
        value: values.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests;
