//! The living node: from a configuration file to an open service.

pub mod config;
pub mod governance;
pub mod http;
pub mod status;
