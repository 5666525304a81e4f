//! How old backups are (SPEC-CANTON 2.1): a node can catch up only from what sequencers still keep, which is 30 days.

use serde::Serialize;

use super::instant::Window;
use crate::canton::dump::Span;
use crate::canton::{Code, Finding, Findings, Timestamp};

/// Seconds in a day.
pub const DAY: i64 = 86_400;
/// Seconds that sequencers keep what a node needs to catch up.
pub const LIMIT: i64 = 30 * DAY;
/// Seconds after which there should be a newer backup.
const CADENCE: i64 = 4 * 3600;
/// Seconds that clocks of several machines may be apart.
const SKEW: i64 = 300;

/// How old.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Age {
    /// Whether that is young enough.
    pub verdict: Youth,
    /// Seconds, at least; nothing where that is not known.
    pub at_least_s: Option<i64>,
    /// Seconds, at most.
    pub at_most_s: Option<i64>,
    /// Seconds from which on it is too old.
    pub limit_s: i64,
    /// The end of the participant's ledger was published then.
    pub ledger_end_published: Option<Timestamp>,
}

/// Whether a backup is young enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Youth {
    /// It is.
    Fresh,
    /// It is not.
    Old,
    /// It may be or not.
    Unknown,
}

/// What says how old backups are.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// When the apps' backup was taken.
    pub apps: Option<&'a Window>,
    /// When the participant's backup was taken.
    pub participant: Option<&'a Window>,
    /// When the end of the participant's ledger was published: its backup was taken later.
    pub published: Option<Timestamp>,
}

impl Times<'_> {
    /// The age of the older one. Apps read what they lack from the participant, so that the participant's age decides where
    /// the apps' is not known.
    fn range(&self, now: Timestamp) -> (Option<i64>, Option<i64>) {
        let seconds = |at: Timestamp| now.since(at).div_euclid(1_000_000).max(0);
        let start = |window: &Window| window.start;
        let spans: [Option<Span>; 2] = [self.apps.map(start), self.participant.map(start)];
        let at_least = spans.iter().flatten().map(|span| seconds(span.latest)).max();
        let of_window = self.participant.map(|window| seconds(window.start.earliest));
        let of_publication = self.published.map(seconds);
        let participant = match (of_window, of_publication) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let apps = self.apps.map(|window| seconds(window.start.earliest));
        (
            at_least,
            participant.map(|participant| apps.map_or(participant, |apps| apps.max(participant))),
        )
    }

    /// Judges them.
    pub fn judge(&self, now: Timestamp, limit_s: i64, findings: &mut Findings) -> Age {
        let (at_least_s, at_most_s) = self.range(now);
        let verdict = match (at_least_s, at_most_s) {
            (Some(least), _) if least >= limit_s => Youth::Old,
            (_, Some(most)) if most < limit_s => Youth::Fresh,
            _ => Youth::Unknown,
        };
        let limit = in_words(limit_s);
        match (verdict, at_least_s, at_most_s) {
            (Youth::Old, Some(least), _) => {
                let old = format!("it is at least {} old, and {limit} is the limit", in_words(least));
                findings.push(Finding::new(Code::TooOld, old));
            }
            (Youth::Unknown, _, most) => {
                let why = match (most, self.published) {
                    (Some(most), Some(at)) if self.participant.is_none() => format!(
                        "the backup does not say when it was taken; its ledger ends at {at}, {} ago, and {limit} is the limit",
                        in_words(most)
                    ),
                    (Some(most), _) => format!("it may be {} old, and {limit} is the limit", in_words(most)),
                    (None, _) => "nothing says when the participant's backup was taken".to_owned(),
                };
                findings.push(Finding::new(Code::AgeUnknown, why));
            }
            (_, least, _) => {
                if let Some(least) = least.filter(|least| *least > CADENCE) {
                    let late = format!("it is {} old", in_words(least));
                    findings.push(Finding::new(Code::CadenceMissed, late));
                }
            }
        }
        let first = [self.apps, self.participant]
            .into_iter()
            .flatten()
            .map(Window::earliest);
        if let Some(at) = first
            .chain(self.published)
            .filter(|at| *at > now.plus_seconds(SKEW))
            .max()
        {
            let future = format!("{at} is later than now, which is {now}");
            findings.push(Finding::new(Code::InFuture, future));
        }
        Age {
            verdict,
            at_least_s,
            at_most_s,
            limit_s,
            ledger_end_published: self.published,
        }
    }
}

/// Seconds for a person.
pub fn in_words(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / DAY),
    }
}

/// Parses a span of time, `30d`, `12h`, `90m`, `45s`, as seconds.
pub fn parse(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    let factor = match unit {
        'd' => DAY,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = is_number.then(|| digits.parse().ok())??;
    number.checked_mul(factor)
}
