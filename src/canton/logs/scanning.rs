//! The work of a scan, spread over threads: a packed file is one thread's, a plain one is cut into units that are anybody's.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memmem;

use super::Settings;
use super::gathered::{Gathered, Total};
use super::pieces;
use super::record::{BEFORE, LONGEST};
use super::search::{Edges, Scope, Search, WORD};
use super::sources::{Log, Source};
use crate::canton::finding::Ending;
use crate::canton::unpack::{self, Packing};
use crate::canton::{Code, Finding, Findings};
use crate::format::map::MappedFile;
use crate::report::Severity;
use crate::shown::Shown;

/// Bytes of a plain file that are one unit of work, and of its map in memory for each thread. What is read twice at its
/// sides, [`BEFORE`] and as much again and [`LONGEST`] behind, is a thirtieth of it.
const UNIT: u64 = 8 << 20;
/// Bytes of a line that is put together of several files.
const LONGEST_CARRIED: usize = 512 << 10;

/// What a scan found, before it is judged.
pub struct Outcome {
    /// What all threads found.
    pub total: Total,
    /// What could not be read.
    pub findings: Findings,
    /// The worst of it.
    pub ending: Ending,
    /// Files read.
    pub files: u64,
    /// Bytes examined.
    pub bytes: u64,
}

/// A part of the work.
struct Task {
    log: usize,
    file: usize,
    source: Source,
    /// Of a plain file, which part; none for what can only be read from its beginning.
    unit: Option<(Range<u64>, u64)>,
    leaves_head: bool,
    leaves_tail: bool,
}

#[derive(Default)]
struct Shared {
    total: Total,
    findings: Findings,
    ending: Option<Ending>,
    bytes: u64,
    /// By log and file.
    edges: BTreeMap<(usize, usize), Edges>,
    /// Records that may be quotations, by log and file: how many, and where the first of them begins.
    doubtful: BTreeMap<(usize, usize), (u64, u64)>,
}

/// Reads all logs.
pub fn run(logs: &[Log], settings: &Settings, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    in_units(UNIT, logs, settings, progress)
}

/// Reads all logs, plain ones in units of so many bytes.
pub fn in_units(unit: u64, logs: &[Log], settings: &Settings, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    let shared = Mutex::new(Shared::default());
    let tasks = Mutex::new(tasks(unit, logs, &mut lock(&shared)));
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let threads = threads.min(lock(&tasks).len()).max(1);
    let work = || {
        let give = |take: &mut dyn FnMut(&mut Total)| take(&mut lock(&shared).total);
        let mut gathered = Gathered::new(settings, &give);
        let mut search = Search::new();
        loop {
            let Some(task) = lock(&tasks).pop_front() else { break };
            perform(&task, &mut search, &mut gathered, &shared, progress);
            doubt((task.log, task.file), &mut gathered, &shared);
        }
        gathered.hand_over();
    };
    std::thread::scope(|scope| {
        // Where the machine gives no more threads, those that there are do the work.
        for _ in 1..threads {
            if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    join(logs, settings, &shared);
    let mut shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    for ((log, file), (count, first)) in std::mem::take(&mut shared.doubtful) {
        let message = format!(
            "{count} records of the commitment processor stand behind words of which it can't be told whether another logger \
             quotes them; they were used"
        );
        let finding = Finding::new(Code::PerhapsQuoted, message).offset(first);
        let source = logs.get(log).and_then(|log| log.get(file));
        shared.findings.push(match source {
            Some(Source::File(path)) => finding.file(path),
            _ => finding.at("standard input"),
        });
    }
    Outcome {
        total: shared.total,
        findings: shared.findings,
        ending: shared.ending.unwrap_or(Ending::Clean),
        files: logs.iter().map(|log| log.len() as u64).sum(),
        bytes: shared.bytes,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn failed(&mut self, source: &Source, code: Code, ending: Ending, message: String) {
        let finding = Finding::new(code, message);
        self.findings.push(match source {
            Source::File(path) => finding.file(path),
            Source::Stdin => finding.at("standard input"),
        });
        self.ending = self.ending.max(Some(ending));
    }
}

/// The work there is: what is one thread's alone first, so that it does not begin when all else is done.
fn tasks(unit: u64, logs: &[Log], shared: &mut Shared) -> VecDeque<Task> {
    let (mut streams, mut units) = (Vec::new(), VecDeque::new());
    for (log_at, log) in logs.iter().enumerate() {
        for (file_at, source) in log.iter().enumerate() {
            let task = |unit| Task {
                log: log_at,
                file: file_at,
                source: source.clone(),
                unit,
                leaves_head: file_at > 0,
                leaves_tail: file_at + 1 < log.len(),
            };
            if let Some((path, packed)) = unread(source) {
                // What would be found in it is missing; what else there is holds.
                let message = format!("it is packed with {packed}, which is not read here: unpack it and scan again");
                let finding = Finding::new(Code::LogUnreadable, message).severity(Severity::Warning);
                shared.findings.push(finding.file(path));
            }
            match plain_length(source) {
                Ok((None, size)) => streams.push((size, task(None))),
                Ok((Some(length), _)) => units.extend(cut(unit, length, task)),
                Err(why) => shared.failed(
                    source,
                    Code::LogUnreadable,
                    Ending::Unreadable,
                    format!("it could not be opened: {}", Shown(&why)),
                ),
            }
        }
    }
    streams.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    let mut all: VecDeque<Task> = streams.into_iter().map(|(_, task)| task).collect();
    all.append(&mut units);
    all
}

/// A file that is packed in a way that is not read, and with what.
fn unread(source: &Source) -> Option<(&Path, &'static str)> {
    let Source::File(path) = source else { return None };
    // To open a pipe waits for who writes into it.
    std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    let mut first = Vec::with_capacity(6);
    File::open(path).ok()?.take(6).read_to_end(&mut first).ok()?;
    Some((path, unpack::unread(&first)?))
}

/// The length of a file that is not packed; none for what has to be read from its beginning, with how long it is.
fn plain_length(source: &Source) -> io::Result<(Option<u64>, u64)> {
    let Source::File(path) = source else {
        return Ok((None, u64::MAX));
    };
    // To open a pipe waits for who writes into it: that is for the thread that reads it.
    if !std::fs::metadata(path)?.is_file() {
        return Ok((None, u64::MAX));
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok(match Packing::of_file(&mut file)? {
        Packing::Plain => (Some(length), length),
        _ => (None, length),
    })
}

fn cut(unit: u64, length: u64, task: impl Fn(Option<(Range<u64>, u64)>) -> Task) -> impl Iterator<Item = Task> {
    let count = length.div_ceil(unit).max(1);
    (0..count).map(move |at| {
        let end = match at + 1 == count {
            true => length,
            false => (at + 1) * unit,
        };
        let mut task = task(Some((at * unit..end, length)));
        task.leaves_head &= at == 0;
        task.leaves_tail &= at + 1 == count;
        task
    })
}

/// Reads a part of a file without moving its cursor.
struct Part {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read_at(out.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn perform(
    task: &Task,
    search: &mut Search,
    gathered: &mut Gathered<'_>,
    shared: &Mutex<Shared>,
    progress: &(dyn Fn(u64) + Sync),
) {
    let mut scope = Scope {
        own: 0..u64::MAX,
        leaves_head: task.leaves_head,
        leaves_tail: task.leaves_tail,
    };
    let failed = |code, ending, message| lock(shared).failed(&task.source, code, ending, message);
    let (edges, bytes) = match (&task.unit, &task.source) {
        (Some((own, length)), Source::File(path)) => {
            scope.own = own.clone();
            let from = own.start.saturating_sub(BEFORE as u64);
            let end = (*length).min(own.end.saturating_add((2 * BEFORE + LONGEST) as u64));
            if let Some(edges) = mapped(path, (from..end, *length), scope.clone(), search, gathered, &failed) {
                progress(own.end - own.start);
                return keep(task, shared, edges, own.end - own.start);
            }
            let mut part = match File::open(path) {
                Ok(file) => Part { file, at: from, end },
                Err(why) => {
                    let message = format!("it could not be opened: {}", Shown(&why));
                    return failed(Code::LogUnreadable, Ending::Unreadable, message);
                }
            };
            let (edges, result) = search.run(&mut part, from, scope, gathered, &|_| ());
            progress(own.end - own.start);
            if let Err(why) = result {
                let message = format!("reading failed at byte {}: {}", part.at, Shown(&why));
                failed(Code::LogUnreadable, Ending::Unreadable, message);
            } else if part.at < own.end && part.file.metadata().is_ok_and(|now| now.len() < own.end) {
                let message = format!("it was {length} bytes long, and ends at byte {} now", part.at);
                failed(Code::LogShrank, Ending::Partial, message);
            }
            (edges, own.end - own.start)
        }
        (_, source) => {
            let opened = match source {
                Source::File(path) => unpack::open(path),
                Source::Stdin => stdin(),
            };
            let (packing, reader) = match opened {
                Ok(opened) => opened,
                Err(why) => {
                    let message = format!("it could not be opened: {}", Shown(&why));
                    return failed(Code::LogUnreadable, Ending::Unreadable, message);
                }
            };
            let mut counted = Counted { reader, bytes: 0 };
            let (edges, result) = search.run(&mut counted, 0, scope, gathered, progress);
            if let Err(why) = result {
                let place = counted.bytes;
                let message = format!("it breaks off after {place} unpacked bytes: {}", Shown(&why));
                match packing {
                    Packing::Plain => failed(Code::LogUnreadable, Ending::Unreadable, message),
                    _ => failed(Code::CutOff, Ending::Partial, message),
                }
            }
            (edges, counted.bytes)
        }
    };
    keep(task, shared, edges, bytes);
}

/// Keeps for a file what may be quotations in it.
fn doubt(file: (usize, usize), gathered: &mut Gathered<'_>, shared: &Mutex<Shared>) {
    if let Some((count, first)) = gathered.doubtful.take() {
        let mut shared = lock(shared);
        let known = shared.doubtful.entry(file).or_insert((0, first));
        *known = (known.0 + count, known.1.min(first));
    }
}

/// Searches a part of a file where it is mapped into memory, which spares its being copied. None where it can't be mapped:
/// then it has to be read.
fn mapped(
    path: &Path,
    (part, length): (Range<u64>, u64),
    scope: Scope,
    search: &mut Search,
    gathered: &mut Gathered<'_>,
    failed: &dyn Fn(Code, Ending, String),
) -> Option<Edges> {
    let map = MappedFile::open(path).ok()?;
    map.will_need();
    let own = scope.own.clone();
    let size = map.bytes().len() as u64;
    let start = usize::try_from(part.start.min(size)).ok()?;
    let end = usize::try_from(part.end.min(size)).ok()?;
    let edges = search.run_mapped(map.bytes().get(start..end)?, part.start, scope, gathered);
    // What is no longer there, or can't be read, was zeros for the search.
    let is_zeros = map.shrank();
    let now = std::fs::metadata(path)
        .map_or(size, |metadata| metadata.len())
        .min(size);
    if now < own.end {
        let message = format!("it was {length} bytes long, and ends at byte {now} now");
        failed(Code::LogShrank, Ending::Partial, message);
    } else if is_zeros && now == size {
        let message = format!("reading failed between the bytes {} and {}", part.start, part.end);
        failed(Code::LogUnreadable, Ending::Unreadable, message);
    }
    Some(edges)
}

/// Keeps what a part of the work left over.
fn keep(task: &Task, shared: &Mutex<Shared>, edges: Edges, bytes: u64) {
    let mut shared = lock(shared);
    shared.bytes += bytes;
    if edges != Edges::default() {
        let known = shared.edges.entry((task.log, task.file)).or_default();
        // The first unit of a file has its head, the last one its tail.
        if !edges.head.0.is_empty() {
            known.head = edges.head;
        }
        if !edges.tail.0.is_empty() {
            known.tail = edges.tail;
        }
        known.is_one_line |= edges.is_one_line;
    }
}

struct Counted<R> {
    reader: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

type Opened = (Packing, Box<dyn Read + Send>);

fn stdin() -> io::Result<Opened> {
    let mut first = Vec::with_capacity(6);
    io::stdin().lock().take(6).read_to_end(&mut first)?;
    let packing = Packing::of(&first);
    Ok((packing, unpack::reader(Cursor::new(first).chain(io::stdin()), packing)?))
}

/// Puts the lines together that a rotation cut in two: the end of one file and the beginning of the next.
fn join(logs: &[Log], settings: &Settings, shared: &Mutex<Shared>) {
    let edges = std::mem::take(&mut lock(shared).edges);
    let give = |take: &mut dyn FnMut(&mut Total)| take(&mut lock(shared).total);
    let mut gathered = Gathered::new(settings, &give);
    let mut search = Search::new();
    let nothing = Edges::default();
    for (log_at, log) in logs.iter().enumerate().filter(|(_, log)| log.len() > 1) {
        // What the files so far left over, and from where on it is still to be read.
        let mut carried: (Vec<u8>, usize) = Default::default();
        for file_at in 0..log.len() {
            let edges = edges.get(&(log_at, file_at)).unwrap_or(&nothing);
            let (head, own) = &edges.head;
            if pieces::open_line(&carried.0).is_some() && !pieces::go_on(&carried.0, head) {
                let (bytes, from) = std::mem::take(&mut carried);
                let is_of_interest = bytes.get(from..).is_some_and(|own| memmem::find(own, WORD).is_some());
                if let (true, Some(Source::File(path))) =
                    (is_of_interest, file_at.checked_sub(1).and_then(|at| log.get(at)))
                {
                    let message =
                        "it ends with a piece of a line about commitments, and what should follow is not there";
                    lock(shared)
                        .findings
                        .push(Finding::new(Code::PieceAlone, message).file(path));
                }
                let end = bytes.len();
                line(&mut search, (bytes, from), end, &mut gathered);
            }
            let end = carried.0.len() + own;
            carried.0.extend_from_slice(head);
            if edges.is_one_line && carried.0.len() <= LONGEST_CARRIED && file_at + 1 < log.len() {
                continue;
            }
            line(&mut search, carried, end, &mut gathered);
            gathered.doubtful = gathered.doubtful.map(|(count, _)| (count, 0));
            doubt((log_at, file_at), &mut gathered, shared);
            carried = edges.tail.clone();
        }
        let end = carried.0.len();
        line(&mut search, carried, end, &mut gathered);
    }
    gathered.hand_over();
}

fn line(search: &mut Search, (bytes, from): (Vec<u8>, usize), end: usize, gathered: &mut Gathered<'_>) {
    let scope = Scope {
        own: from as u64..end as u64,
        leaves_head: false,
        leaves_tail: false,
    };
    if from < end {
        // A buffer can't fail to be read.
        let _ = search.run(&mut Cursor::new(bytes), 0, scope, gathered, &|_| ());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{diagnosis, sources};
    use super::*;

    #[test]
    fn a_log_that_shrinks_while_it_is_read_is_used_as_far_as_it_goes_and_said() {
        let whom = "PAR::a::12205f1149bc...";
        let encoded: Vec<String> = (1..50)
            .map(|minute| Encoder::Json.encode(&correct(1, whom, minute)))
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.log");
        std::fs::write(&path, Wrapper::None.wrap(&encoded)).unwrap();
        let length = std::fs::metadata(&path).unwrap().len();
        let logs = sources::expand(std::slice::from_ref(&path)).unwrap();
        let settings = Settings {
            threads: 1,
            ..Settings::default()
        };
        // After the first quarter was read, half of it is gone.
        let shrink = |_| {
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(length / 2).unwrap();
        };
        let scanned = diagnosis::conclude(in_units(length / 4, &logs, &settings, &shrink), &settings);
        assert_eq!(scanned.ending, Ending::Partial);
        assert!(scanned.findings.has(Code::LogShrank), "{:?}", scanned.findings);
        assert!((23..=25).contains(&scanned.hits), "{}", scanned.hits);
    }
}
