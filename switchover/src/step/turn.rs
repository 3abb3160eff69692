//! What one turn may do to the state, and the questions that every part asks of it.

use crate::{
    Arbiter, Command, Effect, Epoch, Member, Notice, Phase, Publication, Role, Seen, Silence,
    State, Status, Tag, Then, Why,
};

/// The tag of commands whose answers nobody waits for; no phase ever has it.
const NOBODY: Tag = Tag(0);

/// A look that follows something which takes milliseconds, not a whole poll.
pub(super) const SOON_MS: u64 = 100;

pub(super) struct Turn {
    pub state: State,
    pub effects: Vec<Effect>,
}

/// A member that answered, with its answer.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub seen: &'a Seen,
    pub status: &'a Status,
}

impl Answer<'_> {
    pub fn member(&self) -> Member {
        Member { name: self.seen.name.clone(), member: self.status.member.clone() }
    }
}

pub(super) fn overdue(name: &str, step: &'static str) -> Why {
    Why::Refused { name: name.to_owned(), step, text: "the answer is overdue".into() }
}

impl Turn {
    pub fn enter(&mut self, phase: Phase, within_ms: u64) -> Tag {
        let tag = Tag(self.state.tag.0 + 1);
        self.state.tag = tag;
        self.state.phase = phase;
        self.effects.push(Effect::SetTimer { tag, after_ms: within_ms });
        tag
    }

    pub fn observe(&mut self, silent: Option<Silence>) {
        let phase = Phase::Observing { again: false, silent };
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        self.effects.push(Effect::Observe { tag });
    }

    pub fn idle(&mut self) {
        self.idle_for(self.state.settings.poll_ms);
    }

    pub fn idle_for(&mut self, after_ms: u64) {
        self.enter(Phase::Idle, after_ms);
    }

    /// Nothing can be done: says why, once, and looks again at the next poll.
    pub fn wait(&mut self, why: Why) {
        if self.state.told.as_ref() != Some(&why) {
            self.effects.push(Effect::Notify(Notice::Waiting { why: why.clone() }));
            self.state.told = Some(why);
        }
        self.idle();
    }

    pub fn publish(&mut self, then: Then, change: impl FnOnce(&mut Arbiter)) {
        let mut next = self.state.arbiter.clone();
        change(&mut next);
        next.version += 1;
        let arbiter = Box::new(next.clone());
        let phase = Phase::Publishing { next: Box::new(next), then };
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        self.effects.push(Effect::Publish { tag, arbiter });
    }

    pub fn command(&mut self, tag: Tag, to: &Member, command: Command) {
        self.effects.push(Effect::Command { tag, to: to.clone(), command });
    }

    /// Sends a command that a later look confirms or repeats.
    pub fn send(&mut self, to: &Member, command: Command) {
        self.command(NOBODY, to, command);
    }

    pub fn published(&mut self, result: Publication) {
        let Phase::Publishing { next, then } = self.state.phase.clone() else { return };
        if result != Publication::Done {
            // Never repeat a decision after a conflict: what it was based on has changed. Labels that could
            // not be set are tried again, too.
            self.state.moved = None;
            return self.observe(None);
        }
        self.state.arbiter = *next;
        match then {
            Then::Switch(attempt) => self.pause(attempt),
            Then::Seal => self.seal(),
            Then::Promote => self.promote(),
            Then::Commit(primary) => self.commit(&primary),
            Then::Tell(notices) => {
                self.state.moved = None;
                self.effects.extend(notices.into_iter().map(Effect::Notify));
                self.observe(None);
            }
        }
    }

    pub fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        let members = self.state.members.iter();
        members.filter_map(|seen| seen.status.as_ref().map(|status| Answer { seen, status }))
    }

    pub fn by_id(&self, member: &str) -> Option<Answer<'_>> {
        self.answers().find(|answer| answer.status.member == member)
    }

    pub fn by_name(&self, name: &str) -> Option<Answer<'_>> {
        self.answers().find(|answer| answer.seen.name == name)
    }

    /// The member that says it is primary; of several, the one of the greatest epoch.
    pub fn acting(&self) -> Option<Answer<'_>> {
        let primaries = self.answers().filter(|answer| answer.status.role == Role::Primary);
        primaries.max_by_key(|answer| answer.status.epoch)
    }

    pub fn silent_names(&self) -> Vec<String> {
        let silent = self.state.members.iter().filter(|seen| seen.status.is_none());
        silent.map(|seen| seen.name.clone()).collect()
    }

    /// The greatest term that the arbiter or any member has ever heard of.
    pub fn greatest_term(&self) -> u64 {
        let of = |status: &Status| {
            let seen = [status.epoch, status.promised, status.data_epoch, status.handover_epoch];
            seen.iter().map(|epoch: &Epoch| epoch.term).max().unwrap_or(0)
        };
        let seen = self.answers().map(|answer| of(answer.status)).max().unwrap_or(0);
        seen.max(self.state.arbiter.term)
    }
}
