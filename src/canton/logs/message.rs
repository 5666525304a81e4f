//! The sentences about commitments, and what each says (SPEC-CANTON 1.1, 1.2, 1.4).

use memchr::memmem;

use super::logger::Kind;
use crate::canton::Timestamp;
use crate::canton::evidence::{Comparison, Period};

/// The sentence that proves agreement.
pub const CORRECT: &[u8] = b"Commitment correct for sender ";

/// A record of a log, as its writer made it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The name of its logger, where that is one of interest.
    pub logger: Option<(&'a [u8], Kind)>,
    /// `INFO` and the like; empty where it is not said.
    pub level: &'a [u8],
    /// The message, and in text whatever follows it.
    pub message: &'a [u8],
    /// Where the terms are that a mismatch speaks of: a field of its own in JSON, the message in text.
    pub terms: &'a [u8],
    /// Whether words stand before it of which it can't be told whether another logger quotes it.
    pub is_unsure: bool,
}

/// One thing that a record says. Participants are as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The owner compared its commitment with a counterparty's.
    Compared(&'a [u8], Period, Comparison),
    /// A counterparty sent its commitment for a period that ends here.
    Sent(&'a [u8], Timestamp),
    /// The owner computed its commitments up to here.
    Reached(Timestamp),
    /// A commitment that ends here was ignored: the owner's contracts are pruned further than that.
    Pruned(Timestamp),
    /// A commitment that ends here was ignored: the owner skipped it to catch up.
    Skipped(Timestamp),
    /// The owner caught up.
    CatchingUp,
    /// Who the owner is.
    Owner(&'a [u8]),
    /// Canton 3.6 speaks: the processor of earlier releases is switched off.
    OldIsDisabled,
    /// A counterparty's commitment is not its own, or contradicts itself.
    Alarm,
    /// It should say one of these, and can't be understood.
    Malformed,
}

/// Reads a record of a logger of interest. What it says is given to `say`, with the kind of sentence.
pub fn read<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let starts = |start: &[u8]| record.message.starts_with(start);
    match SENTENCES.iter().find(|(start, _)| starts(start)) {
        Some((_, sentence)) => sentence(record, say),
        None => contained(record, say),
    }
}

type Sentence = for<'a> fn(&Record<'a>, &mut dyn FnMut(&'static str, Said<'a>));

/// Beginnings of messages, the frequent ones first.
const SENTENCES: [(&[u8], Sentence); 10] = [
    (CORRECT, correct),
    (b"Checking commitment (purportedly by) ", checking),
    (b"Processing completed period ", |record, say| {
        end_of_period(record.message, "completed", Said::Reached, say)
    }),
    (b"Computed and stored ", |record, say| {
        // Without a period it speaks of something else.
        if memmem::find(record.message, PERIOD).is_some() {
            end_of_period(record.message, "completed", Said::Reached, say)
        }
    }),
    (b"Persisted ACS commitments at ", |record, say| {
        instant(record.message, "completed", Said::Reached, say)
    }),
    (b"Checked buffered remote commitments up to ", |record, say| {
        instant(record.message, "completed", Said::Reached, say)
    }),
    (b"Buffering ", buffering),
    (b"Matching received ACS commitment from ", matching),
    (b"Ignoring incoming commitment for a ", ignoring),
    (b"Entered catch-up mode", |_, say| say("catch-up", Said::CatchingUp)),
];

/// What may stand further inside a message.
fn contained<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let has = |needle: &[u8]| memmem::find(record.message, needle).is_some();
    if has(b"ACS_") {
        if has(b"ACS_COMMITMENT_MISMATCH") || has(b"ACS_MISMATCH_NO_SHARED_CONTRACTS") {
            return mismatch(record, say);
        }
        if has(b"ACS_COMMITMENT_DEGRADATION") {
            return say("catch-up", Said::CatchingUp);
        }
        if has(b"ACS_COMMITMENT_ALARM") {
            return say("alarm", Said::Alarm);
        }
    }
    if has(b"(Old) ACS commitment processor is disabled") {
        return say("disabled", Said::OldIsDisabled);
    }
    if has(b"ntered catch-up mode") {
        return say("catch-up", Said::CatchingUp);
    }
    if has(CORRECT) {
        correct(record, say);
    }
}

fn correct<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let starts = memmem::find_iter(record.message, CORRECT);
    for rest in starts.filter_map(|at| record.message.get(at + CORRECT.len()..)) {
        say(
            "correct",
            match whom_and_period(rest, b" and period ") {
                Some((whom, period)) => Said::Compared(whom, period, Comparison::Correct),
                None => Said::Malformed,
            },
        );
    }
}

fn checking<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let rest = after(record.message, b"(purportedly by) ").unwrap_or_default();
    say(
        "checking",
        match whom_and_period(rest, b" for period ") {
            Some((whom, period)) => Said::Sent(whom, period.to_inclusive),
            None => Said::Malformed,
        },
    );
}

fn matching<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let rest = after(record.message, b" commitment from ").unwrap_or_default();
    say(
        "matching",
        match whom_and_period(rest, b" at offset ") {
            Some((whom, period)) => Said::Compared(whom, period, Comparison::Weak),
            None => Said::Malformed,
        },
    );
}

fn buffering<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let Some(received) = Received::find(record.message) else {
        return;
    };
    say("buffering", Said::Sent(received.sender, received.period.to_inclusive));
    if let Some(owner) = received.counterparty {
        say("owner", Said::Owner(owner));
    }
}

fn ignoring<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let Some(received) = Received::find(record.message) else {
        return say("ignoring", Said::Malformed);
    };
    let at = received.period.to_inclusive;
    let is_pruned = after(record.message, b"for a pruned period").is_some();
    say(
        "ignoring",
        match is_pruned {
            true => Said::Pruned(at),
            false => Said::Skipped(at),
        },
    );
    say("ignoring", Said::Sent(received.sender, at));
    if let Some(owner) = received.counterparty {
        say("owner", Said::Owner(owner));
    }
}

fn mismatch<'a>(record: &Record<'a>, say: &mut dyn FnMut(&'static str, Said<'a>)) {
    let Some(received) = Received::find(record.terms).or_else(|| Received::find(record.message)) else {
        return say("mismatch", Said::Malformed);
    };
    say(
        "mismatch",
        Said::Compared(received.sender, received.period, Comparison::Mismatch),
    );
    if let Some(owner) = received.counterparty {
        say("owner", Said::Owner(owner));
    }
}

/// A commitment that the owner received, printed as a term: `AcsCommitment(… sender = …, counterParticipant = …, period = …)`,
/// on one line or several.
struct Received<'a> {
    sender: &'a [u8],
    counterparty: Option<&'a [u8]>,
    period: Period,
}

impl<'a> Received<'a> {
    fn find(text: &'a [u8]) -> Option<Received<'a>> {
        let rest = after(text, b"sender = ")?;
        let (period_at, period) = period(rest)?;
        let head = rest.get(..period_at)?;
        let owner = after(head, b"counterParticipant = ").or_else(|| after(head, b"counterparticipant = "));
        Some(Received {
            sender: value(rest)?,
            counterparty: owner.and_then(value),
            period,
        })
    }
}

/// The text of a term's field, up to what ends it.
fn value(text: &[u8]) -> Option<&[u8]> {
    let end = text
        .iter()
        .take(LONGEST_NAME)
        .position(|byte| matches!(byte, b',' | b'\n' | b')' | b'"'))?;
    text.get(..end).map(<[u8]>::trim_ascii_end)
}

/// Bytes of the longest participant: code, identifier, whole fingerprint, dots; with room.
const LONGEST_NAME: usize = 300;
const PERIOD: &[u8] = b"CommitmentPeriod(";

fn whom_and_period<'a>(rest: &'a [u8], between: &[u8]) -> Option<(&'a [u8], Period)> {
    let head = rest.get(..rest.len().min(LONGEST_NAME)).unwrap_or_default();
    let end = memmem::find(head, between)?;
    let (whom, rest) = (rest.get(..end)?, rest.get(end + between.len()..)?);
    let (at, period) = period(rest)?;
    // Of another sentence, if so far away.
    (at <= 64).then_some((whom, period))
}

/// The first period in a text, and where it begins.
fn period(text: &[u8]) -> Option<(usize, Period)> {
    let at = match text.starts_with(PERIOD) {
        true => 0,
        false => memmem::find(text, PERIOD)?,
    };
    let rest = text
        .get(at + PERIOD.len()..)?
        .trim_ascii_start()
        .strip_prefix(b"fromExclusive")?;
    let (from_exclusive, rest) = field(rest)?;
    let rest = rest.trim_ascii_start().strip_prefix(b",")?.trim_ascii_start();
    let (to_inclusive, _) = field(rest.strip_prefix(b"toInclusive")?)?;
    let period = Period {
        from_exclusive,
        to_inclusive,
    };
    (from_exclusive < to_inclusive).then_some((at, period))
}

/// ` = <instant>`, and what follows.
fn field(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    let text = text.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let length = text
        .iter()
        .take(32)
        .take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z' | b':' | b'.' | b'-'))
        .count();
    let (instant, rest) = text.split_at_checked(length)?;
    Some((Timestamp::parse(instant)?, rest))
}

fn end_of_period<'a>(
    text: &'a [u8],
    kind: &'static str,
    make: fn(Timestamp) -> Said<'a>,
    say: &mut dyn FnMut(&'static str, Said<'a>),
) {
    say(
        kind,
        period(text).map_or(Said::Malformed, |(_, period)| make(period.to_inclusive)),
    );
}

/// The first instant in a text: as it is, or inside of a term such as `RecordTime(timestamp = …)`.
fn instant<'a>(
    text: &'a [u8],
    kind: &'static str,
    make: fn(Timestamp) -> Said<'a>,
    say: &mut dyn FnMut(&'static str, Said<'a>),
) {
    let mut words = text.split(|byte| matches!(byte, b' ' | b'(' | b',' | b')' | b'\n' | b'='));
    let at = words.find_map(Timestamp::parse);
    say(kind, at.map_or(Said::Malformed, make));
}

fn after<'a>(text: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    text.get(memmem::find(text, needle)? + needle.len()..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, terms: &str) -> Vec<String> {
        let record = Record {
            logger: None,
            level: b"INFO",
            message: message.as_bytes(),
            terms: terms.as_bytes(),
            is_unsure: false,
        };
        let mut all = Vec::new();
        read(&record, &mut |kind, said| {
            let name = |whom: &[u8]| String::from_utf8_lossy(whom).into_owned();
            all.push(match said {
                Said::Compared(whom, period, comparison) => format!(
                    "{kind} {comparison:?} {} {} {}",
                    name(whom),
                    period.from_exclusive,
                    period.to_inclusive
                ),
                Said::Sent(whom, at) => format!("{kind} sent {} {at}", name(whom)),
                Said::Owner(whom) => format!("{kind} {}", name(whom)),
                Said::Reached(at) => format!("{kind} reached {at}"),
                Said::Pruned(at) => format!("{kind} pruned {at}"),
                Said::Skipped(at) => format!("{kind} skipped {at}"),
                other => format!("{kind} {other:?}"),
            });
        });
        all
    }

    const PERIOD: &str = "CommitmentPeriod(fromExclusive = 2024-04-21T23:24:00Z, toInclusive = 2024-04-21T23:25:00Z)";
    const TERM: &str = "AcsCommitment(\n  synchronizerId = global-domain::12203f4eb526...,\n  sender = PAR::a b::12205f1149bc...,\n  \
         counterParticipant = PAR::me::1220e959c972...,\n  period = CommitmentPeriod(\n    fromExclusive = 2024-04-21T23:24:00Z,\n    \
         toInclusive = 2024-04-21T23:25:00Z\n  ),\n  commitment = 1234\n)";

    #[test]
    fn every_sentence_says_what_it_says() {
        let sent = "sent PAR::a b::12205f1149bc... 2024-04-21T23:25:00Z";
        let owner = "owner PAR::me::1220e959c972...".to_owned();
        for (message, expected) in [
            (
                format!("Commitment correct for sender PAR::Digital-Asset-Eng-4::12205f1149bc... and period {PERIOD}"),
                vec!["correct Correct PAR::Digital-Asset-Eng-4::12205f1149bc... 2024-04-21T23:24:00Z 2024-04-21T23:25:00Z".to_owned()],
            ),
            (
                format!("Checking commitment (purportedly by) PAR::a b::12205f1149bc... for period {PERIOD}"),
                vec![format!("checking {sent}")],
            ),
            (format!("Processing completed period {PERIOD} with 3"), vec!["completed reached 2024-04-21T23:25:00Z".to_owned()]),
            (
                format!("Computed and stored 12 commitment messages for period {PERIOD}"),
                vec!["completed reached 2024-04-21T23:25:00Z".to_owned()],
            ),
            (
                "Persisted ACS commitments at RecordTime(timestamp = 2024-04-21T23:25:00.5Z, tieBreaker = 3)".to_owned(),
                vec!["completed reached 2024-04-21T23:25:00.500Z".to_owned()],
            ),
            (
                "Checked buffered remote commitments up to 2024-04-21T23:25:00Z and ready".to_owned(),
                vec!["completed reached 2024-04-21T23:25:00Z".to_owned()],
            ),
            (format!("Buffering {TERM} because"), vec![format!("buffering {sent}"), owner.clone()]),
            (
                format!("Ignoring incoming commitment for a pruned period: {TERM}"),
                vec!["ignoring pruned 2024-04-21T23:25:00Z".to_owned(), format!("ignoring {sent}"), owner.clone()],
            ),
            (
                format!("Ignoring incoming commitment for a skipped period due to catch-up: {TERM}"),
                vec!["ignoring skipped 2024-04-21T23:25:00Z".to_owned(), format!("ignoring {sent}"), owner.clone()],
            ),
            ("Entered catch-up mode with config x".to_owned(), vec!["catch-up CatchingUp".to_owned()]),
            (
                format!("Matching received ACS commitment from a b::12205f1149bc... at offset 12 for period {PERIOD}"),
                vec!["matching Weak a b::12205f1149bc... 2024-04-21T23:24:00Z 2024-04-21T23:25:00Z".to_owned()],
            ),
            ("(Old) ACS commitment processor is disabled".to_owned(), vec!["disabled OldIsDisabled".to_owned()]),
            (
                format!("ACS_COMMITMENT_MISMATCH(5,e37a6a5b): The local commitment does not match err-context:{{remote={TERM}}}"),
                vec![
                    "mismatch Mismatch PAR::a b::12205f1149bc... 2024-04-21T23:24:00Z 2024-04-21T23:25:00Z".to_owned(),
                    owner.clone(),
                ],
            ),
            ("nothing of interest about Commitments".to_owned(), vec![]),
        ] {
            assert_eq!(said(&message, ""), expected, "{message}");
        }
        assert_eq!(
            said("ACS_COMMITMENT_MISMATCH(5,e37a6a5b): The local", TERM).len(),
            2,
            "terms in a field of their own"
        );
    }

    #[test]
    fn what_is_cut_short_or_impossible_is_malformed() {
        for message in [
            "Commitment correct for sender PAR::a::12205f1149bc... and period CommitmentPeriod(fromExclusive = 2024-04-21T23:24:00Z, toIncl",
            "Commitment correct for sender PAR::a::12205f1149bc...",
            "Commitment correct for sender PAR::a::12205f1149bc... and period CommitmentPeriod(fromExclusive = 2024-04-21T23:25:00Z, toInclusive = 2024-04-21T23:24:00Z)",
            "Commitment correct for sender PAR::a::12205f1149bc... and period CommitmentPeriod(fromExclusive = 2024-04-21T25:25:00Z, toInclusive = 2024-04-21T26:24:00Z)",
        ] {
            assert_eq!(said(message, ""), ["correct Malformed"], "{message}");
        }
        assert_eq!(
            said("ACS_COMMITMENT_MISMATCH(5,e37a6a5b): x", ""),
            ["mismatch Malformed"]
        );
    }
}
