//! When a backup was taken, as far as its source says: a clock's reading may lack its zone, and stands for everything up to
//! the next one that it could have shown.

use serde::{Deserialize, Serialize};

use crate::canton::Timestamp;
use crate::canton::dump::Span;
use crate::shown::excerpt;

/// The furthest that a clock on the wall is from UTC, seconds: 14 hours.
const FURTHEST_ZONE: i64 = 14 * 3600;
/// Microseconds in a second.
const SECOND: i64 = 1_000_000;
/// How long after its start a dump may take its snapshot of the database, seconds: `pg_dump` notes the time before it
/// connects. Only where a dump does not say when it was complete.
const SETTLING: i64 = 10;

/// Parses a time with its zone, `2024-04-21T23:25:00[.123](Z|+02:00|+0200)`. A time in whole seconds stands for the second
/// that begins there.
pub fn time(text: &str) -> Option<Span> {
    let (clock, zone) = match text.strip_suffix('Z') {
        Some(clock) => (clock, 0),
        None => {
            let at = text.rfind(['+', '-'])?;
            (text.get(..at)?, offset(text.get(at..)?)?)
        }
    };
    let shown = Timestamp::parse(format!("{clock}Z").as_bytes())?;
    let earliest = shown.plus_seconds(-i64::from(zone));
    // What a fraction of so many digits leaves open.
    let digits = clock.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let step = 10_i64.pow(6_u32.saturating_sub(u32::try_from(digits).ok()?));
    Some(Span {
        earliest,
        latest: earliest.plus_micros(step - 1),
    })
}

/// Whether nothing about a time is open beyond the clock's own step, as where its zone is not known.
pub fn is_sharp(span: &Span) -> bool {
    span.latest.since(span.earliest) < SECOND
}

/// Parses `+02:00`, `-0330`, `+2`, `Z`: seconds east of UTC, within 14 hours.
pub fn offset(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes() {
        [b'+', ..] => (1, text.get(1..)?),
        [b'-', ..] => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = match (rest.split_once(':'), rest.len()) {
        (Some(parts), _) => parts,
        (None, 4) => (rest.get(..2)?, rest.get(2..)?),
        (None, _) => (rest, "0"),
    };
    let number = |text: &str| {
        let fits = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<i32>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let seconds = hours * 3600 + minutes * 60;
    (minutes < 60 && i64::from(seconds) <= FURTHEST_ZONE).then_some(sign * seconds)
}

/// When a backup's content is from: not before its start, not after its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When it was started.
    pub start: Span,
    /// When it was complete; nothing where the source does not say, and the content is as of the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Span>,
    /// What says so.
    pub by: By,
}

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; expected {{\"apps\":{{\"start\":\"2024-04-21T23:20:00Z\",\"end\":\"2024-04-21T23:25:00Z\"}},\"participant\":{{…}}}}"
)]
pub struct NotAManifest(String);

/// Who says when a backup was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Comments in a plain dump, as `pg_dump --verbose` writes them.
    Comments,
    /// The header of a dump in PostgreSQL's own formats.
    Header,
    /// The file's name.
    FileName,
    /// The operator.
    Manifest,
    /// A `VolumeSnapshot` of Kubernetes.
    VolumeSnapshot,
    /// A backup run of a cloud's database service.
    CloudBackup,
    /// The database was running, and this machine's clock showed it.
    Running,
}

impl Window {
    /// The last instant that its content can be from: its end, or shortly after the start where only that is known.
    pub fn latest(&self) -> Timestamp {
        match self.end {
            Some(end) => end.latest.max(self.start.latest),
            None => self.start.latest.plus_seconds(SETTLING),
        }
    }

    /// The first instant that its content can be from.
    pub fn earliest(&self) -> Timestamp {
        self.start.earliest
    }

    /// The same, where it is known that its content is not from before this: the end of a ledger was published then.
    pub fn not_before(mut self, at: Option<Timestamp>) -> Window {
        if let Some(at) = at.filter(|at| *at <= self.latest()) {
            self.start.earliest = self.start.earliest.max(at);
            self.start.latest = self.start.latest.max(at);
        }
        self
    }

    /// The smallest window that holds both.
    pub fn and(&self, other: &Window) -> Window {
        let end = |window: &Window| {
            window.end.unwrap_or(Span {
                earliest: window.start.earliest,
                latest: window.latest(),
            })
        };
        let (one, two) = (end(self), end(other));
        Window {
            start: Span {
                earliest: self.start.earliest.min(other.start.earliest),
                latest: self.start.latest.min(other.start.latest),
            },
            end: Some(Span {
                earliest: one.earliest.max(two.earliest),
                latest: one.latest.max(two.latest),
            }),
            by: self.by.max(other.by),
        }
    }

    /// What the operator states of each part, `{"apps":{"start":"2024-04-21T23:20:00Z","end":"2024-04-21T23:25:00Z"},
    /// "participant":{…}}`: for backups that say nothing of themselves, as those of other clouds.
    pub fn of_manifest(json: &[u8]) -> Result<(Option<Window>, Option<Window>), NotAManifest> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Manifest {
            apps: Option<Part>,
            participant: Option<Part>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Part {
            start: String,
            end: String,
        }
        let wrong = |why: &str| NotAManifest(excerpt(why));
        let manifest: Manifest = serde_json::from_slice(json).map_err(|why| wrong(&why.to_string()))?;
        let window = |part: Option<Part>| {
            let Some(part) = part else { return Ok(None) };
            let read = |text: &str| time(text).ok_or_else(|| wrong(&format!("{text:?} is no time with its zone")));
            let (start, end) = (read(&part.start)?, read(&part.end)?);
            match start.earliest <= end.earliest {
                true => Ok(Some(Window {
                    start,
                    end: Some(end),
                    by: By::Manifest,
                })),
                false => Err(wrong("a backup ends before it starts")),
            }
        };
        Ok((window(manifest.apps)?, window(manifest.participant)?))
    }

    /// What the name of a file says that ends in a time, as backups of the Compose deployment are named:
    /// `validator-2024-04-21T23:25:00+00:00.dump`. The name is given when the dump is started.
    pub fn of_file_name(name: &str) -> Option<Window> {
        let name = name.char_indices().find_map(|(at, _)| {
            let rest = name.get(at..)?;
            let date = rest.get(..11)?;
            let is_date = date.bytes().zip(b"0000-00-00T").all(|(found, shape)| match shape {
                b'0' => found.is_ascii_digit(),
                other => found == *other,
            });
            is_date.then_some(rest)
        })?;
        // The time ends where it stops to be one: at the first suffix such as `.dump` or `.sql.gz`.
        let ends = name
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .filter(|end| (20..=40).contains(end));
        let start = ends.rev().find_map(|end| time(name.get(..end)?))?;
        Some(Window {
            start,
            end: None,
            by: By::FileName,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn exactly(at: Timestamp) -> Span {
        Span {
            earliest: at,
            latest: at,
        }
    }

    #[test]
    fn times_are_read_with_their_zones_and_their_precision() {
        let read = |text: &str| time(text).map(|i| (i.earliest.to_string(), i.latest.to_string()));
        let both = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            read("2024-04-21T23:25:00Z"),
            both("2024-04-21T23:25:00Z", "2024-04-21T23:25:00.999999Z")
        );
        assert_eq!(
            read("2024-04-21T23:25:00.123+02:00"),
            both("2024-04-21T21:25:00.123Z", "2024-04-21T21:25:00.123999Z")
        );
        assert_eq!(
            read("2024-04-21T23:25:00.123456789-0330"),
            both("2024-04-22T02:55:00.123456Z", "2024-04-22T02:55:00.123456Z")
        );
        for wrong in [
            "",
            "Z",
            "2024-04-21",
            "2024-04-21T23:25:00",
            "2024-04-21T23:25:00+15:00",
            "2024-04-21T23:25:00+2:0x",
            "é+02:00",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(is_sharp(&time("2024-04-21T23:25:00Z").unwrap()));
        assert_eq!(offset("+2"), Some(7200));
        assert_eq!(offset("-14:00"), Some(-50400));
        assert_eq!(
            [offset("+14:01"), offset("2"), offset("+"), offset("+00:60")],
            [None; 4]
        );
    }

    #[test]
    fn names_of_compose_backups_say_when_they_were_started() {
        let read = |name: &str| Window::of_file_name(name).map(|w| w.start.earliest.to_string());
        let expected = Some("2024-04-21T23:25:00Z".to_owned());
        for name in [
            "validator-2024-04-21T23:25:00+00:00.dump",
            "validator-2024-04-21T23:25:00Z.dump.gz",
            "participant-0-2024-04-22T01:25:00+02:00.sql.zst",
            "2024-04-21T23:25:00Z",
        ] {
            assert_eq!(read(name), expected, "{name}");
        }
        for name in [
            "",
            "validator.dump",
            "validator-2024-04-21.dump",
            "é-2024-04-21T99:25:00Z",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn manifests_say_when_and_nothing_else() {
        let apps = r#"{"start":"2024-04-21T23:20:00Z","end":"2024-04-22T01:25:00+02:00"}"#;
        let (found, participant) = Window::of_manifest(format!(r#"{{"apps":{apps}}}"#).as_bytes()).unwrap();
        assert_eq!(found.unwrap().latest(), at("2024-04-21T23:25:00.999999Z"));
        assert_eq!(participant, None);
        for wrong in [
            "",
            "[]",
            r#"{"sv":1}"#,
            r#"{"apps":{"start":"2024-04-21T23:20:00Z"}}"#,
            r#"{"apps":{"start":"2024-04-21T23:20:00","end":"2024-04-21T23:25:00"}}"#,
            r#"{"apps":{"start":"2024-04-21T23:20:01Z","end":"2024-04-21T23:20:00Z"}}"#,
            &format!(r#"{{"apps":{apps},"apps":{apps}}}"#),
            &"{\"apps\":".repeat(10_000),
        ] {
            assert!(Window::of_manifest(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ledger_is_not_from_before_its_end_was_published() {
        let unzoned = Window {
            start: Span {
                earliest: at("2024-04-21T10:00:00Z"),
                latest: at("2024-04-22T14:00:00Z"),
            },
            end: None,
            by: By::Header,
        };
        let narrowed = unzoned.clone().not_before(Some(at("2024-04-22T00:00:00Z")));
        assert_eq!(narrowed.earliest(), at("2024-04-22T00:00:00Z"));
        assert_eq!(narrowed.latest(), unzoned.latest());
        // A clock that contradicts is not believed.
        assert_eq!(unzoned.clone().not_before(Some(at("2024-05-01T00:00:00Z"))), unzoned);
    }

    #[test]
    fn several_windows_are_one_from_the_first_start_to_the_last_end() {
        let window = |start: &str, end: Option<&str>| Window {
            start: exactly(at(start)),
            end: end.map(|end| exactly(at(end))),
            by: By::Comments,
        };
        let one = window("2024-04-21T10:00:00Z", Some("2024-04-21T12:00:00Z"));
        let two = window("2024-04-21T11:00:00Z", None);
        for both in [one.and(&two), two.and(&one)] {
            assert_eq!(both.earliest(), at("2024-04-21T10:00:00Z"));
            assert_eq!(both.latest(), at("2024-04-21T12:00:00Z"));
        }
    }
}
