//! What is in the directories that are to be archived: everything below them, links recorded and not followed.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::manifest::{Directory, Link, Time, escape_below, escape_target};
use super::path::{MAX_DEPTH, escape_part};
use crate::error::{Error, Result};
use crate::format::names::{FileName, SnapshotName};
use crate::report::{Code, Finding};
use crate::shown::Show;

/// Files, folders and links in all sources at most: millions of chunks, a few gigabytes of manifest.
const MAX_ITEMS: usize = 10_000_000;

/// One directory that is to be archived.
pub struct Surveyed {
    /// The folder's name in the archive, escaped.
    pub name: String,
    /// Where it is.
    pub root: PathBuf,
    /// The folders in it, itself first.
    pub directories: Vec<Directory>,
    /// The files in it, in the order in which they are read: chunks by their seqnos, then everything else.
    pub files: Vec<Seen>,
    /// The links in it.
    pub links: Vec<Link>,
    /// The ledgers in it.
    pub ledgers: Vec<Ledger>,
}

/// A file as it was seen.
pub struct Seen {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes then.
    pub size: u64,
}

/// Folders that are one ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The main one, then those only to be read.
    pub directories: Vec<PathBuf>,
    /// Where there are snapshots.
    pub snapshots: Vec<PathBuf>,
}

/// Looks at everything in these directories.
///
/// # Errors
/// If one is no directory, given twice or lies in another, or can't be listed.
pub fn survey(roots: &[PathBuf], findings: &mut Vec<Finding>) -> Result<Vec<Surveyed>> {
    let real = roots
        .iter()
        .map(|root| root.canonicalize().map_err(Error::io("find directory", root)))
        .collect::<Result<Vec<_>>>()?;
    for (i, a) in real.iter().enumerate() {
        let inside = |(j, b): (usize, &PathBuf)| j != i && a.starts_with(b);
        if let Some((j, _)) = real.iter().enumerate().find(|&other| inside(other)) {
            let (Some(a), Some(b)) = (roots.get(i), roots.get(j)) else {
                continue;
            };
            return Err(Error::Usage(format!(
                "{} is in {}, which is archived too; give it once",
                a.shown(),
                b.shown()
            )));
        }
    }
    let mut left = MAX_ITEMS;
    let names = names(&real);
    let surveyed = names
        .into_iter()
        .zip(roots)
        .map(|(name, root)| one(name, root, &mut left, findings));
    surveyed.collect()
}

/// Folders and files that stand in a source now and did not before: a node goes on, gives its chunks other names, begins new ones.
///
/// # Errors
/// If it can't be listed any more.
pub fn late(before: &Surveyed) -> Result<(Vec<Directory>, Vec<Seen>)> {
    let now = one(before.name.clone(), &before.root, &mut { MAX_ITEMS }, &mut Vec::new())?;
    let path_of = |seen: &Seen| escape_below(&before.root, &seen.path);
    let folders = before.directories.iter().map(|folder| folder.path.clone());
    let mut folders: HashSet<String> = folders.collect();
    let mut taken = folders.clone();
    taken.extend(before.files.iter().map(path_of));
    taken.extend(before.links.iter().map(|link| link.path.clone()));
    // What was of another kind before stays what it was.
    let is_new = |path: &str, folders: &HashSet<String>| {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        !taken.contains(path) && folders.contains(parent)
    };
    let mut directories = Vec::new();
    for folder in now.directories {
        if is_new(&folder.path, &folders) {
            folders.insert(folder.path.clone());
            directories.push(folder);
        }
    }
    let files = now.files.into_iter().filter(|seen| is_new(&path_of(seen), &folders));
    Ok((directories, files.collect()))
}

/// A name for each source: its last part; where that is another's too, with as many before it as it takes.
fn names(roots: &[PathBuf]) -> Vec<String> {
    let parts = |root: &PathBuf, depth: usize| {
        let parts: Vec<String> = root.iter().skip(1).map(escape_part).collect();
        let from = parts.len().saturating_sub(depth);
        let name = parts.get(from..).unwrap_or_default().join("-");
        if name.is_empty() { "root".to_owned() } else { name }
    };
    let mut names: Vec<String> = roots.iter().map(|root| parts(root, 1)).collect();
    for depth in 2..=MAX_DEPTH {
        let mut counts = BTreeMap::new();
        names
            .iter()
            .for_each(|name| *counts.entry(name.clone()).or_insert(0) += 1);
        for (name, root) in names.iter_mut().zip(roots) {
            let longer = parts(root, depth);
            if counts.get(name).is_some_and(|&count| count > 1) && longer.len() <= 80 {
                *name = longer;
            }
        }
    }
    // What says that a restoration is not complete stands beside the folders.
    let mut taken = HashSet::from([super::restore::MARK.to_owned()]);
    for name in &mut names {
        let plain = name.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            *name = format!("{plain}-{number}");
            if super::path::unescape_part(name).is_err() {
                *name = format!("source-{number}");
            }
        }
    }
    names
}

fn one(name: String, root: &Path, left: &mut usize, findings: &mut Vec<Finding>) -> Result<Surveyed> {
    if !std::fs::metadata(root).map_err(Error::io("open", root))?.is_dir() {
        return Err(Error::Usage(format!(
            "{} is a file; give the directory it is in",
            root.shown()
        )));
    }
    let mut surveyed = Surveyed {
        name,
        root: root.to_owned(),
        directories: Vec::new(),
        files: Vec::new(),
        links: Vec::new(),
        ledgers: Vec::new(),
    };
    let mut folders = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = waiting.pop() {
        let below = folder(&directory, depth, left, &mut surveyed, &mut folders, findings)?;
        // The last is looked at next: in the order of names, and all of a folder before the next one beside it.
        waiting.extend(below.into_iter().rev().map(|below| (below, depth + 1)));
    }
    surveyed.ledgers = ledgers(root, &folders);
    if surveyed.ledgers.is_empty() {
        let text = format!("no ledger chunk and no snapshot is in {}", root.shown());
        findings.push(Finding::new(Code::ArchiveNoLedger, text).file(root));
    }
    Ok(surveyed)
}

/// What a folder holds of a ledger.
struct Folder {
    path: PathBuf,
    chunks: bool,
    /// Some of them not committed: only a main directory has such.
    open: bool,
    snapshots: bool,
}

fn folder(
    directory: &Path,
    depth: usize,
    left: &mut usize,
    surveyed: &mut Surveyed,
    folders: &mut Vec<Folder>,
    findings: &mut Vec<Finding>,
) -> Result<Vec<PathBuf>> {
    // The root must be there; what is wrong with a folder below it is said, and the rest archived.
    let mut unread = |path: &Path, what: &str, why: std::io::Error| -> Result<Vec<PathBuf>> {
        if path == surveyed.root {
            return Err(Error::io("list directory", path)(why));
        }
        let text = format!("{what}: {}", crate::shown::Shown(why));
        findings.push(Finding::new(Code::ArchiveUnread, text).file(path));
        Ok(Vec::new())
    };
    let own = match std::fs::metadata(directory) {
        Ok(own) => own,
        Err(why) => return unread(directory, "the folder could not be opened", why),
    };
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(why) => return unread(directory, "the folder could not be listed", why),
    };
    let mut items: Vec<(OsString, PathBuf)> = Vec::new();
    for item in listing {
        let item = match item {
            Ok(item) => item,
            Err(why) => {
                unread(directory, "the folder could not be listed to its end", why)?;
                break;
            }
        };
        *left = left.checked_sub(1).ok_or_else(|| {
            Error::Unreadable(format!(
                "there are more than {MAX_ITEMS} files in {}",
                surveyed.root.shown()
            ))
        })?;
        items.push((item.file_name(), item.path()));
    }
    surveyed.directories.push(Directory {
        path: escape_below(&surveyed.root, directory),
        modified: time_of(&own),
        mode: own.mode() & 0o7777,
    });
    items.sort_by_cached_key(|(name, _)| order_of(name));
    let mut found = Folder {
        path: directory.to_owned(),
        chunks: false,
        open: false,
        snapshots: false,
    };
    let mut below = Vec::new();
    for (name, path) in items {
        let looked = path.symlink_metadata().and_then(|metadata| {
            let is_link = metadata.is_symlink();
            let target = is_link.then(|| std::fs::read_link(&path)).transpose()?;
            Ok((metadata, target))
        });
        let (metadata, target) = match looked {
            Ok(looked) => looked,
            Err(why) => {
                let text = format!("it could not be looked at: {}", crate::shown::Shown(why));
                findings.push(Finding::new(Code::ArchiveUnread, text).file(&path));
                continue;
            }
        };
        let kind = metadata.file_type();
        let text = name.to_string_lossy();
        if let Some(target) = target {
            let text = format!("a link to {}: recorded, and not followed", target.shown());
            findings.push(Finding::new(Code::ArchiveLink, text).file(&path));
            surveyed.links.push(Link {
                path: escape_below(&surveyed.root, &path),
                target: escape_target(&target),
            });
        } else if kind.is_dir() && depth + 1 < MAX_DEPTH {
            below.push(path);
        } else if kind.is_file() {
            if let FileName::Chunk(chunk) = FileName::parse(&text) {
                found.chunks = true;
                found.open |= !chunk.kind.is_committed();
            }
            found.snapshots |= SnapshotName::parse(&text).is_some();
            surveyed.files.push(Seen {
                path,
                size: metadata.len(),
            });
        } else {
            let what = match kind.is_dir() {
                true => "it lies deeper than any node's files",
                false => "it is a device, a pipe or a socket",
            };
            findings.push(Finding::new(Code::ArchiveLeftOut, format!("left out: {what}")).file(&path));
        }
    }
    folders.push(found);
    Ok(below)
}

/// Chunks first, by seqno, as a verification reads them.
fn order_of(name: &std::ffi::OsStr) -> (u64, OsString) {
    let first = match FileName::parse(&name.to_string_lossy()) {
        FileName::Chunk(chunk) => chunk.first,
        _ => u64::MAX,
    };
    (first, name.to_owned())
}

/// Which folders are one ledger. Beside a folder with open chunks, those with committed ones alone are its read-only ones, as
/// a node's configuration has them; where that is not clear, each stands for itself.
fn ledgers(root: &Path, folders: &[Folder]) -> Vec<Ledger> {
    let snapshots: Vec<PathBuf> = folders
        .iter()
        .filter(|folder| folder.snapshots)
        .map(|folder| folder.path.clone())
        .collect();
    let with_chunks: Vec<&Folder> = folders.iter().filter(|folder| folder.chunks).collect();
    let mut ledgers = Vec::new();
    for folder in &with_chunks {
        let beside = || {
            let same = |other: &&&Folder| other.path.parent() == folder.path.parent() && other.path != root;
            with_chunks
                .iter()
                .filter(same)
                .filter(|other| other.path != folder.path)
        };
        let is_only_main = folder.open && beside().all(|other| !other.open);
        let has_a_main = !folder.open && beside().filter(|other| other.open).count() == 1;
        if has_a_main {
            continue;
        }
        let mut directories = vec![folder.path.clone()];
        if is_only_main {
            directories.extend(beside().map(|other| other.path.clone()));
        }
        ledgers.push(Ledger {
            directories,
            snapshots: Vec::new(),
        });
    }
    // Where there are several ledgers, a snapshot belongs to the one in whose folder, or beside whose folder, it is.
    let alone = ledgers.len() == 1;
    for ledger in &mut ledgers {
        let main = ledger.directories.first().cloned().unwrap_or_default();
        let is_its = |path: &&PathBuf| alone || **path == main || (main != root && path.parent() == main.parent());
        ledger.snapshots = snapshots.iter().filter(is_its).cloned().collect();
    }
    if ledgers.is_empty() && !snapshots.is_empty() {
        ledgers.push(Ledger {
            directories: Vec::new(),
            snapshots,
        });
    }
    ledgers
}

/// When a file was changed last.
pub fn time_of(metadata: &std::fs::Metadata) -> Time {
    Time {
        s: metadata.mtime(),
        ns: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_one_name_get_distinct_names() {
        let names = |roots: &[&str]| names(&roots.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["/a/node0", "/a/node1"]), ["node0", "node1"]);
        assert_eq!(
            names(&["/n0/ledger", "/n1/ledger", "/x"]),
            ["n0-ledger", "n1-ledger", "x"]
        );
        assert_eq!(names(&["/a/b-c", "/a-b/c", "/q/c"]), ["b-c", "a-b-c", "q-c"]);
        assert_eq!(names(&["/"]), ["root"]);
        assert_eq!(names(&["/n0/b/l", "/n1/b/l"]), ["n0-b-l", "n1-b-l"]);
        assert_eq!(names(&["/.rekindle-restoring"]), [".rekindle-restoring-2"]);
        let long = "x".repeat(255);
        let long = names(&[&format!("/a/{long}"), &format!("/b/{long}")]);
        assert!(
            long.iter().all(|name| super::super::path::unescape_part(name).is_ok()),
            "{long:?}"
        );
    }

    #[test]
    fn folders_beside_a_main_one_are_its_read_only_ones_and_copies_stay_apart() {
        let folder = |path: &str, open: bool| Folder {
            path: PathBuf::from(path),
            chunks: true,
            open,
            snapshots: false,
        };
        let mains = |folders: &[Folder]| -> Vec<usize> {
            ledgers(Path::new("/r"), folders)
                .iter()
                .map(|ledger| ledger.directories.len())
                .collect()
        };
        assert_eq!(mains(&[folder("/r/ledger", true), folder("/r/ledger-ro", false)]), [2]);
        assert_eq!(
            mains(&[folder("/r/n0", true), folder("/r/n1", true), folder("/r/n2", false)]),
            [1, 1, 1]
        );
        assert_eq!(
            mains(&[folder("/r/n0/ledger", true), folder("/r/n1/ledger", false)]),
            [1, 1]
        );
        assert_eq!(mains(&[folder("/r", true), folder("/r/old", false)]), [1, 1]);
    }
}
