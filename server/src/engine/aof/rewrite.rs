//! Rewrites: a new base of the present data, made by the snapshot walk while commands go on.

use crate::persistence::aof::{Entry, Manifest};
use crate::persistence::rdb::Form;

use super::super::replicate::{Job, SaveError};
use super::super::{Engine, hooks};
use super::State;

/// The longest rest between automatic attempts that fail, in seconds.
const REST_MAX_S: i64 = 3600;

/// A rewrite under way: the base that is being made, and the file that follows it.
#[derive(Clone, Debug)]
pub struct Rewrite {
    base: Entry,
    first: Entry,
    pub(super) started_us: i64,
}

/// What INFO tells, and when the next one is due.
#[derive(Debug)]
pub(super) struct Rewrites {
    pub scheduled: bool,
    pub base_bytes: u64,
    /// Bytes of incremental files before the present one.
    pub earlier_bytes: u64,
    /// Bytes of all files when the last rewrite ended.
    pub after_bytes: u64,
    pub count: u64,
    pub last_failed: bool,
    pub failures_in_row: u32,
    pub last_s: i64,
    pub tried_s: i64,
}

impl Default for Rewrites {
    fn default() -> Self {
        Self {
            scheduled: false,
            base_bytes: 0,
            earlier_bytes: 0,
            after_bytes: 0,
            count: 0,
            last_failed: false,
            failures_in_row: 0,
            last_s: -1,
            tried_s: 0,
        }
    }
}

impl Engine {
    /// BGREWRITEAOF: true if a rewrite has begun, false if it will when the running save is over.
    pub fn rewrite_in_background(&mut self) -> Result<bool, SaveError> {
        match &self.rooms.replication.job {
            Some(Job::Save(save)) if save.rewrite().is_some() => Err(SaveError::Rewriting),
            Some(_) => {
                self.rooms.aof.rewrites.scheduled = true;
                Ok(false)
            }
            None => self.rewrite_begin().map(|()| true),
        }
    }

    /// A rewrite as soon as no other snapshot is being made.
    pub(in super::super) fn aof_rewrite_soon(&mut self) {
        self.rooms.aof.rewrites.scheduled = true;
        if self.rooms.replication.job.is_none() {
            self.rewrite_scheduled();
        }
    }

    /// Begins the rewrite that was scheduled, if there is one.
    pub(in super::super) fn rewrite_scheduled(&mut self) {
        if !self.rooms.aof.rewrites.scheduled || self.rooms.replication.job.is_some() {
            return;
        }
        let rewrites = &self.rooms.aof.rewrites;
        let now_s = self.now.unix_us / 1_000_000;
        let rest_s = match rewrites.failures_in_row {
            0 => 0,
            failures => 1_i64.checked_shl(failures.min(12)).unwrap_or(REST_MAX_S).min(REST_MAX_S),
        };
        if now_s - rewrites.tried_s < rest_s {
            return;
        }
        if let Err(error) = self.rewrite_begin() {
            hooks::warn(self, &format!("rewriting the AOF failed: {error}"));
        }
    }

    pub(super) fn rewrite_begin(&mut self) -> Result<(), SaveError> {
        let (on, now_us) = (self.aof_is_on(), self.now.unix_us);
        self.rooms.aof.rewrites.tried_s = now_us / 1_000_000;
        self.aof_hand_over();
        if on {
            self.aof_attach().map_err(SaveError::Failed)?;
        } else {
            self.aof_read_manifest()?;
        }
        let rdb = self.config.aof_use_rdb_preamble;
        let prefix = self.config.appendfilename.clone();
        let aof = &mut self.rooms.aof;
        let base = aof.manifest.next_base(&prefix, rdb);
        let first = aof.manifest.next_incr(&prefix);
        let open = self.rooms.replication.saves.open;
        let open = open.ok_or(SaveError::Failed("no disk is attached".into()))?;
        // Commands have long strings like an RDB, but nobody unpacks them.
        let commands = Form { compress: false, checksum: false, frames: true };
        let form = if rdb { self.rdb_form() } else { commands };
        let target = match open(&self.config.appenddirname, &base.name, form, self.wake.clone()) {
            Ok(target) => target,
            Err(why) => {
                self.rewrite_failed();
                return Err(SaveError::Failed(why));
            }
        };
        let aof = &mut self.rooms.aof;
        aof.rewrites.scheduled = false;
        if on {
            let earlier = aof.disk.as_ref().filter(|_| aof.writing).map_or(0, |disk| disk.size());
            aof.rewrites.earlier_bytes += earlier;
            aof.manifest.incr.push(first.clone());
            // In the disk's order the manifest that is under way comes first.
            let named = matches!(aof.state, State::On | State::Naming(_));
            self.aof_begin_file(&first, 0, named);
        }
        let rewrite = Rewrite { base, first, started_us: now_us };
        self.save_begin_for(target, Some(rewrite), !rdb);
        Ok(())
    }

    /// Takes up what the folder holds, for a rewrite while the files are off.
    pub(super) fn aof_read_manifest(&mut self) -> Result<(), SaveError> {
        let find = self.rooms.aof.find.ok_or(SaveError::Failed("no disk is attached".into()))?;
        let found = find(&self.config.appenddirname, &self.config.appendfilename);
        self.rooms.aof.manifest = found.map_err(SaveError::Failed)?.unwrap_or_default();
        Ok(())
    }

    /// The base is whole and durable, of so many bytes, or could not be made.
    pub(in super::super) fn rewrite_over(
        &mut self,
        rewrite: &Rewrite,
        result: Result<u64, String>,
    ) {
        let now_us = self.now.unix_us;
        self.rooms.aof.rewrites.last_s = (now_us - rewrite.started_us) / 1_000_000;
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(why) => {
                hooks::warn(self, &format!("rewriting the AOF failed: {why}"));
                return self.rewrite_failed();
            }
        };
        let was_off = !self.aof_is_on();
        if was_off && let Err(why) = self.aof_open_for_commit() {
            hooks::warn(self, &format!("rewriting the AOF failed: {why}"));
            return self.rewrite_failed();
        }
        let mut manifest = self.rooms.aof.manifest.rebased(rewrite.base.clone(), &rewrite.first);
        let gone = self.aof_superfluous(&mut manifest);
        let aof = &mut self.rooms.aof;
        let disk = aof.disk.as_mut().expect("it was opened for the rewrite");
        let number = disk.commit(manifest.print(), gone);
        aof.manifest = manifest;
        if aof.state == State::Waiting {
            aof.state = State::Naming(number);
        }
        aof.rewrites.base_bytes = bytes;
        aof.rewrites.earlier_bytes = 0;
        aof.rewrites.after_bytes = bytes + if was_off { 0 } else { disk.size() };
        aof.rewrites.count += 1;
        aof.rewrites.last_failed = false;
        aof.rewrites.failures_in_row = 0;
        if was_off {
            // The manifest is there when the command's end is told.
            let result = disk.wait(Some(std::time::Duration::from_secs(5)));
            aof.disk = None;
            if let Err(why) = result {
                hooks::warn(self, &format!("the AOF's manifest was not written: {why}"));
            }
        }
    }

    fn aof_open_for_commit(&mut self) -> Result<(), String> {
        let open = self.rooms.aof.open.ok_or("no disk is attached")?;
        let disk = open(&self.config.appenddirname, &self.config.appendfilename, None)?;
        self.rooms.aof.disk = Some(disk);
        Ok(())
    }

    fn rewrite_failed(&mut self) {
        let rewrites = &mut self.rooms.aof.rewrites;
        rewrites.last_failed = true;
        rewrites.failures_in_row += 1;
        // Without a base of these data the files are of no use: it is tried until it works.
        rewrites.scheduled = self.rooms.aof.state == State::Waiting;
    }

    pub(in super::super) fn abort_rewrite(&mut self, why: &str) {
        self.rooms.aof.rewrites.scheduled = false;
        if matches!(&self.rooms.replication.job, Some(Job::Save(save)) if save.rewrite().is_some())
        {
            self.abort_job(why);
        }
        self.rooms.aof.rewrites.scheduled = false;
    }

    /// A rewrite that returns when it is complete: at the start and at the end.
    pub(super) fn rewrite_to_end(&mut self) -> Result<(), String> {
        self.abort_job("a rewrite of the AOF takes its place");
        self.rewrite_begin().map_err(|error| error.to_string())?;
        self.save_through().map_err(|error| error.to_string())
    }

    /// Ten times a second: what is scheduled, and what growth asks for.
    pub(in super::super) fn aof_cron(&mut self) {
        self.rewrite_scheduled();
        self.aof_tell_slowness();
        let aof = &self.rooms.aof;
        let percentage = self.config.auto_aof_rewrite_percentage;
        let size = self.aof_size();
        if aof.state != State::On
            || percentage == 0
            || self.rooms.replication.job.is_some()
            || aof.failure.is_some()
            || size < self.config.auto_aof_rewrite_min_size.0
        {
            return;
        }
        let base = aof.rewrites.after_bytes.max(1);
        let growth = (u128::from(size) * 100 / u128::from(base)).saturating_sub(100);
        if growth >= u128::from(percentage) {
            hooks::log(self, &format!("the AOF has grown by {growth}%: it is rewritten"));
            self.rooms.aof.rewrites.scheduled = true;
            self.rewrite_scheduled();
        }
    }

    /// Notes how large the files were when they were loaded, from which growth is reckoned.
    pub(super) fn aof_note_sizes(&mut self) {
        let rewrites = &mut self.rooms.aof.rewrites;
        rewrites.earlier_bytes = self.rooms.aof.loaded_bytes.0;
        rewrites.base_bytes = 0;
        rewrites.after_bytes = self.rooms.aof.loaded_bytes.1;
    }

    /// Bytes of all append-only files.
    pub(super) fn aof_size(&self) -> u64 {
        let aof = &self.rooms.aof;
        let present = aof.disk.as_ref().map_or(0, |disk| disk.size());
        aof.rewrites.base_bytes + aof.rewrites.earlier_bytes + present
    }
}

/// Reads the manifest of a folder: its path and the prefix of the names.
pub type FindAof = fn(&str, &str) -> Result<Option<Manifest>, String>;
