//! Node-to-node 5.

use super::*;

/// Node 1 of three follows node 2 in view 5, has 11 (signed) and 12 of that view, of which nothing is committed.
fn following() -> Consensus {
    let mut consensus = follower(1, &[1, 2, 3]);
    takes(
        &mut consensus,
        frame(5, txid(4, 10), 12, 5, 10),
        &[signature(5, 11), entry(5, 12)],
    );
    consensus
}

/// A frame of node 2 whose entries are good, and on the disk at once.
fn takes(consensus: &mut Consensus, message: Message, entries: &[Entry]) -> Vec<Effect> {
    let mut effects = consensus.received(at(0), id(2), message);
    assert!(matches!(effects.last(), Some(Effect::Verify { .. })), "{effects:?}");
    effects.extend(write(consensus, entries));
    effects.extend(consensus.accepted(at(0)));
    effects
}

fn answers(consensus: &mut Consensus, message: Message) -> Vec<Message> {
    let effects = consensus.received(at(0), id(2), message);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Verify { .. })));
    sent(&effects).into_iter().map(|(_, message)| message).collect()
}

#[test]
fn a_frame_of_a_lower_view_is_refused_with_our_view_and_end() {
    let message = frame(4, txid(4, 10), 10, 4, 10);
    assert_eq!(answers(&mut following(), message), [refused(5, 12)]);
}

#[test]
fn a_greater_view_is_followed_without_what_is_not_signed() {
    let mut consensus = following();
    let effects = consensus.received(at(0), id(3), frame(7, txid(5, 11), 11, 5, 10));
    assert!(effects.contains(&Effect::RollBack { to: 11, view: 7 }));
    assert_eq!(sent(&effects), [(id(3), ok(7, 11))]);
    assert_eq!((consensus.view(), consensus.leader()), (7, Some(id(3))));
}

#[test]
fn what_begins_after_our_end_is_refused_with_our_end() {
    assert_eq!(
        answers(&mut following(), frame(5, txid(5, 20), 21, 5, 10)),
        [refused(5, 12)]
    );
    assert_eq!(
        answers(&mut newcomer(1), frame(5, txid(5, 20), 21, 5, 10)),
        [refused(5, 0)]
    );
}

#[test]
fn another_view_before_the_frame_is_refused_with_the_latest_possible_match() {
    let mut consensus = following();
    let behind = frame(7, txid(6, 12), 13, 7, 10);
    assert_eq!(answers(&mut consensus, behind), [refused(7, 11)]);
    // 5.11 is there, and what precedes is of view 6: up to 5.11 the two may be the same.
    let other = frame(7, txid(6, 11), 12, 7, 10);
    assert_eq!(answers(&mut consensus, other), [refused(5, 11)]);
    let older = frame(7, txid(4, 11), 12, 7, 10);
    assert_eq!(answers(&mut consensus, older), [refused(4, 10)]);
}

#[test]
fn what_begins_before_our_commit_is_not_answered_at_all() {
    let mut consensus = following();
    assert!(answers(&mut consensus, frame(5, txid(4, 9), 12, 5, 10)).is_empty());
}

#[test]
fn entries_that_are_there_are_skipped_and_acknowledged_up_to_the_frame_s_end_only() {
    let mut consensus = following();
    assert_eq!(answers(&mut consensus, frame(5, txid(4, 10), 11, 5, 10)), [ok(5, 11)]);
    let effects = consensus.received(at(0), id(2), frame(5, txid(5, 11), 14, 5, 10));
    let verify = Effect::Verify {
        from: id(2),
        after: 12,
        through: 14,
        view: 5,
    };
    assert_eq!(effects, [verify]);
}

#[test]
fn entries_of_another_view_are_rolled_back_signed_or_not_in_the_first_conflict_of_a_view() {
    let mut consensus = following();
    let effects = consensus.received(at(0), id(3), frame(6, txid(4, 10), 13, 6, 10));
    assert!(effects.contains(&Effect::RollBack { to: 10, view: 6 }));
    let verify = Effect::Verify {
        from: id(3),
        after: 10,
        through: 13,
        view: 6,
    };
    assert_eq!(effects.last(), Some(&verify));
    write(&mut consensus, &[entry(6, 11), entry(6, 12), entry(6, 13)]);
    consensus.accepted(at(0));
    let effects = consensus.received(at(0), id(3), frame(6, txid(4, 10), 12, 5, 10));
    assert!(matches!(
        effects[..],
        [Effect::Note(Note::SecondConflict { seqno: 11, .. })]
    ));
}

#[test]
fn a_conflict_in_the_middle_of_a_frame_takes_back_only_what_conflicts() {
    let mut consensus = following();
    consensus.received(at(0), id(3), frame(6, txid(5, 11), 11, 5, 10));
    let effects = consensus.received(at(0), id(3), frame(6, txid(5, 11), 12, 6, 10));
    assert!(matches!(
        effects[..],
        [Effect::Verify {
            after: 11,
            through: 12,
            view: 6,
            ..
        }]
    ));
}

#[test]
fn a_bad_entry_is_refused_with_the_last_good_one_and_a_right_one_in_its_place_is_taken() {
    let mut consensus = following();
    consensus.received(at(0), id(2), frame(5, txid(5, 12), 15, 5, 10));
    write(&mut consensus, &[entry(5, 13)]);
    assert_eq!(sent(&consensus.rejected(at(0))), [(id(2), refused(5, 13))]);
    let effects = takes(&mut consensus, frame(5, txid(5, 13), 14, 5, 10), &[signature(5, 14)]);
    assert_eq!(sent(&effects).last(), Some(&(id(2), ok(5, 14))));
}

#[test]
fn what_is_not_on_the_disk_is_acknowledged_only_when_it_is() {
    let mut consensus = following();
    consensus.received(at(0), id(2), frame(5, txid(5, 12), 14, 5, 10));
    for entry in [entry(5, 13), signature(5, 14)] {
        consensus.appended(at(0), &entry);
    }
    assert_eq!(sent(&consensus.accepted(at(0))), [(id(2), ok(5, 12))]);
    assert_eq!(sent(&consensus.synced(at(1), txid(5, 13))), [(id(2), ok(5, 13))]);
    assert_eq!(sent(&consensus.synced(at(2), txid(5, 14))), [(id(2), ok(5, 14))]);
    assert!(consensus.synced(at(3), txid(5, 14)).is_empty());
}

#[test]
fn a_sync_of_what_was_rolled_back_says_nothing() {
    let mut consensus = following();
    consensus.received(at(0), id(3), frame(6, txid(4, 10), 12, 6, 10));
    for seqno in [11, 12] {
        consensus.appended(at(0), &entry(6, seqno));
    }
    consensus.accepted(at(0));
    assert!(consensus.synced(at(0), txid(5, 12)).is_empty());
    assert_eq!(consensus.durable(), 10);
}

#[test]
fn the_greatest_signature_within_the_leader_s_commit_is_committed() {
    let mut consensus = following();
    let effects = consensus.received(at(0), id(2), frame(5, txid(5, 12), 12, 5, 12));
    assert_eq!(
        effects,
        [
            Effect::Commit(11),
            Effect::Send {
                to: id(2),
                message: ok(5, 12)
            }
        ]
    );
}

#[test]
fn nothing_is_committed_that_the_leader_was_not_seen_to_share() {
    let mut consensus = follower(1, &[1, 2, 3]);
    let entries = [signature(5, 11), entry(5, 12), signature(5, 13)];
    takes(&mut consensus, frame(5, txid(4, 10), 13, 5, 10), &entries);
    // The next leader has committed 6.13, and says so with a frame that ends before what differs.
    let effects = consensus.received(at(0), id(3), frame(6, txid(4, 10), 11, 5, 13));
    assert_eq!(commits(&effects), [11]);
}

#[test]
fn frames_keep_a_follower_from_standing_and_any_node_that_leads_is_followed() {
    let mut consensus = following();
    for ms in (0..5000).step_by(400) {
        consensus.received(at(ms), id(2), frame(5, txid(5, 12), 12, 5, 10));
        assert!(consensus.tick(at(ms), &PerFrame(1)).is_empty());
    }
    consensus.received(at(5000), id(9), frame(6, txid(5, 11), 11, 5, 10));
    assert_eq!(consensus.leader(), Some(id(9)));
}

#[test]
fn frames_that_contradict_themselves_or_the_view_s_leader_are_dropped() {
    let bad = [
        frame(5, txid(5, 12), 11, 5, 10),
        frame(5, txid(5, 12), 13, 6, 10),
        frame(5, txid(5, 12), 13, 4, 10),
        frame(u64::MAX, txid(u64::MAX, u64::MAX), 0, 0, u64::MAX),
    ];
    for message in bad {
        let effects = following().received(at(0), id(2), message);
        assert!(
            matches!(effects[..], [Effect::Note(Note::Contradiction { .. })]),
            "{message:?}"
        );
    }
    let second = following().received(at(0), id(3), frame(5, txid(5, 12), 12, 5, 10));
    assert!(matches!(second[..], [Effect::Note(Note::Contradiction { .. })]));
    let mine = leader(&[2]).received(at(0), id(2), frame(5, txid(5, 11), 11, 5, 10));
    assert!(matches!(mine[..], [Effect::Note(Note::Contradiction { .. })]));
}

#[test]
fn numbers_at_the_end_of_their_range_do_no_harm() {
    let mut consensus = following();
    let last = u64::MAX;
    consensus.received(at(0), id(2), frame(5, txid(5, 12), last, 5, last));
    assert_eq!(sent(&consensus.rejected(at(0))), [(id(2), refused(5, 12))]);
    assert_eq!(
        commits(&consensus.received(at(0), id(2), frame(5, txid(5, 12), 12, 5, last))),
        [11]
    );
    consensus.received(at(0), id(2), frame(last, txid(5, 11), 11, 5, last));
    assert_eq!(consensus.view(), 5);
    consensus.received(at(9000), id(3), wants_vote(last, txid(last, last)));

    let at_the_end = Start {
        view: last,
        ..start(1, &[1, 2, 3])
    };
    let mut consensus = Consensus::follow(settings(), at_the_end, chance(), at(0));
    let effects = consensus.tick(at(9000), &PerFrame(1));
    assert_eq!(effects, [Effect::Note(Note::NoViewLeft)]);
}
