//! The result on disk: a new directory that is there as a whole or not at all.
//!
//! Everything is written below a directory with a temporary name, synced, and gets its name last. A signal that ends the process
//! takes that directory with it. What ends it without a word leaves it, never a result that looks whole, and the next salvage to
//! the same place takes it away: who writes one holds a lock on it.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::chunks::{Boundaries, Chunk, cut};
use super::history::Grown;
use super::pool::Pool;
use crate::error::{Error, Result};
use crate::format::chunk_writer::{OPEN_HEADER, completed_header, positions_table};
use crate::format::whole_file::{directory_of, forget, named, remove_if_ended, watch_signals};
use crate::report::output::refuse_ledger_directories;
use crate::report::progress::Progress;
use crate::shown::Show;

/// Chunks that are planned before they are written, on all threads: their positions take a hundredth of that.
const BATCH_BYTES: u64 = 256 << 20;

/// What a directory that is being made may have in it.
const PARTS: [&str; 3] = ["ledger", "snapshots", "bridged"];

/// A directory that is being made.
pub struct Making {
    /// Locked for as long as it is written, where the file system can.
    _lock: File,
    temporary: PathBuf,
    path: PathBuf,
    is_done: bool,
}

/// Turns down a place for the result that is not new or empty, or lies in one of the copies.
///
/// # Errors
/// If it is.
pub fn refuse_place(path: &Path, copies: &[PathBuf]) -> Result<()> {
    refuse_ledger_directories(path, copies)?;
    let is_copy = |copy: &&PathBuf| {
        copy.canonicalize()
            .is_ok_and(|copy| path.canonicalize().is_ok_and(|path| path == copy))
    };
    if let Some(copy) = copies.iter().find(is_copy) {
        return Err(Error::Usage(format!(
            "{} is one of the copies, which are never written to; name another directory",
            copy.shown()
        )));
    }
    if path.file_name().is_none() {
        return Err(Error::Usage(format!("{} is not the name of a directory", path.shown())));
    }
    match std::fs::read_dir(path) {
        Err(why) if why.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => Ok(()),
        Err(_) => Err(Error::Usage(format!(
            "{} is not a directory; name one that is new or empty",
            path.shown()
        ))),
        Ok(_) if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) => Err(Error::Usage(format!(
            "{} is a link, and links are not followed; name a directory that is new or empty",
            path.shown()
        ))),
        Ok(mut listing) => match listing.next() {
            None if is_mount_point(path) => Err(Error::Usage(format!(
                "{} is where a file system is mounted, so the result can't get that name when it is done; name a new directory in it",
                path.shown()
            ))),
            None => Ok(()),
            Some(_) => Err(Error::Usage(format!(
                "{} is not empty; name a directory that is new or empty",
                path.shown()
            ))),
        },
    }
}

/// Whether an empty directory can't be replaced by another one, because it is on another file system than its own directory.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    device(path) != device(directory_of(path))
}

/// What was left by a salvage that did not end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// It was taken away.
    Removed(PathBuf),
    /// It is there: somebody writes it, or it can't be told whether somebody does.
    Kept(PathBuf),
}

/// Takes away what salvages into this directory left that did not end; nothing that one of the copies lies in.
///
/// # Errors
/// If its own directory can't be listed.
pub fn clear_unfinished(path: &Path, copies: &[PathBuf]) -> Result<Vec<Left>> {
    let copies: Vec<PathBuf> = copies.iter().filter_map(|copy| copy.canonicalize().ok()).collect();
    let each = unfinished(path)?.into_iter();
    Ok(each
        .map(|left| match is_abandoned(&left, &copies) {
            Some(_lock) if std::fs::remove_dir_all(&left).is_ok() => Left::Removed(left),
            _ => Left::Kept(left),
        })
        .collect())
}

/// The lock on a directory that nobody writes any more, and that holds what a salvage writes, no copy, and nothing else.
fn is_abandoned(left: &Path, copies: &[PathBuf]) -> Option<File> {
    let is_directory = left.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let place = left.canonicalize().ok().filter(|_| is_directory)?;
    if copies.iter().any(|copy| copy.starts_with(&place)) {
        return None;
    }
    let lock = File::open(left).ok()?;
    lock.try_lock().ok()?;
    let mut items = std::fs::read_dir(left).ok()?;
    let is_part = |name: OsString| PARTS.iter().any(|part| name == *part);
    let is_ours = items.all(|item| item.is_ok_and(|item| is_part(item.file_name())));
    is_ours.then_some(lock)
}

/// Directories that a salvage into this one has not finished.
fn unfinished(path: &Path) -> Result<Vec<PathBuf>> {
    let above = directory_of(path);
    let mut begin = OsString::from(".");
    begin.push(path.file_name().unwrap_or_default());
    begin.push(".");
    let mut found = Vec::new();
    for item in std::fs::read_dir(above).map_err(Error::io("list directory", above))? {
        let name = item.map_err(Error::io("list directory", above))?.file_name();
        let rest = name.as_bytes().strip_prefix(begin.as_bytes());
        let numbers = rest.and_then(|rest| rest.strip_suffix(b".partial"));
        if numbers.is_some_and(|numbers| numbers.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')) {
            found.push(above.join(name));
        }
    }
    found.sort_unstable();
    Ok(found)
}

impl Making {
    /// Begins one that will stand at `path`.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn begin(path: &Path) -> Result<Making> {
        let name = path.file_name().unwrap_or_default();
        watch_signals();
        for number in 0..100 {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            temporary.push(format!(".{}.{number}.partial", std::process::id()));
            let temporary = directory_of(path).join(temporary);
            match std::fs::create_dir(&temporary) {
                Ok(()) => {
                    // Whoever takes away what was left may have been quicker.
                    let Some(lock) = lock(&temporary) else { continue };
                    remove_if_ended(&temporary);
                    return Ok(Making {
                        _lock: lock,
                        temporary,
                        path: path.to_owned(),
                        is_done: false,
                    });
                }
                Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
                Err(why) => return Err(Error::io("create directory", &temporary)(why)),
            }
        }
        Err(Error::Usage(format!(
            "there are too many unfinished directories beside {}; remove those whose names end in .partial",
            path.shown()
        )))
    }

    /// A directory in it.
    ///
    /// # Errors
    /// If it can't be created.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.temporary.join(name);
        std::fs::create_dir_all(&path).map_err(Error::io("create directory", &path))?;
        Ok(path)
    }

    /// Gives it its name, once everything in it is on disk.
    ///
    /// # Errors
    /// If it can't be synced or renamed.
    pub fn finish(mut self) -> Result<()> {
        sync_tree(&self.temporary)?;
        named(&self.temporary, || std::fs::rename(&self.temporary, &self.path))
            .map_err(Error::io("write", &self.path))?;
        self.is_done = true;
        sync_directory(directory_of(&self.path))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.is_done {
            // It was given up; if it can't be removed either, its name says what it is.
            let _ = std::fs::remove_dir_all(&self.temporary);
            forget(&self.temporary);
        }
    }
}

/// Locks a new directory, and nothing if somebody else has done so.
fn lock(path: &Path) -> Option<File> {
    let lock = File::open(path).ok()?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return None;
    }
    let number = |metadata: std::io::Result<std::fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
    (number(path.symlink_metadata()) == number(lock.metadata())).then_some(lock)
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", path))
}

fn sync_tree(path: &Path) -> Result<()> {
    for item in std::fs::read_dir(path).map_err(Error::io("list directory", path))? {
        let item = item.map_err(Error::io("list directory", path))?.path();
        if item.is_dir() {
            sync_tree(&item)?;
        }
    }
    sync_directory(path)
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Chunk files.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes a history as chunks into a directory.
///
/// # Errors
/// If a file can't be read or written.
pub fn write_ledger(pool: &Pool, grown: &Grown, directory: &Path, progress: &dyn Progress) -> Result<Written> {
    let boundaries = Boundaries::of(pool, grown)?;
    let mut written = Written::default();
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut write_all = |batch: &mut Vec<Chunk>| {
        let each = batch.par_iter().with_max_len(1);
        let done: Result<Vec<u64>> = each
            .map(|chunk| write_chunk(pool, chunk, directory, progress))
            .collect();
        written.chunks += batch.len();
        written.bytes += done?.iter().sum::<u64>();
        batch.clear();
        Ok(())
    };
    cut(pool, grown, &boundaries, |chunk| {
        bytes += chunk.end;
        batch.push(chunk);
        if bytes < BATCH_BYTES {
            return Ok(());
        }
        bytes = 0;
        write_all(&mut batch)
    })?;
    write_all(&mut batch)?;
    Ok(written)
}

fn write_chunk(pool: &Pool, chunk: &Chunk, directory: &Path, progress: &dyn Progress) -> Result<u64> {
    let path = directory.join(chunk.name.to_string());
    let io = |doing| Error::io(doing, &path);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(io("create"))?;
    let header = match chunk.is_complete {
        true => completed_header(chunk.end),
        false => OPEN_HEADER,
    };
    file.write_all(&header).map_err(io("write"))?;
    for &(source, from, until) in &chunk.parts {
        let read = pool.open(source)?;
        let gone =
            || Error::io("read", &read.file.path)(std::io::Error::other("the file became shorter while it was read"));
        let part = read.map.bytes().get(from as usize..until as usize).ok_or_else(gone)?;
        file.write_all(part).map_err(io("write"))?;
        if read.map.shrank() {
            return Err(gone());
        }
        progress.advance(until - from, 0);
    }
    let mut size = chunk.end;
    if chunk.is_complete {
        let table = positions_table(&chunk.positions);
        file.write_all(&table).map_err(io("write"))?;
        size += table.len() as u64;
    }
    file.sync_all().map_err(io("sync"))?;
    Ok(size)
}
