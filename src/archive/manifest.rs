//! The manifest: what is in an archive, and where.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `RKMANI1` and a line break |
//! | 8 | 8 | D, stored bytes of the document, u64 LE |
//! | 16 | 8 | bytes of the document, u64 LE |
//! | 24 | 8 | B, number of blocks, u64 LE |
//! | 32 | D | the document, JSON ([`Document`]), one zstd frame, and one that is skipped where it grows more than 64-fold |
//! | 32 + D | 44 · B | rows of all blocks, in the order of the packs ([`super::block::Row`]) |
//! | 32 + D + 44 · B | 32 | SHA-256 of everything before |

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::block::{BLOCK_BYTES, ROW_BYTES, Row};
use super::document;
use super::pack::{HEADER_BYTES, MAGIC as PACK_MAGIC, MAX_NUMBER, MAX_PACK_BYTES};
use super::path::{escape, unescape, unescape_part};
use crate::crypto::digest::Digest;
use crate::recovery::verify::VerifyReport;
use crate::report::Finding;
use crate::tables::values::HexDigest;

/// Its name among the objects, and that of the second one, which is written before it.
pub const NAMES: [&str; 2] = ["manifest", "manifest.spare"];
const MAGIC: [u8; 8] = *b"RKMANI1\n";
/// Bytes before the document.
const HEAD_BYTES: usize = 32;
/// No manifest is larger: twenty terabytes of ledger.
pub const MAX_BYTES: u64 = 1 << 30;
/// Blocks that all files name together, at most: a petabyte, checked in seconds.
const MAX_NAMED: u128 = 1 << 30;

/// The part of a manifest that is JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Which program wrote it.
    pub made_by: String,
    /// When it was complete, seconds since 1970.
    pub made_at: u64,
    /// The packs, in the order of their numbers.
    pub packs: Vec<Pack>,
    /// What was archived, one for each directory that was given.
    pub sources: Vec<Source>,
    /// What was seen while the archive was made.
    pub findings: Vec<Finding>,
}

/// One pack.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Its number.
    pub number: u32,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of these.
    pub sha256: HexDigest,
    /// Number of its blocks.
    pub blocks: u64,
}

/// One directory that was archived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The folder that it is restored to, escaped.
    pub name: String,
    /// The path that was given, escaped.
    pub path: String,
    /// The folders in it, itself as "" first, each after the one that it is in.
    pub directories: Vec<Directory>,
    /// The files in it.
    pub files: Vec<File>,
    /// The links in it, which were not followed.
    pub links: Vec<Link>,
    /// The ledgers that it holds, each with what verifying it found.
    pub copies: Vec<LedgerCopy>,
}

/// A time, as file systems have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds since 1970.
    pub s: i64,
    /// Nanoseconds after that.
    pub ns: u32,
}

/// A folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Its path in the source, escaped.
    pub path: String,
    /// When it was changed last.
    pub modified: Time,
    /// Its permissions.
    pub mode: u32,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path in the source, escaped.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: Time,
    /// Its permissions.
    pub mode: u32,
    /// SHA-256 of its bytes.
    pub sha256: HexDigest,
    /// Its blocks: runs of rows, each the first one's number and how many.
    pub blocks: Vec<(u64, u64)>,
}

impl File {
    /// The numbers of its blocks, in order.
    pub fn block_numbers(&self) -> impl Iterator<Item = u64> {
        self.blocks
            .iter()
            .flat_map(|&(first, count)| first..first.saturating_add(count))
    }
}

/// A symbolic link.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its path in the source, escaped.
    pub path: String,
    /// Where it leads, each byte escaped as in a path.
    pub target: String,
}

/// A ledger in a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerCopy {
    /// Its folders, the main one first.
    pub directories: Vec<String>,
    /// Folders of the source in which there are snapshots.
    pub snapshots: Vec<String>,
    /// The ledger archived before, file by file the same as this one, whose report this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// What verifying it found; none where it could not be read.
    pub report: Option<VerifyReport>,
}

/// A manifest whose parts fit together.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// What the JSON says.
    pub document: Document,
    /// The rows of all blocks.
    pub rows: Vec<Row>,
    /// Where each block's stored bytes begin in its pack.
    offsets: Vec<u64>,
    /// The first block of each pack.
    firsts: Vec<u64>,
}

impl Manifest {
    /// Puts the parts together.
    ///
    /// # Errors
    /// What does not fit.
    pub fn new(document: Document, rows: Vec<Row>) -> Result<Manifest, String> {
        let mut manifest = Manifest {
            document,
            rows,
            offsets: Vec::new(),
            firsts: Vec::new(),
        };
        manifest.place_blocks()?;
        manifest.check_sources()?;
        Ok(manifest)
    }

    /// The manifest as bytes.
    ///
    /// # Errors
    /// If it can't be serialised or compressed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let document = serde_json::to_vec(&self.document).map_err(|why| why.to_string())?;
        let stored = document::compress(&document)?;
        let mut bytes = MAGIC.to_vec();
        for number in [stored.len(), document.len(), self.rows.len()] {
            bytes.extend_from_slice(&(number as u64).to_le_bytes());
        }
        bytes.extend_from_slice(&stored);
        self.rows
            .iter()
            .for_each(|row| bytes.extend_from_slice(&row.to_bytes()));
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        Ok(bytes)
    }

    /// Reads a manifest, whoever wrote it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let (body, digest) = bytes
            .split_last_chunk::<32>()
            .filter(|(body, _)| body.len() >= HEAD_BYTES)
            .ok_or_else(|| format!("it has {} bytes, which is less than any manifest has", bytes.len()))?;
        if !body.starts_with(&MAGIC) {
            return Err("it does not begin as a manifest of this version does".to_owned());
        }
        if Digest::from(Sha256::digest(body)) != *digest {
            return Err("its SHA-256 is not the one at its end: a byte of it was changed".to_owned());
        }
        Self::parse_body(body)
    }

    /// The same without the digest at the end: what a fuzzer is given.
    pub(crate) fn parse_body(body: &[u8]) -> Result<Manifest, String> {
        let number = |at: usize| {
            let bytes = body.get(at..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let (Some(stored), Some(size), Some(count)) = (number(8), number(16), number(24)) else {
            return Err("its head is cut off".to_owned());
        };
        let rest = body.get(HEAD_BYTES..).unwrap_or_default();
        let (document, rows) = usize::try_from(stored)
            .ok()
            .and_then(|stored| rest.split_at_checked(stored))
            .ok_or("its document is cut off")?;
        if count.checked_mul(ROW_BYTES as u64) != Some(rows.len() as u64) {
            return Err(format!(
                "it promises {count} blocks and has {} bytes of rows",
                rows.len()
            ));
        }
        let document: Document = document::read(document, size)?;
        let rows = rows.as_chunks::<ROW_BYTES>().0.iter().map(Row::parse);
        Manifest::new(document, rows.collect::<Result<_, _>>()?)
    }

    /// Computes where each block is, and holds it against the packs' sizes.
    fn place_blocks(&mut self) -> Result<(), String> {
        let mut rows = self.rows.iter();
        let mut last = None;
        for pack in &self.document.packs {
            if last.is_some_and(|last| pack.number <= last) {
                return Err(format!("pack {} does not come after the one before it", pack.number));
            }
            if pack.number > MAX_NUMBER {
                return Err(format!("pack {} has a number that no pack has", pack.number));
            }
            last = Some(pack.number);
            self.firsts.push(self.offsets.len() as u64);
            let mut at = PACK_MAGIC.len() as u64;
            for _ in 0..pack.blocks {
                let row = rows.next().ok_or("the packs promise more blocks than there are")?;
                self.offsets.push(at + HEADER_BYTES as u64);
                at += HEADER_BYTES as u64 + u64::from(row.stored);
            }
            if at > MAX_PACK_BYTES {
                return Err(format!("pack {} has {at} bytes, more than any pack", pack.number));
            }
            if at != pack.size {
                let (number, size) = (pack.number, pack.size);
                return Err(format!(
                    "the blocks of pack {number} take {at} bytes, the pack has {size}"
                ));
            }
        }
        match rows.next() {
            None => Ok(()),
            Some(_) => Err("there are more blocks than the packs have".to_owned()),
        }
    }

    /// That every path stays in its source and stands there once, and that every file's blocks make it up.
    fn check_sources(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        // Which block of its file a block is: its name is a digest of all before it, so it can be only one.
        let mut places = vec![u32::MAX; self.rows.len()];
        let named: u128 = self
            .files()
            .flat_map(|file| &file.blocks)
            .map(|run| u128::from(run.1))
            .sum();
        if named > MAX_NAMED {
            return Err(format!("its files name {named} blocks, more than any archive's"));
        }
        for source in &self.document.sources {
            unescape_part(&source.name)?;
            if !names.insert(&source.name) {
                return Err(format!(
                    "two sources are named {:?}",
                    crate::shown::excerpt(&source.name)
                ));
            }
            check_paths(source)?;
            for file in &source.files {
                let wrong = |why: String| format!("{:?}: {why}", crate::shown::excerpt(&file.path));
                self.check_file(file, &mut places).map_err(wrong)?;
            }
        }
        Ok(())
    }

    fn check_file(&self, file: &File, places: &mut [u32]) -> Result<(), String> {
        let full = BLOCK_BYTES as u64;
        let count: u128 = file.blocks.iter().map(|&(_, count)| u128::from(count)).sum();
        if count != u128::from(file.size.div_ceil(full)) {
            return Err(format!("{count} blocks can't make a file of {} bytes", file.size));
        }
        let mut left = file.size;
        let mut id = Sha256::digest([]).into();
        for (place, number) in file.block_numbers().enumerate() {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            let (Some(row), Some(known)) = (self.rows.get(at), places.get_mut(at)) else {
                return Err(format!("there is no block {number}"));
            };
            let place = u32::try_from(place).map_err(|_| "it has too many blocks".to_owned())?;
            if *known != u32::MAX && *known != place {
                return Err(format!("block {number} stands at two places of a file"));
            }
            *known = place;
            if u64::from(row.size) != left.min(full) {
                return Err(format!(
                    "block {number} has {} bytes, expected {}",
                    row.size,
                    left.min(full)
                ));
            }
            left -= u64::from(row.size);
            id = row.id;
        }
        match id == file.sha256.0 {
            true => Ok(()),
            false => Err("its SHA-256 is not that of its last block".to_owned()),
        }
    }

    /// In which pack a block is, and where its stored bytes begin there.
    pub fn place(&self, block: u64) -> Option<(usize, u64)> {
        let pack = self.firsts.partition_point(|&first| first <= block).checked_sub(1)?;
        let offset = self.offsets.get(usize::try_from(block).ok()?)?;
        Some((pack, *offset))
    }

    /// A block's row.
    pub fn row(&self, block: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(block).ok()?)
    }

    /// The numbers of a pack's blocks.
    pub fn blocks_of(&self, pack: usize) -> std::ops::Range<u64> {
        let first = self.firsts.get(pack).copied().unwrap_or_default();
        let count = self.document.packs.get(pack).map_or(0, |pack| pack.blocks);
        first..first.saturating_add(count)
    }

    /// Bytes of all packs.
    pub fn stored_bytes(&self) -> u64 {
        self.document.packs.iter().map(|pack| pack.size).sum()
    }

    /// Bytes of all files, as often as they are there.
    pub fn file_bytes(&self) -> u128 {
        self.files().map(|file| u128::from(file.size)).sum()
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.document.sources.iter().flat_map(|source| &source.files)
    }
}

/// That paths stand once, and each in a folder that is there before it.
fn check_paths(source: &Source) -> Result<(), String> {
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for (i, directory) in source.directories.iter().enumerate() {
        let path = unescape(&directory.path)?;
        let is_placed = match path.parent() {
            None => i == 0,
            Some(parent) => folders.contains(parent),
        };
        if !is_placed || !folders.insert(path) {
            return Err(format!(
                "the folder {:?} is out of place",
                crate::shown::excerpt(&directory.path)
            ));
        }
    }
    let mut seen = folders.clone();
    let files = source.files.iter().map(|file| &file.path);
    for text in files.chain(source.links.iter().map(|link| &link.path)) {
        let path = unescape(text)?;
        let is_placed = path.parent().is_some_and(|parent| folders.contains(parent));
        if !is_placed || !seen.insert(path) {
            return Err(format!(
                "{:?} is there twice, or in no folder",
                crate::shown::excerpt(text)
            ));
        }
    }
    let named = source
        .copies
        .iter()
        .flat_map(|copy| copy.directories.iter().chain(&copy.snapshots));
    for text in named {
        if !folders.contains(&unescape(text)?) {
            return Err(format!("there is no folder {:?}", crate::shown::excerpt(text)));
        }
    }
    Ok(())
}

/// The text of a link's target, which is any bytes.
pub fn escape_target(target: &Path) -> String {
    super::path::escape_any(target)
}

/// The target that a text stands for: used only where it stays inside ([`super::path::stays_inside`]).
pub fn unescape_target(text: &str) -> Option<PathBuf> {
    let parts = text.split('/').filter(|part| !part.is_empty()).map(|part| match part {
        "." | ".." => Some(part.into()),
        part => unescape_part(part).ok(),
    });
    let path = parts.collect::<Option<PathBuf>>()?;
    match text.starts_with('/') {
        true => Some(Path::new("/").join(path)),
        false => Some(path),
    }
}

/// The name of a file with the name of its source before it.
pub fn full_name(source: &Source, path: &str) -> String {
    match path {
        "" => source.name.clone(),
        path => format!("{}/{path}", source.name),
    }
}

/// Text of a path below another one.
pub fn escape_below(root: &Path, path: &Path) -> String {
    escape(path.strip_prefix(root).unwrap_or(path))
}
