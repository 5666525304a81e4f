//! A node as its operator and its members meet it: the real binary on a copy of a ledger, and real connections.
//!
//! A [`Place`] is the directory that a node is started in, again and again if need be; a [`Node`] is a running process.
#![allow(dead_code, reason = "every journey uses its part of this")]

use std::cell::OnceCell;
use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hyper::Method;
use rekindle::crypto::Certificate;
use rekindle::crypto::rsa::DecryptionKey;
use rekindle::crypto::x509::time_text;
use rekindle::member::client::Answer;
use rekindle::member::{Client, Error, Member, Session, Trust, governance};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing here takes so long on a busy machine; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);

/// The binary: the one built for the tests, or this very program, which an example lets be a node.
pub fn program() -> PathBuf {
    match option_env!("CARGO_BIN_EXE_rekindle") {
        Some(program) => PathBuf::from(program),
        None => std::env::current_exe().unwrap(),
    }
}

/// A member with keys.
pub struct Keys {
    pub name: String,
    pub member: Member,
    pub encryption: Option<DecryptionKey>,
}

/// Everybody whose keys are in a directory, in the order of their numbers.
pub fn read_keys(common: &Path) -> Vec<Keys> {
    let read =
        |number: usize, suffix: &str| std::fs::read_to_string(common.join(format!("member{number}_{suffix}.pem"))).ok();
    let keys = (0..20).filter_map(|number| {
        let (certificate, key) = (read(number, "cert")?, read(number, "privk")?);
        let encryption = read(number, "enc_privk");
        Some(Keys {
            name: format!("member{number}"),
            member: Member::from_pem(&certificate, &key).unwrap(),
            encryption: encryption.map(|pem| DecryptionKey::from_pem(&pem).unwrap()),
        })
    });
    keys.collect()
}

/// From when on certificates are valid that members give to nodes, as constitutions take it.
pub fn an_hour_ago() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    time_text(now.as_secs() - 3600).unwrap()
}

/// Where a node is started: `ledger`, `snapshots` and the members' `common`, copied, and a configuration.
pub struct Place {
    pub directory: PathBuf,
    pub config: Value,
    pub arguments: Vec<String>,
    /// Limits that a shell sets before it becomes the node, such as `ulimit -f 100`.
    pub shell: Option<String>,
    _scratch: Option<TempDir>,
}

/// A short configuration that names no previous identity.
pub fn config() -> Value {
    json!({
        "network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
            "rpc_interfaces": {"test": {"bind_address": "127.0.0.1:0"}},
        },
        "command": {"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}},
        "ledger": {"directory": "ledger"},
        "ledger_signatures": {"delay": "25ms"},
        "snapshots": {"directory": "snapshots"},
        "output_files": {
            "node_certificate_file": "node_cert.pem",
            "pid_file": "node.pid",
            "rpc_addresses_file": "rpc_addresses.json",
            "node_to_node_address_file": "node_address.json",
        },
    })
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    if !from.is_dir() {
        return;
    }
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            // Written anew: whoever may read the original may write the copy.
            std::fs::write(to.join(path.file_name().unwrap()), std::fs::read(&path).unwrap()).unwrap();
        }
    }
}

impl Place {
    /// A copy of a service in a directory that is removed with this.
    pub fn of(service: &Path) -> Place {
        let scratch = tempfile::tempdir().unwrap();
        let mut place = Place::at(scratch.path());
        place._scratch = Some(scratch);
        for name in ["ledger", "snapshots", "common"] {
            copy(&service.join(name), &place.directory.join(name));
        }
        place
    }

    /// A directory as it is.
    pub fn at(directory: &Path) -> Place {
        Place {
            directory: directory.canonicalize().unwrap(),
            config: config(),
            arguments: Vec::new(),
            shell: None,
            _scratch: None,
        }
    }

    /// The same ledger for another recovery.
    pub fn again(&self) -> Place {
        Place::of(&self.directory)
    }

    pub fn ledger(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    pub fn keys(&self) -> Vec<Keys> {
        read_keys(&self.directory.join("common"))
    }

    /// Names the last service's certificate as operators are told to.
    pub fn with_previous_identity(mut self) -> Place {
        let path = self.directory.join("previous_service_cert.pem");
        std::fs::copy(self.directory.join("common/service_cert.pem"), path).unwrap();
        self.config["command"]["recover"]["previous_service_identity_file"] = json!("previous_service_cert.pem");
        self
    }

    fn command(&self) -> Command {
        std::fs::write(self.directory.join("config.json"), self.config.to_string()).unwrap();
        let mut arguments = vec!["node".to_owned(), "--config".to_owned(), "config.json".to_owned()];
        arguments.extend(self.arguments.iter().cloned());
        let mut command = match &self.shell {
            None => Command::new(program()),
            Some(limits) => {
                let mut command = Command::new("sh");
                command
                    .arg("-c")
                    .arg(format!("{limits}; exec \"$0\" \"$@\""))
                    .arg(program());
                command
            }
        };
        command
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    /// Starts a node and waits until it says where it listens.
    #[track_caller]
    pub fn start(&self) -> Node<'_> {
        self.try_start().unwrap_or_else(|why| panic!("the node ends: {why}"))
    }

    /// The same, or what its log says if it ends instead.
    pub fn try_start(&self) -> Result<Node<'_>, String> {
        let log = File::create(self.directory.join("node.log")).unwrap();
        let errors = log.try_clone().unwrap();
        self.start_with(log, errors)
    }

    /// The same with other ends of what it says.
    pub fn start_with(&self, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Result<Node<'_>, String> {
        let addresses = self.directory.join("rpc_addresses.json");
        let _ = std::fs::remove_file(&addresses);
        let child = self.command().stdout(stdout).stderr(stderr).spawn().unwrap();
        let mut node = Node {
            place: self,
            child,
            url: String::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            client: OnceCell::new(),
        };
        let began = Instant::now();
        loop {
            let text = std::fs::read(&addresses).unwrap_or_default();
            if let Ok(addresses) = serde_json::from_slice::<Value>(&text) {
                let address = addresses.as_object().unwrap().values().next().unwrap().clone();
                node.url = format!("https://{}", address.as_str().unwrap());
                return Ok(node);
            }
            if let Some(status) = node.ended() {
                return Err(format!("{status}\n{}", node.log()));
            }
            assert!(began.elapsed() < PATIENCE, "it does not listen: {}", node.log());
            std::thread::sleep(POLL);
        }
    }

    /// Starts a node and kills it a moment later, whatever it does.
    pub fn start_and_kill(&self, after: Duration) {
        let mut child = self
            .command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts a node that must end by itself with an error; answers what it said.
    #[track_caller]
    pub fn refused(&self) -> String {
        let output = self.command().output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.status.success(), "the node did not refuse: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    /// From the start to the end of a recovery that nothing is wrong with.
    #[track_caller]
    pub fn recover(&self) -> Recovered {
        let mut node = self.start();
        let public = node.wait_for("PartOfPublicNetwork");
        node.open();
        let opened = node.state();
        node.stop();
        Recovered { public, opened }
    }

    /// That the ledger verifies without a finding that is worse than information; answers the report.
    #[track_caller]
    pub fn verify(&self) -> Value {
        let mut command = Command::new(program());
        command.args(["verify", "--json"]).arg(self.ledger());
        if let Some(others) = self.config["ledger"]["read_only_directories"].as_array() {
            command.args(others.iter().map(|other| self.directory.join(other.as_str().unwrap())));
        }
        command.arg("--snapshots").arg(self.directory.join("snapshots"));
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
        serde_json::from_str(&text).unwrap()
    }
}

/// What a recovery showed of itself.
pub struct Recovered {
    /// `/node/state` as a public network.
    pub public: Value,
    /// `/node/state` when open.
    pub opened: Value,
}

/// A running node; killed when it is dropped.
pub struct Node<'p> {
    place: &'p Place,
    child: Child,
    pub url: String,
    runtime: tokio::runtime::Runtime,
    client: OnceCell<Client>,
}

impl Node<'_> {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            match self.ended() {
                Some(status) => return status,
                None => assert!(began.elapsed() < PATIENCE, "the node does not end: {}", self.log()),
            }
            std::thread::sleep(POLL);
        }
    }

    /// What is logged. A thread of its own writes it: it is read when nothing more has come for a moment.
    pub fn log(&self) -> String {
        let read = || std::fs::read_to_string(self.place.directory.join("node.log")).unwrap_or_default();
        let mut log = read();
        for _ in 0..100 {
            std::thread::sleep(POLL.max(Duration::from_millis(30)));
            let now = read();
            if now == log {
                break;
            }
            log = now;
        }
        log
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Somebody who takes any certificate.
    pub fn anyone(&self) -> Client {
        Client::new(&self.url, Trust::Anyone).unwrap()
    }

    /// Somebody who trusts nodes of the service in `service_cert.pem`, as members do.
    pub fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            let pem = std::fs::read_to_string(self.place.directory.join("service_cert.pem")).unwrap();
            Client::new(&self.url, Trust::Service(Certificate::from_pem(&pem).unwrap())).unwrap()
        })
    }

    /// What is answered, whatever the status.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        let answer = self.run(self.anyone().get(path));
        answer.unwrap_or_else(|why| panic!("{path}: {why}: {}", self.log()))
    }

    /// Asks for several things at the same time.
    #[track_caller]
    pub fn get_all(&self, paths: impl Iterator<Item = String>) -> Vec<Answer> {
        self.run(async {
            let asked: Vec<_> = paths
                .map(|path| {
                    let client = self.anyone();
                    tokio::spawn(async move { client.get(&path).await.unwrap() })
                })
                .collect();
            let mut answers = Vec::new();
            for answer in asked {
                answers.push(answer.await.unwrap());
            }
            answers
        })
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        self.get(path).json().unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &[u8], content_type: Option<&str>) -> Answer {
        let path = format!("{path}?api-version={}", governance::API_VERSION);
        let body = Bytes::copy_from_slice(body);
        let answer = self.run(self.anyone().request(Method::POST, &path, body, content_type));
        answer.unwrap_or_else(|why| panic!("{path}: {why}: {}", self.log()))
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.json("/node/state")
    }

    /// Waits for a state, which may be over when this returns.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: &str) -> Value {
        self.wait_until(&format!("it is {wanted}"), |node| {
            let state = node.run(governance::node_state(&node.anyone())).ok()?;
            (state["state"] == wanted).then_some(state)
        })
    }

    /// Waits until `found` answers something.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            if let Some(status) = self.ended() {
                panic!("the node ended ({status}) before {what}: {}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "not yet {what}: {}", self.log());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until a path answers a success without a body.
    #[track_caller]
    pub fn wait_until_ready(&mut self, path: &str) {
        self.wait_until(path, |node| {
            let answer = node.run(node.anyone().get(path)).ok()?;
            answer.status.is_success().then_some(())
        });
    }

    /// Waits until everything written so far is signed.
    #[track_caller]
    pub fn wait_for_commit(&mut self) {
        let written = self.get("/node/network").headers["x-ms-ccf-transaction-id"].clone();
        let written = written.to_str().unwrap().to_owned();
        self.wait_until("it is committed", |node| {
            let status = node.json(&format!("/node/tx?transaction_id={written}"));
            (status["status"] == "Committed").then_some(())
        });
    }

    /// A member proposes; a refusal is an answer.
    pub fn propose(&self, keys: &Keys, proposal: &Value) -> Result<Value, Error> {
        let session = Session::new(self.client(), &keys.member);
        self.run(session.propose(proposal.to_string().as_bytes()))
    }

    pub fn vote(&self, keys: &Keys, proposal_id: &str) -> Result<Value, Error> {
        self.run(Session::new(self.client(), &keys.member).vote(proposal_id, governance::ACCEPT))
    }

    /// The proposal that opens this service.
    #[track_caller]
    pub fn opening(&self) -> Value {
        let network = self.json("/node/network");
        let previous = self.json("/node/service/previous_identity");
        json!({"actions": [{"name": "transition_service_to_open", "args": {
            "next_service_identity": network["service_certificate"],
            "previous_service_identity": previous["previous_service_identity"],
        }}]})
    }

    /// Members who may vote.
    #[track_caller]
    pub fn voters(&self) -> Vec<Keys> {
        let members = self.run(governance::members(self.client())).unwrap();
        let active = |keys: &Keys| {
            members
                .iter()
                .any(|member| member["memberId"] == keys.member.id() && member["status"] == "Active")
        };
        self.place.keys().into_iter().filter(active).collect()
    }

    /// Proposes and votes until a proposal is accepted; answers its id.
    #[track_caller]
    pub fn pass(&self, proposal: &Value) -> String {
        let voters = self.voters();
        let mut answer = self.propose(&voters[0], proposal).unwrap();
        let id = answer["proposalId"].as_str().unwrap().to_owned();
        for voter in &voters {
            if answer["proposalState"] != "Open" {
                break;
            }
            answer = self.vote(voter, &id).unwrap();
        }
        assert_eq!(answer["proposalState"], "Accepted", "{answer}");
        id
    }

    /// The same for one action.
    #[track_caller]
    pub fn act(&self, name: &str, arguments: Value) -> String {
        let action = match arguments.is_null() {
            true => json!({"name": name}),
            false => json!({"name": name, "args": arguments}),
        };
        self.pass(&json!({"actions": [action]}))
    }

    pub fn submit_share(&self, keys: &Keys) -> Result<Value, Error> {
        let session = Session::new(self.client(), &keys.member);
        self.run(session.submit_share(keys.encryption.as_ref().expect("a member with an encryption key")))
    }

    /// Shares until there are enough, each as far as its member has one.
    #[track_caller]
    pub fn submit_shares(&self, keys: &[Keys]) {
        let mut said = Vec::new();
        for keys in keys.iter().filter(|keys| keys.encryption.is_some()) {
            match self.submit_share(keys) {
                Ok(answer)
                    if answer["message"]
                        .as_str()
                        .unwrap()
                        .contains("End of recovery procedure") =>
                {
                    return;
                }
                Ok(answer) => said.push(answer.to_string()),
                Err(why) => said.push(format!("{}: {why}", keys.name)),
            }
        }
        panic!("not enough shares: {said:?}: {}", self.log());
    }

    /// A member hands the service over, in a process of its own.
    pub fn hand_over(&self, member: &Keys) -> Child {
        let common = self.place.directory.join("common");
        Command::new(program())
            .args(["--json", "member", "hand-over", "--url", &self.url])
            .arg("--service-certificate")
            .arg(self.place.directory.join("service_cert.pem"))
            .arg("--cert")
            .arg(common.join(format!("{}_cert.pem", member.name)))
            .arg("--key")
            .arg(common.join(format!("{}_privk.pem", member.name)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[track_caller]
    pub fn wait_for_members(&mut self) {
        self.wait_until_ready("/node/ready/gov");
    }

    /// Everything between a public network and an open service.
    #[track_caller]
    pub fn open(&mut self) {
        self.wait_for_members();
        self.pass(&self.opening());
        self.submit_shares(&self.place.keys());
        self.wait_until_open();
    }

    #[track_caller]
    pub fn wait_until_open(&mut self) {
        self.wait_for("PartOfNetwork");
        self.wait_until_ready("/node/ready/app");
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it as an operator does; it must end well.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait_for_end();
        assert!(status.success(), "{status}: {}", self.log());
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }

    /// Ends it as a power cut does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
