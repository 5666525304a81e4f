//! Local sealing: ledger secrets in files that only this machine can open, so that a service is recovered without shares.
//!
//! [`SealingKey`] is where the key comes from: the processor ([`snp`]), or a file that says of itself that it protects
//! nothing ([`key_file`]). [`mod@file`] is the format, [`directory`] lists, reads and writes, [`choice`] decides which files may
//! be tried for the version that a ledger asks for, and says of every other one why not. What a ledger asks for, and whether
//! a secret opens it, is known to `recovery` alone. Recovery specification, section 6.
//!
//! A directory with sealed files may be anybody's work: names, sizes and contents are bounded and never trusted.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod choice;
pub mod directory;
pub mod file;
pub mod key_file;
pub mod names;
pub mod recovery_key;
pub mod refusal;
pub mod snp;
pub mod tcb;
#[cfg(test)]
pub mod testing;

pub use directory::{Listing, Search, search};
pub use file::{SealedSecret, Unsealed};
pub use key_file::KeyFile;
pub use names::Listed;
pub use refusal::{Refusal, Refused};
pub use snp::SnpDevice;
pub use tcb::TcbVersion;

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Where the key comes from that secrets are sealed under.
pub trait SealingKey: Send + Sync {
    /// What kind of source this is, for logs, `/node/state` and the audit tables.
    fn source(&self) -> KeySource;

    /// The TCB version that is sealed under now.
    ///
    /// # Errors
    /// In words, where the source can't say.
    fn tcb(&self) -> Result<TcbVersion, String>;

    /// The key for a TCB version: always the same for the same processor, program and policy.
    ///
    /// # Errors
    /// In words, where the source refuses: a processor gives no key for a TCB version above its own.
    fn derive(&self, tcb: TcbVersion) -> Result<Zeroizing<[u8; 32]>, String>;
}

/// A directory of sealed files, and the key that is to open them.
#[derive(Clone)]
pub struct SealedFiles {
    /// The directory.
    pub directory: PathBuf,
    /// The key.
    pub key: Arc<dyn SealingKey>,
}

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The processor, through `/dev/sev-guest`.
    SnpDevice,
    /// A file: who can read it opens everything. For machines without such a processor, and for rehearsals.
    InsecureFile,
}

impl KeySource {
    /// The source's name in answers and in the table `sealing_key_source`.
    pub fn as_str(self) -> &'static str {
        match self {
            KeySource::SnpDevice => "snp-device",
            KeySource::InsecureFile => "insecure-key-file",
        }
    }

    /// Whether it protects nothing.
    pub fn is_insecure(self) -> bool {
        self == KeySource::InsecureFile
    }
}
