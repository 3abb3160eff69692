//! Loading the data at the start, a bounded part per turn, so that who asks meanwhile is answered
//! `LOADING`.

use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::{Client, ClientId, Duty};
use crate::disk::DiskError;
use crate::handover::Record;
use crate::persistence::aof::{End, Manifest, Part, Point, Reader, Tracker};
use crate::persistence::load::{Data, DataLoader, Template};
use crate::persistence::rdb::RdbError;
use crate::replication::{Asks, Backlog};
use crate::resp::{Args, CommandError, encode_command, errors};

use super::super::replicate::Origin;
use super::super::{Engine, hooks};
use super::Fsync;

/// Bytes that one turn loads at most.
const TURN_BYTES: usize = 256 * 1024;
/// Bytes that are loaded before the first turn: small data never show themselves as loading.
const FIRST_BYTES: u64 = 4 * 1024 * 1024;
/// What a slow disk may take for the first manifest.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// A file that is to be loaded.
pub struct Source {
    pub path: PathBuf,
    pub bytes: u64,
    pub read: Box<dyn Read>,
    /// Commands may follow the RDB, or stand in its place.
    pub commands: bool,
}

enum Stage {
    /// The first bytes, which tell the format.
    Head(Vec<u8>),
    Rdb(Box<DataLoader>),
    Commands(Box<Reader>),
    Done,
}

/// The data as they are being loaded.
pub struct Loading {
    sources: VecDeque<Source>,
    stage: Stage,
    client: Box<Client>,
    template: Template,
    tracker: Tracker,
    /// The stream's last part, as far as the files hold it without a gap.
    tail: Backlog,
    manifest: Option<Manifest>,
    /// Only the data are wanted, for DEBUG: the stream and the files stay what they are.
    data_only: bool,
    /// Bytes of the last file that stay.
    keep: u64,
    /// What was cut off the last file may have been made durable.
    damaged: bool,
    total: u64,
    loaded: u64,
    started_s: i64,
}

impl Loading {
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn loaded(&self) -> u64 {
        self.loaded
    }

    pub(super) fn started_s(&self) -> i64 {
        self.started_s
    }
}

impl Engine {
    /// Begins to load these files; `manifest` if they are append-only files. True if that was all.
    pub(in super::super) fn load_begin(
        &mut self,
        sources: Vec<Source>,
        manifest: Option<Manifest>,
    ) -> Result<bool, DiskError> {
        self.load_open(sources, manifest, false);
        loop {
            if self.load_step()? {
                return Ok(true);
            }
            if self.rooms.aof.loading.as_ref().is_some_and(|l| l.loaded >= FIRST_BYTES) {
                return Ok(false);
            }
        }
    }

    /// Puts what the files hold in the place of the present data, at once and for DEBUG.
    pub(in super::super) fn load_again(&mut self, sources: Vec<Source>) -> Result<(), DiskError> {
        self.abort_job("the data are loaded again");
        let mut fresh = crate::store::Keyspace::new(self.config.databases, self.keyspace.seed());
        fresh.set_limits(self.keyspace.limits());
        self.replace_keyspace(fresh);
        self.rooms.scripts.flush_functions();
        self.load_open(sources, None, true);
        while !self.load_step()? {}
        Ok(())
    }

    pub(super) fn load_open(
        &mut self,
        sources: Vec<Source>,
        manifest: Option<Manifest>,
        data_only: bool,
    ) {
        let template = Template { tail_bytes: self.config.repl_backlog_size.0, ..self.template() };
        let total: u64 = sources.iter().map(|source| source.bytes).sum();
        if !data_only {
            let last = sources.last().map_or(0, |source| source.bytes);
            self.rooms.aof.loaded_bytes = (total - last, total);
        }
        let id = ClientId { serial: 0, slot: u32::MAX };
        self.rooms.aof.loading = Some(Box::new(Loading {
            total,
            sources: sources.into(),
            stage: Stage::Head(Vec::new()),
            client: Box::new(Client::new(id, Duty::Commands, self.now.mono_ms())),
            template,
            tracker: Tracker::default(),
            tail: Backlog::new(0),
            manifest,
            data_only,
            keep: 0,
            damaged: false,
            loaded: 0,
            started_s: self.now.unix_us / 1_000_000,
        }));
    }

    /// Loads a part; true when all is loaded.
    pub(in super::super) fn load_step(&mut self) -> Result<bool, DiskError> {
        let Some(mut loading) = self.rooms.aof.loading.take() else { return Ok(true) };
        // A key's time is for the primary to say, and what follows in the file expects it.
        self.keyspace.set_clock(i64::MIN);
        let result = self.load_part(&mut loading);
        self.keyspace.set_clock(self.now.unix_ms());
        match result {
            Ok(true) => {
                self.load_end(*loading);
                Ok(true)
            }
            other => {
                self.rooms.aof.loading = Some(loading);
                other
            }
        }
    }

    fn load_part(&mut self, loading: &mut Loading) -> Result<bool, DiskError> {
        let Some(mut source) = loading.sources.pop_front() else { return Ok(true) };
        let mut chunk = vec![0; TURN_BYTES];
        let count = source
            .read
            .read(&mut chunk)
            .map_err(|e| DiskError::Read { path: source.path.clone(), source: e })?;
        loading.loaded += count as u64;
        if count == 0 {
            self.load_file_end(loading, &source)?;
            return Ok(loading.sources.is_empty());
        }
        self.load_bytes(loading, &source, &chunk[..count])?;
        loading.sources.push_front(source);
        Ok(false)
    }

    fn load_bytes(
        &mut self,
        loading: &mut Loading,
        source: &Source,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        let head;
        let mut bytes = bytes;
        if let Stage::Head(start) = &mut loading.stage {
            start.extend_from_slice(bytes);
            if start.len() < 9 && start.first() != Some(&b'*') && start.first() != Some(&b'#') {
                return Ok(());
            }
            head = std::mem::take(start);
            bytes = &head;
            loading.stage = if !source.commands || Reader::has_preamble(bytes) {
                Stage::Rdb(Box::new(DataLoader::new(loading.template)))
            } else {
                Stage::Commands(Box::new(Reader::new(0)))
            };
        }
        let rest;
        if let Stage::Rdb(loader) = &mut loading.stage {
            let whole = loader.feed(bytes).map_err(|error| DiskError::Load {
                path: source.path.clone(),
                offset: loader.consumed(),
                source: error,
            })?;
            if !whole {
                return Ok(());
            }
            let offset = loader.consumed();
            rest = loader.take_rest();
            let data = loader.finish();
            self.load_data(loading, source, data);
            bytes = &rest;
            loading.stage = if source.commands {
                Stage::Commands(Box::new(Reader::new(offset)))
            } else {
                Stage::Done
            };
        }
        if let Stage::Commands(reader) = &mut loading.stage {
            reader.feed(bytes);
            return self.load_commands(loading, source);
        }
        Ok(())
    }

    fn load_data(&mut self, loading: &mut Loading, source: &Source, mut data: Data) {
        for what in &data.skipped {
            hooks::warn(self, &format!("{}: left out {what}", source.path.display()));
        }
        loading.tracker.loaded(&data);
        self.acl_loaded(data.acl.as_deref());
        self.migration_loaded(data.migration.as_deref());
        self.floor_loaded(data.clock_ms);
        self.take_carried_scripts(&data.scripts);
        loading.tail = data.take_tail();
        loading.client.db = 0;
        self.replace_keyspace(data.keyspace);
        self.keyspace.set_clock(i64::MIN);
    }

    fn load_commands(&mut self, loading: &mut Loading, source: &Source) -> Result<(), DiskError> {
        let stage = std::mem::replace(&mut loading.stage, Stage::Done);
        let Stage::Commands(mut reader) = stage else { unreachable!("the caller saw it") };
        let mut failed = None;
        loop {
            let unit = reader.next(|part| failed = self.load_unit(loading, part).err());
            let more =
                unit.map_err(|error| DiskError::Aof { path: source.path.clone(), source: error })?;
            if let Some(name) = failed {
                let (path, offset) = (source.path.clone(), reader.valid());
                return Err(DiskError::Command { path, offset, name });
            }
            if !more {
                break;
            }
        }
        loading.stage = Stage::Commands(reader);
        Ok(())
    }

    /// Applies a unit; the error is the name of a command that this server does not know.
    fn load_unit(&mut self, loading: &mut Loading, part: Part<'_>) -> Result<(), String> {
        match part {
            Part::Note(note) => {
                loading.tracker.note(note);
                if let Some(point) = loading.tracker.point()
                    && point.offset != loading.tail.end()
                {
                    loading.tail = Backlog::new(point.offset);
                }
            }
            Part::One(args, length) => {
                let before = loading.tracker.point().map(|point| point.offset);
                loading.tracker.command(args, length);
                if loading.tracker.point().map(|point| point.offset) != before {
                    loading.tail.append(args.raw());
                }
                self.load_command(&mut loading.client, args)?;
            }
            Part::Transaction(queue, length) => {
                loading.tracker.transaction(&queue, length);
                let mut bytes = Vec::new();
                encode_command(&mut bytes, [b"MULTI".as_slice()]);
                for args in &queue {
                    self.load_command(&mut loading.client, args.args())?;
                    encode_command(&mut bytes, args.args().iter());
                }
                encode_command(&mut bytes, [b"EXEC".as_slice()]);
                loading.tail.append(&bytes);
            }
        }
        let end = loading.tail.end();
        loading.tail.trim(end.saturating_sub(loading.template.tail_bytes));
        Ok(())
    }

    fn load_command(&mut self, client: &mut Client, args: Args<'_>) -> Result<(), String> {
        match Asks::of(args) {
            Asks::Record(argument) => {
                // Data are loaded before the member takes its role.
                if !self.config.cluster_uid.is_empty() {
                    self.record_loaded(argument);
                }
                Ok(())
            }
            Asks::Change(args) if crate::command::lookup(args.at(0)).is_none() => {
                Err(args.at(0).escape_ascii().to_string())
            }
            // Only a database that there is not stops it.
            _ => self.take_command(client, args, Origin::Primary).map_err(|_| "SELECT".into()),
        }
    }

    /// A record of a member's files.
    fn record_loaded(&mut self, argument: &[u8]) {
        if self.acl_applied(argument)
            || self.migration_applied(argument)
            || self.floor_applied(argument)
        {
            return;
        }
        // One of a later version is without effect, as for any stock replica.
        if let Ok(record) = Record::parse(argument) {
            self.raise_clock(&record);
        }
    }

    /// A file has ended: is it whole?
    fn load_file_end(&mut self, loading: &mut Loading, source: &Source) -> Result<(), DiskError> {
        let path = || source.path.clone();
        let stage = std::mem::replace(&mut loading.stage, Stage::Head(Vec::new()));
        let reader = match stage {
            Stage::Head(start) if start.is_empty() && source.commands => return Ok(()),
            Stage::Done => return Ok(()),
            Stage::Commands(reader) => reader,
            Stage::Head(_) | Stage::Rdb(_) => {
                return Err(DiskError::Load {
                    path: path(),
                    offset: source.bytes,
                    source: RdbError::Truncated,
                });
            }
        };
        loading.keep = reader.valid();
        let refused = |source| DiskError::Aof { path: path(), source };
        let offset = reader.valid();
        let last = loading.sources.is_empty();
        let rest = match reader.ended().map_err(refused)? {
            End::Whole => return Ok(()),
            End::Damaged(error) if !last || !self.config.aof_load_truncated => {
                return Err(refused(error));
            }
            End::Torn if !last => {
                let why = "the truncated file is not the last file";
                return Err(DiskError::Torn { path: path(), offset, why });
            }
            End::Torn if !self.config.aof_load_truncated => {
                let why = "set aof-load-truncated to yes to have the incomplete rest cut off";
                return Err(DiskError::Torn { path: path(), offset, why });
            }
            End::Torn => "an incomplete frame, command or transaction".to_owned(),
            End::Damaged(error) => {
                loading.damaged = true;
                format!("a frame that is not as it was written ({error})")
            }
        };
        let text = format!(
            "!!! Warning: short read while loading the AOF file {}: truncating the AOF at offset \
             {offset}, {} bytes of {rest} are cut off",
            source.path.display(),
            reader.end() - offset
        );
        hooks::warn(self, &text);
        Ok(())
    }

    /// Everything is loaded: takes up the point of the history that it stands at.
    fn load_end(&mut self, loading: Loading) {
        let Loading { tracker, tail, manifest, keep, damaged, data_only, .. } = loading;
        if data_only {
            return;
        }
        self.rooms.aof.believed = tracker.point().is_some() && !damaged;
        if let Some(point) = tracker.point() {
            let Point { history, offset, db, epoch } = point.clone();
            self.rooms.replication.loaded_epoch = epoch;
            let tail = if tail.end() == offset { tail } else { Backlog::new(offset) };
            self.rooms.replication.state.adopt_tail(history, tail, db);
        }
        hooks::log(self, &format!("loaded {} keys", self.keyspace.len()));
        self.rooms.aof.manifest = manifest.clone().unwrap_or_default();
        self.rooms.aof.rewrites.base_bytes = 0;
        self.rooms.aof.loaded = manifest.map(|manifest| (manifest, keep));
    }

    /// After loading, once the role is taken: goes on writing where the files end.
    pub(in super::super) fn aof_start(&mut self) -> Result<(), String> {
        if !self.config.appendonly || self.rooms.aof.open.is_none() {
            return Ok(());
        }
        let distrusted = self.rooms.aof.distrusted;
        let loaded = self.rooms.aof.loaded.take();
        if loaded.is_some() && distrusted && self.config.appendfsync != Fsync::Always {
            self.aof_on();
            return Ok(());
        }
        self.aof_attach()?;
        let Some((mut manifest, keep)) = loaded.filter(|_| !distrusted) else {
            self.rooms.aof.state = super::State::Waiting;
            self.rewrite_to_end()?;
            // Nobody is answered before a manifest names the files.
            let disk = self.rooms.aof.disk.as_mut().expect("it was just opened");
            disk.wait(Some(START_PATIENCE))?;
            self.aof_named();
            return Ok(());
        };
        let remove = self.aof_superfluous(&mut manifest);
        let aof = &mut self.rooms.aof;
        aof.state = super::State::On;
        if !remove.is_empty() {
            let disk = aof.disk.as_mut().expect("it was just opened");
            disk.commit(manifest.print(), remove);
        }
        // Either kind of file may be all there is: there is no base yet, or nothing since it.
        let last = manifest.incr.last().cloned();
        let first = manifest.next_incr(&self.config.appendfilename);
        aof.manifest = manifest;
        if let Some(last) = last {
            self.aof_begin_file(&last, keep, false);
        } else {
            aof.manifest.incr.push(first.clone());
            self.aof_begin_file(&first, 0, true);
        }
        self.aof_note_sizes();
        if self.member().is_kept() {
            // A killed process leaves more than it had made durable, and this one answers for it.
            let disk = self.rooms.aof.disk.as_mut().expect("it was just opened");
            disk.wait(Some(START_PATIENCE))?;
        }
        Ok(())
    }

    /// What to answer while the data are being loaded.
    pub(in super::super) fn loading_refusal(
        &self,
        row: &crate::command::Command,
    ) -> Option<CommandError> {
        use crate::command::Flags;
        let refused = self.is_loading() && (!row.is(Flags::LOADING) || row.is(Flags::INTERNAL));
        refused.then(|| errors::LOADING.into())
    }
}
