//! What the page shows, at one moment.

use std::time::SystemTime;

use crate::crypto::Digest;
use crate::format::View as Term;
use crate::node::config::CommandKind;
use crate::node::happened::Event;
use crate::node::status::{NodeState, RecoveryStatus};
use crate::tables::values::ServiceStatus;

/// Some of a list, and how many there are.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// Those that are shown.
    pub shown: Vec<T>,
    /// All, these too.
    pub all: usize,
}

impl<T> Listed<T> {
    /// These of so many.
    pub fn of(shown: Vec<T>, all: usize) -> Self {
        Listed { shown, all }
    }
}

/// A member, as foreign text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Hex id.
    pub id: String,
    /// What is attached: usually a name.
    pub data: Option<String>,
}

/// How a member votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// For the proposal.
    For,
    /// Against it.
    Against,
    /// As a script says when the proposal is decided.
    ByScript,
}

impl Vote {
    /// What a decided proposal records.
    pub fn of(is_for: bool) -> Vote {
        match is_for {
            true => Vote::For,
            false => Vote::Against,
        }
    }
}

/// A proposal.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Its id.
    pub id: String,
    /// Who made it.
    pub proposer: Person,
    /// As CCF names it.
    pub state: String,
    /// Whether members may vote.
    pub is_open: bool,
    /// Whether it was last written before this service was created: it says nothing of this recovery.
    pub is_earlier: bool,
    /// Names of its actions.
    pub actions: Listed<String>,
    /// Who voted what.
    pub votes: Listed<(Person, Vote)>,
    /// Active members who have not voted.
    pub silent: Listed<Person>,
}

/// The service.
#[derive(Clone, Debug)]
pub struct ServiceLine {
    /// Its status.
    pub status: ServiceStatus,
    /// How often it was recovered.
    pub recoveries: Option<u64>,
    /// Of its certificate, if that can be read.
    pub fingerprint: Option<Digest>,
    /// What is attached.
    pub data: Option<String>,
}

/// Recovery shares.
#[derive(Clone, Debug)]
pub struct Shares {
    /// They are waited for now.
    pub awaited: bool,
    /// The service is open: none is needed any more.
    pub done: bool,
    /// How many are needed.
    pub needed: u64,
    /// How many are there.
    pub there: u64,
    /// Some members hold the whole key.
    pub has_owners: bool,
    /// Who holds one, whether it is the whole key, and whether it is there.
    pub holders: Listed<(Person, bool, bool)>,
}

/// A node of the service.
#[derive(Clone, Debug)]
pub struct NodeLine {
    /// Its id.
    pub id: String,
    /// As CCF names it.
    pub status: String,
    /// It leads.
    pub is_primary: bool,
    /// It is the one that serves the page.
    pub is_own: bool,
    /// Where clients reach it.
    pub addresses: String,
    /// What is attached.
    pub data: Option<String>,
}

/// The agreement with other nodes.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// What this node is.
    pub role: &'static str,
    /// Its view.
    pub view: Term,
    /// Nodes that keep something from being committed, or an election from being decided.
    pub missing: Listed<String>,
}

/// All of it.
#[derive(Debug)]
pub struct View {
    /// Id of the node.
    pub node: String,
    /// What it was started for.
    pub kind: CommandKind,
    /// Its state.
    pub state: NodeState,
    /// When states were entered, in seconds since the start, in order.
    pub entered: Vec<(&'static str, f64)>,
    /// When it was started.
    pub started: SystemTime,
    /// Whether it was told to stop.
    pub stopping: bool,
    /// Phase, rates, findings, healing, sealing.
    pub recovery: RecoveryStatus,
    /// Whether users are served.
    pub users_are_served: bool,
    /// The service, once it is known.
    pub service: Option<ServiceLine>,
    /// Fingerprint of the service before.
    pub previous: Option<Digest>,
    /// The newest proposals.
    pub proposals: Listed<Proposal>,
    /// Recovery shares, once there is a service.
    pub shares: Option<Shares>,
    /// Nodes.
    pub nodes: Listed<NodeLine>,
    /// Agreement with them, once there is a service.
    pub agreement: Option<Agreement>,
    /// The last events, the newest first.
    pub events: Vec<Event>,
}
