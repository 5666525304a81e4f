//! What the node and the process that runs a script say to each other: JSON after its length, over a socket.
//!
//! Neither side trusts the other's lengths, and the node waits for nothing longer than until its deadline.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::limits::Limits;
use super::serve::Request;
use super::{Failure, Validation};

/// No message is longer: the largest is a script's heap in base64, or a table that fits into one.
const MAX_FRAME_BYTES: usize = 256 << 20;
/// As much memory is taken for a message before any of it is there.
const FIRST_BYTES: usize = 64 << 10;

/// A call into a script: everything that it needs but the tables.
#[derive(Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) source: String,
    /// How stack traces call it.
    pub(super) name: String,
    pub(super) call: Call,
    pub(super) limits: Limits,
    pub(super) access: Access,
}

/// Which function is called, with what.
#[derive(Serialize, Deserialize)]
pub(super) enum Call {
    /// None: the module of a ballot is loaded, no more.
    Load,
    Validate {
        proposal: String,
    },
    Vote {
        proposal: String,
        proposer_id: String,
    },
    Resolve {
        proposal: String,
        proposer_id: String,
        votes: BTreeMap<String, bool>,
        proposal_id: String,
    },
    Apply {
        proposal: String,
        proposal_id: String,
    },
}

impl Call {
    pub(super) fn proposal(&self) -> &str {
        match self {
            Call::Load => "",
            Call::Validate { proposal }
            | Call::Vote { proposal, .. }
            | Call::Resolve { proposal, .. }
            | Call::Apply { proposal, .. } => proposal,
        }
    }

    pub(super) fn function(&self) -> &'static str {
        match self {
            Call::Validate { .. } => "validate",
            Call::Load | Call::Vote { .. } => "vote",
            Call::Resolve { .. } => "resolve",
            Call::Apply { .. } => "apply",
        }
    }
}

/// What it answered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Validation(Validation),
    Vote(bool),
    Decision(String),
    /// Nothing of use.
    Done,
}

/// From the script to the node.
#[derive(Serialize, Deserialize)]
pub(super) enum Message {
    /// Answered with a [`Reply`](super::serve::Reply).
    Ask(Request),
    /// A line for the log, and its level.
    Log(String, String),
    /// The last one.
    Done(Result<Answer, Failure>),
}

/// Sends a message; with a deadline it is given up then.
pub(super) fn send<T: Serialize>(stream: &UnixStream, message: &T, deadline: Option<Instant>) -> io::Result<()> {
    let body = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    for bytes in [&length.to_le_bytes()[..], &body] {
        let mut rest = bytes;
        while !rest.is_empty() {
            stream.set_write_timeout(left(deadline)?)?;
            match (&*stream).write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why),
            }
        }
    }
    Ok(())
}

/// Reads a message; with a deadline no longer than until then.
pub(super) fn receive<T: DeserializeOwned>(stream: &UnixStream, deadline: Option<Instant>) -> io::Result<T> {
    let mut length = [0; 4];
    fill(stream, &mut length, deadline)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::other("a message of more than 256 MiB"));
    }
    let mut body = Vec::new();
    while body.len() < length {
        // Memory follows what arrives: a length is only a word.
        let (from, more) = (body.len(), body.len().max(FIRST_BYTES));
        body.resize(length.min(from + more), 0);
        fill(stream, body.get_mut(from..).unwrap_or_default(), deadline)?;
    }
    serde_json::from_slice(&body).map_err(io::Error::other)
}

fn fill(stream: &UnixStream, mut buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(left(deadline)?)?;
        match (&*stream).read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = buffer.get_mut(read..).unwrap_or_default(),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// What is left until the deadline.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match left {
        Some(left) if left.is_zero() => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
