//! What is judged: the backups as they were read, and what the operator knows besides.

use super::facts::{Facts, Role};
use super::instant::{By, Window};
use super::path::Identities;
use super::volumes::Snapshot;
use crate::canton::Timestamp;
use crate::canton::dump::{Format, Read};
use crate::canton::finding::Ending;
use crate::canton::release::Splice;

/// A database's backup, or a running database.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The file, directory or address, as it can be shown.
    pub name: String,
    /// As what it was given.
    pub role: Role,
    /// What its rows say.
    pub facts: Facts,
    /// When it was taken, where that is known.
    pub window: Option<Window>,
    /// Whether nothing of it is missing.
    pub is_complete: bool,
    /// Whether it could be read at all; where not, that was said.
    pub is_readable: bool,
    /// Whether it is a running database.
    pub is_running: bool,
    /// The database's name, where it is known.
    pub database: Option<String>,
}

impl Backup {
    /// A source that was read. `name` is shown; `file` is the file's own name, which may say when the dump was made.
    pub fn new(role: Role, name: String, file: Option<&str>, read: &Read, facts: Facts) -> Backup {
        let header = &read.header;
        let is_running = header.format == Format::Running;
        let by = match header.format {
            Format::Running => By::Running,
            Format::Plain | Format::PlainAll => By::Comments,
            Format::Custom | Format::Directory | Format::Tar => By::Header,
        };
        let of_header = header.started.map(|start| Window {
            start,
            // What a transaction sees of a running database is as of its start.
            end: header.completed.or(is_running.then_some(start)),
            by,
        });
        let of_name = || Window::of_file_name(file?);
        // A time without a zone says less than a file's name that has one.
        let window = match of_header {
            Some(window) if header.zone_known => Some(window),
            other => of_name().or(other),
        };
        Backup {
            name,
            role,
            facts,
            window,
            is_complete: matches!(read.ending, Ending::Clean | Ending::Negative) && (header.complete || is_running),
            is_readable: !matches!(read.ending, Ending::Refused | Ending::Unreadable),
            is_running,
            database: header.database.clone(),
        }
    }
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Case {
    /// The databases, of any role, as they were given.
    pub backups: Vec<Backup>,
    /// Whether a backup of CometBFT's storage was given.
    pub has_cometbft: bool,
    /// When backups were taken, as the operator states it.
    pub stated: Vec<(Role, Window)>,
    /// The network's migration now, as the operator states it.
    pub migration: Option<i64>,
    /// Snapshots of volumes and backup runs.
    pub volumes: Vec<Snapshot>,
    /// What became of checking the identities.
    pub identities: Identities,
    /// The participant that the identities are of.
    pub identities_of: Option<String>,
    /// The network's release.
    pub splice: Option<Splice>,
    /// Whether the whole network is down.
    pub is_network_down: bool,
    /// Whether the operator has seen that the KMS still holds the keys.
    pub is_kms_reachable: bool,
    /// Now.
    pub now: Timestamp,
    /// The age from which on a backup is too old, seconds.
    pub max_age_s: i64,
}

impl Case {
    /// The databases that were given as this.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(move |backup| backup.role == role)
    }
}
