//! What an operator has to know.

use std::fmt;
use std::time::Duration;

use super::claim::Claim;
use super::stage::Stage;

/// What is unsafe, stuck, or lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Reading the ledger took longer than the others wait.
    FailoverTooShort {
        /// The time-out.
        failover: Duration,
        /// How long this node's public recovery took.
        recovery: Duration,
    },
    /// The ledger had more than could be read: the node speaks for less than it once had.
    CutShort {
        /// What it speaks for.
        claim: Claim,
    },
    /// The ledger's last configuration has another number of nodes than the operator's.
    OtherMembership {
        /// Trusted nodes in the ledger.
        in_ledger: usize,
        /// Nodes in the configuration.
        configured: usize,
    },
    /// The node was started again in the middle of this, and keeps to what it had decided.
    Resumed {
        /// How far it was.
        stage: Stage,
        /// Whom it had voted for, or was to join.
        chosen: Option<String>,
    },
    /// It had voted for a node that the configuration no longer names, and is free to vote again.
    VoteForgotten {
        /// Which.
        chosen: String,
    },
    /// It voted before all were heard.
    ChosenEarly {
        /// How many were heard.
        heard: usize,
        /// Of how many.
        configured: usize,
        /// Whom it voted for.
        chosen: String,
    },
    /// The choice was made by seqno alone: a shorter ledger of a later view, which is the committed one, loses.
    ViewsUnknown {
        /// Whom it voted for.
        chosen: String,
    },
    /// It opens without a majority: there may be another service of the same ledger.
    OpensBelowQuorum {
        /// Votes for it.
        votes: usize,
        /// How many would be a majority.
        quorum: usize,
        /// Whom it had itself voted for, if that is another.
        voted_for: Option<String>,
    },
    /// Nobody voted for it, and the one that it voted for does not open. It waits for ever.
    Stuck {
        /// Whom it voted for.
        chosen: String,
        /// That one is refused, because it was started again.
        is_refused: bool,
    },
    /// A peer was started again and speaks with another key: it is refused until this node is started again too.
    PeerRestarted {
        /// Which.
        id: String,
    },
    /// Somebody that the configuration does not name takes part.
    Stranger {
        /// Who it says it is.
        id: String,
    },
    /// Two services were opened of one ledger.
    Fork {
        /// One of them: this node, if it opens itself.
        first: String,
        /// The other.
        second: String,
    },
    /// The service that it is to join recovered another service than this node did.
    OtherService {
        /// Who opened.
        id: String,
    },
    /// The service that it is to join has less than its own ledger. What was committed need not be lost by that.
    JoinsLesser {
        /// Who opened.
        id: String,
        /// What that one's ledger has.
        theirs: Claim,
        /// What this node's has.
        ours: Claim,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: &Duration| time.as_millis();
        match self {
            Warning::FailoverTooShort { failover, recovery } => write!(
                f,
                "failover_timeout is {} ms, but reading this ledger took {} ms: nodes may open without each other; set it \
                 far above the longest recovery",
                ms(failover),
                ms(recovery)
            ),
            Warning::CutShort { claim } => write!(
                f,
                "part of this ledger could not be read, so this node speaks for {claim} only; it may lose to a node \
                 that has less than this one once had: verify the ledger"
            ),
            Warning::OtherMembership { in_ledger, configured } => write!(
                f,
                "the ledger has {in_ledger} trusted nodes, the configuration names {configured}: a majority of these need \
                 not have everything that was committed"
            ),
            Warning::Resumed { stage, chosen } => {
                write!(f, "started again after it was {stage:?}")?;
                match chosen {
                    Some(chosen) => write!(f, " for {chosen}: it keeps to that"),
                    None => write!(f, ": it keeps to that"),
                }
            }
            Warning::VoteForgotten { chosen } => write!(
                f,
                "it had voted for {chosen}, which is not configured any more: that vote may still count there"
            ),
            Warning::ChosenEarly {
                heard,
                configured,
                chosen,
            } => write!(
                f,
                "time was up: voted for {chosen} after hearing {heard} of {configured} nodes, the others may have more"
            ),
            Warning::ViewsUnknown { chosen } => write!(
                f,
                "voted for {chosen} by seqno alone, because not all say their view: a ledger with fewer entries, but of a \
                 later view, may be the committed one; sealing_recovery.recovery_decision_protocol says views"
            ),
            Warning::OpensBelowQuorum {
                votes,
                quorum,
                voted_for,
            } => {
                write!(
                    f,
                    "time was up: opening with {votes} votes where {quorum} are a majority; another node may open too"
                )?;
                match voted_for {
                    Some(better) => write!(f, ", and {better} has a better ledger"),
                    None => Ok(()),
                }
            }
            Warning::Stuck { chosen, is_refused } => {
                let what = match is_refused {
                    true => "which was started again and is refused: start this node again",
                    false => {
                        "which does not open: start that node, or this one without its vote (an older copy of the ledger)"
                    }
                };
                write!(f, "nobody voted for this node, and it voted for {chosen}, {what}")
            }
            Warning::PeerRestarted { id } => write!(
                f,
                "{id} was started again and has another key: it is refused until this node is started again too; where several \
                 ask for this, start them together, because each that is started alone gets another key"
            ),
            Warning::Stranger { id } => write!(
                f,
                "{id} takes part, but is not configured here, and is not counted; if it belongs to the cluster, name it \
                 exactly as it calls itself"
            ),
            Warning::Fork { first, second } => write!(
                f,
                "two services were opened of one ledger, by {first} and by {second}: stop one of them, and compare their \
                 ledgers before anybody uses either"
            ),
            Warning::OtherService { id } => {
                write!(f, "{id} opened, but it recovered another service than this node did")
            }
            Warning::JoinsLesser { id, theirs, ours } => write!(
                f,
                "{id} opened with {theirs}, this node has {ours}: compare both before this ledger is given up"
            ),
        }
    }
}
