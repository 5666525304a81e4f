//! Validity periods, and the many ways in which proposals and certificates spell a time.

use time::macros::format_description;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use x509_cert::der::Decode;
use x509_cert::time::Validity as DerValidity;

use crate::crypto::error::Error;

const SECONDS_PER_DAY: u64 = 86_400;

/// From when to when a certificate is valid, both ends included. Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before_unix_s: u64,
    /// The last second.
    pub not_after_unix_s: u64,
}

impl Validity {
    /// `days` days from `not_before_unix_s` on, less the last second (recovery specification, section 8.6).
    ///
    /// # Errors
    /// [`Error::CannotIssue`] for no days, or where the sum overflows.
    pub fn days(not_before_unix_s: u64, days: u32) -> Result<Self, Error> {
        let not_after_unix_s = (u64::from(days) * SECONDS_PER_DAY)
            .checked_sub(1)
            .and_then(|seconds| not_before_unix_s.checked_add(seconds))
            .ok_or(Error::CannotIssue {
                problem: "the dates are out of range",
            })?;
        Ok(Self {
            not_before_unix_s,
            not_after_unix_s,
        })
    }

    /// Whether `unix_s` is within.
    pub fn contains(&self, unix_s: u64) -> bool {
        (self.not_before_unix_s..=self.not_after_unix_s).contains(&unix_s)
    }

    /// From the DER of a certificate's validity; `None` where it has none that can be read.
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let validity: DerValidity = DerValidity::from_der(der).ok()?;
        Some(Self {
            not_before_unix_s: validity.not_before.to_unix_duration().as_secs(),
            not_after_unix_s: validity.not_after.to_unix_duration().as_secs(),
        })
    }
}

/// Reads a time such as a proposal's `valid_from`, in seconds since 1970; a fraction is cut off.
///
/// ISO 8601 with `T` or a space, with or without seconds' fraction and zone (none: UTC), or as certificates have it:
/// `YYMMDDhhmmssZ` (years 1950 to 2049, RFC 5280) or `YYYYMMDDhhmmssZ`.
///
/// # Errors
/// [`Error::CannotIssue`] for anything else, and for times before 1970.
pub fn parse_time(text: &str) -> Result<u64, Error> {
    let digits = text.strip_suffix('Z').unwrap_or(text);
    let time = match digits.len() {
        12 if all_digits(digits) => compact(digits, 2),
        14 if all_digits(digits) => compact(digits, 4),
        _ => iso(text),
    };
    time.and_then(|seconds| u64::try_from(seconds).ok())
        .ok_or(Error::CannotIssue {
            problem: "the start of validity is not a time from 1970 on such as 2026-10-01T12:00:00Z or 261001120000Z",
        })
}

/// A time as constitutions take it: `YYMMDDhhmmssZ`.
///
/// # Errors
/// [`Error::CannotIssue`] for times that no certificate can begin at.
pub fn time_text(unix_s: u64) -> Result<String, Error> {
    let time = i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let form = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
    time.filter(|time| (1970..2050).contains(&time.year()))
        .and_then(|time| time.format(form).ok())
        .ok_or(Error::CannotIssue {
            problem: "the start of validity is not a time that a certificate can have",
        })
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[YY]YYMMDDhhmmss`, of which the year has `year_digits`.
fn compact(digits: &str, year_digits: usize) -> Option<i64> {
    let (year, rest) = digits.split_at_checked(year_digits)?;
    let year: i32 = year.parse().ok()?;
    let year = match (year_digits, year) {
        (2, 0..50) => 2000 + year,
        (2, _) => 1900 + year,
        _ => year,
    };
    let mut rest = rest;
    let mut pair = || {
        let (two, next) = rest.split_at_checked(2)?;
        rest = next;
        two.parse::<u8>().ok()
    };
    unix(year, pair()?, pair()?, pair()?, pair()?, pair()?)
}

/// `YYYY-MM-DD{T| }hh:mm:ss[.fraction][ ][Z|±hh:mm|±hhmm]`.
fn iso(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [year, month, day] = fields(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = fields(clock, ':', [2, 2, 2])?;
    let rest = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < fraction.len()).then_some(rest)?
        }
        None => rest,
    };
    let small = |number: u16| u8::try_from(number).ok();
    let local = unix(
        i32::from(year),
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
    )?;
    local.checked_sub(zone(rest.strip_prefix(' ').unwrap_or(rest))?)
}

/// Seconds east of Greenwich.
fn zone(text: &str) -> Option<i64> {
    if matches!(text, "" | "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match text.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, text.strip_prefix('-')?),
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let minutes = minutes.strip_prefix(':').unwrap_or(minutes);
    if !all_digits(hours) || !all_digits(minutes) || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (i8, i8) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = UtcOffset::from_hms(hours, minutes, 0).ok()?;
    Some(sign * i64::from(offset.whole_seconds()))
}

/// Three numbers of fixed widths with `separator` between them.
fn fields(text: &str, separator: char, widths: [usize; 3]) -> Option<[u16; 3]> {
    let mut parts = text.split(separator);
    let mut next = |width| {
        let part = parts.next().filter(|part| part.len() == width && all_digits(part))?;
        part.parse().ok()
    };
    let [a, b, c] = widths;
    let found = [next(a)?, next(b)?, next(c)?];
    parts.next().is_none().then_some(found)
}

fn unix(year: i32, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<i64> {
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let clock = Time::from_hms(hour, minute, second).ok()?;
    Some(PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 October 2026, noon.
    const NOON: u64 = 1_790_812_800 + 43_200;

    #[test]
    fn one_time_in_every_spelling_is_the_same_second() {
        for text in [
            "2026-10-01T12:00:00Z",
            "2026-10-01T12:00:00",
            "2026-10-01 12:00:00",
            "2026-10-01T12:00:00.123456",
            "2026-10-01T12:00:00.9Z",
            "2026-10-01 12:00:00.123456+00:00",
            "2026-10-01T12:00:00+00:00",
            "2026-10-01T12:00:00 +0000",
            "2026-10-01T14:30:00+02:30",
            "2026-10-01T05:00:00-0700",
            "261001120000Z",
            "20261001120000Z",
            "20261001120000",
        ] {
            assert_eq!(parse_time(text), Ok(NOON), "{text}");
        }
        assert_eq!(parse_time("700101000000Z"), Ok(0));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "Z",
            "now",
            "2026-10-01",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-10-01T24:00:00Z",
            "2026-10-01T12:00:00.Z",
            "2026-10-01T12:00:00+2",
            "2026-10-01T12:00:00+0a:00",
            "2026-10-01T12:00:00++1:00",
            "+026-10-01T12:00:00Z",
            "261301120000Z",
            "1969-12-31T23:59:59Z",
            "500101000000Z",
            "2026-10-01T12:00:00\u{e4}",
            "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_end_one_second_before_the_next_begins() {
        let day = Validity::days(NOON, 1).unwrap();
        assert_eq!(day.not_after_unix_s, NOON + 86_399);
        assert!(day.contains(NOON) && day.contains(NOON + 86_399) && !day.contains(NOON + 86_400));
        assert!(Validity::days(NOON, 0).is_err() && Validity::days(u64::MAX, 1).is_err());
    }
}
