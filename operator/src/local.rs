//! Three servers on this machine, switched by the same executor that runs in a cluster.
//!
//! `redisha local` starts servers, a front door and an executor; its other commands act on a
//! running one through the files in its folder. Ctrl-C ends everything that was started.

pub mod arbiter;
pub mod control;
pub mod directory;
mod fleet;
mod front;
pub mod layout;
mod process;
pub mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use directory::Tell;
use layout::Layout;
use process::Recipe;
use world::{Options, World};

use crate::api::Durability;

/// Redis's own port.
const DEFAULT_PORT: u16 = 6379;

/// Arguments of `redisha local`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The port of the front door on 127.0.0.1, which always leads to the primary.
    #[arg(long, default_value_t = DEFAULT_PORT, global = true)]
    port: u16,
    /// A folder that keeps the data; without it they go when the environment ends.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    /// The server program; without it the one beside this program.
    #[arg(long, env = "REDISHA_SERVER_BIN")]
    server: Option<PathBuf>,
    #[command(flatten)]
    promise: Promise,
    /// For tests: leave the switching to `redisha local execute`.
    #[arg(long, hide = true)]
    no_executor: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

/// For whom runs the servers or the executor: to the other commands they are what they are.
#[derive(Debug, clap::Args)]
struct Promise {
    /// When a write is answered: when two servers hold it (the default), at once, or when two have it on
    /// disk.
    #[arg(long, value_enum)]
    durability: Option<Durability>,
}

impl Promise {
    fn durability(&self) -> Durability {
        self.durability.unwrap_or_default()
    }
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the servers of a running environment.
    Status,
    /// Move the primary.
    Switchover {
        /// The server that shall become primary; without it the best one.
        #[arg(long)]
        to: Option<String>,
    },
    /// Kill a server outright, the primary if none is named; it comes back by itself.
    Kill {
        /// The server's name.
        name: Option<String>,
    },
    /// For tests: run an executor, and nothing else, over a running environment.
    #[command(hide = true)]
    Execute(Promise),
}

impl Args {
    /// Why these arguments cannot be meant, if so: a command would ignore one of them. It stands before
    /// the command, where it is the environment's own.
    pub fn contradiction(&self) -> Option<&'static str> {
        (self.action.is_some() && self.promise.durability.is_some()).then_some(
            "the argument '--durability <DURABILITY>' cannot be used with a command: it is for servers \
             that are started",
        )
    }
}

/// Runs the servers until Ctrl-C, or acts on servers that run already.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let root = args.dir.clone().unwrap_or_else(|| Layout::default_root(args.port));
    let layout = Layout::at(&root);
    let Some(action) = &args.action else { return serve(args, root).await };
    layout.must_run()?;
    match action {
        Action::Status => println!("{}", control::table(&layout).await?),
        Action::Switchover { to } => {
            let id = control::request(&layout, to.as_deref())?;
            let last = control::answer(&layout, &id).await?;
            println!("{}", control::sentence(&last));
            if last.outcome == switchover::Outcome::Aborted {
                return Ok(ExitCode::FAILURE);
            }
        }
        Action::Kill { name } => println!("Killed {}.", control::kill(&layout, name.as_deref())?),
        Action::Execute(promise) => execute(&layout, promise.durability()).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: Args, root: PathBuf) -> anyhow::Result<ExitCode> {
    let mut end = Box::pin(told_to_end()?);
    let temporary = args.dir.is_none();
    let options = Options {
        root,
        temporary,
        port: args.port,
        program: server_program(args.server)?,
        executor: !args.no_executor,
        durability: args.promise.durability(),
        tell: to_stderr(),
    };
    let world = World::start(options, &mut end).await?;
    println!("{}", welcome(&world, temporary));
    end.await;
    eprintln!("redisha: ending the servers");
    world.end().await;
    Ok(ExitCode::SUCCESS)
}

async fn execute(layout: &Layout, durability: Durability) -> anyhow::Result<()> {
    let recipe = Recipe {
        program: PathBuf::new(),
        uid: layout.uid()?,
        secret: layout.secret()?,
        layout: layout.clone(),
        durability,
        directives: Vec::new(),
    };
    let executing = world::execute(&recipe, to_stderr())?;
    told_to_end()?.await;
    drop(executing);
    Ok(())
}

fn to_stderr() -> Tell {
    Box::new(|line| eprintln!("redisha: {line}"))
}

/// Resolves at Ctrl-C, SIGTERM or a hang-up; counts from the call, not from the first poll.
pub fn told_to_end() -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

/// The server to start: the named one, else the one beside this program.
pub fn server_program(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let program = named.unwrap_or_else(|| own.with_file_name("redisha-server"));
    if !program.is_file() {
        bail!("there is no server at {}: name one with --server PATH", program.display());
    }
    Ok(program)
}

fn welcome(world: &World, temporary: bool) -> String {
    let (port, root) = (world.port, world.layout.root().display());
    let own = own_name();
    let which = match (temporary, port) {
        (true, DEFAULT_PORT) => String::new(),
        (true, _) => format!(" --port {port}"),
        (false, _) => format!(" --dir {root}"),
    };
    let kept = if temporary { "go when this ends; --dir keeps them" } else { "are kept" };
    format!(
        "\
Three servers run; 127.0.0.1:{port} always leads to the primary. In another terminal, try:

  redis-cli -p {port} SET greeting hello
      any client works, unchanged
  {own} local{which} switchover
      moves the primary: no client notices
  {own} local{which} kill
      kills the primary: another takes over in seconds
  {own} local{which} status
      tells who is what

Files are in {root} and {kept}. Ctrl-C ends it all."
    )
}

/// How a person calls this program from here: its path, from the working folder if it lies below.
fn own_name() -> String {
    let Ok(own) = std::env::current_exe() else { return "redisha".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    let shown = own.strip_prefix(&here).map_or(own.clone(), PathBuf::from);
    shown.display().to_string()
}
