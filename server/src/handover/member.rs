//! The state of one member and the one entry for everything that happens to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::commit::Commit;
use super::config::Config;
use super::drain::Drain;
use super::epoch::Epoch;
use super::event::{Effect, Env, Event, Peer, Reply, Request, Target, Verb};
use super::giver::{Attempt, Limbo, Measure, Pause};
use super::keep::Unwritten;
use super::pause::{PauseKind, UserPause};
use super::status::Status;

/// Who this member is. The id is random and new whenever the data can not be trusted: at every
/// boot, unless it was kept with them (see [`Kept`](super::Kept)); the caller draws it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `cluster-uid`; none on a server that no operator manages.
    pub uid: Option<String>,
    /// `member-name`, for people.
    pub name: String,
    /// Own id and where others reach this member.
    pub here: Target,
    /// There are files that outlive the process, and the id shall do so with them.
    pub keeps: bool,
    /// The level of the stream that this member writes: who takes only lower ones cannot take over.
    pub level: u32,
}

/// Bounds, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a giver waits for the target's answer before it abdicates.
    pub takeover_us: u64,
    /// Between two attempts to carry the record by a connection of its own.
    pub retry_us: u64,
    /// How long a draining member waits for RELEASE once it relays.
    pub release_us: u64,
    /// How long an acknowledgement lets its receiver answer reads.
    pub lease_us: u64,
    /// How long a pause may last that a draining member begins by itself.
    pub own_pause_us: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            takeover_us: 10_000_000,
            retry_us: 200_000,
            release_us: 2_000_000,
            lease_us: 600_000,
            own_pause_us: 1_000_000,
        }
    }
}

/// What a member may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// No operator: an ordinary server, led by `REPLICAOF`.
    #[default]
    Unmanaged,
    /// Serves nothing and follows nobody until it is told.
    Fenced,
    Follower {
        epoch: Epoch,
        primary: Target,
    },
    Primary {
        epoch: Epoch,
    },
    /// Has given its epoch away and waits for the target's answer.
    Limbo(Box<Limbo>),
}

impl Role {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unmanaged => "unmanaged",
            Self::Fenced => "fenced",
            Self::Follower { .. } => "follower",
            Self::Primary { .. } => "primary",
            Self::Limbo(_) => "limbo",
        }
    }
}

/// What the gates must do with a command of an ordinary client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// Hold it; it runs in its order when the gate opens.
    Hold,
    /// Answer `-LOADING`: not executed, try again.
    Refuse,
    /// This is a follower: its primary answers (redirect or relay).
    Elsewhere,
}

/// One member. See the module's invariant.
#[derive(Clone, Debug)]
pub struct Member {
    pub(super) identity: Identity,
    pub(super) timing: Timing,
    pub(super) role: Role,
    pub(super) promised: Epoch,
    pub(super) data_epoch: Epoch,
    pub(super) user: UserPause,
    pub(super) pause: Option<Pause>,
    pub(super) attempts: VecDeque<Attempt>,
    /// Epochs taken over, never forgotten: see the invariant's third point.
    pub(super) accepted: BTreeSet<Epoch>,
    pub(super) peers: BTreeMap<String, Peer>,
    pub(super) measure: Measure,
    pub(super) drain: Option<Drain>,
    pub(super) commit: Commit,
    /// Until when leases may be in use that this member gave.
    pub(super) granted_until_us: u64,
    pub(super) has_resigned: bool,
    /// The greatest epoch that this id has ever owned: after a restart it must not own it again, since
    /// its log may lack what others took from it.
    pub(super) owned: Epoch,
    /// A restart would find this id again.
    pub(super) kept: bool,
    /// What becomes of this member if the disk does not take the last record.
    pub(super) unwritten: Unwritten,
    /// This process goes on under the id of an earlier one.
    pub(super) restarted: bool,
    /// Defaults of relayed sessions, sent along with a handover.
    pub(super) session: String,
    /// The clock that keys expire by, Unix time in milliseconds; sent along with a handover.
    pub(super) clock_ms: i64,
}

impl Member {
    /// A member as it boots: fenced if an operator manages it. `data_epoch` is what the loaded
    /// data says about itself, `0.0` for none.
    pub fn new(identity: Identity, timing: Timing, data_epoch: Epoch) -> Self {
        let role = if identity.uid.is_some() { Role::Fenced } else { Role::Unmanaged };
        Self {
            identity,
            timing,
            role,
            promised: Epoch::ZERO,
            data_epoch,
            user: UserPause::default(),
            pause: None,
            attempts: VecDeque::new(),
            accepted: BTreeSet::new(),
            peers: BTreeMap::new(),
            measure: Measure::default(),
            drain: None,
            commit: Commit::default(),
            granted_until_us: 0,
            has_resigned: false,
            owned: Epoch::ZERO,
            kept: false,
            unwritten: Unwritten::default(),
            restarted: false,
            session: String::new(),
            clock_ms: 0,
        }
    }

    /// The one entry. Effects are to be performed in order and before the next event.
    pub fn handle(&mut self, env: Env, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        self.pass_time(env, &mut out);
        match event {
            Event::Request { token, request } => self.request(env, token, request, &mut out),
            Event::Applied { record, start } => self.applied(env, record, start, &mut out),
            Event::Replaced { data_epoch } => {
                self.forget_kept(&mut out);
                self.data_epoch = data_epoch;
            }
            Event::Replacing => self.forget_kept(&mut out),
            Event::Durable { offset } => self.durable_upto(env, offset, &mut out),
            Event::NotKept { renewed } => self.not_kept(env, renewed, &mut out),
            Event::ReplicaUp { peer } => self.replica_up(env, peer, &mut out),
            Event::Ack { member, offset, durable } => {
                self.acked(env, &member, (offset, durable), &mut out);
            }
            Event::ReplicaGone { member } => {
                self.peers.remove(&member);
                // Where others have resigned, fewer are needed once this one is gone.
                self.count_commit(env.offset, None);
            }
            Event::Linked { epoch } => self.linked(epoch),
            Event::Answer { member, epoch, accepted } => {
                self.answered(env, &member, epoch, accepted, &mut out);
            }
            Event::Resigned { member } => self.resigned(env, member),
            Event::Resign => self.resign(&mut out),
            Event::Tick => {}
            Event::Drain { alone_at_us } => self.begin_drain(env, alone_at_us, &mut out),
        }
        out
    }

    fn request(&mut self, env: Env, token: u64, request: Request, out: &mut Vec<Effect>) {
        let Request { uid, member, verb } = request;
        let reply = if self.identity.uid.is_none() {
            Some(Reply::NotReady("this server is not managed: no cluster-uid".into()))
        } else if self.identity.uid.as_ref() != Some(&uid) || member != self.identity.here.member {
            Some(Reply::WrongMember)
        } else {
            self.perform(env, token, verb, out)
        };
        if let Some(reply) = reply {
            out.push(Effect::Reply { token, reply });
        }
    }

    /// Performs a request that is meant for this member; none if the answer comes later.
    fn perform(
        &mut self,
        env: Env,
        token: u64,
        verb: Verb,
        out: &mut Vec<Effect>,
    ) -> Option<Reply> {
        match verb {
            Verb::Bootstrap { term, config } => Some(self.bootstrap(env, term, config, out)),
            Verb::Seal { term } => Some(self.seal(env, term, out)),
            Verb::Promote { term, config, wait_ms } => {
                Some(self.promote(env, term, (config, wait_ms), out))
            }
            Verb::Prepare { config } => Some(self.prepare(env, config)),
            Verb::Commit { config } => Some(self.adopt(env, config)),
            Verb::Follow { epoch, primary } => Some(self.follow(env, epoch, primary, out)),
            Verb::Pause { id, timeout_ms, to } => {
                Some(self.begin_pause(env, id, timeout_ms.saturating_mul(1000), to, out))
            }
            Verb::Unpause { id } => Some(self.unpause(env, &id, out)),
            Verb::Level { id, to } => self.level(env, token, &id, &to),
            Verb::Handover { id, to } => self.hand_over(env, Some(token), &id, to, out),
            Verb::Takeover { blob } => Some(self.takeover(env, &blob, out)),
            Verb::Release { id } => Some(self.release(&id, out)),
        }
    }

    pub fn role(&self) -> &Role {
        &self.role
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn promised(&self) -> Epoch {
        self.promised
    }

    /// Epoch of the last start record in the own log.
    pub fn data_epoch(&self) -> Epoch {
        self.data_epoch
    }

    /// The epoch in which this member acts now; none when fenced or unmanaged.
    pub fn epoch(&self) -> Option<Epoch> {
        match &self.role {
            Role::Unmanaged | Role::Fenced => None,
            Role::Follower { epoch, .. } | Role::Primary { epoch } => Some(*epoch),
            Role::Limbo(limbo) => Some(limbo.record.epoch),
        }
    }

    /// Whether a member that introduces itself on the replication link may be served:
    /// its epoch may be lower than this primary's (it learns), never higher.
    pub fn may_serve(&self, uid: &str, target: &str, epoch: Epoch) -> Result<Epoch, Reply> {
        if self.identity.uid.as_deref() != Some(uid) || target != self.identity.here.member {
            return Err(Reply::WrongMember);
        }
        match &self.role {
            Role::Primary { epoch: own } if epoch <= *own => Ok(*own),
            Role::Primary { .. } => Err(Reply::Stale { promised: self.promised }),
            _ => Err(Reply::NotReady(format!("this member is {}", self.role.name()))),
        }
    }

    /// What to do with a command. `writes`: it writes or may be replicated; `data`: it reads or
    /// writes the data set (neither holds for connection and administration commands).
    pub fn gate(&self, now_us: u64, writes: bool, data: bool) -> Gate {
        match &self.role {
            Role::Fenced if data || writes => Gate::Refuse,
            Role::Follower { .. } if data || writes => Gate::Elsewhere,
            Role::Limbo(_) if data || writes => Gate::Hold,
            Role::Fenced | Role::Follower { .. } | Role::Limbo(_) => Gate::Open,
            Role::Primary { .. } if writes && self.pause.is_some() => Gate::Hold,
            Role::Primary { .. } | Role::Unmanaged => match self.user.at(now_us) {
                Some((PauseKind::All, _)) => Gate::Hold,
                Some((PauseKind::Write, _)) if writes => Gate::Hold,
                _ => Gate::Open,
            },
        }
    }

    /// Whether anything at all may enter the stream that this server originates: expiry, eviction,
    /// keep-alives, requests for acknowledgement, published messages, writes.
    pub fn stream_open(&self, now_us: u64) -> bool {
        match &self.role {
            Role::Unmanaged | Role::Primary { .. } => {
                self.pause.is_none() && self.user.at(now_us).is_none()
            }
            Role::Fenced | Role::Follower { .. } | Role::Limbo(_) => false,
        }
    }

    /// How the last attempt to hand over ended.
    pub fn last_outcome(&self) -> super::status::Outcome {
        self.attempts.back().map(|attempt| attempt.outcome).unwrap_or_default()
    }

    /// Whether any other member follows this one, so that it could take over.
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// Whether a pause for a switch is on, or its handing over.
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// What users hold back now, and until when.
    pub fn user_paused(&self, now_us: u64) -> Option<(PauseKind, u64)> {
        self.user.at(now_us)
    }

    /// `CLIENT PAUSE`. It never shortens or loosens a pause, nor touches the operator's.
    pub fn user_pause(&mut self, kind: PauseKind, now_us: u64, until_us: u64) {
        self.user.begin(kind, now_us, until_us);
    }

    /// `CLIENT UNPAUSE`: ends what users paused and nothing else.
    pub fn user_unpause(&mut self) -> Vec<Effect> {
        self.user.end();
        if self.pause.is_none() && !matches!(self.role, Role::Limbo(_)) {
            vec![Effect::ResumeHeld]
        } else {
            Vec::new()
        }
    }

    /// A command was held by a gate: the measure of the pause waits for its answer.
    pub fn note_held(&mut self) {
        self.measure.held = true;
    }

    /// The first command that was held has been answered.
    pub fn note_answered(&mut self, now_us: u64) {
        self.measure.answered(now_us);
    }

    /// Sets what relayed sessions start from, opaque text that goes with every handover.
    pub fn set_session_defaults(&mut self, text: String) {
        self.session = text;
    }

    /// The clock that keys expire by, before an event: no decision depends on it.
    pub fn set_clock(&mut self, unix_ms: i64) {
        self.clock_ms = unix_ms;
    }

    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Where others reach this member, once the listener knows its port.
    pub fn set_address(&mut self, host: String, port: u16, hostname: String) {
        let here = &mut self.identity.here;
        (here.host, here.port, here.hostname) = (host, port, hostname);
    }

    /// The moment at which [`Event::Tick`] is due next.
    pub fn next_deadline_us(&self) -> Option<u64> {
        let limbo = match &self.role {
            Role::Limbo(limbo) => Some(limbo.next_try_us.min(limbo.until_us)),
            _ => None,
        };
        let pause = match self.role {
            Role::Primary { .. } => self.pause.as_ref().map(|pause| pause.until_us),
            _ => None,
        };
        [limbo, pause, self.opens_at_us(), self.user.deadline_us(), self.drain_deadline_us()]
            .into_iter()
            .flatten()
            .min()
    }

    fn pass_time(&mut self, env: Env, out: &mut Vec<Effect>) {
        self.commit.pass_time(env.now_us);
        self.time_of_giver(env, out);
        self.time_of_drain(env, out);
        if self.user.deadline_us().is_some_and(|until| until <= env.now_us) {
            out.extend(self.user_unpause());
        }
    }

    pub fn status(&self, env: Env) -> Status {
        let attempt = self.attempts.back().cloned().unwrap_or_default();
        let pause = self.pause.as_ref();
        Status {
            uid: self.identity.uid.clone().unwrap_or_default(),
            member: self.identity.here.member.clone(),
            name: self.identity.name.clone(),
            role: self.role.name(),
            epoch: self.epoch().unwrap_or_default(),
            promised: self.promised,
            data_epoch: self.data_epoch,
            offset: env.offset,
            empty: env.empty,
            primary: match &self.role {
                Role::Follower { primary, .. } => Some(primary.clone()),
                Role::Primary { .. } | Role::Limbo(_) => Some(self.identity.here.clone()),
                Role::Unmanaged | Role::Fenced => None,
            },
            pause_id: pause.map(|p| p.id.clone()).unwrap_or_default(),
            pause_left_ms: pause
                .map(|pause| pause.until_us)
                .max(self.user.at(env.now_us).map(|(_, until_us)| until_us))
                .map_or(0, |until_us| until_us.saturating_sub(env.now_us) / 1000),
            handover_id: attempt.id,
            handover_to: attempt.to.member,
            handover_outcome: attempt.outcome,
            handover_epoch: attempt.epoch,
            handover_record: match &self.role {
                Role::Limbo(limbo) => limbo.blob.clone(),
                _ => String::new(),
            },
            pause_us: self.measure.last_us,
            draining: self.drain.is_some(),
            configs: Config::print_all(&self.commit.configs),
            committed: self.commit_offset(),
            restarted: self.restarted,
            lease_left_ms: self.lease_left_us(env.now_us).div_ceil(1000),
        }
    }
}
