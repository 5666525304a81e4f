//! Asking to be let in, again and again until members have agreed.
//!
//! Who answers must be a node of the service whose certificate was given; its name is not verified, as in CCF. Where CCF's nodes
//! end with the first connection that fails, this one tries a few times before it does, and for ever once somebody of the service
//! has answered: a primary that dies while members vote is replaced by another.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::speaking::{Saying, Speaker, Unheard, address_in};
use crate::crypto::Certificate;
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::net::exchange::{Answered, Bounds};
use crate::node::config::{Address, Join};
use crate::node::shared::Node;
use crate::service::joining::{Answer, Told};
use crate::shown::{excerpt, line};

const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    // Whoever verifies evidence may have to wait for its maker.
    answer: Duration::from_secs(30),
    // Secrets have a hundred bytes each.
    size: 16 << 20,
};
/// In a row, before anybody of the service has answered.
const ATTEMPTS: u32 = 3;
/// One after the other, in one attempt.
const REDIRECTIONS: u32 = 5;
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Asks for one node.
pub(super) struct Asker<'n> {
    join: &'n Join,
    service: &'n Certificate,
    id: Digest,
    speaker: &'n Speaker,
    body: Bytes,
}

/// What an attempt came to, where the node is not let in yet.
enum Fault {
    /// Nobody of the service was reached.
    Unreached(String),
    /// Whoever answers is not of the service.
    Stranger(String),
    /// It is asked again.
    Later(String),
    /// It is not.
    Refused(String),
}

impl<'n> Asker<'n> {
    /// For a node whose request this is.
    pub(super) fn new(
        node: &'n Node,
        join: &'n Join,
        service: &'n Certificate,
        speaker: &'n Speaker,
        body: Vec<u8>,
    ) -> Asker<'n> {
        Asker {
            join,
            service,
            id: node.certificates.self_signed().key_id(),
            speaker,
            body: Bytes::from(body),
        }
    }

    /// Asks until the node is let in.
    ///
    /// # Errors
    /// If it is refused, or nobody of the service is at the address that it was given.
    pub(super) async fn ask(&self) -> Result<Box<Told>> {
        let given = &self.join.target_rpc_address;
        let (mut target, mut is_known, mut failures) = (given.clone(), false, 0);
        let mut said = String::new();
        loop {
            let fault = match self.attempt(&mut target).await {
                Ok(told) => return Ok(told),
                Err(fault) => fault,
            };
            failures += 1;
            let at = line(&target.to_string()).into_owned();
            let what = match fault {
                Fault::Refused(why) => {
                    return Err(Error::Unreadable(format!(
                        "the service does not let this node in: {at} answers {why}. The node ends, and has changed nothing; it can \
                         be started again"
                    )));
                }
                Fault::Stranger(why) if failures >= ATTEMPTS => return Err(stranger(&at, &why)),
                Fault::Unreached(why) if failures >= ATTEMPTS && !is_known => return Err(unreached(&at, &why)),
                Fault::Stranger(why) | Fault::Unreached(why) => {
                    // Where it was sent to, nobody may be any more.
                    target = given.clone();
                    why
                }
                Fault::Later(why) => {
                    (is_known, failures) = (true, 0);
                    why
                }
            };
            if what != said {
                tracing::info!(target = %at, "this node is not let in yet, and asks again: {what}");
                said = what;
            }
            tokio::time::sleep(self.join.retry_timeout.max(SHORTEST_PAUSE)).await;
        }
    }

    /// Asks once, wherever that leads; `target` is where it has led.
    async fn attempt(&self, target: &mut Address) -> std::result::Result<Box<Told>, Fault> {
        for _ in 0..=REDIRECTIONS {
            let answered = self.post(target).await?;
            let status = answered.status;
            if matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                let to = answered.location.unwrap_or_default();
                if !self.join.follow_redirect {
                    return Err(Fault::Later(format!(
                        "it sends to {}, where this node does not go: command.join.follow_redirect is false",
                        excerpt(&to)
                    )));
                }
                let Some(next) = address_in(&to) else {
                    return Err(Fault::Later(format!(
                        "it sends to {}, which is no address",
                        excerpt(&to)
                    )));
                };
                tracing::info!(from = %line(&target.to_string()), to = %line(&next.to_string()), "sent to the primary");
                *target = next;
                continue;
            }
            return self.read(&answered);
        }
        Err(Fault::Later("one node sends to the other".to_owned()))
    }

    async fn post(&self, target: &Address) -> std::result::Result<Answered, Fault> {
        let asking = Saying {
            method: Method::POST,
            path: "/node/join",
            headers: &[],
            json: Some(self.body.clone()),
        };
        let answered = self.speaker.say(target, asking, BOUNDS).await;
        answered.map_err(|why| match why {
            Unheard::Stranger(why) => Fault::Stranger(why),
            Unheard::Unreached(why) => Fault::Unreached(why),
        })
    }

    fn read(&self, answered: &Answered) -> std::result::Result<Box<Told>, Fault> {
        let status = answered.status;
        if status == StatusCode::OK {
            return match Answer::parse(&answered.body, &self.id, self.service) {
                Ok(Answer::Pending) => Err(Fault::Later("members have to trust it first".to_owned())),
                Ok(Answer::Trusted(told)) => Ok(told),
                Err(why) => Err(Fault::Refused(format!("what can't be used: {}", line(&why)))),
            };
        }
        let why = format!("{}{}", status.as_u16(), words(&answered.body));
        Err(match status.is_client_error() {
            true => Fault::Refused(why),
            false => Fault::Later(why),
        })
    }
}

fn unreached(at: &str, why: &str) -> Error {
    Error::Unreadable(format!(
        "nobody can be asked at {at} ({ATTEMPTS} attempts): {why}. Give the address of a node of the service that runs, in \
         command.join.target_rpc_address, and start again"
    ))
}

fn stranger(at: &str, why: &str) -> Error {
    Error::Unreadable(format!(
        "{at} is not a node of the service that this node is to join: {why}. Give the service's newest certificate in \
         command.service_certificate_file, and the address of one of its nodes in command.join.target_rpc_address, and start again"
    ))
}

/// Code and message of an error, as far as it has any.
fn words(body: &[u8]) -> String {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| {
        error
            .pointer(&format!("/error/{name}"))
            .and_then(Value::as_str)
            .map(excerpt)
    };
    let parts = [part("code"), part("message")];
    parts.into_iter().flatten().map(|part| format!(" {part}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_primary_says_is_cleaned() {
        let body = br#"{"error": {"code": "InvalidQuote", "message": "Quote \u001b[31m could not be verified"}}"#;
        let said = words(body);
        assert!(
            said.starts_with(" InvalidQuote Quote") && !said.contains('\u{1b}'),
            "{said}"
        );
        assert_eq!(words(b"<html>"), "");
    }
}
