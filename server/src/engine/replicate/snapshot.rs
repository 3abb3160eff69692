//! Snapshots: for full resyncs and for saves, one at a time, in bounded steps.

mod parts;
mod tail;

use std::sync::Arc;

use crate::client::Closing;
use crate::persistence::aof::{CommandWriter, Point};
use crate::persistence::rdb::{Aux, Draft, Form, Sealer, Writer};
use crate::replication::{Stage, Transfer};
use crate::resp::CommandError;

use super::super::access::ALL_RECORD;
use super::super::aof::Rewrite;
use super::super::{Engine, hooks};
use parts::{Encoder, SharedWriter};
use tail::Tail;

/// Bytes that one step hands to the writer, between two looks at the clock.
const STEP_BYTES: usize = 16 * 1024;
/// Old values that may be kept for a target which has no room, in bytes; fewer for replicas if their
/// limit is smaller.
const KEPT_MAX: usize = 128 * 1024 * 1024;
/// Why a receiver that must be told the length first is not served.
const TOO_LARGE: &str = "the snapshot is larger than client-output-buffer-limit replica allows for a \
                         replica without `REPLCONF capa eof`";
/// What a turn gives to the snapshot after its answers were written: as long as all else took,
/// within these bounds in microseconds. So an answer waits hardly longer, and a busy server's
/// snapshot still comes to its end.
const TURN_US: (u64, u64) = (50, 500);
/// Bytes after which a turn's part ends in any case.
const TURN_BYTES: usize = 128 * 1024;

/// Where a save goes: the disk room's side, which makes the file's bytes out of drafts. Nothing of
/// it may block but what waits.
pub trait SaveTarget {
    /// Whether it takes more now.
    fn has_room(&self) -> bool;
    fn write(&mut self, part: Draft);
    /// Waits until it takes more, or has failed.
    fn wait_room(&mut self);
    /// All has been written: it is to be made durable and put in place of the old one at once.
    fn commit(&mut self);
    /// How it went, once that is known: the file's bytes.
    fn poll(&mut self) -> Option<Result<u64, String>>;
    /// Waits for [`Self::poll`]'s answer.
    fn wait(&mut self) -> Result<u64, String>;
}

/// Called from another thread when a target has room again or has ended.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Opens the target of a save: directory and file name.
pub type OpenSave = fn(&str, &str, Form, Option<Wake>) -> Result<Box<dyn SaveTarget>, String>;

/// Why a save was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    #[error("Background save already in progress")]
    Running,
    #[error("Background append only file rewriting already in progress")]
    Rewriting,
    #[error(
        "Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in \
         order to schedule a BGSAVE whenever possible."
    )]
    Busy,
    #[error("{0}")]
    Failed(String),
}

impl From<SaveError> for CommandError {
    fn from(error: SaveError) -> Self {
        format!("ERR {error}").into()
    }
}

/// What INFO tells about saves.
#[derive(Debug, Default)]
pub struct Saves {
    /// Set by the disk room at the start.
    pub open: Option<OpenSave>,
    pub last_unix_s: i64,
    /// Why the last one failed; none if it did not.
    pub last_error: Option<String>,
    pub last_try_unix_s: i64,
    pub last_duration_s: i64,
    pub count: u64,
    /// How many keys the data had that were loaded last.
    pub loaded_keys: usize,
    /// Begin one as soon as the running snapshot is over.
    pub scheduled: bool,
}

/// The snapshot that is being made.
pub enum Job {
    Resync(Resync),
    Save(Save),
}

impl Job {
    /// How many keys the snapshot has, and how many of them are written.
    pub fn keys(&self) -> (usize, usize) {
        match self {
            Self::Resync(Resync { writer, .. }) | Self::Save(Save { writer, .. }) => {
                writer.lock().keys()
            }
        }
    }
}

/// A full resync under way.
pub struct Resync {
    pub transfer: Transfer,
    writer: SharedWriter,
    sealer: Sealer,
}

impl Resync {
    /// Hands over what has been written so far.
    fn pass(&mut self) {
        for part in self.writer.lock().take() {
            self.transfer.push(&self.sealer.seal(part));
        }
    }
}

/// A save under way.
pub struct Save {
    writer: SharedWriter,
    target: Box<dyn SaveTarget>,
    tail: Tail,
    /// All entries have been handed over; the target is at work.
    walked: bool,
    changes: u64,
    /// It is the base of append-only files.
    rewrite: Option<Rewrite>,
}

impl Save {
    /// The rewrite of append-only files that this save is part of.
    pub fn rewrite(&self) -> Option<&Rewrite> {
        self.rewrite.as_ref()
    }

    /// Hands over what has been written so far.
    fn pass(&mut self) {
        for part in self.writer.lock().take() {
            self.target.write(part);
        }
    }
}

/// What a snapshot is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Resync,
    File,
    AofBase,
    AofCommands,
}

impl Engine {
    fn begin_snapshot(&mut self, purpose: Purpose) -> SharedWriter {
        let state = &self.rooms.replication.state;
        let aux = Aux {
            created_s: (self.now.unix_us / 1_000_000).max(0) as u64,
            used_memory: self.used_memory(),
            hash_seed: Some(self.keyspace.seed().to_string()),
            replication: state
                .have()
                .map(|(id, offset)| (id.to_string(), offset, state.stream_db())),
            formers: Point::formers_text(&state.history),
            scripts: self.carried_scripts(),
            epoch: self.is_managed().then(|| self.member().data_epoch().to_string()),
            acl: self.acl_aux(),
            migration: self.migration_aux(),
            clock_ms: self.floor_aux(),
            aof_base: purpose == Purpose::AofBase,
            field_times: self.keyspace.has_expiring_fields(),
        };
        let encoder = if purpose == Purpose::AofCommands {
            let mut writer = CommandWriter::default();
            writer.scripts(&aux.scripts);
            if let Some(text) = &aux.acl {
                writer.record(ALL_RECORD, text);
            }
            if let Some(text) = &aux.migration {
                writer.record(crate::migration::RECORD, text.as_bytes());
            }
            if let Some(clock_ms) = aux.clock_ms {
                writer.record(super::super::floor::RECORD, clock_ms.to_string().as_bytes());
            }
            Encoder::Commands(writer)
        } else {
            Encoder::Rdb(Writer::new(&aux))
        };
        let writer = SharedWriter::new(encoder, self.keyspace.len());
        self.keyspace.snapshot_begin(Box::new(writer.clone()));
        writer
    }

    /// Begins a full resync for the replicas that wait for one, if no snapshot is being made.
    pub(super) fn begin_resync(&mut self) {
        if self.rooms.replication.job.is_none() {
            self.refuse_unable();
        }
        let room = &mut self.rooms.replication;
        let waits = |stage| stage == Stage::WaitSnapshot;
        if room.job.is_some() || !room.state.replicas.iter().any(|r| waits(r.stage)) {
            return;
        }
        let offset = room.state.snapshot_point();
        let id = room.state.history.id;
        let keep_all = room.state.replicas.iter().any(|r| waits(r.stage) && !r.eof);
        let mark = hooks::random_hex(20).into_bytes().try_into().expect("two digits per byte");
        let transfer = Transfer::new(offset, mark, keep_all);
        let mut heads = Vec::new();
        for replica in room.state.replicas.iter_mut().filter(|r| waits(r.stage)) {
            replica.stage = Stage::Payload { at: 0 };
            replica.sent = offset;
            let mut head = Vec::new();
            if !replica.bare {
                head.extend_from_slice(format!("+FULLRESYNC {id} {offset}\r\n").as_bytes());
            }
            if replica.eof {
                head.extend_from_slice(&transfer.eof_head());
            }
            heads.push((replica.client, head));
        }
        for (client, head) in heads {
            if let Some(client) = self.clients.get_mut(client) {
                client.out.extend_from_slice(&head);
            }
            self.clients.queue_flush(client);
        }
        let writer = self.begin_snapshot(Purpose::Resync);
        // A network is rarely slower than compression.
        let form = Form { compress: false, ..self.rdb_form() };
        let resync = Resync { transfer, writer, sealer: Sealer::new(form) };
        self.rooms.replication.job = Some(Job::Resync(resync));
    }

    /// A bounded part of the snapshot; true if more can be done at once.
    pub(in super::super) fn snapshot_turn(&mut self) -> bool {
        match self.rooms.replication.job.take() {
            None => self.rooms.replication.saves.scheduled && self.next_job(),
            Some(Job::Resync(resync)) => self.resync_turn(resync),
            Some(Job::Save(save)) => self.save_turn(save),
        }
    }

    fn resync_turn(&mut self, mut resync: Resync) -> bool {
        let replicas = &self.rooms.replication.state.replicas;
        if resync.transfer.is_over(replicas) {
            // All have it, or all are gone.
            self.keyspace.snapshot_end();
            return self.next_job();
        }
        let has_room = resync.transfer.has_room(replicas);
        let goes_on = !resync.transfer.is_complete() && has_room;
        if goes_on {
            let done = self.walk(&resync.writer, &mut Tail::default());
            resync.pass();
            self.bound_payload(&mut resync.transfer);
            if done {
                self.keyspace.snapshot_end();
                resync.transfer.finish();
            }
        }
        if !has_room && resync.writer.lock().pending() > self.old_values_max() {
            // Their network is slower than the writes: the old values must not fill the memory.
            let state = &self.rooms.replication.state;
            for id in resync.transfer.held_up_by(&state.replicas) {
                self.drop_replica(id, "it takes its snapshot too slowly for the writes");
            }
        }
        resync.transfer.trim(&self.rooms.replication.state.replicas);
        if goes_on {
            self.flush_receivers();
        }
        let again = goes_on && !resync.transfer.is_complete();
        self.rooms.replication.job = Some(Job::Resync(resync));
        again
    }

    /// Old values that may be kept for receivers that take no more now, in bytes.
    fn old_values_max(&self) -> usize {
        let limit = self.rooms.replication.state.keeps_at_most();
        KEPT_MAX.min(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    /// A receiver that must be told the length first has the whole snapshot wait here: it is refused
    /// one that is larger than what any slow replica may make this node keep.
    fn bound_payload(&mut self, transfer: &mut Transfer) {
        let state = &mut self.rooms.replication.state;
        if !transfer.outgrows(state.keeps_at_most()) {
            return;
        }
        for id in transfer.leave_out_the_old(&mut state.replicas) {
            self.tell_of_drop(id, TOO_LARGE);
            if let Some(client) = self.clients.get_mut(id) {
                client.reply().error(&format!("ERR {TOO_LARGE}").into());
            }
            self.clients.close(id, Closing::AfterOutput);
        }
    }

    /// There is more for the receivers of a full resync. Only then: a full socket tells by itself
    /// when it has room, and who asked it all the time would never sleep.
    fn flush_receivers(&mut self) {
        for replica in self.rooms.replication.state.replicas.iter() {
            if matches!(replica.stage, Stage::Payload { .. }) {
                self.clients.queue_flush(replica.client);
            }
        }
    }

    /// Walks for as long as one turn allows; true at the end of the data and of what follows them.
    fn walk(&mut self, writer: &SharedWriter, tail: &mut Tail) -> bool {
        let begun_us = self.read_clock_us();
        let turn_us = begun_us.saturating_sub(self.now.mono_us);
        let until_us = begun_us + turn_us.clamp(TURN_US.0, TURN_US.1);
        loop {
            if self.keyspace.snapshot_step(STEP_BYTES)
                && !tail.step(&self.rooms.replication.state, STEP_BYTES, writer)
            {
                writer.lock().finish();
                return true;
            }
            if writer.lock().pending() > TURN_BYTES || self.read_clock_us() >= until_us {
                return false;
            }
        }
    }

    fn next_job(&mut self) -> bool {
        if std::mem::take(&mut self.rooms.replication.saves.scheduled) {
            // A failure is kept for INFO by the save itself.
            let _ = self.save_begin();
        }
        self.rewrite_scheduled();
        self.rooms.replication.job.is_some()
    }

    fn save_turn(&mut self, mut save: Save) -> bool {
        if let Some(result) = save.target.poll() {
            self.save_over(&save, result);
            return self.next_job();
        }
        let mut again = false;
        if !save.walked && save.target.has_room() {
            save.walked = self.walk(&save.writer, &mut save.tail);
            save.pass();
            if save.walked {
                self.keyspace.snapshot_end();
                save.target.commit();
            }
            again = !save.walked;
        } else if !save.walked && save.writer.lock().pending() > KEPT_MAX {
            // The disk is slower than the writes: the old values must not fill the memory.
            self.save_over(&save, Err("the disk is too slow for the writes".into()));
            return self.next_job();
        }
        self.rooms.replication.job = Some(Job::Save(save));
        again
    }

    fn save_over(&mut self, save: &Save, result: Result<u64, String>) {
        if !save.walked {
            self.keyspace.snapshot_end();
        }
        if let Some(rewrite) = &save.rewrite {
            return self.rewrite_over(rewrite, result);
        }
        let now_s = self.now.unix_us / 1_000_000;
        let saves = &mut self.rooms.replication.saves;
        saves.last_duration_s = now_s - saves.last_try_unix_s;
        match result {
            Ok(_) => {
                saves.last_unix_s = now_s;
                saves.last_error = None;
                saves.count += 1;
                self.outbox.changes = self.outbox.changes.saturating_sub(save.changes);
                if !self.config.appendonly {
                    // A start finds newer data here than in files that a record speaks for.
                    self.forget_stale_record();
                }
            }
            Err(why) => {
                let text = format!("saving failed: {why}");
                saves.last_error = Some(why);
                hooks::warn(self, &text);
            }
        }
    }

    fn save_begin(&mut self) -> Result<(), SaveError> {
        let saves = &mut self.rooms.replication.saves;
        saves.last_try_unix_s = self.now.unix_us / 1_000_000;
        let open = saves.open.ok_or(SaveError::Failed("no disk is attached".into()))?;
        match open(".", &self.config.dbfilename, self.rdb_form(), self.wake.clone()) {
            Ok(target) => {
                self.save_begin_for(target, None, false);
                Ok(())
            }
            Err(why) => {
                self.rooms.replication.saves.last_error = Some(why.clone());
                Err(SaveError::Failed(why))
            }
        }
    }

    /// Begins the snapshot for a target that is open; as commands instead of an RDB if asked.
    pub(in super::super) fn save_begin_for(
        &mut self,
        target: Box<dyn SaveTarget>,
        rewrite: Option<Rewrite>,
        commands: bool,
    ) {
        let purpose = match (&rewrite, commands) {
            (None, _) => Purpose::File,
            (Some(_), false) => Purpose::AofBase,
            (Some(_), true) => Purpose::AofCommands,
        };
        let changes = self.outbox.changes;
        let writer = self.begin_snapshot(purpose);
        let tail = Tail::of(&self.rooms.replication.state);
        let save = Save { writer, target, tail, walked: false, changes, rewrite };
        self.rooms.replication.job = Some(Job::Save(save));
    }

    /// BGSAVE: begins a save, or schedules it behind the snapshot of a full resync. True if it has
    /// begun.
    pub fn save_in_background(&mut self) -> Result<bool, SaveError> {
        match &self.rooms.replication.job {
            None => self.save_begin().map(|()| true),
            Some(Job::Save(save)) if save.rewrite.is_some() => Err(SaveError::Busy),
            Some(Job::Save(_)) => Err(SaveError::Running),
            Some(Job::Resync(_)) => {
                self.rooms.replication.saves.scheduled = true;
                Ok(false)
            }
        }
    }

    /// SAVE, and before the process ends: returns when the data are durable.
    pub fn save_now(&mut self) -> Result<(), SaveError> {
        match self.rooms.replication.job.take() {
            Some(Job::Save(rewrite)) if rewrite.rewrite.is_some() => {
                // One snapshot at a time: the rewrite begins anew afterwards.
                self.save_over(&rewrite, Err("a SAVE took its place".into()));
                let result = self.save_to_end();
                self.aof_rewrite_soon();
                return result;
            }
            Some(running) => {
                self.rooms.replication.job = Some(running);
                return Err(SaveError::Running);
            }
            None => {}
        }
        self.save_to_end()
    }

    fn save_to_end(&mut self) -> Result<(), SaveError> {
        let before = self.rooms.replication.saves.last_error.clone();
        let result = self.save_begin().and_then(|()| self.save_through());
        if result.is_err() {
            // Who asked is told. Only what was to be saved unasked makes writes be refused.
            self.rooms.replication.saves.last_error = before;
        }
        result
    }

    /// Brings the save that was just begun to its end.
    pub(in super::super) fn save_through(&mut self) -> Result<(), SaveError> {
        let Some(Job::Save(mut save)) = self.rooms.replication.job.take() else {
            unreachable!("a save was begun");
        };
        while !save.walked {
            save.walked = self.walk(&save.writer, &mut save.tail);
            save.pass();
            save.target.wait_room();
        }
        self.keyspace.snapshot_end();
        save.target.commit();
        let result = save.target.wait();
        self.save_over(&save, result.clone());
        result.map(|_| ()).map_err(SaveError::Failed)
    }

    /// The last save, if the directive `save` asks for any.
    pub fn save_before_exit(&mut self) -> Result<(), SaveError> {
        if self.save_rules().next().is_none() || self.rooms.replication.saves.open.is_none() {
            return Ok(());
        }
        self.abort_snapshot();
        self.save_now()
    }

    /// Gives up what runs in the background, so that a save can be made at once.
    pub fn abort_snapshot(&mut self) {
        self.abort_job("another save takes its place");
    }

    /// Gives up the running snapshot; its receivers come back and ask again.
    pub(in super::super) fn abort_job(&mut self, why: &str) {
        match self.rooms.replication.job.take() {
            None => {}
            Some(Job::Resync(resync)) => {
                drop(self.keyspace.snapshot_end());
                for id in resync.transfer.receivers(&self.rooms.replication.state.replicas) {
                    self.drop_replica(id, &format!("its snapshot is given up: {why}"));
                }
            }
            Some(Job::Save(save)) if save.rewrite.is_some() => {
                self.save_over(&save, Err(why.to_owned()));
            }
            Some(Job::Save(save)) => {
                // What was given up on purpose has not failed, and makes no write be refused.
                if !save.walked {
                    self.keyspace.snapshot_end();
                }
                hooks::log(self, &format!("a save was given up: {why}"));
            }
        }
    }

    /// All data are about to go: where saves are asked for, one is due at once, since a crash would
    /// bring back what the last one holds.
    pub fn save_soon_without_data(&mut self) {
        let saves = self.save_rules().next().is_some();
        if !saves || self.is_loading() || self.rooms.replication.saves.open.is_none() {
            return;
        }
        if matches!(&self.rooms.replication.job, Some(Job::Save(save)) if save.rewrite.is_none()) {
            self.abort_job("all data are deleted");
        }
        self.rooms.replication.saves.scheduled = true;
    }

    /// Begins the saves that the directive `save` asks for.
    pub(super) fn save_points(&mut self) {
        const RETRY_S: i64 = 5;
        let room = &self.rooms.replication;
        if room.job.is_some() || room.saves.open.is_none() {
            return;
        }
        let now_s = self.now.unix_us / 1_000_000;
        let due = self.save_rules().any(|(seconds, changes)| {
            self.outbox.changes >= changes && now_s - room.saves.last_unix_s > seconds
        });
        let rested =
            now_s - room.saves.last_try_unix_s > RETRY_S || room.saves.last_error.is_none();
        if due && rested {
            // A failure is kept for INFO by the save itself.
            let _ = self.save_begin();
        }
    }

    /// How an RDB file is written.
    pub(in super::super) fn rdb_form(&self) -> Form {
        let (compress, checksum) = (self.config.rdbcompression, self.config.rdbchecksum);
        Form { compress, checksum, frames: false }
    }

    /// BGSAVE CANCEL: what was cancelled, if there was anything.
    pub fn cancel_save(&mut self) -> Option<&'static str> {
        if matches!(&self.rooms.replication.job, Some(Job::Save(save)) if save.rewrite.is_none()) {
            self.abort_job("it was cancelled");
            return Some("Background saving cancelled");
        }
        let scheduled = std::mem::take(&mut self.rooms.replication.saves.scheduled);
        scheduled.then_some("Scheduled background saving cancelled")
    }

    /// The pairs of `save`: after so many seconds if there were so many changes.
    pub fn save_rules(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        let words = self.config.save.0.chunks_exact(2);
        words.filter_map(|pair| Some((pair[0].parse().ok()?, pair[1].parse().ok()?)))
    }
}

#[cfg(test)]
mod tests;
