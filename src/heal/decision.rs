//! The decision of one node: what it hears and the time in, effects out. Recovery specification, section 7.4.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claim::{self, Claim};
use super::effect::{Effect, Record};
use super::message::{Body, Info, Message};
use super::refusal::Refusal;
use super::rule::Rule;
use super::settings::{Event, Settings, Start, Step};
use super::stage::{OpenKind, Stage};
use super::warning::Warning;

/// Warnings of the kind that others can provoke: more than a cluster has nodes.
const MOST_WARNED: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) key: Vec<u8>,
    pub(super) service: String,
}

/// One node's part.
#[derive(Clone, Debug)]
pub struct Healing {
    pub(super) own: Info,
    pub(super) claim: Claim,
    pub(super) previous_service: Option<String>,
    /// Addresses by ids.
    pub(super) peers: BTreeMap<String, String>,
    pub(super) retry: Duration,
    pub(super) failover: Duration,
    pub(super) stage: Stage,
    pub(super) timeout_stage: Stage,
    pub(super) known: BTreeMap<String, Known>,
    pub(super) gossip: BTreeMap<String, Claim>,
    pub(super) votes: BTreeSet<String>,
    pub(super) chosen: Option<String>,
    /// Whom it voted for before it was started again.
    pub(super) bound: Option<String>,
    /// Peers that were started again since they were first heard.
    pub(super) changed: BTreeSet<String>,
    pub(super) retry_at: Option<Duration>,
    pub(super) failover_at: Option<Duration>,
    pub(super) effects: Vec<Effect>,
    /// What was said already and is no news.
    warned: Vec<Warning>,
    /// The rules that a test breaks.
    #[cfg(test)]
    pub(super) broken: Vec<Rule>,
    /// Votes that were counted twice, where a test breaks that rule.
    #[cfg(test)]
    pub(super) counted_again: usize,
}

impl Healing {
    /// A node begins. Times are since whenever the caller likes.
    pub fn start(settings: &Settings, start: Start, now: Duration) -> (Healing, Vec<Effect>) {
        let peers = settings.peers.iter();
        let mut healing = Healing {
            own: start.own,
            claim: start.claim,
            previous_service: start.previous_service,
            peers: peers.map(|peer| (peer.id.clone(), peer.address.clone())).collect(),
            retry: settings.retry,
            failover: settings.failover,
            stage: Stage::Gossiping,
            timeout_stage: Stage::Gossiping,
            known: BTreeMap::new(),
            gossip: BTreeMap::new(),
            votes: BTreeSet::new(),
            chosen: None,
            bound: None,
            changed: BTreeSet::new(),
            retry_at: None,
            failover_at: Some(now.saturating_add(settings.failover)),
            effects: Vec::new(),
            warned: Vec::new(),
            #[cfg(test)]
            broken: settings.broken.clone(),
            #[cfg(test)]
            counted_again: 0,
        };
        if !settings.generation.says_views() {
            // What others of this generation can't say must not decide here either.
            healing.claim.view = None;
        }
        let own = healing.own.clone();
        // Whatever the configuration says, it is one of them.
        healing.peers.entry(own.id.clone()).or_insert(own.address.clone());
        healing.warn_of_the_start(start.recovery, start.is_cut_short, start.nodes_in_ledger);
        healing.meet(own, start.key);
        if let Some(earlier) = start.earlier {
            healing.resume(earlier);
        }
        healing.speak(now);
        let effects = std::mem::take(&mut healing.effects);
        (healing, effects)
    }

    /// A peer was started again after it was heard: it has another key.
    pub fn has_seen_restarts(&self) -> bool {
        !self.changed.is_empty()
    }

    /// How far it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whom it voted for, or joins.
    pub fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// Whose gossip it has heard, and what each has.
    pub fn heard(&self) -> impl Iterator<Item = (&str, Claim)> + Clone {
        self.gossip.iter().map(|(id, claim)| (id.as_str(), *claim))
    }

    /// Who voted for it.
    pub fn votes(&self) -> impl Iterator<Item = &str> {
        self.votes.iter().map(String::as_str)
    }

    /// Votes that are a majority of all configured nodes.
    pub fn quorum(&self) -> usize {
        self.peers.len() / 2 + 1
    }

    /// When it wants to be told next that time has passed; never, where it has nothing left to do.
    pub fn due(&self) -> Option<Duration> {
        let times = self.retry_at.into_iter().chain(self.failover_at);
        times.min()
    }

    /// When it goes on without those that it has not heard; never, where it does not wait for any.
    pub fn failover_due(&self) -> Option<Duration> {
        self.failover_at
    }

    /// Decides. What it answers is said to the sender once what is recorded is committed.
    pub fn step(&mut self, now: Duration, event: Event) -> Step {
        let before = self.stage;
        let answer = match event {
            Event::Heard { key, message } => self.hear(key, *message),
            Event::Tick => {
                if self.failover_at.is_some_and(|at| at <= now) {
                    self.failover_at = Some(now.saturating_add(self.failover));
                    self.time_out();
                }
                Ok(())
            }
        };
        // What a new stage says is said at once.
        if self.stage != before || self.retry_at.is_some_and(|at| at <= now) {
            self.speak(now);
        }
        if matches!(self.stage, Stage::Joining | Stage::Open) {
            self.failover_at = None;
        }
        Step {
            answer,
            effects: std::mem::take(&mut self.effects),
        }
    }

    /// Whether a rule holds: always, but where a test breaks it.
    pub(super) fn keeps(&self, rule: Rule) -> bool {
        #[cfg(test)]
        return !self.broken.contains(&rule);
        #[cfg(not(test))]
        {
            let _ = rule;
            true
        }
    }

    fn hear(&mut self, key: Vec<u8>, message: Message) -> Result<(), Refusal> {
        let Message { info, body } = message;
        let id = info.id.clone();
        if !self.peers.contains_key(&id) && self.keeps(Rule::NoStrangers) {
            self.warn_once(Warning::Stranger { id: id.clone() });
            return Err(Refusal::Stranger { id });
        }
        // Also one that was started again: it would wait, and then open by itself.
        let is_late = self.stage.opens() && id != self.own.id && self.keeps(Rule::LateAreTold);
        if is_late && !matches!(body, Body::IAmOpen { .. }) {
            self.tell_open(&id);
        }
        if self.known.get(&id).is_some_and(|known| known.key != key) {
            self.changed.insert(id.clone());
            self.warn_once(Warning::PeerRestarted { id: id.clone() });
            return Err(Refusal::OtherKey { id });
        }
        match body {
            Body::Gossip(claim) => {
                self.may_gossip()?;
                self.meet(info, key);
                self.gossiped(id, claim);
            }
            Body::Vote => {
                self.meet(info, key);
                self.voted(id);
            }
            Body::IAmOpen {
                previous_service,
                claim,
            } => {
                self.may_join(&id)?;
                self.meet(info.clone(), key);
                self.join(info, previous_service, claim);
            }
        }
        self.advance(false);
        Ok(())
    }

    /// A peer is remembered as it is first heard.
    fn meet(&mut self, info: Info, key: Vec<u8>) {
        if self.known.contains_key(&info.id) {
            return;
        }
        let known = Known {
            key: key.clone(),
            service: info.service.clone(),
        };
        self.known.insert(info.id.clone(), known);
        self.record(Record::Peer { info, key });
    }

    fn may_gossip(&self) -> Result<(), Refusal> {
        match &self.chosen {
            Some(_) if self.stage == Stage::Voting && !self.keeps(Rule::OneVote) => Ok(()),
            Some(chosen) => Err(Refusal::AlreadyVoted { chosen: chosen.clone() }),
            None => Ok(()),
        }
    }

    fn gossiped(&mut self, id: String, claim: Claim) {
        if !self.gossip.contains_key(&id) {
            self.gossip.insert(id.clone(), claim);
            self.record(Record::Gossip { id, claim });
            if self.stage == Stage::Voting {
                // Only where a test lets a node vote twice.
                self.choose(false);
            }
        }
    }

    fn voted(&mut self, id: String) {
        let is_new = self.votes.insert(id.clone());
        if is_new {
            self.record(Record::Vote { id });
        }
        #[cfg(test)]
        if !is_new && !self.keeps(Rule::CountOnce) {
            self.counted_again += 1;
        }
    }

    fn may_join(&mut self, id: &str) -> Result<(), Refusal> {
        if id == self.own.id {
            return match self.stage.opens() {
                true => Err(Refusal::Opens),
                false => Err(Refusal::InOurName),
            };
        }
        if self.stage.opens() && self.keeps(Rule::OpenStays) {
            let (first, second) = (self.own.id.clone(), id.to_owned());
            self.warn_once(Warning::Fork { first, second });
            return Err(Refusal::Opens);
        }
        Ok(())
    }

    /// Another one opens. Whoever is told by two keeps to the first.
    fn join(&mut self, winner: Info, previous_service: Option<String>, claim: Option<Claim>) {
        let id = winner.id.clone();
        if self.stage == Stage::Joining {
            if let Some(first) = self.chosen.clone().filter(|first| *first != id) {
                self.warn_once(Warning::Fork { first, second: id });
            }
            return;
        }
        if let (Some(theirs), Some(ours)) = (previous_service, &self.previous_service)
            && !theirs.eq_ignore_ascii_case(ours)
        {
            self.warn(Warning::OtherService { id: id.clone() });
        }
        if let Some(theirs) = claim.or_else(|| self.gossip.get(&id).copied()) {
            let (ours, own) = (self.claim, self.own.id.as_str());
            let has_more = claim::best([(own, ours), (id.as_str(), theirs)].into_iter()) == Some(own);
            if has_more && (ours.view, ours.seqno) != (theirs.view, theirs.seqno) {
                let id = id.clone();
                self.warn(Warning::JoinsLesser { id, theirs, ours });
            }
        }
        self.chosen = Some(id.clone());
        self.record(Record::Chosen { id });
        self.enter(Stage::Joining);
        let address = self.peers.get(&winner.id).unwrap_or(&winner.address).clone();
        self.effects.push(Effect::Join { winner, address });
    }

    fn time_out(&mut self) {
        let is_valid = self.stage == self.timeout_stage;
        if is_valid && self.stage == Stage::Voting && self.votes.is_empty() && self.keeps(Rule::SomeVote) {
            let chosen = self.chosen.clone().unwrap_or_default();
            let is_refused = self.changed.contains(&chosen);
            return self.warn(Warning::Stuck { chosen, is_refused });
        }
        self.advance(is_valid);
        let next = match self.timeout_stage {
            Stage::Gossiping => Stage::Voting,
            _ => Stage::Opening,
        };
        if next != self.timeout_stage {
            self.timeout_stage = next;
            self.record(Record::TimeoutStage(next));
        }
    }

    fn advance(&mut self, is_time_up: bool) {
        match self.stage {
            Stage::Gossiping if self.gossip.len() >= self.peers.len() || is_time_up => {
                self.choose(is_time_up);
                // Votes may have come before.
                self.count(false);
            }
            Stage::Voting => self.count(is_time_up),
            Stage::Opening if is_time_up => self.enter(Stage::Open),
            _ => {}
        }
    }

    fn choose(&mut self, is_time_up: bool) {
        // Its own ledger counts, whether it has heard itself or not.
        let heard = self.gossip.iter().filter(|(id, _)| **id != self.own.id);
        let heard = heard.map(|(id, claim)| (id.as_str(), *claim));
        let claims = heard.chain(std::iter::once((self.own.id.as_str(), self.claim)));
        let count = claims.clone().count();
        let compares_views = claim::compares_views(claims.clone().map(|(_, claim)| claim));
        let best = match (self.keeps(Rule::GreatestLedger), self.keeps(Rule::ViewsFirst)) {
            (false, _) => claims
                .min_by_key(|(_, claim)| (claim.view, claim.seqno))
                .map(|(id, _)| id),
            (_, false) => claims.max_by_key(|(id, claim)| (claim.seqno, *id)).map(|(id, _)| id),
            _ => claim::best(claims),
        };
        let best = best.unwrap_or_default().to_owned();
        let chosen = self.bound.clone().unwrap_or(best);
        if is_time_up && count < self.peers.len() {
            self.warn(Warning::ChosenEarly {
                heard: count,
                configured: self.peers.len(),
                chosen: chosen.clone(),
            });
        }
        if !compares_views {
            let chosen = chosen.clone();
            self.warn(Warning::ViewsUnknown { chosen });
        }
        self.chosen = Some(chosen.clone());
        self.record(Record::Chosen { id: chosen });
        if self.stage == Stage::Gossiping {
            self.enter(Stage::Voting);
        }
    }

    fn count(&mut self, is_time_up: bool) {
        let votes = self.votes.len();
        #[cfg(test)]
        let votes = votes + self.counted_again;
        let quorum = self.quorum();
        if votes >= quorum || (votes > 0 && !self.keeps(Rule::QuorumOrTimeout)) {
            self.open(OpenKind::Quorum);
        } else if is_time_up {
            let voted_for = self.chosen.clone().filter(|chosen| *chosen != self.own.id);
            self.warn(Warning::OpensBelowQuorum {
                votes,
                quorum,
                voted_for,
            });
            let kind = match self.keeps(Rule::FailoverRecorded) {
                true => OpenKind::Failover,
                false => OpenKind::Quorum,
            };
            self.open(kind);
        }
    }

    pub(super) fn open(&mut self, kind: OpenKind) {
        self.record(Record::Opens(kind));
        self.enter(Stage::Opening);
        self.effects.push(Effect::Open(kind));
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.record(Record::Stage(stage));
    }

    pub(super) fn record(&mut self, record: Record) {
        self.effects.push(Effect::Record(record));
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.effects.push(Effect::Warn(warning));
    }

    /// Peers say the same again and again, and strangers may call themselves anything.
    fn warn_once(&mut self, warning: Warning) {
        if self.warned.len() < MOST_WARNED && !self.warned.contains(&warning) {
            self.warned.push(warning.clone());
            self.warn(warning);
        }
    }
}
