//! What a follower does with AppendEntries (node-to-node 5).

use super::effect::{Effect, Note};
use super::message::{AppendEntries, AppendEntriesResponse, Message};
use super::rule::Rule;
use super::state::{Consensus, State};
use crate::channel::NodeId;
use crate::format::{Seqno, View};

impl Consensus {
    /// The cases of node-to-node 5, in its order.
    pub(super) fn on_entries(&mut self, from: NodeId, frame: AppendEntries) {
        // A frame that comes before the last one was verified: that one is forgotten, and repaired by a refusal.
        self.verifying = None;
        if frame.view < self.view && self.keeps(Rule::ViewOfFrames) {
            return self.refuse(from, self.view, self.log.last());
        }
        if frame.idx < frame.prev_idx || frame.view_of_idx > frame.view || frame.prev_view > frame.view_of_idx {
            return self.note(Note::Contradiction {
                from,
                what: "its seqnos or views go backwards",
            });
        }
        if frame.view > self.view {
            self.adopt(from, frame.view);
        }
        if !self.follows(from) {
            return self.note(Note::Contradiction {
                from,
                what: "it leads in a view that another node leads",
            });
        }
        match self.log.view_at(frame.prev_idx) {
            None => return self.refuse(from, self.view, self.log.last()),
            Some(view) if view != frame.prev_view && self.keeps(Rule::PreviousView) => {
                let seqno = self.log.latest_match(frame.prev_view, frame.prev_idx);
                return self.refuse(from, self.view_of(seqno), seqno);
            }
            Some(_) => {}
        }
        self.say_whether_it_may_leave();
        if frame.prev_idx < self.log.committed() {
            return;
        }
        if let Some(conflict) = self.conflict_with(&frame) {
            if !self.may_replace {
                return self.note(Note::SecondConflict { from, seqno: conflict });
            }
            self.may_replace = false;
            if self.keeps(Rule::RollBackConflict) {
                self.roll_back(if self.keeps(Rule::RollBackWhole) {
                    conflict - 1
                } else {
                    conflict
                });
            }
        }
        let after = self.log.last().min(frame.idx);
        if after == frame.idx {
            return self.shares(from, &frame);
        }
        self.verifying = Some((from, frame));
        self.effects.push(Effect::Verify {
            from,
            after,
            through: frame.idx,
            view: frame.view_of_idx,
        });
    }

    /// Whoever sends entries of this view leads in it, if nobody else does.
    fn follows(&mut self, from: NodeId) -> bool {
        match self.state {
            State::Leader(_) => return false,
            State::Candidate { .. } => self.become_role(State::Follower, Some(from)),
            State::Follower if self.leader.is_none() => self.become_role(State::Follower, Some(from)),
            State::Follower => {}
        }
        if self.leader != Some(from) && self.keeps(Rule::ViewOfFrames) {
            return false;
        }
        self.wait_for_a_leader();
        true
    }

    /// The first entry that is there of another view than the frame's, whose entries are all of one.
    fn conflict_with(&self, frame: &AppendEntries) -> Option<Seqno> {
        let both = self.log.last().min(frame.idx);
        let first = frame.prev_idx.saturating_add(1);
        if first > both {
            return None;
        }
        if self.log.view_at(first) != Some(frame.view_of_idx) {
            return Some(first);
        }
        let end = self.log.end_of_view(first);
        (end < both).then_some(end + 1)
    }

    pub(super) fn frame_was_verified(&mut self, all_are_good: bool) {
        let Some((from, frame)) = self.verifying.take() else {
            return;
        };
        if all_are_good {
            assert_eq!(
                self.log.last(),
                frame.idx,
                "a frame was accepted of which entries were not appended"
            );
            return self.shares(from, &frame);
        }
        self.shared = self.shared.max(self.log.last());
        self.refuse(from, self.view, self.log.last());
    }

    /// Everything in the frame is in the log.
    fn shares(&mut self, leader: NodeId, frame: &AppendEntries) {
        self.shared = self.shared.max(frame.idx);
        // What follows after that may not be the leader's.
        let known = if self.keeps(Rule::CommitShared) {
            self.shared
        } else {
            self.log.last()
        };
        if let Some(signature) = self.log.signature_within(frame.leader_commit.min(known)) {
            self.commit(signature);
            self.say_whether_it_may_leave();
        }
        let durable = if self.keeps(Rule::AcknowledgeDurable) {
            self.log.durable()
        } else {
            Seqno::MAX
        };
        self.acknowledge(leader, frame.idx.min(durable));
    }

    /// More is on the disk: the leader is told at once.
    pub(super) fn acknowledge_what_became_durable(&mut self) {
        let both = self.shared.min(self.log.durable());
        if let Some(leader) = self.leader
            && both > self.acknowledged
        {
            self.acknowledge(leader, both);
        }
    }

    fn acknowledge(&mut self, leader: NodeId, seqno: Seqno) {
        self.acknowledged = self.acknowledged.max(seqno);
        self.answer(leader, self.view, seqno, true);
    }

    fn refuse(&mut self, to: NodeId, view: View, seqno: Seqno) {
        self.answer(to, view, seqno, false);
    }

    fn answer(&mut self, to: NodeId, view: View, last_idx: Seqno, ok: bool) {
        self.send(
            to,
            Message::AppendEntriesResponse(AppendEntriesResponse { view, last_idx, ok }),
        );
    }
}
