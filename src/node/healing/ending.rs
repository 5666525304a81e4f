//! What becomes of a node that lost: a configuration with which it joins the winner, that one's certificate, and its own
//! ledger and snapshots under names that say what they are. Nothing is removed. Recovery specification, section 7.5.
//!
//! Everything of the node has ended when this begins: nothing writes to what is renamed. The order is such that a start after
//! an interruption finds either everything as it was, with the loss in the ledger's own tables, or the configuration with
//! which to join: where that is, no recovery is begun, for by then there is another service.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::plan::generation;
use super::task::Lost;
use crate::error::{Error, Result};
use crate::format::whole_file::{PUBLIC, write_whole};
use crate::heal::outcome::{Losing, Outcome, SetAside};
use crate::journal::files::{rename_durably, sync_names};
use crate::node::config::Config;
use crate::shown::{Show, line};

/// The exit code of a node that lost and was not told what to run instead.
pub const EXIT_CODE: u8 = 4;

/// In the directory of `command.service_certificate_file`.
const CONFIGURATION: &str = "join_after_recovery.json";
const CERTIFICATE: &str = "join_service_cert.pem";

/// What is left to do: a node is to be run with this configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToJoin {
    /// The configuration of a node that joins.
    pub configuration: PathBuf,
    /// What happened, and what to do.
    pub text: String,
}

/// Where a loser's files are: the node has written there at its start.
fn beside_the_certificate(config: &Config, name: &str) -> PathBuf {
    config.command.service_certificate_file.with_file_name(name)
}

/// Whether a node with this configuration has lost before: it must not recover again, for there is another service.
pub fn has_lost(config: &Config) -> Option<ToJoin> {
    generation(config)?;
    let configuration = beside_the_certificate(config, CONFIGURATION);
    if configuration.symlink_metadata().is_err() {
        return None;
    }
    let path = configuration.shown().to_string();
    Some(ToJoin {
        text: format!(
            "this node has lost to another one before, and is to join it: run a node with --config {path}. Nothing was recovered. \
             If that service has died too and is to be recovered from what this node has, move {path} away and start again"
        ),
        configuration,
    })
}

/// Writes what a loser leaves. `document` is the configuration as it was read.
///
/// # Errors
/// If something can't be made, written or renamed: what was done until then stays.
pub fn finish(config: &Config, document: &Value, lost: &Lost) -> Result<ToJoin> {
    let certificate = beside_the_certificate(config, CERTIFICATE);
    let configuration = beside_the_certificate(config, CONFIGURATION);
    let outcome = Outcome::of(&Losing {
        configuration: document,
        winner_address: &lost.address,
        winner_service: &lost.winner.service,
        certificate_file: &certificate.to_string_lossy(),
        claim: lost.claim,
        own_service: &lost.service,
    });
    let outcome =
        outcome.map_err(|why| Error::Unreadable(format!("this node lost, but can't be made one that joins: {why}")))?;
    write_whole(&certificate, outcome.certificate.as_bytes(), PUBLIC)?;
    write_whole(&configuration, outcome.configuration.as_bytes(), PUBLIC)?;
    let mut kept = Vec::new();
    for aside in &outcome.set_aside {
        if set_aside(aside)? {
            kept.push(line(&aside.becomes).into_owned());
        }
    }
    let (id, address) = (line(&lost.winner.id), line(&lost.address));
    let path = configuration.shown();
    let kept = match kept.is_empty() {
        true => String::new(),
        false => format!(" What this node had is kept in {}.", kept.join(" and ")),
    };
    Ok(ToJoin {
        text: format!(
            "another node opens: {id}, at {address}. This one is to join it: run a node with --config {path}, whose service \
             certificate is in {}.{kept}",
            certificate.shown()
        ),
        configuration,
    })
}

/// Renames a directory; whether there was one.
fn set_aside(aside: &SetAside) -> Result<bool> {
    let (from, to) = (Path::new(&aside.directory), Path::new(&aside.becomes));
    if !from.is_dir() {
        return Ok(false);
    }
    if to.symlink_metadata().is_ok() {
        return Err(Error::Unreadable(format!(
            "{} can't be set aside: {} is there already; move it away and start again",
            from.shown(),
            to.shown()
        )));
    }
    tracing::info!(from = %from.shown(), to = %to.shown(), "set aside");
    match rename_durably(from, to) {
        Ok(()) => Ok(true),
        // A directory that something is mounted on can't be renamed; what is in it can.
        Err(Error::Io { source, .. }) if is_mounted(&source) => {
            let inside = from.join(to.file_name().unwrap_or_default());
            std::fs::create_dir(&inside).map_err(Error::io("make the directory", &inside))?;
            for item in std::fs::read_dir(from).map_err(Error::io("list the directory", from))? {
                let path = item.map_err(Error::io("list the directory", from))?.path();
                let name = path.file_name().unwrap_or_default().to_owned();
                if path != inside && name != "lost+found" {
                    let to = inside.join(name);
                    std::fs::rename(&path, &to).map_err(Error::io("rename", &path))?;
                }
            }
            sync_names(&inside)?;
            sync_names(from)?;
            Ok(true)
        }
        Err(why) => Err(why),
    }
}

fn is_mounted(why: &std::io::Error) -> bool {
    matches!(
        why.kind(),
        std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::CrossesDevices
    )
}

/// Runs a node that joins in place of this process: its number, its signals and its exit code are that node's from here on.
pub fn become_joiner(program: &Path, to_join: &ToJoin) -> Error {
    let why = Command::new(program).arg("--config").arg(&to_join.configuration).exec();
    Error::io("run", program)(why)
}

/// That there is such a program, before anything depends on it.
///
/// # Errors
/// [`Error::Usage`].
pub fn check_program(program: &Path) -> Result<()> {
    let is_file = |path: &Path| path.metadata().is_ok_and(|found| found.is_file());
    let found = match program.components().count() {
        1 if !program.has_root() => {
            let places = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&places).any(|place| is_file(&place.join(program)))
        }
        _ => is_file(program),
    };
    match found {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "--join-with {}: there is no such program; give the path of the node's binary",
            program.shown()
        ))),
    }
}
