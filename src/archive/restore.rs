//! An archive restored: byte for byte, with names, times and permissions, each file as a whole or not at all.
//!
//! The directory is new or empty, or one in which an earlier restoration of the same archive was interrupted: a file in it
//! says so from the first moment to the last. Links are made when all files are there, so nothing is written through one.

use std::fs::{File as OpenFile, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, flock, utimensat};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::manifest::{File, Link, Source, Time, full_name, unescape_target};
use super::open::Archive;
use super::path::{existing, stays_inside, unescape, unescape_part};
use super::verify::damaged_parts;
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::format::whole_file::{PRIVATE, WholeFile};
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings, Verdict};
use crate::shown::Show;

/// The file that says that a restoration is not complete.
pub const MARK: &str = ".rekindle-restoring";

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// The short answer.
    pub verdict: Verdict,
    /// The archive.
    pub archive: String,
    /// Where to.
    pub directory: String,
    /// Files restored, those included that an interrupted run had restored.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were there already.
    pub there_already: usize,
    /// Files that could not be restored.
    pub lost_files: usize,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Restores an archive.
///
/// # Errors
/// If the directory holds something else, is too small, or can't be written. What is wrong with the archive is in the report.
pub fn restore(archive: &Archive, out: &Path, progress: &dyn Progress) -> Result<RestoreReport> {
    let total = archive.manifest.file_bytes();
    let (mark, _lock) = begin(archive, out)?;
    refuse_too_small(out, total)?;
    let mut findings = Findings::default();
    archive
        .findings
        .iter()
        .for_each(|finding| findings.push(finding.clone()));
    progress.begin("restore", u64::try_from(total).unwrap_or(u64::MAX));
    let sources = &archive.manifest.document.sources;
    let mut report = RestoreReport {
        verdict: Verdict::Ok,
        archive: archive.name(),
        directory: out.shown().to_string(),
        files: 0,
        bytes: 0,
        there_already: 0,
        lost_files: 0,
        findings: Vec::new(),
    };
    let roots = sources
        .iter()
        .map(|source| root_of(source, out))
        .collect::<Result<Vec<_>>>()?;
    for (source, root) in sources.iter().zip(&roots) {
        make_folders(source, root)?;
        let done = files(archive, source, root, progress, &mut findings)?;
        for (file, done) in source.files.iter().zip(done) {
            match done {
                Done::Written => {}
                Done::There => report.there_already += 1,
                Done::Lost => {
                    report.lost_files += 1;
                    continue;
                }
            }
            report.files += 1;
            report.bytes += file.size;
            set_attributes(
                &path_in(root, &file.path)?,
                file.modified,
                Some(file.mode),
                &mut findings,
            );
        }
    }
    for (source, root) in sources.iter().zip(&roots) {
        for link in &source.links {
            make_link(source, link, root, &mut findings)?;
        }
        // What is written into a folder changes its time: those furthest in first.
        for folder in source.directories.iter().rev() {
            set_attributes(
                &path_in(root, &folder.path)?,
                folder.modified,
                Some(folder.mode),
                &mut findings,
            );
        }
    }
    std::fs::remove_file(&mark).map_err(Error::io("remove", &mark))?;
    OpenFile::open(out)
        .and_then(|out| out.sync_all())
        .map_err(Error::io("sync", out))?;
    progress.end();
    report.findings = findings.finish();
    report.verdict = Verdict::of(&report.findings);
    Ok(report)
}

/// Makes the directory, with the file that says that it is not complete.
fn begin(archive: &Archive, out: &Path) -> Result<(PathBuf, OpenFile)> {
    refuse_archive(archive, out)?;
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(out) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            return Err(Error::Usage(format!("{} is not a directory", out.shown())));
        }
        made => made.map_err(Error::io("create the directory", out))?,
    }
    let lock = OpenFile::open(out).map_err(Error::io("open", out))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Error::Usage(format!(
            "another process restores to {}; wait for it",
            out.shown()
        )));
    }
    let mark = out.join(MARK);
    let own = own_mark(archive);
    let found = std::fs::read_dir(out)
        .map_err(Error::io("list directory", out))?
        .next()
        .is_some();
    let marked = match OpenFile::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&mark)
    {
        Ok(file) => {
            let mut text = String::new();
            file.take(1 << 10)
                .read_to_string(&mut text)
                .map_err(Error::io("read", &mark))?;
            Some(text)
        }
        Err(why) if why.kind() == ErrorKind::NotFound => None,
        Err(why) => return Err(Error::io("open", &mark)(why)),
    };
    match (found, marked) {
        (false, _) => crate::format::whole_file::write_whole(&mark, own.as_bytes(), PRIVATE)?,
        (true, Some(text)) if text == own => {}
        (true, Some(_)) => {
            return Err(Error::Usage(format!(
                "another archive was being restored to {}; name a directory that is new or empty",
                out.shown()
            )));
        }
        (true, None) => {
            return Err(Error::Usage(format!(
                "{} is not empty; name a directory that is new or empty",
                out.shown()
            )));
        }
    }
    Ok((mark, lock))
}

/// An archive is read, and never written to.
fn refuse_archive(archive: &Archive, out: &Path) -> Result<()> {
    let Some(root) = archive.directory().and_then(|root| root.canonicalize().ok()) else {
        return Ok(());
    };
    match existing(out)?.starts_with(&root) {
        false => Ok(()),
        true => Err(Error::Usage(format!(
            "{} lies in the archive, which is never written to; name a directory elsewhere",
            out.shown()
        ))),
    }
}

/// What the mark says: which archive it is.
fn own_mark(archive: &Archive) -> String {
    let mut state = Sha256::new();
    for pack in &archive.manifest.document.packs {
        state.update(pack.sha256.0);
    }
    for file in archive.manifest.files() {
        state.update(file.path.as_bytes());
        state.update(file.sha256.0);
    }
    format!(
        "{} {}\n",
        archive.manifest.document.made_at,
        hex::encode(state.finalize())
    )
}

fn refuse_too_small(out: &Path, total: u128) -> Result<()> {
    let there = rustix::fs::statvfs(out).map_err(|why| Error::io("look at", out)(why.into()))?;
    let free = u128::from(there.f_bavail) * u128::from(there.f_frsize);
    // What an interrupted run restored is there already.
    let restored = u128::from(size_below(out, 0));
    if total > free.saturating_add(restored) {
        return Err(Error::Unreadable(format!(
            "{} has room for {free} bytes, and {total} are to be restored; name a directory on a larger disk",
            out.shown()
        )));
    }
    Ok(())
}

fn size_below(directory: &Path, depth: usize) -> u64 {
    let Ok(listing) = std::fs::read_dir(directory) else {
        return 0;
    };
    let sizes = listing.flatten().map(|item| match item.metadata() {
        Ok(found) if found.is_dir() && depth <= super::path::MAX_DEPTH => size_below(&item.path(), depth + 1),
        Ok(found) if found.is_file() => found.len(),
        _ => 0,
    });
    sizes.sum()
}

fn root_of(source: &Source, out: &Path) -> Result<PathBuf> {
    unescape_part(&source.name)
        .map(|name| out.join(name))
        .map_err(Error::Unreadable)
}

fn path_in(root: &Path, path: &str) -> Result<PathBuf> {
    let path = unescape(path).map_err(Error::Unreadable)?;
    Ok(if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    })
}

fn make_folders(source: &Source, root: &Path) -> Result<()> {
    for folder in &source.directories {
        let path = path_in(root, &folder.path)?;
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            // Of an interrupted run, which may have given it its permissions; never what a link leads to.
            Err(why)
                if why.kind() == ErrorKind::AlreadyExists
                    && path.symlink_metadata().is_ok_and(|found| found.is_dir()) =>
            {
                std::fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(Error::io("open", &path))?;
            }
            made => made.map_err(Error::io("create the directory", &path))?,
        }
    }
    Ok(())
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Written,
    There,
    Lost,
}

/// A file that is being restored.
struct Writing {
    file: Option<WholeFile>,
    state: Sha256,
    fault: Option<Fault>,
    bad: Vec<u64>,
    why: String,
}

enum Fault {
    /// With the archive.
    Archive,
    /// With this machine.
    Machine(Error),
}

fn files(
    archive: &Archive,
    source: &Source,
    root: &Path,
    progress: &dyn Progress,
    findings: &mut Findings,
) -> Result<Vec<Done>> {
    let paths = source
        .files
        .iter()
        .map(|file| path_in(root, &file.path))
        .collect::<Result<Vec<_>>>()?;
    let is_there: Vec<bool> = source
        .files
        .iter()
        .zip(&paths)
        .map(|(file, path)| is_there(file, path))
        .collect();
    let missing = || {
        source
            .files
            .iter()
            .zip(&paths)
            .zip(&is_there)
            .filter(|(_, there)| !**there)
            .map(|(pair, _)| pair)
    };
    let wanted: Vec<&File> = missing().map(|(file, _)| file).collect();
    let places: Vec<&PathBuf> = missing().map(|(_, path)| path).collect();
    let begin = |i: usize| {
        let made = places.get(i).map(|path| WholeFile::create(path, PRIVATE));
        let (file, fault) = match made {
            Some(Ok(file)) => (Some(file), None),
            Some(Err(why)) => (None, Some(Fault::Machine(why))),
            None => (None, None),
        };
        Writing {
            file,
            state: Sha256::new(),
            fault,
            bad: Vec::new(),
            why: String::new(),
        }
    };
    let block = |writing: &mut Writing, number: u64, loaded: std::result::Result<Vec<u8>, String>| match loaded {
        Ok(bytes) => {
            progress.advance(bytes.len() as u64, 0);
            writing.state.update(&bytes);
            let written = writing.file.as_mut().map(|file| file.write_all(&bytes));
            if let (Some(Err(why)), None) = (written, &writing.fault) {
                writing.fault = Some(Fault::Machine(Error::io("write", root)(why)));
            }
        }
        Err(why) => {
            // It will not be whole: nothing more needs to be kept of it.
            writing.file = None;
            writing.bad.push(number);
            writing.why = why;
            writing.fault.get_or_insert(Fault::Archive);
        }
    };
    let end = |i: usize, mut writing: Writing| {
        let sha256 = wanted.get(i).map(|file| file.sha256.0);
        if writing.fault.is_none() && sha256 != Some(Digest::from(writing.state.clone().finalize())) {
            writing.fault = Some(Fault::Archive);
            writing.why = "its bytes do not have its SHA-256".to_owned();
        }
        if writing.fault.is_none() {
            let finished = writing.file.take().map(WholeFile::finish);
            writing.fault = finished.and_then(std::result::Result::err).map(Fault::Machine);
        }
        writing
    };
    let mut written = archive.stream(&wanted, begin, block, end).into_iter();
    // What could not be asked for is there another time: the same restoration goes on then.
    archive.reachable()?;
    let mut done = Vec::with_capacity(is_there.len());
    for (file, there) in source.files.iter().zip(is_there) {
        if there {
            progress.advance(file.size, 0);
            done.push(Done::There);
            continue;
        }
        let Some(writing) = written.next() else { break };
        done.push(match writing.fault {
            None => Done::Written,
            Some(Fault::Machine(why)) => return Err(why),
            Some(Fault::Archive) => {
                findings.push(lost(archive, source, file, &writing.bad, &writing.why));
                Done::Lost
            }
        });
    }
    Ok(done)
}

fn lost(archive: &Archive, source: &Source, file: &File, bad: &[u64], why: &str) -> Finding {
    let parts = damaged_parts(file, |number| bad.contains(&number), archive);
    let seqnos = super::damage::touched(archive, file, &parts).filter(|_| !parts.is_empty());
    let entries = match &seqnos {
        Some(seqnos) if *seqnos.end() == u64::MAX => format!(" (entries from seqno {} on)", seqnos.start()),
        Some(seqnos) => format!(" (entries at seqnos {} to {})", seqnos.start(), seqnos.end()),
        None => String::new(),
    };
    let mut finding = Finding::new(Code::ArchiveFile, format!("it was not restored: {why}{entries}"));
    finding.file = Some(format!("{}/{}", archive.name(), full_name(source, &file.path)));
    finding.offset = parts.first().map(|part| part.start);
    finding.seqno = seqnos.map(|seqnos| *seqnos.start());
    finding
}

/// Whether a file was restored by an interrupted run: its bytes are what counts.
fn is_there(file: &File, path: &Path) -> bool {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(mut open) = OpenFile::options().read(true).custom_flags(flags).open(path) else {
        return false;
    };
    if !open
        .metadata()
        .is_ok_and(|found| found.is_file() && found.len() == file.size)
    {
        return false;
    }
    let mut state = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match open.read(&mut buffer) {
            Ok(0) => return Digest::from(state.finalize()) == file.sha256.0,
            Ok(size) => state.update(buffer.get(..size).unwrap_or_default()),
            Err(_) => return false,
        }
    }
}

fn make_link(source: &Source, link: &Link, root: &Path, findings: &mut Findings) -> Result<()> {
    let inside = unescape(&link.path).map_err(Error::Unreadable)?;
    let path = root.join(&inside);
    let target = unescape_target(&link.target).filter(|target| stays_inside(&inside, target));
    let Some(target) = target else {
        let text = format!(
            "the link leads to {}, out of what is restored",
            crate::shown::excerpt(&link.target)
        );
        let mut finding = Finding::new(Code::ArchiveLinkOut, text);
        finding.file = Some(full_name(source, &link.path));
        findings.push(finding);
        return Ok(());
    };
    match std::os::unix::fs::symlink(&target, &path) {
        // Of an interrupted run.
        Err(why)
            if why.kind() == ErrorKind::AlreadyExists
                && std::fs::read_link(&path).is_ok_and(|found| found == target) =>
        {
            Ok(())
        }
        made => made.map_err(Error::io("make the link", &path)),
    }
}

fn set_attributes(path: &Path, modified: Time, mode: Option<u32>, findings: &mut Findings) {
    // Nothing runs with somebody else's rights because an archive says so.
    let permissions = mode.map(|mode| std::fs::set_permissions(path, Permissions::from_mode(mode & 0o777)));
    let time = Timespec {
        tv_sec: modified.s,
        tv_nsec: i64::from(modified.ns.min(999_999_999)),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    let timed = utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from);
    for why in permissions.into_iter().chain([timed]).filter_map(std::io::Result::err) {
        let text = format!("its time or permissions could not be set: {}", crate::shown::Shown(why));
        findings.push(Finding::new(Code::ArchiveAttributes, text).file(path));
    }
}
