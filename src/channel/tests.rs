//! Two channels that talk to each other over a link which loses what a test says.

mod handshakes;
mod hostile;
mod keeping;
mod link;
