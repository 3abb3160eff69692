//! The cut-over, step by step: what the source answers and what is here decide what comes next.

use super::control::{Asked, Leave, Told};

/// A cut-over under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub leave: Leave,
    step: Step,
    /// The source knows no redirect, so it is to follow.
    follows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The source is asked to hold its writes.
    Pausing,
    /// Its last write was at this offset; more may follow when its pause runs out.
    Levelling(u64),
    /// It is told to take no more writes.
    Leaving,
    /// It knows no redirect: it is to be told otherwise.
    Unable,
    /// It takes no more; how far it is, is to be asked.
    Left,
    /// That is being asked.
    Asking,
    /// Its very last write is at this offset.
    Ending(u64),
    /// The log says that it will follow; members are to hold that, and so everything before.
    Noting,
    /// It is told to follow this cluster.
    Following,
    /// It takes no writes, all of them are here, and nothing else is left to be done there.
    Gone,
    /// The log says that it is done; members are to hold that.
    Closing,
}

/// What a step depends on beside the source's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The source's offset up to which its writes are here.
    pub here: u64,
    /// All of them could be executed here.
    pub whole: bool,
    /// As many members as must hold a write hold everything that is here.
    pub held: bool,
    /// Records may be appended to the log.
    pub open: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    Redirect,
    Hold,
    AskRole,
    /// Append that the source is told to follow.
    NoteLeaving,
    Follow,
    /// Append that it is done.
    NoteDone,
    /// Take writes.
    Finish,
    /// Have the source take writes again: some of what it wrote is missing here.
    GiveBack,
}

impl Cut {
    /// The source was asked to pause, and how far it is.
    pub fn new(leave: Leave) -> Self {
        Self { leave, step: Step::Pausing, follows: false }
    }

    /// Nothing has been said to the source that its own timer does not take back.
    pub fn can_be_given_up(&self) -> bool {
        matches!(self.step, Step::Pausing | Step::Levelling(_))
    }

    /// The source has all its data and can take writes again.
    fn can_be_given_back(&self) -> bool {
        !matches!(self.step, Step::Following | Step::Gone | Step::Closing)
    }

    /// Whether the log says that it is done already, though nobody may rely on that yet.
    pub fn is_closing(&self) -> bool {
        self.step == Step::Closing
    }

    /// The source has answered. `leaving`: the log says that it was told to follow. An error ends
    /// the attempt.
    pub fn told(&mut self, told: &Told, leaving: bool) -> Result<(), String> {
        self.step = match (self.step, told) {
            (Step::Pausing, Told::Primary(offset)) => Step::Levelling(*offset),
            (Step::Asking, Told::Primary(offset)) => Step::Ending(*offset),
            (Step::Leaving, Told::Done(Asked::Redirect | Asked::Hold)) => Step::Left,
            (Step::Following, Told::Done(Asked::Follow)) => Step::Gone,
            // An attempt whose last answer was lost: it follows this cluster, as it was told to.
            (Step::Pausing, Told::Replica) if leaving => Step::Gone,
            (Step::Leaving, Told::Refused(Asked::Redirect, _)) => {
                self.follows = true;
                Step::Unable
            }
            _ => return self.bears(told),
        };
        Ok(())
    }

    /// What leads to no other step: does it end the attempt?
    fn bears(&self, told: &Told) -> Result<(), String> {
        let over = matches!(self.step, Step::Gone | Step::Closing);
        let follows = over || matches!(self.step, Step::Noting | Step::Following);
        match told {
            Told::Replica if !follows => Err("the source is a replica of another server".into()),
            Told::Refused(asked, why)
                if !over && !matches!(asked, Asked::Setting | Asked::Unpause) =>
            {
                Err(format!("the source answers {asked:?} with {why}"))
            }
            _ => Ok(()),
        }
    }

    /// What is to be done now, if anything is; to be asked again until nothing is.
    pub fn next(&mut self, facts: Facts) -> Option<Do> {
        if !facts.whole && self.can_be_given_back() {
            return Some(Do::GiveBack);
        }
        let redirecting = self.leave.redirects();
        let (step, act) = match self.step {
            Step::Levelling(wanted) if facts.here >= wanted && facts.held => {
                (Step::Leaving, if redirecting { Do::Redirect } else { Do::Hold })
            }
            Step::Unable => (Step::Leaving, Do::Hold),
            Step::Left => (Step::Asking, Do::AskRole),
            Step::Ending(wanted) if facts.here >= wanted && facts.open => {
                if self.follows && redirecting {
                    (Step::Noting, Do::NoteLeaving)
                } else {
                    (Step::Closing, Do::NoteDone)
                }
            }
            Step::Noting if facts.held => (Step::Following, Do::Follow),
            Step::Gone if facts.open => (Step::Closing, Do::NoteDone),
            Step::Closing if facts.held => (Step::Closing, Do::Finish),
            _ => return None,
        };
        self.step = step;
        Some(act)
    }
}
