//! A night without an operator: every node begins with its copy of the ledger, they find out by themselves which of them opens, and
//! those that lost join it with the configuration that they have written.

use std::net::TcpListener;
use std::time::Instant;

use serde_json::{Value, json};

use super::cluster::{Nodes, PACE};
use super::configuring::{config_of_a_node, set, text};
use super::node::{NodeProcess, Program};
use super::round::{Source, copy};
use super::watch::{PATIENCE, client, recovered_entries};
use crate::error::{Error, Result};
use crate::format::directory::LedgerFiles;
use crate::member::{Trust, governance};
use crate::node::healing::ending::EXIT_CODE;

/// What a node that lost has written.
const JOINS_WITH: &str = "join_after_recovery.json";

impl Nodes<'_> {
    /// All nodes are started on copies of the ledger, all but the first without its newest chunk; one of them opens, as far as its
    /// shares. Answers the entries and bytes of the whole ledger.
    pub(super) async fn heal(&mut self, source: &Source) -> Result<(u64, u64)> {
        let count = self.night.nodes;
        let addresses = free_addresses(count)?;
        let mut bytes = 0;
        for number in 0..count {
            let directory = self.directory_of(number);
            let (copied, read_only) = copy(source, &directory)?;
            bytes = bytes.max(copied);
            if number > 0 {
                forget_the_newest(&directory)?;
            }
            let mut config = config_of_a_node();
            let own = addresses.get(number).cloned().unwrap_or_default();
            set(
                &mut config,
                "/network/rpc_interfaces/primary_rpc_interface",
                json!({"bind_address": own}),
            );
            set(&mut config, "/ledger/read_only_directories", json!(read_only));
            set(
                &mut config,
                "/command",
                json!({
                    "type": "Recover", "service_certificate_file": "service_cert.pem",
                    "recover": {"self_healing_open": {
                        "addresses": addresses, "retry_timeout": "100ms", "failover_timeout": "10min",
                    }},
                }),
            );
            let node = NodeProcess::launch(&directory, &config, &Program::Own(Vec::new()))?;
            self.runs(number, node);
            self.clock
                .step(format!("node {number} started on its copy of the ledger"), None);
        }
        self.await_the_others_end().await?;
        let winner = self.leader;
        self.trusts(&self.directory_of(winner))?;
        let anyone = client(self.node(winner)?, Trust::Anyone)?;
        let state = governance::node_state(&anyone).await;
        let state = state.map_err(|why| Error::Unreadable(why.to_string()))?;
        self.is_called(winner, text(&state, "node_id"));
        let opened_by = state.pointer("/recovery/healing/opened_by").and_then(Value::as_str);
        let by = opened_by.unwrap_or("-").to_owned();
        self.clock
            .step(format!("node {winner} opens, by {by}; no member has voted"), None);
        let network = governance::node_network(&anyone).await;
        let network = network.map_err(|why| Error::Unreadable(why.to_string()))?;
        Ok((recovered_entries(&network).unwrap_or(0), bytes))
    }

    /// Waits until all nodes but one have ended because they lost.
    async fn await_the_others_end(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            for number in 0..self.running.len() {
                let ended = self
                    .running
                    .get_mut(number)
                    .and_then(Option::as_mut)
                    .and_then(NodeProcess::ended);
                match ended {
                    None => {}
                    Some(code) if code == Some(i32::from(EXIT_CODE)) => {
                        self.running.get_mut(number).and_then(Option::take);
                        let what = format!("node {number} has lost: it keeps its ledger aside and writes how to join");
                        self.clock.step(what, None);
                    }
                    Some(_) => return Err(self.node(number)?.failed(&format!("node {number} has ended"))),
                }
            }
            let running = || self.running.iter().enumerate().filter(|(_, node)| node.is_some());
            if running().count() == 1
                && let Some((winner, _)) = running().next()
            {
                self.leader = winner;
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Unreadable(
                    "the nodes do not find out which of them opens".to_owned(),
                ));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// A node that lost joins the one that opened.
    pub(super) async fn join_as_loser(&mut self, number: usize) -> Result<()> {
        let began = Instant::now();
        let directory = self.directory_of(number);
        let node = NodeProcess::run(&directory, &directory.join(JOINS_WITH), &self.joiner())?;
        self.runs(number, node);
        self.clock
            .step(format!("node {number} started as the loser that joins"), None);
        self.take_in(number, began).await
    }
}

/// Addresses that nobody listened on a moment ago: nodes that heal have to know each other's beforehand.
fn free_addresses(count: usize) -> Result<Vec<String>> {
    let unfit = || Error::io("find", std::path::Path::new("a free port on loopback"));
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()
        .map_err(unfit())?;
    let address = |listener: &TcpListener| listener.local_addr().map(|address| address.to_string());
    listeners
        .iter()
        .map(address)
        .collect::<std::io::Result<_>>()
        .map_err(unfit())
}

/// A copy of a node that died earlier: without its last chunk, where it has more than one.
fn forget_the_newest(directory: &std::path::Path) -> Result<()> {
    let files = LedgerFiles::list(&[directory.join("ledger")], false)?;
    let Some(newest) = files.chunks.last().filter(|_| files.chunks.len() > 1) else {
        return Ok(());
    };
    let path = &newest.file.path;
    std::fs::remove_file(path).map_err(Error::io("remove", path))
}
