//! Times that dumps say, with how sure they are (SPEC-CANTON 2.4).

use time::{Date, Month, UtcOffset};

use super::Span;
use crate::canton::Timestamp;

/// How far zones go from UTC, in seconds: where a zone is unknown, a time is this much earlier or later.
const FURTHEST_ZONE: i64 = 14 * 3600;
/// Microseconds of a second but one: dumps say whole seconds.
const REST_OF_SECOND: i64 = 999_999;

/// Abbreviations that mean one offset only wherever tzdata uses them today, in minutes. Others (CST, IST, BST …) are of
/// several zones.
const ZONES: [(&str, i64); 16] = [
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("Etc/UTC", 0),
    ("WET", 0),
    ("WEST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("JST", 540),
    ("KST", 540),
    ("HKT", 480),
    ("EDT", -240),
    ("PDT", -420),
];

/// A time as a clock on a wall shows it: seconds since 1970, as though it were UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wall(i64);

impl Wall {
    /// From numbers as C's `struct tm` has them, but the whole year and months from 1.
    pub fn of(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> Option<Wall> {
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
        let midnight = date.midnight().assume_utc().unix_timestamp();
        is_time.then_some(Wall(midnight + hour * 3600 + minute * 60 + second))
    }

    /// When that was.
    pub fn span(self, zone: Option<UtcOffset>) -> Option<Span> {
        let (before, after) = match zone {
            Some(zone) => (i64::from(zone.whole_seconds()), i64::from(zone.whole_seconds())),
            None => (FURTHEST_ZONE, -FURTHEST_ZONE),
        };
        Some(Span {
            earliest: Timestamp::from_seconds(self.0 - before)?,
            latest: Timestamp::from_seconds(self.0 - after)?.plus_micros(REST_OF_SECOND),
        })
    }
}

/// Reads `2026-11-22 21:30:00 UTC`; the zone of its own, or the one that is known beforehand. Whether one is known is the
/// second answer.
pub(super) fn parse(text: &str, zone: Option<UtcOffset>) -> Option<(Span, bool)> {
    let mut words = text.split_whitespace();
    let numbers = |text: &str, separator: char| {
        let mut parts = text.split(separator).map(|part| {
            let is_number = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse::<i64>().ok()).flatten()
        });
        let three = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(three)
    };
    let (year, month, day) = numbers(words.next()?, '-')?;
    let (hour, minute, second) = numbers(words.next()?, ':')?;
    let zone = words.next().and_then(self::zone).or(zone);
    let span = Wall::of(year, month, day, hour, minute, second)?.span(zone)?;
    Some((span, zone.is_some()))
}

/// A zone by its abbreviation, or as tzdata writes those that have none: `+03`, `-0330`.
fn zone(text: &str) -> Option<UtcOffset> {
    let of = |minutes: i64| UtcOffset::from_whole_seconds(i32::try_from(minutes * 60).ok()?).ok();
    if let Some((_, minutes)) = ZONES.iter().find(|(name, _)| *name == text) {
        return of(*minutes);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || ![2, 4].contains(&digits.len()) {
        return None;
    }
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    let hours: i64 = hours.parse().ok()?;
    (hours <= 14 && minutes < 60).then(|| of(sign * (hours * 60 + minutes)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, zone: Option<UtcOffset>) -> Option<(String, String, bool)> {
        parse(text, zone).map(|(span, known)| (span.earliest.to_string(), span.latest.to_string(), known))
    }

    #[test]
    fn a_time_spans_what_its_zone_leaves_open() {
        let expected = |earliest: &str, latest: &str, known| Some((earliest.to_owned(), latest.to_owned(), known));
        assert_eq!(
            shown("2026-11-22 21:30:00 UTC", None),
            expected("2026-11-22T21:30:00Z", "2026-11-22T21:30:00.999999Z", true)
        );
        assert_eq!(
            shown("2026-11-22 21:30:00 CEST", UtcOffset::from_hms(5, 0, 0).ok()),
            expected("2026-11-22T19:30:00Z", "2026-11-22T19:30:00.999999Z", true)
        );
        assert_eq!(
            shown("2026-11-22 21:30:00 -0330", None),
            expected("2026-11-23T01:00:00Z", "2026-11-23T01:00:00.999999Z", true)
        );
        assert_eq!(
            shown("2026-11-22 21:30:00 CST", None),
            expected("2026-11-22T07:30:00Z", "2026-11-23T11:30:00.999999Z", false)
        );
        assert_eq!(
            shown("2026-11-22 21:30:00 CST", UtcOffset::from_hms(-6, 0, 0).ok()),
            expected("2026-11-23T03:30:00Z", "2026-11-23T03:30:00.999999Z", true)
        );
    }

    #[test]
    fn what_is_no_time_says_nothing() {
        for text in [
            "",
            "2026-11-22",
            "2026-02-30 21:30:00 UTC",
            "2026-11-22 24:30:00 UTC",
            "2026-11-22 -1:30:00",
            "99999-01-01 00:00:00 UTC",
            "2026-11-22-1 00:00:00 UTC",
        ] {
            assert_eq!(parse(text, None), None, "{text}");
        }
    }
}
