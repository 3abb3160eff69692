//! One member's process: the real `Member` with a log, a gate and held commands around it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use server::handover::{
    Effect, Env, Epoch, Event, Gate, Handover, Identity, Kept, Member, Outcome, Record, Request,
    Role, Target, Timing, Verb,
};
use switchover::{Event as Told, Link, Refusal, Replica, Tag};

use crate::answer::Owed;
use crate::convert;
use crate::link::{Follow, Served, Wire};
use crate::log::{Entry, Log, Rec};
use crate::mutant::Mutant;
use crate::run::Victim;
use crate::world::{MS, NAMES, SEC, Thing, UID, World};

/// A follower that has heard nothing for so long says so.
const SILENT: u64 = 500 * MS;

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
    /// The next thing given to the disk fails.
    pub failing: bool,
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
    tokens: BTreeMap<u64, (u64, Tag)>,
    held: Vec<u64>,
    /// Answers that wait for commit.
    pub owed: VecDeque<Owed>,
    /// Behind the last data in the log, now and when the present office began.
    pub data_end: u64,
    pub data_end_at_office: u64,
    /// The office came by an election.
    pub elected: bool,
    pub cached_clock: Option<u64>,
    rate: u64,
    /// Of a mutant: what was received and not applied.
    pub received: Vec<Entry>,
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

    pub fn id(&self) -> String {
        self.member.identity().here.member.clone()
    }

    fn target(&self) -> Option<Target> {
        match self.member.role() {
            Role::Follower { primary, .. } => Some(primary.clone()),
            _ => None,
        }
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
        let here = Target {
            member: format!("{name}{life}"),
            host: name.into(),
            port: 1,
            hostname: String::new(),
        };
        let identity = Identity { uid: Some(UID.into()), name: name.into(), here, keeps, level: 0 };
        let log = self.loaded(node);
        let place = &self.nodes[node];
        let kept = place.kept.clone().filter(|_| keeps);
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
            held: Vec::new(),
            owed: VecDeque::new(),
            data_end: 0,
            data_end_at_office: 0,
            elected: false,
            cached_clock: None,
            rate: self.nodes[node].rate,
            received: Vec::new(),
            promised_before: Epoch::ZERO,
            tick_at: None,
            sync: crate::disk::Syncing::of(&log),
            log,
        });
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
        let boot = life.boot;
        let before = crate::check::Before::of(life, self.now);
        let elected = matches!(
            &event,
            Event::Request { request: Request { verb: Verb::Promote { .. }, .. }, .. }
        );
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
        for effect in effects {
            if self.struck(Victim::Member(node), 12) {
                self.crash_somehow(node);
            }
            if matches!(effect, Effect::Sync | Effect::Keep { .. }) {
                if self.disk_fails(node) {
                    return;
                }
                self.struck_at_record(node, &effect);
            }
            self.note_decision(node, &effect, asked);
            if self.nodes[node].life.as_ref().is_none_or(|life| life.boot != boot) {
                return;
            }
            self.effect(node, effect);
            if self.struck(Victim::Member(node), 12) {
                return self.crash_somehow(node);
            }
        }
    }

    fn effect(&mut self, node: usize, effect: Effect) {
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
            Effect::Append { argument } => self.append(node, Rec::Note(Rc::from(argument))),
            Effect::Answer { epoch, accepted } => self.answer_on_link(node, epoch, accepted),
            Effect::Takeover { to, blob } => {
                let boot = life.boot;
                let place = place_of(&to.host);
                if let Some(delay) = self.way(node, place) {
                    self.after(delay, Thing::Takeover { from: node, boot, to, blob });
                }
            }
            Effect::Promote { .. } => {
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
                self.stop_serving(node);
                self.follow(node, primary, epoch);
            }
            Effect::Detach => {
                self.stop_serving(node);
                self.unfollow(node);
            }
            Effect::ResumeHeld => {
                let held = std::mem::take(&mut life.held);
                for id in held {
                    self.write_came(node, id);
                }
            }
            Effect::RefuseHeld => life.held.clear(),
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
            Effect::Redirect(_) | Effect::Notify(_) => {}
        }
    }

    /// Appends to the own log and sends it to all who follow.
    pub fn append(&mut self, node: usize, rec: Rec) {
        self.check_append(node, &rec);
        let late = if self.mutant == Some(Mutant::GrowthNotedLate) { 2 * SEC } else { 0 };
        let Some(life) = &mut self.nodes[node].life else { return };
        let data = crate::answer::is_data(&rec);
        life.log.append(rec);
        let (offset, at) = (life.log.offset(), life.local(self.now));
        if data {
            life.data_end = offset;
        }
        if life.member.waits_for_commit() {
            life.member.note_stream(offset, at + late);
        }
        if data {
            let hash = life.log.hash();
            self.checks.written.insert(hash, self.now);
        }
        self.sync_soon(node);
        self.feed(node);
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

    pub fn commanded(
        &mut self,
        brain: u64,
        tag: Tag,
        to: &switchover::Member,
        command: switchover::Command,
    ) {
        let node = place_of(&to.name);
        if self.nodes[node].life.is_none() {
            return self.lost(brain, tag, node);
        }
        let Some((to, command)) = self.miscommanded(node, (brain, tag), to, command) else {
            return;
        };
        let cause = match &command {
            switchover::Command::Unpause { id } => Cause::Unpause(id.clone()),
            switchover::Command::Takeover { .. } => Cause::Takeover,
            _ => Cause::Other,
        };
        let token = self.number();
        self.note(|| {
            format!("{} <- {} {}", NAMES[node], to.member, command.words("", &to).join(" "))
        });
        let request =
            Request { uid: UID.into(), member: to.member.clone(), verb: convert::verb(command) };
        if let Some(life) = &mut self.nodes[node].life {
            life.tokens.insert(token, (brain, tag));
        }
        self.event(node, Event::Request { token, request }, &cause);
    }

    fn reply(
        &mut self,
        node: usize,
        brain: u64,
        tag: Tag,
        result: Result<switchover::Reply, Refusal>,
    ) {
        self.note(|| format!("{} -> {result:?}", NAMES[node]));
        match self.way(node, crate::world::BRAIN) {
            Some(delay) => {
                let name = NAMES[node].to_owned();
                let event = Told::Replied { tag, name, result };
                self.after(delay, Thing::Told { brain, event });
            }
            None => self.lost(brain, tag, node),
        }
    }

    /// The operator sees its connection end, sooner or later, or never.
    pub fn lost(&mut self, brain: u64, tag: Tag, node: usize) {
        if self.chaos && self.rng.chance(2_000) {
            return;
        }
        let delay = self.rng.between(MS, SEC);
        let name = NAMES[node].to_owned();
        let result = Err(Refusal::Lost("the connection ended".into()));
        self.after(delay, Thing::Told { brain, event: Told::Replied { tag, name, result } });
    }

    pub fn takeover_came(&mut self, from: usize, boot: u64, to: Target, blob: String) {
        let node = place_of(&to.host);
        let Some(life) = &self.nodes[node].life else { return };
        let right = life.id() == to.member;
        let Ok(record) = Handover::decode(&blob) else { return };
        let epoch = record.epoch;
        let member = to.member.clone();
        let request = Request { uid: UID.into(), member, verb: Verb::Takeover { blob } };
        self.event(node, Event::Request { token: 0, request }, &Cause::Takeover);
        let accepted = match &self.nodes[node].life {
            Some(life) if right && life.id() == to.member => {
                self.checks.decided.get(&epoch).copied()
            }
            Some(_) if !right && self.mutant == Some(Mutant::RestartedTargetDeclines) => {
                Some(false)
            }
            _ => None,
        };
        if let (Some(accepted), Some(delay)) = (accepted, self.way(node, from)) {
            let member = to.member;
            let answer =
                |member| Thing::TakeoverAnswer { node: from, boot, member, epoch, accepted };
            self.theme_at_answer(|| answer(member.clone()));
            self.after(delay, answer(member));
        }
    }

    pub fn write_came(&mut self, node: usize, id: u64) {
        let now = self.now;
        let overridden = self.serves_in_limbo(node);
        let Some(life) = &mut self.nodes[node].life else { return };
        let at = life.local(now);
        let gate = if overridden { Gate::Open } else { life.member.gate(at, true, true) };
        match gate {
            Gate::Open if !overridden && life.member.waits_for_commit() => {
                self.append(node, Rec::Write(id));
                self.owe_write(node, id);
            }
            Gate::Open => {
                self.check_acknowledged(node, id);
                self.append(node, Rec::Write(id));
            }
            Gate::Hold => {
                life.member.note_held();
                life.held.push(id);
            }
            Gate::Refuse => {}
            Gate::Elsewhere => {
                let target = life.target().map(|target| place_of(&target.host));
                if let Some(place) = target
                    && let Some(delay) = self.way(node, place)
                {
                    self.after(delay, Thing::Write { node: place, id });
                }
            }
        }
    }

    fn serves_in_limbo(&self, node: usize) -> bool {
        let limbo = self.checks.limbo[node].as_ref();
        self.mutant == Some(Mutant::ResumeByTimer)
            && limbo.is_some_and(|limbo| limbo.pause_until <= self.now)
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

    pub fn status_of(&self, node: usize) -> Option<switchover::Status> {
        let life = self.nodes[node].life.as_ref()?;
        let link = match (&life.follow, life.member.role()) {
            (Some(follow), Role::Follower { .. }) if follow.up => {
                let silent = self.now > follow.heard + SILENT;
                if silent { Link::Down } else { Link::Up }
            }
            (Some(_), Role::Follower { .. }) => Link::Connecting,
            _ => Link::None,
        };
        let silence_ms = life.follow.as_ref().map_or(0, |follow| (self.now - follow.heard) / MS);
        let replicas = life.served.values().map(|served| Replica {
            member: served.member.clone(),
            offset: served.acked,
            online: served.online,
        });
        let status = life.member.status(life.env(self.now));
        let status = convert::status(status, link, replicas.collect());
        Some(switchover::Status { silence_ms, ..status })
    }
}

pub fn place_of(name: &str) -> usize {
    NAMES.iter().position(|one| *one == name).expect("a member's name")
}

/// Whether the text of a stream's record is one that only members write at a switch.
pub fn record_of(rec: &Rec) -> Option<Record> {
    match rec {
        Rec::Note(text) => Record::parse(text.as_bytes()).ok(),
        Rec::Write(_) | Rec::Ping => None,
    }
}
