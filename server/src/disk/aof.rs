//! The folder of the append-only files: one thread writes them, in the order of what it is told.
//!
//! A slow disk delays no command. What cannot be written now (a full disk, an I/O error) is tried
//! again until it can be; meanwhile nothing that comes later is written, the failure is told, and
//! what a failed write left behind is cut off again, so that no file is ever torn in the middle.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::aof::{AofDisk, Fsync};
use crate::log;
use crate::persistence::aof::{Draft, Manifest, Sums};

use super::{DiskError, save};

/// How often `everysec` makes durable what was written.
const PERIOD: Duration = Duration::from_secs(1);
/// The rest after a failure.
const RETRY: Duration = Duration::from_millis(100);

/// What the thread is to do, in order.
enum Work {
    /// A part of the present file, and the offset of the stream behind it.
    Append(Draft, u64),
    /// Go over to this file, of which so many bytes are kept, and name it in the manifest.
    Begin { name: String, keep: u64, manifest: Option<String> },
    /// Make durable all before it, write the manifest, then remove these files.
    Commit { manifest: String, remove: Vec<String> },
    /// Make durable all before it; the number is told back.
    Sync(u64),
}

/// What both threads see.
struct Shared {
    policy: AtomicU8,
    written: AtomicU64,
    synced: AtomicU64,
    queued: AtomicUsize,
    /// How many manifests of [`Work::Commit`] are durable.
    committed: AtomicU64,
    size: AtomicU64,
    /// The slowest write and sync since they were last asked for, in microseconds.
    slowest: [AtomicU64; 2],
    error: Mutex<Option<String>>,
    failing: AtomicBool,
    /// The number of the last [`Work::Sync`] that was done.
    ticket: Mutex<u64>,
    changed: Condvar,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Shared {
    fn set_error(&self, error: Option<String>) {
        self.failing.store(error.is_some(), Ordering::Release);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.changed.notify_all();
    }

    fn advance_synced(&self) {
        let written = self.written.load(Ordering::Acquire);
        if self.synced.swap(written, Ordering::AcqRel) != written {
            // Taken once, so that who is about to wait does not miss it.
            drop(self.ticket.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_all();
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

/// The engine's end.
struct Folder {
    work: Sender<Work>,
    shared: Arc<Shared>,
    tickets: u64,
    commits: u64,
}

/// Where the files are and what their names begin with.
#[derive(Clone, Debug)]
pub struct Place {
    pub dir: PathBuf,
    /// The value of `appendfilename`.
    pub prefix: String,
}

/// Starts the writing thread. `wake` is called when more has become durable.
pub fn open(
    dir: &str,
    prefix: &str,
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
) -> Result<Box<dyn AofDisk>, String> {
    let place = Place { dir: PathBuf::from(dir), prefix: prefix.to_owned() };
    fs::create_dir_all(&place.dir).map_err(|e| format!("{dir}: {e}"))?;
    let shared = Arc::new(Shared {
        policy: AtomicU8::new(Fsync::EverySec as u8),
        written: AtomicU64::new(0),
        synced: AtomicU64::new(0),
        queued: AtomicUsize::new(0),
        committed: AtomicU64::new(0),
        size: AtomicU64::new(0),
        slowest: [AtomicU64::new(0), AtomicU64::new(0)],
        error: Mutex::new(None),
        failing: AtomicBool::new(false),
        ticket: Mutex::new(0),
        changed: Condvar::new(),
        wake,
    });
    let (work, inbox) = channel();
    let writer = Writer {
        place,
        shared: Arc::clone(&shared),
        file: None,
        sums: Sums::default(),
        size: 0,
        dirty: false,
        synced_at: Instant::now(),
    };
    std::thread::Builder::new()
        .name("aof".into())
        .spawn(move || writer.run(&inbox))
        .map_err(|e| format!("no thread for the append-only files: {e}"))?;
    Ok(Box::new(Folder { work, shared, tickets: 0, commits: 0 }))
}

impl Folder {
    fn send(&mut self, work: Work) {
        // The thread ends only after this end is dropped, or by a panic, which ends the process.
        let _ = self.work.send(work);
    }
}

impl AofDisk for Folder {
    fn append(&mut self, part: Draft, end: u64) {
        self.shared.queued.fetch_add(part.len(), Ordering::Relaxed);
        self.send(Work::Append(part, end));
    }

    fn begin(&mut self, name: String, keep: u64, manifest: Option<String>) {
        self.send(Work::Begin { name, keep, manifest });
    }

    fn commit(&mut self, manifest: String, remove: Vec<String>) -> u64 {
        self.commits += 1;
        self.send(Work::Commit { manifest, remove });
        self.commits
    }

    fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Acquire)
    }

    fn set_policy(&mut self, policy: Fsync) {
        self.shared.policy.store(policy as u8, Ordering::Relaxed);
        // What was written under the old policy must not wait for the next write: answers may.
        self.tickets += 1;
        self.send(Work::Sync(self.tickets));
    }

    fn synced(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    fn queued(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    fn size(&self) -> u64 {
        self.shared.size.load(Ordering::Relaxed)
    }

    fn take_slowest(&mut self) -> (u64, u64) {
        let [write, sync] = &self.shared.slowest;
        (write.swap(0, Ordering::Relaxed), sync.swap(0, Ordering::Relaxed))
    }

    fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Acquire)
    }

    fn error(&self) -> Option<String> {
        self.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait(&mut self, patience: Option<Duration>) -> Result<(), String> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.send(Work::Sync(ticket));
        let start = Instant::now();
        let mut done = self.shared.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        while *done < ticket {
            let left = patience.map_or(RETRY, |all| all.saturating_sub(start.elapsed()));
            if left.is_zero() {
                let why = self.error();
                return Err(why.unwrap_or_else(|| "the disk is too slow".into()));
            }
            let wait = self.shared.changed.wait_timeout(done, left.min(RETRY));
            done = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

/// The thread's state.
struct Writer {
    place: Place,
    shared: Arc<Shared>,
    file: Option<File>,
    /// The checksums of its frames. Each file begins with a part that begins them anew.
    sums: Sums,
    /// Bytes of the present file that are whole.
    size: u64,
    /// Something was written and not synced.
    dirty: bool,
    synced_at: Instant,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Work>) {
        loop {
            let work = if self.dirty && self.policy() == Fsync::EverySec {
                let left = PERIOD.saturating_sub(self.synced_at.elapsed());
                match inbox.recv_timeout(left) {
                    Ok(work) => Some(work),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match inbox.recv() {
                    Ok(work) => Some(work),
                    Err(_) => break,
                }
            };
            if let Some(work) = work {
                self.batch(work, inbox);
            }
            if self.policy() == Fsync::EverySec && self.synced_at.elapsed() >= PERIOD {
                self.sync();
            }
        }
        self.sync();
    }

    fn policy(&self) -> Fsync {
        match self.shared.policy.load(Ordering::Relaxed) {
            policy if policy == Fsync::Always as u8 => Fsync::Always,
            policy if policy == Fsync::No as u8 => Fsync::No,
            _ => Fsync::EverySec,
        }
    }

    /// Does what waits, so that one sync serves all of it.
    fn batch(&mut self, first: Work, inbox: &Receiver<Work>) {
        let mut next = Some(first);
        let mut bytes = 0;
        while let Some(work) = next {
            match work {
                Work::Append(part, end) => {
                    let part = self.sums.seal(part);
                    bytes += part.len();
                    self.until_done(|writer| writer.append(&part));
                    self.shared.queued.fetch_sub(part.len(), Ordering::Relaxed);
                    self.shared.written.store(end, Ordering::Release);
                }
                Work::Begin { name, keep, manifest } => {
                    self.sync();
                    self.until_done(|writer| writer.begin(&name, keep, manifest.as_deref()));
                }
                Work::Commit { manifest, remove } => {
                    self.sync();
                    self.until_done(|writer| writer.commit(&manifest, &remove));
                    self.shared.committed.fetch_add(1, Ordering::AcqRel);
                    self.shared.wake();
                }
                Work::Sync(ticket) => {
                    self.sync();
                    *self.shared.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket;
                    self.shared.changed.notify_all();
                }
            }
            next = if bytes < 1 << 20 { inbox.try_recv().ok() } else { None };
        }
        if self.policy() == Fsync::Always {
            self.sync();
        }
    }

    /// Tries until it works; the failure can be seen meanwhile.
    fn until_done(&mut self, mut work: impl FnMut(&mut Self) -> io::Result<()>) {
        let mut failed = false;
        while let Err(error) = work(self) {
            failed = true;
            self.shared.set_error(Some(super::reason(&error)));
            std::thread::sleep(RETRY);
        }
        if failed {
            self.shared.set_error(None);
        }
    }

    fn append(&mut self, part: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let end = self.size + part.len() as u64;
        let begun = Instant::now();
        let written = file.write_all(part);
        note_longest(&self.shared.slowest[0], begun);
        if let Err(error) = written {
            // What is there of it must not stay: the next attempt begins where this one did.
            file.set_len(self.size)?;
            file.seek(SeekFrom::Start(self.size))?;
            return Err(error);
        }
        self.size = end;
        self.dirty = true;
        self.shared.size.store(end, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&mut self, name: &str, keep: u64, manifest: Option<&str>) -> io::Result<()> {
        let path = self.place.dir.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.set_len(keep)?;
        file.seek(SeekFrom::Start(keep))?;
        let folder = File::open(&self.place.dir)?;
        if let Err(error) = file.sync_all().and_then(|()| folder.sync_all()) {
            self.end_process(&error);
        }
        if let Some(manifest) = manifest {
            write_manifest(&self.place, manifest)?;
        }
        self.file = Some(file);
        self.size = keep;
        self.shared.size.store(keep, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&mut self, manifest: &str, remove: &[String]) -> io::Result<()> {
        write_manifest(&self.place, manifest)?;
        for name in remove {
            match fs::remove_file(self.place.dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes durable what was written. A failed sync may have lost pages that later ones do not
    /// write again, so it is never taken for done: the process ends, and loads what is there, under
    /// another member id.
    fn sync(&mut self) {
        self.synced_at = Instant::now();
        if std::mem::take(&mut self.dirty)
            && let Some(file) = &self.file
        {
            if let Err(error) = file.sync_data() {
                self.end_process(&error);
            }
            note_longest(&self.shared.slowest[1], self.synced_at);
        }
        self.shared.advance_synced();
    }

    /// A sync has failed.
    fn end_process(&self, error: &io::Error) -> ! {
        log::write_last(&format!("the append-only file could not be made durable: {error}"));
        self.shared.set_error(Some(super::reason(error)));
        super::identity::distrust(&self.place.dir);
        std::process::abort()
    }
}

fn note_longest(longest: &AtomicU64, begun: Instant) {
    let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    longest.fetch_max(us, Ordering::Relaxed);
}

/// Replaces the manifest as a whole.
fn write_manifest(place: &Place, text: &str) -> io::Result<()> {
    save::put(&place.dir, "manifest", &Manifest::file_name(&place.prefix), text.as_bytes())
}

/// The files of the folder, or none if there is no manifest. A single file of the form before
/// manifests is taken into the folder as the base.
pub fn find(place: &Place, parent: &Path) -> Result<Option<Manifest>, DiskError> {
    let path = place.dir.join(Manifest::file_name(&place.prefix));
    let unread = |source| DiskError::Read { path: path.clone(), source };
    if place.dir.is_dir() {
        save::remove_temporary(&place.dir).map_err(unread)?;
    }
    let old = parent.join(&place.prefix);
    match fs::read(&path) {
        Ok(text) => {
            let manifest = Manifest::parse(&text)
                .map_err(|source| DiskError::Manifest { path: path.clone(), source })?;
            let moving = manifest.base.as_ref().is_some_and(|base| base.name == place.prefix);
            if moving && old.is_file() && !place.dir.join(&place.prefix).exists() {
                fs::rename(&old, place.dir.join(&place.prefix)).map_err(unread)?;
            }
            return Ok(Some(manifest));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unread(error)),
    }
    if !old.is_file() {
        return Ok(None);
    }
    fs::create_dir_all(&place.dir).map_err(unread)?;
    let base = crate::persistence::aof::Entry { name: place.prefix.clone(), seq: 1 };
    let manifest = Manifest { base: Some(base), ..Manifest::default() };
    // The manifest first: should the process end between the two, the move is made next time.
    write_manifest(place, &manifest.print()).map_err(unread)?;
    fs::rename(&old, place.dir.join(&place.prefix)).map_err(unread)?;
    Ok(Some(manifest))
}

/// A file to be loaded and its length.
pub fn open_file(path: &Path) -> Result<(Box<dyn Read>, u64), DiskError> {
    let failed = |source| DiskError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((Box::new(file), length))
}
