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
    waiting: BTreeMap<u64, (NodeId, oneshot::Sender<Outcome>)>,
}

/// What becomes of a request, where it is known before whoever waits has no more patience.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is answered so.
    Answered(Vec<u8>),
    /// It was never sent.
    NotSent,
    /// The connection that it went over has ended since.
    Lost,
}

/// A request that waits; what comes for it after this is gone is dropped.
pub struct Waiting<'f> {
    forwards: &'f Forwards,
    /// Names the request.
    pub command: u64,
    /// Gets the answer.
    pub answer: oneshot::Receiver<Outcome>,
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
        self.end(from, answer.command, Outcome::Answered(answer.answer))
    }

    /// A request could not be sent to this node.
    pub fn not_sent(&self, to: NodeId, command: u64) {
        self.end(to, command, Outcome::NotSent);
    }

    /// The connection with a node has ended: what was asked over it may be done, and is not answered any more.
    pub fn lost(&self, to: NodeId) {
        let of_node = |_: &u64, (asked, _): &mut (NodeId, _)| *asked == to;
        let lost: Vec<_> = self.table().waiting.extract_if(.., of_node).collect();
        for (_, (_, waits)) in lost {
            // Who has gone does not need to know.
            let _ = waits.send(Outcome::Lost);
        }
    }

    /// Whether somebody waited for it.
    fn end(&self, asked: NodeId, command: u64, outcome: Outcome) -> bool {
        let mut table = self.table();
        if table.waiting.get(&command).is_none_or(|(to, _)| *to != asked) {
            return false;
        }
        let waiting = table.waiting.remove(&command);
        drop(table);
        waiting.is_some_and(|(_, waits)| waits.send(outcome).is_ok())
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
        assert_eq!(waiting.answer.try_recv().unwrap(), Outcome::Answered(b"said".to_vec()));
    }

    #[test]
    fn who_waits_for_a_node_that_is_gone_is_told_at_once_and_nobody_else() {
        let (asked, other) = (NodeId([1; 32]), NodeId([2; 32]));
        let forwards = Forwards::default();
        let mut waiting = [asked, asked, other].map(|of| forwards.begin(of).unwrap());
        forwards.not_sent(other, waiting[0].command);
        assert!(
            waiting[0].answer.try_recv().is_err(),
            "it was another that was not reached"
        );
        forwards.not_sent(asked, waiting[0].command);
        forwards.lost(asked);
        let outcomes = waiting.each_mut().map(|it| it.answer.try_recv().ok());
        assert_eq!(outcomes, [Some(Outcome::NotSent), Some(Outcome::Lost), None]);
        assert!(!forwards.answered(asked, answer(waiting[1].command)), "too late");
        assert!(forwards.answered(other, answer(waiting[2].command)));
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
