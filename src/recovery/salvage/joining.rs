//! Scans joined in order: which signatures prove what comes before them.

use rayon::prelude::*;

use super::history::State;
use crate::crypto::digest::Digest;
use crate::format::chunk::Fault;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::scan::{SegmentScan, SignatureTx, TrustWrite};
use crate::recovery::trust::{Transaction, Trust};
use crate::report::{Code, Severity};

/// What a window of scans proves.
pub struct Joined {
    /// After the last signature that verified, with all before it.
    pub state: State,
    /// The signatures up to there.
    pub signed: Vec<TxId>,
    /// Whether nothing was wrong in all of the window.
    pub is_whole: bool,
}

/// Joins scans in order, and verifies their signatures on all threads.
pub fn join_and_verify(state: &State, scans: &[SegmentScan]) -> Joined {
    let mut first = Joining::of(state);
    first.join(scans, Seqno::MAX);
    let wrong = first
        .checks
        .par_iter()
        .find_first(|check| !check.verify().is_empty())
        .map(|check| check.txid.seqno);
    let Some(wrong) = wrong.or(first.failed.then_some(Seqno::MAX)) else {
        return first.done(true);
    };
    // Joined again, up to the last one before: a handful of digests for each signature.
    let good = first.checks.iter().take_while(|check| check.txid.seqno < wrong).last();
    let Some(last) = good.map(|check| check.txid.seqno) else {
        return Joined {
            state: state.clone(),
            signed: Vec::new(),
            is_whole: false,
        };
    };
    let mut again = Joining::of(state);
    again.join(scans, last);
    again.done(false)
}

/// A window being joined.
struct Joining {
    state: State,
    /// As of the last signature that was met and found right.
    accumulator: Accumulator,
    pending: Vec<TrustWrite>,
    checks: Vec<Check>,
    /// The state after the last signature whose root was right.
    reached: State,
    /// What it had signed already.
    before: Option<TxId>,
    failed: bool,
}

impl Joining {
    fn of(state: &State) -> Joining {
        Joining {
            accumulator: state.accumulator.clone(),
            reached: state.clone(),
            before: state.signed,
            state: state.clone(),
            pending: Vec::new(),
            checks: Vec::new(),
            failed: false,
        }
    }

    fn join(&mut self, scans: &[SegmentScan], until: Seqno) {
        for scan in scans {
            let is_read = Some(scan.until) == scan.segment.until
                && scan.segment.from == self.accumulator.leaves()
                && scan.faults.iter().all(|fault| matches!(fault, Fault::Writes { .. }))
                && scan.entries == scan.until - scan.segment.from;
            if !is_read {
                self.failed = true;
                return;
            }
            self.pending.extend(scan.writes.iter().cloned());
            for run in &scan.runs {
                run.nodes.iter().for_each(|node| self.accumulator.append_node(*node));
                if let Some(tx) = &run.signature
                    && (self.meet(tx).is_err() || tx.seqno >= until)
                {
                    self.failed |= tx.seqno < until;
                    return;
                }
            }
        }
    }

    /// A signature transaction; an error if it does not prove what comes before it.
    fn meet(&mut self, tx: &SignatureTx) -> std::result::Result<(), ()> {
        let root = self.accumulator.root();
        if tx.recorded_root() != Some(root) {
            return Err(());
        }
        let is_known = self.before.is_some_and(|before| before.seqno == tx.seqno);
        if !is_known {
            let writes = take_before(&mut self.pending, tx.seqno);
            let check = step(&mut self.state.trust, &writes, tx, root).map_err(|_| ())?;
            self.checks.push(check);
        }
        self.reached.next = tx.seqno;
        self.reached.accumulator.clone_from(&self.accumulator);
        self.reached.signed = Some(tx.txid());
        Ok(())
    }

    fn done(mut self, is_whole: bool) -> Joined {
        self.reached.trust = self.state.trust;
        Joined {
            state: self.reached,
            signed: self.checks.iter().map(|check| check.txid).collect(),
            is_whole,
        }
    }
}

fn take_before(pending: &mut Vec<TrustWrite>, seqno: Seqno) -> Vec<TrustWrite> {
    let later = pending.partition_point(|write| write.seqno < seqno);
    let rest = pending.split_off(later);
    std::mem::replace(pending, rest)
}

/// Whether a fault of this kind means that a history does not hold, as in a verification.
fn is_fatal(code: Code) -> bool {
    code.severity() == Severity::Error && code != Code::Endorsement
}

/// Whether a signature transaction that looks different in different files is signed here by who signed it there: `trust` has
/// accepted it already.
pub fn is_signed_here(trust: &Trust, tx: &SignatureTx, root: Digest) -> bool {
    let (check, mut wrong) = trust.clone().check(tx, root);
    wrong.retain(|(code, _)| is_fatal(*code) && *code != Code::SignedAfterRetirement);
    let is_there = check.node.is_some() || check.cose.is_some();
    wrong.is_empty() && is_there && check.verify().is_empty()
}

/// Brings the keys up to a signature transaction, and makes its check; an error where what is written, or who signs, is
/// nothing that a CCF service writes.
pub fn step(
    trust: &mut Trust,
    writes: &[TrustWrite],
    tx: &SignatureTx,
    root: Digest,
) -> std::result::Result<Check, Outcome> {
    for transaction in Transaction::each(writes) {
        let findings = trust.apply(&transaction);
        let fatal = findings.into_iter().filter(|finding| is_fatal(finding.code));
        let fatal: Outcome = fatal.map(|finding| (finding.code, finding.message)).collect();
        if !fatal.is_empty() {
            return Err(fatal);
        }
    }
    let (check, mut wrong) = trust.check(tx, root);
    wrong.retain(|(code, _)| is_fatal(*code));
    if check.node.is_none() && check.cose.is_none() && wrong.is_empty() {
        wrong.push((Code::SignatureMalformed, "it holds no signature".to_owned()));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    trust.accept(tx, Some(root));
    Ok(check)
}
