//! What can be wrong between a ledger and an earlier report on it, or another copy of it.

use rekindle::journal::SignatureMode;
use rekindle::recovery::compare::{compare, examine};
use rekindle::recovery::verify::{Earlier, Options, VerifyReport};
use rekindle::report::progress::Silent;
use rekindle::report::{Code, Finding};

use crate::ground::{fixture, verify_with};
use crate::story::Story;

fn against(report: &VerifyReport) -> Options {
    let earlier: Earlier = serde_json::from_value(serde_json::to_value(report).unwrap()).unwrap();
    Options {
        against: Some(earlier),
        ..Options::default()
    }
}

/// A service that served so many entries of this kind, signed.
fn story(entries: u64, value: &str) -> Story {
    let mut story = Story::begin(SignatureMode::Dual);
    for number in 0..entries {
        story.write(|writes| writes.put("public:app", number.to_string(), value));
    }
    story.sign();
    story
}

pub fn a_ledger_that_was_cut_since() -> Vec<Finding> {
    let earlier = against(&story(5, "one").verify());
    Story::begin(SignatureMode::Dual).verify_with(&earlier).findings
}

pub fn a_ledger_that_was_rewritten_since() -> Vec<Finding> {
    let earlier = against(&story(5, "one").verify());
    story(5, "two").verify_with(&earlier).findings
}

fn compared(one: &Story, two: &Story) -> Vec<Finding> {
    let ((_one, one), (_two, two)) = (one.store(), two.store());
    let copies = [one, two].map(|ledger| examine(ledger, None, &Silent).unwrap());
    compare(copies.into()).unwrap().findings
}

pub fn two_histories_that_part() -> Vec<Finding> {
    compared(&story(5, "one"), &story(5, "two"))
}

pub fn ledgers_of_two_services() -> Vec<Finding> {
    let earlier = against(&story(1, "one").verify());
    verify_with(&[&fixture("small/ledger")], &earlier).unwrap().findings
}

#[test]
fn a_ledger_that_only_grew_is_the_one_of_the_earlier_report() {
    let mut story = story(5, "one");
    let earlier = against(&story.verify());
    assert!(story.verify_with(&earlier).findings.is_empty());
    story.serve(3);
    story.sign();
    assert!(story.verify_with(&earlier).findings.is_empty());
}

#[test]
fn a_tail_that_a_signature_says_was_committed_is_not_superseded() {
    for (is_committed, code) in [(false, Code::Superseded), (true, Code::Fork)] {
        let (mut killed, mut elected) = (Story::begin(SignatureMode::Dual), Story::begin(SignatureMode::Dual));
        killed.serve(1);
        let tail = killed.sign();
        killed.sign_altered(|signature| signature.commit_seqno = if is_committed { tail.seqno } else { 0 });
        // What the last signature says is covered by nothing.
        killed.sign();
        elected.pen.view += 1;
        elected.sign();
        let findings = compared(&killed, &elected);
        let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&code), "{is_committed}: {codes:?}");
    }
}
