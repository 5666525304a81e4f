//! A thousand nodes: certificates that repeat are verified once, and what is remembered changes no verdict.

use rayon::prelude::*;

use super::*;

#[test]
fn many_threads_judge_with_one_verifier_and_agree() {
    let (vectors, expected) = vectors!();
    let names = ["milan", "milan-reissued", "genoa", "turin"];
    let of = |name: &str| {
        let vector = &expected["snp"][name];
        vectors.snp(&vector["report"], &vector["endorsements"])
    };
    let mut all: Vec<(Evidence, Option<&str>)> = names.iter().map(|name| (of(name), None)).collect();
    let forged = &expected["made"]["milan"]["forged_ask"];
    all.push((vectors.snp(&forged["report"], &forged["endorsements"]), Some("chain")));
    let verifier = Verifier::new(Anchors::built_in());
    (0..200).into_par_iter().for_each(|number| {
        let (evidence, failing_check) = &all[number % all.len()];
        let judged = verifier.judge(evidence, &Subject::default(), None, Time::None);
        assert_eq!(failing(&judged).0, *failing_check);
    });
}
