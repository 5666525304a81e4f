//! Which files go with a history where no digest says so: those that hold some of it, and new chunks of copies that do.
//!
//! Entries that nothing signs could be anybody's. A file that has other entries where the history has its own is of another one,
//! or of nobody's, and what follows in it must not be appended.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Grown;
use super::pool::{Found, Pool};
use crate::error::Result;
use crate::format::Seqno;

/// Entries of a run that are compared, back from the last: damage does not reach over so many.
const COMPARED: u64 = 64;

/// What is known of files.
pub struct Related<'a> {
    pool: &'a Pool,
    grown: &'a Grown,
    last: Seqno,
    copies: BTreeSet<usize>,
    /// Copies without a file that has some of it.
    strangers: BTreeSet<usize>,
    known: BTreeMap<usize, bool>,
}

impl<'a> Related<'a> {
    /// Nothing yet, but for the files that the history is made of; it is proven up to `last`.
    pub fn to(pool: &'a Pool, grown: &'a Grown, last: Seqno) -> Related<'a> {
        let sources = grown.pieces.iter().map(|piece| piece.source);
        Related {
            pool,
            grown,
            last,
            copies: sources
                .clone()
                .flat_map(|source| pool.holders(source).iter().copied())
                .collect(),
            strangers: BTreeSet::new(),
            known: sources.map(|source| (source, true)).collect(),
        }
    }

    /// Whether a file goes with the history.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn is(&mut self, source: usize) -> Result<bool> {
        if let Some(&known) = self.known.get(&source) {
            return Ok(known);
        }
        let is = match self.holds_some(source)? {
            Some(holds) => holds,
            None => {
                let copies = self.pool.holders(source).to_vec();
                let mut is = copies.iter().any(|copy| self.copies.contains(copy));
                for copy in copies {
                    is = is || self.is_copy(copy)?;
                }
                is
            }
        };
        self.known.insert(source, is);
        Ok(is)
    }

    /// Whether a copy has a file that holds some of it.
    fn is_copy(&mut self, copy: usize) -> Result<bool> {
        if self.strangers.contains(&copy) {
            return Ok(false);
        }
        let pool = self.pool;
        for (number, source) in pool
            .sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.copy == copy)
        {
            if self.holds_some(source.same_as.unwrap_or(number))? == Some(true) {
                self.copies.insert(copy);
                return Ok(true);
            }
        }
        self.strangers.insert(copy);
        Ok(false)
    }

    /// Whether a file holds an entry of the history; nothing where it begins after it.
    fn holds_some(&self, source: usize) -> Result<Option<bool>> {
        let mut begins_before = false;
        for run in self.pool.runs_of(source).iter().filter(|run| run.first <= self.last) {
            begins_before = true;
            let until = run.last.min(self.last);
            let chunk = self.pool.open(source)?;
            let bytes = chunk.map.bytes();
            for seqno in (run.first.max(until.saturating_sub(COMPARED))..=until).rev() {
                let Some((theirs, offset, _)) = self.grown.place_of(self.pool, seqno)? else {
                    continue;
                };
                let other = self.pool.open(theirs)?;
                let mine = run.offset_of(bytes, seqno).and_then(|at| Found::at(bytes, at));
                let right = Found::at(other.map.bytes(), offset);
                if let (Some(mine), Some(right)) = (mine, right)
                    && mine.entry.raw == right.entry.raw
                {
                    return Ok(Some(true));
                }
            }
        }
        Ok(begins_before.then_some(false))
    }
}
