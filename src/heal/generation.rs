//! The names of self-healing open, which changed twice. Recovery specification, section 7.1.

use super::stage::Stage;

/// A release's names and shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// "Self-healing open" as documented in September 2025.
    September2025,
    /// "Self-healing open" of October 2025.
    October2025,
    /// "Recovery decision protocol" of 2026.
    Decision2026,
}

/// What a node says to another, or to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What its ledger has.
    Gossip,
    /// That whom it tells should open.
    Vote,
    /// That it opens.
    IAmOpen,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Gossip, Kind::Vote, Kind::IAmOpen];

    /// The end of its path.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Gossip => "gossip",
            Kind::Vote => "vote",
            Kind::IAmOpen => "iamopen",
        }
    }
}

const HEALING: &str = "/node/self_healing_open/";
const DECISION: &str = "/node/recovery_decision_protocol/";

impl Generation {
    /// All of them.
    pub const ALL: [Generation; 3] = [
        Generation::September2025,
        Generation::October2025,
        Generation::Decision2026,
    ];

    /// What the paths of its endpoints begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Generation::September2025 | Generation::October2025 => HEALING,
            Generation::Decision2026 => DECISION,
        }
    }

    /// The path of a message.
    pub fn path(self, kind: Kind) -> String {
        format!("{}{}", self.prefix(), kind.as_str())
    }

    /// The message that a path is for.
    pub fn kind(self, path: &str) -> Option<Kind> {
        let name = path.strip_prefix(self.prefix())?;
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What it is called in answers.
    pub fn title(self) -> &'static str {
        match self {
            Generation::September2025 | Generation::October2025 => "self-healing-open",
            Generation::Decision2026 => "recovery-decision-protocol",
        }
    }

    /// Whether a gossip says the view of a ledger's last signature.
    pub fn says_views(self) -> bool {
        self == Generation::Decision2026
    }

    /// How a stage is written in the tables.
    pub fn stage(self, stage: Stage) -> &'static str {
        match stage {
            Stage::Gossiping if self == Generation::September2025 => "Gossipping",
            Stage::Gossiping => "Gossiping",
            Stage::Voting => "Voting",
            Stage::Opening => "Opening",
            Stage::Joining => "Joining",
            Stage::Open => "Open",
        }
    }
}
