//! Where an export goes: a file that is there completely or not at all, a device or a pipe, or standard output.
//!
//! What is exported may be secret: until it is complete nobody finds it under any name, and then only its owner may read it.
//! Nothing is ever written into a ledger's or a snapshot's directory. A name ending in `.zst` is compressed.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, Target, WholeFile, directory_of, is_stdout, target};
use crate::shown::Show;

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// zstd's own default: more costs more time than the disk it saves.
const LEVEL: i32 = 3;

/// Where lines go.
pub struct Output {
    sink: Sink,
    name: PathBuf,
}

enum Sink {
    Plain(BufWriter<Place>),
    Compressed(zstd::Encoder<'static, BufWriter<Place>>),
}

enum Place {
    Stdout(io::Stdout),
    File(WholeFile),
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Place::Stdout(out) => out.write(bytes),
            Place::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Place::Stdout(out) => out.flush(),
            Place::File(file) => file.flush(),
        }
    }
}

impl Output {
    /// Opens `path` for writing; `-` is standard output. `forbidden` are directories it must not lie in.
    ///
    /// # Errors
    /// If it lies in one of them, is a directory, a socket or a link, or can't be created.
    pub fn create(path: &Path, forbidden: &[PathBuf]) -> Result<Output> {
        let place = if is_stdout(path) {
            Place::Stdout(io::stdout())
        } else {
            if target(path)? == Target::File {
                refuse_ledger_directories(path, forbidden)?;
            }
            Place::File(WholeFile::create(path, PRIVATE)?.ends_with_process())
        };
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, place);
        let sink = match path.extension().is_some_and(|extension| extension == "zst") {
            false => Sink::Plain(buffered),
            true => Sink::Compressed(zstd::Encoder::new(buffered, LEVEL).map_err(Error::io("compress", path))?),
        };
        Ok(Output {
            sink,
            name: path.to_owned(),
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Whatever writing answers.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.sink {
            Sink::Plain(out) => out.write_all(bytes),
            Sink::Compressed(out) => out.write_all(bytes),
        }
        .map_err(Error::io("write", &self.name))
    }

    /// Writes what is left, and gives the file its name.
    ///
    /// # Errors
    /// Whatever writing, syncing or renaming answers.
    pub fn finish(self) -> Result<()> {
        let name = self.name;
        let whole = match self.sink {
            Sink::Plain(out) => out.into_inner().map_err(io::IntoInnerError::into_error),
            Sink::Compressed(out) => out
                .finish()
                .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error)),
        };
        match whole.map_err(Error::io("write", &name))? {
            Place::Stdout(mut out) => out.flush().map_err(Error::io("write", &name)),
            Place::File(file) => file.finish(),
        }
    }
}

/// Turns down a file that would lie in one of these directories, or below.
///
/// # Errors
/// If it does, or its own directory is not there.
pub fn refuse_ledger_directories(path: &Path, forbidden: &[PathBuf]) -> Result<()> {
    let parent = directory_of(path);
    let parent = parent.canonicalize().map_err(Error::io("find directory", parent))?;
    // What is not on the disk is in an archive, which is written to as little.
    let on_disk = |directory: &Path| match directory.canonicalize() {
        Ok(directory) => Some(directory),
        Err(_) => directory
            .ancestors()
            .find(|above| above.join("manifest").is_file())
            .and_then(|archive| archive.canonicalize().ok()),
    };
    let inside = |directory: &&PathBuf| on_disk(directory).is_some_and(|directory| parent.starts_with(directory));
    match forbidden.iter().find(inside) {
        None => Ok(()),
        Some(directory) => Err(Error::Usage(format!(
            "{} lies in {}, which is being read and never written to; name a file elsewhere",
            path.shown(),
            directory.shown()
        ))),
    }
}

/// Refuses a file to write that is read as well, under whatever name: it would be gone.
///
/// # Errors
/// If it is one of them.
pub fn refuse_inputs<'p>(path: &Path, inputs: impl IntoIterator<Item = &'p PathBuf>) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let is_it = |input: &&PathBuf| *input == path || place(path).is_some_and(|here| Some(here) == place(input));
    // What is a device or a pipe keeps nothing that could be lost.
    let is_file = path.is_file();
    match inputs.into_iter().find(|input| is_file && is_it(input)) {
        None => Ok(()),
        Some(_) => Err(Error::Usage(format!(
            "{} is being read and never written to; name another file",
            path.shown()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_and_does_not_touch_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.jsonl");
        std::fs::write(&path, "old").unwrap();
        let mut output = Output::create(&path, &[]).unwrap();
        output.write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        drop(output);
        assert_eq!(listing(directory.path()), ["state.jsonl"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_finished_file_has_its_name_and_a_zst_name_is_compressed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.zst"] {
            let mut output = Output::create(&directory.path().join(name), &[]).unwrap();
            output.write(b"line\n").unwrap();
            output.finish().unwrap();
        }
        assert_eq!(listing(directory.path()), ["a.jsonl", "a.jsonl.zst"]);
        assert_eq!(std::fs::read(directory.path().join("a.jsonl")).unwrap(), b"line\n");
        let compressed = std::fs::File::open(directory.path().join("a.jsonl.zst")).unwrap();
        assert_eq!(zstd::decode_all(compressed).unwrap(), b"line\n");
    }

    #[test]
    fn a_file_in_or_below_a_ledger_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("ledger");
        std::fs::create_dir_all(ledger.join("below")).unwrap();
        let forbidden = [ledger.clone()];
        for path in [ledger.join("x"), ledger.join("below/x"), ledger.join("below/../x")] {
            let refused = Output::create(&path, &forbidden).err().unwrap();
            assert_eq!(refused.exit_code(), 2, "{refused}");
        }
        assert!(Output::create(&directory.path().join("x"), &forbidden).is_ok());
        assert_eq!(listing(&ledger), ["below"]);
    }
}
