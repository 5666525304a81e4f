//! Handshakes that somebody began who has not shown who it is.
//!
//! An init is signed, but neither for this node nor for this time: whoever has overheard one can repeat it. It must not change the
//! keys of a peer that is there, nor a handshake with it: its keys wait here until a final proves that the peer has made it.

use std::collections::VecDeque;

use super::handshake::{self, Share};
use super::keys::{ReceiveKey, SendKey};
use crate::crypto::VerifyingKey;

/// Such handshakes at a time: one init that is repeated takes one place.
const MOST: usize = 4;

/// A handshake whose final is missing.
pub(super) struct Visitor {
    /// That of the init.
    pub(super) theirs: Share,
    /// That of the response, which the final signs.
    pub(super) own: Share,
    pub(super) peer: VerifyingKey,
    pub(super) send: SendKey,
    pub(super) receive: ReceiveKey,
}

#[derive(Default)]
pub(super) struct Visitors(VecDeque<Visitor>);

impl Visitors {
    pub(super) fn enter(&mut self, visitor: Visitor) {
        self.0
            .retain(|known| known.theirs.as_bytes() != visitor.theirs.as_bytes());
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(visitor);
    }

    /// The handshake that this final ends. The others are over, too.
    pub(super) fn proven_by(&mut self, signature: &[u8]) -> Option<Visitor> {
        let at = self.0.iter().position(|visitor| {
            let proof = handshake::verify(&visitor.peer, &[&visitor.own], signature);
            proof.is_ok()
        })?;
        let proven = self.0.remove(at);
        self.0.clear();
        proven
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
