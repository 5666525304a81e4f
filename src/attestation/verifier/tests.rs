//! What is no hardware's word is never attested.

use super::*;
use crate::attestation::judgement::Verdict;
use crate::attestation::testing::{endorsements_under, ids, key, pem, revocation_list};
use crate::attestation::{OwnEvidence, VirtualQuote};

fn judge(evidence: &Evidence, subject: &Subject<'_>, policy: Option<&Policy>) -> Judged {
    Verifier::new(Anchors::built_in()).judge(evidence, subject, policy, Time::None)
}

fn virtual_node(quote: &str) -> Evidence {
    Evidence {
        format: "Insecure_Virtual".into(),
        quote: quote.as_bytes().to_vec(),
        ..Evidence::default()
    }
}

#[test]
fn a_virtual_node_is_unattested_however_well_it_fits() {
    let key = b"a key";
    let quote = VirtualQuote::new(&[7; 32], &sha256(key));
    let evidence = Evidence::from_quote_info(OwnEvidence::from(quote.clone()).info().to_string().as_bytes()).unwrap();
    let policy = Policy {
        virtual_measurements: [crate::attestation::VIRTUAL_MEASUREMENT.to_owned()].into(),
        virtual_host_data: [hex::encode([7; 32])].into(),
        ..Policy::default()
    };
    let digest = hex::encode(crate::attestation::VIRTUAL_MEASUREMENT);
    let subject = Subject {
        public_key_der: Some(key),
        code_digest: Some(&digest),
    };
    let judged = judge(&evidence, &subject, Some(&policy));
    assert_eq!(judged.platform, Platform::Virtual);
    assert_eq!(judged.judgement.verdict(), Verdict::Unattested);
    assert!(judged.judgement.refusal().is_some());
    assert!(matches!(judged.facts, Facts::Virtual { .. }));
    assert!(matches!(
        judged.judgement.outcome(Check::Format),
        Some(Outcome::Remark(_))
    ));
    for check in [
        Check::HostData,
        Check::Measurement,
        Check::ReportData,
        Check::CodeDigest,
    ] {
        assert_eq!(judged.judgement.outcome(check), Some(&Outcome::Passed), "{check}");
    }
    let other = Subject {
        public_key_der: Some(b"another"),
        ..Subject::default()
    };
    let judged = judge(&evidence, &other, Some(&Policy::default()));
    assert_eq!(judged.judgement.verdict(), Verdict::Fails(Check::HostData));
    assert_eq!(judged.judgement.failures().count(), 3);
}

#[test]
fn report_data_of_a_virtual_node_is_32_bytes() {
    let quote = r#"{"host_data":"","measurement":"","report_data":"AAAA"}"#;
    let judged = judge(&virtual_node(quote), &Subject::default(), None);
    assert_eq!(judged.judgement.verdict(), Verdict::Fails(Check::ReportData));
    let judged = judge(&virtual_node("anything else"), &Subject::default(), None);
    assert_eq!(judged.judgement.verdict(), Verdict::Unattested);
    assert!(matches!(judged.facts, Facts::None));
}

#[test]
fn without_a_quote_nothing_is_attested_and_an_unknown_format_fails() {
    let mut evidence = Evidence {
        format: "OE_SGX_v1".into(),
        ..Evidence::default()
    };
    let judged = judge(&evidence, &Subject::default(), None);
    assert_eq!(
        (judged.platform, judged.judgement.verdict()),
        (Platform::None, Verdict::Unattested)
    );
    evidence.format = "Other".into();
    evidence.quote = vec![1];
    let judged = judge(&evidence, &Subject::default(), None);
    assert_eq!(judged.judgement.verdict(), Verdict::Fails(Check::Format));
    assert!(judged.judgement.refusal().is_some());
}

#[test]
fn a_file_that_is_no_revocation_list_is_refused() {
    for file in [
        &b""[..],
        b"text",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert!(Verifier::new(Anchors::built_in()).with_revocation_lists(file).is_err());
    }
}

/// A report of nothing but a version and a processor, with three certificates made here.
fn snp_node() -> Evidence {
    let mut quote = vec![0; snp::REPORT_BYTES];
    quote[0] = 3;
    quote[0x188..0x18b].copy_from_slice(&[0x19, 1, 1]);
    Evidence {
        format: "AMD_SEV_SNP_v1".into(),
        quote,
        endorsements: endorsements_under(&key(1), ids(3, 2)).into_bytes(),
        ..Evidence::default()
    }
}

#[test]
fn revocation_lists_of_a_file_are_looked_into_and_a_file_of_others_is_in_the_way() {
    let with = |file: &[u8]| {
        let verifier = Verifier::new(Anchors::built_in());
        let verifier = verifier.with_revocation_lists(file).unwrap();
        let judged = verifier.judge(&snp_node(), &Subject::default(), None, Time::None);
        judged.judgement.outcome(Check::Revocation).unwrap().clone()
    };
    let of_ark = |serials: &[u8]| revocation_list("ARK", &key(1), serials);
    assert!(with(&of_ark(&[22])).is_failed());
    assert_eq!(with(&of_ark(&[23])), Outcome::Passed);
    let other = pem("X509 CRL", &revocation_list("other", &key(9), &[]));
    assert!(matches!(with(other.as_bytes()), Outcome::NotDone(_)));
    let both = other + &pem("X509 CRL", &of_ark(&[22]));
    assert!(with(both.as_bytes()).is_failed());
}
