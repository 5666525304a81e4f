//! What a node leaves that was stopped while its service's files got their names. Recovery specification, section 2.10.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::Seqno;
use crate::format::directory::LedgerFiles;
use crate::format::domain::Maps;
use crate::format::names::{ChunkKind, ChunkName, FileName};
use crate::journal::files::rename_durably;
use crate::recovery::segments::Windows;
use crate::recovery::verify::{Options, verify};
use crate::recovery::writes::is_signature;
use crate::report::progress::Silent;
use crate::shown::Show;
use crate::tables::names;
use crate::tables::values::{ServiceInfo, ServiceStatus, from_json};

/// An opening that was interrupted: chunks that keep their suffix `.recovery` although their service is open. They are read
/// as though they had their names, and get them when nothing can refuse the start any more. CCF would set them aside, and
/// with them what that service has signed.
#[derive(Default)]
pub struct InterruptedOpening {
    /// Old and new paths, the newest chunk first: wherever this is interrupted again, the rest can still be told.
    renames: Vec<(PathBuf, PathBuf)>,
}

impl InterruptedOpening {
    /// Looks for one; nothing is changed.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unreadable`] if a name is taken: nothing is renamed over another file.
    pub fn find(directories: &[PathBuf], main: &Path) -> Result<InterruptedOpening> {
        let mut opening = InterruptedOpening::default();
        let chunks = newest_first(main)?;
        let mut elsewhere = Vec::new();
        for directory in directories.iter().filter(|directory| *directory != main) {
            let committed = |(name, _): (ChunkName, _)| (name.kind == ChunkKind::Committed).then_some(name);
            elsewhere.extend(newest_first(directory)?.into_iter().filter_map(committed));
        }
        opening.add_begun(&chunks, &elsewhere, main);
        let rest = |path: &Path| !opening.has(path);
        let Some(first) = first_of_recovery(&chunks, rest) else {
            return Ok(opening);
        };
        let Ok(files) = LedgerFiles::list(directories, true) else {
            return Ok(opening); // what can't be listed is said when the ledger itself is
        };
        let Some(signature) = says_open(&files, first)? else {
            return Ok(opening);
        };
        match is_proven(&files, first, signature)? {
            true => opening.add_all(&chunks, main)?,
            false => tracing::warn!(
                first,
                signature,
                "the .recovery files say that their service had opened, but that is torn or damaged before the signature over \
                 it: they are set aside"
            ),
        }
        Ok(opening)
    }

    /// Chunks lose their `.recovery` newest first, so one that still has it, just before one that has not, is of an open
    /// service; unless its entries are in another file of the ledger, which may be `elsewhere`.
    fn add_begun(&mut self, chunks: &[(ChunkName, PathBuf)], elsewhere: &[ChunkName], main: &Path) {
        let named = chunks
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !name.kind.is_recovery());
        let named: Vec<&ChunkName> = named.chain(elsewhere).collect();
        let taken = |first: Seqno, last: Seqno| {
            let overlaps = |other: &&ChunkName| other.first <= last && other.last.is_none_or(|end| end >= first);
            named.iter().any(overlaps)
        };
        // First seqno of what certainly belongs to the ledger.
        let mut known = None;
        for (name, path) in chunks {
            match (name.kind, name.last) {
                (ChunkKind::CommittedRecovery, Some(last)) if known == Some(last + 1) && !taken(name.first, last) => {
                    self.renames.push((
                        path.clone(),
                        main.join(ChunkName::committed(name.first, last).to_string()),
                    ));
                    known = Some(name.first);
                }
                (kind, _) if !kind.is_recovery() => known = Some(name.first),
                _ => {}
            }
        }
    }

    fn add_all(&mut self, chunks: &[(ChunkName, PathBuf)], main: &Path) -> Result<()> {
        self.renames.clear();
        for (name, path) in chunks.iter().filter(|(name, _)| name.kind.is_recovery()) {
            let to = main.join(opened(name).to_string());
            if to.exists() {
                return Err(Error::Unreadable(format!(
                    "{} can't get its name: {} is there already; one of the two belongs to another recovery, move it away",
                    path.shown(),
                    to.shown()
                )));
            }
            self.renames.push((path.clone(), to));
        }
        Ok(())
    }

    /// Whether a file with the suffix is of an open service.
    pub fn has(&self, path: &Path) -> bool {
        self.renames.iter().any(|(from, _)| from == path)
    }

    /// Lists a ledger in which these chunks have their names already.
    ///
    /// # Errors
    /// If a directory can't be read or is none.
    pub fn list(&self, directories: &[PathBuf]) -> Result<LedgerFiles> {
        let mut files = LedgerFiles::list_choosing(directories, &|path| self.has(path))?;
        let chunks = files.chunks.iter_mut().map(|chunk| &mut chunk.file);
        for file in chunks.chain(&mut files.spares).filter(|file| self.has(&file.path)) {
            file.name = opened(&file.name);
        }
        Ok(files)
    }

    /// Gives the chunks their names, also in `files`, and in `chunk`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&self, files: &mut LedgerFiles, chunk: &mut Option<PathBuf>) -> Result<()> {
        for (from, to) in &self.renames {
            tracing::warn!(from = %from.shown(), to = %to.shown(), "its service had opened: the name is put right");
            rename_durably(from, to)?;
            let listed = files.chunks.iter_mut().map(|chunk| &mut chunk.file.path);
            let spares = files.spares.iter_mut().map(|spare| &mut spare.path);
            for path in listed.chain(spares).chain(&mut *chunk).filter(|path| *path == from) {
                path.clone_from(to);
            }
        }
        Ok(())
    }
}

/// The chunks of a directory.
fn newest_first(main: &Path) -> Result<Vec<(ChunkName, PathBuf)>> {
    let io = || Error::io("list the directory", main);
    let mut chunks: Vec<(ChunkName, PathBuf)> = Vec::new();
    for item in std::fs::read_dir(main).map_err(io())? {
        let item = item.map_err(io())?;
        if let FileName::Chunk(name) = FileName::parse(&item.file_name().to_string_lossy()) {
            chunks.push((name, item.path()));
        }
    }
    chunks.sort_by_key(|(name, _)| std::cmp::Reverse(name.first));
    Ok(chunks)
}

fn first_of_recovery(chunks: &[(ChunkName, PathBuf)], counts: impl Fn(&Path) -> bool) -> Option<Seqno> {
    let of_recovery = chunks
        .iter()
        .filter(|(name, path)| name.kind.is_recovery() && counts(path));
    of_recovery.map(|(name, _)| name.first).min()
}

/// The name of a chunk once its service is open.
fn opened(name: &ChunkName) -> ChunkName {
    ChunkName {
        kind: match name.kind {
            ChunkKind::Committed | ChunkKind::CommittedRecovery => ChunkKind::Committed,
            ChunkKind::Open | ChunkKind::OpenRecovery => ChunkKind::Open,
        },
        ..name.clone()
    }
}

/// Whether everything up to `signature` is proven, or else what stands before `first` is not either: that is said when the
/// ledger itself is verified. What was not brought to disk before the power was lost may be there in part, also where a
/// signature after it is whole; a service that opened by such entries has never told anybody.
fn is_proven(files: &LedgerFiles, first: Seqno, signature: Seqno) -> Result<bool> {
    let report = verify(files, &Options::default(), &Silent)?;
    let proven = report.last_signed.map_or(0, |txid| txid.seqno);
    Ok(proven >= signature || proven + 1 < first)
}

/// The first signature over the last status of the service written from `first` on, if that is open.
fn says_open(files: &LedgerFiles, first: Seqno) -> Result<Option<Seqno>> {
    let mut windows = Windows::new(files, first, Seqno::MAX);
    let (mut status, mut signed): (Option<ServiceStatus>, Option<(ServiceStatus, Seqno)>) = (None, None);
    while let Some(window) = windows.next_window()? {
        for segment in window
            .iter()
            .filter(|segment| segment.chunk.file.name.kind.is_recovery())
        {
            segment.for_each(|located| {
                if is_signature(&located) && status != signed.map(|(status, _)| status) {
                    signed = status.map(|status| (status, located.seqno));
                }
                status = status_in(located.maps()).or(status);
            });
        }
    }
    Ok(signed
        .filter(|(status, _)| *status == ServiceStatus::Open)
        .map(|(_, signature)| signature))
}

fn status_in(mut maps: Maps<'_>) -> Option<ServiceStatus> {
    let mut status = None;
    while let Some(table) = maps.next_name().ok()? {
        maps.writes(|write| {
            if table == names::SERVICE_INFO
                && let Some(Ok(info)) = write.value.map(from_json::<ServiceInfo>)
            {
                status = Some(info.status);
            }
        })
        .ok()?;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Curve;
    use crate::fixture::{Options, generate};

    fn names(directory: &Path) -> Vec<String> {
        let files = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn finished(before: &[&str]) -> Vec<String> {
        let scratch = tempfile::tempdir().unwrap();
        for name in before {
            std::fs::write(scratch.path().join(name), name).unwrap();
        }
        let main = scratch.path();
        let opening = InterruptedOpening::find(&[main.to_owned()], main).unwrap();
        assert_eq!(names(main).len(), before.len(), "nothing is changed by looking");
        let mut files = LedgerFiles {
            chunks: Vec::new(),
            spares: Vec::new(),
            notes: Vec::new(),
        };
        opening.finish(&mut files, &mut None).unwrap();
        names(scratch.path())
    }

    #[test]
    fn an_opening_that_was_cut_off_between_two_names_is_finished() {
        let found = finished(&[
            "ledger_1-9.committed",
            "ledger_10-12.committed.recovery",
            "ledger_13-15.committed.recovery",
            "ledger_16-18.committed",
            "ledger_19",
        ]);
        let expected = [
            "ledger_1-9.committed",
            "ledger_10-12.committed",
            "ledger_13-15.committed",
            "ledger_16-18.committed",
            "ledger_19",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_chunk_gets_a_name_that_another_file_has() {
        let main = tempfile::tempdir().unwrap();
        for name in ["ledger_10-12.committed.recovery", "ledger_13.recovery"] {
            std::fs::write(main.path().join(name), name).unwrap();
        }
        let add_all = || {
            let chunks = newest_first(main.path()).unwrap();
            InterruptedOpening::default().add_all(&chunks, main.path())
        };
        add_all().unwrap();
        std::fs::write(main.path().join("ledger_13"), "").unwrap();
        let refused = add_all().unwrap_err().to_string();
        assert!(refused.contains("ledger_13 is there already"), "{refused}");
    }

    #[test]
    fn what_an_unfinished_recovery_left_is_not_preferred_to_a_chunk_in_another_directory() {
        let (main, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in [
            "ledger_1-9.committed",
            "ledger_10-12.committed.recovery",
            "ledger_13-15.committed",
        ] {
            std::fs::write(main.path().join(name), name).unwrap();
        }
        let find = || {
            let directories = [main.path().to_owned(), other.path().to_owned()];
            InterruptedOpening::find(&directories, main.path())
                .unwrap()
                .renames
                .len()
        };
        assert_eq!(find(), 1);
        std::fs::write(other.path().join("ledger_10-12.committed"), "").unwrap();
        assert_eq!(find(), 0);
    }

    #[test]
    fn what_an_unfinished_recovery_left_is_not_taken_for_an_opening() {
        for left in [
            &[
                "ledger_1-9.committed",
                "ledger_10-12.committed.recovery",
                "ledger_13.recovery",
            ][..],
            // The chunk that a first recovery did not have came back.
            &[
                "ledger_1-9.committed",
                "ledger_10-12.committed",
                "ledger_10-12.committed.recovery",
                "ledger_13",
            ],
            &[
                "ledger_1-9.committed",
                "ledger_10",
                "ledger_10-12.committed.recovery",
                "ledger_13",
            ],
            &["ledger_1-9.committed", "ledger_10-11.committed.recovery", "ledger_13"],
        ] {
            assert_eq!(finished(left), left);
        }
    }

    /// The files of a service that was recovered, as they are before they have their names: all of the last service's have
    /// the suffix.
    fn unnamed(out: &Path) -> (PathBuf, Seqno) {
        let options = Options {
            entries: 40,
            signature_every: 5,
            chunk_size: 6000,
            members: 1,
            threshold: 1,
            curve: Curve::P256,
            recoveries: 1,
            ..Options::default()
        };
        let expected = generate(&options, out, &Silent).unwrap();
        let first = expected.services.last().unwrap().from_seqno;
        let ledger = out.join("ledger");
        for (name, path) in newest_first(&ledger).unwrap() {
            if name.first >= first {
                std::fs::rename(&path, path.with_added_extension("recovery")).unwrap();
            }
        }
        (ledger, first)
    }

    /// Changes the last byte of an entry.
    fn tear(files: &LedgerFiles, seqno: Seqno) {
        let mut windows = Windows::new(files, seqno, seqno);
        let mut found = None;
        while let Some(window) = windows.next_window().unwrap() {
            for segment in &window {
                segment.for_each(|located| {
                    let end = located.offset + located.entry.raw.len() as u64;
                    found = found
                        .take()
                        .or((located.seqno == seqno).then(|| (segment.chunk.file.path.clone(), end)));
                });
            }
        }
        let (path, end) = found.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(end).unwrap() - 1] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn an_opening_counts_only_if_a_signature_proves_all_of_it() {
        let scratch = tempfile::tempdir().unwrap();
        let (ledger, first) = unnamed(&scratch.path().join("service"));
        let directories = [ledger.clone()];
        let find = || InterruptedOpening::find(&directories, &ledger).unwrap().renames.len();
        let files = LedgerFiles::list(&directories, true).unwrap();
        let chunks = newest_first(&ledger).unwrap();
        let unnamed = chunks.iter().filter(|(name, _)| name.kind.is_recovery()).count();
        assert!(unnamed > 1);
        assert_eq!(find(), unnamed, "it is whole");
        let signature = says_open(&files, first).unwrap().unwrap();
        let last = files.last_seqno();
        assert!(first < signature && signature < last);
        tear(&files, last);
        assert_eq!(find(), unnamed, "what is torn after it was not promised by the opening");
        tear(&files, signature - 1);
        assert_eq!(find(), 0, "what the signature covers is not what was signed");
        tear(&files, signature - 1);
        assert_eq!(find(), unnamed);
        tear(&files, first);
        assert_eq!(find(), 0);
    }
}
