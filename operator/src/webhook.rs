//! The admission webhook on `pods/eviction`: the primary moves before its pod is evicted.
//!
//! An eviction of a primary marks the pod; the acting operator sees the mark and starts a switch.
//! When that completes in time the eviction is admitted, else it is answered with 429, which
//! drains and autoscalers retry. Any replica of the operator can answer, because the mark is on the
//! pod. The review is never trusted alone: the pod and its `RedisHA` are read from the API server.

mod certificate;
mod eviction;
mod review;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::controller::context::Context;
use crate::controller::http::{self, Answer, Asked, Handler};
use certificate::Keeper;
use review::Review;

/// Name of the `ValidatingWebhookConfiguration` and of the Service in front of the webhook.
pub const NAME: &str = "redisha-webhook";
/// Secret that holds the certificate.
pub const SECRET: &str = "redisha-webhook-cert";
/// Where the API server sends reviews.
pub const PATH: &str = "/evict";
/// What the API server waits at most; the answer comes before.
pub const TIMEOUT_SECONDS: i32 = 10;

/// How often the certificate is looked at: another replica may have renewed it.
const LOOK: Duration = Duration::from_secs(30);
const RETRY: Duration = Duration::from_secs(2);

/// Reviews that are being decided. Whoever ends the process waits for them: an API server that gets
/// no answer admits the eviction, and the primary would be stopped before it has moved.
#[derive(Debug, Default)]
pub struct Reviews(watch::Sender<usize>);

impl Reviews {
    fn begin(&self) -> Reviewing<'_> {
        self.0.send_modify(|open| *open += 1);
        Reviewing(self)
    }

    /// Resolves when none is open; each is open for less than [`TIMEOUT_SECONDS`].
    pub async fn done(&self) {
        let waited = self.0.subscribe().wait_for(|open| *open == 0).await.map(drop);
        waited.expect("the sender is borrowed here");
    }
}

/// One open review.
struct Reviewing<'a>(&'a Reviews);

impl Drop for Reviewing<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

/// Serves until the future is dropped; `serving` is set once there is a certificate.
pub async fn run(
    context: Context,
    listener: TcpListener,
    serving: Arc<AtomicBool>,
    reviews: Arc<Reviews>,
) {
    let keeper = Arc::new(Keeper::new(&context));
    let current = Arc::clone(&keeper);
    let handler = Arc::new(Evictions { context, reviews });
    let keep = async {
        loop {
            let pause = match keeper.refresh().await {
                Ok(()) => {
                    serving.store(true, Ordering::Relaxed);
                    LOOK
                }
                Err(error) => {
                    tracing::warn!(%error, "the webhook's certificate cannot be kept");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::join!(keep, http::serve_tls(listener, move || current.acceptor(), handler));
}

struct Evictions {
    context: Context,
    reviews: Arc<Reviews>,
}

impl Handler for Evictions {
    async fn answer(&self, asked: Asked) -> Answer {
        if asked.path != PATH {
            return Answer::text(StatusCode::NOT_FOUND, "not found\n");
        }
        match Review::parse(&asked.body) {
            Ok(review) => {
                let _open = self.reviews.begin();
                let verdict = eviction::decide(&self.context, &review).await;
                Answer::json(review.answer(&verdict))
            }
            Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// A drain evicted the operator's own pod and the primary's at once: the process ended while
    /// the review of the primary waited for the switch, so the API server admitted the eviction and
    /// the primary was stopped before it had moved.
    #[tokio::test]
    async fn the_end_of_the_process_waits_for_open_reviews() {
        let reviews = Reviews::default();
        assert!(reviews.done().now_or_never().is_some());
        let (one, two) = (reviews.begin(), reviews.begin());
        drop(one);
        assert!(reviews.done().now_or_never().is_none());
        drop(two);
        assert!(reviews.done().now_or_never().is_some());
    }
}
