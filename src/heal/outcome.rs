//! What becomes of a node that lost: a configuration with which it joins, the service that it is to trust, and names under
//! which what it had is kept. Recovery specification, section 7.5.
//!
//! A node that joins must not find what it wrote as a service of its own: neither the ledger, which parts from the winner's
//! at the last signature that both have, nor a snapshot of it. Both directories are renamed, none is removed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::claim::Claim;
use crate::crypto::Certificate;
use crate::shown::excerpt;

/// What a loser knows.
#[derive(Clone, Copy, Debug)]
pub struct Losing<'a> {
    /// Its own configuration, of either generation, as it was read.
    pub configuration: &'a Value,
    /// Where the winner is reached, `host:port`.
    pub winner_address: &'a str,
    /// Certificate of the winner's service, PEM.
    pub winner_service: &'a str,
    /// Where that certificate will be, as the configuration shall name it.
    pub certificate_file: &'a str,
    /// What its own ledger had.
    pub claim: Claim,
    /// Certificate of the service that it began itself, PEM: it was never opened.
    pub own_service: &'a str,
}

/// What is to be written and renamed before a node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The configuration of a node that joins, JSON.
    pub configuration: String,
    /// What goes into the certificate file, PEM.
    pub certificate: String,
    /// Directories to be renamed, and how; where one is not there, there is nothing to do.
    pub set_aside: Vec<SetAside>,
}

/// A directory that is kept under another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// As it is configured.
    pub directory: String,
    /// Its name from now on, in the same place.
    pub becomes: String,
}

/// CCF's defaults.
const LEDGER: &str = "ledger";
const SNAPSHOTS: &str = "snapshots";

impl Outcome {
    /// What is to be written for a node that lost.
    ///
    /// # Errors
    /// In words: the configuration is none of a recovery, or a certificate can't be read.
    pub fn of(losing: &Losing<'_>) -> Result<Outcome, String> {
        let read = |whose: &str, pem: &str| {
            Certificate::from_pem(pem).map_err(|why| {
                format!(
                    "the certificate of {whose} service can't be read: {}",
                    excerpt(&why.to_string())
                )
            })
        };
        let winner = read("the winner's", losing.winner_service)?;
        let own = read("this node's own", losing.own_service)?;
        let configuration = join_configuration(losing)?;
        let directory = |section: &str, default: &str| {
            let found = losing.configuration.pointer(&format!("/{section}/directory"));
            found.and_then(Value::as_str).unwrap_or(default).to_owned()
        };
        let aside = |directory: String| SetAside {
            becomes: set_aside_name(&directory, losing.claim, &own),
            directory,
        };
        Ok(Outcome {
            configuration: format!("{configuration:#}\n"),
            certificate: winner.to_pem(),
            set_aside: vec![
                aside(directory("ledger", LEDGER)),
                aside(directory("snapshots", SNAPSHOTS)),
            ],
        })
    }
}

/// The configuration of a node that joins the winner, and is otherwise as the one that lost.
///
/// # Errors
/// In words, where that one is not of a recovery.
pub fn join_configuration(losing: &Losing<'_>) -> Result<Value, String> {
    let mut configuration = losing.configuration.clone();
    let whole = configuration
        .as_object_mut()
        .ok_or("the configuration is not an object")?;
    let command = whole.get("command").and_then(Value::as_object);
    let kind = command.and_then(|command| command.get("type")).and_then(Value::as_str);
    if kind != Some("Recover") {
        let found = kind.map_or("nothing".to_owned(), excerpt);
        return Err(format!(
            "command.type is {found}; only a node that recovers can lose to another, expected Recover"
        ));
    }
    // A file that recovers may say beside it how to join: all of that counts but whom.
    let mut join = match command.and_then(|command| command.get("join")) {
        Some(Value::Object(join)) => join.clone(),
        _ => Map::new(),
    };
    join.insert("target_rpc_address".to_owned(), losing.winner_address.into());
    let command = json!({
        "type": "Join",
        "service_certificate_file": losing.certificate_file,
        "join": join,
    });
    whole.insert("command".to_owned(), command);
    // Where it seals stays; that nodes decide among themselves is over.
    let is_empty = match whole.get_mut("sealing_recovery").and_then(Value::as_object_mut) {
        Some(sealing) => {
            sealing.remove("recovery_decision_protocol");
            sealing.is_empty()
        }
        None => false,
    };
    if is_empty {
        whole.remove("sealing_recovery");
    }
    Ok(configuration)
}

/// `ledger.not-chosen.2.578.1a2b3c4d`: what was not chosen, up to which signature it was claimed, and of which service that
/// was never opened (the beginning of its key's digest), so that no two attempts give the same name.
fn set_aside_name(directory: &str, claim: Claim, own_service: &Certificate) -> String {
    let trimmed = directory.trim_end_matches('/');
    let up_to = match claim.view {
        Some(view) => format!("{view}.{}", claim.seqno),
        None => claim.seqno.to_string(),
    };
    let mut id = hex::encode(own_service.key_id());
    id.truncate(8);
    format!("{trimmed}.not-chosen.{up_to}.{id}")
}
