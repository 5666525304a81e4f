//! Files and directories with temporary names, taken away when a signal ends the process.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, Once, PoisonError};

use tokio::signal::unix::{SignalKind, signal};

/// How often a directory is removed that something appears in meanwhile.
const REMOVALS: usize = 100;

static TEMPORARY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn names() -> std::sync::MutexGuard<'static, Vec<PathBuf>> {
    TEMPORARY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for signals from now on, before there is anything to be taken away. Not for processes that handle signals themselves.
pub fn watch_signals() {
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let (watching, is_watching) = channel();
        // Without such a thread, or a runtime in it, a signal ends the process as it always does.
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let _ = thread.spawn(|| watch(watching));
        let _ = is_watching.recv();
    });
}

/// Lets a signal that ends the process take away what is there. As [`watch_signals`].
pub fn remove_if_ended(path: &Path) {
    watch_signals();
    names().push(path.to_owned());
}

/// Gives what is there its own name, by `give`. A signal that comes meanwhile has to wait: it would take parts away from what then
/// looks whole.
///
/// # Errors
/// Whatever `give` answers; it is still taken away then.
pub fn named<T>(path: &Path, give: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let mut names = names();
    let given = give()?;
    names.retain(|other| other != path);
    Ok(given)
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

fn watch(watching: Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
            return;
        };
        let _ = watching.send(());
        let number = tokio::select! {
            _ = interrupt.recv() => libc::SIGINT,
            _ = terminate.recv() => libc::SIGTERM,
            _ = hangup.recv() => libc::SIGHUP,
        };
        // Held to the end: nothing gets its name any more.
        let names = names();
        names.iter().for_each(|path| remove(path));
        std::process::exit(128 + number);
    });
}
