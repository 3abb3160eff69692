//! Client-side caching: which clients may have a copy of which key, and telling them that it
//! changed.
//!
//! While no client tracks anything, a change costs one test of a flag. Keys are remembered by the
//! commands that read them, without their database, and forgotten when they change; in broadcasting
//! mode a client hears of every change under its prefixes and nothing is remembered. What a command
//! changed is told when its effects are complete, to its own client behind its reply; broadcasts
//! are gathered and told at the end of the turn.
//!
//! **Across a switch.** A relayed client stays with the node that it is connected to: that node
//! remembers a key before it forwards the command that reads it, and the replication stream tells
//! it of changes. A change may so arrive before an older answer; it is then told once more behind
//! that answer ([`crate::engine::relay`]). When the way of a client changes, or a full resync
//! replaces the data, it is told to forget everything.
//! See <https://valkey.io/topics/client-side-caching>.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound::{Included, Unbounded};

use crate::client::{Client, ClientId};
use crate::command::server::keys_with_flags;
use crate::command::{Command, Flags, Group};
use crate::resp::{Args, Proto, Reply};

use super::Engine;
use super::pubsub::name_bytes;

/// The channel of invalidations for RESP2 connections.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// What one client asked for with `CLIENT TRACKING`.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is an option of its own
pub struct Wishes {
    /// The serial number of the client that is told instead; 0 for none.
    pub redirect: u64,
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    pub prefixes: Prefixes,
    /// `CLIENT CACHING` was said: it holds for the next command.
    pub caching: bool,
    pub broken_redirect: bool,
}

/// Prefixes of one client, none of which begins with another.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    all: BTreeSet<Box<[u8]>>,
    bytes: usize,
}

impl Prefixes {
    /// The prefix that this one begins with, or that begins with it. Whatever begins with a prefix
    /// lies next behind it in order, so the two neighbours are all that can.
    pub fn overlapping(&self, prefix: &[u8]) -> Option<&[u8]> {
        let before = self.all.range::<[u8], _>((Unbounded, Included(prefix))).next_back();
        let behind = self.all.range::<[u8], _>((Included(prefix), Unbounded)).next();
        before
            .filter(|known| prefix.starts_with(known))
            .or_else(|| behind.filter(|known| known.starts_with(prefix)))
            .map(|known| &**known)
    }

    pub fn insert(&mut self, prefix: Box<[u8]>) {
        self.bytes += name_bytes(&prefix);
        self.all.insert(prefix);
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Box<[u8]>> {
        self.all.iter()
    }

    /// Bytes here and in the table of all clients, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Changes that one turn or one script gathers before all that is cached counts as changed.
const PENDING_MAX: usize = 100_000;

/// A change that is to be told: the key, `None` for all of them, and who made it.
type Change = (Option<Box<[u8]>>, Option<ClientId>);

#[derive(Default)]
struct Prefix {
    clients: Vec<ClientId>,
    changed: HashMap<Box<[u8]>, Option<ClientId>>,
}

/// The room's state.
#[derive(Default)]
pub struct Tracking {
    /// Clients that track.
    clients: HashSet<ClientId>,
    keys: HashMap<Box<[u8]>, Vec<ClientId>>,
    /// Entries in all of `keys`.
    items: usize,
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    pending: Vec<Change>,
    /// Some prefix has changes to tell.
    broadcasts: bool,
}

impl Tracking {
    /// Whether any client tracks anything.
    #[inline]
    pub fn is_on(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Clients, keys, entries and prefixes, for INFO.
    pub fn counts(&self) -> [usize; 4] {
        [self.clients.len(), self.keys.len(), self.items, self.prefixes.len()]
    }

    /// A key changed, or all did.
    #[cold]
    pub fn changed(&mut self, key: Option<&[u8]>, by: Option<ClientId>) {
        match self.pending.last() {
            // A script that changes the same key in a loop, or all keys.
            Some((last, maker)) if last.as_deref() == key && *maker == by => {}
            _ if self.pending.len() < PENDING_MAX => self.pending.push((key.map(Box::from), by)),
            _ => self.pending = vec![(None, None)],
        }
    }

    fn remember(&mut self, id: ClientId, key: &[u8]) {
        let readers = match self.keys.get_mut(key) {
            Some(readers) => readers,
            None => self.keys.entry(Box::from(key)).or_default(),
        };
        if !readers.contains(&id) {
            readers.push(id);
            self.items += 1;
        }
    }

    fn forget(&mut self, key: &[u8]) -> Vec<ClientId> {
        let readers = self.keys.remove(key).unwrap_or_default();
        self.items -= readers.len();
        readers
    }

    /// Gathers a change for those who hear of every one under a prefix.
    fn broadcast(&mut self, key: &[u8], by: Option<ClientId>) {
        if self.prefixes.is_empty() {
            return;
        }
        // From the longest prefix of the key that there may be to the empty one: what lies between
        // a prefix and the key in order begins with the prefix, too.
        let mut longest = key.len();
        loop {
            let range = (Unbounded, Included(&key[..longest]));
            let mut found = self.prefixes.range_mut::<[u8], _>(range);
            let Some((prefix, state)) = found.next_back() else { return };
            let common = prefix.iter().zip(key).take_while(|(one, other)| one == other).count();
            if common < prefix.len() {
                longest = common;
                continue;
            }
            state.changed.insert(Box::from(key), by);
            self.broadcasts = true;
            let Some(shorter) = prefix.len().checked_sub(1) else { return };
            longest = shorter;
        }
    }
}

impl Engine {
    /// `CLIENT TRACKING ON`, with options that were checked.
    pub(crate) fn track(&mut self, client: &mut Client, mut wishes: Wishes) {
        if wishes.broadcast && wishes.prefixes.is_empty() && client.tracking.is_none() {
            wishes.prefixes.insert(Box::default());
        }
        for prefix in wishes.prefixes.iter() {
            let clients = &mut self.tracking.prefixes.entry(prefix.clone()).or_default().clients;
            if !clients.contains(&client.id) {
                clients.push(client.id);
            }
        }
        if let Some(old) = client.tracking.take() {
            old.prefixes.all.into_iter().for_each(|prefix| wishes.prefixes.insert(prefix));
        }
        client.tracking = Some(Box::new(wishes));
        self.tracking.clients.insert(client.id);
    }

    /// `CLIENT TRACKING OFF`, or the client's end. What was remembered of it is passed over when
    /// the key changes.
    pub(crate) fn untrack(&mut self, client: &mut Client) {
        let Some(wishes) = client.tracking.take() else { return };
        self.tracking.clients.remove(&client.id);
        for prefix in wishes.prefixes.iter() {
            if let Some(state) = self.tracking.prefixes.get_mut(prefix) {
                state.clients.retain(|id| *id != client.id);
                if state.clients.is_empty() {
                    self.tracking.prefixes.remove(prefix);
                }
            }
        }
        if !self.tracking.is_on() {
            self.tracking = Tracking::default();
        }
    }

    /// Remembers the keys of a command that reads, for a client that tracks.
    pub(super) fn remember_keys(&mut self, client: &Client, row: &'static Command, args: Args<'_>) {
        let Some(wishes) = &client.tracking else { return };
        let skipped = wishes.broadcast
            || wishes.opt_in && !wishes.caching
            || wishes.opt_out && wishes.caching;
        // Of a script, what its commands read is remembered, and not the keys that it was given.
        let reads = row.is(Flags::READONLY) && row.group != Group::Scripting;
        if skipped || !reads || row.is(Flags::PUBSUB) {
            return;
        }
        let Some(id) = crate::acl::commands::id_of(row) else { return };
        for (at, _) in keys_with_flags(row, crate::acl::commands::entry(id).doc, args) {
            self.tracking.remember(client.id, args.at(at));
        }
    }

    /// `CLIENT CACHING` holds for the one command after it, or for one transaction.
    pub(super) fn caching_used(client: &mut Client, row: &Command) {
        if client.multi.is_none()
            && row.name != "caching"
            && let Some(wishes) = &mut client.tracking
        {
            wishes.caching = false;
        }
    }

    /// Tells what the command changed; `running` is its client.
    #[inline]
    pub(super) fn tell_changes(&mut self, running: Option<&mut Client>) {
        if !self.tracking.pending.is_empty() {
            self.tell_pending(running);
        }
    }

    #[cold]
    fn tell_pending(&mut self, mut running: Option<&mut Client>) {
        for (key, by) in std::mem::take(&mut self.tracking.pending) {
            let Some(key) = key else {
                self.tell_all(running.as_deref_mut());
                continue;
            };
            for id in self.tracking.forget(&key) {
                let own = running.as_deref().filter(|client| client.id == id);
                let client = own.or_else(|| self.clients.get(id));
                // It has changed its mode since it read the key.
                if client
                    .and_then(|client| client.tracking.as_ref())
                    .is_some_and(|wishes| !wishes.broadcast)
                {
                    self.tell(id, by, Some(&[&key]), running.as_deref_mut());
                }
            }
            self.tracking.broadcast(&key, by);
        }
    }

    /// Tells what was evicted to make room for a command, before it runs.
    pub(super) fn tell_evicted(&mut self, running: &mut Client) {
        if self.tracking.is_on() {
            self.tell_changes(Some(running));
            running.out.append(&mut self.events.own);
        }
    }

    /// Everything changed: all who track forget what they have.
    fn tell_all(&mut self, mut running: Option<&mut Client>) {
        self.tracking.keys.clear();
        self.tracking.items = 0;
        let clients: Vec<ClientId> = self.tracking.clients.iter().copied().collect();
        for id in clients {
            self.tell(id, None, None, running.as_deref_mut());
        }
    }

    /// One client forgets all that it has, because it will be answered by another way.
    pub(super) fn tell_to_forget(&mut self, client: &mut Client) {
        if client.tracking.is_some() {
            let id = client.id;
            self.tell(id, None, None, Some(client));
            client.out.append(&mut self.events.own);
        }
    }

    /// Sends gathered broadcasts; at the end of a turn.
    pub(super) fn tell_broadcasts(&mut self) {
        if !std::mem::take(&mut self.tracking.broadcasts) {
            return;
        }
        let mut told = Vec::new();
        for state in self.tracking.prefixes.values_mut() {
            if !state.changed.is_empty() {
                told.push((state.clients.clone(), std::mem::take(&mut state.changed)));
            }
        }
        for (clients, changed) in told {
            for id in clients {
                let no_loop = self
                    .clients
                    .get(id)
                    .and_then(|client| client.tracking.as_ref())
                    .is_some_and(|wishes| wishes.no_loop);
                let heard = changed.iter().filter(|(_, by)| !(no_loop && **by == Some(id)));
                let keys: Vec<&[u8]> = heard.map(|(key, _)| &**key).collect();
                if !keys.is_empty() {
                    self.tell(id, None, Some(&keys), None);
                }
            }
        }
    }

    /// Keeps the table within its bound: the client of a key that is given up is told that it
    /// changed.
    pub(super) fn bound_tracking(&mut self) {
        let bound = self.config.tracking_table_max_keys;
        while bound > 0 && self.tracking.keys.len() > bound {
            let Some(key) = self.tracking.keys.keys().next().cloned() else { return };
            for id in self.tracking.forget(&key) {
                self.tell(id, None, Some(&[&key]), None);
            }
        }
    }

    /// Tells one client, or the one that it named, that these keys changed; all with `None`.
    fn tell(
        &mut self,
        id: ClientId,
        by: Option<ClientId>,
        keys: Option<&[&[u8]]>,
        mut running: Option<&mut Client>,
    ) {
        let own = running.as_deref_mut().filter(|client| client.id == id);
        let Some(client) = own.or_else(|| self.clients.get_mut(id)) else { return };
        let proto = client.proto;
        let Some(wishes) = &mut client.tracking else { return };
        let redirect = wishes.redirect;
        if wishes.no_loop && by == Some(id) {
            return;
        }
        if redirect == 0 {
            return self.write_push(id, running.as_deref(), |reply| {
                if reply.is_resp3() {
                    write_changes(reply, false, keys);
                }
            });
        }
        let is_target = |client: &&Client| client.id.serial == redirect;
        let target = running.as_deref().filter(is_target).map(|client| client.id);
        if let Some(target) = target.or_else(|| self.clients.by_serial(redirect)) {
            return self.write_push(target, running.as_deref(), |reply| {
                write_changes(reply, true, keys);
            });
        }
        wishes_of(self, id, running.as_deref_mut(), |wishes| wishes.broken_redirect = true);
        if proto == Proto::Resp3 {
            self.write_push(id, running.as_deref(), |reply| {
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.int(redirect as i64);
            });
        }
    }

    /// Writes to a client; for the running one behind its reply. A RESP2 connection is written only
    /// while it subscribes. A relayed one that waits for answers hears of it behind them again.
    fn write_push(
        &mut self,
        id: ClientId,
        running: Option<&Client>,
        write: impl Fn(&mut Reply<'_>),
    ) {
        let own = running.filter(|client| client.id == id);
        let Some(client) = own.or_else(|| self.clients.get(id)) else { return };
        let (proto, bound) = (client.proto, client.output_bound());
        if proto != Proto::Resp3 && client.subscription_count() == 0 {
            return;
        }
        if own.is_some() {
            write(&mut Reply::bounded(&mut self.events.own, proto, bound));
        } else if let Some(client) = self.clients.get_mut(id) {
            write(&mut client.reply());
            self.clients.queue_flush(id);
        }
        self.relay_repeats(id, |out| write(&mut Reply::new(out, proto)));
    }
}

fn wishes_of(
    engine: &mut Engine,
    id: ClientId,
    running: Option<&mut Client>,
    change: impl FnOnce(&mut Wishes),
) {
    let own = running.filter(|client| client.id == id);
    let client = own.or_else(|| engine.clients.get_mut(id));
    if let Some(wishes) = client.and_then(|client| client.tracking.as_deref_mut()) {
        change(wishes);
    }
}

/// The message itself: a push, or one of the channel for a RESP2 connection that was named.
fn write_changes(reply: &mut Reply<'_>, redirected: bool, keys: Option<&[&[u8]]>) {
    if reply.is_resp3() {
        reply.push(2);
        reply.bulk(b"invalidate");
    } else if redirected {
        reply.push(3);
        reply.bulk(b"message");
        reply.bulk(CHANNEL);
    }
    match keys {
        None => reply.null(),
        Some(keys) => {
            reply.array(keys.len());
            for key in keys {
                reply.bulk(key);
            }
        }
    }
}

#[cfg(test)]
mod tests;
