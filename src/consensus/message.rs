//! What nodes say to each other to agree: the fields of the wire, without its bytes (node-to-node 3, type 1).

use crate::format::{Seqno, View};

/// A message of consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Type 0: a leader's entries, or its sign of life.
    AppendEntries(AppendEntries),
    /// Type 1: what a follower says to them.
    AppendEntriesResponse(AppendEntriesResponse),
    /// Type 3: a candidate asks for a vote.
    RequestVote(RequestVote),
    /// Type 4: the vote.
    RequestVoteResponse(RequestVoteResponse),
    /// Type 5: a leader that goes asks its successor to stand at once.
    ProposeRequestVote {
        /// The view of the leader that goes.
        view: View,
    },
    /// Type 6: somebody asks whether it would be elected, in the view that it is in.
    RequestPreVote(RequestVote),
    /// Type 7: whether it would.
    RequestPreVoteResponse(RequestVoteResponse),
}

/// Entries `prev_idx + 1 ..= idx`, which go along after the message; none where the two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntries {
    /// Seqno of the last entry that goes along.
    pub idx: Seqno,
    /// Seqno before the first.
    pub prev_idx: Seqno,
    /// The leader's view.
    pub view: View,
    /// The view of the entry at `prev_idx`; 0 for seqno 0.
    pub prev_view: View,
    /// What the leader has committed.
    pub leader_commit: Seqno,
    /// The view of the entry at `idx`, and of every entry that goes along.
    pub view_of_idx: View,
}

/// What a follower says to AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// The follower's view; in a refusal for another view at `prev_idx`, the view of its entry at `last_idx`.
    pub view: View,
    /// Up to where the follower has the leader's entries; in a refusal, up to where it might at most.
    pub last_idx: Seqno,
    /// It has them.
    pub ok: bool,
}

/// A candidate's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The view that it would lead; in a RequestPreVote the view that it is in.
    pub view: View,
    /// Seqno of its last signature.
    pub last_signed: Seqno,
    /// The view of that signature.
    pub view_of_last_signed: View,
}

/// A voter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVoteResponse {
    /// The voter's view.
    pub view: View,
    /// The candidate has its vote.
    pub granted: bool,
}
