//! Directories that are not on the disk: a container holds their files, and gives each when it is read.
//!
//! Whoever lists a directory that is not there asks the opener, which the binary sets, for a container that holds it. From then on
//! its files are mapped like any others: into memory of their own, filled once, freed with the map. So what is in memory is
//! what is being read, and directories on the disk cost a comparison more than before.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use memmap2::{Mmap, MmapMut};

/// Files kept after they were last read: a listing looks into each, and the reading that follows needs it again.
const KEPT_BYTES: u64 = 128 << 20;

/// A file of so many bytes is loaded without asking how much memory is left.
const SMALL_BYTES: u64 = 64 << 20;

/// Holds files.
pub trait Container: Send + Sync {
    /// Names in a directory of it; none if there is no such directory.
    fn list(&self, directory: &Path) -> Option<Vec<OsString>>;
    /// The bytes that a file has; none if there is no such file.
    fn size(&self, file: &Path) -> Option<u64>;
    /// Fills in a file's bytes. What can't be had stays zero, which no parser takes for an entry.
    ///
    /// # Errors
    /// If nothing of it can be had.
    fn read(&self, file: &Path, into: &mut [u8]) -> io::Result<()>;
}

/// A container, and the path under which its files are.
pub type Mount = (PathBuf, Arc<dyn Container>);

/// Finds the container that holds a path which is not on the disk.
pub type Opener = fn(&Path) -> io::Result<Option<Mount>>;

static OPENER: OnceLock<Opener> = OnceLock::new();
static MOUNTED: RwLock<Vec<Mount>> = RwLock::new(Vec::new());
/// Whether anything is: then paths are looked up.
static ANY: AtomicBool = AtomicBool::new(false);
static KEPT: Mutex<VecDeque<(PathBuf, Arc<Mmap>)>> = Mutex::new(VecDeque::new());

/// Says who finds containers. Only the first time counts.
pub fn open_with(opener: Opener) {
    // A second opener would be a second command in one process.
    let _ = OPENER.set(opener);
}

/// The container that holds a path, and the path in it.
fn at(path: &Path) -> Option<(Arc<dyn Container>, PathBuf)> {
    if !ANY.load(Ordering::Acquire) {
        return None;
    }
    let mounted = MOUNTED.read().unwrap_or_else(PoisonError::into_inner);
    mounted.iter().find_map(|(root, container)| {
        let inside = path.strip_prefix(root).ok()?;
        Some((Arc::clone(container), inside.to_owned()))
    })
}

/// The same, for a path that may be of a container which nobody has asked for yet.
fn find(path: &Path) -> io::Result<Option<(Arc<dyn Container>, PathBuf)>> {
    if let Some(found) = at(path) {
        return Ok(Some(found));
    }
    let Some(opener) = OPENER.get() else { return Ok(None) };
    let Some(mount) = opener(path)? else { return Ok(None) };
    MOUNTED.write().unwrap_or_else(PoisonError::into_inner).push(mount);
    ANY.store(true, Ordering::Release);
    Ok(at(path))
}

/// Names and paths of what is in a directory, on the disk or in a container.
///
/// # Errors
/// If it is in neither, or can't be read.
pub fn list(directory: &Path) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    if at(directory).is_none() {
        match std::fs::read_dir(directory) {
            Ok(listing) => {
                let each = listing.map(|item| item.map(|item| (item.file_name(), item.path())));
                return each.collect();
            }
            Err(why) if !is_elsewhere(&why) => return Err(why),
            Err(why) => missing = why,
        }
    }
    let Some((container, inside)) = find(directory)? else {
        return Err(missing);
    };
    let names = container
        .list(&inside)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    Ok(names
        .into_iter()
        .map(|name| (name.clone(), directory.join(name)))
        .collect())
}

/// Whether there is a regular file.
///
/// # Errors
/// If it can't be looked at.
pub fn is_file(path: &Path) -> io::Result<bool> {
    match at(path) {
        Some((container, inside)) => Ok(container.size(&inside).is_some()),
        None => std::fs::metadata(path).map(|found| found.is_file()),
    }
}

/// Whether a path is in a container that was opened.
pub fn is_mounted(path: &Path) -> bool {
    at(path).is_some()
}

/// Size of a file of a container that was opened, in bytes; none of a directory, and of what is on the disk.
pub fn size(path: &Path) -> Option<u64> {
    let (container, inside) = at(path)?;
    container.size(&inside)
}

/// Whether what the disk answers means that a container may have it.
pub(super) fn is_elsewhere(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A container's file in memory, and its size; none if no container has the path.
pub(super) fn load(path: &Path) -> Option<io::Result<(Arc<Mmap>, usize)>> {
    let found = find(path).transpose()?;
    Some(found.and_then(|(container, inside)| fill(container.as_ref(), path, &inside)))
}

fn fill(container: &dyn Container, path: &Path, inside: &Path) -> io::Result<(Arc<Mmap>, usize)> {
    let size = container
        .size(inside)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let length = usize::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, map)) = kept().iter().find(|(other, _)| other == path) {
        return Ok((Arc::clone(map), length));
    }
    refuse_too_large(size)?;
    // A map of nothing is refused: one byte, which nobody is shown.
    let mut map = MmapMut::map_anon(length.max(1))?;
    container.read(inside, map.get_mut(..length).unwrap_or_default())?;
    let map = Arc::new(map.make_read_only()?);
    if size <= KEPT_BYTES / 2 {
        let mut kept = kept();
        kept.push_back((path.to_owned(), Arc::clone(&map)));
        let mut total: u64 = kept.iter().map(|(_, map)| map.len() as u64).sum();
        while total > KEPT_BYTES {
            total -= kept.pop_front().map_or(total, |(_, map)| map.len() as u64);
        }
    }
    Ok((map, length))
}

/// A few kilobytes in a container can be terabytes of a file: what memory can't hold is not begun.
fn refuse_too_large(size: u64) -> io::Result<()> {
    let left = match size {
        ..=SMALL_BYTES => None,
        _ => memory_left(),
    };
    match left.filter(|left| size > left / 4 * 3) {
        None => Ok(()),
        Some(left) => Err(io::Error::other(format!(
            "it is read into memory, has {size} bytes, and {left} bytes of memory are left; restore the archive, and read it there"
        ))),
    }
}

/// Bytes that can be had without swapping, if the system says so.
fn memory_left() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::map::MappedFile;

    struct One;

    impl Container for One {
        fn list(&self, directory: &Path) -> Option<Vec<OsString>> {
            (directory == Path::new("ledger")).then(|| vec!["empty".into(), "full".into()])
        }

        fn size(&self, file: &Path) -> Option<u64> {
            match file.to_str()? {
                "ledger/empty" => Some(0),
                "ledger/full" => Some(5),
                _ => None,
            }
        }

        fn read(&self, _: &Path, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&b"bytes"[..into.len()]);
            Ok(())
        }
    }

    #[test]
    fn a_container_is_listed_and_mapped_like_a_directory() {
        open_with(|path| {
            Ok(path
                .starts_with("/no/such")
                .then(|| (PathBuf::from("/no/such"), Arc::new(One) as _)))
        });
        let names = list(Path::new("/no/such/ledger")).unwrap();
        assert_eq!(names[1], ("full".into(), PathBuf::from("/no/such/ledger/full")));
        assert_eq!(
            MappedFile::open(Path::new("/no/such/ledger/full")).unwrap().bytes(),
            b"bytes"
        );
        assert!(
            MappedFile::open(Path::new("/no/such/ledger/empty"))
                .unwrap()
                .bytes()
                .is_empty()
        );
        assert!(MappedFile::open(Path::new("/no/such/ledger/other")).is_err());
        assert!(list(Path::new("/no/such")).is_err());
        assert!(list(Path::new("/no/other")).is_err());
        assert!(is_file(Path::new("/no/such/ledger/full")).unwrap());
    }
}
