//! Where ledger, snapshots and other files are, and when they are written (recovery specification, sections 1.2 and 1.3).

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::values;

const MIB: u64 = 1 << 20;
/// A chunk's positions are 32 bits wide.
const MAX_CHUNK_BYTES: u64 = u32::MAX as u64;

/// `ledger`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// The main directory, written to.
    pub directory: PathBuf,
    /// Only committed chunks are read from these.
    pub read_only_directories: Vec<PathBuf>,
    /// A chunk that has grown to this ends at the next signature.
    pub chunk_size: u64,
    /// Largest transaction (section 1.3).
    pub max_transaction_size: u64,
}

/// `ledger_signatures`.
#[derive(Clone, Debug, PartialEq)]
pub struct LedgerSignatures {
    /// Transactions between two signatures, at most.
    pub tx_count: u64,
    /// Time between a transaction and its signature, at most.
    pub delay: Duration,
}

/// `snapshots`.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshots {
    /// The main directory, written to.
    pub directory: PathBuf,
    /// Transactions between two snapshots.
    pub tx_count: u64,
    /// Committed snapshots are read from here too.
    pub read_only_directory: Option<PathBuf>,
    /// Fewest transactions between two snapshots that are made for their time (section 1.3).
    pub min_tx_count: u64,
    /// Time between two snapshots; 0 is off (section 1.3).
    pub time_interval: Duration,
    /// Fetching of snapshots by backups (section 1.3).
    pub backup_fetch: BackupFetch,
}

/// `snapshots.backup_fetch`.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupFetch {
    /// Whether backups fetch the primary's snapshots.
    pub enabled: bool,
    /// Attempts.
    pub max_attempts: u32,
    /// Between two attempts.
    pub retry_interval: Duration,
    /// The primary's interface.
    pub target_rpc_interface: String,
    /// Largest snapshot that is fetched.
    pub max_size: u64,
}

/// `output_files`. What is `None` is not written.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputFiles {
    /// The node's self-signed certificate.
    pub node_certificate_file: Option<PathBuf>,
    /// The process id.
    pub pid_file: Option<PathBuf>,
    /// JSON: the node-to-node address that was bound.
    pub node_to_node_address_file: Option<PathBuf>,
    /// JSON: the addresses that were bound, by name.
    pub rpc_addresses_file: Option<PathBuf>,
    /// A directory for sealed secrets.
    pub sealed_ledger_secret_location: Option<PathBuf>,
}

/// `files_cleanup`; `None` keeps everything.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesCleanup {
    /// Committed snapshots that are kept.
    pub max_snapshots: Option<u64>,
    /// Committed chunks that are kept in the main directory.
    pub max_committed_ledger_chunks: Option<u64>,
    /// Between two looks.
    pub interval: Duration,
}

pub(super) fn ledger(section: &mut Section<'_>) -> Ledger {
    Ledger {
        directory: section.or("directory", PathBuf::from("ledger"), values::path),
        read_only_directories: section.list("read_only_directories", values::path),
        chunk_size: section.or("chunk_size", 5 * MIB, |json| {
            let bytes = values::size(json)?;
            match bytes {
                1..=MAX_CHUNK_BYTES => Ok(bytes),
                _ => Err(format!("a size from 1 to {MAX_CHUNK_BYTES} bytes, such as \"5MB\"").into()),
            }
        }),
        max_transaction_size: section.or("max_transaction_size", 32 * MIB, values::size),
    }
}

pub(super) fn ledger_signatures(section: &mut Section<'_>) -> LedgerSignatures {
    LedgerSignatures {
        tx_count: section.or("tx_count", 5000, values::number(1..=u64::MAX)),
        delay: section.or("delay", Duration::from_secs(1), values::time),
    }
}

pub(super) fn snapshots(section: &mut Section<'_>) -> Snapshots {
    Snapshots {
        directory: section.or("directory", PathBuf::from("snapshots"), values::path),
        tx_count: section.or("tx_count", 10_000, values::number(1..=u64::MAX)),
        read_only_directory: section.nullable("read_only_directory", values::path),
        min_tx_count: section.or("min_tx_count", 2, values::number(0..=u64::MAX)),
        time_interval: section.or("time_interval", Duration::ZERO, values::time),
        backup_fetch: section.object("backup_fetch", |section| BackupFetch {
            enabled: section.or("enabled", false, values::boolean),
            max_attempts: section.or("max_attempts", 3, values::count(0)),
            retry_interval: section.or("retry_interval", Duration::from_secs(1), values::time),
            target_rpc_interface: section.or("target_rpc_interface", "primary_rpc_interface".to_owned(), values::text),
            max_size: section.or("max_size", 200 * MIB, values::size),
        }),
    }
}

pub(super) fn output_files(section: &mut Section<'_>) -> OutputFiles {
    let file = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
    OutputFiles {
        node_certificate_file: section.or("node_certificate_file", file("nodecert.pem"), values::path_or_none),
        pid_file: section.or("pid_file", file("node.pid"), values::path_or_none),
        node_to_node_address_file: section.or("node_to_node_address_file", None, values::path_or_none),
        rpc_addresses_file: section.or("rpc_addresses_file", None, values::path_or_none),
        sealed_ledger_secret_location: section.nullable("sealed_ledger_secret_location", values::path),
    }
}

pub(super) fn files_cleanup(section: &mut Section<'_>) -> FilesCleanup {
    FilesCleanup {
        max_snapshots: section.nullable("max_snapshots", values::number(1..=u64::MAX)),
        max_committed_ledger_chunks: section.nullable("max_committed_ledger_chunks", values::number(1..=u64::MAX)),
        interval: section.or("interval", Duration::from_secs(30), values::time),
    }
}
