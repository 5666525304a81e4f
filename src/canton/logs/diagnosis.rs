//! What is to be said of the logs as a whole: whose they are, and why nothing was found where nothing was (SPEC-CANTON 1.4,
//! 5.3).

use super::gathered::{Counts, LEVELS, Total};
use super::scanning::Outcome;
use super::{Scanned, Settings};
use crate::canton::evidence::{Comparison, Evidence, Fact, Facts, MOST_BYTES, MOST_FACTS};
use crate::canton::name::Participant;
use crate::canton::release::{Canton, Saying};
use crate::canton::{Code, Finding, Findings, Timestamp};
use crate::report::Severity;

/// Judges what was found.
pub fn conclude(outcome: Outcome, settings: &Settings) -> Scanned {
    let Outcome {
        total,
        mut findings,
        ending,
        files,
        bytes,
    } = outcome;
    let Total {
        mut evidence,
        counts,
        owners,
        ignored,
        ..
    } = total;
    for (synchronizer, ignored) in ignored {
        let mut latest_first = ignored.into_iter().rev();
        if let Some((at, _)) = latest_first.find(|(_, (pruned, skipped))| *pruned && !skipped) {
            evidence.take(&synchronizer, Fact::Pruned(at));
        }
    }
    let seen: Vec<&Participant> = owners.keys().collect();
    evidence.participant = owner(settings.participant.as_ref(), &seen, &evidence, &mut findings);
    findings.extend(about(&evidence, &counts, settings, bytes));
    Scanned {
        evidence,
        findings,
        ending,
        files,
        bytes,
        hits: counts.hits,
        unattributed: counts.unattributed,
        kinds: counts.kinds,
    }
}

/// Whose the logs are.
fn owner(
    given: Option<&Participant>,
    seen: &[&Participant],
    evidence: &Evidence,
    findings: &mut Findings,
) -> Option<Participant> {
    let names = |all: &[&Participant]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (given, seen) {
        (Some(given), _) => {
            let others: Vec<&Participant> = seen.iter().copied().filter(|seen| *seen != given).collect();
            if !others.is_empty() {
                let message = format!(
                    "they were said to be of {given}, and commitments in them are for {}",
                    names(&others)
                );
                findings.push(Finding::new(Code::OwnerDiffers, message));
            } else if is_counterparty(given, evidence) {
                let message = format!(
                    "they were said to be of {given}, and in them its commitments are compared like a counterparty's: a \
                     participant does not compare its own"
                );
                findings.push(Finding::new(Code::OwnerDiffers, message));
            }
            // Where the logs know the whole fingerprint of the same participant, that is more than was given.
            let whole = seen.iter().find(|seen| **seen == given && seen.is_whole());
            Some(whole.copied().unwrap_or(given).clone())
        }
        (None, [one]) => Some((*one).clone()),
        (None, []) => {
            if !evidence.observations.is_empty() {
                let message = "no record says which participant wrote them";
                findings.push(Finding::new(Code::OwnerUnknown, message));
            }
            None
        }
        (None, several) => {
            let message = format!("commitments in them are for several participants: {}", names(several));
            findings.push(Finding::new(Code::OwnersConflict, message));
            None
        }
    }
}

fn is_counterparty(owner: &Participant, evidence: &Evidence) -> bool {
    // Canton 3.6 receives its own commitments, too: there it is no sign.
    let mut runs = evidence.observations.values().flat_map(|about| about.compared.runs());
    runs.any(|(whom, comparison, _)| comparison == Comparison::Correct && whom == owner)
}

fn about(evidence: &Evidence, counts: &Counts, settings: &Settings, bytes: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |code, message: String| findings.push(Finding::new(code, message));
    let has = |comparison| {
        let mut all = evidence.observations.values().flat_map(|about| about.compared.runs());
        all.any(|(_, how, _)| how == comparison)
    };
    let runs = evidence.observations.values().flat_map(|about| about.compared.runs());
    let (mut differing, mut first, mut names) = (0, None, Vec::new());
    for (name, _, run) in runs.filter(|(_, comparison, _)| *comparison == Comparison::Mismatch) {
        differing += u64::from(run.count);
        first = Some(first.map_or(run.first.to_inclusive, |first: Timestamp| {
            first.min(run.first.to_inclusive)
        }));
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    if let Some(first) = first {
        let mut whom: Vec<String> = names.into_iter().map(Participant::to_string).collect();
        let more = whom.len().saturating_sub(5);
        whom.truncate(5);
        let more = if more > 0 {
            format!(" and {more} others")
        } else {
            String::new()
        };
        say(
            Code::Mismatches,
            format!(
                "{} commitments differ from this participant's own, the first for the period up to {}: of {}{more}",
                differing,
                first,
                whom.join(", "),
            ),
        );
    }
    if let Some(alarms) = counts.kinds.get("alarm") {
        say(Code::Alarms, format!("{alarms} records are alarms about commitments"));
    }
    if evidence.left_out > 0 {
        say(
            Code::TooManyFacts,
            format!(
                "{} facts were left out: {MOST_FACTS} are kept at most, and no more than fit into {} MiB",
                evidence.left_out,
                MOST_BYTES >> 20
            ),
        );
    }
    if counts.malformed > 0 {
        say(
            Code::NotUnderstood,
            format!(
                "{} records speak of commitments and can't be understood",
                counts.malformed
            ),
        );
    }
    if !has(Comparison::Correct) {
        let (code, message) = absence(counts, settings, has(Comparison::Weak), bytes);
        say(code, message);
    }
    if counts.unattributed > 0 {
        let finding = Finding::new(
            Code::Unattributed,
            format!(
                "of {} places that say that a commitment was correct, {} are in no record of the commitment processor",
                counts.hits, counts.unattributed
            ),
        );
        findings.push(match counts.unattributed == counts.hits {
            true => finding.severity(Severity::Warning),
            false => finding,
        });
    }
    findings
}

/// Why no record says that a commitment was correct.
fn absence(counts: &Counts, settings: &Settings, has_weak: bool, bytes: u64) -> (Code, String) {
    let release = settings.canton.or_else(|| release(counts));
    let by = release.map_or(String::new(), |release| format!(" of Canton {release}"));
    let processor: u64 = counts.processor.iter().sum();
    let quietest = LEVELS
        .iter()
        .zip(counts.processor)
        .find(|(_, count)| *count > 0)
        .map(|(level, _)| *level);
    let seen = distribution(counts);
    if bytes == 0 {
        return (Code::NoBytes, "there is not a single byte in them".to_owned());
    }
    if counts.filtered > 0 {
        return (
            Code::NothingInTime,
            format!(
                "{} records are about commitments, and all end before --after or after --before",
                counts.filtered
            ),
        );
    }
    if has_weak {
        return (
            Code::OnlyWeak,
            "commitments were compared without a mismatch being reported, and no record says that one was correct"
                .to_owned(),
        );
    }
    let never = release.is_some_and(|release| release.saying() == Saying::Never);
    if counts.kinds.contains_key("disabled") || counts.pipeline > 0 || (never && processor == 0) {
        // What a logger's name tells of the release is not true of this one.
        let by = match never {
            true => by.as_str(),
            false => "",
        };
        return (
            Code::ProcessorDisabled,
            format!(
                "the commitment processor that says so is switched off{by}; what replaced it speaks at DEBUG only ({seen})"
            ),
        );
    }
    if processor == 0 {
        return (
            Code::NotAParticipantsLog,
            format!("no record is of the commitment processor, which is a participant's ({seen})"),
        );
    }
    let says_so = counts.kinds.contains_key("correct");
    let shows_debug =
        says_so || matches!(quietest, Some("TRACE" | "DEBUG")) || counts.sampled.iter().take(2).sum::<u64>() > 0;
    let says_at = release.map(Canton::saying);
    if !shows_debug && says_at != Some(Saying::Info) {
        return (
            Code::LevelHidesAgreement,
            format!(
                "the {processor} records of the commitment processor{by} are at {} and above ({seen}), and up to Canton 3.3 it \
                 says at DEBUG that a commitment was correct",
                quietest.unwrap_or("INFO")
            ),
        );
    }
    if says_at == Some(Saying::Info) && matches!(quietest, Some("WARN" | "ERROR")) {
        return (
            Code::LevelHidesAgreement,
            format!(
                "the {processor} records of the commitment processor{by} are at WARN and above ({seen}), and it says at INFO that \
                 a commitment was correct"
            ),
        );
    }
    (
        Code::NothingCompared,
        format!("the commitment processor{by} wrote {processor} records, at the level at which it says so ({seen})"),
    )
}

/// The release line as far as a log tells: each named the synchronizer under another key.
fn release(counts: &Counts) -> Option<Canton> {
    let minor = |minor| Some(Canton { major: 3, minor });
    match () {
        () if counts.keys.contains("psid=") => minor(4),
        () if counts.keys.contains("synchronizerId=") => minor(3),
        () if counts.keys.contains("domainId=") || counts.keys.contains("domain=") => minor(2),
        () => None,
    }
}

fn distribution(counts: &Counts) -> String {
    let total: u64 = counts.sampled.iter().sum();
    if total == 0 {
        return "no line of the samples has a level".to_owned();
    }
    let shares: Vec<String> = LEVELS
        .iter()
        .zip(counts.sampled)
        .filter(|(_, count)| *count > 0)
        .map(|(level, count)| format!("{count} {level}"))
        .collect();
    format!("of {total} sampled lines {}", shares.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Encoder, PROCESSOR, Written, period};
    use super::super::{Settings, scan};
    use super::*;

    fn found(bytes: &[u8]) -> Scanned {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        std::fs::write(&path, bytes).unwrap();
        scan(&[path], &Settings::default(), &|_| ()).unwrap()
    }

    fn said(records: &[Written]) -> Vec<(Code, String)> {
        let lines: Vec<String> = records.iter().map(|record| Encoder::Json.encode(record)).collect();
        let findings = found(lines.join("\n").as_bytes()).findings.finish();
        findings
            .into_iter()
            .map(|finding| (finding.code, finding.message))
            .collect()
    }

    #[test]
    fn the_release_is_known_by_a_logger_that_says_nothing_of_interest() {
        // 3.4 and later say at INFO what they compare: the level hides nothing.
        let quiet = said(&[Written::new(1, "Initialized the ACS commitment processor")]);
        assert_eq!(quiet[0].0, Code::NothingCompared, "{quiet:?}");
        let warnings = said(&[Written::new(1, "Something is slow").level("WARN")]);
        assert!(
            warnings[0].0 == Code::LevelHidesAgreement && warnings[0].1.contains("at INFO"),
            "{warnings:?}"
        );
        let old = PROCESSOR.replace("psid=", "synchronizerId=");
        let old = said(&[Written::new(1, "Initialized").by(&old)]);
        assert!(
            old[0].0 == Code::LevelHidesAgreement && old[0].1.contains("at DEBUG"),
            "{old:?}"
        );
    }

    #[test]
    fn what_is_said_and_not_understood_is_not_hidden_by_the_level() {
        let old = PROCESSOR.replace("psid=", "synchronizerId=");
        let backwards = period(31, 1)
            .replace("fromExclusive", "x")
            .replace("toInclusive", "fromExclusive");
        let message = format!("Commitment correct for sender PAR::a::12205f1149bc... and period {backwards}");
        let codes: Vec<Code> = said(&[Written::new(1, message).by(&old)])
            .into_iter()
            .map(|(code, _)| code)
            .collect();
        assert!(
            codes.contains(&Code::NotUnderstood) && !codes.contains(&Code::LevelHidesAgreement),
            "{codes:?}"
        );
    }

    #[test]
    fn a_processor_that_is_switched_off_is_not_of_a_release_that_has_it() {
        let off = said(&[Written::new(1, "(Old) ACS commitment processor is disabled")]);
        assert!(
            off[0].0 == Code::ProcessorDisabled && !off[0].1.contains("Canton 3.4"),
            "{off:?}"
        );
    }

    #[test]
    fn exports_of_log_servers_and_windows_shells_are_read_and_archives_are_named() {
        let record = Encoder::Json.encode(&super::super::testing::correct(1, "PAR::a::12205f1149bc...", 31));
        let csv = format!(
            "\"_time\",\"_raw\",\"host\"\r\n\"2024\",\"{}\",\"x\"\r\n",
            record.replace('"', "\"\"")
        );
        let utf16: Vec<u8> = format!("\u{feff}{record}\r\n")
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for bytes in [csv.as_bytes(), &utf16] {
            let scanned = found(bytes);
            assert_eq!((scanned.hits, scanned.unattributed), (1, 0));
            assert_eq!(
                scanned
                    .evidence
                    .observations
                    .values()
                    .map(|about| about.compared.len())
                    .sum::<usize>(),
                1
            );
        }
        let findings = found(b"PK\x03\x04 and what else is in a zip").findings.finish();
        assert!(
            findings
                .iter()
                .any(|one| one.code == Code::LogUnreadable && one.message.contains("zip")),
            "{findings:?}"
        );
    }
}
