//! One interval, entry by entry: which candidates are the ones that a signature covers.
//!
//! A signature transaction carries the leaves since an earlier signature, and its root is signed. A tree whose first leaves lead to
//! the root proven so far says of every further entry which digest it must have; the candidate with that digest is taken,
//! from whatever file. Which tree is true is decided by its signature, with the keys that the chosen entries themselves
//! give. Where a tree begins later, because the signature before it is lost, the entries before are tried together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::history::{Piece, State};
use super::joining::step;
use super::options::{Choice, options};
use super::pool::{Found, Pool};
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::cursor::Cursor;
use crate::format::domain::Maps;
use crate::format::{Seqno, TxId};
use crate::merkle::tree::TreeView;
use crate::recovery::scan::{SignatureTx, TrustWrite, scan_segment_for};
use crate::recovery::segments::Segment;
use crate::tables::{SINGLETON_KEY, names};

/// Seqnos whose candidates are looked up together.
const BLOCK: u64 = 256;
/// Trees of one file that are tried for one interval. There is one for each history, and of a sound history the next two or three.
const MAX_TREES: usize = 256;
/// Trees in a file that begin after the first entry that no file holds, before it is believed that none reaches back.
const MAX_BEYOND: usize = 8;
/// Trees of one file that are looked at after one that says which entry is missing: another history may have it.
const MAX_AFTER: usize = 16;
/// Seqnos that are looked at once a file has had its share: a node signs at least every 5000, so a sound file shows its
/// signature by then, whatever a forged one is full of.
const HORIZON: u64 = 1 << 13;
/// Digests that are made for one interval, over all its trees, to find out which of several candidates were signed together.
const MAX_TRIES: u64 = 1 << 18;

/// What came of an interval.
pub enum Mended {
    /// All entries up to the next signature are found.
    Proven {
        /// Where.
        pieces: Vec<Piece>,
        /// What that signature proves.
        state: Box<State>,
        /// That signature.
        signed: TxId,
    },
    /// A signature covers an entry that no file holds.
    Missing {
        /// The entries before it.
        pieces: Vec<Piece>,
        /// Its seqno.
        at: Seqno,
        /// The last entry that the signature covers.
        covered: Seqno,
    },
    /// No signature proves anything more.
    Nothing,
}

/// The serialised tree of a signature transaction.
pub fn tree_in<'a>(found: &Found<'a>) -> Option<&'a [u8]> {
    let mut maps = Maps::new(Cursor::starting_at(found.entry.public, found.public.size_bytes()));
    let mut tree = None;
    while let Ok(Some(name)) = maps.next_name_bytes() {
        let is_tree = name == names::TREE.as_bytes();
        if !is_tree && name != names::SIGNATURES.as_bytes() && name != names::COSE_SIGNATURES.as_bytes() {
            return None;
        }
        let walked = maps.writes(|write| {
            if is_tree && write.key == SINGLETON_KEY {
                tree = write.value;
            }
        });
        if walked.is_err() {
            return None;
        }
    }
    tree
}

/// A signature transaction to be tried, at its place.
struct Hypothesis {
    run: usize,
    seqno: Seqno,
}

/// What of one file was looked at for one interval.
#[derive(Default)]
struct Share {
    tried: usize,
    beyond: usize,
    after: usize,
}

impl Share {
    fn is_spent(&self) -> bool {
        self.tried >= MAX_TREES || self.beyond >= MAX_BEYOND || self.after >= MAX_AFTER
    }
}

/// Runs, the longest first: what was written in a row stands in a row, and what was strewn in does not.
fn longest_first(pool: &Pool, mut runs: Vec<usize>) -> Vec<usize> {
    let length = |run: &usize| pool.runs.get(*run).map_or(0, |run| run.last - run.first);
    runs.sort_by_key(|run| (std::cmp::Reverse(length(run)), *run));
    runs
}

/// Finds the next signature that proves what comes after `state`, and the entries that it covers.
///
/// # Errors
/// If a file can't be read.
pub fn mend(pool: &Pool, state: &State, prefer: Option<usize>) -> Result<Mended> {
    let mut tried: HashSet<Digest> = HashSet::new();
    let mut missing: Option<(u64, Seqno, Mended)> = None;
    let mut shares: HashMap<usize, Share> = HashMap::new();
    let mut end = Seqno::MAX;
    let mut tries_left = MAX_TRIES;
    let at_least = state.signed.map_or(0, |signed| signed.view);
    let mut absent: Option<Seqno> = None;
    let mut at = state.next + u64::from(state.signed.is_some());
    if pool.runs_at(state.next).is_empty() {
        absent = Some(state.next);
    }
    loop {
        let mut held = pool.held(at, at.saturating_add(BLOCK));
        for seqno in at..at.saturating_add(BLOCK) {
            if seqno > end {
                return Ok(missing.map_or(Mended::Nothing, |(_, _, missing)| missing));
            }
            let Some(runs) = held.remove(&seqno) else {
                absent.get_or_insert(seqno);
                continue;
            };
            for run in longest_first(pool, runs) {
                let source = pool.runs.get(run).map_or(0, |run| run.source);
                let share = shares.entry(source).or_default();
                if share.is_spent() {
                    continue;
                }
                let look = |found: Found<'_>| {
                    let tree = tree_in(&found)?;
                    let view = TreeView::parse(tree).ok().filter(|view| view.len() == seqno)?;
                    // What a lower view signed does not follow on what a higher one did.
                    if found.view < at_least {
                        return None;
                    }
                    Some((view.flushed, found.view, found.leaf()))
                };
                let Some((flushed, view, leaf)) = pool.with_entry(run, seqno, look)?.flatten() else {
                    continue;
                };
                if absent.is_some_and(|absent| flushed > absent) {
                    share.beyond += 1;
                } else if tried.insert(leaf) {
                    share.tried += 1;
                    share.after += usize::from(missing.is_some());
                    match attempt(pool, state, &Hypothesis { run, seqno }, prefer, &mut tries_left)? {
                        Some(Mended::Missing { pieces, at, covered }) => {
                            let rank = (view, at);
                            if missing.as_ref().is_none_or(|(v, a, _)| rank > (*v, *a)) {
                                missing = Some((view, at, Mended::Missing { pieces, at, covered }));
                            }
                        }
                        Some(proven) => return Ok(proven),
                        None => {}
                    }
                }
                if share.is_spent() {
                    end = end.min(seqno.saturating_add(HORIZON));
                }
            }
        }
        at = match pool.next_held(at.saturating_add(BLOCK)) {
            Some(next) => next,
            None => return Ok(missing.map_or(Mended::Nothing, |(_, _, missing)| missing)),
        };
    }
}

/// Tries one tree; nothing comes of it if it is of another history, or nobody's.
fn attempt(
    pool: &Pool,
    state: &State,
    tried: &Hypothesis,
    prefer: Option<usize>,
    tries_left: &mut u64,
) -> Result<Option<Mended>> {
    let Some(of) = pool.runs.get(tried.run) else {
        return Ok(None);
    };
    let chunk = pool.open(of.source)?;
    let bytes = chunk.map.bytes();
    let found = of
        .offset_of(bytes, tried.seqno)
        .and_then(|offset| Found::at(bytes, offset));
    let Some(found) = found else { return Ok(None) };
    let Some(tree) = tree_in(&found).and_then(|tree| TreeView::parse(tree).ok()) else {
        return Ok(None);
    };
    let mut choices: BTreeMap<Seqno, Choice> = BTreeMap::new();
    let from = if tree.flushed <= state.next {
        if tree.accumulator(state.next).as_ref() != Some(&state.accumulator) {
            return Ok(None);
        }
        state.next
    } else {
        match together(pool, state, &tree, prefer, tries_left)? {
            Some(chosen) => choices.extend(chosen),
            None => return Ok(None),
        }
        tree.flushed
    };
    let matched = matching(pool, &tree, from, tried.seqno, prefer)?;
    let first_missing = (from..tried.seqno).find(|seqno| !matched.contains_key(seqno));
    let until = first_missing.unwrap_or(tried.seqno);
    choices.extend(matched.into_iter().filter(|(seqno, _)| *seqno < until));
    let pieces = pieces_of(choices.into_values());
    let Some(accumulator) = tree.accumulator(tried.seqno) else {
        return Ok(None);
    };
    let mut writes = Vec::new();
    for piece in &pieces {
        writes.extend(scan_piece(pool, piece)?.0);
    }
    let own = Piece {
        source: of.source,
        run: tried.run,
        first: tried.seqno,
        last: tried.seqno,
        offset: found.offset,
        end: found.end(),
    };
    let (_, Some(tx)) = scan_piece(pool, &own)? else {
        return Ok(None);
    };
    let mut trust = state.trust.clone();
    let root = accumulator.root();
    if tx.recorded_root() != Some(root) {
        return Ok(None);
    }
    let is_signed = step(&mut trust, &writes, &tx, root).is_ok_and(|check| check.verify().is_empty());
    if !is_signed {
        return Ok(None);
    }
    Ok(Some(match first_missing {
        Some(at) => Mended::Missing {
            pieces,
            at,
            covered: tried.seqno - 1,
        },
        None => Mended::Proven {
            pieces,
            signed: tx.txid(),
            state: Box::new(State {
                next: tried.seqno,
                accumulator,
                trust,
                signed: Some(tx.txid()),
            }),
        },
    }))
}

/// The candidates whose leaves are the tree's.
fn matching(
    pool: &Pool,
    tree: &TreeView<'_>,
    from: Seqno,
    until: Seqno,
    prefer: Option<usize>,
) -> Result<BTreeMap<Seqno, Choice>> {
    let held: Vec<(Seqno, Vec<usize>)> = pool.held(from, until).into_iter().collect();
    let found: Vec<Option<(Seqno, Choice)>> = held
        .into_par_iter()
        .map(|(seqno, mut runs)| {
            let Some(leaf) = tree.leaf(seqno) else { return Ok(None) };
            let rank = |run: &usize| {
                let of = pool.runs.get(*run);
                let source = of.and_then(|run| pool.sources.get(run.source));
                let preferred = source.is_some_and(|source| prefer == Some(source.copy));
                (
                    !preferred,
                    std::cmp::Reverse(of.map_or(0, |run| run.last - run.first)),
                    *run,
                )
            };
            runs.sort_by_key(rank);
            for run in runs {
                let choice = pool.with_entry(run, seqno, |found| {
                    (found.leaf() == *leaf).then(|| Choice::of(pool, run, &found, *leaf))
                })?;
                if let Some(choice) = choice.flatten() {
                    return Ok(Some((seqno, choice)));
                }
            }
            Ok(None)
        })
        .collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// The entries before the first leaf of a tree, of which it has the peaks alone: those candidates that lead to them.
fn together(
    pool: &Pool,
    state: &State,
    tree: &TreeView<'_>,
    prefer: Option<usize>,
    tries_left: &mut u64,
) -> Result<Option<BTreeMap<Seqno, Choice>>> {
    let (from, until) = (state.next, tree.flushed);
    let Some(wanted) = tree.accumulator(until) else {
        return Ok(None);
    };
    let held = pool.held(from, until);
    if held.len() as u64 != until - from {
        return Ok(None);
    }
    let mut all: Vec<Vec<Choice>> = Vec::new();
    let mut combinations = 1u64;
    for (seqno, runs) in held {
        let choices = options(pool, seqno, &runs, prefer)?;
        combinations = combinations.saturating_mul(choices.len() as u64);
        all.push(choices);
    }
    let each = (until - from).max(1);
    let tries = combinations.min(*tries_left / each).max(1);
    for number in 0..tries {
        *tries_left = tries_left.saturating_sub(each);
        let mut rest = number;
        let mut accumulator = state.accumulator.clone();
        let mut chosen = Vec::new();
        for choices in &all {
            let count = choices.len().max(1) as u64;
            let Some(choice) = choices.get((rest % count) as usize) else {
                return Ok(None);
            };
            rest /= count;
            accumulator.append(&choice.leaf);
            chosen.push(choice);
        }
        if accumulator == wanted {
            return Ok(Some((from..).zip(chosen.into_iter().cloned()).collect()));
        }
    }
    Ok(None)
}

/// Consecutive choices, as few pieces as they make.
pub fn pieces_of(choices: impl IntoIterator<Item = Choice>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for choice in choices {
        match pieces.last_mut() {
            Some(last) if last.run == choice.run && last.end == choice.offset && last.last + 1 == choice.seqno => {
                last.last = choice.seqno;
                last.end = choice.end;
            }
            _ => pieces.push(Piece {
                source: choice.source,
                run: choice.run,
                first: choice.seqno,
                last: choice.seqno,
                offset: choice.offset,
                end: choice.end,
            }),
        }
    }
    pieces
}

/// The writes to trust tables in a piece, and the last signature transaction in it.
pub fn scan_piece(pool: &Pool, piece: &Piece) -> Result<(Vec<TrustWrite>, Option<Box<SignatureTx>>)> {
    let chunk = pool.open(piece.source)?;
    let segment = Segment {
        chunk: Arc::clone(&chunk),
        chunk_index: piece.source,
        from: piece.first,
        offset: piece.offset,
        until: Some(piece.last + 1),
        size_bytes: piece.end - piece.offset,
    };
    let scan = scan_segment_for(segment, &[], false);
    let signature = scan.runs.into_iter().filter_map(|run| run.signature).next_back();
    Ok((scan.writes, signature))
}
