//! What CCF answers where the domain refuses: status and code of each reason. Recovery specification, section 3.1.

use hyper::StatusCode;

use crate::governance::{Reason, Refusal};
use crate::http::ApiError;

impl From<Refusal> for ApiError {
    fn from(Refusal { reason, message }: Refusal) -> Self {
        let (status, code) = match reason {
            Reason::Unauthenticated { policy } => return ApiError::unauthenticated(policy, message),
            Reason::NotAllowed => (StatusCode::FORBIDDEN, "AuthorizationFailed"),
            Reason::OtherSigner => (StatusCode::BAD_REQUEST, "InvalidAuthenticationInfo"),
            Reason::InvalidInput => (StatusCode::BAD_REQUEST, "InvalidInput"),
            Reason::InvalidName => (StatusCode::BAD_REQUEST, "InvalidResourceName"),
            Reason::InvalidQuery => (StatusCode::BAD_REQUEST, "InvalidQueryParameterValue"),
            Reason::MissingVersion => (StatusCode::BAD_REQUEST, "MissingApiVersionParameter"),
            Reason::UnsupportedVersion => (StatusCode::BAD_REQUEST, "UnsupportedApiVersionValue"),
            Reason::InvalidCreatedAt => (StatusCode::BAD_REQUEST, "InvalidCreatedAt"),
            Reason::TooOld => (StatusCode::BAD_REQUEST, "ProposalCreatedTooLongAgo"),
            Reason::Replay => (StatusCode::BAD_REQUEST, "ProposalReplay"),
            Reason::NotValid => (StatusCode::BAD_REQUEST, "ProposalFailedToValidate"),
            Reason::NotOpen => (StatusCode::BAD_REQUEST, "ProposalNotOpen"),
            Reason::AlreadyVoted => (StatusCode::BAD_REQUEST, "VoteAlreadyExists"),
            Reason::OtherDigest => (StatusCode::BAD_REQUEST, "StateDigestMismatch"),
            Reason::UnknownProposal => (StatusCode::NOT_FOUND, "ProposalNotFound"),
            Reason::NoBallot => (StatusCode::NOT_FOUND, "VoteNotFound"),
            Reason::NotFound => (StatusCode::NOT_FOUND, "ResourceNotFound"),
            Reason::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        };
        ApiError::new(status, code, message)
    }
}
