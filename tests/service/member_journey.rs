//! `rekindle member` against a live node that recovers a made-up service: every command of a member's part in a recovery, in
//! the order of `docs/members.md`, with the mistakes that a tired member makes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{self, Run, Service, copy_files};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

/// A node that recovers a service.
struct Node {
    process: Child,
    url: String,
    home: TempDir,
}

impl Node {
    fn recovering(service: &Service) -> Node {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        copy_files(&service.ledger(), &at("ledger"));
        std::fs::copy(service.common("service_cert.pem"), at("previous_service_cert.pem")).unwrap();
        let config = json!({
            "network": {"rpc_interfaces": {"main": {"bind_address": "127.0.0.1:0"}}},
            "node_certificate": {"subject_alt_names": ["iPAddress:127.0.0.1"]},
            "command": {"type": "Recover", "recover": {"previous_service_identity_file": "previous_service_cert.pem"}},
            "ledger_signatures": {"delay": "50ms"},
            "output_files": {"rpc_addresses_file": "addresses.json"},
        });
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let process = support::command()
            .args(["node", "--config", "config.json"])
            .current_dir(home.path())
            .stdout(std::fs::File::create(at("node.log")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let addresses = eventually("the node's address", || {
            let text = std::fs::read_to_string(at("addresses.json")).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let url = format!("https://{}", addresses["main"].as_str().unwrap());
        Node { process, url, home }
    }

    fn service_certificate(&self) -> PathBuf {
        self.home.path().join("service_cert.pem")
    }

    /// Runs a command of `rekindle member` that trusts this certificate.
    fn trusting(&self, certificate: &Path, arguments: &[&str]) -> Run {
        let mut all: Vec<OsString> = vec!["member".into()];
        all.extend(arguments.iter().map(OsString::from));
        all.extend(["--url".into(), OsString::from(&self.url)]);
        all.extend(["--service-certificate".into(), certificate.into()]);
        Run::of(&all)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.trusting(&self.service_certificate(), arguments)
    }

    fn status(&self) -> Value {
        self.run(&["status", "--json"]).expect(0).json()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A member's arguments after a command's own.
fn signed(service: &Service, member: usize, arguments: &[&str]) -> Vec<String> {
    let path = |what: &str| {
        service
            .common(&format!("member{member}_{what}.pem"))
            .display()
            .to_string()
    };
    let own = arguments.iter().map(|argument| (*argument).to_owned());
    own.chain(["--cert".to_owned(), path("cert"), "--key".to_owned(), path("privk")])
        .collect()
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn members_recover_a_service_and_are_told_what_to_do_at_every_mistake() {
    let service = Service::made(&["--entries", "60", "--signature-every", "10"]);
    let node = Node::recovering(&service);
    let by = |member: usize, arguments: &[&str]| {
        let arguments = signed(&service, member, arguments);
        node.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let previous = service.common("service_cert.pem").display().to_string();
    let next = node.service_certificate().display().to_string();

    // The node is trusted as soon as the new service has endorsed it, and never for another service's certificate.
    eventually("members' interface", || {
        let run = node.run(&["proposals"]);
        (run.code == Some(0)).then_some(())
    });
    node.trusting(Path::new(&previous), &["status"])
        .expect_sentence(3, &["is not trusted", "newest certificate"]);
    let status = node.status();
    assert_eq!(status["service"]["service_status"], "Recovering");
    assert_eq!(status["service"]["recovery_count"], 1);
    assert_says(
        &node.run(&["status"]).expect(0).text(),
        &["state        PartOfPublicNetwork", "Recovering"],
    );

    // Too early, and not without a look at both identities.
    let share = |member: usize, key: usize| {
        let key = service.key(key).display().to_string();
        by(member, &["submit-share", "--encryption-key", &key])
    };
    assert_says(
        &share(0, 0).expect(1).stderr,
        &["ServiceNotWaitingForRecoveryShares", "open-service"],
    );
    assert_says(
        &by(0, &["open-service"]).expect(2).stderr,
        &["previous", "next", "--yes"],
    );
    let mixed = by(0, &["open-service", "--previous", &next, "--yes"]).expect(1);
    assert_says(&mixed.stderr, &["is not the one in", "nothing was proposed"]);

    // A proposal that is withdrawn: by its proposer only.
    let open = ["open-service", "--previous", &previous, "--next", &next, "--yes"];
    let proposed = by(0, &[open.as_slice(), &["--json"]].concat()).expect(0).json();
    let id = proposed["proposalId"].as_str().unwrap().to_owned();
    assert_eq!(proposed["proposalState"], "Open");
    assert_says(
        &by(1, &["withdraw", &id]).expect(1).stderr,
        &["AuthorizationFailed", "only the member who made a proposal"],
    );
    assert_says(&by(0, &["withdraw", &id]).expect(0).text(), &["state        Withdrawn"]);

    // The one that passes; who votes sees fingerprints, not only PEM.
    let text = by(0, &open).expect(0).text();
    assert_says(&text, &["state        Open", "rekindle member vote"]);
    let list = node.run(&["proposals", "--json"]).expect(0).json();
    let open_ones = list["value"].as_array().unwrap().iter();
    let id = open_ones
        .filter(|proposal| proposal["proposalState"] == "Open")
        .map(|proposal| proposal["proposalId"].as_str().unwrap())
        .next()
        .unwrap();
    let shown = node.run(&["proposals", id]).expect(0).text();
    for path in [&previous, &next] {
        let pem = std::fs::read_to_string(path).unwrap();
        let certificate = rekindle::crypto::Certificate::from_pem(&pem).unwrap();
        let fingerprint = hex::encode(rekindle::crypto::sha256(certificate.der()));
        assert_says(&shown, &[&format!("sha256 {fingerprint}"), pem.lines().nth(1).unwrap()]);
    }
    assert_says(&shown, &["action       transition_service_to_open"]);
    by(0, &["vote", id, "--reject"]).expect(0);
    assert_says(&by(0, &["vote", id]).expect(1).stderr, &["VoteAlreadyExists"]);
    assert_says(
        &by(1, &["vote", &"0".repeat(64)]).expect(1).stderr,
        &["ProposalNotFound", "rekindle member proposals"],
    );
    by(1, &["vote", id]).expect(0);
    assert_says(&by(2, &["vote", id]).expect(0).text(), &["state        Accepted"]);
    assert_says(&by(0, &["vote", id]).expect(1).stderr, &["ProposalNotOpen"]);
    let shown = node.run(&["proposals", id]).expect(0).text();
    assert_says(&shown, &["against: export function vote", "for: export function vote"]);
    assert_says(
        &by(0, &open).expect(1).stderr,
        &["WaitingForRecoveryShares", "submit-share"],
    );

    // Shares: another member's key opens nothing and sends nothing.
    assert_says(
        &share(0, 1).expect(2).stderr,
        &["does not open with this encryption key"],
    );
    assert_says(&share(0, 0).expect(0).text(), &["1/2 recovery shares"]);
    assert_says(&share(0, 0).expect(0).text(), &["1/2 recovery shares"]);
    let last = share(2, 2).expect(0).text();
    assert_says(&last, &["2/2 recovery shares", "End of recovery procedure initiated"]);
    eventually("the open service", || {
        (node.status()["service"]["service_status"] == "Open").then_some(())
    });
    assert_eq!(node.status()["node"]["state"], "PartOfNetwork");

    // An open service is governed on: acknowledgements, further proposals, and those signed elsewhere.
    assert_says(&by(1, &["ack"]).expect(0).text(), &["acknowledged ", "by           "]);
    let proposal = node.home.path().join("rekey.json");
    std::fs::write(&proposal, r#"{"actions": [{"name": "trigger_ledger_rekey"}]}"#).unwrap();
    let rekey = by(1, &["propose", proposal.to_str().unwrap(), "--json"])
        .expect(0)
        .json();
    let id = rekey["proposalId"].as_str().unwrap();
    by(1, &["vote", id]).expect(0);
    assert_says(&by(0, &["vote", id]).expect(0).text(), &["state        Accepted"]);
    assert_says(&share(1, 1).expect(1).stderr, &["ServiceNotWaitingForRecoveryShares"]);
}

#[test]
fn a_wrong_share_is_found_out_by_one_share_more_and_the_others_count() {
    let service = Service::made(&["--entries", "30", "--signature-every", "10"]);
    let node = Node::recovering(&service);
    let by = |member: usize, arguments: &[&str]| {
        let arguments = signed(&service, member, arguments);
        node.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    eventually("members' interface", || {
        (node.run(&["proposals"]).code == Some(0)).then_some(())
    });
    let proposed = by(0, &["open-service", "--yes", "--json"]).expect(0).json();
    let id = proposed["proposalId"].as_str().unwrap();
    for member in 0..2 {
        by(member, &["vote", id]).expect(0);
    }
    assert_eq!(node.status()["service"]["service_status"], "WaitingForRecoveryShares");

    // A share of the right form that was never issued, signed with our tool and sent with another.
    let mut bytes = vec![2, 0, 0, 0];
    bytes.extend([1; 40]);
    use base64::prelude::{BASE64_STANDARD, Engine};
    let content = node.home.path().join("share.json");
    std::fs::write(&content, json!({"share": BASE64_STANDARD.encode(bytes)}).to_string()).unwrap();
    let pem = std::fs::read_to_string(service.common("member1_cert.pem")).unwrap();
    let certificate = rekindle::crypto::Certificate::from_pem(&pem).unwrap();
    let member = hex::encode(rekindle::crypto::sha256(certificate.der()));
    let arguments = [
        "sign",
        "--type",
        "recovery_share",
        "--content",
        content.to_str().unwrap(),
    ];
    let arguments = signed(&service, 1, &arguments);
    let mut all: Vec<OsString> = vec!["member".into()];
    all.extend(arguments.iter().map(OsString::from));
    let request = Run::of(&all).expect(0).stdout;
    let path = format!("/gov/recovery/members/{member}:recover?api-version=2024-07-01");
    let pem = std::fs::read_to_string(node.service_certificate()).unwrap();
    let trust = rekindle::member::Trust::Service(rekindle::crypto::Certificate::from_pem(&pem).unwrap());
    let client = rekindle::member::Client::new(&node.url, trust).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sent = client.request(hyper::Method::POST, &path, request.into(), Some("application/cose"));
    assert_eq!(runtime.block_on(sent).unwrap().status, 200);

    let share = |member: usize| {
        let key = service.key(member).display().to_string();
        by(member, &["submit-share", "--encryption-key", &key])
    };
    let refused = share(0).expect(1).stderr;
    assert_says(
        &refused,
        &[
            "Failed to initiate private recovery",
            "The shares are kept",
            "one more member",
        ],
    );
    assert_says(&share(2).expect(0).text(), &["End of recovery procedure initiated"]);
    eventually("the open service", || {
        (node.status()["service"]["service_status"] == "Open").then_some(())
    });
}
