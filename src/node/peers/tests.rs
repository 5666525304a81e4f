//! Nodes that talk over loopback, and others who disturb them.

mod hostile;
mod stack;
mod talking;
