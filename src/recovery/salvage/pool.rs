//! All candidates: for each seqno, the places where an entry of that seqno stands.
//!
//! What is kept is one record for each run of entries, not for each entry. Files with the same bytes, which is what copies are
//! where nothing happened to them, are walked once and read once; the others are known as holding the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::sources::{Source, Stamp, list};
use super::survey::{Run, Survey, look, survey};
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::format::cursor::Cursor;
use crate::format::directory::ChunkFile;
use crate::format::domain::PublicHeader;
use crate::format::entry::Entry;
use crate::format::layout::Layout;
use crate::format::map::MappedFile;
use crate::format::names::{ChunkKind, ChunkName};
use crate::format::{Seqno, View};
use crate::recovery::segments::OpenChunk;
use crate::report::progress::Progress;

/// Seqnos that share a place in the index.
const BUCKET: u64 = 256;
/// Files that are kept mapped: of the 4096 that a process can have at once, windows of segments may hold others.
const MAPPED: usize = 1024;
/// Different files of one size that a file is compared with before it is walked for itself.
const COMPARED: usize = 8;

/// All files, and the runs of entries in them.
pub struct Pool {
    /// Every file of every copy.
    pub sources: Vec<Source>,
    /// What each holds, by the index of its source; nothing for one that is the same as another.
    pub surveys: Vec<Survey>,
    /// All runs.
    pub runs: Vec<Run>,
    /// Bucket and run, sorted.
    index: Vec<(u64, usize)>,
    holders: Vec<Vec<usize>>,
    /// Of those sources of which there are several the others.
    others: HashMap<usize, Vec<usize>>,
    /// Of each source the runs in it, which stand together.
    ranges: Vec<std::ops::Range<usize>>,
    mapped: Mutex<HashMap<usize, Arc<OpenChunk>>>,
    /// Entries of runs that belong to a history which was not chosen.
    dead: HashSet<(usize, Seqno)>,
}

impl Pool {
    /// Lists and walks every file of these copies.
    ///
    /// # Errors
    /// If a directory or file can't be read.
    pub fn of(copies: &[PathBuf], progress: &dyn Progress) -> Result<Pool> {
        let mut sources = list(copies)?;
        progress.begin("survey", sources.iter().map(|source| source.size).sum());
        let mut sizes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, source) in sources.iter().enumerate() {
            sizes.entry(source.size).or_default().push(index);
        }
        let groups: Vec<(u64, Vec<usize>)> = sizes.into_iter().collect();
        let found: Vec<Vec<Surveyed>> = groups
            .into_par_iter()
            .with_max_len(1)
            .map(|(size, group)| walk_group(&sources, size, &group, progress))
            .collect::<Result<_>>()?;
        progress.end();
        let mut surveys: Vec<Survey> = sources.iter().map(|_| Survey::default()).collect();
        for (index, same_as, survey) in found.into_iter().flatten() {
            if let (Some(source), Some(place)) = (sources.get_mut(index), surveys.get_mut(index)) {
                source.same_as = same_as;
                *place = survey;
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        let mut ranges = Vec::new();
        for survey in &mut surveys {
            let begin = runs.len();
            runs.append(&mut survey.runs);
            ranges.push(begin..runs.len());
        }
        let mut index = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            index.extend((run.first / BUCKET..=run.last / BUCKET).map(|bucket| (bucket, number)));
        }
        index.sort_unstable();
        let mut others: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            if let Some(same) = source.same_as {
                others.entry(same).or_default().push(number);
            }
        }
        Ok(Pool {
            others,
            holders: holders(&sources),
            ranges,
            sources,
            surveys,
            runs,
            index,
            mapped: Mutex::new(HashMap::new()),
            dead: HashSet::new(),
        })
    }

    /// The file of a source, mapped.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open(&self, source: usize) -> Result<Arc<OpenChunk>> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = mapped.get(&source) {
            return Ok(Arc::clone(chunk));
        }
        let Some(found) = self.sources.get(source) else {
            return Err(Error::Unreadable(format!("there is no file number {source}")));
        };
        let map = MappedFile::open(&found.path).map_err(Error::io("open", &found.path))?;
        let layout = Layout::unusable(map.bytes());
        let name = found.name.clone().unwrap_or(ChunkName {
            first: 1,
            last: None,
            kind: ChunkKind::Open,
        });
        let chunk = Arc::new(OpenChunk {
            file: ChunkFile {
                path: found.path.clone(),
                name,
                size: found.size,
                first: 0,
                last: Seqno::MAX,
                main: true,
            },
            map,
            layout,
            layout_fault: None,
        });
        if mapped.len() >= MAPPED {
            mapped.clear();
        }
        mapped.insert(source, Arc::clone(&chunk));
        Ok(chunk)
    }

    /// The runs that hold a seqno in `from..until`, each once.
    pub fn runs_over(&self, from: Seqno, until: Seqno) -> Vec<usize> {
        let (first, last) = (from / BUCKET, until.saturating_sub(1) / BUCKET);
        let begin = self.index.partition_point(|&(bucket, _)| bucket < first);
        let listed = self.index.get(begin..).unwrap_or(&[]);
        let listed = listed.iter().take_while(|&&(bucket, _)| bucket <= last);
        let mut runs: Vec<usize> = listed
            .map(|&(_, run)| run)
            .filter(|&run| {
                self.runs
                    .get(run)
                    .is_some_and(|run| run.first < until && run.last >= from)
            })
            .collect();
        runs.sort_unstable();
        runs.dedup();
        runs
    }

    /// The first copy that holds a run.
    pub fn copy_of(&self, run: usize) -> usize {
        let source = self.runs.get(run).and_then(|run| self.sources.get(run.source));
        source.map_or(0, |source| source.copy)
    }

    /// The files with the bytes of a source, itself first.
    pub fn same(&self, source: usize) -> impl Iterator<Item = &Source> {
        let others = self.others.get(&source).map_or(&[][..], Vec::as_slice).iter().copied();
        let all = std::iter::once(source).chain(others);
        all.filter_map(|index| self.sources.get(index))
    }

    /// Looks whether files are still what they were when they were listed.
    ///
    /// # Errors
    /// If one is not.
    pub fn check_unchanged(&self, sources: impl IntoIterator<Item = usize>) -> Result<()> {
        let sources: std::collections::BTreeSet<usize> = sources.into_iter().collect();
        for source in sources.into_iter().filter_map(|source| self.sources.get(source)) {
            if source.stamp.is_some() && source.stamp != source.path.metadata().ok().as_ref().map(Stamp::of) {
                return Err(changed(&source.path));
            }
        }
        Ok(())
    }

    /// The runs of a source, in file order.
    pub fn runs_of(&self, source: usize) -> &[Run] {
        let range = self.ranges.get(source).cloned().unwrap_or_default();
        self.runs.get(range).unwrap_or(&[])
    }

    /// The runs that hold this seqno, but for those whose entry there belongs to a history that was not chosen.
    pub fn runs_at(&self, seqno: Seqno) -> Vec<usize> {
        let mut runs = self.runs_over(seqno, seqno.saturating_add(1));
        runs.retain(|&run| !self.is_dead(run, seqno));
        runs
    }

    /// The first seqno from `from` on that some run holds.
    pub fn next_held(&self, from: Seqno) -> Option<Seqno> {
        let begin = self.index.partition_point(|&(bucket, _)| bucket < from / BUCKET);
        let mut best: Option<Seqno> = None;
        for &(bucket, run) in self.index.get(begin..)? {
            if best.is_some_and(|best| bucket > best / BUCKET) {
                break;
            }
            if let Some(run) = self.runs.get(run).filter(|run| run.last >= from) {
                let held = run.first.max(from);
                best = Some(best.map_or(held, |best| best.min(held)));
            }
        }
        best
    }

    /// Whether the entry of a run belongs to a history that was not chosen.
    pub fn is_dead(&self, run: usize, seqno: Seqno) -> bool {
        !self.dead.is_empty() && self.dead.contains(&(run, seqno))
    }

    /// The first such entry of a run in `from..=last`.
    pub fn first_dead(&self, run: usize, from: Seqno, last: Seqno) -> Option<Seqno> {
        let here = self
            .dead
            .iter()
            .filter(|&&(of, seqno)| of == run && (from..=last).contains(&seqno));
        here.map(|&(_, seqno)| seqno).min()
    }

    /// Takes entries of this seqno with this leaf out of all that follows; answers them, for [`Pool::revive`].
    ///
    /// # Errors
    /// If a file can't be opened.
    pub fn kill(&mut self, seqno: Seqno, leaf: &Digest) -> Result<Vec<(usize, Seqno)>> {
        let mut killed = Vec::new();
        for run in self.runs_at(seqno) {
            let is_same = self.with_entry(run, seqno, |entry| entry.leaf() == *leaf)?;
            if is_same == Some(true) {
                killed.push((run, seqno));
            }
        }
        self.dead.extend(killed.iter().copied());
        Ok(killed)
    }

    /// Takes that back.
    pub fn revive(&mut self, killed: &[(usize, Seqno)]) {
        for place in killed {
            self.dead.remove(place);
        }
    }

    /// Hands the entry of a seqno in a run to `each`.
    ///
    /// # Errors
    /// If its file can't be opened.
    pub fn with_entry<T>(&self, run: usize, seqno: Seqno, each: impl FnOnce(Found<'_>) -> T) -> Result<Option<T>> {
        let Some(of) = self.runs.get(run) else { return Ok(None) };
        let chunk = self.open(of.source)?;
        let bytes = chunk.map.bytes();
        let found = of.offset_of(bytes, seqno).and_then(|offset| Found::at(bytes, offset));
        Ok(found.filter(|found| found.seqno == seqno).map(each))
    }

    /// The same for all seqnos in `from..until` that any run holds.
    pub fn held(&self, from: Seqno, until: Seqno) -> BTreeMap<Seqno, Vec<usize>> {
        let mut held: BTreeMap<Seqno, Vec<usize>> = BTreeMap::new();
        for run in self.runs_over(from, until) {
            let Some(of) = self.runs.get(run) else { continue };
            for seqno in of.first.max(from)..=of.last.min(until.saturating_sub(1)) {
                if !self.is_dead(run, seqno) {
                    held.entry(seqno).or_default().push(run);
                }
            }
        }
        held
    }

    /// The copies that hold the same bytes as a source, its own included.
    pub fn holders(&self, source: usize) -> &[usize] {
        self.holders.get(source).map_or(&[], Vec::as_slice)
    }
}

/// A file that is not any more what it was a moment ago.
pub fn changed(path: &Path) -> Error {
    Error::io("read", path)(std::io::Error::other(
        "the file changed while it was read; salvage from copies that nobody writes to",
    ))
}

/// Of each source the copies that hold its bytes.
fn holders(sources: &[Source]) -> Vec<Vec<usize>> {
    let mut holders: Vec<Vec<usize>> = sources.iter().map(|source| vec![source.copy]).collect();
    for source in sources {
        if let Some(of) = source.same_as.and_then(|same| holders.get_mut(same))
            && !of.contains(&source.copy)
        {
            of.push(source.copy);
        }
    }
    holders
}

/// A candidate, read.
pub struct Found<'a> {
    /// Its seqno.
    pub seqno: Seqno,
    /// Its view.
    pub view: View,
    /// Where it stands.
    pub offset: u64,
    /// The entry.
    pub entry: Entry<'a>,
    /// Its public header.
    pub public: PublicHeader<'a>,
}

impl<'a> Found<'a> {
    /// What stands at `offset`, if it looks like an entry.
    pub fn at(bytes: &'a [u8], offset: u64) -> Option<Found<'a>> {
        let standing = look(bytes, offset)?;
        let entry = Entry::parse(bytes.get(offset as usize..)?).ok()?;
        let public = PublicHeader::read(&mut Cursor::new(entry.public)).ok()?;
        Some(Found {
            seqno: standing.seqno,
            view: entry.iv().view,
            offset,
            entry,
            public,
        })
    }

    /// Its Merkle leaf.
    pub fn leaf(&self) -> Digest {
        self.entry.leaf(&self.public)
    }

    /// Offset after it.
    pub fn end(&self) -> u64 {
        self.offset + self.entry.raw.len() as u64
    }
}

/// A source, the one whose bytes it has, and what it holds if it is the first with these.
type Surveyed = (usize, Option<usize>, Survey);

/// Whether two files of one size have the same bytes, and the same holes in them: those are not read, as reading makes pages of
/// them.
fn is_same(one: &MappedFile, other: &MappedFile) -> bool {
    if !one.holes().eq(other.holes()) {
        return false;
    }
    let mut at = 0;
    let size = one.bytes().len() as u64;
    let ends = one.holes().chain(std::iter::once(size..size));
    for hole in ends {
        let data = at as usize..hole.start.max(at) as usize;
        if one.bytes().get(data.clone()) != other.bytes().get(data) {
            return false;
        }
        at = hole.end.max(at);
    }
    true
}

/// Walks files of one size: those that are the same as one before are only compared with it.
fn walk_group(sources: &[Source], size: u64, group: &[usize], progress: &dyn Progress) -> Result<Vec<Surveyed>> {
    let mut distinct: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    for &index in group {
        let Some(source) = sources.get(index) else { continue };
        // One that can't be opened is an error of the machine, and the operator's to mend: it may hold what others don't.
        let map = MappedFile::open(&source.path).map_err(Error::io("open", &source.path))?;
        let mut same_as = None;
        for &other in distinct.iter().rev().take(COMPARED) {
            let Some(before) = sources.get(other) else { continue };
            let before = MappedFile::open(&before.path).map_err(Error::io("open", &before.path))?;
            if is_same(&before, &map) {
                same_as = Some(other);
                break;
            }
        }
        let survey = match same_as {
            Some(_) => Survey::default(),
            None => {
                distinct.push(index);
                survey(index, map.bytes(), map.holes())
            }
        };
        progress.advance(size, 0);
        found.push((index, same_as, survey));
    }
    Ok(found)
}
