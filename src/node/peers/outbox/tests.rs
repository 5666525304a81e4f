use super::*;

fn frame(after: Seqno, through: Seqno, view: View) -> Message {
    Message::AppendEntries(AppendEntries {
        idx: through,
        prev_idx: after,
        view,
        prev_view: 2,
        leader_commit: 0,
        view_of_idx: view,
    })
}

fn stored(through: Seqno) -> Entries {
    let then = Vec::new();
    Entries::Stored { through, then }
}

fn held(bytes: usize) -> Entries {
    Entries::Held(vec![vec![7; bytes].into()])
}

fn outbox() -> Outbox {
    Outbox::new(4, 100)
}

/// The next one is to be read; answers its ticket.
#[track_caller]
fn reads(outbox: &mut Outbox) -> (Seqno, Seqno, u64) {
    match outbox.next() {
        Next::Read { after, through, ticket } => (after, through, ticket),
        Next::Nothing => panic!("nothing"),
        Next::Send(message, _) => panic!("{message:?}"),
    }
}

fn sends(outbox: &mut Outbox) -> Option<(Seqno, Vec<u8>)> {
    match outbox.next() {
        Next::Send(Message::AppendEntries(frame), bytes) => Some((frame.idx, bytes)),
        _ => None,
    }
}

#[test]
fn frames_stay_in_order_while_the_first_is_read() {
    let mut outbox = outbox();
    outbox.push(frame(1, 5, 3), stored(5)).unwrap();
    outbox.push(frame(5, 6, 3), held(3)).unwrap();
    let (after, through, ticket) = reads(&mut outbox);
    assert_eq!((after, through), (1, 5));
    assert_eq!(sends(&mut outbox), None);
    assert_eq!(outbox.waits_after(3), Some((1, 2)));
    outbox.was_read(ticket, vec![1, 2]);
    assert_eq!(sends(&mut outbox), Some((5, vec![1, 2])));
    assert_eq!(outbox.waits_after(3), Some((5, 2)));
    assert_eq!(sends(&mut outbox), Some((6, vec![7; 3])));
    assert_eq!(outbox.waits_after(3), None);
}

#[test]
fn what_is_in_memory_follows_what_was_read_in_one_frame() {
    let mut outbox = outbox();
    let then = vec![vec![8].into(), vec![9].into()];
    outbox
        .push(frame(1, 5, 3), Entries::Stored { through: 3, then })
        .unwrap();
    let (_, through, ticket) = reads(&mut outbox);
    assert_eq!(through, 3);
    outbox.was_read(ticket, vec![1]);
    assert_eq!(sends(&mut outbox), Some((5, vec![1, 8, 9])));
}

#[test]
fn a_leader_that_goes_back_takes_back_what_was_not_sent() {
    let mut outbox = outbox();
    outbox.push(frame(1, 5, 3), stored(5)).unwrap();
    outbox.push(frame(5, 9, 3), held(50)).unwrap();
    let (_, _, ticket) = reads(&mut outbox);
    outbox.push(frame(1, 3, 3), held(1)).unwrap();
    outbox.was_read(ticket, vec![1]);
    assert_eq!(sends(&mut outbox), Some((3, vec![7])));
    assert_eq!(sends(&mut outbox), None);
    assert_eq!(outbox.bytes, 0);
}

#[test]
fn what_is_of_a_view_that_was_left_is_not_sent() {
    let mut outbox = outbox();
    outbox.push(frame(1, 5, 3), held(1)).unwrap();
    assert_eq!(outbox.waits_after(4), None);
    assert_eq!(sends(&mut outbox), None);
}

#[test]
fn what_waits_is_bounded_and_nothing_follows_what_was_left_out() {
    let mut outbox = outbox();
    outbox.push(frame(1, 2, 3), held(1000)).unwrap();
    assert_eq!(outbox.push(frame(2, 3, 3), held(1)), Err(Refused::Full));
    assert_eq!(outbox.push(frame(3, 4, 3), stored(4)), Err(Refused::Gap));
    assert!(sends(&mut outbox).is_some());
    for seqno in 1..=4 {
        outbox.push(frame(seqno, seqno + 1, 3), stored(seqno + 1)).unwrap();
    }
    assert_eq!(outbox.push(frame(5, 6, 3), stored(6)), Err(Refused::Full));
}

#[test]
fn entries_come_from_memory_as_far_as_they_are_there_and_from_the_files_before() {
    let gathered = |after, through, kept_from: Seqno| {
        let Message::AppendEntries(frame) = frame(after, through, 3) else {
            panic!()
        };
        match Entries::gather(&frame, |seqno| (seqno >= kept_from).then(|| vec![seqno as u8].into())) {
            Entries::Held(held) => (None, held.concat()),
            Entries::Stored { through, then } => (Some(through), then.concat()),
        }
    };
    assert_eq!(gathered(3, 6, 1), (None, vec![4, 5, 6]));
    assert_eq!(gathered(3, 6, 6), (Some(5), vec![6]));
    assert_eq!(gathered(3, 6, 9), (Some(6), vec![]));
    assert_eq!(gathered(6, 6, 1), (None, vec![]));
}
