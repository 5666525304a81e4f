//! What an attempt that ended with its process had decided, and what the next recovery transaction says of it.
//!
//! A recovery that was not finished leaves its entries in chunks named `.recovery`, which the next one sets aside. What they
//! say of votes must not be forgotten with them: whom this node voted for may have counted that. So they are read before, and
//! believed as far as a signature proves them.

use std::path::PathBuf;

use serde::Deserialize;

use crate::crypto::digest::sha256;
use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{Maps, WriteSet};
use crate::format::{Seqno, TxId};
use crate::heal::tables::{self, Unfinished};
use crate::heal::{Claim, Earlier, Generation, Record, Stage};
use crate::kv::store::{Store, Transaction};
use crate::recovery::segments::Windows;
use crate::recovery::verify::{Options, verify};
use crate::recovery::writes::is_signature;
use crate::report::progress::Silent;
use crate::tables::names;
use crate::tables::node_info::NodeRecord;
use crate::tables::values::{Base64, from_json};

/// What their tables' names begin with.
const PREFIXES: [&str; 2] = [
    "public:ccf.gov.selfhealingopen.",
    "public:ccf.gov.recovery_decision_protocol.",
];

/// What the recovery transaction says of self-healing open.
#[derive(Clone, Debug, Default)]
pub struct Beginning {
    /// What the node is configured for, if it is.
    pub generation: Option<Generation>,
    /// What was decided before the process ended.
    pub earlier: Option<Earlier>,
    /// What this node's ledger had in that attempt, where that is in the ledger that is recovered.
    pub claim: Option<Claim>,
}

impl Beginning {
    /// For a node that is configured for `generation`, whose recovered state is `store` and whose ledger is in these
    /// directories, the main one first.
    ///
    /// # Errors
    /// If the ledger can't be read.
    pub fn find(
        generation: Option<Generation>,
        own_id: &str,
        store: &Store,
        directories: &[PathBuf],
        view_of: impl Fn(Seqno) -> u64,
    ) -> Result<Beginning> {
        let Some(of) = generation else {
            return Ok(Beginning::default());
        };
        let recovered = store.transaction();
        let unfinished = tables::unfinished(&recovered, of, own_id).filter(|_| is_own(&recovered, own_id));
        if let Some(Unfinished { earlier, claim, began }) = unfinished {
            // The entry before the recovery transaction is the last signature that it went on from.
            let before = |began: TxId| {
                let seqno = began.seqno.saturating_sub(1);
                let view = view_of(seqno);
                Claim::from(TxId { view, seqno })
            };
            return Ok(Beginning {
                generation,
                earlier: Some(earlier),
                claim: claim.or_else(|| began.map(before)),
            });
        }
        Ok(Beginning {
            generation,
            // The ledger is without what that attempt wrote: what it has, it had then.
            earlier: left(directories, of, own_id)?.map(|unfinished| unfinished.earlier),
            claim: None,
        })
    }

    /// Writes it.
    pub fn write(&self, transaction: &mut Transaction<'_>) {
        tables::begin(transaction, self.generation);
        let (Some(generation), Some(earlier)) = (self.generation, &self.earlier) else {
            return;
        };
        // An attempt that ends before it decides anything must not forget what the one before did.
        let promised = matches!(earlier.stage, Stage::Voting | Stage::Joining) || earlier.stage.opens();
        if let (true, Some(id)) = (promised, &earlier.chosen) {
            tables::write(transaction, generation, &Record::Chosen { id: id.clone() });
            tables::write(transaction, generation, &Record::Stage(earlier.stage));
            if let Some(kind) = earlier.opens {
                tables::write(transaction, generation, &Record::Opens(kind));
            }
        }
    }
}

/// What chunks of an unfinished recovery say.
fn left(directories: &[PathBuf], generation: Generation, own_id: &str) -> Result<Option<Unfinished>> {
    let Ok(files) = LedgerFiles::list(directories, true) else {
        return Ok(None); // what can't be listed is said when the ledger itself is
    };
    let of_recovery = files.chunks.iter().filter(|chunk| chunk.file.name.kind.is_recovery());
    let Some(first) = of_recovery.map(|chunk| chunk.file.name.first).min() else {
        return Ok(None);
    };
    let (store, signed) = state_of(&files, first)?;
    let Some(unfinished) = tables::unfinished(&store.transaction(), generation, own_id) else {
        return Ok(None);
    };
    if !is_own(&store.transaction(), own_id) {
        tracing::warn!(
            first,
            "what an unfinished recovery says of self-healing open is another node's, and says nothing of this one"
        );
        return Ok(None);
    }
    let proven = verify(&files, &Options::default(), &Silent)?.last_signed;
    if proven.is_none_or(|txid| txid.seqno < signed) {
        tracing::warn!(
            first,
            signed,
            "what an unfinished recovery says of self-healing open is torn or damaged, and not believed: a vote of this node may \
             still count elsewhere"
        );
        return Ok(None);
    }
    Ok(Some(unfinished))
}

/// Whether an attempt was this node's, and not one whose files were copied here: who then called itself as this node does has the
/// key of the node that began the service. Where nobody was noted yet, what there is was carried over from the attempt before.
fn is_own(transaction: &Transaction<'_>, own_id: &str) -> bool {
    #[derive(Deserialize)]
    struct Row {
        cert_der: Base64,
    }
    let tables = [names::SELF_HEALING_NODES, names::RECOVERY_DECISION_NODES];
    let began = |row: &[u8]| {
        let id = from_json::<Row>(row)
            .ok()
            .map(|row| hex::encode(sha256(&row.cert_der.0)));
        let record = id.and_then(|id| NodeRecord::read(transaction.get(names::NODES_INFO, id.as_bytes())?));
        record.is_some_and(|record| record.is_trusted())
    };
    let own = tables
        .iter()
        .find_map(|table| transaction.get(table, own_id.as_bytes()));
    match own {
        Some(row) => began(row),
        None => tables.iter().all(|table| transaction.entries(table).is_empty()),
    }
}

/// The tables of self-healing open, the nodes and the service's status after the last signature, and where that is.
fn state_of(files: &LedgerFiles, first: Seqno) -> Result<(Store, Seqno)> {
    let mut windows = Windows::new(files, first, Seqno::MAX);
    let (mut store, mut waiting, mut signed) = (Store::new(), Vec::new(), 0);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            segment.for_each(|located| {
                waiting.push((located.seqno, writes_in(located.maps())));
                if is_signature(&located) {
                    signed = located.seqno;
                    waiting
                        .drain(..)
                        .for_each(|(seqno, writes)| store.apply(seqno, &writes));
                }
            });
        }
    }
    Ok((store, signed))
}

fn writes_in(mut maps: Maps<'_>) -> WriteSet {
    let mut writes = WriteSet::new();
    while let Ok(Some(table)) = maps.next_name() {
        let counts = [names::SERVICE_INFO, names::NODES_INFO].contains(&table)
            || PREFIXES.iter().any(|prefix| table.starts_with(prefix));
        let read = maps.writes(|write| match write.value {
            _ if !counts => {}
            Some(value) => writes.put(table, write.key, value),
            None => writes.remove(table, write.key),
        });
        if read.is_err() {
            break; // it is not proven either
        }
    }
    writes
}
