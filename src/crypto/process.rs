//! Keeps what a process knows inside it: no core dump, no debugger of another user, and memory that is wiped when it is
//! given back.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Whether freed memory is wiped.
static WIPING: AtomicBool = AtomicBool::new(false);

/// From here on the process leaves no core dump, can't be looked into by other processes of its user, and wipes memory that
/// it frees. Called before the first key is read or made; a system that refuses is told of in the log, if there is one.
pub fn keep_memory_private() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        WIPING.store(true, Ordering::Relaxed);
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        if let Err(why) = setrlimit(Resource::Core, none) {
            tracing::warn!("core dumps can't be forbidden: {why}");
        }
        if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!("other processes can't be kept from looking into this one: {why}");
        }
    });
}

/// Whether memory is to be wiped when it is freed: what the program's allocator asks.
#[inline]
pub fn wipes_memory() -> bool {
    WIPING.load(Ordering::Relaxed)
}
