//! One acting operator at a time, by a Lease.
//!
//! The lease saves work and confusion; it guards nothing. Whoever acts without it is stopped by the
//! compare-and-swap on each status.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

/// A holder that has not renewed for this long has lost the lease. Short, since a node that is lost
/// takes the acting operator along as often as not, and the primary with it.
const LEASE: Duration = Duration::from_millis(2_500);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(500);
/// How often who waits looks at it: soon after a holder gave it up, another acts.
const LOOK: Duration = Duration::from_millis(250);
/// The longest that a single request may take, so that one lost answer does not cost the lease.
const PATIENCE: Duration = Duration::from_secs(1);
/// Name of the lease.
pub const NAME: &str = "redisha-operator";

/// The lease as this process sees it.
pub struct Leader {
    api: Api<Lease>,
    identity: String,
    /// The holder's last sign of life, by this process's own clock: clocks of two machines are
    /// never compared.
    seen: Option<(Sign, Instant)>,
}

/// What changes when a holder renews.
#[derive(Debug, Clone, PartialEq)]
struct Sign {
    holder: Option<String>,
    renewed: Option<Timestamp>,
}

/// What to do about a lease that was read.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    /// It is ours, free or abandoned.
    Take,
    /// Another's, who has this long to renew it.
    Wait(Duration),
}

/// What came of trying once.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    Held,
    /// Another holds it, and has this long to renew it.
    Anothers(Duration),
    /// Somebody wrote between our reading and our writing: perhaps ourselves, by a request that we had
    /// given up.
    Raced,
}

impl Leader {
    pub fn new(client: Client, namespace: &str, identity: &str) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, identity: identity.to_owned(), seen: None }
    }

    /// Waits until this process holds the lease.
    pub async fn acquire(&mut self) {
        loop {
            let mut pause = LOOK;
            match tokio::time::timeout(PATIENCE, self.claim()).await {
                Ok(Ok(Tried::Held)) => return,
                // No longer than the holder has: each moment more is one without anybody who acts.
                Ok(Ok(Tried::Anothers(left))) => pause = LOOK.min(left),
                Ok(Ok(Tried::Raced)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be claimed"),
                Err(_) => tracing::warn!("the lease cannot be claimed: no answer"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Renews until another process holds the lease. While the API server answers nobody, no other
    /// can take it, and this one goes on.
    pub async fn hold(&mut self) {
        loop {
            tokio::time::sleep(RENEW).await;
            match tokio::time::timeout(PATIENCE, self.claim()).await {
                Ok(Ok(Tried::Anothers(_))) => return,
                // If somebody else took it, the next look tells.
                Ok(Ok(Tried::Held | Tried::Raced)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be renewed"),
                Err(_) => tracing::warn!("the lease cannot be renewed: no answer"),
            }
        }
    }

    /// Gives it up, so that another process need not wait for its end.
    pub async fn release(&mut self) {
        if let Ok(Some(mut lease)) = self.api.get_opt(NAME).await
            && let Some(spec) = &mut lease.spec
            && spec.holder_identity.as_ref() == Some(&self.identity)
        {
            spec.holder_identity = None;
            let _ = self.api.replace(NAME, &PostParams::default(), &lease).await;
        }
    }

    /// Tries once.
    async fn claim(&mut self) -> Result<Tried, kube::Error> {
        let now = Timestamp::now();
        let Some(mut lease) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
                spec: Some(self.spec(now, None)),
            };
            return written(self.api.create(&PostParams::default(), &lease).await);
        };
        if let Claim::Wait(left) = self.judge(lease.spec.as_ref(), Instant::now()) {
            return Ok(Tried::Anothers(left));
        }
        lease.spec = Some(self.spec(now, lease.spec));
        // The resource version that was read goes along: of two claims one conflicts.
        written(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn judge(&mut self, spec: Option<&LeaseSpec>, now: Instant) -> Claim {
        let sign = Sign {
            holder: spec.and_then(|s| s.holder_identity.clone()).filter(|h| !h.is_empty()),
            renewed: spec.and_then(|s| s.renew_time.as_ref()).map(|time| time.0),
        };
        if sign.holder.is_none() || sign.holder.as_ref() == Some(&self.identity) {
            return Claim::Take;
        }
        let seen = match &self.seen {
            Some((seen, at)) if *seen == sign => *at,
            _ => self.seen.insert((sign, now)).1,
        };
        match LEASE.saturating_sub(now.duration_since(seen)) {
            Duration::ZERO => Claim::Take,
            left => Claim::Wait(left),
        }
    }

    fn spec(&self, now: Timestamp, before: Option<LeaseSpec>) -> LeaseSpec {
        let before = before.unwrap_or_default();
        let mine = before.holder_identity.as_ref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE.as_secs() as i32),
            acquire_time: if mine { before.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if mine { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }
}

fn written(result: Result<Lease, kube::Error>) -> Result<Tried, kube::Error> {
    match result {
        Ok(_) => Ok(Tried::Held),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Tried::Raced),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader() -> Leader {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(config).unwrap();
        Leader::new(client, "n", "me")
    }

    fn held(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[tokio::test]
    async fn a_lease_is_taken_when_free_ours_or_silent_by_our_own_clock() {
        let mut leader = leader();
        let start = Instant::now();
        let after = |tenths: u32| start + LEASE * tenths / 10;
        let wait = |tenths: u32| Claim::Wait(LEASE * tenths / 10);
        assert_eq!(leader.judge(None, start), Claim::Take);
        assert_eq!(leader.judge(Some(&held("me", 1)), start), Claim::Take);
        assert_eq!(leader.judge(Some(&held("", 1)), start), Claim::Take);
        // The holder's clock says the year 1970; only its silence counts.
        assert_eq!(leader.judge(Some(&held("you", 1)), start), wait(10));
        assert_eq!(leader.judge(Some(&held("you", 1)), after(9)), wait(1));
        assert_eq!(leader.judge(Some(&held("you", 5)), after(10)), wait(10));
        assert_eq!(leader.judge(Some(&held("you", 5)), after(19)), wait(1));
        assert_eq!(leader.judge(Some(&held("you", 5)), after(20)), Claim::Take);
    }
}
