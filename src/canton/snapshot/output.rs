//! Files that appear whole or not at all: written beside the target as `F.part`, on the disk before they take its name, 0600,
//! and with a sidecar `F.sha256` that `sha256sum -c` reads.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::shown::Show;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// A path with something added to its name.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

/// A file that is being written, and will take another name. Only one process has it at a time.
pub struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Part {
    /// Opens `F.part` with what is in it already, at its beginning.
    ///
    /// # Errors
    /// It can't be opened, is no regular file, or another process is writing it.
    pub fn open(target: &Path) -> Result<Part> {
        Part::open_as(target, ".part")
    }

    fn open_as(target: &Path, end: &str) -> Result<Part> {
        let path = beside(target, end);
        // Another process may give the file its name, and remove ours, between opening and locking it.
        for _ in 0..10 {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
                .map_err(Error::io("open", &path))?;
            // File systems without locks have no other processes either, as far as can be known.
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
                return Err(Error::Usage(format!(
                    "{} is being written by another process",
                    path.shown()
                )));
            }
            let ours = file.metadata().map_err(Error::io("read", &path))?;
            if !ours.is_file() {
                return Err(Error::Usage(format!(
                    "{} is there and is no regular file",
                    path.shown()
                )));
            }
            // Whoever owns it could read what is written, and a second name may be somebody's file.
            if ours.uid() != rustix::process::geteuid().as_raw() || ours.nlink() > 1 {
                return Err(Error::Usage(format!(
                    "{} is there, and belongs to another user or has another name too; remove it, or write to a directory of your own",
                    path.shown()
                )));
            }
            let is_there = std::fs::symlink_metadata(&path)
                .is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
            if is_there {
                rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR)
                    .map_err(|why| Error::io("protect", &path)(why.into()))?;
                let target = target.to_owned();
                return Ok(Part { file, path, target });
            }
        }
        Err(Error::Usage(format!(
            "{} is being written by other processes",
            path.shown()
        )))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it.
    ///
    /// # Errors
    /// The system's.
    pub fn size(&self) -> Result<u64> {
        Ok(self.file.metadata().map_err(Error::io("read", &self.path))?.len())
    }

    /// Makes it empty.
    ///
    /// # Errors
    /// The system's.
    pub fn clear(&mut self) -> Result<()> {
        let cleared = self.file.set_len(0).and_then(|()| self.file.rewind());
        cleared.map_err(Error::io("empty", &self.path))
    }

    /// Reads some of it, from where the last reading ended.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.file.read(buffer).map_err(Error::io("read", &self.path))
    }

    /// Appends to it.
    ///
    /// # Errors
    /// The system's: the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    /// Bytes that may be written beside it.
    pub fn room(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(self.file.as_fd()).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Only the bytes from `start` to `end` of it, as a part of its own; this one is removed.
    ///
    /// # Errors
    /// The system's.
    pub fn only(mut self, start: u64, end: u64) -> Result<Part> {
        let mut only = Part::open_as(&self.target, ".data.part")?;
        only.clear()?;
        self.file
            .seek(SeekFrom::Start(start))
            .map_err(Error::io("read", &self.path))?;
        copy_to(&mut self.file, &self.path, end.saturating_sub(start), &mut |piece| {
            only.write(piece)
        })?;
        self.remove();
        Ok(only)
    }

    /// Gives it the target's name, with the sidecar. Where something has that name already, it is replaced if that was
    /// asked for.
    ///
    /// # Errors
    /// The system's; something has the name. What was written stays beside it.
    pub fn finish(self, digest: &Digest, replaces: bool) -> Result<()> {
        self.file.sync_all().map_err(Error::io("write", &self.path))?;
        let side = write_sidecar(&self.target, digest)?;
        rename(&self.path, &self.target, replaces)?;
        // Only with the file there: a sidecar alone would speak of another one.
        rename(&side, &sidecar(&self.target), true)?;
        sync_directory(&self.target)
    }

    /// Removes it: it is of no use to anybody.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Gives so many bytes of a file on, from where it stands.
///
/// # Errors
/// The system's; the file has less.
pub fn copy_to(from: &mut File, path: &Path, count: u64, to: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut left = count;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let room = buffer.get_mut(..most).unwrap_or_default();
        let read = from.read(room).map_err(Error::io("read", path))?;
        let piece = buffer.get(..read).unwrap_or_default();
        if piece.is_empty() {
            return Err(Error::io("read", path)(std::io::ErrorKind::UnexpectedEof.into()));
        }
        to(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// The sidecar's path.
pub fn sidecar(target: &Path) -> PathBuf {
    beside(target, ".sha256")
}

/// Writes the sidecar of a file that is there.
///
/// # Errors
/// The system's.
pub fn write_sidecar_of(target: &Path, digest: &Digest) -> Result<()> {
    let side = write_sidecar(target, digest)?;
    rename(&side, &sidecar(target), true)?;
    sync_directory(target)
}

/// A line as `sha256sum` writes it, in a file beside the sidecar.
fn write_sidecar(target: &Path, digest: &Digest) -> Result<PathBuf> {
    let path = beside(target, ".sha256.part");
    let name = target.file_name().unwrap_or_default().as_bytes();
    let mut escaped = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'\\' => escaped.extend_from_slice(b"\\\\"),
            b'\n' => escaped.extend_from_slice(b"\\n"),
            b'\r' => escaped.extend_from_slice(b"\\r"),
            other => escaped.push(*other),
        }
    }
    let mark: &[u8] = if escaped == name { b"" } else { b"\\" };
    let line = [mark, hex::encode(digest).as_bytes(), b"  ", &escaped, b"\n"].concat();
    // Whoever may write here might have put a link under this name.
    let _ = std::fs::remove_file(&path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    written.map_err(Error::io("write", &path))?;
    Ok(path)
}

fn rename(from: &Path, to: &Path, replaces: bool) -> Result<()> {
    let renamed = match replaces {
        true => rustix::fs::rename(from, to),
        false => match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Not every file system can promise it.
            Err(Errno::INVAL | Errno::NOSYS) if std::fs::symlink_metadata(to).is_err() => rustix::fs::rename(from, to),
            other => other,
        },
    };
    match renamed {
        Ok(()) => Ok(()),
        Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) if !replaces => {
            Err(Error::Usage(format!("{} is there already", to.shown())))
        }
        Err(why) => Err(Error::io("rename", to)(why.into())),
    }
}

fn sync_directory(target: &Path) -> Result<()> {
    let directory = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("write", directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    fn part(target: &Path, text: &[u8]) -> Part {
        let mut part = Part::open(target).unwrap();
        part.clear().unwrap();
        part.write(text).unwrap();
        part
    }

    #[test]
    fn what_appeared_under_the_name_meanwhile_is_not_replaced_unless_that_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let part_of_it = part(&target, b"new");
        std::fs::write(&target, "old").unwrap();
        let refused = part_of_it.finish(&sha256(b"new"), false).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        assert!(!sidecar(&target).exists());
        part(&target, b"new").finish(&sha256(b"new"), true).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        let line = std::fs::read_to_string(sidecar(&target)).unwrap();
        assert_eq!(line, format!("{}  f\n", hex::encode(sha256(b"new"))));
    }

    #[test]
    fn only_one_has_a_part_and_it_is_let_go_with_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let first = part(&target, b"one");
        assert_eq!(Part::open(&target).err().unwrap().exit_code(), 2);
        first.finish(&sha256(b"one"), false).unwrap();
        // The second has a file of its own, not the first's under its new name.
        let mut second = Part::open(&target).unwrap();
        second.write(b"two").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"one");
        second.remove();
        assert!(!beside(&target, ".part").exists());
    }

    #[test]
    fn what_lies_under_the_parts_name_and_is_not_ours_is_neither_written_nor_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let (target, other) = (directory.path().join("f"), directory.path().join("other"));
        std::fs::write(&other, "precious").unwrap();
        let name = beside(&target, ".part");
        std::os::unix::fs::symlink(&other, &name).unwrap();
        assert!(Part::open(&target).is_err());
        std::fs::remove_file(&name).unwrap();
        std::fs::hard_link(&other, &name).unwrap();
        let refused = Part::open(&target).err().unwrap();
        assert!(refused.to_string().contains("another name"), "{refused}");
        assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        // To give a file away takes root.
        if rustix::process::geteuid().is_root() {
            std::fs::remove_file(&name).unwrap();
            std::fs::write(&name, "").unwrap();
            std::os::unix::fs::chown(&name, Some(65_534), None).unwrap();
            assert!(Part::open(&target).is_err());
        }
    }

    #[test]
    fn a_part_of_a_part_is_cut_out_exactly() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("f");
        let only = part(&target, b"0123456789").only(2, 5).unwrap();
        assert_eq!(std::fs::read(only.path()).unwrap(), b"234");
        assert!(!beside(&target, ".part").exists());
        assert!(part(&target, b"0123").only(2, 5).is_err());
    }
}
