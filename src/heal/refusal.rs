//! Why a message is refused, as CCF says it. Recovery specification, section 7.3.

use super::generation::Generation;
use crate::http::ApiError;
use crate::shown::excerpt;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node has no such configuration.
    NotConfigured,
    /// The TLS client has no certificate.
    NoCertificate,
    /// The body is not this message.
    Input(String),
    /// Who speaks is not in the configuration.
    Stranger {
        /// Who.
        id: String,
    },
    /// A peer that was heard before speaks with another key: it was started again.
    OtherKey {
        /// Who.
        id: String,
    },
    /// A gossip came after the vote.
    AlreadyVoted {
        /// Whom this node voted for.
        chosen: String,
    },
    /// Another node says that it is open, to a node that opens itself.
    Opens,
    /// Somebody says in this node's name that it is open.
    InOurName,
}

impl Refusal {
    /// Status, code and message. What strangers sent is shortened.
    pub fn error(&self, generation: Generation) -> ApiError {
        let bad = |code, message: String| ApiError::bad_request(code, message);
        let title = generation.title();
        match self {
            Refusal::NotConfigured => bad("InvalidNodeState", format!("Unable to get {title} configuration")),
            // CCF's words, which are a library's, and then what they mean.
            Refusal::NoCertificate => {
                ApiError::internal("OpenSSL error: missing object (the TLS client has no certificate)")
            }
            Refusal::Input(why) => bad("InvalidInput", why.clone()),
            Refusal::Stranger { id } => bad(
                "InvalidInput",
                format!(
                    "{} message from intrinsic id {} is refused: it is not one of the nodes in this node's configuration",
                    capitalised(title),
                    excerpt(id)
                ),
            ),
            Refusal::OtherKey { id } => bad(
                "NodeAlreadyExists",
                format!(
                    "{} message from intrinsic id {} is invalid: certificate has changed",
                    capitalised(title),
                    excerpt(id)
                ),
            ),
            Refusal::AlreadyVoted { chosen } => {
                ApiError::internal(format!("This node has already voted for {}", excerpt(chosen)))
            }
            Refusal::Opens => bad(
                "InvalidNodeState",
                "This node opens its service itself, or has opened it".to_owned(),
            ),
            Refusal::InOurName => bad("InvalidInput", "This node is not open".to_owned()),
        }
    }
}

fn capitalised(title: &str) -> String {
    let mut characters = title.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
