//! The id that outlives the process: what of it is on the disk, beside the append-only files.
//!
//! The record is written and erased at once, in the order of the member's effects, since answers rest
//! on it; that happens at seals and changes of office and never for a write.

use crate::handover::{Effect, Event, Kept, Reply};

use super::super::{Engine, hooks};

/// Makes a record durable in a folder, in the place of the last one; none: no record is found again.
/// Erasing works, or ends the process.
pub type KeepRecord = fn(&str, Option<&Kept>) -> Result<(), String>;

/// What a start finds where the record is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Found {
    #[default]
    Nothing,
    Kept(Box<Kept>),
    /// Something that is no record; why, in one line.
    Damaged(String),
    /// The disk failed to make the files durable: what is read from them may not be on it.
    Distrusted,
}

impl Found {
    /// Whether it is a record of a member of this cluster.
    pub fn is_of(&self, uid: &str) -> bool {
        matches!(self, Self::Kept(kept) if !uid.is_empty() && kept.uid == uid)
    }
}

/// What is said of it.
const DISTRUST: &str = "the disk failed to make files durable before; they are written anew";

/// So long an id that the disk did not take is not given to it again.
const REST_US: u64 = 1_000_000;

/// The disk's side of it.
#[derive(Default)]
pub(super) struct Keeper {
    record: Option<KeepRecord>,
    found: Found,
    /// Until when the disk is left alone.
    rests_until_us: u64,
    /// Why it did not take the last record, as it was said.
    failure: Option<String>,
}

impl Engine {
    /// There is a disk, and `found` on it.
    pub(in super::super) fn keeper_attached(&mut self, record: KeepRecord, found: Found) {
        self.rooms.member.keeper = Keeper { record: Some(record), found, ..Keeper::default() };
    }

    /// Whether this member's id is to outlive the process. Then its append-only files are made
    /// durable as soon as anything is written to them.
    pub(in super::super) fn keeps_id(&self) -> bool {
        let config = &self.config;
        let asked = config.keep_member_id && config.appendonly && !config.cluster_uid.is_empty();
        asked && self.rooms.member.keeper.record.is_some()
    }

    /// Directives have changed, and the files are still as they were.
    pub(in super::super) fn member_configured(&mut self) {
        let keeps = self.keeps_id();
        if self.is_managed() && self.member().identity().keeps != keeps {
            let effects = self.rooms.member.member.set_keeps(keeps);
            self.perform_all(effects, None);
        }
    }

    /// The record that was found, if the loaded data are those that it speaks of.
    pub(super) fn found_record(&self) -> Option<Kept> {
        match &self.rooms.member.keeper.found {
            Found::Kept(kept) if self.aof_is_believed() => Some((**kept).clone()),
            _ => None,
        }
    }

    /// The member has its id. A record of another one is void, whatever is in it.
    pub(super) fn settle_record(&mut self) {
        let found = std::mem::take(&mut self.rooms.member.keeper.found);
        let said = match found {
            Found::Nothing => return,
            Found::Kept(_) if self.member().is_kept() => return,
            found if !self.config.appendonly && found.is_of(&self.config.cluster_uid) => {
                // Its files stay what they are, and so does what it says of them.
                hooks::log(self, "this member has a new id: its directives keep no files");
                return;
            }
            Found::Distrusted => {
                self.aof_distrust();
                DISTRUST.to_owned()
            }
            Found::Kept(_) => {
                "its record is of other files or another cluster, or ids are kept no more"
                    .to_owned()
            }
            Found::Damaged(why) => why,
        };
        let who = if self.is_managed() { "this member has a new id: " } else { "" };
        hooks::warn(self, &format!("{who}{said}"));
        self.forget_stale_record();
    }

    /// The files are about to be replaced: a record that still speaks for them is none any more. What
    /// says that the disk failed stays until other files hold the data.
    pub(in super::super) fn forget_stale_record(&mut self) {
        if !self.member().is_kept()
            && !self.aof_is_distrusted()
            && let Err(why) = self.keep_record(None)
        {
            hooks::warn(self, &format!("the record of the old id: {why}"));
        }
    }

    pub(super) fn keep_record(&mut self, kept: Option<&Kept>) -> Result<(), String> {
        let keeper = &mut self.rooms.member.keeper;
        let Some(record) = keeper.record else { return Ok(()) };
        record(&self.config.appenddirname, kept)?;
        if kept.is_some() {
            keeper.failure = None;
        }
        Ok(())
    }

    /// Whether it is too early to try again to keep the id.
    pub(in super::super) fn keeper_rests(&self) -> bool {
        self.now.mono_us < self.rooms.member.keeper.rests_until_us
    }

    /// The disk did not take what the `rest` was to follow from. Nobody who waits for an answer is
    /// left without one; the reply to the running request, if there is one.
    pub(super) fn not_kept(
        &mut self,
        why: &str,
        rest: impl Iterator<Item = Effect>,
        running: Option<u64>,
    ) -> Option<Reply> {
        let id = self.member().identity().here.member.clone();
        // Within the event that led here: what the change of office means is seen at its end.
        let (env, renewed) = (self.member_env(), super::boot::fresh_id());
        let effects = self.rooms.member.member.handle(env, Event::NotKept { renewed });
        self.perform_all(effects, None);
        let is_lost = self.member().identity().here.member != id;
        self.tell_not_kept(why, is_lost);
        let refusal = if is_lost {
            Reply::WrongMember
        } else {
            Reply::NotReady(format!("the disk did not take it: {why}"))
        };
        for effect in rest {
            if let Effect::Reply { token, .. } = effect {
                self.perform(Effect::Reply { token, reply: refusal.clone() });
            }
        }
        running.map(|_| refusal)
    }

    /// Logs it, once for each reason unless the id has ended.
    fn tell_not_kept(&mut self, why: &str, is_lost: bool) {
        let rests_until_us = self.now.mono_us + REST_US;
        let keeper = &mut self.rooms.member.keeper;
        keeper.rests_until_us = rests_until_us;
        let is_news = keeper.failure.replace(why.to_owned()).is_none_or(|said| said != why);
        if is_lost {
            hooks::warn(self, &format!("this member is fenced and has a new id: {why}"));
        } else if is_news {
            hooks::warn(
                self,
                &format!("the disk does not take what this member's id binds: {why}"),
            );
        }
    }
}
