//! Local sealing in a rehearsal: what each recovery is given, and what must come of it.
//!
//! Recoveries are opened by what the one before has sealed, and the last one is given what is older: its members have to
//! submit shares after all.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::SealingPlan;
use super::scratch::Scratch;
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, write_whole};
use crate::sealing::{KeyFile, SealingKey, SnpDevice};
use crate::shown::Show;

/// What the recoveries of a rehearsal share.
pub(super) struct Sealing {
    /// What was sealed before the first one.
    first: Option<PathBuf>,
    /// The key file that every node is given; none: the processor's key.
    key_file: Option<PathBuf>,
}

/// What one recovery is given.
pub(super) struct RoundFiles {
    /// What its node may unseal.
    pub(super) unseal_from: Option<PathBuf>,
    /// Where its node seals to.
    pub(super) seal_to: PathBuf,
    pub(super) key_file: Option<PathBuf>,
    /// Whether it must be opened by what is sealed, or by shares.
    pub(super) expected: OpenedBy,
}

/// What opened a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenedBy {
    Sealing,
    Shares,
}

impl OpenedBy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            OpenedBy::Sealing => "sealing",
            OpenedBy::Shares => "shares",
        }
    }
}

impl RoundFiles {
    /// In words, for the time line.
    pub(super) fn intention(&self) -> &'static str {
        match (&self.unseal_from, self.expected) {
            (None, _) => "nothing is sealed yet: opened with shares",
            (_, OpenedBy::Sealing) => "to be opened by sealed files, without a share",
            (_, OpenedBy::Shares) => "with stale sealed files: to fall back to shares",
        }
    }
}

impl Sealing {
    /// Looks for the key; makes one where there is none and nothing is sealed under another.
    pub(super) fn begin(plan: &SealingPlan, scratch: &Scratch, tell: &dyn Fn(&str)) -> Result<Sealing> {
        let absolute = |path: &PathBuf| path.canonicalize().map_err(Error::io("find", path));
        let first = plan.sealed.as_ref().map(absolute).transpose()?;
        let key_file = match (&plan.key_file, &first) {
            (Some(path), _) => {
                KeyFile::read(path)?;
                tell("INSECURE: sealing under a key from a file, which protects nothing");
                Some(absolute(path)?)
            }
            (None, Some(sealed)) => {
                let device = SnpDevice::find().and_then(|device| device.tcb());
                device.map_err(|why| {
                    Error::Usage(format!(
                        "the key of the sealed files in {} is needed: {why}; where they were sealed with a key file, give it \
                         with --insecure-sealing-key",
                        sealed.shown()
                    ))
                })?;
                None
            }
            (None, None) => Some(make_key(&scratch.path().join("sealing_key.hex"), tell)?),
        };
        Ok(Sealing { first, key_file })
    }

    /// How many recoveries are rehearsed: one more where the first has nothing to unseal.
    pub(super) fn rounds(&self) -> u32 {
        if self.first.is_some() { 3 } else { 4 }
    }

    /// What a recovery is given.
    pub(super) fn round(&self, number: u32, scratch: &Scratch) -> RoundFiles {
        let sealed_by = |number: u32| scratch.path().join(format!("sealed-{number}"));
        // The last one gets what was sealed two recoveries ago.
        let is_last = number == self.rounds();
        let unseal_from = match number {
            1 => self.first.clone(),
            _ if is_last => Some(sealed_by(number - 2)),
            _ => Some(sealed_by(number - 1)),
        };
        RoundFiles {
            expected: match unseal_from.is_some() && !is_last {
                true => OpenedBy::Sealing,
                false => OpenedBy::Shares,
            },
            unseal_from,
            seal_to: sealed_by(number),
            key_file: self.key_file.clone(),
        }
    }
}

/// A key for this rehearsal alone.
fn make_key(path: &Path, tell: &dyn Fn(&str)) -> Result<PathBuf> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice())
        .map_err(|why| Error::Unreadable(format!("the system gives no random numbers: {why}")))?;
    let mut digits = Zeroizing::new([0; 64]);
    hex::encode_to_slice(key.as_slice(), digits.as_mut_slice())
        .map_err(|why| Error::Unreadable(format!("a key can't be written in digits: {why}")))?;
    write_whole(path, digits.as_slice(), PRIVATE)?;
    tell("sealing under a key file that is made up: it rehearses everything but the processor");
    Ok(path.to_owned())
}
