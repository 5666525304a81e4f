//! A file that is there completely or not at all: written under another name beside it, renamed at the end.
//!
//! Nothing is ever written into a ledger's or a snapshot's directory. A name ending in `.zst` is compressed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;
/// zstd's own default: more costs more time than the disk it saves.
const LEVEL: i32 = 3;

/// Where lines go.
pub struct Output {
    sink: Sink,
    name: PathBuf,
    /// Renamed to `name` at the end, removed if that is never reached.
    temporary: Option<PathBuf>,
}

enum Sink {
    Plain(BufWriter<Box<dyn Write + Send>>),
    Compressed(zstd::Encoder<'static, BufWriter<Box<dyn Write + Send>>>),
    Finished,
}

impl Output {
    /// Opens `path` for writing; `-` is standard output. `forbidden` are directories it must not lie in.
    ///
    /// # Errors
    /// If it lies in one of them, is a directory, or can't be created.
    pub fn create(path: &Path, forbidden: &[PathBuf]) -> Result<Output> {
        let (file, temporary): (Box<dyn Write + Send>, _) = if path == Path::new("-") {
            (Box::new(io::stdout()), None)
        } else if path.is_dir() {
            return Err(Error::Usage(format!(
                "{} is a directory; give the name of a file in it",
                path.display()
            )));
        } else if path.exists() && !path.is_file() {
            // A device or a pipe: there is nothing to rename.
            let file = File::options()
                .write(true)
                .open(path)
                .map_err(Error::io("open", path))?;
            (Box::new(file), None)
        } else {
            refuse_ledger_directories(path, forbidden)?;
            let temporary = temporary_name(path)?;
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&temporary)
                .map_err(Error::io("create", &temporary))?;
            (Box::new(file), Some(temporary))
        };
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, file);
        let sink = match path.extension().is_some_and(|extension| extension == "zst") {
            false => Sink::Plain(buffered),
            true => Sink::Compressed(zstd::Encoder::new(buffered, LEVEL).map_err(Error::io("compress", path))?),
        };
        Ok(Output {
            sink,
            name: path.to_owned(),
            temporary,
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
            Sink::Finished => Ok(()),
        }
        .map_err(Error::io("write", &self.name))
    }

    /// Writes what is left, and gives the file its name.
    ///
    /// # Errors
    /// Whatever writing, syncing or renaming answers.
    pub fn finish(mut self) -> Result<()> {
        match std::mem::replace(&mut self.sink, Sink::Finished) {
            Sink::Plain(mut out) => out.flush(),
            Sink::Compressed(out) => out.finish().and_then(|mut out| out.flush()),
            Sink::Finished => Ok(()),
        }
        .map_err(Error::io("write", &self.name))?;
        if let Some(temporary) = &self.temporary {
            let synced = File::open(temporary).and_then(|file| file.sync_all());
            synced.map_err(Error::io("write", temporary))?;
            std::fs::rename(temporary, &self.name).map_err(Error::io("rename to", &self.name))?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The file was never finished; if it can't be removed either, its name says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn temporary_name(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::Usage(format!("{} is not the name of a file", path.display())))?;
    let name = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
    Ok(directory_of(path).join(name))
}

/// Turns down a file that would lie in one of these directories, or below.
///
/// # Errors
/// If it does, or its own directory is not there.
pub fn refuse_ledger_directories(path: &Path, forbidden: &[PathBuf]) -> Result<()> {
    let parent = directory_of(path);
    let parent = parent.canonicalize().map_err(Error::io("find directory", parent))?;
    let inside = |directory: &&PathBuf| {
        directory
            .canonicalize()
            .is_ok_and(|directory| parent.starts_with(directory))
    };
    match forbidden.iter().find(inside) {
        None => Ok(()),
        Some(directory) => Err(Error::Usage(format!(
            "{} lies in {}, which is being read and never written to; name a file elsewhere",
            path.display(),
            directory.display()
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
        let compressed = File::open(directory.path().join("a.jsonl.zst")).unwrap();
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
