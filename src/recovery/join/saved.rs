//! A [`Joiner`] in a checkpoint.

use super::{Counts, Evidence, Joiner, Mode, SignedRoot};
use crate::crypto::digest::Digest;
use crate::format::directory::LedgerFiles;
use crate::format::{Seqno, TxId, View};
use crate::merkle::Accumulator;
use crate::recovery::scan::{Flagged, TrustWrite};
use crate::recovery::seqno_set::SeqnoSet;
use crate::recovery::service_links::ServiceLinks;
use crate::recovery::signed::LastSignature;
use crate::recovery::trust::{SavedTrust, Trust, TypesSeen};
use crate::report::Findings;
use crate::tables::values::HexDigest;

impl<'f> Joiner<'f> {
    /// Everything a checkpoint keeps. Checks must have been released and settled.
    pub fn save(&self) -> SavedJoiner {
        SavedJoiner {
            peaks: self
                .accumulator
                .as_ref()
                .map(|a| (a.leaves(), a.peaks().map(|peak| HexDigest(*peak)).collect())),
            next: self.next,
            position: self.position,
            trust: self.trust.save(),
            service_links: self.service_links.clone(),
            attesting: self.attesting.clone(),
            pending: self.pending.iter().cloned().collect(),
            counts: self.counts,
            findings: self.findings.clone(),
            evidence: self.evidence.clone(),
            watched: self
                .watched
                .iter()
                .map(|(seqno, leaf)| (*seqno, HexDigest(*leaf)))
                .collect(),
            broken_at: self.broken_at,
            last_matching: self.last_matching,
            proven: self.proven,
            proven_before: self.proven_before,
            last_signature: self.last_signature,
            last_good: self.last_good,
            last_view: self.last_view,
            against: self.against,
            start: self.start,
            flagged: self.flagged.iter().copied().collect(),
            types: self.types,
        }
    }

    /// Goes on from what was saved; `None` if it can't be read.
    pub fn restore(files: &'f LedgerFiles, mode: Mode, saved: SavedJoiner) -> Option<Joiner<'f>> {
        let accumulator = match saved.peaks {
            Some((leaves, peaks)) => {
                let peaks: Vec<Digest> = peaks.into_iter().map(|peak| peak.0).collect();
                Some(Accumulator::from_peaks(leaves, &peaks)?)
            }
            None => None,
        };
        let mut joiner = Joiner::new(files, mode, saved.next, accumulator, Trust::restore(saved.trust)?);
        joiner.position = saved.position;
        joiner.service_links = saved.service_links;
        joiner.attesting = saved.attesting;
        joiner.pending = saved.pending.into();
        joiner.counts = saved.counts;
        joiner.findings = saved.findings;
        joiner.evidence = saved.evidence;
        joiner.watched = saved.watched.into_iter().map(|(seqno, leaf)| (seqno, leaf.0)).collect();
        joiner.broken_at = saved.broken_at;
        joiner.last_matching = saved.last_matching;
        joiner.proven = saved.proven;
        joiner.proven_before = saved.proven_before;
        joiner.last_signature = saved.last_signature;
        joiner.last_good = saved.last_good;
        joiner.last_view = saved.last_view;
        joiner.against = saved.against;
        joiner.start = saved.start;
        joiner.flagged = saved.flagged.into();
        joiner.types = saved.types;
        Some(joiner)
    }
}

/// A [`Joiner`] between two windows.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct SavedJoiner {
    peaks: Option<(u64, Vec<HexDigest>)>,
    /// The next seqno.
    pub next: Seqno,
    position: Option<(usize, u64)>,
    trust: SavedTrust,
    service_links: ServiceLinks,
    attesting: SeqnoSet,
    pending: Vec<TrustWrite>,
    counts: Counts,
    findings: Findings,
    evidence: Vec<Evidence>,
    watched: Vec<(Seqno, HexDigest)>,
    broken_at: Option<Seqno>,
    last_matching: Option<TxId>,
    proven: Option<SignedRoot>,
    proven_before: Option<SignedRoot>,
    last_signature: Option<LastSignature>,
    last_good: Option<LastSignature>,
    last_view: View,
    against: Option<(Seqno, Option<SignedRoot>)>,
    start: Seqno,
    flagged: Vec<Flagged>,
    types: TypesSeen,
}
