//! Keys with a time that a replica wrote for itself (`replica-read-only no`).
//!
//! When a key's time has come its primary says so to all who follow; of these it does not know. So
//! they are noted here and looked at ten times a second, however the node's role changes.

use std::ops::Bound;

use crate::engine::{Context, Engine, hooks};

/// A database and a key in it.
pub(super) type Place = (u32, Box<[u8]>);

/// Keys that are looked at in one step.
const STEP_KEYS: usize = 1000;

impl Engine {
    /// How many keys with a time this node has written as a replica.
    pub fn own_expiring(&self) -> usize {
        self.rooms.replication.own_expiring.len()
    }

    /// Deletes those whose time has come, and forgets those that have none any more.
    pub(super) fn expire_own(&mut self) {
        if self.own_expiring() == 0 || self.debug.keeps_expired {
            return;
        }
        let replica = hooks::takes_own_writes(self);
        let room = &mut self.rooms.replication;
        let begin = room.own_looked_at.take().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = room.own_expiring.range((begin, Bound::Unbounded));
        let some: Vec<Place> = rest.take(STEP_KEYS).cloned().collect();
        if some.len() == STEP_KEYS {
            room.own_looked_at = some.last().cloned();
        }
        if replica {
            self.keyspace.set_may_expire(true);
        }
        for (db, key) in some {
            let data = self.keyspace.db_mut(db as usize);
            // Looking at a key deletes it when its time has come, on a replica that may.
            let gone = !data.contains(&key) && !data.is_hidden(&key);
            if gone || data.lasts(&key) {
                self.rooms.replication.own_expiring.remove(&(db, key));
            }
        }
        if replica {
            hooks::stream_changed(self);
        }
        self.note_expired();
        self.publish_events(None);
        self.tell_changes(None);
        self.flush_outbox();
    }
}

/// Notes the keys with a time that a command of a client has written on a replica.
#[cold]
pub fn note_own(cx: &mut Context<'_>) {
    let Context { engine, client, args, row, .. } = cx;
    let db = engine.keyspace.db(client.db);
    let own = &mut engine.rooms.replication.own_expiring;
    row.keys.visit(*args, |at| {
        if db.expiry(args.at(at)).is_some() {
            own.insert((client.db as u32, Box::from(args.at(at))));
        }
    });
}
