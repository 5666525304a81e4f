//! Members who mean harm, and strangers: what they ask ends, and keeps nobody waiting for long.

use std::time::{Duration, Instant};

use crate::node::{Node, Place};
use crate::support::Service;
use bytes::Bytes;
use hyper::Method;
use rekindle::member::Session;
use serde_json::{Value, json};

/// Built-in functions that run for years, and ask nobody whether they should stop; and a loop, which does.
const ENDLESS: [&str; 4] = [
    "return Array.prototype.includes.call({ length: Number.MAX_SAFE_INTEGER }, 1)",
    "return Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1) < 0",
    "return ('a'.repeat(1 << 24)).includes('a'.repeat(1 << 23) + 'b')",
    "while (true) {}",
];

fn place() -> Place {
    Place::of(&Service::made(&["--entries", "50"]).directory)
}

fn proposal(node: &Node<'_>, number: usize) -> String {
    let keys = &node.voters()[0];
    let text = json!({"actions": [{"name": "set_recovery_threshold", "args": {"recovery_threshold": 2}}], "n": number});
    let made = node.run(Session::new(node.client(), &keys.member).propose(text.to_string().as_bytes()));
    made.unwrap()["proposalId"].as_str().unwrap().to_owned()
}

fn vote(node: &Node<'_>, id: &str, body: &str) -> Value {
    let ballot = format!("export function vote(proposal, proposerId) {{ {body} }}");
    let keys = &node.voters()[0];
    node.run(Session::new(node.client(), &keys.member).vote(id, &ballot))
        .unwrap()
}

fn threads(node: &Node<'_>) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap().count()
}

/// Processes that the node has started.
fn children(node: &Node<'_>) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
    let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let all: Vec<String> = tasks.map(|task| of(task.unwrap())).collect();
    all.iter()
        .flat_map(|list| list.split_whitespace())
        .map(|id| id.parse().unwrap())
        .collect()
}

/// Clock ticks that a process has worked for.
fn worked(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields.get(11).map_or(0, |user| user.parse().unwrap())
}

/// What is ready for the next scripts: two that have run nothing, and one that has run the constitution.
const READY: usize = 3;

#[test]
fn ballots_that_never_end_are_ended_and_leave_neither_threads_nor_processes() {
    let place = place();
    let mut node = place.start();
    node.open();
    let before = threads(&node);
    for (number, body) in ENDLESS.into_iter().enumerate() {
        let id = proposal(&node, number);
        let begun = Instant::now();
        assert_eq!(vote(&node, &id, body)["proposalState"], "Open");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{body}: {:?}",
            begun.elapsed()
        );
    }
    // What has answered is ended beside the answer.
    let until = Instant::now() + Duration::from_secs(10);
    let ready = loop {
        let ready = children(&node);
        if ready.len() <= READY {
            break ready;
        }
        assert!(Instant::now() < until, "{ready:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let work = || ready.iter().map(|process| worked(*process)).sum::<u64>();
    let worked_before = work();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(work(), worked_before, "something still runs");
    // One of them starts the processes.
    assert!(threads(&node) <= before + 2, "{before} {}", threads(&node));
    // The votes of others count as if nothing were.
    node.act("trigger_ledger_rekey", Value::Null);
    node.stop();
}

#[test]
fn processes_that_die_while_they_wait_for_scripts_are_replaced() {
    let place = place();
    let mut node = place.start();
    node.open();
    for _ in 0..3 {
        // One that has answered may end by itself between the look and the kill.
        let killed = children(&node)
            .into_iter()
            .map(|process| rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap())
            .map(|process| rustix::process::kill_process(process, rustix::process::Signal::KILL))
            .filter(|killed| *killed != Err(rustix::io::Errno::SRCH));
        let killed: Vec<()> = killed.collect::<Result<_, _>>().unwrap();
        assert!(!killed.is_empty());
        node.act("trigger_ledger_rekey", Value::Null);
    }
    node.stop();
}

/// What one member's script has touched is gone before another's begins.
#[test]
fn a_process_that_has_run_a_ballot_runs_nothing_else() {
    let place = place();
    let mut node = place.start();
    node.open();
    let id = proposal(&node, 0);
    let before = children(&node);
    assert!(before.len() >= 2, "{before:?}");
    // The ballot is loaded, then asked: each takes a process that has run nothing; the constitution has its own.
    vote(&node, &id, "return true");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let now = children(&node);
        let left = before.iter().filter(|process| now.contains(process)).count();
        if left + 2 <= before.len() {
            break;
        }
        assert!(Instant::now() < until, "{before:?} {now:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    node.stop();
}

#[test]
fn a_stranger_is_turned_away_at_once_while_a_ballot_takes_all_its_time() {
    let place = place();
    let mut node = place.start();
    node.open();
    let id = proposal(&node, 0);
    let paths = ["/gov/members/proposals:create?api-version=2024-07-01".to_owned()];
    let body = format!("export function vote(proposal, proposerId) {{ {} }}", ENDLESS[0]);
    let keys = &node.voters()[0];
    let (client, stranger) = (node.client(), node.anyone());
    node.run(async {
        let session = Session::new(client, &keys.member);
        let voting = session.vote(&id, &body);
        let asking = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let begun = Instant::now();
            for path in &paths {
                let body = Bytes::from_static(b"{}");
                let asked = stranger.request(Method::POST, path, body, Some("application/cose"));
                assert_eq!(asked.await.unwrap().status, 401);
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        };
        let begun = Instant::now();
        let (voted, ()) = tokio::join!(voting, asking);
        voted.unwrap();
        assert!(begun.elapsed() > Duration::from_secs(4));
    });
    node.stop();
}
