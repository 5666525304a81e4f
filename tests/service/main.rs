//! Nodes, and those who talk to them: real processes on one machine, from the first recovery to the last hand-over.

#[macro_use]
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/browser.rs"]
#[allow(
    dead_code,
    reason = "reports change while nobody looks, and pages don't fetch: each asks for what is its own"
)]
mod browser;
#[path = "../support/dice.rs"]
mod dice;
#[path = "../support/identity.rs"]
#[allow(dead_code, reason = "forgers use more of it")]
mod identity;
#[path = "../support/issuer.rs"]
mod issuer;
#[path = "../support/joiners.rs"]
mod joiners;
#[path = "../support/kills.rs"]
mod kills;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/scribe.rs"]
#[allow(dead_code, reason = "forgers use more of it")]
mod scribe;
#[path = "../support/snapshot.rs"]
mod snapshot;
#[path = "../support/storm.rs"]
mod storm;
#[path = "../http"]
mod http {
    pub mod client;
    pub mod service;
}
mod ccf_clients;
mod ccf_templates;
mod config;
mod config_starts;
mod evidence;
mod fetching;
mod hostile_requests;
mod http_hostile;
mod http_server;
mod joining;
mod leading;
mod member;
mod member_journey;
mod node_answers;
mod node_faults;
mod node_trust;
mod odd_values;
mod page;
mod receipts;
mod recover_node;
mod sealing;
mod self_healing;
mod served_api;
mod service_links;
mod snapshots;
mod taking_over;
mod watch;
mod watch_nights;
