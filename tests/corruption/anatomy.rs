//! What every byte of an undamaged ledger is: the chunk's header word, an entry and its seqno, the positions table;
//! and, in the last signature transaction, which no later one covers, the field by name.

use std::ops::Range;

use rekindle::format::Seqno;
use rekindle::format::chunk::{Layout, Located, Step, Walker};
use rekindle::format::names::FileName;
use rekindle::tables::names;

use super::ground::Original;

/// What a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The offset of the positions table.
    HeaderWord,
    /// An entry.
    Entry(Seqno),
    /// The positions table.
    Table,
}

/// One chunk, taken apart.
pub struct Chunk {
    pub entries: Vec<(Seqno, Range<usize>)>,
    pub is_open: bool,
}

/// A ledger, taken apart.
pub struct Anatomy {
    /// In the order of the files.
    pub chunks: Vec<Chunk>,
    /// Seqnos of signature transactions.
    pub signatures: Vec<Seqno>,
    pub last_seqno: Seqno,
    /// Fields of the last signature transaction: file index, bytes, name.
    last_fields: Vec<(usize, Range<usize>, String)>,
}

impl Anatomy {
    pub fn of(files: &[Original]) -> Anatomy {
        let mut anatomy = Anatomy {
            chunks: Vec::new(),
            signatures: Vec::new(),
            last_seqno: 0,
            last_fields: Vec::new(),
        };
        for (index, file) in files.iter().enumerate() {
            anatomy.take_apart(index, file);
        }
        anatomy.signatures.sort();
        anatomy
    }

    fn take_apart(&mut self, index: usize, file: &Original) {
        let FileName::Chunk(name) = FileName::parse(&file.name) else {
            panic!("{} is no chunk", file.name)
        };
        let layout = Layout::read(&file.bytes).unwrap();
        let mut walker = Walker::new(&file.bytes, layout, name.first);
        let mut faults = Vec::new();
        let mut chunk = Chunk {
            entries: Vec::new(),
            is_open: layout.table_len.is_none(),
        };
        while let Step::Entry(located) = walker.step(&mut faults) {
            let start = located.offset as usize;
            chunk
                .entries
                .push((located.seqno, start..start + located.entry.raw.len()));
            self.last_seqno = self.last_seqno.max(located.seqno);
            let mut is_signature = false;
            located
                .maps()
                .for_each(|map, _| is_signature |= map == names::TREE)
                .unwrap();
            if is_signature {
                if self.signatures.iter().all(|&earlier| earlier < located.seqno) {
                    self.last_fields = fields(index, &located);
                }
                self.signatures.push(located.seqno);
            }
        }
        assert_eq!(faults, [], "{} is damaged already", file.name);
        self.chunks.push(chunk);
    }

    /// What the byte at `offset` of a file belongs to.
    pub fn part(&self, file: usize, offset: usize) -> Part {
        let chunk = &self.chunks[file];
        if offset < 8 {
            return Part::HeaderWord;
        }
        let found = chunk.entries.iter().find(|(_, bytes)| bytes.contains(&offset));
        found.map_or(Part::Table, |(seqno, _)| Part::Entry(*seqno))
    }

    /// The last signature transaction.
    pub fn last_signature(&self) -> Seqno {
        self.signatures.last().copied().unwrap_or(0)
    }

    /// The last signature transaction below `seqno`; 0 if there is none.
    pub fn signature_before(&self, seqno: Seqno) -> Seqno {
        self.signatures
            .iter()
            .rev()
            .copied()
            .find(|&signature| signature < seqno)
            .unwrap_or(0)
    }

    /// The name of the field at this place, if it is in the last signature transaction or after it.
    pub fn late_field(&self, file: usize, offset: usize) -> Option<&str> {
        if let Part::Entry(seqno) = self.part(file, offset)
            && seqno > self.last_signature()
        {
            return Some("entry after the last signature");
        }
        let at = |(index, bytes, _): &&(usize, Range<usize>, String)| *index == file && bytes.contains(&offset);
        self.last_fields.iter().find(at).map(|(_, _, name)| name.as_str())
    }
}

/// Names every byte of a signature transaction.
fn fields(file: usize, located: &Located<'_>) -> Vec<(usize, Range<usize>, String)> {
    let raw = located.entry.raw;
    let mut pen = Pen {
        raw,
        at: 0,
        base: located.offset as usize,
        file,
        fields: Vec::new(),
    };
    for (size, name) in [
        (1, "entry version"),
        (1, "entry flags"),
        (6, "entry size"),
        (16, "GCM tag"),
    ] {
        pen.name(size, name);
    }
    for (size, name) in [
        (8, "IV seqno"),
        (4, "IV view"),
        (8, "public size"),
        (1, "entry type"),
        (8, "seqno"),
    ] {
        pen.name(size, name);
    }
    if located.public.claims_digest.is_some() {
        pen.name(32, "claims digest");
    }
    if located.public.commit_evidence_digest.is_some() {
        pen.name(32, "commit evidence digest");
    }
    pen.name(8, "max conflict version");
    while pen.at < raw.len() {
        let map = String::from_utf8(pen.prefixed("map name")).unwrap();
        let table = map.rsplit('.').next().unwrap().to_owned();
        pen.name(8, &format!("{table}: read version"));
        pen.name(8, &format!("{table}: number of reads"));
        let writes = pen.name(8, &format!("{table}: number of writes"));
        for _ in 0..writes {
            pen.prefixed(&format!("{table}: key"));
            pen.prefixed(&format!("{table}: value"));
        }
        pen.name(8, &format!("{table}: number of removals"));
    }
    pen.fields
}

struct Pen<'a> {
    raw: &'a [u8],
    at: usize,
    base: usize,
    file: usize,
    fields: Vec<(usize, Range<usize>, String)>,
}

impl Pen<'_> {
    /// Names the next bytes, and answers their value where they are a u64.
    fn name(&mut self, size: usize, name: &str) -> u64 {
        let bytes = &self.raw[self.at..self.at + size];
        let value = bytes.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        let start = self.base + self.at;
        self.fields.push((self.file, start..start + size, name.to_owned()));
        self.at += size;
        value
    }

    fn prefixed(&mut self, name: &str) -> Vec<u8> {
        let size = self.name(8, &format!("{name}, length")) as usize;
        let bytes = self.raw[self.at..self.at + size].to_vec();
        self.name(size, name);
        bytes
    }
}
