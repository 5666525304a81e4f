//! The tables of a participant that are read, and where their columns are.

use crate::canton::dump::{Field, Table};

/// A table that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Comparisons and their state.
    Outstanding,
    /// What the owner computed.
    Computed,
    /// Up to when it computed.
    LastComputed,
    /// What came from others.
    Received,
    /// What came from others and waits.
    Queued,
    /// Up to when commitments, or contracts, are gone.
    Pruning,
    /// The ledger's end, and the participant's name.
    Ledger,
    /// The node's name in two parts.
    Node,
    /// Texts by index, ids of synchronizers among them.
    Strings,
    /// Ids of synchronizers and what the operator calls them.
    Aliases,
}

/// What the column with a synchronizer's index is called, the newest first.
const INDEX: &[&str] = &["synchronizer_idx", "domain_idx", "domain_id"];

/// Columns of a row.
pub(super) const COLUMNS: usize = 5;

/// Where the columns of a table are that are read, in the order of [`Kind::columns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub kind: Kind,
    at: [Option<usize>; COLUMNS],
}

impl Kind {
    /// The kind of a table.
    pub fn of(name: &str) -> Option<Kind> {
        Some(match name {
            "par_outstanding_acs_commitments" => Kind::Outstanding,
            "par_computed_acs_commitments" => Kind::Computed,
            "par_last_computed_acs_commitments" => Kind::LastComputed,
            "par_received_acs_commitments" => Kind::Received,
            "par_commitment_queue" => Kind::Queued,
            "par_commitment_pruning" | "par_active_contract_pruning" => Kind::Pruning,
            "lapi_parameters" => Kind::Ledger,
            "common_node_id" => Kind::Node,
            "common_static_strings" => Kind::Strings,
            "par_registered_synchronizers" | "par_synchronizers" | "par_domains" => Kind::Aliases,
            _ => return None,
        })
    }

    /// The columns that are read, each with the names that it had, and whether it must be there.
    fn columns(self) -> &'static [(&'static [&'static str], bool)] {
        match self {
            Kind::Outstanding => &[
                (INDEX, true),
                (&["from_exclusive"], true),
                (&["to_inclusive"], true),
                (&["counter_participant"], true),
                (&["matching_state"], true),
            ],
            Kind::Computed => &[(INDEX, true), (&["to_inclusive"], true)],
            Kind::LastComputed | Kind::Pruning => &[(INDEX, true), (&["ts"], true)],
            Kind::Received | Kind::Queued => &[(INDEX, true), (&["to_inclusive"], true), (&["sender"], true)],
            Kind::Ledger => &[
                (&["participant_id"], true),
                (&["ledger_end"], false),
                (&["participant_pruned_up_to_inclusive"], false),
                (&["ledger_end_publication_time"], false),
            ],
            Kind::Node => &[(&["identifier"], true), (&["namespace"], true)],
            Kind::Strings => &[(&["id"], true), (&["string"], true), (&["source"], false)],
            Kind::Aliases => &[
                (&["physical_synchronizer_id", "synchronizer_id", "domain_id"], true),
                (&["synchronizer_alias", "alias"], true),
            ],
        }
    }
}

impl Plan {
    /// Where the columns are; or the name of one that is missing.
    pub fn new(kind: Kind, table: &Table) -> Result<Plan, &'static str> {
        let mut at = [None; COLUMNS];
        for (place, (names, is_required)) in at.iter_mut().zip(kind.columns()) {
            *place = names.iter().find_map(|name| table.column(name));
            if place.is_none() && *is_required {
                return Err(names.first().copied().unwrap_or_default());
            }
        }
        Ok(Plan { kind, at })
    }

    /// Whether the column at this place is read.
    pub fn needs(&self, at: usize) -> bool {
        self.at.contains(&Some(at))
    }

    /// A row's columns.
    pub fn texts<'f>(&self, fields: &[Field<'f>]) -> [Option<&'f str>; COLUMNS] {
        self.at.map(|at| std::str::from_utf8((*fields.get(at?)?)?).ok())
    }
}

/// Whether a table that is not known may hold commitments, as Canton 3.6's do.
pub(super) fn may_be_new(name: &str) -> bool {
    const KNOWN: [&str; 3] = [
        "par_commitment_snapshot",
        "par_commitment_snapshot_time",
        "par_commitment_reinitialization",
    ];
    name.starts_with("par_") && (name.contains("commitment") || name.contains("digest")) && !KNOWN.contains(&name)
}
