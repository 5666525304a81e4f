//! One node of a cluster: a process that can be killed, and what it is asked.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rekindle::member::{Client, Trust, governance};
use serde_json::{Value, json};

use crate::node::program;

/// Nothing takes so long on a busy machine; whoever waits longer has found something.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long one request may take: a node that was killed meanwhile never answers.
const REQUEST: Duration = Duration::from_millis(1500);
pub const PACE: Duration = Duration::from_millis(20);

/// What every node of a cluster has in common.
pub fn config(election: Duration) -> Value {
    let mut config = crate::node::config();
    config["consensus"] = json!({"message_timeout": "50ms", "election_timeout": format!("{}ms", election.as_millis())});
    config["network"]["rpc_interfaces"]["test"]["forwarding_timeout_ms"] = json!(1000);
    config
}

/// A node that joins by way of another.
pub fn joining(election: Duration, target: &str) -> Value {
    let mut config = config(election);
    config["command"] = json!({
        "type": "Join",
        "service_certificate_file": "service_cert.pem",
        "join": {
            "target_rpc_address": target.strip_prefix("https://").unwrap(),
            "retry_timeout": "100ms",
            "fetch_recent_snapshot": false,
        },
    });
    config
}

/// A running node; killed when it is dropped.
pub struct Process {
    pub number: usize,
    pub directory: PathBuf,
    child: Child,
    /// Where it is served.
    pub url: String,
    /// Its id, once it says so.
    pub id: String,
    /// By way of which node it joins; empty for one that recovers.
    pub target: String,
    /// Who asks it what it has committed.
    pub watcher: Option<tokio::task::JoinHandle<()>>,
}

impl Process {
    /// Starts a node in its directory and waits until it says where it listens.
    pub async fn start(number: usize, directory: &Path, config: &Value) -> Result<Process, String> {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
        let log = File::create(directory.join("node.log")).unwrap();
        let errors = log.try_clone().unwrap();
        let child = Command::new(program())
            .args(["node", "--config", "config.json"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut node = Process {
            number,
            directory: directory.to_owned(),
            child,
            url: String::new(),
            id: String::new(),
            target: String::new(),
            watcher: None,
        };
        let began = Instant::now();
        loop {
            let text = std::fs::read(directory.join("rpc_addresses.json")).unwrap_or_default();
            if let Ok(Value::Object(addresses)) = serde_json::from_slice(&text) {
                let address = addresses.values().next().unwrap().as_str().unwrap().to_owned();
                node.url = format!("https://{address}");
                return Ok(node);
            }
            node.check()?;
            if began.elapsed() > PATIENCE {
                return Err(node.failed("it does not listen"));
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// That it runs.
    pub fn check(&mut self) -> Result<(), String> {
        match self.ended() {
            None => Ok(()),
            Some(code) => Err(self.failed(&format!("it has ended by itself ({code:?})"))),
        }
    }

    /// The code that it ended with, if it has.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// A failure of this node, with the end of its log.
    pub fn failed(&self, what: &str) -> String {
        format!(
            "node {} ({}): {what}\n{}",
            self.number,
            self.id,
            log_end(&self.directory)
        )
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.forget();
    }

    fn forget(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }

    /// Ends it as an operator does.
    pub async fn stop(mut self) -> Result<(), String> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.end().await
    }

    /// Waits until it has ended well.
    pub async fn end(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            match self.ended() {
                Some(Some(0)) => return Ok(()),
                Some(code) => return Err(self.failed(&format!("it did not end well: {code:?}"))),
                None if began.elapsed() > PATIENCE => return Err(self.failed("it does not end")),
                None => tokio::time::sleep(PACE).await,
            }
        }
    }

    /// Waits until it says who it is.
    pub async fn identify(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if let Some(state) = state(&self.url).await
                && let Some(id) = state["node_id"].as_str().filter(|id| !id.is_empty())
            {
                self.id = id.to_owned();
                return Ok(());
            }
            self.check()?;
            if began.elapsed() > PATIENCE {
                return Err(self.failed("it does not say who it is"));
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.forget();
    }
}

/// The last lines of a node's log.
pub fn log_end(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("node.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

pub fn client(url: &str) -> Client {
    Client::new(url, Trust::Anyone).unwrap().with_timeout(REQUEST)
}

/// The JSON that a path answers, if it does.
pub async fn get(url: &str, path: &str) -> Option<Value> {
    client(url).get(path).await.ok()?.json().ok()
}

pub async fn state(url: &str) -> Option<Value> {
    governance::node_state(&client(url)).await.ok()
}

/// Whether a path answers a success.
pub async fn is_ready(url: &str, path: &str) -> bool {
    client(url)
        .get(path)
        .await
        .is_ok_and(|answer| answer.status.is_success())
}

/// View and seqno of what it says is committed.
pub async fn committed(url: &str) -> Option<(u64, u64)> {
    transaction(get(url, "/node/commit").await?["transaction_id"].as_str()?)
}

pub fn transaction(text: &str) -> Option<(u64, u64)> {
    let (view, seqno) = text.split_once('.')?;
    Some((view.parse().ok()?, seqno.parse().ok()?))
}
