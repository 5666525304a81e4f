//! Why governance does not do what it is asked.

/// What was refused, ready to be told: as an answer of the API it gets a status and CCF's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason.
    pub reason: Reason,
    /// For a person.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The request proves nobody who may ask, by the authentication policy of this name.
    Unauthenticated {
        /// The policy.
        policy: &'static str,
    },
    /// The request is another member's than the address says.
    OtherSigner,
    /// Somebody else may.
    NotAllowed,
    /// What was sent can't be read.
    InvalidInput,
    /// An id or a name in the address is none, or not the one that was signed.
    InvalidName,
    /// A parameter in the address has a value that there is not.
    InvalidQuery,
    /// The version of the API is not given.
    MissingVersion,
    /// The version of the API is not served here.
    UnsupportedVersion,
    /// The time at which a proposal says that it was made is none.
    InvalidCreatedAt,
    /// A proposal was made so long ago that its repetition could not be noticed.
    TooOld,
    /// The same proposal was made before.
    Replay,
    /// The constitution does not take the proposal.
    NotValid,
    /// The proposal was decided already.
    NotOpen,
    /// The member has voted already.
    AlreadyVoted,
    /// The digest that is acknowledged is not the one that was asked for.
    OtherDigest,
    /// There is no such proposal.
    UnknownProposal,
    /// The member has not voted for this proposal.
    NoBallot,
    /// There is no such thing.
    NotFound,
    /// Something is wrong with the service and not with the request.
    Fault,
}

impl Refusal {
    /// For a reason, in words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal {
            reason,
            message: message.into(),
        }
    }

    /// Nobody who may ask.
    pub fn unauthenticated(policy: &'static str, why: impl Into<String>) -> Refusal {
        Refusal::new(Reason::Unauthenticated { policy }, why)
    }
}
