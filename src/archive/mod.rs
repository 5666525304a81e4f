//! All copies of all nodes in one place: equal blocks once, compressed, proven in the same pass, restored byte for byte.
//!
//! An archive is a directory or a prefix in an object store. It is whole when its `manifest` is there, which is written last.
//!
//! | object | what it is |
//! |---|---|
//! | `blocks/NNNNNNNN-SHA256` | a pack of compressed blocks ([`pack`]), named by its number and the digest of its bytes |
//! | `manifest.spare`, `manifest` | twice the same ([`manifest`]): packs, blocks, files, names, times, and what verifying each copy found |
//!
//! Files are cut into blocks of 1 MiB ([`block`]). A block is named by the SHA-256 of its file up to the block's end, so
//! one digest of a file's bytes names all its blocks and the file. What nodes have in common are whole chunks, and the beginnings of
//! open ones: chunk files are only appended to, so equal bytes stand at equal places, and cuts that follow contents would
//! find nothing more, for another pass over every byte.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod block;
pub mod copies;
pub mod create;
pub mod damage;
mod document;
pub mod manifest;
pub mod mounting;
pub mod open;
pub mod pack;
pub mod path;
mod pipeline;
mod reading;
pub mod restore;
pub mod store;
pub mod survey;
pub mod verify;
