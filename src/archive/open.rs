//! An archive that is there: its manifest read from either of two places, its blocks loaded one by one or as a stream.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rayon::prelude::*;

use super::block;
use super::manifest::{File, MAX_BYTES, Manifest, NAMES, Pack};
use super::pack::{object_name, parse_name};
use super::store::{self, Store};
use crate::error::{Error, Result};
use crate::report::{Code, Finding};

/// Packs of a far store that are kept: files are read in the order of their packs, and seldom need more than two.
const KEPT_PACKS: usize = 3;
/// Blocks loaded together: 16 MiB decompressed, enough for all cores.
const BATCH: usize = 16;

/// An archive to be read.
pub struct Archive {
    store: Arc<dyn Store>,
    /// What is in it.
    pub manifest: Manifest,
    /// What is wrong with one of its manifests.
    pub findings: Vec<Finding>,
    kept: Mutex<VecDeque<(usize, Arc<Vec<u8>>)>>,
    /// Held by whoever fetches a pack: others need the same one.
    fetching: Mutex<()>,
    /// Packs of a far store that could not be read, and why: nobody waits for the same one twice.
    failed: Mutex<HashMap<usize, String>>,
    /// Why the far store can't be asked any more.
    lost: OnceLock<String>,
    /// The manifest that was read.
    read: &'static str,
}

impl Archive {
    /// Opens the archive at a path or URL.
    ///
    /// # Errors
    /// If there is none, it was never finished, or neither manifest can be read.
    pub fn open(destination: &Path) -> Result<Archive> {
        let store = store::open(destination)?;
        match Archive::find(Arc::clone(&store))? {
            Some(archive) => Ok(archive),
            None => Err(none_there(store.as_ref())),
        }
    }

    /// Opens the archive in a store, if there is one.
    ///
    /// # Errors
    /// If neither manifest can be read.
    pub fn find(store: Arc<dyn Store>) -> Result<Option<Archive>> {
        let [whole, spare] = NAMES.map(|name| store.get(name, MAX_BYTES));
        let parsed = [&whole, &spare].map(|read| match read {
            Ok(Some(bytes)) => Manifest::parse(bytes),
            Ok(None) => Err("it is missing".to_owned()),
            Err(why) => Err(why.to_string()),
        });
        let is_same = matches!((&whole, &spare), (Ok(a), Ok(b)) if a == b);
        let place = match (&whole, &spare) {
            (Ok(Some(a)), Ok(Some(b))) => a.iter().zip(b).position(|(a, b)| a != b),
            _ => None,
        };
        let damaged = |which: usize, why: &str| {
            let name = NAMES.get(which).copied().unwrap_or_default();
            let mut finding = Finding::new(Code::ArchiveManifest, format!("{name} can't be used: {why}"));
            finding.file = Some(format!("{}/{name}", store.name()));
            finding.offset = place.map(|place| place as u64);
            finding
        };
        let read = match &parsed {
            [Err(_), Ok(_)] => "manifest.spare",
            _ => "manifest",
        };
        let (manifest, findings) = match (parsed, whole, spare) {
            ([Ok(manifest), Ok(_)], ..) if is_same => (manifest, Vec::new()),
            ([Ok(manifest), Ok(_)], ..) => (manifest, vec![damaged(1, "it is that of another archive")]),
            ([Ok(manifest), Err(why)], ..) => (manifest, vec![damaged(1, &why)]),
            ([Err(why), Ok(manifest)], ..) => (manifest, vec![damaged(0, &why)]),
            (_, Ok(None), Ok(None)) => return Ok(None),
            // Nothing was read that could be damaged.
            (_, Err(why), Ok(None) | Err(_)) | (_, Ok(None), Err(why)) => return Err(why),
            ([Err(why), Err(other)], ..) => {
                return Err(Error::Unreadable(format!(
                    "neither manifest of {} can be read: {why}; of the spare one, {other}; look for another copy of the archive",
                    store.name()
                )));
            }
        };
        Ok(Some(Archive {
            store,
            manifest,
            findings,
            kept: Mutex::new(VecDeque::new()),
            fetching: Mutex::new(()),
            failed: Mutex::default(),
            lost: OnceLock::new(),
            read,
        }))
    }

    /// What a person calls it.
    pub fn name(&self) -> String {
        self.store.name()
    }

    /// Where it is on this machine's disk, if it is there.
    pub fn directory(&self) -> Option<&Path> {
        self.store.directory()
    }

    /// A pack's row and the name of its object.
    pub fn pack(&self, pack: usize) -> Option<(&Pack, String)> {
        let row = self.manifest.document.packs.get(pack)?;
        Some((row, object_name(row.number, &row.sha256.0)))
    }

    /// A pack's bytes, as they are; none if it is not there.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn pack_bytes(&self, pack: usize) -> Result<Option<Arc<Vec<u8>>>> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let there = || {
            let kept = kept();
            kept.iter()
                .find(|(number, _)| *number == pack)
                .map(|(_, bytes)| Arc::clone(bytes))
        };
        if let Some(bytes) = there() {
            return Ok(Some(bytes));
        }
        let _fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = there() {
            return Ok(Some(bytes));
        }
        let Some((row, name)) = self.pack(pack) else {
            return Ok(None);
        };
        self.reachable()?;
        let failed = || self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = failed().get(&pack) {
            return Err(Error::Unreadable(why.clone()));
        }
        // One byte more than it should have is noticed, and no more than that is read.
        let got = self.store.get(&name, row.size.saturating_add(1));
        if let (Err(why), true) = (&got, self.store.is_far()) {
            // Is it this pack, or the line, or what lets us in? The manifest could be read before.
            match self.store.get_part(self.read, 0..8) {
                Ok(_) => drop(failed().insert(pack, why.to_string())),
                Err(_) => drop(self.lost.set(why.to_string())),
            }
        }
        let Some(bytes) = got? else {
            return Ok(None);
        };
        let bytes = Arc::new(bytes);
        let mut kept = kept();
        kept.push_back((pack, Arc::clone(&bytes)));
        if kept.len() > KEPT_PACKS {
            kept.pop_front();
        }
        Ok(Some(bytes))
    }

    /// Whether the store can still be asked: what could not be read is not damaged otherwise.
    ///
    /// # Errors
    /// What happened when it was asked last.
    pub fn reachable(&self) -> Result<()> {
        match self.lost.get() {
            None => Ok(()),
            Some(why) => Err(Error::Unreadable(why.clone())),
        }
    }

    /// Whether reading some bytes of an object costs little.
    pub fn is_near(&self) -> bool {
        !self.store.is_far()
    }

    /// Names and sizes of objects that the manifest does not name.
    ///
    /// # Errors
    /// If the store can't be listed.
    pub fn foreign(&self) -> Result<Vec<(String, u64)>> {
        let named: std::collections::HashSet<_> = self
            .manifest
            .document
            .packs
            .iter()
            .map(|pack| (pack.number, pack.sha256.0))
            .collect();
        let mut listed = self.store.list()?;
        listed.retain(|(name, _)| {
            !NAMES.contains(&name.as_str()) && parse_name(name).is_none_or(|own| !named.contains(&own))
        });
        Ok(listed)
    }

    /// A block of a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn block(&self, number: u64) -> std::result::Result<Vec<u8>, String> {
        let (Some(row), Some((pack, offset))) = (self.manifest.row(number), self.manifest.place(number)) else {
            return Err("there is no such block".to_owned());
        };
        let Some((_, name)) = self.pack(pack) else {
            return Err("there is no such pack".to_owned());
        };
        let part = offset..offset + u64::from(row.stored);
        if !self.store.is_far() {
            let stored = self.store.get_part(&name, part).map_err(|why| why.to_string())?;
            return block::load(row, &stored);
        }
        let bytes = self
            .pack_bytes(pack)
            .map_err(|why| why.to_string())?
            .ok_or("its pack is missing")?;
        let range = usize::try_from(part.start).ok().zip(usize::try_from(part.end).ok());
        let stored = range
            .and_then(|(start, end)| bytes.get(start..end))
            .ok_or("its pack is cut off")?;
        block::load(row, stored)
    }

    /// Reads files block by block, in order, many at a time on all threads. Each file has a state, made by `begin`, given each
    /// block and its number by `block`, and ended by `end`, whose answers are returned in the order of the files.
    pub fn stream<S: Send, R: Send>(
        &self,
        files: &[&File],
        begin: impl Fn(usize) -> S + Sync,
        block: impl Fn(&mut S, u64, std::result::Result<Vec<u8>, String>) + Sync,
        end: impl Fn(usize, S) -> R + Sync,
    ) -> Vec<R> {
        let mut wanted = files.iter().enumerate().flat_map(|(i, file)| {
            let blocks = file.block_numbers().map(move |number| (i, Some(number)));
            blocks.chain([(i, None)])
        });
        let mut next = || -> Vec<(usize, Option<u64>)> { wanted.by_ref().take(BATCH).collect() };
        let load = |batch: Vec<(usize, Option<u64>)>| -> Vec<Loaded> {
            let each = batch.into_par_iter().with_max_len(1);
            each.map(|(file, number)| (file, number.map(|number| (number, self.block(number)))))
                .collect()
        };
        let mut answers = Vec::with_capacity(files.len());
        let mut carried: Option<S> = None;
        let mut loaded = load(next());
        while !loaded.is_empty() {
            let batch = next();
            let take = |loaded: Vec<Loaded>, carried: Option<S>| {
                let mut groups: Vec<(usize, Option<S>, Vec<Loaded>)> = Vec::new();
                for item in loaded {
                    match groups.last_mut().filter(|(file, _, _)| *file == item.0) {
                        Some((_, _, items)) => items.push(item),
                        None => groups.push((item.0, None, vec![item])),
                    }
                }
                if let Some((_, state, _)) = groups.first_mut() {
                    *state = carried;
                }
                let each = groups.into_par_iter().with_max_len(1).map(|(file, state, items)| {
                    let mut state = Some(state.unwrap_or_else(|| begin(file)));
                    let mut answer = None;
                    for (_, item) in items {
                        match (item, state.as_mut()) {
                            (Some((number, bytes)), Some(state)) => block(state, number, bytes),
                            _ => answer = state.take().map(|state| end(file, state)),
                        }
                    }
                    (answer, state)
                });
                each.collect::<Vec<_>>()
            };
            let before = carried.take();
            let (following, taken) = rayon::join(|| load(batch), || take(loaded, before));
            loaded = following;
            for (answer, state) in taken {
                answers.extend(answer);
                carried = state;
            }
        }
        answers
    }
}

/// A block that was loaded, of which file; none at the file's end.
type Loaded = (usize, Option<(u64, std::result::Result<Vec<u8>, String>)>);

fn none_there(store: &dyn Store) -> Error {
    let packs = store.list().unwrap_or_default();
    match packs.iter().filter(|(name, _)| parse_name(name).is_some()).count() {
        0 => Error::Unreadable(format!(
            "there is no archive in {}: found no manifest; give the destination that `rekindle archive create` was given",
            store.name()
        )),
        packs => Error::Unreadable(format!(
            "the archive in {} was never finished: found {packs} packs and no manifest; run the same `rekindle archive \
             create` again, which goes on from there",
            store.name()
        )),
    }
}
