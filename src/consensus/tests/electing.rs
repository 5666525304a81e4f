//! Node-to-node 8.

use super::*;

fn hears(consensus: &mut Consensus, from: u8, message: Message) -> Vec<Effect> {
    consensus.received(at(0), id(from), message)
}

fn answered(consensus: &mut Consensus, from: u8, message: Message) -> Option<Message> {
    sent(&hears(consensus, from, message))
        .first()
        .map(|(_, message)| *message)
}

#[test]
fn a_vote_is_given_once_in_a_view_and_to_the_same_node_again() {
    let mut consensus = follower(1, &[1, 2, 3]);
    assert_eq!(
        answered(&mut consensus, 2, wants_vote(5, txid(4, 10))),
        Some(vote(5, true))
    );
    assert_eq!(
        answered(&mut consensus, 3, wants_vote(5, txid(4, 10))),
        Some(vote(5, false))
    );
    assert_eq!(
        answered(&mut consensus, 2, wants_vote(5, txid(4, 10))),
        Some(vote(5, true))
    );
    assert_eq!(
        answered(&mut consensus, 3, wants_vote(6, txid(4, 10))),
        Some(vote(6, true))
    );
}

#[test]
fn a_candidate_of_a_lower_view_is_told_ours() {
    let mut consensus = follower(1, &[1, 2, 3]);
    assert_eq!(
        answered(&mut consensus, 2, wants_vote(3, txid(4, 10))),
        Some(vote(4, false))
    );
}

#[test]
fn an_older_log_gets_no_vote_and_unsigned_entries_make_none_older() {
    let older = [txid(4, 9), txid(2, 20), txid(0, 0)];
    for last_signed in older {
        let mut consensus = follower(1, &[1, 2, 3]);
        assert_eq!(
            answered(&mut consensus, 2, wants_vote(5, last_signed)),
            Some(vote(5, false))
        );
    }
    let mut consensus = leader(&[2, 3]);
    write(&mut consensus, &[entry(5, 12)]);
    assert_eq!(
        answered(&mut consensus, 2, wants_vote(6, txid(5, 11))),
        Some(vote(6, true))
    );
}

#[test]
fn no_vote_where_a_leader_is_known_in_the_view() {
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, frame(5, txid(4, 10), 10, 4, 10));
    assert_eq!(
        answered(&mut consensus, 3, wants_vote(5, txid(4, 10))),
        Some(vote(5, false))
    );
}

#[test]
fn a_greater_view_makes_a_leader_step_down_and_it_may_vote_in_the_same_answer() {
    let mut consensus = leader(&[2, 3]);
    let effects = hears(&mut consensus, 2, wants_vote(9, txid(5, 11)));
    assert_eq!(sent(&effects), [(id(2), vote(9, true))]);
    assert_eq!(consensus.role(), Role::Follower { leader: None });
}

#[test]
fn a_candidate_that_takes_no_part_as_far_as_is_known_is_answered_like_any_other() {
    let mut consensus = follower(1, &[1, 2, 3]);
    assert_eq!(
        answered(&mut consensus, 9, wants_vote(5, txid(4, 10))),
        Some(vote(5, true))
    );
}

#[test]
fn whoever_has_no_leader_stands_within_half_to_one_time_out_in_the_next_view() {
    let mut consensus = follower(1, &[1, 2, 3]);
    let due = consensus.due().unwrap();
    assert!((at(500)..=at(1000)).contains(&due), "{due:?}");
    assert!(consensus.tick(due - at(1), &PerFrame(1)).is_empty());
    let effects = consensus.tick(due, &PerFrame(1));
    let question = wants_vote(5, txid(4, 10));
    assert_eq!(sent(&effects), [(id(2), question), (id(3), question)]);
    assert_eq!((consensus.view(), consensus.role()), (5, Role::Candidate));
    let again = consensus.due().unwrap();
    consensus.tick(again, &PerFrame(1));
    assert_eq!(consensus.view(), 6);
}

#[test]
fn a_candidate_wins_with_a_majority_and_votes_that_are_old_or_not_given_do_not_count() {
    let mut consensus = follower(1, &[1, 2, 3, 4, 5]);
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 4 });
    for (from, message) in [
        (2, vote(5, true)),
        (2, vote(5, true)),
        (3, vote(4, true)),
        (3, vote(5, false)),
        (9, vote(5, true)),
    ] {
        hears(&mut consensus, from, message);
        assert_eq!(consensus.role(), Role::Candidate);
    }
    hears(&mut consensus, 4, vote(5, true));
    assert_eq!(consensus.role(), Role::Leader);
}

#[test]
fn every_active_configuration_must_elect() {
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, frame(5, txid(4, 10), 12, 5, 10));
    write(&mut consensus, &[trusted(5, 11, &[1, 4, 5]), signature(5, 12)]);
    consensus.accepted(at(0));
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 5 });
    hears(&mut consensus, 4, vote(6, true));
    assert_eq!(consensus.role(), Role::Candidate);
    hears(&mut consensus, 3, vote(6, true));
    assert_eq!(consensus.role(), Role::Leader);
}

#[test]
fn the_winner_drops_what_is_not_signed() {
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, frame(5, txid(4, 10), 12, 5, 10));
    write(&mut consensus, &[signature(5, 11), entry(5, 12)]);
    consensus.accepted(at(0));
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 5 });
    let effects = hears(&mut consensus, 3, vote(6, true));
    assert_eq!(
        effects[..2],
        [Effect::RollBack { to: 11, view: 6 }, Effect::Role(Role::Leader)]
    );
}

#[test]
fn a_node_that_is_in_no_configuration_or_has_seen_no_signature_since_does_not_stand() {
    let mut consensus = newcomer(4);
    assert_eq!(consensus.due(), None);
    hears(&mut consensus, 2, frame(5, txid(0, 0), 1, 5, 0));
    write(&mut consensus, &[trusted(5, 1, &[2, 3, 4])]);
    consensus.accepted(at(0));
    assert!(!consensus.is_ticking());
    assert!(hears(&mut consensus, 2, Message::ProposeRequestVote { view: 5 }).is_empty());
    hears(&mut consensus, 2, frame(5, txid(5, 1), 2, 5, 0));
    write(&mut consensus, &[signature(5, 2)]);
    assert!(consensus.is_ticking() && consensus.due().is_some());
}

#[test]
fn a_nudge_of_our_view_makes_us_stand_at_once_and_any_other_does_not() {
    let mut consensus = follower(1, &[1, 2, 3]);
    for view in [3, 5] {
        assert!(hears(&mut consensus, 2, Message::ProposeRequestVote { view }).is_empty());
    }
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 4 });
    assert_eq!((consensus.view(), consensus.role()), (5, Role::Candidate));
    assert!(hears(&mut leader(&[2]), 2, Message::ProposeRequestVote { view: 5 }).is_empty());
}

#[test]
fn a_candidate_follows_who_won_and_does_not_vote_again_in_that_view() {
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, Message::ProposeRequestVote { view: 4 });
    hears(&mut consensus, 3, frame(5, txid(4, 20), 20, 4, 10));
    assert_eq!(consensus.role(), Role::Follower { leader: Some(id(3)) });
    assert_eq!(
        answered(&mut consensus, 2, wants_vote(5, txid(9, 99))),
        Some(vote(5, false))
    );
}

#[test]
fn a_question_before_the_vote_is_answered_in_our_view_whoever_leads_and_changes_nothing() {
    let asks = |view, last_signed| match wants_vote(view, last_signed) {
        Message::RequestVote(question) => Message::RequestPreVote(question),
        other => other,
    };
    let says = |view, granted| Some(Message::RequestPreVoteResponse(RequestVoteResponse { view, granted }));
    let mut consensus = follower(1, &[1, 2, 3]);
    hears(&mut consensus, 2, frame(5, txid(4, 10), 10, 4, 10));
    assert_eq!(answered(&mut consensus, 3, asks(5, txid(4, 10))), says(5, true));
    assert_eq!(answered(&mut consensus, 3, asks(5, txid(4, 9))), says(5, false));
    assert_eq!(answered(&mut consensus, 3, asks(4, txid(4, 10))), says(5, false));
    assert_eq!(consensus.leader(), Some(id(2)));
    assert_eq!(answered(&mut consensus, 3, asks(7, txid(4, 10))), says(7, true));
    assert_eq!((consensus.view(), consensus.vote), (7, None));
}

#[test]
fn where_it_is_wanted_a_node_asks_before_it_stands_and_keeps_all_it_has_if_its_leader_is_back() {
    let mut consensus = Consensus::follow(
        Settings {
            pre_vote: true,
            ..settings()
        },
        start(1, &[1, 2, 3]),
        chance(),
        at(0),
    );
    hears(&mut consensus, 2, frame(5, txid(4, 10), 11, 5, 10));
    write(&mut consensus, &[entry(5, 11)]);
    consensus.accepted(at(0));
    let effects = consensus.tick(at(1000), &PerFrame(1));
    assert!(matches!(sent(&effects)[..], [(_, Message::RequestPreVote(_)), _]));
    assert_eq!(consensus.view(), 5);
    let back = consensus.received(at(1000), id(2), frame(5, txid(5, 11), 11, 5, 10));
    assert_eq!(sent(&back), [(id(2), ok(5, 11))]);
    consensus.tick(at(2000), &PerFrame(1));
    let would = RequestVoteResponse { view: 5, granted: true };
    hears(&mut consensus, 3, Message::RequestPreVoteResponse(would));
    assert_eq!((consensus.view(), consensus.role()), (6, Role::Candidate));
    hears(
        &mut consensus,
        3,
        Message::RequestPreVoteResponse(RequestVoteResponse { view: 6, granted: true }),
    );
    assert_eq!(consensus.role(), Role::Candidate);
}

#[test]
fn a_view_that_no_elections_lead_to_is_not_believed_but_by_a_newcomer() {
    let mut consensus = follower(1, &[1, 2, 3]);
    let far = 4 + (1 << 16) + 1;
    for message in [
        wants_vote(far, txid(4, 10)),
        Message::RequestVote(RequestVote {
            view: u64::MAX,
            last_signed: u64::MAX,
            view_of_last_signed: u64::MAX,
        }),
        frame(far, txid(4, 10), 10, 4, 10),
        ok(far, 10),
    ] {
        let effects = consensus.received(at(0), id(2), message);
        assert!(
            matches!(effects[..], [Effect::Note(Note::Contradiction { .. })]),
            "{effects:?}"
        );
    }
    assert_eq!(consensus.view(), 4);
    consensus.received(at(0), id(2), wants_vote(far - 1, txid(4, 10)));
    assert_eq!(consensus.view(), far - 1);
    let mut new = newcomer(1);
    new.received(at(0), id(2), frame(far, txid(0, 0), 0, 0, 0));
    assert_eq!(new.view(), far);
}

#[test]
fn views_are_believed_from_the_last_signature_on_and_not_from_those_that_were_believed() {
    let mut consensus = follower(1, &[1, 2, 3]);
    let far = 4 + MAX_VIEW_STEP;
    consensus.received(at(0), id(2), wants_vote(far - 1, txid(4, 10)));
    assert_eq!(consensus.view(), far - 1);
    consensus.received(at(0), id(2), wants_vote(2 * far - 2, txid(4, 10)));
    assert_eq!(
        consensus.view(),
        far - 1,
        "an entry of that view would follow one of view 4"
    );
    consensus.tick(at(9000), &PerFrame(1));
    assert_eq!(consensus.view(), far);
    let effects = consensus.tick(at(20_000), &PerFrame(1));
    assert_eq!(effects, [Effect::Note(Note::NoViewLeft)]);
    assert_eq!(consensus.view(), far);
}

#[test]
fn views_are_left_for_recoveries() {
    let mut start = start(1, &[1, 2, 3]);
    let last = MAX_VIEW - MAX_VIEW_STEP;
    start.view = last;
    start.views = vec![ViewStart { view: last, first: 1 }];
    let mut consensus = Consensus::follow(settings(), start, chance(), at(0));
    consensus.received(at(0), id(2), wants_vote(last + 1, txid(last, 10)));
    assert_eq!(consensus.view(), last);
    consensus.tick(at(9000), &PerFrame(1));
    assert_eq!(consensus.view(), last);
}
