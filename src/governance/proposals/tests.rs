use serde_json::{Value, json};

use super::*;
use crate::crypto::Curve;
use crate::crypto::cose::MessageType;
use crate::format::domain::WriteSet;
use crate::governance::ballots::submit_ballot;
use crate::governance::request::{CONTENT_TYPE, authenticate};
use crate::governance::testing::{Member, Recorder, read_json, service};
use crate::kv::store::Store;

const YES: &str = r#"{"ballot":"export function vote() { return true }"}"#;
const NO: &str = r#"{"ballot":"export function vote() { return false }"}"#;
const THROWS: &str = r#"{"ballot":"export function vote() { throw 'undecided' }"}"#;
const ROOT: Digest = [5; 32];

/// A service with three members, and what a node does with their requests.
struct World {
    members: [Member; 3],
    store: Store,
    effects: Recorder,
}

impl World {
    fn new() -> Self {
        let members = [1, 2, 3].map(|number| Member::new(number, Curve::P384));
        let store = service(&[&members[0], &members[1], &members[2]]);
        World {
            members,
            store,
            effects: Recorder::default(),
        }
    }

    /// One request in one transaction, kept only if it succeeds.
    fn request<T>(
        &mut self,
        body: &[u8],
        kind: MessageType,
        work: impl FnOnce(&mut Transaction<'_>, &SignedRequest, &mut Recorder) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut transaction = self.store.transaction();
        let request = authenticate(&transaction, Some(CONTENT_TYPE), body, kind, true)?;
        let answer = work(&mut transaction, &request, &mut self.effects)?;
        let writes = transaction.into_writes();
        let seqno = self.store.seqno() + 1;
        self.store.apply(seqno, &writes);
        Ok(answer)
    }

    fn propose(&mut self, member: usize, created_at: u64, proposal: Value) -> Result<Value, Refusal> {
        let body = self.members[member].sign("proposal", created_at, None, proposal.to_string().as_bytes());
        self.request(&body, MessageType::Proposal, |transaction, request, effects| {
            create(transaction, request, &ROOT, effects).map(|answer| answer.to_value().unwrap())
        })
    }

    /// The id of a new proposal.
    fn proposed(&mut self, proposal: Value) -> String {
        let answer = self.propose(0, 1_000, proposal).unwrap();
        answer["proposalId"].as_str().unwrap().to_owned()
    }

    fn vote(&mut self, member: usize, id: &str, ballot: &str) -> Result<Value, Refusal> {
        let member_id = self.members[member].id.clone();
        let body = self.members[member].sign("ballot", 1, Some(id), ballot.as_bytes());
        self.request(&body, MessageType::Ballot, |transaction, request, effects| {
            submit_ballot(transaction, request, id, &member_id, effects).map(|answer| answer.to_value().unwrap())
        })
    }

    fn withdraw(&mut self, member: usize, id: &str) -> Result<Option<Value>, Refusal> {
        let body = self.members[member].sign("withdrawal", 1, Some(id), b"");
        self.request(&body, MessageType::Withdrawal, |transaction, request, _| {
            let withdrawn = withdraw(transaction, request, id)?;
            Ok(withdrawn.map(|answer| answer.to_value().unwrap()))
        })
    }

    fn read(&self, table: &str, key: &str) -> Option<Value> {
        read_json(&self.store.transaction(), table, key.as_bytes())
    }

    fn done(&self) -> Option<Value> {
        self.read("public:ccf.gov.done", &"\0".repeat(8))
    }
}

fn code(error: &Refusal) -> Reason {
    error.reason
}

#[test]
fn a_proposal_is_recorded_under_the_digest_of_root_and_signature() {
    let mut world = World::new();
    let body = world.members[0].sign("proposal", 1_000, None, br#"{ "do": "it" }"#);
    let signature_digest = {
        let transaction = world.store.transaction();
        let request = authenticate(&transaction, Some(CONTENT_TYPE), &body, MessageType::Proposal, true);
        request.ok().unwrap().signature_digest
    };
    let answer = world
        .request(&body, MessageType::Proposal, |transaction, request, effects| {
            create(transaction, request, &ROOT, effects).map(|answer| answer.to_value().unwrap())
        })
        .unwrap();
    let id = hex::encode(crate::crypto::sha256([ROOT, signature_digest].concat().as_slice()));
    let proposer = world.members[0].id.clone();
    assert_eq!(
        answer,
        json!({"proposalId": id, "proposerId": proposer, "proposalState": "Open", "ballotCount": 0})
    );
    let transaction = world.store.transaction();
    assert_eq!(
        transaction.get(names::PROPOSALS, id.as_bytes()),
        Some(&br#"{ "do": "it" }"#[..])
    );
    assert_eq!(
        transaction.get(names::PROPOSALS_INFO, id.as_bytes()),
        Some(format!(r#"{{"ballots":{{}},"proposer_id":"{proposer}","state":"Open"}}"#).as_bytes())
    );
    assert_eq!(
        world.read(names::COSE_HISTORY, &proposer),
        Some(STANDARD.encode(&body).into())
    );
    let key = format!("0000001000:{}", hex::encode(signature_digest));
    assert_eq!(world.read(names::COSE_RECENT_PROPOSALS, &key), Some(id.into()));
}

#[test]
fn a_majority_accepts_and_the_proposal_is_applied_once() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "open"}));
    let first = world.vote(0, &id, YES).unwrap();
    assert_eq!(
        (&first["proposalState"], &first["ballotCount"]),
        (&json!("Open"), &json!(1))
    );
    assert_eq!(first.get("finalVotes"), None);
    assert_eq!(world.done(), None);
    world.vote(1, &id, THROWS).unwrap();
    let last = world.vote(2, &id, YES).unwrap();
    let [a, b, c] = world.members.each_ref().map(|member| member.id.clone());
    assert_eq!(last["proposalState"], "Accepted");
    assert_eq!(last["ballotCount"], 3);
    assert_eq!(last["finalVotes"], json!({a: true, c: true}));
    assert_eq!(last["voteFailures"], json!({b: {"reason": "undecided"}}));
    assert_eq!(world.done(), Some(json!("open")));
    assert_eq!(world.effects.asked, ["open None \"next\""]);
    let late = world.vote(0, &id, YES).unwrap_err();
    assert_eq!(code(&late), Reason::NotOpen);
    assert!(
        late.message
            .ends_with("is currently in state accepted - only open proposals can receive votes")
    );
}

#[test]
fn a_ballot_said_twice_is_answered_twice_and_another_one_is_refused() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "it"}));
    let first = world.vote(0, &id, YES).unwrap();
    assert_eq!(world.vote(0, &id, YES).unwrap(), first);
    let other = world.vote(0, &id, NO).unwrap_err();
    assert_eq!(code(&other), Reason::AlreadyVoted);
    assert_eq!(
        other.message,
        format!(
            "Different ballot already submitted by m[{}] for {id}.",
            world.members[0].id
        )
    );
}

#[test]
fn a_ballot_that_can_never_count_is_not_taken() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "it"}));
    for ballot in [
        r#"{"ballot":"export function vote( {"}"#,
        r#"{"ballot":"function vote() { return true }"}"#,
        r#"{"ballot":7}"#,
        r#"{"vote":"x"}"#,
        "[]",
        "not JSON",
    ] {
        assert_eq!(
            code(&world.vote(0, &id, ballot).unwrap_err()),
            Reason::InvalidInput,
            "{ballot}"
        );
    }
    assert_eq!(world.read(names::PROPOSALS_INFO, &id).unwrap()["ballots"], json!({}));
    assert_eq!(world.vote(0, &id, YES).unwrap()["ballotCount"], 1);
}

#[test]
fn a_failing_application_leaves_nothing_and_can_be_tried_again() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "open"}));
    world.vote(0, &id, YES).unwrap();
    world.effects.refuse = Some("the seal is broken".to_owned());
    let before = world.store.seqno();
    let error = world.vote(1, &id, YES).unwrap_err();
    assert_eq!(code(&error), Reason::Fault);
    assert!(
        error
            .message
            .starts_with("Failed to apply(): InternalError: Unable to open service: the seal is broken\nTrace: "),
        "{}",
        error.message
    );
    assert_eq!((world.store.seqno(), world.done()), (before, None));
    assert_eq!(
        world.read(names::PROPOSALS_INFO, &id).unwrap()["ballots"]
            .as_object()
            .unwrap()
            .len(),
        1
    );
    world.effects.refuse = None;
    assert_eq!(world.vote(1, &id, YES).unwrap()["proposalState"], "Accepted");
}

#[test]
fn the_constitution_decides_and_not_the_majority() {
    let mut world = World::new();
    let veto = world.members[1].id.clone();
    let id = world.proposed(json!({"do": "it", "veto": veto}));
    let rejected = world.vote(1, &id, NO).unwrap();
    assert_eq!(rejected["proposalState"], "Rejected");
    assert_eq!(rejected["finalVotes"], json!({veto: false}));
    assert_eq!(world.done(), None);

    let at_once = world
        .propose(0, 1_001, json!({"do": "now", "at_once": "Accepted"}))
        .unwrap();
    assert_eq!(at_once["proposalState"], "Accepted");
    assert_eq!(world.done(), Some(json!("now")));
    let odd = world
        .propose(0, 1_002, json!({"do": "it", "at_once": "Perhaps"}))
        .unwrap_err();
    assert_eq!(code(&odd), Reason::Fault);
    assert!(
        odd.message
            .starts_with("resolve() returned invalid status value: \"Perhaps\"")
    );
    let fails = world
        .propose(0, 1_003, json!({"do": "fail", "at_once": "Accepted"}))
        .unwrap_err();
    assert!(
        fails
            .message
            .starts_with("Failed to apply(): Error: it can't be done\nTrace: ")
    );
    assert_eq!(world.done(), Some(json!("now")));
}

#[test]
fn a_proposal_that_is_over_is_forgotten_when_the_next_one_is() {
    let mut world = World::new();
    let open = world.proposed(json!({"do": "stay open"}));
    let over = world
        .propose(0, 1_001, json!({"do": "one", "at_once": "Accepted"}))
        .unwrap();
    let over = over["proposalId"].as_str().unwrap().to_owned();
    let next = world
        .propose(0, 1_002, json!({"do": "two", "at_once": "Rejected"}))
        .unwrap();
    let next = next["proposalId"].as_str().unwrap().to_owned();
    let known = |world: &World, id: &str| {
        let info = world.read(names::PROPOSALS_INFO, id).is_some();
        assert_eq!(info, world.store.get(names::PROPOSALS, id.as_bytes()).is_some());
        info
    };
    assert_eq!([&open, &over, &next].map(|id| known(&world, id)), [true, false, true]);
}

#[test]
fn a_proposal_that_does_not_validate_is_not_kept() {
    let mut world = World::new();
    let invalid = world.propose(0, 1_000, json!({})).unwrap_err();
    assert_eq!(code(&invalid), Reason::NotValid);
    assert_eq!(invalid.message, "Proposal failed to validate: there is nothing to do");
    let broken = world.propose(0, 1_000, json!({"do": "fail to validate"})).unwrap_err();
    assert_eq!(code(&broken), Reason::Fault);
    assert!(
        broken
            .message
            .starts_with("Failed to execute validation: Error: validation is out of order")
    );
    let body = world.members[0].sign("proposal", 1, None, b"\xff");
    let binary = world.request(&body, MessageType::Proposal, |transaction, request, effects| {
        create(transaction, request, &ROOT, effects).map(|answer| answer.to_value().unwrap())
    });
    assert_eq!(code(&binary.unwrap_err()), Reason::InvalidInput);
    assert_eq!(world.store.seqno(), 1);
}

#[test]
fn a_proposal_made_again_or_too_long_ago_is_refused() {
    let mut world = World::new();
    for created_at in [3_000, 4_000, 5_000] {
        world.propose(0, created_at, json!({"do": "it"})).unwrap();
    }
    let again = world.propose(0, 4_000, json!({"do": "it"})).unwrap_err();
    assert_eq!(code(&again), Reason::Replay);
    let body = world.members[0].sign("proposal", 4_000, None, br#"{"do":"it"}"#);
    let replayed = world.request(&body, MessageType::Proposal, |transaction, request, effects| {
        create(transaction, request, &[6; 32], effects)
    });
    assert_eq!(code(&replayed.unwrap_err()), Reason::Replay);
    let old = world.propose(0, 3_999, json!({"do": "it"})).unwrap_err();
    assert_eq!(code(&old), Reason::TooOld);
    assert_eq!(
        old.message,
        "Proposal created too long ago, created_at must be greater than 0000004000"
    );
    world.propose(1, 4_000, json!({"do": "it"})).unwrap();
    let far = world.propose(0, 10_000_000_000, json!({"do": "it"})).unwrap_err();
    assert_eq!(code(&far), Reason::InvalidCreatedAt);
}

#[test]
fn as_many_proposals_are_remembered_as_the_window_holds() {
    let mut world = World::new();
    let mut writes = WriteSet::new();
    let config = r#"{"recovery_threshold":1,"recent_cose_proposals_window_size":3}"#;
    writes.put(names::SERVICE_CONFIG, SINGLETON_KEY, config);
    world.store.apply(2, &writes);
    for created_at in 1..=5 {
        world.propose(0, created_at, json!({"do": "it"})).unwrap();
    }
    let kept = world.store.transaction().entries(names::COSE_RECENT_PROPOSALS);
    let kept: Vec<_> = kept
        .keys()
        .map(|key| String::from_utf8_lossy(&key[..10]).into_owned())
        .collect();
    assert_eq!(kept, ["0000000003", "0000000004", "0000000005"]);
}

#[test]
fn only_the_proposer_withdraws_and_only_while_it_is_open() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "it"}));
    let other = world.withdraw(1, &id).unwrap_err();
    assert_eq!(code(&other), Reason::NotAllowed);
    let withdrawn = world.withdraw(0, &id).unwrap().unwrap();
    assert_eq!(withdrawn["proposalState"], "Withdrawn");
    assert_eq!(world.withdraw(0, &id).unwrap().unwrap(), withdrawn);
    assert_eq!(code(&world.vote(1, &id, YES).unwrap_err()), Reason::NotOpen);
    assert_eq!(world.withdraw(0, &"0".repeat(64)).unwrap(), None);
    assert_eq!(code(&world.withdraw(0, "short").unwrap_err()), Reason::InvalidName);
    let accepted = world
        .propose(0, 2_000, json!({"do": "it", "at_once": "Accepted"}))
        .unwrap();
    let late = world.withdraw(0, accepted["proposalId"].as_str().unwrap()).unwrap_err();
    assert_eq!(code(&late), Reason::NotOpen);
    assert!(
        late.message
            .ends_with("is currently in state accepted and cannot be withdrawn.")
    );
}

#[test]
fn what_is_signed_must_be_what_is_addressed() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "it"}));
    let other = "0".repeat(64);
    let [signer, another] = [0, 1].map(|index: usize| world.members[index].id.clone());
    for (signed, addressed, member, expected) in [
        (&other, &id, &signer, Reason::InvalidName),
        (&id, &other, &signer, Reason::InvalidName),
        (&id, &id, &another, Reason::InvalidName),
        (&other, &other, &signer, Reason::UnknownProposal),
    ] {
        let body = world.members[0].sign("ballot", 1, Some(signed), YES.as_bytes());
        let answer = world.request(&body, MessageType::Ballot, |transaction, request, effects| {
            submit_ballot(transaction, request, addressed, member, effects)
        });
        assert_eq!(code(&answer.unwrap_err()), expected);
    }
}

#[test]
fn a_service_without_a_constitution_says_so() {
    let mut world = World::new();
    let id = world.proposed(json!({"do": "it"}));
    let mut writes = WriteSet::new();
    writes.remove(names::CONSTITUTION, SINGLETON_KEY);
    world.store.apply(10, &writes);
    let proposal = world.propose(0, 2_000, json!({"do": "it"})).unwrap_err();
    assert_eq!(
        (code(&proposal), proposal.message.as_str()),
        (Reason::Fault, "No constitution is set - proposals cannot be evaluated")
    );
    assert!(
        world
            .vote(0, &id, YES)
            .unwrap_err()
            .message
            .contains("ballots cannot be evaluated")
    );
}

/// The same message with the other half of its signature.
fn in_its_other_form(member: &Member, body: &[u8]) -> Vec<u8> {
    let parsed = crate::crypto::cose::Sign1::parse(body).unwrap();
    let own = parsed.signature();
    let other = crate::crypto::ecdsa::other_form(member.key.verifying_key().curve(), own).unwrap();
    assert_ne!(own, other);
    [&body[..body.len() - own.len()], &other].concat()
}

#[test]
fn a_proposal_is_not_made_twice_with_the_other_form_of_its_signature() {
    let mut world = World::new();
    let text = json!({"do": "nothing"}).to_string();
    let body = world.members[0].sign("proposal", 1_000, None, text.as_bytes());
    let other = in_its_other_form(&world.members[0], &body);
    let mut propose = |body: &[u8]| {
        world.request(body, MessageType::Proposal, |transaction, request, effects| {
            create(transaction, request, &ROOT, effects)
        })
    };
    propose(&other).unwrap();
    for again in [&body, &other] {
        assert_eq!(code(&propose(again).unwrap_err()), Reason::Replay);
    }
}

#[test]
fn a_proposal_that_could_not_be_read_back_is_refused() {
    let mut world = World::new();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for odd in [deep.as_str(), r#""\ud800""#] {
        let text = format!(r#"{{"do":"nothing","odd":{odd}}}"#);
        let body = world.members[0].sign("proposal", 1_000, None, text.as_bytes());
        let refused = world.request(&body, MessageType::Proposal, |transaction, request, effects| {
            create(transaction, request, &ROOT, effects)
        });
        let error = refused.unwrap_err();
        assert_eq!(code(&error), Reason::NotValid, "{odd:.20}");
        assert!(error.message.contains("read back"), "{}", error.message);
    }
}
