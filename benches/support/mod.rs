//! A made-up ledger for the benches: 20,000 entries of about 300 bytes, signed every 500, half of them private.
#![allow(dead_code, reason = "every bench uses its part of this")]

use std::path::PathBuf;
use std::time::Duration;

use criterion::Criterion;
use rekindle::crypto::rsa::DecryptionKey;
use rekindle::fixture::{Options, generate};
use rekindle::format::Seqno;
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::secrets::{LedgerSecrets, Material};
use rekindle::recovery::segments::{Segment, Windows};
use rekindle::recovery::unlock::open_secrets;
use tempfile::TempDir;

/// A ledger on disk, its chunks mapped.
pub struct Bench {
    pub files: LedgerFiles,
    pub segments: Vec<Segment>,
    pub entries: u64,
    pub bytes: u64,
    directory: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            entries: 20_000,
            signature_every: 500,
            ..Options::default()
        };
        let expected = generate(&options, directory.path(), &rekindle::report::progress::Silent).unwrap();
        let files = LedgerFiles::list(&[directory.path().join("ledger")], false).unwrap();
        let mut windows = Windows::new(&files, 1, Seqno::MAX);
        let mut segments = Vec::new();
        while let Some(window) = windows.next_window().unwrap() {
            segments.extend(window);
        }
        let bytes = segments.iter().map(|segment| segment.size_bytes).sum();
        Bench {
            files,
            segments,
            entries: expected.entries,
            bytes,
            directory,
        }
    }

    /// The ledger's secrets, opened with its members' keys.
    pub fn secrets(&self) -> LedgerSecrets {
        let mut material = Material::default();
        for member in 0..2 {
            let path: PathBuf = self
                .directory
                .path()
                .join(format!("common/member{member}_enc_privk.pem"));
            let pem = std::fs::read_to_string(&path).unwrap();
            material
                .member_keys
                .push((path.display().to_string(), DecryptionKey::from_pem(&pem).unwrap()));
        }
        open_secrets(&self.files, &[], &material, None)
            .unwrap()
            .0
            .secrets
            .unwrap()
    }
}

/// Short measurements: a stage is seen to within a few percent in a second.
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args()
}
