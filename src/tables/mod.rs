//! Public tables: their names, and the types of the keys and values that the engine understands.
//!
//! The only place that knows table names. [`names`] spells each out once, [`values`] holds the values' types,
//! [`json`] carries what others chose, [`codec`] says how every known table's keys and values are shown. Format specification, section 9.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod codec;
pub mod describe;
pub mod joiner;
pub mod json;
pub mod names;
pub mod node_info;
mod quote;
pub mod values;

/// The key of a table that holds one value: 8 zero bytes.
pub const SINGLETON_KEY: [u8; 8] = [0; 8];
