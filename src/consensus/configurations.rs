//! Who takes part: the active configurations, what each must agree on, and who has left (node-to-node 6 and 9).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::channel::NodeId;
use crate::format::Seqno;

/// The nodes that take part from an entry on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The entry that wrote it.
    pub seqno: Seqno,
    /// The Trusted nodes after it.
    pub nodes: BTreeSet<NodeId>,
}

impl Configuration {
    /// More than half of its nodes are such.
    pub(super) fn majority(&self, is_such: impl Fn(&NodeId) -> bool) -> bool {
        self.nodes.iter().filter(|node| is_such(node)).count() > self.nodes.len() / 2
    }

    /// The greatest seqno that a majority has: of the matches in rising order the one at (n-1)/2.
    fn agreed(&self, has: impl Fn(&NodeId) -> Seqno) -> Seqno {
        let mut matches: Vec<Seqno> = self.nodes.iter().map(has).collect();
        matches.sort_unstable();
        let middle = matches.len().saturating_sub(1) / 2;
        matches.get(middle).copied().unwrap_or(0)
    }
}

/// What an entry changes in `nodes.info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesChange {
    /// All nodes that are Trusted after it.
    pub trusted: BTreeSet<NodeId>,
    /// Nodes that it made Retired.
    pub retired: BTreeSet<NodeId>,
    /// Nodes that it marked `retired_committed`.
    pub retired_committed: BTreeSet<NodeId>,
}

/// A node that was retired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// The entry that made it Retired.
    pub retired: Seqno,
    /// The entry that marked it `retired_committed`.
    pub marked: Option<Seqno>,
    /// The signature that committed the mark, and when this was seen.
    pub(super) complete: Option<(Seqno, Duration)>,
    /// It took part in a configuration of this service.
    pub(super) took_part: bool,
    /// Greater views that it has brought since it left for good, and when the last one.
    pub(super) views: Views,
}

/// Greater views of a node that has left for good that count. It stands where it does not know that it has left, and is told by
/// whoever leads then; one that goes on could keep the others from being led for ever, and nobody could remove it.
const VIEWS_OF_WHO_LEFT: u32 = 32;

/// Active configurations, oldest first, and departures.
#[derive(Clone, Debug, Default)]
pub(super) struct Configurations {
    /// The committed one, if any, and all later ones.
    active: VecDeque<Configuration>,
    departures: BTreeMap<NodeId, Departure>,
    /// Nodes that are in no configuration here, and the greater views that each has brought.
    unknown: BTreeMap<NodeId, Views>,
}

/// How many, and when the last one.
type Views = (u32, Option<Duration>);

impl Configurations {
    pub(super) fn new(active: Vec<Configuration>, departures: BTreeMap<NodeId, Departure>) -> Configurations {
        Configurations {
            active: active.into(),
            departures,
            unknown: BTreeMap::new(),
        }
    }

    pub(super) fn active(&self) -> impl DoubleEndedIterator<Item = &Configuration> {
        self.active.iter()
    }

    /// The committed one, where any is.
    pub(super) fn oldest(&self) -> Option<&Configuration> {
        self.active.front()
    }

    pub(super) fn newest(&self) -> Option<&Configuration> {
        self.active.back()
    }

    /// Takes part in any active configuration.
    pub(super) fn is_active(&self, node: &NodeId) -> bool {
        self.active
            .iter()
            .any(|configuration| configuration.nodes.contains(node))
    }

    /// Everybody who does.
    pub(super) fn nodes(&self) -> BTreeSet<NodeId> {
        self.active
            .iter()
            .flat_map(|configuration| configuration.nodes.iter().copied())
            .collect()
    }

    /// How a node left; none for one that takes part in the newest configuration.
    pub(super) fn departure(&self, node: &NodeId) -> Option<&Departure> {
        let is_in = self.newest().is_some_and(|newest| newest.nodes.contains(node));
        self.departures.get(node).filter(|_| !is_in)
    }

    pub(super) fn departures(&self) -> impl Iterator<Item = (&NodeId, &Departure)> {
        self.departures.iter()
    }

    /// A node that left shows that it does not know: it counts as if it had left now.
    pub(super) fn seen_again(&mut self, node: &NodeId, now: Duration) {
        if let Some(Departure {
            complete: Some((_, since)),
            ..
        }) = self.departures.get_mut(node)
        {
            *since = now;
        }
    }

    /// Whether a node may bring a greater view. Who has left for good may not know it, nor who was let in by an entry that was
    /// given up, or replaced by another leader's: it counts now and then, and not for ever. But where nobody leads, whoever is not
    /// known may be the one who is to: this node may be far behind.
    pub(super) fn may_bring_view(&mut self, node: &NodeId, is_led: bool, now: Duration, pause: Duration) -> bool {
        // Who has nothing yet knows nobody.
        if self.active.is_empty() || self.is_active(node) {
            self.unknown.remove(node);
            return true;
        }
        let views = match self.departures.get_mut(node) {
            Some(departure) if departure.complete.is_none() => return true,
            Some(departure) => &mut departure.views,
            None if !is_led => return true,
            None => self.unknown.entry(*node).or_default(),
        };
        let (count, last) = *views;
        let may = count < VIEWS_OF_WHO_LEFT && last.is_none_or(|last| now >= last + pause);
        if may {
            *views = (count + 1, Some(now));
        }
        may
    }

    /// An entry at `seqno` changes nodes.
    pub(super) fn append(&mut self, seqno: Seqno, change: &NodesChange) {
        let before = self
            .active
            .back()
            .map(|newest| newest.nodes.clone())
            .unwrap_or_default();
        for node in before.difference(&change.trusted).chain(&change.retired) {
            let departure = self.departures.entry(*node).or_insert(Departure {
                retired: seqno,
                ..Departure::default()
            });
            departure.took_part |= before.contains(node);
        }
        for node in &change.retired_committed {
            let departure = self.departures.entry(*node).or_insert(Departure {
                retired: seqno,
                ..Departure::default()
            });
            departure.marked = departure.marked.or(Some(seqno));
        }
        if self.active.is_empty() || before != change.trusted {
            self.active.push_back(Configuration {
                seqno,
                nodes: change.trusted.clone(),
            });
        }
    }

    pub(super) fn roll_back(&mut self, to: Seqno) {
        while self.active.back().is_some_and(|newest| newest.seqno > to) {
            self.active.pop_back();
        }
        self.departures.retain(|_, departure| departure.retired <= to);
        for departure in self.departures.values_mut() {
            departure.marked = departure.marked.filter(|marked| *marked <= to);
        }
    }

    /// Everything up to a seqno is committed: what a later committed configuration replaces is not active any more.
    pub(super) fn commit(&mut self, seqno: Seqno, now: Duration) {
        while self.active.get(1).is_some_and(|next| next.seqno <= seqno) {
            self.active.pop_front();
        }
        for departure in self.departures.values_mut() {
            if departure.complete.is_none() && departure.marked.is_some_and(|marked| marked <= seqno) {
                departure.complete = Some((seqno, now));
            }
        }
    }

    /// Whether in every active configuration a majority is such; not where there is none.
    pub(super) fn majorities(&self, is_such: impl Fn(&NodeId) -> bool) -> bool {
        !self.active.is_empty() && self.active.iter().all(|configuration| configuration.majority(&is_such))
    }

    /// The greatest seqno that a majority of every active configuration has, of which `only_newest` is a mistake that
    /// tests make on purpose.
    pub(super) fn agreed(&self, has: impl Fn(&NodeId) -> Seqno, only_newest: bool) -> Seqno {
        let skipped = if only_newest {
            self.active.len().saturating_sub(1)
        } else {
            0
        };
        let agreed = self
            .active
            .iter()
            .skip(skipped)
            .map(|configuration| configuration.agreed(&has));
        agreed.min().unwrap_or(0)
    }
}
