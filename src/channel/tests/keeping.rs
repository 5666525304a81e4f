//! Keys over time: counters, limits, idleness, what waits for a key.

use super::handshakes::{begin_again, unreadable};
use super::link::*;
use crate::channel::{Closed, Dropped, Settings, Unsent};

fn limited(message_limit: u64) -> Settings {
    Settings {
        message_limit,
        ..settings()
    }
}

#[test]
fn keys_outlive_a_connection() {
    let mut link = Link::established(30, settings());
    link.says(GREATER, &heartbeat(1));
    link.says(GREATER, &heartbeat(2));
    link.lose(LESSER);
    link.way[LESSER].clear();
    link.says(GREATER, &heartbeat(3));
    link.run();
    assert_eq!(link.sides[LESSER].got, [3]);
    assert!(link.sides.iter().all(|side| side.established == 0));
    link.works();
}

#[test]
fn a_message_that_comes_again_is_dropped_and_begins_no_handshake() {
    let mut link = Link::established(31, settings());
    link.says(GREATER, &heartbeat(1));
    let first = link.arrive(LESSER);
    link.says(GREATER, &heartbeat(2));
    let second = link.arrive(LESSER);
    link.now += ms(5000);
    for (frame, found) in [(&second, 3), (&first, 2)] {
        link.hand(LESSER, frame);
        assert_eq!(
            link.sides[LESSER].dropped.pop(),
            Some(Dropped::Replayed { found, last: 3 })
        );
    }
    assert_eq!(link.sides[LESSER].got, [1, 2]);
    assert!(link.way[GREATER].is_empty());
    link.works();
}

#[test]
fn messages_of_before_new_keys_are_not_taken_after() {
    let mut link = Link::established(32, limited(20));
    link.says(GREATER, &heartbeat(1));
    let old = link.arrive(LESSER);
    for number in 2..30 {
        link.says(GREATER, &heartbeat(number));
        link.run();
    }
    assert!(link.sides[LESSER].established > 0);
    link.forget();
    link.hand(LESSER, &old);
    assert_eq!(
        (&link.sides[LESSER].dropped[..], link.sides[LESSER].got.len()),
        (&[Dropped::Tag][..], 0)
    );
}

#[test]
fn under_traffic_keys_are_made_anew_at_half_of_the_limit_and_nothing_is_lost() {
    for who in [GREATER, LESSER] {
        let mut link = Link::established(33, limited(240));
        let mut at = Vec::new();
        for number in 0..600 {
            let before = link.sides[who].established;
            link.says(who, &heartbeat(number));
            link.arrive(1 - who);
            link.says(1 - who, &heartbeat(number));
            // Answers are still on their way when a handshake begins.
            link.run();
            if link.sides[who].established > before {
                at.push(number);
            }
        }
        let every: Vec<u64> = (0..600).collect();
        for side in &link.sides {
            assert_eq!(side.got, every);
            assert!(side.closed.is_empty());
            // Both have counted as many messages: their inits cross.
            assert!(
                side.dropped.iter().all(|why| *why == Dropped::LesserInit),
                "{:?}",
                side.dropped
            );
        }
        // Every 60 round trips, as with real nodes: 120 messages of both directions.
        assert_eq!(at.len(), 10, "{at:?}");
        assert!(
            at.windows(2).all(|pair| (59..=60).contains(&(pair[1] - pair[0]))),
            "{at:?}"
        );
    }
}

#[test]
fn the_answer_under_the_old_key_between_response_and_final_is_read() {
    let mut link = Link::established(34, limited(10));
    // The lesser initiates when it has received the fifth message.
    for number in 1..4 {
        link.says(GREATER, &heartbeat(number));
    }
    while !link.way[LESSER].is_empty() {
        link.arrive(LESSER);
    }
    assert!(link.way[GREATER].is_empty());
    link.says(LESSER, &heartbeat(4));
    // Lost: otherwise the greater would count as many, and initiate too.
    link.lose(GREATER);
    assert_eq!(kind(&link.way[GREATER][0]), Some(0));
    link.says(LESSER, &heartbeat(5));
    link.arrive(GREATER);
    assert_eq!(kind(&link.way[LESSER][0]), Some(1));
    // Sent by the lesser before it has the response, read by the greater after it has sent it.
    link.arrive(GREATER);
    assert_eq!(link.sides[GREATER].got, [5]);
    link.run();
    link.works();
}

#[test]
fn at_the_full_limit_keys_are_dropped_and_messages_wait() {
    let mut link = Link::established(35, limited(20));
    for number in 0..30 {
        link.says(GREATER, &heartbeat(number));
        link.now += ms(10);
    }
    assert_eq!(link.sides[GREATER].closed, [Closed::Limit]);
    assert!(!link.sides[GREATER].channel.is_established());
    let sealed = link.way[LESSER].iter().filter(|frame| kind(frame).is_none()).count();
    // One was sealed when the keys were made.
    assert_eq!(sealed, 19);
    assert_eq!(link.sides[GREATER].unsent.len(), 10);
    link.way[LESSER].clear();
    link.tick(ms(2000));
    link.run();
    assert_eq!(link.sides[LESSER].got, [29]);
    link.works();
}

#[test]
fn at_the_full_limit_a_final_is_not_waited_for_any_more() {
    let mut link = Link::established(46, limited(20));
    begin_again(&mut link, LESSER);
    link.arrive(GREATER);
    for number in 0..25 {
        link.says(GREATER, &heartbeat(number));
    }
    assert_eq!(link.sides[GREATER].closed, [Closed::Limit]);
    assert_eq!(link.way[LESSER].back().and_then(|frame| kind(frame)), Some(0));
    link.way[LESSER].clear();
    link.tick(ms(250));
    link.run();
    link.works();
}

#[test]
fn what_was_idle_begins_as_if_it_were_new() {
    let mut link = Link::established(48, settings());
    link.tick(4 * ELECTION_TIMEOUT);
    for side in 0..2 {
        link.reconnect(side);
    }
    assert!(link.way.iter().all(|way| way.is_empty()));
    let mut link = Link::new(49);
    for _ in 0..12 {
        link.now += ms(2000);
        link.says(GREATER, &heartbeat(1));
    }
    link.tick(4 * ELECTION_TIMEOUT);
    link.way[LESSER].clear();
    link.says(GREATER, &heartbeat(1));
    link.tick(ms(250));
    assert_eq!(link.way[LESSER].len(), 2);
}

#[test]
fn a_handshake_that_only_garbage_began_ends_too() {
    let mut link = Link::new(47);
    let garbage = unreadable(link.sides[GREATER].id);
    link.hand(LESSER, &garbage);
    assert_eq!(link.sides[LESSER].dropped, [Dropped::NoKey]);
    assert_eq!(link.way[GREATER].len(), 1);
    for _ in 0..900 {
        link.now += ms(10);
        link.tick_one(LESSER);
    }
    assert_eq!(link.sides[LESSER].closed, [Closed::Idle]);
    assert!(!link.sides[LESSER].channel.is_in_handshake());
}

#[test]
fn the_smallest_limits_make_no_endless_handshakes() {
    for message_limit in 0..4 {
        let mut link = Link::new(36);
        for side in 0..2 {
            let peer = link.sides[1 - side].id;
            let own = link.owns[side].clone();
            link.sides[side].channel = crate::channel::Channel::new(own, peer, limited(message_limit));
        }
        for number in 0..5 {
            link.now += ms(3000);
            link.says(GREATER, &heartbeat(number));
            link.run();
        }
        assert!(!link.sides[LESSER].got.is_empty(), "{message_limit}");
    }
}

#[test]
fn four_election_timeouts_without_traffic_drop_the_keys() {
    let mut link = Link::established(37, settings());
    let idle = 4 * ELECTION_TIMEOUT;
    link.tick(idle - ms(1));
    assert!(link.sides.iter().all(|side| side.closed.is_empty()));
    link.says(GREATER, &heartbeat(1));
    link.run();
    // Sending keeps a channel as well as receiving does.
    link.tick(idle - ms(1));
    assert!(link.sides.iter().all(|side| side.closed.is_empty()));
    link.tick(ms(1));
    for side in &link.sides {
        assert_eq!(side.closed, [Closed::Idle]);
        assert!(!side.channel.is_established());
    }
    link.tick(idle);
    assert!(link.sides.iter().all(|side| side.closed.len() == 1));
    assert!(link.way.iter().all(|way| way.is_empty()));
    link.says(GREATER, &heartbeat(2));
    link.run();
    link.works();
}

#[test]
fn garbage_does_not_keep_a_channel_but_one_side_that_closed_is_found_out() {
    let mut link = Link::established(38, settings());
    link.now += 4 * ELECTION_TIMEOUT;
    link.tick_one(LESSER);
    assert_eq!(link.sides[LESSER].closed, [Closed::Idle]);
    link.says(GREATER, &heartbeat(1));
    link.arrive(LESSER);
    assert_eq!(link.sides[LESSER].dropped, [Dropped::NoKey]);
    link.run();
    link.works();

    let before = link.now;
    link.says(GREATER, &heartbeat(2));
    let mut wrong = link.lose(LESSER);
    *wrong.last_mut().unwrap() ^= 1;
    wrong[84 + 57] ^= 1;
    while link.now < before + 4 * ELECTION_TIMEOUT {
        link.now += ms(1000);
        link.hand(LESSER, &wrong);
        link.way[GREATER].clear();
    }
    link.forget();
    link.tick_one(LESSER);
    assert_eq!(link.sides[LESSER].closed, [Closed::Idle]);
    assert!(!link.sides[LESSER].channel.is_in_handshake());
}

#[test]
fn a_peer_that_never_answers_is_given_up_when_there_is_nothing_to_send() {
    let mut link = Link::new(39);
    link.says(GREATER, &heartbeat(1));
    for _ in 0..800 {
        link.tick(ms(10));
    }
    assert_eq!(link.sides[GREATER].closed, [Closed::Idle]);
    link.way[LESSER].clear();
    for _ in 0..800 {
        link.tick(ms(10));
    }
    assert!(link.way[LESSER].is_empty());
    // What waited is forgotten, too.
    link.says(GREATER, &request(9));
    link.run();
    assert_eq!(link.sides[LESSER].got, [9]);
}

#[test]
fn garbage_in_a_peers_name_begins_a_handshake_at_most_so_often() {
    let mut link = Link::established(40, settings());
    link.says(GREATER, &heartbeat(1));
    let mut wrong = link.lose(LESSER);
    wrong[84 + 57] ^= 1;
    link.now += ms(5000);
    let begin = link.now;
    while link.now < begin + ms(2500) {
        link.hand(LESSER, &wrong);
        // Each is answered at once, so each time the handshake is over.
        let inits = link.way[GREATER].len();
        assert!(inits <= 1);
        link.run();
        link.now += ms(10);
    }
    assert_eq!(link.sides[LESSER].established, 3);
    link.works();
}

#[test]
fn the_newest_consensus_message_and_ten_forwarded_ones_wait_for_a_key() {
    let mut link = Link::new(41);
    for number in 0..3 {
        link.says(GREATER, &heartbeat(number));
    }
    for number in 100..112 {
        link.says(GREATER, &request(number));
    }
    use Unsent::{QueueFull, Replaced};
    assert_eq!(link.sides[GREATER].unsent, [Replaced, Replaced, QueueFull, QueueFull]);
    assert_eq!(link.way[LESSER].len(), 1);
    link.run();
    let expected: Vec<u64> = [2].into_iter().chain(100..110).collect();
    assert_eq!(link.sides[LESSER].got, expected);
    link.works();
}

#[test]
fn what_waits_at_the_responder_follows_its_response() {
    let mut link = Link::new(42);
    link.says(LESSER, &heartbeat(1));
    link.says(LESSER, &request(2));
    link.way[GREATER].clear();
    link.says(GREATER, &heartbeat(3));
    link.arrive(LESSER);
    assert_eq!(link.way[GREATER].len(), 3);
    link.run();
    assert_eq!(link.sides[GREATER].got, [1, 2]);
}

#[test]
fn a_message_beyond_the_longest_frame_is_not_sent_and_uses_no_counter() {
    let zeros = vec![0; MAX];
    // Length, type and sender, header, tag and IV.
    let room = MAX - 84 - 57 - 24;
    let message = |length| entries(3, &zeros[..length]);
    let too_long = Unsent::TooLong {
        bytes: MAX + 1,
        max: MAX,
    };
    let mut link = Link::established(43, settings());
    link.says(GREATER, &message(room + 1));
    assert_eq!(link.sides[GREATER].unsent, std::slice::from_ref(&too_long));
    assert!(link.way[LESSER].is_empty());
    link.says(GREATER, &message(room));
    assert_eq!(link.way[LESSER][0].len(), MAX);
    let frame = link.arrive(LESSER);
    assert_eq!(frame[84 + 57 + 17], 2);
    assert_eq!(link.sides[LESSER].got, [3]);
    let mut link = Link::new(44);
    link.says(GREATER, &message(room + 1));
    assert_eq!(
        (&link.sides[GREATER].unsent[..], link.way[LESSER].len()),
        (&[too_long][..], 0)
    );
}

#[test]
fn entries_are_outside_of_what_the_tag_covers_and_everything_else_is_inside() {
    let mut link = Link::established(45, settings());
    link.says(GREATER, &entries(3, b"entry"));
    let frame = link.lose(LESSER);
    for at in 84..84 + 57 + 24 {
        let mut altered = frame.clone();
        altered[at] ^= 1;
        link.hand(LESSER, &altered);
        assert!(link.sides[LESSER].got.is_empty(), "byte {at}");
    }
    let mut altered = frame.clone();
    *altered.last_mut().unwrap() ^= 1;
    link.hand(LESSER, &altered);
    assert_eq!(link.sides[LESSER].got, [3]);
}
