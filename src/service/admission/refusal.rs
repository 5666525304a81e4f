//! Why a node is not let in, as CCF says it. Recovery specification, section 8.3.

use hyper::StatusCode;
use hyper::header::LOCATION;

use crate::format::Seqno;
use crate::http::{ApiError, Response};

/// Why a node is not let in. A joiner takes a 4xx for final and ends, and asks again after anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The body is not a request to join.
    Input(String),
    /// The node that is asked is not part of a network itself.
    NotInNetwork,
    /// The joiner begins before this node does, so that it would be sent entries that this node has not.
    StartupSeqnoIsOld {
        /// Where the joiner begins.
        joiner: Seqno,
        /// Where this node began.
        own: Seqno,
    },
    /// There is no service.
    NoService,
    /// The TLS client has no certificate.
    NoCertificate,
    /// Its certificate is none that a node can have.
    Certificate(String),
    /// It was a node of this service, and retired.
    Retired,
    /// Another node decides.
    NotPrimary {
        /// Where that is reached, if it is known.
        address: Option<String>,
    },
    /// Another node has the address already.
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        id: String,
    },
    /// What it shows is not what the service asks of its nodes.
    Evidence(Doubt),
    /// The certificate request is for another key than the TLS client's.
    ForeignRequest,
    /// The certificate request can't be read, or is not signed by its key.
    CertificateRequest(String),
    /// Its key for ledger secrets can't be used.
    EncryptionKey(String),
    /// It may be let in, but not by this node as it is now.
    NotNow(&'static str),
    /// Something is wrong over here.
    Failed(String),
}

/// What is doubtful of the evidence, as far as CCF tells a joiner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It does not hold, or is of hardware that nobody is let in on.
    Unverified,
    /// The measurement is not one of the store's.
    Measurement,
    /// It is about another key.
    ReportData,
    /// There is no host data.
    NoHostData,
    /// The host data is not one of the store's.
    HostData,
    /// Who signed the measurement is not trusted.
    Uvm,
}

impl Doubt {
    fn message(self) -> &'static str {
        match self {
            Doubt::Unverified => "Quote could not be verified",
            Doubt::Measurement => "Quote does not contain known enclave measurement",
            Doubt::ReportData => "Quote report data does not contain node's public key hash",
            Doubt::NoHostData => "Quote does not contain trusted host data",
            Doubt::HostData => "Quote host data is not authorised",
            Doubt::Uvm => "UVM endorsements are not authorised",
        }
    }
}

impl Refusal {
    /// The answer.
    pub fn response(&self) -> Response {
        let response = Response::from(self.error());
        match self {
            Refusal::NotPrimary { address: Some(address) } => {
                response.with_header(LOCATION, &format!("https://{address}/node/join"))
            }
            _ => response,
        }
    }

    /// Status, code and message.
    pub fn error(&self) -> ApiError {
        let bad = |code, message: String| ApiError::bad_request(code, message);
        match self {
            Refusal::Input(why) => bad("InvalidInput", why.clone()),
            Refusal::NotInNetwork => ApiError::internal("Target node should be part of network to accept new nodes."),
            Refusal::StartupSeqnoIsOld { joiner, own } => bad(
                "StartupSeqnoIsOld",
                format!(
                    "Node requested to join from seqno {joiner} which is older than this node startup seqno {own}. A \
                     snapshot at least as recent as {own} must be used instead."
                ),
            ),
            Refusal::NoService => ApiError::internal("No service is available to accept new node."),
            // CCF's words, which are a library's, and then what they mean.
            Refusal::NoCertificate => {
                ApiError::internal("OpenSSL error: missing object (the TLS client has no certificate)")
            }
            Refusal::Certificate(why) => bad(
                "InvalidInput",
                format!("The TLS client's certificate is none that a node can have: {why}."),
            ),
            Refusal::Retired => ApiError::bad_request("InvalidNodeState", "Joining node is not in expected state."),
            Refusal::NotPrimary { address: Some(_) } => ApiError::new(
                StatusCode::PERMANENT_REDIRECT,
                "NodeCannotHandleRequest",
                "Node is not primary; cannot handle write",
            ),
            Refusal::NotPrimary { address: None } => ApiError::internal("Primary unknown"),
            Refusal::AddressTaken { address, id } => bad(
                "NodeAlreadyExists",
                format!("A node with the same published node address {address} already exists (node id: n[{id}])."),
            ),
            Refusal::Evidence(doubt) => ApiError::new(StatusCode::UNAUTHORIZED, "InvalidQuote", doubt.message()),
            Refusal::ForeignRequest => ApiError::bad_request(
                "CSRPublicKeyInvalid",
                "Public key in CSR does not match TLS client identity.",
            ),
            Refusal::CertificateRequest(why) => bad(
                "CSRPublicKeyInvalid",
                format!("The certificate signing request can't be used: {why}."),
            ),
            Refusal::EncryptionKey(why) => bad("InvalidInput", format!("public_encryption_key can't be used: {why}.")),
            Refusal::NotNow(why) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NodeCannotHandleRequest", *why),
            Refusal::Failed(why) => ApiError::internal(why),
        }
    }
}
