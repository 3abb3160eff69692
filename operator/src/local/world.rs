//! A whole local environment, as `redisha local` and the drill start it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use switchover::{Arbiter, Role};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::arbiter::FileArbiter;
use super::directory::{Files, Labels, Tell};
use super::fleet::{Fleet, FleetError};
use super::front;
use super::layout::{Held, Layout, LayoutError};
use super::process::Recipe;
use crate::api::Durability;
use crate::executor::{Executor, Handle, status_of};

/// A first primary must be there by then, with its replicas in sync.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What an environment is made of.
pub struct Options {
    /// Its folder.
    pub root: PathBuf,
    /// Whether the folder goes when the environment ends.
    pub temporary: bool,
    /// The front door's port on 127.0.0.1; 0 lets the kernel choose.
    pub port: u16,
    /// The server program.
    pub program: PathBuf,
    /// Whether this process also runs the executor.
    pub executor: bool,
    /// What an answer promises.
    pub durability: Durability,
    /// Where news for people go.
    pub tell: Tell,
}

/// Why an environment did not start. Each is one line that names its remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    #[error(
        "port {0} on 127.0.0.1 is taken: end what listens there, or choose another with --port"
    )]
    PortTaken(u16),
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen { port: u16, source: io::Error },
    #[error("cannot start the executor's thread: {0}")]
    Executor(io::Error),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Fleet(#[from] FleetError),
    #[error("no primary with two replicas in sync within {} s: {why}", READY_WITHIN.as_secs())]
    NotReady { why: String },
}

/// A running environment.
pub struct World {
    pub layout: Layout,
    /// The front door's port.
    pub port: u16,
    recipe: Recipe,
    temporary: bool,
    fleet: Fleet,
    front: JoinHandle<()>,
    executing: Option<Executing>,
    _held: Held,
}

impl World {
    /// Starts everything, and returns once a primary with its replicas in sync is there. When
    /// `interrupted` resolves first, everything is ended again.
    pub async fn start(
        options: Options,
        interrupted: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Self, WorldError> {
        let listener = listen(options.port).await?;
        let port = listener.local_addr().map_or(options.port, |address| address.port());
        let layout = Layout::at(&options.root);
        let held = layout.hold()?;
        let recipe = Recipe {
            program: options.program,
            uid: layout.uid()?,
            secret: layout.secret()?,
            layout: layout.clone(),
            durability: options.durability,
            // Clients that move are led to the front door, as those that come.
            directives: vec![("announce-endpoint".to_owned(), format!("127.0.0.1:{port}"))],
        };
        let tell = Arc::new(options.tell);
        let fleet = match Fleet::start(recipe.clone(), Arc::clone(&tell), interrupted).await {
            Ok(fleet) => fleet,
            Err(error) => {
                remove(&layout, options.temporary);
                return Err(error.into());
            }
        };
        let front = tokio::spawn(front::serve(listener, layout.clone()));
        let temporary = options.temporary;
        let mut world =
            Self { layout, port, recipe, temporary, fleet, front, executing: None, _held: held };
        if !options.executor {
            return Ok(world);
        }
        match execute(&world.recipe, Box::new(move |line| tell(line))) {
            Ok(executing) => world.executing = Some(executing),
            Err(error) => {
                world.end().await;
                return Err(WorldError::Executor(error));
            }
        }
        let failed = tokio::select! {
            ready = world.ready(READY_WITHIN) => match ready {
                Ok(()) => return Ok(world),
                Err(why) => WorldError::NotReady { why },
            },
            () = interrupted => FleetError::Interrupted.into(),
        };
        world.end().await;
        Err(failed)
    }

    /// Wakes the executor of this process.
    pub fn nudge(&self) {
        if let Some(executing) = &self.executing {
            executing.handle.nudge();
        }
    }

    /// The arbiter as it was written last.
    pub fn arbiter(&self) -> Option<Arbiter> {
        FileArbiter::new(&self.layout, &self.recipe.uid).load().ok()
    }

    /// The recipe of its servers, which also makes clients of them.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Waits until there is a primary, every other server follows it in sync, and the front door
    /// leads there; the error says what is missing.
    pub async fn ready(&self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        loop {
            match self.lacks().await {
                None => return Ok(()),
                Some(why) if Instant::now() >= until => return Err(why),
                Some(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn lacks(&self) -> Option<String> {
        let Some(address) = Labels::read(&self.layout).address else {
            return Some("no server is labelled primary".to_owned());
        };
        let status = match status_of(&self.recipe.client(&address)).await {
            Ok(status) => status,
            Err(why) => return Some(why),
        };
        if status.role != Role::Primary {
            return Some(format!("{address} is {}", status.role));
        }
        let online = status.replicas.iter().filter(|replica| replica.online).count();
        (online + 1 < Layout::names().len())
            .then(|| format!("{address} has {online} replicas in sync"))
    }

    /// Ends everything that was started.
    pub async fn end(self) {
        drop(self.executing);
        self.front.abort();
        self.fleet.end(!self.temporary).await;
        remove(&self.layout, self.temporary);
    }
}

async fn listen(port: u16) -> Result<TcpListener, WorldError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => WorldError::PortTaken(port),
        _ => WorldError::Listen { port, source },
    })
}

fn remove(layout: &Layout, temporary: bool) {
    if temporary && let Err(error) = fs::remove_dir_all(layout.root()) {
        tracing::warn!(%error, folder = %layout.root().display(), "cannot be removed");
    }
}

/// An executor on a thread of its own. Ends when this is dropped.
pub struct Executing {
    pub handle: Handle,
    _end: oneshot::Sender<()>,
}

/// Starts an executor over the files of an environment. It has a thread and a runtime of its own,
/// so that the steps of a pause never queue behind the front door's or a drill's connections.
pub fn execute(recipe: &Recipe, tell: Tell) -> io::Result<Executing> {
    let store = FileArbiter::new(&recipe.layout, &recipe.uid);
    let directory = Files::new(&recipe.layout, recipe.durability, tell);
    let executor = Executor::new(store, directory, &recipe.secret);
    let handle = executor.handle();
    let watch = watch_requests(recipe.layout.clone(), handle.clone());
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("executor".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                () = executor.run() => {}
                () = watch => {}
                // An error is the sender's drop, which is how the end is told.
                _ = ended => {}
            }
        });
    })?;
    Ok(Executing { handle, _end: end })
}

/// Wakes the executor when another process has written a request.
async fn watch_requests(layout: Layout, handle: Handle) {
    let mut seen = changed_at(&layout.request());
    loop {
        sleep(Duration::from_millis(50)).await;
        let now = changed_at(&layout.request());
        if now != seen {
            seen = now;
            handle.nudge();
        }
    }
}

fn changed_at(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}
