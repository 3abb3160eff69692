//! For tests only: ends the process at a chosen effect.
//!
//! `REDISHA_CRASH_AT=<step>:before|after` aborts the process right before or right after the
//! first effect of that name. Names: `observe`, `intent` (a publication that opens a planned
//! switch), `outcome` (one that closes it), `publish` (any other), `label-primary`,
//! `label-replica`, and the members' commands in lower case (`pause`, `level`, `handover`, …).

use std::process::abort;
use std::sync::LazyLock;

use switchover::{Arbiter, Effect, Label};

static AT: LazyLock<Option<(String, Moment)>> =
    LazyLock::new(|| parse(&std::env::var("REDISHA_CRASH_AT").ok()?));

/// On which side of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

fn parse(text: &str) -> Option<(String, Moment)> {
    let (step, moment) = text.split_once(':')?;
    let moment = match moment {
        "before" => Moment::Before,
        "after" => Moment::After,
        _ => return None,
    };
    Some((step.to_owned(), moment))
}

/// Aborts when the environment asks for it at this step and moment.
pub fn point(step: &str, moment: Moment) {
    if let Some((at, when)) = AT.as_ref()
        && at == step
        && *when == moment
    {
        eprintln!("redisha: REDISHA_CRASH_AT asks to end here");
        abort();
    }
}

/// The name of an effect in `REDISHA_CRASH_AT`; empty for those that change nothing.
pub fn step_of(effect: &Effect) -> String {
    match effect {
        Effect::Observe { .. } => "observe".to_owned(),
        Effect::Publish { arbiter, .. } => publication(arbiter).to_owned(),
        Effect::Command { command, .. } => command.name().to_ascii_lowercase(),
        Effect::Label { label: Label::Primary, .. } => "label-primary".to_owned(),
        Effect::Label { .. } => "label-replica".to_owned(),
        Effect::SetTimer { .. } | Effect::Notify(_) => String::new(),
    }
}

fn publication(arbiter: &Arbiter) -> &'static str {
    if arbiter.switchover.is_some() {
        "intent"
    } else if arbiter.last_switchover.is_some() && arbiter.election.is_none() {
        "outcome"
    } else {
        "publish"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_and_nonsense_is_ignored() {
        assert_eq!(parse("pause:before"), Some(("pause".to_owned(), Moment::Before)));
        assert_eq!(parse("handover:after"), Some(("handover".to_owned(), Moment::After)));
        assert_eq!(parse("pause"), None);
        assert_eq!(parse("pause:during"), None);
    }

    #[test]
    fn publications_are_told_apart() {
        let mut arbiter = Arbiter::new("u");
        assert_eq!(publication(&arbiter), "publish");
        arbiter.last_switchover = Some(switchover::LastSwitchover {
            id: "1".into(),
            from: "a".into(),
            to: "b".into(),
            reason: switchover::Reason::Request,
            outcome: switchover::Outcome::Completed,
            pause_ms: None,
            why: None,
        });
        assert_eq!(publication(&arbiter), "outcome");
    }
}
