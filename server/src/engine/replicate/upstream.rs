//! Following a primary.

use crate::client::{Client, ClientId, Closing};
use crate::handover::Event;
use crate::replication::{Action, Asks, Link, LinkConfig, Loaded, ReplId, Unit};
use crate::resp::encode_command;
use crate::secret::Secret;
use crate::store::Keyspace;

use super::super::effects::{LinkEvent, LinkOwner, Timer};
use super::super::{Engine, hooks};
use super::{Origin, new_id};

impl Engine {
    /// Follows the primary at `host:port` from the present point of the stream on, if it continues
    /// it, and else by a full resync, until which the present data stays.
    ///
    /// `member` are the arguments of `REPLCONF redisha-member` toward another member.
    pub fn follow_primary(&mut self, host: &str, port: u16, member: Option<[String; 4]>) {
        let auth = match &member {
            Some(_) => hooks::node_credentials(self).map(|(user, password)| {
                (Some(String::from_utf8_lossy(&user).into_owned()), password)
            }),
            None => self.primary_credentials(),
        };
        let config = LinkConfig {
            host: host.to_owned(),
            port,
            listening_port: self.config.announced_port(),
            announce_ip: self.config.replica_announce_ip.clone(),
            auth,
            member,
            failover: false,
            timeout_ms: self.config.repl_timeout_s.max(1) * 1000,
        };
        self.drop_primary();
        let link = Link::new(config, self.template(), self.now.mono_ms());
        self.rooms.replication.state.follow(link);
        self.replication_changed();
        self.link_tick();
    }

    /// The name and password for a primary that is no other member, as the directives say.
    pub(super) fn primary_credentials(&self) -> Option<(Option<String>, Secret)> {
        let (user, password) = (&self.config.primaryuser, &self.config.primaryauth);
        let user = (!user.is_empty()).then(|| user.clone());
        (!password.is_empty()).then(|| (user, password.as_bytes().into()))
    }

    /// Sends a command to the primary beside the stream, if the link is up, at the end of this turn
    /// at the latest.
    pub fn tell_primary(&mut self, parts: &[&[u8]]) {
        let room = &mut self.rooms.replication;
        if room.state.link.as_ref().is_some_and(|link| link.is_streaming()) {
            encode_command(&mut room.up, parts.iter().copied());
        }
    }

    pub(super) fn flush_up(&mut self) {
        let room = &mut self.rooms.replication;
        if !room.up.is_empty()
            && let Some(id) = room.link
            && let Some(client) = self.clients.get_mut(id)
        {
            client.out.append(&mut room.up);
            self.clients.queue_flush(id);
        }
    }

    pub(super) fn link_tick(&mut self) {
        let now_ms = self.now.mono_ms();
        let room = &mut self.rooms.replication;
        let Some(link) = &mut room.state.link else { return };
        let streaming = link.is_streaming();
        match link.tick(now_ms) {
            Some(Action::Connect) => {
                let (host, port) = (link.config.host.clone(), link.config.port);
                let id = self.open_link(LinkOwner::Replication, &host, port);
                self.rooms.replication.link = Some(id);
            }
            Some(Action::Fail(why)) => {
                self.drop_primary();
                self.link_failed(why);
            }
            _ => {
                if streaming && now_ms.saturating_sub(room.last_ping_ms) >= 1000 {
                    room.last_ping_ms = now_ms;
                    self.acknowledge();
                }
            }
        }
    }

    fn link_failed(&mut self, why: String) {
        let now_ms = self.now.mono_ms();
        if let Some(link) = &mut self.rooms.replication.state.link {
            // The same again, with each attempt, is no news.
            let news = (link.last_error != why).then(|| format!("no link to the primary: {why}"));
            let until_ms = link.failed(why, now_ms);
            self.timers.at(until_ms, Timer::Replication(0));
            if let Some(news) = news {
                hooks::warn(self, &news);
            }
        }
    }

    /// `Timer::Replication` fired.
    pub(in super::super) fn replication_timer(&mut self) {
        self.link_tick();
    }

    /// Something happened on a connection to a primary; `client` is the link.
    pub(in super::super) fn primary_event(&mut self, client: &mut Client, event: LinkEvent<'_>) {
        let now_ms = self.now.mono_ms();
        if !self.is_link(client.id) {
            client.closing = Closing::Now;
            return;
        }
        match event {
            LinkEvent::Connected => {
                let have = self.rooms.replication.state.have();
                self.rooms.replication.up.clear();
                let promised = self.member().promised().to_string();
                if let Some(link) = &mut self.rooms.replication.state.link {
                    if let Some([.., epoch]) = &mut link.config.member {
                        *epoch = promised;
                    }
                    let action = link.connected(have, now_ms);
                    self.act(client, action);
                }
            }
            LinkEvent::Data(bytes) => self.primary_data(client, bytes),
            LinkEvent::Closed => self.give_up(client, "the primary closed the connection".into()),
            LinkEvent::Failed(why) => self.give_up(client, why),
        }
    }

    fn is_link(&self, id: ClientId) -> bool {
        self.rooms.replication.link == Some(id) && self.rooms.replication.state.link.is_some()
    }

    fn give_up(&mut self, client: &mut Client, why: String) {
        client.closing = Closing::Now;
        self.rooms.replication.link = None;
        self.rooms.replication.stream.clear();
        self.link_failed(why);
    }

    fn primary_data(&mut self, client: &mut Client, bytes: &[u8]) {
        let now_ms = self.now.mono_ms();
        let Some(link) = &mut self.rooms.replication.state.link else { return };
        if link.is_streaming() {
            link.heard(now_ms);
            self.apply_stream(client, bytes);
            return;
        }
        for action in link.receive(bytes, now_ms) {
            if self.is_link(client.id) {
                self.act(client, action);
            }
        }
    }

    fn act(&mut self, client: &mut Client, action: Action) {
        match action {
            Action::Connect => {}
            Action::LoadBegins => self.failover_done(),
            Action::Greeted(answer) => self.greeted_by_primary(&answer),
            Action::Send(bytes) => client.out.extend_from_slice(&bytes),
            Action::Continue(id) => {
                self.stream_continues(client, id);
                self.failover_done();
            }
            Action::Loaded(loaded) => self.take_data(client, *loaded),
            Action::Stream(bytes) => self.apply_stream(client, &bytes),
            Action::Refused(why) if self.is_failing_over() => self.failover_refused(client, &why),
            Action::Fail(why) | Action::Refused(why) => self.give_up(client, why),
        }
    }

    fn stream_continues(&mut self, client: &mut Client, id: Option<ReplId>) {
        let room = &mut self.rooms.replication;
        room.stream.clear();
        client.db = room.state.stream_db() as usize;
        if room.state.continued(id) {
            self.close_replicas();
        }
        self.acknowledge();
    }

    /// A full resync is complete: its data replace the present ones.
    fn take_data(&mut self, client: &mut Client, loaded: Loaded) {
        self.member_event(Event::Replacing);
        self.abort_job("the data are replaced by a full resync");
        let Loaded { keyspace, id, offset, stream_db, epoch, acl, migration, clock_ms, scripts } =
            loaded;
        self.replace_keyspace(keyspace);
        self.acl_loaded(acl.as_deref());
        self.migration_loaded(migration.as_deref());
        self.floor_loaded(clock_ms);
        self.events_begin();
        let room = &mut self.rooms.replication;
        room.stream.clear();
        room.state.adopt(id, offset, stream_db);
        client.db = stream_db as usize;
        self.aof_data_replaced();
        self.replication_changed();
        self.close_replicas();
        self.touch_all(client);
        self.acknowledge();
        self.take_carried_scripts(&scripts);
        self.data_replaced(epoch.as_deref());
    }

    /// Replaces this primary's data by other data, to which no stream leads: its replicas take them
    /// by a full resync.
    pub(in super::super) fn begin_history(&mut self, client: &mut Client, keyspace: Keyspace) {
        self.member_event(Event::Replacing);
        self.abort_job("the data are replaced by another server's");
        self.replace_keyspace(keyspace);
        self.events_begin();
        let state = &mut self.rooms.replication.state;
        state.adopt(new_id(), state.offset(), 0);
        self.aof_data_replaced();
        self.replication_changed();
        self.close_replicas();
        self.touch_all(client);
        // Nobody who holds what was there before stands level with the new data.
        self.append_to_stream("redisha:history");
        self.rooms.commit.data_end = self.stream_offset();
    }

    /// Tells the primary how much of the stream has been applied, how much of it the disk holds, and
    /// under which part of that this member would be itself again after a restart.
    pub(in super::super) fn acknowledge(&mut self) {
        let offset = self.rooms.replication.state.offset().to_string();
        self.rooms.commit.acked = true;
        let durable = self.aof_durable_offset().map(|durable| durable.to_string());
        let member = self.member();
        let kept = member.is_kept().then(|| member.durable().to_string());
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", offset.as_bytes()];
        if let Some(durable) = &durable {
            words.extend([b"FACK".as_slice(), durable.as_bytes()]);
            if let Some(kept) = &kept {
                words.extend([b"KEPT".as_slice(), kept.as_bytes()]);
            }
        }
        self.tell_primary(&words);
    }

    fn apply_stream(&mut self, client: &mut Client, bytes: &[u8]) {
        let before = self.rooms.replication.state.offset();
        let mut stream = std::mem::take(&mut self.rooms.replication.stream);
        stream.feed(bytes);
        // The primary says when a key's time has come; until then its commands find it.
        self.keyspace.set_clock(i64::MIN);
        let mut get_ack = false;
        let result = loop {
            let mut applied = Ok(false);
            match stream.next(|unit, raw| applied = self.apply_unit(client, unit, raw)) {
                Ok(_) if applied.is_err() => break applied.map(|_| ()),
                // A record may have made this node leave its primary: what follows is void.
                Ok(true) if self.is_link(client.id) => get_ack |= applied == Ok(true),
                Ok(_) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
        };
        self.keyspace.set_clock(self.now.unix_ms());
        if !self.is_link(client.id) {
            // The answer to the record that ended the link still goes out on it.
            client.out.append(&mut self.rooms.replication.up);
            client.closing = Closing::AfterOutput;
            return;
        }
        self.rooms.replication.stream = stream;
        if let Err(error) = result {
            return self.give_up(client, error);
        }
        let to_member =
            self.rooms.replication.state.link.as_ref().is_some_and(|l| l.config.member.is_some());
        if get_ack || (to_member && self.rooms.replication.state.offset() != before) {
            self.acknowledge();
        }
    }

    /// Applies one unit and counts its bytes; true if the primary asks for an acknowledgement.
    fn apply_unit(
        &mut self,
        client: &mut Client,
        unit: Unit<'_>,
        raw: &[u8],
    ) -> Result<bool, String> {
        let start = self.rooms.replication.state.offset();
        let mut record = None;
        let mut get_ack = false;
        match unit {
            Unit::One(args) => match Asks::of(args) {
                // It belongs to the log before it has its effect.
                Asks::Record(argument) => record = Some(argument),
                Asks::Acknowledgement => get_ack = true,
                _ => self.take_command(client, args, Origin::Primary)?,
            },
            Unit::Transaction(queue) => {
                for args in &queue {
                    self.take_command(client, args.args(), Origin::Primary)?;
                }
            }
        }
        let state = &mut self.rooms.replication.state;
        state.set_stream_db(client.db as u32);
        state.append(raw);
        if let Some(argument) = record {
            self.member_applied(argument, start);
        }
        Ok(get_ack)
    }
}
