//! How a node begins, and what it says.

use std::time::Duration;

use super::decision::Healing;
use super::effect::{Effect, Record};
use super::message::{Body, Message};
use super::rule::Rule;
use super::settings::Earlier;
use super::stage::{OpenKind, Stage};
use super::warning::Warning;

impl Healing {
    pub(super) fn warn_of_the_start(&mut self, recovery: Duration, is_cut_short: bool, in_ledger: Option<usize>) {
        let failover = self.failover;
        if failover < recovery {
            self.warn(Warning::FailoverTooShort { failover, recovery });
        }
        if is_cut_short {
            let claim = self.claim;
            self.warn(Warning::CutShort { claim });
        }
        let configured = self.peers.len();
        if let Some(in_ledger) = in_ledger.filter(|count| *count != configured) {
            self.warn(Warning::OtherMembership { in_ledger, configured });
        }
    }

    /// Takes up what was decided before the process ended. A vote may have been counted by its other end, and others may
    /// have joined a node that opened.
    pub(super) fn resume(&mut self, earlier: Earlier) {
        let Earlier { stage, chosen, opens } = earlier;
        if stage.opens() && self.keeps(Rule::OpeningOutlivesRestart) {
            self.warn(Warning::Resumed {
                stage,
                chosen: chosen.clone(),
            });
            self.chosen = chosen.or_else(|| Some(self.own.id.clone()));
            if let Some(id) = self.chosen.clone() {
                self.record(Record::Chosen { id });
            }
            self.open(opens.unwrap_or(OpenKind::Failover));
            self.timeout_stage = Stage::Opening;
            self.record(Record::TimeoutStage(Stage::Opening));
            return;
        }
        let has_promised = matches!(stage, Stage::Voting | Stage::Joining) && self.keeps(Rule::VoteOutlivesRestart);
        // A vote for itself nobody else knows of.
        let Some(chosen) = chosen.filter(|chosen| has_promised && *chosen != self.own.id) else {
            return;
        };
        match self.peers.contains_key(&chosen) {
            true => {
                self.bound = Some(chosen.clone());
                let chosen = Some(chosen);
                self.warn(Warning::Resumed { stage, chosen });
            }
            false => self.warn(Warning::VoteForgotten { chosen }),
        }
    }

    /// Says what there is to say at this stage, and when again.
    pub(super) fn speak(&mut self, now: Duration) {
        let gossip = Body::Gossip(self.claim);
        let all: Vec<String> = self.peers.keys().cloned().collect();
        for id in all {
            let is_own = id == self.own.id;
            match self.stage {
                Stage::Gossiping if !is_own || !self.gossip.contains_key(&id) => self.send(id, gossip.clone()),
                Stage::Voting => {
                    if self.chosen.as_ref() == Some(&id) && !(is_own && self.votes.contains(&id)) {
                        self.send(id.clone(), Body::Vote);
                    }
                    if !is_own {
                        self.send(id, gossip.clone());
                    }
                }
                Stage::Opening if !is_own => self.tell_open(&id),
                _ => {}
            }
        }
        let is_done = matches!(self.stage, Stage::Joining | Stage::Open);
        self.retry_at = (!is_done).then(|| now.saturating_add(self.retry));
    }

    pub(super) fn tell_open(&mut self, id: &str) {
        let body = Body::IAmOpen {
            previous_service: self.previous_service.clone(),
            claim: Some(self.claim),
        };
        self.send(id.to_owned(), body);
    }

    fn send(&mut self, to: String, body: Body) {
        // Only to addresses that the operator has named, whatever a peer says of itself.
        if let Some(address) = self.peers.get(&to).cloned() {
            let info = self.own.clone();
            let message = Message { info, body };
            self.effects.push(Effect::Send { to, address, message });
        }
    }
}
