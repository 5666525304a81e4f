//! A node's whole recovery, in a process of its own: from its start to a public network, the reading of the private ledger,
//! what its state endpoint answers meanwhile, the memory it takes, and how many requests of a member it answers.
//!
//! `cargo bench --bench node` makes up 400,000 private entries of 400 bytes over 100,000 keys, about 250 MB, and prints
//! the best, middle and worst of several recoveries beside `rekindle verify` and `rekindle unlock` of the same ledger.
//! With `--test` it does the same once with little.

#[path = "../tests/http/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod client;
#[path = "../tests/support/node.rs"]
mod node;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::{connect, exchange, tls_client};
use node::{Node, Place, program};
use rekindle::fixture::{Options, generate};
use rekindle::report::progress::Silent;
use serde_json::{Value, json};

const STATE: &str = "GET /node/state HTTP/1.1\r\nhost: n\r\n\r\n";
/// Whole recoveries; and as many up to a public network that are asked for their state all the time.
const ROUNDS: usize = 5;
/// How often a node is asked then, and how often where its own times matter.
const OFTEN: Duration = Duration::from_millis(2);
const SELDOM: Duration = Duration::from_millis(50);

fn main() {
    let small = std::env::args().any(|argument| argument == "--test");
    let options = Options {
        entries: if small { 2_000 } else { 400_000 },
        value_size: 400,
        private: 1.0,
        keys: 100_000,
        signature_every: 4_500,
        members: 3,
        threshold: 3,
        ..Options::default()
    };
    let scratch = tempfile::tempdir().unwrap();
    let service = scratch.path().join("service");
    let made = generate(&options, &service, &Silent).unwrap();
    let rounds = if small { 1 } else { ROUNDS };
    println!("a ledger of {} entries", made.entries);

    let ledger = service.join("ledger");
    let keys: Vec<_> = (0..3)
        .map(|member| service.join(format!("common/member{member}_enc_privk.pem")))
        .collect();
    let mut verify = Vec::new();
    let mut unlock = Vec::new();
    for _ in 0..rounds {
        verify.push(timed(Command::new(program()).arg("verify").arg(&ledger)));
        let mut command = Command::new(program());
        unlock.push(timed(
            command.arg("unlock").arg(&ledger).arg("--member-key").args(&keys),
        ));
    }
    tell("rekindle verify", "s", &mut verify);
    tell("rekindle unlock", "s", &mut unlock);

    let (mut public, mut private, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let place = Place::of(&service);
        let mut node = place.start();
        let memory = PeakMemory::watch(node.pid());
        let state = ask_until(&node, "PartOfPublicNetwork", SELDOM, &mut Vec::new());
        public.push(entered(&state, "PartOfPublicNetwork"));
        node.wait_for_members();
        node.pass(&node.opening());
        node.submit_shares(&place.keys());
        let state = ask_until(&node, "PartOfNetwork", SELDOM, &mut Vec::new());
        private.push(entered(&state, "PartOfNetwork") - entered(&state, "ReadingPrivateLedger"));
        node.wait_until_ready("/node/ready/app");
        node.stop();
        peaks.push(memory.megabytes());
    }
    tell("start to PartOfPublicNetwork", "s", &mut public);
    tell("ReadingPrivateLedger", "s", &mut private);
    tell("anonymous memory, peak", "MB", &mut peaks);

    ask_for_much(&service, if small { 5 } else { 200 });

    let mut answers = Vec::new();
    for _ in 0..rounds {
        let place = Place::of(&service);
        let node = place.start();
        ask_until(&node, "PartOfPublicNetwork", OFTEN, &mut answers);
        node.stop();
    }
    answers.sort_by(f64::total_cmp);
    let at = |share: f64| answers[((answers.len() - 1) as f64 * share) as usize] * 1e3;
    println!(
        "{:<30} p50 {:.2} ms, p99 {:.2} ms, worst {:.2} ms, of {} while the ledger is read",
        "GET /node/state",
        at(0.5),
        at(0.99),
        at(1.0),
        answers.len()
    );
}

/// Proposals and ballots of one member, one request after the other: each is signed, checked by the constitution and written.
fn ask_for_much(service: &Path, number: usize) {
    let place = Place::of(service);
    let mut node = place.start();
    node.wait_for_members();
    let voter = &node.voters()[0];
    let proposal = json!({"actions": [{"name": "trigger_ledger_chunk"}]});
    let began = Instant::now();
    let ids: Vec<String> = (0..number)
        .map(|_| {
            let answer = node.propose(voter, &proposal).unwrap();
            assert_eq!(answer["proposalState"], "Open");
            answer["proposalId"].as_str().unwrap().to_owned()
        })
        .collect();
    let proposals = number as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    for id in &ids {
        assert_eq!(node.vote(voter, id).unwrap()["proposalState"], "Open");
    }
    let ballots = number as f64 / began.elapsed().as_secs_f64();
    println!(
        "{:<30} {proposals:.0} proposals/s, {ballots:.0} ballots/s",
        "one member"
    );
    node.stop();
}

fn timed(command: &mut Command) -> f64 {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    began.elapsed().as_secs_f64()
}

fn tell(what: &str, unit: &str, figures: &mut [f64]) {
    figures.sort_by(f64::total_cmp);
    let (best, middle, worst) = (figures[0], figures[figures.len() / 2], figures[figures.len() - 1]);
    println!("{what:<30} {middle:.3} {unit} ({best:.3} to {worst:.3})");
}

/// Seconds since the node's start.
fn entered(state: &Value, name: &str) -> f64 {
    state["recovery"]["entered_s"][name].as_f64().unwrap()
}

/// Asks for the state until it is `wanted`, in one session; adds the seconds that each answer took.
fn ask_until(node: &Node<'_>, wanted: &str, every: Duration, answers: &mut Vec<f64>) -> Value {
    let address = node.url.trim_start_matches("https://").parse().unwrap();
    node.run(async {
        let mut stream = connect(address, &tls_client()).await.unwrap();
        loop {
            let began = Instant::now();
            let answer = exchange(&mut stream, STATE).await;
            answers.push(began.elapsed().as_secs_f64());
            assert_eq!(answer.status, 200);
            let state = answer.json();
            if state["state"] == wanted {
                return state;
            }
            tokio::time::sleep(every).await;
        }
    })
}

/// The most anonymous memory that a process had, seen every few milliseconds.
struct PeakMemory {
    stop: Sender<()>,
    watcher: JoinHandle<u64>,
}

impl PeakMemory {
    fn watch(process: u32) -> PeakMemory {
        let (stop, stopped) = channel();
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            loop {
                // A process that has ended has no such line.
                let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
                let kilobytes = line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap());
                peak = peak.max(kilobytes * 1024);
                if stopped.recv_timeout(Duration::from_millis(5)) != Err(RecvTimeoutError::Timeout) {
                    return peak;
                }
            }
        });
        PeakMemory { stop, watcher }
    }

    fn megabytes(self) -> f64 {
        drop(self.stop);
        self.watcher.join().unwrap() as f64 / 1e6
    }
}
