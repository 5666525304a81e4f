//! A disk that lies: what is written reaches it when it likes, in parts and in any order, and calls fail.
//!
//! A file has two contents: what whoever reads it sees (the page cache), and what a loss of power leaves. Between the two
//! stand sectors that are not synced. So it is with names. A sync that fails brings some of them to the disk and forgets
//! the rest: they look clean from then on, and no later sync writes them. That is what Linux does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rand_chacha::ChaCha20Rng;

use super::chance::{Chance, SECTOR};
use super::inode::{Change, Inode, apply};
use crate::journal::disk::Disk;

/// How bad the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Calls that fail, of a thousand.
    pub failures: u32,
    /// Syncs that fail, of a thousand.
    pub failed_syncs: u32,
    /// Nothing gets longer.
    pub is_full: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Fails,
}

struct Contents {
    rng: ChaCha20Rng,
    weather: Weather,
    calls: u64,
    crash_at: Option<u64>,
    has_crashed: bool,
    inodes: Vec<Inode>,
    live: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    /// Names that are not synced, in order.
    changes: Vec<Change>,
    trace: Option<Vec<String>>,
}

/// The disk; a clone is the same one.
#[derive(Clone)]
pub struct LyingDisk(Rc<RefCell<Contents>>);

/// A file that is open.
pub struct Open(usize);

fn failed() -> Error {
    Error::other("the disk says no")
}

fn full() -> Error {
    Error::new(ErrorKind::StorageFull, "the disk is full")
}

impl Contents {
    fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    /// What becomes of the next call, of which `failures` in a thousand fail.
    fn fate(&mut self, failures: u32) -> Result<Fate> {
        if self.has_crashed {
            return Err(Error::other("the machine has crashed"));
        }
        self.calls += 1;
        if self.crash_at.is_some_and(|at| at <= self.calls) {
            self.has_crashed = true;
            return Ok(Fate::Fails);
        }
        self.write_back();
        match self.rng.one_in_thousand(failures) {
            true => Ok(Fate::Fails),
            false => Ok(Fate::Succeeds),
        }
    }

    fn usual_fate(&mut self) -> Result<Fate> {
        self.fate(self.weather.failures)
    }

    /// Now and then, the machine brings something to the disk without being asked.
    fn write_back(&mut self) {
        if self.inodes.is_empty() || !self.rng.one_in(12) {
            return;
        }
        let which = self.rng.below(self.inodes.len());
        if let Some(inode) = self.inodes.get_mut(which) {
            inode.write_back(&mut self.rng, false);
        }
    }

    fn change(&mut self, change: Change) {
        apply(&change, &mut self.live);
        self.changes.push(change);
    }

    fn open(&self, path: &Path) -> Result<usize> {
        self.live.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn inode(&mut self, which: usize) -> Result<(&mut Inode, &mut ChaCha20Rng)> {
        let inode = self.inodes.get_mut(which).ok_or_else(failed)?;
        Ok((inode, &mut self.rng))
    }

    fn write_at(&mut self, which: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let fate = self.fate(self.weather.failures)?;
        let is_full = self.weather.is_full;
        let (inode, rng) = self.inode(which)?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let room = inode.live.len().saturating_sub(offset);
        if fate == Fate::Succeeds && (!is_full || bytes.len() <= room) {
            inode.write(offset, bytes);
            return Ok(());
        }
        let why = if fate == Fate::Fails { failed() } else { full() };
        let most = if is_full { room.min(bytes.len()) } else { bytes.len() };
        let possible = bytes.get(..most).unwrap_or_default();
        let is_in_one_sector = offset / SECTOR == (offset + bytes.len().saturating_sub(1)) / SECTOR;
        match rng.below(3) {
            0 => {}
            // A sector has all of it, or nothing.
            _ if is_in_one_sector => {
                if most == bytes.len() {
                    inode.write(offset, bytes);
                }
            }
            1 => {
                let torn = rng.below(most + 1);
                inode.write(offset, possible.get(..torn).unwrap_or_default());
            }
            _ => {
                let mut at = 0;
                while at < possible.len() {
                    let next = (SECTOR - (offset + at) % SECTOR + at).min(possible.len());
                    if rng.one_in(2) {
                        inode.write(offset + at, possible.get(at..next).unwrap_or_default());
                    }
                    at = next;
                }
            }
        }
        Err(why)
    }

    fn set_len(&mut self, which: usize, len: u64) -> Result<()> {
        let fate = self.fate(self.weather.failures)?;
        let is_full = self.weather.is_full;
        let (inode, rng) = self.inode(which)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if is_full && len > inode.live.len() {
            return Err(full());
        }
        if fate == Fate::Succeeds || rng.one_in(2) {
            inode.set_len(len);
        }
        if fate == Fate::Succeeds { Ok(()) } else { Err(failed()) }
    }

    fn sync(&mut self, which: usize) -> Result<()> {
        let fate = self.fate(self.weather.failed_syncs)?;
        let crashed = self.has_crashed;
        let is_full = self.weather.is_full;
        let (inode, rng) = self.inode(which)?;
        if fate == Fate::Succeeds {
            inode.sync();
            return Ok(());
        }
        inode.write_back(rng, true);
        if !crashed {
            inode.forget();
        }
        Err(if is_full { full() } else { failed() })
    }

    fn sync_directory(&mut self, directory: &Path) -> Result<()> {
        let fate = self.fate(self.weather.failed_syncs)?;
        let crashed = self.has_crashed;
        let (here, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.changes)
            .into_iter()
            .partition(|change| change.is_in(directory));
        self.changes = others;
        for change in &here {
            if fate == Fate::Succeeds || self.rng.one_in(2) {
                apply(change, &mut self.durable);
            } else if crashed {
                self.changes.push(change.clone());
            }
        }
        if fate == Fate::Succeeds { Ok(()) } else { Err(failed()) }
    }

    fn crash(&mut self) {
        for inode in &mut self.inodes {
            inode.crash(&mut self.rng);
        }
        let mut changes = std::mem::take(&mut self.changes);
        match self.rng.below(4) {
            // A journal of names: those up to some moment.
            0 | 1 => changes.truncate(self.rng.below(changes.len() + 1)),
            2 => changes.retain(|_| self.rng.one_in(2)),
            _ => {
                self.rng.shuffle(&mut changes);
                changes.truncate(self.rng.below(changes.len() + 1));
            }
        }
        for change in &changes {
            apply(change, &mut self.durable);
        }
        self.live = self.durable.clone();
    }
}

impl LyingDisk {
    /// A disk with nothing on it.
    pub fn new(rng: ChaCha20Rng, traced: bool) -> LyingDisk {
        LyingDisk(Rc::new(RefCell::new(Contents {
            rng,
            weather: Weather::default(),
            calls: 0,
            crash_at: None,
            has_crashed: false,
            inodes: Vec::new(),
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            trace: traced.then(Vec::new),
        })))
    }

    /// Adds a line to the trace, where one is kept.
    pub fn say(&self, what: impl FnOnce() -> String) {
        self.0.borrow_mut().say(what);
    }

    /// Takes the trace.
    pub fn take_trace(&self) -> Vec<String> {
        self.0.borrow_mut().trace.take().unwrap_or_default()
    }

    /// How bad it is from now on.
    pub fn set_weather(&self, weather: Weather) {
        let mut state = self.0.borrow_mut();
        if state.weather != weather {
            state.say(|| format!("disk: {weather:?}"));
        }
        state.weather = weather;
    }

    /// How bad it is.
    pub fn weather(&self) -> Weather {
        self.0.borrow().weather
    }

    /// Whether it does as it is told.
    pub fn is_calm(&self) -> bool {
        self.0.borrow().weather == Weather::default()
    }

    /// The machine crashes in the middle of the call after `calls` more.
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.0.borrow_mut();
        let at = state.calls + calls + 1;
        state.crash_at = Some(state.crash_at.map_or(at, |before| before.min(at)));
    }

    /// Whether it has crashed.
    pub fn has_crashed(&self) -> bool {
        self.0.borrow().has_crashed
    }

    /// The power is gone. What is not on the disk may be, in any part.
    pub fn crash(&self) {
        let mut state = self.0.borrow_mut();
        state.say(|| "disk: the power is gone".to_owned());
        state.crash();
        state.restart();
    }

    /// The machine is shut down in order: everything that is not forgotten is brought to the disk.
    pub fn shut_down(&self) {
        let mut state = self.0.borrow_mut();
        state.say(|| "disk: shut down in order".to_owned());
        state.inodes.iter_mut().for_each(Inode::sync);
        for change in std::mem::take(&mut state.changes) {
            apply(&change, &mut state.durable);
        }
        state.restart();
    }

    /// What a loss of power would leave at the least: names with contents.
    pub fn durable(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = self.0.borrow();
        let files = state
            .durable
            .iter()
            .filter_map(|(path, which)| Some((path.clone(), state.inodes.get(*which)?.durable.clone())));
        files.collect()
    }

    /// Whether a file that `is_it` names holds `bytes` at `offset`, whatever happens.
    pub fn holds(&self, is_it: impl Fn(&Path) -> bool, offset: u64, bytes: &[u8]) -> bool {
        let state = self.0.borrow();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        state.durable.iter().any(|(path, which)| {
            let content = state.inodes.get(*which).map(|inode| inode.durable.as_slice());
            is_it(path) && content.and_then(|content| content.get(offset..offset + bytes.len())) == Some(bytes)
        })
    }

    /// Replaces everything: somebody else has worked on the disk, and synced.
    pub fn take_over(&self, files: Vec<(PathBuf, Vec<u8>)>) {
        let mut state = self.0.borrow_mut();
        state.inodes.clear();
        state.durable.clear();
        state.changes.clear();
        for (number, (path, content)) in files.into_iter().enumerate() {
            state.inodes.push(Inode::durable(content));
            state.durable.insert(path, number);
        }
        state.restart();
    }
}

impl Contents {
    fn restart(&mut self) {
        self.live = self.durable.clone();
        for inode in &mut self.inodes {
            inode.restart();
        }
        self.has_crashed = false;
        self.crash_at = None;
    }
}

impl Disk for LyingDisk {
    type File = Open;

    fn create(&self, path: &Path) -> Result<Open> {
        let mut state = self.0.borrow_mut();
        if state.usual_fate()? == Fate::Fails {
            return Err(failed());
        }
        if state.live.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if state.weather.is_full && state.rng.one_in(2) {
            return Err(full());
        }
        let which = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change(Change::adding(path, which));
        Ok(Open(which))
    }

    fn replace(&self, path: &Path) -> Result<Open> {
        let there = self.0.borrow().open(path);
        let Ok(which) = there else { return self.create(path) };
        self.0.borrow_mut().set_len(which, 0)?;
        Ok(Open(which))
    }

    fn open(&self, path: &Path) -> Result<Open> {
        let mut state = self.0.borrow_mut();
        match state.usual_fate()? {
            Fate::Succeeds => state.open(path).map(Open),
            Fate::Fails => Err(failed()),
        }
    }

    fn write_at(&self, file: &mut Open, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.borrow_mut().write_at(file.0, offset, bytes)
    }

    fn set_len(&self, file: &mut Open, len: u64) -> Result<()> {
        self.0.borrow_mut().set_len(file.0, len)
    }

    fn sync(&self, file: &mut Open) -> Result<()> {
        self.0.borrow_mut().sync(file.0)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.0.borrow_mut();
        if state.usual_fate()? == Fate::Fails {
            return Err(failed());
        }
        let which = state.open(from)?;
        state.change(Change::renaming(from, to, which));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.0.borrow_mut();
        if state.usual_fate()? == Fate::Fails {
            return Err(failed());
        }
        let which = state.open(path)?;
        state.change(Change::removing(path, which));
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> Result<()> {
        self.0.borrow_mut().sync_directory(directory)
    }

    fn list(&self, directory: &Path) -> Result<Vec<OsString>> {
        let mut state = self.0.borrow_mut();
        if state.usual_fate()? == Fate::Fails {
            return Err(failed());
        }
        let here = state.live.keys().filter(|path| path.parent() == Some(directory));
        Ok(here
            .filter_map(|path| path.file_name().map(ToOwned::to_owned))
            .collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.borrow().live.contains_key(path)
    }
}
