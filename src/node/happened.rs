//! The last of what has happened to a node, for people: a bounded list, which the page shows.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Events that are kept: the log has all.
const MOST: usize = 40;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// What, in a few words. Whoever shows it shows it as foreign text.
    pub text: String,
    /// How often in a row.
    pub times: u64,
}

/// The last events, the oldest first.
#[derive(Default)]
pub struct Happened(Mutex<VecDeque<Event>>);

impl Happened {
    /// One more, at this moment. What happens again and again is one event with a count.
    pub fn add(&self, text: impl Into<String>) {
        let (at, text) = (SystemTime::now(), text.into());
        // A poisoned lock means that a push panicked, which leaves a list.
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = events.back_mut().filter(|last| last.text == text) {
            last.at = at;
            last.times = last.times.saturating_add(1);
            return;
        }
        if events.len() == MOST {
            events.pop_front();
        }
        events.push_back(Event { at, text, times: 1 });
    }

    /// All that are kept, the newest first.
    pub fn newest_first(&self) -> Vec<Event> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_what_is_repeated_is_counted() {
        let happened = Happened::default();
        for i in 0..1000 {
            happened.add(format!("event {i}"));
        }
        happened.add("event 999");
        let events = happened.newest_first();
        assert_eq!(events.len(), MOST);
        assert_eq!((events[0].text.as_str(), events[0].times), ("event 999", 2));
        assert_eq!(events[MOST - 1].text, format!("event {}", 1000 - MOST));
    }
}
