//! One step of the decision: which phase takes which event.
//!
//! An event that answers another phase's effect is dropped by its tag; an event that the phase has
//! no use for changes nothing. `tests/table.txt` lists every phase with every event.

mod boot;
mod change;
mod elect;
mod look;
mod plan;
mod settle;
mod turn;

use crate::{Effect, Event, Phase, State, Tag};
use turn::Turn;

/// Takes the state and one event; returns the new state and what to do, in order.
pub fn step(state: &State, event: Event) -> (State, Vec<Effect>) {
    let mut turn = Turn { state: state.clone(), effects: Vec::new() };
    if tag_of(&event).is_none_or(|tag| tag == state.tag) {
        turn.take(event);
    }
    (turn.state, turn.effects)
}

fn tag_of(event: &Event) -> Option<Tag> {
    match event {
        Event::Nudge => None,
        Event::Observed { tag, .. }
        | Event::Published { tag, .. }
        | Event::Replied { tag, .. }
        | Event::Labelled { tag, .. }
        | Event::Expired { tag } => Some(*tag),
    }
}

impl Turn {
    fn take(&mut self, event: Event) {
        match event {
            Event::Nudge => self.nudged(),
            Event::Observed { observation, .. } => self.observed(*observation),
            Event::Published { result, .. } => self.published(result),
            Event::Replied { name, result, .. } => match self.state.phase.clone() {
                Phase::Pausing(attempt) => self.pause_answered(attempt, result),
                Phase::Levelling(attempt) => self.level_answered(attempt, result),
                Phase::HandingOver(attempt) => self.handover_answered(attempt, result),
                Phase::Aborting { attempt, why } => self.unpause_answered(&attempt, &why, &result),
                Phase::Sealing { asked, sealed } => self.seal_answered(asked, sealed, name, result),
                Phase::Preparing { primary, config } => {
                    self.prepare_answered(primary, config, &result);
                }
                Phase::Promoting { winner } => self.promotion_answered(winner, &name, &result),
                // Released or not, the old primary closes its relays by itself a little later.
                Phase::Releasing { primary } => self.move_done(primary),
                _ => {}
            },
            Event::Labelled { name, done, .. } => self.labelled(&name, done),
            Event::Expired { .. } => self.expired(),
        }
    }

    fn nudged(&mut self) {
        match &mut self.state.phase {
            Phase::Start | Phase::Idle => self.observe(None),
            Phase::Observing { again, .. } => *again = true,
            _ => {}
        }
    }

    fn expired(&mut self) {
        match self.state.phase.clone() {
            Phase::Start => {}
            Phase::Suspecting(silence) => self.observe(Some(silence)),
            Phase::Observing { silent, .. } => self.observe(silent),
            Phase::Levelling(attempt) => self.abort(attempt, crate::Why::NotLevel),
            Phase::Pausing(attempt) => {
                let why = turn::overdue(&attempt.intent.from.name, "PAUSE");
                self.abort(attempt, why);
            }
            Phase::Sealing { sealed, .. } => self.tally(&sealed),
            Phase::Releasing { primary } => self.move_done(primary),
            Phase::Labelling(labelling) => self.labels_overdue(&labelling.awaited),
            // Whatever was asked may have been done: only a fresh look can tell.
            Phase::Idle
            | Phase::Publishing { .. }
            | Phase::HandingOver(_)
            | Phase::Aborting { .. }
            | Phase::Preparing { .. }
            | Phase::Promoting { .. } => self.observe(None),
        }
    }
}
