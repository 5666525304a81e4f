//! Snapshots held against the ledger key by key, and lost ones rebuilt from it bit for bit.
