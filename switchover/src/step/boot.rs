//! The first primary of all, and a status that was lost or restored.

use crate::{Config, Election, Role, Then, Why};

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
    /// needs the word of all of them; a living primary is adopted by the next look.
    fn rebuild(&mut self) {
        let term = self.greatest_term() + 1;
        let holders = self.answers().filter(|answer| !answer.status.empty);
        let members = holders.map(|answer| answer.member()).collect();
        // A primary of the greatest term has all that was ever acknowledged; without one nobody knows
        // how many members must be heard to miss nothing.
        let leads = |answer: Answer<'_>| {
            let leads = matches!(answer.status.role, Role::Primary | Role::Limbo);
            leads && answer.status.epoch.term + 1 == term
        };
        let led = self.answers().any(leads);
        // Above every number that a primary may know, so that it obeys the next one.
        let v = self.answers().map(|answer| greatest_v(answer.status)).max().unwrap_or(0) + 1;
        let (durability, degrade) = self.state.settings.rule();
        self.publish(Then::Tell(Vec::new()), |arbiter| {
            arbiter.initialised = true;
            arbiter.term = term;
            arbiter.config = Config { v, term, members, w: 1, durability, degrade };
            arbiter.election = None;
            arbiter.switchover = None;
            if !led {
                arbiter.data_loss_possible = Some(term);
            }
        });
    }
}
