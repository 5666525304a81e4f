//! Candidates of one seqno, told apart by their leaves: for where no tree says which is the right one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::pool::{Found, Pool};
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::cursor::Cursor;
use crate::format::domain::Maps;
use crate::format::{Seqno, View};

/// Candidates of one seqno in one copy that are looked at where nothing says which is right: a sound copy has one.
pub const MAX_CANDIDATES: usize = 256;

/// An entry, as one or more files hold it.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its seqno.
    pub seqno: Seqno,
    /// Its view.
    pub view: View,
    /// Its leaf.
    pub leaf: Digest,
    /// A file that holds it.
    pub source: usize,
    /// The run of entries there.
    pub run: usize,
    /// Offset there.
    pub offset: u64,
    /// Offset after it.
    pub end: u64,
    /// The copies that hold it.
    pub copies: BTreeSet<usize>,
    /// Whether all of its public writes can be read.
    pub is_sound: bool,
    /// Whether it is only in files that a recovery left which did not open.
    pub is_left_over: bool,
}

impl Choice {
    /// What stands there.
    pub fn of(pool: &Pool, run: usize, found: &Found<'_>, leaf: Digest) -> Choice {
        let source = pool.runs.get(run).map_or(0, |run| run.source);
        let maps = Maps::new(Cursor::starting_at(found.entry.public, found.public.size_bytes()));
        Choice {
            seqno: found.seqno,
            view: found.view,
            leaf,
            source,
            run,
            offset: found.offset,
            end: found.end(),
            copies: pool.holders(source).iter().copied().collect(),
            is_sound: maps.for_each(|_, _| ()).is_ok(),
            is_left_over: pool.sources.get(source).is_some_and(|source| source.is_recovery()),
        }
    }
}

/// The different candidates of a seqno that these runs hold: sound ones first, then those of the copy that is preferred, then
/// those that most copies hold.
///
/// # Errors
/// If a file can't be read.
pub fn options(pool: &Pool, seqno: Seqno, runs: &[usize], prefer: Option<usize>) -> Result<Vec<Choice>> {
    let mut choices: Vec<Choice> = Vec::new();
    let mut looked: BTreeMap<usize, usize> = BTreeMap::new();
    for &run in runs {
        let copy = pool.copy_of(run);
        let looked = looked.entry(copy).or_default();
        *looked += 1;
        if *looked > MAX_CANDIDATES {
            continue;
        }
        let choice = pool.with_entry(run, seqno, |found| {
            let leaf = found.leaf();
            Choice::of(pool, run, &found, leaf)
        })?;
        let Some(choice) = choice else { continue };
        match choices.iter_mut().find(|known| known.leaf == choice.leaf) {
            Some(known) => {
                known.copies.extend(choice.copies);
                known.is_left_over &= choice.is_left_over;
            }
            None => choices.push(choice),
        }
    }
    choices.sort_by_key(|choice| Reverse(rank(choice, prefer)));
    Ok(choices)
}

/// The better a candidate is, the greater.
pub fn rank(choice: &Choice, prefer: Option<usize>) -> (bool, bool, bool, usize) {
    (
        choice.is_sound,
        prefer.is_some_and(|copy| choice.copies.contains(&copy)),
        !choice.is_left_over,
        choice.copies.len(),
    )
}
