//! Single faults, and what `verify` must say of each: not clean, the right file, the right entry, and nothing proven
//! beyond the damage.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rekindle::recovery::join::Mode;
use rekindle::recovery::verify::VerifyReport;

use super::anatomy::{Anatomy, Part};
use super::ground::{Copy, Original, is_clean, is_fault, last_signed, show, verify_in};

/// Longer than any verification of a small ledger may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fields of the last signature transaction that nothing covers; docs/coverage.md says why for each.
pub const UNCOVERED: &[&str] = &["GCM tag", "commit evidence digest", "entry after the last signature"];

/// One thing that goes wrong with one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// One bit is flipped.
    Flip { file: usize, offset: usize, bit: u8 },
    /// The file ends here.
    Cut { file: usize, length: usize },
}

/// What a fault that went by without a word was in.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The right findings were made.
    Named,
    /// No finding, and none could be expected: the name of the field, or of the cut.
    Uncovered(String),
    /// Wrong: what is the matter.
    Wrong(String),
}

/// A damaged copy and what it should be.
pub struct Judge<'a> {
    pub files: &'a [Original],
    pub anatomy: &'a Anatomy,
    copy: Copy,
}

impl<'a> Judge<'a> {
    pub fn new(files: &'a [Original], anatomy: &'a Anatomy) -> Judge<'a> {
        Judge {
            files,
            anatomy,
            copy: Copy::of(files),
        }
    }

    /// Makes the fault, verifies, mends it, and judges what was said.
    pub fn judge(&self, fault: Fault, mode: Mode) -> Answer {
        self.make(fault);
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| verify_in(self.copy.path(), mode)));
        let took = began.elapsed();
        self.mend(fault);
        match outcome {
            Err(_) => Answer::Wrong(format!("{fault:?}: verify panics")),
            Ok(_) if took > PATIENCE => Answer::Wrong(format!("{fault:?}: verify took {took:?}")),
            // A ledger of one file that is cut to nothing is no ledger: said as an error, with exit code 3.
            Ok(Err(why)) => Answer::Wrong(format!("{fault:?}: {why}")),
            Ok(Ok(report)) => match self.weigh(fault, &report) {
                Answer::Wrong(why) => {
                    Answer::Wrong(format!("{fault:?} in {}: {why}\n{}", self.place(fault), show(&report)))
                }
                answer => answer,
            },
        }
    }

    fn make(&self, fault: Fault) {
        match fault {
            Fault::Flip { file, offset, bit } => {
                let file = &self.files[file];
                self.copy
                    .write_at(&file.name, offset, &[file.bytes[offset] ^ (1 << bit)]);
            }
            Fault::Cut { file, length } => self.copy.cut(&self.files[file].name, length),
        }
    }

    fn mend(&self, fault: Fault) {
        match fault {
            Fault::Flip { file, offset, .. } => {
                let file = &self.files[file];
                self.copy.write_at(&file.name, offset, &file.bytes[offset..=offset]);
            }
            Fault::Cut { file, length } => {
                let file = &self.files[file];
                self.copy.write_at(&file.name, length, &file.bytes[length..]);
            }
        }
    }

    fn place(&self, fault: Fault) -> String {
        let (Fault::Flip { file, offset, .. } | Fault::Cut { file, length: offset }) = fault;
        let part = self.anatomy.part(file, offset.min(self.files[file].bytes.len() - 1));
        let field = self.anatomy.late_field(file, offset).unwrap_or("");
        format!("{} at {offset}, {part:?} {field}", self.files[file].name)
    }

    fn weigh(&self, fault: Fault, report: &VerifyReport) -> Answer {
        let proven = last_signed(report);
        if let Some(finding) = report
            .findings
            .iter()
            .find(|finding| finding.proven_to.is_some_and(|to| to > proven))
        {
            return Answer::Wrong(format!("finding {} says more is proven than is", finding.code.as_str()));
        }
        match fault {
            Fault::Flip { file, offset, bit } => self.weigh_flip(file, offset, bit, report),
            Fault::Cut { file, length } => self.weigh_cut(file, length, report),
        }
    }

    fn weigh_flip(&self, file: usize, offset: usize, bit: u8, report: &VerifyReport) -> Answer {
        if is_clean(report) {
            return match self.anatomy.late_field(file, offset) {
                Some(field) if UNCOVERED.contains(&field) => Answer::Uncovered(field.to_owned()),
                Some("entry flags") if bit == 0 => Answer::Uncovered("flag 0x01".to_owned()),
                _ => Answer::Wrong("no finding".into()),
            };
        }
        let last = self.anatomy.last_signature();
        let named = |seqno: Option<u64>| self.named(file, seqno, report);
        match self.anatomy.part(file, offset) {
            // After the last signature only the framing says where an entry ends: the next one may be named.
            Part::Entry(seqno) if seqno > last && named(None) && last_signed(report) == last => Answer::Named,
            Part::Entry(seqno) if !named(Some(seqno)) => {
                Answer::Wrong(format!("no finding names entry {seqno} in that file"))
            }
            // What is wrong with the last signature's tree or framing need not make its signature wrong.
            Part::Entry(seqno) if seqno == last && last_signed(report) == last => Answer::Named,
            Part::Entry(seqno) if last_signed(report) != self.anatomy.signature_before(seqno).min(last) => {
                Answer::Wrong(format!(
                    "last signed is {}, expected {}",
                    last_signed(report),
                    self.anatomy.signature_before(seqno)
                ))
            }
            Part::HeaderWord | Part::Table if !named(None) => Answer::Wrong("no finding names that file".into()),
            Part::HeaderWord | Part::Table if last_signed(report) != last => Answer::Wrong(format!(
                "last signed is {}, expected {last}: every entry is whole",
                last_signed(report)
            )),
            _ => Answer::Named,
        }
    }

    fn weigh_cut(&self, file: usize, length: usize, report: &VerifyReport) -> Answer {
        let chunk = &self.anatomy.chunks[file];
        let whole = chunk.entries.iter().filter(|(_, bytes)| bytes.end <= length).count();
        let lost = chunk.entries.get(whole).map(|(seqno, _)| *seqno);
        let expected = lost.map_or(self.anatomy.last_signature(), |seqno| {
            self.anatomy.signature_before(seqno)
        });
        if last_signed(report) != expected {
            return Answer::Wrong(format!("last signed is {}, expected {expected}", last_signed(report)));
        }
        let after_entry = length == 8 || chunk.entries.iter().any(|(_, bytes)| bytes.end == length);
        if is_clean(report) {
            return match chunk.is_open && after_entry {
                true => Answer::Uncovered("open chunk cut right after an entry".into()),
                false => Answer::Wrong("no finding".into()),
            };
        }
        match self.named(file, lost, report) {
            true => Answer::Named,
            false => Answer::Wrong(format!("no finding names the file and entry {lost:?}")),
        }
    }

    /// Whether a finding that is more than information names this file, and this seqno where one is given.
    fn named(&self, file: usize, seqno: Option<u64>, report: &VerifyReport) -> bool {
        let name = &self.files[file].name;
        report
            .findings
            .iter()
            .filter(|finding| is_fault(finding))
            .any(|finding| {
                let same_file = finding
                    .file
                    .as_ref()
                    .is_some_and(|path| path.rsplit('/').next() == Some(name));
                same_file && (seqno.is_none() || finding.seqno == seqno)
            })
    }
}
