//! What one look at one address answered, parsed from whatever was sent and bounded, or how it failed. Recovery specification, 3.2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::clock::Moment;
use crate::crypto::Certificate;
use crate::format::TxId;
use crate::shown::excerpt;
use crate::tables::json;

/// More nodes than any service has; what a node says beyond is not read.
pub const MOST_NODES: usize = 512;
/// A node is published at so many interfaces at most.
const MOST_INTERFACES: usize = 8;
/// Configurations that are not committed, and the one that is.
const MOST_CONFIGURATIONS: usize = 32;
/// Levels of an answer that are the node's own.
const LEVELS: usize = 6;
/// The longest address: a name of a host and a port.
const LONGEST_ADDRESS: usize = 262;

/// A node's id: 64 hexadecimal digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct NodeId(String);

impl NodeId {
    /// The id that a text is, if it is one.
    pub fn parse(text: &str) -> Option<NodeId> {
        let is_one = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| NodeId(text.to_owned()))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough of it to tell nodes apart by eye.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// What a node is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Leadership {
    /// It writes.
    Leader,
    /// It follows.
    Follower,
    /// It asks for votes, or whether it may.
    Candidate,
    /// It takes no part, or says what nobody knows.
    None,
}

/// Who takes part from a seqno on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// That seqno.
    pub seqno: u64,
    /// The nodes.
    pub nodes: BTreeSet<NodeId>,
}

/// `/node/consensus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consensus {
    /// Committed one first, then those that are to come: a majority is needed in each.
    pub configurations: Vec<Configuration>,
    /// Milliseconds since a leader heard each.
    pub heard_ms: BTreeMap<NodeId, u64>,
    /// What it is.
    pub leadership: Leadership,
    /// Whether its retirement is committed: it takes no part, whatever else it says.
    pub has_retired: bool,
    /// Whom it takes for the primary.
    pub primary: Option<NodeId>,
    /// Its view.
    pub view: u64,
}

/// `/node/network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// `Recovering`, `WaitingForRecoveryShares`, `Open`.
    pub status: String,
    /// PEM, as it was sent.
    pub certificate: Option<String>,
    /// How often the service was recovered.
    pub recoveries: Option<u64>,
}

/// One node of `/node/network/nodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: NodeId,
    /// `Pending`, `Trusted`, `Retired`.
    pub status: String,
    /// Where its interfaces are published.
    pub addresses: Vec<String>,
}

/// Who vouches for whom answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The service that is watched.
    ByService,
    /// Its own key, which is that of the node that it says it is.
    ByItsKey,
    /// Nobody: another service, or nothing that is known. Why, in words.
    ByNobody(String),
}

/// What a node answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who vouches for it.
    pub vouched: Vouched,
    /// Who it says it is.
    pub id: NodeId,
    /// `/node/state`: `PartOfNetwork` and others. Absent where it answers, and nothing that can be read: it lives.
    pub state: Option<String>,
    /// Absent where it takes no part yet.
    pub consensus: Option<Consensus>,
    /// Where it was asked for and known.
    pub network: Option<Network>,
    /// Where they were asked for.
    pub nodes: Option<Vec<Listed>>,
    /// What it has committed.
    pub committed: Option<TxId>,
    /// The service that vouches for it by its own word: of use only where no service is known yet.
    pub endorser: Option<Certificate>,
}

impl Answered {
    /// That it answers, and no more.
    pub fn nothing(vouched: Vouched, id: NodeId) -> Answered {
        Answered {
            vouched,
            id,
            state: None,
            consensus: None,
            network: None,
            nodes: None,
            committed: None,
            endorser: None,
        }
    }
}

/// How a look failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The machine says that nobody listens there.
    Refused,
    /// Somebody listens and hangs up, or breaks TLS off: as a CCF node does while it reads the public ledger.
    Closed,
    /// Somebody listens and says nothing in time: a process that is stopped, or much too slow.
    Silent,
    /// Not even the machine answers: it is off, or out of our sight.
    Unreachable,
    /// Our own side: no such name, no way there, no descriptors.
    Ours,
    /// Something answers that is no node: a proxy, a page that asks for a password, whatever stands between.
    Nonsense,
}

impl Failure {
    /// Whether the machine was there: evidence, where silence of everything is none, and what stands between is none of it.
    pub fn is_of_the_node(self) -> bool {
        !matches!(self, Failure::Unreachable | Failure::Ours | Failure::Nonsense)
    }

    /// Whether nothing is there that could be the node. Whoever hangs up runs, and may only have too much to do.
    pub fn excludes_the_node(self) -> bool {
        self.is_of_the_node() && self != Failure::Closed
    }
}

/// What came of one look.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A connection is there; what comes of it is not known yet.
    Connected,
    /// It answered.
    Answered(Box<Answered>),
    /// It did not, and why in words.
    Failed(Failure, String),
}

/// One look, or a part of one.
#[derive(Clone, Debug)]
pub struct Observation {
    /// `host:port`.
    pub address: String,
    /// When it was asked.
    pub asked: Moment,
    /// When this was known.
    pub at: Moment,
    /// The same on the wall.
    pub wall_ms: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Whether a text may be connected to: `host:port`, nothing that would be anything else in a request or a log.
pub fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    text.len() <= LONGEST_ADDRESS
        && !host.is_empty()
        && host.chars().all(fits)
        && port.parse::<u16>().is_ok_and(|it| it > 0)
}

/// Whether it stands for every interface of whichever machine reads it, as `0.0.0.0:8000`: followed, it would lead to ourselves.
fn is_anywhere(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|host| host.is_unspecified())
}

fn value(body: &[u8]) -> Result<Value, String> {
    // Data of members and nodes is whatever they chose: it keeps nobody from reading the rest.
    json::tolerant(body, LEVELS).map_err(|why| excerpt(&why.to_string()))
}

fn text(value: &Value, name: &str) -> Option<String> {
    Some(excerpt(value.get(name)?.as_str()?))
}

fn id(value: &Value, name: &str) -> Option<NodeId> {
    NodeId::parse(value.get(name)?.as_str()?)
}

/// `/node/state`: id and state.
///
/// # Errors
/// What it lacks, in words.
pub fn state(body: &[u8]) -> Result<(NodeId, String), String> {
    let value = value(body)?;
    let id = id(&value, "node_id").ok_or("/node/state names no node")?;
    Ok((id, text(&value, "state").ok_or("/node/state has no state")?))
}

/// `/node/consensus`.
///
/// # Errors
/// What it lacks, in words.
pub fn consensus(body: &[u8]) -> Result<Consensus, String> {
    #[derive(Deserialize)]
    struct Ack {
        last_received_ms: u64,
    }
    let value = value(body)?;
    let details = value.get("details").ok_or("/node/consensus has no details")?;
    let list = details.get("configs").and_then(Value::as_array);
    let list = list.ok_or("/node/consensus has no configurations")?;
    let mut configurations = Vec::new();
    if list.len() > MOST_CONFIGURATIONS {
        return Err(format!(
            "/node/consensus has {} configurations, expected at most {MOST_CONFIGURATIONS}",
            list.len()
        ));
    }
    for one in list {
        let seqno = one.get("idx").and_then(Value::as_u64);
        let nodes = one.get("nodes").and_then(Value::as_object);
        let (Some(seqno), Some(nodes)) = (seqno, nodes) else {
            return Err("a configuration of /node/consensus has no seqno or no nodes".to_owned());
        };
        if nodes.len() > MOST_NODES {
            return Err(format!(
                "a configuration has {} nodes, expected at most {MOST_NODES}",
                nodes.len()
            ));
        }
        let nodes: Option<BTreeSet<NodeId>> = nodes.keys().map(|id| NodeId::parse(id)).collect();
        let nodes = nodes.ok_or("a configuration of /node/consensus names what is no node")?;
        configurations.push(Configuration { seqno, nodes });
    }
    let acks = details.get("acks").and_then(Value::as_object).into_iter().flatten();
    let heard_ms = acks.take(MOST_NODES).filter_map(|(id, ack)| {
        let ack: Ack = serde_json::from_value(ack.clone()).ok()?;
        Some((NodeId::parse(id)?, ack.last_received_ms))
    });
    Ok(Consensus {
        heard_ms: heard_ms.collect(),
        leadership: match details.get("leadership_state").and_then(Value::as_str) {
            Some("Leader") => Leadership::Leader,
            Some("Follower") => Leadership::Follower,
            Some("Candidate" | "PreVoteCandidate") => Leadership::Candidate,
            _ => Leadership::None,
        },
        has_retired: details.get("retirement_phase").and_then(Value::as_str) == Some("RetiredCommitted"),
        primary: id(details, "primary_id"),
        view: details.get("current_view").and_then(Value::as_u64).unwrap_or(0),
        configurations,
    })
}

/// `/node/network`.
///
/// # Errors
/// What it lacks, in words.
pub fn network(body: &[u8]) -> Result<Network, String> {
    let value = value(body)?;
    let is_there = |name| value.get(name).is_some();
    if !["service_status", "service_certificate", "recovery_count"]
        .into_iter()
        .any(is_there)
    {
        return Err("/node/network says nothing of a service".to_owned());
    }
    Ok(Network {
        status: text(&value, "service_status").unwrap_or_default(),
        certificate: value
            .get("service_certificate")
            .and_then(Value::as_str)
            .map(str::to_owned),
        recoveries: value.get("recovery_count").and_then(Value::as_u64),
    })
}

/// `/node/network/nodes`.
///
/// # Errors
/// What it lacks, in words.
pub fn nodes(body: &[u8]) -> Result<Vec<Listed>, String> {
    let value = value(body)?;
    let list = value.get("nodes").and_then(Value::as_array);
    let list = list.ok_or("/node/network/nodes has no nodes")?;
    let listed = list.iter().filter_map(|node| {
        let interfaces = node.get("rpc_interfaces").and_then(Value::as_object);
        let published = interfaces.into_iter().flatten().filter_map(|(_, interface)| {
            let published = interface.get("published_address").and_then(Value::as_str);
            let bound = interface.get("bind_address").and_then(Value::as_str);
            let address = published.filter(|it| !it.is_empty()).or(bound)?;
            (is_address(address) && !is_anywhere(address)).then(|| address.to_owned())
        });
        Some(Listed {
            id: id(node, "node_id")?,
            status: text(node, "status").unwrap_or_default(),
            addresses: published.take(MOST_INTERFACES).collect(),
        })
    });
    // Those that are gone are listed as well: a service may have had many.
    let mut listed: Vec<Listed> = listed.filter(|node| node.status != "Retired").collect();
    listed.truncate(MOST_NODES);
    Ok(listed)
}

/// `/node/commit`.
pub fn committed(body: &[u8]) -> Option<TxId> {
    value(body).ok()?.get("transaction_id")?.as_str()?.parse().ok()
}
