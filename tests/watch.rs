//! The watch over real nodes that are killed, stopped and cut off: it declares every loss of a majority in time, and nothing else.

#[path = "support/dice.rs"]
mod dice;
#[path = "support/node.rs"]
mod node;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/storm.rs"]
mod storm;

use std::time::Duration;

#[test]
fn a_loss_of_the_majority_is_declared_within_two_election_time_outs_and_nothing_else_ever_is() {
    let scratch = tempfile::tempdir().unwrap();
    let plan = storm::Plan {
        rounds: 6,
        seed: 5,
        election: Duration::from_millis(1500),
        scratch: scratch.path().to_owned(),
    };
    let tally = storm::rage(&plan, &|line| eprintln!("{line}"));
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert!(!tally.delays.is_empty(), "no majority was lost in these rounds: {:?}", tally.rounds);
}
