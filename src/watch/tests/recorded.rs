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

/// Every recorded answer to what a watch asks, whatever its stage: the name of the question, and the answer.
fn all_recorded() -> Option<Vec<(&'static str, Value)>> {
    const ASKED: [&str; 5] = ["state", "consensus", "network", "network__nodes", "commit"];
    let mut all = Vec::new();
    for one in samples()?.into_iter().filter(|it| it["status"] == 200) {
        let name = one["request"].as_str().unwrap_or_default().strip_prefix("GET /node/");
        let name = name.map(|name| name.replace('/', "__"));
        if let Some(asked) = ASKED.into_iter().find(|asked| Some(*asked) == name.as_deref()) {
            all.push((asked, one["answer"].clone()));
        }
    }
    let ledgers = std::env::var_os("REKINDLE_CCF_LEDGERS").map(std::path::PathBuf::from);
    let ledgers = ledgers.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/ledgers").into());
    for stage in std::fs::read_dir(ledgers.join("../http-samples")).unwrap() {
        for asked in ASKED {
            let path = stage.as_ref().unwrap().path().join(format!("node__{asked}.json"));
            if let Ok(text) = std::fs::read(path) {
                all.push((asked, serde_json::from_slice(&text).unwrap()));
            }
        }
    }
    Some(all)
}

/// What is read of an answer, to be compared; nothing where it can't be read.
fn read(asked: &str, body: &[u8]) -> Option<String> {
    match asked {
        "state" => answers::state(body).ok().map(|it| format!("{it:?}")),
        "consensus" => answers::consensus(body).ok().map(|it| format!("{it:?}")),
        "network" => answers::network(body).ok().map(|it| format!("{it:?}")),
        "network__nodes" => answers::nodes(body).ok().map(|it| format!("{it:?}")),
        _ => answers::committed(body).map(|it| format!("{it:?}")),
    }
}

/// The places of everything in a value.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect(),
        _ => Vec::new(),
    };
    for (name, it) in inside {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        out.push(at.clone());
        pointers(it, &at, out);
    }
}

#[test]
fn no_field_that_is_new_or_absent_or_odd_in_a_recorded_answer_keeps_the_rest_from_being_read() {
    let Some(all) = all_recorded() else { return };
    assert!(all.len() > 80, "{}", all.len());
    let (mut changed, mut kinds) = (0, std::collections::BTreeSet::new());
    for (asked, answer) in all {
        let bytes = |value: &Value| value.to_string().into_bytes();
        let was = read(asked, &bytes(&answer));
        assert!(was.is_some(), "{asked}: {answer}");
        let mut places = Vec::new();
        pointers(&answer, "", &mut places);
        // New fields everywhere.
        let mut grown = answer.clone();
        for place in std::iter::once(String::new()).chain(places.iter().cloned()) {
            let is_id = place.ends_with("/nodes") || place.ends_with("/acks") || place.ends_with("/rpc_interfaces");
            if let Some(Value::Object(fields)) = grown.pointer_mut(&place).filter(|_| !is_id) {
                fields.insert(
                    "in_a_later_version".to_owned(),
                    serde_json::json!({"a": [1, null, {"b": -1.5e300}]}),
                );
            }
        }
        assert_eq!(read(asked, &bytes(&grown)), was, "{grown}");
        for place in &places {
            let name = place.rsplit('/').next().unwrap();
            if !kinds.insert((asked, name.to_owned(), answer.pointer(place).unwrap().is_object())) {
                continue;
            }
            for odd in [
                Value::Null,
                serde_json::json!([]),
                serde_json::json!({}),
                serde_json::json!("\u{1b}[2J"),
                serde_json::json!(-1),
                serde_json::json!(u64::MAX),
                serde_json::json!(1e300),
            ] {
                let mut other = answer.clone();
                *other.pointer_mut(place).unwrap() = odd;
                let found = read(asked, &bytes(&other));
                assert!(found.is_none_or(|found| !found.contains('\u{1b}')));
                changed += 1;
            }
            let (parent, _) = place.rsplit_once('/').unwrap();
            let mut without = answer.clone();
            if let Some(Value::Object(fields)) = without.pointer_mut(parent) {
                fields.remove(name);
                let is_essential = matches!(
                    name,
                    "node_id" | "state" | "details" | "configs" | "idx" | "nodes" | "transaction_id"
                );
                let found = read(asked, &bytes(&without));
                assert!(found.is_some() || is_essential, "{asked} without {place}: {without}");
            }
        }
    }
    assert!(changed > 200, "{changed}");
}

#[test]
fn of_names_that_come_twice_one_is_read_and_nothing_else_is_touched() {
    let id = "ab".repeat(32);
    let body = format!("{{\"node_id\":\"{id}\",\"state\":\"A\",\"state\":\"PartOfNetwork\"}}");
    assert!(answers::state(body.as_bytes()).is_ok_and(|(_, state)| state == "PartOfNetwork"));
    let body = "{\"details\":{\"configs\":[],\"configs\":[],\"current_view\":1,\"current_view\":2}}";
    assert!(answers::consensus(body.as_bytes()).is_ok_and(|it| it.view == 2 && it.configurations.is_empty()));
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
