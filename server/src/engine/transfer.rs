//! MIGRATE: binds [`crate::transfer`] to connections and data.
//!
//! The command waits for another server and nobody else does: its client is answered later, and
//! commands go on meanwhile. So a key may change after its value was sent. When the target has
//! answered and nothing has changed, the keys are deleted in the same moment; otherwise they are
//! sent once more, and for this second time writes wait (never longer than the command's timeout).
//! A key that was deleted here meanwhile is deleted there. Without a change, which is nearly
//! always, nobody notices anything.
//!
//! Changes are noticed as WATCH does, by a watch on the link's own client. What consumer groups do
//! breaks no watch, so streams are compared with what was sent.
//!
//! A deletion is a write: while a pause is on it waits for its end, and a server that is no primary
//! any more then leaves the keys alone and says so. `IOERR` means, as everywhere, that keys may be
//! at both servers.

use crate::client::{Client, ClientId, Closing};
use crate::config::EventClasses;
use crate::persistence::rdb;
use crate::resp::CommandError;
use crate::script::sha1;
use crate::store::ValueRef;
use crate::transfer::{Login, Progress, Request, Round, Sent};

use super::effects::{LinkEvent, LinkOwner, Timer};
use super::pause::{Reason, Scope};
use super::{Engine, hooks};

/// How long an unused connection is kept for the next command, in milliseconds, and how many are.
const IDLE_MS: u64 = 10_000;
const IDLE_MAX: usize = 64;
/// How often within its timeout a command is looked at.
const LOOKS: u64 = 8;
/// Keys that one DEL of the stream names at most.
const DELETED_MAX: usize = 1024;

const CONNECTING: &str = "IOERR error or timeout connecting to the client";
const READING: &str = "IOERR error or timeout reading to target instance";
const NOT_PRIMARY: &str =
    "IOERR this server is no primary any more; the keys were copied, and not deleted";
const CHANGED: &str = "IOERR the keys were changed while they moved; they were not deleted";

/// The room's state.
#[derive(Default)]
pub struct Transfers {
    connections: Vec<Connection>,
}

impl Transfers {
    /// Connections that are open.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    fn position(&self, link: ClientId) -> Option<usize> {
        self.connections.iter().position(|connection| connection.link == link)
    }
}

/// A connection to another server. Only commands with the same login share one.
struct Connection {
    link: ClientId,
    host: String,
    port: u16,
    login: Option<Login>,
    connected: bool,
    /// The database that it has selected; none before the login.
    db: Option<i64>,
    used_ms: u64,
    job: Option<Job>,
}

/// A command under way.
struct Job {
    waiter: ClientId,
    request: Request,
    round: Round,
    /// The second time, for which writes wait.
    last: bool,
    /// All was answered; the deletion waits for the end of a pause.
    settling: bool,
    deadline_ms: u64,
    /// Bytes that had come, gone and waited when that was last looked at.
    moved: [u64; 3],
}

impl Engine {
    /// Moves keys to another server; `waiter` is answered later.
    pub fn begin_transfer(&mut self, waiter: ClientId, request: Request) {
        let now_ms = self.now.mono_ms();
        let deadline_ms = now_ms.saturating_add(request.timeout_ms);
        let fits = |connection: &Connection| {
            connection.job.is_none()
                && connection.connected
                && connection.host == request.host
                && connection.port == request.port
                && connection.login == request.login
        };
        let idle = self.rooms.transfers.connections.iter().position(fits);
        let (host, port, login) = (request.host.clone(), request.port, request.login.clone());
        let (round, last, settling, moved) = (Round::default(), false, false, [0; 3]);
        let job = Some(Job { waiter, request, round, last, settling, deadline_ms, moved });
        let link = if let Some(at) = idle {
            let connection = &mut self.rooms.transfers.connections[at];
            connection.job = job;
            connection.link
        } else {
            let link = self.open_link(LinkOwner::Transfer, &host, port);
            let (connected, db, used_ms) = (false, None, now_ms);
            let connection = Connection { link, host, port, login, connected, db, used_ms, job };
            self.rooms.transfers.connections.push(connection);
            link
        };
        self.look_at_transfer_again(link);
        if idle.is_some() {
            self.with_transfer(link, Self::send_keys);
        }
    }

    /// Does something for a connection whose client is not the running one.
    fn with_transfer(&mut self, link: ClientId, work: impl FnOnce(&mut Self, &mut Client, usize)) {
        let Some(at) = self.rooms.transfers.position(link) else { return };
        let Some(mut client) = self.clients.take(link) else { return };
        work(self, &mut client, at);
        self.clients.put_back(client);
        self.clients.queue_flush(link);
    }

    /// Something happened on a connection; `client` is its link.
    pub(super) fn transfer_event(&mut self, client: &mut Client, event: &LinkEvent<'_>) {
        let Some(at) = self.rooms.transfers.position(client.id) else {
            client.closing = Closing::Now;
            return;
        };
        let connection = &mut self.rooms.transfers.connections[at];
        match event {
            LinkEvent::Connected => {
                connection.connected = true;
                self.send_keys(client, at);
            }
            LinkEvent::Failed(_) | LinkEvent::Closed => self.transfer_lost(client, at),
            LinkEvent::Data(bytes) => {
                let progress = connection.job.as_mut().map(|job| job.round.receive(bytes));
                match progress {
                    Some(Ok(Progress::More)) => {}
                    Some(Ok(Progress::All)) => self.settle_transfer(client, at),
                    Some(Ok(Progress::Refused)) => {
                        // The answers to what was sent behind it are nobody's.
                        client.closing = Closing::Now;
                        self.settle_transfer(client, at);
                        self.forget_connection(client.id);
                    }
                    Some(Err(_)) | None => self.transfer_lost(client, at),
                }
            }
        }
    }

    /// Sends what is to be moved: all keys, or for the last round those that the target has.
    fn send_keys(&mut self, client: &mut Client, at: usize) {
        let now_ms = self.now.unix_ms();
        let connection = &mut self.rooms.transfers.connections[at];
        let Some(job) = connection.job.as_mut() else { return };
        let before = std::mem::take(&mut job.round).taken;
        let keys: Vec<Vec<u8>> = if job.last {
            before.into_iter().map(|sent| sent.key).collect()
        } else {
            job.request.keys.clone()
        };
        let Request { from_db, to_db, copy, replace, .. } = job.request;
        let (replace, last) = (replace || job.last, job.last);
        let mut round = Round::default();
        if let Some(login) = &connection.login {
            // Each time: what was right for the last command may not be so any more.
            round.login(login, &mut client.out);
        }
        if connection.db != Some(to_db) {
            round.select(to_db, &mut client.out);
            connection.db = Some(to_db);
        }
        self.unwatch(client);
        client.db = from_db;
        for key in keys {
            let db = self.keyspace.db_mut(from_db);
            let expiry_ms = db.expiry(&key);
            match db.lookup(&key) {
                Some(value) => {
                    let payload = rdb::dump::dump(value);
                    let stream = matches!(value, ValueRef::Stream(_));
                    let digest = (stream && !copy).then(|| sha1::digest(&payload));
                    if !copy {
                        self.watch(client, &key);
                    }
                    let left_ms = expiry_ms.map_or(0, |at_ms| (at_ms - now_ms).max(1));
                    let sent = Sent { key, digest };
                    round.restore(sent, left_ms, &payload, replace, &mut client.out);
                }
                None if last => round.delete(key, &mut client.out),
                None => {}
            }
        }
        hooks::drain_expired(self, Some(client));
        self.flush_outbox();
        let nothing = round.is_empty();
        if let Some(job) = &mut self.rooms.transfers.connections[at].job {
            job.round = round;
        }
        if nothing {
            // They ended while the connection was opened.
            client.out.clear();
            self.rooms.transfers.connections[at].db = None;
            self.answer_transfer(client, at, |client| client.reply().simple("NOKEY"));
        }
    }

    /// The connection is gone, or of no use. What the target has is moved all the same.
    fn transfer_lost(&mut self, client: &mut Client, at: usize) {
        client.closing = Closing::Now;
        let connection = &mut self.rooms.transfers.connections[at];
        let why = if connection.connected { READING } else { CONNECTING };
        connection.connected = false;
        if let Some(job) = &mut connection.job {
            job.round.refusal.get_or_insert(why.into());
            self.settle_transfer(client, at);
        }
        let waits = self.rooms.transfers.position(client.id);
        if waits.is_none_or(|at| self.rooms.transfers.connections[at].job.is_none()) {
            self.forget_connection(client.id);
        } else if let Some(at) = waits {
            // The link ends with this event, and the watch with it: nobody would know of a change.
            self.leave_keys(client, at, READING);
            self.forget_connection(client.id);
        }
    }

    fn forget_connection(&mut self, link: ClientId) {
        self.rooms.transfers.connections.retain(|connection| connection.link != link);
    }

    /// All answers are in: deletes what the target has, or sends it again if it has changed.
    fn settle_transfer(&mut self, client: &mut Client, at: usize) {
        let connected = self.rooms.transfers.connections[at].connected;
        let Some(job) = &self.rooms.transfers.connections[at].job else { return };
        if job.request.copy || job.round.taken.is_empty() {
            return self.end_transfer(client, at);
        }
        if hooks::is_replica(self) {
            return self.leave_keys(client, at, NOT_PRIMARY);
        }
        if self.stream_is_paused() {
            if let Some(job) = &mut self.rooms.transfers.connections[at].job {
                job.settling = true;
            }
            return;
        }
        let last = job.last;
        if !self.has_changed(client, at) {
            self.delete_moved(client, at);
            self.end_transfer(client, at);
        } else if connected && !last {
            self.send_again(client, at);
        } else {
            self.leave_keys(client, at, CHANGED);
        }
    }

    fn has_changed(&mut self, client: &Client, at: usize) -> bool {
        let Some(job) = &self.rooms.transfers.connections[at].job else { return false };
        let db = self.keyspace.db(job.request.from_db);
        let differs = |sent: &Sent| {
            let now = || db.peek(&sent.key).map(|value| sha1::digest(&rdb::dump::dump(value)));
            sent.digest.is_some() && sent.digest != now()
        };
        client.watch_broken || job.round.taken.iter().any(differs)
    }

    fn send_again(&mut self, client: &mut Client, at: usize) {
        let now_ms = self.now.mono_ms();
        let connection = &mut self.rooms.transfers.connections[at];
        let Some(job) = connection.job.as_mut() else { return };
        (job.last, job.settling) = (true, false);
        job.deadline_ms = now_ms.saturating_add(job.request.timeout_ms);
        self.pause.set(Reason::Transfer, Scope::Writes, None);
        hooks::stream_changed(self);
        let refusal = self.rooms.transfers.connections[at].job.as_mut();
        let refusal = refusal.and_then(|job| job.round.refusal.take());
        self.send_keys(client, at);
        if let Some(job) = &mut self.rooms.transfers.connections[at].job {
            job.round.refusal = refusal;
        }
    }

    /// Deletes the keys that the target has.
    fn delete_moved(&mut self, client: &mut Client, at: usize) {
        let Some(job) = &mut self.rooms.transfers.connections[at].job else { return };
        let from = job.request.from_db;
        let mut deleted = Vec::new();
        for Sent { key, .. } in std::mem::take(&mut job.round.taken) {
            if self.keyspace.db_mut(from).delete(&key, false) {
                deleted.push(key);
            }
        }
        for key in &deleted {
            self.touch_by_server(Some(client), from, key);
            self.note_event(from, EventClasses::GENERIC, "del", key);
        }
        hooks::drain_expired(self, Some(client));
        if hooks::stream_is_open(self) {
            for part in deleted.chunks(DELETED_MAX) {
                let mut words: Vec<&[u8]> = vec![b"DEL"];
                words.extend(part.iter().map(Vec::as_slice));
                self.outbox.push(from, words);
            }
        }
        self.outbox.changes += deleted.len() as u64;
        self.publish_events(Some(client));
        self.tell_changes(Some(client));
        self.flush_outbox();
    }

    /// Answers with the error alone: the keys stay.
    fn leave_keys(&mut self, client: &mut Client, at: usize, why: &'static str) {
        if let Some(job) = &mut self.rooms.transfers.connections[at].job {
            job.round.refusal = Some(why.into());
        }
        self.end_transfer(client, at);
    }

    fn end_transfer(&mut self, client: &mut Client, at: usize) {
        let Some(job) = &mut self.rooms.transfers.connections[at].job else { return };
        match job.round.refusal.take() {
            None => self.answer_transfer(client, at, |client| client.reply().ok()),
            Some(text) => {
                let text = if text.starts_with("IOERR ") {
                    text
                } else {
                    format!("ERR Target instance replied with error: {text}")
                };
                let error = CommandError::from(text);
                self.answer_transfer(client, at, |client| client.reply().error(&error));
            }
        }
    }

    /// Answers the command's client and lets everybody go on.
    fn answer_transfer(&mut self, client: &mut Client, at: usize, write: impl FnOnce(&mut Client)) {
        self.unwatch(client);
        let connection = &mut self.rooms.transfers.connections[at];
        let Some(job) = connection.job.take() else { return };
        connection.used_ms = self.now.mono_ms();
        self.answer(job.waiter, write);
        self.bound_idle_connections();
        let holds = |connection: &Connection| connection.job.as_ref().is_some_and(|job| job.last);
        if job.last && !self.rooms.transfers.connections.iter().any(holds) {
            self.pause.end(Reason::Transfer);
            hooks::stream_changed(self);
            self.resume_soon();
        }
    }

    fn bound_idle_connections(&mut self) {
        let idle = self.rooms.transfers.connections.iter().filter(|own| own.job.is_none());
        let mut idle: Vec<_> = idle.map(|own| (own.used_ms, own.link)).collect();
        idle.sort_unstable();
        let over = idle.len().saturating_sub(IDLE_MAX);
        for (_, link) in idle.into_iter().take(over) {
            self.close_unused(link);
        }
    }

    /// No command may take it any more, though its end is still to come.
    fn close_unused(&mut self, link: ClientId) {
        if let Some(at) = self.rooms.transfers.position(link) {
            self.rooms.transfers.connections[at].connected = false;
        }
        self.clients.close(link, Closing::Now);
    }

    /// The time of a command may be up: not if bytes came or went, except while writes wait for it.
    pub(super) fn transfer_timer(&mut self, link: ClientId) {
        let now_ms = self.now.mono_ms();
        let Some(at) = self.rooms.transfers.position(link) else { return };
        let Some(client) = self.clients.get(link) else { return };
        let moved = [client.bytes_in, client.bytes_out, client.out.len() as u64];
        let Some(job) = &mut self.rooms.transfers.connections[at].job else { return };
        if job.moved != moved && !job.last {
            job.moved = moved;
            job.deadline_ms = now_ms.saturating_add(job.request.timeout_ms);
        }
        if job.deadline_ms > now_ms || job.settling {
            return self.look_at_transfer_again(link);
        }
        self.with_transfer(link, Self::transfer_lost);
    }

    /// In a part of its timeout, so that the end of the traffic is noticed about when it was.
    fn look_at_transfer_again(&mut self, link: ClientId) {
        let now_ms = self.now.mono_ms();
        let Some(at) = self.rooms.transfers.position(link) else { return };
        let Some(job) = &self.rooms.transfers.connections[at].job else { return };
        let part_ms = (job.request.timeout_ms / LOOKS).max(1);
        let left_ms = job.deadline_ms.saturating_sub(now_ms).max(1);
        self.timers.at(now_ms.saturating_add(part_ms.min(left_ms)), Timer::Transfer(link));
    }

    /// Ten times a second: deletions whose pause is over, and connections that nobody uses.
    pub(super) fn transfers_cron(&mut self) {
        if self.rooms.transfers.connections.is_empty() {
            return;
        }
        let now_ms = self.now.mono_ms();
        let (mut settling, mut unused) = (Vec::new(), Vec::new());
        for connection in &self.rooms.transfers.connections {
            match &connection.job {
                Some(job) if job.settling => settling.push(connection.link),
                None if now_ms > connection.used_ms + IDLE_MS => unused.push(connection.link),
                _ => {}
            }
        }
        for link in settling {
            self.with_transfer(link, Self::settle_transfer);
        }
        for link in unused {
            self.close_unused(link);
        }
    }
}
