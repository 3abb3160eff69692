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

/// Serves until the future is dropped; `serving` is set once there is a certificate.
pub async fn run(context: Context, listener: TcpListener, serving: Arc<AtomicBool>) {
    let keeper = Arc::new(Keeper::new(&context));
    let current = Arc::clone(&keeper);
    let handler = Arc::new(Evictions { context });
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
}

impl Handler for Evictions {
    async fn answer(&self, asked: Asked) -> Answer {
        if asked.path != PATH {
            return Answer::text(StatusCode::NOT_FOUND, "not found\n");
        }
        match Review::parse(&asked.body) {
            Ok(review) => {
                let verdict = eviction::decide(&self.context, &review).await;
                Answer::json(review.answer(&verdict))
            }
            Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
        }
    }
}
