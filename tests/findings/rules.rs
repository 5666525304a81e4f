//! Who may sign what, and when: histories whose every root is right, and which break one rule each. Each is held against
//! both modes of verification, and against the last signature that may count as proven.

use rekindle::crypto::cose::sign_endorsement;
use rekindle::format::TxId;
use rekindle::format::domain::{EntryType, WriteSet};
use rekindle::journal::SignatureMode;
use rekindle::recovery::verify::Options;
use rekindle::report::{Code, Severity};
use rekindle::tables::names;
use rekindle::tables::values::ServiceStatus::{self, Open, Opening, Recovering, WaitingForRecoveryShares};
use rekindle::tables::values::{Base64, IdentityEndorsement, Signature};

use crate::ground::{is_clean, last_signed, show, verify_with};
use crate::identity::{Identity, put_node, put_service};
use crate::scribe::Scribe;
use crate::story::{MODES, Story, put_json};

/// Modes in which nodes sign.
const BY_NODES: [SignatureMode; 2] = [SignatureMode::Node, SignatureMode::Dual];
/// Modes in which the service signs.
const BY_SERVICE: [SignatureMode; 2] = [SignatureMode::Dual, SignatureMode::Cose];

fn served(mode: SignatureMode) -> Story {
    let mut story = Story::begin(mode);
    story.serve(4);
    story
}

#[test]
fn an_endorsement_of_one_service_does_not_count_in_the_next() {
    for mode in BY_NODES {
        let mut story = served(mode);
        story.sign();
        let before = story.node.clone();
        story.begin_recovery(|_, writes| put_node(writes, &before, "Trusted"));
        let last = story.pen.signed_at;
        story.serve(2);
        // Its certificate was found to be endorsed a moment ago, by the service before.
        story.node = before;
        story.sign();
        story.expect(Code::NotEndorsed, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_signature_without_a_certificate_proves_nothing_once_this_service_s_nodes_send_theirs() {
    for is_renewed in [false, true] {
        let mut story = served(SignatureMode::Node);
        let last = story.pen.signed_at;
        if is_renewed {
            // The same service, written again: what its nodes do is not forgotten.
            story.change_status(Open);
        }
        story.sign_altered(|signature| signature.cert = None);
        story.expect(Code::NotEndorsed, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_signature_without_a_certificate_by_a_node_with_one_that_the_service_did_not_sign_proves_nothing() {
    let mut story = served(SignatureMode::Node);
    let last = story.pen.signed_at;
    let intruder = Identity::node(60, &Identity::service(61));
    story.write(|writes| put_node(writes, &intruder, "Trusted"));
    story.node = intruder;
    story.sign_altered(|signature| signature.cert = None);
    story.expect(Code::NotEndorsed, last + 1..=story.pen.signed_at, last);
}

#[test]
fn a_ledger_that_was_never_signed_with_a_certificate_still_needs_the_service_s_endorsement() {
    let intruder = Identity::node(60, &Identity::service(61));
    let mut pen = Scribe::new(EntryType::WriteSetWithCommitEvidenceAndClaims);
    let mut writes = WriteSet::new();
    put_service(&mut writes, &Identity::service(20), Opening);
    put_node(&mut writes, &intruder, "Trusted");
    pen.append(&writes);
    let signature = Signature {
        cert: None,
        ..pen.signature(&intruder)
    };
    pen.sign(Some(&signature), None);
    let scratch = tempfile::tempdir().unwrap();
    pen.store(scratch.path());
    let report = verify_with(&[scratch.path()], &Options::default()).unwrap();
    assert!(!is_clean(&report), "{}", show(&report));
    assert_eq!(last_signed(&report), 0, "{}", show(&report));
}

#[test]
fn the_certificate_in_the_tables_and_the_one_in_the_signature_hold_the_same_key() {
    for mode in BY_NODES {
        let mut story = served(mode);
        let last = story.pen.signed_at;
        let other = Identity::node(60, &story.service);
        let id = story.node.id();
        story.write(|writes| writes.put(names::NODES_ENDORSED_CERTIFICATES, id, other.certificate.to_pem()));
        story.sign();
        story.expect(Code::OtherNodeKey, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_node_can_not_sign_with_its_own_key_under_the_name_of_another() {
    for mode in BY_NODES {
        let mut story = served(mode);
        let last = story.pen.signed_at;
        let other = Identity::node(60, &story.service);
        story.write(|writes| put_node(writes, &other, "Pending"));
        let root = story.pen.tree.root();
        story.sign_altered(|signature| {
            signature.cert = Some(other.certificate.to_pem());
            signature.sig = Base64(other.key.sign_prehashed_der(&root));
        });
        story.expect(Code::OtherNodeKey, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_removed_node_signs_no_more() {
    for mode in BY_NODES {
        let mut story = served(mode);
        story.sign();
        let last = story.pen.signed_at;
        let id = story.node.id();
        story.write(|writes| {
            writes.remove(names::NODES_INFO, id.as_str());
            writes.remove(names::NODES_ENDORSED_CERTIFICATES, id.as_str());
        });
        story.sign();
        story.expect(Code::UnknownNode, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_node_of_an_unknown_status_signs_nothing() {
    for status in ["Pending", "Suspended"] {
        for mode in BY_NODES {
            let mut story = served(mode);
            let last = story.pen.signed_at;
            let node = story.node.clone();
            story.write(|writes| put_node(writes, &node, status));
            story.sign();
            story.expect_refused(last);
        }
    }
}

#[test]
fn a_retired_node_may_sign_until_its_retirement_is_committed() {
    for mode in BY_NODES {
        let mut story = served(mode);
        let node = story.node.clone();
        story.write(|writes| put_node(writes, &node, "Retired"));
        story.sign();
        let report = story.verify();
        let worst = report.findings.iter().map(|finding| finding.severity).max();
        assert!(worst < Some(Severity::Error), "{}", show(&report));
        assert_eq!(last_signed(&report), story.pen.signed_at);
    }
}

#[test]
fn a_signature_names_its_own_transaction() {
    let wrong: [fn(&mut Signature); 4] = [
        |signature| signature.seqno -= 1,
        |signature| signature.seqno += 1,
        |signature| signature.view -= 1,
        |signature| signature.view += 1,
    ];
    for mode in BY_NODES {
        for change in wrong {
            let mut story = served(mode);
            let last = story.pen.signed_at;
            story.sign_altered(change);
            story.expect(Code::SignatureFields, last + 1..=story.pen.signed_at, last);
        }
    }
}

#[test]
fn a_cose_signature_names_its_own_transaction_and_key() {
    for mode in BY_SERVICE {
        let stranger = Identity::service(61).id();
        for case in 0..4 {
            let mut story = served(mode);
            let last = story.pen.signed_at;
            let TxId { view, seqno } = story.pen.next();
            let own = story.service.id();
            let (kid, txid) = match case {
                0 => (stranger.as_str(), format!("{view}.{seqno}")),
                1 => (own.as_str(), format!("{view}.{}", seqno - 1)),
                2 => (own.as_str(), format!("{}.{seqno}", view + 1)),
                _ => (&own[..62], format!("{view}.{seqno}")),
            };
            let cose = story
                .pen
                .cose_saying(&story.service, &story.pen.tree.root(), kid, &txid);
            let node = story.pen.signature(&story.node);
            let node = (mode == SignatureMode::Dual).then_some(&node);
            story.pen.sign(node, Some(&cose));
            story.expect(Code::SignatureFields, last + 1..=story.pen.signed_at, last);
        }
    }
}

#[test]
fn a_cose_signature_by_another_service_proves_nothing() {
    for mode in BY_SERVICE {
        let mut story = served(mode);
        let last = story.pen.signed_at;
        let stranger = Identity::service(61);
        // It says that it is the service's.
        let txid = story.pen.next().to_string();
        let cose = story
            .pen
            .cose_saying(&stranger, &story.pen.tree.root(), &story.service.id(), &txid);
        let node = story.pen.signature(&story.node);
        let node = (mode == SignatureMode::Dual).then_some(&node);
        story.pen.sign(node, Some(&cose));
        story.expect(Code::CoseSignature, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_signature_transaction_can_not_give_its_own_signer_the_right_to_sign() {
    let mut story = served(SignatureMode::Node);
    let pending = Identity::node(60, &story.service);
    story.write(|writes| put_node(writes, &pending, "Pending"));
    story.sign();
    let last = story.pen.signed_at;
    story.serve(2);
    let signature = story.pen.signature(&pending);
    let mut writes = story.pen.signature_writes(Some(&signature), None);
    put_node(&mut writes, &pending, "Trusted");
    story.pen.append(&writes);
    story.expect(Code::UntrustedNode, last + 1..=story.pen.next().seqno, last);
}

#[test]
fn a_signature_transaction_can_not_take_its_signer_the_right_to_sign_before_it_has_signed() {
    let mut story = served(SignatureMode::Node);
    let last = story.pen.signed_at;
    let id = story.node.id();
    let signature = story.pen.signature(&story.node);
    let mut writes = story.pen.signature_writes(Some(&signature), None);
    writes.remove(names::NODES_INFO, id);
    story.pen.append(&writes);
    // What it writes beside its signature is refused; the signature itself is by a trusted node.
    let report = story.verify();
    let codes: Vec<Code> = report.findings.iter().map(|finding| finding.code).collect();
    assert!(
        codes.contains(&Code::SignatureMalformed) && !codes.contains(&Code::UnknownNode),
        "{}",
        show(&report)
    );
    assert_eq!(last_signed(&report), last);
}

#[test]
fn a_transaction_right_before_a_signature_decides_who_may_make_it() {
    for mode in BY_NODES {
        let mut story = served(mode);
        let next = Identity::node(60, &story.service);
        story.write(|writes| put_node(writes, &next, "Pending"));
        story.write(|writes| put_node(writes, &next, "Trusted"));
        story.node = next;
        story.sign();
        story.expect_clean();
    }
}

#[test]
fn the_last_signature_of_a_service_counts_whatever_the_next_one_signs() {
    for mode in BY_NODES {
        let mut story = served(mode);
        let last = story.pen.signed_at;
        let node = story.node.clone();
        story.sign_altered(|signature| signature.sig = Base64(node.key.sign_prehashed_der(&[9; 32])));
        story.recover();
        story.serve(3);
        story.sign();
        story.expect(Code::NodeSignature, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn the_last_cose_signature_of_a_service_counts_whatever_the_next_one_signs() {
    for mode in BY_SERVICE {
        let mut story = served(mode);
        let last = story.pen.signed_at;
        let txid = story.pen.next().to_string();
        let cose = story
            .pen
            .cose_saying(&story.service, &[9; 32], &story.service.id(), &txid);
        let node = story.pen.signature(&story.node);
        let node = (mode == SignatureMode::Dual).then_some(&node);
        story.last_root = story.pen.tree.root();
        story.pen.sign(node, Some(&cose));
        story.recover();
        story.expect(Code::CoseSignature, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_service_is_recovered_several_times() {
    for mode in MODES {
        let mut story = served(mode);
        for _ in 0..3 {
            story.sign();
            story.recover();
            story.serve(2);
        }
        story.sign();
        story.expect_clean();
        assert_eq!(story.verify().services.len(), 4);
    }
}

/// A service in this status; what was written last is signed.
fn in_status(mode: SignatureMode, status: ServiceStatus) -> Story {
    let mut story = match status {
        Opening => Story::created(mode),
        _ => served(mode),
    };
    if matches!(status, Recovering | WaitingForRecoveryShares) {
        story.sign();
        story.begin_recovery(|_, _| ());
    }
    if status == WaitingForRecoveryShares {
        story.change_status(WaitingForRecoveryShares);
    }
    story.sign();
    story
}

#[test]
fn a_service_takes_the_steps_that_ccf_has_and_no_others() {
    let steps = [
        (Opening, Opening, true),
        (Opening, Open, true),
        (Opening, Recovering, false),
        (Opening, WaitingForRecoveryShares, false),
        (Open, Open, true),
        (Open, Opening, false),
        (Open, Recovering, false),
        (Open, WaitingForRecoveryShares, false),
        (Recovering, Recovering, true),
        (Recovering, WaitingForRecoveryShares, true),
        (Recovering, Opening, false),
        (WaitingForRecoveryShares, WaitingForRecoveryShares, true),
        (WaitingForRecoveryShares, Open, true),
        (WaitingForRecoveryShares, Opening, false),
        (WaitingForRecoveryShares, Recovering, false),
    ];
    for (before, after, is_allowed) in steps {
        for mode in MODES {
            let mut story = in_status(mode, before);
            let last = story.pen.signed_at;
            story.change_status(after);
            story.sign();
            match is_allowed {
                true => story.expect_clean(),
                false => story.expect(Code::StatusTransition, last + 1..=story.pen.signed_at, last),
            }
        }
    }
}

#[test]
fn another_identity_comes_with_a_recovery_only() {
    for status in [Opening, Open, WaitingForRecoveryShares] {
        for mode in MODES {
            let mut story = served(mode);
            story.sign();
            let last = story.pen.signed_at;
            story.service = Identity::service(61);
            story.node = Identity::node(62, &story.service);
            let mut writes = WriteSet::new();
            story.put_service(&mut writes, status);
            put_node(&mut writes, &story.node, "Trusted");
            story.pen.append(&writes);
            story.sign();
            story.expect(Code::IdentityChanged, last + 1..=story.pen.signed_at, last);
        }
    }
}

#[test]
fn a_recovery_names_the_service_before_it() {
    for mode in MODES {
        let mut story = served(mode);
        story.sign();
        story.recover();
        let last = story.pen.signed_at;
        // Not the first one: that was recovered before.
        let first = Identity::service(20);
        story.begin_recovery(|_, writes| {
            put_json(writes, names::PREVIOUS_SERVICE_IDENTITY, &first.certificate.to_pem());
        });
        story.expect(Code::PreviousIdentity, last + 1..=story.pen.signed_at, last);
    }
}

#[test]
fn a_recovery_names_the_root_that_was_signed_last() {
    for mode in BY_SERVICE {
        let mut story = served(mode);
        let earlier = story.last_root;
        story.sign();
        let last = story.pen.signed_at;
        story.begin_recovery(|_, writes| {
            let root = rekindle::tables::values::HexDigest(earlier);
            put_json(writes, names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT, &root);
        });
        story.expect(Code::PreviousRoot, last + 1..=story.pen.signed_at, last);
    }
}

/// A recovered service whose endorsement was changed.
fn endorsing(change: impl FnOnce(&Story, &mut IdentityEndorsement)) -> Story {
    let mut story = served(SignatureMode::Dual);
    story.sign();
    story.begin_recovery(|_, _| ());
    story.open_recovered(|story, writes| {
        let mut endorsement = story.last_endorsement();
        change(story, &mut endorsement);
        put_json(writes, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, &endorsement);
    });
    story
}

/// An endorsement of `endorsed` by `by`, over the range that the right one has.
fn signed(endorsement: &IdentityEndorsement, by: &Identity, endorsed: &Identity) -> Base64 {
    let end = endorsement.endorsement_epoch_end.map(|end| end.to_string());
    Base64(sign_endorsement(
        &by.key,
        1_700_000_000,
        endorsed.key.verifying_key().spki_der(),
        &endorsement.endorsement_epoch_begin.to_string(),
        end.as_deref(),
        Some(&[1; 32]),
    ))
}

#[test]
fn the_service_before_is_endorsed_by_the_one_in_force_and_by_nobody_else() {
    let (before, stranger) = (Identity::service(20), Identity::service(61));
    let wrong = [
        endorsing(|_, endorsement| endorsement.endorsement = signed(endorsement, &stranger, &before)),
        endorsing(|story, endorsement| endorsement.endorsement = signed(endorsement, &story.service, &stranger)),
        endorsing(|story, endorsement| endorsement.endorsement = signed(endorsement, &story.service, &story.service)),
        endorsing(|_, endorsement| {
            endorsement.endorsement = signed(endorsement, &stranger, &before);
            endorsement.endorsing_key = Base64(stranger.key.verifying_key().spki_der().to_vec());
        }),
        endorsing(|_, endorsement| {
            endorsement.endorsement = signed(endorsement, &before, &before);
            endorsement.endorsing_key = Base64(before.key.verifying_key().spki_der().to_vec());
        }),
        endorsing(|_, endorsement| endorsement.endorsement = Base64(b"no COSE".to_vec())),
        endorsing(|_, endorsement| endorsement.endorsing_key = Base64(b"no key".to_vec())),
    ];
    for (case, story) in wrong.iter().enumerate() {
        let report = story.verify();
        let named = report.findings.iter().any(|finding| finding.code == Code::Endorsement);
        assert!(named && !is_clean(&report), "case {case}: {}", show(&report));
    }
    endorsing(|_, _| ()).expect_clean();
}

#[test]
fn a_first_service_endorses_itself_and_nobody_else() {
    for endorsed in [Identity::service(20), Identity::service(61)] {
        let mut story = Story::created(SignatureMode::Dual);
        let mut endorsement = story.own_endorsement();
        assert_eq!(endorsement.endorsement_epoch_end, None);
        endorsement.endorsement = signed(&endorsement, &story.service, &endorsed);
        story.write(|writes| put_json(writes, names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT, &endorsement));
        story.sign();
        let report = story.verify();
        let named = report.findings.iter().any(|finding| finding.code == Code::Endorsement);
        assert_eq!(named, endorsed.id() != story.service.id(), "{}", show(&report));
    }
}

#[test]
fn an_endorsement_of_a_single_transaction_is_well_formed() {
    let story = endorsing(|_, endorsement| {
        endorsement.endorsement_epoch_begin = endorsement.endorsement_epoch_end.unwrap();
    });
    let report = story.verify();
    let ill_formed = report
        .findings
        .iter()
        .any(|finding| finding.code == Code::EndorsementIllFormed);
    assert!(!ill_formed, "{}", show(&report));
}

#[test]
fn a_view_never_falls_within_a_chunk_or_from_one_to_the_next() {
    for mode in MODES {
        for in_new_chunk in [false, true] {
            let mut story = served(mode);
            story.pen.view += 3;
            story.serve(2);
            story.sign();
            let last = story.pen.signed_at;
            story.expect_clean();
            if in_new_chunk {
                story.pen.begin_chunk();
            }
            story.pen.view -= 1;
            story.serve(2);
            story.sign();
            story.expect(Code::ViewGoesBack, last + 1..=last + 1, last);
        }
    }
}

#[test]
fn a_value_that_can_not_be_read_in_a_trust_table_is_named_and_ends_the_proof() {
    let tables = [
        names::SERVICE_INFO,
        names::NODES_INFO,
        names::NODES_ENDORSED_CERTIFICATES,
        names::PREVIOUS_SERVICE_IDENTITY,
        names::PREVIOUS_SERVICE_LAST_SIGNED_ROOT,
        names::PREVIOUS_SERVICE_IDENTITY_ENDORSEMENT,
    ];
    for table in tables {
        let mut story = served(SignatureMode::Dual);
        let last = story.pen.signed_at;
        let at = story.write(|writes| writes.put(table, [0; 8], "[1]")).seqno;
        story.sign();
        story.expect(Code::TrustValue, at..=at, last);
    }
    let mut story = served(SignatureMode::Dual);
    let last = story.pen.signed_at;
    let at = story.write(|writes| writes.remove(names::SERVICE_INFO, [0; 8])).seqno;
    story.sign();
    story.expect(Code::TrustValue, at..=at, last);
}

#[test]
fn every_finding_says_the_file_and_the_place() {
    let mut story = served(SignatureMode::Dual);
    story.pen.begin_chunk();
    let at = story.write(|writes| writes.put(names::NODES_INFO, "node", "[1]")).seqno;
    story.sign_altered(|signature| signature.seqno -= 1);
    let report = story.verify();
    for code in [Code::TrustValue, Code::SignatureFields] {
        let finding = report.findings.iter().find(|finding| finding.code == code).unwrap();
        let file = finding.file.as_deref().unwrap();
        assert!(file.ends_with(&format!("ledger_{at}")), "{file}");
        assert!(finding.offset.is_some_and(|offset| offset >= 8), "{finding:?}");
    }
}

#[test]
fn signatures_are_counted_by_their_kind() {
    for mode in MODES {
        let mut story = served(mode);
        story.sign();
        let report = story.verify();
        let by_node = if mode == SignatureMode::Cose { 0 } else { 3 };
        let by_service = if mode == SignatureMode::Node { 0 } else { 3 };
        assert_eq!((report.signatures, report.cose_signatures), (by_node, by_service));
        assert_eq!(report.entries, report.last_seqno);
        let bytes: usize = story
            .pen
            .chunks
            .iter()
            .flat_map(|(_, entries)| entries)
            .map(Vec::len)
            .sum();
        assert_eq!(report.bytes, bytes as u64);
    }
}
