//! The commands that sign one thing: propose, vote, withdraw, ack, submit-share, sign.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Connection, REFUSED, Signer, content, proposals, request};
use crate::cli::{Common, input, output, text};
use crate::crypto::rsa::DecryptionKey;
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, Target, is_stdout, target, write_whole};
use crate::member::{MessageType, governance};
use crate::shown::Show;

/// Make a proposal
#[derive(clap::Args)]
pub struct Propose {
    /// {"actions": [...]} in JSON, or - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl Propose {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let body = content(&self.file)?;
        let (client, member) = (self.node.client()?, self.signer.member()?);
        let session = self.signer.session(&client, &member);
        proposals::show_state(request(session.propose(&body))?, common)
    }
}

/// Vote on a proposal: for it, unless something else is said
#[derive(clap::Args)]
pub struct Vote {
    /// The proposal
    #[arg(value_name = "ID")]
    id: String,
    /// Vote against it
    #[arg(long, conflicts_with = "ballot")]
    reject: bool,
    /// Vote with this module, which exports `vote (rawProposal, proposerId)`; or JSON {"ballot": "..."}
    #[arg(long, value_name = "FILE")]
    ballot: Option<PathBuf>,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl Vote {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let ballot = match &self.ballot {
            Some(path) => ballot_of(input::read_text(path)?),
            None if self.reject => governance::REJECT.to_owned(),
            None => governance::ACCEPT.to_owned(),
        };
        let (client, member) = (self.node.client()?, self.signer.member()?);
        let session = self.signer.session(&client, &member);
        proposals::show_state(request(session.vote(&self.id, &ballot))?, common)
    }
}

/// The script itself, also out of the JSON that is sent to a service.
fn ballot_of(text: String) -> String {
    let parsed: Option<Value> = serde_json::from_str(&text).ok();
    let inner = parsed.as_ref().and_then(|json| json.get("ballot")?.as_str());
    inner.map_or_else(|| text.clone(), str::to_owned)
}

/// Withdraw a proposal of one's own
#[derive(clap::Args)]
pub struct Withdraw {
    /// The proposal
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl Withdraw {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let (client, member) = (self.node.client()?, self.signer.member()?);
        let session = self.signer.session(&client, &member);
        match request(session.withdraw(&self.id))? {
            Some(None) => {
                output::notice(&format!(
                    "rekindle: the service knows no proposal {}\n",
                    text::clean(&self.id)
                ));
                Ok(REFUSED)
            }
            Some(state) => proposals::show_state(state, common),
            None => Ok(REFUSED),
        }
    }
}

/// Acknowledge the service's state: fetch the newest digest and sign it
///
/// This is how a new member becomes active, and how a member says that it has looked.
#[derive(clap::Args)]
pub struct Ack {
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl Ack {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let (client, member) = (self.node.client()?, self.signer.member()?);
        let session = self.signer.session(&client, &member);
        let Some(digest) = request(session.acknowledge())? else {
            return Ok(REFUSED);
        };
        match common.json {
            true => output::json(&json!({"memberId": member.id(), "stateDigest": digest}))?,
            false => output::text(&format!(
                "acknowledged {}\nby           {}\n",
                text::clean(&digest),
                member.id()
            ))?,
        }
        Ok(0)
    }
}

/// Submit this member's recovery share: fetch it, decrypt it, send it
#[derive(clap::Args)]
pub struct SubmitShare {
    /// The member's private share-encryption key, PEM, such as member0_enc_privk.pem
    #[arg(long, value_name = "PEM")]
    encryption_key: PathBuf,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

impl SubmitShare {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let pem = Zeroizing::new(input::read_text(&self.encryption_key)?);
        let key = DecryptionKey::from_pem(&pem).map_err(|why| {
            Error::Usage(format!(
                "{} is not a member's share-encryption key: {why}",
                self.encryption_key.shown()
            ))
        })?;
        let (client, member) = (self.node.client()?, self.signer.member()?);
        if self.node.insecure {
            output::notice(&format!(
                "rekindle: --insecure: the share is sent to whoever answers at {}\n",
                text::clean(&self.node.url)
            ));
        }
        let session = self.signer.session(&client, &member);
        let Some(progress) = request(session.submit_share(&key))? else {
            return Ok(REFUSED);
        };
        match common.json {
            true => output::json(&progress)?,
            false => {
                let message = progress.get("message").and_then(Value::as_str).unwrap_or("submitted");
                let lines: String = message.lines().enumerate().map(said).collect();
                output::text(&lines)?;
            }
        }
        Ok(0)
    }
}

/// A line of what the service says: its first, CCF's second, or one further in, which can't look like anything else.
fn said((number, line): (usize, &str)) -> String {
    let indent = match (number, line) {
        (0, _) | (_, "End of recovery procedure initiated") => "",
        _ => "    ",
    };
    format!("{indent}{}\n", text::clean(line))
}

/// Sign a request without sending it: COSE_Sign1 on stdout
#[derive(clap::Args)]
pub struct Sign {
    /// What the request is for
    #[arg(long = "type", value_name = "TYPE", value_parser = PossibleValuesParser::new(MessageType::ALL.map(MessageType::as_str)))]
    message_type: String,
    /// The proposal that a ballot or a withdrawal is about
    #[arg(long, value_name = "ID")]
    proposal_id: Option<String>,
    /// What is signed, or - for stdin
    #[arg(long, value_name = "FILE")]
    content: PathBuf,
    /// Write here instead; not overwritten if it exists
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    signer: Signer,
}

impl Sign {
    pub fn run(&self) -> Result<u8> {
        let message_type = MessageType::ALL
            .into_iter()
            .find(|known| known.as_str() == self.message_type)
            .ok_or_else(|| Error::Usage(format!("unknown type {}", self.message_type)))?;
        let proposal_id = match (&self.proposal_id, message_type.names_proposal()) {
            (Some(id), true) => Some(governance::checked_id(id).map_err(super::failure)?),
            (None, false) => None,
            (None, true) => {
                return Err(Error::Usage(format!(
                    "a {} is about a proposal: give --proposal-id",
                    self.message_type
                )));
            }
            (Some(_), false) => {
                return Err(Error::Usage(format!(
                    "a {} is not about a proposal: leave --proposal-id out",
                    self.message_type
                )));
            }
        };
        let member = self.signer.member()?;
        let content = Zeroizing::new(content(&self.content)?);
        let created_at_s = self.signer.created_at.unwrap_or_else(governance::now_s);
        let signed = member
            .sign(message_type, created_at_s, proposal_id.as_deref(), &content)
            .map_err(super::failure)?;
        match &self.out {
            None => output::bytes(&signed)?,
            Some(path) if is_stdout(path) => output::bytes(&signed)?,
            Some(path) if target(path)? == Target::Stream => write_whole(path, &signed, PRIVATE)?,
            Some(path) => {
                // What is signed may be a share.
                let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
                file.and_then(|mut file| file.write_all(&signed))
                    .map_err(Error::io("write", path))?;
            }
        }
        Ok(0)
    }
}
