//! One file a sub-command.
pub mod export;
pub mod inspect;
pub mod keys;
pub mod text;
