//! `rekindle inspect`: what is in a ledger.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::{Value, json};

use super::Common;
use super::text::{Align, Values, clean, columns, size};
use crate::error::{Error, Result};
use crate::format::TxId;
use crate::format::directory::LedgerFiles;
use crate::recovery::inspect::entries::{self, Range};
use crate::recovery::inspect::{ChunkRow, Listing, SnapshotRow, list};
use crate::recovery::writes::{Keys, Tally};
use crate::report::{Finding, Verdict};
use crate::shown::{Show, json_text, lines};

/// Show what is in a ledger: its files, single entries, the history of a table.
///
/// Without --txid, --seqno or --table: the chunks, and what else lies in the directories. With --txid or --seqno:
/// entries, field by field. With --table: every write to the tables whose names match, in order; --seqno narrows it.
/// Keys and values are decoded. Nothing is verified here: `rekindle verify` does that.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directories of one ledger: the main one first, then read-only ones
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Show the entry of this transaction
    #[arg(long, value_name = "VIEW.SEQNO", conflicts_with_all = ["seqno", "table"])]
    pub txid: Option<TxId>,
    /// Show these entries: 17, 17..30 or 17..
    #[arg(long, value_name = "A[..B]")]
    pub seqno: Option<Range>,
    /// Show every write to tables whose names match this regular expression
    #[arg(long, value_name = "REGEX")]
    pub table: Option<Regex>,
    /// Members' share-encryption keys (PEM), as many as the recovery threshold: shows private maps, too
    #[arg(long, value_name = "PEM", num_args = 1..)]
    pub member_key: Vec<PathBuf>,
    /// Directory of snapshots, to be listed
    #[arg(long, value_name = "DIR")]
    pub snapshots: Vec<PathBuf>,
    /// Read chunks of a recovery that did not open, too
    #[arg(long)]
    pub include_recovery: bool,
    /// Show long values whole
    #[arg(long)]
    pub full: bool,
}

/// Runs the command.
///
/// # Errors
/// If the ledger can't be read, or holds no such entry.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let outcome = show(args, common.json, &mut out).and_then(|code| out.flush().map_err(stdout_error).map(|()| code));
    match outcome {
        // Whoever reads has seen enough.
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => Ok(0),
        outcome => outcome,
    }
}

fn stdout_error(source: std::io::Error) -> Error {
    Error::io("write", Path::new("standard output"))(source)
}

fn show(args: &Args, as_json: bool, out: &mut impl Write) -> Result<u8> {
    let files = LedgerFiles::list(&args.directories, args.include_recovery)?;
    if args.txid.is_none() && args.seqno.is_none() && args.table.is_none() {
        let listing = list(&files, &args.snapshots)?;
        let text = match as_json {
            true => format!("{}\n", serde_json::to_string_pretty(&listing).unwrap_or_default()),
            false => listing_text(&listing, args),
        };
        let text = if as_json { json_text(&text) } else { lines(&text) };
        out.write_all(text.as_bytes()).map_err(stdout_error)?;
        return Ok(u8::from(listing.is_wrong()));
    }
    let range = args.txid.map(|txid| Range {
        from: txid.seqno,
        to: Some(txid.seqno),
    });
    let bounds = entries::bounds(&files, range.or(args.seqno))?;
    let keys = super::keys::open(&files, &args.member_key, &args.snapshots, None)?;
    let keys = keys.as_ref().map(|keys| keys as &dyn Keys);
    let values = Values { full: args.full };
    let mut stream = Stream::new(out, as_json, if args.table.is_some() { "writes" } else { "entries" })?;
    let tally = match &args.table {
        Some(table) => entries::history(&files, bounds, table, keys, |write| {
            stream.push(&write, || write_text(&write, values))
        })?,
        None => entries::entries(&files, bounds, keys, |entry| {
            if let Some(txid) = args.txid {
                entries::check_txid(txid, &entry)?;
            }
            stream.push(&entry, || entry_text(&entry, values))
        })?,
    };
    stream.finish(tally)
}

/// Items as they come: elements of an array in one JSON document, or text.
struct Stream<'a, W: Write> {
    out: &'a mut W,
    json: bool,
    name: &'static str,
    count: u64,
}

impl<'a, W: Write> Stream<'a, W> {
    fn new(out: &'a mut W, json: bool, name: &'static str) -> Result<Self> {
        Ok(Stream {
            out,
            json,
            name,
            count: 0,
        })
    }

    fn push(&mut self, item: &Value, text: impl FnOnce() -> String) -> Result<()> {
        let outcome = match (self.json, self.count) {
            (false, _) => self.out.write_all(lines(&text()).as_bytes()),
            (true, 0) => write!(self.out, "{{\"{}\":[\n{}", self.name, json_text(&item.to_string())),
            (true, _) => write!(self.out, ",\n{}", json_text(&item.to_string())),
        };
        self.count += 1;
        outcome.map_err(stdout_error)
    }

    fn finish(self, tally: Tally) -> Result<u8> {
        let findings = tally.findings.finish();
        let outcome = if self.json {
            let start = if self.count == 0 {
                format!("{{\"{}\":[", self.name)
            } else {
                String::new()
            };
            let locked = tally.private_locked;
            writeln!(
                self.out,
                "{start}\n],\"private_domains_not_read\":{locked},\"findings\":{}}}",
                json_text(&json!(findings).to_string())
            )
        } else if self.count == 0 && findings.is_empty() {
            let left_out = match tally.private_locked {
                0 => String::new(),
                n => format!(" in public maps ({n} entries also have a private part; give --member-key to look there)"),
            };
            writeln!(self.out, "no {}{left_out}", self.name)
        } else {
            self.out.write_all(lines(&findings_text(&findings)).as_bytes())
        };
        outcome.map_err(stdout_error)?;
        Ok(Verdict::of(&findings).exit_code())
    }
}

/// Findings, one a line.
pub fn findings_text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let place = [
            finding.file.clone().map(|file| clean(&file)),
            finding.offset.map(|offset| format!("byte {offset}")),
            finding.seqno.map(|seqno| format!("seqno {seqno}")),
        ];
        let place = place.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let place = if place.is_empty() { place } else { format!("{place}: ") };
        let severity = format!("{:?}", finding.severity).to_lowercase();
        format!(
            "{severity} {}: {place}{}\n",
            finding.code.as_str(),
            clean(&finding.message)
        )
    };
    findings.iter().map(line).collect()
}

fn listing_text(listing: &Listing, args: &Args) -> String {
    let one_directory = args.directories.len() == 1;
    let headings = [
        ("chunk", Align::Left),
        ("first", Align::Right),
        ("last", Align::Right),
        ("entries", Align::Right),
        ("size", Align::Right),
        ("state", Align::Left),
        ("view", Align::Left),
        ("ends with", Align::Left),
        ("remarks", Align::Left),
    ];
    let rows: Vec<_> = listing
        .chunks
        .iter()
        .map(|chunk| chunk_cells(chunk, one_directory))
        .collect();
    let mut text = columns(&headings, &rows);
    text.push_str(&format!(
        "\n{} chunks, {} entries from seqno {} to {}, {}\n",
        listing.chunks.len(),
        listing.entries,
        listing.first_seqno,
        listing.last_seqno,
        size(listing.size_bytes)
    ));
    for spare in &listing.spares {
        text.push_str(&format!(
            "spare: {} holds seqnos {} to {}, which are read from other files\n",
            clean(&spare.file.shown().to_string()),
            spare.first,
            spare.last
        ));
    }
    if let Some(snapshots) = &listing.snapshots {
        text.push('\n');
        text.push_str(&snapshots_text(snapshots));
    }
    if !listing.findings.is_empty() {
        text.push('\n');
        text.push_str(&findings_text(&listing.findings));
    }
    text
}

fn file_cell(file: &Path, name_only: bool) -> String {
    match file.file_name().filter(|_| name_only) {
        Some(name) => Path::new(name).shown().to_string(),
        None => file.shown().to_string(),
    }
}

fn chunk_cells(chunk: &ChunkRow, name_only: bool) -> Vec<String> {
    let state = match (chunk.committed, chunk.complete) {
        (true, true) => "committed",
        (true, false) => "committed, no table",
        (false, true) => "complete",
        (false, false) => "open",
    };
    let view = match chunk.views {
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
        None => "?".to_owned(),
    };
    let mut remarks = Vec::new();
    if chunk.recovery {
        remarks.push("of a recovery that did not open".to_owned());
    }
    if chunk.starts_service {
        remarks.push("a recovered service starts here".to_owned());
    }
    if chunk.read_from != chunk.first {
        remarks.push(format!("read from {} on", chunk.read_from));
    }
    remarks.extend(chunk.fault.clone());
    let ends = match (chunk.ends_with_signature, chunk.ends_chunk) {
        (true, true) => "signature, cut",
        (true, false) => "signature",
        (false, _) => "no signature",
    };
    vec![
        file_cell(&chunk.file, name_only),
        chunk.first.to_string(),
        chunk.last.to_string(),
        chunk.entries.to_string(),
        size(chunk.size_bytes),
        state.to_owned(),
        view,
        ends.to_owned(),
        remarks.join("; "),
    ]
}

fn snapshots_text(snapshots: &[SnapshotRow]) -> String {
    if snapshots.is_empty() {
        return "no snapshots\n".to_owned();
    }
    let headings = [
        ("snapshot", Align::Left),
        ("seqno", Align::Right),
        ("evidence", Align::Right),
        ("size", Align::Right),
        ("private", Align::Right),
        ("state", Align::Left),
        ("receipt", Align::Left),
        ("remarks", Align::Left),
    ];
    let cells = |snapshot: &SnapshotRow| {
        vec![
            file_cell(&snapshot.file, true),
            snapshot.seqno.to_string(),
            snapshot.evidence_seqno.to_string(),
            size(snapshot.size_bytes),
            size(snapshot.private_bytes),
            if snapshot.committed {
                "committed"
            } else {
                "not committed"
            }
            .to_owned(),
            snapshot.receipt.to_owned(),
            snapshot.fault.clone().unwrap_or_default(),
        ]
    };
    columns(&headings, &snapshots.iter().map(cells).collect::<Vec<_>>())
}

fn text_of<'a>(value: &'a Value, field: &str) -> std::borrow::Cow<'a, str> {
    match value.get(field) {
        Some(Value::String(text)) => text.into(),
        None | Some(Value::Null) => "none".into(),
        Some(other) => other.to_string().into(),
    }
}

/// A key on one line; the only key of a table has no name.
fn key_text(write: &Value, values: Values) -> String {
    match write.get("key") {
        None | Some(Value::Null) => "(only key)".to_owned(),
        Some(key) => values.value_line(key),
    }
}

/// One write of a table's history: transaction, table, key, and the value on one line or, with `--full`, below.
fn write_text(write: &Value, values: Values) -> String {
    let head = format!(
        "{:>10}  {}  {}",
        text_of(write, "txid"),
        clean(&text_of(write, "table")),
        key_text(write, values)
    );
    match write.get("value") {
        None => format!("{head}  removed\n"),
        Some(value) if values.full => {
            let mut text = format!("{head} =");
            values.append(&mut text, value, 14);
            text
        }
        Some(value) => format!("{head} = {}\n", values.value_line(value)),
    }
}

fn entry_text(entry: &Value, values: Values) -> String {
    let mut text = format!(
        "{}  {} at byte {}, {} bytes\n",
        text_of(entry, "txid"),
        clean(&text_of(entry, "file")),
        text_of(entry, "offset"),
        text_of(entry, "size_bytes")
    );
    let flags = match entry.get("flag_names").and_then(Value::as_array) {
        Some(names) if !names.is_empty() => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        _ => "none".to_owned(),
    };
    let fields = [
        (
            "seqno, view",
            format!("{}, {}", text_of(entry, "seqno"), text_of(entry, "view")),
        ),
        ("flags", format!("{} ({flags})", text_of(entry, "flags"))),
        (
            "type",
            format!("{} ({})", text_of(entry, "type"), text_of(entry, "type_name")),
        ),
        ("claims digest", text_of(entry, "claims_digest").into_owned()),
        ("evidence digest", text_of(entry, "commit_evidence_digest").into_owned()),
        ("conflict version", text_of(entry, "max_conflict_version").into_owned()),
        ("GCM tag", text_of(entry, "gcm_tag").into_owned()),
        ("GCM IV", text_of(entry, "gcm_iv").into_owned()),
        ("write set digest", text_of(entry, "write_set_digest").into_owned()),
        ("Merkle leaf", text_of(entry, "leaf").into_owned()),
    ];
    for (name, value) in fields {
        text.push_str(&format!("  {name:<18}{value}\n"));
    }
    for domain in ["public", "private"] {
        domain_text(&mut text, domain, entry.get(domain).unwrap_or(&Value::Null), values);
    }
    text.push('\n');
    text
}

fn domain_text(text: &mut String, domain: &str, shown: &Value, values: Values) {
    let maps = match shown {
        Value::Array(maps) if !maps.is_empty() => maps,
        Value::Object(_) => {
            let why = shown
                .get("undecodable")
                .and_then(Value::as_str)
                .map(|why| format!("; {}", clean(why)));
            let bytes = text_of(shown, "encrypted_bytes");
            text.push_str(&format!(
                "  {domain:<18}encrypted, {bytes} bytes{}\n",
                why.unwrap_or_default()
            ));
            return;
        }
        _ => {
            text.push_str(&format!("  {domain:<18}no writes\n"));
            return;
        }
    };
    text.push_str(&format!("  {domain}\n"));
    for map in maps {
        if let Some(why) = map.get("undecodable").and_then(Value::as_str) {
            text.push_str(&format!("    can't be read: {}\n", clean(why)));
            continue;
        }
        text.push_str(&format!("    {}\n", clean(&text_of(map, "table"))));
        for write in map.get("writes").and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!("      {}", key_text(write, values)));
            match write.get("value") {
                Some(value) => {
                    text.push_str(" =");
                    values.append(text, value, 8);
                }
                None => text.push_str(" removed\n"),
            }
        }
    }
}
