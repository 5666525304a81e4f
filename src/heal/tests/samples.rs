//! Every row of `../shared/http-samples/self-healing/messages.json`: what a real node of October 2025 sent and answered, and
//! what this one does in its place.
//!
//! The real node hears its own messages a second late (its first attempts fail), so here too.

use serde_json::Value;

use super::*;
use crate::crypto::testing::ledgers;

const OWN: &str = "127.0.0.1:27600";
const PEER: &str = "127.0.0.1:27650";
const GENERATION: Generation = Generation::October2025;
const OWN_MESSAGES_LATE_MS: u64 = 1000;

/// The scenarios, each with its rows.
fn scenarios() -> Option<Vec<(String, Vec<Value>)>> {
    let path = ledgers()?.join("../http-samples/self-healing/messages.json");
    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut scenarios: Vec<(String, Vec<Value>)> = Vec::new();
    for row in rows {
        match row.get("scenario") {
            Some(name) => scenarios.push((name.as_str().unwrap().to_owned(), Vec::new())),
            None => scenarios.last_mut().unwrap().1.push(row),
        }
    }
    Some(scenarios)
}

fn kind_of(row: &Value) -> Kind {
    GENERATION.kind(row["path"].as_str().unwrap()).unwrap()
}

fn time_of(row: &Value) -> u64 {
    (row["t"].as_f64().unwrap() * 1000.0) as u64
}

/// Our node in the place of the real one.
struct Stand {
    healing: Healing,
    own: Vec<(u64, Message)>,
    to_peer: Vec<Kind>,
    now: u64,
    opened: Option<OpenKind>,
    joined: bool,
}

impl Stand {
    fn new(first: &Value) -> Stand {
        let body = first["body"].to_string();
        let message = Message::parse(GENERATION, Kind::Gossip, body.as_bytes()).unwrap();
        let Body::Gossip(claim) = message.body else { panic!() };
        let peer = |address: &str| Peer {
            id: address.to_owned(),
            address: address.to_owned(),
        };
        let settings = Settings {
            generation: GENERATION,
            peers: vec![peer(OWN), peer(PEER)],
            failover: ms(4000),
            ..settings(&[])
        };
        let start = Start {
            key: message.info.evidence.quote.clone(),
            own: message.info,
            ..start("", claim)
        };
        let now = time_of(first);
        let (healing, effects) = Healing::start(&settings, start, ms(now));
        let mut stand = Stand {
            healing,
            own: Vec::new(),
            to_peer: Vec::new(),
            now,
            opened: None,
            joined: false,
        };
        stand.carry_out(effects);
        stand
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message, .. } if to == OWN => {
                    self.own.push((self.now + OWN_MESSAGES_LATE_MS, message))
                }
                Effect::Send { message, .. } => self.to_peer.push(message.kind()),
                Effect::Open(kind) => self.opened = Some(kind),
                Effect::Join { winner, address } => {
                    assert_eq!((winner.id.as_str(), address.as_str()), (PEER, PEER));
                    self.joined = true;
                }
                _ => {}
            }
        }
    }

    fn until(&mut self, time: u64) {
        while self.now < time {
            self.now += 10;
            let due: Vec<_> = self.own.extract_if(.., |(at, _)| *at <= self.now).collect();
            for (_, message) in due {
                let key = message.info.evidence.quote.clone();
                let effects = self
                    .healing
                    .step(
                        ms(self.now),
                        Event::Heard {
                            key,
                            message: Box::new(message),
                        },
                    )
                    .effects;
                self.carry_out(effects);
            }
            let effects = self.healing.step(ms(self.now), Event::Tick).effects;
            self.carry_out(effects);
        }
    }

    /// Status, code and message of the answer.
    fn answers(&mut self, row: &Value) -> (u16, String, String) {
        let body = row["body"].to_string();
        let refused = |refusal: Refusal| {
            let error = refusal.error(GENERATION);
            (error.status.as_u16(), error.code.to_owned(), error.message.clone())
        };
        let message = match Message::parse(GENERATION, kind_of(row), body.as_bytes()) {
            Ok(message) => message,
            Err(refusal) => return refused(refusal),
        };
        if row["what"].as_str().unwrap().ends_with("without client certificate") {
            return refused(Refusal::NoCertificate);
        }
        // The evidence names the key.
        let key = message.info.evidence.quote.clone();
        let step = self.healing.step(
            ms(self.now),
            Event::Heard {
                key,
                message: Box::new(message),
            },
        );
        self.carry_out(step.effects);
        step.answer
            .map_or_else(refused, |()| (204, String::new(), String::new()))
    }
}

#[test]
fn in_the_place_of_a_real_node_it_says_and_answers_the_same() {
    let Some(scenarios) = scenarios() else { return };
    assert_eq!(scenarios.len(), 3);
    let mut answered = 0;
    for (name, rows) in scenarios {
        let mut stand = Stand::new(&rows[0]);
        for row in rows.iter().filter(|row| row.get("path").is_some()) {
            let what = row["what"].as_str().unwrap();
            stand.until(time_of(row));
            if what == "a real node sends to a peer" {
                assert!(stand.to_peer.contains(&kind_of(row)), "{name}: {row}");
                continue;
            }
            // Whether evidence holds is judged before.
            if what.ends_with("wrong measurement") {
                assert_eq!(row["status"], 401);
                continue;
            }
            answered += 1;
            let (status, code, message) = stand.answers(row);
            // A real node obeys, and dies of it.
            if what.ends_with("iamopen to a node that opens") {
                assert_eq!((row["status"].as_u64(), status), (Some(204), 400));
                continue;
            }
            assert_eq!(u64::from(status), row["status"].as_u64().unwrap(), "{name}: {what}");
            if status != 204 {
                let theirs = &row["answer"]["error"];
                assert_eq!(code, theirs["code"], "{what}");
                let theirs = theirs["message"].as_str().unwrap();
                assert!(message.starts_with(theirs), "{what}: {message}, {theirs}");
            }
        }
        let expected = match name.as_str() {
            "a peer with a better ledger" => (None, true),
            "a peer with a worse ledger" => (Some(OpenKind::Quorum), false),
            "a peer that never speaks: fail-over" => (Some(OpenKind::Failover), false),
            _ => panic!("{name}"),
        };
        assert_eq!((stand.opened, stand.joined), expected, "{name}");
    }
    assert!(answered >= 9);
}

#[test]
fn what_a_real_node_sent_is_read_and_written_to_the_same_bytes() {
    let Some(scenarios) = scenarios() else { return };
    let mut seen = Vec::new();
    for row in scenarios.iter().flat_map(|(_, rows)| rows) {
        if row["what"] != "a real node sends to a peer" {
            continue;
        }
        // Names are sorted in what is read from the file, as in what the node wrote: the length says so.
        let body = row["body"].to_string();
        assert_eq!(row["headers"]["Content-Length"], body.len().to_string());
        let message = Message::parse(GENERATION, kind_of(row), body.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(message.write(GENERATION).unwrap()).unwrap(), body);
        assert_eq!(GENERATION.path(message.kind()), row["path"]);
        seen.push(message.kind());
    }
    for kind in Kind::ALL {
        assert!(seen.contains(&kind), "{kind:?}");
    }
}
