//! Why something is judged, in sentences.

use std::collections::BTreeMap;

use super::answers::{Failure, NodeId};
use super::clock::Moment;
use super::judgement::{Judgement, Majority, Standing, State};
use super::known::{Known, Last, Place};
use super::seen::Seen;
use crate::shown::date;

/// All that speaks for a judgement.
pub fn evidence(
    judgement: &Judgement,
    known: &Known,
    seen: &BTreeMap<&NodeId, Seen>,
    followed: Option<&NodeId>,
    without_primary: Moment,
) -> Vec<String> {
    let mut out = Vec::new();
    if let Some(kept) = known.recalled
        && known.members.values().all(|member| member.said.is_none())
    {
        out.push(format!(
            "who makes up the service is what an earlier watch kept at {}: nobody has answered this one yet",
            date(kept / 1000)
        ));
    }
    for it in &judgement.configurations {
        let Majority {
            seqno,
            nodes,
            needed,
            left,
        } = it;
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
            Standing::Lost => out.push(loss(node)),
            Standing::Silent => {
                let failure = node.failure.as_deref().unwrap_or("no answer yet");
                out.push(format!(
                    "nobody has heard node {} for {:.1} s: {failure}",
                    node.id.short(),
                    node.silent.as_secs_f64()
                ));
            }
            Standing::HeardOf => {
                let by = node.member.newest_hearsay().map_or("", |(by, _)| by.short());
                out.push(format!(
                    "node {} does not answer here, but node {by} hears it",
                    node.id.short()
                ));
            }
            Standing::Seeks => out.push(format!("node {} has no primary", node.id.short())),
            _ => {}
        }
    }
    if judgement.claims.len() > 1 {
        for claim in &judgement.claims {
            let by: Vec<&str> = claim.by.iter().map(NodeId::short).collect();
            out.push(format!(
                "{} is claimed to lead in view {}, by {}",
                claim.primary.short(),
                claim.view,
                by.join(", ")
            ));
        }
    }
    if let Some(by) = followed {
        out.push(format!(
            "node {} follows a primary that does not answer here: a majority is out of our sight",
            by.short()
        ));
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
    if judgement.state != State::Stable {
        let standing = known.places.values().filter_map(|place| match &place.last {
            Some((_, _, Last::Failed(Failure::Nonsense, why))) => Some(why),
            _ => None,
        });
        out.extend(
            standing
                .take(3)
                .map(|why| format!("{why}; that says nothing of the node")),
        );
    }
    for place in known.places.values() {
        if let Some((_, _, Last::Stranger(id, why, _))) = &place.last {
            out.push(format!("somebody else answers as node {}: {why}", id.short()));
        }
    }
    out
}

/// Why it is lost, in words.
fn loss(node: &Seen) -> String {
    let id = node.id.short();
    let address = node.address.as_deref().unwrap_or("no known address");
    let failure = node.failure.as_deref().unwrap_or("connects, and nothing is answered");
    match node.member.retired {
        Some(_) => format!("node {id} ({address}) answers that it has retired"),
        None if node.member.heard.is_zero() => format!(
            "node {id} ({address}) was heard by an earlier watch at {}, and not since this one began {:.1} s ago: {failure}",
            date(node.member.heard_wall_ms / 1000),
            node.silent.as_secs_f64()
        ),
        None => format!(
            "node {id} ({address}) was last heard {:.1} s ago: {failure}",
            node.silent.as_secs_f64()
        ),
    }
}

/// What came of each address, where nobody has said anything of use yet.
pub fn nothing(known: &Known) -> Vec<String> {
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
    evidence
}
