//! Kills `archive create` and `archive restore` at random moments, again and again, and goes on each time: in the end the bytes
//! are the same, and at no moment is there half an archive that looks whole.
//!
//! `cargo run --release --example archive_kills -- [--kills N] [--seed S] [--directory DIR]`

#[path = "../tests/support/dice.rs"]
mod dice;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use dice::Dice;
use rekindle::script;

/// Kill archives in the making
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 100)]
    kills: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What to archive, instead of a made-up ledger of 300 MB
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Entries of the made-up ledger
    #[arg(long, default_value_t = 800_000)]
    entries: u64,
}

fn main() -> ExitCode {
    // The processes that are killed are this program, too.
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("archive" | "fixture" | script::ARGUMENT)
    ) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let source = args.directory.clone().unwrap_or_else(|| {
        let service = scratch.path().join("service");
        let entries = args.entries.to_string();
        assert_eq!(
            run(&["fixture", "--entries", &entries, "--out", text(&service)]),
            Some(0)
        );
        service
    });
    let reference = scratch.path().join("reference");
    let whole = scratch.path().join("whole");
    let began = Instant::now();
    assert_eq!(
        run(&["archive", "create", text(&source), "-o", text(&reference)]),
        Some(0)
    );
    let making = began.elapsed();
    let began = Instant::now();
    assert_eq!(
        run(&["archive", "restore", text(&reference), "-o", text(&whole)]),
        Some(0)
    );
    let restoring = began.elapsed();
    let mut dice = Dice(args.seed);
    let (mut killed, mut finished, mut round) = (0, 0, 0);
    while killed < args.kills {
        round += 1;
        let archive = scratch.path().join(format!("archive-{round}"));
        let out = scratch.path().join(format!("out-{round}"));
        // Up to six kills, each anywhere in what a whole run takes, then to the end.
        for _ in 0..6 {
            match run_and_kill(
                &["archive", "create", text(&source), "-o", text(&archive)],
                making,
                &mut dice,
            ) {
                Some(code) => {
                    // 2: the kill before came between the manifest and the exit.
                    assert!(matches!(code, Some(0 | 2)), "{code:?}");
                    break;
                }
                None => killed += 1,
            }
            let is_whole = archive.join("manifest").exists() || archive.join("manifest.spare").exists();
            let verified = run(&["archive", "verify", text(&archive)]);
            assert_eq!(
                verified == Some(0) || verified == Some(1),
                is_whole,
                "after {killed} kills: {verified:?}"
            );
        }
        if !archive.join("manifest").exists() {
            assert_eq!(
                run(&["archive", "create", text(&source), "-o", text(&archive)]),
                Some(0)
            );
        }
        assert_eq!(
            run(&["archive", "verify", text(&archive)]),
            Some(0),
            "after {killed} kills"
        );
        assert!(
            same(&reference.join("blocks"), &archive.join("blocks")),
            "other packs than without kills"
        );
        for _ in 0..3 {
            match run_and_kill(
                &["archive", "restore", text(&archive), "-o", text(&out)],
                restoring,
                &mut dice,
            ) {
                Some(code) => {
                    assert_eq!(code, Some(0));
                    break;
                }
                None => killed += 1,
            }
        }
        if !out.exists() || out.join(".rekindle-restoring").exists() || empty(&out) {
            assert_eq!(run(&["archive", "restore", text(&archive), "-o", text(&out)]), Some(0));
        }
        assert!(
            same(&whole, &out),
            "other bytes, names, times or permissions after {killed} kills"
        );
        finished += 1;
        std::fs::remove_dir_all(&archive).expect("to remove it");
        std::fs::remove_dir_all(&out).expect("to remove it");
        eprintln!("{killed} kills, {finished} archives made and restored in spite of them: equal");
    }
    ExitCode::SUCCESS
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Option<i32> {
    command(arguments).status().expect("to run").code()
}

/// None if it was killed; otherwise its exit code.
fn run_and_kill(arguments: &[&str], whole: Duration, dice: &mut Dice) -> Option<Option<i32>> {
    let mut child = command(arguments).spawn().expect("to run");
    let micros = usize::try_from(whole.as_micros()).expect("less than years");
    let until = Instant::now() + Duration::from_micros(dice.below(micros) as u64);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().expect("to wait") {
            return Some(status.code());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    child.kill().expect("to kill it");
    let status = child.wait().expect("to wait");
    status.code().map(Some)
}

fn empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("a listing").next().is_none()
}

/// Names, contents, times and permissions, all the way down.
fn same(a: &Path, b: &Path) -> bool {
    let list = |directory: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .expect("a listing")
            .map(|item| item.expect("a file").file_name())
            .collect();
        names.sort();
        names
    };
    let names = list(a);
    names == list(b)
        && names.iter().all(|name| {
            let (a, b) = (a.join(name), b.join(name));
            let (one, other) = (a.metadata().expect("a file"), b.metadata().expect("a file"));
            let is_restored = !a.components().any(|part| part.as_os_str() == "blocks");
            let alike = !is_restored
                || one.permissions() == other.permissions()
                    && one.modified().expect("a time") == other.modified().expect("a time");
            alike
                && match one.is_dir() {
                    true => other.is_dir() && same(&a, &b),
                    false => std::fs::read(&a).expect("its bytes") == std::fs::read(&b).expect("its bytes"),
                }
        })
}
