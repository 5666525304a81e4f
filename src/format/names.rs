//! File names of chunks and snapshots. Names are hints: seqnos inside the files are authoritative.
//!
//! Format specification, sections 1.1 and 7.1.

use super::Seqno;

/// What the suffix of a chunk's name says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChunkKind {
    /// `ledger_S-E.committed`: complete and committed.
    Committed,
    /// `ledger_S` or `ledger_S-E`: being written, or complete but not known to be committed.
    Open,
    /// `ledger_S-E.committed.recovery`: written by a recovering service that has not opened.
    CommittedRecovery,
    /// `ledger_S.recovery`: the same, not committed.
    OpenRecovery,
}

impl ChunkKind {
    /// Written by a recovery that never finished; a new recovery discards it.
    pub fn is_recovery(self) -> bool {
        matches!(self, ChunkKind::CommittedRecovery | ChunkKind::OpenRecovery)
    }

    /// Known to be committed: never cut, never replaced.
    pub fn is_committed(self) -> bool {
        matches!(self, ChunkKind::Committed | ChunkKind::CommittedRecovery)
    }
}

/// A chunk's file name, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkName {
    /// First seqno, S.
    pub first: Seqno,
    /// Last seqno, E, where the name has one.
    pub last: Option<Seqno>,
    /// What the suffix says.
    pub kind: ChunkKind,
}

impl ChunkName {
    /// Of a chunk that is complete and committed.
    pub fn committed(first: Seqno, last: Seqno) -> ChunkName {
        ChunkName {
            first,
            last: Some(last),
            kind: ChunkKind::Committed,
        }
    }
}

impl std::fmt::Display for ChunkName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ledger_{}", self.first)?;
        if let Some(last) = self.last {
            write!(f, "-{last}")?;
        }
        f.write_str(match self.kind {
            ChunkKind::Committed => ".committed",
            ChunkKind::Open => "",
            ChunkKind::CommittedRecovery => ".committed.recovery",
            ChunkKind::OpenRecovery => ".recovery",
        })
    }
}

/// What a directory entry's name says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A chunk to be read.
    Chunk(ChunkName),
    /// `*.ignored`, `*.corrupted`, `*.committed_prefix`: set aside by CCF, never read.
    SetAside,
    /// Starts like a chunk but can't be parsed as one.
    Unreadable,
    /// Not a ledger file.
    Other,
}

impl FileName {
    /// Classifies the name of a file in a ledger directory.
    pub fn parse(name: &str) -> FileName {
        let Some(rest) = name.strip_prefix("ledger_") else {
            return FileName::Other;
        };
        if [".ignored", "ignored", ".corrupted", ".committed_prefix"]
            .iter()
            .any(|suffix| rest.ends_with(suffix))
        {
            return FileName::SetAside;
        }
        let (rest, recovery) = match rest.strip_suffix(".recovery") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (range, committed) = match rest.strip_suffix(".committed") {
            Some(range) => (range, true),
            None => (rest, false),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse(), Some(last.parse())),
            None => (range.parse(), None),
        };
        let (Ok(first), Ok(last)) = (first, last.transpose()) else {
            return FileName::Unreadable;
        };
        if first == 0 || last.is_some_and(|last| last < first) || (committed && last.is_none()) {
            return FileName::Unreadable;
        }
        FileName::Chunk(ChunkName {
            first,
            last,
            kind: match (committed, recovery) {
                (true, false) => ChunkKind::Committed,
                (false, false) => ChunkKind::Open,
                (true, true) => ChunkKind::CommittedRecovery,
                (false, true) => ChunkKind::OpenRecovery,
            },
        })
    }
}

/// A snapshot's file name, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName {
    /// Seqno of the state it holds.
    pub seqno: Seqno,
    /// Seqno of the transaction that holds its evidence.
    pub evidence_seqno: Seqno,
    /// Whether the name says it is committed (and so, since 2.x, carries a receipt).
    pub committed: bool,
}

impl SnapshotName {
    /// Reads `snapshot_S_E`, `snapshot_S_E.committed` and 1.x's `snapshot_S_E.committed_C`.
    pub fn parse(name: &str) -> Option<SnapshotName> {
        let rest = name.strip_prefix("snapshot_")?;
        let (numbers, committed) = match rest.split_once(".committed") {
            Some((numbers, tail))
                if tail.is_empty() || tail.strip_prefix('_').is_some_and(|n| n.parse::<u64>().is_ok()) =>
            {
                (numbers, true)
            }
            Some(_) => return None,
            None => (rest, false),
        };
        let (seqno, evidence) = numbers.split_once('_')?;
        Some(SnapshotName {
            seqno: seqno.parse().ok()?,
            evidence_seqno: evidence.parse().ok()?,
            committed,
        })
    }
}

impl std::fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suffix = if self.committed { ".committed" } else { "" };
        write!(f, "snapshot_{}_{}{suffix}", self.seqno, self.evidence_seqno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_specification_is_classified() {
        let chunk = |first, last, kind| FileName::Chunk(ChunkName { first, last, kind });
        for (name, expected) in [
            ("ledger_7", chunk(7, None, ChunkKind::Open)),
            ("ledger_7-9", chunk(7, Some(9), ChunkKind::Open)),
            ("ledger_7-9.committed", chunk(7, Some(9), ChunkKind::Committed)),
            ("ledger_7.recovery", chunk(7, None, ChunkKind::OpenRecovery)),
            (
                "ledger_7-9.committed.recovery",
                chunk(7, Some(9), ChunkKind::CommittedRecovery),
            ),
            ("ledger_7.recovery.ignored", FileName::SetAside),
            ("ledger_7-9.committed_prefix", FileName::SetAside),
            ("ledger_7.corrupted", FileName::SetAside),
            ("ledger_7-x", FileName::Unreadable),
            ("ledger_", FileName::Unreadable),
            ("ledger_9-7.committed", FileName::Unreadable),
            ("ledger_7.committed", FileName::Unreadable),
            ("ledger_99999999999999999999", FileName::Unreadable),
            ("snapshot_1_2", FileName::Other),
        ] {
            assert_eq!(FileName::parse(name), expected, "{name}");
            if let FileName::Chunk(chunk) = FileName::parse(name) {
                assert_eq!(chunk.to_string(), name);
            }
        }
    }

    #[test]
    fn snapshot_names_of_all_generations_are_read() {
        let of = |name| SnapshotName::parse(name).map(|n| (n.seqno, n.evidence_seqno, n.committed));
        assert_eq!(of("snapshot_13_14"), Some((13, 14, false)));
        assert_eq!(of("snapshot_13_14.committed"), Some((13, 14, true)));
        assert_eq!(of("snapshot_13_14.committed_16"), Some((13, 14, true)));
        assert_eq!(of("snapshot_13_14.committed.endorsements"), None);
        assert_eq!(of("snapshot_13"), None);
    }
}
