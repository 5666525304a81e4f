//! Whether receipts of earlier services can be verified along the writes of `service.info`.
//!
//! Every write names an earlier one (`previous_service_identity_version`). To find which service signed a transaction,
//! CCF follows these links back from the newest write to the first that is not after the transaction, and endorses the
//! key that stands there. That is right only if the links come to the creation of every service: where they lead from a
//! later write of a service past its creation, what lies between is taken for the work of the service before, and its
//! receipts verify against nobody. CCF up to 7.0.0-dev4 links every write to the one before it. Later releases link all
//! writes of a service to the creation of the service before, and start from that of the last one: right as long as no
//! earlier release recovers the ledger, which starts from the last write. A link that is absent, as later releases leave
//! it at the opening of a first service, leads past nothing: that is how every ledger of theirs begins, and not reported.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::scan::{TrustTable, TrustWrite};
use crate::format::Seqno;
use crate::report::{Code, Finding, Severity};
use crate::tables::values::{ServiceInfo, from_json};

/// The writes of `service.info`, by their seqnos.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServiceLinks(BTreeMap<Seqno, Link>);

/// What one write says.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Link {
    /// The earlier write that it names.
    previous: Option<Seqno>,
    /// Seqno at which its service was created; absent before 2.0.3.
    created: Option<Seqno>,
}

/// Transactions of one service which the links pass over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skipped {
    /// The first.
    from: Seqno,
    /// The last.
    to: Seqno,
    /// The write that names an earlier one than it should; the service after it is the last one to do so.
    at: Seqno,
    /// What it names.
    names: Seqno,
    /// Whether the service is the ledger's last: then nothing has gone wrong yet.
    is_last: bool,
}

impl ServiceLinks {
    /// Takes notice of a write; those to other tables, and what can't be read, are passed over.
    pub fn note(&mut self, write: &TrustWrite) {
        let value = write
            .value
            .as_deref()
            .filter(|_| write.table == TrustTable::ServiceInfo);
        if let Some(Ok(info)) = value.map(from_json::<ServiceInfo>) {
            let link = Link {
                previous: info.previous_service_identity_version,
                created: info.current_service_create_txid.map(|txid| txid.seqno),
            };
            self.0.insert(write.seqno, link);
        }
    }

    /// What the links from the last write up to `until` on pass over. What was not read, or does not say when it was
    /// created, is not judged.
    fn skipped(&self, until: Seqno) -> Vec<Skipped> {
        let writes: BTreeMap<Seqno, Link> = self.0.range(..=until).map(|(at, link)| (*at, *link)).collect();
        let Some((&last, newest)) = writes.last_key_value() else {
            return Vec::new();
        };
        let (visited, judged_from) = walk(&writes, last);
        // Creations that were read: each begins a service that goes on to the next.
        let created: BTreeSet<Seqno> = writes.values().filter_map(|link| link.created).collect();
        let created: Vec<Seqno> = created.into_iter().filter(|at| writes.contains_key(at)).collect();
        let ends = created.iter().skip(1).copied().chain([Seqno::MAX]);
        let mut skipped = Vec::new();
        for (&from, end) in created.iter().zip(ends) {
            let first = visited.range(from..end).next().copied();
            // The link that leads past it: from its own first visited write, or from a later service.
            let Some(at) = first.or_else(|| visited.range(end..).next().copied()) else {
                continue;
            };
            let Some(names) = writes.get(&at).and_then(|link| link.previous) else {
                continue;
            };
            if first != Some(from) && from >= judged_from {
                skipped.push(Skipped {
                    from,
                    to: first.unwrap_or(end).saturating_sub(1),
                    at,
                    names,
                    is_last: newest.created == Some(from),
                });
            }
        }
        skipped
    }
}

/// The writes that the links lead to from `last` on, itself included, and the seqno from which on they tell.
fn walk(writes: &BTreeMap<Seqno, Link>, last: Seqno) -> (BTreeSet<Seqno>, Seqno) {
    let mut visited = BTreeSet::from([last]);
    let mut at = last;
    loop {
        match writes.get(&at).and_then(|link| link.previous) {
            None => return (visited, 0),
            // Each is before the one that names it: the walk ends.
            Some(previous) if previous < at && writes.contains_key(&previous) => at = previous,
            // A write that was not read: before a snapshot, or in a part that is missing.
            Some(previous) => return (visited, previous.min(at).saturating_add(1)),
        }
        visited.insert(at);
    }
}

/// Reports the transactions up to the last proven one whose receipts no CCF, or no earlier CCF, can verify.
pub(super) fn check(links: &ServiceLinks, proven_to: Seqno) -> Vec<Finding> {
    links.skipped(proven_to).iter().map(finding).collect()
}

fn finding(skipped: &Skipped) -> Finding {
    let Skipped {
        from, to, at, names, ..
    } = skipped;
    let text = format!(
        "service.info at {at} names the write at {names} as the one before it, expected one that leads to the creation of its service \
         at {from}"
    );
    let finding = match skipped.is_last {
        true => Finding::new(
            Code::ServiceLink,
            format!("{text}: once a CCF up to 7.0.0-dev4 has recovered this ledger, receipts of {from} to {to} don't verify"),
        )
        .severity(Severity::Info)
        .next(
            "nothing, as long as it is recovered with Rekindle or with a CCF later than 7.0.0-dev4; before an earlier CCF \
             recovers it, fetch the receipts that are needed",
        ),
        false => Finding::new(
            Code::ServiceLink,
            format!("{text}: receipts of {from} to {to} that a CCF node gives out don't verify"),
        ),
    };
    finding.seqno(*at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes as (seqno, creation, seqno named); 0 stands for none.
    fn links(writes: &[(Seqno, Seqno, Seqno)]) -> ServiceLinks {
        let some = |seqno| Some(seqno).filter(|seqno| *seqno > 0);
        let link = |created, previous| Link {
            previous: some(previous),
            created: some(created),
        };
        ServiceLinks(
            writes
                .iter()
                .map(|&(at, created, previous)| (at, link(created, previous)))
                .collect(),
        )
    }

    fn ranges(writes: &[(Seqno, Seqno, Seqno)]) -> Vec<(Seqno, Seqno, Seqno, bool)> {
        let skipped = links(writes).skipped(Seqno::MAX);
        skipped.iter().map(|s| (s.from, s.to, s.at, s.is_last)).collect()
    }

    #[test]
    fn a_chain_of_previous_writes_passes_over_nothing() {
        let chain = [(1, 1, 0), (9, 1, 1), (20, 20, 9), (25, 20, 20), (30, 20, 25)];
        assert_eq!(ranges(&chain), []);
        // A certificate renewed by the constitution, which leaves the link as it was.
        assert_eq!(ranges(&[&chain[..], &[(40, 20, 25)]].concat()), []);
        // What Rekindle writes after a service with the later meaning: its creation.
        assert_eq!(
            ranges(&[(1, 1, 0), (9, 1, 0), (20, 20, 1), (25, 20, 20), (30, 20, 25)]),
            []
        );
    }

    #[test]
    fn links_to_creations_are_information_until_an_earlier_ccf_has_recovered() {
        let newer = [(1, 1, 0), (9, 1, 1), (20, 20, 1), (25, 20, 1), (30, 20, 1)];
        assert_eq!(ranges(&newer), [(20, 29, 30, true)]);
        let recovered = [&newer[..], &[(50, 50, 30), (55, 50, 50), (60, 50, 55)]].concat();
        assert_eq!(ranges(&recovered), [(20, 29, 30, false)]);
        // A later CCF names the creation, and all is well.
        let recovered = [&newer[..], &[(50, 50, 20)]].concat();
        assert_eq!(ranges(&recovered), []);
    }

    #[test]
    fn a_service_that_no_link_leads_to_is_passed_over_as_a_whole() {
        let writes = [(1, 1, 0), (20, 20, 1), (30, 20, 20), (50, 50, 1), (60, 50, 50)];
        assert_eq!(ranges(&writes), [(20, 49, 50, false)]);
    }

    #[test]
    fn a_first_service_without_a_link_is_as_later_releases_leave_it() {
        assert_eq!(ranges(&[(1, 1, 0), (9, 1, 0)]), []);
        assert_eq!(ranges(&[(1, 1, 0), (9, 1, 0), (20, 20, 9), (25, 20, 20)]), []);
    }

    #[test]
    fn what_was_not_read_or_is_too_old_to_say_is_not_judged() {
        // From a snapshot on: the first link leads out of what was read.
        assert_eq!(ranges(&[(50, 50, 30), (55, 50, 50), (60, 50, 55)]), []);
        assert_eq!(ranges(&[(55, 50, 50), (60, 50, 55)]), []);
        // 1.x and early 2.x: no creation.
        assert_eq!(ranges(&[(1, 0, 0), (9, 0, 0), (20, 20, 9), (25, 20, 20)]), []);
        // A write between is missing: nothing before the hole is judged.
        assert_eq!(ranges(&[(1, 1, 0), (9, 1, 0), (25, 20, 20), (30, 20, 25)]), []);
        assert_eq!(links(&[(20, 20, 1), (1, 1, 0), (30, 20, 1)]).skipped(29), []);
        assert_eq!(ServiceLinks::default().skipped(9), []);
    }

    #[test]
    fn links_that_lead_nowhere_or_forward_end_the_walk() {
        for previous in [30, 31, Seqno::MAX] {
            assert_eq!(ranges(&[(20, 20, 0), (30, 20, previous)]), [], "{previous}");
        }
    }
}
