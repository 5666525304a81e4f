//! How long a session may take for what.

use std::time::Duration;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The TLS handshake: `client_connection_timeout`.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its headers.
    pub headers: Duration,
    /// From the end of a request's headers to the end of its body.
    pub body: Duration,
    /// Nothing moves in a session, and no handler is at work: `idle_connection_timeout`.
    pub idle: Duration,
    /// From the wish to shut down to the end of what was begun.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            handshake: Duration::from_secs(2),
            headers: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            shutdown: Duration::from_secs(5),
        }
    }
}
