//! The three servers: started together, restarted when one dies, ended together.

use std::io;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::directory::Tell;
use super::layout::Layout;
use super::process::{Process, Recipe, last_words};
use crate::executor::client::{CallError, Client, Lane};
use crate::executor::status_of;

/// A dead server stays away for a moment, as a pod would, so that the failover can be seen.
const RESTART_AFTER: Duration = Duration::from_millis(1_500);
/// A server that does not answer by then has failed to start.
const START_WITHIN: Duration = Duration::from_secs(15);
/// A server that is asked to end is killed after this.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What keeps a fleet from starting.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: io::Error },
    #[error("{name} ended as it started; its last words: {words}")]
    Ended { name: String, words: String },
    #[error("{name} did not answer within {} s: {why}", START_WITHIN.as_secs())]
    Silent { name: String, why: String },
    #[error("cannot prepare {name}: {source}")]
    Prepare { name: String, source: io::Error },
    #[error("interrupted")]
    Interrupted,
}

/// That all servers shall end, and how.
#[derive(Debug, Clone, Copy)]
struct End {
    save: bool,
}

/// The running servers. Call [`Fleet::end`]; a fleet that is dropped leaves its servers running.
#[derive(Debug)]
pub struct Fleet {
    ending: watch::Sender<Option<End>>,
    keepers: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// Starts every server that does not run yet and waits until all answer. Whatever was started
    /// is ended again when one of them fails, or when `interrupted` resolves first.
    pub async fn start(
        recipe: Recipe,
        tell: Arc<Tell>,
        interrupted: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Self, FleetError> {
        let recipe = Arc::new(recipe);
        let mut running = Vec::new();
        let started = tokio::select! {
            started = start_all(&recipe, &mut running, &tell) => started,
            () = interrupted => Err(FleetError::Interrupted),
        };
        match started {
            Ok(()) => Ok(Self::keep(&recipe, running, &tell)),
            Err(error) => {
                for (name, process) in &mut running {
                    process.signal(Signal::KILL);
                    process.ended().await;
                    forget(&recipe.layout, name);
                }
                Err(error)
            }
        }
    }

    fn keep(recipe: &Arc<Recipe>, running: Vec<(String, Process)>, tell: &Arc<Tell>) -> Self {
        let (ending, _) = watch::channel(None);
        let keepers = running
            .into_iter()
            .map(|(name, process)| {
                let (recipe, tell) = (Arc::clone(recipe), Arc::clone(tell));
                tokio::spawn(keep_alive(recipe, name, process, ending.subscribe(), tell))
            })
            .collect();
        Self { ending, keepers }
    }

    /// Ends all servers and waits until they have ended. With `save` their data stay on disk.
    pub async fn end(self, save: bool) {
        // Fails only when no server is left to end.
        let _ = self.ending.send(Some(End { save }));
        for keeper in self.keepers {
            // A keeper's panic is reported by itself.
            let _ = keeper.await;
        }
    }
}

async fn start_all(
    recipe: &Arc<Recipe>,
    running: &mut Vec<(String, Process)>,
    tell: &Arc<Tell>,
) -> Result<(), FleetError> {
    for name in Layout::names() {
        if let Some(process) = recipe.adopt(&name).await {
            tell(&format!("{name} still runs: taking it over as it is"));
            running.push((name, process));
            continue;
        }
        choose_ports(&recipe.layout, &name)
            .map_err(|source| FleetError::Prepare { name: name.clone(), source })?;
        let process = recipe.start(&name).map_err(|source| FleetError::Spawn {
            program: recipe.program.display().to_string(),
            source,
        })?;
        running.push((name, process));
    }
    for (name, process) in running {
        let ready = answers(recipe.client(name));
        tokio::select! {
            result = ready => {
                result.map_err(|why| FleetError::Silent { name: name.clone(), why })?;
            }
            () = process.ended() => {
                let words = last_words(&recipe.layout, name);
                return Err(FleetError::Ended { name: name.clone(), words });
            }
        }
    }
    Ok(())
}

/// Keeps the ports of an earlier run where they are free, else draws others from the kernel.
fn choose_ports(layout: &Layout, name: &str) -> io::Result<()> {
    let free = |port| StdListener::bind((Ipv4Addr::LOCALHOST, port));
    // Both are held until both are chosen, so that they differ.
    let choose =
        |known: Option<u16>| known.and_then(|port| free(port).ok()).map_or_else(|| free(0), Ok);
    let port = choose(layout.port(name))?;
    let health = choose(layout.health_port(name))?;
    layout.set_port(name, port.local_addr()?.port())?;
    layout.set_health_port(name, health.local_addr()?.port())
}

async fn answers(client: Client) -> Result<(), String> {
    let until = Instant::now() + START_WITHIN;
    loop {
        match status_of(&client).await {
            Ok(_) => return Ok(()),
            Err(why) if Instant::now() >= until => return Err(why),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Watches one server, restarts it when it dies, and sees to its end.
async fn keep_alive(
    recipe: Arc<Recipe>,
    name: String,
    mut process: Process,
    mut ending: watch::Receiver<Option<End>>,
    tell: Arc<Tell>,
) {
    let end = loop {
        tokio::select! {
            () = process.ended() => {}
            end = asked_to_end(&mut ending) => break end,
        }
        forget(&recipe.layout, &name);
        tell(&format!("{name} has ended; starting it again"));
        loop {
            tokio::select! {
                () = sleep(RESTART_AFTER) => {}
                _ = asked_to_end(&mut ending) => return,
            }
            match recipe.start(&name) {
                Ok(started) => {
                    process = started;
                    break;
                }
                Err(error) => tell(&format!("{name} cannot be started: {error}")),
            }
        }
    };
    let asked = ask_to_end(&recipe.client(&name), end.save).await;
    if !asked || timeout(END_WITHIN, process.ended()).await.is_err() {
        if end.save {
            tell(&format!("{name} does not end by itself: killing it"));
        }
        process.signal(Signal::KILL);
        process.ended().await;
    }
    forget(&recipe.layout, &name);
}

/// Resolves when the fleet is told to end; never when it was dropped instead.
async fn asked_to_end(ending: &mut watch::Receiver<Option<End>>) -> End {
    match ending.wait_for(Option::is_some).await.map(|end| *end) {
        Ok(Some(end)) => end,
        _ => std::future::pending().await,
    }
}

fn forget(layout: &Layout, name: &str) {
    if let Err(error) = layout.set_pid(name, None) {
        tracing::warn!(%error, name, "the record of a process cannot be removed");
    }
}

/// SHUTDOWN rather than SIGTERM: nobody shall take over, all of them end. False when the server
/// refused, or could not be reached.
async fn ask_to_end(client: &Client, save: bool) -> bool {
    let how = if save { "SAVE" } else { "NOSAVE" };
    let words = ["SHUTDOWN", how, "NOW", "FORCE"].map(str::to_owned);
    // One that obeys closes the connection instead of answering.
    let answer = client.call(Lane::Act, &words, END_WITHIN).await;
    matches!(answer, Err(CallError::Lost { .. }))
}
