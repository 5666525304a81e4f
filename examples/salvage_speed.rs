//! A ledger mended from three damaged copies, beside the verification of the undamaged one: in pairs, in one run, each from the
//! page cache.
//!
//! `cargo run --release --example salvage_speed -- [--entries N] [--damages N] [--seed N] [--pairs N]`
//!
//! Makes up a ledger, and three copies of it with sectors overwritten in different places of each, so that every entry survives
//! somewhere. What is mended must be the undamaged ledger, byte for byte. The time of `salvage` includes writing it and syncing it
//! to disk; what the disk alone takes for the same bytes is said beside it.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use rekindle::script;

#[path = "../tests/support/dice.rs"]
mod dice;

const SECTOR: u64 = 4096;

/// Measure salvage beside verify
#[derive(Parser)]
struct Args {
    /// Entries of the made-up ledger
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 900)]
    value_size: u64,
    /// Entries between two signatures: the fewer, the less there is to verify beside what there is to read
    #[arg(long, default_value_t = 1_000)]
    signature_every: u64,
    /// Sectors that are overwritten in each copy
    #[arg(long, default_value_t = 300)]
    damages: usize,
    /// Where they are
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    pairs: usize,
}

fn main() -> ExitCode {
    if matches!(
        std::env::args().nth(1).as_deref(),
        Some("fixture" | "verify" | "salvage" | script::ARGUMENT)
    ) {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let service = scratch.path().join("service");
    let [entries, value_size, signature_every] =
        [args.entries, args.value_size, args.signature_every].map(|number| number.to_string());
    let made = [
        "fixture",
        "--entries",
        &entries,
        "--value-size",
        &value_size,
        "--signature-every",
        &signature_every,
        "--out",
    ];
    timed(&made, &[&service]);
    let ledger = service.join("ledger");
    let files = listing(&ledger);
    let bytes: u64 = files.iter().map(|file| length(file)).sum();
    let copies: Vec<PathBuf> = (0..3).map(|i| scratch.path().join(format!("node{i}"))).collect();
    copies.iter().for_each(|copy| copy_all(&files, copy));
    damage(&files, &copies, args.damages, args.seed);
    eprintln!(
        "{:.0} MB in {} files; three copies with {} sectors overwritten in each",
        bytes as f64 / 1e6,
        files.len(),
        args.damages
    );
    let (mut verify, mut salvage, mut disk) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..args.pairs {
        verify.push(timed(&["verify"], &[&ledger]));
        let out = scratch.path().join("out");
        salvage.push(timed(
            &["salvage"],
            &[&copies[0], &copies[1], &copies[2], Path::new("-o"), &out],
        ));
        assert_same(&files, &out);
        std::fs::remove_dir_all(&out).expect("to remove it");
        disk.push(written(&files, &out));
        std::fs::remove_dir_all(&out).expect("to remove it");
        eprintln!(
            "pair {pair}: verify {:.2} s, salvage {:.2} s, the disk alone {:.2} s",
            verify[pair], salvage[pair], disk[pair]
        );
    }
    let ratios: Vec<f64> = verify
        .iter()
        .zip(&salvage)
        .map(|(verify, salvage)| salvage / verify)
        .collect();
    eprintln!("verify      {:.0} MB/s", bytes as f64 / median(&verify) / 1e6);
    eprintln!(
        "salvage     {:.0} MB/s of what it writes, {:.2} times the time of verify",
        bytes as f64 / median(&salvage) / 1e6,
        median(&ratios)
    );
    eprintln!("disk alone  {:.0} MB/s", bytes as f64 / median(&disk) / 1e6);
    ExitCode::SUCCESS
}

/// Overwrites sectors, each in one of the copies only, and none within an entry's reach of one in another copy.
fn damage(files: &[PathBuf], copies: &[PathBuf], damages: usize, seed: u64) {
    let mut dice = dice::Dice(seed);
    for file in files {
        let sectors = length(file) / SECTOR;
        let name = file.file_name().expect("a name");
        let mut taken = std::collections::BTreeSet::new();
        for number in 0..(damages * copies.len()).div_ceil(files.len()) {
            let sector = dice.below(sectors.max(1) as usize) as u64;
            if sectors < 8 || taken.range(sector.saturating_sub(2)..=sector + 2).next().is_some() {
                continue;
            }
            taken.insert(sector);
            let copy = copies[number % copies.len()].join(name);
            let copy = File::options().write(true).open(copy).expect("a copy");
            let noise: Vec<u8> = (0..SECTOR).map(|_| dice.below(256) as u8).collect();
            copy.write_all_at(&noise, sector * SECTOR).expect("damage");
        }
    }
}

/// Runs this program as the real one, and answers how long it took; 0 and 1 are its answers for what it has found.
fn timed(command: &[&str], paths: &[&Path]) -> f64 {
    let began = Instant::now();
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(command)
        .args(paths)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("this program");
    let seconds = began.elapsed().as_secs_f64();
    assert!(matches!(status.code(), Some(0 | 1)), "{command:?}: {status}");
    seconds
}

/// What writing and syncing the same bytes takes.
fn written(files: &[PathBuf], out: &Path) -> f64 {
    let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let began = Instant::now();
    std::fs::create_dir(out).expect("a directory");
    for (file, bytes) in files.iter().zip(&contents) {
        let mut to = File::create(out.join(file.file_name().expect("a name"))).expect("a file");
        to.write_all(bytes).expect("to write");
        to.sync_all().expect("to sync");
    }
    began.elapsed().as_secs_f64()
}

fn assert_same(files: &[PathBuf], out: &Path) {
    for file in files {
        let mended = out.join(file.file_name().expect("a name"));
        let mended = match mended.exists() {
            true => mended,
            false => out.join("ledger").join(file.file_name().expect("a name")),
        };
        let same = std::fs::read(&mended).expect("a mended file") == std::fs::read(file).expect("a file");
        assert!(same, "{} differs", mended.display());
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn length(file: &Path) -> u64 {
    std::fs::metadata(file).expect("its size").len()
}

fn listing(directory: &Path) -> Vec<PathBuf> {
    let items = std::fs::read_dir(directory).expect("a listing");
    items
        .map(|item| item.expect("a file").path())
        .filter(|path| path.is_file())
        .collect()
}

fn copy_all(files: &[PathBuf], to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for file in files {
        std::fs::copy(file, to.join(file.file_name().expect("a name"))).expect("a copy");
    }
}
