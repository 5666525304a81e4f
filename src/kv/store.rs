//! The live store of a writer: a base of what is committed, an overlay of what may still be rolled back.
//!
//! One owner applies transactions in order. A [`Transaction`] reads a state that is held still, and its own writes, and
//! ends as a [`WriteSet`] and a [`ReadSet`]: where the newest state [still holds](Store::still_holds) what was read, the
//! writes become an entry, and are applied. [`Store::compact`] moves what is committed into the base,
//! [`Store::rollback`] forgets what comes after a seqno.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;
use zeroize::Zeroize;

use super::base::Base;
use super::pending::Pending;
use crate::format::Seqno;
use crate::format::domain::{WriteSet, is_public};
use crate::format::private::PrivateWrites;

/// Writes of one key, oldest first: seqno and value, `None` for a removal.
type Versions = SmallVec<[(Seqno, Option<Vec<u8>>); 1]>;

/// What is committed: public and private maps apart, because a recovery has the one long before the other. A clone shares
/// them, and keeps them as they are.
#[derive(Clone, Default)]
pub struct Committed {
    /// Public maps.
    pub public: Arc<Base>,
    /// Private maps.
    pub private: Arc<Base>,
}

impl Committed {
    fn of(&self, map: &str) -> &Base {
        if is_public(map) { &self.public } else { &self.private }
    }

    /// Bytes of live keys and values.
    pub fn live_bytes(&self) -> u64 {
        self.public.live_bytes() + self.private.live_bytes()
    }
}

/// The versions of a map's keys that are not in the base. Shared with whoever holds the state still.
type Overlay = BTreeMap<String, Arc<HashMap<Vec<u8>, Versions>>>;

/// The state after one transaction. A clone holds it still, whatever is applied to the store meanwhile.
#[derive(Clone, Default)]
pub struct Frozen {
    base: Committed,
    overlay: Overlay,
    /// What another node's entries write to private maps. All of it is older than what the overlay has of such maps.
    pending: Pending,
    seqno: Seqno,
    /// Counts what changes the state otherwise than by transactions.
    epoch: u64,
}

/// The state after the last applied transaction.
#[derive(Default)]
pub struct Store {
    newest: Frozen,
    /// Seqno of the state in the base.
    based_at: Seqno,
    /// Seqno of the last write to each map that was written to.
    written: BTreeMap<String, Seqno>,
}

impl Frozen {
    /// Seqno of the last applied transaction.
    pub fn seqno(&self) -> Seqno {
        self.seqno
    }

    /// The newest value of a key, and the seqno of its write.
    pub fn get(&self, map: &str, key: &[u8]) -> Option<(Seqno, &[u8])> {
        let versions = self.overlay.get(map).and_then(|keys| keys.get(key));
        match versions.and_then(|versions| versions.last()) {
            Some((version, value)) => Some((*version, value.as_deref()?)),
            None => match self.pending.get(map, key) {
                Some((version, value)) => Some((version, value?)),
                None => self.base.of(map).get(map, key).map(|live| (live.version, live.value)),
            },
        }
    }

    /// Hands every live key of a map to `each`, in no order.
    pub fn for_each(&self, map: &str, mut each: impl FnMut(&[u8], &[u8])) {
        let overlay = self.overlay.get(map);
        let pending = self.pending.newest(map);
        let is_overlaid = |key: &[u8]| overlay.is_some_and(|keys| keys.contains_key(key));
        for live in self.base.of(map).iter(map) {
            if !is_overlaid(live.key) && !pending.contains_key(live.key) {
                each(live.key, live.value);
            }
        }
        for (key, value) in pending {
            if let Some(value) = value.filter(|_| !is_overlaid(key)) {
                each(key, value);
            }
        }
        for (key, versions) in overlay.into_iter().flat_map(|keys| keys.iter()) {
            if let Some((_, Some(value))) = versions.last() {
                each(key, value);
            }
        }
    }

    /// Starts a transaction on this state.
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction {
            state: self,
            writes: WriteSet::new(),
            reads: RefCell::default(),
        }
    }

    /// Runs `body` in a transaction and answers what it wrote; nothing is applied.
    ///
    /// # Errors
    /// Whatever `body` answers; its writes are forgotten then.
    pub fn transact<E>(&self, body: impl FnOnce(&mut Transaction<'_>) -> Result<(), E>) -> Result<WriteSet, E> {
        let mut transaction = self.transaction();
        body(&mut transaction)?;
        Ok(transaction.into_writes())
    }
}

/// A store is read as its newest state.
impl std::ops::Deref for Store {
    type Target = Frozen;

    fn deref(&self) -> &Frozen {
        &self.newest
    }
}

impl Store {
    /// An empty store at seqno 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store whose committed public state was loaded up to `seqno`.
    pub fn with_public(public: Base, seqno: Seqno) -> Self {
        Store {
            newest: Frozen {
                base: Committed {
                    public: Arc::new(public),
                    private: Arc::default(),
                },
                seqno,
                ..Frozen::default()
            },
            based_at: seqno,
            written: BTreeMap::new(),
        }
    }

    /// Holds the newest state still, for a transaction that takes a while. As long as it is held, what is committed
    /// meanwhile stays in the overlay.
    pub fn freeze(&self) -> Frozen {
        self.newest.clone()
    }

    /// Whether a transaction that has read `reads` would read the same now.
    pub fn still_holds(&self, reads: &ReadSet) -> bool {
        let of_this_state = reads.epoch == self.newest.epoch;
        let same_maps = || {
            let mut maps = reads.maps.iter();
            maps.all(|map| {
                // What was pending is said by the base, once it is there.
                let written = [self.written.get(map).copied(), self.newest.base.of(map).version_of(map)];
                let is_old = written.into_iter().flatten().all(|at| at <= reads.at);
                is_old && !self.newest.pending.writes_after(map, reads.at)
            })
        };
        let same_keys = || {
            let mut keys = reads.keys.iter();
            keys.all(|((map, key), version)| self.get(map, key).map(|(version, _)| version) == *version)
        };
        of_this_state && (self.newest.seqno == reads.at || (same_maps() && same_keys()))
    }

    /// The state that was committed at `seqno`, if that is the newest in the base. Whoever holds it keeps it as it is:
    /// what is committed meanwhile stays in the overlay.
    pub fn committed_at(&self, seqno: Seqno) -> Option<Committed> {
        (self.based_at == seqno).then(|| self.newest.base.clone())
    }

    /// Puts in the private state that a recovery has decrypted. No private map may have been written to before.
    pub fn set_private(&mut self, private: Base) {
        self.newest.base.private = Arc::new(private);
        self.newest.epoch += 1;
    }

    /// Applies the writes of the transaction at `seqno`, which must be newer than all before.
    pub fn apply(&mut self, seqno: Seqno, writes: &WriteSet) {
        self.take(seqno, writes.clone());
    }

    /// The same, without copying them.
    pub fn take(&mut self, seqno: Seqno, writes: WriteSet) {
        debug_assert!(seqno > self.newest.seqno);
        self.newest.seqno = seqno;
        for (map, written) in writes.into_maps() {
            match self.written.get_mut(&map) {
                Some(at) => *at = seqno,
                None => drop(self.written.insert(map.clone(), seqno)),
            }
            let keys = Arc::make_mut(self.newest.overlay.entry(map).or_default());
            for (key, value) in written {
                keys.entry(key).or_default().push((seqno, value));
            }
        }
    }

    /// Applies what the transaction that was applied last writes to private maps, as it was decrypted.
    pub fn take_private(&mut self, writes: PrivateWrites) {
        if writes.is_empty() {
            return;
        }
        let Frozen {
            overlay,
            pending,
            seqno,
            ..
        } = &mut self.newest;
        match overlay.keys().all(|map| is_public(map)) {
            true => pending.push(*seqno, writes),
            false => overlay_private(overlay, &mut self.written, *seqno, &writes),
        }
    }

    /// Moves everything up to `seqno` into the base: it can't be rolled back any more. While somebody holds the committed
    /// state, only what is superseded goes; a later call does the rest.
    pub fn compact(&mut self, seqno: Seqno) {
        let Frozen {
            base,
            overlay,
            pending,
            seqno: newest,
            ..
        } = &mut self.newest;
        let (Some(public), Some(private)) = (Arc::get_mut(&mut base.public), Arc::get_mut(&mut base.private)) else {
            return self.forget_superseded(seqno);
        };
        self.based_at = seqno.min(*newest).max(self.based_at);
        for (version, writes) in pending.take_through(seqno) {
            writes.for_each(|map, write| private.insert(map, write.key, version, write.value));
        }
        for (map, keys) in overlay.iter_mut() {
            let base = if is_public(map) { &mut *public } else { &mut *private };
            let keys = Arc::make_mut(keys);
            for (key, versions) in keys.iter_mut() {
                let committed = versions.partition_point(|(version, _)| *version <= seqno);
                for (version, mut value) in versions.drain(..committed) {
                    base.insert(map, key, version, value.as_deref());
                    value.zeroize();
                }
            }
            keys.retain(|_, versions| !versions.is_empty());
        }
        overlay.retain(|_, keys| !keys.is_empty());
    }

    /// Drops what is superseded up to `seqno`.
    fn forget_superseded(&mut self, seqno: Seqno) {
        // What is superseded is found where there is an index.
        let Frozen { overlay, pending, .. } = &mut self.newest;
        for (version, writes) in pending.take_through(Seqno::MAX) {
            overlay_private(overlay, &mut self.written, version, &writes);
        }
        for versions in self
            .newest
            .overlay
            .values_mut()
            .flat_map(|keys| Arc::make_mut(keys).values_mut())
        {
            let committed = versions.partition_point(|(version, _)| *version <= seqno);
            forget_superseded_of(versions, committed);
        }
    }

    /// Forgets everything after `seqno`. What is in the base stays.
    pub fn rollback(&mut self, seqno: Seqno) {
        for keys in self.newest.overlay.values_mut() {
            let keys = Arc::make_mut(keys);
            for versions in keys.values_mut() {
                let kept = versions.partition_point(|(version, _)| *version <= seqno);
                for (_, mut value) in versions.drain(kept..) {
                    value.zeroize();
                }
            }
            keys.retain(|_, versions| !versions.is_empty());
        }
        self.newest.overlay.retain(|_, keys| !keys.is_empty());
        self.newest.pending.roll_back(seqno);
        self.newest.seqno = self.newest.seqno.min(seqno);
        for written in self.written.values_mut() {
            *written = (*written).min(seqno);
        }
        self.newest.epoch += 1;
    }
}

/// Drops all of a key's committed versions, the first `committed` ones, but those that the base has to be told of. That a key
/// is removed changes its map only where there was a value: of removals in a row the first one counts, and the write before it
/// has to be there, although its value does not matter any more.
fn forget_superseded_of(versions: &mut Versions, committed: usize) {
    let known = versions.get(..committed).unwrap_or_default();
    let kept = match (known.last(), known.iter().rposition(|(_, value)| value.is_some())) {
        (None, _) => return,
        (Some((_, Some(_))), _) => committed - 1..committed,
        (Some((_, None)), Some(written)) => written..written + 2,
        (Some((_, None)), None) => 0..1,
    };
    let is_removed = kept.len() == 2;
    for (_, mut value) in versions.drain(kept.end..committed) {
        value.zeroize();
    }
    for (_, mut value) in versions.drain(..kept.start) {
        value.zeroize();
    }
    if let Some((_, Some(value))) = versions.first_mut().filter(|_| is_removed) {
        value.zeroize();
        value.shrink_to_fit();
    }
}

/// Puts private writes where each key has its versions.
fn overlay_private(
    overlay: &mut Overlay,
    written: &mut BTreeMap<String, Seqno>,
    version: Seqno,
    writes: &PrivateWrites,
) {
    writes.for_each(|map, write| {
        let last = written.entry(map.to_owned()).or_default();
        *last = version.max(*last);
        let keys = Arc::make_mut(overlay.entry(map.to_owned()).or_default());
        let versions = keys.entry(write.key.to_vec()).or_default();
        let place = versions.partition_point(|(other, _)| *other <= version);
        versions.insert(place, (version, write.value.map(<[u8]>::to_vec)));
    });
}

impl Drop for Store {
    fn drop(&mut self) {
        let mut maps = self.newest.overlay.values_mut().filter_map(Arc::get_mut);
        for value in maps.by_ref().flat_map(HashMap::values_mut).flatten() {
            value.1.zeroize();
        }
    }
}

/// What a transaction has read: where the same would be read at the time when it is written, it is as if it had been made
/// then.
#[derive(Debug, Default)]
pub struct ReadSet {
    at: Seqno,
    epoch: u64,
    /// Keys, with the seqno of their last write.
    keys: BTreeMap<(String, Vec<u8>), Option<Seqno>>,
    /// Maps that were read as a whole.
    maps: BTreeSet<String>,
}

/// One transaction: reads of the store as it was, and its own writes on top.
pub struct Transaction<'s> {
    state: &'s Frozen,
    writes: WriteSet,
    reads: RefCell<ReadSet>,
}

impl Transaction<'_> {
    /// The value of a key as this transaction sees it.
    pub fn get(&self, map: &str, key: &[u8]) -> Option<&[u8]> {
        match self.writes.get(map, key) {
            Some(written) => written,
            None => self.read(map, key).map(|(_, value)| value),
        }
    }

    /// Seqno of the last write of a key before this transaction.
    pub fn version(&self, map: &str, key: &[u8]) -> Option<Seqno> {
        self.read(map, key).map(|(version, _)| version)
    }

    fn read(&self, map: &str, key: &[u8]) -> Option<(Seqno, &[u8])> {
        let found = self.state.get(map, key);
        let mut reads = self.reads.borrow_mut();
        if !reads.maps.contains(map) {
            let version = found.map(|(version, _)| version);
            reads.keys.insert((map.to_owned(), key.to_vec()), version);
        }
        found
    }

    /// Sets a key.
    pub fn put(&mut self, map: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.put(map, key, value);
    }

    /// Removes a key.
    pub fn remove(&mut self, map: &str, key: impl Into<Vec<u8>>) {
        self.writes.remove(map, key);
    }

    /// Every live key of a map as this transaction sees it, sorted.
    pub fn entries(&self, map: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.reads.borrow_mut().maps.insert(map.to_owned());
        let mut entries = BTreeMap::new();
        self.state
            .for_each(map, |key, value| drop(entries.insert(key.to_vec(), value.to_vec())));
        for (_, write) in self.writes.iter().filter(|(name, _)| *name == map) {
            match write.value {
                Some(value) => drop(entries.insert(write.key.to_vec(), value.to_vec())),
                None => drop(entries.remove(write.key)),
            }
        }
        entries
    }

    /// Removes every key of a map.
    pub fn clear(&mut self, map: &str) {
        for key in self.entries(map).into_keys() {
            self.remove(map, key);
        }
    }

    /// What was written.
    pub fn into_writes(self) -> WriteSet {
        self.writes
    }

    /// What was written, and what was read for it.
    pub fn into_parts(self) -> (WriteSet, ReadSet) {
        let reads = ReadSet {
            at: self.state.seqno,
            epoch: self.state.epoch,
            ..self.reads.into_inner()
        };
        (self.writes, reads)
    }
}

#[cfg(test)]
mod tests;
