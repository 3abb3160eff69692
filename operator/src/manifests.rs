//! What an installation applies, made from the same types that the operator runs with.
//!
//! Takes arguments only, returns YAML, does no I/O but printing. The files under `crds/`,
//! `deploy/` and `charts/redisha/` are its output; tests fail when they drift, and
//! `REDISHA_REWRITE=1 cargo test -p operator manifests` writes them anew.

#[cfg(test)]
mod chart;
mod crd;
mod rbac;
mod webhook;
mod workload;
mod yaml;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

pub use crd::crd;

/// Name of the operator's Deployment, account and roles.
const OPERATOR: &str = "redisha-operator";

/// Arguments of `redisha manifests`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where the operator runs
    #[arg(long, default_value = "redisha-system")]
    namespace: String,
    /// The operator's image
    #[arg(long, default_value = concat!("redisha-operator:", env!("CARGO_PKG_VERSION")))]
    operator_image: String,
    /// Image of servers whose specification names none
    #[arg(long, default_value = crate::controller::default_image())]
    server_image: String,
    /// Processes of the operator; one acts, all answer the webhook
    #[arg(long, default_value_t = 2)]
    replicas: u32,
    /// The cluster's DNS domain
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
}

/// What differs between installations. The chart puts its own expressions here.
#[derive(Debug, Clone)]
struct Settings {
    namespace: Value,
    operator_image: Value,
    server_image: Value,
    pull_policy: Value,
    replicas: Value,
    cluster_domain: Value,
    resources: Value,
}

impl From<&Args> for Settings {
    fn from(args: &Args) -> Self {
        Self {
            namespace: json!(args.namespace),
            operator_image: json!(args.operator_image),
            server_image: json!(args.server_image),
            pull_policy: json!("IfNotPresent"),
            replicas: json!(args.replicas),
            cluster_domain: json!(args.cluster_domain),
            resources: default_resources(),
        }
    }
}

fn default_resources() -> Value {
    json!({
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"memory": "256Mi"},
    })
}

/// Prints the `CustomResourceDefinition`.
pub fn print_crd() -> anyhow::Result<ExitCode> {
    print(&yaml::documents(&[crd::crd()]))
}

/// Prints everything that an installation applies.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    print(&yaml::documents(&install(&args.into())))
}

/// A reader that ends early (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Everything, in an order in which it can be applied.
fn install(settings: &Settings) -> Vec<Value> {
    let mut objects = vec![workload::namespace(settings), crd::crd()];
    objects.extend(rbac::objects(settings));
    objects.extend(workload::objects(settings));
    objects.extend(webhook::objects(settings));
    objects
}

/// Labels of everything that belongs to the operator itself.
fn labels() -> Value {
    json!({"app.kubernetes.io/name": OPERATOR, "app.kubernetes.io/part-of": "redisha"})
}

#[cfg(test)]
mod tests;
