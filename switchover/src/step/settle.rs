//! A primary is there: make everybody follow it, lead the address to it, publish it.

use crate::{
    Command, Effect, Epoch, Handover, Label, Labelling, LastSwitchover, Member, Notice, Outcome,
    Phase, Reason, Request, Role, Then, Why,
};

use super::turn::{Answer, SOON_MS, Turn};

impl Turn {
    /// `primary` answers as primary of the published epoch or a later one.
    pub fn settle(&mut self, primary: &Member, request: Option<&Request>) {
        let Some(epoch) = self.by_id(&primary.member).map(|answer| answer.status.epoch) else {
            return self.idle();
        };
        if self.answers().any(|answer| answer.status.promised.term > epoch.term) {
            // Somebody was sealed for a later term and will never follow this one.
            return self.claim();
        }
        self.gather(primary, epoch);
        let arbiter = &self.state.arbiter;
        let known = arbiter.primary.as_ref() == Some(primary);
        if known && arbiter.epoch == epoch && arbiter.election.is_none() {
            return match arbiter.switchover.clone() {
                Some(intent) => self.resume_switch(intent, primary),
                None => self.steady(primary, epoch, request),
            };
        }
        if known || self.state.moved.as_ref() == Some(primary) {
            return self.conclude(primary, epoch);
        }
        let old = arbiter.primary.as_ref().and_then(|old| self.by_id(&old.member));
        let gave = old.filter(|old| old.status.handover == Handover::Accepted);
        let release = gave.map(|old| (old.member(), old.status.handover_id.clone()));
        self.label(primary.clone(), release);
    }

    /// Members that do not follow this primary are told to, each time they are seen.
    pub fn gather(&mut self, primary: &Member, epoch: Epoch) {
        let Some(leader) = self.by_id(&primary.member) else { return };
        let command = Command::Follow {
            epoch,
            primary: primary.member.clone(),
            host: leader.seen.host.clone(),
            port: leader.seen.port,
        };
        let stray = |answer: &Answer<'_>| {
            let status = answer.status;
            let follows = status.role == Role::Follower
                && status.primary_member == primary.member
                && status.epoch == epoch;
            // One that is handing over to this very primary hears it from the primary.
            let arriving = status.role == Role::Limbo && status.handover_to == primary.member;
            status.member != primary.member && !follows && !arriving
        };
        let strays: Vec<Member> = self.answers().filter(stray).map(|one| one.member()).collect();
        for member in strays {
            self.send(&member, command.clone());
        }
    }

    pub fn label(&mut self, primary: Member, release: Option<(Member, String)>) {
        let others = self.state.members.iter().filter(|seen| seen.name != primary.name);
        let wrong = others.filter(|seen| seen.label != Label::Replica);
        let replicas = wrong.map(|seen| seen.name.clone()).collect();
        let name = primary.name.clone();
        let awaited = vec![name.clone()];
        let phase = Phase::Labelling(Labelling { primary, replicas, awaited, release });
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        self.effects.push(Effect::Label { tag, name, label: Label::Primary });
    }

    /// A label was set, or could not be. One that cannot be set now is tried again at a later look, and
    /// holds up neither what is published nor a change of the config: its pod may be the lost one, and
    /// another fault may come. But while the old primary still serves the address, the new one's label
    /// comes first: whoever waits for the move ends the old one once it is published.
    pub fn labelled(&mut self, name: &str, done: bool) {
        let Phase::Labelling(mut labelling) = self.state.phase.clone() else { return };
        if !done && name == labelling.primary.name {
            return match labelling.release {
                Some(_) => self.idle_for(SOON_MS),
                None => self.move_done(labelling.primary),
            };
        }
        if !done {
            // The address leads to it still: it need not let go its clients.
            labelling.release = labelling.release.filter(|(old, _)| old.name != name);
        }
        labelling.awaited.retain(|awaited| awaited != name);
        if !labelling.awaited.is_empty() {
            self.state.phase = Phase::Labelling(labelling);
        } else if !labelling.replicas.is_empty() {
            let names = std::mem::take(&mut labelling.replicas);
            labelling.awaited.clone_from(&names);
            let within = self.state.settings.answer_timeout_ms;
            let tag = self.enter(Phase::Labelling(labelling), within);
            let label = Label::Replica;
            self.effects.extend(names.into_iter().map(|name| Effect::Label { tag, name, label }));
        } else if let Some((old, id)) = labelling.release {
            let phase = Phase::Releasing { primary: labelling.primary };
            let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
            self.command(tag, &old, Command::Release { id });
        } else {
            self.move_done(labelling.primary);
        }
    }

    /// Labels that are overdue count as refused.
    pub fn labels_overdue(&mut self, awaited: &[String]) {
        for name in awaited {
            self.labelled(name, false);
        }
    }

    /// The address leads to this primary, as far as it can now.
    pub fn move_done(&mut self, primary: Member) {
        let repaired = self.state.arbiter.primary.as_ref() == Some(&primary);
        self.state.moved = Some(primary);
        if repaired { self.idle() } else { self.observe(None) }
    }

    /// Publishes the primary with the account of how it came to be.
    fn conclude(&mut self, primary: &Member, epoch: Epoch) {
        let term = self.greatest_term();
        let (last, notice) = self.account(primary, epoch);
        let moved = self.state.arbiter.primary.as_ref() != Some(primary);
        let first = self.state.arbiter.primary.is_none();
        self.publish(Then::Tell(notice.into_iter().collect()), |arbiter| {
            arbiter.term = term;
            arbiter.switchovers += u64::from(moved && !first);
            arbiter.primary = Some(primary.clone());
            arbiter.epoch = epoch;
            arbiter.election = None;
            arbiter.switchover = None;
            if let Some(last) = last {
                arbiter.finish(last);
            }
        });
    }

    fn account(&self, primary: &Member, epoch: Epoch) -> (Option<LastSwitchover>, Option<Notice>) {
        let arbiter = &self.state.arbiter;
        let old = arbiter.primary.as_ref();
        let (to, from) = (primary.name.clone(), old.map(|old| old.name.clone()));
        let Some(from) = from else {
            return (None, Some(Notice::Bootstrapped { primary: to }));
        };
        if arbiter.election.is_some() {
            let last = finished(format!("failover-{epoch}"), &from, &to, Reason::PrimaryLost);
            return (Some(last), Some(Notice::FailoverCompleted { from, to, epoch }));
        }
        let Some(intent) = &arbiter.switchover else {
            if old == Some(primary) {
                return (None, None);
            }
            let mut last = finished(format!("shutdown-{epoch}"), &from, &to, Reason::Shutdown);
            last.pause_ms = old.and_then(|old| self.pause_ms(old, primary));
            return (Some(last.clone()), Some(completed(&last, epoch)));
        };
        let mut last = finished(intent.id.clone(), &from, &to, intent.reason);
        let missed = if old == Some(primary) {
            Some(Why::Declined)
        } else if intent.to != *primary {
            Some(Why::WentElsewhere { name: to })
        } else {
            None
        };
        if let Some(why) = missed {
            last.outcome = Outcome::Aborted;
            last.to.clone_from(&intent.to.name);
            last.why = Some(why.to_string());
            return (Some(last.clone()), Some(aborted(&last, why)));
        }
        last.pause_ms = self.pause_ms(&intent.from, primary);
        (Some(last.clone()), Some(completed(&last, epoch)))
    }

    /// The old primary's own measure of the pause, if it handed over to this primary.
    fn pause_ms(&self, old: &Member, primary: &Member) -> Option<u64> {
        let status = self.by_id(&old.member)?.status;
        let measured = status.handover_to == primary.member && status.pause_us > 0;
        measured.then(|| status.pause_us.div_ceil(1_000))
    }

    /// The published primary is in office and nothing is open.
    fn steady(&mut self, primary: &Member, epoch: Epoch, request: Option<&Request>) {
        let drifted = self.state.members.iter().any(|seen| {
            let right = if seen.name == primary.name { Label::Primary } else { Label::Replica };
            seen.label != right
        });
        if drifted && self.state.moved.as_ref() != Some(primary) {
            return self.label(primary.clone(), None);
        }
        self.state.moved = None;
        if self.change_config(primary, epoch) {
            return;
        }
        let stopping = self.stopping(primary);
        if let Some(request) = request.or(stopping.as_ref()) {
            return self.begin_switch(primary, epoch, request);
        }
        self.state.told = None;
        self.idle();
    }

    /// A primary that was told to stop waits for a switch, whether or not anybody asks for one.
    fn stopping(&self, primary: &Member) -> Option<Request> {
        self.by_id(&primary.member).filter(|answer| answer.status.draining)?;
        let id = format!("stop-{}", primary.member);
        Some(Request { id, reason: Reason::Shutdown, to: None })
    }
}

fn finished(id: String, from: &str, to: &str, reason: Reason) -> LastSwitchover {
    let (from, to) = (from.to_owned(), to.to_owned());
    let outcome = Outcome::Completed;
    LastSwitchover { id, from, to, reason, outcome, pause_ms: None, why: None }
}

fn completed(last: &LastSwitchover, epoch: Epoch) -> Notice {
    Notice::SwitchoverCompleted {
        id: last.id.clone(),
        from: last.from.clone(),
        to: last.to.clone(),
        reason: last.reason,
        epoch,
        pause_ms: last.pause_ms,
    }
}

pub(super) fn aborted(last: &LastSwitchover, why: Why) -> Notice {
    Notice::SwitchoverAborted {
        id: last.id.clone(),
        from: last.from.clone(),
        to: last.to.clone(),
        reason: last.reason,
        why,
    }
}
