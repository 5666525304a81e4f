//! The nodes of one cluster: who runs, who leads, who takes part.

use std::collections::BTreeSet;

use serde_json::Value;

use super::process::{Process, get};

/// What one node says of the others.
pub struct Says {
    pub number: usize,
    pub leads: bool,
    pub view: u64,
    /// Who takes part, by configuration: the committed one first.
    pub configurations: Vec<BTreeSet<String>>,
}

impl Says {
    fn of(number: usize, answer: &Value) -> Option<Says> {
        let details = &answer["details"];
        let configurations = details["configs"].as_array()?.iter().map(|configuration| {
            let nodes = configuration["nodes"].as_object().into_iter().flatten();
            nodes.map(|(id, _)| id.clone()).collect()
        });
        Some(Says {
            number,
            leads: details["leadership_state"] == "Leader",
            view: details["current_view"].as_u64()?,
            configurations: configurations.collect(),
        })
    }
}

/// Asks every node, all at the same time.
pub async fn ask(nodes: &[Process]) -> Vec<Says> {
    let asked: Vec<_> = nodes
        .iter()
        .map(|node| {
            let (number, url) = (node.number, node.url.clone());
            tokio::spawn(async move { Says::of(number, &get(&url, "/node/consensus").await?) })
        })
        .collect();
    let mut said = Vec::new();
    for asked in asked {
        said.extend(asked.await.unwrap());
    }
    said
}

/// Who leads, in the newest view.
pub fn leader(said: &[Says]) -> Option<&Says> {
    said.iter().filter(|says| says.leads).max_by_key(|says| says.view)
}

/// Whether those who are left can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chance {
    /// A majority of every configuration is alive.
    Must,
    /// A majority of the committed configuration is alive, and not of the one that is to come after it.
    HalfWay,
    /// No majority of a committed configuration.
    None,
}

pub fn chance(said: &[Says], alive: &BTreeSet<String>) -> Chance {
    let is_alive = |nodes: &BTreeSet<String>| 2 * nodes.intersection(alive).count() > nodes.len();
    let takes_part: Vec<&Says> = said.iter().filter(|says| !says.configurations.is_empty()).collect();
    let mut all = takes_part.iter().flat_map(|says| &says.configurations);
    if !takes_part.is_empty() && all.all(is_alive) {
        return Chance::Must;
    }
    match takes_part
        .iter()
        .any(|says| says.configurations.first().is_some_and(is_alive))
    {
        true => Chance::HalfWay,
        false => Chance::None,
    }
}
