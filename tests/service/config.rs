//! The configuration of a node: every sample loads, every field of the schema is accepted and documented, and whatever
//! is wrong is named with its place, what was found, what is expected, and what was probably meant.
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rekindle::crypto::Curve;
use rekindle::node::config::{
    Address, Authority, CommandKind, Config, ConfigError, Fault, FieldPath, LogFormat, Problem, WITHOUT_MEANING,
    await_file,
};
use serde_json::{Value, json};

const SAMPLES: [&str; 5] = [
    "minimal.json",
    "recover.json",
    "recover_two_interfaces.json",
    "recover_from_snapshot.json",
    "recover_2026.json",
];

fn sample(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// A smallest configuration to change.
fn minimal() -> Value {
    serde_json::from_str(&std::fs::read_to_string(sample("minimal.json")).unwrap()).unwrap()
}

/// Every field of both generations but the recovery decision protocol, which excludes self-healing open.
fn every_field() -> Value {
    let network = json!({
        "node_to_node_interface": {"bind_address": "127.0.0.1:8000", "published_address": "node0.example:8000"},
        "acme": {"configurations": {}},
        "rpc_interfaces": {"primary_rpc_interface": {
            "bind_address": "127.0.0.1:8001", "published_address": "node0.example:443",
            "protocol": "tcp", "app_protocol": "HTTP2",
            "max_open_sessions_soft": 10, "max_open_sessions_hard": 20,
            "http_configuration": {
                "max_body_size": "2MB", "max_header_size": "8KB", "max_headers_count": 10,
                "max_concurrent_streams_count": 11, "initial_window_size": "32KB", "max_frame_size": "33KB"
            },
            "endorsement": {"authority": "ACME", "acme_configuration": "x"},
            "accepted_endpoints": ["/node/.*"],
            "forwarding_timeout_ms": 1000,
            "redirections": {
                "to_primary": {"kind": "NodeByRole", "target": {"role": "primary", "interface": "other"}},
                "to_backup": {"kind": "StaticAddress", "target": {"address": "balancer.example:443"}}
            },
            "enabled_operator_features": ["SnapshotRead"],
            "rekindle_page": true
        }}
    });
    let command = json!({
        "type": "Recover",
        "service_certificate_file": "s.pem",
        "start": {
            "members": [{
                "certificate_file": "m.pem", "encryption_public_key_file": "e.pem", "data_json_file": "d.json",
                "recovery_role": "Owner"
            }],
            "constitution_files": ["a.js"],
            "service_configuration": {
                "recovery_threshold": 1, "reconfiguration_type": "OneTransaction", "maximum_node_certificate_validity_days": 10,
                "maximum_service_certificate_validity_days": 11, "recent_cose_proposals_window_size": 12
            },
            "initial_service_certificate_validity_days": 2, "service_subject_name": "CN=A",
            "cose_signatures": {"issuer": "i", "subject": "s"}
        },
        "join": {
            "target_rpc_address": "127.0.0.1:1", "retry_timeout": "1s", "follow_redirect": false,
            "fetch_recent_snapshot": false, "fetch_snapshot_max_attempts": 1, "fetch_snapshot_retry_interval": "2s",
            "fetch_snapshot_max_size": "1GB", "host_data_transparent_statement_path": "x"
        },
        "recover": {
            "previous_service_identity_file": "p.pem", "initial_service_certificate_validity_days": 3,
            "previous_sealed_ledger_secret_location": "sealed",
            "self_healing_open": {
                "addresses": ["node0.example:443", "node1.example:443"],
                "retry_timeout": "10ms", "failover_timeout": "20ms", "timeout": "30ms",
                "identity": {}, "cluster_identities": []
            }
        }
    });
    let mut document = json!({
        "node_certificate": {
            "subject_name": "CN=B", "subject_alt_names": ["dNSName:b"], "curve_id": "Secp256R1",
            "initial_validity_days": 4
        },
        "node_data_json_file": "n.json",
        "service_data_json_file": "v.json",
        "ledger": {
            "directory": "l", "read_only_directories": ["r"], "chunk_size": "1MB", "max_transaction_size": "2MB"
        },
        "ledger_signatures": {"tx_count": 7, "delay": "8ms"},
        "snapshots": {
            "directory": "sn", "tx_count": 9, "read_only_directory": "rs", "min_tx_count": 3, "time_interval": "1min",
            "backup_fetch": {
                "enabled": true, "max_attempts": 4, "retry_interval": "5s", "target_rpc_interface": "t",
                "max_size": "6MB"
            }
        },
        "output_files": {
            "node_certificate_file": "nc.pem", "pid_file": "p", "node_to_node_address_file": "na",
            "rpc_addresses_file": "ra", "sealed_ledger_secret_location": "so"
        },
        "attestation": {
            "snp_endorsements_servers": [{"type": "AMD", "url": "kds.example", "max_retries_count": 5}],
            "snp_security_policy_file": "sp", "snp_uvm_endorsements_file": "su", "snp_endorsements_file": "se",
            "environment": {"security_policy": "P", "uvm_endorsements": "U", "report_endorsements": null}
        },
        "consensus": {"type": "CFT", "message_timeout": "1ms", "election_timeout": "2ms", "max_uncommitted_tx_count": 3},
        "jwt": {"key_refresh_interval": "1h", "key_refresh_max_response_size": "2MB"},
        "logging": {"format": "Json", "host_level": "Info"},
        "memory": {"circuit_size": "1MB", "max_msg_size": "2MB", "max_fragment_size": "3KB"},
        "enclave": {"file": "app.so", "type": "Release", "platform": "Virtual"},
        "tick_interval": "1ms",
        "slow_io_logging_threshold": "2ms",
        "node_client_interface": "127.0.0.1",
        "client_connection_timeout": "3ms",
        "idle_connection_timeout": "4s",
        "worker_threads": 5,
        "ignore_first_sigterm": true,
        "node_to_node_message_limit": 6,
        "historical_cache_soft_limit": "7MB",
        "sealing_recovery": {"location": {"name": "n0", "address": "node0.example:443"}},
        "enable_local_sealing": true,
        "local_sealing_identity": "x",
        "files_cleanup": {"max_snapshots": 1, "max_committed_ledger_chunks": 2, "interval": "3s"},
        "identity_history_fetch": {"max_attempts": 1, "retry_interval": "2s"}
    });
    document["network"] = network;
    document["command"] = command;
    document
}

/// The same with the recovery decision protocol instead.
fn every_field_of_2026() -> Value {
    let mut document = every_field();
    let recover = document["command"]["recover"].as_object_mut().unwrap();
    recover.remove("self_healing_open").unwrap();
    document["sealing_recovery"]["recovery_decision_protocol"] = json!({
        "expected_locations": [{"name": "n0", "address": "node0.example:443"}],
        "message_retry_timeout": "9ms", "failover_timeout": "10ms"
    });
    document
}

fn parse(document: &Value) -> Result<rekindle::node::config::Loaded, Vec<Problem>> {
    Config::parse(&document.to_string())
}

/// The minimal configuration with one value put at a place.
fn with(path: &[&str], value: Value) -> Value {
    let mut document = minimal();
    let mut at = &mut document;
    for name in path {
        at = &mut at[*name];
    }
    *at = value;
    document
}

/// The only problem of a document, as text.
#[track_caller]
fn problem(document: &Value) -> Problem {
    let problems = parse(document).expect_err("a problem");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

/// Every path to a value that is no object, with `*` for interfaces and `[]` for items.
fn leaves(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        "network.rpc_interfaces" => format!("{path}.*"),
        _ => format!("{path}.{name}"),
    };
    match value {
        Value::Object(fields) if !fields.is_empty() && path != "network.acme" => {
            fields.iter().for_each(|(name, value)| leaves(value, &below(name), out));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().for_each(|item| leaves(item, &format!("{path}[]"), out));
        }
        _ => drop(out.insert(path.to_owned())),
    }
}

#[test]
fn every_sample_loads_and_only_the_minimal_one_has_notes() {
    for name in SAMPLES {
        let loaded = Config::load(&sample(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(
            loaded.notes.is_empty(),
            name != "minimal.json",
            "{name}: {:?}",
            loaded.notes
        );
        assert_eq!(loaded.config.command.kind, CommandKind::Recover);
    }
    let files = std::fs::read_dir(sample("")).unwrap();
    let json = files.filter(|file| file.as_ref().unwrap().path().extension() == Some("json".as_ref()));
    assert_eq!(json.count(), SAMPLES.len(), "a sample that no test loads");
}

#[test]
fn the_defaults_are_those_of_the_schema() {
    let config = parse(&minimal()).unwrap().config;
    let interface = &config.network.rpc_interfaces["primary_rpc_interface"];
    assert_eq!(interface.published_address, interface.bind_address);
    assert_eq!(interface.endorsement.authority, Authority::Service);
    assert!(interface.accepts("/anything"));
    assert_eq!(interface.http_configuration.max_body_size, 1 << 20);
    assert_eq!(config.command.service_certificate_file, Path::new("service_cert.pem"));
    assert_eq!(
        config
            .command
            .recover
            .unwrap()
            .initial_service_certificate_validity_days,
        1
    );
    assert_eq!(config.node_certificate.curve_id, Curve::P384);
    assert_eq!(config.ledger.chunk_size, 5 << 20);
    assert_eq!(config.ledger_signatures.delay, Duration::from_secs(1));
    assert_eq!(config.jwt.key_refresh_interval, Duration::from_secs(1800));
    assert_eq!(config.output_files.pid_file.as_deref(), Some(Path::new("node.pid")));
    assert_eq!(config.output_files.rpc_addresses_file, None);
    assert_eq!(config.sealing_recovery, None);
    assert_eq!(config.files_cleanup.max_snapshots, None);
}

#[test]
fn every_field_of_both_generations_is_read() {
    let config = parse(&every_field()).unwrap_or_else(|why| panic!("{why:#?}")).config;
    let interface = &config.network.rpc_interfaces["primary_rpc_interface"];
    assert_eq!(interface.endorsement.authority, Authority::Acme);
    assert!(interface.accepts("/node/state") && !interface.accepts("/gov/x"));
    let recover = config.command.recover.unwrap();
    let healing = recover.self_healing_open.unwrap();
    assert_eq!(healing.failover_timeout, Duration::from_millis(20));
    assert_eq!(healing.addresses[1], "node1.example:443".parse::<Address>().unwrap());
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(config.snapshots.time_interval, Duration::from_secs(60));
    let config = parse(&every_field_of_2026()).unwrap().config;
    let protocol = config.sealing_recovery.unwrap().recovery_decision_protocol.unwrap();
    assert_eq!(protocol.failover_timeout, Duration::from_millis(10));
    for kind in ["Start", "Join"] {
        let mut document = every_field();
        document["command"]["type"] = json!(kind);
        let config = parse(&document).unwrap().config;
        assert!(config.command.recover.is_none());
        assert_eq!(config.command.start.is_some(), kind == "Start");
        assert_eq!(config.command.join.is_some(), kind == "Join");
    }
}

#[test]
fn the_documents_with_every_field_leave_no_known_name_out() {
    fn objects(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                out.push(path.to_owned());
                for (name, value) in fields {
                    objects(value, &format!("{path}/{name}"), out);
                }
            }
            Value::Array(items) => {
                for (i, value) in items.iter().enumerate() {
                    objects(value, &format!("{path}/{i}"), out);
                }
            }
            _ => {}
        }
    }
    let (one, other) = (every_field(), every_field_of_2026());
    let mut checked = 0;
    for document in [&one, &other] {
        let mut paths = Vec::new();
        objects(document, "", &mut paths);
        for path in paths {
            let mut changed = document.clone();
            changed.pointer_mut(&path).unwrap()["zzz"] = json!(1);
            // Only the section of the command is read.
            if path.starts_with("/command/start") {
                changed["command"]["type"] = json!("Start");
            } else if path.starts_with("/command/join") {
                changed["command"]["type"] = json!("Join");
            }
            // Open objects and those with free names have nothing to compare.
            let Err(problems) = parse(&changed) else { continue };
            let Fault::Unknown { known, .. } = &problems[0].fault else {
                continue;
            };
            let keys = |document: &Value| -> BTreeSet<String> {
                let object = document.pointer(&path).and_then(Value::as_object);
                object.map_or_else(BTreeSet::new, |object| object.keys().cloned().collect())
            };
            let target = path.contains("/target");
            for name in known {
                let there = keys(&one).contains(*name) || keys(&other).contains(*name);
                assert!(there || target, "{path} knows {name}, which no document here has");
            }
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}

#[test]
fn every_field_stands_in_the_table_with_its_meaning() {
    let readme = std::fs::read_to_string(sample("README.md")).unwrap();
    let rows: Vec<(String, &str)> = readme
        .lines()
        .filter(|line| line.starts_with("| `") && !line.contains(".json"))
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            (cells[0].trim_start_matches("| ").trim_matches('`').to_owned(), line)
        })
        .collect();
    let mut fields = BTreeSet::new();
    leaves(&every_field(), "", &mut fields);
    leaves(&every_field_of_2026(), "", &mut fields);
    // The two kinds of redirection, each of which the documents have in one place only.
    for side in ["to_primary", "to_backup"] {
        for name in ["role", "interface", "address"] {
            fields.insert(format!("network.rpc_interfaces.*.redirections.{side}.target.{name}"));
        }
    }
    let documented: BTreeSet<String> = rows.iter().map(|(field, _)| field.clone()).collect();
    assert_eq!(fields, documented);
    for (field, row) in rows {
        let meaningless = WITHOUT_MEANING.iter().any(|(pattern, _)| {
            let rest = field.strip_prefix(pattern);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        assert_eq!(row.contains("no meaning here"), meaningless, "{row}");
    }
}

#[test]
fn what_has_no_meaning_here_is_noted_once_a_field() {
    let notes = parse(&every_field()).unwrap().notes;
    let mut paths: BTreeSet<String> = notes.iter().map(|note| note.path.to_string()).collect();
    assert_eq!(paths.len(), notes.len());
    let mut joins = every_field();
    joins["command"]["type"] = json!("Join");
    let of_join = parse(&joins).unwrap().notes;
    paths.extend(of_join.iter().map(|note| note.path.to_string()));
    for (pattern, _) in WITHOUT_MEANING {
        assert!(
            paths.contains(&pattern.replace('*', "primary_rpc_interface")),
            "{pattern}"
        );
    }
    let text = notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for words in [
        "command.start: not used, because the command is Recover",
        "endorsement.authority: ACME is served like Service",
        "timeout: not used, because `failover_timeout` is there too",
        "enable_local_sealing: accepted, but has no meaning here: no release of CCF has it",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    let mut udp = minimal();
    udp["network"]["rpc_interfaces"]["primary_rpc_interface"]["protocol"] = json!("udp");
    let notes = parse(&udp).unwrap().notes;
    assert!(notes.iter().any(|note| note.text.contains("udp is not served")));
}

#[test]
fn the_documented_name_of_the_failover_timeout_is_read() {
    let healing = json!({"addresses": ["127.0.0.1:1"], "timeout": "3s"});
    let document = with(&["command", "recover", "self_healing_open"], healing);
    let loaded = parse(&document).unwrap();
    let healing = loaded.config.command.recover.unwrap().self_healing_open.unwrap();
    assert_eq!(healing.failover_timeout, Duration::from_secs(3));
    assert!(loaded.notes.iter().any(|note| note.text.contains("failover_timeout")));
}

#[test]
fn an_unknown_field_is_named_with_the_one_that_was_meant() {
    for (path, field, meant) in [
        (&["ledger"][..], "chunk_sise", Some("chunk_size")),
        (&["ledger"], "chunkSize", Some("chunk_size")),
        (&["ledger"], "read_only_ledger_dir", Some("read_only_directories")),
        (&["ledger"], "read_only_directory", Some("read_only_directories")),
        (&["snapshots"], "readOnlyDirectory", Some("read_only_directory")),
        (&["ledger_signatures"], "txCount", Some("tx_count")),
        (&["logging"], "colour", None),
        (&[], "chunk_size", Some("ledger.chunk_size")),
        (&[], "ledger_dir", Some("ledger.directory")),
        (&[], "nodeCertificate", Some("node_certificate")),
        (
            &["command", "recover"],
            "previous_service_identity",
            Some("previous_service_identity_file"),
        ),
        (
            &["network", "node_to_node_interface"],
            "bind_adress",
            Some("bind_address"),
        ),
    ] {
        let mut names = path.to_vec();
        names.push(field);
        let mut document = with(
            &["network", "node_to_node_interface"],
            json!({"bind_address": "127.0.0.1:0"}),
        );
        let mut at = &mut document;
        for name in &names {
            at = &mut at[*name];
        }
        *at = json!("x");
        let problem = problem(&document);
        assert_eq!(problem.path.to_string(), names.join("."));
        let Fault::Unknown { suggestion, known } = &problem.fault else {
            panic!("{problem:?}")
        };
        assert_eq!(suggestion.as_deref(), meant, "{names:?}");
        assert!(!known.is_empty());
    }
}

#[test]
fn open_objects_ignore_unknown_fields_with_a_note() {
    for path in [
        &["command", "recovery"][..],
        &["network", "rpc_interfaces", "primary_rpc_interface", "bind_adress"],
    ] {
        let loaded = parse(&with(path, json!({}))).unwrap();
        let note = loaded.notes.iter().find(|note| note.path.to_string() == path.join("."));
        assert!(note.unwrap().text.contains("did you mean"), "{:?}", loaded.notes);
    }
}

#[test]
fn a_wrong_value_is_named_with_its_place_what_was_found_and_what_is_expected() {
    let interface =
        |field: &str, value: Value| with(&["network", "rpc_interfaces", "primary_rpc_interface", field], value);
    for (document, words) in [
        (
            with(&["ledger", "chunk_size"], json!("5 apples")),
            "ledger.chunk_size: found \"5 apples\", expected a size",
        ),
        (
            with(&["ledger", "chunk_size"], json!("4gb")),
            "ledger.chunk_size: found \"4gb\", expected a size from 1 to 4294967295",
        ),
        (
            with(&["ledger", "chunk_size"], json!(0)),
            "ledger.chunk_size: found 0, expected",
        ),
        (with(&["ledger"], json!([1])), "ledger: found [1], expected an object"),
        (
            with(&["ledger", "read_only_directories"], json!(["a", 2])),
            "ledger.read_only_directories[1]: found 2, expected the path",
        ),
        (
            with(&["ledger_signatures", "delay"], json!("1 second")),
            "ledger_signatures.delay: found \"1 second\", expected a time",
        ),
        (
            with(&["ledger_signatures", "tx_count"], json!(0)),
            "ledger_signatures.tx_count: found 0, expected a whole number, at least 1",
        ),
        (
            with(&["snapshots", "tx_count"], json!(-3)),
            "snapshots.tx_count: found -3",
        ),
        (
            with(&["snapshots", "tx_count"], json!(1.5)),
            "snapshots.tx_count: found 1.5",
        ),
        (
            with(&["command", "type"], json!("recover")),
            "command.type: found \"recover\", expected one of \"Start\", \"Join\", \"Recover\"",
        ),
        (with(&["command", "type"], json!(null)), "command.type: found null"),
        (
            with(&["command", "type"], json!("Start")),
            "command.start: the field `start` is missing",
        ),
        (
            with(&["command", "type"], json!("Join")),
            "command.join: the field `join` is missing",
        ),
        (
            with(&["command"], json!({})),
            "command.type: the field `type` is missing, expected one of",
        ),
        (
            with(&["network", "rpc_interfaces"], json!({})),
            "network.rpc_interfaces: there is no interface",
        ),
        (
            with(&["network"], json!({})),
            "network.rpc_interfaces: the field `rpc_interfaces` is missing",
        ),
        (
            interface("bind_address", json!("127.0.0.1")),
            "network.rpc_interfaces.primary_rpc_interface.bind_address: found \"127.0.0.1\", expected an address",
        ),
        (
            interface("bind_address", json!("127.0.0.1:70000")),
            "bind_address: found \"127.0.0.1:70000\"",
        ),
        (
            interface("accepted_endpoints", json!(["/a", "/(b"])),
            "accepted_endpoints[1]: found \"/(b\", expected a regular expression",
        ),
        (
            interface("endorsement", json!({"authority": "Nobody"})),
            "endorsement.authority: found \"Nobody\"",
        ),
        (
            interface("max_open_sessions_soft", json!(2000)),
            "max_open_sessions_soft: 2000 is more than max_open_sessions_hard, which is 1010",
        ),
        (
            with(&["node_certificate", "subject_name"], json!("Node")),
            "node_certificate.subject_name: found \"Node\", expected a subject name",
        ),
        (
            with(&["node_certificate", "subject_alt_names"], json!(["10.0.0.1"])),
            "subject_alt_names[0]: found \"10.0.0.1\", expected an alternative name",
        ),
        (
            with(&["node_certificate", "curve_id"], json!("secp384r1")),
            "node_certificate.curve_id: found \"secp384r1\"",
        ),
        (
            with(&["node_certificate", "initial_validity_days"], json!(0)),
            "initial_validity_days: found 0",
        ),
        (
            with(&["consensus", "election_timeout"], json!("1ms")),
            "consensus.election_timeout: it must be longer",
        ),
        (
            with(&["ignore_first_sigterm"], json!("yes")),
            "ignore_first_sigterm: found \"yes\", expected true or false",
        ),
    ] {
        let text = problem(&document).to_string();
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
}

#[test]
fn values_that_do_not_fit_each_other_are_problems() {
    let mut shared = minimal();
    shared["network"]["rpc_interfaces"]["primary_rpc_interface"]["bind_address"] = json!("127.0.0.1:8080");
    shared["network"]["rpc_interfaces"]["second"] = json!({"bind_address": "0.0.0.0:8080"});
    let text = problem(&shared).to_string();
    assert!(
        text.starts_with("network.rpc_interfaces.second.bind_address: 0.0.0.0:8080 is also the address"),
        "{text}"
    );
    shared["network"]["rpc_interfaces"]["second"] = json!({"bind_address": "127.0.0.2:8080"});
    assert!(parse(&shared).is_ok());

    let start = |threshold: u32, roles: &[&str]| {
        let member =
            |role: &&str| json!({"certificate_file": "m", "encryption_public_key_file": "e", "recovery_role": role});
        json!({
            "members": roles.iter().map(member).collect::<Vec<_>>(),
            "constitution_files": ["c"],
            "service_configuration": {"recovery_threshold": threshold}
        })
    };
    let started = |start: Value| {
        let mut document = with(&["command", "start"], start);
        document["command"]["type"] = json!("Start");
        document
    };
    for (threshold, roles) in [
        (0, &["Owner"][..]),
        (1, &["Owner"]),
        (2, &["Participant", "Participant", "Owner"]),
    ] {
        assert!(
            parse(&started(start(threshold, roles))).is_ok(),
            "{threshold} {roles:?}"
        );
    }
    for (threshold, roles) in [
        (2, &["Owner", "Owner"][..]),
        (3, &["Participant", "Participant", "NonParticipant"]),
    ] {
        let text = problem(&started(start(threshold, roles))).to_string();
        assert!(text.contains("recovery_threshold: "), "{text}");
    }
    let mut keyless = start(0, &["Owner"]);
    keyless["members"][0]
        .as_object_mut()
        .unwrap()
        .remove("encryption_public_key_file");
    let text = problem(&started(keyless)).to_string();
    assert!(
        text.contains("members[0].recovery_role: ") && text.contains("encryption_public_key_file"),
        "{text}"
    );

    let mut alone = every_field();
    alone["command"]["recover"]["self_healing_open"]["addresses"] = json!(["node1.example:443"]);
    assert!(
        problem(&alone)
            .to_string()
            .contains("node0.example:443 is not among them")
    );
    let path = ["command", "recover", "self_healing_open"];
    for (name, value, part) in [
        (
            "addresses",
            json!([]),
            "addresses: it is empty: this node would open by itself",
        ),
        (
            "addresses",
            json!(["node0.example:443", "n1.example:1", "N1.example:1"]),
            "addresses[2]: \"N1.example:1\" is there more than once",
        ),
        (
            "retry_timeout",
            json!("0ms"),
            "retry_timeout: found 0, expected a time between two messages",
        ),
        (
            "failover_timeout",
            json!("0s"),
            "failover_timeout: found 0, expected a time that is far longer",
        ),
    ] {
        let mut healing = json!({"addresses": ["node0.example:443", "n1.example:1"]});
        healing[name] = value;
        let mut document = every_field();
        document["command"]["recover"]["self_healing_open"] = healing;
        let text = problem(&document).to_string();
        assert!(text.contains(part), "{text}");
        assert!(text.starts_with(&path.join(".")), "{text}");
    }
    for (name, value, part) in [
        ("expected_locations", json!([]), "expected_locations: it is empty"),
        (
            "expected_locations",
            json!([{"name": "n0", "address": "node0.example:443"}, {"name": "n1", "address": "node0.example:443"}]),
            "expected_locations[1]: \"node0.example:443\" is there more than once",
        ),
        ("message_retry_timeout", json!("0ms"), "message_retry_timeout: found 0"),
        ("failover_timeout", json!("0ms"), "failover_timeout: found 0"),
    ] {
        let mut document = every_field_of_2026();
        document["sealing_recovery"]["recovery_decision_protocol"][name] = value;
        let text = problem(&document).to_string();
        assert!(text.contains(part), "{text}");
    }
    let mut early = every_field();
    early["command"]["recover"]["self_healing_open"] =
        json!({"addresses": ["node0.example:443"], "retry_timeout": "1s", "failover_timeout": "1s"});
    let notes = parse(&early).unwrap().notes;
    let note = notes
        .iter()
        .find(|note| note.path.to_string().ends_with("failover_timeout"));
    assert!(note.unwrap().text.contains("before they have heard each other"));
    let mut nameless = every_field();
    let interfaces = nameless["network"]["rpc_interfaces"].as_object_mut().unwrap();
    let primary = interfaces.remove("primary_rpc_interface").unwrap();
    interfaces.insert("other".to_owned(), primary);
    let text = problem(&nameless).to_string();
    assert!(
        text.contains("it needs an interface called primary_rpc_interface"),
        "{text}"
    );
    let mut unplaced = every_field_of_2026();
    unplaced["sealing_recovery"].as_object_mut().unwrap().remove("location");
    let text = problem(&unplaced).to_string();
    assert!(text.contains("recovery_decision_protocol needs location"), "{text}");
    let mut both = every_field_of_2026();
    both["command"]["recover"]["self_healing_open"] = json!({"addresses": ["node0.example:443"]});
    assert!(problem(&both).to_string().contains("keep one of them"));
    let mut elsewhere = every_field_of_2026();
    elsewhere["sealing_recovery"]["location"]["name"] = json!("n7\u{1b}");
    let text = problem(&elsewhere).to_string();
    assert!(
        text.contains("\"n7\\u{1b}\", node0.example:443) is not among them"),
        "{text}"
    );
}

#[test]
fn all_problems_are_reported_at_once_in_ccfs_frame() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let document = json!({
        "network": {"rpc_interfaces": {"main": {"bind_address": 1}}},
        "command": {"type": "Recover"},
        "ledger": {"chunk_size": "big", "read_only_ledger_dir": "x"}
    });
    std::fs::write(&path, document.to_string()).unwrap();
    let error = Config::load(&path).unwrap_err();
    assert_eq!(error.problems().len(), 3);
    let text = error.to_string();
    let start = format!(
        "Error validating JSON schema for configuration file {}: \nError #1:\n  context: <root>",
        path.display()
    );
    assert!(text.starts_with(&start), "{text}");
    for words in [
        "  context: <root>[network][rpc_interfaces][main][bind_address]\n  message: found 1, expected an address",
        "\nError #2:\n  context: <root>[ledger][chunk_size]\n  message: found \"big\", expected a size",
        "\nError #3:\n  context: <root>[ledger]\n  message: unknown field `read_only_ledger_dir`; did you mean `read_only_directories`?",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

#[test]
fn text_that_is_not_json_is_reported_with_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    std::fs::write(&path, "{\n  \"network\": {,}\n}").unwrap();
    let error = Config::load(&path).unwrap_err();
    let start = format!("Error parsing configuration file {}: ", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(error.to_string().contains("line 2 column 15"), "{error}");
    assert!(matches!(
        error.problems()[0].fault,
        Fault::Syntax {
            line: 2,
            column: 15,
            ..
        }
    ));

    std::fs::write(&path, format!("\u{feff}{}", minimal())).unwrap();
    assert!(Config::load(&path).is_ok(), "a byte order mark is no error");
    std::fs::write(&path, b"{\"\xff\"}").unwrap();
    assert!(
        Config::load(&path)
            .unwrap_err()
            .to_string()
            .contains("not UTF-8 text (byte 2)")
    );
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("longer than"));
    assert!(matches!(
        Config::load(directory.path()),
        Err(ConfigError::Unreadable(_))
    ));
    assert!(
        Config::load(Path::new("/nowhere/at all"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere/at all")
    );
}

#[test]
fn a_key_given_twice_is_a_problem_wherever_it_stands() {
    let text = minimal().to_string();
    let twice = text.replacen('{', "{\"worker_threads\": 1, \"worker_threads\": 1,", 1);
    let problems = Config::parse(&twice).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].fault, Fault::Duplicate);
    assert_eq!(problems[0].path, FieldPath::dotted("worker_threads"));
    // Also in what is ignored.
    let twice = text.replacen("\"type\"", "\"x\": {\"a\": 1, \"a\": 2}, \"type\"", 1);
    let problems = Config::parse(&twice).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "command.x.a: the key `a` is there more than once; keep one"
    );
}

#[test]
fn a_flood_of_problems_is_counted_not_listed() {
    let fields: Vec<String> = (0..20_000).map(|i| format!("\"x{i}\": 1")).collect();
    let problems = Config::parse(&format!("{{{}}}", fields.join(","))).unwrap_err();
    assert!(problems.len() < 1000);
    assert!(matches!(problems.last().unwrap().fault, Fault::More { count } if count > 19_000));
    let deep = "[".repeat(100_000);
    assert!(matches!(
        Config::parse(&deep).unwrap_err()[0].fault,
        Fault::Syntax { .. }
    ));
}

#[test]
fn the_files_that_a_configuration_names_are_looked_at_and_left_alone() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    let mut document = minimal();
    document["command"]["recover"] = json!({"previous_service_identity_file": "old.pem"});
    document["ledger"] = json!({"directory": "ledger", "read_only_directories": ["archive"]});
    document["snapshots"] = json!({"read_only_directory": "old_snapshots"});
    document["service_data_json_file"] = json!("data.json");
    document["output_files"] = json!({"pid_file": "run/node.pid", "node_certificate_file": "ledger"});
    let config = parse(&document).unwrap().config;
    std::fs::create_dir(at("ledger")).unwrap();
    std::fs::write(at("data.json"), "{").unwrap();
    std::fs::write(at("archive"), "a file").unwrap();
    let problems = config.check_files(base.path());
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for words in [
        "ledger.read_only_directories[0]: archive read-only ledger is not a directory",
        "ledger.directory: there is no ledger to recover",
        "snapshots.read_only_directory: old_snapshots read-only snapshot is not a directory",
        "service_data_json_file: could not read data.json as JSON",
        "Recovery requires a previous service identity certificate; cannot open 'old.pem'",
        "output_files.pid_file: could not write run/node.pid",
        "output_files.node_certificate_file: could not write ledger: it is a directory",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
    assert_eq!(problems.len(), 7, "{text}");

    std::fs::write(
        at("old.pem"),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    let text: String = config
        .check_files(base.path())
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        text.contains("old.pem is not a certificate in PEM: expected a certificate, but this PEM holds a public key")
    );

    // Everything in place: no problem, and nothing has changed.
    std::fs::remove_file(at("archive")).unwrap();
    for directory in ["archive", "old_snapshots", "run"] {
        std::fs::create_dir(at(directory)).unwrap();
    }
    std::fs::write(at("ledger/ledger_1"), "").unwrap();
    std::fs::write(at("data.json"), "{}").unwrap();
    std::fs::write(at("old.pem"), certificate()).unwrap();
    let mut config = config;
    config.output_files.node_certificate_file = Some("node.pem".into());
    let listing = || {
        let mut names: Vec<_> = std::fs::read_dir(base.path())
            .unwrap()
            .map(|file| file.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = listing();
    assert_eq!(config.check_files(base.path()), []);
    assert_eq!(listing(), before);

    let start = json!({
        "members": [{"certificate_file": "old.pem", "encryption_public_key_file": "old.pem"}],
        "constitution_files": ["none.js"],
        "service_configuration": {"recovery_threshold": 0}
    });
    document["command"] = json!({"type": "Start", "start": start});
    let config = parse(&document).unwrap().config;
    let text: String = config
        .check_files(base.path())
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect();
    for words in [
        "On start, ledger directory should not exist or be empty (ledger)",
        "command.start.members[0].encryption_public_key_file: old.pem is not a share-encryption key",
        "command.start.constitution_files[0]: could not read none.js",
    ] {
        assert!(text.contains(words), "{words:?} is not in:\n{text}");
    }
}

/// A service certificate in PEM.
fn certificate() -> String {
    use rand_chacha::rand_core::SeedableRng;
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let key = rekindle::crypto::SigningKey::generate(Curve::P256, &mut rng);
    let public = key.verifying_key();
    rekindle::crypto::x509::issue("CN=CCF Service", &public, None, &key, true, 1_700_000_000, 1, [1; 16])
        .unwrap()
        .to_pem()
}

#[test]
fn a_node_that_joins_begins_without_a_ledger_and_can_be_reached() {
    let base = tempfile::tempdir().unwrap();
    let mut document = minimal();
    std::fs::write(base.path().join("service.pem"), certificate()).unwrap();
    document["command"] = json!({
        "type": "Join", "service_certificate_file": "service.pem", "join": {"target_rpc_address": "127.0.0.1:1"}
    });
    document["network"]["node_to_node_interface"] = json!({"bind_address": "127.0.0.1:0"});
    document["ledger"] = json!({"directory": "ledger", "read_only_directories": ["read"]});
    document["output_files"] = json!({"node_certificate_file": "node.pem", "pid_file": "node.pid"});
    let config = parse(&document).unwrap().config;
    let (main, read) = (base.path().join("ledger"), base.path().join("read"));
    assert_eq!(config.held_ledger(base.path()).unwrap(), None, "neither is there");
    for directory in [&main, &read] {
        std::fs::create_dir(directory).unwrap();
        for name in ["lost+found", "ledger_1-20.committed.ignored", "notes.txt"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        assert_eq!(config.held_ledger(base.path()).unwrap(), None);
    }
    assert_eq!(config.check_files(base.path()), []);
    for (directory, name) in [
        (&main, "ledger_1-20.committed"),
        (&main, "ledger_1-20.committed.recovery"),
        (&read, "ledger_7"),
    ] {
        std::fs::write(directory.join(name), "").unwrap();
        let text: String = config
            .check_files(base.path())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(text.contains("ledger.directory: ") && text.contains(name), "{text}");
        assert!(text.contains("Move what is there away"), "{text}");
        assert!(config.held_ledger(base.path()).unwrap().is_some());
        std::fs::remove_file(directory.join(name)).unwrap();
    }
    document["network"]
        .as_object_mut()
        .unwrap()
        .remove("node_to_node_interface");
    let problems = parse(&document).unwrap().config.check_files(base.path());
    let text: String = problems.iter().map(ToString::to_string).collect();
    assert!(
        text.contains("network.node_to_node_interface: ") && text.contains("must be reached"),
        "{text}"
    );
}

#[test]
fn a_file_is_waited_for_until_it_is_json() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let start = Instant::now();
    assert!(matches!(
        await_file(&path, Duration::from_millis(250)),
        Err(ConfigError::Unreadable(_))
    ));
    assert!(start.elapsed() >= Duration::from_millis(250));

    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            std::thread::sleep(Duration::from_millis(150));
            std::fs::write(&path, "{\"network\": ").unwrap();
            std::thread::sleep(Duration::from_millis(250));
            std::fs::write(&path, minimal().to_string()).unwrap();
        }
    });
    assert!(await_file(&path, Duration::from_secs(20)).is_ok());
    writer.join().unwrap();

    // What is JSON, but no configuration, will not become one.
    std::fs::write(&path, "{}").unwrap();
    let start = Instant::now();
    assert!(matches!(
        await_file(&path, Duration::from_secs(20)),
        Err(ConfigError::Invalid { .. })
    ));
    assert!(start.elapsed() < Duration::from_secs(10));
}

/// JSON documents made of the schema's own names and values, and of others.
fn documents() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "network",
        "rpc_interfaces",
        "primary_rpc_interface",
        "bind_address",
        "command",
        "type",
        "recover",
        "start",
        "members",
        "ledger",
        "chunk_size",
        "read_only_directories",
        "snapshots",
        "sealing_recovery",
        "location",
        "self_healing_open",
        "addresses",
        "accepted_endpoints",
        "endorsement",
        "",
        "a.b",
        "[",
        "chunkSize",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec![
            "Recover",
            "Start",
            "127.0.0.1:80",
            "5MB",
            "1s",
            "18446744073709551615pb",
            "(",
            "[::"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(
                prop_oneof![names.clone().prop_map(str::to_owned), any::<String>()],
                inner,
                0..6
            )
            .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_it_panic(document in documents()) {
        let _ = parse(&document).map_err(|problems| rekindle::node::config::frames(&problems));
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Config::parse(&text);
    }

    #[test]
    fn no_value_anywhere_in_a_full_document_makes_it_panic(value in documents(), at in any::<prop::sample::Index>()) {
        let mut document = every_field();
        let mut paths = BTreeSet::new();
        leaves(&document, "", &mut paths);
        let path = at.get(&paths.into_iter().collect::<Vec<_>>()).clone();
        let pointer = path.replace("[]", ".0").replace('*', "primary_rpc_interface");
        *document.pointer_mut(&format!("/{}", pointer.replace('.', "/"))).unwrap() = value;
        let _ = parse(&document).map_err(|problems| rekindle::node::config::frames(&problems));
    }
}

#[test]
fn what_ccfs_own_files_have_is_accepted_with_its_meaning() {
    // An empty published address is the bound one.
    let mut empty = with(
        &["network", "node_to_node_interface"],
        json!({"bind_address": "127.0.0.1:8003", "published_address": ""}),
    );
    empty["network"]["rpc_interfaces"]["primary_rpc_interface"]["published_address"] = json!("");
    let network = parse(&empty).unwrap().config.network;
    let node_to_node = network.node_to_node_interface.unwrap();
    assert_eq!(node_to_node.published_address, node_to_node.bind_address);
    let interface = &network.rpc_interfaces["primary_rpc_interface"];
    assert_eq!(interface.published_address, interface.bind_address);

    // Sections of other commands may hold anything.
    let others = json!({"target_rpc_address": "", "retry_timeout": "None", "x": 1});
    let loaded = parse(&with(&["command", "join"], others.clone())).unwrap();
    assert_eq!(loaded.config.command.join, None);
    assert!(loaded.notes.iter().any(|note| note.path.to_string() == "command.join"));
    assert!(parse(&with(&["command", "start"], others.clone())).is_ok());
    let mut joining = with(&["command", "join"], others);
    joining["command"]["type"] = json!("Join");
    assert_eq!(parse(&joining).unwrap_err().len(), 3);

    // 0 is no limit.
    let unlimited = parse(&with(&["consensus", "max_uncommitted_tx_count"], json!(0))).unwrap();
    assert_eq!(unlimited.config.consensus.max_uncommitted_tx_count, 0);

    // A redirection may leave the port to the scheme.
    let redirections = json!({"to_primary": {"kind": "StaticAddress", "target": {"address": "primary.example"}}});
    let path = ["network", "rpc_interfaces", "primary_rpc_interface", "redirections"];
    assert!(parse(&with(&path, redirections)).is_ok());
    let nowhere = json!({"to_primary": {"kind": "StaticAddress", "target": {"address": ""}}});
    assert!(parse(&with(&path, nowhere)).is_err());

    // A service without a configuration has the defaults: all participants are needed.
    let mut start = with(
        &["command", "start"],
        json!({"members": [], "constitution_files": ["c.js"]}),
    );
    start["command"]["type"] = json!("Start");
    let start = parse(&start).unwrap().config.command.start.unwrap();
    assert_eq!(start.service_configuration.recovery_threshold, 0);
    assert_eq!(start.service_configuration.maximum_node_certificate_validity_days, 365);

    // Servers of endorsements are known by their type.
    let servers = with(&["attestation", "snp_endorsements_servers"], json!([{"type": "AMD"}]));
    assert_eq!(
        parse(&servers).unwrap().config.attestation.snp_endorsements_servers[0].url,
        None
    );
    // Self-healing by identities, as one release had it: beside addresses. Alone it would leave a cluster of one.
    let both = json!({
        "identity": {"name": "n0"}, "cluster_identities": [{"name": "n0"}], "addresses": ["node0.example:443"],
    });
    let path = ["command", "recover", "self_healing_open"];
    let document = with(
        &[
            "network",
            "rpc_interfaces",
            "primary_rpc_interface",
            "published_address",
        ],
        json!("node0.example:443"),
    );
    let healing = |healing: Value| {
        let mut document = document.clone();
        document["command"]["recover"]["self_healing_open"] = healing;
        parse(&document)
    };
    let mut alone = both.clone();
    alone.as_object_mut().unwrap().remove("addresses");
    assert!(healing(both).is_ok());
    let text = problem(&{
        let mut document = document.clone();
        document["command"]["recover"]["self_healing_open"] = alone;
        document
    })
    .to_string();
    assert!(
        text.contains("cluster_identities: ") && text.contains("self_healing_open.addresses"),
        "{text}"
    );
    assert!(parse(&with(&path, json!({}))).is_err());
}
