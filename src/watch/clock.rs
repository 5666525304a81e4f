//! Time as the watcher lived it. Where its own machine slept, stopped or stalled, nobody was asked: that time does not count as silence.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time since the watch began, without that in which it did not run.
pub type Moment = Duration;

/// Counts the time in which the watcher ran. Monotonic: setting the machine's clock changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    last: Instant,
    lived: Duration,
    longest: Duration,
}

impl Clock {
    /// Begins at zero. Between two ticks at most `longest` counts.
    pub fn new(now: Instant, longest: Duration) -> Clock {
        Clock {
            last: now,
            lived: Duration::ZERO,
            longest,
        }
    }

    /// Goes on; answers for how long the watcher did not run, if it did not.
    pub fn tick(&mut self, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.last);
        self.last = now;
        self.lived += gap.min(self.longest);
        gap.checked_sub(self.longest).filter(|lost| !lost.is_zero())
    }

    /// Now, between two ticks.
    pub fn at(&self, now: Instant) -> Moment {
        self.lived + now.saturating_duration_since(self.last).min(self.longest)
    }
}

/// Milliseconds since 1970: shown, never judged by.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_of_the_watchers_machine_does_not_count() {
        let began = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = Clock::new(began, ms(200));
        assert_eq!(clock.tick(began + ms(100)), None);
        assert_eq!(clock.at(began + ms(150)), ms(150));
        assert_eq!(clock.tick(began + ms(100_000)), Some(ms(99_700)));
        assert_eq!(clock.at(began + ms(100_050)), ms(350));
        // Backwards, as no monotonic clock goes.
        assert_eq!(clock.tick(began), None);
    }
}
