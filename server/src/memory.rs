//! How much memory the process has asked for: the allocator that counts.
//!
//! A block counts with the size that the allocator gives it, not with the one that was asked for.
//! The executing thread counts in a variable of its own, without an atomic operation; every other
//! thread counts in a shared one. So the sum is exact whenever the executing thread asks for it,
//! and no thread that ends takes a part of it along.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait; every method passes its arguments on.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

use mimalloc::MiMalloc;

static SHARED: AtomicI64 = AtomicI64::new(0);

struct Local {
    executing: Cell<bool>,
    bytes: Cell<i64>,
}

thread_local! {
    static LOCAL: Local = const { Local { executing: Cell::new(false), bytes: Cell::new(0) } };
}

/// mimalloc, counted.
pub struct Counting;

/// The calling thread is the one that executes commands and asks how much memory is used.
pub fn this_thread_executes() {
    LOCAL.with(|local| local.executing.set(true));
}

/// Bytes in use by the whole process, as the executing thread sees them; 0 where the program does
/// not use [`Counting`].
pub fn used() -> u64 {
    let own = LOCAL.with(|local| local.bytes.get());
    (SHARED.load(Ordering::Relaxed) + own).max(0) as u64
}

#[inline]
fn count(bytes: i64) {
    LOCAL.with(|local| {
        if local.executing.get() {
            local.bytes.set(local.bytes.get() + bytes);
        } else {
            SHARED.fetch_add(bytes, Ordering::Relaxed);
        }
    });
}

/// The size of the block that the allocator gives for this many bytes: steps of 16 up to 128,
/// then four sizes between two powers of two.
#[inline]
pub const fn block_size(size: usize) -> usize {
    if size <= 8 {
        return 8;
    }
    if size <= 128 {
        return (size + 15) & !15;
    }
    let step = if size > 1 << 23 { 4096 } else { 1 << ((size - 1).ilog2() - 2) };
    size.saturating_add(step - 1) & !(step - 1)
}

// SAFETY: every call goes to mimalloc with the arguments as they came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(block_size(layout.size()) as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(block_size(layout.size()) as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(block_size(layout.size()) as i64));
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(block_size(size) as i64 - block_size(layout.size()) as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}

unsafe extern "C" {
    /// mimalloc's own, which the crate does not show without its extended interface.
    safe fn mi_collect(force: bool);
}

/// Asks the allocator to give unused memory back to the system.
pub fn give_back() {
    mi_collect(true);
}

/// The resident memory of this process; `None` where the system does not tell it so.
pub fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The machine's memory; 0 where the system does not tell it so.
pub fn of_machine() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The memory that this process may use: the machine's, or less where its control group says so; 0
/// where the system tells neither.
pub fn available() -> u64 {
    bounded(of_machine(), |path| std::fs::read_to_string(path).ok())
}

/// As [`available`], of a machine with so much memory and these files. Where there is no bound the
/// first kind of control groups says `max`, the other a number beyond any memory.
fn bounded(machine: u64, read: impl Fn(&str) -> Option<String>) -> u64 {
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let own = number("/sys/fs/cgroup/memory.max")
        .or_else(|| number("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    own.map_or(machine, |own| if machine == 0 { own } else { own.min(machine) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_rounded_as_the_allocator_does() {
        let sizes = [
            (1, 8),
            (8, 8),
            (9, 16),
            (80, 80),
            (81, 96),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (10_240, 10_240),
            (10_241, 12_288),
        ];
        for (asked, given) in sizes {
            assert_eq!(block_size(asked), given, "{asked}");
        }
    }

    #[test]
    fn a_control_group_bounds_what_may_be_used() {
        let check = |machine: u64, files: &[(&str, &str)], expect: u64| {
            let read = |path: &str| {
                let found = files.iter().find(|(name, _)| path.ends_with(name));
                found.map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(bounded(machine, read), expect, "{machine} {files:?}");
        };
        let (new, old) = ("cgroup/memory.max", "memory.limit_in_bytes");
        check(1000, &[], 1000);
        check(1000, &[(new, "500\n")], 500);
        check(1000, &[(new, "max\n")], 1000);
        check(1000, &[(old, "400\n")], 400);
        check(1000, &[(old, "9223372036854771712\n")], 1000);
        check(0, &[(new, "500\n")], 500);
        check(0, &[(new, "max\n")], 0);
    }
}
