//! Every row of sections 7.3, 7.4 and 7.6, what a real node said, all ways of three nodes, and many of more.

use super::*;
use crate::attestation::Evidence;
use crate::sim::healing::{claim, info, key, ms, opens, says, settings, start};

mod exhaustive;
mod losing;
mod messages;
mod samples;
mod search;
mod sentences;
