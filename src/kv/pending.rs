//! Private writes of entries that another node has made, and that are not committed yet: as they came, without an index.
//!
//! A node that follows takes many of them and reads none, until they are committed and move into the base: an index of them
//! would be made for nothing. Who does read a private map here looks through all that is pending.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::format::Seqno;
use crate::format::domain::is_public;
use crate::format::private::PrivateWrites;

/// By seqno, oldest first. A clone holds them still.
#[derive(Clone, Default)]
pub(super) struct Pending(Arc<VecDeque<(Seqno, PrivateWrites)>>);

impl Pending {
    /// The writes of the transaction at `seqno`, which is newer than all before.
    pub(super) fn push(&mut self, seqno: Seqno, writes: PrivateWrites) {
        Arc::make_mut(&mut self.0).push_back((seqno, writes));
    }

    fn may_write(&self, map: &str) -> bool {
        !self.0.is_empty() && !is_public(map)
    }

    /// The newest write of a key: its seqno and value, `None` for a removal.
    pub(super) fn get(&self, map: &str, key: &[u8]) -> Option<(Seqno, Option<&[u8]>)> {
        if !self.may_write(map) {
            return None;
        }
        self.0.iter().rev().find_map(|(seqno, writes)| {
            let mut found = None;
            writes.for_each(|name, write| {
                if name == map && write.key == key {
                    found = Some((*seqno, write.value));
                }
            });
            found
        })
    }

    /// The newest value of each key of a map that is written, `None` for a removal.
    pub(super) fn newest(&self, map: &str) -> HashMap<&[u8], Option<&[u8]>> {
        let mut newest = HashMap::new();
        if self.may_write(map) {
            for (_, writes) in self.0.iter() {
                writes.for_each(|name, write| {
                    if name == map {
                        newest.insert(write.key, write.value);
                    }
                });
            }
        }
        newest
    }

    /// Whether anything after `seqno` writes to a map.
    pub(super) fn writes_after(&self, map: &str, seqno: Seqno) -> bool {
        self.may_write(map)
            && self
                .0
                .iter()
                .rev()
                .take_while(|(at, _)| *at > seqno)
                .any(|(_, writes)| {
                    let mut is_written = false;
                    writes.for_each(|name, _| is_written |= name == map);
                    is_written
                })
    }

    /// Takes out what is up to `seqno`, oldest first.
    pub(super) fn take_through(&mut self, seqno: Seqno) -> impl Iterator<Item = (Seqno, PrivateWrites)> {
        let count = self.0.partition_point(|(at, _)| *at <= seqno);
        // Where there is nothing to take, nothing that others hold is copied.
        let taken = (count > 0).then(|| Arc::make_mut(&mut self.0).drain(..count));
        taken.into_iter().flatten()
    }

    /// Forgets what comes after `seqno`.
    pub(super) fn roll_back(&mut self, seqno: Seqno) {
        let kept = self.0.partition_point(|(at, _)| *at <= seqno);
        if kept < self.0.len() {
            Arc::make_mut(&mut self.0).truncate(kept);
        }
    }
}
