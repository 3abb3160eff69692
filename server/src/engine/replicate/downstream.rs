//! Serving replicas.

use crate::client::{Client, ClientId, Closing, Duty};
use crate::persistence::rdb;
use crate::replication::{MemberLink, Replica, Stage, Sync};
use crate::resp::CommandError;

use super::super::effects::Timer;
use super::super::member::{LEASE_PING_MS, SIGN_OF_LIFE_MS};
use super::super::{Engine, hooks};
use super::new_id;

/// Something that a replica says of itself before it asks for the stream.
#[derive(Debug)]
pub enum Introduced {
    Port(u16),
    Host(String),
    Eof,
    Psync2,
    Scripts,
    RdbOnly(bool),
    /// The version of Valkey that it is like.
    Version(String),
    /// Clients can be relayed to it.
    Relays,
    /// The greatest level of a stream that it takes.
    Level(u32),
    Member(MemberLink),
}

/// Why a replica is dropped that lost its place in the stream.
const TOO_FAR_BEHIND: &str = "it is behind by more than the hard limit of client-output-buffer-limit \
                              replica allows";

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl Engine {
    /// `REPLCONF` with facts about the replica.
    pub fn replica_introduces(&mut self, client: &Client, what: Introduced) {
        let now_ms = self.now.mono_ms();
        let replica = self.rooms.replication.state.replicas.entry(client.id, now_ms);
        match what {
            Introduced::Port(port) => replica.port = port,
            Introduced::Host(host) => replica.host = host,
            Introduced::Eof => replica.eof = true,
            Introduced::Psync2 => replica.psync2 = true,
            Introduced::Relays => replica.relays = true,
            Introduced::Level(level) => replica.level = level,
            Introduced::Scripts => replica.scripts = true,
            Introduced::RdbOnly(only) => replica.rdb_only = only,
            Introduced::Version(version) => replica.version = Some(version),
            Introduced::Member(member) => replica.member = Some(member),
        }
    }

    /// `PSYNC id next`, or `SYNC` without arguments.
    pub fn replica_asks(
        &mut self,
        client: &mut Client,
        ask: Option<(&[u8], i64)>,
    ) -> Result<(), CommandError> {
        if client.duty == Duty::Replica {
            return Ok(());
        }
        let now_ms = self.now.mono_ms();
        let state = &mut self.rooms.replication.state;
        if state.detached {
            return Err("NOMASTERLINK this member is fenced and serves no stream".into());
        }
        if state.link.as_ref().is_some_and(|link| !link.is_streaming()) {
            return Err("NOMASTERLINK Can't SYNC while not connected with my master".into());
        }
        if !client.out.is_empty() {
            return Err("ERR SYNC and PSYNC are invalid with pending output".into());
        }
        state.activate(new_id());
        let replica = state.replicas.entry(client.id, now_ms);
        if replica.host.is_empty()
            && let Some(peer) = client.peer
        {
            replica.host = peer.ip().to_canonical().to_string();
        }
        client.duty = Duty::Replica;
        let psync2 = replica.psync2;
        if let Some((id, next)) = ask
            && let Sync::Continue(id) = state.decide(id, next)
        {
            let line = if psync2 { format!("+CONTINUE {id}\r\n") } else { "+CONTINUE\r\n".into() };
            client.reply().raw(line.as_bytes());
            let have = u64::try_from(next - 1).expect("what continues is no negative offset");
            state.go_on(client.id, have, now_ms);
            self.replica_up(client.id);
            return Ok(());
        }
        let replica = state.replicas.entry(client.id, now_ms);
        replica.stage = Stage::WaitSnapshot;
        replica.bare = ask.is_none();
        Ok(())
    }

    /// The data need a snapshot of Valkey 9.0's version: those that wait for one and cannot read it
    /// are told so, instead of being sent what they give up in the middle of, again and again. To this
    /// code stock replicas ask again after a second; to any other at once, without end.
    pub(super) fn refuse_unable(&mut self) {
        let unable = |r: &Replica| r.stage == Stage::WaitSnapshot && !r.takes_field_times();
        let replicas = &mut self.rooms.replication.state.replicas;
        if !replicas.iter().any(unable) || !self.keyspace.has_expiring_fields() {
            return;
        }
        let mut refused = Vec::new();
        for replica in replicas.iter_mut().filter(|r| unable(r)) {
            replica.stage = Stage::Introduced;
            let version = replica.version.as_deref().unwrap_or("which it does not tell");
            let why = format!(
                "fields of hashes have expiry times, which only an RDB of version VALKEY{:03} holds; \
                 a replica of this version ({}) does not read it: take one of Valkey 9.0 or \
                 later, or remove those times (HPERSIST)",
                rdb::VALKEY_VERSION,
                version.escape_default(),
            );
            refused.push((replica.client, format!("{}:{}", replica.host, replica.port), why));
        }
        for (id, place, why) in refused {
            hooks::warn(self, &format!("the replica {place} is refused a full resync: {why}"));
            if let Some(client) = self.clients.get_mut(id) {
                client.reply().error(&format!("NOMASTERLINK {why}").into());
            }
            self.clients.close(id, Closing::AfterOutput);
        }
    }

    /// `REPLCONF ACK offset [FACK durable [KEPT offset]]`.
    pub fn replica_acknowledges(
        &mut self,
        client: ClientId,
        offset: u64,
        (durable, kept): (Option<u64>, Option<u64>),
    ) {
        let now_ms = self.now.mono_ms();
        let state = &mut self.rooms.replication.state;
        let mut flushed = durable.is_some_and(|durable| state.acknowledge_durable(client, durable));
        flushed |= kept.is_some_and(|kept| state.acknowledge_kept(client, kept));
        let loading = state.replicas.get(client).is_some_and(|r| r.stage == Stage::Loading);
        let news = state.acknowledge(client, offset, now_ms);
        if loading {
            self.replica_up(client);
            self.clients.queue_flush(client);
        }
        if news || flushed {
            self.replica_has_acked(client);
        }
        if news {
            self.failover_turn();
            self.shutdown_turn();
        }
        if news || flushed {
            self.answer_waits();
        }
    }

    fn replica_up(&mut self, client: ClientId) {
        self.replica_is_up(client);
        self.answer_waits();
    }

    /// A replica's connection is gone.
    pub(in super::super) fn replica_gone(&mut self, client: ClientId) {
        self.rooms.replication.waits.retain(|wait| wait.client != client);
        if let Some(replica) = self.rooms.replication.state.replicas.remove(client) {
            self.replica_has_gone(&replica);
        }
    }

    /// A replica's output has room for `room` bytes.
    pub(in super::super) fn fill_output(&mut self, client: &mut Client, room: usize) {
        let replication = &mut self.rooms.replication;
        let state = &mut replication.state;
        if let Some(super::Job::Resync(resync)) = &replication.job {
            let room = (room, self.now.mono_ms());
            resync.transfer.fill(&mut state.replicas, client.id, room, &mut client.out);
        }
        if !state.fill(client.id, room.saturating_sub(client.out.len()), &mut client.out) {
            client.closing = Closing::Now;
            self.tell_of_drop(client.id, TOO_FAR_BEHIND);
        }
    }

    /// Ends a replica's connection, so that it comes back and asks again.
    pub(super) fn drop_replica(&mut self, id: ClientId, why: &str) {
        // One that is being closed already, for another reason, is told of once.
        if self.clients.get(id).is_some_and(|client| client.closing == Closing::No) {
            self.tell_of_drop(id, why);
        }
        self.clients.close(id, Closing::Now);
    }

    pub(super) fn tell_of_drop(&self, id: ClientId, why: &str) {
        let replica = self.rooms.replication.state.replicas.get(id);
        let name = replica.map(Replica::name).unwrap_or_default();
        hooks::warn(self, &format!("the connection of the replica {name} is closed: {why}"));
    }

    /// The hard limit of `client-output-buffer-limit replica`: who has lost its place in the stream,
    /// perhaps without having read anything for long.
    pub(super) fn drop_overtaken(&mut self) {
        let state = &self.rooms.replication.state;
        let open = |id: &ClientId| self.clients.get(*id).is_some_and(|c| c.closing == Closing::No);
        let overtaken: Vec<_> = state.overtaken().filter(open).collect();
        for id in overtaken {
            self.stats.clients_over_output_limit += 1;
            self.drop_replica(id, TOO_FAR_BEHIND);
        }
    }

    /// Signs of life, each `repl-ping-replica-period`. Never while the stream is closed. Ten times a
    /// second, and by a timer where that is too coarse.
    pub(in super::super) fn ping_replicas(&mut self) {
        let now_ms = self.now.mono_ms();
        let (paused, managed) = (self.stream_is_paused(), self.is_managed());
        let room = &mut self.rooms.replication;
        let waits = self.rooms.member.member.waits_for_commit();
        let period_ms = match self.config.repl_ping_replica_period_s.max(1) * 1000 {
            // Acknowledgements are leases: they must come in time.
            _ if waits => LEASE_PING_MS,
            asked if managed => asked.min(SIGN_OF_LIFE_MS),
            asked => asked,
        };
        if room.state.link.is_some() {
            return;
        }
        let due_ms = room.last_ping_ms + period_ms;
        if waits && room.ping_timer_ms <= now_ms {
            room.ping_timer_ms = if due_ms > now_ms { due_ms } else { now_ms + period_ms };
            self.timers.at(room.ping_timer_ms, Timer::Ping);
        }
        if now_ms < due_ms {
            return;
        }
        room.last_ping_ms = now_ms;
        // Those who wait for their snapshot are sent an empty line, which is not of the stream.
        let waiting: Vec<_> = room
            .state
            .replicas
            .iter()
            .filter(|r| r.stage == Stage::WaitSnapshot)
            .map(|r| r.client)
            .collect();
        for id in waiting {
            if let Some(client) = self.clients.get_mut(id) {
                client.out.push(b'\n');
                self.clients.queue_flush(id);
            }
        }
        let room = &mut self.rooms.replication;
        if !paused && room.state.records() && room.state.replicas.online().next().is_some() {
            room.state.append(PING);
            self.flush_replicas();
        }
    }

    pub(super) fn close_silent_replicas(&mut self) {
        let now_ms = self.now.mono_ms();
        let timeout_ms = self.config.repl_timeout_s.max(1) * 1000;
        let heard_ms = |replica: &Replica| match replica.stage {
            Stage::Online => replica.acked_at_ms,
            // It is alive while it takes its snapshot, or says that it is loading it.
            Stage::Payload { .. } | Stage::Loading => {
                let said = self.clients.get(replica.client).map_or(0, |client| client.active_ms);
                said.max(replica.took_at_ms)
            }
            Stage::Introduced | Stage::WaitSnapshot | Stage::Done => now_ms,
        };
        let replicas = &self.rooms.replication.state.replicas;
        let silent: Vec<_> = replicas
            .iter()
            .filter(|replica| now_ms.saturating_sub(heard_ms(replica)) > timeout_ms)
            .map(|replica| replica.client)
            .collect();
        for id in silent {
            self.drop_replica(id, "it has been silent for repl-timeout");
        }
    }

    /// The soft limit of `client-output-buffer-limit replica`: who has been so far behind for so
    /// long comes back for a new snapshot, rather than have this node keep the stream for it.
    pub(super) fn close_slow_replicas(&mut self) {
        let limit = self.config.client_output_buffer_limit.replica;
        let now_ms = self.now.mono_ms();
        let state = &mut self.rooms.replication.state;
        let (offset, soft) = (state.offset(), limit.soft_bytes.max(state.backlog_size));
        let mut slow = Vec::new();
        for replica in state.replicas.iter_mut() {
            let behind = replica.stage == Stage::Online && offset - replica.sent.min(offset) > soft;
            if limit.soft_bytes == 0 || !behind {
                replica.behind_since_ms = None;
                continue;
            }
            let since_ms = *replica.behind_since_ms.get_or_insert(now_ms);
            if now_ms - since_ms >= limit.soft_s * 1000 {
                slow.push(replica.client);
            }
        }
        for id in slow {
            self.stats.clients_over_output_limit += 1;
            self.drop_replica(
                id,
                "it has been behind by more than the soft limit of client-output-buffer-limit \
                 replica for too long",
            );
        }
    }

    /// `repl-backlog-ttl`: a primary that has had no replica for so long keeps no stream for any.
    pub(super) fn forget_unread_stream(&mut self) {
        let now_ms = self.now.mono_ms();
        let ttl_ms = self.config.repl_backlog_ttl_s.saturating_mul(1000);
        let needed = ttl_ms == 0 || self.is_managed() || self.aof_is_on();
        let room = &mut self.rooms.replication;
        let read = !room.state.records() || room.state.replicas.iter().next().is_some();
        if needed || read {
            room.replica_seen_ms = now_ms;
        } else if now_ms.saturating_sub(room.replica_seen_ms) > ttl_ms {
            room.state.deactivate(new_id());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Now;
    use super::super::super::member::LEASE_PING_MS;
    use super::super::super::testing::Bench;
    use super::super::new_id;
    use crate::handover::{Epoch, Request, Verb};

    /// Pings that ask for leases went by the cron of 100 ms: each 200 ms instead of each 150, so
    /// that a lease could not be made shorter.
    #[test]
    fn leases_are_asked_for_in_time() {
        let mut bench = Bench::new(&[("cluster-uid", "u")]);
        let (operator, replica) = (bench.client(), bench.client());
        let (operator, replica) = (bench.id(operator), bench.id(replica));
        let engine = &mut bench.engine;
        engine.boot_member(Epoch::ZERO);
        let own = engine.member().identity().here.member.clone();
        let config = format!("1/1/2/async/degrade/{own},other").parse().expect("a config");
        let verb = Verb::Bootstrap { term: 1, config: Some(config) };
        let request = Request { uid: "u".into(), member: own, verb };
        assert!(engine.member_request(operator, request).is_some());
        assert!(engine.member().waits_for_commit());
        let now_ms = engine.now.mono_ms();
        let state = &mut engine.rooms.replication.state;
        state.activate(new_id());
        state.replicas.entry(replica, now_ms);
        state.go_on(replica, state.offset(), now_ms);
        let mut pings_ms = Vec::new();
        for ms in 1..=2000 {
            let Now { mono_us, unix_us } = engine.now;
            engine.set_now(Now { mono_us: mono_us + 1000, unix_us: unix_us + 1000 });
            let before = engine.stream_offset();
            engine.tick();
            if ms % 100 == 0 {
                engine.ping_replicas();
            }
            if engine.stream_offset() > before {
                pings_ms.push(ms);
            }
        }
        let gaps: Vec<u64> = pings_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 10, "{pings_ms:?}");
        assert!(gaps.iter().all(|gap| *gap == LEASE_PING_MS), "{pings_ms:?}");
    }
}
