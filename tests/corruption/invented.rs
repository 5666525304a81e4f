//! Histories that no CCF service writes, signed by whomever it takes; and those that look odd, and which CCF does write.

use rekindle::crypto::Certificate;
use rekindle::format::TxId;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::recovery::join::{MAX_VIEW, MAX_VIEW_STEP, Mode};
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::report::{Code, Verdict};
use rekindle::tables::values::{HexDigest, IdentityEndorsement, ServiceStatus, to_json};
use rekindle::tables::{SINGLETON_KEY, names};
use serde_json::json;

use super::about::{About, endorsement};
use super::forger::Identity;
use super::ground::{audit, is_clean, last_signed, show, verify_in, verify_with};
use super::scribe::{By, NEWEST, Scribe};

struct Cast {
    service: Identity,
    node: Identity,
    other: Identity,
    /// What recovers `service`, and its node.
    next: Identity,
    next_node: Identity,
}

fn cast() -> Cast {
    let (service, next) = (Identity::service(1), Identity::service(2));
    Cast {
        node: Identity::node(3, &service),
        other: Identity::node(4, &service),
        next_node: Identity::node(5, &next),
        service,
        next,
    }
}

fn put_status(writes: &mut WriteSet, node: &Identity, value: serde_json::Value) {
    writes.put(names::NODES_INFO, node.id().as_str(), to_json(&value));
}

fn put_certificate(writes: &mut WriteSet, node: &Identity) {
    writes.put(
        names::NODES_ENDORSED_CERTIFICATES,
        node.id().as_str(),
        node.certificate.to_pem(),
    );
}

fn status_of(scribe: &mut Scribe, node: &Identity, status: &str) {
    let mut writes = WriteSet::new();
    put_status(&mut writes, node, json!({ "status": status }));
    scribe.append(&writes);
}

/// An open service with a node; another one is known as Pending. Its last signature is by both.
struct Stage {
    cast: Cast,
    scribe: Scribe,
    about: About,
    endorsed: Option<(u64, IdentityEndorsement)>,
}

fn stage() -> Stage {
    let cast = cast();
    let mut scribe = Scribe::new(NEWEST);
    let mut about = About {
        certificate: cast.service.certificate.clone(),
        status: ServiceStatus::Opening,
        count: Some(0),
        created: Some(scribe.next()),
    };
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    put_status(&mut writes, &cast.node, json!({"status": "Trusted"}));
    put_certificate(&mut writes, &cast.node);
    put_status(&mut writes, &cast.other, json!({"status": "Pending"}));
    scribe.append(&writes);
    scribe.sign_by(By::both(&cast.node, &cast.service));
    about.status = ServiceStatus::Open;
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    let own = endorsement(&cast.service, about.created.unwrap(), None);
    writes.put(
        names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
        SINGLETON_KEY,
        to_json(&own),
    );
    let at = scribe.append(&writes).seqno;
    scribe.serve(5);
    scribe.sign_by(By::both(&cast.node, &cast.service));
    Stage {
        cast,
        scribe,
        about,
        endorsed: Some((at, own)),
    }
}

impl Stage {
    /// Signs as this service does.
    fn sign(&mut self) -> TxId {
        let by = By::both(&self.cast.node, &self.cast.service);
        self.scribe.sign_by(by)
    }

    /// What the first transaction of a recovery from here writes.
    fn recovery(&mut self) -> (About, WriteSet) {
        let (signed, root) = self.scribe.signed.unwrap();
        self.scribe.view = signed.view + 2;
        let about = About {
            certificate: self.cast.next.certificate.clone(),
            status: ServiceStatus::Recovering,
            count: self.about.count.map(|count| count + 1),
            created: Some(self.scribe.next()),
        };
        let mut writes = WriteSet::new();
        about.put(&mut writes);
        let pem = self.cast.service.certificate.to_pem();
        writes.put(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY, to_json(&pem));
        writes.put(
            names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
            SINGLETON_KEY,
            to_json(&HexDigest(root)),
        );
        put_status(&mut writes, &self.cast.node, json!({"status": "Retired"}));
        put_status(&mut writes, &self.cast.other, json!({"status": "Retired"}));
        put_status(&mut writes, &self.cast.next_node, json!({"status": "Trusted"}));
        put_certificate(&mut writes, &self.cast.next_node);
        self.scribe.flags = 0x02;
        (about, writes)
    }

    fn sign_as_next(&mut self) -> TxId {
        let by = By::both(&self.cast.next_node, &self.cast.next);
        self.scribe.sign_by(by)
    }

    /// Opens what [`Stage::recovery`] began, with this endorsement of the service before.
    fn open(&mut self, mut about: About, endorsement: &IdentityEndorsement) -> u64 {
        for status in [ServiceStatus::WaitingForRecoveryShares, ServiceStatus::Open] {
            about.status = status;
            let mut writes = WriteSet::new();
            about.put(&mut writes);
            if status == ServiceStatus::Open {
                writes.put(
                    names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
                    SINGLETON_KEY,
                    to_json(endorsement),
                );
            }
            self.scribe.append(&writes);
        }
        self.scribe.next().seqno - 1
    }
}

/// The verdict on what was written: clean, in both modes, with these words and no others.
fn accept(scribe: Scribe, words: &[Code]) -> VerifyReport {
    let last = scribe.signed.unwrap().0;
    let (_scratch, ledger) = scribe.end();
    for mode in [Mode::Integrity, Mode::Audit] {
        let report = verify_in(&ledger, mode).unwrap();
        assert!(is_clean(&report), "{}", show(&report));
        assert_eq!(report.last_signed, Some(last), "{}", show(&report));
        let found: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(found, words, "{}", show(&report));
    }
    audit(&ledger)
}

/// What was written must be refused, in both modes, with `code` at `at`; nothing from there on is proven.
fn refuse(scribe: Scribe, code: Code, at: u64) -> VerifyReport {
    let (_scratch, ledger) = scribe.end();
    for mode in [Mode::Integrity, Mode::Audit] {
        let report = verify_in(&ledger, mode).unwrap();
        assert_eq!(report.verdict, Verdict::Findings, "{}", show(&report));
        let named = |finding: &rekindle::report::Finding| finding.code == code && finding.seqno == Some(at);
        assert!(
            report.findings.iter().any(named),
            "expected {} at {at}: {}",
            code.as_str(),
            show(&report)
        );
        assert!(last_signed(&report) < at, "{}", show(&report));
    }
    audit(&ledger)
}

fn pinned(ledger: &std::path::Path, certificate: &Certificate) -> VerifyReport {
    let options = Options {
        service_certificate: Some(certificate.clone()),
        ..Options::default()
    };
    verify_with(&[ledger], &options).unwrap()
}

// --- what CCF writes

#[test]
fn a_service_its_recovery_and_its_opening_are_clean() {
    let mut stage = stage();
    let (about, writes) = stage.recovery();
    stage.scribe.append(&writes);
    stage.sign_as_next();
    let (at, own) = stage.endorsed.clone().unwrap();
    let (_, root) = stage.scribe.signed.unwrap();
    let _ = root;
    let previous_root = {
        let text = writes
            .get(names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, &SINGLETON_KEY)
            .unwrap()
            .unwrap();
        serde_json::from_slice::<HexDigest>(text).unwrap().0
    };
    let value = endorsement(&stage.cast.next, about.created.unwrap(), Some((at, own, previous_root)));
    stage.open(about, &value);
    stage.sign_as_next();
    let report = accept(stage.scribe, &[]);
    assert_eq!(report.services.len(), 2);
}

#[test]
fn a_retired_node_may_go_on_signing_and_is_spoken_of_once() {
    let mut stage = stage();
    let node = stage.cast.node.clone();
    status_of(&mut stage.scribe, &node, "Retired");
    stage.sign();
    stage.scribe.serve(2);
    stage.sign();
    accept(stage.scribe, &[Code::RetiredSigns]);
}

#[test]
fn a_leader_signs_that_its_own_retirement_is_committed_and_nothing_after() {
    for further in [false, true] {
        let mut stage = stage();
        let node = stage.cast.node.clone();
        status_of(&mut stage.scribe, &node, "Retired");
        stage.sign();
        let mut writes = WriteSet::new();
        put_status(
            &mut writes,
            &node,
            json!({"status": "Retired", "retired_committed": true}),
        );
        stage.scribe.append(&writes);
        stage.sign();
        if further {
            stage.scribe.serve(2);
            let at = stage.sign().seqno;
            refuse(stage.scribe, Code::SignedAfterRetirement, at);
        } else {
            accept(stage.scribe, &[Code::RetiredSigns]);
        }
    }
}

#[test]
fn cose_signatures_may_come_and_go_beside_those_of_nodes() {
    let mut stage = stage();
    stage.scribe.serve(2);
    stage.scribe.sign_by(By::node(&stage.cast.node));
    stage.scribe.serve(2);
    stage.scribe.sign_by(By::node(&stage.cast.node));
    stage.sign();
    accept(stage.scribe, &[Code::CoseGone]);
}

#[test]
fn a_service_may_move_to_cose_alone() {
    let mut stage = stage();
    stage.scribe.serve(2);
    stage.scribe.sign_by(By::service(&stage.cast.service));
    stage.sign();
    accept(stage.scribe, &[]);
}

#[test]
fn an_election_raises_the_view_and_another_node_signs() {
    let mut stage = stage();
    let other = stage.cast.other.clone();
    let mut writes = WriteSet::new();
    put_status(&mut writes, &other, json!({"status": "Trusted"}));
    put_certificate(&mut writes, &other);
    stage.scribe.append(&writes);
    stage.sign();
    stage.scribe.view += 3;
    stage.scribe.sign_by(By::both(&other, &stage.cast.service));
    accept(stage.scribe, &[]);
}

#[test]
fn a_pending_node_may_be_removed_and_ask_again() {
    let mut stage = stage();
    let other = stage.cast.other.clone();
    let mut writes = WriteSet::new();
    writes.remove(names::NODES_INFO, other.id().as_str());
    stage.scribe.append(&writes);
    status_of(&mut stage.scribe, &other, "Pending");
    status_of(&mut stage.scribe, &other, "Trusted");
    stage.sign();
    accept(stage.scribe, &[]);
}

// --- a service of CCF 1.x

/// A ledger as CCF 1.x wrote it: node certificates signed by themselves, signatures without them.
fn first_generation() -> (Cast, Scribe) {
    let cast = cast();
    let mut scribe = Scribe::new(NEWEST);
    scribe.entry_type = EntryType::WriteSet;
    let mut about = About {
        certificate: cast.service.certificate.clone(),
        status: ServiceStatus::Opening,
        count: None,
        created: None,
    };
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    let own = Identity::service(3);
    assert_eq!(own.id(), cast.node.id());
    put_status(
        &mut writes,
        &cast.node,
        json!({"status": "Trusted", "cert": own.certificate.to_pem()}),
    );
    scribe.append(&writes);
    scribe.sign_by(By::bare(&cast.node));
    about.status = ServiceStatus::Open;
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    scribe.append(&writes);
    scribe.sign_by(By::bare(&cast.node));
    (cast, scribe)
}

#[test]
fn a_service_of_1_x_is_consistent_and_unproven_with_and_without_its_certificate() {
    let (cast, scribe) = first_generation();
    let last = scribe.signed.unwrap().0;
    let (_scratch, ledger) = scribe.end();
    for report in [audit(&ledger), pinned(&ledger, &cast.service.certificate)] {
        assert_eq!(report.verdict, Verdict::Unproven, "{}", show(&report));
        assert_eq!(report.last_signed, Some(last));
        assert_eq!(report.findings.len(), 1, "{}", show(&report));
    }
    let report = pinned(&ledger, &cast.next.certificate);
    assert_eq!(report.verdict, Verdict::Findings, "{}", show(&report));
}

#[test]
fn a_recovery_by_a_later_version_proves_what_1_x_wrote() {
    let (cast, mut scribe) = first_generation();
    let (signed, _) = scribe.signed.unwrap();
    scribe.view = signed.view + 2;
    scribe.entry_type = EntryType::WriteSetWithCommitEvidenceAndClaims;
    let about = About {
        certificate: cast.next.certificate.clone(),
        status: ServiceStatus::Recovering,
        count: Some(1),
        created: Some(scribe.next()),
    };
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    let pem = cast.service.certificate.to_pem();
    writes.put(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY, to_json(&pem));
    put_status(&mut writes, &cast.node, json!({"status": "Retired"}));
    put_status(&mut writes, &cast.next_node, json!({"status": "Trusted"}));
    put_certificate(&mut writes, &cast.next_node);
    scribe.append(&writes);
    scribe.sign_by(By::node(&cast.next_node));
    accept(scribe, &[]);
}

#[test]
fn a_signature_without_a_certificate_is_refused_wherever_the_service_is_not_of_1_x() {
    // As a newer entry; after a certificate was endorsed; after a COSE signature; in a service that counts recoveries.
    let mut stage = stage();
    let at = stage.scribe.sign_by(By::bare(&stage.cast.node)).seqno;
    refuse(stage.scribe, Code::NotEndorsed, at);

    let (cast, mut scribe) = first_generation();
    scribe.entry_type = EntryType::WriteSetWithCommitEvidence;
    let at = scribe.sign_by(By::bare(&cast.node)).seqno;
    refuse(scribe, Code::NotEndorsed, at);

    let (cast, mut scribe) = first_generation();
    let mut writes = WriteSet::new();
    put_certificate(&mut writes, &cast.node);
    scribe.append(&writes);
    let at = scribe.sign_by(By::bare(&cast.node)).seqno;
    refuse(scribe, Code::NotEndorsed, at);

    let (cast, mut scribe) = first_generation();
    scribe.sign_by(By::node(&cast.node));
    let at = scribe.sign_by(By::bare(&cast.node)).seqno;
    refuse(scribe, Code::NotEndorsed, at);

    let (cast, mut scribe) = first_generation();
    scribe.sign_by(By::service(&cast.service));
    let at = scribe.next().seqno;
    scribe.sign_by(By::bare(&cast.node));
    refuse(scribe, Code::NotEndorsed, at);

    let (cast, mut scribe) = first_generation();
    let mut writes = WriteSet::new();
    About {
        certificate: cast.service.certificate.clone(),
        status: ServiceStatus::Open,
        count: Some(0),
        created: None,
    }
    .put(&mut writes);
    scribe.append(&writes);
    let at = scribe.sign_by(By::bare(&cast.node)).seqno;
    refuse(scribe, Code::NotEndorsed, at);
}

#[test]
fn an_intruder_who_poses_as_a_node_of_1_x_after_a_later_service_proves_nothing() {
    for entry_type in [EntryType::WriteSet, EntryType::WriteSetWithCommitEvidenceAndClaims] {
        let mut stage = stage();
        let intruder = Identity::service(9);
        stage.scribe.entry_type = entry_type;
        stage.scribe.view += 1;
        let mut writes = WriteSet::new();
        put_status(
            &mut writes,
            &intruder,
            json!({"status": "Trusted", "cert": intruder.certificate.to_pem()}),
        );
        stage.scribe.append(&writes);
        let at = stage.scribe.sign_by(By::bare(&intruder)).seqno;
        refuse(stage.scribe, Code::NotEndorsed, at);
    }
}

#[test]
fn a_made_up_recovery_that_bounces_back_to_the_pinned_identity_proves_nothing() {
    let mut stage = stage();
    let (_, writes) = stage.recovery();
    stage.scribe.append(&writes);
    stage.sign_as_next();
    let (signed, root) = stage.scribe.signed.unwrap();
    stage.scribe.view = signed.view + 2;
    let mut writes = WriteSet::new();
    About {
        certificate: stage.cast.service.certificate.clone(),
        status: ServiceStatus::Recovering,
        count: Some(2),
        created: Some(stage.scribe.next()),
    }
    .put(&mut writes);
    let pem = stage.cast.next.certificate.to_pem();
    writes.put(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY, to_json(&pem));
    writes.put(
        names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
        SINGLETON_KEY,
        to_json(&HexDigest(root)),
    );
    let intruder = Identity::service(9);
    put_status(
        &mut writes,
        &intruder,
        json!({"status": "Trusted", "cert": intruder.certificate.to_pem()}),
    );
    let back = stage.scribe.append(&writes).seqno;
    stage.scribe.sign_by(By::bare(&intruder));
    let certificate = stage.cast.service.certificate.clone();
    let (_scratch, ledger) = stage.scribe.end();
    for report in [audit(&ledger), pinned(&ledger, &certificate)] {
        assert_eq!(report.verdict, Verdict::Findings, "{}", show(&report));
        assert!(last_signed(&report) < back, "{}", show(&report));
    }
    let report = pinned(&ledger, &certificate);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.code == Code::ServiceCertificate)
    );
}

#[test]
fn a_pinned_identity_that_only_stands_in_a_recovery_nobody_signed_for_does_not_count() {
    let mut stage = stage();
    let (_, writes) = stage.recovery();
    stage.scribe.append(&writes);
    // The old node signs on: its certificate is not one of the new service.
    let at = stage.sign().seqno;
    let certificate = stage.cast.next.certificate.clone();
    let (_scratch, ledger) = stage.scribe.end();
    let report = pinned(&ledger, &certificate);
    assert_eq!(report.verdict, Verdict::Findings, "{}", show(&report));
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.code == Code::ServiceCertificate)
    );
    assert!(last_signed(&report) < at);
}

// --- nodes

#[test]
fn a_node_does_not_come_back_after_it_was_retired_or_removed() {
    for removed in [false, true] {
        let mut stage = stage();
        let other = stage.cast.other.clone();
        status_of(&mut stage.scribe, &other, "Trusted");
        status_of(&mut stage.scribe, &other, "Retired");
        if removed {
            let mut writes = WriteSet::new();
            writes.remove(names::NODES_INFO, other.id().as_str());
            stage.scribe.append(&writes);
        }
        let at = stage.scribe.next().seqno;
        status_of(&mut stage.scribe, &other, if removed { "Pending" } else { "Trusted" });
        stage.sign();
        refuse(stage.scribe, Code::NodeStatus, at);
    }
}

#[test]
fn a_node_takes_no_step_that_ccf_does_not_have() {
    let steps: [(&[&str], serde_json::Value); 6] = [
        (&[], json!({"status": "Banned"})),
        (&["Trusted"], json!({"status": "Pending"})),
        (&["Trusted"], json!({"status": "Trusted", "retired_committed": true})),
        (&["Retired"], json!({"status": "Pending"})),
        (&["Retired"], json!({"status": "Learner"})),
        (&["Trusted", "Retiring"], json!({"status": "Trusted"})),
    ];
    for (before, after) in steps {
        let mut stage = stage();
        let other = stage.cast.other.clone();
        for status in before {
            status_of(&mut stage.scribe, &other, status);
        }
        let mut writes = WriteSet::new();
        put_status(&mut writes, &other, after);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, Code::NodeStatus, at);
    }
}

#[test]
fn an_open_service_trusts_no_node_that_never_asked() {
    let mut stage = stage();
    let stranger = Identity::node(7, &stage.cast.service);
    let at = stage.scribe.next().seqno;
    status_of(&mut stage.scribe, &stranger, "Trusted");
    stage.sign();
    refuse(stage.scribe, Code::NodeStatus, at);
}

#[test]
fn a_trusted_node_is_not_removed_and_a_committed_retirement_not_taken_back() {
    let mut stage = stage();
    let other = stage.cast.other.clone();
    status_of(&mut stage.scribe, &other, "Trusted");
    let mut writes = WriteSet::new();
    writes.remove(names::NODES_INFO, other.id().as_str());
    let at = stage.scribe.append(&writes).seqno;
    stage.sign();
    refuse(stage.scribe, Code::NodeStatus, at);

    let mut stage = self::stage();
    let mut writes = WriteSet::new();
    put_status(
        &mut writes,
        &other,
        json!({"status": "Retired", "retired_committed": true}),
    );
    stage.scribe.append(&writes);
    let at = stage.scribe.next().seqno;
    status_of(&mut stage.scribe, &other, "Retired");
    stage.sign();
    refuse(stage.scribe, Code::NodeStatus, at);
}

#[test]
fn a_node_signs_no_more_once_its_retirement_is_committed() {
    let mut stage = stage();
    let other = stage.cast.other.clone();
    for value in [
        json!({"status": "Trusted"}),
        json!({"status": "Retired"}),
        json!({"status": "Retired", "retired_committed": true}),
    ] {
        let mut writes = WriteSet::new();
        put_status(&mut writes, &other, value);
        stage.scribe.append(&writes);
        stage.sign();
    }
    stage.scribe.view += 1;
    let at = stage.scribe.sign_by(By::both(&other, &stage.cast.service)).seqno;
    refuse(stage.scribe, Code::SignedAfterRetirement, at);
}

#[test]
fn a_pending_or_learning_node_may_not_sign() {
    for status in ["Pending", "Learner"] {
        let mut stage = stage();
        let other = stage.cast.other.clone();
        status_of(&mut stage.scribe, &other, status);
        let at = stage.scribe.sign_by(By::both(&other, &stage.cast.service)).seqno;
        refuse(stage.scribe, Code::UntrustedNode, at);
    }
}

#[test]
fn a_certificate_in_the_table_is_of_the_node_it_is_for() {
    let mut stage = stage();
    let mut writes = WriteSet::new();
    writes.put(
        names::NODES_ENDORSED_CERTIFICATES,
        stage.cast.other.id().as_str(),
        stage.cast.node.certificate.to_pem(),
    );
    let at = stage.scribe.append(&writes).seqno;
    stage.sign();
    refuse(stage.scribe, Code::OtherNodeKey, at);
}

#[test]
fn a_node_of_the_service_before_does_not_sign_for_the_recovered_one() {
    let mut stage = stage();
    let (_, writes) = stage.recovery();
    stage.scribe.append(&writes);
    let at = stage.scribe.sign_by(By::node(&stage.cast.node)).seqno;
    refuse(stage.scribe, Code::NotEndorsed, at);
}

// --- the service

#[test]
fn a_status_that_ccf_does_not_have_is_refused() {
    for status in ["\"Closed\"", "\"Suspended\""] {
        let mut stage = stage();
        let text = to_json(&json!({
            "cert": stage.cast.service.certificate.to_pem(), "status": serde_json::from_str::<String>(status).unwrap(),
            "recovery_count": 0, "current_service_create_txid": "2.1",
        }));
        let mut writes = WriteSet::new();
        writes.put(names::SERVICE_INFO, SINGLETON_KEY, text);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, Code::StatusTransition, at);
    }
}

#[test]
fn an_open_service_does_not_wait_again() {
    for status in [
        ServiceStatus::Opening,
        ServiceStatus::Recovering,
        ServiceStatus::WaitingForRecoveryShares,
    ] {
        let mut stage = stage();
        let mut about = stage.about.clone();
        about.status = status;
        let mut writes = WriteSet::new();
        about.put(&mut writes);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, Code::StatusTransition, at);
    }
}

#[test]
fn what_a_service_says_of_itself_does_not_change() {
    let changes: [fn(&mut About); 3] = [
        |about| about.count = Some(3),
        |about| about.count = None,
        |about| about.created = "2.2".parse().ok(),
    ];
    for change in changes {
        let mut stage = stage();
        let mut about = stage.about.clone();
        change(&mut about);
        let mut writes = WriteSet::new();
        about.put(&mut writes);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, Code::RecoveryDiffers, at);
    }
}

#[test]
fn a_value_under_another_key_is_refused() {
    for table in [
        names::SERVICE_INFO,
        names::PREVIOUS_SERVICE_IDENTITY,
        names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
        names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
        names::HISTORICAL_ENCRYPTED_LEDGER_SECRET,
        names::SNAPSHOT_EVIDENCE,
    ] {
        let mut stage = stage();
        let mut writes = WriteSet::new();
        let mut value = WriteSet::new();
        stage.about.put(&mut value);
        let value = value.get(names::SERVICE_INFO, &SINGLETON_KEY).unwrap().unwrap();
        writes.put(table, [0u8; 9], value);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, Code::OtherKey, at);
    }
}

#[test]
fn a_recovery_continues_where_the_service_before_ended() {
    let changes: [fn(&mut Stage, &mut About); 7] = [
        |_, about| about.count = Some(0),
        |_, about| about.count = Some(2),
        |_, about| about.count = None,
        |_, about| about.created = None,
        |_, about| about.created = "2.1".parse().ok(),
        |stage, about| {
            stage.scribe.view += 1;
            about.created = Some(stage.scribe.next());
        },
        |stage, about| {
            let flags = std::mem::take(&mut stage.scribe.flags);
            stage.scribe.serve(1);
            stage.scribe.flags = flags;
            about.created = Some(stage.scribe.next());
        },
    ];
    for change in changes {
        let mut stage = stage();
        let (mut about, mut writes) = stage.recovery();
        change(&mut stage, &mut about);
        about.put(&mut writes);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign_as_next();
        refuse(stage.scribe, Code::RecoveryDiffers, at);
    }
}

#[test]
fn a_recovery_names_its_predecessor_and_the_root_signed_last() {
    type Change = fn(&Cast, &mut WriteSet);
    let changes: [(Code, Change); 3] = [
        (Code::PreviousIdentity, |cast, writes| {
            let pem = cast.next.certificate.to_pem();
            writes.put(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY, to_json(&pem));
        }),
        (Code::PreviousRoot, |_, writes| {
            let root = HexDigest([7; 32]);
            writes.put(names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, SINGLETON_KEY, to_json(&root));
        }),
        (Code::TrustValue, |_, writes| {
            writes.remove(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY);
        }),
    ];
    for (code, change) in changes {
        let mut stage = stage();
        let (_, mut writes) = stage.recovery();
        change(&stage.cast, &mut writes);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign_as_next();
        refuse(stage.scribe, code, at);
    }
}

#[test]
fn a_recovery_that_names_no_predecessor_is_refused() {
    let mut stage = stage();
    let (about, _) = stage.recovery();
    let mut writes = WriteSet::new();
    about.put(&mut writes);
    put_status(&mut writes, &stage.cast.next_node, json!({"status": "Trusted"}));
    put_certificate(&mut writes, &stage.cast.next_node);
    let at = stage.scribe.append(&writes).seqno;
    stage.sign_as_next();
    refuse(stage.scribe, Code::PreviousIdentity, at);
}

#[test]
fn a_predecessor_is_named_by_a_recovery_alone() {
    for table in [
        names::PREVIOUS_SERVICE_IDENTITY,
        names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
    ] {
        let mut stage = stage();
        let mut writes = WriteSet::new();
        let (code, value) = match table == names::PREVIOUS_SERVICE_IDENTITY {
            true => (
                Code::PreviousIdentity,
                to_json(&stage.cast.service.certificate.to_pem()),
            ),
            false => (Code::PreviousRoot, to_json(&HexDigest(stage.scribe.signed.unwrap().1))),
        };
        writes.put(table, SINGLETON_KEY, value);
        let at = stage.scribe.append(&writes).seqno;
        stage.sign();
        refuse(stage.scribe, code, at);
    }
}

/// What may be changed of an endorsement: what is signed, and the value around it.
type Change = fn(&mut TxId, &mut Option<(u64, IdentityEndorsement, [u8; 32])>, &Cast);

#[test]
fn an_endorsement_fits_the_service_before_and_the_one_that_makes_it() {
    let changes: [Change; 5] = [
        |created, _, _| created.seqno += 1,
        |created, _, _| created.view += 1,
        |_, before, _| before.as_mut().unwrap().0 += 1,
        |_, before, _| before.as_mut().unwrap().2 = [7; 32],
        |_, before, cast| {
            before.as_mut().unwrap().1.endorsing_key.0 = cast.other.key.verifying_key().spki_der().to_vec();
        },
    ];
    for change in changes {
        let mut stage = stage();
        let (signed, root) = stage.scribe.signed.unwrap();
        assert!(signed.seqno > 1);
        let (about, writes) = stage.recovery();
        stage.scribe.append(&writes);
        stage.sign_as_next();
        let mut created = about.created.unwrap();
        let mut before = stage.endorsed.clone().map(|(at, value)| (at, value, root));
        change(&mut created, &mut before, &stage.cast);
        let value = endorsement(&stage.cast.next, created, before);
        let at = stage.open(about, &value);
        stage.sign_as_next();
        let (_scratch, ledger) = stage.scribe.end();
        let report = audit(&ledger);
        let named = report
            .findings
            .iter()
            .any(|finding| finding.code == Code::Endorsement && finding.seqno == Some(at));
        assert!(named && !is_clean(&report), "{}", show(&report));
    }
}

#[test]
fn what_an_endorsement_signs_is_what_stands_beside_it() {
    let mut stage = stage();
    let (_, root) = stage.scribe.signed.unwrap();
    let (about, writes) = stage.recovery();
    stage.scribe.append(&writes);
    stage.sign_as_next();
    let (at, own) = stage.endorsed.clone().unwrap();
    let mut value = endorsement(&stage.cast.next, about.created.unwrap(), Some((at, own.clone(), root)));
    let mut created = about.created.unwrap();
    created.seqno -= 1;
    value.endorsement = endorsement(&stage.cast.next, created, Some((at, own, root))).endorsement;
    let at = stage.open(about, &value);
    stage.sign_as_next();
    let (_scratch, ledger) = stage.scribe.end();
    let report = audit(&ledger);
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.code == Code::Endorsement && finding.seqno == Some(at)),
        "{}",
        show(&report)
    );
}

// --- entries

#[test]
fn a_flag_out_of_place_is_refused() {
    for flags in [0x01, 0x02, 0x03, 0x04, 0x80] {
        let mut stage = stage();
        stage.scribe.flags = flags;
        let at = stage.scribe.next().seqno;
        stage.scribe.serve(1);
        stage.sign();
        refuse(stage.scribe, Code::EntryFlags, at);
    }
    let mut stage = stage();
    stage.scribe.flags = 0x02;
    let at = stage.sign().seqno;
    stage.scribe.serve(1);
    stage.sign();
    refuse(stage.scribe, Code::EntryFlags, at);
}

#[test]
fn an_entry_type_out_of_place_is_refused() {
    for entry_type in [
        EntryType::WriteSet,
        EntryType::Snapshot,
        EntryType::WriteSetWithClaims,
        EntryType::WriteSetWithCommitEvidence,
    ] {
        let mut stage = stage();
        stage.scribe.entry_type = entry_type;
        let at = stage.scribe.next().seqno;
        stage.scribe.serve(1);
        stage.scribe.entry_type = NEWEST;
        stage.sign();
        refuse(stage.scribe, Code::EntryType, at);
    }
}

#[test]
fn a_node_alone_does_not_sign_after_the_service_alone_did() {
    let mut stage = stage();
    stage.scribe.sign_by(By::service(&stage.cast.service));
    let at = stage.scribe.sign_by(By::node(&stage.cast.node)).seqno;
    refuse(stage.scribe, Code::SignatureOutOfPlace, at);
}

#[test]
fn a_cose_signature_in_an_entry_of_1_x_is_refused() {
    let (cast, mut scribe) = first_generation();
    let at = scribe.sign_by(By::service(&cast.service)).seqno;
    refuse(scribe, Code::SignatureOutOfPlace, at);
}

#[test]
fn a_cose_signature_for_another_transaction_or_by_another_key_is_refused() {
    let mut stage = stage();
    let at = stage.scribe.next().seqno;
    stage.scribe.sign_as(
        By::both(&stage.cast.node, &stage.cast.service),
        "2.3".parse().unwrap(),
        |_| {},
    );
    refuse(stage.scribe, Code::SignatureFields, at);

    let mut stage = self::stage();
    let at = stage.scribe.sign_by(By::both(&stage.cast.node, &stage.cast.next)).seqno;
    refuse(stage.scribe, Code::CoseSignature, at);
}

#[test]
fn a_signature_transaction_writes_its_tables_alone_and_under_one_key() {
    let tables = [
        names::SIGNATURES,
        names::TREE,
        names::COSE_SIGNATURES,
        names::NODES_INFO,
        "public:app",
    ];
    for table in tables {
        let mut stage = stage();
        let by = By::both(&stage.cast.node, &stage.cast.service);
        let at = stage
            .scribe
            .sign_with(by, |writes| writes.put(table, "stray", "value"))
            .seqno;
        refuse(stage.scribe, Code::SignatureMalformed, at);
    }
}

#[test]
fn what_a_signature_transaction_itself_writes_does_not_decide_who_may_sign_it() {
    let mut stage = stage();
    let stranger = Identity::node(7, &stage.cast.service);
    let by = By::node(&stranger);
    let at = stage
        .scribe
        .sign_with(by, |writes| {
            put_status(writes, &stranger, json!({"status": "Trusted"}));
            put_certificate(writes, &stranger);
        })
        .seqno;
    refuse(stage.scribe, Code::UnknownNode, at);
}

#[test]
fn a_view_that_falls_is_refused() {
    for by_one in [true, false] {
        let mut stage = stage();
        stage.scribe.view += 3;
        stage.sign();
        stage.scribe.view -= if by_one { 1 } else { 3 };
        let at = stage.scribe.next().seqno;
        stage.scribe.serve(1);
        stage.sign();
        refuse(stage.scribe, Code::ViewGoesBack, at);
    }
}

#[test]
fn a_view_beyond_what_elections_reach_is_refused_and_one_within_is_not() {
    for view in [2 + MAX_VIEW_STEP + 1, MAX_VIEW + 1, (1 << 31) - 1, 0] {
        let mut stage = stage();
        stage.scribe.view = view;
        let at = stage.scribe.next().seqno;
        // No signature covers the view of a node's last one: whoever holds the storage can change it.
        stage.scribe.sign_by(By::node(&stage.cast.node));
        let code = if view == 0 {
            Code::ViewGoesBack
        } else {
            Code::ViewTooHigh
        };
        refuse(stage.scribe, code, at);
    }
    let mut stage = stage();
    stage.scribe.view = 2 + MAX_VIEW_STEP;
    stage.sign();
    accept(stage.scribe, &[]);
}
