//! What becomes of a node that lost: a configuration with which it joins the winner, that one's certificate, and its own
//! ledger and snapshots under names that say what they are. Nothing is removed. Recovery specification, section 7.5.
//!
//! Everything of the node has ended when this begins: nothing writes to what is renamed. The configuration comes last: where it
//! is, nothing is left that a joining node must not find, and no recovery is begun any more, for by then there is another
//! service. A start after an interruption before that finds the ledger, and is told again who opens, or none, and says so.

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
    let mut kept = Vec::new();
    for aside in &outcome.set_aside {
        if set_aside(aside)? {
            kept.push(line(&aside.becomes).into_owned());
        }
    }
    write_whole(&configuration, outcome.configuration.as_bytes(), PUBLIC)?;
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
            empty_into(from, &from.join(to.file_name().unwrap_or_default()))?;
            Ok(true)
        }
        Err(why) => Err(why),
    }
}

/// Moves everything of a directory into a new one in it.
fn empty_into(directory: &Path, inside: &Path) -> Result<()> {
    std::fs::create_dir(inside).map_err(Error::io("make the directory", inside))?;
    for item in std::fs::read_dir(directory).map_err(Error::io("list the directory", directory))? {
        let path = item.map_err(Error::io("list the directory", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        // What a file system has of its own stays.
        if path != inside && name != "lost+found" {
            std::fs::rename(&path, inside.join(name)).map_err(Error::io("rename", &path))?;
        }
    }
    sync_names(inside)?;
    sync_names(directory)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::attestation::Evidence;
    use crate::crypto::Curve;
    use crate::format::TxId;
    use crate::heal::Info;
    use crate::service::identity::{ServiceIdentity, ServiceName};

    fn service() -> String {
        let service = ServiceIdentity::generate(Curve::P256, &ServiceName::Text("CN=service"), 1);
        service.unwrap().certificate.to_pem()
    }

    fn lost() -> Lost {
        Lost {
            winner: Info {
                id: "n1".to_owned(),
                address: "n1.example:443".to_owned(),
                service: service(),
                evidence: Evidence::default(),
            },
            address: "n1.example:443".to_owned(),
            claim: TxId { view: 2, seqno: 578 }.into(),
            service: service(),
        }
    }

    fn document(directory: &Path) -> Value {
        let at = |name: &str| directory.join(name);
        json!({
            "network": {"rpc_interfaces": {"primary_rpc_interface": {"bind_address": "127.0.0.1:1"}}},
            "command": {
                "type": "Recover",
                "service_certificate_file": at("service_cert.pem"),
                "recover": {"self_healing_open": {"addresses": ["127.0.0.1:1", "127.0.0.1:2"]}},
            },
            "ledger": {"directory": at("ledger")},
            "snapshots": {"directory": at("snapshots")},
        })
    }

    fn config(document: &Value) -> Config {
        Config::parse(&document.to_string()).unwrap().config
    }

    #[test]
    fn a_loser_keeps_everything_under_another_name_and_recovers_no_more() {
        let scratch = tempfile::tempdir().unwrap();
        let document = document(scratch.path());
        let config = config(&document);
        std::fs::create_dir(scratch.path().join("ledger")).unwrap();
        std::fs::write(scratch.path().join("ledger/ledger_1"), "entries").unwrap();
        assert_eq!(has_lost(&config), None);
        let to_join = finish(&config, &document, &lost()).unwrap();
        for part in ["n1.example:443", "join_after_recovery.json", "ledger.not-chosen.2.578."] {
            assert!(to_join.text.contains(part), "{}", to_join.text);
        }
        let names = std::fs::read_dir(scratch.path()).unwrap();
        let names: Vec<String> = names
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let kept = names.iter().find(|name| name.starts_with("ledger.not-chosen.2.578."));
        let kept = scratch.path().join(kept.unwrap()).join("ledger_1");
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "entries");
        assert!(!scratch.path().join("ledger").exists());
        assert!(
            names.iter().all(|name| !name.starts_with("snapshots")),
            "there were none: {names:?}"
        );
        let again = has_lost(&config).unwrap();
        assert_eq!(again.configuration, to_join.configuration);
        let joins: Value = serde_json::from_slice(&std::fs::read(&to_join.configuration).unwrap()).unwrap();
        assert_eq!(has_lost(&self::config(&joins)), None, "a node that joins never loses");
    }

    #[test]
    fn nothing_is_renamed_over_what_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let aside = |to: &str| SetAside {
            directory: scratch.path().join("ledger").to_str().unwrap().to_owned(),
            becomes: scratch.path().join(to).to_str().unwrap().to_owned(),
        };
        assert!(!set_aside(&aside("a")).unwrap(), "there is none");
        std::fs::create_dir(scratch.path().join("ledger")).unwrap();
        std::fs::create_dir(scratch.path().join("a")).unwrap();
        let refused = set_aside(&aside("a")).unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        assert!(set_aside(&aside("b")).unwrap());
        assert!(scratch.path().join("b").is_dir());
    }

    #[test]
    fn what_is_in_a_directory_that_cant_be_renamed_is_moved_into_one_inside() {
        let scratch = tempfile::tempdir().unwrap();
        for name in ["ledger_1-9.committed", "ledger_10"] {
            std::fs::write(scratch.path().join(name), name).unwrap();
        }
        std::fs::create_dir(scratch.path().join("lost+found")).unwrap();
        let inside = scratch.path().join("ledger.not-chosen.2.9.00");
        empty_into(scratch.path(), &inside).unwrap();
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);
        assert!(empty_into(scratch.path(), &inside).is_err(), "never twice");
    }

    #[test]
    fn a_program_is_looked_for_before_anything_depends_on_it() {
        assert!(check_program(Path::new("sh")).is_ok());
        assert!(check_program(Path::new("/bin/sh")).is_ok());
        let refused = check_program(Path::new("no such program")).unwrap_err();
        assert!(refused.to_string().contains("--join-with"), "{refused}");
        assert!(check_program(Path::new("/")).is_err(), "a directory is none");
    }
}
