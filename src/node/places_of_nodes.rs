//! How many requests of each node are answered at the same time: one that passes on too much leaves places for the others'.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::channel::NodeId;

/// Requests of one node that are at work at the same time: what one node passes on must leave places for others'.
const MOST_EACH: usize = 64;

/// How many requests of each node are at work.
#[derive(Default)]
pub struct PlacesOfNodes(BTreeMap<NodeId, Arc<()>>);

impl PlacesOfNodes {
    /// A place for a request of a node, kept as long as what is answered lives; none where it has too many.
    pub fn enter(&mut self, of: NodeId) -> Option<Arc<()>> {
        self.0.retain(|_, taken| Arc::strong_count(taken) > 1);
        let taken = self.0.entry(of).or_default();
        (Arc::strong_count(taken) <= MOST_EACH).then(|| Arc::clone(taken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_passes_on_too_much_leaves_places_for_others() {
        let mut places = PlacesOfNodes::default();
        let taken: Vec<_> = (0..MOST_EACH).map(|_| places.enter(NodeId([1; 32])).unwrap()).collect();
        assert!(places.enter(NodeId([1; 32])).is_none());
        assert!(places.enter(NodeId([2; 32])).is_some());
        drop(taken);
        assert!(places.enter(NodeId([1; 32])).is_some());
    }
}
