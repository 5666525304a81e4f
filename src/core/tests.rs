//! What the core decides, event by event, with files that are nowhere.

mod agreement;
mod cluster;
mod leaving;
mod life;
mod rollback;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::crypto::x509::{self, Validity};
use crate::crypto::{Curve, LedgerSecret, SigningKey};
use crate::format::domain::{EntryType, WriteSet};
use crate::format::{Seqno, TxId};
use crate::journal::files::Operation;
use crate::journal::snapshot::Draft;
use crate::journal::{SealKey, SignatureMode, Signers};

fn signers() -> Signers {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let key = Arc::new(SigningKey::generate(Curve::P256, &mut rng));
    let validity = Validity::days(1_700_000_000, 10).unwrap();
    let serial = crate::crypto::random::serial(&mut rng);
    Signers {
        mode: SignatureMode::Dual,
        node_certificate: x509::issue_self_signed("CN=node", &[], &key, validity, serial).unwrap(),
        node: Arc::clone(&key),
        service: key,
        issuer: String::new(),
        subject: String::new(),
    }
}

fn settings() -> Settings {
    Settings {
        chunk_size: 1 << 20,
        entry_type: EntryType::WriteSetWithCommitEvidenceAndClaims,
        signatures: Some(SignatureSettings {
            tx_count: 3,
            delay: Duration::from_secs(1),
        }),
        max_uncommitted: 10,
        snapshots: None,
    }
}

/// A core with a clock, which keeps what is under way until the test says what became of it.
struct Bench {
    core: Core,
    now: Now,
    under_way: VecDeque<Operation>,
    answers: Vec<(u64, Outcome)>,
    committed: Seqno,
    reached: Vec<Milestone>,
    proposals: Vec<Proposal>,
    others: Vec<&'static str>,
    drafts: Vec<Draft>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(settings())
    }

    fn with(settings: Settings) -> Bench {
        let key = SealKey::new(&LedgerSecret::from_bytes([7; 32]));
        Bench {
            core: Core::new(Start::genesis(), settings, Arc::new(key), signers()),
            now: Now::default(),
            under_way: VecDeque::new(),
            answers: Vec::new(),
            committed: 0,
            reached: Vec::new(),
            proposals: Vec::new(),
            others: Vec::new(),
            drafts: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        for effect in self.core.step(self.now, event) {
            match effect {
                Effect::Perform(operation) => self.under_way.push_back(operation),
                Effect::Answer(ticket, outcome) => self.answers.push((ticket.0, outcome)),
                Effect::Announce(Announcement::Committed { txid, .. }) => self.committed = txid.seqno,
                Effect::Announce(Announcement::Reached(milestone)) => self.reached.push(milestone),
                Effect::Announce(Announcement::Waiting { .. }) => self.others.push("waiting"),
                Effect::Announce(Announcement::Resumed) => self.others.push("resumed"),
                Effect::Announce(Announcement::Open) => self.others.push("open"),
                Effect::Announce(_) => {}
                Effect::Propose(proposal) => self.proposals.push(proposal),
                Effect::Stopped => self.others.push("stopped"),
                Effect::GiveUp { .. } => self.others.push("gave up"),
                Effect::Snapshot(draft) => self.drafts.push(draft),
                Effect::DropSnapshot { .. } => self.others.push("dropped"),
                Effect::NameSnapshot { .. } | Effect::ProveSnapshot { .. } => {}
                Effect::Send { .. } | Effect::Verify { .. } => panic!("nobody else is there"),
            }
        }
        assert!(self.under_way.len() <= 1, "one operation at a time");
    }

    fn submit(&mut self, ticket: u64, follow: Follow) {
        let mut writes = WriteSet::new();
        writes.put("public:m", "k", format!("{ticket}"));
        self.step(Event::Transaction(Submission {
            ticket: Ticket(ticket),
            writes,
            claims: None,
            is_own: false,
            follow,
        }));
    }

    /// Somebody wants everything signed.
    fn sign(&mut self) {
        self.step(Event::Sign {
            end_chunk: false,
            snapshot: false,
        });
    }

    fn done(&mut self) -> Operation {
        let operation = self.under_way.pop_front().expect("something is under way");
        self.step(Event::Done);
        operation
    }

    fn fail(&mut self, is_waited_for: bool) -> Operation {
        let operation = self.under_way.pop_front().expect("something is under way");
        let reason = "no".to_owned();
        self.step(Event::Failed(Failure { is_waited_for, reason }));
        operation
    }

    fn settle(&mut self) {
        while !self.under_way.is_empty() {
            self.done();
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.elapsed += Duration::from_millis(ms);
        self.step(Event::Tick);
    }
}

fn txid(view: u64, seqno: u64) -> TxId {
    TxId { view, seqno }
}

fn written(answers: &[(u64, Outcome)]) -> Vec<u64> {
    let written = answers
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Written(_)));
    written.map(|(ticket, _)| *ticket).collect()
}

#[test]
fn a_transaction_is_answered_when_it_is_written_and_committed_when_a_signature_over_it_is_durable() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    assert!(matches!(bench.done(), Operation::Create { chunk: 1, .. }));
    assert_eq!(written(&bench.answers), [] as [u64; 0]);
    assert!(matches!(
        bench.done(),
        Operation::Write {
            chunk: 1,
            offset: 8,
            ..
        }
    ));
    assert_eq!(bench.answers, [(1, Outcome::Written(txid(2, 1)))]);
    bench.pass(999);
    assert!(bench.under_way.is_empty(), "no signature is due yet");
    bench.pass(1);
    assert!(matches!(bench.done(), Operation::Write { .. }));
    assert_eq!(bench.committed, 0, "what is not synced is not committed");
    assert!(matches!(bench.done(), Operation::Sync { chunk: 1 }));
    assert_eq!(bench.committed, 2);
}

#[test]
fn what_waits_while_something_is_under_way_goes_to_the_disk_together() {
    let mut bench = Bench::new();
    (1..=2).for_each(|ticket| bench.submit(ticket, Follow::default()));
    bench.done();
    let Operation::Write { entries, .. } = bench.done() else {
        panic!()
    };
    assert_eq!((entries.len(), written(&bench.answers)), (2, vec![1, 2]));
}

#[test]
fn a_failed_write_is_tried_again_with_the_same_bytes_and_nobody_is_refused() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.done();
    let first = bench.fail(true);
    bench.submit(2, Follow::default());
    bench.pass(249);
    assert!(bench.under_way.is_empty(), "a full disk is not asked again at once");
    bench.pass(1);
    assert_eq!(bench.fail(false), first, "a sealed entry is final");
    assert_eq!(bench.others, ["waiting"], "it is said once");
    bench.pass(250);
    assert_eq!(bench.done(), first);
    bench.settle();
    assert_eq!(written(&bench.answers), [1, 2]);
    assert_eq!(bench.others, ["waiting", "resumed"]);
}

#[test]
fn after_a_failed_sync_everything_since_the_last_success_is_written_again() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.submit(2, Follow::default());
    bench.sign();
    bench.done();
    let Operation::Write { entries: all, .. } = bench.done() else {
        panic!()
    };
    assert_eq!(all.len(), 3);
    assert!(matches!(bench.fail(false), Operation::Sync { .. }));
    bench.pass(250);
    let Operation::Write { entries, offset, .. } = bench.done() else {
        panic!("the bytes come first")
    };
    assert_eq!((entries, offset), (all, 8));
    assert_eq!(bench.committed, 0);
    assert!(matches!(bench.done(), Operation::Sync { .. }));
    assert_eq!(bench.committed, 3);
    assert_eq!(written(&bench.answers), [1, 2], "nobody is answered twice");
}

impl Bench {
    /// The first of `kind` under way fails until the core gives up, or has been told 50 times; what is written again before
    /// it succeeds. Answers how often it was told.
    fn refuse(&mut self, kind: fn(&Operation) -> bool, is_waited_for: bool) -> u32 {
        while !self.under_way.front().is_some_and(kind) {
            self.done();
        }
        for told in 1..=50 {
            self.fail(is_waited_for);
            if self.others.contains(&"gave up") {
                return told;
            }
            self.pass(250);
            while !self.under_way.front().is_some_and(kind) {
                assert!(matches!(self.done(), Operation::Write { .. }));
            }
        }
        50
    }
}

#[test]
fn a_disk_that_syncs_nothing_any_more_ends_the_writer_and_what_others_can_mend_is_waited_for() {
    let kinds: [fn(&Operation) -> bool; 4] = [
        |operation| matches!(operation, Operation::Sync { .. }),
        |operation| matches!(operation, Operation::Complete { .. }),
        |operation| matches!(operation, Operation::Cut { .. }),
        |operation| matches!(operation, Operation::NameRecovered),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        for (is_waited_for, times) in [(false, 20), (true, 50)] {
            let mut bench = Bench::with(Settings {
                chunk_size: if number == 1 { 1 } else { 1 << 20 },
                ..settings()
            });
            let milestone = (number == 3).then_some(Milestone::Opened);
            bench.submit(
                1,
                Follow {
                    sign: true,
                    milestone,
                    ..Follow::default()
                },
            );
            if number == 2 {
                bench.settle();
                bench.step(Event::Role(Role::Primary));
                bench.submit(2, Follow::default());
                bench.settle();
                bench.step(Event::RollBack { to: 2, view: 3 });
            }
            let committed = bench.committed;
            assert_eq!(bench.refuse(kind, is_waited_for), times, "{number}");
            assert_eq!(bench.committed, if number == 0 { 0 } else { 2 }.max(committed));
        }
    }
}

#[test]
fn a_sync_that_succeeds_now_and_then_is_not_given_up() {
    let mut bench = Bench::new();
    for ticket in 1..=3 {
        bench.submit(ticket, Follow::default());
        bench.sign();
        while !matches!(bench.under_way.front(), Some(Operation::Sync { .. })) {
            bench.done();
        }
        for _ in 0..19 {
            bench.fail(false);
            bench.pass(250);
            assert!(matches!(bench.done(), Operation::Write { .. }));
        }
        bench.settle();
    }
    assert_eq!((bench.committed, bench.others.contains(&"gave up")), (6, false));
}

#[test]
fn too_many_that_are_not_committed_are_refused_but_what_the_node_needs_is_not() {
    let mut bench = Bench::new();
    bench.fail_everything_after(0);
    (1..=20).for_each(|ticket| bench.submit(ticket, Follow::default()));
    let refused = bench
        .answers
        .iter()
        .map(|(_, outcome)| outcome.clone())
        .collect::<Vec<_>>();
    assert!(!refused.is_empty());
    assert!(
        refused
            .iter()
            .all(|outcome| *outcome == Outcome::Refused(Refusal::TooManyUncommitted))
    );
    let mut writes = WriteSet::new();
    writes.put("public:m", "k", "own");
    bench.step(Event::Transaction(Submission {
        ticket: Ticket(99),
        writes,
        claims: None,
        is_own: true,
        follow: Follow::default(),
    }));
    assert!(bench.answers.iter().all(|(ticket, _)| *ticket != 99));
}

impl Bench {
    /// From here on nothing under way comes to an end.
    fn fail_everything_after(&mut self, done: usize) {
        (0..done).for_each(|_| drop(self.done()));
    }
}

#[test]
fn a_chunk_that_a_signature_ends_is_completed_before_the_next_one_is_begun() {
    let mut bench = Bench::with(Settings {
        chunk_size: 1,
        ..settings()
    });
    bench.submit(1, Follow::default());
    bench.sign();
    bench.submit(2, Follow::default());
    bench.done();
    bench.done();
    bench.done();
    assert_eq!(bench.committed, 2);
    let Operation::Complete {
        chunk, last, positions, ..
    } = bench.done()
    else {
        panic!()
    };
    assert_eq!((chunk, last, positions.len()), (1, 2, 2));
    assert!(matches!(bench.done(), Operation::Create { chunk: 3, .. }));
    bench.settle();
    assert_eq!(written(&bench.answers), [1, 2]);
}

#[test]
fn whoever_only_reads_is_answered_when_what_was_read_is_written_also_where_that_is_a_signature() {
    let mut bench = Bench::new();
    bench.submit(1, Follow::default());
    bench.sign();
    bench.step(Event::Transaction(Submission {
        ticket: Ticket(2),
        writes: WriteSet::new(),
        claims: None,
        is_own: false,
        follow: Follow::default(),
    }));
    assert_eq!(bench.answers, []);
    bench.settle();
    assert_eq!(
        bench.answers,
        [(1, Outcome::Written(txid(2, 1))), (2, Outcome::Written(txid(2, 2)))]
    );
}

#[test]
fn a_completion_that_fails_is_tried_again_where_every_entry_is_durable() {
    let mut bench = Bench::with(Settings {
        chunk_size: 1,
        ..settings()
    });
    bench.submit(1, Follow::default());
    bench.sign();
    (0..3).for_each(|_| drop(bench.done()));
    let first = bench.fail(true);
    assert!(matches!(first, Operation::Complete { chunk: 1, .. }));
    bench.submit(2, Follow::default());
    bench.pass(250);
    assert_eq!(bench.done(), first, "before the next chunk is begun");
    assert!(matches!(bench.done(), Operation::Create { chunk: 3, .. }));
}

#[test]
fn signatures_that_come_while_the_disk_writes_do_not_put_the_sync_off_for_ever() {
    let mut bench = Bench::with(Settings {
        chunk_size: 1 << 30,
        max_uncommitted: 0,
        ..settings()
    });
    let mut most = 0;
    for ticket in 1..=64 {
        let mut writes = WriteSet::new();
        writes.put("public:m", "k", vec![0; 1 << 20]);
        bench.step(Event::Transaction(Submission {
            ticket: Ticket(ticket),
            writes,
            claims: None,
            is_own: false,
            follow: Follow::default(),
        }));
        bench.sign();
        bench.done();
        let last = bench.core.next().seqno - 1;
        most = most.max(last - bench.committed);
    }
    // Two entries a step.
    assert!(most <= 2 * 24, "{most} entries wait for a sync");
}
