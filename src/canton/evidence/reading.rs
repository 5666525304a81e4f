//! Reads an evidence file piece by piece: each run goes to its place as soon as it is read, so that a file takes no more
//! memory than what it says does. Fields stand in any order, as tools that format JSON leave them.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::compared::Periods;
use super::file::{FORMAT, Fault, LARGEST, LONGEST_NAME, Run, VERSION};
use super::room::{self, MOST_BYTES, MOST_FACTS};
use super::{Comparison, Evidence, Observations, Period, digest};
use crate::canton::Timestamp;
use crate::canton::name::{NotAParticipant, Participant};

/// Bytes that are read at once.
const AHEAD: usize = 64 << 10;

pub fn read(source: impl Read) -> Result<(String, Evidence), Fault> {
    let is_too_large = Cell::new(false);
    let mut source = Limited {
        source: BufReader::with_capacity(AHEAD, source),
        left: LARGEST,
        is_too_large: &is_too_large,
    };
    let mut first = Vec::with_capacity(3);
    (&mut source).take(3).read_to_end(&mut first).map_err(Fault::Unread)?;
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first);
    let mut json = serde_json::Deserializer::from_reader(first.chain(source));
    let mut reading = Reading::default();
    let result = reading.document(&mut json).and_then(|()| json.end());
    match result {
        Ok(()) => reading.finish(),
        Err(_) if is_too_large.get() => Err(Fault::TooLarge),
        Err(why) => Err(match reading.fault {
            Some(fault) => fault,
            None if why.is_io() => Fault::Unread(why.into()),
            None if reading.format.is_none() => Fault::Another,
            None => Fault::Shape(why),
        }),
    }
}

/// A source of which no more than so much is read.
struct Limited<'a, R> {
    source: R,
    left: usize,
    is_too_large: &'a Cell<bool>,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => {
                self.is_too_large.set(true);
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(read)
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    format: Option<String>,
    version: Option<u32>,
    name: Option<String>,
    participant: Option<Option<String>>,
    digest: Option<String>,
    left_out: Option<u64>,
    synchronizers: bool,
    evidence: Evidence,
    /// Periods that were promised.
    periods: u64,
    /// What is wrong, where it is not the shape.
    fault: Option<Fault>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Format,
    Version,
    Name,
    Participant,
    Digest,
    LeftOut,
    Synchronizers,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum OfSynchronizer {
    Synchronizer,
    Reached,
    Pruned,
    CatchingUp,
    Counterparties,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum OfCounterparty {
    Participant,
    Sent,
    Correct,
    Weak,
    Mismatch,
}

/// The value of a field that stands once.
fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    first(slot.is_some(), name)?;
    *slot = Some(map.next_value()?);
    Ok(())
}

fn first<E: serde::de::Error>(is_there: bool, name: &'static str) -> Result<(), E> {
    match is_there {
        true => Err(E::duplicate_field(name)),
        false => Ok(()),
    }
}

impl Reading {
    fn document<'de, D: Deserializer<'de>>(&mut self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(Document(self))
    }

    /// Ends the reading for a reason of its own.
    fn refuse<T, E: serde::de::Error>(&mut self, fault: Fault) -> Result<T, E> {
        let why = E::custom(&fault);
        self.fault = Some(fault);
        Err(why)
    }

    fn wrong<T, E: serde::de::Error>(&mut self, what: impl Into<String>) -> Result<T, E> {
        self.refuse(Fault::Content(what.into()))
    }

    /// Takes room for what is kept, which is there for all that `scan` writes.
    fn room<E: serde::de::Error>(&mut self, facts: usize, bytes: usize) -> Result<(), E> {
        if self.evidence.kept.take(facts, bytes) {
            return Ok(());
        }
        let most = MOST_BYTES >> 20;
        self.wrong(format!(
            "it holds more than {MOST_FACTS} facts, or more than fit into {most} MiB"
        ))
    }

    /// The periods that a run promises; checked before anything is unfolded: a few bytes may promise billions.
    fn promised<E: serde::de::Error>(&mut self, run: &Run) -> Result<(), E> {
        self.periods = self.periods.saturating_add(run.2);
        if self.periods <= MOST_FACTS as u64 {
            return Ok(());
        }
        let periods = self.periods;
        self.wrong(format!(
            "it promises {periods} periods, and an evidence file has at most {MOST_FACTS}"
        ))
    }

    fn finish(self) -> Result<(String, Evidence), Fault> {
        let missing = |name| Fault::Shape(serde_json::Error::missing_field(name));
        let (Some(_), Some(_)) = (self.format, self.version) else {
            return Err(Fault::Another);
        };
        let name = self.name.ok_or_else(|| missing("name"))?;
        let stated = self.digest.ok_or_else(|| missing("digest"))?;
        let mut evidence = self.evidence;
        evidence.left_out = self.left_out.ok_or_else(|| missing("left_out"))?;
        if !self.synchronizers {
            return Err(missing("synchronizers"));
        }
        if name.is_empty() || name.chars().count() > LONGEST_NAME {
            let found = format!("the SV's name must have 1 to {LONGEST_NAME} characters");
            return Err(Fault::Content(found));
        }
        if let Some(owner) = self.participant.flatten() {
            let why = |why: NotAParticipant| Fault::Content(format!("of its owner: {why}"));
            evidence.participant = Some(owner.parse().map_err(why)?);
        }
        let computed = digest(&evidence);
        if computed != stated {
            let stated = crate::shown::excerpt(&stated);
            return Err(Fault::Digest { stated, computed });
        }
        Ok((name, evidence))
    }
}

struct Document<'a>(&'a mut Reading);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an evidence file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        while let Some(field) = map.next_key()? {
            match field {
                Field::Format => {
                    once(&mut reading.format, "format", &mut map)?;
                    if reading.format.as_deref() != Some(FORMAT) {
                        return reading.refuse(Fault::Another);
                    }
                }
                Field::Version => {
                    once(&mut reading.version, "version", &mut map)?;
                    if let Some(version) = reading.version.filter(|version| *version != VERSION) {
                        return reading.refuse(Fault::Version(version));
                    }
                }
                Field::Name => once(&mut reading.name, "name", &mut map)?,
                Field::Participant => once(&mut reading.participant, "participant", &mut map)?,
                Field::Digest => once(&mut reading.digest, "digest", &mut map)?,
                Field::LeftOut => once(&mut reading.left_out, "left_out", &mut map)?,
                Field::Synchronizers => {
                    first(std::mem::replace(&mut reading.synchronizers, true), "synchronizers")?;
                    map.next_value_seed(Synchronizers(reading))?;
                }
            }
        }
        Ok(())
    }
}

/// A part of a document, with what it is read into.
macro_rules! part {
    ($name:ident, $call:ident $(, $into:ty)*) => {
        struct $name<'a>(&'a mut Reading $(, &'a mut $into)*);

        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
                json.$call(self)
            }
        }
    };
}

part!(Synchronizers, deserialize_seq);
part!(Synchronizer, deserialize_map);
part!(Counterparties, deserialize_seq, Observations);
part!(Counterparty, deserialize_map, Observations);
part!(Runs, deserialize_seq, Periods, bool);

impl<'de> Visitor<'de> for Synchronizers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of synchronizers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while all.next_element_seed(Synchronizer(self.0))?.is_some() {}
        Ok(())
    }
}

impl<'de> Visitor<'de> for Synchronizer<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a synchronizer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        let (mut name, mut reached, mut pruned, mut catching_up) = (None::<String>, None, None, None);
        let (mut observations, mut has_counterparties) = (Observations::default(), false);
        while let Some(field) = map.next_key()? {
            match field {
                OfSynchronizer::Synchronizer => once(&mut name, "synchronizer", &mut map)?,
                OfSynchronizer::Reached => once(&mut reached, "reached", &mut map)?,
                OfSynchronizer::Pruned => once(&mut pruned, "pruned", &mut map)?,
                OfSynchronizer::CatchingUp => once(&mut catching_up, "catching_up", &mut map)?,
                OfSynchronizer::Counterparties => {
                    first(std::mem::replace(&mut has_counterparties, true), "counterparties")?;
                    map.next_value_seed(Counterparties(reading, &mut observations))?;
                }
            }
        }
        first_missing(&[
            (name.is_some(), "synchronizer"),
            (catching_up.is_some(), "catching_up"),
            (has_counterparties, "counterparties"),
        ])?;
        let name = name.unwrap_or_default();
        if reading.evidence.observations.contains_key(&name) {
            return reading.wrong("a synchronizer stands in it twice");
        }
        reading.room(1, room::synchronizer(&name))?;
        observations.reached = reached.flatten();
        observations.pruned = pruned.flatten();
        observations.was_catching_up = catching_up.unwrap_or_default();
        reading.evidence.observations.insert(name, observations);
        Ok(())
    }
}

fn first_missing<E: serde::de::Error>(fields: &[(bool, &'static str)]) -> Result<(), E> {
    match fields.iter().find(|(is_there, _)| !is_there) {
        Some((_, name)) => Err(E::missing_field(name)),
        None => Ok(()),
    }
}

impl<'de> Visitor<'de> for Counterparties<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of counterparties")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        while all.next_element_seed(Counterparty(self.0, self.1))?.is_some() {}
        Ok(())
    }
}

impl<'de> Visitor<'de> for Counterparty<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a counterparty")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Counterparty(reading, observations) = self;
        let (mut participant, mut sent) = (None::<Participant>, None::<Option<Timestamp>>);
        let (mut all, mut has, mut is_again) = (<[Periods; 3]>::default(), [false; 3], false);
        while let Some(field) = map.next_key()? {
            let (comparison, name) = match field {
                OfCounterparty::Participant => {
                    once(&mut participant, "participant", &mut map)?;
                    continue;
                }
                OfCounterparty::Sent => {
                    once(&mut sent, "sent", &mut map)?;
                    continue;
                }
                OfCounterparty::Correct => (Comparison::Correct, "correct"),
                OfCounterparty::Weak => (Comparison::Weak, "weak"),
                OfCounterparty::Mismatch => (Comparison::Mismatch, "mismatch"),
            };
            let at = comparison as usize;
            if let (Some(periods), Some(has)) = (all.get_mut(at), has.get_mut(at)) {
                first(std::mem::replace(has, true), name)?;
                map.next_value_seed(Runs(reading, periods, &mut is_again))?;
            }
        }
        let [correct, weak, mismatch] = has;
        let Some(counterparty) = participant else {
            return Err(A::Error::missing_field("participant"));
        };
        first_missing(&[(correct, "correct"), (weak, "weak"), (mismatch, "mismatch")])?;
        if is_again {
            return reading.wrong(format!("a period of {counterparty} stands in it twice"));
        }
        if observations.compared.has_any(&counterparty) || observations.sent.contains_key(&counterparty) {
            return reading.wrong(format!("{counterparty} stands twice in a synchronizer"));
        }
        let is_compared = all.iter().any(|periods| periods.count() > 0);
        let sent = sent.flatten();
        if let Some(to_inclusive) = sent {
            reading.room(1, room::sender(&counterparty))?;
            observations.sent.insert(counterparty.clone(), to_inclusive);
        }
        if is_compared {
            reading.room(0, room::counterparty(&counterparty))?;
            observations.compared.insert(counterparty, all);
        } else if sent.is_none() {
            return reading.wrong(format!("it says nothing about {counterparty}"));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Runs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of runs of periods")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<(), A::Error> {
        let Runs(reading, periods, is_again) = self;
        while let Some(run) = all.next_element::<Run>()? {
            reading.promised(&run)?;
            let run = match unfold(&run) {
                Ok(run) => run,
                Err(fault) => return reading.refuse(fault),
            };
            let before = periods.count();
            let new = periods.add(run);
            *is_again |= new < run.count;
            let more = periods.count().saturating_sub(before);
            reading.room(new as usize, more * room::RUN)?;
        }
        Ok(())
    }
}

/// The periods that a run stands for.
fn unfold(run: &Run) -> Result<super::Run, Fault> {
    let Run(from_exclusive, length, count) = *run;
    let wrong = |what: &str| Fault::Content(format!("a run of periods that {what}, at {from_exclusive}"));
    // A log may hold a period that ends where or before it begins; two of them never follow each other.
    if count == 0 || (length <= 0 && count > 1) {
        return Err(wrong("has no periods"));
    }
    let after = |count: u64| {
        let micros = length.checked_mul(i64::try_from(count).ok()?)?;
        Timestamp::from_micros(from_exclusive.micros().checked_add(micros)?)
    };
    let first_and_last = after(1).zip(after(count)).zip(u32::try_from(count).ok());
    let Some(((to_inclusive, _), count)) = first_and_last else {
        return Err(wrong("goes beyond what Canton's clock knows"));
    };
    let first = Period {
        from_exclusive,
        to_inclusive,
    };
    Ok(super::Run { first, count })
}
