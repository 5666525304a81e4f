//! Files are replaced where they are files, written into where they are pipes, and left alone otherwise; a start that is
//! refused changes nothing.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, mknodat};
use serde_json::json;

use crate::node::Place;
use crate::support::{Service, contents};

fn service() -> Service {
    Service::made(&[
        "--entries",
        "60",
        "--signature-every",
        "10",
        "--chunk-size",
        "9000",
        "--members",
        "2",
    ])
}

#[test]
fn an_export_goes_into_a_pipe_and_never_over_a_link() {
    let service = service();
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let whole = rekindle!("export", service.ledger(), "-o", "-").expect(0).stdout;
    assert_eq!(
        rekindle!("export", service.ledger(), "-o", "/dev/stdout")
            .expect(0)
            .stdout,
        whole
    );
    mknodat(CWD, at("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();
    let reader = std::thread::spawn({
        let pipe = at("pipe");
        move || std::fs::read(pipe).unwrap()
    });
    rekindle!("export", service.ledger(), "-o", at("pipe")).expect(0);
    assert_eq!(reader.join().unwrap(), whole);
    assert!(at("pipe").symlink_metadata().unwrap().file_type().is_fifo());

    std::fs::write(at("precious"), "precious").unwrap();
    symlink(at("precious"), at("link")).unwrap();
    symlink(service.ledger().join("ledger_x"), at("into the ledger")).unwrap();
    let before = contents(&service.ledger());
    for name in ["link", "into the ledger"] {
        for option in ["export", "verify", "sign"] {
            let run = match option {
                "export" => rekindle!("export", service.ledger(), "-o", at(name)),
                "verify" => rekindle!("verify", service.ledger(), "--checkpoint", at(name)),
                _ => rekindle!(
                    "member",
                    "sign",
                    "--type",
                    "proposal",
                    "--content",
                    service.common("member0_cert.pem"),
                    "--cert",
                    service.common("member0_cert.pem"),
                    "--key",
                    service.common("member0_privk.pem"),
                    "--out",
                    at(name)
                ),
            };
            assert_eq!(run.code, Some(2), "{option} {name}: {}", run.stderr);
            assert!(at(name).symlink_metadata().unwrap().is_symlink(), "{option} {name}");
        }
    }
    assert_eq!(std::fs::read(at("precious")).unwrap(), b"precious");
    assert_eq!(contents(&service.ledger()), before);
}

/// The files that a node writes, with what is in them.
fn outputs(place: &Place) -> Vec<(String, Vec<u8>)> {
    [
        "node.pid",
        "node_cert.pem",
        "rpc_addresses.json",
        "node_address.json",
        "service_cert.pem",
    ]
    .into_iter()
    .filter_map(|name| Some((name.to_owned(), std::fs::read(place.directory.join(name)).ok()?)))
    .collect()
}

#[test]
fn a_second_node_changes_neither_the_ledger_nor_the_files_of_the_first() {
    let place = Place::of(&service().directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    let (files, ledger) = (
        outputs(&place),
        contents(&place.ledger()).into_keys().collect::<Vec<_>>(),
    );
    assert_eq!(files.len(), 5);
    // The same ledger.
    let said = place.refused();
    assert!(said.contains("another node works in"), "{said}");
    assert_eq!(outputs(&place), files);
    assert_eq!(contents(&place.ledger()).into_keys().collect::<Vec<_>>(), ledger);
    // The same address, with a ledger of its own.
    let mut other = place.again();
    other.directory = place.directory.clone();
    std::fs::create_dir(place.directory.join("other")).unwrap();
    crate::support::copy_files(&service().ledger(), &place.directory.join("other"));
    let address = String::from_utf8(files[2].1.clone()).unwrap();
    let address: serde_json::Value = serde_json::from_str(&address).unwrap();
    other.config = place.config.clone();
    other.config["ledger"]["directory"] = json!("other");
    other.config["network"]["rpc_interfaces"]["test"]["bind_address"] = address["test"].clone();
    let before = contents(&place.directory.join("other"));
    other.refused();
    assert_eq!(outputs(&place), files);
    assert_eq!(contents(&place.directory.join("other")), before);
    // Another address, and a ledger that is refused when it has been read.
    let damaged = place.directory.join("other");
    let (_, chunk) = crate::support::chunks(&damaged).into_iter().nth(1).unwrap();
    let mut bytes = std::fs::read(&chunk).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    let before = contents(&damaged);
    other.config["network"]["rpc_interfaces"]["test"]["bind_address"] = json!("127.0.0.1:0");
    let said = other.refused();
    assert!(said.contains("--drop-after"), "{said}");
    assert_eq!(outputs(&place), files);
    assert_eq!(contents(&damaged), before);
    node.stop();
}

#[test]
fn a_start_that_can_not_write_beside_the_ledger_does_not_touch_it() {
    for (section, value) in [
        ("snapshots", json!({"directory": "a_file"})),
        (
            "command",
            json!({"type": "Recover", "service_certificate_file": "a_file/cert.pem", "recover": {}}),
        ),
        ("output_files", json!({"node_to_node_address_file": "a_directory"})),
        ("output_files", json!({"pid_file": "/dev/null"})),
        ("service_data_json_file", json!("a_file")),
    ] {
        // Its last chunk is open, and would be cut.
        let made = Service::made(&[
            "--entries",
            "60",
            "--signature-every",
            "10",
            "--chunk-size",
            "9000",
            "--unsigned-tail",
            "3",
        ]);
        let mut place = Place::of(&made.directory);
        std::fs::write(place.directory.join("a_file"), "{").unwrap();
        std::fs::create_dir(place.directory.join("a_directory")).unwrap();
        let before = contents(&place.ledger());
        place.config[section] = value.clone();
        place.refused();
        assert_eq!(contents(&place.ledger()), before, "{section}: {value}");
    }
}

#[test]
fn an_open_chunk_with_signatures_in_a_read_only_directory_is_not_dropped_without_a_word() {
    let made = Service::made(&[
        "--entries",
        "65",
        "--signature-every",
        "10",
        "--chunk-size",
        "9000",
        "--unsigned-tail",
        "2",
    ]);
    let mut place = Place::of(&made.directory);
    let read_only = place.directory.join("read_only");
    std::fs::create_dir(&read_only).unwrap();
    let open: Vec<_> = std::fs::read_dir(place.ledger())
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| !path.to_str().unwrap().ends_with(".committed"))
        .collect();
    let [open] = &open[..] else { panic!("{open:?}") };
    std::fs::rename(open, read_only.join(open.file_name().unwrap())).unwrap();
    place.config["ledger"]["read_only_directories"] = json!(["read_only"]);
    place.config["snapshots"]["directory"] = json!("no_snapshots");
    let before = (contents(&place.ledger()), contents(&read_only));
    let said = place.refused();
    assert!(said.contains("read-only") && said.contains("--drop-after"), "{said}");
    assert_eq!((contents(&place.ledger()), contents(&read_only)), before);
    let last = said.split("--drop-after ").nth(1).unwrap();
    let last: String = last.chars().take_while(char::is_ascii_digit).collect();
    place.arguments = vec!["--drop-after".to_owned(), last];
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.stop();
}

/// Renews certificates as CCF's own constitutions do.
const RENEWING: &str = r#"
    export function validate(input) { return {valid: true, description: ""}; }
    export function resolve(proposal, proposerId, votes) { return "Accepted"; }
    export function apply(text, proposalId) {
        const {name, args} = JSON.parse(text).actions[0];
        if (name === "set_service_certificate_validity") {
            const services = ccf.kv["public:ccf.gov.service.info"];
            const key = new ArrayBuffer(8);
            const info = ccf.bufToJsonCompatible(services.get(key));
            info.cert = ccf.network.generateNetworkCertificate(args.valid_from, args.validity_period_days);
            services.set(key, ccf.jsonCompatibleToBuf(info));
        } else {
            const id = ccf.strToBuf(args.node_id);
            const info = ccf.bufToJsonCompatible(ccf.kv["public:ccf.gov.nodes.info"].get(id));
            const endorsed = ccf.network.generateEndorsedCertificate(
                info.certificate_signing_request, args.valid_from, args.validity_period_days);
            ccf.kv["public:ccf.gov.nodes.endorsed_certificates"].set(id, ccf.strToBuf(endorsed));
        }
    }"#;

#[test]
fn a_renewed_service_certificate_is_on_disk() {
    let place = Place::of(&service().directory);
    let mut node = place.start();
    node.wait_for("PartOfPublicNetwork");
    node.wait_for_members();
    node.open();
    node.act("set_constitution", json!({"constitution": RENEWING}));
    let proposer = node.voters().remove(0);
    let renew = |name: &str, args: serde_json::Value| {
        let proposal = json!({"actions": [{"name": name, "args": args}]});
        let state = node.propose(&proposer, &proposal).unwrap();
        assert_eq!(state["proposalState"], "Accepted");
    };
    let path = place.directory.join("service_cert.pem");
    let before = std::fs::read_to_string(&path).unwrap();
    let validity = json!({"valid_from": "20300101000000Z", "validity_period_days": 30});
    renew("set_service_certificate_validity", validity);
    let began = Instant::now();
    while std::fs::read_to_string(&path).unwrap() == before {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the certificate on disk is the old one"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let served = node.json("/node/network")["service_certificate"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), served.trim());
    let own = place.directory.join("node_cert.pem");
    let before = std::fs::read_to_string(&own).unwrap();
    let id = node.state()["node_id"].as_str().unwrap().to_owned();
    let validity = json!({"node_id": id, "valid_from": "20300102000000Z", "validity_period_days": 20});
    renew("set_node_certificate_validity", validity);
    let began = Instant::now();
    while std::fs::read_to_string(&own).unwrap() == before {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the node's certificate on disk is the old one"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let served = node.json("/node/self_signed_certificate")["self_signed_certificate"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(std::fs::read_to_string(&own).unwrap(), served);
    node.stop();
}

#[test]
fn check_finds_outputs_that_can_not_be_files() {
    let made = service();
    let mut place = Place::of(&made.directory);
    place.arguments.push("--check".to_owned());
    let file = |name: &str| place.directory.join(name);
    std::fs::create_dir(file("directory")).unwrap();
    mknodat(CWD, file("pipe"), FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink("elsewhere", file("link")).unwrap();
    for (path, words) in [
        ("directory", "it is a directory"),
        ("/dev/null", "it is a device"),
        ("pipe", "it is a device, a pipe"),
        ("link", "links are not followed"),
        ("none/such", "is not a directory"),
        ("ledger/node.pid", "holds chunks or snapshots only"),
        ("ledger/../ledger/node.pid", "holds chunks or snapshots only"),
        ("snapshots/node.pid", "holds chunks or snapshots only"),
        ("./node_cert.pem", "give each a file of its own"),
        ("service_cert.pem", "give each a file of its own"),
    ] {
        for start in [true, false] {
            let mut place = Place::at(Path::new(&place.directory));
            place.arguments = if start { Vec::new() } else { vec!["--check".to_owned()] };
            place.config["output_files"]["pid_file"] = json!(path);
            let before = contents(&place.ledger());
            let said = place.refused();
            assert!(said.contains(words) && said.contains("output_files"), "{path}: {said}");
            assert_eq!(contents(&place.ledger()), before);
        }
    }
}
