//! Keyspace notifications: what happened to a key, told to whoever subscribed to it.
//!
//! A handler says what it did with [`Context::notify`](super::Context::notify); code outside of
//! handlers (expiry, eviction) with [`Engine::note_event`]. While the directive
//! `notify-keyspace-events` is empty both end at one test of a flag. Otherwise the event is queued
//! and published when the command's effects are complete, so that a subscriber that looks at the
//! key sees what it was told about. Events are made where commands are executed, on replicas too,
//! and never travel in the replication stream.
//! Names and classes are those of <https://valkey.io/topics/notifications>.

use std::rc::Rc;

use crate::client::{Client, ClientId, ReplyMode};
use crate::config::EventClasses as Class;
use crate::glob;
use crate::resp::Reply;

use super::{Context, Engine};

/// One event that waits for the end of its command.
struct Event {
    db: u32,
    class: Class,
    name: &'static str,
    key: Box<[u8]>,
}

/// Events of the running command, and pushes for the client that runs it.
#[derive(Default)]
pub struct Events {
    /// What the directive asks for; empty unless a channel kind and a class are.
    wanted: Class,
    pending: Vec<Event>,
    /// Pushes for the running client, which stand behind its command's reply.
    pub(crate) own: Vec<u8>,
}

impl Events {
    /// Whether events of this class are published at all.
    #[inline]
    pub fn wants(&self, class: Class) -> bool {
        self.wanted.has(class)
    }

    pub fn configure(&mut self, classes: Class) {
        let channels = Class::KEYSPACE | Class::KEYEVENT;
        self.wanted = if classes.has(channels) { classes } else { Class::default() };
    }
}

impl Context<'_> {
    /// Tells subscribers that `event` happened to `key` in the client's database. Called after the
    /// change, once per key, with Valkey's name of the event; see the module's text.
    #[inline]
    pub fn notify(&mut self, class: Class, event: &'static str, key: &[u8]) {
        if self.engine.events.wants(class | Class::NEW) {
            self.engine.note_event(self.client.db, class, event, key);
        }
    }

    /// As [`Self::notify`], for a key of another database than the client's.
    #[inline]
    pub fn notify_in(&mut self, db: usize, class: Class, event: &'static str, key: &[u8]) {
        if self.engine.events.wants(class | Class::NEW) {
            self.engine.note_event(db, class, event, key);
        }
    }

    /// As [`Self::notify`], of `del` for a collection that its last element took along.
    #[inline]
    pub fn notify_emptied(&mut self, key: &[u8]) {
        if self.engine.events.wants(Class::GENERIC)
            && !self.engine.keyspace.db_mut(self.client.db).contains(key)
        {
            self.engine.note_event(self.client.db, Class::GENERIC, "del", key);
        }
    }
}

impl Engine {
    /// What was loaded is not new to anybody.
    pub fn events_begin(&mut self) {
        self.keyspace.note_new(self.events.wants(Class::NEW));
    }

    /// Queues an event; published at the end of the running command, or by
    /// [`Engine::publish_events`].
    pub fn note_event(&mut self, db: usize, class: Class, event: &'static str, key: &[u8]) {
        // Keys that expired before this command came to them are told first.
        self.note_expired();
        self.collect_new_keys();
        self.queue_event(db, class, event, key);
    }

    /// A key's time came: queued as it is, because what was added later is told later.
    pub(super) fn note_expired_key(&mut self, db: usize, key: &[u8]) {
        self.queue_event(db, Class::EXPIRED, "expired", key);
    }

    /// The time of fields came, and the key went with the last of them.
    pub(super) fn note_expired_fields(&mut self, db: usize, key: &[u8]) {
        self.queue_event(db, Class::EXPIRED, "hexpired", key);
        if !self.keyspace.db_mut(db).contains(key) {
            self.queue_event(db, Class::GENERIC, "del", key);
        }
    }

    fn queue_event(&mut self, db: usize, class: Class, name: &'static str, key: &[u8]) {
        if self.events.wants(class) {
            let (db, key) = (db as u32, Box::from(key));
            self.events.pending.push(Event { db, class, name, key });
        }
    }

    /// Keys that were added since the last look become events, before what happened to them.
    fn collect_new_keys(&mut self) {
        if !self.events.wants(Class::NEW) {
            return;
        }
        for (db, key) in self.keyspace.take_new() {
            let (db, key) = (db as u32, key.into_boxed_slice());
            self.events.pending.push(Event { db, class: Class::NEW, name: "new", key });
        }
    }

    /// Keys that a command which only reads will not find. Asked before it runs.
    pub(super) fn note_missing_keys(&mut self, cx_db: usize, keys: Vec<Box<[u8]>>) {
        for key in keys {
            if !self.keyspace.db_mut(cx_db).contains(&key) {
                self.note_event(cx_db, Class::KEY_MISS, "keymiss", &key);
            }
        }
    }

    /// Publishes what is queued. `running` is the client whose command runs, if there is one: its
    /// own share is kept for the end of its reply.
    #[inline]
    pub fn publish_events(&mut self, running: Option<&mut Client>) {
        if !self.events.wanted.is_empty() {
            self.publish_queued(running);
        }
    }

    #[cold]
    fn publish_queued(&mut self, mut running: Option<&mut Client>) {
        self.collect_new_keys();
        let mut events = std::mem::take(&mut self.events.pending);
        for event in events.drain(..) {
            let Event { db, name, key, .. } = &event;
            if self.events.wants(Class::KEYSPACE) {
                let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
                self.deliver(running.as_deref_mut(), false, &channel, name.as_bytes());
            }
            if self.events.wants(Class::KEYEVENT) {
                let channel = format!("__keyevent@{db}__:{name}");
                self.deliver(running.as_deref_mut(), false, channel.as_bytes(), key);
            }
            debug_assert!(self.events.wants(event.class));
        }
        self.events.pending = events;
    }

    /// Hands a message to the subscribers of this node: of its shard channel, or of its channel and
    /// all matching patterns. Returns how many they are.
    pub fn deliver(
        &mut self,
        mut running: Option<&mut Client>,
        shard: bool,
        channel: &[u8],
        message: &[u8],
    ) -> usize {
        let pubsub = &self.pubsub;
        let index = if shard { &pubsub.shard_channels } else { &pubsub.channels };
        let mut receivers: Vec<(ClientId, Option<Rc<[u8]>>)> =
            index.get(channel).into_iter().flatten().map(|id| (*id, None)).collect();
        if !shard {
            for (pattern, subscribers) in &pubsub.patterns {
                if glob::matches(pattern, channel) {
                    let pattern: Rc<[u8]> = Rc::from(&**pattern);
                    let each = |id: &ClientId| (*id, Some(Rc::clone(&pattern)));
                    receivers.extend(subscribers.iter().map(each));
                }
            }
        }
        let word: &[u8] = if shard { b"smessage" } else { b"message" };
        for (id, pattern) in &receivers {
            let pattern = pattern.as_deref();
            if let Some(client) = running.as_deref_mut().filter(|client| client.id == *id) {
                let own = &mut self.events.own;
                let mut reply = Reply::bounded(own, client.proto, client.output_bound());
                write_message(&mut reply, word, pattern, channel, message);
            } else if let Some(subscriber) = self.clients.get_mut(*id) {
                write_message(&mut subscriber.reply(), word, pattern, channel, message);
                self.clients.queue_flush(*id);
            }
        }
        receivers.len()
    }

    /// The end of a top-level command: pushes for its own client follow its reply, also one that
    /// is left out ([`Engine::execute_silently`] appends them).
    #[inline]
    pub(super) fn append_own_pushes(&mut self, client: &mut Client) {
        if !self.events.own.is_empty() && client.reply_mode == ReplyMode::On {
            client.out.append(&mut self.events.own);
        }
    }
}

fn write_message(
    reply: &mut Reply<'_>,
    word: &[u8],
    pattern: Option<&[u8]>,
    channel: &[u8],
    message: &[u8],
) {
    if let Some(pattern) = pattern {
        reply.push(4);
        reply.bulk(b"pmessage");
        reply.bulk(pattern);
    } else {
        reply.push(3);
        reply.bulk(word);
    }
    reply.bulk(channel);
    reply.bulk(message);
}

#[cfg(test)]
mod tests;
