//! A file's two contents, and changes of names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha20Rng;

use super::chance::{Chance, SECTOR};

/// A file.
#[derive(Default)]
pub(super) struct Inode {
    /// What readers see.
    pub(super) live: Vec<u8>,
    /// What a loss of power leaves.
    pub(super) durable: Vec<u8>,
    /// Sectors of `live` that are not synced.
    dirty: BTreeSet<usize>,
    /// Its length is not synced.
    length: bool,
}

impl Inode {
    pub(super) fn durable(content: Vec<u8>) -> Inode {
        Inode {
            live: content.clone(),
            durable: content,
            ..Inode::default()
        }
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        if let Some(place) = self.live.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        self.dirty.extend(offset / SECTOR..=(end - 1) / SECTOR);
        self.length |= end > self.durable.len();
    }

    /// Where a file has that length already, nothing is done: neither is by a file system.
    pub(super) fn set_len(&mut self, len: usize) {
        if len == self.live.len() {
            return;
        }
        self.live.resize(len, 0);
        self.length = true;
        self.dirty.retain(|sector| sector * SECTOR < len);
        // The rest of the last sector is zero from now on.
        if !len.is_multiple_of(SECTOR) {
            self.dirty.insert(len / SECTOR);
        }
    }

    /// Everything that is not forgotten reaches the disk.
    pub(super) fn sync(&mut self) {
        if self.length {
            self.durable.resize(self.live.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            self.copy(sector);
        }
        self.length = false;
    }

    /// Something reaches the disk; with `length` perhaps also how long the file is.
    pub(super) fn write_back(&mut self, rng: &mut ChaCha20Rng, length: bool) {
        if self.length && length && rng.one_in(2) {
            self.bring_length(rng);
        }
        let here: Vec<usize> = self.dirty.iter().copied().filter(|_| rng.one_in(2)).collect();
        for sector in here {
            self.copy(sector);
            // It has no place on the disk yet where the file is too short there.
            if (sector + 1) * SECTOR <= self.durable.len() {
                self.dirty.remove(&sector);
            }
        }
    }

    fn bring_length(&mut self, rng: &mut ChaCha20Rng) {
        let (from, to) = (self.durable.len(), self.live.len());
        let len = match from < to && rng.one_in(2) {
            true => from + rng.below(to - from + 1),
            false => to,
        };
        self.durable.resize(len, 0);
        self.length = len != to;
    }

    /// What has not reached the disk looks as if it had.
    pub(super) fn forget(&mut self) {
        self.dirty.clear();
        self.length = false;
    }

    /// The power is gone: any part of what is not synced is there.
    pub(super) fn crash(&mut self, rng: &mut ChaCha20Rng) {
        match rng.below(4) {
            0 => {}
            1 => self.sync(),
            _ => self.write_back(rng, true),
        }
    }

    /// Nothing is known but what the disk has.
    pub(super) fn restart(&mut self) {
        self.live = self.durable.clone();
        self.forget();
    }

    fn copy(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.live.len()).min(self.durable.len());
        if let (Some(new), Some(old)) = (self.live.get(from..to), self.durable.get_mut(from..to)) {
            old.copy_from_slice(new);
        }
    }
}

/// A change of names in a directory, all of which happens or nothing.
#[derive(Clone)]
pub(super) struct Change {
    removes: Option<PathBuf>,
    adds: Option<PathBuf>,
    which: usize,
}

impl Change {
    pub(super) fn adding(path: &Path, which: usize) -> Change {
        Change {
            removes: None,
            adds: Some(path.to_owned()),
            which,
        }
    }

    pub(super) fn removing(path: &Path, which: usize) -> Change {
        Change {
            removes: Some(path.to_owned()),
            adds: None,
            which,
        }
    }

    pub(super) fn renaming(from: &Path, to: &Path, which: usize) -> Change {
        Change {
            removes: Some(from.to_owned()),
            adds: Some(to.to_owned()),
            which,
        }
    }

    pub(super) fn is_in(&self, directory: &Path) -> bool {
        let path = self.adds.as_ref().or(self.removes.as_ref());
        path.and_then(|path| path.parent()) == Some(directory)
    }
}

pub(super) fn apply(change: &Change, names: &mut BTreeMap<PathBuf, usize>) {
    if let Some(path) = &change.removes
        && names.get(path) == Some(&change.which)
    {
        names.remove(path);
    }
    if let Some(path) = &change.adds {
        names.insert(path.clone(), change.which);
    }
}
