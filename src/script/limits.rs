//! How much a script may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kv::store::Transaction;
use crate::tables::SINGLETON_KEY;
use crate::tables::{names, values};

const DEFAULT_HEAP_BYTES: u64 = 100 << 20;
/// More than CCF's 1 MiB: constitutions read members' records as JSON, and those may be as deep as a request is long.
const DEFAULT_STACK_BYTES: u64 = 16 << 20;
const DEFAULT_TIME_MS: u64 = 5_000;
/// A native stack of this size is reserved, not used, for each script: more is no use to anybody.
const MAX_STACK_BYTES: u64 = 64 << 20;
/// No proposal may hold the node for longer than this, whatever the members set.
const MAX_TIME_MS: u64 = 10 * 60_000;

/// Limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    pub(super) heap_bytes: usize,
    pub(super) stack_bytes: usize,
    pub(super) time: Duration,
}

#[derive(Default, Deserialize)]
struct Options {
    max_heap_bytes: Option<u64>,
    max_stack_bytes: Option<u64>,
    max_execution_time_ms: Option<u64>,
}

impl Limits {
    /// What `js_runtime_options` says, but never less than the defaults: members must be able to undo a bad setting.
    pub(super) fn of(transaction: &Transaction<'_>) -> Self {
        let options: Options = transaction
            .get(names::JS_RUNTIME_OPTIONS, &SINGLETON_KEY)
            .and_then(|bytes| values::from_json(bytes).ok())
            .unwrap_or_default();
        let at_least = |set: Option<u64>, default: u64| set.unwrap_or(default).max(default);
        let bytes = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let stack_bytes = at_least(options.max_stack_bytes, DEFAULT_STACK_BYTES).min(MAX_STACK_BYTES);
        let time_ms = at_least(options.max_execution_time_ms, DEFAULT_TIME_MS).min(MAX_TIME_MS);
        Limits {
            heap_bytes: bytes(at_least(options.max_heap_bytes, DEFAULT_HEAP_BYTES)),
            stack_bytes: bytes(stack_bytes),
            time: Duration::from_millis(time_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::store::Store;

    fn limits(options: &str) -> Limits {
        let store = Store::new();
        let mut transaction = store.transaction();
        transaction.put(names::JS_RUNTIME_OPTIONS, SINGLETON_KEY, options);
        Limits::of(&transaction)
    }

    #[test]
    fn options_raise_limits_and_never_lower_them() {
        let default = Limits::of(&Store::new().transaction());
        assert_eq!(
            (default.heap_bytes, default.stack_bytes, default.time.as_secs()),
            (100 << 20, 16 << 20, 5)
        );
        let low = r#"{"max_heap_bytes":1,"max_stack_bytes":1,"max_execution_time_ms":1}"#;
        assert_eq!(limits(low), default);
        let high = limits(r#"{"max_heap_bytes":209715200,"max_execution_time_ms":6000}"#);
        assert_eq!(
            (high.heap_bytes, high.stack_bytes, high.time.as_secs()),
            (200 << 20, 16 << 20, 6)
        );
    }

    #[test]
    fn absurd_options_and_damaged_ones_do_no_harm() {
        let most = u64::MAX;
        let absurd = limits(&format!(
            r#"{{"max_stack_bytes":{most},"max_execution_time_ms":{most}}}"#
        ));
        assert_eq!((absurd.stack_bytes, absurd.time.as_secs()), (64 << 20, 600));
        assert_eq!(limits("nonsense"), Limits::of(&Store::new().transaction()));
    }
}
