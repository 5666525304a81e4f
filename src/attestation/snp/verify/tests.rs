//! Reports and chips made here, with one thing wrong each: what no vector has.

use super::*;
use crate::attestation::anchors::TestRoot;
use crate::attestation::evidence::Platform;
use crate::attestation::remembered::Remembered;
use crate::attestation::testing::{self, Extension, FROM, Issued, TO, authority, ids, key, pem, tlv};
use crate::crypto::sha256;
use crate::crypto::x509::RevocationList;

/// A report that holds, of Turin's layout or Milan's by the model.
fn report(change: impl FnOnce(&mut [u8; REPORT_BYTES])) -> Vec<u8> {
    let mut bytes = [0; REPORT_BYTES];
    bytes[0] = 3;
    bytes[0x34] = 1;
    bytes[0x188..0x18b].copy_from_slice(&[0x19, 1, 1]);
    bytes[0x180..0x188].copy_from_slice(&[4, 0, 0, 0, 0, 0, 24, 119]);
    bytes[0x1a0..0x1e0].fill(7);
    change(&mut bytes);
    let signature = key(3).sign_fixed(&bytes[..0x2a0]);
    let (r, s) = signature.split_at(48);
    let reversed = |number: &[u8]| number.iter().rev().copied().collect::<Vec<u8>>();
    bytes[0x2a0..0x2d0].copy_from_slice(&reversed(r));
    bytes[0x2e8..0x318].copy_from_slice(&reversed(s));
    bytes.to_vec()
}

fn turin(bytes: &mut [u8; REPORT_BYTES]) {
    bytes[0x188..0x18b].copy_from_slice(&[0x1a, 2, 1]);
    bytes[0x180..0x188].copy_from_slice(&[9, 4, 0, 24, 0, 0, 0, 119]);
    bytes[0x1a0..0x1e0].fill(0);
    bytes[0x1a0..0x1a8].fill(7);
}

/// What AMD writes into a VCEK, by the last numbers of the identifier.
fn vcek(hwid: usize) -> Vec<Extension> {
    let mut extensions = ids(3, 2);
    extensions.extend([
        ("1.3.6.1.4.1.3704.1.2", false, tlv(22, &[b"Milan-B0"])),
        ("1.3.6.1.4.1.3704.1.3.1", false, vec![2, 1, 4]),
        ("1.3.6.1.4.1.3704.1.3.2", false, vec![2, 1, 0]),
        ("1.3.6.1.4.1.3704.1.3.3", false, vec![2, 1, 24]),
        ("1.3.6.1.4.1.3704.1.3.8", false, vec![2, 1, 119]),
        ("1.3.6.1.4.1.3704.1.3.9", false, vec![2, 1, 9]),
        ("1.3.6.1.4.1.3704.1.4", false, vec![7; hwid]),
    ]);
    extensions
}

fn endorsements(vcek: Vec<Extension>) -> Endorsements {
    endorsements_under(&key(1), vcek)
}

/// Under an ARK that was signed by this key.
fn endorsements_under(signer: &crate::crypto::SigningKey, vcek: Vec<Extension>) -> Endorsements {
    Endorsements::read(testing::endorsements_under(signer, vcek).as_bytes(), &Remembered::new())
}

fn anchors() -> Anchors {
    let root = |product| TestRoot {
        product: Some(product),
        spki_sha256: sha256(key(1).verifying_key().spki_der()),
    };
    Anchors::built_in()
        .and_for_tests(root(Product::Milan))
        .and_for_tests(root(Product::Turin))
}

fn judge_at(quote: &[u8], endorsements: &Endorsements, lists: &[RevocationList], time: Time) -> Judgement {
    let mut judgement = Judgement::new(Platform::Snp, !lists.is_empty());
    let lists = Lists::new(lists.to_vec());
    verify(quote, endorsements, None, &anchors(), &lists, time, &mut judgement);
    judgement
}

fn judge(quote: &[u8], endorsements: &Endorsements) -> Judgement {
    judge_at(quote, endorsements, &[], Time::None)
}

fn failures(judgement: &Judgement) -> Vec<Check> {
    judgement.failures().map(|(check, _)| check).collect()
}

#[test]
fn what_is_made_here_holds() {
    let judgement = judge(&report(|_| ()), &endorsements(vcek(64)));
    assert_eq!(failures(&judgement), []);
    assert_eq!(judgement.outcome(Check::TcbExact), Some(&Outcome::Passed));
    assert_eq!(judgement.outcome(Check::ChipId), Some(&Outcome::Passed));
}

#[test]
fn a_root_that_did_not_sign_itself_fails_for_that_too() {
    let judgement = judge(&report(|_| ()), &endorsements_under(&key(9), vcek(64)));
    assert_eq!(failures(&judgement), [Check::RootSelf, Check::Chain]);
}

#[test]
fn each_flag_is_looked_at_alone() {
    let good = endorsements(vcek(64));
    let with = |at: usize, value: u8| failures(&judge(&report(|bytes| bytes[at] = value), &good));
    assert_eq!(with(0x0a, 1 << 3), [Check::Debug]);
    assert_eq!(with(0x0a, 1 << 2), [Check::MigrateMa]);
    assert_eq!(with(0x0a, 0b11 | 1 << 4), []);
    assert_eq!(with(0x30, 3), []);
    assert_eq!(with(0x30, 4), [Check::Vmpl]);
    assert_eq!(with(0x34, 0), [Check::SignatureAlgorithm]);
    assert_eq!(with(0x48, 1), []);
    assert_eq!(with(0x48, 1 << 1), [Check::MaskChipKey]);
    assert_eq!(with(0x48, 1 << 2), [Check::SigningKey]);
    assert_eq!(with(0x48, 7 << 2), [Check::SigningKey]);
    assert_eq!(with(0, 4), []);
    assert_eq!(with(0, 7), []);
    assert_eq!(with(0, 1), [Check::Version]);
}

#[test]
fn each_component_of_the_tcb_is_at_least_the_certified_one_and_said_if_it_is_more() {
    let good = endorsements(vcek(64));
    for at in [0, 6, 7] {
        let lower = judge(&report(|bytes| bytes[0x180 + at] -= 1), &good);
        assert_eq!(failures(&lower), [Check::Tcb], "{at}");
    }
    for at in [0, 1, 6, 7] {
        let higher = judge(&report(|bytes| bytes[0x180 + at] += 1), &good);
        assert_eq!(failures(&higher), [], "{at}");
        assert!(
            matches!(higher.outcome(Check::TcbExact), Some(Outcome::Remark(_))),
            "{at}"
        );
    }
    let chip = endorsements(vcek(8));
    assert_eq!(failures(&judge(&report(turin), &chip)), [Check::CertifiedProduct]);
    for at in [0, 1, 3, 7] {
        let lower = |bytes: &mut [u8; REPORT_BYTES]| {
            turin(bytes);
            bytes[0x180 + at] -= 1;
        };
        assert!(failures(&judge(&report(lower), &chip)).contains(&Check::Tcb), "{at}");
    }
}

#[test]
fn what_a_certificate_does_not_say_is_not_compared_and_what_it_says_badly_fails() {
    let without = |ends: &str| {
        let mut extensions = vcek(64);
        extensions.retain(|(id, ..)| !id.ends_with(ends));
        judge(&report(|_| ()), &endorsements(extensions))
    };
    for component in [".3.1", ".3.2", ".3.3", ".3.8"] {
        let judgement = without(component);
        assert_eq!(failures(&judgement), []);
        assert!(matches!(judgement.outcome(Check::Tcb), Some(Outcome::Remark(_))));
        assert!(judgement.refusal().is_some(), "an audit may go on, a join may not");
    }
    assert!(matches!(
        without("3704.1.4").outcome(Check::ChipId),
        Some(Outcome::Remark(_))
    ));
    assert!(matches!(
        without("3704.1.2").outcome(Check::CertifiedProduct),
        Some(Outcome::Remark(_))
    ));
    let mut bad = vcek(64);
    bad.iter_mut().find(|(id, ..)| id.ends_with(".3.8")).unwrap().2 = vec![2, 2, 1, 0];
    assert_eq!(failures(&judge(&report(|_| ()), &endorsements(bad))), [Check::Tcb]);
}

#[test]
fn a_chip_id_has_8_bytes_on_turin_alone_and_zeros_after_them() {
    let all = |quote: Vec<u8>, hwid: usize| failures(&judge(&quote, &endorsements(vcek(hwid))));
    assert_eq!(all(report(|bytes| bytes[0x1df] = 8), 64), [Check::ChipId]);
    assert_eq!(all(report(|_| ()), 8), [Check::ChipId]);
    let short = |bytes: &mut [u8; REPORT_BYTES]| bytes[0x1a8..0x1e0].fill(0);
    assert_eq!(all(report(short), 8), [Check::ChipId]);
    assert_eq!(all(report(|_| ()), 63), [Check::ChipId]);
    assert_eq!(all(report(turin), 8), [Check::CertifiedProduct]);
    let longer = |bytes: &mut [u8; REPORT_BYTES]| {
        turin(bytes);
        bytes[0x1df] = 1;
    };
    assert!(all(report(longer), 8).contains(&Check::ChipId));
    assert!(all(report(turin), 7).contains(&Check::ChipId));
}

#[test]
fn a_signature_is_of_the_report_by_the_chip() {
    let good = endorsements(vcek(64));
    let mut altered = report(|_| ());
    altered[0x90] ^= 1;
    assert_eq!(failures(&judge(&altered, &good)), [Check::Signature]);
    let mut long = report(|_| ());
    long[0x2a0 + 60] = 1;
    assert_eq!(failures(&judge(&long, &good)), [Check::Signature]);
    let mut tail = report(|_| ());
    tail[0x400] = 1;
    let judgement = judge(&tail, &good);
    assert!(matches!(judgement.outcome(Check::Signature), Some(Outcome::Remark(_))));
}

#[test]
fn a_report_of_version_2_gets_its_product_from_its_root() {
    let old = |bytes: &mut [u8; REPORT_BYTES]| {
        bytes[0] = 2;
        bytes[0x188..0x18b].fill(0);
    };
    let judgement = judge(&report(old), &endorsements(vcek(64)));
    assert_eq!(failures(&judgement), [Check::Version]);
    assert!(judgement.outcome(Check::Product).unwrap().text().contains("Milan"));
    assert_eq!(judgement.outcome(Check::Tcb), Some(&Outcome::Passed));
}

#[test]
fn revoked_authorities_fail_and_other_lists_say_nothing() {
    let good = endorsements(vcek(64));
    let quote = report(|_| ());
    let list = |issuer: &str, signer: u64, serials: &[u8]| {
        RevocationList::from_der(&testing::revocation_list(issuer, &key(signer), serials)).unwrap()
    };
    let of = |list: RevocationList, time| {
        judge_at(&quote, &good, &[list], time)
            .outcome(Check::Revocation)
            .unwrap()
            .clone()
    };
    assert_eq!(of(list("ARK", 1, &[1, 2]), Time::None), Outcome::Passed);
    assert_eq!(of(list("ARK", 1, &[1, 2]), Time::At(FROM)), Outcome::Passed);
    assert!(matches!(of(list("ARK", 1, &[]), Time::Remark(TO)), Outcome::Remark(_)));
    assert!(of(list("ARK", 1, &[22]), Time::None).text().contains("the ASK"));
    assert!(of(list("ARK", 1, &[5, 11]), Time::None).text().contains("the ARK"));
    assert!(of(list("ARK", 1, &[22]), Time::None).is_failed());
    // Signed by another key, or of another issuer.
    assert!(matches!(of(list("ARK", 2, &[22]), Time::None), Outcome::NotDone(_)));
    assert!(matches!(of(list("ASK", 1, &[22]), Time::None), Outcome::NotDone(_)));
    assert!(matches!(
        judge(&quote, &good).outcome(Check::Revocation),
        Some(Outcome::NotDone(_))
    ));
}

#[test]
fn the_newest_of_several_lists_says_until_when_and_one_without_a_date_for_ever() {
    let good = endorsements(vcek(64));
    let list = |until: Option<&str>, serials: &[u8]| {
        let der = testing::revocation_list_until("ARK", &key(1), serials, until);
        RevocationList::from_der(&der).unwrap()
    };
    let of = |lists: &[RevocationList]| {
        let judgement = judge_at(&report(|_| ()), &good, lists, Time::At(FROM + 400 * 86_400));
        judgement.outcome(Check::Revocation).unwrap().clone()
    };
    let (old, new) = (Some("260101000000Z"), Some("270101000000Z"));
    let overdue = |outcome: Outcome, date: &str| matches!(outcome, Outcome::Remark(text) if text.contains(date));
    assert!(overdue(of(&[list(old, &[])]), "2026-01-01"));
    for lists in [[list(old, &[]), list(new, &[])], [list(new, &[]), list(old, &[])]] {
        assert_eq!(of(&lists), Outcome::Passed);
    }
    assert_eq!(of(&[list(old, &[]), list(None, &[])]), Outcome::Passed);
    assert!(of(&[list(None, &[22])]).is_failed());
    // What one list revokes is revoked, whatever the others say.
    for lists in [[list(old, &[22]), list(new, &[])], [list(new, &[]), list(old, &[22])]] {
        assert!(of(&lists).is_failed());
    }
}

#[test]
fn a_root_that_names_another_issuer_did_not_sign_itself() {
    let (ark, ask, chip) = (key(1), key(2), key(3));
    let issued = |subject, issuer, key, signer, extensions| {
        let issued = Issued {
            subject,
            issuer,
            key,
            signer,
            serial: 1,
            extensions,
        };
        pem("CERTIFICATE", &issued.der())
    };
    // Its own key did sign it.
    let text = [
        issued("VCEK", "ASK", &chip, &ask, vcek(64)),
        issued("ASK", "ARK", &ask, &ark, authority(2, 1)),
        issued("ARK", "another", &ark, &ark, authority(1, 1)),
    ];
    let endorsements = Endorsements::read(text.concat().as_bytes(), &Remembered::new());
    assert_eq!(failures(&judge(&report(|_| ()), &endorsements)), [Check::RootSelf]);
}

#[test]
fn endorsements_that_are_too_long_fail_the_count_and_say_so() {
    let endorsements = Endorsements::read(&vec![b'\n'; MAX_BYTES + 1], &Remembered::new());
    let judgement = judge(&report(|_| ()), &endorsements);
    assert_eq!(failures(&judgement), [Check::Count]);
    assert!(judgement.outcome(Check::Count).unwrap().text().contains("65537 bytes"));
}

#[test]
fn all_three_certificates_have_to_be_valid_at_the_time() {
    let good = endorsements(vcek(64));
    let at = |time| {
        judge_at(&report(|_| ()), &good, &[], time)
            .outcome(Check::Validity)
            .unwrap()
            .clone()
    };
    assert_eq!(at(Time::At(FROM)), Outcome::Passed);
    assert_eq!(at(Time::At(TO)), Outcome::Passed);
    for instant in [FROM - 1, TO + 1] {
        let outcome = at(Time::At(instant));
        assert!(outcome.is_failed());
        for name in NAMES {
            assert!(outcome.text().contains(name));
        }
    }
}
