//! Several nodes through one night, each a process of its own: one recovers, the others join, are trusted, follow, and one of them
//! takes over, because the first hands over or because it is killed. At the end every ledger is verified and all are compared.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Plan;
use super::clock::Clock;
use super::configuring::{config_of_a_node, set, text};
use super::members::{Keys, Motion, accept, pass, read_members, submit, submit_one, wait_for_members};
use super::night::{Joined, KillAt, Night, NightPlan};
use super::node::{NodeProcess, Program};
use super::round::{Source, await_open, copy};
use super::verifying::{agree, check};
use super::watch::{PATIENCE, client, recovered_entries, wait_for};
use crate::crypto::Certificate;
use crate::crypto::x509::time_text;
use crate::error::{Error, Result};
use crate::member::{Client, Trust, governance};
use crate::service::identity::now_s;
use crate::shown::Show;

/// How often it is looked who leads and what is committed, while that changes.
pub(super) const PACE: Duration = Duration::from_millis(20);
/// The certificates of nodes are valid from so long ago on: clocks of machines differ.
const BEFORE_S: u64 = 3600;

/// The nodes, and what is known of them.
pub(super) struct Nodes<'a> {
    pub(super) night: &'a NightPlan,
    members: Vec<Keys>,
    directory: &'a Path,
    /// None: it has ended, or does not run yet.
    pub(super) running: Vec<Option<NodeProcess>>,
    ids: Vec<String>,
    pub(super) leader: usize,
    service: Option<Certificate>,
    joined: Vec<Joined>,
    pub(super) clock: Clock<'a>,
}

/// Rehearses the whole night.
pub(super) async fn rehearse<'a>(
    plan: &Plan,
    night: &'a NightPlan,
    source: &Source,
    directory: &'a Path,
    tell: &'a dyn Fn(&str),
) -> Result<Night> {
    let members = match &plan.members {
        Some(members) => read_members(members)?,
        None => {
            return Err(Error::Usage(
                "several nodes are rehearsed with members, who open the service and trust nodes: give --members"
                    .to_owned(),
            ));
        }
    };
    if night.nodes < 2 {
        return Err(Error::Usage(
            "a service is handed over to other nodes: give --nodes 2 or more".to_owned(),
        ));
    }
    let mut nodes = Nodes {
        night,
        members,
        directory,
        running: (0..night.nodes).map(|_| None).collect(),
        ids: vec![String::new(); night.nodes],
        leader: 0,
        service: None,
        joined: Vec::new(),
        clock: Clock::begin(tell),
    };
    let joins_early = matches!(night.kill, Some(KillAt::Public | KillAt::Shares));
    let mut interrupted_s = 0.0;
    let (entries, bytes) = match night.self_healing {
        true => nodes.heal(source).await?,
        false => {
            let recovered = nodes.recover(plan, source).await?;
            if joins_early {
                nodes.join_all().await?;
            }
            if night.kill == Some(KillAt::Public) {
                interrupted_s = nodes.kill_the_leader().await?;
            }
            nodes.agree_to_open().await?;
            recovered
        }
    };
    if night.kill == Some(KillAt::Shares) {
        nodes.submit_the_first_share().await?;
        interrupted_s = nodes.kill_the_leader().await?;
    }
    nodes.open().await?;
    if !joins_early {
        nodes.join_all().await?;
    }
    match night.kill {
        Some(KillAt::Open) => interrupted_s = nodes.kill_the_leader().await?,
        Some(KillAt::Public | KillAt::Shares) => {}
        None => interrupted_s = nodes.hand_over().await?,
    }
    nodes.go_on().await?;
    let (verified, agree) = nodes.end()?;
    Ok(Night {
        entries,
        bytes,
        steps: nodes.clock.steps,
        joined: nodes.joined,
        interrupted_s,
        leader: nodes.leader,
        verified,
        agree,
    })
}

impl Nodes<'_> {
    pub(super) fn runs(&mut self, number: usize, node: NodeProcess) {
        if let Some(place) = self.running.get_mut(number) {
            *place = Some(node);
        }
    }

    pub(super) fn is_called(&mut self, number: usize, id: String) {
        if let Some(place) = self.ids.get_mut(number) {
            *place = id;
        }
    }

    /// From here on nodes are known by the service that the node in this directory has begun.
    pub(super) fn trusts(&mut self, directory: &Path) -> Result<()> {
        let path = directory.join("service_cert.pem");
        let pem = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let certificate = Certificate::from_pem(&pem);
        let certificate =
            certificate.map_err(|why| Error::Unreadable(format!("{} is no certificate: {why}", path.shown())))?;
        self.service = Some(certificate);
        Ok(())
    }

    pub(super) fn directory_of(&self, node: usize) -> PathBuf {
        self.directory.join(format!("node-{node}"))
    }

    pub(super) fn node(&mut self, node: usize) -> Result<&mut NodeProcess> {
        let running = self.running.get_mut(node).and_then(Option::as_mut);
        running.ok_or_else(|| Error::Unreadable(format!("node {node} does not run")))
    }

    /// A client of a node that trusts what the new service has endorsed.
    pub(super) fn client(&mut self, node: usize) -> Result<Client> {
        let trust = self.service.clone().map_or(Trust::Anyone, Trust::Service);
        client(self.node(node)?, trust)
    }

    /// The first node recovers the public part; answers the entries and bytes of the ledger.
    async fn recover(&mut self, plan: &Plan, source: &Source) -> Result<(u64, u64)> {
        let directory = self.directory_of(0);
        let (bytes, read_only) = copy(source, &directory)?;
        let mut config = config_of_a_node();
        set(
            &mut config,
            "/command",
            json!({"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}}),
        );
        set(&mut config, "/ledger/read_only_directories", json!(read_only));
        let jobs = plan.jobs.map(|jobs| ["--jobs".into(), jobs.to_string().into()]);
        let program = Program::Own(jobs.into_iter().flatten().collect());
        let node = NodeProcess::launch(&directory, &config, &program)?;
        self.runs(0, node);
        self.clock
            .step("node 0 started, its interface is served".to_owned(), None);
        let anyone = client(self.node(0)?, Trust::Anyone)?;
        let state = wait_for(&anyone, self.node(0)?, "PartOfPublicNetwork").await?;
        self.is_called(0, text(&state, "node_id"));
        let network = governance::node_network(&anyone).await;
        let network = network.map_err(|why| Error::Unreadable(why.to_string()))?;
        let entries = recovered_entries(&network).unwrap_or(0);
        self.trusts(&directory)?;
        self.clock
            .step(format!("node 0 is PartOfPublicNetwork: {entries} entries"), None);
        Ok((entries, bytes))
    }

    async fn agree_to_open(&mut self) -> Result<()> {
        let (leader, client) = (self.leader, self.client(self.leader)?);
        let Some(node) = self.running.get_mut(leader).and_then(Option::as_mut) else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        accept(&client, node, &self.members, &mut self.clock).await
    }

    async fn submit_the_first_share(&mut self) -> Result<()> {
        let (leader, client) = (self.leader, self.client(self.leader)?);
        let Some(node) = self.running.get_mut(leader).and_then(Option::as_mut) else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        submit_one(&client, &self.members, node, &mut self.clock).await
    }

    async fn open(&mut self) -> Result<()> {
        let (leader, client) = (self.leader, self.client(self.leader)?);
        let Some(node) = self.running.get_mut(leader).and_then(Option::as_mut) else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        submit(&client, &self.members, node, &mut self.clock).await?;
        await_open(&client, node, &mut self.clock).await.map(drop)
    }

    async fn join_all(&mut self) -> Result<()> {
        for node in (0..self.night.nodes)
            .filter(|node| *node != self.leader)
            .collect::<Vec<_>>()
        {
            match self.night.self_healing {
                true => self.join_as_loser(node).await?,
                false => self.join(node).await?,
            }
        }
        Ok(())
    }

    /// A node joins, is trusted, and catches up.
    async fn join(&mut self, number: usize) -> Result<()> {
        let began = Instant::now();
        let directory = self.directory_of(number);
        std::fs::create_dir_all(&directory).map_err(Error::io("make the directory", &directory))?;
        let certificate = directory.join("service_cert.pem");
        let pem = self.service.as_ref().map(Certificate::to_pem).unwrap_or_default();
        std::fs::write(&certificate, pem).map_err(Error::io("write", &certificate))?;
        let target = self.node(self.leader)?.url.replace("https://", "");
        let mut config = config_of_a_node();
        set(
            &mut config,
            "/command",
            json!({
                "type": "Join", "service_certificate_file": "service_cert.pem",
                "join": {"target_rpc_address": target, "retry_timeout": "200ms"},
            }),
        );
        let program = self.joiner();
        let node = NodeProcess::launch(&directory, &config, &program)?;
        self.runs(number, node);
        self.clock.step(format!("node {number} started: it asks to join"), None);
        self.take_in(number, began).await
    }

    pub(super) fn joiner(&self) -> Program {
        match &self.night.join_with {
            Some(program) => Program::Other(program.clone()),
            None => Program::Own(Vec::new()),
        }
    }

    /// Waits until a node that asks is known, has members trust it where that is up to them, and waits until it has caught up.
    pub(super) async fn take_in(&mut self, number: usize, began: Instant) -> Result<()> {
        let anyone = client(self.node(number)?, Trust::Anyone)?;
        let leader = self.client(self.leader)?;
        let id = self
            .until(number, "it says who it is", async |_| {
                let state = governance::node_state(&anyone).await.ok()?;
                Some(text(&state, "node_id")).filter(|id| !id.is_empty())
            })
            .await?;
        self.is_called(number, id.clone());
        let status = self
            .until(number, "the service knows it", async |_| {
                let node = governance::node(&leader, &id).await.ok()?;
                Some(text(&node, "status"))
            })
            .await?;
        if status == "Pending" {
            let valid_from = time_text(now_s().saturating_sub(BEFORE_S));
            let valid_from = valid_from.map_err(|why| Error::Unreadable(why.to_string()))?;
            let motion = Motion {
                action: "transition_node_to_trusted",
                arguments: json!({"node_id": id, "valid_from": valid_from}),
                what: "to trust it",
            };
            let at = self.leader;
            let Some(node) = self.running.get(at).and_then(Option::as_ref) else {
                return Err(Error::Unreadable("nobody leads".to_owned()));
            };
            pass(&leader, node, &self.members, &motion, &mut self.clock).await?;
        }
        let seqno = self
            .until(number, "it has caught up", async |_| {
                let committed = committed(&leader).await?;
                let consensus = leader.get("/node/consensus").await.ok()?.json::<Value>().ok()?;
                let has = consensus.pointer(&format!("/details/acks/{id}/seqno"))?.as_u64()?;
                (has >= committed.1).then_some(has)
            })
            .await?;
        let took_s = began.elapsed().as_secs_f64();
        self.clock
            .step(format!("node {number} has caught up: {seqno} entries"), Some(took_s));
        self.joined.push(Joined {
            node: number,
            seqno,
            took_s,
        });
        Ok(())
    }

    /// Waits until something is found, as long as a node runs.
    pub(super) async fn until<T>(
        &mut self,
        number: usize,
        what: &str,
        mut found: impl AsyncFnMut(usize) -> Option<T>,
    ) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = found(number).await {
                return Ok(found);
            }
            let node = self.node(number)?;
            node.check()?;
            if began.elapsed() > PATIENCE {
                return Err(node.failed(&format!("node {number}: not yet: {what}")));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// The node that leads dies; answers how long nothing was committed.
    async fn kill_the_leader(&mut self) -> Result<f64> {
        let leader = self.leader;
        self.await_commit().await?;
        let node = self.running.get_mut(leader).and_then(Option::take);
        let Some(node) = node else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        node.kill()?;
        self.clock.step(format!("node {leader} is killed: it led"), None);
        self.await_another().await
    }

    /// Waits until every node knows that all that members were told is committed. What is not may be lost with the node that leads;
    /// and of a node that was let in the others must know that this is committed, or they need the dead one to elect another.
    async fn await_commit(&mut self) -> Result<()> {
        let began = Instant::now();
        let answered = self.client(self.leader)?.get("/node/network").await;
        let written = answered.ok().and_then(|answer| answer.transaction());
        let Some(written) = written else {
            return Err(self.node(self.leader)?.failed("the node does not say what is written"));
        };
        let running = (0..self.running.len()).filter(|number| matches!(self.running.get(*number), Some(Some(_))));
        for number in running.collect::<Vec<_>>() {
            let client = self.client(number)?;
            while committed(&client)
                .await
                .is_none_or(|now| now < (written.view, written.seqno))
            {
                let node = self.node(number)?;
                node.check()?;
                if began.elapsed() > PATIENCE {
                    return Err(node.failed("what is written is not committed"));
                }
                tokio::time::sleep(PACE).await;
            }
        }
        Ok(())
    }

    /// The node that leads retires and ends; answers how long nothing was committed.
    async fn hand_over(&mut self) -> Result<f64> {
        let (leader, client) = (self.leader, self.client(self.leader)?);
        let id = self.ids.get(leader).cloned().unwrap_or_default();
        let motion = Motion {
            action: "remove_node",
            arguments: json!({"node_id": id}),
            what: "to retire the node that leads",
        };
        let Some(node) = self.running.get(leader).and_then(Option::as_ref) else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        pass(&client, node, &self.members, &motion, &mut self.clock).await?;
        let interrupted_s = self.await_another().await?;
        let began = Instant::now();
        let code = loop {
            if let Some(code) = self.node(leader)?.ended() {
                break code;
            }
            if began.elapsed() > PATIENCE {
                return Err(self.node(leader)?.failed("the node that handed over does not end"));
            }
            tokio::time::sleep(PACE).await;
        };
        if code != Some(0) {
            return Err(self.node(leader)?.failed("the node that handed over did not end well"));
        }
        self.running.get_mut(leader).and_then(Option::take);
        self.clock
            .step(format!("node {leader} has ended by itself, exit code 0"), None);
        Ok(interrupted_s)
    }

    /// Waits until another node leads and has committed something; answers how long nothing was committed before.
    async fn await_another(&mut self) -> Result<f64> {
        let before = self.leader;
        let others: Vec<usize> = (0..self.running.len()).filter(|node| *node != before).collect();
        let mut clients = Vec::new();
        for node in &others {
            clients.push(self.client(*node)?);
        }
        let began = Instant::now();
        let (mut last, mut changed) = ((0, 0), Instant::now());
        loop {
            for client in &clients {
                let Some(now) = committed(client).await.filter(|now| *now > last) else {
                    continue;
                };
                let interrupted = changed.elapsed();
                let is_first = last == (0, 0);
                let view = last.0;
                (last, changed) = (now, Instant::now());
                if is_first || now.0 == view {
                    continue;
                }
                let network = governance::node_network(client).await.unwrap_or_default();
                let leader = text(&network, "primary_id");
                if let Some(leader) = self.ids.iter().position(|id| *id == leader).filter(|it| *it != before) {
                    self.leader = leader;
                    let interrupted_s = interrupted.as_secs_f64();
                    self.clock
                        .step(format!("node {leader} leads, in view {}", now.0), Some(interrupted_s));
                    return Ok(interrupted_s);
                }
            }
            for node in &others {
                self.node(*node)?.check()?;
            }
            if began.elapsed() > PATIENCE {
                return Err(self
                    .node(others.first().copied().unwrap_or(0))?
                    .failed("no other node leads"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Members go on with whoever leads.
    async fn go_on(&mut self) -> Result<()> {
        let (leader, client) = (self.leader, self.client(self.leader)?);
        let Some(node) = self.running.get_mut(leader).and_then(Option::as_mut) else {
            return Err(Error::Unreadable("nobody leads".to_owned()));
        };
        wait_for_members(&client, node).await?;
        let before = committed(&client).await.unwrap_or_default();
        let motion = Motion {
            action: "trigger_ledger_chunk",
            arguments: Value::Null,
            what: "something of the new leader: that it ends its chunk",
        };
        pass(&client, node, &self.members, &motion, &mut self.clock).await?;
        let began = Instant::now();
        while committed(&client).await.is_none_or(|now| now <= before) {
            if began.elapsed() > PATIENCE {
                return Err(node.failed("the new leader commits nothing"));
            }
            tokio::time::sleep(PACE).await;
        }
        self.clock.step("the service goes on".to_owned(), None);
        Ok(())
    }

    /// Everybody stops; answers whether every ledger verifies, and whether they are one.
    fn end(&mut self) -> Result<(bool, bool)> {
        // Who leads goes last, so that nobody stands for election meanwhile.
        let mut order: Vec<usize> = (0..self.running.len()).filter(|node| *node != self.leader).collect();
        order.push(self.leader);
        for node in order {
            if let Some(process) = self.running.get_mut(node).and_then(Option::take) {
                process.stop()?;
            }
        }
        self.clock.step("every node is stopped".to_owned(), None);
        let directories: Vec<PathBuf> = (0..self.running.len()).map(|node| self.directory_of(node)).collect();
        let mut verified = true;
        for directory in &directories {
            // One that was killed may not have come as far as to name its files.
            verified &= check(directory, false, &mut self.clock)?;
        }
        let agree = agree(&directories, &mut self.clock)?;
        Ok((verified, agree))
    }
}

/// View and seqno of what a node says is committed.
async fn committed(client: &Client) -> Option<(u64, u64)> {
    let commit: Value = client.get("/node/commit").await.ok()?.json().ok()?;
    let (view, seqno) = commit.get("transaction_id")?.as_str()?.split_once('.')?;
    Some((view.parse().ok()?, seqno.parse().ok()?))
}
