//! Who follows a node that recovers a service reads the private ledger as well, once it is told the secrets, and says to nobody
//! that it has: what is written meanwhile is missing on it for ever. So the service opens when everybody has read.
//! Node-to-node specification, section 7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde::Deserialize;

use super::shared::Node;
use super::writer::Message;
use crate::channel::NodeId;
use crate::crypto::Certificate;
use crate::net::exchange::{Asked, Bounds, exchange};
use crate::net::tls::{JudgesServers, Presented, client_config};
use crate::report::progress::Progress;
use crate::shown::line;
use crate::tables::names;
use crate::tables::node_info::{NodeRecord, host_and_port};

/// How often everybody is asked.
const PACE: Duration = Duration::from_millis(100);
/// Who can't be asked for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nor is one that can't be asked and has acknowledged nothing for so many election time-outs: it is dead, or cut off. One that reads
/// goes on acknowledging, as CCF's nodes do, who may have no address for clients at all: those are waited for.
const SILENCE: u32 = 4;
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(1),
    answer: Duration::from_secs(2),
    size: 256 << 10,
};

/// Waits until everybody else who takes part has read the private ledger, and tells the writer.
pub(super) async fn wait(node: Arc<Node>) {
    let mut waiting = Waiting::default();
    let mut is_said = false;
    loop {
        let (everybody, now) = (others(&node), Instant::now());
        let mut answers = Vec::new();
        for (id, address) in everybody {
            answers.push((id, tokio::spawn(async move { ask(id, &address).await })));
        }
        let mut heard = BTreeMap::new();
        for (id, answer) in answers {
            let answer = answer.await.unwrap_or_else(|_| Err("asking it has failed".to_owned()));
            heard.insert(id, answer);
        }
        let silence = node.config.consensus.election_timeout.saturating_mul(SILENCE);
        let is_silent = |id: &NodeId| {
            let acknowledgement = node.with_membership(|known| known.acknowledgement(id)).flatten();
            acknowledgement.is_some_and(|it| it.heard.elapsed() >= silence)
        };
        let step = waiting.heard(now, heard, is_silent);
        for (id, why) in step.given_up {
            tracing::error!(
                node = %id, why = %line(&why),
                "the service opens although this node has not said that it has read the private ledger: if it still reads, what \
                 is written from now on is missing on it; start it anew, and let it join the open service"
            );
        }
        if step.reading == 0 || node.status.is_stopping() {
            break;
        }
        if !is_said {
            tracing::info!(
                nodes = step.reading,
                "waiting for other nodes to read the private ledger"
            );
            node.status
                .begin("waiting for other nodes to read the private ledger", 0);
            is_said = true;
        }
        tokio::time::sleep(PACE).await;
    }
    if is_said {
        node.status.end();
    }
    if let Some(writer) = node.writer.get() {
        writer.tell(Message::OthersHaveRead);
    }
}

/// Everybody else who is Trusted, and where clients reach them.
fn others(node: &Node) -> Vec<(NodeId, String)> {
    let rows = node.read(|store| store.transaction().entries(names::NODES_INFO)).0;
    let mut others = Vec::new();
    for (key, value) in rows {
        let id = NodeId::from_key(&key);
        let record = NodeRecord::read(&value).filter(NodeRecord::is_trusted);
        if let (Some(id), Some(record)) = (id, record)
            && key != node.id.as_bytes()
        {
            others.push((id, record.published_address("").unwrap_or_default()));
        }
    }
    others
}

/// What a node says that it is doing.
#[derive(Deserialize)]
struct State {
    state: String,
}

/// Whether the node at an address has read everything.
async fn ask(id: NodeId, address: &str) -> Result<bool, String> {
    let (host, port) = host_and_port(address);
    let port = port
        .parse()
        .map_err(|_| format!("it publishes no address: {address:?}"))?;
    let asked = Asked {
        host: host.trim_start_matches('[').trim_end_matches(']'),
        port,
        authority: None,
        tls: Some(only(id)?),
        path: "/node/state",
        accept: "application/json",
        headers: &[],
    };
    let answered = exchange(&asked, BOUNDS).await?;
    let state: State = serde_json::from_slice(&answered.body).map_err(|why| format!("{}: {why}", answered.status))?;
    Ok(state.state == "PartOfNetwork")
}

/// TLS with this node and no other.
fn only(id: NodeId) -> Result<Arc<ClientConfig>, String> {
    client_config(Only(id)).map_err(|why| why.to_string())
}

/// The node whose key has this digest, whoever has endorsed it.
#[derive(Debug)]
struct Only(NodeId);

impl JudgesServers for Only {
    fn judge(&self, presented: &Presented<'_>) -> Result<(), rustls::Error> {
        let certificate = Certificate::from_der(presented.certificate);
        match certificate.is_ok_and(|certificate| certificate.key_id() == self.0.0) {
            true => Ok(()),
            false => Err(rustls::Error::General("another node answers at its address".to_owned())),
        }
    }
}

/// Who has read, and since when the others can't be asked.
#[derive(Debug, Default)]
struct Waiting {
    unheard: BTreeMap<NodeId, Instant>,
    done: BTreeSet<NodeId>,
}

/// What follows from a round.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    /// Nodes that are waited for.
    reading: usize,
    /// Nodes that are waited for no longer, and why they could not be asked last.
    given_up: Vec<(NodeId, String)>,
}

impl Waiting {
    /// What everybody who takes part has said. `is_silent` says who has acknowledged nothing for long.
    fn heard(
        &mut self,
        now: Instant,
        answers: BTreeMap<NodeId, Result<bool, String>>,
        is_silent: impl Fn(&NodeId) -> bool,
    ) -> Round {
        let mut round = Round::default();
        for (id, answer) in answers {
            if self.done.contains(&id) {
                continue;
            }
            match answer {
                Ok(true) => {
                    self.done.insert(id);
                }
                Ok(false) => {
                    self.unheard.remove(&id);
                    round.reading += 1;
                }
                Err(why) => {
                    let since = *self.unheard.entry(id).or_insert(now);
                    if is_silent(&id) {
                        self.done.insert(id);
                        let why = format!("{why}; nor has it acknowledged anything for {SILENCE} election time-outs");
                        round.given_up.push((id, why));
                    } else if now.saturating_duration_since(since) < PATIENCE {
                        round.reading += 1;
                    } else {
                        self.done.insert(id);
                        round.given_up.push((id, why));
                    }
                }
            }
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn no() -> Result<bool, String> {
        Err("no route".to_owned())
    }

    #[test]
    fn everybody_is_waited_for_who_answers_and_who_can_not_be_asked_for_a_while_only() {
        let at = Instant::now();
        let after = |seconds| at + Duration::from_secs(seconds);
        let mut waiting = Waiting::default();
        let acknowledges = |_: &NodeId| false;
        let reading = |n| Round {
            reading: n,
            given_up: Vec::new(),
        };
        let answers = |one: Result<bool, String>, two| BTreeMap::from([(id(1), one), (id(2), two)]);
        assert_eq!(
            waiting.heard(after(0), answers(Ok(false), no()), acknowledges),
            reading(2)
        );
        assert_eq!(
            waiting.heard(after(29), answers(Ok(true), no()), acknowledges),
            reading(1)
        );
        // It can be asked again: from here on anew.
        assert_eq!(
            waiting.heard(after(30), answers(no(), Ok(false)), acknowledges),
            reading(1)
        );
        assert_eq!(waiting.heard(after(31), answers(no(), no()), acknowledges), reading(1));
        assert_eq!(waiting.heard(after(60), answers(no(), no()), acknowledges), reading(1));
        let round = waiting.heard(after(61), answers(no(), no()), acknowledges);
        assert_eq!(round.given_up, [(id(2), "no route".to_owned())]);
        assert_eq!(waiting.heard(after(62), answers(no(), no()), acknowledges), reading(0));
        assert_eq!(
            waiting.heard(after(62), BTreeMap::new(), acknowledges),
            reading(0),
            "nobody else takes part"
        );
    }

    #[test]
    fn a_node_that_can_not_be_asked_and_acknowledges_nothing_is_dead_and_one_that_acknowledges_may_be_reading() {
        let at = Instant::now();
        let mut waiting = Waiting::default();
        let nobody = || BTreeMap::from([(id(1), no()), (id(2), no()), (id(3), Ok(false))]);
        let round = waiting.heard(at, nobody(), |_| false);
        assert_eq!((round.reading, round.given_up.len()), (3, 0));
        // The third answers: it is not dead, whatever else is missing.
        let round = waiting.heard(at + Duration::from_secs(6), nobody(), |node| *node != id(2));
        assert_eq!(round.reading, 2);
        let [(node, why)] = round.given_up.as_slice() else {
            panic!("{round:?}");
        };
        assert!(
            *node == id(1) && why.contains("nor has it acknowledged anything"),
            "{why}"
        );
        let round = waiting.heard(at + Duration::from_secs(7), nobody(), |node| *node != id(2));
        assert_eq!((round.reading, round.given_up.len()), (2, 0), "it is said once");
    }

    #[test]
    fn only_the_node_with_the_key_is_believed() {
        use crate::service::identity::{ServiceIdentity, ServiceName};
        let service = ServiceIdentity::generate(crate::crypto::Curve::P384, &ServiceName::Text("CN=service"), 1);
        let certificate = service.unwrap().certificate;
        let der = rustls::pki_types::CertificateDer::from(certificate.der().to_vec());
        let name = rustls::pki_types::ServerName::try_from("node").unwrap();
        let presented = Presented {
            certificate: &der,
            intermediates: &[],
            name: &name,
            ocsp: &[],
            now: rustls::pki_types::UnixTime::now(),
        };
        assert!(Only(NodeId(certificate.key_id())).judge(&presented).is_ok());
        assert!(Only(id(1)).judge(&presented).is_err());
    }
}
