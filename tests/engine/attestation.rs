//! Attestation, judged over the vectors of ../shared/attestations: what each parses to, whether it verifies, and which check
//! fails first. Found beside the checkout, or through REKINDLE_CCF_ATTESTATIONS. No test here depends on the clock.
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use rekindle::attestation::policy::Feeds;
use rekindle::attestation::uvm::Statement;
use rekindle::attestation::{
    Anchors, Check, Evidence, Facts, Judged, Outcome, Platform, Policy, Product, Subject, TestRoot, Time, Verdict,
    Verifier,
};
use serde_json::Value;

/// 1 October 2026, and long after every certificate.
const IN_2026: u64 = 1_790_812_800;
const IN_2099: u64 = 4_070_908_800;

static VECTORS: LazyLock<Option<(PathBuf, Value)>> = LazyLock::new(|| {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/attestations");
    let root = std::env::var_os("REKINDLE_CCF_ATTESTATIONS").map_or_else(beside, PathBuf::from);
    let Ok(text) = std::fs::read_to_string(root.join("expected.json")) else {
        let required = std::env::var_os("REKINDLE_REQUIRE_CCF_LEDGERS").is_some_and(|value| value == "1");
        assert!(
            !required,
            "REKINDLE_REQUIRE_CCF_LEDGERS=1, but there are no vectors in {}",
            root.display()
        );
        eprintln!("skipped: no attestation vectors in {}", root.display());
        return None;
    };
    Some((root, serde_json::from_str(&text).unwrap()))
});

/// The vectors, or the end of the test with a message.
macro_rules! vectors {
    () => {
        match &*VECTORS {
            Some((root, expected)) => (Vectors(root), expected),
            None => return,
        }
    };
}

struct Vectors<'a>(&'a Path);

impl Vectors<'_> {
    fn read(&self, name: &Value) -> Vec<u8> {
        std::fs::read(self.0.join(name.as_str().unwrap())).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(std::fs::read(self.0.join(name)).unwrap()).unwrap()
    }

    fn snp(&self, report: &Value, endorsements: &Value) -> Evidence {
        Evidence {
            format: "AMD_SEV_SNP_v1".into(),
            quote: self.read(report),
            endorsements: if endorsements.is_null() {
                Vec::new()
            } else {
                self.read(endorsements)
            },
            ..Evidence::default()
        }
    }
}

fn judge_with(anchors: Anchors, evidence: &Evidence) -> Judged {
    Verifier::new(anchors).judge(evidence, &Subject::default(), None, Time::None)
}

fn judge(evidence: &Evidence) -> Judged {
    judge_with(Anchors::built_in(), evidence)
}

/// The first check that failed, by its name, and CCF's words.
fn failing(judged: &Judged) -> (Option<&'static str>, String) {
    match judged.judgement.first_failure() {
        Some((check, failure)) => (Some(check.as_str()), failure.text.clone()),
        None => (None, String::new()),
    }
}

#[track_caller]
fn assert_fails_as(judged: &Judged, expected: &Value) {
    let (check, text) = failing(judged);
    assert_eq!(check, expected["failing_check"].as_str(), "{:?}", judged.judgement);
    if let Some(error) = expected["error"].as_str() {
        assert!(text.starts_with(error), "{text:?} does not begin with {error:?}");
    }
    let holds = judged.judgement.verdict() == Verdict::Holds;
    assert_eq!(holds, expected["failing_check"].is_null(), "{:?}", judged.judgement);
}

#[test]
fn every_real_report_has_the_verdict_that_it_must_have() {
    let (vectors, expected) = vectors!();
    let verifier = Verifier::new(Anchors::built_in());
    for (name, vector) in expected["snp"].as_object().unwrap() {
        let evidence = vectors.snp(&vector["report"], &vector["endorsements"]);
        for _ in 0..2 {
            let judged = verifier.judge(&evidence, &Subject::default(), None, Time::None);
            println!("{name}");
            assert_fails_as(&judged, vector);
            assert_eq!(judged.platform, Platform::Snp);
            if vector["verify"] == "ok" {
                let refused = judged.judgement.outcome(Check::TcbExact);
                assert_eq!(refused, Some(&Outcome::Passed), "{name}");
                assert_eq!(
                    judged.judgement.outcome(Check::CertifiedProduct),
                    Some(&Outcome::Passed)
                );
            }
        }
    }
}

#[test]
fn every_field_of_a_real_report_is_read_as_it_stands_there() {
    let (vectors, expected) = vectors!();
    let mut seen = 0;
    for (name, vector) in expected["snp"].as_object().unwrap() {
        let parse = &vector["parse"];
        if parse.is_null() {
            continue;
        }
        seen += 1;
        let judged = judge(&vectors.snp(&vector["report"], &vector["endorsements"]));
        let Facts::Snp {
            report, product, tcb, ..
        } = &judged.facts
        else {
            panic!("{name}");
        };
        let number = |path: &str| {
            parse
                .pointer(path)
                .unwrap_or_else(|| panic!("{path}"))
                .as_u64()
                .unwrap()
        };
        let flag = |path: &str| parse.pointer(path).unwrap().as_bool().unwrap();
        let text = |path: &str| parse.pointer(path).unwrap().as_str().unwrap();
        assert_eq!(u64::from(report.version), number("/version"));
        assert_eq!(u64::from(report.guest_svn), number("/guest_svn"));
        assert_eq!(format!("{:016x}", report.policy.0), text("/policy/raw"));
        assert_eq!(u64::from(report.policy.abi_minor()), number("/policy/abi_minor"));
        assert_eq!(u64::from(report.policy.abi_major()), number("/policy/abi_major"));
        assert_eq!(report.policy.smt(), flag("/policy/smt"));
        assert_eq!(report.policy.bit(17), flag("/policy/reserved_bit17"));
        assert_eq!(report.policy.migrate_ma(), flag("/policy/migrate_ma"));
        assert_eq!(report.policy.debug(), flag("/policy/debug"));
        assert_eq!(report.policy.single_socket(), flag("/policy/single_socket"));
        assert_eq!(report.policy.0 >> 21, number("/policy/bits21_and_up"));
        assert_eq!(u64::from(report.vmpl), number("/vmpl"));
        assert_eq!(u64::from(report.signature_algorithm), number("/signature_algo"));
        assert_eq!(format!("{:016x}", report.platform_info), text("/platform_info"));
        assert_eq!(format!("{:08x}", report.key_flags.0), text("/flags/raw"));
        assert_eq!(report.key_flags.author_key(), flag("/flags/author_key_en"));
        assert_eq!(report.key_flags.mask_chip_key(), flag("/flags/mask_chip_key"));
        assert_eq!(u64::from(report.key_flags.signing_key()), number("/flags/signing_key"));
        for (field, path) in [
            (&report.family_id[..], "/family_id"),
            (&report.image_id[..], "/image_id"),
            (&report.report_data[..], "/report_data"),
            (&report.measurement[..], "/measurement"),
            (&report.host_data[..], "/host_data"),
            (&report.id_key_digest[..], "/id_key_digest"),
            (&report.author_key_digest[..], "/author_key_digest"),
            (&report.report_id[..], "/report_id"),
            (&report.report_id_ma[..], "/report_id_ma"),
            (&report.chip_id[..], "/chip_id"),
            (&report.signature_r[..], "/signature/r_le"),
            (&report.signature_s[..], "/signature/s_le"),
        ] {
            assert_eq!(hex::encode(field), text(path), "{name} {path}");
        }
        assert_eq!(report.ends_in_zeros(), flag("/signature/tail_zero"));
        assert_eq!(u64::from(report.cpuid.family), number("/cpuid/family"));
        assert_eq!(u64::from(report.cpuid.model), number("/cpuid/model"));
        assert_eq!(u64::from(report.cpuid.stepping), number("/cpuid/stepping"));
        assert_eq!(product.map(Product::as_str), parse["product"].as_str());
        let firmware = |bytes: [u8; 3]| format!("{}.{}.{}", bytes[0], bytes[1], bytes[2]);
        assert_eq!(firmware(report.current_firmware), text("/current_fw"));
        assert_eq!(firmware(report.committed_firmware), text("/committed_fw"));
        assert_eq!(report.launch_mitigations, parse["launch_mit_vector"].as_u64());
        assert_eq!(report.current_mitigations, parse["current_mit_vector"].as_u64());
        // Where nothing says which product it is, the vectors read it as Milan.
        let layout = product.unwrap_or(Product::Milan);
        for (raw, which) in [
            (report.current_tcb, "current_tcb"),
            (report.reported_tcb, "reported_tcb"),
            (report.committed_tcb, "committed_tcb"),
            (report.launch_tcb, "launch_tcb"),
        ] {
            let decoded = rekindle::attestation::snp::Tcb::decode(raw, layout);
            let as_json: Value = serde_json::from_str(&decoded.to_string()).unwrap();
            assert_eq!(as_json, parse[which], "{name} {which}");
        }
        assert_eq!(tcb.is_some(), product.is_some());
    }
    assert!(seen >= 4);
}

#[test]
fn every_certificate_is_read_as_it_stands_there() {
    let (vectors, expected) = vectors!();
    for (name, vector) in expected["snp"].as_object().unwrap() {
        let Some(certificates) = vector["certificates"].as_array() else {
            continue;
        };
        let judged = judge(&vectors.snp(&vector["report"], &vector["endorsements"]));
        let Facts::Snp {
            endorsements, product, ..
        } = &judged.facts
        else {
            panic!("{name}");
        };
        assert_eq!(endorsements.count, certificates.len());
        for (found, expected) in endorsements.certificates.iter().zip(certificates) {
            let found = found.as_ref().unwrap();
            assert_eq!(
                hex::encode(found.spki_sha256()),
                expected["spki_sha256"].as_str().unwrap()
            );
            assert_eq!(
                hex::encode(found.fingerprint()),
                expected["cert_sha256"].as_str().unwrap()
            );
            assert_eq!(found.subject(), expected["subject"].as_str().unwrap());
            assert_eq!(found.issuer(), expected["issuer"].as_str().unwrap());
            let time = |name: &str| rekindle::crypto::x509::parse_time(expected[name].as_str().unwrap()).unwrap();
            assert_eq!(found.validity().not_before_unix_s, time("not_before"));
            assert_eq!(found.validity().not_after_unix_s, time("not_after"));
        }
        let vcek = endorsements.vcek.as_ref().unwrap();
        let expected = &certificates[0];
        assert_eq!(vcek.product_name.as_deref(), expected["product_name"].as_str());
        assert_eq!(
            vcek.hwid.as_ref().map(hex::encode).as_deref(),
            expected["hwid"].as_str()
        );
        let tcb = vcek.tcb(product.unwrap()).unwrap().unwrap();
        for (component, found) in tcb.components() {
            assert_eq!(
                found.map(u64::from),
                expected["tcb"][component].as_u64(),
                "{name} {component}"
            );
        }
    }
}

#[test]
fn every_mutation_fails_at_its_check() {
    let (vectors, expected) = vectors!();
    for mutation in expected["mutations"].as_array().unwrap() {
        println!("{}", mutation["what"]);
        let of = &expected["snp"][mutation["of"].as_str().unwrap()];
        let mut evidence = vectors.snp(&of["report"], &of["endorsements"]);
        if let Some(length) = mutation["truncate"].as_u64() {
            evidence.quote.truncate(length as usize);
        }
        for edit in mutation["report_edits"].as_array().into_iter().flatten() {
            let at = edit[0].as_u64().unwrap() as usize;
            let bytes = hex::decode(edit[1].as_str().unwrap()).unwrap();
            evidence.quote[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        if let Some(order) = mutation["endorsements"].as_str() {
            let text = String::from_utf8(evidence.endorsements).unwrap();
            let end = "-----END CERTIFICATE-----\n";
            let blocks: Vec<&str> = text.split_inclusive(end).collect();
            let block = |name| blocks[["VCEK", "ASK", "ARK"].iter().position(|known| *known == name).unwrap()];
            evidence.endorsements = order.split(' ').map(block).collect::<String>().into_bytes();
        }
        assert_fails_as(&judge(&evidence), mutation);
    }
}

/// The built-in roots and the made one.
fn with_made_root(vectors: &Vectors<'_>) -> Anchors {
    let pem = vectors.text("made/milan/endorsements.pem");
    let root = pem.rsplit("-----BEGIN CERTIFICATE-----").next().unwrap();
    let der = rekindle::crypto::x509::any_certificate_from_pem(&format!("-----BEGIN CERTIFICATE-----{root}")).unwrap();
    let spki = rekindle::crypto::x509::any_certificate_spki(&der).unwrap();
    Anchors::built_in().and_for_tests(TestRoot {
        product: Some(Product::Milan),
        spki_sha256: rekindle::crypto::sha256(spki),
    })
}

#[test]
fn every_made_report_fails_at_its_check_and_nowhere_without_its_root() {
    let (vectors, expected) = vectors!();
    let made = &expected["made"]["milan"];
    for (name, case) in made["cases"].as_object().unwrap() {
        println!("{name}");
        let evidence = vectors.snp(&case["report"], &made["endorsements"]);
        let judged = judge_with(with_made_root(&vectors), &evidence);
        assert_fails_as(&judged, case);
        assert!(
            matches!(judged.judgement.outcome(Check::RootKey), Some(Outcome::Remark(text)) if text.contains("tests"))
        );
        assert_eq!(failing(&judge(&evidence)).0, Some("root_key"));
        let exact = judged.judgement.outcome(Check::TcbExact).unwrap();
        let is_exact = !name.starts_with("tcb_");
        assert_eq!(*exact == Outcome::Passed, is_exact, "{name}");
        let refused = judged.judgement.refusal().map(|(check, _)| check);
        if name == "tcb_higher" {
            // Let in by CCF, by us only talked about.
            assert_eq!(judged.judgement.first_failure(), None);
            assert!(refused.is_some());
        }
    }
}

#[test]
fn the_forged_ask_fails_the_chain_with_every_set_of_roots() {
    let (vectors, expected) = vectors!();
    let forged = &expected["made"]["milan"]["forged_ask"];
    let evidence = vectors.snp(&forged["report"], &forged["endorsements"]);
    for anchors in [Anchors::built_in(), with_made_root(&vectors)] {
        let judged = judge_with(anchors, &evidence);
        assert_fails_as(&judged, forged);
        // The root is AMD's own, which is what made it dangerous, and the report is signed by the VCEK.
        assert_eq!(judged.judgement.outcome(Check::RootKey), Some(&Outcome::Passed));
        assert_eq!(judged.judgement.outcome(Check::Signature), Some(&Outcome::Passed));
    }
}

#[test]
fn time_is_what_the_caller_says_it_is() {
    let (vectors, expected) = vectors!();
    let milan = &expected["snp"]["milan"];
    let evidence = vectors.snp(&milan["report"], &milan["endorsements"]);
    let verifier = Verifier::new(Anchors::built_in());
    let at = |time| {
        let judged = verifier.judge(&evidence, &Subject::default(), None, time);
        let outcome = judged.judgement.outcome(Check::Validity).unwrap().clone();
        (outcome, judged.judgement.verdict())
    };
    assert_eq!(at(Time::At(IN_2026)), (Outcome::Passed, Verdict::Holds));
    assert_eq!(at(Time::At(IN_2099)).1, Verdict::Fails(Check::Validity));
    assert_eq!(at(Time::At(0)).1, Verdict::Fails(Check::Validity));
    let (remark, verdict) = at(Time::Remark(IN_2099));
    assert_eq!(verdict, Verdict::Holds);
    assert!(
        remark.text().contains("the VCEK expired on 2032-01-28T16:22:58Z"),
        "{remark:?}"
    );
    assert!(matches!(at(Time::None), (Outcome::NotDone(_), Verdict::Holds)));
}

#[test]
fn quote_info_of_a_ledger_is_the_vector_that_it_was_made_of() {
    let (vectors, expected) = vectors!();
    let evidence = Evidence::from_quote_info(vectors.text("milan/quote_info.json").as_bytes()).unwrap();
    let milan = &expected["snp"]["milan"];
    assert_eq!(evidence.quote, vectors.read(&milan["report"]));
    assert_eq!(failing(&judge(&evidence)).0, None);
}

#[test]
fn every_uvm_endorsement_is_read_and_holds_although_its_leaf_has_expired() {
    let (vectors, expected) = vectors!();
    for (name, vector) in expected["uvm"].as_object().unwrap() {
        let statement = Statement::read(&vectors.read(&vector["file"]));
        assert!(statement.holds(), "{name}: {:?}", statement.checks());
        assert_eq!(statement.did.as_deref(), vector["iss"].as_str());
        assert_eq!(statement.feed.as_deref(), vector["feed"].as_str());
        assert_eq!(
            statement.svn.map(|svn| svn.to_string()).as_deref(),
            vector["svn"].as_str()
        );
        assert_eq!(statement.measurement.as_deref(), vector["launch_measurement"].as_str());
        let chain = vector["x5chain"].as_array().unwrap();
        assert_eq!(statement.subjects.len(), chain.len());
        for ((subject, validity), expected) in statement.subjects.iter().zip(&statement.validities).zip(chain) {
            assert_eq!(subject, expected["subject"].as_str().unwrap());
            let time = |name: &str| rekindle::crypto::x509::parse_time(expected[name].as_str().unwrap()).unwrap();
            assert_eq!(validity.not_before_unix_s, time("not_before"));
            assert_eq!(validity.not_after_unix_s, time("not_after"));
        }
    }
}

/// A policy with these as the only roots of UVM endorsements.
fn trusting(roots: &[(&str, &str, &str)]) -> Policy {
    let mut policy = Policy::default();
    for (did, feed, svn) in roots {
        let feeds: &mut Feeds = policy.uvm_roots.entry((*did).to_owned()).or_default();
        feeds.insert((*feed).to_owned(), (*svn).to_owned());
    }
    policy
}

/// A node whose report is Milan's, with these UVM endorsements.
fn with_uvm(vectors: &Vectors<'_>, expected: &Value, cose: Vec<u8>) -> Evidence {
    let milan = &expected["snp"]["milan"];
    Evidence {
        uvm_endorsements: Some(cose),
        ..vectors.snp(&milan["report"], &milan["endorsements"])
    }
}

#[test]
fn the_store_trusts_an_issuer_a_feed_and_the_svn_as_a_number() {
    let (vectors, expected) = vectors!();
    let verifier = Verifier::new(Anchors::built_in());
    for case in expected["uvm_policy_cases"].as_array().unwrap() {
        let [name, minimum, result] = [0, 1, 2].map(|at| case[at].as_str().unwrap());
        let vector = &expected["uvm"][name];
        let [did, feed] = ["iss", "feed"].map(|field| vector[field].as_str().unwrap());
        let evidence = with_uvm(&vectors, expected, vectors.read(&vector["file"]));
        let policy = trusting(&[(did, feed, minimum)]);
        let judged = verifier.judge(&evidence, &Subject::default(), Some(&policy), Time::None);
        let outcome = judged.judgement.outcome(Check::UvmRoots).unwrap();
        assert_eq!(
            *outcome == Outcome::Passed,
            result.starts_with("ok"),
            "{case}: {outcome:?}"
        );
        for wrong in [[(did, "other", minimum)], [("did:x509:0:sha256:x", feed, minimum)]] {
            let judged = verifier.judge(&evidence, &Subject::default(), Some(&trusting(&wrong)), Time::None);
            let outcome = judged.judgement.outcome(Check::UvmRoots).unwrap();
            assert!(
                outcome
                    .text()
                    .contains("do not match any of the known UVM roots of trust")
            );
        }
    }
    for root in expected["uvm_default_roots"].as_array().unwrap() {
        let vector = expected["uvm"]
            .as_object()
            .unwrap()
            .values()
            .find(|vector| vector["iss"] == root[0]);
        assert!(vector.is_some(), "{root}");
    }
}

#[test]
fn every_made_uvm_endorsement_fails_with_its_error() {
    let (vectors, expected) = vectors!();
    let made = &expected["made"]["uvm"];
    let verifier = Verifier::new(Anchors::built_in());
    for (name, case) in made
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| !name.starts_with('_'))
    {
        println!("{name}");
        let evidence = with_uvm(&vectors, expected, vectors.read(&case["file"]));
        let did = if name == "did_of_intermediate" {
            &case["iss"]
        } else {
            &made["_did"]
        };
        let policy = trusting(&[(did.as_str().unwrap(), "ContainerPlat-AMD-UVM", "1")]);
        let judged = verifier.judge(&evidence, &Subject::default(), Some(&policy), Time::None);
        let uvm = judged
            .judgement
            .failures()
            .find(|(check, _)| check.as_str().starts_with("uvm_"));
        match case["error"].as_str() {
            None => {
                assert_eq!(uvm, None);
                assert_eq!(judged.judgement.outcome(Check::UvmMeasurement), Some(&Outcome::Passed));
                assert_eq!(judged.judgement.outcome(Check::UvmRoots), Some(&Outcome::Passed));
                let late = verifier.judge(&evidence, &Subject::default(), Some(&policy), Time::At(IN_2099));
                let validity = late.judgement.outcome(Check::UvmValidity).unwrap();
                assert!(
                    validity.text().contains("made leaf expired on 2026-01-01"),
                    "{validity:?}"
                );
                assert!(!validity.is_failed());
            }
            Some(error) => assert!(uvm.unwrap().1.text.starts_with(error), "{uvm:?}"),
        }
        // The same endorsements beside a report of something else.
        let turin = &expected["snp"]["turin"];
        let other = Evidence {
            uvm_endorsements: evidence.uvm_endorsements.clone(),
            ..vectors.snp(&turin["report"], &turin["endorsements"])
        };
        let other = verifier.judge(&other, &Subject::default(), Some(&policy), Time::None);
        if let Some(outcome) = other.judgement.outcome(Check::UvmMeasurement) {
            let text = outcome.text();
            let is_read = !matches!(outcome, Outcome::NotDone(_));
            assert!(
                !is_read || text.starts_with("Launch measurement in UVM endorsements payload"),
                "{text}"
            );
            assert_eq!(outcome.is_failed(), is_read);
        }
        // Whose measurement is endorsed is not asked for among the measurements.
        assert_eq!(judged.judgement.outcome(Check::Measurement), None);
    }
}

#[test]
fn an_sgx_quote_verifies_offline_and_every_field_is_read() {
    let (vectors, expected) = vectors!();
    for (name, vector) in expected["sgx"].as_object().unwrap() {
        let evidence = Evidence {
            format: "OE_SGX_v1".into(),
            quote: vectors.read(&vector["quote"]),
            endorsements: vectors.read(&vector["endorsements"]),
            ..Evidence::default()
        };
        let key = vectors.text("sgx/node_public_key.pem");
        let key = rekindle::crypto::VerifyingKey::from_spki_pem(&key).unwrap();
        let text = |field: &str| vector[field].as_str().unwrap();
        let subject = Subject {
            public_key_der: Some(key.spki_der()),
            code_digest: Some(text("mrenclave")),
        };
        let policy = Policy {
            code_ids: [text("mrenclave").to_owned()].into(),
            ..Policy::default()
        };
        let verifier = Verifier::new(Anchors::built_in());
        let judged = verifier.judge(&evidence, &subject, Some(&policy), Time::None);
        assert_eq!(
            judged.judgement.verdict(),
            Verdict::Holds,
            "{name}: {:?}",
            judged.judgement
        );
        for check in [
            Check::Signature,
            Check::QeReport,
            Check::QeSignature,
            Check::Chain,
            Check::RootKey,
            Check::Claims,
            Check::Collateral,
            Check::TcbStatus,
            Check::Revocation,
            Check::ReportData,
            Check::Measurement,
            Check::CodeDigest,
        ] {
            assert_eq!(judged.judgement.outcome(check), Some(&Outcome::Passed), "{check}");
        }
        let old = judged
            .judgement
            .outcome(Check::CollateralValidity)
            .unwrap()
            .text()
            .into_owned();
        assert!(
            old.contains("2023-03-15T14:01:09Z") && old.contains("2021-05-20T18:27:52Z"),
            "{old}"
        );
        let late = verifier.judge(&evidence, &subject, Some(&policy), Time::At(IN_2026));
        assert!(late.judgement.outcome(Check::CollateralValidity).unwrap().is_failed());
        let Facts::Sgx { quote, .. } = &judged.facts else {
            panic!()
        };
        for (field, name) in [
            (&quote.mrenclave[..], "mrenclave"),
            (&quote.mrsigner[..], "mrsigner"),
            (&quote.cpu_svn[..], "cpu_svn"),
            (&quote.attributes[..], "attributes"),
            (&quote.report_data[..], "report_data"),
            (quote.claimed_report_data.as_deref().unwrap(), "custom_claims_value"),
            (&key.id()[..], "node_id"),
        ] {
            assert_eq!(hex::encode(field), text(name), "{name}");
        }
        assert_eq!(u64::from(quote.product_id), vector["isv_prod_id"].as_u64().unwrap());
        assert_eq!(u64::from(quote.svn), vector["isv_svn"].as_u64().unwrap());
        assert_eq!(quote.is_debug(), vector["debug"].as_bool().unwrap());
    }
}

mod altered;
mod ledgers;
mod many;
mod probes;
