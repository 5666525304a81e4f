//! How far a node is: asked ever less often, because each question is felt by a machine that has enough to do.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::NodeProcess;
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::member::{Client, Trust, governance};

/// How soon the node is asked how far it is for the first time. Later it is asked ever less often ([`pause`]): each
/// question is a TLS handshake, which a recovery on few cores would feel, and times come from the node itself.
const POLL: Duration = Duration::from_millis(25);
/// Without any progress for so long, the rehearsal has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn client(node: &NodeProcess, trust: Trust) -> Result<Client> {
    Client::new(&node.url, trust).map_err(|why| Error::Unreadable(why.to_string()))
}

/// How long to wait for the next question, of something that was begun at `began`.
pub(super) async fn pause(began: Instant) {
    let longest = Duration::from_millis(500);
    tokio::time::sleep((began.elapsed() / 4).clamp(POLL, longest)).await;
}

pub(super) async fn wait_for(client: &Client, node: &mut NodeProcess, wanted: &str) -> Result<Value> {
    let began = Instant::now();
    loop {
        node.check()?;
        if let Ok(state) = governance::node_state(client).await
            && state.get("state").and_then(Value::as_str) == Some(wanted)
        {
            return Ok(state);
        }
        if began.elapsed() > PATIENCE {
            return Err(node.failed(&format!("the node does not become {wanted}")));
        }
        pause(began).await;
    }
}

/// When the node says it entered a state, in seconds since its start.
pub(super) fn entered(state: &Value, name: &str) -> Option<f64> {
    state.get("recovery")?.get("entered_s")?.get(name)?.as_f64()
}

/// Entries of the ledger that a new service was built on: it was created by the one after them.
pub(super) fn recovered_entries(network: &Value) -> Option<u64> {
    let created = network
        .get("current_service_create_txid")?
        .as_str()?
        .parse::<TxId>()
        .ok()?;
    created.seqno.checked_sub(1)
}

pub(super) async fn wait_until_open(client: &Client, node: &mut NodeProcess) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        node.check()?;
        if client
            .get("/node/ready/app")
            .await
            .is_ok_and(|answer| answer.status.is_success())
        {
            return Ok(());
        }
        pause(began).await;
    }
    Err(node.failed("the service does not open"))
}
