//! Several nodes, each in a process of its own, on one machine: how fast one that joins takes a whole ledger, how soon one that
//! begins with a snapshot is in, and how many requests of members three nodes commit beside one alone.
//!
//! `cargo bench --bench cluster` makes up 400,000 private entries of 400 bytes (about 250 MB), and a service whose newest state is
//! about 100 MB; with `--test` it does the same once with little. What is timed begins with the start of the joining process.
//! Beside each: `rekindle verify` of the same ledger, and a copy of the same bytes.

#[macro_use]
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "../tests/support/joiners.rs"]
mod joiners;
#[path = "../tests/support/node.rs"]
mod node;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use joiners::committed;
use node::{Node, Place, program};
use rekindle::fixture::{Options, generate};
use rekindle::report::progress::Silent;
use serde_json::{Value, json};

/// Each look is a TLS session of its own, which takes the node a few milliseconds.
const POLL: Duration = Duration::from_millis(40);

fn main() {
    let small = std::env::args().any(|argument| argument == "--test");
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let runs = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let rounds = if small { 1 } else { 3 };
    let scratch = tempfile::tempdir().unwrap();

    if runs("follow") {
        let service = scratch.path().join("long");
        let entries = if small { 2_000 } else { 400_000 };
        make(&service, entries, 100_000);
        whole_ledger(&service, rounds);
    }
    if runs("snapshot") {
        let service = scratch.path().join("wide");
        let keys = if small { 2_000 } else { 375_000 };
        make(&service, keys, keys);
        from_a_snapshot(&service, rounds);
    }
    if runs("commit") {
        let service = scratch.path().join("short");
        make(&service, 2_000, 100);
        let proposals = if small { 16 } else { 300 };
        for round in 0..rounds {
            commits(&service, 1, proposals, round);
            commits(&service, 3, proposals, round);
        }
    }
}

fn make(service: &Path, entries: u64, keys: u64) {
    let options = Options {
        entries,
        value_size: 400,
        private: 1.0,
        keys,
        signature_every: 4_500,
        members: 3,
        threshold: 3,
        ..Options::default()
    };
    let made = generate(&options, service, &Silent).unwrap();
    println!("a ledger of {} entries", made.entries);
}

/// A node begins with nothing and takes the whole ledger, in the public network and in an open service.
fn whole_ledger(service: &Path, rounds: usize) {
    let ledger = service.join("ledger");
    let megabytes = bytes_in(&ledger) as f64 / 1e6;
    let mut verify = Vec::new();
    let mut copy = Vec::new();
    let (mut public, mut open) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        let status = Command::new(program())
            .arg("verify")
            .arg(&ledger)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        verify.push(began.elapsed().as_secs_f64());
        let into = tempfile::tempdir().unwrap();
        let began = Instant::now();
        for file in std::fs::read_dir(&ledger).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(&path, into.path().join(path.file_name().unwrap())).unwrap();
        }
        copy.push(began.elapsed().as_secs_f64());

        let place = Place::of(service);
        let mut leader = place.start();
        leader.wait_for("PartOfPublicNetwork");
        leader.wait_for_commit();
        let wanted = committed(&leader);
        let first = joins(&place, &leader.url, "public", false);
        let began = Instant::now();
        let mut follower = first.start();
        wait_for_seqno(&mut follower, wanted);
        public.push(began.elapsed().as_secs_f64());
        println!("  in the public network: {}", threads(&follower));

        leader.open();
        follower.wait_for("PartOfNetwork");
        let second = joins(&place, &leader.url, "open", false);
        let mut late = second.start();
        let began = trust(&leader, &mut late);
        wait_for_seqno(&mut late, committed(&leader));
        late.wait_for("PartOfNetwork");
        open.push(began.elapsed().as_secs_f64());
        println!("  in the open service: {}", threads(&late));
        for node in [late, follower, leader] {
            node.kill();
        }
    }
    println!("{megabytes:.0} MB");
    tell("rekindle verify", &mut verify);
    tell("copied, file by file", &mut copy);
    tell("joins the public network", &mut public);
    rate(megabytes, &public);
    tell("joins the open service", &mut open);
    rate(megabytes, &open);
}

/// A node fetches a snapshot and is part of the open service.
fn from_a_snapshot(service: &Path, rounds: usize) {
    let place = Place::of(service);
    let mut leader = place.start();
    leader.open();
    leader.act("trigger_snapshot", Value::Null);
    leader.wait_for_commit();
    let snapshots = place.directory.join("snapshots");
    let bytes = leader.wait_until("there is a snapshot", |_| {
        let files = std::fs::read_dir(&snapshots).unwrap();
        let committed = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "committed");
        let mut sizes = files
            .map(|file| file.unwrap().path())
            .filter(committed)
            .map(|path| path.metadata().unwrap().len());
        sizes.next()
    });
    let mut times = Vec::new();
    for round in 0..rounds {
        let beside = joins(&place, &leader.url, &format!("late{round}"), true);
        let mut late = beside.start();
        let fetched = Instant::now();
        late.wait_for("Pending");
        let pending = fetched.elapsed().as_secs_f64();
        let began = trust(&leader, &mut late);
        late.wait_for("PartOfNetwork");
        wait_for_seqno(&mut late, committed(&leader));
        let after = began.elapsed().as_secs_f64();
        println!("  until Pending {pending:.3} s, from the members' agreement to PartOfNetwork {after:.3} s");
        times.push(pending + after);
        leave(&leader, late);
    }
    println!("a snapshot of {:.0} MB", bytes as f64 / 1e6);
    tell("joins with a snapshot", &mut times);
    leader.kill();
}

/// Proposals of a member, one after the other, until the last of them is committed.
fn commits(service: &Path, nodes: usize, number: usize, round: usize) {
    let place = Place::of(service);
    let mut leader = place.start();
    leader.open();
    let places: Vec<Place> = (1..nodes)
        .map(|i| joins(&place, &leader.url, &format!("node{i}"), false))
        .collect();
    let mut followers: Vec<Node<'_>> = Vec::new();
    for place in &places {
        let mut follower = place.start();
        trust(&leader, &mut follower);
        wait_for_seqno(&mut follower, committed(&leader));
        follower.wait_for("PartOfNetwork");
        followers.push(follower);
    }
    leader.wait_for_commit();
    let before = committed(&leader);
    let proposal = json!({"actions": [{"name": "trigger_ledger_chunk"}]});
    let voter = leader.voters().swap_remove(0);
    let began = Instant::now();
    for _ in 0..number {
        leader.propose(&voter, &proposal).unwrap();
    }
    let answered = began.elapsed().as_secs_f64();
    leader.wait_for_commit();
    let all = began.elapsed().as_secs_f64();
    let transactions = committed(&leader) - before;
    println!(
        "round {round}, {nodes} nodes: {:.0} proposals/s answered, {:.0}/s committed, {transactions} transactions",
        number as f64 / answered,
        number as f64 / all
    );
    for node in followers.into_iter().chain([leader]) {
        node.kill();
    }
}

/// Where a node is started that joins the service of `first`, with the times that a node has by itself.
fn joins(first: &Place, url: &str, name: &str, snapshot: bool) -> Place {
    let mut place = joiners::joiner(first, url, name);
    place.config.as_object_mut().unwrap().remove("consensus");
    let join = &mut place.config["command"]["join"];
    join["retry_timeout"] = json!("20ms");
    join["fetch_recent_snapshot"] = json!(snapshot);
    place
}

/// Members trust a node that waits for it; answers when they had agreed.
fn trust(leader: &Node<'_>, joiner: &mut Node<'_>) -> Instant {
    joiners::trust(leader, joiner);
    Instant::now()
}

/// Members remove a node, which ends.
fn leave(leader: &Node<'_>, mut node: Node<'_>) {
    let id = node.state()["node_id"].clone();
    leader.act("remove_node", json!({"node_id": id}));
    node.wait_for_end();
}

/// Waits until a node has committed so much; it may not answer yet.
fn wait_for_seqno(node: &mut Node<'_>, seqno: u64) {
    loop {
        let answer = node.run(node.anyone().get("/node/commit"));
        let commit: Option<Value> = answer.ok().and_then(|answer| answer.json().ok());
        let reached = commit.and_then(|commit| {
            let (_, seqno) = commit["transaction_id"].as_str()?.split_once('.')?;
            seqno.parse::<u64>().ok()
        });
        if reached.is_some_and(|reached| reached >= seqno) {
            return;
        }
        if let Some(status) = node.ended() {
            panic!("the node ended ({status}): {}", node.log());
        }
        std::thread::sleep(POLL);
    }
}

/// The processor time of a node's threads, by their names.
fn threads(node: &Node<'_>) -> String {
    let mut seconds: BTreeMap<String, f64> = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap() {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        let Some((name, figures)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')) else {
            continue; // it has just ended
        };
        // utime and stime, in hundredths of a second.
        let ticks = figures.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum();
        *seconds.entry(name.to_owned()).or_default() += ticks / 100.0;
    }
    let much = seconds.iter().filter(|(_, seconds)| **seconds >= 0.02);
    let said: Vec<String> = much.map(|(name, seconds)| format!("{name} {seconds:.2} s")).collect();
    format!("processor time: {}", said.join(", "))
}

fn bytes_in(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn tell(what: &str, seconds: &mut [f64]) {
    seconds.sort_by(f64::total_cmp);
    let (best, middle, worst) = (seconds[0], seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
    println!("{what:<30} {middle:.3} s ({best:.3} to {worst:.3})");
}

fn rate(megabytes: f64, seconds: &[f64]) {
    println!("{:<30} {:.0} MB/s", "", megabytes / seconds[seconds.len() / 2]);
}
