//! The provable history, grown from signature to signature.
//!
//! The state is what a signature proves: the accumulator of all leaves before it, and the keys in force. The signature's own
//! leaf is proven by the next one, so each step begins with that entry again.
//!
//! Where the copies are sound, a *window* of entries is scanned on all threads as `verify` does it, and its signatures are
//! verified together. Where a root differs or a signature does not verify, `mend` looks at one interval entry by entry, and
//! windows begin small again: a ledger with a thousand bad places is not scanned a thousand times.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::history::{End, Grown, Piece};
use super::joining::join_and_verify;
use super::mend::{Mended, mend};
use super::pool::Pool;
use super::tail::tail;
use crate::error::Result;
use crate::format::Seqno;
use crate::recovery::scan::{SegmentScan, scan_segment_for};
use crate::recovery::segments::{SEGMENT_BYTES, Segment, WINDOW_BYTES};
use crate::report::progress::Progress;

/// The first window after an interval that had to be mended.
const SMALL_WINDOW: u64 = 1 << 20;
/// Between two states that are kept to go back to.
const CHECKPOINT_BYTES: u64 = 64 << 20;

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
    let mut blame = Blame::default();
    let mut since_checkpoint = 0;
    loop {
        let (extents, has_more) = path(pool, grown.state.next, window, prefer, &blame)?;
        let scans = scan(pool, &extents, progress)?;
        let bytes: u64 = extents.iter().map(|extent| extent.end - extent.offset).sum();
        let joined = join_and_verify(&grown.state, &scans);
        let advanced = joined.state.next > grown.state.next;
        if advanced {
            for extent in &extents {
                if extent.first < joined.state.next {
                    grown.push(pool_piece(pool, extent, joined.state.next - 1)?);
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
        if joined.is_whole && has_more && advanced {
            window = (window * 2).min(WINDOW_BYTES);
            continue;
        }
        // Nothing is wrong, and there is no signature: the interval may be longer than the window, or these entries were never
        // signed and go on for as long as somebody liked.
        let is_endless = joined.is_whole && has_more;
        match mend(pool, &grown.state, prefer)? {
            Mended::Proven { pieces, state, signed } => {
                let is_sound = !blame.spread(pool, &extents, &pieces);
                pieces.into_iter().for_each(|piece| grown.push(piece));
                grown.signed.push(signed);
                grown.state = *state;
                grown.covered = grown.state.next.saturating_sub(1);
                window = match is_endless && is_sound {
                    true => (window * 2).min(WINDOW_BYTES),
                    false => SMALL_WINDOW,
                };
            }
            _ if is_endless => window = window.saturating_mul(2),
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

/// How often files, and the copies that they are in, gave entries that were not those that had been signed. Without that a file
/// of forged entries would be read again for every interval.
#[derive(Default)]
struct Blame {
    copies: HashMap<usize, u32>,
    sources: HashMap<usize, u32>,
}

impl Blame {
    /// Blames the sources of what was read where it turned out to be something else; answers whether there are any.
    fn spread(&mut self, pool: &Pool, read: &[Extent], right: &[Piece]) -> bool {
        let (Some(from), Some(last)) = (
            right.first().map(|piece| piece.first),
            right.last().map(|piece| piece.last),
        ) else {
            return false;
        };
        let mut is_any = false;
        for extent in read.iter().filter(|extent| extent.first <= last && extent.last >= from) {
            let (first, last) = (extent.first.max(from), extent.last.min(last));
            let is_right = |piece: &Piece| piece.run == extent.run && piece.first <= first && piece.last >= last;
            if right.iter().any(is_right) {
                continue;
            }
            is_any = true;
            *self.sources.entry(extent.source).or_default() += 1;
            for &copy in pool.holders(extent.source) {
                *self.copies.entry(copy).or_default() += 1;
            }
        }
        is_any
    }

    /// Of a source: the less, the better.
    fn of(&self, pool: &Pool, source: usize) -> (u32, u32) {
        let copies = pool.holders(source).iter();
        let least = copies.map(|copy| self.copies.get(copy).copied().unwrap_or(0)).min();
        (least.unwrap_or(0), self.sources.get(&source).copied().unwrap_or(0))
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
        run: extent.run,
        first: extent.first,
        last,
        offset: extent.offset,
        end,
    })
}

/// The run to read an entry from: of the copy that is preferred; not what a recovery left that did not open; of those that
/// were wrong least often; of the highest view; and the one that reaches furthest.
fn choose(pool: &Pool, seqno: Seqno, prefer: Option<usize>, blame: &Blame) -> Result<Option<usize>> {
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
            std::cmp::Reverse(blame.of(pool, of.source)),
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
fn path(pool: &Pool, from: Seqno, bytes: u64, prefer: Option<usize>, blame: &Blame) -> Result<(Vec<Extent>, bool)> {
    let (mut extents, mut left, mut next) = (Vec::new(), bytes, from);
    while left > 0 {
        let Some(number) = choose(pool, next, prefer, blame)? else {
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
