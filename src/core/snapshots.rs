//! Snapshots: when one is due, its evidence, its receipt. Format specification, section 7; recovery specification, 2.8.

use std::time::Duration;

use super::event::Now;
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::domain::WriteSet;
use crate::journal::Signers;
use crate::journal::sign::Signed;
use crate::journal::snapshot::evidence_receipt;
use crate::merkle::Tree;
use crate::merkle::receipt::LeafComponents;
use crate::tables::values::{HexDigest, SnapshotEvidence, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// When snapshots are made without being asked for.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotSettings {
    /// After so many transactions.
    pub tx_count: u64,
    /// By time: after so many at least.
    pub min_tx_count: u64,
    /// By time: so long after the last; zero for never.
    pub time_interval: Duration,
}

/// How long one that failed is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A snapshot whose evidence is in the log, and waits for a signature.
struct Waiting {
    seqno: Seqno,
    evidence_seqno: Seqno,
    components: LeafComponents,
}

/// A snapshot whose evidence is signed.
pub(super) struct Proven {
    pub(super) seqno: Seqno,
    pub(super) evidence_seqno: Seqno,
    pub(super) receipt: Vec<u8>,
}

/// Where snapshots stand.
pub(super) struct Snapshots {
    settings: Option<SnapshotSettings>,
    /// None is made before the private state is there.
    enabled: bool,
    /// One is asked for.
    pub(super) asked: bool,
    /// The one that is being written.
    pub(super) drafting: Option<Seqno>,
    /// One has failed: when it is tried again, although nothing else is committed.
    retry_at: Option<Duration>,
    /// State of the last, and when its evidence was sealed.
    last: Seqno,
    last_at: Option<Duration>,
    waiting: Vec<Waiting>,
}

impl Snapshots {
    pub(super) fn new(settings: Option<SnapshotSettings>, last: Seqno) -> Snapshots {
        Snapshots {
            settings,
            enabled: false,
            asked: false,
            drafting: None,
            retry_at: None,
            last,
            last_at: None,
            waiting: Vec::new(),
        }
    }

    /// The private state is there: the first snapshot is made where any are.
    pub(super) fn enable(&mut self) {
        self.enabled = true;
        self.asked |= self.settings.is_some();
    }

    /// The private state is there. Who led until then has made the first snapshot.
    pub(super) fn allow(&mut self) {
        self.enabled = true;
    }

    /// Whether the state at `seqno`, a committed signature, is to be written.
    pub(super) fn is_due(&self, now: Now, seqno: Seqno) -> bool {
        if self.drafting.is_some() {
            return false;
        }
        let Some(settings) = self.settings else {
            return self.asked;
        };
        if !self.enabled {
            return false;
        }
        let since = seqno.saturating_sub(self.last);
        let waited = self.last_at.is_none_or(|at| now.elapsed >= at + settings.time_interval);
        let by_time = !settings.time_interval.is_zero() && waited && since >= settings.min_tx_count;
        self.asked || since >= settings.tx_count.max(1) || by_time
    }

    /// One is being written.
    pub(super) fn drafts(&mut self, seqno: Seqno) {
        self.asked = false;
        self.retry_at = None;
        self.last = seqno;
        self.drafting = Some(seqno);
    }

    /// Its evidence is in the log.
    pub(super) fn witnessed(&mut self, now: Now, seqno: Seqno, evidence_seqno: Seqno, components: LeafComponents) {
        self.drafting = None;
        self.last_at = Some(now.elapsed);
        self.waiting.push(Waiting {
            seqno,
            evidence_seqno,
            components,
        });
    }

    /// It could not be written, or lost its name: another is made, soon.
    pub(super) fn failed(&mut self, now: Now, seqno: Seqno) {
        if self.drafting == Some(seqno) {
            self.drafting = None;
        }
        // There is no file any more that its receipt could be put into.
        self.waiting.retain(|waiting| waiting.seqno != seqno);
        self.asked = true;
        self.retry_at = Some(now.elapsed + RETRY_AFTER);
    }

    /// When one that failed is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// Whether it is to be tried again now.
    pub(super) fn is_tried_again(&mut self, now: Now) -> bool {
        self.retry_at.take_if(|at| *at <= now.elapsed).is_some()
    }

    /// Whether a file is still to be written, or to be given its receipt.
    pub(super) fn is_idle(&self) -> bool {
        self.drafting.is_none() && self.waiting.is_empty()
    }

    /// The receipts that a signature over `tree` gives.
    pub(super) fn prove(&self, tree: &Tree, signed: &Signed, signers: &Signers) -> Result<Vec<Proven>> {
        let proven = self.waiting.iter().map(|waiting| {
            let receipt = evidence_receipt(waiting.evidence_seqno, &waiting.components, tree, signed, signers)?;
            Ok(Proven {
                seqno: waiting.seqno,
                evidence_seqno: waiting.evidence_seqno,
                receipt,
            })
        });
        proven.collect()
    }

    /// That signature is sealed.
    pub(super) fn proven(&mut self) {
        self.waiting.clear();
    }

    /// Takes those whose evidence is rolled back, with `unproven`, which a signature that is rolled back had proven.
    pub(super) fn roll_back(&mut self, to: Seqno, unproven: Vec<(Seqno, Seqno)>) -> Vec<(Seqno, Seqno)> {
        let waiting = self.waiting.extract_if(.., |waiting| waiting.evidence_seqno > to);
        let waiting = waiting.map(|waiting| (waiting.seqno, waiting.evidence_seqno));
        let lost: Vec<_> = unproven.into_iter().chain(waiting).collect();
        self.asked |= !lost.is_empty();
        lost
    }
}

/// The transaction that says what a snapshot's digest is, which goes with it as its claim.
pub(super) fn evidence(seqno: Seqno, digest: Digest) -> WriteSet {
    let value = SnapshotEvidence {
        hash: HexDigest(digest),
        version: seqno,
    };
    let mut writes = WriteSet::new();
    writes.put(names::SNAPSHOT_EVIDENCE, SINGLETON_KEY, to_json(&value));
    writes
}
