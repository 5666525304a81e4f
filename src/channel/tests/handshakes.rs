//! Who initiates, whose init counts, when each side switches, and what heals.

use std::sync::Arc;

use super::link::*;
use crate::channel::handshake::Handshake;
use crate::channel::{Channel, Dropped, Effect, FrameType, NodeId, Own};

#[test]
fn the_first_message_makes_keys_and_arrives_after_them() {
    for who in [GREATER, LESSER] {
        let other = 1 - who;
        let mut link = Link::new(1);
        link.says(who, &heartbeat(5));
        assert_eq!(kind(&link.arrive(other)), Some(0));
        assert_eq!(kind(&link.arrive(who)), Some(1));
        assert_eq!(kind(&link.arrive(other)), Some(2));
        assert!(link.sides[other].got.is_empty());
        assert_eq!(parsed(&link.arrive(other), |frame| frame.of), FrameType::Consensus);
        assert_eq!(link.sides[other].got, [5]);
        assert!(
            link.sides
                .iter()
                .all(|side| side.established == 1 && side.dropped.is_empty())
        );
        link.works();
    }
}

#[test]
fn of_two_inits_that_cross_that_of_the_greater_id_counts() {
    let mut link = Link::new(2);
    link.says(GREATER, &heartbeat(1));
    link.says(LESSER, &heartbeat(2));
    let lesser_init = link.arrive(GREATER);
    assert_eq!(link.sides[GREATER].dropped, [Dropped::LesserInit]);
    link.arrive(LESSER);
    // Its answer has the key of its own init.
    assert_eq!(kind(&link.way[GREATER][0]), Some(1));
    assert_eq!(share(&link.way[GREATER][0]), share(&lesser_init));
    link.run();
    assert_eq!(
        (&link.sides[GREATER].got[..], &link.sides[LESSER].got[..]),
        (&[2][..], &[1][..])
    );
    assert!(link.sides[LESSER].dropped.is_empty());
    link.works();
}

#[test]
fn keys_are_switched_at_their_moments_and_not_before() {
    for who in [GREATER, LESSER] {
        let other = 1 - who;
        let mut link = Link::established(3, settings());
        // Another handshake is begun while the old keys work.
        begin_again(&mut link, who);
        link.says(who, &heartbeat(1));
        link.says(other, &heartbeat(2));
        link.arrive(other);
        assert_eq!(kind(&link.way[who][0]), None);
        // The responder sends with its new key from the frame after the response on, and reads with the old one.
        link.says(who, &heartbeat(3));
        link.says(other, &heartbeat(4));
        while link.sides[other].got != [1, 3] {
            link.arrive(other);
        }
        link.arrive(who);
        assert_eq!(kind(&link.arrive(who)), Some(1));
        link.arrive(who);
        assert_eq!(link.sides[who].got, [2, 4]);
        link.says(who, &heartbeat(5));
        assert_eq!(kind(&link.arrive(other)), Some(2));
        link.arrive(other);
        assert_eq!(link.sides[other].got, [1, 3, 5]);
        assert!(
            link.sides
                .iter()
                .all(|side| side.dropped.is_empty() && side.established == 1)
        );
        link.works();
    }
}

/// A message in somebody's name that only a stranger can read.
pub fn unreadable(sender: NodeId) -> Vec<u8> {
    let mut stranger = Link::established(99, settings());
    stranger.says(GREATER, &heartbeat(0));
    let mut frame = stranger.lose(LESSER);
    frame[20..84].copy_from_slice(&sender.digits());
    frame
}

/// Makes a side of an established channel initiate: a frame of another key tells it that half a handshake was lost.
pub fn begin_again(link: &mut Link, who: usize) {
    let frame = unreadable(link.sides[1 - who].id);
    link.now += ms(2000);
    link.hand(who, &frame);
    assert_eq!(link.sides[who].dropped, [Dropped::Tag]);
    assert_eq!(link.way[1 - who].back().and_then(|frame| kind(frame)), Some(0));
    link.forget();
}

#[test]
fn a_lost_init_is_repeated_and_what_waits_arrives() {
    let mut link = Link::new(4);
    link.says(LESSER, &heartbeat(1));
    let first = link.lose(GREATER);
    link.tick(ms(249));
    assert!(link.way[GREATER].is_empty());
    link.tick(ms(1));
    let second = link.way[GREATER][0].clone();
    assert_ne!(share(&first), share(&second));
    link.run();
    assert_eq!(link.sides[GREATER].got, [1]);
    link.works();
}

#[test]
fn an_init_is_repeated_when_there_is_something_to_send_too() {
    let mut link = Link::new(5);
    link.says(GREATER, &heartbeat(1));
    link.lose(LESSER);
    link.now += ms(249);
    link.says(GREATER, &heartbeat(2));
    assert!(link.way[LESSER].is_empty());
    link.now += ms(1);
    link.says(GREATER, &heartbeat(3));
    assert_eq!(kind(&link.way[LESSER][0]), Some(0));
    link.run();
    assert_eq!(link.sides[LESSER].got, [3]);
}

#[test]
fn repeats_become_rarer_down_to_every_two_seconds() {
    let mut link = Link::new(6);
    link.says(GREATER, &heartbeat(1));
    let (mut at, begin) = (Vec::new(), link.now);
    while link.now < begin + ms(20_000) {
        link.now += ms(10);
        link.says(GREATER, &heartbeat(1));
        link.tick_one(GREATER);
        if link.way[LESSER].len() > at.len() + 1 {
            at.push((link.now - begin).as_millis());
        }
    }
    assert_eq!(at[..9], [250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000]);
    assert_eq!(at[12..15], [9000, 11_000, 13_000]);
}

#[test]
fn once_there_are_keys_repeats_are_frequent_again() {
    let mut link = Link::new(20);
    link.says(GREATER, &heartbeat(1));
    for _ in 0..12 {
        link.way[LESSER].clear();
        link.now += ms(2000);
        link.says(GREATER, &heartbeat(1));
    }
    link.run();
    begin_again(&mut link, GREATER);
    link.lose(LESSER);
    link.now += ms(250);
    link.tick_one(GREATER);
    assert_eq!(kind(&link.way[LESSER][0]), Some(0));
}

#[test]
fn a_lost_response_heals() {
    for who in [GREATER, LESSER] {
        let mut link = Link::new(7);
        link.says(who, &heartbeat(1));
        link.arrive(1 - who);
        assert_eq!(kind(&link.lose(who)), Some(1));
        link.tick(ms(250));
        link.run();
        assert_eq!(link.sides[1 - who].got, [1]);
        link.works();
    }
}

#[test]
fn a_lost_final_heals_without_being_told() {
    for who in [GREATER, LESSER] {
        let other = 1 - who;
        let mut link = Link::new(8);
        link.says(who, &heartbeat(1));
        link.arrive(other);
        link.arrive(who);
        assert_eq!(kind(&link.lose(other)), Some(2));
        // Nothing else is sent: the one that waits for the final asks again.
        link.way[other].clear();
        link.tick(ms(999));
        assert!(link.way[who].is_empty());
        link.tick(ms(1));
        assert_eq!(kind(&link.way[who][0]), Some(0));
        link.run();
        link.works();
    }
}

#[test]
fn a_lost_final_heals_at_the_first_frame_that_cannot_be_read() {
    let mut link = Link::established(9, settings());
    begin_again(&mut link, GREATER);
    link.arrive(LESSER);
    link.arrive(GREATER);
    assert_eq!(kind(&link.lose(LESSER)), Some(2));
    link.now += ms(1000);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    assert_eq!(link.sides[LESSER].dropped, [Dropped::Tag]);
    assert_eq!(kind(&link.way[GREATER][0]), Some(0));
    link.run();
    link.works();
}

#[test]
fn half_a_handshake_that_a_real_node_would_keep_for_ever_heals() {
    // The peer answers an init that this side knows nothing of any more, and sends with the key of that.
    for who in [GREATER, LESSER] {
        let other = 1 - who;
        let mut link = Link::established(10, settings());
        begin_again(&mut link, who);
        let init = link.lose(other);
        link.run();
        let mut again = Link::established(10, settings());
        again.now += ms(10_000);
        again.hand(other, &init);
        assert_eq!(kind(&again.lose(who)), Some(1));
        again.says(other, &heartbeat(1));
        again.arrive(who);
        assert_eq!(again.sides[who].dropped, [Dropped::Tag]);
        again.run();
        again.works();
    }
}

#[test]
fn a_final_that_was_lost_with_its_connection_is_sent_again() {
    let mut link = Link::new(11);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    link.arrive(GREATER);
    link.way[LESSER].clear();
    link.reconnect(GREATER);
    assert_eq!(kind(&link.arrive(LESSER)), Some(2));
    assert!(link.sides[LESSER].channel.is_established());
    // Once more does no harm.
    link.reconnect(GREATER);
    link.run();
    assert_eq!(link.sides[LESSER].dropped, [Dropped::UnexpectedFinal]);
    link.works();
}

#[test]
fn a_response_that_was_lost_with_its_connection_is_sent_again() {
    let mut link = Link::new(12);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    link.way[GREATER].clear();
    link.reconnect(LESSER);
    assert_eq!(kind(&link.way[GREATER][0]), Some(1));
    link.run();
    assert_eq!(link.sides[LESSER].got, [1]);
    // The final has come: there is nothing to be sent again.
    link.reconnect(LESSER);
    assert!(link.way[GREATER].is_empty());
    link.works();
}

#[test]
fn an_init_that_was_lost_with_its_connection_is_repeated_but_not_at_once() {
    let mut link = Link::new(13);
    link.says(GREATER, &heartbeat(1));
    link.lose(LESSER);
    link.reconnect(GREATER);
    assert!(link.way[LESSER].is_empty());
    link.now += ms(250);
    link.reconnect(GREATER);
    assert_eq!(kind(&link.way[LESSER][0]), Some(0));
    link.run();
    link.works();
}

#[test]
fn of_five_inits_in_a_burst_the_last_counts() {
    for who in [GREATER, LESSER] {
        let other = 1 - who;
        let mut link = Link::new(14);
        link.says(who, &heartbeat(1));
        for _ in 0..4 {
            link.now += ms(250);
            link.tick_one(who);
        }
        assert_eq!(link.way[other].len(), 5);
        for _ in 0..5 {
            assert_eq!(kind(&link.arrive(other)), Some(0));
        }
        assert_eq!(link.way[who].len(), 5);
        for _ in 0..4 {
            assert_eq!(kind(&link.arrive(who)), Some(1));
        }
        assert_eq!(link.sides[who].dropped, vec![Dropped::Signature; 4]);
        assert_eq!(link.sides[who].established, 0);
        link.run();
        assert_eq!(link.sides[other].got, [1]);
        assert!(link.sides[other].dropped.is_empty());
        link.works();
    }
}

#[test]
fn a_response_that_nobody_waits_for_changes_nothing() {
    let mut link = Link::new(15);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    let response = link.way[GREATER][0].clone();
    link.run();
    link.hand(GREATER, &response);
    assert_eq!(link.sides[GREATER].dropped, [Dropped::UnexpectedResponse]);
    link.works();
}

#[test]
fn an_init_that_crosses_ours_long_after_makes_us_repeat_it() {
    // Ours was dropped while the peer was still joining; its own tells that it lives.
    let mut link = Link::new(16);
    link.says(GREATER, &heartbeat(1));
    link.lose(LESSER);
    link.says(LESSER, &heartbeat(2));
    link.now += ms(250);
    link.arrive(GREATER);
    assert_eq!(link.sides[GREATER].dropped, [Dropped::LesserInit]);
    link.run();
    assert_eq!(link.sides[LESSER].got, [1]);
    link.works();
}

#[test]
fn two_that_lose_one_frame_each_in_every_place_come_to_terms() {
    for who in [GREATER, LESSER] {
        for lost in 0..6 {
            for crossing in [false, true] {
                let mut link = Link::new(17);
                link.says(who, &heartbeat(1));
                if crossing {
                    link.says(1 - who, &heartbeat(2));
                }
                let mut seen = 0;
                let is_up = |link: &Link| link.sides.iter().all(|side| side.channel.is_established());
                while !is_up(&link) || link.way.iter().any(|way| !way.is_empty()) {
                    assert!(link.now < ms(103_000), "{who} {lost} {crossing}");
                    if let Some(to) = (0..2).rev().find(|to| !link.way[*to].is_empty()) {
                        match seen == lost {
                            true => drop(link.lose(to)),
                            false => drop(link.arrive(to)),
                        }
                        seen += 1;
                    } else {
                        link.tick(ms(100));
                    }
                }
                link.run();
                link.works();
            }
        }
    }
}

#[test]
fn a_node_whose_certificate_was_renewed_shows_the_new_one() {
    let mut service = Service::new(18);
    let key = service.node_key();
    let peer = NodeId([1; 32]);
    let mut channel = Channel::new(service.own(&key), peer, settings());
    let public = service.key.verifying_key();
    channel.renew(Arc::new(Own::new(key, "renewed".to_owned(), public)));
    assert_eq!(channel.peer(), peer);
    let effects = channel.want_to_send(ms(0), &heartbeat(1), &mut service.rng);
    let [Effect::Send(init)] = &effects[..] else {
        panic!("{effects:?}")
    };
    parsed(init, |frame| match Handshake::parse(frame.payload).unwrap() {
        Handshake::Init { certificate, .. } => assert_eq!(certificate, b"renewed"),
        other => panic!("{other:?}"),
    });
}
