//! What the process knows of one `RedisHA` while it looks after it.
//!
//! Lives in memory only and may be lost at any time. Nothing here decides who may acknowledge.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use switchover::{Link, Notice, Observation, Reason, Role, Status};
use tokio::sync::Notify;

use crate::api::{Names, RedisHA};
use crate::executor::Handle;

/// An observation older than this says nothing about who is in sync.
const OBSERVATION_FRESH: Duration = Duration::from_secs(10);

/// Shared by the loop, the executor's two worlds and the watchers.
#[derive(Debug)]
pub struct Cluster {
    pub names: Names,
    pub uid: String,
    /// Wakes the loop.
    pub wake: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// As last read by quorum.
    object: Option<Arc<RedisHA>>,
    /// What pods are asked to be, once a plan exists.
    asked: Option<String>,
    seen: Option<(Arc<Observation>, Instant)>,
    aborted: Option<(u32, Instant)>,
    held: Option<Held>,
    handle: Option<Handle>,
    has_files: bool,
}

/// A move that cannot start now, as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub reason: Reason,
    pub why: String,
}

impl Cluster {
    pub fn new(names: Names, uid: String) -> Self {
        Self { names, uid, wake: Notify::new(), inner: Mutex::default() }
    }

    pub fn set_object(&self, object: Arc<RedisHA>) {
        self.lock().object = Some(object);
    }

    /// The object as last read.
    pub fn object(&self) -> Option<Arc<RedisHA>> {
        self.lock().object.clone()
    }

    pub fn set_handle(&self, handle: Handle) {
        self.lock().handle = Some(handle);
    }

    /// Something outside changed: wakes the loop and the executor.
    pub fn nudge(&self) {
        self.wake.notify_one();
        if let Some(handle) = &self.lock().handle {
            handle.nudge();
        }
    }

    pub fn set_asked(&self, asked: &str) {
        self.lock().asked = Some(asked.to_owned());
    }

    /// The hash that an up-to-date pod carries; `None` before the first plan.
    pub fn asked(&self) -> Option<String> {
        self.lock().asked.clone()
    }

    /// Every pod has append-only files, and keeps its member's id with them.
    pub fn set_has_files(&self, has_files: bool) {
        self.lock().has_files = has_files;
    }

    /// See [`Self::set_has_files`]; false before anybody was asked.
    pub fn has_files(&self) -> bool {
        self.lock().has_files
    }

    /// Keeps an observation, and wakes the loop when it changes what people are shown.
    pub fn observed(&self, observation: &Observation) {
        let before = {
            let mut inner = self.lock();
            let now = (Arc::new(observation.clone()), Instant::now());
            inner.seen.replace(now)
        };
        if before.is_none_or(|(before, _)| shown(&before) != shown(observation)) {
            self.wake.notify_one();
        }
    }

    /// The last observation, if it is fresh.
    pub fn observation(&self) -> Option<Arc<Observation>> {
        let inner = self.lock();
        let (observation, at) = inner.seen.as_ref()?;
        (at.elapsed() < OBSERVATION_FRESH).then(|| Arc::clone(observation))
    }

    /// How many attempts were given up in a row, and how long ago the last was.
    pub fn aborted(&self) -> Option<(u32, Duration)> {
        self.lock().aborted.map(|(count, at)| (count, at.elapsed()))
    }

    /// What holds up a move now.
    pub fn held(&self) -> Option<Held> {
        self.lock().held.clone()
    }

    /// Forgets what held up a move, because nobody wishes it any more.
    pub fn release_hold(&self) {
        self.lock().held = None;
    }

    /// Keeps what later decisions and conditions need of a notice, and wakes the loop.
    pub fn notice(&self, notice: &Notice) {
        let mut inner = self.lock();
        match notice {
            Notice::SwitchoverAborted { .. } => {
                let count = inner.aborted.map_or(0, |(count, _)| count);
                inner.aborted = Some((count + 1, Instant::now()));
            }
            Notice::Held { request, why } => {
                inner.held = Some(Held { reason: request.reason, why: why.to_string() });
            }
            Notice::SwitchoverStarted { .. } => inner.held = None,
            Notice::SwitchoverCompleted { .. } | Notice::FailoverCompleted { .. } => {
                inner.aborted = None;
                inner.held = None;
            }
            Notice::Bootstrapped { .. }
            | Notice::FailoverStarted { .. }
            | Notice::Waiting { .. } => {}
        }
        drop(inner);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of this lock panics")
    }
}

/// Whether a member's own word says that it is the arbiter's primary or follows it in sync.
pub fn in_sync(observation: &Observation, status: &Status) -> bool {
    let Some(primary) = &observation.arbiter.primary else {
        return false;
    };
    match status.role {
        Role::Primary => status.member == primary.member,
        Role::Follower => status.link == Link::Up && status.primary_member == primary.member,
        Role::Fenced | Role::Limbo | Role::Unmanaged => false,
    }
}

/// What of an observation reaches people; offsets change all the time and do not.
fn shown(observation: &Observation) -> impl PartialEq + use<> {
    let arbiter = &observation.arbiter;
    let members: Vec<_> = observation
        .members
        .iter()
        .map(|seen| {
            let role = seen.status.as_ref().map(|s| (s.role, s.member.clone(), s.draining));
            let synced = seen.status.as_ref().is_some_and(|s| in_sync(observation, s));
            (seen.name.clone(), seen.label, role, synced)
        })
        .collect();
    (arbiter.version, observation.request.clone(), members)
}
