//! The operator's command, run when the state changes: one at a time, bounded in time, and nothing that was heard from outside ever gets
//! into its text. The state is in its environment, the event in JSON on its standard input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::events::{Event, What};
use crate::error::{Error, Result};
use crate::shown;

/// How often it is looked whether it has ended.
const PACE: Duration = Duration::from_millis(20);
/// How long it may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(2);

/// A command that is run for events.
pub struct Runner {
    newest: Arc<Mutex<Option<Event>>>,
    ring: Option<SyncSender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Runner {
    /// Runs `command` with `sh -c`, each time for at most `limit`. What goes wrong with it is told in words.
    ///
    /// # Errors
    /// Where a thread can't be started.
    pub fn start(command: String, limit: Duration, tell: impl Fn(&str) + Send + 'static) -> Result<Runner> {
        let newest = Arc::<Mutex<Option<Event>>>::default();
        let (ring, rings) = sync_channel(1);
        let waits = Arc::clone(&newest);
        let thread = std::thread::Builder::new().name("command".to_owned());
        let thread = thread.spawn(move || serve(&rings, &waits, &command, limit, &tell));
        let thread =
            thread.map_err(|why| Error::Unreadable(format!("the thread of --exec can't be started: {why}")))?;
        Ok(Runner {
            newest,
            ring: Some(ring),
            thread: Some(thread),
        })
    }

    /// Runs it for this change of state, once the one before has ended. Of several that wait only the newest is run.
    pub fn run_for(&self, event: &Event) {
        if !matches!(event.what, What::State { .. }) {
            return;
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        if let Some(ring) = &self.ring
            && let Err(TrySendError::Full(())) = ring.try_send(())
        {
            // It rings already.
        }
    }
}

impl Drop for Runner {
    /// Waits for the one that runs, and the one that waits: the last change is the one that matters.
    fn drop(&mut self) {
        self.ring.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(rings: &Receiver<()>, newest: &Mutex<Option<Event>>, command: &str, limit: Duration, tell: &dyn Fn(&str)) {
    while rings.recv().is_ok() {
        let event = newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(event) = event else { continue };
        match run(command, &event, limit) {
            Ok(status) if status.success() => {}
            Ok(status) => tell(&format!("the command of --exec ended with {status}")),
            Err(why) => tell(&why),
        }
    }
}

fn run(command: &str, event: &Event, limit: Duration) -> std::result::Result<ExitStatus, String> {
    let mut json = serde_json::to_vec(event).map_err(|why| why.to_string())?;
    shown::json(&mut json);
    json.push(b'\n');
    let previous = match &event.what {
        What::State { previous, .. } => previous.map_or("", |state| state.name()),
        _ => "",
    };
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .env("REKINDLE_WATCH_STATE", event.state.name())
        .env("REKINDLE_WATCH_PREVIOUS", previous)
        .env("REKINDLE_WATCH_SERVICE", event.service.as_deref().unwrap_or(""))
        .env("REKINDLE_WATCH_AT_MS", event.at_ms.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|why| format!("the command of --exec can't be started: {why}"))?;
    // By a thread of its own: it need not read.
    if let Some(mut stdin) = child.stdin.take() {
        let writing = std::thread::Builder::new().name("command's input".to_owned());
        let _ = writing.spawn(move || stdin.write_all(&json));
    }
    let status = wait(&mut child, limit).map_err(|why| format!("the command of --exec: {why}"))?;
    status.ok_or_else(|| {
        format!(
            "the command of --exec took longer than {} s, and was ended",
            limit.as_secs_f64()
        )
    })
}

/// Waits for its end; none if it had to be ended, with everything that it started.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut was_asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((!was_asked).then_some(status));
        }
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if began.elapsed() > limit + GRACE {
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            child.wait()?;
            return Ok(None);
        }
        if began.elapsed() > limit && !was_asked {
            was_asked = true;
            let _ = group.map(|group| kill_process_group(group, Signal::TERM));
        }
        std::thread::sleep(PACE);
    }
}
