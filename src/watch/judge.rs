//! What is known, judged: pure, so that every sentence of it has a test. It would rather say too little than cry wolf.
//!
//! - **Recovery needed**: in some current configuration so many nodes are lost that no majority can form. *Lost*: no word of life for
//!   the patience of `settings`, while its machine (or whoever listens at its address now) answers in its place; or for the longer one where
//!   it only hangs up, or where nothing is there, but somebody else does answer us, and nobody has had a primary for as long. Where
//!   nothing at all answers, the fault may be ours.
//! - Held back where a node follows a primary that we can't reach: primaries without a majority step down within an election time-out, and
//!   who followed them stands within another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::{Configuration, NodeId};
use super::clock::Moment;
use super::evidence::{evidence, nothing};
use super::judgement::{Claim, Judgement, Majority, Standing, State};
use super::known::{Known, Last};
use super::seen::Seen;
use super::settings::Settings;

fn is_majority(nodes: usize, of: usize) -> bool {
    2 * nodes > of
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
    let claims = claims(&seen);
    let agreed = agreed(&configurations, &claims, &seen, settings, now);
    let followed_unseen = follows_unseen(known, &seen, now);
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
    let without_primary = now.saturating_sub(known.agreed.unwrap_or(now));
    // Where it takes nodes that may only be out of our sight, others would have to have found no primary for as long.
    let may_be_dark = |id: &&NodeId| is_left(id) || seen.get(id).is_some_and(|it| it.is_lost_in_the_dark);
    let is_sure = configurations
        .iter()
        .any(|it| !is_majority(it.nodes.iter().filter(may_be_dark).count(), it.nodes.len()));
    let cannot_form = judgement.configurations.iter().any(|it| it.left < it.needed)
        && (is_sure || without_primary > settings.patience_in_the_dark());
    let is_heard = |id: &&NodeId| {
        seen.get(id)
            .is_some_and(|it| !matches!(it.standing, Standing::Lost | Standing::Silent))
    };
    let hears_majority = configurations
        .iter()
        .all(|it| is_majority(it.nodes.iter().filter(is_heard).count(), it.nodes.len()));
    let lasts = |since: Option<Moment>| since.is_some_and(|since| now.saturating_sub(since) > settings.patience());
    let strays_for_long = judgement
        .astray
        .iter()
        .any(|id| lasts(known.members.get(id).and_then(|member| member.astray)));
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

fn claims(seen: &BTreeMap<&NodeId, Seen>) -> Vec<Claim> {
    let mut claims: BTreeMap<(u64, NodeId), Vec<NodeId>> = BTreeMap::new();
    for node in seen.values() {
        if let Some((primary, view)) = node.said.and_then(|said| said.claim(node.id)) {
            claims.entry((view, primary)).or_default().push(node.id.clone());
        }
    }
    let claims = claims.into_iter().rev();
    claims
        .map(|((view, primary), by)| Claim { view, primary, by })
        .collect()
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
                let said = leader.said.filter(|_| leader.standing == Standing::Leads);
                if let Some((said, consensus)) = said.and_then(|said| Some((said, said.consensus.as_ref()?))) {
                    let age = now.saturating_sub(said.at);
                    let heard = consensus.heard_ms.iter();
                    let fresh = |ms: u64| age + Duration::from_millis(ms) <= settings.patience();
                    // What a node says itself counts for more than what is said of it.
                    let denies = |id: &NodeId| {
                        let it = seen.get(id);
                        it.is_some_and(|it| {
                            it.standing == Standing::Lost || it.said.is_some() && !claim.by.contains(id)
                        })
                    };
                    let heard = heard.filter(|(id, ms)| fresh(**ms) && !denies(id));
                    support.extend(heard.map(|(id, _)| id));
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
fn follows_unseen<'a>(known: &Known, seen: &BTreeMap<&'a NodeId, Seen<'a>>, now: Moment) -> Option<&'a NodeId> {
    let follower = seen.values().find(|node| {
        let follows = node
            .said
            .and_then(|said| said.claim(node.id))
            .filter(|(primary, _)| primary != node.id);
        let primary = follows.and_then(|(primary, _)| seen.get(&primary));
        let is_unseen = |it: &Seen| it.said.is_none() && !known.is_belied(node.id, it.member, now);
        node.standing == Standing::Follows && primary.is_some_and(is_unseen)
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
        Some((_, _, Last::Stranger(_, why, Some(recoveries)))) if Some(*recoveries) > known.recoveries => {
            Some(why.as_str())
        }
        _ => None,
    })
}

fn nothing_known(known: &Known) -> Judgement {
    Judgement {
        state: State::Unknown,
        primary: None,
        view: None,
        evidence: nothing(known),
        configurations: Vec::new(),
        nodes: Vec::new(),
        claims: Vec::new(),
        astray: BTreeSet::new(),
    }
}

impl Known {
    /// Keeps what of a judgement the next one needs: since when what lasts.
    pub fn note(&mut self, judgement: &Judgement, now: Moment) {
        if judgement.primary.is_some() || judgement.state == State::Stable {
            self.agreed = Some(now);
        }
        self.divided = (judgement.claims.len() > 1).then(|| self.divided.unwrap_or(now));
        for (id, member) in &mut self.members {
            member.astray = judgement.astray.contains(id).then(|| member.astray.unwrap_or(now));
        }
    }
}
