//! Moving in: binds [`crate::migration`] and a replication link of its own to this primary's data.
//!
//! What the source wrote is executed here as this primary's own writes, so that its replicas and
//! its successors need to know nothing of it. Until the cut-over clients may read and not write.

use crate::client::{Client, ClientId, Closing};
use crate::command::{Command, Flags};
use crate::migration::{Asked, Control, Leave, Source, Told};
use crate::persistence::load::Template;
use crate::replication::{Action, Link, LinkConfig, Loaded, ReplId, Stream, Unit, translate};
use crate::resp::{Args, CommandError, OwnedArgs};

use super::effects::{LinkEvent, LinkOwner};
use super::run::{row_of_stream, run_row};
use super::{Context, Engine, hooks};

/// How often the source is asked how far it is, in milliseconds.
const ASK_MS: u64 = 1000;
/// The share of the source's pause, in percent, after which an attempt to cut over is given up: what
/// remains is for the answer to the last command.
const PATIENCE_PERCENT: u64 = 60;

/// Following a server outside.
pub struct Migration {
    source: Source,
    link: Link,
    link_client: Option<ClientId>,
    stream: Stream,
    /// The source's history and the point of it that is here.
    have: Option<(ReplId, u64)>,
    control: Control,
    control_client: Option<ClientId>,
    asked_ms: u64,
    /// The source's offset when it was last asked.
    source_offset: u64,
    cut: Option<Cut>,
    done: bool,
    /// It was told to follow this member, and may do so.
    follows: bool,
    last_error: String,
}

/// A cut-over under way.
struct Cut {
    waiter: ClientId,
    leave: Leave,
    deadline_ms: u64,
    step: Step,
    /// The source knows no redirect.
    follows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The source is asked to hold its writes.
    Pausing,
    /// Its last write was at this offset; more may follow when its pause runs out.
    Levelling(u64),
    /// It is told to take no more writes.
    Leaving,
    /// It takes no more; how far it is, is asked.
    Left,
    /// Its very last write is at this offset.
    Ending(u64),
    /// It is told to follow this member, since it cannot redirect.
    Following,
}

impl Engine {
    /// Begins to take the data of `source`, or goes on if it is followed already. `replace`: the
    /// present data came from it, too; else there must be none.
    pub fn migrate_from(&mut self, source: Source, replace: bool) -> Result<(), CommandError> {
        if self.rooms.migration.as_ref().is_some_and(|now| now.source == source) {
            return Ok(());
        }
        let keys = self.keyspace.len();
        if keys > 0 && !replace {
            let why =
                format!("NOTREADY this member has {keys} keys of its own, which would be lost");
            return Err(why.into());
        }
        self.end_migration();
        let now_ms = self.now.mono_ms();
        let config = LinkConfig {
            host: source.host.clone(),
            port: source.port,
            listening_port: self.config.port,
            announce_ip: self.config.replica_announce_ip.clone(),
            auth: source.auth.clone(),
            member: None,
            timeout_ms: self.config.repl_timeout_s.max(1) * 1000,
        };
        let template = Template {
            databases: self.config.databases,
            seed: self.keyspace.seed(),
            limits: self.keyspace.limits(),
        };
        self.rooms.migration = Some(Box::new(Migration {
            link: Link::new(config, template, now_ms),
            source,
            link_client: None,
            stream: Stream::default(),
            have: None,
            control: Control::default(),
            control_client: None,
            asked_ms: 0,
            source_offset: 0,
            cut: None,
            done: false,
            follows: false,
            last_error: String::new(),
        }));
        hooks::stream_changed(self);
        self.migration_cron();
        Ok(())
    }

    /// Leads the source's clients here when all that it wrote is here; `waiter` is answered then.
    pub fn cut_over(
        &mut self,
        waiter: ClientId,
        timeout_ms: u64,
        leave: Leave,
    ) -> Result<(), CommandError> {
        let now_ms = self.now.mono_ms();
        let Some(migration) = &mut self.rooms.migration else {
            return Err("NOTREADY nothing is taken over from another server".into());
        };
        let ready = !migration.done && migration.cut.is_none() && migration.link.is_streaming();
        let Some(client) = migration.control_client.filter(|_| ready) else {
            let why = format!("NOTREADY the source is not followed now: {}", migration.last_error);
            return Err(why.into());
        };
        let Some(client) = self.clients.get_mut(client) else {
            return Err("NOTREADY the source is not connected".into());
        };
        migration.control.pause(timeout_ms, &mut client.out);
        let deadline_ms = now_ms + timeout_ms * PATIENCE_PERCENT / 100;
        let step = Step::Pausing;
        migration.cut = Some(Cut { waiter, leave, deadline_ms, step, follows: false });
        let id = client.id;
        self.clients.queue_flush(id);
        Ok(())
    }

    /// Whether another server is followed and writes are its.
    pub(super) fn is_migrating(&self) -> bool {
        self.rooms.migration.as_ref().is_some_and(|migration| !migration.done)
    }

    /// Why a client's write is refused while another server is the one that takes writes.
    pub(super) fn migration_refusal(&self, row: &Command) -> Option<CommandError> {
        let migration = self.rooms.migration.as_ref().filter(|migration| !migration.done)?;
        let Source { host, port, .. } = &migration.source;
        let text = format!("MIGRATING writes are taken by {host}:{port} until the cut-over");
        row.is(Flags::WRITE | Flags::MAY_REPLICATE).then(|| text.into())
    }

    /// What STATUS tells.
    pub fn migration_status(&self) -> [(&'static str, String); 3] {
        let Some(migration) = &self.rooms.migration else {
            return [
                ("migration", "none".into()),
                ("migration-lag", "0".into()),
                ("migration-error", String::new()),
            ];
        };
        let word = match (migration.done, migration.have) {
            (true, _) => "done",
            (_, None) => "copying",
            _ if migration.cut.is_some() => "cutting-over",
            _ => "following",
        };
        let offset = migration.have.map_or(0, |(_, offset)| offset);
        let lag = migration.source_offset.saturating_sub(offset);
        let error = if migration.link.is_streaming() { "" } else { &migration.last_error };
        [
            ("migration", word.into()),
            ("migration-lag", lag.to_string()),
            ("migration-error", error.to_owned()),
        ]
    }

    /// Follows the source no longer; what was taken over stays.
    pub fn end_migration(&mut self) {
        let Some(migration) = self.rooms.migration.take() else { return };
        for client in [migration.link_client, migration.control_client].into_iter().flatten() {
            self.clients.close(client, Closing::Now);
        }
        if let Some(cut) = migration.cut {
            self.answer(cut.waiter, |client| {
                client.reply().error(&"NOTREADY this member is not the primary any more".into());
            });
        }
        hooks::stream_changed(self);
    }

    /// Ten times a second.
    pub(super) fn migration_cron(&mut self) {
        if self.rooms.migration.is_none() {
            return;
        }
        if hooks::is_replica(self) || self.replication().detached {
            return self.end_migration();
        }
        self.migration_link_tick();
        self.migration_control_tick();
        self.give_up_cut_over();
        // What a pause of this member held may be written now.
        if let Some(link) = self.rooms.migration.as_ref().and_then(|m| m.link_client)
            && let Some(mut client) = self.clients.take(link)
        {
            self.write_migrated(&mut client);
            self.clients.put_back(client);
        }
    }

    fn migration_link_tick(&mut self) {
        let now_ms = self.now.mono_ms();
        let Some(migration) = self.rooms.migration.as_mut().filter(|m| !m.done) else { return };
        match migration.link.tick(now_ms) {
            Some(Action::Connect) => {
                let Source { host, port, .. } = migration.source.clone();
                let id = self.open_link(LinkOwner::Migration, &host, port);
                self.rooms.migration.as_mut().expect("it was there").link_client = Some(id);
            }
            Some(Action::Fail(why)) => {
                let client = migration.link_client.take();
                migration.fail(why, now_ms);
                if let Some(client) = client {
                    self.clients.close(client, Closing::Now);
                }
            }
            _ => {}
        }
    }

    fn migration_control_tick(&mut self) {
        let now_ms = self.now.mono_ms();
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        if now_ms < migration.asked_ms + ASK_MS || migration.done {
            return;
        }
        migration.asked_ms = now_ms;
        let acknowledged = migration.have.map(|(_, offset)| offset.to_string());
        if let (Some(id), Some(offset)) = (migration.link_client, acknowledged)
            && migration.link.is_streaming()
            && let Some(client) = self.clients.get_mut(id)
        {
            let words = [b"REPLCONF".as_slice(), b"ACK", offset.as_bytes()];
            crate::resp::encode_command(&mut client.out, words);
            self.clients.queue_flush(id);
        }
        if let Some(id) = migration.control_client
            && let Some(client) = self.clients.get_mut(id)
        {
            migration.control.ask_role(&mut client.out);
            self.clients.queue_flush(id);
        } else {
            let Source { host, port, .. } = migration.source.clone();
            let id = self.open_link(LinkOwner::MigrationControl, &host, port);
            self.rooms.migration.as_mut().expect("it was there").control_client = Some(id);
        }
    }

    /// A source that does not come level in time goes on taking writes.
    fn give_up_cut_over(&mut self) {
        let now_ms = self.now.mono_ms();
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        // Once it is told to take no more writes, only its answers or the end of its connection end the
        // attempt: it may have done so.
        let early = |step| matches!(step, Step::Pausing | Step::Levelling(_));
        let late = |cut: &Cut| cut.deadline_ms <= now_ms && early(cut.step);
        if migration.cut.as_ref().is_some_and(late) {
            if let Some(id) = migration.control_client
                && let Some(client) = self.clients.get_mut(id)
            {
                migration.control.unpause(&mut client.out);
                self.clients.queue_flush(id);
            }
            self.end_cut_over(Err("the source was not level within its pause".into()));
        }
    }

    fn end_cut_over(&mut self, result: Result<(), String>) {
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        let Some(cut) = migration.cut.take() else { return };
        if result.is_ok() {
            migration.done = true;
            let link = migration.link_client.take();
            if let Some(link) = link {
                self.clients.close(link, Closing::Now);
            }
            hooks::log(self, "cut over: writes are taken here");
        }
        hooks::stream_changed(self);
        self.answer(cut.waiter, |client| match result {
            Ok(()) => client.reply().simple("DONE"),
            Err(why) => client.reply().error(&format!("NOTREADY {why}").into()),
        });
    }
}

impl Migration {
    fn fail(&mut self, why: String, now_ms: u64) {
        self.last_error.clone_from(&why);
        self.stream.clear();
        self.link.failed(why, now_ms);
    }
}

/// What comes from the source.
impl Engine {
    /// Something happened on the replication link to the source; `client` is the link.
    pub(super) fn migration_event(&mut self, client: &mut Client, event: LinkEvent<'_>) {
        let now_ms = self.now.mono_ms();
        let Some(migration) = self.rooms.migration.as_mut() else {
            client.closing = Closing::Now;
            return;
        };
        if migration.link_client != Some(client.id) {
            client.closing = Closing::Now;
            return;
        }
        let actions = match event {
            LinkEvent::Connected => vec![migration.link.connected(migration.have, now_ms)],
            LinkEvent::Data(bytes) if migration.link.is_streaming() => {
                migration.link.heard(now_ms);
                migration.stream.feed(bytes);
                self.write_migrated(client);
                return;
            }
            LinkEvent::Data(bytes) => migration.link.receive(bytes, now_ms),
            LinkEvent::Closed => vec![Action::Fail("the source closed the connection".into())],
            LinkEvent::Failed(why) => vec![Action::Fail(why)],
        };
        for action in actions {
            self.migration_act(client, action);
        }
    }

    fn migration_act(&mut self, client: &mut Client, action: Action) {
        let now_ms = self.now.mono_ms();
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        match action {
            Action::Connect | Action::LoadBegins | Action::Greeted(_) => {}
            Action::Send(bytes) => client.out.extend_from_slice(&bytes),
            Action::Continue(id) => {
                migration.stream.clear();
                if let (Some(id), Some((have, _))) = (id, migration.have.as_mut()) {
                    *have = id;
                }
            }
            Action::Loaded(loaded) => self.take_migrated(client, *loaded),
            Action::Stream(bytes) => {
                migration.stream.feed(&bytes);
                self.write_migrated(client);
            }
            Action::Fail(why) => {
                client.closing = Closing::Now;
                migration.link_client = None;
                migration.fail(why, now_ms);
            }
        }
    }

    /// The source's data are complete: they replace the present ones, here and on every replica,
    /// which takes them by a full resync since no stream leads to them.
    fn take_migrated(&mut self, client: &mut Client, loaded: Loaded) {
        if hooks::is_replica(self) || self.replication().detached || self.stream_is_paused() {
            // This member is about to lead nobody: the data would be another's.
            return self.migration_act(client, Action::Fail("not the primary now".into()));
        }
        let Loaded { keyspace, id, offset, stream_db, .. } = loaded;
        self.begin_history(client, keyspace);
        client.db = stream_db as usize;
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        migration.stream.clear();
        migration.have = Some((id, offset));
        hooks::log(self, "the source's data are here; following it");
    }

    /// Executes what has arrived, unless nothing may enter this member's stream now.
    fn write_migrated(&mut self, client: &mut Client) {
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        let mut stream = std::mem::take(&mut migration.stream);
        self.keyspace.ignore_expiry(true);
        let result = loop {
            if self.stream_is_paused() {
                break Ok(());
            }
            match stream.next(|unit, raw| self.write_unit(client, unit, raw.len() as u64)) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.keyspace.ignore_expiry(false);
        if self.blocking.has_ready() {
            self.serve_blocked();
        }
        if let Some(migration) = self.rooms.migration.as_mut() {
            migration.stream = stream;
        }
        if let Err(error) = result {
            self.migration_act(client, Action::Fail(error.to_string()));
        }
        self.level_cut_over();
    }

    fn write_unit(&mut self, client: &mut Client, unit: Unit<'_>, length: u64) {
        match unit {
            Unit::One(args) => self.write_command(client, args),
            Unit::Transaction(queue) => {
                for args in &queue {
                    self.write_command(client, args.args());
                }
            }
        }
        self.flush_outbox();
        if let Some((_, offset)) = self.rooms.migration.as_mut().and_then(|m| m.have.as_mut()) {
            *offset += length;
        }
    }

    fn write_command(&mut self, client: &mut Client, args: Args<'_>) {
        if args.is(0, "ping") || args.is(0, "replconf") {
            return;
        }
        if args.is(0, "select") {
            let db = args.get(1).and_then(crate::resp::num::parse_i64).unwrap_or(-1);
            if let Some(db) = usize::try_from(db).ok().filter(|db| *db < self.config.databases) {
                client.db = db;
            }
            return;
        }
        let other = translate(args);
        let args = other.as_ref().map_or(args, OwnedArgs::args);
        let row = match row_of_stream(args) {
            Ok(row) => row,
            Err(why) => {
                let name = args.at(0).escape_ascii();
                let text = format!("{name} of the source's stream was not taken over: {why}");
                return hooks::log(self, &text);
            }
        };
        let before = client.out.len();
        run_row(&mut Context {
            engine: self,
            client,
            args,
            row,
            in_exec: false,
            timed_out: false,
            from_primary: false,
        });
        client.out.truncate(before);
    }

    /// Something happened on the second connection to the source.
    pub(super) fn migration_control_event(&mut self, client: &mut Client, event: &LinkEvent<'_>) {
        let Some(migration) = self.rooms.migration.as_mut() else {
            client.closing = Closing::Now;
            return;
        };
        if migration.control_client != Some(client.id) {
            client.closing = Closing::Now;
            return;
        }
        match event {
            LinkEvent::Connected => migration.control.connected(&migration.source, &mut client.out),
            LinkEvent::Data(bytes) => match migration.control.receive(bytes) {
                Ok(told) => told.into_iter().for_each(|told| self.source_told(client, told)),
                Err(why) => self.control_lost(client, &why),
            },
            LinkEvent::Closed => self.control_lost(client, "the source closed it"),
            LinkEvent::Failed(why) => self.control_lost(client, why),
        }
    }

    fn control_lost(&mut self, client: &mut Client, why: &str) {
        client.closing = Closing::Now;
        if let Some(migration) = self.rooms.migration.as_mut() {
            migration.control_client = None;
            why.clone_into(&mut migration.last_error);
        }
        // The source's own timer ends its pause; the next attempt begins anew.
        self.end_cut_over(Err(format!("the connection to the source was lost: {why}")));
    }

    fn source_told(&mut self, client: &mut Client, told: Told) {
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        match told {
            Told::Primary(offset) => {
                migration.source_offset = offset;
                if let Some(cut) = migration.cut.as_mut() {
                    cut.step = match cut.step {
                        Step::Pausing => Step::Levelling(offset),
                        Step::Left => Step::Ending(offset),
                        other => other,
                    };
                    self.level_cut_over_on(client);
                }
            }
            // An attempt whose last answer was lost: it follows this member, as it was told to.
            Told::Replica if migration.follows => self.source_has_left(client),
            Told::Replica => {
                migration.last_error = "the source is a replica itself".into();
                self.end_cut_over(Err("the source is a replica of another server".into()));
            }
            Told::Done(Asked::Redirect | Asked::Hold) => {
                if let Some(cut) = migration.cut.as_mut() {
                    cut.step = Step::Left;
                    migration.control.role(&mut client.out);
                }
            }
            Told::Done(Asked::Follow) => self.source_has_left(client),
            Told::Done(_) | Told::Refused(Asked::Setting | Asked::Unpause, _) => {}
            Told::Refused(Asked::Redirect, _) => {
                if let Some(cut) = migration.cut.as_mut() {
                    cut.follows = true;
                    migration.control.hold(&mut client.out);
                }
            }
            Told::Refused(asked, why) => {
                migration.last_error = format!("{asked:?} was answered with {why}");
                self.end_cut_over(Err(format!("the source answers {asked:?} with {why}")));
            }
        }
    }

    /// The source takes no writes any more, and all of them are here.
    fn source_has_left(&mut self, control: &mut Client) {
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        if let Some(Cut { leave: Leave::Redirecting { .. }, .. }) = migration.cut {
            // Whoever waited there is led here now.
            migration.control.unpause(&mut control.out);
        }
        self.end_cut_over(Ok(()));
    }

    /// All that the source wrote may be here now.
    fn level_cut_over(&mut self) {
        let Some(id) = self.rooms.migration.as_ref().and_then(|m| m.control_client) else { return };
        if let Some(mut client) = self.clients.take(id) {
            self.level_cut_over_on(&mut client);
            self.clients.put_back(client);
            self.clients.queue_flush(id);
        }
    }

    fn level_cut_over_on(&mut self, control: &mut Client) {
        let Some(migration) = self.rooms.migration.as_mut() else { return };
        let offset = migration.have.map_or(0, |(_, offset)| offset);
        let Some(cut) = migration.cut.as_mut() else { return };
        match cut.step {
            Step::Levelling(wanted) if offset >= wanted => {
                cut.step = Step::Leaving;
                match &cut.leave {
                    Leave::Paused => migration.control.hold(&mut control.out),
                    Leave::Redirecting { host, port, .. } => {
                        migration.control.redirect(host, *port, &mut control.out);
                    }
                }
            }
            Step::Ending(wanted) if offset >= wanted => match &cut.leave {
                Leave::Redirecting { host, port, auth } if cut.follows => {
                    cut.step = Step::Following;
                    migration.follows = true;
                    migration.control.follow(host, *port, auth.as_ref(), &mut control.out);
                }
                _ => self.source_has_left(control),
            },
            _ => {}
        }
    }
}
