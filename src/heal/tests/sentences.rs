//! Sections 7.3, 7.4 and 7.6, sentence by sentence. `a` is the node whose word is heard; `b` has more, `c` the most.

use super::*;

struct Node {
    healing: Healing,
    now: u64,
    /// What it did in its last step.
    effects: Vec<Effect>,
}

impl Node {
    fn started(settings: &Settings, start: Start) -> Node {
        let (healing, effects) = Healing::start(settings, start, ms(0));
        let now = 0;
        Node { healing, now, effects }
    }

    /// One of three.
    fn of_three() -> Node {
        Node::started(&settings(&["a", "b", "c"]), start("a", claim(2, 10)))
    }

    fn step(&mut self, event: Event) -> Result<(), Refusal> {
        let step = self.healing.step(ms(self.now), event);
        self.effects = step.effects;
        step.answer
    }

    fn hears(&mut self, id: &str, body: Body) -> Result<(), Refusal> {
        self.step(says(id, 0, body))
    }

    fn hears_gossip_of(&mut self, ids: &[&str]) {
        for id in ids {
            let seqno = 10 * (1 + u64::from(id.as_bytes()[0] - b'a'));
            self.hears(id, Body::Gossip(claim(2, seqno))).unwrap();
        }
    }

    fn waits(&mut self, time_ms: u64) {
        self.now += time_ms;
        self.step(Event::Tick).unwrap();
    }

    /// Who is sent what.
    fn said(&self) -> Vec<(&str, Kind)> {
        let sent = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send { to, message, .. } => Some((to.as_str(), message.kind())),
            _ => None,
        });
        sent.collect()
    }

    fn warned(&self, wanted: impl Fn(&Warning) -> bool) -> bool {
        let mut warnings = self.effects.iter();
        warnings.any(|effect| matches!(effect, Effect::Warn(warning) if wanted(warning)))
    }

    fn recorded(&self, record: &Record) -> bool {
        self.effects.contains(&Effect::Record(record.clone()))
    }

    fn opened(&self) -> Option<OpenKind> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Open(kind) => Some(*kind),
            _ => None,
        })
    }
}

use Kind::{Gossip, IAmOpen, Vote};

#[test]
fn a_node_gossips_to_all_and_to_itself_at_once_and_again() {
    let mut a = Node::of_three();
    assert_eq!(a.said(), [("a", Gossip), ("b", Gossip), ("c", Gossip)]);
    a.waits(50);
    assert_eq!(a.said(), []);
    a.waits(50);
    assert_eq!(a.said(), [("a", Gossip), ("b", Gossip), ("c", Gossip)]);
    a.hears_gossip_of(&["a"]);
    a.waits(100);
    assert_eq!(a.said(), [("b", Gossip), ("c", Gossip)]);
}

#[test]
fn once_all_have_gossiped_it_votes_for_the_best_and_gossips_on() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "c"]);
    assert_eq!(a.healing.stage(), Stage::Gossiping);
    a.hears_gossip_of(&["b"]);
    assert_eq!((a.healing.stage(), a.healing.chosen()), (Stage::Voting, Some("c")));
    assert_eq!(a.said(), [("b", Gossip), ("c", Vote), ("c", Gossip)]);
    assert!(a.recorded(&Record::Chosen { id: "c".to_owned() }));
    assert!(a.recorded(&Record::Stage(Stage::Voting)));
}

#[test]
fn what_is_recorded_comes_before_what_is_said() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "b", "c"]);
    let is_record = |effect: &Effect| matches!(effect, Effect::Record(_));
    let last_record = a.effects.iter().rposition(is_record).unwrap();
    let first_said = a
        .effects
        .iter()
        .position(|effect| matches!(effect, Effect::Send { .. }));
    assert!(first_said.unwrap() > last_record);
}

#[test]
fn a_later_view_beats_more_entries_and_the_greater_name_beats_an_equal_ledger() {
    let mut a = Node::of_three();
    a.hears("a", Body::Gossip(claim(2, 10))).unwrap();
    a.hears("b", Body::Gossip(claim(4, 5))).unwrap();
    a.hears("c", Body::Gossip(claim(2, 999))).unwrap();
    assert_eq!(a.healing.chosen(), Some("b"));

    let mut a = Node::of_three();
    for id in ["a", "b", "c"] {
        a.hears(id, Body::Gossip(claim(2, 10))).unwrap();
    }
    assert_eq!(a.healing.chosen(), Some("c"));
}

#[test]
fn where_one_says_no_view_seqnos_decide_and_that_is_said() {
    let mut old = settings(&["a", "b", "c"]);
    old.generation = Generation::October2025;
    let mut a = Node::started(&old, start("a", claim(9, 10)));
    let seqno = |seqno| Body::Gossip(Claim { view: None, seqno });
    a.hears("a", seqno(10)).unwrap();
    a.hears("b", seqno(12)).unwrap();
    a.hears("c", seqno(11)).unwrap();
    assert_eq!(a.healing.chosen(), Some("b"));
    assert!(a.warned(|warning| matches!(warning, Warning::ViewsUnknown { .. })));
}

#[test]
fn a_second_gossip_is_ignored_and_one_after_the_vote_refused() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "b"]);
    a.hears("b", Body::Gossip(claim(9, 9))).unwrap();
    assert_eq!(a.healing.heard().last(), Some(("b", claim(2, 20))));
    a.hears_gossip_of(&["c"]);
    let chosen = "c".to_owned();
    let refusal = a.hears("b", Body::Gossip(claim(9, 9))).unwrap_err();
    assert_eq!(refusal, Refusal::AlreadyVoted { chosen });
    let error = refusal.error(Generation::October2025);
    assert_eq!(error.status.as_u16(), 500);
    assert_eq!(error.message, "This node has already voted for c");
    assert!(a.effects.is_empty());
}

#[test]
fn a_majority_of_votes_opens_and_all_others_are_told_until_the_third_time_out() {
    let mut a = Node::started(&settings(&["a", "b", "c"]), start("a", claim(2, 99)));
    a.hears("a", Body::Gossip(claim(2, 99))).unwrap();
    a.hears_gossip_of(&["b", "c"]);
    assert_eq!(a.said(), [("a", Vote), ("b", Gossip), ("c", Gossip)]);
    a.hears("a", Body::Vote).unwrap();
    assert_eq!(a.opened(), None);
    a.hears("b", Body::Vote).unwrap();
    assert_eq!(a.opened(), Some(OpenKind::Quorum));
    assert!(a.recorded(&Record::Opens(OpenKind::Quorum)));
    assert_eq!(a.said(), [("b", IAmOpen), ("c", IAmOpen)]);
    for _ in 0..2 {
        a.waits(2000);
        assert_eq!(a.healing.stage(), Stage::Opening);
        assert_eq!(a.said(), [("b", IAmOpen), ("c", IAmOpen)]);
    }
    a.waits(2000);
    assert_eq!((a.healing.stage(), a.healing.due()), (Stage::Open, None));
}

#[test]
fn a_vote_counts_once_also_before_this_node_votes() {
    let mut a = Node::started(&settings(&["a", "b", "c"]), start("a", claim(2, 99)));
    for _ in 0..5 {
        a.hears("b", Body::Vote).unwrap();
    }
    a.hears("a", Body::Gossip(claim(2, 99))).unwrap();
    a.hears_gossip_of(&["b", "c"]);
    assert_eq!((a.opened(), a.healing.votes().count()), (None, 1));
    a.hears("c", Body::Vote).unwrap();
    assert_eq!(a.opened(), Some(OpenKind::Quorum));
}

#[test]
fn a_stranger_counts_for_nothing_and_is_named() {
    let mut a = Node::of_three();
    for (body, is_news) in [(Body::Gossip(claim(9, 9)), true), (Body::Vote, false), (opens(), false)] {
        let id = "x".to_owned();
        assert_eq!(a.hears("x", body).unwrap_err(), Refusal::Stranger { id });
        assert_eq!(a.warned(|warning| matches!(warning, Warning::Stranger { .. })), is_news);
        assert_eq!(a.effects.len(), usize::from(is_news));
    }
    for name in 0..1000 {
        a.hears(&format!("x{name}"), Body::Vote).unwrap_err();
    }
    assert!(a.effects.is_empty());
}

#[test]
fn a_peer_that_was_started_again_is_refused_and_that_is_said_once() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["b"]);
    for said in [true, false] {
        let refusal = a.step(says("b", 1, Body::Vote)).unwrap_err();
        assert_eq!(refusal, Refusal::OtherKey { id: "b".to_owned() });
        assert_eq!(
            a.warned(|warning| matches!(warning, Warning::PeerRestarted { .. })),
            said
        );
    }
    assert_eq!(a.healing.votes().count(), 0);
    // Nobody else speaks in this node's own name either.
    assert!(a.step(says("a", 7, Body::Gossip(claim(9, 9)))).is_err());
}

#[test]
fn after_the_first_time_out_it_votes_for_the_best_it_has_heard_and_says_so() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "b"]);
    a.waits(1999);
    assert_eq!(a.healing.stage(), Stage::Gossiping);
    a.waits(1);
    assert_eq!((a.healing.stage(), a.healing.chosen()), (Stage::Voting, Some("b")));
    assert!(a.warned(|warning| matches!(
        warning,
        Warning::ChosenEarly {
            heard: 2,
            configured: 3,
            ..
        }
    )));
}

#[test]
fn a_node_that_hears_nobody_not_even_itself_votes_for_itself() {
    let mut a = Node::of_three();
    a.waits(2000);
    assert_eq!(a.healing.chosen(), Some("a"));
}

#[test]
fn after_the_second_it_opens_below_a_quorum_which_is_recorded_and_said() {
    let mut a = Node::of_three();
    a.waits(2000);
    a.hears("a", Body::Vote).unwrap();
    a.waits(2000);
    assert_eq!(a.opened(), Some(OpenKind::Failover));
    assert!(a.recorded(&Record::Opens(OpenKind::Failover)));
    let alone = |warning: &Warning| {
        matches!(
            warning,
            Warning::OpensBelowQuorum {
                votes: 1,
                quorum: 2,
                voted_for: None
            }
        )
    };
    assert!(a.warned(alone));
}

#[test]
fn a_time_out_that_is_not_of_its_stage_ends_nothing() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "b", "c"]);
    a.hears("b", Body::Vote).unwrap();
    a.waits(2000);
    assert_eq!(a.healing.stage(), Stage::Voting);
    assert!(a.recorded(&Record::TimeoutStage(Stage::Voting)));
    a.waits(2000);
    assert_eq!(a.opened(), Some(OpenKind::Failover));
    assert!(a.warned(|warning| matches!(warning, Warning::OpensBelowQuorum { voted_for: Some(_), .. })));
}

#[test]
fn a_node_without_votes_waits_for_ever_for_the_one_it_voted_for_and_says_so_each_time() {
    let mut a = Node::of_three();
    a.hears_gossip_of(&["a", "b", "c"]);
    a.waits(2000);
    for _ in 0..10 {
        a.waits(2000);
        assert_eq!(a.healing.stage(), Stage::Voting);
        assert!(a.warned(|warning| matches!(warning, Warning::Stuck { is_refused: false, .. })));
        assert_eq!(a.said(), [("b", Gossip), ("c", Vote), ("c", Gossip)]);
    }
}

#[test]
fn a_node_that_slept_through_two_time_outs_takes_them_one_by_one() {
    let mut a = Node::of_three();
    a.waits(60_000);
    assert_eq!(a.healing.stage(), Stage::Voting);
    a.waits(1999);
    assert_eq!(a.healing.stage(), Stage::Voting);
}

#[test]
fn whoever_hears_that_another_is_open_joins_it_where_the_configuration_says() {
    for gossiped in [false, true] {
        let mut a = Node::of_three();
        if gossiped {
            a.hears_gossip_of(&["a", "b", "c"]);
        }
        let mut said = info("b");
        said.address = "somewhere.else:1".to_owned();
        let event = Event::Heard {
            key: key("b", 0),
            message: Box::new(Message {
                info: said.clone(),
                body: opens(),
            }),
        };
        a.step(event).unwrap();
        let address = "b.example:443".to_owned();
        assert!(a.effects.contains(&Effect::Join { winner: said, address }));
        assert_eq!((a.healing.stage(), a.healing.due()), (Stage::Joining, None));
        assert_eq!(a.said(), []);
    }
}

#[test]
fn whoever_opens_refuses_to_join_and_names_the_fork() {
    let mut a = Node::started(&settings(&["a", "b", "c"]), start("a", claim(2, 99)));
    a.hears("b", Body::Vote).unwrap();
    a.waits(2000);
    a.waits(2000);
    assert_eq!(a.opened(), Some(OpenKind::Failover));
    assert_eq!(a.hears("c", opens()).unwrap_err(), Refusal::Opens);
    assert!(a.warned(|warning| matches!(warning, Warning::Fork { .. })));
    assert_eq!(a.healing.stage(), Stage::Opening);
    let error = Refusal::Opens.error(Generation::Decision2026);
    assert_eq!((error.status.as_u16(), error.code), (400, "InvalidNodeState"));
}

#[test]
fn whoever_is_told_by_two_keeps_to_the_first_and_names_the_fork() {
    let mut a = Node::of_three();
    a.hears("b", opens()).unwrap();
    a.hears("b", opens()).unwrap();
    assert!(a.effects.is_empty());
    a.hears("c", opens()).unwrap();
    assert_eq!(a.healing.chosen(), Some("b"));
    assert!(a.warned(|warning| matches!(warning, Warning::Fork { .. })));
}

#[test]
fn whoever_comes_late_is_told_who_is_open_also_with_another_key() {
    let mut a = Node::started(&settings(&["a", "b", "c"]), start("a", claim(2, 99)));
    a.hears("a", Body::Vote).unwrap();
    a.hears("b", Body::Vote).unwrap();
    for _ in 0..4 {
        a.waits(2000);
    }
    let _ = a.healing.step(ms(a.now), says("c", 0, Body::Vote));
    assert_eq!(a.opened(), None);
    for life in [0, 1] {
        let _ = a.step(says("c", life, Body::Gossip(claim(2, 30))));
        assert_eq!(a.said(), [("c", IAmOpen)]);
    }
}

#[test]
fn a_node_says_when_what_it_joins_has_less_or_was_another_service() {
    let mut with = start("a", claim(4, 50));
    with.previous_service = Some("AA".to_owned());
    for (fingerprint, theirs, lesser, other) in [
        ("aa", claim(4, 60), false, false),
        ("bb", claim(2, 90), true, true),
        ("aa", claim(4, 50), false, false),
    ] {
        let mut a = Node::started(&settings(&["a", "b"]), with.clone());
        let body = Body::IAmOpen {
            previous_service: Some(fingerprint.to_owned()),
            claim: Some(theirs),
        };
        a.hears("b", body).unwrap();
        assert_eq!(
            a.warned(|warning| matches!(warning, Warning::JoinsLesser { .. })),
            lesser
        );
        assert_eq!(
            a.warned(|warning| matches!(warning, Warning::OtherService { .. })),
            other
        );
    }
}

#[test]
fn at_the_start_it_says_what_makes_a_time_out_or_a_choice_unsafe() {
    let mut unsafe_start = start("a", claim(2, 10));
    unsafe_start.recovery = ms(2001);
    unsafe_start.is_cut_short = true;
    unsafe_start.nodes_in_ledger = Some(5);
    let a = Node::started(&settings(&["a", "b", "c"]), unsafe_start);
    let short = |warning: &Warning| matches!(warning, Warning::FailoverTooShort { .. });
    assert!(a.warned(short));
    assert!(a.warned(|warning| matches!(warning, Warning::CutShort { .. })));
    assert!(a.warned(|warning| matches!(warning, Warning::OtherMembership { .. })));
    assert!(!Node::of_three().warned(|_| true));
}

#[test]
fn a_vote_for_another_outlives_the_process_that_gave_it() {
    let earlier = |stage, chosen: &str| Earlier {
        stage,
        chosen: Some(chosen.to_owned()),
        opens: None,
    };
    for (earlier, chosen) in [
        (earlier(Stage::Voting, "b"), "b"),
        (earlier(Stage::Joining, "b"), "b"),
        // Nobody else knew of these.
        (earlier(Stage::Voting, "a"), "c"),
        (earlier(Stage::Gossiping, "b"), "c"),
        (earlier(Stage::Voting, "gone"), "c"),
    ] {
        let mut again = start("a", claim(2, 10));
        again.earlier = Some(earlier);
        let mut a = Node::started(&settings(&["a", "b", "c"]), again);
        a.hears_gossip_of(&["a", "b", "c"]);
        assert_eq!(a.healing.chosen(), Some(chosen));
    }
}

#[test]
fn a_node_that_opened_opens_again_as_it_did() {
    for kind in [OpenKind::Quorum, OpenKind::Failover] {
        let mut again = start("a", claim(2, 10));
        again.earlier = Some(Earlier {
            stage: Stage::Opening,
            chosen: Some("a".to_owned()),
            opens: Some(kind),
        });
        let a = Node::started(&settings(&["a", "b", "c"]), again);
        assert_eq!(a.opened(), Some(kind));
        assert_eq!(a.said(), [("b", IAmOpen), ("c", IAmOpen)]);
    }
}

#[test]
fn a_cluster_of_one_opens_by_its_own_vote() {
    let mut a = Node::started(&settings(&["a"]), start("a", claim(2, 10)));
    a.hears("a", Body::Gossip(claim(2, 10))).unwrap();
    assert_eq!(a.said(), [("a", Vote)]);
    a.hears("a", Body::Vote).unwrap();
    assert_eq!(a.opened(), Some(OpenKind::Quorum));
}

#[test]
fn every_warning_is_a_sentence_that_names_what_it_is_about() {
    let id = || "peer-7".to_owned();
    for warning in [
        Warning::Stuck {
            chosen: id(),
            is_refused: true,
        },
        Warning::Stranger { id: id() },
        Warning::PeerRestarted { id: id() },
        Warning::VoteForgotten { chosen: id() },
        Warning::ViewsUnknown { chosen: id() },
        Warning::Fork {
            first: id(),
            second: id(),
        },
        Warning::OtherService { id: id() },
        Warning::ChosenEarly {
            heard: 1,
            configured: 3,
            chosen: id(),
        },
        Warning::OpensBelowQuorum {
            votes: 1,
            quorum: 2,
            voted_for: Some(id()),
        },
        Warning::Resumed {
            stage: Stage::Voting,
            chosen: Some(id()),
        },
        Warning::JoinsLesser {
            id: id(),
            theirs: claim(2, 1),
            ours: claim(2, 2),
        },
    ] {
        assert!(warning.to_string().contains("peer-7"), "{warning:?}");
    }
}
