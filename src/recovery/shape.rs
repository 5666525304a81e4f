//! What CCF writes into a signature transaction beside its signature, where nothing but its form can be checked.
//!
//! Every other entry is covered by a later signature; the last signature transaction is covered by none. Its signature
//! covers the root, and with it the seqno, the view and the signer that it must name; what else stands in it is held
//! against what every known version writes there. What even that can't judge is listed in docs/coverage.md.

use crate::crypto::Certificate;
use crate::format::cursor::Cursor;
use crate::format::domain::{EntryType, PublicHeader};
use crate::format::entry::{Entry, FLAG_CHUNK_AFTER};
use crate::tables::values::{Base64, Signature, from_json, to_json};
use crate::tables::{SINGLETON_KEY, names};

/// Fields of a node's signature that a reader can do without, so that a damaged name would hide them.
const OPTIONAL_FIELDS: [&str; 4] = ["cert", "commit_seqno", "commit_view", "hashed_nonce"];

/// Everything in a signature transaction that CCF does not write so.
pub fn complaints(entry: &Entry<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    if entry.flags & !FLAG_CHUNK_AFTER != 0 {
        wrong.push(format!("the flags are {:#04x}, expected 0x00 or 0x01", entry.flags));
    }
    if !entry.private.is_empty() {
        wrong.push(format!(
            "it has {} bytes of private writes, expected none",
            entry.private.len()
        ));
    }
    let mut cursor = Cursor::new(entry.public);
    let Ok(header) = PublicHeader::read(&mut cursor) else {
        return wrong;
    };
    if header.claims_digest.is_some_and(|claims| *claims != [0; 32]) {
        wrong.push("its claims digest is not zero".to_owned());
    }
    // 1.x, which wrote entries of type 0, put a number here.
    if header.max_conflict_version != 0 && header.entry_type != EntryType::WriteSet {
        wrong.push(format!(
            "its max conflict version is {}, expected 0",
            header.max_conflict_version
        ));
    }
    // What can't be read at all was reported when the entry was scanned.
    while !cursor.is_empty() {
        if table(&mut cursor, &mut wrong).is_none() {
            break;
        }
    }
    wrong
}

/// One table's writes: one value under the key of eight zero bytes, nothing read and nothing removed.
fn table(cursor: &mut Cursor<'_>, wrong: &mut Vec<String>) -> Option<()> {
    let name = std::str::from_utf8(cursor.prefixed("map name").ok()?).ok()?;
    for what in ["read version", "number of reads"] {
        let found = cursor.u64_le(what).ok()?;
        if found != 0 {
            wrong.push(format!("the {what} of {name} is {found}, expected 0"));
            return None;
        }
    }
    let writes = cursor.u64_le("number of writes").ok()?;
    for _ in 0..writes {
        let key = cursor.prefixed("key of a write").ok()?;
        let value = cursor.prefixed("value of a write").ok()?;
        if key == SINGLETON_KEY {
            match name {
                names::SIGNATURES => node_signature(value, wrong),
                names::COSE_SIGNATURES => cose_signature(value, wrong),
                _ => {}
            }
        }
    }
    let removes = cursor.u64_le("number of removals").ok()?;
    if removes != 0 {
        wrong.push(format!("it removes {removes} keys of {name}, expected none"));
        return None;
    }
    Some(())
}

fn node_signature(value: &[u8], wrong: &mut Vec<String>) {
    let (Ok(signature), Ok(json)) = (from_json::<Signature>(value), from_json::<serde_json::Value>(value)) else {
        return;
    };
    if to_json(&json) != value {
        wrong.push("the JSON of its node signature is not written as CCF writes it".to_owned());
    }
    let known = to_json(&signature);
    let known: serde_json::Value = from_json(&known).unwrap_or_default();
    for (name, found) in json.as_object().into_iter().flatten() {
        match known.get(name) {
            Some(expected) if expected != found => {
                wrong.push(format!("{name} of its node signature is not written as CCF writes it"))
            }
            Some(_) => {}
            // A later version may add a field; it would hardly drop one of the same length.
            None => {
                let renamed = OPTIONAL_FIELDS
                    .iter()
                    .find(|field| field.len() == name.len() && json.get(**field).is_none());
                if let Some(field) = renamed {
                    wrong.push(format!("its node signature has a field {name:?}, expected {field:?}"));
                }
            }
        }
    }
    if signature.hashed_nonce.0 != [0; 32] {
        wrong.push("the hashed nonce of its node signature is not zero".to_owned());
    }
    if (signature.commit_seqno == 0) != (signature.commit_view == 0) || signature.commit_seqno >= signature.seqno {
        wrong.push(format!(
            "its node signature says {}.{} was committed before it",
            signature.commit_view, signature.commit_seqno
        ));
    }
    if let Some(pem) = &signature.cert
        && Certificate::from_pem(pem)
            .is_ok_and(|certificate| certificate.to_pem().trim_end() != pem.trim_end_matches(['\n', '\0']))
    {
        wrong.push("the certificate in its node signature is not written as CCF writes it".to_owned());
    }
}

fn cose_signature(value: &[u8], wrong: &mut Vec<String>) {
    if from_json::<Base64>(value).is_ok_and(|bytes| to_json(&bytes) != value) {
        wrong.push("the JSON of its COSE signature is not written as CCF writes it".to_owned());
    }
}
