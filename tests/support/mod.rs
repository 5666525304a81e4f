//! What the journeys share: the real binary, real ledgers if they are there, and made-up ones.
//!
//! Real ledgers are found through REKINDLE_CCF_LEDGERS, or at ../shared/ledgers beside the checkout. Without them a test
//! says that it was skipped, unless REKINDLE_REQUIRE_CCF_LEDGERS=1.
#![allow(dead_code, unused_macros, reason = "every journey uses its part of this")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::SystemTime;

use serde_json::Value;
use tempfile::TempDir;

/// Runs the binary with these arguments: anything that `OsString::from` takes.
macro_rules! rekindle {
    ($($argument:expr),* $(,)?) => {
        crate::support::Run::of(&[$(::std::ffi::OsString::from($argument)),*])
    };
}

/// What one run of the binary answered.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    /// Runs the binary. Whatever the arguments: it never panics.
    pub fn of(arguments: &[OsString]) -> Run {
        let output = command().args(arguments).output().unwrap();
        Run::from(output)
    }

    /// The only JSON document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|why| panic!("{why}: {} {}", String::from_utf8_lossy(&self.stdout), self.stderr))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// The same run, if it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Run {
        let out = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code, Some(code), "stderr: {}\nstdout: {:.2000}", self.stderr, out);
        self
    }

    /// That the request was turned down with this code and one clear sentence that says all of `words`.
    #[track_caller]
    pub fn expect_sentence(self, code: i32, words: &[&str]) {
        let run = self.expect(code);
        assert!(run.stdout.is_empty(), "{:?}", run.text());
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.starts_with("rekindle: "), "{}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "{word:?} is not in: {}", run.stderr);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        let stderr = String::from_utf8(output.stderr).unwrap();
        for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!stderr.contains(word), "{stderr}");
        }
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr,
        }
    }
}

/// The binary, with nothing on stdin.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rekindle"));
    command.stdin(Stdio::null());
    command
}

/// The real ledgers.
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
    eprintln!("skipped: no real ledgers in {}", path.display());
    None
}

/// What the official Python reader says of each real ledger directory.
pub fn expected(ledgers: &Path) -> BTreeMap<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(ledgers.join("expected.json")).unwrap()).unwrap()
}

/// A service: a directory with `ledger`, `snapshots` and `common`, real or made up.
pub struct Service {
    pub directory: PathBuf,
    // Removed with the service.
    _scratch: Option<TempDir>,
}

impl Service {
    pub fn at(directory: PathBuf) -> Service {
        Service {
            directory,
            _scratch: None,
        }
    }

    /// Makes one up.
    pub fn made(options: &[&str]) -> Service {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("service");
        let mut arguments = vec!["fixture".into(), "--out".into(), directory.clone().into_os_string()];
        arguments.extend(options.iter().map(OsString::from));
        Run::of(&arguments).expect(0);
        Service {
            directory,
            _scratch: Some(scratch),
        }
    }

    pub fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.directory.join("snapshots")
    }

    pub fn common(&self, name: &str) -> PathBuf {
        self.directory.join("common").join(name)
    }

    /// A member's share-encryption key.
    pub fn key(&self, member: usize) -> PathBuf {
        self.common(&format!("member{member}_enc_privk.pem"))
    }

    /// Those of all members who have one.
    pub fn keys(&self) -> Vec<PathBuf> {
        (0..20)
            .map(|member| self.key(member))
            .filter(|path| path.exists())
            .collect()
    }

    pub fn expected(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.directory.join("expected.json")).unwrap()).unwrap()
    }

    /// Runs a command on the ledger with all members' keys and these options.
    pub fn with_keys(&self, command: &str, options: &[&str]) -> Run {
        let mut arguments = vec![command.into(), self.ledger().into_os_string(), "--member-key".into()];
        arguments.extend(self.keys().into_iter().map(PathBuf::into_os_string));
        arguments.extend(options.iter().map(OsString::from));
        Run::of(&arguments)
    }

    /// Exports lines of JSON.
    pub fn export(&self, keys: bool, options: &[&str]) -> Vec<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut arguments = vec![
            "export".into(),
            self.ledger().into_os_string(),
            "-o".into(),
            file.path().into(),
        ];
        arguments.extend(options.iter().map(OsString::from));
        if keys {
            arguments.push("--member-key".into());
            arguments.extend(self.keys().into_iter().map(PathBuf::into_os_string));
        }
        Run::of(&arguments).expect(0);
        lines(&std::fs::read_to_string(file.path()).unwrap())
    }
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every real service with its members' keys, but `real_three_nodes`, which has three ledgers.
pub const REAL_SERVICES: [&str; 6] = [
    "acme_containing_service",
    "cose_flipflop_service",
    "double_sealed_service",
    "expired_service",
    "real_small",
    "real_owner",
];

/// Copies a directory's files. Written anew, so they can be changed.
pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        std::fs::write(to.join(path.file_name().unwrap()), std::fs::read(&path).unwrap()).unwrap();
    }
}

/// Everything below a directory: names, times of change, contents.
pub fn contents(directory: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<Vec<u8>>)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let bytes = match metadata.is_dir() {
            true => {
                waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                None
            }
            false => Some(std::fs::read(&path).unwrap()),
        };
        found.insert(path, (metadata.modified().unwrap(), bytes));
    }
    found
}

/// Chunk files of a ledger directory, by first seqno.
pub fn chunks(ledger: &Path) -> Vec<(u64, PathBuf)> {
    let mut chunks: Vec<_> = std::fs::read_dir(ledger)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (
                name["ledger_".len()..]
                    .split(['-', '.'])
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap(),
                path,
            )
        })
        .collect();
    chunks.sort();
    chunks
}

/// A report without what depends on the moment and on where the files are.
pub fn timeless(mut report: Value) -> Value {
    for field in ["elapsed_s", "entries_per_s", "bytes_per_s"] {
        report.as_object_mut().unwrap().remove(field).unwrap();
    }
    report
}

/// Codes of a report's findings.
pub fn codes(report: &Value) -> Vec<&str> {
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

/// Names of an object's fields, sorted.
pub fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// That an object has these fields and no others.
#[track_caller]
pub fn assert_fields(object: &Value, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(fields(object), expected);
}
