//! Names of sealed files. Recovery specification, sections 6.1 and 6.4.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::format::Seqno;

/// A file by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name: digits, a dot, and something, all of it UTF-8.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The version that its name says: what stands before the first dot.
    pub version: Seqno,
}

impl Listed {
    /// A file of this name, if that is one of a sealed file. As CCF reads them, whatever stands after the first dot.
    pub fn of(directory: &Path, name: &OsStr) -> Option<Listed> {
        let name = name.to_str()?;
        let (version, _) = name.split_once('.')?;
        let is_number = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
        Some(Listed {
            name: name.to_owned(),
            path: directory.join(name),
            version: version.parse().ok().filter(|_| is_number)?,
        })
    }

    /// Whether the name is the one that CCF gives.
    pub(super) fn is_ccfs(&self) -> bool {
        self.name == file_name(self.version)
    }
}

/// The name of the file that holds the secret of a version.
pub fn file_name(version: Seqno) -> String {
    format!("{version}.sealed.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_before_a_dot_is_a_version() {
        let version = |name: &str| Listed::of(Path::new("d"), name.as_ref()).map(|listed| listed.version);
        for (name, expected) in [
            ("141.sealed.json", Some(141)),
            ("0141.x", Some(141)),
            ("18446744073709551615.sealed.json", Some(u64::MAX)),
            ("18446744073709551616.sealed.json", None),
            ("141", None),
            (".sealed.json", None),
            ("+1.sealed.json", None),
            ("replaced-1.141.sealed.json", None),
            (".141.sealed.json.7.0.partial", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }
}
