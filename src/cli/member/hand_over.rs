//! `rekindle member hand-over`: the node that leads goes, and another one leads; each step is shown.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::nodes::node_id;
use super::{Connection, REFUSED, Signer, failure, request};
use crate::cli::{Common, output, text};
use crate::error::{Error, Result};
use crate::member::{self, Client, Session, governance};

/// How often it is looked how far it is.
const PACE: Duration = Duration::from_millis(150);

/// Retire the node that leads, and wait until another one leads
///
/// Proposes remove_node for the node at --url (or the one given), votes in favour, and shows each step until another node leads the
/// service: a Rekindle node then ends by itself. Where more votes are needed it says so and waits for them. Given again for a node
/// that retires already, it only waits. At least one other node must be trusted.
#[derive(clap::Args)]
pub struct HandOver {
    /// The node that goes: 64 hexadecimal digits [default: the one at --url]
    #[arg(long = "node", value_name = "NODE_ID", value_parser = node_id)]
    id: Option<String>,
    /// Give up after so many seconds: what is decided goes on without this command
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    #[command(flatten)]
    node: Connection,
    #[command(flatten)]
    signer: Signer,
}

/// A node, as the one that is asked knows it.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    status: String,
    address: Option<String>,
    acknowledged: Option<u64>,
}

/// Who is there before anything is decided.
#[derive(Debug)]
struct Survey {
    goes: Known,
    stay: Vec<Known>,
    committed: Option<u64>,
}

impl HandOver {
    pub fn run(&self, common: &Common) -> Result<u8> {
        let (client, member) = (self.node.client()?, self.signer.member()?);
        let Some(survey) = request(survey(&client, self.id.as_deref()))? else {
            return Ok(REFUSED);
        };
        let Some(survey) = survey else {
            output::notice("rekindle: nothing is done: the service has no such node (/node/network/nodes lists all)\n");
            return Ok(REFUSED);
        };
        output::notice(&survey.describe());
        if let Some(why) = survey.unfit() {
            output::notice(&format!("rekindle: nothing is done: {why}\n"));
            return Ok(REFUSED);
        }
        let mut proposal_id = None;
        if survey.goes.status != "Retired" {
            let proposal = json!({"actions": [{"name": "remove_node", "args": {"node_id": survey.goes.id}}]});
            let session = self.signer.session(&client, &member);
            let Some(mut state) = request(session.propose(proposal.to_string().as_bytes()))? else {
                return Ok(REFUSED);
            };
            let id = text_of(&state, "proposalId");
            if text_of(&state, "proposalState") == "Open" {
                let Some(voted) = request(vote_for(&client, &session, &id))? else {
                    return Ok(REFUSED);
                };
                state = voted;
            }
            output::notice(&line(
                "proposal",
                &format!("{} {}", text::clean(&id), state_in_words(&state)),
            ));
            if text_of(&state, "proposalState") == "Open" {
                output::notice(&line(
                    "next",
                    &format!(
                        "it needs more votes: rekindle member vote {} --url ...",
                        text::clean(&id)
                    ),
                ));
            }
            proposal_id = Some(id);
        }
        let waiting = Waiting {
            client: &client,
            others: self.others(&survey)?,
            survey: &survey,
            proposal_id: proposal_id.as_deref(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start", Path::new("the network runtime")))?;
        let ended = runtime.block_on(waiting.wait(Duration::from_secs(self.wait)));
        let Some(leader) = ended else {
            return Ok(REFUSED);
        };
        if common.json {
            output::json(&json!({
                "proposal_id": proposal_id, "retired": survey.goes.id,
                "primary_id": leader.id, "address": leader.address,
            }))?;
        } else {
            let address = leader.address.as_deref().map_or_else(|| "-".to_owned(), text::clean);
            output::text(&line("leads", &format!("{} {address}", text::clean(&leader.id))))?;
        }
        Ok(0)
    }

    /// Those that stay, as whom to ask once the one that goes is gone.
    fn others(&self, survey: &Survey) -> Result<Vec<Client>> {
        let addresses = survey.stay.iter().filter_map(|node| node.address.as_deref());
        addresses
            .map(|address| self.node.client_of(&format!("https://{address}")))
            .collect()
    }
}

/// Votes in favour. Others may have decided before, which is as good.
async fn vote_for(client: &Client, session: &Session<'_>, id: &str) -> std::result::Result<Value, member::Error> {
    match session.vote(id, governance::ACCEPT).await {
        Err(refused @ member::Error::Refused(_)) => match governance::proposal(client, id).await {
            Ok(proposal) if text_of(&proposal, "proposalState") == "Accepted" => Ok(proposal),
            _ => Err(refused),
        },
        outcome => outcome,
    }
}

async fn survey(client: &Client, id: Option<&str>) -> std::result::Result<Option<Survey>, member::Error> {
    let nodes: Value = client.get("/node/network/nodes").await?.success()?.json()?;
    let own = text_of(&governance::node_state(client).await?, "node_id");
    let consensus: Value = client.get("/node/consensus").await?.json().unwrap_or_default();
    let commit: Value = client.get("/node/commit").await?.json().unwrap_or_default();
    let committed = text_of(&commit, "transaction_id");
    let committed = committed.split_once('.').and_then(|(_, seqno)| seqno.parse().ok());
    let mut known: Vec<Known> = nodes
        .get("nodes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|node| {
            let id = text_of(node, "node_id");
            let interfaces = node.get("rpc_interfaces").and_then(Value::as_object);
            let first = interfaces.and_then(|interfaces| interfaces.values().next());
            let address = first.map(|interface| text_of(interface, "published_address"));
            let acks = consensus.get("details").and_then(|details| details.get("acks"));
            Known {
                status: text_of(node, "status"),
                address: address.filter(|address| !address.is_empty()),
                acknowledged: acks.and_then(|acks| acks.get(&id)?.get("seqno")?.as_u64()),
                id,
            }
        })
        .collect();
    let goes = id.map_or(own, str::to_owned);
    let at = known.iter().position(|node| node.id == goes);
    Ok(at.map(|at| Survey {
        goes: known.remove(at),
        stay: known.into_iter().filter(|node| node.status == "Trusted").collect(),
        committed,
    }))
}

impl Survey {
    fn describe(&self) -> String {
        let mut out = line("goes", &self.goes.describe(""));
        for node in &self.stay {
            let has = match (node.acknowledged, self.committed) {
                (Some(has), Some(all)) if has < all => format!(" has {has} of {all}"),
                _ => String::new(),
            };
            out.push_str(&line("stays", &node.describe(&has)));
        }
        out
    }

    fn unfit(&self) -> Option<&'static str> {
        match (self.goes.status.as_str(), self.stay.is_empty()) {
            ("Pending", _) => Some("the node takes no part yet: rekindle member remove-node"),
            (_, true) => Some("no other node is trusted: nobody would be left to lead the service"),
            _ => None,
        }
    }
}

impl Known {
    fn describe(&self, more: &str) -> String {
        let address = self.address.as_deref().map_or_else(|| "-".to_owned(), text::clean);
        format!(
            "{} {address} {}{more}",
            text::clean(&self.id),
            text::clean(&self.status)
        )
    }
}

/// What is waited for, and whom it is learned from.
struct Waiting<'a> {
    client: &'a Client,
    others: Vec<Client>,
    survey: &'a Survey,
    proposal_id: Option<&'a str>,
}

/// What was seen, and is shown once each.
#[derive(Debug, Default)]
struct Seen {
    /// The newest, by what it is about.
    newest: BTreeMap<&'static str, String>,
    lines: usize,
    /// Why nobody could be asked last.
    fails: Option<String>,
}

impl Waiting<'_> {
    /// Waits until another node leads; none where that takes too long or is voted down, which is said. However slowly nodes answer,
    /// and whatever they claim, it takes no longer than `patience`.
    async fn wait(&self, patience: Duration) -> Option<Known> {
        let mut seen = Seen::default();
        let waited = tokio::time::timeout(patience, self.until_another_leads(&mut seen)).await;
        waited.unwrap_or_else(|_| {
            output::notice(&format!(
                "rekindle: no other node leads after {} s. {}. What is decided goes on without this command. Ask the nodes that stay, \
                 each at its own address, who leads (/node/network) and whose answer is missing (/node/state). Where they have \
                 another leader, the node that goes can be ended; where they have none, let run whoever is missing, and give this \
                 command again\n",
                patience.as_secs(),
                seen.in_words()
            ));
            None
        })
    }

    async fn until_another_leads(&self, seen: &mut Seen) -> Option<Known> {
        loop {
            if let Some(id) = self.proposal_id.filter(|_| !seen.newest.contains_key("retirement"))
                && let Ok(proposal) = governance::proposal(self.client, id).await
            {
                let state = text_of(&proposal, "proposalState");
                if matches!(state.as_str(), "Rejected" | "Withdrawn" | "Dropped" | "Failed") {
                    output::notice(&format!(
                        "rekindle: the proposal is {}: the node stays\n",
                        text::clean(&state)
                    ));
                    return None;
                }
                if state != "Open" {
                    seen.show("decided", &state);
                }
            }
            if let Some(leader) = self.look(seen).await {
                return Some(leader);
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Shows what is new; the node that leads, once it is another one and the one that goes has gone through all of it. All are
    /// asked: the one that goes may be gone already, or not say what the others know.
    async fn look(&self, seen: &mut Seen) -> Option<Known> {
        let mut fails = None;
        let mut is_answered = false;
        for client in std::iter::once(self.client).chain(&self.others) {
            match self.ask(client, seen).await {
                Ok(Some(leader)) => return Some(leader),
                Ok(None) => is_answered = true,
                Err(why) => fails = Some(failure(why).to_string()),
            }
        }
        seen.fails = fails.filter(|_| !is_answered);
        None
    }

    async fn ask(&self, client: &Client, seen: &mut Seen) -> std::result::Result<Option<Known>, member::Error> {
        let consensus: Value = client.get("/node/consensus").await?.success()?.json()?;
        let details = consensus.get("details").cloned().unwrap_or_default();
        if let Some(phase) = details.get("retirement_phase").and_then(Value::as_str) {
            let words = match phase {
                "Ordered" => "written",
                "Signed" => "signed",
                "Completed" => "committed",
                "RetiredCommitted" => "committed, and every node knows",
                other => other,
            };
            seen.show("retirement", words);
        }
        let primary = text_of(&details, "primary_id");
        let leader = self.survey.stay.iter().find(|node| node.id == primary);
        let status = governance::node(client, &self.survey.goes.id).await;
        let is_retired = match status {
            Ok(node) => text_of(&node, "status") == "Retired",
            // Whoever leads now may have forgotten it.
            Err(_) => leader.is_some(),
        };
        Ok(leader.filter(|_| is_retired).cloned())
    }
}

/// More lines are not shown: a node that retires goes through a handful of steps.
const MAX_LINES: usize = 16;

impl Seen {
    /// Shows something that was not seen before.
    fn show(&mut self, what: &'static str, value: &str) {
        let before = self.newest.insert(what, value.to_owned());
        if before.as_deref() != Some(value) && self.lines < MAX_LINES {
            self.lines += 1;
            output::notice(&line(what, &text::clean(value)));
        }
    }

    /// What was seen last.
    fn in_words(&self) -> String {
        let newest = |what| self.newest.get(what).map(|value| text::clean(value));
        let mut words = match (newest("retirement"), newest("decided")) {
            (Some(phase), _) => format!("Seen last: the retirement is {phase}"),
            (None, Some(state)) => format!("Seen last: the proposal is {state}"),
            (None, None) => "Members have not decided yet".to_owned(),
        };
        if let Some(why) = &self.fails {
            words.push_str(&format!("; nobody could be asked last: {why}"));
        }
        words
    }
}

fn line(what: &str, value: &str) -> String {
    format!("{what:<12} {value}\n")
}

fn text_of(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn state_in_words(state: &Value) -> String {
    text::clean(&text_of(state, "proposalState"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, status: &str, acknowledged: Option<u64>) -> Known {
        Known {
            id: id.to_owned(),
            status: status.to_owned(),
            address: Some("10.0.0.1:80".to_owned()),
            acknowledged,
        }
    }

    #[test]
    fn who_goes_and_who_stays_is_shown_and_how_far_they_are() {
        let survey = Survey {
            goes: known("ab", "Trusted", None),
            stay: vec![known("cd", "Trusted", Some(7)), known("ef", "Trusted", Some(9))],
            committed: Some(9),
        };
        assert_eq!(
            survey.describe(),
            "goes         ab 10.0.0.1:80 Trusted\nstays        cd 10.0.0.1:80 Trusted has 7 of 9\n\
             stays        ef 10.0.0.1:80 Trusted\n"
        );
        assert_eq!(survey.unfit(), None);
    }

    #[test]
    fn nobody_is_handed_over_to_nobody() {
        let alone = |status| Survey {
            goes: known("ab", status, None),
            stay: Vec::new(),
            committed: None,
        };
        assert!(alone("Trusted").unfit().unwrap().contains("nobody would be left"));
        assert!(alone("Pending").unfit().unwrap().contains("takes no part"));
    }

    #[test]
    fn a_step_is_shown_once_and_a_node_that_makes_up_steps_fills_no_terminal() {
        let mut seen = Seen::default();
        assert_eq!(seen.in_words(), "Members have not decided yet");
        seen.show("decided", "Accepted");
        assert_eq!(seen.in_words(), "Seen last: the proposal is Accepted");
        for phase in ["written", "written", "signed"] {
            seen.show("retirement", phase);
        }
        assert_eq!(seen.lines, 3);
        seen.fails = Some("no route".to_owned());
        assert_eq!(
            seen.in_words(),
            "Seen last: the retirement is signed; nobody could be asked last: no route"
        );
        for step in 0..1000 {
            seen.show("retirement", &step.to_string());
        }
        assert_eq!((seen.lines, seen.newest["retirement"].as_str()), (MAX_LINES, "999"));
    }
}
