//! What happens to the core.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;

use crate::channel::NodeId;
use crate::consensus::Message;
use crate::crypto::digest::Digest;
use crate::error::Error;
use crate::format::domain::WriteSet;
use crate::format::private::PrivateWrites;
use crate::format::{Seqno, TxId, View};
use crate::journal::SealKey;

/// The time, which the core never asks for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since some moment before the core began. Never falls.
    pub elapsed: Duration,
    /// Seconds since 1970, for signatures.
    pub unix_s: u64,
}

/// Names a transaction between the driver, who gave it, and the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A transaction that was made on the newest state.
pub struct Submission {
    /// By which it is answered.
    pub ticket: Ticket,
    /// What it writes; nothing is written for an empty one, which is answered all the same.
    pub writes: WriteSet,
    /// Digest of the claims that go with it.
    pub claims: Option<Digest>,
    /// It is the node's own, which is taken however much waits for the disk.
    pub is_own: bool,
    /// What follows from it.
    pub follow: Follow,
}

/// What follows from a transaction, beside its entry.
#[derive(Default)]
pub struct Follow {
    /// The ledger secret that seals from the next seqno on.
    pub rekey: Option<Arc<SealKey>>,
    /// It is signed at once, not when a signature is due.
    pub sign: bool,
    /// The next signature ends the chunk.
    pub end_chunk: bool,
    /// The next committed signature is followed by a snapshot.
    pub snapshot: bool,
    /// What it means to the life of the service, once it is committed.
    pub milestone: Option<Milestone>,
}

/// Transactions that change what the node does, once they are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// A new service goes on with the ledger of another.
    Created,
    /// The ledger secret is known: the private ledger can be read.
    SecretsKnown,
    /// The recovered service is open.
    Opened,
    /// Nodes were marked as retired for good: not a reason to look for retired nodes again.
    RetirementsCommitted,
}

/// What the node is among the nodes of its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It writes, and nobody else has to agree: what is signed and durable is committed.
    Alone,
    /// It writes, and [`Event::Committed`] says when the others agree.
    Primary,
    /// Another node writes.
    Backup,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// There is no room, or a name is taken: that others put this right is waited for, however long it takes.
    pub is_waited_for: bool,
    /// In words, for the log.
    pub reason: String,
}

impl From<&Error> for Failure {
    fn from(why: &Error) -> Failure {
        let is_waited_for = match why {
            Error::Io { source, .. } => {
                let is_full = matches!(
                    source.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                );
                // Whoever opens connections has taken every file descriptor there is, which says nothing about the disk.
                let errno = Errno::from_io_error(source);
                is_full || matches!(errno, Some(Errno::MFILE | Errno::NFILE))
            }
            Error::Unreadable(_) => true,
            _ => false,
        };
        Failure {
            is_waited_for,
            reason: why.to_string(),
        }
    }
}

/// An entry of the node that leads, as far as it can be checked beside the core: it parses, it opens where its secret is known,
/// and where it is a signature, its keys have made it.
pub struct Followed {
    /// Its view and seqno.
    pub txid: TxId,
    /// Its bytes, as they go into the file: a part of the frame, which is kept as long as any of them.
    pub raw: Bytes,
    /// Its leaf in the tree.
    pub leaf: Digest,
    /// Its flags.
    pub flags: u8,
    /// What it writes to public maps.
    pub writes: WriteSet,
    /// What it writes to private maps, where its secret is known.
    pub private: PrivateWrites,
    /// The root that it signs, if it is a signature.
    pub signs: Option<Digest>,
    /// The ledger secret that seals from the next seqno on.
    pub rekey: Option<Arc<SealKey>>,
}

/// What happens.
pub enum Event {
    /// Somebody wants a transaction written.
    Transaction(Submission),
    /// Somebody wants everything so far signed, whether or not a signature is due.
    Sign {
        /// The signature ends its chunk.
        end_chunk: bool,
        /// Once it is committed, a snapshot of the state is made.
        snapshot: bool,
    },
    /// Time has passed.
    Tick,
    /// The operation of the ledger's files that is under way has succeeded.
    Done,
    /// It has failed, and may be done in part.
    Failed(Failure),
    /// The snapshot that was asked for is written, and has this digest.
    SnapshotWritten {
        /// The seqno that it was asked for.
        seqno: Seqno,
        /// SHA-256 of what was written.
        digest: Digest,
    },
    /// A snapshot could not be written, or not be given its name or receipt: another is made.
    SnapshotFailed {
        /// The seqno that it was asked for.
        seqno: Seqno,
    },
    /// The private ledger is read, and its state in place: the service can be opened.
    PrivateLedgerRead,
    /// Enough nodes have everything up to this signature.
    Committed(Seqno),
    /// What comes after `to` is taken back, and what follows is written in a later view.
    RollBack {
        /// The last seqno that is kept.
        to: Seqno,
        /// The view from now on.
        view: View,
    },
    /// The node's part changes.
    Role(Role),
    /// A node has said something, and its channel proves that it was this one.
    Heard {
        /// Who.
        from: NodeId,
        /// What; entries that go along are asked for by [`Effect::Verify`].
        ///
        /// [`Effect::Verify`]: super::Effect::Verify
        message: Message,
    },
    /// The next entries that were asked for.
    Followed(Vec<Followed>),
    /// The next entry that was asked for is none, or says what it must not.
    FrameRefused,
    /// The node is about to end: whoever has most of its log is asked to lead at once.
    HandOver,
    /// Nodes that were added, and never answered, are given up with everything that is not committed.
    Withdraw,
    /// The service is open, and that is committed: another node has opened it.
    OpenedElsewhere,
    /// Nothing new is begun; what was answered is signed and brought to disk.
    Stop,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_others_have_taken_is_waited_for_and_a_broken_disk_is_not() {
        let failure = |errno: Errno| Failure::from(&Error::io("write", Path::new("chunk"))(errno.into()));
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG, Errno::MFILE, Errno::NFILE] {
            assert!(failure(errno).is_waited_for, "{errno}");
        }
        for errno in [Errno::IO, Errno::ROFS, Errno::NOENT] {
            assert!(!failure(errno).is_waited_for, "{errno}");
        }
    }
}
