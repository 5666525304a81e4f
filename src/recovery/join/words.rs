//! What is found without a signature's help, in words: about the directories, and about a chunk's structure.

use super::*;

impl Joiner<'_> {
    /// Reports what the directories' listing showed.
    pub fn report_notes(&mut self) {
        for note in &self.files.notes {
            let (code, path, message) = match note {
                Note::SetAside(path) => (Code::SetAside, Some(path), "set aside by CCF, not read".to_owned()),
                Note::UnfinishedRecovery(path) => (Code::UnfinishedRecovery, Some(path), "written by a recovery that did not open, not read".to_owned()),
                Note::UnreadableName(path) => (Code::UnreadableName, Some(path), "the name is not that of a chunk, not read".to_owned()),
                Note::OpenInReadOnly(path) => (Code::OpenInReadOnly, Some(path), "not committed, in a read-only directory, not read".to_owned()),
                Note::NotAFile(path) => (Code::NotAFile, Some(path), "named like a chunk, but no file; not read".to_owned()),
                Note::EmptyChunk(path) => (Code::EmptyChunk, Some(path), "holds no entry".to_owned()),
                Note::CutChunk { path, .. } => (Code::TornTail, Some(path), "cut before the end of its first entry".to_owned()),
                Note::NameDisagrees { path, named, found } => {
                    (Code::NameDisagrees, Some(path), format!("the name says seqno {named} comes first, the first entry is {found}"))
                }
                Note::Gap { from, to } => (Code::Gap, None, format!("seqnos {from} to {to} are in no file")),
            };
            // A gap is reported where the walk meets it, so that what lies before a snapshot does not count.
            if code == Code::Gap {
                continue;
            }
            let mut finding = Finding::new(code, message);
            if let Some(path) = path {
                finding = finding.file(path);
            }
            if let Note::CutChunk { seqno, .. } = note {
                finding = finding.seqno(*seqno);
            }
            self.findings.push(finding);
        }
    }

    pub(super) fn report_fault(&mut self, fault: &Fault, segment: &Segment) {
        let chunk = &segment.chunk;
        let (code, offset, seqno, text) = match fault {
            Fault::Position { seqno, offset, found, expected } => {
                (Code::Position, *offset, *seqno, format!("positions table says {found}, the entry stands at {expected}"))
            }
            Fault::Size { seqno, offset, found, expected } => {
                (Code::EntrySize, *offset, *seqno, format!("the entry's header says {found} bytes, it fills {expected}"))
            }
            Fault::Lost { from, to, offset, why } => {
                let range = if to - from == 1 { format!("entry {from}") } else { format!("entries {from} to {}", to - 1) };
                (Code::EntriesLost, *offset, *from, format!("{range} can't be read: {}", why.what))
            }
            Fault::Writes { seqno, offset, why } => (Code::Writes, *offset, *seqno, format!("the writes can't be read: {}", why.what)),
            Fault::End { seqno, offset, why } => {
                // Only an open chunk may be torn, and only the last one of a ledger is open.
                let last = segment.chunk_index + 1 == self.files.chunks.len();
                let open = chunk.file.name.kind != ChunkKind::Committed && chunk.layout.table_len.is_none();
                let code = if last && open { Code::TornTail } else { Code::EntriesLost };
                let rest = chunk.layout.entries_end.saturating_sub(*offset);
                (code, *offset, *seqno, format!("entry {seqno} can't be read, nor the {rest} bytes from there on: {}", why.what))
            }
        };
        self.report(code, text, segment.chunk_index, offset, seqno);
    }
}
