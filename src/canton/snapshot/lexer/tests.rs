use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// Builds the value again from the parts.
#[derive(Default)]
struct Rebuild {
    open: Vec<(Value, Option<String>)>,
    key: Option<String>,
    text: Option<Vec<u8>>,
    done: Option<Value>,
}

impl Rebuild {
    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some((Value::Array(items), _)) => items.push(value),
            Some((Value::Object(fields), _)) => drop(fields.insert(self.key.take().unwrap(), value)),
            _ => unreachable!(),
        }
    }
}

impl Sink for Rebuild {
    fn take(&mut self, token: Token<'_>, _: u64) -> Result<(), Fault> {
        match token {
            Token::Open(Container::Object) => self.open.push((Value::Object(Map::new()), self.key.take())),
            Token::Open(Container::Array) => self.open.push((Value::Array(vec![]), self.key.take())),
            Token::Close(_) => {
                let (value, key) = self.open.pop().unwrap();
                self.key = key;
                self.put(value);
            }
            Token::Key(key) => self.key = Some(key.to_owned()),
            Token::TextStart => self.text = Some(vec![]),
            Token::TextPiece(piece) => self.text.as_mut().unwrap().extend_from_slice(piece),
            Token::TextEnd => {
                let text = String::from_utf8(self.text.take().unwrap()).unwrap();
                self.put(Value::String(text));
            }
            // A number beyond what a double holds is JSON, but nothing that serde's values can be.
            Token::Scalar(text) => self.put(serde_json::from_str(text).map_err(|e| Fault::new(0, e.to_string()))?),
        }
        Ok(())
    }
}

fn read(bytes: &[u8], piece: usize) -> Result<Value, Fault> {
    let (mut lexer, mut sink) = (Lexer::default(), Rebuild::default());
    for piece in bytes.chunks(piece.max(1)) {
        lexer.feed(piece, &mut sink)?;
    }
    lexer.finish(&mut sink)?;
    assert_eq!(lexer.offset(), bytes.len() as u64);
    Ok(sink.done.unwrap())
}

#[test]
fn what_serde_refuses_is_refused_in_pieces_of_any_size() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "[1 2]",
        "01",
        "1.",
        "1e",
        "+1",
        "-",
        ".5",
        "1e+",
        "tru",
        "nul",
        "truee",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\\udc00\"",
        "\"\\ud800\\ud800\"",
        "\"a\nb\"",
        "\"\u{1}\"",
        "{} {}",
        "{}x",
        "[}",
        "{]",
        "]",
        "\u{feff}{}",
        "1 2",
        "<html>",
        "'a'",
        "[1,,2]",
        "{,}",
        "{\"a\":}",
        "NaN",
        "\"\\\"",
    ] {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text:?}");
        for piece in [1, 2, 3, 1000] {
            assert!(read(text.as_bytes(), piece).is_err(), "{text:?} in pieces of {piece}");
        }
    }
    for bytes in [
        &b"\"\xff\""[..],
        b"\"\xc3",
        b"\"\xc3\"",
        b"\"\xed\xa0\x80\"",
        b"\xc3\xa4",
    ] {
        for piece in [1, 2, 1000] {
            assert!(read(bytes, piece).is_err(), "{bytes:?}");
        }
    }
}

#[test]
fn bounds_hold_whatever_comes() {
    let deep = "[".repeat(100_000);
    assert!(read(deep.as_bytes(), 4096).unwrap_err().what.contains("nested"));
    let (open, close) = ("[".repeat(64), "]".repeat(64));
    assert!(read(format!("{open}{close}").as_bytes(), 7).is_ok());
    let key = format!("{{\"{}\":1}}", "k".repeat(5000));
    assert!(read(key.as_bytes(), 100).unwrap_err().what.contains("key"));
    assert!(read("1".repeat(100).as_bytes(), 9).unwrap_err().what.contains("number"));
}

#[test]
fn a_fault_says_where_it_is() {
    assert_eq!(read(b"{\"a\":1}\n<", 3).unwrap_err().at, 8);
    assert_eq!(read(b"[\"ab\xff\"]", 1000).unwrap_err().at, 4);
    assert_eq!(read(b"[\"ab\n\"]", 1000).unwrap_err().at, 4);
    assert_eq!(read(b"[1, 0x2]", 1000).unwrap_err().at, 4);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(".{0,5}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// JSON with every character of texts escaped that may be.
fn escaped(value: &Value) -> String {
    let text = serde_json::to_string(value).unwrap();
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii() {
            true => out.push(c),
            false => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04X}"))),
        }
    }
    out
}

proptest! {
    #[test]
    fn what_serde_writes_is_read_in_pieces_of_any_size(value in any_json(), piece in 1usize..20) {
        let plain = serde_json::to_vec(&value).unwrap();
        let again: Value = serde_json::from_slice(&plain).unwrap();
        prop_assert_eq!(read(&plain, piece).unwrap(), again.clone());
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(read(&pretty, piece).unwrap(), again.clone());
        prop_assert_eq!(read(escaped(&value).as_bytes(), piece).unwrap(), again);
    }

    #[test]
    fn a_document_with_any_byte_changed_is_read_or_refused_as_serde_does(
        value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), piece in 1usize..20,
    ) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let ours = read(&bytes, piece);
        if let Ok(theirs) = serde_json::from_slice::<Value>(&bytes) {
            prop_assert_eq!(ours.unwrap(), theirs);
        } else if let Ok(value) = ours {
            // serde_json refuses numbers beyond f64; those are JSON nevertheless.
            prop_assert!(false, "accepted {value}");
        }
    }
}
