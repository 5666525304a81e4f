//! An archive verified: every byte of every object, every block decompressed, every file's digest computed anew.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::block;
use super::damage::touched;
use super::manifest::{File, Source, full_name};
use super::open::Archive;
use super::pack::{HEADER_BYTES, MAGIC, digest};
use crate::crypto::digest::Digest;
use crate::error::Result;
use crate::report::progress::Progress;
use crate::report::{Code, Finding, Findings, Verdict};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct ArchiveReport {
    /// The short answer.
    pub verdict: Verdict,
    /// The archive.
    pub archive: String,
    /// When it was complete, seconds since 1970.
    pub made_at: u64,
    /// Packs.
    pub packs: usize,
    /// Blocks, each once.
    pub blocks: usize,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Files.
    pub files: usize,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Files that can't be restored.
    pub damaged_files: usize,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// Verifies an archive.
///
/// # Errors
/// If the store can't be read at all. What is wrong with the archive is in the report.
pub fn verify(archive: &Archive, progress: &dyn Progress) -> Result<ArchiveReport> {
    let manifest = &archive.manifest;
    let mut findings = Findings::default();
    archive
        .findings
        .iter()
        .for_each(|finding| findings.push(finding.clone()));
    // Files of the same blocks are the same file.
    let mut seen = HashSet::new();
    let mut files: Vec<&File> = manifest
        .files()
        .filter(|file| seen.insert((file.sha256.0, &file.blocks)))
        .collect();
    files.sort_by_key(|file| file.blocks.first().copied());
    let distinct: u64 = files.iter().map(|file| file.size).sum();
    progress.begin("verify", manifest.stored_bytes().saturating_add(distinct));
    let mut damaged = BTreeMap::new();
    let mut from = 0;
    for pack in 0..manifest.document.packs.len() {
        check_pack(archive, pack, &mut damaged, &mut findings)?;
        progress.advance(archive.pack(pack).map_or(0, |(pack, _)| pack.size), 0);
        // The files that are whole by now, while their packs are at hand.
        let end = manifest.blocks_of(pack).end;
        let rest = files.get(from..).unwrap_or_default();
        let count = rest
            .iter()
            .take_while(|file| file.block_numbers().all(|number| number < end))
            .count();
        let ready = rest.get(..count).unwrap_or_default();
        from += count;
        check_files(archive, ready, &mut damaged, &mut findings, progress);
    }
    check_files(
        archive,
        files.get(from..).unwrap_or_default(),
        &mut damaged,
        &mut findings,
        progress,
    );
    archive.reachable()?;
    progress.end();
    let damaged_files = report_damage(archive, &damaged, &mut findings);
    for (name, size) in archive.foreign()? {
        let text = format!(
            "{} ({size} bytes) is not named by the manifest",
            crate::shown::excerpt(&name)
        );
        findings.push(Finding::new(Code::ArchiveForeign, text));
    }
    let findings = findings.finish();
    Ok(ArchiveReport {
        verdict: Verdict::of(&findings),
        archive: archive.name(),
        made_at: manifest.document.made_at,
        packs: manifest.document.packs.len(),
        blocks: manifest.rows.len(),
        stored_bytes: manifest.stored_bytes(),
        files: manifest.files().count(),
        file_bytes: u64::try_from(manifest.file_bytes()).unwrap_or(u64::MAX),
        damaged_files,
        findings,
    })
}

/// What is wrong with blocks, by their numbers.
type Damaged = BTreeMap<u64, String>;

fn check_pack(archive: &Archive, pack: usize, damaged: &mut Damaged, findings: &mut Findings) -> Result<()> {
    let Some((row, name)) = archive.pack(pack) else {
        return Ok(());
    };
    let at = |text: String, offset: Option<usize>| {
        let mut finding = Finding::new(Code::ArchivePack, text);
        finding.file = Some(format!("{}/{name}", archive.name()));
        finding.offset = offset.map(|offset| offset as u64);
        finding
    };
    let bytes = match archive.pack_bytes(pack) {
        Ok(Some(bytes)) => bytes,
        answer => {
            archive.reachable()?;
            let is_there = answer.is_err();
            let why = answer.err().map_or("it is missing".to_owned(), |why| why.to_string());
            for number in archive.manifest.blocks_of(pack) {
                // Under one bad sector lie few of its blocks.
                if !(is_there && archive.is_near() && archive.block(number).is_ok()) {
                    damaged.insert(number, format!("its pack can't be read: {why}"));
                }
            }
            findings.push(at(format!("the pack can't be read: {why}"), None));
            return Ok(());
        }
    };
    if bytes.len() as u64 == row.size && digest(&bytes) == row.sha256.0 {
        return Ok(());
    }
    // A byte of it was changed: which?
    let mut named = false;
    if bytes.len() as u64 != row.size {
        let (text, end) = match bytes.len() as u64 {
            more if more > row.size => (
                format!("the pack has more than its {} bytes", row.size),
                row.size as usize,
            ),
            less => (format!("the pack has {less} bytes, expected {}", row.size), bytes.len()),
        };
        findings.push(at(text, Some(end)));
        named = true;
    }
    if !bytes.starts_with(&MAGIC) {
        findings.push(at("the pack does not begin as packs do".to_owned(), Some(0)));
        named = true;
    }
    for number in archive.manifest.blocks_of(pack) {
        let (Some(row), Some((_, offset))) = (archive.manifest.row(number), archive.manifest.place(number)) else {
            continue;
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let header = start.checked_sub(HEADER_BYTES).and_then(|at| bytes.get(at..start));
        let own = row.to_bytes();
        let expected = [&own[..], &crc32fast::hash(&own).to_le_bytes()].concat();
        if let Some(header) = header.filter(|header| *header != expected) {
            let place = header
                .iter()
                .zip(&expected)
                .position(|(a, b)| a != b)
                .unwrap_or_default();
            let text =
                format!("the header of block {number} is not what the manifest says; the block itself may be whole");
            findings.push(at(text, Some(start - HEADER_BYTES + place)));
            named = true;
        }
        let stored = bytes
            .get(start..start.saturating_add(row.stored as usize))
            .unwrap_or_default();
        if let Err(why) = block::check(row, stored) {
            damaged.insert(number, why);
            named = true;
        }
    }
    if !named {
        let text = "the pack does not have its SHA-256, though each of its blocks has its CRC-32".to_owned();
        findings.push(at(text, None));
    }
    Ok(())
}

/// The digest of a file so far, and whether anything of it was missing.
struct Chain {
    state: Sha256,
    broken: bool,
    bad: Vec<(u64, String)>,
}

fn check_files(
    archive: &Archive,
    files: &[&File],
    damaged: &mut Damaged,
    findings: &mut Findings,
    progress: &dyn Progress,
) {
    let begin = |_| Chain {
        state: Sha256::new(),
        broken: false,
        bad: Vec::new(),
    };
    let block = |chain: &mut Chain, number: u64, loaded: std::result::Result<Vec<u8>, String>| match loaded {
        Ok(bytes) => {
            chain.state.update(&bytes);
            progress.advance(bytes.len() as u64, 0);
            let id = archive.manifest.row(number).map(|row| row.id);
            if !chain.broken && id != Some(Digest::from(chain.state.clone().finalize())) {
                chain.broken = true;
                let why = "its bytes are not those that were archived: the SHA-256 up to its end differs";
                chain.bad.push((number, why.to_owned()));
            }
        }
        Err(why) => {
            chain.broken = true;
            chain.bad.push((number, why));
        }
    };
    let end = |file: usize, chain: Chain| {
        let wrong = !chain.broken
            && files
                .get(file)
                .is_some_and(|file| file.sha256.0 != Digest::from(chain.state.finalize()));
        (chain.bad, wrong)
    };
    for ((bad, wrong), file) in archive.stream(files, begin, block, end).into_iter().zip(files) {
        for (number, why) in bad {
            damaged.entry(number).or_insert(why);
        }
        if wrong {
            findings.push(Finding::new(
                Code::ArchiveFile,
                format!("{} does not have its SHA-256", file.path),
            ));
        }
    }
}

/// Names every damaged block, and every file that it touches; answers how many files.
fn report_damage(archive: &Archive, damaged: &Damaged, findings: &mut Findings) -> usize {
    for (number, why) in damaged {
        let Some((pack, offset)) = archive.manifest.place(*number) else {
            continue;
        };
        let name = archive.pack(pack).map_or(String::new(), |(_, name)| name);
        let mut finding = Finding::new(Code::ArchiveBlock, format!("block {number} is damaged: {why}"));
        finding.file = Some(format!("{}/{name}", archive.name()));
        finding.offset = Some(offset);
        findings.push(finding);
    }
    if damaged.is_empty() {
        return 0;
    }
    let mut known = HashMap::new();
    let mut count = 0;
    for (source, file) in archive
        .manifest
        .document
        .sources
        .iter()
        .flat_map(|source| source.files.iter().map(move |file| (source, file)))
    {
        if let Some(finding) = damage_to(archive, source, file, damaged, &mut known) {
            findings.push(finding);
            count += 1;
        }
    }
    count
}

/// What entries a file has lost, by its name and its blocks: the same file of another node has lost the same.
type Known<'a> = HashMap<(&'a str, &'a [(u64, u64)]), Option<std::ops::RangeInclusive<u64>>>;

fn damage_to<'a>(
    archive: &'a Archive,
    source: &Source,
    file: &'a File,
    damaged: &Damaged,
    known: &mut Known<'a>,
) -> Option<Finding> {
    let parts = damaged_parts(file, |number| damaged.contains_key(&number), archive);
    let (first, last) = (parts.first()?, parts.last()?);
    let seqnos = known
        .entry((&file.path, &file.blocks))
        .or_insert_with(|| touched(archive, file, &parts))
        .clone();
    let lost = match &seqnos {
        Some(seqnos) if *seqnos.end() == u64::MAX => format!(": entries from seqno {} on", seqnos.start()),
        Some(seqnos) if seqnos.start() == seqnos.end() => format!(": the entry at seqno {}", seqnos.start()),
        Some(seqnos) => format!(": entries at seqnos {} to {}", seqnos.start(), seqnos.end()),
        None => String::new(),
    };
    let text = format!(
        "bytes {} to {} can't be restored{lost}",
        first.start,
        last.end.saturating_sub(1)
    );
    let mut finding = Finding::new(Code::ArchiveFile, text).offset(first.start);
    finding.file = Some(format!("{}/{}", archive.name(), full_name(source, &file.path)));
    finding.seqno = seqnos.map(|seqnos| *seqnos.start());
    Some(finding)
}

/// The bytes of a file whose blocks are damaged.
pub fn damaged_parts(file: &File, is_damaged: impl Fn(u64) -> bool, archive: &Archive) -> Vec<std::ops::Range<u64>> {
    let mut at = 0;
    let mut parts = Vec::new();
    for number in file.block_numbers() {
        let size = archive.manifest.row(number).map_or(0, |row| u64::from(row.size));
        if is_damaged(number) {
            parts.push(at..at + size);
        }
        at += size;
    }
    parts
}
