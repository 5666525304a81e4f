//! Which snapshots a ledger holds evidence of: found in one parallel pass. Format specification, section 7.3.

use rayon::prelude::*;
use serde::Serialize;

use crate::error::Result;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, TxId};
use crate::recovery::segments::Segment;
use crate::recovery::writes::{Order, Reader, gaps, in_groups, txid};
use crate::report::Finding;
use crate::report::progress::Progress;
use crate::tables::values::{HexDigest, SnapshotEvidence, from_json};
use crate::tables::{SINGLETON_KEY, names};

/// So much evidence is remembered, the newest: a service that writes a snapshot a minute needs two months for as much.
const MAX_REMEMBERED: usize = 100_000;

/// The evidence of one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Seqno of the snapshot's state.
    pub seqno: Seqno,
    /// The transaction that holds the evidence.
    pub evidence: TxId,
    /// SHA-256 of the snapshot's entry.
    pub digest: HexDigest,
    /// The first signature transaction after it; none where nothing covers it.
    pub signed_at: Option<Seqno>,
}

/// What a ledger says of snapshots.
#[derive(Default)]
pub struct Found {
    /// By the seqno of the evidence.
    pub evidence: Vec<Evidence>,
    /// Older evidence that was not remembered.
    pub forgotten: u64,
    /// What could not be read.
    pub findings: Vec<Finding>,
}

enum Event {
    Evidence(Evidence),
    Signature(Seqno),
}

/// Reads all evidence of a ledger. What can't be read as evidence is none.
///
/// # Errors
/// If a file can't be read.
pub fn find(files: &LedgerFiles, progress: &dyn Progress) -> Result<Found> {
    let range = (files.first_seqno(), files.last_seqno());
    let reader = Reader {
        from: range.0,
        until: range.1,
        tables: None,
        keys: None,
        only: None,
    };
    let mut found = Found::default();
    let mut findings = gaps(files, range);
    progress.begin("find evidence", files.size_bytes());
    in_groups(files, range, Order::OldestFirst, |group| {
        let read: Vec<_> = group
            .par_iter()
            .with_max_len(1)
            .map(|segment| read_segment(&reader, segment, progress))
            .collect();
        for (events, missed) in read {
            events.into_iter().for_each(|event| found.take(event));
            missed.into_iter().for_each(|finding| findings.push(finding));
        }
        Ok(())
    })?;
    progress.end();
    found.findings = findings.finish();
    Ok(found)
}

fn read_segment(reader: &Reader<'_>, segment: &Segment, progress: &dyn Progress) -> (Vec<Event>, Vec<Finding>) {
    let mut events: Vec<Event> = Vec::new();
    let met = reader.entries(segment, |located, _| {
        let (mut maps, txid) = (located.maps(), txid(located));
        while let Ok(Some(name)) = maps.next_name_bytes() {
            let is_evidence = name == names::SNAPSHOT_EVIDENCE.as_bytes();
            let walked = maps.writes(|write| {
                if is_evidence
                    && write.key == SINGLETON_KEY
                    && let Some(Ok(value)) = write.value.map(from_json::<SnapshotEvidence>)
                {
                    events.push(Event::Evidence(Evidence {
                        seqno: value.version,
                        evidence: txid,
                        digest: value.hash,
                        signed_at: None,
                    }));
                }
            });
            if name == names::SIGNATURES.as_bytes() || name == names::COSE_SIGNATURES.as_bytes() {
                events.push(Event::Signature(txid.seqno));
            }
            if walked.is_err() {
                break;
            }
        }
    });
    progress.advance(segment.size_bytes, met.entries);
    (events, met.findings.finish())
}

impl Found {
    fn take(&mut self, event: Event) {
        match event {
            Event::Evidence(evidence) => {
                if self.evidence.len() >= 2 * MAX_REMEMBERED {
                    self.evidence.drain(..MAX_REMEMBERED);
                    self.forgotten += MAX_REMEMBERED as u64;
                }
                self.evidence.push(evidence);
            }
            Event::Signature(seqno) => {
                let unsigned = self.evidence.iter_mut().rev();
                unsigned
                    .take_while(|evidence| evidence.signed_at.is_none())
                    .filter(|evidence| evidence.evidence.seqno < seqno)
                    .for_each(|evidence| evidence.signed_at = Some(seqno));
            }
        }
    }
}
