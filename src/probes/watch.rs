//! Probe of what nodes answer to a watch: read, taken in as the word of the service, and judged.

use std::time::Duration;

use crate::watch::answers::{self, Answered, Observation, Outcome, Vouched};
use crate::watch::judge::judge;
use crate::watch::known::Known;
use crate::watch::settings::Settings;

/// One answer, as that of any path.
pub fn watch_answers(bytes: &[u8]) {
    let network = answers::network(bytes).ok();
    let nodes = answers::nodes(bytes).ok();
    let committed = answers::committed(bytes);
    let state = answers::state(bytes).ok();
    let consensus = answers::consensus(bytes).ok();
    let Ok(settings) = Settings::new(Duration::from_millis(200), Duration::from_secs(1)) else {
        return;
    };
    let named = consensus
        .iter()
        .flat_map(|it| it.configurations.iter().flat_map(|it| it.nodes.iter()))
        .next()
        .cloned();
    let listed = nodes.iter().flatten().map(|node| node.id.clone()).next();
    let Some(id) = state.map(|(id, _)| id).or(named).or(listed) else {
        return;
    };
    let mut known = Known::new(settings, ["a:1".to_owned()]);
    let at = Duration::from_secs(1);
    known.absorb(Observation {
        address: "a:1".to_owned(),
        asked: at,
        at,
        wall_ms: 0,
        outcome: Outcome::Answered(Box::new(Answered {
            vouched: Vouched::ByService,
            id,
            state: Some(String::new()),
            consensus,
            network,
            nodes,
            committed,
            endorser: None,
        })),
    });
    for later in [1, 10, 100] {
        let now = at * later;
        let judgement = judge(&known, &settings, now);
        known.note(&judgement, now);
    }
}
