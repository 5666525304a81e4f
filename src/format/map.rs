//! Files mapped into memory, and what happens when one shrinks while it is mapped.
//!
//! The kernel answers a read after the new end of a shrunken file with SIGBUS, which would kill the process in the
//! middle of a report. Every map is registered here; the handler puts a page of zeros under the faulting address,
//! marks the map, and lets the read go on. Zeros never pass for an entry (version 0), so the engine sees the file end
//! there, and [`MappedFile::shrank`] lets it say why.

#![allow(unsafe_code)] // the one module that maps memory; each block says why it is sound

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock};

use memmap2::Mmap;
use rustix::fs::{SeekFrom, seek};

use super::mounts;
use super::search::Search;

/// Maps that can be alive at once: a window of the engine holds at most a quarter of this.
const SLOTS: usize = 4096;

/// Holes of a file that are asked for: a file of many has much between them, too.
const MAX_HOLES: usize = 1 << 16;

struct Slot {
    /// First mapped address; 0 when the slot is free, 1 while it is being filled.
    start: AtomicUsize,
    len: AtomicUsize,
    faulted: AtomicBool,
}

static REGISTRY: [Slot; SLOTS] = [const {
    Slot {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; SLOTS];

/// A file mapped read-only. Never written through, and never anything but bytes: no value in it is trusted.
pub struct MappedFile {
    path: PathBuf,
    /// None for what a container gave.
    file: Option<File>,
    map: Option<Arc<Mmap>>,
    len: usize,
    slot: Option<&'static Slot>,
    search: OnceLock<Arc<Search>>,
}

impl MappedFile {
    /// Maps a whole file. An empty file is an empty slice.
    ///
    /// # Errors
    /// Whatever opening or mapping it answers; also if it isn't a regular file, or 4096 files are mapped already.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(install_handler);
        // A pipe named like a chunk would block whoever opens it to read; with this flag it opens, and is refused below.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = match opened {
            Err(why) if mounts::is_elsewhere(&why) => match mounts::load(path) {
                Some(loaded) => return Self::of_container(path, loaded?),
                None => return Err(why),
            },
            file => file?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        if metadata.len() == 0 {
            return Ok(MappedFile {
                path: path.to_owned(),
                file: Some(file),
                map: None,
                len: 0,
                slot: None,
                search: OnceLock::new(),
            });
        }
        // SAFETY: the map is read-only and exposed only as bytes that no code assumes to be valid or constant in any
        // way beyond "some bytes"; truncation by another process is handled by the SIGBUS handler above.
        let map = unsafe { Mmap::map(&file)? };
        let slot = claim_slot(map.as_ptr() as usize, map.len())
            .ok_or_else(|| io::Error::other("too many files are mapped at once"))?;
        Ok(MappedFile {
            path: path.to_owned(),
            file: Some(file),
            len: map.len(),
            map: Some(Arc::new(map)),
            slot: Some(slot),
            search: OnceLock::new(),
        })
    }

    fn of_container(path: &Path, (map, len): (Arc<Mmap>, usize)) -> io::Result<MappedFile> {
        Ok(MappedFile {
            path: path.to_owned(),
            file: None,
            map: Some(map),
            len,
            slot: None,
            search: OnceLock::new(),
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.map.as_deref().and_then(|map| map.get(..self.len)).unwrap_or(&[])
    }

    /// Whether the file has become shorter than it was when it was mapped; then what was read from it can't be relied on.
    pub fn shrank(&self) -> bool {
        let faulted = self.slot.is_some_and(|slot| slot.faulted.load(Ordering::Acquire));
        faulted
            || self
                .file
                .as_ref()
                .and_then(|file| file.metadata().ok())
                .is_some_and(|metadata| metadata.len() < self.bytes().len() as u64)
    }

    /// What is known of where entries begin in it, shared by all who lose their way.
    pub fn search(&self) -> &Arc<Search> {
        self.search
            .get_or_init(|| Arc::new(Search::new(self.bytes().len() as u64, self.holes())))
    }

    /// The parts of the file that were never written, as its file system says: they read as zeros. Up to a bound of their
    /// number; none where the file system does not tell.
    pub fn holes(&self) -> impl Iterator<Item = Range<u64>> {
        let size = self.bytes().len() as u64;
        let mut at = 0;
        std::iter::from_fn(move || {
            let file = self.file.as_ref()?;
            let start = seek(file, SeekFrom::Hole(at)).ok().filter(|&start| start < size)?;
            let end = seek(file, SeekFrom::Data(start)).unwrap_or(size).min(size);
            at = end;
            Some(start..end)
        })
        .take(MAX_HOLES)
    }

    /// Whether some of `part`, which must be of this file's bytes, was never written: nobody puts that into a ledger.
    pub fn is_sparse_in(&self, part: &[u8]) -> bool {
        let start = (part.as_ptr() as usize).wrapping_sub(self.bytes().as_ptr() as usize) as u64;
        let end = start.saturating_add(part.len() as u64);
        let inside = end <= self.bytes().len() as u64;
        let hole = self.file.as_ref().map(|file| seek(file, SeekFrom::Hole(start)));
        inside && !part.is_empty() && hole.is_some_and(|hole| hole.is_ok_and(|hole| hole < end))
    }

    /// Tells the kernel that the pages will be read in order, soon.
    pub fn will_need(&self) {
        self.advise(memmap2::Advice::Sequential);
    }

    /// Tells the kernel that only a page here and there will be read: it then fetches no others with it.
    pub fn is_peeked_into(&self) {
        self.advise(memmap2::Advice::Random);
    }

    fn advise(&self, advice: memmap2::Advice) {
        if let Some(map) = &self.map {
            // Only a hint: a kernel that refuses it reads more slowly.
            let _ = map.advise(advice);
        }
    }
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            // Unmap first: while the slot is claimed, no other map can be given it.
            self.map = None;
            slot.len.store(0, Ordering::Release);
            slot.start.store(0, Ordering::Release);
        }
    }
}

fn claim_slot(start: usize, len: usize) -> Option<&'static Slot> {
    let slot = REGISTRY.iter().find(|slot| {
        slot.start
            .compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    })?;
    slot.faulted.store(false, Ordering::Release);
    slot.len.store(len, Ordering::Release);
    slot.start.store(start, Ordering::Release);
    Some(slot)
}

fn install_handler() {
    // SAFETY: `handle` only uses atomics, `mmap`, `sigaction` and `raise`; the struct is zeroed, then filled.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler.
    let address = unsafe { (*info).si_addr() as usize };
    // SAFETY: sysconf has no preconditions.
    let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let page = address & !(page_size.max(1) - 1);
    for slot in &REGISTRY {
        let start = slot.start.load(Ordering::Acquire);
        let len = slot.len.load(Ordering::Acquire);
        if start > 1 && address >= start && address < start.saturating_add(len) {
            // SAFETY: the page lies inside a live map that this process owns (its slot is claimed until after it
            // is unmapped); replacing it by zeros changes nothing that anyone holds a typed reference to.
            let zeros = unsafe {
                libc::mmap(
                    page as *mut libc::c_void,
                    page_size,
                    libc::PROT_READ,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                )
            };
            if zeros != libc::MAP_FAILED {
                slot.faulted.store(true, Ordering::Release);
                return;
            }
        }
    }
    // Not one of ours: die as if no handler had been there.
    // SAFETY: restores the default action and raises the same signal.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_shrinks_while_mapped_reads_as_zeros_and_says_so() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![7u8; 64 * 1024]).unwrap();
        let map = MappedFile::open(file.path()).unwrap();
        assert_eq!(map.bytes()[0], 7);
        assert!(!map.shrank());
        file.as_file().set_len(100).unwrap();
        assert_eq!(map.bytes()[60_000], 0);
        assert!(map.shrank());
    }

    #[test]
    fn holes_are_where_nothing_was_written() {
        use std::os::unix::fs::FileExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8 << 20).unwrap();
        file.as_file().write_all_at(&[1; 1 << 20], 1 << 20).unwrap();
        let map = MappedFile::open(file.path()).unwrap();
        let holes: Vec<_> = map.holes().collect();
        if holes.is_empty() {
            eprintln!("skipped: this file system does not tell of holes");
            return;
        }
        assert_eq!(holes, [0..1 << 20, 2 << 20..8 << 20]);
        let bytes = map.bytes();
        assert!(!map.is_sparse_in(&bytes[1 << 20..2 << 20]));
        assert!(map.is_sparse_in(&bytes[1 << 20..(2 << 20) + 1]));
        assert!(map.is_sparse_in(&bytes[100..200]));
        assert!(!map.is_sparse_in(&[0; 100]), "not of this file");
    }

    #[test]
    fn an_empty_file_is_an_empty_slice_and_a_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(MappedFile::open(file.path()).unwrap().bytes().is_empty());
        assert!(MappedFile::open(std::env::temp_dir().as_path()).is_err());
    }
}
