//! Every state that three nodes can get into: messages come in any order, late, often or never, time runs out for anybody at any
//! moment, and a node may be started again. Breadth first, so that what is found is found with the fewest steps.
//!
//! What one node does is asked of it once and remembered, so that the search itself handles nothing but numbers.

use std::collections::HashMap;

use super::*;

pub const IDS: [&str; 3] = ["a", "b", "c"];
const NODES: usize = IDS.len();
const MAJORITY: u32 = 2;
/// What a CCF node of 2025 does otherwise.
const CCF: [Rule; 5] = [
    Rule::NoStrangers,
    Rule::OpenStays,
    Rule::LateAreTold,
    Rule::VoteOutlivesRestart,
    Rule::OpeningOutlivesRestart,
];

/// What may happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    TimeOut,
    Heard { from: usize, life: u8, kind: Kind },
    Stranger(Kind),
}

/// Three nodes and what is under way. Messages stay under way for ever: they may come twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    /// Which remembered state each node is in; 0: not started yet.
    pub nodes: [u16; NODES],
    /// How often each was started again.
    pub lives: [u8; NODES],
    /// Votes said: 9 bits a life, from times three plus to.
    pub votes: u32,
    /// Who said that it is open: 3 bits a life.
    pub open: u8,
    /// Who ever opened by quorum, by fail-over.
    pub quorum: u8,
    pub failover: u8,
    /// Time ran out somewhere.
    pub timed: bool,
    /// Starts that are left.
    pub restarts: u8,
}

/// From one world to the next: which node, and what happens to it; nothing, where it starts.
pub type Way = (usize, Option<Input>);

impl World {
    /// In any of its lives.
    fn has_vote(&self, from: usize, to: usize) -> bool {
        (0..2).any(|life| self.votes >> (life * 9 + from * NODES + to) & 1 == 1)
    }
}

/// What a node did.
#[derive(Clone, Debug, Default)]
pub struct Did {
    next: u16,
    votes: u8,
    says_open: bool,
    opened: Option<OpenKind>,
    pub stuck: bool,
}

type Key = (
    usize,
    Vec<u8>,
    Stage,
    Stage,
    u8,
    u8,
    Option<usize>,
    Option<usize>,
    usize,
);

/// Which node, in which life, after what.
type Beginning = (usize, u8, Option<(Stage, Option<String>, Option<OpenKind>)>);

pub struct Search {
    claims: [Claim; NODES],
    broken: Option<Rule>,
    strangers: bool,
    /// Which nodes are CCF's.
    pub ccf: [bool; NODES],
    /// A broken promise does not end the search.
    pub goes_on: bool,
    /// Remembered states, from 1.
    pub known: Vec<Healing>,
    by_key: HashMap<Key, u16>,
    did: HashMap<(u16, Input), Did>,
    started: HashMap<Beginning, Did>,
}

pub struct Found {
    pub states: usize,
    pub steps: usize,
    pub depth: usize,
    /// The first state that breaks a promise, at which depth.
    pub broken: Option<(usize, String)>,
    /// How it came to that.
    pub trace: Vec<String>,
    /// Examples, with the depth at which each was first reached.
    pub reached: HashMap<&'static str, usize>,
}

fn index(id: &str) -> Option<usize> {
    IDS.iter().position(|own| *own == id)
}

fn bits<'a>(ids: impl Iterator<Item = &'a str>) -> u8 {
    ids.filter_map(index).fold(0, |bits, at| bits | 1 << at)
}

impl Search {
    pub fn new(claims: [Claim; NODES], broken: Option<Rule>, strangers: bool) -> Search {
        Search {
            claims,
            broken,
            strangers,
            ccf: [false; NODES],
            goes_on: false,
            known: Vec::new(),
            by_key: HashMap::new(),
            did: HashMap::new(),
            started: HashMap::new(),
        }
    }

    fn body(&self, from: usize, kind: Kind) -> Body {
        match kind {
            Kind::Gossip => Body::Gossip(self.claims[from]),
            Kind::Vote => Body::Vote,
            Kind::IAmOpen => opens(),
        }
    }

    /// What is the same to every later event is one state.
    fn remember(&mut self, healing: Healing) -> u16 {
        let own = index(&healing.own.id).unwrap();
        let life = |id: &&str| healing.known.get(*id).map_or(9, |known| *known.key.last().unwrap());
        let is_over = healing.stage == Stage::Joining;
        let says = healing.stage.opens();
        let key = (
            own,
            match is_over {
                true => Vec::new(),
                false => IDS.iter().map(life).collect(),
            },
            if says { Stage::Opening } else { healing.stage },
            if is_over || says {
                Stage::Opening
            } else {
                healing.timeout_stage
            },
            if is_over || says {
                0
            } else {
                bits(healing.gossip.keys().map(String::as_str))
            },
            if is_over { 0 } else { bits(healing.votes()) },
            healing.chosen().and_then(index),
            healing
                .bound
                .as_deref()
                .and_then(index)
                .filter(|_| healing.stage == Stage::Gossiping),
            match is_over {
                true => 0,
                false => healing.gossip.len() + 8 * healing.votes.len() + 64 * healing.counted_again.min(3),
            },
        );
        let next = u16::try_from(self.known.len() + 1).unwrap();
        let at = *self.by_key.entry(key).or_insert(next);
        if at == next {
            self.known.push(healing);
        }
        at
    }

    /// Carries effects out; what a node says to itself it hears at once.
    fn settle(&mut self, mut healing: Healing, effects: Vec<Effect>, life: u8) -> Did {
        let mut did = Did::default();
        let mut waiting = effects;
        let mut retried = false;
        loop {
            let mut own = Vec::new();
            for effect in waiting {
                match effect {
                    Effect::Send { to, message, .. } if to == healing.own.id => own.push(message),
                    Effect::Send { to, message, .. } => match message.kind() {
                        Kind::Vote => did.votes |= 1 << index(&to).unwrap(),
                        Kind::IAmOpen => did.says_open = true,
                        Kind::Gossip => {}
                    },
                    Effect::Open(kind) => did.opened = Some(kind),
                    Effect::Warn(Warning::Stuck { .. }) => did.stuck = true,
                    _ => {}
                }
            }
            waiting = Vec::new();
            for message in own {
                if message.kind() == Kind::Vote {
                    did.votes |= 1 << index(&healing.own.id).unwrap();
                }
                let key = key(&healing.own.id, life);
                waiting.extend(
                    healing
                        .step(
                            ms(0),
                            Event::Heard {
                                key,
                                message: Box::new(message),
                            },
                        )
                        .effects,
                );
            }
            if waiting.is_empty() {
                if retried {
                    break;
                }
                retried = true;
                healing.failover_at = None;
                healing.retry_at = Some(ms(0));
                waiting = healing.step(ms(0), Event::Tick).effects;
            }
        }
        did.next = self.remember(healing);
        did
    }

    fn start(&mut self, node: usize, life: u8, earlier: Option<Earlier>) -> Did {
        let key_of = earlier.clone().map(|e| (e.stage, e.chosen, e.opens));
        if let Some(did) = self.started.get(&(node, life, key_of.clone())) {
            return did.clone();
        }
        let mut settings = settings(&IDS);
        settings.broken = match self.ccf[node] {
            true => CCF.to_vec(),
            false => self.broken.into_iter().collect(),
        };
        let start = Start {
            key: key(IDS[node], life),
            earlier,
            ..start(IDS[node], self.claims[node])
        };
        let (healing, effects) = Healing::start(&settings, start, ms(0));
        let did = self.settle(healing, effects, life);
        self.started.insert((node, life, key_of), did.clone());
        did
    }

    fn apply(&mut self, at: u16, input: Input, life: u8) -> Did {
        if let Some(did) = self.did.get(&(at, input)) {
            return did.clone();
        }
        let mut healing = self.known[usize::from(at) - 1].clone();
        let event = match input {
            Input::TimeOut => {
                healing.failover_at = Some(ms(0));
                Event::Tick
            }
            Input::Heard { from, life, kind } => says(IDS[from], life, self.body(from, kind)),
            Input::Stranger(Kind::Gossip) => says("x", 0, Body::Gossip(claim(0, 0))),
            Input::Stranger(kind) => says("x", 0, self.body(0, kind)),
        };
        healing.retry_at = None;
        let effects = healing.step(ms(0), event).effects;
        let did = self.settle(healing, effects, life);
        self.did.insert((at, input), did.clone());
        did
    }

    fn note(world: &mut World, node: usize, did: &Did) {
        world.nodes[node] = did.next;
        let life = u32::from(world.lives[node]);
        for to in 0..NODES {
            if did.votes & 1 << to != 0 {
                world.votes |= 1 << (life * 9 + (node * NODES + to) as u32);
            }
        }
        world.open |= u8::from(did.says_open) << (life as usize * NODES + node);
        match did.opened {
            Some(OpenKind::Quorum) => world.quorum |= 1 << node,
            Some(OpenKind::Failover) => world.failover |= 1 << node,
            None => {}
        }
    }

    fn inputs(&self, world: &World, node: usize) -> Vec<Input> {
        let mut inputs = vec![Input::TimeOut];
        for from in (0..NODES).filter(|from| *from != node && world.nodes[*from] != 0) {
            for life in 0..=world.lives[from] {
                let mut heard = |kind| inputs.push(Input::Heard { from, life, kind });
                heard(Kind::Gossip);
                if world.votes & 1 << (usize::from(life) * 9 + from * NODES + node) != 0 {
                    heard(Kind::Vote);
                }
                if world.open & 1 << (usize::from(life) * NODES + from) != 0 {
                    heard(Kind::IAmOpen);
                }
            }
        }
        if self.strangers {
            inputs.extend(Kind::ALL.map(Input::Stranger));
        }
        inputs
    }

    /// Everything that may come next.
    fn after(&mut self, world: &World, stuck: &mut bool) -> Vec<(World, Way)> {
        let mut after = Vec::new();
        for node in 0..NODES {
            let at = world.nodes[node];
            if at == 0 {
                let mut next = *world;
                let did = self.start(node, 0, None);
                Search::note(&mut next, node, &did);
                after.push((next, (node, None)));
                continue;
            }
            for input in self.inputs(world, node) {
                let did = self.apply(at, input, world.lives[node]);
                *stuck |= did.stuck;
                let mut next = *world;
                next.timed |= input == Input::TimeOut;
                Search::note(&mut next, node, &did);
                after.push((next, (node, Some(input))));
            }
            if world.restarts > 0 && world.lives[node] == 0 {
                let before = &self.known[usize::from(at) - 1];
                let earlier = Earlier {
                    stage: before.stage,
                    chosen: before.chosen.clone(),
                    opens: match (world.quorum >> node & 1, before.stage.opens()) {
                        (1, true) => Some(OpenKind::Quorum),
                        (_, true) => Some(OpenKind::Failover),
                        _ => None,
                    },
                };
                let mut next = *world;
                next.restarts -= 1;
                next.lives[node] = 1;
                let did = self.start(node, 1, Some(earlier));
                Search::note(&mut next, node, &did);
                after.push((next, (node, None)));
            }
        }
        after
    }

    /// The promises of section 7.6, and what makes them true.
    fn check(&self, world: &World) -> Result<(), String> {
        let opened = world.quorum | world.failover;
        let committed = {
            let mut claims = self.claims.map(|claim| (claim.view, claim.seqno));
            claims.sort_unstable();
            claims[NODES - MAJORITY as usize]
        };
        if world.quorum.count_ones() > 1 {
            return Err("two nodes opened by quorum".to_owned());
        }
        for node in 0..NODES {
            let has = |bits: u8| bits >> node & 1 == 1;
            let voters = (0..NODES).filter(|from| world.has_vote(*from, node)).count();
            // Votes that are said after that are for one that is open already: they decide nothing.
            let said = |from: usize| (0..NODES).filter(move |to| world.has_vote(from, *to)).eq([node]);
            if (0..NODES).all(said) && opened & !(1 << node) != 0 {
                return Err("all voted for one node, and another opened".to_owned());
            }
            if has(world.quorum) && voters < MAJORITY as usize {
                return Err("a node opened by quorum without a majority of the configured nodes".to_owned());
            }
            if has(world.failover) && voters == 0 {
                return Err("a node opened for which nobody voted".to_owned());
            }
            let claim = self.claims[node];
            if has(world.quorum) && (claim.view, claim.seqno) < committed {
                return Err("what was committed is not in the ledger that opened by quorum".to_owned());
            }
            let at = world.nodes[node];
            if has(opened) && at != 0 && !self.ccf[node] && !self.known[usize::from(at) - 1].stage.opens() {
                return Err("a node that opened does not go on".to_owned());
            }
        }
        Ok(())
    }

    pub fn run(&mut self, restarts: u8) -> Found {
        let first = World {
            restarts,
            ..World::default()
        };
        let mut seen: HashMap<World, Option<(World, Way)>> = HashMap::from([(first, None)]);
        let mut layer = vec![first];
        let mut found = Found {
            states: 0,
            steps: 0,
            depth: 0,
            broken: None,
            trace: Vec::new(),
            reached: HashMap::new(),
        };
        while !layer.is_empty() {
            let mut below = Vec::new();
            for world in &layer {
                if !self.goes_on
                    && let Err(why) = self.check(world)
                {
                    found.broken = Some((found.depth, why));
                    found.states = seen.len();
                    let mut at = *world;
                    while let Some(Some((before, step))) = seen.get(&at) {
                        found.trace.insert(0, format!("{step:?}"));
                        at = *before;
                    }
                    return found;
                }
                let mut stuck = false;
                for (next, step) in self.after(world, &mut stuck) {
                    found.steps += 1;
                    seen.entry(next).or_insert_with(|| {
                        below.push(next);
                        Some((*world, step))
                    });
                }
                self.examples(world, stuck, &mut found);
            }
            layer = below;
            found.depth += 1;
        }
        found.states = seen.len();
        found
    }

    fn examples(&self, world: &World, stuck: bool, found: &mut Found) {
        let depth = found.depth;
        let mut reached = |what, is_so: bool| {
            if is_so {
                found.reached.entry(what).or_insert(depth);
            }
        };
        let stages = world
            .nodes
            .map(|at| (at != 0).then(|| self.known[usize::from(at) - 1].stage));
        reached(
            "opened by quorum, without a time-out",
            world.quorum != 0 && !world.timed,
        );
        reached("opened by fail-over", world.failover != 0);
        reached("two opened", (world.quorum | world.failover).count_ones() > 1);
        let all_join = stages.iter().all(|stage| *stage == Some(Stage::Joining));
        reached("all join, nobody is open", all_join);
        reached("stuck, and said so", stuck);
    }
}
