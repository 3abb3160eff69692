//! The users' own pause, `CLIENT PAUSE`, with the rules of Valkey.

/// What a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseKind {
    /// Writes and what may be replicated.
    Write,
    /// Every command.
    All,
}

/// At most one pause by users at a time. A further one only lengthens it, and only makes it
/// stricter; `CLIENT UNPAUSE` ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserPause {
    active: Option<(PauseKind, u64)>,
}

impl UserPause {
    /// `until_us` is on the caller's monotonic clock.
    pub fn begin(&mut self, kind: PauseKind, now_us: u64, until_us: u64) {
        let (kind, until_us) = match self.at(now_us) {
            Some((old, end)) => (kind.max(old), until_us.max(end)),
            None => (kind, until_us),
        };
        self.active = Some((kind, until_us));
    }

    pub fn end(&mut self) {
        self.active = None;
    }

    /// What is held back now, and until when.
    pub fn at(&self, now_us: u64) -> Option<(PauseKind, u64)> {
        self.active.filter(|(_, until)| now_us < *until)
    }

    /// When the pause ends by itself, whether or not that moment has passed unseen.
    pub fn deadline_us(&self) -> Option<u64> {
        self.active.map(|(_, until)| until)
    }
}
