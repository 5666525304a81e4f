//! Files that are there as a whole or not at all, and what may be written to in their place.
//!
//! A file gets its name when it is complete and on disk. Until then it has none, where the file system can do that
//! (`O_TMPFILE`): whatever ends the process, a kill or a power cut too, leaves nothing behind. Elsewhere it has a temporary
//! name, which is taken away when it is given up, and when a signal ends the process.
//!
//! A path that is a device or a pipe is written into, because somebody asked for that; it is never replaced. A link is
//! neither followed to a file nor replaced by one.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::shown::Show;

mod signals;

pub use signals::{forget, named, remove_if_ended, watch_signals};

/// Mode of files that may hold secrets.
pub const PRIVATE: u32 = 0o600;
/// Mode of files that anybody may read, as far as the process's umask lets them.
pub const PUBLIC: u32 = 0o644;

/// What stands at a path that is to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing, or a file that will be replaced.
    File,
    /// A device or a pipe: written into.
    Stream,
}

/// Looks at what stands at `path`.
///
/// # Errors
/// [`Error::Usage`] for a directory, a socket, and a link to anything but a device or a pipe.
pub fn target(path: &Path) -> Result<Target> {
    let refused = |what: &str| {
        Err(Error::Usage(format!(
            "{} is {what}; give the name of a file",
            path.shown()
        )))
    };
    let found = match path.symlink_metadata() {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Target::File),
        found => found.map_err(Error::io("look at", path))?.file_type(),
    };
    let is_link = found.is_symlink();
    let kind = match is_link {
        false => found,
        true => match path.metadata() {
            Ok(after) => after.file_type(),
            Err(_) => return refused("a link that leads nowhere, and links are not followed"),
        },
    };
    match () {
        () if kind.is_dir() => refused("a directory"),
        () if kind.is_socket() => refused("a socket"),
        () if kind.is_char_device() || kind.is_block_device() || kind.is_fifo() => Ok(Target::Stream),
        () if is_link => refused("a link to a file, and links are not followed"),
        () => Ok(Target::File),
    }
}

/// Whether a path names the standard output of this process, by any of the names that Linux has for it.
pub fn is_stdout(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// A file that is being written.
pub struct WholeFile {
    file: File,
    path: PathBuf,
    place: Place,
}

enum Place {
    /// No name yet.
    Nameless,
    /// A name of its own, until it gets the right one.
    Temporary(PathBuf),
    /// Written into.
    Stream,
}

impl WholeFile {
    /// Begins a file that will stand at `path`, readable from the first moment for nobody but whom `mode` lets.
    ///
    /// # Errors
    /// As [`target`]; if it can't be created.
    pub fn create(path: &Path, mode: u32) -> Result<WholeFile> {
        if target(path)? == Target::Stream {
            let file = File::options()
                .write(true)
                .open(path)
                .map_err(Error::io("open", path))?;
            return Ok(WholeFile {
                file,
                path: path.to_owned(),
                place: Place::Stream,
            });
        }
        if path.file_name().is_none() {
            return Err(Error::Usage(format!("{} is not the name of a file", path.shown())));
        }
        let nameless = File::options()
            .write(true)
            .mode(mode)
            .custom_flags(libc::O_TMPFILE)
            .open(directory_of(path));
        match nameless {
            Ok(file) => Ok(WholeFile {
                file,
                path: path.to_owned(),
                place: Place::Nameless,
            }),
            Err(why) if cannot_be_nameless(&why) => Self::with_temporary_name(path, mode),
            Err(why) => Err(Error::io("create", path)(why)),
        }
    }

    fn with_temporary_name(path: &Path, mode: u32) -> Result<WholeFile> {
        let temporary = temporary_name(path)?;
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .map_err(Error::io("create", path))?;
        Ok(WholeFile {
            file,
            path: path.to_owned(),
            place: Place::Temporary(temporary),
        })
    }

    /// Lets a signal that ends the process take the unfinished file with it, where it has a temporary name. Not for
    /// processes that handle signals themselves.
    pub fn ends_with_process(self) -> Self {
        if let Place::Temporary(temporary) = &self.place {
            signals::remove_if_ended(temporary);
        }
        self
    }

    /// Brings it to disk and gives it its name if nothing has that name; in one step, so that what appears meanwhile stays.
    ///
    /// # Errors
    /// [`Error::Usage`] if something has that name; whatever syncing, linking or renaming answers.
    pub fn finish_new(self) -> Result<()> {
        let io = || Error::io("write", &self.path);
        self.file.sync_all().map_err(io())?;
        let named = match &self.place {
            Place::Stream => return Err(is_there(&self.path)),
            Place::Nameless => {
                let handle = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
                linkat(CWD, &handle, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)
            }
            Place::Temporary(temporary) => match renameat_with(CWD, temporary, CWD, &self.path, RenameFlags::NOREPLACE)
            {
                // A file system that can't: a second name, and the first one goes with this value.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    linkat(CWD, temporary, CWD, &self.path, AtFlags::empty())
                }
                renamed => renamed,
            },
        };
        named.map_err(|why| match why {
            Errno::EXIST => is_there(&self.path),
            why => io()(why.into()),
        })?;
        let directory = directory_of(&self.path);
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(Error::io("write the directory to disk", directory))
    }

    /// Brings it to disk and gives it its name, in place of a file that has it.
    ///
    /// # Errors
    /// Whatever syncing, linking or renaming answers; also if something else has appeared at the path.
    pub fn finish(mut self) -> Result<()> {
        let io = || Error::io("write", &self.path);
        let temporary = match &self.place {
            Place::Stream => return Ok(()),
            Place::Temporary(temporary) => {
                self.file.sync_all().map_err(io())?;
                temporary.clone()
            }
            Place::Nameless => {
                self.file.sync_all().map_err(io())?;
                let handle = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
                let link = |name: &Path| linkat(CWD, &handle, CWD, name, AtFlags::SYMLINK_FOLLOW);
                match link(&self.path) {
                    Ok(()) => return Ok(()),
                    // Nothing can be linked over a file: only a rename replaces it.
                    Err(Errno::EXIST) => {}
                    Err(why) => return Err(io()(why.into())),
                }
                let temporary = temporary_name(&self.path)?;
                link(&temporary).map_err(|why| io()(why.into()))?;
                temporary
            }
        };
        self.place = Place::Temporary(temporary.clone());
        if target(&self.path)? != Target::File {
            return Err(Error::Usage(format!(
                "{} became something else than a file while it was being written",
                self.path.shown()
            )));
        }
        signals::named(&temporary, || std::fs::rename(&temporary, &self.path)).map_err(io())?;
        self.place = Place::Stream; // nothing is left to be taken away
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Place::Temporary(temporary) = &self.place {
            // It was given up; if it can't be removed either, its name says what it is.
            let _ = std::fs::remove_file(temporary);
            signals::forget(temporary);
        }
    }
}

/// Writes a whole file; what reads it meanwhile sees the old one or the new.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::finish`].
pub fn write_whole(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let mut file = WholeFile::create(path, mode)?;
    file.write_all(contents).map_err(Error::io("write", path))?;
    file.finish()
}

/// Writes a whole file at a name that nothing has yet. For commands: a signal that ends the process leaves nothing behind.
///
/// # Errors
/// [`Error::Usage`] if something has that name; as [`WholeFile::create`] and [`WholeFile::finish_new`].
pub fn write_new(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(is_there(path));
    }
    let mut file = WholeFile::create(path, mode)?.ends_with_process();
    file.write_all(contents).map_err(Error::io("write", path))?;
    file.finish_new()
}

fn is_there(path: &Path) -> Error {
    Error::Usage(format!(
        "{} is there already, and nothing is written over: give a new name",
        path.shown()
    ))
}

/// The directory that a path is in.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// What file systems and kernels answer that know no files without names.
fn cannot_be_nameless(why: &io::Error) -> bool {
    let codes = [libc::EOPNOTSUPP, libc::EISDIR, libc::EINVAL, libc::ENOSYS];
    why.raw_os_error().is_some_and(|code| codes.contains(&code)) || !Path::new("/proc/self/fd").is_dir()
}

fn temporary_name(path: &Path) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| Error::Usage(format!("{} is not the name of a file", path.shown())))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}.{number}.partial", std::process::id()));
    let temporary = directory_of(path).join(temporary);
    // Of a process that had this number before and was killed.
    let _ = std::fs::remove_file(&temporary);
    Ok(temporary)
}

/// A file of this name with nothing in it. What had the name before is removed, not written to: it may be a link to a file
/// that is to stay as it is.
///
/// # Errors
/// If the name can't be removed or the file not be made.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn names(directory: &Path) -> Vec<String> {
        let listing = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = listing
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Both ways of beginning a file: without a name, and with a temporary one.
    const WAYS: [fn(&Path, u32) -> Result<WholeFile>; 2] = [WholeFile::create, WholeFile::with_temporary_name];

    #[test]
    fn an_unfinished_file_has_no_name_and_a_given_up_one_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let mut nameless = WholeFile::create(&path, PRIVATE).unwrap();
        nameless.write_all(b"secret").unwrap();
        assert_eq!(names(directory.path()), ["out"], "killed now, nothing would be left");
        drop(nameless);
        for begin in WAYS {
            let mut file = begin(&path, PRIVATE).unwrap();
            file.write_all(b"secret").unwrap();
            drop(file);
        }
        assert_eq!(names(directory.path()), ["out"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_finished_file_replaces_the_one_before_and_has_its_mode_from_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for (i, begin) in WAYS.into_iter().enumerate() {
            let mut file = begin(&path, PRIVATE).unwrap();
            assert_eq!(file.file.metadata().unwrap().permissions().mode() & 0o777, PRIVATE);
            file.write_all(format!("new {i}").as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("new {i}"));
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, PRIVATE);
            assert_eq!(names(directory.path()), ["out"]);
        }
    }

    #[test]
    fn a_new_file_is_whole_and_private_and_never_takes_the_name_of_another() {
        let directory = tempfile::tempdir().unwrap();
        for way in WAYS {
            let path = directory.path().join("new");
            let mut file = way(&path, PRIVATE).unwrap();
            file.write_all(b"whole").unwrap();
            file.finish_new().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);

            // It was there from the start, or appeared while the other was being written.
            let why = write_new(&path, b"other", PRIVATE).unwrap_err().to_string();
            assert!(why.contains("is there already"), "{why}");
            let mut file = way(&path, PRIVATE).unwrap();
            file.write_all(b"other").unwrap();
            let why = file.finish_new().unwrap_err().to_string();
            assert!(why.contains("is there already"), "{why}");
            assert_eq!(std::fs::read(&path).unwrap(), b"whole");
            assert_eq!(names(directory.path()), ["new"]);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn links_directories_and_sockets_are_neither_followed_nor_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("precious"), "precious").unwrap();
        symlink(at("precious"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let before = names(directory.path());
        for name in ["link", "dangling", "directory", "socket"] {
            let refused = write_whole(&at(name), b"x", PUBLIC).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{refused}");
            assert!(refused.to_string().contains(name), "{refused}");
        }
        assert_eq!(names(directory.path()), before);
        assert!(at("link").symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read(at("precious")).unwrap(), b"precious");
    }

    #[test]
    fn a_link_that_appears_while_a_file_is_written_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        for begin in WAYS {
            let file = begin(&path, PRIVATE).unwrap();
            symlink("/dev/null", &path).unwrap();
            assert!(file.finish().is_err());
            assert!(path.symlink_metadata().unwrap().is_symlink());
            std::fs::remove_file(&path).unwrap();
            assert_eq!(names(directory.path()), [""; 0]);
        }
    }

    #[test]
    fn pipes_and_devices_are_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let made = rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0);
        made.unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read(pipe).unwrap()
        });
        write_whole(&pipe, b"through", PRIVATE).unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(pipe.symlink_metadata().unwrap().file_type().is_fifo());
        write_whole(Path::new("/dev/null"), b"gone", PRIVATE).unwrap();
        assert!(Path::new("/dev/null").metadata().unwrap().file_type().is_char_device());
    }

    #[test]
    fn what_is_made_anew_is_not_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (kept, link) = (directory.path().join("kept"), directory.path().join("link"));
        std::fs::write(&kept, "kept").unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        for _ in 0..2 {
            create_anew(&link).unwrap().write_all(b"new").unwrap();
            assert_eq!(std::fs::read(&link).unwrap(), b"new");
        }
        assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
    }
}
