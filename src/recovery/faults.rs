//! What the layers below found wrong with structure and directories, in the words of findings.

use std::path::Path;

use crate::format::Seqno;
use crate::format::chunk::Fault;
use crate::format::directory::Note;
use crate::format::names::ChunkKind;
use crate::recovery::segments::OpenChunk;
use crate::report::{Code, Finding};

/// A structure fault: what kind of finding it is, at which offset and seqno, in words.
pub(super) struct Described {
    pub code: Code,
    pub offset: u64,
    pub seqno: Seqno,
    pub text: String,
}

/// Describes a fault in `chunk`, which is the ledger's last one or not: only an open chunk at the end may be torn.
pub(super) fn describe(fault: &Fault, chunk: &OpenChunk, is_last: bool) -> Described {
    let (code, offset, seqno, text) = match fault {
        Fault::Position {
            seqno,
            offset,
            found,
            expected,
        } => (
            Code::Position,
            offset,
            seqno,
            format!("the positions table says byte {found}, the entry stands at {expected}"),
        ),
        Fault::Size {
            seqno,
            offset,
            found,
            expected,
        } => (
            Code::EntrySize,
            offset,
            seqno,
            format!("the entry's header says {found} bytes, it fills {expected}"),
        ),
        Fault::Lost { from, to, offset, why } => {
            let last = to.saturating_sub(1);
            let range = if last == *from {
                format!("entry {from}")
            } else {
                format!("entries {from} to {last}")
            };
            (
                Code::EntriesLost,
                offset,
                from,
                format!("{range} can't be read: {}", why.what),
            )
        }
        Fault::Writes { seqno, offset, why } => (
            Code::Writes,
            offset,
            seqno,
            format!("the public writes can't be read: {}", why.what),
        ),
        Fault::End { seqno, offset, why } => {
            let open = chunk.file.name.kind != ChunkKind::Committed && chunk.layout.table_len.is_none();
            let code = if is_last && open {
                Code::TornTail
            } else {
                Code::EntriesLost
            };
            let rest = chunk.layout.entries_end.saturating_sub(*offset);
            let text = format!(
                "entry {seqno} can't be read, nor the {rest} bytes from there on: {}",
                why.what
            );
            (code, offset, seqno, text)
        }
    };
    Described {
        code,
        offset: *offset,
        seqno: *seqno,
        text,
    }
}

/// What is said of a note about a ledger's directories.
pub(super) fn of_note(note: &Note) -> Finding {
    let at = |code: Code, path: &Path, text: &str| Finding::new(code, text).file(path);
    match note {
        Note::SetAside(path) => at(Code::SetAside, path, "set aside by CCF; not read"),
        Note::UnfinishedRecovery(path) => at(
            Code::UnfinishedRecovery,
            path,
            "left by a recovery that did not open its service; not read",
        ),
        Note::UnreadableName(path) => {
            let text = "named almost like a chunk, expected ledger_<first>-<last>.committed; not read";
            at(Code::UnreadableName, path, text)
        }
        Note::OpenInReadOnly(path) => {
            let text = "not committed, and only the first directory may hold such chunks; not read";
            at(Code::OpenInReadOnly, path, text)
        }
        Note::NotAFile(path) => at(Code::NotAFile, path, "named like a chunk, but no file; not read"),
        Note::EmptyChunk(path) => at(Code::EmptyChunk, path, "holds no entry"),
        Note::CutChunk { path, seqno } => {
            at(Code::TornTail, path, "cut before the end of its first entry").seqno(*seqno)
        }
        Note::NameDisagrees { path, named, found } => {
            let text = format!("the name says seqno {named} comes first, the first entry is {found}");
            at(Code::NameDisagrees, path, &text)
        }
        Note::Gap { from, to } => Finding::new(Code::Gap, format!("seqnos {from} to {to} are in no file")).seqno(*from),
    }
}
