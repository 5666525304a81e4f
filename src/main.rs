//! The `rekindle` command.

#![allow(unsafe_code)] // an allocator can't be written without; each block says why it is sound

use std::alloc::{GlobalAlloc, Layout, System};

use rekindle::crypto::process::wipes_memory;

/// The system's allocator, which wipes what is freed once a command deals with keys: a share goes through buffers of HTTP,
/// TLS, JSON and base64, most of which belong to libraries that know nothing of secrets.
struct Wiping;

/// Larger blocks hold chunks and state; those among them that are secret are wiped by their owners.
const WIPED_UP_TO: usize = 256 << 10;

// SAFETY: every call is handed to the system's allocator with the layout that it was made with.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller answers for the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller answers for the layout.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if wipes_memory() && layout.size() <= WIPED_UP_TO {
            // SAFETY: the block has this size, and nobody uses it any more. The empty `asm!` reads it, as far as the
            // compiler knows, so that the zeros are really written.
            unsafe {
                block.write_bytes(0, layout.size());
                std::arch::asm!("/* {0} */", in(reg) block, options(nostack, preserves_flags));
            }
        }
        // SAFETY: the caller answers for block and layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !wipes_memory() || layout.size() > WIPED_UP_TO {
            // SAFETY: the caller answers for block, layout and size.
            return unsafe { System.realloc(block, layout, new_size) };
        }
        // The system may move the block and leave what was in it behind: it is moved here instead.
        // SAFETY: the caller answers for the size, rounded up to the alignment; both blocks have at least the bytes copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(rekindle::cli::main())
}
