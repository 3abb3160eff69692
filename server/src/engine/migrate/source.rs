//! The two connections to the source: what comes in on them.

use crate::client::{Client, Closing};
use crate::migration::{Asked, Moving, Phase, Point, RECORD, Told, Unapplied};
use crate::replication::{Action, Loaded, Unit};

use super::super::effects::{LinkEvent, LinkOwner};
use super::super::replicate::Origin;
use super::super::{Engine, hooks};
use super::Links;

/// How often the source is asked how far it is, in milliseconds.
const ASK_MS: u64 = 1000;
/// What is written as one unit at most, in bytes.
const UNIT_BYTES: usize = 64 * 1024;

impl Engine {
    fn links(&mut self) -> Option<&mut Links> {
        self.rooms.migration.links.as_deref_mut()
    }

    pub(super) fn migration_link_tick(&mut self) {
        let now_ms = self.now.mono_ms();
        let Some(links) = self.links() else { return };
        // A source that follows this cluster would send what it got from here.
        if links.link_client.is_none() && !links.source_leads {
            return;
        }
        match links.link.tick(now_ms) {
            Some(Action::Connect) => {
                let (host, port) = links.address();
                let id = self.open_link(LinkOwner::Migration, &host, port);
                if let Some(links) = self.links() {
                    links.link_client = Some(id);
                }
            }
            Some(Action::Fail(why)) => {
                let client = links.link_client.take();
                links.fail(why, now_ms);
                if let Some(client) = client {
                    self.clients.close(client, Closing::Now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn migration_control_tick(&mut self) {
        let now_ms = self.now.mono_ms();
        let acknowledged = self.migration_point().map(|point| point.offset.to_string());
        let Some(links) = self.rooms.migration.links.as_mut() else { return };
        // Whether a lost source leads again is asked at once.
        let urgent = !links.source_leads && links.control_client.is_some();
        if now_ms < links.asked_ms + if urgent { ASK_MS / 10 } else { ASK_MS } {
            return;
        }
        links.asked_ms = now_ms;
        if let (Some(id), Some(offset)) = (links.link_client, acknowledged)
            && links.link.is_streaming()
            && let Some(client) = self.clients.get_mut(id)
        {
            let words = [b"REPLCONF".as_slice(), b"ACK", offset.as_bytes()];
            crate::resp::encode_command(&mut client.out, words);
            self.clients.queue_flush(id);
        }
        if let Some(id) = links.control_client
            && let Some(client) = self.clients.get_mut(id)
        {
            links.control.ask_role(&mut client.out);
            self.clients.queue_flush(id);
        } else {
            let (host, port) = links.address();
            let id = self.open_link(LinkOwner::MigrationControl, &host, port);
            if let Some(links) = self.links() {
                links.control_client = Some(id);
            }
        }
    }

    /// Something happened on the replication link to the source; `client` is the link.
    pub(in super::super) fn migration_event(&mut self, client: &mut Client, event: LinkEvent<'_>) {
        let now_ms = self.now.mono_ms();
        let point = self.migration_point();
        let Some(links) = self.links().filter(|links| links.link_client == Some(client.id)) else {
            client.closing = Closing::Now;
            return;
        };
        let actions = match event {
            LinkEvent::Connected => {
                vec![links.link.connected(point.map(|point| (point.id, point.offset)), now_ms)]
            }
            LinkEvent::Data(bytes) if links.link.is_streaming() => {
                links.link.heard(now_ms);
                links.stream.feed(bytes);
                self.write_migrated(client);
                return;
            }
            LinkEvent::Data(bytes) => links.link.receive(bytes, now_ms),
            LinkEvent::Closed => vec![Action::Fail("the source closed the connection".into())],
            LinkEvent::Failed(why) => vec![Action::Fail(why)],
        };
        for action in actions {
            if self.links().is_some_and(|links| links.link_client == Some(client.id)) {
                self.migration_act(client, action);
            }
        }
    }

    fn migration_act(&mut self, client: &mut Client, action: Action) {
        let now_ms = self.now.mono_ms();
        let Some(links) = self.rooms.migration.links.as_mut() else { return };
        match action {
            Action::Connect | Action::LoadBegins | Action::Greeted(_) => {}
            Action::Send(bytes) => client.out.extend_from_slice(&bytes),
            Action::Continue(id) => {
                links.stream.clear();
                let moving = self.rooms.migration.moving.as_mut();
                let Some(Phase::Following(point) | Phase::Leaving(point)) =
                    moving.map(|moving| &mut moving.phase)
                else {
                    return self.source_fails(client, "it continues what nobody has".into());
                };
                // The source does not say again which database its stream is in.
                client.db = point.db as usize;
                point.id = id.unwrap_or(point.id);
            }
            Action::Loaded(loaded) => self.take_migrated(client, *loaded),
            Action::Stream(bytes) => {
                links.stream.feed(&bytes);
                self.write_migrated(client);
            }
            Action::Fail(why) | Action::Refused(why) => {
                client.closing = Closing::Now;
                links.link_client = None;
                links.fail(why, now_ms);
            }
        }
    }

    fn source_fails(&mut self, client: &mut Client, why: String) {
        self.migration_act(client, Action::Fail(why));
    }

    /// The source's data are complete: they replace the present ones, here and on every replica,
    /// which takes them by a full resync since no stream leads to them.
    fn take_migrated(&mut self, client: &mut Client, loaded: Loaded) {
        if hooks::is_replica(self) || self.replication().detached || self.stream_is_paused() {
            // This member is about to lead nobody: the data would be another's.
            return self.source_fails(client, "not the primary now".into());
        }
        let Loaded { keyspace, id, offset, stream_db, scripts, .. } = loaded;
        if self.replication().history.knows(id) {
            return self.source_fails(client, "the source follows this cluster itself".into());
        }
        self.begin_history(client, keyspace);
        self.take_carried_scripts(&scripts);
        client.db = stream_db as usize;
        if let Some(links) = self.links() {
            links.stream.clear();
        }
        let point = Point { id, offset, db: stream_db };
        if let Some(moving) = &mut self.rooms.migration.moving {
            // What was missing is in the new copy, if the source has it still.
            moving.unapplied = None;
        }
        if let Err(error) = self.note_phase(Phase::Following(point)) {
            return self.source_fails(client, error.0.into_owned());
        }
        hooks::log(self, "the source's data are here; following it");
    }

    /// Executes what has arrived, unless nothing may enter this member's stream now.
    pub(super) fn write_migrated(&mut self, client: &mut Client) {
        let Some(links) = self.links() else { return };
        let mut stream = std::mem::take(&mut links.stream);
        self.keyspace.ignore_expiry(true);
        let mut failed = None;
        let result = loop {
            if self.stream_is_paused() || self.migration_point().is_none() {
                break Ok(());
            }
            let write = |unit: Unit<'_>, raw: &[u8]| {
                failed = self.write_unit(client, unit, raw.len() as u64).err();
            };
            match stream.next(write) {
                Ok(_) if failed.is_some() => break Err(failed.take().unwrap_or_default()),
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error.to_string()),
            }
            if self.outbox.bytes.len() >= UNIT_BYTES {
                self.flush_migrated();
            }
        };
        self.flush_migrated();
        self.keyspace.ignore_expiry(false);
        if self.blocking.has_ready() {
            self.serve_blocked();
        }
        if let Some(links) = self.links() {
            links.stream = stream;
        }
        if let Err(why) = result {
            hooks::warn(self, &format!("the source's stream: {why}"));
            self.source_fails(client, why);
        }
        self.go_on_cutting_over();
    }

    /// What was executed goes into the stream with the point that the data are then, as one unit: a
    /// successor has both or neither, and so repeats nothing and leaves nothing out.
    fn flush_migrated(&mut self) {
        let unrecorded = std::mem::take(&mut self.rooms.migration.unrecorded);
        if self.outbox.is_empty() && !unrecorded {
            return;
        }
        if let Some(moving) = &self.rooms.migration.moving {
            let record = [RECORD, moving.text().as_bytes()].concat();
            let db = self.outbox.last_db();
            self.outbox.push(db, [b"PING".as_slice(), &record]);
        }
        self.flush_outbox();
    }

    fn write_unit(
        &mut self,
        client: &mut Client,
        unit: Unit<'_>,
        length: u64,
    ) -> Result<(), String> {
        match unit {
            Unit::One(args) => self.take_command(client, args, Origin::Source)?,
            Unit::Transaction(queue) => {
                for args in &queue {
                    self.take_command(client, args.args(), Origin::Source)?;
                }
            }
        }
        let moving = self.rooms.migration.moving.as_mut();
        if let Some(Moving { phase, .. }) = moving
            && let Phase::Following(point) | Phase::Leaving(point) = phase
        {
            let (offset, db) = (point.offset + length, client.db as u32);
            let point = Point { offset, db, ..*point };
            // A source that writes again has not left.
            let wrote = !self.outbox.is_empty() || self.rooms.migration.unrecorded;
            let stays = matches!(phase, Phase::Leaving(_)) && !wrote;
            *phase = if stays { Phase::Leaving(point) } else { Phase::Following(point) };
        }
        Ok(())
    }

    /// A command of the source's stream was not executed here. The record says so, too, though there
    /// is nothing else to be recorded: a successor need not meet the command again.
    pub(in super::super) fn note_unapplied(&mut self, name: &str, why: &str) {
        let room = &mut self.rooms.migration;
        if let Some(moving) = &mut room.moving {
            moving.unapplied.get_or_insert_with(Unapplied::default).add(name, why);
            room.unrecorded = true;
        }
    }

    /// Something happened on the second connection to the source.
    pub(in super::super) fn migration_control_event(
        &mut self,
        client: &mut Client,
        event: &LinkEvent<'_>,
    ) {
        let Some(links) = self.links().filter(|links| links.control_client == Some(client.id))
        else {
            client.closing = Closing::Now;
            return;
        };
        match event {
            LinkEvent::Connected => links.control.connected(&links.source, &mut client.out),
            LinkEvent::Data(bytes) => match links.control.receive(bytes) {
                Ok(told) => told.into_iter().for_each(|told| self.source_told(client, &told)),
                Err(why) => self.control_lost(client, &why),
            },
            LinkEvent::Closed => {
                let why = links.why_closed();
                self.control_lost(client, why);
            }
            LinkEvent::Failed(why) => self.control_lost(client, why),
        }
    }

    fn control_lost(&mut self, client: &mut Client, why: &str) {
        client.closing = Closing::Now;
        if let Some(links) = self.links() {
            links.control_client = None;
            why.clone_into(&mut links.last_error);
        }
        if !self.is_closing() {
            // The source's own timer ends its pause; the next attempt begins anew.
            self.end_cut_over(Err(format!("the connection to the source was lost: {why}")));
        }
    }

    fn source_told(&mut self, client: &mut Client, told: &Told) {
        let leaving = self.is_leaving();
        let Some(links) = self.links() else { return };
        match told {
            Told::Primary(offset) => {
                links.source_offset = *offset;
                links.source_leads = true;
            }
            Told::Replica => {
                links.source_leads = false;
                links.last_error = "the source is a replica itself".into();
            }
            Told::Refused(asked @ (Asked::Login | Asked::Role), why) => {
                links.last_error = format!("{asked:?} was answered with {why}");
            }
            Told::Done(_) | Told::Refused(..) => {}
        }
        match links.cut.as_mut().map(|attempt| attempt.cut.told(told, leaving)) {
            Some(Ok(())) => self.cut_over_steps(&mut client.out),
            Some(Err(why)) => self.end_cut_over(Err(why)),
            None => {}
        }
    }
}

impl Links {
    fn address(&self) -> (String, u16) {
        (self.source.host.clone(), self.source.port)
    }

    /// Why the source may have ended the second connection, which is the first to be opened.
    fn why_closed(&self) -> &'static str {
        if self.tls.is_none() && !self.control.was_answered() {
            "the source closed the connection before it answered; does it want TLS at this port?"
        } else {
            "the source closed the connection"
        }
    }

    fn fail(&mut self, why: String, now_ms: u64) {
        self.last_error.clone_from(&why);
        self.stream.clear();
        self.source_leads = false;
        self.link.failed(why, now_ms);
    }
}
