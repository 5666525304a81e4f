//! What the page shows of the public tables, read from a state that is held still: bounded, whatever members have written.
//!
//! A ballot is a script. How it votes is known when the proposal is decided, and before only where the whole script is the one that
//! clients write for yes or no.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::view::{Agreement, Listed, NodeLine, Person, Proposal, ServiceLine, Shares, View, Vote};
use crate::consensus::Role as Part;
use crate::crypto::{Certificate, Digest, sha256};
use crate::format::Seqno;
use crate::kv::store::Frozen;
use crate::node::membership::Membership;
use crate::node::shared::Node;
use crate::service::shares::{Role, holders, threshold};
use crate::service::value;
use crate::shown::excerpt;
use crate::tables::json::{Fields, Opaque, from_json};
use crate::tables::names;
use crate::tables::values::{MemberInfo, ServiceInfo, ServiceStatus};

/// Proposals, the newest first.
const MOST_PROPOSALS: usize = 12;
/// Nodes, members, votes.
const MOST_LINES: usize = 40;
/// Actions of a proposal.
const MOST_ACTIONS: usize = 8;
/// A longer record is not looked into.
const MOST_BYTES: usize = 256 << 10;
/// Characters of what somebody has attached.
const DATA: usize = 80;
/// Characters of an id: those of CCF are as long.
const ID: usize = 64;
/// Characters of where a node is reached.
const ADDRESSES: usize = 120;
/// Characters of what is one of a few words in CCF.
const WORD: usize = 24;

/// A ballot that is for or against whatever it is about. No line break is allowed: it would end `return`.
static PLAIN_BALLOT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\s*export function vote ?\((?:[A-Za-z_]+(?:, ?[A-Za-z_]+)*)?\)\s*\{\s*return (true|false);?\s*\}\s*$")
        .ok()
});

/// What is shown now. Takes the state under the lock for as long as it takes to hold it still.
pub fn view_of(node: &Node) -> View {
    let status = &node.status;
    let primary = node.primary().map(|primary| primary.to_string());
    let held = node.read(|store| store.freeze()).0;
    let (service, previous) = service(&held);
    let members = members(&held);
    View {
        node: node.id.clone(),
        kind: node.config.command.kind,
        state: status.state(),
        entered: status.entered(),
        started: status.started(),
        stopping: status.is_stopping(),
        recovery: status.recovery(),
        users_are_served: status.users_are_served(),
        service,
        previous,
        proposals: proposals(&held, &members),
        shares: shares(&held, &members),
        nodes: nodes(&held, primary.as_deref(), &node.id),
        agreement: node.with_membership(agreement),
        events: status.happened.newest_first(),
    }
}

fn agreement(membership: &Membership) -> Agreement {
    Agreement {
        role: match membership.role {
            Part::Leader => "leads",
            Part::Candidate => "stands for election",
            Part::Follower { .. } => "follows",
        },
        view: membership.view,
        missing: Listed::of(
            membership
                .missing()
                .iter()
                .take(MOST_LINES)
                .map(ToString::to_string)
                .collect(),
            membership.missing().len(),
        ),
    }
}

/// The service, and the fingerprint of the one before it.
fn service(state: &Frozen) -> (Option<ServiceLine>, Option<Digest>) {
    let transaction = state.transaction();
    let info: Option<ServiceInfo> = value(&transaction, names::SERVICE_INFO);
    let previous: Option<String> = value(&transaction, names::PREVIOUS_SERVICE_IDENTITY);
    let line = info.map(|info| ServiceLine {
        status: info.status,
        recoveries: info.recovery_count,
        fingerprint: fingerprint(&info.cert),
        data: info.service_data.as_ref().map(attached),
    });
    (line, previous.as_deref().and_then(fingerprint))
}

fn fingerprint(pem: &str) -> Option<Digest> {
    Certificate::from_pem(pem)
        .ok()
        .map(|certificate| sha256(certificate.der()))
}

/// What somebody has attached, as much of it as fits a line.
fn attached(data: &Opaque) -> String {
    let text: Option<String> = data.read();
    cut(text.as_deref().unwrap_or(data.text()), DATA)
}

/// At most so many characters of a text.
fn cut(text: &str, most: usize) -> String {
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    match end < text.len() {
        true => format!("{}…", excerpt(text.get(..end).unwrap_or_default())),
        false => excerpt(text),
    }
}

/// Active members by id.
fn members(state: &Frozen) -> BTreeMap<String, Person> {
    let mut members = BTreeMap::new();
    state.for_each(names::MEMBERS_INFO, |id, info| {
        if let Ok(info) = from_json::<MemberInfo>(info)
            && info.status == "Active"
        {
            let key = String::from_utf8_lossy(id).into_owned();
            let id = cut(&key, ID);
            let data = info
                .other
                .get("member_data")
                .map(attached)
                .filter(|data| data != "null");
            members.insert(key, Person { id, data });
        }
    });
    members
}

fn person(id: &str, members: &BTreeMap<String, Person>) -> Person {
    let unknown = || Person {
        id: cut(id, ID),
        data: None,
    };
    members.get(id).cloned().unwrap_or_else(unknown)
}

/// The newest proposals.
fn proposals(state: &Frozen, members: &BTreeMap<String, Person>) -> Listed<Proposal> {
    let mut written: Vec<(Seqno, Vec<u8>)> = Vec::new();
    state.for_each(names::PROPOSALS_INFO, |id, _| {
        let version = state.get(names::PROPOSALS_INFO, id).map_or(0, |(version, _)| version);
        written.push((version, id.to_vec()));
    });
    written.sort_unstable_by(|one, other| other.cmp(one));
    let all = written.len();
    let shown = written.iter().take(MOST_PROPOSALS);
    let info: Option<ServiceInfo> = value(&state.transaction(), names::SERVICE_INFO);
    let created = info
        .and_then(|info| info.current_service_create_txid)
        .map_or(0, |txid| txid.seqno);
    let read = shown.map(|(version, id)| proposal(state, id, *version < created, members));
    Listed::of(read.collect(), all)
}

fn proposal(state: &Frozen, id: &[u8], is_earlier: bool, members: &BTreeMap<String, Person>) -> Proposal {
    let record = state.get(names::PROPOSALS_INFO, id).map(|(_, value)| value);
    let record: Option<Fields> = record
        .filter(|value| value.len() <= MOST_BYTES)
        .and_then(|value| from_json(value).ok());
    let fields = record.unwrap_or_default();
    let state_name = fields.read("state").unwrap_or_else(|| "unreadable".to_owned());
    let ballots: BTreeMap<String, String> = fields.read("ballots").unwrap_or_default();
    let decided: Option<BTreeMap<String, bool>> = fields.read("final_votes");
    let votes: Vec<(Person, Vote)> = match &decided {
        Some(votes) => votes
            .iter()
            .map(|(id, vote)| (person(id, members), Vote::of(*vote)))
            .collect(),
        None => ballots
            .iter()
            .map(|(id, script)| (person(id, members), plain(script)))
            .collect(),
    };
    let has_voted = |id: &String| {
        let decided = decided.as_ref().is_some_and(|votes| votes.contains_key(id));
        decided || ballots.contains_key(id)
    };
    let silent = members.iter().filter(|(id, _)| !has_voted(id));
    let (silent, votes_there) = (silent.map(|(_, member)| member).collect::<Vec<_>>(), votes.len());
    let silent_there = silent.len();
    Proposal {
        id: cut(&String::from_utf8_lossy(id), ID),
        proposer: person(&fields.read::<String>("proposer_id").unwrap_or_default(), members),
        is_open: state_name == "Open" && !is_earlier,
        is_earlier,
        state: cut(&state_name, WORD),
        actions: actions(state, id),
        votes: Listed::of(votes.into_iter().take(MOST_LINES).collect(), votes_there),
        silent: Listed::of(silent.into_iter().take(MOST_LINES).cloned().collect(), silent_there),
    }
}

/// How a ballot votes, where that is plain.
fn plain(script: &str) -> Vote {
    let found = PLAIN_BALLOT.as_ref().and_then(|pattern| pattern.captures(script));
    match found.and_then(|found| found.get(1)).map(|found| found.as_str()) {
        Some("true") => Vote::For,
        Some("false") => Vote::Against,
        _ => Vote::ByScript,
    }
}

/// Names of what a proposal would do.
fn actions(state: &Frozen, id: &[u8]) -> Listed<String> {
    let Some((_, text)) = state.get(names::PROPOSALS, id) else {
        return Listed::of(Vec::new(), 0);
    };
    if text.len() > MOST_BYTES {
        return Listed::of(vec![format!("a proposal of {} KiB", text.len() >> 10)], 1);
    }
    let fields: Fields = from_json(text).unwrap_or_default();
    let actions: Vec<Fields> = fields.read("actions").unwrap_or_default();
    let name = |action: &Fields| cut(&action.read::<String>("name").unwrap_or_default(), DATA);
    let shown = actions.iter().take(MOST_ACTIONS).map(name).collect();
    Listed::of(shown, actions.len())
}

/// Shares that are there and those that are needed.
fn shares(state: &Frozen, members: &BTreeMap<String, Person>) -> Option<Shares> {
    let transaction = state.transaction();
    let info: ServiceInfo = value(&transaction, names::SERVICE_INFO)?;
    let submitted = |id: &str| state.get(names::ENCRYPTED_SUBMITTED_SHARES, id.as_bytes()).is_some();
    let all = holders(&transaction);
    let owners = all.iter().filter(|holder| holder.role == Role::Owner).count();
    let lines: Vec<_> = all
        .iter()
        .map(|holder| {
            let is_owner = holder.role == Role::Owner;
            (person(&holder.id, members), is_owner, submitted(&holder.id))
        })
        .collect();
    Some(Shares {
        awaited: info.status == ServiceStatus::WaitingForRecoveryShares,
        done: info.status == ServiceStatus::Open,
        needed: threshold(&transaction).unwrap_or(1),
        there: lines.iter().filter(|(_, _, submitted)| *submitted).count() as u64,
        has_owners: owners > 0,
        holders: Listed::of(lines.into_iter().take(MOST_LINES).collect(), all.len()),
    })
}

/// The nodes of the service.
fn nodes(state: &Frozen, primary: Option<&str>, own: &str) -> Listed<NodeLine> {
    let mut nodes = Vec::new();
    state.for_each(names::NODES_INFO, |id, info| {
        let id = String::from_utf8_lossy(id).into_owned();
        let fields: Fields = from_json(info).unwrap_or_default();
        nodes.push(NodeLine {
            status: cut(fields.read::<String>("status").as_deref().unwrap_or("unreadable"), WORD),
            is_primary: primary == Some(id.as_str()),
            is_own: own == id,
            addresses: addresses(&fields),
            data: fields.get("node_data").map(attached).filter(|data| data != "null"),
            id: cut(&id, ID),
        });
    });
    // This one first, then those that take part, then those that have gone.
    nodes.sort_by_key(|node| {
        (
            !node.is_own,
            !node.is_primary,
            node.status != "Trusted",
            node.id.clone(),
        )
    });
    let all = nodes.len();
    nodes.truncate(MOST_LINES);
    Listed::of(nodes, all)
}

fn addresses(fields: &Fields) -> String {
    let interfaces: BTreeMap<String, Fields> = fields.read("rpc_interfaces").unwrap_or_default();
    let published = interfaces
        .values()
        .take(4)
        .filter_map(|it| it.read::<String>("published_address"));
    cut(&published.collect::<Vec<_>>().join(", "), ADDRESSES)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;
    use crate::format::domain::WriteSet;
    use crate::kv::store::Store;
    use crate::member::governance::{ACCEPT, REJECT};
    use crate::node::config::CommandKind;
    use crate::node::happened::Event;
    use crate::node::page::draw;
    use crate::node::status::{NodeState, Status};
    use crate::report::{Code, Finding};

    /// Everything that others write is long, of marks that change what is around them, and there are thousands of each.
    #[test]
    fn whatever_the_state_holds_the_page_is_bounded_and_text() {
        let hostile = "\u{202e}\u{1b}[2J</code><script>\"é".repeat(120);
        const KEY: &str = "\0\0\0\0\0\0\0\0";
        let mut writes = WriteSet::default();
        let mut put = |map: &str, key: &str, value: serde_json::Value| writes.put(map, key, value.to_string());
        put(
            names::SERVICE_INFO,
            KEY,
            json!({"cert": hostile, "status": "WaitingForRecoveryShares", "service_data": hostile}),
        );
        put(names::SERVICE_CONFIG, KEY, json!({"recovery_threshold": u64::MAX}));
        let id = |number: usize| format!("{number:04}{hostile}");
        for number in 0..1500 {
            let data = if number == 7 {
                "<b>".repeat(1 << 20)
            } else {
                hostile.clone()
            };
            put(
                names::MEMBERS_INFO,
                &id(number),
                json!({"status": "Active", "member_data": {"name": data}}),
            );
            put(names::MEMBERS_ENCRYPTION_PUBLIC_KEYS, &id(number), json!("x"));
            put(
                names::NODES_INFO,
                &id(number),
                json!({"status": hostile, "node_data": hostile, "rpc_interfaces": {&hostile: {"published_address": hostile}}}),
            );
        }
        for number in 0..100 {
            let ballots: BTreeMap<String, &str> = (0..60).map(|voter| (id(voter), "export function vote")).collect();
            put(
                names::PROPOSALS_INFO,
                &id(number),
                json!({"state": "Open", "proposer_id": hostile, "ballots": ballots}),
            );
            put(
                names::PROPOSALS,
                &id(number),
                json!({"actions": vec![json!({"name": hostile}); 90]}),
            );
        }
        let mut store = Store::default();
        store.take(5, writes);
        let held = store.freeze();
        let members = members(&held);
        let status = Status::default();
        status.find(&vec![
            Finding::new(Code::EntryDiffers, hostile.repeat(50))
                .next(hostile.repeat(50));
            200
        ]);
        let (service, previous) = service(&held);
        let view = View {
            node: hostile.clone(),
            kind: CommandKind::Recover,
            state: NodeState::PartOfPublicNetwork,
            entered: status.entered(),
            started: SystemTime::now(),
            stopping: false,
            recovery: status.recovery(),
            users_are_served: false,
            service,
            previous,
            proposals: proposals(&held, &members),
            shares: shares(&held, &members),
            nodes: nodes(&held, None, ""),
            agreement: None,
            events: vec![
                Event {
                    at: SystemTime::now(),
                    text: hostile.repeat(50),
                    times: 1
                };
                40
            ],
        };
        let page = draw(&view);
        assert!(page.len() < 1_500_000, "{}", page.len());
        assert!(!page.contains("<script>") && !page.contains(['\u{202e}', '\u{1b}']));
        for said in [
            "1 460 nodes more",
            "1 460 members more",
            "88 older proposals more",
            "20 votes more",
        ] {
            assert!(page.contains(&said.replacen("1 460", "1\u{a0}460", 1)), "{said}");
        }
    }

    #[test]
    fn only_a_script_that_says_nothing_else_is_a_plain_vote() {
        for (script, vote) in [
            (ACCEPT, Vote::For),
            (REJECT, Vote::Against),
            (
                "export function vote(proposal, proposer_id) {\n  return true;\n}\n",
                Vote::For,
            ),
            ("export function vote() { return false }", Vote::Against),
            ("export function vote (p, q) { return\ntrue }", Vote::ByScript),
            (
                "export function vote (p, q) { return true && p.length < 9 }",
                Vote::ByScript,
            ),
            ("export function vote (p, q) { return true } // no", Vote::ByScript),
            ("/* export function vote (p, q) { return true } */", Vote::ByScript),
            ("", Vote::ByScript),
        ] {
            assert_eq!(plain(script), vote, "{script}");
        }
    }

    #[test]
    fn what_is_attached_is_one_short_line() {
        let data = |text: &str| from_json::<Opaque>(text.as_bytes()).unwrap();
        assert_eq!(attached(&data("\"Contoso\"")), "Contoso");
        assert_eq!(attached(&data("{\"name\":1}")), "{\"name\":1}");
        let long = attached(&data(&format!("\"{}\"", "\u{202e}é".repeat(10_000))));
        assert!(long.len() < 1000 && long.ends_with('…') && !long.contains('\u{202e}'));
    }
}
