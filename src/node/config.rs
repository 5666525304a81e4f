//! A node's configuration: CCF's own file, read strictly and explained fully (recovery specification, sections 1 and 7.1).
//!
//! Both generations of field names are accepted. All problems are collected, not the first only, each with its place,
//! what was found and what is expected; what is accepted without having its meaning here is noted once. Reading touches
//! nothing but the file; [`Config::check_files`] looks at the others, and changes none.
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::shown::Show;

mod command;
mod environment;
mod files;
mod healing;
mod json;
mod network;
mod notes;
mod problem;
mod section;
mod semantics;
mod settings;
mod storage;
mod values;

pub use command::{
    Command, CommandKind, CoseSignatures, Join, Member, Recover, RecoveryRole, SelfHealingOpen, ServiceConfiguration,
    Start,
};
pub use environment::expanded;
pub use files::UNREACHABLE;
pub use healing::PRIMARY_INTERFACE;
pub use network::{
    AppProtocol, Authority, Endorsement, HttpConfiguration, Network, NodeToNodeInterface, Protocol, Redirection,
    Redirections, Role, RpcInterface,
};
pub use notes::WITHOUT_MEANING;
pub use problem::{ConfigError, Fault, FieldPath, Problem, frames};
pub use section::Note;
pub use settings::{
    Attestation, Consensus, EndorsementsServer, EndorsementsServerKind, IdentityHistoryFetch, Jwt, Location, LogFormat,
    Logging, Memory, NodeCertificate, RecoveryDecisionProtocol, SealingRecovery,
};
pub use storage::{BackupFetch, FilesCleanup, Ledger, LedgerSignatures, OutputFiles, Snapshots};
pub use values::{Address, EndpointPattern, SubjectAltName, parse_time};

use json::Json;
use section::{Report, Section};

/// A real configuration has some kilobytes; a problem or note takes a multiple of the text it is about.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How often a file that is waited for is read again (recovery specification, section 1.1).
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A node's whole configuration, with defaults in place of what is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the node listens.
    pub network: Network,
    /// What the node is started for.
    pub command: Command,
    /// The node's certificate, and the curve of its key and of a new service's.
    pub node_certificate: NodeCertificate,
    /// JSON that goes into the node's entry of the nodes table.
    pub node_data_json_file: Option<PathBuf>,
    /// JSON that goes into the service's table (Start and Recover).
    pub service_data_json_file: Option<PathBuf>,
    /// Where the ledger is, and how it is cut.
    pub ledger: Ledger,
    /// When signature transactions are made.
    pub ledger_signatures: LedgerSignatures,
    /// Where snapshots are, and when they are made.
    pub snapshots: Snapshots,
    /// What the node writes besides ledger and snapshots.
    pub output_files: OutputFiles,
    /// Material for attestation.
    pub attestation: Attestation,
    /// Time-outs of consensus.
    pub consensus: Consensus,
    /// Fetching of JWT keys.
    pub jwt: Jwt,
    /// The node's log.
    pub logging: Logging,
    /// Ring buffers of CCF's own; no meaning here.
    pub memory: Memory,
    /// How often CCF's own timers run; no meaning here.
    pub tick_interval: Duration,
    /// Input and output that takes longer is logged.
    pub slow_io_logging_threshold: Duration,
    /// Local interface for outgoing connections.
    pub node_client_interface: Option<String>,
    /// Time-out of outgoing connections.
    pub client_connection_timeout: Duration,
    /// Sessions that are idle for longer are closed.
    pub idle_connection_timeout: Duration,
    /// CCF's own threads beside the main one; no meaning here.
    pub worker_threads: u64,
    /// The first SIGTERM sets the stop notice only; the second one ends the node.
    pub ignore_first_sigterm: bool,
    /// Messages on a node-to-node channel until its key is renewed.
    pub node_to_node_message_limit: u64,
    /// Memory for historical queries.
    pub historical_cache_soft_limit: u64,
    /// Local sealing and the recovery decision protocol, as later releases have them (section 1.3).
    pub sealing_recovery: Option<SealingRecovery>,
    /// What old files are removed (section 1.3).
    pub files_cleanup: FilesCleanup,
    /// Fetching of the history of identities (section 1.3).
    pub identity_history_fetch: IdentityHistoryFetch,
}

/// A configuration, and what its author should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// At most one for each field of the file.
    pub notes: Vec<Note>,
    /// The document as it was read.
    pub document: serde_json::Value,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], whose text has CCF's frames.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let text = read(path)?;
        Config::parse(&text).map_err(|problems| ConfigError::new(path, problems))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// All problems; a single [`Fault::Syntax`] where it is not JSON.
    pub fn parse(text: &str) -> Result<Loaded, Vec<Problem>> {
        let json = syntax(text).map_err(|problem| vec![problem])?;
        let report = RefCell::new(Report::default());
        report.borrow_mut().duplicates(&FieldPath::root(), &json);
        let config = Section::document(&json, &report, document);
        let mut report = report.into_inner();
        semantics::check(&config, &mut report);
        notes::add(&config, &mut report);
        match report.finish() {
            (problems, notes) if problems.is_empty() => Ok(Loaded {
                config,
                notes,
                document: serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default(),
            }),
            (problems, _) => Err(problems),
        }
    }
}

/// Waits until a file exists and is JSON, reading it every 100 ms, and loads it; once only where `timeout` is zero.
///
/// # Errors
/// [`ConfigError`]: at once where the file is JSON but no configuration, otherwise the last one when the time is over.
pub fn await_file(path: &Path, timeout: Duration) -> Result<Loaded, ConfigError> {
    let start = Instant::now();
    loop {
        let outcome = Config::load(path);
        let may_come = matches!(outcome, Err(ConfigError::Unreadable(_) | ConfigError::Syntax { .. }));
        let left = timeout.saturating_sub(start.elapsed());
        if !may_come || left.is_zero() {
            return outcome;
        }
        std::thread::sleep(RETRY_INTERVAL.min(left));
    }
}

/// The fields of the root.
fn document(section: &mut Section<'_>) -> Config {
    // Until release 6 a launcher was told which application to load.
    section.object("enclave", |section| {
        for name in ["file", "type", "platform"] {
            section.anything(name);
        }
    });
    // Forms of sealing between two releases (section 1.3).
    for name in ["enable_local_sealing", "local_sealing_identity"] {
        section.anything(name);
    }
    Config {
        network: section.required_object("network", network::network),
        command: section.required_object("command", command::command),
        node_certificate: section.object("node_certificate", settings::node_certificate),
        node_data_json_file: section.nullable("node_data_json_file", values::path),
        service_data_json_file: section.nullable("service_data_json_file", values::path),
        ledger: section.object("ledger", storage::ledger),
        ledger_signatures: section.object("ledger_signatures", storage::ledger_signatures),
        snapshots: section.object("snapshots", storage::snapshots),
        output_files: section.object("output_files", storage::output_files),
        attestation: section.object("attestation", settings::attestation),
        consensus: section.object("consensus", settings::consensus),
        jwt: section.object("jwt", settings::jwt),
        logging: section.object("logging", settings::logging),
        memory: section.object("memory", settings::memory),
        tick_interval: section.or("tick_interval", Duration::from_millis(10), values::time),
        slow_io_logging_threshold: section.or("slow_io_logging_threshold", Duration::from_millis(10), values::time),
        node_client_interface: section.nullable("node_client_interface", values::text),
        client_connection_timeout: section.or("client_connection_timeout", Duration::from_secs(2), values::time),
        idle_connection_timeout: section.or("idle_connection_timeout", Duration::from_secs(60), values::time),
        worker_threads: section.or("worker_threads", 0, values::number(0..=u64::MAX)),
        ignore_first_sigterm: section.or("ignore_first_sigterm", false, values::boolean),
        node_to_node_message_limit: section.or("node_to_node_message_limit", 23_726_566, values::number(2..=u64::MAX)),
        historical_cache_soft_limit: section.or("historical_cache_soft_limit", 512 << 20, values::size),
        sealing_recovery: section.optional_object("sealing_recovery", settings::sealing_recovery),
        files_cleanup: section.object("files_cleanup", storage::files_cleanup),
        identity_history_fetch: section.object("identity_history_fetch", settings::identity_history_fetch),
    }
}

/// JSON, perhaps after a byte order mark.
fn syntax(text: &str) -> Result<Json, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).map_err(|why| Problem {
        path: FieldPath::root(),
        fault: Fault::Syntax {
            line: why.line(),
            column: why.column(),
            message: why.to_string(),
        },
    })
}

/// The text of a file, pipes too.
fn read(path: &Path) -> Result<String, Error> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(Error::io("read configuration file", path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::Unreadable(format!(
            "configuration file {} is longer than {MAX_FILE_BYTES} bytes, which no configuration is",
            path.shown()
        )));
    }
    String::from_utf8(bytes).map_err(|why| {
        Error::Unreadable(format!(
            "configuration file {} is not UTF-8 text (byte {})",
            path.shown(),
            why.utf8_error().valid_up_to()
        ))
    })
}
