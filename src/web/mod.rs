//! What is shown in a browser: one look, one set of parts, and reports as files that need nothing else.
//!
//! [`page`] makes documents, [`look`] the parts that stand in them, [`words`] what is read over a phone. Nothing here knows a
//! node or a report; nothing is fetched from anywhere, and no text comes into a document but escaped.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod look;
pub mod page;
pub mod words;
