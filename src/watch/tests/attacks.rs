//! What was made up to fool the watch.

use super::made_up::*;
use crate::watch::answers::*;
use crate::watch::judgement::State;

const LOST: State = State::RecoveryNeeded;

fn never_lost(states: &[(u64, State)]) {
    assert!(states.iter().all(|(_, state)| *state != LOST), "{states:?}");
}

/// Where everybody is published, as the service says.
fn published(it: &mut Made, number: u8, consensus: Consensus) {
    let mut answered = answered(number, consensus);
    let listed = |number| Listed {
        id: id(number),
        status: "Trusted".to_owned(),
        addresses: vec![address(number)],
    };
    answered.nodes = Some((1..=it.of).map(listed).collect());
    it.look(&address(number), it.now, Outcome::Answered(Box::new(answered)));
}

#[test]
fn an_address_that_refused_us_while_its_node_was_heard_elsewhere_says_nothing_of_it() {
    // Published as 127.0.0.1, in another network, for another protocol: what answers there is not the node.
    for failure in [Failure::Refused, Failure::Closed, Failure::Nonsense, Failure::Silent] {
        let mut it = Made::of(3);
        let states = it.passes(10_000, |it| {
            published(it, 1, leads(1, 4, 3, &[(2, 30), (3, 60)]));
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
        let states = it.passes(6000, |it| (1..=3).for_each(|number| it.fails(number, failure)));
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
        let consensus = stands(5 + it.now / 900, 3);
        published(it, 3, consensus);
    });
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST, "{states:?}");
    assert!(at <= 2 * ELECTION, "{states:?}");
}
