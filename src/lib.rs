//! Rekindle

pub mod crypto;
