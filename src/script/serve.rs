//! What the calling thread does for a script: reads, writes and effects on its transaction.

use serde::{Deserialize, Serialize};

use super::access::{Access, GOVERNANCE};
use super::jwt;
use crate::kv::store::Transaction;
use crate::script::Effects;
use crate::tables::values::Base64;
use crate::tables::{json, names};

/// What a method of a table does.
#[derive(Serialize, Deserialize)]
pub(super) enum Operation {
    Get(Base64),
    Has(Base64),
    Set(Base64, Base64),
    Delete(Base64),
    Clear,
    Entries,
    Size,
    Version(Base64),
}

impl Operation {
    /// The method's name in JavaScript.
    fn name(&self) -> &'static str {
        match self {
            Operation::Get(_) => "get",
            Operation::Has(_) => "has",
            Operation::Set(..) => "set",
            Operation::Delete(_) => "delete",
            Operation::Clear => "clear",
            Operation::Entries => "forEach",
            Operation::Size => "size",
            Operation::Version(_) => "getVersionOfPreviousWrite",
        }
    }

    fn writes(&self) -> bool {
        matches!(self, Operation::Set(..) | Operation::Delete(_) | Operation::Clear)
    }
}

/// What `apply` asks of the node.
#[derive(Serialize, Deserialize)]
pub(super) enum Effect {
    Open { previous: Option<String>, next: String },
    Rekey,
    RefreshShares,
    Chunk,
    Snapshot,
    LatestSecretSeqno,
    Endorse { csr: String, valid_from: String, days: u32 },
    RenewService { valid_from: String, days: u32 },
    SetJwtKeys { issuer: String, keys: String },
    RemoveJwtKeys { issuer: String },
    ForgetBytecode,
}

/// A request of the script's thread.
#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Table(String, Operation),
    Effect(Effect),
}

/// What it is answered.
#[derive(Serialize, Deserialize)]
pub(super) enum Reply {
    Nothing,
    Bytes(Base64),
    Flag(bool),
    Number(u64),
    Entries(Vec<(Base64, Base64)>),
    Text(String),
    /// To be thrown as a TypeError.
    Denied(String),
    /// To be thrown as an InternalError, as CCF does.
    Failed(String),
}

/// What scripts are served from.
pub(super) enum Served<'a, 's> {
    Reading(&'a Transaction<'s>),
    Applying(&'a mut Transaction<'s>, &'a mut dyn Effects),
}

impl<'s> Served<'_, 's> {
    pub(super) fn transaction(&self) -> &Transaction<'s> {
        match self {
            Served::Reading(transaction) => transaction,
            Served::Applying(transaction, _) => transaction,
        }
    }

    pub(super) fn access(&self) -> Access {
        match self {
            Served::Reading(_) => Access::ReadOnly,
            Served::Applying(..) => Access::ReadWrite,
        }
    }

    /// Does what the script asks for.
    pub(super) fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Table(table, operation) => {
                match self.access().check(&table, operation.name(), operation.writes()) {
                    Ok(()) => self.table(&table, operation),
                    Err(denied) => Reply::Denied(denied),
                }
            }
            Request::Effect(effect) => match self {
                Served::Reading(_) => Reply::Failed("this is available only while a proposal is applied".to_owned()),
                Served::Applying(transaction, effects) => perform(transaction, *effects, effect),
            },
        }
    }

    fn table(&mut self, table: &str, operation: Operation) -> Reply {
        let transaction = self.transaction();
        match operation {
            Operation::Get(key) => match transaction.get(table, &key.0) {
                Some(value) => Reply::Bytes(Base64(value.to_vec())),
                None => Reply::Nothing,
            },
            Operation::Has(key) => Reply::Flag(transaction.get(table, &key.0).is_some()),
            Operation::Version(key) => transaction.version(table, &key.0).map_or(Reply::Nothing, Reply::Number),
            Operation::Entries => Reply::Entries(entries(transaction, table)),
            Operation::Size => Reply::Number(transaction.entries(table).len() as u64),
            writing => {
                // Access was checked: only `apply` gets here.
                if let Served::Applying(transaction, _) = self {
                    match writing {
                        Operation::Set(key, value) => match unreadable(table, &value.0) {
                            Some(why) => return Reply::Denied(why),
                            None => transaction.put(table, key.0, value.0),
                        },
                        Operation::Delete(key) => transaction.remove(table, key.0),
                        _ => transaction.clear(table),
                    }
                }
                Reply::Nothing
            }
        }
    }
}

fn entries(transaction: &Transaction<'_>, table: &str) -> Vec<(Base64, Base64)> {
    let entries = transaction.entries(table).into_iter();
    entries.map(|(key, value)| (Base64(key), Base64(value))).collect()
}

/// Why a value of a governance table, which are JSON, could not be read back.
fn unreadable(table: &str, value: &[u8]) -> Option<String> {
    let why = json::check(value).err().filter(|_| table.starts_with(GOVERNANCE))?;
    Some(format!("Cannot set a value of table {table}: {why}"))
}

/// An effect; what goes wrong names what was being done.
fn perform(transaction: &mut Transaction<'_>, effects: &mut dyn Effects, effect: Effect) -> Reply {
    let nothing = |()| Reply::Nothing;
    let (doing, result) = match effect {
        Effect::Open { previous, next } => (
            "Unable to open service",
            effects
                .transition_service_to_open(transaction, previous.as_deref(), &next)
                .map(nothing),
        ),
        Effect::Rekey => (
            "Failed to rekey ledger",
            effects.trigger_ledger_rekey(transaction).map(nothing),
        ),
        Effect::RefreshShares => (
            "Unable to trigger recovery shares refresh",
            effects.trigger_recovery_shares_refresh(transaction).map(nothing),
        ),
        Effect::Chunk => (
            "Unable to force ledger chunk",
            effects.trigger_ledger_chunk().map(nothing),
        ),
        Effect::Snapshot => ("Unable to request snapshot", effects.trigger_snapshot().map(nothing)),
        Effect::LatestSecretSeqno => (
            "Failed to fetch latest ledger secret seqno",
            effects.latest_ledger_secret_seqno(transaction).map(Reply::Number),
        ),
        Effect::Endorse { csr, valid_from, days } => (
            "Failed to create endorsed cert",
            effects.endorse_certificate(&csr, &valid_from, days).map(Reply::Text),
        ),
        Effect::RenewService { valid_from, days } => (
            "Failed to renew the service certificate",
            effects.renew_service_certificate(&valid_from, days).map(Reply::Text),
        ),
        Effect::SetJwtKeys { issuer, keys } => (
            "Error setting JWT public signing keys",
            jwt::set_keys(transaction, &issuer, &keys).map(nothing),
        ),
        Effect::RemoveJwtKeys { issuer } => {
            jwt::remove_keys(transaction, &issuer);
            return Reply::Nothing;
        }
        Effect::ForgetBytecode => {
            // This node doesn't compile applications. Without the cache a node that does compiles from the source.
            tracing::info!("bytecode of the JavaScript application removed: it will be compiled from its source");
            transaction.clear(names::MODULES_QUICKJS_BYTECODE);
            transaction.clear(names::MODULES_QUICKJS_VERSION);
            return Reply::Nothing;
        }
    };
    result.unwrap_or_else(|why| Reply::Failed(format!("{doing}: {why}")))
}
