//! The longest provable ledger that damaged copies, snapshots and leftovers hold together.
