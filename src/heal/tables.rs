//! What a step leaves in the node's own tables, in the names of its generation. Recovery specification, sections 7.1 and 7.2.
//!
//! They are public tables of the one-node service that the node has recovered: who won and how stays in its ledger for
//! ever, and whoever loses has it in the ledger that is kept aside. Of 2026 only the names of `chosen_node` and `open_kind`
//! are known for certain; the others are taken to have kept theirs under the new prefix.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::claim::Claim;
use super::effect::Record;
use super::generation::Generation;
use super::settings::Earlier;
use super::stage::{OpenKind, Stage};
use crate::format::{Seqno, TxId};
use crate::kv::store::Transaction;
use crate::tables::values::{ServiceInfo, ServiceStatus, from_json, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// The tables of a generation.
struct Names {
    nodes: &'static str,
    gossip: &'static str,
    votes: &'static str,
    chosen: &'static str,
    state: &'static str,
    timeout_state: &'static str,
    opens: &'static str,
}

fn names_of(generation: Generation) -> Names {
    match generation {
        Generation::September2025 | Generation::October2025 => Names {
            nodes: names::SELF_HEALING_NODES,
            gossip: names::SELF_HEALING_GOSSIP,
            votes: names::SELF_HEALING_VOTES,
            chosen: match generation {
                Generation::September2025 => names::SELF_HEALING_CHOSEN_REPLICA,
                _ => names::SELF_HEALING_CHOSEN_NODE,
            },
            state: names::SELF_HEALING_STATE,
            timeout_state: names::SELF_HEALING_TIMEOUT_STATE,
            opens: names::SELF_HEALING_FAILOVER_OPEN,
        },
        Generation::Decision2026 => Names {
            nodes: names::RECOVERY_DECISION_NODES,
            gossip: names::RECOVERY_DECISION_GOSSIP,
            votes: names::RECOVERY_DECISION_VOTES,
            chosen: names::RECOVERY_DECISION_CHOSEN_NODE,
            state: names::RECOVERY_DECISION_STATE,
            timeout_state: names::RECOVERY_DECISION_TIMEOUT_STATE,
            opens: names::RECOVERY_DECISION_OPEN_KIND,
        },
    }
}

/// Part of every recovery transaction: what an earlier recovery left is cleared, and a node that is configured begins to
/// gossip.
pub fn begin(transaction: &mut Transaction<'_>, configured: Option<Generation>) {
    for generation in Generation::ALL {
        let names = names_of(generation);
        for table in [
            names.nodes,
            names.gossip,
            names.votes,
            names.chosen,
            names.state,
            names.timeout_state,
            names.opens,
        ] {
            transaction.clear(table);
        }
    }
    if let Some(generation) = configured {
        write(transaction, generation, &Record::Stage(Stage::Gossiping));
        write(transaction, generation, &Record::TimeoutStage(Stage::Gossiping));
    }
}

/// Writes what a step records.
pub fn write(transaction: &mut Transaction<'_>, generation: Generation, record: &Record) {
    let names = names_of(generation);
    match record {
        Record::Peer { info, key } => {
            // Its own certificate was read when the message was; without it the row is as good.
            let mut row = info.to_json(generation).unwrap_or_default();
            if let Some(fields) = row.as_object_mut() {
                fields.insert("cert_der".to_owned(), STANDARD.encode(key).into());
            }
            transaction.put(names.nodes, info.id.as_str(), to_json(&row));
        }
        Record::Gossip { id, claim } => {
            let value = match (generation.says_views(), claim.view) {
                (true, Some(view)) => {
                    let seqno = claim.seqno;
                    to_json(&TxId { view, seqno })
                }
                _ => to_json(&claim.seqno),
            };
            transaction.put(names.gossip, id.as_str(), value);
        }
        Record::Vote { id } => transaction.put(names.votes, id.as_str(), SINGLETON_KEY),
        Record::Chosen { id } => put(transaction, names.chosen, id),
        Record::Stage(stage) => put(transaction, names.state, &generation.stage(*stage)),
        Record::TimeoutStage(stage) => put(transaction, names.timeout_state, &generation.stage(*stage)),
        Record::Opens(kind) if generation.says_views() => put(transaction, names.opens, &kind.as_str()),
        Record::Opens(OpenKind::Failover) => put(transaction, names.opens, &true),
        Record::Opens(OpenKind::Quorum) => {}
    }
}

fn put<T: Serialize>(transaction: &mut Transaction<'_>, table: &str, value: &T) {
    transaction.put(table, SINGLETON_KEY, to_json(value));
}

fn value<T: DeserializeOwned>(transaction: &Transaction<'_>, table: &str, key: &[u8]) -> Option<T> {
    from_json(transaction.get(table, key)?).ok()
}

/// An attempt that ended before the service was open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// How far it was.
    pub earlier: Earlier,
    /// What it claimed, which this attempt claims again: what was written since has nobody else, and proves nothing.
    /// None where it ended before it said anything: then the last signature before `began` is claimed.
    pub claim: Option<Claim>,
    /// Its recovery transaction.
    pub began: Option<TxId>,
}

/// The attempt that the recovered ledger ends with, if there is one. To be asked on the state before the recovery transaction,
/// which clears it.
pub fn unfinished(transaction: &Transaction<'_>, generation: Generation, own_id: &str) -> Option<Unfinished> {
    let info: ServiceInfo = value(transaction, names::SERVICE_INFO, &SINGLETON_KEY)?;
    // Of a service that was opened this is history: its nodes have joined, or its members know.
    if info.status == ServiceStatus::Open {
        return None;
    }
    Generation::ALL.into_iter().find_map(|written| {
        let names = names_of(written);
        let text: String = value(transaction, names.state, &SINGLETON_KEY)?;
        // Both generations of 2025 share this table: the one whose table of choices is filled is meant.
        let chosen: Option<String> = value(transaction, names.chosen, &SINGLETON_KEY);
        if chosen.is_none() && written == Generation::September2025 {
            return None;
        }
        let stage = Stage::read(&text)?;
        Some(Unfinished {
            earlier: Earlier {
                stage,
                chosen,
                opens: stage.opens().then(|| why_it_opened(transaction, written)),
            },
            claim: claimed(transaction, written, own_id)
                .filter(|claim| claim.view.is_some() || !generation.says_views()),
            began: info.current_service_create_txid,
        })
    })
}

fn why_it_opened(transaction: &Transaction<'_>, generation: Generation) -> OpenKind {
    let table = names_of(generation).opens;
    match generation.says_views() {
        true => value::<String>(transaction, table, &SINGLETON_KEY)
            .and_then(|text| OpenKind::read(&text))
            .unwrap_or(OpenKind::Failover),
        false => match value(transaction, table, &SINGLETON_KEY) {
            Some(true) => OpenKind::Failover,
            _ => OpenKind::Quorum,
        },
    }
}

fn claimed(transaction: &Transaction<'_>, generation: Generation, own_id: &str) -> Option<Claim> {
    let table = names_of(generation).gossip;
    match generation.says_views() {
        true => value::<TxId>(transaction, table, own_id.as_bytes()).map(Claim::from),
        false => value::<Seqno>(transaction, table, own_id.as_bytes()).map(|seqno| Claim { view: None, seqno }),
    }
}
