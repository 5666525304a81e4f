//! How fast `rekindle canton scan` reads a participant's logs, beside what only counts the same words in them.
//!
//! `cargo run --release --example canton_scan -- [--megabytes N] [--every N] [--encoder json|text] [--says story|same|different]
//! [--longer N] [--files N] [--packing plain|gz|zst|xz] [--jobs N] [--rounds N]`
//!
//! A log is made up in a directory of its own: of `--every` lines one says that a commitment was correct. Then `rg -F -c` with
//! as many threads and `rekindle canton scan` read it by turns; of a packed log the decompressor of its format takes the
//! place of `rg`. The number of lines found must be equal. Both run in processes of their own, from a warm page cache; what is
//! said is the middle of the rounds, and the most memory that the scan had.

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
    #[arg(long, value_enum, default_value_t = Encoder::Json)]
    encoder: Encoder,
    /// What the lines of interest say: what thirteen counterparties do, the same again and again, or each something else
    #[arg(long, value_enum, default_value_t = Says::Story)]
    says: Says,
    /// Bytes by which other lines are longer than usual
    #[arg(long, default_value_t = 0)]
    longer: usize,
    /// Files that the log is in, as they are rotated
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    files: u64,
    #[arg(long, value_enum, default_value_t = Packing::Plain)]
    packing: Packing,
    /// Threads of both
    #[arg(long, default_value_t = 2)]
    jobs: u32,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Another build of `rekindle` that takes its turn, too
    #[arg(long)]
    beside: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Packing {
    Plain,
    Gz,
    Zst,
    Xz,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Encoder {
    /// Canton's JSON, as its containers write it.
    Json,
    /// Logback's text, as the bare binary writes it.
    Text,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Says {
    Story,
    Same,
    Different,
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
    let plain = scratch.path().join("logs");
    std::fs::create_dir(&plain).expect("a new directory");
    let said = make(&plain, &args);
    let packed = match (args.packing, args.files) {
        (Packing::Plain, 1) => plain.join("canton.log.000"),
        (Packing::Plain, _) => plain,
        (packing, _) => {
            let all = std::fs::read_dir(&plain).expect("it was made here");
            for file in all.map(|file| file.expect("it was made here").path()) {
                let packed = Command::new(packing.program()).args(["-1", "-k"]).arg(&file).status();
                assert!(packed.expect("it was there").success());
                std::fs::remove_file(&file).expect("it was made here");
            }
            plain
        }
    };
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let (mut most_kb, mut beside) = (0, Vec::new());
    let this = std::env::current_exe().expect("this program");
    for _ in 0..args.rounds.max(1) {
        theirs.push(other(&packed, &args, said));
        if let Some(program) = &args.beside {
            beside.push(scan(program, &packed, &args, said).0);
        }
        let (took, kb) = scan(&this, &packed, &args, said);
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
    if args.beside.is_some() {
        let beside = middle(&mut beside);
        println!(
            "beside {:.3} s, ratio {:.2}",
            beside.as_secs_f64(),
            theirs.as_secs_f64() / beside.as_secs_f64()
        );
    }
    println!(
        "peak  {:.1} MB resident, mapped files not counted",
        most_kb as f64 / 1000.0
    );
    ExitCode::SUCCESS
}

/// Writes the log, and answers how many of its lines say that a commitment was correct.
fn make(directory: &Path, args: &Args) -> u64 {
    let (mut line, mut said) = (0_u64, 0_u64);
    let longer = "x".repeat(args.longer);
    for file in 0..args.files {
        let path = directory.join(format!("canton.log.{file:03}"));
        let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).expect("a new file"));
        let mut written = 0;
        while written < args.megabytes * 1_000_000 / args.files {
            let is_hit = line % args.every.max(1) == 0;
            // What differs from line to line differs without a pattern, as identifiers do.
            let noise = line.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (line << 17);
            let second = line / 50;
            let day = format!(
                "2026-{:02}-{:02}",
                1 + second / 86_400 / 28 % 12,
                1 + second / 86_400 % 28
            );
            let (at, ms) = (time(second), line % 50 * 20);
            let (class, message) = match is_hit {
                true => ("p.AcsCommitmentProcessor", correct(args.says, said)),
                false => (
                    "p.MessageDispatcher",
                    format!(
                        "Processing event at {day}T{at}.{ms:03}Z with request {noise:016x} of {}{longer}",
                        noise % 1000
                    ),
                ),
            };
            said += u64::from(is_hit);
            let logger = format!("c.d.c.p.{class}:participant=participant/psid=global-domain::12203f4eb526");
            let thread = format!("canton-env-ec-{}", line % 97);
            let text = match args.encoder {
                Encoder::Json => format!(
                    "{{\"@timestamp\":\"{day}T{at}.{ms:03}Z\",\"message\":\"{message}\",\"logger_name\":\"{logger}\",\"thread_name\":\
                     \"{thread}\",\"level\":\"INFO\",\"span-id\":\"{:08x}\",\"trace-id\":\"{noise:016x}\"}}\n",
                    noise as u32
                ),
                Encoder::Text => {
                    format!("{day} {at},{ms:03} [{thread}] INFO  {logger} tid:{noise:016x} - {message}\n")
                }
            };
            out.write_all(text.as_bytes()).expect("room on the disk");
            written += text.len() as u64;
            line += 1;
        }
        let file = out.into_inner().expect("room on the disk");
        file.sync_all().expect("room on the disk");
    }
    said
}

/// The sentence that proves agreement, for the `said`th time.
fn correct(says: Says, said: u64) -> String {
    let (sender, tick) = match says {
        Says::Story => (said % 13, said / 13 * 1800),
        Says::Same => (0, 0),
        // Every one a period that begins where none has ended.
        Says::Different => (said.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40, said * 3607),
    };
    let period = |tick: u64| {
        let day = tick / 86_400;
        let (year, month, day) = (2000 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
        format!("{year:04}-{month:02}-{day:02}T{}Z", time(tick))
    };
    format!(
        "{NEEDLE}PAR::sv-{sender}::12200000{:04x}... and period CommitmentPeriod(fromExclusive = {}, toInclusive = {})",
        sender & 0xffff,
        period(tick),
        period(tick + 1800)
    )
}

fn time(second: u64) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600 % 24, second / 60 % 60, second % 60)
}

/// Counts with `rg`, or unpacks; how long that took.
fn other(path: &Path, args: &Args, said: u64) -> Duration {
    let mut command = Command::new(args.packing.program());
    match args.packing {
        Packing::Plain => command.args(["-F", "-c", "--no-filename", "--threads", &args.jobs.to_string(), NEEDLE]),
        Packing::Gz | Packing::Zst | Packing::Xz => command.arg("-dc").stdout(Stdio::null()),
    };
    match path.is_dir() {
        true => command.args(
            std::fs::read_dir(path)
                .expect("it was there")
                .map(|file| file.expect("it was there").path()),
        ),
        false => command.arg(path),
    };
    let began = Instant::now();
    let output = command.output().expect("it was there");
    let took = began.elapsed();
    assert!(output.status.success());
    if args.packing == Packing::Plain {
        let text = String::from_utf8_lossy(&output.stdout);
        let counted: u64 = text.lines().map(|count| count.parse::<u64>().expect("a number")).sum();
        assert_eq!(counted, said);
    }
    took
}

/// Scans; how long that took, and the most anonymous memory it was seen with, in kB.
fn scan(program: &Path, path: &Path, args: &Args, said: u64) -> (Duration, u64) {
    let mut log = std::ffi::OsString::from("sv=");
    log.push(path);
    let began = Instant::now();
    let child = Command::new(program)
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
