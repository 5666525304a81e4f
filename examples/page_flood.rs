//! What viewers of the page cost a recovery: the same ledger is recovered without any and with many, in pairs, and the difference is
//! printed beside its limit.
//!
//! `cargo run --release --example page_flood -- [--viewers N] [--pairs N] [--entries N] [--rude]`
//!
//! Viewers run on the same machine, in a process of their own; each keeps one session and asks again when it is told to, or, with
//! --rude, as fast as it gets answers.

#[path = "../tests/support/node.rs"]
mod node;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use rekindle::net::tls::{Anybody, client_config};
use rekindle::script;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How much slower a recovery may be.
const LIMIT: f64 = 5.0;

/// Measure what viewers of the page cost a recovery
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 500)]
    viewers: usize,
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Entries of the ledger that is made up
    #[arg(long, default_value_t = 400_000)]
    entries: u64,
    /// Viewers who do not wait until they are to ask again
    #[arg(long)]
    rude: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("node" | "fixture" | script::ARGUMENT) => return ExitCode::from(rekindle::cli::main()),
        Some("viewers") => {
            let mut next = || arguments.next().unwrap_or_default();
            let (address, viewers, rude) = (next(), next(), next());
            watch(&address, viewers.parse().expect("a number"), rude == "true");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let args = Args::parse();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let service = scratch.path().join("service");
    let entries = args.entries.to_string();
    let options = [
        "--entries",
        &entries,
        "--value-size",
        "2000",
        "--signature-every",
        "1000",
    ];
    let made = Command::new(node::program())
        .arg("fixture")
        .arg("--out")
        .arg(&service)
        .args(options)
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("the fixture is made").success());
    let mut slower = Vec::new();
    for pair in 0..args.pairs {
        let run = |viewers| recover(&service, viewers, args.rude);
        // Each first as often as the other.
        let (without, with) = match pair % 2 {
            0 => (run(0), run(args.viewers)),
            _ => {
                let with = run(args.viewers);
                (run(0), with)
            }
        };
        let percent = (with.0 / without.0 - 1.0) * 100.0;
        println!(
            "pair {}: {:.3} s alone, {:.3} s with {} viewers ({} answers): {percent:+.1} %; serving took {:.2} s and {:.2} s of processor",
            pair + 1,
            without.0,
            with.0,
            args.viewers,
            with.1,
            without.2,
            with.2,
        );
        slower.push(percent);
    }
    slower.sort_by(f64::total_cmp);
    let median = slower[slower.len() / 2];
    println!("median: {median:+.1} %, limit {LIMIT} %");
    ExitCode::from(u8::from(median > LIMIT))
}

/// Processor time of the threads that answer requests, in seconds.
fn serving_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the node's threads");
    let ticks = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        name.ends_with("(http").then_some(ticks)
    });
    // Linux counts in hundredths here, on every machine that this runs on.
    ticks.sum::<u64>() as f64 / 100.0
}

/// Seconds that both passes over the ledger took, how many answers viewers got, and processor time that serving took.
fn recover(service: &Path, viewers: usize, rude: bool) -> (f64, u64, f64) {
    let mut place = node::Place::of(service);
    place.config["network"]["rpc_interfaces"]["viewers"] = json!({
        "bind_address": "127.0.0.1:0",
        "endorsement": {"authority": "Node"},
        "accepted_endpoints": [],
        "rekindle_page": true,
    });
    let mut node = place.start();
    let addresses = std::fs::read(place.directory.join("rpc_addresses.json")).expect("addresses");
    let addresses: Value = serde_json::from_slice(&addresses).expect("JSON");
    let mut crowd = (viewers > 0).then(|| {
        // They would be elsewhere: what they do themselves is not to count. They get what nobody else wants.
        Command::new("chrt")
            .args(["--idle", "0"])
            .arg(node::program())
            .args(["viewers", addresses["viewers"].as_str().expect("an address")])
            .args([viewers.to_string(), rude.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("viewers")
    });
    node.wait_for("PartOfPublicNetwork");
    node.open();
    let state = node.state();
    let at = |name: &str| {
        state["recovery"]["entered_s"][name]
            .as_f64()
            .expect("a state that was entered")
    };
    let public = at("PartOfPublicNetwork") - at("ReadingPublicLedger");
    let private = at("PartOfNetwork") - at("ReadingPrivateLedger");
    let serving = serving_s(node.pid());
    let mut answers = 0;
    if let Some(crowd) = &mut crowd {
        drop(crowd.stdin.take());
        let mut text = String::new();
        crowd
            .stdout
            .as_mut()
            .expect("a pipe")
            .read_to_string(&mut text)
            .expect("a count");
        answers = text.trim().parse().unwrap_or(0);
        let _ = crowd.wait();
    }
    node.stop();
    (public + private, answers, serving)
}

/// So many viewers, until the input ends; then prints how many answers they got.
fn watch(address: &str, viewers: usize, rude: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let answers = Arc::new(AtomicU64::new(0));
    let config = client_config(Anybody).expect("a configuration of TLS");
    let (address, count) = (address.to_owned(), Arc::clone(&answers));
    std::thread::spawn(move || {
        runtime.block_on(async {
            for _ in 0..viewers {
                let (config, address, count) = (Arc::clone(&config), address.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    while view(&config, &address, &count, rude).await.is_none() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                });
            }
            std::future::pending::<()>().await;
        });
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let _ = writeln!(std::io::stdout(), "{}", answers.load(Ordering::SeqCst));
}

/// One viewer in one session; nothing when that ends.
async fn view(config: &Arc<rustls::ClientConfig>, address: &str, count: &AtomicU64, rude: bool) -> Option<()> {
    let socket = TcpStream::connect(address).await.ok()?;
    let name = ServerName::try_from("node").ok()?;
    let mut stream = TlsConnector::from(Arc::clone(config))
        .connect(name, socket)
        .await
        .ok()?;
    let mut tag = String::new();
    loop {
        let known = match tag.is_empty() {
            true => String::new(),
            false => format!("If-None-Match: {tag}\r\n"),
        };
        let request = format!("GET /rekindle HTTP/1.1\r\nHost: {address}\r\n{known}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        let head = loop {
            let mut piece = [0; 16 << 10];
            let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            answer.extend_from_slice(&piece[..read]);
            if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
        };
        let text = String::from_utf8_lossy(&answer[..head]).into_owned();
        let header = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(found, _)| found.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let length: usize = header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        let mut left = vec![0; (head + 4 + length).saturating_sub(answer.len())];
        stream.read_exact(&mut left).await.ok()?;
        count.fetch_add(1, Ordering::SeqCst);
        tag = header("etag").unwrap_or(tag);
        let wait = header("rekindle-look-again-ms")
            .and_then(|wait| wait.parse().ok())
            .unwrap_or(5000);
        if !rude {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }
}
