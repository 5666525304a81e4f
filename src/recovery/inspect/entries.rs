//! Entries decoded field by field, and the histories of tables.

use rayon::prelude::*;
use regex::Regex;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::format::chunk::Located;
use crate::format::directory::LedgerFiles;
use crate::format::domain::{EntryType, Maps, Write};
use crate::format::entry::{FLAG_CHUNK_AFTER, FLAG_CHUNK_BEFORE};
use crate::format::{Malformed, Seqno, TxId};
use crate::recovery::segments::Segment;
use crate::recovery::writes::{
    Keys, Order, Private, Reader, Tally, gaps, in_groups, never_written, txid, undecryptable,
};
use crate::shown::Show;
use crate::tables::codec::{describe_key, describe_value};

/// Seqnos from the first to the last one that are asked for; `None` as the last one is the ledger's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First seqno.
    pub from: Seqno,
    /// Last seqno.
    pub to: Option<Seqno>,
}

impl std::str::FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Range, String> {
        let number = |text: &str| {
            let number = text.parse::<Seqno>().ok().filter(|&number| number > 0);
            number.ok_or_else(|| format!("\"{text}\" is not a seqno: expected a number from 1, or A..B, or A.."))
        };
        let range = match text.split_once("..") {
            None => Range {
                from: number(text)?,
                to: Some(number(text)?),
            },
            Some((from, "")) => Range {
                from: number(from)?,
                to: None,
            },
            Some((from, to)) => Range {
                from: number(from)?,
                to: Some(number(to)?),
            },
        };
        match range.to {
            Some(to) if to < range.from => Err(format!(
                "{to} is before {}: expected A..B with A not above B",
                range.from
            )),
            _ => Ok(range),
        }
    }
}

/// The first and last seqno to read, checked against what the ledger holds.
///
/// # Errors
/// A sentence that says what the ledger holds.
pub fn bounds(files: &LedgerFiles, range: Option<Range>) -> Result<(Seqno, Seqno)> {
    let (first, last) = (files.first_seqno(), files.last_seqno());
    let Some(range) = range else {
        return Ok((first, Seqno::MAX));
    };
    let outside = [Some(range.from), range.to]
        .into_iter()
        .flatten()
        .find(|seqno| !(first..=last).contains(seqno));
    match outside {
        Some(seqno) => Err(Error::Usage(format!(
            "there is no seqno {seqno}: the ledger holds seqnos {first} to {last}"
        ))),
        None => Ok((range.from, range.to.unwrap_or(Seqno::MAX))),
    }
}

/// Hands every entry in `range` to `each`, decoded, in order.
///
/// # Errors
/// If a file can't be read, and whatever `each` answers.
pub fn entries(
    files: &LedgerFiles,
    range: (Seqno, Seqno),
    keys: Option<&dyn Keys>,
    each: impl FnMut(Value) -> Result<()>,
) -> Result<Tally> {
    decoded(files, range, None, keys, each, |reader, segment| {
        let mut shown = Vec::new();
        let tally = reader.entries(segment, |located, tally| {
            shown.push(describe_entry(reader, segment, located, tally))
        });
        (shown, tally)
    })
}

/// Hands every write to tables whose names match to `each`, decoded, in order.
///
/// # Errors
/// If a file can't be read, and whatever `each` answers.
pub fn history(
    files: &LedgerFiles,
    range: (Seqno, Seqno),
    tables: &Regex,
    keys: Option<&dyn Keys>,
    each: impl FnMut(Value) -> Result<()>,
) -> Result<Tally> {
    decoded(files, range, Some(tables), keys, each, |reader, segment| {
        let mut shown = Vec::new();
        let tally = reader.read(segment, |written| {
            let mut fields = Map::new();
            fields.insert("txid".to_owned(), json!(written.txid));
            fields.insert("seqno".to_owned(), json!(written.txid.seqno));
            fields.insert("table".to_owned(), Value::from(written.table));
            fields.insert("private".to_owned(), Value::from(written.private));
            add_write(&mut fields, written.table, written.write);
            shown.push(Value::Object(fields));
        });
        (shown, tally)
    })
}

/// The same for both: a parallel pass whose results are handed out in order.
fn decoded<'k>(
    files: &LedgerFiles,
    range: (Seqno, Seqno),
    tables: Option<&'k Regex>,
    keys: Option<&'k dyn Keys>,
    mut each: impl FnMut(Value) -> Result<()>,
    decode: impl Fn(&Reader<'k>, &Segment) -> (Vec<Value>, Tally) + Sync,
) -> Result<Tally> {
    let reader = Reader {
        from: range.0,
        until: range.1,
        tables,
        keys,
        only: None,
    };
    let mut all = Tally {
        findings: gaps(files, range),
        ..Tally::default()
    };
    in_groups(files, range, Order::OldestFirst, |group| {
        let decoded: Vec<_> = group.par_iter().map(|segment| decode(&reader, segment)).collect();
        for (shown, tally) in decoded {
            all.add(tally);
            shown.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    })?;
    Ok(all)
}

/// Holds the view of an entry against the one that was asked for.
///
/// # Errors
/// A sentence that says what is there.
pub fn check_txid(asked: TxId, found: &Value) -> Result<()> {
    let found = found.get("txid").and_then(Value::as_str).unwrap_or_default();
    match found == asked.to_string() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "there is no transaction {asked}: seqno {} of this ledger is {found}, written in another view",
            asked.seqno
        ))),
    }
}

fn describe_entry(reader: &Reader<'_>, segment: &Segment, located: &Located<'_>, tally: &mut Tally) -> Value {
    let (entry, public) = (&located.entry, &located.public);
    let iv = entry.iv();
    let flags = [
        (FLAG_CHUNK_AFTER, "chunk ends after this"),
        (FLAG_CHUNK_BEFORE, "chunk starts before this"),
    ];
    let flags: Vec<&str> = flags
        .iter()
        .filter(|(bit, _)| entry.flags & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    let mut shown = json!({
        "txid": txid(located),
        "seqno": located.seqno,
        "view": iv.view,
        "file": segment.chunk.map.path().shown().to_string(),
        "offset": located.offset,
        "size_bytes": entry.raw.len(),
        "flags": entry.flags,
        "flag_names": flags,
        "type": public.entry_type as u8,
        "type_name": type_name(public.entry_type),
        "claims_digest": public.claims_digest.map(hex::encode),
        "commit_evidence_digest": public.commit_evidence_digest.map(hex::encode),
        "max_conflict_version": public.max_conflict_version,
        "gcm_tag": hex::encode(entry.tag),
        "gcm_iv": hex::encode(entry.iv_bytes),
        "write_set_digest": hex::encode(entry.write_set_digest()),
        "leaf": hex::encode(entry.leaf(public)),
        "public": describe_maps(located.maps(), |part| segment.is_sparse_in(part)),
    });
    let mut plaintext = zeroize::Zeroizing::new(Vec::new());
    let private = match reader.open_private(segment, located, &mut plaintext) {
        Private::None => Value::Null,
        Private::Locked => {
            tally.private_locked += 1;
            json!({ "encrypted_bytes": entry.private.len() })
        }
        Private::Opened => describe_maps(Maps::private(&plaintext), |_| false),
        outcome @ (Private::Failed | Private::Sparse) => {
            let finding = match outcome {
                Private::Sparse => never_written("the private domain", segment, located),
                _ => undecryptable(segment, located),
            };
            let shown = json!({ "encrypted_bytes": entry.private.len(), "undecodable": finding.message });
            tally.findings.push(finding);
            shown
        }
    };
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("private".to_owned(), private);
    }
    shown
}

fn type_name(entry_type: EntryType) -> &'static str {
    match entry_type {
        EntryType::WriteSet => "write set",
        EntryType::Snapshot => "snapshot",
        EntryType::WriteSetWithClaims => "write set with claims",
        EntryType::WriteSetWithCommitEvidence => "write set with commit evidence",
        EntryType::WriteSetWithCommitEvidenceAndClaims => "write set with commit evidence and claims",
    }
}

/// The maps of a domain: `[{"table", "writes": [{"key", "value"} | {"key", "removed"}]}]`.
/// What `is_sparse` is not decoded.
fn describe_maps(mut maps: Maps<'_>, is_sparse: impl Fn(&[u8]) -> bool) -> Value {
    let mut shown = Vec::new();
    let mut read = || -> std::result::Result<(), Malformed> {
        while let Some(table) = maps.next_name()? {
            let mut writes = Vec::new();
            let outcome = maps.writes(|write| {
                let mut fields = Map::new();
                let value = write.value.unwrap_or_default();
                match is_sparse(write.key) || is_sparse(value) {
                    true => {
                        let why = "part of it was never written to the file";
                        fields.insert("undecodable".to_owned(), Value::from(why));
                        fields.insert("value_bytes".to_owned(), Value::from(value.len()));
                    }
                    false => add_write(&mut fields, table, write),
                }
                writes.push(Value::Object(fields));
            });
            shown.push(json!({ "table": table, "writes": writes }));
            outcome?;
        }
        Ok(())
    };
    if let Err(why) = read() {
        shown.push(json!({ "undecodable": why.to_string() }));
    }
    Value::Array(shown)
}

fn add_write(fields: &mut Map<String, Value>, table: &str, write: Write<'_>) {
    fields.insert("key".to_owned(), describe_key(table, write.key));
    match write.value {
        Some(value) => {
            fields.insert("value".to_owned(), describe_value(table, value));
            fields.insert("value_bytes".to_owned(), Value::from(value.len()));
        }
        None => {
            fields.insert("removed".to_owned(), Value::Bool(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_people_write_them() {
        let range = |from, to| Ok(Range { from, to });
        assert_eq!("7".parse::<Range>(), range(7, Some(7)));
        assert_eq!("7..9".parse::<Range>(), range(7, Some(9)));
        assert_eq!("7..".parse::<Range>(), range(7, None));
        for wrong in ["", "0", "x", "9..7", "..", "1..x", "-1"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
