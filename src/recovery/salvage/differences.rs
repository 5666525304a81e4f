//! What the files hold that is not in the history that was grown: entries that differ, and signatures over another history.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::history::Grown;
use super::mend::tree_in;
use super::pool::{Found, Pool};
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::Seqno;
use crate::merkle::tree::TreeView;

/// Signatures over another history that are looked into, in one run of entries: of a real one, any tells where it begins.
const MAX_RIVALS: usize = 256;
/// Leaves that are compared to find out where another history begins, in one run of entries.
const MAX_LEAVES: u64 = 1 << 20;

/// What one run of entries holds that is not in the result.
#[derive(Clone, Debug, Default)]
pub struct Difference {
    /// The run.
    pub run: usize,
    /// Its entries that differ: first, last and offset.
    pub stretches: Vec<(Seqno, Seqno, u64)>,
    /// Where histories begin to differ that it has signatures over.
    pub rivals: BTreeSet<Seqno>,
}

/// Compares every run with the history.
///
/// # Errors
/// If a file can't be read.
pub fn all(pool: &Pool, grown: &Grown) -> Result<Vec<Difference>> {
    let found: Vec<Difference> = (0..pool.runs.len())
        .into_par_iter()
        .with_max_len(1)
        .map(|run| compare(pool, grown, run))
        .collect::<Result<_>>()?;
    let differs = |difference: &Difference| !difference.stretches.is_empty() || !difference.rivals.is_empty();
    Ok(found.into_iter().filter(differs).collect())
}

fn compare(pool: &Pool, grown: &Grown, number: usize) -> Result<Difference> {
    let mut found = Difference {
        run: number,
        ..Difference::default()
    };
    let Some(run) = pool.runs.get(number) else {
        return Ok(found);
    };
    let Some(last) = grown.last() else { return Ok(found) };
    let chunk = pool.open(run.source)?;
    let bytes = chunk.map.bytes();
    let mut look = Look {
        pool,
        grown,
        tried: 0,
        leaves: 0,
    };
    let begin = grown.pieces.partition_point(|piece| piece.last < run.first);
    for piece in grown
        .pieces
        .iter()
        .skip(begin)
        .take_while(|piece| piece.first <= run.last)
    {
        let (from, to) = (piece.first.max(run.first), piece.last.min(run.last));
        let Some(own) = run.offset_of(bytes, from) else {
            continue;
        };
        if piece.source == run.source && (piece.offset..piece.end).contains(&own) {
            continue;
        }
        let other = pool.open(piece.source)?;
        let theirs = other.map.bytes();
        let Some(mut at) = piece.offset_of(pool, theirs, from) else {
            continue;
        };
        let ends = (run.offset_of(bytes, to + 1), piece.offset_of(pool, theirs, to + 1));
        if let (Some(end), Some(their_end)) = ends
            && bytes.get(own as usize..end as usize) == theirs.get(at as usize..their_end as usize)
        {
            continue;
        }
        let mut own = own;
        for seqno in from..=to {
            let (Some(mine), Some(right)) = (Found::at(bytes, own), Found::at(theirs, at)) else {
                break;
            };
            if mine.entry.raw != right.entry.raw {
                match found.stretches.last_mut() {
                    Some((_, until, _)) if *until + 1 == seqno => *until = seqno,
                    _ => found.stretches.push((seqno, seqno, own)),
                }
                found.rivals.extend(look.rival(&mine, tree_in(&right))?);
            }
            (own, at) = (mine.end(), right.end());
        }
    }
    // Signatures after the end may be over another history, too, as long as their trees reach back.
    let after = (last + 1).max(run.first);
    if after <= run.last
        && let Some(mut own) = run.offset_of(bytes, after)
    {
        for _ in after..=run.last {
            let Some(mine) = Found::at(bytes, own) else { break };
            if let Some(tree) = tree_in(&mine).and_then(|tree| TreeView::parse(tree).ok()) {
                if tree.flushed > last {
                    break;
                }
                found.rivals.extend(look.rival(&mine, None)?);
            }
            own = mine.end();
        }
    }
    Ok(found)
}

struct Look<'a> {
    pool: &'a Pool,
    grown: &'a Grown,
    tried: usize,
    leaves: u64,
}

impl Look<'_> {
    /// Where the history begins to differ that a signature transaction's tree is of; `right` is the tree that is in the result.
    fn rival(&mut self, found: &Found<'_>, right: Option<&[u8]>) -> Result<Option<Seqno>> {
        let Some(bytes) = tree_in(found).filter(|tree| Some(*tree) != right) else {
            return Ok(None);
        };
        let Some(tree) = TreeView::parse(bytes).ok().filter(|tree| tree.len() == found.seqno) else {
            return Ok(None);
        };
        let last = self.grown.last().unwrap_or(0).min(found.seqno - 1);
        if self.tried >= MAX_RIVALS || self.leaves >= MAX_LEAVES {
            return Ok(None);
        }
        self.tried += 1;
        for seqno in tree.flushed.max(1)..=last {
            self.leaves += 1;
            let leaf = leaf_of(self.pool, self.grown, seqno)?;
            if leaf.is_some() && leaf.as_ref() != tree.leaf(seqno) {
                // Where its first leaf differs already, an earlier signature over that history tells where it begins.
                return Ok((seqno > tree.flushed || seqno == 1).then_some(seqno));
            }
        }
        // All leaves are the same, and this entry itself is where they part.
        Ok((found.seqno <= self.grown.last().unwrap_or(0)).then_some(found.seqno))
    }
}

/// The leaf of an entry of a history.
///
/// # Errors
/// If its file can't be read.
pub fn leaf_of(pool: &Pool, grown: &Grown, seqno: Seqno) -> Result<Option<Digest>> {
    let Some((source, offset, _)) = grown.place_of(pool, seqno)? else {
        return Ok(None);
    };
    let chunk = pool.open(source)?;
    Ok(Found::at(chunk.map.bytes(), offset).map(|found| found.leaf()))
}
