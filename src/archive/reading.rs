//! Files read in order, in blocks, each once: by a thread of its own, a few batches ahead of whoever digests them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::SyncSender;

use super::block::BLOCK_BYTES;
use super::copies::Gate;
use super::manifest::Time;
use super::survey::{Seen, time_of};

/// Bytes given on together: enough for all cores, little enough that a handful of batches is no burden.
const BATCH_BYTES: usize = 16 << 20;
/// Files given on together, where they are small.
const BATCH_PARTS: usize = 1024;
/// How often a file is read that changes meanwhile: a node that still writes is seldom seen twice in the same moment.
const ATTEMPTS: usize = 3;

/// Some blocks of one file.
pub struct Part {
    /// Which file.
    pub file: usize,
    /// Its first blocks: what was read of it before does not count.
    pub fresh: bool,
    /// The blocks.
    pub blocks: Vec<Vec<u8>>,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// How the reading of a file ended.
pub enum End {
    /// It was read.
    Whole {
        /// When it was changed last.
        modified: Time,
        /// Its permissions.
        mode: u32,
        /// What changed while it was read, each time that it was.
        changing: Option<String>,
    },
    /// It could not be read.
    Lost(String),
}

/// Collects parts into batches. Whoever takes them may be gone: then nothing more is read.
struct Batches<'a> {
    sender: &'a SyncSender<Vec<Part>>,
    parts: Vec<Part>,
    bytes: usize,
}

impl Batches<'_> {
    fn push(&mut self, part: Part, more: usize) -> Option<()> {
        self.bytes += more;
        match self
            .parts
            .last_mut()
            .filter(|last| last.file == part.file && !part.fresh && last.end.is_none())
        {
            Some(last) => {
                last.blocks.extend(part.blocks);
                last.end = part.end;
            }
            None => self.parts.push(part),
        }
        match self.bytes >= BATCH_BYTES || self.parts.len() >= BATCH_PARTS {
            true => self.flush(),
            false => Some(()),
        }
    }

    fn flush(&mut self) -> Option<()> {
        self.bytes = 0;
        let parts = std::mem::take(&mut self.parts);
        match parts.is_empty() {
            true => Some(()),
            false => self.sender.send(parts).ok(),
        }
    }
}

/// Reads all files.
pub fn read_all(files: &[Seen], sender: &SyncSender<Vec<Part>>, gate: &Gate) {
    let mut batches = Batches {
        sender,
        parts: Vec::new(),
        bytes: 0,
    };
    for (file, seen) in files.iter().enumerate() {
        if read_file(file, &seen.path, &mut batches, gate).is_none() {
            return;
        }
    }
    // Nobody is left to be told that nobody is left.
    let _ = batches.flush();
}

fn read_file(file: usize, path: &Path, batches: &mut Batches<'_>, gate: &Gate) -> Option<()> {
    let mut changing = None;
    for attempt in 1..=ATTEMPTS {
        let end = match read_once(file, path, batches, gate)? {
            Ok((end, None)) => end,
            Ok((end, Some(why))) => {
                changing = Some(why);
                if attempt < ATTEMPTS {
                    continue;
                }
                end
            }
            Err(why) => End::Lost(why.to_string()),
        };
        let end = match end {
            End::Whole { modified, mode, .. } => End::Whole {
                modified,
                mode,
                // What was the same before and after in the end is as good as if it had never changed.
                changing: changing.filter(|_| attempt == ATTEMPTS),
            },
            lost => lost,
        };
        return batches.push(
            Part {
                file,
                fresh: false,
                blocks: Vec::new(),
                end: Some(end),
            },
            0,
        );
    }
    Some(())
}

/// Reads a file as it is now; also answers what changed meanwhile. None if nobody listens any more.
fn read_once(
    file: usize,
    path: &Path,
    batches: &mut Batches<'_>,
    gate: &Gate,
) -> Option<std::io::Result<(End, Option<String>)>> {
    // Whatever stands there now: a pipe must not block, a link is not followed.
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags).open(path);
    let opened = opened.and_then(|opened| opened.metadata().map(|found| (opened, found)));
    let (opened, before) = match opened {
        Ok((opened, before)) if before.is_file() => (opened, before),
        Ok(_) => return Some(Err(std::io::Error::other("it is no longer a file"))),
        Err(why) => return Some(Err(why)),
    };
    let mut rest = opened.take(before.len());
    let mut fresh = true;
    let mut read = 0;
    loop {
        let mut block =
            Vec::with_capacity(BLOCK_BYTES.min(usize::try_from(before.len() - read).unwrap_or(BLOCK_BYTES)));
        if let Err(why) = (&mut rest).take(BLOCK_BYTES as u64).read_to_end(&mut block) {
            return Some(Err(why));
        }
        let size = block.len();
        if size == 0 && !fresh {
            break;
        }
        read += size as u64;
        let part = Part {
            file,
            fresh,
            blocks: if size == 0 { Vec::new() } else { vec![block] },
            end: None,
        };
        batches.push(part, size)?;
        gate.read(size as u64);
        fresh = false;
        if size < BLOCK_BYTES {
            break;
        }
    }
    let after = match rest.into_inner().metadata() {
        Ok(after) => after,
        Err(why) => return Some(Err(why)),
    };
    let changed = match () {
        () if read != before.len() => Some(format!("it had {} bytes, of which {read} could be read", before.len())),
        () if after.len() != before.len() => Some(format!("it grew from {} to {} bytes", before.len(), after.len())),
        () if time_of(&after) != time_of(&before) => Some("it was written to".to_owned()),
        () => None,
    };
    let end = End::Whole {
        modified: time_of(&before),
        mode: before.mode() & 0o7777,
        changing: None,
    };
    Some(Ok((end, changed)))
}
