//! A disk that fails at a moment of the test's choice: calls that write or sync are held, or end with an error.
//!
//! The kernel itself asks (seccomp with user notification, see seccomp(2) and `seccomp_unotify(2)`): a
//! filter hands those calls of a process to this one, which lets them go on, keeps them waiting, or has
//! them return an error without being done. The server is the program that users run, unchanged.
//!
//! The filter belongs to the thread that starts the server, so the server inherits it from its first
//! instruction on, and the listening end never leaves this process.
#![allow(unsafe_code)] // The system calls of seccomp have no safe form; each one passes on a value that lives here.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow};
use libc::{c_long, seccomp_data, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};

/// All calls by which a program has the kernel bring a file to the disk.
const SYNCS: [c_long; 4] =
    [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range, libc::SYS_syncfs];
const WRITES: [c_long; 3] = [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64];

/// What a call asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Sync,
    Write,
}

/// What the calls that a rule is about meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They wait for the next rule.
    Held,
    /// They are not done, and return this error, such as `libc::EIO`.
    Fails(i32),
    /// The first one does, and the next ones wait.
    FailsOnce(i32),
}

struct Rule {
    call: Call,
    /// A part of the file's or folder's own name.
    name: &'static str,
    fate: Fate,
}

/// What a failed sync did not bring to the disk: the file, and from where to where. Such bytes can
/// still be read until the system forgets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub path: PathBuf,
    pub from: u64,
    pub to: u64,
}

impl Lost {
    /// The system has forgotten them, as it does at the latest when power is lost. True if the file is
    /// still there.
    pub fn happens(&self) -> Result<bool> {
        if !self.path.exists() {
            return Ok(false);
        }
        let mut bytes = fs::read(&self.path)?;
        let end = bytes.len().min(self.to as usize);
        bytes.get_mut(self.from as usize..end).context("a part of the file")?.fill(0);
        fs::write(&self.path, bytes)?;
        Ok(true)
    }
}

/// A call that waits for an answer.
struct Asked {
    id: u64,
    call: Call,
    path: PathBuf,
}

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    held: Vec<Asked>,
    /// How long each file was at its last sync that was let through.
    synced: HashMap<PathBuf, u64>,
    lost: Vec<Lost>,
    failed: usize,
}

struct Shared {
    listener: OwnedFd,
    state: Mutex<State>,
}

/// The disk of all processes that were started under it.
pub struct FailingDisk {
    shared: Arc<Shared>,
}

impl FailingDisk {
    /// Runs `work`; whatever processes it starts have this disk, which works until it is told otherwise.
    /// None, after saying so aloud, where the kernel does not allow it.
    pub fn under<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<Option<(T, Self)>> {
        let (tell, told) = channel();
        let (begin, begun) = channel::<()>();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let installed = install();
                let is_installed = installed.is_ok();
                tell.send(installed)?;
                if !is_installed {
                    return Ok(None);
                }
                // Until somebody answers this thread's own calls.
                begun.recv()?;
                work().map(Some)
            });
            let listener = match told.recv()? {
                Ok(listener) => listener,
                Err(error) => {
                    eprintln!("SKIPPED: no user notification of seccomp here: {error}");
                    return Ok(None);
                }
            };
            let shared = Arc::new(Shared { listener, state: Mutex::default() });
            let answering = Arc::clone(&shared);
            thread::spawn(move || answering.serve());
            begin.send(())?;
            let done = inside.join().map_err(|_| anyhow!("the work panicked"))??;
            Ok(done.map(|done| (done, Self { shared })))
        })
    }

    /// From now on such calls on files whose name has this part meet this fate; those that waited, too,
    /// if they are such, and go on otherwise.
    pub fn set(&self, call: Call, name: &'static str, fate: Fate) {
        self.rule(Some(Rule { call, name, fate }));
    }

    /// It works again. What waited goes on.
    pub fn heal(&self) {
        self.rule(None);
    }

    fn rule(&self, rule: Option<Rule>) {
        let mut state = self.shared.state();
        state.rule = rule;
        for asked in std::mem::take(&mut state.held) {
            self.shared.decide(&mut state, asked);
        }
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        self.shared.state().held.len()
    }

    /// How many calls have returned an error.
    pub fn failed(&self) -> usize {
        self.shared.state().failed
    }

    /// What failed syncs did not bring to the disk.
    pub fn lost(&self) -> Vec<Lost> {
        self.shared.state().lost.clone()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers calls until no process is left that could make one.
    fn serve(&self) {
        while let Some(notice) = self.receive() {
            let call = if SYNCS.contains(&c_long::from(notice.data.nr)) {
                Call::Sync
            } else {
                Call::Write
            };
            let link = format!("/proc/{}/fd/{}", notice.pid, notice.data.args[0]);
            // Whoever was killed in between is not waiting for an answer.
            let path = fs::read_link(link).unwrap_or_default();
            let mut state = self.state();
            self.decide(&mut state, Asked { id: notice.id, call, path });
        }
    }

    /// The next call; none if nobody is left.
    fn receive(&self) -> Option<seccomp_notif> {
        loop {
            let fd = self.listener.as_raw_fd();
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry that lives through the call.
            let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
            if ready == 1 && poll.revents & libc::POLLIN == 0 {
                return None;
            }
            let data = seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
            let mut notice = seccomp_notif { id: 0, pid: 0, flags: 0, data };
            // SAFETY: the kernel fills a value of the size that the request's number tells.
            if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) } == 0 {
                return Some(notice);
            }
            // Interrupted, or the caller has ended in between.
        }
    }

    fn decide(&self, state: &mut State, asked: Asked) {
        let name = asked.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let fits = |rule: &&Rule| {
            rule.call == asked.call && name.as_ref().is_some_and(|name| name.contains(rule.name))
        };
        match state.rule.as_ref().filter(fits).map(|rule| rule.fate) {
            Some(Fate::Held) => state.held.push(asked),
            Some(fate @ (Fate::Fails(error) | Fate::FailsOnce(error))) => {
                if let (Fate::FailsOnce(_), Some(rule)) = (fate, &mut state.rule) {
                    rule.fate = Fate::Held;
                }
                state.failed += 1;
                if asked.call == Call::Sync && asked.path.is_file() {
                    let from = state.synced.get(&asked.path).copied().unwrap_or(0);
                    let to = length(&asked.path);
                    state.lost.push(Lost { path: asked.path.clone(), from, to });
                }
                self.answer(asked.id, -error, 0);
            }
            None => {
                if asked.call == Call::Sync {
                    state.synced.insert(asked.path.clone(), length(&asked.path));
                }
                self.answer(asked.id, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
            }
        }
    }

    fn answer(&self, id: u64, error: i32, flags: u32) {
        let mut answer = seccomp_notif_resp { id, val: 0, error, flags };
        let fd = self.listener.as_raw_fd();
        // SAFETY: the kernel reads a value of the size that the request's number tells. It fails if the
        // caller has ended meanwhile, who needs no answer.
        unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}

/// Gives this thread, and whoever it starts, the filter. The end at which their calls are answered.
fn install() -> io::Result<OwnedFd> {
    let calls: Vec<c_long> = SYNCS.into_iter().chain(WRITES).collect();
    let step =
        |code: u32, k: u32, jt: usize| sock_filter { code: code as u16, jt: jt as u8, jf: 0, k };
    // The call's number is the first field of what a filter sees. One of ours jumps to the last step.
    let mut steps = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (at, call) in calls.iter().enumerate() {
        let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        steps.push(step(jump, *call as u32, calls.len() - at));
    }
    steps.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    steps.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0));
    let program = sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // Without it only root may install one.
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies the program, whose steps live until the end of this function.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just made and is nobody's else.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}
