//! What a ledger proves to have been committed, which is more than to have been signed.
//!
//! A signature says what its primary had; only a majority of its configuration makes that committed, and a primary that is
//! cut off goes on signing. A ledger says what was committed in two places: up to 3.x, a signature transaction names the
//! commit its primary knew of; and a primary takes snapshots of committed states only, so a snapshot's evidence tells of
//! one. Both count once a later signature covers them. A third witness are names: a node calls a chunk
//! `.committed` once its last entry is. A later signature in the same view proves nothing.

use super::join::Joiner;
use crate::format::directory::PlannedChunk;
use crate::format::{Seqno, View};
use crate::shown::Show;

/// Something proven to have been committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Everything up to here was.
    pub seqno: Seqno,
    /// In this view or an earlier one: the primary of any later view had it.
    pub by: View,
    /// What proves it, in words.
    pub proof: String,
}

/// What the entries up to `proven_to`, the last proven signature, say. Needs a history of roots.
pub(super) fn in_entries(joiner: &Joiner<'_>, proven_to: Seqno) -> Vec<Commit> {
    let Some(history) = &joiner.history else {
        return Vec::new();
    };
    let mut commits = Vec::new();
    for (signature, seqno) in joiner.claims.iter().filter(|(by, _)| by.seqno < proven_to) {
        keep_greatest(
            &mut commits,
            Commit {
                seqno: *seqno,
                by: signature.view,
                proof: format!("the signature {signature} says so"),
            },
        );
    }
    for evidence in joiner.evidence.iter().filter(|evidence| evidence.seqno < proven_to) {
        let covering = history.partition_point(|signed| signed.txid.seqno <= evidence.seqno);
        let Some(by) = history.get(covering) else {
            continue;
        };
        keep_greatest(
            &mut commits,
            Commit {
                seqno: evidence.snapshot_seqno.min(evidence.seqno),
                by: by.txid.view,
                proof: format!("transaction {} is evidence of a snapshot of it", evidence.seqno),
            },
        );
    }
    commits
}

/// What the name of a committed chunk says, of a copy that is signed up to `proven_to` in view `by`: whoever named it knew
/// of the commit when that copy ended, at the latest.
pub(super) fn in_names(chunks: &[PlannedChunk], proven_to: Seqno, by: View) -> Option<Commit> {
    let mut committed = chunks.iter().filter(|chunk| chunk.file.name.kind.is_committed());
    let last = committed.rfind(|chunk| chunk.use_from <= proven_to)?;
    Some(Commit {
        seqno: last.file.last.min(proven_to),
        by,
        proof: format!("the name of {} says so", last.file.path.shown()),
    })
}

/// One for each view is enough: the greatest.
fn keep_greatest(commits: &mut Vec<Commit>, commit: Commit) {
    match commits.iter_mut().find(|known| known.by == commit.by) {
        Some(known) if known.seqno >= commit.seqno => {}
        Some(known) => *known = commit,
        None => commits.push(commit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_view_the_greatest_commit_is_kept() {
        let commit = |seqno, by| Commit {
            seqno,
            by,
            proof: String::new(),
        };
        let mut commits = Vec::new();
        for next in [commit(5, 2), commit(9, 2), commit(7, 2), commit(8, 3)] {
            keep_greatest(&mut commits, next);
        }
        assert_eq!(commits, [commit(9, 2), commit(8, 3)]);
    }
}
