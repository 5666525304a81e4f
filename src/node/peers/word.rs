//! What is heard of the other nodes.

use std::any::Any;
use std::net::SocketAddr;

use super::room::Place;
use crate::channel::NodeId;
use crate::channel::message::Forwarded;
use crate::consensus::Message;
use crate::error::Error;

/// Something that is heard.
pub enum Word {
    /// A node says something to agree.
    Said(Said),
    /// A node passes on a client's request, or the answer to one.
    Passed(Passed),
    /// A connection with a node is used from now on.
    Connected {
        /// Which node.
        peer: NodeId,
        /// Its end.
        remote: SocketAddr,
    },
    /// The connection with a node has ended.
    Disconnected {
        /// Which node.
        peer: NodeId,
        /// Why.
        why: String,
    },
    /// A node can't be reached. Said once until it could be.
    Unreachable {
        /// Which node.
        peer: NodeId,
        /// Where it was tried.
        address: String,
        /// Why.
        why: String,
    },
    /// A client's request could not be passed on: there is no connection.
    NotPassed {
        /// To which node.
        peer: NodeId,
        /// Names the request.
        command: u64,
    },
    /// Entries for a node could not be read: it gets none until they are asked for again.
    NotRead {
        /// Which node.
        peer: NodeId,
        /// Why.
        why: Error,
    },
    /// The thread has panicked, with this: nothing is sent or heard any more.
    Panicked(Box<dyn Any + Send>),
}

/// A message that is authentic, but for its entries.
pub struct Said {
    /// Who says it.
    pub from: NodeId,
    /// What.
    pub message: Message,
    /// With an AppendEntries: what came after it, as it came. **Nothing vouches for it.**
    pub entries: Vec<u8>,
    /// A node is heard further as long as few of its words are kept.
    pub permit: Permit,
}

/// A forwarded message, which is authentic.
pub struct Passed {
    /// Who passes it on.
    pub from: NodeId,
    /// What.
    pub message: Forwarded,
    /// As for [`Said`].
    pub permit: Permit,
}

/// Stands for the memory that a word takes: to be dropped with it, not before.
pub struct Permit {
    pub(super) _of_peer: Place,
    pub(super) _of_all: Place,
}
