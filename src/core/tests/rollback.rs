//! Who writes, what is agreed to, and what is taken back.

use super::*;

#[test]
fn a_rollback_takes_back_what_is_not_committed_and_tells_who_waits() {
    let mut bench = Bench::with(Settings {
        chunk_size: 1,
        ..settings()
    });
    bench.submit(1, Follow::default());
    bench.sign();
    bench.settle();
    bench.step(Event::Role(Role::Primary));
    bench.submit(2, Follow::default());
    bench.settle();
    bench.sign();
    bench.settle();
    bench.submit(3, Follow::default());
    let root = bench.core.root();
    bench.step(Event::RollBack { to: 2, view: 3 });
    assert_ne!(bench.core.root(), root);
    assert_eq!(bench.answers.last(), Some(&(3, Outcome::RolledBack)));
    let mut operations = Vec::new();
    while !bench.under_way.is_empty() {
        operations.push(bench.done());
    }
    assert!(operations.contains(&Operation::Remove { chunk: 3 }), "{operations:?}");
    assert_eq!(bench.core.next(), txid(3, 3));
    bench.step(Event::Role(Role::Alone));
    bench.sign();
    bench.settle();
    assert_eq!((bench.committed, bench.core.view_history()), (3, &[1, 1, 3][..]));
}

#[test]
#[should_panic(expected = "is committed")]
fn a_rollback_below_what_is_committed_is_no_more() {
    let mut bench = Bench::new();
    for ticket in 1..=2 {
        bench.submit(ticket, Follow::default());
        bench.sign();
        bench.settle();
    }
    bench.step(Event::RollBack { to: 2, view: 3 });
}

#[test]
fn a_sync_that_stands_for_several_says_nothing_of_what_was_taken_back() {
    for done_before in 0..4 {
        let mut bench = Bench::new();
        bench.step(Event::Role(Role::Primary));
        bench.submit(1, Follow::default());
        bench.sign();
        bench.submit(2, Follow::default());
        bench.sign();
        (0..done_before).for_each(|_| drop(bench.done()));
        bench.step(Event::RollBack { to: 2, view: 3 });
        // Others of the same seqnos, of which nothing is on the disk, and which everybody else has.
        bench.submit(3, Follow::default());
        bench.sign();
        bench.step(Event::Committed(4));
        while let Some(operation) = bench.under_way.front() {
            let syncs = matches!(operation, Operation::Sync { .. });
            let before = bench.committed;
            bench.done();
            assert!(syncs || bench.committed == before, "{done_before}");
            // Whose bytes are kept is not durable.
            let is_durable = bench.core.kept(bench.committed.max(1)).is_none();
            assert!(is_durable || bench.committed == 0, "{done_before}");
        }
        assert_eq!(bench.committed, 4, "{done_before}");
    }
}

#[test]
#[should_panic(expected = "does not come after")]
fn a_view_is_never_gone_back_to() {
    let mut bench = Bench::new();
    bench.step(Event::Role(Role::Primary));
    bench.submit(1, Follow::default());
    bench.step(Event::RollBack { to: 0, view: 2 });
}

#[test]
fn a_primary_commits_what_the_others_agree_to_and_nothing_that_is_not_durable_here() {
    let mut bench = Bench::new();
    bench.step(Event::Role(Role::Primary));
    bench.submit(1, Follow::default());
    bench.sign();
    bench.step(Event::Committed(2));
    assert_eq!(bench.committed, 0);
    bench.settle();
    assert_eq!(bench.committed, 2);
}

#[test]
fn a_snapshot_is_dropped_and_made_again_where_the_signature_that_proved_it_is_rolled_back() {
    let mut bench = Bench::new();
    let sign = |snapshot| Event::Sign {
        end_chunk: false,
        snapshot,
    };
    bench.submit(1, Follow::default());
    bench.step(sign(true));
    bench.settle();
    assert_eq!(bench.drafts.len(), 1);
    bench.step(Event::Role(Role::Primary));
    bench.step(Event::SnapshotWritten {
        seqno: 2,
        digest: [1; 32],
    });
    bench.step(sign(false));
    bench.settle();
    bench.step(Event::RollBack { to: 2, view: 3 });
    assert_eq!(bench.others, ["dropped"]);
    bench.step(Event::Role(Role::Alone));
    bench.submit(2, Follow::default());
    bench.step(sign(false));
    bench.settle();
    assert_eq!(bench.drafts.len(), 2);
}

#[test]
fn a_backup_waits_for_no_signature_that_it_would_not_make() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.settle();
    bench.pass(999);
    bench.step(Event::Role(Role::Backup));
    bench.pass(5000);
    assert_eq!(bench.core.wakes_at(), None);
    let signed = bench.core.next();
    bench.sign();
    assert_eq!(bench.core.next(), signed, "nor one that somebody asks for");
}
