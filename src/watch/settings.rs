//! How long is waited for what. Everything follows from the service's election time-out, which its interface does not tell.

use std::time::Duration;

use crate::error::{Error, Result};

/// CCF's default of `consensus.election_timeout`.
pub const ELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter, and the watcher's own scheduling would be taken for silence.
const SHORTEST: Duration = Duration::from_millis(200);

/// The times of a watch.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often each node is asked.
    pub every: Duration,
    /// `consensus.election_timeout` of the service.
    pub election: Duration,
}

impl Settings {
    /// Times that can be kept.
    ///
    /// # Errors
    /// Where nodes would be asked too seldom to declare a loss within two election time-outs, or more often than makes sense.
    pub fn new(every: Duration, election: Duration) -> Result<Settings> {
        if election < SHORTEST || every.is_zero() {
            return Err(Error::Usage(format!(
                "an election time-out of {} ms, and asking every {} ms: the time-out must be at least {} ms, and the other more than 0",
                election.as_millis(),
                every.as_millis(),
                SHORTEST.as_millis()
            )));
        }
        if every < election / 100 {
            return Err(Error::Usage(format!(
                "asking every {} us is of no use for an election time-out of {} ms, and a burden to a service that may be in need: give \
                 --every {}ms or more",
                every.as_micros(),
                election.as_millis(),
                (election / 100).as_millis().max(1)
            )));
        }
        if every > election / 4 {
            return Err(Error::Usage(format!(
                "asking every {} ms is too seldom for an election time-out of {} ms: a loss is declared within two time-outs only if nodes \
                 are asked four times in one; give --every {}ms or less, or the service's own --election-timeout",
                every.as_millis(),
                election.as_millis(),
                (election / 4).as_millis()
            )));
        }
        Ok(Settings { every, election })
    }

    /// Without a word for so long, a node is lost whose machine answers in its place: 1.5 time-outs.
    pub fn patience(&self) -> Duration {
        self.election * 3 / 2
    }

    /// The same where nothing of its machine is heard either: an election with split votes, of which we see one side, is over by then.
    pub fn patience_in_the_dark(&self) -> Duration {
        self.election * 4
    }

    /// How often is judged.
    pub fn tick(&self) -> Duration {
        (self.election / 20).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// A tick that comes later than this was not the service's doing: what is beyond it does not count.
    pub fn longest_tick(&self) -> Duration {
        (self.election / 5).max(2 * self.tick())
    }

    /// How long a connection may take: a machine that answers at all does so at once, or after the first repetition.
    pub fn connect(&self) -> Duration {
        self.election / 2
    }

    /// How long all answers of one look may take.
    pub fn answer(&self) -> Duration {
        self.patience()
    }

    /// Without a primary for so long, it is no election any more.
    pub fn longest_election(&self) -> Duration {
        self.election * 3
    }
}
