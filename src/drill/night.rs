//! The rest of the night, as it is to be rehearsed: other nodes join what one has recovered, and take it over.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::clock::Step;

/// What to rehearse with several nodes.
#[derive(Clone, Debug)]
pub struct NightPlan {
    /// Nodes, the one that recovers included.
    pub nodes: usize,
    /// When the node that leads is killed; none: it hands over.
    pub kill: Option<KillAt>,
    /// All nodes begin with a copy of the ledger, and find out by themselves which of them opens.
    pub self_healing: bool,
    /// The operator's own node, given `--config FILE`; none: this program.
    pub join_with: Option<PathBuf>,
}

/// When the node that leads is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillAt {
    /// In the public network, before members have agreed to open the service.
    Public,
    /// When the first share is submitted.
    Shares,
    /// When the service is open.
    Open,
}

impl FromStr for KillAt {
    type Err = String;

    fn from_str(text: &str) -> Result<KillAt, String> {
        match text {
            "primary@public" => Ok(KillAt::Public),
            "primary@shares" => Ok(KillAt::Shares),
            "primary@open" => Ok(KillAt::Open),
            _ => Err("expected primary@public, primary@shares or primary@open".to_owned()),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Night {
    /// Entries of the ledger that was recovered, up to its last signature.
    pub entries: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// What happened.
    pub steps: Vec<Step>,
    /// The nodes that joined, in this order.
    pub joined: Vec<Joined>,
    /// For how long nothing was committed, while another node came to lead; seconds.
    pub interrupted_s: f64,
    /// Which node led at the end, counted from 0.
    pub leader: usize,
    /// Whether every node's ledger verifies.
    pub verified: bool,
    /// Whether they are one ledger, as far as each goes.
    pub agree: bool,
}

/// A node that joined.
#[derive(Clone, Debug, Serialize)]
pub struct Joined {
    /// Which, counted from 0.
    pub node: usize,
    /// The last seqno that it had when it had caught up.
    pub seqno: u64,
    /// Seconds from its start until then, members' votes included.
    pub took_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_killed_and_when_is_said_in_one_word() {
        assert_eq!("primary@shares".parse(), Ok(KillAt::Shares));
        assert!("backup@open".parse::<KillAt>().is_err() && "open".parse::<KillAt>().is_err());
    }
}
