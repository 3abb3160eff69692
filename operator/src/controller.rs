//! The operator in a cluster: observe → validate → build → apply → status.
//!
//! Every process serves probes and the webhook; one of them, the holder of the lease, acts.

pub mod apply;
pub mod build;
pub mod cluster;
pub mod context;
pub mod directory;
pub mod facts;
pub mod http;
pub mod lead;
pub mod leader;
pub mod live;
pub mod migrate;
pub mod observe;
pub mod probes;
pub mod reconcile;
pub mod status;
pub mod store;
pub mod validate;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::metrics::Metrics;
use crate::webhook::{self, Reviews};
use context::{Context, Options};
use leader::Leader;
use probes::Probes;

/// How long the webhook goes on after the order to stop: Services lead here for a moment longer. No
/// switch that has begun takes as long.
const LINGER: Duration = Duration::from_secs(3);
/// How often it is looked whether a switch is over.
const LOOK: Duration = Duration::from_millis(10);

/// Arguments of `redisha operator`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image of servers whose specification names none
    #[arg(long, env = "REDISHA_DEFAULT_IMAGE", default_value = default_image())]
    default_image: String,
    /// The cluster's DNS domain
    #[arg(long, env = "REDISHA_CLUSTER_DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Where the operator's own lease, certificate and Service are
    #[arg(long, env = "POD_NAMESPACE", default_value = "redisha-system")]
    namespace: String,
    /// Name of this process among the operator's
    #[arg(long, env = "POD_NAME", default_value = "redisha")]
    identity: String,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, default_value = "0.0.0.0:8080")]
    probes: SocketAddr,
    /// Address of the admission webhook
    #[arg(long, default_value = "0.0.0.0:9443")]
    webhook: SocketAddr,
    /// Run without the admission webhook
    #[arg(long)]
    no_webhook: bool,
}

/// The server image that belongs to this build.
pub fn default_image() -> &'static str {
    concat!("redisha-server:", env!("CARGO_PKG_VERSION"))
}

/// Runs until it is told to stop. Who loses the lease waits for it again.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let client = Client::try_default().await.context("cannot reach the API server")?;
    let metrics = Arc::new(Metrics::default());
    let options = Options {
        default_image: args.default_image,
        cluster_domain: args.cluster_domain,
        identity: args.identity,
        namespace: args.namespace,
    };
    let mut leader = Leader::new(client.clone(), &options.namespace, &options.identity);
    let context = Context::new(client, options, Arc::clone(&metrics));

    let serving = Arc::new(AtomicBool::new(args.no_webhook));
    let listener = bind(args.probes).await?;
    let probes = Probes { metrics: Arc::clone(&metrics), serving: Arc::clone(&serving) };
    tokio::spawn(http::serve(listener, Arc::new(probes)));
    let reviews = Arc::new(Reviews::default());
    if !args.no_webhook {
        let listener = bind(args.webhook).await?;
        tokio::spawn(webhook::run(context.clone(), listener, serving, Arc::clone(&reviews)));
    }

    let mut acting = Box::pin(act(&mut leader, &context));
    tokio::select! {
        never = &mut acting => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // A switch that has begun is finished: whoever takes the lease next would find writes held.
    let switched = async {
        while metrics.is_switching() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        never = &mut acting => match never {},
        _ = tokio::time::timeout(LINGER, switched) => {}
    }
    drop(acting);
    leader.release().await;
    tokio::time::sleep(LINGER).await;
    // Whoever takes the lease now makes the switches that these wait for.
    reviews.done().await;
    Ok(ExitCode::SUCCESS)
}

/// Acts whenever this process holds the lease. Losing it must not end the process: a kubelet starts one
/// that ended again and again later and later, and the next fault would find nobody who waits.
async fn act(leader: &mut Leader, context: &Context) -> Infallible {
    loop {
        leader.acquire().await;
        tracing::info!("this process acts");
        context.metrics.leader(true);
        // What was seen under an earlier lease says nothing about now.
        let (context, caches) = context.with_caches();
        let metrics = Arc::clone(&context.metrics);
        tokio::select! {
            () = leader.hold() => tracing::warn!("another process holds the lease now"),
            () = lead::lead(context, caches) => {}
        }
        metrics.leader(false);
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
