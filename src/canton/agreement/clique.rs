//! Who agrees with whom, as bits: the largest set in which everybody agrees with everybody, and the largest connected one.
//!
//! Agreement between two participants is about the contracts that these two share, so A = B and B = C do not give A = C: the
//! support of a tick is a clique. Finding the largest is hard in the worst case; the search counts its steps, and answers
//! honestly where it had to stop.

/// As many SVs as fit into one word of bits. Canton's networks have a few dozen.
pub const MOST_SVS: usize = 64;

/// Neighbours of every vertex; never itself, always both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    neighbours: Vec<u64>,
}

/// A set of vertices.
pub type Set = u64;

/// Steps that a search may still take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What is left.
    pub steps: u64,
    /// Whether a search had to stop for the lack of them: what it found is a clique, but there may be a larger one.
    pub is_spent: bool,
}

impl Budget {
    /// So many.
    pub fn new(steps: u64) -> Budget {
        Budget { steps, is_spent: false }
    }

    fn take(&mut self) -> bool {
        match self.steps.checked_sub(1) {
            Some(left) => self.steps = left,
            None => self.is_spent = true,
        }
        !self.is_spent
    }
}

/// The vertices of a set, smallest first.
pub fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..MOST_SVS).filter(move |vertex| has(set, *vertex))
}

/// Whether a set has this vertex.
pub fn has(set: Set, vertex: usize) -> bool {
    set & bit(vertex) != 0
}

/// The set of one vertex.
pub fn bit(vertex: usize) -> Set {
    u32::try_from(vertex)
        .ok()
        .and_then(|shift| 1u64.checked_shl(shift))
        .unwrap_or(0)
}

/// How many a set has.
pub fn size(set: Set) -> usize {
    set.count_ones() as usize
}

impl Graph {
    /// So many vertices, at most [`MOST_SVS`], and no edges.
    pub fn new(vertices: usize) -> Graph {
        let neighbours = vec![0; vertices.min(MOST_SVS)];
        Graph { neighbours }
    }

    /// Adds the edge of two different vertices, or takes it away.
    pub fn set(&mut self, one: usize, other: usize, is_edge: bool) {
        for (from, to) in [(one, other), (other, one)] {
            if let Some(neighbours) = self.neighbours.get_mut(from)
                && from != to
            {
                match is_edge {
                    true => *neighbours |= bit(to),
                    false => *neighbours &= !bit(to),
                }
            }
        }
    }

    /// Who agrees with this one.
    pub fn neighbours(&self, vertex: usize) -> Set {
        self.neighbours.get(vertex).copied().unwrap_or(0)
    }

    /// The largest clique among `alive`, if it has more than `floor` members; where the budget is spent, the largest found
    /// until then.
    pub fn clique_above(&self, alive: Set, floor: usize, budget: &mut Budget) -> Option<Set> {
        let mut best = (floor, None);
        self.grow(0, alive & all(self.neighbours.len()), &mut best, budget);
        best.1
    }

    /// Branch and bound: `candidates` are adjacent to all of `clique`. They are coloured greedily, and a clique takes at most
    /// one of each colour. Recursion is as deep as a clique is large.
    fn grow(&self, clique: Set, candidates: Set, best: &mut (usize, Option<Set>), budget: &mut Budget) {
        if candidates == 0 {
            if size(clique) > best.0 {
                *best = (size(clique), Some(clique));
            }
            return;
        }
        let mut left = candidates;
        for (vertex, colours) in self.coloured(candidates).into_iter().rev() {
            if size(clique) + colours <= best.0 || !budget.take() {
                return;
            }
            self.grow(clique | bit(vertex), left & self.neighbours(vertex), best, budget);
            left &= !bit(vertex);
        }
    }

    /// The vertices, each with how many colours it and those before it need.
    fn coloured(&self, vertices: Set) -> Vec<(usize, usize)> {
        let mut coloured = Vec::with_capacity(size(vertices));
        let mut left = vertices;
        let mut colours = 0;
        while left != 0 {
            colours += 1;
            let mut free = left;
            while free != 0 {
                let vertex = free.trailing_zeros() as usize;
                coloured.push((vertex, colours));
                left &= !bit(vertex);
                free &= !(bit(vertex) | self.neighbours(vertex));
            }
        }
        coloured
    }

    /// Of all cliques of this size the one that has the first vertices of `order`, so that equal evidence gives an equal
    /// answer; `found`, which is one of them, where the budget is spent.
    pub fn first_clique(&self, alive: Set, found: Set, order: &[usize], budget: &mut Budget) -> Set {
        let wanted = size(found);
        let (mut chosen, mut candidates) = (0, alive & all(self.neighbours.len()));
        for &vertex in order {
            let left = wanted - size(chosen);
            if left == 0 || !has(candidates, vertex) {
                continue;
            }
            let with = candidates & self.neighbours(vertex);
            let fits = left == 1 || self.clique_above(with, left - 2, budget).is_some();
            if budget.is_spent {
                return found;
            }
            match fits {
                true => (chosen, candidates) = (chosen | bit(vertex), with),
                false => candidates &= !bit(vertex),
            }
        }
        chosen
    }

    /// The largest set among `alive` that hangs together, if it has more than `floor` members; of several the one with the
    /// first vertex of `order`.
    pub fn component_above(&self, alive: Set, floor: usize, order: &[usize]) -> Option<Set> {
        let mut best = (floor, None);
        let mut left = alive & all(self.neighbours.len());
        for &start in order {
            if !has(left, start) {
                continue;
            }
            let (mut component, mut edge) = (bit(start), bit(start));
            while edge != 0 {
                let next = members(edge).fold(0, |next, vertex| next | self.neighbours(vertex)) & left & !component;
                component |= next;
                edge = next;
            }
            left &= !component;
            if size(component) > best.0 {
                best = (size(component), Some(component));
            }
        }
        best.1
    }
}

fn all(vertices: usize) -> Set {
    (0..vertices).fold(0, |set, vertex| set | bit(vertex))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(vertices: usize, edges: &[(usize, usize)]) -> Graph {
        let mut graph = Graph::new(vertices);
        edges.iter().for_each(|(a, b)| graph.set(*a, *b, true));
        graph
    }

    fn is_clique(graph: &Graph, set: Set) -> bool {
        members(set).all(|a| members(set).all(|b| a == b || has(graph.neighbours(a), b)))
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_every_set_finds(
            edges in prop::collection::vec((0usize..8, 0usize..8), 0..40), alive in 0u64..256, floor in 0usize..5,
            order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let graph = graph(8, &edges);
            let cliques: Vec<Set> = (1..256).filter(|set| set & !alive == 0 && is_clique(&graph, *set)).collect();
            let largest = cliques.iter().map(|set| size(*set)).max().unwrap_or(0);
            let mut budget = Budget::new(100_000);
            let found = graph.clique_above(alive, floor, &mut budget);
            prop_assert!(!budget.is_spent);
            prop_assert_eq!(found.map(size), (largest > floor).then_some(largest));
            if let Some(found) = found {
                let rank = |set: &Set| order.iter().map(|vertex| !has(*set, *vertex)).collect::<Vec<bool>>();
                let first = cliques.iter().filter(|set| size(**set) == largest).min_by_key(|set| rank(set)).unwrap();
                prop_assert_eq!(graph.first_clique(alive, found, &order, &mut budget), *first);
            }
        }
    }

    #[test]
    fn sixty_four_in_which_everybody_misses_two_are_decided_within_the_budget() {
        // Moon and Moser's: of each three one, which is 3^21 cliques of the same size.
        let mut graph = Graph::new(63);
        for a in 0..63 {
            (0..63).filter(|b| a / 3 != b / 3).for_each(|b| graph.set(a, b, true));
        }
        let mut budget = Budget::new(10_000);
        assert_eq!(graph.clique_above(u64::MAX, 0, &mut budget).map(size), Some(21));
        assert!(!budget.is_spent);
    }

    #[test]
    fn a_search_that_had_to_stop_says_so_and_gives_a_clique() {
        let mut graph = Graph::new(64);
        let mut state = 1u64;
        for a in 0..64 {
            for b in 0..a {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                graph.set(a, b, state >> 33 & 7 > 0);
            }
        }
        let mut budget = Budget::new(60);
        let found = graph.clique_above(u64::MAX, 0, &mut budget).unwrap_or(0);
        assert!(budget.is_spent && is_clique(&graph, found));
        let mut budget = Budget::new(5_000_000);
        let whole = graph.clique_above(u64::MAX, 0, &mut budget).unwrap();
        assert!(!budget.is_spent && size(whole) >= size(found));
    }

    #[test]
    fn components_hang_together_and_the_first_of_equals_wins() {
        let graph = graph(6, &[(0, 1), (1, 2), (3, 4), (4, 5)]);
        let order: Vec<usize> = (0..6).collect();
        let reversed: Vec<usize> = (0..6).rev().collect();
        assert_eq!(graph.component_above(u64::MAX, 0, &order), Some(0b111));
        assert_eq!(graph.component_above(u64::MAX, 0, &reversed), Some(0b11_1000));
        assert_eq!(graph.component_above(!0b10, 0, &order), Some(0b11_1000));
        assert_eq!(graph.component_above(u64::MAX, 3, &order), None);
    }
}
