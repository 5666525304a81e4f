//! What has been learned of a service: who belongs to it and where, when each was last heard, by itself or by hearsay, what each says.
//!
//! A word of life is never dated later than it was: a leader says how long ago it heard each node; whoever follows a node heard it within
//! one election time-out, or would stand itself. So a node that we can't reach lives as long as others reach it, and no longer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::{
    Answered, Configuration, Consensus, Failure, Leadership, MOST_NODES, NodeId, Observation, Outcome, Vouched,
};
use super::clock::Moment;
use super::settings::Settings;
use crate::format::TxId;

/// Addresses that are asked at most.
const MOST_PLACES: usize = 1024;

/// What a node said last.
#[derive(Clone, Debug)]
pub struct Said {
    /// When it was asked.
    pub asked: Moment,
    /// When it answered.
    pub at: Moment,
    /// `PartOfNetwork` and others.
    pub state: String,
    /// Of the others, where it takes part.
    pub consensus: Option<Consensus>,
    /// Committed.
    pub committed: Option<TxId>,
}

impl Said {
    /// Whom it takes for the primary, in which view: itself where it leads; nobody where it asks for votes.
    pub fn claim(&self, own: &NodeId) -> Option<(NodeId, u64)> {
        let consensus = self.consensus.as_ref().filter(|it| !it.has_retired)?;
        match consensus.leadership {
            Leadership::Leader => Some((own.clone(), consensus.view)),
            Leadership::Follower => Some((consensus.primary.clone()?, consensus.view)),
            Leadership::Candidate | Leadership::None => None,
        }
    }
}

/// A node of the service.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it is, by what the service says and where it answered.
    pub addresses: BTreeSet<String>,
    /// When it answered last, or when it was first heard of.
    pub heard: Moment,
    /// The same on the wall.
    pub heard_wall_ms: u64,
    /// Whether it ever answered.
    pub has_answered: bool,
    /// When others last heard it, by what they say, and who says so.
    pub hearsay: Option<(Moment, NodeId)>,
    /// What it said last.
    pub said: Option<Said>,
    /// Since when it follows another primary than most, or none.
    pub astray: Option<Moment>,
    /// Since when it says that its retirement is committed.
    pub retired: Option<Moment>,
}

impl Member {
    /// The last word of life.
    pub fn life(&self) -> Moment {
        self.hearsay.as_ref().map_or(self.heard, |(at, _)| self.heard.max(*at))
    }
}

/// The end of the newest look at an address that has ended.
#[derive(Clone, Debug)]
pub enum Last {
    /// A node of the service.
    Answered(NodeId),
    /// Somebody else, who says that it is this node; why it is not believed; and how often its service was recovered.
    Stranger(NodeId, String, Option<u64>),
    /// Nobody.
    Failed(Failure, String),
}

/// An address that is asked.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Whether the operator named it.
    pub is_given: bool,
    /// When the newest look began, when this was known, and what it was.
    pub last: Option<(Moment, Moment, Last)>,
    /// The first look after that one which has got a connection and nothing more yet: when it began, and when it connected.
    pub waits: Option<(Moment, Moment)>,
    /// Since when something there, and nothing but that, has said that no node of the service is there.
    pub denies: Option<Moment>,
}

impl Place {
    /// Whether it has denied a node that lived, for so long that it can't have been on its way down or up: an address that means
    /// something else where we are, or one that lets us not in. What it says of that node's end is worth nothing until the node answers there.
    pub fn belies(&self, member: &Member, patience: Duration) -> bool {
        self.denies.is_some_and(|since| member.life() > since + patience)
    }
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Known {
    settings: Settings,
    /// By id.
    pub members: BTreeMap<NodeId, Member>,
    /// By address.
    pub places: BTreeMap<String, Place>,
    /// When most agreed on a primary last, or when the service was first heard of.
    pub agreed: Option<Moment>,
    /// Since when more than one primary is claimed.
    pub divided: Option<Moment>,
    /// `service_status` as it was heard last.
    pub status: Option<String>,
    /// How often the service was recovered.
    pub recoveries: Option<u64>,
    /// When somebody outside the service, whom the operator named for that, was reached last.
    pub witnessed: Option<Moment>,
}

impl Known {
    /// Nothing but where to ask.
    pub fn new(settings: Settings, given: impl IntoIterator<Item = String>) -> Known {
        let place = Place {
            is_given: true,
            ..Place::default()
        };
        Known {
            settings,
            members: BTreeMap::new(),
            places: given.into_iter().map(|address| (address, place.clone())).collect(),
            agreed: None,
            divided: None,
            status: None,
            recoveries: None,
            witnessed: None,
        }
    }

    /// Takes in what came of a look. Looks at one address may overlap: what was asked later says more.
    pub fn absorb(&mut self, seen: Observation) {
        let last = match seen.outcome {
            Outcome::Connected => return self.connects(&seen.address, seen.asked, seen.at),
            Outcome::Failed(failure, why) => Last::Failed(failure, why),
            Outcome::Answered(answered) => {
                let is_known = self.members.contains_key(&answered.id);
                match &answered.vouched {
                    Vouched::ByService => {}
                    Vouched::ByItsKey if is_known => {}
                    Vouched::ByItsKey => {
                        let why = "a node of its own, which is no part of the service that is watched".to_owned();
                        return self.is_there(
                            &seen.address,
                            seen.asked,
                            seen.at,
                            Last::Stranger(answered.id, why, None),
                        );
                    }
                    Vouched::ByNobody(why) => {
                        let recoveries = answered.network.as_ref().and_then(|network| network.recoveries);
                        let stranger = Last::Stranger(answered.id.clone(), why.clone(), recoveries);
                        return self.is_there(&seen.address, seen.asked, seen.at, stranger);
                    }
                }
                let id = answered.id.clone();
                self.hear(&seen.address, seen.asked, seen.at, seen.wall_ms, *answered);
                Last::Answered(id)
            }
        };
        self.is_there(&seen.address, seen.asked, seen.at, last);
    }

    fn is_there(&mut self, address: &str, asked: Moment, at: Moment, last: Last) {
        if let Some(place) = self.places.get_mut(address)
            && place.last.as_ref().is_none_or(|(before, _, _)| asked >= *before)
        {
            match &last {
                Last::Answered(_) => place.denies = None,
                Last::Failed(failure, _) if !failure.is_of_the_node() => {}
                Last::Failed(..) | Last::Stranger(..) => _ = place.denies.get_or_insert(at),
            }
            place.last = Some((asked, at, last));
            place.waits.take_if(|(began, _)| *began <= asked);
        }
    }

    fn connects(&mut self, address: &str, asked: Moment, at: Moment) {
        if let Some(place) = self.places.get_mut(address)
            && place.last.as_ref().is_none_or(|(before, _, _)| asked > *before)
        {
            place.waits.get_or_insert((asked, at));
        }
    }

    fn hear(&mut self, address: &str, asked: Moment, at: Moment, wall_ms: u64, answered: Answered) {
        let Answered {
            id,
            state,
            consensus,
            network,
            nodes,
            committed,
            ..
        } = answered;
        self.agreed.get_or_insert(at);
        if let Some(network) = network {
            self.status = Some(network.status);
            self.recoveries = network.recoveries.or(self.recoveries);
        }
        self.learn(&id, at, wall_ms);
        for id in consensus
            .iter()
            .flat_map(|it| &it.configurations)
            .flat_map(|it| &it.nodes)
        {
            self.learn(id, at, wall_ms);
        }
        for listed in nodes.into_iter().flatten() {
            if let Some(member) = self.members.get_mut(&listed.id) {
                member.addresses = listed.addresses.into_iter().collect();
            }
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.addresses.insert(address.to_owned());
            member.has_answered = true;
            if at >= member.heard {
                (member.heard, member.heard_wall_ms) = (at, wall_ms);
            }
            if let Some(consensus) = &consensus {
                member.retired = consensus.has_retired.then(|| member.retired.unwrap_or(at));
            }
            if let Some(state) = state
                && member.said.as_ref().is_none_or(|before| asked >= before.asked)
            {
                let committed = committed.or(member.said.as_ref().and_then(|before| before.committed));
                member.said = Some(Said {
                    asked,
                    at,
                    state,
                    consensus: consensus.clone(),
                    committed,
                });
            }
        }
        if let Some(consensus) = consensus {
            self.hear_of_others(&id, at, &consensus);
        }
        self.find_places(at);
    }

    fn learn(&mut self, id: &NodeId, at: Moment, wall_ms: u64) {
        if self.members.len() >= 2 * MOST_NODES {
            return;
        }
        self.members.entry(id.clone()).or_insert_with(|| Member {
            addresses: BTreeSet::new(),
            heard: at,
            heard_wall_ms: wall_ms,
            has_answered: false,
            hearsay: None,
            said: None,
            astray: None,
            retired: None,
        });
    }

    fn hear_of_others(&mut self, by: &NodeId, at: Moment, consensus: &Consensus) {
        let election = self.settings.election;
        let mut heard = |id: &NodeId, ago: Duration| {
            let when = at.saturating_sub(ago);
            if let Some(member) = self.members.get_mut(id)
                && member.hearsay.as_ref().is_none_or(|(before, _)| when > *before)
            {
                member.hearsay = Some((when, by.clone()));
            }
        };
        match (consensus.leadership, &consensus.primary) {
            _ if consensus.has_retired => {}
            // Whoever follows says zeros, which mean nothing.
            (Leadership::Leader, _) => {
                for (id, ms) in &consensus.heard_ms {
                    heard(id, Duration::from_millis(*ms));
                }
            }
            (Leadership::Follower, Some(primary)) => heard(primary, election),
            _ => {}
        }
    }

    /// The configurations in which a majority is needed, committed one first, by whoever knows best; none if nobody said any.
    ///
    /// What is committed never goes back, so the highest wins. Of what is to come, the living know better than the dead (it may have been
    /// rolled back with them), and those who have a primary better than those who look for one.
    pub fn configurations(&self, now: Moment) -> Vec<Configuration> {
        let patience = self.settings.patience();
        let lists = self.members.iter().filter_map(|(id, member)| {
            let said = member.said.as_ref()?;
            let list = &said.consensus.as_ref()?.configurations;
            let claimed = said.claim(id).map(|(_, view)| view);
            let is_alive = now.saturating_sub(member.heard) <= patience;
            Some((
                (list.first()?.seqno, is_alive, claimed, list.last()?.seqno, said.at),
                list,
            ))
        });
        let best = lists.max_by(|(a, _), (b, _)| a.cmp(b));
        best.map(|(_, list)| list.clone()).unwrap_or_default()
    }

    /// Everybody who belongs to a configuration.
    pub fn everybody(configurations: &[Configuration]) -> BTreeSet<NodeId> {
        configurations.iter().flat_map(|it| it.nodes.iter().cloned()).collect()
    }

    /// The addresses to ask: those that were given, and those of everybody who belongs to the service now.
    fn find_places(&mut self, now: Moment) {
        let everybody = Known::everybody(&self.configurations(now));
        let members = &self.members;
        let of_everybody = |address: &String| {
            members
                .iter()
                .any(|(id, it)| everybody.contains(id) && it.addresses.contains(address))
        };
        self.places
            .retain(|address, place| place.is_given || of_everybody(address));
        let wanted = everybody
            .iter()
            .filter_map(|id| self.members.get(id))
            .flat_map(|it| &it.addresses);
        for address in wanted {
            if self.places.len() < MOST_PLACES && !self.places.contains_key(address) {
                self.places.insert(address.clone(), Place::default());
            }
        }
        // Who left is forgotten when it has been silent for long enough to be of no use any more.
        let forget = self.settings.election * 100;
        self.members
            .retain(|id, it| everybody.contains(id) || now.saturating_sub(it.life()) < forget);
    }

    /// Whether everybody who belongs to the service has an address that is asked.
    pub fn knows_where_all_are(&self, now: Moment) -> bool {
        let everybody = Known::everybody(&self.configurations(now));
        !everybody.is_empty()
            && everybody
                .iter()
                .all(|id| self.members.get(id).is_some_and(|member| !member.addresses.is_empty()))
    }
}
