//! Lives of three to five nodes that heal themselves, from a seed: a network that loses, delays, repeats and cuts, nodes that
//! read their ledgers fast or slowly, crash in the middle of a step, and are started again. After a while faults end, and
//! an operator starts again what asks for it.

// Nodes are named by their places, which this module alone makes up.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::{claim, key, ms, says, settings, start};
use crate::heal::{
    Body, Claim, Earlier, Effect, Event, Healing, Kind, Message, OpenKind, Record, Settings, Stage, Start, Warning,
};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const FAILOVER_MS: u64 = 2000;

/// What happened in a life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Nodes that opened by quorum.
    pub by_quorum: usize,
    /// By fail-over.
    pub by_failover: usize,
    /// Lives in which more than one opened.
    pub forks: usize,
    /// Nodes that joined another.
    pub joined: usize,
    /// Nodes that crashed.
    pub crashes: usize,
    /// Votes that outlived a crash.
    pub votes_kept: usize,
    /// Nodes that said that they are stuck.
    pub stuck: usize,
    /// Nodes that an operator started again.
    pub restarted_by_hand: usize,
    /// Lives in which nobody opened.
    pub never_open: usize,
    /// Messages of strangers.
    pub strangers: usize,
    /// Until somebody opened, at most.
    pub slowest_open_ms: u64,
}

impl Tally {
    /// Adds what happened in another life.
    pub fn add(&mut self, other: &Tally) {
        self.by_quorum += other.by_quorum;
        self.by_failover += other.by_failover;
        self.forks += other.forks;
        self.joined += other.joined;
        self.crashes += other.crashes;
        self.votes_kept += other.votes_kept;
        self.stuck += other.stuck;
        self.restarted_by_hand += other.restarted_by_hand;
        self.never_open += other.never_open;
        self.strangers += other.strangers;
        self.slowest_open_ms = self.slowest_open_ms.max(other.slowest_open_ms);
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What a node's ledger remembers over a crash.
#[derive(Clone, Debug, Default)]
struct Disk {
    stage: Option<Stage>,
    chosen: Option<String>,
    opens: Option<OpenKind>,
}

struct Node {
    id: &'static str,
    claim: Claim,
    life: u8,
    running: Option<Healing>,
    disk: Disk,
    /// When it has read its ledger; never, for one that is lost.
    ready_at: Option<u64>,
    /// It opened in this life.
    has_opened: bool,
    wants_restart: bool,
    recovery_ms: u64,
}

pub struct World {
    chance: ChaCha20Rng,
    now: u64,
    faults_end: u64,
    nodes: Vec<Node>,
    pub(super) settings: Settings,
    /// When, to which node, what; the number keeps what comes at the same time in order.
    under_way: BTreeMap<(u64, u64), (usize, Event)>,
    count: u64,
    cut: BTreeSet<(usize, usize)>,
    committed: (u64, u64),
    voters: BTreeMap<usize, BTreeSet<usize>>,
    quorum: BTreeSet<usize>,
    failover: BTreeSet<usize>,
    stuck_for: BTreeSet<String>,
    with_strangers: bool,
    pub(super) tally: Tally,
    pub(super) is_traced: bool,
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut chance = ChaCha20Rng::seed_from_u64(seed);
        let mut below = |n: u64| chance.next_u64() % n;
        let count = 3 + below(3) as usize;
        let failover = FAILOVER_MS;
        // Some were cut off in view 2, the others may have gone on in view 4 with what a majority had.
        let majority = count / 2 + 1;
        let went_on = below(2) == 0;
        let alone = if went_on {
            below((count - majority) as u64 + 1) as usize
        } else {
            0
        };
        let mut claims: Vec<(u64, u64)> = (0..count)
            .map(|at| match (went_on, at < alone) {
                (true, true) => (2, 20 + below(100)),
                (true, false) => (4, 30 + below(60)),
                (false, _) => (2, 20 + below(60)),
            })
            .collect();
        let mut sorted = claims.clone();
        sorted.sort_unstable();
        let committed = sorted[count - majority];
        for at in (1..count).rev() {
            claims.swap(at, below(at as u64 + 1) as usize);
        }
        let has_spread = below(3) == 0;
        let lost = (below(8) == 0).then(|| below(count as u64) as usize);
        let nodes = claims.iter().enumerate().map(|(at, (view, seqno))| {
            let recovery_ms = if has_spread { below(9000) } else { below(300) };
            Node {
                id: IDS[at],
                claim: claim(*view, *seqno),
                life: 0,
                running: None,
                disk: Disk::default(),
                ready_at: (lost != Some(at)).then_some(recovery_ms),
                has_opened: false,
                wants_restart: false,
                recovery_ms,
            }
        });
        let nodes: Vec<Node> = nodes.collect();
        let faults_end = if below(4) == 0 { 0 } else { 3000 + below(12_000) };
        let with_strangers = below(3) == 0;
        let mut settings = settings(&IDS[..count]);
        settings.failover = ms(failover);
        World {
            chance,
            now: 0,
            faults_end,
            nodes,
            settings,
            under_way: BTreeMap::new(),
            count: 0,
            cut: BTreeSet::new(),
            committed,
            voters: BTreeMap::new(),
            quorum: BTreeSet::new(),
            failover: BTreeSet::new(),
            stuck_for: BTreeSet::new(),
            with_strangers,
            tally: Tally::default(),
            is_traced: false,
            trace: Vec::new(),
        }
    }

    fn say(&mut self, what: impl FnOnce() -> String) {
        if self.is_traced {
            self.trace.push(format!("{:>7} {}", self.now, what()));
        }
    }

    fn below(&mut self, n: u64) -> u64 {
        self.chance.next_u64() % n.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn index(id: &str) -> Option<usize> {
        IDS.iter().position(|own| *own == id)
    }

    pub(super) fn live(&mut self) -> Result<(), String> {
        let end = self.faults_end + 30 * FAILOVER_MS;
        while self.now < end {
            self.mishaps();
            self.starts()?;
            while let Some(first) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, event) = first.remove();
                self.hear(to, event)?;
            }
            for at in 0..self.nodes.len() {
                let now = ms(self.now);
                let is_due = |healing: &Healing| healing.due().is_some_and(|due| due <= now);
                if self.nodes[at].running.as_ref().is_some_and(is_due) {
                    self.hear(at, Event::Tick)?;
                }
            }
            self.now += 10;
        }
        self.at_the_end()
    }

    fn mishaps(&mut self) {
        let count = self.nodes.len() as u64;
        if self.now >= self.faults_end {
            self.cut.clear();
            let asks = self.nodes.iter().any(|node| node.wants_restart);
            let nobody_opens = self.quorum.is_empty() && self.failover.is_empty();
            // Whoever is started again has another key, and the others ask for the same: an operator who has gone round and
            // round starts all of them together.
            if asks && nobody_opens && self.now >= self.faults_end + 15 * FAILOVER_MS && self.one_in(100) {
                for at in 0..self.nodes.len() {
                    self.tally.restarted_by_hand += 1;
                    self.crash(at, 500);
                }
                return;
            }
            for at in 0..self.nodes.len() {
                if self.nodes[at].wants_restart && self.one_in(100) {
                    self.tally.restarted_by_hand += 1;
                    self.crash(at, 500);
                }
            }
            return;
        }
        if self.one_in(150) {
            let pair = (self.below(count) as usize, self.below(count) as usize);
            self.cut.insert(pair);
        }
        if self.one_in(500) {
            self.cut.clear();
        }
        if self.one_in(600) {
            let at = self.below(count) as usize;
            let after = 200 + self.below(4000);
            self.crash(at, after);
        }
        if self.with_strangers && self.one_in(50) {
            self.tally.strangers += 1;
            let to = self.below(count) as usize;
            let stranger = ["x", "y", "z"][self.below(3) as usize];
            let body = match self.below(2) {
                0 => Body::Gossip(claim(2, 1)),
                _ => Body::Vote,
            };
            self.post(to, says(stranger, 0, body), 10);
        }
    }

    fn crash(&mut self, at: usize, again_after: u64) {
        let node = &mut self.nodes[at];
        if node.running.take().is_some() {
            node.wants_restart = false;
            node.has_opened = false;
            node.life += 1;
            node.ready_at = Some(self.now + again_after);
            self.tally.crashes += 1;
        }
    }

    fn starts(&mut self) -> Result<(), String> {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if node.running.is_some() || node.ready_at.is_none_or(|ready| ready > self.now) {
                continue;
            }
            let disk = std::mem::take(&mut node.disk);
            let earlier = disk.stage.map(|stage| Earlier {
                stage,
                chosen: disk.chosen,
                opens: disk.opens,
            });
            self.tally.votes_kept += usize::from(earlier.as_ref().is_some_and(|it| it.stage == Stage::Voting));
            let start = Start {
                key: key(node.id, node.life),
                earlier,
                recovery: ms(node.recovery_ms),
                ..start(node.id, node.claim)
            };
            // The recovery transaction is on disk when the first step is, and says again what was promised before.
            node.disk.stage = Some(Stage::Gossiping);
            let promised = start.earlier.as_ref();
            if let Some(earlier) = promised.filter(|it| it.stage != Stage::Gossiping && it.chosen.is_some()) {
                node.disk = Disk {
                    stage: Some(earlier.stage),
                    chosen: earlier.chosen.clone(),
                    opens: earlier.opens,
                };
            }
            let (healing, effects) = Healing::start(&self.settings, start, ms(self.now));
            node.running = Some(healing);
            self.carry_out(at, effects)?;
        }
        Ok(())
    }

    fn hear(&mut self, at: usize, event: Event) -> Result<(), String> {
        let now = ms(self.now);
        let Some(healing) = self.nodes[at].running.as_mut() else {
            return Ok(());
        };
        if let Event::Heard { message, .. } = &event
            && message.kind() == Kind::Vote
            && let Some(from) = World::index(&message.info.id)
        {
            self.voters.entry(at).or_default().insert(from);
        }
        let step = healing.step(now, event);
        let stage = healing.stage();
        if self.now < self.faults_end && self.one_in(400) {
            // It ends in the middle: with nothing of the step on disk, or with all of it there and part of it said.
            if self.one_in(2) {
                let said = self.below(4) as usize;
                let (records, others): (Vec<_>, Vec<_>) = step
                    .effects
                    .into_iter()
                    .partition(|effect| !matches!(effect, Effect::Send { .. }));
                let effects = records.into_iter().chain(others.into_iter().take(said)).collect();
                self.carry_out(at, effects)?;
            }
            let after = 200 + self.below(2000);
            self.crash(at, after);
            return Ok(());
        }
        self.carry_out(at, step.effects)?;
        match self.nodes[at].has_opened && !stage.opens() {
            true => Err(format!("{} opened and is {stage:?}", IDS[at])),
            false => Ok(()),
        }
    }

    fn post(&mut self, to: usize, event: Event, after: u64) {
        self.count += 1;
        self.under_way.insert((self.now + after, self.count), (to, event));
    }

    fn carry_out(&mut self, at: usize, effects: Vec<Effect>) -> Result<(), String> {
        for effect in effects {
            self.say(|| format!("{} {}", IDS[at], in_words(&effect)));
            let disk = &mut self.nodes[at].disk;
            match effect {
                Effect::Record(Record::Stage(stage)) => disk.stage = Some(stage),
                Effect::Record(Record::Chosen { id }) => disk.chosen = Some(id),
                Effect::Record(Record::Opens(kind)) => disk.opens = Some(kind),
                Effect::Record(_) => {}
                Effect::Send { to, message, .. } => self.send(at, &to, message),
                Effect::Open(kind) => self.opened(at, kind)?,
                Effect::Join { winner, .. } => {
                    self.tally.joined += 1;
                    let winner = World::index(&winner.id).ok_or("it joins a stranger")?;
                    if !self.quorum.contains(&winner) && !self.failover.contains(&winner) {
                        return Err("it joins a node that never opened".to_owned());
                    }
                }
                Effect::Warn(Warning::Stuck { chosen, .. }) => {
                    self.tally.stuck += 1;
                    self.nodes[at].wants_restart |= self.nodes[at].running.is_some() && self.knows_old_keys(at);
                    self.stuck_for.insert(chosen);
                }
                Effect::Warn(Warning::PeerRestarted { .. }) => self.nodes[at].wants_restart = true,
                Effect::Warn(_) => {}
            }
        }
        Ok(())
    }

    fn knows_old_keys(&self, at: usize) -> bool {
        let healing = self.nodes[at].running.as_ref();
        healing.is_some_and(Healing::has_seen_restarts)
    }

    fn send(&mut self, from: usize, to: &str, message: Message) {
        let Some(to) = World::index(to) else { return };
        let event = Event::Heard {
            key: key(IDS[from], self.nodes[from].life),
            message: Box::new(message),
        };
        if from == to {
            return self.post(to, event, 0);
        }
        if self.now >= self.faults_end {
            let after = self.below(30);
            return self.post(to, event, after);
        }
        if self.cut.contains(&(from, to)) || self.one_in(5) {
            return;
        }
        let copies = 1 + u64::from(self.one_in(10));
        for _ in 0..copies {
            let after = if self.one_in(10) {
                self.below(6000)
            } else {
                self.below(100)
            };
            self.post(to, event.clone(), after);
        }
    }

    fn opened(&mut self, at: usize, kind: OpenKind) -> Result<(), String> {
        self.nodes[at].has_opened = true;
        let is_new = !self.quorum.contains(&at) && !self.failover.contains(&at);
        match kind {
            OpenKind::Quorum => self.quorum.insert(at),
            OpenKind::Failover => self.failover.insert(at),
        };
        if is_new {
            self.tally.slowest_open_ms = self.tally.slowest_open_ms.max(self.now);
            match kind {
                OpenKind::Quorum => self.tally.by_quorum += 1,
                OpenKind::Failover => self.tally.by_failover += 1,
            }
        }
        let voters = self.voters.get(&at).map_or(0, BTreeSet::len);
        let claim = self.nodes[at].claim;
        if kind == OpenKind::Quorum {
            if self.quorum.len() > 1 {
                return Err(format!("opened by quorum: {:?}", self.quorum));
            }
            if voters <= self.nodes.len() / 2 {
                return Err(format!("{} opened by quorum with {voters} voters", IDS[at]));
            }
            if (claim.view.unwrap_or(0), claim.seqno) < self.committed {
                return Err(format!(
                    "{} opened with {claim}, {:?} was committed",
                    IDS[at], self.committed
                ));
            }
        } else if voters == 0 {
            return Err(format!("{} opened, and nobody voted for it", IDS[at]));
        }
        Ok(())
    }

    fn at_the_end(&mut self) -> Result<(), String> {
        let opened: BTreeSet<usize> = self.quorum.union(&self.failover).copied().collect();
        self.tally.forks += usize::from(opened.len() > 1);
        let is_lost = |node: &Node| node.running.is_none();
        let lost: Vec<&str> = self
            .nodes
            .iter()
            .filter(|node| is_lost(node))
            .map(|node| node.id)
            .collect();
        let says_so = self.stuck_for.iter().any(|chosen| lost.contains(&chosen.as_str()));
        if opened.is_empty() {
            self.tally.never_open += 1;
            return match says_so {
                true => Ok(()),
                false => Err("nobody opened, and nobody said why".to_owned()),
            };
        }
        for node in &self.nodes {
            let Some(healing) = &node.running else { continue };
            let is_settled = healing.stage().opens() || healing.stage() == Stage::Joining;
            // One that is lost may be the one that others wait for, or the only one that opened.
            if !is_settled && lost.is_empty() {
                return Err(format!("{} is {:?} at the end", node.id, healing.stage()));
            }
        }
        Ok(())
    }
}

fn in_words(effect: &Effect) -> String {
    match effect {
        Effect::Record(_) => "writes how far it is".to_owned(),
        Effect::Send { to, message, .. } => format!("says {:?} to {to}", message.kind()),
        Effect::Open(kind) => format!("opens: {kind:?}"),
        Effect::Join { winner, .. } => format!("joins {}", winner.id),
        Effect::Warn(warning) => format!("warns: {warning}"),
    }
}
