//! The life of a service: opening, snapshots, the end.

use super::*;

#[test]
fn a_service_opens_when_its_opening_is_committed_and_its_files_have_their_names() {
    let mut bench = Bench::new();
    let milestone = |milestone| Follow {
        sign: true,
        milestone: Some(milestone),
        ..Follow::default()
    };
    bench.submit(1, milestone(Milestone::SecretsKnown));
    assert!(bench.reached.is_empty());
    bench.settle();
    assert_eq!(bench.reached, [Milestone::SecretsKnown]);
    bench.step(Event::PrivateLedgerRead);
    assert_eq!(bench.proposals, [Proposal::Opening]);
    bench.submit(2, milestone(Milestone::Opened));
    bench.done();
    assert!(matches!(bench.done(), Operation::Sync { .. }));
    assert!(bench.others.is_empty());
    assert!(matches!(bench.fail(true), Operation::NameRecovered));
    bench.pass(250);
    assert!(matches!(bench.done(), Operation::NameRecovered));
    assert_eq!(bench.others, ["waiting", "resumed", "open"]);
}

#[test]
fn a_service_that_another_node_has_opened_is_open_once_its_files_have_their_names() {
    for is_recovering in [false, true] {
        let mut bench = Bench::new();
        bench.submit(1, Follow::default());
        bench.settle();
        bench.core.chunks.set_recovering(is_recovering);
        bench.step(Event::OpenedElsewhere);
        if is_recovering {
            bench.step(Event::OpenedElsewhere);
            assert!(bench.others.is_empty());
            assert!(matches!(bench.done(), Operation::NameRecovered));
        }
        bench.step(Event::OpenedElsewhere);
        bench.step(Event::PrivateLedgerRead);
        assert_eq!(bench.others, ["open"]);
        assert!(bench.proposals.is_empty(), "it is open already");
    }
}

#[test]
fn a_stop_signs_what_was_taken_whatever_waits_for_the_disk() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.step(Event::Stop);
    bench.submit(2, Follow::default());
    assert_eq!(bench.answers, [(2, Outcome::Refused(Refusal::Stopping))]);
    bench.done();
    bench.fail(true);
    bench.pass(250);
    bench.settle();
    assert_eq!(written(&bench.answers), [1]);
    assert_eq!((bench.committed, bench.others.last()), (2, Some(&"stopped")));
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_disk_that_refuses() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.step(Event::Stop);
    bench.fail(true);
    let mut tries = 0;
    while bench.others.last() != Some(&"gave up") {
        bench.pass(250);
        if !bench.under_way.is_empty() {
            bench.fail(true);
        }
        tries += 1;
        assert!(tries < 30, "{:?}", bench.others);
    }
    assert_eq!(tries, 20, "five seconds");
    bench.pass(1000);
    assert_eq!(bench.others.iter().filter(|said| **said == "gave up").count(), 1);

    // One that is slow refuses nothing.
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.step(Event::Stop);
    bench.pass(60_000);
    assert_eq!(bench.others.last(), None);
    bench.settle();
    assert_eq!(bench.others, ["stopped"]);
}

#[test]
fn a_snapshot_that_fails_is_made_again_although_nothing_else_happens() {
    let mut bench = Bench::with(Settings {
        snapshots: Some(SnapshotSettings {
            tx_count: 1000,
            min_tx_count: 1,
            time_interval: Duration::ZERO,
        }),
        ..settings()
    });
    let opened = Follow {
        sign: true,
        milestone: Some(Milestone::Opened),
        ..Follow::default()
    };
    bench.submit(1, opened);
    bench.settle();
    assert_eq!(bench.drafts.len(), 1);
    bench.step(Event::SnapshotFailed { seqno: 2 });
    bench.pass(999);
    assert_eq!(bench.drafts.len(), 1, "a full disk is not asked again at once");
    assert_eq!(bench.core.wakes_at(), Some(Duration::from_secs(1)));
    bench.pass(1);
    assert_eq!(bench.drafts.len(), 2);
    bench.pass(5000);
    assert_eq!(bench.drafts.len(), 2, "it is being written");
    bench.step(Event::SnapshotWritten {
        seqno: 2,
        digest: [1; 32],
    });
    assert_eq!(bench.core.next(), txid(2, 4), "its evidence follows");
}

#[test]
fn a_snapshot_is_sealed_with_the_secret_of_its_seqno_whatever_follows() {
    let mut bench = Bench::new();
    let old = bench.core.log.key();
    bench.submit(1, Follow::default());
    bench.step(Event::Sign {
        end_chunk: false,
        snapshot: true,
    });
    let new = Arc::new(SealKey::new(&LedgerSecret::from_bytes([8; 32])));
    bench.submit(
        2,
        Follow {
            rekey: Some(Arc::clone(&new)),
            ..Follow::default()
        },
    );
    bench.settle();
    let [draft] = bench.drafts.as_slice() else {
        panic!("one snapshot was asked for")
    };
    assert!(Arc::ptr_eq(&draft.key, &old));
    assert!(Arc::ptr_eq(&bench.core.log.key(), &new));
}
