//! What is good, what is not yet, and what is neither; and hostile answers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::agreement::{self, Expected as ExpectedLogs};
use super::answers::{Answer, Question, judge, svs};
use super::balances::{Balance, read_saved};
use super::deployments::{Expected, look};
use super::*;
use crate::canton::evidence::{Comparison, Evidence, Fact, Facts, Period};
use crate::canton::finding::Ending;
use crate::canton::kubernetes::Cluster;
use crate::canton::kubernetes::testing::InMemory;
use crate::canton::name::Participant;
use crate::canton::{Code, Timestamp};
use proptest::prelude::*;

pub(super) const AT: &str = "https://sv.sv.example.com";
const ALL: [Question; 9] = [
    Question::Ready,
    Question::Live,
    Question::Version,
    Question::Status,
    Question::Sequencer,
    Question::Mediator,
    Question::CometBft,
    Question::ScanReady,
    Question::Dso,
];

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        content_type: "application/json".to_owned(),
        body: body.as_bytes().to_vec(),
        is_cut: false,
    }
}

fn judged(question: Question, status: u16, body: &str) -> (State, Option<Code>) {
    let line = judge(question, AT, Ok(&answer(status, body)), "0.5.4".parse().ok());
    (line.state, line.finding.map(|finding| finding.code))
}

#[test]
fn every_answer_of_splices_api_has_its_meaning() {
    use Question::*;
    let active = r#"{"success":{"id":"x","uptime":"PT5S","ports":{},"active":true}}"#;
    let good = (State::Good, None);
    for (question, status, body, expected) in [
        (Ready, 200, "", good),
        (Live, 200, "", good),
        (Ready, 503, "", (State::NotYet, Some(Code::NotReadyYet))),
        (Ready, 502, "<html>", (State::NotYet, Some(Code::NotReadyYet))),
        (
            Ready,
            429,
            "Too Many Requests",
            (State::NotYet, Some(Code::NotReadyYet)),
        ),
        (Ready, 404, "", (State::Bad, Some(Code::OddAnswer))),
        (
            Sequencer,
            401,
            r#"{"error":"x"}"#,
            (State::Bad, Some(Code::NotAuthorised)),
        ),
        (Mediator, 403, "", (State::Bad, Some(Code::NotAuthorised))),
        (Sequencer, 200, active, good),
        (Status, 200, active, good),
        (
            Mediator,
            200,
            r#"{"success":{"active":false}}"#,
            (State::NotYet, Some(Code::NotActive)),
        ),
        (
            Mediator,
            200,
            r#"{"not_initialized":{"active":false}}"#,
            (State::NotYet, Some(Code::NotActive)),
        ),
        (
            Mediator,
            200,
            r#"{"failed":{"error":"down"}}"#,
            (State::NotYet, Some(Code::NotActive)),
        ),
        (Mediator, 200, r#"{}"#, (State::Bad, Some(Code::OddAnswer))),
        (
            Mediator,
            200,
            r#"{"success":{"active":true},"failed":{"error":"x"}}"#,
            (State::Bad, Some(Code::OddAnswer)),
        ),
        (
            Mediator,
            200,
            r#"{"success":{"active":"true"}}"#,
            (State::Bad, Some(Code::OddAnswer)),
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","catching_up":false,"voting_power":1}"#,
            good,
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","catching_up":false,"voting_power":1.5}"#,
            good,
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","catching_up":true,"voting_power":1}"#,
            (State::NotYet, Some(Code::CatchingUp)),
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","catching_up":false,"voting_power":0}"#,
            (State::NotYet, Some(Code::NoVotingPower)),
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","catching_up":false,"voting_power":-1}"#,
            (State::NotYet, Some(Code::NoVotingPower)),
        ),
        (
            CometBft,
            200,
            r#"{"id":"a","voting_power":1}"#,
            (State::Bad, Some(Code::OddAnswer)),
        ),
        (
            CometBft,
            200,
            r#"{"error":"connection refused"}"#,
            (State::NotYet, Some(Code::NotActive)),
        ),
        (
            CometBft,
            404,
            r#"{"error":"CometBFT is not configured for this app."}"#,
            good,
        ),
        (
            CometBft,
            404,
            "The requested resource could not be found.",
            (State::Bad, Some(Code::OddAnswer)),
        ),
        (Version, 200, r#"{"version":"0.5.4","commit_ts":"x"}"#, good),
        (Version, 200, r#"{"version":"0.5.4-snapshot.1","commit_ts":"x"}"#, good),
        (
            Version,
            200,
            r#"{"version":"0.6.2","commit_ts":"x"}"#,
            (State::Bad, Some(Code::OtherRelease)),
        ),
        (
            Version,
            200,
            r#"{"version":"latest","commit_ts":"x"}"#,
            (State::Bad, Some(Code::OddAnswer)),
        ),
        (
            Dso,
            200,
            r#"{"sv_user":"a","dso_party_id":"DSO::1220","voting_threshold":3}"#,
            good,
        ),
        (Dso, 200, r#"{"dso":1}"#, (State::Bad, Some(Code::OddAnswer))),
    ] {
        assert_eq!(judged(question, status, body), expected, "{question:?} {status} {body}");
    }
    let silent = judge(Question::Ready, AT, Err("could not reach it"), None);
    assert_eq!(
        (silent.state, silent.finding.unwrap().code),
        (State::NotYet, Code::NoAnswer)
    );
}

#[test]
fn a_login_page_is_no_answer_whatever_its_status_and_type() {
    for question in ALL {
        for (content_type, body) in [
            ("text/html", "<!DOCTYPE html><title>Log in</title>"),
            ("text/html", "{}"),
            ("application/json", "\n  <html>"),
        ] {
            let page = Answer {
                status: 200,
                content_type: content_type.to_owned(),
                body: body.as_bytes().to_vec(),
                is_cut: false,
            };
            let line = judge(question, AT, Ok(&page), None);
            assert_eq!(line.finding.unwrap().code, Code::OddAnswer, "{question:?} {body}");
        }
    }
}

#[test]
fn hostile_bodies_end_with_a_line_that_can_be_shown() {
    let deep = "[".repeat(200_000);
    let deep_rules = format!(r#"{{"dso_party_id":"x","dso_rules":{{"contract":{deep}"#);
    let numbers = format!(r#"{{"dso_party_id":"x","dso_rules":[{}0]}}"#, "0,".repeat(500_000));
    let bodies = [
        deep.as_str(),
        &deep_rules,
        &numbers,
        "\u{0}",
        "{\"failed\":{\"error\":\"\\u001b[2J\\u202e\\nverdict: good\"}}",
        r#"{"success":{"active":true},"success":{"active":false}}"#,
        r#"{"catching_up":false,"voting_power":1e999}"#,
        r#"{"version":5}"#,
        "null",
        "true",
        "\"text\"",
    ];
    for question in ALL {
        for body in bodies {
            for is_cut in [false, true] {
                let answer = Answer {
                    is_cut,
                    ..answer(200, body)
                };
                let line = judge(question, AT, Ok(&answer), None);
                assert!(line.says.chars().count() < 600, "{question:?}");
                assert!(!line.says.contains(['\n', '\u{1b}', '\u{202e}']), "{}", line.says);
                let is_health = matches!(question, Question::Ready | Question::Live | Question::ScanReady);
                assert!(
                    is_health || !is_cut || line.state == State::Bad,
                    "{question:?} {body:.60}"
                );
                assert!(svs(&answer.body).is_empty());
            }
        }
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic_or_look_good(body in prop::collection::vec(any::<u8>(), 0..200), status in any::<u16>()) {
        for question in [Question::Sequencer, Question::CometBft, Question::Version, Question::Dso] {
            let answer = Answer { status, content_type: String::new(), body: body.clone(), is_cut: false };
            prop_assert_ne!(judge(question, AT, Ok(&answer), None).state, State::Good);
        }
        prop_assert!(Balance::read(&body).is_none());
        prop_assert!(read_saved(&body).is_none());
    }
}

#[test]
fn the_svs_are_read_from_the_dsos_rules() {
    let hash = "ab".repeat(34);
    let id = |name: &str| format!("PAR::{name}::{hash}");
    let body = format!(
        r#"{{"sv_user":"u","sv_party_id":"p","dso_party_id":"d","voting_threshold":2,"amulet_rules":{{"x":[1]}},
        "dso_rules":{{"contract":{{"template_id":"t","payload":{{"epoch":"1","svs":[["p1",{{"name":"A","participantId":"{}"}}],
        ["p2",{{"name":"B","participantId":"{}","svRewardWeight":"1"}}]]}}}},"domain_id":"x"}},"sv_node_states":[]}}"#,
        id("A"),
        id("B")
    );
    let names: Vec<String> = svs(body.as_bytes())
        .iter()
        .map(|sv| sv.identifier().to_owned())
        .collect();
    assert_eq!(names, ["A", "B"]);
    // Half a list would make half a quorum.
    assert!(svs(body.replace(&id("B"), "nobody").as_bytes()).is_empty());
    let line = judge(Question::Dso, AT, Ok(&answer(200, &body)), None);
    assert!(line.says.contains("2 SVs, voting threshold 2"), "{}", line.says);
}

const PARTS: [&str; 7] = [
    "global-domain-0-cometbft",
    "global-domain-0-mediator",
    "global-domain-0-sequencer",
    "participant-0",
    "scan-app",
    "sv-app",
    "validator-app",
];

fn looked(cluster: &InMemory, expected: &Expected) -> Report {
    Report {
        checks: look(cluster, "sv", expected).unwrap(),
    }
}

#[test]
fn deployments_are_ready_or_stand_still_and_a_pod_that_is_leaving_still_runs() {
    let cluster = InMemory::of(&PARTS);
    cluster.pause(Duration::from_secs(60));
    let up = Expected::default();
    let down = Expected {
        is_down: true,
        only: vec!["participant".to_owned()],
        ..Expected::default()
    };
    assert!(looked(&cluster, &up).is_good());
    assert_eq!(looked(&cluster, &down).findings()[0].code, Code::StillRuns);
    cluster.set_scale("sv", "participant-0", 0).unwrap();
    // The deployment counts no replica any more, and the pod is being deleted: it can still write.
    let leaving = looked(&cluster, &down);
    assert_eq!(leaving.findings()[0].code, Code::StillRuns, "{leaving:?}");
    assert_eq!(looked(&cluster, &up).findings()[0].code, Code::NotReadyYet);
    cluster.pause(Duration::from_secs(60));
    assert!(looked(&cluster, &down).is_good());
    cluster.set_scale("sv", "participant-0", 1).unwrap();
    assert_eq!(looked(&cluster, &up).findings()[0].code, Code::NotReadyYet);
    cluster.pause(Duration::from_secs(60));
    assert!(looked(&cluster, &up).is_good());
}

#[test]
fn deployments_that_are_missing_or_not_an_svs_are_not_good() {
    let cluster = InMemory::of(&PARTS[..6]);
    cluster.pause(Duration::from_secs(60));
    let codes = |cluster: &InMemory, expected: &Expected| -> Vec<Code> {
        let findings = looked(cluster, expected).findings();
        findings.into_iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(&cluster, &Expected::default()), [Code::Unrecognised]);
    let serial = Expected {
        serial: Some(1),
        ..Expected::default()
    };
    assert_eq!(codes(&cluster, &serial), [Code::Unrecognised]);
    let nothing = InMemory::of(&["web"]);
    for is_down in [false, true] {
        let expected = Expected {
            is_down,
            ..Expected::default()
        };
        assert_eq!(codes(&nothing, &expected), [Code::Unrecognised], "{is_down}");
        let only = Expected {
            is_down,
            only: vec!["validator-app".to_owned()],
            ..Expected::default()
        };
        assert_eq!(codes(&cluster, &only), [Code::Unrecognised], "{is_down}");
    }
    // Without CometBFT it is a synchronizer of another kind.
    let without = InMemory::of(&PARTS[1..]);
    without.pause(Duration::from_secs(60));
    assert!(looked(&without, &Expected::default()).is_good());
}

fn sv(number: u64) -> Participant {
    format!("PAR::sv{number}::{number:012x}").parse().unwrap()
}

pub(super) fn tick(number: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + number * 1800).unwrap()
}

fn evidence(facts: &[(u64, i64, Comparison)]) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.participant = Some(sv(1));
    for (counterparty, to, comparison) in facts {
        let fact = Fact::Compared {
            counterparty: sv(*counterparty),
            period: Period {
                from_exclusive: tick(to - 1),
                to_inclusive: tick(*to),
            },
            comparison: *comparison,
        };
        evidence.take("global-domain", fact);
    }
    evidence
}

#[test]
fn agreement_counts_after_the_restart_with_a_quorum_of_the_svs_and_a_fork_is_said() {
    use Comparison::{Correct, Mismatch, Weak};
    let expected = ExpectedLogs {
        since: tick(0),
        svs: (1..=4).map(sv).collect(),
    };
    let codes = |facts: &[(u64, i64, Comparison)]| -> (BTreeSet<Code>, String) {
        let lines = agreement::judge("me", &evidence(facts), &expected);
        let says = lines.last().unwrap().says.clone();
        (
            lines
                .into_iter()
                .filter_map(|line| line.finding)
                .map(|finding| finding.code)
                .collect(),
            says,
        )
    };
    // Three of four with itself; a validator (9) does not count, nor does a tick of before.
    let (found, says) = codes(&[(2, 1, Correct), (3, 2, Correct), (9, 1, Correct)]);
    assert!(found.is_empty(), "{found:?}");
    assert!(
        says.contains(&format!("with a quorum (3 of 4 with itself) by {}", tick(2))),
        "{says}"
    );
    assert!(says.contains("2 of them by now"));
    let (found, _) = codes(&[(2, 1, Correct), (3, 0, Correct), (9, 1, Correct)]);
    assert_eq!(found, [Code::NoAgreementYet].into());
    assert_eq!(codes(&[]).0, [Code::NoAgreementYet].into());
    assert_eq!(
        codes(&[(2, 1, Weak), (3, 1, Weak), (4, 1, Weak)]).0,
        [Code::NoAgreementYet].into()
    );
    // Who differs in the end is no one to agree with, whatever was before.
    let (found, _) = codes(&[(2, 1, Correct), (3, 1, Correct), (3, 2, Mismatch)]);
    assert_eq!(found, [Code::Disagrees, Code::NoAgreementYet].into());
    let (found, says) = codes(&[(2, 1, Correct), (3, 1, Mismatch), (3, 2, Correct), (4, 1, Correct)]);
    assert!(found.is_empty());
    assert!(
        says.contains(&format!("with all of them by {}, of 3 other SVs", tick(2))),
        "{says}"
    );
}

#[test]
fn agreement_is_the_same_whoever_owns_the_logs_and_however_many_svs_there_are() {
    for count in 1..=40_u64 {
        let expected = ExpectedLogs {
            since: tick(0),
            svs: (1..=count).map(sv).collect(),
        };
        let quorum = 2 * count / 3 + 1;
        for agreeing in 0..count {
            let facts: Vec<_> = (2..2 + agreeing).map(|other| (other, 1, Comparison::Correct)).collect();
            for is_known in [true, false] {
                let mut evidence = evidence(&facts);
                if !is_known {
                    evidence.participant = None;
                }
                let lines = agreement::judge("me", &evidence, &expected);
                let is_good = lines.iter().all(|line| line.state == State::Good);
                // Alone there is nobody to agree with, and nothing in the logs.
                let enough = agreeing + 1 >= quorum && agreeing > 0;
                assert_eq!(is_good, enough, "{agreeing} of {count}: {lines:?}");
            }
        }
    }
}

#[test]
fn a_report_ends_as_its_checks_say() {
    let good = || Line::good("ready", AT, "yes");
    let wrong = |code| Line::wrong("ready", AT, State::Bad, code, "no");
    let ending = |checks: Vec<Line>| Report { checks }.ending();
    assert_eq!(ending(vec![good()]), Ending::Clean);
    assert_eq!(ending(vec![good(), wrong(Code::NotReadyYet)]), Ending::Negative);
    assert_eq!(ending(vec![good(), wrong(Code::NotAuthorised)]), Ending::Refused);
    assert_eq!(
        ending(vec![wrong(Code::NotReadyYet), wrong(Code::NotAuthorised)]),
        Ending::Negative
    );
    assert_eq!(ending(vec![]), Ending::Negative);
    assert!(!Report::default().is_good());
}
