//! The provable history, grown from signature to signature.
//!
//! The state is what a signature proves: the accumulator of all leaves before it, and the keys in force. The signature's own
//! leaf is proven by the next one, so each step begins with that entry again.
//!
//! Where the copies are sound, a *window* of entries is scanned on all threads as `verify` does it, and its signatures are
//! verified together. Where a root differs or a signature does not verify, `mend` looks at one interval entry by entry, and
//! windows begin small again: a ledger with a thousand bad places is not scanned a thousand times.

use std::sync::Arc;

use rayon::prelude::*;

use super::mend::{Mended, mend};
use super::pool::Pool;
use super::tail::tail;
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::chunk::Fault;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::recovery::check::{Check, Outcome};
use crate::recovery::scan::{SegmentScan, SignatureTx, TrustWrite, scan_segment_for};
use crate::recovery::segments::{SEGMENT_BYTES, Segment, WINDOW_BYTES};
use crate::recovery::trust::{Transaction, Trust};
use crate::report::progress::Progress;
use crate::report::{Code, Severity};

/// The first window after an interval that had to be mended.
const SMALL_WINDOW: u64 = 1 << 20;
/// Between two states that are kept to go back to.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Entries in one file that go into the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub source: usize,
    /// First seqno.
    pub first: Seqno,
    /// Last seqno.
    pub last: Seqno,
    /// Offset of the first entry.
    pub offset: u64,
    /// Offset after the last one.
    pub end: u64,
}

/// What one signature proves.
#[derive(Clone)]
pub struct State {
    /// The first entry that is not in the accumulator: that signature's own, or 1 at the start.
    pub next: Seqno,
    /// Leaves 0 to `next` − 1.
    pub accumulator: Accumulator,
    /// The keys in force, that signature accepted.
    pub trust: Trust,
    /// The signature.
    pub signed: Option<TxId>,
}

impl State {
    /// Before anything.
    pub fn genesis() -> State {
        State {
            next: 1,
            accumulator: Accumulator::genesis(),
            trust: Trust::default(),
            signed: None,
        }
    }
}

/// Why a history ends where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No file holds anything that could come next.
    Nothing,
    /// A signature covers the entry of this seqno, and no file holds it.
    Missing(Seqno),
    /// What comes next differs from file to file, or is no entry that could be signed.
    Unclear(Seqno),
}

/// A history: what is proven, and what follows unsigned.
#[derive(Clone)]
pub struct Grown {
    /// Where its entries are.
    pub pieces: Vec<Piece>,
    /// Its signatures.
    pub signed: Vec<TxId>,
    /// What the last of them proves.
    pub state: State,
    /// Everything up to here is covered by a signature, whether that is part of the result or not.
    pub covered: Seqno,
    /// Why it ends.
    pub end: End,
    /// Entries whose bytes no signature covers and that differ from copy to copy: which were taken is a choice.
    pub chosen: Vec<Seqno>,
    /// States to go back to, with the number of pieces and signatures before each.
    pub checkpoints: Vec<(State, usize, usize)>,
}

impl Grown {
    /// Nothing yet, after this state.
    pub fn from(state: State) -> Grown {
        Grown {
            pieces: Vec::new(),
            signed: Vec::new(),
            checkpoints: vec![(state.clone(), 0, 0)],
            state,
            covered: 0,
            end: End::Nothing,
            chosen: Vec::new(),
        }
    }

    /// The root that the last signature in it signs.
    pub fn root(&self) -> Option<Digest> {
        let is_in_it = self.signed.last().is_some() && self.signed.last() == self.state.signed.as_ref();
        is_in_it.then(|| self.state.accumulator.root())
    }

    /// The last entry.
    pub fn last(&self) -> Option<Seqno> {
        self.pieces.last().map(|piece| piece.last)
    }

    /// The same history before `seqno`, as far back as a state was kept.
    pub fn before(&self, seqno: Seqno) -> Grown {
        let mut checkpoints = self.checkpoints.clone();
        checkpoints.retain(|(state, _, _)| state.next <= seqno);
        let (state, pieces, signed) = match checkpoints.last() {
            Some((state, pieces, signed)) => (state.clone(), *pieces, *signed),
            None => return self.clone(),
        };
        Grown {
            pieces: self.pieces.iter().take(pieces).cloned().collect(),
            signed: self.signed.iter().take(signed).copied().collect(),
            state,
            covered: 0,
            end: End::Nothing,
            chosen: Vec::new(),
            checkpoints,
        }
    }

    /// Adds entries that come next.
    pub fn push(&mut self, piece: Piece) {
        match self.pieces.last_mut() {
            Some(last) if last.source == piece.source && last.end == piece.offset && last.last + 1 == piece.first => {
                last.last = piece.last;
                last.end = piece.end;
            }
            _ => self.pieces.push(piece),
        }
    }

    /// The file, offset and end of an entry.
    pub fn place_of(&self, pool: &Pool, seqno: Seqno) -> Result<Option<(usize, u64, u64)>> {
        let at = self.pieces.partition_point(|piece| piece.last < seqno);
        let Some(piece) = self.pieces.get(at).filter(|piece| piece.first <= seqno) else {
            return Ok(None);
        };
        let chunk = pool.open(piece.source)?;
        let bytes = chunk.map.bytes();
        for run in pool.runs_of(piece.source) {
            if let (Some(offset), Some(end)) = (run.offset_of(bytes, seqno), run.offset_of(bytes, seqno + 1))
                && (piece.offset..piece.end).contains(&offset)
            {
                return Ok(Some((piece.source, offset, end)));
            }
        }
        Ok(None)
    }
}

/// Grows a history as far as the files lead.
///
/// # Errors
/// If a file can't be read.
pub fn grow(pool: &Pool, grown: Grown, prefer: Option<usize>, progress: &dyn Progress) -> Result<Grown> {
    let mut grown = grow_on(pool, grown, prefer, progress)?;
    // A signature may be known to be one, while no file holds all of its entry as it was.
    let last = grown.last().unwrap_or(0);
    while grown.signed.pop_if(|signed| signed.seqno > last).is_some() {}
    Ok(grown)
}

fn grow_on(pool: &Pool, mut grown: Grown, prefer: Option<usize>, progress: &dyn Progress) -> Result<Grown> {
    let mut window = WINDOW_BYTES;
    let mut since_checkpoint = 0;
    loop {
        let (extents, has_more) = path(pool, grown.state.next, window, prefer)?;
        let scans = scan(pool, &extents, progress)?;
        let bytes: u64 = extents.iter().map(|extent| extent.end - extent.offset).sum();
        let joined = join_and_verify(&grown.state, &scans);
        let advanced = joined.state.next > grown.state.next;
        if advanced {
            for extent in extents {
                if extent.first < joined.state.next {
                    grown.push(pool_piece(pool, &extent, joined.state.next - 1)?);
                }
            }
            grown.signed.extend(joined.signed);
            grown.state = joined.state;
            grown.covered = grown.state.next.saturating_sub(1);
        }
        since_checkpoint += bytes;
        if since_checkpoint >= CHECKPOINT_BYTES {
            since_checkpoint = 0;
            grown
                .checkpoints
                .push((grown.state.clone(), grown.pieces.len(), grown.signed.len()));
        }
        if joined.is_whole && has_more {
            // Nothing is wrong; a window without a signature is made larger, until it holds one.
            window = if advanced {
                (window * 2).min(WINDOW_BYTES)
            } else {
                window.saturating_mul(2)
            };
            continue;
        }
        match mend(pool, &grown.state, prefer)? {
            Mended::Proven { pieces, state, signed } => {
                pieces.into_iter().for_each(|piece| grown.push(piece));
                grown.signed.push(signed);
                grown.state = *state;
                grown.covered = grown.state.next.saturating_sub(1);
                window = SMALL_WINDOW;
            }
            Mended::Missing { pieces, at, covered } => {
                pieces.into_iter().for_each(|piece| grown.push(piece));
                grown.covered = covered.min(at - 1);
                grown.end = End::Missing(at);
                return Ok(grown);
            }
            Mended::Nothing => return tail(pool, grown, prefer),
        }
    }
}

/// Entries that are read in a row.
#[derive(Clone, Debug)]
struct Extent {
    run: usize,
    source: usize,
    first: Seqno,
    last: Seqno,
    offset: u64,
    end: u64,
}

fn pool_piece(pool: &Pool, extent: &Extent, last: Seqno) -> Result<Piece> {
    let last = extent.last.min(last);
    let mut end = extent.end;
    if last < extent.last {
        let chunk = pool.open(extent.source)?;
        let run = pool.runs.get(extent.run);
        end = run
            .and_then(|run| run.offset_of(chunk.map.bytes(), last + 1))
            .unwrap_or(end);
    }
    Ok(Piece {
        source: extent.source,
        first: extent.first,
        last,
        offset: extent.offset,
        end,
    })
}

/// The run to read an entry from: of the copy that is preferred; not what a recovery left that did not open; of the
/// highest view; and the one that reaches furthest.
fn choose(pool: &Pool, seqno: Seqno, prefer: Option<usize>) -> Result<Option<usize>> {
    let mut best = None;
    for run in pool.runs_at(seqno) {
        let Some(of) = pool.runs.get(run) else { continue };
        let Some(source) = pool.sources.get(of.source) else {
            continue;
        };
        let view = pool.with_entry(run, seqno, |found| found.view)?.unwrap_or(0);
        let rank = (
            prefer == Some(source.copy),
            !source.is_recovery(),
            view,
            of.last,
            std::cmp::Reverse(run),
        );
        if best.as_ref().is_none_or(|(other, _)| rank > *other) {
            best = Some((rank, run));
        }
    }
    Ok(best.map(|(_, run)| run))
}

/// Up to `bytes` bytes of entries from `from` on, and whether there are more.
fn path(pool: &Pool, from: Seqno, bytes: u64, prefer: Option<usize>) -> Result<(Vec<Extent>, bool)> {
    let (mut extents, mut left, mut next) = (Vec::new(), bytes, from);
    while left > 0 {
        let Some(number) = choose(pool, next, prefer)? else {
            return Ok((extents, false));
        };
        let Some(run) = pool.runs.get(number) else { break };
        let chunk = pool.open(run.source)?;
        let map = chunk.map.bytes();
        let Some(offset) = run.offset_of(map, next) else {
            return Ok((extents, false));
        };
        let last = pool
            .first_dead(number, next, run.last)
            .map_or(run.last, |dead| dead - 1);
        // Up to the first remembered place after what is left of the window.
        let limit = offset.saturating_add(left);
        let cut = run.anchors.partition_point(|&(_, at)| at < limit);
        let (last, end) = match run.anchors.get(cut) {
            Some(&(seqno, at)) if seqno <= last && seqno > next => (seqno - 1, at),
            _ => match run.offset_of(map, last + 1) {
                Some(end) => (last, end),
                None => return Ok((extents, false)),
            },
        };
        extents.push(Extent {
            run: number,
            source: run.source,
            first: next,
            last,
            offset,
            end,
        });
        left = left.saturating_sub(end - offset);
        next = last + 1;
    }
    Ok((extents, true))
}

/// Scans extents on all threads, in pieces of a segment each.
fn scan(pool: &Pool, extents: &[Extent], progress: &dyn Progress) -> Result<Vec<SegmentScan>> {
    let mut segments = Vec::new();
    for extent in extents {
        let chunk = pool.open(extent.source)?;
        let Some(run) = pool.runs.get(extent.run) else { continue };
        let mut bounds = vec![(extent.first, extent.offset)];
        for &(seqno, offset) in &run.anchors {
            let since = bounds.last().map_or(0, |&(_, before)| offset.saturating_sub(before));
            if seqno > extent.first && seqno <= extent.last && since >= SEGMENT_BYTES {
                bounds.push((seqno, offset));
            }
        }
        bounds.push((extent.last + 1, extent.end));
        for pair in bounds.windows(2) {
            if let [(from, offset), (until, end)] = *pair {
                segments.push(Segment {
                    chunk: Arc::clone(&chunk),
                    chunk_index: extent.source,
                    from,
                    offset,
                    until: Some(until),
                    size_bytes: end - offset,
                });
            }
        }
    }
    Ok(segments
        .into_par_iter()
        .with_max_len(1)
        .map(|segment| {
            let bytes = segment.size_bytes;
            let scan = scan_segment_for(segment, &[], false);
            progress.advance(bytes, scan.entries);
            scan
        })
        .collect())
}

/// What a window of scans proves.
struct Joined {
    /// After the last signature that verified, with all before it.
    state: State,
    /// The signatures up to there.
    signed: Vec<TxId>,
    /// Whether nothing was wrong in all of the window.
    is_whole: bool,
}

fn join_and_verify(state: &State, scans: &[SegmentScan]) -> Joined {
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
