//! The queue of things to come, and the network between the actors.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};

use server::handover as member;
use switchover::{Arbiter, Command, Event as Told, Label, Member, Request, Status, Tag};

use crate::brain::Brain;
use crate::check::Checks;
use crate::client::Ask;
use crate::link::{Conn, Wire};
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::node::Node;
use crate::rng::Rng;
use crate::run::{Plan, Run, Victim};
use crate::theme::{Harm, Theme};

/// One virtual millisecond and second, in the world's microseconds.
pub const MS: u64 = 1_000;
pub const SEC: u64 = 1_000_000;

/// The members' names; a node's number is its place here.
pub const NAMES: [&str; 3] = ["a", "b", "c"];
pub const UID: &str = "cluster-1";

/// Something that will happen.
#[derive(Debug)]
pub enum Thing {
    /// For the operator of that number, if it still lives.
    Told {
        brain: u64,
        event: Told,
    },
    AskStatus {
        brain: u64,
        tag: Tag,
        node: usize,
    },
    GotStatus {
        brain: u64,
        tag: Tag,
        node: usize,
        status: Box<Status>,
    },
    ReadStore {
        brain: u64,
        tag: Tag,
    },
    GotStore {
        brain: u64,
        tag: Tag,
        arbiter: Box<Arbiter>,
    },
    GatherEnds {
        brain: u64,
        tag: Tag,
    },
    WriteStore {
        brain: u64,
        tag: Tag,
        arbiter: Box<Arbiter>,
    },
    WriteLabel {
        brain: u64,
        tag: Tag,
        name: String,
        label: Label,
    },
    Command {
        brain: u64,
        tag: Tag,
        to: Member,
        command: Command,
    },
    /// From giver to target, over a connection of its own.
    Takeover {
        from: usize,
        boot: u64,
        to: member::Target,
        blob: String,
    },
    TakeoverAnswer {
        node: usize,
        boot: u64,
        member: String,
        epoch: member::Epoch,
        accepted: bool,
    },
    Wire {
        conn: u64,
        to_follower: bool,
        wire: Wire,
    },
    Connect {
        node: usize,
        boot: u64,
    },
    Tick {
        node: usize,
        boot: u64,
    },
    Exit {
        node: usize,
        boot: u64,
    },
    Boot {
        node: usize,
    },
    /// A client asks something of that member.
    Ask {
        node: usize,
        ask: Ask,
    },
    /// A session that was not opened is tried again.
    RelayAgain {
        node: usize,
        boot: u64,
        client: u64,
    },
    /// A session must have been opened, or given back.
    RelayDue {
        node: usize,
        boot: u64,
        client: u64,
    },
    /// SIGCONT.
    Continue {
        node: usize,
    },
    /// Of a fault plan.
    NextRound(Theme),
    Harm(Harm),
    NextRead,
    NextWrite,
    NextPing,
    NextChaos,
    NextRequest,
    /// A user of that member says CLIENT UNPAUSE.
    UserUnpause {
        node: usize,
        boot: u64,
    },
    NewBrain,
    /// Of a mutant: the whole disk has been read.
    Loaded {
        node: usize,
    },
    Crash {
        node: usize,
    },
    /// The disk has taken everything up to that many records.
    Synced {
        node: usize,
        boot: u64,
        turn: u64,
        count: usize,
    },
    Part {
        a: usize,
        b: usize,
    },
    Heal {
        a: usize,
        b: usize,
    },
}

struct Queued {
    at: u64,
    order: u64,
    thing: Thing,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Places in the network: the members, then these.
pub const BRAIN: usize = 3;
pub const STORE: usize = 4;

pub struct World {
    pub now: u64,
    pub rng: Rng,
    pub mutant: Option<Mutant>,
    /// What goes wrong, if not anything.
    pub theme: Option<Theme>,
    /// Whether crashes, partitions and losses may happen.
    pub chaos: bool,
    pub nodes: Vec<Node>,
    pub conns: BTreeMap<u64, Conn>,
    pub brains: Vec<Brain>,
    pub arbiter: Arbiter,
    pub labels: [Label; 3],
    pub request: Option<Request>,
    pub requests: u64,
    /// Which pairs of places cannot reach each other, and until when.
    pub parted: BTreeMap<(usize, usize), u64>,
    /// Ways on which nothing arrives, and until when.
    pub deaf: BTreeMap<(usize, usize), u64>,
    /// What the status was before it was written last, and how many reads still see that.
    pub former: Arbiter,
    pub late_reads: u32,
    /// The status before the last claim; it becomes a copy once that election is over.
    pub claimed: Option<(u64, Arbiter)>,
    /// What the status was before elections, from which it may be restored.
    pub copies: Vec<(u64, Arbiter)>,
    /// What answers promise in this world, and whether a primary may go on with fewer.
    pub rule: (switchover::Durability, bool),
    /// How long an operator waits for a silent primary, in milliseconds.
    pub patience_ms: u64,
    /// The greatest level of a stream that each member writes and takes.
    pub levels: [u32; 3],
    /// How far each member's wall clock is ahead, in milliseconds.
    pub walls: [i64; 3],
    pub checks: Checks,
    /// The one crash of a calm world, until it has happened.
    pub plan: Option<Plan>,
    pub trace: Vec<String>,
    pub hash: u64,
    tracing: bool,
    queue: BinaryHeap<Reverse<Queued>>,
    order: u64,
    numbers: u64,
}

impl World {
    pub fn new(run: &Run) -> Self {
        let mut world = Self {
            now: 0,
            rng: Rng::new(run.seed),
            mutant: run.mutant,
            theme: run.theme,
            chaos: true,
            nodes: (0..NAMES.len()).map(Node::new).collect(),
            conns: BTreeMap::new(),
            brains: Vec::new(),
            arbiter: Arbiter::new(UID),
            labels: [Label::None; 3],
            request: None,
            requests: 0,
            parted: BTreeMap::new(),
            deaf: BTreeMap::new(),
            former: Arbiter::new(UID),
            late_reads: 0,
            claimed: None,
            copies: Vec::new(),
            rule: crate::answer::rule(run.seed, run.theme),
            patience_ms: 3_000,
            levels: [0; 3],
            walls: [0; 3],
            checks: Checks::default(),
            plan: None,
            trace: Vec::new(),
            hash: 0,
            tracing: run.trace,
            queue: BinaryHeap::new(),
            order: 0,
            numbers: 0,
        };
        world.draw_rates();
        world.patience_ms = [20, 100, 500, 3_000][world.rng.below(4) as usize];
        world.after(SEC, Thing::NextRead);
        if run.theme.is_none() && run.seed.is_multiple_of(5) {
            // In the middle of an update one is older, or two.
            world.levels = [0, 1, 2].map(|_| world.rng.below(2) as u32);
        }
        if run.theme.is_some_and(Theme::is_hasty) {
            world.patience_ms = 20;
        }
        for node in 0..NAMES.len() {
            world.after(node as u64 * MS, Thing::Boot { node });
        }
        world.after(5 * MS, Thing::NewBrain);
        let harm = run.theme.map_or(Thing::NextChaos, Thing::NextRound);
        for thing in [Thing::NextWrite, Thing::NextPing, harm] {
            world.after(SEC, thing);
        }
        if run.theme.is_none() {
            world.after(SEC, Thing::NextRequest);
        }
        world
    }

    pub fn after(&mut self, delay: u64, thing: Thing) {
        self.at(self.now + delay, thing);
    }

    pub fn at(&mut self, at: u64, thing: Thing) {
        self.order += 1;
        self.queue.push(Reverse(Queued { at, order: self.order, thing }));
    }

    /// Numbers that never come twice in one world.
    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            let (s, us) = (self.now / SEC, self.now % SEC);
            self.trace.push(format!("{s:>3}.{us:06} {}", line()));
        }
    }

    pub fn mark(&mut self, mark: Mark) {
        if self.checks.marks.insert(mark) {
            self.note(|| format!("MARK {mark}"));
        }
    }

    pub fn violated(&mut self, line: &str) {
        self.note(|| format!("VIOLATION {line}"));
        let at = self.now / MS;
        self.checks.violations.push(format!("at {at} ms: {line}"));
    }

    /// How long a message takes on an open way.
    pub fn delay(&mut self) -> u64 {
        let usual = self.rng.between(100, 1_500);
        if !self.chaos {
            return usual;
        }
        match self.rng.below(200) {
            0 => self.rng.between(300 * MS, 3 * SEC),
            1..4 => self.rng.between(10 * MS, 100 * MS),
            _ => usual,
        }
    }

    pub fn parted(&self, a: usize, b: usize) -> bool {
        self.parted.contains_key(&(a.min(b), a.max(b)))
    }

    /// The delay of a message without a connection, or none if it never arrives.
    pub fn way(&mut self, from: usize, to: usize) -> Option<u64> {
        let lost = self.parted(from, to)
            || self.deaf_until(from, to).is_some()
            || self.chaos && self.rng.chance(200);
        if lost { None } else { Some(self.delay()) }
    }

    /// Whether this actor dies here, between two of its effects. `odds` of 10 000, in chaos.
    pub fn struck(&mut self, victim: Victim, odds: u64) -> bool {
        if self.chaos {
            return self.rng.chance(odds);
        }
        let Some(plan) = self.plan.as_mut().filter(|plan| plan.victim == victim) else {
            return false;
        };
        plan.seen += 1;
        let now = plan.seen > plan.point;
        if now {
            self.plan = None;
        }
        now
    }

    /// Runs until that moment, or until a promise is broken.
    pub fn run_until(&mut self, end: u64) {
        while self.checks.violations.is_empty() {
            if self.queue.peek().is_none_or(|Reverse(next)| next.at > end) {
                break;
            }
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            let mut hasher = DefaultHasher::new();
            (self.hash, next.at, next.order, std::mem::discriminant(&next.thing)).hash(&mut hasher);
            self.hash = hasher.finish();
            self.happen(next.thing);
        }
        self.now = self.now.max(end);
    }

    pub fn happen(&mut self, thing: Thing) {
        if let Some(node) = self.addressee(&thing) {
            return self.nodes[node].deferred.push(thing);
        }
        match thing {
            Thing::Ask { node, ask } => self.ask_came(node, ask),
            Thing::RelayAgain { node, boot, client } => self.relay_retries(node, boot, client),
            Thing::RelayDue { node, boot, client } => self.relay_due(node, boot, client),
            Thing::Continue { node } => self.go_on(node),
            Thing::NextRead => self.next_read(),
            Thing::NextRound(theme) => self.next_round(theme),
            Thing::Harm(harm) => self.harmed(harm),
            Thing::Told { brain, event } => self.tell(brain, event),
            Thing::AskStatus { brain, tag, node } => self.ask_status(brain, tag, node),
            Thing::GotStatus { brain, tag, node, status } => {
                self.got_status(brain, tag, node, *status);
            }
            Thing::ReadStore { brain, tag } => self.read_store(brain, tag),
            Thing::GotStore { brain, tag, arbiter } => self.got_store(brain, tag, *arbiter),
            Thing::GatherEnds { brain, tag } => self.gather_ends(brain, tag),
            Thing::WriteStore { brain, tag, arbiter } => self.write_store(brain, tag, *arbiter),
            Thing::WriteLabel { brain, tag, name, label } => {
                self.write_label(brain, tag, name, label);
            }
            Thing::Command { brain, tag, to, command } => {
                self.commanded(brain, tag, &to, command);
            }
            Thing::Takeover { from, boot, to, blob } => self.takeover_came(from, boot, to, blob),
            Thing::TakeoverAnswer { node, boot, member, epoch, accepted } => {
                let event = member::Event::Answer { member, epoch, accepted };
                self.if_alive(node, boot, event);
            }
            Thing::Wire { conn, to_follower, wire } => self.wire_came(conn, to_follower, wire),
            Thing::Connect { node, boot } => self.connect(node, boot),
            Thing::Tick { node, boot } => self.tick(node, boot),
            Thing::Exit { node, boot } => self.exit(node, boot),
            Thing::Boot { node } => self.boot(node),
            Thing::NextWrite => self.next_write(),
            Thing::NextPing => self.next_ping(),
            Thing::NextChaos => self.next_chaos(),
            Thing::NextRequest => self.next_request(),
            Thing::UserUnpause { node, boot } => self.user_unpause(node, boot),
            Thing::NewBrain => self.new_brain(),
            Thing::Loaded { node } => self.loading_ends(node),
            Thing::Synced { node, boot, turn, count } => self.synced(node, boot, turn, count),
            Thing::Crash { node } if self.chaos => self.crash_somehow(node),
            Thing::Crash { .. } => {}
            Thing::Part { a, b } => self.part(a, b),
            Thing::Heal { a, b } => {
                if self.parted.get(&(a, b)).is_some_and(|until| *until <= self.now) {
                    self.parted.remove(&(a, b));
                }
            }
        }
    }
}
