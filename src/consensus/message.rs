//! What nodes say to each other to agree: the messages of the wire, without its bytes (node-to-node 3, type 1).

pub use crate::channel::message::{
    AppendEntries, AppendEntriesResponse, Consensus as Message, RequestVote, RequestVoteResponse,
};
