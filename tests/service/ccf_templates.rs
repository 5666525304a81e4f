//! CCF's own test suite can start this program in the role of a recovering node: its configuration, as the templates of
//! releases 4 to 7 fill it in, its command line, an almost empty environment, and the files that it waits for.
//!
//! The documents are made up here, field by field what those templates write: sections of all three commands in one file,
//! empty texts where a template's variable was not given, sizes as plain numbers.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What the suite allows for the node's certificate, and for a node to end; everything else may take longer.
const STARTUP: Duration = Duration::from_secs(5);
const SHUTDOWN: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);

/// A running node, killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One interface as the suite describes it.
fn interface(authority: &str) -> Value {
    json!({
        "bind_address": "127.0.0.1:0",
        "protocol": "tcp",
        "app_protocol": "HTTP1",
        "published_address": "127.0.0.1:0",
        "max_open_sessions_soft": 1000,
        "max_open_sessions_hard": 1010,
        "http_configuration": {
            "max_body_size": "1048576", "max_header_size": "16384", "max_headers_count": 256
        },
        "endorsement": {"authority": authority}
    })
}

/// The file of a release for the recovery of a service.
fn rendered(release: u32) -> Value {
    let mut document = json!({
        "network": {
            "node_to_node_interface": {"bind_address": "127.0.0.1:0", "published_address": ""},
            "rpc_interfaces": {
                "primary_rpc_interface": interface("Service"),
                "secondary_rpc_interface": interface("Node")
            }
        },
        "node_certificate": {
            "subject_name": "CN=CCF Node", "subject_alt_names": [], "curve_id": "Secp384R1", "initial_validity_days": 90
        },
        "node_data_json_file": null,
        "service_data_json_file": null,
        "attestation": {"snp_endorsements_servers": []},
        "command": {
            "type": "Recover",
            "service_certificate_file": "service_cert.pem",
            "start": {
                "members": [],
                "constitution_files": ["actions.js", "validate.js", "resolve.js", "apply.js"],
                "service_configuration": {
                    "recovery_threshold": 0,
                    "maximum_node_certificate_validity_days": 365,
                    "maximum_service_certificate_validity_days": 365
                },
                "initial_service_certificate_validity_days": 90
            },
            "join": {"retry_timeout": "None", "target_rpc_address": ""},
            "recover": {
                "initial_service_certificate_validity_days": 90,
                "previous_service_identity_file": "previous_service_cert.pem"
            }
        },
        "ledger": {"directory": "0.ledger", "read_only_directories": ["old.ledger"], "chunk_size": "20000"},
        "snapshots": {"directory": "0.snapshots", "tx_count": 10000, "read_only_directory": null},
        "logging": {"host_level": "Info", "format": "Text"},
        "consensus": {"message_timeout": "100ms", "election_timeout": "4000ms"},
        "ledger_signatures": {"tx_count": 5000, "delay": "100ms"},
        "jwt": {"key_refresh_interval": "1800s"},
        "output_files": {
            "node_certificate_file": "0.pem",
            "pid_file": "node.pid",
            "node_to_node_address_file": "0.node_address",
            "rpc_addresses_file": "0.rpc_addresses"
        },
        "tick_interval": "1ms",
        "slow_io_logging_threshold": "10ms",
        "client_connection_timeout": "2s",
        "idle_connection_timeout": "60s",
        "node_client_interface": "127.100.0.0",
        "worker_threads": 0,
        "memory": {"circuit_size": "16MB", "max_msg_size": "67108864", "max_fragment_size": "256KB"},
        "ignore_first_sigterm": false,
        "node_to_node_message_limit": 23726566
    });
    if release < 7 {
        document["enclave"] = json!({"file": "./app.so", "type": "Release", "platform": "Virtual"});
    }
    if release < 5 {
        document["consensus"]["type"] = json!("CFT");
        document["command"]["start"]["service_configuration"]["reconfiguration_type"] = json!("OneTransaction");
        document["attestation"]["environment"] =
            json!({"security_policy": null, "uvm_endorsements": null, "report_endorsements": null});
    } else {
        // The variable in these paths is not set where there is no such hardware.
        document["attestation"]["snp_security_policy_file"] = json!("$UVM_SECURITY_CONTEXT_DIR/security-policy-base64");
        document["attestation"]["snp_uvm_endorsements_file"] = json!("$UVM_SECURITY_CONTEXT_DIR/reference-info-base64");
        document["attestation"]["snp_endorsements_file"] = json!("$UVM_SECURITY_CONTEXT_DIR/host-amd-cert-base64");
        document["historical_cache_soft_limit"] = json!("512MB");
    }
    if release >= 6 {
        document["consensus"]["max_uncommitted_tx_count"] = json!(0);
        document["command"]["join"]["follow_redirect"] = json!(true);
        document["command"]["start"]["service_subject_name"] = json!("CN=CCF Test Service");
        document["command"]["start"]["cose_signatures"] =
            json!({"issuer": "service.example.com", "subject": "ledger.signature"});
    }
    if release >= 7 {
        document["command"]["join"]["fetch_recent_snapshot"] = json!(true);
        let interface = &mut document["network"]["rpc_interfaces"]["primary_rpc_interface"];
        interface["forwarding_timeout_ms"] = json!(3000);
        interface["redirections"] =
            json!({"to_primary": {"kind": "StaticAddress", "target": {"address": "primary.ccf.example"}}});
        interface["enabled_operator_features"] = json!(["SnapshotRead", "LedgerChunkRead"]);
    }
    document
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        std::fs::copy(item.path(), to.join(item.file_name())).unwrap();
    }
}

/// Waits as the suite does: looking for the file ten times a second, while the process lives.
fn await_file(node: &mut Running, path: &Path, at_most: Duration) -> String {
    let began = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        let ended = node.0.try_wait().unwrap();
        assert!(
            ended.is_none() && began.elapsed() < at_most,
            "{}: {ended:?}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn port(address: &Value) -> u16 {
    address.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn files_of_four_releases_start_a_recovery_as_ccfs_tests_start_it() {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/small");
    for release in [4, 5, 6, 7] {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        copy(&fixture.join("ledger"), &at("0.ledger"));
        copy(&fixture.join("snapshots"), &at("0.snapshots"));
        std::fs::create_dir(at("old.ledger")).unwrap();
        std::fs::copy(fixture.join("common/service_cert.pem"), at("previous_service_cert.pem")).unwrap();
        std::fs::write(at("0.config.json"), format!("{:#}", rendered(release))).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rekindle"))
            .args(["--config", "0.config.json", "--log-level", "Info"])
            .current_dir(place.path())
            .env_clear()
            .env("UBSAN_OPTIONS", "print_stacktrace=1")
            .stdin(Stdio::null())
            .stdout(File::create(at("out")).unwrap())
            .stderr(File::create(at("err")).unwrap())
            .spawn()
            .unwrap();
        let mut node = Running(child);
        let certificate = await_file(&mut node, &at("0.pem"), STARTUP);
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{certificate}");
        let node_to_node: Value =
            serde_json::from_str(&await_file(&mut node, &at("0.node_address"), PATIENCE)).unwrap();
        port(&node_to_node["node_to_node_interface"]);
        let rpc: Value = serde_json::from_str(&await_file(&mut node, &at("0.rpc_addresses"), PATIENCE)).unwrap();
        for name in ["primary_rpc_interface", "secondary_rpc_interface"] {
            assert_ne!(port(&rpc[name]), 0, "{rpc}");
        }
        assert!(await_file(&mut node, &at("service_cert.pem"), PATIENCE).contains("BEGIN CERTIFICATE"));
        let pid: u32 = await_file(&mut node, &at("node.pid"), PATIENCE).trim().parse().unwrap();
        assert_eq!(pid, node.0.id());
        let began = Instant::now();
        while !std::fs::read_to_string(at("out"))
            .unwrap()
            .contains("PartOfPublicNetwork")
        {
            assert!(began.elapsed() < PATIENCE && node.0.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        let asked = Instant::now();
        let status = loop {
            match node.0.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(asked.elapsed() < SHUTDOWN, "release {release}: it does not end"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "release {release}: {status}");
        // The suite takes what is in these for a failure.
        let (out, err) = (
            std::fs::read_to_string(at("out")).unwrap(),
            std::fs::read_to_string(at("err")).unwrap(),
        );
        assert_eq!(err, "", "release {release}");
        assert!(!out.contains("[fail ]") && !out.contains("[fatal]"), "{out}");
    }
}
