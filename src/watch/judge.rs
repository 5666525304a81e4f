//! What is known, judged: pure, so that every sentence of it has a test. It would rather say too little than cry wolf.
//!
//! - **Recovery needed**: in some current configuration so many nodes are lost that no majority can form. *Lost*: no word of life for
//!   the patience of `settings`, while its machine (or whoever listens at its address now) answers in its place; or for the longer one where
//!   it only hangs up, or where nothing is there, but somebody else does answer us. Where nothing at all answers, the fault may be ours.
//! - Held back where a node follows a primary that we can't reach: primaries without a majority step down within an election time-out, and
//!   who followed them stands within another.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::answers::{Configuration, Failure, Leadership, NodeId};
use super::clock::Moment;
use super::known::{Known, Last, Member, Place};
use super::settings::Settings;
use crate::format::TxId;

/// How a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A majority agrees on a primary.
    Stable,
    /// A majority lives and has no primary, for no longer than elections take.
    Election,
    /// Nodes that live follow different primaries, for longer than elections take.
    Partition,
    /// No primary for long, or no majority is heard; why is not known, or it may be on our side.
    Unavailable,
    /// No majority of a current configuration can form any more.
    RecoveryNeeded,
    /// No majority of it can form, and a service that was recovered more often answers in its place.
    Replaced,
    /// No node has said yet who belongs to the service.
    Unknown,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Stable,
        State::Election,
        State::Partition,
        State::Unavailable,
        State::RecoveryNeeded,
        State::Replaced,
        State::Unknown,
    ];

    /// As it is written in JSON, arguments and labels.
    pub fn name(self) -> &'static str {
        match self {
            State::Stable => "stable",
            State::Election => "election",
            State::Partition => "partition",
            State::Unavailable => "unavailable",
            State::RecoveryNeeded => "recovery_needed",
            State::Replaced => "replaced",
            State::Unknown => "unknown",
        }
    }
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It leads.
    Leads,
    /// It follows a primary.
    Follows,
    /// It has no primary.
    Seeks,
    /// It answers, and takes no part (yet, or any more).
    Outside,
    /// Others hear it; we do not.
    HeardOf,
    /// Nobody hears it, not for long.
    Silent,
    /// Nobody hears it, and it counts as lost.
    Lost,
}

/// A node, as it is seen now.
#[derive(Clone, Debug, Serialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Where it answers, or is said to be.
    pub address: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// Milliseconds since the last word of life, its own or by hearsay.
    pub silent_ms: u64,
    /// When it answered last, in milliseconds since 1970; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at_ms: Option<u64>,
    /// Which node says that it lives, where it does not say so itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_by: Option<NodeId>,
    /// The primary that it claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<NodeId>,
    /// Its view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<u64>,
    /// What it has committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<TxId>,
    /// What its `/node/state` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// What came of the last look, where it is not an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A configuration, and who of it is not lost.
#[derive(Clone, Debug, Serialize)]
pub struct Majority {
    /// The seqno that it holds from.
    pub seqno: u64,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many of them a majority takes.
    pub needed: usize,
    /// How many are not lost.
    pub left: usize,
}

/// A view, the primary that is claimed in it, and who claims it.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// The view.
    pub view: u64,
    /// The primary.
    pub primary: NodeId,
    /// Who says so.
    pub by: Vec<NodeId>,
}

/// What is thought of a service at one moment, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// The state.
    pub state: State,
    /// The primary that a majority agrees on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<NodeId>,
    /// The view of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<u64>,
    /// Why, in sentences.
    pub evidence: Vec<String>,
    /// Every current configuration: a majority is needed in each.
    pub configurations: Vec<Majority>,
    /// Every node of them.
    pub nodes: Vec<Node>,
    /// Which primaries are claimed in which views.
    pub claims: Vec<Claim>,
    /// Whether more than one is, or a node that lives follows none of them. Kept for how long that lasts.
    #[serde(skip)]
    pub astray: BTreeSet<NodeId>,
}

fn is_majority(nodes: usize, of: usize) -> bool {
    2 * nodes > of
}

/// The newest looks at a node's addresses.
fn looks<'a>(known: &'a Known, id: &'a NodeId, member: &'a Member) -> impl Iterator<Item = (&'a String, &'a Place)> {
    let is_its = move |address: &String, place: &Place| {
        member.addresses.contains(address) || matches!(&place.last, Some((_, _, Last::Answered(other))) if other == id)
    };
    known.places.iter().filter(move |(address, place)| is_its(address, place))
}

/// What is known of one node at one moment.
struct Seen<'a> {
    id: &'a NodeId,
    member: &'a Member,
    standing: Standing,
    address: Option<String>,
    failure: Option<String>,
    silent: Moment,
}

impl<'a> Seen<'a> {
    fn of(known: &'a Known, settings: &Settings, id: &'a NodeId, member: &'a Member, now: Moment) -> Seen<'a> {
        let life = member.life();
        let silent = now.saturating_sub(life);
        let (mut address, mut failure, mut in_its_place, mut hangs_up) = (None, None, false, false);
        for (at, place) in looks(known, id, member) {
            address.get_or_insert_with(|| at.clone());
            if let Some((_, connected)) = place.waits
                && connected > life
                && now.saturating_sub(connected) > settings.connect()
            {
                in_its_place = true;
                failure.get_or_insert_with(|| "it takes connections, and answers nothing".to_owned());
            }
            let Some((_, when, last)) = &place.last else { continue };
            let words = match last {
                Last::Answered(other) if other == id => {
                    address = Some(at.clone());
                    continue;
                }
                Last::Answered(other) => format!("node {} answers there", other.short()),
                Last::Stranger(_, why, _) | Last::Failed(_, why) => why.clone(),
            };
            if *when > life {
                in_its_place |= !matches!(last, Last::Failed(kind, _) if !kind.excludes_the_node());
                hangs_up |= matches!(last, Last::Failed(Failure::Closed, _));
            }
            if *when > member.heard {
                failure = Some(words);
            }
        }
        let others = known.members.iter().filter(|(other, _)| *other != id);
        let somebody = others.filter(|(_, it)| it.has_answered).map(|(_, it)| it.heard).max();
        let we_see = [somebody, known.witnessed].into_iter().flatten().max();
        let we_see = we_see.is_some_and(|when| now.saturating_sub(when) <= settings.patience());
        let is_lost = match in_its_place {
            true => silent > settings.patience(),
            false => (we_see || hangs_up) && silent > settings.patience_in_the_dark(),
        };
        let has_retired = member.retired.is_some_and(|since| now.saturating_sub(since) > settings.patience());
        let fresh = member.said.as_ref().filter(|said| now.saturating_sub(said.at) <= settings.election);
        let standing = match fresh {
            _ if is_lost || has_retired => Standing::Lost,
            Some(said) => match said.consensus.as_ref().filter(|it| !it.has_retired).map(|it| it.leadership) {
                Some(Leadership::Leader) => Standing::Leads,
                Some(Leadership::Follower) if said.claim(id).is_some() => Standing::Follows,
                Some(Leadership::Follower | Leadership::Candidate) => Standing::Seeks,
                Some(Leadership::None) | None => Standing::Outside,
            },
            None if silent <= settings.patience() && member.hearsay.is_some() => Standing::HeardOf,
            None => Standing::Silent,
        };
        Seen {
            id,
            member,
            standing,
            address,
            failure,
            silent,
        }
    }

    fn shown(&self) -> Node {
        let said = self.member.said.as_ref();
        let is_hearsay = self.member.hearsay.as_ref().filter(|(at, _)| *at > self.member.heard);
        Node {
            id: self.id.clone(),
            address: self.address.clone(),
            standing: self.standing,
            silent_ms: u64::try_from(self.silent.as_millis()).unwrap_or(u64::MAX),
            answered_at_ms: self.member.has_answered.then_some(self.member.heard_wall_ms),
            heard_by: is_hearsay.map(|(_, by)| by.clone()),
            primary: said.and_then(|said| said.claim(self.id)).map(|(primary, _)| primary),
            view: said.and_then(|said| Some(said.consensus.as_ref()?.view)),
            committed: said.and_then(|said| said.committed),
            state: said.map(|said| said.state.clone()),
            failure: self.failure.clone(),
        }
    }

    /// Why it is lost, in words.
    fn loss(&self) -> String {
        let id = self.id.short();
        let address = self.address.as_deref().unwrap_or("no known address");
        let failure = self.failure.as_deref().unwrap_or("connects, and nothing is answered");
        match self.member.retired {
            Some(_) => format!("node {id} ({address}) answers that it has retired"),
            None => format!("node {id} ({address}) was last heard {:.1} s ago: {failure}", self.silent.as_secs_f64()),
        }
    }
}

/// Judges what is known at `now`.
pub fn judge(known: &Known, settings: &Settings, now: Moment) -> Judgement {
    let configurations = known.configurations(now);
    let everybody = Known::everybody(&configurations);
    if everybody.is_empty() {
        return nothing_known(known);
    }
    let seen: BTreeMap<&NodeId, Seen> = everybody
        .iter()
        .filter_map(|id| Some((id, Seen::of(known, settings, id, known.members.get(id)?, now))))
        .collect();
    let is_left = |id: &&NodeId| seen.get(id).is_none_or(|node| node.standing != Standing::Lost);
    let majorities: Vec<Majority> = configurations
        .iter()
        .map(|it| Majority {
            seqno: it.seqno,
            nodes: it.nodes.len(),
            needed: it.nodes.len() / 2 + 1,
            left: it.nodes.iter().filter(is_left).count(),
        })
        .collect();
    let claims = claims(&seen, settings, now);
    let agreed = agreed(&configurations, &claims, &seen, settings, now);
    let followed_unseen = follows_unseen(&seen, settings, now);
    let astray: BTreeSet<NodeId> = match &agreed {
        Some(claim) => strays(&seen, claim),
        None => BTreeSet::new(),
    };
    let mut judgement = Judgement {
        state: State::Unknown,
        primary: agreed.as_ref().map(|claim| claim.primary.clone()),
        view: agreed.as_ref().map(|claim| claim.view),
        evidence: Vec::new(),
        configurations: majorities,
        nodes: seen.values().map(Seen::shown).collect(),
        claims,
        astray,
    };
    let cannot_form = judgement.configurations.iter().any(|it| it.left < it.needed);
    let is_heard = |id: &&NodeId| seen.get(id).is_some_and(|it| !matches!(it.standing, Standing::Lost | Standing::Silent));
    let hears_majority = configurations.iter().all(|it| is_majority(it.nodes.iter().filter(is_heard).count(), it.nodes.len()));
    let lasts = |since: Option<Moment>| since.is_some_and(|since| now.saturating_sub(since) > settings.patience());
    let strays_for_long = judgement
        .astray
        .iter()
        .any(|id| lasts(known.members.get(id).and_then(|member| member.astray)));
    let without_primary = now.saturating_sub(known.agreed.unwrap_or(now));
    judgement.state = match &agreed {
        _ if cannot_form && followed_unseen.is_none() => match replaced_by(known) {
            Some(_) => State::Replaced,
            None => State::RecoveryNeeded,
        },
        Some(_) if strays_for_long => State::Partition,
        Some(_) => State::Stable,
        None if followed_unseen.is_some() => State::Stable,
        None if hears_majority && lasts(known.divided) => State::Partition,
        None if hears_majority && without_primary <= settings.longest_election() => State::Election,
        // Not yet long enough to know.
        None if without_primary <= settings.patience() => State::Election,
        None => State::Unavailable,
    };
    judgement.evidence = evidence(&judgement, known, &seen, followed_unseen, without_primary);
    judgement
}

fn claims(seen: &BTreeMap<&NodeId, Seen>, settings: &Settings, now: Moment) -> Vec<Claim> {
    let mut claims: BTreeMap<(u64, NodeId), Vec<NodeId>> = BTreeMap::new();
    for node in seen.values() {
        let said = node.member.said.as_ref().filter(|said| now.saturating_sub(said.at) <= settings.election);
        if let Some((primary, view)) = said.and_then(|said| said.claim(node.id)) {
            claims.entry((view, primary)).or_default().push(node.id.clone());
        }
    }
    let claims = claims.into_iter().rev();
    claims.map(|((view, primary), by)| Claim { view, primary, by }).collect()
}

/// The claim of the newest view that a majority of each configuration supports: by saying so, or by answering the leader who does.
fn agreed(
    configurations: &[Configuration],
    claims: &[Claim],
    seen: &BTreeMap<&NodeId, Seen>,
    settings: &Settings,
    now: Moment,
) -> Option<Claim> {
    claims
        .iter()
        .find(|claim| {
            let mut support: BTreeSet<&NodeId> = claim.by.iter().collect();
            if let Some(leader) = seen.get(&claim.primary) {
                // A leader that is gone is followed for a while yet: it is counted if it was heard lately.
                if leader.silent <= settings.election {
                    support.insert(&claim.primary);
                }
                let said = leader.member.said.as_ref().filter(|_| leader.standing == Standing::Leads);
                if let Some((said, consensus)) = said.and_then(|said| Some((said, said.consensus.as_ref()?))) {
                    let age = now.saturating_sub(said.at);
                    let heard = consensus.heard_ms.iter();
                    let fresh = |ms: u64| age + std::time::Duration::from_millis(ms) <= settings.patience();
                    support.extend(heard.filter(|(_, ms)| fresh(**ms)).map(|(id, _)| id));
                }
            }
            configurations.iter().all(|it| {
                let supporters = it.nodes.iter().filter(|id| support.contains(id)).count();
                is_majority(supporters, it.nodes.len())
            })
        })
        .cloned()
}

/// A node that follows a primary of whom we hear nothing ourselves: somewhere out of our sight there is a majority.
fn follows_unseen<'a>(seen: &BTreeMap<&'a NodeId, Seen<'a>>, settings: &Settings, now: Moment) -> Option<&'a NodeId> {
    let follower = seen.values().find(|node| {
        let lately = |when: Moment| now.saturating_sub(when) <= settings.election;
        let said = node.member.said.as_ref().filter(|said| lately(said.at));
        let follows = said.and_then(|said| said.claim(node.id)).filter(|(primary, _)| primary != node.id);
        let primary = follows.and_then(|(primary, _)| seen.get(&primary));
        node.standing == Standing::Follows && primary.is_some_and(|it| !it.member.has_answered || !lately(it.member.heard))
    });
    follower.map(|node| node.id)
}

/// Who lives and takes another for the primary, or looks for one.
fn strays(seen: &BTreeMap<&NodeId, Seen>, claim: &Claim) -> BTreeSet<NodeId> {
    let stray = |node: &&Seen| match node.standing {
        Standing::Leads | Standing::Seeks => !claim.by.contains(node.id) && *node.id != claim.primary,
        Standing::Follows => !claim.by.contains(node.id),
        _ => false,
    };
    seen.values().filter(stray).map(|node| node.id.clone()).collect()
}

/// Who answers in place of the service, where that is a service that was recovered since.
fn replaced_by(known: &Known) -> Option<&str> {
    known.places.values().find_map(|place| match &place.last {
        Some((_, _, Last::Stranger(_, why, Some(recoveries)))) if Some(*recoveries) > known.recoveries => Some(why.as_str()),
        _ => None,
    })
}

fn nothing_known(known: &Known) -> Judgement {
    let tell = |(address, place): (&String, &Place)| {
        let what = match &place.last {
            None if place.waits.is_some() => "it takes connections, and answers nothing".to_owned(),
            None => "not answered yet".to_owned(),
            Some((_, _, Last::Answered(id))) => format!("node {} takes no part in a service yet", id.short()),
            Some((_, _, Last::Stranger(_, why, _) | Last::Failed(_, why))) => why.clone(),
        };
        format!("{address}: {what}")
    };
    let mut evidence = vec!["no node has said yet who belongs to the service".to_owned()];
    evidence.extend(known.places.iter().map(tell));
    Judgement {
        state: State::Unknown,
        primary: None,
        view: None,
        evidence,
        configurations: Vec::new(),
        nodes: Vec::new(),
        claims: Vec::new(),
        astray: BTreeSet::new(),
    }
}

fn evidence(
    judgement: &Judgement,
    known: &Known,
    seen: &BTreeMap<&NodeId, Seen>,
    followed: Option<&NodeId>,
    without_primary: Moment,
) -> Vec<String> {
    let mut out = Vec::new();
    for it in &judgement.configurations {
        let Majority { seqno, nodes, needed, left } = it;
        match left < needed {
            true => out.push(format!(
                "no majority of the configuration of seqno {seqno} can form: {needed} of its {nodes} nodes are needed, {left} are left"
            )),
            false if left < nodes => out.push(format!(
                "{left} of the {nodes} nodes of the configuration of seqno {seqno} are left, {needed} are needed"
            )),
            false => {}
        }
    }
    for node in seen.values() {
        match node.standing {
            Standing::Lost => out.push(node.loss()),
            Standing::Silent => {
                let failure = node.failure.as_deref().unwrap_or("no answer yet");
                out.push(format!("nobody has heard node {} for {:.1} s: {failure}", node.id.short(), node.silent.as_secs_f64()));
            }
            Standing::HeardOf => {
                let by = node.member.hearsay.as_ref().map_or("", |(_, by)| by.short());
                out.push(format!("node {} does not answer here, but node {by} hears it", node.id.short()));
            }
            Standing::Seeks => out.push(format!("node {} has no primary", node.id.short())),
            _ => {}
        }
    }
    if judgement.claims.len() > 1 {
        for claim in &judgement.claims {
            let by: Vec<&str> = claim.by.iter().map(NodeId::short).collect();
            out.push(format!("{} is claimed to lead in view {}, by {}", claim.primary.short(), claim.view, by.join(", ")));
        }
    }
    if let Some(by) = followed {
        out.push(format!("node {} follows a primary that does not answer here: a majority is out of our sight", by.short()));
    }
    if judgement.primary.is_none() && followed.is_none() {
        out.push(format!("no primary for {:.1} s", without_primary.as_secs_f64()));
    }
    let reaches = known.places.values().any(|place| match &place.last {
        Some((_, _, Last::Failed(kind, _))) => kind.is_of_the_node(),
        Some(_) => true,
        None => place.waits.is_some(),
    });
    if judgement.state == State::Unavailable && !reaches {
        out.push(
            "nothing answers at all, not even a machine: the fault may be this machine's network, so no loss is declared (--witness names \
             an address that tells the two apart)"
                .to_owned(),
        );
    }
    for place in known.places.values() {
        if let Some((_, _, Last::Stranger(id, why, _))) = &place.last {
            out.push(format!("somebody else answers as node {}: {why}", id.short()));
        }
    }
    out
}

impl Known {
    /// Keeps what of a judgement the next one needs: since when what lasts.
    pub fn note(&mut self, judgement: &Judgement, now: Moment) {
        if judgement.primary.is_some() {
            self.agreed = Some(now);
        }
        self.divided = (judgement.claims.len() > 1).then(|| self.divided.unwrap_or(now));
        for (id, member) in &mut self.members {
            member.astray = judgement.astray.contains(id).then(|| member.astray.unwrap_or(now));
        }
    }
}

