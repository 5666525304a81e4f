//! One cluster, from a dead service to its end: recovered, joined, opened, governed, handed over, and killed in between.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::task::JoinHandle;

use super::acts::{accept_once, submit_shares};
use super::nodes::{ask, leader};
use super::process::{PACE, PATIENCE, Process, config, get, is_ready, log_end};
use super::promises::{Members, Mood, Promises, watch};
use super::tally::{Phase, Tally};
use super::{Dice, Plan, copy};
use crate::node::read_keys;

/// Members' requests that go on all the time.
const LOADS: usize = 2;

pub struct Life<'a> {
    pub(super) plan: &'a Plan,
    pub(super) dice: Dice,
    pub(super) directory: PathBuf,
    pub(super) tally: &'a mut Tally,
    pub(super) tell: &'a dyn Fn(&str),
    /// Who runs.
    pub(super) nodes: Vec<Process>,
    /// Numbers of nodes that take part; the others are on their way.
    pub(super) joined: BTreeSet<usize>,
    /// Every node that ever ran.
    pub(super) directories: Vec<PathBuf>,
    /// Nodes that died and whom members have to remove.
    pub(super) dead: Vec<String>,
    /// A node that hands over: it ends by itself.
    pub(super) leaving: Option<String>,
    pub(super) members: Arc<Members>,
    pub(super) promises: Arc<Mutex<Promises>>,
    pub(super) loads: Vec<JoinHandle<()>>,
    /// Nodes that join the open service begin with its snapshots. Who began with one lets in nobody who does not.
    pub(super) with_snapshots: bool,
    /// Too few are left.
    pub(super) over: bool,
}

pub(super) type Done = Result<(), String>;

impl Drop for Life<'_> {
    fn drop(&mut self) {
        self.loads.iter().for_each(JoinHandle::abort);
    }
}

impl<'a> Life<'a> {
    pub fn begin(
        plan: &'a Plan,
        mut dice: Dice,
        directory: &Path,
        tally: &'a mut Tally,
        tell: &'a dyn Fn(&str),
    ) -> Life<'a> {
        let with_snapshots = dice.below(3) == 0;
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
            with_snapshots,
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
    pub(super) async fn recover(&mut self) -> Done {
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
            self.settle_all().await?;
            self.remove_the_dead().await?;
        }
        self.mend().await?;
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
    pub(super) async fn open(&mut self) -> Done {
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
    pub(super) async fn accept(&mut self) -> Done {
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
    pub(super) async fn submit(&self, members: Option<usize>) {
        submit_shares(&self.members, &self.urls(), members).await;
    }

    pub(super) async fn status(&self) -> Option<String> {
        let said = ask(&self.nodes).await;
        let leader = self.url(leader(&said)?.number)?;
        Some(
            get(&leader, "/node/network").await?["service_status"]
                .as_str()?
                .to_owned(),
        )
    }

    pub(super) fn new_directory(&mut self) -> PathBuf {
        let directory = self.directory.join(format!("node-{}", self.directories.len()));
        std::fs::create_dir_all(&directory).unwrap();
        self.directories.push(directory.clone());
        directory
    }

    pub(super) fn runs(&mut self, mut node: Process) {
        node.watcher = Some(watch(node.number, node.url.clone(), self.promises.clone()));
        self.nodes.push(node);
        self.tell_nodes();
    }

    pub(super) fn tell_nodes(&self) {
        let nodes = self
            .nodes
            .iter()
            .filter(|node| self.joined.contains(&node.number) || self.nodes.len() == 1);
        *self.members.nodes.lock().unwrap() = nodes.map(|node| node.url.clone()).collect();
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *self.members.mood.lock().unwrap() = mood;
    }

    /// Of those who take part.
    pub(super) fn urls(&self) -> Vec<String> {
        self.members.nodes.lock().unwrap().clone()
    }

    pub(super) fn url(&self, number: usize) -> Option<String> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .map(|node| node.url.clone())
    }

    pub(super) fn id(&self, number: usize) -> Option<String> {
        self.nodes
            .iter()
            .find(|node| node.number == number)
            .map(|node| node.id.clone())
    }

    /// Waits until something is found, while everybody runs.
    pub(super) async fn until(&mut self, what: &str, mut found: impl AsyncFnMut(&mut Self) -> Option<()>) -> Done {
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
    pub(super) async fn failed(&self, what: &str) -> String {
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
}
