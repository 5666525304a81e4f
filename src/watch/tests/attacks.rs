//! What was made up to fool the watch.

use super::made_up::*;
use crate::watch::answers::*;
use crate::watch::judgement::{Standing, State};
use crate::watch::known::Known;

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
        if failure == Failure::Nonsense {
            // What is no node stands between us and all of them.
            never_lost(&states);
            continue;
        }
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

/// A configuration of these nodes, from a seqno on.
fn of(seqno: u64, nodes: impl IntoIterator<Item = u8>) -> Configuration {
    Configuration {
        seqno,
        nodes: nodes.into_iter().map(id).collect(),
    }
}

/// Everybody but the last says what is true; the last says this.
fn with_a_liar(it: &mut Made, lie: &Consensus) {
    let liar = it.of;
    all_well(it, &[liar]);
    it.answers(liar, lie.clone());
}

#[test]
fn one_node_does_not_say_who_makes_up_the_service_where_others_say_otherwise() {
    // Nodes that nobody else knows, of whom none is ever heard, would be a loss; itself alone would hide one.
    for nodes in [vec![5, 77, 78, 79], vec![5]] {
        for view in [4, u64::MAX] {
            let mut it = Made::of(5);
            it.healthy();
            let mut lie = follows(1, view, 5);
            lie.configurations = vec![of(u64::MAX, nodes.clone())];
            let states = it.passes(30_000, |it| with_a_liar(it, &lie));
            never_lost(&states);
            let judged = it.judged();
            assert_eq!(judged.primary, Some(id(1)), "{:?}", judged.evidence);
            assert_eq!(judged.configurations[0].seqno, 100);
            assert!(
                !it.known.members.contains_key(&id(77)),
                "who is invented is not remembered"
            );
            // And a real loss is one, whatever it says.
            (lie.leadership, lie.primary) = (Leadership::Leader, Some(id(5)));
            let died = it.now;
            let states = it.passes(4000, |it| {
                (1..=3).for_each(|number| it.fails(number, Failure::Refused));
                it.answers(4, stands(5 + (it.now - died) / 900, 5));
                it.answers(5, lie.clone());
            });
            let (at, state) = *states.last().unwrap();
            assert_eq!(state, LOST, "{states:?}");
            assert!(at - died <= 2 * ELECTION, "{states:?}");
        }
    }
}

#[test]
fn a_configuration_to_come_that_one_node_invents_asks_for_no_majority() {
    let mut it = Made::of(3);
    it.healthy();
    let mut lie = follows(1, 4, 3);
    lie.configurations.push(of(1000, [3, 77, 78, 79]));
    let states = it.passes(30_000, |it| with_a_liar(it, &lie));
    assert_eq!(
        states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
        [State::Stable]
    );
}

#[test]
fn a_view_of_the_future_that_one_node_claims_does_not_change_the_primary() {
    let mut it = Made::of(3);
    it.healthy();
    // It claims to lead, and to hear everybody.
    let lie = leads(3, u64::MAX, 3, &[(1, 0), (2, 0)]);
    let states = it.passes(10_000, |it| with_a_liar(it, &lie));
    never_lost(&states);
    let judged = it.judged();
    assert_eq!((judged.primary, judged.view), (Some(id(1)), Some(4)));
    assert_eq!(judged.state, State::Partition, "that one says otherwise is said");
}

#[test]
fn one_node_s_word_for_the_life_of_others_does_not_hide_their_loss_where_another_denies_it() {
    // Of five, three die; 4 says what is true, 5 claims that all is well, by leading or by following.
    for lie in [leads(5, 9, 5, &[(1, 0), (2, 0), (3, 0), (4, 0)]), follows(1, 4, 5)] {
        let mut it = Made::of(5);
        it.healthy();
        let died = it.now;
        let states = it.passes(8000, |it| {
            (1..=3).for_each(|number| it.fails(number, Failure::Refused));
            it.answers(4, stands(5 + (it.now - died) / 900, 5));
            it.answers(5, lie.clone());
        });
        let (at, state) = *states.last().unwrap();
        assert_eq!(state, LOST, "{states:?} {:?}", it.judged().evidence);
        assert!(at - died <= 6 * ELECTION, "{states:?}");
        assert_eq!(it.judged().primary, None, "nobody leads by the word of the dead");
    }
}

#[test]
fn a_node_that_is_heard_by_a_leader_lives_though_another_has_lost_its_primary() {
    // 2 to 4 are out of our sight, each in the way that says least; 5 is cut off from 1.
    for failure in [Failure::Unreachable, Failure::Closed, Failure::Nonsense, Failure::Ours] {
        let mut it = Made::of(5);
        it.healthy();
        let cut = it.now;
        let states = it.passes(30_000, |it| {
            it.answers(1, leads(1, 4, 5, &[(2, 30), (3, 30), (4, 30), (5, it.now - cut)]));
            (2..=4).for_each(|number| it.fails(number, failure));
            it.answers(5, stands(5, 5));
        });
        never_lost(&states);
    }
}

#[test]
fn nobody_s_listing_leads_away_from_where_a_node_answers() {
    let mut it = Made::of(3);
    it.known = Known::new(settings(), [address(3)]);
    let listed = |number: u8, at: String| Listed {
        id: id(number),
        status: "Trusted".to_owned(),
        addresses: vec![at],
    };
    let mut first = answered(3, follows(1, 4, 3));
    first.nodes = Some((1..=3).map(|number| listed(number, address(number))).collect());
    it.now = 100;
    it.look(&address(3), 100, Outcome::Answered(Box::new(first.clone())));
    it.passes(1000, |it| all_well(it, &[]));
    // From now on 3 lists the others where nobody listens.
    first.nodes = Some(
        (1..=2)
            .map(|number| listed(number, format!("127.0.0.1:{number}")))
            .collect(),
    );
    let states = it.passes(20_000, |it| {
        let now = it.now;
        it.look(&address(3), now, Outcome::Answered(Box::new(first.clone())));
        for number in [1, 2] {
            it.look(
                &format!("127.0.0.1:{number}"),
                now,
                Outcome::Failed(Failure::Refused, "refused".to_owned()),
            );
            assert!(
                it.known.places.contains_key(&address(number)),
                "asked no more where it answers"
            );
        }
        all_well(it, &[3]);
    });
    assert_eq!(
        states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
        [State::Stable]
    );
}

#[test]
fn an_address_that_leads_to_several_nodes_says_nothing_of_the_end_of_one() {
    // Five nodes behind one address that all are published at, which leads us to 2 only; 1, which leads, dies, and the others elect.
    let shared = "balancer:443";
    for fails in [None, Some(Failure::Refused), Some(Failure::Silent)] {
        let mut it = Made::of(5);
        it.known = Known::new(settings(), [shared.to_owned()]);
        let look = |it: &mut Made, number: u8, consensus: Consensus| {
            let mut answered = answered(number, consensus);
            let listed = |number| Listed {
                id: id(number),
                status: "Trusted".to_owned(),
                addresses: vec![shared.to_owned()],
            };
            answered.nodes = Some((1..=5).map(listed).collect());
            it.look(shared, it.now, Outcome::Answered(Box::new(answered)));
        };
        let states = it.passes(10_000, |it| look(it, 2, follows(1, 4, 5)));
        never_lost(&states);
        let died = it.now;
        let states = it.passes(2500, |it| match it.now - died {
            ..=1000 => look(it, 2, follows(1, 4, 5)),
            _ => look(it, 2, stands(5, 5)),
        });
        never_lost(&states);
        let states = it.passes(5000, |it| look(it, 2, follows(3, 5, 5)));
        never_lost(&states);
        // It leads to one after the other, and then to nobody: what has ended is the balancer.
        let states = it.passes(8000, |it| {
            let number = u8::try_from(1 + it.now / 100 % 5).unwrap();
            let consensus = if number == 3 {
                leads(3, 5, 5, &[(2, 50), (4, 50), (5, 50)])
            } else {
                follows(3, 5, 5)
            };
            look(it, number, consensus);
        });
        never_lost(&states);
        if let Some(failure) = fails {
            let states = it.passes(20_000, |it| {
                it.look(shared, it.now, Outcome::Failed(failure, "gone".to_owned()));
            });
            never_lost(&states);
            assert_eq!(states.last().unwrap().1, State::Unavailable);
        }
    }
}

#[test]
fn nodes_that_only_others_ever_heard_are_not_lost_in_the_dark() {
    // 2 and 3 are published by names that resolve inside only; a witness says that our own network works; 1, which led, dies.
    let mut it = Made::of(3);
    it.known = Known::new(settings(), [address(1)]);
    let states = it.passes(10_000, |it| {
        published(it, 1, leads(1, 4, 3, &[(2, 30), (3, 60)]));
        it.known.witnessed = Some(ms(it.now));
        it.fails(2, Failure::Ours);
        it.fails(3, Failure::Ours);
    });
    assert_eq!(states.last().unwrap().1, State::Stable);
    let states = it.passes(30_000, |it| {
        it.known.witnessed = Some(ms(it.now));
        it.fails(1, Failure::Refused);
        it.fails(2, Failure::Ours);
        it.fails(3, Failure::Ours);
    });
    never_lost(&states);
    assert_eq!(states.last().unwrap().1, State::Unavailable);
    let stands = |it: &mut Made, number: u8| {
        let judged = it.judged();
        judged.nodes.iter().find(|node| node.id == id(number)).unwrap().standing
    };
    assert_eq!(
        (stands(&mut it, 1), stands(&mut it, 2)),
        (Standing::Lost, Standing::Silent)
    );
}

#[test]
fn what_is_no_node_and_answers_at_every_address_is_none_of_their_ends() {
    let mut it = Made::of(3);
    it.healthy();
    let states = it.passes(30_000, |it| {
        (1..=3).for_each(|number| it.fails(number, Failure::Nonsense))
    });
    never_lost(&states);
    // Nor is its key, before it has said anything.
    let states = it.passes(10_000, |it| {
        for number in 1..=3 {
            let nothing = Answered::nothing(Vouched::ByItsKey, id(200));
            it.look(&address(number), it.now, Outcome::Answered(Box::new(nothing)));
            it.fails(number, Failure::Nonsense);
        }
    });
    never_lost(&states);
    let judged = it.judged();
    assert_eq!(judged.state, State::Unavailable);
    let says = |word: &str| judged.evidence.iter().any(|why| why.contains(word));
    assert!(says("says nothing of the node"), "{:?}", judged.evidence);
    // One of them replaced by it, the others alive: it is lost, later.
    let mut it = Made::of(3);
    it.healthy();
    let states = it.passes(30_000, |it| {
        it.fails(1, Failure::Nonsense);
        it.fails(2, Failure::Nonsense);
        it.answers(3, stands(5 + it.now / 900, 3));
    });
    assert_eq!(states.last().unwrap().1, LOST);
}
