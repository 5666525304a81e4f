use super::*;

const ENTRIES: &[u8] = b"entries";

fn consensus() -> Vec<(Consensus, usize)> {
    let vote = RequestVote {
        view: 9,
        last_signed: 12,
        view_of_last_signed: 4,
    };
    let append = AppendEntries {
        idx: 12,
        prev_idx: 10,
        view: 5,
        prev_view: 2,
        leader_commit: 8,
        view_of_idx: 4,
    };
    let answer = |ok| {
        Consensus::AppendEntriesResponse(AppendEntriesResponse {
            view: 5,
            last_idx: 12,
            ok,
        })
    };
    let response = |granted| RequestVoteResponse { view: 9, granted };
    vec![
        (Consensus::AppendEntries(append), 57),
        (answer(true), 25),
        (answer(false), 25),
        (Consensus::RequestVote(vote), 32),
        (Consensus::RequestVoteResponse(response(true)), 17),
        (Consensus::RequestVoteResponse(response(false)), 17),
        (Consensus::ProposeRequestVote { view: 3 }, 16),
        (Consensus::RequestPreVote(vote), 32),
        (Consensus::RequestPreVoteResponse(response(true)), 17),
    ]
}

fn entries(message: &Consensus) -> &'static [u8] {
    match message {
        Consensus::AppendEntries(_) => ENTRIES,
        _ => &[],
    }
}

fn payload(message: &Consensus) -> Vec<u8> {
    let mut payload = message.header();
    payload.extend([0xcc; TAG_BYTES + IV_BYTES]);
    payload.extend(entries(message));
    payload
}

#[test]
fn every_consensus_message_has_its_size_and_is_read_back() {
    for (message, bytes) in consensus() {
        assert_eq!(message.header().len(), bytes, "{message:?}");
        let payload = payload(&message);
        let (read, envelope) = Consensus::parse(&payload).unwrap();
        assert_eq!(read, message);
        assert_eq!(
            (envelope.header, envelope.rest),
            (&message.header()[..], entries(&message))
        );
    }
}

#[test]
fn every_cut_consensus_message_is_refused() {
    for (message, _) in consensus() {
        let payload = payload(&message);
        for length in 0..payload.len() - entries(&message).len() {
            let found = Consensus::parse(&payload[..length]);
            assert!(matches!(found, Err(Dropped::Malformed(_))), "{length} of {message:?}");
        }
    }
}

#[test]
fn only_entries_may_follow_the_iv() {
    for (message, _) in consensus() {
        let longer = [payload(&message), vec![0]].concat();
        let is_refused = matches!(Consensus::parse(&longer), Err(Dropped::Malformed(_)));
        assert_eq!(is_refused, entries(&message).is_empty(), "{message:?}");
    }
}

#[test]
fn types_that_nobody_knows_and_flags_of_other_values_are_refused() {
    for found in [2_u64, 8, 9, 0x100, u64::MAX] {
        let payload = [&found.to_le_bytes()[..], &[0; 100]].concat();
        assert_eq!(Consensus::parse(&payload), Err(Dropped::UnknownConsensus { found }));
        assert_eq!(Forwarded::envelope(&payload), Err(Dropped::UnknownForwarded { found }));
    }
    for (message, bytes) in consensus() {
        let mut payload = payload(&message);
        if bytes % 8 == 1 {
            payload[bytes - 1] = 2;
            assert!(
                matches!(Consensus::parse(&payload), Err(Dropped::Malformed(_))),
                "{message:?}"
            );
        }
    }
}

fn forwarded() -> Vec<(Forwarded, usize)> {
    let request = |caller| {
        Forwarded::Request(ForwardedRequest {
            command: 7,
            view: 4,
            session: 3,
            caller,
            request: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        })
    };
    let answer = |end_session| {
        Forwarded::Answer(ForwardedAnswer {
            command: 7,
            end_session,
            session: 3,
            answer: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        })
    };
    vec![
        (request(None), 25),
        (request(Some(vec![0x30; 40])), 25),
        (request(Some(Vec::new())), 25),
        (answer(true), 18),
        (answer(false), 18),
    ]
}

#[test]
fn every_forwarded_message_is_read_back() {
    for (message, bytes) in forwarded() {
        let (header, plaintext) = (message.header(), message.plaintext());
        assert_eq!(header.len(), bytes);
        let payload = [&header[..], &[0; TAG_BYTES + IV_BYTES], &plaintext].concat();
        let envelope = Forwarded::envelope(&payload).unwrap();
        assert_eq!((envelope.header, envelope.rest), (&header[..], &plaintext[..]));
        assert_eq!(Forwarded::parse(&header, &plaintext), Ok(message));
    }
}

#[test]
fn forwarded_messages_that_are_cut_or_of_another_format_are_refused() {
    for (message, bytes) in forwarded() {
        let (header, plaintext) = (message.header(), message.plaintext());
        for length in 0..bytes {
            assert!(Forwarded::parse(&header[..length], &plaintext).is_err(), "{length}");
            assert!(Forwarded::envelope(&[&header[..length], &[0; 24]].concat()[..length + 24 - 1]).is_err());
        }
        for length in 0..8 {
            assert!(Forwarded::parse(&header, &plaintext[..length]).is_err(), "{length}");
        }
        let mut other = header.clone();
        other[8] = 1;
        assert!(matches!(
            Forwarded::parse(&other, &plaintext),
            Err(Dropped::Malformed(_))
        ));
    }
}

#[test]
fn a_client_certificate_of_more_bytes_than_there_are_is_refused() {
    let (message, _) = &forwarded()[1];
    let mut plaintext = message.plaintext();
    plaintext[9..17].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        Forwarded::parse(&message.header(), &plaintext),
        Err(Dropped::Malformed(_))
    ));
    plaintext[8] = 2;
    assert!(matches!(
        Forwarded::parse(&message.header(), &plaintext),
        Err(Dropped::Malformed(_))
    ));
}
