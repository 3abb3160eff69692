//! The pause gate: CLIENT PAUSE and the pause of a switch, which end independently.

/// Which commands a pause holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Writes and commands that may replicate.
    Writes,
    /// Every command but connection and administration ones.
    All,
}

/// Who paused. Each pause ends by itself: a user's UNPAUSE does not end the pause of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    User,
    Switch,
    /// FAILOVER waits for its target.
    Failover,
    /// MIGRATE sends keys that were being changed.
    Transfer,
    /// SHUTDOWN waits for replicas.
    Shutdown,
}

impl Reason {
    const ALL: [Self; REASONS] =
        [Self::User, Self::Switch, Self::Failover, Self::Transfer, Self::Shutdown];
}

const REASONS: usize = 5;

#[derive(Clone, Copy, Debug)]
struct Entry {
    scope: Scope,
    /// On the monotonic clock; `None` has no timer.
    until_ms: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Pause {
    entries: [Option<Entry>; REASONS],
    /// The tightest of them.
    scope: Option<Scope>,
}

impl Pause {
    /// Sets a pause, or replaces the one of the same reason. The caller adds `Timer::Pause`.
    pub fn set(&mut self, reason: Reason, scope: Scope, until_ms: Option<u64>) {
        self.put(reason, Some(Entry { scope, until_ms }));
    }

    pub fn end(&mut self, reason: Reason) {
        self.put(reason, None);
    }

    fn put(&mut self, reason: Reason, entry: Option<Entry>) {
        self.entries[reason as usize] = entry;
        self.scope = self.entries.iter().flatten().map(|entry| entry.scope).max();
    }

    /// Ends the pauses whose time is up; true when one ended.
    pub fn expire(&mut self, now_ms: u64) -> bool {
        let mut ended = false;
        for reason in Reason::ALL {
            if self.until_ms(reason).is_some_and(|until_ms| until_ms <= now_ms) {
                self.end(reason);
                ended = true;
            }
        }
        ended
    }

    /// What is held now.
    #[inline]
    pub fn scope(&self) -> Option<Scope> {
        self.scope
    }

    pub fn is_set(&self, reason: Reason) -> bool {
        self.entries[reason as usize].is_some()
    }

    pub fn until_ms(&self, reason: Reason) -> Option<u64> {
        self.entries[reason as usize]?.until_ms
    }
}
