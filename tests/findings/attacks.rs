//! Attacks on what a verdict proves: by somebody with the storage alone, and with the key of an old node or service.

use rekindle::crypto::cose::with_inclusion_proof;
use rekindle::format::View;
use rekindle::journal::SignatureMode;
use rekindle::merkle::receipt::{LeafComponents, write_cbor_proof, write_json};
use rekindle::recovery::compare::{CompareReport, CopyReport, Loss, Relation, compare, examine};
use rekindle::recovery::snapshots::start_from;
use rekindle::recovery::verify::{Options, VerifyReport};
use rekindle::report::progress::Silent;
use rekindle::report::{Code, Verdict};
use rekindle::tables::values::{Base64, ServiceStatus, to_json};
use rekindle::tables::{SINGLETON_KEY, names};

use crate::ground::{is_clean, last_signed, show, verify_with};
use crate::identity::Identity;
use crate::snapshots::{Row, Shot, state, take, take_of};
use crate::story::{MODES, Story};

fn served(mode: SignatureMode) -> Story {
    let mut story = Story::begin(mode);
    story.serve(4);
    story.sign();
    story
}

/// Verifies `story` after the snapshot; a sentence where it can't be started from.
fn after(story: &Story, shot: &Shot) -> Result<VerifyReport, String> {
    let (scratch, ledger) = story.store();
    let path = shot.store(&scratch.path().join("snapshots"));
    let options = Options {
        from_snapshot: Some(start_from(&path).map_err(|why| why.to_string())?),
        service_certificate: Some(story.service.certificate.clone()),
        ..Options::default()
    };
    Ok(verify_with(&[&ledger], &options).unwrap())
}

/// Somebody who has no key at all makes a state with two services: the one he has the key of signs its receipt, the
/// other one is the service that he wants to be believed for.
#[test]
fn a_snapshot_that_names_two_services_is_not_started_from() {
    let victim = Story::begin(SignatureMode::Dual);
    for keys in [
        [[0; 8], [1, 0, 0, 0, 0, 0, 0, 0]],
        [[1, 0, 0, 0, 0, 0, 0, 0], [0; 8]],
        [[0; 8], [0; 8]],
    ] {
        let mut forged = served(SignatureMode::Node);
        let stranger = Identity::service(77);
        forged.node = Identity::node(78, &stranger);
        let mut own = forged.info(ServiceStatus::Open);
        own.cert = stranger.certificate.to_pem();
        let theirs = victim.info(ServiceStatus::Open);
        for (first, second) in [(&own, &theirs), (&theirs, &own)] {
            let mut rows = state(&forged);
            rows.remove(0);
            rows.push((names::SERVICE_INFO, keys[0].to_vec(), 3, to_json(first)));
            rows.push((names::SERVICE_INFO, keys[1].to_vec(), 3, to_json(second)));
            let shot = take_of(&mut forged, &rows, |_| ());
            let why = after(&forged, &shot).map(|report| show(&report)).unwrap_err();
            assert!(why.contains("service.info"), "{why}");
        }
    }
}

/// Somebody with the key of a node that was endorsed once writes a state of his own in front of the true ledger.
fn forged_before(story: &Story, at_evidence: Option<u64>, signer: &Identity, cose: bool) -> Shot {
    let mut truth = served(story.mode);
    let mut shot = take(&mut truth);
    let mut forged = served(story.mode);
    let mut rows = state(&forged);
    rows.push((
        "public:ccf.gov.constitution",
        SINGLETON_KEY.to_vec(),
        2,
        b"mine".to_vec(),
    ));
    let other = take_of(&mut forged, &rows, |_| ());
    shot.entry = other.entry.clone();
    shot.receipt = other.receipt.clone();
    if at_evidence.is_some() || cose {
        let components = LeafComponents {
            write_set_digest: [4; 32],
            commit_evidence: format!(
                "ce:2.{}:{}",
                at_evidence.unwrap_or(shot.evidence_seqno),
                hex::encode([5; 32])
            ),
            claims_digest: rekindle::crypto::sha256(&shot.entry),
        };
        let root = components.leaf();
        shot.receipt = match cose {
            true => {
                let message = story.pen.cose_saying(signer, &root, &signer.id(), "2.9");
                with_inclusion_proof(&message, &write_cbor_proof(&components, &[])).unwrap()
            }
            false => {
                let signature = signer.key.sign_prehashed_der(&root);
                write_json(&components, &[], &signer.certificate.to_pem(), &signer.id(), &signature)
            }
        };
        shot.evidence_seqno = at_evidence.unwrap_or(shot.evidence_seqno);
    }
    shot
}

#[test]
fn a_snapshot_whose_evidence_the_ledger_does_not_hold_is_refused_as_a_start() {
    for mode in [SignatureMode::Node, SignatureMode::Dual, SignatureMode::Cose] {
        let mut truth = served(mode);
        let real = take(&mut truth);
        truth.serve(3);
        truth.sign();
        let report = after(&truth, &real).unwrap();
        assert!(is_clean(&report), "{}", show(&report));
        let forged = forged_before(&truth, None, &truth.node.clone(), false);
        let report = after(&truth, &forged).unwrap();
        let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&Code::SnapshotReceipt), "{}", show(&report));
        assert!(!is_clean(&report), "{}", show(&report));
    }
}

#[test]
fn a_snapshot_whose_evidence_was_lost_in_a_recovery_is_told_from_one_that_the_ledger_proves() {
    let mut truth = served(SignatureMode::Dual);
    take(&mut truth);
    let old = truth.service.clone();
    truth.recover();
    truth.serve(3);
    truth.sign();
    let far = truth.pen.next().seqno + 1000;
    let forged = forged_before(&truth, Some(far), &old, true);
    let report = after(&truth, &forged).unwrap();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::SnapshotAhead), "{}", show(&report));
    assert!(!is_clean(&report), "{}", show(&report));
    let said = report
        .findings
        .iter()
        .any(|finding| finding.message.contains("was lost"));
    assert!(said, "{}", show(&report));
}

#[test]
fn after_a_snapshot_of_a_service_that_signs_alone_no_node_signs() {
    let mut story = served(SignatureMode::Cose);
    let at = story.pen.signed_at as i64;
    let mut rows: Vec<Row> = state(&story);
    let cose = to_json(&Base64(story.pen.cose(&story.service)));
    rows.push((names::COSE_SIGNATURES, SINGLETON_KEY.to_vec(), at, cose));
    let shot = take_of(&mut story, &rows, |_| ());
    story.serve(2);
    let covered = story.sign().seqno;
    story.serve(2);
    let report = after(&story, &shot).unwrap();
    assert!(is_clean(&report), "{}", show(&report));

    // The chunk is cut right after the snapshot, and an old node goes on.
    let mut forged = served(SignatureMode::Cose);
    forged.mode = SignatureMode::Node;
    let again = take_of(&mut forged, &rows, |_| ());
    assert_eq!(again.evidence_seqno, shot.evidence_seqno);
    let report = after(&forged, &shot).unwrap();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::SignatureOutOfPlace), "{}", show(&report));
    assert!(last_signed(&report) < covered, "{}", show(&report));
}

fn compared(copies: &[&Story]) -> CompareReport {
    compared_for(copies, None).0
}

/// Compares copies, held against this service if there is one; answers also where each of them lies.
fn compared_for(copies: &[&Story], service: Option<&Identity>) -> (CompareReport, Vec<String>) {
    let stored: Vec<_> = copies.iter().map(|story| story.store()).collect();
    let certificate = service.map(|service| &service.certificate);
    let copies = stored
        .iter()
        .map(|(_, ledger)| examine(ledger.clone(), certificate, &Silent).unwrap());
    let report = compare(copies.collect()).unwrap();
    let places = stored.iter().map(|(_, ledger)| ledger.display().to_string());
    (report, places.collect())
}

fn copy_of<'r>(report: &'r CompareReport, place: &str) -> &'r CopyReport {
    report.copies.iter().find(|copy| copy.directory == place).unwrap()
}

fn codes_of(copy: &CopyReport) -> Vec<Code> {
    copy.findings.iter().map(|finding| finding.code).collect()
}

/// A copy of a service, so many intervals long; somebody who has its storage and no key may recover it on his own.
fn copy_with(mode: SignatureMode, intervals: u64, is_recovered: bool) -> Story {
    let mut story = served(mode);
    for _ in 0..intervals {
        story.serve(3);
        story.sign();
    }
    if is_recovered {
        story.recover();
        story.serve(2);
        story.sign();
    }
    story
}

#[test]
fn a_stranger_s_recovery_on_top_of_a_copy_is_not_recommended_where_the_service_is_pinned() {
    for mode in MODES {
        let (truth, theirs) = (copy_with(mode, 3, false), copy_with(mode, 3, true));
        let (report, places) = compared_for(&[&truth, &theirs], None);
        assert_eq!(
            report.recommended.as_ref(),
            Some(&places[1]),
            "nothing else can be known"
        );
        assert!(report.copies.iter().all(|copy| copy.is_expected_service.is_none()));

        let (report, places) = compared_for(&[&theirs, &truth], Some(&truth.service));
        assert_eq!(report.recommended.as_ref(), Some(&places[1]), "{report:?}");
        assert!(
            report.reason.contains("the service whose certificate was given"),
            "{}",
            report.reason
        );
        assert_ne!(report.verdict, Verdict::Ok);
        let (best, other) = (copy_of(&report, &places[1]), copy_of(&report, &places[0]));
        assert_eq!((best.rank, best.is_expected_service), (1, Some(true)));
        assert_eq!((other.rank, other.is_expected_service), (2, Some(false)));
        assert!(best.loses.is_empty() && best.verdict == Verdict::Ok, "{best:?}");
        assert_eq!(codes_of(other), [Code::ServiceCertificate]);
        assert_eq!(
            other.service.map(|service| service.0),
            Some(theirs.service.certificate.key_id())
        );
    }
}

/// What the service itself signed counts, wherever it lies.
#[test]
fn what_would_be_lost_to_a_stranger_s_copy_is_what_the_service_signed_in_it() {
    for mode in MODES {
        let (truth, longer, theirs) = (
            copy_with(mode, 1, false),
            copy_with(mode, 3, false),
            copy_with(mode, 3, true),
        );
        let (report, places) = compared_for(&[&theirs, &truth], Some(&truth.service));
        assert_eq!(report.recommended.as_ref(), Some(&places[1]), "{report:?}");
        let loses = &copy_of(&report, &places[1]).loses;
        let range = |loss: &Loss| (loss.to.clone(), loss.from_seqno, loss.to_seqno);
        let expected = (places[0].clone(), truth.pen.signed_at + 1, longer.pen.signed_at);
        assert_eq!(loses.iter().map(range).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn a_stranger_s_recovery_supersedes_nothing_that_the_pinned_service_signed() {
    for mode in MODES {
        let (truth, theirs) = (copy_with(mode, 3, false), copy_with(mode, 1, true));
        let (report, places) = compared_for(&[&theirs, &truth], Some(&truth.service));
        assert_eq!(report.recommended.as_ref(), Some(&places[1]), "{report:?}");
        assert_eq!(report.pairs[0].relation, Relation::Fork, "{report:?}");
        assert_eq!(report.findings[0].code, Code::Fork);
        assert!(
            report.findings[0].message.contains("not of the service"),
            "{:?}",
            report.findings
        );
        assert!(copy_of(&report, &places[1]).loses.is_empty(), "{report:?}");
    }
}

#[test]
fn no_copy_is_recommended_where_none_is_of_the_pinned_service() {
    let theirs = copy_with(SignatureMode::Dual, 2, true);
    let (report, _) = compared_for(&[&theirs, &theirs], Some(&Identity::service(88)));
    assert_eq!(report.recommended, None);
    assert!(report.reason.contains("none of the copies"), "{}", report.reason);
    for copy in &report.copies {
        assert_eq!(codes_of(copy), [Code::ServiceCertificate]);
    }
}

#[test]
fn the_copy_of_the_pinned_service_is_recommended_over_one_of_the_service_before() {
    for mode in MODES {
        let (before, after) = (copy_with(mode, 3, false), copy_with(mode, 1, true));
        let (report, places) = compared_for(&[&before, &after], Some(&after.service));
        assert_eq!(report.recommended.as_ref(), Some(&places[1]), "{report:?}");
        assert_eq!(codes_of(copy_of(&report, &places[0])), [Code::ServiceCertificate]);
        assert_eq!(report.pairs[0].relation, Relation::Superseded, "{report:?}");
    }
}

/// The view of a node's last signature is covered by nothing: it must not decide which copy is best.
#[test]
fn a_stale_copy_whose_last_signature_is_dated_later_is_not_recommended() {
    let tell = |entries: u64, view: Option<View>| {
        let mut story = Story::begin(SignatureMode::Node);
        story.serve(4);
        story.pen.view = view.unwrap_or(story.pen.view);
        story.sign();
        if view.is_none() {
            story.serve(entries);
            story.sign();
        }
        story
    };
    let whole = tell(20, None);
    let stale = tell(0, Some(9));
    assert!(is_clean(&stale.verify()));
    let report = compared(&[&stale, &whole]);
    let best = report.copies.first().unwrap();
    assert_eq!(best.last_signed.unwrap().seqno, whole.pen.signed_at, "{report:?}");
    assert_eq!(report.recommended.as_ref(), Some(&best.directory), "{report:?}");
    assert!(
        report.pairs.iter().all(|pair| pair.relation != Relation::Superseded),
        "{report:?}"
    );
    assert_eq!(report.copies[1].loses.len(), 1, "{report:?}");
}

/// What a new primary signs first is another signature, by another node: it counts.
#[test]
fn a_copy_that_ends_with_a_new_primary_s_first_signature_is_still_the_best() {
    let tell = |elected: bool| {
        let mut story = Story::begin(SignatureMode::Node);
        let other = Identity::node(66, &story.service);
        let copy = other.clone();
        story.write(|writes| crate::identity::put_node(writes, &copy, "Pending"));
        story.write(|writes| crate::identity::put_node(writes, &copy, "Trusted"));
        story.sign();
        story.serve(4);
        if elected {
            story.pen.view += 1;
            story.node = other;
        }
        story.sign();
        if !elected {
            story.serve(3);
            story.sign();
        }
        story
    };
    let (elected, killed) = (tell(true), tell(false));
    let report = compared(&[&killed, &elected]);
    let best = report.copies.first().unwrap();
    assert_eq!(best.last_signed.unwrap().view, elected.pen.view, "{report:?}");
    assert_eq!(report.pairs[0].relation, Relation::Superseded, "{report:?}");
}

/// However many elections stand before it.
#[test]
fn a_view_that_falls_is_found_after_a_thousand_that_rise() {
    let mut story = Story::begin(SignatureMode::Node);
    for _ in 0..1100 {
        story.pen.view += 1;
        story.serve(1);
    }
    let high = story.pen.view;
    story.sign();
    let last = story.pen.signed_at;
    story.pen.view = 5;
    story.serve(1);
    story.pen.view = high;
    story.sign();
    story.expect(Code::ViewGoesBack, last + 1..=last + 1, last);
}

/// A member of the table of nodes costs once, not again at every signature.
#[test]
fn many_nodes_and_many_signatures_cost_their_sum() {
    let mut story = Story::begin(SignatureMode::Node);
    let node = to_json(&serde_json::json!({ "status": "Pending" }));
    story.write(|writes| {
        for number in 0..20_000_u64 {
            writes.put(names::NODES_INFO, format!("{number:064x}"), node.clone());
        }
    });
    let evidence = serde_json::json!({ "hash": "00".repeat(32), "version": 1 });
    for _ in 0..1500 {
        story.write(|writes| writes.put(names::SNAPSHOT_EVIDENCE, SINGLETON_KEY, to_json(&evidence)));
        story.sign();
    }
    let (_scratch, ledger) = story.store();
    let cost = |mode| {
        let began = std::time::Instant::now();
        let options = Options {
            mode: Some(mode),
            ..Options::default()
        };
        assert!(is_clean(&verify_with(&[&ledger], &options).unwrap()));
        began.elapsed()
    };
    let took = cost(rekindle::recovery::join::Mode::Integrity);
    assert!(took.as_secs() < 10, "{took:?}");
}

/// Each tree that is not the entries' asks for all of them once more: there is an end to that.
#[test]
fn trees_that_are_all_wrong_do_not_have_the_ledger_read_for_each() {
    let mut story = Story::begin(SignatureMode::Node);
    for number in 0..150 {
        story.write(|writes| writes.put("public:app", format!("{number}"), vec![7; 1 << 16]));
    }
    story.sign();
    let last = story.pen.signed_at;
    for round in 0..15_u8 {
        let mut tree = rekindle::merkle::Tree::genesis();
        for _ in 1..story.pen.tree.len() {
            tree.append([round; 32]);
        }
        story.pen.tree = tree;
        story.pen.signed_at = 0;
        story.sign();
    }
    let report = story.verify();
    let ended = report
        .findings
        .iter()
        .filter(|finding| finding.message.contains("nor looked into"));
    assert!((3..12).contains(&ended.count()), "{}", show(&report));
    assert!(last_signed(&report) <= last, "{}", show(&report));
}
