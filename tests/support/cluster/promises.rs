//! What a cluster has promised: every transaction that any of its nodes has called committed, and members who make more of
//! them all the time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use rekindle::member::{MessageType, governance};
use serde_json::{Value, json};

use super::process::{PACE, client, committed, get, transaction};
use crate::node::Keys;

/// What was promised, and when.
#[derive(Default)]
pub struct Promises {
    /// The view of every seqno that was called committed, and the node that said so first.
    pub committed: BTreeMap<u64, (u64, usize)>,
    /// What members were told is committed.
    pub acts: Vec<Act>,
    /// Every time at which a node said that it has committed more than before.
    pub advances: Vec<(Instant, usize, (u64, u64))>,
    /// Promises that contradict each other.
    pub broken: Vec<String>,
}

/// A proposal that was accepted, and is committed.
pub struct Act {
    pub proposal: String,
    pub transaction: (u64, u64),
    pub began: Instant,
    pub committed: Instant,
    /// What its receipt says of the transaction, where a node was asked for it.
    pub leaf: Option<Value>,
}

impl Promises {
    fn promise(&mut self, (view, seqno): (u64, u64), node: usize) {
        let (known, by) = *self.committed.entry(seqno).or_insert((view, node));
        if known != view {
            self.broken.push(format!(
                "node {by} called {known}.{seqno} committed, node {node} {view}.{seqno}"
            ));
        }
    }
}

/// Asks a node again and again what it has committed.
pub fn watch(number: usize, url: String, promises: Arc<Mutex<Promises>>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut last = (0, 0);
        loop {
            if let Some(now) = committed(&url).await.filter(|now| now.1 > 0) {
                let mut promises = promises.lock().unwrap();
                if now.1 < last.1 {
                    let why = format!("node {number} called {last:?} committed, and later only {now:?}");
                    promises.broken.push(why);
                }
                if now != last {
                    promises.promise(now, number);
                    promises.advances.push((Instant::now(), number, now));
                    last = now;
                }
            }
            tokio::time::sleep(2 * PACE).await;
        }
    })
}

/// What members may ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing.
    Quiet,
    /// What a service that is not open may be asked.
    Careful,
    /// Everything.
    Busy,
}

/// Members, and the nodes that they know.
pub struct Members {
    pub keys: Vec<Keys>,
    pub nodes: Mutex<Vec<String>>,
    pub mood: Mutex<Mood>,
    pub promises: Arc<Mutex<Promises>>,
    counter: AtomicU64,
}

impl Members {
    pub fn new(keys: Vec<Keys>, promises: Arc<Mutex<Promises>>) -> Members {
        Members {
            keys,
            nodes: Mutex::default(),
            mood: Mutex::new(Mood::Quiet),
            promises,
            counter: AtomicU64::new(0),
        }
    }

    fn any_node(&self, number: u64) -> Option<String> {
        let nodes = self.nodes.lock().unwrap();
        nodes
            .get(usize::try_from(number).unwrap() % nodes.len().max(1))
            .cloned()
    }

    /// Proposes and votes, each time at another node, until something is committed; then again.
    pub async fn live(self: Arc<Members>) {
        loop {
            let number = self.counter.fetch_add(1, Ordering::Relaxed);
            let mood = *self.mood.lock().unwrap();
            if mood != Mood::Quiet {
                let _ = self.act_once(number, mood).await;
            }
            tokio::time::sleep(2 * PACE).await;
        }
    }

    async fn act_once(&self, number: u64, mood: Mood) -> Option<()> {
        let member = self.keys[0].member.id();
        let data = json!({"name": "set_member_data", "args": {"member_id": member, "member_data": number}});
        let action = match (mood, number % 8) {
            (Mood::Busy, 1) => json!({"name": "trigger_ledger_rekey"}),
            (Mood::Busy, 3) => json!({"name": "trigger_ledger_chunk"}),
            (Mood::Busy, 5) => json!({"name": "trigger_snapshot"}),
            (Mood::Busy, 7) => json!({"name": "trigger_recovery_shares_refresh"}),
            _ => data,
        };
        let began = Instant::now();
        let node = self.any_node(number)?;
        let (proposal, transaction) = self.pass(&[node], &action, number).await.ok()?;
        let path = format!("/node/tx?transaction_id={}.{}", transaction.0, transaction.1);
        while began.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(PACE).await;
            let Some(node) = self.any_node(number + 1) else {
                continue;
            };
            let status = get(&node, &path).await.map(|answer| answer["status"].clone());
            match status.as_ref().and_then(Value::as_str) {
                Some("Committed") => {
                    let now = Instant::now();
                    let leaf = match number % 4 {
                        0 => receipt(&node, transaction).await,
                        _ => None,
                    };
                    let mut promises = self.promises.lock().unwrap();
                    promises.promise(transaction, usize::MAX);
                    promises.acts.push(Act {
                        proposal,
                        transaction,
                        began,
                        committed: now,
                        leaf,
                    });
                    return Some(());
                }
                Some("Invalid") => return None,
                _ => {}
            }
        }
        None
    }

    /// Proposes something and votes until that is accepted, at these nodes in turn; answers the proposal, and the transaction
    /// in which it was accepted.
    pub async fn pass(&self, nodes: &[String], action: &Value, salt: u64) -> Result<(String, (u64, u64)), String> {
        let node = |turn: usize| &nodes[turn % nodes.len()];
        // Never the same twice: that would be a replay.
        let unique = format!("{salt} {:?}", Instant::now());
        let body = json!({"actions": [action], "of": unique}).to_string();
        let path = "/gov/members/proposals:create";
        let mut answer = post(
            node(0),
            path,
            &self.keys[0],
            MessageType::Proposal,
            None,
            body.as_bytes(),
        )
        .await?;
        let id = answer.0["proposalId"].as_str().unwrap_or_default().to_owned();
        for (turn, voter) in self.keys.iter().enumerate() {
            if answer.0["proposalState"] != "Open" {
                break;
            }
            let path = format!("/gov/members/proposals/{id}/ballots/{}:submit", voter.member.id());
            let body = json!({"ballot": governance::ACCEPT}).to_string();
            // Who is not active may not vote, and need not.
            let voted = post(
                node(turn),
                &path,
                voter,
                MessageType::Ballot,
                Some(&id),
                body.as_bytes(),
            )
            .await;
            answer = match voted {
                Ok(answer) => answer,
                Err(why) if why.contains("active") || why.contains("Active") => continue,
                Err(why) => return Err(why),
            };
        }
        match answer.0["proposalState"] == "Accepted" {
            true => Ok((id, answer.1)),
            false => Err(format!("not accepted: {}", answer.0)),
        }
    }
}

/// What the receipt of a transaction says of its contents.
pub async fn receipt(url: &str, (view, seqno): (u64, u64)) -> Option<Value> {
    let path = format!("/node/receipt?transaction_id={view}.{seqno}");
    for _ in 0..50 {
        if let Some(receipt) = get(url, &path).await {
            return Some(receipt["leaf_components"].clone());
        }
        tokio::time::sleep(PACE).await;
    }
    None
}

async fn post(
    url: &str,
    path: &str,
    keys: &Keys,
    kind: MessageType,
    proposal: Option<&str>,
    payload: &[u8],
) -> Result<(Value, (u64, u64)), String> {
    let words = |why: rekindle::member::Error| why.to_string();
    let signed = keys
        .member
        .sign(kind, governance::now_s(), proposal, payload)
        .map_err(words)?;
    let path = format!("{path}?api-version={}", governance::API_VERSION);
    let request = client(url);
    let answer = request.request(Method::POST, &path, Bytes::from_owner(signed), Some("application/cose"));
    let answer = answer.await.map_err(words)?;
    let written = answer.headers.get("x-ms-ccf-transaction-id").cloned();
    let document = answer.json().map_err(words)?;
    let written = written.and_then(|text| transaction(text.to_str().ok()?));
    Ok((document, written.ok_or("no transaction is said")?))
}
