//! A whole state in memory: bulk-loaded, close to the size of its bytes.
//!
//! Every key costs its record in the arena (4 to 10 bytes beside key and value) and 6 to 14 bytes of index. The state
//! can be loaded in order of time ([`Base::insert`]: the last write wins) or against it ([`Base::insert_if_absent`]:
//! the first one seen wins, and a removal hides all older writes until [`Base::finish_loading`]).

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::arena::{Arena, Place, Record};
use crate::format::Seqno;

/// One live key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<'a> {
    /// Serialised key.
    pub key: &'a [u8],
    /// Serialised value.
    pub value: &'a [u8],
    /// Seqno of the write.
    pub version: Seqno,
}

struct Table {
    name: String,
    index: HashTable<Place>,
    /// Records in the index that are removals (only while loading newest first).
    tombstones: usize,
    /// Seqno of the last write, or removal of a key that was there.
    version: Seqno,
}

/// The state: maps of keys to values with the seqno of their last write.
#[derive(Default)]
pub struct Base {
    tables: Vec<Table>,
    by_name: HashMap<String, usize>,
    /// The table of the last write: writes come map by map.
    last: usize,
    arena: Arena,
    hasher: RandomState,
    /// Bytes of live keys and values.
    live_bytes: u64,
}

impl Base {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a write that is newer than all before: `None` removes the key.
    pub fn insert(&mut self, map: &str, key: &[u8], version: Seqno, value: Option<&[u8]>) {
        let map = self.table_number(map);
        match value {
            Some(value) => self.set(map, key, version, value),
            None => self.unset(map, key, version),
        }
    }

    /// Applies a write that is older than all before: it counts only if the key has not been met. A removal
    /// (`None`) keeps older writes of the key out.
    pub fn insert_if_absent(&mut self, map: &str, key: &[u8], version: Seqno, value: Option<&[u8]>) {
        let map = self.table_number(map);
        let hash = self.hasher.hash_one(key);
        let record = Record {
            map: map as u32,
            version,
            key,
            value,
        };
        if let Some(known) = self.find(map, hash, key) {
            return self.meet_older(map, hash, known, record);
        }
        self.add(map, hash, record);
        if let Some(table) = self.tables.get_mut(map) {
            match value {
                Some(_) => table.version = table.version.max(version),
                None => table.tombstones += 1,
            }
        }
    }

    /// A map that is there, whether or not anything is in it, and was changed at `version`: as a snapshot says, from which a
    /// state goes on.
    pub fn begin_map(&mut self, map: &str, version: Seqno) {
        let map = self.table_number(map);
        if let Some(table) = self.tables.get_mut(map) {
            table.version = table.version.max(version);
        }
    }

    /// Number of live keys of a map.
    pub fn len_of(&self, map: &str) -> usize {
        let table = self.by_name.get(map).and_then(|&map| self.tables.get(map));
        table.map_or(0, |table| table.index.len() - table.tombstones)
    }

    /// Forgets the removals that [`Base::insert_if_absent`] kept.
    pub fn finish_loading(&mut self) {
        let mut dead = Vec::new();
        for table in &mut self.tables {
            if table.tombstones == 0 {
                continue;
            }
            let arena = &self.arena;
            table.index.retain(|place| {
                let removed = arena.get(*place).is_none_or(|record| record.value.is_none());
                if removed {
                    dead.push(*place);
                }
                !removed
            });
            table.tombstones = 0;
        }
        for place in dead {
            self.release(place);
        }
    }

    /// The live value of a key.
    pub fn get(&self, map: &str, key: &[u8]) -> Option<Live<'_>> {
        let map = *self.by_name.get(map)?;
        let place = self.find(map, self.hasher.hash_one(key), key)?;
        self.live(place)
    }

    /// Names of all maps ever written to, sorted, with the seqno of their last effective change.
    pub fn maps(&self) -> Vec<(&str, Seqno)> {
        let mut maps: Vec<_> = self
            .tables
            .iter()
            .map(|table| (table.name.as_str(), table.version))
            .collect();
        maps.sort_unstable();
        maps
    }

    /// Seqno of the last effective change of a map, if it was ever written to.
    pub fn version_of(&self, map: &str) -> Option<Seqno> {
        let table = self.tables.get(*self.by_name.get(map)?)?;
        Some(table.version)
    }

    /// The live keys of a map, in no order.
    pub fn iter(&self, map: &str) -> impl Iterator<Item = Live<'_>> {
        let table = self.by_name.get(map).and_then(|&map| self.tables.get(map));
        table
            .into_iter()
            .flat_map(|table| table.index.iter())
            .filter_map(|place| self.live(*place))
    }

    /// The live keys of a map, sorted by their bytes. Takes 13 bytes of memory a key while the result lives.
    pub fn sorted(&self, map: &str) -> impl ExactSizeIterator<Item = Live<'_>> {
        let table = self.by_name.get(map).and_then(|&map| self.tables.get(map));
        let common = self.common_prefix(table);
        let mut order: Vec<([u8; 8], Place)> = Vec::with_capacity(table.map_or(0, |table| table.index.len()));
        for place in table.into_iter().flat_map(|table| table.index.iter()) {
            if let Some(live) = self.live(*place) {
                let mut start = [0; 8];
                let tail = live.key.get(common..).unwrap_or_default();
                start.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
                order.push((start, *place));
            }
        }
        // Most comparisons end in the eight bytes after what all keys begin with, without a visit to the arena.
        order.sort_unstable_by(|(a, place_a), (b, place_b)| {
            a.cmp(b).then_with(|| self.key(*place_a).cmp(self.key(*place_b)))
        });
        order.into_iter().map(|(_, place)| {
            self.live(place).unwrap_or(Live {
                key: &[],
                value: &[],
                version: 0,
            })
        })
    }

    /// The live keys of a map by what `order` makes of them, then by their bytes. Takes 12 bytes of memory a key while the
    /// result lives.
    pub fn ordered(&self, map: &str, order: impl Fn(&[u8]) -> u32) -> impl ExactSizeIterator<Item = Live<'_>> {
        let table = self.by_name.get(map).and_then(|&map| self.tables.get(map));
        let mut places: Vec<(u32, Place)> = Vec::with_capacity(table.map_or(0, |table| table.index.len()));
        for place in table.into_iter().flat_map(|table| table.index.iter()) {
            if let Some(live) = self.live(*place) {
                places.push((order(live.key), *place));
            }
        }
        places.sort_unstable_by(|(a, place_a), (b, place_b)| {
            a.cmp(b).then_with(|| self.key(*place_a).cmp(self.key(*place_b)))
        });
        places.into_iter().map(|(_, place)| {
            self.live(place).unwrap_or(Live {
                key: &[],
                value: &[],
                version: 0,
            })
        })
    }

    /// Number of live keys.
    pub fn len(&self) -> usize {
        self.tables
            .iter()
            .map(|table| table.index.len() - table.tombstones)
            .sum()
    }

    /// True if no key is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of live keys and values.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Bytes of memory held for records and index.
    pub fn allocated_bytes(&self) -> u64 {
        let index: usize = self.tables.iter().map(|table| table.index.allocation_size()).sum();
        (self.arena.allocated_bytes() + index) as u64
    }

    fn table_number(&mut self, map: &str) -> usize {
        if self.tables.get(self.last).is_some_and(|table| table.name == map) {
            return self.last;
        }
        self.last = match self.by_name.get(map) {
            Some(&number) => number,
            None => {
                self.tables.push(Table {
                    name: map.to_owned(),
                    index: HashTable::new(),
                    tombstones: 0,
                    version: 0,
                });
                self.by_name.insert(map.to_owned(), self.tables.len() - 1);
                self.tables.len() - 1
            }
        };
        self.last
    }

    fn set(&mut self, map: usize, key: &[u8], version: Seqno, value: &[u8]) {
        let hash = self.hasher.hash_one(key);
        let record = Record {
            map: map as u32,
            version,
            key,
            value: Some(value),
        };
        match self.find(map, hash, key) {
            None => self.add(map, hash, record),
            Some(old) => {
                self.forget(old, map);
                self.live_bytes += (key.len() + value.len()) as u64;
                self.replace(map, hash, old, record);
            }
        }
        if let Some(table) = self.tables.get_mut(map) {
            table.version = table.version.max(version);
        }
    }

    fn unset(&mut self, map: usize, key: &[u8], version: Seqno) {
        let hash = self.hasher.hash_one(key);
        let Some(place) = self.find(map, hash, key) else {
            return;
        };
        self.forget(place, map);
        if let Some(table) = self.tables.get_mut(map) {
            table.version = table.version.max(version);
            if let Ok(slot) = table.index.find_entry(hash, |found| *found == place) {
                slot.remove();
            }
        }
        self.release(place);
    }

    /// Takes notice of a write to a key that a newer one is known of. A removal changes its map only where it finds a value:
    /// it is the first one after that value that did.
    fn meet_older(&mut self, map: usize, hash: u64, known: Place, older: Record<'_>) {
        let Some(removal) = self.arena.get(known).filter(|known| known.value.is_none()) else {
            return;
        };
        let removed_at = removal.version;
        match older.value {
            Some(_) => {
                if let Some(table) = self.tables.get_mut(map) {
                    table.version = table.version.max(removed_at);
                }
            }
            None => self.replace(map, hash, known, older),
        }
    }

    /// Puts a record in the place of another one of the same key.
    fn replace(&mut self, map: usize, hash: u64, old: Place, record: Record<'_>) {
        if !self.arena.replace_in_place(old, record) {
            let new = self.arena.push(record);
            self.point(map, hash, old, new);
            self.release(old);
        }
    }

    /// Adds a record whose key is in no record of the map.
    fn add(&mut self, map: usize, hash: u64, record: Record<'_>) {
        if let Some(value) = record.value {
            self.live_bytes += (record.key.len() + value.len()) as u64;
        }
        let place = self.arena.push(record);
        let (arena, hasher) = (&self.arena, &self.hasher);
        if let Some(table) = self.tables.get_mut(map) {
            table.index.insert_unique(hash, place, |place| {
                hasher.hash_one(arena.get(*place).map_or(&[][..], |record| record.key))
            });
        }
    }

    /// Takes the record at `place` out of the counts.
    fn forget(&mut self, place: Place, map: usize) {
        match self.live(place) {
            Some(live) => self.live_bytes -= (live.key.len() + live.value.len()) as u64,
            None => {
                if let Some(table) = self.tables.get_mut(map) {
                    table.tombstones = table.tombstones.saturating_sub(1);
                }
            }
        }
    }

    fn find(&self, map: usize, hash: u64, key: &[u8]) -> Option<Place> {
        let table = self.tables.get(map)?;
        table.index.find(hash, |place| self.key(*place) == key).copied()
    }

    fn key(&self, place: Place) -> &[u8] {
        self.arena.get(place).map_or(&[], |record| record.key)
    }

    fn live(&self, place: Place) -> Option<Live<'_>> {
        let record = self.arena.get(place)?;
        Some(Live {
            key: record.key,
            value: record.value?,
            version: record.version,
        })
    }

    /// Number of bytes that all keys of a table begin with.
    fn common_prefix(&self, table: Option<&Table>) -> usize {
        let mut places = table.into_iter().flat_map(|table| table.index.iter());
        let Some(first) = places.next() else {
            return 0;
        };
        let first = self.key(*first);
        places.fold(first.len(), |common, place| {
            let same = first.iter().zip(self.key(*place)).take(common);
            same.take_while(|(a, b)| a == b).count()
        })
    }

    /// Lets the index point from `old` to `new`.
    fn point(&mut self, map: usize, hash: u64, old: Place, new: Place) -> bool {
        let table = self.tables.get_mut(map);
        match table.and_then(|table| table.index.find_mut(hash, |found| *found == old)) {
            Some(slot) => {
                *slot = new;
                true
            }
            None => false,
        }
    }

    /// Gives up a record that nothing points to any more, and empties its chunk where that pays.
    fn release(&mut self, place: Place) {
        let Some(number) = self.arena.release(place) else {
            return;
        };
        let removed = self.arena.take_chunk(number);
        for (old, record) in removed.records() {
            let map = record.map as usize;
            let hash = self.hasher.hash_one(record.key);
            let pointed = |table: &Table| table.index.find(hash, |found| *found == old).is_some();
            if self.tables.get(map).is_some_and(pointed) {
                let new = self.arena.push(record);
                self.point(map, hash, old, new);
            }
        }
        self.arena.give_back(removed);
    }
}

#[cfg(test)]
mod tests;
