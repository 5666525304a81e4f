//! Hostile input: texts that a terminal would act on, sizes that lie, files that are not what they should be, and secrets
//! that must not stay anywhere. The real binary is run on each.

#[path = "../support/node.rs"]
mod node;
#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod craft;
mod files;
mod secrets;
mod sizes;
mod text;
