//! What a watch keeps for the next one.

use super::made_up::*;
use crate::crypto::random::system_rng;
use crate::crypto::x509::{Validity, issue_self_signed};
use crate::crypto::{Certificate, Curve, SigningKey, sha256};
use crate::watch::answers::*;
use crate::watch::judgement::State;
use crate::watch::known::Known;
use crate::watch::memory::{self, Memory};

const LOST: State = State::RecoveryNeeded;
/// 2026-11-23T00:00:00Z.
const THEN: u64 = 1_795_392_000_000;

fn service() -> Certificate {
    let mut rng = system_rng().unwrap();
    let key = SigningKey::generate(Curve::P384, &mut rng);
    let validity = Validity::days(THEN / 1000, 1).unwrap();
    issue_self_signed("CN=service", &[], &key, validity, [1; 16]).unwrap()
}

fn kept() -> Memory {
    let mut it = Made::of(3);
    it.healthy();
    Memory::of(&it.known, &service(), THEN).unwrap()
}

/// A watch that begins with what was kept, and knows nobody else.
fn recalled(memory: &Memory) -> Made {
    let mut it = Made::of(3);
    it.known = Known::new(settings(), ["elsewhere:1".to_owned()]);
    it.known.recall(memory);
    it
}

#[test]
fn a_watch_that_begins_in_an_outage_declares_it_with_its_evidence() {
    let memory = Memory::parse(&kept().to_bytes().unwrap()).unwrap();
    assert_eq!(memory, Memory::parse(&memory.to_bytes().unwrap()).unwrap());
    let mut it = recalled(&memory);
    assert_eq!(it.known.places.len(), 4, "where everybody was is asked");
    let states = it.passes(3000, |it| (1..=3).for_each(|number| it.fails(number, Failure::Refused)));
    let (at, state) = *states.last().unwrap();
    assert_eq!(state, LOST, "{states:?}");
    assert!(at > ELECTION && at <= 2 * ELECTION, "{states:?}");
    assert!(states.iter().all(|(_, state)| *state != State::Stable), "{states:?}");
    let evidence = it.judged().evidence.join("\n");
    for words in [
        "an earlier watch kept at 2026-11-23T00:00:00Z",
        "2 of its 3 nodes are needed, 0 are left",
        "heard by an earlier watch",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
}

#[test]
fn what_was_kept_does_not_cry_wolf() {
    // Nothing at all answers: our own network. The service lives, and has other nodes by now: what they say counts.
    let memory = kept();
    let mut it = recalled(&memory);
    let states = it.passes(60_000, |it| {
        (1..=3).for_each(|number| it.fails(number, Failure::Unreachable))
    });
    assert!(
        states
            .iter()
            .all(|(_, state)| *state != LOST && *state != State::Stable),
        "{states:?}"
    );
    let mut it = recalled(&memory);
    let states = it.passes(10_000, |it| {
        (1..=3).for_each(|number| it.fails(number, Failure::Refused));
        let mut now = leads(9, 12, 0, &[]);
        now.configurations = vec![Configuration {
            seqno: 900,
            nodes: [id(9)].into(),
        }];
        it.answers_at("elsewhere:1", 9, now);
    });
    assert_eq!(states, [(100, State::Stable)]);
    // One of them that is back after a while takes it back.
    let mut it = recalled(&memory);
    it.passes(3000, |it| (1..=3).for_each(|number| it.fails(number, Failure::Refused)));
    let states = it.passes(2000, |it| all_well(it, &[]));
    assert_eq!(states.last().unwrap().1, State::Stable);
    assert!(!it.judged().evidence.iter().any(|why| why.contains("earlier watch")));
}

#[test]
fn nothing_is_kept_before_a_node_has_answered() {
    let memory = kept();
    let mut it = recalled(&memory);
    it.passes(5000, |it| (1..=3).for_each(|number| it.fails(number, Failure::Refused)));
    assert_eq!(Memory::of(&it.known, &service(), THEN + 1), None);
    assert_eq!(Memory::of(&Made::of(3).known, &service(), THEN), None);
}

#[test]
fn whatever_is_wrong_in_what_was_kept_is_found() {
    let whole = kept().to_bytes().unwrap();
    Memory::parse(&whole).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(Memory::parse(&changed).is_err(), "byte {at}");
        assert!(Memory::parse(&whole[..at]).is_err(), "cut at {at}");
    }
    // What somebody wrote, digest and all.
    let text = String::from_utf8(whole).unwrap();
    let json = text.lines().next().unwrap();
    let sealed = |json: &str| format!("{json}\nsha256 {}\n", hex::encode(sha256(json.as_bytes()))).into_bytes();
    Memory::parse(&sealed(json)).unwrap();
    for (from, to, why) in [
        ("\"rekindle_watch\":1", "\"rekindle_watch\":2", "version 2"),
        (
            "\"rekindle_watch\":1",
            "\"rekindle_watch\":1,\"more\":1",
            "unknown field",
        ),
        ("10.0.0.1:8000", "10.0.0.1:8000/x", "no address"),
        ("0101", "01zz", "no node's id"),
        ("BEGIN CERTIFICATE", "BEGIN NOTHING", "certificate"),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json, "{from}");
        let found = Memory::parse(&sealed(&changed)).unwrap_err();
        assert!(found.contains(why), "{found}");
    }
    let nodes: Vec<String> = (0..=MOST_NODES).map(|number| format!("\"{number:064x}\"")).collect();
    let list = format!("\"nodes\":[{}]", nodes.join(","));
    let first = json.find("\"nodes\":[\"").unwrap();
    let end = first + json[first..].find(']').unwrap() + 1;
    let many = format!("{}{list}{}", &json[..first], &json[end..]);
    assert!(Memory::parse(&sealed(&many)).unwrap_err().contains("larger"));
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_and_left_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("state");
    assert!(memory::read(&path).unwrap().is_none());
    for bytes in [&b""[..], b"precious", b"{}\n", b"{}\nsha256 00\n"] {
        std::fs::write(&path, bytes).unwrap();
        let why = memory::read(&path).unwrap_err().to_string();
        assert!(why.contains("is left as it is"), "{why}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    assert!(memory::read(scratch.path()).is_err());
    let large = std::fs::File::create(&path).unwrap();
    large.set_len(1 << 40).unwrap();
    assert!(memory::read(&path).unwrap_err().to_string().contains("too large"));
    let kept = kept();
    let keeper = memory::Keeper::start(path.clone(), |why| panic!("{why}")).unwrap();
    keeper.keep(kept.clone());
    drop(keeper);
    assert_eq!(memory::read(&path).unwrap(), Some(kept));
}
