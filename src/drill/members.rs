//! What members do in a rehearsal: their keys, their votes and their shares.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::clock::Clock;
use super::node::NodeProcess;
use super::watch::{PATIENCE, pause};
use crate::crypto::rsa::DecryptionKey;
use crate::error::{Error, Result};
use crate::member::{Client, Member, Session, governance};
use crate::shown::Show;

/// A member with keys.
pub(super) struct Keys {
    pub(super) name: String,
    pub(super) member: Member,
    pub(super) encryption: Option<DecryptionKey>,
}

/// Reads `NAME_cert.pem`, `NAME_privk.pem` and, where it is there, `NAME_enc_privk.pem` of everybody in a directory who
/// signs proposals: users' and nodes' files are not of that kind.
pub(super) fn read_members(directory: &Path) -> Result<Vec<Keys>> {
    let mut found = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map_err(Error::io("list directory", directory))?
        .flatten()
        .filter_map(|item| item.file_name().to_str()?.strip_suffix("_cert.pem").map(str::to_owned))
        .filter(|name| name.starts_with("member"))
        .collect();
    names.sort();
    for name in names {
        let read = |suffix: &str| {
            let path = directory.join(format!("{name}_{suffix}.pem"));
            std::fs::read_to_string(&path)
                .map(zeroize::Zeroizing::new)
                .map_err(Error::io("read", &path))
        };
        let member = Member::from_pem(&read("cert")?, &read("privk")?)
            .map_err(|why| Error::Usage(format!("{name} in {}: {why}", directory.shown())))?;
        let encryption = match read("enc_privk") {
            Ok(pem) => Some(
                DecryptionKey::from_pem(&pem)
                    .map_err(|why| Error::Usage(format!("{name}_enc_privk.pem in {}: {why}", directory.shown())))?,
            ),
            Err(_) => None,
        };
        found.push(Keys {
            name,
            member,
            encryption,
        });
    }
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "no members in {}: expected memberN_cert.pem, memberN_privk.pem and memberN_enc_privk.pem",
            directory.shown()
        )));
    }
    Ok(found)
}

/// Proposes to open the service, and votes until that is accepted.
pub(super) async fn accept(
    client: &Client,
    node: &mut NodeProcess,
    members: &[Keys],
    clock: &mut Clock<'_>,
) -> Result<()> {
    wait_for_members(client, node).await?;
    let refused = |node: &NodeProcess, who: &str, why: crate::member::Error| node.failed(&format!("{who}: {why}"));
    let network = governance::network(client)
        .await
        .map_err(|why| refused(node, "the service", why))?;
    let previous = governance::previous_identity(client).await;
    let previous = previous.map_err(|why| refused(node, "the previous identity", why))?;
    let mut arguments = json!({"next_service_identity": network.service_certificate});
    if let (Some(previous), Some(fields)) = (previous, arguments.as_object_mut()) {
        fields.insert("previous_service_identity".to_owned(), previous.into());
    }
    let opens = Motion {
        action: "transition_service_to_open",
        arguments,
        what: "to open the service",
    };
    pass(client, node, members, &opens, clock).await
}

/// Waits until members are served.
pub(super) async fn wait_for_members(client: &Client, node: &mut NodeProcess) -> Result<()> {
    let began = Instant::now();
    while !client
        .get("/node/ready/gov")
        .await
        .is_ok_and(|answer| answer.status.is_success())
    {
        node.check()?;
        if began.elapsed() > PATIENCE {
            return Err(node.failed("members are not served"));
        }
        pause(began).await;
    }
    Ok(())
}

/// What is proposed.
pub(super) struct Motion {
    pub(super) action: &'static str,
    pub(super) arguments: Value,
    /// In words: "to ...".
    pub(super) what: &'static str,
}

/// Proposes something, and votes until that is accepted.
pub(super) async fn pass(
    client: &Client,
    node: &NodeProcess,
    members: &[Keys],
    motion: &Motion,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let refused = |who: &str, why: crate::member::Error| node.failed(&format!("{who}: {why}"));
    let active = active_members(client)
        .await
        .map_err(|why| refused("the members", why))?;
    let mut voters = members
        .iter()
        .filter(|keys| active.contains(&keys.member.id().to_owned()));
    let Some(first) = voters.clone().next() else {
        return Err(Error::Usage(
            "none of the members whose keys were given is an active member of this service".to_owned(),
        ));
    };
    let text = json!({"actions": [{"name": motion.action, "args": motion.arguments}]}).to_string();
    let session = Session::new(client, &first.member);
    let mut proposal = session
        .propose(text.as_bytes())
        .await
        .map_err(|why| refused(&first.name, why))?;
    clock.step(format!("{} proposed {}", first.name, motion.what), None);
    loop {
        let text = |name: &str| proposal.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        if text("proposalState") == "Accepted" {
            clock.step("the proposal is accepted".to_owned(), None);
            return Ok(());
        }
        let Some(keys) = voters.next() else {
            return Err(Error::Usage(format!(
                "the proposal is {} after every member whose keys were given has voted: more members are needed",
                text("proposalState")
            )));
        };
        let id = text("proposalId");
        proposal = Session::new(client, &keys.member)
            .vote(&id, governance::ACCEPT)
            .await
            .map_err(|why| refused(&keys.name, why))?;
        clock.step(format!("{} voted for it", keys.name), None);
    }
}

async fn active_members(client: &Client) -> std::result::Result<Vec<String>, crate::member::Error> {
    let members = governance::members(client).await?;
    let active = members
        .iter()
        .filter(|member| member.get("status").and_then(Value::as_str) == Some("Active"));
    Ok(active
        .filter_map(|member| member.get("memberId")?.as_str().map(str::to_owned))
        .collect())
}

/// Submits shares until there are enough.
pub(super) async fn submit(client: &Client, members: &[Keys], node: &NodeProcess, clock: &mut Clock<'_>) -> Result<()> {
    let mut why_not = Vec::new();
    for keys in members {
        match submit_share(client, keys, clock).await {
            Some(Ok(true)) => return Ok(()),
            Some(Err(why)) => why_not.push(format!("{}: {why}", keys.name)),
            Some(Ok(false)) | None => {}
        }
    }
    Err(node.failed(&format!(
        "the shares of the members whose keys were given are not enough to open the ledger ({})",
        why_not.join("; ")
    )))
}

/// Submits the share of the first member who has one.
pub(super) async fn submit_one(
    client: &Client,
    members: &[Keys],
    node: &NodeProcess,
    clock: &mut Clock<'_>,
) -> Result<()> {
    for keys in members {
        if let Some(submitted) = submit_share(client, keys, clock).await {
            let failed = |why: crate::member::Error| node.failed(&format!("{}: {why}", keys.name));
            return submitted.map(drop).map_err(failed);
        }
    }
    Err(Error::Usage(
        "none of the members whose keys were given has a share".to_owned(),
    ))
}

/// Whether a member's share was the last that is needed; nothing for a member without one.
async fn submit_share(
    client: &Client,
    keys: &Keys,
    clock: &mut Clock<'_>,
) -> Option<std::result::Result<bool, crate::member::Error>> {
    let encryption = keys.encryption.as_ref()?;
    let answer = match Session::new(client, &keys.member).submit_share(encryption).await {
        Ok(answer) => answer,
        Err(why) => return Some(Err(why)),
    };
    let message = answer.get("message").and_then(Value::as_str).unwrap_or("").to_owned();
    let first_line = message.lines().next().unwrap_or("").to_owned();
    clock.step(format!("{}: {first_line}", keys.name), None);
    Some(Ok(message.contains("End of recovery procedure initiated")))
}
