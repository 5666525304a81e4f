//! Files and directories with temporary names, taken away when a signal ends the process.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

/// How often a directory is removed that something appears in meanwhile.
const REMOVALS: usize = 100;

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn names() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a signal that ends the process take away what is there. Not for processes that handle signals themselves.
pub fn remove_if_ended(path: &Path) {
    static WATCH: Once = Once::new();
    names().push(path.to_owned());
    WATCH.call_once(|| {
        // Without such a thread, or a runtime in it, a signal ends the process as it always does.
        let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    });
}

/// It is finished, or gone already.
pub fn forget(path: &Path) {
    names().retain(|other| other != path);
}

/// Removes a file, or a directory that may be written into until the process has ended.
fn remove(path: &Path) {
    for _ in 0..REMOVALS {
        let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let removed = match is_directory {
            true => std::fs::remove_dir_all(path),
            false => std::fs::remove_file(path),
        };
        if removed.is_ok() || path.symlink_metadata().is_err() {
            return;
        }
    }
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
            remove(path);
        }
        std::process::exit(128 + number);
    });
}
