//! A member whose process was asked to end: a primary waits for the operator's switch and then
//! hands over by itself; whoever serves nobody any more closes its connections.

use super::event::{Effect, Env, Notice, Peer, Reply};
use super::member::{Member, Role};
use super::status::Outcome;

/// How long a primary without a suitable replica waits before it looks again.
const LOOK_AGAIN_US: u64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    /// From here on the primary hands over by itself.
    alone_at_us: u64,
    /// Attempts so far, for their ids.
    tries: u32,
    /// When connections are closed even without RELEASE.
    close_at_us: Option<u64>,
    closed: bool,
}

impl Member {
    pub(super) fn begin_drain(&mut self, env: Env, alone_at_us: u64, out: &mut Vec<Effect>) {
        if self.drain.is_some() {
            return;
        }
        let serves = matches!(self.role, Role::Primary { .. } | Role::Limbo(_));
        self.drain = Some(Drain { alone_at_us, tries: 0, close_at_us: None, closed: !serves });
        if !serves {
            out.push(Effect::CloseClients);
        }
        self.time_of_drain(env, out);
    }

    pub(super) fn drain_deadline_us(&self) -> Option<u64> {
        let drain = self.drain.as_ref()?;
        if drain.close_at_us.is_some() {
            return drain.close_at_us;
        }
        let waits = matches!(self.role, Role::Primary { .. }) && self.pause.is_none();
        waits.then_some(drain.alone_at_us)
    }

    pub(super) fn time_of_drain(&mut self, env: Env, out: &mut Vec<Effect>) {
        let Some(drain) = &mut self.drain else { return };
        if drain.close_at_us.is_some_and(|at| at <= env.now_us) {
            self.close_clients(out);
        } else if matches!(self.role, Role::Primary { .. })
            && self.pause.is_none()
            && drain.alone_at_us <= env.now_us
        {
            drain.alone_at_us = env.now_us.saturating_add(LOOK_AGAIN_US);
            drain.tries += 1;
            let id = format!("drain-{}-{}", self.identity.here.member, drain.tries);
            self.pause_alone(env, id, out);
        }
    }

    /// Begins a switch toward the most advanced replica, without the operator.
    fn pause_alone(&mut self, env: Env, id: String, out: &mut Vec<Effect>) {
        let fits =
            |peer: &&Peer| self.counts(&peer.target.member) && peer.level >= self.identity.level;
        let peers = self.peers.values().filter(fits);
        let best = peers.max_by_key(|peer| peer.acked);
        let Some(to) = best.map(|peer| peer.target.member.clone()) else { return };
        let timeout_us = self.timing.own_pause_us;
        self.begin_pause(env, id, timeout_us, to, out);
        if let Some(pause) = &mut self.pause {
            pause.own = true;
        }
        // A replica that is level already will not acknowledge again.
        self.maybe_level(env, out);
    }

    pub(super) fn hand_over_alone(&mut self, env: Env, out: &mut Vec<Effect>) {
        let Some(pause) = &self.pause else { return };
        let (id, to) = (pause.id.clone(), pause.to.clone());
        let Some(target) = self.peers.get(&to).map(|peer| peer.target.clone()) else { return };
        self.hand_over(env, None, &id, target, out);
    }

    /// The switch is done; RELEASE or the bound closes the connections that are now relayed.
    pub(super) fn start_release(&mut self, env: Env) {
        let bound = env.now_us.saturating_add(self.timing.release_us);
        if let Some(drain) = &mut self.drain
            && !drain.closed
        {
            drain.close_at_us = Some(bound);
        }
    }

    pub(super) fn release(&mut self, id: &str, out: &mut Vec<Effect>) -> Reply {
        if let Some(attempt) = self.attempt_mut(id)
            && attempt.outcome == Outcome::Accepted
            && !attempt.released
        {
            attempt.released = true;
            out.push(Effect::Notify(Notice::Completed));
        }
        if !matches!(self.role, Role::Primary { .. } | Role::Limbo(_)) {
            self.close_clients(out);
        }
        Reply::Ok
    }

    fn close_clients(&mut self, out: &mut Vec<Effect>) {
        if let Some(drain) = &mut self.drain {
            drain.close_at_us = None;
            if !drain.closed {
                drain.closed = true;
                out.push(Effect::CloseClients);
            }
        }
    }
}
