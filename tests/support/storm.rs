//! A watch over three real nodes that are killed, stopped, cut off from the watch or from each other, and started anew, in seeded
//! order. The harness knows what is true: when a majority is lost, `recovery_needed` must come within two election time-outs; at
//! any other time it must not come. With `mod node`, `mod proxy` and `mod dice` beside it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::node::{Node, Place, program};
use crate::proxy::Proxy;

/// What to do.
pub struct Plan {
    pub rounds: usize,
    pub seed: u64,
    pub election: Duration,
    pub scratch: PathBuf,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub rounds: BTreeMap<&'static str, usize>,
    pub clusters: usize,
    /// From each loss to its declaration.
    pub delays: Vec<Duration>,
    pub failures: Vec<String>,
}

/// The watch: a process, and what it has said when.
struct Watch {
    child: Child,
    said: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl Watch {
    fn start(urls: &[String], certificate: Option<&Path>, election: Duration) -> Watch {
        let ms = |time: Duration| format!("{}ms", time.as_millis());
        let mut command = Command::new(program());
        command.args([
            "watch",
            "--json",
            "--every",
            &ms(election / 5),
            "--election-timeout",
            &ms(election),
        ]);
        if let Some(certificate) = certificate {
            command.arg("--service-certificate").arg(certificate);
        }
        let mut child = command.args(urls).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<(Instant, Value)>>>::default();
        let (lines, keeps) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines {
                let Ok(line) = line else { return };
                keeps
                    .lock()
                    .unwrap()
                    .push((Instant::now(), serde_json::from_str(&line).unwrap()));
            }
        });
        Watch { child, said }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn state(&self) -> Option<String> {
        let said = self.said.lock().unwrap();
        let last = said.iter().rev().find(|(_, event)| event["event"] == "state");
        last.map(|(_, event)| event["state"].as_str().unwrap().to_owned())
    }

    fn all(&self) -> String {
        let said = self.said.lock().unwrap();
        said.iter().map(|(_, event)| format!("{event}\n")).collect()
    }

    /// When it said that a recovery is needed, from an event on.
    fn declared(&self, from: usize) -> Vec<Instant> {
        let said = self.said.lock().unwrap();
        let needed = said
            .iter()
            .skip(from)
            .filter(|(_, it)| it["event"] == "state" && it["state"] == "recovery_needed");
        needed.map(|(at, _)| *at).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Member {
    node: Node<'static>,
    id: String,
    /// How the watch reaches it.
    way: Arc<Proxy>,
    /// How other nodes do.
    inner: Arc<Proxy>,
}

impl Member {
    /// As a process dies: its machine refuses connections from then on.
    fn die(&self) {
        self.node.signal(Signal::KILL);
        self.way.refuse();
        self.inner.refuse();
    }
}

struct Storm<'a> {
    plan: &'a Plan,
    service: PathBuf,
    runtime: tokio::runtime::Runtime,
    dice: Dice,
    members: Vec<Member>,
    first: Option<&'static Place>,
    watch: Option<Watch>,
    number: usize,
    tally: Tally,
    tell: &'a dyn Fn(&str),
}

/// One thing that happens to a cluster.
const ACTS: [&str; 13] = [
    "stop one",
    "stop two for a moment",
    "stop two",
    "stop all",
    "cut the watch from one",
    "cut the watch from two",
    "cut the watch from all",
    "replace one that is killed",
    "kill two",
    "kill all",
    "stop the watch",
    "restart the watch",
    "hold what others send to one",
];

/// Rounds of a storm.
pub fn rage(plan: &Plan, tell: &dyn Fn(&str)) -> Tally {
    let service = plan.scratch.join("service");
    let options = ["--entries", "100", "--signature-every", "20", "--recoveries", "1"];
    let made = Command::new(program())
        .arg("fixture")
        .arg("--out")
        .arg(&service)
        .args(options)
        .stdout(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    let mut storm = Storm {
        plan,
        service,
        runtime: tokio::runtime::Runtime::new().unwrap(),
        dice: Dice(plan.seed),
        members: Vec::new(),
        first: None,
        watch: None,
        number: 0,
        tally: Tally::default(),
        tell,
    };
    for round in 1..=plan.rounds {
        // Every act comes up as often, in seeded order; those that end a cluster are followed by another.
        let act = ACTS[storm.dice.below(ACTS.len())];
        storm.round(round, act);
        if storm.tally.failures.len() > 5 {
            break;
        }
    }
    storm.tally
}

impl Storm<'_> {
    fn round(&mut self, round: usize, act: &'static str) {
        if self.members.is_empty() {
            self.begin();
        }
        let from = self.watch.as_ref().unwrap().said.lock().unwrap().len();
        let began = Instant::now();
        let loss = self.act(act);
        let election = self.plan.election;
        let mut declared = self.watch.as_ref().unwrap().declared(from);
        let mut outcome = "nothing declared".to_owned();
        if let Some((lost, until)) = loss {
            declared.retain(|at| *at < lost || *at > until);
            let all = self.watch.as_ref().unwrap().declared(from);
            match all.iter().find(|at| **at >= lost && **at <= until) {
                Some(at) if *at - lost <= 2 * election => {
                    outcome = format!(
                        "declared after {:.2} time-outs",
                        (*at - lost).as_secs_f64() / election.as_secs_f64()
                    );
                    self.tally.delays.push(*at - lost);
                }
                Some(at) => self.fails(round, act, &format!("declared late, after {:?}", *at - lost)),
                None => self.fails(round, act, "a loss was not declared"),
            }
        }
        if !declared.is_empty() {
            self.fails(round, act, "a recovery was declared needed, and no majority was lost");
        }
        *self.tally.rounds.entry(act).or_default() += 1;
        if !self.members.is_empty() && !self.is_stable_again() {
            self.fails(round, act, "it is not stable again");
            self.members.clear();
        }
        (self.tell)(&format!(
            "round {round:>3}: {act}: {outcome} ({:.1} s)",
            began.elapsed().as_secs_f64()
        ));
    }

    fn fails(&mut self, round: usize, act: &str, why: &str) {
        let said = self.watch.as_ref().map(Watch::all).unwrap_or_default();
        self.tally.failures.push(format!("round {round}, {act}: {why}\n{said}"));
        (self.tell)(&format!("round {round:>3}: {act}: FAILED: {why}"));
    }

    /// Three nodes of a public network, and a watch.
    fn begin(&mut self) {
        self.watch = None;
        self.number += 1;
        self.tally.clusters += 1;
        let directory = self.plan.scratch.join(format!("cluster-{}", self.number));
        for name in ["ledger", "common"] {
            std::fs::create_dir_all(directory.join(name)).unwrap();
            for file in std::fs::read_dir(self.service.join(name)).unwrap() {
                let path = file.unwrap().path();
                std::fs::copy(&path, directory.join(name).join(path.file_name().unwrap())).unwrap();
            }
        }
        self.number += 1;
        let first = self.launch(Place::at(&directory), None);
        self.members.push(first);
        let place = self.first.unwrap();
        let leader = &mut self.members[0].node;
        leader.wait_for("PartOfPublicNetwork");
        leader.wait_for_members();
        leader.wait_for_commit();
        assert!(place.directory.join("service_cert.pem").exists());
        while self.members.len() < 3 {
            self.join(None);
        }
        self.start_watch();
        assert!(
            self.is_stable_again(),
            "a new cluster is not stable: {}",
            self.watch.as_ref().unwrap().all()
        );
    }

    fn start_watch(&mut self) {
        // One or all, with a certificate or without.
        let urls = self.members.iter().map(|it| format!("https://{}", it.way.address));
        let urls: Vec<String> = urls.take(if self.dice.below(2) == 0 { 1 } else { 3 }).collect();
        let certificate = self.first.unwrap().directory.join("service_cert.pem");
        let certificate = Some(certificate.as_path()).filter(|_| self.dice.below(2) == 0);
        self.watch = None;
        self.watch = Some(Watch::start(&urls, certificate, self.plan.election));
    }

    /// Starts a node whose interfaces are reached by ways that can be cut.
    fn launch(&mut self, mut place: Place, at: Option<SocketAddr>) -> Member {
        let within = self.runtime.enter();
        let way = Arc::new(Proxy::narrow(at.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap())));
        drop(within);
        let inner = Arc::new(Proxy::new());
        let ms = format!("{}ms", self.plan.election.as_millis());
        place.config["consensus"] = json!({"message_timeout": "50ms", "election_timeout": ms});
        place.config["network"]["rpc_interfaces"]["test"]["published_address"] = json!(way.address.to_string());
        place.config["network"]["node_to_node_interface"]["published_address"] = json!(inner.address.to_string());
        // The node tells nobody but the service where it listens: a free port is chosen here.
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        place.config["network"]["node_to_node_interface"]["bind_address"] = json!(free);
        inner.leads_to(&free);
        let place: &'static Place = Box::leak(Box::new(place));
        if place.config["command"]["type"] == "Recover" {
            self.first = Some(place);
        }
        let node = place.start();
        way.leads_to(node.url.strip_prefix("https://").unwrap());
        let id = node.state()["node_id"].as_str().unwrap().to_owned();
        Member { node, id, way, inner }
    }

    fn leader(&self) -> usize {
        let began = Instant::now();
        loop {
            for (at, member) in self.members.iter().enumerate() {
                let asked = member.node.run(
                    member
                        .node
                        .anyone()
                        .with_timeout(self.plan.election)
                        .get("/node/consensus"),
                );
                let Some(consensus) = asked.ok().and_then(|it| it.json::<Value>().ok()) else {
                    continue;
                };
                if consensus["details"]["leadership_state"] == "Leader" {
                    return at;
                }
            }
            assert!(began.elapsed() < crate::node::PATIENCE, "nobody leads");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn join(&mut self, at: Option<SocketAddr>) {
        self.number += 1;
        let directory = self.plan.scratch.join(format!("node-{}", self.number));
        std::fs::create_dir_all(directory.join("common")).unwrap();
        let first = self.first.unwrap();
        std::fs::copy(
            first.directory.join("service_cert.pem"),
            directory.join("service_cert.pem"),
        )
        .unwrap();
        let target = self.members[self.leader()].node.url.clone();
        let mut place = Place::at(&directory);
        place.config["command"] = json!({
            "type": "Join", "service_certificate_file": "service_cert.pem",
            "join": {
                "target_rpc_address": target.strip_prefix("https://").unwrap(),
                "retry_timeout": "100ms", "fetch_recent_snapshot": false,
            },
        });
        let mut joined = self.launch(place, at);
        joined.node.wait_for("PartOfPublicNetwork");
        joined.node.wait_for_members();
        self.members.push(joined);
        self.settle();
    }

    /// Waits until every node acknowledges what one leads, in one configuration of nobody else than those that `expected` has.
    fn settle(&self) {
        let began = Instant::now();
        loop {
            let leader = &self.members[self.leader()];
            let details = leader.node.json("/node/consensus")["details"].clone();
            let acks = details["acks"].as_object().unwrap();
            let fresh =
                |it: &Member| it.id == leader.id || acks.get(&it.id).is_some_and(|ack| ack["seqno"].as_u64() > Some(0));
            if self.members.iter().all(fresh) && details["configs"].as_array().unwrap().len() == 1 {
                return;
            }
            assert!(began.elapsed() < crate::node::PATIENCE, "not settled: {details}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_stable_again(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(40) {
            if self.watch.as_ref().unwrap().state().as_deref() == Some("stable") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// So many different ones of three, in any order.
    fn some(&mut self, count: usize) -> Vec<usize> {
        let mut all = vec![0, 1, 2];
        (0..count).map(|_| all.remove(self.dice.below(all.len()))).collect()
    }

    /// A part of an election time-out, between two percentages.
    fn time(&mut self, from: usize, to: usize) -> Duration {
        self.plan.election * u32::try_from(from + self.dice.below(to - from + 1)).unwrap() / 100
    }

    fn stop(&mut self, who: &[usize], time: Duration) -> (Instant, Instant) {
        let mut stopped = Vec::new();
        for at in who {
            self.members[*at].node.signal(Signal::STOP);
            stopped.push(Instant::now());
            std::thread::sleep(Duration::from_millis(self.dice.below(200) as u64));
        }
        // The loss is that of the second.
        let lost = stopped[1.min(stopped.len() - 1)];
        std::thread::sleep((lost + time).saturating_duration_since(Instant::now()));
        for at in who {
            self.members[*at].node.signal(Signal::CONT);
        }
        (lost, Instant::now())
    }

    fn cut(&mut self, who: &[usize], time: Duration) {
        let cut: Vec<(Arc<Proxy>, Vec<TcpStream>)> = who
            .iter()
            .map(|at| {
                let way = Arc::clone(&self.members[*at].way);
                let fill = way.cut();
                (way, fill)
            })
            .collect();
        std::thread::sleep(time);
        cut.into_iter().for_each(|(way, fill)| way.mend(fill));
    }

    /// Does it; answers from when to when a majority was lost, if one was.
    fn act(&mut self, act: &str) -> Option<(Instant, Instant)> {
        match act {
            "stop one" => {
                let (who, time) = (self.some(1), self.time(20, 600));
                self.stop(&who, time);
                None
            }
            "stop two for a moment" => {
                let (who, time) = (self.some(2), self.time(20, 90));
                self.stop(&who, time);
                None
            }
            "stop two" | "stop all" => {
                let who = self.some(if act == "stop two" { 2 } else { 3 });
                let time = self.time(215, 300);
                Some(self.stop(&who, time))
            }
            "cut the watch from one" | "cut the watch from two" | "cut the watch from all" => {
                let count = ["one", "two", "all"].iter().position(|it| act.ends_with(it)).unwrap() + 1;
                let (who, time) = (self.some(count), self.time(100, 700));
                self.cut(&who, time);
                None
            }
            "replace one that is killed" => {
                let dead = self.some(1)[0];
                let dead = self.members.remove(dead);
                dead.die();
                // Another node at the same address, or at one of its own.
                let at = (self.dice.below(2) == 0).then_some(dead.way.address);
                self.join_and_remove(at, &dead.id);
                None
            }
            "kill two" | "kill all" => {
                let who = self.some(if act == "kill two" { 2 } else { 3 });
                let mut lost = None;
                for (number, at) in who.iter().enumerate() {
                    self.members[*at].die();
                    if number == 1 {
                        lost = Some(Instant::now());
                    }
                    std::thread::sleep(Duration::from_millis(self.dice.below(300) as u64));
                }
                std::thread::sleep(
                    (lost.unwrap() + self.plan.election * 5 / 2).saturating_duration_since(Instant::now()),
                );
                self.members.clear();
                Some((lost.unwrap(), Instant::now()))
            }
            "stop the watch" => {
                let time = self.time(100, 500);
                let watch = self.watch.as_ref().unwrap();
                watch.signal(Signal::STOP);
                std::thread::sleep(time);
                watch.signal(Signal::CONT);
                std::thread::sleep(self.plan.election);
                None
            }
            "restart the watch" => {
                self.start_watch();
                None
            }
            "hold what others send to one" => {
                let (at, time) = (self.some(1)[0], self.time(100, 400));
                let inner = Arc::clone(&self.members[at].inner);
                inner.hold();
                std::thread::sleep(time);
                inner.break_off();
                inner.let_go();
                None
            }
            other => panic!("{other}"),
        }
    }

    fn join_and_remove(&mut self, at: Option<SocketAddr>, dead: &str) {
        self.join(at);
        let leader = self.leader();
        self.members[leader].node.wait_for_members();
        // Keys are where the first node was started, which may be the one that is gone.
        let keys = self.first.unwrap().keys();
        let proposal = json!({"actions": [{"name": "remove_node", "args": {"node_id": dead}}]});
        let node = &self.members[leader].node;
        let mut answer = Value::Null;
        for keys in keys.iter().filter(|_| true) {
            if answer.is_null() {
                answer = node.propose(keys, &proposal).unwrap_or_default();
            } else if answer["proposalState"] == "Open" {
                let id = answer["proposalId"].as_str().unwrap().to_owned();
                answer = node.vote(keys, &id).unwrap_or(answer);
            }
        }
        assert_eq!(answer["proposalState"], "Accepted", "{answer}");
        self.settle();
    }
}
