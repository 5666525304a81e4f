//! Cores of several nodes that write one ledger: what one seals, the others take over, and all commit the same.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::cluster::*;
use super::*;
use crate::consensus::{Consensus, Message};
use crate::format::private::PrivateWrites;
use crate::tables::names;

#[test]
fn a_node_that_joins_takes_the_whole_ledger_and_what_follows_and_both_commit() {
    let mut cluster = Cluster::begin();
    (0..10).for_each(|n| cluster.put(1, &n.to_string()));
    cluster.run(30);
    let alone = cluster.of(1).committed;
    assert!(alone >= 11, "{alone}");
    cluster.joins(2);
    assert!(cluster.of(1).committed > alone);
    cluster.put(1, "more");
    cluster.run(30);
    let (one, two) = (cluster.of(1).committed, cluster.of(2).committed);
    assert_eq!(one, two);
    assert_eq!(cluster.agree(&[1, 2]), one);
    let applied = |cluster: &mut Cluster, n| cluster.of(n).applied.keys().copied().collect::<Vec<_>>();
    assert_eq!(applied(&mut cluster, 1), applied(&mut cluster, 2));
}

#[test]
fn who_follows_answers_what_only_reads_and_refuses_what_writes() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.run(30);
    let now = cluster.now;
    let mut ask = |writes| {
        let submission = Submission {
            ticket: Ticket(1000),
            writes,
            claims: None,
            is_own: false,
            follow: Follow::default(),
        };
        let effects = cluster.of(2).core.step(now, Event::Transaction(submission));
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Answer(_, outcome) => Some(outcome),
            _ => None,
        });
        answers.next().unwrap()
    };
    assert!(matches!(ask(WriteSet::new()), Outcome::Written(_)));
    assert!(matches!(
        ask(trusts(&[(3, "Pending")])),
        Outcome::Refused(Refusal::NotPrimary)
    ));
}

#[test]
fn nothing_is_committed_by_the_leader_as_long_as_the_only_other_disk_is_slow() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.of(2).is_slow = true;
    let before = cluster.of(1).committed;
    cluster.put(1, "k");
    cluster.run(15);
    assert_eq!(cluster.of(1).committed, before, "nobody else has it on a disk");
    cluster.of(2).is_slow = false;
    while let Some(operation) = cluster.of(2).under_way.pop_front() {
        perform(&mut cluster.of(2).disk, &operation);
        cluster.step(id(2), Event::Done);
    }
    cluster.run(30);
    assert!(cluster.of(1).committed > before);
    assert_eq!(cluster.agree(&[1, 2]), cluster.of(1).committed);
}

#[test]
fn when_the_leader_is_cut_off_another_leads_and_what_was_not_committed_is_replaced() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    cluster.run(30);
    let before = cluster.agree(&[1, 2, 3]);
    cluster.unreachable.insert(id(1));
    cluster.put(1, "lost");
    cluster.run(80);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    cluster.put(leader, "kept");
    cluster.run(40);
    let after = cluster.of(leader).committed;
    assert!(after > before && cluster.of(1).committed == before);
    cluster.unreachable.clear();
    cluster.run(80);
    assert_eq!(cluster.agree(&[1, 2, 3]), cluster.of(leader).committed);
    let keys = |cluster: &mut Cluster, n| {
        let writes = cluster.of(n).applied.values();
        let keys = writes.flat_map(|writes| writes.iter().map(|(_, write)| write.key.to_vec()).collect::<Vec<_>>());
        keys.collect::<BTreeSet<_>>()
    };
    for n in [1, 2, 3] {
        let keys = keys(&mut cluster, n);
        assert!(keys.contains(&b"kept"[..]) && !keys.contains(&b"lost"[..]), "{n}");
    }
}

#[test]
fn who_takes_over_signs_as_the_ledger_has_it() {
    use SignatureMode::{Cose, Dual};
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    let mode = |cluster: &mut Cluster, n| {
        let signed = cluster.of(n).applied.values().rev();
        signed.filter_map(SignatureMode::of).next().unwrap()
    };
    assert_eq!(mode(&mut cluster, 1), Dual);
    let mut alone = cluster.of(1).core.signers().clone();
    alone.mode = Cose;
    cluster.of(1).core.set_signers(alone);
    cluster.put(1, "by the service alone");
    cluster.run(40);
    assert_eq!(mode(&mut cluster, 2), Cose);
    // This one was started to sign with both.
    assert_eq!(cluster.of(2).core.signers().mode, Dual);
    cluster.unreachable.insert(id(1));
    cluster.run(80);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    for _ in 0..3 {
        cluster.put(leader, "more");
        cluster.run(40);
        assert_eq!(mode(&mut cluster, leader), Cose);
    }
    // What was never committed is no example.
    let mut both = cluster.of(1).core.signers().clone();
    both.mode = Dual;
    cluster.of(1).core.set_signers(both);
    cluster.put(1, "lost");
    cluster.run(20);
    cluster.unreachable.clear();
    cluster.run(80);
    assert_eq!(mode(&mut cluster, 1), Cose);
    cluster.agree(&[1, 2, 3]);
}

#[test]
fn an_entry_that_is_not_the_next_or_signs_another_root_ends_the_frame_and_the_right_one_is_taken_then() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.run(20);
    let last = cluster.of(2).core.next().seqno - 1;
    cluster.put(1, "k");
    let sent = cluster.on_the_way.iter().rposition(|(_, to, message, frame)| {
        *to == id(2) && matches!(message, Message::AppendEntries(_)) && !frame.is_empty()
    });
    let (from, _, message, frame) = cluster.on_the_way.remove(sent.unwrap()).unwrap();
    let other = cluster.of(1).disk[&1].clone();
    cluster.step_with(id(2), Event::Heard { from, message }, vec![other; frame.len()]);
    assert_eq!(cluster.of(2).core.next().seqno - 1, last, "nothing of it was taken");
    cluster.run(40);
    assert_eq!(cluster.agree(&[1, 2]), cluster.of(1).committed);
    assert!(cluster.of(1).committed > last);
}

/// Entries after the last of node 2 arrive there from node 1, each of these bytes: as an event that was asked for.
fn entries_of(cluster: &mut Cluster, raw: &Bytes, count: u64) -> Option<Vec<Followed>> {
    let next = cluster.of(2).core.next();
    let (view, last) = (next.view, next.seqno - 1);
    let frame = crate::consensus::AppendEntries {
        idx: last + count,
        prev_idx: last,
        view,
        prev_view: cluster.of(2).core.view_of(last),
        leader_commit: 0,
        view_of_idx: view,
    };
    let now = cluster.now;
    let (from, message) = (id(1), Message::AppendEntries(frame));
    let effects = cluster.of(2).core.step(now, Event::Heard { from, message });
    let is_asked = effects.iter().any(|effect| matches!(effect, Effect::Verify { .. }));
    let entries = (next.seqno..next.seqno + count).map(|seqno| Followed {
        txid: txid(view, seqno),
        raw: raw.clone(),
        leaf: [0; 32],
        flags: 0,
        writes: WriteSet::new(),
        private: PrivateWrites::default(),
        signs: None,
        rekey: None,
    });
    is_asked.then(|| entries.collect())
}

/// Gives node 2 the next entry, changed like this, as its leader's; whether it is taken.
fn is_taken(cluster: &mut Cluster, change: impl FnOnce(&mut Followed)) -> bool {
    let raw = Bytes::from(vec![0; 100]);
    let before = cluster.of(2).core.next().seqno;
    let mut entries = entries_of(cluster, &raw, 1).unwrap();
    entries.iter_mut().for_each(|entry| entry.flags = 0);
    change(&mut entries[0]);
    let now = cluster.now;
    let mut effects = cluster.of(2).core.step(now, Event::Followed(entries));
    while effects.iter().any(|effect| matches!(effect, Effect::Perform(_))) {
        effects = cluster.of(2).core.step(now, Event::Done);
    }
    cluster.of(2).core.next().seqno > before
}

#[test]
fn an_entry_of_another_view_or_place_or_root_or_that_ends_a_chunk_anywhere_is_not_taken() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.run(40);
    let last = cluster.of(2).core.next().seqno - 1;
    assert_eq!(cluster.of(2).core.last_signed().unwrap().txid.seqno, last);
    assert!(!is_taken(&mut cluster, |entry| entry.txid.view -= 1));
    assert!(!is_taken(&mut cluster, |entry| entry.txid.view += 1));
    assert!(!is_taken(&mut cluster, |entry| entry.txid.seqno += 1));
    assert!(!is_taken(&mut cluster, |entry| entry.signs = Some([9; 32])));
    // A chunk begins after a signature, and nowhere else: of each entry it would be a file.
    assert!(is_taken(&mut cluster, |entry| entry.flags = 2));
    assert!(is_taken(&mut cluster, |_| {}));
    assert!(!is_taken(&mut cluster, |entry| entry.flags = 2));
    assert!(is_taken(&mut cluster, |_| {}));
}

#[test]
fn a_leader_that_is_faster_than_the_disk_does_not_fill_the_memory_and_is_taken_up_again() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    let now = cluster.now;
    let raw = Bytes::from(vec![0; 32 << 20]);
    let mut taken = 0;
    while let Some(entries) = entries_of(&mut cluster, &raw, 1).filter(|_| taken < 100) {
        let _ = cluster.of(2).core.step(now, Event::Followed(entries));
        taken += 1;
    }
    assert_eq!(taken, 8, "256 MiB wait for the disk, and more is refused unread");
    let last = cluster.of(2).core.next().seqno - 1;
    let _ = cluster.of(2).core.step(now, Event::Done);
    let _ = cluster.of(2).core.step(now, Event::Done);
    for _ in 0..40 {
        let _ = cluster.of(2).core.step(now, Event::Done);
        if let Some(entries) = entries_of(&mut cluster, &raw, 1) {
            let _ = cluster.of(2).core.step(now, Event::Followed(entries));
            break;
        }
    }
    assert_eq!(cluster.of(2).core.next().seqno - 1, last + 1, "there is room again");
}

#[test]
fn a_leader_that_never_ends_a_chunk_is_refused_where_positions_can_express_no_more() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    let now = cluster.now;
    let raw = Bytes::from(vec![0; 64 << 20]);
    let mut taken = 0;
    for _ in 0..70 {
        let before = cluster.of(2).core.next().seqno;
        let Some(entries) = entries_of(&mut cluster, &raw, 1) else {
            break;
        };
        let mut effects = cluster.of(2).core.step(now, Event::Followed(entries));
        while effects.iter().any(|effect| matches!(effect, Effect::Perform(_))) {
            effects = cluster.of(2).core.step(now, Event::Done);
        }
        taken += cluster.of(2).core.next().seqno - before;
    }
    assert_eq!(taken, 63, "of 64 MiB each, below 4 GiB");
}

#[test]
fn a_joiner_that_dies_before_it_answers_costs_what_came_after_it_and_an_opening_among_that_is_proposed_again() {
    let mut cluster = Cluster::begin();
    let before = cluster.of(1).committed;
    cluster.unreachable.insert(id(2));
    cluster.write(1, trusts(&[(2, "Trusted")]));
    cluster.step(id(1), Event::PrivateLedgerRead);
    assert_eq!(cluster.of(1).proposed, [Proposal::Opening]);
    let opens = Follow {
        milestone: Some(Milestone::Opened),
        ..Follow::default()
    };
    let mut writes = WriteSet::new();
    writes.put("public:m", "opened", "yes");
    cluster.write_and(1, writes, opens);
    cluster.run(60);
    assert_eq!(cluster.of(1).committed, before, "a node that takes part is silent");
    cluster.run(40);
    let leader = cluster.of(1);
    assert!(leader.leads && leader.committed > before);
    assert_eq!(leader.proposed, [Proposal::Opening, Proposal::Opening]);
    assert_eq!(leader.core.consensus().unwrap().configurations().count(), 1);
}

#[test]
fn who_was_given_up_on_and_has_gone_on_standing_comes_in_once_it_is_heard_and_trusted_again() {
    let mut cluster = Cluster::begin();
    let chance = ChaCha20Rng::seed_from_u64(2);
    let joins = Consensus::follow(agreeing(), beginning(2, 0), chance, cluster.now.elapsed);
    cluster.add(2, joins);
    cluster.write(1, trusts(&[(2, "Trusted")]));
    // It hears that it takes part, and has acknowledged nothing when it is heard no more.
    cluster.of(2).is_slow = true;
    cluster.run(40);
    cluster.mute.insert(id(2));
    cluster.run(200);
    assert!(cluster.of(1).leads);
    assert_eq!(
        cluster.of(1).core.consensus().unwrap().configurations().count(),
        1,
        "given up"
    );
    let (view, theirs) = [1, 2].map(|n| cluster.of(n).core.consensus().unwrap().view()).into();
    assert!(theirs > view + 1, "{theirs} {view}");
    cluster.mute.clear();
    cluster.of(2).is_slow = false;
    while let Some(operation) = cluster.of(2).under_way.pop_front() {
        perform(&mut cluster.of(2).disk, &operation);
        cluster.step(id(2), Event::Done);
    }
    cluster.run(2000);
    let mut tries = 0;
    while cluster.of(2).committed < cluster.of(1).committed || cluster.of(2).committed == 0 {
        tries += 1;
        assert!(tries < 4, "trusted again and again, and never in");
        let leader = cluster.leader();
        cluster.write(leader, trusts(&[(2, "Trusted")]));
        cluster.run(60);
    }
    cluster.agree(&[1, 2]);
}

#[test]
fn a_leader_that_has_signed_its_own_retirement_off_writes_nothing_more() {
    let mut cluster = Cluster::begin();
    cluster.joins(2);
    cluster.joins(3);
    cluster.write(1, trusts(&[(1, "Retired")]));
    cluster.run(30);
    cluster.unreachable.extend([id(2), id(3)]);
    let mut writes = WriteSet::new();
    let mark = "{\"status\":\"Retired\",\"retired_committed\":true}";
    writes.put(names::NODES_INFO, id(1).to_string(), mark);
    cluster.write(1, writes);
    let sign = || Event::Sign {
        end_chunk: false,
        snapshot: false,
    };
    cluster.step(id(1), sign());
    // Who reads the ledger believes this signature, and none after it.
    let last = cluster.of(1).core.next();
    assert_eq!(cluster.of(1).core.last_signed().unwrap().txid.seqno, last.seqno - 1);
    cluster.put(1, "k");
    cluster.step(id(1), sign());
    cluster.run(5);
    assert_eq!(cluster.of(1).core.next(), last);
    cluster.unreachable.clear();
    cluster.run(60);
    let leader = cluster.leader();
    assert_ne!(leader, 1);
    assert!(cluster.of(leader).committed >= last.seqno - 1);
}
