//! What a leader knows of those it sends to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::channel::NodeId;
use crate::format::Seqno;

/// What a leader knows while it leads.
#[derive(Clone, Debug, Default)]
pub(super) struct Leading {
    /// Everybody that it sends to: who takes part, and who left and does not know.
    pub(super) followers: BTreeMap<NodeId, Follower>,
    /// Nodes for which the mark `retired_committed` was asked for.
    pub(super) asked_to_mark: BTreeSet<NodeId>,
}

/// What it knows of one of them.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    /// The last entry that was sent.
    pub(super) sent: Seqno,
    /// Up to where it has said that it has our entries.
    pub(super) matched: Seqno,
    /// When it last answered.
    pub(super) heard: Duration,
    pub(super) next_send: Duration,
    /// It refused: nothing is sent before the next tick.
    pub(super) rests: bool,
    /// Frames with entries that it has not acknowledged: their last seqnos, and when they were sent.
    pub(super) under_way: VecDeque<(Seqno, Duration)>,
    /// When the frames were sent that it has not answered.
    pub(super) unanswered: VecDeque<Duration>,
    /// So many answers from now, it has answered a frame that said that its retirement is complete.
    pub(super) told_after: Option<usize>,
    /// It was said that it needs what is not held here.
    pub(super) lacks: bool,
}

/// Remembered times of unanswered frames, at most.
pub(super) const UNANSWERED: usize = 256;

impl Follower {
    pub(super) fn new(sent: Seqno, now: Duration) -> Follower {
        Follower {
            sent,
            matched: 0,
            heard: now,
            next_send: now,
            rests: false,
            under_way: VecDeque::new(),
            unanswered: VecDeque::new(),
            told_after: None,
            lacks: false,
        }
    }
}
