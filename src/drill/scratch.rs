//! The directory that a drill works in, and copies of files into it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A directory, removed with everything in it unless it is to be kept.
pub(super) struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes the directory: the one given, which must be new or empty, or a temporary one.
    pub(super) fn new(keep: Option<&Path>) -> Result<Scratch> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => {
                let mut random = [0; 8];
                getrandom::fill(&mut random)
                    .map_err(|why| Error::Unreadable(format!("the system gives no random numbers: {why}")))?;
                std::env::temp_dir().join(format!("rekindle-drill-{}", hex::encode(random)))
            }
        };
        make_private(&path)?;
        crate::journal::files::claim_directory(&path)?;
        // Keys may lie in here, also where the directory was there before.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(&path, mode).map_err(Error::io("protect the directory", &path))?;
        }
        let path = path.canonicalize().map_err(Error::io("find", &path))?;
        Ok(Scratch {
            path,
            kept: keep.is_some(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where it stays, if it does.
    pub(super) fn keep(&self) -> Option<PathBuf> {
        self.kept.then(|| self.path.clone())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes a directory that nobody else may look into, from its first moment.
fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(Error::io("make the directory", path))
}

/// Copies the files of `from` into the new directory `to`; answers the bytes.
pub(super) fn copy_directory(from: &Path, to: &Path) -> Result<u64> {
    std::fs::create_dir_all(to).map_err(Error::io("make the directory", to))?;
    let mut bytes = 0;
    for item in std::fs::read_dir(from).map_err(Error::io("list directory", from))? {
        let item = item.map_err(Error::io("list directory", from))?;
        if item.path().is_file() {
            let target = to.join(item.file_name());
            bytes += std::fs::copy(item.path(), &target).map_err(Error::io("copy", &item.path()))?;
            make_writable(&target)?;
        }
    }
    Ok(bytes)
}

/// A copy of a file that only its owner may read must be one that this process may write.
fn make_writable(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mode).map_err(Error::io("make writable", path))?;
    }
    let _ = path;
    Ok(())
}
