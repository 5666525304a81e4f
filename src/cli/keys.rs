//! Members' keys and shares from files, and a ledger's secrets from them, as several commands need them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::input;
use crate::crypto::rsa::DecryptionKey;
use crate::crypto::shares::Share;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::secrets::{LedgerSecrets, Material};
use crate::recovery::unlock::open_secrets;
use crate::sealing::{KeyFile, SealedFiles, SealingKey, SnpDevice};
use crate::shown::Show;

/// All that opens a ledger, as commands take it.
#[derive(clap::Args)]
pub struct Openers {
    /// Members' share-encryption private keys, PEM (repeatable)
    #[arg(long, value_name = "PEM", num_args = 1..)]
    pub member_key: Vec<PathBuf>,
    /// Shares that members have decrypted, raw or base64 (repeatable)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub share: Vec<PathBuf>,
    /// Directory of sealed files: which of them opens the ledger? Shares are tried where none does
    #[arg(long, value_name = "DIR")]
    pub sealed: Option<PathBuf>,
    /// Does the share open it that the last node with this name (sealing_recovery.location) has sealed in the ledger?
    #[arg(long, value_name = "NAME")]
    pub sealing_name: Option<String>,
    /// Key of the sealed files, 64 hexadecimal digits, instead of the processor's: who can read it opens them all
    #[arg(long, value_name = "FILE")]
    pub insecure_sealing_key: Option<PathBuf>,
}

impl Openers {
    /// Whether nothing was given that could open a ledger.
    pub fn is_empty(&self) -> bool {
        self.member_key.is_empty() && self.share.is_empty() && !self.has_sealed()
    }

    fn has_sealed(&self) -> bool {
        self.sealed.is_some() || self.sealing_name.is_some()
    }

    /// Reads all of it.
    ///
    /// # Errors
    /// If a file can't be read, or holds something else.
    pub fn read(&self) -> Result<Material> {
        if self.insecure_sealing_key.is_some() && !self.has_sealed() {
            return Err(Error::Usage(
                "--insecure-sealing-key opens what is sealed: give --sealed or --sealing-name, too".to_owned(),
            ));
        }
        let mut material = read(&self.member_key, &self.share)?;
        if self.has_sealed() {
            let key = sealing_key(self.insecure_sealing_key.as_deref())?;
            material.sealed = self.sealed.clone().map(|directory| SealedFiles {
                directory,
                key: Arc::clone(&key),
            });
            material.sealing_name = self.sealing_name.clone().map(|name| (name, key));
        }
        Ok(material)
    }

    /// Opens a ledger's secrets as they are after its last signature; `None` if there is nothing to open it with.
    ///
    /// # Errors
    /// If what was given does not open this ledger: the sentence says what is missing or wrong.
    pub fn open(&self, files: &LedgerFiles, snapshots: &[PathBuf]) -> Result<Option<LedgerSecrets>> {
        let material = self.read()?;
        match self.is_empty() {
            true => Ok(None),
            false => open_with(files, &material, snapshots, None).map(Some),
        }
    }
}

/// Reads keys and shares.
///
/// # Errors
/// If a file can't be read, or holds something else.
pub fn read(member_keys: &[PathBuf], shares: &[PathBuf]) -> Result<Material> {
    let mut material = Material::default();
    for path in member_keys {
        let pem = Zeroizing::new(input::read_text(path)?);
        let key = DecryptionKey::from_pem(&pem).map_err(|why| {
            Error::Usage(format!(
                "{} is not a member's share-encryption key: {why}; give the RSA private key (such as member0_enc_privk.pem)",
                path.shown()
            ))
        })?;
        material.member_keys.push((path.shown().to_string(), key));
    }
    for path in shares {
        let bytes = Zeroizing::new(input::read(path)?);
        let share =
            Share::parse(&bytes).or_else(|why| decode(&bytes).and_then(|raw| Share::parse(&raw).ok()).ok_or(why));
        let share = share.map_err(|why| {
            Error::Usage(format!(
                "{} is not a decrypted recovery share: {why}; expected 44 bytes (113 before CCF 4.0.9), raw or in base64",
                path.shown()
            ))
        })?;
        material.shares.push((path.shown().to_string(), share));
    }
    Ok(material)
}

fn decode(bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(bytes).ok()?.trim().trim_matches('"');
    STANDARD.decode(text).ok().map(Zeroizing::new)
}

/// The key that is to open what is sealed: of the file, if there is one, or of the processor.
///
/// # Errors
/// If the file holds no key, or there is no processor that has one.
pub fn sealing_key(key_file: Option<&Path>) -> Result<Arc<dyn SealingKey>> {
    Ok(match key_file {
        Some(path) => Arc::new(KeyFile::read(path)?),
        None => Arc::new(SnpDevice::find().map_err(|why| {
            Error::Usage(format!(
                "sealed secrets need the key that they were sealed under: {why}; where they were sealed with a key file, give \
                 it with --insecure-sealing-key"
            ))
        })?),
    })
}

/// Opens a ledger's secrets as they are after `at`, or after its last signature; `None` if no keys are given.
///
/// # Errors
/// If the keys don't open this ledger: the sentence says what is missing or wrong.
pub fn open(
    files: &LedgerFiles,
    member_keys: &[PathBuf],
    snapshots: &[PathBuf],
    at: Option<Seqno>,
) -> Result<Option<LedgerSecrets>> {
    if member_keys.is_empty() {
        return Ok(None);
    }
    let material = read(member_keys, &[])?;
    open_with(files, &material, snapshots, at).map(Some)
}

fn open_with(
    files: &LedgerFiles,
    material: &Material,
    snapshots: &[PathBuf],
    at: Option<Seqno>,
) -> Result<LedgerSecrets> {
    let (opened, _) = open_secrets(files, snapshots, material, at)?;
    opened.secrets.ok_or_else(|| {
        let why: Vec<String> = opened.findings.iter().map(|finding| finding.message.clone()).collect();
        Error::Unreadable(format!(
            "the keys given don't open this ledger: {}; `rekindle unlock` says more about each",
            why.join("; ")
        ))
    })
}
