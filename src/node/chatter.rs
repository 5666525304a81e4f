//! What other nodes can have this one say in its log, over and over: so much of it is said, and then how much more there was.

use std::time::Duration;

/// Lines in a while.
const MOST: u32 = 32;
const WHILE: Duration = Duration::from_secs(10);

/// Counts such lines.
#[derive(Debug, Default)]
pub struct Chatter {
    /// When the while began.
    since: Duration,
    said: u32,
    kept_back: u64,
}

impl Chatter {
    /// Whether a line is to be said now, and how many were kept back before it.
    pub fn may_say(&mut self, now: Duration) -> Option<u64> {
        if now.saturating_sub(self.since) >= WHILE {
            (self.since, self.said) = (now, 0);
        }
        if self.said >= MOST {
            self.kept_back = self.kept_back.saturating_add(1);
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_said_in_a_while_and_how_many_were_not() {
        let mut chatter = Chatter::default();
        let at = Duration::from_secs;
        let said = (0..1000).filter(|_| chatter.may_say(at(1)).is_some()).count();
        assert_eq!(said, MOST as usize);
        assert_eq!(chatter.may_say(at(9)), None);
        assert_eq!(chatter.may_say(at(10)), Some(1000 - u64::from(MOST) + 1));
        assert_eq!(chatter.may_say(at(10)), Some(0));
    }
}
