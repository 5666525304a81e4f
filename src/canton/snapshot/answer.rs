//! What an answer to the request for a data snapshot means, and what to do about it (SPEC-CANTON 3.3).
//!
//! Decided on the body's words: the same status means other things in other releases, and proxies answer with statuses of
//! their own. The documented `curl -f` hides these words.

use serde::Serialize;

use crate::canton::Timestamp;
use crate::canton::finding::Code;
use crate::canton::release::{NetworkRecovery, Splice};
use crate::shown::excerpt;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// What follows may be a snapshot.
    Snapshot,
    /// The participant's contracts at that time are pruned.
    Pruned,
    /// The participant has not processed everything up to that time.
    TooLate,
    /// The time is before the first event that the participant knows.
    TooEarly,
    /// From 0.5.5 on: no event has just that record time, and `force` was not given. Nothing is pruned.
    NotARecordTime {
        /// The record time that the server names.
        record_time: Option<Timestamp>,
    },
    /// The app's rate limiter: nothing to do with the time.
    Busy,
    /// The app, the participant or the sequencer does not run, or not yet.
    Unavailable,
    /// Making the snapshot took longer than the app, or a proxy, waits.
    TimedOut,
    /// There is no such service at this address.
    NotThere,
    /// The token is missing, expired, or has not the rights.
    NotAllowed,
    /// A success that holds something else: a page to log in.
    NotASnapshot,
    /// The server refused for another reason, which it may say.
    Refused,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read the body.
    Read,
    /// Ask the same again a little later.
    Again,
    /// Ask for an earlier time.
    Earlier,
    /// Nothing that this program can do: say why.
    Stop,
}

/// A meaning, with the server's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it means.
    pub meaning: Meaning,
    /// What the server said, as it can be shown; empty where it said nothing.
    pub said: String,
}

impl Meaning {
    /// What to do next.
    pub fn next(&self) -> Next {
        match self {
            Meaning::Snapshot => Next::Read,
            Meaning::Busy | Meaning::Unavailable => Next::Again,
            Meaning::TooLate => Next::Earlier,
            _ => Next::Stop,
        }
    }

    /// The finding's kind where this is the end.
    pub fn code(&self) -> Code {
        match self {
            Meaning::Snapshot | Meaning::NotASnapshot => Code::NotASnapshot,
            Meaning::Pruned => Code::PrunedPastTimestamp,
            Meaning::TooLate => Code::TimestampTooLate,
            Meaning::TooEarly => Code::TimestampTooEarly,
            Meaning::NotARecordTime { .. } => Code::NotARecordTime,
            Meaning::Busy => Code::ServerBusy,
            Meaning::Unavailable => Code::ServerUnavailable,
            Meaning::TimedOut => Code::ServerTimedOut,
            Meaning::NotThere => Code::NoSuchService,
            Meaning::NotAllowed => Code::NotAllowed,
            Meaning::Refused => Code::ServerRefused,
        }
    }

    /// Advice that fits better than the kind's own, where the release or the answer says more.
    pub fn advice(&self, release: Option<Splice>) -> Option<String> {
        match (self, release) {
            (
                Meaning::NotARecordTime {
                    record_time: Some(time),
                },
                _,
            ) => Some(format!(
                "ask again with --force, which takes the agreed time as it is; or, if all SVs agree on it, with --timestamp {time}"
            )),
            (Meaning::NotThere, Some(release)) => Some(match release.network_recovery() {
                NetworkRecovery::RollForwardLsu { .. } => format!(
                    "Splice {release} brings the network back by a roll-forward logical synchronizer upgrade: \
                     rekindle canton runbook roll-forward-lsu"
                ),
                NetworkRecovery::DataSnapshot => {
                    format!("Splice {release} has this service: check the host name and path of --url")
                }
            }),
            _ => None,
        }
    }
}

/// Decides on an answer by its status, content type and the beginning of its body. Of a success it is enough to know whether
/// to read on.
pub fn decide(status: u16, content_type: &str, body: &[u8]) -> Decision {
    let text = String::from_utf8_lossy(body);
    let said = error_text(&text).unwrap_or_else(|| text.trim().to_owned());
    let says = |words: &str| said.contains(words) || text.contains(words);
    let is_html = content_type.contains("html") || text.trim_start().starts_with('<');
    let meaning = match status {
        200 | 206 if is_html => Meaning::NotASnapshot,
        200 | 206 => Meaning::Snapshot,
        100..=399 => Meaning::NotASnapshot,
        // The words first, whatever the status.
        _ if says("UNAVAILABLE_ACS_SNAPSHOT(") => Meaning::Pruned,
        _ if says("INVALID_ACS_SNAPSHOT_TIMESTAMP(") => Meaning::TooLate,
        _ if says("INVALID_TIMESTAMP_PARTY_MANAGEMENT_ERROR(") => match says("Not all events have been processed") {
            true => Meaning::TooLate,
            false => Meaning::TooEarly,
        },
        _ if says("Timestamp mismatch: requested=") => Meaning::NotARecordTime {
            record_time: record_time(&said),
        },
        _ if says("Too Many Requests") => Meaning::Busy,
        _ if says("The server is taking too long") => Meaning::TimedOut,
        401 | 403 => Meaning::NotAllowed,
        404 | 405 => Meaning::NotThere,
        429 => Meaning::Busy,
        502 | 503 => Meaning::Unavailable,
        504 | 524 => Meaning::TimedOut,
        _ => Meaning::Refused,
    };
    let said = match is_html {
        true => title(&text).unwrap_or_else(|| "a page of HTML".to_owned()),
        false => said,
    };
    Decision {
        meaning,
        said: excerpt(&said),
    }
}

/// The text of `{"error": "…"}`.
fn error_text(body: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    serde_json::from_str::<Said>(body).ok().map(|said| said.error)
}

/// The record time in `… != recordTime=2024-04-21T23:25:00.123456Z`.
fn record_time(said: &str) -> Option<Timestamp> {
    let after = said.split_once("recordTime=")?.1;
    let end = after.find('Z')?;
    after.get(..=end)?.parse().ok()
}

fn title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let length = lower.get(start..)?.find("</title>")?;
    let title = page.get(start..start + length)?.trim();
    (!title.is_empty()).then(|| format!("a page of HTML: {title}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, body: &str) -> Meaning {
        decide(status, "application/json", body.as_bytes()).meaning
    }

    #[test]
    fn every_row_of_the_table_is_decided_on_its_words() {
        let error = |words: &str| serde_json::json!({ "error": words }).to_string();
        let rows = [
            (400, error("UNAVAILABLE_ACS_SNAPSHOT(9,1a2b): pruned"), Meaning::Pruned),
            (
                429,
                error("INVALID_ACS_SNAPSHOT_TIMESTAMP(2,0): not clean"),
                Meaning::TooLate,
            ),
            (429, "Too Many Requests: Server is busy".to_owned(), Meaning::Busy),
            (
                400,
                error("Timestamp mismatch: requested=2024-04-21T23:25:00Z != recordTime=2024-04-21T23:24:59.123456Z"),
                Meaning::NotARecordTime {
                    record_time: Some("2024-04-21T23:24:59.123456Z".parse().unwrap()),
                },
            ),
            (
                500,
                error(
                    "INVALID_TIMESTAMP_PARTY_MANAGEMENT_ERROR(12,0): Not all events have been processed fully and/or \
                     published to the Ledger API DB until the requested timestamp",
                ),
                Meaning::TooLate,
            ),
            (
                500,
                error("INVALID_TIMESTAMP_PARTY_MANAGEMENT_ERROR(12,0): no events"),
                Meaning::TooEarly,
            ),
            (500, error("An unexpected error occurred."), Meaning::Refused),
            (
                503,
                error("The server is taking too long to respond"),
                Meaning::TimedOut,
            ),
            (503, error("UNAVAILABLE: io exception"), Meaning::Unavailable),
            (
                404,
                "The requested resource could not be found.".to_owned(),
                Meaning::NotThere,
            ),
            (401, String::new(), Meaning::NotAllowed),
            (403, error("PERMISSION_DENIED"), Meaning::NotAllowed),
            (504, "<html>gateway</html>".to_owned(), Meaning::TimedOut),
            (200, "{\"data_snapshot\"".to_owned(), Meaning::Snapshot),
            (200, " <!DOCTYPE html>".to_owned(), Meaning::NotASnapshot),
            (204, String::new(), Meaning::NotASnapshot),
        ];
        for (status, body, expected) in rows {
            assert_eq!(meaning(status, &body), expected, "{status} {body}");
        }
        assert_eq!(decide(200, "text/html", b"").meaning, Meaning::NotASnapshot);
    }

    #[test]
    fn statuses_that_changed_between_releases_change_nothing() {
        for status in [400, 404, 429, 500, 503] {
            assert_eq!(
                meaning(status, "{\"error\":\"UNAVAILABLE_ACS_SNAPSHOT(9,x)\"}"),
                Meaning::Pruned
            );
            assert_eq!(
                meaning(status, "{\"error\":\"INVALID_ACS_SNAPSHOT_TIMESTAMP(2,x)\"}"),
                Meaning::TooLate
            );
        }
        // A snapshot may hold any words.
        assert_eq!(
            meaning(200, "{\"x\":\"UNAVAILABLE_ACS_SNAPSHOT(9,\"}"),
            Meaning::Snapshot
        );
    }

    #[test]
    fn what_the_server_said_is_quoted_and_nothing_of_a_page_but_its_title() {
        let decision = decide(500, "", b"{\"error\":\"a\\u001b[2Jb\"}");
        assert_eq!(decision.said, "a\\u{1b}[2Jb");
        let page = decide(503, "text/html; charset=utf-8", b"<HTML><Title> Sign in </title>secret");
        assert_eq!(page.said, "a page of HTML: Sign in");
        let long = decide(500, "", "x".repeat(5000).as_bytes());
        assert!(long.said.len() < 500);
        assert_eq!(decide(500, "", b"\xff\xfe").meaning, Meaning::Refused);
    }

    #[test]
    fn not_found_is_told_apart_by_the_release() {
        let advice = |text: &str| Meaning::NotThere.advice(Some(text.parse().unwrap())).unwrap();
        assert!(advice("0.6.7").contains("roll-forward"));
        assert!(advice("0.5.4").contains("--url"));
    }
}
