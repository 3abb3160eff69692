//! An election: claim a term, seal, decide, promote. Any doubt leads to a new term.

use crate::{
    Command, Config, Durability, Election, Epoch, LastSwitchover, Member, Notice, Outcome, Phase,
    Refusal, Reply, Role, Sealed, Silence, Then, Why,
};

use super::turn::{Answer, Turn};

/// The members of the winner's config, and how many of them hold a write: the former ones, if those
/// that were sealed are enough to hold the winner's start record. Else the lives of the others may be
/// over, and it would wait for them for ever. So where fewer may do, only sealed ones stay that hold
/// just what the winner does: of two members, one.
fn kept(config: &Config, counted: &[&Sealed], winner: &Sealed) -> (Vec<Member>, usize) {
    let waits = config.durability != Durability::Async;
    if counted.len() >= config.w || !config.degrade || !waits {
        return (config.members.clone(), config.w);
    }
    let log = |one: &Sealed| (one.data_epoch, one.offset);
    let level = counted.iter().filter(|one| log(one) == log(winner));
    let members: Vec<Member> = level.map(|one| one.member.clone()).collect();
    let w = members.len() / 2 + 1;
    (members, w)
}

impl Turn {
    /// Claims the next term, if enough members answer for the election to have a chance.
    pub fn claim(&mut self) {
        let arbiter = &self.state.arbiter;
        let counts =
            |answer: &Answer<'_>| arbiter.config.counts(&answer.member(), answer.status.restarted);
        let answering = self.answers().filter(counts);
        let (answering, needed) = (answering.count(), arbiter.config.seals_needed());
        if answering < needed && !self.silent_names().is_empty() {
            return self.wait(Why::TooFewSealed { sealed: answering, needed });
        }
        let term = self.greatest_term() + 1;
        self.publish(Then::Seal, |arbiter| {
            arbiter.term = term;
            arbiter.election = Some(Election { term, winner: None, empty: false });
            if let Some(intent) = arbiter.switchover.take() {
                arbiter.finish(LastSwitchover {
                    id: intent.id,
                    from: intent.from.name,
                    to: intent.to.name,
                    reason: intent.reason,
                    outcome: Outcome::Aborted,
                    pause_ms: None,
                    why: Some(Why::PrimaryLost.to_string()),
                });
            }
        });
    }

    /// The claim is published: no member may acknowledge in an older term once it is sealed.
    pub fn seal(&mut self) {
        let term = self.state.arbiter.term;
        if let Some(primary) = &self.state.arbiter.primary {
            let lost = primary.name.clone();
            self.effects.push(crate::Effect::Notify(Notice::FailoverStarted { lost, term }));
        }
        let asked: Vec<Member> = self.answers().map(|answer| answer.member()).collect();
        let phase = Phase::Sealing { asked: asked.clone(), sealed: Vec::new() };
        let tag = self.enter(phase, self.state.settings.seal_timeout_ms);
        for member in &asked {
            self.command(tag, member, Command::Seal { term });
        }
    }

    pub fn seal_answered(
        &mut self,
        mut asked: Vec<Member>,
        mut sealed: Vec<Sealed>,
        name: String,
        result: Result<Reply, Refusal>,
    ) {
        match result {
            Ok(Reply::Sealed { member, data_epoch, offset, empty, lease_left_ms, restarted }) => {
                let member = Member { name, member };
                let counted = sealed.iter().any(|one| one.member == member);
                if asked.contains(&member) && !counted {
                    let one =
                        Sealed { member, data_epoch, offset, empty, lease_left_ms, restarted };
                    sealed.push(one);
                }
            }
            _ => asked.retain(|member| member.name != name),
        }
        if sealed.len() == asked.len() {
            return self.tally(&sealed);
        }
        self.state.phase = Phase::Sealing { asked, sealed };
    }

    /// Decides among the sealed, or waits. The winner holds the greatest (epoch of the last record,
    /// applied offset) of those whose word counts; an empty one wins only when nobody has anything.
    pub fn tally(&mut self, sealed: &[Sealed]) {
        let config = self.state.arbiter.config.clone();
        let term = self.state.arbiter.term;
        let needed = config.seals_needed();
        let counted: Vec<&Sealed> =
            sealed.iter().filter(|one| config.counts(&one.member, one.restarted)).collect();
        let names = self.state.members.iter();
        let everyone = !sealed.is_empty()
            && names.clone().all(|seen| sealed.iter().any(|one| one.member.name == seen.name));
        let enough = counted.len() >= needed;
        let pool = if enough { counted.clone() } else { sealed.iter().collect() };
        let few = Why::TooFewSealed { sealed: counted.len(), needed };
        if !enough && !everyone {
            return self.wait(few);
        }
        // Of equals the first ordinal wins, so that a repeated election decides alike.
        let order = |one: &Sealed| {
            let place = names.clone().position(|seen| seen.name == one.member.name);
            (!one.empty, one.data_epoch, one.offset, std::cmp::Reverse(place))
        };
        let Some(winner) = pool.into_iter().max_by_key(|one| order(one)) else {
            return self.wait(few);
        };
        if winner.empty && !everyone {
            return self.wait(Why::Silent { names: self.silent_names() });
        }
        let (member, empty) = (winner.member.clone(), winner.empty);
        let left = sealed.iter().map(|one| one.lease_left_ms).max().unwrap_or(0);
        // A member that was started anew does not know what it gave before: nothing lasts longer.
        self.state.lease_left_ms = if enough { left } else { self.state.settings.lease_ms };
        let (members, w) =
            if enough { kept(&config, &counted, winner) } else { (vec![member.clone()], 1) };
        self.publish(Then::Promote, |arbiter| {
            arbiter.config = Config { v: config.v + 1, term, members, w, ..config };
            arbiter.election = Some(Election { term, winner: Some(member), empty });
            // A first primary may have answered before anybody published it.
            let answered =
                arbiter.primary.is_some() || arbiter.config.durability != Durability::Async;
            if !enough && answered {
                arbiter.data_loss_possible = Some(term);
            }
        });
    }

    /// The decision is published: the winner is told.
    pub fn promote(&mut self) {
        let Some(Election { term, winner: Some(winner), empty }) =
            self.state.arbiter.election.clone()
        else {
            return self.observe(None);
        };
        let phase = Phase::Promoting { winner: winner.clone() };
        let tag = self.enter(phase, self.state.settings.answer_timeout_ms);
        let config = self.state.arbiter.config.clone();
        let wait_ms = self.state.lease_left_ms;
        let command = if empty {
            Command::Bootstrap { term, config }
        } else {
            Command::Promote { term, config, wait_ms }
        };
        self.command(tag, &winner, command);
    }

    /// The winner is in office. It answers nobody before another member follows it, and nobody finds
    /// it before the address leads to it: neither waits for a look, which silent members make long.
    pub fn promotion_answered(
        &mut self,
        winner: Member,
        name: &str,
        result: &Result<Reply, Refusal>,
    ) {
        match result {
            Ok(Reply::Ok) if *name == winner.name => {
                self.gather(&winner, Epoch::new(self.state.arbiter.term, 0));
                self.label(winner, None);
            }
            Ok(_) => self.observe(None),
            // Looks again in a while: the winner may be another life by now.
            Err(_) => self.idle(),
        }
    }

    /// An election is open, and nobody is primary of its term yet.
    pub fn resume_election(&mut self, election: Election, silent: Option<&Silence>) {
        let Some(winner) = election.winner else { return self.claim() };
        if self.await_handover() {
            return;
        }
        let Some(answer) = self.by_name(&winner.name) else {
            return self.suspect(winner, silent);
        };
        let status = answer.status;
        let at = Epoch::new(election.term, 0);
        let ready = status.role == Role::Fenced
            && status.member == winner.member
            // Who was started anew since may have owned the term already, and may not again.
            && !status.restarted
            && status.empty == election.empty
            && (status.promised == at || election.empty && status.promised <= at);
        if ready {
            // What the sealed said is forgotten: nothing lasts longer than this.
            self.state.lease_left_ms = self.state.settings.lease_ms;
            self.promote();
        } else {
            self.claim();
        }
    }
}
