//! What nodes say to each other once a channel is up. Node-to-node specification, section 3.
//!
//! A protected payload is a header in the clear, which the tag covers too, then tag, IV and the rest ([`Envelope`]). Consensus
//! messages are their header: what follows an AppendEntries' IV are ledger entries, outside of what the tag covers. Forwarded
//! messages have the rest of their fields encrypted there.

use zeroize::Zeroizing;

use super::dropped::Dropped;
use crate::format::cursor::Cursor;
use crate::format::{Malformed, Seqno, View};

/// Bytes of the tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of the IV.
pub const IV_BYTES: usize = 8;

/// Either family of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Of the consensus; with an AppendEntries the entries as in a ledger file, one after the other, which are **not covered by
    /// the tag**. With others none: what is given is not sent.
    Consensus(Consensus, &'a [u8]),
    /// A client's request, or the answer to it.
    Forwarded(Forwarded),
}

/// A protected payload, cut into its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// In the clear, covered by the tag.
    pub header: &'a [u8],
    /// The tag.
    pub tag: &'a [u8; TAG_BYTES],
    /// A zero byte and the counter.
    pub iv: &'a [u8; IV_BYTES],
    /// Ciphertext of a forwarded message; entries of an AppendEntries.
    pub rest: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn split(payload: &'a [u8], header_bytes: usize) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        Ok(Envelope {
            header: cursor.take(header_bytes, "header of a protected message")?,
            tag: cursor.array("tag")?,
            iv: cursor.array("IV")?,
            rest: cursor.rest(),
        })
    }
}

/// A message of the consensus: its fields, without the entries that follow an AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// Type 0: a leader's entries, or its sign of life.
    AppendEntries(AppendEntries),
    /// Type 1: what a follower says to them.
    AppendEntriesResponse(AppendEntriesResponse),
    /// Type 3: a candidate asks for a vote.
    RequestVote(RequestVote),
    /// Type 4: the vote.
    RequestVoteResponse(RequestVoteResponse),
    /// Type 5: a leader that goes asks its successor to stand at once.
    ProposeRequestVote {
        /// The view of the leader that goes.
        view: View,
    },
    /// Type 6: somebody asks whether it would be elected, in the view that it is in.
    RequestPreVote(RequestVote),
    /// Type 7: whether it would.
    RequestPreVoteResponse(RequestVoteResponse),
}

/// Entries `prev_idx + 1 ..= idx`, which go along after the message; none where the two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntries {
    /// Seqno of the last entry that goes along.
    pub idx: Seqno,
    /// Seqno before the first.
    pub prev_idx: Seqno,
    /// The leader's view.
    pub view: View,
    /// The view of the entry at `prev_idx`; 0 for seqno 0.
    pub prev_view: View,
    /// What the leader has committed.
    pub leader_commit: Seqno,
    /// The view of the entry at `idx`, and of every entry that goes along.
    pub view_of_idx: View,
}

/// What a follower says to AppendEntries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// The follower's view; in a refusal for another view at `prev_idx`, the view of its entry at `last_idx`.
    pub view: View,
    /// Up to where the follower has the leader's entries; in a refusal, up to where it might at most.
    pub last_idx: Seqno,
    /// It has them.
    pub ok: bool,
}

/// A candidate's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The view that it would lead; in a RequestPreVote the view that it is in.
    pub view: View,
    /// Seqno of its last signature.
    pub last_signed: Seqno,
    /// The view of that signature.
    pub view_of_last_signed: View,
}

/// A voter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestVoteResponse {
    /// The voter's view.
    pub view: View,
    /// The candidate has its vote.
    pub granted: bool,
}

impl Consensus {
    /// Reads a payload. Nothing has been authenticated yet. What is left of it after the IV are the entries of an AppendEntries.
    ///
    /// # Errors
    /// [`Dropped::UnknownConsensus`], [`Dropped::Malformed`].
    pub fn parse(payload: &[u8]) -> Result<(Self, Envelope<'_>), Dropped> {
        let kind = Cursor::new(payload).u64_le("type of a consensus message")?;
        let header_bytes = match kind {
            0 => 57,
            1 => 25,
            3 | 6 => 32,
            4 | 7 => 17,
            5 => 16,
            found => return Err(Dropped::UnknownConsensus { found }),
        };
        let envelope = Envelope::split(payload, header_bytes)?;
        let mut cursor = Cursor::starting_at(envelope.header, 8);
        let message = match kind {
            0 => {
                let message = AppendEntries {
                    idx: cursor.u64_le("idx")?,
                    prev_idx: cursor.u64_le("prev_idx")?,
                    view: cursor.u64_le("view")?,
                    prev_view: cursor.u64_le("prev_view")?,
                    leader_commit: cursor.u64_le("leader_commit")?,
                    view_of_idx: cursor.u64_le("view_of_idx")?,
                };
                // Always false in what was seen, and nobody asks for it.
                flag(&mut cursor, "contains_new_view")?;
                Consensus::AppendEntries(message)
            }
            1 => Consensus::AppendEntriesResponse(AppendEntriesResponse {
                view: cursor.u64_le("view")?,
                last_idx: cursor.u64_le("last_idx")?,
                ok: !flag(&mut cursor, "outcome")?,
            }),
            3 => Consensus::RequestVote(RequestVote::read(&mut cursor)?),
            4 => Consensus::RequestVoteResponse(RequestVoteResponse::read(&mut cursor)?),
            6 => Consensus::RequestPreVote(RequestVote::read(&mut cursor)?),
            7 => Consensus::RequestPreVoteResponse(RequestVoteResponse::read(&mut cursor)?),
            _ => Consensus::ProposeRequestVote {
                view: cursor.u64_le("view")?,
            },
        };
        if kind != 0 && !envelope.rest.is_empty() {
            let what = format!("{} bytes after the IV, where this message ends", envelope.rest.len());
            return Err(Malformed::at(header_bytes + TAG_BYTES + IV_BYTES, what).into());
        }
        Ok((message, envelope))
    }

    /// The view of who says it.
    pub fn view(&self) -> View {
        match self {
            Consensus::AppendEntries(message) => message.view,
            Consensus::AppendEntriesResponse(message) => message.view,
            Consensus::RequestVote(message) | Consensus::RequestPreVote(message) => message.view,
            Consensus::RequestVoteResponse(message) | Consensus::RequestPreVoteResponse(message) => message.view,
            Consensus::ProposeRequestVote { view } => *view,
        }
    }

    /// What the tag covers.
    pub fn header(&self) -> Vec<u8> {
        let (kind, numbers, last_byte) = match self {
            Consensus::AppendEntries(message) => (
                0,
                vec![
                    message.idx,
                    message.prev_idx,
                    message.view,
                    message.prev_view,
                    message.leader_commit,
                    message.view_of_idx,
                ],
                Some(false),
            ),
            Consensus::AppendEntriesResponse(message) => (1, vec![message.view, message.last_idx], Some(!message.ok)),
            Consensus::RequestVote(message) => (3, message.numbers(), None),
            Consensus::RequestVoteResponse(message) => (4, vec![message.view], Some(message.granted)),
            Consensus::ProposeRequestVote { view } => (5, vec![*view], None),
            Consensus::RequestPreVote(message) => (6, message.numbers(), None),
            Consensus::RequestPreVoteResponse(message) => (7, vec![message.view], Some(message.granted)),
        };
        let mut header = Vec::with_capacity(57);
        header.extend(u64::to_le_bytes(kind));
        header.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        header.extend(last_byte.map(u8::from));
        header
    }
}

impl RequestVote {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(RequestVote {
            view: cursor.u64_le("view")?,
            last_signed: cursor.u64_le("last_signed_idx")?,
            view_of_last_signed: cursor.u64_le("view of last_signed_idx")?,
        })
    }

    fn numbers(&self) -> Vec<u64> {
        vec![self.view, self.last_signed, self.view_of_last_signed]
    }
}

impl RequestVoteResponse {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(RequestVoteResponse {
            view: cursor.u64_le("view")?,
            granted: flag(cursor, "granted")?,
        })
    }
}

/// A request that a follower passes on to its leader, or the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Type 4.
    Request(ForwardedRequest),
    /// Type 5.
    Answer(ForwardedAnswer),
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// Names the request to the follower that sent it.
    pub command: u64,
    /// The follower's view. A session is sticky to it.
    pub view: View,
    /// The client's session at the follower.
    pub session: u64,
    /// DER of the client's certificate, where it presented one.
    pub caller: Option<Vec<u8>>,
    /// The request, HTTP/1.1 as it came.
    pub request: Vec<u8>,
}

/// A leader's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedAnswer {
    /// The request's.
    pub command: u64,
    /// Whether the client's session is to be closed: the request was of another view.
    pub end_session: bool,
    /// The request's.
    pub session: u64,
    /// The answer, HTTP/1.1.
    pub answer: Vec<u8>,
}

impl Forwarded {
    /// Cuts a payload. Nothing has been authenticated yet.
    ///
    /// # Errors
    /// [`Dropped::UnknownForwarded`], [`Dropped::Malformed`].
    pub fn envelope(payload: &[u8]) -> Result<Envelope<'_>, Dropped> {
        let header_bytes = match Cursor::new(payload).u64_le("type of a forwarded message")? {
            4 => 25,
            5 => 18,
            found => return Err(Dropped::UnknownForwarded { found }),
        };
        Ok(Envelope::split(payload, header_bytes)?)
    }

    /// Reads a message whose `plaintext` has been decrypted.
    ///
    /// # Errors
    /// [`Dropped::UnknownForwarded`], [`Dropped::Malformed`].
    pub fn parse(header: &[u8], plaintext: &[u8]) -> Result<Self, Dropped> {
        let (mut header, mut cursor) = (Cursor::new(header), Cursor::new(plaintext));
        let kind = header.u64_le("type of a forwarded message")?;
        let format = header.u8("format of a forwarded message")?;
        if format != 0 {
            return Err(Malformed::at(8, format!("the forwarded format is {format}, expected 0 (HTTP)")).into());
        }
        let command = header.u64_le("command")?;
        match kind {
            4 => Ok(Forwarded::Request(ForwardedRequest {
                command,
                view: header.u64_le("view")?,
                session: cursor.u64_le("session")?,
                caller: match flag(&mut cursor, "has_cert")? {
                    true => Some(cursor.prefixed("client certificate")?.to_vec()),
                    false => None,
                },
                request: cursor.rest().to_vec(),
            })),
            5 => Ok(Forwarded::Answer(ForwardedAnswer {
                command,
                end_session: flag(&mut header, "end_session")?,
                session: cursor.u64_le("session")?,
                answer: cursor.rest().to_vec(),
            })),
            found => Err(Dropped::UnknownForwarded { found }),
        }
    }

    /// What is sent in the clear.
    pub fn header(&self) -> Vec<u8> {
        let (kind, command) = match self {
            Forwarded::Request(message) => (4_u64, message.command),
            Forwarded::Answer(message) => (5, message.command),
        };
        let mut header = Vec::with_capacity(25);
        header.extend(kind.to_le_bytes());
        header.push(0);
        header.extend(command.to_le_bytes());
        match self {
            Forwarded::Request(message) => header.extend(message.view.to_le_bytes()),
            Forwarded::Answer(message) => header.push(message.end_session.into()),
        }
        header
    }

    /// What is encrypted.
    pub fn plaintext(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::new());
        match self {
            Forwarded::Request(message) => {
                let caller = message.caller.as_deref();
                out.reserve_exact(17 + caller.map_or(0, <[u8]>::len) + message.request.len());
                out.extend(message.session.to_le_bytes());
                out.push(caller.is_some().into());
                if let Some(caller) = caller {
                    out.extend((caller.len() as u64).to_le_bytes());
                    out.extend_from_slice(caller);
                }
                out.extend_from_slice(&message.request);
            }
            Forwarded::Answer(message) => {
                out.reserve_exact(8 + message.answer.len());
                out.extend(message.session.to_le_bytes());
                out.extend_from_slice(&message.answer);
            }
        }
        out
    }
}

/// A byte that is 0 or 1.
fn flag(cursor: &mut Cursor<'_>, what: &'static str) -> Result<bool, Malformed> {
    let at = cursor.position();
    match cursor.u8(what)? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(Malformed::at(at, format!("{what} is {found}, expected 0 or 1"))),
    }
}

#[cfg(test)]
mod tests;
