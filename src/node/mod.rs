//! The living node: from a configuration file to an open service.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod afterwards;
pub mod agreeing;
pub mod api;
pub mod board;
pub mod certificates;
pub mod chatter;
pub mod cluster;
pub mod config;
pub mod description;
pub mod directory;
pub mod disk;
pub mod driver;
mod early;
pub mod evidence;
pub mod followed_keys;
pub mod forwards;
pub mod found;
pub mod happened;
pub mod healing;
pub mod healing_calls;
pub mod healing_state;
pub mod joining;
pub mod jwt;
pub mod jwt_refresh;
pub mod learning;
mod life;
pub mod local_sealing;
pub mod mailbox;
pub mod membership;
pub mod node_state;
pub mod old_ledger;
pub mod opening;
pub mod others_read;
pub mod output;
pub mod own_certificates;
pub mod page;
pub mod passed_on;
pub mod peers;
pub mod places_of_nodes;
pub mod predecessors;
pub mod previous;
pub mod private;
pub mod public;
pub mod run;
pub mod sealer;
pub mod sealing_state;
pub mod serve;
pub mod session;
pub mod shared;
pub mod showing;
pub mod status;
pub mod turns;
pub mod unsealer;
pub mod writer;
pub mod writing;
