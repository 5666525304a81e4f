//! What real CCF nodes answered (`http-samples/cluster`), and what nobody should.

use serde_json::Value;

use super::made_up::*;
use crate::crypto::Certificate;
use crate::watch::answers::{self, *};
use crate::watch::judgement::State;
use crate::watch::known::Known;

fn samples() -> Option<Vec<Value>> {
    let beside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/http-samples/cluster/answers.json"
    );
    let ledgers = std::env::var_os("REKINDLE_CCF_LEDGERS").map(std::path::PathBuf::from);
    let beside_ledgers = ledgers.map(|it| it.join("../http-samples/cluster/answers.json"));
    let text = beside_ledgers
        .into_iter()
        .chain([beside.into()])
        .find_map(|path| std::fs::read(path).ok());
    let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
    assert!(
        text.is_some() || !required,
        "REKINDLE_REQUIRE_CCF_LEDGERS=1, and no recorded answers beside them"
    );
    if text.is_none() {
        eprintln!("skipped: no recorded answers");
    }
    Some(serde_json::from_slice(&text?).unwrap())
}

#[test]
fn a_real_cluster_is_stable_at_every_stage_and_its_dead_node_is_known_until_it_is_removed() {
    let Some(samples) = samples() else { return };
    let mut stages: Vec<&str> = samples.iter().map(|it| it["stage"].as_str().unwrap()).collect();
    stages.dedup();
    let mut all = std::collections::BTreeSet::new();
    stages.retain(|stage| all.insert(*stage));
    assert_eq!(stages.len(), 5);
    let address = |node: &str| format!("127.0.0.1:198{}0", node.strip_prefix('n').unwrap());
    let mut made = Made::of(3);
    made.known = Known::new(settings(), [address("n0")]);
    let mut seen = 0;
    for stage in stages {
        let of_stage = |node: &str, request: &str| {
            let mut found = samples.iter();
            let found = found.find(|it| it["stage"] == stage && it["node"] == node && it["request"] == request)?;
            (found["status"] == 200).then(|| found["answer"].to_string().into_bytes())
        };
        let states = made.passes(4000, |made| {
            for node in ["n0", "n1", "n2"] {
                let Some(state) = of_stage(node, "GET /node/state") else {
                    if made.known.places.contains_key(&address(node)) {
                        made.look(
                            &address(node),
                            made.now,
                            Outcome::Failed(Failure::Refused, "refused".to_owned()),
                        );
                    }
                    continue;
                };
                let (id, state) = answers::state(&state).unwrap();
                let network = answers::network(&of_stage(node, "GET /node/network").unwrap()).unwrap();
                Certificate::from_pem(network.certificate.as_ref().unwrap()).unwrap();
                let answered = Answered {
                    vouched: Vouched::ByService,
                    id,
                    state: Some(state),
                    consensus: Some(answers::consensus(&of_stage(node, "GET /node/consensus").unwrap()).unwrap()),
                    network: Some(network),
                    nodes: Some(answers::nodes(&of_stage(node, "GET /node/network/nodes").unwrap()).unwrap()),
                    committed: Some(answers::committed(&of_stage(node, "GET /node/commit").unwrap()).unwrap()),
                    endorser: None,
                };
                seen += 1;
                made.look(&address(node), made.now, Outcome::Answered(Box::new(answered)));
            }
        });
        assert_eq!(states.last().unwrap().1, State::Stable, "{stage}: {:?}", made.judged());
        assert!(
            states
                .iter()
                .all(|(_, state)| matches!(state, State::Stable | State::Election)),
            "{stage}: {states:?}"
        );
        let judged = made.judged();
        let (nodes, left) = match stage {
            "after the primary was killed" => (3, 2),
            "after the dead node was removed" => (2, 2),
            _ => (3, 3),
        };
        assert_eq!(
            (judged.configurations[0].nodes, judged.configurations[0].left),
            (nodes, left),
            "{stage}"
        );
        assert_eq!(judged.view, Some(if stage.starts_with("after") { 5 } else { 4 }));
    }
    assert!(seen > 100);
    // Learned, not given; the one that was removed stays because it was.
    let mut places: Vec<_> = made.known.places.keys().cloned().collect();
    places.sort();
    assert_eq!(places, ["127.0.0.1:19800", "127.0.0.1:19810", "127.0.0.1:19820"]);
}

#[test]
fn what_no_node_says_is_refused_and_bounded() {
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"details\":{}}",
        "{\"details\":{\"configs\":[{}],\"current_view\":1}}",
        &deep,
    ] {
        assert!(answers::consensus(body.as_bytes()).is_err(), "{body:.40}");
        assert!(answers::state(body.as_bytes()).is_err());
        assert!(answers::network(body.as_bytes()).is_err());
        assert!(answers::nodes(body.as_bytes()).is_err());
    }
    let many: Vec<String> = (0..=MOST_NODES)
        .map(|number| format!("\"{number:064x}\":{{\"address\":\"\"}}"))
        .collect();
    let many = format!(
        "{{\"details\":{{\"configs\":[{{\"idx\":1,\"nodes\":{{{}}}}}],\"current_view\":1}}}}",
        many.join(",")
    );
    assert!(answers::consensus(many.as_bytes()).unwrap_err().contains("513 nodes"));
    // Data of a node may be anything at all.
    let odd = format!(
        "{{\"nodes\":[{{\"node_id\":\"{}\",\"status\":\"Trusted\",\"node_data\":{}1{},\"rpc_interfaces\":\
        {{\"a\":{{\"published_address\":\"a:1\"}},\"b\":{{\"published_address\":\"a b:1\\u001b\"}},\"c\":3}}}}]}}",
        id(1).as_str(),
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert_eq!(answers::nodes(odd.as_bytes()).unwrap()[0].addresses, ["a:1"]);
}

#[test]
fn only_host_and_port_is_an_address() {
    for good in ["a:1", "[::1]:8000", "node-1.example:443", "10.0.0.1:65535"] {
        assert!(is_address(good), "{good}");
    }
    for bad in [
        "",
        "a",
        ":1",
        "a:0",
        "a:65536",
        "a b:1",
        "a/b:1",
        "a:1\r\n",
        "u@a:1",
        "\u{202e}:1",
    ] {
        assert!(!is_address(bad), "{bad}");
    }
}
