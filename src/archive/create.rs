//! An archive made: what an interrupted run stored is taken up, everything is read, and the manifest comes last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use super::block::{self, Row};
use super::copies::{Gate, Pending, pending};
use super::document::MADE_BY;
use super::manifest::{Document, File, MAX_BYTES, Manifest, NAMES, Pack, Source, escape_below, full_name};
use super::pack::{self, MAX_PACK_BYTES};
use super::path::{escape_any, existing};
use super::pipeline::{Pipeline, Record};
use super::reading::{End, read_all};
use super::store::{Store, create, is_url};
use super::survey::{Seen, Surveyed, late, survey};
use crate::crypto::digest::Digest;
use crate::error::{Error, Result};
use crate::recovery::join::Mode;
use crate::report::progress::Progress;
use crate::report::{Code, Finding};
use crate::tables::values::HexDigest;

/// What became of it.
pub struct Created {
    /// What is in the archive now.
    pub manifest: Manifest,
    /// Packs of an interrupted run that were taken up.
    pub reused: usize,
}

/// Makes an archive of these directories.
///
/// # Errors
/// If the destination is an archive already, or holds something else, or lies in a directory that is read; if it can't be
/// written. What is wrong with the directories is a finding, except that one of these can't be listed at all.
pub fn run(roots: &[PathBuf], destination: &Path, mode: Mode, progress: &dyn Progress) -> Result<Created> {
    if !is_url(destination) {
        refuse_overlap(roots, destination)?;
    }
    let mut findings = Vec::new();
    let surveyed = survey(roots, &mut findings)?;
    let store = create(destination)?;
    let (packs, rows, contents) = take_up(store.as_ref(), progress)?;
    let reused = packs.len();
    let mut pipeline = Pipeline::new(Arc::clone(&store), packs, rows, contents);
    let files = surveyed.iter().flat_map(|source| &source.files);
    progress.begin("archive", files.map(|file| file.size).sum());
    let mut sources: Vec<Source> = Vec::new();
    for surveyed in &surveyed {
        let source = one(surveyed, &sources, &mut pipeline, mode, &mut findings, progress)?;
        sources.push(source);
    }
    let (packs, rows) = pipeline.finish()?;
    progress.end();
    let (packs, rows) = without_unused(packs, rows, &mut sources);
    let document = Document {
        made_by: MADE_BY.to_owned(),
        made_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        packs,
        sources,
        findings,
    };
    let broken = |why| {
        Error::Unreadable(format!(
            "the manifest does not hold together, which is a fault of rekindle: {why}"
        ))
    };
    let manifest = Manifest::new(document, rows).map_err(broken)?;
    let bytes = manifest.to_bytes().map_err(broken)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Unreadable(format!(
            "the manifest has {} bytes, expected {MAX_BYTES} at most; make an archive of each directory",
            bytes.len()
        )));
    }
    // As whoever needs it will read it: an archive that can't be read is none.
    Manifest::parse(&bytes).map_err(broken)?;
    complete(store.as_ref(), &manifest, &bytes)?;
    Ok(Created { manifest, reused })
}

/// Writes the manifest, once everything that it names is there.
fn complete(store: &dyn Store, manifest: &Manifest, bytes: &[u8]) -> Result<()> {
    let listed: HashMap<String, u64> = store.list()?.into_iter().collect();
    let [whole, spare] = NAMES;
    if listed.contains_key(whole) {
        return Err(finished_by_another(store));
    }
    for pack in &manifest.document.packs {
        let name = pack::object_name(pack.number, &pack.sha256.0);
        let found = listed.get(&name);
        if found != Some(&pack.size) {
            return Err(Error::Unreadable(format!(
                "{name} in {} was stored with {} bytes and is listed with {}; run the same command again, and see what else writes there",
                store.name(),
                pack.size,
                found.map_or("none".to_owned(), u64::to_string)
            )));
        }
    }
    // The spare first: with the other one, the archive is whole.
    store.put(spare, bytes.to_vec())?;
    match store.put_new(whole, bytes.to_vec())? {
        true => Ok(()),
        false => Err(finished_by_another(store)),
    }
}

fn finished_by_another(store: &dyn Store) -> Error {
    Error::Usage(format!(
        "another process has completed the archive in {} meanwhile, which is never written to; name another destination",
        store.name()
    ))
}

/// Nothing is ever written into a directory that is read, and an archive does not archive itself.
fn refuse_overlap(roots: &[PathBuf], destination: &Path) -> Result<()> {
    use crate::shown::Show;
    let real = existing(destination)?;
    for root in roots {
        let inside = root.canonicalize().is_ok_and(|root| real.starts_with(&root));
        if inside {
            return Err(Error::Usage(format!(
                "{} lies in {}, which is being read and never written to; name a destination elsewhere",
                destination.shown(),
                root.shown()
            )));
        }
    }
    Ok(())
}

/// The packs that an interrupted run stored, their rows, and the SHA-256 of each block's bytes. Each pack is held against the
/// digest in its name. What is not whole is left where it is.
fn take_up(store: &dyn Store, progress: &dyn Progress) -> Result<(Vec<Pack>, Vec<Row>, Vec<Digest>)> {
    let listed = store.list()?;
    let is_temporary = |name: &str| {
        name.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with('.') && name.ends_with(".partial"))
    };
    for (name, _) in &listed {
        let [whole, spare] = NAMES;
        if name == whole {
            return Err(Error::Usage(format!(
                "{} is a whole archive already, which is never written to; name another destination",
                store.name()
            )));
        }
        if name != spare && pack::parse_name(name).is_none() && !is_temporary(name) {
            return Err(Error::Usage(format!(
                "{} holds {}, which is no part of an archive; name a destination that is new or empty",
                store.name(),
                crate::shown::excerpt(name)
            )));
        }
    }
    let stored: Vec<_> = listed
        .iter()
        .filter_map(|(name, size)| Some((name, *size, pack::parse_name(name)?)))
        .collect();
    progress.begin("take up", stored.iter().map(|(_, size, _)| size).sum());
    let (mut packs, mut rows, mut contents): (Vec<Pack>, Vec<Row>, Vec<Digest>) = Default::default();
    for (name, size, (number, sha256)) in stored {
        progress.advance(size, 0);
        // Numbers for what comes after must be left.
        let is_last = number > pack::MAX_NUMBER / 2;
        if size > MAX_PACK_BYTES || is_last || packs.last().is_some_and(|last| last.number == number) {
            continue;
        }
        let bytes = match store.get(name, MAX_PACK_BYTES) {
            Ok(Some(bytes)) => bytes,
            Err(why) if store.is_far() => return Err(why),
            // A bad sector under one pack: it is stored anew.
            Ok(None) | Err(_) => continue,
        };
        if pack::digest(&bytes) != sha256 {
            continue;
        }
        let Ok(found) = pack::rows(&bytes) else { continue };
        let Some(digests) = contents_of(&bytes, &found) else {
            continue;
        };
        contents.extend(digests);
        packs.push(Pack {
            number,
            size: bytes.len() as u64,
            sha256: HexDigest(sha256),
            blocks: found.len() as u64,
        });
        rows.extend(found);
    }
    progress.end();
    Ok((packs, rows, contents))
}

/// SHA-256 of what each block of a pack decompresses to; none if one does not.
fn contents_of(bytes: &[u8], rows: &[Row]) -> Option<Vec<Digest>> {
    let mut at = pack::MAGIC.len();
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows {
        let start = at + pack::HEADER_BYTES;
        at = start + row.stored as usize;
        parts.push((row, bytes.get(start..at)?));
    }
    let each = parts.into_par_iter();
    each.map(|(row, stored)| block::load(row, stored).ok().map(|block| pack::digest(&block)))
        .collect()
}

fn one(
    surveyed: &Surveyed,
    before: &[Source],
    pipeline: &mut Pipeline,
    mode: Mode,
    findings: &mut Vec<Finding>,
    progress: &dyn Progress,
) -> Result<Source> {
    let gate = Gate::default();
    let mut copies = pending(surveyed, before);
    let (sender, receiver) = sync_channel(2);
    let records = std::thread::scope(|scope| {
        let (gate, copies) = (&gate, &mut copies);
        scope.spawn(move || Pending::verify_beside(copies, mode, gate));
        scope.spawn(move || {
            read_all(&surveyed.files, &sender, gate);
            gate.release();
        });
        let records = pipeline.take_in(&receiver, surveyed.files.len(), progress);
        // Where nothing can be stored nobody is to wait until everything was read.
        gate.release();
        drop(receiver);
        records
    })?;
    let mut source = Source {
        name: surveyed.name.clone(),
        path: escape_any(&surveyed.root),
        directories: surveyed.directories.clone(),
        files: Vec::new(),
        links: surveyed.links.clone(),
        copies: Vec::new(),
    };
    for (seen, record) in surveyed.files.iter().zip(records) {
        source.files.extend(file(&surveyed.root, &seen.path, record, findings));
    }
    match late(surveyed) {
        Ok((directories, files)) => {
            let records = read(&files, pipeline, progress)?;
            source.directories.extend(directories);
            for (seen, record) in files.iter().zip(records) {
                source.files.extend(file(&surveyed.root, &seen.path, record, findings));
            }
        }
        Err(why) => {
            let text = format!("it could not be looked at once more, after it was read: {why}");
            findings.push(Finding::new(Code::ArchiveUnread, text).file(&surveyed.root));
        }
    }
    for copy in copies {
        let (copy, why) = copy.finish(&source, before, mode);
        if let Some(why) = why {
            let main = copy.directories.first().or(copy.snapshots.first());
            let name = full_name(&source, main.map_or("", String::as_str));
            findings.push(Finding::new(
                Code::ArchiveCopyUnread,
                format!("the ledger {name} could not be verified: {why}"),
            ));
        }
        source.copies.push(copy);
    }
    Ok(source)
}

/// Reads files beside which nothing is verified.
fn read(files: &[Seen], pipeline: &mut Pipeline, progress: &dyn Progress) -> Result<Vec<Record>> {
    let (sender, receiver) = sync_channel(2);
    std::thread::scope(|scope| {
        scope.spawn(move || read_all(files, &sender, &Gate::open()));
        let records = pipeline.take_in(&receiver, files.len(), progress);
        drop(receiver);
        records
    })
}

/// A file's row in the manifest, if it could be read.
fn file(root: &Path, path: &Path, record: Record, findings: &mut Vec<Finding>) -> Option<File> {
    let (modified, mode) = match record.end {
        Some(End::Whole {
            modified,
            mode,
            changing,
        }) => {
            if let Some(why) = changing {
                let text =
                    format!("it changed each time that it was read: {why}; the archive has it as it was read last");
                findings.push(Finding::new(Code::ArchiveChanging, text).file(path));
            }
            (modified, mode)
        }
        lost => {
            let why = match lost {
                Some(End::Lost(why)) => why,
                _ => "it was not reached".to_owned(),
            };
            if path
                .symlink_metadata()
                .is_err_and(|why| why.kind() == std::io::ErrorKind::NotFound)
            {
                let text =
                    "it was renamed or removed before it was read; what stands in its folder since is archived too";
                findings.push(Finding::new(Code::ArchiveChanging, text.to_owned()).file(path));
                return None;
            }
            findings.push(Finding::new(Code::ArchiveUnread, format!("it could not be read: {why}")).file(path));
            return None;
        }
    };
    Some(File {
        path: escape_below(root, path),
        size: record.size,
        modified,
        mode,
        sha256: HexDigest(record.sha256),
        blocks: record.blocks,
    })
}

/// Leaves out packs of an interrupted run of which nothing is needed any more: their sources changed. They stay where they are.
fn without_unused(packs: Vec<Pack>, rows: Vec<Row>, sources: &mut [Source]) -> (Vec<Pack>, Vec<Row>) {
    let mut used = vec![false; rows.len()];
    let files = || sources.iter().flat_map(|source| &source.files);
    for number in files().flat_map(File::block_numbers) {
        if let Some(used) = usize::try_from(number).ok().and_then(|number| used.get_mut(number)) {
            *used = true;
        }
    }
    let (mut kept, mut kept_rows, mut moved) = (Vec::new(), Vec::new(), HashMap::new());
    let mut first = 0;
    for pack in packs {
        let count = usize::try_from(pack.blocks).unwrap_or_default();
        let range = first..first + count;
        first += count;
        if !used.get(range.clone()).unwrap_or_default().contains(&true) {
            continue;
        }
        for (old, row) in range.clone().zip(rows.get(range).unwrap_or_default()) {
            moved.insert(old as u64, kept_rows.len() as u64);
            kept_rows.push(*row);
        }
        kept.push(pack);
    }
    if kept_rows.len() == rows.len() {
        return (kept, rows);
    }
    for file in sources.iter_mut().flat_map(|source| &mut source.files) {
        let mut blocks: Vec<(u64, u64)> = Vec::new();
        for number in file.block_numbers().filter_map(|number| moved.get(&number).copied()) {
            match blocks.last_mut().filter(|(first, count)| first + count == number) {
                Some((_, count)) => *count += 1,
                None => blocks.push((number, 1)),
            }
        }
        file.blocks = blocks;
    }
    (kept, kept_rows)
}
