//! What becomes of a node that lost: a configuration with which it joins the winner, that one's certificate, and its own
//! ledger and snapshots under names that say what they are. Nothing is removed. Recovery specification, section 7.5.
//!
//! Everything of the node has ended when this begins: nothing writes to what is renamed. The configuration comes last: where it
//! is, nothing is left that a joining node must not find, and no recovery is begun any more, for by then there is another
//! service. What is to be done is written down before it is begun: a start after an interruption goes on with it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
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
/// There from before the first directory is renamed until the configuration is.
const BEGUN: &str = "join_after_recovery.json.begun";

/// What a loser has begun to leave.
#[derive(Serialize, Deserialize)]
struct Begun {
    /// What goes into the configuration file.
    configuration: String,
    /// Who opens, for people.
    winner: String,
    set_aside: Vec<SetAside>,
}

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

/// Whether a node with this configuration has lost before: it must not recover again, for there is another service. What was
/// interrupted of its ending is done.
///
/// # Errors
/// As for [`finish`].
pub fn has_lost(config: &Config) -> Result<Option<ToJoin>> {
    if generation(config).is_none() {
        return Ok(None);
    }
    let configuration = beside_the_certificate(config, CONFIGURATION);
    let begun = beside_the_certificate(config, BEGUN);
    if configuration.symlink_metadata().is_err() {
        if begun.symlink_metadata().is_err() {
            return Ok(None);
        }
        let text = std::fs::read(&begun).map_err(Error::io("read", &begun))?;
        let left: Begun = serde_json::from_slice(&text).map_err(|why| {
            let path = begun.shown();
            Error::Unreadable(format!(
                "{path} says what this node, which has lost, was about to leave, and can't be read: {why}; move it away and start again"
            ))
        })?;
        return leave(config, &left, true).map(Some);
    }
    // Were it to stay, nobody could decide otherwise by moving the configuration away.
    remove_if_there(&begun)?;
    let path = configuration.shown().to_string();
    Ok(Some(ToJoin {
        text: format!(
            "this node has lost to another one before, and is to join it: run a node with --config {path}. Nothing was recovered. \
             If that service has died too and is to be recovered from what this node has, move {path} away and start again"
        ),
        configuration,
    }))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(why)),
        _ => Ok(()),
    }
}

/// Writes what a loser leaves. `document` is the configuration as it was read.
///
/// # Errors
/// If something can't be made, written or renamed: what was done until then stays.
pub fn finish(config: &Config, document: &Value, lost: &Lost) -> Result<ToJoin> {
    let certificate = beside_the_certificate(config, CERTIFICATE);
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
    let begun = Begun {
        configuration: outcome.configuration,
        winner: format!("{}, at {}", line(&lost.winner.id), line(&lost.address)),
        set_aside: outcome.set_aside,
    };
    let text = serde_json::to_vec_pretty(&begun).unwrap_or_default();
    write_whole(&beside_the_certificate(config, BEGUN), &text, PUBLIC)?;
    leave(config, &begun, false)
}

/// Does what is begun, or what is left of it.
fn leave(config: &Config, begun: &Begun, again: bool) -> Result<ToJoin> {
    let certificate = beside_the_certificate(config, CERTIFICATE);
    let configuration = beside_the_certificate(config, CONFIGURATION);
    let mut kept = Vec::new();
    for aside in &begun.set_aside {
        if set_aside(aside, again)? {
            kept.push(line(&aside.becomes).into_owned());
        }
    }
    write_whole(&configuration, begun.configuration.as_bytes(), PUBLIC)?;
    remove_if_there(&beside_the_certificate(config, BEGUN))?;
    let path = configuration.shown();
    let kept = match kept.is_empty() {
        true => String::new(),
        false => format!(" What this node had is kept in {}.", kept.join(" and ")),
    };
    Ok(ToJoin {
        text: format!(
            "another node opens: {}. This one is to join it: run a node with --config {path}, whose service \
             certificate is in {}.{kept}",
            line(&begun.winner),
            certificate.shown()
        ),
        configuration,
    })
}

/// Renames a directory; whether there was one. Where it is done `again`, this or some of it may be done.
fn set_aside(aside: &SetAside, again: bool) -> Result<bool> {
    let (from, to) = (Path::new(&aside.directory), Path::new(&aside.becomes));
    let is_done = again && to.is_dir();
    if !from.is_dir() || is_done && is_empty(from) {
        return Ok(is_done);
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
            empty_into(from, &from.join(to.file_name().unwrap_or_default()), again)?;
            Ok(true)
        }
        Err(why) => Err(why),
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut items| items.next().is_none())
}

/// Moves everything of a directory into a new one in it, or where that is done `again`, into one that may be there.
fn empty_into(directory: &Path, inside: &Path, again: bool) -> Result<()> {
    match std::fs::create_dir(inside) {
        Err(why) if again && why.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.map_err(Error::io("make the directory", inside))?,
    }
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
        assert_eq!(has_lost(&config).unwrap(), None);
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
        let again = has_lost(&config).unwrap().unwrap();
        assert_eq!(again.configuration, to_join.configuration);
        let joins: Value = serde_json::from_slice(&std::fs::read(&to_join.configuration).unwrap()).unwrap();
        assert_eq!(
            has_lost(&self::config(&joins)).unwrap(),
            None,
            "a node that joins never loses"
        );
    }

    #[test]
    fn a_loser_that_is_killed_at_any_moment_of_its_ending_ends_with_its_next_start() {
        for moment in 0..5 {
            let scratch = tempfile::tempdir().unwrap();
            let at = |name: &str| scratch.path().join(name);
            let document = document(scratch.path());
            let config = config(&document);
            for name in ["ledger", "snapshots"] {
                std::fs::create_dir(at(name)).unwrap();
                std::fs::write(at(name).join("file"), name).unwrap();
            }
            let begun = Begun {
                configuration: "{}".to_owned(),
                winner: "n1, at n1.example:443".to_owned(),
                set_aside: ["ledger", "snapshots"]
                    .map(|name| SetAside {
                        directory: at(name).to_str().unwrap().to_owned(),
                        becomes: at(&format!("{name}.kept")).to_str().unwrap().to_owned(),
                    })
                    .into(),
            };
            write_whole(&at(BEGUN), &serde_json::to_vec(&begun).unwrap(), PUBLIC).unwrap();
            for name in ["ledger", "snapshots"].iter().take(moment) {
                std::fs::rename(at(name), at(&format!("{name}.kept"))).unwrap();
            }
            if moment == 3 {
                // Who starts nodes makes their directories.
                std::fs::create_dir(at("ledger")).unwrap();
            }
            if moment == 4 {
                write_whole(&at(CONFIGURATION), b"{}", PUBLIC).unwrap();
            }
            let to_join = has_lost(&config).unwrap().unwrap();
            assert!(
                moment == 4 || to_join.text.contains("ledger.kept and "),
                "{}",
                to_join.text
            );
            for name in ["ledger", "snapshots"] {
                let kept = at(&format!("{name}.kept")).join("file");
                assert_eq!(std::fs::read_to_string(kept).unwrap(), name, "{moment}");
            }
            assert!(at(CONFIGURATION).exists() && !at(BEGUN).exists(), "{moment}");
            // It is still the operator's to decide otherwise.
            std::fs::remove_file(at(CONFIGURATION)).unwrap();
            assert_eq!(has_lost(&config).unwrap(), None);
        }
    }

    #[test]
    fn nothing_is_renamed_over_what_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let aside = |to: &str| SetAside {
            directory: scratch.path().join("ledger").to_str().unwrap().to_owned(),
            becomes: scratch.path().join(to).to_str().unwrap().to_owned(),
        };
        assert!(!set_aside(&aside("a"), false).unwrap(), "there is none");
        std::fs::create_dir(scratch.path().join("ledger")).unwrap();
        std::fs::create_dir(scratch.path().join("a")).unwrap();
        let refused = set_aside(&aside("a"), false).unwrap_err().to_string();
        assert!(refused.contains("is there already"), "{refused}");
        assert!(set_aside(&aside("b"), false).unwrap());
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
        empty_into(scratch.path(), &inside, false).unwrap();
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 2);
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);
        assert!(empty_into(scratch.path(), &inside, false).is_err(), "never twice");
        std::fs::write(scratch.path().join("ledger_20"), "not moved yet").unwrap();
        empty_into(scratch.path(), &inside, true).unwrap();
        assert_eq!(std::fs::read_dir(&inside).unwrap().count(), 3);
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
