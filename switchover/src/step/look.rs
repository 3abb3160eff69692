//! What an observation leads to when nothing is under way.
//!
//! Whatever a crashed operator left half done is recognised here, from the arbiter and the
//! members' own words: there is no other memory.

use crate::{Command, Link, Member, Observation, Phase, Request, Role, Why};

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
        self.decide(request.as_ref(), silent.as_ref());
        if again && self.state.phase == Phase::Idle {
            self.observe(None);
        }
    }

    fn decide(&mut self, request: Option<&Request>, silent: Option<&Member>) {
        let arbiter = &self.state.arbiter;
        if !arbiter.initialised {
            return self.boot();
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
    fn primary_missing(&mut self, silent: Option<&Member>) {
        if self.await_handover() {
            return;
        }
        let Some(primary) = self.state.arbiter.primary.clone() else {
            return self.claim();
        };
        if let Some(name) = self.heard_by_replicas() {
            return self.wait(Why::PrimaryCutOff { name });
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

    /// Claims a term if this member's silence has lasted, else begins to count.
    pub fn suspect(&mut self, lost: Member, silent: Option<&Member>) {
        if silent == Some(&lost) {
            return self.claim();
        }
        let settings = &self.state.settings;
        let after = if self.lost_by_replicas(&lost) {
            settings.agreed_after_ms.min(settings.failover_after_ms)
        } else {
            settings.failover_after_ms
        };
        self.enter(Phase::Suspecting { lost }, after);
    }

    /// Whether as many members as an election needs have lost their link to this primary.
    fn lost_by_replicas(&self, lost: &Member) -> bool {
        let config = &self.state.arbiter.config;
        let agreeing = self.answers().filter(|answer| {
            answer.status.role == Role::Follower
                && answer.status.link != Link::Up
                && answer.status.primary_member == lost.member
                && config.holds(&answer.member())
        });
        config.durability == crate::Durability::Replicated
            && agreeing.count() >= config.seals_needed()
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
                && status.link == Link::Up
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
