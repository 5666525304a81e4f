//! Instants as Canton counts them: microseconds since 1970 in UTC, written like Java's `Instant` (SPEC-CANTON 1.1).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

/// An instant, microseconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(i64);

/// Why a text is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2024-04-21T23:25:00Z, with up to 9 digits after the second")]
pub struct NotATimestamp;

const SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The smallest that Canton knows, 0001-01-01T00:00:00Z: a period that begins with a participant begins here.
    pub const MIN: Timestamp = Timestamp(-62_135_596_800 * SECOND);
    /// The largest that Canton knows, 9999-12-31T23:59:59.999999Z.
    pub const MAX: Timestamp = Timestamp(253_402_300_800 * SECOND - 1);

    /// The instant so many microseconds after 1970, within what Canton knows.
    pub fn from_micros(micros: i64) -> Option<Timestamp> {
        let at = Timestamp(micros);
        (Timestamp::MIN..=Timestamp::MAX).contains(&at).then_some(at)
    }

    /// The instant so many seconds after 1970, within what Canton knows.
    pub fn from_seconds(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_micros(seconds.checked_mul(SECOND)?)
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// The last whole second that is not after it.
    pub fn floor_to_second(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(SECOND))
    }

    /// So many microseconds later, or earlier; at the end of what Canton knows where that is passed.
    pub fn plus_micros(self, micros: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(micros).clamp(Timestamp::MIN.0, Timestamp::MAX.0))
    }

    /// So many seconds later, or earlier; at the end of what Canton knows where that is passed.
    pub fn plus_seconds(self, seconds: i64) -> Timestamp {
        self.plus_micros(seconds.saturating_mul(SECOND))
    }

    /// Microseconds from another instant to this one; negative where this one is earlier.
    pub fn since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The machine's clock.
    pub fn now() -> Timestamp {
        let now = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000;
        Timestamp(
            i64::try_from(now)
                .unwrap_or(i64::MAX)
                .clamp(Timestamp::MIN.0, Timestamp::MAX.0),
        )
    }

    /// Parses `YYYY-MM-DDThh:mm:ss[.f]Z` with one to nine digits after the point; below a microsecond is cut off.
    pub fn parse(text: &[u8]) -> Option<Timestamp> {
        let [
            y1,
            y2,
            y3,
            y4,
            b'-',
            m1,
            m2,
            b'-',
            d1,
            d2,
            b'T',
            h1,
            h2,
            b':',
            i1,
            i2,
            b':',
            s1,
            s2,
            rest @ ..,
        ] = text
        else {
            return None;
        };
        let two = |a: &u8, b: &u8| Some(digit(*a)? * 10 + digit(*b)?);
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let (month, day) = (two(m1, m2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(i1, i2)?, two(s1, s2)?);
        if hour > 23 || minute > 59 || second > 59 || year == 0 {
            return None;
        }
        let micros = match rest {
            [b'Z'] => 0,
            [b'.', fraction @ .., b'Z'] if (1..=9).contains(&fraction.len()) => {
                let mut micros = 0;
                for place in 0..9 {
                    let digit = fraction.get(place).map_or(Some(0), |byte| digit(*byte))?;
                    if place < 6 {
                        micros = micros * 10 + digit;
                    }
                }
                micros
            }
            _ => return None,
        };
        let days = days_to(year, month, day)?;
        let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
        Timestamp::from_micros(seconds.checked_mul(SECOND)?.checked_add(micros)?)
    }
}

/// Days from 1970 to a date of the calendar that is extended to the year 1; none where there is no such day. Years are counted
/// from March, so that a leap day is the last of its year, and in eras of 400.
fn days_to(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    (1..=length).contains(&day).then_some(())?;
    let (year, month) = match month > 2 {
        true => (year, month - 3),
        false => (year - 1, month + 9),
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

impl fmt::Display for Timestamp {
    /// As Java's `Instant` does: the fraction has no, three or six digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = OffsetDateTime::from_unix_timestamp(self.seconds()) else {
            return write!(f, "{} us after 1970", self.0);
        };
        let (date, time) = (at.date(), at.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        )?;
        match self.0.rem_euclid(SECOND) {
            0 => write!(f, "Z"),
            micros if micros % 1000 == 0 => write!(f, ".{:03}Z", micros / 1000),
            micros => write!(f, ".{micros:06}Z"),
        }
    }
}

impl FromStr for Timestamp {
    type Err = NotATimestamp;

    fn from_str(text: &str) -> Result<Timestamp, NotATimestamp> {
        Timestamp::parse(text.as_bytes()).ok_or(NotATimestamp)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_canton_prints_is_read_and_printed_alike() {
        for text in [
            "2024-04-21T23:25:00Z",
            "2026-09-16T09:28:07.504068Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "2024-02-29T00:00:00.500Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        let nanos: Timestamp = "2026-09-16T09:28:07.504068999Z".parse().unwrap();
        assert_eq!(nanos.to_string(), "2026-09-16T09:28:07.504068Z");
        assert_eq!(Timestamp::from_micros(0).unwrap().to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_instant_in_utc_is_refused() {
        for text in [
            "",
            "2024-04-21",
            "2024-04-21T23:25:00",
            "2024-04-21T23:25:00+02:00",
            "2024-04-21T23:25:00.Z",
            "2024-04-21T23:25:00.1234567890Z",
            "2023-02-29T00:00:00Z",
            "2024-04-21T24:00:00Z",
            "2024-04-21T23:60:00Z",
            "0000-01-01T00:00:00Z",
            "2024-04-21T23:25:00.12aZ",
            " 2024-04-21T23:25:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATimestamp), "{text}");
        }
    }

    #[test]
    fn every_day_is_as_far_from_1970_as_calendars_have_it() {
        let first = time::Date::from_calendar_date(1, time::Month::January, 1).unwrap();
        let days = std::iter::successors(Some(first), |day| day.next_day()).take_while(|day| day.year() <= 9999);
        let epoch = OffsetDateTime::UNIX_EPOCH.date();
        for day in days {
            let (year, month, of_month) = (day.year().into(), u8::from(day.month()).into(), day.day().into());
            let expected = (day - epoch).whole_days();
            assert_eq!(days_to(year, month, of_month), Some(expected), "{day}");
            if day.next_day().is_none_or(|next| next.month() != day.month()) {
                assert_eq!(days_to(year, month, of_month + 1), None, "{day}");
            }
        }
        assert_eq!(
            (days_to(2024, 0, 1), days_to(2024, 13, 1), days_to(2024, 1, 0)),
            (None, None, None)
        );
    }

    #[test]
    fn arithmetic_stays_within_what_canton_knows() {
        let at: Timestamp = "2024-04-21T23:25:00.75Z".parse().unwrap();
        assert_eq!(at.floor_to_second().to_string(), "2024-04-21T23:25:00Z");
        assert_eq!(at.plus_seconds(-900).to_string(), "2024-04-21T23:10:00.750Z");
        assert_eq!(at.since(at.plus_micros(-5)), 5);
        assert_eq!(Timestamp::MIN.plus_seconds(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.plus_micros(1), Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(i64::MAX), None);
        let before: Timestamp = "1969-12-31T23:59:59.500Z".parse().unwrap();
        assert_eq!((before.micros(), before.seconds()), (-500_000, -1));
    }
}
