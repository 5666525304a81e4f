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
    let started = std::time::Instant::now();
    for claims in [differing(), [claim(2, 10); 3], cut_off()] {
        let mut search = Search::new(claims, None, false);
        let found = search.run(0);
        println!(
            "{claims:?}: {} states, {} steps, {} deep, {} states of one node; {:?}; {:?}",
            found.states,
            found.steps,
            found.depth,
            search.known.len(),
            found.reached,
            started.elapsed()
        );
        assert_eq!(found.broken, None, "{:#?}", found.trace);
        for example in [
            "opened by quorum, without a time-out",
            "opened by fail-over",
            "two opened",
            "stuck, and said so",
        ] {
            assert!(found.reached.contains_key(example), "never reached: {example}");
        }
        // What two CCF nodes of 2025 could do to each other.
        assert!(!found.reached.contains_key("all join, nobody is open"));
    }
}

#[test]
fn they_do_so_too_when_one_of_them_is_started_again() {
    for claims in [differing(), cut_off()] {
        let started = std::time::Instant::now();
        let mut search = Search::new(claims, None, false);
        let found = search.run(1);
        println!(
            "{claims:?}, one restart: {} states, {} steps, {} deep; {:?}",
            found.states,
            found.steps,
            found.depth,
            started.elapsed()
        );
        assert_eq!(found.broken, None, "{:#?}", found.trace);
    }
}

#[test]
fn strangers_change_nothing() {
    let without = Search::new(differing(), None, false).run(0);
    let with = Search::new(differing(), None, true).run(0);
    assert_eq!(with.broken, None);
    assert_eq!(with.states, without.states);
}

#[test]
fn a_broken_rule_is_found_with_the_fewest_steps() {
    let mut missed = Vec::new();
    for rule in Rule::ALL {
        let found = [differing(), cut_off()].into_iter().find_map(|claims| {
            let strangers = rule == Rule::NoStrangers;
            let restarts = u8::from(matches!(rule, Rule::VoteOutlivesRestart | Rule::OpeningOutlivesRestart));
            Search::new(claims, Some(rule), strangers).run(restarts).broken
        });
        println!("{rule:?}: {found:?}");
        if found.is_none() {
            missed.push(rule);
        }
    }
    // It takes a message that is lost for good: the simulation finds it.
    assert_eq!(missed, [Rule::LateAreTold]);
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

#[test]
#[ignore = "a minute"]
fn they_do_so_too_when_two_of_them_are_started_again() {
    let mut search = Search::new(cut_off(), None, false);
    let found = search.run(2);
    println!(
        "two restarts: {} states, {} steps, {} deep",
        found.states, found.steps, found.depth
    );
    assert_eq!(found.broken, None, "{:#?}", found.trace);
}
