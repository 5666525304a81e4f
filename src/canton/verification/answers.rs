//! What the services of an SV answer, and what that means. Bytes of a server: anything may be in them.
//!
//! The shapes are those of Splice's OpenAPI: `NodeStatus` is one of `{"success":{…,"active":bool}}`, `{"not_initialized":…}` and
//! `{"failed":{"error":…}}`; CometBFT's is `{"id","catching_up","voting_power"}` or `{"error"}` with 200.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::report::{Line, State};
use crate::canton::Code;
use crate::canton::name::Participant;
use crate::canton::release::Splice;
use crate::shown::excerpt;

/// An answer of a server, its body up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    /// The content type, lower case, without parameters.
    pub content_type: String,
    /// The body's beginning.
    pub body: Vec<u8>,
    /// Whether there was more of it.
    pub is_cut: bool,
}

/// What is asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Whether the SV app is ready.
    Ready,
    /// Whether it is alive.
    Live,
    /// The SV app's own status.
    Status,
    /// Its release.
    Version,
    /// The sequencer's status.
    Sequencer,
    /// The mediator's status.
    Mediator,
    /// CometBFT's status.
    CometBft,
    /// Whether scan is ready.
    ScanReady,
    /// What scan says about the DSO.
    Dso,
}

impl Question {
    /// Those that go to the SV app.
    pub const OF_SV: [Question; 7] = [
        Question::Ready,
        Question::Live,
        Question::Version,
        Question::Status,
        Question::Sequencer,
        Question::Mediator,
        Question::CometBft,
    ];
    /// Those that go to scan.
    pub const OF_SCAN: [Question; 2] = [Question::ScanReady, Question::Dso];

    /// Where it is asked.
    pub fn path(self) -> &'static str {
        match self {
            Question::Ready => "/api/sv/readyz",
            Question::Live => "/api/sv/livez",
            Question::Status => "/api/sv/status",
            Question::Version => "/api/sv/version",
            Question::Sequencer => "/api/sv/v0/admin/domain/sequencer/status",
            Question::Mediator => "/api/sv/v0/admin/domain/mediator/status",
            Question::CometBft => "/api/sv/v0/admin/domain/cometbft/status",
            Question::ScanReady => "/api/scan/readyz",
            Question::Dso => "/api/scan/v0/dso",
        }
    }

    /// The check's name.
    pub fn check(self) -> &'static str {
        match self {
            Question::Ready => "ready",
            Question::Live => "live",
            Question::Status => "status",
            Question::Version => "version",
            Question::Sequencer => "sequencer",
            Question::Mediator => "mediator",
            Question::CometBft => "cometbft",
            Question::ScanReady => "scan-ready",
            Question::Dso => "dso",
        }
    }
}

#[derive(Deserialize)]
struct NodeStatus {
    success: Option<Active>,
    not_initialized: Option<serde::de::IgnoredAny>,
    failed: Option<Failed>,
}

#[derive(Deserialize)]
struct Active {
    active: bool,
    #[serde(default)]
    uptime: String,
}

#[derive(Deserialize)]
struct Failed {
    error: String,
}

#[derive(Deserialize)]
struct CometBft {
    catching_up: bool,
    voting_power: f64,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Dso<'a> {
    dso_party_id: String,
    voting_threshold: Option<u64>,
    #[serde(borrow)]
    dso_rules: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Rules {
    contract: Contract,
}

#[derive(Deserialize)]
struct Contract {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    svs: Vec<(serde::de::IgnoredAny, SvInfo)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SvInfo {
    participant_id: String,
}

/// What an answer, or its absence, says. `expected` is the release that should run.
pub fn judge(question: Question, at: &str, answer: Result<&Answer, &str>, expected: Option<Splice>) -> Line {
    let check = question.check();
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return Line::wrong(check, at, State::NotYet, Code::NoAnswer, why),
    };
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok();
    let is_none = question == Question::CometBft && answer.status == 404 && error_of(answer).is_some();
    match answer.status {
        200 => {}
        404 if is_none => return Line::good(check, at, "the synchronizer has no CometBFT"),
        401 | 403 => {
            let says = format!("the server refused with {}{}", answer.status, said(answer));
            return Line::wrong(check, at, State::Bad, Code::NotAuthorised, says);
        }
        404 | 400..=428 | 430..=499 => {
            let says = format!("the server answered with {}{}", answer.status, said(answer));
            return Line::wrong(check, at, State::Bad, Code::OddAnswer, says);
        }
        status => {
            let says = format!("the server answered with {status}{}", said(answer));
            return Line::wrong(check, at, State::NotYet, Code::NotReadyYet, says);
        }
    }
    let is_page = answer.content_type == "text/html" || answer.body.trim_ascii_start().starts_with(b"<");
    if is_page {
        return Line::wrong(
            check,
            at,
            State::Bad,
            Code::OddAnswer,
            "a web page came instead of an answer: a login page, or a wrong address",
        );
    }
    if matches!(question, Question::Ready | Question::Live | Question::ScanReady) {
        return Line::good(check, at, "yes");
    }
    if answer.is_cut || !is_json {
        let what = if answer.is_cut {
            "an answer that is too long, or breaks off,"
        } else {
            "no JSON"
        };
        return Line::wrong(
            check,
            at,
            State::Bad,
            Code::OddAnswer,
            format!("{what} came{}", said(answer)),
        );
    }
    let meaning = match question {
        Question::Status | Question::Sequencer | Question::Mediator => node(check, at, &answer.body),
        Question::CometBft => cometbft(check, at, answer),
        Question::Version => version(check, at, &answer.body, expected),
        Question::Dso => dso(check, at, &answer.body),
        Question::Ready | Question::Live | Question::ScanReady => None,
    };
    meaning.unwrap_or_else(|| {
        let says = format!("the answer has another shape than Splice's API{}", said(answer));
        Line::wrong(check, at, State::Bad, Code::OddAnswer, says)
    })
}

fn node(check: &'static str, at: &str, body: &[u8]) -> Option<Line> {
    let status: NodeStatus = serde_json::from_slice(body).ok()?;
    let not_yet = |code, says: String| Some(Line::wrong(check, at, State::NotYet, code, says));
    match (status.success, status.not_initialized, status.failed) {
        (Some(node), None, None) if node.active => {
            let uptime = if node.uptime.is_empty() {
                String::new()
            } else {
                format!(", up for {}", node.uptime)
            };
            Some(Line::good(check, at, format!("active{uptime}")))
        }
        (Some(_), None, None) => not_yet(Code::NotActive, "it runs and is not active".to_owned()),
        (None, Some(_), None) => not_yet(Code::NotActive, "it is not initialised".to_owned()),
        (None, None, Some(failed)) => not_yet(Code::NotActive, format!("it failed: {}", excerpt(&failed.error))),
        _ => None,
    }
}

fn cometbft(check: &'static str, at: &str, answer: &Answer) -> Option<Line> {
    if let Some(error) = error_of(answer) {
        return Some(Line::wrong(
            check,
            at,
            State::NotYet,
            Code::NotActive,
            format!("it could not be asked: {error}"),
        ));
    }
    let status: CometBft = serde_json::from_slice(&answer.body).ok()?;
    let power = status.voting_power;
    Some(match () {
        () if status.catching_up => Line::wrong(
            check,
            at,
            State::NotYet,
            Code::CatchingUp,
            "it is catching up with the other nodes",
        ),
        // Also where it is no number that a validator could have.
        () if power > 0.0 => Line::good(check, at, format!("caught up, voting power {power}")),
        () => Line::wrong(
            check,
            at,
            State::NotYet,
            Code::NoVotingPower,
            format!("caught up, with voting power {power}"),
        ),
    })
}

fn version(check: &'static str, at: &str, body: &[u8], expected: Option<Splice>) -> Option<Line> {
    let said: Version = serde_json::from_slice(body).ok()?;
    let release: Splice = said.version.parse().ok()?;
    Some(match expected {
        Some(expected) if expected != release => {
            let says = format!("Splice {} runs, expected {expected}", excerpt(&said.version));
            Line::wrong(check, at, State::Bad, Code::OtherRelease, says)
        }
        _ => Line::good(check, at, format!("Splice {}", said.version)),
    })
}

fn dso(check: &'static str, at: &str, body: &[u8]) -> Option<Line> {
    let dso: Dso = serde_json::from_slice(body).ok()?;
    let threshold = dso
        .voting_threshold
        .map_or(String::new(), |threshold| format!(", voting threshold {threshold}"));
    let svs = svs(body).len();
    let svs = if svs == 0 {
        String::new()
    } else {
        format!(", {svs} SVs")
    };
    Some(Line::good(
        check,
        at,
        format!("{}{svs}{threshold}", excerpt(&dso.dso_party_id)),
    ))
}

/// The SVs' participants, as the DSO's rules in scan's answer name them; none where the answer has another shape.
pub fn svs(body: &[u8]) -> Vec<Participant> {
    let rules = serde_json::from_slice::<Dso>(body).ok().and_then(|dso| dso.dso_rules);
    let rules = rules.and_then(|rules| serde_json::from_str::<Rules>(rules.get()).ok());
    let svs = rules.map(|rules| rules.contract.payload.svs).unwrap_or_default();
    let ids = svs.iter().map(|(_, sv)| Participant::parse(&sv.participant_id));
    ids.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn error_of(answer: &Answer) -> Option<String> {
    let failed: Failed = serde_json::from_slice(&answer.body).ok()?;
    Some(excerpt(&failed.error))
}

fn said(answer: &Answer) -> String {
    let text = match error_of(answer) {
        Some(error) => error,
        None => {
            let beginning = answer.body.get(..200).unwrap_or(&answer.body);
            excerpt(String::from_utf8_lossy(beginning).trim())
        }
    };
    match text.is_empty() {
        true => String::new(),
        false => format!(": {text}"),
    }
}
