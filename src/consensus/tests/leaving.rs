//! Node-to-node 9.

use super::*;

const ALL: PerFrame = PerFrame(u64::MAX);

/// All followers that are written to acknowledge everything.
fn all_acknowledge(consensus: &mut Consensus, ms: u64, effects: &[Effect]) -> Vec<Effect> {
    let mut after = Vec::new();
    for (to, message) in sent(effects) {
        if let Message::AppendEntries(frame) = message {
            after.extend(consensus.received(at(ms), to, ok(frame.view, frame.idx)));
        }
    }
    after
}

fn retirements(effects: &[Effect]) -> Vec<Option<Phase>> {
    let phases = effects.iter().filter_map(|effect| match effect {
        Effect::Retirement(phase) => Some(*phase),
        _ => None,
    });
    phases.collect()
}

#[test]
fn a_leader_that_retires_itself_leads_until_its_mark_is_committed_and_then_nudges_who_has_most() {
    let mut consensus = leader(&[2, 3]);
    let effects = write(&mut consensus, &[retires(5, 12, &[2, 3], 1), signature(5, 13)]);
    assert_eq!(retirements(&effects), [Some(Phase::Ordered), Some(Phase::Signed)]);
    let effects = consensus.tick(at(100), &ALL);
    let effects = all_acknowledge(&mut consensus, 100, &effects);
    assert_eq!(retirements(&effects), [Some(Phase::Completed)]);
    assert!(effects.contains(&Effect::MarkRetired(vec![id(1)])));
    assert_eq!(consensus.role(), Role::Leader);
    assert_eq!(
        consensus
            .configurations()
            .map(|it| it.nodes.clone())
            .collect::<Vec<_>>(),
        [ids(&[2, 3])]
    );

    write(
        &mut consensus,
        &[marks(5, 14, &[2, 3], 1), signature(5, 15), signature(5, 16)],
    );
    consensus.tick(at(200), &ALL);
    consensus.received(at(200), id(3), ok(5, 16));
    let effects = consensus.received(at(200), id(2), ok(5, 15));
    assert_eq!(commits(&effects), [15]);
    assert_eq!(retirements(&effects), [Some(Phase::RetiredCommitted)]);
    let nudge = Message::ProposeRequestVote { view: 5 };
    assert_eq!(sent(&effects), [(id(3), nudge)]);
    assert_eq!(consensus.role(), Role::Follower { leader: None });
    assert_eq!(consensus.due(), None);
}

#[test]
fn its_own_match_does_not_count_where_it_takes_no_part_any_more() {
    let mut consensus = leader(&[2]);
    write(&mut consensus, &[retires(5, 12, &[2], 1), signature(5, 13)]);
    consensus.tick(at(100), &ALL);
    assert_eq!(commits(&consensus.received(at(100), id(2), ok(5, 12))), [11]);
    assert_eq!(commits(&consensus.received(at(100), id(2), ok(5, 13))), [13]);
}

#[test]
fn a_retired_leader_votes_for_its_successor_acknowledges_it_and_may_leave_with_its_first_frame() {
    let mut consensus = leader(&[2]);
    let entries = [
        retires(5, 12, &[2], 1),
        signature(5, 13),
        marks(5, 14, &[2], 1),
        signature(5, 15),
    ];
    write(&mut consensus, &entries);
    let effects = consensus.tick(at(100), &ALL);
    all_acknowledge(&mut consensus, 100, &effects);
    assert_eq!(consensus.phase(), Some(Phase::RetiredCommitted));
    let effects = consensus.received(at(100), id(2), wants_vote(6, txid(5, 15)));
    assert_eq!(sent(&effects), [(id(2), vote(6, true))]);
    let effects = consensus.received(at(100), id(2), frame(6, txid(5, 15), 15, 5, 11));
    assert!(effects.contains(&Effect::MayLeave { leader: id(2) }));
    assert!(sent(&effects).contains(&(id(2), ok(6, 15))));
    let effects = consensus.received(at(200), id(2), frame(6, txid(5, 15), 15, 5, 15));
    assert_eq!(sent(&effects), [(id(2), ok(6, 15))]);
    assert_eq!(effects.len(), 1);
}

#[test]
fn a_removed_follower_is_sent_frames_until_it_has_answered_one_that_says_all_is_committed() {
    let mut consensus = leader(&[2, 3]);
    let mut forgotten = Vec::new();
    let mut last_known = BTreeMap::new();
    write(&mut consensus, &[retires(5, 12, &[1, 2], 3), signature(5, 13)]);
    for round in 1..12 {
        let effects = consensus.tick(at(round * 100), &ALL);
        for (to, message) in sent(&effects) {
            if let Message::AppendEntries(frame) = message {
                last_known.insert(to, frame.leader_commit);
            }
        }
        let effects = all_acknowledge(&mut consensus, round * 100, &effects);
        if effects.iter().any(|effect| matches!(effect, Effect::MarkRetired(_))) {
            write(&mut consensus, &[marks(5, 14, &[1, 2], 3), signature(5, 15)]);
        }
        for effect in effects {
            if let Effect::Forgotten { node, told } = effect {
                forgotten.push((node, told, last_known[&node]));
            }
        }
    }
    assert_eq!(forgotten, [(id(3), true, 15)]);
    assert!(!last_known.is_empty() && consensus.role() == Role::Leader);
}

#[test]
fn a_removed_follower_that_never_answers_is_forgotten_after_four_election_time_outs() {
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[retires(5, 12, &[1, 2], 3), signature(5, 13)]);
    let mut forgotten = Vec::new();
    for ms in (100..6000).step_by(100) {
        let effects = consensus.tick(at(ms), &ALL);
        for (to, message) in sent(&effects) {
            if let (true, Message::AppendEntries(frame)) = (to == id(2), message) {
                consensus.received(at(ms), to, ok(5, frame.idx));
            }
        }
        if effects.contains(&Effect::Forgotten {
            node: id(3),
            told: false,
        }) {
            forgotten.push(ms);
        }
    }
    assert_eq!(forgotten, [4000]);
}

#[test]
fn a_removed_node_that_stands_gets_no_vote_and_is_told_by_whoever_leads_next() {
    let mut consensus = leader(&[2, 3]);
    let entries = [
        retires(5, 12, &[1, 2], 3),
        signature(5, 13),
        marks(5, 14, &[1, 2], 3),
        signature(5, 15),
    ];
    write(&mut consensus, &entries);
    let effects = consensus.tick(at(100), &ALL);
    consensus.received(at(100), id(2), ok(5, 15));
    consensus.received(at(100), id(3), ok(5, 13));
    drop(effects);
    for ms in (200..9000).step_by(100) {
        consensus.received(at(ms), id(2), ok(5, 15));
        consensus.tick(at(ms), &ALL);
    }
    assert!(!consensus.followers().contains(&id(3)));
    let effects = consensus.received(at(9000), id(3), wants_vote(6, txid(5, 15)));
    assert_eq!(sent(&effects), [(id(3), vote(6, false))]);
    consensus.received(at(9000), id(2), Message::ProposeRequestVote { view: 6 });
    consensus.received(at(9000), id(2), vote(7, true));
    assert_eq!(consensus.role(), Role::Leader);
    assert!(consensus.followers().contains(&id(3)));
}

#[test]
fn a_removed_node_that_stands_again_and_again_is_not_followed_for_ever() {
    let mut consensus = leader(&[2, 3]);
    let entries = [
        retires(5, 12, &[1, 2], 3),
        signature(5, 13),
        marks(5, 14, &[1, 2], 3),
        signature(5, 15),
    ];
    write(&mut consensus, &entries);
    consensus.tick(at(100), &ALL);
    consensus.received(at(100), id(2), ok(5, 15));
    consensus.received(at(100), id(3), ok(5, 13));
    consensus.received(at(100), id(2), ok(5, 15));
    assert_eq!(consensus.committed(), 15);
    consensus.received(at(100), id(3), wants_vote(6, txid(5, 15)));
    assert_eq!(consensus.view(), 6, "it may not know that it has left");
    consensus.received(at(200), id(2), Message::ProposeRequestVote { view: 6 });
    consensus.received(at(200), id(2), vote(7, true));
    for message in [wants_vote(8, txid(5, 15)), refused(8, 15), vote(8, true)] {
        let effects = consensus.received(at(300), id(3), message);
        assert_eq!(
            effects,
            [Effect::Note(Note::StandsAfterLeaving { node: id(3) })],
            "{message:?}"
        );
        assert_eq!((consensus.view(), consensus.role()), (7, Role::Leader));
    }
    consensus.received(at(300), id(2), wants_vote(8, txid(7, 16)));
    assert_eq!(consensus.view(), 8, "who takes part is followed");
    let brings = |view, ms| {
        let mut consensus = consensus.clone();
        consensus.received(at(ms), id(3), wants_vote(view, txid(5, 15)));
        consensus.view()
    };
    assert_eq!((brings(9, 4000), brings(9, 5000)), (8, 9), "now and then it is");
    for time in 1..100 {
        let view = consensus.view() + 1;
        consensus.received(at(time * 10_000), id(3), wants_vote(view, txid(5, 15)));
    }
    assert_eq!(consensus.view(), 8 + 31, "and not for ever");
}

#[test]
fn a_removed_node_that_has_signed_more_than_is_committed_does_not_keep_the_others_from_electing() {
    let mut consensus = leader(&[2]);
    write(&mut consensus, &[retires(5, 12, &[2], 1), signature(5, 13)]);
    let effects = consensus.tick(at(100), &ALL);
    all_acknowledge(&mut consensus, 100, &effects);
    write(&mut consensus, &[marks(5, 14, &[2], 1), signature(5, 15)]);
    assert_eq!((consensus.phase(), consensus.committed()), (Some(Phase::Completed), 13));
    consensus.tick(at(9000), &ALL);
    assert_eq!(
        (consensus.role(), consensus.due()),
        (Role::Follower { leader: None }, None)
    );
    let effects = consensus.received(at(9000), id(2), wants_vote(6, txid(5, 13)));
    assert_eq!(sent(&effects), [(id(2), vote(6, true))]);
}

#[test]
fn who_is_retired_and_not_marked_may_lead_still_and_its_views_count() {
    let mut consensus = leader(&[2, 3]);
    consensus.tick(at(100), &ALL);
    write(&mut consensus, &[retires(5, 12, &[1, 2], 3), signature(5, 13)]);
    consensus.received(at(100), id(2), ok(5, 13));
    assert!(!consensus.configurations.is_active(&id(3)));
    for view in 6..20 {
        consensus.received(at(100), id(3), wants_vote(view, txid(4, 10)));
        assert_eq!(consensus.view(), view);
    }
}

#[test]
fn who_was_let_in_by_an_entry_that_another_leader_has_replaced_does_not_keep_the_others_from_being_led() {
    // These nodes have never heard of node 9, which has taken an entry of the leader before for its admission.
    let mut consensus = follower(1, &[1, 2, 3]);
    let is_led = |consensus: &mut Consensus, ms| {
        let heartbeat = frame(consensus.view(), txid(4, 10), 10, 4, 10);
        consensus.received(at(ms), id(2), heartbeat);
    };
    let stands = |consensus: &mut Consensus, ms| {
        let view = consensus.view() + 1;
        consensus.received(at(ms), id(9), wants_vote(view, txid(4, 10)));
        consensus.view() == view
    };
    let mut brought = Vec::new();
    for step in 0..1000 {
        is_led(&mut consensus, step * 500);
        if stands(&mut consensus, step * 500) {
            brought.push(step * 500);
        }
    }
    assert_eq!(brought[..3], [0, 4000, 8000], "once in four election time-outs");
    assert_eq!(brought.len(), 32, "not for ever");
    // Who hears no leader may be far behind, and not know whom the others have let in.
    consensus.tick(at(510_000), &ALL);
    assert!((0..100).all(|_| stands(&mut consensus, 510_000)));
    let mut consensus = leader(&[2, 3]);
    assert!(stands(&mut consensus, 0), "it may lead others");
    assert!((0..100).all(|_| stands(&mut consensus, 100)), "nobody leads");
    // Who has nothing yet can't tell who takes part.
    let mut nothing = start(1, &[1]);
    nothing.configurations.clear();
    let mut consensus = Consensus::follow(settings(), nothing, chance(), at(0));
    assert!((0..100).all(|_| stands(&mut consensus, 0)));
}

#[test]
fn a_retirement_that_is_rolled_back_never_was() {
    let mut consensus = follower(1, &[1, 2, 3]);
    consensus.received(at(0), id(2), frame(5, txid(4, 10), 12, 5, 10));
    let effects = write(&mut consensus, &[retires(5, 11, &[2, 3], 1), signature(5, 12)]);
    assert_eq!(retirements(&effects), [Some(Phase::Ordered), Some(Phase::Signed)]);
    consensus.accepted(at(0));
    let effects = consensus.received(at(0), id(3), frame(6, txid(4, 10), 11, 6, 10));
    assert_eq!(retirements(&effects), [None]);
    assert_eq!(consensus.configurations().count(), 1);
}

#[test]
fn nodes_that_are_retired_and_unmarked_are_marked_with_a_new_leader_s_first_commit_also_those_of_an_old_service() {
    let mut before = start(1, &[1]);
    before.view = 6;
    before.departures = BTreeMap::from([(
        id(8),
        Departure {
            retired: 5,
            ..Departure::default()
        },
    )]);
    let (mut consensus, _) = Consensus::lead(settings(), before, chance(), at(0));
    let effects = write(&mut consensus, &[signature(6, 11)]);
    assert!(effects.contains(&Effect::MarkRetired(vec![id(8)])));
    let effects = write(&mut consensus, &[signature(6, 12)]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::MarkRetired(_))));
    assert!(consensus.followers().is_empty());
}

#[test]
fn a_leader_that_is_about_to_end_nominates_and_leads_on() {
    let mut consensus = leader(&[2, 3]);
    consensus.tick(at(100), &ALL);
    consensus.received(at(100), id(3), ok(5, 11));
    assert_eq!(
        sent(&consensus.nominate(at(100))),
        [(id(3), Message::ProposeRequestVote { view: 5 })]
    );
    assert_eq!(consensus.role(), Role::Leader);
}
