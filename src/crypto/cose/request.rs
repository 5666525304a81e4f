//! Governance requests that members sign (recovery specification, section 3.4).

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::write::{Cbor, to_be_signed};
use super::{LABEL_ALGORITHM, LABEL_KID, SigningKey, TAG_SIGN1};

/// Header with the time of the request, in seconds since 1970.
pub const CREATED_AT: &str = "ccf.gov.msg.created_at";
/// Header with the [`MessageType`].
pub const MESSAGE_TYPE: &str = "ccf.gov.msg.type";
/// Header with the proposal that a ballot or a withdrawal is about.
pub const PROPOSAL_ID: &str = "ccf.gov.msg.proposal_id";

/// What a request is for: an endpoint takes only requests that say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// A new proposal: `proposals:create`.
    Proposal,
    /// A vote on one, `ballots/{memberId}:submit`; needs its id.
    Ballot,
    /// Taking back one's own, `{proposalId}:withdraw`; needs its id.
    Withdrawal,
    /// Asking for the newest state digest: `state-digests/{memberId}:update`.
    StateDigest,
    /// Acknowledging it: `state-digests/{memberId}:ack`.
    Ack,
    /// Submitting a recovery share: `recovery/members/{memberId}:recover`.
    RecoveryShare,
    /// Asking for one's share, in older releases.
    EncryptedRecoveryShare,
}

impl MessageType {
    /// All of them.
    pub const ALL: [MessageType; 7] = [
        MessageType::Proposal,
        MessageType::Ballot,
        MessageType::Withdrawal,
        MessageType::StateDigest,
        MessageType::Ack,
        MessageType::RecoveryShare,
        MessageType::EncryptedRecoveryShare,
    ];

    /// As it stands in the header [`MESSAGE_TYPE`].
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Proposal => "proposal",
            MessageType::Ballot => "ballot",
            MessageType::Withdrawal => "withdrawal",
            MessageType::StateDigest => "state_digest",
            MessageType::Ack => "ack",
            MessageType::RecoveryShare => "recovery_share",
            MessageType::EncryptedRecoveryShare => "encrypted_recovery_share",
        }
    }

    /// Whether the header must name a proposal.
    pub fn names_proposal(self) -> bool {
        matches!(self, MessageType::Ballot | MessageType::Withdrawal)
    }
}

/// The protected header of a member's governance request (recovery specification, section 3.4).
#[derive(Clone, Copy, Debug)]
pub struct RequestHeader<'a> {
    /// Hex of the member's id.
    pub member_id_hex: &'a str,
    /// Seconds since 1970.
    pub created_at_s: u64,
    /// What it is for.
    pub message_type: MessageType,
    /// With a ballot or a withdrawal: hex.
    pub proposal_id: Option<&'a str>,
}

/// Signs a governance request as CCF's own tools do: payload embedded, unprotected header empty, the signature never the
/// same twice (a service refuses the very message that it has seen). The result is wiped on drop, because the payload may
/// be a recovery share.
pub fn sign_request(
    key: &SigningKey,
    rng: &mut impl CryptoRng,
    header: &RequestHeader,
    payload: &[u8],
) -> Zeroizing<Vec<u8>> {
    let mut protected = Cbor::new();
    protected.map(4 + usize::from(header.proposal_id.is_some()));
    protected
        .integer(LABEL_ALGORITHM)
        .integer(key.verifying_key().curve().cose_algorithm());
    protected.integer(LABEL_KID).bytes(header.member_id_hex.as_bytes());
    protected.text(CREATED_AT).head(0, header.created_at_s);
    protected.text(MESSAGE_TYPE).text(header.message_type.as_str());
    if let Some(id) = header.proposal_id {
        protected.text(PROPOSAL_ID).text(id);
    }
    let signature = key.sign_fixed_hedged(rng, &Zeroizing::new(to_be_signed(&protected.0, payload)));
    // Never has to grow, and so leaves no copy of the payload behind.
    let mut message = Cbor(Vec::with_capacity(
        64 + protected.0.len() + payload.len() + signature.len(),
    ));
    message
        .tag(TAG_SIGN1)
        .array(4)
        .bytes(&protected.0)
        .map(0)
        .bytes(payload)
        .bytes(&signature);
    Zeroizing::new(message.0)
}
