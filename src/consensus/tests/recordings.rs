//! What real CCF nodes and an independent client said to each other: the recordings beside the specification.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// The lines of a recording. None, with a message, where they are absent and not required.
fn recording(name: &str) -> Option<Vec<Value>> {
    let beside_ledgers =
        std::env::var_os("REKINDLE_CCF_LEDGERS").map(|ledgers| PathBuf::from(ledgers).join("../node-to-node"));
    let places = [
        Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/node-to-node")),
        beside_ledgers,
    ];
    let path = places
        .into_iter()
        .flatten()
        .map(|place| place.join(name))
        .find(|path| path.is_file());
    let Some(path) = path else {
        let required = std::env::var("REKINDLE_REQUIRE_CCF_LEDGERS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there is no recording {name}"
        );
        eprintln!("skipped: no recording {name}");
        return None;
    };
    let text = std::fs::read_to_string(path).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A message as it was on the wire: its fields in order, from its bytes.
fn message(line: &Value) -> Option<Message> {
    let raw = hex(line.get("raw")?.as_str()?);
    if line.get("type")?.as_u64()? != 1 {
        return None;
    }
    // The length, the type, the sender's id after its own length.
    let header = raw.get(4 + 8 + 8 + 64..)?;
    let field = |at: usize| Some(u64::from_le_bytes(header.get(at * 8..at * 8 + 8)?.try_into().ok()?));
    let question = || {
        Some(RequestVote {
            view: field(1)?,
            last_signed: field(2)?,
            view_of_last_signed: field(3)?,
        })
    };
    Some(match field(0)? {
        0 => Message::AppendEntries(AppendEntries {
            idx: field(1)?,
            prev_idx: field(2)?,
            view: field(3)?,
            prev_view: field(4)?,
            leader_commit: field(5)?,
            view_of_idx: field(6)?,
        }),
        1 => Message::AppendEntriesResponse(AppendEntriesResponse {
            view: field(1)?,
            last_idx: field(2)?,
            ok: *header.get(24)? == 0,
        }),
        3 => Message::RequestVote(question()?),
        4 => vote(field(1)?, *header.get(16)? == 1),
        5 => Message::ProposeRequestVote { view: field(1)? },
        _ => return None,
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Messages in one direction between two times, of one of our nodes where there are several.
fn said(lines: &[Value], direction: &str, from: f64, to: f64, own: &str) -> Vec<Message> {
    let timed = said_when(lines, direction, from, to, own).into_iter();
    timed.map(|(_, message)| message).collect()
}

/// The same with their times.
fn said_when(lines: &[Value], direction: &str, from: f64, to: f64, own: &str) -> Vec<(f64, Message)> {
    let wanted = lines.iter().filter(|line| {
        let time = line.get("t").and_then(Value::as_f64).unwrap_or(-1.0);
        let is_own = line
            .get("self")
            .and_then(Value::as_str)
            .is_none_or(|id| id.starts_with(own));
        // What was made wrong on purpose has no key that its tag verifies with.
        let is_whole = line.get("name").and_then(Value::as_str) != Some("made");
        (from..to).contains(&time) && line["dir"] == direction && is_own && is_whole
    });
    wanted
        .filter_map(|line| Some((line["t"].as_f64()?, message(line)?)))
        .collect()
}

fn is_frame_with_entries(message: &Message) -> bool {
    matches!(message, Message::AppendEntries(frame) if frame.idx > frame.prev_idx)
}

fn messages(effects: &[Effect]) -> Vec<Message> {
    sent(effects).into_iter().map(|(_, message)| message).collect()
}

/// Node 1, which leads in view `view` since `views.last()`, alone, everything committed.
fn alone(views: &[(View, Seqno)], last: Seqno, view: View) -> Consensus {
    let start = Start {
        view,
        views: views
            .iter()
            .map(|(view, first)| ViewStart {
                view: *view,
                first: *first,
            })
            .collect(),
        last,
        committed: last,
        ..start(1, &[1])
    };
    // Whatever is new goes into one burst, as in CCF and in the client.
    let settings = Settings {
        frames_under_way: 1000,
        ..settings()
    };
    Consensus::lead(settings, start, chance(), at(0)).0
}

/// Recording 2: refused with 4.300, then with 2.300, 2.100 and 4.0 for three frames of that burst.
#[test]
fn refusals_lead_back_to_where_they_led_a_real_primary() {
    let Some(lines) = recording("2-going-back-and-retirement.jsonl") else {
        return;
    };
    let between = |direction: &str, from, to| said(&lines, direction, from, to, "91d39");
    let mut primary = alone(&[(2, 1)], 578, 4);
    write(&mut primary, &[entry(4, 579), signature(4, 580)]);
    assert_eq!(primary.committed(), 580);
    let effects = primary.appended(at(0), &trusted(4, 581, &[1, 2]));
    assert_eq!(messages(&effects), between("in", 1.4, 1.5));

    for refusal in between("out", 1.47, 1.48) {
        assert_eq!(refusal, refused(4, 300));
        primary.received(at(50), id(2), refusal);
    }
    let burst = messages(&primary.tick(at(100), &PerFrame(1)));
    assert_eq!(burst[0], frame(4, txid(2, 300), 301, 2, 580));
    let recorded = between("in", 1.55, 1.56);
    assert_eq!(recorded.len(), 21);
    assert!(burst.ends_with(&recorded));

    let refusals = between("out", 1.54, 1.55);
    assert_eq!(refusals, [refused(2, 300), refused(2, 100), refused(4, 0)]);
    for refusal in refusals {
        primary.received(at(150), id(2), refusal);
    }
    write(&mut primary, &[signature(4, 582)]);
    let burst = messages(&primary.tick(at(200), &PerFrame(1)));
    let recorded = between("in", 1.64, 1.69);
    assert_eq!(recorded.len(), 62);
    assert!(burst.starts_with(&recorded[..40]) && burst.ends_with(&recorded[40..]));
    for answer in between("out", 1.64, 1.69) {
        primary.received(at(250), id(2), answer);
    }
    write(&mut primary, &[entry(4, 583)]);
    assert_eq!(
        messages(&primary.tick(at(300), &PerFrame(1))),
        between("in", 1.74, 1.75)
    );
}

/// Recording 1: a deliberate refusal with 2.500 of who has acknowledged 584.
#[test]
fn a_refusal_below_the_match_leads_where_it_led_a_real_primary() {
    let Some(lines) = recording("1-follower-of-a-real-primary.jsonl") else {
        return;
    };
    let mut primary = alone(&[(2, 1)], 578, 4);
    write(&mut primary, &[signature(4, 579), trusted(4, 580, &[1, 2])]);
    write(
        &mut primary,
        &[entry(4, 581), entry(4, 582), entry(4, 583), signature(4, 584)],
    );
    primary.tick(at(100), &PerFrame(1));
    primary.received(at(100), id(2), ok(4, 584));
    let refusal = said(&lines, "out", 3.45, 3.46, "");
    assert_eq!(refusal, [refused(2, 500)]);
    primary.received(at(150), id(2), refusal[0]);
    assert_eq!(
        messages(&primary.tick(at(200), &PerFrame(1))),
        said(&lines, "in", 3.5, 3.57, "")
    );
}

/// Recording 7: a leader of view 6 is refused with 5.614, and finds 613.
#[test]
fn a_refusal_by_views_leads_where_it_led_the_client() {
    let Some(lines) = recording("7-what-a-follower-checks.jsonl") else {
        return;
    };
    let before = Start {
        view: 5,
        views: [(2, 1), (4, 579), (5, 606)]
            .map(|(view, first)| ViewStart { view, first })
            .to_vec(),
        last: 613,
        committed: 613,
        ..start(1, &[1, 2])
    };
    let mut leader = Consensus::follow(settings(), before, chance(), at(0));
    leader.received(at(0), id(2), Message::ProposeRequestVote { view: 5 });
    leader.received(at(0), id(2), vote(6, true));
    write(&mut leader, &[signature(6, 614)]);
    leader.flush(at(0), &PerFrame(9));
    assert_eq!(
        messages(&leader.tick(at(100), &PerFrame(9))),
        said(&lines, "out", 8.1, 8.2, "")
    );
    for refusal in said(&lines, "in", 8.1, 8.2, "") {
        assert_eq!(refusal, refused(5, 614));
        leader.received(at(110), id(2), refusal);
    }
    assert_eq!(
        messages(&leader.tick(at(200), &PerFrame(9))),
        said(&lines, "out", 8.3, 8.31, "")
    );
}

/// Recording 3, from the admission to the nudge: what was sent, when it was committed.
#[test]
fn a_leader_with_the_ledger_of_the_client_sends_what_the_client_sent() {
    let Some(lines) = recording("3-leader-of-a-real-node.jsonl") else {
        return;
    };
    let out = |from, to| said(&lines, "out", from, to, "");
    let frames_of = |from, to| {
        out(from, to)
            .into_iter()
            .filter(is_frame_with_entries)
            .collect::<Vec<_>>()
    };
    let mut leader = alone(&[(2, 1), (4, 579)], 604, 5);
    write(
        &mut leader,
        &[signature(5, 605), trusted(5, 606, &[1, 2]), signature(5, 607)],
    );
    assert_eq!(leader.committed(), 605);
    let hear = |leader: &mut Consensus, ms, from, to| {
        let answers = said(&lines, "in", from, to, "");
        assert!(!answers.is_empty());
        let effects = answers.into_iter().map(|answer| leader.received(at(ms), id(2), answer));
        effects.flatten().collect::<Vec<_>>()
    };
    assert_eq!(messages(&leader.flush(at(0), &PerFrame(50))), frames_of(7.7, 7.8));
    hear(&mut leader, 50, 7.7, 7.8);
    let all = frames_of(7.8, 8.1);
    assert_eq!(all.len(), 14);
    assert_eq!(messages(&leader.tick(at(100), &PerFrame(50))), all);
    hear(&mut leader, 150, 7.81, 8.24);
    // The answers to the last frames are among those that were left out.
    assert_eq!(commits(&leader.received(at(160), id(2), ok(5, 607))), [607]);
    let rounds = [
        ([entry(5, 608), signature(5, 609)], (9.0, 9.036), (9.037, 9.0374), 609),
        (
            [retires(5, 610, &[2], 1), signature(5, 611)],
            (10.22, 10.3),
            (10.24, 10.25),
            611,
        ),
        (
            [marks(5, 612, &[2], 1), signature(5, 613)],
            (10.34, 10.345),
            (10.344, 10.35),
            613,
        ),
    ];
    let mut last = Vec::new();
    for (entries, sent, answered, committed) in rounds {
        write(&mut leader, &entries);
        assert_eq!(
            messages(&leader.flush(at(200), &PerFrame(50))),
            frames_of(sent.0, sent.1)
        );
        last = hear(&mut leader, 200, answered.0, answered.1);
        assert_eq!(commits(&last), [committed]);
    }
    let nudge = out(10.35, 10.355);
    assert_eq!(messages(&last), nudge);
    assert_eq!(nudge, [Message::ProposeRequestVote { view: 5 }]);
    let first = said(&lines, "in", 10.355, 10.36, "")[0];
    let effects = leader.received(at(300), id(2), first);
    assert_eq!(messages(&effects), out(10.357, 10.36));
    assert!(effects.contains(&Effect::MayLeave { leader: id(2) }));
}

/// What a follower of ours answers to frames and questions, one after the other. An entry is bad where the recorded answer,
/// within 10 ms, says so; what was left out of the recording is filled in.
fn follow(asked: &[(f64, Message)], answers: &[(f64, Message)]) -> Vec<Message> {
    let mut consensus = newcomer(1);
    let commits = asked.iter().filter_map(|(_, message)| match message {
        Message::AppendEntries(frame) => Some(frame.leader_commit),
        _ => None,
    });
    let signatures: BTreeSet<Seqno> = commits.collect();
    let mut said = Vec::new();
    for (asked_at, message) in asked {
        let mut good_to = u64::MAX;
        if let Message::AppendEntries(frame) = message {
            if frame.prev_idx == 560 && consensus.last() == 40 {
                let left_out = super::frame(frame.view, txid(2, 40), 560, 2, 0);
                answer(&mut consensus, left_out, &signatures, u64::MAX);
            }
            let bad = answers.iter().find_map(|(at, answer)| match answer {
                Message::AppendEntriesResponse(answer) if !answer.ok && (*asked_at..asked_at + 0.01).contains(at) => {
                    Some(answer.last_idx).filter(|last| (frame.prev_idx..frame.idx).contains(last))
                }
                _ => None,
            });
            good_to = bad.unwrap_or(u64::MAX);
        }
        said.extend(answer(&mut consensus, *message, &signatures, good_to));
    }
    said
}

fn answer(consensus: &mut Consensus, message: Message, signatures: &BTreeSet<Seqno>, good_to: Seqno) -> Vec<Message> {
    let mut effects = consensus.received(at(0), id(2), message);
    if let Some(Effect::Verify {
        after, through, view, ..
    }) = effects.last().cloned()
    {
        for seqno in after + 1..=through.min(good_to) {
            let is_signature = signatures.contains(&seqno);
            let entry = Entry {
                is_signature,
                ..entry(view, seqno)
            };
            write(consensus, &[entry]);
        }
        effects.extend(if through <= good_to {
            consensus.accepted(at(0))
        } else {
            consensus.rejected(at(0))
        });
    }
    messages(&effects)
}

fn without_repetitions(mut messages: Vec<Message>) -> Vec<Message> {
    messages.dedup();
    messages
}

/// Recording 1 without its two deliberate lies: a refusal of what was there, and a view that nobody was in.
#[test]
fn a_follower_answers_a_real_primary_as_the_client_did() {
    let Some(lines) = recording("1-follower-of-a-real-primary.jsonl") else {
        return;
    };
    let asked = said_when(&lines, "in", 0.0, 21.0, "");
    let lies = [refused(2, 500), refused(10, 599)];
    let mut recorded = said(&lines, "out", 0.0, 21.0, "");
    recorded.retain(|answer| !lies.contains(answer));
    let own = follow(&asked, &[]);
    assert!(own.len() > 100, "{}", own.len());
    assert_eq!(without_repetitions(own), without_repetitions(recorded));
}

/// Recordings 3 and 7: whole frames, wrong ones of all kinds, votes; the answers are a real node's.
#[test]
fn a_follower_answers_the_client_as_a_real_node_did() {
    // Two answers of recording 3 are among the signs of life that were left out of it.
    let recordings = [
        ("3-leader-of-a-real-node.jsonl", 10.35, vec![ok(5, 604), ok(5, 607)]),
        ("7-what-a-follower-checks.jsonl", 8.5, vec![]),
    ];
    for (name, until, left_out) in recordings {
        let Some(lines) = recording(name) else { return };
        let asked = said_when(&lines, "out", 0.0, until, "");
        let mut own = follow(&asked, &said_when(&lines, "in", 0.0, until, ""));
        own.retain(|answer| !left_out.contains(answer));
        assert!(own.len() >= 20, "{name}");
        let recorded = said(&lines, "in", 0.0, until, "");
        assert_eq!(without_repetitions(own), without_repetitions(recorded), "{name}");
    }
}
