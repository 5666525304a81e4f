//! How long a channel waits, and how much it takes.

use std::time::Duration;

/// Times and limits of a channel. Node-to-node specification, sections 1 and 2.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Messages of both directions together after which keys are dropped; at half of it new ones are made. CCF's
    /// `node_to_node_message_limit`.
    pub message_limit: u64,
    /// After how long an init that was not answered is repeated. A node that is still joining drops inits without a word: CCF
    /// repeats after 2 s. The first four are this far apart, then each four twice as far as those before, up to eight times.
    pub repeat: Duration,
    /// At most so often a handshake is begun because frames can't be read; and how long a final is waited for.
    pub heal: Duration,
    /// Without traffic for so long, keys are dropped: 4 election time-outs.
    pub idle: Duration,
    /// Bytes of the longest frame that is sent. A real node that gets more than its `memory.max_msg_size` (64 MiB) aborts.
    pub max_frame_bytes: usize,
}

impl Settings {
    /// CCF's limit of messages, and the times that belong to this election time-out.
    pub fn new(election_timeout: Duration) -> Self {
        Settings {
            message_limit: 23_726_566,
            repeat: Duration::from_millis(250),
            heal: Duration::from_secs(1),
            idle: election_timeout.saturating_mul(4),
            max_frame_bytes: 63 << 20,
        }
    }
}
