//! Services of made SEV-SNP nodes in which exactly one thing about a node is wrong. Their root is believed here alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rekindle::attestation::snp::{Tcb, TcbRow};
use rekindle::attestation::{Anchors, CpuId, Product, Time, Verifier};
use rekindle::crypto::{VerifyingKey, sha256};
use rekindle::fixture::snp::{self, Chip, Guest, Maker};
use rekindle::format::domain::WriteSet;
use rekindle::journal::SignatureMode;
use rekindle::recovery::attest::{AttestReport, How, Settings};
use rekindle::recovery::verify::Options;
use rekindle::report::{Code, Finding, Severity};
use rekindle::tables::names;
use rekindle::tables::values::to_json;
use serde_json::{Value, json};

use crate::identity::Identity;
use crate::story::Story;

const IN_2024: u64 = 1_704_067_200;
const IN_2050: u64 = 2_524_608_000;

/// A service whose first node runs on a made chip, and who makes more of them.
pub(super) struct Service {
    pub(super) maker: Maker,
    pub(super) story: Story,
    /// The first node's record, but for its status.
    first: Value,
    next: u64,
}

pub(super) fn record(node: &Identity, quote_info: Value) -> Value {
    let public = node.key.verifying_key();
    json!({
        "status": "Trusted",
        "public_key": public.spki_pem(),
        "code_digest": hex::encode(snp::MEASUREMENT),
        "quote_info": quote_info,
    })
}

pub(super) fn id_of(node: &Identity) -> [u8; 32] {
    node.key.verifying_key().id()
}

pub(super) fn with_status(record: &Value, status: &str) -> Vec<u8> {
    let mut record = record.clone();
    record["status"] = status.into();
    to_json(&record)
}

fn minimum(tcb: [u8; 8]) -> Vec<u8> {
    to_json(&Tcb::decode(tcb, Product::Milan).to_row())
}

pub(super) fn allow(writes: &mut WriteSet, tcb: [u8; 8]) {
    let policy = snp::SECURITY_POLICY;
    writes.put(
        names::NODES_SNP_MEASUREMENTS,
        hex::encode(snp::MEASUREMENT),
        to_json(&"AllowedToJoin"),
    );
    writes.put(
        names::NODES_SNP_HOST_DATA,
        hex::encode(sha256(policy.as_bytes())),
        to_json(&policy),
    );
    writes.put(names::NODES_SNP_TCB_VERSIONS, snp::CPUID, minimum(tcb));
}

impl Service {
    pub(super) fn begin() -> Service {
        Service::begin_as(|_| ())
    }

    fn begin_as(change: impl FnOnce(&mut Guest)) -> Service {
        let mut maker = Maker::new(3);
        let chip = maker.chip();
        let mut first = Value::Null;
        let story = Story::created_as(SignatureMode::Dual, 0, |story, writes| {
            let mut guest = Guest::of(&id_of(&story.node));
            change(&mut guest);
            first = record(&story.node, chip.quote_info(&guest));
            writes.put(names::NODES_INFO, story.node.id(), to_json(&first));
            allow(writes, snp::TCB);
        });
        Service {
            maker,
            story,
            first,
            next: 70,
        }
    }

    /// A node with this record joins: it waits, then the members trust it.
    pub(super) fn join_as(&mut self, make: impl FnOnce(&Identity, &mut Maker) -> Value) -> Identity {
        let node = Identity::node(self.next, &self.story.service);
        self.next += 1;
        let record = make(&node, &mut self.maker);
        for status in ["Pending", "Trusted"] {
            let value = with_status(&record, status);
            self.story
                .write(|writes| writes.put(names::NODES_INFO, node.id(), value));
        }
        node
    }

    /// The members decide something.
    pub(super) fn decide(&mut self, write: impl FnOnce(&mut WriteSet)) {
        self.story.write(|writes| {
            write(writes);
            writes.put(
                names::PROPOSALS_INFO,
                "cd".repeat(32),
                to_json(&json!({"state": "Accepted"})),
            );
        });
    }

    /// A node joins on a chip of its own, with a guest that is changed.
    pub(super) fn join(&mut self, change: impl FnOnce(&mut Guest)) -> Identity {
        self.join_as(|node, maker| {
            let mut guest = Guest::of(&id_of(node));
            change(&mut guest);
            record(node, maker.chip().quote_info(&guest))
        })
    }

    fn join_on(&mut self, chip: &Chip) {
        let chip = chip.clone();
        self.join_as(|node, _| record(node, chip.quote_info(&Guest::of(&id_of(node)))));
    }

    /// A recovery by a node on a chip with this TCB, which writes its own policy and what is added.
    pub(super) fn recover(&mut self, tcb: [u8; 8], add: impl FnOnce(&mut WriteSet)) {
        let chip = self.maker.chip_with(tcb);
        let (before, old) = (self.story.node.id(), with_status(&self.first, "Retired"));
        self.story.sign();
        self.story.begin_recovery(|story, writes| {
            let row = record(&story.node, chip.quote_info(&Guest::of(&id_of(&story.node))));
            writes.put(names::NODES_INFO, before, old);
            writes.put(names::NODES_INFO, story.node.id(), to_json(&row));
            allow(writes, tcb);
            add(writes);
        });
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            verifier: Verifier::new(Anchors::built_in().and_for_tests(self.maker.root())),
            time: Time::Remark(IN_2024),
            minimum_tcb: BTreeMap::new(),
        }
    }

    pub(super) fn findings(self) -> Vec<Finding> {
        let settings = self.settings();
        self.findings_by(settings)
    }

    fn findings_by(self, settings: Settings) -> Vec<Finding> {
        let (findings, _) = self.report_by(settings);
        findings
    }

    pub(super) fn report_by(mut self, settings: Settings) -> (Vec<Finding>, Box<AttestReport>) {
        self.story.sign();
        let report = self.story.verify_with(&Options {
            attest: Some(Arc::new(settings)),
            ..Options::default()
        });
        let attested = report.attestation.unwrap();
        let findings = report.findings.into_iter().chain(attested.findings.iter().cloned());
        (findings.collect(), attested)
    }
}

pub fn an_authority_that_the_root_did_not_sign() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join_as(|node, maker| {
        // The genuine root stands at the end of a chain that it never saw: CCF before 6.0.11 let this in.
        let forged = Maker::new(4).chip();
        let genuine = maker.chip().endorsements_pem;
        let root = genuine.rfind("-----BEGIN").unwrap();
        let end = forged.endorsements_pem.rfind("-----BEGIN").unwrap();
        let endorsements = [&forged.endorsements_pem[..end], &genuine[root..]].concat();
        let mut info = forged.quote_info(&Guest::of(&id_of(node)));
        info["endorsements"] = STANDARD.encode(endorsements).into();
        record(node, info)
    });
    service.findings()
}

pub fn a_quote_that_can_not_be_read() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join_as(|node, _| record(node, json!({"format": "AMD_SEV_SNP_v1", "quote": "no base64!"})));
    service.findings()
}

pub fn a_report_about_another_key() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.report_data[0] ^= 1);
    service.findings()
}

pub fn a_measurement_that_the_members_did_not_allow() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join_as(|node, maker| {
        let mut guest = Guest::of(&id_of(node));
        guest.measurement = [7; 48];
        let mut record = record(node, maker.chip().quote_info(&guest));
        record["code_digest"] = hex::encode(guest.measurement).into();
        record
    });
    service.findings()
}

pub fn another_report_later() -> Vec<Finding> {
    let mut service = Service::begin();
    let node = service.join(|_| ());
    let chip = service.maker.chip();
    let later = record(&node, chip.quote_info(&Guest::of(&id_of(&node))));
    service
        .story
        .write(|writes| writes.put(names::NODES_INFO, node.id(), to_json(&later)));
    service.findings()
}

pub fn a_guest_that_may_be_debugged() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.policy |= 1 << 19);
    service.findings()
}

pub fn nodes_without_quotes() -> Vec<Finding> {
    let story = Story::begin(SignatureMode::Dual);
    let maker = Maker::new(3);
    let service = Service {
        maker,
        story,
        first: Value::Null,
        next: 70,
    };
    let findings = service.findings();
    assert!(
        findings.iter().all(|finding| finding.severity == Severity::Info),
        "{findings:?}"
    );
    findings
}

pub fn two_nodes_on_one_chip() -> Vec<Finding> {
    let mut service = Service::begin();
    let chip = service.maker.chip();
    service.join_on(&chip);
    service.join_on(&chip);
    service.findings()
}

pub fn two_nodes_of_one_launch() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.report_id = [9; 32]);
    service.join(|guest| guest.report_id = [9; 32]);
    service.findings()
}

pub fn a_recovery_on_older_firmware() -> Vec<Finding> {
    let mut service = Service::begin();
    service.recover([4, 0, 0, 0, 0, 0, 20, 219], |_| ());
    service.findings()
}

pub fn a_recovery_that_forgets_a_feed() -> Vec<Finding> {
    let mut service = Service::begin();
    let row = |feeds: Value| to_json(&feeds);
    let both = row(json!({"one": {"svn": "1"}, "two": {"svn": "1"}}));
    service.decide(|writes| writes.put(names::NODES_SNP_UVM_ENDORSEMENTS, "did:x509:made", both));
    service.recover(snp::TCB, |writes| {
        let one = row(json!({"one": {"svn": "1"}}));
        writes.put(names::NODES_SNP_UVM_ENDORSEMENTS, "did:x509:made", one);
    });
    service.findings()
}

pub fn firmware_older_than_the_list() -> Vec<Finding> {
    let service = Service::begin();
    let row = TcbRow {
        snp: Some(25),
        ..TcbRow::default()
    };
    let settings = Settings {
        minimum_tcb: BTreeMap::from([(CpuId::from_hex(snp::CPUID).unwrap(), row)]),
        ..service.settings()
    };
    service.findings_by(settings)
}

pub fn an_authority_that_was_revoked() -> Vec<Finding> {
    let service = Service::begin();
    let Settings { verifier, .. } = service.settings();
    let settings = Settings {
        verifier: verifier
            .with_revocation_lists(&service.maker.revocation_list())
            .unwrap(),
        ..service.settings()
    };
    service.findings_by(settings)
}

pub fn a_report_of_version_2() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.version = 2);
    service.findings()
}

pub fn a_minimum_that_is_no_object() -> Vec<Finding> {
    let mut service = Service::begin();
    service.decide(|writes| writes.put(names::NODES_SNP_TCB_VERSIONS, "00a10f11", to_json(&7)));
    service.findings()
}

pub fn certificates_at_a_time_when_they_have_expired() -> Vec<Finding> {
    let service = Service::begin();
    let settings = Settings {
        time: Time::At(IN_2050),
        ..service.settings()
    };
    service.findings_by(settings)
}

/// A service with a real enclave, whose collateral its time has left behind: found as the real ledgers are.
fn with_an_enclave(code: Code, change: impl FnOnce(&mut Vec<u8>)) -> Vec<Finding> {
    let Some(vectors) = crate::ground::ledgers().map(|ledgers| ledgers.join("../attestations/sgx")) else {
        return vec![Finding::new(code, "skipped: there are no vectors")];
    };
    let read = |name: &str| std::fs::read(vectors.join(name)).unwrap();
    let (quote, mut endorsements) = (read("quote.bin"), read("endorsements.bin"));
    change(&mut endorsements);
    let info = json!({
        "format": "OE_SGX_v1",
        "quote": STANDARD.encode(&quote),
        "endorsements": STANDARD.encode(endorsements),
    });
    let key = String::from_utf8(read("node_public_key.pem")).unwrap();
    let id = hex::encode(VerifyingKey::from_spki_pem(&key).unwrap().id());
    let enclave = hex::encode(&quote[0x70..0x90]);
    let mut service = Service::begin();
    let value = to_json(&json!({"status": "Pending", "public_key": key, "quote_info": info}));
    service.decide(|writes| writes.put(names::NODES_CODE_IDS, enclave, to_json(&"AllowedToJoin")));
    service.story.write(|writes| writes.put(names::NODES_INFO, id, value));
    service.findings()
}

pub fn a_real_enclave() -> Vec<Finding> {
    with_an_enclave(Code::SgxCollateralExpired, |_| ())
}

/// Intel's signature does not fit any more, which is another finding.
pub fn a_real_enclave_with_other_collateral() -> Vec<Finding> {
    with_an_enclave(Code::SgxTcbStatus, |endorsements| {
        let found: Vec<usize> = endorsements
            .windows(8)
            .enumerate()
            .filter(|(_, text)| *text == b"UpToDate")
            .map(|(at, _)| at)
            .collect();
        found
            .iter()
            .for_each(|at| endorsements[*at..at + 8].copy_from_slice(b"OldAsOld"));
    })
}

pub fn endorsements_of_the_measurement_that_are_none() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join_as(|node, maker| {
        let mut info = maker.chip().quote_info(&Guest::of(&id_of(node)));
        info["uvm_endorsements"] = STANDARD.encode("no COSE").into();
        record(node, info)
    });
    service.findings()
}

pub fn more_tcb_than_certified() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.tcb = Some([4, 0, 0, 0, 0, 0, 25, 219]));
    service.findings()
}

pub fn a_report_with_more_data() -> Vec<Finding> {
    let mut service = Service::begin();
    service.join(|guest| guest.report_data[63] = 1);
    service.findings()
}

#[test]
fn what_these_services_start_from_is_attested_and_clean() {
    let mut service = Service::begin();
    service.join(|_| ());
    service.recover(snp::TCB, |_| ());
    let settings = service.settings();
    let (findings, report) = service.report_by(settings);
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(report.summary.in_words(), "3 attested (SNP Milan)");
    let how: Vec<How> = report.nodes.iter().map(|node| node.how).collect();
    assert_eq!(how, [How::SelfDeclared, How::Admitted, How::SelfDeclared]);
    let steps = |number: usize| {
        let steps = report.nodes[number].steps.iter();
        steps.map(|step| step.status.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(steps(0), ["Trusted", "Retired"]);
    assert_eq!(steps(1), ["Pending", "Trusted"]);
    for node in &report.nodes {
        assert_eq!((node.verdict, node.product), ("holds", Some("Milan")));
        assert!(
            node.checks.values().all(|outcome| *outcome != "failed"),
            "{:?}",
            node.checks
        );
        assert_eq!(node.checks["minimum_tcb"], "passed");
        assert_eq!(
            node.policy.len(),
            3,
            "host data, measurement and minimum TCB: {:?}",
            node.policy
        );
    }
}

#[test]
fn a_node_is_held_against_the_policy_of_the_entry_before_and_names_who_put_it_there() {
    let mut service = Service::begin();
    let (text, proposal) = ("another policy", "ab".repeat(32));
    let host_data = sha256(text.as_bytes());
    let accept = |writes: &mut WriteSet, id: &str| {
        writes.put(
            names::PROPOSALS_INFO,
            id,
            to_json(&json!({"state": "Accepted", "ballots": {}})),
        );
    };
    service.join(|guest| guest.host_data = host_data);
    service.story.write(|writes| {
        writes.put(names::NODES_SNP_HOST_DATA, hex::encode(host_data), to_json(&text));
        accept(writes, &proposal);
    });
    service.join(|guest| guest.host_data = host_data);
    let settings = service.settings();
    let (findings, report) = service.report_by(settings);
    let [_, before, after] = &report.nodes[..] else {
        panic!("{:?}", report.nodes);
    };
    assert_eq!((before.checks["host_data"], before.verdict), ("failed", "fails"));
    assert_eq!((after.checks["host_data"], after.verdict), ("passed", "holds"));
    assert_eq!(after.proposals.join(" "), proposal);
    assert!(before.proposals.is_empty());
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[test]
fn a_ledger_of_made_nodes_is_believed_by_nobody_who_does_not_name_their_root() {
    let service = Service::begin();
    let settings = Settings {
        verifier: Verifier::new(Anchors::built_in()),
        ..service.settings()
    };
    let (findings, report) = service.report_by(settings);
    assert_eq!(report.nodes[0].checks["root_key"], "failed");
    assert!(findings.iter().any(|finding| finding.code == Code::EvidenceFails));
}
