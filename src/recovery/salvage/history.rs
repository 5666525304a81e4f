//! A history: where its entries are, what its signatures prove, and why it ends.

use super::pool::Pool;
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::format::{Seqno, TxId};
use crate::merkle::Accumulator;
use crate::recovery::trust::Trust;
use crate::tables::values::HexDigest;

/// Entries in one file that go into the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub source: usize,
    /// The run of entries in it that the first one is in.
    pub run: usize,
    /// First seqno.
    pub first: Seqno,
    /// Last seqno.
    pub last: Seqno,
    /// Offset of the first entry.
    pub offset: u64,
    /// Offset after the last one.
    pub end: u64,
}

impl Piece {
    /// Where the entry of a seqno in it stands, or the end for the one after it. Runs of a file are many where it is damaged in many
    /// places: they are not searched.
    pub fn offset_of(&self, pool: &Pool, bytes: &[u8], seqno: Seqno) -> Option<u64> {
        if seqno == self.first {
            return Some(self.offset);
        }
        if seqno == self.last + 1 {
            return Some(self.end);
        }
        let offset = pool.runs.get(self.run)?.offset_of(bytes, seqno)?;
        (self.offset..self.end).contains(&offset).then_some(offset)
    }
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
    /// A file holds an entry of this seqno, and nothing that is left of its copy says whether that belongs to this history: the
    /// seqno, and the file's source.
    Unlinked(Seqno, usize),
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

    /// The service that it ends with.
    pub fn service(&self) -> Option<HexDigest> {
        self.state.trust.services().last().map(|service| service.identity)
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
            Some(last) if last.run == piece.run && last.end == piece.offset && last.last + 1 == piece.first => {
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
        let offset = piece.offset_of(pool, bytes, seqno);
        let end = piece.offset_of(pool, bytes, seqno + 1);
        Ok(offset.zip(end).map(|(offset, end)| (piece.source, offset, end)))
    }
}
