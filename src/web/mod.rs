//! What is shown in a browser: one look, one set of parts, and reports as files that need nothing else.
//!
//! [`page`] makes documents, [`look`] the parts that stand in them, [`words`] what is read over a phone, [`picture`] what lies where
//! along a line. [`verify`], [`compare`], [`attest`] and [`drill`] make a document of a report each. Nothing here knows a node;
//! nothing is fetched from anywhere, and no text comes into a document but escaped.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod attest;
pub mod compare;
pub mod drill;
pub mod look;
pub mod number;
pub mod page;
mod parts;
pub mod picture;
pub mod verify;
pub mod words;
