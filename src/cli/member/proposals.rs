//! `rekindle member proposals`: the list, or one with its actions and ballots.

use serde_json::{Value, json};

use super::{Connection, REFUSED, open, request};
use crate::cli::{Common, output, text};
use crate::crypto::Certificate;
use crate::error::Result;
use crate::member::{Client, Error, governance};

/// List the proposals, or show one with its actions and ballots
#[derive(clap::Args)]
pub struct Args {
    /// Show this one
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    node: Connection,
}

pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let client = args.node.client()?;
    match &args.id {
        None => {
            let Some(proposals) = request(governance::proposals(&client))? else {
                return Ok(REFUSED);
            };
            match common.json {
                true => output::json(&json!({"value": proposals}))?,
                false => output::text(&list(&proposals))?,
            }
        }
        Some(id) => {
            let Some(proposal) = request(whole(&client, id))? else {
                return Ok(REFUSED);
            };
            match common.json {
                true => output::json(&proposal)?,
                false => output::text(&one(&proposal))?,
            }
        }
    }
    Ok(0)
}

/// A proposal with `actions`, and `ballots` by member.
async fn whole(client: &Client, id: &str) -> std::result::Result<Value, Error> {
    let mut proposal = governance::proposal(client, id).await?;
    let actions = governance::actions(client, id).await?;
    let mut ballots = serde_json::Map::new();
    for member in governance::members(client).await? {
        if let Some(member) = member.get("memberId").and_then(Value::as_str)
            && let Some(ballot) = governance::ballot(client, id, member).await?
        {
            ballots.insert(member.to_owned(), ballot.into());
        }
    }
    if let Some(fields) = proposal.as_object_mut() {
        fields.insert("actions".to_owned(), actions.get("actions").cloned().unwrap_or(actions));
        fields.insert("ballots".to_owned(), ballots.into());
    }
    Ok(proposal)
}

/// Says what became of a proposal that something was done with.
pub fn show_state(state: Option<Value>, common: &Common) -> Result<u8> {
    let Some(state) = state else {
        return Ok(REFUSED);
    };
    match common.json {
        true => output::json(&state)?,
        false => output::text(&format!("{}{}", head(&state), next(&state)))?,
    }
    Ok(0)
}

/// How it goes on, for whoever sends the others their part.
fn next(proposal: &Value) -> String {
    match proposal.get("proposalState").and_then(Value::as_str) {
        Some("Open") => format!(
            "next         it needs more votes: rekindle member vote {} --url ...\n",
            field(proposal, "proposalId")
        ),
        _ => String::new(),
    }
}

fn list(proposals: &[Value]) -> String {
    if proposals.is_empty() {
        return "no proposals\n".to_owned();
    }
    let headings = [
        ("proposal", text::Align::Left),
        ("state", text::Align::Left),
        ("ballots", text::Align::Right),
        ("proposer", text::Align::Left),
    ];
    let row = |proposal: &Value| {
        let names = ["proposalId", "proposalState", "ballotCount", "proposerId"];
        names.iter().map(|name| field(proposal, name)).collect()
    };
    let rows: Vec<Vec<String>> = proposals.iter().map(row).collect();
    text::columns(&headings, &rows)
}

fn head(proposal: &Value) -> String {
    let mut out = format!(
        "proposal     {}\nstate        {}\n",
        field(proposal, "proposalId"),
        field(proposal, "proposalState")
    );
    let failure = proposal.get("failure").and_then(|failure| failure.get("reason"));
    if let Some(reason) = failure {
        out.push_str(&format!("failure      {}\n", plain(reason)));
    }
    for (member, failure) in members(proposal, "voteFailures") {
        let reason = failure.get("reason").map_or_else(String::new, plain);
        out.push_str(&format!("vote failed  {} {reason}\n", text::clean(member)));
    }
    out
}

fn one(proposal: &Value) -> String {
    let mut out = head(proposal);
    out.push_str(&format!("proposer     {}\n", field(proposal, "proposerId")));
    let actions = proposal.get("actions").and_then(Value::as_array);
    for action in actions.into_iter().flatten() {
        out.push_str(&format!("action       {}\n", field(action, "name")));
        for (name, value) in action.get("args").and_then(Value::as_object).into_iter().flatten() {
            out.push_str(&format!("    {}:", text::clean(name)));
            if let Some(words) = value.as_str().and_then(certificate) {
                out.push_str(&words);
                out.push_str(&format!("    {} in full:", text::clean(name)));
            }
            // Whole, however long it is: it is what a member votes on.
            text::Values { full: true }.append(&mut out, value, 6);
        }
    }
    let votes = proposal.get("finalVotes");
    for (member, ballot) in members(proposal, "ballots") {
        let vote = votes.and_then(|votes| votes.get(member)).and_then(Value::as_bool);
        let vote = match vote {
            Some(true) => "for",
            Some(false) => "against",
            None => "not counted yet",
        };
        out.push_str(&format!("ballot       {} {vote}:", text::clean(member)));
        text::Values { full: true }.append(&mut out, ballot, 4);
    }
    out
}

/// What a person compares of a certificate: nobody compares PEM. None for anything but a single certificate.
fn certificate(pem: &str) -> Option<String> {
    if pem.matches("-----BEGIN").count() != 1 {
        return None;
    }
    let [subject, sha256, words, valid] = open::in_words(&Certificate::from_pem(pem).ok()?);
    Some(format!(" {subject}\n      {sha256}\n      {words}\n      {valid}\n"))
}

fn members<'a>(proposal: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    proposal.get(name).and_then(Value::as_object).into_iter().flatten()
}

fn field(value: &Value, name: &str) -> String {
    value.get(name).map_or_else(|| "-".to_owned(), plain)
}

/// A value on one line, strings without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(string) => text::clean(string),
        other => text::clean(&other.to_string()),
    }
}
