//! Saved progress of a long verification: a first line that says what the file is, one line of JSON, its CRC-32. It is
//! replaced as a whole, and no file is touched that does not begin with that line.
//!
//! It is gone on with only if what has been read is still there and still answers what is asked: every chunk read is the
//! same file (device, inode), unchanged (size, time of change of contents and of the inode) since before it was read, and
//! the run it was saved in gathered what this one needs. Everything else is judged at the end, as if from the start.
//!
//! Nothing that has been read is read again, so this holds against whoever copies, restores or edits files: the inode's
//! time can't be set. It does not hold against whoever sets the machine's clock or writes to the device below the file
//! system, nor against whoever writes to the checkpoint, which proves nothing. Docs: `docs/coverage.md`.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::whole_file::{PRIVATE, write_whole};
use crate::recovery::join::{Mode, SavedJoiner};
use crate::shown::Show;
use crate::tables::values::HexDigest;

/// How every checkpoint begins, of whatever version.
const MARK: &str = "rekindle checkpoint ";
/// Of this version.
const FIRST_LINE: &str = "rekindle checkpoint 2";
/// Time between two saves: losing this much is nothing, saving costs milliseconds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Largest file that is read back: a checkpoint is a few kilobytes plus its findings.
const MAX_SIZE_BYTES: u64 = 256 << 20;

/// What a run asks for that has to be gathered on the way; all else is judged at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which signatures are verified.
    pub mode: Mode,
    /// The seqno that the run begins after: a snapshot's, or 0.
    pub start: Seqno,
    /// Digest of that snapshot.
    pub snapshot: Option<HexDigest>,
    /// Seqnos whose leaves are wanted, sorted.
    pub watch: Vec<Seqno>,
    /// The seqno of the signature whose root is wanted.
    pub against: Option<Seqno>,
    /// Where the run ends.
    pub until: Seqno,
}

impl Asked {
    /// Whether a run that asked for `before`, and has come to just before `next`, gathered everything that this one needs.
    fn is_gathered_by(&self, before: &Asked, next: Seqno) -> bool {
        let read = |seqno: &Seqno| *seqno < next;
        let begins_alike = (before.mode, before.start, &before.snapshot) == (self.mode, self.start, &self.snapshot);
        let watched = |seqno: &Seqno| before.watch.binary_search(seqno).is_ok();
        begins_alike
            && next <= self.until.saturating_add(1)
            && self.watch.iter().filter(|seqno| read(seqno)).all(watched)
            && self
                .against
                .as_ref()
                .is_none_or(|at| !read(at) || before.against == Some(*at))
    }
}

/// A checkpoint file and what it must fit.
pub struct Checkpoint<'a> {
    path: &'a Path,
    asked: Asked,
    /// Of every chunk, from before anything was read.
    stamps: Vec<ChunkStamp>,
    saved: Cell<Instant>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    asked: Asked,
    chunks: Vec<ChunkStamp>,
    state: SavedJoiner,
}

/// A file that is not the same, or has changed, has another one.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct ChunkStamp {
    file: PathBuf,
    use_from: Seqno,
    device: u64,
    inode: u64,
    size: u64,
    /// When the contents changed, seconds and nanoseconds. Anybody can set this.
    modified: (i64, i64),
    /// When contents, name, owner or times changed. Only the clock sets this.
    changed: (i64, i64),
}

impl ChunkStamp {
    fn of(file: &Path, use_from: Seqno, metadata: &Metadata) -> ChunkStamp {
        ChunkStamp {
            file: file.to_owned(),
            use_from,
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Refuses a place where something is that no checkpoint ever was. Reads no more than its first bytes.
///
/// # Errors
/// [`Error::Usage`]; [`Error::Io`].
pub fn refuse_what_is_none(path: &Path) -> Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata.map_err(Error::io("look at", path))?,
    };
    let refuse = |what: &str| {
        Err(Error::Usage(format!(
            "--checkpoint {}: there is {what}, expected no file, or a checkpoint of this program; it was left as it is: \
             name a new file",
            path.shown()
        )))
    };
    if !metadata.is_file() {
        return refuse("a directory, a link or a device");
    }
    let mut begins = Vec::new();
    let file = File::open(path).map_err(Error::io("read", path))?;
    let read = file.take(MARK.len() as u64).read_to_end(&mut begins);
    read.map_err(Error::io("read", path))?;
    match begins == MARK.as_bytes() {
        true => Ok(()),
        false => refuse("a file that is no checkpoint"),
    }
}

impl<'a> Checkpoint<'a> {
    /// A checkpoint of this ledger in the file at `path`. To be made before anything is read.
    ///
    /// # Errors
    /// As [`refuse_what_is_none`]; [`Error::Io`] if a chunk can't be looked at.
    pub fn new(path: &'a Path, files: &LedgerFiles, asked: Asked) -> Result<Self> {
        refuse_what_is_none(path)?;
        let stamps = files.chunks.iter().map(|chunk| {
            let file = &chunk.file.path;
            let metadata = std::fs::metadata(file).map_err(Error::io("look at", file))?;
            Ok(ChunkStamp::of(file, chunk.use_from, &metadata))
        });
        Ok(Checkpoint {
            path,
            asked,
            stamps: stamps.collect::<Result<_>>()?,
            saved: Cell::new(Instant::now()),
        })
    }

    /// Whether it is time to save again.
    pub fn is_due(&self) -> bool {
        self.saved.get().elapsed() >= INTERVAL
    }

    /// Stamps of the chunks that hold seqnos below `next`.
    fn read_before(&self, next: Seqno) -> &[ChunkStamp] {
        let count = self.stamps.partition_point(|stamp| stamp.use_from < next);
        self.stamps.get(..count).unwrap_or_default()
    }

    /// What was saved, if it is whole, fits this ledger as it is now, and holds what this run asks for.
    pub fn load(&self) -> Option<SavedJoiner> {
        if std::fs::metadata(self.path).ok()?.len() > MAX_SIZE_BYTES {
            return None;
        }
        let text = std::fs::read_to_string(self.path).ok()?;
        let (first, rest) = text.trim_end().split_once('\n')?;
        let (json, crc) = rest.rsplit_once('\n')?;
        if first != FIRST_LINE || format!("{:08x}", crc32fast::hash(json.as_bytes())) != crc {
            return None;
        }
        let document: Document = serde_json::from_str(json).ok()?;
        let next = document.state.next;
        let fits =
            self.asked.is_gathered_by(&document.asked, next) && document.chunks.as_slice() == self.read_before(next);
        fits.then_some(document.state)
    }

    /// Saves: written beside, synced, then renamed over, so that an interruption leaves the old one.
    ///
    /// # Errors
    /// If it can't be written, or something else has come to its place.
    pub fn save(&self, state: &SavedJoiner) -> Result<()> {
        let document = Document {
            asked: self.asked.clone(),
            chunks: self.read_before(state.next).to_vec(),
            state: state.clone(),
        };
        let json = serde_json::to_string(&document)
            .map_err(|e| Error::Unreadable(format!("could not serialise the checkpoint: {e}")))?;
        refuse_what_is_none(self.path)?;
        let text = format!("{FIRST_LINE}\n{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()));
        write_whole(self.path, text.as_bytes(), PRIVATE)?;
        self.saved.set(Instant::now());
        Ok(())
    }

    /// Removes the file: the verification is complete.
    pub fn remove(&self) {
        if refuse_what_is_none(self.path).is_ok() {
            // Not there, or not removable: the next run finds it stale or complete.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked {
            mode: Mode::Audit,
            start: 0,
            snapshot: None,
            watch: vec![10, 20],
            against: Some(30),
            until: Seqno::MAX,
        }
    }

    #[test]
    fn what_was_gathered_is_gone_on_with_and_what_was_not_is_begun_anew() {
        let before = asked();
        let fits = |change: fn(&mut Asked), next: Seqno| {
            let mut now = asked();
            change(&mut now);
            now.is_gathered_by(&before, next)
        };
        assert!(fits(|_| (), 100));
        assert!(!fits(|now| now.mode = Mode::Integrity, 100));
        assert!(!fits(|now| now.start = 5, 100));
        assert!(!fits(|now| now.snapshot = Some(HexDigest([1; 32])), 100));
        // A snapshot was added: its leaves were read by, or are still to come.
        assert!(!fits(|now| now.watch = vec![10, 15, 20], 100));
        assert!(!fits(|now| now.watch = vec![10, 15, 20], 16));
        assert!(fits(|now| now.watch = vec![10, 15, 20], 15));
        assert!(fits(|now| now.watch = vec![10], 100));
        // Another earlier report.
        assert!(!fits(|now| now.against = Some(40), 100));
        assert!(fits(|now| now.against = Some(40), 40));
        assert!(fits(|now| now.against = None, 100));
        // An end that was passed, or not.
        assert!(!fits(|now| now.until = 98, 100));
        assert!(fits(|now| now.until = 99, 100));
    }

    #[test]
    fn a_file_that_is_no_checkpoint_is_refused_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        refuse_what_is_none(&path).unwrap();
        for contents in [&b""[..], b"rekindle", b"{}", b"a very important list"] {
            std::fs::write(&path, contents).unwrap();
            let why = refuse_what_is_none(&path).unwrap_err().to_string();
            assert!(
                why.contains("no checkpoint") && why.contains("name a new file"),
                "{why}"
            );
            assert_eq!(std::fs::read(&path).unwrap(), contents);
        }
        std::fs::write(&path, format!("{FIRST_LINE}\n")).unwrap();
        refuse_what_is_none(&path).unwrap();
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        refuse_what_is_none(&link).unwrap_err();
        refuse_what_is_none(scratch.path()).unwrap_err();
    }
}
