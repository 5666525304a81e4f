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
/// Addresses of one node that are remembered because it answered there.
const MOST_PROVEN: usize = 8;

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
    /// Those of them where it has answered itself. Nobody else's word takes one of them from it.
    pub proven: BTreeSet<String>,
    /// When it answered last, or when it was first heard of.
    pub heard: Moment,
    /// The same on the wall.
    pub heard_wall_ms: u64,
    /// Whether it ever answered.
    pub has_answered: bool,
    /// When others last heard it, by what each of them says.
    pub hearsay: BTreeMap<NodeId, Moment>,
    /// What it said last.
    pub said: Option<Said>,
    /// Since when it follows another primary than most, or none.
    pub astray: Option<Moment>,
    /// Since when it says that its retirement is committed.
    pub retired: Option<Moment>,
    /// Whom it takes for the primary, and since when it does.
    pub takes: Option<(Option<NodeId>, Moment)>,
}

impl Member {
    /// One that was first heard of then.
    pub fn new(at: Moment, wall_ms: u64) -> Member {
        Member {
            addresses: BTreeSet::new(),
            proven: BTreeSet::new(),
            heard: at,
            heard_wall_ms: wall_ms,
            has_answered: false,
            hearsay: BTreeMap::new(),
            said: None,
            astray: None,
            retired: None,
            takes: None,
        }
    }

    /// The last word of life.
    pub fn life(&self) -> Moment {
        self.newest_hearsay().map_or(self.heard, |(_, at)| self.heard.max(at))
    }

    /// Who heard it last, and when.
    pub fn newest_hearsay(&self) -> Option<(&NodeId, Moment)> {
        let all = self.hearsay.iter().map(|(by, at)| (by, *at));
        all.max_by_key(|(_, at)| *at)
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
    /// Who has answered there, of whom it is known.
    pub answered: BTreeSet<NodeId>,
    /// Whether a node answered there again after another one had: what is there leads to several, and says nothing of the end of one.
    pub is_shared: bool,
}

impl Place {
    /// Whether it has denied a node that lived, for so long that it can't have been on its way down or up: an address that means
    /// something else where we are, or one that lets us not in. What it says of that node's end is worth nothing until the node answers there.
    pub fn belies(&self, life: Moment, patience: Duration) -> bool {
        self.denies.is_some_and(|since| life > since + patience)
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
    /// The configurations that were believed last, and whether more than one node has said so.
    pub believed: Believed,
    /// When an earlier watch kept that, in milliseconds since 1970, where this one began with it.
    pub recalled: Option<u64>,
}

/// Who makes up the service, as it was believed last.
#[derive(Clone, Debug, Default)]
pub struct Believed {
    /// Committed one first.
    pub configurations: Vec<Configuration>,
    /// Whether most of several nodes that lived said so: one that says something else does not change it.
    pub is_firm: bool,
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
            believed: Believed::default(),
            recalled: None,
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
                    // A key of somebody, who has said nothing yet.
                    Vouched::ByItsKey if answered.state.is_none() => return,
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
                Last::Answered(id) => {
                    place.denies = None;
                    let again = !place.answered.insert(id.clone());
                    let after = matches!(&place.last, Some((_, _, Last::Answered(before))) if before != id);
                    place.is_shared |= again && after;
                }
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
        if let Some(member) = self.members.get_mut(&id) {
            member.addresses.insert(address.to_owned());
            if member.proven.len() < MOST_PROVEN {
                member.proven.insert(address.to_owned());
            }
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
                let said = Said {
                    asked,
                    at,
                    state,
                    consensus: consensus.clone(),
                    committed,
                };
                let takes = said.claim(&id).map(|(primary, _)| primary);
                if member.takes.as_ref().is_none_or(|(before, _)| *before != takes) {
                    member.takes = Some((takes, at));
                }
                member.said = Some(said);
            }
        }
        // Only those in whom is believed: nobody fills the memory with nodes that he invents.
        self.believed = self.believe(at);
        for id in Known::everybody(&self.believed.configurations) {
            self.learn(&id, at, wall_ms);
        }
        for listed in nodes.into_iter().flatten() {
            if let Some(member) = self.members.get_mut(&listed.id) {
                member.addresses = listed.addresses.into_iter().chain(member.proven.clone()).collect();
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
        self.members
            .entry(id.clone())
            .or_insert_with(|| Member::new(at, wall_ms));
    }

    fn hear_of_others(&mut self, by: &NodeId, at: Moment, consensus: &Consensus) {
        let election = self.settings.election;
        let mut heard = |id: &NodeId, ago: Duration| {
            let when = at.saturating_sub(ago);
            if let Some(member) = self.members.get_mut(id) {
                let before = member.hearsay.entry(by.clone()).or_insert(when);
                *before = when.max(*before);
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

    /// The configurations in which a majority is needed, committed one first; none if nobody said any.
    pub fn configurations(&self, now: Moment) -> Vec<Configuration> {
        self.believe(now).configurations
    }

    /// Who makes up the service, by whoever knows best.
    ///
    /// What is committed never goes back, so the highest wins of those that most of the living say; a majority had to have it before it could be
    /// committed, so that takes one look at each. What one says alone is believed where it contradicts nothing that several have said. Of what is to
    /// come, the living know better than the dead (it may have been rolled back with them), and those who have a primary better than those who
    /// look for one.
    fn believe(&self, now: Moment) -> Believed {
        let patience = self.settings.patience();
        let said = self.members.iter().filter_map(|(id, member)| {
            let said = member.said.as_ref()?;
            let consensus = said.consensus.as_ref()?;
            let list = consensus.configurations.as_slice();
            let claimed = said.claim(id).map(|(_, view)| view);
            let is_alive = now.saturating_sub(member.heard) <= patience;
            let rank = (list.first()?.seqno, is_alive, claimed, list.last()?.seqno, said.at);
            Some((rank, is_alive && !consensus.has_retired, list))
        });
        let said: Vec<_> = said.collect();
        let living = said.iter().filter(|(_, is_alive, _)| *is_alive).count();
        let mut say_so: BTreeMap<(u64, &BTreeSet<NodeId>), usize> = BTreeMap::new();
        for it in said
            .iter()
            .filter(|(_, is_alive, _)| *is_alive)
            .flat_map(|(.., list)| *list)
        {
            *say_so.entry((it.seqno, &it.nodes)).or_default() += 1;
        }
        let by_how_many = |it: &Configuration| say_so.get(&(it.seqno, &it.nodes)).copied().unwrap_or(0);
        let is_by_most = |it: &Configuration| 2 * by_how_many(it) > living;
        let best = |only: &dyn Fn(&Configuration) -> bool| {
            let fitting = said.iter().filter(|(_, _, list)| list.first().is_some_and(only));
            fitting.max_by(|(a, ..), (b, ..)| a.cmp(b)).map(|(.., list)| *list)
        };
        let (list, is_firm) = match best(&is_by_most) {
            Some(list) => {
                let is_said_twice = list.first().is_some_and(|first| by_how_many(first) > 1);
                let was_firm = self.believed.is_firm && self.believed.configurations.first() == list.first();
                (Some(list), is_said_twice || was_firm)
            }
            None if self.believed.is_firm => return self.believed.clone(),
            None => (best(&|_| true), false),
        };
        let Some((first, to_come)) = list.and_then(<[_]>::split_first) else {
            return self.believed.clone();
        };
        let to_come = to_come.iter().filter(|it| living == 0 || is_by_most(it));
        Believed {
            configurations: std::iter::once(first).chain(to_come).cloned().collect(),
            is_firm,
        }
    }

    /// Whether nothing is to be given for what `by` says of another's life: the machine at an address where that one has answered denies it,
    /// and for long another node that lives has known no such primary. One word against two.
    pub fn is_belied(&self, by: &NodeId, about: &Member, now: Moment) -> bool {
        let long = self.settings.patience_in_the_dark();
        if now.saturating_sub(about.heard) <= long || !about.proven.iter().any(|at| self.denies(at, about, now)) {
            return false;
        }
        let Some(Some(primary)) = self.members.get(by).and_then(|it| it.takes.as_ref()).map(|(it, _)| it) else {
            return false;
        };
        self.members.iter().any(|(id, other)| {
            let differs = other
                .takes
                .as_ref()
                .is_some_and(|(takes, since)| takes.as_ref() != Some(primary) && now.saturating_sub(*since) > long);
            id != by && differs && now.saturating_sub(other.heard) <= self.settings.patience()
        })
    }

    /// Whether an address where this node never answered is another's, too: what is or is not there says nothing of this one.
    pub fn is_of_several(&self, address: &str, id: &NodeId, place: &Place) -> bool {
        let is_its_too = |(other, it): (&NodeId, &Member)| other != id && it.addresses.contains(address);
        !place.answered.contains(id) && self.members.iter().any(is_its_too)
    }

    fn denies(&self, address: &str, member: &Member, now: Moment) -> bool {
        let Some(place) = self.places.get(address).filter(|place| !place.is_shared) else {
            return false;
        };
        let waits = place.waits.is_some_and(|(_, connected)| {
            connected > member.heard && now.saturating_sub(connected) > self.settings.connect()
        });
        let denies = place.last.as_ref().is_some_and(|(_, when, last)| match last {
            Last::Failed(kind, _) => *when > member.heard && kind.excludes_the_node(),
            Last::Answered(_) | Last::Stranger(..) => *when > member.heard,
        });
        waits || denies
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
