//! Who of a cluster is killed, and what the rest does.

use std::collections::BTreeSet;
use std::time::Instant;

use super::acts::{accept_once, remove_once, submit_shares, trust_once};
use super::life::{Done, Life};
use super::nodes::{Chance, Says, ask, chance, leader};
use super::process::{PACE, PATIENCE, state};
use super::tally::{Outcome, Phase, Role};

impl Life<'_> {
    /// Kills while members do what this phase is called after.
    pub(super) async fn kill_while(&mut self, phase: Phase, within_ms: usize) -> Done {
        let (members, urls) = (self.members.clone(), self.urls());
        let act = tokio::spawn(async move {
            match phase {
                Phase::Accepting => accept_once(&members, &urls).await,
                Phase::HalfOfShares => submit_shares(&members, &urls, Some(1)).await,
                _ => submit_shares(&members, &urls, None).await,
            }
        });
        let killed = self.kill_any(phase, within_ms).await;
        let _ = act.await;
        killed
    }

    /// Kills the node that leads, or one that follows.
    pub(super) async fn kill_any(&mut self, phase: Phase, within_ms: usize) -> Done {
        let role = self.dice.one_of(&[Role::Leader, Role::Follower]);
        tokio::time::sleep(self.dice.within_ms(within_ms)).await;
        self.kill(phase, role).await
    }

    pub(super) async fn kill_while_joining(&mut self, phase: Phase) -> Done {
        let number = self.launch().await?;
        let role = self.dice.one_of(&[Role::Leader, Role::Follower, Role::Joiner]);
        let role = match (role, self.joined.len()) {
            (Role::Follower, 1) => Role::Joiner,
            (role, _) => role,
        };
        let trusting = (phase == Phase::Joining).then(|| {
            let (members, urls) = (self.members.clone(), self.urls());
            let url = self.url(number).unwrap();
            tokio::spawn(async move {
                for _ in 0..100 {
                    if let Some(state) = state(&url).await
                        && state["state"] == "Pending"
                        && trust_once(&members, &urls, state["node_id"].as_str().unwrap_or_default()).await
                    {
                        return;
                    }
                    tokio::time::sleep(2 * PACE).await;
                }
            })
        });
        tokio::time::sleep(self.dice.within_ms(if phase == Phase::Joining { 1800 } else { 900 })).await;
        if let Some(trusting) = trusting {
            trusting.abort();
        }
        self.kill(phase, role).await
    }

    pub(super) async fn kill_in_hand_over(&mut self) -> Done {
        // Of three nodes, two stay: neither may die. Mostly there is another.
        if self.dice.below(4) > 0 && self.joined.len() <= self.plan.nodes {
            self.join().await?;
        }
        let said = ask(&self.nodes).await;
        let Some(leader) = leader(&said).and_then(|says| self.id(says.number)) else {
            return Err(self.failed("nobody leads before a hand-over").await);
        };
        self.leaving = Some(leader.clone());
        let (members, urls) = (self.members.clone(), self.urls());
        let id = leader.clone();
        let removing = tokio::spawn(async move { remove_once(&members, &urls, &id).await });
        let role = self.dice.one_of(&[Role::Leader, Role::Follower]);
        tokio::time::sleep(self.dice.within_ms(1200)).await;
        self.kill(Phase::HandOver, role).await?;
        let _ = removing.await;
        Ok(())
    }

    /// Kills one of a role, and looks what the rest does.
    pub(super) async fn kill(&mut self, phase: Phase, role: Role) -> Done {
        let (said, index) = self.choose(role).await?;
        let newest = said.iter().map(|says| says.view).max().unwrap_or(0);
        let led = leader(&said).is_some_and(|says| says.number == self.nodes[index].number);
        let mut node = self.nodes.remove(index);
        if node.id.is_empty() {
            // It may be known although it has not said so itself.
            node.id = state(&node.url)
                .await
                .and_then(|it| Some(it["node_id"].as_str()?.to_owned()))
                .unwrap_or_default();
        }
        let killed = Instant::now();
        node.kill();
        self.joined.remove(&node.number);
        self.leaving.take_if(|id| *id == node.id);
        if !node.id.is_empty() {
            self.dead.push(node.id.clone());
        }
        self.tell_nodes();
        let chance = self.chance().await;
        let what = format!(
            "{phase:?}, {role:?} (node {}{}), {} left, {chance:?}",
            node.number,
            if led { ", led" } else { "" },
            self.nodes.len()
        );
        let outcome = match self.goes_on(chance, killed, led.then_some(newest), &what).await {
            Ok(outcome) => outcome,
            Err(why) => {
                *self.tally.kills.entry((phase, role, Outcome::TooFew)).or_default() += 1;
                return Err(why);
            }
        };
        *self.tally.kills.entry((phase, role, outcome)).or_default() += 1;
        self.over = outcome == Outcome::TooFew;
        (self.tell)(&format!(
            "kill {:>3}: {what}: {outcome:?} after {:.2} s",
            self.tally.killed(),
            killed.elapsed().as_secs_f64()
        ));
        Ok(())
    }

    /// Whether those who are left can go on, by what they know of who takes part.
    pub(super) async fn chance(&mut self) -> Chance {
        let said = ask(&self.nodes).await;
        let said: Vec<Says> = said
            .into_iter()
            .filter(|says| self.joined.contains(&says.number))
            .collect();
        for node in &mut self.nodes {
            if !self.joined.contains(&node.number)
                && let Some(state) = state(&node.url).await
            {
                node.id = state["node_id"].as_str().unwrap_or_default().to_owned();
            }
        }
        // Who is let in and asks somebody who is gone takes no part, although others may count on it.
        let alive = self.nodes.iter();
        let alive = alive.filter(|node| !self.asks_the_dead(node));
        let alive = alive.map(|node| node.id.clone()).collect();
        let chance = chance(&said, &alive);
        if chance != Chance::Must {
            // To be looked at: it is no failure of the rest if it does not go on.
            let short = |nodes: &BTreeSet<String>| {
                nodes
                    .iter()
                    .map(|id| &id[..id.len().min(4)])
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            for says in &said {
                let configurations: Vec<String> = says.configurations.iter().map(short).collect();
                (self.tell)(&format!(
                    "  node {}: {configurations:?}, alive {}",
                    says.number,
                    short(&alive)
                ));
            }
        }
        chance
    }

    /// What everybody says, and who is to be killed.
    pub(super) async fn choose(&mut self, role: Role) -> Result<(Vec<Says>, usize), String> {
        let began = Instant::now();
        loop {
            self.bury_who_left()?;
            let said = ask(&self.nodes).await;
            let leading = leader(&said).map(|says| says.number);
            let candidates: Vec<usize> = (0..self.nodes.len())
                .filter(|index| {
                    let number = self.nodes[*index].number;
                    match role {
                        Role::Leader => leading == Some(number),
                        Role::Follower => {
                            leading.is_some_and(|leader| leader != number) && self.joined.contains(&number)
                        }
                        Role::Joiner => !self.joined.contains(&number),
                    }
                })
                .collect();
            if !candidates.is_empty() {
                return Ok((said, self.dice.one_of(&candidates)));
            }
            if began.elapsed() > PATIENCE {
                return Err(self.failed(&format!("there is no {role:?} to be killed")).await);
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Waits until the rest has committed something new, and members are served.
    pub(super) async fn goes_on(
        &mut self,
        chance: Chance,
        killed: Instant,
        led: Option<u64>,
        what: &str,
    ) -> Result<Outcome, String> {
        let patience = match chance {
            Chance::Must => PATIENCE,
            Chance::HalfWay => 12 * self.plan.election,
            Chance::None => 4 * self.plan.election,
        };
        let (mut committed, mut served) = (None, None);
        let mut chance = chance;
        while committed.is_none() || served.is_none() {
            {
                let promises = self.promises.lock().unwrap();
                served = promises
                    .acts
                    .iter()
                    .find(|act| act.began > killed)
                    .map(|act| act.committed);
                committed = match led {
                    None => served,
                    Some(view) => {
                        let mut after = promises.advances.iter().filter(|advance| advance.0 > killed);
                        after
                            .find(|advance| advance.2.0 > view)
                            .map(|advance| advance.0)
                            .or(served)
                    }
                };
            }
            self.bury_who_left()?;
            if chance == Chance::Must && killed.elapsed() > self.plan.limit * self.plan.election {
                // What was on its way when the node was killed may have changed who takes part.
                chance = self.chance().await;
            }
            if killed.elapsed() > patience || chance != Chance::Must && killed.elapsed() > 12 * self.plan.election {
                return match chance {
                    Chance::Must => Err(self.failed(&format!("the rest does not go on: {what}")).await),
                    _ => Ok(Outcome::TooFew),
                };
            }
            tokio::time::sleep(PACE).await;
        }
        let (committed, served) = (committed.unwrap() - killed, served.unwrap() - killed);
        if chance != Chance::Must && committed > self.plan.limit * self.plan.election {
            self.tally.given_up.push(served);
            return Ok(Outcome::GivesUp);
        }
        self.tally.commits.push(committed);
        self.tally.served.push(served);
        if committed > self.plan.limit * self.plan.election {
            self.tally
                .late
                .push(format!("{:.2} s: {what}", committed.as_secs_f64()));
        }
        Ok(Outcome::GoesOn)
    }
}
