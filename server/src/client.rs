//! The logical state of one connection: who it is, what it said, what it is waiting for.
//!
//! Sockets belong to `net`; a client is all that the engine knows of one. It is without I/O.

use std::cell::Cell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::acl::UserId;
use crate::engine::blocking::Blocked;
use crate::engine::effects::LinkOwner;
use crate::engine::relay::sessions::SessionRun;
use crate::maintenance::EndpointType;
use crate::relay::session::Wait;
use crate::resp::{OwnedArgs, Parser, Proto, Reply};

/// Names a client: a slot that is reused and a serial number that is not (it is `CLIENT ID`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId {
    pub serial: u64,
    pub slot: u32,
}

impl ClientId {
    /// Before every other.
    pub const FIRST: Self = Self { serial: 0, slot: 0 };
}

/// Whose rights a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// One of the users that rules speak of.
    Named(UserId),
    /// `redisha`: members and the operator.
    Internal,
}

impl User {
    pub const DEFAULT: User = User::Named(UserId::DEFAULT);
}

/// What the bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Commands of an ordinary client.
    Commands,
    /// A replica after PSYNC: it sends commands, and its output is filled from the backlog.
    Replica,
    /// A connection that this server opened; its bytes go to the owner.
    Link(LinkOwner),
}

/// Why no further command of a client is executed now. Its unread input is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    None,
    /// The next command waits for the end of a pause; it has not been consumed.
    Paused,
    /// The next command waits for the end of a script; it has not been consumed.
    Script,
    /// A consumed command waits for keys (or for acknowledgements); see `Client::blocked`.
    Blocked,
    /// A consumed command waits for another node's answer.
    Relayed,
    /// A consumed command's reply comes later, by `Engine::answer`.
    Deferred,
}

/// When a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    No,
    /// After what is in the output buffer was written.
    AfterOutput,
    /// At once.
    Now,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// The next command's reply is left out.
    SkipNext,
    /// This command's reply is left out.
    Skipping,
}

/// What a connection said about itself, and how it came.
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each with its own command
pub struct Traits {
    /// READONLY was said, or the connection came by `readonly-port`.
    pub readonly: bool,
    /// CLIENT CAPA redirect.
    pub capa_redirect: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// CLIENT IMPORT-SOURCE: under `import-mode` it sees keys whose time has come.
    pub import_source: bool,
    /// A cluster client is one that sent CLUSTER or ASKING.
    pub speaks_cluster: bool,
    /// MONITOR.
    pub monitor: bool,
    /// It came by the port whose connections start as READONLY.
    pub readonly_port: bool,
}

/// How large the outputs of connections may become within one command, in bytes; shared by all
/// clients, so that a change of the directive holds for each at once.
#[derive(Debug)]
pub struct OutputBounds {
    pub normal: Cell<usize>,
    pub pubsub: Cell<usize>,
}

impl Default for OutputBounds {
    fn default() -> Self {
        Self { normal: Cell::new(usize::MAX), pubsub: Cell::new(usize::MAX) }
    }
}

/// MULTI's queue.
#[derive(Debug, Default)]
pub struct Multi {
    pub queue: Vec<OwnedArgs>,
    /// A command could not be queued: EXEC will answer EXECABORT.
    pub broken: bool,
    /// Memory of the queued commands.
    pub bytes: usize,
    /// A queued command is refused while memory is short.
    pub needs_memory: bool,
    /// The database that queued commands have selected.
    pub db: Option<usize>,
}

#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Client {
    pub id: ClientId,
    pub duty: Duty,
    pub peer: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub user: User,
    pub authenticated: bool,
    pub db: usize,
    pub proto: Proto,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_version: Vec<u8>,
    pub traits: Traits,
    pub reply_mode: ReplyMode,
    pub hold: Hold,
    pub blocked: Option<Box<Blocked>>,
    /// How a blocked command that came from another node stands; the next command to run is it.
    pub carried_wait: Option<Wait>,
    /// This connection carries a client of another node.
    pub session: Option<Box<SessionRun>>,
    /// How long nothing had come before the present input, in milliseconds.
    pub quiet_ms: u64,
    /// The client asked for maintenance notifications, with this kind of endpoint.
    pub maintenance: Option<EndpointType>,
    pub multi: Option<Box<Multi>>,
    /// WATCH: keys with their databases, and whether one of them changed since.
    pub watching: HashSet<(u32, Box<[u8]>)>,
    pub watching_bytes: usize,
    pub watch_broken: bool,
    pub subscriptions: Option<Box<crate::engine::pubsub::Subscriptions>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<crate::engine::tracking::Wishes>>,
    pub closing: Closing,
    /// Input not executed yet; it begins at the first byte of a command.
    pub input: Vec<u8>,
    pub parser: Parser,
    /// Replies not yet written.
    pub out: Vec<u8>,
    pub bounds: Rc<OutputBounds>,
    /// What of `out` waits for commit.
    pub marks: crate::engine::commit::Marks,
    /// The client is already in the list of those whose output is to be written.
    pub flush_queued: bool,
    /// Execution stopped because the output grew large; it goes on when that was written.
    pub output_full: bool,
    /// `net` stopped reading because the engine did not want more.
    pub read_stopped: bool,
    /// Milliseconds of the engine's monotonic clock.
    pub created_ms: u64,
    pub active_ms: u64,
    /// What of the connection is in the sum of all, in bytes: see `Clients::count`.
    pub counted_bytes: u64,
    /// When the output first exceeded its soft limit.
    pub soft_limit_since_ms: Option<u64>,
    pub last_command: Option<&'static crate::command::Command>,
    pub commands: u64,
    pub bytes_in: u64,
    /// Bytes that were written and taken off the front of `out`; what was written of `out` and is
    /// still in it is not counted yet.
    pub bytes_out: u64,
}

impl Client {
    /// Takes back what was written from `before` on, with what was noted of it: a later answer must
    /// not pass for one that was free to go.
    pub fn cut_output(&mut self, before: usize) {
        self.out.truncate(before);
        self.marks.shorten(before);
    }

    /// It ends without another word: what it holds is of no use any more.
    pub fn give_up(&mut self) {
        self.closing = Closing::Now;
        self.cut_output(0);
        self.out = Vec::new();
        self.input = Vec::new();
        self.multi = None;
    }

    pub fn new(id: ClientId, duty: Duty, now_ms: u64) -> Self {
        Self {
            id,
            duty,
            peer: None,
            local: None,
            user: User::DEFAULT,
            authenticated: false,
            db: 0,
            proto: Proto::Resp2,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_version: Vec::new(),
            traits: Traits::default(),
            reply_mode: ReplyMode::On,
            hold: Hold::None,
            blocked: None,
            carried_wait: None,
            session: None,
            quiet_ms: 0,
            maintenance: None,
            multi: None,
            watching: HashSet::new(),
            watching_bytes: 0,
            watch_broken: false,
            subscriptions: None,
            tracking: None,
            closing: Closing::No,
            input: Vec::new(),
            parser: Parser::default(),
            out: Vec::new(),
            bounds: Rc::default(),
            marks: crate::engine::commit::Marks::default(),
            flush_queued: false,
            output_full: false,
            read_stopped: false,
            created_ms: now_ms,
            active_ms: now_ms,
            counted_bytes: 0,
            soft_limit_since_ms: None,
            last_command: None,
            commands: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// The writer of this client's replies.
    #[inline]
    pub fn reply(&mut self) -> Reply<'_> {
        let bound = self.output_bound();
        Reply::bounded(&mut self.out, self.proto, bound)
    }

    /// The size of the output beyond which nothing is appended to it: see [`Self::overflows`].
    #[inline]
    pub fn output_bound(&self) -> usize {
        match self.duty {
            Duty::Replica | Duty::Link(_) => usize::MAX,
            Duty::Commands if self.subscription_count() > 0 => self.bounds.pubsub.get(),
            Duty::Commands => self.bounds.normal.get(),
        }
    }

    /// An answer became larger than the bound and lacks its end: the connection must close without
    /// writing any of it.
    #[inline]
    pub fn overflows(&self) -> bool {
        self.out.len() > self.output_bound()
    }

    pub fn is_internal(&self) -> bool {
        self.user == User::Internal && self.authenticated
    }

    /// Whether its next command may be executed.
    #[inline]
    pub fn may_run(&self) -> bool {
        self.hold == Hold::None && self.closing == Closing::No && !self.output_full
    }

    /// Bytes that the connection takes.
    pub fn memory(&self) -> u64 {
        let queued = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        (size_of::<Self>() + self.input.capacity() + self.out.capacity() + queued) as u64
    }

    /// What the connection's buffers and transaction take, roughly.
    pub fn memory_bytes(&self) -> usize {
        let multi = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        let blocked = self.blocked.as_ref().map_or(0, |blocked| blocked.bytes);
        let tracking = self.tracking.as_ref().map_or(0, |wishes| wishes.prefixes.bytes());
        let listening = self.subscriptions.as_ref().map_or(0, |subs| subs.bytes);
        size_of::<Self>()
            + self.input.capacity()
            + self.out.capacity()
            + self.name.capacity()
            + self.lib_name.capacity()
            + self.lib_version.capacity()
            + multi
            + self.watching_bytes
            + listening
            + blocked
            + tracking
    }

    /// What counts towards `maxmemory-clients`, in bytes.
    pub fn evictable_bytes(&self) -> usize {
        let counts = self.duty == Duty::Commands
            && self.closing == Closing::No
            && !self.traits.no_evict
            && !self.is_internal();
        if counts { self.memory_bytes() } else { 0 }
    }

    pub fn subscription_count(&self) -> usize {
        self.subscriptions.as_ref().map_or(0, |subs| subs.count())
    }
}
