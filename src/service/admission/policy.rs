//! What the store asks of a node that wants in, as it stands in one transaction. Attestation specification, section 5.
//!
//! SGX's table is not read: nobody is let in on that.

use std::collections::BTreeSet;

use crate::attestation::policy::feeds_from_json;
use crate::attestation::snp::TcbRow;
use crate::attestation::{CpuId, Policy};
use crate::kv::store::Transaction;
use crate::shown;
use crate::tables::names;

/// Reads the policy. A row that can't be read lets nobody in, and says so in the log.
pub fn policy_of(transaction: &Transaction<'_>) -> Policy {
    let mut policy = Policy {
        measurements: allowed(transaction, names::NODES_SNP_MEASUREMENTS),
        virtual_measurements: allowed(transaction, names::NODES_VIRTUAL_MEASUREMENTS),
        ..Policy::default()
    };
    // A set: its values say nothing.
    for_each(transaction, names::NODES_VIRTUAL_HOST_DATA, |key, _| {
        policy.virtual_host_data.insert(key);
        Ok(())
    });
    for_each(transaction, names::NODES_SNP_HOST_DATA, |key, value| {
        let text: String = serde_json::from_slice(value).map_err(|_| "it is no JSON string".to_owned())?;
        policy.host_data.insert(key, text);
        Ok(())
    });
    for_each(transaction, names::NODES_SNP_UVM_ENDORSEMENTS, |key, value| {
        policy.uvm_roots.insert(key, feeds_from_json(value)?);
        Ok(())
    });
    let mut unreadable = Vec::new();
    for_each(transaction, names::NODES_SNP_TCB_VERSIONS, |key, value| {
        let cpuid = CpuId::from_hex(&key).ok_or("its key is no CPUID, expected 8 hex digits")?;
        let row = TcbRow::from_json(value).inspect_err(|_| unreadable.push(cpuid))?;
        policy.minimum_tcb.insert(key, row);
        Ok(())
    });
    // Of two rows for one processor both count: where one can't be read, the other must not stand for both.
    let is_readable = |key: &String| CpuId::from_hex(key).is_some_and(|cpuid| !unreadable.contains(&cpuid));
    policy.minimum_tcb.retain(|key, _| is_readable(key));
    policy
}

/// Measurements that are marked as allowed to join.
fn allowed(transaction: &Transaction<'_>, table: &'static str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for_each(transaction, table, |key, value| match value {
        br#""AllowedToJoin""# => {
            found.insert(key);
            Ok(())
        }
        _ => Err("its value is not \"AllowedToJoin\"".to_owned()),
    });
    found
}

fn for_each(
    transaction: &Transaction<'_>,
    table: &'static str,
    mut each: impl FnMut(String, &[u8]) -> Result<(), String>,
) {
    for (key, value) in transaction.entries(table) {
        let read = match String::from_utf8(key) {
            Ok(key) => each(key, &value),
            Err(_) => Err("its key is no text".to_owned()),
        };
        if let Err(why) = read {
            tracing::warn!(table, why = %shown::line(&why), "a row of what nodes must be can't be read: it lets nobody in");
        }
    }
}
