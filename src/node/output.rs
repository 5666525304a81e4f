//! Files that a node writes for those who started it. Recovery specification, section 2.1.
//!
//! They may be those of another node that runs: a start that is refused puts back what it found.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::config::Config;
use crate::error::{Error, Result};
use crate::format::whole_file::{PUBLIC, Target, target, write_whole};
use crate::shown::Show;

/// The files that this node has written, until its start can't be refused any more.
#[derive(Default)]
pub struct OutputFiles {
    /// `None`: they are kept.
    written: Mutex<Option<Vec<Written>>>,
}

struct Written {
    path: PathBuf,
    /// What stood there before, and its mode.
    before: Option<(Vec<u8>, u32)>,
    ours: Vec<u8>,
}

impl OutputFiles {
    /// Those of a node that is starting.
    pub fn starting() -> Self {
        OutputFiles {
            written: Mutex::new(Some(Vec::new())),
        }
    }

    /// Replaces a file as a whole: whoever reads it meanwhile sees the old one or the new.
    ///
    /// # Errors
    /// [`Error::Usage`] if something else than a file is there; [`Error::Io`].
    pub fn write(&self, path: &Path, contents: &[u8]) -> Result<()> {
        if target(path)? != Target::File {
            return Err(Error::Usage(format!(
                "{} is a device or a pipe; give the name of a file",
                path.shown()
            )));
        }
        let before = match std::fs::read(path) {
            Ok(bytes) => path
                .metadata()
                .ok()
                .map(|found| (bytes, found.permissions().mode() & 0o777)),
            Err(_) => None,
        };
        write_whole(path, contents, PUBLIC)?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = written.as_mut() {
            match written.iter_mut().find(|file| file.path == path) {
                Some(file) => file.ours = contents.to_owned(),
                None => written.push(Written {
                    path: path.to_owned(),
                    before,
                    ours: contents.to_owned(),
                }),
            }
        }
        Ok(())
    }

    /// The node has started: its files stay.
    pub fn keep(&self) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The start was refused or given up: what was there before is put back, unless somebody else has written meanwhile.
    pub fn take_back(&self) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        for Written { path, before, ours } in written.into_iter().flatten().rev() {
            if std::fs::read(&path).ok() != Some(ours) {
                continue;
            }
            let outcome = match before {
                Some((bytes, mode)) => write_whole(&path, &bytes, mode),
                None => std::fs::remove_file(&path).map_err(Error::io("remove", &path)),
            };
            if let Err(why) = outcome {
                tracing::warn!("a file of this refused start is left behind: {why}");
            }
        }
    }
}

/// The address under which other nodes will reach this one, written where the configuration asks for it. Nothing listens
/// there on a service of one node.
///
/// # Errors
/// As [`OutputFiles::write`].
pub fn write_node_address(config: &Config, files: &OutputFiles, port: Option<u16>) -> Result<String> {
    let Some(interface) = &config.network.node_to_node_interface else {
        return Ok(String::new());
    };
    let mut address = interface.published_address.clone();
    if address.port == 0 {
        address.port = port.unwrap_or(0);
    }
    let address = address.to_string();
    if let Some(path) = &config.output_files.node_to_node_address_file {
        files.write(path, json!({"node_to_node_interface": address}).to_string().as_bytes())?;
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_start_puts_back_what_it_found_and_a_started_node_keeps_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old.pid"), directory.path().join("new.pid"));
        std::fs::write(&old, "1").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).unwrap();
        let files = OutputFiles::starting();
        for (path, text) in [(&old, "2"), (&new, "2"), (&old, "3")] {
            files.write(path, text.as_bytes()).unwrap();
        }
        files.take_back();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "1");
        assert_eq!(old.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!new.exists());

        let files = OutputFiles::starting();
        files.write(&old, b"2").unwrap();
        files.keep();
        files.take_back();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "2");
    }

    #[test]
    fn what_another_process_has_written_meanwhile_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pid");
        let files = OutputFiles::starting();
        files.write(&path, b"1").unwrap();
        std::fs::write(&path, "2").unwrap();
        files.take_back();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
    }
}
