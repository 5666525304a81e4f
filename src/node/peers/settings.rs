//! How much is taken, and how long is waited.

use std::time::Duration;

use crate::channel;

/// Bounds and times.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Those of every channel.
    pub channel: channel::Settings,
    /// Bytes of the longest frame that is taken before anything authentic came over a connection.
    pub stranger_frame_bytes: usize,
    /// Bytes of the longest frame that is taken afterwards.
    pub frame_bytes: usize,
    /// Connections, opened by others, over which nothing authentic has come. One more, and the oldest is closed.
    pub strangers: usize,
    /// How long such a connection lives.
    pub stranger_time: Duration,
    /// Frames that are looked at before an authentic one must have come.
    pub stranger_frames: u32,
    /// Messages of handshakes that are looked at in 50 ms, of all connections over which nothing authentic has come: each
    /// costs verifications of signatures.
    pub stranger_handshakes: u32,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long after a failure a connection is opened again: the first time, and at most.
    pub back_off: (Duration, Duration),
    /// A connection over which is sent, and nothing authentic heard for so long, is closed.
    pub silence: Duration,
    /// A connection whose other end takes nothing for so long is closed.
    pub stall: Duration,
    /// How long reading from a connection rests where memory or what is taken of a node's words does not get less. Then frames
    /// are dropped, or the connection is closed.
    pub patience: Duration,
    /// Nodes are spoken with that this one does not know, if the service has endorsed them: who joins knows none.
    pub takes_the_endorsed: bool,
    /// Bytes of everything that has come and was not taken.
    pub incoming_bytes: usize,
    /// Words of one node that may wait to be taken.
    pub words: usize,
    /// Their bytes.
    pub word_bytes: usize,
    /// Bytes that may wait to be written to one connection; beyond it frames are dropped.
    pub queue_bytes: usize,
    /// Entries are only given to a connection where fewer bytes wait to be written.
    pub low_water_bytes: usize,
    /// Messages to one node that may wait, each with entries.
    pub outbox: usize,
    /// Bytes of the entries in memory that may wait.
    pub outbox_bytes: usize,
}

impl Settings {
    /// What belongs to this election time-out.
    pub fn new(election_timeout: Duration) -> Settings {
        Settings {
            channel: channel::Settings::new(election_timeout),
            stranger_frame_bytes: 64 << 10,
            frame_bytes: 64 << 20,
            strangers: 32,
            stranger_time: Duration::from_secs(10),
            stranger_frames: 64,
            stranger_handshakes: 16,
            connect_timeout: Duration::from_secs(3),
            back_off: (Duration::from_millis(100), Duration::from_secs(5)),
            silence: election_timeout.saturating_mul(2).max(Duration::from_secs(2)),
            stall: Duration::from_secs(10),
            patience: election_timeout / 2,
            takes_the_endorsed: false,
            incoming_bytes: 256 << 20,
            words: 256,
            word_bytes: 64 << 20,
            queue_bytes: 80 << 20,
            low_water_bytes: 4 << 20,
            outbox: 1024,
            outbox_bytes: 64 << 20,
        }
    }
}
