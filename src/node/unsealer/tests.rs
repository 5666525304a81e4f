//! Unsealing on a stand-in for a processor.

use super::*;
use crate::crypto::LedgerSecret;
use crate::crypto::rsa::DecryptionKey;
use crate::fixture::{Options, generate};
use crate::format::directory::LedgerFiles;
use crate::recovery::recovery_tables::RecoveryTables;
use crate::recovery::secrets::{Material, open};
use crate::recovery::verify::{self, verify};
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
            has_stalled: AtomicBool::new(false),
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

/// In the first generation nothing is chained that a wrong secret would fail to open: an entry alone tells.
#[test]
fn the_secret_of_another_service_opens_no_ledger_of_the_first_generation() {
    let scratch = tempfile::tempdir().unwrap();
    let service = scratch.path().join("service");
    let options = Options {
        entries: 40,
        members: 1,
        threshold: 1,
        ..Options::default()
    };
    generate(&options, &service, &Silent).unwrap();
    let files = LedgerFiles::list(&[service.join("ledger")], false).unwrap();
    let report = verify(&files, &verify::Options::default(), &Silent).unwrap();
    let (last, root) = (report.last_signed.unwrap().seqno, report.root.unwrap().0);
    let tables = RecoveryTables::read(&files, None, Seqno::MAX).unwrap();
    let pem = std::fs::read_to_string(service.join("common/member0_enc_privk.pem")).unwrap();
    let material = Material {
        member_keys: vec![("member0".to_owned(), DecryptionKey::from_pem(&pem).unwrap())],
        ..Material::default()
    };
    let secrets = open(&tables, &material).secrets.unwrap();
    let own = &secrets.iter().next().unwrap().secret;
    let another = LedgerSecret::from_bytes([9; 32]);
    let version = newest_version(&tables.historical);
    for (secret, opens) in [(&another, false), (own, true)] {
        let processor = Processor(TcbVersion(7), 1);
        let directory = scratch.path().join(format!("sealed-{opens}"));
        let bytes = SealedSecret::seal(secret, version, None, &processor, [1; 12]).unwrap();
        directory::write(&directory, version, &bytes).unwrap();
        let unsealer = Unsealer {
            directory: Some(directory),
            share: None,
            key: Ok(Arc::new(processor)),
            touchstones: Touchstone::signed(&files, last, &root).into_iter().collect(),
            has_stalled: AtomicBool::new(false),
        };
        let Unsealing { report, secrets } = unsealer.unseal(&tables.historical, None);
        assert_eq!(secrets.is_some(), opens, "{}", report.why_not());
    }
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

/// A processor that does not answer.
struct Hangs;

impl SealingKey for Hangs {
    fn source(&self) -> KeySource {
        KeySource::SnpDevice
    }

    fn tcb(&self) -> Result<TcbVersion, String> {
        Ok(TcbVersion(7))
    }

    fn derive(&self, _: TcbVersion) -> Result<zeroize::Zeroizing<[u8; 32]>, String> {
        std::thread::sleep(Duration::from_secs(3600));
        Err("too late".to_owned())
    }
}

#[test]
fn a_device_that_does_not_answer_is_given_up_once_and_for_all() {
    let sealed = sealed();
    let unsealer = Arc::new(Unsealer {
        directory: Some(sealed.directory.clone()),
        share: None,
        key: Ok(Arc::new(Hangs)),
        touchstones: sealed.touchstones(),
        has_stalled: AtomicBool::new(false),
    });
    let historical = Arc::new(sealed.historical.clone());
    for at_most in [PATIENCE + Duration::from_secs(20), PATIENCE / 2] {
        let began = std::time::Instant::now();
        let Unsealing { report, secrets } = unsealer.unseal_in_time(&historical, None);
        assert!(secrets.is_none() && report.why_not().contains("no answer within 10 s"));
        assert!(began.elapsed() < at_most, "{:?}", began.elapsed());
    }
}
