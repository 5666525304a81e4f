//! Every row of sections 7.3, 7.4 and 7.6, what a real node said, all ways of three nodes, and many of more.

use std::time::Duration;

use super::*;
use crate::attestation::Evidence;

mod exhaustive;
mod losing;
mod messages;
mod samples;
mod search;
mod sentences;
mod simulated;
mod world;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn claim(view: u64, seqno: u64) -> Claim {
    let view = Some(view);
    Claim { view, seqno }
}

fn info(id: &str) -> Info {
    Info {
        id: id.to_owned(),
        address: format!("{id}.example:443"),
        service: format!("service of {id}"),
        evidence: Evidence::default(),
    }
}

/// The key of a node in one of its lives.
fn key(id: &str, life: u8) -> Vec<u8> {
    [id.as_bytes(), &[life]].concat()
}

/// A node says something.
fn says(id: &str, life: u8, body: Body) -> Event {
    Event::Heard {
        key: key(id, life),
        message: Box::new(Message { info: info(id), body }),
    }
}

fn opens() -> Body {
    Body::IAmOpen {
        previous_service: None,
        claim: None,
    }
}

/// A retry is 100 ms, a fail-over two seconds.
fn settings(ids: &[&str]) -> Settings {
    let peer = |id: &&str| Peer {
        id: (*id).to_owned(),
        address: info(id).address,
    };
    Settings {
        generation: Generation::Decision2026,
        peers: ids.iter().map(peer).collect(),
        retry: ms(100),
        failover: ms(2000),
        broken: Vec::new(),
    }
}

fn start(id: &str, claim: Claim) -> Start {
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
