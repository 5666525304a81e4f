//! Which files an operator's words name, and which of them are one log that was rotated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::shown::Show;

/// Directories inside of directories.
const DEEPEST: usize = 16;
/// Files of one Super Validator: hourly rotation over ten years has fewer.
const MOST_FILES: usize = 100_000;

/// Where a log is read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The standard input.
    Stdin,
    /// A file, or what can be read like one.
    File(PathBuf),
}

/// A log, of one file or of several into which it was rotated, oldest first.
pub type Log = Vec<Source>;

/// All logs that the paths name, each file once, in an order that depends on their names alone.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<Log>> {
    let mut found = Found::default();
    for path in paths {
        if path.as_os_str() == "-" {
            found.has_stdin = true;
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) => found.add(path, &metadata, 0)?,
            Err(why) => match pattern(path)? {
                Some(matches) => {
                    for path in matches {
                        let metadata = fs::metadata(&path).map_err(Error::io("open", &path))?;
                        found.add(&path, &metadata, 0)?;
                    }
                }
                None => return Err(Error::io("open", path)(why)),
            },
        }
    }
    let mut logs = families(found.files.into_values().collect());
    if found.has_stdin {
        logs.push(vec![Source::Stdin]);
    }
    match logs.is_empty() {
        true => Err(Error::Usage(
            "there is no file in what was named: name logs, or directories that hold them".to_owned(),
        )),
        false => Ok(logs),
    }
}

/// What a pattern matches; none where it is no pattern.
fn pattern(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let Some(text) = path.to_str().filter(|text| text.contains(['*', '?', '['])) else {
        return Ok(None);
    };
    let wrong = |why: String| Error::Usage(format!("{} is no file, and no pattern: {why}", path.shown()));
    let matches: Vec<PathBuf> = glob::glob(text)
        .map_err(|why| wrong(why.to_string()))?
        .flatten()
        .take(MOST_FILES + 1)
        .collect();
    match matches.is_empty() {
        true => Err(Error::Usage(format!("no file matches {}", path.shown()))),
        false => Ok(Some(matches)),
    }
}

#[derive(Default)]
struct Found {
    /// By device and number, so that a file that is named twice is read once.
    files: BTreeMap<(u64, u64), PathBuf>,
    directories: BTreeSet<(u64, u64)>,
    has_stdin: bool,
}

impl Found {
    fn add(&mut self, path: &Path, metadata: &Metadata, depth: usize) -> Result<()> {
        let id = (metadata.dev(), metadata.ino());
        if !metadata.is_dir() {
            // Of a file with several names the first is shown, however they were found.
            let known = self.files.entry(id).or_insert_with(|| path.to_owned());
            if path < known.as_path() {
                *known = path.to_owned();
            }
            return match self.files.len() > MOST_FILES {
                true => Err(Error::Usage(format!(
                    "more than {MOST_FILES} files were named; name fewer at once, and give the evidence of each part to `rekindle canton timestamp`"
                ))),
                false => Ok(()),
            };
        }
        if depth > DEEPEST || !self.directories.insert(id) {
            return Ok(());
        }
        let entries = fs::read_dir(path).map_err(Error::io("read", path))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("read", path))?.path();
            // A link that leads nowhere, or a file that went away meanwhile, is nobody's log.
            let Ok(metadata) = fs::metadata(&entry) else { continue };
            // Pipes and devices would never end; who means one names it.
            if metadata.is_file() || metadata.is_dir() {
                self.add(&entry, &metadata, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// Where a file stands among those of its log, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// Named with the time of its rotation, and perhaps a number within that.
    Dated(String, u64),
    /// Numbered as logrotate and docker do, `.1` being the youngest.
    Numbered(std::cmp::Reverse<u64>),
    /// Numbered in order with leading zeros, as `split -d` does.
    Part(u64),
    /// Still written to.
    Live,
}

impl Age {
    /// Whether a file may be the next one after a file of this age. Of dates nobody can tell.
    fn may_adjoin(&self, next: &Age) -> bool {
        match (self, next) {
            (Age::Numbered(one), Age::Numbered(next)) => one.0 == next.0 + 1,
            (Age::Numbered(one), Age::Live) => one.0 <= 1,
            (Age::Part(one), Age::Part(next)) => *next == one + 1,
            _ => true,
        }
    }
}

fn families(files: Vec<PathBuf>) -> Vec<Log> {
    let mut by_stem: BTreeMap<(PathBuf, String), Vec<(Age, PathBuf)>> = BTreeMap::new();
    let mut logs = Vec::new();
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str()).map(age);
        match name {
            Some((stem, age)) => {
                let directory = path.parent().unwrap_or(Path::new("")).to_owned();
                by_stem.entry((directory, stem)).or_default().push((age, path));
            }
            None => logs.push(vec![Source::File(path)]),
        }
    }
    for mut members in by_stem.into_values() {
        members.sort();
        let mut ages: Vec<&Age> = members.iter().map(|(age, _)| age).collect();
        ages.dedup();
        // Two files of the same age, packed and not, can't be put in order.
        let is_ordered = ages.len() == members.len();
        // Where one of them is missing, the lines at its sides are no halves of one.
        let adjoin = |one: &(Age, PathBuf), next: &(Age, PathBuf)| is_ordered && one.0.may_adjoin(&next.0);
        let file = |(_, path): &(Age, PathBuf)| Source::File(path.clone());
        logs.extend(
            members
                .chunk_by(adjoin)
                .map(|log| log.iter().map(file).collect::<Log>()),
        );
    }
    logs.sort();
    logs
}

/// The name of a file's log, and where it stands in it.
fn age(name: &str) -> (String, Age) {
    let packed = [".gz", ".zst", ".zstd", ".xz"];
    let name = packed
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    let number = |text: &str| match text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    if let Some((start, end)) = date(name) {
        let (head, date, tail) = (
            name.get(..start).unwrap_or_default(),
            name.get(start..end).unwrap_or_default(),
            name.get(end..).unwrap_or_default(),
        );
        let head = head.strip_suffix(['.', '-', '_']).unwrap_or(head);
        let mut parts: Vec<&str> = tail.split('.').collect();
        let at = parts
            .iter()
            .skip(1)
            .position(|part| number(part).is_some())
            .map(|at| at + 1);
        let index = at.and_then(|at| number(parts.remove(at)));
        return (
            format!("{head}{}", parts.join(".")),
            Age::Dated(date.to_owned(), index.unwrap_or(0)),
        );
    }
    if let Some((stem, digits)) = name.rsplit_once(['.', '-'])
        && let Some(number) = number(digits)
    {
        let separator = name.get(stem.len()..stem.len() + 1).unwrap_or_default();
        // Leading zeros: `.000`, `.001`; beyond `.099` only their width tells, so three digits and more are always parts.
        if digits.len() >= 3 || digits.starts_with('0') && digits.len() > 1 {
            return (format!("{stem}{separator}#"), Age::Part(number));
        }
        if separator == "." {
            return (stem.to_owned(), Age::Numbered(std::cmp::Reverse(number)));
        }
    }
    (name.to_owned(), Age::Live)
}

/// Where a date, perhaps with a time, stands in a name: `2024-04-21`, `2024-04-21-23`, `2024-04-21_23-25`, `20240421`,
/// `20240421-232500`.
fn date(name: &str) -> Option<(usize, usize)> {
    let bytes = name.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let digits = |at: usize, count: usize| (at..at + count).all(is_digit);
    let century = |at: usize| matches!(bytes.get(at..at + 2), Some(b"19" | b"20"));
    (0..bytes.len()).find_map(|start| {
        if !century(start) || start > 0 && is_digit(start - 1) {
            return None;
        }
        let dash = |at: usize| bytes.get(at) == Some(&b'-');
        let mut end = match () {
            () if digits(start, 4)
                && dash(start + 4)
                && digits(start + 5, 2)
                && dash(start + 7)
                && digits(start + 8, 2) =>
            {
                start + 10
            }
            () if digits(start, 8) => start + 8,
            () => return None,
        };
        let separated = |at: usize| matches!(bytes.get(at), Some(b'-' | b'_' | b'T' | b':'));
        for _ in 0..3 {
            let skip = usize::from(separated(end));
            if digits(end + skip, 2) {
                end += skip + 2;
            }
        }
        (!is_digit(end)).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(names: &[&str]) -> Vec<Vec<String>> {
        let files = names.iter().map(|name| PathBuf::from(format!("/l/{name}"))).collect();
        let mut all: Vec<Vec<String>> = families(files)
            .into_iter()
            .map(|log| {
                log.into_iter()
                    .map(|source| match source {
                        Source::File(path) => path.file_name().unwrap().to_str().unwrap().to_owned(),
                        Source::Stdin => "-".to_owned(),
                    })
                    .collect()
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn rotated_files_of_one_log_are_put_in_order() {
        for log in [
            &["app.log.3.gz", "app.log.2.gz", "app.log.1", "app.log"][..],
            &["app.log.10", "app.log.9"],
            &["canton.2024-04-20.log.gz", "canton.2024-04-21.log.gz", "canton.log"],
            &[
                "canton.log.2024-04-21-22.gz",
                "canton.log.2024-04-21-23.gz",
                "canton.log",
            ],
            &[
                "canton.2024-04-21.0.log",
                "canton.2024-04-21.2.log",
                "canton.2024-04-21.10.log",
            ],
            &["0.log.20240421-232500.gz", "0.log.20240421-233000", "0.log"],
            &["part.099", "part.100", "part.101"],
            &["part-00", "part-01", "part-02"],
        ] {
            let mut shuffled = log.to_vec();
            shuffled.reverse();
            assert_eq!(logs(&shuffled), [log], "{log:?}");
        }
    }

    #[test]
    fn a_log_that_lacks_a_file_is_several() {
        assert_eq!(
            logs(&["app.log.4", "app.log.3", "app.log.1", "app.log"]),
            [vec!["app.log.1", "app.log"], vec!["app.log.4", "app.log.3"]]
        );
        assert_eq!(logs(&["app.log.2", "app.log"]).len(), 2);
        assert_eq!(logs(&["part.000", "part.002"]).len(), 2);
    }

    #[test]
    fn other_files_stand_alone() {
        assert_eq!(logs(&["a.log", "b.log", "sv-1.log", "sv-2.log"]).len(), 4);
        assert_eq!(logs(&["sv-1", "sv-2"]).len(), 2);
        assert_eq!(
            logs(&["a.log.1", "a.log.1.gz"]).len(),
            2,
            "which is older is not to be told"
        );
    }
}
