//! Why a member's request did not succeed: it never arrived, or the service refused it, and what to do then.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::shown::line;

/// Characters of an answer that is not CCF's that an error shows.
const SHOWN_CHARS: usize = 300;

/// Any failure of a member's request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No connection, or it broke.
    #[error("could not reach {address}: {why}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the machine said.
        why: String,
    },
    /// The server is not a node of the service that is trusted.
    #[error("{address} is not trusted: {why}")]
    Untrusted {
        /// Host and port.
        address: String,
        /// What it showed, and what was expected.
        why: String,
    },
    /// Nothing came in time.
    #[error("{address} did not answer within {seconds} s")]
    TimedOut {
        /// Host and port.
        address: String,
        /// How long was waited.
        seconds: u64,
    },
    /// An answer that is not what CCF's interface says.
    #[error("{what} could not be understood: {why}")]
    Answer {
        /// Which answer.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The service said no.
    #[error("{0}")]
    Refused(Refusal),
}

/// A refusal: CCF's code and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Such as `ProposalNotFound`; empty where the answer had none.
    pub code: String,
    /// CCF's text, or the start of the body.
    pub message: String,
    /// What the details of the error say.
    pub details: Vec<String>,
}

#[derive(Deserialize)]
struct Body {
    error: BodyError,
}

#[derive(Deserialize)]
struct BodyError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Value>,
}

impl Refusal {
    /// Reads the body of an answer that is no success: `{"error": {"code", "message", "details"?}}`, or anything else.
    pub fn new(status: StatusCode, body: &[u8]) -> Self {
        match serde_json::from_slice::<Body>(body) {
            Ok(Body { error }) => {
                let details = error.details.iter().map(|detail| {
                    let message = detail.get("message").and_then(Value::as_str);
                    printable(message.map_or_else(|| detail.to_string(), str::to_owned).as_str())
                });
                Refusal {
                    status,
                    code: printable(&error.code),
                    message: printable(&error.message),
                    details: details.take(8).collect(),
                }
            }
            Err(_) => Refusal {
                status,
                code: String::new(),
                message: printable(&String::from_utf8_lossy(body)),
                details: Vec::new(),
            },
        }
    }

    /// What to do next, for codes that a member meets (recovery specification, sections 3.1, 3.4 and 5.5).
    pub fn next(&self) -> Option<&'static str> {
        Some(match self.code.as_str() {
            "StateDigestMismatch" => {
                "the service has signed a newer state since the digest was fetched: run `rekindle member ack` again"
            }
            "ProposalCreatedTooLongAgo" => {
                "sign again with the present time: leave --created-at out, and check this machine's clock"
            }
            "ProposalReplay" => {
                "the service has this very request already: look for it with `rekindle member proposals`, or sign again"
            }
            "InvalidCreatedAt" => "give --created-at in seconds since 1970, or as 2026-11-21T12:00:00Z",
            "ProposalNotOpen" => {
                "votes count only while a proposal is Open: `rekindle member proposals ID` says how it ended"
            }
            "ProposalNotFound" | "VoteNotFound" => "`rekindle member proposals` lists the proposals that there are",
            "VoteAlreadyExists" => {
                "this member has voted; withdraw the proposal and make a new one if the vote was wrong"
            }
            "ProposalFailedToValidate" => {
                "the constitution does not accept the proposal's text: correct the action that the message names"
            }
            "FrontendNotOpen" => {
                "the node is not ready for governance yet: wait until `rekindle member status` shows PartOfPublicNetwork or PartOfNetwork"
            }
            "NodeAlreadyRecovering" => {
                "enough shares are there already: follow the recovery with `rekindle member status`"
            }
            "ServiceNotWaitingForRecoveryShares" => {
                "shares are taken only after the proposal to open the service has passed: see `rekindle member status` and `rekindle member open-service`"
            }
            "AuthorizationFailed" if self.says("withdrawn") => {
                "only the member who made a proposal can withdraw it: ask them, or vote against it"
            }
            "AuthorizationFailed" => {
                "the member is known, but may not do this: a new member has to run `rekindle member ack` first"
            }
            "UnsupportedApiVersionValue" | "MissingApiVersionParameter" => {
                "the service speaks another version of the governance interface than 2024-07-01"
            }
            "SessionCapExhausted" | "TooManyPendingTransactions" => "the node is busy: try again in a few seconds",
            "InvalidAuthenticationInfo" if self.says("ACTIVE") => {
                "the member is known, but not active: a new member has to run `rekindle member ack` first"
            }
            "InvalidAuthenticationInfo" if self.says("not a known member") => {
                "the service has no member with this certificate: check --cert, and that this is the right service"
            }
            "InvalidAuthenticationInfo" => {
                "check that --cert is the certificate that is registered for this member and --key its private key"
            }
            "ResourceNotFound" if self.message.to_ascii_lowercase().contains("share") => {
                "the service holds no share for this member: it is not an active recovery member"
            }
            "InternalError" if self.message.contains("shares are kept") => {
                "at least one of the submitted shares is wrong: let one more member submit, then the others still count and \
                 the wrong one is found"
            }
            "InternalError" if self.message.contains("initiate private recovery") => {
                "at least one of the submitted shares was wrong, and all were discarded: every member has to submit again; \
                 `rekindle unlock` with the members' keys tells which one is wrong"
            }
            "InternalError" if self.message.contains("apply") => {
                "the proposal was accepted, but could not be carried out, and nothing was stored: when the cause is removed, \
                 vote again"
            }
            _ => return None,
        })
    }

    fn says(&self, words: &str) -> bool {
        self.details
            .iter()
            .chain([&self.message])
            .any(|text| text.contains(words))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the service refused the request ({})", self.status.as_u16())?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        for detail in self.details.iter().filter(|detail| **detail != self.message) {
            write!(f, "\n    {detail}")?;
        }
        if let Some(next) = self.next() {
            write!(f, "\n    next {next}")?;
        }
        Ok(())
    }
}

/// Text from the network: cut, and on one line that can be shown.
pub(super) fn printable(text: &str) -> String {
    let cut: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", line(&cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_ccfs_code_and_message_and_what_to_do_next() {
        let body = br#"{"error":{"code":"ProposalNotOpen","message":"Proposal is Accepted.","details":[{"message":"because"}]}}"#;
        let text = Refusal::new(StatusCode::BAD_REQUEST, body).to_string();
        assert!(text.starts_with("the service refused the request (400) ProposalNotOpen: Proposal is Accepted.\n"));
        assert!(text.contains("\n    because\n    next votes count only while"));
    }

    #[test]
    fn what_to_do_next_follows_from_the_reason_inside_the_details() {
        for (reason, next) in [
            ("Signer is not an ACTIVE member", "rekindle member ack"),
            ("Signer is not a known member", "no member with this certificate"),
            ("Failed to validate COSE Sign1", "--key its private key"),
        ] {
            let details = serde_json::json!([{"auth_policy": "x", "message": reason}]);
            let error = serde_json::json!({"code": "InvalidAuthenticationInfo", "message": "no", "details": details});
            let body = serde_json::json!({"error": error}).to_string();
            let refusal = Refusal::new(StatusCode::UNAUTHORIZED, body.as_bytes());
            assert!(refusal.next().unwrap().contains(next), "{reason}");
        }
    }

    #[test]
    fn what_to_do_next_is_not_the_same_for_everything_that_is_forbidden() {
        for (message, next) in [
            (
                "Proposal 12 can only be withdrawn by proposer ab, not caller cd.",
                "ask them",
            ),
            ("No ACK record exists for caller ab.", "rekindle member ack"),
        ] {
            assert!(next_of("AuthorizationFailed", message).contains(next), "{message}");
        }
    }

    #[test]
    fn what_to_do_after_a_wrong_share_depends_on_whether_the_others_are_kept() {
        let kept = "Failed to initiate private recovery. The shares are kept: with the share of one more member";
        assert!(next_of("InternalError", kept).contains("one more member"));
        // CCF's own words, and ours.
        for discarded in [
            "",
            " All submitted shares were discarded: every member has to submit again.",
        ] {
            let message = format!("Failed to initiate private recovery.{discarded}");
            assert!(next_of("InternalError", &message).contains("every member has to submit again"));
        }
    }

    fn next_of(code: &str, message: &str) -> &'static str {
        let body = serde_json::json!({"error": {"code": code, "message": message}}).to_string();
        Refusal::new(StatusCode::FORBIDDEN, body.as_bytes()).next().unwrap()
    }

    #[test]
    fn a_body_that_is_not_ccfs_is_shown_shortened_and_harmless() {
        let body = format!("<html>\u{1b}[2J{}", "x".repeat(100_000));
        let refusal = Refusal::new(StatusCode::BAD_GATEWAY, body.as_bytes());
        assert!(refusal.code.is_empty() && refusal.message.starts_with("<html>\\u{1b}[2Jx"));
        assert!(refusal.message.chars().count() < SHOWN_CHARS + 10);
        let refusal = Refusal::new(StatusCode::OK, b"no\nverdict ok");
        assert_eq!(refusal.message, "no\\nverdict ok");
        for body in [&b""[..], b"[]", b"\xff\xfe", br#"{"error":1}"#] {
            assert_eq!(Refusal::new(StatusCode::OK, body).next(), None);
        }
    }
}
