//! An archive made, beside `zstd -3 -T2` over the same bytes: in pairs, in one run, each from the page cache.
//!
//! `cargo run --release --example archive_speed -- [--entries N] [--private F] [--pairs N]`
//!
//! Makes up a ledger, then measures zstd's own command over its bytes, an archive of it, one of three copies of it, and the
//! verification of that archive. The archive's time includes verifying the ledger, its digests, and syncing it to disk.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use rekindle::archive::open::Archive;
use rekindle::archive::{create, verify};
use rekindle::recovery::join::Mode;
use rekindle::report::progress::Silent;
use rekindle::script;

/// Measure archives beside zstd
#[derive(Parser)]
struct Args {
    /// Entries of the made-up ledger
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Share of entries that are encrypted, and do not compress
    #[arg(long, default_value_t = 0.5)]
    private: f64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// A directory to archive, instead of a made-up ledger
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    if matches!(std::env::args().nth(1).as_deref(), Some("fixture" | script::ARGUMENT)) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let ledger = match args.directory {
        Some(directory) => directory,
        None => {
            let service = scratch.path().join("service");
            let made = Command::new(std::env::current_exe().expect("this program"))
                .args([
                    "fixture",
                    "--entries",
                    &args.entries.to_string(),
                    "--private",
                    &args.private.to_string(),
                    "--out",
                ])
                .arg(&service)
                .status();
            assert!(made.expect("a fixture").success());
            service.join("ledger")
        }
    };
    let copies: Vec<PathBuf> = (0..3).map(|i| scratch.path().join(format!("node{i}"))).collect();
    copies.iter().for_each(|copy| copy_all(&ledger, copy));
    let joined = scratch.path().join("joined");
    let status = Command::new("sh")
        .arg("-c")
        .arg("cat \"$0\"/* > \"$1\"")
        .arg(&ledger)
        .arg(&joined)
        .status();
    assert!(status.expect("cat").success());
    let bytes = std::fs::metadata(&joined).expect("its size").len() as f64;
    eprintln!(
        "{:.0} MB in {} files",
        bytes / 1e6,
        std::fs::read_dir(&ledger).expect("a listing").count()
    );
    let (mut zstd, mut one, mut three, mut check) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut stored = [0u64; 3];
    for pair in 0..args.pairs {
        let out = scratch.path().join("joined.zst");
        zstd.push(timed(|| {
            let done = Command::new("zstd")
                .args(["-3", "-T2", "-q", "-f", "-o"])
                .arg(&out)
                .arg(&joined)
                .stdin(Stdio::null())
                .status();
            assert!(done.expect("zstd, of the package of that name").success());
        }));
        stored[0] = std::fs::metadata(&out).expect("its size").len();
        for (times, sources, place) in [(&mut one, &copies[..1], 1), (&mut three, &copies[..], 2)] {
            let out = scratch.path().join(format!("archive-{pair}-{place}"));
            let mut made = None;
            times.push(timed(|| {
                made = Some(create::run(sources, &out, Mode::Integrity, &Silent).expect("an archive"))
            }));
            stored[place] = made.expect("an archive").manifest.stored_bytes();
            if place == 2 {
                let archive = Archive::open(&out).expect("an archive");
                check.push(timed(|| {
                    assert!(verify::verify(&archive, &Silent).expect("a report").findings.is_empty())
                }));
            }
            std::fs::remove_dir_all(&out).expect("to remove it");
        }
        eprintln!(
            "pair {pair}: zstd {:.2} s, one copy {:.2} s, three copies {:.2} s, verify {:.2} s",
            zstd[pair], one[pair], three[pair], check[pair]
        );
    }
    let ratios: Vec<f64> = zstd.iter().zip(&one).map(|(zstd, one)| zstd / one).collect();
    let more: Vec<f64> = three.iter().zip(&one).map(|(three, one)| three / one).collect();
    let per_byte: Vec<f64> = zstd
        .iter()
        .zip(&three)
        .map(|(zstd, three)| 3.0 * zstd / three)
        .collect();
    eprintln!(
        "zstd -3 -T2      {:.0} MB/s, {} bytes",
        bytes / median(&zstd) / 1e6,
        stored[0]
    );
    eprintln!(
        "one copy         {:.0} MB/s, {} bytes, {:.2} of the speed of zstd",
        bytes / median(&one) / 1e6,
        stored[1],
        median(&ratios)
    );
    eprintln!(
        "three copies     {:.2} times the time of one, {:.4} times its bytes",
        median(&more),
        stored[2] as f64 / stored[1] as f64
    );
    eprintln!(
        "                 {:.2} of the speed of zstd over the same bytes, thrice",
        median(&per_byte)
    );
    eprintln!("verify           {:.0} MB/s", bytes / median(&check) / 1e6);
    ExitCode::SUCCESS
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for item in std::fs::read_dir(from).expect("a listing") {
        let path = item.expect("a file").path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
}
