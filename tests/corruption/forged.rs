//! Histories that are consistent in themselves, and not this service's: forged suffixes, forks, rollbacks.

use rekindle::format::domain::WriteSet;
use rekindle::journal::SignatureMode;
use rekindle::recovery::verify::{Earlier, Options, VerifyReport};
use rekindle::report::Code;
use rekindle::tables::values::{ServiceStatus, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use super::forger::{Forger, Identity, chunk_names, put_node, put_service};
use super::ground::{Copy, audit, is_clean, last_signed, ledgers, read_ledger, show, verify_with};

const MODES: [SignatureMode; 2] = [SignatureMode::Node, SignatureMode::Dual];

struct Cast {
    service: Identity,
    node: Identity,
    /// Endorsed by the service, but Pending.
    pending: Identity,
    intruder: Identity,
    intruding_node: Identity,
}

fn cast() -> Cast {
    let (service, intruder) = (Identity::service(1), Identity::service(2));
    Cast {
        node: Identity::node(3, &service),
        pending: Identity::node(4, &service),
        intruding_node: Identity::node(5, &intruder),
        service,
        intruder,
    }
}

/// A good history of some entries; its last signature is at the seqno that is answered.
fn good(mode: SignatureMode, cast: &Cast) -> (Forger, u64) {
    let mut forger = Forger::begin(mode, &cast.service, &cast.node, &cast.pending);
    forger.serve(10, "good");
    let txid = forger.sign(false);
    (forger, txid.seqno)
}

/// The report on a history must not be clean, have `code`, and prove nothing after `last`.
fn refuse(forger: Forger, code: Code, last: u64) -> VerifyReport {
    let (_scratch, ledger) = forger.end();
    let report = audit(&ledger);
    assert!(!is_clean(&report), "{}", show(&report));
    let named = report
        .findings
        .iter()
        .any(|finding| finding.code == code && finding.seqno.is_some_and(|seqno| seqno > last));
    assert!(named, "expected {}: {}", code.as_str(), show(&report));
    assert_eq!(last_signed(&report), last, "{}", show(&report));
    report
}

#[test]
fn a_history_by_a_trusted_node_is_clean() {
    for mode in [SignatureMode::Node, SignatureMode::Dual, SignatureMode::Cose] {
        let (forger, last) = good(mode, &cast());
        let (_scratch, ledger) = forger.end();
        let report = audit(&ledger);
        assert!(is_clean(&report), "{}", show(&report));
        assert_eq!(last_signed(&report), last);
    }
}

#[test]
fn a_suffix_signed_by_a_node_that_the_ledger_does_not_know_proves_nothing() {
    for mode in MODES {
        let cast = cast();
        let (mut forger, last) = good(mode, &cast);
        forger.take_over(&cast.service, &cast.intruding_node);
        forger.serve(5, "forged");
        forger.sign(false);
        refuse(forger, Code::UnknownNode, last);
    }
}

#[test]
fn a_suffix_signed_by_a_pending_node_proves_nothing() {
    for mode in MODES {
        let cast = cast();
        let (mut forger, last) = good(mode, &cast);
        forger.take_over(&cast.service, &cast.pending);
        forger.serve(5, "forged");
        forger.sign(false);
        refuse(forger, Code::UntrustedNode, last);
    }
}

#[test]
fn a_suffix_that_trusts_its_own_node_without_the_services_endorsement_proves_nothing() {
    for mode in MODES {
        let cast = cast();
        let (mut forger, last) = good(mode, &cast);
        forger.take_over(&cast.service, &cast.intruding_node);
        let mut writes = WriteSet::new();
        put_node(&mut writes, &cast.intruding_node, "Trusted");
        forger.append(&writes);
        forger.sign(false);
        refuse(forger, Code::NotEndorsed, last);
    }
}

#[test]
fn a_suffix_whose_signature_hides_that_its_node_is_not_endorsed_proves_nothing() {
    let cast = cast();
    let (mut forger, last) = good(SignatureMode::Node, &cast);
    let mut writes = WriteSet::new();
    put_node(&mut writes, &cast.intruding_node, "Trusted");
    forger.append(&writes);
    forger.sign_without_certificate(&cast.intruding_node);
    refuse(forger, Code::NotEndorsed, last);
}

#[test]
fn a_cose_signature_of_another_service_proves_nothing() {
    let cast = cast();
    let (mut forger, last) = good(SignatureMode::Cose, &cast);
    forger.take_over(&cast.intruder, &cast.node);
    forger.serve(5, "forged");
    forger.sign(false);
    refuse(forger, Code::CoseSignature, last);
}

#[test]
fn a_service_identity_that_changes_without_a_recovery_proves_nothing_from_there() {
    for mode in MODES {
        let cast = cast();
        let (mut forger, last) = good(mode, &cast);
        forger.take_over(&cast.intruder, &cast.intruding_node);
        let mut writes = WriteSet::new();
        put_service(&mut writes, &cast.intruder, ServiceStatus::Open);
        put_node(&mut writes, &cast.intruding_node, "Trusted");
        forger.append(&writes);
        forger.sign(false);
        refuse(forger, Code::IdentityChanged, last);
    }
}

#[test]
fn a_service_of_an_intruder_that_claims_a_recovery_is_listed_and_refused_by_its_certificate() {
    let cast = cast();
    let (mut forger, _) = good(SignatureMode::Dual, &cast);
    forger.take_over(&cast.intruder, &cast.intruding_node);
    let mut writes = WriteSet::new();
    put_service(&mut writes, &cast.intruder, ServiceStatus::Recovering);
    let predecessor = to_json(&cast.service.certificate.to_pem());
    writes.put(names::PREVIOUS_SERVICE_IDENTITY, SINGLETON_KEY, predecessor);
    put_node(&mut writes, &cast.intruding_node, "Trusted");
    forger.append(&writes);
    forger.sign(false);
    let (_scratch, ledger) = forger.end();
    // Nothing in a ledger can tell this from a recovery: whoever has the directory could have started one.
    assert_eq!(audit(&ledger).services.len(), 2);
    let options = Options {
        service_certificate: Some(cast.service.certificate.clone()),
        ..Options::default()
    };
    let report = verify_with(&[&ledger], &options).unwrap();
    assert!(
        report
            .findings
            .iter()
            .any(|finding| finding.code == Code::ServiceCertificate),
        "{}",
        show(&report)
    );
}

/// Two histories of one service that part after seqno `parting`, in three chunks each.
fn fork(mode: SignatureMode, salt: &str) -> (tempfile::TempDir, std::path::PathBuf, u64) {
    let cast = cast();
    let mut forger = Forger::begin(mode, &cast.service, &cast.node, &cast.pending);
    forger.serve(10, "common");
    let parting = forger.sign(true).seqno;
    for _ in 0..2 {
        forger.serve(6, salt);
        forger.sign(false);
        forger.serve(6, salt);
        forger.sign(true);
    }
    let (scratch, ledger) = forger.end();
    (scratch, ledger, parting)
}

#[test]
fn a_chunk_of_another_signed_history_is_found_where_it_begins_to_contradict() {
    for mode in MODES {
        let (_a, one, parting) = fork(mode, "one");
        let (_b, two, _) = fork(mode, "two");
        for directory in [&one, &two] {
            assert!(is_clean(&audit(directory)), "{}", show(&audit(directory)));
        }
        let names = chunk_names(&one);
        let (ones, twos) = (read_ledger(&one), read_ledger(&two));
        for spliced in 1..names.len() {
            let copy = Copy::of(&ones);
            let file = twos.iter().find(|file| file.name == names[spliced]).unwrap();
            copy.restore(file);
            let report = audit(copy.path());
            assert!(!is_clean(&report), "{}", show(&report));
            // The second chunk of the other history can't stand after the first; the third not after the second.
            let proven = last_signed(&report);
            let first_of_splice = parting + 1 + (spliced as u64 - 1) * 14;
            let named = report.findings.iter().any(|finding| {
                finding.file.as_ref().is_some_and(|path| {
                    path.ends_with(&names[spliced]) || path.ends_with(&names[(spliced + 1).min(names.len() - 1)])
                })
            });
            assert!(named, "{spliced}: {}", show(&report));
            let bound = if spliced == 1 {
                first_of_splice + 13
            } else {
                first_of_splice - 1
            };
            assert!(
                proven >= parting && proven <= bound,
                "{proven} of {bound}: {}",
                show(&report)
            );
        }
    }
}

fn earlier(report: &VerifyReport) -> Earlier {
    serde_json::from_value(serde_json::to_value(report).unwrap()).unwrap()
}

#[test]
fn a_rollback_is_found_against_an_earlier_report_and_only_so() {
    let (_scratch, ledger, _) = fork(SignatureMode::Dual, "one");
    let mut grounds = vec![ledger];
    grounds.extend(ledgers().map(|ledgers| ledgers.join("real_small/ledger")));
    for ledger in grounds {
        let before = audit(&ledger);
        let files = read_ledger(&ledger);
        let copy = Copy::of(&files);
        std::fs::remove_file(copy.file(chunk_names(&ledger).last().unwrap())).unwrap();
        assert!(is_clean(&audit(copy.path())), "a shorter ledger is a good ledger");
        let options = Options {
            against: Some(earlier(&before)),
            ..Options::default()
        };
        let report = verify_with(&[copy.path()], &options).unwrap();
        assert!(
            !is_clean(&report) && report.findings.iter().any(|finding| finding.code == Code::RolledBack),
            "{}",
            show(&report)
        );
        assert!(is_clean(&verify_with(&[&ledger], &options).unwrap()));
    }
}

#[test]
fn a_rewritten_history_is_found_against_an_earlier_report() {
    let (_a, one, _) = fork(SignatureMode::Dual, "one");
    let (_b, two, _) = fork(SignatureMode::Dual, "two");
    let options = Options {
        against: Some(earlier(&audit(&one))),
        ..Options::default()
    };
    let report = verify_with(&[&two], &options).unwrap();
    assert!(
        !is_clean(&report) && report.findings.iter().any(|finding| finding.code == Code::Rewritten),
        "{}",
        show(&report)
    );
}
