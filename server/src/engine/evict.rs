//! Memory: how much is used, and keys that go when it is short.
//!
//! Only a primary evicts, and only while its stream may grow: each victim is a DEL or UNLINK for
//! those who follow. Where eviction may not happen now (a replica, a pause, a switch), commands
//! are not refused for it either: what a pause holds is judged when it runs.

use crate::client::{Client, Duty};
use crate::command::{Command, Flags};
use crate::config::{EventClasses, MaxmemoryPolicy};
use crate::resp::{CommandError, errors};
use crate::store::{AccessRules, Choice, Keyspace, Lazy, Order, Pool};

use super::{Engine, hooks};

/// How often the budget of one round of eviction is looked at, in keys.
const ROUND_KEYS: u64 = 16;
/// All clients are counted anew when memory has moved by this part of what they may take.
const CLIENTS_PART: u64 = 16;

/// Memory as INFO shows it, and what eviction remembers.
pub struct Memory {
    /// Resident memory when it was last looked at, in bytes.
    pub rss: u64,
    /// What the process may use at most.
    pub available: u64,
    pub peak: u64,
    /// Used memory when the server had started.
    pub startup: u64,
    /// Used memory when the allocator last gave back what it did not need.
    given_back_at: u64,
    /// Where used memory is asked from.
    pub source: fn() -> u64,
    /// The last command that could need memory found that there is none, and that nothing may go.
    pub short: bool,
    /// Eviction has not finished: it goes on in the next turn.
    pub evicting: bool,
    /// When memory began to be over its bound, on the monotonic clock in microseconds.
    pub over_since_us: Option<u64>,
    /// How long it was over its bound in all, in microseconds.
    pub over_us: u64,
    pool: Pool,
    /// What eviction has given back in all, in bytes.
    evicted_bytes: u64,
    /// Where memory stood, keys that went since included, when clients were last counted for it.
    clients_counted_at: u64,
    /// The kernel's score of the process before `oom-score-adj` changed it.
    pub(super) oom_score: Option<i32>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            rss: 0,
            available: crate::memory::available(),
            peak: 0,
            startup: 0,
            given_back_at: 0,
            source: crate::memory::used,
            short: false,
            evicting: false,
            over_since_us: None,
            over_us: 0,
            pool: Pool::default(),
            evicted_bytes: 0,
            clients_counted_at: 0,
            oom_score: None,
        }
    }
}

/// Under this much memory the allocator keeps what it has.
const GIVE_BACK_MIN_BYTES: u64 = 32 << 20;

/// What became of an attempt to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    /// There will be, in later turns.
    Coming,
    None,
}

impl Engine {
    /// Bytes in use by the process.
    pub fn used_memory(&self) -> u64 {
        (self.memory.source)()
    }

    /// Bytes that do not count towards `maxmemory`: output for replicas would otherwise drive
    /// eviction, whose own commands are output for replicas again.
    pub fn not_counted_memory(&self) -> u64 {
        let replicas = self.clients.iter().filter(|client| client.duty == Duty::Replica);
        let output: u64 = replicas.map(|client| client.out.capacity() as u64).sum();
        output + self.beyond_backlog()
    }

    pub(super) fn look_at_memory(&mut self) {
        self.memory.rss = crate::memory::resident().unwrap_or(self.memory.rss);
        self.memory.peak = self.memory.peak.max(self.used_memory());
        let used = self.used_memory();
        if self.memory.startup == 0 {
            self.memory.startup = used;
        }
        // Growth leaves pages of outgrown sizes behind. Giving them back visits every page, so it
        // is done each time that memory has grown by a quarter, or shrunk by one.
        let last = self.memory.given_back_at.max(GIVE_BACK_MIN_BYTES);
        if used > last + last / 4 || used < last - last / 4 && last > GIVE_BACK_MIN_BYTES {
            crate::memory::give_back();
            self.memory.given_back_at = used;
        }
    }

    /// Tells the keyspace the directives about memory.
    pub(super) fn memory_configured(&mut self) {
        let config = &self.config;
        let lfu = config.maxmemory_policy.is_lfu();
        self.keyspace.set_access(AccessRules {
            lfu,
            log_factor: config.lfu_log_factor.0 as u32,
            decay_minutes: config.lfu_decay_time.0 as u32,
        });
        self.keyspace.set_lazy(Lazy {
            eviction: config.lazyfree_lazy_eviction,
            expire: config.lazyfree_lazy_expire,
            server_del: config.lazyfree_lazy_server_del,
            user_del: config.lazyfree_lazy_user_del,
        });
        self.memory.pool.clear();
        self.memory.short = false;
        // A bound that was lowered is met without waiting for a command.
        self.memory.evicting = config.maxmemory.0 > 0;
    }

    /// Puts other data in the place of the present ones, which another thread frees.
    pub fn replace_keyspace(&mut self, mut keyspace: Keyspace) {
        keyspace.set_clock(self.now.unix_ms());
        let mut old = std::mem::replace(&mut self.keyspace, keyspace);
        old.flush_all(true);
        self.rooms.replication.saves.loaded_keys = self.keyspace.len();
        old.take_garbage().into_iter().for_each(|garbage| self.lazyfree.give(garbage));
        self.memory_configured();
    }

    /// Before a command of a client, when `maxmemory` is set: evicts what must go.
    #[cold]
    pub(super) fn make_room(&mut self, running: &mut Client) {
        if running.duty == Duty::Commands {
            let room = self.timed("eviction-cycle", |engine| engine.evict(Some(running)));
            self.note_room(room);
        }
    }

    /// Goes on with an eviction that did not finish. True asks for another turn.
    pub(super) fn go_on_evicting(&mut self) -> bool {
        if std::mem::take(&mut self.memory.evicting) && self.config.maxmemory.0 > 0 {
            let room = self.timed("eviction-cycle", |engine| engine.evict(None));
            self.note_room(room);
            return room == Room::Coming;
        }
        false
    }

    fn note_room(&mut self, room: Room) {
        self.memory.short = room == Room::None;
        self.memory.evicting = room == Room::Coming;
        let now_us = self.now.mono_us;
        match (room, self.memory.over_since_us) {
            (Room::Enough, Some(since_us)) => {
                self.memory.over_us += now_us.saturating_sub(since_us);
                self.memory.over_since_us = None;
            }
            (Room::Coming | Room::None, None) => self.memory.over_since_us = Some(now_us),
            _ => {}
        }
    }

    /// By how many bytes memory is over its bound.
    fn excess_memory(&self) -> u64 {
        let bound = self.config.maxmemory.0;
        let used = self.used_memory();
        if used <= bound { 0 } else { (used - bound).saturating_sub(self.not_counted_memory()) }
    }

    fn evict(&mut self, mut running: Option<&mut Client>) -> Room {
        let may = !hooks::is_replica(self)
            && self.pause.scope().is_none()
            && hooks::stream_may_grow(self);
        let mut excess = if may { self.excess_memory() } else { 0 };
        if excess > 0 && self.evict_clients_first(running.as_deref_mut()) {
            excess = self.excess_memory();
        }
        if excess == 0 {
            return Room::Enough;
        }
        // Data that are imported go when their source says so.
        let choice = self.config.maxmemory_policy.choice(self.config.maxmemory_samples.0);
        let Some(choice) = choice.filter(|_| !self.config.import_mode) else { return Room::None };
        let budget = budget_keys(self.config.maxmemory_eviction_tenacity.0);
        // Only what the keys themselves give back counts: telling clients and replicas of them
        // takes memory, which must not drive out further keys.
        let (mut gone, mut freed) = (0, 0);
        while freed < excess {
            let random = &mut self.rooms.random;
            let Some((db, key)) = self.keyspace.victim(&mut self.memory.pool, choice, random)
            else {
                // What is being freed elsewhere may be enough.
                return if self.lazyfree.pending() > 0 { Room::Coming } else { Room::None };
            };
            freed += self.evict_key(running.as_deref_mut(), db, &key);
            gone += 1;
            if gone % ROUND_KEYS == 0 && gone >= budget && freed < excess {
                return Room::Coming;
            }
        }
        Room::Enough
    }

    /// No key goes for what clients hold beyond `maxmemory-clients`: else those that do not read what
    /// they are answered would drive out the data within the turn at whose end they are ended. Where
    /// every command evicts, clients are looked through with few of them. True if they were.
    fn evict_clients_first(&mut self, running: Option<&mut Client>) -> bool {
        let bound = self.clients_bound();
        let grown_to = self.memory.clients_counted_at + bound / CLIENTS_PART;
        if bound == 0 || self.memory_stands() < grown_to {
            return false;
        }
        self.evict_clients(running);
        self.memory.clients_counted_at = self.memory_stands();
        true
    }

    /// Used memory, and what went by eviction since the start: what else takes the place of keys shows
    /// in it.
    fn memory_stands(&self) -> u64 {
        self.used_memory() + self.memory.evicted_bytes
    }

    /// At the begin of a turn: what was written to clients has been given back.
    pub(super) fn note_fallen_memory(&mut self) {
        if self.config.maxmemory.0 > 0 {
            let stands = self.memory_stands();
            self.memory.clients_counted_at = self.memory.clients_counted_at.min(stands);
        }
    }

    /// Returns how many bytes this gave back, or will when another thread has freed them.
    fn evict_key(&mut self, running: Option<&mut Client>, db: usize, key: &[u8]) -> u64 {
        let before = self.used_memory();
        self.keyspace.db_mut(db).evict(key);
        let mut freed = before.saturating_sub(self.used_memory());
        for garbage in self.keyspace.take_garbage() {
            freed += garbage.memory() as u64;
            self.lazyfree.give(garbage);
        }
        self.memory.evicted_bytes += freed;
        self.stats.evicted_keys += 1;
        self.touch_by_server(running, db, key);
        self.note_event(db, EventClasses::EVICTED, "evicted", key);
        self.publish_events(None);
        if hooks::stream_is_open(self) {
            let name = super::propagate::deletion(self.config.lazyfree_lazy_eviction);
            self.outbox.push(db, [name, key]);
        }
        self.flush_outbox();
        freed
    }
}

/// While memory is short: refuses a command that needs some, and whatever a transaction queues.
#[cold]
pub(super) fn refused_for_memory(client: &Client, row: &Command) -> Result<(), CommandError> {
    let multi = client.multi.as_ref();
    let needs = row.is(Flags::DENYOOM)
        || row.name == "exec" && multi.is_some_and(|multi| multi.needs_memory);
    let queues = multi.is_some() && !row.is(Flags::IN_MULTI);
    if client.duty == Duty::Commands && (needs || queues) {
        return Err(errors::OOM.into());
    }
    Ok(())
}

/// Keys that one round may evict: a key takes about a microsecond, and the directive's scale is
/// 0 to 500 µs at 10, from there 15 % more with each step, and no bound at 100.
fn budget_keys(tenacity: i64) -> u64 {
    match tenacity {
        ..=10 => 50 * tenacity.max(0) as u64,
        100.. => u64::MAX,
        _ => (500.0 * 1.15_f64.powf(tenacity as f64 - 10.0)) as u64,
    }
}

impl MaxmemoryPolicy {
    /// Whether the clock of entries counts how often they are used.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllkeysLfu | Self::VolatileLfu)
    }

    /// How victims are chosen; `None` when nothing may go.
    fn choice(self, samples: i64) -> Option<Choice> {
        let (order, volatile) = match self {
            Self::Noeviction => return None,
            Self::AllkeysLru | Self::AllkeysLfu => (Order::Use, false),
            Self::VolatileLru | Self::VolatileLfu => (Order::Use, true),
            Self::AllkeysRandom => (Order::Random, false),
            Self::VolatileRandom => (Order::Random, true),
            Self::VolatileTtl => (Order::Ttl, true),
        };
        Some(Choice { order, volatile, samples: samples as usize })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use crate::engine::testing::Bench;

    thread_local! {
        static USED: Cell<u64> = const { Cell::new(0) };
    }

    /// A server whose memory is 100 bytes for each key.
    fn bench(policy: &str) -> (Bench, usize) {
        let directives = [("maxmemory", "1000"), ("maxmemory-policy", policy)];
        let mut bench = Bench::new(&directives);
        bench.engine.memory.source = || USED.with(Cell::get);
        USED.with(|used| used.set(0));
        let client = bench.client();
        (bench, client)
    }

    fn ask(bench: &mut Bench, client: usize, command: &str) -> String {
        USED.with(|used| used.set(bench.engine.keyspace.len() as u64 * 100));
        bench.ask(client, command)
    }

    const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

    #[test]
    fn without_eviction_what_needs_memory_is_refused_and_the_rest_goes_on() {
        let (mut bench, client) = bench("noeviction");
        for n in 0..11 {
            assert_eq!(ask(&mut bench, client, &format!("SET k{n} v")), "+OK");
        }
        assert_eq!(ask(&mut bench, client, "SET k11 v"), OOM);
        assert_eq!(ask(&mut bench, client, "GET k1"), "$1 v");
        assert_eq!(ask(&mut bench, client, "MULTI"), "+OK");
        assert_eq!(ask(&mut bench, client, "GET k1"), OOM);
        let aborted = "-EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(ask(&mut bench, client, "EXEC"), aborted);
        assert_eq!(ask(&mut bench, client, "DEL k1 k2"), ":2");
        assert_eq!(ask(&mut bench, client, "SET k11 v"), "+OK");
    }

    /// A transaction that was queued while there was memory is refused as a whole.
    #[test]
    fn exec_is_refused_when_its_commands_need_memory() {
        let (mut bench, client) = bench("noeviction");
        assert_eq!(ask(&mut bench, client, "MULTI"), "+OK");
        assert_eq!(ask(&mut bench, client, "SET k v"), "+QUEUED");
        USED.with(|used| used.set(2000));
        let refused = format!("-EXECABORT Transaction discarded because of: {}", &OOM[1..]);
        assert_eq!(bench.ask(client, "EXEC"), refused);
        assert_eq!(bench.ask(client, "EXEC"), "-ERR EXEC without MULTI", "it is over");
    }

    /// Imported data grew beyond every bound: nothing was evicted, and nothing refused.
    #[test]
    fn nothing_is_evicted_while_data_are_imported() {
        let (mut bench, client) = bench("allkeys-lru");
        assert_eq!(ask(&mut bench, client, "CONFIG SET import-mode yes"), "+OK");
        for n in 0..11 {
            assert_eq!(ask(&mut bench, client, &format!("SET k{n} v")), "+OK");
        }
        assert_eq!(ask(&mut bench, client, "SET k11 v"), OOM);
        assert_eq!(bench.engine.keyspace.len(), 11);
        assert_eq!(ask(&mut bench, client, "CONFIG SET import-mode no"), "+OK");
        assert_eq!(ask(&mut bench, client, "SET k11 v"), "+OK");
    }

    #[test]
    fn a_pause_and_an_unevictable_keyspace_evict_nothing() {
        let (mut bench, client) = bench("volatile-lru");
        for n in 0..11 {
            assert_eq!(ask(&mut bench, client, &format!("SET k{n} v")), "+OK");
        }
        assert_eq!(ask(&mut bench, client, "SET k11 v"), OOM, "no key has an expiry time");
        assert_eq!(ask(&mut bench, client, "EXPIRE k1 1000"), ":1");
        let other = bench.client();
        USED.with(|used| used.set(0));
        assert_eq!(bench.ask(other, "CLIENT PAUSE 1000 WRITE"), "+OK");
        assert_eq!(ask(&mut bench, client, "GET k1"), "$1 v");
        assert_eq!(bench.engine.keyspace.len(), 11, "nothing goes while the stream stands still");
        assert_eq!(ask(&mut bench, other, "CLIENT UNPAUSE"), "+OK");
        // What the test calls memory does not fall within a round: the one key goes, no more can.
        assert_eq!(ask(&mut bench, client, "GET k1"), "$-1");
        assert_eq!(bench.engine.stats.evicted_keys, 1);
    }
}
