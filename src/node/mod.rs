//! The living node: from a configuration file to an open service.

pub mod attestation;
pub mod config;
pub mod directory;
pub mod governance;
pub mod http;
pub mod identity;
pub mod service;
pub mod status;
