//! What the node says of its own interface, and what others say of its answers: documents and every answer of a recovery
//! go to validators that know nothing of Rekindle, receipts of every generation to the official package.
//!
//! They need the Python packages that `.ci/run` installs: in the environment that REKINDLE_CCF_PYTHON names, or in
//! target/ccf-venv. Without them these tests say that they were skipped, unless REKINDLE_REQUIRE_ORACLE=1.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Keys, Node, Place};
use crate::support::{Service, ledgers};
use bytes::Bytes;
use hyper::Method;
use rekindle::crypto::cose::MessageType;
use rekindle::member::client::Answer;
use rekindle::member::governance;
use serde_json::{Value, json};

/// Every document, by its name and the request for it.
const DOCUMENTS: [(&str, &str); 4] = [
    ("node", "/node/api"),
    ("gov", "/gov/api"),
    ("2023-06-01-preview", "/gov/api?api-version=2023-06-01-preview"),
    ("2024-07-01", "/gov/api?api-version=2024-07-01"),
];

fn python() -> Option<PathBuf> {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ccf-venv/bin/python");
    let python = std::env::var_os("REKINDLE_CCF_PYTHON").map_or_else(venv, PathBuf::from);
    let imports = "import ccf.receipt, openapi_spec_validator, openapi_schema_validator";
    let output = Command::new(&python).args(["-c", imports]).output();
    if output.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = std::env::var_os("REKINDLE_REQUIRE_ORACLE").is_some_and(|value| value == "1");
    assert!(!required, "{} can't {imports}", python.display());
    eprintln!("skipped: not in {}: {imports}", python.display());
    None
}

/// Runs one of the scripts beside this file; answers what it prints.
#[track_caller]
fn script(python: &Path, name: &str, arguments: &[PathBuf]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let output = Command::new(python).arg(path).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Keeps every answer with the documented operation that it is of.
struct Recorder {
    directory: tempfile::TempDir,
    lines: RefCell<Vec<String>>,
    /// What stands for a parameter in a path.
    parameters: RefCell<BTreeMap<&'static str, String>>,
}

impl Recorder {
    fn new() -> Recorder {
        Recorder {
            directory: tempfile::tempdir().unwrap(),
            lines: RefCell::default(),
            parameters: RefCell::default(),
        }
    }

    fn set(&self, name: &'static str, value: impl Into<String>) {
        self.parameters.borrow_mut().insert(name, value.into());
    }

    fn record(&self, document: &str, path: &str, method: &str, said: &Said) {
        let is_json = said
            .headers
            .get("content-type")
            .is_some_and(|kind| kind == "application/json");
        // What a member submitted is answered as it was submitted.
        if is_json && !said.body.is_empty() && !path.ends_with("/actions") {
            let sorted = serde_json::from_str::<Value>(&said.body).map(|body| body.to_string());
            assert_eq!(
                said.body,
                sorted.unwrap(),
                "{method} {path}: its names are sorted, as CCF's are"
            );
        }
        let line = json!({
            "body": said.body, "document": document, "headers": said.headers, "method": method, "path": path,
            "status": said.status,
        });
        self.lines.borrow_mut().push(line.to_string());
    }

    /// Asks for everything that a document says can be asked for without a signature.
    fn read_all(&self, node: &Node<'_>) {
        for (name, request) in DOCUMENTS {
            let document = node.json(request);
            std::fs::write(self.directory.path().join(format!("{name}.json")), document.to_string()).unwrap();
            for (path, item) in document["paths"].as_object().unwrap() {
                let documented = item.as_object().unwrap().keys();
                let methods = documented.filter(|method| ["get", "head"].contains(&method.as_str()));
                for method in methods {
                    let url = self.url(name, path);
                    let answer = ask(node, method, &url);
                    self.record(name, path, method, &answer);
                }
            }
        }
    }

    /// A path with its parameters filled in, and the query that it needs.
    fn url(&self, document: &str, path: &str) -> String {
        let mut url = path.to_owned();
        let parameters = self.parameters.borrow();
        for (name, value) in parameters.iter().filter(|(name, _)| name.starts_with('{')) {
            // Names of files differ by what they are of.
            let of_chunk = path.contains("ledger-chunk");
            let value = match *name {
                "{name}" if of_chunk => &parameters["chunk"],
                _ => value,
            };
            url = url.replace(name, value);
        }
        assert!(!url.contains('{'), "no value for a parameter of {path}");
        let query = match path {
            "/node/tx" | "/node/receipt" | "/gov/tx" | "/gov/receipt" => {
                format!("transaction_id={}", parameters["transaction"])
            }
            "/node/commit" => "view_history=true".to_owned(),
            "/node/ledger-chunk" => "since=3".to_owned(),
            "/node/network/nodes" => "status=Trusted".to_owned(),
            _ => String::new(),
        };
        match document.starts_with("20") {
            true => format!("{url}?api-version={document}&{query}"),
            false => format!("{url}?{query}"),
        }
    }

    /// Sends a signed message, and keeps the answer.
    fn post(&self, node: &Node<'_>, keys: &Keys, path: &str, kind: MessageType, payload: &Value) -> Value {
        let document = "2024-07-01";
        let proposal = path
            .contains("{proposalId}")
            .then(|| self.parameters.borrow()["{proposalId}"].clone());
        self.set("{memberId}", keys.member.id());
        let body = keys
            .member
            .sign(
                kind,
                governance::now_s(),
                proposal.as_deref(),
                payload.to_string().as_bytes(),
            )
            .unwrap();
        let url = self.url(document, path);
        let answer = node.run(node.client().request(
            Method::POST,
            &url,
            Bytes::copy_from_slice(&body),
            Some("application/cose"),
        ));
        let said = answer.unwrap().into();
        self.record(document, path, "post", &said);
        serde_json::from_str(&said.body).unwrap_or_default()
    }

    /// The verdict of the validators.
    fn judge(&self, python: &Path, how: &str) -> Value {
        let path = self.directory.path();
        std::fs::write(path.join("answers.jsonl"), self.lines.borrow().join("\n")).unwrap();
        script(python, "official_api.py", &[path.to_owned(), PathBuf::from(how)])
    }
}

/// What was answered.
struct Said {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = answer.headers.iter();
        Said {
            status: answer.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
                .collect(),
            body: text(&answer.body),
        }
    }
}

fn ask(node: &Node<'_>, method: &str, url: &str) -> Said {
    let path = url.split('?').next().unwrap();
    // Members' client follows where it is sent.
    if ["/node/snapshot", "/node/ledger-chunk"].contains(&path) {
        return curl(node, method, url, None);
    }
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    node.run(node.anyone().request(method, url, Bytes::new(), None))
        .unwrap()
        .into()
}

/// The same by another client, which can ask for a part of a file, and stays where it is.
fn curl(node: &Node<'_>, method: &str, url: &str, range: Option<&str>) -> Said {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--insecure",
        "--http1.1",
        "--dump-header",
        "-",
    ]);
    match method {
        "head" => command.arg("--head").args(["--output", "/dev/null"]),
        _ => command.args(["--output", "/dev/stderr"]),
    };
    if let Some(range) = range {
        command.args(["--header", &format!("range: bytes={range}")]);
    }
    let output = command.arg(format!("{}{url}", node.url)).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(": "));
    Said {
        status: status.unwrap_or_else(|| panic!("{text}")),
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect(),
        body: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ids that paths need, from what the node itself says.
fn learn(recorder: &Recorder, node: &Node<'_>, place: &Place) {
    let state = node.state();
    recorder.set("{node_id}", state["node_id"].as_str().unwrap());
    recorder.set("{nodeId}", state["node_id"].as_str().unwrap());
    recorder.set("{memberId}", node.voters()[0].member.id());
    recorder.set("{userId}", "a".repeat(64));
    recorder.set("{moduleName}", "module.js");
    recorder.set("{proposalId}", "b".repeat(64));
    let created = node.json("/node/network")["current_service_create_txid"].clone();
    recorder.set("{transactionId}", created.as_str().unwrap());
    recorder.set("transaction", created.as_str().unwrap());
    let named = |directory: &Path, begins: &str| {
        let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names
            .filter(|name| name.starts_with(begins) && name.ends_with(".committed"))
            .collect();
        names.sort();
        names.into_iter().next().unwrap_or_else(|| "none".to_owned())
    };
    recorder.set("chunk", named(&place.ledger(), "ledger_"));
    recorder.set("{name}", named(&place.directory.join("snapshots"), "snapshot_"));
}

/// A whole recovery, with everything that can be asked at every stage.
fn recover(place: &Place, recorder: &Recorder) {
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    learn(recorder, &node, place);
    recorder.read_all(&node);
    let voters = node.voters();
    let submit = "/gov/members/proposals/{proposalId}/ballots/{memberId}:submit";
    let ballot = json!({"ballot": governance::ACCEPT});
    // One is withdrawn, one is accepted, one is of nobody.
    for round in 0..2 {
        let create = "/gov/members/proposals:create";
        let opening = node.opening();
        let mut answer = recorder.post(&node, &voters[0], create, MessageType::Proposal, &opening);
        let id = answer["proposalId"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned();
        recorder.set("{proposalId}", id);
        if round == 0 {
            let withdraw = "/gov/members/proposals/{proposalId}:withdraw";
            recorder.post(&node, &voters[0], submit, MessageType::Ballot, &ballot);
            recorder.read_all(&node);
            recorder.post(&node, &voters[0], withdraw, MessageType::Withdrawal, &json!({}));
            continue;
        }
        for keys in &voters {
            if answer["proposalState"] == "Open" {
                answer = recorder.post(&node, keys, submit, MessageType::Ballot, &ballot);
            }
        }
        assert_eq!(answer["proposalState"], "Accepted", "{answer}");
    }
    recorder.read_all(&node);
    let update = "/gov/members/state-digests/{memberId}:update";
    let digest = recorder.post(&node, &voters[0], update, MessageType::StateDigest, &json!({}));
    let digest = json!({"stateDigest": digest["stateDigest"]});
    recorder.post(
        &node,
        &voters[0],
        "/gov/members/state-digests/{memberId}:ack",
        MessageType::Ack,
        &digest,
    );
    let share = "/gov/recovery/members/{memberId}:recover";
    recorder.post(
        &node,
        &voters[0],
        share,
        MessageType::RecoveryShare,
        &json!({"share": "AAAA"}),
    );
    for keys in &voters {
        let encrypted = node.json(&format!(
            "/gov/recovery/encrypted-shares/{}?api-version=2024-07-01",
            keys.member.id()
        ));
        let encrypted = bytes_of(encrypted["encryptedShare"].as_str().unwrap());
        let opened = keys.encryption.as_ref().unwrap().decrypt(&encrypted).unwrap();
        let payload = json!({"share": base64_of(&opened)});
        let said = recorder.post(&node, keys, share, MessageType::RecoveryShare, &payload);
        if said["message"]
            .as_str()
            .unwrap_or_default()
            .contains("End of recovery procedure")
        {
            break;
        }
    }
    node.wait_until_open();
    let certificate = voters[0].member.certificate().to_pem();
    node.act("set_user", json!({"cert": certificate, "user_data": {"name": "x"}}));
    let users = node.json("/gov/service/users?api-version=2024-07-01");
    recorder.set("{userId}", users["value"][0]["userId"].as_str().unwrap());
    node.wait_until("there is a snapshot", |node| {
        (node.get("/node/snapshot").status != 404).then_some(())
    });
    learn_files(recorder, &node, place);
    node.wait_for_commit();
    recorder.read_all(&node);
    for path in HEALING {
        let refused = ask(&node, "put", path);
        assert!(refused.status >= 400, "{path}: {}", refused.body);
        recorder.record("node", path, "put", &refused);
    }
    for path in ["/node/snapshot/{name}", "/node/ledger-chunk/{name}"] {
        let part = curl(&node, "get", &recorder.url("node", path), Some("0-10"));
        assert_eq!(part.status, 206);
        recorder.record("node", path, "get", &part);
    }
    node.stop();
}

fn learn_files(recorder: &Recorder, node: &Node<'_>, place: &Place) {
    let proposal = recorder.parameters.borrow()["{proposalId}"].clone();
    let user = recorder.parameters.borrow()["{userId}"].clone();
    learn(recorder, node, place);
    recorder.set("{proposalId}", proposal);
    recorder.set("{userId}", user);
}

fn bytes_of(text: &str) -> Vec<u8> {
    let value: rekindle::tables::values::Base64 = serde_json::from_value(json!(text)).unwrap();
    value.0
}

fn base64_of(bytes: &[u8]) -> Value {
    serde_json::to_value(rekindle::tables::values::Base64(bytes.to_vec())).unwrap()
}

/// What nodes that heal by themselves say to each other; this one is alone, and is not to heal.
const HEALING: [&str; 8] = [
    "/node/recovery_decision_protocol/gossip",
    "/node/recovery_decision_protocol/iamopen",
    "/node/recovery_decision_protocol/timeout",
    "/node/recovery_decision_protocol/vote",
    "/node/self_healing_open/gossip",
    "/node/self_healing_open/iamopen",
    "/node/self_healing_open/timeout",
    "/node/self_healing_open/vote",
];

/// Operations that have no success in a recovery, and why.
const NO_SUCCESS: &[(&str, &str)] = &[
    (
        "node delete /node/network/nodes/{node_id}",
        "only a retired node can be removed",
    ),
    ("node get /node/backup", "there is one node, and it is the primary"),
    ("node post /node/create", "the service is there already"),
    (
        "node post /node/join",
        "no other node is there: tests of joining have several",
    ),
    (
        "node post /node/jwt_keys/refresh",
        "only a node of the service may ask for it",
    ),
    (
        "2024-07-01 get /gov/service/javascript-modules/{moduleName}",
        "no application is installed",
    ),
];

/// That every documented operation was answered with the success that is documented.
fn assert_all_seen(verdict: &Value) {
    let mut missing = Vec::new();
    for (operation, statuses) in verdict["seen"].as_object().unwrap() {
        let succeeded = statuses
            .as_array()
            .unwrap()
            .iter()
            .any(|status| status.as_u64().unwrap() < 400);
        let known = NO_SUCCESS.iter().any(|(known, _)| known == operation);
        let heals = operation.strip_prefix("node put ");
        let known = known || heals.is_some_and(|path| HEALING.contains(&path));
        // One version's writing endpoints are the other's.
        let is_other = operation.starts_with("2023-06-01-preview post");
        if succeeded == (known || is_other) {
            missing.push(format!("{operation}: {statuses}"));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn documents_are_valid_and_every_answer_of_a_recovery_is_as_they_say() {
    let Some(python) = python() else { return };
    let service = Service::made(&["--entries", "60", "--signature-every", "20", "--recoveries", "1"]);
    let place = Place::of(&service.directory);
    let recorder = Recorder::new();
    recover(&place, &recorder);
    let verdict = recorder.judge(&python, "closed");
    assert_eq!(verdict["wrong"], json!([]), "{verdict:#}");
    assert!(verdict["answers"].as_u64().unwrap() > 300, "{verdict:#}");
    assert_all_seen(&verdict);
}

#[test]
fn every_answer_of_a_real_services_recovery_is_as_documented() {
    let (Some(python), Some(ledgers)) = (python(), ledgers()) else {
        return;
    };
    let place = Place::of(&ledgers.join("real_small"));
    let recorder = Recorder::new();
    recover(&place, &recorder);
    // What real nodes wrote of themselves may have more fields than ours.
    let verdict = recorder.judge(&python, "open");
    assert_eq!(verdict["wrong"], json!([]), "{verdict:#}");
}

#[test]
fn the_documents_are_of_the_form_that_ccfs_clients_know() {
    let service = Service::made(&["--entries", "20", "--signature-every", "20"]);
    let place = Place::of(&service.directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let document = node.json("/node/api");
    assert_eq!(document["openapi"], "3.0.0");
    assert_eq!(document["servers"], json!([]));
    let operation = |path: &str| document["paths"][path]["get"].clone();
    assert_eq!(
        operation("/node/state")["x-ccf-forwarding"],
        json!({"$ref": "#/components/x-ccf-forwarding/never"})
    );
    let types: Vec<(&str, Value)> = [("/node/commit", 1), ("/node/tx", 0), ("/node/receipt", 0)]
        .into_iter()
        .map(|(path, number)| (path, operation(path)["parameters"][number]["schema"].clone()))
        .collect();
    assert_eq!(types[0].1["type"], "integer");
    for (path, schema) in &types[1..] {
        assert_eq!(schema["$ref"], "#/components/schemas/TransactionId", "{path}");
    }
    for version in ["2023-06-01-preview", "2024-07-01"] {
        let document = node.json(&format!("/gov/api?api-version={version}"));
        assert_eq!(
            (&document["swagger"], &document["info"]["version"]),
            (&json!("2.0"), &json!(version))
        );
        assert!(document["paths"]["/gov/members/proposals/{proposalId}"].is_object());
        let later = document["paths"]["/gov/service/javascript-app"].is_object();
        assert_eq!(later, version == "2024-07-01");
    }
    let recorder = Recorder::new();
    learn(&recorder, &node, &place);
    recorder.read_all(&node);
    let refused = node.get("/gov/api?api-version=1");
    assert_eq!(refused.status, 400);
    node.stop();
}

/// The receipts of these transactions, verified by the official package for somebody who knows only the node's present
/// service; answers how many endorsements each needed.
fn verified(python: &Path, node: &Node<'_>, place: &Place, transactions: &[String]) -> Vec<u64> {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec![place.directory.join("service_cert.pem")];
    for (number, transaction) in transactions.iter().enumerate() {
        let path = directory.path().join(format!("{number}.json"));
        let receipt = node.json(&format!("/node/receipt?transaction_id={transaction}"));
        assert!(receipt.get("is_signature_transaction").is_none());
        std::fs::write(&path, receipt.to_string()).unwrap();
        arguments.push(path);
    }
    let counts = script(python, "official_receipts.py", &arguments);
    counts
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_u64().unwrap())
        .collect()
}

/// One transaction in each stage of each service of a ledger: its creation, the middle, its last signature.
fn one_of_each_stage(report: &Value, node: &Node<'_>) -> Vec<Vec<String>> {
    let services = report["services"].as_array().unwrap();
    let from: Vec<u64> = services
        .iter()
        .map(|service| service["from_seqno"].as_u64().unwrap())
        .collect();
    let views = node.json("/node/commit?view_history=true");
    let views: Vec<(u64, u64)> = views["view_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| {
            let (view, seqno) = id.as_str().unwrap().split_once('.').unwrap();
            (view.parse().unwrap(), seqno.parse().unwrap())
        })
        .collect();
    let last = node.state()["last_signed_seqno"].as_u64().unwrap();
    let ends = from.iter().skip(1).map(|next| next - 1).chain([last]);
    from.iter()
        .zip(ends)
        .map(|(&from, end)| {
            let seqnos = [from, from + 1, from + 3, (from + end) / 2, end];
            let view = |seqno: u64| views.iter().rfind(|(_, first)| *first <= seqno).unwrap().0;
            seqnos.map(|seqno| format!("{}.{seqno}", view(seqno))).to_vec()
        })
        .collect()
}

#[test]
fn receipts_of_every_generation_verify_with_the_present_identity_alone() {
    let Some(python) = python() else { return };
    let service = Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "20",
        "--links-to-creation",
        "--recoveries",
        "1",
    ]);
    let mut place = Place::of(&service.directory);
    // The made-up service has one recovery after it: two, three and four generations lie in one ledger.
    for generation in 1..=3 {
        let mut node = place.start();
        node.wait_for("PartOfPublicNetwork");
        node.open();
        node.wait_for_commit();
        let stages = one_of_each_stage(&place.verify(), &node);
        assert_eq!(stages.len(), generation + 2);
        let (present, earlier) = stages.split_last().unwrap();
        assert_eq!(verified(&python, &node, &place, present), [0; 5]);
        for transactions in earlier {
            assert_eq!(
                verified(&python, &node, &place, transactions),
                [1; 5],
                "{transactions:?}"
            );
        }
        node.stop();
        place = place.again();
    }
}
