//! Data snapshots of SVs and validators: fetched from their apps, checked while they go by, and merged with identities
//! (SPEC-CANTON 3).
//!
//! A snapshot has gigabytes, nearly all in a few base64 texts: it is read piece by piece and never held. [`answer`] and
//! [`judgement`] decide, [`lexer`] and [`shape`] read, [`output`] writes: to a file beside the target that takes its name
//! only when all of it is there, on the disk, and good.

pub mod answer;
pub mod fetching;
pub mod judgement;
pub mod lexer;
pub mod merging;
pub mod order;
pub mod output;
pub mod reading;
pub mod service;
pub mod shape;
mod transfer;
