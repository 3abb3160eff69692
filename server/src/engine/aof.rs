//! Binds the append-only files to the engine: what is written to them, when they are rewritten,
//! and how they are loaded. Without I/O: the disk room's side is behind [`AofDisk`].
//!
//! The files are one more reader of the replication stream, beside the replicas: at the end of each
//! turn it is handed what was added since. So a command pays nothing for them, and with them on a
//! lone server records its stream too.
//!
//! **Order.** Everything goes through the disk's one queue: bytes, the change to another file, the
//! manifest that names it. A rewrite begins a new incremental file and takes a snapshot at that
//! moment; until its base is whole, the manifest names the old base and all files since.
//!
//! **Replaced data** (a full resync) make the files a picture of the past. They stay until a
//! rewrite of the new data is complete, and nothing is added to them meanwhile.

mod load;
mod report;
mod rewrite;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::handover::Event;
use crate::persistence::aof::{Draft, Entry, Manifest, Point, timestamp_line};
use crate::replication::ReplId;
use crate::resp::{CommandError, encode_command};

use super::{Engine, hooks};

pub use crate::config::Fsync;
pub use load::{Loading, Source};
pub use rewrite::{FindAof, Rewrite};

/// Bytes that may wait for a disk that is slower than the commands, before these wait for it.
const QUEUE_MAX: usize = 256 * 1024 * 1024;

/// What a seal's answer waits for the disk at most. A member whose disk takes longer is of no use to
/// an election.
const SYNC_PATIENCE: Duration = Duration::from_millis(1500);
/// As that, while the disk refuses: it is tried again in this time.
const FAILING_PATIENCE: Duration = Duration::from_millis(300);

/// The disk's side. Calls are queued and done in order, each again and again until it works.
pub trait AofDisk: Send {
    /// A part of the present file; `end` is the offset of the stream behind it.
    fn append(&mut self, part: Draft, end: u64);
    /// Goes over to a file, of which `keep` bytes stay, and writes the manifest that names it.
    fn begin(&mut self, name: String, keep: u64, manifest: Option<String>);
    /// Makes durable all before it, writes the manifest, then removes the files that it does not need
    /// any more. Returns its number, which [`AofDisk::committed`] reaches when the manifest is durable.
    fn commit(&mut self, manifest: String, remove: Vec<String>) -> u64;
    /// The number of the last manifest that is durable; 0 before the first.
    fn committed(&self) -> u64;
    fn set_policy(&mut self, policy: Fsync);
    /// The offset of the stream up to which all is durable.
    fn synced(&self) -> u64;
    /// Bytes that wait to be written.
    fn queued(&self) -> usize;
    /// Bytes of the present file.
    fn size(&self) -> u64;
    /// The longest that a write and a sync took since this was last asked, in microseconds.
    fn take_slowest(&mut self) -> (u64, u64);
    /// Whether what is to be done now does not work; cheap.
    fn is_failing(&self) -> bool;
    fn error(&self) -> Option<String>;
    /// Waits until everything so far is done and durable, for ever or for so long.
    fn wait(&mut self, patience: Option<Duration>) -> Result<(), String>;
}

/// Opens the folder: its path, the prefix of the names, and what is called when more is durable.
pub type OpenAof =
    fn(&str, &str, Option<Arc<dyn Fn() + Send + Sync>>) -> Result<Box<dyn AofDisk>, String>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Off,
    /// On, but no files hold these data yet: the first rewrite is still to be completed.
    Waiting,
    /// All files are there, but until this manifest of the disk's is durable none names them.
    Naming(u64),
    On,
}

/// The state of the append-only files.
#[derive(Default)]
pub struct Room {
    /// Set at the start, when there is a disk.
    pub open: Option<OpenAof>,
    pub find: Option<FindAof>,
    state: State,
    disk: Option<Box<dyn AofDisk>>,
    manifest: Manifest,
    /// A file has been begun, and gets the stream.
    writing: bool,
    /// The offset of the stream up to which the disk was given it.
    sent: u64,
    /// The history's id as the present file knows it.
    noted: Option<ReplId>,
    stamped_s: i64,
    /// The durable offset as it was last told.
    told: u64,
    /// The files of the start may not be on the disk as they are read: others are to take their place.
    distrusted: bool,
    /// Why the disk cannot write now, as it was at the end of the last turn.
    failure: Option<String>,
    loading: Option<Box<Loading>>,
    /// What was loaded, and how much of its last file stays, until writing goes on there.
    loaded: Option<(Manifest, u64)>,
    /// What was loaded said credibly where in which history it stands, and is all that was durable.
    believed: bool,
    /// Bytes of the files that were loaded: all but the last one, and all.
    loaded_bytes: (u64, u64),
    rewrites: rewrite::Rewrites,
}

impl Engine {
    /// Directives have changed, or the data are loaded: goes on, or off.
    pub(super) fn aof_configured(&mut self) {
        let policy = self.aof_policy();
        let aof = &mut self.rooms.aof;
        if let Some(disk) = &mut aof.disk {
            disk.set_policy(policy);
        }
        if aof.open.is_none() || aof.loading.is_some() {
            return;
        }
        match (self.config.appendonly, aof.state) {
            (true, State::Off) => self.aof_on(),
            (false, State::On | State::Waiting | State::Naming(_)) => self.aof_off(),
            _ => {}
        }
        self.aof_forget_history();
    }

    /// What `aof-disable-auto-gc` kept goes when it says so no more.
    fn aof_forget_history(&mut self) {
        let aof = &mut self.rooms.aof;
        if self.config.aof_disable_auto_gc || aof.state != State::On {
            return;
        }
        let gone = aof.manifest.forget_history();
        if let Some(disk) = aof.disk.as_mut().filter(|_| !gone.is_empty()) {
            disk.commit(aof.manifest.print(), gone);
        }
    }

    /// Takes the history out of a manifest; the names of the files that go with it. None while
    /// `aof-disable-auto-gc` keeps them.
    fn aof_superfluous(&self, manifest: &mut Manifest) -> Vec<String> {
        if self.config.aof_disable_auto_gc { Vec::new() } else { manifest.forget_history() }
    }

    /// Begins with a rewrite of the present data.
    fn aof_on(&mut self) {
        self.forget_stale_record();
        self.rooms.aof.state = State::Waiting;
        if let Err(why) =
            self.aof_read_manifest().map_err(|e| e.to_string()).and_then(|()| self.aof_attach())
        {
            hooks::warn(self, &format!("appendonly: {why}"));
            self.rooms.aof.failure = Some(why);
            return;
        }
        self.aof_rewrite_soon();
    }

    /// Opens the folder, and records the stream from here on.
    fn aof_attach(&mut self) -> Result<(), String> {
        self.rooms.replication.state.activate(super::replicate::new_id());
        if self.rooms.aof.disk.is_some() {
            return Ok(());
        }
        let open = self.rooms.aof.open.ok_or("no disk is attached")?;
        let (dir, prefix) = (&self.config.appenddirname, &self.config.appendfilename);
        let mut disk = open(dir, prefix, self.wake.clone())?;
        disk.set_policy(self.aof_policy());
        self.rooms.aof.disk = Some(disk);
        Ok(())
    }

    fn aof_off(&mut self) {
        self.aof_hand_over();
        self.abort_rewrite("appendonly was turned off");
        let aof = &mut self.rooms.aof;
        aof.state = State::Off;
        aof.writing = false;
        aof.failure = None;
        if let Some(mut disk) = aof.disk.take()
            && let Err(why) = disk.wait(Some(Duration::from_secs(5)))
        {
            hooks::warn(self, &format!("the AOF was not written to its end: {why}"));
        }
        self.refuse_local_waits();
    }

    pub fn aof_is_on(&self) -> bool {
        self.rooms.aof.state != State::Off
    }

    /// When the disk's thread makes durable what it wrote. A member that keeps its id says to others
    /// what its disk holds, and answers may wait for that word.
    fn aof_policy(&self) -> Fsync {
        if self.keeps_id() { Fsync::Always } else { self.config.appendfsync }
    }

    /// Whether replies must wait for the disk.
    fn aof_is_strict(&self) -> bool {
        self.rooms.aof.state == State::On && self.config.appendfsync == Fsync::Always
    }

    /// The offset of the stream that this node's disk holds for sure. Beyond every offset unless
    /// `appendfsync always` holds: then a reply that depends on a later offset must wait.
    pub fn aof_fsynced(&self) -> u64 {
        match &self.rooms.aof.disk {
            Some(disk) if self.aof_is_strict() => disk.synced(),
            _ => u64::MAX,
        }
    }

    /// The offset that is durable, whatever the policy: what `REPLCONF ACK … FACK` tells. None
    /// without append-only files, or while no manifest names those that hold these data: a start
    /// would not find them.
    pub fn aof_durable_offset(&self) -> Option<u64> {
        let on = self.rooms.aof.state == State::On;
        self.rooms.aof.disk.as_ref().filter(|_| on).map(|disk| disk.synced())
    }

    /// At the end of each turn, before the backlog is trimmed and replies are written.
    pub(super) fn aof_turn(&mut self) {
        if self.rooms.aof.disk.is_none() {
            self.disk_gates(false);
            return;
        }
        self.aof_hand_over();
        if let (State::Naming(number), Some(disk)) = (self.rooms.aof.state, &self.rooms.aof.disk)
            && disk.committed() >= number
        {
            self.aof_named();
        }
        let aof = &mut self.rooms.aof;
        let Some(disk) = &mut aof.disk else { return };
        if disk.is_failing() != aof.failure.is_some() {
            aof.failure = disk.error();
            let text = match &aof.failure {
                Some(why) => format!("Error writing to the AOF file: {why}"),
                None => "AOF write error looks solved. The server can write again.".into(),
            };
            hooks::warn(self, &text);
        }
        self.aof_tell_durable();
        self.aof_bound_queue();
        self.disk_gates(self.aof_is_strict());
    }

    /// A manifest names the files that hold these data.
    fn aof_named(&mut self) {
        let aof = &mut self.rooms.aof;
        aof.state = State::On;
        // Of an id that is kept the new record takes the place of the mark.
        if std::mem::take(&mut aof.distrusted) && !self.keeps_id() {
            self.forget_stale_record();
        }
    }

    /// More has become durable: whoever waits for that hears of it.
    fn aof_tell_durable(&mut self) {
        let Some(durable) = self.aof_durable_offset() else { return };
        let news = std::mem::replace(&mut self.rooms.aof.told, durable) != durable;
        let member = self.member();
        let unkept = member.identity().keeps && !member.is_kept();
        // Not every turn, where the disk does not take the id; what is durable waits for that.
        let rests = unkept && self.keeper_rests();
        if !news && (!unkept || rests) {
            return;
        }
        if self.is_managed() && !rests {
            self.member_event(Event::Durable { offset: durable });
        }
        self.answer_waits();
        if self.rooms.replication.state.link.is_some() {
            self.acknowledge();
        }
    }

    /// Hands the disk what was added to the stream.
    pub(super) fn aof_hand_over(&mut self) {
        let state = &self.rooms.replication.state;
        let aof = &mut self.rooms.aof;
        let end = state.offset();
        if !aof.writing || aof.sent == end {
            return;
        }
        let mut part = Draft::default();
        if aof.noted != Some(state.history.id) {
            part = Draft::at(&Point {
                history: state.history.clone(),
                offset: aof.sent,
                db: state.stream_db(),
                epoch: None,
            });
            aof.noted = Some(state.history.id);
        }
        let now_s = self.now.unix_us / 1_000_000;
        if self.config.aof_timestamp_enabled && now_s != aof.stamped_s {
            aof.stamped_s = now_s;
            part.push(timestamp_line(now_s).as_bytes());
        }
        let copied =
            part.frame(end - aof.sent, |bytes| state.backlog().copy(aof.sent, usize::MAX, bytes));
        assert_eq!(copied, Some(end), "the backlog is trimmed only behind this reader");
        aof.sent = end;
        aof.disk.as_mut().expect("a file is being written").append(part, end);
    }

    /// Begins an incremental file at the present point of the stream.
    fn aof_begin_file(&mut self, entry: &Entry, keep: u64, named: bool) {
        let epoch = self.is_managed().then(|| self.member().data_epoch().to_string());
        let state = &self.rooms.replication.state;
        let aof = &mut self.rooms.aof;
        let (offset, db) = (state.offset(), state.stream_db());
        let mut head = Draft::at(&Point { history: state.history.clone(), offset, db, epoch });
        // Outside of any frame: it belongs to the file, and not to the stream.
        let mut select = Vec::new();
        encode_command(&mut select, [b"SELECT".as_slice(), db.to_string().as_bytes()]);
        head.push(&select);
        let disk = aof.disk.as_mut().expect("the folder is open");
        disk.begin(entry.name.clone(), keep, named.then(|| aof.manifest.print()));
        disk.append(head, offset);
        aof.sent = offset;
        aof.noted = Some(state.history.id);
        aof.writing = true;
    }

    /// A full resync has replaced the data.
    pub(super) fn aof_data_replaced(&mut self) {
        if !self.aof_is_on() {
            return;
        }
        let aof = &mut self.rooms.aof;
        aof.state = State::Waiting;
        aof.writing = false;
        aof.sent = self.rooms.replication.state.offset();
        self.aof_rewrite_soon();
    }

    /// Too much waits for the disk: commands wait too; but on a replica, whose primary goes on
    /// whatever this disk does, a disk that refuses makes the files begin anew when it recovers.
    fn aof_bound_queue(&mut self) {
        let aof = &mut self.rooms.aof;
        let Some(disk) = &mut aof.disk else { return };
        if disk.queued() < QUEUE_MAX {
            return;
        }
        if !disk.is_failing() && disk.wait(Some(Duration::from_secs(1))).is_ok() {
            return;
        }
        if aof.writing && disk.is_failing() {
            aof.state = State::Waiting;
            aof.writing = false;
            hooks::warn(
                self,
                "the AOF falls too far behind: it is rewritten when the disk recovers",
            );
            self.aof_rewrite_soon();
        }
    }

    /// Why writes are refused, if the files cannot be written.
    pub(super) fn aof_refusal(&self) -> Option<CommandError> {
        let why = self.rooms.aof.failure.as_ref()?;
        Some(format!("MISCONF Errors writing to the AOF file: {why}").into())
    }

    /// Before the process ends: everything is written and durable.
    pub(super) fn aof_finish(&mut self) -> Result<(), String> {
        if !self.aof_is_on() {
            return Ok(());
        }
        if self.rooms.aof.state == State::Waiting {
            self.abort_snapshot();
            self.rewrite_to_end()?;
        }
        self.aof_settle()
    }

    /// Whether a start would find what is there now, by what the files said of themselves.
    pub(super) fn aof_is_believed(&self) -> bool {
        self.rooms.aof.loaded.is_some() && self.rooms.aof.believed
    }

    /// The loaded files are to be replaced by others as soon as possible.
    pub(super) fn aof_distrust(&mut self) {
        self.rooms.aof.distrusted = true;
    }

    pub(super) fn aof_is_distrusted(&self) -> bool {
        self.rooms.aof.distrusted
    }

    /// Makes the log durable as far as it goes, before it returns.
    pub(super) fn aof_sync(&mut self) -> Result<(), String> {
        if self.rooms.aof.state != State::On {
            return Err("no files hold its log now".into());
        }
        self.aof_hand_over();
        let disk = self.rooms.aof.disk.as_mut().ok_or("no disk is attached")?;
        disk.wait(Some(if disk.is_failing() { FAILING_PATIENCE } else { SYNC_PATIENCE }))
    }

    /// Waits until the files hold all that was executed.
    pub(super) fn aof_settle(&mut self) -> Result<(), String> {
        self.aof_hand_over();
        match &mut self.rooms.aof.disk {
            Some(disk) => disk.wait(Some(Duration::from_secs(5))),
            None => Ok(()),
        }
    }
}
