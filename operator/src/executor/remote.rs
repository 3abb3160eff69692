//! `redisha status` and `redisha switchover`: asking the operator of a cluster.
//!
//! Does I/O with the API server alone. A switch is asked for by an annotation and answered in the
//! status, so that whoever manages the spec is not fought with.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use switchover::{LastSwitchover, Outcome};
use tokio::time::{Instant, sleep};

use crate::api::{Names, RedisHA, RedisHAStatus, SWITCHOVER_ANNOTATION};
use crate::local::control::sentence;
use crate::local::layout::random_hex;

/// Time between two looks at the status.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Names one `RedisHA`.
#[derive(Debug, Clone, clap::Args)]
pub struct Target {
    /// The `RedisHA`.
    name: String,
    /// Its namespace; without it the one of the current context.
    #[arg(long, short)]
    namespace: Option<String>,
}

/// Arguments of `redisha status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    target: Target,
}

/// Arguments of `redisha switchover`.
#[derive(Debug, clap::Args)]
pub struct SwitchoverArgs {
    #[command(flatten)]
    target: Target,
    /// The pod that shall become primary; without it the best one.
    #[arg(long, value_name = "POD")]
    to: Option<String>,
    /// How long to wait for the answer, in seconds.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// One `RedisHA` in a cluster.
#[derive(Debug, Clone)]
pub struct Remote {
    api: Api<RedisHA>,
    name: String,
}

impl Remote {
    /// Through the kubeconfig, or the service account inside a pod.
    pub async fn connect(name: &str, namespace: Option<&str>) -> anyhow::Result<Self> {
        let client = Client::try_default().await.context("no cluster is configured")?;
        let api = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::default_namespaced(client),
        };
        Ok(Self { api, name: name.to_owned() })
    }

    /// The object as it is now.
    pub async fn get(&self) -> anyhow::Result<RedisHA> {
        self.api.get(&self.name).await.with_context(|| format!("cannot read {}", self.name))
    }

    /// Asks for a switchover and returns the request's id.
    pub async fn request(&self, to: Option<&str>) -> anyhow::Result<String> {
        let redisha = self.get().await?;
        if let Some(pod) = to
            && Names::of(&redisha).ordinal(pod).is_none()
        {
            bail!("{pod} is no pod of {}", self.name);
        }
        let id = random_hex(6)?;
        let wish = to.map_or_else(|| id.clone(), |pod| format!("{id}/{pod}"));
        let patch = json!({ "metadata": { "annotations": { SWITCHOVER_ANNOTATION: wish } } });
        let params = PatchParams::default();
        self.api
            .patch(&self.name, &params, &Patch::Merge(patch))
            .await
            .with_context(|| format!("cannot annotate {}", self.name))?;
        Ok(id)
    }

    /// Waits until the request with this id is answered.
    pub async fn answer(&self, id: &str, within: Duration) -> anyhow::Result<LastSwitchover> {
        let until = Instant::now() + within;
        loop {
            let status = self.get().await?.status.unwrap_or_default();
            if let Some(last) = last(&status)
                && last.id == id
            {
                return Ok(last.clone());
            }
            if Instant::now() >= until {
                let why = waiting_for(&status);
                bail!("not answered within {} s{why}; it stays asked for", within.as_secs());
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// The arbiter knows first; the status's own field is copied from it.
fn last(status: &RedisHAStatus) -> Option<&LastSwitchover> {
    let arbiter = status.arbiter.as_ref().and_then(|arbiter| arbiter.last_switchover.as_ref());
    arbiter.or(status.last_switchover.as_ref())
}

/// What the conditions say about a request that is not answered, as a clause or nothing.
fn waiting_for(status: &RedisHAStatus) -> String {
    let progressing = status.conditions.iter().find(|condition| condition.type_ == "Progressing");
    progressing.map_or_else(String::new, |condition| format!(" ({})", condition.message))
}

/// Prints the state of one `RedisHA`.
pub async fn status(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let Target { name, namespace } = &args.target;
    let remote = Remote::connect(name, namespace.as_deref()).await?;
    println!("{}", text(&remote.get().await?));
    Ok(ExitCode::SUCCESS)
}

/// Asks for a switchover and waits for its outcome; 1 when it was called off.
pub async fn switchover(args: SwitchoverArgs) -> anyhow::Result<ExitCode> {
    let Target { name, namespace } = &args.target;
    let remote = Remote::connect(name, namespace.as_deref()).await?;
    let id = remote.request(args.to.as_deref()).await?;
    let last = remote.answer(&id, Duration::from_secs(args.timeout)).await?;
    println!("{}", sentence(&last));
    Ok(match last.outcome {
        Outcome::Completed => ExitCode::SUCCESS,
        Outcome::Aborted => ExitCode::FAILURE,
    })
}

fn text(redisha: &RedisHA) -> String {
    let name = redisha.name_any();
    let Some(status) = &redisha.status else {
        return format!("{name}: no operator has looked at it yet");
    };
    let or_none = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let phase = status.phase.map_or_else(|| "unknown".to_owned(), |phase| format!("{phase:?}"));
    let mut lines = vec![
        format!("{name}: {phase}, {} pods in sync", or_none(status.ready.as_deref())),
        format!("  primary      {}", or_none(status.primary.as_deref())),
        format!("  epoch        {}", or_none(status.epoch.as_deref())),
        format!("  in sync      {}", status.sync_set.join(", ")),
        format!("  switchovers  {}", status.switchovers),
    ];
    for condition in &status.conditions {
        let (kind, value) = (&condition.type_, &condition.status);
        lines.push(format!("  {kind:<12} {value}: {}", condition.message));
    }
    lines.extend(last(status).map(sentence));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchover::{Arbiter, Reason};

    fn answered(id: &str) -> LastSwitchover {
        LastSwitchover {
            id: id.into(),
            from: "cache-0".into(),
            to: "cache-1".into(),
            reason: Reason::Request,
            outcome: Outcome::Completed,
            pause_ms: Some(3),
            why: None,
        }
    }

    /// The status's own field is written later than the arbiter's: a client that looked only at
    /// the former would see an old answer for a while.
    #[test]
    fn the_arbiter_answers_first() {
        let mut arbiter = Arbiter::new("u");
        arbiter.last_switchover = Some(answered("new"));
        let status = RedisHAStatus {
            arbiter: Some(arbiter),
            last_switchover: Some(answered("old")),
            ..RedisHAStatus::default()
        };
        assert_eq!(last(&status).unwrap().id, "new");
    }

    #[test]
    fn a_status_is_told_in_lines() {
        let mut redisha = RedisHA::new("cache", crate::api::RedisHASpec::default());
        assert!(text(&redisha).contains("no operator"));
        redisha.status = Some(RedisHAStatus {
            primary: Some("cache-1".into()),
            last_switchover: Some(answered("x")),
            ..RedisHAStatus::default()
        });
        let text = text(&redisha);
        assert!(text.contains("primary      cache-1"), "{text}");
        assert!(text.contains("Switched from cache-0 to cache-1"), "{text}");
    }
}
