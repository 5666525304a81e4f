//! Evidence with one thing altered: the check that it concerns fails, whatever it is, and nothing panics.

use super::*;

fn sgx(vectors: &Vectors<'_>, expected: &Value) -> Evidence {
    let vector = &expected["sgx"]["sgx"];
    Evidence {
        format: "OE_SGX_v1".into(),
        quote: vectors.read(&vector["quote"]),
        endorsements: vectors.read(&vector["endorsements"]),
        ..Evidence::default()
    }
}

/// The checks that failed.
fn failures(judged: &Judged) -> Vec<Check> {
    judged.judgement.failures().map(|(check, _)| check).collect()
}

#[test]
fn every_byte_that_an_sgx_quote_rests_on_is_covered() {
    let (vectors, expected) = vectors!();
    let good = sgx(&vectors, expected);
    let verifier = Verifier::new(Anchors::built_in());
    let altered = |at: usize| {
        let mut evidence = good.clone();
        evidence.quote[at] ^= 1;
        failures(&verifier.judge(&evidence, &Subject::default(), None, Time::None))
    };
    // MRENCLAVE, signature, attestation key.
    assert_eq!(altered(0x70), [Check::Signature]);
    assert_eq!(altered(440), [Check::Signature]);
    assert_eq!(altered(510), [Check::QeReport, Check::Signature]);
    assert_eq!(altered(0), [Check::Version, Check::Signature]);
    // The debug flag, which is signed.
    let mut debug = good.clone();
    debug.quote[96] ^= 2;
    let judged = verifier.judge(&debug, &Subject::default(), None, Time::None);
    assert_eq!(failures(&judged), [Check::Signature, Check::Debug]);
    // Of the quoting enclave: its signer, its product, its report data, the signature.
    for (at, expected) in [
        (564 + 128, vec![Check::QeSignature, Check::QeIdentity, Check::TcbStatus]),
        (564 + 256, vec![Check::QeSignature, Check::QeIdentity, Check::TcbStatus]),
        // Its attributes, which Intel's document masks.
        (564 + 48, vec![Check::QeSignature, Check::TcbStatus]),
        (564 + 320, vec![Check::QeSignature, Check::QeReport]),
        (564 + 384, vec![Check::QeSignature]),
        (1014, vec![Check::QeReport]),
    ] {
        assert_eq!(altered(at), expected, "{at}");
    }
    let mut qe_debug = good.clone();
    qe_debug.quote[564 + 48] ^= 2;
    let judged = verifier.judge(&qe_debug, &Subject::default(), None, Time::None);
    assert_eq!(
        failures(&judged),
        [Check::QeSignature, Check::QeIdentity, Check::TcbStatus]
    );
    // The claims.
    assert_eq!(altered(good.quote.len() - 1), [Check::Claims]);
    let mut none = good.clone();
    none.quote.truncate(none.quote.len() - 80);
    assert_eq!(
        failures(&verifier.judge(&none, &Subject::default(), None, Time::None)),
        [Check::Claims]
    );
    // Report data after the digest: signed, and no part of the claims.
    assert_eq!(altered(0x170 + 40), [Check::Signature, Check::Claims]);
}

/// The quote with its chain of certificates changed, and the lengths with it.
fn with_chain(quote: &[u8], change: impl Fn(&str) -> String) -> Vec<u8> {
    let at = 436 + 64 + 64 + 384 + 64 + 2 + 32 + 2;
    let length = u32::from_le_bytes(quote[at..at + 4].try_into().unwrap()) as usize;
    let chain = std::str::from_utf8(&quote[at + 4..at + 4 + length]).unwrap();
    let chain = change(chain);
    let section = at + 4 + chain.len() - 436;
    [
        &quote[..432],
        &(section as u32).to_le_bytes(),
        &quote[436..at],
        &(chain.len() as u32).to_le_bytes(),
        chain.as_bytes(),
        &quote[at + 4 + length..],
    ]
    .concat()
}

#[test]
fn the_chain_of_an_sgx_quote_is_three_certificates_to_intels_root() {
    let (vectors, expected) = vectors!();
    let good = sgx(&vectors, expected);
    let verifier = Verifier::new(Anchors::built_in());
    let with = |change: &dyn Fn(&str) -> String| {
        let evidence = Evidence {
            quote: with_chain(&good.quote, change),
            ..good.clone()
        };
        failures(&verifier.judge(&evidence, &Subject::default(), None, Time::None))
    };
    assert!(with(&|chain| chain.to_owned()).is_empty());
    let block = |chain: &str, at: usize| {
        let end = "-----END CERTIFICATE-----\n";
        chain.split_inclusive(end).nth(at).unwrap().to_owned()
    };
    let order =
        |order: &'static [usize]| move |chain: &str| order.iter().map(|at| block(chain, *at)).collect::<String>();
    assert_eq!(with(&order(&[0, 1])), [Check::Count, Check::RootKey, Check::RootSelf]);
    assert!(with(&order(&[0, 2, 2])).contains(&Check::Chain));
    assert!(with(&order(&[2, 1, 0])).contains(&Check::RootKey));
    assert!(with(&order(&[1, 1, 2])).contains(&Check::QeSignature));
    assert!(with(&order(&[0, 1, 2, 2])).contains(&Check::Count));
    assert!(with(&|_| String::new()).contains(&Check::Count));
}

#[test]
fn altered_collateral_is_not_intels() {
    let (vectors, expected) = vectors!();
    let good = sgx(&vectors, expected);
    let verifier = Verifier::new(Anchors::built_in());
    let with = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut evidence = good.clone();
        let at = evidence
            .endorsements
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let at = at.unwrap();
        evidence.endorsements[at..at + from.len()].copy_from_slice(to.as_bytes());
        let judged = verifier.judge(&evidence, &Subject::default(), None, Time::None);
        (
            failures(&judged),
            judged.judgement.outcome(Check::TcbStatus).unwrap().clone(),
        )
    };
    assert_eq!(
        with("\"tcbEvaluationDataNumber\":10", "\"tcbEvaluationDataNumber\":11").0,
        [Check::Collateral]
    );
    assert_eq!(
        with("\"isvprodid\":1", "\"isvprodid\":2").0,
        [Check::Collateral, Check::TcbStatus]
    );
    assert_eq!(
        with("00606a000000", "00606a000001").0,
        [Check::Collateral, Check::TcbStatus]
    );
    assert_eq!(
        with("\"pceId\":\"0000\"", "\"pceId\":\"0001\"").0,
        [Check::Collateral, Check::TcbStatus]
    );
    let (_, status) = with("\"sgxtcbcomp01svn\":4", "\"sgxtcbcomp01svn\":9");
    assert!(status.text().contains("OutOfDate") && !status.is_failed(), "{status:?}");
    let (_, status) = with(
        "\"pcesvn\":10},\"tcbDate\":\"2020-11-11",
        "\"pcesvn\":99},\"tcbDate\":\"2020-11-11",
    );
    assert!(status.text().contains("OutOfDate"), "{status:?}");
    let (_, status) = with(
        "\"tcbStatus\":\"UpToDate\"},{\"tcb\":{\"isvsvn\":4}",
        "\"tcbStatus\":\"Whatever\"},{\"tcb\":{\"isvsvn\":4}",
    );
    assert!(status.text().contains("quoting enclave Whatever"), "{status:?}");
    // One digit of a revocation list's base64.
    assert_eq!(
        with("MIIKYjCCCggCAQEwCgYIKoZI", "MIIKYjCCCggCAQEwCgYIKoZJ").0,
        [Check::Collateral]
    );
    for end in (1..good.endorsements.len()).step_by(97) {
        let mut evidence = good.clone();
        evidence.endorsements.truncate(end);
        let judged = verifier.judge(&evidence, &Subject::default(), None, Time::None);
        assert_eq!(failures(&judged), [Check::Collateral], "{end}");
    }
}

/// The collateral with the item at `to` replaced by that at `from`, and size and offsets with it.
fn with_item(collateral: &[u8], from: usize, to: usize) -> Vec<u8> {
    let number = |at: usize| u32::from_le_bytes(collateral[at..at + 4].try_into().unwrap()) as usize;
    let content = &collateral[52..];
    let ends = (1..9).map(|item| number(16 + 4 * item)).chain([content.len()]);
    let mut items: Vec<&[u8]> = (0..9)
        .zip(ends)
        .map(|(item, end)| &content[number(16 + 4 * item)..end])
        .collect();
    items[to] = items[from];
    let mut offsets = Vec::new();
    let mut at = 0_u32;
    for item in &items {
        offsets.extend(at.to_le_bytes());
        at += item.len() as u32;
    }
    [
        &collateral[..8],
        &(at + 36).to_le_bytes(),
        &collateral[12..16],
        &offsets,
        &items.concat(),
    ]
    .concat()
}

#[test]
fn intels_list_of_authorities_is_none_of_platforms() {
    let (vectors, expected) = vectors!();
    let good = sgx(&vectors, expected);
    assert_eq!(with_item(&good.endorsements, 3, 3), good.endorsements);
    for (from, to) in [(4, 3), (3, 4)] {
        let evidence = Evidence {
            endorsements: with_item(&good.endorsements, from, to),
            ..good.clone()
        };
        let judged = judge(&evidence);
        assert_eq!(failures(&judged), [Check::Collateral]);
        let revocation = judged.judgement.outcome(Check::Revocation);
        assert!(matches!(revocation, Some(Outcome::NotDone(_))), "{revocation:?}");
    }
}

#[test]
fn what_the_store_and_the_record_say_is_held_against_an_enclave() {
    let (vectors, expected) = vectors!();
    let evidence = sgx(&vectors, expected);
    let mrenclave = expected["sgx"]["sgx"]["mrenclave"].as_str().unwrap();
    let key = rekindle::crypto::VerifyingKey::from_spki_pem(&vectors.text("sgx/node_public_key.pem")).unwrap();
    let verifier = Verifier::new(Anchors::built_in());
    let with = |key: &[u8], code_digest: &str, code_id: &str| {
        let subject = Subject {
            public_key_der: Some(key),
            code_digest: Some(code_digest),
        };
        let policy = Policy {
            code_ids: [code_id.to_owned()].into(),
            ..Policy::default()
        };
        failures(&verifier.judge(&evidence, &subject, Some(&policy), Time::None))
    };
    let other = "00".repeat(32);
    assert_eq!(with(key.spki_der(), mrenclave, mrenclave), []);
    assert_eq!(with(b"another key", mrenclave, mrenclave), [Check::ReportData]);
    assert_eq!(with(key.spki_der(), &other, mrenclave), [Check::CodeDigest]);
    assert_eq!(with(key.spki_der(), mrenclave, &other), [Check::Measurement]);
}

#[test]
fn a_quote_without_collateral_holds_by_itself() {
    let (vectors, expected) = vectors!();
    let evidence = Evidence {
        endorsements: Vec::new(),
        ..sgx(&vectors, expected)
    };
    let judged = judge(&evidence);
    assert_eq!(judged.judgement.verdict(), Verdict::Holds, "{:?}", judged.judgement);
    for check in [Check::Collateral, Check::TcbStatus, Check::Revocation] {
        assert!(
            matches!(judged.judgement.outcome(check), Some(Outcome::NotDone(_))),
            "{check}"
        );
    }
}

#[test]
fn what_the_store_and_the_record_say_is_held_against_the_quote() {
    let (vectors, expected) = vectors!();
    let made = &expected["made"]["milan"];
    let ok = &made["cases"]["ok"];
    let evidence = vectors.snp(&ok["report"], &made["endorsements"]);
    let verifier = Verifier::new(with_made_root(&vectors));
    let parse = &expected["snp"]["milan"]["parse"];
    let [measurement, host_data] = ["measurement", "host_data"].map(|field| parse[field].as_str().unwrap().to_owned());
    let row = || serde_json::from_value(parse["reported_tcb"].clone()).unwrap();
    let good = || Policy {
        host_data: [(host_data.clone(), String::new())].into(),
        measurements: [measurement.clone()].into(),
        minimum_tcb: [("00a00f11".to_owned(), row())].into(),
        ..Policy::default()
    };
    let with = |policy: &Policy| {
        let subject = Subject {
            code_digest: Some(&measurement),
            ..Subject::default()
        };
        failures(&verifier.judge(&evidence, &subject, Some(policy), Time::None))
    };
    assert!(with(&good()).is_empty());
    let changed = |change: &dyn Fn(&mut Policy)| {
        let mut policy = good();
        change(&mut policy);
        with(&policy)
    };
    assert_eq!(changed(&|policy| policy.host_data.clear()), [Check::HostData]);
    let text = |policy: &mut Policy| drop(policy.host_data.insert(host_data.clone(), "package policy".into()));
    assert_eq!(changed(&text), [Check::SecurityPolicy]);
    assert_eq!(changed(&|policy| policy.measurements.clear()), [Check::Measurement]);
    assert_eq!(changed(&|policy| policy.minimum_tcb.clear()), [Check::MinimumTcb]);
    let higher = |policy: &mut Policy| policy.minimum_tcb.get_mut("00a00f11").unwrap().snp = Some(25);
    assert_eq!(changed(&higher), [Check::MinimumTcb]);
    let other = |policy: &mut Policy| {
        policy.minimum_tcb = [("00a00f12".to_owned(), row())].into();
    };
    assert_eq!(changed(&other), [Check::MinimumTcb]);
    // A key that the report is not about, and a record that says something else.
    let subject = Subject {
        public_key_der: Some(b"another key"),
        code_digest: Some("00"),
    };
    let judged = verifier.judge(&evidence, &subject, Some(&good()), Time::None);
    assert_eq!(failures(&judged), [Check::ReportData, Check::CodeDigest]);
}

#[test]
fn the_tcb_beside_an_old_quote_may_stand_in_either_order() {
    let (vectors, expected) = vectors!();
    let milan = &expected["snp"]["milan"];
    let verifier = Verifier::new(Anchors::built_in());
    for (text, holds) in [
        ("db18000000000004", true),
        ("04000000000018db", true),
        ("DB18000000000004", true),
        ("db18000000000005", false),
        ("", false),
    ] {
        let evidence = Evidence {
            endorsed_tcb: Some(text.into()),
            ..vectors.snp(&milan["report"], &milan["endorsements"])
        };
        let judged = verifier.judge(&evidence, &Subject::default(), None, Time::None);
        let expected = if holds { vec![] } else { vec![Check::EndorsedTcb] };
        assert_eq!(failures(&judged), expected, "{text}");
    }
}

#[test]
fn a_version_that_is_newer_than_any_known_is_read_and_remarked_on() {
    let (vectors, expected) = vectors!();
    let turin = &expected["snp"]["turin"];
    let mut evidence = vectors.snp(&turin["report"], &turin["endorsements"]);
    evidence.quote[0] = 6;
    let judged = judge(&evidence);
    assert!(matches!(
        judged.judgement.outcome(Check::Version),
        Some(Outcome::Remark(_))
    ));
    assert_eq!(failures(&judged), [Check::Signature]);
}

#[test]
fn no_report_or_endorsement_makes_it_panic() {
    let (vectors, expected) = vectors!();
    let milan = &expected["snp"]["milan"];
    let uvm = vectors.read(&expected["made"]["uvm"]["es384_ok"]["file"]);
    let good = with_uvm(&vectors, expected, uvm.clone());
    let verifier = Verifier::new(Anchors::built_in());
    let judge = |evidence: &Evidence| {
        let judged = verifier.judge(evidence, &Subject::default(), None, Time::None);
        for (_, outcome) in judged.judgement.checks() {
            assert!(outcome.text().len() < 20_000);
        }
        judged
    };
    for end in (0..good.endorsements.len()).step_by(131) {
        let mut evidence = good.clone();
        evidence.endorsements.truncate(end);
        assert_ne!(judge(&evidence).judgement.verdict(), Verdict::Holds, "{end}");
    }
    for at in (0..uvm.len()).step_by(7) {
        let mut evidence = good.clone();
        let cose = evidence.uvm_endorsements.as_mut().unwrap();
        cose[at] ^= 0x10;
        // Nothing in it is uncovered: headers and payload are signed, certificates are, signatures verify.
        let verdict = judge(&evidence).judgement.verdict();
        assert!(matches!(verdict, Verdict::Fails(_)), "{at}: {verdict:?}");
        evidence.uvm_endorsements = Some(uvm[..at].to_vec());
        assert!(
            matches!(judge(&evidence).judgement.verdict(), Verdict::Fails(_)),
            "{at}"
        );
    }
    for at in 0..0x330 {
        let mut evidence = vectors.snp(&milan["report"], &milan["endorsements"]);
        evidence.quote[at] ^= 1;
        let verdict = judge(&evidence).judgement.verdict();
        assert!(matches!(verdict, Verdict::Fails(_)), "{at:#x}");
    }
}
