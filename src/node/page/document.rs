//! The page as a document: what is going on, first; then its parts, each in a section of its own.
//!
//! The same document serves those whose browsers run scripts and those whose don't; the script takes over what has changed in it.

use maud::{Markup, html};

use super::figures::{bytes, duration, moment, number, short};
use super::sections;
use super::view::View;
use super::{SCRIPT_PATH, STYLE_PATH};
use crate::node::config::CommandKind;
use crate::node::status::NodeState;
use crate::shown::line;
use crate::tables::values::ServiceStatus;
use crate::web::look::{self, Kind};
use crate::web::page::{Parts, served};

const PARTS: Parts<'static> = Parts {
    style: STYLE_PATH,
    script: SCRIPT_PATH,
    again_s: 5,
};

/// The whole page.
pub fn draw(view: &View) -> String {
    let body = html! {
        p class="quiet" {
            "Rekindle " (env!("CARGO_PKG_VERSION")) ", node " code { (line(short(&view.node))) } ", started " (moment(view.started)) "."
        }
        // The script's own place: what it says of the connection.
        p id="connection" class="connection" role="status" data-own {}
        (now(view))
        nav aria-label="Parts of this page" {
            ul class="jump" {
                @for (id, name) in sections::ALL {
                    li { a href={ "#" (id) } { (name) } }
                }
            }
        }
        (sections::all(view))
        p class="quiet" {
            "This page shows what anybody who reaches this interface may know. It changes nothing, and there is nothing secret in it."
        }
    };
    served(title(view), PARTS, &body)
}

fn title(view: &View) -> &'static str {
    match view.kind {
        CommandKind::Recover => "Recovery of a CCF service",
        CommandKind::Join => "A node joins a CCF service",
        CommandKind::Start => "A CCF service",
    }
}

/// State, in words and as a way with steps, and how far a reading is.
fn now(view: &View) -> Markup {
    let (kind, sentence) = headline(view);
    let reading = view.recovery.reading.as_ref();
    let content = html! {
        p id="headline" class="headline" role="status" { (look::badge(kind, view.state.as_str())) " " (sentence) }
        @if view.stopping {
            p { (look::badge(Kind::Warning, "stopping")) " This node was told to stop." }
        }
        @if let Some(reading) = reading.filter(|reading| reading.total_bytes > 0) {
            (look::bar(&view.recovery.phase, reading.bytes, reading.total_bytes))
            (look::facts(&[
                ("Time left", html! { @if reading.bytes > 0 { (duration(reading.time_left_s)) } @else { "not known yet" } }),
                ("Read", html! { (bytes(reading.bytes)) " of " (bytes(reading.total_bytes)) }),
                ("Rate", html! { (bytes(reading.bytes_per_s)) "/s, " (number(reading.entries_per_s)) " entries/s" }),
                ("Proven to", html! { @if view.recovery.seqno > 0 { "seqno " (number(view.recovery.seqno)) } @else { "not known yet" } }),
            ]))
        }
        ol class="steps" aria-label="The way of this node" { @for step in steps(view) { (step) } }
    };
    look::section("now", "Now", &content)
}

/// What is going on and what comes next, in a sentence. What it says is this program's own.
fn headline(view: &View) -> (Kind, String) {
    let phase = &view.recovery.phase;
    let status = view.service.as_ref().map(|service| service.status);
    let open = view.proposals.shown.iter().filter(|proposal| proposal.is_open).count();
    match view.state {
        NodeState::Uninitialized | NodeState::Initialized => (Kind::Now, format!("Beginning: {phase}.")),
        NodeState::Pending => (
            Kind::Now,
            "This node asks to join the service. Members may have to trust it.".to_owned(),
        ),
        NodeState::ReadingPublicLedger => (Kind::Now, format!("Reading the public ledger: {}.", pass(phase))),
        NodeState::PartOfPublicNetwork if phase != "waiting for members" => (Kind::Now, format!("{phase}.")),
        NodeState::PartOfPublicNetwork => match (status, &view.shares) {
            (Some(ServiceStatus::WaitingForRecoveryShares), Some(shares)) => {
                let (there, needed) = (shares.there, shares.needed);
                (
                    Kind::Now,
                    format!("Waiting for recovery shares: {there} of {needed} are there."),
                )
            }
            _ if open > 0 => (
                Kind::Now,
                "Waiting for the members: a proposal is open for votes.".to_owned(),
            ),
            _ => (
                Kind::Now,
                "Waiting for the members: one proposes to open the service, the others vote.".to_owned(),
            ),
        },
        NodeState::ReadingPrivateLedger => (
            Kind::Now,
            format!(
                "The ledger's secrets are there. Reading the private ledger: {}.",
                pass(phase)
            ),
        ),
        NodeState::PartOfNetwork if phase != "done" => (Kind::Now, format!("The service is open; {phase}.")),
        NodeState::PartOfNetwork if view.users_are_served => (Kind::Good, "The service is open.".to_owned()),
        NodeState::PartOfNetwork => (Kind::Good, "Part of the service.".to_owned()),
    }
}

/// A pass over the ledger, by its name.
fn pass(phase: &str) -> &str {
    match phase {
        "verify" => "every entry and signature is checked",
        "read" => "the state is loaded",
        "private" => "every private entry is decrypted",
        _ => phase,
    }
}

/// The states that a node goes through, by what it was started for.
fn way(kind: CommandKind) -> &'static [(NodeState, &'static str)] {
    use NodeState::{
        Initialized, PartOfNetwork, PartOfPublicNetwork, Pending, ReadingPrivateLedger, ReadingPublicLedger,
        Uninitialized,
    };
    match kind {
        CommandKind::Start => &[
            (Uninitialized, "beginning"),
            (Initialized, "keys are made"),
            (PartOfNetwork, "the service runs"),
        ],
        CommandKind::Join => &[
            (Uninitialized, "beginning"),
            (Initialized, "keys are made"),
            (Pending, "asking to join"),
            (PartOfPublicNetwork, "takes part; members open the service"),
            (ReadingPrivateLedger, "decrypting"),
            (PartOfNetwork, "the service is open"),
        ],
        CommandKind::Recover => &[
            (Uninitialized, "beginning"),
            (Initialized, "keys are made"),
            (ReadingPublicLedger, "proving what is signed"),
            (PartOfPublicNetwork, "members vote, submit shares"),
            (ReadingPrivateLedger, "decrypting"),
            (PartOfNetwork, "the service is open"),
        ],
    }
}

/// The words of a name that is written in one, so that it is broken between them where it does not fit.
fn words(name: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), name);
    while let Some((at, _)) = rest.char_indices().skip(1).find(|(_, c)| c.is_ascii_uppercase()) {
        let (word, after) = rest.split_at(at);
        words.push(word);
        rest = after;
    }
    words.push(rest);
    words
}

fn steps(view: &View) -> Vec<Markup> {
    let way = way(view.kind);
    let here = way.iter().position(|(state, _)| *state == view.state);
    let step = |place: usize, state: NodeState, about: &str| {
        let entered = view.entered.iter().rev().find(|(name, _)| *name == state.as_str());
        let is_end = state == NodeState::PartOfNetwork;
        let (kind, word) = match here.map(|here| place.cmp(&here)) {
            Some(std::cmp::Ordering::Less) => (Kind::Good, "done"),
            Some(std::cmp::Ordering::Equal) if is_end => (Kind::Good, "reached"),
            Some(std::cmp::Ordering::Equal) => (Kind::Now, "now"),
            Some(std::cmp::Ordering::Greater) | None => (Kind::Later, "to come"),
        };
        let current = (kind == Kind::Now).then_some("step");
        html! {
            li class=(kind.class()) aria-current=[current] {
                b { @for word in words(state.as_str()) { (word) wbr; } }
                small {
                    span class="shape" aria-hidden="true" { (kind.shape()) } " " (word) ": " (about)
                    @if let Some((_, at)) = entered.filter(|_| kind != Kind::Later) { ", entered after " (duration(*at)) }
                }
            }
        }
    };
    let steps = way.iter().enumerate();
    steps
        .map(|(place, (state, about))| step(place, *state, about))
        .collect()
}
