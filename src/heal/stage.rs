//! How far a node is, and why it may open.

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It says what its ledger has, and hears what others have.
    Gossiping,
    /// It has voted.
    Voting,
    /// It has won, opens its service and tells the others.
    Opening,
    /// Another one has won: it is to join that.
    Joining,
    /// It has told the others for long enough.
    Open,
}

impl Stage {
    /// The stage of a text in the tables, of any generation.
    pub fn read(text: &str) -> Option<Stage> {
        Some(match text {
            "Gossiping" | "Gossipping" => Stage::Gossiping,
            "Voting" => Stage::Voting,
            "Opening" => Stage::Opening,
            "Joining" => Stage::Joining,
            "Open" => Stage::Open,
            _ => return None,
        })
    }

    /// It has won.
    pub fn opens(self) -> bool {
        matches!(self, Stage::Opening | Stage::Open)
    }
}

/// Why a node may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpenKind {
    /// A majority of all configured nodes voted for it.
    Quorum,
    /// Time was up: there may be another one.
    Failover,
}

impl OpenKind {
    /// As the ledger says it (2026).
    pub fn as_str(self) -> &'static str {
        match self {
            OpenKind::Quorum => "Quorum",
            OpenKind::Failover => "Failover",
        }
    }

    /// What the ledger says.
    pub fn read(text: &str) -> Option<OpenKind> {
        [OpenKind::Quorum, OpenKind::Failover]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}
