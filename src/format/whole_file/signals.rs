//! Files with temporary names, taken away when a signal ends the process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn names() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn remove_if_ended(path: &Path) {
    static WATCH: Once = Once::new();
    names().push(path.to_owned());
    WATCH.call_once(|| {
        // Without such a thread, or a runtime in it, a signal ends the process as it always does.
        let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    });
}

pub(super) fn forget(path: &Path) {
    names().retain(|other| other != path);
}

fn watch() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
            return;
        };
        let number = tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
            _ = hangup.recv() => libc::SIGHUP,
        };
        for path in names().iter() {
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(128 + number);
    });
}
