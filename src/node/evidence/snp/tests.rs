//! Endorsements from servers that help, that are slow, and that lie: with a stand-in for each.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;
use crate::attestation::testing::{Machine, key};
use crate::crypto::sha256;
use crate::node::config::EndorsementsServerKind as Kind;
use crate::node::evidence::testing::{StandIn, ok, settings, snp};

const KINDS: [Kind; 3] = [Kind::Azure, Kind::Amd, Kind::Thim];

fn node() -> VerifyingKey {
    key(50).verifying_key()
}

fn der(pem: &str) -> Vec<u8> {
    crate::crypto::x509::der_blocks(pem, &["CERTIFICATE"], 1)
        .remove(0)
        .unwrap()
}

fn parts(machine: &Machine) -> (String, String) {
    let pem = machine.endorsements();
    let end = pem.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len();
    let (vcek, chain) = pem.split_at(end);
    (vcek.to_owned(), chain.to_owned())
}

fn host_json(machine: &Machine, tcbm: &str) -> String {
    let (vcek, chain) = parts(machine);
    json!({"cacheControl": "86400", "vcekCert": vcek, "certificateChain": chain, "tcbm": tcbm}).to_string()
}

/// What a server of a kind answers that has the endorsements of a machine.
fn good(kind: Kind, machine: &Machine) -> Vec<super::super::testing::Answer> {
    let (vcek, chain) = parts(machine);
    match kind {
        Kind::Azure => vec![ok(machine.endorsements())],
        Kind::Amd => vec![ok(der(&vcek)), ok(chain)],
        Kind::Thim => vec![ok(host_json(machine, "7718000000000004"))],
    }
}

#[test]
fn every_kind_of_server_is_understood_and_gives_the_same_evidence() {
    let machine = Machine::default();
    for kind in KINDS {
        let server = StandIn::start(kind, good(kind, &machine));
        let evidence = snp(machine.clone(), settings(&[server.setting(0)]));
        let evidence = evidence.attest(&node()).unwrap();
        assert_eq!(evidence.endorsements(), machine.endorsements(), "{kind:?}");
        let asked = server.asked();
        assert_eq!(asked.len(), if kind == Kind::Amd { 2 } else { 1 });
        assert!(asked[0].contains("host: 127.0.0.1:"), "{}", asked[0]);
        assert_eq!(asked[0].contains("metadata: true\r\n"), kind == Kind::Thim);
    }
}

#[test]
fn servers_are_asked_in_order_each_as_often_as_the_configuration_says() {
    let machine = Machine::default();
    for kind in KINDS {
        let failing = StandIn::start(kind, vec![(500, "", vec![])]);
        let other = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
        let evidence = snp(machine.clone(), settings(&[failing.setting(2), other.setting(0)]));
        assert!(evidence.attest(&node()).is_ok());
        assert_eq!(failing.asked().len(), 3, "once, and two retries");
        assert_eq!(other.asked().len(), 1);
    }
}

#[test]
fn nothing_of_a_server_that_failed_half_way_is_left_for_the_next() {
    let machine = Machine::default();
    let (vcek, _) = parts(&machine);
    let half = StandIn::start(Kind::Amd, vec![ok(der(&vcek)), (404, "", vec![])]);
    let whole = StandIn::start(Kind::Azure, good(Kind::Azure, &machine));
    let evidence = snp(machine.clone(), settings(&[half.setting(1), whole.setting(0)]));
    assert_eq!(evidence.attest(&node()).unwrap().endorsements(), machine.endorsements());
    assert_eq!(half.paths().len(), 3);
    assert!(half.paths()[1..].iter().all(|path| path == "/vcek/v1/Milan/cert_chain"));
}

#[test]
fn a_busy_server_is_asked_again_and_its_wish_is_bounded() {
    let machine = Machine::default();
    let busy = |headers| (429, headers, vec![]);
    let mut answers = vec![
        busy("retry-after: 0\r\n"),
        busy("retry-after: 99999999999\r\n"),
        busy("retry-after: soon\r\n"),
        busy(""),
    ];
    answers.extend(good(Kind::Azure, &machine));
    let server = StandIn::start(Kind::Azure, answers);
    let evidence = snp(machine, settings(&[server.setting(4)]));
    assert!(evidence.attest(&node()).is_ok());
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn a_server_that_never_answers_is_not_waited_for() {
    let machine = Machine::default();
    let silent = StandIn::start(Kind::Thim, vec![(0, "", vec![])]);
    let other = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
    let mut evidence = snp(machine, settings(&[silent.setting(0), other.setting(0)]));
    evidence.patience.request = std::time::Duration::from_millis(300);
    assert!(evidence.attest(&node()).is_ok());
}

#[test]
fn a_server_that_lies_is_of_no_use_and_does_no_harm() {
    let machine = Machine::default();
    let older = Machine {
        tcb: [4, 0, 0, 0, 0, 0, 23, 119],
        ..Machine::default()
    };
    let lies: [Vec<u8>; 7] = [
        vec![],
        b"<html>please log in</html>".to_vec(),
        older.endorsements().into_bytes(),
        machine.endorsements().repeat(2).into_bytes(),
        vec![b'A'; 1 << 20],
        b"{".repeat(100_000),
        b"-----BEGIN CERTIFICATE-----\n".repeat(4_000),
    ];
    for kind in KINDS {
        for lie in &lies {
            let liar = StandIn::start(kind, vec![ok(lie.clone())]);
            let alone = snp(machine.clone(), settings(&[liar.setting(0)]));
            let why = alone.attest(&node()).unwrap_err();
            let words = "Timed out fetching attestation endorsements from all configured servers: ";
            assert!(why.starts_with(words) && why.len() < 2_000, "{why}");
            assert!(!why.contains("log in"), "{why}");
            let honest = StandIn::start(Kind::Azure, good(Kind::Azure, &machine));
            let both = snp(machine.clone(), settings(&[liar.setting(0), honest.setting(0)]));
            assert_eq!(both.attest(&node()).unwrap().endorsements(), machine.endorsements());
        }
    }
}

#[test]
fn without_a_server_or_a_file_the_node_says_what_it_needs() {
    let why = snp(Machine::default(), settings(&[])).attest(&node()).unwrap_err();
    assert!(
        why.starts_with(
            "One or more SNP endorsements servers must be specified to fetch the collateral for the attestation"
        ),
        "{why}"
    );
}

struct Files(tempfile::TempDir);

impl Files {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Option<PathBuf> {
        let path = self.0.path().join(name);
        std::fs::write(&path, STANDARD.encode(content)).unwrap();
        Some(path)
    }
}

#[test]
fn a_machine_that_has_everything_ready_asks_nobody() {
    let policy = "package policy";
    let machine = Machine {
        uvm: Some(("feed", 7)),
        host_data: sha256(policy.as_bytes()),
        ..Machine::default()
    };
    let files = Files(tempfile::tempdir().unwrap());
    let server = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
    let mut configured = settings(&[server.setting(0)]);
    configured.snp_endorsements_file = files.write("host-amd-cert-base64", host_json(&machine, "7718000000000004"));
    configured.snp_security_policy_file = files.write("security-policy-base64", policy);
    configured.snp_uvm_endorsements_file = files.write("reference-info-base64", machine.uvm_endorsements().unwrap());
    let evidence = snp(machine.clone(), configured).attest(&node()).unwrap();
    assert_eq!(server.asked().len(), 0);
    assert_eq!(evidence.endorsements(), machine.endorsements());
    assert_eq!(evidence.uvm_endorsements(), machine.uvm_endorsements().as_deref());
    let OwnEvidence::Snp(snp) = evidence else {
        unreachable!()
    };
    assert_eq!(snp.security_policy(), Some(policy));
}

#[test]
fn certificates_of_before_a_firmware_update_are_not_used() {
    let machine = Machine::default();
    let files = Files(tempfile::tempdir().unwrap());
    for content in [
        host_json(&machine, "7618000000000004"),
        host_json(&machine, "7718000000000004").replace("vcekCert", "other"),
        machine.endorsements().replace("BEGIN", "BEGUN"),
    ] {
        let server = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
        let mut configured = settings(&[server.setting(0)]);
        configured.snp_endorsements_file = files.write("certificates", &content);
        assert!(snp(machine.clone(), configured.clone()).attest(&node()).is_ok());
        assert_eq!(server.asked().len(), 1);
        configured.snp_endorsements_servers.clear();
        let why = snp(machine.clone(), configured).attest(&node()).unwrap_err();
        assert!(
            why.contains("One or more SNP endorsements servers") && why.contains("the file: "),
            "{why}"
        );
    }
}

#[test]
fn a_policy_of_another_guest_stops_the_node_before_anybody_is_asked() {
    let machine = Machine::default();
    let files = Files(tempfile::tempdir().unwrap());
    let server = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
    let mut configured = settings(&[server.setting(0)]);
    configured.snp_security_policy_file = files.write("policy", "package other");
    let why = snp(machine.clone(), configured.clone()).attest(&node()).unwrap_err();
    assert!(why.starts_with("Digest of decoded security policy "), "{why}");
    configured.snp_security_policy_file = files.write("policy", [0xff, 0xfe]);
    let why = snp(machine.clone(), configured.clone()).attest(&node()).unwrap_err();
    assert!(why.contains("UTF-8"), "{why}");
    configured.snp_security_policy_file = None;
    configured.snp_uvm_endorsements_file = files.write("uvm", "no COSE");
    let why = snp(machine, configured).attest(&node()).unwrap_err();
    assert!(why.starts_with("Error verifying UVM endorsements: "), "{why}");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn evidence_is_as_good_as_the_time_it_is_made_at() {
    let machine = Machine::default();
    let server = StandIn::start(Kind::Thim, good(Kind::Thim, &machine));
    let mut evidence = snp(machine, settings(&[server.setting(0)]));
    evidence.clock = || crate::attestation::testing::TO + 1;
    let why = evidence.attest(&node()).unwrap_err();
    assert!(why.contains("validity: "), "{why}");
}

type Alter = fn(Vec<u8>) -> Vec<u8>;

/// A device that alters what it was asked for.
struct Altered(Machine, Alter);

impl ReportSource for Altered {
    fn report(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, String> {
        ReportSource::report(&self.0, report_data).map(self.1)
    }
}

#[test]
fn a_device_that_answers_something_else_ends_in_words_before_anybody_is_asked() {
    let machine = Machine::default();
    let alterations: [(Alter, &str); 5] = [
        (|_| Vec::new(), "the device gave no report"),
        (|report| report[..1183].to_vec(), "1184"),
        (|report| report.repeat(4_000), "1184"),
        (
            |mut report| {
                report[0x50] ^= 1;
                report
            },
            "report data",
        ),
        (
            |mut report| {
                report[0x188] = 0x77;
                report
            },
            "Unsupported CPUID family",
        ),
    ];
    for (alter, words) in alterations {
        let server = StandIn::start(Kind::Azure, good(Kind::Azure, &machine));
        let whole = snp(machine.clone(), settings(&[server.setting(0)]));
        let evidence = Snp {
            device: Altered(machine.clone(), alter),
            settings: whole.settings,
            anchors: whole.anchors,
            patience: whole.patience,
            clock: whole.clock,
        };
        let why = evidence.attest(&node()).unwrap_err();
        assert!(why.contains(words) && why.len() < 2_000, "{words}: {why}");
        assert_eq!(server.asked().len(), 0, "{words}");
    }
}

/// A report that nobody signed is found with the endorsements, each of which is refused for it.
#[test]
fn a_report_that_its_chip_did_not_sign_is_never_evidence() {
    let machine = Machine::default();
    let server = StandIn::start(Kind::Azure, good(Kind::Azure, &machine));
    let whole = snp(machine.clone(), settings(&[server.setting(0)]));
    let evidence = Snp {
        device: Altered(machine, |mut report| {
            report[0x90] ^= 1;
            report
        }),
        settings: whole.settings,
        anchors: whole.anchors,
        patience: whole.patience,
        clock: whole.clock,
    };
    let why = evidence.attest(&node()).unwrap_err();
    assert!(why.contains("signature: "), "{why}");
}

#[test]
fn a_server_that_says_one_thing_and_sends_another_is_of_no_use_and_nobody_follows_it() {
    let machine = Machine::default();
    let long: &'static str = Box::leak(format!("x: {}\r\n", "y".repeat(2 << 20)).into_boxed_str());
    let many: &'static str = Box::leak("x: y\r\n".repeat(5_000).into_boxed_str());
    let body = machine.endorsements().into_bytes();
    for (status, headers) in [
        (302, "location: /SevSnpVM\r\n"),
        (100, ""),
        (204, ""),
        (999, ""),
        (200, "content-length: 99999999999\r\n"),
        (200, "content-length: -1\r\n"),
        (200, "transfer-encoding: chunked\r\n"),
        (200, long),
        (200, many),
    ] {
        let liar = StandIn::start(Kind::Azure, vec![(status, headers, body.clone())]);
        let honest = StandIn::start(Kind::Azure, good(Kind::Azure, &machine));
        let mut alone = snp(machine.clone(), settings(&[liar.setting(1)]));
        alone.patience.request = std::time::Duration::from_secs(2);
        let why = alone.attest(&node()).unwrap_err();
        assert!(why.len() < 2_000 && !why.contains("yyyy"), "{status}: {why}");
        assert!(liar.asked().len() <= 2 && liar.paths().iter().all(|path| path.starts_with("/SevSnpVM/cert")));
        let both = snp(machine.clone(), settings(&[liar.setting(0), honest.setting(0)]));
        assert_eq!(both.attest(&node()).unwrap().endorsements(), machine.endorsements());
    }
}
