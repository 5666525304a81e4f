//! The watch at work: tasks that ask, one that knows and judges. What it thinks is told at every tick, what changed as events.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::answers::{Observation, Outcome, Vouched};
use super::clock::{Clock, Moment, wall_ms};
use super::events::{Changes, Event};
use super::judge::judge;
use super::judgement::Judgement;
use super::known::Known;
use super::memory::Memory;
use super::poll::{Looks, Wanted, fingerprint, pause};
use super::settings::Settings;
use crate::crypto::Certificate;
use crate::error::Result;

/// What is known is kept so often, also where nothing has changed: it says until when it was true.
const KEPT_EVERY: Duration = Duration::from_secs(10);
/// Looks at one address at the same time: a service that answers slowly is heard as often as a fast one.
const LOOKS_AT_ONCE: usize = 4;
/// Connections at the same time, to all addresses.
const MOST_CONNECTIONS: usize = 256;
/// Of so many looks one is thorough, also where nothing seems to have changed.
const THOROUGH_EVERY: u64 = 10;
/// What was seen and not taken in yet.
const MOST_WAITING: usize = 8 * MOST_CONNECTIONS;

/// Whom to watch, and how.
pub struct Plan {
    /// Addresses to begin with.
    pub addresses: Vec<String>,
    /// The service, where the operator has its certificate.
    pub service: Option<Certificate>,
    /// Addresses of others that answer whenever this machine's network works.
    pub witnesses: Vec<String>,
    /// Times.
    pub settings: Settings,
    /// What an earlier watch knew of it.
    pub memory: Option<Memory>,
}

enum Seen {
    Node(Observation),
    Witness(Moment),
}

struct Shared {
    looks: Looks,
    wanted: watch::Sender<Wanted>,
    connections: Semaphore,
    seen: mpsc::Sender<Seen>,
    settings: Settings,
    /// How many addresses are asked.
    places: AtomicUsize,
}

/// Watches until `tell` says that it is enough; it is given what is thought at every tick, and what changed. What an earlier watch would be
/// glad to have known goes to `keep`. Answers what it thought last.
///
/// # Errors
/// Where TLS can't be used at all.
pub async fn watch(
    plan: &Plan,
    mut tell: impl FnMut(&Judgement, &[Event]) -> Result<ControlFlow<()>>,
    mut keep: impl FnMut(Memory),
) -> Result<Judgement> {
    let settings = plan.settings;
    let clock = Arc::new(Mutex::new(Clock::new(Instant::now(), settings.longest_tick())));
    let (wanted, _) = watch::channel(Wanted {
        service: plan.service.clone().map(Arc::new),
        is_thorough: true,
    });
    let (seen, mut sees) = mpsc::channel(MOST_WAITING);
    let shared = Arc::new(Shared {
        looks: Looks::new(settings, Arc::clone(&clock))?,
        wanted,
        connections: Semaphore::new(MOST_CONNECTIONS),
        seen,
        settings,
        places: AtomicUsize::new(plan.addresses.len()),
    });
    let mut known = Known::new(settings, plan.addresses.iter().cloned());
    if let Some(memory) = &plan.memory {
        known.recall(memory);
    }
    let mut kept: Option<(Instant, Memory)> = None;
    let mut asking = Asking::default();
    let _witnesses: Vec<Ends> = plan
        .witnesses
        .iter()
        .map(|address| Ends(tokio::spawn(hear_witness(Arc::clone(&shared), address.clone()))))
        .collect();
    let mut changes = Changes::new(plan.service.as_ref().map(fingerprint));
    let mut ticks = tokio::time::interval(settings.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let slept = clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tick(Instant::now());
        let mut events = Vec::new();
        if let Some(slept) = slept {
            events.push(changes.slept(slept, wall_ms()));
        }
        while let Ok(seen) = sees.try_recv() {
            match seen {
                Seen::Witness(at) => known.witnessed = known.witnessed.max(Some(at)),
                Seen::Node(mut observation) => {
                    events.extend(pin(&shared, &mut changes, &mut observation));
                    known.absorb(observation);
                }
            }
        }
        let now = shared.looks.now();
        asking.keep_to(&known, &shared);
        let needs_more = !known.knows_where_all_are(now);
        shared
            .wanted
            .send_if_modified(|wanted| std::mem::replace(&mut wanted.is_thorough, needs_more) != needs_more);
        let judgement = judge(&known, &settings, now);
        known.note(&judgement, now);
        events.extend(changes.found(&judgement, wall_ms()));
        let service = shared.wanted.borrow().service.clone();
        if let Some(memory) = service.and_then(|service| Memory::of(&known, &service, wall_ms()))
            && kept
                .as_ref()
                .is_none_or(|(when, before)| when.elapsed() >= KEPT_EVERY || !before.is_as(&memory))
        {
            kept = Some((Instant::now(), memory.clone()));
            keep(memory);
        }
        if tell(&judgement, &events)?.is_break() {
            return Ok(judgement);
        }
    }
}

/// Keeps to the first service that answers, where none was given. Here, where one thing is taken in after the other: looks that were
/// under way together have none of them heard of a first one yet.
fn pin(shared: &Shared, changes: &mut Changes, observation: &mut Observation) -> Option<Event> {
    let Outcome::Answered(answered) = &mut observation.outcome else {
        return None;
    };
    let endorser = answered.endorser.take()?;
    let identity = fingerprint(&endorser);
    let first = shared.wanted.borrow().service.clone();
    if let Some(first) = first {
        if first.key() != endorser.key() {
            answered.vouched = Vouched::ByNobody(format!("another service answers, identity {identity}"));
        }
        return None;
    }
    shared
        .wanted
        .send_modify(|wanted| wanted.service = Some(Arc::new(endorser)));
    Some(changes.trusts(&identity, &observation.address, observation.wall_ms))
}

struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is asked now, by address.
#[derive(Default)]
struct Asking {
    tasks: BTreeMap<String, Ends>,
}

impl Asking {
    fn keep_to(&mut self, known: &Known, shared: &Arc<Shared>) {
        shared.places.store(known.places.len(), Ordering::Relaxed);
        self.tasks.retain(|address, _| known.places.contains_key(address));
        for address in known.places.keys() {
            if !self.tasks.contains_key(address) {
                let task = tokio::spawn(ask(Arc::clone(shared), address.clone()));
                self.tasks.insert(address.clone(), Ends(task));
            }
        }
    }
}

/// Asks one address for ever, a few times at once where answers are slow.
async fn ask(shared: Arc<Shared>, address: String) {
    let mut looks = JoinSet::new();
    let mut turn: u64 = 0;
    loop {
        while looks.try_join_next().is_some() {}
        // Those that hang must not keep the connections from those that answer.
        let places = shared.places.load(Ordering::Relaxed).max(1);
        if looks.len() < (MOST_CONNECTIONS / places).clamp(1, LOOKS_AT_ONCE) {
            let (shared, address) = (Arc::clone(&shared), address.clone());
            looks.spawn(async move { look(&shared, &address, turn).await });
            turn = turn.wrapping_add(1);
        }
        tokio::time::sleep(pause(&shared.settings, turn)).await;
    }
}

async fn look(shared: &Shared, address: &str, turn: u64) {
    let Ok(_connection) = shared.connections.acquire().await else {
        return;
    };
    let mut wanted = shared.wanted.borrow().clone();
    wanted.is_thorough |= turn.is_multiple_of(THOROUGH_EVERY) || wanted.service.is_none();
    let tell = |observation: Observation| {
        // Never full: as many connections as there may be end in far fewer words, and they are taken in at every tick.
        let _ = shared.seen.try_send(Seen::Node(observation));
    };
    shared.looks.look(address, &wanted, tell).await;
}

async fn hear_witness(shared: Arc<Shared>, address: String) {
    loop {
        let asked = shared.looks.now();
        if shared.looks.is_there(&address).await && shared.seen.send(Seen::Witness(asked)).await.is_err() {
            return;
        }
        tokio::time::sleep(shared.settings.every).await;
    }
}
