//! Seeded damage over copies of one ledger, and what must come of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::dice::Dice;

/// One chunk file as it was written.
#[derive(Clone)]
pub struct Original {
    pub name: String,
    pub bytes: Vec<u8>,
    /// First seqno, and the extent of each entry.
    pub first: u64,
    pub entries: Vec<Range<usize>>,
}

/// A whole ledger, in order.
pub fn read(directory: &Path) -> Vec<Original> {
    let mut files: Vec<Original> = std::fs::read_dir(directory)
        .unwrap()
        .map(|item| item.unwrap().path())
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let end = match u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize {
                0 => bytes.len(),
                end => end,
            };
            let (mut at, mut entries) = (8, Vec::new());
            while at < end {
                let size = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) >> 16;
                entries.push(at..at + 8 + size as usize);
                at += 8 + size as usize;
            }
            assert_eq!(at, end, "{}", path.display());
            let first = u64::from_le_bytes(bytes[8 + 24..8 + 32].try_into().unwrap());
            Original {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                bytes,
                first,
                entries,
            }
        })
        .collect();
    files.sort_by_key(|file| file.first);
    files
}

/// A file of a copy: which original it came from, and by how much its parts may have moved.
#[derive(Clone)]
struct Damaged {
    name: String,
    bytes: Vec<u8>,
    of: usize,
    shifts: Vec<i64>,
}

/// What happened to one copy.
pub struct Copy {
    files: Vec<Damaged>,
    pub said: Vec<String>,
}

impl Copy {
    pub fn sound(files: &[Original]) -> Copy {
        let files = files.iter().enumerate();
        Copy {
            files: files
                .map(|(of, file)| Damaged {
                    name: file.name.clone(),
                    bytes: file.bytes.clone(),
                    of,
                    shifts: vec![0],
                })
                .collect(),
            said: Vec::new(),
        }
    }

    pub fn write(&self, directory: &Path) {
        std::fs::create_dir_all(directory).unwrap();
        for file in &self.files {
            let path = directory.join(&file.name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.bytes).unwrap();
        }
    }

    /// One entry is wiped out, exactly.
    pub fn wipe(&mut self, files: &[Original], seqno: u64) {
        let of = files.iter().rposition(|file| file.first <= seqno).unwrap();
        let range = files[of].entries[(seqno - files[of].first) as usize].clone();
        self.said.push(format!("{seqno} wiped out"));
        for file in self.files.iter_mut().filter(|file| file.of == of) {
            file.bytes[range.clone()].fill(0);
        }
    }

    /// Whether this copy still holds these bytes of an original.
    fn holds(&self, files: &[Original], of: usize, range: &Range<usize>) -> bool {
        let wanted = &files[of].bytes[range.clone()];
        self.files.iter().filter(|file| file.of == of).any(|file| {
            file.shifts.iter().any(|shift| {
                let from = range.start as i64 + shift;
                from >= 0 && file.bytes.get(from as usize..from as usize + range.len()) == Some(wanted)
            })
        })
    }

    /// Whether these bytes are anywhere in it: a sector written to a wrong place may hold whole entries.
    fn holds_anywhere(&self, wanted: &[u8]) -> bool {
        self.files
            .iter()
            .any(|file| memchr::memmem::find(&file.bytes, wanted).is_some())
    }

    /// One more thing happens to it.
    pub fn damage(&mut self, dice: &mut Dice, files: &[Original]) {
        if self.files.is_empty() {
            return;
        }
        let at = dice.below(self.files.len());
        let other = dice.below(self.files.len());
        let stale = files[dice.below(files.len())].bytes.clone();
        let file = &mut self.files[at];
        let len = file.bytes.len();
        let what = dice.below(13);
        self.said.push(format!("{what} {} of {len}", file.name));
        match what {
            0..=2 if len > 0 => {
                let sector = [512, 512, 4096][dice.below(3)];
                let from = dice.below(len.div_ceil(sector)) * sector;
                let until = len.min(from + sector * (1 + dice.below(3)));
                for i in from..until {
                    file.bytes[i] = match what {
                        0 => 0,
                        1 => dice.below(256) as u8,
                        _ => stale.get(i - from).copied().unwrap_or(0xff),
                    };
                }
            }
            3 if len > 0 => {
                for _ in 0..1 + dice.below(8) {
                    let at = dice.below(len);
                    file.bytes[at] ^= 1 << dice.below(8);
                }
            }
            4 => file.bytes.truncate(dice.below(len + 1)),
            5 => drop(self.files.remove(at)),
            6 => {
                let names = [
                    "ledger_9-12.committed".to_owned(),
                    format!("{}.ignored", file.name),
                    format!("{}.corrupted", file.name),
                    format!("lost+found/#{}", dice.below(100_000)),
                    "ledger_x".to_owned(),
                    format!("ledger_{}", 1 + dice.below(2000)),
                ];
                let name = names[dice.below(names.len())].clone();
                if self.files.iter().all(|file| file.name != name) {
                    self.files[at].name = name;
                }
            }
            7 => {
                let name = std::mem::take(&mut self.files[at].name);
                let second = std::mem::replace(&mut self.files[other].name, name.clone());
                self.files[at].name = if at == other { name } else { second };
            }
            8 => {
                // A copy that was taken earlier: one chunk is open yet, and those after it are not there.
                let of = file.of;
                let original = &files[of];
                let kept = dice.below(original.entries.len() + 1);
                let end = original.entries.get(kept).map_or_else(
                    || original.entries.last().map_or(8, |last| last.end),
                    |entry| entry.start,
                );
                self.files.retain(|file| file.of <= of);
                for file in &mut self.files {
                    if file.of == of {
                        file.bytes.truncate(end);
                        let word = file.bytes.len().min(8);
                        file.bytes[..word].fill(0);
                        file.name = format!("ledger_{}", original.first);
                    }
                }
                let mut seen = std::collections::BTreeSet::new();
                self.files.retain(|file| seen.insert(file.name.clone()));
            }
            9 if len > 0 => {
                let from = dice.below(len);
                let until = len.min(from + 1 + dice.below(600));
                file.bytes.drain(from..until);
                let more: Vec<i64> = file.shifts.iter().map(|shift| shift - (until - from) as i64).collect();
                file.shifts.extend(more);
            }
            10 if len > 0 => {
                let from = dice.below(len);
                let until = len.min(from + 1 + dice.below(600));
                let twice = file.bytes[from..until].to_vec();
                file.bytes.splice(from..from, twice);
                let more: Vec<i64> = file.shifts.iter().map(|shift| shift + (until - from) as i64).collect();
                file.shifts.extend(more);
            }
            11 if len >= 8 => {
                for byte in &mut file.bytes[..8] {
                    *byte = [0, dice.below(256) as u8][dice.below(2)];
                }
            }
            12 if len >= 8 => {
                let end = files[file.of].entries.last().map_or(8, |last| last.end).min(len);
                for byte in &mut file.bytes[end..] {
                    *byte = dice.below(256) as u8;
                }
            }
            _ => {}
        }
    }
}

/// The same ledger as a node with another chunk size would have cut it: where entries say so, and after some signatures.
pub fn cut_anew(files: &[Original], dice: &mut Dice) -> Vec<Original> {
    let signatures: Vec<u64> = signatures(files).into_iter().map(|(seqno, _)| seqno).collect();
    let all: Vec<(u64, &[u8])> = files
        .iter()
        .flat_map(|file| (file.first..).zip(file.entries.iter().map(|range| &file.bytes[range.clone()])))
        .collect();
    let last = all.last().unwrap().0;
    let mut cut: Vec<Original> = Vec::new();
    let mut bytes: Vec<u8> = vec![0; 8];
    let (mut first, mut entries) = (1, Vec::new());
    for (index, (seqno, entry)) in all.iter().enumerate() {
        entries.push(bytes.len()..bytes.len() + entry.len());
        bytes.extend_from_slice(entry);
        let before = all.get(index + 1).is_some_and(|(_, next)| next[1] & 2 != 0);
        let ends = entry[1] & 1 != 0 || before || (signatures.contains(seqno) && dice.below(6) == 0);
        if !ends && *seqno != last {
            continue;
        }
        let mut name = format!("ledger_{first}");
        if ends {
            let end = bytes.len() as u64;
            bytes[..8].copy_from_slice(&end.to_le_bytes());
            for entry in &entries {
                bytes.extend_from_slice(&(entry.start as u32).to_le_bytes());
            }
            name = format!("ledger_{first}-{seqno}.committed");
        }
        cut.push(Original {
            name,
            bytes: std::mem::replace(&mut bytes, vec![0; 8]),
            first,
            entries: std::mem::take(&mut entries),
        });
        first = seqno + 1;
    }
    cut
}

/// Says what is not as it must be, however the chunks are cut.
pub fn complaint_of_entries(files: &[Original], output: &Path, missing: Option<u64>) -> Option<String> {
    let ledger = output.join("ledger");
    if missing == Some(1) {
        return ledger
            .exists()
            .then(|| "nothing could be salvaged, but something was".to_owned());
    }
    if !ledger.exists() {
        return Some("no ledger".to_owned());
    }
    let all = |files: &[Original]| -> Vec<Vec<u8>> {
        let each = files
            .iter()
            .flat_map(|file| file.entries.iter().map(|range| file.bytes[range.clone()].to_vec()));
        each.collect()
    };
    let mut expected = all(files);
    expected.truncate(missing.map_or(usize::MAX, |missing| missing as usize - 1));
    let found = all(&read(&ledger));
    (found != expected).then(|| format!("{} entries, expected {}", found.len(), expected.len()))
}

/// Signature transactions: seqno, and the first leaf that is in its tree.
pub fn signatures(files: &[Original]) -> Vec<(u64, u64)> {
    use rekindle::format::cursor::Cursor;
    use rekindle::format::domain::{Maps, PublicHeader};
    use rekindle::format::entry::Entry;
    let mut found = Vec::new();
    for file in files {
        for (seqno, range) in (file.first..).zip(&file.entries) {
            let entry = Entry::parse(&file.bytes[range.clone()]).unwrap();
            let mut cursor = Cursor::new(entry.public);
            PublicHeader::read(&mut cursor).unwrap();
            let each = |name: &str, write: rekindle::format::domain::Write<'_>| {
                if name == "public:ccf.internal.tree" {
                    let flushed = write.value.unwrap()[8..16].try_into().unwrap();
                    found.push((seqno, u64::from_be_bytes(flushed)));
                }
            };
            Maps::new(cursor).for_each(each).unwrap();
        }
    }
    found
}

/// The last signature before `missing`, if none that is left after it has the digests of what lies between: then nothing can say
/// how far the entries in between are right.
pub fn proven_before(files: &[Original], copies: &[Copy], missing: u64) -> Option<u64> {
    let signatures = signatures(files);
    let last = signatures
        .iter()
        .map(|&(seqno, _)| seqno)
        .filter(|&seqno| seqno < missing)
        .max()
        .unwrap_or(0);
    let is_left = |seqno: u64| {
        let (of, file) = files.iter().enumerate().rfind(|(_, file)| file.first <= seqno).unwrap();
        let range = &file.entries[(seqno - file.first) as usize];
        copies
            .iter()
            .any(|copy| copy.holds(files, of, range) || copy.holds_anywhere(&file.bytes[range.clone()]))
    };
    let mut reaching = signatures
        .iter()
        .filter(|&&(seqno, flushed)| seqno > missing && flushed <= last);
    (!reaching.any(|&(seqno, _)| is_left(seqno))).then_some(last)
}

/// The first seqno that no copy holds.
pub fn first_missing(files: &[Original], copies: &[Copy]) -> Option<u64> {
    let mut missing = None;
    for (of, file) in files.iter().enumerate() {
        for (seqno, range) in (file.first..).zip(&file.entries) {
            let bytes = &file.bytes[range.clone()];
            if !copies.iter().any(|copy| copy.holds(files, of, range))
                && !copies.iter().any(|copy| copy.holds_anywhere(bytes))
            {
                missing = Some(missing.map_or(seqno, |before: u64| before.min(seqno)));
            }
        }
    }
    missing
}

/// Whether any copy holds an entry after `seqno`.
pub fn holds_after(files: &[Original], copies: &[Copy], seqno: u64) -> bool {
    let mut all = files.iter().enumerate().flat_map(|(of, file)| {
        let numbered = (file.first..).zip(&file.entries);
        numbered.map(move |(at, range)| (of, at, range))
    });
    all.any(|(of, at, range)| at > seqno && copies.iter().any(|copy| copy.holds(files, of, range)))
}

/// Says what is not as it must be in what was salvaged: everything, or everything before `missing`.
pub fn complaint(files: &[Original], output: &Path, missing: Option<u64>) -> Option<String> {
    let ledger = output.join("ledger");
    if missing == Some(1) {
        return ledger
            .exists()
            .then(|| "nothing could be salvaged, but something was".to_owned());
    }
    let mut found: BTreeMap<String, PathBuf> = match std::fs::read_dir(&ledger) {
        Ok(listing) => listing
            .map(|item| item.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
            .collect(),
        Err(why) => return Some(format!("no ledger: {why}")),
    };
    for file in files {
        let last = file.first + file.entries.len() as u64 - 1;
        if missing.is_some_and(|missing| missing <= file.first) {
            break;
        }
        if let Some(missing) = missing.filter(|&missing| missing <= last) {
            let name = format!("ledger_{}", file.first);
            let path = found.remove(&name);
            let mut expected = file.bytes[..file.entries[(missing - file.first) as usize].start].to_vec();
            expected[..8].fill(0);
            if path.map(|path| std::fs::read(path).unwrap()) != Some(expected) {
                return Some(format!("{name} does not end before {missing}: {found:?}"));
            }
            break;
        }
        // The chunk before what is missing may be taken for one that is open: its table may be lost, too.
        match found.remove(&file.name) {
            None => return Some(format!("{} is not there: {:?}", file.name, found.keys())),
            Some(path) if std::fs::read(&path).unwrap() != file.bytes => {
                return Some(format!("{} is not as it was", file.name));
            }
            Some(_) => {}
        }
    }
    (!found.is_empty()).then(|| format!("too much is there: {:?}", found.keys()))
}
