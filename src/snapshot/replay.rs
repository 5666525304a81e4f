//! The state after each of some seqnos, from one reading of the ledger in order.
//!
//! Segments are read and decrypted in parallel, a group at a time; while the next group is read, the writes of the one
//! before are applied, in order. Memory follows what is alive, and a group of segments.

use std::collections::HashMap;

use rayon::prelude::*;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::format::domain::is_public;
use crate::format::snapshot::{Part, private_parts};
use crate::format::{Seqno, View};
use crate::kv::base::Base;
use crate::recovery::join::MAX_VIEW;
use crate::recovery::secrets::LedgerSecrets;
use crate::recovery::segments::Segment;
use crate::recovery::state::{MappedSnapshot, older_parts};
use crate::recovery::writes::{Keys, Order, Reader, Written, gaps, in_groups};
use crate::report::Finding;
use crate::report::progress::Progress;
use crate::tables::names;
use crate::tables::values::{Signature, from_json};

/// Removed keys are remembered up to so many bytes: 1.x and 2.x, which kept them in snapshots, kept them in memory too.
const MAX_GRAVE_BYTES: u64 = 256 << 20;
/// So many signatures in a row that know nothing of a commit are not of 1.x to 3.x, which said what was committed.
const MODERN_AFTER: u32 = 32;

/// What a replay reads.
pub struct Replay<'a> {
    /// The ledger.
    pub files: &'a LedgerFiles,
    /// The snapshot that the ledger begins after; none where it begins at seqno 1.
    pub start: Option<&'a MappedSnapshot>,
    /// What opens private domains; without them these are left out.
    pub secrets: Option<&'a LedgerSecrets>,
    /// Is told how far it is.
    pub progress: &'a dyn Progress,
}

/// The state after one transaction.
#[derive(Default)]
pub struct State {
    /// The transaction.
    pub at: Seqno,
    /// Public maps.
    pub public: Base,
    /// Private maps.
    pub private: Base,
    /// Removed keys, with the seqno of their removal as version; `None` where they are not known.
    pub graves: Option<Base>,
    /// First seqno of each view, from view 1 on.
    pub view_history: Vec<Seqno>,
    last_signature: Seqno,
    /// Signatures in a row that said nothing of a commit.
    silent_signatures: u32,
    /// The first seqno from which on something could not be read, and what.
    broken: Option<(Seqno, String)>,
    /// The same of private parts alone, for which there is no secret.
    locked: Option<Seqno>,
}

impl State {
    /// Why this is not the state that the service had, if something that led to it could not be read.
    pub fn gap(&self) -> Option<&str> {
        self.broken
            .as_ref()
            .filter(|(seqno, _)| *seqno <= self.at)
            .map(|(_, why)| why.as_str())
    }

    /// The seqno of an entry before, if there is one, whose private part no known secret opens.
    pub fn locked_at(&self) -> Option<Seqno> {
        self.locked.filter(|seqno| *seqno <= self.at)
    }

    /// The version of a map in 1.x and 2.x, where that is another one: to remove once more what is removed was a change.
    pub fn version_with_graves(&self, map: &str) -> Option<Seqno> {
        let of_graves = self.graves.as_ref()?.version_of(map)?;
        let base = self.maps(is_public(map));
        (of_graves > base.version_of(map)?).then_some(of_graves)
    }

    /// The maps of one kind.
    pub fn maps(&self, public: bool) -> &Base {
        if public { &self.public } else { &self.private }
    }

    fn apply(&mut self, table: &str, seqno: Seqno, key: &[u8], value: Option<&[u8]>) {
        let base = match is_public(table) {
            true => &mut self.public,
            false => &mut self.private,
        };
        if let Some(graves) = &mut self.graves {
            match value {
                Some(_) if graves.len_of(table) > 0 => graves.insert(table, key, seqno, None),
                None if base.get(table, key).is_some() || graves.get(table, key).is_some() => {
                    graves.insert(table, key, seqno, Some(&[]));
                }
                _ => {}
            }
        }
        base.insert(table, key, seqno, value);
    }

    fn sign(&mut self, seqno: Seqno, view: View, says_commit: bool) {
        let first = self.last_signature + 1;
        if view <= MAX_VIEW {
            while (self.view_history.len() as u64) < view {
                self.view_history.push(first);
            }
        }
        self.last_signature = seqno;
        self.silent_signatures = match says_commit {
            true => 0,
            false => self.silent_signatures.saturating_add(1),
        };
        let held = self.graves.as_ref().map_or(0, Base::allocated_bytes);
        if self.silent_signatures > MODERN_AFTER || held > MAX_GRAVE_BYTES {
            self.graves = None;
        }
    }

    fn miss(&mut self, findings: Vec<Finding>, from: Seqno) {
        for finding in findings {
            let seqno = finding.seqno.unwrap_or(from);
            if self.broken.as_ref().is_none_or(|(known, _)| seqno < *known) {
                self.broken = Some((seqno, finding.message));
            }
        }
    }

    /// The state that a snapshot holds.
    fn of_snapshot(snapshot: &MappedSnapshot, secrets: Option<&LedgerSecrets>) -> Result<State> {
        let mut state = State {
            at: snapshot.seqno,
            last_signature: snapshot.seqno,
            ..State::default()
        };
        let mut graves = Base::new();
        snapshot.public_parts(live_and_removed(&mut state.public, &mut graves))?;
        state.view_history = snapshot.view_history(MAX_VIEW)?;
        if snapshot.has_private_part()? {
            match secrets.and_then(|secrets| secrets.key_at(snapshot.seqno)) {
                None => state.locked = Some(snapshot.seqno),
                Some(key) => {
                    let plaintext = snapshot.private_plaintext(key)?;
                    private_parts(&plaintext, live_and_removed(&mut state.private, &mut graves))
                        .map_err(|why| Error::Unreadable(format!("private part of the snapshot: {why}")))?;
                }
            }
        }
        // One that keeps removed keys has all of them; where there are none, it may be of a version that does not.
        state.graves = Some(graves).filter(|graves| !graves.is_empty());
        Ok(state)
    }
}

/// Loads the pieces of a snapshot: what is alive, and what 1.x and 2.x keep of what was removed.
fn live_and_removed<'p>(base: &mut Base, graves: &mut Base) -> impl FnMut(Part<'p>) {
    let mut live = older_parts(base, |_| true);
    let mut map = "";
    move |part| {
        match &part {
            Part::Map { name, .. } => map = name,
            Part::Entry(entry) if entry.version < 0 => {
                graves.insert(map, entry.key, entry.version.unsigned_abs(), Some(&[]));
            }
            Part::Entry(_) => {}
        }
        live(part);
    }
}

/// What a segment gave: its writes, copied, in order.
#[derive(Default)]
struct Batch {
    from: Seqno,
    /// Keys and values, one after the other.
    bytes: Zeroizing<Vec<u8>>,
    tables: Vec<String>,
    /// Their places.
    numbers: HashMap<String, u32>,
    events: Vec<Event>,
    findings: Vec<Finding>,
    locked: bool,
}

enum Event {
    /// Lengths into [`Batch::bytes`]; no value: removed.
    Write {
        seqno: Seqno,
        table: u32,
        key: usize,
        value: Option<usize>,
    },
    Signature {
        seqno: Seqno,
        view: View,
        /// Whether it says what was committed, as 1.x to 3.x did.
        says_commit: bool,
    },
}

impl Event {
    fn seqno(&self) -> Seqno {
        match self {
            Event::Write { seqno, .. } | Event::Signature { seqno, .. } => *seqno,
        }
    }
}

impl Batch {
    fn take(&mut self, written: Written<'_>) {
        let seqno = written.txid.seqno;
        let table = self.table(written.table);
        self.bytes.extend_from_slice(written.write.key);
        self.bytes.extend_from_slice(written.write.value.unwrap_or_default());
        self.events.push(Event::Write {
            seqno,
            table,
            key: written.write.key.len(),
            value: written.write.value.map(<[u8]>::len),
        });
        let says_commit = match written.table {
            names::SIGNATURES => written.write.value.map(from_json::<Signature>),
            names::COSE_SIGNATURES => None,
            _ => return,
        };
        self.events.push(Event::Signature {
            seqno,
            view: written.txid.view,
            says_commit: says_commit.is_some_and(|signature| signature.is_ok_and(|signed| signed.commit_seqno > 0)),
        });
    }

    fn table(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.tables.len() as u32;
        self.tables.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// Applies its events in order; `before` is called ahead of the first one of each transaction.
    fn apply(self, state: &mut State, mut before: impl FnMut(&mut State, Seqno) -> Result<()>) -> Result<()> {
        if self.locked && state.locked.is_none() {
            state.locked = Some(self.from);
        }
        state.miss(self.findings, self.from);
        let mut rest = self.bytes.as_slice();
        let mut cut = |len: usize| {
            let (now, after) = rest.split_at_checked(len).unwrap_or_default();
            rest = after;
            now
        };
        let mut last_signature = 0;
        for event in &self.events {
            before(state, event.seqno())?;
            match event {
                Event::Write {
                    seqno,
                    table,
                    key,
                    value,
                } => {
                    let key = cut(*key);
                    let value = value.map(&mut cut);
                    if let Some(table) = self.tables.get(*table as usize) {
                        state.apply(table, *seqno, key, value);
                    }
                }
                Event::Signature {
                    seqno,
                    view,
                    says_commit,
                } => {
                    // A signature of node and service writes to both tables.
                    if *seqno != last_signature || *says_commit {
                        state.sign(*seqno, *view, *says_commit);
                    }
                    last_signature = *seqno;
                }
            }
        }
        Ok(())
    }
}

impl Replay<'_> {
    /// The first seqno that is read: what a state must be at or after.
    pub fn begins_at(&self) -> Seqno {
        self.start
            .map_or(self.files.first_seqno(), |start| start.seqno.saturating_add(1))
    }

    /// Reads up to the last of `stops`, which are in order, and hands the state after each to `each`. Stops that lie before
    /// what is read are passed over.
    ///
    /// # Errors
    /// If a file can't be read; whatever `each` answers.
    pub fn run(&self, stops: &[Seqno], mut each: impl FnMut(&State) -> Result<()> + Send) -> Result<()> {
        let from = self.begins_at();
        let mut stops = stops.iter().copied().filter(|stop| *stop >= from).peekable();
        let Some(until) = stops.clone().last() else {
            return Ok(());
        };
        let mut state = match self.start {
            Some(start) => State::of_snapshot(start, self.secrets)?,
            None => State {
                // What a snapshot no longer has, nobody can know.
                graves: Some(Base::new()),
                ..State::default()
            },
        };
        state.miss(gaps(self.files, (from, until)).finish(), from);
        if self.start.is_none() && from > 1 {
            state.broken = Some((1, format!("the ledger starts at seqno {from}")));
        }
        let reader = Reader {
            from,
            until,
            tables: None,
            keys: self.secrets.map(|secrets| secrets as &dyn Keys),
            only: None,
        };
        self.progress.begin("replay", self.files.size_bytes());
        let read = |segment: &Segment| {
            let mut batch = Batch {
                from: segment.from,
                ..Batch::default()
            };
            let met = reader.read(segment, |written| batch.take(written));
            self.progress.advance(segment.size_bytes, met.entries);
            batch.locked = met.private_locked > 0;
            batch.findings = met.findings.finish();
            batch
        };
        let mut apply = |batch: Batch| {
            batch.apply(&mut state, |state, next| {
                while let Some(stop) = stops.next_if(|stop| *stop < next) {
                    state.at = stop;
                    each(state)?;
                }
                Ok(())
            })
        };
        let mut waiting: Vec<Batch> = Vec::new();
        in_groups(self.files, (from, until), Order::OldestFirst, |group| {
            let ready = std::mem::take(&mut waiting);
            let (applied, parts) = rayon::join(
                || ready.into_iter().try_for_each(&mut apply),
                || group.par_iter().with_max_len(1).map(&read).collect(),
            );
            waiting = parts;
            applied
        })?;
        waiting.into_iter().try_for_each(&mut apply)?;
        for stop in stops {
            state.at = stop;
            each(&state)?;
        }
        self.progress.end();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
