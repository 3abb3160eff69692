//! The planned switch: intent, precheck, pause, level, handing over, and every way out of it.

use crate::{
    Attempt, Command, Effect, Epoch, Intent, LastSwitchover, Link, Member, Notice, Outcome, Phase,
    Reason, Refusal, Reply, Request, Role, Status, Then, Why,
};

use super::settle::aborted;
use super::turn::{Answer, SOON_MS, Turn};

const OLD_STREAM: &str = "cannot take the stream that the primary writes";
const OTHER_TRANSPORT: &str = "takes clients by other transports (TCP, TLS) than the primary";
const OTHER_USERS: &str = "has other users, passwords or rights than the primary";
const UNLIKE: [&str; 3] = [OLD_STREAM, OTHER_TRANSPORT, OTHER_USERS];

/// Why clients would not find at the target what they had at the primary. What an update changes is
/// meant to differ.
fn unlike(primary: &Status, target: &Status, reason: Reason) -> Option<&'static str> {
    let differ = |one: &str, other: &str| !one.is_empty() && !other.is_empty() && one != other;
    if target.stream_level < primary.stream_level {
        Some(OLD_STREAM)
    } else if reason == Reason::RollingUpdate {
        None
    } else if differ(&primary.listens, &target.listens) {
        Some(OTHER_TRANSPORT)
    } else {
        differ(&primary.users, &target.users).then_some(OTHER_USERS)
    }
}

impl Turn {
    /// Steps 0 and 1. Nothing has happened yet when this cannot start.
    pub fn begin_switch(&mut self, primary: &Member, epoch: Epoch, request: &Request) {
        if self.answered(request) {
            return self.idle();
        }
        if request.to.as_ref() == Some(&primary.name) {
            return self.answer(primary, request, None);
        }
        let chosen = self.choose(primary, epoch, request);
        let target = match chosen {
            Ok(target) => target,
            Err(why) if self.may_pass(&why) => return self.idle_for(SOON_MS),
            // A person is told at once; a drain goes on being wanted, and is held.
            Err(why) if request.reason == Reason::Request => {
                return self.answer(primary, request, Some(why));
            }
            Err(why) => return self.hold(request, why),
        };
        if self.by_id(&primary.member).is_some_and(|p| !p.status.pause_id.is_empty()) {
            // Another attempt's pause is still on; its timer will end it.
            return self.idle_for(SOON_MS);
        }
        let intent = Intent {
            id: request.id.clone(),
            from: primary.clone(),
            to: target,
            reason: request.reason,
            attempt: 1,
            deadline_ms: self.state.settings.pause_timeout_ms,
        };
        self.attempt(intent);
    }

    fn attempt(&mut self, intent: Intent) {
        let Some(target) = self.by_id(&intent.to.member) else { return self.idle() };
        let seen = target.seen;
        let attempt = Attempt {
            intent: intent.clone(),
            host: seen.host.clone(),
            port: seen.port,
            hostname: seen.hostname.clone(),
        };
        self.publish(Then::Switch(attempt), |arbiter| arbiter.switchover = Some(intent));
    }

    fn answered(&self, request: &Request) -> bool {
        if request.reason == Reason::Request {
            return self.state.arbiter.has_answered(&request.id);
        }
        self.state
            .arbiter
            .last_switchover
            .as_ref()
            .is_some_and(|last| last.id == request.id && last.outcome == Outcome::Completed)
    }

    /// Answers a request without a switch.
    fn answer(&mut self, primary: &Member, request: &Request, why: Option<Why>) {
        let outcome = if why.is_none() { Outcome::Completed } else { Outcome::Aborted };
        let last = LastSwitchover {
            id: request.id.clone(),
            from: primary.name.clone(),
            to: request.to.clone().unwrap_or_default(),
            reason: request.reason,
            outcome,
            pause_ms: None,
            why: why.as_ref().map(ToString::to_string),
        };
        let notices = why.map(|why| aborted(&last, why)).into_iter().collect();
        self.publish(Then::Tell(notices), |arbiter| arbiter.finish(last));
    }

    fn hold(&mut self, request: &Request, why: Why) {
        if self.state.told.as_ref() != Some(&why) {
            let request = request.clone();
            self.effects.push(Effect::Notify(Notice::Held { request, why: why.clone() }));
            self.state.told = Some(why);
        }
        self.idle();
    }

    /// Rights that were changed a moment ago are on their way to the replicas: that they differ is
    /// believed at the second look.
    fn may_pass(&mut self, why: &Why) -> bool {
        let doubtful = matches!(why, Why::TargetUnfit { text, .. } if *text == OTHER_USERS);
        let first = doubtful && self.state.doubted.as_ref() != Some(why);
        self.state.doubted = doubtful.then(|| why.clone());
        first
    }

    fn choose(&self, primary: &Member, epoch: Epoch, request: &Request) -> Result<Member, Why> {
        let unfit = |answer: &Answer<'_>| self.unfit(primary, epoch, request.reason, answer);
        if let Some(name) = &request.to {
            let why = |text| Why::TargetUnfit { name: name.clone(), text };
            let target = self.by_name(name).ok_or_else(|| why("does not answer"))?;
            return match unfit(&target) {
                Some(text) => Err(why(text)),
                None => Ok(target.member()),
            };
        }
        let eligible = || self.answers().filter(|answer| answer.seen.eligible);
        // A few commands of lag are noise; the first ordinal of about the same lag is taken.
        let lag = |answer: &Answer<'_>| self.lag(primary, &answer.status.member).unwrap_or(0) >> 16;
        let best = eligible().filter(|answer| unfit(answer).is_none()).min_by_key(lag);
        best.map(|answer| answer.member()).ok_or_else(|| {
            // One that is in sync and would do but for a difference names what is to be mended.
            let unlike = eligible().find_map(|answer| {
                let text = unfit(&answer).filter(|text| UNLIKE.contains(text))?;
                Some(Why::TargetUnfit { name: answer.seen.name.clone(), text })
            });
            unlike.unwrap_or(Why::NoSyncedReplica)
        })
    }

    fn lag(&self, primary: &Member, member: &str) -> Option<u64> {
        let status = self.by_id(&primary.member)?.status;
        let replica = status.replicas.iter().find(|one| one.member == member && one.online)?;
        Some(status.offset.saturating_sub(replica.offset))
    }

    /// The precheck: why this member cannot take over now.
    fn unfit(
        &self,
        primary: &Member,
        epoch: Epoch,
        reason: Reason,
        target: &Answer<'_>,
    ) -> Option<&'static str> {
        let status = target.status;
        if status.draining {
            return Some("is shutting down");
        }
        let config = &self.state.arbiter.config;
        if !config.holds(&target.member()) {
            return Some("is no member of the configuration yet");
        }
        let follows = status.role == Role::Follower
            && status.primary_member == primary.member
            && status.epoch == epoch;
        if !follows {
            return Some("does not follow the primary");
        }
        if status.link != Link::Up {
            return Some("is not in sync");
        }
        match self.lag(primary, &status.member) {
            None => Some("is not in sync"),
            Some(lag) if lag > self.state.settings.max_lag_bytes => Some("lags too far behind"),
            Some(_) => {
                let primary = self.by_id(&primary.member)?.status;
                unlike(primary, status, reason)
            }
        }
    }

    /// The intent of a crashed operator (or of this one, which lost an answer) is still open, and
    /// its old primary is still primary of the same epoch: nothing has been handed over.
    pub fn resume_switch(&mut self, mut intent: Intent, primary: &Member) {
        let Some(status) = self.by_id(&primary.member).map(|answer| answer.status.clone()) else {
            return self.idle();
        };
        if !status.pause_id.is_empty() {
            // The next attempt pauses under its own id, and publishes that before: let go first.
            if status.pause_id.starts_with(&format!("{}/", intent.id)) {
                self.send(primary, Command::Unpause { id: status.pause_id });
            }
            return self.idle_for(SOON_MS);
        }
        if intent.attempt >= self.state.settings.max_attempts {
            return self.close(&intent, Why::TooManyAttempts);
        }
        let unfit = match self.by_name(&intent.to.name) {
            None => Some("does not answer"),
            Some(target) if target.status.member != intent.to.member => Some("has restarted"),
            Some(target) => self.unfit(primary, status.epoch, intent.reason, &target),
        };
        if let Some(text) = unfit {
            let name = intent.to.name.clone();
            return self.close(&intent, Why::TargetUnfit { name, text });
        }
        intent.attempt += 1;
        intent.deadline_ms = self.state.settings.pause_timeout_ms;
        self.attempt(intent);
    }

    /// Step 2: the intent stands in the arbiter, nobody else performs this attempt.
    pub fn pause(&mut self, attempt: Attempt) {
        let intent = attempt.intent.clone();
        self.state.told = None;
        let started = Notice::SwitchoverStarted { intent: intent.clone() };
        self.effects.push(Effect::Notify(started));
        let tag = self.enter(Phase::Pausing(attempt), intent.deadline_ms);
        let (id, timeout_ms) = (intent.action_id(), intent.deadline_ms);
        let to = intent.to.member;
        self.command(tag, &intent.from, Command::Pause { id, timeout_ms, to });
    }

    /// Step 3.
    pub fn pause_answered(&mut self, attempt: Attempt, result: Result<Reply, Refusal>) {
        if let Err(refusal) = result {
            return self.refused(attempt, "PAUSE", &refusal);
        }
        let intent = attempt.intent.clone();
        // Ends before the pause does, so that the primary is let go by an answer, not by its timer.
        let tag = self.enter(Phase::Levelling(attempt), intent.deadline_ms * 3 / 4);
        let command = Command::Level { id: intent.action_id(), to: intent.to.member };
        self.command(tag, &intent.from, command);
    }

    /// Step 4.
    pub fn level_answered(&mut self, attempt: Attempt, result: Result<Reply, Refusal>) {
        match result {
            Ok(_) => {}
            Err(Refusal::NotLevel(_)) => return self.abort(attempt, Why::NotLevel),
            Err(refusal) => return self.refused(attempt, "LEVEL", &refusal),
        }
        let intent = attempt.intent.clone();
        let command = Command::Handover {
            id: intent.action_id(),
            to: intent.to.member,
            host: attempt.host.clone(),
            port: attempt.port,
            hostname: attempt.hostname.clone(),
        };
        let within = self.state.settings.handover_timeout_ms;
        let tag = self.enter(Phase::HandingOver(attempt), within);
        self.command(tag, &intent.from, command);
    }

    /// Steps 5 and 6 have been done by the two members, or not.
    pub fn handover_answered(&mut self, attempt: Attempt, result: Result<Reply, Refusal>) {
        match result {
            Ok(Reply::Accepted { .. }) => {
                let Attempt { intent, .. } = attempt;
                let release = Some((intent.from.clone(), intent.action_id()));
                self.label(intent.to, release);
            }
            // Declined: the old primary has a new epoch to publish. Abdicated: nobody is primary.
            // Lost: the members know. Each is told by a fresh look.
            Ok(_) | Err(Refusal::Lost(_)) => self.observe(None),
            Err(refusal) => self.refused(attempt, "HANDOVER", &refusal),
        }
    }

    fn refused(&mut self, attempt: Attempt, step: &'static str, refusal: &Refusal) {
        let name = attempt.intent.from.name.clone();
        self.abort(attempt, Why::Refused { name, step, text: refusal.to_string() });
    }

    /// Lets the old primary go, before anything is written.
    pub fn abort(&mut self, attempt: Attempt, why: Why) {
        let (from, id) = (attempt.intent.from.clone(), attempt.intent.action_id());
        let phase = Phase::Aborting { attempt, why };
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        self.command(tag, &from, Command::Unpause { id });
    }

    pub fn unpause_answered(
        &mut self,
        attempt: &Attempt,
        why: &Why,
        result: &Result<Reply, Refusal>,
    ) {
        match result {
            Ok(_) => self.close(&attempt.intent, why.clone()),
            // It is handing over already, or is no longer there: look.
            Err(_) => self.observe(None),
        }
    }

    /// Ends an intent that moved nothing.
    fn close(&mut self, intent: &Intent, why: Why) {
        let last = LastSwitchover {
            id: intent.id.clone(),
            from: intent.from.name.clone(),
            to: intent.to.name.clone(),
            reason: intent.reason,
            outcome: Outcome::Aborted,
            pause_ms: None,
            why: Some(why.to_string()),
        };
        let notice = aborted(&last, why);
        self.publish(Then::Tell(vec![notice]), |arbiter| {
            arbiter.switchover = None;
            arbiter.finish(last);
        });
    }
}
