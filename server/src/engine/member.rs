//! Binds the pure [`Member`] to the engine: gives it time, offsets and requests, performs what it
//! answers. It decides nothing itself.

mod boot;
mod drain;
mod keep;
mod route;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::client::{Client, ClientId};
use crate::command::{Command, Flags};
use crate::handover::{
    Effect, Env, Epoch, Event, Identity, Member, Outcome, PauseKind, Record, Reply, Request, Role,
    Timing,
};
use crate::resp::CommandError;

use super::effects::Timer;
use super::pause::{Reason, Scope};
use super::{Engine, hooks};

pub use boot::INTERNAL_USER;
pub use keep::{Found, KeepRecord};
pub use route::Routes;
pub use stream::{LEASE_PING_MS, SIGN_OF_LIFE_MS};

/// Answer to commands that a node which may not serve refuses without having run them: the code
/// that stock libraries take as "try again".
pub const FENCED: &str = "LOADING this member is fenced and waits to be told its role";

/// The engine's side of a member.
pub struct Room {
    pub member: Member,
    /// Requests whose answer comes later.
    waiting: HashMap<u64, ClientId>,
    last_token: u64,
    /// The timer that is already set, in milliseconds.
    timer_ms: Option<u64>,
    /// Held commands go on at the end of this turn; the gates say how.
    resume: bool,
    pub(super) routes: Routes,
    secret: Option<Vec<u8>>,
    ending: drain::Ending,
    keeper: keep::Keeper,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            member: Member::new(Identity::default(), Timing::default(), Epoch::ZERO),
            waiting: HashMap::new(),
            last_token: 0,
            timer_ms: None,
            resume: false,
            routes: Routes::default(),
            secret: None,
            ending: drain::Ending::default(),
            keeper: keep::Keeper::default(),
        }
    }
}

impl Engine {
    pub fn member(&self) -> &Member {
        &self.rooms.member.member
    }

    pub fn is_managed(&self) -> bool {
        self.member().identity().uid.is_some()
    }

    /// The facts that go with every event of the member.
    pub fn member_env(&self) -> Env {
        let offset = self.stream_offset();
        Env { now_us: self.now.mono_us, offset, empty: offset == 0 && self.keyspace_is_empty() }
    }

    /// A request of `REDISHA`. The reply, if it comes at once; else `client`, which is the running
    /// one, is answered later.
    pub fn member_request(&mut self, client: ClientId, request: Request) -> Option<Reply> {
        let room = &mut self.rooms.member;
        room.last_token += 1;
        let token = room.last_token;
        let reply = self.member_happens(Event::Request { token, request }, Some(token));
        if reply.is_none() {
            self.rooms.member.waiting.insert(token, client);
        }
        reply
    }

    /// Lets something happen to the member.
    pub fn member_event(&mut self, event: Event) {
        self.member_happens(event, None);
    }

    /// A record of the primary's stream was applied; `start` is the offset before it.
    pub fn member_applied(&mut self, argument: &[u8], start: u64) {
        // To a server that nobody manages they are signs of life, as to any stock replica.
        if !self.is_managed() || self.acl_applied(argument) || self.migration_applied(argument) {
            return;
        }
        match Record::parse(argument) {
            Ok(record) => {
                self.raise_clock(&record);
                self.member_event(Event::Applied { record, start });
            }
            // A record of a later version: without effect, as for any stock replica.
            Err(error) => hooks::warn(self, &format!("ignored a record of the stream: {error}")),
        }
    }

    fn member_happens(&mut self, event: Event, running: Option<u64>) -> Option<Reply> {
        let env = self.member_env();
        let timing = self.member_timing();
        let member = &mut self.rooms.member.member;
        member.set_timing(timing);
        member.set_clock(self.now.unix_ms());
        let before = member.role().name();
        let effects = member.handle(env, event);
        let answer = self.perform_all(effects, running);
        self.office_changed(before);
        self.after_event();
        answer
    }

    /// Performs effects in their order. The reply to the running request, if it is one of them.
    fn perform_all(&mut self, effects: Vec<Effect>, running: Option<u64>) -> Option<Reply> {
        let mut answer = None;
        let mut effects = effects.into_iter();
        while let Some(effect) = effects.next() {
            let done = match effect {
                Effect::Reply { token, reply } if Some(token) == running => {
                    answer = Some(reply);
                    Ok(())
                }
                Effect::Sync => self.aof_sync(),
                Effect::Keep { kept } => self.keep_record(kept.as_deref()),
                other => {
                    self.perform(other);
                    Ok(())
                }
            };
            if let Err(why) = done {
                return self.not_kept(&why, effects, running);
            }
        }
        answer
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { token, reply } => {
                if let Some(client) = self.rooms.member.waiting.remove(&token) {
                    self.answer(client, |client| write_reply(client, &reply));
                }
            }
            Effect::Sync | Effect::Keep { .. } => unreachable!("they may fail: see the caller"),
            Effect::Append { argument } => self.append_record(&argument),
            Effect::Answer { epoch, accepted } => self.answer_primary(epoch, accepted),
            Effect::Resign => self.resign_to_primary(),
            Effect::Takeover { to, blob } => self.carry_record(&to, &blob),
            Effect::Promote { .. } => self.promote_stream(),
            Effect::Follow { primary, epoch } => self.follow_stream(&primary, epoch),
            Effect::Detach => self.detach_stream(),
            Effect::Redirect(target) => self.lead_clients(target.as_ref()),
            // A fenced member refuses every data command itself: running them is refusing them.
            Effect::ResumeHeld | Effect::RefuseHeld => self.rooms.member.resume = true,
            Effect::Notify(notice) => hooks::notice(self, &notice),
            Effect::CloseClients => self.begin_closing(),
        }
    }

    /// Brings the gate and the timer to what the member now says.
    fn after_event(&mut self) {
        let member = &self.rooms.member.member;
        let scope = match member.role() {
            Role::Limbo(_) => Some(Scope::All),
            Role::Primary { .. } if member.is_paused() => Some(Scope::Writes),
            _ => None,
        };
        match scope {
            Some(scope) => self.pause.set(Reason::Switch, scope, None),
            None => self.pause.end(Reason::Switch),
        }
        self.set_member_timer();
        hooks::stream_changed(self);
    }

    fn set_member_timer(&mut self) {
        let room = &mut self.rooms.member;
        let Some(deadline_us) = room.member.next_deadline_us() else { return };
        let deadline_ms = deadline_us.div_ceil(1000);
        if room.timer_ms.is_none_or(|set| deadline_ms < set) {
            room.timer_ms = Some(deadline_ms);
            self.timers.at(deadline_ms, Timer::Handover(deadline_ms));
        }
    }

    /// `Timer::Handover` fired; the number is its own deadline.
    pub(super) fn member_timer(&mut self, deadline_ms: u64) {
        if deadline_ms == drain::END {
            return self.end_process();
        }
        let room = &mut self.rooms.member;
        if room.timer_ms == Some(deadline_ms) {
            room.timer_ms = None;
            self.member_event(Event::Tick);
        }
    }

    /// The end of a turn: held commands run now, after the events that opened the gate.
    pub(super) fn member_turn(&mut self) {
        if std::mem::take(&mut self.rooms.member.resume) {
            self.resume_held();
            if self.rooms.relays.redirect().is_none() {
                // Else the first answer comes by relay, which notes it.
                self.note_answered();
            }
        }
        self.closing_turn();
    }

    /// Held commands go on at the end of this turn.
    pub(super) fn resume_soon(&mut self) {
        self.rooms.member.resume = true;
    }

    /// `CLIENT PAUSE`; times in microseconds of the monotonic clock.
    pub fn user_pause(&mut self, kind: PauseKind, until_us: u64) {
        let now_us = self.now.mono_us;
        let member = &mut self.rooms.member.member;
        member.user_pause(kind, now_us, until_us);
        if let Some((kind, until_us)) = member.user_paused(now_us) {
            let scope = match kind {
                PauseKind::Write => Scope::Writes,
                PauseKind::All => Scope::All,
            };
            let until_ms = until_us.div_ceil(1000);
            self.pause.set(Reason::User, scope, Some(until_ms));
            self.timers.at(until_ms, Timer::Pause);
        }
        self.set_member_timer();
        hooks::stream_changed(self);
    }

    /// `CLIENT UNPAUSE`: ends what users paused and nothing else.
    pub fn user_unpause(&mut self) {
        self.pause.end(Reason::User);
        let effects = self.rooms.member.member.user_unpause();
        self.perform_all(effects, None);
        hooks::stream_changed(self);
    }

    /// Whether this node may put anything into the stream by itself: expiry, eviction, keep-alives.
    pub fn stream_may_grow(&self) -> bool {
        self.member().stream_open(self.now.mono_us)
    }

    /// Why a command is refused by this node's role.
    pub(super) fn member_refusal(&self, row: &Command) -> Option<CommandError> {
        if !matches!(self.member().role(), Role::Fenced) || row.is(Flags::LOCAL | Flags::INTERNAL) {
            return None;
        }
        // EXEC runs what was queued when this node still served.
        let data = Flags::WRITE | Flags::READONLY | Flags::MAY_REPLICATE;
        let harmless = row.is(Flags::LOADING) && !row.is(data) && row.name != "exec";
        (!harmless).then(|| FENCED.into())
    }

    /// A gate holds a command.
    pub(super) fn note_held(&mut self) {
        if self.pause.is_set(Reason::Switch) {
            self.rooms.member.member.note_held();
        }
    }

    /// A command that a gate held has been answered, here or by relay.
    pub fn note_answered(&mut self) {
        self.rooms.member.member.note_answered(self.now.mono_us);
    }

    /// A client is gone that may have waited for an answer.
    pub(super) fn member_disconnected(&mut self, client: ClientId) {
        self.rooms.member.waiting.retain(|_, waiting| *waiting != client);
    }
}

/// Writes a member's reply as the protocol between operator and servers words it.
pub fn write_reply(client: &mut Client, reply: &Reply) {
    let mut out = client.reply();
    match reply {
        Reply::Ok => out.ok(),
        Reply::Level => out.simple("LEVEL"),
        Reply::Sealed(status) => {
            let offset = status.offset.to_string();
            let epoch = status.data_epoch.to_string();
            let left = status.lease_left_ms.to_string();
            out.map(6);
            for (key, value) in [
                ("member", status.member.as_str()),
                ("data-epoch", &epoch),
                ("offset", &offset),
                ("lease-left-ms", &left),
                ("empty", if status.empty { "1" } else { "0" }),
                ("restarted", if status.restarted { "1" } else { "0" }),
            ] {
                out.bulk(key.as_bytes());
                out.bulk(value.as_bytes());
            }
        }
        Reply::Paused { offset, epoch } => {
            out.map(2);
            out.bulk(b"offset");
            out.bulk(offset.to_string().as_bytes());
            out.bulk(b"epoch");
            out.bulk(epoch.to_string().as_bytes());
        }
        Reply::Outcome { outcome, epoch } => {
            let word = outcome.name().to_ascii_uppercase();
            match outcome {
                Outcome::Abdicated => out.simple(&word),
                _ => out.simple(&format!("{word} {epoch}")),
            }
        }
        Reply::Prepared => out.simple("PREPARED"),
        Reply::NotLevel => out.error(&"NOTLEVEL the pause has ended".into()),
        Reply::WrongMember => out.error(&"WRONGMEMBER this is another member".into()),
        Reply::Stale { promised } => out.error(&format!("STALE promised {promised}").into()),
        Reply::NotReady(why) => out.error(&format!("NOTREADY {why}").into()),
    }
}
