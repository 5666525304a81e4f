//! One node at one moment: how it stands, and whether it is lost. The rules are those of `judge`.

use super::answers::{Failure, Leadership, NodeId};
use super::clock::Moment;
use super::judgement::{Node, Standing};
use super::known::{Known, Last, Member, Place, Said};
use super::settings::Settings;

/// The newest looks at a node's addresses.
fn looks<'a>(known: &'a Known, id: &'a NodeId, member: &'a Member) -> impl Iterator<Item = (&'a String, &'a Place)> {
    let is_its = move |address: &String, place: &Place| {
        member.addresses.contains(address) || matches!(&place.last, Some((_, _, Last::Answered(other))) if other == id)
    };
    known
        .places
        .iter()
        .filter(move |(address, place)| is_its(address, place))
}

/// What is known of one node at one moment.
pub struct Seen<'a> {
    /// Which.
    pub id: &'a NodeId,
    /// All that is known of it.
    pub member: &'a Member,
    /// How it stands.
    pub standing: Standing,
    /// Where it answers, or is said to be.
    pub address: Option<String>,
    /// What came of the last look, where it is not an answer.
    pub failure: Option<String>,
    /// Since its last word of life.
    pub silent: Moment,
    /// Whether it is lost without anything in its place that says so.
    pub is_lost_in_the_dark: bool,
    /// What it said lately; nothing where it is known that it says that no more.
    pub said: Option<&'a Said>,
}

impl<'a> Seen<'a> {
    /// Who is lost is decided here.
    pub fn of(known: &'a Known, settings: &Settings, id: &'a NodeId, member: &'a Member, now: Moment) -> Seen<'a> {
        let believed = member
            .hearsay
            .iter()
            .filter(|(by, _)| !known.is_belied(by, member, now));
        let hearsay = believed.map(|(_, at)| *at).max();
        let life = hearsay.map_or(member.heard, |at| at.max(member.heard));
        let silent = now.saturating_sub(life);
        let (mut address, mut failure, mut in_its_place, mut hangs_up) = (None, None, false, false);
        let (mut answers, mut excluded) = (false, None);
        for (at, place) in looks(known, id, member) {
            address.get_or_insert_with(|| at.clone());
            let is_believed =
                !place.belies(life, settings.patience()) && !place.is_shared && !known.is_of_several(at, id, place);
            if let Some((_, connected)) = place.waits
                && is_believed
                && connected > life
                && now.saturating_sub(connected) > settings.connect()
            {
                in_its_place = true;
                failure.get_or_insert_with(|| "it takes connections, and answers nothing".to_owned());
            }
            let Some((_, when, last)) = &place.last else { continue };
            let words = match last {
                Last::Answered(other) if other == id => {
                    answers = true;
                    address = Some(at.clone());
                    continue;
                }
                Last::Answered(other) => format!("node {} answers there", other.short()),
                Last::Stranger(_, why, _) | Last::Failed(_, why) => why.clone(),
            };
            let excludes = !matches!(last, Last::Failed(kind, _) if !kind.excludes_the_node());
            if excludes && !place.is_shared {
                excluded = excluded.max(Some(*when));
            }
            if *when > life && is_believed {
                in_its_place |= excludes;
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
        // Who never answered us, and lived by what others said, may be where we can't see it.
        let is_in_sight = member.has_answered || hearsay.is_none_or(|at| at <= member.heard);
        let is_lost = match in_its_place {
            true => silent > settings.patience(),
            false => is_in_sight && (we_see || hangs_up) && silent > settings.patience_in_the_dark(),
        };
        let has_retired = member
            .retired
            .is_some_and(|since| now.saturating_sub(since) > settings.patience());
        let fresh = member
            .said
            .as_ref()
            .filter(|said| now.saturating_sub(said.at) <= settings.election)
            .filter(|said| answers || excluded.is_none_or(|when| when <= said.at));
        let standing = match fresh {
            _ if is_lost || has_retired => Standing::Lost,
            Some(said) => match said
                .consensus
                .as_ref()
                .filter(|it| !it.has_retired)
                .map(|it| it.leadership)
            {
                Some(Leadership::Leader) => Standing::Leads,
                Some(Leadership::Follower) if said.claim(id).is_some() => Standing::Follows,
                Some(Leadership::Follower | Leadership::Candidate) => Standing::Seeks,
                Some(Leadership::None) | None => Standing::Outside,
            },
            None if silent <= settings.patience() && hearsay.is_some() => Standing::HeardOf,
            None => Standing::Silent,
        };
        Seen {
            id,
            member,
            standing,
            address,
            failure,
            silent,
            is_lost_in_the_dark: is_lost && !in_its_place,
            said: fresh,
        }
    }

    /// To be shown.
    pub fn shown(&self) -> Node {
        let said = self.member.said.as_ref();
        let hearsay = self.member.newest_hearsay().filter(|(_, at)| *at > self.member.heard);
        let is_hearsay = hearsay.filter(|_| self.standing != Standing::Lost);
        Node {
            id: self.id.clone(),
            address: self.address.clone(),
            standing: self.standing,
            silent_ms: u64::try_from(self.silent.as_millis()).unwrap_or(u64::MAX),
            answered_at_ms: self.member.has_answered.then_some(self.member.heard_wall_ms),
            heard_by: is_hearsay.map(|(by, _)| by.clone()),
            primary: said.and_then(|said| said.claim(self.id)).map(|(primary, _)| primary),
            view: said.and_then(|said| Some(said.consensus.as_ref()?.view)),
            committed: said.and_then(|said| said.committed),
            state: said.map(|said| said.state.clone()),
            failure: self.failure.clone(),
        }
    }
}
