//! What becomes of one eviction.
//!
//! Takes the eviction, reads the pod and its `RedisHA`, marks the pod, and waits for the switch for
//! as long as the API server waits for the answer. The judgement itself is pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use switchover::Label;
use tokio::time::Instant;

use super::TIMEOUT_SECONDS;
use super::review::{self, Review, Verdict};
use crate::api::{EVICTION_ANNOTATION, Names, RedisHA};
use crate::controller::context::Context;
use crate::controller::facts::role_label;
use crate::controller::validate::parse_duration;
use crate::metrics::EvictionAnswer;
use crate::trigger::{self, Eviction};

/// What is left of the API server's patience for its own way to the answer.
const MARGIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done about an eviction, by what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Judgement {
    /// Not a primary of ours.
    Allow,
    /// A primary that cannot move at all.
    AllowWith(&'static str),
    /// A primary: mark it and wait. Who is still there at the end is let go when `hold` is over.
    Move { mark: Eviction, hold: Duration },
}

/// Decides, and does what it takes. Anything that cannot be read is admitted: the webhook is a help,
/// and the server hands over at SIGTERM by itself.
pub async fn decide(context: &Context, review: &Review) -> Verdict {
    let Some(eviction) = &review.eviction else {
        return Verdict::Allow;
    };
    let verdict = match work(context, eviction).await {
        Ok((verdict, answer)) => {
            context.metrics.eviction(answer);
            verdict
        }
        Err(error) => {
            tracing::warn!(pod = eviction.pod, %error, "an eviction is admitted unseen");
            context.metrics.eviction(EvictionAnswer::Allowed);
            Verdict::AllowWith(format!("RedisHA could not look at the pod: {error}"))
        }
    };
    tracing::info!(namespace = eviction.namespace, pod = eviction.pod, ?verdict, "eviction");
    verdict
}

async fn work(
    context: &Context,
    eviction: &review::Eviction,
) -> Result<(Verdict, EvictionAnswer), kube::Error> {
    let deadline = Instant::now() + Duration::from_secs(TIMEOUT_SECONDS as u64) - MARGIN;
    let world = World::of(context, eviction);
    let Some((pod, redisha)) = world.read().await? else {
        return Ok((Verdict::Allow, EvictionAnswer::Allowed));
    };
    let (mark, hold) = match judge(eviction, &pod, &redisha, Timestamp::now()) {
        Judgement::Allow => return Ok((Verdict::Allow, EvictionAnswer::Allowed)),
        Judgement::AllowWith(warning) => {
            return Ok((Verdict::AllowWith(warning.to_owned()), EvictionAnswer::Allowed));
        }
        Judgement::Move { mark, hold } => (mark, hold),
    };
    world.mark(&pod, mark).await?;
    while Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
        match world.read().await? {
            Some((now, redisha)) if now.uid() == pod.uid() && leads(&now, &redisha) => {}
            _ => return Ok((Verdict::Allow, EvictionAnswer::Switched)),
        }
    }
    // By now the acting operator has opened the budget, too.
    if trigger::elapsed(mark.since, mark.last) >= hold {
        let why = "no switchover was possible within spec.switchover.drainHold; the primary is \
                   evicted as it is";
        return Ok((Verdict::AllowWith(why.to_owned()), EvictionAnswer::LetGo));
    }
    let message = format!("{} is the primary of a RedisHA and moves first; retry", eviction.pod);
    Ok((Verdict::Hold(message), EvictionAnswer::Held))
}

/// Judges by what was read, never by the review alone.
fn judge(eviction: &review::Eviction, pod: &Pod, redisha: &RedisHA, now: Timestamp) -> Judgement {
    // The API server itself refuses an eviction whose precondition fails.
    let another = eviction.uid.is_some() && eviction.uid != pod.uid();
    if another || pod.metadata.deletion_timestamp.is_some() || !leads(pod, redisha) {
        return Judgement::Allow;
    }
    if eviction.dry_run {
        return Judgement::AllowWith("the primary of a RedisHA would move before this eviction");
    }
    if redisha.spec.replicas < 2 {
        return Judgement::AllowWith(
            "the only pod of a RedisHA is evicted: with spec.replicas of 2 or more it would move",
        );
    }
    let before = pod.annotations().get(EVICTION_ANNOTATION);
    let before = before.and_then(|text| Eviction::from_annotation(text));
    let since = before.filter(|before| before.fresh(now)).map_or(now, |before| before.since);
    let hold = parse_duration(&redisha.spec.switchover.drain_hold).unwrap_or_default();
    Judgement::Move { mark: Eviction { since, last: now }, hold }
}

/// Whether writes depend on this pod: by its label, by the arbiter, or because a switch that names
/// it is not over yet.
fn leads(pod: &Pod, redisha: &RedisHA) -> bool {
    let name = pod.metadata.name.as_ref();
    let arbiter = redisha.status.as_ref().and_then(|status| status.arbiter.as_ref());
    let is = |member: &switchover::Member| Some(&member.name) == name;
    role_label(pod) == Label::Primary
        || arbiter.is_some_and(|arbiter| {
            arbiter.primary.as_ref().is_some_and(is)
                || arbiter.switchover.as_ref().is_some_and(|i| is(&i.from) || is(&i.to))
        })
}

/// Where the pod is read and marked.
struct World {
    pods: Api<Pod>,
    redishas: Api<RedisHA>,
    pod: String,
}

impl World {
    fn of(context: &Context, eviction: &review::Eviction) -> Self {
        let names = Names { name: eviction.pod.clone(), namespace: eviction.namespace.clone() };
        Self {
            pods: context.pods_api(&names),
            redishas: context.redishas(&names),
            pod: eviction.pod.clone(),
        }
    }

    /// The pod and the object that it belongs to; `None` when there is no such pair.
    async fn read(&self) -> Result<Option<(Pod, RedisHA)>, kube::Error> {
        let Some(pod) = self.pods.get_opt(&self.pod).await? else {
            return Ok(None);
        };
        let ours = pod.labels().get("app.kubernetes.io/name").is_some_and(|name| name == "redisha");
        let Some(instance) = pod.labels().get("app.kubernetes.io/instance").filter(|_| ours) else {
            return Ok(None);
        };
        let redisha = self.redishas.get_opt(instance).await?;
        // Labels can be forged; the name must also be one of the object's own pods.
        let redisha = redisha.filter(|redisha| Names::of(redisha).ordinal(&self.pod).is_some());
        Ok(redisha.map(|redisha| (pod, redisha)))
    }

    async fn mark(&self, pod: &Pod, mark: Eviction) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {
            "uid": pod.uid(),
            "annotations": {EVICTION_ANNOTATION: mark.to_annotation()},
        }});
        self.pods.patch(&self.pod, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::controller::validate::fixture;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(change: impl Fn(&mut Value)) -> Pod {
        let mut pod = json!({"metadata": {
            "name": "cache-0", "uid": "u-0",
            "labels": {"redisha.dev/role": "primary"}, "annotations": {},
        }});
        change(&mut pod["metadata"]);
        serde_json::from_value(pod).unwrap()
    }

    fn redisha(spec: &Value, primary: &str) -> RedisHA {
        let mut redisha = fixture::redisha(spec);
        let status =
            json!({"arbiter": {"uid": "uid-1", "primary": {"name": primary, "member": "m"}}});
        redisha.status = Some(serde_json::from_value(status).unwrap());
        redisha
    }

    fn eviction() -> review::Eviction {
        let (namespace, pod) = ("shop".into(), "cache-0".into());
        review::Eviction { namespace, pod, uid: None, dry_run: false }
    }

    fn judged(pod: &Pod, redisha: &RedisHA) -> Judgement {
        judge(&eviction(), pod, redisha, at(1_000))
    }

    #[test]
    fn a_primary_moves_first_by_its_label_or_by_the_arbiter() {
        let mark = Eviction { since: at(1_000), last: at(1_000) };
        let moves = Judgement::Move { mark, hold: Duration::from_mins(5) };
        let none = json!({});
        assert_eq!(judged(&pod(|_| {}), &redisha(&none, "cache-0")), moves);
        assert_eq!(judged(&pod(|_| {}), &redisha(&none, "cache-1")), moves, "label only");
        let unlabelled = pod(|meta| meta["labels"] = json!({}));
        assert_eq!(judged(&unlabelled, &redisha(&none, "cache-0")), moves, "arbiter only");
        let replica = pod(|meta| meta["labels"]["redisha.dev/role"] = json!("replica"));
        assert_eq!(judged(&replica, &redisha(&none, "cache-1")), Judgement::Allow);
    }

    /// The target of a running switch was evicted in the middle of it.
    #[test]
    fn both_ends_of_a_running_switch_wait_for_its_end() {
        let replica = pod(|meta| meta["labels"]["redisha.dev/role"] = json!("replica"));
        let mut redisha = redisha(&json!({}), "cache-1");
        let intent = json!({
            "id": "1", "reason": "request", "attempt": 1, "deadlineMs": 1,
            "from": {"name": "cache-1", "member": "a"}, "to": {"name": "cache-0", "member": "b"},
        });
        let arbiter = redisha.status.as_mut().unwrap().arbiter.as_mut().unwrap();
        arbiter.switchover = Some(serde_json::from_value(intent).unwrap());
        assert!(matches!(judged(&replica, &redisha), Judgement::Move { .. }));
    }

    #[test]
    fn what_would_gain_nothing_is_not_held() {
        let primary = redisha(&json!({}), "cache-0");
        let stopping = pod(|meta| meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        assert_eq!(judged(&stopping, &primary), Judgement::Allow);
        let other = review::Eviction { uid: Some("u-9".into()), ..eviction() };
        assert_eq!(judge(&other, &pod(|_| {}), &primary, at(1_000)), Judgement::Allow);
        let same = review::Eviction { uid: Some("u-0".into()), ..eviction() };
        let judgement = judge(&same, &pod(|_| {}), &primary, at(1_000));
        assert!(matches!(judgement, Judgement::Move { .. }));
        let dry = review::Eviction { dry_run: true, ..eviction() };
        let judgement = judge(&dry, &pod(|_| {}), &primary, at(1_000));
        assert!(matches!(judgement, Judgement::AllowWith(_)));
        let single = redisha(&json!({"replicas": 1}), "cache-0");
        assert!(matches!(judged(&pod(|_| {}), &single), Judgement::AllowWith(_)));
    }

    #[test]
    fn a_hold_is_counted_anew_when_nobody_asked_meanwhile() {
        let redisha = redisha(&json!({"switchover": {"drainHold": "60s"}}), "cache-0");
        let held = |since: i64, last: i64| {
            let mark = Eviction { since: at(since), last: at(last) }.to_annotation();
            judged(&pod(|meta| meta["annotations"][EVICTION_ANNOTATION] = json!(mark)), &redisha)
        };
        let moves = |since| {
            let mark = Eviction { since: at(since), last: at(1_000) };
            Judgement::Move { mark, hold: Duration::from_mins(1) }
        };
        assert_eq!(held(941, 995), moves(941));
        assert_eq!(held(100, 900), moves(1_000));
    }
}
