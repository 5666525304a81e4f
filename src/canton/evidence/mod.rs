//! What the sources of one Super Validator say about commitments: the same whether they are logs or a database
//! (SPEC-CANTON 1, 5.2).
//!
//! A source gives [`Fact`]s one by one to a [`Facts`]; [`Evidence`] keeps each once, so that order, repetition and how logs
//! are split into files change nothing. The owner of a source is the participant that wrote it.

mod compared;
mod digest;
pub mod file;
mod reading;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::canton::Timestamp;
use crate::canton::name::Participant;

pub use compared::{Compared, Comparisons, Periods, Run};
pub use digest::{digest, digest_of_all};
use room::Room;
pub use room::{MOST_BYTES, MOST_FACTS};

/// The ticks that a commitment speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// The last instant before it; [`Timestamp::MIN`] where a participant begins.
    pub from_exclusive: Timestamp,
    /// Its last instant: the tick at which both sides' contracts were compared.
    pub to_inclusive: Timestamp,
}

/// How an owner's commitment compared with the one that a counterparty signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// They are the same: `Commitment correct …`, or Matched in the database.
    Correct,
    /// Compared without a mismatch, as Canton 3.6 says it before the outcome is known: weak evidence.
    Weak,
    /// They differ.
    Mismatch,
}

/// One thing that a source says about its owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fact {
    /// The owner compared the counterparty's commitment with its own.
    Compared {
        /// Who signed the commitment.
        counterparty: Participant,
        /// For which period.
        period: Period,
        /// How they compared.
        comparison: Comparison,
    },
    /// The counterparty sent a commitment: it had reached the end of the period. Nothing is said about agreement.
    Sent {
        /// Who.
        counterparty: Participant,
        /// The end of the period.
        to_inclusive: Timestamp,
    },
    /// The owner computed its own commitments up to here.
    Reached(Timestamp),
    /// The owner's contracts before this instant are gone.
    Pruned(Timestamp),
    /// The owner was catching up, with longer periods than usual.
    CatchingUp,
}

/// Takes what a source says, on the synchronizer it speaks of: its alias, its id, or an empty text where the source does not
/// say.
pub trait Facts {
    /// Takes one.
    fn take(&mut self, synchronizer: &str, fact: Fact);
}

/// What the sources of one owner say about one synchronizer, each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observations {
    /// What was compared.
    pub compared: Compared,
    /// Who sent a commitment, and for the latest tick of all.
    pub sent: BTreeMap<Participant, Timestamp>,
    /// The latest tick that the owner says to have computed.
    pub reached: Option<Timestamp>,
    /// The latest instant before which the owner's contracts are gone.
    pub pruned: Option<Timestamp>,
    /// Whether the owner was ever catching up.
    pub was_catching_up: bool,
}

/// What the sources of one owner say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The owner, where the sources or the operator say who it is.
    pub participant: Option<Participant>,
    /// By synchronizer.
    pub observations: BTreeMap<String, Observations>,
    /// Facts that were not kept, because there were more than [`MOST_FACTS`], or more than [`MOST_BYTES`] would hold.
    pub left_out: u64,
    kept: Room,
}

impl Observations {
    /// Keeps a fact that is no comparison. Where there is no room left, only what needs none is kept; how many were left out.
    fn take(&mut self, fact: Fact, room: &mut Room) -> u64 {
        let later = |kept: &mut Option<Timestamp>, at: Timestamp| *kept = (*kept).max(Some(at));
        match fact {
            Fact::Compared { .. } => {}
            Fact::Sent {
                counterparty,
                to_inclusive,
            } => {
                if let Some(known) = self.sent.get_mut(&counterparty) {
                    *known = (*known).max(to_inclusive);
                    return 0;
                }
                if !room.take(1, room::sender(&counterparty)) {
                    return 1;
                }
                self.sent.insert(counterparty, to_inclusive);
            }
            Fact::Reached(at) => later(&mut self.reached, at),
            Fact::Pruned(at) => later(&mut self.pruned, at),
            Fact::CatchingUp => self.was_catching_up = true,
        }
        0
    }

    /// Takes the same comparison of several periods; how many of them were not there before, and how many were left out.
    fn take_run(
        &mut self,
        counterparty: &Participant,
        run: Run,
        comparison: Comparison,
        room: &mut Room,
    ) -> (u32, u64) {
        let is_known = self.compared.has_any(counterparty);
        let own = if is_known { 0 } else { room::counterparty(counterparty) };
        let meets = self.compared.meets(counterparty, run, comparison);
        let bytes = own + if meets { 0 } else { room::RUN };
        if room.has(run.count as usize, bytes) {
            let (new, runs) = self.compared.add(counterparty, run, comparison);
            room.add(new as usize, own, runs);
            return (new, 0);
        }
        // Those that are there already, and those that follow them, need less.
        if run.count > 1 {
            let one = |first| Run { first, count: 1 };
            return run.periods().fold((0, 0), |(new, left_out), period| {
                let (more, out) = self.take_run(counterparty, one(period), comparison, room);
                (new + more, left_out + out)
            });
        }
        let is_there = self.compared.has(counterparty, &run.first, comparison);
        (0, u64::from(!is_there))
    }
}

impl Evidence {
    /// Takes over what another source of the same SV says.
    ///
    /// # Errors
    /// Both participants, this one's first, where they are not the same: nothing is taken then.
    pub fn join(&mut self, other: Evidence) -> Result<(), (Participant, Participant)> {
        match (&self.participant, other.participant) {
            (Some(one), Some(other)) if *one != other || one.contradicts(&other) => return Err((one.clone(), other)),
            (Some(one), Some(other)) if !one.is_whole() => self.participant = Some(other),
            (None, other) => self.participant = other,
            _ => {}
        }
        self.left_out = self.left_out.saturating_add(other.left_out);
        for (synchronizer, observations) in other.observations {
            let instants = [
                observations.reached.map(Fact::Reached),
                observations.pruned.map(Fact::Pruned),
                observations.was_catching_up.then_some(Fact::CatchingUp),
            ];
            let sent = observations
                .sent
                .into_iter()
                .map(|(counterparty, to_inclusive)| Fact::Sent {
                    counterparty,
                    to_inclusive,
                });
            for fact in instants.into_iter().flatten().chain(sent) {
                self.take(&synchronizer, fact);
            }
            for (counterparty, comparison, run) in observations.compared.runs() {
                self.take_run(&synchronizer, counterparty, run, comparison);
            }
        }
        Ok(())
    }

    /// Takes the same comparison of several periods; how many of them were not there before.
    pub fn take_run(
        &mut self,
        synchronizer: &str,
        counterparty: &Participant,
        run: Run,
        comparison: Comparison,
    ) -> u32 {
        if self.on(synchronizer).is_none() {
            self.left_out = self.left_out.saturating_add(run.count.into());
            return 0;
        }
        let Some(observations) = self.observations.get_mut(synchronizer) else {
            return 0;
        };
        let (new, left_out) = observations.take_run(counterparty, run, comparison, &mut self.kept);
        self.left_out = self.left_out.saturating_add(left_out);
        new
    }

    /// What is known about a synchronizer; none where there is no room for one more.
    fn on(&mut self, synchronizer: &str) -> Option<&mut Observations> {
        if !self.observations.contains_key(synchronizer) {
            if !self.kept.take(1, room::synchronizer(synchronizer)) {
                return None;
            }
            self.observations
                .insert(synchronizer.to_owned(), Observations::default());
        }
        self.observations.get_mut(synchronizer)
    }
}

impl Facts for Evidence {
    fn take(&mut self, synchronizer: &str, fact: Fact) {
        if let Fact::Compared {
            counterparty,
            period,
            comparison,
        } = fact
        {
            let run = Run {
                first: period,
                count: 1,
            };
            self.take_run(synchronizer, &counterparty, run, comparison);
            return;
        }
        let Some(_) = self.on(synchronizer) else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        if let Some(observations) = self.observations.get_mut(synchronizer) {
            let left_out = observations.take(fact, &mut self.kept);
            self.left_out = self.left_out.saturating_add(left_out);
        }
    }
}
