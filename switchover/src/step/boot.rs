//! The first primary of all, and a status that was lost or restored.

use crate::{Config, Election, Epoch, Member, Role, Then, Why};

use super::change::{greatest_v, knows_later};
use super::turn::{Answer, Turn};

impl Turn {
    /// The arbiter knows of no data. Either there is none, or the status was lost: only the word of
    /// every ordinal can tell, so one silent ordinal stops both.
    pub fn boot(&mut self) {
        let silent = self.silent_names();
        if !silent.is_empty() || self.state.members.is_empty() {
            return self.wait(Why::Silent { names: silent });
        }
        let fresh = |answer: Answer<'_>| answer.status.role == Role::Fenced && answer.status.empty;
        if self.answers().all(fresh) {
            self.bootstrap();
        } else {
            self.rebuild();
        }
    }

    fn bootstrap(&mut self) {
        let Some(first) = self.answers().next().map(|answer| answer.member()) else { return };
        let term = self.greatest_term() + 1;
        let (durability, degrade) = self.state.settings.rule();
        self.publish(Then::Promote, |arbiter| {
            arbiter.initialised = true;
            arbiter.term = term;
            arbiter.config =
                Config { v: 1, term, members: vec![first.clone()], w: 1, durability, degrade };
            arbiter.election = Some(Election { term, winner: Some(first), empty: true });
        });
    }

    /// Whether a member's word can only be later than this status, which then was restored from an
    /// older copy: its config may name lives that the primary has long done without.
    pub fn outdated(&self) -> bool {
        let arbiter = &self.state.arbiter;
        let later = self.answers().any(|answer| knows_later(answer.status, arbiter.config.v));
        later || self.greatest_term() > arbiter.term
    }

    /// As for a status that was lost: only the word of every ordinal can tell.
    pub fn restored(&mut self) {
        let silent = self.silent_names();
        if silent.is_empty() { self.rebuild() } else { self.wait(Why::Silent { names: silent }) }
    }

    /// Every member with data goes into the new configuration with W = 1, so that an election
    /// needs the word of all of them. The primary of the greatest term that anybody knows is the
    /// published one, and no other may be: one of a lower term may not know yet that the others
    /// went on without it. Where none leads, a term is claimed at once.
    fn rebuild(&mut self) {
        let greatest = self.greatest_term();
        let term = greatest + 1;
        let holders = self.answers().filter(|answer| !answer.status.empty);
        let members = holders.map(|answer| answer.member()).collect();
        let leader = self.leader(greatest);
        // Above every number that a primary may know, so that it obeys the next one.
        let v = self.answers().map(|answer| greatest_v(answer.status)).max().unwrap_or(0) + 1;
        let (durability, degrade) = self.state.settings.rule();
        let then = if leader.is_some() { Then::Tell(Vec::new()) } else { Then::Seal };
        self.publish(then, |arbiter| {
            arbiter.initialised = true;
            arbiter.term = term;
            arbiter.config = Config { v, term, members, w: 1, durability, degrade };
            arbiter.switchover = None;
            if let Some((primary, epoch)) = leader {
                (arbiter.primary, arbiter.epoch) = (Some(primary), epoch);
                arbiter.election = None;
            } else {
                // Nobody knows how many members must be heard to miss nothing.
                arbiter.election = Some(Election { term, winner: None, empty: false });
                arbiter.data_loss_possible = Some(term);
            }
        });
    }

    /// Who owns the greatest epoch of this term, and which: it has all that was ever acknowledged.
    fn leader(&self, term: u64) -> Option<(Member, Epoch)> {
        let owned = |answer: Answer<'_>| {
            let at = answer.status.epoch;
            match answer.status.role {
                Role::Primary => Some((answer.member(), at)),
                // It tells the epoch that it gives away, and owns the one before.
                Role::Limbo => {
                    Some((answer.member(), Epoch::new(at.term, at.hop.saturating_sub(1))))
                }
                _ => None,
            }
        };
        let owners = self.answers().filter_map(owned).filter(|(_, epoch)| epoch.term == term);
        owners.max_by_key(|(_, epoch)| *epoch)
    }
}
