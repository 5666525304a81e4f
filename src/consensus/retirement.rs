//! Leaving: how far the node's own retirement is, and that whoever left is told before it is forgotten (node-to-node 9).

use super::effect::{Effect, Phase};
use super::followers::{Follower, UNANSWERED};
use super::rule::Rule;
use super::state::{Consensus, State};
use crate::channel::NodeId;

/// Who is silent for so many election time-outs is not waited for: as long as a CCF node keeps an idle channel open.
pub(super) const PATIENCE: u32 = 4;

impl Consensus {
    /// It has signed that its own retirement is committed: that signature is the last that anybody believes. What it wrote after
    /// it could only be taken back.
    pub fn has_signed_off(&self) -> bool {
        let departure = self.configurations.departure(&self.id);
        let marked = departure.and_then(|departure| departure.marked);
        marked.is_some_and(|marked| marked <= self.log.last_signed())
    }

    /// Says so where the node's own retirement is further, or was rolled back.
    pub(super) fn note_own_retirement(&mut self) {
        let committed = self.log.committed();
        let phase = self.configurations.departure(&self.id).map(|departure| {
            if departure.marked.is_some_and(|marked| marked <= committed) {
                Phase::RetiredCommitted
            } else if departure.retired <= committed {
                Phase::Completed
            } else if departure.retired <= self.log.last_signed() {
                Phase::Signed
            } else {
                Phase::Ordered
            }
        });
        if phase != self.phase {
            self.phase = phase;
            self.effects.push(Effect::Retirement(phase));
        }
    }

    /// Retired for good, and another leads.
    pub(super) fn say_whether_it_may_leave(&mut self) {
        if let Some(leader) = self.leader
            && leader != self.id
            && self.phase == Some(Phase::RetiredCommitted)
            && !self.may_leave
        {
            self.may_leave = true;
            self.effects.push(Effect::MayLeave { leader });
        }
    }

    /// Nodes that took part and left, and have perhaps not been told by whoever led before.
    pub(super) fn left_and_untold(&self) -> Vec<NodeId> {
        let patience = self.settings.election_timeout * PATIENCE;
        self.configurations
            .departures()
            .filter(|(node, departure)| {
                let is_recent = departure.complete.is_none_or(|(_, at)| self.now < at + patience);
                departure.took_part && is_recent && !self.configurations.is_active(node)
            })
            .map(|(node, _)| *node)
            .collect()
    }

    /// A node that asks for votes although it left does not know it. It is told, here or by the next leader.
    pub(super) fn remember_to_tell(&mut self, node: NodeId) {
        let has_left = self
            .configurations
            .departure(&node)
            .is_some_and(|departure| departure.complete.is_some());
        if !has_left {
            return;
        }
        self.configurations.seen_again(&node, self.now);
        let (last, now) = (self.log.last(), self.now);
        if let State::Leader(leading) = &mut self.state {
            leading
                .followers
                .entry(node)
                .or_insert_with(|| Follower::new(last, now));
        }
    }

    /// A frame is about to be sent. If the follower has everything up to the signature over its mark, and the frame says that
    /// this is committed, then it knows once it has answered this frame.
    ///
    /// Answers don't say which frame they are for, and an answer is as good as another. But there is one to a frame at most,
    /// and they come in order: with one more than there are unanswered frames, one is for this frame or a later one.
    pub(super) fn may_be_told_by_now(&self, node: NodeId, follower: &mut Follower) {
        // What was not answered for as long as a channel lasts is lost.
        let patience = self.settings.election_timeout * PATIENCE;
        while follower.unanswered.front().is_some_and(|at| *at + patience <= self.now) {
            follower.unanswered.pop_front();
        }
        let complete = self
            .configurations
            .departure(&node)
            .and_then(|departure| departure.complete);
        if let Some((signature, _)) = complete
            && follower.matched >= signature
            && follower.told_after.is_none()
            && follower.unanswered.len() < UNANSWERED
        {
            follower.told_after = Some(follower.unanswered.len() + 1);
        }
    }

    /// A follower answered a frame.
    pub(super) fn answered(&self, follower: &mut Follower) {
        follower.unanswered.pop_front();
        follower.told_after = follower.told_after.map(|left| left.saturating_sub(1));
    }

    pub(super) fn forget_the_told(&mut self, node: NodeId) {
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        let is_told = leading.followers.get(&node).is_some_and(|it| it.told_after == Some(0));
        if is_told {
            leading.followers.remove(&node);
            self.effects.push(Effect::Forgotten { node, told: true });
        }
    }

    /// Who left and does not answer is not sent to for ever.
    pub(super) fn forget_the_silent(&mut self) {
        let patience = self.settings.election_timeout * PATIENCE;
        for node in self.followers() {
            let is_active = self.configurations.is_active(&node);
            let State::Leader(leading) = &mut self.state else {
                return;
            };
            let is_silent = leading
                .followers
                .get(&node)
                .is_some_and(|it| it.heard + patience <= self.now);
            if is_silent && !is_active {
                leading.followers.remove(&node);
                self.effects.push(Effect::Forgotten { node, told: false });
            }
        }
    }

    /// The mistake that tests make on purpose: who is in no active configuration is forgotten at once.
    pub(super) fn forget_without_telling(&mut self) {
        if self.keeps(Rule::ToldBeforeForgotten) {
            return;
        }
        for node in self.followers() {
            let is_active = self.configurations.is_active(&node);
            if let State::Leader(leading) = &mut self.state
                && !is_active
            {
                leading.followers.remove(&node);
                self.effects.push(Effect::Forgotten { node, told: true });
            }
        }
    }
}
