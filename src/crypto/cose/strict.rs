//! What a COSE message must not be, whatever it is for: large once it is parsed, or two things at once to two readers.

use ciborium::Value;

use super::{LABEL_ALGORITHM, LABEL_KID, Map, label, malformed};
use crate::crypto::error::Error;

const LABEL_CRITICAL: i64 = 2;
const LABEL_CONTENT_TYPE: i64 = 3;
/// What a message may call critical, because it is understood here (RFC 9052, section 3.1).
const UNDERSTOOD: [i64; 3] = [LABEL_ALGORITHM, LABEL_CONTENT_TYPE, LABEL_KID];
/// A request has a dozen items, a receipt some hundred: every item costs memory once it is parsed, whatever its size.
const MAX_ITEMS: usize = 4096;
/// The length of an item that ends with a break.
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// Walks through the items of `bytes` without keeping them: counts them, and refuses strings in chunks, which CCF does not
/// read either. What is wrong with an item otherwise is for the parser to say.
///
/// # Errors
/// [`Error::MalformedCose`].
pub(super) fn check_items(mut bytes: &[u8]) -> Result<(), Error> {
    let mut items = 0_usize;
    while let [first, rest @ ..] = bytes {
        items += 1;
        if items > MAX_ITEMS {
            return Err(malformed("it has more than 4096 items"));
        }
        bytes = rest;
        if *first == BREAK {
            continue;
        }
        let (major, additional) = (first >> 5, first & 0x1f);
        let width = match additional {
            0..=23 => 0,
            24..=27 => 1 << (additional - 24),
            INDEFINITE if matches!(major, 4 | 5) => 0,
            INDEFINITE if matches!(major, 2 | 3) => return Err(malformed("it has a string in chunks")),
            _ => return Ok(()),
        };
        let Some((argument, after)) = bytes.split_at_checked(width) else {
            return Ok(());
        };
        bytes = after;
        if matches!(major, 2 | 3) {
            let length = match width {
                0 => u64::from(additional),
                _ => argument.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
            };
            let content = usize::try_from(length).ok().and_then(|length| bytes.get(length..));
            let Some(after) = content else { return Ok(()) };
            bytes = after;
        }
    }
    Ok(())
}

/// No label twice, in one header or across both (RFC 9052, section 3), and nothing critical that nobody here understands.
///
/// # Errors
/// [`Error::MalformedCose`].
pub(super) fn check_labels(protected: &Map, unprotected: &Map) -> Result<(), Error> {
    let mut labels: Vec<&Value> = Vec::new();
    for (label, _) in protected.iter().chain(unprotected) {
        if !matches!(label, Value::Integer(_) | Value::Text(_)) {
            return Err(malformed("a label is neither a number nor a text"));
        }
        labels.push(label);
    }
    labels.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    if labels.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(malformed("a label stands in its headers twice"));
    }
    if label(unprotected, LABEL_CRITICAL).is_some() {
        return Err(malformed("what is critical is not protected"));
    }
    let Some(critical) = label(protected, LABEL_CRITICAL) else {
        return Ok(());
    };
    let critical = critical.as_array().filter(|critical| !critical.is_empty());
    let critical = critical.ok_or(malformed("label 2 is not an array of labels"))?;
    let understood = |wanted: &Value| {
        let number = super::integer(wanted);
        number.is_some_and(|number| UNDERSTOOD.contains(&number) && label(protected, number).is_some())
    };
    match critical.iter().all(understood) {
        true => Ok(()),
        false => Err(malformed("it has a critical header that is not understood")),
    }
}
