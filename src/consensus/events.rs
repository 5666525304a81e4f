//! What happens to a node: each event is passed to who decides about it.

use std::time::Duration;

use super::configurations::NodesChange;
use super::effect::{Effect, Note};
use super::message::Message;
use super::retirement::PATIENCE;
use super::sizes::Sizes;
use super::state::{Consensus, State};
use crate::channel::NodeId;
use crate::format::TxId;

/// An entry, as far as consensus is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub txid: TxId,
    /// It is a signature transaction.
    pub is_signature: bool,
    /// What it changes in who takes part.
    pub nodes: Option<NodesChange>,
}

impl Consensus {
    /// An entry was appended: sealed here by the leader, or verified here as part of the frame that is being verified.
    ///
    /// Nothing is ever appended in a view that was left: that is asserted here.
    pub fn appended(&mut self, now: Duration, entry: &Entry) -> Vec<Effect> {
        self.arrives_at(now);
        let is_of_this_view = match (&self.state, &self.verifying) {
            (State::Leader(_), _) => entry.txid.view == self.view,
            (_, Some((_, frame))) => entry.txid.view == frame.view_of_idx && entry.txid.seqno <= frame.idx,
            _ => false,
        };
        assert!(
            is_of_this_view,
            "{} is appended, neither by the leader of view {} nor from the frame that is being verified",
            entry.txid, self.view
        );
        self.log.append(entry.txid, entry.is_signature);
        if let Some(change) = &entry.nodes {
            self.configurations.append(entry.txid.seqno, change);
            self.greet_new_followers(entry.txid.seqno);
        }
        if entry.is_signature {
            self.tick_if_it_takes_part();
        }
        self.note_own_retirement();
        self.decided()
    }

    /// The ledger is on this node's disk up to this transaction. A sync that began before [`Effect::RollBack`] says nothing of
    /// what came after its `to`, even where the same entry was appended again since.
    pub fn synced(&mut self, now: Duration, through: TxId) -> Vec<Effect> {
        self.arrives_at(now);
        self.log.synced(through);
        match self.state {
            State::Leader(_) => self.commit_what_is_agreed(),
            _ => self.acknowledge_what_became_durable(),
        }
        self.decided()
    }

    /// All entries of the frame are good, and appended.
    pub fn accepted(&mut self, now: Duration) -> Vec<Effect> {
        self.arrives_at(now);
        self.frame_was_verified(true);
        self.decided()
    }

    /// An entry of the frame is bad; those before it are appended.
    pub fn rejected(&mut self, now: Duration) -> Vec<Effect> {
        self.arrives_at(now);
        self.frame_was_verified(false);
        self.decided()
    }

    /// A node says something. Who it is was proven by its channel.
    pub fn received(&mut self, now: Duration, from: NodeId, message: Message) -> Vec<Effect> {
        self.arrives_at(now);
        if from == self.id {
            return self.contradicts(from, "it says that it comes from this node");
        }
        // Views rise by one with each election: of a lie about them no ledger is to be full, and no view to be left.
        if message.view() > self.view.max(self.last_believable_view()) {
            return self.contradicts(from, "its view is further away than any number of elections leads");
        }
        let pause = self.settings.election_timeout * PATIENCE;
        let is_led = self.is_led();
        if message.view() > self.view && !self.configurations.may_bring_view(&from, is_led, self.now, pause) {
            self.note(Note::StandsAfterLeaving { node: from });
            return self.decided();
        }
        match message {
            Message::AppendEntries(frame) => self.on_entries(from, frame),
            Message::AppendEntriesResponse(answer) => self.on_answer(from, answer),
            Message::RequestVote(question) => self.on_question(from, question, false),
            Message::RequestPreVote(question) => self.on_question(from, question, true),
            Message::RequestVoteResponse(answer) => self.on_vote(from, answer, false),
            Message::RequestPreVoteResponse(answer) => self.on_vote(from, answer, true),
            Message::ProposeRequestVote { view } => self.on_nudge(view),
        }
        self.decided()
    }

    /// Time has passed: at [`Consensus::due`], or earlier.
    pub fn tick(&mut self, now: Duration, sizes: &dyn Sizes) -> Vec<Effect> {
        self.arrives_at(now);
        match self.state {
            State::Leader(_) => self.lead_on(sizes),
            _ if self.now >= self.stands_at && self.may_stand() => self.stand(self.settings.pre_vote),
            _ => {}
        }
        self.decided()
    }

    /// What was appended is sent without waiting for the next message time-out.
    pub fn flush(&mut self, now: Duration, sizes: &dyn Sizes) -> Vec<Effect> {
        self.arrives_at(now);
        self.send_what_is_new(sizes);
        self.decided()
    }

    /// The leader is about to end: whoever has most of its log is asked to stand at once. It leads on until it sees the
    /// greater view.
    pub fn nominate(&mut self, now: Duration) -> Vec<Effect> {
        self.arrives_at(now);
        self.nudge();
        self.decided()
    }

    /// Gives up everything that is not committed, and leads on in the next view; nothing where that is not safe.
    ///
    /// For a lone leader that added a node which died before it answered: from the entry on that adds it, nothing is ever
    /// committed again without it, its removal included. It is safe where this node alone is a majority of the committed
    /// configuration, and has committed something in its own view: whoever else has what is given up needs this node's vote to
    /// lead with it, and its log is older.
    pub fn withdraw(&mut self, now: Duration) -> Vec<Effect> {
        self.arrives_at(now);
        self.begin_again();
        self.decided()
    }

    /// When [`Consensus::tick`] has something to do.
    pub fn due(&self) -> Option<Duration> {
        match &self.state {
            State::Leader(leading) => self.leader_is_due(leading),
            _ => self.may_stand().then_some(self.stands_at),
        }
    }

    fn arrives_at(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn contradicts(&mut self, from: NodeId, what: &'static str) -> Vec<Effect> {
        self.note(Note::Contradiction { from, what });
        self.decided()
    }
}
