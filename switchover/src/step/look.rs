//! What an observation leads to when nothing is under way.
//!
//! Whatever a crashed operator left half done is recognised here, from the arbiter and the
//! members' own words: there is no other memory.

use crate::{
    Command, Durability, Link, Member, Observation, Phase, Pulse, Request, Role, Silence, Status,
    Why,
};

use super::turn::Turn;

impl Turn {
    pub fn observed(&mut self, observation: Observation) {
        let Phase::Observing { again, silent } = self.state.phase.clone() else { return };
        let Observation { arbiter, settings, members, request } = observation;
        self.state.settings = settings;
        if arbiter.version < self.state.arbiter.version {
            // Older than what this process has written or read: never acted on at first sight. If
            // it stays so, the status was restored, and the next look believes it.
            self.state.arbiter = crate::Arbiter::default();
            return self.idle();
        }
        self.state.arbiter = arbiter;
        self.state.members = members;
        for seen in &mut self.state.members {
            let uid = &self.state.arbiter.uid;
            let foreign = |status: &crate::Status| {
                status.uid != *uid || status.role == Role::Unmanaged || status.member.is_empty()
            };
            if seen.status.as_ref().is_some_and(foreign) {
                seen.status = None;
            }
        }
        self.note_pause();
        self.decide(request.as_ref(), silent.as_ref());
        if again && self.state.phase == Phase::Idle {
            self.observe(None);
        }
    }

    /// Whether the stream of the primary stands still on purpose, as far as anybody heard.
    fn note_pause(&mut self) {
        if let Some(acting) = self.acting() {
            self.state.paused = acting.status.pause_left_ms > 0;
        }
    }

    fn decide(&mut self, request: Option<&Request>, silent: Option<&Silence>) {
        let arbiter = &self.state.arbiter;
        if !arbiter.initialised {
            return self.boot();
        }
        if self.outdated() {
            return self.restored();
        }
        if let Some(election) = arbiter.election.clone() {
            return match self.acting() {
                Some(primary) if primary.status.epoch.term >= election.term => {
                    let primary = primary.member();
                    self.settle(&primary, request);
                }
                _ => self.resume_election(election, silent),
            };
        }
        let published = arbiter.primary.as_ref();
        let current = self.acting().filter(|acting| {
            let epoch = acting.status.epoch;
            epoch > arbiter.epoch || epoch == arbiter.epoch && published == Some(&acting.member())
        });
        match current.map(|acting| acting.member()) {
            Some(primary) => self.settle(&primary, request),
            None => self.primary_missing(silent),
        }
    }

    /// No member is the primary that the arbiter knows, or a later one.
    fn primary_missing(&mut self, silent: Option<&Silence>) {
        if self.await_handover() {
            return;
        }
        let Some(primary) = self.state.arbiter.primary.clone() else {
            return self.claim();
        };
        if let Some(name) = self.heard_by_replicas() {
            // Replicas hear what was said a moment ago. Only the next look tells.
            return match silent {
                None => self.await_silence(primary, 0, self.state.settings.agreed_after_ms),
                Some(_) => self.wait(Why::PrimaryCutOff { name }),
            };
        }
        let suspect = match self.by_name(&primary.name) {
            None => primary,
            Some(answer) => {
                let status = answer.status;
                if status.member != primary.member || status.role != Role::Follower {
                    // It answers, and it is primary no more: nothing is left to wait for.
                    return self.claim();
                }
                // It follows already. Its successor does not answer as primary, or did not yet:
                // the members were not asked at one moment.
                Member { name: String::new(), member: status.primary_member.clone() }
            }
        };
        self.suspect(suspect, silent);
    }

    /// Claims a term if this member's silence has lasted, else goes on counting.
    pub fn suspect(&mut self, lost: Member, silent: Option<&Silence>) {
        let agreed_ms = self.lost_by_replicas(&lost);
        let needed_ms = self.patience_ms(&lost, agreed_ms.is_some());
        let lasted_ms = silent.filter(|one| one.lost == lost).map_or(0, |one| one.lasted_ms);
        // Who has just begun to look believes those who have listened for longer.
        let lasted_ms = lasted_ms.max(agreed_ms.unwrap_or(0));
        if lasted_ms >= needed_ms {
            return self.claim();
        }
        self.await_silence(lost, lasted_ms, needed_ms - lasted_ms);
    }

    fn await_silence(&mut self, lost: Member, lasted_ms: u64, more_ms: u64) {
        let silence = Silence { lost, lasted_ms: lasted_ms + more_ms };
        self.enter(Phase::Suspecting(silence), more_ms);
    }

    /// How long this primary must have been silent before another one is elected. None of it makes
    /// an election safe; it is what a primary that comes back is worth.
    fn patience_ms(&self, lost: &Member, agreed: bool) -> u64 {
        let settings = &self.state.settings;
        // One that answers at once may come back with what no other member holds.
        let held_by_others = self.state.arbiter.config.durability != Durability::Async;
        match self.pulse(lost) {
            // Where nobody listens and nobody is heard there is nothing to wait for.
            Pulse::Gone if agreed => 0,
            Pulse::Unknown if agreed && held_by_others => {
                settings.agreed_after_ms.min(settings.failover_after_ms)
            }
            _ => settings.failover_after_ms,
        }
    }

    fn pulse(&self, lost: &Member) -> Pulse {
        let seen = self.state.members.iter().find(|seen| seen.name == lost.name);
        seen.map(|seen| seen.pulse).unwrap_or_default()
    }

    /// Whether a replica's link to its primary is more than open. A primary that is busy, or that
    /// holds writes back, says nothing for a while.
    fn hears(&self, status: &Status) -> bool {
        let primary = self.state.arbiter.primary.as_ref();
        let busy = primary.is_some_and(|primary| self.pulse(primary) == Pulse::Beats);
        let still = busy || self.state.paused || self.state.arbiter.switchover.is_some();
        status.link == Link::Up
            && (still || status.silence_ms < self.state.settings.heard_within_ms)
    }

    /// Whether as many members as an election needs have lost this primary, and since when at least,
    /// in milliseconds from the moment at which they might still have heard it.
    fn lost_by_replicas(&self, lost: &Member) -> Option<u64> {
        let config = &self.state.arbiter.config;
        let agreeing = self.answers().filter(|answer| {
            answer.status.role == Role::Follower
                && !self.hears(answer.status)
                && answer.status.primary_member == lost.member
                && config.holds(&answer.member())
        });
        let heard_within_ms = self.state.settings.heard_within_ms;
        let since = |status: &Status| match status.link {
            Link::Up => status.silence_ms.saturating_sub(heard_within_ms),
            // Its connection broke, it does not tell when.
            _ => 0,
        };
        let mut since_ms: Vec<u64> = agreeing.map(|answer| since(answer.status)).collect();
        since_ms.sort_unstable_by(|one, other| other.cmp(one));
        since_ms.get(config.seals_needed() - 1).copied()
    }

    /// While somebody is handing over, the two of them decide; this side only carries the record.
    pub fn await_handover(&mut self) -> bool {
        let known = self.state.arbiter.epoch;
        let limbo = self
            .answers()
            .find(|answer| answer.status.role == Role::Limbo && answer.status.promised >= known);
        let Some(limbo) = limbo else { return false };
        let name = limbo.seen.name.clone();
        let record = limbo.status.handover_record.clone();
        let target = self.by_id(&limbo.status.handover_to).map(|answer| answer.member());
        if let (Some(target), false) = (target, record.is_empty()) {
            self.send(&target, Command::Takeover { record });
        }
        self.wait(Why::HandoverPending { name });
        true
    }

    /// A replica's open link to a primary that does not answer the operator proves it alive.
    fn heard_by_replicas(&self) -> Option<String> {
        let arbiter = &self.state.arbiter;
        let hearing = self.answers().find(|answer| {
            let status = answer.status;
            status.role == Role::Follower
                && self.hears(status)
                && status.epoch >= arbiter.epoch
                && self.by_id(&status.primary_member).is_none()
                && !self.restarted(&status.primary_member)
        })?;
        let id = &hearing.status.primary_member;
        let named = arbiter.config.members.iter().find(|member| member.member == *id);
        Some(named.map_or_else(|| id.clone(), |member| member.name.clone()))
    }

    /// Whether that life of a member is over: its name answers under another id.
    fn restarted(&self, id: &str) -> bool {
        let known = self.state.arbiter.config.members.iter().find(|member| member.member == id);
        known.is_some_and(|member| self.by_name(&member.name).is_some())
    }
}
