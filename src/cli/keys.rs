//! Opening a ledger's secrets from members' keys, as several commands do it.

use std::path::PathBuf;

use crate::crypto::aead::AeadKey;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::writes::Keys;

/// The keys of a ledger's private domains.
pub struct LedgerKeys;

impl Keys for LedgerKeys {
    fn key_at(&self, _: Seqno) -> Option<&AeadKey> {
        None
    }
}

/// Opens them; `None` if no member keys are given.
///
/// # Errors
/// If they don't open this ledger.
pub fn open(_: &LedgerFiles, member_keys: &[PathBuf]) -> Result<Option<LedgerKeys>> {
    match member_keys.is_empty() {
        true => Ok(None),
        false => Err(Error::Usage("--member-key is not there yet".to_owned())),
    }
}
