//! Looks after one `RedisHA`: observe → validate → build → apply → status, again and again.
//!
//! Takes a [`Cluster`] and acts on Kubernetes until the object is gone. Moving the primary is not
//! here: that is the executor's, which runs beside this loop. The one thing that this loop takes
//! away is a replica that is out of date.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use switchover::{Label, Reason};
use thiserror::Error;
use tokio::task::JoinHandle;

use super::apply::{ApplyError, apply};
use super::build::{Bundle, asked_hash, build};
use super::cluster::Cluster;
use super::context::Context;
use super::directory::{PodDirectory, promises_disk};
use super::live::Told;
use super::migrate;
use super::observe::{ObserveError, Observed, observe};
use super::status::{self, Inputs, Problem};
use super::store::StatusStore;
use super::validate::{Invalid, Plan, validate};
use crate::api::{
    ASKED_ANNOTATION, Durability, EVICTION_ANNOTATION, Migration, MigrationPhase, RedisHA,
};
use crate::executor::Executor;
use crate::trigger::{self, Facts, Rollout};

/// Resources that somebody else changed are put right within this time.
const REAPPLY: Duration = Duration::from_mins(1);
/// A pass without anything to do is repeated after this.
const CALM: Duration = Duration::from_secs(20);
/// While pods are being replaced, the next step is looked for this often at least.
const BUSY: Duration = Duration::from_secs(2);

/// Why a pass ended early.
#[derive(Debug, Error)]
enum PassError {
    #[error("cannot read the object: {0}")]
    Read(Box<kube::Error>),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("cannot replace {pod}: {source}")]
    Replace { pod: String, source: Box<kube::Error> },
    #[error("cannot write the status: {0}")]
    Status(Box<kube::Error>),
}

/// What a pass found.
enum Pass {
    /// The object is gone, or going.
    Gone,
    Done {
        busy: bool,
    },
}

/// What a pass without a failure came to.
struct Worked {
    rollout: Rollout,
    /// A directive that a pod refuses, as a sentence.
    refused: Option<String>,
    /// How far another server's data are taken over.
    migration: Option<Migration>,
    /// The config shall promise the disk and does not yet.
    awaits_files: bool,
}

/// One `RedisHA`'s loop.
pub struct Loop {
    context: Context,
    cluster: Arc<Cluster>,
    applied: Option<(Bundle, Instant)>,
    executor: Option<Running>,
    told: Told,
}

/// Ends its task when it is dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Loop {
    pub fn new(context: Context, cluster: Arc<Cluster>) -> Self {
        Self { context, cluster, applied: None, executor: None, told: Told::default() }
    }

    /// Runs until the object is gone, or the future is dropped.
    pub async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let pass = Box::pin(self.pass()).await;
            let name = &self.cluster.names.name;
            self.context.metrics.reconcile(pass.is_ok());
            let pause = match pass {
                Ok(Pass::Gone) => {
                    tracing::info!(name, "the object is gone");
                    return;
                }
                Ok(Pass::Done { busy }) => {
                    failures = 0;
                    if busy { BUSY } else { CALM }
                }
                Err(error) => {
                    failures = (failures + 1).min(6);
                    tracing::warn!(name, %error, "a pass failed");
                    Duration::from_millis(500 << failures)
                }
            };
            tokio::select! {
                () = self.cluster.wake.notified() => {
                    // Changes come in bursts; one pass answers them together.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn pass(&mut self) -> Result<Pass, PassError> {
        let names = self.cluster.names.clone();
        let object = self.context.redishas(&names).get_opt(&names.name).await;
        let object = object.map_err(|error| PassError::Read(Box::new(error)))?;
        let Some(object) = object.filter(|object| self.is_ours(object)) else {
            return Ok(Pass::Gone);
        };
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Pass::Gone);
        }
        let object = Arc::new(object);
        self.cluster.set_object(Arc::clone(&object));
        match Box::pin(self.work(object)).await {
            Ok(Worked { rollout, refused, migration, awaits_files }) => {
                let moving_in =
                    migration.as_ref().is_some_and(|m| m.phase != MigrationPhase::CutOver);
                let busy =
                    rollout != Rollout::Done || refused.is_some() || moving_in || awaits_files;
                self.tell(&rollout, migration, refused.map(Problem::Failed)).await?;
                Ok(Pass::Done { busy })
            }
            Err(error) => {
                let problem = match &error {
                    PassError::Invalid(invalid) => Problem::Invalid(invalid.to_string()),
                    other => Problem::Failed(other.to_string()),
                };
                let status = self.cluster.object().and_then(|object| object.status.clone());
                let migration = status.and_then(|status| status.migration);
                self.tell(&Rollout::Done, migration, Some(problem)).await?;
                Err(error)
            }
        }
    }

    fn is_ours(&self, object: &RedisHA) -> bool {
        object.metadata.uid.as_ref() == Some(&self.cluster.uid)
    }

    /// Everything but the status.
    async fn work(&mut self, object: Arc<RedisHA>) -> Result<Worked, PassError> {
        let names = self.cluster.names.clone();
        let Observed { object, decided, internal_is_stored, set } =
            observe(&self.context, &names, object).await?;
        self.cluster.set_object(Arc::clone(&object));
        if self.executor.is_none()
            && internal_is_stored
            && let Some(asked) = set.as_ref().and_then(asked_of)
        {
            // A lost primary waits for nothing that is to be applied, nor for an object that is valid.
            self.cluster.set_asked(asked);
            self.start_executor(&decided.internal_password);
        }
        let plan = validate(&object, decided)?;
        let set = Box::pin(self.apply(&plan, set)).await?;
        self.cluster.set_asked(&asked_hash(&plan));
        self.start_executor(&plan.internal_password);
        let Some(facts) = self.context.facts(&self.cluster, &object) else {
            let migration = object.status.as_ref().and_then(|status| status.migration.clone());
            let rollout = Rollout::Done;
            return Ok(Worked { rollout, refused: None, migration, awaits_files: false });
        };
        self.forget_old_evictions(&facts).await;
        let told = self.told.tell(&plan, &facts.pods).await;
        let awaits_files = object.spec.durability == Durability::Disk && !promises_disk(&object);
        let has_files = awaits_files && self.told.have_files(&plan, &facts).await;
        self.cluster.set_has_files(has_files);
        let migration = self.migrate(&plan, &object, &facts).await;
        let rollout = self.rollout(&object, &facts);
        if let Rollout::Replace { name, uid } = &rollout
            && set.as_ref().is_some_and(|set| is_settled(set, &facts.asked))
        {
            self.replace(name, uid).await?;
        }
        Ok(Worked { rollout, refused: told.err(), migration, awaits_files })
    }

    /// Takes over another server's data, one step.
    async fn migrate(&self, plan: &Plan, redisha: &RedisHA, facts: &Facts) -> Option<Migration> {
        let status = redisha.status.as_ref();
        let primary = status.and_then(|status| status.arbiter.as_ref()?.primary.as_ref());
        let told = migrate::Told { plan, redisha, primary, pods: &facts.pods };
        let found = told.step(&self.context).await;
        let before = status.and_then(|status| status.migration.as_ref());
        for migrate::News { type_, reason, note } in migrate::news(before, found.as_ref()) {
            self.context.event(redisha, type_, reason, note).await;
        }
        found
    }

    /// Applies the bundle when it changed, or when it has not been for a while.
    async fn apply(
        &mut self,
        plan: &Plan,
        set: Option<StatefulSet>,
    ) -> Result<Option<StatefulSet>, PassError> {
        let bundle = build(plan);
        let fresh = self.applied.as_ref().is_some_and(|(applied, at)| {
            *applied == bundle && at.elapsed() < REAPPLY && set.is_some()
        });
        if fresh {
            return Ok(set);
        }
        // Futures that hold whole resources are large: they live on the heap.
        let set = Box::pin(apply(&self.context.client, &plan.names, bundle.clone())).await?;
        self.applied = Some((bundle, Instant::now()));
        Ok(Some(set))
    }

    fn start_executor(&mut self, secret: &str) {
        if self.executor.as_ref().is_some_and(|running| !running.0.is_finished()) {
            return;
        }
        let store = StatusStore::new(&self.context, Arc::clone(&self.cluster));
        let directory = PodDirectory::new(&self.context, Arc::clone(&self.cluster));
        let executor = Executor::new(store, directory, secret);
        self.cluster.set_handle(executor.handle());
        self.executor = Some(Running(tokio::spawn(executor.run())));
    }

    /// The next step of a rollout. Nobody is replaced while the primary is moving, not known, or
    /// about to move for another reason, perhaps to the very replica that would be replaced.
    fn rollout(&self, object: &RedisHA, facts: &Facts) -> Rollout {
        let arbiter = object.status.as_ref().and_then(|status| status.arbiter.as_ref());
        let primary = arbiter.and_then(|arbiter| arbiter.primary.as_ref());
        let (Some(arbiter), Some(primary)) = (arbiter, primary) else {
            return Rollout::Done;
        };
        let request = trigger::request(facts, arbiter);
        if request.is_none() {
            self.cluster.release_hold();
        }
        let moves = arbiter.switchover.is_some() || arbiter.election.is_some();
        let other = request.is_some_and(|request| request.reason != Reason::RollingUpdate);
        match trigger::rollout(facts, &primary.name) {
            Rollout::Replace { .. } if moves || other => {
                Rollout::Wait("the primary moves first".to_owned())
            }
            rollout => rollout,
        }
    }

    async fn replace(&self, name: &str, uid: &str) -> Result<(), PassError> {
        tracing::info!(pod = name, "replacing a replica that is out of date");
        let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let params = DeleteParams::default().preconditions(preconditions);
        match self.context.pods_api(&self.cluster.names).delete(name, &params).await {
            Ok(_) => Ok(()),
            // Already gone, or already another pod: the next pass sees it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(source) => {
                Err(PassError::Replace { pod: name.to_owned(), source: Box::new(source) })
            }
        }
    }

    /// Removes the mark of an eviction that nobody asks for any more, so that it does not count as
    /// held since long ago when somebody asks again.
    async fn forget_old_evictions(&self, facts: &Facts) {
        let api = self.context.pods_api(&self.cluster.names);
        for pod in &facts.pods {
            let stale = pod.eviction.is_some_and(|eviction| !eviction.fresh(facts.now));
            if stale && pod.label != Label::Primary {
                let patch = json!({"metadata": {
                    "uid": pod.uid, "annotations": {EVICTION_ANNOTATION: null},
                }});
                let params = PatchParams::default();
                if let Err(error) = api.patch(&pod.name, &params, &Patch::Merge(patch)).await {
                    tracing::debug!(pod = pod.name, %error, "an old mark stays");
                }
            }
        }
    }

    /// Writes the status when it changed.
    async fn tell(
        &self,
        rollout: &Rollout,
        migration: Option<Migration>,
        problem: Option<Problem>,
    ) -> Result<(), PassError> {
        let Some(redisha) = self.cluster.object() else {
            return Ok(());
        };
        let facts = self.context.facts(&self.cluster, &redisha);
        let (observation, held) = (self.cluster.observation(), self.cluster.held());
        let patch = status::patch(&Inputs {
            redisha: &redisha,
            selector: self.cluster.names.selector_query(),
            facts: facts.as_ref(),
            rollout,
            observation: observation.as_deref(),
            held: held.as_ref(),
            migration,
            problem,
            now: Timestamp::now(),
        });
        let Some(patch) = patch else {
            return Ok(());
        };
        let api = self.context.redishas(&self.cluster.names);
        let name = &self.cluster.names.name;
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| PassError::Status(Box::new(error)))
    }
}

/// Whether pods that are made from now on are made from the present template: one that is deleted
/// too early comes back as it was.
fn is_settled(set: &StatefulSet, asked: &str) -> bool {
    let generation = set.metadata.generation;
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    asked_of(set) == Some(asked) && generation.is_some() && observed >= generation
}

/// The hash that pods carry which are made from this set.
fn asked_of(set: &StatefulSet) -> Option<&str> {
    let template = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotations = template.and_then(|meta| meta.annotations.as_ref());
    annotations?.get(ASKED_ANNOTATION).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replica was deleted right after the set was changed, came back from the old template, and
    /// was deleted again.
    #[test]
    fn a_set_is_settled_once_its_controller_has_seen_the_template() {
        let set = |hash: &str, observed: i64| -> StatefulSet {
            serde_json::from_value(json!({
                "metadata": {"generation": 4},
                "spec": {
                    "selector": {},
                    "template": {"metadata": {"annotations": {"redisha.dev/asked": hash}}},
                },
                "status": {"observedGeneration": observed, "replicas": 3},
            }))
            .unwrap()
        };
        assert!(is_settled(&set("new", 4), "new"));
        assert!(!is_settled(&set("new", 3), "new"));
        assert!(!is_settled(&set("old", 4), "new"));
        let mut unseen = set("new", 4);
        unseen.status = None;
        assert!(!is_settled(&unseen, "new"));
    }
}
