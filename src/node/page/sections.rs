//! The parts of the page. All text that others chose goes through [`line`] and is escaped.

use maud::{Markup, html};

use super::figures::{moment, number, short};
use super::view::{Listed, Person, Proposal, Shares, View, Vote};
use crate::shown::{excerpt, line};
use crate::tables::values::ServiceStatus;
use crate::web::look::{self, Kind};

/// Their ids and headings.
pub(super) const ALL: [(&str, &str); 6] = [
    ("findings", "Findings"),
    ("identities", "Identities"),
    ("proposals", "Proposals"),
    ("shares", "Recovery shares"),
    ("nodes", "Nodes"),
    ("events", "Last events"),
];

/// Events that are shown.
const MOST_EVENTS: usize = 20;
/// Nodes that heal together, of which as many are shown.
const MOST_HEARD: usize = 40;

/// All of them.
pub(super) fn all(view: &View) -> Markup {
    let contents = [
        look::findings(
            &view.recovery.findings,
            "Nothing is wrong so far.",
            "see the node's log, or verify the ledger with --html.",
        ),
        identities(view),
        proposals(&view.proposals),
        shares(view.shares.as_ref()),
        nodes(view),
        events(view),
    ];
    html! {
        @for ((id, heading), content) in ALL.iter().zip(&contents) { (look::section(id, heading, content)) }
    }
}

fn identities(view: &View) -> Markup {
    let service = view.service.as_ref();
    html! {
        p class="quiet" {
            "Before a member votes, compare the words over the phone with what others see. The digits are the certificate's whole \
             SHA‑256 fingerprint, as openssl prints it."
        }
        div class="identities" {
            div {
                h3 { "Previous service" }
                @if let Some(previous) = &view.previous {
                    (look::fingerprint(previous))
                } @else if service.is_some() {
                    p { "None: this service is not a recovery of another one." }
                } @else {
                    p { "Not known yet." }
                }
            }
            div {
                h3 { "New service" }
                @if let Some(fingerprint) = service.and_then(|service| service.fingerprint.as_ref()) {
                    (look::fingerprint(fingerprint))
                } @else if service.is_some() {
                    p { (look::badge(Kind::Bad, "unreadable")) " The service's certificate can't be read." }
                } @else {
                    p { "Not known yet: it is made when the public ledger is read." }
                }
            }
        }
        @if let Some(service) = service {
            p {
                "Status of the service: " (look::badge(status_kind(service.status), status(service.status)))
                @if let Some(recoveries) = service.recoveries { ", recovered " (times(recoveries)) }
                @if let Some(data) = &service.data { ", " (line(data)) }
            }
        }
    }
}

fn times(times: u64) -> String {
    match times {
        1 => "once".to_owned(),
        _ => format!("{} times", number(times)),
    }
}

fn status(status: ServiceStatus) -> &'static str {
    match status {
        ServiceStatus::Opening => "Opening",
        ServiceStatus::Open => "Open",
        ServiceStatus::WaitingForRecoveryShares => "WaitingForRecoveryShares",
        ServiceStatus::Recovering => "Recovering",
        ServiceStatus::Unknown => "unknown",
    }
}

fn status_kind(status: ServiceStatus) -> Kind {
    match status {
        ServiceStatus::Open => Kind::Good,
        ServiceStatus::Unknown => Kind::Warning,
        ServiceStatus::Opening | ServiceStatus::WaitingForRecoveryShares | ServiceStatus::Recovering => Kind::Now,
    }
}

fn person(person: &Person) -> Markup {
    html! {
        @if let Some(data) = &person.data { (line(data)) " " }
        code title=(line(&person.id)) { (line(short(&person.id))) }
    }
}

/// That there are more than are shown.
fn more<T>(list: &Listed<T>, what: &str) -> Markup {
    let rest = list.all.saturating_sub(list.shown.len());
    html! { @if rest > 0 { p class="quiet" { "and " (number(rest as u64)) " " (what) " more" } } }
}

fn proposals(proposals: &Listed<Proposal>) -> Markup {
    let (earlier, own): (Vec<_>, Vec<_>) = proposals.shown.iter().partition(|proposal| proposal.is_earlier);
    html! {
        @if own.is_empty() { p { "There is no proposal to this service yet." } }
        @for proposal in &own { (self::proposal(proposal)) }
        @if !earlier.is_empty() {
            details {
                summary { "From before this recovery: " (number(earlier.len() as u64)) }
                @for proposal in &earlier { (self::proposal(proposal)) }
            }
        }
        (more(proposals, "older proposals"))
    }
}

fn proposal(proposal: &Proposal) -> Markup {
    let kind = match proposal.state.as_str() {
        "Open" => Kind::Now,
        "Accepted" => Kind::Good,
        "Rejected" | "Failed" => Kind::Bad,
        _ => Kind::Note,
    };
    let votes = proposal.votes.shown.iter().map(|(who, vote)| {
        let (kind, word) = match vote {
            Vote::For => (Kind::Good, "for"),
            Vote::Against => (Kind::Bad, "against"),
            Vote::ByScript => (Kind::Note, "as its script decides"),
        };
        vec![person(who), look::badge(kind, word)]
    });
    let silent = proposal.silent.shown.iter().filter(|_| proposal.is_open);
    let silent = silent.map(|who| vec![person(who), look::badge(Kind::Later, "has not voted")]);
    let rows: Vec<_> = votes.chain(silent).collect();
    html! {
        article class="proposal" {
            h3 {
                @for (place, action) in proposal.actions.shown.iter().enumerate() {
                    @if place > 0 { ", " }
                    (line(action))
                }
                @if proposal.actions.all > proposal.actions.shown.len() { ", …" }
                " " (look::badge(kind, &proposal.state))
            }
            p class="quiet" {
                "Proposal " code title=(line(&proposal.id)) { (line(short(&proposal.id))) } " of " (person(&proposal.proposer))
            }
            @if !rows.is_empty() { (look::table("Who voted what", &["Member", "Vote"], &rows)) }
            (more(&proposal.votes, "votes"))
        }
    }
}

fn shares(shares: Option<&Shares>) -> Markup {
    let Some(shares) = shares else {
        return html! { p { "Not known yet." } };
    };
    let missing = shares.needed.saturating_sub(shares.there);
    html! {
        p {
            @if shares.done {
                (look::badge(Kind::Good, "none needed")) " The service is open."
            } @else if shares.awaited {
                (look::badge(Kind::Now, &format!("{} of {}", shares.there, shares.needed)))
                @if missing > 0 { " " (number(missing)) " more needed." } @else { " Enough." }
            } @else {
                (look::badge(Kind::Later, "not yet")) " " (number(shares.needed)) " of " (number(shares.holders.all as u64))
                " will be needed once members have opened the service."
            }
            @if shares.has_owners && !shares.done { " An owner's share alone is enough." }
        }
        @if shares.awaited {
            (look::bar("Recovery shares", shares.there, shares.needed))
            (look::table("Who holds a share", &["Member", "Share"], &holders(shares)))
            (more(&shares.holders, "members"))
        }
    }
}

fn holders(shares: &Shares) -> Vec<Vec<Markup>> {
    let row = |(who, is_owner, is_there): &(Person, bool, bool)| {
        let state = match is_there {
            true => look::badge(Kind::Good, "submitted"),
            false => look::badge(Kind::Later, "not yet"),
        };
        let who = html! { (person(who)) @if *is_owner { " (owner)" } };
        vec![who, state]
    };
    shares.holders.shown.iter().map(row).collect()
}

fn nodes(view: &View) -> Markup {
    let rows: Vec<_> = view
        .nodes
        .shown
        .iter()
        .map(|node| {
            let kind = match node.status.as_str() {
                "Trusted" => Kind::Good,
                "Pending" => Kind::Now,
                _ => Kind::Note,
            };
            let role = html! {
                @if node.is_primary { (look::badge(Kind::Now, "primary")) }
                @if node.is_own { " this node" }
            };
            let name = html! {
                code title=(line(&node.id)) { (line(short(&node.id))) }
                @if let Some(data) = &node.data { " " (line(data)) }
            };
            vec![
                name,
                look::badge(kind, &node.status),
                role,
                html! { (line(&node.addresses)) },
            ]
        })
        .collect();
    html! {
        @if let Some(agreement) = &view.agreement {
            p {
                "This node " (agreement.role) " in view " (number(agreement.view)) "."
                @if !agreement.missing.shown.is_empty() {
                    " " (look::badge(Kind::Warning, "waiting")) " for "
                    @for (place, node) in agreement.missing.shown.iter().enumerate() {
                        @if place > 0 { ", " }
                        code { (line(short(node))) }
                    }
                    @if agreement.missing.all > agreement.missing.shown.len() { " and " (number((agreement.missing.all - agreement.missing.shown.len()) as u64)) " more" }
                    "."
                }
            }
        }
        @if rows.is_empty() {
            p { "Not known yet." }
        } @else {
            (look::table("Nodes of the service", &["Node", "Status", "Role", "Address"], &rows))
            (more(&view.nodes, "nodes"))
        }
        (healing(view))
        (sealing(view))
    }
}

fn healing(view: &View) -> Markup {
    let Some(healing) = &view.recovery.healing else {
        return html! {};
    };
    let heard: Vec<_> = healing
        .heard
        .iter()
        .take(MOST_HEARD)
        .map(|(node, claim)| vec![html! { (excerpt(node)) }, html! { (excerpt(claim)) }])
        .collect();
    html! {
        h3 { "Self-healing open" }
        p {
            (look::badge(Kind::Now, &healing.stage)) " " (healing.heard.len()) " of " (healing.configured) " nodes heard, "
            (healing.votes.len()) " of " (healing.quorum) " votes for this one."
            @if let Some(chosen) = &healing.chosen { " Chosen: " (line(chosen)) "." }
            @if let Some(why) = &healing.opened_by { " It opens by " (line(why)) "." }
        }
        @if !heard.is_empty() { (look::table("What each node's ledger has", &["Node", "Last signature"], &heard)) }
        @for (node, answer) in healing.answers.iter().take(MOST_HEARD) {
            p { (look::badge(Kind::Warning, "no answer")) " " (excerpt(node)) ": " (excerpt(answer)) }
        }
        @for warning in healing.warnings.iter().take(MOST_HEARD) { p { (look::badge(Kind::Warning, "warning")) " " (excerpt(warning)) } }
    }
}

fn sealing(view: &View) -> Markup {
    let Some(sealing) = &view.recovery.sealing else {
        return html! {};
    };
    html! {
        h3 { "Local sealing" }
        p {
            @if sealing.will_unseal { "This node tries to open the ledger with what it had sealed. " }
            @if sealing.will_seal { "It seals its ledger secrets. " }
            @if let Some(version) = sealing.sealed_version { "Last sealed: version " (number(version)) ". " }
            @if sealing.insecure { (look::badge(Kind::Warning, "insecure")) " The key protects nothing." }
        }
        @if let Some(why) = &sealing.why_no_key { p { (look::badge(Kind::Warning, "no key")) " " (line(why)) } }
        @if let Some(why) = &sealing.fails { p { (look::badge(Kind::Bad, "sealing fails")) " " (line(why)) } }
        @if let Some(report) = &sealing.unsealing {
            p {
                @if let Some(used) = &report.used {
                    (look::badge(Kind::Good, "unsealed")) " with " (line(used)) ": no shares are needed."
                } @else {
                    (look::badge(Kind::Warning, "not unsealed")) " " (line(&report.why_not()))
                }
            }
        }
    }
}

fn events(view: &View) -> Markup {
    html! {
        ol class="lines" aria-label="Newest first" {
            @for event in view.events.iter().take(MOST_EVENTS) {
                li {
                    (moment(event.at)) " " (excerpt(&event.text))
                    @if event.times > 1 { " (" (number(event.times)) " times)" }
                }
            }
        }
    }
}
