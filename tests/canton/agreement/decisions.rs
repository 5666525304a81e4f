//! The decision is what the definition gives, whatever the order, repetition and names of the facts.

use rekindle::canton::Code;
use rekindle::canton::agreement::{Decision, Settings, Standing, Sv, Verdict, decide};
use rekindle::canton::evidence::{Evidence, Fact, Facts as _, file};

use super::disaster::truth::truth;
use super::disaster::{Dice, Disaster, Log};

pub fn svs(disaster: &Disaster) -> Vec<Sv> {
    let each = disaster.svs.iter().enumerate();
    each.map(|(at, sv)| Sv {
        name: sv.name.clone(),
        participant: Some(disaster.participant(at)),
        evidence: disaster.evidence(at),
    })
    .collect()
}

pub fn settings(disaster: &Disaster) -> Settings {
    Settings {
        margin_s: disaster.margin_s as u32,
        ..Settings::default()
    }
}

/// Holds a decision to the truth; the SVs of both are in the same order.
fn hold(disaster: &Disaster, decision: &Decision) {
    let truth = truth(disaster);
    let at = |tick: Option<usize>| tick.map(|tick| disaster.at(tick));
    assert_eq!(decision.agreed, at(truth.agreed));
    assert_eq!(decision.timestamp.map(|at| at.seconds()), truth.timestamp_s);
    assert_eq!(decision.support.len(), truth.support);
    assert_eq!(decision.verdict == Verdict::Agreed, truth.agreed.is_some());
    let rows: Vec<_> = decision
        .table
        .iter()
        .map(|row| (row.support, row.to_inclusive))
        .collect();
    for (size, tick) in &truth.last_with {
        let row = rows.iter().find(|(support, _)| support >= size);
        assert_eq!(row.map(|(_, at)| *at), Some(disaster.at(*tick)), "support of {size}");
    }
    assert!(
        rows.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 > two[1].1),
        "{rows:?}"
    );
    let best = decision.table.iter().rfind(|row| row.support == truth.support);
    let timestamp = best.map(|row| row.to_inclusive.plus_seconds(-disaster.margin_s));
    for (sv, made_up) in disaster.svs.iter().enumerate() {
        let outcome = decision
            .svs
            .iter()
            .find(|outcome| outcome.name == made_up.name)
            .unwrap();
        assert_eq!(outcome.reached, at(truth.reached[sv]), "{made_up:?}");
        let is_supporter = decision.support.contains(&made_up.name);
        let is_silent = disaster
            .evidence(sv)
            .is_none_or(|evidence| evidence.observations.is_empty());
        let in_support = |other: &usize| decision.support.contains(&disaster.svs[*other].name);
        let expected = match (truth.reached[sv], timestamp) {
            (None, _) => Standing::NoEvidence,
            // Whoever of the support it is at odds with is right.
            _ if !is_supporter && truth.at_odds[sv].iter().any(in_support) => Standing::Forked,
            _ if !truth.at_odds[sv].is_empty() && !is_supporter => continue,
            (_, None) => Standing::Undecided,
            (Some(reached), Some(timestamp)) if disaster.at(reached) < timestamp => Standing::Behind,
            _ if is_silent => Standing::OkByOthers,
            _ => Standing::Ok,
        };
        assert_eq!(outcome.verdict, expected, "{made_up:?} in {decision:#?}");
    }
}

#[test]
fn a_hundred_and_twenty_disasters_are_decided_as_they_are() {
    let (mut agreed, mut others) = (0, 0);
    for seed in 0..120 {
        let disaster = Disaster::new(seed);
        let decision = decide(&svs(&disaster), &settings(&disaster)).unwrap();
        hold(&disaster, &decision);
        match decision.verdict {
            Verdict::Agreed => agreed += 1,
            Verdict::NoAgreement => others += 1,
        }
    }
    assert!(
        agreed > 50 && others > 10,
        "{agreed} with and {others} without agreement"
    );
}

#[test]
fn order_repetition_and_splitting_change_nothing() {
    for seed in 0..40 {
        let disaster = Disaster::new(seed);
        let mut dice = Dice::new(seed);
        let first = decide(&svs(&disaster), &settings(&disaster)).unwrap();
        let mut others = svs(&disaster);
        for sv in &mut others {
            let Some(evidence) = sv.evidence.take() else { continue };
            let (_, read) = file::parse(&file::to_json(&sv.name, &evidence).unwrap()).unwrap();
            // Two halves that overlap, the later one first.
            let mut halves = [Evidence::default(), Evidence::default()];
            for (synchronizer, observations) in &read.observations {
                for (nth, ((counterparty, period), comparisons)) in observations.compared.iter().enumerate() {
                    for (half, evidence) in halves.iter_mut().enumerate() {
                        if nth % 3 == half || nth % 3 == 2 {
                            for comparison in comparisons.iter() {
                                let counterparty = counterparty.clone();
                                let fact = Fact::Compared {
                                    counterparty,
                                    period,
                                    comparison,
                                };
                                evidence.take(synchronizer, fact);
                            }
                        }
                    }
                }
            }
            let [mut one, other] = halves;
            one.join(other).unwrap();
            sv.evidence = Some(one);
        }
        dice.shuffle(&mut others);
        let second = decide(&others, &settings(&disaster)).unwrap();
        assert_eq!(
            serde_json::to_value(&first).unwrap(),
            serde_json::to_value(&second).unwrap()
        );
    }
}

#[test]
fn owners_that_nobody_names_are_found_and_the_answer_is_the_same() {
    let mut found = 0;
    for seed in 0..60 {
        let mut disaster = Disaster::new(seed);
        disaster.svs.iter_mut().for_each(|sv| sv.log = Log::Whole);
        let named = decide(&svs(&disaster), &settings(&disaster)).unwrap();
        let mut nameless = svs(&disaster);
        for sv in &mut nameless {
            sv.participant = None;
            sv.evidence.as_mut().unwrap().participant = None;
        }
        // Who came nowhere is nobody's sender, and can't be told.
        if disaster.svs.iter().any(|sv| sv.reached < super::disaster::SKIP) {
            continue;
        }
        let nameless = decide(&nameless, &settings(&disaster)).unwrap();
        assert_eq!(
            serde_json::to_value(&nameless).unwrap(),
            serde_json::to_value(&named).unwrap()
        );
        found += 1;
    }
    assert!(found > 20);
}

/// Five SVs that all came to tick 40, one minute each.
pub fn calm() -> Disaster {
    let mut disaster = Disaster::new(1);
    disaster.svs.truncate(5);
    for sv in &mut disaster.svs {
        (sv.reached, sv.forked, sv.lags, sv.log) = (40, None, None, Log::Whole);
    }
    (disaster.interval_s, disaster.ticks, disaster.margin_s) = (60, 40, 900);
    disaster
}

fn standings(disaster: &Disaster) -> (Option<i64>, Vec<Standing>, Decision) {
    let decision = decide(&svs(disaster), &settings(disaster)).unwrap();
    hold(disaster, &decision);
    let after = decision.timestamp.map(|at| at.since(disaster.at(0)) / 60_000_000);
    (after, decision.svs.iter().map(|sv| sv.verdict).collect(), decision)
}

#[test]
fn each_kind_of_disaster_has_its_own_answer() {
    use Standing::{Behind, Forked, NoEvidence, Ok, OkByOthers};
    let mut disaster = calm();
    assert_eq!(standings(&disaster).0, Some(25));
    assert_eq!(standings(&disaster).1, [Ok; 5]);

    disaster.svs[4].reached = 20;
    let (after, each, decision) = standings(&disaster);
    assert_eq!((after, each), (Some(25), vec![Ok, Ok, Ok, Ok, Behind]));
    assert_eq!(decision.svs[4].donors, ["sv-1", "sv-2", "sv-3", "sv-4"]);
    assert_eq!(decision.table[1].to_inclusive, disaster.at(20));
    assert_eq!(decision.table[1].lost_s, (40 - 5) * 60);
    assert!(decision.findings.iter().any(|finding| finding.code == Code::Behind));

    // The margin rescues one that stopped shortly before the others.
    disaster.svs[4].reached = 30;
    assert_eq!(standings(&disaster).1, [Ok; 5]);

    disaster = calm();
    (disaster.svs[2].lags, disaster.svs[2].reached) = (Some(10), 30);
    assert_eq!(standings(&disaster).1, [Ok; 5]);

    disaster = calm();
    disaster.svs[1].forked = Some(30);
    let (after, each, decision) = standings(&disaster);
    assert_eq!((after, each), (Some(25), vec![Ok, Forked, Ok, Ok, Ok]));
    let forks: Vec<_> = decision
        .findings
        .iter()
        .filter(|finding| finding.code == Code::Forked)
        .collect();
    let says = format!("it differs from sv-1, sv-3, sv-4, sv-5 since {}", disaster.at(30));
    assert!(forks.len() == 1 && forks[0].message.starts_with(&says), "{forks:?}");

    disaster = calm();
    disaster.svs[0].log = Log::Missing;
    disaster.svs[3].log = Log::WrongLevel;
    let (after, each, _) = standings(&disaster);
    // Two that are silent are never seen to agree with each other: one of them is not in the support, and both are ok.
    assert_eq!((after, each), (Some(25), vec![OkByOthers, Ok, Ok, OkByOthers, Ok]));

    disaster.svs[0].reached = 0;
    assert_eq!(standings(&disaster).1, [NoEvidence, Ok, Ok, OkByOthers, Ok]);

    disaster = calm();
    disaster.svs.iter_mut().take(3).for_each(|sv| sv.log = Log::WrongLevel);
    let (after, _, decision) = standings(&disaster);
    assert_eq!((after, decision.support.len()), (None, 3));
    let finding = decision
        .findings
        .iter()
        .find(|finding| finding.code == Code::NoAgreement)
        .unwrap();
    assert!(
        finding.message.contains("4 of 5 had to agree; the best is"),
        "{}",
        finding.message
    );
    assert!(finding.message.contains("missing: sv-2, sv-3"), "{}", finding.message);
}
