//! `rekindle member status`: how far a node is, and what its service is.

use serde_json::{Value, json};

use super::{Connection, REFUSED, request};
use crate::cli::{Common, output, text};
use crate::error::Result;
use crate::member::{Client, Error, governance};

/// Show a node's and its service's state, and how far a recovery is
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: Connection,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let client = args.node.client()?;
    let Some(status) = request(status(&client))? else {
        return Ok(REFUSED);
    };
    match common.json {
        true => output::json(&status)?,
        false => output::text(&render(&status))?,
    }
    Ok(0)
}

/// `{"node": …, "service": …}`; the service is null as long as the node knows none.
async fn status(client: &Client) -> std::result::Result<Value, Error> {
    let node = governance::node_state(client).await?;
    let service = match governance::node_network(client).await {
        Ok(service) => service,
        Err(Error::Refused(refusal)) if refusal.status == 404 => Value::Null,
        Err(why) => return Err(why),
    };
    Ok(json!({"node": node, "service": service}))
}

fn render(status: &Value) -> String {
    let (node, service) = (&status["node"], &status["service"]);
    let mut out = String::new();
    let mut line = |name: &str, value: &Value| {
        let shown = match value {
            Value::Null => return,
            Value::String(string) => text::clean(string),
            other => text::clean(&other.to_string()),
        };
        out.push_str(&format!("{name:<12} {shown}\n"));
    };
    line("node", &node["node_id"]);
    line("state", &node["state"]);
    line("signed to", &node["last_signed_seqno"]);
    if let (Some(done), Some(target)) = (
        node["last_recovered_seqno"].as_u64(),
        node["recovery_target_seqno"].as_u64(),
    ) {
        let percent = done.saturating_mul(100) / target.max(1);
        line("recovered", &Value::String(format!("{done} of {target} ({percent} %)")));
    }
    if node["stop_notice"] == true {
        line("stopping", &Value::String("the node has been told to stop".to_owned()));
    }
    // While it reads the public ledger a node repeats what the old service's ledger says, such as Open.
    let old = node["state"]
        .as_str()
        .is_some_and(|state| state.eq_ignore_ascii_case("ReadingPublicLedger"));
    line(if old { "old service" } else { "service" }, &service["service_status"]);
    line("recoveries", &service["recovery_count"]);
    line("created at", &service["current_service_create_txid"]);
    line("view", &service["current_view"]);
    line("primary", &service["primary_id"]);
    out
}
