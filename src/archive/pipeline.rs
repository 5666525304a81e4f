//! From blocks that were read to packs that are stored: while one batch is digested, the one before is compressed.
//!
//! The digest goes through a file in order and names each block on the way, so files are digested beside each other, and
//! blocks compressed beside each other. Packs are stored by threads of their own. At most four batches of 16 MiB are
//! underway, and a handful of packs of 64 MiB.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use super::block::{self, Row, Stored};
use super::manifest::Pack;
use super::pack::{Packer, digest, object_name};
use super::reading::{End, Part};
use super::store::Store;
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::report::progress::Progress;
use crate::tables::values::HexDigest;

/// What became of a file.
#[derive(Default)]
pub struct Record {
    /// Its bytes.
    pub size: u64,
    /// Its blocks, as runs.
    pub blocks: Vec<(u64, u64)>,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// How its reading ended.
    pub end: Option<End>,
}

/// Everything that was stored, and what is on its way.
pub struct Pipeline {
    /// The number of every block by its name.
    known: HashMap<Digest, u64>,
    /// SHA-256 of the bytes of each block that was there before: who wrote it, and whether under its own name, nobody knows.
    contents: Vec<Digest>,
    /// The rows of all blocks that are in a pack, by their numbers.
    pub rows: Vec<Row>,
    /// The packs that are stored.
    pub packs: Vec<Pack>,
    packer: Packer,
    next_pack: u32,
    writers: Writers,
}

/// Blocks on their way to a pack, in order.
type Fresh = Vec<(Digest, Vec<u8>)>;

impl Pipeline {
    /// With packs that are there already, their rows, and the SHA-256 of the bytes of each block in them.
    pub fn new(store: Arc<dyn Store>, packs: Vec<Pack>, rows: Vec<Row>, contents: Vec<Digest>) -> Pipeline {
        let known = rows
            .iter()
            .enumerate()
            .map(|(number, row)| (row.id, number as u64))
            .collect();
        Pipeline {
            known,
            contents,
            rows,
            next_pack: packs.last().map_or(0, |pack| pack.number + 1),
            packs,
            packer: Packer::default(),
            writers: Writers::start(store),
        }
    }

    /// Takes in files until no more come; answers what became of each.
    ///
    /// # Errors
    /// If a pack can't be stored.
    pub fn take_in(
        &mut self,
        parts: &Receiver<Vec<Part>>,
        files: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Record>> {
        let mut records: Vec<Record> = Vec::new();
        records.resize_with(files, Record::default);
        let mut state = None;
        let mut waiting: Fresh = Vec::new();
        while let Ok(batch) = parts.recv() {
            let compressing = std::mem::take(&mut waiting);
            let (digested, stored) = rayon::join(|| digest_all(batch, state.take()), || compress(compressing));
            self.append(stored)?;
            let (digested, carried) = digested;
            state = carried;
            for part in digested {
                let bytes: usize = part.blocks.iter().map(|(_, block)| block.len()).sum();
                progress.advance(bytes as u64, 0);
                if let Some(record) = records.get_mut(part.file) {
                    self.place(part, record, &mut waiting);
                }
            }
        }
        self.append(compress(waiting))?;
        Ok(records)
    }

    /// Gives each block of a part its number: that of the same block, or the next.
    fn place(&mut self, part: Digested, record: &mut Record, waiting: &mut Fresh) {
        if part.fresh {
            *record = Record {
                sha256: Sha256::digest([]).into(),
                ..Record::default()
            };
        }
        for (id, bytes) in part.blocks {
            let next = (self.rows.len() + waiting.len()) as u64;
            let known = self.known.get(&id).copied();
            let number = known.filter(|number| self.is_same(*number, &bytes)).unwrap_or(next);
            if number == next {
                self.known.insert(id, next);
            }
            record.size += bytes.len() as u64;
            record.sha256 = id;
            if number == next {
                waiting.push((id, bytes));
            }
            match record
                .blocks
                .last_mut()
                .filter(|(first, count)| first + count == number)
            {
                Some((_, count)) => *count += 1,
                None => record.blocks.push((number, 1)),
            }
        }
        record.end = part.end.or(record.end.take());
    }

    /// Whether a block is the one of that number: what this run stored is, and what was there is looked at.
    fn is_same(&self, number: u64, block: &[u8]) -> bool {
        let before = usize::try_from(number)
            .ok()
            .and_then(|number| self.contents.get(number));
        before.is_none_or(|before| *before == digest(block))
    }

    fn append(&mut self, stored: Vec<Stored>) -> Result<()> {
        for stored in stored {
            self.packer.push(&stored);
            self.rows.push(stored.row);
            if self.packer.is_full() {
                self.store_pack()?;
            }
        }
        Ok(())
    }

    fn store_pack(&mut self) -> Result<()> {
        let (bytes, rows) = std::mem::take(&mut self.packer).finish();
        let number = self.next_pack;
        self.next_pack += 1;
        self.writers.send((number, rows.len() as u64, bytes))
    }

    /// Stores what is left, and waits until everything is.
    ///
    /// # Errors
    /// If a pack can't be stored.
    pub fn finish(mut self) -> Result<(Vec<Pack>, Vec<Row>)> {
        if !self.packer.is_empty() {
            self.store_pack()?;
        }
        let mut packs = self.packs;
        packs.extend(self.writers.finish()?);
        packs.sort_by_key(|pack| pack.number);
        Ok((packs, self.rows))
    }
}

struct Digested {
    file: usize,
    fresh: bool,
    blocks: Vec<(Digest, Vec<u8>)>,
    end: Option<End>,
}

/// Names all blocks. `state` is that of the file that the batch before ended in.
fn digest_all(batch: Vec<Part>, state: Option<Sha256>) -> (Vec<Digested>, Option<Sha256>) {
    let mut states = vec![None; batch.len()];
    if let Some(first) = states.first_mut() {
        *first = state;
    }
    let digested = batch.into_par_iter().zip(states).with_max_len(1).map(|(part, state)| {
        let mut state: Sha256 = if part.fresh {
            Sha256::new()
        } else {
            state.unwrap_or_default()
        };
        let mut blocks = Vec::with_capacity(part.blocks.len());
        for block in part.blocks {
            state.update(&block);
            blocks.push((Digest::from(state.clone().finalize()), block));
        }
        let state = part.end.is_none().then_some(state);
        let digested = Digested {
            file: part.file,
            fresh: part.fresh,
            blocks,
            end: part.end,
        };
        (digested, state)
    });
    let (digested, mut states): (Vec<_>, Vec<_>) = digested.collect::<Vec<_>>().into_iter().unzip();
    (digested, states.pop().flatten())
}

fn compress(fresh: Fresh) -> Vec<Stored> {
    let each = fresh.into_par_iter().with_max_len(1);
    each.map(|(id, bytes)| block::store(&bytes, id)).collect()
}

/// A pack to be stored: its number, of its blocks, its bytes.
type Packed = (u32, u64, Vec<u8>);

/// Threads that store packs.
struct Writers {
    sender: Option<SyncSender<Packed>>,
    threads: Vec<JoinHandle<Result<Vec<Pack>>>>,
}

impl Writers {
    fn start(store: Arc<dyn Store>) -> Writers {
        let (sender, receiver) = sync_channel::<Packed>(0);
        let receiver = Arc::new(Mutex::new(receiver));
        // One waits for the disk; two for a line, which is idle between the end of an object and the next one's answer.
        let count = if store.is_far() { 2 } else { 1 };
        let threads = (0..count).map(|_| {
            let (store, receiver) = (Arc::clone(&store), Arc::clone(&receiver));
            std::thread::spawn(move || write_packs(store.as_ref(), &receiver))
        });
        Writers {
            sender: Some(sender),
            threads: threads.collect(),
        }
    }

    fn send(&mut self, packed: Packed) -> Result<()> {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(packed).is_ok());
        match sent {
            true => Ok(()),
            // They are gone: one of them knows why.
            false => Err(self
                .finish()
                .err()
                .unwrap_or_else(|| Error::Unreadable("no pack can be stored".to_owned()))),
        }
    }

    fn finish(&mut self) -> Result<Vec<Pack>> {
        self.sender = None;
        let mut packs = Vec::new();
        for thread in self.threads.drain(..) {
            let stored = thread.join();
            packs.extend(
                stored.unwrap_or_else(|_| Err(Error::Unreadable("a thread that stores packs ended".to_owned())))?,
            );
        }
        Ok(packs)
    }
}

fn write_packs(store: &dyn Store, receiver: &Mutex<Receiver<Packed>>) -> Result<Vec<Pack>> {
    let mut packs = Vec::new();
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, blocks, bytes)) = next else {
            return Ok(packs);
        };
        let sha256 = digest(&bytes);
        packs.push(Pack {
            number,
            size: bytes.len() as u64,
            sha256: HexDigest(sha256),
            blocks,
        });
        store.put(&object_name(number, &sha256), bytes)?;
    }
}
