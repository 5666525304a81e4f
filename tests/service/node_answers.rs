//! Every answer of a recovering node, beside what a real CCF node answered at the same stage of a recovery: status, content
//! type, presence of a TxID, and the JSON's fields and types all the way down.
//!
//! The samples lie beside the real ledgers, as `../http-samples`; one folder a stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::node::{Node, Place};
use crate::support::{Service, ledgers};
use hyper::HeaderMap;
use rekindle::member::client::Answer;
use serde_json::{Value, json};

/// The stage that is over so soon that it gets a ledger of its own.
const PRIVATE: &str = "2-ReadingPrivateLedger";
const TXID: &str = "x-ms-ccf-transaction-id";

/// Where a real node answers otherwise and we know it: stage (or all), path, the difference, and why it stays.
const KNOWN: &[(&str, &str, &str, &str)] = &[
    (
        "",
        "/node/state",
        ".recovery is only ours",
        "how far the recovery is, and who keeps the service from going on: the additions to CCF's answers",
    ),
    (
        "2-ReadingPrivateLedger",
        "/node/state",
        ".last_recovered_seqno is only ours",
        "the sample was taken when that state was just over: `states.jsonl` has both fields",
    ),
    (
        "2-ReadingPrivateLedger",
        "/node/state",
        ".recovery_target_seqno is only ours",
        "as above",
    ),
    (
        "3-PartOfNetwork",
        "/app/log/private",
        "status 503, not 401",
        "no application runs in this node: a client is to ask another one, and not to take this for an answer of it",
    ),
    (
        "3-PartOfNetwork",
        "/node/ready/app",
        "status 204, not 503",
        "the sample was taken in the moment between opening and the commit of that",
    ),
    (
        "3-PartOfNetwork",
        "/node/receipt",
        "status 200, not 202",
        "receipts are made from the files at once, there is no cache to wait for",
    ),
    (
        "3-PartOfNetwork",
        "/node/snapshot",
        "status 200, not 404",
        "the snapshot that every opening asks for is there a moment later",
    ),
];

fn samples() -> Option<PathBuf> {
    let path = ledgers()?.join("../http-samples");
    assert!(path.is_dir(), "the ledgers are there, {} is not", path.display());
    Some(path)
}

/// One sample: what CCF was asked, and what it answered.
struct Sample {
    path: String,
    status: u64,
    headers: Value,
    body: Option<Value>,
}

fn read(stage: &Path) -> Vec<Sample> {
    let text = std::fs::read_to_string(stage.join("_index.json")).unwrap();
    let index: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let samples = index.into_iter().map(|(path, answer)| {
        let file = stage.join(answer["file"].as_str().unwrap());
        Sample {
            path,
            status: answer["status"].as_u64().unwrap(),
            headers: answer["headers"].clone(),
            // Large bodies were not kept.
            body: std::fs::read(file)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        }
    });
    samples.collect()
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What the two differ in, all the way down. Ids that are keys stand for each other; a list is known
/// by its fullest element: what old services wrote of their nodes is not ours to complete.
fn differences(ours: &Value, theirs: &Value, at: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let by_shape = |object: &serde_json::Map<String, Value>| -> BTreeMap<String, Value> {
                let named = object.iter().map(|(key, value)| match is_id(key) {
                    true => ("<id>".to_owned(), value.clone()),
                    false => (key.clone(), value.clone()),
                });
                named.collect()
            };
            let (ours, theirs) = (by_shape(ours), by_shape(theirs));
            for (key, value) in &ours {
                match theirs.get(key) {
                    Some(other) => differences(value, other, &format!("{at}.{key}"), found),
                    None => found.push(format!("{at}.{key} is only ours")),
                }
            }
            for key in theirs.keys().filter(|key| !ours.contains_key(*key)) {
                found.push(format!("{at}.{key} is missing"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let fullest = |list: &[Value]| list.iter().max_by_key(|item| item.to_string().len()).cloned();
            if let (Some(ours), Some(theirs)) = (&fullest(ours), &fullest(theirs)) {
                differences(ours, theirs, &format!("{at}[]"), found);
            }
        }
        (ours, theirs) if kind(ours) != kind(theirs) => {
            found.push(format!("{at} is {}, not {}", kind(ours), kind(theirs)));
        }
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    value.unwrap_or_default()
}

fn compare(sample: &Sample, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    let status = u64::from(answer.status.as_u16());
    if status != sample.status {
        let body = String::from_utf8_lossy(&answer.body);
        return vec![format!("status {status}, not {}: {body:.200}", sample.status)];
    }
    let theirs = sample.headers["content-type"].as_str().unwrap_or_default();
    if content_type(&answer.headers) != theirs {
        found.push(format!(
            "content type {:?}, not {theirs:?}",
            content_type(&answer.headers)
        ));
    }
    match (answer.headers.contains_key(TXID), sample.headers.get(TXID).is_some()) {
        (true, false) => found.push("a TxID is only ours".to_owned()),
        (false, true) => found.push("the TxID is missing".to_owned()),
        _ => {}
    }
    for header in ["www-authenticate", "retry-after"] {
        if sample.headers.get(header).is_some() && !answer.headers.contains_key(header) {
            found.push(format!("{header} is missing"));
        }
    }
    if let Some(theirs) = &sample.body {
        match serde_json::from_slice(&answer.body) {
            Ok(ours) => differences(&ours, theirs, "", &mut found),
            Err(_) => found.push("the body is no JSON".to_owned()),
        }
        // What an error says is part of the interface.
        let ours: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(theirs) = theirs.get("error")
            && ours["error"]["code"] != theirs["code"]
        {
            found.push(format!("code {}, not {}", ours["error"]["code"], theirs["code"]));
        }
    }
    found
}

/// Collects every difference of every stage, and which of the known ones were met.
#[derive(Default)]
struct Judge {
    wrong: Vec<String>,
    met: std::collections::BTreeSet<usize>,
    compared: usize,
}

impl Judge {
    fn judge(&mut self, stage: &str, path: &str, found: Vec<String>) {
        self.compared += 1;
        for what in found {
            let known = KNOWN.iter().position(|(known_stage, known_path, difference, _)| {
                stage.starts_with(known_stage) && path.starts_with(known_path) && what.starts_with(difference)
            });
            match known {
                Some(known) => drop(self.met.insert(known)),
                None => self.wrong.push(format!("{stage} {path}: {what}")),
            }
        }
    }

    /// That the table of known differences does not outlive them, for those of the stages that were visited.
    fn assert_known_are_met(&self, visited: impl Fn(&str) -> bool) {
        let unmet = KNOWN
            .iter()
            .enumerate()
            .filter(|(number, (stage, ..))| visited(stage) && !self.met.contains(number));
        let unmet: Vec<_> = unmet.map(|(_, known)| known).collect();
        assert!(unmet.is_empty(), "no longer different: {unmet:?}");
    }

    /// Asks our node everything that CCF was asked at a stage.
    fn stage(&mut self, node: &Node<'_>, samples: &Path, stage: &str, members: &[String]) {
        for sample in read(&samples.join(stage)) {
            let answer = node.get(&with_our_ids(&sample.path, members));
            self.judge(stage, &sample.path, compare(&sample, &answer));
        }
    }
}

/// The path with our members in place of theirs, any for any: they have the same roles.
fn with_our_ids(path: &str, members: &[String]) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let replaced = parts.into_iter().map(|part| {
        let (name, query) = part.split_once('?').map_or((part, ""), |(name, query)| (name, query));
        match (is_id(name), query) {
            (true, "") => members[0].clone(),
            (true, query) => format!("{}?{query}", members[0]),
            (false, _) => part.to_owned(),
        }
    });
    replaced.collect::<Vec<_>>().join("/")
}

#[test]
fn every_known_difference_stands_in_the_table_of_deviations() {
    let table = include_str!("../../docs/deviations.md");
    for (_, path, difference, _) in KNOWN {
        let row = table
            .lines()
            .find(|line| line.starts_with("| ") && line.contains(&format!("`{path}`")));
        assert!(row.is_some(), "{path}: {difference}");
    }
}

/// The name of CCF's interface is part of its answers.
fn with_their_interface(mut place: Place) -> Place {
    place.config["network"]["rpc_interfaces"] = json!({
        "primary_rpc_interface": {"bind_address": "127.0.0.1:0"},
    });
    place
}

#[test]
fn every_answer_has_the_shape_of_a_real_nodes_at_the_same_stage() {
    let Some(samples) = samples() else { return };
    let original = ledgers().unwrap().join("real_small");
    let place = with_their_interface(Place::of(&original).with_previous_identity());
    // Without a snapshot, as when the samples were taken.
    std::fs::remove_dir_all(place.directory.join("snapshots")).unwrap();
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let voters = node.voters();
    let members: Vec<String> = voters.iter().map(|keys| keys.member.id().to_owned()).collect();
    assert_eq!(members.len(), 3);
    let mut judge = Judge::default();
    judge.stage(&node, &samples, "public-before-proposal", &members);
    judge.stage(&node, &samples, "1-PartOfPublicNetwork", &members);
    node.pass(&node.opening());
    judge.stage(&node, &samples, "waiting-for-shares", &members);
    for (number, keys) in voters.iter().enumerate() {
        let said = node.submit_share(keys).unwrap();
        let text =
            std::fs::read_to_string(samples.join(format!("share-submission/{number}-member{number}.txt"))).unwrap();
        let (_, body) = text.split_once("\n\n").unwrap();
        assert_eq!(said, serde_json::from_str::<Value>(body).unwrap());
        // After the third the stages follow each other faster than anybody can ask.
        if number < 2 {
            judge.stage(&node, &samples, &format!("after-share-{}", number + 1), &members);
        }
    }
    node.wait_until_open();
    node.wait_until("the opening's snapshot is there", |node| {
        (node.get("/node/snapshot").status != 404).then_some(())
    });
    judge.stage(&node, &samples, "3-PartOfNetwork", &members);
    node.stop();
    assert!(judge.compared > 200, "{}", judge.compared);
    assert!(judge.wrong.is_empty(), "{:#?}", judge.wrong);
    judge.assert_known_are_met(|stage| stage != PRIVATE);
}

#[test]
fn answers_while_the_private_ledger_is_read_have_the_shape_of_a_real_nodes() {
    let Some(samples) = samples() else { return };
    let stage = PRIVATE;
    // Large enough that it can be watched.
    let service = Service::made(&[
        "--entries",
        "300000",
        "--private",
        "1",
        "--value-size",
        "20",
        "--signature-every",
        "10000",
    ]);
    let mut place = with_their_interface(Place::of(&service.directory));
    place.arguments = vec!["--jobs".to_owned(), "1".to_owned()];
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let members: Vec<String> = node.voters().iter().map(|keys| keys.member.id().to_owned()).collect();
    node.pass(&node.opening());
    node.submit_shares(&place.keys());
    // Everything at once, for as long as there is something to see.
    let directory = samples;
    let samples = read(&directory.join(stage));
    let mut state = None;
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < samples.len() && node.state()["state"] != "PartOfNetwork" {
        let answers = node.get_all(samples.iter().map(|sample| with_our_ids(&sample.path, &members)));
        if node.state()["state"] != "ReadingPrivateLedger" {
            continue;
        }
        for (sample, answer) in samples.iter().zip(answers) {
            if sample.path == "/node/state" {
                state = Some(answer.body.clone());
            }
            seen.insert(sample.path.clone(), compare(sample, &answer));
        }
    }
    node.wait_until_open();
    node.stop();
    assert_eq!(
        seen.len(),
        samples.len(),
        "the private ledger was read before anybody could ask"
    );
    let mut judge = Judge::default();
    for (path, found) in seen {
        judge.judge(stage, &path, found);
    }
    assert!(judge.wrong.is_empty(), "{:#?}", judge.wrong);
    judge.assert_known_are_met(|stage| stage == PRIVATE);
    // What CCF said of itself all along: the same fields in the same states.
    let state: Value = serde_json::from_slice(&state.expect("it was asked")).unwrap();
    let text = std::fs::read_to_string(directory.join("states.jsonl")).unwrap();
    let theirs = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let theirs: Vec<Value> = theirs
        .filter(|line| line["body"]["state"] == "ReadingPrivateLedger")
        .collect();
    assert!(!theirs.is_empty());
    for line in theirs {
        let mut found = Vec::new();
        differences(&state, &line["body"], "", &mut found);
        assert_eq!(found, [".recovery is only ours"]);
    }
}
