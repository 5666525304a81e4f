//! What members and operators do after a kill: who is joining joins, who is dead is removed, and there are as many as before.

use std::time::Instant;

use serde_json::{Value, json};

use super::acts::{remove_once, trust_once};
use super::life::{Done, Life};
use super::nodes::{ask, leader};
use super::process::{PACE, PATIENCE, Process, client, committed, is_ready, joining, state};
use super::promises::Mood;

impl Life<'_> {
    /// After a kill: who was joining joins, who is dead is removed, who hands over has gone, and there are as many as before.
    pub(super) async fn mend(&mut self) -> Done {
        if self.over {
            return Ok(());
        }
        self.settle_all().await?;
        let first = self.dice.below(2);
        if first == 0 || self.joined.len() < self.plan.nodes {
            self.remove_the_dead().await?;
        }
        self.await_who_leaves().await?;
        while self.joined.len() < self.plan.nodes {
            self.join().await?;
        }
        self.remove_the_dead().await
    }

    pub(super) async fn await_who_leaves(&mut self) -> Done {
        let Some(id) = self.leaving.clone() else { return Ok(()) };
        let members = self.members.clone();
        self.until("who hands over has gone", async |life| {
            if life.leaving.is_none() {
                return Some(());
            }
            // What members said may have been lost with whoever led.
            if life.status_of(&id).await.as_deref() == Some("Trusted") {
                remove_once(&members, &life.urls(), &id).await;
            }
            None
        })
        .await
    }

    pub(super) async fn remove_the_dead(&mut self) -> Done {
        while let Some(id) = self.dead.last().cloned() {
            let members = self.members.clone();
            self.until("a dead node is removed", async |life| {
                match life.status_of(&id).await?.as_str() {
                    "Trusted" | "Pending" => {
                        remove_once(&members, &life.urls(), &id).await;
                        None
                    }
                    _ => Some(()),
                }
            })
            .await?;
            self.dead.pop();
        }
        Ok(())
    }

    /// What the leader says of a node: "unknown" where it knows none.
    pub(super) async fn status_of(&self, id: &str) -> Option<String> {
        let said = ask(&self.nodes).await;
        let leader = self.url(leader(&said)?.number)?;
        let answer = client(&leader).get(&format!("/node/network/nodes/{id}")).await.ok()?;
        match answer.status.as_u16() {
            404 => Some("unknown".to_owned()),
            _ => Some(answer.json::<Value>().ok()?["status"].as_str()?.to_owned()),
        }
    }

    /// Nodes that have ended by themselves: as they may, or not.
    pub(super) fn bury_who_left(&mut self) -> Done {
        let mut index = 0;
        while index < self.nodes.len() {
            let node = &mut self.nodes[index];
            let Some(code) = node.ended() else {
                index += 1;
                continue;
            };
            if self.leaving.as_ref() == Some(&node.id) && code == Some(0) {
                self.leaving = None;
            } else if self.joined.contains(&node.number) {
                return Err(node.failed(&format!("it has ended by itself: {code:?}")));
            } else {
                // Nobody was there to let it in.
                self.tally.left_outside += 1;
                if !node.id.is_empty() {
                    self.dead.push(node.id.clone());
                }
            }
            self.joined.remove(&node.number);
            self.nodes.remove(index);
            self.tell_nodes();
        }
        Ok(())
    }

    /// Whether a node is joining by way of one that does not run any more. Operators start it again with another.
    pub(super) fn asks_the_dead(&self, node: &Process) -> bool {
        !self.joined.contains(&node.number) && !self.nodes.iter().any(|other| other.url == node.target)
    }

    pub(super) async fn join(&mut self) -> Done {
        self.launch().await?;
        self.settle_all().await
    }

    /// Starts a node that joins by way of any other; answers its number.
    pub(super) async fn launch(&mut self) -> Result<usize, String> {
        let directory = self.new_directory();
        let number = self.directories.len() - 1;
        let first = &self.directories[0];
        std::fs::copy(first.join("service_cert.pem"), directory.join("service_cert.pem")).unwrap();
        let urls = self.urls();
        let target = &urls[self.dice.below(urls.len())];
        let mut config = joining(self.plan.election, target);
        // Before a service opens, there is none to be given.
        let with_snapshot = *self.members.mood.lock().unwrap() == Mood::Busy && self.with_snapshots;
        config["command"]["join"]["fetch_recent_snapshot"] = json!(with_snapshot);
        let mut node = Process::start(number, &directory, &config).await?;
        node.target.clone_from(target);
        self.runs(node);
        Ok(number)
    }

    /// Everybody who is joining takes part, or is left outside by a service that does not know it.
    pub(super) async fn settle_all(&mut self) -> Done {
        loop {
            self.bury_who_left()?;
            let joining = self.nodes.iter().find(|node| !self.joined.contains(&node.number));
            let Some(number) = joining.map(|node| node.number) else {
                return Ok(());
            };
            self.settle(number).await?;
        }
    }

    pub(super) async fn settle(&mut self, number: usize) -> Done {
        let began = Instant::now();
        let members = self.members.clone();
        loop {
            self.bury_who_left()?;
            let Some(url) = self.url(number) else { return Ok(()) };
            let Some(state) = state(&url).await else {
                if began.elapsed() > PATIENCE {
                    return Err(self.failed(&format!("node {number} does not answer")).await);
                }
                continue;
            };
            let is_lost = self
                .nodes
                .iter()
                .any(|node| node.number == number && self.asks_the_dead(node));
            if is_lost && !matches!(state["state"].as_str(), Some("PartOfNetwork" | "PartOfPublicNetwork")) {
                // Members must not trust it: nobody would tell it, and the others would wait for it.
                self.leave_outside(number);
                return Ok(());
            }
            let id = state["node_id"].as_str().unwrap_or_default().to_owned();
            if let Some(node) = self.nodes.iter_mut().find(|node| node.number == number) {
                node.id.clone_from(&id);
            }
            if state["state"] == "Pending" && !id.is_empty() && self.status_of(&id).await.as_deref() == Some("Pending")
            {
                trust_once(&members, &self.urls(), &id).await;
            }
            let said = ask(&self.nodes).await;
            if let Some(leader) = leader(&said).and_then(|says| self.url(says.number))
                && let (Some(all), Some(own)) = (committed(&leader).await, committed(&url).await)
            {
                let path = match state["state"].as_str() {
                    Some("PartOfNetwork") => "/node/ready/app",
                    _ => "/node/ready/gov",
                };
                if own.1 + 20 >= all.1 && own.0 == all.0 && is_ready(&url, path).await {
                    self.joined.insert(number);
                    self.tell_nodes();
                    return Ok(());
                }
            }
            // Who let it in may have died before anybody else knew.
            let waited = began.elapsed();
            if waited > 8 * self.plan.election && self.status_of(&id).await.as_deref() == Some("unknown") {
                self.leave_outside(number);
                return Ok(());
            }
            if waited > PATIENCE {
                return Err(self.failed(&format!("node {number} does not join")).await);
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Ends a node that has no way in.
    pub(super) fn leave_outside(&mut self, number: usize) {
        let index = self.nodes.iter().position(|node| node.number == number).unwrap();
        let mut node = self.nodes.remove(index);
        node.kill();
        self.tally.left_outside += 1;
        if !node.id.is_empty() {
            self.dead.push(node.id.clone());
        }
    }
}
