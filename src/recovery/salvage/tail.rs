//! What follows the last signature that proves anything: that signature's own entry, and entries that nothing signs.
//!
//! No digest says which bytes are right there. Where the copies agree, or most of them do, that is taken; a recovery drops
//! unsigned entries, and a result that is to be the whole ledger has them.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::history::{End, Grown, Piece};
use super::joining::is_signed_here;
use super::mend::{scan_piece, tree_in};
use super::options::{Choice, MAX_CANDIDATES, options, rank};
use super::pool::{Found, Pool};
use super::related::{Related, Relation};
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::cursor::Cursor;
use crate::format::domain::Maps;
use crate::format::{Seqno, TxId};
use crate::merkle::tree::TreeView;
use crate::recovery::scan::is_sound_step;
use crate::tables::names;

/// Seqnos whose candidates are looked up together.
const BLOCK: u64 = 256;

/// Ends a history: adds the last signature's entry, and what is unsigned.
///
/// # Errors
/// If a file can't be read.
pub fn tail(pool: &Pool, mut grown: Grown, prefer: Option<usize>) -> Result<Grown> {
    let mut at = grown.state.next;
    let mut view;
    // Where nothing at all is signed, nothing says whose entries these are.
    let Some(signed) = grown.state.signed else {
        grown.end = match pool.runs_at(at).is_empty() {
            true => End::Nothing,
            false => End::Unclear(at),
        };
        return Ok(grown);
    };
    {
        // Any of these proves what comes before; they may differ in bytes that nothing covers.
        let kept = signing(pool, &grown, signed, prefer)?;
        let Some(choice) = pick(&kept, prefer).or(kept.first()) else {
            grown.end = End::Missing(at);
            return Ok(grown);
        };
        if kept.len() > 1 {
            grown.chosen.push(at);
        }
        view = choice.view;
        grown.push(piece(choice));
        at += 1;
    }
    let before = grown.clone();
    let mut related = Related::to(pool, &before, at - 1);
    loop {
        let mut held = pool.held(at, at.saturating_add(BLOCK));
        for _ in 0..BLOCK {
            let (mut runs, mut unlinked) = (Vec::new(), None);
            for run in held.remove(&at).unwrap_or_default() {
                let Some(of) = pool.runs.get(run) else { continue };
                match related.of(of.source)? {
                    Relation::Related => runs.push(run),
                    Relation::Unlinked => unlinked = Some(of.source),
                    Relation::Stranger => {}
                }
            }
            if runs.is_empty() {
                grown.end = unlinked.map_or(End::Nothing, |source| End::Unlinked(at, source));
                return Ok(grown);
            }
            let mut choices = options(pool, at, &runs, prefer)?;
            let is_superseded = |choice: &Choice| choice.is_sound && choice.view < view;
            if !choices.is_empty() && choices.iter().all(is_superseded) {
                // What is left is what a lower view had not signed when a higher one took its place.
                grown.end = End::Nothing;
                return Ok(grown);
            }
            choices.retain(|choice| choice.is_sound && !choice.is_left_over && is_sound_step(view, choice.view));
            // A primary of a higher view took the place of the lower one's unsigned entries.
            let highest = choices.iter().map(|choice| choice.view).max().unwrap_or(0);
            choices.retain(|choice| choice.view == highest);
            let is_one = choices.len() == 1;
            let picked = pick(&choices, prefer);
            let unsigned = match picked {
                Some(choice) => !is_signature(pool, choice)?,
                None => false,
            };
            let Some(choice) = picked.filter(|_| unsigned) else {
                return ended_at(pool, &before, grown, at, &choices);
            };
            if !is_one {
                grown.chosen.push(at);
            }
            view = choice.view;
            grown.push(piece(choice));
            at += 1;
        }
    }
}

/// Ends where a signature comes next that proves nothing, as where the entry is lost that says who signed it. It still says which
/// entries it is over: those that it contradicts are not the ones that were written, and are left out.
fn ended_at(pool: &Pool, before: &Grown, mut grown: Grown, at: Seqno, choices: &[Choice]) -> Result<Grown> {
    let mut seqno = before.last().unwrap_or(0) + 1;
    let mut trees = Vec::new();
    for choice in choices {
        let chunk = pool.open(choice.source)?;
        let tree = Found::at(chunk.map.bytes(), choice.offset).and_then(|found| tree_in(&found).map(<[u8]>::to_vec));
        trees.extend(tree);
    }
    let trees: Vec<TreeView<'_>> = trees.iter().filter_map(|tree| TreeView::parse(tree).ok()).collect();
    while seqno < at {
        let said: Vec<&Digest> = trees.iter().filter_map(|tree| tree.leaf(seqno)).collect();
        if !said.is_empty()
            && let Some((source, offset, _)) = grown.place_of(pool, seqno)?
        {
            let chunk = pool.open(source)?;
            let own = Found::at(chunk.map.bytes(), offset).map(|found| found.leaf());
            if own.is_none_or(|own| !said.contains(&&own)) {
                return shortened(pool, before, &grown, seqno);
            }
        }
        seqno += 1;
    }
    grown.end = End::Unclear(at);
    Ok(grown)
}

/// The same history, ended before an entry that comes after `before`, because that one is not what was written.
fn shortened(pool: &Pool, before: &Grown, grown: &Grown, missing: Seqno) -> Result<Grown> {
    let mut shorter = before.clone();
    for piece in grown
        .pieces
        .iter()
        .filter(|piece| piece.last > before.last().unwrap_or(0))
    {
        let first = piece.first.max(before.last().unwrap_or(0) + 1);
        let last = piece.last.min(missing - 1);
        if first > last {
            continue;
        }
        let place = |seqno| grown.place_of(pool, seqno);
        if let (Some((source, offset, _)), Some((_, _, end))) = (place(first)?, place(last)?) {
            let (run, source) = (piece.run, source);
            shorter.push(Piece {
                source,
                run,
                first,
                last,
                offset,
                end,
            });
        }
    }
    shorter.chosen = grown.chosen.iter().copied().filter(|at| *at < missing).collect();
    shorter.end = End::Missing(missing);
    Ok(shorter)
}

/// The candidates for the last signature's own entry that are over the root that it proved: the best first, and of equals the one
/// that follows in its file on what is proven.
fn signing(pool: &Pool, grown: &Grown, signed: TxId, prefer: Option<usize>) -> Result<Vec<Choice>> {
    let root = grown.state.accumulator.root();
    let before = grown.pieces.last().map(|piece| (piece.source, piece.end));
    let mut found: HashMap<Digest, (Choice, bool)> = HashMap::new();
    let mut looked: HashMap<usize, usize> = HashMap::new();
    for run in pool.runs_at(signed.seqno) {
        let looked = looked.entry(pool.copy_of(run)).or_default();
        let own = pool.with_entry(run, signed.seqno, |own| {
            let is_one = own.view == signed.view && is_tree_of(&own, root);
            is_one.then(|| {
                let leaf = own.leaf();
                Choice::of(pool, run, &own, leaf)
            })
        })?;
        let Some(choice) = own.flatten() else { continue };
        let follows = before == Some((choice.source, choice.offset));
        *looked += 1;
        // The one that follows on what is proven is never one too many.
        if *looked > MAX_CANDIDATES && !follows {
            continue;
        }
        match found.get_mut(&choice.leaf) {
            Some((known, followed)) => {
                known.copies.extend(choice.copies);
                known.is_left_over &= choice.is_left_over;
                *followed |= follows;
            }
            None if signs(pool, grown, &choice)? => {
                found.insert(choice.leaf, (choice, follows));
            }
            None => {}
        }
    }
    let mut kept: Vec<(Choice, bool)> = found.into_values().collect();
    kept.sort_by_key(|(choice, follows)| (Reverse((rank(choice, prefer), *follows)), choice.source, choice.offset));
    Ok(kept.into_iter().map(|(choice, _)| choice).collect())
}

fn is_tree_of(found: &Found<'_>, root: Digest) -> bool {
    let tree = tree_in(found).and_then(|tree| TreeView::parse(tree).ok());
    tree.and_then(|tree| tree.root()) == Some(root)
}

/// The one that more copies hold than any other.
fn pick(choices: &[Choice], prefer: Option<usize>) -> Option<&Choice> {
    let mut sorted: Vec<&Choice> = choices.iter().collect();
    sorted.sort_by_key(|choice| Reverse(rank(choice, prefer)));
    match sorted.as_slice() {
        [one] => Some(one),
        [first, second, ..] if rank(first, prefer) > rank(second, prefer) => Some(first),
        _ => None,
    }
}

fn piece(choice: &Choice) -> Piece {
    Piece {
        source: choice.source,
        run: choice.run,
        first: choice.seqno,
        last: choice.seqno,
        offset: choice.offset,
        end: choice.end,
    }
}

/// Whether an entry is a signature transaction, sound or not.
fn is_signature(pool: &Pool, choice: &Choice) -> Result<bool> {
    let chunk = pool.open(choice.source)?;
    let Some(found) = Found::at(chunk.map.bytes(), choice.offset) else {
        return Ok(true);
    };
    let mut is_one = false;
    let maps = Maps::new(Cursor::starting_at(found.entry.public, found.public.size_bytes()));
    let walked = maps.for_each(|name, _| {
        is_one |= [names::SIGNATURES, names::COSE_SIGNATURES, names::TREE].contains(&name);
    });
    Ok(is_one || walked.is_err())
}

/// Whether the last signature, as it stands here, is over this root, by who signed it.
fn signs(pool: &Pool, grown: &Grown, choice: &Choice) -> Result<bool> {
    let root = grown.state.accumulator.root();
    let (_, tx) = scan_piece(pool, &piece(choice))?;
    Ok(tx.is_some_and(|tx| tx.recorded_root() == Some(root) && is_signed_here(&grown.state.trust, &tx, root)))
}
