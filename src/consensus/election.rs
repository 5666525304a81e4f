//! Who leads next (node-to-node 8).

use std::collections::BTreeSet;

use super::effect::{Note, Phase};
use super::message::{Message, RequestVote, RequestVoteResponse};
use super::rule::Rule;
use super::state::{Consensus, State};
use crate::channel::NodeId;
use crate::format::View;

impl Consensus {
    /// It times out from the first signature on that it has after an entry which adds it.
    pub(super) fn tick_if_it_takes_part(&mut self) {
        let takes_part = self
            .configurations
            .newest()
            .is_some_and(|newest| newest.nodes.contains(&self.id));
        if takes_part && !self.ticks {
            self.ticks = true;
            self.wait_for_a_leader();
        }
    }

    /// A node that is in no active configuration has nobody to lead: those that are have all that it has.
    pub(super) fn may_stand(&self) -> bool {
        self.ticks && self.phase != Some(Phase::RetiredCommitted) && self.configurations.is_active(&self.id)
    }

    /// Asks for votes in the next view, or first whether there would be any.
    pub(super) fn stand(&mut self, asks_first: bool) {
        if asks_first {
            self.verifying = None;
        } else {
            let Some(view) = self.next_view() else {
                self.wait_for_a_leader();
                return self.note(Note::NoViewLeft);
            };
            self.enter(view);
            self.vote = Some(self.id);
        }
        let candidate = State::Candidate {
            votes: BTreeSet::new(),
            is_asking: asks_first,
        };
        self.become_role(candidate, None);
        self.wait_for_a_leader();
        let last_signed = self.log.last_signed();
        let question = RequestVote {
            view: self.view,
            last_signed,
            view_of_last_signed: self.view_of(last_signed),
        };
        for node in self.configurations.nodes() {
            if node != self.id {
                let message = if asks_first {
                    Message::RequestPreVote(question)
                } else {
                    Message::RequestVote(question)
                };
                self.send(node, message);
            }
        }
        self.count(self.id);
    }

    fn count(&mut self, voter: NodeId) {
        let elect_joint = self.keeps(Rule::ElectJoint);
        let State::Candidate { votes, is_asking } = &mut self.state else {
            return;
        };
        votes.insert(voter);
        let is_asking = *is_asking;
        let elected = match elect_joint {
            true => self.configurations.majorities(|node| votes.contains(node)),
            false => self
                .configurations
                .newest()
                .is_some_and(|newest| newest.majority(|node| votes.contains(node))),
        };
        match (elected, is_asking) {
            (true, true) => self.stand(false),
            (true, false) => self.begin_to_lead(),
            (false, _) => {}
        }
    }

    /// Somebody asks for a vote. It need not be in a configuration that is known here.
    pub(super) fn on_question(&mut self, from: NodeId, question: RequestVote, is_asking: bool) {
        // Who left and did not hear of it is told by whoever leads.
        self.remember_to_tell(from);
        if question.view > self.view {
            self.adopt(from, question.view);
        }
        let granted = question.view == self.view && self.grants(from, &question, is_asking);
        if granted && !is_asking {
            self.vote = Some(from);
            self.wait_for_a_leader();
        }
        let answer = RequestVoteResponse {
            view: self.view,
            granted,
        };
        let message = if is_asking {
            Message::RequestPreVoteResponse(answer)
        } else {
            Message::RequestVoteResponse(answer)
        };
        self.send(from, message);
    }

    fn grants(&self, from: NodeId, question: &RequestVote, is_asking: bool) -> bool {
        // Whose departure is committed counts for nothing that came after it, and must not keep the others from electing.
        let needed = match self.phase {
            Some(Phase::Completed | Phase::RetiredCommitted) => self.log.committed(),
            _ => self.log.last_signed(),
        };
        let own = (self.view_of(needed), needed);
        let is_older = (question.view_of_last_signed, question.last_signed) < own && self.keeps(Rule::VoteComparesLogs);
        let is_free =
            self.leader.is_none() && self.vote.is_none_or(|voted| voted == from) || !self.keeps(Rule::OneVote);
        let has_left = self
            .configurations
            .departure(&from)
            .is_some_and(|departure| departure.complete.is_some());
        !is_older && !has_left && (is_asking || is_free)
    }

    pub(super) fn on_vote(&mut self, from: NodeId, answer: RequestVoteResponse, was_asking: bool) {
        if !self.configurations.is_active(&from) {
            return;
        }
        if answer.view > self.view {
            return self.adopt(from, answer.view);
        }
        let counts = matches!(self.state, State::Candidate { is_asking, .. } if is_asking == was_asking);
        if answer.granted && answer.view == self.view && counts {
            self.count(from);
        }
    }

    /// A leader that goes asks this node to stand at once.
    pub(super) fn on_nudge(&mut self, view: View) {
        let leads = matches!(self.state, State::Leader(_));
        if view == self.view && !leads && self.may_stand() {
            self.stand(false);
        }
    }
}
