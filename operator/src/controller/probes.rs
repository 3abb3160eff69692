//! `/livez`, `/readyz` and `/metrics` of the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::StatusCode;

use super::http::{Answer, Asked, Handler};
use crate::metrics::Metrics;

/// What the probes read.
pub struct Probes {
    pub metrics: Arc<Metrics>,
    /// The webhook has its certificate and listens.
    pub serving: Arc<AtomicBool>,
}

impl Handler for Probes {
    async fn answer(&self, asked: Asked) -> Answer {
        match asked.path.as_str() {
            // Answering at all is what liveness asks for; who waits for the lease is alive too.
            "/livez" => Answer::text(StatusCode::OK, "ok\n"),
            "/readyz" if self.serving.load(Ordering::Relaxed) => {
                Answer::text(StatusCode::OK, "ok\n")
            }
            "/readyz" => Answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the webhook has no certificate yet\n",
            ),
            "/metrics" => Answer::text(StatusCode::OK, self.metrics.render()),
            _ => Answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}
