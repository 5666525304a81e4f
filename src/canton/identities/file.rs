//! Files of secrets, read into memory that is wiped and written for their owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use zeroize::Zeroizing;

use super::LONGEST;
use super::condense::condense;
use crate::canton::unpack::{self, Packing};
use crate::error::{Error, Result};
use crate::shown::Show;

/// A file that was read.
pub struct Read {
    /// What is in it, unpacked if it was packed. Of what is longer than [`LONGEST`] the data of a migration dump is left out;
    /// what is longer even so is read up to one byte more.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether data was left out, so that offsets are not those of the file.
    pub is_condensed: bool,
    /// Its permissions, where it is a file of its own and no pipe.
    pub mode: Option<u32>,
    /// Its length on disk.
    pub length: u64,
}

impl Read {
    /// Whether others than its owner may read it.
    pub fn is_open_to_others(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o044 != 0)
    }
}

/// Reads a file, or stdin for `-`, packed by gzip, zstd or xz or not.
///
/// # Errors
/// [`Error::Io`].
pub fn read(path: &Path) -> Result<Read> {
    let at = |doing| Error::io(doing, path);
    if path == Path::new("-") {
        let (bytes, is_condensed) = whole_or_condensed(&mut io::stdin().lock(), 0).map_err(at("read"))?;
        return Ok(Read {
            length: bytes.len() as u64,
            bytes,
            is_condensed,
            mode: None,
        });
    }
    let mut file = File::open(path).map_err(at("open"))?;
    let metadata = file.metadata().map_err(at("look at"))?;
    let is_file = metadata.is_file();
    let packing = match is_file {
        true => Packing::of_file(&mut file).map_err(at("read"))?,
        false => Packing::Plain,
    };
    let read = match packing {
        // A reader with a buffer of its own would leave copies behind: only what is packed goes through one.
        Packing::Plain => whole_or_condensed(&mut file, metadata.len()),
        packed => unpack::reader(file, packed).and_then(|mut reader| whole_or_condensed(&mut reader, 0)),
    };
    let (bytes, is_condensed) = read.map_err(at("read"))?;
    Ok(Read {
        bytes,
        is_condensed,
        mode: is_file.then(|| metadata.mode()),
        length: metadata.len(),
    })
}

fn whole_or_condensed(reader: &mut dyn io::Read, expected: u64) -> io::Result<(Zeroizing<Vec<u8>>, bool)> {
    if expected > LONGEST as u64 {
        return Ok((condense(reader)?, true));
    }
    let bytes = whole(reader, expected)?;
    if bytes.len() <= LONGEST {
        return Ok((bytes, false));
    }
    let begun = io::Read::chain(bytes.as_slice(), reader);
    Ok((condense(&mut { begun })?, true))
}

/// All bytes up to one more than [`LONGEST`]; what grows leaves no copies behind.
fn whole(reader: &mut dyn io::Read, expected: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    const LEAST: usize = 64 << 10;
    let expected = usize::try_from(expected).unwrap_or(LONGEST).min(LONGEST);
    let mut out = Zeroizing::new(vec![0; (expected + 1).max(LEAST)]);
    let mut filled = 0;
    while filled <= LONGEST {
        if filled == out.len() {
            let mut larger = Zeroizing::new(vec![0; (2 * filled).min(LONGEST + 1)]);
            larger.iter_mut().zip(out.iter()).for_each(|(to, from)| *to = *from);
            out = larger;
        }
        match reader.read(out.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// Writes a file that is not there yet, for its owner alone: all of it is on disk before it has its name. Whatever stands
/// at that name stays as it is.
///
/// # Errors
/// [`Error::Usage`] if something has that name; [`Error::Io`].
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(exists(path));
    }
    let name = path
        .file_name()
        .ok_or_else(|| Error::Usage(format!("{} names no file to write to", path.shown())))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.part", std::process::id()));
    let mut beside = Beside {
        path: path.with_file_name(temporary),
        is_there: false,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside.path)
        .map_err(Error::io("create", &beside.path))?;
    beside.is_there = true;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", &beside.path))?;
    give_name(&beside.path, path).map_err(|why| match why.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Error::io("name", path)(why),
    })?;
    // After a hard link the first name is still there, and goes.
    drop(beside);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("write the directory to disk", directory))
}

/// Whether these very bytes are in that file already, and nobody else may read it.
pub fn is_written(path: &Path, bytes: &[u8]) -> bool {
    let is_meant = path
        .symlink_metadata()
        .is_ok_and(|file| file.is_file() && file.len() == bytes.len() as u64 && file.mode() & 0o077 == 0);
    let read = || std::fs::read(path).map(Zeroizing::new);
    is_meant && read().is_ok_and(|there| there.as_slice() == bytes)
}

fn exists(path: &Path) -> Error {
    Error::Usage(format!(
        "{} is there already, and nothing is written over: give a new name",
        path.shown()
    ))
}

/// Gives a file its name unless something has it; both in one step, so that a file that appears in between stays too.
fn give_name(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            std::fs::hard_link(from, to)
        }
        Err(why) => Err(why.into()),
    }
}

/// A file beside the one that is written, which goes whatever happens.
struct Beside {
    path: PathBuf,
    is_there: bool,
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.is_there {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
