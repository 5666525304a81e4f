//! What the configuration asks to be sealed and unsealed, and with what key. Recovery specification, section 6.
//!
//! Whatever is wrong with key or files, the node starts, says so, and waits for members' shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::config::Config;
use super::sealing_state::SealingState;
use super::unsealer::Unsealer;
use crate::crypto::random::system_rng;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::journal::succession::random_iv;
use crate::kv::store::Store;
use crate::recovery::sealed_share::NodeShare;
use crate::recovery::secrets::newest_version;
use crate::recovery::unsealing::Touchstone;
use crate::sealing::recovery_key::{SNP_V1, seal_recovery_key};
use crate::sealing::{KeyFile, KeySource, SealedFiles, SealingKey, SnpDevice};
use crate::service::create::SealingPlan;
use crate::shown::Show;
use crate::tables::values::{Base64, HistoricalSecret, SealedRecoveryKey};

/// What is to be sealed and unsealed, and with what.
#[derive(Clone)]
pub struct LocalSealing {
    key: std::result::Result<Arc<dyn SealingKey>, String>,
    unseal_from: Option<PathBuf>,
    seal_to: Option<PathBuf>,
    /// The name under which this machine's nodes seal in the ledger, in the later design.
    name: Option<String>,
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
        let location = config
            .sealing_recovery
            .as_ref()
            .and_then(|sealing| sealing.location.as_ref());
        let name = location.map(|location| location.name.clone());
        if unseal_from.is_none() && seal_to.is_none() && name.is_none() {
            if key_file.is_some() {
                tracing::warn!(
                    "--insecure-sealing-key has no effect: the configuration names none of \
                     output_files.sealed_ledger_secret_location, command.recover.previous_sealed_ledger_secret_location and \
                     sealing_recovery.location"
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
            name,
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

    /// Whether the node needs a pair of keys to seal.
    pub fn needs_recovery_key(&self) -> bool {
        self.name.is_some() && self.key.is_ok()
    }

    fn will_seal(&self) -> bool {
        self.sealed_files().is_some() || self.needs_recovery_key()
    }

    fn will_unseal(&self) -> bool {
        self.key.is_ok() && (self.unseal_from.is_some() || self.name.is_some())
    }

    /// What the tables say of it. `pair` is the private and public key that are to be sealed, PEM, if some are.
    pub fn plan(&self, pair: Option<&(Zeroizing<String>, String)>) -> SealingPlan {
        SealingPlan {
            will_seal: self.will_seal(),
            source: self.source(),
            recovery_key: pair.and_then(|(private, public)| self.seal_pair(private, public)),
        }
    }

    fn seal_pair(&self, private: &str, public: &str) -> Option<(String, SealedRecoveryKey)> {
        let (name, key) = (self.name.clone()?, self.key.as_ref().ok()?);
        let sealed = system_rng().map_err(|why| why.to_string()).and_then(|mut rng| {
            let iv = random_iv(&mut rng);
            seal_recovery_key(private, public, &**key, iv)
        });
        match sealed {
            Ok((ciphertext, tcb)) => Some((
                name,
                SealedRecoveryKey {
                    version: SNP_V1.to_owned(),
                    ciphertext: Base64(ciphertext),
                    pubkey: public.to_owned(),
                    tcb_version: tcb.to_string(),
                },
            )),
            Err(why) => {
                tracing::error!("nothing is sealed in the ledger for this machine: {why}");
                None
            }
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
            will_seal: self.will_seal(),
            will_unseal: self.will_unseal(),
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
        store: &Store,
    ) -> Option<Arc<Unsealer>> {
        if self.unseal_from.is_none() && self.name.is_none() {
            return None;
        }
        Some(Arc::new(Unsealer {
            directory: self.unseal_from.clone(),
            // Before this service writes its own over what the one before has left.
            share: self.name.as_deref().map(|name| {
                let transaction = store.transaction();
                NodeShare::find(name, |table, key| transaction.get(table, key))
            }),
            key: self.key.clone(),
            touchstones: Touchstone::read(files, newest_version(historical), last),
        }))
    }
}
