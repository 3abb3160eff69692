//! What may be answered: commit by W members, and the leases under which reads are fresh.
//!
//! **Invariant (acknowledged means kept).** An offset is committed when W ids of *every* active
//! config hold it, and only offsets behind this epoch's start record count. An election seals
//! `N − W + 1` ids of a config, so one of them holds every committed offset; and the config that an
//! election reads is always one of the active ones, since a primary obeys a new config from PREPARE
//! on, before it is published, and obeys the old one until COMMIT, after that.
//!
//! Under `disk` only what an id would find again after a restart counts. The primary's own copy is one
//! among them and no more: the log of an owner that comes back with less is no other history, since it
//! never owns that epoch again, and what an election needs is any one of the W.
//!
//! **Invariant (no stale read).** An acknowledgement is also a lease: whoever sends it lets nobody
//! else open for `lease × (1 + ρ)` from the sending on. The holder counts `lease` from the moment
//! at which the acknowledged bytes came into being, which is earlier. It releases answers only
//! while W members of every active config, itself included, have given one, by a clock that was
//! read after the answers were made.
//!
//! **Invariant (`async`: one acknowledger, a bounded loss).** Under `async` the own copy is the
//! commit, and W counts leases only. Any W lease givers and any `N − W + 1` sealed have a member in
//! common, and a successor opens after the leases that the sealed gave: so no two members answer at
//! one time, while clock rates keep to the bound. And as a lease counts from when the acknowledged
//! bytes came into being, whoever answers knows W members that hold everything older than `lease`:
//! a crash loses no answered write but those of the last `lease` before it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::config::{Config, Durability, MEMBERS_MAX};
use super::event::{Effect, Env, Peer, Reply};
use super::member::{Member, Role};

/// Between two remembered moments of the stream, in microseconds.
const GRAIN_US: u64 = 5_000;
/// Clock rates of two members differ by no more than one part in this.
const RATE_PARTS: u64 = 10;

/// The state of one office; begun anew with every epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    /// Active configs: none until the operator tells one, two while one is being changed.
    pub configs: Vec<Config>,
    /// The log's end before this epoch's start record.
    floor: u64,
    committed: u64,
    /// Nothing is answered before this moment, nor before the start record is committed.
    open_at_us: u64,
    opened: bool,
    /// When the stream had grown to an offset: it came into being no earlier.
    grown: VecDeque<(u64, u64)>,
    /// How long the stream was when that was last noted, whether or not it was remembered.
    seen: u64,
    /// From when on each member's lease counts.
    leases: BTreeMap<String, u64>,
    /// Up to where the own log is durable, under an id that is kept.
    pub durable: u64,
    /// Until when all configs have W leases.
    leased_until_us: u64,
    /// Ids that said they would never answer again.
    resigned: BTreeSet<String>,
}

/// How an office begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The whole log is committed: handed over, taken back, or there is none.
    Level,
    /// By election: after this many microseconds, and when the start record is committed.
    Elected { wait_us: u64 },
}

impl Commit {
    pub fn begin(&mut self, configs: Vec<Config>, env: Env, how: Opening) {
        let wait_us = match how {
            Opening::Level => 0,
            Opening::Elected { wait_us } => wait_us,
        };
        *self = Self {
            configs,
            floor: env.offset,
            committed: if how == Opening::Level { env.offset } else { 0 },
            open_at_us: env.now_us.saturating_add(wait_us),
            opened: how == Opening::Level,
            seen: env.offset,
            durable: self.durable,
            ..Self::default()
        };
    }

    /// The moment before which nothing is answered has come, if it has.
    pub fn pass_time(&mut self, now_us: u64) {
        if self.open_at_us <= now_us {
            self.open_at_us = 0;
        }
    }

    /// Whether everything up to this offset is committed.
    pub fn reaches(&self, offset: u64) -> bool {
        self.opened && self.committed >= offset
    }

    pub fn waits(&self) -> bool {
        !self.configs.is_empty()
    }

    /// A config's members that can be sealed. What a resigned one holds is lost with it.
    fn live<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a String> {
        config.members.iter().filter(|id| !self.resigned.contains(*id))
    }

    /// How many of a config's members must have given their word now. A resigned id can never be
    /// sealed, so `N − W + 1` of the others and the smaller number still meet; more are asked for
    /// while they are connected.
    fn needed(&self, config: &Config, own: &str, peers: &BTreeMap<String, Peer>) -> usize {
        let gone = config.members.iter().filter(|id| self.resigned.contains(*id)).count();
        if !config.degrade || gone == 0 {
            return config.w;
        }
        let seals = config.members.len() + 1 - config.w;
        let live = config.members.len() - gone;
        let least = (live + 1).saturating_sub(seals).max(1);
        let there = |id: &&String| *id == own || peers.contains_key(*id);
        let there = self.live(config).filter(there).count();
        there.clamp(least.min(config.w), config.w)
    }

    /// The value that `needed` live members of the config reach or exceed; 0 if they are too few.
    fn reached(&self, config: &Config, needed: usize, value: impl Fn(&str) -> Option<u64>) -> u64 {
        let mut values = [0; MEMBERS_MAX];
        let mut count = 0;
        for found in self.live(config).filter_map(|id| value(id)) {
            values[count] = found;
            count += 1;
        }
        values[..count].sort_unstable_by(|a, b| b.cmp(a));
        values[..count].get(needed - 1).copied().unwrap_or(0)
    }

    fn held(&self, config: &Config, own: (&str, u64), peers: &BTreeMap<String, Peer>) -> u64 {
        if config.durability == Durability::Async {
            return own.1;
        }
        let on_disk = config.durability == Durability::Disk;
        let own_copy = if on_disk { self.durable.min(own.1) } else { own.1 };
        let of_peer = |peer: &Peer| if on_disk { peer.durable } else { peer.acked };
        let value = |id: &str| {
            if id == own.0 { Some(own_copy) } else { peers.get(id).map(of_peer) }
        };
        let needed = self.needed(config, own.0, peers);
        self.reached(config, needed, value).min(own.1)
    }

    fn advance(&mut self, own: (&str, u64), peers: &BTreeMap<String, Peer>) {
        let held = self.configs.iter().map(|config| self.held(config, own, peers)).min();
        // With no config the primary's own copy is the commit.
        let held = held.unwrap_or(own.1);
        if held > self.floor {
            self.committed = self.committed.max(held);
            self.opened = true;
        }
    }

    /// Until when enough members of this config have given a lease.
    fn leased(
        &self,
        config: &Config,
        own: &str,
        peers: &BTreeMap<String, Peer>,
        lease_us: u64,
    ) -> u64 {
        let leases = &self.leases;
        let value = |id: &str| if id == own { Some(u64::MAX) } else { leases.get(id).copied() };
        // A lease counted from 0 is none.
        match self.reached(config, self.needed(config, own, peers), value) {
            0 => 0,
            from => from.saturating_add(lease_us),
        }
    }

    fn lease(&mut self, own: &str, peers: &BTreeMap<String, Peer>, lease_us: u64) {
        let until = self.configs.iter().map(|config| self.leased(config, own, peers, lease_us));
        self.leased_until_us = until.min().unwrap_or(u64::MAX);
    }
}

impl Member {
    /// Whether answers of this primary wait for other members' copies or leases at all.
    #[inline]
    pub fn waits_for_commit(&self) -> bool {
        matches!(self.role, Role::Primary { .. } | Role::Limbo(_)) && self.commit.waits()
    }

    /// What W members hold. Counts only while this member is primary.
    pub fn committed(&self) -> u64 {
        self.commit.committed
    }

    /// Whether everything up to this offset is committed. Counts only while this member is primary.
    pub fn has_committed(&self, offset: u64) -> bool {
        self.commit.reaches(offset)
    }

    /// As [`Member::committed`], and 0 for a member that is no primary.
    pub(super) fn commit_offset(&self) -> u64 {
        let serves = matches!(self.role, Role::Primary { .. } | Role::Limbo(_));
        if serves { self.commit.committed } else { 0 }
    }

    pub fn configs(&self) -> &[Config] {
        &self.commit.configs
    }

    /// Up to which offset answers may be released now; none: not a single one. `now_us` must have
    /// been read after the answers were made.
    pub fn released(&self, now_us: u64) -> Option<u64> {
        let open = matches!(self.role, Role::Primary { .. })
            && self.commit.opened
            && self.commit.open_at_us <= now_us;
        (open && now_us < self.commit.leased_until_us).then_some(self.commit.committed)
    }

    /// When a primary that was elected may open, while that is to come.
    pub(super) fn opens_at_us(&self) -> Option<u64> {
        let waits = self.waits_for_commit() && self.commit.open_at_us > 0;
        waits.then_some(self.commit.open_at_us)
    }

    /// The stream has this length now; what it has grown by since this was called last came into
    /// being at `since_us` or later. Where the own copy is enough this is already the commit.
    pub fn note_stream(&mut self, offset: u64, since_us: u64) {
        if offset > self.commit.committed {
            self.count_commit(offset, None);
        }
        // A length that was passed over once came before a later `since_us`.
        if offset <= self.commit.seen {
            return;
        }
        self.commit.seen = offset;
        let grown = &mut self.commit.grown;
        let last = grown.back().copied().unwrap_or_default();
        if since_us >= last.1 + GRAIN_US {
            grown.push_back((offset, since_us));
            let lease_us = self.timing.lease_us;
            while grown.front().is_some_and(|(_, at_us)| at_us + lease_us < since_us) {
                grown.pop_front();
            }
        }
    }

    /// This follower has sent acknowledgements until `now_us`, a clock read after the acknowledged
    /// bytes were: each of them lets nobody else open for a while.
    pub fn granted(&mut self, now_us: u64) {
        let lease_us = self.timing.lease_us;
        let until_us = now_us.saturating_add(lease_us + lease_us / RATE_PARTS);
        self.granted_until_us = self.granted_until_us.max(until_us);
    }

    /// How long the leases that this member has given still last.
    pub(super) fn lease_left_us(&self, now_us: u64) -> u64 {
        self.granted_until_us.saturating_sub(now_us)
    }

    pub(super) fn count_commit(&mut self, offset: u64, acked: Option<(&str, u64)>) {
        if let Some((member, acked)) = acked {
            let grown = self.commit.grown.iter().rev();
            let from = grown.into_iter().find(|(at, _)| *at <= acked).map(|(_, since)| *since);
            if let Some(from_us) = from {
                let lease = self.commit.leases.entry(member.to_owned()).or_default();
                *lease = from_us.max(*lease);
            }
        }
        let own = self.identity.here.member.as_str();
        self.commit.advance((own, offset), &self.peers);
        self.commit.lease(own, &self.peers, self.timing.lease_us);
    }

    /// Obeys `config` beside the present one from now on. Answered as soon as W of its members
    /// hold what is committed, so that it may be published; repeated until then.
    pub(super) fn prepare(&mut self, env: Env, config: Config) -> Reply {
        let Role::Primary { epoch } = self.role else {
            return Reply::NotReady(format!("this member is {}", self.role.name()));
        };
        if config.term != epoch.term {
            return Reply::NotReady(format!("this is term {}", epoch.term));
        }
        match self.commit.configs.as_slice() {
            [only] if *only == config => return Reply::Prepared,
            [_, next] if *next == config => {}
            [_, _] => return Reply::NotReady("another config is being prepared".into()),
            [only] if config.v <= only.v => {
                return Reply::NotReady(format!("config {} is in force", only.v));
            }
            [] | [_] => {
                self.commit.configs.push(config);
                // Where nothing waited so far nobody has noted when the stream grew.
                self.commit.seen = self.commit.seen.max(env.offset);
            }
            _ => return Reply::NotReady("too many configs".into()),
        }
        self.count_commit(env.offset, None);
        let next = self.commit.configs.last().expect("pushed above, or seen");
        let own = (self.identity.here.member.as_str(), env.offset);
        let holds = if next.durability == Durability::Async {
            // Whoever has given a lease holds all that is older, and no election misses it.
            let until = self.commit.leased(next, own.0, &self.peers, self.timing.lease_us);
            env.now_us < until
        } else {
            self.commit.held(next, own, &self.peers) >= self.commit.committed
        };
        if holds && self.commit.opened {
            Reply::Prepared
        } else {
            Reply::NotReady("too few members of the config hold what is committed".into())
        }
    }

    /// `config` was published: the other one is obeyed no more. Its number is that of the prepared
    /// one; its content may be the old one's, if the change was given up.
    pub(super) fn adopt(&mut self, env: Env, config: Config) -> Reply {
        let Role::Primary { .. } = self.role else {
            return Reply::NotReady(format!("this member is {}", self.role.name()));
        };
        match self.commit.configs.as_slice() {
            [only] if *only == config => return Reply::Ok,
            [old, next] if next.v == config.v && (next == &config || old.gives_way_to(&config)) => {
            }
            _ => return Reply::NotReady(format!("config {} was not prepared here", config.v)),
        }
        self.commit.configs = vec![config];
        self.count_commit(env.offset, None);
        Reply::Ok
    }

    /// A member says that it will never answer again.
    pub(super) fn resigned(&mut self, env: Env, member: String) {
        if matches!(self.role, Role::Primary { .. }) {
            self.commit.resigned.insert(member);
            self.count_commit(env.offset, None);
        }
    }

    /// This member will never be sealed, promoted or counted again; says so to its primary.
    pub(super) fn resign(&mut self, out: &mut Vec<Effect>) {
        self.has_resigned = true;
        self.forget_kept(out);
        out.push(Effect::Resign);
    }

    /// Whether what was read here until `now_us` was fresh.
    pub fn leases_hold(&self, now_us: u64) -> bool {
        now_us < self.commit.leased_until_us
    }

    /// Whether giver and target are W members themselves: then the target's acceptance proves that
    /// nobody else had opened before.
    pub fn pair_is_enough(&self) -> bool {
        self.commit.configs.iter().all(|config| config.w <= 2)
    }

    /// Whether the epoch may be given away: what was read must be known to be fresh, and nobody may
    /// hold a lease of an older epoch any more, since the target opens at once.
    pub(super) fn may_give(&self, env: Env) -> bool {
        let open = self.commit.open_at_us <= env.now_us;
        let fresh = self.pair_is_enough() || self.leases_hold(env.now_us);
        !self.commit.waits() || open && fresh
    }

    /// Whether every active config counts this member: only then does its acceptance prove that no
    /// election had been decided before, and its own copy count when it is primary.
    pub(super) fn counts(&self, member: &str) -> bool {
        self.commit.configs.iter().all(|config| config.holds(member))
    }
}
