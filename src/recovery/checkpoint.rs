//! Saved progress of a long verification: one line of JSON and its CRC-32, replaced as a whole.
//!
//! It is only used again if every chunk up to it has the size and the time of change that it had. It holds nothing
//! secret, and proves nothing: whoever can write it can write the ledger too.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::recovery::join::{Mode, SavedJoiner};
use crate::shown::Show;

/// Time between two saves: losing this much is nothing, saving costs milliseconds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read back: a checkpoint is a few kilobytes plus its findings.
const MAX_SIZE_BYTES: u64 = 256 << 20;

/// A checkpoint file and what it must fit.
pub struct Checkpoint<'a> {
    path: &'a Path,
    mode: Mode,
    start: Seqno,
    files: &'a LedgerFiles,
    saved: Cell<Instant>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    mode: Mode,
    start: Seqno,
    chunks: Vec<ChunkStamp>,
    state: SavedJoiner,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct ChunkStamp {
    file: String,
    size: u64,
    changed_ns: Option<u128>,
}

impl<'a> Checkpoint<'a> {
    /// A checkpoint of this ledger in the file at `path`.
    pub fn new(path: &'a Path, files: &'a LedgerFiles, mode: Mode, start: Seqno) -> Self {
        Checkpoint {
            path,
            mode,
            start,
            files,
            saved: Cell::new(Instant::now()),
        }
    }

    /// Whether it is time to save again.
    pub fn is_due(&self) -> bool {
        self.saved.get().elapsed() >= INTERVAL
    }

    /// Stamps of the chunks that hold seqnos below `next`.
    fn stamps(&self, next: Seqno) -> Vec<ChunkStamp> {
        let read = self.files.chunks.iter().take_while(|chunk| chunk.use_from < next);
        read.map(|chunk| ChunkStamp {
            file: chunk.file.path.shown().to_string(),
            size: chunk.file.size,
            changed_ns: std::fs::metadata(&chunk.file.path)
                .and_then(|metadata| metadata.modified())
                .ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map(|since| since.as_nanos()),
        })
        .collect()
    }

    /// What was saved, if it is whole and fits this ledger as it is now.
    pub fn load(&self) -> Option<SavedJoiner> {
        if std::fs::metadata(self.path).ok()?.len() > MAX_SIZE_BYTES {
            return None;
        }
        let text = std::fs::read_to_string(self.path).ok()?;
        let (json, crc) = text.trim_end().rsplit_once('\n')?;
        if format!("{:08x}", crc32fast::hash(json.as_bytes())) != crc {
            return None;
        }
        let document: Document = serde_json::from_str(json).ok()?;
        let fits = document.mode == self.mode
            && document.start == self.start
            && document.chunks == self.stamps(document.state.next);
        fits.then_some(document.state)
    }

    /// Saves: written beside, synced, then renamed over, so that an interruption leaves the old one.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn save(&self, state: &SavedJoiner) -> Result<()> {
        let document = Document {
            mode: self.mode,
            start: self.start,
            chunks: self.stamps(state.next),
            state: state.clone(),
        };
        let json = serde_json::to_string(&document)
            .map_err(|e| Error::Unreadable(format!("could not serialise the checkpoint: {e}")))?;
        let text = format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()));
        write_whole(self.path, text.as_bytes(), PUBLIC)?;
        self.saved.set(Instant::now());
        Ok(())
    }

    /// Removes the file: the verification is complete.
    pub fn remove(&self) {
        // Not there, or not removable: the next run finds it stale or complete.
        if self.path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
