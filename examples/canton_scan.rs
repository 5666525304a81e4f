//! How fast `rekindle canton scan` reads a participant's logs, beside what only counts the same words in them.
//!
//! `cargo run --release --example canton_scan -- [--megabytes N] [--every N] [--packing plain|gz|zst|xz] [--jobs N] [--rounds N]`
//!
//! A log of JSON lines is made up in a directory of its own: of `--every` lines one says that a commitment was correct. Then
//! `rg -F -c` with as many threads and `rekindle canton scan` read it by turns; of a packed log the decompressor of its
//! format takes the place of `rg`. The number of lines found must be equal. Both run in processes of their own, from a warm
//! page cache; what is said is the middle of the rounds, and the most memory that the scan had.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

/// Measure the scan of logs
#[derive(Parser)]
struct Args {
    /// How large the log is, unpacked
    #[arg(long, default_value_t = 1000)]
    megabytes: u64,
    /// One line in so many says that a commitment was correct
    #[arg(long, default_value_t = 1000)]
    every: u64,
    #[arg(long, value_enum, default_value_t = Packing::Plain)]
    packing: Packing,
    /// Threads of both
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Packing {
    Plain,
    Gz,
    Zst,
    Xz,
}

impl Packing {
    /// The program that packs, and with `-dc` unpacks.
    fn program(self) -> &'static str {
        match self {
            Packing::Plain => "rg",
            Packing::Gz => "gzip",
            Packing::Zst => "zstd",
            Packing::Xz => "xz",
        }
    }
}

const NEEDLE: &str = "Commitment correct for sender ";

fn main() -> ExitCode {
    // The process that is measured is this program, too.
    if std::env::args().nth(1).as_deref() == Some("canton") {
        return ExitCode::from(rekindle::cli::main());
    }
    let args = Args::parse();
    let program = args.packing.program();
    if Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("{program} is not installed, and there is nothing to compare with");
        return ExitCode::from(2);
    }
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let plain = scratch.path().join("canton.log");
    let said = make(&plain, &args);
    let packed = match args.packing {
        Packing::Plain => plain.clone(),
        packing => {
            let packed = Command::new(packing.program()).args(["-1", "-k"]).arg(&plain).status();
            assert!(packed.expect("it was there").success());
            let name = format!("canton.log.{}", ["", "gz", "zst", "xz"][packing as usize]);
            std::fs::remove_file(&plain).expect("it was made here");
            scratch.path().join(name)
        }
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut most_kb = 0;
    for _ in 0..args.rounds.max(1) {
        theirs.push(other(&packed, &args, said));
        let (took, kb) = scan(&packed, &args, said);
        ours.push(took);
        most_kb = most_kb.max(kb);
    }
    let (theirs, ours) = (middle(&mut theirs), middle(&mut ours));
    let speed = |took: Duration| args.megabytes as f64 / 1000.0 / took.as_secs_f64();
    println!(
        "{} MB, {said} lines of interest (one in {}), {} threads, middles of {}",
        args.megabytes,
        args.every,
        args.jobs,
        args.rounds.max(1)
    );
    println!("{program:5} {:.3} s  {:.2} GB/s", theirs.as_secs_f64(), speed(theirs));
    println!("scan  {:.3} s  {:.2} GB/s", ours.as_secs_f64(), speed(ours));
    println!(
        "ratio {:.2} of the speed of {program}",
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    println!(
        "peak  {:.1} MB resident, mapped files not counted",
        most_kb as f64 / 1000.0
    );
    ExitCode::SUCCESS
}

/// Writes the log, and answers how many of its lines say that a commitment was correct.
fn make(path: &Path, args: &Args) -> u64 {
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).expect("a new file"));
    let (mut written, mut line, mut said) = (0_u64, 0_u64, 0_u64);
    while written < args.megabytes * 1_000_000 {
        let second = line / 50;
        let at = format!(
            "2026-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            1 + second / 86_400 / 28 % 12,
            1 + second / 86_400 % 28,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            line % 50 * 20
        );
        // What differs from line to line differs without a pattern, as identifiers do.
        let noise = line.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (line << 17);
        let text = if line % args.every.max(1) == 0 {
            let (sender, tick) = (said % 13, said / 13 * 1800);
            said += 1;
            let period = |tick: u64| {
                let (day, second) = (tick / 86_400, tick % 86_400);
                format!(
                    "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
                    2000 + day / 336,
                    1 + day / 28 % 12,
                    1 + day % 28,
                    second / 3600,
                    second / 60 % 60,
                    second % 60
                )
            };
            format!(
                "{{\"@timestamp\":\"{at}\",\"message\":\"{NEEDLE}PAR::sv-{sender}::12200000{sender:04x}... and period \
                 CommitmentPeriod(fromExclusive = {}, toInclusive = {})\",\"logger_name\":\"c.d.c.p.p.AcsCommitmentProcessor:\
                 participant=participant/psid=global-domain::12203f4eb526\",\"thread_name\":\"canton-env-ec-{}\",\"level\":\
                 \"INFO\",\"trace-id\":\"{noise:016x}\"}}\n",
                period(tick),
                period(tick + 1800),
                line % 97
            )
        } else {
            format!(
                "{{\"@timestamp\":\"{at}\",\"message\":\"Processing event at {at} with request {noise:016x} of {}\",\
                 \"logger_name\":\"c.d.c.p.p.MessageDispatcher:participant=participant/psid=global-domain::12203f4eb526\",\
                 \"thread_name\":\"canton-env-ec-{}\",\"level\":\"INFO\",\"span-id\":\"{:08x}\",\"trace-id\":\"{noise:016x}\"}}\n",
                noise % 1000,
                line % 97,
                noise as u32
            )
        };
        out.write_all(text.as_bytes()).expect("room on the disk");
        written += text.len() as u64;
        line += 1;
    }
    out.into_inner()
        .expect("room on the disk")
        .sync_all()
        .expect("room on the disk");
    said
}

/// Counts with `rg`, or unpacks; how long that took.
fn other(path: &Path, args: &Args, said: u64) -> Duration {
    let mut command = Command::new(args.packing.program());
    match args.packing {
        Packing::Plain => command.args(["-F", "-c", "--threads", &args.jobs.to_string(), NEEDLE]),
        Packing::Gz | Packing::Zst | Packing::Xz => command.arg("-dc").stdout(Stdio::null()),
    };
    let began = Instant::now();
    let output = command.arg(path).output().expect("it was there");
    let took = began.elapsed();
    assert!(output.status.success());
    if args.packing == Packing::Plain {
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), said.to_string());
    }
    took
}

/// Scans; how long that took, and the most anonymous memory it was seen with, in kB.
fn scan(path: &Path, args: &Args, said: u64) -> (Duration, u64) {
    let mut log = std::ffi::OsString::from("sv=");
    log.push(path);
    let began = Instant::now();
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["canton", "scan", "--json", "--jobs", &args.jobs.to_string(), "--log"])
        .arg(log)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let id = child.id();
    let watch = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/status")) {
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let Some(kb) = line.and_then(|line| line.trim().split(' ').next()?.parse().ok()) else {
                break;
            };
            most = u64::max(most, kb);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let output = child.wait_with_output().expect("it ends");
    let took = began.elapsed();
    let most = watch.join().expect("it only reads");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let hits = report["hits"].as_u64().or_else(|| report["svs"][0]["hits"].as_u64());
    assert_eq!(hits, Some(said), "{report}");
    (took, most)
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
