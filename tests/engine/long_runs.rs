//! What happens to a run that takes long: it is interrupted, or the ledger changes under it.
//!
//! One made-up ledger serves all of these: a single chunk of some windows, with enough signatures in it that one thread
//! needs several seconds.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Once, OnceLock};
use std::time::Duration;

use crate::support::{Run, Service, chunks, codes, command, copy_files, timeless};
use rekindle::format::directory::LedgerFiles;
use rekindle::recovery::verify::{Options, verify};
use rekindle::report::progress::Progress;
use serde_json::Value;

/// 8,000 entries of 30 kB, two signatures after every second one.
fn long() -> &'static Service {
    static LONG: OnceLock<Service> = OnceLock::new();
    LONG.get_or_init(|| {
        let options = [
            "--entries",
            "8000",
            "--value-size",
            "30000",
            "--private",
            "0",
            "--signature-every",
            "2",
            "--chunk-size",
            "2000000000",
        ];
        Service::made(&options)
    })
}

fn slowly(options: &[&Path]) -> Child {
    let mut command = command();
    command.arg("verify").args(options).args(["--jobs", "1", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills a run after its first checkpoint. On a busy machine the kill may come after the run's end: then there is
/// another run.
fn interrupt_after_a_checkpoint(ledger: &Path, checkpoint: &Path) {
    for _ in 0..20 {
        let mut child = slowly(&[ledger, Path::new("--checkpoint"), checkpoint]);
        while !checkpoint.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if checkpoint.exists() {
            return;
        }
    }
    panic!("every run ended before it saved anything: make the ledger longer");
}

/// Takes a tenth of a file away as soon as the run has read anything of it.
struct Shrinks<'a> {
    file: &'a Path,
    once: Once,
}

impl Progress for Shrinks<'_> {
    fn begin(&self, _phase: &str, _total_bytes: u64) {}

    fn advance(&self, _bytes: u64, _entries: u64) {
        self.once.call_once(|| {
            let file = std::fs::File::options().write(true).open(self.file).unwrap();
            file.set_len(file.metadata().unwrap().len() / 10 * 9).unwrap();
        });
    }

    fn end(&self) {}
}

#[test]
fn an_interrupted_verification_goes_on_where_it_was_unless_the_ledger_or_the_checkpoint_changed() {
    let scratch = tempfile::tempdir().unwrap();
    let ledger = scratch.path().join("ledger");
    copy_files(&long().ledger(), &ledger);
    let checkpoint = scratch.path().join("checkpoint");
    let whole = rekindle!["verify", &ledger, "--json"].expect(0).json();

    interrupt_after_a_checkpoint(&ledger, &checkpoint);
    let saved = std::fs::read(&checkpoint).unwrap();

    let resumed = rekindle!["verify", &ledger, "--checkpoint", &checkpoint, "--json"]
        .expect(0)
        .json();
    assert_eq!(timeless(resumed), timeless(whole.clone()));
    assert!(!checkpoint.exists(), "a complete run leaves no checkpoint");

    let verify = |saved: &[u8], code: i32| -> Value {
        std::fs::write(&checkpoint, saved).unwrap();
        rekindle!["verify", &ledger, "--checkpoint", &checkpoint, "--json"]
            .expect(code)
            .json()
    };
    // What can't be read is not gone on with.
    let mut damaged = saved.clone();
    damaged[saved.len() / 2] ^= 1;
    assert_eq!(timeless(verify(&damaged, 0)), timeless(whole.clone()));
    assert_eq!(timeless(verify(&saved[..saved.len() / 2], 0)), timeless(whole));

    // A byte near the start changes, but neither size nor time of change of the contents.
    let (_, chunk) = chunks(&ledger).swap_remove(0);
    let changed = std::fs::metadata(&chunk).unwrap().modified().unwrap();
    let mut file = std::fs::File::options().read(true).write(true).open(&chunk).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(1_000_000)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(1_000_000)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
    file.set_modified(changed).unwrap();
    verify(&saved, 1);
}

#[test]
fn a_chunk_that_shrinks_while_it_is_read_is_a_finding() {
    let scratch = tempfile::tempdir().unwrap();
    let ledger = scratch.path().join("ledger");
    copy_files(&long().ledger(), &ledger);
    let (_, chunk) = chunks(&ledger).swap_remove(0);
    let files = LedgerFiles::list(std::slice::from_ref(&ledger), false).unwrap();
    let shrinks = Shrinks {
        file: &chunk,
        once: Once::new(),
    };
    let report = verify(&files, &Options::default(), &shrinks).unwrap();
    assert!(shrinks.once.is_completed());
    let report = serde_json::to_value(report).unwrap();
    assert!(codes(&report).contains(&"L0112"), "{:?}", codes(&report));
    let finding = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "L0112")
        .unwrap();
    assert_eq!(finding["file"].as_str(), chunk.to_str());
}

#[test]
fn an_interrupted_export_leaves_no_half_file() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, precaution) in [("killed.jsonl", ""), ("full.jsonl", "trap '' XFSZ; ")] {
        let out = scratch.path().join(name);
        // A file may have 8 MB here: the system stops whoever writes more, or answers with an error where that is ignored.
        let script = format!("{precaution}ulimit -f 16000; exec \"$0\" export \"$1\" --history -o \"$2\"");
        let mut shell = std::process::Command::new("sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(env!("CARGO_BIN_EXE_rekindle"))
            .arg(long().ledger())
            .arg(&out);
        let run = Run::from(shell.stdin(Stdio::null()).output().unwrap());
        assert!(!out.exists(), "{name}");
        match precaution {
            "" => assert_eq!(run.code, None, "stopped by a signal"),
            _ => {
                run.expect_sentence(3, &["could not write", name]);
                let left = std::fs::read_dir(scratch.path())
                    .unwrap()
                    .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("full"));
                assert_eq!(left.count(), 0, "nothing is left of what could not be finished");
            }
        }
    }
}
