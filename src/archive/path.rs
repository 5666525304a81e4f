//! Names of files in an archive: any bytes that a file system takes, as text that cannot lead anywhere else.
//!
//! A path is relative, its parts joined by `/`. Bytes outside printable ASCII, and `%`, are written as `%XX`. There is one
//! way only to write a path, so two rows that read differently are different files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::shown::Show;

/// Bytes of one part, as Linux has it.
const MAX_PART_BYTES: usize = 255;
/// Bytes of a whole path, as Linux has it.
const MAX_PATH_BYTES: usize = 4096;
/// Folders within folders.
pub const MAX_DEPTH: usize = 64;

/// A relative path as text.
pub fn escape(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(escape_part(part)),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// One part of a path as text.
pub fn escape_part(part: &OsStr) -> String {
    let mut text = String::with_capacity(part.len());
    for &byte in part.as_bytes() {
        match byte {
            b'%' => text.push_str("%25"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Any path as text, which is only shown.
pub fn escape_any(path: &Path) -> String {
    let parts: Vec<String> = path
        .as_os_str()
        .as_bytes()
        .split(|&byte| byte == b'/')
        .map(|part| escape_part(OsStr::from_bytes(part)))
        .collect();
    parts.join("/")
}

/// The path that a text stands for; empty for the folder itself.
///
/// # Errors
/// Whatever would lead elsewhere, or has another way to be written.
pub fn unescape(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Ok(PathBuf::new());
    }
    if text.len() > 3 * MAX_PATH_BYTES {
        return Err(format!("a path has {} characters, more than any file's", text.len()));
    }
    let mut path = PathBuf::new();
    for (depth, part) in text.split('/').enumerate() {
        if depth >= MAX_DEPTH {
            return Err(format!("a path leads through more than {MAX_DEPTH} folders"));
        }
        path.push(unescape_part(part)?);
    }
    match path.as_os_str().len() {
        0..=MAX_PATH_BYTES => Ok(path),
        n => Err(format!("a path has {n} bytes, more than any file's")),
    }
}

/// The part of a path that a text stands for.
///
/// # Errors
/// Whatever is no name of a file, or has another way to be written.
pub fn unescape_part(text: &str) -> Result<OsString, String> {
    let refused = || Err(format!("{:?} is no name of a file", crate::shown::excerpt(text)));
    let mut bytes = Vec::with_capacity(text.len().min(MAX_PART_BYTES + 1));
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => match after.split_first_chunk::<2>() {
                Some((digits, after)) => {
                    let mut decoded = [0];
                    if hex::decode_to_slice(digits, &mut decoded).is_err() {
                        return refused();
                    }
                    bytes.extend(decoded);
                    rest = after;
                }
                None => return refused(),
            },
            byte => bytes.push(byte),
        }
    }
    let is_name = !bytes.is_empty()
        && bytes.len() <= MAX_PART_BYTES
        && bytes != b"."
        && bytes != b".."
        && !bytes.iter().any(|&byte| byte == 0 || byte == b'/');
    let name = OsString::from_vec(bytes);
    match is_name && escape_part(&name) == text {
        true => Ok(name),
        false => refused(),
    }
}

/// Where a path leads that may not be there yet: what is there of it, every link followed.
///
/// # Errors
/// [`Error::Usage`] if it climbs out of a folder that is not there: once that was made, it would lead elsewhere.
pub fn existing(path: &Path) -> Result<PathBuf, Error> {
    let mut existing = path.to_owned();
    while existing.symlink_metadata().is_err() && existing.pop() {}
    let climbs = |part: Component<'_>| part == Component::ParentDir;
    if path
        .strip_prefix(&existing)
        .is_ok_and(|rest| rest.components().any(climbs))
    {
        return Err(Error::Usage(format!(
            "{} leads through a folder that is not there and out of it again; name it without `..`",
            path.shown()
        )));
    }
    if existing.as_os_str().is_empty() {
        existing.push(".");
    }
    existing.canonicalize().map_err(Error::io("find directory", &existing))
}

/// Whether a link at `path`, within a folder, stays in that folder wherever it leads.
pub fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            // What a folder on the way is, is not known here: only what climbs before it descends is sure to stay.
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    let mut descended = false;
    target.components().all(|part| match part {
        Component::Normal(_) => {
            descended = true;
            true
        }
        Component::ParentDir => !descended,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_comes_back_and_has_one_form() {
        for name in [
            &b"ledger_1-2.committed"[..],
            b"\xff\x00x".split_at(1).0,
            b"a b%/c".split_at(4).0,
            "\u{202e}\n\u{e4}".as_bytes(),
        ] {
            let name = OsStr::from_bytes(name);
            let text = escape_part(name);
            assert!(text.chars().all(crate::shown::is_plain));
            assert_eq!(unescape_part(&text).unwrap(), name);
        }
        for other in [
            "%2e", "%2E%2E", "..", ".", "", "a%2", "a%2fb", "%00", "%e4", "%C3%", "\u{e4}", "a\nb",
        ] {
            assert!(unescape_part(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            &"a/".repeat(80),
            &"x".repeat(300),
        ] {
            assert!(unescape(path).is_err(), "{path:?}");
        }
        assert_eq!(unescape("ledger/ledger_1").unwrap(), Path::new("ledger/ledger_1"));
        assert_eq!(escape(Path::new("./a/b")), "a/b");
    }

    #[test]
    fn a_link_that_may_lead_out_of_its_folder_is_known() {
        for (path, target, inside) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("d/a", "../../b", false),
            ("a", "/etc", false),
            ("d/a", "x/../../../b", false),
            ("d/a", "x/../b", false),
        ] {
            assert_eq!(
                stays_inside(Path::new(path), Path::new(target)),
                inside,
                "{path} {target}"
            );
        }
    }
}
