//! What the configuration asks to be sealed and unsealed, and the unsealing. Recovery specification, section 6.
//!
//! Whatever is wrong with key or files, the node starts, says so, and waits for members' shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::config::Config;
use super::sealing_state::SealingState;
use crate::crypto::random::system_rng;
use crate::error::Result;
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::journal::succession::random_iv;
use crate::kv::store::Store;
use crate::recovery::sealed_report::SealedReport;
use crate::recovery::sealed_share::open_sealed_share;
use crate::recovery::secrets::{LedgerSecrets, newest_version};
use crate::recovery::unsealing::{Touchstone, Unsealing, prove, unseal};
use crate::sealing::recovery_key::{SNP_V1, seal_recovery_key};
use crate::sealing::{KeyFile, KeySource, Refusal, Refused, SealedFiles, SealingKey, SnpDevice};
use crate::service::create::SealingPlan;
use crate::shown::Show;
use crate::tables::names;
use crate::tables::values::{Base64, HistoricalSecret, SealedRecoveryKey, SealedShares, from_json};

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
            share: self.name.as_deref().map(|name| NodeShare::find(store, name)),
            key: self.key.clone(),
            touchstones: Touchstone::read(files, newest_version(historical), last),
        }))
    }
}

/// What the last node of this machine's name has sealed: its id, and its key.
struct NodeShare {
    node: String,
    key: SealedRecoveryKey,
}

impl NodeShare {
    fn find(store: &Store, name: &str) -> std::result::Result<NodeShare, String> {
        let frozen = store.transaction();
        let node = frozen.get(names::NODES_LOCAL_SEALING_NODE_ID_MAP, name.as_bytes());
        let node = node.ok_or_else(|| format!("no node has sealed under the name {name:?}"))?;
        let node: String =
            from_json(node).map_err(|why| format!("the node of the name {name:?} can't be read: {why}"))?;
        let key = frozen.get(names::NODES_SEALED_RECOVERY_KEYS, node.as_bytes());
        let key = key.ok_or_else(|| format!("node {node} has sealed no key"))?;
        let key = from_json(key).map_err(|why| format!("the sealed key of node {node} can't be read: {why}"))?;
        Ok(NodeShare { node, key })
    }
}

/// Opens the ledger with what is sealed, where members agree to open the service.
pub struct Unsealer {
    directory: Option<PathBuf>,
    share: Option<std::result::Result<NodeShare, String>>,
    key: std::result::Result<Arc<dyn SealingKey>, String>,
    touchstones: Vec<Touchstone>,
}

/// What is said of the ledger itself, where that holds what is sealed.
const IN_THE_LEDGER: &str = "the ledger";
/// What is said of a share in it.
const SHARE: &str = "sealed share";

impl Unsealer {
    /// Opens the ledger with these historical secrets, in which these are the sealed shares: with this machine's share, which
    /// is always of the newest secret, or else with a sealed file.
    pub fn unseal(&self, historical: &[(Seqno, HistoricalSecret)], shares: Option<&SealedShares>) -> Unsealing {
        let directory = self.directory.as_ref().map(|path| path.shown().to_string());
        let mut report = SealedReport {
            place: directory.unwrap_or_else(|| IN_THE_LEDGER.to_owned()),
            key_source: "none",
            insecure: false,
            wanted_version: newest_version(historical),
            used: None,
            refused: Vec::new(),
        };
        let failed = |mut report: SealedReport, refusal: &Refusal| {
            let place = report.place.clone();
            report.refused.push(Refused::new(&place, refusal));
            Unsealing { report, secrets: None }
        };
        let key = match &self.key {
            Ok(key) => Arc::clone(key),
            Err(why) => return failed(report, &Refusal::NoSource(why.clone())),
        };
        report.key_source = key.source().as_str();
        report.insecure = key.source().is_insecure();
        if self.touchstones.is_empty() {
            let why = "no entry that was written under it is at hand to prove it by".to_owned();
            return failed(report, &Refusal::NotOfThisLedger(why));
        }
        match self.by_share(historical, shares, &*key) {
            Some(Ok((used, secrets))) => {
                report.place = IN_THE_LEDGER.to_owned();
                report.used = Some(used);
                return Unsealing {
                    report,
                    secrets: Some(secrets),
                };
            }
            Some(Err(refused)) => report.refused.push(refused),
            None => {}
        }
        let Some(directory) = self.directory.clone() else {
            return Unsealing { report, secrets: None };
        };
        let mut unsealing = unseal(historical, &SealedFiles { directory, key }, |_| &self.touchstones);
        unsealing.report.refused.splice(0..0, report.refused);
        unsealing
    }

    /// The share that opens the ledger, by its name; why it does not; none if no share is to be tried.
    fn by_share(
        &self,
        historical: &[(Seqno, HistoricalSecret)],
        shares: Option<&SealedShares>,
        key: &dyn SealingKey,
    ) -> Option<std::result::Result<(String, LedgerSecrets), Refused>> {
        let share = match self.share.as_ref()? {
            Ok(share) => share,
            Err(why) => return Some(Err(Refused::new(SHARE, &Refusal::Missing(why.clone())))),
        };
        let name = format!("{SHARE} of node {}", share.node);
        let Some(shares) = shares else {
            let why = "the ledger holds no sealed shares".to_owned();
            return Some(Err(Refused::new(&name, &Refusal::Missing(why))));
        };
        let opened = open_sealed_share(shares, &share.node, &share.key, key)
            .and_then(|latest| prove(historical, &latest, &self.touchstones).map_err(Refusal::NotOfThisLedger));
        Some(match opened {
            Ok(secrets) => Ok((crate::shown::line(&name).into_owned(), secrets)),
            Err(refusal) => Err(Refused::new(&name, &refusal)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::rsa::DecryptionKey;
    use crate::fixture::{Options, generate};
    use crate::recovery::recovery_tables::RecoveryTables;
    use crate::recovery::secrets::{Material, open};
    use crate::report::progress::Silent;
    use crate::sealing::testing::Processor;
    use crate::sealing::{SealedSecret, TcbVersion, directory};

    /// A ledger whose newest secret was sealed under TCB version 7 of processor 1.
    struct Sealed {
        directory: PathBuf,
        historical: Vec<(Seqno, HistoricalSecret)>,
        files: LedgerFiles,
        _scratch: tempfile::TempDir,
    }

    fn sealed() -> Sealed {
        let scratch = tempfile::tempdir().unwrap();
        let service = scratch.path().join("service");
        let options = Options {
            entries: 60,
            signature_every: 10,
            rekey_every: 25,
            members: 1,
            threshold: 1,
            ..Options::default()
        };
        generate(&options, &service, &Silent).unwrap();
        let files = LedgerFiles::list(&[service.join("ledger")], false).unwrap();
        let tables = RecoveryTables::read(&files, None, Seqno::MAX).unwrap();
        let pem = std::fs::read_to_string(service.join("common/member0_enc_privk.pem")).unwrap();
        let material = Material {
            member_keys: vec![("member0".to_owned(), DecryptionKey::from_pem(&pem).unwrap())],
            ..Material::default()
        };
        let secrets = open(&tables, &material).secrets.unwrap();
        assert!(secrets.iter().count() > 2);
        let directory = scratch.path().join("sealed");
        for secret in secrets.iter() {
            let iv = [u8::try_from(secret.from_seqno % 256).unwrap(); 12];
            let processor = Processor(TcbVersion(7), 1);
            let bytes = SealedSecret::seal(&secret.secret, secret.from_seqno, None, &processor, iv).unwrap();
            directory::write(&directory, secret.from_seqno, &bytes).unwrap();
        }
        Sealed {
            directory,
            historical: tables.historical,
            files,
            _scratch: scratch,
        }
    }

    impl Sealed {
        /// What unsealing answers on this processor: the file used, or the reason of the first that is not.
        fn on(&self, processor: Processor, touchstones: Vec<Touchstone>) -> (Option<String>, Option<&'static str>) {
            let unsealer = Unsealer {
                directory: Some(self.directory.clone()),
                share: None,
                key: Ok(Arc::new(processor)),
                touchstones,
            };
            let Unsealing { report, secrets } = unsealer.unseal(&self.historical, None);
            assert_eq!(report.used.is_some(), secrets.is_some());
            assert!(!report.insecure);
            let why = report.refused.first().map(|refused| refused.kind);
            (report.used, why)
        }

        fn touchstones(&self) -> Vec<Touchstone> {
            Touchstone::read(&self.files, newest_version(&self.historical), self.files.last_seqno())
        }
    }

    #[test]
    fn the_same_processor_opens_the_newest_of_its_files_and_no_other_does() {
        let sealed = sealed();
        let name = format!("{}.sealed.json", newest_version(&sealed.historical));
        for tcb in [7, 8] {
            let (used, why) = sealed.on(Processor(TcbVersion(tcb), 1), sealed.touchstones());
            assert_eq!((used.as_deref(), why), (Some(name.as_str()), Some("stale")));
        }
        let rolled_back = sealed.on(Processor(TcbVersion(6), 1), sealed.touchstones());
        assert_eq!(rolled_back, (None, Some("no-key")));
        let another = sealed.on(Processor(TcbVersion(7), 2), sealed.touchstones());
        assert_eq!(another, (None, Some("does-not-open")));
    }

    #[test]
    fn a_secret_that_nothing_proves_is_not_used() {
        let sealed = sealed();
        let nothing = sealed.on(Processor(TcbVersion(7), 1), Vec::new());
        assert_eq!(nothing, (None, Some("not-of-this-ledger")));
        let of_the_secret_before = Touchstone::read(&sealed.files, 1, 2);
        assert_eq!(of_the_secret_before.len(), 2);
        let (used, _) = sealed.on(Processor(TcbVersion(7), 1), of_the_secret_before);
        assert!(used.is_some(), "the chain opens it, and it opens older entries by that");
    }
}
