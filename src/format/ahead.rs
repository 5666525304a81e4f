//! Files fetched into the page cache ahead of whoever reads them, so that neither the disk nor a processor waits.
//!
//! A mapped file is fetched where it is touched, and whoever touches it waits. One thread that asks the kernel for the next
//! files, in the order in which they will be read, keeps the disk busy from the first moment. It only asks: nothing is
//! copied, and what is in the cache already costs next to nothing.

use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;

/// How far ahead of its reader a file is fetched: about two hundred milliseconds of a fast disk, and small beside what a
/// machine that keeps a ledger has.
const AHEAD_BYTES: u64 = 256 << 20;
/// Asked for at once: kernels fetch at most so much for one request, and ignore the rest of it.
const STEP_BYTES: u64 = 512 << 10;

/// A thread that fetches files. It ends with this value, or when everything is fetched.
pub struct ReadAhead {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    reader: Mutex<Reader>,
    moved: Condvar,
}

/// Where the reader is.
#[derive(Default)]
struct Reader {
    /// Bytes of the files, in order, up to which it has begun to read.
    at: u64,
    gone: bool,
}

impl ReadAhead {
    /// Fetches `files`, of these sizes, in order. Where no thread can be started they are read as slowly as without.
    pub fn start(files: Vec<(PathBuf, u64)>) -> ReadAhead {
        let shared = Arc::new(Shared::default());
        let fetching = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn(move || fetch(&files, &fetching));
        drop(spawned);
        ReadAhead { shared }
    }

    /// The reader begins to read what lies before this byte, counted over all files in order.
    pub fn reads_to(&self, at: u64) {
        let mut reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.at = at;
        self.shared.moved.notify_all();
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        let mut reader = self.shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.gone = true;
        self.shared.moved.notify_all();
    }
}

fn fetch(files: &[(PathBuf, u64)], shared: &Shared) {
    let mut fetched = 0u64;
    for (path, size) in files {
        // As in `MappedFile::open`: a pipe must not block.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut offset = 0;
        while offset < *size {
            let reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            let far = |reader: &mut Reader| !reader.gone && fetched > reader.at.saturating_add(AHEAD_BYTES);
            let waited = shared.moved.wait_while(reader, far);
            if waited.unwrap_or_else(PoisonError::into_inner).gone {
                return;
            }
            let step = STEP_BYTES.min(*size - offset);
            if let Ok(file) = &file
                && !is_cached(file, offset + step / 2)
            {
                // Only a hint: a kernel or file system that refuses it reads more slowly.
                let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(STEP_BYTES), Advice::WillNeed);
            }
            offset += step;
            fetched = fetched.saturating_add(step);
        }
    }
}

/// Whether the byte at `offset` can be read without the disk. Asking for one byte costs less than asking for all those around
/// it, each page of which is looked up even where it is there. Nobody looks into the middle of a chunk before it is read: what
/// is there came with the rest.
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT).is_ok_and(|read| read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_just_been_written_is_cached_and_what_is_after_the_end_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 8192]).unwrap();
        if !is_cached(file.as_file(), 5000) {
            eprintln!("skipped: this file system does not tell what is cached");
            return;
        }
        assert!(!is_cached(file.as_file(), 8192));
        if rustix::fs::fstatfs(file.as_file()).unwrap().f_type == libc::TMPFS_MAGIC {
            eprintln!("skipped in part: this file system has its files in memory alone");
            return;
        }
        // A kernel that is asked to forget a page does so when nothing else holds it.
        let forgotten = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            rustix::fs::fsync(file.as_file()).unwrap();
            rustix::fs::fadvise(file.as_file(), 0, None, Advice::DontNeed).unwrap();
            !is_cached(file.as_file(), 5000)
        });
        assert!(forgotten);
    }

    #[test]
    fn it_ends_with_its_reader_however_much_there_is_to_fetch() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        // Far more than it fetches ahead, and a file that is not there.
        let mut files = vec![(file.path().to_owned(), 1 << 20); 4096];
        files.insert(3, (PathBuf::from("/nowhere"), 5));
        let ahead = ReadAhead::start(files);
        let shared = Arc::downgrade(&ahead.shared);
        ahead.reads_to(1 << 20);
        drop(ahead);
        let began = std::time::Instant::now();
        while shared.strong_count() > 0 {
            assert!(began.elapsed().as_secs() < 20, "the thread goes on without a reader");
            std::thread::yield_now();
        }
    }
}
