//! Nothing is a node's own evidence that does not hold.

use super::*;
use crate::attestation::testing::{FROM, Machine, TO, key};
use crate::crypto::sha256;

fn verifier() -> Verifier {
    Verifier::new(Machine::anchors())
}

fn node() -> VerifyingKey {
    key(50).verifying_key()
}

fn endorsed(given: &Given, endorsements: &str, time: Time) -> Result<SnpEvidence, String> {
    given.endorsed_by(endorsements, &verifier(), &node(), time)
}

#[test]
fn what_holds_is_told_as_the_ledger_has_it() {
    let machine = Machine {
        uvm: Some(("feed", 101)),
        ..Machine::default()
    };
    let evidence = machine.evidence(&node());
    assert_eq!(evidence.platform(), Platform::Snp);
    assert_eq!(evidence.measurement(), [9; 48]);
    let info = evidence.info();
    let read = Evidence::from_quote_info(info.to_string().as_bytes()).unwrap();
    assert_eq!(read.quote, machine.report(&node().id()));
    assert_eq!(read.endorsements, machine.endorsements().into_bytes());
    assert_eq!(read.uvm_endorsements, machine.uvm_endorsements());
    assert_eq!((read.format.as_str(), read.endorsed_tcb), ("AMD_SEV_SNP_v1", None));
    let OwnEvidence::Snp(snp) = &evidence else {
        unreachable!()
    };
    let uvm = snp.uvm().unwrap();
    assert_eq!(
        (uvm.did.as_str(), uvm.feed.as_str(), uvm.svn),
        (Machine::did().as_str(), "feed", 101)
    );
    assert_eq!(snp.cpuid().to_hex(), "00a00f11");
    let without = Machine::default().evidence(&node()).info();
    assert!(without.get("uvm_endorsements").is_none());
}

#[test]
fn endorsements_of_another_chip_firmware_or_root_are_of_no_use() {
    let machine = Machine::default();
    let given = machine.given(&node());
    let now = Time::At(FROM);
    assert!(endorsed(&given, &machine.endorsements(), now).is_ok());
    let newer = Machine {
        tcb: [4, 0, 0, 0, 0, 0, 24, 120],
        ..Machine::default()
    };
    let older = Machine {
        tcb: [4, 0, 0, 0, 0, 0, 23, 119],
        ..Machine::default()
    };
    assert!(
        endorsed(&given, &newer.endorsements(), now)
            .unwrap_err()
            .starts_with("tcb: ")
    );
    assert!(
        endorsed(&given, &older.endorsements(), now)
            .unwrap_err()
            .starts_with("tcb_exact: ")
    );
    assert!(endorsed(&given, "", now).unwrap_err().starts_with("count: "));
    let twice = machine.endorsements().repeat(2);
    assert!(endorsed(&given, &twice, now).unwrap_err().starts_with("count: "));
    let expired = endorsed(&given, &machine.endorsements(), Time::At(TO + 1));
    assert!(expired.unwrap_err().starts_with("validity: "));
    let elsewhere = Verifier::new(crate::attestation::Anchors::built_in());
    let why = given.endorsed_by(&machine.endorsements(), &elsewhere, &node(), now);
    assert!(why.unwrap_err().starts_with("root_key: "));
    // A report of somebody else, endorsed as well as can be.
    let mut other = given.clone();
    other.report = machine.report(&key(51).verifying_key().id());
    let why = endorsed(&other, &machine.endorsements(), now).unwrap_err();
    assert!(why.contains("report data"), "{why}");
}

#[test]
fn a_policy_that_is_another_one_than_the_guest_was_launched_with_stops_the_node() {
    let text = "package policy";
    let machine = Machine {
        host_data: sha256(text.as_bytes()),
        ..Machine::default()
    };
    let mut given = machine.given(&node());
    let check = |given: &Given| given.check(&verifier(), &node(), Time::None);
    given.security_policy = Some(text.to_owned());
    assert!(check(&given).is_ok());
    given.security_policy = Some(format!("{text}\n"));
    let why = check(&given).unwrap_err();
    assert!(why.starts_with("Digest of decoded security policy "), "{why}");
    assert!(why.contains("does not match attestation host data"), "{why}");
    assert!(why.contains(&hex::encode(machine.host_data)), "{why}");
    assert!(!why.contains(text), "the policy itself may be long");
    let why = endorsed(&given, &machine.endorsements(), Time::None).unwrap_err();
    assert!(why.starts_with("Digest of decoded"), "{why}");
}

#[test]
fn uvm_endorsements_that_do_not_hold_stop_the_node() {
    let machine = Machine {
        uvm: Some(("feed", 1)),
        ..Machine::default()
    };
    let good = machine.given(&node());
    let other = Machine {
        measurement: [1; 48],
        ..machine.clone()
    };
    let mut damaged = machine.uvm_endorsements().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    for cose in [Vec::new(), damaged, other.uvm_endorsements().unwrap()] {
        let given = Given {
            uvm_endorsements: Some(cose),
            ..good.clone()
        };
        let why = given.check(&verifier(), &node(), Time::None).unwrap_err();
        assert!(why.starts_with("Error verifying UVM endorsements: "), "{why}");
    }
}

#[test]
fn a_guest_that_nobody_would_let_in_does_not_start() {
    let machine = Machine::default();
    for (at, value, words) in [
        (0, 2, "version"),
        (0x0a, 1 << 3, "debugging"),
        (0x0a, 1 << 2, "migration"),
        (0x30, 4, "host generated"),
        (0x48, 2, "ask chip key"),
        (0x189, 0x55, "CPUID"),
    ] {
        let mut given = machine.given(&node());
        given.report[at] = value;
        let why = given.check(&verifier(), &node(), Time::None).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
    for length in [0, 1183, 1185] {
        let mut given = machine.given(&node());
        given.report.resize(length, 0);
        assert!(given.check(&verifier(), &node(), Time::None).is_err());
    }
}
