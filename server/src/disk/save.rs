//! Writing a save on a thread of its own, so that neither a slow disk nor compression nor checksums
//! delay a command.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::replicate::{SaveTarget, Wake};
use crate::persistence::rdb::{Draft, Form, Sealer};

/// Bytes that may wait for the disk before the snapshot pauses.
const QUEUED_MAX: usize = 4 * 1024 * 1024;

/// How long who waits for room rests before it looks again.
const ROOM_REST: std::time::Duration = std::time::Duration::from_millis(1);
/// Bytes after which what was written is brought to the disk, so that the last sync is short and
/// the system never holds much that is not written.
const SYNC_EACH: usize = 4 * 1024 * 1024;

const PREFIX: &str = "temp-redisha-";

/// Makes each save's temporary file its own: one that was given up may still remove its file when
/// the next has begun.
static SAVES: AtomicUsize = AtomicUsize::new(0);

/// The name of a file that is not whole yet.
pub fn temporary_name(what: &str) -> String {
    format!("{PREFIX}{}-{what}", std::process::id())
}

pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Removes what interrupted saves left in a folder.
pub fn remove_temporary(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

enum Message {
    Part(Draft, Place),
    Commit,
}

/// The drafts that wait for the thread.
struct Queue {
    bytes: AtomicUsize,
    /// Told when there is room again.
    wake: Wake,
}

/// The place that a draft has in the queue, until it is written or nobody will write it any more.
struct Place {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Place {
    fn take(queue: &Arc<Queue>, bytes: usize) -> Self {
        queue.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { queue: Arc::clone(queue), bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if (before - self.bytes..before).contains(&(QUEUED_MAX / 2)) {
            (self.queue.wake)();
        }
    }
}

/// The engine's end of a save.
struct FileSave {
    messages: Sender<Message>,
    result: Receiver<Result<u64, String>>,
    queue: Arc<Queue>,
    /// Nobody waits for this save any more. Whoever makes a file the data's holds it meanwhile.
    given_up: Arc<Mutex<bool>>,
}

/// One that was given up, though it was only to be made durable any more, must not take the name
/// from another that was begun since.
impl Drop for FileSave {
    fn drop(&mut self) {
        *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Begins a save into `dir`; the file takes the name only when it is whole and durable.
pub fn open(
    dir: &str,
    name: &str,
    form: Form,
    wake: Option<Wake>,
) -> Result<Box<dyn SaveTarget>, String> {
    let number = SAVES.fetch_add(1, Ordering::Relaxed);
    let temporary = Path::new(dir).join(temporary_name(&format!("save-{number}")));
    open_by(temporary, Path::new(dir).join(name), form, wake)
}

/// As [`open`], by way of this temporary file.
pub(super) fn open_by(
    temporary: PathBuf,
    target: PathBuf,
    form: Form,
    wake: Option<Wake>,
) -> Result<Box<dyn SaveTarget>, String> {
    let file = File::create(&temporary).map_err(|e| format!("{}: {e}", temporary.display()))?;
    let (messages, inbox) = channel();
    let (outbox, result) = channel();
    let given_up = Arc::new(Mutex::new(false));
    let over = Arc::clone(&given_up);
    let wake = wake.unwrap_or_else(|| Arc::new(|| ()));
    let queue = Arc::new(Queue { bytes: AtomicUsize::new(0), wake: Arc::clone(&wake) });
    let work = move || {
        let written = write(inbox, file, Sealer::new(form));
        let over = over.lock().unwrap_or_else(PoisonError::into_inner);
        let done = written.and_then(|bytes| match bytes {
            Some(bytes) if !*over => replace(&temporary, &target).map(|()| bytes),
            _ => Ok(0),
        });
        drop(over);
        if fs::exists(&temporary).unwrap_or(false) {
            // It stays behind only if the disk refuses; the next start removes it.
            let _ = fs::remove_file(&temporary);
        }
        // The engine may have given this save up: then nobody listens.
        let _ = outbox.send(done.map_err(|e| format!("{}: {e}", target.display())));
        wake();
    };
    std::thread::Builder::new()
        .name("save".into())
        .spawn(work)
        .map_err(|e| format!("no thread for the save: {e}"))?;
    Ok(Box::new(FileSave { messages, result, queue, given_up }))
}

/// The thread's end: writes the parts as they come, and returns the bytes written, or none if the save
/// was given up before its end. However it ends, nothing waits for it in the inbox any more.
fn write(inbox: Receiver<Message>, mut file: File, mut sealer: Sealer) -> io::Result<Option<u64>> {
    let (mut bytes, mut unsynced) = (0, 0);
    for message in inbox {
        let Message::Part(draft, _place) = message else {
            file.sync_all()?;
            return Ok(Some(bytes));
        };
        let part = sealer.seal(draft);
        file.write_all(&part)?;
        bytes += part.len() as u64;
        unsynced += part.len();
        if unsynced >= SYNC_EACH {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    Ok(None)
}

/// Puts a small file into a folder in the place of the last one, whole or not at all; returns when it
/// is durable. `what` tells its temporary name from others'.
pub(super) fn put(dir: &Path, what: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(temporary_name(what));
    let mut file = File::create(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let put = written.and_then(|()| replace(&temporary, &dir.join(name)));
    if put.is_err() {
        // It stays behind only if the disk refuses; the next start removes it.
        let _ = fs::remove_file(&temporary);
    }
    put
}

/// Gives the whole file its name and makes the name durable.
fn replace(temporary: &Path, target: &Path) -> io::Result<()> {
    fs::rename(temporary, target)?;
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

impl SaveTarget for FileSave {
    fn has_room(&self) -> bool {
        self.queue.bytes.load(Ordering::Relaxed) < QUEUED_MAX
    }

    fn write(&mut self, part: Draft) {
        let place = Place::take(&self.queue, part.len());
        // A writer that has failed says why in `poll`; what it does not take has no place.
        let _ = self.messages.send(Message::Part(part, place));
    }

    fn wait_room(&mut self) {
        // One whose thread has ended has room: nothing that it was sent is left.
        while !self.has_room() {
            std::thread::park_timeout(ROOM_REST);
        }
    }

    fn commit(&mut self) {
        let _ = self.messages.send(Message::Commit);
    }

    fn poll(&mut self) -> Option<Result<u64, String>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the writing thread has ended".into())),
        }
    }

    fn wait(&mut self) -> Result<u64, String> {
        self.result.recv().unwrap_or_else(|_| Err("the writing thread has ended".into()))
    }
}
