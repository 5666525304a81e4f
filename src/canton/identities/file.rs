//! Files of secrets, read into memory that is wiped.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::LONGEST;
use super::condense::condense;
use crate::canton::unpack::{self, Packing};
use crate::error::{Error, Result};

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

/// Whether these very bytes are in that file already, and nobody else may read it.
pub fn is_written(path: &Path, bytes: &[u8]) -> bool {
    let is_meant = path
        .symlink_metadata()
        .is_ok_and(|file| file.is_file() && file.len() == bytes.len() as u64 && file.mode() & 0o077 == 0);
    let read = || std::fs::read(path).map(Zeroizing::new);
    is_meant && read().is_ok_and(|there| there.as_slice() == bytes)
}
