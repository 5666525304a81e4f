//! Clients' requests that other nodes pass on to the one that leads. Node-to-node specification, section 3.
//!
//! They are answered as any other request is, beside everything else, and the answer goes back the way the request came. What
//! this node can't answer is said in an answer too: whoever passed a request on otherwise waits for three seconds.

use hyper::StatusCode;

use super::driver::Driver;
use super::peers::Passed;
use super::writer::Message;
use crate::channel::message::{Forwarded, ForwardedAnswer, ForwardedRequest};
use crate::format::View;
use crate::http::ApiError;

/// Longest answer that is passed back. A frame of more than 64 MiB ends a CCF node.
const LONGEST_ANSWER: usize = 16 << 20;

impl Driver {
    /// A client's request that another node passes on, or the answer to one that was passed on there.
    pub(super) fn passed_on(&mut self, passed: Passed) {
        let Passed { from, message, permit } = passed;
        let request = match message {
            Forwarded::Request(request) => request,
            Forwarded::Answer(answer) => {
                return tracing::debug!(%from, command = answer.command, "an answer that nobody waits for");
            }
        };
        let view = self.core.consensus().map_or(0, crate::consensus::Consensus::view);
        let leads = self.node().is_primary();
        let ForwardedRequest {
            command,
            session,
            caller,
            request,
            view: asked,
        } = request;
        let answer = move |end_session, answer| {
            Forwarded::Answer(ForwardedAnswer {
                command,
                end_session,
                session,
                answer,
            })
        };
        if let Some(refusal) = refusal(leads, asked, view, session) {
            return self.pass_back(from, answer(true, bytes(&refusal)));
        }
        let Some(place) = self.places_of_nodes.enter(from) else {
            return self.pass_back(from, answer(false, bytes(&too_many())));
        };
        let (Some(relay), Some(writer)) = (self.node().relay.get(), self.node().writer.get()) else {
            return;
        };
        let writer = writer.clone();
        relay.answer(request, caller, LONGEST_ANSWER, move |outcome| {
            let said = outcome.unwrap_or_else(|why| {
                // Its client is told, and it may be sent as often as the node likes.
                tracing::debug!(%from, "a request that a node passed on is not answered: {why}");
                let message = format!("The primary could not answer: {why}.");
                bytes(&ApiError::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "InternalError",
                    message,
                ))
            });
            // The permit goes along: answers that wait for the writer are as many as the requests of which they are.
            writer.tell(Message::PassBack(from, answer(false, said), permit));
            drop(place);
        });
    }
}

/// Why a request can't be answered here. Sessions hold on to the view that they began in: what a client has seen must not go
/// back.
fn refusal(leads: bool, asked: View, view: View, session: u64) -> Option<ApiError> {
    let lost = |message| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "SessionConsistencyLost", message);
    match leads && asked == view {
        true => None,
        false => Some(lost(format!(
            "Potential loss of session consistency on session {session}. Started in view {asked}, now in view {view}. \
             Closing session."
        ))),
    }
}

fn too_many() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "NodeCannotHandleRequest",
        "The primary answers many requests of this node already. Try again.".to_owned(),
    )
}

/// An error as HTTP/1.1.
fn bytes(error: &ApiError) -> Vec<u8> {
    let body = serde_json::to_vec(&error.to_answer()).unwrap_or_default();
    let (code, reason) = (
        error.status.as_u16(),
        error.status.canonical_reason().unwrap_or("Error"),
    );
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_this_view_is_answered_by_who_leads_and_others_end_their_session() {
        assert!(refusal(true, 4, 4, 1).is_none());
        for (leads, asked) in [(true, 3), (true, 5), (false, 4)] {
            let error = refusal(leads, asked, 4, 17).unwrap();
            assert_eq!(error.code, "SessionConsistencyLost");
            assert!(error.message.contains("session 17") && error.message.contains("now in view 4"));
            let text = String::from_utf8(bytes(&error)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], "SessionConsistencyLost");
        }
    }
}
