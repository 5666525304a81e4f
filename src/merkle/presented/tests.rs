use super::*;

fn refused(text: &str) -> String {
    Presented::parse(text.as_bytes()).err().unwrap().to_string()
}

#[test]
fn only_the_text_that_ccf_writes_is_evidence() {
    let nonce = "0a".repeat(32);
    assert_eq!(
        evidence_of(&format!("ce:2.17:{nonce}")),
        Some(TxId { view: 2, seqno: 17 })
    );
    for wrong in [
        format!("ce:02.17:{nonce}"),
        format!("ce:+2.17:{nonce}"),
        format!("ce:2.17:{}", nonce.to_uppercase()),
        format!("ce:2.17:{nonce}0"),
        format!("ce:2.17{nonce}"),
        format!("2.17:{nonce}"),
        format!("ce:2.17:{nonce} "),
        String::new(),
    ] {
        assert_eq!(evidence_of(&wrong), None, "{wrong}");
    }
}

#[test]
fn the_sides_of_a_path_are_those_of_the_tree() {
    use crate::merkle::Tree;
    for leaves in 1..70 {
        let mut tree = Tree::genesis();
        (1..leaves).for_each(|i: u64| tree.append(sha256(&i.to_le_bytes())));
        for index in 0..leaves {
            let path: Vec<bool> = tree.path(index).unwrap().iter().map(|step| step.left).collect();
            assert_eq!(sides(index, leaves), path, "leaf {index} of {leaves}");
        }
    }
    assert_eq!(sides(u64::MAX - 1, u64::MAX).len(), 63);
}

#[test]
fn what_is_no_receipt_is_refused_with_the_reason() {
    assert!(refused("{").contains("EOF"));
    assert!(refused(&"[".repeat(1 << 19)).contains("receipt can't be read"));
    let deep = format!("{{\"cert\":{}", "{\"a\":".repeat(100_000));
    assert!(refused(&deep).contains("receipt can't be read"));
    assert!(refused(&" ".repeat(2 << 20)).contains("at most 1048576"));
    assert!(refused(r#"{"cert":"","cert":""}"#).contains("duplicate field"));
    // Not member for member, either, in a list.
    for list in [r#"["",[],null,null,"",[],[],""]"#, "\u{feff}{}", "x", " "] {
        assert!(refused(list).contains("begins neither like JSON"), "{list}");
    }
    let with =
        |leaf: &str, proof: &str| format!(r#"{{"cert":"","node_id":"","signature":"",{leaf}"proof":[{proof}]}}"#);
    assert!(refused(&with("", "")).contains("neither"));
    let digest = "00".repeat(32);
    let leaf = format!(r#""leaf":"{digest}","#);
    let both = format!(r#"{leaf}"leaf_components":{{"commit_evidence":"","write_set_digest":"{digest}"}},"#);
    assert!(refused(&with(&both, "")).contains("both"));
    let steps = vec![format!(r#"{{"left":"{digest}"}}"#); 65].join(",");
    assert!(refused(&with(&leaf, &steps)).contains("65 steps"));
    let two = format!(r#"{{"left":"{digest}","right":"{digest}"}}"#);
    assert!(refused(&with(&leaf, &two)).contains("receipt can't be read"));
    assert!(refused(&with(r#""leaf":"00","#, "")).contains("not a digest"));
}

#[test]
fn lists_of_endorsements_are_read_in_each_of_their_forms() {
    let list = vec![vec![0xd2; 100], vec![7; 300], Vec::new()];
    let cbor = write_endorsements(&list);
    assert_eq!(read_endorsements(&cbor).unwrap(), list);
    for end in 0..cbor.len() {
        assert!(read_endorsements(&cbor[..end]).is_err(), "{end}");
    }
    assert!(read_endorsements(&[&cbor[..], &[0]].concat()).is_err());
    // More items than there are bytes, and one longer than memory.
    assert!(read_endorsements(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(read_endorsements(&[0x81, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    assert!(read_endorsements(&write_endorsements(&vec![vec![1]; MAX_ENDORSEMENTS + 1])).is_err());
    let base64: Vec<String> = list.iter().map(|one| STANDARD.encode(one)).collect();
    for name in ["endorsements", "cose_endorsements"] {
        let json = serde_json::json!({ name: base64 }).to_string();
        assert_eq!(read_endorsements(json.as_bytes()).unwrap(), list);
    }
    assert_eq!(read_endorsements(&list[0]).unwrap(), [list[0].clone()]);
}
