//! The executing core: takes bytes and time, gives replies, propagated commands and effects.
//!
//! Without I/O. `net` calls it so, at each wake-up: [`Engine::set_now`], then [`Engine::receive`]
//! for every connection that had bytes, [`Engine::tick`] for what is due, and [`Engine::turn_end`];
//! afterwards it writes the outputs of `clients.flush` and performs `effects`.
//!
//! **Order is kept within a connection.** A client whose next command may not run (a pause, a
//! blocked or relayed command, a reply that comes later: [`Hold`]) keeps its unread input and is
//! not read beyond a bound. [`Engine::resume`] lets it go on; clients that a pause held go on in
//! the order in which they arrived.
//!
//! **Borrowing.** The client whose command runs is taken out of [`Clients`], so that a handler
//! has the engine and its client at once; code that visits all clients must think of that one
//! apart.

pub mod access;
pub mod aof;
pub mod blocking;
pub mod busy;
pub mod clients;
pub mod commit;
mod context;
pub mod cron;
pub mod effects;
pub mod events;
pub mod evict;
pub mod floor;
pub mod gates;
pub mod hooks;
pub mod measure;
pub mod member;
pub mod migrate;
pub mod observe;
mod oom_score;
pub mod pause;
pub mod propagate;
pub mod pubsub;
pub mod relay;
mod rename;
pub mod replicate;
pub mod run;
mod secure;
#[cfg(test)]
pub mod testing;
pub mod tracking;
pub mod transfer;
pub mod waiting;

use std::collections::VecDeque;

use crate::client::ClientId;
use crate::config::Config;
use crate::persistence::load::Template;
use crate::store::Keyspace;

use blocking::Blocking;
use clients::Clients;
use effects::{Effect, Timers};
use pause::Pause;
use propagate::Outbox;
use pubsub::PubSub;

pub use context::Context;
pub use gates::Flow;
pub use hooks::Redirected;

/// Written bytes at the start of an output that `net` cuts off at this size.
pub const OUTPUT_CUT_BYTES: usize = 1024 * 1024;

/// The time of one wake-up, taken once by `net`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds on the monotonic clock since the process started.
    pub mono_us: u64,
    /// Microseconds since 1970.
    pub unix_us: i64,
}

impl Now {
    #[inline]
    pub fn mono_ms(self) -> u64 {
        self.mono_us / 1000
    }

    #[inline]
    pub fn unix_ms(self) -> i64 {
        self.unix_us / 1000
    }
}

/// Counts that INFO shows.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    pub connections: u64,
    pub rejected_connections: u64,
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The same of the links between a primary and its replicas, which do not count above.
    pub stream_in: u64,
    pub stream_out: u64,
    pub expired_keys: u64,
    pub expired_fields: u64,
    pub evicted_keys: u64,
    pub errors: u64,
    pub reads: u64,
    pub writes: u64,
    pub clients_over_query_limit: u64,
    pub clients_over_output_limit: u64,
    pub evicted_clients: u64,
    /// Turns of the event loop that had something to do, and how long they and their commands took.
    pub loops: u64,
    pub loop_us: u64,
    pub command_us: u64,
}

pub struct Engine {
    pub now: Now,
    /// What the clock of a former primary leaves to this one's.
    floor: floor::Floor,
    pub keyspace: Keyspace,
    pub clients: Clients,
    pub config: Config,
    pub effects: Vec<Effect>,
    pub timers: Timers,
    pub outbox: Outbox,
    pub pause: Pause,
    pub blocking: Blocking,
    pub pubsub: PubSub,
    /// Client-side caching.
    pub tracking: tracking::Tracking,
    /// A script's command runs: its client speaks the script's protocol, so that what it is to be
    /// told waits for the script's end.
    pub in_script: bool,
    /// MONITOR and the command log.
    pub observers: observe::Observers,
    /// Users and their rights.
    pub acl: access::Acl,
    /// Keyspace notifications.
    pub events: events::Events,
    pub watched: run::Watched,
    /// The running command was called by the name that it was given: it may be one that is hidden.
    names_are_given: bool,
    /// What DEBUG has set.
    pub debug: crate::command::debug::Debug,
    pub stats: Stats,
    pub measures: measure::Measures,
    /// For the connections that begin from now on; `None` without TLS.
    pub tls: Option<std::sync::Arc<crate::tls::Tls>>,
    tls_looked_ms: u64,
    /// Clients whose next command a gate holds, in order of arrival.
    pub held: VecDeque<ClientId>,
    /// Clients whose next command waits for the end of the running script.
    held_by_script: Vec<ClientId>,
    /// Clients that may go on after this command.
    pub(crate) runnable: VecDeque<ClientId>,
    /// Wakes the event loop from another thread; set by `net`.
    pub wake: Option<std::sync::Arc<dyn Fn() + Send + Sync>>,
    /// The monotonic clock in microseconds, for the few decisions that need a reading later than
    /// the wake-up's; set by `net`.
    pub read_clock: Option<std::sync::Arc<dyn Fn() -> u64 + Send + Sync>>,
    /// Lets others be served while one command takes long; set by `net`.
    pub busy_turn: Option<std::rc::Rc<busy::BusyTurn>>,
    /// What the health thread answers from; published by [`Engine::cron`].
    pub health: std::sync::Arc<std::sync::Mutex<crate::net::health::Health>>,
    pub memory: evict::Memory,
    /// Frees what takes long.
    pub lazyfree: crate::lazyfree::LazyFree,
    /// Connections that had not authenticated when they were last counted, and those since then.
    pub unknown_clients: usize,
    /// Over the last second.
    pub speeds: measure::Speeds,
    /// The process's random id, in hex, new at every start.
    pub run_id: String,
    /// State of the other rooms.
    pub rooms: hooks::Rooms,
}

impl Engine {
    pub fn new(config: Config, now: Now) -> Self {
        let keyspace = hooks::new_keyspace(&config);
        let mut engine = Self {
            now,
            floor: floor::Floor::default(),
            keyspace,
            clients: Clients::default(),
            config,
            effects: Vec::new(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            pause: Pause::default(),
            blocking: Blocking::default(),
            pubsub: PubSub::default(),
            tracking: tracking::Tracking::default(),
            in_script: false,
            observers: observe::Observers::default(),
            acl: access::Acl::default(),
            events: events::Events::default(),
            watched: run::Watched::default(),
            names_are_given: false,
            debug: crate::command::debug::Debug::default(),
            stats: Stats::default(),
            measures: measure::Measures::default(),
            tls: None,
            tls_looked_ms: 0,
            held: VecDeque::new(),
            held_by_script: Vec::new(),
            runnable: VecDeque::new(),
            wake: None,
            busy_turn: None,
            read_clock: None,
            health: std::sync::Arc::default(),
            memory: evict::Memory::default(),
            lazyfree: crate::lazyfree::LazyFree::default(),
            unknown_clients: 0,
            speeds: measure::Speeds::default(),
            run_id: hooks::random_hex(20),
            rooms: hooks::Rooms::default(),
        };
        engine.apply_config();
        engine
    }

    /// Tells the rooms that directives have changed.
    pub fn apply_config(&mut self) {
        let config = &self.config;
        self.keyspace.set_limits(crate::store::Limits {
            hash_entries: config.hash_max_listpack_entries,
            hash_value: config.hash_max_listpack_value,
            list_size: config.list_max_listpack_size as i32,
            set_ints: config.set_max_intset_entries,
            set_entries: config.set_max_listpack_entries,
            set_value: config.set_max_listpack_value,
            zset_entries: config.zset_max_listpack_entries,
            zset_value: config.zset_max_listpack_value,
            stream_bytes: config.stream_node_max_bytes.0 as usize,
            stream_entries: config.stream_node_max_entries,
            ..self.keyspace.limits()
        });
        self.bound_outputs();
        self.acl_configured();
        self.observers.configure(&self.config);
        self.events.configure(self.config.notify_keyspace_events);
        self.events_begin();
        self.memory_configured();
        hooks::config_changed(self);
    }

    /// A command's answer may be as large as what a connection may leave unread.
    fn bound_outputs(&self) {
        let limits = &self.config.client_output_buffer_limit;
        let bounds = &self.clients.bounds;
        for (bound, limit) in [(&bounds.normal, limits.normal), (&bounds.pubsub, limits.pubsub)] {
            bound.set(match limit.hard_bytes as usize {
                0 => usize::MAX,
                // What was written stays in front for a while.
                bytes => bytes.saturating_add(OUTPUT_CUT_BYTES),
            });
        }
    }

    /// The shape of what is loaded: that of the present data.
    pub(in crate::engine) fn template(&self) -> Template {
        Template {
            databases: self.config.databases,
            seed: self.keyspace.seed(),
            limits: self.keyspace.limits(),
            tail_bytes: 0,
        }
    }

    pub fn set_now(&mut self, now: Now) {
        self.now = self.floor.under(now);
        hooks::set_clock(self);
    }

    /// Reads the clock anew in the middle of a turn.
    pub fn pass_time(&mut self) {
        let Now { mono_us, unix_us } = self.now;
        let passed_us = self.read_clock_us().saturating_sub(mono_us);
        self.set_now(Now { mono_us: mono_us + passed_us, unix_us: unix_us + passed_us as i64 });
    }
}
