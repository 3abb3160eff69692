//! One member's process: the real `Member` with a log, a gate and held commands around it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use server::engine::Now;
use server::engine::floor::Floor;
use server::handover::{
    Effect, Env, Epoch, Event, Handover, Identity, Kept, Member, Outcome, Record, Reply, Request,
    Role, Target, Timing, Verb,
};
use switchover::Tag;

use crate::answer::Owed;
use crate::client::{Ask, Client, Whose};
use crate::convert;
use crate::disk::Given;
use crate::link::{Follow, Served, Wire};
use crate::log::{Log, Rec};
use crate::mark::Mark;
use crate::mutant::Mutant;
use crate::run::Victim;
use crate::session::Run;
use crate::world::{MS, NAMES, SEC, Thing, UID, World};

/// A pod: its process may be gone, its disk stays.
pub struct Node {
    pub place: usize,
    pub boots: u64,
    pub life: Option<Life>,
    /// How many of its own clock's thousandths a thousandth lasts.
    pub rate: u64,
    /// Since when the process is stopped, what has come for it since, and when it went on last.
    pub stopped: Option<u64>,
    pub deferred: Vec<Thing>,
    pub woken_at: u64,
    /// The next process is there at once.
    pub quick: bool,
    pub disk: Log,
    /// What the id on this disk is bound by, if it outlives its process.
    pub kept: Option<Kept>,
    /// The replication id of what the disk holds.
    pub disk_replid: u64,
    /// The next sync fails.
    pub failing: bool,
    /// The next seal or record is not taken.
    pub refusing: bool,
    /// How much later the other half of the next transaction is to come.
    pub halving: u64,
    /// Until when the disk is full, and until when it stalls.
    pub full_until: u64,
    pub stalled_until: u64,
    /// After a sync that failed: how many of the records that can be read are certain to be on the disk.
    /// The record of the id is of no worth then.
    pub unsound: Option<usize>,
}

/// A process.
pub struct Life {
    pub boot: u64,
    pub member: Member,
    pub log: Log,
    /// The replication id, and the one before it with the offset up to which it is shared.
    pub replid: u64,
    pub replid2: Option<(u64, u64)>,
    pub follow: Option<Follow>,
    pub served: BTreeMap<u64, Served>,
    /// Requests whose answer is still owed.
    pub tokens: BTreeMap<u64, (u64, Tag)>,
    /// Where its clients are led.
    pub redirect: Option<Target>,
    /// Clients of which a command was led elsewhere, by number; and sessions of other members'
    /// clients, by connection.
    pub clients: BTreeMap<u64, Client>,
    pub sessions: BTreeMap<u64, Run>,
    /// Commands that the gate holds, and those that wait for something to be written.
    pub held: VecDeque<(Whose, Ask)>,
    pub parked: VecDeque<(Whose, Ask)>,
    /// Answers that wait for commit.
    pub owed: VecDeque<Owed>,
    /// Behind the last data in the log, now and when the present office began.
    pub data_end: u64,
    pub data_end_at_office: u64,
    /// The office came by an election.
    pub elected: bool,
    pub cached_clock: Option<u64>,
    rate: u64,
    /// When this member gave a lease last, and since when it knows of those that it gave (of a mutant).
    pub granted_at: u64,
    pub knows_leases_since: u64,
    /// By its own clock, when an elected primary may answer.
    pub opens_at: u64,
    /// How far its wall clock is ahead, in milliseconds.
    pub wall: i64,
    /// What givers in its log have told of theirs.
    floor: Floor,
    promised_before: Epoch,
    tick_at: Option<u64>,
    pub sync: crate::disk::Syncing,
}

/// Why a member is being told something, as far as a pause's end is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    Unpause(String),
    /// A handover's record, by another route than the stream.
    Takeover,
    Other,
}

impl Node {
    pub fn new(place: usize) -> Self {
        Self {
            place,
            boots: 0,
            life: None,
            rate: 1_000,
            stopped: None,
            deferred: Vec::new(),
            woken_at: 0,
            quick: false,
            disk: Log::default(),
            kept: None,
            disk_replid: 0,
            failing: false,
            refusing: false,
            halving: 0,
            full_until: 0,
            stalled_until: 0,
            unsound: None,
        }
    }
}

impl Life {
    pub fn env(&self, now_us: u64) -> Env {
        Env { now_us: self.local(now_us), offset: self.log.offset(), empty: self.log.is_empty() }
    }

    /// For a mutant: what was promised before the seal.
    pub fn note_promise(&mut self) {
        self.promised_before = self.member.promised();
    }

    pub fn promise_before(&self) -> Epoch {
        self.promised_before
    }

    /// What this member's own clock shows.
    pub fn local(&self, now_us: u64) -> u64 {
        self.cached_clock.unwrap_or(now_us) * self.rate / 1_000
    }

    /// When its own clock will show this.
    pub fn global(&self, local_us: u64) -> u64 {
        (local_us * 1_000).div_ceil(self.rate)
    }

    /// What the machine's clocks show.
    fn machine(&self, now_us: u64) -> Now {
        Now { mono_us: self.local(now_us), unix_us: now_us as i64 + self.wall * MS as i64 }
    }

    /// The time that keys expire by here, in milliseconds.
    pub fn time(&self, now_us: u64) -> i64 {
        let mut floor = self.floor;
        floor.under(self.machine(now_us)).unix_us / MS as i64
    }

    pub fn id(&self) -> String {
        self.member.identity().here.member.clone()
    }

    /// Whether a replica of this primary has applied everything.
    pub fn is_applied_by(&self, member: &str) -> bool {
        let end = self.log.offset();
        self.served.values().any(|served| served.member == member && served.acked == end)
    }
}

impl World {
    pub fn boot(&mut self, node: usize) {
        if self.nodes[node].life.is_some() {
            return;
        }
        let (boot, replid) = (self.number(), self.number());
        self.nodes[node].boots += 1;
        let name = NAMES[node];
        let keeps = self.on_disk();
        let life = match self.mutant {
            Some(Mutant::RestartedIdCounted) => 1,
            _ => self.nodes[node].boots,
        };
        let level = self.levels[node];
        let here = Target {
            member: format!("{name}{life}"),
            host: name.into(),
            port: 1,
            hostname: String::new(),
        };
        let identity = Identity { uid: Some(UID.into()), name: name.into(), here, keeps, level };
        let log = self.loaded(node);
        let place = &self.nodes[node];
        let believes = self.mutant == Some(Mutant::DistrustedBelieved);
        let sound = place.unsound.is_none();
        let kept = place.kept.clone().filter(|_| keeps && (sound || believes));
        let sync = crate::disk::Syncing::of(&log, place.unsound);
        let sync = if sound || !believes { sync } else { sync.with_a_hole() };
        let replid = if keeps && place.disk_replid > 0 { place.disk_replid } else { replid };
        let env = Env {
            now_us: self.now * place.rate / 1_000,
            offset: log.offset(),
            empty: log.is_empty(),
        };
        let member = Member::boot(identity, Timing::default(), log.data_epoch(), kept, env);
        self.note(|| format!("{name} boots with {} records", log.count()));
        self.nodes[node].life = Some(Life {
            boot,
            member,
            replid,
            replid2: None,
            follow: None,
            served: BTreeMap::new(),
            tokens: BTreeMap::new(),
            redirect: None,
            clients: BTreeMap::new(),
            sessions: BTreeMap::new(),
            held: VecDeque::new(),
            parked: VecDeque::new(),
            owed: VecDeque::new(),
            data_end: 0,
            data_end_at_office: 0,
            elected: false,
            cached_clock: None,
            rate: self.nodes[node].rate,
            granted_at: 0,
            knows_leases_since: 0,
            opens_at: 0,
            wall: self.walls[node],
            floor: Floor::default(),
            promised_before: Epoch::ZERO,
            tick_at: None,
            sync,
            log,
        });
        if !sound {
            self.mark(Mark::FilesDistrusted);
        }
        if !sound && !believes {
            self.nodes[node].kept = None;
        }
        self.check_kept(node);
        self.sync_soon(node);
    }

    /// Ends the process. `keep` records remain on disk for the next one.
    pub fn crash(&mut self, node: usize, keep: usize) {
        let keep = self.found_again(node, keep);
        let Some(mut life) = self.nodes[node].life.take() else { return };
        self.note(|| format!("{} crashes, keeps {keep} records", NAMES[node]));
        self.checks.crashes += 1;
        self.nodes[node].stopped = None;
        self.nodes[node].deferred.clear();
        self.checks.forget(node);
        life.log.truncate(keep);
        if self.mutant != Some(Mutant::TornTailCounts) {
            life.log.cut_half();
        }
        self.nodes[node].disk = life.log;
        self.nodes[node].disk_replid = life.replid;
        self.cut_of(node);
        for (_, (brain, tag)) in std::mem::take(&mut life.tokens) {
            self.lost(brain, tag, node);
        }
        let quick = std::mem::take(&mut self.nodes[node].quick);
        let wait = if quick { 20 * MS } else { self.rng.between(500 * MS, 5 * SEC) };
        self.after(wait, Thing::Boot { node });
    }

    pub fn crash_somehow(&mut self, node: usize) {
        let Some(life) = &self.nodes[node].life else { return };
        let count = life.log.count() as u64;
        let keep = match self.rng.below(3) {
            0 => 0,
            1 => count,
            _ => self.rng.below(count + 1),
        };
        self.crash(node, keep as usize);
    }

    /// A told process leaves in order: it resigns and saves all that it holds.
    pub fn exit(&mut self, node: usize, boot: u64) {
        self.if_alive(node, boot, Event::Resign);
        let Some(life) = self.nodes[node].life.as_ref().filter(|life| life.boot == boot) else {
            return;
        };
        let count = life.log.count();
        self.unfollow(node);
        self.crash(node, count);
    }

    pub fn if_alive(&mut self, node: usize, boot: u64, event: Event) {
        let event = self.misheard(node, event);
        if self.nodes[node].life.as_ref().is_some_and(|life| life.boot == boot) {
            self.event(node, event, &Cause::Other);
        }
    }

    /// Tells the member something, watches what it makes of it, and performs its effects.
    pub fn event(&mut self, node: usize, event: Event, cause: &Cause) {
        let Some(life) = &mut self.nodes[node].life else { return };
        let mut env = life.env(self.now);
        if self.mutant == Some(Mutant::PromoteWithoutT)
            && let Event::Request { request: Request { verb: Verb::Takeover { blob }, .. }, .. } =
                &event
            && let Ok(record) = Handover::decode(blob)
        {
            env.offset = record.offset;
        }
        if let Event::Request { request: Request { verb, .. }, .. } = &event {
            match verb {
                Verb::Promote { wait_ms, .. } => life.opens_at = env.now_us + wait_ms * MS,
                Verb::Handover { .. } if self.mutant == Some(Mutant::GivesBeforeOpen) => {
                    env.now_us = env.now_us.max(life.opens_at);
                }
                _ => {}
            }
        }
        let boot = life.boot;
        let before = crate::check::Before::of(life, self.now);
        let elected = matches!(
            &event,
            Event::Request { request: Request { verb: Verb::Promote { .. }, .. }, .. }
        );
        life.member.set_clock(life.time(self.now));
        let effects = life.member.handle(env, event);
        let after = life.member.role();
        if matches!(after, Role::Primary { .. }) && *after != before.role {
            life.elected = elected;
        }
        let served = matches!(before.role, Role::Primary { .. } | Role::Limbo(_));
        if served && !matches!(after, Role::Primary { .. } | Role::Limbo(_)) {
            let accepted = matches!(before.role, Role::Limbo(_))
                && life.member.last_outcome() == Outcome::Accepted;
            self.office_left(node, accepted);
        }
        self.watch(node, &before, cause);
        self.tempt(node, &before);
        self.perform(node, boot, effects, *cause == Cause::Takeover);
        self.plan_tick(node);
        self.settle(node);
    }

    fn perform(&mut self, node: usize, boot: u64, effects: Vec<Effect>, asked: bool) {
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            if self.struck(Victim::Member(node), 12) {
                self.crash_somehow(node);
            }
            if self.nodes[node].life.as_ref().is_none_or(|life| life.boot != boot) {
                let outcome = matches!(
                    &effect,
                    Effect::Answer { .. } | Effect::Reply { reply: Reply::Outcome { .. }, .. }
                );
                if outcome {
                    self.mark(Mark::UnsentAnswer);
                }
                return;
            }
            match self.give_to_disk(node, &effect) {
                Given::Taken => {}
                Given::Unseen => continue,
                Given::Refused => return self.not_kept(node, effects),
                Given::Ended => return,
            }
            self.note_decision(node, &effect, asked);
            self.effect(node, effect);
            if self.struck(Victim::Member(node), 12) {
                return self.crash_somehow(node);
            }
        }
    }

    pub fn effect(&mut self, node: usize, effect: Effect) {
        if !matches!(effect, Effect::ResumeHeld | Effect::RefuseHeld | Effect::Redirect(_)) {
            self.note(|| format!("{}: {effect:?}", NAMES[node]));
        }
        self.note_told(&effect);
        let Some(life) = &mut self.nodes[node].life else { return };
        match effect {
            Effect::Reply { token, reply } => {
                if let Some((brain, tag)) = life.tokens.remove(&token) {
                    let result = self.misreported(node, convert::reply(reply));
                    self.reply(node, brain, tag, result);
                }
            }
            Effect::Sync => self.sync_now(node),
            Effect::Keep { kept } => self.keep(node, kept.map(|kept| *kept)),
            Effect::Append { argument } => {
                self.append_unit(node, [Rec::Note(Rc::from(argument))]);
            }
            Effect::Answer { epoch, accepted } => self.answer_on_link(node, epoch, accepted),
            Effect::Takeover { to, blob } => {
                let boot = life.boot;
                let place = place_of(&to.host);
                if let Some(delay) = self.way(node, place) {
                    self.after(delay, Thing::Takeover { from: node, boot, to, blob });
                }
            }
            Effect::Promote { .. } => {
                life.knows_leases_since = self.now;
                life.replid2 = Some((life.replid, life.log.offset()));
                let replid = self.number();
                self.unfollow(node);
                if let Some(life) = &mut self.nodes[node].life {
                    life.replid = replid;
                    life.data_end = life.log.offset();
                    life.data_end_at_office = life.data_end;
                }
            }
            Effect::Follow { primary, epoch } => {
                self.note_new_primary(node);
                self.stop_serving(node);
                self.follow(node, primary, epoch);
            }
            Effect::Detach => {
                self.stop_serving(node);
                self.unfollow(node);
            }
            // A fenced member refuses by itself what it had held.
            Effect::ResumeHeld | Effect::RefuseHeld => self.held_go_on(node),
            Effect::CloseClients => {
                // What relays is empty here, so the process may go.
                let (boot, wait) = (life.boot, self.rng.between(MS, 50 * MS));
                self.after(wait, Thing::Exit { node, boot });
            }
            Effect::Resign => {
                let member = life.id();
                if let Some(conn) = life.follow.as_ref().and_then(|follow| follow.conn) {
                    self.send(conn, false, Wire::Resigned { member });
                }
            }
            Effect::Redirect(target) => self.redirected(node, target),
            Effect::Notify(_) => {}
        }
    }

    /// Whoever has a handover's record in its log goes by no earlier time than the giver did.
    pub fn raise_floor(&mut self, node: usize, rec: &Rec) {
        let Some(Record::Handover(record)) = record_of(rec) else { return };
        let dropped = self.mutant == Some(Mutant::FloorDropped);
        if let Some(life) = self.nodes[node].life.as_mut().filter(|_| !dropped) {
            let now = life.floor.under(life.machine(self.now));
            life.floor.learn(record.clock_ms * MS as i64, now);
        }
    }

    fn note_new_primary(&mut self, node: usize) {
        if let Some(life) = &mut self.nodes[node].life {
            life.knows_leases_since = self.now;
        }
    }

    /// Appends to the own log what belongs together, and sends it to all who follow.
    pub fn append_unit(&mut self, node: usize, recs: impl IntoIterator<Item = Rec>) {
        let late = if self.mutant == Some(Mutant::GrowthNotedLate) { 2 * SEC } else { 0 };
        for rec in recs {
            self.check_append(node, &rec);
            self.raise_floor(node, &rec);
            let Some(life) = &mut self.nodes[node].life else { return };
            let data = crate::answer::is_data(&rec);
            life.log.append(rec);
            if data {
                life.data_end = life.log.offset();
                let hash = life.log.hash();
                self.checks.written.insert(hash, self.now);
            }
        }
        let Some(life) = &mut self.nodes[node].life else { return };
        let (offset, at) = (life.log.offset(), life.local(self.now));
        if life.member.waits_for_commit() {
            life.member.note_stream(offset, at + late);
        }
        self.sync_soon(node);
        self.feed(node);
        if self.mutant == Some(Mutant::OwnMemoryCounts) {
            self.event(node, Event::Durable { offset }, &Cause::Other);
        }
    }

    pub fn plan_tick(&mut self, node: usize) {
        let no_timer = self.mutant == Some(Mutant::NoPauseTimer);
        let Some(life) = &mut self.nodes[node].life else { return };
        let limbo = matches!(life.member.role(), Role::Limbo(_));
        let Some(due) = life.member.next_deadline_us() else { return };
        if no_timer && !limbo
            || life.tick_at.is_some_and(|at| at <= life.global(due) && at > self.now)
        {
            return;
        }
        // Real timers fire a little late.
        let at = life.global(due).max(self.now) + 500;
        life.tick_at = Some(at);
        let boot = life.boot;
        self.at(at, Thing::Tick { node, boot });
    }

    pub fn tick(&mut self, node: usize, boot: u64) {
        let life = self.nodes[node].life.as_mut().filter(|life| life.boot == boot);
        if let Some(life) = life {
            life.tick_at = None;
            self.event(node, Event::Tick, &Cause::Other);
        }
    }

    pub fn user_unpause(&mut self, node: usize, boot: u64) {
        let Some(life) = self.nodes[node].life.as_mut().filter(|life| life.boot == boot) else {
            return;
        };
        let effects = life.member.user_unpause();
        self.perform(node, boot, effects, false);
        if self.mutant != Some(Mutant::UserUnpauses) {
            return;
        }
        let Some(life) = &self.nodes[node].life else { return };
        let (member, id) = (life.id(), life.member.status(life.env(self.now)).pause_id);
        let request = Request { uid: UID.into(), member, verb: Verb::Unpause { id } };
        self.event(node, Event::Request { token: 0, request }, &Cause::Other);
    }
}

pub fn place_of(name: &str) -> usize {
    NAMES.iter().position(|one| *one == name).expect("a member's name")
}

/// Whether the text of a stream's record is one that only members write at a switch.
pub fn record_of(rec: &Rec) -> Option<Record> {
    match rec {
        Rec::Note(text) => Record::parse(text.as_bytes()).ok(),
        Rec::Write(_) | Rec::Part(_) | Rec::Begin | Rec::End | Rec::Ping => None,
    }
}
