//! Which files go with a history where no digest says so: those that hold some of it, and new chunks of copies that do.
//!
//! Entries that nothing signs could be anybody's. A file that has other entries where the history has its own is of another one,
//! or of nobody's, and what follows in it must not be appended.

use std::collections::BTreeMap;

use super::history::Grown;
use super::pool::{Found, Pool};
use crate::error::Result;
use crate::format::Seqno;

/// Entries of a run that are compared, back from the last: damage does not reach over so many.
const COMPARED: u64 = 64;

/// What a file is to a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It goes with it.
    Related,
    /// It, or the copy that it is in, has other entries where the history has its own.
    Stranger,
    /// Nothing that is left says so, or otherwise.
    Unlinked,
}

/// What is known of files.
pub struct Related<'a> {
    pool: &'a Pool,
    grown: &'a Grown,
    last: Seqno,
    copies: BTreeMap<usize, Relation>,
    known: BTreeMap<usize, Relation>,
}

impl<'a> Related<'a> {
    /// Nothing yet, but for the files that the history is made of; it is proven up to `last`.
    pub fn to(pool: &'a Pool, grown: &'a Grown, last: Seqno) -> Related<'a> {
        let sources = grown.pieces.iter().map(|piece| piece.source);
        let copies = sources.clone().flat_map(|source| pool.holders(source).iter().copied());
        Related {
            pool,
            grown,
            last,
            copies: copies.map(|copy| (copy, Relation::Related)).collect(),
            known: sources.map(|source| (source, Relation::Related)).collect(),
        }
    }

    /// What a file is to the history.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn of(&mut self, source: usize) -> Result<Relation> {
        if let Some(&known) = self.known.get(&source) {
            return Ok(known);
        }
        let is = match self.holds_some(source)? {
            Some(true) => Relation::Related,
            Some(false) => Relation::Stranger,
            None => {
                let mut is = Relation::Stranger;
                for copy in self.pool.holders(source).to_vec() {
                    match self.of_copy(copy)? {
                        Relation::Related => is = Relation::Related,
                        Relation::Unlinked if is == Relation::Stranger => is = Relation::Unlinked,
                        Relation::Unlinked | Relation::Stranger => {}
                    }
                }
                is
            }
        };
        self.known.insert(source, is);
        Ok(is)
    }

    /// What a copy is to it, by the files that hold some of what comes before its end.
    fn of_copy(&mut self, copy: usize) -> Result<Relation> {
        if let Some(&known) = self.copies.get(&copy) {
            return Ok(known);
        }
        let pool = self.pool;
        let mut is = Relation::Unlinked;
        for (number, source) in pool
            .sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.copy == copy)
        {
            match self.holds_some(source.same_as.unwrap_or(number))? {
                Some(true) => {
                    is = Relation::Related;
                    break;
                }
                Some(false) => is = Relation::Stranger,
                None => {}
            }
        }
        self.copies.insert(copy, is);
        Ok(is)
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
