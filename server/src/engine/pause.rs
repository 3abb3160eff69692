//! The pause gate: CLIENT PAUSE and the pause of a switch, which end independently.

/// Which commands a pause holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Writes and commands that may replicate.
    Writes,
    /// Every command but connection and administration ones.
    All,
}

/// Who paused. A user's UNPAUSE does not end the pause of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    User,
    Switch,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    scope: Scope,
    /// On the monotonic clock; `None` has no timer.
    until_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Pause {
    user: Option<Entry>,
    switch: Option<Entry>,
}

impl Pause {
    /// Sets a pause, or replaces the one of the same reason. The caller adds `Timer::Pause`.
    pub fn set(&mut self, reason: Reason, scope: Scope, until_ms: Option<u64>) {
        *self.entry(reason) = Some(Entry { scope, until_ms });
    }

    pub fn end(&mut self, reason: Reason) {
        *self.entry(reason) = None;
    }

    fn entry(&mut self, reason: Reason) -> &mut Option<Entry> {
        match reason {
            Reason::User => &mut self.user,
            Reason::Switch => &mut self.switch,
        }
    }

    /// Ends the pauses whose time is up; true when one ended.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let mut ended = false;
        for entry in [&mut self.user, &mut self.switch] {
            if entry.is_some_and(|entry| entry.until_ms.is_some_and(|until| until <= now_ms)) {
                *entry = None;
                ended = true;
            }
        }
        ended
    }

    /// What is held now.
    #[inline]
    pub fn scope(&self) -> Option<Scope> {
        self.user.map(|entry| entry.scope).max(self.switch.map(|entry| entry.scope))
    }

    pub fn is_set(&self, reason: Reason) -> bool {
        match reason {
            Reason::User => self.user.is_some(),
            Reason::Switch => self.switch.is_some(),
        }
    }

    pub fn until_ms(&self, reason: Reason) -> Option<u64> {
        match reason {
            Reason::User => self.user?.until_ms,
            Reason::Switch => self.switch?.until_ms,
        }
    }
}
