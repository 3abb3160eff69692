//! One connection: reading, writing, ending.

use std::cell::RefCell;
use std::io::{self, Read, Write};

use mio::event::Event;

use crate::client::{Client, ClientId, Closing, Duty};
use crate::config::{Config, OutputLimit};
use crate::engine::cron::HANDSHAKE_MS;
use crate::engine::effects::LinkEvent;
use crate::engine::{Engine, OUTPUT_CUT_BYTES};

use super::stream::Stream;
use super::{Net, READ_BUFFER_BYTES, READ_TURN_BYTES};

/// How long a connection whose end was sent may take to end its own side, in milliseconds.
const DRAIN_MS: u64 = 5_000;
/// How long a link may take until its handshake is complete, in milliseconds: who speaks no TLS may
/// wait for more of what it does not understand.
const LINK_HANDSHAKE_MS: u64 = 10_000;
/// Backlog bytes taken for a replica at once.
const REPLICA_CHUNK_BYTES: usize = 256 * 1024;
/// An output buffer that is empty keeps at most this capacity, in bytes.
const OUTPUT_KEPT_BYTES: usize = 64 * 1024;
/// Unread output from which on `maxmemory-clients` is looked at whenever there is more of it, in bytes.
const COUNTED_OUTPUT_BYTES: usize = 16 * 1024;
/// Unread output at which a connection that has not authenticated is ended.
const UNAUTHENTICATED_OUTPUT_BYTES: usize = 1024;

#[allow(clippy::struct_excessive_bools)] // facts about a socket that change independently
pub struct Conn {
    id: ClientId,
    stream: Stream,
    /// The connect is under way; the first writable event tells its outcome.
    connecting: bool,
    readable: bool,
    writable: bool,
    /// Already in the list of those to be read.
    listed: bool,
    /// The peer's end is on its way: a short read does not mean that nothing is left.
    end_near: bool,
    /// The peer's end was read.
    ended: bool,
    /// Our end was sent; input is read and dropped until the peer's, or this time.
    draining_until_ms: Option<u64>,
    /// Bytes at the start of the client's output that were written already.
    sent: usize,
}

impl Conn {
    pub fn new(id: ClientId, stream: Stream, connecting: bool) -> Self {
        Self {
            id,
            stream,
            connecting,
            readable: false,
            writable: !connecting,
            listed: false,
            end_near: false,
            ended: false,
            draining_until_ms: None,
            sent: 0,
        }
    }
}

/// What became of an attempt to write.
enum Written {
    All,
    Blocked,
    /// The rest waits for commit.
    Gated,
    Broken,
}

/// Reads every connection that may have bytes, and executes what they say. Nothing of `shared` is
/// borrowed meanwhile, so that a long command can let others be served, also those of this turn.
/// Those that are listed again meanwhile are read in the next turn.
pub(super) fn read_ready(shared: &RefCell<Net>, engine: &mut Engine) {
    {
        let net = &mut *shared.borrow_mut();
        net.turn.extend(net.ready.drain(..));
    }
    loop {
        let Some(id) = shared.borrow_mut().turn.pop_front() else { break };
        let mut left = READ_TURN_BYTES;
        loop {
            let mut net = shared.borrow_mut();
            let Some(count) = net.read_some(engine, id, &mut left) else { break };
            let buffer = std::mem::take(&mut net.buffer);
            drop(net);
            engine.receive(id, &buffer[..count]);
            shared.borrow_mut().buffer = buffer;
        }
    }
}

impl Net {
    pub(super) fn conn_event(&mut self, engine: &mut Engine, slot: usize, event: &Event) {
        let Some(conn) = self.conns.get_mut(slot).and_then(Option::as_mut) else { return };
        let id = conn.id;
        if conn.connecting && !self.connected(engine, slot, event) {
            return;
        }
        let Some(conn) = self.conns[slot].as_mut() else { return };
        if event.is_writable() && !conn.writable {
            conn.writable = true;
            engine.clients.queue_flush(id);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            conn.readable = true;
            if !conn.listed {
                conn.listed = true;
                self.ready.push(id);
            }
        }
        if event.is_read_closed() {
            conn.end_near = true;
        }
    }

    /// The outcome of a connect; false when there is no connection to go on with.
    fn connected(&mut self, engine: &mut Engine, slot: usize, event: &Event) -> bool {
        let conn = self.conns[slot].as_mut().expect("the caller saw it");
        if !(event.is_writable() || event.is_error() || event.is_read_closed()) {
            return false;
        }
        let id = conn.id;
        match conn.stream.connect_error() {
            Some(error) if error.kind() == io::ErrorKind::NotConnected => false,
            Some(error) => {
                self.conns[slot] = None;
                engine.link_event(id, LinkEvent::Failed(error.to_string()));
                false
            }
            None => {
                conn.connecting = false;
                conn.writable = true;
                let local = conn.stream.local_addr();
                if let Some(client) = engine.clients.get_mut(id) {
                    client.local = local;
                }
                engine.link_event(id, LinkEvent::Connected);
                engine.clients.queue_flush(id);
                true
            }
        }
    }

    /// Whether a connection is one whose commands may be executed in the middle of another's.
    pub(super) fn is_settled(&self, slot: usize) -> bool {
        self.conns.get(slot).and_then(Option::as_ref).is_none_or(|conn| !conn.connecting)
    }

    fn conn(&mut self, id: ClientId) -> Option<&mut Conn> {
        self.conns.get_mut(id.slot as usize)?.as_mut().filter(|conn| conn.id == id)
    }

    /// Reads what a connection has, up to a buffer full; `None` when there is no more to do for it in
    /// this turn. `left` is what it may still say in this turn.
    pub(super) fn read_some(
        &mut self,
        engine: &mut Engine,
        id: ClientId,
        left: &mut usize,
    ) -> Option<usize> {
        let conn = self.conns.get_mut(id.slot as usize).and_then(Option::as_mut);
        let conn = conn.filter(|conn| conn.id == id)?;
        if *left == READ_TURN_BYTES {
            conn.listed = false;
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; READ_BUFFER_BYTES];
        }
        while conn.readable {
            if *left == 0 {
                conn.listed = true;
                self.ready.push(id);
                return None;
            }
            let draining = conn.draining_until_ms.is_some();
            match engine.clients.get_mut(id) {
                None if draining => {}
                None => {
                    self.drop_conn(engine, id);
                    return None;
                }
                Some(client) if !draining && !Engine::wants_read(client) => {
                    client.read_stopped = true;
                    return None;
                }
                Some(_) => {}
            }
            let read = conn.stream.read(&mut self.buffer);
            if conn.stream.owes() {
                // A part of the handshake goes out when the socket says that it is writable.
                conn.writable = false;
            }
            match read {
                Ok(0) => {
                    self.peer_ended(engine, id);
                    return None;
                }
                Ok(count) => {
                    if let Some(certificate) = conn.stream.new_certificate() {
                        engine.certified(id, &certificate);
                    }
                    if count < self.buffer.len() && !conn.end_near && !conn.stream.is_tls() {
                        conn.readable = false;
                    }
                    *left = left.saturating_sub(count);
                    if !draining {
                        return Some(count);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let failure = conn.stream.tls_failure(Some(&error));
                    self.end_conn(engine, id, failure);
                    return None;
                }
            }
        }
        None
    }

    /// The peer sent its end: what it was owed is written, then the connection goes.
    fn peer_ended(&mut self, engine: &mut Engine, id: ClientId) {
        let Some(conn) = self.conn(id) else { return };
        conn.ended = true;
        conn.readable = false;
        let failure = conn.stream.tls_failure(None);
        let drained = conn.draining_until_ms.is_some();
        let waiting = engine.clients.get(id).is_none_or(|client| {
            client.duty != Duty::Commands || client.hold != crate::client::Hold::None
        });
        if drained || waiting {
            return self.end_conn(engine, id, failure);
        }
        engine.clients.close(id, Closing::AfterOutput);
    }

    pub(super) fn drop_conn(&mut self, engine: &mut Engine, id: ClientId) {
        self.end_conn(engine, id, None);
    }

    /// Drops a connection; the owner of a link is told what made it fail.
    fn end_conn(&mut self, engine: &mut Engine, id: ClientId, failure: Option<String>) {
        let slot = self.conns.get_mut(id.slot as usize);
        if let Some(slot) = slot.filter(|slot| slot.as_ref().is_some_and(|conn| conn.id == id)) {
            let mut conn = slot.take().expect("it was just seen");
            // Closing the socket ends its registration too; an error here changes nothing.
            let _ = self.poll.registry().deregister(&mut conn.stream);
        }
        let is_link =
            engine.clients.get(id).is_some_and(|client| matches!(client.duty, Duty::Link(_)));
        match failure.filter(|_| is_link) {
            Some(why) => engine.link_event(id, LinkEvent::Failed(why)),
            None => engine.disconnected(id),
        }
    }

    /// Writes what every client in the list has to say, once each.
    pub(super) fn flush(&mut self, engine: &mut Engine) {
        if engine.gives_leases() {
            engine.leases_given(self.clock.mono_us());
        }
        let mut index = 0;
        while let Some(id) = engine.clients.flush.get(index).copied() {
            index += 1;
            self.flush_conn(engine, id);
        }
        engine.clients.flush.clear();
    }

    fn flush_conn(&mut self, engine: &mut Engine, id: ClientId) {
        let Some(client) = engine.clients.get_mut(id) else { return };
        client.flush_queued = false;
        let Some(conn) = self.conns.get_mut(id.slot as usize).and_then(Option::as_mut) else {
            if client.closing != Closing::No {
                engine.disconnected(id);
            }
            return;
        };
        if client.closing == Closing::Now {
            return self.drop_conn(engine, id);
        }
        // What it was sent by others may lack its end; and of what is too much nothing is written,
        // as in Valkey, however fast the connection reads.
        let unsent = client.out.len().saturating_sub(conn.sent);
        let hard = output_limit(client, &engine.config).hard_bytes;
        let too_much = client.duty == Duty::Commands && hard > 0 && unsent as u64 > hard;
        if client.overflows() || too_much && conn.draining_until_ms.is_none() {
            engine.stats.clients_over_output_limit += 1;
            return self.drop_conn(engine, id);
        }
        if conn.draining_until_ms.is_some() {
            client.out.clear();
            return;
        }
        if client.read_stopped && Engine::wants_read(client) {
            client.read_stopped = false;
            if conn.readable && !conn.listed {
                conn.listed = true;
                self.ready.push(id);
            }
        }
        if client.duty == Duty::Replica && client.out.is_empty() && conn.writable {
            engine.fill_replica(id, REPLICA_CHUNK_BYTES);
        }
        loop {
            // Read anew each time: what is released was executed before.
            let limit = if engine.gates_output() {
                engine.gate_output(id, self.clock.mono_us())
            } else {
                usize::MAX
            };
            let Some(client) = engine.clients.get_mut(id) else { return };
            let total = match client.duty {
                Duty::Replica => &mut engine.stats.stream_out,
                _ => &mut engine.stats.bytes_out,
            };
            match write_out(conn, client, limit, total) {
                Written::All => {
                    if client.output_full {
                        engine.output_written(id);
                        continue;
                    }
                    if client.duty == Duty::Replica && engine.fill_replica(id, REPLICA_CHUNK_BYTES)
                    {
                        continue;
                    }
                    return self.written_all(engine, id);
                }
                Written::Blocked | Written::Gated => return self.check_output(engine, id),
                Written::Broken => return self.drop_conn(engine, id),
            }
        }
    }

    /// Everything was written: ends the connection if that was all it was waiting for.
    fn written_all(&mut self, engine: &mut Engine, id: ClientId) {
        let now_ms = engine.now.mono_ms();
        let Some(client) = engine.clients.get_mut(id) else { return };
        client.soft_limit_since_ms = None;
        if client.closing == Closing::No {
            return;
        }
        let Some(conn) = self.conn(id) else { return };
        // With input unread, closing would send a reset, which may overtake the last answer: only
        // a connection whose end was read is closed at once.
        match conn.stream.shutdown_write() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !conn.ended => {
                conn.writable = false;
                return;
            }
            Ok(()) if !conn.ended => {}
            _ => return self.drop_conn(engine, id),
        }
        conn.draining_until_ms = Some(now_ms + DRAIN_MS);
        if !conn.listed {
            conn.listed = true;
            conn.readable = true;
            self.ready.push(id);
        }
        self.draining.push(id);
        engine.retired(id);
    }

    /// Ends a connection that does not read what it was answered.
    fn check_output(&mut self, engine: &mut Engine, id: ClientId) {
        let now_ms = engine.now.mono_ms();
        let Some(sent) = self.conn(id).map(|conn| conn.sent) else { return };
        let Some(client) = engine.clients.get_mut(id) else { return };
        if client.closing == Closing::Now {
            // What it held was given back already.
            return;
        }
        let pending = client.out.len() - sent;
        let limit = output_limit(client, &engine.config);
        let mut over = limit.hard_bytes > 0 && pending as u64 > limit.hard_bytes;
        if limit.soft_bytes > 0 && pending as u64 > limit.soft_bytes {
            let since_ms = *client.soft_limit_since_ms.get_or_insert(now_ms);
            over |= now_ms - since_ms >= limit.soft_s * 1000;
        } else {
            client.soft_limit_since_ms = None;
        }
        over |= client.duty == Duty::Commands
            && !client.authenticated
            && (pending > UNAUTHENTICATED_OUTPUT_BYTES || client.output_full);
        if over {
            engine.stats.clients_over_output_limit += 1;
            return self.drop_conn(engine, id);
        }
        if pending >= COUNTED_OUTPUT_BYTES {
            engine.count_unread(id);
        }
    }

    /// The soft limits of connections that nothing is written to any more, since they do not read.
    pub(super) fn end_slow_readers(&mut self, engine: &mut Engine) {
        let slow = engine.clients.iter().filter(|client| client.soft_limit_since_ms.is_some());
        let slow: Vec<ClientId> = slow.map(|client| client.id).collect();
        for id in slow {
            self.check_output(engine, id);
        }
    }

    /// Drops connections by TLS that did not get as far as to say something in time, also where no
    /// password is asked for.
    pub(super) fn end_handshakes(&mut self, engine: &mut Engine) {
        let now_ms = engine.now.mono_ms();
        let late: Vec<ClientId> = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| conn.stream.is_handshaking())
            .filter(|conn| {
                engine.clients.get(conn.id).is_none_or(|client| {
                    let is_link = matches!(client.duty, Duty::Link(_)) && !conn.connecting;
                    let bound_ms = if is_link { LINK_HANDSHAKE_MS } else { HANDSHAKE_MS };
                    now_ms > client.created_ms + bound_ms
                })
            })
            .map(|conn| conn.id)
            .collect();
        for id in late {
            let why = "TLS: the handshake is not answered; does it speak TLS at this port?";
            self.end_conn(engine, id, Some(why.to_owned()));
        }
    }

    /// Drops connections whose peers did not end their side in time.
    pub(super) fn end_drained(&mut self, engine: &mut Engine) {
        let now_ms = engine.now.mono_ms();
        for id in std::mem::take(&mut self.draining) {
            match self.conn(id).and_then(|conn| conn.draining_until_ms) {
                Some(until_ms) if until_ms <= now_ms => self.drop_conn(engine, id),
                Some(_) => self.draining.push(id),
                None => {}
            }
        }
    }
}

/// How much may wait to be read by a client.
fn output_limit(client: &Client, config: &Config) -> OutputLimit {
    let limits = &config.client_output_buffer_limit;
    match client.duty {
        // A part of the stream or of a snapshot that waits here is no news: the engine judges by how
        // much it keeps for a replica. Only answers to what the replica asks could pile up.
        Duty::Replica => {
            let hard_bytes = match limits.replica.hard_bytes {
                0 => 0,
                bytes => bytes.max(config.repl_backlog_size.0).max(2 * REPLICA_CHUNK_BYTES as u64),
            };
            OutputLimit { hard_bytes, ..OutputLimit::default() }
        }
        Duty::Link(_) => OutputLimit::default(),
        Duty::Commands if client.subscription_count() > 0 => limits.pubsub,
        Duty::Commands => limits.normal,
    }
}

/// Writes the client's output until it is empty or the socket takes no more.
fn write_out(conn: &mut Conn, client: &mut Client, limit: usize, total: &mut u64) -> Written {
    let end = limit.min(client.out.len());
    while conn.sent < end {
        if !conn.writable {
            if conn.sent >= OUTPUT_CUT_BYTES {
                client.out.drain(..conn.sent);
                client.marks.cut(conn.sent);
                client.bytes_out += conn.sent as u64;
                conn.sent = 0;
            }
            return Written::Blocked;
        }
        match conn.stream.write(&client.out[conn.sent..end]) {
            Ok(count) => {
                conn.sent += count;
                *total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.writable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Written::Broken,
        }
    }
    match conn.stream.flush() {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            conn.writable = false;
            return Written::Blocked;
        }
        Err(_) => return Written::Broken,
    }
    if end < client.out.len() {
        return Written::Gated;
    }
    client.bytes_out += conn.sent as u64;
    conn.sent = 0;
    client.marks.clear();
    client.out.clear();
    if client.out.capacity() > OUTPUT_KEPT_BYTES {
        client.out = Vec::new();
    }
    Written::All
}
