//! What a step does to the state, what is done with a chunk that is complete, and who may not write any more.

use super::super::operations::{Operations, Progress};
use super::*;
use crate::kv::store::Store;

fn puts(key: &str) -> WriteSet {
    let mut writes = WriteSet::new();
    writes.put("public:m", key, "value");
    writes
}

fn applied(seqno: Seqno, key: &str) -> Effect {
    Effect::applied(txid(4, seqno), puts(key))
}

#[test]
fn a_step_that_takes_back_and_then_applies_leaves_what_it_applied() {
    let mut store = Store::new();
    for (seqno, key) in [(1, "a"), (2, "b"), (3, "c")] {
        store.apply(seqno, &puts(key));
    }
    let mut effects = [Effect::Announce(Announcement::RolledBack { to: 1 }), applied(2, "d")];
    assert_eq!(state_after(&mut effects, &mut store), Some(Some(txid(4, 2))));
    assert_eq!(store.freeze().seqno(), 2);
    let there = ["a", "b", "c", "d"].map(|key| store.get("public:m", key.as_bytes()).is_some());
    assert_eq!(there, [true, false, false, true]);
}

#[test]
fn a_step_that_applies_and_takes_back_leaves_nothing_of_it() {
    let mut store = Store::new();
    store.apply(1, &puts("a"));
    let mut effects = [applied(2, "b"), Effect::Announce(Announcement::RolledBack { to: 1 })];
    assert_eq!(state_after(&mut effects, &mut store), Some(None));
    assert_eq!(store.freeze().seqno(), 1);
    assert_eq!(state_after(&mut [], &mut store), None);
}

#[test]
fn a_chunk_that_is_to_be_completed_is_not_synced_after_that() {
    let mut operations = Operations::after(0);
    let sync = |chunk| Operation::Sync { chunk };
    operations.push(sync(1), 0);
    // A follower syncs at the end of a frame, and again where the next entry begins a chunk.
    operations.push(sync(1), 0);
    operations.push(sync(3), 0);
    assert_eq!(operations.next(Duration::ZERO), Some(sync(1)));
    assert!(matches!(operations.done(), Progress::Durable(0)));
    let completion = Operation::Complete {
        chunk: 1,
        last: 2,
        end: 8,
        positions: Arc::from([]),
    };
    operations.complete(completion.clone(), 2);
    assert_eq!(operations.next(Duration::ZERO), Some(completion));
    operations.done();
    assert_eq!(operations.next(Duration::ZERO), Some(sync(3)));
}
