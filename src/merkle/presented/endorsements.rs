//! Lists of COSE endorsements, newest first, as they lie beside a receipt: a CBOR array of byte strings, as CCF 7 has them
//! beside a snapshot, or JSON with base64, as CCF's sample application answers. Format specification, section 7.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::receipt::ReceiptError;
use super::unreadable;

/// Endorsements that are read at most: one for each recovery.
pub const MAX_ENDORSEMENTS: usize = 1024;
/// Size of all of them: one has some 400 bytes.
const MAX_LIST_BYTES: usize = 4 << 20;

const MAJOR_BYTES: u8 = 2;
const MAJOR_ARRAY: u8 = 4;
/// First byte of a message that stands alone: tag 18.
const TAG: u8 = 0xd2;

#[derive(Deserialize)]
struct Json {
    #[serde(alias = "cose_endorsements")]
    endorsements: Vec<String>,
}

/// Reads a list of either form, or one endorsement alone.
///
/// # Errors
/// [`ReceiptError::Unreadable`].
pub fn read_endorsements(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ReceiptError> {
    let why = |why: String| unreadable(format!("the list of endorsements: {why}"));
    if bytes.len() > MAX_LIST_BYTES {
        return Err(why(format!(
            "it has {} bytes, expected at most {MAX_LIST_BYTES}",
            bytes.len()
        )));
    }
    let found = match bytes.first() {
        None => return Err(why("it is empty".to_owned())),
        Some(&TAG) => vec![bytes.to_vec()],
        Some(first) if first >> 5 == MAJOR_ARRAY => read_cbor(bytes)
            .ok_or_else(|| why("it is not a CBOR array of byte strings, and nothing else".to_owned()))?,
        Some(_) => {
            let json: Json = serde_json::from_slice(bytes).map_err(|error| why(error.to_string()))?;
            let decode = |text: &String| STANDARD.decode(text).map_err(|error| why(error.to_string()));
            json.endorsements.iter().map(decode).collect::<Result<_, _>>()?
        }
    };
    match found.len() {
        0..=MAX_ENDORSEMENTS => Ok(found),
        more => Err(why(format!("it has {more}, expected at most {MAX_ENDORSEMENTS}"))),
    }
}

/// Items of definite length only, as CCF reads them.
fn read_cbor(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, mut rest) = head(bytes, MAJOR_ARRAY)?;
    let mut found = Vec::new();
    // Each turn consumes at least one byte.
    for _ in 0..count {
        let (length, after) = head(rest, MAJOR_BYTES)?;
        let (one, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        found.push(one.to_vec());
        rest = after;
    }
    rest.is_empty().then_some(found)
}

/// The argument of an item of this major type, and what comes after its head.
fn head(bytes: &[u8], major: u8) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if first >> 5 != major {
        return None;
    }
    match first & 0x1f {
        small @ 0..=23 => Some((u64::from(small), rest)),
        wide @ 24..=27 => {
            let (argument, rest) = rest.split_at_checked(1 << (wide - 24))?;
            Some((
                argument.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
                rest,
            ))
        }
        _ => None,
    }
}

/// The CBOR form.
pub fn write_endorsements(endorsements: &[Vec<u8>]) -> Vec<u8> {
    use ciborium::Value;
    let list = Value::Array(endorsements.iter().map(|one| Value::Bytes(one.clone())).collect());
    let mut out = Vec::new();
    // Writing to a Vec can't fail.
    let _ = ciborium::into_writer(&list, &mut out);
    out
}
