//! What is carried, what is refused, and what is mended.

use super::*;
use serde_json::json;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

#[test]
fn what_others_chose_is_carried_word_for_word_however_deep_and_odd() {
    let odd = [
        nested(200_000),
        r#""\ud800 and \udc00""#.to_owned(),
        "1e999999".to_owned(),
        "-123456789012345678901234567890.5".to_owned(),
        r#"{"a": 1, "a": {"\udfff": [ ]}}"#.to_owned(),
    ];
    for odd in odd {
        let text = format!(r#"{{"status":"x","data":{odd},"after":1}}"#);
        let mut fields: Fields = serde_json::from_str(&text).unwrap();
        assert_eq!(fields.get("data").unwrap().text(), odd);
        assert_eq!(fields.read::<String>("status").unwrap(), "x");
        fields.set("status", &"y");
        let expected = format!(r#"{{"after":1,"data":{odd},"status":"y"}}"#);
        assert!(fields.to_json() == expected.as_bytes(), "{}", &odd[..10.min(odd.len())]);
        #[derive(Serialize)]
        struct Answer {
            data: Option<Opaque>,
            none: Option<Opaque>,
            z: u64,
        }
        let answer = |data| Answer { data, none: None, z: 1 };
        let data = fields.get("data").cloned();
        let answers = Json::of(&[Json::of(&answer(data)), Json::of(&answer(None))]);
        let expected = format!(r#"[{{"data":{odd},"none":null,"z":1}},{{"data":null,"none":null,"z":1}}]"#);
        assert!(answers.to_json() == expected.as_bytes());
    }
}

#[test]
fn of_a_name_that_occurs_twice_the_last_counts_and_a_name_that_is_no_text_is_kept() {
    let fields: Fields = serde_json::from_str(r#"{"b":1,"\ud800":2,"b":3,"a":null}"#).unwrap();
    assert_eq!(fields.read::<u64>("b"), Some(3));
    assert_eq!(fields.read::<u64>("a"), None);
    assert_eq!(fields.to_json(), br#"{"a":null,"b":3,"\ud800":2}"#);
}

#[test]
fn only_what_every_reader_can_read_may_be_written() {
    assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
    assert!(
        check(nested(MAX_DEPTH + 1).as_bytes())
            .unwrap_err()
            .contains("101 deep")
    );
    for good in [r#""\ud83d\ude00""#, r#""\\ud800""#, r#""[[[[\"[""#, "no JSON"] {
        assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
    }
    for bad in [
        r#""\ud83d""#,
        r#"{"\ude00":1}"#,
        r#""\ud83d\ud83d\ude00""#,
        r#""\uD83Dx""#,
    ] {
        assert!(check(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_document_is_read_although_a_part_of_it_can_not_be() {
    let deep = nested(10_000);
    let text = format!(r#"{{"value":[{{"id":"a","data":{deep}}},{{"id":"\ud800","data":1e999}}]}}"#);
    let read = tolerant(text.as_bytes(), 4).unwrap();
    let expected = json!({"value": [{"id": "a", "data": [null]}, {"id": "\u{fffd}", "data": null}]});
    assert_eq!(read, expected);
    assert!(tolerant(b"{\"a\":", 4).is_err());
    assert!(tolerant(deep.as_bytes(), 0).is_err());
}

#[test]
fn a_text_is_mended_where_it_holds_what_no_text_can() {
    assert_eq!(mended(br#""plain \ud83d\ude00""#), None);
    let halves = mended(br#"["\ud800","\ud83d\ude00\udc00"]"#).unwrap();
    assert_eq!(halves, r#"["\ufffd","\ud83d\ude00\ufffd"]"#);
    assert_eq!(mended(b"\"\xed\xa0\x80\"").unwrap(), "\"\u{fffd}\u{fffd}\u{fffd}\"");
}
