//! What the search over three nodes finds.

use super::search::Search;
use super::*;

fn differing() -> [Claim; 3] {
    [claim(2, 10), claim(2, 20), claim(2, 30)]
}

/// An old primary, cut off, with signatures that nobody agreed to; the others went on without it.
fn cut_off() -> [Claim; 3] {
    [claim(2, 100), claim(4, 50), claim(4, 60)]
}

#[test]
fn three_nodes_keep_every_promise_in_every_state() {
    for claims in [differing(), [claim(2, 10); 3], cut_off()] {
        let mut search = Search::new(claims, None, false);
        let found = search.run(0);
        assert_eq!(found.broken, None, "{:#?}", found.trace);
        // As many as there are: fewer, and something is out of reach.
        assert_eq!((found.states, found.steps, found.depth), (3404, 39_689, 17));
        assert_eq!(search.known.len(), 70);
        for (example, depth) in [
            ("opened by quorum, without a time-out", 8),
            ("opened by fail-over", 3),
            ("two opened", 6),
            ("stuck, and said so", 4),
        ] {
            assert_eq!(found.reached.get(example), Some(&depth), "{example}");
        }
    }
}

#[test]
fn they_do_so_too_when_one_of_them_is_started_again() {
    let found = Search::new(cut_off(), None, false).run(1);
    assert_eq!(found.broken, None, "{:#?}", found.trace);
    assert_eq!((found.states, found.steps, found.depth), (81_110, 1_165_482, 21));
}

#[test]
#[ignore = "half a minute"]
fn they_do_so_too_when_two_of_them_are_started_again() {
    let found = Search::new(cut_off(), None, false).run(2);
    assert_eq!(found.broken, None, "{:#?}", found.trace);
    assert_eq!((found.states, found.steps, found.depth), (656_355, 11_082_010, 24));
}

#[test]
fn beside_ccf_nodes_the_promises_are_the_same() {
    for ccf in 1..8u8 {
        let mut search = Search::new(cut_off(), None, false);
        search.ccf = [ccf & 1 != 0, ccf & 2 != 0, ccf & 4 != 0];
        let found = search.run(0);
        assert_eq!(found.broken, None, "{:?}: {:#?}", search.ccf, found.trace);
        // Two of CCF's can stop each other.
        let nobody = found.reached.contains_key("all join, nobody is open");
        assert!(!nobody || search.ccf.iter().filter(|is_ccf| **is_ccf).count() > 1);
    }
}

#[test]
fn strangers_change_nothing() {
    let without = Search::new(differing(), None, false).run(0);
    let with = Search::new(differing(), None, true).run(0);
    assert_eq!(with.broken, None);
    assert_eq!(with.states, without.states);
}

/// In how few steps each is noticed, and by what.
const NOTICED: [(Rule, usize, &str); 11] = [
    (Rule::OneVote, 10, "two nodes opened by quorum"),
    (Rule::NoStrangers, 3, NO_MAJORITY),
    (Rule::CountOnce, 7, NO_MAJORITY),
    (Rule::GreatestLedger, 6, LOST),
    (Rule::ViewsFirst, 6, LOST),
    (Rule::OpenStays, 7, "a node that opened does not go on"),
    (Rule::QuorumOrTimeout, 2, NO_MAJORITY),
    (Rule::SomeVote, 5, "a node opened for which nobody voted"),
    (Rule::VoteOutlivesRestart, 12, "two nodes opened by quorum"),
    (Rule::OpeningOutlivesRestart, 4, "a node that opened does not go on"),
    (Rule::FailoverRecorded, 3, NO_MAJORITY),
];
const NO_MAJORITY: &str = "a node opened by quorum without a majority of the configured nodes";
const LOST: &str = "what was committed is not in the ledger that opened by quorum";

#[test]
fn a_broken_rule_is_found_with_the_fewest_steps() {
    for rule in Rule::ALL {
        let found = [differing(), cut_off()].into_iter().find_map(|claims| {
            let strangers = rule == Rule::NoStrangers;
            let restarts = u8::from(matches!(rule, Rule::VoteOutlivesRestart | Rule::OpeningOutlivesRestart));
            Search::new(claims, Some(rule), strangers).run(restarts).broken
        });
        let expected = NOTICED.iter().find(|(noticed, ..)| *noticed == rule);
        // To tell those who come late takes a message that is lost for good: the simulation finds it.
        assert_eq!(expected.is_none(), rule == Rule::LateAreTold);
        let expected = expected.map(|(_, depth, why)| (*depth, (*why).to_owned()));
        assert_eq!(found, expected, "{rule:?}");
    }
}

#[test]
fn two_that_open_and_obey_each_other_end_with_nobody_open_unless_they_refuse() {
    // The rules of 2025: two that opened by fail-over tell each other, and both stop.
    let mut reference = Search::new(differing(), Some(Rule::OpenStays), false);
    reference.goes_on = true;
    assert!(reference.run(0).reached.contains_key("all join, nobody is open"));
    let found = Search::new(differing(), None, false).run(0);
    assert!(found.reached.contains_key("two opened"));
    assert!(!found.reached.contains_key("all join, nobody is open"));
}
