//! What transactions do to a service: its creation after a disaster, shares, secrets, opening, endorsement.
//!
//! Functions over one [`Transaction`]: they read what it sees and write into it. Values are CCF's, field for field.
//! Recovery specification, sections 2.6 to 2.10 and 5; format specification, sections 6.5, 8.2 and 9.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod admission;
pub mod create;
pub mod following;
pub mod identity;
pub mod joining;
pub mod open;
pub mod own_policy;
pub mod sealed_shares;
pub mod secrets;
pub mod shares;
pub mod submit;
pub mod unseal;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::Seqno;
use crate::journal::succession;
use crate::kv::store::Transaction;
use crate::tables::values::{ServiceInfo, from_json, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// The one value of a value table, if it is there and can be read.
pub fn value<T: DeserializeOwned>(transaction: &Transaction<'_>, table: &str) -> Option<T> {
    from_json(transaction.get(table, &SINGLETON_KEY)?).ok()
}

/// Writes the one value of a value table.
pub fn put<T: Serialize>(transaction: &mut Transaction<'_>, table: &str, value: &T) {
    transaction.put(table, SINGLETON_KEY, to_json(value));
}

/// `service.info`.
///
/// # Errors
/// In words, if there is none.
pub fn service_info(transaction: &Transaction<'_>) -> Result<ServiceInfo, String> {
    value(transaction, names::SERVICE_INFO).ok_or_else(|| "service.info is missing or can't be read".to_owned())
}

/// What the next write of `service.info` names as the one before it; `last` is the value that is there.
fn previous_write(transaction: &Transaction<'_>, last: &ServiceInfo) -> Option<Seqno> {
    succession::previous_write(last, transaction.version(names::SERVICE_INFO, &SINGLETON_KEY))
}
