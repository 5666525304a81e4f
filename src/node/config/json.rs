//! JSON as the configuration needs it: objects keep every key, in order, so that one given twice is noticed.
//!
//! Nesting is bounded by `serde_json` (128 levels); memory is a small multiple of the text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Characters of a value that an error shows.
const SHOWN_CHARS: usize = 60;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Fraction(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value as JSON text, cut where it is long: what an error says was found.
    pub(super) fn shortened(&self) -> String {
        let mut text = String::new();
        self.append(&mut text);
        if text.chars().count() > SHOWN_CHARS {
            text = text.chars().take(SHOWN_CHARS).chain(['…']).collect();
        }
        text
    }

    /// Appends JSON text, until there is more than will be shown.
    fn append(&self, text: &mut String) {
        if text.len() > 4 * SHOWN_CHARS {
            return;
        }
        match self {
            Json::Null => text.push_str("null"),
            Json::Bool(value) => text.push_str(&value.to_string()),
            Json::Unsigned(value) => text.push_str(&value.to_string()),
            Json::Negative(value) => text.push_str(&value.to_string()),
            Json::Fraction(value) => text.push_str(&value.to_string()),
            Json::Text(value) => quoted(value, text),
            Json::Array(values) => {
                text.push('[');
                for (i, value) in values.iter().take(SHOWN_CHARS).enumerate() {
                    text.push_str(if i == 0 { "" } else { "," });
                    value.append(text);
                }
                text.push(']');
            }
            Json::Object(fields) => {
                text.push('{');
                for (i, (name, value)) in fields.iter().take(SHOWN_CHARS).enumerate() {
                    text.push_str(if i == 0 { "" } else { "," });
                    quoted(name, text);
                    text.push(':');
                    value.append(text);
                }
                text.push('}');
            }
        }
    }
}

/// A string in quotes, without anything that a terminal would act on.
fn quoted(value: &str, text: &mut String) {
    text.push('"');
    text.extend(
        value
            .chars()
            .take(2 * SHOWN_CHARS)
            .map(|c| if c.is_control() { '\u{fffd}' } else { c }),
    );
    text.push('"');
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = Json;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Unsigned(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(u64::try_from(value).map_or(Json::Negative(value), Json::Unsigned))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Fraction(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = sequence.next_element()? {
                    values.push(value);
                }
                Ok(Json::Array(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Json::Object(fields))
            }
        }

        deserializer.deserialize_any(Values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_keeps_a_key_that_is_given_twice() {
        let json: Json = serde_json::from_str(r#"{"a": 1, "a": -2, "b": [null, true, 0.5, "x"]}"#).unwrap();
        let Json::Object(fields) = &json else { panic!() };
        assert_eq!(fields.len(), 3);
        assert_eq!(fields[1], ("a".to_owned(), Json::Negative(-2)));
        assert_eq!(json.shortened(), r#"{"a":1,"a":-2,"b":[null,true,0.5,"x"]}"#);
    }

    #[test]
    fn a_long_value_is_cut_and_has_no_control_characters() {
        let text = Json::Text(format!("\u{1b}[31m{}", "x".repeat(1_000_000))).shortened();
        assert_eq!(text.chars().count(), SHOWN_CHARS + 1);
        assert!(text.ends_with('…') && !text.contains('\u{1b}'));
    }
}
