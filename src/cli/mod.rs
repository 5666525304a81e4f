//! One file a sub-command.

pub mod fixture;
