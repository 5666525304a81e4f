//! Requests of this node's clients that wait for the answer of the node that leads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::channel::NodeId;
use crate::channel::message::ForwardedAnswer;

/// Requests that wait, at most.
const MOST: usize = 256;

/// Who waits for what.
#[derive(Default)]
pub struct Forwards {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    waiting: BTreeMap<u64, (NodeId, oneshot::Sender<Vec<u8>>)>,
}

/// A request that waits; what comes for it after this is gone is dropped.
pub struct Waiting<'f> {
    forwards: &'f Forwards,
    /// Names the request.
    pub command: u64,
    /// Gets the answer.
    pub answer: oneshot::Receiver<Vec<u8>>,
}

impl Forwards {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request to this node; none where too many wait.
    pub fn begin(&self, to: NodeId) -> Option<Waiting<'_>> {
        let mut table = self.table();
        if table.waiting.len() >= MOST {
            return None;
        }
        table.last += 1;
        let command = table.last;
        let (sender, answer) = oneshot::channel();
        table.waiting.insert(command, (to, sender));
        drop(table);
        Some(Waiting {
            forwards: self,
            command,
            answer,
        })
    }

    /// A node has answered. Only who was asked is heard; whether somebody waited for it.
    pub fn answered(&self, from: NodeId, answer: ForwardedAnswer) -> bool {
        let mut table = self.table();
        if table.waiting.get(&answer.command).is_none_or(|(to, _)| *to != from) {
            return false;
        }
        let waiting = table.waiting.remove(&answer.command);
        drop(table);
        waiting.is_some_and(|(_, waits)| waits.send(answer.answer).is_ok())
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.forwards.table().waiting.remove(&self.command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(command: u64) -> ForwardedAnswer {
        ForwardedAnswer {
            command,
            end_session: false,
            session: command,
            answer: b"said".to_vec(),
        }
    }

    #[test]
    fn only_who_was_asked_answers_and_only_once() {
        let (asked, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let forwards = Forwards::default();
        let mut waiting = forwards.begin(asked).unwrap();
        assert!(!forwards.answered(other, answer(waiting.command)));
        assert!(!forwards.answered(asked, answer(waiting.command + 1)));
        assert!(forwards.answered(asked, answer(waiting.command)));
        assert!(!forwards.answered(asked, answer(waiting.command)));
        assert_eq!(waiting.answer.try_recv().unwrap(), b"said");
    }

    #[test]
    fn who_has_gone_makes_room() {
        let forwards = Forwards::default();
        let asked = NodeId([1; 32]);
        let all: Vec<_> = (0..MOST).map(|_| forwards.begin(asked).unwrap()).collect();
        assert!(forwards.begin(asked).is_none());
        let command = all[0].command;
        drop(all);
        assert!(!forwards.answered(asked, answer(command)));
        assert!(forwards.begin(asked).is_some_and(|waiting| waiting.command > command));
    }
}
