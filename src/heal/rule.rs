//! Rules that tests break one at a time, to see that simulation and search notice.

/// A rule without which two services may come of one, or what was committed is lost.
// Where no test breaks them, some are kept by the types alone.
#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A node votes once.
    OneVote,
    /// Only configured peers count.
    NoStrangers,
    /// A peer's vote counts once.
    CountOnce,
    /// The best ledger is chosen.
    GreatestLedger,
    /// Views are compared where they are known.
    ViewsFirst,
    /// A node that opens does not join another.
    OpenStays,
    /// Below a quorum nobody opens before time is up.
    QuorumOrTimeout,
    /// Nobody opens whom nobody voted for.
    SomeVote,
    /// A vote outlives the process that gave it.
    VoteOutlivesRestart,
    /// A node that opened goes on opening after a restart.
    OpeningOutlivesRestart,
    /// A fail-over is recorded as one.
    FailoverRecorded,
    /// A peer that comes late is told who is open.
    LateAreTold,
}

impl Rule {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Rule; 12] = [
        Rule::OneVote,
        Rule::NoStrangers,
        Rule::CountOnce,
        Rule::GreatestLedger,
        Rule::ViewsFirst,
        Rule::OpenStays,
        Rule::QuorumOrTimeout,
        Rule::SomeVote,
        Rule::VoteOutlivesRestart,
        Rule::OpeningOutlivesRestart,
        Rule::FailoverRecorded,
        Rule::LateAreTold,
    ];
}
