//! What was made up to fool the watch.

use super::made_up::*;
use crate::watch::answers::*;
use crate::watch::judgement::State;

const LOST: State = State::RecoveryNeeded;

fn never_lost(states: &[(u64, State)]) {
    assert!(states.iter().all(|(_, state)| *state != LOST), "{states:?}");
}

#[test]
fn an_address_that_refused_us_while_its_node_was_heard_elsewhere_says_nothing_of_it() {
    // Published as 127.0.0.1, in another network, for another protocol: what answers there is not the node.
    for failure in [Failure::Refused, Failure::Closed, Failure::Nonsense, Failure::Silent] {
        let mut it = Made::of(3);
        let states = it.passes(10_000, |it| {
            it.answers(1, leads(1, 4, 3, &[(2, 30), (3, 60)]));
            it.fails(2, failure);
            it.fails(3, failure);
        });
        assert_eq!(states.last().unwrap().1, State::Stable);
        // Only the one that we reach dies: the others elect another, where we do not see it.
        let states = it.passes(20_000, |it| {
            (1..=3).for_each(|number| it.fails(number, if number == 1 { Failure::Refused } else { failure }))
        });
        never_lost(&states);
        assert_eq!(states.last().unwrap().1, State::Unavailable, "{failure:?}");
        // One that answers there proves the address: from then on it counts.
        it.passes(1000, |it| all_well(it, &[]));
        let died = it.now;
        let states = it.passes(5000, |it| (1..=3).for_each(|number| it.fails(number, failure)));
        let (at, state) = *states.last().unwrap();
        assert_eq!(state, LOST, "{failure:?}");
        assert!(
            failure == Failure::Closed || at - died <= 2 * ELECTION,
            "{failure:?}: {states:?}"
        );
    }
}

#[test]
fn nodes_that_are_dead_when_the_watch_begins_are_lost() {
    let mut it = Made::of(3);
    let states = it.passes(4000, |it| {
        it.fails(1, Failure::Refused);
        it.fails(2, Failure::Refused);
        it.answers(3, stands(5 + it.now / 900, 3));
    });
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST, "{states:?}");
    assert!(at <= 2 * ELECTION, "{states:?}");
}
