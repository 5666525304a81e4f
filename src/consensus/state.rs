//! The state of a node, how it begins, and the steps that every decision is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::configurations::{Configuration, Configurations, Departure};
use super::effect::{Effect, Note, Phase, Role};
use super::followers::{Follower, Leading};
use super::log::{Log, ViewStart};
use super::message::{AppendEntries, Message};
use super::rule::Rule;
use crate::channel::NodeId;
use crate::format::{MAX_VIEW, MAX_VIEW_STEP, Seqno, View};

/// Times and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A leader sends to each follower at least this often (CCF's `message_timeout`).
    pub message_timeout: Duration,
    /// Followers stand after 0.5 to 1 of this without a leader, and a leader without followers gives up after it.
    pub election_timeout: Duration,
    /// Bytes of entries in a frame, at most, unless one entry alone is greater.
    pub frame_bytes: u64,
    /// Frames that a follower has not acknowledged, at most.
    pub frames_under_way: usize,
    /// Ask who would vote before asking for votes. Nodes that do not know the question (CCF before November 2025) never
    /// answer it.
    pub pre_vote: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            message_timeout: Duration::from_millis(100),
            election_timeout: Duration::from_secs(5),
            // A frame above 64 MiB aborts a CCF node (node-to-node 1); a greater one is no faster.
            frame_bytes: 1 << 20,
            // 8 MiB: more than a gigabit line holds in 60 ms.
            frames_under_way: 8,
            pre_vote: false,
        }
    }
}

/// What a node begins with. All of it is durable.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its own id.
    pub id: NodeId,
    /// Its view: for a leader one in which nobody has written anything.
    pub view: View,
    /// The first seqno of each view that has entries, from seqno 1 on.
    pub views: Vec<ViewStart>,
    /// The last seqno.
    pub last: Seqno,
    /// What is committed.
    pub committed: Seqno,
    /// Signatures after it.
    pub signatures: Vec<Seqno>,
    /// The first entry that can be sent to others: after a snapshot, the one after it.
    pub first_held: Seqno,
    /// The committed configuration and later ones, oldest first; none for a node that has nothing yet.
    pub configurations: Vec<Configuration>,
    /// Nodes that are Retired.
    pub departures: BTreeMap<NodeId, Departure>,
}

#[derive(Clone, Debug)]
pub(super) enum State {
    Follower,
    Candidate {
        votes: BTreeSet<NodeId>,
        /// Only whether there would be votes is asked.
        is_asking: bool,
    },
    Leader(Leading),
}

/// The greatest view that is agreed upon: recoveries raise it further, and must find room.
const MAX_AGREED_VIEW: View = MAX_VIEW - MAX_VIEW_STEP;

/// One node's part in CCF's consensus.
#[derive(Clone, Debug)]
pub struct Consensus {
    pub(super) id: NodeId,
    pub(super) settings: Settings,
    pub(super) chance: ChaCha20Rng,
    pub(super) now: Duration,
    pub(super) view: View,
    pub(super) state: State,
    /// Who leads in this view.
    pub(super) leader: Option<NodeId>,
    /// For whom it voted in this view.
    pub(super) vote: Option<NodeId>,
    pub(super) log: Log,
    pub(super) first_held: Seqno,
    pub(super) configurations: Configurations,
    /// It has seen itself take part, in an entry that is signed, and stands for election where there is no leader.
    pub(super) ticks: bool,
    /// When it does.
    pub(super) stands_at: Duration,
    /// Its log is the leader's up to here, in this view.
    pub(super) shared: Seqno,
    /// What it has acknowledged in this view.
    pub(super) acknowledged: Seqno,
    /// No conflict with the leader was settled in this view.
    pub(super) may_replace: bool,
    /// The frame whose entries are being verified, and whose it is.
    pub(super) verifying: Option<(NodeId, AppendEntries)>,
    pub(super) phase: Option<Phase>,
    /// It was said that the process may end.
    pub(super) may_leave: bool,
    pub(super) effects: Vec<Effect>,
    /// The rule that a test breaks.
    #[cfg(test)]
    pub broken: Option<Rule>,
}

impl Consensus {
    fn new(settings: Settings, start: Start, chance: ChaCha20Rng, now: Duration) -> Consensus {
        let log = Log::new(start.views, start.committed, start.last, &start.signatures);
        let mut consensus = Consensus {
            id: start.id,
            settings,
            chance,
            now,
            view: start.view,
            state: State::Follower,
            leader: None,
            vote: None,
            log,
            first_held: start.first_held,
            configurations: Configurations::new(start.configurations, start.departures),
            ticks: false,
            stands_at: Duration::ZERO,
            shared: 0,
            acknowledged: 0,
            may_replace: true,
            verifying: None,
            phase: None,
            may_leave: false,
            effects: Vec::new(),
            #[cfg(test)]
            broken: None,
        };
        assert!(
            consensus.view_of(consensus.log.last()) <= consensus.view,
            "the view is before that of the last entry"
        );
        consensus.wait_for_a_leader();
        consensus.tick_if_it_takes_part();
        consensus
    }

    /// A node that leads from the start: the only one of its service, after a recovery.
    pub fn lead(settings: Settings, start: Start, chance: ChaCha20Rng, now: Duration) -> (Consensus, Vec<Effect>) {
        let mut consensus = Consensus::new(settings, start, chance, now);
        assert!(
            consensus
                .configurations
                .active()
                .all(|it| it.nodes == BTreeSet::from([consensus.id])),
            "only a node that is alone leads without having been elected"
        );
        assert!(
            consensus.view > consensus.view_of(consensus.log.last()),
            "a view that has entries already is led by nobody new"
        );
        consensus.vote = Some(consensus.id);
        consensus.ticks = true;
        consensus.begin_to_lead();
        let effects = consensus.decided();
        (consensus, effects)
    }

    /// A node that joins others: with nothing, or with what a snapshot says.
    pub fn follow(settings: Settings, start: Start, chance: ChaCha20Rng, now: Duration) -> Consensus {
        Consensus::new(settings, start, chance, now)
    }

    /// Its own id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The view that it is in.
    pub fn view(&self) -> View {
        self.view
    }

    /// What it is in that view.
    pub fn role(&self) -> Role {
        match &self.state {
            State::Leader(_) => Role::Leader,
            State::Candidate { .. } => Role::Candidate,
            State::Follower => Role::Follower { leader: self.leader },
        }
    }

    /// Who leads in its view, if that is known.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// What is committed.
    pub fn committed(&self) -> Seqno {
        self.log.committed()
    }

    /// The last seqno.
    pub fn last(&self) -> Seqno {
        self.log.last()
    }

    /// Up to where its disk has the ledger.
    pub fn durable(&self) -> Seqno {
        self.log.durable()
    }

    /// The view of an entry, of 0 for seqno 0; none after the end.
    pub fn view_at(&self, seqno: Seqno) -> Option<View> {
        self.log.view_at(seqno)
    }

    /// Active configurations, oldest first.
    pub fn configurations(&self) -> impl DoubleEndedIterator<Item = &Configuration> {
        self.configurations.active()
    }

    /// What each node that a leader sends to has acknowledged, and when it last answered.
    pub fn acknowledgements(&self) -> BTreeMap<NodeId, (Seqno, Duration)> {
        let State::Leader(leading) = &self.state else {
            return BTreeMap::new();
        };
        let of = |(node, it): (&NodeId, &Follower)| (*node, (it.matched, it.heard));
        leading.followers.iter().map(of).collect()
    }

    /// Who has voted for this candidate in its view.
    pub fn votes(&self) -> BTreeSet<NodeId> {
        match &self.state {
            State::Candidate { votes, .. } => votes.clone(),
            State::Leader(_) | State::Follower => BTreeSet::new(),
        }
    }

    /// How long others may be silent before they count as gone.
    pub fn patience(&self) -> Duration {
        self.settings.election_timeout
    }

    /// How far its own retirement is.
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// It stands for election where there is no leader.
    pub fn is_ticking(&self) -> bool {
        self.ticks
    }

    pub(super) fn decided(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(super) fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }

    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        self.effects.push(Effect::Send { to, message });
    }

    /// The view of an entry that is known to be there.
    pub(super) fn view_of(&self, seqno: Seqno) -> View {
        self.log.view_at(seqno).unwrap_or(0)
    }

    /// The greatest view that elections may have led to. An entry of a greater one would make a ledger that nobody recovers,
    /// so it counts from the last entry that can't be rolled back by a greater view alone, not from the view that was
    /// believed last. Who has nothing yet does not know where the service is.
    pub(super) fn last_believable_view(&self) -> View {
        match self.log.last() {
            0 => View::MAX,
            _ => {
                let signed = self.view_of(self.log.last_signed());
                signed.saturating_add(MAX_VIEW_STEP).min(MAX_AGREED_VIEW)
            }
        }
    }

    /// The view after this one, where there is one.
    pub(super) fn next_view(&self) -> Option<View> {
        let next = self.view.checked_add(1);
        next.filter(|next| *next <= self.last_believable_view())
    }

    /// The next election is in 0.5 to 1 of the time-out.
    pub(super) fn wait_for_a_leader(&mut self) {
        let timeout = self.settings.election_timeout;
        let part = (self.chance.next_u32() % 1000) as f64 / 1000.0;
        self.stands_at = self.now + timeout.mul_f64(0.5 + part / 2.0);
    }

    /// Whether this node leads, or has heard from the leader of its view not long ago.
    pub(super) fn is_led(&self) -> bool {
        matches!(self.state, State::Leader(_)) || self.leader.is_some() && self.now < self.stands_at
    }

    pub(super) fn become_role(&mut self, state: State, leader: Option<NodeId>) {
        self.state = state;
        self.leader = leader;
        self.effects.push(Effect::Role(self.role()));
    }

    /// A greater view is there: whatever this node was about to do in its own is over.
    pub(super) fn adopt(&mut self, at: NodeId, view: View) {
        assert!(view > self.view);
        self.note(Note::GreaterView { at, view });
        self.enter(view);
        self.roll_back(self.log.last_signed());
        self.become_role(State::Follower, None);
        self.wait_for_a_leader();
    }

    pub(super) fn enter(&mut self, view: View) {
        self.view = view;
        self.vote = None;
        self.shared = 0;
        self.acknowledged = 0;
        self.may_replace = true;
        self.verifying = None;
        self.effects.push(Effect::View(view));
    }

    /// The leader stops, in its own view. What is signed stays.
    pub(super) fn stop_leading(&mut self) {
        self.roll_back(self.log.last_signed());
        self.become_role(State::Follower, None);
        self.wait_for_a_leader();
    }

    pub(super) fn roll_back(&mut self, to: Seqno) {
        if to < self.log.last() {
            self.log.roll_back(to);
            self.configurations.roll_back(to);
            self.effects.push(Effect::RollBack { to, view: self.view });
            self.note_own_retirement();
        }
    }

    pub(super) fn commit(&mut self, seqno: Seqno) {
        self.log.commit(seqno);
        self.effects.push(Effect::Commit(seqno));
        self.configurations.commit(seqno, self.now);
        self.note_own_retirement();
    }

    /// Whether a rule holds: always, but for tests that break one.
    #[cfg(test)]
    pub(super) fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Whether a rule holds: always, but for tests that break one.
    #[cfg(not(test))]
    pub(super) fn keeps(&self, _: Rule) -> bool {
        true
    }
}
