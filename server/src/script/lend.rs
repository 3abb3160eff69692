//! The running script's host, lent to functions of Lua that outlive it.
//!
//! What Lua calls is made once and lives as long as the interpreter, so it cannot borrow the engine
//! and the client of one run. This is the only place where that borrow is kept without its
//! lifetime; its reason is that a function made for each run cost more than the run.
//!
//! **Invariants.** The pointer is there only within [`Lent::during`], which holds the borrow. Who
//! uses it takes it away meanwhile, so that it is never used twice at a time.
#![allow(unsafe_code)]

use std::cell::Cell;

#[derive(Clone, Copy, Debug)]
struct Host {
    data: *mut (),
    call: unsafe fn(*mut ()),
}

#[derive(Debug, Default)]
pub struct Lent(Cell<Option<Host>>);

/// Ends the loan, also when what it was for panics.
struct End<'a>(&'a Lent);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.revoke();
    }
}

/// # Safety
/// `data` points to an `H` that nobody else uses.
unsafe fn call<H: FnMut()>(data: *mut ()) {
    // SAFETY: as the caller promises.
    unsafe { (*data.cast::<H>())() }
}

impl Lent {
    /// Runs `what`, while [`Self::ask`] reaches `host`.
    pub fn during<H: FnMut(), R>(&self, host: &mut H, what: impl FnOnce() -> R) -> R {
        self.0.set(Some(Host { data: (&raw mut *host).cast(), call: call::<H> }));
        let _end = End(self);
        what()
    }

    /// Calls the host; false if there is none, or if it is at work.
    #[must_use]
    pub fn ask(&self) -> bool {
        let Some(host) = self.0.take() else { return false };
        // SAFETY: `during` of this type holds the borrow until the pointer is gone, and it was
        // taken away, so that nobody else has it.
        unsafe { (host.call)(host.data) };
        self.0.set(Some(host));
        true
    }

    /// The host cannot be reached any more.
    pub fn revoke(&self) {
        self.0.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_reached_only_while_it_is_lent_and_never_twice_at_a_time() {
        let lent = Lent::default();
        assert!(!lent.ask());
        let (mut calls, mut nested) = (0, true);
        let mut host = || {
            calls += 1;
            nested = lent.ask();
        };
        let asked = lent.during(&mut host, || (lent.ask(), lent.ask()));
        assert_eq!((asked, calls, nested), ((true, true), 2, false));
        assert!(!lent.ask());
        assert!(!lent.during(&mut || (), || {
            lent.revoke();
            lent.ask()
        }));
    }
}
