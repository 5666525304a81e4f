//! What the configuration asks to be sealed and unsealed, and the unsealing. Recovery specification, section 6.
//!
//! Whatever is wrong with key or files, the node starts, says so, and waits for members' shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::Config;
use super::sealing_state::SealingState;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::secrets::newest_version;
use crate::recovery::unsealing::{Touchstone, Unsealing, unseal};
use crate::sealing::{KeyFile, KeySource, Refusal, Refused, SealedFiles, SealingKey, SnpDevice};
use crate::service::create::SealingPlan;
use crate::shown::Show;
use crate::tables::values::HistoricalSecret;

/// What is to be sealed and unsealed, and with what.
#[derive(Clone)]
pub struct LocalSealing {
    key: std::result::Result<Arc<dyn SealingKey>, String>,
    unseal_from: Option<PathBuf>,
    seal_to: Option<PathBuf>,
}

impl LocalSealing {
    /// What the configuration asks for, with the key of that file, or of the processor; none if it asks for nothing.
    ///
    /// # Errors
    /// If the file was named and holds no key: whoever names one relies on it.
    pub fn new(config: &Config, key_file: Option<&Path>) -> Result<Option<LocalSealing>> {
        let recover = config.command.recover.as_ref();
        let unseal_from = recover.and_then(|recover| recover.previous_sealed_ledger_secret_location.clone());
        let seal_to = config.output_files.sealed_ledger_secret_location.clone();
        let key: std::result::Result<Arc<dyn SealingKey>, String> = match key_file {
            Some(path) => Ok(Arc::new(KeyFile::read(path)?)),
            None => SnpDevice::find().map(|device| Arc::new(device) as Arc<dyn SealingKey>),
        };
        if unseal_from.is_none() && seal_to.is_none() {
            if key_file.is_some() {
                tracing::warn!(
                    "--insecure-sealing-key has no effect: the configuration names neither \
                     output_files.sealed_ledger_secret_location nor command.recover.previous_sealed_ledger_secret_location"
                );
            }
            return Ok(None);
        }
        // A device that can't say what it seals under is none.
        let key = key.and_then(|key| key.tcb().map(|_| key));
        let sealing = LocalSealing {
            key,
            unseal_from,
            seal_to,
        };
        sealing.log();
        for problem in config.check_sealing(Path::new(".")) {
            tracing::warn!("local sealing will fail as things are: {problem}");
        }
        Ok(Some(sealing))
    }

    fn log(&self) {
        let place = |path: &Option<PathBuf>| path.as_ref().map(|path| path.shown().to_string());
        let (unseal_from, seal_to) = (place(&self.unseal_from), place(&self.seal_to));
        match &self.key {
            Err(why) => tracing::warn!(
                unseal_from,
                seal_to,
                "local sealing is configured, but there is no key: {why}. Nothing is sealed or unsealed, and this recovery \
                 needs the members' shares"
            ),
            Ok(key) if key.source().is_insecure() => tracing::warn!(
                unseal_from,
                seal_to,
                "INSECURE: ledger secrets are sealed under a key from a file; who can read it and the sealed files can read \
                 the whole ledger"
            ),
            Ok(key) => tracing::info!(key = key.source().as_str(), unseal_from, seal_to, "local sealing"),
        }
    }

    /// Where secrets are sealed to, and with what; none if they can't be, or are not to be.
    pub fn sealed_files(&self) -> Option<SealedFiles> {
        Some(SealedFiles {
            directory: self.seal_to.clone()?,
            key: Arc::clone(self.key.as_ref().ok()?),
        })
    }

    /// What the tables say of it.
    pub fn plan(&self) -> SealingPlan {
        SealingPlan {
            will_seal: self.sealed_files().is_some(),
            source: self.source(),
        }
    }

    fn source(&self) -> Option<KeySource> {
        self.key.as_ref().ok().map(|key| key.source())
    }

    /// What `/node/state` says of it at first.
    pub fn state(&self) -> SealingState {
        let source = self.source();
        SealingState {
            insecure: source.is_some_and(KeySource::is_insecure),
            key_source: source.map(|source| source.as_str().to_owned()),
            why_no_key: self.key.as_ref().err().map(|why| crate::shown::line(why).into_owned()),
            will_seal: self.sealed_files().is_some(),
            will_unseal: self.unseal_from.is_some() && source.is_some(),
            ..SealingState::default()
        }
    }

    /// What opens the ledger that ends with `last` and has these historical secrets, if it is to be unsealed. What the secret
    /// will be proven by is read now, while nothing of the ledger is in use.
    pub fn unsealer(
        &self,
        files: &LedgerFiles,
        historical: &[(Seqno, HistoricalSecret)],
        last: Seqno,
    ) -> Option<Arc<Unsealer>> {
        Some(Arc::new(Unsealer {
            directory: self.unseal_from.clone()?,
            key: self.key.clone(),
            touchstones: Touchstone::read(files, newest_version(historical), last),
        }))
    }
}

/// Opens the ledger with sealed files, where members agree to open the service.
pub struct Unsealer {
    directory: PathBuf,
    key: std::result::Result<Arc<dyn SealingKey>, String>,
    touchstones: Vec<Touchstone>,
}

impl Unsealer {
    /// Looks for the file that opens it.
    pub fn unseal(&self, historical: &[(Seqno, HistoricalSecret)]) -> Unsealing {
        let wanted_version = newest_version(historical);
        let refused = |refusal: Refusal, key_source: &'static str, insecure| Unsealing {
            report: SealedReport {
                directory: self.directory.shown().to_string(),
                key_source,
                insecure,
                wanted_version,
                used: None,
                refused: vec![Refused::new(&self.directory.shown().to_string(), &refusal)],
            },
            secrets: None,
        };
        let key = match &self.key {
            Ok(key) => Arc::clone(key),
            Err(why) => return refused(Refusal::NoSource(why.clone()), "none", false),
        };
        let source = key.source();
        if self.touchstones.is_empty() {
            let why = "no entry that was written under it is at hand to prove it by".to_owned();
            return refused(Refusal::NotOfThisLedger(why), source.as_str(), source.is_insecure());
        }
        let sealed = SealedFiles {
            directory: self.directory.clone(),
            key,
        };
        unseal(historical, &sealed, |_| &self.touchstones)
    }
}
