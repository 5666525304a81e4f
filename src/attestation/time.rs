//! When certificates have to be valid, if at all. Nothing here reads a clock: the caller says what time it is.

use crate::crypto::x509::{AnyCertificate, Validity};
use crate::shown::date;

use super::judgement::Outcome;

/// What time means to a judgement. Instants are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Certificates must be valid at this instant: now, for whom a door is opened, or another one that the caller chose.
    At(u64),
    /// It is this instant now, but what has expired is only remarked on: an audit, years later, of signatures that were
    /// made in time.
    Remark(u64),
    /// Dates are not looked at.
    None,
}

impl Time {
    /// The outcome for certificates, each with what it is called.
    pub(super) fn validity<'a>(self, certificates: impl IntoIterator<Item = (&'a str, &'a AnyCertificate)>) -> Outcome {
        let windows = certificates
            .into_iter()
            .map(|(name, certificate)| (name, certificate.validity()));
        self.windows(windows)
    }

    pub(super) fn windows<'a>(self, windows: impl IntoIterator<Item = (&'a str, Validity)>) -> Outcome {
        let (Time::At(instant) | Time::Remark(instant)) = self else {
            return Outcome::not_done("no time was given: dates were not looked at");
        };
        let mut outside = Vec::new();
        for (name, validity) in windows {
            if instant < validity.not_before_unix_s {
                outside.push(format!("{name} is valid from {} on", date(validity.not_before_unix_s)));
            } else if instant > validity.not_after_unix_s {
                outside.push(format!("{name} expired on {}", date(validity.not_after_unix_s)));
            }
        }
        match (outside.is_empty(), self) {
            (true, _) => Outcome::Passed,
            (false, Time::At(_)) => Outcome::failed(
                "a certificate is not valid at the given time",
                outside.join(", "),
                format!("all valid at {}", date(instant)),
            ),
            (false, _) => Outcome::remark(outside.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_within_and_expiry_is_a_remark_or_a_failure() {
        let window = Validity {
            not_before_unix_s: 100,
            not_after_unix_s: 200,
        };
        let at = |time: Time| time.windows([("the leaf", window)]);
        assert_eq!(at(Time::At(100)), Outcome::Passed);
        assert_eq!(at(Time::At(200)), Outcome::Passed);
        assert_eq!(at(Time::Remark(150)), Outcome::Passed);
        for instant in [99, 201] {
            assert!(at(Time::At(instant)).is_failed());
            assert!(matches!(at(Time::Remark(instant)), Outcome::Remark(_)));
        }
        assert_eq!(
            at(Time::Remark(201)),
            Outcome::Remark("the leaf expired on 1970-01-01T00:03:20Z".into())
        );
        assert!(matches!(at(Time::None), Outcome::NotDone(_)));
    }

    #[test]
    fn dates_of_any_size_are_shown() {
        assert_eq!(date(1_790_812_800), "2026-10-01T00:00:00Z");
        assert!(date(u64::MAX).contains("seconds"));
    }
}
