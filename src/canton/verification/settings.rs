//! Whether a sequencer's deployment has the times of a roll-forward upgrade (SPEC-CANTON 6): a sequencer without them is as
//! ready as one with them.

use super::report::{Line, State};
use crate::canton::kubernetes::Deployment;
use crate::canton::{Code, Timestamp};

/// The variable that sets an end to the old sequencer.
pub const END: &str = "ADDITIONAL_CONFIG_SEQUENCER_LSU_MAX_SEQUENCING_TIME";
/// Its key: nothing is sequenced from this time on.
pub const END_KEY: &str = "global-max-sequencing-time-exclusive";
/// The variable with the bounds of the successor's sequencer.
pub const BOUNDS: &str = "ADDITIONAL_CONFIG_SEQUENCER_LSU_SEQUENCING_BOUNDS";
/// Its key for the time after which test messages are sequenced.
pub const LOWER_KEY: &str = "lower-bound-sequencing-time-exclusive";
/// Its key for the time after which everything is.
pub const UPGRADE_KEY: &str = "upgrade-time";
/// What all these keys stand in.
const SECTION: &str = "lsu-repair";

/// The times that are expected; what is not named is not looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The old sequencer's end.
    pub end: Option<Timestamp>,
    /// The successor's lower bound.
    pub lower: Option<Timestamp>,
    /// The successor's upgrade time.
    pub upgrade: Option<Timestamp>,
}

impl Times {
    /// Whether any is expected.
    pub fn is_any(&self) -> bool {
        *self != Times::default()
    }
}

/// A line for each time that is expected of this sequencer.
pub fn judge(sequencer: &Deployment, times: &Times) -> Vec<Line> {
    let expected = [
        (END, END_KEY, times.end),
        (BOUNDS, LOWER_KEY, times.lower),
        (BOUNDS, UPGRADE_KEY, times.upgrade),
    ];
    let of = &sequencer.name;
    let line = |(variable, key, time): (&str, &str, Option<Timestamp>)| {
        let time = time?;
        Some(match found(sequencer, variable, key) {
            Ok(found) if found == time => Line::good("setting", of, format!("{key} is {time}")),
            Ok(found) => wrong(of, format!("{key} is {found}, expected {time}")),
            Err(why) => wrong(of, format!("{why}; expected {key} = {time}")),
        })
    };
    expected.into_iter().filter_map(line).collect()
}

fn wrong(of: &str, says: String) -> Line {
    Line::wrong("setting", of, State::NotYet, Code::SettingMissing, says)
}

fn found(sequencer: &Deployment, variable: &str, key: &str) -> Result<Timestamp, String> {
    let mut values = sequencer.environment.iter().filter(|(name, _)| name == variable);
    // Of several with one name Kubernetes takes the last.
    match values.next_back() {
        None => Err(format!("{variable} is not set")),
        Some((_, None)) => Err(format!(
            "the value of {variable} comes from elsewhere (valueFrom) and can't be seen"
        )),
        Some((_, Some(text))) if !text.contains(SECTION) => Err(format!("{variable} sets nothing in {SECTION}")),
        Some((_, Some(text))) => setting(text, key).ok_or_else(|| format!("{variable} has no time for {key}")),
    }
}

/// The time that HOCON sets a key to; of several the last, as there.
fn setting(text: &str, key: &str) -> Option<Timestamp> {
    let uncommented = |line: &'_ str| !line.trim_start().starts_with(['#', '/']);
    let lines = text.lines().filter(|line| uncommented(line));
    let mut values = lines.filter_map(|line| {
        let (before, after) = line.rsplit_once(key)?;
        // A longer key that ends in this one is another.
        let is_whole = before.is_empty() || before.ends_with(['.', '{', ',', ' ', '\t', '"']);
        let value = after.trim_start_matches(['"', ' ', '\t']).strip_prefix(['=', ':'])?;
        let value = value.trim_start_matches(['"', ' ', '\t']);
        let end = value.find(['"', ' ', '\t', ',', '}']).unwrap_or(value.len());
        value.get(..end)?.parse().ok().filter(|_| is_whole)
    });
    values.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn sequencer(environment: &[(&str, Option<&str>)]) -> Deployment {
        Deployment {
            name: "global-domain-0-sequencer".to_owned(),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
                .collect(),
            ..Deployment::default()
        }
    }

    #[test]
    fn an_end_counts_only_where_it_is_set_to_that_very_time() {
        let times = Times {
            end: Some(at("2026-11-20T10:00:01Z")),
            ..Times::default()
        };
        let dotted = "canton.sequencers.sequencer.parameters.lsu-repair.global-max-sequencing-time-exclusive=";
        for (value, is_good) in [
            (Some(format!("    {dotted}\"2026-11-20T10:00:01Z\"\n")), true),
            (Some(format!("{dotted}\"2026-11-20T10:00:01.000Z\"")), true),
            (
                Some("lsu-repair { global-max-sequencing-time-exclusive : \"2026-11-20T10:00:01Z\" }".to_owned()),
                true,
            ),
            (Some(format!("{dotted}\"2026-11-20T10:00:02Z\"")), false),
            (Some(format!("# {dotted}\"2026-11-20T10:00:01Z\"")), false),
            (
                Some(format!(
                    "{dotted}\"2026-11-20T10:00:01Z\"\n{dotted}\"2026-11-20T11:00:01Z\""
                )),
                false,
            ),
            (Some(format!("{dotted}\"\"")), false),
            (Some(dotted.to_owned()), false),
            (Some(String::new()), false),
            (
                Some("other.global-max-sequencing-time-exclusive=\"2026-11-20T10:00:01Z\"".to_owned()),
                false,
            ),
            (
                Some(dotted.replace("global-max", "not-global-max") + "\"2026-11-20T10:00:01Z\""),
                false,
            ),
            (None, false),
        ] {
            let lines = judge(&sequencer(&[("OTHER", Some("x")), (END, value.as_deref())]), &times);
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0].state == State::Good, is_good, "{value:?} {}", lines[0].says);
        }
        let unset = judge(&sequencer(&[]), &times);
        assert!(unset[0].says.contains("is not set") && unset[0].state == State::NotYet);
        assert!(judge(&sequencer(&[]), &Times::default()).is_empty());
    }

    #[test]
    fn both_bounds_are_read_from_one_variable() {
        let times = Times {
            lower: Some(at("2026-11-20T11:00:00Z")),
            upgrade: Some(at("2026-11-20T12:00:00Z")),
            end: None,
        };
        let path = "canton.sequencers.sequencer.parameters.lsu-repair.lsu-sequencing-bounds-override";
        let both = |lower: &str, upgrade: &str| {
            format!("{path}.{LOWER_KEY}=\"{lower}\"\n{path}.{UPGRADE_KEY}=\"{upgrade}\"\n")
        };
        let states = |text: String| {
            let lines = judge(&sequencer(&[(BOUNDS, Some(&text))]), &times);
            lines.iter().map(|line| line.state == State::Good).collect::<Vec<_>>()
        };
        assert_eq!(
            states(both("2026-11-20T11:00:00Z", "2026-11-20T12:00:00Z")),
            [true, true]
        );
        assert_eq!(
            states(both("2026-11-20T12:00:00Z", "2026-11-20T11:00:00Z")),
            [false, false]
        );
    }
}
