//! One cluster, from a dead service to its end: recovered, joined, opened, governed, handed over, and killed in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rekindle::member::Session;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::ledgers;
use super::nodes::{Chance, Says, ask, chance, leader};
use super::process::{PACE, PATIENCE, Process, committed, config, get, is_ready, joining, log_end, state};
use super::promises::{Members, Mood, Promises, receipt, watch};
use super::tally::{Outcome, Phase, Role, Tally};
use super::{Dice, Plan, copy};
use crate::node::{an_hour_ago, read_keys};

/// Members' requests that go on all the time.
const LOADS: usize = 2;

pub struct Life<'a> {
    plan: &'a Plan,
    dice: Dice,
    directory: PathBuf,
    tally: &'a mut Tally,
    tell: &'a dyn Fn(&str),
    /// Who runs.
    nodes: Vec<Process>,
    /// Numbers of nodes that take part; the others are on their way.
    joined: BTreeSet<usize>,
    /// Every node that ever ran.
    directories: Vec<PathBuf>,
    /// Nodes that died and whom members have to remove.
    dead: Vec<String>,
    /// A node that hands over: it ends by itself.
    leaving: Option<String>,
    members: Arc<Members>,
    promises: Arc<Mutex<Promises>>,
    loads: Vec<JoinHandle<()>>,
    /// Too few are left.
    over: bool,
}

type Done = Result<(), String>;

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.loads.iter().for_each(JoinHandle::abort);
    }
}

impl<'a> Life<'a> {
    pub fn begin(
        plan: &'a Plan,
        dice: Dice,
        directory: &Path,
        tally: &'a mut Tally,
        tell: &'a dyn Fn(&str),
    ) -> Life<'a> {
        let promises = Arc::new(Mutex::new(Promises::default()));
        let keys = read_keys(&plan.service.join("common"));
        let members = Arc::new(Members::new(keys, promises.clone()));
        let loads = (0..LOADS).map(|_| tokio::spawn(members.clone().live())).collect();
        Life {
            plan,
            dice,
            directory: directory.to_owned(),
            tally,
            tell,
            nodes: Vec::new(),
            joined: BTreeSet::new(),
            directories: Vec::new(),
            dead: Vec::new(),
            leaving: None,
            members,
            promises,
            loads,
            over: false,
        }
    }

    /// From the recovery to the end; then everything is read.
    pub async fn live(mut self) -> Done {
        self.recover().await?;
        self.open().await?;
        let more = 3 + self.dice.below(4);
        for _ in 0..more {
            if self.over || self.tally.killed() >= self.plan.kills {
                break;
            }
            let phases = [Phase::Governed, Phase::Governed, Phase::HandOver, Phase::Joining];
            match self.dice.one_of(&phases) {
                Phase::HandOver => self.kill_in_hand_over().await?,
                Phase::Joining => self.kill_while_joining(Phase::Joining).await?,
                phase => self.kill_any(phase, 800).await?,
            }
            self.mend().await?;
        }
        self.end().await
    }

    /// The public part, other nodes that join it, and what is killed until the service is open.
    async fn recover(&mut self) -> Done {
        let directory = self.new_directory();
        copy(&self.plan.service.join("ledger"), &directory.join("ledger"));
        copy(&self.plan.service.join("common"), &directory.join("common"));
        let mut node = Process::start(0, &directory, &config(self.plan.election)).await?;
        node.identify().await?;
        self.runs(node);
        self.until("the public network", async |life| {
            is_ready(&life.nodes[0].url, "/node/ready/gov").await.then_some(())
        })
        .await?;
        self.joined.insert(0);
        self.set_mood(Mood::Careful);
        let first = self.dice.below(5);
        let joins = self.plan.nodes - 1;
        // Mostly the one that is more than the others are.
        let killed_join = (first == 0).then(|| 1 + self.dice.below(2 * joins));
        for join in 1..=joins {
            match killed_join == Some(join) {
                true => self.kill_while_joining(Phase::JoiningPublic).await?,
                false => self.join().await?,
            }
            if self.over {
                return Ok(());
            }
            self.mend().await?;
        }
        if killed_join.is_some_and(|join| join > joins) {
            self.kill_while_joining(Phase::JoiningPublic).await?;
            self.mend().await?;
        }
        if !self.over && (first == 1 || self.dice.below(3) == 0) {
            self.kill_any(Phase::Public, 500).await?;
            self.mend().await?;
        }
        if self.over {
            return Ok(());
        }
        match first {
            2 => self.kill_while(Phase::Accepting, 500).await?,
            3 => {
                self.accept().await?;
                self.kill_while(Phase::HalfOfShares, 250).await?;
            }
            4 => {
                self.accept().await?;
                self.submit(Some(1)).await;
                self.kill_while(Phase::Opening, 900).await?;
            }
            _ => {}
        }
        self.mend().await
    }

    /// What is missing until every node is open.
    async fn open(&mut self) -> Done {
        if self.over {
            return Ok(());
        }
        self.accept().await?;
        let began = Instant::now();
        loop {
            if self.status().await.as_deref() == Some("WaitingForRecoveryShares") {
                self.submit(None).await;
            }
            let mut open = true;
            for node in &mut self.nodes {
                node.check()?;
                open &= is_ready(&node.url, "/node/ready/app").await;
            }
            if open {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Err(self.failed("the service does not open").await);
            }
            tokio::time::sleep(2 * PACE).await;
        }
        self.set_mood(Mood::Busy);
        Ok(())
    }

    /// Members agree to open the service, however often that takes.
    async fn accept(&mut self) -> Done {
        let members = self.members.clone();
        self.until("members agree to open", async |life| {
            if life.status().await.is_some_and(|status| status != "Recovering") {
                return Some(());
            }
            accept_once(&members, &life.urls()).await;
            None
        })
        .await
    }

    /// Shares of so many members, or of all.
    async fn submit(&self, members: Option<usize>) {
        submit_shares(&self.members, &self.urls(), members).await;
    }

    async fn status(&self) -> Option<String> {
        let said = ask(&self.nodes).await;
        let leader = self.url(leader(&said)?.number)?;
        Some(
            get(&leader, "/node/network").await?["service_status"]
                .as_str()?
                .to_owned(),
        )
    }

    /// Kills while members do what this phase is called after.
    async fn kill_while(&mut self, phase: Phase, within_ms: usize) -> Done {
        let (members, urls) = (self.members.clone(), self.urls());
        let act = tokio::spawn(async move {
            match phase {
                Phase::Accepting => accept_once(&members, &urls).await,
                Phase::HalfOfShares => submit_shares(&members, &urls, Some(1)).await,
                _ => submit_shares(&members, &urls, None).await,
            }
        });
        let killed = self.kill_any(phase, within_ms).await;
        let _ = act.await;
        killed
    }

    /// Kills the node that leads, or one that follows.
    async fn kill_any(&mut self, phase: Phase, within_ms: usize) -> Done {
        let role = self.dice.one_of(&[Role::Leader, Role::Follower]);
        tokio::time::sleep(self.dice.within_ms(within_ms)).await;
        self.kill(phase, role).await
    }

    async fn kill_while_joining(&mut self, phase: Phase) -> Done {
        let number = self.launch().await?;
        let role = self.dice.one_of(&[Role::Leader, Role::Follower, Role::Joiner]);
        let role = match (role, self.joined.len()) {
            (Role::Follower, 1) => Role::Joiner,
            (role, _) => role,
        };
        let trusting = (phase == Phase::Joining).then(|| {
            let (members, urls) = (self.members.clone(), self.urls());
            let url = self.url(number).unwrap();
            tokio::spawn(async move {
                for _ in 0..100 {
                    if let Some(state) = state(&url).await
                        && state["state"] == "Pending"
                        && trust_once(&members, &urls, state["node_id"].as_str().unwrap_or_default()).await
                    {
                        return;
                    }
                    tokio::time::sleep(2 * PACE).await;
                }
            })
        });
        tokio::time::sleep(self.dice.within_ms(if phase == Phase::Joining { 1800 } else { 900 })).await;
        if let Some(trusting) = trusting {
            trusting.abort();
        }
        self.kill(phase, role).await
    }

    async fn kill_in_hand_over(&mut self) -> Done {
        // Of three nodes, two stay: neither may die. Mostly there is another.
        if self.dice.below(4) > 0 && self.joined.len() <= self.plan.nodes {
            self.join().await?;
        }
        let said = ask(&self.nodes).await;
        let Some(leader) = leader(&said).and_then(|says| self.id(says.number)) else {
            return Err(self.failed("nobody leads before a hand-over").await);
        };
        self.leaving = Some(leader.clone());
        let (members, urls) = (self.members.clone(), self.urls());
        let id = leader.clone();
        let removing = tokio::spawn(async move { remove_once(&members, &urls, &id).await });
        let role = self.dice.one_of(&[Role::Leader, Role::Follower]);
        tokio::time::sleep(self.dice.within_ms(1200)).await;
        self.kill(Phase::HandOver, role).await?;
        let _ = removing.await;
        Ok(())
    }

    /// Kills one of a role, and looks what the rest does.
    async fn kill(&mut self, phase: Phase, role: Role) -> Done {
        let (said, index) = self.choose(role).await?;
        let newest = said.iter().map(|says| says.view).max().unwrap_or(0);
        let led = leader(&said).is_some_and(|says| says.number == self.nodes[index].number);
        let mut node = self.nodes.remove(index);
        if node.id.is_empty() {
            // It may be known although it has not said so itself.
            node.id = state(&node.url)
                .await
                .and_then(|it| Some(it["node_id"].as_str()?.to_owned()))
                .unwrap_or_default();
        }
        let killed = Instant::now();
        node.kill();
        self.joined.remove(&node.number);
        self.leaving.take_if(|id| *id == node.id);
        if !node.id.is_empty() {
            self.dead.push(node.id.clone());
        }
        self.tell_nodes();
        let chance = self.chance().await;
        let what = format!(
            "{phase:?}, {role:?} (node {}{}), {} left, {chance:?}",
            node.number,
            if led { ", led" } else { "" },
            self.nodes.len()
        );
        let outcome = match self.goes_on(chance, killed, led.then_some(newest), &what).await {
            Ok(outcome) => outcome,
            Err(why) => {
                *self.tally.kills.entry((phase, role, Outcome::TooFew)).or_default() += 1;
                return Err(why);
            }
        };
        *self.tally.kills.entry((phase, role, outcome)).or_default() += 1;
        self.over = outcome == Outcome::TooFew;
        (self.tell)(&format!(
            "kill {:>3}: {what}: {outcome:?} after {:.2} s",
            self.tally.killed(),
            killed.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Whether those who are left can go on, by what they know of who takes part.
    async fn chance(&mut self) -> Chance {
        let said = ask(&self.nodes).await;
        let said: Vec<Says> = said
            .into_iter()
            .filter(|says| self.joined.contains(&says.number))
            .collect();
        for node in &mut self.nodes {
            if node.id.is_empty()
                && let Some(state) = state(&node.url).await
            {
                node.id = state["node_id"].as_str().unwrap_or_default().to_owned();
            }
        }
        // Who waits for the answer of a node that is dead takes no part, although others may count on it.
        let alive = self.nodes.iter().filter(|node| !self.asks_the_dead(node));
        let alive = alive.map(|node| node.id.clone()).collect();
        let chance = chance(&said, &alive);
        if chance != Chance::Must {
            // To be looked at: it is no failure of the rest if it does not go on.
            let short = |nodes: &BTreeSet<String>| {
                nodes
                    .iter()
                    .map(|id| &id[..id.len().min(4)])
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            for node in &self.nodes {
                let began = Instant::now();
                let answer = super::process::client(&node.url).get("/node/consensus").await;
                let answer = answer.map(|answer| answer.status);
                (self.tell)(&format!(
                    "  node {} ({}, joined: {}) answers {answer:?} in {:?}",
                    node.number,
                    &node.id[..node.id.len().min(4)],
                    self.joined.contains(&node.number),
                    began.elapsed()
                ));
            }
            for says in &said {
                let configurations: Vec<String> = says.configurations.iter().map(short).collect();
                (self.tell)(&format!(
                    "  node {}: {configurations:?}, alive {}",
                    says.number,
                    short(&alive)
                ));
            }
        }
        chance
    }

    /// Whether a node is joining by way of one that does not run any more. Operators start it again with another.
    fn asks_the_dead(&self, node: &Process) -> bool {
        !self.joined.contains(&node.number) && !self.nodes.iter().any(|other| other.url == node.target)
    }

    /// What everybody says, and who is to be killed.
    async fn choose(&mut self, role: Role) -> Result<(Vec<Says>, usize), String> {
        let began = Instant::now();
        loop {
            self.bury_who_left()?;
            let said = ask(&self.nodes).await;
            let leading = leader(&said).map(|says| says.number);
            let candidates: Vec<usize> = (0..self.nodes.len())
                .filter(|index| {
                    let number = self.nodes[*index].number;
                    match role {
                        Role::Leader => leading == Some(number),
                        Role::Follower => {
                            leading.is_some_and(|leader| leader != number) && self.joined.contains(&number)
                        }
                        Role::Joiner => !self.joined.contains(&number),
                    }
                })
                .collect();
            if !candidates.is_empty() {
                return Ok((said, self.dice.one_of(&candidates)));
            }
            if began.elapsed() > PATIENCE {
                return Err(self.failed(&format!("there is no {role:?} to be killed")).await);
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until the rest has committed something new, and members are served.
    async fn goes_on(
        &mut self,
        chance: Chance,
        killed: Instant,
        led: Option<u64>,
        what: &str,
    ) -> Result<Outcome, String> {
        let patience = match chance {
            Chance::Must => PATIENCE,
            Chance::HalfWay => 12 * self.plan.election,
            Chance::None => 4 * self.plan.election,
        };
        let (mut committed, mut served) = (None, None);
        let mut chance = chance;
        while committed.is_none() || served.is_none() {
            {
                let promises = self.promises.lock().unwrap();
                served = promises
                    .acts
                    .iter()
                    .rev()
                    .find(|act| act.began > killed)
                    .map(|act| act.committed);
                committed = match led {
                    None => served,
                    Some(view) => {
                        let mut after = promises.advances.iter().filter(|advance| advance.0 > killed);
                        after
                            .find(|advance| advance.2.0 > view)
                            .map(|advance| advance.0)
                            .or(served)
                    }
                };
            }
            self.bury_who_left()?;
            if chance == Chance::Must && killed.elapsed() > self.plan.limit * self.plan.election {
                // What was on its way when the node was killed may have changed who takes part.
                chance = self.chance().await;
            }
            if killed.elapsed() > patience || chance != Chance::Must && killed.elapsed() > 12 * self.plan.election {
                return match chance {
                    Chance::Must => Err(self.failed(&format!("the rest does not go on: {what}")).await),
                    _ => Ok(Outcome::TooFew),
                };
            }
            tokio::time::sleep(PACE).await;
        }
        let (committed, served) = (committed.unwrap() - killed, served.unwrap() - killed);
        if chance != Chance::Must && committed > self.plan.limit * self.plan.election {
            self.tally.given_up.push(served);
            return Ok(Outcome::GivesUp);
        }
        self.tally.commits.push(committed);
        self.tally.served.push(served);
        if committed > self.plan.limit * self.plan.election {
            self.tally
                .late
                .push(format!("{:.2} s: {what}", committed.as_secs_f64()));
        }
        Ok(Outcome::GoesOn)
    }

    /// Nodes that have ended by themselves: as they may, or not.
    fn bury_who_left(&mut self) -> Done {
        let mut index = 0;
        while index < self.nodes.len() {
            let node = &mut self.nodes[index];
            let Some(code) = node.ended() else {
                index += 1;
                continue;
            };
            if self.leaving.as_ref() == Some(&node.id) && code == Some(0) {
                self.leaving = None;
            } else if self.joined.contains(&node.number) {
                return Err(node.failed(&format!("it has ended by itself: {code:?}")));
            } else {
                // Nobody was there to let it in.
                self.tally.left_outside += 1;
                if !node.id.is_empty() {
                    self.dead.push(node.id.clone());
                }
            }
            self.joined.remove(&node.number);
            self.nodes.remove(index);
            self.tell_nodes();
        }
        Ok(())
    }

    /// After a kill: who was joining joins, who is dead is removed, who hands over has gone, and there are as many as before.
    async fn mend(&mut self) -> Done {
        if self.over {
            return Ok(());
        }
        self.settle_all().await?;
        let first = self.dice.below(2);
        if first == 0 || self.joined.len() < self.plan.nodes {
            self.remove_the_dead().await?;
        }
        self.await_who_leaves().await?;
        while self.joined.len() < self.plan.nodes {
            self.join().await?;
        }
        self.remove_the_dead().await
    }

    async fn await_who_leaves(&mut self) -> Done {
        let Some(id) = self.leaving.clone() else { return Ok(()) };
        let members = self.members.clone();
        self.until("who hands over has gone", async |life| {
            if life.leaving.is_none() {
                return Some(());
            }
            // What members said may have been lost with whoever led.
            if life.status_of(&id).await.as_deref() == Some("Trusted") {
                remove_once(&members, &life.urls(), &id).await;
            }
            None
        })
        .await
    }

    async fn remove_the_dead(&mut self) -> Done {
        while let Some(id) = self.dead.last().cloned() {
            let members = self.members.clone();
            self.until("a dead node is removed", async |life| {
                match life.status_of(&id).await?.as_str() {
                    "Trusted" | "Pending" => {
                        remove_once(&members, &life.urls(), &id).await;
                        None
                    }
                    _ => Some(()),
                }
            })
            .await?;
            self.dead.pop();
        }
        Ok(())
    }

    /// What the leader says of a node: "unknown" where it knows none.
    async fn status_of(&self, id: &str) -> Option<String> {
        let said = ask(&self.nodes).await;
        let leader = self.url(leader(&said)?.number)?;
        let answer = super::process::client(&leader)
            .get(&format!("/node/network/nodes/{id}"))
            .await
            .ok()?;
        match answer.status.as_u16() {
            404 => Some("unknown".to_owned()),
            _ => Some(answer.json::<Value>().ok()?["status"].as_str()?.to_owned()),
        }
    }

    fn new_directory(&mut self) -> PathBuf {
        let directory = self.directory.join(format!("node-{}", self.directories.len()));
        std::fs::create_dir_all(&directory).unwrap();
        self.directories.push(directory.clone());
        directory
    }

    fn runs(&mut self, mut node: Process) {
        node.watcher = Some(watch(node.number, node.url.clone(), self.promises.clone()));
        self.nodes.push(node);
        self.tell_nodes();
    }

    fn tell_nodes(&self) {
        let nodes = self
            .nodes
            .iter()
            .filter(|node| self.joined.contains(&node.number) || self.nodes.len() == 1);
        *self.members.nodes.lock().unwrap() = nodes.map(|node| node.url.clone()).collect();
    }

    fn set_mood(&self, mood: Mood) {
        *self.members.mood.lock().unwrap() = mood;
    }

    /// Of those who take part.
    fn urls(&self) -> Vec<String> {
        self.members.nodes.lock().unwrap().clone()
    }

    fn url(&self, number: usize) -> Option<String> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .map(|node| node.url.clone())
    }

    fn id(&self, number: usize) -> Option<String> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .map(|node| node.id.clone())
    }

    async fn join(&mut self) -> Done {
        self.launch().await?;
        self.settle_all().await
    }

    /// Starts a node that joins by way of any other; answers its number.
    async fn launch(&mut self) -> Result<usize, String> {
        let directory = self.new_directory();
        let number = self.directories.len() - 1;
        let first = &self.directories[0];
        std::fs::copy(first.join("service_cert.pem"), directory.join("service_cert.pem")).unwrap();
        let urls = self.urls();
        let target = &urls[self.dice.below(urls.len())];
        let mut config = joining(self.plan.election, target);
        // Before a service opens, those that nodes are given are none.
        let with_snapshot = *self.members.mood.lock().unwrap() == Mood::Busy && self.dice.below(3) == 0;
        config["command"]["join"]["fetch_recent_snapshot"] = json!(with_snapshot);
        let mut node = Process::start(number, &directory, &config).await?;
        node.target.clone_from(target);
        self.runs(node);
        Ok(number)
    }

    /// Everybody who is joining takes part, or is left outside by a service that does not know it.
    async fn settle_all(&mut self) -> Done {
        loop {
            self.bury_who_left()?;
            let joining = self.nodes.iter().find(|node| !self.joined.contains(&node.number));
            let Some(number) = joining.map(|node| node.number) else {
                return Ok(());
            };
            self.settle(number).await?;
        }
    }

    async fn settle(&mut self, number: usize) -> Done {
        let began = Instant::now();
        let members = self.members.clone();
        loop {
            self.bury_who_left()?;
            let Some(url) = self.url(number) else { return Ok(()) };
            let Some(state) = state(&url).await else {
                if began.elapsed() > PATIENCE {
                    return Err(self.failed(&format!("node {number} does not answer")).await);
                }
                continue;
            };
            let is_lost = self
                .nodes
                .iter()
                .any(|node| node.number == number && self.asks_the_dead(node));
            if is_lost && !matches!(state["state"].as_str(), Some("PartOfNetwork" | "PartOfPublicNetwork")) {
                // Members must not trust it: nobody would tell it, and the others would wait for it.
                self.leave_outside(number);
                return Ok(());
            }
            let id = state["node_id"].as_str().unwrap_or_default().to_owned();
            if let Some(node) = self.nodes.iter_mut().find(|node| node.number == number) {
                node.id.clone_from(&id);
            }
            if state["state"] == "Pending" && !id.is_empty() && self.status_of(&id).await.as_deref() == Some("Pending")
            {
                trust_once(&members, &self.urls(), &id).await;
            }
            let said = ask(&self.nodes).await;
            if let Some(leader) = leader(&said).and_then(|says| self.url(says.number))
                && let (Some(all), Some(own)) = (committed(&leader).await, committed(&url).await)
            {
                let path = match state["state"].as_str() {
                    Some("PartOfNetwork") => "/node/ready/app",
                    _ => "/node/ready/gov",
                };
                if own.1 + 20 >= all.1 && own.0 == all.0 && is_ready(&url, path).await {
                    self.joined.insert(number);
                    self.tell_nodes();
                    return Ok(());
                }
            }
            // Who let it in may have died before anybody else knew.
            let waited = began.elapsed();
            if waited > 8 * self.plan.election && self.status_of(&id).await.as_deref() == Some("unknown") {
                self.leave_outside(number);
                return Ok(());
            }
            if waited > PATIENCE {
                return Err(self.failed(&format!("node {number} does not join")).await);
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Ends a node that has no way in.
    fn leave_outside(&mut self, number: usize) {
        let index = self.nodes.iter().position(|node| node.number == number).unwrap();
        let mut node = self.nodes.remove(index);
        node.kill();
        self.tally.left_outside += 1;
        if !node.id.is_empty() {
            self.dead.push(node.id.clone());
        }
    }

    /// Waits until something is found, while everybody runs.
    async fn until(&mut self, what: &str, mut found: impl AsyncFnMut(&mut Self) -> Option<()>) -> Done {
        let began = Instant::now();
        loop {
            if found(self).await.is_some() {
                return Ok(());
            }
            self.bury_who_left()?;
            if began.elapsed() > PATIENCE {
                return Err(self.failed(&format!("not yet: {what}")).await);
            }
            tokio::time::sleep(2 * PACE).await;
        }
    }

    /// A failure of all, with what each says.
    async fn failed(&self, what: &str) -> String {
        let mut text = format!("{what}; dead {:?}, leaving {:?}\n", self.dead, self.leaving);
        for node in &self.nodes {
            let consensus = get(&node.url, "/node/consensus").await.unwrap_or_default();
            let state = get(&node.url, "/node/state").await.unwrap_or_default();
            text += &format!(
                "--- node {} {}\n{consensus}\n{state}\n{}\n",
                node.number,
                node.id,
                log_end(&node.directory)
            );
        }
        text
    }

    /// Everything is asked for again, everybody stops, and every ledger is read.
    async fn end(&mut self) -> Done {
        self.set_mood(Mood::Quiet);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut whole = None;
        if !self.over {
            self.catch_up().await?;
            let said = ask(&self.nodes).await;
            let Some(number) = leader(&said).map(|says| says.number) else {
                return Err(self.failed("nobody leads at the end").await);
            };
            self.ask_again(number).await?;
            whole = Some(self.directories[number].clone());
            // Who leads goes last, so that nobody stands for election meanwhile.
            self.nodes.sort_by_key(|node| node.number == number);
        }
        self.loads.iter().for_each(JoinHandle::abort);
        let mut stopped = Vec::new();
        for node in std::mem::take(&mut self.nodes) {
            match self.joined.contains(&node.number) && !self.over {
                true => {
                    stopped.push(node.directory.clone());
                    node.stop().await?;
                }
                false => drop(node),
            }
        }
        for directory in &self.directories {
            let log = std::fs::read_to_string(directory.join("node.log")).unwrap_or_default();
            if log.contains("panicked") {
                return Err(format!("{} panicked: {}", directory.display(), log_end(directory)));
            }
        }
        let promises = self.promises.lock().unwrap();
        if !promises.broken.is_empty() {
            return Err(format!("promises contradict each other: {:?}", promises.broken));
        }
        let found = ledgers::check(
            &self.directories,
            &stopped,
            whole.as_deref(),
            &promises,
            self.plan.python.as_deref(),
        )?;
        self.tally.found(found);
        self.tally.promised += promises.committed.len();
        self.tally.acts += promises.acts.len();
        self.tally.receipts += promises.acts.iter().filter(|act| act.leaf.is_some()).count();
        Ok(())
    }

    /// Everybody who takes part has committed what the leader has.
    async fn catch_up(&mut self) -> Done {
        self.until("everybody has what is committed", async |life| {
            let said = ask(&life.nodes).await;
            let all = committed(&life.url(leader(&said)?.number)?).await?;
            for node in life.nodes.iter().filter(|node| life.joined.contains(&node.number)) {
                if committed(&node.url).await? < all {
                    return None;
                }
            }
            Some(())
        })
        .await
    }

    /// Every node still calls committed what was committed, and a receipt says of it what it said.
    async fn ask_again(&mut self, leader: usize) -> Done {
        let (mut asked, mut receipts) = (Vec::new(), Vec::new());
        {
            let promises = self.promises.lock().unwrap();
            let all: Vec<(u64, u64)> = promises
                .committed
                .iter()
                .map(|(seqno, (view, _))| (*view, *seqno))
                .collect();
            asked.extend(all.iter().rev().take(5));
            asked.extend((0..15).map(|_| self.dice.one_of(&all)));
            let with = promises
                .acts
                .iter()
                .filter_map(|act| Some((act.transaction, act.leaf.clone()?)));
            receipts.extend(with.take(4));
        }
        for node in self.nodes.iter().filter(|node| self.joined.contains(&node.number)) {
            for (view, seqno) in &asked {
                let status = get(&node.url, &format!("/node/tx?transaction_id={view}.{seqno}")).await;
                if status.as_ref().is_none_or(|status| status["status"] != "Committed") {
                    return Err(node.failed(&format!("{view}.{seqno} was committed, and is {status:?}")));
                }
            }
        }
        let url = self.url(leader).unwrap();
        for (transaction, leaf) in receipts {
            let now = receipt(&url, transaction).await;
            if now.as_ref() != Some(&leaf) {
                return Err(format!("the receipt of {transaction:?} said {leaf}, and says {now:?}"));
            }
        }
        Ok(())
    }
}

/// Members propose to open the service, once.
async fn accept_once(members: &Members, urls: &[String]) {
    for url in urls {
        let network = get(url, "/node/network").await.unwrap_or_default();
        let previous = get(url, "/node/service/previous_identity").await.unwrap_or_default();
        let opening = json!({"name": "transition_service_to_open", "args": {
            "next_service_identity": network["service_certificate"],
            "previous_service_identity": previous["previous_service_identity"],
        }});
        if members.pass(std::slice::from_ref(url), &opening, 0).await.is_ok() {
            return;
        }
    }
}

async fn trust_once(members: &Members, urls: &[String], id: &str) -> bool {
    let arguments = json!({"node_id": id, "valid_from": an_hour_ago()});
    let action = json!({"name": "transition_node_to_trusted", "args": arguments});
    members.pass(urls, &action, 1).await.is_ok()
}

async fn remove_once(members: &Members, urls: &[String], id: &str) -> bool {
    members
        .pass(urls, &json!({"name": "remove_node", "args": {"node_id": id}}), 2)
        .await
        .is_ok()
}

/// Members submit their shares, at any node, until so many have or there are enough.
async fn submit_shares(members: &Members, urls: &[String], limit: Option<usize>) {
    let mut submitted = 0;
    for (turn, keys) in members.keys.iter().enumerate() {
        let Some(encryption) = &keys.encryption else { continue };
        let client = super::process::client(&urls[turn % urls.len()]);
        if Session::new(&client, &keys.member)
            .submit_share(encryption)
            .await
            .is_ok()
        {
            submitted += 1;
        }
        if Some(submitted) == limit {
            return;
        }
    }
}
