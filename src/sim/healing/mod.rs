//! Lives of nodes that heal themselves after a disaster, each from a seed: what [`crate::heal`] decides, over a network that
//! loses, delays, repeats and cuts. `world` says what happens and what must hold.

#[cfg(test)]
mod tests;
mod world;

use std::time::Duration;

use crate::attestation::Evidence;
use crate::heal::{Body, Claim, Event, Generation, Info, Message, Peer, Settings, Start};
pub use world::Tally;

/// Lives through a seed.
pub fn run(seed: u64, traced: bool) -> Outcome {
    let mut world = world::World::new(seed);
    world.is_traced = traced;
    let failure = world.live().err();
    Outcome {
        tally: world.tally,
        failure,
        trace: world.trace,
    }
}

/// What became of a seed.
pub struct Outcome {
    /// What happened in it.
    pub tally: Tally,
    /// Which promise was broken.
    pub failure: Option<String>,
    /// What happened, line by line, where that was asked for.
    pub trace: Vec<String>,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn claim(view: u64, seqno: u64) -> Claim {
    let view = Some(view);
    Claim { view, seqno }
}

pub(crate) fn info(id: &str) -> Info {
    Info {
        id: id.to_owned(),
        address: format!("{id}.example:443"),
        service: format!("service of {id}"),
        evidence: Evidence::default(),
    }
}

/// The key of a node in one of its lives.
pub(crate) fn key(id: &str, life: u8) -> Vec<u8> {
    [id.as_bytes(), &[life]].concat()
}

/// A node says something.
pub(crate) fn says(id: &str, life: u8, body: Body) -> Event {
    Event::Heard {
        key: key(id, life),
        message: Box::new(Message { info: info(id), body }),
    }
}

#[cfg(test)]
pub(crate) fn opens() -> Body {
    Body::IAmOpen {
        previous_service: None,
        claim: None,
    }
}

/// A retry is 100 ms, a fail-over two seconds.
pub(crate) fn settings(ids: &[&str]) -> Settings {
    let peer = |id: &&str| Peer {
        id: (*id).to_owned(),
        address: info(id).address,
    };
    Settings {
        generation: Generation::Decision2026,
        peers: ids.iter().map(peer).collect(),
        retry: ms(100),
        failover: ms(2000),
        #[cfg(test)]
        broken: Vec::new(),
    }
}

pub(crate) fn start(id: &str, claim: Claim) -> Start {
    Start {
        own: info(id),
        key: key(id, 0),
        claim,
        earlier: None,
        previous_service: None,
        recovery: ms(500),
        is_cut_short: false,
        nodes_in_ledger: None,
    }
}
