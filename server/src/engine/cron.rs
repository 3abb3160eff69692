//! What happens ten times a second: expiry, idle connections, memory, health.

use std::time::Duration;

use crate::client::{Client, ClientId, Closing, Duty, Hold};

use super::effects::Timer;
use super::{Engine, hooks};

/// A connection that has not authenticated is ended after this time, in milliseconds.
pub const HANDSHAKE_MS: u64 = 60_000;
/// Timers that may be out of date before they are looked through.
const TIMERS_KEPT: usize = 4096;
/// `maxmemory-clients` is no less than this, in bytes, so that somebody can always speak to the server.
const CLIENTS_MIN_BYTES: u64 = 128 * 1024;
/// Segments of the keyspace that one step of active expiry looks at.
const EXPIRE_SEGMENTS: usize = 16;

impl Engine {
    pub fn cron(&mut self) {
        if self.debug.pauses_cron {
            return;
        }
        self.timed("expire-cycle", Self::expire_some);
        self.end_idle();
        self.bound_tracking();
        self.evict_clients(None);
        self.forget_timers();
        self.look_at_memory();
        self.look_at_tls_files();
        self.speeds.reckon(&self.stats, self.now.mono_ms());
        self.publish_health();
        // For what is logged without the engine at hand.
        crate::log::set_role(hooks::is_replica(self));
    }

    /// Deletes keys whose time is up, and goes on while it finds many.
    fn expire_some(&mut self) {
        if hooks::is_replica(self)
            || self.is_migrating()
            || self.config.import_mode
            || self.debug.keeps_expired
            || self.pause.scope().is_some()
            || !hooks::stream_may_grow(self)
        {
            return;
        }
        for _ in 0..16 {
            let expired = self.keyspace.expire_step(EXPIRE_SEGMENTS);
            self.note_expired();
            self.publish_events(None);
            self.tell_changes(None);
            self.flush_outbox();
            if expired < EXPIRE_SEGMENTS {
                break;
            }
        }
        if self.blocking.has_ready() {
            self.serve_blocked();
        }
    }

    /// Timers of blocked commands that were served long before their deadlines must not pile up.
    fn forget_timers(&mut self) {
        if self.timers.len() < TIMERS_KEPT + 2 * self.clients.len() {
            return;
        }
        let clients = &self.clients;
        self.timers.retain(|deadline_ms, timer| match timer {
            Timer::Blocked(id) => clients
                .get(id)
                .and_then(|client| client.blocked.as_ref())
                .is_some_and(|blocked| blocked.deadline_ms == Some(deadline_ms)),
            _ => true,
        });
    }

    /// Ends connections that are idle beyond `timeout`, or never authenticated.
    fn end_idle(&mut self) {
        let now_ms = self.now.mono_ms();
        let timeout_ms = self.config.timeout_s * 1000;
        let mut ended = Vec::new();
        self.unknown_clients = 0;
        for client in self.clients.iter() {
            if client.duty != Duty::Commands || client.closing != Closing::No {
                continue;
            }
            self.unknown_clients += usize::from(!client.authenticated);
            let unknown = !client.authenticated && now_ms > client.created_ms + HANDSHAKE_MS;
            let idle = timeout_ms > 0
                && client.hold == Hold::None
                && client.subscription_count() == 0
                // The node of its client ends it, or waits for an answer.
                && client.session.is_none()
                && !self.awaits_relay(client.id)
                && now_ms > client.active_ms + timeout_ms;
            if unknown || idle {
                ended.push(client.id);
            }
        }
        for id in ended {
            self.clients.close(id, Closing::AfterOutput);
        }
    }

    /// `maxmemory-clients` in bytes; 0 is no bound.
    pub(super) fn clients_bound(&self) -> u64 {
        let whole = match self.config.maxmemory.0 {
            0 => self.memory.available,
            bytes => bytes,
        };
        match self.config.maxmemory_clients.of(whole) {
            0 => 0,
            bytes => bytes.max(CLIENTS_MIN_BYTES),
        }
    }

    /// Whether a connection by itself takes more than all of them may.
    pub(super) fn is_too_large(&self, client: &Client) -> bool {
        let bound = self.clients_bound();
        bound > 0 && client.evictable_bytes() as u64 > bound
    }

    /// A connection does not read what it was answered: `maxmemory-clients` holds for that at once.
    pub fn count_unread(&mut self, id: ClientId) {
        let bound = self.clients_bound();
        if bound > 0 && self.clients.count(id) > bound {
            self.evict_clients(None);
        }
    }

    /// `maxmemory-clients`: the largest connections end until the others fit, and give back at once
    /// what they hold. `running` is the client whose command is about to run, if it is to count, too.
    pub fn evict_clients(&mut self, mut running: Option<&mut Client>) {
        let bound = self.clients_bound();
        if bound == 0 {
            return;
        }
        let own = running.as_ref().map(|client| (client.evictable_bytes() as u64, client.id));
        let mut total = self.clients.count_all() + own.map_or(0, |(bytes, _)| bytes);
        if total <= bound {
            return;
        }
        let sizes = self.clients.iter().map(|client| (client.counted_bytes, client.id)).chain(own);
        let mut sizes: Vec<(u64, ClientId)> = sizes.filter(|(bytes, _)| *bytes > 0).collect();
        sizes.sort_unstable();
        while total > bound
            && let Some((bytes, id)) = sizes.pop()
        {
            total -= bytes;
            match running.as_deref_mut().filter(|client| client.id == id) {
                Some(client) => client.give_up(),
                None => self.clients.give_up(id),
            }
            self.stats.evicted_clients += 1;
        }
    }

    /// Protected mode: no password, so only this machine is served.
    pub fn is_protected(&self) -> bool {
        self.config.protected_mode && self.acl.users.default_user().needs_no_password()
    }

    fn publish_health(&mut self) {
        let ready = hooks::readiness(self);
        let member = self.member().status(self.member_env());
        let metrics = crate::net::health::Metrics {
            uptime: Duration::from_micros(self.now.mono_us),
            connected_clients: self.clients.len() as u64,
            commands: self.stats.commands,
            connections: self.stats.connections,
            memory_bytes: self.memory.rss,
            keys: (0..self.config.databases).map(|db| self.keyspace.db(db).len() as u64).sum(),
            primary: !hooks::is_replica(self) && member.role != "fenced",
            paused: !member.pause_id.is_empty(),
            limbo: member.role == "limbo",
            fenced: member.role == "fenced",
            draining: member.draining,
            relayed_clients: self.relayed_clients() as u64,
            last_pause: Duration::from_micros(member.pause_us),
        };
        if let Ok(mut health) = self.health.lock() {
            health.ready = ready;
            health.metrics = metrics;
        }
    }
}
