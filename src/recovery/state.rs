//! What a ledger holds, as lines of JSON: the live state at a seqno, or every write in order.
//!
//! The state is built newest first, so that only the last write of each key is ever kept: memory follows what is
//! alive. The history is streamed. A line: `{"seqno","table","private","key","value"}`, key and value as text where
//! they are text, else `{"base64": …}`; the value of a removal (only in a history) is `null`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rayon::prelude::*;
use regex::Regex;
use zeroize::Zeroizing;

use super::loading::{Batch, Loading, newest_first};
use super::segments::{SEGMENT_BYTES, SPARSE_BYTES, Segment};
use super::seqno_set::SeqnoSet;
use super::snapshots;
use super::writes::{Keys, Order, Reader, Tally, gaps, in_groups};
use crate::crypto::aead::AeadKey;
use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::is_public;
use crate::format::map::MappedFile;
use crate::format::names::SnapshotName;
use crate::format::snapshot::{Part, Snapshot, StateEntry, private_parts, private_state};
use crate::kv::base::{Base, Live};
use crate::report::output::Output;
use crate::report::progress::Progress;
use crate::report::{Code, Finding};
use crate::shown::Show;
use crate::tables::describe::as_text;

/// What to export.
#[derive(Clone, Copy)]
pub struct Selection<'k> {
    /// The last seqno that counts.
    pub at: Seqno,
    /// Only tables whose names match.
    pub tables: Option<&'k Regex>,
    /// Keys of private domains; without them these are left out.
    pub keys: Option<&'k dyn Keys>,
    /// Is told how far reading is.
    pub progress: &'k dyn Progress,
    /// The entries that write to public tables, if that is known: no others are read then.
    pub written: Option<&'k SeqnoSet>,
}

impl<'k> Selection<'k> {
    fn reader(&self, from: Seqno) -> Reader<'k> {
        Reader {
            from,
            until: self.at,
            tables: self.tables,
            keys: self.keys,
            only: self.written,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// Lines.
    pub records: u64,
    /// Those of them that come from private maps.
    pub private_records: u64,
    /// What was met while reading.
    pub tally: Tally,
}

/// The live state at a seqno.
pub struct LiveState {
    /// Keys and values.
    pub base: Base,
    /// What was met while reading.
    pub tally: Tally,
}

/// Loads the live state. A snapshot completes a ledger that does not start at 1.
///
/// # Errors
/// If a file can't be read.
pub fn load_state(
    files: &LedgerFiles,
    snapshot: Option<&MappedSnapshot>,
    selection: &Selection<'_>,
) -> Result<LiveState> {
    let loading = Loading::default();
    let mut tally = Tally::default();
    let from = snapshot.map_or(files.first_seqno(), |snapshot| snapshot.seqno.saturating_add(1));
    if from <= selection.at {
        let range = (from, selection.at);
        let reader = selection.reader(from);
        tally.findings = gaps(files, range);
        selection.progress.begin("read", files.size_bytes());
        let read = |segment: &Segment| {
            let mut batch = Batch::default();
            let met = reader.read(segment, |written| {
                batch.take(written.table, written.txid.seqno, written.write, &loading);
            });
            selection.progress.advance(segment.size_bytes, met.entries);
            (batch, met)
        };
        newest_first(files, range, read, |(batch, met)| {
            loading.load(&batch);
            tally.add(met);
        })?;
        selection.progress.end();
    }
    let mut base = loading.into_base();
    match snapshot {
        Some(snapshot) => snapshot.load_into(&mut base, selection, &mut tally)?,
        None if from > 1 => tally.findings.push(
            Finding::new(
                Code::LateStart,
                format!("the ledger starts at seqno {from}: what was written before is not in this state"),
            )
            .seqno(1)
            .next(format!(
                "give the earlier chunks, or with --snapshots a snapshot at seqno {} or later",
                from - 1
            )),
        ),
        None => {}
    }
    base.finish_loading();
    Ok(LiveState { base, tally })
}

/// A mapped snapshot.
pub struct MappedSnapshot {
    map: MappedFile,
    /// Seqno of the state it holds.
    pub seqno: Seqno,
}

impl MappedSnapshot {
    /// Maps a snapshot and reads its header.
    ///
    /// # Errors
    /// If it can't be opened or is none.
    pub fn open(path: &Path) -> Result<MappedSnapshot> {
        let map = MappedFile::open(path).map_err(Error::io("open", path))?;
        let seqno = Snapshot::parse(map.bytes()).map(|snapshot| snapshot.seqno);
        let seqno = seqno.map_err(|why| Error::Unreadable(format!("{} is not a snapshot: {why}", path.shown())))?;
        Ok(MappedSnapshot { map, seqno })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.map.path()
    }

    /// Hands every public key to `each`, with its map's name.
    ///
    /// # Errors
    /// If the snapshot is malformed.
    pub fn public_state(&self, each: impl FnMut(&str, StateEntry<'_>)) -> Result<()> {
        let unreadable = |why: String| Error::Unreadable(format!("{}: {why}", self.path().shown()));
        let snapshot = Snapshot::parse(self.map.bytes()).map_err(|why| unreadable(why.to_string()))?;
        self.check_written(snapshot.entry.public)?;
        snapshot.public_state(each).map_err(|why| unreadable(why.to_string()))
    }

    /// Hands every public map and key to `each`, as they stand in the file.
    ///
    /// # Errors
    /// If the snapshot is malformed.
    pub fn public_parts<'s>(&'s self, each: impl FnMut(Part<'s>)) -> Result<()> {
        let snapshot = self.parsed()?;
        self.check_written(snapshot.entry.public)?;
        snapshot
            .public_parts(each)
            .map_err(|why| self.unreadable(&why.to_string()))
    }

    /// First seqno of each view, from view 1 on; of no more than `max` views.
    ///
    /// # Errors
    /// If the snapshot is malformed, or tells of more.
    pub fn view_history(&self, max: u64) -> Result<Vec<Seqno>> {
        let history: Vec<Seqno> = self.parsed()?.view_history().take(max as usize + 1).collect();
        match history.len() as u64 > max {
            true => Err(self.unreadable(&format!("it tells of more than {max} views"))),
            false => Ok(history),
        }
    }

    /// Whether there is anything encrypted in it.
    ///
    /// # Errors
    /// If the snapshot is malformed.
    pub fn has_private_part(&self) -> Result<bool> {
        Ok(!self.parsed()?.entry.private.is_empty())
    }

    /// Whether the file has become shorter since it was opened: what was read from it can't be relied on.
    pub fn shrank(&self) -> bool {
        self.map.shrank()
    }

    fn parsed(&self) -> Result<Snapshot<'_>> {
        Snapshot::parse(self.map.bytes()).map_err(|why| self.unreadable(&why.to_string()))
    }

    fn unreadable(&self, why: &str) -> Error {
        Error::Unreadable(format!("{}: {why}", self.path().shown()))
    }

    /// Decrypts the private part, which authenticates the public one.
    ///
    /// # Errors
    /// If the key does not fit, or what it opens can't be read.
    pub fn private_plaintext(&self, key: &AeadKey) -> Result<Zeroizing<Vec<u8>>> {
        let unreadable = |why: String| Error::Unreadable(format!("{}: {why}", self.path().shown()));
        let snapshot = Snapshot::parse(self.map.bytes()).map_err(|why| unreadable(why.to_string()))?;
        let entry = &snapshot.entry;
        self.check_written(entry.private)?;
        let mut plaintext = Zeroizing::new(Vec::new());
        key.open(entry.iv_bytes, entry.public, entry.tag, entry.private, &mut plaintext)
            .map_err(|_| {
                unreadable("its private part does not decrypt with the ledger secret of its seqno".to_owned())
            })?;
        private_state(&plaintext, |_, _| ()).map_err(|why| unreadable(format!("private part: {why}")))?;
        Ok(plaintext)
    }

    /// A snapshot is written from its start to its end: a hole in it is nobody's state, however large it says it is.
    fn check_written(&self, part: &[u8]) -> Result<()> {
        match part.len() > SPARSE_BYTES && self.map.is_sparse_in(part) {
            false => Ok(()),
            true => Err(Error::Unreadable(format!(
                "{} is no whole snapshot: part of it was never written to the file; use another snapshot, or none",
                self.path().shown()
            ))),
        }
    }

    fn load_into(&self, base: &mut Base, selection: &Selection<'_>, tally: &mut Tally) -> Result<()> {
        let unreadable = |why: String| Error::Unreadable(format!("{}: {why}", self.path().shown()));
        let snapshot = Snapshot::parse(self.map.bytes()).map_err(|why| unreadable(why.to_string()))?;
        let wanted = |table: &str| selection.tables.is_none_or(|pattern| pattern.is_match(table));
        self.check_written(snapshot.entry.public)?;
        snapshot
            .public_parts(older_parts(base, wanted))
            .map_err(|why| unreadable(why.to_string()))?;
        let entry = &snapshot.entry;
        if entry.private.is_empty() {
            return Ok(());
        }
        tally.private_domains += 1;
        let Some(key) = selection.keys.and_then(|keys| keys.key_at(self.seqno)) else {
            tally.private_locked += 1;
            return Ok(());
        };
        let plaintext = self.private_plaintext(key)?;
        private_parts(&plaintext, older_parts(base, wanted)).map_err(|why| unreadable(format!("private part: {why}")))
    }
}

/// Loads the pieces of a snapshot, which is older than all that was loaded before: of the maps that are `wanted`, what is in
/// them and when they were changed last. An empty map is there, too.
pub fn older_parts<'p>(base: &mut Base, wanted: impl Fn(&str) -> bool) -> impl FnMut(Part<'p>) {
    let mut map = None;
    move |part| match part {
        Part::Map { name, version } => {
            map = wanted(name).then_some(name);
            if map.is_some() {
                base.begin_map(name, version);
            }
        }
        Part::Entry(entry) => {
            // A negative version is a removed key, which 1.x and 2.x keep.
            if let (Some(map), Ok(version)) = (map, Seqno::try_from(entry.version)) {
                base.insert_if_absent(map, entry.key, version, Some(entry.value));
            }
        }
    }
}

/// The snapshot that completes a ledger which does not start at 1: the oldest one that joins on, so that as much as
/// possible is taken from the ledger. `None` if the ledger is complete or there is none.
///
/// # Errors
/// If a directory or the snapshot can't be read.
pub fn completing_snapshot(files: &LedgerFiles, directories: &[PathBuf], at: Seqno) -> Result<Option<MappedSnapshot>> {
    let first = files.first_seqno();
    if first == 1 {
        return Ok(None);
    }
    let usable = |name: SnapshotName| name.committed && name.seqno + 1 >= first && name.seqno <= at;
    let found = snapshots::list(directories)?
        .into_iter()
        .find(|snapshot| usable(snapshot.name));
    found.map(|snapshot| MappedSnapshot::open(&snapshot.path)).transpose()
}

/// Bytes of lines collected before they are written.
const LINES_BYTES: usize = 1 << 16;

/// Writes the state, sorted by table, then by the bytes of the key.
///
/// # Errors
/// Whatever writing answers.
pub fn write_state(state: LiveState, out: &mut Output) -> Result<Exported> {
    let mut exported = Exported {
        tally: state.tally,
        ..Exported::default()
    };
    let mut lines = Vec::with_capacity(2 * LINES_BYTES);
    for (table, _) in state.base.maps() {
        let private = !is_public(table);
        for Live { key, value, version } in state.base.sorted(table) {
            write_line(&mut lines, version, table, private, key, Some(value));
            exported.records += 1;
            exported.private_records += u64::from(private);
            if lines.len() >= LINES_BYTES {
                crate::shown::json(&mut lines);
                out.write(&lines)?;
                lines.clear();
            }
        }
    }
    crate::shown::json(&mut lines);
    out.write(&lines)?;
    Ok(exported)
}

/// Writes every write from the ledger's start to `selection.at`, in order.
///
/// # Errors
/// If a file can't be read, or whatever writing answers.
pub fn write_history(files: &LedgerFiles, selection: &Selection<'_>, out: &mut Output) -> Result<Exported> {
    let range = (files.first_seqno(), selection.at);
    let reader = selection.reader(range.0);
    let mut exported = Exported::default();
    exported.tally.findings = gaps(files, range);
    selection.progress.begin("export", files.size_bytes());
    in_groups(files, range, Order::OldestFirst, |group| {
        let written: Vec<_> = group
            .par_iter()
            .map(|segment| {
                let mut lines = Vec::with_capacity(segment.size_bytes.min(2 * SEGMENT_BYTES) as usize);
                let (mut records, mut private_records) = (0, 0);
                let tally = reader.read(segment, |w| {
                    write_line(&mut lines, w.txid.seqno, w.table, w.private, w.write.key, w.write.value);
                    records += 1;
                    private_records += u64::from(w.private);
                });
                crate::shown::json(&mut lines);
                (lines, records, private_records, tally)
            })
            .collect();
        for ((lines, records, private_records, tally), segment) in written.into_iter().zip(group) {
            selection.progress.advance(segment.size_bytes, tally.entries);
            out.write(&lines)?;
            exported.records += records;
            exported.private_records += private_records;
            exported.tally.add(tally);
        }
        Ok(())
    })?;
    selection.progress.end();
    Ok(exported)
}

/// Appends one line. Nothing in it can fail: it goes to memory.
fn write_line(out: &mut Vec<u8>, seqno: Seqno, table: &str, private: bool, key: &[u8], value: Option<&[u8]>) {
    use std::io::Write;
    let _ = write!(out, "{{\"seqno\":{seqno},\"table\":");
    let _ = serde_json::to_writer(&mut *out, table);
    let _ = write!(out, ",\"private\":{private},\"key\":");
    write_bytes(out, key);
    out.extend_from_slice(b",\"value\":");
    match value {
        Some(value) => write_bytes(out, value),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b"}\n");
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match as_text(bytes) {
        Some(text) => {
            let _ = serde_json::to_writer(out, text);
        }
        None => {
            out.extend_from_slice(b"{\"base64\":\"");
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            let room = out.get_mut(start..).unwrap_or_default();
            let written = STANDARD.encode_slice(bytes, room).unwrap_or(0);
            out.truncate(start + written);
            out.extend_from_slice(b"\"}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_text_as_text_and_other_bytes_as_base64() {
        let mut out = Vec::new();
        write_line(&mut out, 17, "records", true, b"42", Some(b"say \"hello\"\n"));
        write_line(&mut out, 18, "public:a", false, &[0; 8], Some(b"\xff\xfe"));
        write_line(&mut out, 19, "public:a", false, b"", None);
        let expected = [
            r#"{"seqno":17,"table":"records","private":true,"key":"42","value":"say \"hello\"\n"}"#,
            r#"{"seqno":18,"table":"public:a","private":false,"key":{"base64":"AAAAAAAAAAA="},"value":{"base64":"//4="}}"#,
            r#"{"seqno":19,"table":"public:a","private":false,"key":"","value":null}"#,
        ];
        assert_eq!(std::str::from_utf8(&out).unwrap().lines().collect::<Vec<_>>(), expected);
    }
}
