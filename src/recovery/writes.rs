//! Every write of a range of a ledger, in either order of time, public and (with keys) private.
//!
//! [`in_groups`] hands out a few segments at a time, enough to occupy all threads; what is made from a group is
//! consumed before the next one is read, so memory follows the group. [`Reader::read`] walks one segment and hands
//! each write to a callback. What can't be read becomes a [`Finding`], and reading goes on.

use regex::Regex;

use super::faults::{self, Described};
use super::segments::{Segment, Window, Windows};
use super::seqno_set::SeqnoSet;
use crate::crypto::aead::AeadKey;
use crate::error::{Error, Result};
use crate::format::chunk::{Fault, Located, Step};
use crate::format::directory::{LedgerFiles, Note};
use crate::format::domain::{Maps, Write};
use crate::format::entry::{GCM_HEADER_SIZE, HEADER_SIZE};
use crate::format::{Malformed, Seqno, TxId};
use crate::report::{Code, Finding, Findings};
use crate::shown::Show;
use crate::tables::names;

/// The keys of private domains, one for each ledger secret.
pub trait Keys: Sync {
    /// The key with which the private domain of a seqno is encrypted, if it is known.
    fn key_at(&self, seqno: Seqno) -> Option<&AeadKey>;
}

/// Nobody's keys: what is private stays closed.
pub struct NoKeys;

impl Keys for NoKeys {
    fn key_at(&self, _: Seqno) -> Option<&AeadKey> {
        None
    }
}

/// In which order of time segments are handed out. Within a segment it is always oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they were written.
    OldestFirst,
    /// From the end.
    NewestFirst,
}

/// Segments in one group for each thread: two, so that a slow one does not leave the other threads idle for long.
const SEGMENTS_PER_THREAD: usize = 2;

/// Hands out the segments that hold `from..=until`, a group at a time.
///
/// # Errors
/// If a chunk can't be opened or shrinks while it is read; and whatever `each` answers.
pub fn in_groups(
    files: &LedgerFiles,
    (from, until): (Seqno, Seqno),
    order: Order,
    mut each: impl FnMut(&[Segment]) -> Result<()>,
) -> Result<()> {
    let size = rayon::current_num_threads() * SEGMENTS_PER_THREAD;
    let mut windows = match order {
        Order::OldestFirst => Windows::new(files, from, until),
        Order::NewestFirst => Windows::newest_first(files, from, until),
    }
    .reading_ahead();
    while let Some(window) = windows.next_window()? {
        for group in window.chunks(size) {
            each(group)?;
            check_whole(group)?;
        }
    }
    Ok(())
}

/// Hands out whole windows, and maps the next one meanwhile: for who keeps little of what is read.
///
/// # Errors
/// As [`in_groups`].
pub fn in_windows(mut windows: Windows<'_>, mut each: impl FnMut(&Window) -> Result<()> + Send) -> Result<()> {
    let mut next = windows.next_window()?;
    let mut done = Window::new();
    while let Some(window) = next {
        // Taking a window out of memory is work too, some milliseconds of it.
        let (following, outcome) = rayon::join(
            || {
                drop(done);
                windows.next_window()
            },
            || each(&window),
        );
        outcome?;
        check_whole(&window)?;
        next = following?;
        done = window;
    }
    Ok(())
}

/// What was read can't be relied on where a file has become shorter meanwhile.
fn check_whole(segments: &[Segment]) -> Result<()> {
    // Segments of one chunk stand side by side, and asking costs a system call.
    let mut last: Option<usize> = None;
    for segment in segments {
        if last.replace(segment.chunk_index) != Some(segment.chunk_index) && segment.chunk.map.shrank() {
            return Err(Error::Unreadable(format!(
                "{} became shorter while it was being read; run again once nothing writes to it any more",
                segment.chunk.map.path().shown()
            )));
        }
    }
    Ok(())
}

/// What was met while reading.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Entries read.
    pub entries: u64,
    /// Entries with a private domain.
    pub private_domains: u64,
    /// Private domains left out because there is no key for them.
    pub private_locked: u64,
    /// What could not be read.
    pub findings: Findings,
}

impl Tally {
    /// Adds what another segment met.
    pub fn add(&mut self, other: Tally) {
        self.entries += other.entries;
        self.private_domains += other.private_domains;
        self.private_locked += other.private_locked;
        other
            .findings
            .finish()
            .into_iter()
            .for_each(|finding| self.findings.push(finding));
    }
}

/// One write at its place.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// View and seqno.
    pub txid: TxId,
    /// Whether it comes from the private domain.
    pub private: bool,
    /// The table.
    pub table: &'a str,
    /// Key and value.
    pub write: Write<'a>,
}

/// Which writes are wanted.
#[derive(Clone, Copy)]
pub struct Reader<'k> {
    /// First seqno.
    pub from: Seqno,
    /// Last seqno.
    pub until: Seqno,
    /// Only tables whose names match.
    pub tables: Option<&'k Regex>,
    /// Keys of private domains; without them these are left out.
    pub keys: Option<&'k dyn Keys>,
    /// Only these entries.
    pub only: Option<&'k SeqnoSet>,
}

/// Where the public domain starts in an entry.
const PUBLIC_DOMAIN_AT: u64 = (HEADER_SIZE + GCM_HEADER_SIZE) as u64;

impl Reader<'_> {
    /// Hands every write of the segment's entries in range to `each`, in order: public maps before private ones.
    ///
    /// A public write borrows from the mapped file, a private one from a buffer that is used again.
    pub fn read(&self, segment: &Segment, mut each: impl FnMut(Written<'_>)) -> Tally {
        let mut wanted = Wanted::new(self.tables);
        let mut plaintext = zeroize::Zeroizing::new(Vec::new());
        self.entries(segment, |located, tally| {
            let txid = txid(located);
            let mut sparse = None;
            let mut each_written = |written: Written<'_>| {
                let value = written.write.value.unwrap_or_default();
                match segment.is_sparse_in(written.write.key) || segment.is_sparse_in(value) {
                    true => sparse = Some((written.table.to_owned(), value.len())),
                    false => each(written),
                }
            };
            if let Err(why) = wanted.hand_out(located.maps(), txid, false, &mut each_written) {
                let fault = Fault::Writes {
                    seqno: txid.seqno,
                    offset: located.offset + PUBLIC_DOMAIN_AT + why.offset as u64,
                    why,
                };
                tally.findings.push(fault_finding(segment, &fault));
            }
            if let Some((table, size)) = sparse {
                tally.findings.push(never_written(
                    &format!("a write to {table} of {size} bytes"),
                    segment,
                    located,
                ));
            }
            match self.open_private(segment, located, &mut plaintext) {
                Private::None => return,
                Private::Sparse => tally
                    .findings
                    .push(never_written("the private domain", segment, located)),
                Private::Locked => tally.private_locked += 1,
                Private::Failed => tally.findings.push(undecryptable(segment, located)),
                Private::Opened => {
                    if let Err(why) = wanted.hand_out(Maps::private(&plaintext), txid, true, &mut each) {
                        let message = format!("the decrypted private writes can't be read: {why}");
                        tally.findings.push(finding(
                            Code::PrivateWrites,
                            message,
                            segment,
                            located.offset,
                            txid.seqno,
                        ));
                    }
                }
            }
            tally.private_domains += 1;
        })
    }

    /// Hands every entry in range to `each`, and collects what can't be read.
    pub fn entries(&self, segment: &Segment, mut each: impl FnMut(&Located<'_>, &mut Tally)) -> Tally {
        let mut tally = Tally::default();
        let mut faults = Vec::new();
        let mut walker = segment.walker();
        let end = segment.until.unwrap_or(Seqno::MAX).min(self.until.saturating_add(1));
        while walker.seqno() < end {
            if let Some(only) = self.only {
                let Some(next) = only.next(walker.seqno().max(self.from), end) else {
                    break;
                };
                // Where there is no table, the way to it leads over the entries between.
                if next > walker.seqno()
                    && let Some(there) = segment.walker_at(next)
                {
                    walker = there;
                }
            }
            match walker.step(&mut faults) {
                Step::Entry(located) if located.seqno < self.from => {}
                Step::Entry(located) if self.only.is_some_and(|only| !only.contains(located.seqno)) => {}
                Step::Entry(located) => {
                    tally.entries += 1;
                    each(&located, &mut tally);
                }
                Step::Lost(_) => {}
                Step::End => break,
            }
        }
        for fault in &faults {
            let finding = fault_finding(segment, fault);
            if finding
                .seqno
                .is_some_and(|seqno| (self.from..=self.until).contains(&seqno))
            {
                tally.findings.push(finding);
            }
        }
        tally
    }

    /// Decrypts an entry's private domain into `plaintext`.
    pub fn open_private(&self, segment: &Segment, located: &Located<'_>, plaintext: &mut Vec<u8>) -> Private {
        let entry = &located.entry;
        if entry.private.is_empty() {
            return Private::None;
        }
        let Some(keys) = self.keys else {
            return Private::Locked;
        };
        let Some(key) = keys.key_at(located.seqno) else {
            return Private::Locked;
        };
        if segment.is_sparse_in(entry.private) {
            return Private::Sparse;
        }
        match key.open(entry.iv_bytes, entry.public, entry.tag, entry.private, plaintext) {
            Ok(()) => Private::Opened,
            Err(_) => Private::Failed,
        }
    }
}

/// What became of a private domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Private {
    /// There is none.
    None,
    /// There is no key.
    Locked,
    /// Decrypted.
    Opened,
    /// The key does not fit.
    Failed,
    /// Part of it was never written to the file, so no key fits.
    Sparse,
}

/// Remembers which table names match.
struct Wanted<'r> {
    pattern: Option<&'r Regex>,
    known: std::collections::HashMap<String, bool>,
}

impl<'r> Wanted<'r> {
    fn new(pattern: Option<&'r Regex>) -> Self {
        Wanted {
            pattern,
            known: Default::default(),
        }
    }

    fn wants(&mut self, table: &str) -> bool {
        let Some(pattern) = self.pattern else {
            return true;
        };
        if let Some(&known) = self.known.get(table) {
            return known;
        }
        let wanted = pattern.is_match(table);
        self.known.insert(table.to_owned(), wanted);
        wanted
    }

    fn hand_out(
        &mut self,
        mut maps: Maps<'_>,
        txid: TxId,
        private: bool,
        each: &mut impl FnMut(Written<'_>),
    ) -> std::result::Result<(), Malformed> {
        while let Some(table) = maps.next_name()? {
            let wanted = self.wants(table);
            maps.writes(|write| {
                if wanted {
                    each(Written {
                        txid,
                        private,
                        table,
                        write,
                    });
                }
            })?;
        }
        Ok(())
    }
}

/// View and seqno of an entry.
pub fn txid(located: &Located<'_>) -> TxId {
    TxId {
        view: located.entry.iv().view,
        seqno: located.seqno,
    }
}

/// What is said of a private domain that its key does not open.
pub fn undecryptable(segment: &Segment, located: &Located<'_>) -> Finding {
    let message = "the private domain does not decrypt with the ledger secret of its seqno";
    finding(
        Code::Undecryptable,
        message.to_owned(),
        segment,
        located.offset,
        located.seqno,
    )
}

/// What is said of `what` in an entry, part of which is a hole in its file.
pub fn never_written(what: &str, segment: &Segment, located: &Located<'_>) -> Finding {
    let text = format!("{what} lies in part where nothing was ever written to the file; it is not read");
    finding(Code::NeverWritten, text, segment, located.offset, located.seqno)
}

/// A finding about one entry of a segment.
pub(super) fn finding(code: Code, message: String, segment: &Segment, offset: u64, seqno: Seqno) -> Finding {
    Finding::new(code, message)
        .file(segment.chunk.map.path())
        .offset(offset)
        .seqno(seqno)
}

fn fault_finding(segment: &Segment, fault: &Fault) -> Finding {
    // Only one chunk of a ledger is open, and it is the last.
    let Described {
        code,
        offset,
        seqno,
        text,
    } = faults::describe(fault, &segment.chunk, true);
    finding(code, text, segment, offset, seqno)
}

/// Seqnos in `from..=until` that no file has.
pub fn gaps(files: &LedgerFiles, (from, until): (Seqno, Seqno)) -> Findings {
    let mut findings = Findings::default();
    for note in &files.notes {
        if let Note::Gap { from: first, to } = note
            && *first <= until
            && *to >= from
        {
            findings.push(Finding::new(Code::Gap, format!("seqnos {first} to {to} are in no file")).seqno(*first));
        }
    }
    findings
}

/// The last signature transaction at or before `until`: where a recovery would end, if all before it verifies.
///
/// # Errors
/// If a chunk can't be read.
pub fn last_signed(files: &LedgerFiles, until: Seqno) -> Result<Option<TxId>> {
    let first = files.first_seqno();
    let mut windows = Windows::newest_first(files, first, until);
    while let Some(window) = windows.next_window()? {
        for segment in &window {
            let reader = Reader {
                from: first,
                until,
                tables: None,
                keys: None,
                only: None,
            };
            let mut last = None;
            reader.entries(segment, |located, _| {
                if is_signature(located) {
                    last = Some(txid(located));
                }
            });
            if last.is_some() {
                return Ok(last);
            }
        }
    }
    Ok(None)
}

/// The value that the transaction at `seqno` wrote to a public table with one key; `None` if it did not, or can't be read.
pub fn value_at(files: &LedgerFiles, table: &str, seqno: Seqno) -> Option<Vec<u8>> {
    let mut windows = Windows::new(files, seqno, seqno);
    let mut found = None;
    while let Ok(Some(window)) = windows.next_window() {
        for segment in &window {
            segment.for_each(|located| {
                let mut maps = located.maps();
                while let Ok(Some(name)) = maps.next_name() {
                    let here = located.seqno == seqno && name == table;
                    let _ = maps.writes(|write| {
                        if let Some(value) = write.value.filter(|_| here) {
                            found = Some(value.to_vec());
                        }
                    });
                }
            });
        }
    }
    found
}

/// Hands every value that an entry writes to a public table to `each`, with the table's name, up to where it can be read.
pub fn for_each_write(located: &Located<'_>, mut each: impl FnMut(&str, &[u8])) {
    let mut maps = located.maps();
    while let Ok(Some(table)) = maps.next_name() {
        let read = maps.writes(|write| {
            if let Some(value) = write.value {
                each(table, value);
            }
        });
        if read.is_err() {
            return;
        }
    }
}

/// Whether an entry writes to a table of signatures.
pub fn is_signature(located: &Located<'_>) -> bool {
    let mut maps = located.maps();
    while let Ok(Some(table)) = maps.next_name() {
        if table == names::SIGNATURES || table == names::COSE_SIGNATURES {
            return true;
        }
        if maps.writes(|_| ()).is_err() {
            return false;
        }
    }
    false
}
