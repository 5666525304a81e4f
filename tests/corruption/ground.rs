//! What the tests stand on: real and made-up ledgers, copies of them in memory, and one verification of a copy.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rekindle::format::Seqno;
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::join::Mode;
use rekindle::recovery::verify::{Options, VerifyReport, verify};
use rekindle::report::progress::Silent;
use rekindle::report::{Finding, Severity, Verdict};

/// The real ledgers, or `None` (said aloud) where there are none.
pub fn ledgers() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/ledgers");
    let path = std::env::var_os("REKINDLE_CCF_LEDGERS").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
    assert!(
        !required,
        "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no ledgers in {}",
        path.display()
    );
    eprintln!("skipped: no ledgers in {}", path.display());
    None
}

/// A fixture of this repository.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// One file of a ledger, as it should be.
#[derive(Clone)]
pub struct Original {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The files of a ledger directory, by name.
pub fn read_ledger(directory: &Path) -> Vec<Original> {
    let mut files: Vec<Original> = std::fs::read_dir(directory)
        .unwrap_or_else(|why| panic!("{}: {why}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| Original {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            bytes: std::fs::read(&path).unwrap(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// A copy of a ledger that may be damaged, in memory where the system has such a place.
pub struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    pub fn of(files: &[Original]) -> Copy {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let copy = Copy {
            directory: directory.unwrap(),
        };
        files.iter().for_each(|file| copy.restore(file));
        copy
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn restore(&self, file: &Original) {
        std::fs::write(self.file(&file.name), &file.bytes).unwrap();
    }

    pub fn write_at(&self, name: &str, offset: usize, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.file(name)).unwrap();
        file.write_all_at(bytes, offset as u64).unwrap();
    }

    pub fn cut(&self, name: &str, length: usize) {
        let file = OpenOptions::new().write(true).open(self.file(name)).unwrap();
        file.set_len(length as u64).unwrap();
    }
}

/// Verifies the ledger in these directories.
pub fn verify_with(directories: &[&Path], options: &Options) -> rekindle::Result<VerifyReport> {
    let directories: Vec<PathBuf> = directories.iter().map(|directory| directory.to_path_buf()).collect();
    let files = LedgerFiles::list(&directories, false)?;
    verify(&files, options, &Silent)
}

/// Verifies one directory in this mode.
pub fn verify_in(directory: &Path, mode: Mode) -> rekindle::Result<VerifyReport> {
    let options = Options {
        mode: Some(mode),
        ..Options::default()
    };
    verify_with(&[directory], &options)
}

/// Audits one directory.
pub fn audit(directory: &Path) -> VerifyReport {
    verify_in(directory, Mode::Audit).unwrap_or_else(|why| panic!("{}: {why}", directory.display()))
}

/// The seqno up to which a report says everything is proven; 0 for nothing.
pub fn last_signed(report: &VerifyReport) -> Seqno {
    report.last_signed.map_or(0, |txid| txid.seqno)
}

pub fn is_clean(report: &VerifyReport) -> bool {
    report.verdict == Verdict::Ok
}

pub fn is_fault(finding: &Finding) -> bool {
    finding.severity > Severity::Info
}

/// The findings as lines, for a failing test to show.
pub fn show(report: &VerifyReport) -> String {
    let mut text = format!(
        "{:?}, last signed {:?}",
        report.verdict,
        report.last_signed.map(|txid| txid.to_string())
    );
    for finding in &report.findings {
        let file = finding
            .file
            .as_deref()
            .and_then(|file| file.rsplit('/').next())
            .unwrap_or("-");
        text += &format!(
            "\n  {} {:?} {file}@{:?} seqno {:?} proven to {:?}: {}",
            finding.code.as_str(),
            finding.severity,
            finding.offset,
            finding.seqno,
            finding.proven_to,
            finding.message
        );
    }
    text
}

/// Numbers that look random and are the same each time (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n` − 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n as u64) as usize
    }
}
