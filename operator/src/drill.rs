//! Switchovers under load, and what clients saw of them.
//!
//! Starts an environment of its own on free ports (or takes a `RedisHA` in a cluster), lets plain clients write all the while with an
//! account of every acknowledged reply, moves the primary from server to server, and compares the
//! accounts with what is stored in the end.

mod client;
mod figures;
mod ledger;
mod place;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use redis::AsyncConnectionConfig;
use switchover::Outcome;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::api::Durability;
use crate::local::control::sentence;
use crate::local::layout::random_hex;
use crate::local::world::{Options, World};
use client::{Shared, Writer};
use figures::{Figures, Quantiles};
use ledger::Faults;
use place::{Cluster, Place};

/// All replicas must be in sync again by then after a switchover.
const IN_SYNC_WITHIN: Duration = Duration::from_secs(30);
/// A client that has not finished its last command by then has no answer.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Arguments of `redisha drill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often the primary moves.
    #[arg(long, default_value_t = 20)]
    switchovers: u32,
    /// How many clients write all the while.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Quiet time after each switchover, in milliseconds.
    #[arg(long, default_value_t = 50)]
    settle_ms: u64,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// What an answer of the own environment promises.
    #[arg(long, value_enum, default_value = "replicated", conflicts_with = "name")]
    durability: Durability,
    /// A `RedisHA` in a cluster to drill, instead of an environment of its own.
    #[arg(long)]
    name: Option<String>,
    /// Its namespace; without it the one of the current context.
    #[arg(long, requires = "name")]
    namespace: Option<String>,
    /// The server program; without it the one beside this program.
    #[arg(long, env = "REDISHA_SERVER_BIN")]
    server: Option<std::path::PathBuf>,
}

/// What the switchovers themselves gave.
#[derive(Debug, Default)]
struct Course {
    switchovers: u32,
    pauses_us: Vec<u64>,
    gaps_us: Vec<u64>,
    not_switched: Option<String>,
}

/// Runs the drill; 0 when every bar was met, 1 when one was missed.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut interrupted = Box::pin(crate::local::told_to_end()?);
    let place = place(&args, &mut interrupted).await?;
    let result = tokio::select! {
        result = drill(&args, &place) => result,
        () = interrupted => Err(anyhow::anyhow!("interrupted")),
    };
    place.end().await;
    let mut figures = result?;
    let missed = figures.missed(args.switchovers);
    figures.ok = missed.is_empty();
    for clause in &missed {
        eprintln!("redisha: missed: {clause}");
    }
    if args.json {
        println!("{}", serde_json::to_string(&figures)?);
    } else {
        println!("{}", figures.text());
    }
    Ok(if figures.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named `RedisHA`, else an environment that lives as long as the drill.
async fn place(
    args: &Args,
    interrupted: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<Place> {
    if let Some(name) = &args.name {
        let cluster = Cluster::find(name, args.namespace.as_deref()).await?;
        return Ok(Place::Cluster(Box::new(cluster)));
    }
    let root = std::env::temp_dir().join(format!("redisha-drill-{}", random_hex(6)?));
    let options = Options {
        root,
        temporary: true,
        port: 0,
        program: crate::local::server_program(args.server.clone())?,
        executor: true,
        durability: args.durability,
        tell: Box::new(|line| tracing::info!("{line}")),
    };
    Ok(Place::Local(Box::new(World::start(options, interrupted).await?)))
}

async fn drill(args: &Args, place: &Place) -> anyhow::Result<Figures> {
    let client = place.client()?;
    let shared = Arc::new(Shared::default());
    // A cluster may hold the keys of another drill, which was cut off.
    let drill = random_hex(6)?;
    let mut writers = JoinSet::new();
    for index in 0..args.clients {
        writers.spawn(Writer::new(client.clone(), &drill, index, Arc::clone(&shared)).run());
    }
    let course = switch_all(args, place, &shared).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut finished = Vec::new();
    let mut first_error = None;
    while let Ok(Some(writer)) = timeout(LAST_ANSWER_WITHIN, writers.join_next()).await {
        let writer = writer.context("a client panicked")?;
        first_error = first_error.or_else(|| writer.first_error.clone());
        finished.push(writer);
    }
    let unanswered = args.clients - finished.len();
    if unanswered > 0 {
        first_error = first_error.or(Some(format!("{unanswered} clients wait for an answer")));
    }
    let course = course?;
    let faults = settle(&client, &finished).await.context("the final values cannot be read")?;
    Ok(Figures {
        schema: 1,
        command: "drill",
        commit: option_env!("REDISHA_COMMIT").unwrap_or("unknown"),
        ok: false,
        switchovers: course.switchovers,
        replies: finished.iter().map(|writer| writer.ledger.replies()).sum(),
        errors: shared.errors.load(Ordering::Relaxed) + unanswered as u64,
        lost: faults.lost,
        duplicated: faults.duplicated,
        pause_ms: Quantiles::of(course.pauses_us),
        gap_ms: Quantiles::of(course.gaps_us),
        first_error,
        not_switched: course.not_switched,
    })
}

/// Moves the primary from server to server; a switch that is called off is tried again, up to as
/// often as there were switches to make.
async fn switch_all(args: &Args, place: &Place, shared: &Shared) -> anyhow::Result<Course> {
    let bar = progress(args.switchovers);
    let mut course = Course::default();
    for _ in 0..args.switchovers.saturating_mul(2) {
        if course.switchovers == args.switchovers {
            break;
        }
        place.ready(IN_SYNC_WITHIN).await?;
        sleep(Duration::from_millis(args.settle_ms)).await;
        switch_once(place, shared, &mut course).await?;
        sleep(Duration::from_millis(args.settle_ms)).await;
        if let Some(gap) = course.gaps_us.last_mut() {
            *gap = (*gap).max(shared.longest_us.load(Ordering::Relaxed));
        }
        bar.set_position(u64::from(course.switchovers));
    }
    bar.finish_and_clear();
    Ok(course)
}

async fn switch_once(place: &Place, shared: &Shared, course: &mut Course) -> anyhow::Result<()> {
    shared.longest_us.store(0, Ordering::Relaxed);
    let (last, pause_us) = place.switch().await?;
    if last.outcome == Outcome::Aborted {
        course.not_switched = Some(sentence(&last));
        return Ok(());
    }
    // A cluster's record has no length when the old primary could not be asked any more.
    course.pauses_us.extend((pause_us > 0).then_some(pause_us));
    course.gaps_us.push(shared.longest_us.load(Ordering::Relaxed));
    course.switchovers += 1;
    Ok(())
}

/// Compares every account with the stored values, read by a new client, and removes them.
async fn settle(client: &redis::Client, writers: &[Writer]) -> anyhow::Result<Faults> {
    // A log of some megabytes takes longer than the half second of the library's defaults.
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(LAST_ANSWER_WITHIN));
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;
    let mut faults = Faults::default();
    for writer in writers {
        let get = |key: &str| redis::cmd("GET").arg(key).to_owned();
        let counter: Option<u64> = get(&writer.counter).query_async(&mut connection).await?;
        let log: Option<String> = get(&writer.log).query_async(&mut connection).await?;
        faults += writer.ledger.settle(counter.unwrap_or(0), &log.unwrap_or_default());
        let remove = redis::cmd("UNLINK").arg(&writer.counter).arg(&writer.log).to_owned();
        remove.query_async::<()>(&mut connection).await?;
    }
    Ok(faults)
}

fn progress(total: u32) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} switchovers, {eta} left")
        .expect("the template names known fields");
    let target = ProgressDrawTarget::stderr();
    ProgressBar::with_draw_target(Some(u64::from(total)), target).with_style(style)
}
