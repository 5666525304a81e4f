use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::file::{Fault, LARGEST, parse, to_json};
use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_713_740_000 + seconds).unwrap()
}

fn party(number: usize) -> Participant {
    Participant::parse(&format!("PAR::sv-{number}::1220{number:08x}")).unwrap()
}

fn compared(number: usize, from: i64, to: i64, comparison: Comparison) -> (String, Fact) {
    let fact = Fact::Compared {
        counterparty: party(number),
        period: Period {
            from_exclusive: at(from),
            to_inclusive: at(to),
        },
        comparison,
    };
    ("global-domain".to_owned(), fact)
}

fn collect(facts: &[(String, Fact)]) -> Evidence {
    let mut evidence = Evidence::default();
    facts.iter().for_each(|(on, fact)| evidence.take(on, fact.clone()));
    evidence
}

fn fact() -> impl Strategy<Value = (String, Fact)> {
    let comparison = prop_oneof![
        Just(Comparison::Correct),
        Just(Comparison::Weak),
        Just(Comparison::Mismatch)
    ];
    let fact = prop_oneof![
        6 => (0usize..4, -3i64..20, -2i64..4, comparison).prop_map(|(who, from, ticks, comparison)| {
            compared(who, from * 60, (from + ticks) * 60, comparison).1
        }),
        1 => (0usize..5, 0i64..900).prop_map(|(who, to)| Fact::Sent { counterparty: party(who), to_inclusive: at(to) }),
        1 => (0i64..900).prop_map(|to| Fact::Reached(at(to))),
        1 => (0i64..900).prop_map(|to| Fact::Pruned(at(to))),
        1 => Just(Fact::CatchingUp),
    ];
    (prop_oneof![Just(String::new()), Just("global-domain".to_owned())], fact)
}

proptest! {
    #[test]
    fn evidence_is_the_same_after_a_file_and_its_bytes_and_digest_depend_on_the_set_alone(
        facts in prop::collection::vec(fact(), 0..60), order in any::<prop::sample::Index>(),
    ) {
        let evidence = collect(&facts);
        let json = to_json("sv-1", &evidence).unwrap();
        prop_assert_eq!(parse(&json).unwrap(), ("sv-1".to_owned(), evidence.clone()));
        let mut other = facts.clone();
        if !other.is_empty() {
            other.rotate_left(order.index(facts.len()));
            other.extend(facts.iter().rev().take(7).cloned());
        }
        let other = collect(&other);
        prop_assert_eq!(digest(&other), digest(&evidence));
        prop_assert_eq!(to_json("sv-1", &other).unwrap(), json);
    }

    #[test]
    fn runs_hold_the_same_set_as_a_list_of_facts(facts in prop::collection::vec(fact(), 0..90)) {
        let (evidence, mut set) = (collect(&facts), BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new());
        for (on, fact) in &facts {
            let all = set.entry(on.clone()).or_default();
            if let Fact::Compared { counterparty, period, comparison } = fact {
                all.entry((counterparty.clone(), *period)).or_default().insert(*comparison);
            }
        }
        prop_assert!(evidence.observations.keys().eq(set.keys()));
        for (on, all) in &set {
            let compared = &evidence.observations[on].compared;
            let listed = compared.iter().map(|((whom, period), how)| ((whom.clone(), period), how.iter().collect()));
            prop_assert_eq!(&listed.collect::<BTreeMap<_, BTreeSet<_>>>(), all);
            prop_assert!(compared.iter().map(|(key, _)| key).is_sorted_by(|one, next| one < next));
            prop_assert_eq!(compared.len(), all.values().map(BTreeSet::len).sum::<usize>());
            for ((whom, period), how) in all {
                for comparison in Comparison::ALL {
                    prop_assert_eq!(compared.has(whom, period, comparison), how.contains(&comparison));
                }
            }
        }
        // However the facts were put into runs.
        let mut joined = Evidence::default();
        let (one, other) = facts.split_at(facts.len() / 3);
        prop_assert!(joined.join(collect(other)).is_ok() && joined.join(collect(one)).is_ok());
        prop_assert_eq!(joined.kept, evidence.kept);
        prop_assert_eq!(joined, evidence);
    }

    #[test]
    fn one_fact_more_is_another_digest(facts in prop::collection::vec(fact(), 1..30), more in fact()) {
        let (before, after) = (collect(&facts), collect(&[facts, vec![more]].concat()));
        prop_assert_eq!(before == after, digest(&before) == digest(&after));
    }

    #[test]
    fn no_bytes_make_it_panic(mut at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut json = to_json("sv-1", &collect(&[compared(2, 0, 60, Comparison::Correct)])).unwrap();
        let length = json.len();
        for (index, byte) in at.drain(..) {
            json[index.index(length)] = byte;
        }
        let _ = parse(&json);
    }
}

#[test]
fn a_month_of_agreement_is_a_few_kilobytes() {
    let mut evidence = Evidence::default();
    for who in 1..14 {
        for tick in 0..48 * 30 {
            let (on, fact) = compared(who, tick * 1800, (tick + 1) * 1800, Comparison::Correct);
            evidence.take(&on, fact);
        }
    }
    let json = to_json("sv-1", &evidence).unwrap();
    assert!(json.len() < 4096, "{} bytes", json.len());
    assert_eq!(parse(&json).unwrap().1, evidence);
}

#[test]
fn a_year_of_every_sv_takes_a_run_each_and_no_room_beyond_its_facts() {
    let mut evidence = Evidence::default();
    let minute = |tick: i64| Period {
        from_exclusive: at(tick * 60),
        to_inclusive: at((tick + 1) * 60),
    };
    let most = Run {
        first: minute(5000),
        count: MOST_FACTS as u32 - 1000,
    };
    evidence.take_run("global-domain", &party(2), most, Comparison::Correct);
    // The others come newest first, as exports are, and some of them again.
    for tick in (3991..6000).rev() {
        let (on, fact) = compared(2, tick * 60, (tick + 1) * 60, Comparison::Correct);
        evidence.take(&on, fact);
    }
    assert_eq!(evidence.left_out, 10, "the synchronizer is a fact, too");
    let runs: Vec<_> = evidence.observations["global-domain"].compared.runs().collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].2.count as usize, MOST_FACTS - 1);
    // What is there already is not left out once more.
    let (on, known) = compared(2, 5000 * 60, 5001 * 60, Comparison::Correct);
    evidence.take(&on, known);
    assert_eq!(evidence.left_out, 10);
}

/// The file of two comparisons, with one text of it replaced.
fn altered(find: &str, put: &str) -> Result<(String, Evidence), Fault> {
    let facts = [
        compared(2, 0, 60, Comparison::Correct),
        compared(2, 60, 120, Comparison::Correct),
    ];
    let json = String::from_utf8(to_json("sv-1", &collect(&facts)).unwrap()).unwrap();
    assert!(json.contains(find), "{json}");
    parse(json.replace(find, put).as_bytes())
}

#[test]
fn what_was_changed_after_it_was_written_is_refused() {
    let run = format!("[\"{}\",60000000,2]", at(0));
    assert!(altered("sv-1", "another-name").is_ok(), "names are the operators' own");
    let changed = altered(&run, &run.replace(",2]", ",3]"));
    assert!(matches!(changed, Err(Fault::Digest { .. })), "{changed:?}");
    let moved = altered("PAR::sv-2::122000000002...", "PAR::sv-3::122000000003...");
    assert!(matches!(moved, Err(Fault::Digest { .. })), "{moved:?}");
    let owner = altered("\"participant\":null", "\"participant\":\"PAR::sv-1::122000000001...\"");
    assert!(matches!(owner, Err(Fault::Digest { .. })), "{owner:?}");
}

#[test]
fn hostile_files_are_refused_in_words_and_at_once() {
    let run = format!("[\"{}\",60000000,2]", at(0));
    let with = |put: &str| altered(&run, put).map(|_| ()).unwrap_err().to_string();
    let first = at(0).to_string();
    for (put, says) in [
        (
            run.replace(",2]", ",9000000000000000000]"),
            "promises 9000000000000000000 periods",
        ),
        (format!("{run},{run}"), "stands in it twice"),
        (run.replace(",2]", ",0]"), "has no periods"),
        (run.replace(",60000000,2]", ",0,2]"), "has no periods"),
        (run.replace("60000000", "9000000000000000000"), "goes beyond"),
        (run.replace(&first, "2024-04-21T25:00:00Z"), "expected a time in UTC"),
        (run.replace(",2]", ",2.5]"), "invalid type"),
        ("{}".to_owned(), "invalid type"),
    ] {
        let text = with(&put);
        assert!(text.contains(says), "{put}: {text}");
    }
    let twice = altered("\"left_out\":0", "\"left_out\":0,\"left_out\":1");
    assert!(matches!(twice, Err(Fault::Another | Fault::Shape(_))), "{twice:?}");
    let added = altered("\"left_out\":0", "\"left_out\":0,\"extra\":1");
    assert!(matches!(added, Err(Fault::Shape(_))), "{added:?}");
    let newer = altered("\"version\":1", "\"version\":2");
    assert!(matches!(newer, Err(Fault::Version(2))), "{newer:?}");
    assert!(matches!(parse(b"{\"error\":\"not found\"}"), Err(Fault::Another)));
    assert!(matches!(parse(b"<html>"), Err(Fault::Another)));
    assert!(matches!(parse(b""), Err(Fault::Another)));
    assert!(matches!(parse(&b"[".repeat(1 << 20)), Err(Fault::Another)));
    assert!(matches!(parse(&vec![b' '; LARGEST + 1]), Err(Fault::TooLarge)));
    let cut = to_json("sv-1", &collect(&[compared(2, 0, 60, Comparison::Correct)])).unwrap();
    let cut = parse(&cut[..cut.len() - 9]);
    assert!(matches!(cut, Err(Fault::Shape(_))), "{cut:?}");
}

#[test]
fn the_digest_of_all_forgets_order_names_and_who_says_nothing() {
    let one = collect(&[compared(2, 0, 60, Comparison::Correct)]);
    let two = collect(&[compared(1, 0, 60, Comparison::Mismatch)]);
    let (one, two) = (&one.observations["global-domain"], &two.observations["global-domain"]);
    let (first, second, third) = (party(1), party(2), party(3));
    let whole = Participant::parse(&format!("PAR::sv-1::122000000001{}", "0".repeat(56))).unwrap();
    let silent = Observations::default();
    let all = digest_of_all([(Some(&first), one), (Some(&second), two)]);
    assert_eq!(
        all,
        digest_of_all([(Some(&second), two), (Some(&third), &silent), (Some(&whole), one)])
    );
    assert_ne!(all, digest_of_all([(Some(&first), two), (Some(&second), one)]));
    assert_ne!(all, digest_of_all([(Some(&first), one)]));
    assert_eq!(all.len(), 16);
}
