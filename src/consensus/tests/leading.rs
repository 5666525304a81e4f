//! Node-to-node 4 and 6.

use super::*;

const ALL: PerFrame = PerFrame(u64::MAX);

fn hears(consensus: &mut Consensus, from: u8, message: Message) -> Vec<Effect> {
    consensus.received(at(0), id(from), message)
}

#[test]
fn who_wins_an_election_sends_an_empty_frame_at_its_end_to_everybody() {
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 4 });
    let effects = hears(&mut consensus, 2, vote(5, true));
    assert_eq!(
        frames(&effects),
        [2, 3].map(|other| (id(other), txid(4, 10), txid(4, 10)))
    );
}

#[test]
fn a_new_follower_first_gets_an_empty_frame_that_ends_before_the_entry_which_adds_it() {
    let mut consensus = leader(&[2]);
    let effects = consensus.appended(at(0), &trusted(5, 12, &[1, 2, 3]));
    assert_eq!(frames(&effects), [(id(3), txid(5, 11), txid(5, 11))]);
}

#[test]
fn entries_are_sent_in_frames_of_one_view_and_no_frame_is_larger_than_asked() {
    let mut consensus = leader(&[2]);
    hears(&mut consensus, 2, refused(5, 0));
    let effects = consensus.tick(at(100), &PerFrame(4));
    let ends: Vec<_> = frames(&effects).iter().map(|(_, prev, end)| (*prev, *end)).collect();
    assert_eq!(
        ends,
        [
            (txid(0, 0), txid(2, 4)),
            (txid(2, 4), txid(2, 6)),
            (txid(2, 6), txid(4, 10)),
            (txid(4, 10), txid(5, 11)),
        ]
    );
}

#[test]
fn with_nothing_new_a_message_time_out_brings_one_empty_frame_with_the_commit() {
    let mut consensus = leader(&[2]);
    consensus.tick(at(100), &ALL);
    hears(&mut consensus, 2, ok(5, 11));
    assert!(consensus.tick(at(199), &ALL).is_empty());
    let effects = consensus.tick(at(200), &ALL);
    assert_eq!(sent(&effects), [(id(2), frame(5, txid(5, 11), 11, 5, 11))]);
}

#[test]
fn that_a_change_of_who_takes_part_is_committed_everybody_hears_at_once() {
    let mut consensus = leader(&[2]);
    consensus.tick(at(100), &ALL);
    hears(&mut consensus, 2, ok(5, 11));
    write(&mut consensus, &[trusted(5, 12, &[1, 2, 3]), signature(5, 13)]);
    consensus.tick(at(200), &ALL);
    // A signature alone is told with the next sign of life.
    let later = consensus.due();
    let effects = consensus.received(at(210), id(2), ok(5, 13));
    assert_eq!((commits(&effects), consensus.due()), (vec![13], Some(at(210))));
    assert!(later > Some(at(210)));
    let told = sent(&consensus.tick(at(210), &ALL));
    let to: Vec<NodeId> = told.iter().map(|(to, _)| *to).collect();
    assert_eq!(to, [id(2), id(3)]);
    let commit = |message: &Message| matches!(message, Message::AppendEntries(frame) if frame.leader_commit == 13);
    assert!(told.iter().all(|(_, message)| commit(message)));
}

#[test]
fn what_was_sent_is_not_sent_again_without_a_refusal() {
    let mut consensus = leader(&[2]);
    assert_eq!(frames(&consensus.flush(at(0), &ALL)).len(), 1);
    assert!(consensus.flush(at(0), &ALL).is_empty());
    write(&mut consensus, &[entry(5, 12)]);
    assert_eq!(
        frames(&consensus.flush(at(0), &ALL)),
        [(id(2), txid(5, 11), txid(5, 12))]
    );
}

#[test]
fn only_so_many_frames_are_under_way_and_signs_of_life_go_on() {
    let mut consensus = leader(&[2]);
    for seqno in 12..40 {
        write(&mut consensus, &[entry(5, seqno)]);
    }
    let first = consensus.flush(at(0), &PerFrame(1));
    assert_eq!(frames(&first).len(), settings().frames_under_way);
    assert!(consensus.flush(at(0), &PerFrame(1)).is_empty());
    assert_eq!(
        frames(&consensus.tick(at(100), &PerFrame(1))),
        [(id(2), txid(5, 18), txid(5, 18))]
    );
    hears(&mut consensus, 2, ok(5, 13));
    assert_eq!(
        frames(&consensus.flush(at(100), &PerFrame(1))),
        [18, 19, 20].map(|seqno| (id(2), txid(5, seqno), txid(5, seqno + 1)))
    );
}

#[test]
fn a_follower_that_acknowledges_nothing_for_long_is_asked_at_the_end_of_the_log() {
    let mut consensus = leader(&[2]);
    for seqno in 12..40 {
        write(&mut consensus, &[entry(5, seqno)]);
    }
    consensus.flush(at(0), &PerFrame(1));
    assert_eq!(
        frames(&consensus.tick(at(500), &PerFrame(1))),
        [(id(2), txid(5, 39), txid(5, 39))]
    );
}

#[test]
fn entries_that_are_not_held_are_not_sent_and_that_is_said_once() {
    let mut consensus = leader(&[2]);
    consensus.first_held = 8;
    hears(&mut consensus, 2, refused(5, 3));
    let effects = consensus.tick(at(100), &ALL);
    let note = Note::NotHeld { node: id(2), after: 3 };
    assert!(effects.contains(&Effect::Note(note.clone())));
    assert_eq!(frames(&effects), [(id(2), txid(5, 11), txid(5, 11))]);
    hears(&mut consensus, 2, refused(5, 3));
    assert!(!consensus.tick(at(200), &ALL).contains(&Effect::Note(note)));
}

#[test]
fn an_acknowledgement_counts_once_never_lowers_a_match_and_only_in_our_view() {
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[entry(5, 12), signature(5, 13)]);
    consensus.flush(at(0), &ALL);
    assert!(commits(&hears(&mut consensus, 2, ok(4, 13))).is_empty());
    assert_eq!(commits(&hears(&mut consensus, 2, ok(5, 12))), [11]);
    assert!(commits(&hears(&mut consensus, 2, ok(5, 10))).is_empty());
    hears(&mut consensus, 2, refused(4, 0));
    assert_eq!(
        frames(&consensus.tick(at(100), &ALL)),
        [(id(2), txid(5, 12), txid(5, 13)), (id(3), txid(5, 13), txid(5, 13))]
    );
}

#[test]
fn an_acknowledgement_of_what_was_never_written_is_dropped() {
    let mut consensus = leader(&[2]);
    let effects = hears(&mut consensus, 2, ok(5, 12));
    assert!(matches!(effects[..], [Effect::Note(Note::Contradiction { .. })]));
    assert!(hears(&mut consensus, 2, ok(4, 12)).is_empty());
    assert_eq!(consensus.committed(), 10);
}

#[test]
fn a_refusal_goes_back_by_views_and_is_followed_by_nothing_before_the_next_tick() {
    for (view, seqno, from) in [
        (5, 11, 11),
        (4, 11, 10),
        (4, 8, 8),
        (3, 9, 6),
        (2, 9, 6),
        (2, 3, 3),
        (1, 9, 0),
        (4, 0, 0),
    ] {
        let mut consensus = leader(&[2]);
        consensus.tick(at(100), &ALL);
        assert!(hears(&mut consensus, 2, refused(view, seqno)).is_empty());
        assert!(consensus.flush(at(100), &ALL).is_empty());
        let effects = consensus.tick(at(200), &ALL);
        assert_eq!(frames(&effects)[0].1.seqno, from, "refused with {view}.{seqno}");
    }
}

#[test]
fn a_refusal_never_goes_below_a_match() {
    let mut consensus = leader(&[2]);
    consensus.tick(at(100), &ALL);
    hears(&mut consensus, 2, ok(5, 11));
    hears(&mut consensus, 2, refused(2, 5));
    assert_eq!(
        frames(&consensus.tick(at(200), &ALL)),
        [(id(2), txid(5, 11), txid(5, 11))]
    );
}

#[test]
fn who_says_in_our_view_that_its_log_ends_before_the_match_is_believed() {
    let mut consensus = leader(&[2]);
    write(&mut consensus, &[entry(5, 12)]);
    consensus.tick(at(100), &ALL);
    hears(&mut consensus, 2, ok(5, 12));
    hears(&mut consensus, 2, refused(5, 11));
    assert_eq!(
        frames(&consensus.tick(at(200), &ALL)),
        [(id(2), txid(5, 11), txid(5, 12))]
    );
}

#[test]
fn an_answer_of_a_greater_view_ends_the_leadership_and_drops_what_is_not_signed() {
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[entry(5, 12)]);
    let effects = hears(&mut consensus, 2, refused(9, 11));
    assert!(effects.contains(&Effect::RollBack { to: 11, view: 9 }));
    assert_eq!(
        (consensus.view(), consensus.role()),
        (9, Role::Follower { leader: None })
    );
}

#[test]
fn an_answer_of_a_node_that_takes_no_part_is_ignored() {
    let mut consensus = leader(&[2]);
    assert!(hears(&mut consensus, 7, refused(99, 0)).is_empty());
    assert!(hears(&mut consensus, 7, ok(5, 11)).is_empty());
    assert_eq!(consensus.view(), 5);
}

#[test]
fn a_leader_that_hears_no_majority_for_an_election_time_out_stops_in_its_view_and_keeps_what_is_signed() {
    let mut consensus = leader(&[2, 3, 4]);
    write(&mut consensus, &[entry(5, 12)]);
    consensus.received(at(500), id(2), ok(5, 11));
    consensus.received(at(600), id(3), ok(5, 11));
    consensus.tick(at(1499), &ALL);
    assert_eq!(consensus.role(), Role::Leader);
    let effects = consensus.tick(at(1600), &ALL);
    assert!(effects.contains(&Effect::Note(Note::QuorumSilent)));
    assert!(effects.contains(&Effect::RollBack { to: 11, view: 5 }));
    assert_eq!(
        (consensus.view(), consensus.role()),
        (5, Role::Follower { leader: None })
    );
    assert_eq!(consensus.last(), 11);
}

#[test]
fn every_active_configuration_must_be_heard_not_only_one() {
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[trusted(5, 12, &[1, 2, 3, 4, 5])]);
    for ms in [400, 800, 1200] {
        consensus.received(at(ms), id(2), ok(5, 11));
        consensus.tick(at(ms), &ALL);
    }
    assert_eq!(consensus.role(), Role::Follower { leader: None });
}

#[test]
fn a_lone_leader_whose_joiner_is_silent_leads_on() {
    let mut alone = start(1, &[1]);
    alone.view = 6;
    let (mut consensus, effects) = Consensus::lead(settings(), alone, chance(), at(0));
    assert_eq!(effects, [Effect::Role(Role::Leader)]);
    write(
        &mut consensus,
        &[signature(6, 11), trusted(6, 12, &[1, 2]), signature(6, 13)],
    );
    for ms in (0..10_000).step_by(100) {
        consensus.tick(at(ms), &ALL);
    }
    assert_eq!((consensus.role(), consensus.committed()), (Role::Leader, 11));
}

#[test]
fn alone_a_leader_commits_its_own_signature_once_that_is_on_its_disk() {
    let mut alone = start(1, &[1]);
    alone.view = 6;
    let (mut consensus, _) = Consensus::lead(settings(), alone, chance(), at(0));
    assert!(commits(&consensus.appended(at(0), &signature(6, 11))).is_empty());
    assert!(commits(&consensus.synced(at(0), txid(5, 11))).is_empty());
    assert_eq!(commits(&consensus.synced(at(0), txid(6, 11))), [11]);
}

#[test]
fn a_majority_commits_the_greatest_signature_that_it_has() {
    let mut consensus = leader(&[2, 3, 4, 5]);
    write(&mut consensus, &[signature(5, 12), entry(5, 13), signature(5, 14)]);
    consensus.flush(at(0), &ALL);
    assert!(commits(&hears(&mut consensus, 2, ok(5, 14))).is_empty());
    assert_eq!(commits(&hears(&mut consensus, 3, ok(5, 13))), [12]);
    assert_eq!(commits(&hears(&mut consensus, 4, ok(5, 14))), [14]);
}

#[test]
fn what_is_not_on_our_disk_does_not_count_here() {
    let mut consensus = leader(&[2, 3]);
    consensus.appended(at(0), &signature(5, 12));
    consensus.flush(at(0), &ALL);
    assert_eq!(commits(&hears(&mut consensus, 2, ok(5, 12))), [11]);
    assert_eq!(commits(&consensus.synced(at(0), txid(5, 12))), [12]);
}

#[test]
fn a_signature_of_an_earlier_view_is_committed_only_with_one_of_ours() {
    let mut before = start(1, &[1, 2, 3]);
    before.committed = 7;
    before.signatures = vec![10];
    let mut consensus = Consensus::follow(settings(), before, chance(), at(0));
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 4 });
    hears(&mut consensus, 2, vote(5, true));
    assert!(commits(&hears(&mut consensus, 2, ok(5, 10))).is_empty());
    write(&mut consensus, &[signature(5, 11)]);
    assert_eq!(commits(&hears(&mut consensus, 2, ok(5, 11))), [11]);
}

#[test]
fn every_active_configuration_must_agree_until_the_newest_is_committed() {
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[trusted(5, 12, &[1, 4]), signature(5, 13)]);
    consensus.flush(at(0), &ALL);
    assert!(commits(&hears(&mut consensus, 4, ok(5, 13))).is_empty());
    assert_eq!(consensus.configurations().count(), 2);
    assert_eq!(commits(&hears(&mut consensus, 3, ok(5, 13))), [13]);
    assert_eq!(consensus.configurations().count(), 1);
}

#[test]
fn one_node_added_to_a_lone_leader_is_needed_at_once() {
    let mut alone = start(1, &[1]);
    alone.view = 6;
    let (mut consensus, _) = Consensus::lead(settings(), alone, chance(), at(0));
    write(&mut consensus, &[signature(6, 11), trusted(6, 12, &[1, 2])]);
    assert!(commits(&write(&mut consensus, &[signature(6, 13)])).is_empty());
    assert_eq!(commits(&hears(&mut consensus, 2, ok(6, 13))), [13]);
}

#[test]
#[should_panic(expected = "view 5")]
fn nothing_is_appended_in_a_view_that_was_left() {
    leader(&[2]).appended(at(0), &entry(4, 12));
}

#[test]
fn a_lone_leader_whose_joiner_died_gives_up_what_is_not_committed_and_others_may_not() {
    let mut consensus = alone_with_a_joiner();
    assert_eq!(consensus.acknowledgements(), BTreeMap::from([(id(2), (0, at(0)))]));
    let effects = consensus.withdraw(at(0));
    let expected = [
        Effect::View(7),
        Effect::RollBack { to: 11, view: 7 },
        Effect::Role(Role::Leader),
    ];
    assert_eq!(effects, expected);
    assert_eq!(commits(&write(&mut consensus, &[signature(7, 12)])), [12]);
    assert_eq!(
        sent(&hears(&mut consensus, 2, wants_vote(8, txid(6, 13)))),
        [(id(2), vote(8, false))]
    );

    // Nor twice, before anything is committed in the view: what is, may not be known.
    let mut unsure = Consensus::lead(
        settings(),
        Start {
            view: 6,
            ..start(1, &[1])
        },
        chance(),
        at(0),
    )
    .0;
    assert!(unsure.withdraw(at(0)).is_empty());
    let mut joint = leader(&[2, 3]);
    assert!(joint.withdraw(at(0)).is_empty());
    assert!(follower(1, &[1]).withdraw(at(0)).is_empty());
}

/// A lone leader of view 6 that has let node 2 in, and waits for it.
fn alone_with_a_joiner() -> Consensus {
    let mut alone = start(1, &[1]);
    alone.view = 6;
    let (mut consensus, _) = Consensus::lead(settings(), alone, chance(), at(0));
    write(
        &mut consensus,
        &[signature(6, 11), trusted(6, 12, &[1, 2]), signature(6, 13)],
    );
    consensus
}

#[test]
fn a_joiner_that_never_answers_is_waited_for_and_then_given_up_on() {
    let mut consensus = alone_with_a_joiner();
    let effects = consensus.tick(at(3999), &ALL);
    assert_eq!(consensus.role(), Role::Leader);
    assert!(frames(&effects).iter().all(|(node, ..)| *node == id(2)), "{effects:?}");
    let effects = consensus.tick(at(4000), &ALL);
    let expected = [
        Effect::Note(Note::GivesUp { nodes: ids(&[2]) }),
        Effect::View(7),
        Effect::RollBack { to: 11, view: 7 },
        Effect::Role(Role::Leader),
    ];
    assert_eq!(effects[effects.len() - 4..], expected);
    assert_eq!(commits(&write(&mut consensus, &[signature(7, 12)])), [12]);
    assert!(
        consensus.tick(at(60_000), &ALL).is_empty(),
        "nobody is left to wait for"
    );
}

#[test]
fn who_was_given_up_on_and_is_alive_does_not_keep_the_leader_from_leading() {
    let mut consensus = alone_with_a_joiner();
    consensus.tick(at(4000), &ALL);
    consensus.synced(at(4000), txid(6, 11));
    write(&mut consensus, &[signature(7, 12)]);
    // It does not know that it was given up on, and stands with a longer log.
    let stands = |view| wants_vote(view, txid(6, 13));
    let mut deposed = 0;
    for step in 0..100 {
        let now = 4100 + step * 500;
        let led = consensus.role() == Role::Leader;
        consensus.received(at(now), id(2), stands(consensus.view() + 1));
        if consensus.role() != Role::Leader {
            deposed += u32::from(led);
            consensus.tick(at(now + 400), &ALL);
            consensus.tick(at(now + 499), &ALL);
        }
    }
    // Once in four election time-outs at most, of those fifty seconds.
    assert!((1..=14).contains(&deposed), "{deposed}");
}

#[test]
fn a_joiner_that_answers_however_slowly_is_waited_for() {
    let mut consensus = alone_with_a_joiner();
    for second in 1..=20 {
        consensus.tick(at(second * 1000), &ALL);
        consensus.received(at(second * 1000), id(2), refused(6, 3));
    }
    assert_eq!((consensus.view(), consensus.last()), (6, 13));
    // Where others could lead without this node, it does not go on alone either.
    let mut three = leader(&[2, 3]);
    write(&mut three, &[entry(5, 12)]);
    three.tick(at(60_000), &ALL);
    assert_eq!((three.view(), three.role()), (5, Role::Follower { leader: None }));
}
