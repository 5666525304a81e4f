//! A node in a process of its own, as an operator would start it.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::sealing::RoundFiles;
use crate::error::{Error, Result};
use crate::node::api::process_memory;

/// How long a node may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a node may take to end after it was told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Where a node says where it listens.
const ADDRESSES: &str = "rpc_addresses.json";
/// Lines of the log that are shown where something failed.
const LOG_LINES: usize = 12;

/// Sets a path in a section of the configuration.
fn set(config: &mut Value, section: &str, name: &str, path: &Path) {
    if let Some(section) = config.pointer_mut(section).and_then(Value::as_object_mut) {
        section.insert(name.to_owned(), Value::from(path.to_string_lossy()));
    }
}

/// What runs as a node.
pub(super) enum Program {
    /// This program, with these arguments after the configuration.
    Own(Vec<OsString>),
    /// Another one, which is given `--config`.
    Other(PathBuf),
}

/// A running node; killed when it is dropped.
pub(super) struct NodeProcess {
    child: Child,
    directory: PathBuf,
    /// Where it is served.
    pub(super) url: String,
}

impl NodeProcess {
    /// Starts a node on what is in `directory`.
    pub(super) fn start(
        directory: &Path,
        read_only: &[String],
        jobs: Option<u16>,
        sealing: Option<&RoundFiles>,
    ) -> Result<NodeProcess> {
        let mut config = json!({
            "network": {
                "node_to_node_interface": {"bind_address": "127.0.0.1:0"},
                "rpc_interfaces": {"drill": {"bind_address": "127.0.0.1:0"}},
            },
            "command": {"type": "Recover", "service_certificate_file": "service_cert.pem", "recover": {}},
            "ledger": {"directory": "ledger", "read_only_directories": read_only},
            "ledger_signatures": {"delay": "200ms"},
            "snapshots": {"directory": "snapshots"},
            "output_files": {"rpc_addresses_file": "rpc_addresses.json", "pid_file": "node.pid"},
        });
        let mut arguments = Vec::new();
        if let Some(sealing) = sealing {
            set(
                &mut config,
                "/output_files",
                "sealed_ledger_secret_location",
                &sealing.seal_to,
            );
            if let Some(from) = &sealing.unseal_from {
                let name = "previous_sealed_ledger_secret_location";
                set(&mut config, "/command/recover", name, from);
            }
            if let Some(key) = &sealing.key_file {
                arguments.extend([OsString::from("--insecure-sealing-key"), key.clone().into_os_string()]);
            }
        }
        if let Some(jobs) = jobs {
            arguments.extend([OsString::from("--jobs"), jobs.to_string().into()]);
        }
        NodeProcess::launch(directory, &config, &Program::Own(arguments))
    }

    /// Starts a program as a node in `directory`, with this configuration.
    pub(super) fn launch(directory: &Path, config: &Value, program: &Program) -> Result<NodeProcess> {
        let path = directory.join("config.json");
        std::fs::write(&path, format!("{config:#}\n")).map_err(Error::io("write", &path))?;
        NodeProcess::run(directory, &path, program)
    }

    /// The same with a configuration that is there.
    pub(super) fn run(directory: &Path, config: &Path, program: &Program) -> Result<NodeProcess> {
        let log = directory.join("node.log");
        let log = File::create(&log).map_err(Error::io("create", &log))?;
        let errors = log.try_clone().map_err(Error::io("open", directory))?;
        let own = std::env::current_exe().map_err(Error::io("find", Path::new("this program")))?;
        let (program, before, after): (&Path, &[&str], &[OsString]) = match program {
            Program::Own(arguments) => (&own, &["node"], arguments),
            Program::Other(program) => (program, &[], &[]),
        };
        let addresses = directory.join(ADDRESSES);
        if addresses.exists() {
            // Of a node that ran here before.
            std::fs::remove_file(&addresses).map_err(Error::io("remove", &addresses))?;
        }
        let mut command = Command::new(program);
        command
            .args(before)
            .arg("--config")
            .arg(config)
            .args(after)
            .current_dir(directory);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let mut node = NodeProcess {
            child: child.map_err(Error::io("start", program))?,
            directory: directory.to_owned(),
            url: String::new(),
        };
        node.url = node.await_address()?;
        Ok(node)
    }

    fn await_address(&mut self) -> Result<String> {
        let began = Instant::now();
        let path = self.directory.join(ADDRESSES);
        loop {
            let addresses = std::fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice::<Value>(&text).ok());
            if let Some(address) = addresses
                .as_ref()
                .and_then(|addresses| addresses.as_object()?.values().next()?.as_str())
            {
                return Ok(format!("https://{address}"));
            }
            self.check()?;
            if began.elapsed() > START_TIMEOUT {
                return Err(self.failed("the node does not say where it listens"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Fails if the node has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(&format!("the node has ended ({status})"))),
            Err(why) => Err(Error::io("ask about", Path::new("the node's process"))(why)),
        }
    }

    /// An error with the end of the node's log.
    pub(super) fn failed(&self, what: &str) -> Error {
        let log = std::fs::read_to_string(self.directory.join("node.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LOG_LINES));
        Error::Listed {
            what: format!("{what}; its log ends with"),
            lines: last.map(|line| format!("    {line}")).collect(),
            usage: false,
        }
    }

    /// Kills the node, as a power cut would.
    pub(super) fn kill(mut self) -> Result<()> {
        self.child
            .kill()
            .map_err(Error::io("kill", Path::new("the node's process")))?;
        let ended = self.child.wait();
        ended
            .map(drop)
            .map_err(Error::io("wait for", Path::new("the node's process")))
    }

    /// Its exit code, if it has ended by itself; of a signal none.
    pub(super) fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(status.code())
    }

    /// Tells the node to stop, and waits for its end.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < STOP_TIMEOUT {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(&format!("the node ended with {status}"))),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(self.failed("the node does not stop"))
    }

    /// The most memory it had, bytes, as the kernel counts; 0 where that can't be read.
    pub(super) fn peak_memory(&self) -> u64 {
        process_memory(&self.child.id().to_string(), "VmHWM")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
