//! One step of the decision.

use crate::{Effect, Event, Phase, State, Tag};

/// Takes the state and one event; returns the new state and what to do, in order.
pub fn step(state: &State, event: Event) -> (State, Vec<Effect>) {
    let mut next = state.clone();
    let mut effects = Vec::new();
    if matches!((&next.phase, &event), (Phase::Start, Event::Nudge)) {
        next.tag = Tag(next.tag.0 + 1);
        next.phase = Phase::Observing { again: false, silent: None };
        effects.push(Effect::Observe { tag: next.tag });
    }
    (next, effects)
}
