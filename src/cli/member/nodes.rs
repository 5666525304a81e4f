//! `rekindle member trust-node` and `remove-node`: proposals about one node, made with that node in sight.

use serde_json::{Value, json};

use super::{Connection, REFUSED, Signer, proposals, request};
use crate::cli::{Common, output, text};
use crate::crypto::x509::{parse_time, time_text};
use crate::error::{Error, Result};
use crate::member::{governance, governance::now_s};

/// Propose to trust a node that waits to join
///
/// Shows what the service knows of the node, and proposes transition_node_to_trusted. From the moment that it has passed, the
/// service commits nothing without the node's acknowledgement, unless there are enough others: be sure that it runs.
#[derive(clap::Args)]
pub struct TrustNode {
    /// The node: 64 hexadecimal digits
    #[arg(value_name = "NODE_ID", value_parser = node_id)]
    id: String,
    /// Its certificate is valid from this time on, ISO 8601 or YYMMDDhhmmssZ [default: now]
    #[arg(long, value_name = "TIME", value_parser = valid_from)]
    valid_from: Option<String>,
    /// And for so many days [default: as many as the service allows]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    validity_period_days: Option<u32>,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl TrustNode {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let valid_from = match &self.valid_from {
            Some(time) => time.clone(),
            None => {
                let seconds = self.signer.created_at.unwrap_or_else(now_s);
                let no_time = || format!("{seconds} seconds after 1970 is no time that a certificate can have");
                time_text(seconds).map_err(|_| Error::Usage(no_time()))?
            }
        };
        let mut arguments = json!({"node_id": self.id, "valid_from": valid_from});
        if let (Some(days), Some(arguments)) = (self.validity_period_days, arguments.as_object_mut()) {
            arguments.insert("validity_period_days".to_owned(), days.into());
        }
        let about = About {
            id: &self.id,
            action: "transition_node_to_trusted",
            arguments,
        };
        let unfit = |status: &str| (status != "Pending").then_some("only one that is Pending can be trusted");
        propose(&about, unfit, (&self.node, &self.signer), common)
    }
}

/// Propose to remove a node
///
/// A node that waits to join is forgotten. One that is trusted retires: it may be stopped when the service says that its
/// retirement is committed.
#[derive(clap::Args)]
pub struct RemoveNode {
    /// The node: 64 hexadecimal digits
    #[arg(value_name = "NODE_ID", value_parser = node_id)]
    id: String,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl RemoveNode {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let about = About {
            id: &self.id,
            action: "remove_node",
            arguments: json!({"node_id": self.id}),
        };
        let unfit = |status: &str| (status == "Retired").then_some("it has retired already");
        propose(&about, unfit, (&self.node, &self.signer), common)
    }
}

/// A proposal about one node.
struct About<'a> {
    id: &'a str,
    action: &'static str,
    arguments: Value,
}

fn propose(
    about: &About<'_>,
    unfit: impl Fn(&str) -> Option<&'static str>,
    (node, signer): (&Connection, &Signer),
    common: &Common,
) -> Result<u8> {
    let (client, member) = (node.client()?, signer.member()?);
    let Some(found) = request(governance::node(&client, about.id))? else {
        return Ok(REFUSED);
    };
    output::notice(&describe(&found));
    let status = found.get("status").and_then(Value::as_str).unwrap_or_default();
    if let Some(why) = unfit(status) {
        output::notice(&format!(
            "rekindle: nothing to propose: the node is {}, {why}\n",
            text::clean(status)
        ));
        return Ok(REFUSED);
    }
    let proposal = json!({"actions": [{"name": about.action, "args": about.arguments}]});
    let session = signer.session(&client, &member);
    proposals::show_state(request(session.propose(proposal.to_string().as_bytes()))?, common)
}

fn describe(node: &Value) -> String {
    let field = |name: &str| match node.get(name) {
        Some(Value::String(value)) => text::clean(value),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => text::clean(&other.to_string()),
    };
    let mut out = format!(
        "node         {}\nstatus       {}\ndata         {}\n",
        field("node_id"),
        field("status"),
        field("node_data")
    );
    let interfaces = node.get("rpc_interfaces").and_then(Value::as_object);
    for (name, interface) in interfaces.into_iter().flatten() {
        let address = interface.get("published_address").and_then(Value::as_str);
        let address = address.map_or_else(|| "-".to_owned(), text::clean);
        out.push_str(&format!("interface    {} {address}\n", text::clean(name)));
    }
    out
}

/// An id as tables have it.
pub(super) fn node_id(text: &str) -> std::result::Result<String, String> {
    governance::checked_id(text)
        .map_err(|_| "expected 64 hexadecimal digits; /node/network/nodes lists those of all nodes".to_owned())
}

/// A time that constitutions take, as it was given.
fn valid_from(text: &str) -> std::result::Result<String, String> {
    match parse_time(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected a time such as 2026-11-21T12:00:00Z or 261121120000Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_one_that_constitutions_take() {
        assert_eq!(time_text(1_795_262_400).unwrap(), "261121120000Z");
        assert_eq!(parse_time("261121120000Z"), Ok(1_795_262_400));
        assert!(time_text(u64::MAX).is_err() && time_text(4_000_000_000).is_err());
        for good in ["261121120000Z", "2026-11-21T12:00:00Z"] {
            assert_eq!(valid_from(good).as_deref(), Ok(good));
        }
        assert!(valid_from("yesterday").is_err());
    }

    #[test]
    fn an_id_is_given_as_tables_have_it() {
        assert_eq!(node_id(&"AB".repeat(32)), Ok("ab".repeat(32)));
        assert!(node_id("ab").is_err());
    }

    #[test]
    fn a_node_is_shown_before_anything_is_proposed() {
        let node = json!({
            "node_id": "ab", "status": "Pending", "node_data": {"rack": 7},
            "rpc_interfaces": {"main": {"published_address": "10.0.0.1:80"}, "odd": {}},
        });
        let shown = describe(&node);
        assert_eq!(
            shown,
            "node         ab\nstatus       Pending\ndata         {\"rack\":7}\n\
             interface    main 10.0.0.1:80\ninterface    odd -\n"
        );
    }
}
