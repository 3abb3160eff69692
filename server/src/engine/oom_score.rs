//! `oom-score-adj`: a replica may be killed rather than a primary when the machine's memory is
//! short.

use crate::config::{Config, OomScoreAdj};
use crate::disk::oom_score;

use super::{Engine, hooks};

impl Engine {
    /// Sets the score that `config` asks for and this node's role; the first change remembers the
    /// score there was, from which others are counted and which is restored in the end.
    pub fn apply_oom_score(&mut self, config: &Config) -> Result<(), String> {
        let change = config.oom_score_adj != OomScoreAdj::No;
        if !change && self.memory.oom_score.is_none() {
            return Ok(());
        }
        let Some(base) = self.memory.oom_score.or_else(oom_score::read) else { return Ok(()) };
        let own = config.oom_score_adj_values.0[usize::from(hooks::is_replica(self))];
        let score = match config.oom_score_adj {
            OomScoreAdj::No => base,
            OomScoreAdj::Yes | OomScoreAdj::Relative => base + own,
            OomScoreAdj::Absolute => own,
        };
        oom_score::write(score).map_err(|error| {
            hooks::warn(self, &format!("cannot set oom-score-adj to {score}: {error}"));
            "Failed to set current oom_score_adj. Check server logs."
        })?;
        self.memory.oom_score = change.then_some(base);
        Ok(())
    }

    /// After the role has changed, and at the start. What fails is in the log.
    pub(super) fn role_oom_score(&mut self) {
        if self.config.oom_score_adj != OomScoreAdj::No {
            let config = self.config.clone();
            let _ = self.apply_oom_score(&config);
        }
    }
}
