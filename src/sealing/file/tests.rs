use super::*;
use crate::sealing::testing::Processor;

const SECRET: [u8; 32] = [0xa5; 32];

fn sealed(previous: Option<Seqno>) -> Vec<u8> {
    let secret = LedgerSecret::from_bytes(SECRET);
    SealedSecret::seal(&secret, 141, previous, &Processor(TcbVersion(7), 1), [9; 12]).unwrap()
}

#[track_caller]
fn refusal(bytes: &[u8], key: &dyn SealingKey) -> Refusal {
    let opened = SealedSecret::parse(bytes).and_then(|sealed| sealed.open(key));
    opened.err().expect("it opens")
}

#[test]
fn what_is_sealed_opens_on_the_same_processor_also_after_an_update() {
    for previous in [None, Some(88)] {
        for processor in [Processor(TcbVersion(7), 1), Processor(TcbVersion(8), 1)] {
            let unsealed = SealedSecret::parse(&sealed(previous))
                .unwrap()
                .open(&processor)
                .unwrap();
            assert_eq!((unsealed.version, unsealed.previous_stored), (141, previous));
            assert!(*unsealed.secret.as_bytes() == SECRET);
        }
    }
}

#[test]
fn another_processor_and_one_whose_firmware_was_rolled_back_do_not_open_it() {
    let tcb = TcbVersion(7);
    let elsewhere = refusal(&sealed(None), &Processor(tcb, 2));
    assert_eq!(elsewhere, Refusal::DoesNotOpen { tcb });
    let rolled_back = refusal(&sealed(None), &Processor(TcbVersion(6), 1));
    let why = "the firmware refuses".to_owned();
    assert_eq!(rolled_back, Refusal::NoKey { tcb, why });
}

#[test]
fn a_file_is_written_in_the_words_of_ccf() {
    let text = String::from_utf8(sealed(None)).unwrap();
    let expected = r#"{"aad_text":"{\"tcb_version\":\"0000000000000007\",\"version\":141}","ciphertext":""#;
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_file_that_was_cut_anywhere_is_refused() {
    let whole = sealed(Some(1));
    let processor = Processor(TcbVersion(7), 1);
    for length in 0..whole.len() {
        assert_eq!(refusal(&whole[..length], &processor), Refusal::Truncated, "{length}");
    }
}

#[test]
fn a_file_with_any_flipped_bit_is_refused() {
    let whole = sealed(None);
    let processor = Processor(TcbVersion(u64::MAX), 1);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            refusal(&bytes, &processor);
        }
    }
}

#[test]
fn what_ccf_leaves_out_is_read_as_its_default_and_the_text_stays_as_it_is() {
    let processor = Processor(TcbVersion(7), 1);
    for aad_text in [
        "",
        "{}",
        r#"{ "version" : 0 }"#,
        r#"{"tcb_version":""}"#,
        r#"{"other":1}"#,
    ] {
        let key = AeadKey::new(&processor.derive(TcbVersion(0)).unwrap());
        let plaintext = format!("{{\"raw_key\":\"{}\"}}", STANDARD.encode(SECRET));
        let mut blob = [[0; 16].as_slice(), &[3; 12]].concat();
        let tag = key
            .seal(&[3; 12], aad_text.as_bytes(), plaintext.as_bytes(), &mut blob)
            .unwrap();
        blob[..16].copy_from_slice(&tag);
        let mut outer = serde_json::json!({"aad_text": aad_text, "ciphertext": STANDARD.encode(blob)});
        if aad_text.is_empty() {
            outer.as_object_mut().unwrap().remove("aad_text");
        }
        let bytes = serde_json::to_vec(&outer).unwrap();
        let unsealed = SealedSecret::parse(&bytes).unwrap().open(&processor).unwrap();
        assert_eq!(unsealed.version, 0, "{aad_text}");
        assert!(*unsealed.secret.as_bytes() == SECRET);
    }
}

#[test]
fn what_opens_and_is_no_secret_is_refused_without_a_word_of_it() {
    let processor = Processor(TcbVersion(7), 1);
    let key = AeadKey::new(&processor.derive(TcbVersion(0)).unwrap());
    for plaintext in [
        "",
        "very secret",
        r#"{"raw_key":"c2VjcmV0"}"#,
        r#"{"raw_key":17}"#,
        &format!("{{\"raw_key\":\"{}\"}}", STANDARD.encode([7; 200])),
    ] {
        let mut blob = [[0; 16].as_slice(), &[3; 12]].concat();
        let tag = key.seal(&[3; 12], b"{}", plaintext.as_bytes(), &mut blob).unwrap();
        blob[..16].copy_from_slice(&tag);
        let outer = serde_json::json!({"aad_text": "{}", "ciphertext": STANDARD.encode(blob)});
        let why = refusal(&serde_json::to_vec(&outer).unwrap(), &processor).to_string();
        assert!(why.contains("something else than a ledger secret"), "{why}");
        assert!(!why.contains("very secret") && !why.contains("c2Vj"), "{why}");
    }
}
