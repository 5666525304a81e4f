//! One sentence each.

use super::made_up::*;
use crate::watch::answers::*;
use crate::watch::judgement::{Standing, State};

const LOST: State = State::RecoveryNeeded;

fn never_lost(states: &[(u64, State)]) {
    assert!(states.iter().all(|(_, state)| *state != LOST), "{states:?}");
}

#[test]
fn a_majority_that_is_refused_is_lost_within_two_time_outs_and_not_before_one() {
    let mut it = Made::of(3);
    it.healthy();
    // 1, which led, and 2 die; 3 follows for a while, and stands then.
    let died = it.now;
    let states = it.passes(4000, |it| {
        it.fails(1, Failure::Refused);
        it.fails(2, Failure::Refused);
        let consensus = if it.now - died < 900 {
            follows(1, 4, 3)
        } else {
            stands(5 + (it.now - died) / 900, 3)
        };
        it.answers(3, consensus);
    });
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST, "{states:?}");
    assert!(at - died > ELECTION && at - died <= 2 * ELECTION, "{states:?}");
    let only: Vec<State> = states.iter().map(|(_, state)| *state).collect();
    assert_eq!(only, [State::Stable, State::Election, LOST]);
    let evidence = it.judged().evidence;
    assert!(
        evidence
            .iter()
            .any(|why| why.contains("2 of its 3 nodes are needed, 1 are left")),
        "{evidence:?}"
    );
}

#[test]
fn nodes_that_take_connections_and_answer_nothing_are_lost_like_those_that_refuse() {
    let mut it = Made::of(3);
    it.healthy();
    let stopped = it.now;
    let states = it.passes(4000, |it| {
        for number in 1..=3 {
            it.look(&address(number), it.now, Outcome::Connected);
        }
    });
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST);
    assert!(at - stopped > ELECTION && at - stopped <= 2 * ELECTION, "{states:?}");
    // They go on: what was said is taken back.
    let states = it.passes(1000, |it| all_well(it, &[]));
    assert_eq!(states, [(it.now - 900, State::Stable)]);
}

#[test]
fn an_election_is_no_loss_however_long_as_a_majority_lives() {
    let mut it = Made::of(3);
    it.healthy();
    let died = it.now;
    let states = it.passes(20_000, |it| {
        it.fails(1, Failure::Refused);
        for number in [2, 3] {
            it.answers(number, stands(5 + (it.now - died) / 900, 3));
        }
    });
    let only: Vec<State> = states.iter().map(|(_, state)| *state).collect();
    assert_eq!(only, [State::Election, State::Unavailable], "{states:?}");
    let states = it.passes(1000, |it| {
        it.fails(1, Failure::Refused);
        it.answers(2, leads(2, 30, 3, &[(1, 30_000), (3, 40)]));
        it.answers(3, follows(2, 30, 3));
    });
    assert_eq!(states.last().unwrap().1, State::Stable);
}

#[test]
fn nodes_that_we_do_not_reach_live_as_long_as_the_leader_hears_them() {
    for failure in [Failure::Unreachable, Failure::Refused, Failure::Silent] {
        let mut it = Made::of(3);
        it.healthy();
        let states = it.passes(60_000, |it| {
            it.answers(1, leads(1, 4, 3, &[(2, 30), (3, 60)]));
            it.fails(2, failure);
            it.fails(3, failure);
        });
        assert_eq!(
            states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
            [State::Stable],
            "{failure:?}"
        );
        assert!(
            it.judged()
                .nodes
                .iter()
                .filter(|node| node.standing == Standing::HeardOf)
                .count()
                == 2
        );
    }
}

#[test]
fn a_single_follower_that_we_reach_proves_a_majority_as_long_as_it_follows() {
    // Of five: who follows somebody proves that somebody leads, and leads a majority.
    for of in [3, 5] {
        for failure in [Failure::Unreachable, Failure::Refused] {
            let mut it = Made::of(of);
            it.healthy();
            let states = it.passes(30_000, |it| {
                (1..it.of).for_each(|number| it.fails(number, failure));
                it.answers(it.of, follows(1, 4, it.of));
            });
            assert_eq!(
                states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
                [State::Stable],
                "{of} {failure:?} {states:?}"
            );
        }
    }
}

#[test]
fn where_nothing_answers_at_all_the_fault_may_be_ours_and_nothing_is_declared() {
    for failure in [Failure::Unreachable, Failure::Ours] {
        let mut it = Made::of(3);
        it.healthy();
        let states = it.passes(600_000, |it| (1..=3).for_each(|number| it.fails(number, failure)));
        never_lost(&states);
        assert_eq!(states.last().unwrap().1, State::Unavailable);
        assert!(
            it.judged()
                .evidence
                .iter()
                .any(|why| why.contains("this machine's network"))
        );
    }
}

#[test]
fn a_witness_that_answers_tells_a_service_that_vanished_from_our_own_network() {
    let mut it = Made::of(3);
    it.healthy();
    let vanished = it.now;
    let states = it.passes(10_000, |it| {
        it.known.witnessed = Some(ms(it.now));
        (1..=3).for_each(|number| it.fails(number, Failure::Unreachable));
    });
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST);
    assert!(at - vanished <= 6 * ELECTION, "{states:?}");
}

#[test]
fn who_hangs_up_runs_and_is_given_longer() {
    let mut it = Made::of(3);
    it.healthy();
    let states = it.passes(3500, |it| (1..=3).for_each(|number| it.fails(number, Failure::Closed)));
    never_lost(&states);
    let states = it.passes(4500, |it| (1..=3).for_each(|number| it.fails(number, Failure::Closed)));
    assert_eq!(states.last().unwrap().1, LOST);
}

#[test]
fn a_slow_service_whose_answers_come_is_none_that_is_lost() {
    let mut it = Made::of(3);
    it.healthy();
    // Each answer takes 1.4 time-outs, and looks overlap.
    let states = it.passes(20_000, |it| {
        for number in 1..=3 {
            it.look(&address(number), it.now, Outcome::Connected);
            let consensus = if number == 1 {
                leads(1, 4, 3, &[(2, 50), (3, 50)])
            } else {
                follows(1, 4, 3)
            };
            let asked = it.now.saturating_sub(1400);
            it.look(
                &address(number),
                asked,
                Outcome::Answered(Box::new(answered(number, consensus))),
            );
        }
    });
    never_lost(&states);
    assert_eq!(states.last().unwrap().1, State::Stable, "{states:?}");
}

#[test]
fn a_node_that_has_taken_anothers_address_does_not_live_for_it() {
    let mut it = Made::of(3);
    it.healthy();
    // 2 and 3 died, and were started anew: other ids, no part of any configuration.
    let states = it.passes(4000, |it| {
        it.answers(1, stands(6, 3));
        for number in [2, 3] {
            let mut other = answered(number + 100, takes_part(Leadership::None, None, 0, 0));
            other.vouched = Vouched::ByItsKey;
            other.consensus = None;
            it.look(&address(number), it.now, Outcome::Answered(Box::new(other)));
        }
    });
    assert_eq!(states.last().unwrap().1, LOST);
}

#[test]
fn a_service_that_was_recovered_since_is_said_to_answer_in_place_of_the_old_one() {
    let mut it = Made::of(3);
    it.healthy();
    it.known.recoveries = Some(1);
    let states = it.passes(4000, |it| {
        it.fails(2, Failure::Refused);
        it.fails(3, Failure::Refused);
        let mut other = answered(100, leads(100, 6, 0, &[]));
        other.vouched = Vouched::ByNobody("another service answers".to_owned());
        other.network = Some(Network {
            recoveries: Some(2),
            ..Network::default()
        });
        it.look(&address(1), it.now, Outcome::Answered(Box::new(other)));
    });
    assert_eq!(states.last().unwrap().1, State::Replaced);
    // Nothing that it says is taken for the word of the service.
    assert!(it.known.members.keys().all(|member| *member != id(100)));
}

#[test]
fn a_majority_is_needed_in_every_current_configuration() {
    let both = |view: u64| {
        let mut consensus = leads(1, view, 3, &[(2, 50), (3, 50), (4, 60_000), (5, 60_000)]);
        consensus.configurations.push(Configuration {
            seqno: 120,
            nodes: [1, 4, 5].map(id).into(),
        });
        consensus
    };
    let mut it = Made::of(3);
    let states = it.passes(6000, |it| {
        it.answers(1, both(4));
        for number in [2, 3] {
            let mut consensus = both(4);
            (consensus.leadership, consensus.primary) = (Leadership::Follower, Some(id(1)));
            it.answers(number, consensus);
        }
    });
    // Nobody says where 4 and 5 are: they are given the longer patience.
    assert_eq!(states.last().unwrap().1, LOST, "{states:?}");
    let judged = it.judged();
    assert_eq!(
        judged
            .configurations
            .iter()
            .map(|it| (it.left, it.needed))
            .collect::<Vec<_>>(),
        [(3, 2), (1, 2)]
    );
}

#[test]
fn a_configuration_that_was_rolled_back_with_its_leader_is_forgotten() {
    let mut it = Made::of(3);
    it.healthy();
    let mut grown = leads(1, 4, 3, &[(2, 50), (3, 50)]);
    grown.configurations.push(Configuration {
        seqno: 120,
        nodes: (1..=5).map(id).collect(),
    });
    it.answers(1, grown.clone());
    assert_eq!(it.judged().configurations.len(), 1, "one says so, two do not");
    (grown.leadership, grown.primary) = (Leadership::Follower, Some(id(1)));
    it.answers(2, grown);
    assert_eq!(it.judged().configurations.len(), 2);
    let states = it.passes(10_000, |it| {
        it.fails(1, Failure::Refused);
        it.answers(2, leads(2, 5, 3, &[(3, 50)]));
        it.answers(3, follows(2, 5, 3));
    });
    assert_eq!(
        states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
        [State::Stable],
        "{states:?}"
    );
    assert_eq!(it.judged().configurations.len(), 1);
}

#[test]
fn the_membership_is_followed_and_the_removed_are_not_asked_any_more() {
    let mut it = Made::of(3);
    it.known = crate::watch::known::Known::new(settings(), [address(1)]);
    let listed = |number: u8| Listed {
        id: id(number),
        status: "Trusted".to_owned(),
        addresses: vec![address(number)],
    };
    it.now = 100;
    let mut first = answered(1, leads(1, 4, 3, &[(2, 50), (3, 50)]));
    first.nodes = Some((1..=3).map(listed).collect());
    it.look(&address(1), 100, Outcome::Answered(Box::new(first)));
    assert_eq!(
        it.known.places.keys().cloned().collect::<Vec<_>>(),
        (1..=3).map(address).collect::<Vec<_>>()
    );
    it.now = 200;
    let mut without = leads(1, 4, 2, &[(2, 50)]);
    without.configurations[0].seqno = 130;
    it.answers(1, without);
    assert_eq!(
        it.known.places.keys().cloned().collect::<Vec<_>>(),
        (1..=2).map(address).collect::<Vec<_>>()
    );
}

#[test]
fn one_node_by_two_addresses_is_one_node() {
    let mut it = Made::of(1);
    let named = "node.example:8000";
    it.known = crate::watch::known::Known::new(settings(), [address(1), named.to_owned()]);
    let states = it.passes(5000, |it| {
        it.answers_at(named, 1, leads(1, 4, 1, &[]));
        it.fails(1, Failure::Refused);
    });
    assert_eq!(states, [(100, State::Stable)]);
    assert_eq!(it.judged().nodes.len(), 1);
}

#[test]
fn a_living_node_that_stands_for_long_while_others_agree_is_a_partition() {
    let mut it = Made::of(3);
    it.healthy();
    let began = it.now;
    let states = it.passes(6000, |it| {
        it.answers(1, leads(1, 4, 3, &[(2, 50), (3, it.now - began)]));
        it.answers(2, follows(1, 4, 3));
        it.answers(3, stands(4, 3));
    });
    assert_eq!(
        states.iter().map(|(_, state)| *state).collect::<Vec<_>>(),
        [State::Stable, State::Partition]
    );
}

#[test]
fn a_look_that_was_asked_before_and_ends_later_says_nothing_new() {
    let mut it = Made::of(1);
    it.now = 1000;
    it.answers(1, leads(1, 4, 1, &[]));
    let old = answered(1, follows(9, 2, 1));
    it.look(&address(1), 500, Outcome::Answered(Box::new(old)));
    assert_eq!(it.judged().view, Some(4));
}

/// A cluster of which the truth is known: nodes die, stop, go on and are cut off from us at random; the living elect. The watch must
/// declare each loss that lasts within two time-outs, and nothing else.
#[test]
fn over_seeded_clusters_every_loss_that_can_be_seen_is_declared_in_time_and_nothing_else() {
    let (mut losses, mut quiet) = (0, 0);
    for seed in 0..400_u64 {
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = move |n: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % n
        };
        let of: u8 = [3, 5][usize::try_from(roll(2)).unwrap()];
        let majority = usize::from(of / 2 + 1);
        let mut it = Made::of(of);
        it.healthy();
        let mut up: Vec<bool> = vec![true; usize::from(of)];
        let mut unseen: Vec<bool> = vec![false; usize::from(of)];
        let (mut leader, mut view, mut lost_at, mut led_until) = (Some(1_u8), 4, None, it.now);
        let (mut declared, mut was, mut ended_at) = (false, State::Stable, 0);
        for _ in 0..40 {
            // What happens to one node, and then a while in which nothing else does.
            let who = usize::try_from(roll(u64::from(of))).unwrap();
            let before = up.clone();
            match roll(6) {
                0 | 1 => up[who] = false,
                2 | 3 => up[who] = true,
                4 => unseen[who] = true,
                _ => unseen[who] = false,
            }
            let living = up.iter().filter(|up| **up).count();
            // What dies out of our sight, we can't see: not of this test.
            if up.iter().zip(&unseen).any(|(up, unseen)| !up && *unseen) {
                unseen.iter_mut().zip(&up).for_each(|(unseen, up)| *unseen &= *up);
            }
            match (living < majority, lost_at) {
                // Who comes back and goes while too few live begins it anew.
                (true, since) if since.is_none() || up != before => lost_at = Some(it.now),
                (false, Some(_)) => (lost_at, declared, ended_at) = (None, false, it.now),
                _ => {}
            }
            let time = 300 + roll(2500);
            let end = it.now + time;
            while it.now < end {
                it.now += 50;
                let lives = |number: u8| up[usize::from(number - 1)];
                if leader.is_some_and(lives) && living >= majority {
                    led_until = it.now;
                }
                // Elections take a time-out and some more.
                if it.now - led_until > 1000 {
                    leader = None;
                }
                if leader.is_none() && living >= majority && it.now - led_until > 1300 {
                    leader = (1..=of).find(|number| lives(*number));
                    view += 1;
                    led_until = it.now;
                }
                if it.now.is_multiple_of(200) {
                    for number in 1..=of {
                        let at = usize::from(number - 1);
                        if unseen[at] {
                            it.fails(number, Failure::Unreachable);
                        } else if !up[at] {
                            it.fails(
                                number,
                                if number % 2 == 0 {
                                    Failure::Refused
                                } else {
                                    Failure::Silent
                                },
                            );
                        } else {
                            let heard: Vec<(u8, u64)> = (1..=of)
                                .filter(|n| lives(*n) && *n != number)
                                .map(|n| (n, 50))
                                .collect();
                            it.answers(
                                number,
                                match leader {
                                    Some(leader) if leader == number => leads(number, view, of, &heard),
                                    Some(leader) => follows(leader, view, of),
                                    None => stands(view + 1, of),
                                },
                            );
                        }
                    }
                }
                let judged = it.judged();
                let state = judged.state;
                if state == LOST && (was == LOST || it.now - ended_at <= 200) {
                    // A loss that lasted is over; the next look takes it back.
                } else if state == LOST && it.now - ended_at <= 2 * ELECTION && unseen.contains(&true) {
                    // A majority is back, some of it out of our sight: we hear of it when it has elected.
                } else if state == LOST {
                    assert!(lost_at.is_some(), "seed {seed} at {}: no loss: {judged:?}", it.now);
                    losses += usize::from(!declared);
                    declared = true;
                } else if let Some(since) = lost_at {
                    assert!(
                        it.now - since <= 2 * ELECTION,
                        "seed {seed} at {}: not declared since {since}: {judged:?}",
                        it.now
                    );
                } else {
                    quiet += 1;
                }
                was = state;
            }
        }
    }
    assert!(losses > 500 && quiet > 10_000, "{losses} {quiet}");
}
