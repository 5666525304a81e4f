//! A progress bar with rate and time left on a terminal, silence otherwise.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::progress::Progress;
use crate::shown::line;

/// Draws on stderr.
#[derive(Default)]
pub struct Bar {
    bar: Mutex<Option<ProgressBar>>,
    entries: AtomicU64,
}

/// The progress for this process: a bar if stderr is a terminal.
pub fn for_terminal() -> Box<dyn Progress> {
    match std::io::stderr().is_terminal() {
        true => Box::new(Bar::default()),
        false => Box::new(crate::report::progress::Silent),
    }
}

const STYLE: &str = "{prefix} {wide_bar} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left";

impl Progress for Bar {
    fn begin(&self, phase: &str, total_bytes: u64) {
        let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        bar.set_prefix(line(phase).into_owned());
        self.entries.store(0, Ordering::Relaxed);
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn advance(&self, bytes: u64, entries: u64) {
        let entries = self.entries.fetch_add(entries, Ordering::Relaxed) + entries;
        if let Ok(slot) = self.bar.lock()
            && let Some(bar) = slot.as_ref()
        {
            bar.inc(bytes);
            // Not all work is on entries.
            if entries > 0 {
                let rate = entries as f64 / bar.elapsed().as_secs_f64().max(1e-3);
                bar.set_message(format!("{:.0} entries/s", rate));
            }
        }
    }

    fn end(&self) {
        if let Ok(mut slot) = self.bar.lock()
            && let Some(bar) = slot.take()
        {
            bar.finish_and_clear();
        }
    }
}
