//! `rekindle canton timestamp` on made-up disasters.

#[path = "../disaster/mod.rs"]
pub mod disaster;

mod command;
mod decisions;
