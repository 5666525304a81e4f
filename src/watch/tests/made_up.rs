//! A service that is made up: what looks at its nodes answer, at moments in milliseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::watch::answers::*;
use crate::watch::judge::judge;
use crate::watch::judgement::{Judgement, State};
use crate::watch::known::Known;
use crate::watch::settings::Settings;

/// In milliseconds.
pub const ELECTION: u64 = 1000;

pub fn settings() -> Settings {
    Settings::new(Duration::from_millis(200), Duration::from_millis(ELECTION)).unwrap()
}

pub fn id(number: u8) -> NodeId {
    NodeId::parse(&format!("{number:02x}").repeat(32)).unwrap()
}

pub fn address(number: u8) -> String {
    format!("10.0.0.{number}:8000")
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn takes_part(leadership: Leadership, primary: Option<u8>, view: u64, of: u8) -> Consensus {
    Consensus {
        configurations: vec![Configuration {
            seqno: 100,
            nodes: (1..=of).map(id).collect(),
        }],
        heard_ms: BTreeMap::new(),
        leadership,
        has_retired: false,
        primary: primary.map(id),
        view,
    }
}

pub fn leads(own: u8, view: u64, of: u8, heard_ms: &[(u8, u64)]) -> Consensus {
    Consensus {
        heard_ms: heard_ms.iter().map(|(number, ms)| (id(*number), *ms)).collect(),
        ..takes_part(Leadership::Leader, Some(own), view, of)
    }
}

pub fn follows(primary: u8, view: u64, of: u8) -> Consensus {
    takes_part(Leadership::Follower, Some(primary), view, of)
}

pub fn stands(view: u64, of: u8) -> Consensus {
    takes_part(Leadership::Candidate, None, view, of)
}

/// A watch, its looks made up.
pub struct Made {
    pub known: Known,
    pub now: u64,
    pub of: u8,
}

impl Made {
    pub fn of(of: u8) -> Made {
        Made {
            known: Known::new(settings(), (1..=of).map(address)),
            now: 0,
            of,
        }
    }

    pub fn look(&mut self, at: &str, asked: u64, outcome: Outcome) {
        self.known.absorb(Observation {
            address: at.to_owned(),
            asked: ms(asked),
            at: ms(self.now),
            wall_ms: self.now,
            outcome,
        });
    }

    pub fn answers_at(&mut self, at: &str, number: u8, consensus: Consensus) {
        let answered = answered(number, consensus);
        self.look(at, self.now, Outcome::Answered(Box::new(answered)));
    }

    pub fn answers(&mut self, number: u8, consensus: Consensus) {
        self.answers_at(&address(number), number, consensus);
    }

    pub fn fails(&mut self, number: u8, failure: Failure) {
        self.look(
            &address(number),
            self.now,
            Outcome::Failed(failure, format!("{failure:?}")),
        );
    }

    pub fn judged(&mut self) -> Judgement {
        let judgement = judge(&self.known, &settings(), ms(self.now));
        self.known.note(&judgement, ms(self.now));
        judgement
    }

    /// So long, with `looks` every 100 ms; answers every state, each once in a row, with the moment it began.
    pub fn passes(&mut self, time: u64, mut looks: impl FnMut(&mut Made)) -> Vec<(u64, State)> {
        let mut states: Vec<(u64, State)> = Vec::new();
        let end = self.now + time;
        while self.now < end {
            self.now += 100;
            looks(self);
            let state = self.judged().state;
            if states.last().is_none_or(|(_, last)| *last != state) {
                states.push((self.now, state));
            }
        }
        states
    }

    /// A second of good health: 1 leads.
    pub fn healthy(&mut self) {
        let states = self.passes(1000, |it| all_well(it, &[]));
        assert_eq!(states.last().unwrap().1, State::Stable, "{:?}", self.judged());
    }
}

pub fn answered(number: u8, consensus: Consensus) -> Answered {
    Answered {
        vouched: Vouched::ByService,
        id: id(number),
        state: Some("PartOfNetwork".to_owned()),
        consensus: Some(consensus),
        network: None,
        nodes: None,
        committed: None,
        endorser: None,
    }
}

/// Everybody but these answers: 1 leads, and hears all.
pub fn all_well(it: &mut Made, unseen: &[u8]) {
    let of = it.of;
    let heard: Vec<(u8, u64)> = (2..=of).map(|number| (number, 50)).collect();
    for number in (1..=of).filter(|number| !unseen.contains(number)) {
        let consensus = if number == 1 {
            leads(1, 4, of, &heard)
        } else {
            follows(1, 4, of)
        };
        it.answers(number, consensus);
    }
}
