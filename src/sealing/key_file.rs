//! The sealing key from a file: for machines whose processor seals nothing, and for rehearsals. It protects nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeySource, SealingKey, TcbVersion};
use crate::error::{Error, Result};
use crate::shown::Show;

/// Digits of 32 bytes, and what editors put around them.
const MAX_BYTES: u64 = 256;

/// 32 bytes from a file, the key for every TCB version. Recovery specification, section 6.3.
pub struct KeyFile {
    key: Zeroizing<[u8; 32]>,
    path: PathBuf,
}

impl KeyFile {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] where it holds something else, of which nothing is shown.
    pub fn read(path: &Path) -> Result<KeyFile> {
        let refused = |what: &str| {
            Error::Usage(format!(
                "{} is not a sealing key: {what}; expected 32 bytes as 64 hexadecimal digits",
                path.shown()
            ))
        };
        // A pipe is as good as a file: whoever names it knows what comes out.
        let file = File::open(path).map_err(Error::io("read", path))?;
        let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(Error::io("read", path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(refused("it is too long"));
        }
        let digits = text.trim_ascii();
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits, key.as_mut_slice())
            .map_err(|_| refused(&format!("it holds {} bytes that are not 64 such digits", digits.len())))?;
        Ok(KeyFile {
            key,
            path: path.to_owned(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl SealingKey for KeyFile {
    fn source(&self) -> KeySource {
        KeySource::InsecureFile
    }

    fn tcb(&self) -> std::result::Result<TcbVersion, String> {
        Ok(TcbVersion::default())
    }

    fn derive(&self, _: TcbVersion) -> std::result::Result<Zeroizing<[u8; 32]>, String> {
        Ok(self.key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_digits_and_nothing_of_anything_else_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.hex");
        let digits = "00".repeat(31) + "1F";
        for text in [digits.clone(), format!(" {digits}\n")] {
            std::fs::write(&path, text).unwrap();
            let key = KeyFile::read(&path).unwrap();
            assert_eq!(key.derive(TcbVersion(7)).unwrap()[31], 0x1f);
            assert!(key.source().is_insecure());
        }
        for text in [
            "",
            "secretsecret",
            &digits[1..],
            &format!("{digits}00"),
            &"a".repeat(1000),
        ] {
            std::fs::write(&path, text).unwrap();
            let why = KeyFile::read(&path).err().unwrap().to_string();
            assert!(why.contains("64 hexadecimal digits"), "{why}");
            assert!(text.is_empty() || !why.contains(text), "{why}");
        }
        assert!(KeyFile::read(directory.path()).is_err());
    }
}
