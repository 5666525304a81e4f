//! `watch`: is the service stable, and is a recovery needed?

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use super::{Common, output};
use crate::crypto::Certificate;
use crate::error::{Error, Result};
use crate::node::config::parse_time;
use crate::shown::{Show, date, line};
use crate::watch::answers::is_address;
use crate::watch::clock::wall_ms;
use crate::watch::command::Runner;
use crate::watch::events::{Event, What};
use crate::watch::judgement::{Judgement, Node, Standing, State};
use crate::watch::memory::{self, BELIEVED_FOR_MS, Keeper, Memory};
use crate::watch::metrics::{self, Shown};
use crate::watch::poll::fingerprint;
use crate::watch::settings::Settings;
use crate::watch::watcher::{Plan, watch};

/// Watch a living service: is it stable, and is a recovery needed?
///
/// Asks the nodes of a CCF or Rekindle service again and again, beginning with those named; who else belongs to it, it says itself. A
/// recovery is needed when no majority of a current configuration can form: that is declared within two election time-outs of the loss,
/// and taken back if a majority is heard again. Elections, slow answers, expired certificates, sleep of this machine, and nodes that others
/// still reach are no reason.
///
/// Exit code: 0 the service was stable at the end (or --until was reached), 1 it was not, 3 nothing could be learned of it.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Nodes to begin with, such as https://10.0.0.4:8000; one that answers is enough
    #[arg(required = true, value_name = "URL")]
    pub urls: Vec<String>,
    /// The service's certificate [default: keep to the service of whoever answers first, and say so]
    #[arg(long, value_name = "PEM")]
    pub service_certificate: Option<PathBuf>,
    /// How often each node is asked; at most a quarter of the election time-out [default: a fifth of it, and no more than 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub every: Option<Duration>,
    /// `consensus.election_timeout` in the nodes' configuration: they do not tell it. Longer here than there declares later, shorter may
    /// declare what is none
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub election_timeout: Duration,
    /// Run this by /bin/sh on every change of state, one at a time: the event is JSON on its standard input, the state in
    /// REKINDLE_WATCH_STATE, the one before in REKINDLE_WATCH_PREVIOUS
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// How long that may take before it is ended
    #[arg(long, value_name = "TIME", default_value = "1min", value_parser = duration)]
    pub exec_timeout: Duration,
    /// Serve /metrics (for Prometheus) and /watch (JSON) here, in clear text
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Somebody else's HOST:PORT that takes connections whenever this machine's network works: tells a service that has vanished from a
    /// network that is down here
    #[arg(long, value_name = "ADDR")]
    pub witness: Vec<String>,
    /// Keep here who makes up the service, and where: a watch that is started while nobody answers knows what was lost. What is there is read
    /// first; it is believed for a day, and only of the same service
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// End as soon as it is known how the service is
    #[arg(long, conflicts_with = "until")]
    pub once: bool,
    /// End with exit code 0 when the service is in this state (any of several)
    #[arg(long, value_name = "STATE")]
    pub until: Vec<Wanted>,
    /// End after so long
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
}

/// States that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// A majority agrees on a primary.
    Stable,
    /// A majority lives and has no primary yet.
    Election,
    /// Nodes that live follow different primaries.
    Partition,
    /// No primary for long, or no majority heard.
    Unavailable,
    /// No majority can form any more.
    RecoveryNeeded,
    /// Another service, recovered since, answers in its place.
    Replaced,
}

impl Wanted {
    fn is(self, state: State) -> bool {
        let wanted = match self {
            Wanted::Stable => State::Stable,
            Wanted::Election => State::Election,
            Wanted::Partition => State::Partition,
            Wanted::Unavailable => State::Unavailable,
            Wanted::RecoveryNeeded => State::RecoveryNeeded,
            Wanted::Replaced => State::Replaced,
        };
        // Whoever answers in place of a service that is lost can't prove that it comes after it: that must not silence the alarm.
        wanted == state || (self == Wanted::RecoveryNeeded && state == State::Replaced)
    }
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    parse_time(text).ok_or_else(|| "expected a number with us, ms, s, min or h after it, such as 5s".to_owned())
}

/// `host:port` of `https://host:port`.
fn address(url: &str) -> Result<String> {
    let rest = url
        .strip_prefix("https://")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let with_port = rest.map(|rest| match rest.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => rest.to_owned(),
        _ => format!("{rest}:443"),
    });
    with_port
        .filter(|address| is_address(address))
        .ok_or_else(|| Error::Usage(format!("{url:?} is not the URL of a node, expected https://host:port")))
}

/// Runs the command.
///
/// # Errors
/// For arguments that can't be, and where nobody can listen, or write.
pub fn run(args: &Args, common: &Common) -> Result<u8> {
    let usual = (args.election_timeout / 5).min(Duration::from_secs(1));
    let settings = Settings::new(args.every.unwrap_or(usual), args.election_timeout)?;
    let service = args.service_certificate.as_ref().map(|path| {
        let pem = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Certificate::from_pem(&pem)
            .map_err(|why| Error::Unreadable(format!("{} is no certificate: {why}", path.shown())))
    });
    for witness in &args.witness {
        if !is_address(witness) {
            return Err(Error::Usage(format!("--witness {witness:?}: expected HOST:PORT")));
        }
    }
    let (service, memory) = recalled(args, service.transpose()?)?;
    let plan = Plan {
        addresses: args.urls.iter().map(|url| address(url)).collect::<Result<_>>()?,
        service,
        witnesses: args.witness.clone(),
        settings,
        memory,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|why| Error::Unreadable(format!("threads can't be started: {why}")))?;
    let ended = runtime.block_on(watching(args, common, &plan));
    // A name that is still looked up is not waited for.
    runtime.shutdown_background();
    ended
}

/// The service to watch, and what an earlier watch kept of it.
fn recalled(args: &Args, given: Option<Certificate>) -> Result<(Option<Certificate>, Option<Memory>)> {
    let Some(path) = &args.state else {
        return Ok((given, None));
    };
    let Some(memory) = memory::read(path)? else {
        return Ok((given, None));
    };
    let kept = memory.certificate()?;
    if let Some(given) = &given
        && given.key() != kept.key()
    {
        return Err(Error::Usage(format!(
            "{} is of another service, identity {}, than --service-certificate, identity {}: name another file for it",
            path.shown(),
            fingerprint(&kept),
            fingerprint(given)
        )));
    }
    // Either way the clocks disagree about what was true when.
    let is_recent = wall_ms().abs_diff(memory.kept_at_ms) <= BELIEVED_FOR_MS;
    if !is_recent {
        output::notice(&format!(
            "rekindle: {} is of {}: too old to say who makes up the service now\n",
            path.shown(),
            date(memory.kept_at_ms / 1000)
        ));
    }
    Ok((given.or(Some(kept)), is_recent.then_some(memory)))
}

async fn watching(args: &Args, common: &Common, plan: &Plan) -> Result<u8> {
    let shown = Arc::new(Shown::default());
    let _serving = match &args.listen {
        Some(listen) => {
            let (running, bound) = metrics::serve(listen, Arc::clone(&shown)).await?;
            output::notice(&format!("http://{bound}/metrics and http://{bound}/watch are served\n"));
            Some(running)
        }
        None => None,
    };
    let tell = |why: &str| output::notice(&format!("rekindle: {}\n", line(why)));
    let runner = args
        .exec
        .clone()
        .map(|command| Runner::start(command, args.exec_timeout, tell));
    let runner = runner.transpose()?;
    let tell = |why: &str| output::notice(&format!("rekindle: {}\n", line(why)));
    let keeper = args.state.clone().map(|path| Keeper::start(path, tell)).transpose()?;
    let unlistened = |why: std::io::Error| Error::Unreadable(format!("signals can't be waited for: {why}"));
    let mut interrupted = signal(SignalKind::interrupt()).map_err(unlistened)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(unlistened)?;
    let mut screen = Screen::new(common.json)?;
    let began = Instant::now();
    let mut last = State::Unknown;
    let mut why = Vec::new();
    let mut reached = false;
    let longest_once = plan.settings.patience_in_the_dark() + plan.settings.election;
    let judged = |judgement: &Judgement, events: &[Event]| {
        last = judgement.state;
        if last == State::Unknown {
            why.clone_from(&judgement.evidence);
        }
        shown.show(judgement);
        for event in events {
            if let Some(runner) = &runner {
                runner.run_for(event);
            }
            screen.tell(event)?;
        }
        screen.draw(judgement, plan);
        reached = args.until.iter().any(|wanted| wanted.is(judgement.state));
        let is_over = args.duration.is_some_and(|duration| began.elapsed() >= duration);
        let is_clear = matches!(judgement.state, State::Stable | State::RecoveryNeeded | State::Replaced);
        let is_looked = args.once && (is_clear || began.elapsed() > longest_once);
        Ok(match reached || is_over || is_looked {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    let keep = |memory| {
        if let Some(keeper) = &keeper {
            keeper.keep(memory);
        }
    };
    let watched = watch(plan, judged, keep);
    let (ended, was_told) = tokio::select! {
        ended = watched => (ended.map(drop), false),
        _ = interrupted.recv() => (Ok(()), true),
        _ = terminated.recv() => (Ok(()), true),
    };
    // What is to be written yet, and a command that runs, are waited for: another signal ends that as well.
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        std::process::exit(1);
    });
    let written = screen.end(was_told);
    ended?;
    written?;
    if last == State::Unknown {
        // What came of each address is no change of state, and the only help there is.
        let why: Vec<String> = why.iter().map(|why| format!("rekindle: {}\n", line(why))).collect();
        output::notice(&why.concat());
    }
    Ok(match last {
        _ if reached => 0,
        _ if !args.until.is_empty() => 1,
        State::Stable => 0,
        State::Unknown => 3,
        _ => 1,
    })
}

/// Where changes are told, and the table is drawn: by a thread of its own. A terminal that is held (Ctrl-S), or a pipe that nobody reads,
/// would otherwise hold the watch with it, its command and its alarm.
struct Screen {
    says: Option<SyncSender<Say>>,
    thread: Option<JoinHandle<Result<()>>>,
    draws: bool,
    drawn: Option<Instant>,
    unsaid: usize,
}

enum Say {
    Change(Box<Event>),
    Table(String),
}

/// Quicker, and nobody could read it.
const REDRAW: Duration = Duration::from_millis(200);
/// Changes that wait for a reader.
const MOST_UNREAD: usize = 1024;
/// How long is waited for a reader by who was told to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Screen {
    fn new(json: bool) -> Result<Screen> {
        let draws = !json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let (says, hears) = sync_channel(MOST_UNREAD);
        let thread = std::thread::Builder::new().name("screen".to_owned());
        let thread = thread.spawn(move || write(&hears, json, draws));
        let thread =
            thread.map_err(|why| Error::Unreadable(format!("the thread that writes can't be started: {why}")))?;
        Ok(Screen {
            says: Some(says),
            thread: Some(thread),
            draws,
            drawn: None,
            unsaid: 0,
        })
    }

    /// Ends with an error where nothing can be written any more; where it only takes time, it goes on.
    fn tell(&mut self, event: &Event) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.end(false);
        }
        if let Some(says) = &self.says
            && says.try_send(Say::Change(Box::new(event.clone()))).is_err()
        {
            self.unsaid += 1;
        }
        Ok(())
    }

    fn draw(&mut self, judgement: &Judgement, plan: &Plan) {
        if !self.draws || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        self.drawn = Some(Instant::now());
        if let Some(says) = &self.says {
            // One that nobody looks at is no loss.
            let _ = says.try_send(Say::Table(table(judgement, plan)));
        }
    }

    /// Waits until all is written; not for long where it was told to end.
    fn end(&mut self, was_told: bool) -> Result<()> {
        self.says.take();
        let began = Instant::now();
        while was_told && began.elapsed() < LAST_WORDS && self.thread.as_ref().is_some_and(|it| !it.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.unsaid > 0 {
            output::notice(&format!(
                "rekindle: {} changes were not written: nobody read\n",
                self.unsaid
            ));
        }
        match self.thread.take() {
            Some(thread) if !was_told || thread.is_finished() => thread.join().unwrap_or(Ok(())),
            _ => Ok(()),
        }
    }
}

fn write(hears: &Receiver<Say>, json: bool, draws: bool) -> Result<()> {
    let table = draws.then(|| {
        let table = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            table.set_style(style);
        }
        table
    });
    for say in hears {
        match (say, &table) {
            (Say::Change(event), _) if json => output::json(&event)?,
            (Say::Change(event), None) => output::text(&told(&event))?,
            (Say::Change(event), Some(table)) => table.suspend(|| output::text(&told(&event)))?,
            (Say::Table(text), Some(table)) => table.set_message(text),
            (Say::Table(_), None) => {}
        }
    }
    if let Some(table) = &table {
        table.finish();
    }
    Ok(())
}

/// A state for people.
fn words(state: State) -> &'static str {
    match state {
        State::Stable => "stable",
        State::Election => "election: no primary yet",
        State::Partition => "PARTITION: nodes follow different primaries",
        State::Unavailable => "UNAVAILABLE",
        State::RecoveryNeeded => "A RECOVERY IS NEEDED",
        State::Replaced => "REPLACED: another service answers",
        State::Unknown => "unknown",
    }
}

fn told(event: &Event) -> String {
    let text = match &event.what {
        What::State {
            withdrawn, judgement, ..
        } => {
            let back = if *withdrawn {
                ", taken back: a majority is heard again"
            } else {
                ""
            };
            let why: Vec<String> = judgement
                .evidence
                .iter()
                .map(|why| format!("\n    {}", line(why)))
                .collect();
            format!("{}{back}{}", words(event.state), why.concat())
        }
        What::Primary { primary, view } => format!("{} leads in view {view}", primary.short()),
        What::Configuration { seqno, nodes } => {
            let nodes: Vec<&str> = nodes.iter().map(|id| id.short()).collect();
            format!("configuration of seqno {seqno}: {}", nodes.join(", "))
        }
        What::Node {
            id, standing, failure, ..
        } => {
            let why = failure
                .as_ref()
                .map_or(String::new(), |why| format!(" ({})", line(why)));
            match standing {
                Standing::Lost => format!("node {} is lost{why}", id.short()),
                _ => format!("node {} is back", id.short()),
            }
        }
        What::Trusts { address } => format!(
            "no service certificate was given: keeping to the service that {} answers for, identity {}",
            line(address),
            event.service.as_deref().unwrap_or("")
        ),
        What::Slept { slept_ms } => format!(
            "this machine did not run for {:.1} s, which does not count",
            *slept_ms as f64 / 1e3
        ),
    };
    format!("{} {text}\n", clock(event.at_ms))
}

/// A time for people and for logs: RFC 3339, UTC.
fn clock(at_ms: u64) -> String {
    let form = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at_ms) * 1_000_000);
    time.ok()
        .and_then(|time| time.format(form).ok())
        .unwrap_or_else(|| at_ms.to_string())
}

fn table(judgement: &Judgement, plan: &Plan) -> String {
    let mut out = words(judgement.state).to_owned();
    if let (Some(primary), Some(view)) = (&judgement.primary, judgement.view) {
        out.push_str(&format!(", {} leads in view {view}", primary.short()));
    }
    if let Some(service) = &plan.service {
        out.push_str(&format!(", service {}", fingerprint(service).get(..16).unwrap_or("")));
    }
    out.push_str(&format!(
        "\n{:<10}{:<24}{:<10}{:>8}{:>16}{:>10}  {}\n",
        "node", "address", "stands", "view", "committed", "silent", "why"
    ));
    for node in &judgement.nodes {
        out.push_str(&row(node));
    }
    for why in judgement.evidence.iter().take(12) {
        out.push_str(&format!("  {}\n", line(why)));
    }
    out
}

fn row(node: &Node) -> String {
    let stands = match node.standing {
        Standing::Leads => "leads",
        Standing::Follows => "follows",
        Standing::Seeks => "seeks",
        Standing::Outside => "outside",
        Standing::HeardOf => "heard of",
        Standing::Silent => "silent",
        Standing::Lost => "LOST",
    };
    let committed = node.committed.map_or("-".to_owned(), |txid| txid.to_string());
    let view = node.view.map_or("-".to_owned(), |view| view.to_string());
    format!(
        "{:<10}{:<24}{:<10}{view:>8}{committed:>16}{:>9.1}s  {}\n",
        node.id.short(),
        line(node.address.as_deref().unwrap_or("-")),
        stands,
        node.silent_ms as f64 / 1e3,
        line(node.failure.as_deref().unwrap_or("")),
    )
}
