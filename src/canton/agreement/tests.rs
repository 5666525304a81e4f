use super::*;
use crate::canton::Code;
use crate::canton::evidence::{Comparison, Fact, Facts, Period};

use Comparison::{Correct, Mismatch, Weak};

const ON: &str = "global-domain::1220aaaaaaaa";

/// A minute.
fn at(tick: i64) -> Timestamp {
    Timestamp::from_seconds(1_713_740_400 + 60 * tick).unwrap()
}

fn party(number: usize) -> Participant {
    Participant::parse(&format!("PAR::p{number}::1220{number:08x}")).unwrap()
}

fn sv(number: usize) -> Sv {
    Sv {
        name: format!("sv-{number}"),
        participant: Some(party(number)),
        evidence: None,
    }
}

/// So many SVs without sources.
fn silent(count: usize) -> Vec<Sv> {
    (1..=count).map(sv).collect()
}

fn say(svs: &mut [Sv], owner: usize, on: &str, fact: Fact) {
    let evidence = &mut svs[owner - 1].evidence;
    evidence.get_or_insert_default().take(on, fact);
}

fn compare(svs: &mut [Sv], (owner, sender): (usize, usize), (from, to): (i64, i64), comparison: Comparison) {
    let fact = Fact::Compared {
        counterparty: party(sender),
        period: Period {
            from_exclusive: at(from),
            to_inclusive: at(to),
        },
        comparison,
    };
    say(svs, owner, ON, fact);
}

/// The first finds all others correct at every tick from 1 on, and each of these those after it.
fn agreeing(count: usize, until: i64) -> Vec<Sv> {
    let mut svs = silent(count);
    for owner in 1..=count {
        for sender in owner + 1..=count {
            (1..=until).for_each(|to| compare(&mut svs, (owner, sender), (to - 1, to), Correct));
        }
    }
    svs
}

fn margin(margin_s: u32) -> Settings {
    Settings {
        margin_s,
        ..Settings::default()
    }
}

fn standings(decision: &Decision) -> Vec<Standing> {
    decision.svs.iter().map(|sv| sv.verdict).collect()
}

fn has(decision: &Decision, code: Code) -> bool {
    decision.findings.iter().any(|finding| finding.code == code)
}

#[test]
fn a_quorum_is_more_than_two_thirds() {
    for (count, quorum) in [
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 3),
        (5, 4),
        (6, 5),
        (7, 5),
        (10, 7),
        (40, 27),
    ] {
        assert_eq!(two_thirds(count), quorum, "{count}");
        assert!(3 * two_thirds(count) > 2 * count && 3 * (two_thirds(count) - 1) <= 2 * count);
    }
}

#[test]
fn pairwise_agreement_is_needed_and_being_connected_is_enough_only_by_the_other_rule() {
    let mut svs = silent(4);
    for (one, other) in [(1, 2), (2, 3), (3, 4)] {
        compare(&mut svs, (one, other), (0, 1), Correct);
    }
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!((decision.verdict, decision.support.len()), (Verdict::NoAgreement, 2));
    let rule = Settings {
        rule: Rule::Component,
        ..margin(0)
    };
    let decision = decide(&svs, &rule).unwrap();
    assert_eq!((decision.agreed, decision.support.len()), (Some(at(1)), 4));
}

#[test]
fn a_long_period_counts_at_every_tick_inside_but_not_where_it_begins_with_the_participant() {
    for (from, inside) in [(at(0), Some(at(7))), (Timestamp::MIN, None)] {
        let mut svs = silent(3);
        compare(&mut svs, (1, 2), (6, 7), Correct);
        for (owner, sender) in [(1, 3), (2, 3)] {
            let period = Period {
                from_exclusive: from,
                to_inclusive: at(10),
            };
            let counterparty = party(sender);
            let comparison = Correct;
            let fact = Fact::Compared {
                counterparty,
                period,
                comparison,
            };
            say(&mut svs, owner, ON, fact);
        }
        assert_eq!(decide(&svs, &margin(0)).unwrap().agreed, inside);
    }
    // Not where the two were seen to differ at that very tick.
    let mut svs = silent(3);
    compare(&mut svs, (1, 2), (6, 7), Correct);
    compare(&mut svs, (1, 3), (0, 10), Correct);
    compare(&mut svs, (2, 3), (0, 10), Correct);
    compare(&mut svs, (3, 1), (6, 7), Mismatch);
    assert_eq!(decide(&svs, &margin(0)).unwrap().agreed, None);
}

#[test]
fn a_mismatch_cancels_what_was_before_it_unless_they_agree_later() {
    let mut svs = agreeing(3, 5);
    compare(&mut svs, (2, 1), (4, 5), Mismatch);
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!(decision.agreed, None, "whoever says so, and at the same tick too");
    assert!(standings(&decision).contains(&Standing::Forked));
    compare(&mut svs, (1, 2), (5, 6), Correct);
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!((decision.agreed, has(&decision, Code::Forked)), (Some(at(5)), false));
}

#[test]
fn of_two_that_differ_the_one_with_more_agreement_is_right() {
    let mut svs = agreeing(5, 10);
    for other in [1, 2, 4, 5] {
        compare(&mut svs, (3, other), (10, 11), Mismatch);
    }
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!(decision.support, ["sv-1", "sv-2", "sv-4", "sv-5"]);
    assert_eq!(decision.svs[2].verdict, Standing::Forked);
    assert_eq!(decision.svs[2].action, Action::Reonboard);
    // The same where only one of them noticed: of equal supports the one without trouble is chosen.
    let mut svs = agreeing(4, 10);
    compare(&mut svs, (1, 2), (10, 11), Mismatch);
    compare(&mut svs, (1, 3), (10, 11), Mismatch);
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!(decision.support, ["sv-2", "sv-3", "sv-4"]);
    assert_eq!(standings(&decision)[0], Standing::Forked);
}

#[test]
fn of_equal_supports_the_one_without_trouble_is_chosen() {
    let mut svs = silent(4);
    for other in 1..=3 {
        compare(&mut svs, (4, other), (0, 1), Correct);
    }
    compare(&mut svs, (1, 2), (0, 1), Mismatch);
    compare(&mut svs, (3, 1), (0, 1), Mismatch);
    let quorum = Settings {
        quorum: Some(2),
        ..margin(0)
    };
    let decision = decide(&svs, &quorum).unwrap();
    assert_eq!(decision.support, ["sv-2", "sv-4"]);
    assert_eq!(decision.svs[0].verdict, Standing::Forked);
}

#[test]
fn bounds_are_exact() {
    let mut svs = agreeing(4, 20);
    let incident = |at| Settings {
        incident: Some(at),
        ..margin(300)
    };
    let timestamp = |settings: &Settings| decide(&svs, settings).unwrap().timestamp;
    assert_eq!(
        timestamp(&incident(at(15))),
        Some(at(14)),
        "before the incident, not at it"
    );
    assert_eq!(timestamp(&incident(at(15).plus_micros(1))), Some(at(15)));
    // Whoever reached the timestamp itself is not behind, whoever has just pruned up to it has lost nothing.
    svs.push(sv(5));
    for owner in 1..=4 {
        compare(&mut svs, (owner, 5), (4, 5), Correct);
    }
    say(&mut svs, 5, ON, Fact::Pruned(at(5)));
    assert_eq!(decide(&svs, &margin(900)).unwrap().svs[4].verdict, Standing::Ok);
    assert_eq!(decide(&svs, &margin(899)).unwrap().svs[4].verdict, Standing::Behind);
    assert_eq!(decide(&svs, &margin(901)).unwrap().svs[4].verdict, Standing::Pruned);
}

#[test]
fn what_is_pruned_shortens_the_margin_and_beyond_the_tick_costs_the_support() {
    let mut svs = agreeing(4, 20);
    say(&mut svs, 1, ON, Fact::Pruned(at(12)));
    let decision = decide(&svs, &margin(900)).unwrap();
    assert_eq!((decision.agreed, decision.timestamp), (Some(at(20)), Some(at(12))));
    assert!(has(&decision, Code::MarginShortened));
    assert_eq!(standings(&decision)[..3], [Standing::Ok; 3]);
    say(&mut svs, 1, ON, Fact::Pruned(at(21)));
    let decision = decide(&svs, &margin(900)).unwrap();
    assert_eq!(decision.timestamp, Some(at(5)));
    assert_eq!(decision.support, ["sv-2", "sv-3", "sv-4"]);
    assert_eq!(decision.svs[0].verdict, Standing::Pruned);
    assert_eq!(decision.svs[0].donors, ["sv-2", "sv-3", "sv-4"]);
    // The incident wins over what one SV has pruned.
    say(&mut svs, 2, ON, Fact::Pruned(at(19)));
    let settings = Settings {
        incident: Some(at(15)),
        ..margin(900)
    };
    let decision = decide(&svs, &settings).unwrap();
    assert!(decision.timestamp.is_none_or(|timestamp| timestamp < at(15)));
}

#[test]
fn timestamps_are_whole_seconds_not_after_the_tick() {
    let mut svs = silent(3);
    let to_inclusive = at(3).plus_micros(504_068);
    for (owner, sender) in [(1, 2), (1, 3), (2, 3)] {
        let counterparty = party(sender);
        let period = Period {
            from_exclusive: at(0).plus_micros(7),
            to_inclusive,
        };
        let comparison = Weak;
        let fact = Fact::Compared {
            counterparty,
            period,
            comparison,
        };
        say(&mut svs, owner, ON, fact);
    }
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!((decision.agreed, decision.timestamp), (Some(to_inclusive), Some(at(3))));
    assert_eq!(decision.pairs, [0, 0, 3]);
    assert!(
        has(&decision, Code::WeakAgreement),
        "Canton 3.6 speaks before the outcome"
    );
}

#[test]
fn what_an_sv_reached_is_known_from_itself_and_from_others() {
    let mut svs = agreeing(4, 10);
    (1..=10).for_each(|to| compare(&mut svs, (1, 2), (to - 1, to), Correct));
    let reached = |svs: &[Sv], sv: usize| decide(svs, &margin(0)).unwrap().svs[sv - 1].reached;
    let sent = Fact::Sent {
        counterparty: party(4),
        to_inclusive: at(13),
    };
    say(&mut svs, 2, ON, sent);
    assert_eq!((reached(&svs, 4), reached(&svs, 2)), (Some(at(13)), Some(at(10))));
    say(&mut svs, 2, ON, Fact::Reached(at(12)));
    assert_eq!(reached(&svs, 2), Some(at(12)));
    let unproven = silent(3);
    let mut unproven: Vec<Sv> = unproven.into_iter().chain([sv(4)]).collect();
    for (owner, sender) in [(1, 2), (1, 3), (2, 3)] {
        compare(&mut unproven, (owner, sender), (0, 1), Correct);
    }
    say(&mut unproven, 4, ON, Fact::Reached(at(5)));
    let decision = decide(&unproven, &margin(0)).unwrap();
    assert_eq!(decision.svs[3].verdict, Standing::Ok);
    assert!(has(&decision, Code::AgreementUnproven));
}

#[test]
fn the_synchronizer_is_the_one_that_was_asked_for_or_the_global_one() {
    let on = |svs: &mut Vec<Sv>, synchronizer: &str, to: i64| {
        for (owner, sender) in [(1, 2), (1, 3), (2, 3)] {
            let counterparty = party(sender);
            let period = Period {
                from_exclusive: at(to - 1),
                to_inclusive: at(to),
            };
            let comparison = Correct;
            let fact = Fact::Compared {
                counterparty,
                period,
                comparison,
            };
            say(svs, owner, synchronizer, fact);
        }
    };
    let choose = |svs: &[Sv], wanted: Option<&str>| {
        let synchronizer = wanted.map(str::to_owned);
        let settings = Settings {
            synchronizer,
            ..margin(0)
        };
        decide(svs, &settings).map(|decision| decision.agreed)
    };
    let mut svs = silent(3);
    on(&mut svs, "", 3);
    assert_eq!(choose(&svs, None), Ok(Some(at(3))), "not said by anybody");
    on(&mut svs, "global-domain", 4);
    on(&mut svs, "global-domain::1220aaaaaaaa::34-0", 5);
    on(&mut svs, "idx:1", 6);
    assert_eq!(
        choose(&svs, None),
        Ok(Some(at(6))),
        "alias, id and silence are one where there is but one"
    );
    on(&mut svs, "splitwell::1220bbbbbbbb", 7);
    assert_eq!(choose(&svs, None), Ok(Some(at(5))), "silence may now mean another");
    assert_eq!(choose(&svs, Some("splitwell")), Ok(Some(at(7))));
    assert_eq!(choose(&svs, Some("idx:1")), Ok(Some(at(6))));
    assert_eq!(choose(&svs, Some("global-domain::1220aaaaaaaa")), Ok(Some(at(5))));
    assert!(matches!(
        choose(&svs, Some("other")),
        Err(Undecided::UnknownSynchronizer { .. })
    ));
    on(&mut svs, "global-domain::1220cccccccc", 8);
    assert!(matches!(choose(&svs, None), Err(Undecided::SeveralSynchronizers(_))));
    assert_eq!(choose(&svs, Some("global-domain::1220cccccccc::35-0")), Ok(Some(at(8))));
    let mut svs = silent(3);
    on(&mut svs, "one", 1);
    on(&mut svs, "two", 2);
    assert!(matches!(choose(&svs, None), Err(Undecided::SeveralSynchronizers(_))));
}

#[test]
fn owners_are_told_by_who_never_sends_or_the_operator_is_asked() {
    let mut svs = agreeing(4, 3);
    for (owner, sender) in [(2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (4, 3)] {
        compare(&mut svs, (owner, sender), (0, 1), Correct);
    }
    svs.iter_mut().for_each(|sv| sv.participant = None);
    let decision = decide(&svs, &margin(0)).unwrap();
    let owners: Vec<Option<Participant>> = decision.svs.iter().map(|sv| sv.participant.clone()).collect();
    assert_eq!(owners, (1..=4).map(|number| Some(party(number))).collect::<Vec<_>>());
    // A validator that only one of them saw could be any of the others.
    compare(&mut svs, (1, 9), (0, 1), Correct);
    let Err(Undecided::UnknownOwner { candidates, .. }) = decide(&svs, &margin(0)) else {
        panic!("it was decided")
    };
    assert!(
        candidates.contains(&party(9)) && candidates.len() == 2,
        "{candidates:?}"
    );
    svs[0].participant = Some(party(1));
    svs[1].participant = Some(party(1));
    assert!(matches!(decide(&svs, &margin(0)), Err(Undecided::SameOwner(..))));
    // On Canton 3.6 everybody hears itself, so that only a name tells.
    let mut svs = silent(3);
    for owner in 1..=3 {
        (1..=3).for_each(|sender| compare(&mut svs, (owner, sender), (0, 1), Weak));
    }
    svs.iter_mut().for_each(|sv| sv.participant = None);
    assert!(matches!(decide(&svs, &margin(0)), Err(Undecided::UnknownOwner { .. })));
    for (number, sv) in svs.iter_mut().enumerate() {
        sv.name = format!("P{}", number + 1);
    }
    assert_eq!(decide(&svs, &margin(0)).unwrap().support.len(), 3);
}

#[test]
fn adversarial_evidence_ends_in_time_and_with_a_sound_answer() {
    // 64 SVs whose agreement looks random at each of many ticks.
    let mut svs = silent(64);
    let mut state = 7u64;
    for tick in 1..=12 {
        for owner in 1..=64 {
            for sender in owner + 1..=64 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                if state >> 60 > 5 {
                    compare(&mut svs, (owner, sender), (tick - 1, tick), Correct);
                }
            }
        }
    }
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!(decision.verdict, Verdict::NoAgreement);
    assert!(decision.support.len() > 5);
    assert!(matches!(decide(&silent(65), &margin(0)), Err(Undecided::Count(65))));
    assert!(matches!(decide(&[], &margin(0)), Err(Undecided::Count(0))));
}

#[test]
fn pictures_are_bounded_however_long_the_history_and_whatever_is_in_it() {
    let mut svs = agreeing(3, 400);
    for (nth, far) in [(1, Timestamp::MIN), (2, Timestamp::MAX)] {
        say(&mut svs, nth, ON, Fact::Reached(far));
        compare(&mut svs, (nth, 3), (-2_000_000, -1_999_000), Correct);
    }
    let decision = decide(&svs, &margin(900)).unwrap();
    assert_eq!(decision.agreed, Some(at(400)));
    let chart = chart::chart(&decision).unwrap();
    assert!(chart.lines().all(|line| line.chars().count() <= 80), "{chart}");
    assert!(
        chart.contains('R') && chart.contains('T') && chart.contains("####"),
        "{chart}"
    );
    assert!(picture::svg(&decision).len() < 20_000);
    let nothing = decide(&silent(3), &margin(900)).unwrap();
    assert!(chart::chart(&nothing).is_none() && picture::svg(&nothing).ends_with("</svg>\n"));
    assert_eq!(standings(&nothing), [Standing::NoEvidence; 3]);
}

#[test]
fn names_are_listed_as_people_list_them() {
    let mut names = [
        "sv-10",
        "sv-2",
        "sv-1",
        "b",
        "a10b2",
        "a2",
        "99999999999999999999999",
        "",
    ];
    names.sort_by_cached_key(|name| natural(name));
    assert_eq!(names.first(), Some(&""));
    assert_eq!(&names[names.len() - 3..], ["sv-1", "sv-2", "sv-10"]);
}

#[test]
fn without_a_quorum_nobody_is_told_to_fetch_or_to_re_onboard_and_no_side_of_a_split_is_the_wrong_one() {
    // Two and two that differ: neither side is the majority.
    let mut svs = agreeing(4, 3);
    for (owner, sender) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        compare(&mut svs, (owner, sender), (3, 4), Mismatch);
    }
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!((decision.verdict, decision.timestamp), (Verdict::NoAgreement, None));
    assert_eq!(standings(&decision), [Standing::Forked; 4]);
    // Two agree, and of the others nothing is known.
    let mut svs = agreeing(2, 3);
    svs.extend([sv(3), sv(4)]);
    let silent = decide(&svs, &margin(0)).unwrap();
    assert_eq!(silent.verdict, Verdict::NoAgreement);
    for outcome in decision.svs.iter().chain(&silent.svs) {
        let expected = match outcome.verdict {
            Standing::NoEvidence => Action::ProvideEvidence,
            _ => Action::Wait,
        };
        assert_eq!(outcome.action, expected, "{outcome:?}");
    }
    // One and one that differ, and all others agree with both: one of them is left out, and it is said that it may be the other.
    let mut svs = agreeing(4, 3);
    compare(&mut svs, (1, 4), (3, 4), Mismatch);
    let decision = decide(&svs, &margin(0)).unwrap();
    assert_eq!(decision.verdict, Verdict::Agreed);
    let forked = decision.findings.iter().find(|finding| finding.code == Code::Forked);
    assert!(forked.unwrap().message.contains("may as well be the other"));
}
