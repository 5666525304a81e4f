//! What waits for the writer's thread: transactions, of which there may be so many, and messages of the node itself, which
//! come first. Other nodes may say something as fast as it is taken: after so many messages a transaction's turn comes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages that pass a transaction, at most.
const IN_A_ROW: u32 = 64;

/// Why a transaction can't wait here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// So many wait already.
    Full,
    /// The writer has ended.
    Closed,
}

/// What the writer takes out.
pub enum Letter<M, T> {
    /// A message of the node.
    Message(M),
    /// A transaction.
    Transaction(T),
}

struct Waiting<M, T> {
    /// What others wait for before they go on: taken before all other messages.
    urgent: VecDeque<M>,
    messages: VecDeque<M>,
    transactions: VecDeque<T>,
    /// Messages that were taken while a transaction waited.
    passed: u32,
    is_closed: bool,
}

/// A box for one reader and any number of senders.
pub struct Mailbox<M, T> {
    waiting: Mutex<Waiting<M, T>>,
    arrived: Condvar,
    /// Transactions that may wait.
    places: usize,
}

impl<M, T> Mailbox<M, T> {
    /// A box for so many transactions.
    pub fn new(places: usize) -> Self {
        Mailbox {
            waiting: Mutex::new(Waiting {
                urgent: VecDeque::new(),
                messages: VecDeque::new(),
                transactions: VecDeque::new(),
                passed: 0,
                is_closed: false,
            }),
            arrived: Condvar::new(),
            places,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<M, T>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a message. Nobody reads it where the writer has ended.
    pub fn tell(&self, message: M) {
        let mut waiting = self.waiting();
        if !waiting.is_closed {
            waiting.messages.push_back(message);
            self.arrived.notify_one();
        }
    }

    /// Leaves a message that passes those that wait. There are to be few of them.
    pub fn urge(&self, message: M) {
        let mut waiting = self.waiting();
        if !waiting.is_closed {
            waiting.urgent.push_back(message);
            self.arrived.notify_one();
        }
    }

    /// Leaves a transaction.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn submit(&self, transaction: T) -> Result<(), NoPlace> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Err(NoPlace::Closed);
        }
        if waiting.transactions.len() >= self.places {
            return Err(NoPlace::Full);
        }
        waiting.transactions.push_back(transaction);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes what comes next, messages first but not for ever; `None` where nothing comes for so long.
    pub fn take(&self, wait: Duration) -> Option<Letter<M, T>> {
        let waiting = self.waiting();
        let is_empty = |waiting: &mut Waiting<M, T>| {
            waiting.urgent.is_empty() && waiting.messages.is_empty() && waiting.transactions.is_empty()
        };
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, wait, is_empty)
            .unwrap_or_else(PoisonError::into_inner);
        let is_its_turn = waiting.passed >= IN_A_ROW && !waiting.transactions.is_empty();
        if !is_its_turn && let Some(message) = waiting.urgent.pop_front().or_else(|| waiting.messages.pop_front()) {
            waiting.passed = match waiting.transactions.is_empty() {
                true => 0,
                false => waiting.passed + 1,
            };
            return Some(Letter::Message(message));
        }
        waiting.passed = 0;
        waiting.transactions.pop_front().map(Letter::Transaction)
    }

    /// Takes nothing more, and forgets what waits: whoever sent it is told by losing the other end.
    pub fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        waiting.urgent.clear();
        waiting.messages.clear();
        waiting.transactions.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_passes_a_full_queue_and_a_closed_box_forgets_both() {
        let mailbox: Mailbox<&str, u8> = Mailbox::new(2);
        assert_eq!(
            [1, 2, 3].map(|number| mailbox.submit(number)),
            [Ok(()), Ok(()), Err(NoPlace::Full)]
        );
        mailbox.tell("stop");
        assert!(matches!(mailbox.take(Duration::ZERO), Some(Letter::Message("stop"))));
        assert!(matches!(mailbox.take(Duration::ZERO), Some(Letter::Transaction(1))));
        mailbox.close();
        mailbox.tell("late");
        assert_eq!(mailbox.submit(4), Err(NoPlace::Closed));
        assert!(mailbox.take(Duration::ZERO).is_none());
    }

    #[test]
    fn what_is_urgent_passes_other_messages_in_its_own_order() {
        let mailbox: Mailbox<&str, u8> = Mailbox::new(1);
        mailbox.tell("first");
        mailbox.urge("done");
        mailbox.tell("second");
        mailbox.urge("done again");
        let taken = [(); 4].map(|()| match mailbox.take(Duration::ZERO) {
            Some(Letter::Message(message)) => message,
            _ => "nothing",
        });
        assert_eq!(taken, ["done", "done again", "first", "second"]);
    }

    #[test]
    fn messages_without_end_do_not_keep_a_transaction_waiting() {
        let mailbox: Mailbox<u32, &str> = Mailbox::new(2);
        mailbox.submit("first").unwrap();
        mailbox.submit("second").unwrap();
        for number in 0..3 * IN_A_ROW {
            // However urgent they are.
            match number % 2 {
                0 => mailbox.tell(number),
                _ => mailbox.urge(number),
            }
        }
        let mut taken = Vec::new();
        for at in 0..3 * IN_A_ROW {
            if let Some(Letter::Transaction(which)) = mailbox.take(Duration::ZERO) {
                taken.push((which, at));
            }
        }
        assert_eq!(taken, [("first", IN_A_ROW), ("second", 2 * IN_A_ROW + 1)]);
    }
}
