//! Which machines, running which code, under whose policy, held a service's keys throughout its life. Attestation
//! specification, section 10.
//!
//! The scan of a verification notes which entries say something about nodes; this is the second look at those alone, in order,
//! up to the last proven signature.
//!
//! | module | what it is for |
//! |---|---|
//! | `tables` | what the service asks of nodes, as it stands at an entry, and who wrote it |
//! | `history` | the life of each node: how it came, each step, whether its evidence stayed |
//! | `identity` | what of a node's record must stay as it was |
//! | `judge` | evidence in batches, on all threads; what is wrong with it |
//! | `minimum` | the caller's own list of minimum TCBs |
//! | `tell` | what one node's evidence says |
//! | `rules` | what can only be said of all nodes together |
//! | `report` | what is answered |

mod history;
mod identity;
mod judge;
mod minimum;
mod report;
mod rules;
mod tables;
mod tell;

use std::path::Path;

pub use judge::Settings;
pub use minimum::minimum_tcb_from_json;
pub use report::{AttestReport, How, NodeReport, NodeStep, NodesSummary, PolicyRow};

use super::segments::Windows;
use super::seqno_set::SeqnoSet;
use super::state::MappedSnapshot;
use super::writes::Reader;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::report::Verdict;
use crate::tables::names;
use history::Lives;

/// What is looked at a second time.
pub(super) struct Look<'a> {
    /// The ledger.
    pub(super) files: &'a LedgerFiles,
    /// Entries that say something about nodes.
    pub(super) attesting: &'a SeqnoSet,
    /// The snapshot that the run began after, if it did.
    pub(super) snapshot: Option<&'a Path>,
    /// The first seqno that was read.
    pub(super) from: Seqno,
    /// The last proven one.
    pub(super) proven_to: Seqno,
    /// Whether positions tables can be relied on.
    pub(super) tables_hold: bool,
}

/// Judges every node that the proven part of the ledger knew.
///
/// # Errors
/// If a file can't be read.
pub(super) fn look(look: &Look<'_>, settings: &Settings) -> Result<AttestReport> {
    let mut lives = Lives::new(settings);
    if let Some(path) = look.snapshot {
        begin_after(&MappedSnapshot::open(path)?, &mut lives)?;
    }
    let files = LedgerFiles {
        chunks: chunks_with(look),
        ..look.files.clone()
    };
    let reader = Reader {
        from: look.from,
        until: look.proven_to,
        tables: None,
        keys: None,
        only: look.tables_hold.then_some(look.attesting),
    };
    let mut windows = Windows::new(&files, look.from, look.proven_to);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            reader.entries(segment, |located, _| {
                if look.attesting.contains(located.seqno) {
                    lives.take(located, |bytes| segment.is_sparse_in(bytes));
                }
            });
        }
    }
    let (nodes, mut findings) = lives.finish();
    let summary = rules::judge_all(&nodes, &mut findings);
    for finding in findings.iter_mut() {
        finding.proven_to = Some(look.proven_to);
    }
    let findings = findings.finish();
    Ok(AttestReport {
        verdict: Verdict::of(&findings),
        proven_to: look.proven_to,
        summary,
        nodes,
        findings,
    })
}

/// The chunks that hold any of the entries.
fn chunks_with(look: &Look<'_>) -> Vec<crate::format::directory::PlannedChunk> {
    let chunks = &look.files.chunks;
    let end = look.proven_to.saturating_add(1);
    let ends = chunks.iter().skip(1).map(|next| next.use_from).chain([Seqno::MAX]);
    chunks
        .iter()
        .zip(ends)
        .filter(|(chunk, until)| {
            look.attesting
                .next(chunk.use_from.max(look.from), end.min(*until))
                .is_some()
        })
        .map(|(chunk, _)| chunk.clone())
        .collect()
}

/// Nodes and policies as a snapshot has them: policies first, so that a node's row may come before them.
fn begin_after(snapshot: &MappedSnapshot, lives: &mut Lives<'_>) -> Result<()> {
    for of_nodes in [false, true] {
        snapshot.public_state(|table, entry| {
            // A negative version is a removed key, which 1.x and 2.x keep.
            if (table == names::NODES_INFO) == of_nodes && names::attests(table) && entry.version >= 0 {
                let seqno = entry.version.unsigned_abs();
                lives.restore(table, entry.key, entry.value, seqno);
            }
        })?;
    }
    Ok(())
}
