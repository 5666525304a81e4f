//! Rules that tests break one at a time, to see that the simulation notices.

/// A rule without which agreement is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A leader commits a signature only if it is of its own view.
    CommitOwnView,
    /// Every active configuration must agree, not only the newest.
    CommitJoint,
    /// Every active configuration must elect, not only the newest.
    ElectJoint,
    /// What conflicts with the leader's entries is rolled back.
    RollBackConflict,
    /// From the first entry that conflicts.
    RollBackWhole,
    /// Frames of an earlier view are refused.
    ViewOfFrames,
    /// Acknowledgements of another view are not counted.
    ViewOfAcknowledgements,
    /// One vote in a view.
    OneVote,
    /// No vote for a candidate whose log is older.
    VoteComparesLogs,
    /// A node that left is sent to until it knows.
    ToldBeforeForgotten,
    /// Only what is durable is acknowledged.
    AcknowledgeDurable,
    /// Only what is durable here counts here.
    OwnMatchDurable,
    /// A follower commits nothing beyond what it is known to share with the leader.
    CommitShared,
    /// What precedes a frame must be of the view that the frame says.
    PreviousView,
}

impl Rule {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Rule; 14] = [
        Rule::CommitOwnView,
        Rule::CommitJoint,
        Rule::ElectJoint,
        Rule::RollBackConflict,
        Rule::RollBackWhole,
        Rule::ViewOfFrames,
        Rule::ViewOfAcknowledgements,
        Rule::OneVote,
        Rule::VoteComparesLogs,
        Rule::ToldBeforeForgotten,
        Rule::AcknowledgeDurable,
        Rule::OwnMatchDurable,
        Rule::CommitShared,
        Rule::PreviousView,
    ];
}
