//! What was promised, and has to be there whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::core::{Outcome, Ticket};
use crate::crypto::digest::{Digest, Sha256Stream, sha256};
use crate::format::entry::Entry;
use crate::format::snapshot::key_order;
use crate::format::{Seqno, TxId, View};
use crate::journal::files::Operation;
use crate::journal::snapshot::Draft;
use crate::kv::store::Committed;

/// An entry that was given to the disk.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) chunk: Seqno,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    /// By a call that succeeded.
    written: bool,
}

/// What was promised, over all services of a seed.
#[derive(Default)]
pub(super) struct Promises {
    /// Digests of entries that were announced committed.
    pub(super) kept: BTreeMap<Seqno, Digest>,
    /// First seqno of the present service, and whether its opening was announced committed: before that, the next
    /// recovery sets aside what it has.
    pub(super) service: Option<(Seqno, bool)>,
    /// Of the present service: what each nonce has sealed.
    nonces: BTreeMap<(View, Seqno), Digest>,
    /// Of the present service: entries that were given to the disk, each the last of its seqno.
    given: BTreeMap<Seqno, Given>,
    /// Who waits for an answer.
    waiting: BTreeSet<Ticket>,
    drafted: BTreeMap<Seqno, Digest>,
    committed: Seqno,
}

impl Promises {
    /// A new service begins at `first`.
    pub(super) fn begin(&mut self, first: Seqno) {
        self.service = Some((first, false));
        self.nonces.clear();
        self.given.clear();
        self.waiting.clear();
        self.drafted.clear();
        self.committed = first - 1;
    }

    /// The last seqno that was promised.
    pub(super) fn last(&self) -> Seqno {
        self.kept.last_key_value().map_or(0, |(seqno, _)| *seqno)
    }

    /// The service that was never open is gone.
    pub(super) fn forget_service(&mut self) {
        if let Some((first, _)) = self.service.take() {
            self.kept.split_off(&first);
        }
    }

    pub(super) fn asked(&mut self, ticket: Ticket) {
        self.waiting.insert(ticket);
    }

    /// An operation is given to the disk.
    pub(super) fn gives(&mut self, operation: &Operation) -> Result<(), String> {
        let Operation::Write { chunk, offset, entries } = operation else {
            return Ok(());
        };
        let mut offset = *offset;
        for bytes in entries {
            let entry = Entry::parse(bytes).map_err(|why| format!("what is written is no entry: {why}"))?;
            let iv = entry.iv();
            let digest = sha256(bytes);
            let before = *self.nonces.entry((iv.view, iv.seqno)).or_insert(digest);
            if before != digest {
                return Err(format!("the nonce {}.{} seals two texts", iv.view, iv.seqno));
            }
            let given = Given {
                chunk: *chunk,
                offset,
                bytes: bytes.clone(),
                written: self.given.get(&iv.seqno).is_some_and(|given| given.written),
            };
            self.given.insert(iv.seqno, given);
            offset += bytes.len() as u64;
        }
        Ok(())
    }

    /// That succeeded.
    pub(super) fn gave(&mut self, operation: &Operation) {
        let Operation::Write { entries, .. } = operation else {
            return;
        };
        for bytes in entries {
            let seqno = Entry::parse(bytes).map_or(0, |entry| entry.iv().seqno);
            if let Some(given) = self.given.get_mut(&seqno) {
                given.written = true;
            }
        }
    }

    /// Whoever asked is answered.
    pub(super) fn answered(&mut self, ticket: Ticket, outcome: &Outcome) -> Result<(), String> {
        if !self.waiting.remove(&ticket) {
            return Err(format!("{ticket:?} is answered, and did not wait for it"));
        }
        let Outcome::Written(txid) = outcome else { return Ok(()) };
        let is_old = self.service.is_some_and(|(first, _)| txid.seqno < first);
        match is_old || self.given.get(&txid.seqno).is_some_and(|given| given.written) {
            true => Ok(()),
            false => Err(format!("{txid} is answered, and is in no file")),
        }
    }

    /// Everything up to a signature is announced committed. Answers the entries that this promises for the first time.
    pub(super) fn committed(&mut self, txid: TxId) -> Result<Vec<(Seqno, Given)>, String> {
        let mut promised = Vec::new();
        for seqno in self.committed + 1..=txid.seqno {
            let given = self.given.get(&seqno);
            let given = given.ok_or_else(|| format!("{seqno} is committed, and was never given to the disk"))?;
            self.kept.insert(seqno, sha256(&given.bytes));
            promised.push((seqno, given.clone()));
        }
        self.committed = txid.seqno;
        Ok(promised)
    }

    pub(super) fn rolled_back(&mut self, to: Seqno) -> Result<(), String> {
        if to < self.committed {
            return Err(format!("{to} is rolled back to, after {} committed", self.committed));
        }
        self.given.split_off(&(to + 1));
        Ok(())
    }

    /// A state is sealed as a snapshot: under one nonce, so it must be the same where that is done again.
    pub(super) fn drafts(&mut self, draft: &Draft, state: &Committed) -> Result<(), String> {
        let sealed = digest_of(draft, state);
        match self.drafted.insert(draft.seqno, sealed) {
            Some(before) if before != sealed => Err(format!("two states are sealed as the one at {}", draft.seqno)),
            _ => Ok(()),
        }
    }

    /// Nobody may be left without an answer.
    pub(super) fn stopped(&self) -> Result<(), String> {
        match self.waiting.is_empty() {
            true => Ok(()),
            false => Err(format!("{:?} were never answered", self.waiting)),
        }
    }
}

/// Of everything that a snapshot seals.
fn digest_of(draft: &Draft, state: &Committed) -> Digest {
    let mut all = Sha256Stream::new();
    all.update(&draft.leaf);
    draft
        .view_history
        .iter()
        .for_each(|first| all.update(&first.to_le_bytes()));
    for (name, version, base) in [&state.public, &state.private].into_iter().flat_map(|base| {
        base.maps()
            .into_iter()
            .map(move |(name, version)| (name, version, base))
    }) {
        all.update(name.as_bytes());
        all.update(&version.to_le_bytes());
        for live in base.ordered(name, key_order) {
            for part in [live.key, &live.version.to_le_bytes(), live.value] {
                all.update(&(part.len() as u64).to_le_bytes());
                all.update(part);
            }
        }
    }
    all.finish()
}
