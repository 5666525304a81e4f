//! Each table of the store, satisfied and not.

use super::*;

fn policy() -> Policy {
    Policy {
        host_data: [(hex::encode(sha256(b"policy")), "policy".to_owned())].into(),
        measurements: [hex::encode([5; 48])].into(),
        code_ids: [hex::encode([6; 32])].into(),
        virtual_measurements: ["what it says".to_owned()].into(),
        virtual_host_data: ["00".to_owned()].into(),
        ..Policy::default()
    }
}

fn passed(outcomes: [(Check, Outcome); 2]) -> [bool; 2] {
    outcomes.map(|(_, outcome)| outcome == Outcome::Passed)
}

#[test]
fn host_data_is_a_key_whose_value_is_what_it_is_the_digest_of() {
    let host = sha256(b"policy");
    let mut policy = policy();
    assert_eq!(passed(host_data(Some(&policy), &host)), [true, true]);
    policy.host_data.insert(hex::encode(host), "another".into());
    let [known, text] = host_data(Some(&policy), &host);
    assert!(known.1 == Outcome::Passed && text.1.is_failed());
    policy.host_data.insert(hex::encode(host), String::new());
    assert!(matches!(host_data(Some(&policy), &host)[1].1, Outcome::NotDone(_)));
    policy.host_data.clear();
    let [known, text] = host_data(Some(&policy), &host);
    assert!(known.1.is_failed() && matches!(text.1, Outcome::NotDone(_)));
    assert!(
        host_data(None, &host)
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::NotDone(_)))
    );
    assert!(is_policy_of("policy", &host) && !is_policy_of("other", &host));
}

#[test]
fn measurements_and_enclaves_are_known_or_not() {
    let policy = policy();
    assert_eq!(measurement(Some(&policy), &[5; 48]), Outcome::Passed);
    assert!(measurement(Some(&policy), &[6; 48]).is_failed());
    assert!(matches!(measurement(None, &[5; 48]), Outcome::NotDone(_)));
    assert_eq!(code_id(Some(&policy), &[6; 32]), Outcome::Passed);
    assert!(code_id(Some(&policy), &[5; 32]).is_failed());
    assert!(matches!(code_id(None, &[6; 32]), Outcome::NotDone(_)));
    assert_eq!(passed(of_virtual(Some(&policy), "what it says", "00")), [true, true]);
    assert_eq!(passed(of_virtual(Some(&policy), "what else", "00")), [true, false]);
    assert_eq!(passed(of_virtual(Some(&policy), "what it says", "01")), [false, true]);
}

fn statement(svn: u64) -> Statement {
    let mut statement = Statement::read(&[]);
    statement.did = Some("did".into());
    statement.feed = Some("feed".into());
    statement.svn = Some(svn);
    statement
}

#[test]
fn svns_are_numbers_and_what_is_none_in_the_store_satisfies_nobody() {
    let trusting = |json: &[u8]| Policy {
        uvm_roots: [("did".to_owned(), feeds_from_json(json).unwrap())].into(),
        ..Policy::default()
    };
    let with = |lowest: &str, svn| {
        let json = format!(r#"{{"feed":{{"svn":"{lowest}"}},"other":{{"svn":"0"}}}}"#);
        uvm_roots(Some(&trusting(json.as_bytes())), &statement(svn)) == Outcome::Passed
    };
    assert!(with("100", 100) && with("99", 100) && with("0", 0) && with("007", 7));
    assert!(!with("101", 100));
    for lowest in ["", "+1", "abc", "-1", "1.0", " 1", "99999999999999999999999"] {
        assert!(!with(lowest, u64::MAX), "{lowest}");
    }
    assert!(matches!(uvm_roots(None, &statement(1)), Outcome::NotDone(_)));
    assert!(matches!(
        uvm_roots(Some(&policy()), &Statement::read(&[])),
        Outcome::NotDone(_)
    ));
    for bad in ["", "[]", r#"{"feed":{"svn":1}}"#, r#"{"feed":{}}"#] {
        assert!(feeds_from_json(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn the_row_of_the_processor_is_found_by_what_its_key_means() {
    let mut bytes = [0; super::super::snp::REPORT_BYTES];
    bytes[0] = 3;
    bytes[0x188..0x18b].copy_from_slice(&[0x19, 1, 1]);
    let report = Report::parse(&bytes).unwrap();
    let tcb = Tcb::decode([4, 0, 0, 0, 0, 0, 24, 219], report.product().unwrap());
    let with_rows = |rows: &[(&str, &TcbRow)]| {
        let row = |(key, row): &(&str, &TcbRow)| ((*key).to_owned(), (*row).clone());
        let policy = Policy {
            minimum_tcb: rows.iter().map(row).collect(),
            ..Policy::default()
        };
        minimum_tcb(Some(&policy), &report, Some(&tcb))
    };
    let with = |key: &str, row: TcbRow| with_rows(&[(key, &row)]);
    assert_eq!(with("00a00f11", tcb.to_row()), Outcome::Passed);
    // Another type in the bits that say nothing of family, model and stepping.
    assert_eq!(with("00a01f11", tcb.to_row()), Outcome::Passed);
    assert!(with("00a00f12", tcb.to_row()).is_failed());
    assert!(with("no key", tcb.to_row()).is_failed());
    let mut higher = tcb.to_row();
    higher.microcode = Some(220);
    // Rows of other keys that mean the same: the strictest decides, wherever it stands.
    for other in ["00A00F11", "00a00f11", "00a01f11", "f0a00f11"] {
        for lower in ["00A00f11", "00a02f11", "f0a03f11"] {
            let both = with_rows(&[(other, &higher), (lower, &tcb.to_row())]);
            assert!(both.text().contains(other), "{both:?}");
            assert_eq!(
                with_rows(&[(other, &tcb.to_row()), (lower, &tcb.to_row())]),
                Outcome::Passed
            );
        }
    }
    assert_eq!(
        with_rows(&[("00a00f12", &higher), ("00a00f11", &tcb.to_row())]),
        Outcome::Passed
    );
    assert!(with("00a00f11", higher).text().contains("microcode"));
    assert!(matches!(minimum_tcb(None, &report, Some(&tcb)), Outcome::NotDone(_)));
    assert!(matches!(
        minimum_tcb(Some(&policy()), &report, None),
        Outcome::NotDone(_)
    ));
}

#[test]
fn report_data_is_the_digest_of_the_key_and_zeros() {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&sha256(b"key"));
    assert_eq!(report_data(Some(b"key"), &data), Outcome::Passed);
    assert_eq!(report_data(Some(b"key"), &data[..32]), Outcome::Passed);
    assert!(report_data(Some(b"other"), &data).is_failed());
    assert!(report_data(Some(b"key"), &data[..31]).is_failed());
    assert!(report_data(Some(b"key"), &[]).is_failed());
    data[63] = 1;
    assert!(matches!(report_data(Some(b"key"), &data), Outcome::Remark(_)));
    assert!(matches!(report_data(None, &data), Outcome::NotDone(_)));
}

#[test]
fn a_record_repeats_the_measurement_or_is_not_asked() {
    assert_eq!(code_digest(None, &[1]), None);
    assert_eq!(code_digest(Some("0a"), &[10]), Some(Outcome::Passed));
    assert_eq!(code_digest(Some("0A"), &[10]), Some(Outcome::Passed));
    assert!(code_digest(Some("0b"), &[10]).unwrap().is_failed());
}

#[test]
fn what_the_store_has_is_listed_as_far_as_a_person_reads() {
    let of = |count: usize| {
        let known: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        one_of(known.iter(), "thing")
    };
    assert_eq!(of(0), "the store has no thing at all");
    assert_eq!(of(1), "0");
    assert_eq!(of(2), "one of 0, 1");
    assert_eq!(of(4), "one of 4 that the store has");
}
