//! Scans of logs of every make.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::testing::*;
use super::*;
use crate::canton::Code;
use crate::canton::evidence::Comparison;

const SYNCHRONIZER: &str = "global-domain::1220e959c972";
const TERM: &str = "AcsCommitment(\n  synchronizerId = global-domain::1220e959c972...,\n  sender = PAR::sv 3:x::122048d430a7...,\n  \
     counterParticipant = PAR::sv1::1220aaaaaaaa...,\n  period = PERIOD,\n  commitment = 1234\n)";

fn term(minute: u32) -> String {
    TERM.replace("PERIOD", &period(minute, 1))
}

fn story() -> Vec<Written> {
    let sv2 = "PAR::Digital-Asset-Eng-4::12205f1149bc...";
    vec![
        Written::new(0, "Commitments are none of this logger's business").by(OTHER),
        correct(1, sv2, 61),
        correct(2, sv2, 62),
        correct(2, "PAR::sv 3:x::122048d430a7...", 62),
        Written::new(
            3,
            format!(
                "Checking commitment (purportedly by) {sv2} for period {}",
                period(63, 1)
            ),
        ),
        Written::new(
            4,
            format!("Processing completed period {} with reconciliation", period(63, 1)),
        ),
        Written::new(5, "Persisted ACS commitments at 2024-04-21T01:04:00.5Z").level("DEBUG"),
        Written::new(6, format!("Buffering {}\nuntil it is computed", term(65))),
        Written::new(
            7,
            "ACS_COMMITMENT_MISMATCH(5,e37a6a5b): The local commitment does not match the remote commitment",
        )
        .level("WARN")
        .with("error-code", "ACS_COMMITMENT_MISMATCH(5,e37a6a5b)")
        .with("remote", term(64))
        .with(
            "local",
            "List((CommitmentPeriod(fromExclusive = 2024-01-01T00:00:00Z, toInclusive = 2024-01-02T00:00:00Z), 12))",
        ),
        Written::new(
            8,
            format!("Ignoring incoming commitment for a pruned period: {}", term(30)),
        ),
        Written::new(
            8,
            format!("Ignoring incoming commitment for a pruned period: {}", term(31)),
        ),
        Written::new(
            8,
            format!(
                "Ignoring incoming commitment for a skipped period due to catch-up: {}",
                term(31)
            ),
        ),
        Written::new(
            9,
            format!(
                "a tool printed: Commitment correct for sender {sv2} and period {}",
                period(70, 1)
            ),
        )
        .by(OTHER),
        Written::new(10, "x".repeat(300)).by(OTHER),
    ]
}

fn check(scanned: &Scanned, what: &str) {
    let evidence = &scanned.evidence;
    let names: Vec<&String> = evidence.observations.keys().collect();
    assert_eq!(names, [SYNCHRONIZER], "{what}");
    let about = &evidence.observations[SYNCHRONIZER];
    let compared: Vec<String> = about
        .compared
        .iter()
        .map(|((whom, period), how)| format!("{whom} {} {how:?}", period.to_inclusive))
        .collect();
    assert_eq!(
        compared,
        [
            "PAR::Digital-Asset-Eng-4::12205f1149bc... 2024-04-21T01:01:00Z {Correct}",
            "PAR::Digital-Asset-Eng-4::12205f1149bc... 2024-04-21T01:02:00Z {Correct}",
            "PAR::sv 3:x::122048d430a7... 2024-04-21T01:02:00Z {Correct}",
            "PAR::sv 3:x::122048d430a7... 2024-04-21T01:04:00Z {Mismatch}",
        ],
        "{what}"
    );
    let sent: Vec<String> = about.sent.iter().map(|(whom, at)| format!("{whom} {at}")).collect();
    assert_eq!(
        sent,
        [
            "PAR::Digital-Asset-Eng-4::12205f1149bc... 2024-04-21T01:03:00Z",
            "PAR::sv 3:x::122048d430a7... 2024-04-21T01:05:00Z"
        ],
        "{what}"
    );
    assert_eq!(about.reached.unwrap().to_string(), "2024-04-21T01:04:00.500Z", "{what}");
    assert_eq!(
        about.pruned.unwrap().to_string(),
        "2024-04-21T00:30:00Z",
        "{what}: both sentences are no pruning"
    );
    assert!(about.was_catching_up, "{what}");
    assert_eq!(
        evidence.participant.as_ref().unwrap().to_string(),
        "PAR::sv1::1220aaaaaaaa...",
        "{what}"
    );
    assert_eq!((scanned.hits, scanned.unattributed), (4, 1), "{what}");
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn scan_all(paths: &[PathBuf]) -> Scanned {
    scan(paths, &Settings::default(), &|_| ()).unwrap()
}

fn scan_bytes(bytes: &[u8]) -> Scanned {
    let directory = tempfile::tempdir().unwrap();
    scan_all(&[write(directory.path(), "app.log", bytes)])
}

fn codes(scanned: Scanned) -> Vec<Code> {
    scanned.findings.finish().iter().map(|finding| finding.code).collect()
}

#[test]
fn every_encoder_in_every_wrapper_and_packing_says_the_same() {
    for encoder in Encoder::ALL {
        let encoded: Vec<String> = story().iter().map(|record| encoder.encode(record)).collect();
        for wrapper in Wrapper::ALL {
            let wrapped = wrapper.wrap(&encoded);
            for packer in Packer::ALL {
                let what = format!("{encoder:?} {wrapper:?} {packer:?}");
                let scanned = scan_bytes(&packer.pack(&wrapped));
                assert_eq!(scanned.bytes, wrapped.len() as u64, "{what}");
                check(&scanned, &what);
            }
        }
    }
}

#[test]
fn what_is_far_inside_of_a_long_line_or_array_is_found_as_well() {
    let filler = Written::new(0, "Commitment ".repeat(100)).by(OTHER);
    for encoder in Encoder::ALL {
        let mut records = vec![filler.clone(); 300];
        records.extend(story());
        records.extend(vec![filler.clone(); 300]);
        let encoded: Vec<String> = records.iter().map(|record| encoder.encode(record)).collect();
        for wrapper in Wrapper::ALL {
            check(
                &scan_bytes(&wrapper.wrap(&encoded)),
                &format!("{encoder:?} {wrapper:?}"),
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_repetition_and_splitting_change_nothing(
        encoder in prop::sample::select(Encoder::ALL.to_vec()),
        wrapper in prop::sample::select(vec![Wrapper::None, Wrapper::Docker(PIECE), Wrapper::Cri(PIECE), Wrapper::CloudText]),
        order in Just((0..story().len()).collect::<Vec<_>>()).prop_shuffle(),
        again in prop::collection::vec(0..story().len(), 0..8),
        cuts in prop::collection::vec(0..12_000_usize, 0..5),
        packed in any::<bool>(),
    ) {
        let all = story();
        let written: Vec<Written> = order.iter().chain(&again).map(|at| all[*at].clone()).collect();
        let encoded: Vec<String> = written.iter().map(|record| encoder.encode(record)).collect();
        let bytes = wrapper.wrap(&encoded);
        let whole = scan_bytes(&bytes);
        let once = scan_bytes(&wrapper.wrap(&all.iter().map(|record| encoder.encode(record)).collect::<Vec<_>>()));
        prop_assert_eq!(&whole.evidence, &once.evidence);
        // Text of several lines is cut at line breaks too, which no rotation of Canton's or a runtime's does inside a record.
        let multi_line = encoder == Encoder::Text && wrapper != Wrapper::CloudText;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
        if multi_line {
            cuts.retain(|cut| single_line_around(&bytes, *cut));
        }
        cuts.extend([0, bytes.len()]);
        cuts.sort();
        cuts.dedup();
        let directory = tempfile::tempdir().unwrap();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|range| &bytes[range[0]..range[1]]).collect();
        let mut paths = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let number = parts.len() - 1 - at;
            let name = if number == 0 { "app.log".to_owned() } else { format!("app.log.{number}") };
            paths.push(match packed && number > 0 {
                true => write(directory.path(), &format!("{name}.gz"), &Packer::Gzip.pack(part)),
                false => write(directory.path(), &name, part),
            });
        }
        paths.reverse();
        for named in [paths, vec![directory.path().to_owned()], vec![directory.path().join("app*")]] {
            let split = scan_all(&named);
            prop_assert_eq!(&split.evidence, &whole.evidence);
            prop_assert_eq!((split.hits, split.unattributed, split.bytes), (whole.hits, whole.unattributed, whole.bytes));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            prop::sample::select(fragments()).prop_map(|text| text.as_bytes().to_vec()),
        ], 0..60),
    ) {
        scan_bytes(&parts.concat());
    }

    #[test]
    fn damaged_logs_make_it_neither_panic_nor_say_what_nobody_wrote(
        encoder in prop::sample::select(Encoder::ALL.to_vec()),
        wrapper in prop::sample::select(Wrapper::ALL.to_vec()),
        damage in prop::collection::vec((0..100_000_usize, any::<u8>()), 1..40),
    ) {
        let encoded: Vec<String> = story().iter().map(|record| encoder.encode(record)).collect();
        let mut bytes = wrapper.wrap(&encoded);
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let scanned = scan_bytes(&bytes);
        prop_assert!(scanned.hits <= 8);
    }
}

/// Whether a cut falls into a line that is a record of its own, or goes on in none.
fn single_line_around(bytes: &[u8], cut: usize) -> bool {
    let start = bytes[..cut]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let end = cut
        + bytes[cut..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(bytes.len() - cut);
    let line = &bytes[start..end];
    let next = bytes.get(end + 1..).unwrap_or_default();
    let next = &next[..next.iter().position(|byte| *byte == b'\n').unwrap_or(next.len())];
    let begins = |line: &[u8]| line.is_empty() || wrapping::begins_record(&wrapping::unwrap(line));
    cut != start && begins(line) && begins(next)
}

fn fragments() -> Vec<&'static str> {
    vec![
        "Commitment",
        "AcsCommitmentProcessor:participant=p/psid=x::1220",
        "Commitment correct for sender ",
        "\n",
        "\"",
        "\\",
        "{",
        "}",
        "{\"log\":\"",
        "\\n\",\"stream\":\"stdout\"}",
        "2024-04-21T10:00:00Z stdout P ",
        "2024-04-21T10:00:00Z stdout F ",
        "{\"message\":\"",
        "\",\"logger_name\":\"",
        " - ",
        "PAR::a::12205f1149bc...",
        " and period ",
        "CommitmentPeriod(fromExclusive = 2024-04-21T01:00:00Z, toInclusive = 2024-04-21T01:01:00Z)",
        "ACS_COMMITMENT_MISMATCH(",
        "sender = ",
        "2024-04-21 10:00:00,123 [x] INFO ",
        "[",
        "]",
        "é",
        "\\u",
    ]
}

#[test]
fn a_packed_log_that_breaks_off_is_used_as_far_as_it_goes() {
    let encoded: Vec<String> = (0..600)
        .map(|minute| Encoder::Json.encode(&correct(minute, "PAR::sv2::12205f1149bc...", minute + 1)))
        .collect();
    let bytes = Wrapper::None.wrap(&encoded);
    for packer in [Packer::Gzip, Packer::Zstd, Packer::Xz] {
        let packed = packer.pack(&bytes);
        let scanned = scan_bytes(&packed[..packed.len() - 20]);
        assert_eq!(scanned.ending, Ending::Partial, "{packer:?}");
        assert!(scanned.hits <= 600, "{packer:?}");
        assert_eq!(codes(scanned)[0], Code::CutOff, "{packer:?}");
    }
}

fn scan_story(records: &[Written], encoder: Encoder) -> Scanned {
    let encoded: Vec<String> = records.iter().map(|record| encoder.encode(record)).collect();
    scan_bytes(&Wrapper::None.wrap(&encoded))
}

#[test]
fn where_nothing_is_found_the_reason_is_said() {
    let old = PROCESSOR.replace("psid=", "synchronizerId=");
    let ignoring = format!("Ignoring incoming commitment for a pruned period: {}", term(31));
    let matcher = "c.d.c.p.c.ReceivedAcsCommitmentMatcher:participant=p/synchronizer=global-domain::1220e959c972";
    let matching = format!(
        "Matching received ACS commitment from sv2::12205f1149bc... at offset 7 for period {}",
        period(62, 1)
    );
    for (records, expected) in [
        (
            vec![Written::new(1, ignoring.clone()).by(&old)],
            Code::LevelHidesAgreement,
        ),
        (
            vec![Written::new(1, "ACS_COMMITMENT_DEGRADATION(5,e37a6a5b): x").level("WARN")],
            Code::LevelHidesAgreement,
        ),
        (
            vec![
                Written::new(1, ignoring.clone()).by(&old),
                Written::new(2, "x").by(OTHER).level("DEBUG"),
            ],
            Code::NothingCompared,
        ),
        (vec![Written::new(1, ignoring)], Code::NothingCompared),
        (
            vec![Written::new(1, "(Old) ACS commitment processor is disabled")],
            Code::ProcessorDisabled,
        ),
        (
            vec![Written::new(1, matching).by(matcher).level("DEBUG")],
            Code::OnlyWeak,
        ),
        (vec![Written::new(1, "Hello").by(OTHER)], Code::NotAParticipantsLog),
        (vec![], Code::NoBytes),
    ] {
        for encoder in Encoder::ALL {
            let codes = codes(scan_story(&records, encoder));
            assert!(codes.contains(&expected), "{encoder:?} {records:?}: {codes:?}");
            let answers = codes.iter().filter(|code| {
                (Code::LevelHidesAgreement..=Code::NothingInTime).contains(code)
                    || [Code::OnlyWeak, Code::NoBytes].contains(code)
            });
            assert_eq!(answers.count(), 1, "one reason, not several");
        }
    }
}

#[test]
fn only_the_wanted_time_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let sv2 = "PAR::sv2::12205f1149bc...";
    let encoded: Vec<String> = (61..70)
        .map(|minute| Encoder::Json.encode(&correct(minute, sv2, minute)))
        .collect();
    let path = write(directory.path(), "app.log", &Wrapper::None.wrap(&encoded));
    let settings = |after: &str, before: &str| Settings {
        after: Some(after.parse().unwrap()),
        before: Some(before.parse().unwrap()),
        ..Settings::default()
    };
    let some = scan(
        std::slice::from_ref(&path),
        &settings("2024-04-21T01:03:00Z", "2024-04-21T01:05:00Z"),
        &|_| (),
    )
    .unwrap();
    assert_eq!(some.evidence.observations[SYNCHRONIZER].compared.len(), 3);
    assert_eq!(some.hits, 9);
    let none = scan(
        &[path],
        &settings("2025-04-21T01:03:00Z", "2026-04-21T01:05:00Z"),
        &|_| (),
    )
    .unwrap();
    assert!(codes(none).contains(&Code::NothingInTime));
}

#[test]
fn whose_a_log_is_comes_from_the_operator_first_and_contradictions_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let other = term(66).replace("PAR::sv1::1220aaaaaaaa", "PAR::sv9::1220bbbbbbbb");
    let mut records = story();
    records.push(Written::new(20, format!("Buffering {other}")));
    let encoded: Vec<String> = records.iter().map(|record| Encoder::Json.encode(record)).collect();
    let path = write(directory.path(), "app.log", &Wrapper::None.wrap(&encoded));
    let of = |participant: Option<&str>| {
        let settings = Settings {
            participant: participant.map(|text| text.parse().unwrap()),
            ..Settings::default()
        };
        let scanned = scan(std::slice::from_ref(&path), &settings, &|_| ()).unwrap();
        let owner = scanned.evidence.participant.as_ref().map(ToString::to_string);
        (owner, scanned.findings.finish())
    };
    let (owner, findings) = of(None);
    assert_eq!(owner, None);
    assert_eq!(findings[0].code, Code::OwnersConflict);
    assert!(
        findings[0]
            .message
            .contains("PAR::sv1::1220aaaaaaaa... , PAR::sv9".replace(" ,", ",").as_str())
    );
    let (owner, findings) = of(Some("PAR::sv1::1220aaaaaaaa"));
    assert_eq!(owner.as_deref(), Some("PAR::sv1::1220aaaaaaaa..."));
    assert_eq!(findings[0].code, Code::OwnerDiffers);
}

#[test]
fn a_line_of_gigabytes_is_read_in_little_memory_and_its_records_are_found() {
    // A sparse file reads as zeros: a line without end, with one record in its middle.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(300 << 20).unwrap();
    use std::os::unix::fs::FileExt;
    let record = Encoder::Json.encode(&correct(1, "PAR::sv2::12205f1149bc...", 61));
    file.write_all_at(record.as_bytes(), (64 << 20) - 100).unwrap();
    let scanned = scan_all(&[path]);
    assert_eq!((scanned.hits, scanned.unattributed), (1, 0));
    assert_eq!(scanned.evidence.observations[SYNCHRONIZER].compared.len(), 1);
}

#[test]
fn records_across_units_are_read_once() {
    for (encoder, wrapper) in [
        (Encoder::Json, Wrapper::None),
        (Encoder::Text, Wrapper::None),
        (Encoder::Json, Wrapper::Cri(150)),
        (Encoder::Text, Wrapper::Docker(150)),
        (Encoder::Json, Wrapper::CloudPretty),
        (Encoder::Text, Wrapper::Loki),
    ] {
        let encoded: Vec<String> = story().iter().map(|record| encoder.encode(record)).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path(), "app.log", &wrapper.wrap(&encoded));
        let logs = sources::expand(&[path]).unwrap();
        let settings = Settings::default();
        for unit in (150..900).step_by(149) {
            let outcome = scanning::in_units(unit, &logs, &settings, &|_| ());
            let scanned = diagnosis::conclude(outcome, &settings);
            let what = format!("{encoder:?} {wrapper:?} {unit}");
            check(&scanned, &what);
            let kinds = ["completed", "buffering", "mismatch", "checking"].map(|kind| scanned.kinds[kind]);
            assert_eq!(kinds, [2, 1, 1, 1], "{what}");
        }
    }
}

#[test]
fn a_sentence_that_a_runtime_cuts_in_two_is_found_wherever_it_is_cut() {
    for encoder in Encoder::ALL {
        let record = encoder.encode(&correct(1, "PAR::sv 2::12205f1149bc...", 61));
        for cut in (1..record.len()).step_by(3) {
            let time = "2024-04-21T10:00:00.123456789Z";
            let (head, tail) = record.split_at(cut);
            let cri = format!("{time} stdout P {head}\n{time} stderr F Commitment\n{time} stdout F {tail}\n");
            let piece = |text: &str| serde_json::json!({"log": text, "stream": "stdout", "time": time}).to_string();
            let docker = format!("{}\n{}\n", piece(head), piece(&format!("{tail}\n")));
            for wrapped in [cri, docker] {
                let scanned = scan_bytes(wrapped.as_bytes());
                assert_eq!((scanned.hits, scanned.unattributed), (1, 0), "{wrapped}");
                assert_eq!(
                    scanned.evidence.observations[SYNCHRONIZER].compared.len(),
                    1,
                    "{wrapped}"
                );
            }
        }
    }
}

#[test]
fn a_weak_comparison_is_not_taken_for_agreement() {
    let message = format!(
        "Matching received ACS commitment from sv2::12205f1149bc... at offset 7 for period {}",
        period(62, 1)
    );
    let matcher = "c.d.c.p.c.ReceivedAcsCommitmentMatcher:participant=p/synchronizer=global-domain::1220e959c972";
    let scanned = scan_story(&[Written::new(1, message).by(matcher).level("DEBUG")], Encoder::Json);
    let about = &scanned.evidence.observations[SYNCHRONIZER];
    assert!(!about.compared.is_empty());
    assert!(about.compared.runs().all(|(_, how, _)| how == Comparison::Weak));
}
