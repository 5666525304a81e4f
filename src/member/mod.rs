//! A consortium member's client: keys, signed requests, proposals, ballots, shares (recovery specification, sections
//! 3.3, 3.4, 4.1 and 5.5).
//!
//! A [`Client`] speaks HTTPS with a node that it can tell from others; a [`Member`] signs; the functions of
//! [`governance`] are the requests. Private keys come from files, live in zeroising memory, and are in no error.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod client;
mod error;
pub mod governance;
pub mod identity;
mod trust;

pub use client::{Answer, Client};
pub use error::{Error, Refusal};
pub use governance::Session;
pub use identity::{Member, NewMember};

pub use crate::crypto::cose::MessageType;
pub use trust::Trust;
