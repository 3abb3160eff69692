//! A process that was asked to end: it goes on serving, hands over, relays, and then ends its
//! connections between commands, so that no client misses an answer.
//!
//! ```text
//! SIGTERM ─ serving (draining=1) ─ switch ─ relaying ─ RELEASE or 2 s ─ closing ─ exit
//! ```
//! A connection is closed some time after RELEASE, and one that comes later, some time after it came:
//! the nodes of a cluster learn one by one that the address leads elsewhere, and a client that is
//! closed before its node knows comes straight back. Closed again at once, it would use up its
//! attempts and tell its user.
//! A connection ends by FIN after its last answer and nothing is executed after that. The
//! listener stays open to the end, since some clients still come by the old address. At
//! `shutdown-timeout` the process ends whatever is left.

use crate::client::{Client, Closing, Duty};
use crate::handover::Event;

use super::super::Engine;
use super::super::effects::{Effect, Timer};

/// The operator has `shutdown-timeout` divided by this for its own switch.
const ALONE_DIVISOR: u64 = 3;
/// A primary that nobody uses and nobody can take over from ends after this time, in milliseconds.
const ALONE_MS: u64 = 2_000;
/// How long the address may go on leading clients here after it was changed.
const SETTLE_MS: u64 = 2_000;
/// The number of the timer that ends the process.
pub(super) const END: u64 = u64::MAX;

/// How far the end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    #[default]
    No,
    /// Asked for; still serving or relaying.
    Draining { since_ms: u64 },
    /// Connections are closed between commands since this time.
    Closing { since_ms: u64 },
    /// All is closed.
    Gone,
}

impl Engine {
    /// SIGTERM at a managed member. Asked again it ends at once.
    pub(crate) fn drain_member(&mut self) {
        if self.rooms.member.ending != Ending::No {
            return self.end_process();
        }
        let now_ms = self.now.mono_ms();
        self.rooms.member.ending = Ending::Draining { since_ms: now_ms };
        let bound_ms = self.config.shutdown_timeout_s.saturating_mul(1000);
        self.timers.at(now_ms.saturating_add(bound_ms), Timer::Handover(END));
        let alone_at_us = self.now.mono_us.saturating_add(bound_ms * 1000 / ALONE_DIVISOR);
        self.member_event(Event::Drain { alone_at_us });
    }

    pub(super) fn begin_closing(&mut self) {
        if matches!(self.rooms.member.ending, Ending::Draining { .. }) {
            self.rooms.member.ending = Ending::Closing { since_ms: self.now.mono_ms() };
        }
    }

    /// Closes what may be closed now; ends the process when nobody is left.
    pub(super) fn closing_turn(&mut self) {
        let since_ms = match self.rooms.member.ending {
            Ending::Closing { since_ms } => since_ms,
            Ending::Draining { since_ms } => return self.end_if_alone(since_ms),
            Ending::No | Ending::Gone => return,
        };
        let now_ms = self.now.mono_ms();
        // Several such times fit into the time that the process has, however short it was set.
        let settle_ms = SETTLE_MS.min(self.config.shutdown_timeout_s.saturating_mul(125));
        let idle: Vec<_> = self
            .clients
            .iter()
            .filter(|client| served(client))
            .filter(|client| client.closing == Closing::No && self.is_between_commands(client))
            .filter(|client| now_ms >= client.created_ms.max(since_ms).saturating_add(settle_ms))
            // One that came since then has not been answered anything yet.
            .filter(|client| client.created_ms < since_ms || client.bytes_in > 0)
            .map(|client| client.id)
            .collect();
        for id in idle {
            self.clients.close(id, Closing::AfterOutput);
        }
        // With input unread, the process's end would be a reset, which may overtake the last answer.
        let ended = self.clients.retired() == 0;
        if ended && self.clients.iter().find(|client| served(client)).is_none() {
            self.end_process();
        }
    }

    fn end_if_alone(&mut self, since_ms: u64) {
        if self.now.mono_ms() >= since_ms.saturating_add(ALONE_MS)
            && !self.member().has_peers()
            && self.clients.iter().find(|client| served(client)).is_none()
        {
            self.end_process();
        }
    }

    pub(super) fn end_process(&mut self) {
        if self.rooms.member.ending != Ending::Gone {
            self.rooms.member.ending = Ending::Gone;
            self.member_event(Event::Resign);
            self.effects.push(Effect::CloseListeners);
            super::super::hooks::exit(self);
        }
    }
}

/// Whether it is a connection of an ordinary client.
fn served(client: &Client) -> bool {
    client.duty == Duty::Commands && !client.is_internal()
}
