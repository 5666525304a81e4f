//! The configurations of a rehearsal's nodes, and fields of JSON.

use serde_json::{Value, json};

/// What every node of a rehearsal has in common.
pub(super) fn config_of_a_node() -> Value {
    json!({
        "network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
            "rpc_interfaces": {"primary_rpc_interface": {"bind_address": "127.0.0.1:0"}},
        },
        "consensus": {"message_timeout": "100ms", "election_timeout": "2000ms"},
        "command": {},
        "ledger": {"directory": "ledger"},
        "ledger_signatures": {"delay": "200ms"},
        "snapshots": {"directory": "snapshots"},
        "output_files": {"rpc_addresses_file": "rpc_addresses.json", "pid_file": "node.pid"},
    })
}

/// Puts a value at a path, whose last name may be new.
pub(super) fn set(config: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    if let Some(parent) = config.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(name.to_owned(), value);
    }
}

pub(super) fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
