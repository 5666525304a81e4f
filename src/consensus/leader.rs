//! What a leader sends, and when it commits (node-to-node 4 and 6).

use std::collections::BTreeSet;
use std::time::Duration;

use super::effect::{Effect, Note, Phase};
use super::followers::{Follower, Leading, UNANSWERED};
use super::message::{AppendEntries, AppendEntriesResponse, Message};
use super::retirement::PATIENCE;
use super::rule::Rule;
use super::sizes::Sizes;
use super::state::{Consensus, State};
use crate::channel::NodeId;
use crate::format::Seqno;

impl Consensus {
    /// The unsigned tail goes; what remains is led from here, and everybody is told. The caller signs at once.
    pub(super) fn begin_to_lead(&mut self) {
        self.roll_back(self.log.last_signed());
        let mut others = self.configurations.nodes();
        others.extend(self.left_and_untold());
        others.remove(&self.id);
        let followers = others
            .iter()
            .map(|node| (*node, Follower::new(self.log.last(), self.now)))
            .collect();
        let leading = Leading {
            followers,
            asked_to_mark: BTreeSet::new(),
        };
        self.become_role(State::Leader(leading), Some(self.id));
        for node in others {
            self.with_follower(node, |this, follower| this.send_frame(node, follower, follower.sent));
        }
    }

    /// Nodes that an entry adds hear of it at once, with an empty frame that ends before it.
    pub(super) fn greet_new_followers(&mut self, seqno: Seqno) {
        let now = self.now;
        let nodes = self.configurations.nodes();
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        for node in nodes {
            if node != self.id && !leading.followers.contains_key(&node) {
                leading
                    .followers
                    .insert(node, Follower::new(seqno.saturating_sub(1), now));
                self.with_follower(node, |this, follower| this.send_frame(node, follower, follower.sent));
                return self.greet_new_followers(seqno);
            }
        }
    }

    /// Does something with a follower; nothing where there is none or this node does not lead.
    pub(super) fn with_follower(&mut self, node: NodeId, act: impl FnOnce(&mut Consensus, &mut Follower)) {
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        let Some(mut follower) = leading.followers.remove(&node) else {
            return;
        };
        act(self, &mut follower);
        if let State::Leader(leading) = &mut self.state {
            leading.followers.insert(node, follower);
        }
    }

    pub(super) fn leader_is_due(&self, leading: &Leading) -> Option<Duration> {
        leading.followers.values().map(|follower| follower.next_send).min()
    }

    /// What a tick brings: new entries or a sign of life to everybody whose time has come, then a look at the quorum.
    pub(super) fn lead_on(&mut self, sizes: &dyn Sizes) {
        for node in self.followers() {
            let now = self.now;
            self.with_follower(node, |this, follower| {
                if follower.next_send <= now {
                    follower.rests = false;
                    this.replicate(node, follower, sizes);
                }
            });
        }
        self.forget_the_silent();
        self.give_up_on_who_never_came();
        if !self.quorum_is_heard() {
            self.note(Note::QuorumSilent);
            self.stop_leading();
        }
    }

    pub(super) fn send_what_is_new(&mut self, sizes: &dyn Sizes) {
        for node in self.followers() {
            self.with_follower(node, |this, follower| {
                let has_room = follower.under_way.len() < this.settings.frames_under_way;
                if !follower.rests && has_room && follower.sent < this.log.last() {
                    this.replicate(node, follower, sizes);
                }
            });
        }
    }

    pub(super) fn followers(&self) -> Vec<NodeId> {
        match &self.state {
            State::Leader(leading) => leading.followers.keys().copied().collect(),
            _ => Vec::new(),
        }
    }

    /// Frames of one view each up to what may be under way, or an empty one.
    fn replicate(&mut self, node: NodeId, follower: &mut Follower, sizes: &dyn Sizes) {
        let stale = self.settings.election_timeout / 2;
        let is_stuck = follower.under_way.len() >= self.settings.frames_under_way
            && follower
                .under_way
                .front()
                .is_some_and(|(_, at)| *at + stale <= self.now);
        if is_stuck {
            // Nothing was acknowledged for long: what was sent is lost, or not answered because the follower has committed
            // more. An empty frame at our end is answered in either case.
            follower.under_way.clear();
            follower.sent = self.log.last();
        }
        if follower.sent.saturating_add(1) < self.first_held && follower.sent < self.log.last() {
            if !follower.lacks {
                let after = follower.sent;
                self.note(Note::NotHeld { node, after });
            }
            follower.lacks = true;
            follower.sent = self.log.last();
        }
        let mut sent_any = false;
        while follower.sent < self.log.last() && follower.under_way.len() < self.settings.frames_under_way {
            let after = follower.sent;
            let end = self.log.end_of_view(after + 1);
            let through = sizes.reach(after, end, self.settings.frame_bytes).clamp(after + 1, end);
            self.send_frame(node, follower, through);
            follower.under_way.push_back((through, self.now));
            sent_any = true;
        }
        if !sent_any {
            self.send_frame(node, follower, follower.sent);
        }
    }

    /// Sends entries up to `through`, or none where that is what was sent already.
    fn send_frame(&mut self, to: NodeId, follower: &mut Follower, through: Seqno) {
        self.may_be_told_by_now(to, follower);
        let frame = AppendEntries {
            idx: through,
            prev_idx: follower.sent,
            view: self.view,
            prev_view: self.view_of(follower.sent),
            leader_commit: self.log.committed(),
            view_of_idx: self.view_of(through),
        };
        self.send(to, Message::AppendEntries(frame));
        follower.sent = through;
        follower.next_send = self.now + self.settings.message_timeout;
        if follower.unanswered.len() < UNANSWERED {
            follower.unanswered.push_back(self.now);
        }
    }

    /// An answer to a frame of ours.
    pub(super) fn on_answer(&mut self, from: NodeId, answer: AppendEntriesResponse) {
        let is_known = self.configurations.is_active(&from) || self.followers().contains(&from);
        if !is_known {
            return;
        }
        if answer.view > self.view {
            return self.adopt(from, answer.view);
        }
        if !matches!(self.state, State::Leader(_)) {
            return;
        }
        if answer.ok && answer.view == self.view && answer.last_idx > self.log.last() {
            return self.note(Note::Contradiction {
                from,
                what: "it acknowledges what was never sent",
            });
        }
        self.with_follower(from, |this, follower| {
            follower.heard = this.now;
            follower.under_way.retain(|(seqno, _)| *seqno > answer.last_idx);
            if answer.ok {
                let is_of_this_view = answer.view == this.view || !this.keeps(Rule::ViewOfAcknowledgements);
                if is_of_this_view && answer.last_idx > follower.matched {
                    follower.matched = answer.last_idx;
                    follower.sent = follower.sent.max(answer.last_idx);
                } else {
                    this.answered(follower);
                }
                return;
            }
            follower.unanswered.pop_front();
            follower.told_after = None;
            follower.rests = true;
            follower.under_way.clear();
            follower.sent = this.going_back(follower, answer);
        });
        self.forget_the_told(from);
        if answer.ok {
            self.commit_what_is_agreed();
        }
    }

    /// From where on a follower is sent entries after it refused: at the latest possible match, and never below a match.
    /// One exception: who says in our own view that its log ends before the match has dropped unsigned entries that it had
    /// acknowledged (CCF does, where it asks for pre-votes and then hears its leader again), and would be refused for ever.
    fn going_back(&self, follower: &Follower, answer: AppendEntriesResponse) -> Seqno {
        let latest = self.log.latest_match(answer.view, answer.last_idx).min(follower.sent);
        match answer.view == self.view {
            true => latest,
            false => latest.max(follower.matched),
        }
    }

    fn quorum_is_heard(&self) -> bool {
        let silent = self.silent_for(self.settings.election_timeout);
        self.is_needed_by_all() || self.configurations.majorities(|node| !silent.contains(node))
    }

    /// Who takes part and has not answered for so long.
    fn silent_for(&self, time: Duration) -> BTreeSet<NodeId> {
        let State::Leader(leading) = &self.state else {
            return BTreeSet::new();
        };
        let is_heard = |node: &NodeId| {
            let follower = leading.followers.get(node);
            follower.is_some_and(|follower| self.now < follower.heard + time)
        };
        let mut nodes = self.configurations.nodes();
        nodes.retain(|node| *node != self.id && !is_heard(node));
        nodes
    }

    /// A node that was let in and does not answer keeps a lone leader from committing anything, its own removal included. It is
    /// waited for as long as for others; then everything that came with it or after it is given up.
    fn give_up_on_who_never_came(&mut self) {
        let silent = self.silent_for(self.settings.election_timeout * PATIENCE);
        let is_stuck = !self.configurations.majorities(|node| !silent.contains(node));
        if is_stuck && self.is_needed_by_all() && self.log.last() > self.log.committed() {
            self.note(Note::GivesUp { nodes: silent });
            self.begin_again();
        }
    }

    /// This leader alone is a majority of the configuration that is committed: nobody else leads without its vote. What is
    /// committed is known once something of its own view is; before, others may have gone on without it.
    fn is_needed_by_all(&self) -> bool {
        let knows = self.view_of(self.log.committed()) == self.view;
        let committed = self.configurations.oldest().filter(|_| knows);
        committed.is_some_and(|committed| committed.majority(|node| *node == self.id))
    }

    /// The greatest signature that a majority of every active configuration has, if it is of this view.
    pub(super) fn commit_what_is_agreed(&mut self) {
        while let State::Leader(leading) = &self.state {
            let own = if self.keeps(Rule::OwnMatchDurable) {
                self.log.durable()
            } else {
                self.log.last()
            };
            let has = |node: &NodeId| match *node == self.id {
                true => own,
                false => leading.followers.get(node).map_or(0, |follower| follower.matched),
            };
            let agreed = self.configurations.agreed(has, !self.keeps(Rule::CommitJoint));
            let Some(signature) = self.log.signature_within(agreed) else {
                return;
            };
            if self.view_of(signature) != self.view && self.keeps(Rule::CommitOwnView) {
                return;
            }
            let before = self.configurations.active().count();
            self.commit(signature);
            if self.configurations.active().count() < before {
                self.tell_of_commit();
            }
            self.ask_to_mark();
            self.forget_without_telling();
            if self.phase == Some(Phase::RetiredCommitted) {
                self.nudge();
                self.stop_leading();
            }
        }
    }

    /// Everybody is to hear at once how far it is committed. Until they know that a change of who takes part is, they elect nobody
    /// without a majority of those before it: were this leader to die meanwhile, one of two would be missing for ever.
    fn tell_of_commit(&mut self) {
        if let State::Leader(leading) = &mut self.state {
            for follower in leading.followers.values_mut() {
                follower.next_send = self.now;
            }
        }
    }

    /// Whoever has most of the log, and of those who takes part for longest, is asked to stand at once.
    pub(super) fn nudge(&mut self) {
        let State::Leader(leading) = &self.state else {
            return;
        };
        let newest_of = |node: &NodeId| {
            let of = self.configurations.active().filter(|it| it.nodes.contains(node));
            of.map(|configuration| configuration.seqno).max()
        };
        let successor = leading
            .followers
            .iter()
            .filter_map(|(node, follower)| Some((follower.matched, newest_of(node)?, *node)))
            .max();
        if let Some((_, _, node)) = successor {
            let view = self.view;
            self.note(Note::Nudges { node });
            self.send(node, Message::ProposeRequestVote { view });
        }
    }

    /// Gives up all that is not committed, and leads on in the next view.
    pub(super) fn begin_again(&mut self) {
        let leads = matches!(self.state, State::Leader(_));
        let Some(view) = self.next_view().filter(|_| leads && self.is_needed_by_all()) else {
            return;
        };
        self.enter(view);
        self.vote = Some(self.id);
        self.roll_back(self.log.committed());
        self.begin_to_lead();
    }

    /// The retirement of these nodes is committed, and the mark that says so is missing.
    fn ask_to_mark(&mut self) {
        let committed = self.log.committed();
        let unmarked: Vec<NodeId> = self
            .configurations
            .departures()
            .filter(|(_, departure)| departure.retired <= committed && departure.marked.is_none())
            .map(|(node, _)| *node)
            .collect();
        let State::Leader(leading) = &mut self.state else {
            return;
        };
        let new: Vec<NodeId> = unmarked
            .into_iter()
            .filter(|node| leading.asked_to_mark.insert(*node))
            .collect();
        if !new.is_empty() {
            self.effects.push(Effect::MarkRetired(new));
        }
    }
}
